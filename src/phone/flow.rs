//! The connection to the SIP server: choice of the server, back-off, and the change from one connection to the next
//! (RFC 7118, RFC 5626). `liveness` detects a dead connection, `outage` keeps the requests that wait for the next one.
//!
//! When the network has changed, or the preferred server is back, the phone opens and registers a new connection beside
//! the old one, and closes the old one only then.

use super::context::{Cx, LineEvent, Waiting};
use super::liveness::Liveness;
use super::transactions::Owner;
use super::{ConnectionState, Event, LocalNetwork, LogLevel, Output, SocketId, TimerKey};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::message::Method;
use crate::sip::transaction::T64;
use crate::text::before;
use crate::time::{Duration, Instant};
use crate::url::{check_server_url, is_local_url};

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
pub(super) enum FlowState {
    /// No socket wanted.
    Idle,
    /// A socket is being opened.
    Opening(SocketId),
    /// A socket is open.
    Open(SocketId),
    /// Waits for the next round of attempts.
    Waiting,
}

/// A socket beside the one that is open, and its server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    socket: SocketId,
    server: usize,
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

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) state: FlowState,
    last_socket: u32,
    /// The servers in the order in which they are tried.
    order: Vec<usize>,
    /// Place in `order` of the current or next attempt.
    server: usize,
    /// Servers tried in this round.
    tried: usize,
    /// Rounds in which every server failed.
    rounds: u32,
    /// Opening, beside the open one.
    next: Option<Beside>,
    /// Open until all requests over it are answered, or the new one fails.
    previous: Option<Beside>,
    spare: Option<Spare>,
    /// How long the last socket took to open: a few round trips.
    pub(super) took: Duration,
    /// The open socket has received something.
    pub(super) heard: bool,
    /// Consecutive sockets without a response to the first request.
    silent: u32,
    /// Failed returns to the preferred server.
    returns: u32,
    /// `connect` has succeeded once: the phone reconnects from now on.
    pub(super) established: bool,
    /// The socket is open, and registered if the configuration wants that.
    pub(super) settled: bool,
    /// `connect` waits for its outcome.
    pub(super) connect_pending: bool,
    /// `disconnect` is under way.
    pub(super) closing: bool,
    /// Overloaded servers (503), each with the end of its Retry-After.
    busy: Vec<(usize, Instant)>,
    /// The connection is encrypted, or to this machine.
    pub(super) secure: bool,
    pub(super) liveness: Liveness,
    pub(super) local_network: LocalNetwork,
    /// The socket of the message that is being handled.
    pub(super) heard_over: Option<SocketId>,
    /// When the current attempt began.
    pub(super) began: Instant,
    /// When an open socket was last lost.
    lost: Option<Instant>,
    /// ACKs and responses that wait for the next socket, each with its time.
    queue: Vec<(Instant, String)>,
}

impl Flow {
    /// The connection before the open one is still there.
    pub(super) const fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// As before the first connect; the numbers of the sockets go on.
    pub(super) fn anew(&self) -> Self {
        Self { last_socket: self.last_socket, ..Self::new() }
    }

    pub(super) const fn new() -> Self {
        Self {
            state: FlowState::Idle,
            last_socket: 0,
            order: Vec::new(),
            server: 0,
            tried: 0,
            rounds: 0,
            next: None,
            previous: None,
            spare: None,
            took: Duration::ZERO,
            heard: false,
            silent: 0,
            returns: 0,
            established: false,
            settled: false,
            connect_pending: false,
            closing: false,
            busy: Vec::new(),
            secure: false,
            liveness: Liveness::new(),
            local_network: LocalNetwork::Granted,
            heard_over: None,
            began: Instant::ZERO,
            lost: None,
            queue: Vec::new(),
        }
    }

    pub(super) const fn open_socket(&self) -> Option<SocketId> {
        match self.state {
            FlowState::Open(socket) => Some(socket),
            _ => None,
        }
    }

    /// Whether the phone still reads this socket.
    pub(super) fn listens_to(&self, socket: SocketId) -> bool {
        self.open_socket() == Some(socket) || self.previous.is_some_and(|beside| beside.socket == socket)
    }

    /// The server of the current or next attempt.
    pub(super) fn server(&self) -> Option<usize> {
        self.order.get(self.server.checked_rem(self.order.len())?).copied()
    }

    /// The connection is lost, and to be restored.
    pub(super) const fn is_interrupted(&self) -> bool {
        self.established && !matches!(self.state, FlowState::Open(_) | FlowState::Idle)
    }

    /// Whether a request of this method waits for the next socket.
    pub(super) fn keeps(&self, method: &Method) -> bool {
        self.state != FlowState::Idle && (self.established || matches!(method, Method::Bye | Method::Cancel))
    }

