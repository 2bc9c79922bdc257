//! New calls: those that an INVITE brings, that the application dials or originates by REST, and that a record restores. An
//! INVITE may also belong to a call that exists.

use super::call::Call;
use super::originate::matching::{MATCH_TIMEOUT, MAX_UNMATCHED, Verdict, occupied};
use super::outgoing::Callee;
use super::recovery::Recovery;
use super::resume::{Record, refused};
use super::timers::TxId;
use super::{
    AnswerBy, CallId, CallState, ConnectionState, DialRequest, EndCause, Event, LogLevel, OriginateRequest,
    Phone, ProxyId, TimerKey,
};
use crate::dial::proxy::{ProxyFailure, ProxyReply};
use crate::error::{Error, ErrorCode};
use crate::sip::message::Request;
use crate::time::{Duration, Instant};

impl Phone {
    // ---- INVITE in

    pub(super) fn on_invite(&mut self, tx: TxId, request: &Request) {
        if let Some(id) = self.calls.repeated_by(request)
            && self.with(id, |call, cx| call.adopt_retransmitted_invite(cx, tx, request))
        {
            return;
        }
        if !self.take_bridge(tx, request) {
            self.ring(tx, request);
        }
    }

    /// A call that rings, or takes the place of another one at once.
    pub(super) fn ring(&mut self, tx: TxId, request: &Request) {
        if let Some(refusal) = self.calls.refusal(&self.cx, request) {
            self.cx.respond_refusal(tx, refusal);
            return;
        }
        let replaces = match self.calls.replaced_call(request) {
            Ok(replaces) => replaces,
            Err(status) => {
                self.cx.respond(tx, status);
                return;
            }
        };
        if replaces.is_none() && self.calls.is_full(&self.cx) {
            self.cx.respond(tx, 486);
            return;
        }
        let former = replaces.and_then(|former| self.calls.get(former));
        let at_once = former.is_some_and(|call| call.may_replace(&self.cx, &request.headers));
        if let Some(status) = self.calls.auto_answer_refusal(&self.cx, request).filter(|_| !at_once) {
            self.cx.respond(tx, status);
            return;
        }
        let Some(call) = Call::ring(&mut self.cx, tx, request, former) else {
            // No usable Contact (RFC 3261, section 8.1.1.8 demands one).
            self.cx.respond(tx, 400);
            return;
        };
        let id = call.id;
        self.calls.insert(call);
        if let Some(old) = replaces.filter(|_| at_once) {
            self.answer_in_place_of(old, id);
            return;
        }
        let occupied = self.calls.occupy_the_user(Some(id));
        self.with(id, |call, cx| call.present(cx, tx, request, occupied));
    }

    // ---- INVITE out

    /// `own`: headers that are not the application's.
    pub(super) fn start_dial(&mut self, dial: DialRequest, own: &[(&str, &str)]) -> Result<CallId, Error> {
        if self.cx.line.is_closing() || self.cx.line.open_socket().is_none() {
            return Err(Error::new(ErrorCode::NotConnected, "There is no connection to the SIP server"));
        }
        let callee = Callee::of(&dial)?;
        self.cx.env.take_headers(&dial.extra_headers)?;
        if self.calls.is_full(&self.cx) {
            return Err(too_many());
        }
        let former = dial.continues.and_then(|former| self.calls.get(former));
        let call = Call::dial(&mut self.cx, callee, dial, own, former)?;
        let id = call.id;
        self.calls.insert(call);
        Ok(id)
    }

    // ---- from the record of another page

    /// Takes up the calls of a record that another page has kept, `age` ago: they are `Reconnecting`, and go on once
    /// [`Phone::connect`] has brought this phone to its server. Returns how many there are.
    ///
    /// # Errors
    /// `invalid_state` while there is a connection or a call, `invalid_record` for one that is damaged, too old, or of
    /// another account: nothing is taken up.
    pub fn resume(&mut self, now: Instant, record: &str, age: Duration) -> Result<usize, Error> {
        self.begin(now);
        if self.cx.line.connection() != ConnectionState::Disconnected || !self.calls.is_empty() {
            return Err(Error::new(
                ErrorCode::InvalidState,
                "Calls can be taken up before connect(), and by a phone without calls",
            ));
        }
        // The other side has given up meanwhile.
        if age > self.cx.env.config.signalling_grace {
            return Err(refused("The record of the calls is too old"));
        }
        let record = Record::read(record).ok_or_else(|| refused("The record of the calls is damaged"))?;
        if record.aor != self.cx.env.config.uri.aor() {
            return Err(refused("The record of the calls belongs to another account"));
        }
        let mut calls = record.calls;
        calls.truncate(self.cx.env.config.max_calls);
        // Where others look for this phone, the registrar and the other sides of the calls.
        self.cx.registration.set_instance(record.instance);
        self.cx.env.take_address(record.user, record.host);
        // From now on the connection is one that was lost: it is looked for until the grace is over.
        self.cx.line.take_up();
        let count = calls.len();
        for mut call in calls {
            let id = self.cx.numbers.call();
            call.id = id;
            call.session.recovery = Recovery::resumed(self.cx.env.now);
            self.calls.insert(call);
            self.cx.event(Event::CallState(id, CallState::Reconnecting));
            self.with(id, |call, cx| call.recover(cx));
        }
        Ok(count)
    }

