//! A scripted PBX: registrar of one phone, and the other end of its calls (a back-to-back user agent), with the habits
//! of the PBXs that are out there as switches. It answers what the phone sends, acts when it is told to, and writes down
//! what a phone must never do. Tables and random days of it: `odd_pbx.rs`.

use std::collections::{BTreeMap, VecDeque};

use crate::bench::{both, direction, receives, sends};
use crate::bench::{ms, secs};
use crate::browser::{self, Line, attribute};
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::sip::header::NameAddr;
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::sip::sdp::{self, Direction};
use wasm_softphone::sip::wire::{self, Frame};
use wasm_softphone::time::{Duration, Instant};

/// The host of the other ends' Contact.
const HOST: &str = "pbx.example.com";
const REALM: &str = "example.com";
/// An answered or abandoned transaction is over after so long (RFC 3261, timers B and F).
const TRANSACTION: Duration = Duration::from_secs(32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crlf {
    Answers,
    Silent,
    /// For the first so many seconds of each socket.
    AnswersFor(u64),
    /// Closes the socket.
    Closes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    None,
    Ringing,
    /// 183 with a description that is not the one of the 200.
    Session,
    /// The same, and 180 behind it.
    SessionThenRinging,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line4916 {
    /// UPDATE without a body.
    Update,
    /// re-INVITE with the description as it is.
    Invite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// A phone without them gets 421.
    pub required: bool,
    /// Seconds; less gets 422.
    pub least: u32,
}

/// What a PBX does that others do not. The default is the plainest of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Habits {
    // registrar
    /// 401 and 407.
    pub challenges: bool,
    /// Registrars behind one name that do not share their nonces: a refresh is asked twice, and never called stale.
    pub foreign_nonces: bool,
    /// Keep-alive OPTIONS get 401.
    pub challenges_options: bool,
    /// re-INVITE and BYE get 407.
    pub challenges_within: bool,
    /// The Contact of the 200 is the address that the registrar sees.
    pub rewrites_contact: bool,
    /// And it keeps our `+sip.instance`.
    pub keeps_instance: bool,
    /// The 200 lists a desk phone first.
    pub lists_contacts: bool,
    /// What is granted, seconds.
    pub expires: u32,
    /// Accepts sockets before it is booted: the first REGISTER after a start is lost.
    pub drops_first_register: bool,
    pub crlf: Crlf,

    // calls
    /// INVITE without a body.
    pub third_party: bool,
    pub early: Early,
    /// UPDATE without a body before the answer.
    pub early_update: bool,
    /// re-INVITE as soon as a call is answered, by direct media for instance.
    pub reinvites_at_once: bool,
    /// Music on hold (`sendonly`), or `inactive`.
    pub music: bool,
    /// Resumes by a re-INVITE without a body.
    pub offerless_resume: bool,
    /// Every refresh is one too.
    pub offerless_refresh: bool,
    /// Answers a hold by `inactive` rather than `recvonly`.
    pub answers_inactive: bool,
    /// Takes the other role of DTLS in each answer.
    pub flips_setup: bool,
    pub fax: bool,
    pub video: bool,
    pub connected_line: Option<Line4916>,
    /// In Remote-Party-ID.
    pub remote_party_id: bool,
    /// OPTIONS within the dialog.
    pub pings: bool,
    /// With the next CSeq each time, which the BYE then uses again.
    pub reuses_cseq: bool,
    pub lacks_last_crlf: bool,
    pub multipart: bool,
    pub timers: Option<Timers>,
    /// Moves a call to another leg by INVITE with Replaces.
    pub replaces: bool,
}

impl Habits {
    pub const fn plain() -> Self {
        Self {
            challenges: false,
            foreign_nonces: false,
            challenges_options: false,
            challenges_within: false,
            rewrites_contact: false,
            keeps_instance: true,
            lists_contacts: false,
            expires: 600,
            drops_first_register: false,
            crlf: Crlf::Answers,
            third_party: false,
            early: Early::Ringing,
            early_update: false,
            reinvites_at_once: false,
            music: false,
            offerless_resume: false,
            offerless_refresh: false,
            answers_inactive: false,
            flips_setup: false,
            fax: false,
            video: false,
            connected_line: None,
            remote_party_id: false,
            pings: false,
            reuses_cseq: false,
            lacks_last_crlf: false,
            multipart: false,
            timers: None,
            replaces: false,
        }
    }

    pub const fn asterisk() -> Self {
        Self {
            challenges: true,
            challenges_options: true,
            lists_contacts: true,
            drops_first_register: true,
            crlf: Crlf::Silent,
            early: Early::SessionThenRinging,
            early_update: true,
            reinvites_at_once: true,
            fax: true,
            video: true,
            connected_line: Some(Line4916::Update),
            timers: Some(Timers { required: true, least: 90 }),
            replaces: true,
            ..Self::plain()
        }
    }

    pub const fn freeswitch() -> Self {
        Self {
            challenges: true,
            challenges_within: true,
            rewrites_contact: true,
            keeps_instance: false,
            lists_contacts: true,
            expires: 60,
            third_party: true,
            early: Early::Session,
            music: true,
            offerless_refresh: true,
            fax: true,
            connected_line: Some(Line4916::Update),
            remote_party_id: true,
            timers: Some(Timers { required: false, least: 120 }),
            ..Self::plain()
        }
    }

    pub const fn cucm() -> Self {
        Self {
            challenges: true,
            third_party: true,
            offerless_resume: true,
            connected_line: Some(Line4916::Invite),
            remote_party_id: true,
            answers_inactive: true,
            multipart: true,
            timers: Some(Timers { required: false, least: 1800 }),
            ..Self::plain()
        }
    }

    /// In front of a gateway, with `dialog` and its keep-alives.
    pub const fn kamailio() -> Self {
        Self {
            challenges: true,
            foreign_nonces: true,
            rewrites_contact: true,
            lists_contacts: true,
            pings: true,
            reuses_cseq: true,
            flips_setup: true,
            lacks_last_crlf: true,
            ..Self::plain()
        }
    }

    pub const fn three_cx() -> Self {
        Self {
            challenges: true,
            challenges_within: true,
            expires: 120,
            crlf: Crlf::AnswersFor(60),
            third_party: true,
            music: true,
            video: true,
            offerless_resume: true,
            connected_line: Some(Line4916::Invite),
            replaces: true,
            ..Self::plain()
        }
    }

    /// About a quarter of what there is.
    pub fn random(seed: u64) -> Self {
        let mut random = SeededEntropy::new(seed ^ 0x9b8);
        let mut one_of = |count| below(&mut random, count);
        let mut habits = Self::plain();
        habits.challenges = one_of(2) == 0;
        habits.expires = [60, 120, 600, 3600][usize::try_from(one_of(4)).unwrap()];
        habits.crlf = match one_of(6) {
            0 => Crlf::Silent,
            1 => Crlf::AnswersFor(60),
            2 => Crlf::Closes,
            _ => Crlf::Answers,
        };
        habits.early = match one_of(4) {
            0 => Early::None,
            1 => Early::Session,
            2 => Early::SessionThenRinging,
            _ => Early::Ringing,
        };
        habits.connected_line = match one_of(4) {
            0 => Some(Line4916::Update),
            1 => Some(Line4916::Invite),
            _ => None,
        };
        habits.timers = match one_of(6) {
            0 => Some(Timers { required: true, least: 90 }),
            1 => Some(Timers { required: false, least: 3600 }),
            _ => None,
        };
        habits.keeps_instance = one_of(2) == 0;
        habits.reuses_cseq = one_of(2) == 0;
        habits.remote_party_id = one_of(2) == 0;
        for habit in [
            &mut habits.foreign_nonces,
            &mut habits.challenges_options,
            &mut habits.challenges_within,
            &mut habits.rewrites_contact,
            &mut habits.lists_contacts,
            &mut habits.drops_first_register,
            &mut habits.third_party,
            &mut habits.early_update,
            &mut habits.reinvites_at_once,
            &mut habits.music,
            &mut habits.offerless_resume,
            &mut habits.offerless_refresh,
            &mut habits.answers_inactive,
            &mut habits.flips_setup,
            &mut habits.fax,
            &mut habits.video,
            &mut habits.pings,
            &mut habits.lacks_last_crlf,
            &mut habits.multipart,
            &mut habits.replaces,
        ] {
            *habit = one_of(4) == 0;
        }
        habits
    }

    /// What it does within a call, of itself.
    pub fn acts(&self) -> Vec<Act> {
        let mut acts = vec![Act::Hold(true), Act::Hold(false), Act::Refresh];
        for (habit, act) in [
            (self.fax, Act::Fax),
            (self.video, Act::Video),
            (self.connected_line.is_some(), Act::Line),
            (self.pings, Act::Ping),
            (self.replaces, Act::Replace),
        ] {
            if habit {
                acts.push(act);
            }
        }
        acts
    }
}

/// Something that the other end of a call, or the PBX between, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Hold(bool),
    /// Offers what is agreed.
    Refresh,
    Fax,
    Video,
    /// Somebody else is at the other end now.
    Line,
    Ping,
    Replace,
    Bye,
}

