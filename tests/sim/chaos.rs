//! Anything in any order: commands, a server that answers as it likes, media that succeed, fail or wait, sockets
//! that break. Whatever happens, every command is settled once, no call stays, and no microphone stays open.

use std::collections::BTreeMap;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, secs, send, with_sdp};
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::phone::{
    CallId, ConnectionState, CredentialSource, Credentials, DialRequest, Event, Input, MediaCommand,
    MediaError, MediaState, MediaValue, PhoneConfig, Secret,
};
use wasm_softphone::sip::message::{Message, Method, Request};

struct Chaos {
    bench: Bench,
    random: SeededEntropy,
    /// Requests of the phone that the server may still answer.
    open: Vec<Request>,
    /// Far ends of calls, by Call-ID.
    peers: Vec<Caller>,
    callers: u32,
    /// Outcomes that are owed.
    dials: BTreeMap<CallId, usize>,
    answers: BTreeMap<CallId, usize>,
    infos: BTreeMap<CallId, usize>,
    connects: usize,
    disconnects: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut random = SeededEntropy::new(seed);
        let mut config = PhoneConfig {
            register: below(&mut random, 2) == 0,
            servers: ["wss://a.example.com", "wss://b.example.com"].map(String::from).to_vec(),
            ..config()
        };
        if below(&mut random, 3) == 0 {
            config.credentials = CredentialSource::Ask;
        }
        let mut bench = Bench::seeded(config, seed);
        bench.media = Media::Manual;
        Self {
            bench,
            random,
            open: Vec::new(),
            peers: Vec::new(),
            callers: 0,
            dials: BTreeMap::new(),
            answers: BTreeMap::new(),
            infos: BTreeMap::new(),
            connects: 0,
            disconnects: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(below(&mut self.random, u64::try_from(bound.max(1)).unwrap())).unwrap()
    }

    fn call(&mut self) -> Option<CallId> {
        let calls = self.bench.phone.calls();
        (!calls.is_empty()).then(|| calls[self.below(calls.len())].id)
    }

    fn step(&mut self) {
        match self.below(32) {
            0 => {
                self.connects += 1;
                self.bench.connect();
            }
            1 if self.below(8) == 0 => {
                self.disconnects += 1;
                self.bench.disconnect();
            }
            2 | 3 => {
                let request = DialRequest { target: "sip:bob@example.com".into(), ..DialRequest::default() };
                if let Ok(id) = self.bench.phone.dial(self.bench.now, request) {
                    self.dials.insert(id, 1);
                }
                self.bench.drain();
            }
            4 if self.below(3) == 0 => self.hang_up(),
            5 | 6 => {
                if let Some(id) = self.call() {
                    if self.bench.phone.answer(self.bench.now, id).is_ok() {
                        *self.answers.entry(id).or_default() += 1;
                    }
                    self.bench.drain();
                }
            }
            7 => {
                if let Some(id) = self.call() {
                    let now = self.bench.now;
                    if self.bench.phone.send_info(now, id, "application/dtmf", "1").is_ok() {
                        *self.infos.entry(id).or_default() += 1;
                    }
                    self.bench.drain();
                }
            }
            8 => {
                if let Some(id) = self.call() {
                    // Refused in most states; what it does in the others is what is watched.
                    let _ = self.bench.phone.progress(self.bench.now, id);
                    self.bench.drain();
                }
            }
            9 | 10 => self.invite(),
            11 | 12 => self.in_dialog(),
            13 if self.bench.socket.is_some() && self.below(8) == 0 => self.bench.cut(),
            14 => self.bench.reachable = self.below(6) > 0,
            15 => self.question(),
            16 => {
                let time = [10, 10, 10, 500, 500, 5_000, 5_000, 40_000][self.below(8)];
                self.bench.pass(ms(u64::try_from(time).unwrap()));
            }
            17 => {
                if let Some(call) = self.call() {
                    let state = [MediaState::Connected, MediaState::Disconnected, MediaState::Failed];
                    let state = state[[0, 0, 0, 1, 1, 2][self.below(6)]];
                    self.bench.input(Input::MediaState { call, state });
                }
            }
            18..=23 => self.media(),
            _ => self.reply(),
        }
        self.look();
    }

    fn hang_up(&mut self) {
        if let Some(id) = self.call() {
            self.bench.hangup(id);
        }
    }

