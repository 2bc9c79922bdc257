//! What the connection means for the transactions and for the registration: the context's part of a [`LineEvent`].
//! `requests` has the calls' part.

use super::context::Cx;
use super::env::LineEvent;
use super::registration::{Refusal, Verdict};
use super::transactions::Owner;
use super::{Event, LogLevel, SocketId, TimerKey};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Response};
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

    // ---- the registration

    pub(super) fn start_registering(&mut self) {
        self.registration.begin(&self.env);
        self.forget_clients_of(Owner::Register);
        self.send_register();
    }

    pub(super) fn start_unregistering(&mut self) {
        if self.registration.begin_removal() {
            // An answer to the REGISTER under way is no longer of interest.
            self.forget_clients_of(Owner::Register);
            self.send_register();
        }
    }

    fn send_register(&mut self) {
        let request = self.registration.request(&mut self.env);
        if let Err(error) = self.send_request(Owner::Register, request, Attempt::default()) {
            self.registration_failed(Refusal { error, temporary: false, retry_after: None });
        }
    }

    pub(super) fn on_register_response(&mut self, response: &Response) {
        if response.status < 200 {
            return;
        }
        match self.registration.on_response(&mut self.env, response) {
            Verdict::Removed => {}
            Verdict::Registered => self.line.connected(&mut self.env),
            Verdict::Again => self.send_register(),
            Verdict::Busy(seconds, refusal) => {
                self.line.server_is_busy(&self.env, seconds);
                if !self.line.leave_busy_server(&mut self.env, &refusal.error) {
                    self.registration_failed(refusal);
                }
            }
            Verdict::Refused(refusal) => self.registration_failed(refusal),
        }
    }

    /// The REGISTER got no answer, or one that cannot be used.
    pub(super) fn registration_failed(&mut self, refusal: Refusal) {
        let Refusal { error, temporary, retry_after } = refusal;
        if !self.registration.is_removing() && self.line.go_back(&mut self.env, &error)
            || self.registration.end_removal(&mut self.env)
        {
            return;
        }
        self.registration.failed(&mut self.env, &error);
        if !self.line.is_established() {
            if temporary {
                let socket = self.line.open_socket();
                self.line.drop_socket(&mut self.env);
                self.line.attempt_failed(&mut self.env, error.clone());
                if let Some(socket) = socket {
                    self.on_down(socket, error);
                }
            } else {
                self.env.tell(LineEvent::GaveUp(error));
            }
            return;
        }
        if self.line.take_connect() {
            self.event(Event::ConnectDone(Err(error)));
        }
        // Calls need no binding: those that have waited for one go on without.
        self.line.connected(&mut self.env);
        self.registration.try_later(&mut self.env, temporary, retry_after);
    }

    /// The next REGISTER is due.
    pub(super) fn on_register_timer(&mut self) {
        self.registration.set_due(None);
        if self.line.open_socket().is_some() && self.env.config.register && !self.line.is_closing() {
            self.start_registering();
        }
    }

    /// Something has changed, perhaps for the better.
    pub(super) fn register_if_failed(&mut self) {
        if self.line.is_established() && self.registration.is_worth_a_try(self.env.now) {
            self.on_register_timer();
        }
    }

    pub(super) fn on_binding_expired(&mut self) {
        if self.registration.on_expired(&mut self.env) {
            self.on_register_timer();
        }
    }

    /// What the registrar knows of us leads nowhere.
    pub(super) fn registration_interrupted(&mut self) {
        self.forget_clients_of(Owner::Register);
        self.registration.interrupted(&mut self.env);
    }

    /// See [`Registration::contact`](super::registration::Registration::contact).
    pub(super) fn contact(&self) -> String {
        self.contact_as(self.env.config.anonymous)
    }

    pub(super) fn contact_as(&self, private: bool) -> String {
        self.registration.contact(&self.env, private)
    }
}
