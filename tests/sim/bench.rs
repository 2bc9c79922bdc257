//! A phone on the bench: the test plays the server, the media and the clock.

use std::collections::BTreeMap;

use wasm_softphone::dial::proxy::{ProxyCommand, ProxyFailure, ProxyReply};
use wasm_softphone::entropy::SeededEntropy;
use wasm_softphone::phone::{
    CallId, CallState, ConnectionState, CredentialSource, Credentials, CredentialsId, DialRequest, EndReason,
    Event, Input, Job, LockId, MediaCommand, MediaError, MediaSeq, MediaState, MediaValue, Phone,
    PhoneConfig, ProxyId, RegistrationState, Secret, SocketId, Transmit, Wish,
};
use wasm_softphone::sip::message::{Message, Request, Response};
use wasm_softphone::sip::sdp::{self, Direction};
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::sip::wire::{self, Frame};
use wasm_softphone::time::{Duration, Instant};

/// As browsers make it, in the order in which the phone hands one on.
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
                         m=audio 9 UDP/TLS/RTP/SAVPF 111 8 0\r\nc=IN IP4 127.0.0.1\r\n\
                         a=rtpmap:111 opus/48000/2\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
                         a=ice-ufrag:offr\r\na=ice-pwd:0123456789012345678901\r\n\
                         a=fingerprint:sha-256 AA:01\r\na=setup:actpass\r\n";
pub const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
                          m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 127.0.0.1\r\na=mid:0\r\n\
                          a=sendrecv\r\na=rtcp-mux\r\n\
                          a=ice-ufrag:answ\r\na=ice-pwd:0123456789012345678901\r\n\
                          a=fingerprint:sha-256 BB:02\r\na=setup:active\r\n";

/// How the bench's media half behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Every job succeeds at once and the path comes up with the answer.
    Prompt,
    /// Jobs are left for the test.
    Manual,
    /// Every job fails.
    Fails,
}

pub struct Bench {
    pub phone: Phone,
    pub now: Instant,
    pub media: Media,
    pub config: PhoneConfig,
    /// Parsed messages sent and not yet looked at.
    pub sent: Vec<Message>,
    /// Keep-alives sent.
    pub pings: usize,
    /// OPTIONS to the server as a keep-alive.
    pub option_pings: usize,
    /// The server answers keep-alives by CRLF.
    pub answers_crlf: bool,
    /// Keep-alives are sent as the rest, and the test answers them.
    pub raw: bool,
    /// The server answers keep-alives by OPTIONS.
    pub answers_options: bool,
    /// By a challenge.
    pub challenges_options: bool,
    /// The server closes the connection upon a keep-alive by CRLF, by OPTIONS.
    pub closes_upon: [bool; 2],
    pub pongs: usize,
    pub events: Vec<Event>,
    pub jobs: Vec<(CallId, MediaSeq, MediaCommand)>,
    /// What the media half was last told that the user wishes.
    pub wishes: BTreeMap<CallId, Wish>,
    /// Whether a microphone was opened for the media of a call.
    pub microphones: BTreeMap<CallId, bool>,
    /// The call that another one goes on with.
    pub continued: BTreeMap<CallId, CallId>,
    /// Which calls were told that they play in the application's element, or do not.
    pub elements: BTreeMap<CallId, bool>,
    /// Tones that the browser was to send in the audio.
    pub tones: Vec<(CallId, String)>,
    /// When statistics were asked for.
    pub statistics: Vec<(Instant, CallId)>,
    pub opened: Vec<(Instant, SocketId, String)>,
    pub closed: Vec<SocketId>,
    pub questions: Vec<(CredentialsId, String)>,
    /// Requests to the call proxy without an answer, oldest first.
    pub requests: Vec<(ProxyId, ProxyCommand)>,
    /// Every request to the call proxy that was ever sent, and whether it outlives the page.
    pub asked: Vec<(ProxyCommand, bool)>,
    /// Locks held.
    pub locks: Vec<LockId>,
    /// Whether locks are to be had; `None`: the test answers.
    pub lock_free: Option<bool>,
    /// The socket that was opened last, if it is open.
    pub socket: Option<SocketId>,
    /// All that are open.
    pub sockets: Vec<SocketId>,
    /// Open sockets at once when asked.
    pub reachable: bool,
}

pub fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
}

pub fn receives(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::RecvOnly)
}

pub fn direction(send: bool, receive: bool) -> Direction {
    match (send, receive) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

pub fn both(one: Direction, other: Direction) -> Direction {
    direction(sends(one) && sends(other), receives(one) && receives(other))
}

pub fn direction_of(text: &str) -> Direction {
    sdp::parse(text).map_or(Direction::SendRecv, |info| info.direction)
}

pub fn described(text: &str, direction: Direction) -> String {
    let attribute = match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    };
    text.replace("sendrecv", attribute)
}

