//! Calls by REST: the proxy is asked for the call, the provider calls this phone, and this phone answers it by
//! itself. An answer that nobody gave by hand must be for the right call, so:
//!
//! 1. A dial **arms** one slot, before the proxy is asked; no other page of this origin can at the same time.
//! 2. An INVITE **matches** it by the calling and the called number. It is answered with the gate shut: no microphone
//!    leaves, nothing is played. A second one is busy, and whatever does not match rings like any other call.
//! 3. The phone **claims** the call. The provider asks the proxy what to do only after it was answered; so the proxy
//!    knows when this phone has the right call, and only then dials the far end and **confirms**.
//! 4. The gate **opens** with the confirmation. Without it the call is hung up: a caller who only looks like the
//!    provider has heard nothing.
//!
//! One record of a call carries the whole journey, first without and then with a SIP dialog. After a dial was given
//! up it stays for as long as the provider may still call, to refuse that.

use core::time::Duration;

use super::call::{Call, Job, Phase};
use super::transactions::TxId;
use super::{
    AnswerBy, CallId, CallState, CallTimer, ConnectionState, DialStage, Direction, EndCause, EndedBy, Event,
    LockId, MediaCommand, OriginateRequest, Output, Phone, ProxyId, RegistrationState, TimerKey,
};
use crate::dial::originate::{News, Order, Originate, Purpose, Step};
use crate::dial::proxy::{Expected, ProxyCall, ProxyCommand, ProxyFailure, ProxyReply};
use crate::entropy::{token, uuid_v4};
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::digest::sha256_hex;
use crate::sip::message::Request;
use crate::sip::uri::Uri;
use crate::text::concat;
use crate::time::Instant;

/// For an answer of the proxy, beyond what it was told to wait.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the provider lets this phone ring, where the proxy does not say.
const RING_TIMEOUT: Duration = Duration::from_secs(20);
/// From the answer to its confirmation, where the proxy does not say.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(4);
/// What the provider's call may be late by.
const GRACE: Duration = Duration::from_secs(5);
/// For the browser to say whether another page has the lock; it does so at once.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// From the provider's INVITE to its answer. The microphone is open by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits, not yet ringing, for the news whether it is the provider's.
const HOLD_TIMEOUT: Duration = Duration::from_secs(8);
/// Calls that wait so at the same time; more are told that it is busy here.
const MAX_HELD: usize = 8;
/// From the provider's BYE until the call ends here: within that the proxy mostly knows how the far leg ended.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(2);
/// A forgotten call is paid for by the minute, and the provider knows no limit.
const MAX_DURATION: Duration = Duration::from_secs(3600);

/// What a call by REST has beyond other calls.
#[derive(Debug)]
pub(super) struct RestCall {
    originate: Originate,
    answer: AnswerBy,
    lock: LockId,
    has_lock: bool,
    has_microphone: bool,
    /// The slot is armed: the proxy has been asked.
    armed: bool,
    /// How the provider's call looks, once that is known.
    expected: Option<Expected>,
    /// Until when another such INVITE is a second one of this dial.
    window: Instant,
    confirm_timeout: Duration,
    max_duration: Duration,
    /// The gate is open.
    open: bool,
    /// Requests without an answer.
    requests: Vec<(ProxyId, Purpose)>,
    /// Requests that wait for their time.
    pauses: Vec<(Instant, Order)>,
    /// The page is being left: requests must outlive it.
    leaving: bool,
    /// After the end: the provider may still call, or the proxy has not heard of the end.
    lingers: bool,
    /// The proxy's word for how it stands.
    state: Option<String>,
}

impl RestCall {
    pub(super) fn id(&self) -> &str {
        self.originate.call()
    }

    pub(super) const fn state(&self) -> Option<&String> {
        self.state.as_ref()
    }

    /// The caller ID, once it is known.
    pub(super) fn caller_id(&self) -> Option<&String> {
        self.expected.as_ref().map(|expected| &expected.from)
    }

    pub(super) fn is_answered_here(&self) -> bool {
        self.answer == AnswerBy::ThisPhone
    }

    /// The microphone is sent and the other side heard.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }
}

