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

use super::env::{Env, LineEvent};
use super::io::{Hint, SocketId, Transmit};
use super::timers::{Earliest, TimerKey};
use crate::entropy::below;
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
    /// A call is going on: the short interval is in use.
    in_call: bool,
    /// After a hint of the browser. Only an answer clears it: other messages may have been on their way before.
    doubted: bool,
    /// When the server last sent anything.
    heard: Instant,
    /// When a hint was last acted on.
    hinted: Option<Instant>,
    /// When the browser last reported another network, or the return of one.
    network_changed: Option<Instant>,
    /// How long the last socket took to open: a few round trips.
    took: Duration,
    keep_alive: Option<Instant>,
    /// Until then an answer is waited for.
    pong: Option<Instant>,
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
            took: Duration::ZERO,
            keep_alive: None,
            pong: None,
        }
    }

    /// Whether the server has yet to answer after a hint.
    pub(super) const fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// A call is going on.
    pub(super) const fn is_in_call(&self) -> bool {
        self.in_call
    }

    /// How long the last socket took to open.
    pub(super) const fn took(&self) -> Duration {
        self.took
    }

    pub(super) fn network_changed_within(&self, time: Duration, now: Instant) -> bool {
        self.network_changed.is_some_and(|changed| now - changed < time)
    }

    /// The server has sent nothing for this long.
    pub(super) fn is_silent(&self, time: Duration, now: Instant) -> bool {
        now - self.heard >= time
    }

    /// A socket has opened, after this long.
    pub(super) fn opened(&mut self, took: Duration) {
        self.took = took;
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

    /// The server has closed the connection, which has lasted for this long.
    pub(super) fn ended(&mut self, now: Instant, lived: Duration) {
        if lived >= LONG {
            self.shuns = 0;
        }
        // After a hint of the browser the network is the likelier cause.
        if !self.doubted && now - self.asked_at < UPON + self.took {
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

    // ---- the interval

    const fn interval(&self) -> (Duration, Duration) {
        if self.in_call { (KEEP_ALIVE_IN_CALL, ANSWER_IN_CALL) } else { (KEEP_ALIVE, ANSWER) }
    }

    /// Plans the next keep-alive.
    pub(super) fn schedule(&mut self, env: &mut Env) {
        let max = u64::from(self.interval().0.as_millis());
        let delay = max - below(&mut *env.entropy, max / 5);
        self.keep_alive = Some(env.now + Duration::from_millis(delay));
    }

    /// A call has begun, or the last one is over.
    pub(super) fn pace(&mut self, env: &mut Env, in_call: bool) {
        if core::mem::replace(&mut self.in_call, in_call) != in_call && self.keep_alive.is_some() {
            self.schedule(env);
        }
    }

    /// No keep-alive, and no answer waited for.
    pub(super) const fn stop(&mut self) {
        self.keep_alive = None;
        self.pong = None;
    }

    /// No answer is waited for.
    pub(super) const fn expect_nothing(&mut self) {
        self.pong = None;
    }

    pub(super) fn show_deadlines(&self, earliest: &mut Earliest) {
        earliest.show(self.keep_alive, TimerKey::KeepAlive);
        earliest.show(self.pong, TimerKey::Pong);
    }

    /// The page was suspended for so long.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.pong = self.pong.map(|at| at + by);
    }

    /// The time for the next keep-alive has come.
    pub(super) fn on_keep_alive(&mut self, env: &mut Env, socket: Option<SocketId>) {
        // A pending answer gets no more time.
        if self.pong.is_none() {
            self.ping(env, socket, self.interval().1);
        }
        self.schedule(env);
    }

    /// No answer has come in time. `true`: the connection is dead.
    pub(super) fn on_pong_timeout(&mut self, env: &mut Env, socket: Option<SocketId>) -> bool {
        self.pong = None;
        let (answers, expected, rest) = (self.answers, self.expected(), self.rest);
        // A server that is known to answer OPTIONS gets nothing else.
        if expected != Answers::Options && answers != Answers::Nothing && self.ask(env, socket, OPTIONS) {
            self.pong = Some(env.now + rest);
            return false;
        }
        env.tell(LineEvent::OptionsOver);
        if answers == Answers::Nothing {
            return false;
        }
        self.asked = 0;
        if answers == Answers::Unknown {
            // The previous connection had answers, this one has none: it is left for that, but the next one is not.
            self.before = Answers::Unknown;
            if expected == Answers::Unknown {
                self.answers = Answers::Nothing;
                return false;
            }
        }
        true
    }

    // ---- asking

    /// Learns early which keep-alive is answered over this connection.
    pub(super) fn learn(&mut self, env: &mut Env, socket: Option<SocketId>) {
        if self.answers == Answers::Unknown {
            self.ping(env, socket, self.interval().1);
        }
    }

    /// Sends the keep-alive that the server is known to answer. If that is CRLF, half of the time is left for OPTIONS: a
    /// server that does not know CRLF may have taken its place.
    fn ping(&mut self, env: &mut Env, socket: Option<SocketId>, answer: Duration) {
        let first = if self.expected() == Answers::Options { OPTIONS } else { CRLF };
        // On a slow link an answer takes as long as the connection took to open.
        let answer = answer.max(self.took);
        let known = matches!(self.expected(), Answers::Crlf | Answers::Options);
        let half = if known && first == CRLF { answer / 2 } else { answer };
        self.asked = 0;
        self.rest = half;
        if self.ask(env, socket, first) || self.ask(env, socket, CRLF | OPTIONS) {
            self.pong = Some(env.now + half);
        }
    }

    /// Sends one of these keep-alives that is not pending, unless the server closes connections upon it. `false`: none is
    /// left.
    fn ask(&mut self, env: &mut Env, socket: Option<SocketId>, of: u8) -> bool {
        let Some(socket) = socket else { return false };
        let left = of & !self.asked & !self.shuns;
        let crlf = left & CRLF != 0;
        self.asked |= if crlf { CRLF } else { left };
        self.asked_at = env.now;
        if crlf {
            env.transmit(Transmit::Send { socket, text: "\r\n\r\n".to_owned() });
        } else if left != 0 {
            env.tell(LineEvent::AskByOptions);
        }
        left != 0
    }

    /// The audio of a call has stopped: the connection to the server may be dead too.
    pub(super) fn ask_in_silence(&mut self, env: &mut Env, socket: Option<SocketId>) {
        if self.pong.is_none() {
            self.doubt(env, socket, ANSWER_IN_SILENCE);
        }
    }

    fn doubt(&mut self, env: &mut Env, socket: Option<SocketId>, answer: Duration) {
        if socket.is_some() {
            self.doubted = true;
            self.ping(env, socket, answer);
            if self.expected() == Answers::Unknown {
                self.ask(env, socket, OPTIONS);
            }
        }
    }

    // ---- hints

    /// The browser has told of the network.
    pub(super) fn note_hint(&mut self, hint: Hint, now: Instant) {
        if matches!(hint, Hint::NetworkChanged | Hint::Online) {
            self.network_changed = Some(now);
        }
    }

    /// A hint while a connection is open; `socket`: where it is up. `false`: another came just before.
    pub(super) fn on_hint(&mut self, env: &mut Env, socket: Option<SocketId>, hint: Hint) -> bool {
        if hint == Hint::Visible && self.hinted.is_some_and(|last| !apart(last, env.now)) {
            return false;
        }
        self.hinted = Some(env.now);
        self.doubt(env, socket, ANSWER_TO_HINT);
        true
    }

    // ---- answers

    /// The open socket has received something; `answer`: a response to a request or keep-alive of ours. `true`: the
    /// connection is alive.
    pub(super) const fn on_heard(&mut self, now: Instant, answer: bool) -> bool {
        self.heard = now;
        let alive = answer || !self.doubted;
        if alive {
            self.doubted = false;
            self.pong = None;
        }
        alive
    }

    /// CRLF has come over the open socket. `true`: it answers ours. An unexpected one is a server's own keep-alive: it
    /// does not show that the server answers.
    pub(super) const fn on_crlf(&mut self) -> bool {
        let asked = self.pong.is_some() && self.asked & CRLF != 0;
        if asked {
            self.answers = Answers::Crlf;
            self.asked &= !CRLF;
        }
        asked
    }

    pub(super) fn on_options_answered(&mut self) {
        if self.answers != Answers::Crlf || self.asked & CRLF != 0 {
            self.answers = Answers::Options;
        }
        self.asked &= !OPTIONS;
    }
}

/// Hints come in swarms: whether this much time has passed since then.
pub(super) fn apart(last: Instant, now: Instant) -> bool {
    now - last >= HINTS_APART
}
