//! The four transaction machines of RFC 3261, section 17, with the Accepted state of RFC 6026, for a reliable
//! transport: nothing is retransmitted here, and timers A, D, E, G, I, J and K are zero.
//!
//! The machines decide; they send nothing and know no time. The caller sends what they return and calls
//! `on_timeout` when [`Client::deadline`] or [`Server::deadline`] has passed.

use super::message::{Method, Request, Response};
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// RFC 3261, section 17.1.1.1: an estimate of the round-trip time.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261, section 17.1.2.2: the longest interval between retransmissions of a 2xx.
pub const T2: Duration = Duration::from_secs(4);
/// 64 × T1: timers B, F, H, L and M.
pub const T64: Duration = Duration::from_secs(32);

/// State of a client transaction.
///
/// ```text
///  INVITE:      Calling ──1xx──▶ Proceeding ──2xx──▶ Accepted ──Timer M──▶ Terminated
///                  │  └────2xx────────┼───────────────▲
///                  └──────── 300-699 (ACK) ──────────▶ Terminated      (Timer D = 0)
///  non-INVITE:  Calling ──1xx──▶ Proceeding ──final──▶ Terminated      (Timer K = 0)
/// ```
/// `Calling` is called Trying for requests other than INVITE (RFC 3261, figure 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// The request is out. Timer B or F runs.
    Calling,
    /// A 1xx has come. For INVITE no timer runs: the transaction user decides how long it rings.
    Proceeding,
    /// INVITE only: a 2xx has come; more may come, of other forks or repeated (RFC 6026, section 7.2).
    Accepted,
    /// Done.
    Terminated,
}

/// What a client transaction makes of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAction {
    /// Nothing to do.
    Ignore,
    /// Give the response to the transaction user.
    Deliver,
    /// Send this ACK (RFC 3261, section 17.1.1.3), then give the response to the transaction user.
    AckAndDeliver(Box<Request>),
}

/// A client transaction.
#[derive(Debug, Clone)]
pub struct Client {
    /// The request as sent.
    pub request: Request,
    /// State.
    pub state: ClientState,
    /// When `on_timeout` is due.
    pub deadline: Option<Instant>,
}

impl Client {
    /// The request goes out now.
    #[must_use]
    pub fn new(request: Request, now: Instant) -> Self {
        Self { request, state: ClientState::Calling, deadline: Some(now + T64) }
    }

    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    /// No final response has come.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }

    /// A response with our branch and method has come.
    pub fn on_response(&mut self, response: &Response, now: Instant) -> ClientAction {
        match (self.state, response.status) {
            (ClientState::Terminated, _) => ClientAction::Ignore,
            (ClientState::Calling | ClientState::Proceeding, 100..=199) => {
                self.state = ClientState::Proceeding;
                // Timer F goes on for other requests: a 1xx does not excuse them (section 17.1.2.2).
                if self.is_invite() {
                    self.deadline = None;
                }
                ClientAction::Deliver
            }
            // Late 1xx after a 2xx: of no use (RFC 6026, section 7.2).
            (ClientState::Accepted, 100..=199) => ClientAction::Ignore,
            (_, 200..=299) if self.is_invite() => {
                if self.state != ClientState::Accepted {
                    self.state = ClientState::Accepted;
                    self.deadline = Some(now + T64);
                }
                ClientAction::Deliver
            }
            (ClientState::Accepted, _) => ClientAction::Ignore,
            (_, _) => {
                self.terminate();
                if self.is_invite() {
                    ClientAction::AckAndDeliver(Box::new(self.ack(response)))
                } else {
                    ClientAction::Deliver
                }
            }
        }
    }

