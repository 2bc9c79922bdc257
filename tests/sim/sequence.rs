//! A phone, and steps of any kind that may happen to it: messages of the other side that fit, that nearly fit and that
//! are none, commands of the application, and what the browser reports, in any order. What is random in them comes from
//! a seed (`fuzz`) or from the bytes of a fuzzer (`fuzz/`, which has this file too).

use std::collections::BTreeMap;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, secs, send, with_sdp};
use wasm_softphone::dial::proxy::{Expected, ProxyCall, ProxyConfig, ProxyFailure, ProxyReply};
use wasm_softphone::entropy::{Entropy, below};
use wasm_softphone::error::{Error, ErrorCode};
use wasm_softphone::phone::{
    AnswerBy, CallId, CallState, CredentialSource, Credentials, CredentialsId, DialRequest, Event, Hint,
    Input, LockId, MediaError, MediaSeq, MediaState, MediaValue, MessageRequest, OriginateRequest, PageKept,
    PhoneConfig, ProxyId, PublishRequest, RedirectPolicy, RequestId, Secret, SocketId, SubscribeRequest,
    SubscriptionId, TransferTarget,
};
use wasm_softphone::sip::message::{Message, Request};
use wasm_softphone::sip::uri::Uri;

/// The bytes of a fuzzer as randomness: two for each decision, zeros behind the end.
pub struct Script<'a>(pub &'a [u8]);

/// A phone through the steps that these bytes make.
pub fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (state, seed) = (below(&mut script, 10), below(&mut script, 120));
    let mut target = Target::in_state(state, seed);
    for _ in 0..60 {
        if script.0.is_empty() {
            break;
        }
        target.step(&mut script);
    }
    target.finish();
}

impl Script<'_> {
    fn take(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
}

impl Entropy for Script<'_> {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
        // `below` asks for eight, and makes a number of them, the lowest byte first.
        let wanted = if buffer.len() == 8 { 2 } else { buffer.len() };
        for byte in buffer.iter_mut().take(wanted) {
            *byte = self.take();
        }
    }
}

pub fn at(random: &mut dyn Entropy, len: usize) -> usize {
    usize::try_from(below(random, u64::try_from(len.max(1)).unwrap())).unwrap()
}

fn pick<T: Clone>(random: &mut dyn Entropy, from: &[T]) -> T {
    from[at(random, from.len())].clone()
}

/// Changes a message in one of the ways in which messages go wrong.
pub fn mutate(random: &mut dyn Entropy, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..=below(random, 3) {
        let position = at(random, bytes.len());
        match below(random, 6) {
            0 => {
                let mut byte = [0];
                random.fill(&mut byte);
                if let Some(at) = bytes.get_mut(position) {
                    *at = byte[0];
                }
            }
            1 => bytes.truncate(position),
            2 => {
                let end = (position + at(random, 40)).min(bytes.len());
                bytes.drain(position..end);
            }
            3 => {
                let end = (position + at(random, 200)).min(bytes.len());
                let copy = bytes[position..end].to_vec();
                let to = at(random, bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let pieces: [&[u8]; 8] = [
                    b"\r\n",
                    b"\0",
                    b"\"",
                    b"<>",
                    b";tag=",
                    b"4294967296",
                    b"\xff\xfe",
                    b"\r\nRequire: x\r\n",
                ];
                let piece = pieces[at(random, pieces.len())];
                bytes.splice(position..position, piece.iter().copied());
            }
            _ => {
                let numbers: [&[u8]; 4] = [b"-1", b"99999999999999999999", b"0", b"2147483648"];
                let number = numbers[at(random, numbers.len())];
                if let Some(digit) = bytes.iter().skip(position).position(u8::is_ascii_digit) {
                    let from = position + digit;
                    bytes.splice(from..=from, number.iter().copied());
                }
            }
        }
    }
    bytes
}

const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "OPTIONS",
    "UPDATE",
    "PRACK",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
    "REGISTER",
    "FOO",
];

