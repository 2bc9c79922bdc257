//! A simulated network: phones, links with delay that may be lost, and between them a proxy and registrar that forks
//! (RFC 3261, section 16). And a model of each phone's media half, which knows what could be heard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bench::{Bench, Media, both, config, direction_of, line, ms, receives, sends};
use crate::browser::Browser;
use crate::pbx::{Out, Pbx};
use crate::watch::Watch;
use crate::wire_rules::WireRules;
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::phone::{
    CallId, Credentials, Hint, Input, MediaCommand, MediaError, MediaSeq, MediaState, MediaValue,
    PhoneConfig, SocketId,
};
use wasm_softphone::sip::header::NameAddr;
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::sip::sdp::Direction;
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::time::{Duration, Instant};

const NAMES: [&str; 4] = ["A", "B", "C", "D"];
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const OWN_ROUTE: &str = "<sip:proxy.example.com;lr>";

/// What the media half of one call would do.
#[derive(Debug, Clone)]
pub struct MediaModel {
    pub flow: Direction,
    /// What both descriptions agree to, as this side sees it; `None` before the first answer.
    pub negotiated: Option<Direction>,
    offered: Option<Direction>,
    before: Option<Direction>,
    pub closed: bool,
    browser: Browser,
}

impl MediaModel {
    fn new(id: u64) -> Self {
        Self {
            flow: Direction::SendRecv,
            negotiated: None,
            offered: None,
            before: None,
            closed: false,
            browser: Browser::new(id),
        }
    }

    pub fn may_send(&self) -> bool {
        !self.closed && sends(self.flow) && self.negotiated.is_some_and(sends)
    }

    pub fn may_receive(&self) -> bool {
        !self.closed && receives(self.flow) && self.negotiated.is_some_and(receives)
    }
}

fn opens_microphone(command: &MediaCommand) -> bool {
    matches!(command, MediaCommand::CreateOffer | MediaCommand::CreateAnswer { .. })
}

struct Branch {
    phone: usize,
    request: Request,
    status: u16,
    response: Option<Response>,
}

/// One request on its way through the proxy, to one phone or to several.
struct Context {
    from: usize,
    request: Request,
    branches: Vec<Branch>,
    answered: bool,
    cancelled: bool,
    /// Before the proxy was restarted.
    forgotten: bool,
}

/// Messages between one phone and the proxy.
struct Link {
    up: VecDeque<(Instant, Message)>,
    down: VecDeque<(Instant, Out)>,
    delay: Duration,
    /// The connection that swallows everything and does not close.
    half_open: Option<SocketId>,
    /// The page is frozen until then.
    frozen: Option<Instant>,
}

pub struct Net {
    pub phones: Vec<Bench>,
    pub now: Instant,
    links: Vec<Link>,
    /// The phones of an address of record, by its user.
    pub bindings: BTreeMap<String, Vec<usize>>,
    /// The phone of a Contact host.
    hosts: BTreeMap<String, usize>,
    contexts: Vec<Context>,
    /// What phones and proxy have sent: `A INVITE`, `B 180 INVITE`, `P 407 INVITE`.
    pub log: Vec<String>,
    /// Each message that a phone has sent.
    pub trace: Vec<(usize, Message)>,
    pub media: Vec<BTreeMap<CallId, MediaModel>>,
    jobs: Vec<(Instant, usize, CallId, MediaSeq, MediaCommand)>,
    jitter: Option<SeededEntropy>,
    pub media_delay: u64,
    /// Ask for credentials (407 and 401).
    pub challenge: bool,
    /// What is held and audible all the same, as it is found.
    pub leaks: Vec<String>,
    /// Print each message.
    pub shows: bool,
    /// Who is registered, where phones have to be.
    pub registered: Option<BTreeSet<usize>>,
    /// Until when the registrar refuses these, and how.
    pub refuses_to_register: Vec<(Instant, u16)>,
    /// The next REGISTER of these is lost.
    pub drops_register: Vec<bool>,
    /// Until when the registrar has promised to know these.
    pub granted: Vec<Instant>,
    /// The next offer or answer of these phones fails: the user refuses the microphone.
    pub refuses_microphone: Vec<bool>,
    /// These users take so long to allow the next microphone.
    pub thinks_of_microphone: Vec<Duration>,
    /// Looks at every step.
    pub watch: Option<Watch>,
    /// Looks at every message.
    pub rules: WireRules,
    /// The PBX that a phone has beside the proxy: its registrar, and the other end of its calls with `desk`.
    pub pbx: Vec<Option<Pbx>>,
    /// What it has seen of the phone: the socket, and how many pings.
    pbx_saw: Vec<(Option<SocketId>, usize)>,
    connections: u64,
    /// What every question for credentials is answered with at once, and how many there were.
    pub credentials: Option<Credentials>,
    pub questions: usize,
}