pub fn config() -> PhoneConfig {
    let mut config = PhoneConfig::new(
        vec!["wss://one.example.com/sip".into()],
        Uri::parse("sip:alice@example.com").unwrap(),
    );
    config.display_name = Some("Alice".into());
    config.credentials = CredentialSource::Static(Credentials {
        username: None,
        secret: Secret::Password("alice-secret".into()),
        realm: None,
    });
    config.register = false;
    config
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Bench {
    pub fn new(config: PhoneConfig) -> Self {
        Self::seeded(config, 1)
    }

    pub fn seeded(config: PhoneConfig, seed: u64) -> Self {
        Self {
            phone: Phone::new(config.clone(), Box::new(SeededEntropy::new(seed))),
            now: Instant::from_millis(1_000),
            media: Media::Prompt,
            config,
            sent: Vec::new(),
            pings: 0,
            option_pings: 0,
            answers_crlf: true,
            raw: false,
            answers_options: true,
            challenges_options: false,
            closes_upon: [false; 2],
            pongs: 0,
            events: Vec::new(),
            jobs: Vec::new(),
            wishes: BTreeMap::new(),
            microphones: BTreeMap::new(),
            continued: BTreeMap::new(),
            elements: BTreeMap::new(),
            tones: Vec::new(),
            statistics: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            questions: Vec::new(),
            requests: Vec::new(),
            asked: Vec::new(),
            locks: Vec::new(),
            lock_free: Some(true),
            socket: None,
            sockets: Vec::new(),
            reachable: true,
        }
    }

    /// Connected, without registration.
    pub fn online() -> Self {
        let mut bench = Self::new(config());
        bench.connect();
        assert_eq!(bench.phone.connection(), ConnectionState::Connected);
        bench.events.clear();
        bench
    }

    // ---- commands

    pub fn connect(&mut self) {
        self.phone.connect(self.now);
        self.drain();
    }

    pub fn disconnect(&mut self) {
        self.phone.disconnect(self.now);
        self.drain();
    }

    pub fn dial(&mut self, target: &str) -> CallId {
        let request = DialRequest { target: target.into(), ..DialRequest::default() };
        let id = self.phone.dial(self.now, request).unwrap();
        self.drain();
        id
    }

    pub fn hangup(&mut self, call: CallId) {
        self.phone.hangup(self.now, call, None);
        self.drain();
    }

    pub fn answer(&mut self, call: CallId) {
        self.phone.answer(self.now, call).unwrap();
        self.drain();
    }

    pub fn reject(&mut self, call: CallId, status: Option<u16>) {
        self.phone.reject(self.now, call, status).unwrap();
        self.drain();
    }

    // ---- the world

    pub fn input(&mut self, input: Input) {
        self.phone.handle_input(self.now, input);
        self.drain();
    }

    pub fn receive(&mut self, text: &str) {
        let socket = self.socket.expect("no socket is open");
        self.input(Input::SocketData(socket, text.as_bytes().to_vec()));
    }

    pub fn reply(&mut self, response: &Response) {
        self.receive(&response.to_text().unwrap());
    }

    pub fn cut(&mut self) {
        let socket = self.socket.expect("no socket is open");
        self.cut_one(socket);
    }

    /// The network or the server closes this socket.
    pub fn cut_one(&mut self, socket: SocketId) {
        self.closed_one(socket);
        self.input(Input::SocketClosed(socket));
    }

    fn closed_one(&mut self, socket: SocketId) {
        self.sockets.retain(|open| *open != socket);
        if self.socket == Some(socket) {
            self.socket = self.sockets.last().copied();
        }
    }

    /// A socket that was not reachable at once is open now.
    pub fn open_late(&mut self) {
        let socket = self.opened.last().expect("no socket was asked for").1;
        self.socket = Some(socket);
        self.sockets.push(socket);
        self.input(Input::SocketOpened(socket));
    }

    /// Lets time pass, waking the phone exactly when it asks for it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            match self.phone.poll_timeout() {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(Input::Timer);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the phone never rests");
    }

    /// Transmits come first, jobs next and events last, as in the browser.
    pub fn drain(&mut self) {
        loop {
            if let Some(transmit) = self.phone.poll_transmit() {
                self.transmit(transmit);
            } else if let Some(job) = self.phone.poll_job() {
                self.start(job);
            } else if let Some(event) = self.phone.poll_event() {
                self.tell(event);
            } else {
                return;
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::OpenSocket { socket, url } => {
                self.opened.push((self.now, socket, url));
                if self.reachable {
                    self.socket = Some(socket);
                    self.sockets.push(socket);
                    self.phone.handle_input(self.now, Input::SocketOpened(socket));
                }
            }
            Transmit::Send { socket, text } => {
                let open = self.sockets.contains(&socket) || self.socket == Some(socket);
                assert!(open, "sent over a socket that is not open: {socket:?} {text}");
                match wire::parse(text.as_bytes()) {
                    Ok(Frame::Ping) => {
                        self.pings += 1;
                        if self.closes_upon[0] {
                            self.closed_one(socket);
                            self.phone.handle_input(self.now, Input::SocketClosed(socket));
                        } else if self.answers_crlf && !self.raw {
                            self.phone.handle_input(self.now, Input::SocketData(socket, b"\r\n".to_vec()));
                        }
                    }
                    Ok(Frame::Pong) => self.pongs += 1,
                    Ok(Frame::Message(Message::Request(request))) if !self.raw && is_ping(&request) => {
                        self.option_pings += 1;
                        if self.closes_upon[1] {
                            self.closed_one(socket);
                            self.phone.handle_input(self.now, Input::SocketClosed(socket));
                        } else if self.answers_options {
                            let status = if self.challenges_options { 401 } else { 483 };
                            let mut response = request.response(status, None);
                            if self.challenges_options {
                                let value = "Digest realm=\"example.com\", nonce=\"ping\"";
                                response.headers.push("WWW-Authenticate", value);
                                assert!(request.headers.get("Authorization").is_none());
                            }
                            let text = response.to_text().unwrap();
                            let data = Input::SocketData(socket, text.into_bytes());
                            self.phone.handle_input(self.now, data);
                        }
                    }
                    Ok(Frame::Message(message)) => self.sent.push(message),
                    // A 400, 505 or 513 repeats the headers that were broken.
                    Err(_) if ["400", "505", "513"].contains(&&text[8..11]) => {}
                    Err(rejected) => panic!("the phone sent what cannot be parsed: {rejected:?}"),
                }
            }
            Transmit::CloseSocket(socket) => {
                self.closed.push(socket);
                self.closed_one(socket);
            }
        }
    }

    fn start(&mut self, job: Job) {
        match job {
            Job::Media { call, command: MediaCommand::Wish(wish), .. } => {
                self.wishes.insert(call, wish);
                self.microphones.entry(call).or_insert(!wish.listens_only);
            }
            Job::Media { call, command: MediaCommand::Element(has), .. } => {
                self.elements.insert(call, has);
            }
            Job::Media { call, seq, command } => match self.media {
                Media::Prompt => self.prompt(call, seq, command),
                Media::Manual => self.jobs.push((call, seq, command)),
                Media::Fails => {
                    if !matches!(
                        command,
                        MediaCommand::Close
                            | MediaCommand::TakeLocal
                            | MediaCommand::OpenGate
                            | MediaCommand::Flow(_)
                            | MediaCommand::Rollback
                    ) {
                        let result = Err(MediaError::Description);
                        self.phone.handle_input(self.now, Input::MediaDone { call, seq, result });
                    }
                    self.jobs.push((call, seq, command));
                }
            },
            Job::NeedCredentials { id, realm } => self.questions.push((id, realm)),
            Job::Proxy { id, command, keepalive } => {
                self.asked.push((command.clone(), keepalive));
                self.requests.push((id, command));
            }
            Job::AbortProxy(id) => self.requests.retain(|(request, _)| *request != id),
            Job::Lock { id, .. } => {
                if let Some(free) = self.lock_free {
                    if free {
                        self.locks.push(id);
                    }
                    self.phone.handle_input(self.now, Input::Lock(id, free));
                }
            }
            Job::Unlock(id) => self.locks.retain(|lock| *lock != id),
            Job::Tones { call, tones, .. } => self.tones.push((call, tones)),
            Job::Statistics(call) => self.statistics.push((self.now, call)),
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::CallState(id, CallState::New) = event
            && let Some(former) = self.phone.call(id).and_then(|info| info.continues)
        {
            self.continued.insert(id, former);
        }
        self.events.push(event);
    }

    // ---- the call proxy

    /// Answers the oldest request of this kind.
    pub fn proxy_answers(
        &mut self,
        of: impl Fn(&ProxyCommand) -> bool,
        answer: Result<ProxyReply, ProxyFailure>,
    ) {
        let at = self.requests.iter().position(|(_, command)| of(command)).expect("no such request is open");
        let (id, _) = self.requests.remove(at);
        self.input(Input::Proxy(id, answer));
    }

    fn prompt(&mut self, call: CallId, seq: MediaSeq, command: MediaCommand) {
        let mut done = |value| {
            self.phone.handle_input(self.now, Input::MediaDone { call, seq, result: Ok(value) });
        };
        match &command {
            MediaCommand::CreateOffer => {
                done(MediaValue::Gathering);
                let offer = match &command {
                    MediaCommand::Resume { direction }
                    | MediaCommand::Reoffer { direction }
                    | MediaCommand::RestartIce { direction } => described(OFFER, *direction),
                    _ => OFFER.into(),
                };
                done(MediaValue::Local(offer));
            }
            MediaCommand::Resume { direction }
            | MediaCommand::Reoffer { direction }
            | MediaCommand::RestartIce { direction } => {
                done(MediaValue::Gathering);
                done(MediaValue::Local(described(OFFER, *direction)));
            }
            MediaCommand::CreateAnswer { offer } => {
                done(MediaValue::Gathering);
                done(MediaValue::Local(described(ANSWER, direction_of(offer).reversed())));
                let state = MediaState::Connected;
                self.phone.handle_input(self.now, Input::MediaState { call, state });
            }
            MediaCommand::Renegotiate { offer, direction } => {
                let agreed = both(direction_of(offer).reversed(), *direction);
                done(MediaValue::Gathering);
                done(MediaValue::Local(described(ANSWER, agreed)));
                let state = MediaState::Connected;
                self.phone.handle_input(self.now, Input::MediaState { call, state });
            }
            MediaCommand::SetAnswer { .. } => {
                done(MediaValue::Applied);
                let state = MediaState::Connected;
                self.phone.handle_input(self.now, Input::MediaState { call, state });
            }
            MediaCommand::OpenMicrophone => done(MediaValue::Microphone),
            MediaCommand::TakeLocal
            | MediaCommand::Rollback
            | MediaCommand::OpenGate
            | MediaCommand::Flow(_)
            | MediaCommand::Wish(_)
            | MediaCommand::Element(_)
            | MediaCommand::Close => {}
        }
        self.jobs.push((call, seq, command));
    }

    /// Finishes the oldest job that waits for a result.
    pub fn finish_job(&mut self, result: Result<MediaValue, MediaError>) {
        let at = self
            .jobs
            .iter()
            .position(|(_, _, command)| !matches!(command, MediaCommand::Close | MediaCommand::TakeLocal))
            .expect("no media job waits");
        let (call, seq, _) = self.jobs.remove(at);
        self.input(Input::MediaDone { call, seq, result });
    }

    // ---- looking

    /// Whether a call plays in the application's element.
    pub fn has_element(&self, call: CallId) -> bool {
        self.elements.get(&call).copied().unwrap_or(true)
    }

    /// The first lines of what was sent since the last look, e.g. `INVITE`, `200 INVITE`.
    pub fn lines(&mut self) -> Vec<String> {
        let lines = self.sent.iter().map(line).collect();
        self.sent.clear();
        lines
    }

    /// Takes the oldest message sent, which must be this request.
    pub fn take_request(&mut self, method: &str) -> Request {
        assert!(!self.sent.is_empty(), "{method} was not sent");
        match self.sent.remove(0) {
            Message::Request(request) if request.method.as_str() == method => request,
            other => panic!("{method} expected, {} sent", line(&other)),
        }
    }

    pub fn take_response(&mut self, status: u16) -> Response {
        assert!(!self.sent.is_empty(), "{status} was not sent");
        match self.sent.remove(0) {
            Message::Response(response) if response.status == status => response,
            other => panic!("{status} expected, {} sent", line(&other)),
        }
    }

    pub fn nothing_sent(&mut self) {
        assert_eq!(self.lines(), Vec::<String>::new());
    }

    pub fn end_of(&self, call: CallId) -> Option<&EndReason> {
        self.events.iter().find_map(|event| match event {
            Event::Ended(id, reason) if *id == call => Some(reason),
            _ => None,
        })
    }

    pub fn dial_result(&self, call: CallId) -> Option<&Result<(), wasm_softphone::error::Error>> {
        let mut results = self.events.iter().filter_map(|event| match event {
            Event::DialDone(id, result) if *id == call => Some(result),
            _ => None,
        });
        let first = results.next();
        assert!(results.next().is_none(), "DialDone came twice");
        first
    }

    pub fn dial_error(&self, call: CallId) -> &'static str {
        self.dial_result(call)
            .expect("the dial is not done")
            .as_ref()
            .expect_err("it succeeded")
            .code
            .as_str()
    }

    pub fn connect_results(&self) -> Vec<Outcome> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::ConnectDone(result) => Some(outcome(result)),
                _ => None,
            })
            .collect()
    }

    pub fn incoming(&self) -> CallId {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Incoming(id) => Some(*id),
                _ => None,
            })
            .expect("no call came in")
    }

    pub fn media_closed(&self, call: CallId) -> bool {
        self.jobs.iter().any(|(id, _, command)| *id == call && *command == MediaCommand::Close)
    }

    pub fn registration(&self) -> RegistrationState {
        self.phone.registration()
    }
}

