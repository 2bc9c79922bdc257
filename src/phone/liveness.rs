//! Whether the connection still leads to the server: a WebSocket that nobody has closed may be dead all the same.
//!
//! Every server is asked by CRLF (RFC 5626, section 3.5.1), and one that does not answer that, as many do not over
//! WebSocket, by OPTIONS. What it has answered over a connection it must go on answering, one or the other; from one that
//! answers neither, silence says nothing. Each connection shows it anew: behind the same address there may be another
//! server by now. A server that closes the connection upon a question is not asked that one again. A connection that is
//! dead is found out within
//!
//! | when | interval + time to answer |
//! |---|---|
//! | idle | 25 s + 10 s |
//! | in a call, ringing included | 10 s + 4 s |
//! | after a hint of the browser | 0 s + 2 s |
//! | when the audio of a call has stopped | 0 s + 1.5 s |

use core::time::Duration;

use super::flow::FlowState;
use super::transactions::Owner;
use super::{CallTimer, Hint, Output, Phone, SocketId, TimerKey};
use crate::entropy::below;
use crate::sip::auth::Attempt;
use crate::sip::message::Method;
use crate::sip::transaction::T64;
use crate::text::concat;
use crate::time::Instant;

/// Keep-alives go out at 80 % to 100 % of this (RFC 5626, section 4.4.1 has the same spread); proxies and NATs
/// drop idle connections after 30 s and more.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
const KEEP_ALIVE_IN_CALL: Duration = Duration::from_secs(10);
/// RFC 5626, section 4.4.1.
const ANSWER: Duration = Duration::from_secs(10);
const ANSWER_IN_CALL: Duration = Duration::from_secs(4);
/// There is reason to think that the connection is dead, and a mistake costs no more than a new one.
const ANSWER_TO_HINT: Duration = Duration::from_secs(2);
/// So soon that the server which is found dead is left before the offer which mends the audio is sent to it.
const ANSWER_IN_SILENCE: Duration = Duration::from_millis(1500);
/// Hints come in swarms.
const HINTS_APART: Duration = Duration::from_secs(1);

/// Nobody is as late as that who is awake; but browsers wake tabs that have been in the background for long only once a
/// minute.
const LATE: Duration = Duration::from_secs(10);
const ASLEEP: Duration = Duration::from_secs(70);

/// What a server is known to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Unknown,
    Crlf,
    Options,
    Nothing,
}

/// Questions: CRLF, and OPTIONS.
const CRLF: u8 = 1;
const OPTIONS: u8 = 2;
/// A connection that ends so soon after a question was ended by it.
const UPON: Duration = Duration::from_secs(2);
/// One that has lasted so long makes up for those that were ended.
const LONG: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Liveness {
    /// Over this connection.
    answers: Answers,
    /// Over the one before, to the same server.
    before: Answers,
    /// The server that is spoken to.
    of: Option<usize>,
    /// The questions that are not answered yet, and since when.
    asked: u8,
    asked_at: Instant,
    /// Time for the answer to the second question, where the first gets none.
    rest: Duration,
    /// The questions upon which this server has ended a connection.
    shuns: u8,
    /// The interval is the short one.
    in_call: bool,
    /// The browser has given a hint: only an answer counts now, not what may have been on its way before.
    doubted: bool,
    /// When the server last sent anything.
    heard: Instant,
    /// When a hint was last acted on.
    hinted: Option<Instant>,
    /// When the browser last said that the network is another one, or is there again.
    network_changed: Option<Instant>,
}

impl Liveness {
    pub(super) const fn new() -> Self {
        Self {
            answers: Answers::Unknown,
            before: Answers::Unknown,
            of: None,
            asked: 0,
            asked_at: Instant::ZERO,
            rest: Duration::ZERO,
            shuns: 0,
            in_call: false,
            doubted: false,
            heard: Instant::ZERO,
            hinted: None,
            network_changed: None,
        }
    }

    /// The server has yet to show that it is there.
    pub(super) const fn is_doubted(&self) -> bool {
        self.doubted
    }

    pub(super) fn network_changed_within(&self, time: Duration, now: Instant) -> bool {
        self.network_changed.is_some_and(|changed| now - changed < time)
    }

    /// A connection to this server is spoken over from now on.
    pub(super) fn meet(&mut self, server: usize) {
        if self.of != Some(server) {
            self.of = Some(server);
            self.before = Answers::Unknown;
            self.shuns = 0;
        } else if self.answers != Answers::Unknown {
            self.before = if self.answers == Answers::Nothing { Answers::Unknown } else { self.answers };
        }
        self.answers = Answers::Unknown;
        self.asked = 0;
        self.doubted = false;
    }

    /// The other side has closed the connection.
    pub(super) fn ended(&mut self, now: Instant, took: Duration, lived: Duration) {
        if lived >= LONG {
            self.shuns = 0;
        }
        // After a hint of the browser it is the network's doing.
        if !self.doubted && now - self.asked_at < UPON + took {
            self.shuns |= if self.asked & CRLF & !self.shuns == 0 { self.asked } else { CRLF };
        }
    }