    /// The deadline has passed. `true`: the transaction user is to be told of a timeout (as if 408 had come).
    pub fn on_timeout(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|at| at > now) {
            return false;
        }
        let timed_out = matches!(self.state, ClientState::Calling | ClientState::Proceeding);
        self.terminate();
        timed_out
    }

    /// Ends it.
    pub fn terminate(&mut self) {
        self.state = ClientState::Terminated;
        self.deadline = None;
    }

    /// The ACK for a 300-699 response: same branch, Request-URI and Route (RFC 3261, section 17.1.1.3).
    fn ack(&self, response: &Response) -> Request {
        let mut ack = self.sibling(Method::Ack);
        // The To of the response, with its tag.
        if let Some(to) = response.headers.get("To") {
            ack.headers.set("To", to);
        }
        ack
    }

    /// The CANCEL of this INVITE: same branch, CSeq number and Route (RFC 3261, section 9.1).
    #[must_use]
    pub fn cancel(&self) -> Request {
        self.sibling(Method::Cancel)
    }

    fn sibling(&self, method: Method) -> Request {
        sibling(&self.request, method)
    }
}

/// A request that belongs to this one: same Request-URI, Route, dialog and CSeq number.
pub(crate) fn sibling(from: &Request, method: Method) -> Request {
    let mut request = Request::new(method.clone(), &from.uri);
    for name in ["Via", "Max-Forwards", "Route", "From", "To", "Call-ID", "Privacy"] {
        request.headers.copy(name, &from.headers);
    }
    let seq = from.headers.seq().unwrap_or(1);
    request.headers.push("CSeq", concat(&[&digits(seq), " ", method.as_str()]));
    request
}

/// State of a server transaction.
///
/// ```text
///  INVITE:      Proceeding ──2xx──▶ Accepted ──Timer L──▶ Terminated
///                   └──300-699──▶ Completed ──ACK──▶ Terminated      (Timer I = 0)
///                                     └──Timer H──▶ Terminated (no ACK)
///  non-INVITE:  Proceeding ──final──▶ Terminated                     (Timer J = 0)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// No final response yet.
    Proceeding,
    /// INVITE only: a 2xx was sent; its ACK is the transaction user's affair (RFC 6026, section 7.1).
    Accepted,
    /// INVITE only: 300-699 was sent; Timer H waits for the ACK.
    Completed,
    /// Done.
    Terminated,
}

/// What a server transaction makes of a request that matches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerAction {
    /// A repeated request, or an ACK that ends the transaction: nothing to do.
    Absorb,
    /// Send the last response again.
    Resend,
    /// Give the request to the transaction user: an ACK of a 2xx that has the branch of its INVITE.
    Deliver,
}

/// A server transaction.
#[derive(Debug, Clone)]
pub struct Server {
    /// The request.
    pub request: Request,
    /// State.
    pub state: ServerState,
    /// When `on_timeout` is due.
    pub deadline: Option<Instant>,
    /// The last response sent, as text, while a repeated request is answered with it.
    pub last_response: Option<String>,
}