/// OPTIONS that goes no further than the first server.
fn is_ping(request: &Request) -> bool {
    request.method.as_str() == "OPTIONS" && request.headers.get("Max-Forwards") == Some("0")
}

pub fn line(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.as_str().to_owned(),
        Message::Response(response) => {
            let method =
                response.headers.cseq().map(|cseq| cseq.method.as_str().to_owned()).unwrap_or_default();
            format!("{} {method}", response.status)
        }
    }
}

/// A response of the far end to a request of the phone.
pub fn answer(request: &Request, status: u16, tag: &str) -> Response {
    let mut response = request.response(status, None);
    if !tag.is_empty() {
        response.set_to_tag(tag);
        response.headers.push("Contact", "<sip:bob@192.0.2.4:5060>");
    }
    response
}

pub fn with_sdp(mut response: Response, sdp: &str) -> Response {
    response.headers.push("Content-Type", "application/sdp");
    response.body = sdp.as_bytes().to_vec();
    response
}

/// Whether it is this description, whatever the version in its `o=` line and the name of its session.
pub fn describes(body: &[u8], sdp: &str) -> bool {
    let rest =
        |text: &str| text.lines().filter(|line| !line.starts_with("o=")).collect::<Vec<_>>().join("\n");
    rest(str::from_utf8(body).unwrap()) == rest(sdp)
}

