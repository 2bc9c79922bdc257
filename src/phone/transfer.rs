//! Call transfer (RFC 3515, RFC 5589) as values: of the one who asks and of the one who is asked. They read what comes,
//! say what it means, and have a deadline each; `refer` sends.

use super::io::{CallId, TransferState};
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::header::{Params, split_before};
use crate::sip::message::{Headers, Method, Request, Response, default_reason};
use crate::text::{before, concat, digits, number, split_once};
use crate::time::{Duration, Instant};

/// Longest wait for the other side to agree to being held before it is transferred.
const HOLD_TIMEOUT: Duration = Duration::from_secs(10);
/// From the REFER until its outcome: a target rings for three minutes at most, and the news of it takes its time.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(200);
/// The transferee has hung up: its last NOTIFY may still be under way (RFC 5057, section 4.1).
const LAST_NOTIFY: Duration = Duration::from_secs(4);
/// How long the application may think about a transfer that it is asked for.
const DECISION_TIMEOUT: Duration = Duration::from_secs(60);
/// The new call is up and the transferor does not hang up.
const FAREWELL: Duration = Duration::from_secs(5);
/// Lifetime of the subscription of a REFER: longer than any call rings.
pub(super) const EXPIRES: &str = "240";

/// How far a transfer of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The calls are being held.
    Holding,
    /// REFER is out.
    Referred,
    /// REFER has been accepted.
    Accepted,
    /// The other side has hung up since; the end of the call is told with the outcome of the transfer.
    Departed,
}

/// What a response to REFER, or a NOTIFY, says of the transfer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// It goes on, with this status.
    Going(TransferState, u16),
    Succeeded(u16),
    Failed(Option<u16>, Error),
}

/// What was waited for has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The holds: the transfer goes on without.
    Hold,
    /// The outcome.
    Outcome,
    /// The last NOTIFY of a side that has hung up.
    LastNotify,
}

/// A transfer that we have asked the other side for.
#[derive(Debug)]
pub(super) struct Transfer {
    refer_to: String,
    /// Attended: the call with the target.
    other: Option<CallId>,
    progress: Progress,
    /// The calls that are not held yet.
    holding: Vec<CallId>,
    /// CSeq of the REFER: the id of its subscription (RFC 3515, section 2.4.6).
    seq: Option<u32>,
    told: Option<TransferState>,
    until: Option<Instant>,
}

impl Transfer {
    /// `holding`: the calls that are to be held first.
    pub(super) fn new(refer_to: String, other: Option<CallId>, holding: Vec<CallId>, now: Instant) -> Self {
        let (progress, until) = (Progress::Holding, Some(now + HOLD_TIMEOUT));
        Self { refer_to, other, progress, holding, seq: None, told: None, until }
    }

    /// Attended: the call with the target.
    pub(super) const fn other(&self) -> Option<CallId> {
        self.other
    }

    /// `hold` of this call has come to its end, one way or the other. `false`: it is not waited for.
    pub(super) fn held(&mut self, call: CallId) -> bool {
        let before = self.holding.len();
        self.holding.retain(|holding| *holding != call);
        self.holding.len() < before
    }

    /// REFER goes out now, to whom, if nothing is waited for.
    pub(super) fn refer(&mut self, now: Instant) -> Option<&str> {
        if self.progress != Progress::Holding || !self.holding.is_empty() {
            return None;
        }
        self.progress = Progress::Referred;
        self.until = Some(now + OUTCOME_TIMEOUT);
        Some(&self.refer_to)
    }

    pub(super) fn on_response(&mut self, response: &Response) -> News {
        match response.status {
            100..=199 => News::None,
            200..=299 => {
                self.accept();
                self.seq = response.headers.seq();
                // RFC 4488: nothing more will be said of it.
                if refer_sub_is_false(&response.headers) {
                    News::Succeeded(response.status)
                } else {
                    News::Going(TransferState::Trying, response.status)
                }
            }
            status => News::Failed(Some(status), Error::from_status(status, &response.reason)),
        }
    }

    /// NOTIFY, with the id of its event where it has one. `None`: of another subscription.
    pub(super) fn on_notify(&mut self, event: Option<u32>, request: &Request) -> Option<News> {
        // The NOTIFY may overtake the response to the REFER (RFC 3515, section 2.4.4).
        let ours = event.is_none() || self.seq.is_none() || event == self.seq;
        if self.progress == Progress::Holding || !ours {
            return None;
        }
        self.accept();
        Some(read_notify(request))
    }

    fn accept(&mut self) {
        if self.progress == Progress::Referred {
            self.progress = Progress::Accepted;
        }
    }

