//! Session timers (RFC 4028): a session that nobody refreshes ends, so that a side which has vanished does not stay
//! "in the call" for ever.

use core::time::Duration;

use super::authentication::renew;
use super::transactions::{Owner, TxId};
use super::{CallId, CallTimer, EndCause, EndedBy, Phone, SUPPORTED, TimerKey};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::{Params, parse_u32, split_before};
use crate::sip::message::{Headers, Method, Request, Response};
use crate::text::concat;

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

/// The session timer of one call.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Agreed interval, seconds; `None`: the session has no limit.
    pub(super) expires: Option<u32>,
    /// We refresh it.
    pub(super) ours: bool,
    /// The greatest Min-SE that the other side has asked for, seconds.
    pub(super) min_se: u32,
    /// A server wants the session to have a limit (421).
    pub(super) required: bool,
    /// How often it has asked for more.
    too_small: u8,
    /// The other side takes UPDATE (RFC 4028, section 7.4: preferred, as it needs no offer).
    pub(super) updates: bool,
    /// A refresh by re-INVITE is to be made as soon as nothing else goes on.
    pub(super) wanted: bool,
    /// A refresh has been sent and not been answered.
    open: bool,
}

impl Session {
    /// 422 within the call: whether a refresh with what the other side asks for is worth while (RFC 4028, section 7.4).
    pub(super) fn takes_longer(&mut self, response: &Response) -> bool {
        let min = response.headers.get("Min-SE").and_then(parse_u32).unwrap_or(0);
        if min > MAX_SE || self.too_small >= MAX_TOO_SMALL {
            return false;
        }
        self.too_small += 1;
        self.min_se = min.max(self.min_se);
        self.expires = self.expires.map(|seconds| seconds.max(min));
        true
    }
}