    pub(super) const fn connection(&self) -> ConnectionState {
        match (self.state, self.established) {
            (FlowState::Open(_), _) => ConnectionState::Connected,
            (FlowState::Idle, _) => ConnectionState::Disconnected,
            (_, false) => ConnectionState::Connecting,
            (_, true) => ConnectionState::Reconnecting,
        }
    }
}

impl Cx {
    /// Moves to a server that is not overloaded, if there is one and no call. `false`: nothing changed.
    pub(super) fn leave_busy_server(&mut self, error: &Error) -> bool {
        !self.in_call && self.leave_for_free_server(error)
    }

    pub(super) fn leave_for_free_server(&mut self, error: &Error) -> bool {
        let Some(socket) = self.flow.open_socket() else { return false };
        if !self.flow.established || self.flow.closing || !self.has_free_server() {
            return false;
        }
        self.drop_socket();
        self.flow.tried = 0;
        self.attempt_failed(error.clone());
        self.registration_interrupted();
        self.everything_interrupted(socket, error.clone());
        true
    }

    pub(super) fn on_socket_opened(&mut self, socket: SocketId) {
        match self.flow.next {
            Some(next) if next.socket == socket => self.change_over(next),
            _ if self.flow.state == FlowState::Opening(socket) => {
                self.flow.took = (self.env.now - self.flow.began).min(MAX_TOOK);
                self.set_flow(FlowState::Open(socket), None);
            }
            _ => {
                if !self.adopt_spare(socket) {
                    return;
                }
            }
        }
        self.drop_spare();
        self.timers.clear_all(&[TimerKey::Connect, TimerKey::Reconnect]);
        self.flow.settled = false;
        self.flow.heard = false;
        self.schedule_keep_alive();
        self.flush_queue(socket);
        self.env.tell(LineEvent::Send(Waiting::Unregistered));
        if self.flow.closing {
            self.env.tell(LineEvent::Send(Waiting::Invites));
            self.start_unregistering();
        } else if self.env.config.register {
            self.start_registering();
        } else {
            self.connected();
        }
    }