/// What an INVITE is to the dials by REST.
enum Verdict {
    /// A call like any other.
    Stranger,
    /// Not to be told yet.
    Unknown,
    /// The one that this dial waits for.
    Bridge(CallId),
    /// It looks like it, but there is one already.
    Second,
    /// It looks like it, but the user has another call by now.
    Occupied(CallId),
    /// It is for a dial that was given up.
    Late,
}

impl Phone {
    // ---- from the command to the armed slot

    pub(super) fn start_originate(&mut self, request: OriginateRequest) -> Result<CallId, Error> {
        let here = request.answer == AnswerBy::ThisPhone;
        if here {
            if self.own_number().is_empty() {
                return Err(Error::invalid_config(
                    "uri",
                    "its user must be the number that the provider calls",
                ));
            }
            let registered =
                !self.config.register || self.registration.state == RegistrationState::Registered;
            if self.flow.closing || self.connection() != ConnectionState::Connected || !registered {
                return Err(Error::new(ErrorCode::NotConnected, "The provider cannot call this phone now"));
            }
            if self.calls.values().any(|call| call.occupies()) {
                return Err(Error::new(ErrorCode::InvalidState, "There is another call").with_hint(
                    "The provider reaches this phone for one call at a time: end the other one.",
                ));
            }
        }
        if self.live_calls().len() >= self.config.max_calls {
            return Err(Error::new(ErrorCode::InvalidState, "There are too many calls already"));
        }
        let id = self.new_call_id();
        let mut call = Call::new(id, Direction::Outgoing, Phase::Originating);
        call.local_tag = token(&mut *self.entropy, 12);
        call.remote_uri = concat(&["tel:", &request.to]);
        self.last_lock = self.last_lock.wrapping_add(1);
        let lock = LockId(self.last_lock);
        let uuid = uuid_v4(&mut *self.entropy);
        call.rest = Some(Box::new(RestCall {
            originate: Originate::new(uuid, request.to, request.caller_id),
            answer: request.answer,
            lock,
            has_lock: !here,
            has_microphone: !here,
            armed: false,
            expected: None,
            window: self.now,
            confirm_timeout: CONFIRM_TIMEOUT,
            max_duration: MAX_DURATION,
            open: false,
            requests: Vec::new(),
            pauses: Vec::new(),
            leaving: false,
            lingers: false,
            state: None,
        }));
        self.calls.insert(id, Box::new(call));
        self.event(Event::CallState(id, CallState::New));
        self.event(Event::Stage(id, DialStage::Preparing));
        self.set_call_state(id, CallState::Connecting);
        if let Some(timeout) = request.timeout {
            self.timers.set(TimerKey::Call(id, CallTimer::Ring), self.now + timeout);
            if let Some(call) = self.calls.get_mut(&id) {
                call.own_timeout = true;
            }
        }
        if here {
            let name = concat(&["wasm-softphone: calls from ", &self.config.uri.aor()]);
            self.out.push(Output::Lock { id: lock, name });
            self.timers.set(TimerKey::Call(id, CallTimer::Bridge), self.now + LOCK_TIMEOUT);
            // Before anything is dialled: a prompt, or a refusal, must not cost a call.
            self.media_job(id, Job::Microphone, MediaCommand::OpenMicrophone);
        } else {
            self.arm(id);
        }
        Ok(id)
    }

    fn rest(&mut self, id: CallId) -> Option<&mut RestCall> {
        self.calls.get_mut(&id)?.rest.as_deref_mut()
    }

    pub(super) fn on_lock(&mut self, lock: LockId, held: bool) {
        let found = self.calls.values_mut().find_map(|call| {
            let id = call.id;
            call.rest.as_mut().filter(|rest| rest.lock == lock && !rest.has_lock).map(|rest| (id, rest))
        });
        let Some((id, rest)) = found else { return };
        if held {
            rest.has_lock = true;
            // A prompt for the microphone may take its time.
            self.timers.clear(TimerKey::Call(id, CallTimer::Bridge));
            self.arm_when_ready(id);
        } else {
            let error = Error::new(ErrorCode::AlreadyDialing, "Another tab is dialling with this number");
            self.fail_outgoing(id, error, EndedBy::Local);
        }
    }

