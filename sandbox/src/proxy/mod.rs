//! Registrar and proxy of the network as one state machine without clock and sockets: messages go in with the
//! connection they came from, messages come out with the connection they go to.
//!
//! A request for a user is forked to all phones of that user; the first 2xx wins and the others are cancelled
//! (RFC 3261, section 16). Requests within a dialog are routed by their Request-URI, that is the Contact of the
//! phone they are for, to the connection which that Contact was last seen on: so a dialog outlives a connection.

mod auth;
mod calls;
mod domain;
mod events;
mod registrar;
mod transaction;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use wasm_softphone::entropy::{Entropy, token};
use wasm_softphone::sip::header::{NameAddr, Via};
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::sip::wire::{self, Frame};
use wasm_softphone::time::{Duration, Instant};

use auth::{Authenticator, Side, Verdict};
use calls::CallLog;
pub use domain::{Calls, Domain};
use events::Events;
use registrar::{MAX_EXPIRES, MIN_EXPIRES, Refused, Registrar};
use transaction::{Target, Transactions};

/// One connection: a WebSocket, or the line of a service number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What the proxy wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Send one message.
    Send {
        /// Over this connection.
        conn: ConnId,
        /// The message, or a keep-alive.
        text: String,
    },
    /// Tell the people who watch the network.
    Event(String),
}

/// How long a Contact of a closed connection is remembered, so that requests within its dialogs get 480 ("come
/// again") and not 481 ("no such call").
const LOCATION_MEMORY: Duration = Duration::from_secs(120);

/// What the notifier needs to know of the proxy, whose other parts stay free to be used.
macro_rules! here {
    ($proxy:ident, $now:expr) => {
        events::Here {
            now: $now,
            host: &$proxy.own,
            domain: &$proxy.domain.name,
            entropy: $proxy.entropy.as_mut(),
        }
    };
}

/// A message to this user clears the mailbox of its sender.
const MAILBOX: &str = "mailbox";
/// Who has moved: calls to it are redirected (302) to the echo, or else to the number that is busy.
const MOVED: &str = "moved";
/// Who is away for a while: calls to it get 480 with Retry-After, and a Reason from the telephone network.
const AWAY: &str = "away";

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, MESSAGE, REFER, NOTIFY, SUBSCRIBE, PUBLISH, UPDATE, PRACK";

#[derive(Debug, Default)]
struct Connection {
    /// Who has proved to be there.
    user: Option<String>,
    /// The line of a service number: needs no password.
    service: bool,
}

/// Where a Contact was last seen.
struct Location {
    conn: ConnId,
    owner: String,
    closed: Option<Instant>,
}

/// What is held at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Load {
    /// Open WebSockets.
    pub connections: usize,
    /// Registered contacts.
    pub bindings: usize,
    /// Calls that are set up, or are being.
    pub calls: usize,
    /// Transactions under way, or remembered for repeats.
    pub transactions: usize,
}

/// The state machine. After each input drain [`Proxy::poll_output`], then wait until [`Proxy::poll_timeout`].
pub struct Proxy {
    entropy: Box<dyn Entropy + Send>,
    /// Our sent-by and the host part of our Record-Route: `127.0.0.1:<port>`.
    own: String,
    domain: Domain,
    connections: BTreeMap<ConnId, Connection>,
    services: BTreeMap<String, ConnId>,
    auth: Authenticator,
    registrar: Registrar,
    locations: BTreeMap<String, Location>,
    transactions: Transactions,
    calls: CallLog,
    events: Events,
    outputs: VecDeque<Output>,
}

impl Proxy {
    /// A proxy that is reached at this loopback address, e.g. `127.0.0.1:8080`.
    #[must_use]
    pub fn new(own: String, entropy: Box<dyn Entropy + Send>) -> Self {
        Self::serving(Domain::default(), own, entropy)
    }