    /// Whether that is news for the application. The 202 and the NOTIFY of 100 say the same.
    pub(super) fn tell(&mut self, state: TransferState) -> bool {
        let known = self.told == Some(state) || (self.told.is_some() && state == TransferState::Trying);
        if !known {
            self.told = Some(state);
        }
        !known
    }

    /// The other side may hang up: it has taken the transfer on and owes us its outcome.
    pub(super) fn is_accepted(&self) -> bool {
        self.progress == Progress::Accepted
    }

    /// It does.
    pub(super) fn depart(&mut self, now: Instant) {
        self.progress = Progress::Departed;
        self.until = Some(now + LAST_NOTIFY);
    }

    pub(super) fn has_departed(&self) -> bool {
        self.progress == Progress::Departed
    }

    /// Its deadline has been reached.
    pub(super) fn give_up(&mut self) -> Missing {
        match self.progress {
            Progress::Holding => {
                self.holding.clear();
                Missing::Hold
            }
            Progress::Departed => Missing::LastNotify,
            Progress::Referred | Progress::Accepted => Missing::Outcome,
        }
    }

    pub(super) const fn deadline(&mut self) -> &mut Option<Instant> {
        &mut self.until
    }

    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// A transfer that the other side asks us for.
#[derive(Debug)]
pub(super) struct Referral {
    target: String,
    replaces: Option<String>,
    referred_by: Option<String>,
    subscription: Subscribed,
    /// Accepted: the call that was made for it.
    call: Option<CallId>,
    /// The other side has been put on hold for it, and by nobody else.
    put_on_hold: bool,
    until: Option<Instant>,
}

impl Referral {
    /// Of this REFER; `wanted`: news of it (RFC 4488).
    pub(super) fn new(
        target: String,
        replaces: Option<String>,
        request: &Request,
        wanted: bool,
        now: Instant,
    ) -> Self {
        Self {
            target,
            replaces,
            referred_by: request.headers.get("Referred-By").map(str::to_owned),
            subscription: Subscribed { seq: request.headers.seq().unwrap_or(0), wanted, status: 100 },
            call: None,
            put_on_hold: false,
            until: Some(now + DECISION_TIMEOUT),
        }
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn referred_by(&self) -> Option<&str> {
        self.referred_by.as_deref()
    }

    /// The headers of the INVITE that are ours alone.
    pub(super) fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = Vec::new();
        if let Some(value) = &self.replaces {
            headers.push(("Replaces", value.as_str()));
            // RFC 3891, section 4: without it the target would ring as for any other call.
            headers.push(("Require", "replaces"));
        }
        headers.extend(self.referred_by().map(|value| ("Referred-By", value)));
        headers
    }

    /// The call that was made for it.
    pub(super) const fn call(&self) -> Option<CallId> {
        self.call
    }

    /// It is accepted: this is the call.
    pub(super) const fn accept(&mut self, call: CallId) {
        self.call = Some(call);
        self.until = None;
    }

    pub(super) const fn set_put_on_hold(&mut self, put_on_hold: bool) {
        self.put_on_hold = put_on_hold;
    }

    pub(super) const fn is_put_on_hold(&self) -> bool {
        self.put_on_hold
    }

    /// The new call is up: the other side is to hang up.
    pub(super) fn await_farewell(&mut self, now: Instant) {
        self.until = Some(now + FAREWELL);
    }

    /// How it stands. `false`: as before.
    pub(super) const fn set_status(&mut self, status: u16) -> bool {
        self.subscription.set_status(status)
    }

    /// NOTIFY, where it is wanted.
    pub(super) fn notify(&self, dialog: &mut Dialog, contact: &str) -> Option<Request> {
        self.subscription.wanted.then(|| notify(dialog, self.subscription, contact))
    }

    /// The subscription is gone; the call is not.
    pub(super) const fn unsubscribe(&mut self) {
        self.subscription.wanted = false;
    }

    /// Whether this is its subscription (RFC 3515, section 2.4.4), and there is more to say.
    pub(super) fn is_subscribed(&self, event: Option<u32>) -> bool {
        let known = self.subscription;
        known.wanted && known.status < 200 && event.is_none_or(|seq| seq == known.seq)
    }