/// Nonsense must not make us refresh all the time.
pub(super) fn bounded(seconds: u32) -> u32 {
    seconds.clamp(MIN_SE, MAX_SE)
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

impl Phone {
    /// What we ask for in an INVITE that makes a call.
    pub(super) fn offer_session(&self, id: CallId, headers: &mut Headers) {
        let (min, required) =
            self.calls.get(&id).map_or((0, false), |call| (call.session.min_se, call.session.required));
        let wanted = self.config.session_timers.map(|wanted| wanted.expires);
        let Some(wanted) = wanted.or_else(|| required.then_some(EXPIRES)) else { return };
        let seconds = bounded(u32::try_from(wanted.as_secs()).unwrap_or(MAX_SE));
        headers.set("Session-Expires", seconds.max(min).to_string());
        if min > 0 {
            headers.set("Min-SE", min.to_string());
        }
    }

    /// An interval that is too small gets 422 (RFC 4028, section 9).
    pub(super) fn session_too_small(request: &Request) -> Option<(u16, Option<(&'static str, String)>)> {
        if !matches!(request.method, Method::Invite | Method::Update) {
            return None;
        }
        let (seconds, _) = session_expires(&request.headers)?;
        // Whoever doesn't know the extension can't read a 422; a proxy has put the interval in.
        let reads = request.headers.contains_token("Supported", "timer");
        (seconds < MIN_SE && reads).then(|| (422, Some(("Min-SE", MIN_SE.to_string()))))
    }

    /// 422: whether the INVITE that makes the call has been sent again with what the other side asks for
    /// (RFC 4028, section 7.4).
    pub(super) fn ask_for_longer_session(&mut self, id: CallId, response: &Response) -> bool {
        let min = response.headers.get("Min-SE").and_then(parse_u32).unwrap_or(0);
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let session = &mut call.session;
        if min <= session.min_se || min > MAX_SE || session.too_small >= MAX_TOO_SMALL {
            return false;
        }
        session.min_se = min;
        session.too_small += 1;
        let Some(mut invite) = call.invite.clone() else { return false };
        renew(&mut invite);
        self.offer_session(id, &mut invite.headers);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some(invite.clone());
        }
        self.send_request(Owner::Invite(id), invite, Attempt::default()).is_ok()
    }

    /// 421: whether the INVITE that makes the call has been sent again, which is done once, with the extensions that it
    /// names (RFC 3261, section 21.4.16).
    pub(super) fn take_extension(&mut self, id: CallId, response: &Response) -> bool {
        let required = response.headers.values("Require");
        let is = |tag: &str, known: &str| known.eq_ignore_ascii_case(tag);
        let supported = self.supported_with(true);
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.extended) else { return false };
        let Some(mut invite) = call.invite.clone() else { return false };
        if required.is_empty() || !required.iter().all(|tag| SUPPORTED.iter().any(|known| is(tag, known))) {
            return false;
        }
        call.extended = true;
        call.session.required = required.iter().any(|tag| is(tag, "timer"));
        renew(&mut invite);
        invite.headers.set("Supported", supported);
        self.offer_session(id, &mut invite.headers);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some(invite.clone());
        }
        self.send_request(Owner::Invite(id), invite, Attempt::default()).is_ok()
    }

    /// What our 2xx to an INVITE or UPDATE says of the session, and the timers that follow from it (RFC 4028,
    /// section 9).
    pub(super) fn accept_session(&mut self, id: CallId, tx: TxId, headers: &mut Vec<(&'static str, String)>) {
        let Some(entry) = self.transactions.server(tx) else { return };
        let request = &entry.tx.request;
        if !matches!(request.method, Method::Invite | Method::Update) {
            return;
        }
        let supported = request.headers.contains_token("Supported", "timer");
        let asked = session_expires(&request.headers);
        let updates = request.headers.contains_token("Allow", "UPDATE");
        let min = request.headers.get("Min-SE").and_then(parse_u32).unwrap_or(0);
        let wish = self.config.session_timers.map(|wanted| wanted.expires.as_secs());
        let wish = wish.and_then(|seconds| u32::try_from(seconds).ok()).map(|seconds| seconds.max(MIN_SE));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.session.updates |= updates;
        // RFC 4028, section 9: never less than the other side can take, here and in what we ask for later.
        call.session.min_se = call.session.min_se.max(min.min(MAX_SE));
        // Of our own accord only with a caller who knows timers, and not with a provider's call.
        let wish = wish.filter(|_| supported && call.rest.is_none());
        let Some(seconds) = asked.map(|(seconds, _)| seconds).or(wish) else {
            call.session.expires = None;
            self.arm_session(id);
            return;
        };
        let seconds = bounded(seconds).max(min).max(call.session.min_se);
        // Who can't refresh is refreshed by us; who can and leaves it open does it itself.
        let by_them = supported && asked.is_some_and(|(_, by_uac)| by_uac.unwrap_or(true));
        call.session.expires = Some(seconds);
        call.session.ours = !by_them;
        let refresher = if by_them { ";refresher=uac" } else { ";refresher=uas" };
        headers.push(("Session-Expires", concat(&[&seconds.to_string(), refresher])));
        if by_them {
            headers.push(("Require", "timer".to_owned()));
        }
        self.arm_session(id);
    }

    /// What the other side's 2xx to our INVITE, re-INVITE or UPDATE says of it (RFC 4028, section 7.2).
    pub(super) fn session_answered(&mut self, id: CallId, response: &Response) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let session = &mut call.session;
        session.updates |= response.headers.contains_token("Allow", "UPDATE");
        session.open = false;
        session.wanted = false;
        match session_expires(&response.headers) {
            Some((seconds, by_uac)) => {
                session.expires = Some(bounded(seconds));
                session.ours = by_uac.unwrap_or(true);
            }
            // The other side knows no timers: what we asked for is ours to keep up, or not.
            None => session.expires = None,
        }
        self.arm_session(id);
        self.reached(id);
        // What could not be agreed while the other side was away.
        self.continue_offer(id);
    }

    fn arm_session(&mut self, id: CallId) {
        let refresh = TimerKey::Call(id, CallTimer::SessionRefresh);
        let expired = TimerKey::Call(id, CallTimer::SessionExpired);
        self.timers.clear(refresh);
        self.timers.clear(expired);
        let Some(session) = self.calls.get(&id).filter(|call| call.is_up()).map(|call| &call.session) else {
            return;
        };
        let Some(seconds) = session.expires else { return };
        // RFC 4028, section 10: half of it to refresh, and BYE a little before it is over.
        if session.ours {
            self.timers.set(refresh, self.now + Duration::from_secs(u64::from(seconds / 2)));
        }
        let left = seconds - (seconds / 3).min(32);
        self.timers.set(expired, self.now + Duration::from_secs(u64::from(left)));
    }

    /// The session is over, or the call is.
    pub(super) fn forget_session(&mut self, id: CallId) {
        self.clear_call_timers(id, &[CallTimer::SessionRefresh, CallTimer::SessionExpired]);
    }

    /// Session-Expires of a refresh: the interval as it is, and us as the one who goes on refreshing.
    pub(super) fn keep_session(&self, id: CallId, headers: &mut Headers) {
        let Some(session) = self.calls.get(&id).map(|call| &call.session) else { return };
        headers.push("Supported", self.supported());
        if let Some(seconds) = session.expires {
            let seconds = seconds.max(session.min_se);
            let role = if session.ours { ";refresher=uac" } else { ";refresher=uas" };
            headers.push("Session-Expires", concat(&[&seconds.to_string(), role]));
        }
        if session.min_se > 0 {
            headers.push("Min-SE", session.min_se.to_string());
        }
    }

    pub(super) fn on_session_refresh(&mut self, id: CallId) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.session.open {
            return;
        }
        if !call.session.updates {
            call.session.wanted = true;
            self.continue_offer(id);
            return;
        }
        // A transaction of its own that needs no offer: it may overlap with anything (RFC 3311, section 5.1).
        let Some(dialog) = call.dialog.as_mut() else { return };
        let mut update = dialog.request(Method::Update, None);
        call.session.open = true;
        update.headers.push_all(&[("Contact", &contact), ("Allow", super::ALLOW)]);
        self.keep_session(id, &mut update.headers);
        if let Err(error) = self.send_request(Owner::Update(id), update, Attempt::default()) {
            self.refresh_failed(id, &error);
        }
    }

    pub(super) fn on_update_response(&mut self, id: CallId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if response.status < 300 {
            if let Some(dialog) = call.dialog.as_mut() {
                dialog.refresh_target(&response.headers);
            }
            self.session_answered(id, response);
            return;
        }
        match response.status {
            422 if call.session.takes_longer(response) => {
                call.session.open = false;
                self.on_session_refresh(id);
            }
            // It says in Allow what it doesn't do.
            405 | 501 => {
                call.session.updates = false;
                call.session.open = false;
                self.on_session_refresh(id);
            }
            status => self.refresh_failed(id, &Error::from_status(status, &response.reason)),
        }
    }

    /// The other side is not there any more (RFC 4028, section 10), or can't be asked now: then again, until the
    /// session is over.
    pub(super) fn refresh_failed(&mut self, id: CallId, error: &Error) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.session.open = false;
        if error.sip_status == Some(481) {
            self.dialog_gone(id, error.clone());
            return;
        }
        // RFC 4028, section 10, would end the call here after 408 or no answer. The other side may be looking for a
        // new connection: the session's own end is soon enough.
        if self.recovery_failed(id, None, error) {
            return;
        }
        let again = self.now + AGAIN;
        if self.calls.get(&id).is_some_and(|call| call.session.expires.is_some()) {
            self.timers.set(TimerKey::Call(id, CallTimer::SessionRefresh), again);
        }
    }

    pub(super) fn on_session_expired(&mut self, id: CallId) {
        // Nobody could have refreshed it: how long that may last is not for the session to say.
        if self.calls.get(&id).is_some_and(|call| call.recovery.is_unreached()) {
            let again = self.now + AGAIN;
            self.timers.set(TimerKey::Call(id, CallTimer::SessionExpired), again);
            return;
        }
        let error = Error::new(ErrorCode::Timeout, "The other side does not keep the session up any more");
        let reason = Some("SIP;cause=408;text=\"Session expired\"");
        self.end_with_bye(id, EndCause::Failed(error), EndedBy::Network, reason);
    }
}