    pub(super) fn microphone_ready(&mut self, id: CallId) {
        if let Some(rest) = self.rest(id) {
            rest.has_microphone = true;
            self.arm_when_ready(id);
        }
    }

    fn arm_when_ready(&mut self, id: CallId) {
        if self.rest(id).is_some_and(|rest| rest.has_lock && rest.has_microphone && !rest.armed) {
            self.arm(id);
        }
    }

    /// From here on the provider's call is waited for, and only then the proxy is asked for it.
    fn arm(&mut self, id: CallId) {
        let until = self.now + RING_TIMEOUT + GRACE;
        let Some(rest) = self.rest(id) else { return };
        rest.armed = true;
        rest.window = until;
        let orders = rest.originate.start();
        self.timers.set(TimerKey::Call(id, CallTimer::Bridge), until);
        self.event(Event::Stage(id, DialStage::Requesting));
        self.carry_out(id, orders);
    }

    // ---- the proxy

    fn carry_out(&mut self, id: CallId, orders: Vec<Order>) {
        for order in orders {
            if order.after.is_zero() {
                self.ask_proxy(id, order);
            } else {
                let at = self.now + order.after;
                if let Some(rest) = self.rest(id) {
                    rest.pauses.push((at, order));
                }
            }
        }
        self.set_pause_timer(id);
    }

    fn set_pause_timer(&mut self, id: CallId) {
        let key = TimerKey::Call(id, CallTimer::ProxyPause);
        match self.rest(id).and_then(|rest| rest.pauses.iter().map(|(at, _)| *at).min()) {
            Some(at) => self.timers.set(key, at),
            None => self.timers.clear(key),
        }
    }

    pub(super) fn on_proxy_pause(&mut self, id: CallId) {
        let now = self.now;
        let Some(rest) = self.rest(id) else { return };
        let mut due = Vec::new();
        rest.pauses.retain(|(at, order)| {
            let is_due = *at <= now;
            if is_due {
                due.push(Order { after: Duration::ZERO, ..order.clone() });
            }
            !is_due
        });
        self.carry_out(id, due);
    }

    fn ask_proxy(&mut self, id: CallId, order: Order) {
        self.last_proxy = self.last_proxy.wrapping_add(1);
        let request = ProxyId(self.last_proxy);
        let Some(rest) = self.rest(id) else { return };
        rest.requests.push((request, order.purpose));
        let wait = match &order.command {
            ProxyCommand::Poll { wait, .. } => *wait,
            _ => Duration::ZERO,
        };
        // A page that is left while a call is being given up must not keep the far end ringing.
        let keepalive = rest.leaving || order.purpose == Purpose::Cancel;
        self.timers.set(TimerKey::Proxy(request), self.now + wait + PROXY_TIMEOUT);
        self.out.push(Output::Proxy { id: request, command: order.command, keepalive });
    }

    pub(super) fn on_proxy_timeout(&mut self, request: ProxyId) {
        self.out.push(Output::AbortProxy(request));
        self.on_proxy(request, &Err(ProxyFailure::Timeout));
    }

    pub(super) fn on_proxy(&mut self, request: ProxyId, answer: &Result<ProxyReply, ProxyFailure>) {
        self.timers.clear(TimerKey::Proxy(request));
        let found = self.calls.values_mut().find_map(|call| {
            let rest = call.rest.as_mut()?;
            let (_, purpose) = rest.requests.extract_if(.., |(id, _)| *id == request).next()?;
            Some((call.id, rest, purpose))
        });
        let Some((id, rest, purpose)) = found else { return };
        if let Ok(ProxyReply { call: Some(call), .. }) = answer {
            rest.state = Some(call.state.clone());
        }
        let Step { orders, news } = rest.originate.on_answer(purpose, answer);
        self.carry_out(id, orders);
        for news in news {
            self.on_news(id, news);
        }
        self.judge_held();
    }