    /// The phone can make and receive calls.
    pub(super) fn connected(&mut self) {
        self.flow.established = true;
        self.flow.silent = 0;
        if !core::mem::replace(&mut self.flow.settled, true) {
            self.env.tell(LineEvent::Up);
        }
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Ok(())));
        }
    }

    pub(super) fn on_socket_closed(&mut self, socket: SocketId) {
        if self.flow.next.is_some_and(|next| next.socket == socket) {
            self.move_failed();
            if self.flow.liveness.is_doubted() {
                // Browsers tell of a network that has an address before it has a route.
                self.timers.set(TimerKey::Move, self.env.now + MOVE_AGAIN);
            }
        } else if self.flow.previous.is_some_and(|previous| previous.socket == socket) {
            self.flow.previous = None;
            self.previous_is_over(socket);
        } else if self.flow.state == FlowState::Opening(socket) {
            let error = self.not_opened("The SIP server could not be reached");
            self.attempt_failed(error);
        } else if self.flow.state == FlowState::Open(socket) {
            let lived = self.env.now - self.flow.began;
            self.flow.liveness.ended(self.env.now, self.flow.took, lived);
            self.connection_lost("The connection was lost");
        } else if self.flow.spare.is_some_and(|spare| spare.socket == socket) {
            self.flow.spare = None;
        }
    }

    /// The first request over the socket got no response. All requests move to the next one.
    pub(super) fn leave_unanswered(&mut self) {
        let Some(socket) = self.flow.open_socket() else { return };
        self.flow.silent = self.flow.silent.saturating_add(1);
        let error = Error::new(ErrorCode::Timeout, "The server did not answer");
        if !self.go_back(&error) {
            self.env.out.push(Output::CloseSocket(socket));
            self.connection_lost_by(error);
        }
    }

    pub(super) fn on_connect_timeout(&mut self) {
        let error = self.not_opened("The SIP server did not answer in time");
        self.pass_over(self.patience());
        self.attempt_failed(error);
    }

    /// This server failed: tries the next one, or ends the round.
    pub(super) fn attempt_failed(&mut self, error: Error) {
        self.timers.clear_all(&[TimerKey::Connect, TimerKey::KeepAlive, TimerKey::Pong, TimerKey::Return]);
        self.flow.settled = false;
        if self.flow.closing {
            self.env.tell(LineEvent::Over);
            return;
        }
        self.flow.server = self.flow.server.wrapping_add(1);
        if self.flow.tried < self.env.config.servers.len() {
            self.open_next(Some(error));
            return;
        }
        if !self.flow.established
            && let Some(spare) = self.take_spare()
        {
            // Every server has been tried: this socket is the best chance.
            self.flow.state = FlowState::Opening(spare.socket);
            self.timers.set(TimerKey::Connect, spare.began + self.patience());
            return;
        }
        self.begin_round();
        if !self.flow.established {
            if error.code == ErrorCode::Timeout && self.flow.silent < MAX_SILENT {
                self.open_next(Some(error));
            } else {
                self.env.tell(LineEvent::GaveUp(error));
            }
            return;
        }
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Err(error.clone())));
        }
        let cap = if self.in_call { BACKOFF_CAP_IN_CALL } else { BACKOFF_CAP };
        // The first limit applies twice: most restarts are short.
        let shift = self.flow.rounds.saturating_sub(1).min(8);
        self.flow.rounds = self.flow.rounds.saturating_add(1);
        let limit = cap.min(BACKOFF_BASE.saturating_mul(1 << shift));
        let delay = below(&mut *self.env.entropy, u64::from(limit.as_millis()));
        let mut at = self.env.now + Duration::from_millis(delay);
        if !self.has_free_server() {
            let free = self.flow.busy.iter().map(|(_, until)| *until).filter(|until| *until > self.env.now).min();
            at = at.max(free.unwrap_or(at));
        }
        self.timers.set(TimerKey::Reconnect, at);
        self.set_flow(FlowState::Waiting, Some(error));
    }

    /// The open socket is lost, or dead.
    pub(super) fn connection_lost(&mut self, message: &'static str) {
        self.connection_lost_by(Error::new(ErrorCode::Transport, message));
    }

    fn connection_lost_by(&mut self, error: Error) {
        let Some(socket) = self.flow.open_socket() else { return };
        self.log(LogLevel::Warn, &[&error.message]);
        if self.flow.closing {
            self.env.tell(LineEvent::Over);
            return;
        }
        if !self.flow.settled && self.flow.previous.is_some() {
            self.go_back(&error);
            return;
        }
        self.timers.clear_all(&[TimerKey::KeepAlive, TimerKey::Pong, TimerKey::Register, TimerKey::Return]);
        if !self.flow.established {
            self.registration_interrupted();
            self.attempt_failed(error.clone());
            self.everything_interrupted(socket, error);
            return;
        }
        self.flow.settled = false;
        let previous = self.flow.previous.take();
        if let Some(previous) = previous {
            self.env.out.push(Output::CloseSocket(previous.socket));
        }
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Previous]);
        let last = self.flow.lost.replace(self.env.now);
        if let Some(next) = self.flow.next.take() {
            // The next socket is opening already.
            self.flow.server = next.server;
            self.flow.tried = 1;
            self.flow.began = self.env.now;
            self.use_server();
            self.timers.set(TimerKey::Connect, self.env.now + CONNECT_TIMEOUT);
            self.set_flow(FlowState::Opening(next.socket), Some(error.clone()));
        } else if last.is_some_and(|last| self.env.now - last < FLAPPING) {
            self.attempt_failed(error.clone());
        } else {
            // First at once, at the same server: most losses are short.
            self.flow.tried = 0;
            self.flow.rounds = 0;
            self.open_next(Some(error.clone()));
        }
        self.registration_interrupted();
        self.env.tell(LineEvent::Lost);
        // Only now, so that nothing that follows goes over the lost socket.
        if let Some(previous) = previous {
            self.env.tell(LineEvent::Interrupted { socket: previous.socket, error: error.clone() });
        }
        self.everything_interrupted(socket, error);
    }

    /// Closes the socket, and opens another.
    pub(super) fn leave_connection(&mut self, message: &'static str) {
        if let Some(socket) = self.flow.open_socket() {
            self.env.out.push(Output::CloseSocket(socket));
            self.connection_lost(message);
        }
    }

    /// The new connection is useless: returns to the previous one, if that is still open.
    pub(super) fn go_back(&mut self, error: &Error) -> bool {
        let Some(socket) = self.flow.open_socket().filter(|_| !self.flow.settled) else { return false };
        let Some(previous) = self.flow.previous.take() else { return false };
        self.env.out.push(Output::CloseSocket(socket));
        self.flow.server = previous.server;
        self.flow.state = FlowState::Open(previous.socket);
        self.flow.settled = true;
        self.use_server();
        self.timers.clear_all(&[TimerKey::Previous, TimerKey::Pong]);
        self.env.tell(LineEvent::Interrupted { socket, error: error.clone() });
        self.schedule_keep_alive();
        self.env.tell(LineEvent::Send(Waiting::All));
        if self.env.config.register {
            // The registrar may have the binding of either.
            self.forget_clients_of(Owner::Register);
            self.start_registering();
        }
        self.plan_return();
        true
    }

    /// Closes the previous socket once all requests over it are answered.
    pub(super) fn close_previous(&mut self) {
        let Some(previous) = self.flow.previous.filter(|_| self.flow.settled) else { return };
        let waits = self
            .transactions
            .clients()
            .any(|(_, entry)| entry.tx.is_open() && entry.socket == Some(previous.socket));
        if !waits {
            self.on_previous_timer();
        }
    }

    pub(super) fn on_previous_timer(&mut self) {
        let error = Error::new(ErrorCode::Timeout, "The server did not answer");
        if self.go_back(&error) {
            return;
        }
        if let Some(previous) = self.flow.previous.take() {
            self.env.out.push(Output::CloseSocket(previous.socket));
            self.previous_is_over(previous.socket);
        }
    }

    fn previous_is_over(&mut self, socket: SocketId) {
        self.timers.clear(TimerKey::Previous);
        let error = Error::new(ErrorCode::Transport, "The connection was lost");
        self.env.tell(LineEvent::Interrupted { socket, error });
        if self.flow.settled {
            self.env.tell(LineEvent::Send(Waiting::All));
        }
    }

    pub(super) fn on_return_timer(&mut self) {
        let busy = self.transactions.clients().any(|(_, entry)| entry.tx.is_open());
        if busy || self.in_call {
            self.timers.set(TimerKey::Return, self.env.now + RETURN_LATER);
            return;
        }
        self.flow.returns = self.flow.returns.saturating_add(1);
        let best = (0..self.env.config.servers.len()).map(|server| self.priority(server)).min();
        let order = self.flow.order.clone();
        let place =
            order.iter().position(|server| Some(self.priority(*server)) == best && !self.is_busy(*server));
        match place {
            Some(place) => self.begin_move_to(place, false),
            None => self.plan_return(),
        }
    }
}

