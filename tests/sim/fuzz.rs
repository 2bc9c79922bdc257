//! Any bytes at any time in any state: valid messages with headers, bodies and bytes changed, and bytes that are no
//! message, into phones with everything in progress. No panic, no growth, and a hang-up ends it all.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, secs, send, with_sdp};
use crate::hostile::{at, mutate};
use crate::incoming::ringing;
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::phone::{
    DialRequest, Event, Input, MessageRequest, PhoneConfig, PublishRequest, RedirectPolicy, SubscribeRequest,
    TransferTarget,
};
use wasm_softphone::sip::message::{Message, Request};

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
    "v=0\r\no=- 1 3 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=sendonly\r\n",
    "SIP/2.0 180 Ringing\r\n",
    "SIP/2.0 200 OK\r\n",
    "SIP/2.0 999999 x\r\n",
];

/// Changes what a message says, so that it can still be read.
fn reshape(random: &mut SeededEntropy, message: &mut Message) {
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

struct Target {
    bench: Bench,
    peers: Vec<Caller>,
    /// What the phone has sent, to be answered.
    requests: Vec<Request>,
    sent: usize,
}

impl Target {
    fn look(&mut self) {
        for message in core::mem::take(&mut self.bench.sent) {
            self.sent += 1;
            if let Message::Request(request) = message {
                self.requests.push(request);
                if self.requests.len() > 20 {
                    self.requests.remove(0);
                }
            }
        }
    }

    /// A phone in one of its states.
    fn in_state(state: u64, seed: u64) -> Self {
        let config = PhoneConfig {
            redirects: [RedirectPolicy::Off, RedirectPolicy::Ask, RedirectPolicy::Follow(3)]
                [usize::try_from(seed % 3).unwrap()],
            trust_identity: seed.is_multiple_of(2),
            auto_answer: if seed.is_multiple_of(5) { vec!["*".into()] } else { Vec::new() },
            register: seed.is_multiple_of(4),
            ..config()
        };
        let mut bench = Bench::seeded(config, seed);
        bench.connect();
        let mut target = Self { bench, peers: vec![Caller::new("new")], requests: Vec::new(), sent: 0 };
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
                let (_, caller, _) = ringing(&mut target.bench);
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

    fn message(&mut self, random: &mut SeededEntropy) -> Message {
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
        let request = match method {
            "ACK" => peer.ack(peer.seq, sdp),
            "CANCEL" => peer.cancel(),
            _ => peer.request(method, sdp),
        };
        Message::Request(request)
    }

    fn feed(&mut self, random: &mut SeededEntropy) {
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
}

#[test]
fn nothing_that_comes_breaks_or_stays() {
    let standard = if cfg!(target_arch = "wasm32") { 50 } else { 800 };
    let rounds = std::env::var("SIM_SEEDS").ok().and_then(|value| value.parse().ok()).unwrap_or(standard);
    let mut ids = Vec::new();
    for seed in 0..rounds {
        let mut random = SeededEntropy::new(seed);
        let state = seed % 10;
        let mut target = Target::in_state(state, seed);
        let begin = target.bench.events.len();
        let before = target.sent;
        for _ in 0..60 {
            target.feed(&mut random);
            // The application uses what it is offered.
            let asked = target.bench.events.iter().skip(begin).filter_map(|event| match event {
                Event::TransferRequested { call, .. } => Some(*call),
                _ => None,
            });
            for call in asked.collect::<Vec<_>>() {
                if below(&mut random, 8) == 0 {
                    let _ = target.bench.phone.accept_transfer(target.bench.now, call);
                    target.bench.drain();
                }
            }
            let calls = target.bench.phone.calls();
            assert!(calls.len() <= target.bench.config.max_calls, "seed {seed}");
            if let Some(info) = calls.last() {
                let _ = match below(&mut random, 12) {
                    0 => target.bench.phone.answer(target.bench.now, info.id),
                    1 => target.bench.phone.hold(target.bench.now, info.id),
                    2 => target.bench.phone.unhold(target.bench.now, info.id),
                    _ => Ok(()),
                };
                target.bench.drain();
            }
            if target.bench.socket.is_none() {
                target.bench.pass(secs(60));
            }
        }
        target.look();
        // A message in brings a few out, and a few events.
        assert!(target.sent - before < 60 * 12, "seed {seed}: {} messages", target.sent - before);
        assert!(target.bench.events.len() < 60 * 20, "seed {seed}: {} events", target.bench.events.len());
        ids.push(target.bench.phone.calls().len());
        for info in target.bench.phone.calls() {
            target.bench.hangup(info.id);
        }
        target.bench.pass(secs(300));
        assert!(target.bench.phone.calls().is_empty(), "seed {seed}: {:?}", target.bench.phone.calls());
        target.bench.disconnect();
        target.bench.pass(secs(10));
        assert_eq!(target.bench.phone.poll_timeout(), None, "seed {seed}");
        assert_eq!(target.bench.socket, None, "seed {seed}");
    }
    // Calls were up at the end of many rounds: what was fed did not just end everything.
    assert!(ids.iter().any(|calls| *calls > 0));
}

/// The ways to dial with something that cannot be sent: refused, and nothing stays.
#[test]
fn what_the_application_gives_cannot_break_a_message() {
    let mut random = SeededEntropy::new(7);
    let mut bench = Bench::online();
    for _ in 0..500 {
        let mut bytes = vec![0; 1 + at(&mut random, 30)];
        random.fill(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let request = DialRequest {
            target: ["sip:bob@example.com", &format!("sip:{text}")][at(&mut random, 2)].to_owned(),
            display_name: Some(text.clone()),
            extra_headers: vec![(["X-A", text.as_str()][at(&mut random, 2)].to_owned(), text.clone())],
            ..DialRequest::default()
        };
        if let Ok(call) = bench.phone.dial(bench.now, request) {
            bench.drain();
            bench.hangup(call);
        }
        bench.drain();
    }
    bench.pass(secs(200));
    assert!(bench.phone.calls().is_empty());
    let mut caller = Caller::new("after");
    let options = caller.request("OPTIONS", None);
    bench.sent.clear();
    send(&mut bench, &options);
    bench.take_response(200);
}
