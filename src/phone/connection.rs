//! What the connection means for the transactions and for the registration: the context's part of a [`LineEvent`].
//! `requests` has the calls' part.

use super::context::Cx;
use super::env::LineEvent;
use super::transactions::Owner;
use super::{Event, LogLevel, SocketId, TimerKey};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::Method;
use crate::text::concat;

impl Cx {
    pub(super) fn start_connecting(&mut self) {
        if let Some(((servers, weights), uri, register)) = self.next_account.take() {
            let config = &mut self.env.config;
            config.servers = servers;
            config.weights = weights;
            config.uri = uri;
            config.register = register;
            self.authenticator.forget_realms();
        }
        if self.env.config.servers.is_empty() {
            self.line.take_connect();
            let error = Error::new(ErrorCode::NotConfigured, "There is no SIP server to connect to");
            self.event(Event::ConnectDone(Err(error)));
            return;
        }
        self.line.start(&mut self.env);
    }

    /// A socket is open.
    pub(super) fn on_opened(&mut self) {
        if self.line.is_closing() {
            self.start_unregistering();
        } else if self.env.config.register {
            self.start_registering();
        } else {
            self.line.connected(&mut self.env);
        }
    }

    /// The previous connection is the open one again: the registrar may have the binding of either.
    pub(super) fn on_back(&mut self) {
        if self.env.config.register {
            self.forget_clients_of(Owner::Register);
            self.start_registering();
        }
    }

    /// No connection is left.
    pub(super) fn on_down(&mut self, socket: SocketId, error: Error) {
        self.subscriptions_interrupted(&error);
        self.env.tell(LineEvent::Interrupted { socket, error });
        if self.line.is_established() && !self.timers.is_set(TimerKey::Outage) {
            self.timers.set(TimerKey::Outage, self.env.now + self.env.config.signalling_grace);
        }
    }

    /// With Max-Forwards 0 any server answers by itself (RFC 3261, section 16.3). Any response will do.
    pub(super) fn ask_by_options(&mut self) {
        let domain = self.env.config.uri.domain();
        let mut request = self.request_outside(Method::Options, &domain, &concat(&["<", &domain, ">"]));
        request.headers.set("Max-Forwards", "0");
        self.forget_clients_of(Owner::Ping);
        if let Err(error) = self.send_request(Owner::Ping, request, Attempt::default()) {
            self.log(LogLevel::Warn, &["OPTIONS could not be sent: ", &error.message]);
        }
    }

    /// Closes the previous socket once all requests over it are answered.
    pub(super) fn close_previous(&mut self) {
        let Some(previous) = self.line.previous() else { return };
        if !self.transactions.wait_over(previous) {
            self.line.on_previous_timer(&mut self.env);
        }
    }

    /// Without a socket: whether a binding, a message or a request would be left behind.
    pub(super) fn has_goodbyes(&self) -> bool {
        self.line.is_interrupted()
            && (self.registration.is_bound() || self.line.has_queued() || self.transactions.are_open())
    }
}