impl Cx {
    pub(super) fn start_connecting(&mut self) {
        if let Some(((servers, weights), uri, register)) = self.next_account.take() {
            self.env.config.servers = servers;
            self.env.config.weights = weights;
            self.env.config.uri = uri;
            self.env.config.register = register;
            self.authenticator.forget_realms();
        }
        if self.env.config.servers.is_empty() {
            self.flow.connect_pending = false;
            let error = Error::new(ErrorCode::NotConfigured, "There is no SIP server to connect to");
            self.event(Event::ConnectDone(Err(error)));
            return;
        }
        self.flow.rounds = 0;
        self.flow.silent = 0;
        self.flow.busy.clear();
        self.begin_round();
        self.open_next(None);
    }

    /// Enters the next state; reports a change of the connection's state.
    fn set_flow(&mut self, state: FlowState, error: Option<Error>) {
        let before = self.flow.connection();
        self.flow.state = state;
        self.report_connection(before, error);
    }

    pub(super) fn report_connection(&mut self, before: ConnectionState, error: Option<Error>) {
        let after = self.flow.connection();
        if before != after {
            self.event(Event::Connection(after, error));
        }
    }

    // ---- which server

    /// Lower is better. Without weights it is the place in the list.
    fn priority(&self, server: usize) -> u32 {
        match self.env.config.weights.get(server) {
            Some((priority, _)) => *priority,
            None => u32::try_from(server).unwrap_or(u32::MAX),
        }
    }

    /// The server's share of this priority; 0 if it is of another.
    fn weight(&self, server: usize, priority: u32) -> u64 {
        if self.priority(server) != priority {
            return 0;
        }
        self.env.config.weights.get(server).map_or(1, |(_, weight)| u64::from(*weight))
    }

    /// All servers, best first; among those of one priority at random by weight (RFC 2782).
    fn begin_round(&mut self) {
        let mut left: Vec<usize> = (0..self.env.config.servers.len()).collect();
        let mut order = Vec::new();
        while let Some(best) = left.iter().map(|server| self.priority(*server)).min() {
            let mut total = 0_u64;
            for server in &left {
                total = total.saturating_add(self.weight(*server, best));
            }
            let mut chosen = below(&mut *self.env.entropy, total.max(1));
            let mut at = None;
            for (place, server) in left.iter().enumerate() {
                if self.priority(*server) == best {
                    at = Some(place);
                    match chosen.checked_sub(self.weight(*server, best)) {
                        Some(rest) => chosen = rest,
                        None => break,
                    }
                }
            }
            let Some(at) = at else { break };
            order.push(left.remove(at));
        }
        self.flow.order = order;
        self.flow.server = 0;
        self.flow.tried = 0;
    }

    fn is_busy(&self, server: usize) -> bool {
        self.flow.busy.iter().any(|(busy, until)| *busy == server && *until > self.env.now)
    }