    // ---- by REST

    /// Starts a call by REST: asks the call proxy for it, answers the provider's call to this phone with nothing
    /// heard or sent, and opens up once the proxy has confirmed that it is the right one.
    ///
    /// # Errors
    /// `not_connected`, `invalid_state` (too many calls, or another one is answered), `invalid_config` (the user of
    /// `uri` is not a number, so that the provider's call could not be told).
    pub fn originate(&mut self, now: Instant, request: OriginateRequest) -> Result<CallId, Error> {
        self.begin(now);
        if request.answer == AnswerBy::ThisPhone {
            let registered = !self.cx.env.config.register || self.cx.registration.is_registered();
            if self.cx.line.is_closing() || self.connection() != ConnectionState::Connected || !registered {
                return Err(Error::new(ErrorCode::NotConnected, "The provider cannot call this phone now"));
            }
            if self.cx.own_number().is_empty() {
                return Err(Error::invalid_config(
                    "uri",
                    "its user must be the number that the provider calls",
                ));
            }
            if self.calls.iter().any(Call::occupies) {
                return Err(Error::new(ErrorCode::InvalidState, "There is another call").with_hint(
                    "The provider reaches this phone for one call at a time: end the other one.",
                ));
            }
        }
        if self.calls.is_full(&self.cx) {
            return Err(too_many());
        }
        let call = Call::originate(&mut self.cx, request);
        let id = call.id;
        self.calls.insert(call);
        Ok(id)
    }

    pub(super) fn on_proxy(&mut self, request: ProxyId, answer: &Result<ProxyReply, ProxyFailure>) {
        self.cx.timers.clear(TimerKey::Proxy(request));
        let found = self.calls.iter().find(|call| call.has_asked_proxy(request)).map(|call| call.id);
        if let Some(id) = found {
            self.with(id, |call, cx| call.on_proxy(cx, request, answer));
            self.judge_unmatched();
        }
    }

    /// Deals with an INVITE that concerns a dial by REST; `false` for any other.
    fn take_bridge(&mut self, tx: TxId, request: &Request) -> bool {
        if self.cx.line.is_closing() {
            return false;
        }
        match self.calls.verdict(&self.cx, request) {
            Verdict::Stranger => return false,
            Verdict::Unknown if self.cx.unmatched.len() >= MAX_UNMATCHED => self.cx.respond(tx, 486),
            Verdict::Unknown => {
                self.cx.respond(tx, 100);
                self.cx.unmatched.push((tx, request.clone()));
                if !self.cx.timers.is_set(TimerKey::Unmatched) {
                    self.cx.timers.set(TimerKey::Unmatched, self.cx.env.now + MATCH_TIMEOUT);
                }
            }
            Verdict::Bridge(id) => match self.calls.refusal(&self.cx, request) {
                // The provider tells the proxy that this phone cannot be reached.
                Some(refusal) => self.cx.respond_refusal(tx, refusal),
                None => self.with(id, |call, cx| call.answer_bridge(cx, tx, request)),
            },
            Verdict::Second => {
                let refusal = self.calls.refusal(&self.cx, request).unwrap_or((486, None));
                self.cx.respond_refusal(tx, refusal);
                self.cx.log(LogLevel::Warn, &["a second call looks like the provider's"]);
            }
            Verdict::Occupied(id) => {
                self.cx.respond(tx, 486);
                let error = occupied();
                self.with(id, |call, cx| call.abandon(cx, EndCause::Failed(error.clone()), error));
            }
            Verdict::Late => self.cx.respond(tx, 603),
        }
        true
    }

    /// Looks again at the calls that could not be told.
    pub(super) fn judge_unmatched(&mut self) {
        for (tx, request) in core::mem::take(&mut self.cx.unmatched) {
            if matches!(self.calls.verdict(&self.cx, &request), Verdict::Unknown) {
                self.cx.unmatched.push((tx, request));
            } else {
                self.on_invite(tx, &request);
            }
        }
        if self.cx.unmatched.is_empty() {
            self.cx.timers.clear(TimerKey::Unmatched);
        }
    }
}

fn too_many() -> Error {
    Error::new(ErrorCode::InvalidState, "There are too many calls already")
}