    /// What the server is thought to answer.
    const fn expected(&self) -> Answers {
        match self.answers {
            Answers::Unknown => self.before,
            answers => answers,
        }
    }
}

impl Phone {
    // ---- in time

    fn interval(&self) -> (Duration, Duration) {
        if self.flow.liveness.in_call { (KEEP_ALIVE_IN_CALL, ANSWER_IN_CALL) } else { (KEEP_ALIVE, ANSWER) }
    }

    pub(super) fn schedule_keep_alive(&mut self) {
        let max = u64::try_from(self.interval().0.as_millis()).unwrap_or(u64::MAX);
        let delay = max - below(&mut *self.entropy, max / 5);
        self.timers.set(TimerKey::KeepAlive, self.now + Duration::from_millis(delay));
    }

    /// A call has begun, or the last one is over.
    pub(super) fn pace_keep_alive(&mut self) {
        let in_call = self.in_call();
        if core::mem::replace(&mut self.flow.liveness.in_call, in_call) != in_call
            && self.timers.is_set(TimerKey::KeepAlive)
        {
            self.schedule_keep_alive();
        }
    }

    pub(super) fn on_keep_alive_timer(&mut self) {
        // One that is still waited for is not given more time.
        if !self.timers.is_set(TimerKey::Pong) {
            let answer = self.interval().1;
            self.ping(answer);
        }
        self.schedule_keep_alive();
    }

    /// Each connection gets to show what is answered over it, before that is needed.
    pub(super) fn meet_server(&mut self) {
        if self.flow.liveness.answers == Answers::Unknown {
            let answer = self.interval().1;
            self.ping(answer);
        }
    }

    /// Asks in the way that the server is known to answer. Half of the time is for the other way, where it is CRLF that gets
    /// no answer: the server may have been replaced by one that does not know it.
    fn ping(&mut self, answer: Duration) {
        let first = if self.flow.liveness.expected() == Answers::Options { OPTIONS } else { CRLF };
        // On a slow link answers take as long as the connection took.
        let answer = answer.max(self.flow.took);
        let known = matches!(self.flow.liveness.expected(), Answers::Crlf | Answers::Options);
        let half = if known && first == CRLF { answer / 2 } else { answer };
        self.flow.liveness.asked = 0;
        self.flow.liveness.rest = half;
        if self.ask(first) || self.ask(CRLF | OPTIONS) {
            self.timers.set(TimerKey::Pong, self.now + half);
        }
    }

    /// Asks one of these questions that is not open yet, unless it would end the connection. `false`: there is none.
    fn ask(&mut self, of: u8) -> bool {
        let Some(socket) = self.flow.open_socket() else { return false };
        let live = &mut self.flow.liveness;
        let left = of & !live.asked & !live.shuns;
        let crlf = left & CRLF != 0;
        live.asked |= if crlf { CRLF } else { left };
        live.asked_at = self.now;
        if crlf {
            self.out.push(Output::Send { socket, text: "\r\n\r\n".to_owned() });
        } else if left != 0 {
            self.ping_by_options();
        }
        left != 0
    }

    /// With no hop to go any server answers by itself (RFC 3261, section 16.3), and whatever it answers is enough.
    fn ping_by_options(&mut self) {
        let domain = self.config.uri.domain();
        let mut request = self.request_outside(Method::Options, &domain, &concat(&["<", &domain, ">"]));
        request.headers.set("Max-Forwards", "0");
        self.forget_clients_of(Owner::Ping);
        if let Err(error) = self.send_request(Owner::Ping, request, Attempt::default()) {
            self.log(super::LogLevel::Warn, &["OPTIONS could not be sent: ", &error.message]);
        }
    }

    // ---- what comes back

    /// Something has come over this socket; an answer to something of ours, or not.
    pub(super) fn heard_from(&mut self, socket: SocketId, answer: bool) {
        if self.flow.open_socket() != Some(socket) {
            return;
        }
        self.flow.liveness.heard = self.now;
        self.flow.heard = true;
        if answer || !self.flow.liveness.doubted {
            self.flow.liveness.doubted = false;
            self.timers.clear(TimerKey::Pong);
            self.stay();
        }
    }

    pub(super) fn on_ping(&mut self, socket: SocketId) {
        self.out.push(Output::Send { socket, text: "\r\n".to_owned() });
    }

    /// A lone CRLF out of nowhere is a server's own keep-alive: it does not promise answers to ours.
    pub(super) fn on_pong(&mut self, socket: SocketId) {
        let live = &mut self.flow.liveness;
        let pinged = self.timers.is_set(TimerKey::Pong) && live.asked & CRLF != 0;
        if pinged && self.flow.open_socket() == Some(socket) {
            self.flow.liveness.answers = Answers::Crlf;
            self.flow.liveness.asked &= !CRLF;
        }
        self.heard_from(socket, pinged);
    }