/// How far a call is at this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Our INVITE is out.
    Calling,
    /// The phone's is answered later.
    Ringing,
    Up,
    Over,
}

/// An offer of ours that waits for its answer, or the answer of ours to an offer of the phone.
#[derive(Debug, Clone)]
struct Offer {
    direction: Direction,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Asked {
    branch: String,
    method: Method,
    seq: u32,
    act: Option<Act>,
    /// `None` where the body was left out.
    offer: Option<Offer>,
    /// The party that it names.
    party: Option<u32>,
    until: Instant,
    answered: bool,
    invite: Request,
}

/// The other end of one call.
#[derive(Debug, Clone)]
pub struct Leg {
    pub call_id: String,
    pub stage: Stage,
    tag: String,
    their_tag: Option<String>,
    /// Whose call it is: From or To of the phone, without a tag.
    phone: String,
    target: String,
    seq: u32,
    their_seq: u32,
    /// The phone's INVITE that is not answered yet, or not acknowledged.
    invite: Option<Request>,
    /// Our 200 to that, until its ACK: when it goes out again, and how often it has.
    unacknowledged: Option<(Response, Instant, u32)>,
    /// Our offer in that 200.
    late: Option<Offer>,
    asked: Vec<Asked>,
    todo: VecDeque<Act>,
    not_before: Instant,
    /// Our user holds.
    pub holds: bool,
    version: u32,
    lines: Vec<Line>,
    /// As we see it.
    pub agreed: Option<Direction>,
    /// What the phone's last description said of itself: session, version, and all the rest.
    seen: Option<(String, u64, String)>,
    active: bool,
    pub party: u32,
    /// The last party that the phone has taken notice of.
    pub shown: u32,
    /// The phone has been challenged within this dialog.
    challenged: bool,
    /// Ends unless it is refreshed (RFC 4028): when, after so many seconds, and whether we do that.
    expires: Option<(Instant, u32, bool)>,
    replaces: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Early(String),
    Ring(String),
    Answer(String),
    Look(String),
    Refresh(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    Text(String),
    Close,
}

pub struct Pbx {
    pub habits: Habits,
    random: SeededEntropy,
    now: Instant,
    pub out: VecDeque<Out>,
    tasks: Vec<(Instant, Task)>,
    pub legs: Vec<Leg>,
    count: u32,

    // registrar
    /// The phone's Contact, and until when.
    pub binding: Option<(String, Instant)>,
    granted: bool,
    /// All that is asked gets this status until then.
    pub refuses: Option<(u16, Instant)>,
    nonce: u32,
    asked_twice: bool,
    connected: Option<Instant>,
    booted: bool,
    /// Challenges to what is no keep-alive.
    pub challenges: usize,

    /// The last response to each request, by its branch and method.
    said: BTreeMap<(String, String), String>,

