//! The connection to the SIP server: which server, when to try again, keep-alive (RFC 7118, RFC 5626).

use core::time::Duration;

use super::config::check_server_url;
use super::transactions::Owner;
use super::{ConnectionState, Event, LogLevel, Output, Phone, SocketId, TimerKey};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::transaction::T64;
use crate::time::Instant;

/// A server that has not opened the WebSocket by then is passed over.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Keep-alives go out at 80 % to 100 % of this (RFC 5626, section 4.4.1 has the same spread); proxies and NATs
/// drop idle connections after 30 s and more.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// RFC 5626, section 4.4.1.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// Back-off between rounds of attempts: full jitter below min(cap, base · 2ⁿ), so that phones do not come back
/// in step, and soon enough to be of use.
pub(super) const BACKOFF_BASE: Duration = Duration::from_secs(1);
pub(super) const BACKOFF_CAP: Duration = Duration::from_secs(8);
/// What `disconnect` waits for answers to BYE and REGISTER.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_QUEUE: usize = 64;
/// A connection that is lost again so soon after the last loss counts as a failed attempt: a proxy in front of a
/// dead server takes every WebSocket and closes it at once.
const FLAPPING: Duration = Duration::from_secs(60);

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

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) state: FlowState,
    last_socket: u32,
    /// The server of the current or next attempt.
    server: usize,
    /// Servers tried in this round.
    tried: usize,
    /// Rounds in which every server failed.
    rounds: u32,
    /// `connect` has succeeded once: from now on the connection is kept up.
    pub(super) established: bool,
    /// `connect` waits for its outcome.
    pub(super) connect_pending: bool,
    /// `disconnect` is under way.
    pub(super) closing: bool,
    /// Servers that have asked to be left alone, and until when.
    busy: Vec<(usize, Instant)>,
    /// Nobody reads along between here and the server.
    pub(super) secure: bool,
    /// This server has answered a ping: no answer now means that it is gone.
    server_pongs: bool,
    /// When the server last sent anything.
    pub(super) heard: Instant,
    /// When an open socket was last lost.
    lost: Option<Instant>,
    /// ACKs, BYEs and responses that wait for the next socket.
    queue: Vec<(Instant, String)>,
}