    fn has_free_server(&self) -> bool {
        (0..self.env.config.servers.len()).any(|server| !self.is_busy(server))
    }

    /// 503: avoids this server for its Retry-After (RFC 3261, section 21.5.4).
    pub(super) fn server_is_busy(&mut self, retry_after: u32) {
        let Some(server) = self.flow.server() else { return };
        let until = self.env.now + Duration::from_secs(retry_after.into());
        self.flow.busy.retain(|(busy, _)| *busy != server);
        self.flow.busy.push((server, until));
    }

    // ---- attempts

    fn new_socket(&mut self, server: usize) -> SocketId {
        self.flow.last_socket = self.flow.last_socket.wrapping_add(1);
        let socket = SocketId(self.flow.last_socket);
        let url = self.env.config.servers.get(server).cloned().unwrap_or_default();
        // The query may contain a token.
        self.log(LogLevel::Info, &["connecting to ", before(&url, b'?')]);
        self.env.out.push(Output::OpenSocket { socket, url });
        socket
    }

    /// Sets the state that depends on the server in use.
    fn use_server(&mut self) {
        let Some(server) = self.flow.server() else { return };
        self.flow.liveness.meet(server);
        let url = self.env.config.servers.get(server).map(String::as_str).unwrap_or_default();
        self.flow.secure = check_server_url(url).is_ok();
        let tls = url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss:"));
        self.via_transport = if tls { "WSS" } else { "WS" };
    }

    pub(super) fn open_next(&mut self, error: Option<Error>) {
        // If all are busy, the next one anyway: `attempt_failed` does the waiting.
        for _ in 0..self.flow.order.len() {
            if !self.flow.server().is_some_and(|server| self.is_busy(server)) {
                break;
            }
            self.flow.server = self.flow.server.wrapping_add(1);
            self.flow.tried = self.flow.tried.saturating_add(1);
        }
        let Some(server) = self.flow.server() else {
            self.set_flow(FlowState::Idle, error);
            return;
        };
        let before = self.flow.connection();
        self.flow.tried = self.flow.tried.saturating_add(1);
        self.flow.began = self.env.now;
        self.flow.state = FlowState::Opening(self.new_socket(server));
        self.use_server();
        self.timers.set(TimerKey::Connect, self.env.now + CONNECT_TIMEOUT);
        self.report_connection(before, error);
    }

    // ---- a socket that is slow to open

    /// Keeps the opening socket beside the next attempt, unless there is an older one already.
    pub(super) fn pass_over(&mut self, patience: Duration) {
        let (FlowState::Opening(socket), Some(server)) = (self.flow.state, self.flow.server()) else {
            return;
        };
        let now = self.env.now;
        let waits = |spare: &Spare| now - spare.began < patience;
        let own = Spare { socket, server, began: self.flow.began };
        let spare = self.flow.spare.filter(waits).or(Some(own).filter(waits));
        for left in [self.flow.spare, Some(own)].into_iter().flatten() {
            if spare.is_none_or(|spare| spare.socket != left.socket) {
                self.env.out.push(Output::CloseSocket(left.socket));
            }
        }
        self.flow.spare = spare;
    }

    fn drop_spare(&mut self) {
        if let Some(spare) = self.flow.spare.take() {
            self.env.out.push(Output::CloseSocket(spare.socket));
        }
    }

    /// Makes the spare socket the current one.
    fn take_spare(&mut self) -> Option<Spare> {
        let spare = self.flow.spare.take()?;
        let place = self.flow.order.iter().position(|server| *server == spare.server);
        self.flow.server = place.unwrap_or_default();
        self.flow.began = spare.began;
        self.use_server();
        Some(spare)
    }

    /// The spare socket has opened: the current attempt is not needed.
    fn adopt_spare(&mut self, socket: SocketId) -> bool {
        let wanted = matches!(self.flow.state, FlowState::Opening(_) | FlowState::Waiting);
        if !wanted || self.flow.spare.is_none_or(|spare| spare.socket != socket) {
            return false;
        }
        if let FlowState::Opening(other) = self.flow.state {
            self.env.out.push(Output::CloseSocket(other));
        }
        if let Some(spare) = self.take_spare() {
            self.flow.took = (self.env.now - spare.began).min(MAX_TOOK);
        }
        self.set_flow(FlowState::Open(socket), None);
        true
    }

    /// Time for the first response over a new socket.
    pub(super) fn first_response(&self) -> Duration {
        FIRST_RESPONSE.saturating_mul(1 << self.flow.silent.min(MAX_SILENT)).max(self.flow.took).min(T64)
    }

    fn patience(&self) -> Duration {
        let asked = self.flow.local_network == LocalNetwork::Prompt && self.is_local_server();
        if self.flow.established || asked { PATIENCE_LONG } else { PATIENCE }
    }

