//! Anything in any order: a proxy and a provider that lose, delay and reorder what they say, forgers, strangers,
//! sockets that break, users who change their minds. Whatever happens: one request for each dial, no sound before the
//! proof, one outcome, and nothing left over. A run is played again from its seed.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::bench::answer;
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::phone::{MediaError, MediaValue, ProxyId};
use wasm_softphone::time::Instant;

/// Something on its way.
enum Mail {
    ToProxy(ProxyId, ProxyCommand),
    ToPhone(ProxyId, Result<ProxyReply, ProxyFailure>),
    Sip(String),
    /// The provider asks the proxy what to do with the answered leg of this call.
    VoiceStart(String),
    /// The far leg is over.
    FarLegOver(String),
    /// The provider stops ringing.
    RingOver(String),
    /// The provider tells the proxy of the end.
    HangupHook(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leg {
    None,
    Ringing,
    Answered,
    Over,
}

/// A call at the proxy, and at the provider.
struct Record {
    cancelled: bool,
    claimed: bool,
    confirmed: bool,
    reason: Option<&'static str>,
    seq: u32,
    leg: Leg,
    a_legs: usize,
    b_legs: usize,
    caller: Caller,
    invite: Request,
}

impl Record {
    fn call(&self) -> ProxyCall {
        ProxyCall {
            confirmed: self.confirmed,
            ended: self.reason.is_some(),
            reason: self.reason.map(str::to_owned),
            ..state(
                match (self.reason, self.cancelled, self.confirmed) {
                    (Some(_), ..) => "ended",
                    (_, true, _) => "cancelling",
                    (.., true) => "bridging",
                    _ => "ringing_client",
                },
                self.seq,
            )
        }
    }
}

struct World {
    bench: Bench,
    random: SeededEntropy,
    seed: u64,
    mail: Vec<(Instant, Mail)>,
    seen: BTreeSet<ProxyId>,
    records: BTreeMap<String, Record>,
    /// Forgers and strangers by Call-ID.
    others: BTreeMap<String, Caller>,
    dials: BTreeMap<CallId, String>,
    /// What this phone has answered by itself, for each dial.
    answered: BTreeMap<CallId, Vec<String>>,
    /// Calls of which a 200 was seen.
    ok: BTreeSet<String>,
    jobs: usize,
    faults: bool,
    gone: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let uri = Uri::parse("sip:4600100100@voip.46elks.com").unwrap();
        let mut bench = Bench::seeded(PhoneConfig { uri, ..config() }, seed);
        bench.connect();
        Self {
            bench,
            random: SeededEntropy::new(seed),
            seed,
            mail: Vec::new(),
            seen: BTreeSet::new(),
            records: BTreeMap::new(),
            others: BTreeMap::new(),
            dials: BTreeMap::new(),
            answered: BTreeMap::new(),
            ok: BTreeSet::new(),
            jobs: 0,
            faults: true,
            gone: false,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        below(&mut self.random, bound)
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.faults && self.below(one_in) == 0
    }

    fn post(&mut self, max: u64, mail: Mail) {
        let delay = self.below(max.max(1));
        self.mail.push((self.bench.now + ms(delay), mail));
    }

    // ---- the user and the network

    fn act(&mut self) {
        match self.below(40) {
            0..=5 => {
                let timeout = (self.below(4) == 0).then(|| secs(5));
                let answer = if self.below(12) == 0 { AnswerBy::Elsewhere } else { AnswerBy::ThisPhone };
                self.bench.lock_free =
                    [Some(true), Some(true), Some(true), Some(false)][self.below(4) as usize];
                self.bench.media = [Media::Prompt, Media::Prompt, Media::Manual][self.below(3) as usize];
                let request = OriginateRequest { timeout, answer, ..request() };
                if let Ok(id) = self.bench.phone.originate(self.bench.now, request) {
                    let uuid = self.bench.phone.call(id).unwrap().sip_call_id;
                    self.dials.insert(id, uuid);
                }
                self.bench.drain();
            }
            6 => {
                if let Some(call) = self.bench.phone.calls().first() {
                    self.bench.hangup(call.id);
                }
            }
            7 if self.below(8) == 0 => self.bench.input(Input::PageHide(PageKept::Page)),
            8 if self.below(6) == 0 => {
                self.bench.disconnect();
                self.gone = true;
                self.bench.pass(secs(2));
                self.bench.connect();
            }
            9 if self.bench.socket.is_some() && self.below(3) == 0 => {
                self.gone = true;
                self.bench.cut();
            }
            10 | 11 => self.other(CALLER_ID),
            12 => self.other("+46701111111"),
            13 => {
                let ringing =
                    self.bench.phone.calls().into_iter().find(|call| call.state == CallState::Ringing);
                if let Some(call) = ringing {
                    // It may be an outgoing one.
                    let _ = self.bench.phone.answer(self.bench.now, call.id);
                    self.bench.drain();
                }
            }
            14..=20 => self.media(),
            // A reply to a request that is over, or was never made.
            21 => {
                let id = ProxyId(u32::try_from(self.below(30)).unwrap());
                if !self.bench.requests.iter().any(|(open, _)| *open == id) {
                    self.bench.input(Input::Proxy(id, reply(200, state("bridging", 99))));
                }
            }
            _ => {}
        }
    }

    fn other(&mut self, from: &str) {
        let name = format!("other{}", self.others.len());
        let (caller, invite) = bridge(&name, from);
        self.others.insert(name, caller);
        self.post(500, Mail::Sip(invite.to_text().unwrap()));
    }

    /// A job that waits is done, or fails.
    fn media(&mut self) {
        let waits = |command: &MediaCommand| {
            matches!(command, MediaCommand::OpenMicrophone | MediaCommand::CreateAnswer { .. })
        };
        let Some((call, seq, command)) = self.bench.jobs.iter().rev().find(|job| waits(&job.2)).cloned()
        else {
            return;
        };
        let result = match (&command, self.below(10)) {
            (_, 0) => Err(MediaError::Denied),
            (MediaCommand::OpenMicrophone, _) => Ok(MediaValue::Microphone),
            _ => Ok(MediaValue::Local(OFFER.into())),
        };
        self.bench.input(Input::MediaDone { call, seq, result });
        if command != MediaCommand::OpenMicrophone {
            let state = wasm_softphone::phone::MediaState::Connected;
            self.bench.input(Input::MediaState { call, state });
        }
    }

    // ---- the proxy and the provider

    fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::ToProxy(id, command) => {
                if self.chance(12) {
                    // Lost on the way there.
                    self.post(10_500, Mail::ToPhone(id, Err(ProxyFailure::Network)));
                    return;
                }
                let answer = self.serve(&command);
                let answer = match self.faults.then(|| self.below(24)) {
                    // Lost on the way back: the proxy has done it.
                    Some(0) => Err(ProxyFailure::Network),
                    Some(1) => problem(502, ""),
                    Some(2) => return,
                    _ => answer,
                };
                let slow = if self.chance(10) { 6_000 } else { 300 };
                self.post(slow, Mail::ToPhone(id, answer));
            }
            Mail::ToPhone(id, answer) => {
                let open = self.bench.requests.iter().position(|(open, _)| *open == id);
                if let Some(at) = open {
                    self.bench.requests.remove(at);
                }
                if self.chance(10) {
                    self.bench.input(Input::Proxy(id, answer.clone()));
                }
                self.bench.input(Input::Proxy(id, answer));
            }
            Mail::Sip(text) => {
                if self.bench.socket.is_some() {
                    self.bench.receive(&text);
                }
            }
            Mail::VoiceStart(uuid) => self.voice_start(&uuid, true),
            Mail::FarLegOver(uuid) => {
                let reason = ["completed", "busy", "no_answer"][self.below(3) as usize];
                self.hang_up_leg(&uuid);
                self.end(&uuid, reason);
            }
            Mail::RingOver(uuid) => {
                if self.records[&uuid].leg == Leg::Ringing {
                    let cancel = self.records[&uuid].caller.cancel();
                    self.records.get_mut(&uuid).unwrap().leg = Leg::Over;
                    self.post(100, Mail::Sip(addressed(&cancel)));
                    self.post(1_000, Mail::HangupHook(uuid));
                }
            }
            Mail::HangupHook(uuid) => {
                let reason = match &self.records[&uuid] {
                    record if record.confirmed => "completed",
                    record if record.cancelled => "cancelled",
                    _ => "client_unreachable",
                };
                self.end(&uuid, reason);
            }
        }
    }

