//! The context of a call and of the connection: the one door to the outside, and to the state that they share.
//!
//! Each method of a call takes a `&mut Cx`. A call knows no other call. It asks the phone ([`Ask`]) for an action on another
//! one, and the phone carries that out as soon as the call has returned.

use super::authentication::any_answer_will_do;
use super::capabilities;
use super::env::{Ask, Env};
use super::line::Line;
use super::questions::Questions;
use super::registration::Registration;
use super::sorted_map::SortedMap;
use super::timers::{Earliest, TimerKey, Timers, TxId};
use super::transactions::{Owner, Transactions};
use super::{
    CallId, Event, LockId, LogLevel, PhoneConfig, ProxyId, RequestId, SubscriptionId, description,
    subscription,
};
use crate::entropy::{Entropy, token};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::{Attempt, Authenticator};
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::Client;
use crate::sip::uri::{Uri, UriError};
use crate::text::{concat, list};

/// URLs with their priorities and weights.
pub(super) type Servers = (Vec<String>, Vec<(u32, u32)>);

/// Who answers a request.
pub(super) struct Responder<'a> {
    /// The To-tag, where the request has none.
    pub(super) tag: &'a str,
    /// The header that says that the call answers itself (RFC 5373).
    pub(super) mode: Option<&'static str>,
    /// The other side is not to learn who we are (RFC 3323).
    pub(super) hidden: bool,
}

/// The last number of each kind that has been given.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    call: u32,
    proxy: u32,
    lock: u32,
    request: u32,
    subscription: u32,
    heard: u32,
}

const fn next(last: &mut u32) -> u32 {
    *last = last.wrapping_add(1);
    *last
}

impl Numbers {
    pub(super) const fn call(&mut self) -> CallId {
        CallId(next(&mut self.call))
    }

    pub(super) const fn proxy(&mut self) -> ProxyId {
        ProxyId(next(&mut self.proxy))
    }

    pub(super) const fn lock(&mut self) -> LockId {
        LockId(next(&mut self.lock))
    }

    pub(super) const fn request(&mut self) -> RequestId {
        RequestId(next(&mut self.request))
    }

    pub(super) const fn subscription(&mut self) -> SubscriptionId {
        SubscriptionId(next(&mut self.subscription))
    }

    /// The place of a call among those that may be heard.
    pub(super) const fn heard(&mut self) -> u32 {
        next(&mut self.heard)
    }
}

/// All that is not a call.
pub(super) struct Cx {
    pub(super) env: Env,
    /// `servers`, `uri` and `register` that wait for the end of the connection.
    pub(super) next_account: Option<(Servers, Uri, bool)>,
    pub(super) timers: Timers<TimerKey>,
    pub(super) line: Line,
    pub(super) registration: Registration,
    pub(super) transactions: Transactions,
    pub(super) authenticator: Authenticator,
    /// Calls that are to be forgotten before the next input.
    pub(super) to_remove: Vec<CallId>,
    pub(super) numbers: Numbers,
    pub(super) questions: Questions,
    /// The call that plays in the application's element.
    pub(super) has_element: Option<CallId>,
    pub(super) subscriptions: SortedMap<SubscriptionId, Box<subscription::Subscription>>,
    /// INVITEs of which it is not known yet whether they are the provider's for a dial by REST.
    pub(super) unmatched: Vec<(TxId, Request)>,
}

impl Cx {
    #[must_use]
    pub(super) fn new(config: PhoneConfig, entropy: Box<dyn Entropy>) -> Self {
        Self {
            env: Env::new(config, entropy),
            next_account: None,
            timers: Timers::new(),
            line: Line::new(),
            registration: Registration::new(),
            transactions: Transactions::default(),
            authenticator: Authenticator::new(),
            to_remove: Vec::new(),
            numbers: Numbers::default(),
            questions: Questions::default(),
            has_element: None,
            subscriptions: SortedMap::new(),
            unmatched: Vec::new(),
        }
    }

    /// See [`Ask`].
    pub(super) fn ask(&mut self, call: CallId, what: Ask) {
        self.env.ask(call, what);
    }

    /// See [`Env::event`].
    #[inline(never)]
    pub(super) fn event(&mut self, event: Event) {
        self.env.event(event);
    }

    /// See [`Env::log`].
    #[inline(never)]
    pub(super) fn log(&mut self, level: LogLevel, parts: &[&str]) {
        self.env.log(level, parts);
    }

    /// The deadlines that are not a call's.
    pub(super) fn deadlines(&self) -> Earliest {
        let mut earliest = Earliest::default();
        self.line.show_deadlines(&mut earliest);
        self.registration.show_deadlines(&mut earliest);
        self.questions.show_deadlines(&mut earliest);
        self.timers.show(&mut earliest);
        self.transactions.show_deadlines(&mut earliest);
        earliest
    }

