//! The REST half of a `rest-originate` call: what is asked of the proxy when, and what its answers mean.
//!
//! A machine without clock or network, like the rest. It makes sure of two things: the call is asked for once, and
//! whatever is not wanted any more is cancelled. It knows nothing of SIP.
//!
//! ```text
//!            start                   202                    ended
//!  (new) ───────────▶ Starting ─────────────▶ Live ──────────────────▶ Over
//!                        │  lost               ▲                        ▲
//!                        └────────▶ Asking ────┘ found                  │
//!                                     └──── not there, no answer ───────┤
//!            cancel, from anywhere ──────▶ Cancelling ──────────────────┘
//! ```

use super::proxy::{ProxyCall, ProxyCommand, ProxyConfig, ProxyFailure, ProxyReply, ending, refusal};
use crate::error::{Error, ErrorCode};
use crate::time::Duration;

/// How long the proxy may hold a question for news.
const LONG_POLL: Duration = Duration::from_secs(25);
/// Between questions that failed or brought nothing new: the first pause, doubled each time up to the cap.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_CAP: Duration = Duration::from_secs(8);
/// Questions about a request whose answer was lost, before it is given up: with the pauses, some 8 s.
const MAX_QUESTIONS: u32 = 6;
/// Attempts to tell the proxy of a cancellation: with the pauses, some 8 s. After that the proxy finds out by
/// itself, as nobody claims the call.
const MAX_CANCELS: u32 = 6;
const MAX_CLAIMS: u32 = 6;

/// What a request was for; comes back with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To know how the provider's call will look, should it come before the answer to the request for it.
    Config,
    /// To make the call.
    Start,
    /// To learn how it stands.
    Poll,
    /// To say that this phone answers it.
    Claim,
    /// To end it.
    Cancel,
}

/// A request that is to be sent, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What for.
    pub purpose: Purpose,
    /// The request.
    pub command: ProxyCommand,
    /// How long to wait before it.
    pub after: Duration,
}

/// News of the call at the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// How the provider's call to this phone will look is known now.
    Config(ProxyConfig),
    /// The proxy has taken the call on, and the provider calls this phone.
    Accepted(ProxyCall),
    /// The provider is connected to the phone that claims the call: it is safe to talk.
    Confirmed,
    /// Nothing more is to come: completed, or why not.
    Ended(Option<Error>),
    /// The proxy has forgotten a confirmed call. It goes on, and its end will not be heard from there.
    Lost,
    /// The call did not come about.
    Failed(Error),
}

/// What follows from an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// What to send.
    pub orders: Vec<Order>,
    /// What to tell.
    pub news: Vec<News>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Asking,
    Live,
    Cancelling,
    Over,
}

/// One call at the proxy.
#[derive(Debug, Clone)]
pub struct Originate {
    call: String,
    to: String,
    caller_id: Option<String>,
    stage: Stage,
    seq: u32,
    confirmed: bool,
    /// The answer to the request for the call has not come, and may still.
    start_open: bool,
    /// Failures in a row: questions, claims, cancellations.
    questions: u32,
    claims: u32,
    cancels: u32,
    claim: Option<Option<String>>,
    /// The proxy has heard that the call is not wanted, or has ended it itself.
    closed: bool,
}

impl Originate {
    /// A call that has not been asked for. `call` is a UUID (version 4), `to` an E.164 number.
    #[must_use]
    pub const fn new(call: String, to: String, caller_id: Option<String>) -> Self {
        Self {
            call,
            to,
            caller_id,
            stage: Stage::Starting,
            seq: 0,
            confirmed: false,
            start_open: false,
            questions: 0,
            claims: 0,
            cancels: 0,
            claim: None,
            closed: false,
        }
    }

    /// The UUID.
    #[must_use]
    pub fn call(&self) -> &str {
        &self.call
    }

    /// The key of the caller ID.
    #[must_use]
    pub fn caller_id(&self) -> Option<&str> {
        self.caller_id.as_deref()
    }

    /// Whether the provider has been seen to be connected to the phone that claims the call.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether the provider may still call this phone: the call was asked for and the proxy has not been heard to
    /// have ended it.
    #[must_use]
    pub const fn may_still_ring(&self) -> bool {
        self.start_open || !self.closed
    }

    /// Asks for the call, and for how it will look: the provider's call may be here before either answer.
    #[must_use]
    pub fn start(&mut self) -> Vec<Order> {
        self.start_open = true;
        let start = ProxyCommand::Start {
            call: self.call.clone(),
            to: self.to.clone(),
            caller_id: self.caller_id.clone(),
        };
        vec![now(Purpose::Config, ProxyCommand::Config), now(Purpose::Start, start)]
    }