    fn end(&mut self, uuid: &str, reason: &'static str) {
        let record = self.records.get_mut(uuid).unwrap();
        if record.reason.is_none() {
            record.reason = Some(reason);
            record.seq += 1;
        }
    }

    fn hang_up_leg(&mut self, uuid: &str) {
        let record = self.records.get_mut(uuid).unwrap();
        if record.leg == Leg::Answered {
            record.leg = Leg::Over;
            let bye = record.caller.request("BYE", None).to_text().unwrap();
            self.post(200, Mail::Sip(bye));
        }
    }

    /// The right leg was answered.
    fn voice_start(&mut self, uuid: &str, may_wait: bool) {
        let record = self.records.get_mut(uuid).unwrap();
        if record.leg != Leg::Answered || record.confirmed {
            return;
        }
        if record.cancelled || record.reason.is_some() {
            self.hang_up_leg(uuid);
            self.post(1_000, Mail::HangupHook(uuid.to_owned()));
        } else if record.claimed {
            record.confirmed = true;
            record.seq += 1;
            record.b_legs += 1;
            self.post(20_000, Mail::FarLegOver(uuid.to_owned()));
        } else if may_wait {
            self.post(1_500, Mail::VoiceStart(uuid.to_owned()));
        }
    }

    fn serve(&mut self, command: &ProxyCommand) -> Result<ProxyReply, ProxyFailure> {
        match command {
            ProxyCommand::Config => known(),
            ProxyCommand::Start { call, .. } => {
                let refused = self.chance(12);
                let busy = self.records.values().any(|record| record.a_legs > 0 && record.reason.is_none());
                let record = self.record(call);
                if record.cancelled {
                    return problem(409, "cancelled");
                }
                if busy || refused {
                    record.reason = Some("failed");
                    return problem(409, "call_in_progress");
                }
                record.a_legs += 1;
                record.leg = Leg::Ringing;
                record.seq += 1;
                let invite = record.invite.to_text().unwrap();
                let answer = reply(202, record.call());
                if !self.chance(10) {
                    self.post(1_500, Mail::Sip(invite));
                }
                let at = self.bench.now + secs(20);
                self.mail.push((at, Mail::RingOver(call.clone())));
                answer
            }
            // A proxy that forgets everything now and then.
            _ if self.chance(60) => problem(404, "not_found"),
            ProxyCommand::Poll { call, .. } => match self.records.get(call) {
                Some(record) => reply(200, record.call()),
                None => problem(404, "not_found"),
            },
            ProxyCommand::Claim { call, .. } => {
                let Some(record) = self.records.get_mut(call) else { return problem(404, "not_found") };
                record.claimed = true;
                let call = call.clone();
                self.voice_start(&call, false);
                problem(204, "")
            }
            ProxyCommand::Cancel { call } => {
                let record = self.record(call);
                record.cancelled = true;
                record.seq += 1;
                reply(202, record.call())
            }
        }
    }