impl Flow {
    pub(super) const fn new() -> Self {
        Self {
            state: FlowState::Idle,
            last_socket: 0,
            server: 0,
            tried: 0,
            rounds: 0,
            established: false,
            connect_pending: false,
            closing: false,
            busy: Vec::new(),
            secure: false,
            server_pongs: false,
            heard: Instant::ZERO,
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

    pub(super) const fn connection(&self) -> ConnectionState {
        match (self.state, self.established) {
            (FlowState::Open(_), _) => ConnectionState::Connected,
            (FlowState::Idle, _) => ConnectionState::Disconnected,
            (_, false) => ConnectionState::Connecting,
            (_, true) => ConnectionState::Reconnecting,
        }
    }
}

impl Phone {
    pub(super) fn start_connecting(&mut self) {
        if let Some((servers, uri, register)) = self.next_account.take() {
            self.config.servers = servers;
            self.config.uri = uri;
            self.config.register = register;
            self.authenticator.forget_realms();
        }
        if self.config.servers.is_empty() {
            self.flow.connect_pending = false;
            let error = Error::new(ErrorCode::NotConfigured, "There is no SIP server to connect to");
            self.event(Event::ConnectDone(Err(error)));
            return;
        }
        self.flow.tried = 0;
        self.flow.rounds = 0;
        self.flow.server = 0;
        self.flow.busy.clear();
        self.open_next(None);
    }

    /// The next state of the flow; tells where that changes the state of the connection.
    fn set_flow(&mut self, state: FlowState, error: Option<Error>) {
        let before = self.flow.connection();
        self.flow.state = state;
        self.report_connection(before, error);
    }

    fn report_connection(&mut self, before: ConnectionState, error: Option<Error>) {
        let after = self.flow.connection();
        if before != after {
            self.event(Event::Connection(after, error));
        }
    }

    fn open_next(&mut self, error: Option<Error>) {
        let count = self.config.servers.len();
        // Where all are busy, the next one after all: to wait is for `attempt_failed`.
        for _ in 0..count {
            if !self.is_busy(self.flow.server) {
                break;
            }
            self.flow.server = self.flow.server.wrapping_add(1);
            self.flow.tried = self.flow.tried.saturating_add(1);
        }
        let Some(url) = self.flow.server.checked_rem(count).and_then(|i| self.config.servers.get(i)).cloned()
        else {
            self.set_flow(FlowState::Idle, error);
            return;
        };
        let before = self.flow.connection();
        self.flow.tried = self.flow.tried.saturating_add(1);
        self.flow.last_socket = self.flow.last_socket.wrapping_add(1);
        let socket = SocketId(self.flow.last_socket);
        self.flow.state = FlowState::Opening(socket);
        self.flow.server_pongs = false;
        self.flow.secure = check_server_url(&url).is_ok();
        self.via_transport =
            if url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss:")) { "WSS" } else { "WS" };
        self.timers.set(TimerKey::Connect, self.now + CONNECT_TIMEOUT);
        self.log(LogLevel::Info, format_args!("connecting to {url}"));
        self.out.push(Output::OpenSocket { socket, url });
        self.report_connection(before, error);
    }

    pub(super) fn on_socket_opened(&mut self, socket: SocketId) {
        if self.flow.state != FlowState::Opening(socket) {
            return;
        }
        self.timers.clear(TimerKey::Connect);
        self.set_flow(FlowState::Open(socket), None);
        self.schedule_keep_alive();
        self.flush_queue(socket);
        if self.config.register {
            self.start_registering();
        } else {
            self.connected();
        }
    }

    /// Calls can be made and received.
    pub(super) fn connected(&mut self) {
        self.flow.established = true;
        self.resume_subscriptions();
        self.acknowledge_for_before();
        self.signalling_back();
        self.offers_after_reconnect();
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Ok(())));
        }
    }

    pub(super) fn on_socket_closed(&mut self, socket: SocketId) {
        match self.flow.state {
            FlowState::Opening(current) if current == socket => {
                self.attempt_failed(Error::new(ErrorCode::Transport, "The SIP server could not be reached"))
            }
            FlowState::Open(current) if current == socket => self.connection_lost("The connection was lost"),
            _ => {}
        }
    }

    pub(super) fn drop_socket(&mut self) {
        if let FlowState::Open(socket) | FlowState::Opening(socket) = self.flow.state {
            self.out.push(Output::CloseSocket(socket));
        }
    }

    pub(super) fn on_connect_timeout(&mut self) {
        self.drop_socket();
        self.attempt_failed(Error::new(ErrorCode::Transport, "The SIP server did not answer in time"));
    }

    /// This server is of no use now: the next one, or the end of the round.
    pub(super) fn attempt_failed(&mut self, error: Error) {
        self.clear_timers(&[TimerKey::Connect, TimerKey::KeepAlive, TimerKey::Pong]);
        if self.flow.closing {
            self.finish_disconnect();
            return;
        }
        self.flow.server = self.flow.server.wrapping_add(1);
        if self.flow.tried < self.config.servers.len() {
            self.open_next(Some(error));
            return;
        }
        self.flow.tried = 0;
        if !self.flow.established {
            self.give_up(error);
            return;
        }
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Err(error.clone())));
        }
        let shift = self.flow.rounds.min(8);
        self.flow.rounds = self.flow.rounds.saturating_add(1);
        let limit = BACKOFF_CAP.min(BACKOFF_BASE.saturating_mul(1 << shift));
        let delay = below(&mut *self.entropy, u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let mut at = self.now + Duration::from_millis(delay);
        if !self.has_free_server() {
            let free = self.flow.busy.iter().map(|(_, until)| *until).filter(|until| *until > self.now).min();
            at = at.max(free.unwrap_or(at));
        }
        self.timers.set(TimerKey::Reconnect, at);
        self.set_flow(FlowState::Waiting, Some(error));
    }

    fn is_busy(&self, server: usize) -> bool {
        let index = server.checked_rem(self.config.servers.len());
        self.flow.busy.iter().any(|(busy, until)| Some(*busy) == index && *until > self.now)
    }

    fn has_free_server(&self) -> bool {
        (0..self.config.servers.len()).any(|server| !self.is_busy(server))
    }

    /// 503: this server is left alone for as long as it asks (RFC 3261, section 21.5.4).
    pub(super) fn server_is_busy(&mut self, retry_after: u32) {
        let Some(index) = self.flow.server.checked_rem(self.config.servers.len()) else { return };
        let until = self.now + Duration::from_secs(retry_after.into());
        self.flow.busy.retain(|(busy, _)| *busy != index);
        self.flow.busy.push((index, until));
    }

    /// On to a server that has time, if there is one and no call would notice. `false`: it stays as it is.
    pub(super) fn leave_busy_server(&mut self, error: &Error) -> bool {
        if !self.flow.established
            || self.flow.closing
            || !self.live_calls().is_empty()
            || !self.has_free_server()
        {
            return false;
        }
        self.drop_socket();
        self.flow.tried = 0;
        self.attempt_failed(error.clone());
        self.registration_interrupted();
        self.transactions_interrupted(error);
        true
    }

    /// The first `connect` has failed for good.
    pub(super) fn give_up(&mut self, error: Error) {
        self.drop_socket();
        self.clear_timers(&[TimerKey::KeepAlive, TimerKey::Pong, TimerKey::Register]);
        self.end_all_calls(&error);
        self.abandon_transactions();
        self.set_flow(FlowState::Idle, Some(error.clone()));
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Err(error)));
        }
    }

    pub(super) fn on_reconnect_timer(&mut self) {
        if self.flow.state == FlowState::Waiting {
            self.open_next(None);
        }
    }

    /// An open socket is gone, or as good as gone.
    fn connection_lost(&mut self, message: &'static str) {
        let error = Error::new(ErrorCode::Transport, message);
        self.log(LogLevel::Warn, format_args!("{message}"));
        self.clear_timers(&[TimerKey::KeepAlive, TimerKey::Pong, TimerKey::Register]);
        if self.flow.closing {
            self.finish_disconnect();
            return;
        }
        if !self.flow.established {
            self.registration_interrupted();
            self.attempt_failed(error.clone());
            self.transactions_interrupted(&error);
            return;
        }
        let last = self.flow.lost.replace(self.now);
        if last.is_some_and(|last| self.now.saturating_since(last) < FLAPPING) {
            self.attempt_failed(error.clone());
        } else {
            // The first attempt comes at once and at the same server: most losses are short.
            self.flow.tried = 0;
            self.flow.rounds = 0;
            self.open_next(Some(error.clone()));
        }
        self.registration_interrupted();
        self.signalling_lost();
        self.transactions_interrupted(&error);
    }

    /// A request got no answer in 32 s. If nothing else has come either, the socket is dead though nobody has
    /// closed it; with a server that answers no pings there is no other sign of that.
    pub(super) fn leave_silent_server(&mut self) {
        let silent = self.now.saturating_since(self.flow.heard) >= T64;
        if silent && self.flow.established && !self.flow.closing && self.flow.open_socket().is_some() {
            self.drop_socket();
            self.connection_lost("The server no longer answers");
        }
    }

    // ---- sending

    /// Sends, or keeps for the next socket. `false`: neither is possible.
    pub(super) fn transmit(&mut self, text: String, keep: bool) -> bool {
        self.trace("sent", &text);
        match self.flow.state {
            FlowState::Open(socket) => {
                self.out.push(Output::Send { socket, text });
                true
            }
            FlowState::Idle => false,
            _ if keep => {
                if self.flow.queue.len() >= MAX_QUEUE {
                    self.flow.queue.remove(0);
                }
                self.flow.queue.push((self.now, text));
                true
            }
            _ => false,
        }
    }

    fn flush_queue(&mut self, socket: SocketId) {
        // What is older than any transaction is of no use to anyone.
        let oldest = self.now;
        for (since, text) in core::mem::take(&mut self.flow.queue) {
            if oldest.saturating_since(since) < T64 {
                self.out.push(Output::Send { socket, text });
            }
        }
    }

    fn clear_timers(&mut self, keys: &[TimerKey]) {
        for key in keys {
            self.timers.clear(*key);
        }
    }

    // ---- keep-alive

    fn schedule_keep_alive(&mut self) {
        let max = u64::try_from(KEEP_ALIVE.as_millis()).unwrap_or(u64::MAX);
        let delay = max - below(&mut *self.entropy, max / 5);
        self.timers.set(TimerKey::KeepAlive, self.now + Duration::from_millis(delay));
    }

    pub(super) fn on_keep_alive_timer(&mut self) {
        let Some(socket) = self.flow.open_socket() else { return };
        self.out.push(Output::Send { socket, text: "\r\n\r\n".to_owned() });
        self.timers.set(TimerKey::Pong, self.now + PONG_TIMEOUT);
        self.schedule_keep_alive();
    }

    pub(super) fn on_ping(&mut self) {
        if let Some(socket) = self.flow.open_socket() {
            self.out.push(Output::Send { socket, text: "\r\n".to_owned() });
        }
    }

    pub(super) const fn on_pong(&mut self) {
        self.flow.server_pongs = true;
    }

    pub(super) fn on_pong_timeout(&mut self) {
        // Many servers (Kamailio among them) never answer a ping over WebSocket. Silence means something only
        // from a server that has answered before.
        if self.flow.server_pongs {
            self.drop_socket();
            self.connection_lost("The server no longer answers");
        }
    }

    // ---- the end

    pub(super) fn start_disconnecting(&mut self) {
        if self.flow.state == FlowState::Idle {
            // Those that are answered elsewhere.
            for id in self.live_calls() {
                self.hangup_for_disconnect(id);
            }
            self.event(Event::DisconnectDone);
            return;
        }
        // Also one that waits for the end of an earlier disconnect: the last word counts.
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Err(Error::new(ErrorCode::Aborted, "Disconnected"))));
        }
        if self.flow.closing {
            return;
        }
        self.flow.closing = true;
        self.refuse_held();
        for id in self.live_calls() {
            self.hangup_for_disconnect(id);
        }
        self.clear_timers(&[TimerKey::Register, TimerKey::Reconnect]);
        self.end_subscriptions(false);
        if self.flow.open_socket().is_some() {
            self.start_unregistering();
            self.timers.set(TimerKey::Disconnect, self.now + DISCONNECT_TIMEOUT);
        }
        self.check_disconnected();
    }

    /// Whether nothing is waited for any more.
    pub(super) fn check_disconnected(&mut self) {
        if !self.flow.closing {
            return;
        }
        let waiting = self.flow.open_socket().is_some()
            && (self.transactions.clients().any(|(_, entry)| {
                use crate::sip::transaction::ClientState::{Calling, Proceeding};
                matches!(entry.tx.state, Calling | Proceeding)
            }) || !self.questions.is_empty()
                // A BYE that waits for the caller's ACK.
                || self.calls.values().any(|call| call.pending_ok.is_some()));
        if !waiting {
            self.finish_disconnect();
        }
    }

    pub(super) fn finish_disconnect(&mut self) {
        self.drop_socket();
        let again = self.flow.connect_pending;
        let last_socket = self.flow.last_socket;
        let error = Error::new(ErrorCode::Aborted, "Disconnected");
        self.end_all_calls(&error);
        self.abandon_transactions();
        self.clear_timers(&[
            TimerKey::Connect,
            TimerKey::KeepAlive,
            TimerKey::Pong,
            TimerKey::Reconnect,
            TimerKey::Register,
            TimerKey::Disconnect,
        ]);
        let before = self.flow.connection();
        self.flow = Flow { last_socket, ..Flow::new() };
        self.report_connection(before, None);
        self.registration_interrupted();
        self.event(Event::DisconnectDone);
        if again {
            self.flow.connect_pending = true;
            self.start_connecting();
        }
    }

    /// What becomes of client transactions when the socket is lost: a call that is not answered yet fails, since
    /// its responses may be lost for good; BYE and CANCEL go out again on the next socket.
    pub(super) fn transactions_interrupted(&mut self, error: &Error) {
        self.subscriptions_interrupted(error);
        let mut failed = Vec::new();
        let mut again = Vec::new();
        for (id, entry) in self.transactions.clients() {
            use crate::sip::transaction::ClientState::{Calling, Proceeding};
            if !matches!(entry.tx.state, Calling | Proceeding) {
                continue;
            }
            match entry.owner {
                Owner::Bye(_) | Owner::Nobody => again.extend(entry.tx.request.to_text().ok()),
                owner => failed.push((id, owner)),
            }
        }
        for text in again {
            self.transmit(text, true);
        }
        for (id, owner) in failed {
            match owner {
                Owner::Invite(call) => self.outgoing_interrupted(call, error.clone()),
                Owner::Register => self.remove_client(id),
                _ => {
                    self.remove_client(id);
                    self.on_request_failed(owner, error.clone());
                }
            }
        }
    }
}