    pub(super) const fn deadline(&mut self) -> &mut Option<Instant> {
        &mut self.until
    }

    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// The implicit subscription of a REFER, as its notifier.
#[derive(Debug, Clone, Copy)]
struct Subscribed {
    /// CSeq of the REFER.
    seq: u32,
    /// `false` where it was not wanted (RFC 4488) or is over.
    wanted: bool,
    /// The last status reported.
    status: u16,
}

impl Subscribed {
    const fn set_status(&mut self, status: u16) -> bool {
        let new = self.status != status;
        self.status = status;
        new
    }
}

/// Who asked us to make a call.
#[derive(Debug)]
pub(super) struct Referrer {
    call: CallId,
    /// What is left of the call with it once that is over: the subscription lives on in the dialog (RFC 5057).
    orphan: Option<(Dialog, Subscribed)>,
}

impl Referrer {
    pub(super) const fn new(call: CallId) -> Self {
        Self { call, orphan: None }
    }

    /// The call with it, until that is over.
    pub(super) const fn call(&self) -> Option<CallId> {
        if self.orphan.is_none() { Some(self.call) } else { None }
    }

    /// The call with it is over.
    pub(super) fn outlive(&mut self, referral: &Referral, dialog: Option<Dialog>) {
        self.orphan = dialog.map(|mut dialog| {
            // Our own BYE, maybe twice for a challenge, takes numbers too; gaps do no harm.
            dialog.local_seq = dialog.local_seq.saturating_add(16);
            (dialog, referral.subscription)
        });
    }