    fn record(&mut self, uuid: &str) -> &mut Record {
        self.records.entry(uuid.to_owned()).or_insert_with(|| {
            let (caller, invite) = bridge(uuid, CALLER_ID);
            Record {
                cancelled: false,
                claimed: false,
                confirmed: false,
                reason: None,
                seq: 0,
                leg: Leg::None,
                a_legs: 0,
                b_legs: 0,
                caller,
                invite,
            }
        })
    }

    // ---- what the phone has sent

    fn look(&mut self) {
        for (id, command) in self.bench.requests.clone() {
            if self.seen.insert(id) {
                self.post(200, Mail::ToProxy(id, command));
            }
        }
        for message in std::mem::take(&mut self.bench.sent) {
            match message {
                Message::Request(request) if request.method.as_str() == "BYE" => {
                    let uuid = request.headers.call_id().unwrap().to_owned();
                    if let Some(record) = self.records.get_mut(&uuid) {
                        record.leg = Leg::Over;
                        self.post(2_000, Mail::HangupHook(uuid));
                    }
                    self.post(100, Mail::Sip(answer(&request, 200, "").to_text().unwrap()));
                }
                Message::Request(_) => {}
                Message::Response(response) => {
                    let invite = response.headers.cseq().is_some_and(|cseq| cseq.method.as_str() == "INVITE");
                    if invite {
                        self.on_invite_response(&response);
                    }
                }
            }
        }
        let opened = self.bench.jobs[self.jobs..]
            .iter()
            .filter(|job| job.2 == MediaCommand::OpenGate)
            .map(|job| job.0)
            .collect::<Vec<_>>();
        self.jobs = self.bench.jobs.len();
        for id in opened {
            let uuid = &self.dials[&id];
            let record = &self.records[uuid];
            assert!(record.confirmed, "seed {}: opened without a confirmation", self.seed);
            assert_eq!(
                self.answered[&id],
                std::slice::from_ref(uuid),
                "seed {}: opened to another call",
                self.seed
            );
        }
        for record in self.records.values() {
            assert!(record.a_legs <= 1 && record.b_legs <= record.a_legs, "seed {}", self.seed);
        }
        asked_for_once(&self.bench);
        for call in self.bench.phone.calls() {
            if !call.gated && self.dials.contains_key(&call.id) {
                assert!(self.records[&call.sip_call_id].confirmed, "seed {}", self.seed);
            }
        }
    }

