//! Keep-alive: detects a WebSocket that is dead though nobody has closed it.
//!
//! The phone sends CRLF (RFC 5626, section 3.5.1). To a server that does not answer it, and many do not over WebSocket,
//! it sends OPTIONS. A server that has answered one of them over a connection must go on answering one of them; from a
//! server that answers neither, silence says nothing. This is learnt anew over each connection: the same address may
//! lead to another server by now. A keep-alive upon which the server closes the connection is not sent to it again.
//! A dead connection is detected within
//!
//! | when | interval + time for the answer |
//! |---|---|
//! | idle | 25 s + 10 s |
//! | in a call, ringing included | 10 s + 4 s |
//! | after a hint of the browser | 0 s + 2 s |
//! | after the audio of a call has stopped | 0 s + 1.5 s |

use super::context::{Cx, LineEvent};
use super::flow::FlowState;
use super::transactions::Owner;
use super::{Hint, Output, SocketId, TimerKey};
use crate::entropy::below;
use crate::sip::auth::Attempt;
use crate::sip::message::Method;
use crate::sip::transaction::T64;
use crate::text::concat;
use crate::time::{Duration, Instant};

/// Interval of keep-alives, 80 % to 100 % of this (the spread of RFC 5626, section 4.4.1). Proxies and NATs drop idle
/// connections after 30 s or more.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
const KEEP_ALIVE_IN_CALL: Duration = Duration::from_secs(10);
/// Time for the answer (RFC 5626, section 4.4.1).
const ANSWER: Duration = Duration::from_secs(10);
const ANSWER_IN_CALL: Duration = Duration::from_secs(4);
/// Shorter after a hint: the connection is probably dead, and a mistake costs only a reconnect.
const ANSWER_TO_HINT: Duration = Duration::from_secs(2);
/// Shorter still when audio has stopped: a dead connection is left before the offer that restarts ICE goes over it.
const ANSWER_IN_SILENCE: Duration = Duration::from_millis(1500);
/// Hints come in swarms; only one in this time counts.
const HINTS_APART: Duration = Duration::from_secs(1);

/// Which keep-alive a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Unknown,
    Crlf,
    Options,
    Nothing,
}

/// The two kinds of keep-alive, as bits.
const CRLF: u8 = 1;
const OPTIONS: u8 = 2;
/// A connection that the server closes this soon after a keep-alive was closed because of it.
const UPON: Duration = Duration::from_secs(2);
/// A connection that has lasted this long lifts that verdict.
const LONG: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Liveness {
    /// Over this connection.
    answers: Answers,
    /// Over the previous connection to the same server.
    before: Answers,
    /// The server of this connection.
    of: Option<usize>,
    /// Keep-alives without an answer yet, and the time of the last.
    asked: u8,
    asked_at: Instant,
    /// Time for the answer to OPTIONS, if CRLF gets none.
    rest: Duration,
    /// Keep-alives upon which this server has closed a connection.
    shuns: u8,
    /// The short interval is in use.
    in_call: bool,
    /// After a hint of the browser. Only an answer clears it: other messages may have been on their way before.
    doubted: bool,
    /// When the server last sent anything.
    heard: Instant,
    /// When a hint was last acted on.
    hinted: Option<Instant>,
    /// When the browser last reported another network, or the return of one.
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

    /// Whether the server has yet to answer after a hint.
    pub(super) const fn is_doubted(&self) -> bool {
        self.doubted
    }

    pub(super) fn network_changed_within(&self, time: Duration, now: Instant) -> bool {
        self.network_changed.is_some_and(|changed| now - changed < time)
    }

    /// Starts anew, with a connection to this server.
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

    /// The server has closed the connection.
    pub(super) fn ended(&mut self, now: Instant, took: Duration, lived: Duration) {
        if lived >= LONG {
            self.shuns = 0;
        }
        // After a hint of the browser the network is the likelier cause.
        if !self.doubted && now - self.asked_at < UPON + took {
            self.shuns |= if self.asked & CRLF & !self.shuns == 0 { self.asked } else { CRLF };
        }
    }

    /// Which keep-alive the server probably answers.
    const fn expected(&self) -> Answers {
        match self.answers {
            Answers::Unknown => self.before,
            answers => answers,
        }
    }
}

impl Cx {
    /// A call has begun, or the last one is over.
    pub(super) fn pace_keep_alive(&mut self) {
        let in_call = self.in_call;
        if core::mem::replace(&mut self.flow.liveness.in_call, in_call) != in_call
            && self.timers.is_set(TimerKey::KeepAlive)
        {
            self.schedule_keep_alive();
        }
    }

    pub(super) fn on_pong_timeout(&mut self) {
        let live = &self.flow.liveness;
        let (answers, expected, rest) = (live.answers, live.expected(), live.rest);
        // A server that is known to answer OPTIONS gets nothing else.
        if expected != Answers::Options && answers != Answers::Nothing && self.ask_life(OPTIONS) {
            self.timers.set(TimerKey::Pong, self.env.now + rest);
            return;
        }
        self.forget_clients_of(Owner::Ping);
        if answers == Answers::Nothing {
            return;
        }
        self.flow.liveness.asked = 0;
        if answers == Answers::Unknown {
            // The previous connection had answers, this one has none: it is left for that, but the next one is not.
            self.flow.liveness.before = Answers::Unknown;
            if expected == Answers::Unknown {
                self.flow.liveness.answers = Answers::Nothing;
                return;
            }
        }
        self.leave_connection("The server no longer answers");
    }

