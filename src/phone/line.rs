//! The connection to the SIP server: the change from one connection to the next, and the back-off between attempts
//! (RFC 7118, RFC 5626). [`Servers`] has the order of the servers, [`Liveness`] detects a dead connection.
//!
//! When the network has changed, or the preferred server is back, the phone opens and registers a new connection beside
//! the old one, and closes the old one only then.

use super::config::PhoneConfig;
use super::env::{Env, LineEvent, Waiting};
use super::io::{ConnectionState, Event, Hint, LocalNetwork, LogLevel, SocketId, Transmit};
use super::liveness::{Liveness, apart};
use super::servers::Servers;
use super::timers::{Earliest, TimerKey, Timers};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::message::Method;
use crate::sip::transaction::T64;
use crate::text::before;
use crate::time::{Duration, Instant};
use crate::url::{is_local_url, is_secure_url};

/// Time for a WebSocket to open, before the next attempt. The socket may still open later: on a slow link, or while the
/// browser asks the user for a permission. So one such socket stays beside the attempts that follow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Lifetime of such a socket at the first connect, whose outcome the application awaits.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same after the first connect, and while the browser may be asking the user.
const PATIENCE_LONG: Duration = Duration::from_secs(120);
/// Time for a response to the first REGISTER or INVITE over a new socket; doubled each time that none comes. A starting
/// server accepts a WebSocket before it reads from it.
const FIRST_RESPONSE: Duration = Duration::from_secs(5);
/// Silent servers before the first connect fails.
const MAX_SILENT: u32 = 3;
const ALLOW_LOCAL: &str =
    "Allow access to the local network (Local Network Access) in the browser's settings for this page.";
const IF_LOCAL: &str = "If the server is in the local network, allow this page to reach that \
    (Local Network Access); otherwise check the server's address.";
const ASKED_LOCAL: &str = "The browser asks whether this page may reach the local network \
    (Local Network Access): it has to be allowed.";
/// The most that a slow link adds to the time for a response.
const MAX_TOOK: Duration = Duration::from_secs(8);
/// Back-off between rounds of attempts: full jitter below min(cap, base · 2ⁿ). Phones do not come back in step, and the
/// cap keeps an outage short.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(8);
/// Shorter in a call: only few phones are in one at a time.
const BACKOFF_CAP_IN_CALL: Duration = Duration::from_secs(1);
/// Limit of the messages that wait for the next socket. A phone with all its calls up has fewer.
const MAX_QUEUE: usize = 64;
/// A connection lost this soon after the last loss counts as a failed attempt: a proxy in front of a dead server accepts
/// every WebSocket and closes it at once.
const FLAPPING: Duration = Duration::from_secs(60);
/// From a move that failed at once to the next.
const MOVE_AGAIN: Duration = Duration::from_millis(300);
/// How long the previous socket stays open for outstanding responses.
const PREVIOUS: Duration = Duration::from_secs(16);
/// Time on a lesser server until the preferred one is tried: half to all of min(cap, base · 2ⁿ).
const RETURN_BASE: Duration = Duration::from_secs(60);
const RETURN_CAP: Duration = Duration::from_secs(600);
/// Postponement of the return during a call or a request.
const RETURN_LATER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No socket wanted.
    Idle,
    /// A socket is being opened.
    Opening(SocketId),
    /// A socket is open.
    Open(SocketId),
    /// Waits for the next round of attempts.
    Waiting,
}

/// A socket beside the one that is open.
#[derive(Debug, Clone, Copy)]
struct Beside {
    socket: SocketId,
    /// Of its server in the order.
    place: usize,
    /// It is closed again if the open one proves to be alive.
    optional: bool,
}

/// A socket that has not opened in time, and still may.
#[derive(Debug, Clone, Copy)]
struct Spare {
    socket: SocketId,
    /// Its place in the configuration.
    server: usize,
    began: Instant,
}

