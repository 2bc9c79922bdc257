//! The network on a virtual clock: hand-written phones say things, and what comes out is looked at in order.

use wasm_softphone::entropy::SeededEntropy;
use wasm_softphone::phone::Secret;
use wasm_softphone::sip::digest::{self, Algorithm};

use super::*;

const OWN: &str = "127.0.0.1:8080";

struct Net {
    proxy: Proxy,
    now: Instant,
    inboxes: BTreeMap<ConnId, VecDeque<String>>,
    events: Vec<String>,
}

impl Net {
    fn new() -> Self {
        Self {
            proxy: Proxy::new(OWN.to_owned(), Box::new(SeededEntropy::new(7))),
            now: Instant::from_millis(1000),
            inboxes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.proxy.poll_output() {
            match output {
                Output::Send { conn, text } => self.inboxes.entry(conn).or_default().push_back(text),
                Output::Event(line) => self.events.push(line),
            }
        }
    }

    fn open(&mut self, conn: u64) -> ConnId {
        self.proxy.opened(ConnId(conn));
        ConnId(conn)
    }

    fn close(&mut self, conn: ConnId) {
        self.proxy.closed(self.now, conn);
        self.drain();
    }

    fn say(&mut self, conn: ConnId, text: &str) {
        self.proxy.received(self.now, conn, text.as_bytes());
        self.drain();
    }

    fn send(&mut self, conn: ConnId, message: impl Text) {
        let text = message.text();
        self.say(conn, &text);
    }

    /// Jumps from deadline to deadline.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.proxy.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.proxy.timer(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn next(&mut self, conn: ConnId) -> Message {
        let text = self.inboxes.get_mut(&conn).and_then(VecDeque::pop_front).expect("a message");
        match wire::parse(text.as_bytes()) {
            Ok(Frame::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn request_for(&mut self, conn: ConnId) -> Request {
        match self.next(conn) {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn response_for(&mut self, conn: ConnId) -> Response {
        match self.next(conn) {
            Message::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn status_for(&mut self, conn: ConnId) -> u16 {
        self.response_for(conn).status
    }

    fn is_silent(&self, conn: ConnId) -> bool {
        self.inboxes.get(&conn).is_none_or(VecDeque::is_empty)
    }

    /// Sends a request, answers the challenge, and returns the response.
    fn send_signed(&mut self, conn: ConnId, request: Request, user: &str, password: &str) -> Response {
        self.send(conn, request.clone());
        let challenge = self.response_for(conn);
        self.send(conn, signed(request, &challenge, user, password, Algorithm::Sha256, 1));
        self.response_for(conn)
    }

    fn register(&mut self, conn: ConnId, user: &str) -> String {
        let contact = format!("sip:{user}-{}@host{}.invalid;transport=ws", conn.0, conn.0);
        let response = self.send_signed(conn, register(user, &contact, 600), user, &format!("{user}-secret"));
        assert_eq!(response.status, 200);
        contact
    }

    /// Places a call and leaves the phones of the callee with their INVITE.
    fn invite(&mut self, conn: ConnId, caller: &str, callee: &str) -> Request {
        let invite = request(Method::Invite, caller, callee, &format!("call-{caller}-{}", conn.0));
        self.send(conn, invite.clone());
        let challenge = self.response_for(conn);
        assert_eq!(challenge.status, 407);
        // The ACK of the 407 ends at the proxy.
        let invite = signed(invite, &challenge, caller, &format!("{caller}-secret"), Algorithm::Sha256, 1);
        self.send(conn, invite.clone());
        invite
    }
}

/// Anything that can be put on the wire.
trait Text {
    fn text(self) -> String;
}

impl Text for Request {
    fn text(self) -> String {
        self.to_text().unwrap()
    }
}

impl Text for Response {
    fn text(self) -> String {
        self.to_text().unwrap()
    }
}

fn request(method: Method, from: &str, to: &str, call_id: &str) -> Request {
    let mut request = Request::new(method.clone(), format!("sip:{to}@sandbox.test"));
    let headers = &mut request.headers;
    headers.push("Via", format!("SIP/2.0/WS h.invalid;branch=z9hG4bK{call_id}{method}"));
    headers.push("Max-Forwards", "70");
    headers.push("From", format!("<sip:{from}@sandbox.test>;tag=f-{from}"));
    headers.push("To", format!("<sip:{to}@sandbox.test>"));
    headers.push("Call-ID", call_id);
    headers.push("CSeq", format!("1 {method}"));
    request
}

fn register(user: &str, contact: &str, expires: u32) -> Request {
    let mut request = request(Method::Register, user, user, &format!("reg-{user}-{contact}"));
    "sip:sandbox.test".clone_into(&mut request.uri);
    request.headers.push("Contact", format!("<{contact}>;expires={expires}"));
    request
}

/// The same request with credentials and the next CSeq.
fn signed(
    mut request: Request,
    challenge: &Response,
    user: &str,
    password: &str,
    algorithm: Algorithm,
    nc: u32,
) -> Request {
    let (from, to) = match challenge.status {
        401 => ("WWW-Authenticate", "Authorization"),
        407 => ("Proxy-Authenticate", "Proxy-Authorization"),
        other => panic!("{other} is no challenge"),
    };
    let challenge = challenge
        .headers
        .get_all(from)
        .filter_map(digest::Challenge::parse)
        .find(|challenge| challenge.algorithm == algorithm)
        .unwrap();
    let secret = Secret::Password(password.to_owned());
    let value = digest::authorization(&challenge, user, &secret, &request.method, &request.uri, nc, "cnonce");
    request.headers.set(to, value);
    bump(&mut request);
    request
}

fn bump(request: &mut Request) {
    let cseq = request.headers.cseq().unwrap();
    request.headers.set("CSeq", format!("{} {}", cseq.seq + 1, cseq.method));
    let branch = request.headers.get("Via").unwrap().to_owned();
    request.headers.set("Via", format!("{branch}x"));
}

fn answer(request: &Request, status: u16, tag: &str, contact: &str) -> Response {
    let mut response = request.response(status, None);
    response.set_to_tag(tag);
    response.headers.push("Contact", format!("<{contact}>"));
    response
}

/// A request of the caller within the dialog that this response made.
fn within(invite: &Request, response: &Response, method: Method) -> Request {
    let contact = NameAddr::parse(response.headers.get("Contact").unwrap()).unwrap();
    let mut request = Request::new(method.clone(), contact.uri);
    request.headers.push("Via", format!("SIP/2.0/WS h.invalid;branch=z9hG4bKdialog{method}"));
    request.headers.push("Max-Forwards", "70");
    for route in response.headers.get_all("Record-Route") {
        request.headers.push("Route", route);
    }
    for name in ["From", "Call-ID"] {
        request.headers.push(name, invite.headers.get(name).unwrap());
    }
    request.headers.push("To", response.headers.get("To").unwrap());
    let seq = invite.headers.cseq().unwrap().seq + u32::from(method != Method::Ack);
    request.headers.push("CSeq", format!("{seq} {method}"));
    request
}

#[test]
fn registers_with_both_algorithms() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let mut net = Net::new();
        let a = net.open(1);
        let request = register("alice", "sip:a@h.invalid", 60);
        net.send(a, request.clone());
        let challenge = net.response_for(a);
        assert_eq!(challenge.status, 401);
        let offered: Vec<Algorithm> = challenge
            .headers
            .get_all("WWW-Authenticate")
            .map(|value| digest::Challenge::parse(value).unwrap().algorithm)
            .collect();
        assert_eq!(offered, [Algorithm::Sha256, Algorithm::Md5], "the strongest first");
        net.send(a, signed(request, &challenge, "alice", "alice-secret", algorithm, 1));
        let ok = net.response_for(a);
        assert_eq!(ok.status, 200);
        assert_eq!(ok.headers.get("Contact"), Some("<sip:a@h.invalid>;expires=60"));
        assert_eq!(net.events, ["alice registered (1 phone)"]);
    }
}

#[test]
fn wrong_password_and_unknown_user_look_the_same() {
    for (user, password) in [("alice", "bob-secret"), ("mallory", "x")] {
        let mut net = Net::new();
        let a = net.open(1);
        let response = net.send_signed(a, register(user, "sip:a@h.invalid", 60), user, password);
        assert_eq!(response.status, 401);
        assert!(response.headers.get_all("WWW-Authenticate").all(|value| !value.contains("stale")));
        assert_eq!(net.events, [format!("{user}: wrong user or password")]);
    }
}

#[test]
fn speaks_for_nobody_else() {
    let mut net = Net::new();
    let a = net.open(1);
    let response = net.send_signed(a, register("bob", "sip:a@h.invalid", 60), "alice", "alice-secret");
    assert_eq!(response.status, 403);
    let mut invite = request(Method::Invite, "bob", "carol", "c1");
    let response = net.send_signed(a, invite.clone(), "alice", "alice-secret");
    assert_eq!(response.status, 403);
    // The right user part in another domain is another user.
    invite.headers.set("From", "<sip:alice@elsewhere.test>;tag=1");
    invite.headers.set("Call-ID", "c2");
    let response = net.send_signed(a, invite, "alice", "alice-secret");
    assert_eq!(response.status, 403);
}

#[test]
fn nonces_age_and_are_counted() {
    let mut net = Net::new();
    let a = net.open(1);
    let mut request = register("alice", "sip:a@h.invalid", 600);
    net.send(a, request.clone());
    let challenge = net.response_for(a);
    let sign = |request: &Request, nc| {
        signed(request.clone(), &challenge, "alice", "alice-secret", Algorithm::Sha256, nc)
    };
    let mut try_with = |net: &mut Net, nc| {
        request = sign(&request, nc);
        net.send(a, request.clone());
        let response = net.response_for(a);
        (response.status, response.headers.get("WWW-Authenticate").map(|v| v.contains("stale=true")))
    };
    assert_eq!(try_with(&mut net, 1), (200, None));
    assert_eq!(try_with(&mut net, 2), (200, None), "a nonce may be used again, counted up");
    assert_eq!(try_with(&mut net, 2), (401, Some(true)), "a repeated count is a replay");
    assert_eq!(try_with(&mut net, 9), (200, None), "gaps are no replay");
    net.advance(auth::NONCE_LIFETIME);
    assert_eq!(try_with(&mut net, 10), (401, Some(true)), "too old");
}

#[test]
fn a_signature_is_good_for_its_request_only() {
    let mut net = Net::new();
    let a = net.open(1);
    let first = request(Method::Message, "alice", "600", "m1");
    net.send(a, first.clone());
    let challenge = net.response_for(a);
    let mut forged = signed(first, &challenge, "alice", "alice-secret", Algorithm::Sha256, 1);
    "sip:601@sandbox.test".clone_into(&mut forged.uri);
    net.send(a, forged);
    assert_eq!(net.status_for(a), 407);
}

#[test]
fn what_is_held_is_counted_until_it_is_gone() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    net.send_signed(a, register("alice", "sip:a@h.invalid", 60), "alice", "alice-secret");
    net.invite(b, "bob", "alice");
    let load = net.proxy.load();
    assert_eq!((load.connections, load.bindings, load.calls), (2, 1, 1));
    assert!(load.transactions > 0);
    net.close(a);
    net.close(b);
    net.advance(Duration::from_secs(400));
    assert_eq!(net.proxy.load(), Load { connections: 0, bindings: 0, calls: 0, transactions: 0 });
}

#[test]
fn brief_registrations_are_refused_and_others_expire() {
    let mut net = Net::new();
    let a = net.open(1);
    let response = net.send_signed(a, register("alice", "sip:a@h.invalid", 9), "alice", "alice-secret");
    assert_eq!((response.status, response.headers.number("Min-Expires")), (423, Some(10)));
    let response = net.send_signed(a, register("alice", "sip:a@h.invalid", 10), "alice", "alice-secret");
    // The same Call-ID with the same CSeq as the refused one: nothing was bound, so it is not out of order.
    assert_eq!(response.status, 200);
    net.advance(Duration::from_secs(10));
    assert_eq!(net.events.last().unwrap(), "alice registration expired (no phone)");
    let b = net.open(2);
    net.invite(b, "bob", "alice");
    assert_eq!(net.status_for(b), 480);
}

#[test]
fn lists_removes_and_clears_bindings() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let first = net.register(a, "alice");
    net.register(b, "alice");
    let query = {
        let mut query = register("alice", &first, 0);
        query.headers.remove("Contact");
        query.headers.set("Call-ID", "query");
        query
    };
    let listed = net.send_signed(a, query.clone(), "alice", "alice-secret");
    assert_eq!(listed.headers.get_all("Contact").count(), 2);

    let mut remove = register("alice", &first, 0);
    remove.headers.set("CSeq", "10 REGISTER");
    let listed = net.send_signed(a, remove, "alice", "alice-secret");
    assert_eq!(listed.headers.get_all("Contact").count(), 1);
    assert!(listed.headers.get("Contact").unwrap().contains("host2"));

    let mut clear = query;
    clear.headers.push("Contact", "*");
    clear.headers.push("Expires", "0");
    clear.headers.set("Call-ID", "clear");
    let listed = net.send_signed(a, clear.clone(), "alice", "alice-secret");
    assert_eq!((listed.status, listed.headers.get("Contact")), (200, None));
    assert_eq!(net.events.last().unwrap(), "alice unregistered (no phone)");

    clear.headers.set("Expires", "60");
    clear.headers.set("Call-ID", "clear-2");
    assert_eq!(net.send_signed(a, clear, "alice", "alice-secret").status, 400);
}

#[test]
fn an_older_register_changes_nothing() {
    let mut net = Net::new();
    let a = net.open(1);
    let mut late = register("alice", "sip:a@h.invalid", 60);
    late.headers.set("CSeq", "8 REGISTER");
    assert_eq!(net.send_signed(a, late, "alice", "alice-secret").status, 200);
    let early = register("alice", "sip:a@h.invalid", 0);
    assert_eq!(net.send_signed(a, early, "alice", "alice-secret").status, 500);
}

#[test]
fn a_closed_connection_does_not_ring() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    net.register(a, "alice");
    net.close(a);
    assert_eq!(net.events.last().unwrap(), "alice disconnected (no phone)");
    net.invite(b, "bob", "alice");
    assert_eq!(net.status_for(b), 480);
}

#[test]
fn a_call_from_invite_to_bye() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    net.events.clear();
    let mut invite = request(Method::Invite, "alice", "bob", "c1");
    invite.headers.push("Contact", "<sip:alice@host1.invalid>");
    invite.headers.push("P-Asserted-Identity", "<sip:president@sandbox.test>");
    net.send(a, invite.clone());
    let challenge = net.response_for(a);
    invite = signed(invite, &challenge, "alice", "alice-secret", Algorithm::Md5, 1);
    net.send(a, invite.clone());
    assert_eq!(net.status_for(a), 100);

    let rings = net.request_for(b);
    assert_eq!(rings.uri, bob, "retargeted to the Contact that registered");
    assert_eq!(rings.headers.number("Max-Forwards"), Some(69));
    assert_eq!(rings.headers.values("Via").len(), 2);
    assert_eq!(rings.headers.get("Proxy-Authorization"), None, "credentials end here");
    assert_eq!(rings.headers.get("P-Asserted-Identity"), Some("<sip:alice@sandbox.test>"));
    assert!(rings.headers.values("Via")[1].contains("received=127.0.0.1"));

    net.send(b, answer(&rings, 180, "b", &bob));
    let ringing = net.response_for(a);
    assert_eq!((ringing.status, ringing.headers.values("Via").len()), (180, 1));
    net.send(b, answer(&rings, 200, "b", &bob));
    let ok = net.response_for(a);
    assert_eq!(ok.status, 200);
    let mut ack = within(&invite, &ok, Method::Ack);
    ack.headers.push("Proxy-Authorization", invite.headers.get("Proxy-Authorization").unwrap());
    net.send(a, ack);
    let ack = net.request_for(b);
    assert_eq!((ack.method, ack.headers.get("Route")), (Method::Ack, None));
    assert_eq!(ack.headers.get("Proxy-Authorization"), None, "nor those of later requests");

    // A 2xx that is repeated because its ACK was lost goes through again (RFC 6026).
    net.send(b, answer(&rings, 200, "b", &bob));
    assert_eq!(net.status_for(a), 200);

    net.advance(Duration::from_secs(5));
    // The callee hangs up: to the Contact of the caller, by the route of the dialog.
    let mut bye = request(Method::Bye, "bob", "alice", "c1");
    "sip:alice@host1.invalid".clone_into(&mut bye.uri);
    bye.headers.set("To", rings.headers.get("From").unwrap());
    bye.headers.push("Route", rings.headers.get("Record-Route").unwrap());
    net.send(b, bye);
    let bye = net.request_for(a);
    assert_eq!(bye.method, Method::Bye);
    net.send(a, bye.response(200, None));
    assert_eq!(net.status_for(b), 200);
    assert_eq!(
        net.events,
        [
            "alice -> bob calling",
            "alice -> bob ringing",
            "alice -> bob answered",
            "alice -> bob hung up by bob after 5 s"
        ]
    );
    net.advance(Duration::from_secs(40));
    assert!(net.is_silent(a) && net.is_silent(b));
}

#[test]
fn all_phones_ring_and_the_first_answer_wins() {
    let mut net = Net::new();
    let (a, b, c) = (net.open(1), net.open(2), net.open(3));
    let bob_1 = net.register(b, "bob");
    let bob_2 = net.register(c, "bob");
    let invite = net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    let (rings_1, rings_2) = (net.request_for(b), net.request_for(c));
    net.send(b, answer(&rings_1, 180, "b1", &bob_1));
    net.send(c, answer(&rings_2, 180, "b2", &bob_2));
    assert_eq!((net.status_for(a), net.status_for(a)), (180, 180));
    net.send(c, answer(&rings_2, 200, "b2", &bob_2));
    let ok = net.response_for(a);
    assert_eq!(ok.headers.to().unwrap().tag(), Some("b2"));
    let cancel = net.request_for(b);
    assert_eq!(cancel.method, Method::Cancel);
    assert_eq!(cancel.headers.get("Via"), rings_1.headers.values("Via").first().copied());
    assert_eq!(cancel.headers.get("Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    net.send(b, cancel.response(200, None));
    net.send(b, answer(&rings_1, 487, "b1", &bob_1));
    assert_eq!(net.request_for(b).method, Method::Ack);
    assert!(net.is_silent(a), "the loser's failure is nobody's business");
    net.send(a, within(&invite, &ok, Method::Ack));
    assert_eq!(net.request_for(c).method, Method::Ack);
    assert!(net.is_silent(b));
}

#[test]
fn both_answers_of_a_race_reach_the_caller() {
    let mut net = Net::new();
    let (a, b, c) = (net.open(1), net.open(2), net.open(3));
    let bob_1 = net.register(b, "bob");
    let bob_2 = net.register(c, "bob");
    net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    let (rings_1, rings_2) = (net.request_for(b), net.request_for(c));
    net.send(b, answer(&rings_1, 200, "b1", &bob_1));
    net.send(c, answer(&rings_2, 200, "b2", &bob_2));
    assert_eq!(net.response_for(a).headers.to().unwrap().tag(), Some("b1"));
    assert_eq!(net.response_for(a).headers.to().unwrap().tag(), Some("b2"));
}

#[test]
fn the_best_failure_wins_when_all_fail() {
    let mut net = Net::new();
    let (a, b, c) = (net.open(1), net.open(2), net.open(3));
    let bob_1 = net.register(b, "bob");
    let bob_2 = net.register(c, "bob");
    let invite = net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    let (rings_1, rings_2) = (net.request_for(b), net.request_for(c));
    net.send(b, answer(&rings_1, 480, "b1", &bob_1));
    assert_eq!(net.request_for(b).method, Method::Ack);
    assert!(net.is_silent(a), "the other phone may still answer");
    net.send(c, answer(&rings_2, 486, "b2", &bob_2));
    let busy = net.response_for(a);
    assert_eq!(busy.status, 486);
    let mut ack = within(&invite, &busy, Method::Ack);
    ack.headers.set("Via", invite.headers.get("Via").unwrap());
    ack.uri = invite.uri;
    net.send(a, ack);
    assert_eq!(net.request_for(c).method, Method::Ack);
    assert!(net.is_silent(c), "the caller's ACK ends at the proxy");
    assert_eq!(net.events.last().unwrap(), "alice -> bob busy (486)");
}

#[test]
fn a_global_refusal_stops_the_other_phones() {
    let mut net = Net::new();
    let (a, b, c) = (net.open(1), net.open(2), net.open(3));
    let bob_1 = net.register(b, "bob");
    let bob_2 = net.register(c, "bob");
    net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    let (rings_1, rings_2) = (net.request_for(b), net.request_for(c));
    net.send(c, answer(&rings_2, 180, "b2", &bob_2));
    assert_eq!(net.status_for(a), 180);
    net.send(b, answer(&rings_1, 603, "b1", &bob_1));
    assert_eq!(net.request_for(c).method, Method::Cancel);
    assert!(net.is_silent(a));
    net.send(c, answer(&rings_2, 487, "b2", &bob_2));
    assert_eq!(net.status_for(a), 603);
}

#[test]
fn cancel_waits_for_the_first_provisional() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    let invite = net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    let rings = net.request_for(b);
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", "2 CANCEL");
    cancel.headers.push("Reason", "SIP;cause=487;text=\"changed my mind\"");
    net.send(a, cancel.clone());
    assert_eq!(net.response_for(a).headers.cseq().unwrap().method, Method::Cancel);
    assert!(net.is_silent(b), "RFC 3261, section 9.1");
    net.send(b, answer(&rings, 180, "b", &bob));
    let cancelled = net.request_for(b);
    assert_eq!(cancelled.method, Method::Cancel);
    assert_eq!(cancelled.headers.get("Reason"), Some("SIP;cause=487;text=\"changed my mind\""));
    net.send(b, cancelled.response(200, None));
    net.send(b, answer(&rings, 487, "b", &bob));
    assert_eq!(net.request_for(b).method, Method::Ack);
    assert_eq!(net.status_for(a), 487);
    assert_eq!(net.events.last().unwrap(), "alice -> bob cancelled");

    cancel.headers.set("Via", "SIP/2.0/WS h.invalid;branch=z9hG4bKother");
    net.send(a, cancel);
    assert_eq!(net.status_for(a), 481);
}

#[test]
fn a_callee_who_ignores_cancel_does_not_hold_the_caller() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    let invite = net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    net.send(b, answer(&rings, 180, "b", &bob));
    assert_eq!((net.status_for(a), net.status_for(a)), (100, 180));
    let mut cancel = invite;
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", "2 CANCEL");
    net.send(a, cancel);
    assert_eq!(net.status_for(a), 200);
    net.advance(Duration::from_secs(31));
    assert!(net.is_silent(a));
    net.advance(Duration::from_secs(1));
    assert_eq!(net.status_for(a), 487);
}

#[test]
fn silence_and_endless_ringing_time_out() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    net.invite(a, "alice", "bob");
    assert_eq!(net.status_for(a), 100);
    net.request_for(b);
    net.advance(Duration::from_secs(32));
    assert_eq!(net.status_for(a), 408, "timer B");

    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    net.register(b, "bob");
    net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    net.send(b, answer(&rings, 180, "b", &bob));
    assert_eq!((net.status_for(a), net.status_for(a)), (100, 180));
    net.advance(Duration::from_secs(180));
    assert!(net.is_silent(b));
    net.advance(Duration::from_secs(1));
    assert_eq!(net.request_for(b).method, Method::Cancel, "timer C");
    net.send(b, answer(&rings, 487, "b", &bob));
    assert_eq!(net.status_for(a), 408);
}