/// Headers that decide what a phone does, with values that fit and values that do not.
const HEADERS: [(&str, &[&str]); 22] = [
    ("Require", &["100rel", "timer", "replaces", "x", ""]),
    ("Supported", &["100rel, timer, replaces", "timer", ""]),
    ("RSeq", &["1", "0", "4294967295", "4294967296", "x"]),
    ("RAck", &["1 1 INVITE", "2 1 INVITE", "0 0 FOO", "x"]),
    ("Session-Expires", &["90", "1;refresher=uac", "0", "4294967295;refresher=uas", "x", "1800;refresher=x"]),
    ("Min-SE", &["90", "4294967295", "x"]),
    ("Retry-After", &["0", "4294967295", "5 (now)", "x"]),
    ("Refer-To", &["<sip:c@example.com>", "<sip:c@example.com?Replaces=a%3Bto-tag%3Db>", "<tel:1>", "<", ""]),
    ("Referred-By", &["<sip:b@example.com>", "<"]),
    ("Replaces", &["in;to-tag=x;from-tag=caller", "in;from-tag=caller;to-tag=x;early-only", "x", ";;;"]),
    ("Event", &["refer", "refer;id=1", "message-summary", "presence", "dialog", "x", ""]),
    (
        "Subscription-State",
        &["active;expires=60", "active;expires=0", "terminated;reason=noresource", "x", ""],
    ),
    ("Content-Type", &["application/sdp", "message/sipfrag", "text/plain", "multipart/mixed;boundary=x", ""]),
    ("Contact", &["<sip:b@192.0.2.9>", "*", "<sip:x@y;lr>;expires=0", "<tel:1>", "<"]),
    ("Record-Route", &["<sip:p.example.com;lr>", "<sip:strict.example.com>", "<"]),
    ("Reason", &["SIP;cause=200", "Q.850;cause=16;text=\"x\"", ";;", ""]),
    ("Expires", &["0", "1", "4294967295", "x"]),
    ("SIP-ETag", &["e1", ""]),
    ("Call-Info", &["<sip:x>;answer-after=0", "<>;answer-after=x"]),
    ("P-Asserted-Identity", &["<sip:p@example.com>", "<"]),
    ("WWW-Authenticate", &["Digest realm=\"r\", nonce=\"n\", qop=\"auth\"", "Digest", "Bearer x"]),
    ("Proxy-Authenticate", &["Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256", "Digest realm="]),
];

const BODIES: [&str; 9] = [
    "",
    "v=0\r\n",
    OFFER,
    ANSWER,
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n",
    "v=0\r\no=- 1 3 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=sendonly\r\na=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 A\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n",
    "SIP/2.0 180 Ringing\r\n",
    "SIP/2.0 200 OK\r\n",
    "SIP/2.0 999999 x\r\n",
];

/// Changes what a message says, so that it can still be read.
fn reshape(random: &mut dyn Entropy, message: &mut Message) {
    let (headers, body) = match message {
        Message::Request(request) => (&mut request.headers, &mut request.body),
        Message::Response(response) => (&mut response.headers, &mut response.body),
    };
    for _ in 0..below(random, 4) {
        let (name, values) = HEADERS[at(random, HEADERS.len())];
        let value = values[at(random, values.len())];
        match below(random, 5) {
            0 => headers.remove(name),
            1 => headers.push_front(name, value),
            _ => headers.set(name, value),
        }
    }
    if below(random, 4) == 0 {
        *body = BODIES[at(random, BODIES.len())].as_bytes().to_vec();
    }
    if below(random, 12) == 0 {
        headers.remove(["Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards"][at(random, 7)]);
    }
}

pub struct Target {
    pub bench: Bench,
    peers: Vec<Caller>,
    /// What the phone has sent, to be answered.
    requests: Vec<Request>,
    pub sent: usize,
    subscriptions: Vec<SubscriptionId>,
    /// What was accepted and is still to be settled, with how often it was.
    owed: BTreeMap<Owed, usize>,
    /// Events looked at.
    seen: usize,
}