/// The connection. It knows no call and no transaction: what follows for them it tells as [`LineEvent`].
#[derive(Debug)]
pub(super) struct Line {
    state: State,
    last_socket: u32,
    servers: Servers,
    /// Rounds in which every server failed.
    rounds: u32,
    /// Opening, beside the open one.
    next: Option<Beside>,
    /// Open until all requests over it are answered, or the new one fails.
    previous: Option<Beside>,
    spare: Option<Spare>,
    /// The open socket has received something.
    heard: bool,
    /// Consecutive sockets without a response to the first request.
    silent: u32,
    /// Failed returns to the preferred server.
    returns: u32,
    /// `connect` has succeeded once: the phone reconnects from now on.
    established: bool,
    /// The socket is open, and registered if the configuration wants that.
    settled: bool,
    /// `connect` waits for its outcome.
    connect_pending: bool,
    /// `disconnect` is under way.
    closing: bool,
    liveness: Liveness,
    local_network: LocalNetwork,
    /// When the current attempt began.
    began: Instant,
    /// When an open socket was last lost.
    lost: Option<Instant>,
    /// ACKs and responses that wait for the next socket, each with its time.
    queue: Vec<(Instant, String)>,
    timers: Timers<TimerKey>,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Idle,
            last_socket: 0,
            servers: Servers::new(),
            rounds: 0,
            next: None,
            previous: None,
            spare: None,
            heard: false,
            silent: 0,
            returns: 0,
            established: false,
            settled: false,
            connect_pending: false,
            closing: false,
            liveness: Liveness::new(),
            local_network: LocalNetwork::Granted,
            began: Instant::ZERO,
            lost: None,
            queue: Vec::new(),
            timers: Timers::new(),
        }
    }

    /// As before the first connect; the numbers of the sockets go on.
    pub(super) fn reset(&mut self) {
        *self = Self { last_socket: self.last_socket, ..Self::new() };
    }

    // ---- what it is like

    pub(super) const fn open_socket(&self) -> Option<SocketId> {
        match self.state {
            State::Open(socket) => Some(socket),
            _ => None,
        }
    }

    fn settled_socket(&self) -> Option<SocketId> {
        self.open_socket().filter(|_| self.settled)
    }

    /// No socket is wanted.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Waits for the next round of attempts.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// `disconnect` is under way.
    pub(super) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// `connect` has succeeded once.
    pub(super) const fn is_established(&self) -> bool {
        self.established
    }

    /// The socket is open, and registered if the configuration wants that.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// The open socket has received something.
    pub(super) const fn has_heard(&self) -> bool {
        self.heard
    }

    /// The connection before the open one is still there.
    pub(super) const fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// The connection is lost, and to be restored.
    pub(super) const fn is_interrupted(&self) -> bool {
        self.established && !matches!(self.state, State::Open(_) | State::Idle)
    }

    /// The connection is encrypted, or to this machine.
    pub(super) fn is_secure(&self, config: &PhoneConfig) -> bool {
        is_secure_url(self.servers.url(config))
    }

    /// The transport of our Via (RFC 7118, section 5).
    pub(super) fn via_transport(&self, config: &PhoneConfig) -> &'static str {
        let url = self.servers.url(config);
        let plain = url.get(..3).is_some_and(|scheme| scheme.eq_ignore_ascii_case("ws:"));
        if plain { "WS" } else { "WSS" }
    }

    /// Whether the phone still reads this socket.
    pub(super) fn listens_to(&self, socket: SocketId) -> bool {
        self.open_socket() == Some(socket) || self.previous.is_some_and(|beside| beside.socket == socket)
    }

    /// Whether a request of this method waits for the next socket.
    pub(super) fn keeps(&self, method: &Method) -> bool {
        self.state != State::Idle && (self.established || matches!(method, Method::Bye | Method::Cancel))
    }

    pub(super) const fn connection(&self) -> ConnectionState {
        match (self.state, self.established) {
            (State::Open(_), _) => ConnectionState::Connected,
            (State::Idle, _) => ConnectionState::Disconnected,
            (_, false) => ConnectionState::Connecting,
            (_, true) => ConnectionState::Reconnecting,
        }
    }

    /// The browser has reported another network, or the return of one, within this time.
    pub(super) fn network_changed_within(&self, time: Duration, now: Instant) -> bool {
        self.liveness.network_changed_within(time, now)
    }

    pub(super) fn show_deadlines(&self, earliest: &mut Earliest) {
        self.timers.show(earliest);
        self.liveness.show_deadlines(earliest);
    }

    /// The page was suspended for so long.
    pub(super) fn put_off(&mut self, by: Duration) {
        self.timers.put_off(by, |key| !matches!(key, TimerKey::Reconnect | TimerKey::Return));
        self.liveness.put_off(by);
    }

    /// Does what is due at this deadline, which has been reached. `busy`: a request of ours is under way.
    pub(super) fn on_timeout(&mut self, env: &mut Env, timer: TimerKey, busy: bool) {
        self.timers.clear(timer);
        match timer {
            TimerKey::Connect => self.on_connect_timeout(env),
            TimerKey::KeepAlive => self.on_keep_alive_timer(env),
            TimerKey::Pong => self.on_pong_timeout(env),
            TimerKey::Reconnect => self.on_reconnect_timer(env),
            TimerKey::Move => self.on_move_timer(env),
            TimerKey::Previous => self.on_previous_timer(env),
            TimerKey::Return => self.on_return_timer(env, busy),
            _ => {}
        }
    }

    // ---- what is wished of it

    pub(super) const fn set_local_network(&mut self, state: LocalNetwork) {
        self.local_network = state;
    }

    /// `connect` waits for its outcome from now on.
    pub(super) const fn want_connect(&mut self) {
        self.connect_pending = true;
    }

    /// Whether `connect` waits for its outcome, which it is given now.
    pub(super) const fn take_connect(&mut self) -> bool {
        core::mem::replace(&mut self.connect_pending, false)
    }

    /// Calls of another page are taken up: the phone reconnects.
    pub(super) const fn take_up(&mut self) {
        self.established = true;
    }

    /// `disconnect` begins.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.timers.clear(TimerKey::Reconnect);
    }

    /// Closes all sockets, and wants none any more. The state is to be reported afterwards.
    pub(super) fn abandon(&mut self, env: &mut Env) {
        self.drop_socket(env);
        self.liveness.stop();
        // The closed socket must carry nothing more.
        self.state = State::Idle;
    }

    /// 503: avoids this server for so many seconds.
    pub(super) fn server_is_busy(&mut self, env: &Env, retry_after: u32) {
        self.servers.avoid(Duration::from_secs(retry_after.into()), env.now);
    }
}