#[test]
fn a_phone_that_vanishes_while_it_rings() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    net.send(b, answer(&rings, 180, "b", &bob));
    assert_eq!((net.status_for(a), net.status_for(a)), (100, 180));
    net.close(b);
    assert_eq!(net.status_for(a), 480);
}

#[test]
fn a_caller_who_vanishes_stops_the_ringing() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    net.send(b, answer(&rings, 180, "b", &bob));
    net.close(a);
    assert_eq!(net.request_for(b).method, Method::Cancel);
    net.send(b, answer(&rings, 487, "b", &bob));
    assert_eq!(net.request_for(b).method, Method::Ack);
    assert_eq!(net.proxy.transactions.poll_timeout(), None, "nothing is left of it");
}

#[test]
fn a_dialog_outlives_a_connection() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    let bob = net.register(b, "bob");
    let invite = net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    net.send(b, answer(&rings, 200, "b", &bob));
    assert_eq!(net.status_for(a), 100);
    let ok = net.response_for(a);
    net.send(a, within(&invite, &ok, Method::Ack));
    net.request_for(b);

    net.close(b);
    net.send(a, within(&invite, &ok, Method::Info));
    assert_eq!(net.status_for(a), 480, "away, not gone");

    let b = net.open(9);
    let mut again = register("bob", &bob, 600);
    again.headers.set("Call-ID", "again");
    assert_eq!(net.send_signed(b, again, "bob", "bob-secret").status, 200);
    net.send(a, within(&invite, &ok, Method::Bye));
    assert_eq!(net.request_for(b).method, Method::Bye);

    net.close(b);
    assert_eq!(net.status_for(a), 480, "it never answered the BYE");
    net.advance(LOCATION_MEMORY);
    let c = net.open(10);
    net.close(c);
    net.send(a, {
        let mut bye = within(&invite, &ok, Method::Bye);
        bye.headers.set("Via", "SIP/2.0/WS h.invalid;branch=z9hG4bKlast");
        bye
    });
    assert_eq!(net.status_for(a), 481);
}