pub fn settings(side: usize) -> PhoneConfig {
    let mut config = config();
    config.uri = Uri::parse(&format!("sip:{}@example.com", USERS[side])).unwrap();
    config.display_name = None;
    config
}

impl Net {
    /// This many phones, with a link delay of 10 ms and no jitter.
    pub fn new(count: usize) -> Self {
        Self::with(count, None, |_, _| {})
    }

    pub fn with(count: usize, seed: Option<u64>, change: impl Fn(usize, &mut PhoneConfig)) -> Self {
        Self::beside(count, seed, change, |_, _| None)
    }

    /// The same, where phones have a PBX beside the proxy.
    pub fn beside(
        count: usize,
        seed: Option<u64>,
        change: impl Fn(usize, &mut PhoneConfig),
        pbx: impl Fn(usize, Instant) -> Option<Pbx>,
    ) -> Self {
        let mut phones: Vec<Bench> = (0..count)
            .map(|side| {
                let mut config = settings(side);
                change(side, &mut config);
                let mut bench = Bench::seeded(
                    config,
                    seed.unwrap_or(0).wrapping_mul(8) + u64::try_from(side).unwrap() + 1,
                );
                bench.media = Media::Manual;
                bench
            })
            .collect();
        let pbx: Vec<_> = phones.iter().enumerate().map(|(side, bench)| pbx(side, bench.now)).collect();
        for (phone, pbx) in phones.iter_mut().zip(&pbx) {
            phone.raw = pbx.is_some();
            phone.connect();
        }
        Self {
            now: phones[0].now,
            links: (0..count)
                .map(|_| Link {
                    up: VecDeque::new(),
                    down: VecDeque::new(),
                    delay: ms(10),
                    half_open: None,
                    frozen: None,
                })
                .collect(),
            bindings: (0..count).map(|side| (USERS[side].to_owned(), vec![side])).collect(),
            hosts: BTreeMap::new(),
            contexts: Vec::new(),
            log: Vec::new(),
            trace: Vec::new(),
            media: vec![BTreeMap::new(); count],
            jobs: Vec::new(),
            jitter: seed.map(|seed| SeededEntropy::new(seed ^ 0x5eed)),
            media_delay: 1,
            challenge: false,
            leaks: Vec::new(),
            shows: std::env::var("SIM_SEED").is_ok(),
            registered: None,
            refuses_to_register: vec![(Instant::ZERO, 0); count],
            drops_register: vec![false; count],
            granted: vec![Instant::ZERO; count],
            refuses_microphone: vec![false; count],
            thinks_of_microphone: vec![Duration::ZERO; count],
            watch: None,
            rules: WireRules::default(),
            pbx,
            pbx_saw: vec![(None, 0); count],
            connections: 0,
            credentials: None,
            questions: 0,
            phones,
        }
    }

    fn random(&mut self, bound: u64) -> u64 {
        self.jitter.as_mut().map_or(0, |entropy| below(entropy, bound.max(1)))
    }

    // ---- the media half

