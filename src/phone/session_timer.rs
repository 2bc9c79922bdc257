//! Session timers (RFC 4028): a session that nobody refreshes ends, so that a side which has vanished does not stay
//! "in the call" for ever. A value: it reads headers, writes headers and has two deadlines; `refresh` sends.

use super::timers::CallTimer;
use crate::sip::header::{Params, parse_u32, split_before};
use crate::sip::message::{Headers, Method, Request, Response};
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// No session is to be refreshed more often (RFC 4028, section 4), seconds.
const MIN_SE: u32 = 90;
/// What is asked for where a server wants a limit and the configuration does not.
const EXPIRES: Duration = Duration::from_secs(1800);
/// Nobody has reason to ask for more than a day.
const MAX_SE: u32 = 86_400;
/// From a refresh that has failed to the next one.
const AGAIN: Duration = Duration::from_secs(10);
/// A server may ask for a longer interval (422) so often for one request.
const MAX_TOO_SMALL: u8 = 2;

/// How a session is refreshed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// A refresh is out already.
    Under,
    /// By UPDATE, which needs no offer.
    Update,
    /// By a re-INVITE, once nothing else goes on.
    Offer,
}

/// The session timer of one call.
#[derive(Debug, Default)]
pub(super) struct SessionTimer {
    /// Agreed interval, seconds; `None`: the session has no limit.
    interval: Option<u32>,
    /// We refresh it.
    ours: bool,
    /// The greatest Min-SE that the other side has asked for, seconds.
    min_se: u32,
    /// A server wants the session to have a limit (421).
    required: bool,
    /// How often it has asked for more.
    too_small: u8,
    /// The other side takes UPDATE (RFC 4028, section 7.4: preferred, as it needs no offer).
    updates: bool,
    /// A refresh by re-INVITE is to be made as soon as nothing else goes on.
    wanted: bool,
    /// A refresh has been sent and not been answered.
    open: bool,
    refresh_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl SessionTimer {
    // ---- the INVITE that makes a call

    /// What it asks for; `wanted` by the configuration.
    pub(super) fn ask(&self, wanted: Option<Duration>, headers: &mut Headers) {
        let Some(wanted) = wanted.or_else(|| self.required.then_some(EXPIRES)) else { return };
        let seconds = bounded(wanted.as_secs());
        headers.set("Session-Expires", digits(seconds.max(self.min_se)));
        if self.min_se > 0 {
            headers.set("Min-SE", digits(self.min_se));
        }
    }

    /// 421: whether a server wants the session to have a limit.
    pub(super) const fn require(&mut self, required: bool) {
        self.required = required;
    }

    /// 422: whether it is worth while to ask for what the other side can take (RFC 4028, section 7.4).
    pub(super) fn asks_for_longer(&mut self, response: &Response) -> bool {
        let min = min_se(&response.headers);
        if min <= self.min_se || min > MAX_SE || self.too_small >= MAX_TOO_SMALL {
            return false;
        }
        self.min_se = min;
        self.too_small += 1;
        true
    }

    // ---- agreed

    /// A 2xx of ours to this INVITE or UPDATE: what it says of the session (RFC 4028, section 9). `wanted`: what this side
    /// asks for of its own accord.
    pub(super) fn accept(
        &mut self,
        request: &Request,
        wanted: Option<Duration>,
        headers: &mut Vec<(&'static str, String)>,
    ) {
        let supported = request.headers.contains_token("Supported", "timer");
        let asked = session_expires(&request.headers);
        let min = min_se(&request.headers);
        self.updates |= request.headers.contains_token("Allow", "UPDATE");
        // RFC 4028, section 9: never less than the other side can take, here and in what we ask for later.
        self.min_se = self.min_se.max(min.min(MAX_SE));
        // Of our own accord only with a caller who knows timers.
        let wanted = wanted.filter(|_| supported).map(Duration::as_secs);
        let wanted = wanted.map(|seconds| seconds.max(MIN_SE));
        let Some(seconds) = asked.map(|(seconds, _)| seconds).or(wanted) else {
            self.interval = None;
            return;
        };
        let seconds = bounded(seconds).max(min).max(self.min_se);
        // Who can't refresh is refreshed by us; who can and leaves it open does it itself.
        let by_them = supported && asked.is_some_and(|(_, by_uac)| by_uac.unwrap_or(true));
        self.interval = Some(seconds);
        self.ours = !by_them;
        let refresher = if by_them { ";refresher=uac" } else { ";refresher=uas" };
        headers.push(("Session-Expires", concat(&[&digits(seconds), refresher])));
        if by_them {
            headers.push(("Require", "timer".to_owned()));
        }
    }

    /// The other side's 2xx to our INVITE, re-INVITE or UPDATE (RFC 4028, section 7.2).
    pub(super) fn agree(&mut self, response: &Response) {
        self.updates |= response.headers.contains_token("Allow", "UPDATE");
        self.open = false;
        self.wanted = false;
        match session_expires(&response.headers) {
            Some((seconds, by_uac)) => {
                self.interval = Some(bounded(seconds));
                self.ours = by_uac.unwrap_or(true);
            }
            // The other side knows no timers: what we asked for is ours to keep up, or not.
            None => self.interval = None,
        }
    }

    /// The interval begins, where there is one (RFC 4028, section 10): half of it to refresh, and BYE a little before it
    /// is over.
    pub(super) fn start(&mut self, now: Instant) {
        self.stop();
        let Some(seconds) = self.interval else { return };
        if self.ours {
            self.refresh_at = Some(now + Duration::from_secs(u64::from(seconds / 2)));
        }
        let left = seconds - (seconds / 3).min(32);
        self.expires_at = Some(now + Duration::from_secs(u64::from(left)));
    }

    /// The session is over, or the call is.
    pub(super) const fn stop(&mut self) {
        self.refresh_at = None;
        self.expires_at = None;
    }

    // ---- refreshes

    /// The session is to be refreshed, or the other side told where we are.
    pub(super) const fn refresh(&mut self) -> Refresh {
        if self.open {
            return Refresh::Under;
        }
        if self.updates {
            self.open = true;
            return Refresh::Update;
        }
        self.wanted = true;
        Refresh::Offer
    }

    /// A re-INVITE is to refresh it.
    pub(super) const fn wants_offer(&self) -> bool {
        self.wanted
    }

    /// The re-INVITE that was to refresh it has failed. Whether there was one.
    pub(super) const fn offer_failed(&mut self) -> bool {
        core::mem::replace(&mut self.wanted, false)
    }

    /// The headers of a refresh: the interval as it is, and us as the one who goes on refreshing.
    pub(super) fn keep(&self, headers: &mut Headers) {
        if let Some(seconds) = self.interval {
            let seconds = seconds.max(self.min_se);
            let role = if self.ours { ";refresher=uac" } else { ";refresher=uas" };
            headers.push("Session-Expires", concat(&[&digits(seconds), role]));
        }
        if self.min_se > 0 {
            headers.push("Min-SE", digits(self.min_se));
        }
    }

    /// 422 within the call: whether a refresh with what the other side asks for is worth while (RFC 4028, section 7.4).
    pub(super) fn takes_longer(&mut self, response: &Response) -> bool {
        let min = min_se(&response.headers);
        if min > MAX_SE || self.too_small >= MAX_TOO_SMALL {
            return false;
        }
        self.too_small += 1;
        self.min_se = min.max(self.min_se);
        self.interval = self.interval.map(|seconds| seconds.max(min));
        true
    }

    /// An UPDATE is refused: whether the refresh is worth another try at once, in another way.
    pub(super) fn update_refused(&mut self, response: &Response) -> bool {
        let again = match response.status {
            422 => self.takes_longer(response),
            // It says in Allow what it doesn't do.
            405 | 501 => {
                self.updates = false;
                true
            }
            _ => false,
        };
        if again {
            self.open = false;
        }
        again
    }

    /// A refresh has failed, or was never sent.
    pub(super) const fn refresh_failed(&mut self) {
        self.open = false;
    }

    /// The next try, where there is a session to keep up.
    pub(super) fn refresh_later(&mut self, now: Instant) {
        if self.interval.is_some() {
            self.refresh_at = Some(now + AGAIN);
        }
    }

    /// Nobody could have refreshed it: how long that may last is not for the session to say.
    pub(super) fn expire_later(&mut self, now: Instant) {
        self.expires_at = Some(now + AGAIN);
    }

    // ---- deadlines

    /// The next deadline, and which it is.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        let refresh = self.refresh_at.map(|at| (at, CallTimer::SessionRefresh));
        let expired = self.expires_at.map(|at| (at, CallTimer::SessionExpired));
        refresh.into_iter().chain(expired).min()
    }

    /// That one has been reached.
    pub(super) fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::SessionRefresh => self.refresh_at = None,
            _ => self.expires_at = None,
        }
    }

    /// The page was suspended. The other side waits for a refresh all the same, but could not be heard meanwhile.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.expires_at = self.expires_at.map(|at| at + by);
    }

    /// How many deadlines it has.
    pub(super) fn deadlines(&self) -> usize {
        usize::from(self.refresh_at.is_some()) + usize::from(self.expires_at.is_some())
    }

    // ---- the record for another page

    /// Agreed interval, seconds.
    pub(super) const fn interval(&self) -> Option<u32> {
        self.interval
    }

    /// The greatest Min-SE of the other side, seconds.
    pub(super) fn min_se(&self) -> Option<u32> {
        Some(self.min_se).filter(|min| *min > 0)
    }

    /// This side refreshes.
    pub(super) const fn is_ours(&self) -> bool {
        self.ours
    }

    /// The other side takes UPDATE.
    pub(super) const fn takes_updates(&self) -> bool {
        self.updates
    }

    pub(super) const fn restore(&mut self, ours: bool, updates: bool) {
        self.ours = ours;
        self.updates = updates;
    }

    pub(super) fn restore_interval(&mut self, seconds: u32) {
        self.interval = Some(bounded(seconds));
    }

    pub(super) fn restore_min_se(&mut self, seconds: u32) {
        self.min_se = bounded(seconds);
    }
}