    /// Claims the provider's call for this phone.
    #[must_use]
    pub fn claim(&mut self, sip_call_id_sha256: Option<String>) -> Vec<Order> {
        self.claim = Some(sip_call_id_sha256);
        self.claims = 0;
        self.claim_order(Duration::ZERO)
    }

    fn claim_order(&self, after: Duration) -> Vec<Order> {
        let Some(sip_call_id_sha256) = self.claim.clone() else { return Vec::new() };
        let command = ProxyCommand::Claim { call: self.call.clone(), sip_call_id_sha256 };
        vec![Order { purpose: Purpose::Claim, command, after }]
    }

    /// The call is not wanted any more. Nothing is sent for one that was never asked for or is known to be over.
    #[must_use]
    pub fn cancel(&mut self) -> Vec<Order> {
        let asked_for = self.start_open || self.seq > 0 || self.stage != Stage::Starting;
        if matches!(self.stage, Stage::Cancelling | Stage::Over) || !asked_for {
            self.closed |= !asked_for;
            return Vec::new();
        }
        self.stage = Stage::Cancelling;
        self.cancel_order(Duration::ZERO)
    }

    fn cancel_order(&self, after: Duration) -> Vec<Order> {
        let command = ProxyCommand::Cancel { call: self.call.clone() };
        vec![Order { purpose: Purpose::Cancel, command, after }]
    }

    /// The answer to one of the orders.
    #[must_use]
    pub fn on_answer(&mut self, purpose: Purpose, answer: &Result<ProxyReply, ProxyFailure>) -> Step {
        match purpose {
            Purpose::Config => match answer {
                Ok(ProxyReply { status: 200, config: Some(config), .. }) => {
                    Step { news: vec![News::Config(config.clone())], ..Step::default() }
                }
                // It only helps where the provider is faster than the proxy.
                _ => Step::default(),
            },
            Purpose::Start => self.on_started(answer),
            Purpose::Poll => self.on_polled(answer),
            Purpose::Claim => self.on_claimed(answer),
            Purpose::Cancel => self.on_cancelled(answer),
        }
    }

    fn on_started(&mut self, answer: &Result<ProxyReply, ProxyFailure>) -> Step {
        self.start_open = false;
        if self.stage != Stage::Starting {
            // Cancelled meanwhile. A refusal says that there is nothing to be cancelled.
            if matches!(answer, Ok(reply) if is_refusal(reply)) {
                self.closed = true;
            }
            return match answer {
                Ok(ProxyReply { call: Some(call), .. }) => {
                    self.closed |= call.ended;
                    let mut step = Step { news: vec![News::Accepted(call.clone())], ..Step::default() };
                    // The proxy has taken the call on though it had been told not to: whoever has heard the
                    // cancellation, it was not the one that makes the call.
                    if self.stage == Stage::Over && !call.ended && call.state != "cancelling" {
                        self.stage = Stage::Cancelling;
                        self.closed = false;
                        self.cancels = 0;
                        step.orders = self.cancel_order(Duration::ZERO);
                    }
                    step
                }
                _ => Step::default(),
            };
        }
        match answer {
            Ok(ProxyReply { status: 200..=299, call: Some(call), .. }) => self.found(call),
            Ok(reply) if is_refusal(reply) => {
                self.stage = Stage::Over;
                // Where the provider has failed, what it has done is not certain.
                self.closed = reply.status < 500;
                Step { news: vec![News::Failed(refusal(reply))], ..Step::default() }
            }
            Err(ProxyFailure::NotSent(error)) => {
                self.stage = Stage::Over;
                self.closed = true;
                Step { news: vec![News::Failed(error.clone())], ..Step::default() }
            }
            // Whether the proxy has the call is not known: asked, and never sent again.
            _ => {
                self.stage = Stage::Asking;
                Step { orders: self.question(Duration::ZERO, Duration::ZERO), ..Step::default() }
            }
        }
    }

    /// The proxy has the call.
    fn found(&mut self, call: &ProxyCall) -> Step {
        self.stage = Stage::Live;
        self.questions = 0;
        let mut step = Step { news: vec![News::Accepted(call.clone())], ..Step::default() };
        self.seq = self.seq.max(call.seq);
        self.take_news(call, &mut step);
        if self.stage == Stage::Live {
            step.orders = self.question(Duration::ZERO, LONG_POLL);
        }
        step
    }