    /// The same for a domain of its own.
    #[must_use]
    pub fn serving(domain: Domain, own: String, entropy: Box<dyn Entropy + Send>) -> Self {
        Self {
            entropy,
            domain,
            transactions: Transactions::new(own.clone()),
            own,
            connections: BTreeMap::new(),
            services: BTreeMap::new(),
            auth: Authenticator::new(),
            registrar: Registrar::default(),
            locations: BTreeMap::new(),
            calls: CallLog::default(),
            events: Events::default(),
            outputs: VecDeque::new(),
        }
    }

    /// New settings of the domain. What is registered stays so.
    pub fn configure(&mut self, domain: Domain) {
        self.domain = domain;
    }

    /// What is held at the moment.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            connections: self.connections.values().filter(|connection| !connection.service).count(),
            bindings: self.registrar.count(),
            calls: self.calls.count(),
            transactions: self.transactions.count(),
        }
    }

    /// A WebSocket was opened.
    pub fn opened(&mut self, conn: ConnId) {
        self.connections.insert(conn, Connection::default());
    }

    /// The line of a service number: rings without registration and calls without a password.
    pub fn attach_service(&mut self, conn: ConnId, user: &str) {
        self.connections.insert(conn, Connection { user: Some(user.to_owned()), service: true });
        self.services.insert(user.to_owned(), conn);
    }

    /// A connection is gone.
    pub fn closed(&mut self, now: Instant, conn: ConnId) {
        self.connections.remove(&conn);
        self.services.retain(|_, service| *service != conn);
        for user in self.registrar.closed(conn) {
            self.report_registration(now, &user, "disconnected");
        }
        self.locations.retain(|_, location| {
            location.closed.is_none_or(|closed| now.saturating_since(closed) < LOCATION_MEMORY)
        });
        for location in self.locations.values_mut().filter(|location| location.conn == conn) {
            location.closed = Some(now);
        }
        self.events.closed(conn);
        self.transactions.closed(now, conn, self.entropy.as_mut());
        self.settle(now);
    }

    /// A WebSocket message has come.
    pub fn received(&mut self, now: Instant, conn: ConnId, bytes: &[u8]) {
        match wire::parse(bytes) {
            Ok(Frame::Ping) => self.outputs.push_back(Output::Send { conn, text: "\r\n".to_owned() }),
            Ok(Frame::Pong) => {}
            Ok(Frame::Message(Message::Request(request))) => self.request(now, conn, request),
            Ok(Frame::Message(Message::Response(response))) => self.response(now, conn, response),
            Err(rejected) => {
                self.event(format!("malformed message ({}): {}", rejected.error, rejected.first_line));
                if let Some(reply) = rejected.reply {
                    self.respond(conn, reply);
                }
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn timer(&mut self, now: Instant) {
        for user in self.registrar.expire(now) {
            self.report_registration(now, &user, "registration expired");
        }
        self.transactions.timer(now, self.entropy.as_mut());
        self.settle(now);
    }

    /// When to call [`Proxy::timer`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.registrar.poll_timeout(), self.transactions.poll_timeout()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes over what the transactions have to say.
    fn settle(&mut self, now: Instant) {
        while let Some((conn, message)) = self.transactions.poll_send() {
            self.send(conn, &message);
        }
        while let Some(news) = self.transactions.poll_news() {
            let parties = self.calls.parties(&news.call_id);
            if let Some(line) = self.calls.news(now, &news) {
                self.event(line);
                if let Some((caller, callee)) = parties {
                    // Nobody took it: the caller leaves a word, as if there were a voice mailbox.
                    let missed = matches!(news.status, 408 | 480 | 486 | 487 | 600 | 603);
                    if missed && self.is_account(&callee) {
                        self.mailbox(now, &callee, Some(1));
                    }
                    self.calls_changed(now, [&caller, &callee]);
                }
            }
        }
    }

    fn is_account(&self, user: &str) -> bool {
        self.domain.accounts.iter().any(|(account, _)| account == user)
    }

    fn send_all(&mut self, sends: events::Sends) {
        for (conn, message) in sends {
            self.send(conn, &message);
        }
    }

    fn mailbox(&mut self, now: Instant, user: &str, left: Option<u32>) {
        let sends = self.events.mailbox(&mut here!(self, now), user, left);
        self.send_all(sends);
    }

    /// Tells those who watch them.
    fn calls_changed(&mut self, now: Instant, users: [&str; 2]) {
        for user in users {
            let busy = self.calls.of(user);
            let sends = self.events.calls_changed(&mut here!(self, now), user, &busy);
            self.send_all(sends);
        }
    }

    /// What is for this network itself and not for a phone of the callee. `true`: it has been answered.
    fn serve(&mut self, now: Instant, conn: ConnId, user: &str, callee: &str, request: &Request) -> bool {
        match request.method {
            Method::Subscribe if self.is_account(callee) => {
                let busy = self.calls.of(callee);
                let sends = self.events.subscribe(conn, &mut here!(self, now), callee, request, &busy);
                self.send_all(sends);
            }
            Method::Publish if callee == user => {
                let sends = self.events.publish(conn, &mut here!(self, now), user, request);
                self.send_all(sends);
            }
            Method::Publish => self.refuse(conn, request, 403, None),
            Method::Invite if callee == MOVED => {
                let mut response = request.response(302, None);
                for (number, q) in [("602", "0.5"), ("600", "1")] {
                    response.headers.push("Contact", format!("<{}>;q={q}", self.domain.aor(number)));
                }
                self.respond(conn, response);
            }
            Method::Invite if callee == AWAY => {
                let mut response = request.response(480, None);
                response.headers.push("Retry-After", "120 (at lunch)");
                response.headers.push("Reason", "Q.850;cause=19;text=\"No answer from the user\"");
                self.respond(conn, response);
            }
            // A message to the mailbox: all has been heard.
            Method::Message if callee == MAILBOX => {
                self.refuse(conn, request, 200, None);
                self.mailbox(now, user, None);
            }
            _ => return false,
        }
        true
    }

    fn event(&mut self, line: String) {
        self.outputs.push_back(Output::Event(line));
    }

    fn send(&mut self, conn: ConnId, message: &Message) {
        if !self.connections.contains_key(&conn) {
            return;
        }
        match message.to_text() {
            Ok(text) => self.outputs.push_back(Output::Send { conn, text }),
            Err(error) => self.event(format!("a message was not forwarded: {error}")),
        }
    }

    fn respond(&mut self, conn: ConnId, mut response: Response) {
        if response.status > 100 {
            response.set_to_tag(&token(self.entropy.as_mut(), 10));
        }
        self.send(conn, &Message::Response(response));
    }

    fn refuse(&mut self, conn: ConnId, request: &Request, status: u16, reason: Option<&str>) {
        if request.method != Method::Ack {
            let mut response = request.response(status, reason);
            if status == 405 {
                response.headers.push("Allow", ALLOW);
            }
            self.respond(conn, response);
        }
    }

    fn response(&mut self, now: Instant, conn: ConnId, response: Response) {
        if let Some(owner) = self.connections.get(&conn).and_then(|c| c.user.clone()) {
            self.learn(conn, &owner, response.headers.get("Contact"));
        }
        self.transactions.response(now, conn, response, self.entropy.as_mut());
    }

    fn request(&mut self, now: Instant, conn: ConnId, mut request: Request) {
        mark_received(&mut request);
        match request.method {
            Method::Ack if self.transactions.absorb_ack(conn, &request) => return,
            Method::Cancel => {
                let known = self.transactions.cancel(now, conn, &request, self.entropy.as_mut());
                return self.refuse(conn, &request, if known { 200 } else { 481 }, None);
            }
            _ if self.transactions.repeat(conn, &request) => return,
            _ => {}
        }
        // RFC 3261, section 16.3.
        let hops = match request.headers.get("Max-Forwards").map(str::parse::<u32>) {
            None => 70,
            Some(Ok(0)) => return self.refuse(conn, &request, 483, None),
            Some(Ok(hops)) => hops.min(255) - 1,
            Some(Err(_)) => return self.refuse(conn, &request, 400, Some("Bad Max-Forwards")),
        };
        request.headers.set("Max-Forwards", hops.to_string());
        let looped = request
            .headers
            .values("Via")
            .iter()
            .any(|via| Via::parse(via).is_ok_and(|via| via.sent_by == self.own));
        if looped {
            return self.refuse(conn, &request, 482, None);
        }
        if let Some(options) = request.headers.get("Proxy-Require").map(str::to_owned) {
            let mut response = request.response(420, None);
            response.headers.push("Unsupported", options);
            return self.respond(conn, response);
        }
        let Ok(uri) = Uri::parse(&request.uri) else {
            return self.refuse(conn, &request, 416, None);
        };
        self.strip_own_route(&mut request);
        if request.headers.get("Route").is_some() {
            // There is no network beyond this one.
            return self.refuse(conn, &request, 404, Some("Unknown Route"));
        }
        if request.headers.to().is_some_and(|to| to.tag().is_some()) {
            return self.within_dialog(now, conn, request, &uri);
        }
        if request.method == Method::Ack {
            return;
        }
        let registrar = request.method == Method::Register && self.is_own(&uri);
        let side = if registrar { Side::Registrar } else { Side::Proxy };
        let Some(user) = self.authenticate(now, conn, side, &request) else {
            return;
        };
        if registrar {
            self.register(now, conn, &user, &request)
        } else {
            self.route(now, conn, user, request, &uri)
        }
    }

    /// Who sends this request; `None` when it has been answered with a challenge or a refusal.
    fn authenticate(&mut self, now: Instant, conn: ConnId, side: Side, request: &Request) -> Option<String> {
        let connection = self.connections.get(&conn)?;
        let user = if connection.service {
            connection.user.clone()?
        } else {
            let verdict = self.auth.check(now, &self.domain, side, request);
            let Verdict::Accepted(user) = verdict else {
                if verdict == Verdict::Wrong {
                    self.event(format!("{}: wrong user or password", caller(request)));
                    if self.domain.forbid_wrong {
                        self.refuse(conn, request, 403, None);
                        return None;
                    }
                }
                let mut response = request.response(side.status(), None);
                let stale = verdict == Verdict::Stale;
                self.auth.challenge(now, self.entropy.as_mut(), &self.domain, side, stale, &mut response);
                self.respond(conn, response);
                return None;
            };
            user
        };
        // Whoever has a password may speak for its user only.
        let claimed = match side {
            Side::Registrar => request.headers.to(),
            Side::Proxy => request.headers.from(),
        };
        if !claimed.is_some_and(|claimed| {
            Uri::parse(&claimed.uri).is_ok_and(|uri| uri.aor() == self.domain.aor(&user))
        }) {
            self.event(format!("{user}: may not act as {}", caller(request)));
            self.refuse(conn, request, 403, None);
            return None;
        }
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.user = Some(user.clone());
        }
        Some(user)
    }

    fn register(&mut self, now: Instant, conn: ConnId, user: &str, request: &Request) {
        if let Some(options) = request.headers.get("Require").map(str::to_owned) {
            let mut response = request.response(420, None);
            response.headers.push("Unsupported", options);
            return self.respond(conn, response);
        }
        let before = self.registrar.bindings(now, user).count();
        let response = match self.registrar.register(now, user, conn, request, self.domain.last_wins) {
            Ok(()) => {
                let mut response = request.response(200, None);
                for binding in self.registrar.bindings(now, user) {
                    let mut contact = binding.contact.clone();
                    let seconds = binding.expires.saturating_since(now).as_secs();
                    contact.params.set("expires", Some(&seconds.to_string()));
                    response.headers.push("Contact", contact.to_string());
                }
                response
            }
            Err(Refused::Malformed(reason)) => request.response(400, Some(reason)),
            Err(Refused::TooBrief) => {
                let mut response = request.response(423, None);
                response.headers.push("Min-Expires", MIN_EXPIRES.to_string());
                response
            }
            Err(Refused::TooMany) => request.response(403, Some("Too Many Phones")),
            Err(Refused::OutOfOrder) => request.response(500, Some("Out Of Order")),
        };
        if response.status == 200 {
            let bound: Vec<String> = self
                .registrar
                .bindings(now, user)
                .filter(|binding| binding.conn == conn)
                .map(|binding| binding.contact.to_string())
                .collect();
            for contact in bound {
                self.learn(conn, user, Some(&contact));
            }
            let after = self.registrar.bindings(now, user).count();
            if after != before {
                self.report_registration(
                    now,
                    user,
                    if after > before { "registered" } else { "unregistered" },
                );
            }
        }
        self.respond(conn, response);
    }

    fn report_registration(&mut self, now: Instant, user: &str, what: &str) {
        let phones = self.registrar.bindings(now, user).count();
        let count = match phones {
            0 => "no phone".to_owned(),
            1 => "1 phone".to_owned(),
            more => format!("{more} phones"),
        };
        self.event(format!("{user} {what} ({count})"));
    }

    /// A request outside of a dialog, from a user who has proved to be it.
    fn route(&mut self, now: Instant, conn: ConnId, user: String, mut request: Request, uri: &Uri) {
        request.headers.remove("Proxy-Authorization");
        // RFC 3325, section 5: the identity is ours to assert, so one that the phone claims is dropped.
        request.headers.remove("P-Preferred-Identity");
        request.headers.set("P-Asserted-Identity", format!("<{}>", self.domain.aor(&user)));
        self.learn(conn, &user, request.headers.get("Contact"));

        let service = self.connections.get(&conn).is_some_and(|connection| connection.service);
        if request.method == Method::Invite && !service && self.domain.calls != Calls::Free {
            let trunk = match &self.domain.calls {
                Calls::Trunk(trunk) => self.services.get(trunk).copied(),
                _ => None,
            };
            let Some(trunk) = trunk else {
                self.calls.refused(&request, 403).into_iter().for_each(|line| self.event(line));
                return self.refuse(conn, &request, 403, None);
            };
            let line = self.calls.begin(&request);
            self.event(line);
            request.headers.push_front("Record-Route", format!("<sip:{};transport=ws;lr>", self.own));
            let targets = vec![Target { conn: trunk, uri: request.uri.clone() }];
            return self.transactions.forward(now, conn, request, targets, self.entropy.as_mut());
        }
        let targets = if self.is_own(uri) {
            let Some(callee) = uri.user_decoded() else {
                return if request.method == Method::Options {
                    let mut response = request.response(200, None);
                    response.headers.push("Allow", ALLOW);
                    self.respond(conn, response);
                } else {
                    self.refuse(conn, &request, 405, None);
                };
            };
            if self.serve(now, conn, &user, &callee, &request) {
                return;
            }
            if let Some(service) = self.services.get(&callee) {
                vec![Target { conn: *service, uri: request.uri.clone() }]
            } else if self.domain.accounts.iter().any(|(user, _)| *user == callee) {
                self.registrar
                    .bindings(now, &callee)
                    .map(|binding| Target { conn: binding.conn, uri: binding.contact.uri.clone() })
                    .collect()
            } else {
                self.calls.refused(&request, 404).into_iter().for_each(|line| self.event(line));
                return self.refuse(conn, &request, 404, None);
            }
        } else if let Some(location) = self.locations.get(&uri.aor()) {
            match location.closed {
                None => vec![Target { conn: location.conn, uri: request.uri.clone() }],
                Some(_) => Vec::new(),
            }
        } else {
            self.calls.refused(&request, 404).into_iter().for_each(|line| self.event(line));
            return self.refuse(conn, &request, 404, None);
        };
        if targets.is_empty() {
            self.calls.refused(&request, 480).into_iter().for_each(|line| self.event(line));
            return self.refuse(conn, &request, 480, None);
        }
        if request.method == Method::Invite {
            let line = self.calls.begin(&request);
            self.event(line);
            let parties = self.calls.parties(request.headers.call_id().unwrap_or_default());
            if let Some((caller, callee)) = parties {
                self.calls_changed(now, [&caller, &callee]);
            }
        }
        // So that the requests of the dialog come through here (RFC 3261, section 16.6, step 4).
        request.headers.push_front("Record-Route", format!("<sip:{};transport=ws;lr>", self.own));
        self.transactions.forward(now, conn, request, targets, self.entropy.as_mut());
    }

    fn within_dialog(&mut self, now: Instant, conn: ConnId, mut request: Request, uri: &Uri) {
        // Phones repeat their credentials here too. They are for us only (RFC 3261, section 22.3).
        request.headers.remove("Proxy-Authorization");
        let owner = self.connections.get(&conn).and_then(|connection| connection.user.clone());
        if let Some(owner) = owner {
            self.learn(conn, &owner, request.headers.get("Contact"));
        }
        if request.method == Method::Bye {
            let parties = self.calls.parties(request.headers.call_id().unwrap_or_default());
            if let Some(line) = self.calls.ended(now, &request) {
                self.event(line);
            }
            if let Some((caller, callee)) = parties {
                self.calls_changed(now, [&caller, &callee]);
            }
        }
        if request.method == Method::Subscribe && self.is_own(uri) {
            let calls = &self.calls;
            return match self.events.refresh(conn, &mut here!(self, now), &request, |user| calls.of(user)) {
                Some(sends) => self.send_all(sends),
                None => self.refuse(conn, &request, 481, None),
            };
        }
        let target = match self.locations.get(&uri.aor()) {
            Some(Location { conn, closed: None, .. }) => Target { conn: *conn, uri: request.uri.clone() },
            Some(_) => return self.refuse(conn, &request, 480, None),
            None => return self.refuse(conn, &request, 481, None),
        };
        self.transactions.forward(now, conn, request, vec![target], self.entropy.as_mut());
    }

    /// Remembers where a Contact is. One that belongs to somebody else stays theirs.
    fn learn(&mut self, conn: ConnId, owner: &str, contact: Option<&str>) {
        let Some(key) = contact
            .and_then(|contact| NameAddr::parse(contact).ok())
            .and_then(|contact| Uri::parse(&contact.uri).ok())
            .filter(|uri| !self.is_own(uri))
            .map(|uri| uri.aor())
        else {
            return;
        };
        if self.locations.get(&key).is_none_or(|location| location.owner == owner) {
            self.locations.insert(key, Location { conn, owner: owner.to_owned(), closed: None });
        }
    }

    /// Whether a URI is of this domain or names this proxy.
    fn is_own(&self, uri: &Uri) -> bool {
        uri.host == self.domain.name || self.is_own_address(uri)
    }

    fn is_own_address(&self, uri: &Uri) -> bool {
        uri.port.is_some_and(|port| self.own == format!("{}:{port}", uri.host))
    }

    /// Takes our own Route values off the top (RFC 3261, section 16.4).
    fn strip_own_route(&self, request: &mut Request) {
        let routes: Vec<String> = request.headers.values("Route").iter().map(|r| (*r).to_owned()).collect();
        let rest: Vec<&String> = routes
            .iter()
            .skip_while(|route| {
                NameAddr::parse(route)
                    .ok()
                    .and_then(|route| Uri::parse(&route.uri).ok())
                    .is_some_and(|uri| self.is_own(&uri))
            })
            .collect();
        request.headers.remove("Route");
        for route in rest {
            request.headers.push("Route", route.clone());
        }
    }
}

/// The user part of From, for people.
fn caller(request: &Request) -> String {
    calls::name(request.headers.from().map(|from| from.uri).as_deref())
}

/// Says where a request came from when its Via cannot be reached, as a browser's never can (RFC 3261, section
/// 18.2.1; RFC 7118, section 5).
fn mark_received(request: &mut Request) {
    if let [value] = request.headers.values("Via").as_slice()
        && let Ok(mut via) = Via::parse(value)
    {
        via.params.set("received", Some("127.0.0.1"));
        request.headers.set("Via", via.to_string());
    }
}

const _: () = assert!(MIN_EXPIRES < MAX_EXPIRES);