    fn is_local_server(&self) -> bool {
        let url = self.flow.server().and_then(|server| self.env.config.servers.get(server));
        url.is_some_and(|url| is_local_url(url))
    }

    /// The error of a socket that did not open. The browser does not report a missing permission of its own, so the hint
    /// names it; a host name shows only sometimes that its server is in the local network.
    fn not_opened(&self, message: &'static str) -> Error {
        const REFUSED: &str = "The browser does not let this page reach the local network";
        let error = |message| Error::new(ErrorCode::Transport, message);
        match (self.flow.local_network, self.is_local_server()) {
            (LocalNetwork::Denied, true) => error(REFUSED).with_hint(ALLOW_LOCAL),
            (LocalNetwork::Denied, false) => error(message).with_hint(IF_LOCAL),
            (LocalNetwork::Prompt, true) => error(message).with_hint(ASKED_LOCAL),
            _ => error(message),
        }
    }

    pub(super) fn drop_socket(&mut self) {
        self.drop_spare();
        let beside = [self.flow.next.take(), self.flow.previous.take()];
        for beside in beside.into_iter().flatten() {
            self.env.out.push(Output::CloseSocket(beside.socket));
        }
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Previous]);
        if let FlowState::Open(socket) | FlowState::Opening(socket) = self.flow.state {
            self.env.out.push(Output::CloseSocket(socket));
        }
    }

    pub(super) fn on_reconnect_timer(&mut self) {
        if self.flow.state == FlowState::Waiting {
            self.open_next(None);
        }
    }

    // ---- from one connection to another

    /// Opens another connection beside the open one.
    pub(super) fn begin_move(&mut self, optional: bool) {
        self.begin_move_to(self.flow.server, optional);
    }

    fn begin_move_to(&mut self, server: usize, optional: bool) {
        if !self.flow.settled || self.flow.closing || self.flow.previous.is_some() {
            return;
        }
        if let Some(next) = &mut self.flow.next {
            next.optional &= optional;
            return;
        }
        let Some(index) = server.checked_rem(self.flow.order.len()).and_then(|at| self.flow.order.get(at))
        else {
            return;
        };
        let socket = self.new_socket(*index);
        self.flow.next = Some(Beside { socket, server, optional });
        self.timers.set(TimerKey::Move, self.env.now + CONNECT_TIMEOUT.max(self.flow.took.saturating_mul(2)));
    }

    /// The connection is alive: an optional move is given up.
    pub(super) fn stay(&mut self) {
        if self.flow.next.is_some_and(|next| next.optional) {
            self.on_move_timer();
        }
    }

    /// The other socket did not open.
    pub(super) fn on_move_timer(&mut self) {
        if let Some(next) = self.flow.next {
            self.env.out.push(Output::CloseSocket(next.socket));
            self.move_failed();
        } else if self.flow.liveness.is_doubted() {
            self.begin_move(true);
        }
    }

    fn move_failed(&mut self) {
        self.flow.next = None;
        self.timers.clear(TimerKey::Move);
        self.plan_return();
    }

    fn change_over(&mut self, next: Beside) {
        let Some(socket) = self.flow.open_socket() else { return };
        self.flow.next = None;
        self.flow.previous = Some(Beside { socket, server: self.flow.server, optional: false });
        self.flow.server = next.server;
        self.flow.began = self.env.now;
        self.flow.state = FlowState::Open(next.socket);
        self.use_server();
        self.timers.clear_all(&[TimerKey::Move, TimerKey::Pong, TimerKey::Return]);
        self.timers.set(TimerKey::Previous, self.env.now + PREVIOUS);
    }

    /// Plans the return from a lesser server to the preferred one.
    pub(super) fn plan_return(&mut self) {
        let best = (0..self.env.config.servers.len()).map(|server| self.priority(server)).min();
        let here = self.flow.server().map(|server| self.priority(server));
        if here == best || !self.flow.settled {
            self.flow.returns = 0;
            self.timers.clear(TimerKey::Return);
            return;
        }
        let limit = RETURN_CAP.min(RETURN_BASE.saturating_mul(1 << self.flow.returns.min(6)));
        let half = u64::from(limit.as_millis()) / 2;
        let wait = Duration::from_millis(half + below(&mut *self.env.entropy, half));
        self.timers.set(TimerKey::Return, self.env.now + wait);
    }

    // ---- sending

    /// Sends, or queues for the next socket. `false`: neither is possible.
    pub(super) fn transmit(&mut self, text: String, keep: bool) -> bool {
        self.env.trace("sent", &text);
        match self.flow.state {
            FlowState::Open(socket) => {
                self.env.out.push(Output::Send { socket, text });
                true
            }
            FlowState::Idle => false,
            _ if keep => {
                if self.flow.queue.len() >= MAX_QUEUE {
                    // The oldest has the least time left to be useful.
                    self.flow.queue.remove(0);
                    self.log(LogLevel::Warn, &["too much waits for the connection"]);
                }
                self.flow.queue.push((self.env.now, text));
                true
            }
            _ => false,
        }
    }

    pub(super) fn flush_queue(&mut self, socket: SocketId) {
        let (now, limit) = (self.env.now, self.env.config.signalling_grace.max(T64));
        for (since, text) in core::mem::take(&mut self.flow.queue) {
            if now.saturating_since(since) < limit {
                self.env.out.push(Output::Send { socket, text });
            }
        }
    }

    /// Without a socket: whether a binding, a message or a request would be left behind.
    pub(super) fn has_goodbyes(&mut self) -> bool {
        self.flow.is_interrupted()
            && (self.registration.is_bound()
                || !self.flow.queue.is_empty()
                || self.transactions.clients().any(|(_, entry)| entry.tx.is_open()))
    }

    /// Begins another round of attempts now.
    pub(super) fn begin_anew(&mut self) {
        self.flow.rounds = 0;
        self.begin_round();
        self.open_next(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::phone::{Phone, PhoneConfig, fixture};
    use crate::sip::uri::Uri;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn of_what_waits_for_the_connection_the_oldest_goes_when_it_is_too_much() {
        let config = PhoneConfig::new(vec!["wss://h".into()], Uri::parse("sip:a@h").unwrap());
        let config = PhoneConfig { trace: true, ..config };
        let mut phone = Phone::new(config, Box::new(SeededEntropy::new(1)));
        phone.cx.flow.state = FlowState::Waiting;
        let warnings = |phone: &mut Phone| {
            core::mem::take(&mut phone.cx.env.out)
                .iter()
                .filter(|output| matches!(output, Output::Event(Event::Log(LogLevel::Warn, _))))
                .count()
        };
        for number in 0..MAX_QUEUE {
            assert!(phone.cx.transmit(number.to_string(), true));
        }
        assert_eq!((phone.cx.flow.queue.len(), warnings(&mut phone)), (MAX_QUEUE, 0));
        assert!(phone.cx.transmit(MAX_QUEUE.to_string(), true));
        assert_eq!((phone.cx.flow.queue.len(), warnings(&mut phone)), (MAX_QUEUE, 1));
        phone.cx.env.config.trace = false;
        phone.cx.flush_queue(SocketId(1));
        let sent = core::mem::take(&mut phone.cx.env.out).into_iter().map(|output| match output {
            Output::Send { text, .. } => text.parse::<usize>().unwrap(),
            other => panic!("{other:?}"),
        });
        assert!(sent.eq(1..=MAX_QUEUE));
    }

    /// Connected over socket 1, registered where that is wanted, and nothing told or put out yet.
    fn up(register: bool) -> Cx {
        let mut cx = fixture::cx();
        cx.env.config.register = register;
        cx.flow.connect_pending = true;
        cx.start_connecting();
        let FlowState::Opening(socket) = cx.flow.state else { panic!("{:?}", cx.flow.state) };
        cx.on_socket_opened(socket);
        if register {
            cx.connected();
        }
        cx.env.asked.clear();
        cx.env.out.clear();
        cx
    }

    fn kinds(events: &[LineEvent]) -> Vec<&'static str> {
        let kind = |event: &LineEvent| match event {
            LineEvent::Up => "up",
            LineEvent::Lost => "lost",
            LineEvent::Interrupted { .. } => "interrupted",
            LineEvent::Send(Waiting::Unregistered) => "send unregistered",
            LineEvent::Send(Waiting::Invites) => "send invites",
            LineEvent::Send(Waiting::All) => "send all",
            LineEvent::ResumeCalls => "resume calls",
            LineEvent::MediaDoubted => "media doubted",
            LineEvent::GaveUp(_) => "gave up",
            LineEvent::Over => "over",
        };
        events.iter().map(kind).collect()
    }

    #[test]
    fn the_first_connection_tells_what_may_be_sent_and_when_it_is_up() {
        for (register, events) in
            [(false, &["send unregistered", "up"][..]), (true, &["send unregistered"][..])]
        {
            let mut cx = fixture::cx();
            cx.env.config.register = register;
            cx.start_connecting();
            let FlowState::Opening(socket) = cx.flow.state else { panic!("{:?}", cx.flow.state) };
            cx.on_socket_opened(socket);
            assert_eq!(kinds(&fixture::told(&mut cx)), events, "{register}");
        }
    }

    #[test]
    fn it_is_up_once() {
        let mut cx = up(true);
        cx.connected();
        assert!(fixture::told(&mut cx).is_empty());
    }

    #[test]
    fn a_server_that_does_not_answer_is_followed_by_the_next_and_then_by_the_end() {
        let mut cx = fixture::cx();
        cx.flow.connect_pending = true;
        cx.start_connecting();
        for more in [true, false] {
            let FlowState::Opening(socket) = cx.flow.state else { panic!("{:?}", cx.flow.state) };
            cx.on_socket_closed(socket);
            let told = fixture::told(&mut cx);
            assert_eq!(kinds(&told), if more { &[][..] } else { &["gave up"][..] });
        }
        let opened =
            fixture::outputs(&mut cx).into_iter().filter(|output| output.starts_with("open")).count();
        assert_eq!(opened, 2);
    }

    #[test]
    fn a_connection_that_was_up_is_looked_for_again() {
        let mut cx = up(false);
        let socket = cx.flow.open_socket().unwrap();
        cx.on_socket_closed(socket);
        assert_eq!(kinds(&fixture::told(&mut cx)), ["lost", "interrupted"]);
        assert_eq!(cx.flow.connection(), ConnectionState::Reconnecting);
        assert!(cx.flow.is_interrupted() && cx.flow.keeps(&Method::Info));
        // Each failure of a round is silent; the wait between rounds has a limit.
        for _ in 0..2 {
            let FlowState::Opening(socket) = cx.flow.state else { break };
            cx.on_socket_closed(socket);
        }
        assert!(fixture::told(&mut cx).is_empty());
        assert_eq!(cx.flow.state, FlowState::Waiting);
        assert!(cx.timers.is_set(TimerKey::Reconnect));
    }

    #[test]
    fn a_loss_while_disconnecting_is_the_end_of_it() {
        let mut cx = up(false);
        cx.flow.closing = true;
        let socket = cx.flow.open_socket().unwrap();
        cx.on_socket_closed(socket);
        assert_eq!(kinds(&fixture::told(&mut cx)), ["over"]);
    }

    #[test]
    fn a_move_that_comes_to_nothing_leaves_the_connection_as_it_is() {
        let mut cx = up(false);
        let socket = cx.flow.open_socket().unwrap();
        cx.begin_move(false);
        let next = cx.flow.next.unwrap().socket;
        cx.on_socket_closed(next);
        assert!(fixture::told(&mut cx).is_empty());
        assert_eq!(cx.flow.open_socket(), Some(socket));
    }

    #[test]
    fn a_move_is_told_as_a_connection_that_is_up_beside_the_previous_one() {
        let mut cx = up(false);
        let previous = cx.flow.open_socket().unwrap();
        cx.begin_move(false);
        let next = cx.flow.next.unwrap().socket;
        cx.on_socket_opened(next);
        assert_eq!(kinds(&fixture::told(&mut cx)), ["send unregistered", "up"]);
        assert!(cx.flow.has_previous() && cx.flow.listens_to(previous) && cx.flow.listens_to(next));
        cx.close_previous();
        assert_eq!(kinds(&fixture::told(&mut cx)), ["interrupted", "send all"]);
        assert!(!cx.flow.listens_to(previous));
    }

    #[test]
    fn a_new_connection_that_is_useless_gives_way_to_the_previous_one() {
        let mut cx = up(true);
        let previous = cx.flow.open_socket().unwrap();
        cx.begin_move(false);
        let next = cx.flow.next.unwrap().socket;
        cx.on_socket_opened(next);
        fixture::told(&mut cx);
        assert!(cx.go_back(&Error::new(ErrorCode::RegistrationFailed, "no")));
        assert_eq!(kinds(&fixture::told(&mut cx)), ["interrupted", "send all"]);
        assert_eq!(cx.flow.open_socket(), Some(previous));
        assert!(!cx.go_back(&Error::new(ErrorCode::RegistrationFailed, "no")));
    }

    #[test]
    fn nobody_leaves_a_busy_server_in_a_call_or_for_none_that_is_free() {
        for (in_call, busy, leaves) in [(false, false, true), (true, false, false), (false, true, false)] {
            let mut cx = up(false);
            cx.in_call = in_call;
            cx.server_is_busy(60);
            if busy {
                for server in 0..cx.env.config.servers.len() {
                    cx.flow.busy.push((server, cx.env.now + Duration::from_secs(60)));
                }
            }
            let error = Error::new(ErrorCode::ServerError, "busy");
            assert_eq!(cx.leave_busy_server(&error), leaves, "{in_call} {busy}");
            let told = fixture::told(&mut cx);
            assert_eq!(kinds(&told), if leaves { &["interrupted"][..] } else { &[][..] });
        }
    }
}