    // ---- requests out

    /// Sends a request that belongs to no call: Via, User-Agent, the Route outside dialogs and, where a challenge is
    /// known, its answer are added.
    pub(super) fn send_request(
        &mut self,
        owner: Owner,
        request: Request,
        attempt: Attempt,
    ) -> Result<TxId, Error> {
        self.send_as(owner, request, attempt, false)
    }

    /// Sends a request. `challenged`: a server has asked for credentials within its dialog.
    pub(super) fn send_as(
        &mut self,
        owner: Owner,
        mut request: Request,
        attempt: Attempt,
        challenged: bool,
    ) -> Result<TxId, Error> {
        if !matches!(request.method, Method::Register | Method::Ack | Method::Cancel)
            && request.headers.head().to_tag().is_none()
            && request.headers.get("Route").is_none()
        {
            self.registration.route(&mut request);
        }
        if request.headers.get("Privacy").is_some() && request.headers.get("Contact").is_some() {
            request.headers.set("Contact", self.contact_as(true));
        }
        // Within a dialog a request goes to the other end of it, and an answer to a challenge lets a password be guessed: none
        // goes there before a server has asked for it in this dialog. RFC 3261, section 22.2, would have it each time.
        let asked_for = challenged || request.headers.head().to_tag().is_none();
        let credentials = self.env.config.credentials.kept();
        if !credentials.is_empty()
            && asked_for
            && !matches!(request.method, Method::Ack | Method::Cancel)
            && !any_answer_will_do(owner)
        {
            let user = self.env.config.uri.user.as_deref().unwrap_or_default();
            let scope = Self::scope(owner);
            let secure = self.line.is_secure(&self.env.config);
            self.authenticator.authorize(
                scope,
                &mut request,
                user,
                credentials,
                secure,
                &mut *self.env.entropy,
            );
        }
        self.send_prepared(owner, request, attempt)
    }

    pub(super) fn send_prepared(
        &mut self,
        owner: Owner,
        mut request: Request,
        attempt: Attempt,
    ) -> Result<TxId, Error> {
        // CANCEL comes with the Via of its INVITE.
        if request.method != Method::Cancel {
            let via = self.via();
            request.headers.push_front("Via", via);
            request.headers.set("User-Agent", self.env.config.user_agent.clone());
        }
        let text = request.to_text().map_err(|error| {
            Error::new(ErrorCode::InvalidConfig, concat(&["The request cannot be sent: ", &error.text()]))
        })?;
        // What waits in this dialog has lower numbers, and goes first (RFC 3261, section 12.2.2).
        let follows = !matches!(request.method, Method::Ack | Method::Cancel | Method::Bye)
            && self.transactions.waits_in(&request.headers);
        let socket = self.line.open_socket().filter(|_| !follows);
        let waits = socket.is_none() && (follows || self.line.keeps(&request.method));
        if !waits && !self.line.transmit(&mut self.env, text, false) {
            return Err(Error::new(ErrorCode::Transport, "There is no connection to the SIP server"));
        }
        if let Some(socket) = socket {
            self.transactions.note_sent(&request.headers, socket);
        }
        let mut tx = Client::new(request, self.env.now);
        let first = match owner {
            Owner::Register => !self.line.is_settled(),
            Owner::Invite(_) => !self.line.has_heard(),
            _ => false,
        };
        if waits {
            // Its time runs from when it is sent.
            tx.deadline = None;
        } else if first {
            tx.deadline = Some(self.env.now + self.line.first_response());
        }
        let id = self.transactions.add_client(owner, tx, attempt, socket);
        if let Some(entry) = self.transactions.client(id) {
            entry.first = first && !waits;
        }
        Ok(id)
    }

    pub(super) fn via(&mut self) -> String {
        let branch = token(&mut *self.env.entropy, 16);
        concat(&[
            "SIP/2.0/",
            self.line.via_transport(&self.env.config),
            " ",
            self.env.host(),
            ";branch=z9hG4bK",
            &branch,
        ])
    }

    pub(super) fn forget_clients_of(&mut self, owner: Owner) {
        self.transactions.remove_clients_of(owner);
        self.questions.forget_of(owner);
    }

    /// Forgets all transactions.
    pub(super) fn abandon_transactions(&mut self) {
        self.end_subscriptions(true);
        let mut owners = self.questions.owners();
        owners.extend(self.transactions.clients().map(|(_, entry)| entry.owner));
        for owner in owners {
            if let Owner::Request(id) = owner {
                let error = Error::new(ErrorCode::Aborted, "Disconnected");
                self.event(Event::RequestDone(id, Err(error)));
            }
        }
        self.transactions.clear();
        self.unmatched.clear();
        self.timers.clear(TimerKey::Unmatched);
        self.questions.clear();
    }