#[test]
fn a_contact_belongs_to_the_one_who_showed_it_first() {
    let mut net = Net::new();
    let (a, b, c) = (net.open(1), net.open(2), net.open(3));
    let bob = net.register(b, "bob");
    let response = net.send_signed(c, register("carol", &bob, 600), "carol", "carol-secret");
    assert_eq!(response.status, 200);
    let mut info = request(Method::Info, "alice", "bob", "c1");
    info.uri = bob;
    info.headers.set("To", "<sip:bob@sandbox.test>;tag=1");
    net.send(a, info);
    assert_eq!(net.request_for(b).method, Method::Info);
    assert!(net.is_silent(c));
}

#[test]
fn service_numbers_need_no_password_and_no_registration() {
    let mut net = Net::new();
    let a = net.open(1);
    let service = ConnId(2);
    net.proxy.attach_service(service, "607");
    net.invite(a, "alice", "607");
    let rings = net.request_for(service);
    assert_eq!(rings.uri, "sip:607@sandbox.test");
    net.inboxes.clear();
    net.register(a, "alice");
    net.send(service, request(Method::Invite, "607", "alice", "back"));
    assert_eq!(net.status_for(service), 100);
    assert_eq!(net.request_for(a).method, Method::Invite);
    net.send(service, request(Method::Invite, "alice", "bob", "false"));
    assert_eq!(net.status_for(service), 403);
}