    /// What a phone must not do.
    pub broken: Vec<String>,
    /// What the phone was seen to do.
    pub reached: Vec<&'static str>,
}

impl Pbx {
    pub fn new(habits: Habits, seed: u64, now: Instant) -> Self {
        Self {
            habits,
            random: SeededEntropy::new(seed ^ 0x1b0),
            now,
            out: VecDeque::new(),
            tasks: Vec::new(),
            legs: Vec::new(),
            count: 0,
            binding: None,
            granted: false,
            refuses: None,
            nonce: 1,
            asked_twice: false,
            connected: None,
            booted: false,
            challenges: 0,
            said: BTreeMap::new(),
            broken: Vec::new(),
            reached: Vec::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        below(&mut self.random, bound.max(1))
    }

    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    fn wrong(&mut self, what: impl Into<String>) {
        self.broken.push(format!("at {:?}: {}", self.now, what.into()));
    }

    fn send(&mut self, message: &Message) {
        if let Message::Response(_) = message {
            self.said.insert(transaction(message), message.to_text().unwrap());
        }
        if self.connected.is_some() {
            self.out.push_back(Out::Text(message.to_text().unwrap()));
        }
    }

    fn later(&mut self, wait: Duration, task: Task) {
        self.tasks.push((self.now + wait, task));
    }

    // ---- the connection

    pub fn connected(&mut self, now: Instant) {
        self.now = now;
        self.connected = Some(now);
    }

    pub fn lost(&mut self) {
        self.connected = None;
        self.out.clear();
    }

    pub fn ping(&mut self, now: Instant) {
        self.now = now;
        let since = self.connected.map_or(Duration::ZERO, |at| now - at);
        match self.habits.crlf {
            Crlf::Answers => self.out.push_back(Out::Text("\r\n".into())),
            Crlf::AnswersFor(time) if since < secs(time) => self.out.push_back(Out::Text("\r\n".into())),
            Crlf::AnswersFor(_) | Crlf::Silent => {}
            Crlf::Closes => self.out.push_back(Out::Close),
        }
    }

    /// It was started anew: nothing is known any more.
    pub fn restart(&mut self) {
        self.binding = None;
        self.booted = false;
        self.tasks.clear();
        self.said.clear();
        self.legs.clear();
    }

    // ---- the registrar

    pub fn is_registered(&self) -> bool {
        self.binding.as_ref().is_some_and(|(_, until)| *until > self.now)
    }

    /// Says this to every REGISTER for so long.
    pub fn refuse(&mut self, status: u16, time: Duration) {
        self.refuses = Some((status, self.now + time));
    }

    pub fn forget(&mut self) {
        self.binding = None;
    }

    fn challenge(&mut self, request: &Request, status: u16) {
        let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let mut response = request.response(status, None);
        response.set_to_tag("pbx");
        let nonce = self.nonce;
        response
            .headers
            .push(name, format!("Digest realm=\"{REALM}\", nonce=\"n{nonce}\", qop=\"auth\", algorithm=MD5"));
        self.send(&Message::Response(response));
    }

    /// Those of REGISTER are for the last nonce, the others for any that was ever given.
    fn has_current_credentials(&self, request: &Request, name: &str) -> bool {
        let any = request.method != Method::Register;
        request.headers.get_all(name).any(|value| {
            let nonce = value.split("nonce=\"n").nth(1).and_then(|rest| rest.split('"').next());
            nonce.and_then(|nonce| nonce.parse::<u32>().ok()).is_some_and(|nonce| any || nonce == self.nonce)
        })
    }

    fn on_register(&mut self, request: &Request) {
        if self.habits.drops_first_register && !core::mem::replace(&mut self.booted, true) {
            return;
        }
        let leaves = request.headers.get("Expires").is_some_and(|expires| expires.trim() == "0")
            || request.headers.get("Contact").is_some_and(|contact| contact.ends_with(";expires=0"));
        if let Some((status, until)) = self.refuses
            && until > self.now
            && !leaves
        {
            self.binding = None;
            self.reached.push("refused");
            if matches!(status, 401 | 407) {
                self.nonce += 1;
                self.challenges += 1;
                self.challenge(request, status);
            } else {
                let mut response = request.response(status, None);
                response.set_to_tag("pbx");
                self.send(&Message::Response(response));
            }
            return;
        }
        let answered = self.has_current_credentials(request, "Authorization");
        if self.habits.challenges && !answered {
            self.challenges += 1;
            if self.habits.foreign_nonces {
                self.nonce += 1;
            }
            self.challenge(request, 401);
            return;
        }
        if self.habits.challenges && self.habits.foreign_nonces && self.granted && !leaves {
            // The next in line has not seen this nonce.
            self.asked_twice = !self.asked_twice;
            self.nonce += 1;
            if self.asked_twice {
                self.challenges += 1;
                self.challenge(request, 401);
                return;
            }
        }
        let Some(contact) = request.headers.get("Contact").map(str::to_owned) else { return };
        let mut response = request.response(200, None);
        response.set_to_tag("pbx");
        if self.habits.lists_contacts {
            response.headers.push("Contact", "<sip:desk@192.0.2.77>;expires=3600");
        }
        if leaves {
            self.binding = None;
            self.granted = false;
        } else {
            let expires = self.habits.expires;
            let parsed = NameAddr::parse(&contact).unwrap();
            let shown = if self.habits.rewrites_contact {
                let user = parsed.uri.trim_start_matches("sip:").split('@').next().unwrap_or("x").to_owned();
                let instance = parsed.params.get("+sip.instance").filter(|_| self.habits.keeps_instance);
                let instance = instance.map(|id| format!(";+sip.instance=\"{id}\"")).unwrap_or_default();
                format!("<sip:{user}@198.51.100.7:40123;transport=ws>;expires={expires}{instance}")
            } else {
                let bare = contact.split(";expires=").next().unwrap_or_default().to_owned();
                format!("{bare};expires={expires}")
            };
            response.headers.push("Contact", shown);
            if let Some((_, until)) = &self.binding
                && *until < self.now
                && self.connected.is_some_and(|at| at < *until)
                && !self.habits.foreign_nonces
            {
                self.wrong(format!("the binding of {expires} s was not refreshed in time"));
            }
            self.binding = Some((parsed.uri, self.now + secs(expires.into())));
            self.granted = true;
            self.reached.push("registered");
        }
        self.send(&Message::Response(response));
    }

    // ---- what the phone sends

    /// Whether this is for the PBX, where it stands beside other parties.
    pub fn takes(&self, message: &Message) -> bool {
        let known =
            message.headers().call_id().is_some_and(|id| self.legs.iter().any(|leg| leg.call_id == id));
        known
            || matches!(message, Message::Request(request)
                if request.method == Method::Register
                    || request.uri.contains("sip:desk@")
                    || (request.method == Method::Options && !request.uri.contains('@')))
    }

    pub fn receive(&mut self, now: Instant, message: &Message) {
        self.now = now;
        match message {
            // Sent again, over another connection.
            Message::Request(_) if self.said.contains_key(&transaction(message)) => {
                let text = self.said[&transaction(message)].clone();
                if self.connected.is_some() {
                    self.out.push_back(Out::Text(text));
                }
            }
            Message::Request(request) => self.on_request(request),
            Message::Response(response) => self.on_response(response),
        }
    }

    fn respond(&mut self, request: &Request, status: u16) {
        let response = self.response(request, status);
        self.send(&Message::Response(response));
    }

    fn response(&self, request: &Request, status: u16) -> Response {
        let mut response = request.response(status, None);
        if status > 100 && request.headers.to_tag().is_none() {
            let leg = self.legs.iter().find(|leg| Some(leg.call_id.as_str()) == request.headers.call_id());
            response.set_to_tag(leg.map_or("pbx", |leg| leg.tag.as_str()));
        }
        response
    }

    fn leg_of(&self, message: &Message) -> Option<usize> {
        let id = message.headers().call_id()?;
        self.legs.iter().position(|leg| leg.call_id == id)
    }

    fn on_request(&mut self, request: &Request) {
        let at = self.leg_of(&Message::Request(request.clone()));
        let within = request.headers.to_tag().is_some();
        if within && let Some(at) = at {
            self.judge_privacy(at, request);
        }
        match (&request.method, at) {
            (Method::Register, _) => self.on_register(request),
            (Method::Options, None) => {
                let asks = self.habits.challenges_options && self.habits.challenges;
                if !asks {
                    self.respond(request, 200);
                } else if request.headers.get("Authorization").is_some() {
                    self.wrong("a keep-alive carries credentials");
                } else {
                    self.challenge(request, 401);
                }
            }
            (Method::Cancel, Some(at)) => {
                self.respond(request, 200);
                let leg = &mut self.legs[at];
                if leg.stage == Stage::Ringing
                    && let Some(invite) = leg.invite.take()
                {
                    leg.stage = Stage::Over;
                    self.respond(&invite, 487);
                } else if let Some(invite) = self.legs[at].invite.take() {
                    self.respond(&invite, 487);
                }
            }
            (Method::Invite, None) if !within => self.on_invite(request),
            (Method::Ack, at) => {
                if let Some(at) = at {
                    self.on_ack(at, request);
                }
            }
            (_, None) => self.respond(request, 481),
            (_, Some(at)) => self.on_request_within(at, request),
        }
    }

    /// Nothing within a dialog carries credentials that nobody has asked for; the ACK of a 2xx repeats its INVITE's.
    fn judge_privacy(&mut self, at: usize, request: &Request) {
        let shows =
            ["Authorization", "Proxy-Authorization"].iter().any(|name| request.headers.get(name).is_some());
        if shows && request.method != Method::Ack && !self.legs[at].challenged {
            self.wrong(format!("{} within the dialog has credentials, unasked", request.method.as_str()));
        }
    }

    fn on_invite(&mut self, request: &Request) {
        if request.headers.get("Replaces").is_some() {
            self.respond(request, 481);
            return;
        }
        if self.habits.challenges && !self.has_current_credentials(request, "Proxy-Authorization") {
            if self.habits.foreign_nonces {
                self.nonce += 1;
            }
            self.challenges += 1;
            self.challenge(request, 407);
            return;
        }
        if let Some(timers) = self.habits.timers {
            let supports = request.headers.contains_token("Supported", "timer");
            let asked = request.headers.number("Session-Expires");
            if timers.required && !supports {
                let mut response = self.response(request, 421);
                response.headers.push("Require", "timer");
                self.send(&Message::Response(response));
                return;
            }
            if asked.is_some_and(|asked| asked < timers.least) {
                let mut response = self.response(request, 422);
                response.headers.push("Min-SE", timers.least.to_string());
                self.send(&Message::Response(response));
                return;
            }
        }
        let call_id = request.headers.call_id().unwrap().to_owned();
        let mut leg = self.leg(&call_id, Stage::Ringing, request.headers.get("From").unwrap());
        leg.their_seq = request.headers.seq().unwrap();
        leg.invite = Some(request.clone());
        self.legs.push(leg);
        self.respond(request, 100);
        let at = self.legs.len() - 1;
        if let Some(body) = body_of(&request.headers, &request.body) {
            self.judge_description(at, &body, "INVITE", None);
        }
        let early = 20 + self.below(40);
        let answers = 200 + self.below(300);
        self.later(ms(early), Task::Early(call_id.clone()));
        if self.habits.early == Early::SessionThenRinging {
            self.later(ms(early + 60), Task::Ring(call_id.clone()));
        }
        self.later(ms(answers), Task::Answer(call_id));
    }

    fn leg(&mut self, call_id: &str, stage: Stage, phone: &str) -> Leg {
        let number = self.next();
        let their = NameAddr::parse(phone).unwrap();
        Leg {
            call_id: call_id.into(),
            stage,
            tag: format!("pbx{number}"),
            their_tag: their.tag().map(str::to_owned),
            phone: format!("<{}>", their.uri),
            target: their.uri,
            seq: 100,
            their_seq: 0,
            invite: None,
            unacknowledged: None,
            late: None,
            asked: Vec::new(),
            todo: VecDeque::new(),
            not_before: self.now,
            holds: false,
            version: 0,
            lines: Vec::new(),
            agreed: None,
            seen: None,
            active: true,
            party: 0,
            shown: 0,
            challenged: false,
            expires: None,
            replaces: None,
        }
    }

    fn on_ack(&mut self, at: usize, request: &Request) {
        let leg = &mut self.legs[at];
        let ours =
            leg.unacknowledged.as_ref().is_some_and(|(ok, ..)| ok.headers.seq() == request.headers.seq());
        if !ours {
            return;
        }
        leg.unacknowledged = None;
        leg.invite = None;
        if let Some(offer) = leg.late.take() {
            match body_of(&request.headers, &request.body) {
                Some(answer) => self.answered(at, &offer, &answer, "ACK"),
                None => self.wrong("an ACK without the answer"),
            }
        }
        self.settled(at);
    }

    /// A call is answered, or an exchange over: what waits goes on.
    fn settled(&mut self, at: usize) {
        let id = self.legs[at].call_id.clone();
        self.later(Duration::ZERO, Task::Look(id));
    }

    fn on_request_within(&mut self, at: usize, request: &Request) {
        let seq = request.headers.seq().unwrap();
        let leg = &mut self.legs[at];
        if seq <= leg.their_seq && leg.stage != Stage::Over {
            self.wrong(format!("{} with CSeq {seq} again", request.method.as_str()));
        }
        self.legs[at].their_seq = seq;
        let challenges = self.habits.challenges_within
            && matches!(request.method, Method::Invite | Method::Bye)
            && !self.has_current_credentials(request, "Proxy-Authorization");
        if challenges && self.habits.challenges {
            self.legs[at].challenged = true;
            self.challenges += 1;
            self.challenge(request, 407);
            return;
        }
        let leg = &mut self.legs[at];
        if request.method == Method::Bye {
            leg.stage = Stage::Over;
            leg.unacknowledged = None;
            self.respond(request, 200);
            return;
        }
        if leg.stage == Stage::Over {
            self.respond(request, 481);
            return;
        }
        if let Some(contact) = request.headers.get("Contact").and_then(|value| NameAddr::parse(value).ok()) {
            leg.target = contact.uri;
        }
        match request.method {
            Method::Invite | Method::Update => self.on_offer(at, request),
            Method::Refer => self.respond(request, 603),
            Method::Subscribe | Method::Publish => self.respond(request, 489),
            _ => self.respond(request, 200),
        }
    }

    fn on_offer(&mut self, at: usize, request: &Request) {
        let leg = &mut self.legs[at];
        let open = leg.asked.iter().any(|asked| !asked.answered && asked.method != Method::Options);
        let offered = leg.asked.iter().any(|asked| !asked.answered && asked.offer.is_some());
        let invite = request.method == Method::Invite;
        if invite && (leg.unacknowledged.is_some() || leg.invite.is_some()) {
            // The ACK may have been lost with a connection.
            self.respond(request, 500);
            return;
        }
        if (invite && open) || offered {
            self.respond(request, 491);
            return;
        }
        let mut response = self.response(request, 200);
        response.headers.push("Contact", format!("<sip:desk@{HOST}>"));
        self.keep_session(at, request, &mut response);
        match body_of(&request.headers, &request.body) {
            Some(offer) => {
                let lines = self.legs[at].lines.clone();
                self.judge_description(at, &offer, request.method.as_str(), Some(&lines));
                let answer = self.answer(at, &offer);
                self.attach(&mut response, answer);
            }
            None if invite => {
                let offer = self.offer(at, None);
                self.attach(&mut response, offer.1);
                self.legs[at].late = Some(offer.0);
            }
            None => {}
        }
        self.send(&Message::Response(response.clone()));
        if invite {
            self.legs[at].unacknowledged = Some((response, self.now + ms(500), 0));
        }
    }

    /// RFC 4028: the phone refreshes, since we ask it to.
    fn keep_session(&mut self, at: usize, request: &Request, response: &mut Response) {
        let Some(timers) = self.habits.timers else { return };
        if !request.headers.contains_token("Supported", "timer") {
            return;
        }
        let expires = request.headers.number("Session-Expires").unwrap_or(timers.least).max(timers.least);
        response.headers.push("Require", "timer");
        response.headers.push("Session-Expires", format!("{expires};refresher=uac"));
        self.legs[at].expires = Some((self.now + secs(expires.into()), expires, false));
    }

    /// What the phone makes of our own refresh: none any more, where it says nothing.
    fn session_accepted(&mut self, at: usize, response: &Response) {
        let Some(timers) = self.habits.timers else { return };
        let value = response.headers.get("Session-Expires").unwrap_or_default().to_owned();
        let granted: Option<u32> = value.split(';').next().and_then(|value| value.trim().parse().ok());
        if granted.is_some_and(|granted| granted < timers.least) {
            self.wrong(format!("Session-Expires {granted:?} below Min-SE {}", timers.least));
        }
        let ours = !value.contains("refresher=uas");
        self.legs[at].expires = granted.map(|granted| (self.now + secs(granted.into()), granted, ours));
        if let Some(granted) = granted.filter(|_| ours) {
            let id = self.legs[at].call_id.clone();
            self.later(secs(u64::from(granted) / 2), Task::Refresh(id));
        }
    }

    // ---- descriptions

    fn attach(&self, response: &mut Response, description: String) {
        let (kind, body) = self.wrap(description);
        response.headers.push("Content-Type", kind);
        response.body = body.into_bytes();
    }

    fn wrap(&self, mut description: String) -> (&'static str, String) {
        if self.habits.lacks_last_crlf {
            description.truncate(description.trim_end().len());
        }
        if self.habits.multipart {
            let body = format!(
                "--cut\r\nContent-Type: application/sdp\r\n\r\n{description}\r\n--cut\r\n\
                 Content-Type: application/x-of-the-pbx;version=1\r\nContent-Disposition: session;handling=optional\r\n\r\n\
                 m=nonsense\r\n--cut--\r\n"
            );
            ("multipart/mixed;boundary=cut", body)
        } else {
            ("application/sdp", description)
        }
    }

    /// What our user wants of the call.
    fn wish(&self, at: usize) -> Direction {
        direction(!self.legs[at].holds || self.habits.music, !self.legs[at].holds)
    }

    fn describe(&mut self, at: usize, lines: &[Line], setup: &str, way: Direction) -> String {
        let leg = &mut self.legs[at];
        leg.version += 1;
        let mut text = format!(
            "v=0\r\no=pbx 77 {} IN IP4 198.51.100.1\r\ns=call\r\nt=0 0\r\na=group:BUNDLE 0\r\n",
            leg.version
        );
        for line in lines {
            text += &format!("m={} {} {} {}\r\n", line.kind, line.port, line.protocol, line.formats);
            text += "c=IN IP4 198.51.100.1\r\n";
            if let Some(mid) = &line.mid {
                text += &format!("a=mid:{mid}\r\n");
            }
            if line.port != 0 && line.protocol.contains("SAVPF") {
                text += &format!(
                    "a=rtcp-mux\r\na=ice-ufrag:{tag}\r\na=ice-pwd:password\r\na=fingerprint:sha-256 {tag}\r\n\
                     a=setup:{setup}\r\na={}\r\n",
                    attribute(way),
                    tag = leg.tag,
                );
            }
        }
        text
    }

    fn offer(&mut self, at: usize, act: Option<Act>) -> (Offer, String) {
        let mut lines = self.legs[at].lines.clone();
        let line = |kind: &str, port, protocol: &str, formats: &str, mid: usize| Line {
            kind: kind.into(),
            port,
            protocol: protocol.into(),
            formats: formats.into(),
            mid: Some(mid.to_string()),
        };
        if lines.is_empty() {
            lines.push(line("audio", 40_000, "UDP/TLS/RTP/SAVPF", "8 101", 0));
        }
        match act {
            Some(Act::Fax) => {
                lines[0].port = 0;
                lines.push(line("image", 49_170, "udptl", "t38", lines.len()));
            }
            Some(Act::Video) => lines.push(line("video", 40_002, "UDP/TLS/RTP/SAVPF", "96", lines.len())),
            _ => {}
        }
        let direction = self.wish(at);
        let text = self.describe(at, &lines, "actpass", direction);
        (Offer { direction, lines }, text)
    }

    fn answer(&mut self, at: usize, offer: &str) -> String {
        let theirs = sdp::parse(offer).map_or(Direction::SendRecv, |info| info.direction);
        let mut way = both(theirs.reversed(), self.wish(at));
        if self.habits.answers_inactive && theirs == Direction::SendOnly {
            way = Direction::Inactive;
        }
        let mut lines = browser::lines(offer);
        for line in &mut lines {
            line.port = if line.kind == "audio" { 40_000 } else { 0 };
        }
        let flips = self.habits.flips_setup;
        let leg = &mut self.legs[at];
        leg.agreed = Some(way);
        leg.lines = lines.clone();
        if flips {
            leg.active = !leg.active;
        }
        let setup = if leg.active { "active" } else { "passive" };
        self.describe(at, &lines, setup, way)
    }

    /// The phone has answered our offer.
    fn answered(&mut self, at: usize, offer: &Offer, answer: &str, of: &str) {
        self.judge_description(at, answer, of, Some(&offer.lines));
        let theirs = sdp::parse(answer).map_or(Direction::SendRecv, |info| info.direction);
        let asked = offer.direction.reversed();
        if (sends(theirs) && !sends(asked)) || (receives(theirs) && !receives(asked)) {
            self.wrong(format!("{of} answers {asked:?} with {theirs:?}"));
        }
        let got = browser::lines(answer);
        if got.len() != offer.lines.len() {
            self.wrong(format!("{of} answers {} lines with {}", offer.lines.len(), got.len()));
        }
        if got.first().is_none_or(|line| line.port == 0) {
            self.wrong(format!("{of} takes an offer and refuses its audio"));
        }
        let leg = &mut self.legs[at];
        leg.agreed = Some(both(offer.direction, theirs.reversed()));
        leg.active = answer.contains("a=setup:passive");
        leg.lines = offer.lines.clone();
        for line in leg.lines.iter_mut().skip(1) {
            line.port = 0;
        }
    }

    /// RFC 3264, section 8: the session keeps its name and its lines, and each change has a higher version.
    fn judge_description(&mut self, at: usize, text: &str, of: &str, lines: Option<&[Line]>) {
        let origin: Vec<String> = text
            .lines()
            .find_map(|line| line.strip_prefix("o="))
            .map(|origin| origin.split(' ').map(str::to_owned).collect())
            .unwrap_or_default();
        if origin.len() != 6 || !text.ends_with("\r\n") {
            self.wrong(format!("{of}: no description: {text}"));
            return;
        }
        let version: u64 = origin[2].parse().unwrap();
        let rest: String = text.lines().filter(|line| !line.starts_with("o=")).collect();
        if let Some((session, last, before)) = self.legs[at].seen.clone() {
            if session != origin[1] {
                self.wrong(format!("{of}: another session id: {} after {session}", origin[1]));
            } else if version < last || (version == last && before != rest) {
                self.wrong(format!("{of}: version {version} after {last}"));
            }
        }
        self.legs[at].seen = Some((origin[1].clone(), version, rest));
        let found = browser::lines(text);
        let lines = lines.unwrap_or_default();
        let alike = lines.iter().zip(&found).all(|(one, other)| one.kind == other.kind);
        if found.len() < lines.len() || !alike {
            self.wrong(format!("{of}: fewer or other lines: {found:?} after {lines:?}"));
        }
        if let Some(line) = found.iter().skip(1).find(|line| line.port != 0) {
            self.wrong(format!("{of}: a line that is not the audio is taken: {line:?}"));
        }
    }

    // ---- what the PBX sends

    fn request(&mut self, at: usize, method: Method, seq: u32) -> Request {
        let number = self.next();
        let leg = &self.legs[at];
        let mut request = Request::new(method.clone(), leg.target.clone());
        let tag = leg.their_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default();
        for (name, value) in [
            ("Via", format!("SIP/2.0/WSS {HOST};branch=z9hG4bKpbx{number}")),
            ("Max-Forwards", "70".into()),
            ("From", format!("\"Desk\" <sip:desk@example.com>;tag={}", leg.tag)),
            ("To", format!("{}{tag}", leg.phone)),
            ("Call-ID", leg.call_id.clone()),
            ("CSeq", format!("{seq} {}", method.as_str())),
            ("Contact", format!("<sip:desk@{HOST}>")),
            ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO".into()),
        ] {
            request.headers.push(name, value);
        }
        request
    }

    fn ask_for_session(&self, request: &mut Request) {
        let Some(timers) = self.habits.timers else { return };
        request.headers.push("Session-Expires", timers.least.to_string());
        request.headers.push("Min-SE", timers.least.to_string());
    }

    fn name_party(&self, at: usize, request: &mut Request) -> Option<u32> {
        let party = self.legs[at].party;
        if party == 0 {
            return None;
        }
        if self.habits.remote_party_id {
            let value = format!("\"Party {party}\" <sip:party{party}@example.com>;party=calling;privacy=off");
            request.headers.push("Remote-Party-ID", value);
        } else {
            let value = format!("\"Party {party}\" <sip:party{party}@example.com>");
            request.headers.push("P-Asserted-Identity", value);
        }
        Some(party)
    }

    fn ask(
        &mut self,
        at: usize,
        request: Request,
        act: Option<Act>,
        offer: Option<Offer>,
        party: Option<u32>,
    ) {
        let branch = request.headers.top_via().unwrap().branch().unwrap().to_owned();
        let asked = Asked {
            branch,
            method: request.method.clone(),
            seq: request.headers.seq().unwrap(),
            act,
            offer,
            party,
            until: self.now + TRANSACTION,
            answered: false,
            invite: request.clone(),
        };
        self.send(&Message::Request(request));
        self.legs[at].asked.push(asked);
    }

    fn next_seq(&mut self, at: usize) -> u32 {
        self.legs[at].seq += 1;
        self.legs[at].seq
    }

    /// Calls the phone. Nothing happens where it is not registered.
    pub fn call(&mut self, now: Instant) -> bool {
        self.now = now;
        self.call_leg(None)
    }

    fn call_leg(&mut self, replaced: Option<usize>) -> bool {
        let Some((contact, _)) = self.binding.clone().filter(|_| self.is_registered()) else { return false };
        let number = self.next();
        let mut leg = self.leg(&format!("of-the-pbx-{number}"), Stage::Calling, "<sip:alice@example.com>");
        leg.target = contact;
        if let Some(old) = replaced {
            leg.holds = self.legs[old].holds;
            leg.replaces = Some(self.legs[old].call_id.clone());
        }
        self.legs.push(leg);
        let at = self.legs.len() - 1;
        let seq = self.next_seq(at);
        let mut request = self.request(at, Method::Invite, seq);
        request.headers.push("Supported", "timer, replaces");
        request.headers.push("P-Asserted-Identity", "\"Desk\" <sip:desk@example.com>");
        self.ask_for_session(&mut request);
        if let Some(old) = replaced {
            let old = &self.legs[old];
            let their = old.their_tag.clone().unwrap_or_default();
            let value = format!("{};to-tag={their};from-tag={}", old.call_id, old.tag);
            request.headers.push("Replaces", value);
            request.headers.push("Require", "replaces");
        }
        let offer = if self.habits.third_party {
            None
        } else {
            let (offer, text) = self.offer(at, None);
            let (kind, body) = self.wrap(text);
            request.headers.push("Content-Type", kind);
            request.body = body.into_bytes();
            Some(offer)
        };
        self.ask(at, request, None, offer, None);
        true
    }

    /// Gives up calls that are not answered.
    pub fn cancel(&mut self, now: Instant) {
        self.now = now;
        for at in 0..self.legs.len() {
            if self.legs[at].stage != Stage::Calling {
                continue;
            }
            let invite = self.legs[at].asked[0].invite.clone();
            let mut cancel = Request::new(Method::Cancel, invite.uri.clone());
            for name in ["Via", "Max-Forwards", "From", "To", "Call-ID"] {
                cancel.headers.push(name, invite.headers.get(name).unwrap());
            }
            cancel.headers.push("CSeq", format!("{} CANCEL", invite.headers.seq().unwrap()));
            self.send(&Message::Request(cancel));
        }
    }

    /// The other end of this call does something, as soon as it may.
    pub fn act(&mut self, now: Instant, leg: usize, act: Act) {
        self.now = now;
        if self.legs[leg].stage == Stage::Over {
            return;
        }
        match act {
            Act::Hold(on) => self.legs[leg].holds = on,
            Act::Line => self.legs[leg].party = self.count + 1,
            _ => {}
        }
        self.next();
        self.legs[leg].todo.push_back(act);
        self.settled(leg);
    }

    /// Takes up what is to be done, where nothing else goes on.
    fn go_on(&mut self, at: usize) {
        let leg = &self.legs[at];
        let early_line = leg.stage == Stage::Ringing && leg.todo.front() == Some(&Act::Line);
        if leg.stage != Stage::Up && !early_line {
            return;
        }
        let Some(act) = leg.todo.front().copied() else { return };
        if leg.not_before > self.now {
            let (wait, id) = (leg.not_before - self.now, leg.call_id.clone());
            self.later(wait, Task::Look(id));
            return;
        }
        let open = leg.asked.iter().any(|asked| !asked.answered && asked.method != Method::Options);
        let busy = open || leg.unacknowledged.is_some() || (leg.invite.is_some() && !early_line);
        // A BYE waits for nothing but the ACK of our own 200.
        if if act == Act::Bye { leg.unacknowledged.is_some() } else { busy } {
            return;
        }
        self.legs[at].todo.pop_front();
        self.do_act(at, act);
    }

    fn do_act(&mut self, at: usize, act: Act) {
        match act {
            Act::Ping => {
                // The dialog module does not tell the party whose numbers it uses.
                let seq = if self.habits.reuses_cseq { self.legs[at].seq + 1 } else { self.next_seq(at) };
                let request = self.request(at, Method::Options, seq);
                self.ask(at, request, Some(act), None, None);
            }
            Act::Bye => {
                let seq = self.next_seq(at);
                let request = self.request(at, Method::Bye, seq);
                self.legs[at].stage = Stage::Over;
                self.ask(at, request, Some(act), None, None);
            }
            Act::Replace => {
                self.call_leg(Some(at));
                self.settled(at);
            }
            Act::Line if self.habits.connected_line != Some(Line4916::Invite) || self.early(at) => {
                let seq = self.next_seq(at);
                let mut request = self.request(at, Method::Update, seq);
                if !self.early(at) {
                    request.headers.push("Supported", "timer");
                    self.ask_for_session(&mut request);
                }
                let party = self.name_party(at, &mut request);
                self.ask(at, request, Some(act), None, party);
            }
            Act::Hold(_) | Act::Refresh | Act::Fax | Act::Video | Act::Line => {
                let offerless = match act {
                    Act::Hold(false) => self.habits.offerless_resume,
                    Act::Refresh => self.habits.offerless_refresh,
                    _ => false,
                };
                let seq = self.next_seq(at);
                let mut request = self.request(at, Method::Invite, seq);
                request.headers.push("Supported", "timer");
                self.ask_for_session(&mut request);
                let party = self.name_party(at, &mut request);
                let offer = if offerless {
                    None
                } else {
                    let (offer, text) = self.offer(at, Some(act));
                    let (kind, body) = self.wrap(text);
                    request.headers.push("Content-Type", kind);
                    request.body = body.into_bytes();
                    Some(offer)
                };
                self.ask(at, request, Some(act), offer, party);
            }
        }
    }

    fn early(&self, at: usize) -> bool {
        matches!(self.legs[at].stage, Stage::Ringing | Stage::Calling)
    }

    fn on_response(&mut self, response: &Response) {
        let Some(at) = self.leg_of(&Message::Response(response.clone())) else { return };
        let branch = response.headers.top_via().and_then(|via| via.branch().map(str::to_owned));
        let cseq = response.headers.cseq();
        if cseq.as_ref().is_some_and(|cseq| cseq.method == Method::Cancel) {
            return;
        }
        let Some(which) = self.legs[at].asked.iter().position(|asked| Some(&asked.branch) == branch.as_ref())
        else {
            self.wrong(format!("a response to nothing: {}", response.to_text().unwrap()));
            return;
        };
        let asked = self.legs[at].asked[which].clone();
        if response.status < 200 {
            let leg = &mut self.legs[at];
            // Timer B is over with the first.
            leg.asked[which].until = self.now + secs(200);
            if leg.their_tag.is_none() && response.status > 100 {
                leg.their_tag = response.headers.to_tag();
                if let Some(contact) =
                    response.headers.get("Contact").and_then(|value| NameAddr::parse(value).ok())
                {
                    leg.target = contact.uri;
                }
                if self.habits.early_update && asked.act.is_none() {
                    self.legs[at].party = self.count + 1;
                    self.next();
                    self.do_act(at, Act::Line);
                }
            }
            return;
        }
        let repeated = core::mem::replace(&mut self.legs[at].asked[which].answered, true);
        match asked.method {
            Method::Invite if response.status < 300 => self.invite_accepted(at, &asked, response, repeated),
            Method::Invite => {
                self.acknowledge(at, &asked, response, None);
                if !repeated {
                    self.invite_refused(at, &asked, response.status);
                }
            }
            // 481: the phone has left meanwhile.
            Method::Bye if !matches!(response.status, 200 | 481) => {
                self.wrong(format!("BYE gets {}", response.status));
            }
            Method::Options if !matches!(response.status, 200 | 481) => {
                self.wrong(format!("OPTIONS within a call gets {}", response.status));
            }
            Method::Update if response.status < 300 => {
                if let Some(party) = asked.party {
                    self.legs[at].shown = party;
                }
                if !self.early(at) && !repeated {
                    self.session_accepted(at, response);
                }
                self.settled(at);
            }
            Method::Update => self.invite_refused(at, &asked, response.status),
            _ => self.settled(at),
        }
    }

    fn acknowledge(&mut self, at: usize, asked: &Asked, response: &Response, answer: Option<String>) {
        let mut ack = self.request(at, Method::Ack, asked.seq);
        if response.status >= 300 {
            ack.headers.set("Via", asked.invite.headers.get("Via").unwrap());
        }
        ack.headers.set("To", response.headers.get("To").unwrap());
        if let Some(answer) = answer {
            let (kind, body) = self.wrap(answer);
            ack.headers.push("Content-Type", kind);
            ack.body = body.into_bytes();
        }
        self.send(&Message::Request(ack));
    }

    fn invite_accepted(&mut self, at: usize, asked: &Asked, response: &Response, repeated: bool) {
        let leg = &mut self.legs[at];
        if let Some(contact) = response.headers.get("Contact").and_then(|value| NameAddr::parse(value).ok()) {
            leg.target = contact.uri;
        }
        if leg.their_tag.is_none() {
            leg.their_tag = response.headers.to_tag();
        }
        let body = body_of(&response.headers, &response.body);
        for name in ["Supported", "Allow", "Contact"] {
            if response.headers.get(name).is_none() {
                self.wrong(format!("a 200 to INVITE without {name}"));
            }
        }
        let answer = match (&asked.offer, &body) {
            (_, None) => {
                self.wrong("a 200 to INVITE without a description");
                None
            }
            (Some(offer), Some(answer)) => {
                if !repeated {
                    self.answered(at, offer, answer, "200");
                }
                None
            }
            (None, Some(offer)) => {
                if !repeated {
                    let lines = self.legs[at].lines.clone();
                    self.judge_description(at, offer, "200 with an offer", Some(&lines));
                }
                Some(self.answer(at, offer))
            }
        };
        let leg = &mut self.legs[at];
        let given_up = leg.stage == Stage::Over && asked.act.is_none();
        if leg.stage == Stage::Calling {
            leg.stage = Stage::Up;
            if let Some(old) = leg.replaces.take()
                && let Some(old) = self.legs.iter().position(|leg| leg.call_id == old)
                && self.legs[old].stage == Stage::Up
            {
                // RFC 3891, section 3: the phone ends the one that was replaced.
                self.reached.push("replaced");
            }
            if self.habits.reinvites_at_once {
                self.legs[at].todo.push_front(Act::Refresh);
            }
        }
        if let Some(party) = asked.party {
            self.legs[at].shown = party;
        }
        if !repeated {
            self.session_accepted(at, response);
        }
        self.acknowledge(at, asked, response, answer);
        if given_up && !repeated {
            self.do_act(at, Act::Bye);
        }
        match asked.act {
            Some(Act::Fax) => self.wrong("a fax was taken"),
            Some(Act::Hold(true)) => self.reached.push("held"),
            Some(Act::Hold(false)) => self.reached.push("resumed"),
            Some(Act::Video) => self.reached.push("video refused"),
            Some(Act::Line) => self.reached.push("line"),
            _ => {}
        }
        // The next thing is right behind the ACK.
        self.go_on(at);
    }

    fn invite_refused(&mut self, at: usize, asked: &Asked, status: u16) {
        let first = self.legs[at].stage == Stage::Calling && asked.method == Method::Invite;
        if first {
            self.legs[at].stage = Stage::Over;
            return;
        }
        let Some(act) = asked.act else { return };
        if self.legs[at].stage == Stage::Over {
            return;
        }
        match status {
            491 | 500 | 504 => {
                // Later, once more.
                let wait = 2_100 + self.below(1_900);
                self.legs[at].not_before = self.now + ms(wait);
                self.legs[at].todo.push_front(act);
            }
            // The BYE that has crossed is behind it.
            487 => {}
            408 | 481 => self.legs[at].stage = Stage::Over,
            488 if act == Act::Fax => self.reached.push("fax refused"),
            _ => self.wrong(format!("{act:?} gets {status}")),
        }
        self.settled(at);
    }

    // ---- time

    pub fn timeout(&self) -> Option<Instant> {
        let tasks = self.tasks.iter().map(|(at, _)| *at);
        let legs = self.legs.iter().filter(|leg| leg.stage != Stage::Over);
        let again = legs.clone().filter_map(|leg| leg.unacknowledged.as_ref().map(|(_, at, _)| *at));
        let ends = legs.clone().filter_map(|leg| leg.expires.map(|(at, ..)| at));
        let asked = self.legs.iter().flat_map(|leg| &leg.asked);
        let asked = asked.filter(|asked| !asked.answered).map(|asked| asked.until);
        tasks.chain(again).chain(ends).chain(asked).min()
    }

    pub fn poll(&mut self, now: Instant) {
        self.now = now;
        while let Some(due) = self.tasks.iter().position(|(at, _)| *at <= now) {
            let (_, task) = self.tasks.remove(due);
            self.do_task(&task);
        }
        for at in 0..self.legs.len() {
            self.poll_leg(at);
        }
    }

    fn poll_leg(&mut self, at: usize) {
        for which in 0..self.legs[at].asked.len() {
            let asked = &mut self.legs[at].asked[which];
            if asked.answered || asked.until > self.now {
                continue;
            }
            asked.answered = true;
            let leg = &mut self.legs[at];
            // RFC 3261, section 12.2.1.2: nobody is there any more.
            if leg.stage != Stage::Over && leg.asked[which].method != Method::Options {
                let was = core::mem::replace(&mut leg.stage, Stage::Over);
                if was == Stage::Calling {
                    continue;
                }
                let seq = self.next_seq(at);
                let bye = self.request(at, Method::Bye, seq);
                self.ask(at, bye, Some(Act::Bye), None, None);
            }
        }
        let leg = &mut self.legs[at];
        if leg.stage == Stage::Over {
            return;
        }
        if let Some((until, _, ours)) = leg.expires
            && until <= self.now
        {
            leg.expires = None;
            if self.connected.is_some_and(|since| until - since > secs(90)) && !ours {
                self.wrong("a session was not refreshed");
            }
            self.legs[at].stage = Stage::Over;
            return;
        }
        let Some((ok, next, times)) =
            self.legs[at].unacknowledged.clone().filter(|(_, next, _)| *next <= self.now)
        else {
            return;
        };
        if times >= 10 {
            // RFC 3261, section 13.3.1.4.
            self.legs[at].unacknowledged = None;
            self.legs[at].invite = None;
            self.do_act(at, Act::Bye);
            return;
        }
        let wait = ms(500 << (times + 1).min(3));
        self.send(&Message::Response(ok.clone()));
        self.legs[at].unacknowledged = Some((ok, next + wait, times + 1));
    }

    fn do_task(&mut self, task: &Task) {
        let (Task::Early(id) | Task::Ring(id) | Task::Answer(id) | Task::Look(id) | Task::Refresh(id)) = task;
        let Some(at) = self.legs.iter().position(|leg| leg.call_id == *id) else { return };
        match task {
            Task::Refresh(_) => {
                let leg = &mut self.legs[at];
                let due = |(until, time, ours): (Instant, u32, bool)| {
                    ours && until <= self.now + secs(u64::from(time).div_ceil(2))
                };
                if leg.stage == Stage::Up && leg.expires.is_some_and(due) {
                    leg.todo.push_back(Act::Refresh);
                    self.go_on(at);
                }
                return;
            }
            Task::Look(_) => {
                self.go_on(at);
                return;
            }
            Task::Early(_) | Task::Ring(_) | Task::Answer(_) => {}
        }
        let Some(invite) = self.legs[at].invite.clone().filter(|_| self.legs[at].stage == Stage::Ringing)
        else {
            return;
        };
        match task {
            Task::Early(_) if self.habits.early == Early::None => {}
            Task::Early(_) => {
                let described = matches!(self.habits.early, Early::Session | Early::SessionThenRinging);
                let mut response = self.response(&invite, if described { 183 } else { 180 });
                response.headers.push("Contact", format!("<sip:desk@{HOST}>"));
                if described && let Some(offer) = body_of(&invite.headers, &invite.body) {
                    // An announcement server's, which is not the callee.
                    let text = self.answer(at, &offer).replace(&self.legs[at].tag, "announcement");
                    self.attach(&mut response, text);
                }
                self.send(&Message::Response(response));
                if self.habits.early_update {
                    self.legs[at].party = self.count + 1;
                    self.next();
                    self.do_act(at, Act::Line);
                }
            }
            Task::Ring(_) => self.respond(&invite, 180),
            Task::Answer(_) => {
                let mut response = self.response(&invite, 200);
                response.headers.push("Contact", format!("<sip:desk@{HOST}>"));
                response.headers.push("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO");
                self.keep_session(at, &invite, &mut response);
                match body_of(&invite.headers, &invite.body) {
                    Some(offer) => {
                        let text = self.answer(at, &offer);
                        self.attach(&mut response, text);
                    }
                    None => self.wrong("an INVITE without an offer"),
                }
                self.send(&Message::Response(response.clone()));
                if let Some(contact) =
                    invite.headers.get("Contact").and_then(|value| NameAddr::parse(value).ok())
                {
                    self.legs[at].target = contact.uri;
                }
                self.legs[at].stage = Stage::Up;
                self.legs[at].unacknowledged = Some((response, self.now + ms(500), 0));
                if self.habits.reinvites_at_once {
                    self.legs[at].todo.push_back(Act::Refresh);
                }
            }
            Task::Look(_) | Task::Refresh(_) => {}
        }
    }

    /// Whether there is an end of this call here.
    pub fn has(&self, call_id: &str) -> bool {
        self.legs.iter().any(|leg| leg.call_id == call_id && leg.stage != Stage::Over)
    }

    /// The calls that are up here.
    pub fn up(&self) -> impl Iterator<Item = (usize, &Leg)> {
        self.legs.iter().enumerate().filter(|(_, leg)| leg.stage == Stage::Up)
    }
}

fn transaction(message: &Message) -> (String, String) {
    let headers = message.headers();
    let branch = headers.top_via().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default();
    (branch, headers.cseq().map(|cseq| cseq.method.as_str().to_owned()).unwrap_or_default())
}

/// The description in a body, which may have parts.
fn body_of(headers: &wasm_softphone::sip::message::Headers, body: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(body).ok()?;
    let kind = headers.content_type()?;
    (kind.eq_ignore_ascii_case("application/sdp") && !text.is_empty()).then(|| text.to_owned())
}

/// Reads what goes to the phone.
pub fn parse(text: &str) -> Option<Message> {
    match wire::parse(text.as_bytes()) {
        Ok(Frame::Message(message)) => Some(message),
        _ => None,
    }
}