    fn on_invite_response(&mut self, response: &wasm_softphone::sip::message::Response) {
        let call_id = response.headers.call_id().unwrap().to_owned();
        let to_tag = response.headers.to().unwrap().tag().map(str::to_owned);
        let known = self.records.get(&call_id).map(|record| record.leg);
        if response.status < 200 {
            return;
        }
        if response.status != 200 {
            if let Some(record) = self.records.get_mut(&call_id)
                && record.leg == Leg::Ringing
            {
                record.leg = Leg::Over;
                self.post(1_000, Mail::HangupHook(call_id));
            }
            return;
        }
        // Which of the phone's calls is it?
        let info = self.bench.phone.calls().into_iter().find(|call| {
            self.dials.contains_key(&call.id) && call.gated && call.state == CallState::Connecting
        });
        let by_hand = self
            .bench
            .phone
            .calls()
            .iter()
            .any(|call| call.sip_call_id == call_id && !self.dials.contains_key(&call.id));
        // A repeated 200 says nothing new.
        let first = self.ok.insert(call_id.clone());
        if let Some(info) = info.filter(|_| first && !by_hand) {
            let answered = self.answered.entry(info.id).or_default();
            answered.push(call_id.clone());
            assert_eq!(answered.len(), 1, "seed {}: two calls were answered for one dial", self.seed);
        }
        let ack = match self.records.get_mut(&call_id) {
            Some(record) => {
                record.caller.to_tag = to_tag;
                if known == Some(Leg::Ringing) {
                    record.leg = Leg::Answered;
                    self.post(300, Mail::VoiceStart(call_id.clone()));
                }
                self.records[&call_id].caller.build("ACK", 1, None)
            }
            None => {
                let Some(caller) = self.others.get_mut(&call_id) else { return };
                caller.to_tag = to_tag;
                caller.build("ACK", 1, None)
            }
        };
        if !self.chance(20) {
            self.post(300, Mail::Sip(ack.to_text().unwrap()));
        }
    }

    // ---- time