impl Server {
    /// For a request that has just come.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { request, state: ServerState::Proceeding, deadline: None, last_response: None }
    }

    /// A repeated request, or an ACK.
    pub fn on_request(&mut self, method: &Method) -> ServerAction {
        match (self.state, method) {
            (ServerState::Completed, Method::Ack) => {
                self.terminate();
                ServerAction::Absorb
            }
            (ServerState::Accepted, Method::Ack) => ServerAction::Deliver,
            (ServerState::Proceeding | ServerState::Completed, method)
                if *method == self.request.method && self.last_response.is_some() =>
            {
                ServerAction::Resend
            }
            _ => ServerAction::Absorb,
        }
    }

    /// A response goes out now. `false`: it may not be sent any more.
    pub fn respond(&mut self, status: u16, text: &str, now: Instant) -> bool {
        if self.state != ServerState::Proceeding {
            return false;
        }
        self.last_response = Some(text.to_owned());
        let invite = self.request.method == Method::Invite;
        match status {
            100..=199 => {}
            200..=299 if invite => {
                self.state = ServerState::Accepted;
                self.deadline = Some(now + T64);
                self.last_response = None;
            }
            _ if invite => {
                self.state = ServerState::Completed;
                self.deadline = Some(now + T64);
            }
            _ => self.terminate(),
        }
        true
    }

    /// The deadline has passed: the transaction ends.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.terminate();
        }
    }

    fn terminate(&mut self) {
        self.state = ServerState::Terminated;
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn request(method: Method) -> Request {
        let mut request = Request::new(method.clone(), "sip:bob@example.com");
        request.headers.push("Via", "SIP/2.0/WSS a.invalid;branch=z9hG4bKx");
        request.headers.push("Max-Forwards", "70");
        request.headers.push("Route", "<sip:edge.example.com;lr>");
        request.headers.push("From", "<sip:alice@example.com>;tag=a");
        request.headers.push("To", "<sip:bob@example.com>");
        request.headers.push("Call-ID", "c");
        request.headers.push("CSeq", format!("7 {}", method.as_str()));
        request.headers.push("Authorization", "Digest x");
        request
    }

    fn response(status: u16, to_tag: &str) -> Response {
        let mut response = request(Method::Invite).response(status, None);
        response.set_to_tag(to_tag);
        response
    }

    const T0: Instant = Instant::ZERO;

    /// RFC 3261 figure 5 with RFC 6026 figure 1, every state against every class of response.
    #[test]
    fn invite_client_table() {
        use ClientState::{Accepted, Calling, Proceeding, Terminated};
        // (before, status, after, what: i = ignore, d = deliver, a = ack and deliver)
        let rows = [
            (Calling, 100, Proceeding, 'd'),
            (Calling, 180, Proceeding, 'd'),
            (Calling, 200, Accepted, 'd'),
            (Calling, 302, Terminated, 'a'),
            (Calling, 486, Terminated, 'a'),
            (Calling, 503, Terminated, 'a'),
            (Calling, 603, Terminated, 'a'),
            (Proceeding, 183, Proceeding, 'd'),
            (Proceeding, 200, Accepted, 'd'),
            (Proceeding, 487, Terminated, 'a'),
            (Accepted, 180, Accepted, 'i'),
            (Accepted, 200, Accepted, 'd'),
            (Accepted, 486, Accepted, 'i'),
            (Terminated, 180, Terminated, 'i'),
            (Terminated, 200, Terminated, 'i'),
            (Terminated, 486, Terminated, 'i'),
        ];
        for (before, status, after, what) in rows {
            let mut client = Client::new(request(Method::Invite), T0);
            client.state = before;
            let action = client.on_response(&response(status, "b"), T0);
            let got = match action {
                ClientAction::Ignore => 'i',
                ClientAction::Deliver => 'd',
                ClientAction::AckAndDeliver(_) => 'a',
            };
            assert_eq!((client.state, got), (after, what), "{before:?} {status}");
        }
    }

    #[test]
    fn non_invite_client_table() {
        use ClientState::{Calling, Proceeding, Terminated};
        for (before, status, after, delivered) in [
            (Calling, 100, Proceeding, true),
            (Calling, 200, Terminated, true),
            (Calling, 404, Terminated, true),
            (Proceeding, 100, Proceeding, true),
            (Proceeding, 200, Terminated, true),
            (Terminated, 200, Terminated, false),
        ] {
            let mut client = Client::new(request(Method::Bye), T0);
            client.state = before;
            let action = client.on_response(&response(status, "b"), T0);
            assert_eq!(
                (client.state, action == ClientAction::Deliver),
                (after, delivered),
                "{before:?} {status}"
            );
        }
    }

    #[test]
    fn timers_b_and_f_fire_after_32_seconds_and_not_before() {
        for method in [Method::Invite, Method::Register] {
            let mut client = Client::new(request(method), T0);
            assert!(!client.on_timeout(Instant::from_millis(31_999)));
            assert!(client.on_timeout(Instant::from_millis(32_000)));
            assert_eq!(client.state, ClientState::Terminated);
            assert!(!client.on_timeout(Instant::from_millis(64_000)));
        }
    }

    #[test]
    fn timer_b_stops_at_the_first_1xx_but_timer_f_does_not() {
        let mut invite = Client::new(request(Method::Invite), T0);
        invite.on_response(&response(100, ""), T0);
        assert_eq!(invite.deadline, None);
        let mut bye = Client::new(request(Method::Bye), T0);
        bye.on_response(&response(100, ""), T0);
        assert!(bye.on_timeout(Instant::from_millis(32_000)));
    }

    #[test]
    fn accepted_ends_silently_by_timer_m() {
        let mut client = Client::new(request(Method::Invite), T0);
        client.on_response(&response(200, "b"), Instant::from_millis(1000));
        assert!(!client.on_timeout(Instant::from_millis(33_000)));
        assert_eq!(client.state, ClientState::Terminated);
    }

    /// RFC 3261, section 17.1.1.3.
    #[test]
    fn ack_of_a_failure_has_the_branch_route_and_cseq_of_the_invite_and_the_to_of_the_response() {
        let mut client = Client::new(request(Method::Invite), T0);
        let ClientAction::AckAndDeliver(ack) = client.on_response(&response(486, "bob"), T0) else {
            panic!("no ACK")
        };
        assert_eq!(ack.method, Method::Ack);
        assert_eq!(ack.uri, "sip:bob@example.com");
        assert_eq!(ack.headers.get("Via"), client.request.headers.get("Via"));
        assert_eq!(ack.headers.get("Route"), Some("<sip:edge.example.com;lr>"));
        assert_eq!(ack.headers.get("CSeq"), Some("7 ACK"));
        assert_eq!(ack.headers.get("To"), Some("<sip:bob@example.com>;tag=bob"));
        assert_eq!(ack.headers.get("Authorization"), None);
    }

    /// RFC 3261, section 9.1.
    #[test]
    fn cancel_matches_the_invite() {
        let client = Client::new(request(Method::Invite), T0);
        let cancel = client.cancel();
        assert_eq!(cancel.headers.get("Via"), client.request.headers.get("Via"));
        assert_eq!(cancel.headers.get("To"), Some("<sip:bob@example.com>"));
        assert_eq!(cancel.headers.get("CSeq"), Some("7 CANCEL"));
    }

    #[test]
    fn server_table() {
        use ServerState::{Accepted, Completed, Proceeding, Terminated};
        for (method, before, status, after, sent) in [
            (Method::Invite, Proceeding, 180, Proceeding, true),
            (Method::Invite, Proceeding, 200, Accepted, true),
            (Method::Invite, Proceeding, 486, Completed, true),
            (Method::Invite, Accepted, 486, Accepted, false),
            (Method::Invite, Completed, 200, Completed, false),
            (Method::Invite, Terminated, 200, Terminated, false),
            (Method::Bye, Proceeding, 200, Terminated, true),
            (Method::Bye, Terminated, 200, Terminated, false),
        ] {
            let mut server = Server::new(request(method.clone()));
            server.state = before;
            assert_eq!(server.respond(status, "text", T0), sent);
            assert_eq!(server.state, after, "{method:?} {before:?} {status}");
        }
    }

    #[test]
    fn server_answers_repeats_and_ends_with_the_ack() {
        let mut server = Server::new(request(Method::Invite));
        assert_eq!(server.on_request(&Method::Invite), ServerAction::Absorb);
        server.respond(180, "ringing", T0);
        assert_eq!(server.on_request(&Method::Invite), ServerAction::Resend);
        server.respond(486, "busy", T0);
        assert_eq!(server.on_request(&Method::Invite), ServerAction::Resend);
        assert_eq!(server.last_response.as_deref(), Some("busy"));
        assert_eq!(server.on_request(&Method::Ack), ServerAction::Absorb);
        assert_eq!(server.state, ServerState::Terminated);
    }

    #[test]
    fn timers_h_and_l_end_the_server_transaction() {
        for status in [200, 486] {
            let mut server = Server::new(request(Method::Invite));
            server.respond(status, "x", T0);
            server.on_timeout(Instant::from_millis(31_999));
            assert_ne!(server.state, ServerState::Terminated);
            server.on_timeout(Instant::from_millis(32_000));
            assert_eq!(server.state, ServerState::Terminated);
        }
    }
}