/// A call of this phone that was accepted, and is answered by one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owed {
    Dial(CallId),
    End(CallId),
    Request(RequestId),
}

impl Target {
    pub fn look(&mut self) {
        for message in core::mem::take(&mut self.bench.sent) {
            self.sent += 1;
            if let Message::Request(request) = message {
                self.requests.push(request);
                if self.requests.len() > 20 {
                    self.requests.remove(0);
                }
            }
        }
        for event in &self.bench.events[self.seen..] {
            let settled = match event {
                Event::CallState(call, CallState::New) => {
                    self.owed.insert(Owed::End(*call), 0);
                    continue;
                }
                Event::DialDone(call, _) => Owed::Dial(*call),
                Event::Ended(call, _) => Owed::End(*call),
                Event::RequestDone(request, _) => Owed::Request(*request),
                _ => continue,
            };
            *self.owed.entry(settled).or_default() += 1;
        }
        self.seen = self.bench.events.len();
    }

    /// A phone in one of its states.
    pub fn in_state(state: u64, seed: u64) -> Self {
        let config = PhoneConfig {
            redirects: [RedirectPolicy::Off, RedirectPolicy::Ask, RedirectPolicy::Follow(3)]
                [usize::try_from(seed % 3).unwrap()],
            trust_identity: seed.is_multiple_of(2),
            auto_answer: if seed.is_multiple_of(5) { vec!["*".into()] } else { Vec::new() },
            register: seed.is_multiple_of(4),
            // Calls by REST need a number.
            uri: Uri::parse(if seed.is_multiple_of(7) {
                "sip:4600100100@example.com"
            } else {
                "sip:alice@example.com"
            })
            .unwrap(),
            ..config()
        };
        let mut bench = Bench::seeded(config, seed);
        bench.connect();
        let mut target = Self {
            bench,
            peers: vec![Caller::new("new")],
            requests: Vec::new(),
            sent: 0,
            subscriptions: Vec::new(),
            owed: BTreeMap::new(),
            seen: 0,
        };
        target.look();
        if let Some(register) = target.requests.first().cloned() {
            let mut response = answer(&register, 200, "r");
            response.headers.remove("Contact");
            response.headers.push("Contact", register.headers.get("Contact").unwrap());
            target.bench.reply(&response);
        }
        let now = target.bench.now;
        match state {
            0 => {}
            1 | 2 => {
                if state == 2 {
                    target.bench.media = Media::Manual;
                }
                target.bench.dial("sip:bob@example.com");
            }
            3 => {
                let mut caller = Caller::new("in");
                let invite = caller.request("INVITE", Some(OFFER));
                send(&mut target.bench, &invite);
                let tag = target.bench.sent.iter().find_map(|message| match message {
                    Message::Response(response) if response.status == 180 => response.headers.to_tag(),
                    _ => None,
                });
                caller.to_tag = tag;
                target.peers.push(caller);
            }
            _ => {
                let call = target.bench.dial("sip:bob@example.com");
                target.look();
                let invite = target.requests.last().unwrap().clone();
                target.bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
                target.peers.push(Caller::callee(&invite, "b"));
                // What is not possible in a state is refused; that is as good a state as any.
                let _ = match state {
                    4 => Ok(()),
                    5 => target.bench.phone.hold(now, call),
                    6 => target.bench.phone.transfer(
                        now,
                        call,
                        TransferTarget::Uri("sip:c@example.com".into()),
                    ),
                    7 => target.bench.phone.send_info(now, call, "application/dtmf", "1"),
                    8 => {
                        target.bench.hangup(call);
                        Ok(())
                    }
                    _ => {
                        // An attended transfer with a second call.
                        let _ = target.bench.phone.hold(now, call);
                        target.bench.drain();
                        target.look();
                        let second = target.bench.dial("sip:carol@example.com");
                        target.look();
                        let invite = target
                            .requests
                            .iter()
                            .rev()
                            .find(|request| request.method.as_str() == "INVITE")
                            .unwrap()
                            .clone();
                        target.bench.reply(&with_sdp(answer(&invite, 200, "c"), ANSWER));
                        target.peers.push(Caller::callee(&invite, "c"));
                        target.bench.phone.transfer(now, call, TransferTarget::Call(second))
                    }
                };
            }
        }
        target.bench.drain();
        if seed.is_multiple_of(3) {
            let to = "sip:alice@example.com";
            let _ = target.bench.phone.subscribe(
                now,
                SubscribeRequest {
                    target: to.into(),
                    event: "message-summary".into(),
                    accept: vec!["application/simple-message-summary".into()],
                    expires: secs(600),
                },
            );
            let _ = target.bench.phone.publish(
                now,
                None,
                PublishRequest {
                    event: "presence".into(),
                    content_type: "application/pidf+xml".into(),
                    body: "<presence/>".into(),
                    expires: secs(600),
                },
            );
            let _ = target.bench.phone.send_message(
                now,
                MessageRequest {
                    target: to.into(),
                    content_type: "text/plain".into(),
                    body: "x".into(),
                    ..MessageRequest::default()
                },
            );
            target.bench.drain();
        }
        target.look();
        target
    }