    fn step(&mut self) {
        let due =
            self.mail.iter().enumerate().min_by_key(|(_, (at, _))| *at).map(|(at, (due, _))| (at, *due));
        match due {
            Some((at, due)) if self.below(3) > 0 || !self.faults => {
                self.advance(due);
                // The phone's own deadlines may have come first.
                let (_, mail) = self.mail.remove(at);
                self.deliver(mail);
            }
            _ => {
                let wait = [1, 10, 300, 2_000][self.below(4) as usize];
                let to = self.bench.now + ms(wait);
                self.advance(to);
                if self.faults {
                    self.act();
                }
            }
        }
        self.look();
    }

    fn advance(&mut self, to: Instant) {
        let wait = to.saturating_since(self.bench.now);
        self.bench.pass(wait);
    }

    /// No more faults: everything comes to its end.
    fn finish(mut self) -> [usize; 7] {
        self.faults = false;
        for info in self.bench.phone.calls() {
            self.bench.hangup(info.id);
        }
        self.look();
        let end = self.bench.now + secs(300);
        for _ in 0..5_000 {
            if self.mail.is_empty() || self.bench.now > end {
                break;
            }
            self.step();
        }
        self.bench.pass(secs(300));
        self.look();
        self.bench.disconnect();
        self.bench.pass(secs(3));
        self.bench.input(Input::Timer);
        let seed = self.seed;
        let events = &self.bench.events;
        let mut reached = [0; 7];
        for (id, uuid) in &self.dials {
            let done: Vec<_> = events
                .iter()
                .filter_map(|event| match event {
                    Event::DialDone(of, result) if of == id => Some(result),
                    _ => None,
                })
                .collect();
            assert_eq!(done.len(), 1, "seed {seed}: {id:?} has {} outcomes", done.len());
            let ends = events.iter().filter(|event| matches!(event, Event::Ended(of, _) if of == id)).count();
            assert_eq!(ends, 1, "seed {seed}: {id:?}");
            match done[0] {
                Ok(()) => reached[0] += 1,
                Err(error) => match error.code.as_str() {
                    "unverified_bridge" => reached[1] += 1,
                    "bridge_missing" => reached[2] += 1,
                    "proxy_unreachable" => reached[3] += 1,
                    "already_dialing" => reached[4] += 1,
                    "aborted" => reached[5] += 1,
                    _ => reached[6] += 1,
                },
            }
            let last = self.bench.jobs.iter().rev().find(|job| job.0 == *id).map(|job| job.2.clone());
            assert!(matches!(last, None | Some(MediaCommand::Close)), "seed {seed}: {id:?} {last:?}");
            // Where the line was never cut, the provider has heard of the end too.
            if let Some(record) = self.records.get(uuid)
                && !self.gone
            {
                assert!(matches!(record.leg, Leg::None | Leg::Over), "seed {seed}: {uuid} {:?}", record.leg);
            }
        }
        assert!(self.bench.requests.is_empty(), "seed {seed}: {:?}", self.bench.requests);
        assert!(self.bench.locks.is_empty(), "seed {seed}");
        assert!(self.bench.phone.calls().is_empty(), "seed {seed}");
        assert!(self.dials.keys().all(|id| self.bench.phone.call(*id).is_none()), "seed {seed}");
        assert_eq!(self.bench.phone.poll_timeout(), None, "seed {seed}");
        reached
    }
}

/// A request within the test's own call, with the addresses of its INVITE.
fn addressed(request: &Request) -> String {
    request
        .to_text()
        .unwrap()
        .replace("sip:bob@example.com", &format!("sip:{CALLER_ID}@voip.46elks.com"))
        .replace("<sip:alice@example.com>", "<sip:4600100100@voip.46elks.com>")
}

fn play(seed: u64) -> [usize; 7] {
    let mut world = World::new(seed);
    for _ in 0..80 {
        world.step();
    }
    world.finish()
}

#[test]
fn no_order_and_no_fault_opens_the_wrong_call_or_leaves_anything_over() {
    let seeds = if cfg!(target_arch = "wasm32") { 100 } else { 2_000 };
    let mut reached = [0; 7];
    for seed in 0..seeds {
        for (all, one) in reached.iter_mut().zip(play(seed)) {
            *all += one;
        }
    }
    // What was not reached was not tried.
    assert!(!reached.contains(&0), "{reached:?}");
}