    fn on_news(&mut self, id: CallId, news: News) {
        let over = self.calls.get(&id).is_none_or(|call| call.phase == Phase::Terminating);
        match news {
            News::Config(config) => {
                if let Some(rest) = self.rest(id).filter(|rest| rest.expected.is_none()) {
                    rest.expected = config.expected(rest.originate.caller_id());
                }
            }
            News::Accepted(accepted) => self.on_accepted(id, accepted, over),
            News::Confirmed if !over => self.on_confirmed(id),
            News::Ended(error) if !over => self.on_ended_at_proxy(id, error),
            News::Failed(error) if !over => self.abandon(id, EndCause::Failed(error.clone()), error),
            News::Lost if !over => self.on_lost(id),
            News::Confirmed | News::Ended(_) | News::Failed(_) | News::Lost => {}
        }
    }

    fn on_accepted(&mut self, id: CallId, accepted: ProxyCall, over: bool) {
        let now = self.now;
        let own = self.own_number();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let phase = call.phase;
        let Some(rest) = call.rest.as_mut() else { return };
        if let Some(expected) = accepted.expected() {
            rest.expected = Some(expected);
        }
        rest.confirm_timeout = accepted.confirm_timeout.unwrap_or(rest.confirm_timeout);
        rest.max_duration = accepted.max_duration.unwrap_or(rest.max_duration);
        let until = now + accepted.ring_timeout.unwrap_or(RING_TIMEOUT) + GRACE;
        if over {
            if rest.lingers && !accepted.ended {
                self.timers.set(TimerKey::Call(id, CallTimer::Tombstone), until);
            }
            return;
        }
        rest.window = until;
        if rest.answer == AnswerBy::Elsewhere {
            let orders = rest.originate.claim(None);
            let until = until + rest.confirm_timeout;
            self.timers.set(TimerKey::Call(id, CallTimer::Bridge), until);
            self.event(Event::Stage(id, DialStage::RingingClient));
            self.carry_out(id, orders);
            return;
        }
        if rest.expected.as_ref().is_some_and(|expected| number(&expected.to) != own) {
            let error = Error::new(ErrorCode::ProxyError, "The proxy has another phone called than this one")
                .with_hint("Let `uri` be the number that the proxy has for this session.");
            self.abandon(id, EndCause::Failed(error.clone()), error);
            return;
        }
        if phase == Phase::Originating {
            self.timers.set(TimerKey::Call(id, CallTimer::Bridge), until);
            self.event(Event::Stage(id, DialStage::RingingClient));
        }
    }