    fn message(&mut self, random: &mut dyn Entropy) -> Message {
        if !self.requests.is_empty() && below(random, 2) == 0 {
            let statuses = [
                100, 180, 183, 199, 200, 202, 204, 300, 302, 401, 403, 407, 408, 412, 415, 422, 423, 481,
                486, 487, 488, 489, 491, 494, 500, 503, 603, 699,
            ];
            let request = self.requests[at(random, self.requests.len())].clone();
            let tag = ["b", "b", "c", "d", ""][at(random, 5)];
            let response = answer(&request, statuses[at(random, statuses.len())], tag);
            return Message::Response(if below(random, 2) == 0 {
                with_sdp(response, ANSWER)
            } else {
                response
            });
        }
        let at_peer = at(random, self.peers.len());
        let sdp = (below(random, 2) == 0).then_some(OFFER);
        let method = METHODS[at(random, METHODS.len())];
        let peer = &mut self.peers[at_peer];
        let mut request = match method {
            "ACK" => peer.ack(peer.seq, sdp),
            "CANCEL" => peer.cancel(),
            _ => peer.request(method, sdp),
        };
        if method == "INVITE" && at_peer == 0 && below(random, 2) == 0 {
            // As the provider calls this phone, each time another call.
            peer.call_id.push('r');
            request.headers.set("Call-ID", peer.call_id.as_str());
            request.headers.set("From", "<sip:+46766860000@example.com>;tag=caller");
            request.headers.set("To", "<sip:4600100100@example.com>");
        }
        Message::Request(request)
    }

    pub fn feed(&mut self, random: &mut dyn Entropy) {
        let mut message = self.message(random);
        let bytes = match below(random, 8) {
            0 => {
                let mut bytes = vec![0; at(random, 300)];
                random.fill(&mut bytes);
                bytes
            }
            1 | 2 => mutate(random, message.to_text().unwrap().as_bytes()),
            kind => {
                if kind > 3 {
                    reshape(random, &mut message);
                }
                message.to_text().map(String::into_bytes).unwrap_or_default()
            }
        };
        if let Some(socket) = self.bench.socket {
            self.bench.input(Input::SocketData(socket, bytes));
        }
        if below(random, 6) == 0 {
            let time = [1, 100, 1_000, 4_000][at(random, 4)];
            self.bench.pass(ms(time));
        }
        self.look();
    }

    fn now(&self) -> wasm_softphone::time::Instant {
        self.bench.now
    }

    /// A call of now, or of before, or none that ever was.
    fn call(&self, random: &mut dyn Entropy) -> CallId {
        let calls = self.bench.phone.calls();
        match below(random, 8) {
            0 => CallId(u32::try_from(below(random, 12)).unwrap()),
            _ => calls.get(at(random, calls.len())).map_or(CallId(1), |info| info.id),
        }
    }