    /// NOTIFY to one whose call is over.
    pub(super) fn notify(&mut self, status: u16, contact: &str) -> Option<Request> {
        let (dialog, subscription) = self.orphan.as_mut()?;
        let news = subscription.wanted && subscription.set_status(status);
        news.then(|| notify(dialog, *subscription, contact))
    }
}

/// NOTIFY with the status line that is reported (RFC 3515, section 2.4.5; RFC 3420).
fn notify(dialog: &mut Dialog, subscription: Subscribed, contact: &str) -> Request {
    let Subscribed { seq, status, .. } = subscription;
    let mut request = dialog.request(Method::Notify, None);
    let state = match status {
        100..=199 => concat(&["active;expires=", EXPIRES]),
        _ => "terminated;reason=noresource".to_owned(),
    };
    request.headers.push_all(&[
        ("Contact", contact),
        ("Event", &concat(&["refer;id=", &digits(seq)])),
        ("Subscription-State", &state),
        ("Content-Type", "message/sipfrag;version=2.0"),
    ]);
    let line = concat(&["SIP/2.0 ", &digits(status), " ", &default_reason(status), "\r\n"]);
    request.body = line.into_bytes();
    request
}

/// `None`: another event; else the id of the subscription, where there is one.
pub(super) fn refer_event(request: &Request) -> Option<Option<u32>> {
    let (event, params) = split_before(request.headers.get("Event").unwrap_or_default(), b';');
    event
        .trim_ascii()
        .eq_ignore_ascii_case("refer")
        // What is no number is the id of nothing.
        .then(|| Params::parse(params).get("id").map(|id| number(id).unwrap_or(u32::MAX)))
}

fn read_notify(request: &Request) -> News {
    let (state, params) = split_before(request.headers.get("Subscription-State").unwrap_or_default(), b';');
    let params = Params::parse(params);
    let terminated = state.trim_ascii().eq_ignore_ascii_case("terminated");
    let reported = sipfrag(request);
    match reported {
        Some((status @ 200..=299, _)) => News::Succeeded(status),
        Some((status @ 300.., phrase)) => News::Failed(Some(status), Error::from_status(status, phrase)),
        // A peer in wide use calls every NOTIFY the last one, and then goes on; but it gives no reason.
        _ if terminated && (reported.is_none() || params.contains("reason")) => {
            let (code, message) = match params.get("reason") {
                Some("timeout") => (ErrorCode::Timeout, "The transfer took too long"),
                Some("rejected") => (ErrorCode::Declined, "The transfer was declined"),
                _ => (ErrorCode::ServerError, "The other side does not report the outcome of the transfer"),
            };
            News::Failed(None, Error::new(code, message))
        }
        Some((100, _)) => News::Going(TransferState::Trying, 100),
        Some((status, _)) => News::Going(TransferState::Ringing, status),
        None => News::None,
    }
}

/// Status and phrase of the response that a NOTIFY tells of (RFC 3420).
fn sipfrag(request: &Request) -> Option<(u16, &str)> {
    let kind = before(request.headers.content_type()?, b';');
    if !kind.trim_ascii().eq_ignore_ascii_case("message/sipfrag") {
        return None;
    }
    let line = before(core::str::from_utf8(&request.body).ok()?, b'\n').trim_ascii();
    let (version, rest) = split_once(line, b' ')?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let (status, phrase) = split_before(rest, b' ');
    let status = number(status).filter(|status| (100..=699).contains(status))?;
    Some((u16::try_from(status).ok()?, phrase.trim_ascii()))
}

/// RFC 4488.
pub(super) fn refer_sub_is_false(headers: &Headers) -> bool {
    headers
        .get("Refer-Sub")
        .is_some_and(|value| before(value, b';').trim_ascii().eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn blind() -> Transfer {
        Transfer::new("<sip:carol@example.com>".to_owned(), None, Vec::new(), at(0))
    }

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let mut refer = Request::new(Method::Refer, "sip:bob@example.com");
        refer.headers.push("CSeq", "7 REFER");
        let mut response = refer.response(status, None);
        response.headers.push_all(headers);
        response
    }

    fn notify(state: &str, line: &str) -> Request {
        let mut notify = Request::new(Method::Notify, "sip:alice@example.com");
        notify.headers.push_all(&[("Subscription-State", state), ("Content-Type", "message/sipfrag")]);
        notify.body = line.as_bytes().to_vec();
        notify
    }

    #[test]
    fn refer_waits_for_the_holds_for_ten_seconds() {
        let mut transfer = Transfer::new(
            "<sip:carol@example.com>".to_owned(),
            Some(CallId(2)),
            vec![CallId(1), CallId(2)],
            at(0),
        );
        assert_eq!((transfer.until(), transfer.refer(at(1))), (Some(at(10)), None));
        assert!(transfer.held(CallId(1)) && !transfer.held(CallId(1)) && !transfer.held(CallId(3)));
        assert_eq!(transfer.refer(at(1)), None);
        assert_eq!(transfer.on_notify(None, &notify("active", "SIP/2.0 200 OK")), None, "nobody was asked");
        assert!(transfer.held(CallId(2)));
        assert_eq!(transfer.refer(at(2)), Some("<sip:carol@example.com>"));
        assert_eq!((transfer.until(), transfer.refer(at(3))), (Some(at(202)), None));
        assert_eq!(transfer.give_up(), Missing::Outcome);
        let mut slow = Transfer::new(String::new(), None, vec![CallId(1)], at(0));
        assert_eq!(slow.give_up(), Missing::Hold);
        assert!(slow.refer(at(10)).is_some());
    }

    #[test]
    fn the_response_to_refer_is_news() {
        use TransferState::Trying;
        for (status, headers, news) in [
            (100, vec![], News::None),
            (202, vec![], News::Going(Trying, 202)),
            (200, vec![("Refer-Sub", "false")], News::Succeeded(200)),
            (202, vec![("Refer-Sub", "true")], News::Going(Trying, 202)),
            (603, vec![], News::Failed(Some(603), Error::from_status(603, "Decline"))),
        ] {
            let mut transfer = blind();
            transfer.refer(at(0));
            assert_eq!(transfer.on_response(&response(status, &headers)), news, "{status} {headers:?}");
            assert_eq!(transfer.is_accepted(), (200..300).contains(&status));
        }
    }

    #[test]
    fn a_notify_tells_how_far_it_is() {
        use TransferState::{Ringing, Trying};
        let failed = |code, message| News::Failed(None, Error::new(code, message));
        for (state, line, news) in [
            ("active;expires=60", "SIP/2.0 100 Trying", News::Going(Trying, 100)),
            ("active", "SIP/2.0 180 Ringing\r\n", News::Going(Ringing, 180)),
            ("terminated;reason=noresource", "SIP/2.0 200 OK", News::Succeeded(200)),
            ("active", "SIP/2.0 200 OK", News::Succeeded(200)),
            (
                "terminated;reason=noresource",
                "SIP/2.0 486 Busy Here",
                News::Failed(Some(486), Error::from_status(486, "Busy Here")),
            ),
            ("terminated", "SIP/2.0 100 Trying", News::Going(Trying, 100)),
            (
                "terminated;reason=timeout",
                "SIP/2.0 180 Ringing",
                failed(ErrorCode::Timeout, "The transfer took too long"),
            ),
            ("terminated;reason=rejected", "", failed(ErrorCode::Declined, "The transfer was declined")),
            (
                "terminated",
                "nonsense",
                failed(ErrorCode::ServerError, "The other side does not report the outcome of the transfer"),
            ),
            ("active", "SIP/2.0 99 Low", News::None),
            ("active", "HTTP/1.1 200 OK", News::None),
        ] {
            let mut transfer = blind();
            transfer.refer(at(0));
            assert_eq!(transfer.on_notify(None, &notify(state, line)), Some(news), "{state} {line}");
            assert!(transfer.is_accepted(), "it may overtake the 202");
        }
    }

    #[test]
    fn a_notify_belongs_to_the_refer_that_its_event_names() {
        let mut transfer = blind();
        transfer.refer(at(0));
        let trying = notify("active", "SIP/2.0 100 Trying");
        assert!(transfer.on_notify(Some(9), &trying).is_some(), "the number is not known yet");
        transfer.on_response(&response(202, &[]));
        for (event, taken) in [(None, true), (Some(7), true), (Some(8), false)] {
            assert_eq!(transfer.on_notify(event, &trying).is_some(), taken, "{event:?}");
        }
    }

    #[test]
    fn the_application_is_told_once() {
        use TransferState::{Ringing, Trying};
        let mut transfer = blind();
        for (state, told) in
            [(Trying, true), (Trying, false), (Ringing, true), (Ringing, false), (Trying, false)]
        {
            assert_eq!(transfer.tell(state), told, "{state:?}");
        }
    }

    #[test]
    fn who_hangs_up_may_still_tell_the_outcome_for_four_seconds() {
        let mut transfer = blind();
        transfer.refer(at(0));
        transfer.on_response(&response(202, &[]));
        transfer.depart(at(30));
        assert!(transfer.has_departed() && !transfer.is_accepted());
        assert_eq!((transfer.until(), transfer.give_up()), (Some(at(34)), Missing::LastNotify));
        let over = notify("terminated;reason=noresource", "SIP/2.0 200 OK");
        assert_eq!(transfer.on_notify(Some(7), &over), Some(News::Succeeded(200)));
    }

    fn referral(headers: &[(&str, &str)], wanted: bool) -> Referral {
        let mut refer = Request::new(Method::Refer, "sip:alice@example.com");
        refer.headers.push("CSeq", "7 REFER");
        refer.headers.push_all(headers);
        Referral::new(
            "sip:carol@example.com".to_owned(),
            Some("x;to-tag=1".to_owned()),
            &refer,
            wanted,
            at(0),
        )
    }

    #[test]
    fn a_referral_has_deadlines_and_headers_of_its_own() {
        let mut referral = referral(&[("Referred-By", "<sip:bob@example.com>")], true);
        assert_eq!((referral.until(), referral.call()), (Some(at(60)), None));
        assert_eq!(
            referral.headers(),
            [("Replaces", "x;to-tag=1"), ("Require", "replaces"), ("Referred-By", "<sip:bob@example.com>")]
        );
        referral.accept(CallId(2));
        assert_eq!((referral.until(), referral.call()), (None, Some(CallId(2))));
        referral.await_farewell(at(20));
        assert_eq!(referral.until(), Some(at(25)));
    }

    #[test]
    fn the_transferor_hears_of_each_status_once_and_while_it_wants_to() {
        let mut dialog = Dialog::named("call-1");
        let mut wanted = referral(&[], true);
        assert!(!wanted.set_status(100) && wanted.set_status(180) && !wanted.set_status(180));
        let notify = wanted.notify(&mut dialog, "<sip:alice@example.com>").unwrap();
        assert_eq!(notify.headers.get("Event"), Some("refer;id=7"));
        assert_eq!(notify.headers.get("Subscription-State"), Some("active;expires=240"));
        assert_eq!(notify.body, b"SIP/2.0 180 Ringing\r\n");
        for (event, known) in [(None, true), (Some(7), true), (Some(8), false)] {
            assert_eq!(wanted.is_subscribed(event), known, "{event:?}");
        }
        assert!(wanted.set_status(200) && !wanted.is_subscribed(None));
        let notify = wanted.notify(&mut dialog, "<sip:alice@example.com>").unwrap();
        assert_eq!(notify.headers.get("Subscription-State"), Some("terminated;reason=noresource"));
        wanted.unsubscribe();
        assert!(wanted.notify(&mut dialog, "").is_none());
        assert!(referral(&[], false).notify(&mut dialog, "").is_none(), "RFC 4488");
    }

    #[test]
    fn the_subscription_outlives_the_call_with_the_transferor() {
        let mut referrer = Referrer::new(CallId(1));
        assert_eq!((referrer.call(), referrer.notify(180, "").is_none()), (Some(CallId(1)), true));
        let mut dialog = Dialog::named("call-1");
        dialog.local_seq = 3;
        referrer.outlive(&referral(&[], true), Some(dialog));
        assert_eq!(referrer.call(), None);
        let notify = referrer.notify(200, "<sip:alice@example.com>").unwrap();
        assert_eq!(notify.headers.seq(), Some(20), "behind our BYE");
        assert!(referrer.notify(200, "").is_none(), "once");
    }
}
