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
//! | file | what |
//! |---|---|
//! | this one | from the command to the armed slot |
//! | `asking` | the requests to the proxy, and what its answers mean |
//! | `matching` | which INVITE is the provider's |
//! | `bridge` | the provider's call: answer, claim, gate |
//! | `ending` | every end, and what stays afterwards |
//!
//! One record of a call carries the whole journey, first without and then with a SIP dialog. After a dial was given
//! up it stays for as long as the provider may still call, to refuse that.

mod asking;
mod bridge;
mod ending;
pub(super) mod matching;

use super::call::{Call, Phase};
use super::context::Cx;
use super::media_half::MediaJob;
use super::peer::Peer;
use super::{
    AnswerBy, CallTimer, DialStage, Direction, EndedBy, Event, Job, LockId, MediaCommand, OriginateRequest,
    ProxyId,
};
use crate::dial::originate::{Order, Originate, Purpose};
use crate::dial::proxy::{Expected, ProxyCall};
use crate::entropy::{token, uuid_v4};
use crate::error::{Error, ErrorCode};
use crate::text::concat;
use crate::time::{Duration, Instant};

/// How long the provider lets this phone ring, where the proxy does not say.
const RING_TIMEOUT: Duration = Duration::from_secs(20);
/// From the answer to its confirmation, where the proxy does not say.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(4);
/// What the provider's call may be late by.
const GRACE: Duration = Duration::from_secs(5);
/// For the browser to say whether another page has the lock; it does so at once.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
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

    /// What the proxy says of the call that it has accepted, each where it says it.
    fn accept(&mut self, accepted: &ProxyCall) {
        if let Some(expected) = &accepted.expect {
            self.expected = Some(expected.clone());
        }
        self.confirm_timeout = accepted.confirm_timeout.unwrap_or(self.confirm_timeout);
        self.max_duration = accepted.max_duration.unwrap_or(self.max_duration);
    }

    /// How the provider's call looks by the proxy's configuration, until the proxy says it of this call.
    fn expect(&mut self, expected: Option<Expected>) {
        if self.expected.is_none() {
            self.expected = expected;
        }
    }

    /// Until when another INVITE is a second one of this dial.
    const fn set_window(&mut self, until: Instant) {
        self.window = until;
    }

    const fn open(&mut self) {
        self.open = true;
    }

    const fn set_lingers(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    const fn leave(&mut self) {
        self.leaving = true;
    }

    fn set_state(&mut self, state: &str) {
        self.state = Some(state.to_owned());
    }

    fn asked(&mut self, request: ProxyId, purpose: Purpose) {
        self.requests.push((request, purpose));
    }

    /// The request has its answer, or is given up.
    fn take_request(&mut self, request: ProxyId) -> Option<Purpose> {
        self.requests.extract_if(.., |(id, _)| *id == request).next().map(|(_, purpose)| purpose)
    }

    /// The requests that nobody waits for any more.
    fn take_requests(&mut self, keep: impl Fn(Purpose) -> bool) -> Vec<ProxyId> {
        self.requests.extract_if(.., |(_, purpose)| !keep(*purpose)).map(|(id, _)| id).collect()
    }

    fn put_off(&mut self, until: Instant, order: Order) {
        self.pauses.push((until, order));
    }

    /// The cancellations that have waited for their time; the rest is given up.
    fn take_cancels(&mut self) -> Vec<Order> {
        let mut waiting = core::mem::take(&mut self.pauses);
        waiting.retain(|(_, order)| order.purpose == Purpose::Cancel);
        waiting.into_iter().map(|(_, order)| order).collect()
    }

    /// What has waited for its time until now (`None`: whatever its time is), to be done at once.
    fn take_due(&mut self, now: Option<Instant>) -> Vec<Order> {
        let due = self.pauses.extract_if(.., |(at, _)| now.is_none_or(|now| *at <= now));
        due.map(|(_, order)| Order { after: Duration::ZERO, ..order }).collect()
    }

    /// The microphone is sent and the other side heard.
    pub(super) const fn is_open(&self) -> bool {
        self.open
    }
}

impl Call {
    /// A call to be, by REST: it waits for the lock and the microphone, where the provider is to call this phone.
    pub(super) fn originate(cx: &mut Cx, request: OriginateRequest) -> Box<Self> {
        let here = request.answer == AnswerBy::ThisPhone;
        let mut call = Self::new(cx.numbers.call(), Direction::Outgoing, Phase::Originating);
        call.sip.local_tag = token(&mut *cx.env.entropy, 12);
        call.peer = Peer::new(concat(&["tel:", &request.to]), None);
        let lock = cx.numbers.lock();
        let uuid = uuid_v4(&mut *cx.env.entropy);
        call.rest = Some(Box::new(RestCall {
            originate: Originate::new(uuid, request.to, request.caller_id),
            answer: request.answer,
            lock,
            has_lock: !here,
            has_microphone: !here,
            armed: false,
            expected: None,
            window: cx.env.now,
            confirm_timeout: CONFIRM_TIMEOUT,
            max_duration: MAX_DURATION,
            open: false,
            requests: Vec::new(),
            pauses: Vec::new(),
            leaving: false,
            lingers: false,
            state: None,
        }));
        call.begin_dial(cx, request.listens_only);
        if let Some(timeout) = request.timeout {
            call.timers.set(CallTimer::Ring, cx.env.now + timeout);
            call.dialled.set_own_timeout();
        }
        if here {
            let name = concat(&["wasm-softphone: calls from ", &cx.env.config.uri.aor()]);
            cx.env.job(Job::Lock { id: lock, name });
            call.timers.set(CallTimer::Bridge, cx.env.now + LOCK_TIMEOUT);
            // Before anything is dialled: a prompt, or a refusal, must not cost a call.
            call.media_job(cx, MediaJob::Microphone, MediaCommand::OpenMicrophone);
        } else {
            call.arm(cx);
        }
        call
    }

    pub(super) fn waits_for_lock(&self, lock: LockId) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.lock == lock && !rest.has_lock)
    }

    pub(super) fn on_lock(&mut self, cx: &mut Cx, granted: bool) {
        if granted {
            if let Some(rest) = &mut self.rest {
                rest.has_lock = true;
            }
            // A prompt for the microphone may take its time.
            self.timers.clear(CallTimer::Bridge);
            self.arm_when_ready(cx);
        } else {
            let error = Error::new(ErrorCode::AlreadyDialing, "Another tab is dialling with this number");
            self.fail_outgoing(cx, error, EndedBy::Local);
        }
    }

    pub(super) fn microphone_ready(&mut self, cx: &mut Cx) {
        if let Some(rest) = self.rest.as_deref_mut() {
            rest.has_microphone = true;
            self.arm_when_ready(cx);
        }
    }

    fn arm_when_ready(&mut self, cx: &mut Cx) {
        if self.rest.as_deref_mut().is_some_and(|rest| rest.has_lock && rest.has_microphone && !rest.armed) {
            self.arm(cx);
        }
    }

    /// From here on the provider's call is waited for, and only then the proxy is asked for it.
    fn arm(&mut self, cx: &mut Cx) {
        let until = cx.env.now + RING_TIMEOUT + GRACE;
        let Some(rest) = self.rest.as_deref_mut() else { return };
        rest.armed = true;
        rest.window = until;
        let orders = rest.originate.start();
        self.timers.set(CallTimer::Bridge, until);
        cx.event(Event::Stage(self.id, DialStage::Requesting));
        self.carry_out(cx, orders);
    }
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