    /// The dial comes to nothing, wherever it stands.
    fn abandon(&mut self, id: CallId, cause: EndCause, error: Error) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            Phase::Answering => {
                let tx = call.invite_tx.take();
                if let Some(tx) = tx {
                    self.respond_in_dialog(id, tx, 603, None);
                }
                self.end_rest(id, cause, EndedBy::Local, error);
            }
            Phase::Accepted | Phase::Confirmed => self.end_with_bye(id, cause, EndedBy::Local, None),
            Phase::Terminating => {}
            _ => self.end_rest(id, cause, EndedBy::Local, error),
        }
    }

    fn end_rest(&mut self, id: CallId, cause: EndCause, by: EndedBy, error: Error) {
        self.report_end(id, cause, None, by, Some(error));
        self.bury(id);
    }

    // ---- which INVITE is it

    fn own_number(&self) -> String {
        number(self.config.uri.user.as_deref().unwrap_or_default())
    }

    fn verdict(&self, request: &Request) -> Verdict {
        let user = |uri: &str| Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        let from = request.headers.from().map(|from| number(&user(&from.uri))).unwrap_or_default();
        let to = request.headers.to().map(|to| number(&user(&to.uri))).unwrap_or_default();
        if from.is_empty() || to.is_empty() || to != self.own_number() {
            return Verdict::Stranger;
        }
        let mut unknown = false;
        let mut late = false;
        let mut waiting = None;
        for call in self.calls.values() {
            let Some(rest) = call.rest.as_deref() else { continue };
            if !rest.armed || rest.answer == AnswerBy::Elsewhere {
                continue;
            }
            let waits = call.phase == Phase::Originating;
            let Some(expected) = &rest.expected else {
                unknown |= waits || (rest.lingers && rest.originate.may_still_ring());
                continue;
            };
            if number(&expected.from) != from {
                continue;
            }
            if waits {
                waiting = Some((call.id, rest));
            } else if call.phase == Phase::Terminating {
                late |= rest.lingers;
            } else if !rest.open || self.now <= rest.window {
                return Verdict::Second;
            }
        }
        match waiting {
            // It looks the same as that of the dial before, and the proxy, which makes one call at a time for a
            // number, has not yet taken on this one.
            Some((_, rest)) if late && rest.state.is_none() => Verdict::Unknown,
            Some((id, _)) if self.calls.values().any(|other| other.id != id && other.occupies()) => {
                Verdict::Occupied(id)
            }
            Some((id, _)) => Verdict::Bridge(id),
            None if late => Verdict::Late,
            None if unknown => Verdict::Unknown,
            None => Verdict::Stranger,
        }
    }

    /// Deals with an INVITE that concerns a dial by REST; `false` for any other.
    pub(super) fn take_bridge(&mut self, tx: TxId, request: &Request) -> bool {
        if self.flow.closing {
            return false;
        }
        match self.verdict(request) {
            Verdict::Stranger => return false,
            Verdict::Unknown if self.held.len() >= MAX_HELD => self.respond(tx, 486),
            Verdict::Unknown => {
                self.respond(tx, 100);
                self.held.push((tx, request.clone()));
                if !self.timers.is_set(TimerKey::Held) {
                    self.timers.set(TimerKey::Held, self.now + HOLD_TIMEOUT);
                }
            }
            Verdict::Bridge(id) => self.answer_bridge(id, tx, request),
            Verdict::Second => {
                self.respond_refusal(tx, self.refusal(request).unwrap_or((486, None)));
                self.log(super::LogLevel::Warn, format_args!("a second call looks like the provider's"));
            }
            Verdict::Occupied(id) => {
                self.respond(tx, 486);
                let error = occupied();
                self.abandon(id, EndCause::Failed(error.clone()), error);
            }
            Verdict::Late => self.respond(tx, 603),
        }
        true
    }

    /// Looks again at the calls that could not be told.
    fn judge_held(&mut self) {
        for (tx, request) in core::mem::take(&mut self.held) {
            if matches!(self.verdict(&request), Verdict::Unknown) {
                self.held.push((tx, request));
            } else {
                self.on_invite(tx, &request);
            }
        }
        if self.held.is_empty() {
            self.timers.clear(TimerKey::Held);
        }
    }

    /// It was waited for long enough: they ring, and nobody but the user answers them.
    pub(super) fn on_held_timeout(&mut self) {
        for (tx, request) in core::mem::take(&mut self.held) {
            self.ring(tx, &request);
        }
    }

    /// The phone is about to disconnect.
    pub(super) fn refuse_held(&mut self) {
        for (tx, _) in core::mem::take(&mut self.held) {
            self.respond(tx, 480);
        }
        self.timers.clear(TimerKey::Held);
    }

    /// Another call is being answered by hand. That this phone has answered one call only is part of the proof, and
    /// its user can't have two.
    pub(super) fn yield_to(&mut self, other: CallId) {
        for id in self.live_calls() {
            let unproved = |rest: &RestCall| !rest.open && rest.answer == AnswerBy::ThisPhone;
            if id != other && self.rest(id).is_some_and(|rest| unproved(rest)) {
                let error = occupied();
                self.abandon(id, EndCause::Failed(error.clone()), error);
            }
        }
    }

    /// The caller gave up while it could not be told.
    pub(super) fn cancel_held(&mut self, tx: TxId) {
        if self.held.extract_if(.., |(held, _)| *held == tx).next().is_some() {
            self.respond(tx, 487);
        }
    }

    // ---- the provider's call

    fn answer_bridge(&mut self, id: CallId, tx: TxId, request: &Request) {
        if let Some(refusal) = self.refusal(request) {
            // The provider tells the proxy that this phone cannot be reached.
            self.respond_refusal(tx, refusal);
            return;
        }
        let tag = self.calls.get(&id).map(|call| call.local_tag.clone()).unwrap_or_default();
        let Some(dialog) = Dialog::from_request(request, &tag) else {
            self.respond(tx, 400);
            return;
        };
        if let Some(entry) = self.transactions.server(tx) {
            entry.call = Some(id);
        }
        self.timers.set(TimerKey::Call(id, CallTimer::Bridge), self.now + ANSWER_TIMEOUT);
        let offer = super::sdp_body(&request.headers, &request.body);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.sip_call_id.clone_from(&dialog.call_id);
        call.invite = Some(request.clone());
        call.invite_tx = Some(tx);
        call.dialog = Some(dialog);
        call.phase = Phase::Answering;
        match offer {
            Some(offer) => self.media_job(id, Job::Answer, MediaCommand::CreateAnswer { offer }),
            None => self.media_job(id, Job::Answer, MediaCommand::CreateOffer),
        }
    }

    /// The 200 to the provider's call is out.
    pub(super) fn bridge_answered(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let sip_call_id = sha256_hex(&call.sip_call_id);
        let Some(rest) = call.rest.as_mut() else { return };
        let orders = rest.originate.claim(Some(sip_call_id));
        let confirm = self.now + rest.confirm_timeout;
        self.timers.clear(TimerKey::Call(id, CallTimer::Bridge));
        self.timers.set(TimerKey::Call(id, CallTimer::Confirm), confirm);
        self.event(Event::Stage(id, DialStage::ClientConnected));
        self.carry_out(id, orders);
    }

    /// The proxy has seen the provider on this phone's line.
    fn on_confirmed(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(rest) = call.rest.as_mut() else { return };
        if call.phase == Phase::Outcome {
            // Too late to talk; how it ended follows.
            return;
        }
        let answered = matches!(call.phase, Phase::Accepted | Phase::Confirmed);
        if !answered && rest.answer == AnswerBy::ThisPhone {
            // Some other phone of this number has answered it.
            let error = unverified("Another phone has answered the provider's call");
            self.abandon(id, EndCause::Failed(error.clone()), error);
            return;
        }
        rest.open = true;
        call.dial_done = true;
        let until = now + rest.max_duration;
        let lock = rest.lock;
        let here = rest.answer == AnswerBy::ThisPhone;
        self.clear_call_timers(id, &[CallTimer::Bridge, CallTimer::Confirm, CallTimer::Ring]);
        self.timers.set(TimerKey::Call(id, CallTimer::MaxDuration), until);
        if here {
            self.media_order(id, MediaCommand::OpenGate);
            self.out.push(Output::Unlock(lock));
        }
        self.set_call_state(id, CallState::Ringing);
        self.event(Event::Stage(id, DialStage::Ringing));
        self.set_call_state(id, CallState::Active);
        self.event(Event::Stage(id, DialStage::Connected));
        self.event(Event::DialDone(id, Ok(())));
    }

    // ---- the end

    /// The proxy tells no more of a confirmed call. The end of one that is answered here is seen here.
    fn on_lost(&mut self, id: CallId) {
        if self.rest(id).is_some_and(|rest| rest.answer == AnswerBy::Elsewhere) {
            let error = Error::new(ErrorCode::ProxyError, "The proxy has forgotten the call");
            self.end_rest(id, EndCause::Failed(error.clone()), EndedBy::Network, error);
        }
    }

    fn on_ended_at_proxy(&mut self, id: CallId, error: Option<Error>) {
        let Some(call) = self.calls.get(&id) else { return };
        let open = call.rest.as_ref().is_some_and(|rest| rest.open);
        let phase = call.phase;
        let error = match error {
            None if open => None,
            // It can't have been completed before it was confirmed.
            None => Some(Error::new(ErrorCode::ProviderError, "The provider has ended the call")),
            // This phone has answered somebody, and that was not the provider.
            Some(error)
                if error.code == ErrorCode::BridgeMissing
                    && !open
                    && matches!(phase, Phase::Accepted | Phase::Confirmed | Phase::Outcome) =>
            {
                Some(unverified("The call that was answered is not the provider's"))
            }
            error => error,
        };
        let cause = match &error {
            None => EndCause::Completed,
            Some(error) if error.code == ErrorCode::Aborted => EndCause::Cancelled,
            Some(error) => EndCause::Failed(error.clone()),
        };
        match phase {
            Phase::Accepted | Phase::Confirmed => self.end_with_bye(id, cause, EndedBy::Remote, None),
            Phase::Outcome => {
                self.end_rest(id, cause, EndedBy::Remote, error.unwrap_or_else(super::call_ended))
            }
            Phase::Originating if open => {
                self.end_rest(id, cause, EndedBy::Remote, error.unwrap_or_else(super::call_ended));
            }
            _ => self.abandon(id, cause, error.unwrap_or_else(super::call_ended)),
        }
    }

    /// The provider has hung up. The audio is over, and how the far leg ended is yet to be heard.
    pub(super) fn bridge_over(&mut self, id: CallId) {
        self.stop_awaiting_ack(id);
        self.clear_call_timers(id, &[CallTimer::Confirm, CallTimer::MaxDuration, CallTimer::IceConnect]);
        self.media_order(id, MediaCommand::Close);
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.job = None;
        call.phase = Phase::Outcome;
        self.timers.set(TimerKey::Call(id, CallTimer::Outcome), now + OUTCOME_TIMEOUT);
        // A question that was put off is asked now.
        self.hurry(id);
    }

    pub(super) fn on_outcome_timeout(&mut self, id: CallId) {
        let Some(rest) = self.rest(id) else { return };
        let (cause, error) = if rest.open {
            (EndCause::Completed, super::call_ended())
        } else {
            let error = if rest.originate.is_confirmed() {
                Error::new(ErrorCode::ProviderError, "The provider has ended the call")
            } else {
                unverified("The provider hung up before the call was confirmed")
            };
            (EndCause::Failed(error.clone()), error)
        };
        self.end_rest(id, cause, EndedBy::Remote, error);
    }

    pub(super) fn on_bridge_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(rest) = call.rest.as_ref() else { return };
        let (code, message) = if !rest.armed {
            (ErrorCode::Timeout, "The browser did not say whether another tab is dialling")
        } else if call.phase == Phase::Answering {
            (ErrorCode::MediaUnavailable, "The provider's call could not be answered in time")
        } else if rest.state.is_none() {
            (ErrorCode::ProxyUnreachable, "The call proxy did not answer in time")
        } else if rest.answer == AnswerBy::Elsewhere {
            (ErrorCode::NoAnswer, "Nobody answered the provider's call")
        } else {
            (ErrorCode::BridgeMissing, "The provider did not call this phone")
        };
        let error = Error::new(code, message);
        self.abandon(id, EndCause::Failed(error.clone()), error);
    }

    pub(super) fn on_confirm_timeout(&mut self, id: CallId) {
        let error = unverified("The call could not be verified");
        self.abandon(id, EndCause::Failed(error.clone()), error);
    }

    pub(super) fn on_max_duration(&mut self, id: CallId) {
        self.log(super::LogLevel::Warn, format_args!("the call has reached its longest time"));
        self.hang_up_rest(id, None);
    }

    /// The user, the application or a deadline ends it.
    pub(super) fn hang_up_rest(&mut self, id: CallId, cause: Option<Error>) {
        let open = self.rest(id).is_some_and(|rest| rest.open);
        let end = match &cause {
            Some(error) if error.code != ErrorCode::Aborted => EndCause::Failed(error.clone()),
            _ if open => EndCause::Completed,
            _ => EndCause::Cancelled,
        };
        let error = cause.unwrap_or_else(|| Error::new(ErrorCode::Aborted, "The call was cancelled"));
        self.abandon(id, end, error);
    }

    /// The page is going: what is not said now is never said.
    pub(super) fn on_page_hide(&mut self) {
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            let Some(rest) = self.rest(id) else { continue };
            rest.leaving = true;
            self.hang_up_rest(id, None);
            // What waits for another attempt has no other time.
            self.hurry(id);
            // Nor has the BYE time to wait for the ACK, which RFC 3261, section 15, wants: the provider might not
            // notice for long that nobody is here, and the far end is paid for.
            if self.calls.get_mut(&id).is_some_and(|call| call.pending_ok.take().is_some()) {
                self.clear_call_timers(id, &[CallTimer::Retransmit2xx, CallTimer::Ack]);
                self.send_bye(id, None);
            }
        }
    }

    /// Asks now what was to be asked later.
    fn hurry(&mut self, id: CallId) {
        let Some(rest) = self.rest(id) else { return };
        let orders = core::mem::take(&mut rest.pauses);
        let orders = orders.into_iter().map(|(_, order)| Order { after: Duration::ZERO, ..order }).collect();
        self.carry_out(id, orders);
    }

    /// Called once, when a call by REST has ended for the application: the proxy is told, and the record stays for as
    /// long as the provider may still call for it.
    pub(super) fn rest_ended(&mut self, id: CallId) {
        self.clear_call_timers(
            id,
            &[
                CallTimer::Bridge,
                CallTimer::Confirm,
                CallTimer::Outcome,
                CallTimer::MaxDuration,
                CallTimer::ProxyPause,
            ],
        );
        let Some(call) = self.calls.get_mut(&id) else { return };
        let bridged = call.dialog.is_some();
        let Some(rest) = call.rest.as_mut() else { return };
        let mut cancels = core::mem::take(&mut rest.pauses);
        cancels.retain(|(_, order)| order.purpose == Purpose::Cancel);
        let cancels = cancels.into_iter().map(|(_, order)| order);
        let mut orders = rest.originate.cancel();
        // A cancellation that was decided on at the proxy's word.
        orders.extend(cancels);
        let cancelling = rest.requests.iter().any(|(_, purpose)| *purpose == Purpose::Cancel);
        let rings = !bridged && rest.originate.may_still_ring();
        rest.lingers = rest.armed && (!orders.is_empty() || cancelling || rings);
        let lingers = rest.lingers;
        // The answers to these may still tell what the provider's call looks like.
        let keep = |purpose: Purpose| matches!(purpose, Purpose::Start | Purpose::Config | Purpose::Cancel);
        let dropped: Vec<ProxyId> = rest
            .requests
            .extract_if(.., |(_, purpose)| !lingers || !keep(*purpose))
            .map(|(id, _)| id)
            .collect();
        let window = rest.window;
        let lock = (rest.answer == AnswerBy::ThisPhone && !rest.open).then_some(rest.lock);
        for request in dropped {
            self.timers.clear(TimerKey::Proxy(request));
            self.out.push(Output::AbortProxy(request));
        }
        if let Some(lock) = lock {
            self.out.push(Output::Unlock(lock));
        }
        if lingers {
            let at = window.max(self.now + RING_TIMEOUT + GRACE);
            self.timers.set(TimerKey::Call(id, CallTimer::Tombstone), at);
        }
        self.carry_out(id, orders);
    }

    /// Whether the record of an ended call is still needed.
    pub(super) fn lingers(&self, id: CallId) -> bool {
        self.calls.get(&id).and_then(|call| call.rest.as_ref()).is_some_and(|rest| rest.lingers)
    }

    pub(super) fn on_tombstone(&mut self, id: CallId) {
        let Some(rest) = self.rest(id) else { return };
        rest.lingers = false;
        rest.pauses.clear();
        for (request, _) in core::mem::take(&mut rest.requests) {
            self.timers.clear(TimerKey::Proxy(request));
            self.out.push(Output::AbortProxy(request));
        }
        self.timers.clear(TimerKey::Call(id, CallTimer::ProxyPause));
        // The BYE may still wait for the ACK; whoever sends it lays the record to rest.
        if self.calls.get(&id).is_some_and(|call| call.pending_ok.is_none()) {
            self.bury(id);
        }
        self.judge_held();
    }
}

#[cold]
fn occupied() -> Error {
    Error::new(ErrorCode::InvalidState, "Another call was answered meanwhile")
}

fn unverified(message: &'static str) -> Error {
    Error::new(ErrorCode::UnverifiedBridge, message)
}

/// The digits of a telephone number, as it is in the user part of a URI (RFC 3966, section 3): without the "+", of
/// which it is not certain whether the provider writes it, without separators and parameters. Empty for what is not
/// a number.
fn number(user: &str) -> String {
    let user = crate::text::before(user, b';');
    let user = user.strip_prefix('+').unwrap_or(user);
    let mut digits = String::new();
    for c in user.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '-' | '.' | '(' | ')' => {}
            _ => return String::new(),
        }
    }
    digits
}