    fn take_news(&mut self, call: &ProxyCall, step: &mut Step) {
        if call.confirmed && !self.confirmed {
            self.confirmed = true;
            // There is nothing to open up for any more where the end comes with it.
            if !call.ended {
                step.news.push(News::Confirmed);
            }
        }
        if call.ended {
            // Its call to this phone may be on the way all the same: it comes over another line.
            self.stage = Stage::Over;
            step.news.push(News::Ended(ending(call.reason.as_deref())));
        }
    }

    fn question(&self, after: Duration, wait: Duration) -> Vec<Order> {
        let command = ProxyCommand::Poll { call: self.call.clone(), since: self.seq, wait };
        vec![Order { purpose: Purpose::Poll, command, after }]
    }

    fn on_polled(&mut self, answer: &Result<ProxyReply, ProxyFailure>) -> Step {
        match (self.stage, answer) {
            (Stage::Asking, Ok(ProxyReply { status: 200, call: Some(call), .. })) => self.found(call),
            (Stage::Live, Ok(ProxyReply { status: 200, call: Some(call), .. })) => {
                let mut step = Step::default();
                // A proxy that answers at once without news is not asked again at once.
                self.questions = if call.seq > self.seq { 0 } else { self.questions.saturating_add(1) };
                self.seq = self.seq.max(call.seq);
                self.take_news(call, &mut step);
                if self.stage == Stage::Live {
                    let after =
                        if self.questions == 0 { Duration::ZERO } else { pause(self.questions.min(4)) };
                    step.orders = self.question(after, LONG_POLL);
                }
                step
            }
            (Stage::Asking | Stage::Live, Ok(reply)) if matches!(reply.status, 401 | 403 | 404 | 410) => {
                self.lost(reply)
            }
            (Stage::Asking | Stage::Live, _) => self.ask_again(),
            (Stage::Starting | Stage::Cancelling | Stage::Over, _) => Step::default(),
        }
    }

    /// The proxy does not know the call, or not this session.
    fn lost(&mut self, reply: &ProxyReply) -> Step {
        if self.confirmed {
            // The call goes on, whatever the proxy thinks of this session or remembers of the call.
            if matches!(reply.status, 401 | 403) {
                return self.ask_again();
            }
            self.stage = Stage::Over;
            self.closed = true;
            return Step { news: vec![News::Lost], ..Step::default() };
        }
        let error = match (self.stage, reply.status) {
            (Stage::Asking, 404) => unreachable(),
            (_, 404 | 410) => Error::new(ErrorCode::ProxyError, "The proxy has forgotten the call"),
            _ => refusal(reply),
        };
        // The request may still be on its way.
        let orders = self.cancel();
        Step { orders, news: vec![News::Failed(error)] }
    }

    fn ask_again(&mut self) -> Step {
        self.questions = self.questions.saturating_add(1);
        if self.stage == Stage::Asking && self.questions >= MAX_QUESTIONS {
            let orders = self.cancel();
            return Step { orders, news: vec![News::Failed(unreachable())] };
        }
        let wait = if self.stage == Stage::Live { LONG_POLL } else { Duration::ZERO };
        Step { orders: self.question(pause(self.questions), wait), ..Step::default() }
    }

    fn on_claimed(&mut self, answer: &Result<ProxyReply, ProxyFailure>) -> Step {
        let done = matches!(answer, Ok(reply) if has_arrived(reply));
        self.claims = self.claims.saturating_add(1);
        let wanted = !self.confirmed && !matches!(self.stage, Stage::Cancelling | Stage::Over);
        if done || !wanted || self.claims >= MAX_CLAIMS {
            // A claim that was refused, or lost for good, shows in the confirmation that does not come.
            return Step::default();
        }
        Step { orders: self.claim_order(pause(self.claims)), ..Step::default() }
    }

    fn on_cancelled(&mut self, answer: &Result<ProxyReply, ProxyFailure>) -> Step {
        self.cancels = self.cancels.saturating_add(1);
        let heard = matches!(answer, Ok(reply) if has_arrived(reply));
        if heard || self.cancels >= MAX_CANCELS {
            self.stage = Stage::Over;
            self.closed |= heard;
            return match answer {
                // It tells how the provider's call looks, should that be on its way already.
                Ok(ProxyReply { call: Some(call), .. }) if heard => {
                    Step { news: vec![News::Accepted(call.clone())], ..Step::default() }
                }
                _ => Step::default(),
            };
        }
        Step { orders: self.cancel_order(pause(self.cancels)), ..Step::default() }
    }
}