    fn take_jobs(&mut self, side: usize) {
        for (call, seq, command) in core::mem::take(&mut self.phones[side].jobs) {
            let delay = self.random(self.media_delay);
            self.connections += 1;
            let connections = self.connections;
            let model = self.media[side].entry(call).or_insert_with(|| MediaModel::new(connections));
            assert!(!model.closed, "{}: {command:?} after Close", NAMES[side]);
            match command {
                MediaCommand::Flow(direction) => model.flow = direction,
                MediaCommand::Close => model.closed = true,
                MediaCommand::Rollback => {
                    model.offered = None;
                    model.negotiated = model.before;
                    model.browser.rollback();
                    // What is being made for a job that is taken back does not become the description.
                    self.jobs.retain(|job| {
                        job.1 != side || job.2 != call || matches!(job.4, MediaCommand::SetAnswer { .. })
                    });
                }
                MediaCommand::TakeLocal | MediaCommand::OpenGate => {}
                command => {
                    // A session does one job after the other.
                    let last =
                        self.jobs.iter().filter(|job| job.1 == side && job.2 == call).map(|job| job.0).max();
                    let mut at = (self.now + ms(delay)).max(last.unwrap_or(self.now));
                    if opens_microphone(&command) {
                        at = at + core::mem::take(&mut self.thinks_of_microphone[side]);
                    }
                    self.jobs.push((at, side, call, seq, command));
                }
            }
        }
    }

    fn do_job(&mut self, side: usize, call: CallId, seq: MediaSeq, command: &MediaCommand) {
        let Some(model) = self.media[side].get_mut(&call).filter(|model| !model.closed) else { return };
        if opens_microphone(command) && core::mem::take(&mut self.refuses_microphone[side]) {
            self.phones[side].input(Input::MediaDone { call, seq, result: Err(MediaError::Denied) });
            self.look(side);
            return;
        }
        self.connections += 1;
        let fresh = self.connections;
        let mut values = vec![MediaValue::Gathering];
        let mut connected = false;
        let mut refused = None;
        match command {
            MediaCommand::CreateOffer => {
                model.offered = Some(Direction::SendRecv);
                values.push(MediaValue::Local(model.browser.offer(Direction::SendRecv, false)));
            }
            MediaCommand::Resume { direction }
            | MediaCommand::Reoffer { direction }
            | MediaCommand::RestartIce { direction } => {
                model.before = model.negotiated;
                model.offered = Some(*direction);
                let restart = matches!(command, MediaCommand::RestartIce { .. });
                values.push(MediaValue::Local(model.browser.offer(*direction, restart)));
            }
            MediaCommand::CreateAnswer { offer } => {
                match model.browser.answer(offer, Direction::SendRecv, fresh) {
                    Ok(answer) => {
                        model.negotiated = Some(direction_of(offer).reversed());
                        model.before = model.negotiated;
                        values.push(MediaValue::Local(answer));
                        connected = true;
                    }
                    Err(reason) => refused = Some(reason),
                }
            }
            MediaCommand::Renegotiate { offer, direction } => {
                match model.browser.answer(offer, *direction, fresh) {
                    Ok(answer) => {
                        model.before = model.negotiated;
                        model.negotiated = Some(both(direction_of(offer).reversed(), *direction));
                        values.push(MediaValue::Local(answer));
                    }
                    Err(reason) => refused = Some(reason),
                }
            }
            MediaCommand::SetAnswer { answer, provisional } => {
                match model.browser.set_answer(answer, *provisional) {
                    Ok(()) => {
                        let offered = model.offered.unwrap_or(Direction::SendRecv);
                        model.negotiated = Some(both(direction_of(answer).reversed(), offered));
                        model.before = model.negotiated;
                        values = vec![MediaValue::Applied];
                        connected = true;
                    }
                    Err(reason) => refused = Some(reason),
                }
            }
            MediaCommand::OpenMicrophone => values = vec![MediaValue::Microphone],
            _ => return,
        }
        if let Some(reason) = refused {
            self.log.push(format!("{} refuses a description: {reason}", NAMES[side]));
            self.phones[side].input(Input::MediaDone { call, seq, result: Err(MediaError::Refused(reason)) });
            self.look(side);
            return;
        }
        for value in values {
            self.phones[side].input(Input::MediaDone { call, seq, result: Ok(value) });
            self.look(side);
        }
        if connected {
            self.phones[side].input(Input::MediaState { call, state: MediaState::Connected });
            self.look(side);
        }
    }