    // ---- responses out

    pub(super) fn respond(&mut self, tx: TxId, status: u16) {
        self.respond_with(tx, status, &[]);
    }

    /// Answers a request that belongs to no call, with these headers.
    pub(super) fn respond_with(&mut self, tx: TxId, status: u16, headers: &[(&str, &str)]) {
        let tag = token(&mut *self.env.entropy, 12);
        self.respond_as(tx, status, &Responder { tag: &tag, mode: None, hidden: false }, headers, None);
    }

    /// Sends a response with these headers and this body. Returns its text, empty where it could not be sent.
    pub(super) fn respond_as(
        &mut self,
        tx: TxId,
        status: u16,
        by: &Responder<'_>,
        headers: &[(&str, &str)],
        sdp: Option<String>,
    ) -> String {
        let now = self.env.now;
        let private = by.hidden.then(|| self.contact_as(true));
        let Some(entry) = self.transactions.server(tx) else { return String::new() };
        let request = &entry.tx.request;
        let answers = status == 200 && request.method == Method::Invite && request.headers.to_tag().is_none();
        let mut response = request.response(status, None);
        if let Some(mode) = by.mode.filter(|_| answers) {
            response.headers.push(mode, "Auto");
        }
        response.headers.push_all(headers);
        // RFC 3261, sections 11.2 and 13.3.1.4, RFC 3311, section 5.2.
        let tells = matches!(entry.tx.request.method, Method::Invite | Method::Update | Method::Options);
        if tells && (200..300).contains(&status) {
            response.headers.push("Supported", self.env.supported());
        }
        if let Some(contact) = private {
            response.headers.push("Privacy", "id");
            if response.headers.get("Contact").is_some() {
                response.headers.set("Contact", contact);
            }
        }
        if let Some(sdp) = sdp {
            response.headers.push("Content-Type", capabilities::SDP);
            response.body = sdp.into_bytes();
        }
        // RFC 3261, section 8.2.6.2: every response but 100 has a To-tag.
        if status > 100 {
            response.set_to_tag(by.tag);
        }
        let Ok(text) = response.to_text() else {
            // Too long to be answered: the transaction would wait for ever.
            self.transactions.remove_server(tx);
            return String::new();
        };
        if !entry.tx.respond(status, &text, now) {
            return String::new();
        }
        let asked = entry.tx.request.headers.clone();
        self.transactions.tidy_server(tx);
        self.transactions.remember_answer(&asked, status, now);
        self.line.transmit(&mut self.env, text.clone(), true);
        text
    }

    /// Without a transaction (RFC 3261, section 8.2.7).
    pub(super) fn send_untracked(&mut self, mut response: Response) {
        response.set_to_tag(&token(&mut *self.env.entropy, 12));
        if let Ok(text) = response.to_text() {
            self.line.transmit(&mut self.env, text, false);
        }
    }

    /// One that is not for this phone (405), or of which nobody here has heard (RFC 3261, section 21.5.2).
    pub(super) fn method_not_allowed(&mut self, tx: TxId, method: &Method) {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        self.respond_with(tx, status, &[("Allow", capabilities::ALLOW)]);
    }

    /// What this phone can do (RFC 3261, section 11.2).
    pub(super) fn respond_to_options(&mut self, tx: TxId) {
        self.respond_with(tx, 200, &[("Allow", capabilities::ALLOW), ("Accept", description::ACCEPT)]);
    }

    pub(super) fn respond_refusal(
        &mut self,
        tx: TxId,
        (status, header): (u16, Option<(&'static str, String)>),
    ) {
        let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
        self.respond_with(tx, status, header.as_slice());
    }

    /// What cannot be done for any request: an extension that we lack (420), a URI that is not SIP (416) or none at all
    /// (400; RFC 5118, section 4.2).
    pub(super) fn unsupported(&self, request: &Request) -> Option<(u16, Option<(&'static str, String)>)> {
        match Uri::parse(&request.uri) {
            Ok(_) => {}
            Err(UriError::Scheme) => return Some((416, None)),
            Err(_) => return Some((400, None)),
        }
        let mut required = request.headers.values("Require");
        required.retain(|tag| !capabilities::REQUIRABLE.iter().any(|known| known.eq_ignore_ascii_case(tag)));
        if !required.is_empty() {
            return Some((420, Some(("Unsupported", list(&required)))));
        }
        None
    }
}