    /// A job that waits is done, or fails.
    fn media(&mut self) {
        let waits = |command: &MediaCommand| {
            !matches!(command, MediaCommand::Close | MediaCommand::TakeLocal | MediaCommand::Rollback)
        };
        let waiting: Vec<_> = self.bench.jobs.iter().filter(|job| waits(&job.2)).cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let (call, seq, command) = waiting[self.below(waiting.len())].clone();
        let result = match (self.below(8), &command) {
            (0, _) if self.below(3) == 0 => Err(MediaError::Description),
            (1, _) => Ok(MediaValue::Gathering),
            (_, MediaCommand::SetAnswer { .. }) => Ok(MediaValue::Applied),
            _ => Ok(MediaValue::Local(OFFER.into())),
        };
        if result != Ok(MediaValue::Gathering) {
            let done = self.bench.jobs.iter().position(|job| (job.0, job.1) == (call, seq)).unwrap();
            self.bench.jobs[done].2 = MediaCommand::TakeLocal;
        }
        self.bench.input(Input::MediaDone { call, seq, result });
    }

    fn question(&mut self) {
        if self.bench.questions.is_empty() {
            return;
        }
        let (id, _) = self.bench.questions.remove(0);
        let credentials = (self.below(3) > 0).then(|| Credentials {
            username: None,
            secret: Secret::Password("x".into()),
            realm: None,
        });
        self.bench.input(Input::Credentials(id, credentials));
    }

    /// The server answers one of the phone's requests.
    fn reply(&mut self) {
        if self.open.is_empty() || self.bench.socket.is_none() {
            return;
        }
        // The newest most of the time: the older a request, the less is to be learnt.
        let last = self.open.len() - 1;
        let at = if self.below(3) > 0 { last } else { self.below(self.open.len()) };
        let request = self.open[at].clone();
        let status = [100, 180, 183, 200, 200, 200, 401, 407, 481, 486, 503][self.below(11)];
        let tag = ["a", "a", "b"][self.below(3)];
        let mut response = answer(&request, status, tag);
        match status {
            401 => response.headers.push("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\""),
            407 => response.headers.push("Proxy-Authenticate", "Digest realm=\"p\", nonce=\"n\""),
            _ => {}
        }
        if request.method == Method::Invite && (status == 183 || status == 200) && self.below(8) > 0 {
            response = with_sdp(response, ANSWER);
        }
        if request.method == Method::Invite && status == 200 {
            self.peers.push(Caller::callee(&request, tag));
        }
        if status >= 200 && self.below(4) > 0 {
            self.open.remove(at);
        }
        self.bench.reply(&response);
    }

    fn invite(&mut self) {
        if self.bench.socket.is_none() {
            return;
        }
        self.callers += 1;
        let mut caller = Caller::new(&format!("in{}", self.callers));
        let invite = caller.request("INVITE", (self.below(5) > 0).then_some(OFFER));
        self.peers.push(caller);
        send(&mut self.bench, &invite);
    }

    /// A peer does something within its call.
    fn in_dialog(&mut self) {
        if self.peers.is_empty() || self.bench.socket.is_none() {
            return;
        }
        let at = self.below(self.peers.len());
        let what = self.below(9);
        let sdp = (self.below(3) > 0).then_some(ANSWER);
        let peer = &mut self.peers[at];
        let request = match what {
            0 => peer.request("BYE", None),
            1 => peer.cancel(),
            2 | 3 => peer.request("INVITE", sdp),
            4 => peer.request("INFO", None),
            _ => peer.ack(peer.seq, sdp),
        };
        send(&mut self.bench, &request);
    }

    /// Takes note of what was sent.
    fn look(&mut self) {
        for message in std::mem::take(&mut self.bench.sent) {
            match message {
                Message::Request(request) if request.method != Method::Ack => self.open.push(request),
                Message::Request(_) => {}
                Message::Response(response) => {
                    let call_id = response.headers.call_id();
                    let tag = response.headers.to().and_then(|to| to.tag().map(str::to_owned));
                    let peer = self.peers.iter_mut().find(|peer| Some(peer.call_id.as_str()) == call_id);
                    if let Some(peer) = peer.filter(|peer| peer.to_tag.is_none() && response.status != 100) {
                        peer.to_tag = tag;
                    }
                }
            }
        }
    }