    /// One command of the application. What is not possible is refused.
    pub fn command(&mut self, random: &mut dyn Entropy) {
        let now = self.now();
        let call = self.call(random);
        let phone = &mut self.bench.phone;
        match below(random, 22) {
            0 => drop(phone.answer(now, call)),
            1 => drop(phone.hold(now, call)),
            2 => drop(phone.unhold(now, call)),
            3 => drop(phone.reject(
                now,
                call,
                pick(random, &[None, Some(486), Some(302), Some(100), Some(700)]),
            )),
            4 => phone.hangup(now, call, None),
            5 => phone.hangup(now, call, Some(Error::new(ErrorCode::Timeout, "x"))),
            6 => drop(phone.progress(now, call)),
            7 => {
                let other = TransferTarget::Call(CallId(u32::try_from(below(random, 12)).unwrap()));
                let target = pick(random, &[other, TransferTarget::Uri("sip:c@example.com".into())]);
                drop(phone.transfer(now, call, target));
            }
            8 => drop(phone.accept_transfer(now, call)),
            9 => phone.reject_transfer(now, call),
            10 => drop(phone.follow_redirect(now, call, at(random, 4))),
            11 => drop(phone.send_info(now, call, &text(random, "application/dtmf"), &text(random, "1"))),
            12 | 13 => {
                let request = DialRequest {
                    target: text(random, "sip:bob@example.com"),
                    display_name: (below(random, 2) == 0).then(|| text(random, "Bob")),
                    extra_headers: vec![(text(random, "X-A"), text(random, "b"))],
                    timeout: (below(random, 4) == 0).then(|| secs(3)),
                    ..DialRequest::default()
                };
                if let Ok(call) = phone.dial(now, request) {
                    self.owed.insert(Owed::Dial(call), 0);
                }
            }
            14 => {
                let request = OriginateRequest {
                    to: "+46701234567".into(),
                    caller_id: None,
                    timeout: None,
                    answer: pick(random, &[AnswerBy::ThisPhone, AnswerBy::Elsewhere]),
                    listens_only: None,
                };
                if let Ok(call) = phone.originate(now, request) {
                    self.owed.insert(Owed::Dial(call), 0);
                }
            }
            15 => {
                let message = MessageRequest {
                    target: text(random, "sip:bob@example.com"),
                    content_type: text(random, "text/plain"),
                    body: text(random, "x"),
                    extra_headers: vec![(text(random, "X-A"), text(random, "b"))],
                };
                if let Ok(id) = phone.send_message(now, message) {
                    self.owed.insert(Owed::Request(id), 0);
                }
            }
            16 => {
                if let Ok(id) = phone.send_options(now, &text(random, "sip:bob@example.com")) {
                    self.owed.insert(Owed::Request(id), 0);
                }
            }
            17 => {
                let request = SubscribeRequest {
                    target: text(random, "sip:bob@example.com"),
                    event: pick(random, &["dialog", "message-summary", "presence", "refer", "x y"]).into(),
                    accept: vec![text(random, "application/pidf+xml")],
                    expires: secs(below(random, 700)),
                };
                self.subscriptions.extend(phone.subscribe(now, request).ok());
            }
            18 => {
                let known = self.subscriptions.get(at(random, self.subscriptions.len())).copied();
                phone.unsubscribe(now, known.unwrap_or(SubscriptionId(7)));
            }
            19 => {
                let known = self.subscriptions.get(at(random, self.subscriptions.len())).copied();
                let request = PublishRequest {
                    event: "presence".into(),
                    content_type: text(random, "text/plain"),
                    body: text(random, "x"),
                    expires: secs(below(random, 700)),
                };
                self.subscriptions.extend(phone.publish(now, known, request).ok());
            }
            20 => phone.disconnect(now),
            _ => {
                let mut settings = config();
                if below(random, 2) == 0 {
                    settings.register = true;
                    settings.servers.push("wss://two.example.com".into());
                    settings.credentials = CredentialSource::Ask;
                }
                settings.max_calls = self.bench.config.max_calls;
                phone.configure(settings);
                phone.connect(now);
            }
        }
        self.bench.drain();
        self.look();
    }