fn now(purpose: Purpose, command: ProxyCommand) -> Order {
    Order { purpose, command, after: Duration::ZERO }
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(PAUSE_CAP)
}

/// A refusal after which there is no call. Other failures may come from a gateway on the way, or from the midst of
/// the proxy's work, and say nothing of what was done.
fn is_refusal(reply: &ProxyReply) -> bool {
    let code = reply.code.as_deref().unwrap_or_default();
    matches!(reply.status, 400..=407 | 409..=499) || code.starts_with("provider_") || code == "disabled"
}

/// Whether the proxy has dealt with a claim or a cancellation. A session that has run out may be renewed by the next
/// attempt; a gateway, a limit or a failure on the way says nothing.
const fn has_arrived(reply: &ProxyReply) -> bool {
    !matches!(reply.status, 0..=199 | 401 | 403 | 407 | 408 | 425 | 429 | 500..)
}

fn unreachable() -> Error {
    Error::new(ErrorCode::ProxyUnreachable, "The call proxy could not be reached")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::proxy::Expected;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    type Answer = Result<ProxyReply, ProxyFailure>;

    fn call(state: &str, seq: u32) -> ProxyCall {
        ProxyCall {
            state: state.into(),
            seq,
            confirmed: state == "bridging",
            ended: state == "ended",
            expect: Some(Expected { from: "+1".into(), to: "+2".into() }),
            ..ProxyCall::default()
        }
    }

    fn with(status: u16, state: &str, seq: u32) -> Answer {
        Ok(ProxyReply { status, call: Some(call(state, seq)), ..ProxyReply::default() })
    }

    fn problem(status: u16, code: &str) -> Answer {
        Ok(ProxyReply { status, code: Some(code.into()), ..ProxyReply::default() })
    }

    fn new() -> Originate {
        Originate::new("uuid".into(), "+46701234567".into(), None)
    }

    fn starting() -> Originate {
        let mut call = new();
        let orders = call.start();
        assert_eq!(
            orders.iter().map(|order| order.purpose).collect::<Vec<_>>(),
            [Purpose::Config, Purpose::Start]
        );
        call
    }

    fn asking() -> Originate {
        let mut call = starting();
        let step = call.on_answer(Purpose::Start, &Err(ProxyFailure::Network));
        assert_eq!(purposes(&step), [Purpose::Poll]);
        call
    }

    fn live() -> Originate {
        let mut call = starting();
        let step = call.on_answer(Purpose::Start, &with(202, "ringing_client", 1));
        assert_eq!(purposes(&step), [Purpose::Poll]);
        call
    }

    fn confirmed() -> Originate {
        let mut call = live();
        let step = call.on_answer(Purpose::Poll, &with(200, "bridging", 2));
        assert_eq!(step.news, [News::Confirmed]);
        call
    }

    fn cancelling() -> Originate {
        let mut call = live();
        assert_eq!(call.cancel().len(), 1);
        call
    }

    fn over() -> Originate {
        let mut call = live();
        let step = call.on_answer(Purpose::Poll, &with(200, "ended", 2));
        assert_eq!(step, Step { orders: Vec::new(), news: vec![News::Ended(None)] });
        call
    }

    fn purposes(step: &Step) -> Vec<Purpose> {
        step.orders.iter().map(|order| order.purpose).collect()
    }

    fn answers() -> Vec<Answer> {
        let mut answers = vec![Err(ProxyFailure::Network), Err(ProxyFailure::Timeout)];
        answers.push(Err(ProxyFailure::NotSent(unreachable())));
        for status in [0, 100, 200, 202, 204, 302, 400, 401, 403, 404, 408, 409, 410, 422, 429, 500, 502, 503]
        {
            answers.push(problem(status, ""));
            answers.push(problem(status, "provider_error"));
            for state in ["ringing_client", "bridging", "cancelling", "ended"] {
                answers.push(with(status, state, 5));
            }
        }
        answers
    }

    #[test]
    fn whatever_is_answered_when_the_call_is_asked_for_once() {
        use Purpose::{Cancel, Claim, Config, Poll, Start};
        for (is_over, make) in [
            (false, starting as fn() -> Originate),
            (false, asking),
            (false, live),
            (false, confirmed),
            (false, cancelling),
            (true, over),
        ] {
            for purpose in [Config, Start, Poll, Claim, Cancel] {
                for answer in answers() {
                    let mut call = make();
                    let step = call.on_answer(purpose, &answer);
                    let found = purposes(&step);
                    assert!(!found.contains(&Start) && !found.contains(&Config), "{purpose:?} {answer:?}");
                    assert!(found.len() <= 1, "{purpose:?} {answer:?}");
                    let outcomes = |news: &&News| matches!(news, News::Ended(_) | News::Failed(_));
                    let last = step.news.iter().filter(outcomes).count();
                    assert!(last <= 1);
                    if last == 1 {
                        // Nothing more but the cancellation.
                        assert!(found.iter().all(|purpose| *purpose == Cancel), "{purpose:?} {answer:?}");
                    }
                    if is_over {
                        assert!(found.iter().all(|purpose| *purpose == Cancel), "{purpose:?} {answer:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_the_answer_to_the_request_means() {
        for answer in answers() {
            let mut call = starting();
            let step = call.on_answer(Purpose::Start, &answer);
            let found = purposes(&step);
            match &answer {
                Err(ProxyFailure::NotSent(_)) => {
                    assert!(found.is_empty() && !call.may_still_ring());
                    assert!(call.cancel().is_empty(), "there is nothing to cancel");
                }
                Ok(reply)
                    if is_refusal(reply) && !matches!(reply.status, 200..=299 if reply.call.is_some()) =>
                {
                    assert!(matches!(step.news[..], [News::Failed(_)]), "{answer:?}");
                    assert!(found.is_empty() && call.cancel().is_empty());
                    assert_eq!(call.may_still_ring(), reply.status >= 500);
                }
                Ok(ProxyReply { status: 200..=299, call: Some(accepted), .. }) => {
                    assert!(matches!(step.news.first(), Some(News::Accepted(_))));
                    assert_eq!(found.is_empty(), accepted.ended);
                }
                _ => {
                    assert_eq!(found, [Purpose::Poll], "{answer:?}");
                    assert!(step.news.is_empty() && call.may_still_ring());
                    assert_eq!(
                        purposes(&Step { orders: call.cancel(), news: Vec::new() }),
                        [Purpose::Cancel]
                    );
                }
            }
        }
    }

    #[test]
    fn a_call_that_was_never_asked_for_is_not_cancelled() {
        let mut call = new();
        assert!(call.cancel().is_empty());
        assert!(!call.may_still_ring());
        assert!(starting().cancel().len() == 1);
    }

    #[test]
    fn it_is_cancelled_once() {
        for make in [starting, asking, live, confirmed] {
            let mut call = make();
            assert_eq!(call.cancel().len(), 1);
            assert!(call.cancel().is_empty());
        }
        assert!(over().cancel().is_empty());
    }

    #[test]
    fn a_claim_is_not_repeated_once_it_is_of_no_use() {
        for make in [confirmed, cancelling, over] {
            let mut call = make();
            drop(call.claim(None));
            let step = call.on_answer(Purpose::Claim, &Err(ProxyFailure::Network));
            assert_eq!(step, Step::default());
        }
        let mut call = live();
        drop(call.claim(None));
        assert_eq!(purposes(&call.on_answer(Purpose::Claim, &Err(ProxyFailure::Network))), [Purpose::Claim]);
        assert_eq!(call.on_answer(Purpose::Claim, &problem(204, "")), Step::default());
    }

    #[test]
    fn attempts_are_bounded_and_pauses_grow() {
        let mut call = live();
        drop(call.claim(None));
        let again = (0..100)
            .filter(|_| !call.on_answer(Purpose::Claim, &Err(ProxyFailure::Network)).orders.is_empty())
            .count();
        assert_eq!(again, 5);
        let mut call = cancelling();
        let again = (0..100)
            .filter(|_| !call.on_answer(Purpose::Cancel, &Err(ProxyFailure::Network)).orders.is_empty())
            .count();
        assert_eq!(again, 5);
        let mut call = asking();
        let mut failed = 0;
        for _ in 0..100 {
            let step = call.on_answer(Purpose::Poll, &Err(ProxyFailure::Network));
            failed += step.news.len();
        }
        assert_eq!(failed, 1);
        assert_eq!(
            [1, 2, 3, 6, 7, 99].map(pause),
            [250, 500, 1_000, 8_000, 8_000, 8_000].map(Duration::from_millis)
        );
    }

    #[test]
    fn an_older_state_is_not_gone_back_to() {
        let mut call = confirmed();
        let step = call.on_answer(Purpose::Poll, &with(200, "ringing_client", 1));
        assert!(step.news.is_empty() && call.is_confirmed());
        assert!(matches!(&step.orders[..], [Order { command: ProxyCommand::Poll { since: 2, .. }, .. }]));
    }
}