    fn check(&self, seed: u64) {
        let events = &self.bench.events;
        let count = |fits: &dyn Fn(&Event) -> bool| events.iter().filter(|event| fits(event)).count();
        for (what, owed, got) in [
            (
                "dial",
                &self.dials,
                (|event, id| matches!(event, Event::DialDone(of, _) if *of == id))
                    as fn(&Event, CallId) -> bool,
            ),
            ("answer", &self.answers, |event, id| matches!(event, Event::AnswerDone(of, _) if *of == id)),
            ("info", &self.infos, |event, id| matches!(event, Event::InfoDone(of, _) if *of == id)),
        ] {
            for (id, owed) in owed {
                assert_eq!(count(&|event| got(event, *id)), *owed, "seed {seed}: {what} of {id:?}");
            }
        }
        // One outcome may serve several that were asked for at once.
        let done = count(&|event| matches!(event, Event::ConnectDone(_)));
        assert!(done <= self.connects, "seed {seed}");
        assert_eq!(done == 0, self.connects == 0, "seed {seed}");
        let done = count(&|event| matches!(event, Event::DisconnectDone));
        assert!(done <= self.disconnects && done > 0, "seed {seed}");

        let mut ended = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            match event {
                Event::Ended(id, _) => assert_eq!(ended.insert(*id, at), None, "seed {seed}: {id:?}"),
                Event::CallState(id, _)
                | Event::Stage(id, _)
                | Event::Incoming(id)
                | Event::Dtmf(id, _)
                | Event::DialDone(id, _)
                | Event::AnswerDone(id, _)
                | Event::InfoDone(id, _)
                | Event::Hold { call: id, .. } => {
                    assert!(!ended.contains_key(id), "seed {seed}: {event:?} after the end");
                }
                _ => {}
            }
        }
        let mut media = BTreeMap::new();
        for (id, _, command) in &self.bench.jobs {
            let open = *command != MediaCommand::Close;
            assert_ne!(media.insert(*id, open), Some(false), "seed {seed}: {command:?} after the end");
        }
        for (id, open) in media {
            assert!(!open && ended.contains_key(&id), "seed {seed}: {id:?} keeps its microphone");
        }
    }
}

#[test]
fn everything_is_settled_once_and_nothing_stays() {
    let rounds = if cfg!(target_arch = "wasm32") { 40 } else { 400 };
    let mut reached = [0; 6];
    for seed in 0..rounds {
        let mut chaos = Chaos::new(seed);
        chaos.connects += 1;
        chaos.bench.connect();
        for _ in 0..200 {
            chaos.step();
        }
        for info in chaos.bench.phone.calls() {
            chaos.bench.hangup(info.id);
        }
        for (id, _) in std::mem::take(&mut chaos.bench.questions) {
            chaos.bench.input(Input::Credentials(id, None));
        }
        // By now every transaction has timed out.
        chaos.bench.pass(secs(200));
        chaos.disconnects += 1;
        let done = chaos.bench.events.len();
        // Goodbyes that could not be said yet get two seconds.
        let online = chaos.bench.phone.connection() == ConnectionState::Connected;
        chaos.bench.disconnect();
        if online && !chaos.bench.config.register {
            let waits = !chaos.bench.events[done..].contains(&Event::DisconnectDone);
            assert!(!waits, "seed {seed}: something is left to wait for");
        }
        chaos.bench.pass(secs(3));
        assert_eq!(chaos.bench.phone.connection(), ConnectionState::Disconnected, "seed {seed}");
        assert!(chaos.bench.phone.calls().is_empty(), "seed {seed}");
        assert_eq!(chaos.bench.phone.poll_timeout(), None, "seed {seed}");
        assert_eq!(chaos.bench.socket, None, "seed {seed}");
        chaos.check(seed);
        // What was not reached was not tried.
        for event in &chaos.bench.events {
            match event {
                Event::DialDone(_, Ok(())) => reached[0] += 1,
                Event::AnswerDone(_, Ok(())) => reached[1] += 1,
                Event::InfoDone(_, Ok(())) => reached[2] += 1,
                Event::InfoDone(_, Err(_)) => reached[3] += 1,
                Event::Connection(ConnectionState::Reconnecting, _) => reached[4] += 1,
                Event::Hold { .. } | Event::ConnectDone(Err(_)) => reached[5] += 1,
                _ => {}
            }
        }
    }
    assert!(!reached.contains(&0), "{reached:?}");
}