    /// One report of the browser, of something that is, was or never will be.
    pub fn report(&mut self, random: &mut dyn Entropy) {
        let number = u32::try_from(below(random, 12)).unwrap();
        let call = self.call(random);
        let input = match below(random, 12) {
            0 => Input::SocketOpened(SocketId(number)),
            1 => Input::SocketClosed(SocketId(number)),
            2 => Input::Hint(pick(
                random,
                &[Hint::Online, Hint::Offline, Hint::NetworkChanged, Hint::Visible, Hint::Woken],
            )),
            3 => {
                // Somebody else's socket.
                let mut message = self.message(random);
                reshape(random, &mut message);
                Input::SocketData(SocketId(number), message.to_text().unwrap_or_default().into_bytes())
            }
            4 | 5 => {
                let seq = self.bench.jobs.iter().rev().find(|(of, _, _)| *of == call).map(|(_, seq, _)| *seq);
                let seq = if below(random, 4) == 0 { MediaSeq(number) } else { seq.unwrap_or(MediaSeq(1)) };
                let result = pick(
                    random,
                    &[
                        Ok(MediaValue::Gathering),
                        Ok(MediaValue::Useful),
                        Ok(MediaValue::Local(OFFER.into())),
                        Ok(MediaValue::Local(ANSWER.into())),
                        Ok(MediaValue::Applied),
                        Ok(MediaValue::Microphone),
                        Err(MediaError::Denied),
                        Err(MediaError::Unavailable),
                        Err(MediaError::Description),
                    ],
                );
                Input::MediaDone { call, seq, result }
            }
            6 => {
                let state =
                    pick(random, &[MediaState::Connected, MediaState::Disconnected, MediaState::Failed]);
                Input::MediaState { call, state }
            }
            7 => {
                let asked = self.bench.questions.last().map(|(id, _)| *id);
                let id = if below(random, 4) == 0 {
                    CredentialsId(number)
                } else {
                    asked.unwrap_or(CredentialsId(1))
                };
                let credentials = (below(random, 2) == 0).then(|| Credentials {
                    username: Some(text(random, "alice")),
                    secret: pick(
                        random,
                        &[
                            Secret::Password("p".into()),
                            Secret::Ha1("0".repeat(32)),
                            Secret::Bearer("t".into()),
                        ],
                    ),
                    realm: None,
                });
                Input::Credentials(id, credentials)
            }
            8 | 9 => {
                let asked = self.bench.requests.first().map(|(id, _)| *id);
                let id = if below(random, 6) == 0 { ProxyId(number) } else { asked.unwrap_or(ProxyId(1)) };
                self.bench.requests.retain(|(request, _)| *request != id);
                let answer = if below(random, 5) == 0 {
                    Err(pick(random, &[ProxyFailure::Network, ProxyFailure::Timeout]))
                } else {
                    Ok(proxy_reply(random))
                };
                Input::Proxy(id, answer)
            }
            10 => Input::Lock(LockId(number), below(random, 2) == 0),
            _ => Input::PageHide(pick(random, &[PageKept::Nothing, PageKept::Calls, PageKept::Page])),
        };
        match input {
            // What is said of a socket that is there is true.
            Input::SocketOpened(socket) if self.is_awaited(socket) => self.bench.open_late(),
            Input::SocketClosed(socket) => {
                self.bench.closed.push(socket);
                self.bench.cut_one(socket);
            }
            input => self.bench.input(input),
        }
        self.look();
    }

    /// Whether this socket was asked for and has neither opened nor closed.
    fn is_awaited(&self, socket: SocketId) -> bool {
        self.bench.opened.last().is_some_and(|(_, last, _)| *last == socket)
            && !self.bench.closed.contains(&socket)
            && !self.bench.sockets.contains(&socket)
    }