impl Line {
    /// Moves to a server that is not overloaded, if there is one and no call. `false`: nothing changed.
    pub(super) fn leave_busy_server(&mut self, env: &mut Env, error: &Error) -> bool {
        !self.liveness.is_in_call() && self.leave_for_free_server(env, error)
    }

    pub(super) fn leave_for_free_server(&mut self, env: &mut Env, error: &Error) -> bool {
        let Some(socket) = self.open_socket() else { return false };
        if !self.established || self.closing || !self.servers.has_free(env) {
            return false;
        }
        self.drop_socket(env);
        self.servers.retry(0);
        self.attempt_failed(env, error.clone());
        env.tell(LineEvent::Unbound);
        env.tell(LineEvent::Down { socket, error: error.clone() });
        true
    }

    pub(super) fn on_socket_opened(&mut self, env: &mut Env, socket: SocketId) {
        match self.next {
            Some(next) if next.socket == socket => self.change_over(env, next),
            _ if self.state == State::Opening(socket) => {
                self.liveness.opened((env.now - self.began).min(MAX_TOOK));
                self.enter(env, State::Open(socket), None);
            }
            _ => {
                if !self.adopt_spare(env, socket) {
                    return;
                }
            }
        }
        self.drop_spare(env);
        self.timers.clear_all(&[TimerKey::Connect, TimerKey::Reconnect]);
        self.settled = false;
        self.heard = false;
        self.liveness.schedule(env);
        self.flush_queue(env, socket);
        env.tell(LineEvent::Opened);
    }

    /// The phone can make and receive calls.
    pub(super) fn connected(&mut self, env: &mut Env) {
        self.established = true;
        self.silent = 0;
        if !core::mem::replace(&mut self.settled, true) {
            env.tell(LineEvent::Up);
        }
        if core::mem::take(&mut self.connect_pending) {
            env.event(Event::ConnectDone(Ok(())));
        }
    }

    pub(super) fn on_socket_closed(&mut self, env: &mut Env, socket: SocketId) {
        if self.next.is_some_and(|next| next.socket == socket) {
            self.move_failed(env);
            if self.liveness.is_doubted() {
                // Browsers tell of a network that has an address before it has a route.
                self.timers.set(TimerKey::Move, env.now + MOVE_AGAIN);
            }
        } else if self.previous.is_some_and(|previous| previous.socket == socket) {
            self.previous = None;
            self.previous_is_over(env, socket);
        } else if self.state == State::Opening(socket) {
            let error = self.not_opened(env, "The SIP server could not be reached");
            self.attempt_failed(env, error);
        } else if self.state == State::Open(socket) {
            self.liveness.ended(env.now, env.now - self.began);
            self.connection_lost(env, "The connection was lost");
        } else if self.spare.is_some_and(|spare| spare.socket == socket) {
            self.spare = None;
        }
    }

    /// The first request over the socket got no response. All requests move to the next one.
    pub(super) fn leave_unanswered(&mut self, env: &mut Env) {
        let Some(socket) = self.open_socket() else { return };
        self.silent = self.silent.saturating_add(1);
        let error = Error::new(ErrorCode::Timeout, "The server did not answer");
        if !self.go_back(env, &error) {
            env.transmit(Transmit::CloseSocket(socket));
            self.connection_lost_by(env, error);
        }
    }

    pub(super) fn on_connect_timeout(&mut self, env: &mut Env) {
        let error = self.not_opened(env, "The SIP server did not answer in time");
        self.pass_over(env, self.patience(env));
        self.attempt_failed(env, error);
    }

    /// This server failed: tries the next one, or ends the round.
    pub(super) fn attempt_failed(&mut self, env: &mut Env, error: Error) {
        self.timers.clear_all(&[TimerKey::Connect, TimerKey::Return]);
        self.liveness.stop();
        self.settled = false;
        if self.closing {
            env.tell(LineEvent::Over);
            return;
        }
        self.servers.pass();
        if !self.servers.are_tried(&env.config) {
            self.open_next(env, Some(error));
            return;
        }
        if !self.established
            && let Some(spare) = self.take_spare()
        {
            // Every server has been tried: this socket is the best chance.
            self.state = State::Opening(spare.socket);
            self.timers.set(TimerKey::Connect, spare.began + self.patience(env));
            return;
        }
        self.servers.begin_round(env);
        if !self.established {
            if error.code == ErrorCode::Timeout && self.silent < MAX_SILENT {
                self.open_next(env, Some(error));
            } else {
                env.tell(LineEvent::GaveUp(error));
            }
            return;
        }
        if core::mem::take(&mut self.connect_pending) {
            env.event(Event::ConnectDone(Err(error.clone())));
        }
        let cap = if self.liveness.is_in_call() { BACKOFF_CAP_IN_CALL } else { BACKOFF_CAP };
        // The first limit applies twice: most restarts are short.
        let shift = self.rounds.saturating_sub(1).min(8);
        self.rounds = self.rounds.saturating_add(1);
        let limit = cap.min(BACKOFF_BASE.saturating_mul(1 << shift));
        let delay = below(&mut *env.entropy, u64::from(limit.as_millis()));
        let mut at = env.now + Duration::from_millis(delay);
        if !self.servers.has_free(env) {
            at = at.max(self.servers.free_at(env.now).unwrap_or(at));
        }
        self.timers.set(TimerKey::Reconnect, at);
        self.enter(env, State::Waiting, Some(error));
    }