/// An interval that is too small gets 422 (RFC 4028, section 9).
pub(super) fn too_small(request: &Request) -> Option<(u16, Option<(&'static str, String)>)> {
    if !agrees(&request.method) {
        return None;
    }
    let (seconds, _) = session_expires(&request.headers)?;
    // Whoever doesn't know the extension can't read a 422; a proxy has put the interval in.
    let reads = request.headers.contains_token("Supported", "timer");
    (seconds < MIN_SE && reads).then(|| (422, Some(("Min-SE", digits(MIN_SE)))))
}

/// Whether a 2xx to this method says something of the session.
pub(super) const fn agrees(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// Nonsense must not make us refresh all the time.
fn bounded(seconds: u32) -> u32 {
    seconds.clamp(MIN_SE, MAX_SE)
}

fn min_se(headers: &Headers) -> u32 {
    headers.get("Min-SE").and_then(parse_u32).unwrap_or(0)
}

/// Session-Expires: seconds, and whether the one who sent the request refreshes, if it says so.
fn session_expires(headers: &Headers) -> Option<(u32, Option<bool>)> {
    let (seconds, params) = split_before(headers.get("Session-Expires")?, b';');
    let seconds = parse_u32(seconds)?;
    let params = Params::parse(params);
    let by_uac = params.get("refresher").and_then(|refresher| {
        let is = |name: &str| refresher.eq_ignore_ascii_case(name);
        if is("uac") { Some(true) } else { is("uas").then_some(false) }
    });
    Some((seconds, by_uac))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(method, "sip:alice@example.com");
        request.headers.push_all(headers);
        request
    }

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let mut response = Request::new(Method::Invite, "sip:alice@example.com").response(status, None);
        response.headers.push_all(headers);
        response
    }

    fn asked(timer: &SessionTimer, wanted: Option<u64>) -> (Option<String>, Option<String>) {
        let mut headers = Headers::default();
        timer.ask(wanted.map(Duration::from_secs), &mut headers);
        let value = |name| headers.get(name).map(str::to_owned);
        (value("Session-Expires"), value("Min-SE"))
    }

    /// Interval, whether we refresh, and what the 2xx says.
    fn accepted(
        timer: &mut SessionTimer,
        wanted: Option<u64>,
        headers: &[(&str, &str)],
    ) -> (Option<u32>, bool, String) {
        let mut said = Vec::new();
        timer.accept(&request(Method::Invite, headers), wanted.map(Duration::from_secs), &mut said);
        let said: Vec<String> = said.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
        (timer.interval, timer.ours, said.join(", "))
    }

    #[test]
    fn an_invite_asks_for_what_is_wanted_and_what_the_server_can_take() {
        let mut timer = SessionTimer::default();
        assert_eq!(asked(&timer, None), (None, None));
        assert_eq!(asked(&timer, Some(1800)), (Some("1800".to_owned()), None));
        assert_eq!(asked(&timer, Some(1)), (Some("90".to_owned()), None), "no session is shorter");
        assert_eq!(asked(&timer, Some(u64::MAX)), (Some("86400".to_owned()), None), "nor longer than a day");
        timer.require(true);
        assert_eq!(asked(&timer, None), (Some("1800".to_owned()), None), "421");
        assert!(timer.asks_for_longer(&response(422, &[("Min-SE", "3600")])));
        assert_eq!(asked(&timer, Some(1800)), (Some("3600".to_owned()), Some("3600".to_owned())));
    }

    #[test]
    fn a_422_is_followed_while_it_asks_for_more_and_twice_at_most() {
        for (asks, followed) in [
            (vec!["3600", "7200", "9000"], vec![true, true, false]),
            (vec!["3600", "3600"], vec![true, false]),
            (vec!["86401"], vec![false]),
            (vec!["0"], vec![false]),
            (vec!["soon"], vec![false]),
        ] {
            let mut timer = SessionTimer::default();
            let done: Vec<bool> =
                asks.iter().map(|min| timer.asks_for_longer(&response(422, &[("Min-SE", min)]))).collect();
            assert_eq!(done, followed, "{asks:?}");
        }
        // Within the call the same interval may be asked for again: the first refresh did not say Min-SE.
        let mut timer = SessionTimer::default();
        timer.restore_interval(600);
        let refuses = response(422, &[("Min-SE", "900")]);
        assert!(
            timer.takes_longer(&refuses) && timer.takes_longer(&refuses) && !timer.takes_longer(&refuses)
        );
        assert_eq!((timer.interval(), timer.min_se()), (Some(900), Some(900)));
    }

    #[test]
    fn a_2xx_of_ours_says_who_refreshes() {
        let timer = ("Supported", "timer");
        for (wanted, headers, interval, ours, said) in [
            // Nobody wants it; we do, and the caller knows it; we do, and it does not.
            (None, vec![], None, false, ""),
            (Some(1800), vec![timer], Some(1800), true, "Session-Expires: 1800;refresher=uas"),
            (Some(1800), vec![], None, false, ""),
            (Some(5), vec![timer], Some(90), true, "Session-Expires: 90;refresher=uas"),
            // The caller asks: it refreshes, unless it says otherwise or cannot.
            (
                None,
                vec![timer, ("Session-Expires", "600")],
                Some(600),
                false,
                "Session-Expires: 600;refresher=uac, Require: timer",
            ),
            (
                None,
                vec![timer, ("Session-Expires", "600;refresher=uas")],
                Some(600),
                true,
                "Session-Expires: 600;refresher=uas",
            ),
            (None, vec![("Session-Expires", "600")], Some(600), true, "Session-Expires: 600;refresher=uas"),
            // A proxy's nonsense, and what the caller can take.
            (None, vec![("Session-Expires", "1")], Some(90), true, "Session-Expires: 90;refresher=uas"),
            (
                Some(600),
                vec![timer, ("Min-SE", "1200")],
                Some(1200),
                true,
                "Session-Expires: 1200;refresher=uas",
            ),
        ] {
            let outcome = accepted(&mut SessionTimer::default(), wanted, &headers);
            assert_eq!(outcome, (interval, ours, said.to_owned()), "{wanted:?} {headers:?}");
        }
        // A later offer without it ends it.
        let mut kept = SessionTimer::default();
        accepted(&mut kept, None, &[timer, ("Session-Expires", "600")]);
        assert_eq!(accepted(&mut kept, None, &[]).0, None);
    }

    #[test]
    fn a_2xx_of_theirs_decides() {
        for (said, interval, ours) in [
            (None, None, false),
            (Some("600"), Some(600), true),
            (Some("600;refresher=uac"), Some(600), true),
            (Some("600;refresher=uas"), Some(600), false),
            (Some("1;refresher=UAS"), Some(90), false),
            (Some("never"), None, false),
        ] {
            let mut timer = SessionTimer::default();
            let headers: Vec<_> = said.map(|said| ("Session-Expires", said)).into_iter().collect();
            timer.agree(&response(200, &headers));
            assert_eq!((timer.interval(), timer.is_ours()), (interval, ours), "{said:?}");
        }
    }

    #[test]
    fn who_refreshes_has_two_deadlines_and_who_waits_has_one() {
        for (seconds, ours, refresh, expires) in [
            (90, true, Some(45), 60),
            (90, false, None, 60),
            (1800, true, Some(900), 1768),
            (1800, false, None, 1768),
        ] {
            let mut timer = SessionTimer::default();
            timer.restore(ours, false);
            timer.restore_interval(seconds);
            timer.start(at(100));
            assert_eq!(timer.deadlines(), if ours { 2 } else { 1 });
            if let Some(refresh) = refresh {
                assert_eq!(timer.poll_timeout(), Some((at(100 + refresh), CallTimer::SessionRefresh)));
                timer.take_timeout(CallTimer::SessionRefresh);
            }
            assert_eq!(timer.poll_timeout(), Some((at(100 + expires), CallTimer::SessionExpired)));
            timer.take_timeout(CallTimer::SessionExpired);
            assert_eq!(timer.poll_timeout(), None, "{seconds} {ours}");
        }
        let mut none = SessionTimer::default();
        none.start(at(100));
        none.refresh_later(at(100));
        assert_eq!(none.poll_timeout(), None, "a session without a limit has no deadline");
    }

    #[test]
    fn a_page_that_was_suspended_refreshes_at_once_and_ends_later() {
        let mut timer = SessionTimer::default();
        timer.restore(true, true);
        timer.restore_interval(90);
        timer.start(at(0));
        timer.put_off(Duration::from_secs(300));
        assert_eq!(timer.poll_timeout(), Some((at(45), CallTimer::SessionRefresh)));
        timer.take_timeout(CallTimer::SessionRefresh);
        assert_eq!(timer.poll_timeout(), Some((at(360), CallTimer::SessionExpired)));
        timer.stop();
        assert_eq!(timer.poll_timeout(), None);
    }

    #[test]
    fn a_refresh_is_an_update_where_that_is_taken_and_one_at_a_time() {
        let mut timer = SessionTimer::default();
        timer.agree(&response(200, &[("Session-Expires", "600"), ("Allow", "INVITE, UPDATE")]));
        assert_eq!(timer.refresh(), Refresh::Update);
        assert_eq!(timer.refresh(), Refresh::Under);
        // Refused for its interval: at once again. Not for ever.
        let longer = response(422, &[("Min-SE", "900")]);
        assert!(timer.update_refused(&longer));
        assert_eq!(timer.refresh(), Refresh::Update);
        let mut headers = Headers::default();
        timer.keep(&mut headers);
        assert_eq!(headers.get("Session-Expires"), Some("900;refresher=uac"));
        assert_eq!(headers.get("Min-SE"), Some("900"));
        assert!(timer.update_refused(&longer));
        assert_eq!(timer.refresh(), Refresh::Update);
        assert!(!timer.update_refused(&longer));
        timer.refresh_failed();
        // The other side does not know UPDATE after all.
        assert_eq!(timer.refresh(), Refresh::Update);
        assert!(timer.update_refused(&response(501, &[])));
        assert_eq!(timer.refresh(), Refresh::Offer);
        assert!(timer.wants_offer());
        assert!(timer.offer_failed() && !timer.offer_failed());
        // Any other refusal is for later.
        assert!(!timer.update_refused(&response(500, &[])));
        timer.refresh_later(at(7));
        assert_eq!(timer.poll_timeout(), Some((at(17), CallTimer::SessionRefresh)));
        timer.expire_later(at(5));
        assert_eq!(timer.poll_timeout(), Some((at(15), CallTimer::SessionExpired)));
    }

    #[test]
    fn an_answer_ends_the_refresh_that_is_under_way() {
        let mut timer = SessionTimer::default();
        assert_eq!(timer.refresh(), Refresh::Offer);
        timer.agree(&response(200, &[("Allow", "UPDATE")]));
        assert!(!timer.wants_offer() && timer.takes_updates());
        assert_eq!(timer.refresh(), Refresh::Update);
        timer.agree(&response(200, &[]));
        assert_eq!(timer.refresh(), Refresh::Update, "what it takes it takes for good");
    }

    #[test]
    fn an_interval_that_is_too_small_is_refused() {
        let timer = ("Supported", "timer");
        for (method, headers, refused) in [
            (Method::Invite, vec![timer, ("Session-Expires", "89")], true),
            (Method::Update, vec![timer, ("Session-Expires", "0;refresher=uac")], true),
            (Method::Invite, vec![timer, ("Session-Expires", "90")], false),
            (Method::Invite, vec![("Session-Expires", "1")], false),
            (Method::Invite, vec![timer], false),
            (Method::Info, vec![timer, ("Session-Expires", "1")], false),
        ] {
            let outcome = too_small(&request(method.clone(), &headers));
            let wanted = refused.then(|| (422, Some(("Min-SE", "90".to_owned()))));
            assert_eq!(outcome, wanted, "{method:?} {headers:?}");
        }
    }
}