    /// Anything.
    pub fn step(&mut self, random: &mut dyn Entropy) {
        match below(random, 16) {
            0..=8 => self.feed(random),
            9..=11 => self.command(random),
            12 | 13 => self.report(random),
            14 => {
                self.bench.media = pick(random, &[Media::Prompt, Media::Prompt, Media::Manual, Media::Fails]);
                self.bench.lock_free = pick(random, &[Some(true), Some(false), None]);
                self.bench.reachable = below(random, 4) != 0;
            }
            _ => {
                let time = pick(random, &[1, 20, 500, 4_000, 33_000, 200_000]);
                self.bench.pass(ms(time));
                self.look();
            }
        }
        assert!(self.bench.phone.calls().len() <= self.bench.config.max_calls);
    }

    /// The application hangs up and leaves: nothing stays, and everything that was accepted was settled once.
    pub fn finish(mut self) {
        self.bench.media = Media::Prompt;
        for info in self.bench.phone.calls() {
            self.bench.hangup(info.id);
        }
        self.bench.pass(secs(300));
        assert!(self.bench.phone.calls().is_empty(), "{:?}", self.bench.phone.calls());
        self.bench.disconnect();
        self.bench.pass(secs(10));
        // Calls by REST that were given up are kept for as long as the provider may still call.
        self.bench.pass(secs(8_000));
        self.look();
        assert_eq!(self.bench.phone.poll_timeout(), None);
        assert_eq!(self.bench.socket, None);
        assert_eq!(self.bench.locks, []);
        let wrong: Vec<_> = self.owed.iter().filter(|(_, times)| **times != 1).collect();
        assert!(wrong.is_empty(), "not settled once: {wrong:?}");
    }
}

/// What fits, or something that an application might give by mistake.
fn text(random: &mut dyn Entropy, fits: &str) -> String {
    match below(random, 8) {
        0 => {
            let mut bytes = vec![0; at(random, 20)];
            random.fill(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
        1 => format!("{fits}\r\nX: y"),
        2 => format!("{fits};x=\"\\\" <y>"),
        _ => fits.to_owned(),
    }
}

fn proxy_reply(random: &mut dyn Entropy) -> ProxyReply {
    let states = [
        "dialling",
        "ringing_client",
        "client_answered",
        "bridging",
        "ended",
        "failed",
        "cancelled",
        "unverified",
        "",
    ];
    let expected = Expected { from: "+46766860000".into(), to: "+4600100100".into() };
    let state = pick(random, &states);
    ProxyReply {
        status: pick(random, &[200, 202, 204, 400, 401, 403, 404, 409, 425, 429, 500, 503, 0]),
        code: (below(random, 3) == 0)
            .then(|| pick(random, &["rate_limited", "cancelled", "not_found", "x\r\n"]).into()),
        retry_after: (below(random, 4) == 0).then(|| secs(below(random, 4))),
        call: (below(random, 4) != 0).then(|| ProxyCall {
            state: state.into(),
            seq: u32::try_from(below(random, 6)).unwrap(),
            confirmed: below(random, 3) == 0,
            ended: below(random, 3) == 0,
            reason: (below(random, 2) == 0)
                .then(|| pick(random, &["busy", "completed", "failed", "x"]).into()),
            expect: (below(random, 4) != 0).then(|| expected.clone()),
            ring_timeout: (below(random, 2) == 0).then(|| secs(below(random, 40))),
            confirm_timeout: (below(random, 2) == 0).then(|| secs(below(random, 10))),
            max_duration: (below(random, 2) == 0).then(|| secs(below(random, 4_000))),
        }),
        config: (below(random, 2) == 0).then(|| ProxyConfig {
            number: "+4600100100".into(),
            default_caller_id: Some("main".into()),
            caller_ids: vec![("main".into(), "+46766860000".into())],
        }),
    }
}