/// A request of the far end to the phone.
pub struct Caller {
    pub call_id: String,
    pub tag: String,
    pub to_tag: Option<String>,
    pub seq: u32,
    pub branch: u32,
}

impl Caller {
    pub fn new(call_id: &str) -> Self {
        Self { call_id: call_id.into(), tag: "caller".into(), to_tag: None, seq: 0, branch: 0 }
    }

    /// The far end of a call that the phone has made.
    pub fn callee(invite: &Request, tag: &str) -> Self {
        Self {
            call_id: invite.headers.call_id().unwrap().to_owned(),
            tag: tag.into(),
            to_tag: invite.headers.from().unwrap().tag().map(str::to_owned),
            seq: 100,
            branch: 0,
        }
    }

    pub fn request(&mut self, method: &str, sdp: Option<&str>) -> Request {
        self.seq += 1;
        self.branch += 1;
        let seq = self.seq;
        self.build(method, seq, sdp)
    }

    pub fn ack(&mut self, seq: u32, sdp: Option<&str>) -> Request {
        self.branch += 1;
        self.build("ACK", seq, sdp)
    }

    pub fn build(&self, method: &str, seq: u32, sdp: Option<&str>) -> Request {
        let mut text = format!(
            "{method} sip:alice@alice.invalid SIP/2.0\r\n\
             Via: SIP/2.0/WSS caller.example.com;branch=z9hG4bK{}{}\r\n\
             Max-Forwards: 70\r\nFrom: \"Bob\" <sip:bob@example.com>;tag={}\r\nTo: <sip:alice@example.com>{}\r\n\
             Call-ID: {}\r\nCSeq: {seq} {method}\r\nContact: <sip:bob@192.0.2.4:5060>\r\n",
            self.call_id,
            self.branch,
            self.tag,
            self.to_tag.as_ref().map(|tag| format!(";tag={tag}")).unwrap_or_default(),
            self.call_id,
        );
        if sdp.is_some() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let body = sdp.unwrap_or_default();
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        match wire::parse(text.as_bytes()) {
            Ok(Frame::Message(Message::Request(request))) => request,
            _ => panic!("the test's own request is broken"),
        }
    }

    pub fn cancel(&self) -> Request {
        self.build("CANCEL", self.seq, None)
    }
}

pub fn send(bench: &mut Bench, request: &Request) {
    let text = request.to_text().unwrap();
    bench.receive(&text);
}

/// A result as tests compare it: the error by its code.
pub type Outcome = Result<(), &'static str>;

pub fn outcome(result: &Result<(), wasm_softphone::error::Error>) -> Outcome {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(error.code.as_str()),
    }
}