#[test]
fn who_has_moved_is_to_be_called_elsewhere() {
    let mut net = Net::new();
    let a = net.open(1);
    net.register(a, "alice");
    net.invite(a, "alice", "moved");
    let moved = net.response_for(a);
    assert_eq!(moved.status, 302);
    assert_eq!(
        moved.headers.values("Contact"),
        ["<sip:602@sandbox.test>;q=0.5", "<sip:600@sandbox.test>;q=1"]
    );
}

#[test]
fn who_is_away_says_when_to_try_again_and_why() {
    let mut net = Net::new();
    let a = net.open(1);
    net.register(a, "alice");
    net.invite(a, "alice", "away");
    let away = net.response_for(a);
    assert_eq!(away.status, 480);
    assert_eq!(away.headers.get("Retry-After"), Some("120 (at lunch)"));
    assert_eq!(away.headers.get("Reason"), Some("Q.850;cause=19;text=\"No answer from the user\""));
}

#[test]
fn refusals() {
    let mut net = Net::new();
    let a = net.open(1);
    net.register(a, "alice");
    net.invite(a, "alice", "nobody");
    assert_eq!(net.status_for(a), 404);
    assert_eq!(net.events.last().unwrap(), "alice -> nobody failed: 404 Not Found");
    let mut cases: Vec<(u16, Request)> = Vec::new();
    let mut case = |status, change: &dyn Fn(&mut Request)| {
        let mut request = request(Method::Options, "alice", "bob", &format!("case-{}", cases.len()));
        change(&mut request);
        cases.push((status, request));
    };
    case(483, &|r| r.headers.set("Max-Forwards", "0"));
    case(400, &|r| r.headers.set("Max-Forwards", "many"));
    case(482, &|r| r.headers.push("Via", format!("SIP/2.0/WS {OWN};branch=z9hG4bKold")));
    case(420, &|r| r.headers.push("Proxy-Require", "magic"));
    case(416, &|r| "tel:+123".clone_into(&mut r.uri));
    case(404, &|r| r.headers.push("Route", "<sip:elsewhere.test;lr>"));
    case(481, &|r| {
        "sip:x@gone.invalid".clone_into(&mut r.uri);
        r.headers.set("To", "<sip:bob@sandbox.test>;tag=t");
    });
    for (status, request) in cases {
        net.send(a, request.clone());
        assert_eq!(net.status_for(a), status, "{request:?}");
    }
}