    /// A request got no response in 32 s. If nothing else was received either, the socket is dead. With a server that
    /// answers no keep-alive this is the only sign.
    pub(super) fn leave_silent_server(&mut self) {
        let silent = self.env.now - self.flow.liveness.heard >= T64;
        if silent && self.flow.established && !self.flow.closing {
            self.leave_connection("The server no longer answers");
        }
    }

    // ---- hints

    pub(super) fn on_hint(&mut self, hint: Hint) {
        let now = self.env.now;
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
                // It began on a network that may be gone.
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
                    // The binding may have expired, and any server answers a REGISTER.
                    self.on_register_timer();
                    self.env.tell(LineEvent::ResumeCalls);
                }
                if hint != Hint::Offline {
                    self.register_if_failed();
                }
                if matches!(hint, Hint::NetworkChanged | Hint::Online | Hint::Woken) {
                    self.env.tell(LineEvent::MediaDoubted);
                }
            }
        }
    }
}

impl Cx {
    // ---- the interval

    fn interval(&self) -> (Duration, Duration) {
        if self.flow.liveness.in_call { (KEEP_ALIVE_IN_CALL, ANSWER_IN_CALL) } else { (KEEP_ALIVE, ANSWER) }
    }

    pub(super) fn schedule_keep_alive(&mut self) {
        let max = u64::from(self.interval().0.as_millis());
        let delay = max - below(&mut *self.env.entropy, max / 5);
        self.timers.set(TimerKey::KeepAlive, self.env.now + Duration::from_millis(delay));
    }

    pub(super) fn on_keep_alive_timer(&mut self) {
        // A pending answer gets no more time.
        if !self.timers.is_set(TimerKey::Pong) {
            let answer = self.interval().1;
            self.ping(answer);
        }
        self.schedule_keep_alive();
    }

    /// Learns early which keep-alive is answered over this connection.
    pub(super) fn meet_server(&mut self) {
        if self.flow.liveness.answers == Answers::Unknown {
            let answer = self.interval().1;
            self.ping(answer);
        }
    }

    /// Sends the keep-alive that the server is known to answer. If that is CRLF, half of the time is left for OPTIONS: a
    /// server that does not know CRLF may have taken its place.
    fn ping(&mut self, answer: Duration) {
        let first = if self.flow.liveness.expected() == Answers::Options { OPTIONS } else { CRLF };
        // On a slow link an answer takes as long as the connection took to open.
        let answer = answer.max(self.flow.took);
        let known = matches!(self.flow.liveness.expected(), Answers::Crlf | Answers::Options);
        let half = if known && first == CRLF { answer / 2 } else { answer };
        self.flow.liveness.asked = 0;
        self.flow.liveness.rest = half;
        if self.ask_life(first) || self.ask_life(CRLF | OPTIONS) {
            self.timers.set(TimerKey::Pong, self.env.now + half);
        }
    }

    /// Sends one of these keep-alives that is not pending, unless the server closes connections upon it. `false`: none is
    /// left.
    fn ask_life(&mut self, of: u8) -> bool {
        let Some(socket) = self.flow.open_socket() else { return false };
        let live = &mut self.flow.liveness;
        let left = of & !live.asked & !live.shuns;
        let crlf = left & CRLF != 0;
        live.asked |= if crlf { CRLF } else { left };
        live.asked_at = self.env.now;
        if crlf {
            self.env.out.push(Output::Send { socket, text: "\r\n\r\n".to_owned() });
        } else if left != 0 {
            self.ping_by_options();
        }
        left != 0
    }

    /// With Max-Forwards 0 any server answers by itself (RFC 3261, section 16.3). Any response will do.
    fn ping_by_options(&mut self) {
        let domain = self.env.config.uri.domain();
        let mut request = self.request_outside(Method::Options, &domain, &concat(&["<", &domain, ">"]));
        request.headers.set("Max-Forwards", "0");
        self.forget_clients_of(Owner::Ping);
        if let Err(error) = self.send_request(Owner::Ping, request, Attempt::default()) {
            self.log(super::LogLevel::Warn, &["OPTIONS could not be sent: ", &error.message]);
        }
    }

    // ---- answers

    /// The socket has received something; `answer`: a response to a request or keep-alive of ours.
    pub(super) fn heard_from(&mut self, socket: SocketId, answer: bool) {
        if self.flow.open_socket() != Some(socket) {
            return;
        }
        self.flow.liveness.heard = self.env.now;
        self.flow.heard = true;
        if answer || !self.flow.liveness.doubted {
            self.flow.liveness.doubted = false;
            self.timers.clear(TimerKey::Pong);
            self.stay();
        }
    }

    pub(super) fn on_ping(&mut self, socket: SocketId) {
        self.env.out.push(Output::Send { socket, text: "\r\n".to_owned() });
    }

    /// An unexpected CRLF is a server's own keep-alive: it does not show that the server answers ours.
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

    /// The audio of a call has stopped: the connection to the server may be dead too.
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
                self.ask_life(OPTIONS);
            }
        }
    }
}