    /// Takes what a phone has put out, and checks that what is held is not audible.
    pub fn look(&mut self, side: usize) {
        if let Some(dead) = self.links[side].half_open
            && self.phones[side].socket != Some(dead)
        {
            // It was given up.
            self.links[side].half_open = None;
            self.phones[side].answers_crlf = true;
            self.phones[side].answers_options = true;
        }
        self.take_jobs(side);
        while self.credentials.is_some() && !self.phones[side].questions.is_empty() {
            let (id, _) = self.phones[side].questions.remove(0);
            self.questions += 1;
            let input = Input::Credentials(id, self.credentials.clone());
            self.phones[side].input(input);
            self.take_jobs(side);
        }
        self.serve(side);
        for message in core::mem::take(&mut self.phones[side].sent) {
            self.log.push(format!("{} {}", NAMES[side], line(&message)));
            if self.shows {
                println!("{:?} {}\n{}", self.now, NAMES[side], message.to_text().unwrap());
            }
            self.trace.push((side, message.clone()));
            let at = self.arrival(side, true);
            if self.links[side].half_open.is_none() {
                self.links[side].up.push_back((at, message));
            }
        }
        for info in self.phones[side].phone.calls() {
            let Some(model) = self.media[side].get(&info.id) else { continue };
            let may_send = model.may_send() && (info.local_hold || info.remote_hold);
            let may_receive = model.may_receive() && info.local_hold;
            if may_send || may_receive {
                self.leaks.push(format!("{} at {:?}: {info:?} {model:?}", NAMES[side], self.now));
            }
        }
    }

    fn arrival(&mut self, side: usize, up: bool) -> Instant {
        let extra = self.random(40);
        let link = &self.links[side];
        let at = self.now + link.delay + ms(extra);
        // A WebSocket delivers in order.
        let last =
            if up { link.up.back().map(|(last, _)| *last) } else { link.down.back().map(|(last, _)| *last) };
        last.map_or(at, |last| at.max(last))
    }

    /// Tells a PBX of the phone's socket and pings, and sends what it has to say.
    fn serve(&mut self, side: usize) {
        let Some(pbx) = &mut self.pbx[side] else { return };
        let (socket, pings) = (self.phones[side].socket, self.phones[side].pings);
        let (seen, heard) = core::mem::replace(&mut self.pbx_saw[side], (socket, pings));
        if seen != socket {
            pbx.lost();
            if socket.is_some() {
                pbx.connected(self.now);
            }
        }
        if self.links[side].half_open.is_none() {
            (heard..pings).for_each(|_| pbx.ping(self.now));
        }
        for out in core::mem::take(&mut pbx.out) {
            if let Out::Text(text) = &out {
                let what = crate::pbx::parse(text).map_or_else(|| "pong".into(), |message| line(&message));
                self.log.push(format!("PBX {what}"));
                if self.shows {
                    println!("{:?} PBX\n{text}", self.now);
                }
            }
            let at = self.arrival(side, false);
            if self.links[side].half_open.is_none() {
                self.links[side].down.push_back((at, out));
            }
        }
    }

    /// Does something at a PBX, and takes what it puts out.
    pub fn at_pbx<T>(&mut self, side: usize, what: impl FnOnce(&mut Pbx, Instant) -> T) -> T {
        let now = self.now;
        let result = what(self.pbx[side].as_mut().expect("there is no PBX"), now);
        self.look(side);
        result
    }

    // ---- the proxy

    fn deliver(&mut self, side: usize, message: Message) {
        let at = self.arrival(side, false);
        if self.links[side].half_open.is_none() {
            self.links[side].down.push_back((at, Out::Text(message.to_text().unwrap())));
        }
    }

    fn is_up(&self, side: usize) -> bool {
        self.phones[side].socket.is_some()
    }

    fn own_response(&mut self, to: usize, response: Response) {
        let message = Message::Response(response);
        self.log.push(format!("P {}", line(&message)));
        self.deliver(to, message);
    }