#[test]
fn malformed_messages_are_answered_where_they_can_be() {
    let mut net = Net::new();
    let a = net.open(1);
    net.say(a, "\r\n\r\n");
    assert_eq!(net.inboxes.get_mut(&a).unwrap().pop_front().as_deref(), Some("\r\n"));
    net.say(a, "\r\n");
    net.say(a, "nonsense");
    assert!(net.is_silent(a));
    let text = request(Method::Options, "alice", "bob", "c").to_text().unwrap();
    net.say(a, &text.replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"));
    let response = net.response_for(a);
    assert_eq!(response.status, 400);
    assert!(response.headers.to().unwrap().tag().is_some());
}

#[test]
fn nothing_that_peers_send_makes_it_panic() {
    let mut net = Net::new();
    let (a, b) = (net.open(1), net.open(2));
    net.register(b, "bob");
    let invite = net.invite(a, "alice", "bob");
    let rings = net.request_for(b);
    let texts = [invite.to_text().unwrap(), answer(&rings, 200, "t", "sip:x@y.invalid").to_text().unwrap()];
    let mut entropy = SeededEntropy::new(3);
    for round in 0..4000_u32 {
        let mut bytes = texts[round as usize % 2].clone().into_bytes();
        for _ in 0..=wasm_softphone::entropy::below(&mut entropy, 4) {
            let at = wasm_softphone::entropy::below(&mut entropy, bytes.len() as u64) as usize;
            match wasm_softphone::entropy::below(&mut entropy, 3) {
                0 => bytes[at] = wasm_softphone::entropy::below(&mut entropy, 256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(40)),
            }
        }
        net.proxy.received(net.now, if round % 2 == 0 { a } else { b }, &bytes);
        net.drain();
    }
    // And it still works.
    let c = net.open(3);
    net.register(c, "carol");
}

fn subscribe(watcher: &str, watched: &str, event: &str, expires: u32) -> Request {
    let mut request =
        request(Method::Subscribe, watcher, watched, &format!("sub-{watcher}-{watched}-{event}"));
    request.headers.push("Contact", format!("<sip:{watcher}-w@hw.invalid;transport=ws>"));
    request.headers.push("Event", event);
    request.headers.push("Expires", expires.to_string());
    request
}

fn text(notify: &Request) -> String {
    assert_eq!(notify.method, Method::Notify);
    String::from_utf8(notify.body.clone()).unwrap()
}

#[test]
fn a_busy_lamp_follows_a_call() {
    let mut net = Net::new();
    let (a, b, w) = (net.open(1), net.open(2), net.open(3));
    net.register(a, "alice");
    let bob = net.register(b, "bob");
    let accepted = net.send_signed(w, subscribe("alice", "bob", "dialog", 600), "alice", "alice-secret");
    assert_eq!((accepted.status, accepted.headers.get("Expires")), (200, Some("600")));
    let idle = net.request_for(w);
    assert_eq!(idle.uri, "sip:alice-w@hw.invalid;transport=ws");
    assert_eq!(idle.headers.get("Subscription-State"), Some("active;expires=600"));
    assert!(!text(&idle).contains("<state>") && text(&idle).contains("version=\"0\""));

    let invite = net.invite(a, "alice", "bob");
    assert!(text(&net.request_for(w)).contains("recipient\"><state>trying"));
    let ringing = net.request_for(b);
    net.send(b, answer(&ringing, 180, "b", &bob));
    assert!(text(&net.request_for(w)).contains("<state>early"));
    let ok = answer(&ringing, 200, "b", &bob);
    net.send(b, ok.clone());
    let confirmed = net.request_for(w);
    assert!(text(&confirmed).contains("<state>confirmed"));
    assert!(confirmed.headers.seq() > idle.headers.seq());
    net.send(a, within(&invite, &ok, Method::Bye));
    assert!(!text(&net.request_for(w)).contains("<state>"));

    // Within the subscription: its end.
    let mut end = within(&subscribe("alice", "bob", "dialog", 0), &accepted, Method::Subscribe);
    end.headers.push("Event", "dialog");
    end.headers.push("Expires", "0");
    end.headers.set("CSeq", "9 SUBSCRIBE");
    net.send(w, end.clone());
    assert_eq!(net.status_for(w), 200);
    assert_eq!(net.request_for(w).headers.get("Subscription-State"), Some("terminated;reason=timeout"));
    end.headers.set("Via", "SIP/2.0/WS h.invalid;branch=z9hG4bKagain");
    net.send(w, end);
    assert_eq!(net.status_for(w), 481);
}

#[test]
fn a_mailbox_is_its_owners() {
    let mut net = Net::new();
    let w = net.open(1);
    let other = subscribe("alice", "bob", "message-summary", 600);
    assert_eq!(net.send_signed(w, other, "alice", "alice-secret").status, 403);
    let own = subscribe("alice", "alice", "message-summary", 600);
    assert_eq!(net.send_signed(w, own, "alice", "alice-secret").status, 200);
    assert!(text(&net.request_for(w)).starts_with("Messages-Waiting: no\r\n"));
    // Nobody is there: a word is left.
    let c = net.open(2);
    net.register(c, "bob");
    let d = net.open(3);
    net.register(d, "alice");
    net.invite(c, "bob", "alice");
    let ringing = net.request_for(d);
    net.send(d, answer(&ringing, 486, "d", "sip:alice-3@host3.invalid;transport=ws"));
    assert!(text(&net.request_for(w)).contains("Voice-Message: 1/0"));
}

#[test]
fn presence_is_what_was_published_last() {
    let mut net = Net::new();
    let (a, w) = (net.open(1), net.open(2));
    let accepted = net.send_signed(w, subscribe("bob", "alice", "presence", 600), "bob", "bob-secret");
    assert_eq!(accepted.status, 200);
    assert!(text(&net.request_for(w)).contains("<basic>closed"));
    let mut publish = request(Method::Publish, "alice", "alice", "pub");
    publish.headers.push("Event", "presence");
    publish.headers.push("Expires", "60");
    publish.body = b"<presence>open</presence>".to_vec();
    let published = net.send_signed(a, publish.clone(), "alice", "alice-secret");
    assert_eq!(published.status, 200);
    assert_eq!(text(&net.request_for(w)), "<presence>open</presence>");
    // Another's, and one that is not known any more.
    let mut forged = request(Method::Publish, "alice", "bob", "pub2");
    forged.headers.push("Event", "presence");
    assert_eq!(net.send_signed(a, forged, "alice", "alice-secret").status, 403);
    let mut stale = request(Method::Publish, "alice", "alice", "pub3");
    stale.headers.push("Event", "presence");
    stale.headers.push("SIP-If-Match", "nothing");
    assert_eq!(net.send_signed(a, stale, "alice", "alice-secret").status, 412);
}