    /// The open socket is lost, or dead.
    pub(super) fn connection_lost(&mut self, env: &mut Env, message: &'static str) {
        self.connection_lost_by(env, Error::new(ErrorCode::Transport, message));
    }

    fn connection_lost_by(&mut self, env: &mut Env, error: Error) {
        let Some(socket) = self.open_socket() else { return };
        env.log(LogLevel::Warn, &[&error.message]);
        if self.closing {
            env.tell(LineEvent::Over);
            return;
        }
        if !self.settled && self.previous.is_some() {
            self.go_back(env, &error);
            return;
        }
        self.timers.clear(TimerKey::Return);
        self.liveness.stop();
        if !self.established {
            env.tell(LineEvent::Unbound);
            self.attempt_failed(env, error.clone());
            env.tell(LineEvent::Down { socket, error });
            return;
        }
        self.settled = false;
        let previous = self.previous.take();
        if let Some(previous) = previous {
            env.transmit(Transmit::CloseSocket(previous.socket));
        }
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Previous]);
        let last = self.lost.replace(env.now);
        if let Some(next) = self.next.take() {
            // The next socket is opening already.
            self.servers.go_to(next.place);
            self.servers.retry(1);
            self.began = env.now;
            self.meet_server();
            self.timers.set(TimerKey::Connect, env.now + CONNECT_TIMEOUT);
            self.enter(env, State::Opening(next.socket), Some(error.clone()));
        } else if last.is_some_and(|last| env.now - last < FLAPPING) {
            self.attempt_failed(env, error.clone());
        } else {
            // First at once, at the same server: most losses are short.
            self.servers.retry(0);
            self.rounds = 0;
            self.open_next(env, Some(error.clone()));
        }
        env.tell(LineEvent::Unbound);
        env.tell(LineEvent::Lost);
        // Only now, so that nothing that follows goes over the lost socket.
        if let Some(previous) = previous {
            env.tell(LineEvent::Interrupted { socket: previous.socket, error: error.clone() });
        }
        env.tell(LineEvent::Down { socket, error });
    }

    /// Closes the socket, and opens another.
    pub(super) fn leave_connection(&mut self, env: &mut Env, message: &'static str) {
        if let Some(socket) = self.open_socket() {
            env.transmit(Transmit::CloseSocket(socket));
            self.connection_lost(env, message);
        }
    }

    /// The new connection is useless: returns to the previous one, if that is still open.
    pub(super) fn go_back(&mut self, env: &mut Env, error: &Error) -> bool {
        let Some(socket) = self.open_socket().filter(|_| !self.settled) else { return false };
        let Some(previous) = self.previous.take() else { return false };
        env.transmit(Transmit::CloseSocket(socket));
        self.servers.go_to(previous.place);
        self.state = State::Open(previous.socket);
        self.settled = true;
        self.meet_server();
        self.timers.clear(TimerKey::Previous);
        self.liveness.expect_nothing();
        env.tell(LineEvent::Interrupted { socket, error: error.clone() });
        self.liveness.schedule(env);
        env.tell(LineEvent::Back);
        self.plan_return(env);
        true
    }

    /// The previous socket, where it can be closed once all requests over it are answered.
    pub(super) fn previous(&self) -> Option<SocketId> {
        self.previous.filter(|_| self.settled).map(|previous| previous.socket)
    }

    pub(super) fn on_previous_timer(&mut self, env: &mut Env) {
        let error = Error::new(ErrorCode::Timeout, "The server did not answer");
        if self.go_back(env, &error) {
            return;
        }
        if let Some(previous) = self.previous.take() {
            env.transmit(Transmit::CloseSocket(previous.socket));
            self.previous_is_over(env, previous.socket);
        }
    }

    fn previous_is_over(&mut self, env: &mut Env, socket: SocketId) {
        self.timers.clear(TimerKey::Previous);
        let error = Error::new(ErrorCode::Transport, "The connection was lost");
        env.tell(LineEvent::Interrupted { socket, error });
        if self.settled {
            env.tell(LineEvent::Send(Waiting::All));
        }
    }

    /// It is time to return to the preferred server. `busy`: a request of ours is under way.
    pub(super) fn on_return_timer(&mut self, env: &mut Env, busy: bool) {
        if busy || self.liveness.is_in_call() {
            self.timers.set(TimerKey::Return, env.now + RETURN_LATER);
            return;
        }
        self.returns = self.returns.saturating_add(1);
        match self.servers.preferred(env) {
            Some(place) => self.begin_move_to(env, place, false),
            None => self.plan_return(env),
        }
    }
}

impl Line {
    /// Begins to connect, to one of the servers that there are.
    pub(super) fn start(&mut self, env: &mut Env) {
        self.rounds = 0;
        self.silent = 0;
        self.servers.start(env);
        self.open_next(env, None);
    }