    fn refuse(&mut self, to: usize, request: &Request, status: u16) {
        let mut response = request.response(status, None);
        response.set_to_tag("proxy");
        match status {
            407 => response
                .headers
                .push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\""),
            401 => response
                .headers
                .push("WWW-Authenticate", "Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\""),
            _ => {}
        }
        self.own_response(to, response);
    }

    fn on_message(&mut self, from: usize, message: Message) {
        let for_pbx = self.pbx[from].as_ref().is_some_and(|pbx| pbx.takes(&message));
        // A PBX may challenge within a dialog, and judges that itself.
        if !for_pbx || matches!(message, Message::Response(_)) {
            self.rules.look(from, &self.phones[from].config, &message);
        }
        if let Some(pbx) = self.pbx[from].as_mut().filter(|_| for_pbx) {
            pbx.receive(self.now, &message);
            let registered = pbx.is_registered();
            if let Some(all) = &mut self.registered {
                if registered {
                    all.insert(from)
                } else {
                    all.remove(&from)
                };
            }
            self.serve(from);
            return;
        }
        if let Some(contact) = message.headers().get("Contact").and_then(|value| NameAddr::parse(value).ok())
            && let Ok(uri) = Uri::parse(&contact.uri)
            && uri.host.ends_with(".invalid")
        {
            self.hosts.insert(uri.host, from);
        }
        match message {
            Message::Request(request) => self.on_request(from, request),
            Message::Response(response) => self.on_response(from, response),
        }
    }

    fn on_request(&mut self, from: usize, mut request: Request) {
        let branch = |request: &Request| request.headers.get("Via").map(str::to_owned);
        let known = self.contexts.iter().position(|context| {
            !context.forgotten && context.from == from && branch(&context.request) == branch(&request)
        });
        match request.method {
            Method::Register => {
                if core::mem::take(&mut self.drops_register[from]) {
                    return;
                }
                let (until, status) = self.refuses_to_register[from];
                if self.now < until {
                    self.registered.as_mut().map(|all| all.remove(&from));
                    self.refuse(from, &request, status);
                    return;
                }
                if self.challenge && request.headers.get("Authorization").is_none() {
                    self.refuse(from, &request, 401);
                    return;
                }
                let mut response = request.response(200, None);
                response.set_to_tag("registrar");
                if let Some(contact) = request.headers.get("Contact").filter(|contact| *contact != "*") {
                    response.headers.push("Contact", format!("{contact};expires=600"));
                }
                let leaves = request.headers.get("Expires").is_some_and(|expires| expires.trim() == "0")
                    || request.headers.get("Contact").is_some_and(|contact| contact.ends_with(";expires=0"));
                if let Some(registered) = &mut self.registered {
                    if leaves {
                        registered.remove(&from)
                    } else {
                        registered.insert(from)
                    };
                    self.granted[from] = self.now + Duration::from_secs(600);
                }
                self.own_response(from, response);
                return;
            }
            Method::Cancel => {
                let Some(known) = known else {
                    self.refuse(from, &request, 481);
                    return;
                };
                self.own_response(from, request.response(200, None));
                self.contexts[known].cancelled = true;
                self.cancel_branches(known, request.headers.get("Reason").map(str::to_owned));
                return;
            }
            // For a refusal, which the proxy has acknowledged itself.
            Method::Ack if known.is_some() => return,
            _ => {}
        }
        if request.headers.get("Route").is_some_and(|route| route.contains("proxy.example.com")) {
            request.headers.remove_first("Route");
        }
        let uri = Uri::parse(&request.uri).ok();
        let in_dialog = request.headers.to_tag().is_some();
        let asks = matches!(request.method, Method::Invite | Method::Message) && !in_dialog;
        if self.challenge && asks && request.headers.get("Proxy-Authorization").is_none() {
            // Its ACK is to be recognized.
            self.refuse(from, &request, 407);
            self.contexts.push(Context {
                from,
                request,
                branches: Vec::new(),
                answered: true,
                cancelled: false,
                forgotten: false,
            });
            return;
        }
        let mut targets = match &uri {
            Some(uri) if uri.host.ends_with(".invalid") => {
                self.hosts.get(&uri.host).copied().into_iter().collect()
            }
            Some(uri) => {
                self.bindings.get(uri.user.as_deref().unwrap_or_default()).cloned().unwrap_or_default()
            }
            None => Vec::new(),
        };
        let registered = self.registered.as_ref().filter(|_| !in_dialog);
        targets.retain(|target| *target != from && registered.is_none_or(|all| all.contains(target)));
        let known_target = !targets.is_empty();
        targets.retain(|target| self.is_up(*target));
        if request.method != Method::Invite {
            targets.truncate(1);
        }
        if request.method == Method::Ack {
            for target in targets {
                let mut ack = request.clone();
                ack.headers.push_front("Via", "SIP/2.0/WSS proxy.example.com;branch=z9hG4bKpack");
                self.deliver(target, Message::Request(ack));
            }
            return;
        }
        if targets.is_empty() {
            let status = match (known_target, in_dialog) {
                (true, _) => 480,
                (false, true) => 481,
                (false, false) => 404,
            };
            self.refuse(from, &request, status);
            self.contexts.push(Context {
                from,
                request,
                branches: Vec::new(),
                answered: true,
                cancelled: false,
                forgotten: false,
            });
            return;
        }
        if request.method == Method::Invite {
            self.own_response(from, request.response(100, None));
        }
        let number = self.contexts.len();
        let mut branches = Vec::new();
        for (fork, phone) in targets.into_iter().enumerate() {
            let mut forwarded = request.clone();
            if matches!(forwarded.method, Method::Invite | Method::Subscribe | Method::Refer) {
                forwarded.headers.push_front("Record-Route", OWN_ROUTE);
            }
            forwarded
                .headers
                .push_front("Via", format!("SIP/2.0/WSS proxy.example.com;branch=z9hG4bKp{number}-{fork}"));
            self.deliver(phone, Message::Request(forwarded.clone()));
            branches.push(Branch { phone, request: forwarded, status: 0, response: None });
        }
        self.contexts.push(Context {
            from,
            request,
            branches,
            answered: false,
            cancelled: false,
            forgotten: false,
        });
    }

    /// CANCEL to the branches without a final response (RFC 3261, section 16.10).
    fn cancel_branches(&mut self, context: usize, reason: Option<String>) {
        let mut cancels = Vec::new();
        for branch in &self.contexts[context].branches {
            if branch.status >= 200 {
                continue;
            }
            let mut cancel = Request::new(Method::Cancel, branch.request.uri.clone());
            for name in ["Via", "From", "To", "Call-ID"] {
                cancel.headers.push(name, branch.request.headers.get(name).unwrap());
            }
            let seq = branch.request.headers.seq().unwrap();
            cancel.headers.push("CSeq", format!("{seq} CANCEL"));
            cancel.headers.push("Max-Forwards", "70");
            if let Some(reason) = &reason {
                cancel.headers.push("Reason", reason.as_str());
            }
            cancels.push((branch.phone, cancel));
        }
        for (phone, cancel) in cancels {
            self.log.push(format!("P CANCEL > {}", NAMES[phone]));
            self.deliver(phone, Message::Request(cancel));
        }
    }

    fn on_response(&mut self, from: usize, mut response: Response) {
        let Some(via) = response.headers.remove_first("Via") else { return };
        let Some((number, fork)) = via.split_once("z9hG4bKp").and_then(|(_, id)| id.split_once('-')) else {
            return;
        };
        let fork: String = fork.chars().take_while(char::is_ascii_digit).collect();
        let (Ok(number), Ok(fork)) = (number.parse::<usize>(), fork.parse::<usize>()) else { return };
        // The 200 to a CANCEL of the proxy ends here.
        if response.headers.cseq().is_some_and(|cseq| cseq.method == Method::Cancel) {
            return;
        }
        self.on_branch(from, number, fork, response);
    }

    fn on_branch(&mut self, phone: usize, number: usize, fork: usize, response: Response) {
        let status = response.status;
        let context = &mut self.contexts[number];
        if context.forgotten {
            return;
        }
        let to = context.from;
        let invite = context.request.method == Method::Invite;
        let branch = &mut context.branches[fork];
        assert_eq!(branch.phone, phone);
        if status == 100 {
            return;
        }
        if status < 200 {
            if branch.status < 200 && !context.answered {
                branch.status = status;
                self.deliver(to, Message::Response(response));
            }
            return;
        }
        let first = branch.status < 200;
        branch.status = status;
        if status < 300 {
            // Each 2xx goes to the caller, those of other forks and repeated ones too (RFC 3261, section 16.7).
            let first = !core::mem::replace(&mut context.answered, true);
            self.deliver(to, Message::Response(response));
            if invite && first {
                let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
                self.cancel_branches(number, Some(reason.into()));
            }
            return;
        }
        if invite && self.is_up(phone) {
            let mut ack = Request::new(Method::Ack, self.contexts[number].branches[fork].request.uri.clone());
            let of = &self.contexts[number].branches[fork].request;
            for name in ["Via", "From", "Call-ID"] {
                ack.headers.push(name, of.headers.get(name).unwrap());
            }
            ack.headers.push("To", response.headers.get("To").unwrap());
            ack.headers.push("CSeq", format!("{} ACK", of.headers.seq().unwrap()));
            ack.headers.push("Max-Forwards", "70");
            self.deliver(phone, Message::Request(ack));
        }
        if !first {
            return;
        }
        let context = &mut self.contexts[number];
        context.branches[fork].response = Some(response);
        if context.answered {
            return;
        }
        if status >= 600 && !context.cancelled {
            context.cancelled = true;
            self.cancel_branches(number, None);
        }
        let context = &mut self.contexts[number];
        if context.branches.iter().all(|branch| branch.status >= 300) {
            context.answered = true;
            let best = context
                .branches
                .iter()
                .filter_map(|branch| branch.response.clone())
                .min_by_key(|response| if response.status >= 600 { 0 } else { response.status });
            if let Some(best) = best {
                self.deliver(to, Message::Response(best));
            }
        }
    }

    // ---- time and links

    /// The socket of a phone is lost, with what was on its way. It may come back at once, or when `reachable` is
    /// set again.
    pub fn cut(&mut self, side: usize, reachable: bool) {
        self.phones[side].reachable = reachable;
        if !self.is_up(side) {
            return;
        }
        // What is due comes before the loss is known.
        self.phones[side].input(Input::Timer);
        if !self.is_up(side) {
            return;
        }
        self.links[side].up.clear();
        self.links[side].down.clear();
        self.phones[side].cut();
        self.look(side);
        // The proxy gives up what waits for an answer from there.
        let waiting: Vec<(usize, usize)> = self
            .contexts
            .iter()
            .enumerate()
            .flat_map(|(number, context)| {
                context.branches.iter().enumerate().map(move |(fork, branch)| (number, fork, branch))
            })
            .filter(|(_, _, branch)| branch.phone == side && branch.status < 200)
            .map(|(number, fork, _)| (number, fork))
            .collect();
        for (number, fork) in waiting {
            let mut response = self.contexts[number].branches[fork].request.response(480, None);
            response.set_to_tag("proxy");
            response.headers.remove_first("Via");
            self.on_branch(side, number, fork, response);
        }
    }

    // ---- what goes wrong

    /// The proxy and registrar loses everything that it knew, and every connection.
    pub fn restart(&mut self) {
        for context in &mut self.contexts {
            context.forgotten = true;
        }
        self.hosts.clear();
        self.pbx.iter_mut().flatten().for_each(Pbx::restart);
        if let Some(registered) = &mut self.registered {
            registered.clear();
        }
        // It takes connections before it is ready for what comes over them.
        self.drops_register.fill(true);
        for side in 0..self.phones.len() {
            self.cut(side, false);
        }
    }

    /// The connection of a phone swallows everything from now on, and neither side is told.
    pub fn half_open(&mut self, side: usize) {
        self.links[side].half_open = self.phones[side].socket;
        self.phones[side].answers_crlf = self.links[side].half_open.is_none();
        self.phones[side].answers_options = self.links[side].half_open.is_none();
        self.links[side].up.clear();
        self.links[side].down.clear();
    }

    /// The page does nothing for so long; what comes waits.
    pub fn freeze(&mut self, side: usize, time: Duration) {
        self.links[side].frozen = Some(self.now + time);
    }

    /// Everything works again. Pages thaw, dead connections are still to be found.
    pub fn heal(&mut self) {
        for side in 0..self.phones.len() {
            self.refuses_to_register[side].0 = self.now;
            self.drops_register[side] = false;
            self.refuses_microphone[side] = false;
            self.thinks_of_microphone[side] = Duration::ZERO;
            self.phones[side].reachable = true;
            if self.links[side].frozen.is_some() {
                self.links[side].frozen = Some(self.now);
            }
        }
    }

    pub fn is_frozen(&self, side: usize) -> bool {
        self.links[side].frozen.is_some()
    }

    fn thaw(&mut self, side: usize) {
        if self.links[side].frozen.is_some_and(|until| until <= self.now) {
            self.links[side].frozen = None;
            self.phones[side].input(Input::Hint(Hint::Woken));
            self.look(side);
        }
    }

    pub fn delay(&mut self, side: usize, delay: Duration) {
        self.links[side].delay = delay;
    }

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        for bench in &mut self.phones {
            bench.now = now;
        }
    }

    fn step(&mut self, end: Instant) -> bool {
        for side in 0..self.phones.len() {
            self.look(side);
        }
        if let Some(mut watch) = self.watch.take() {
            let noticed = watch.look(self);
            self.watch = Some(watch);
            for (side, call) in noticed {
                self.phones[side].input(Input::MediaState { call, state: MediaState::Failed });
                self.look(side);
            }
        }
        // A page that is frozen takes nothing.
        let messages = self
            .links
            .iter()
            .flat_map(|link| {
                let down = link.down.front().filter(|_| link.frozen.is_none());
                [link.up.front().map(|(at, _)| *at), down.map(|(at, _)| *at)]
            })
            .flatten();
        let timers = self.phones.iter().zip(&self.links).filter(|(_, link)| link.frozen.is_none());
        let timers = timers.filter_map(|(bench, _)| bench.phone.poll_timeout().map(|(at, _)| at));
        let jobs = self.jobs.iter().filter(|job| self.links[job.1].frozen.is_none()).map(|job| job.0);
        let thaws = self.links.iter().filter_map(|link| link.frozen);
        let pbx = self.pbx.iter().flatten().filter_map(Pbx::timeout);
        let Some(next) =
            messages.chain(timers).chain(jobs).chain(thaws).chain(pbx).min().filter(|at| *at <= end)
        else {
            self.set_now(end);
            return false;
        };
        self.set_now(self.now.max(next));
        for side in 0..self.phones.len() {
            self.thaw(side);
        }
        for side in 0..self.phones.len() {
            if let Some(pbx) = &mut self.pbx[side] {
                pbx.poll(self.now);
                self.serve(side);
            }
        }
        while let Some(at) =
            self.jobs.iter().position(|job| job.0 <= self.now && self.links[job.1].frozen.is_none())
        {
            let (_, side, call, seq, command) = self.jobs.remove(at);
            self.do_job(side, call, seq, &command);
        }
        for side in 0..self.phones.len() {
            while self.links[side].up.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, message) = self.links[side].up.pop_front().unwrap();
                self.on_message(side, message);
            }
            if self.is_frozen(side) {
                continue;
            }
            while self.links[side].down.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, out) = self.links[side].down.pop_front().unwrap();
                if self.is_up(side) {
                    match out {
                        Out::Text(text) => self.phones[side].receive(&text),
                        Out::Close => self.cut(side, true),
                    }
                    self.look(side);
                }
            }
            self.phones[side].input(Input::Timer);
            self.look(side);
        }
        true
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            if !self.step(end) {
                return;
            }
        }
        panic!("the network never rests");
    }

    // ---- commands and looks

    pub fn dial(&mut self, side: usize, target: &str) -> CallId {
        let call = self.phones[side].dial(target);
        self.look(side);
        call
    }

    /// Does something at a phone, and takes what it puts out.
    pub fn at<T>(&mut self, side: usize, what: impl FnOnce(&mut Bench) -> T) -> T {
        let result = what(&mut self.phones[side]);
        self.phones[side].drain();
        self.look(side);
        result
    }

    /// The newest call that came in.
    pub fn incoming(&self, side: usize) -> CallId {
        self.phones[side].incoming()
    }

    /// A call from one to the other is up; returns its ids there. Nothing is left to look at.
    pub fn call(&mut self, from: usize, to: usize) -> (CallId, CallId) {
        let call = self.dial(from, &format!("sip:{}@example.com", USERS[to]));
        self.run(ms(200));
        let there = self.incoming(to);
        self.at(to, |bench| bench.answer(there));
        self.run(ms(200));
        self.log.clear();
        (call, there)
    }

    pub fn lines(&mut self) -> Vec<String> {
        core::mem::take(&mut self.log)
    }

    pub fn model(&self, side: usize, call: CallId) -> &MediaModel {
        &self.media[side][&call]
    }
}