    pub(super) fn on_ping_response(&mut self) {
        let live = &mut self.flow.liveness;
        if live.answers != Answers::Crlf || live.asked & CRLF != 0 {
            live.answers = Answers::Options;
        }
        live.asked &= !OPTIONS;
        self.forget_clients_of(Owner::Ping);
    }

    pub(super) fn on_pong_timeout(&mut self) {
        let live = &self.flow.liveness;
        let (answers, expected, rest) = (live.answers, live.expected(), live.rest);
        // One that is known to answer OPTIONS is asked for nothing else.
        if expected != Answers::Options && answers != Answers::Nothing && self.ask(OPTIONS) {
            self.timers.set(TimerKey::Pong, self.now + rest);
            return;
        }
        self.forget_clients_of(Owner::Ping);
        if answers == Answers::Nothing {
            return;
        }
        self.flow.liveness.asked = 0;
        if answers == Answers::Unknown {
            // The one before was answered over, this one is not: it is given up for that once, and not the next.
            self.flow.liveness.before = Answers::Unknown;
            if expected == Answers::Unknown {
                self.flow.liveness.answers = Answers::Nothing;
                return;
            }
        }
        self.leave_connection("The server no longer answers");
    }

    /// A request got no answer in 32 s. If nothing else has come either, the socket is dead though nobody has
    /// closed it; with a server that answers no pings there is no other sign of that.
    pub(super) fn leave_silent_server(&mut self) {
        let silent = self.now - self.flow.liveness.heard >= T64;
        if silent && self.flow.established && !self.flow.closing {
            self.leave_connection("The server no longer answers");
        }
    }

    // ---- sleep

    /// A wake-up that comes far too late: the page was frozen, or the machine asleep. What was waited for had no time
    /// to come, so the waiting goes on as if no time had passed; what was to be done is done at once.
    pub(super) fn notice_sleep(&mut self) {
        let Some((due, _)) = self.next_deadline() else { return };
        let late = self.now - due;
        if late < LATE {
            return;
        }
        self.timers.put_off(late, |key| match key {
            TimerKey::KeepAlive
            | TimerKey::Reconnect
            | TimerKey::Return
            | TimerKey::Register
            | TimerKey::Binding
            | TimerKey::Subscription(_) => false,
            // The time of the person at the other end, and of whoever pays for the call, did pass.
            TimerKey::Call(_, timer) => {
                !matches!(timer, CallTimer::Ring | CallTimer::MaxDuration | CallTimer::Tombstone)
            }
            _ => true,
        });
        for call in self.calls.values_mut() {
            call.session_timer.put_off(late);
        }
        self.on_hint(if late < ASLEEP { Hint::Visible } else { Hint::Woken });
    }

    // ---- hints

    pub(super) fn on_hint(&mut self, hint: Hint) {
        let now = self.now;
        if self.flow.closing || (hint == Hint::Offline && self.flow.open_socket().is_none()) {
            return;
        }
        if matches!(hint, Hint::NetworkChanged | Hint::Online) {
            self.flow.liveness.network_changed = Some(now);
        }
        let apart = |last: Instant| now - last >= HINTS_APART;
        match self.flow.state {
            FlowState::Idle => {}
            FlowState::Waiting => {
                if apart(self.flow.began) {
                    self.timers.clear(TimerKey::Reconnect);
                    self.begin_anew();
                }
            }
            FlowState::Opening(_) => {
                // Begun on a network that may be gone.
                if hint != Hint::Visible && apart(self.flow.began) {
                    self.pass_over(Duration::MAX);
                    self.begin_anew();
                }
            }
            FlowState::Open(_) => {
                if hint == Hint::Visible && self.flow.liveness.hinted.is_some_and(|last| !apart(last)) {
                    return;
                }
                self.flow.liveness.hinted = Some(now);
                self.doubt(ANSWER_TO_HINT);
                match hint {
                    Hint::NetworkChanged => self.begin_move(false),
                    Hint::Online | Hint::Woken => self.begin_move(true),
                    Hint::Offline | Hint::Visible => {}
                }
                if hint == Hint::Woken {
                    // The registration may have run out, and its response is a sign of life from any server.
                    self.on_register_timer();
                    self.resume_calls();
                }
                if hint != Hint::Offline {
                    self.register_if_failed();
                }
                if matches!(hint, Hint::NetworkChanged | Hint::Online | Hint::Woken) {
                    self.media_doubted();
                }
            }
        }
    }

    /// The other side of a call is not heard any more: perhaps the server isn't either.
    pub(super) fn ask_for_life(&mut self) {
        if !self.timers.is_set(TimerKey::Pong) {
            self.doubt(ANSWER_IN_SILENCE);
        }
    }

    fn doubt(&mut self, answer: Duration) {
        if self.flow.settled {
            self.flow.liveness.doubted = true;
            self.ping(answer);
            if self.flow.liveness.expected() == Answers::Unknown {
                self.ask(OPTIONS);
            }
        }
    }
}