    /// Enters the next state; reports a change of the connection's state.
    fn enter(&mut self, env: &mut Env, state: State, error: Option<Error>) {
        let before = self.connection();
        self.state = state;
        self.report_connection(env, before, error);
    }

    pub(super) fn report_connection(&mut self, env: &mut Env, before: ConnectionState, error: Option<Error>) {
        let after = self.connection();
        if before != after {
            env.event(Event::Connection(after, error));
        }
    }

    // ---- attempts

    fn new_socket(&mut self, env: &mut Env, server: usize) -> SocketId {
        self.last_socket = self.last_socket.wrapping_add(1);
        let socket = SocketId(self.last_socket);
        let url = env.config.servers.get(server).cloned().unwrap_or_default();
        // The query may contain a token.
        env.log(LogLevel::Info, &["connecting to ", before(&url, b'?')]);
        env.transmit(Transmit::OpenSocket { socket, url });
        socket
    }

    /// Forgets what has been learnt of another server's keep-alive.
    fn meet_server(&mut self) {
        if let Some(server) = self.servers.current() {
            self.liveness.meet(server);
        }
    }

    pub(super) fn open_next(&mut self, env: &mut Env, error: Option<Error>) {
        let Some(server) = self.servers.take_next(env.now) else {
            self.enter(env, State::Idle, error);
            return;
        };
        let before = self.connection();
        self.began = env.now;
        self.state = State::Opening(self.new_socket(env, server));
        self.meet_server();
        self.timers.set(TimerKey::Connect, env.now + CONNECT_TIMEOUT);
        self.report_connection(env, before, error);
    }

    // ---- a socket that is slow to open

    /// Keeps the opening socket beside the next attempt, unless there is an older one already.
    pub(super) fn pass_over(&mut self, env: &mut Env, patience: Duration) {
        let (State::Opening(socket), Some(server)) = (self.state, self.servers.current()) else {
            return;
        };
        let now = env.now;
        let waits = |spare: &Spare| now - spare.began < patience;
        let own = Spare { socket, server, began: self.began };
        let spare = self.spare.filter(waits).or(Some(own).filter(waits));
        for left in [self.spare, Some(own)].into_iter().flatten() {
            if spare.is_none_or(|spare| spare.socket != left.socket) {
                env.transmit(Transmit::CloseSocket(left.socket));
            }
        }
        self.spare = spare;
    }

    fn drop_spare(&mut self, env: &mut Env) {
        if let Some(spare) = self.spare.take() {
            env.transmit(Transmit::CloseSocket(spare.socket));
        }
    }

    /// Makes the spare socket the current one.
    fn take_spare(&mut self) -> Option<Spare> {
        let spare = self.spare.take()?;
        self.servers.go_to_server(spare.server);
        self.began = spare.began;
        self.meet_server();
        Some(spare)
    }

    /// The spare socket has opened: the current attempt is not needed.
    fn adopt_spare(&mut self, env: &mut Env, socket: SocketId) -> bool {
        let wanted = matches!(self.state, State::Opening(_) | State::Waiting);
        if !wanted || self.spare.is_none_or(|spare| spare.socket != socket) {
            return false;
        }
        if let State::Opening(other) = self.state {
            env.transmit(Transmit::CloseSocket(other));
        }
        if let Some(spare) = self.take_spare() {
            self.liveness.opened((env.now - spare.began).min(MAX_TOOK));
        }
        self.enter(env, State::Open(socket), None);
        true
    }

    /// Time for the first response over a new socket.
    pub(super) fn first_response(&self) -> Duration {
        FIRST_RESPONSE.saturating_mul(1 << self.silent.min(MAX_SILENT)).max(self.liveness.took()).min(T64)
    }

    fn patience(&self, env: &Env) -> Duration {
        let asked = self.local_network == LocalNetwork::Prompt && self.is_local_server(env);
        if self.established || asked { PATIENCE_LONG } else { PATIENCE }
    }

    fn is_local_server(&self, env: &Env) -> bool {
        is_local_url(self.servers.url(&env.config))
    }

    /// The error of a socket that did not open. The browser does not report a missing permission of its own, so the hint
    /// names it; a host name shows only sometimes that its server is in the local network.
    fn not_opened(&self, env: &Env, message: &'static str) -> Error {
        const REFUSED: &str = "The browser does not let this page reach the local network";
        let error = |message| Error::new(ErrorCode::Transport, message);
        match (self.local_network, self.is_local_server(env)) {
            (LocalNetwork::Denied, true) => error(REFUSED).with_hint(ALLOW_LOCAL),
            (LocalNetwork::Denied, false) => error(message).with_hint(IF_LOCAL),
            (LocalNetwork::Prompt, true) => error(message).with_hint(ASKED_LOCAL),
            _ => error(message),
        }
    }

    pub(super) fn drop_socket(&mut self, env: &mut Env) {
        self.drop_spare(env);
        let beside = [self.next.take(), self.previous.take()];
        for beside in beside.into_iter().flatten() {
            env.transmit(Transmit::CloseSocket(beside.socket));
        }
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Previous]);
        if let State::Open(socket) | State::Opening(socket) = self.state {
            env.transmit(Transmit::CloseSocket(socket));
        }
    }

    pub(super) fn on_reconnect_timer(&mut self, env: &mut Env) {
        if self.state == State::Waiting {
            self.open_next(env, None);
        }
    }

    // ---- from one connection to another

    /// Opens another connection beside the open one.
    pub(super) fn begin_move(&mut self, env: &mut Env, optional: bool) {
        self.begin_move_to(env, self.servers.place(), optional);
    }

    fn begin_move_to(&mut self, env: &mut Env, place: usize, optional: bool) {
        if !self.settled || self.closing || self.previous.is_some() {
            return;
        }
        if let Some(next) = &mut self.next {
            next.optional &= optional;
            return;
        }
        let Some(server) = self.servers.at(place) else { return };
        let socket = self.new_socket(env, server);
        self.next = Some(Beside { socket, place, optional });
        self.timers
            .set(TimerKey::Move, env.now + CONNECT_TIMEOUT.max(self.liveness.took().saturating_mul(2)));
    }

    /// The connection is alive: an optional move is given up.
    pub(super) fn stay(&mut self, env: &mut Env) {
        if self.next.is_some_and(|next| next.optional) {
            self.on_move_timer(env);
        }
    }

    /// The other socket did not open.
    pub(super) fn on_move_timer(&mut self, env: &mut Env) {
        if let Some(next) = self.next {
            env.transmit(Transmit::CloseSocket(next.socket));
            self.move_failed(env);
        } else if self.liveness.is_doubted() {
            self.begin_move(env, true);
        }
    }

    fn move_failed(&mut self, env: &mut Env) {
        self.next = None;
        self.timers.clear(TimerKey::Move);
        self.plan_return(env);
    }

    fn change_over(&mut self, env: &mut Env, next: Beside) {
        let Some(socket) = self.open_socket() else { return };
        self.next = None;
        self.previous = Some(Beside { socket, place: self.servers.place(), optional: false });
        self.servers.go_to(next.place);
        self.began = env.now;
        self.state = State::Open(next.socket);
        self.meet_server();
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Return]);
        self.liveness.expect_nothing();
        self.timers.set(TimerKey::Previous, env.now + PREVIOUS);
    }

    /// Plans the return from a lesser server to the preferred one.
    pub(super) fn plan_return(&mut self, env: &mut Env) {
        if self.servers.is_best(&env.config) || !self.settled {
            self.returns = 0;
            self.timers.clear(TimerKey::Return);
            return;
        }
        let limit = RETURN_CAP.min(RETURN_BASE.saturating_mul(1 << self.returns.min(6)));
        let half = u64::from(limit.as_millis()) / 2;
        let wait = Duration::from_millis(half + below(&mut *env.entropy, half));
        self.timers.set(TimerKey::Return, env.now + wait);
    }

    // ---- sending

    /// Sends, or queues for the next socket. `false`: neither is possible.
    pub(super) fn transmit(&mut self, env: &mut Env, text: String, keep: bool) -> bool {
        env.trace("sent", &text);
        match self.state {
            State::Open(socket) => {
                env.transmit(Transmit::Send { socket, text });
                true
            }
            State::Idle => false,
            _ if keep => {
                if self.queue.len() >= MAX_QUEUE {
                    // The oldest has the least time left to be useful.
                    self.queue.remove(0);
                    env.log(LogLevel::Warn, &["too much waits for the connection"]);
                }
                self.queue.push((env.now, text));
                true
            }
            _ => false,
        }
    }

    pub(super) fn flush_queue(&mut self, env: &mut Env, socket: SocketId) {
        let (now, limit) = (env.now, env.config.signalling_grace.max(T64));
        for (since, text) in core::mem::take(&mut self.queue) {
            if now.saturating_since(since) < limit {
                env.transmit(Transmit::Send { socket, text });
            }
        }
    }

    /// Without a socket: an ACK or a response waits for the next one.
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Begins another round of attempts now.
    pub(super) fn begin_anew(&mut self, env: &mut Env) {
        self.rounds = 0;
        self.servers.begin_round(env);
        self.open_next(env, None);
    }

    // ---- liveness

    /// A call has begun, or the last one is over.
    pub(super) fn set_in_call(&mut self, env: &mut Env, in_call: bool) {
        self.liveness.pace(env, in_call);
    }

    /// Learns early which keep-alive is answered over this connection.
    pub(super) fn learn_keep_alive(&mut self, env: &mut Env) {
        self.liveness.learn(env, self.open_socket());
    }

    /// The audio of a call has stopped: the connection to the server may be dead too.
    pub(super) fn ask_in_silence(&mut self, env: &mut Env) {
        self.liveness.ask_in_silence(env, self.settled_socket());
    }

    pub(super) fn on_keep_alive_timer(&mut self, env: &mut Env) {
        self.liveness.on_keep_alive(env, self.open_socket());
    }

    pub(super) fn on_pong_timeout(&mut self, env: &mut Env) {
        if self.liveness.on_pong_timeout(env, self.open_socket()) {
            self.leave_connection(env, "The server no longer answers");
        }
    }

    /// A request got no response in 32 s. If nothing else was received either, the socket is dead. With a server that
    /// answers no keep-alive this is the only sign.
    pub(super) fn leave_silent_server(&mut self, env: &mut Env) {
        if self.liveness.is_silent(T64, env.now) && self.established && !self.closing {
            self.leave_connection(env, "The server no longer answers");
        }
    }

    /// The socket has received something; `answer`: a response to a request or keep-alive of ours.
    pub(super) fn on_heard(&mut self, env: &mut Env, socket: SocketId, answer: bool) {
        if self.open_socket() != Some(socket) {
            return;
        }
        self.heard = true;
        if self.liveness.on_heard(env.now, answer) {
            self.stay(env);
        }
    }

    /// CRLF has come.
    pub(super) fn on_pong(&mut self, env: &mut Env, socket: SocketId) {
        let answer = self.open_socket() == Some(socket) && self.liveness.on_crlf();
        self.on_heard(env, socket, answer);
    }

    pub(super) fn on_options_answered(&mut self) {
        self.liveness.on_options_answered();
    }

    /// The browser tells of the network, or that the page was suspended.
    pub(super) fn on_hint(&mut self, env: &mut Env, hint: Hint) {
        if self.closing || (hint == Hint::Offline && self.open_socket().is_none()) {
            return;
        }
        self.liveness.note_hint(hint, env.now);
        match self.state {
            State::Idle => {}
            State::Waiting => {
                if apart(self.began, env.now) {
                    self.timers.clear(TimerKey::Reconnect);
                    self.begin_anew(env);
                }
            }
            State::Opening(_) => {
                // It began on a network that may be gone.
                if hint != Hint::Visible && apart(self.began, env.now) {
                    self.pass_over(env, Duration::MAX);
                    self.begin_anew(env);
                }
            }
            State::Open(_) => {
                if !self.liveness.on_hint(env, self.settled_socket(), hint) {
                    return;
                }
                match hint {
                    Hint::NetworkChanged => self.begin_move(env, false),
                    Hint::Online | Hint::Woken => self.begin_move(env, true),
                    Hint::Offline | Hint::Visible => {}
                }
                env.tell(LineEvent::Hinted(hint));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::fixture;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn opening(line: &Line) -> SocketId {
        let State::Opening(socket) = line.state else { panic!("{:?}", line.state) };
        socket
    }

    /// Connecting, over socket 1.
    fn started() -> (Line, Env) {
        let (mut line, mut env) = (Line::new(), fixture::cx().env);
        line.want_connect();
        line.start(&mut env);
        (line, env)
    }

    /// Connected over socket 1, and nothing told or put out yet.
    fn up() -> (Line, Env, SocketId) {
        let (mut line, mut env) = started();
        let socket = opening(&line);
        line.on_socket_opened(&mut env, socket);
        line.connected(&mut env);
        env.asked.clear();
        env.out = crate::phone::outbox::Outbox::default();
        (line, env, socket)
    }

    fn told(env: &mut Env) -> Vec<&'static str> {
        let kind = |event: LineEvent| match event {
            LineEvent::Opened => "opened",
            LineEvent::Up => "up",
            LineEvent::Back => "back",
            LineEvent::Lost => "lost",
            LineEvent::Unbound => "unbound",
            LineEvent::Interrupted { .. } => "interrupted",
            LineEvent::Down { .. } => "down",
            LineEvent::Send(Waiting::Unregistered) => "send unregistered",
            LineEvent::Send(Waiting::Invites) => "send invites",
            LineEvent::Send(Waiting::All) => "send all",
            LineEvent::AskByOptions => "ask by OPTIONS",
            LineEvent::OptionsOver => "OPTIONS over",
            LineEvent::Hinted(_) => "hinted",
            LineEvent::GaveUp(_) => "gave up",
            LineEvent::Over => "over",
        };
        fixture::told(env).into_iter().map(kind).collect()
    }

    #[test]
    fn of_what_waits_for_the_connection_the_oldest_goes_when_it_is_too_much() {
        let (mut line, mut env, _) = up();
        line.state = State::Waiting;
        let warnings = |env: &mut Env| {
            let events = core::iter::from_fn(|| env.out.next_event());
            events.filter(|event| matches!(event, Event::Log(LogLevel::Warn, _))).count()
        };
        for number in 0..MAX_QUEUE {
            assert!(line.transmit(&mut env, number.to_string(), true));
        }
        assert_eq!((line.queue.len(), warnings(&mut env)), (MAX_QUEUE, 0));
        assert!(line.transmit(&mut env, MAX_QUEUE.to_string(), true));
        assert_eq!((line.queue.len(), warnings(&mut env)), (MAX_QUEUE, 1));
        line.flush_queue(&mut env, SocketId(1));
        let sent = core::iter::from_fn(|| env.out.next_transmit()).map(|transmit| match transmit {
            Transmit::Send { text, .. } => text.parse::<usize>().unwrap(),
            other => panic!("{other:?}"),
        });
        assert!(sent.eq(1..=MAX_QUEUE));
    }

    #[test]
    fn a_connection_is_opened_and_then_up_once() {
        let (mut line, mut env) = started();
        let socket = opening(&line);
        line.on_socket_opened(&mut env, socket);
        assert_eq!(told(&mut env), ["opened"]);
        for events in [&["up"][..], &[]] {
            line.connected(&mut env);
            assert_eq!(told(&mut env), events);
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_followed_by_the_next_and_then_by_the_end() {
        let (mut line, mut env) = started();
        for events in [&[][..], &["gave up"]] {
            let socket = opening(&line);
            line.on_socket_closed(&mut env, socket);
            assert_eq!(told(&mut env), events);
        }
        let opened =
            fixture::outputs(&mut env).into_iter().filter(|output| output.starts_with("open")).count();
        assert_eq!(opened, 2);
    }

    #[test]
    fn a_connection_that_was_up_is_looked_for_again() {
        let (mut line, mut env, socket) = up();
        line.on_socket_closed(&mut env, socket);
        assert_eq!(told(&mut env), ["unbound", "lost", "down"]);
        assert_eq!(line.connection(), ConnectionState::Reconnecting);
        assert!(line.is_interrupted() && line.keeps(&Method::Info));
        // Each failure of a round is silent; the wait between rounds has a limit.
        while let State::Opening(socket) = line.state {
            line.on_socket_closed(&mut env, socket);
        }
        assert!(told(&mut env).is_empty());
        let mut earliest = Earliest::default();
        line.show_deadlines(&mut earliest);
        let (at, timer) = earliest.get().unwrap();
        assert!(line.is_waiting() && timer == TimerKey::Reconnect && at <= env.now + BACKOFF_CAP);
    }

    #[test]
    fn a_loss_while_disconnecting_is_the_end_of_it() {
        let (mut line, mut env, socket) = up();
        line.close();
        line.on_socket_closed(&mut env, socket);
        assert_eq!(told(&mut env), ["over"]);
    }

    #[test]
    fn a_move_that_comes_to_nothing_leaves_the_connection_as_it_is() {
        let (mut line, mut env, socket) = up();
        line.begin_move(&mut env, false);
        let next = line.next.unwrap().socket;
        line.on_socket_closed(&mut env, next);
        assert!(told(&mut env).is_empty());
        assert_eq!(line.open_socket(), Some(socket));
    }

    #[test]
    fn a_move_is_told_as_a_connection_that_is_up_beside_the_previous_one() {
        let (mut line, mut env, previous) = up();
        line.begin_move(&mut env, false);
        let next = line.next.unwrap().socket;
        line.on_socket_opened(&mut env, next);
        assert_eq!(line.previous(), None, "the new one is not registered yet");
        line.connected(&mut env);
        assert_eq!(told(&mut env), ["opened", "up"]);
        assert!(line.has_previous() && line.listens_to(previous) && line.listens_to(next));
        assert_eq!(line.previous(), Some(previous));
        line.on_previous_timer(&mut env);
        assert_eq!(told(&mut env), ["interrupted", "send all"]);
        assert!(!line.listens_to(previous));
    }

    #[test]
    fn a_new_connection_that_is_useless_gives_way_to_the_previous_one() {
        let (mut line, mut env, previous) = up();
        line.begin_move(&mut env, false);
        let next = line.next.unwrap().socket;
        line.on_socket_opened(&mut env, next);
        told(&mut env);
        let error = Error::new(ErrorCode::RegistrationFailed, "no");
        assert!(line.go_back(&mut env, &error));
        assert_eq!(told(&mut env), ["interrupted", "back"]);
        assert_eq!(line.open_socket(), Some(previous));
        assert!(!line.go_back(&mut env, &error));
    }

    #[test]
    fn nobody_leaves_a_busy_server_in_a_call_or_for_none_that_is_free() {
        for (in_call, busy, leaves) in [(false, false, true), (true, false, false), (false, true, false)] {
            let (mut line, mut env, _) = up();
            line.set_in_call(&mut env, in_call);
            for _ in 0..=usize::from(busy) {
                line.server_is_busy(&env, 60);
                line.servers.pass();
            }
            let error = Error::new(ErrorCode::ServerError, "busy");
            assert_eq!(line.leave_busy_server(&mut env, &error), leaves, "{in_call} {busy}");
            assert_eq!(told(&mut env), if leaves { &["unbound", "down"][..] } else { &[] });
        }
    }

    #[test]
    fn a_hint_asks_the_server_and_opens_another_connection_where_the_network_has_changed() {
        for (hint, moves) in [
            (Hint::NetworkChanged, true),
            (Hint::Online, true),
            (Hint::Woken, true),
            (Hint::Visible, false),
            (Hint::Offline, false),
        ] {
            let (mut line, mut env, _) = up();
            line.on_hint(&mut env, hint);
            assert_eq!(line.next.is_some(), moves, "{hint:?}");
            assert!(told(&mut env).contains(&"hinted"));
            // No answer comes, and nothing is known of this server: it is asked in another way, and left alone then.
            for _ in 0..2 {
                line.on_pong_timeout(&mut env);
            }
            assert_eq!(line.connection(), ConnectionState::Connected);
        }
    }

    #[test]
    fn a_server_that_answered_once_and_does_no_more_is_left() {
        let (mut line, mut env, socket) = up();
        line.learn_keep_alive(&mut env);
        line.on_pong(&mut env, socket);
        line.on_keep_alive_timer(&mut env);
        line.on_pong_timeout(&mut env);
        assert_eq!(told(&mut env), ["ask by OPTIONS"]);
        line.on_pong_timeout(&mut env);
        assert_eq!(told(&mut env), ["OPTIONS over", "unbound", "lost", "down"]);
    }
}
