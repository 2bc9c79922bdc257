//! Random use of several phones behind a forking proxy: every command is settled once, both ends agree, nothing is
//! audible while held, and nothing stays. More seeds: `SIM_SEEDS=20000 cargo test --test sim random_calls`;
//! one, with its messages: `SIM_SEED=7 cargo test --test sim random_calls::both -- --nocapture`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use crate::bench::{ANSWER, Bench, Media, OFFER, answer, ms, secs, send, with_sdp};
use crate::forking_proxy::Net;
use crate::incoming::answered;
use crate::pbx::{Habits, Pbx};
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::phone::{
    CallId, CallState, DialRequest, Direction, Event, Input, MediaCommand, MediaValue, MessageRequest,
    PageKept, PhoneConfig, TrackId, TransferTarget, Wish,
};
use wasm_softphone::sip::message::Message;
use wasm_softphone::sip::sdp::Direction as MediaDirection;

/// What an event settles, by a name and what it is of.
fn settles(event: &Event) -> Option<(&'static str, u32)> {
    Some(match event {
        Event::DialDone(id, _) => ("dial", id.0),
        Event::AnswerDone(id, _) => ("answer", id.0),
        Event::InfoDone(id, _) => ("info", id.0),
        Event::HoldDone(id, _) => ("hold", id.0),
        Event::TransferDone(id, _) => ("transfer", id.0),
        Event::RequestDone(id, _) => ("request", id.0),
        _ => return None,
    })
}

pub struct Walk {
    pub net: Net,
    pub random: SeededEntropy,
    /// What is owed, a phone each.
    owed: Vec<BTreeMap<(&'static str, u32), usize>>,
    commands: usize,
    /// What each user last said of the audio of a call.
    said: Vec<BTreeMap<CallId, Wish>>,
    /// Which calls were answered without a microphone.
    listens: Vec<BTreeSet<CallId>>,
    /// A socket was lost or a page left: what one side has heard the other may not know of.
    disturbed: bool,
    pub history: Vec<String>,
}

impl Walk {
    pub fn with(seed: u64, change: impl Fn(usize, &mut PhoneConfig)) -> Self {
        let mut random = SeededEntropy::new(seed);
        let count = 2 + usize::try_from(below(&mut random, 3)).unwrap();
        // In each third of the days the phones have a PBX beside the proxy. Bad days have a registrar of their own.
        let mut asked = crate::forking_proxy::settings(0);
        asked.register = false;
        change(0, &mut asked);
        let with_pbx = seed.is_multiple_of(3) && !asked.register;
        let change = |side: usize, config: &mut PhoneConfig| {
            config.register = with_pbx;
            change(side, config);
        };
        let mut net = Net::beside(count, Some(seed), change, |side, now| {
            let seed = seed.wrapping_mul(8) + u64::try_from(side).unwrap();
            let habits = Habits { expires: 600, ..Habits::random(seed) };
            with_pbx.then(|| Pbx::new(habits, seed, now))
        });
        net.bindings.insert("team".into(), (1..count).collect());
        net.media_delay = [1, 30, 400][usize::try_from(below(&mut random, 3)).unwrap()];
        for side in 0..count {
            let delay = below(&mut random, 80);
            net.delay(side, ms(delay));
        }
        Self {
            net,
            random,
            owed: vec![BTreeMap::new(); count],
            said: vec![BTreeMap::new(); count],
            listens: vec![BTreeSet::new(); count],
            commands: 0,
            disturbed: false,
            history: Vec::new(),
        }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(below(&mut self.random, u64::try_from(bound.max(1)).unwrap())).unwrap()
    }

    fn owe(&mut self, side: usize, what: &'static str, id: u32, done: bool) {
        if done {
            *self.owed[side].entry((what, id)).or_default() += 1;
            self.history.push(format!("{:?} {side}: {what} {id}", self.net.now));
            if self.net.shows {
                println!("== {:?} {side}: {what} {id}", self.net.now);
            }
        }
    }

    fn call(&mut self, side: usize) -> Option<CallId> {
        let calls = self.net.phones[side].phone.calls();
        (!calls.is_empty()).then(|| calls[self.below(calls.len())].id)
    }

    pub fn step(&mut self, disturb: bool) {
        self.commands += 1;
        let side = self.below(self.net.phones.len());
        let users = ["alice", "bob", "carol", "dave", "team", "nobody", "desk"];
        let target = format!("sip:{}@example.com", users[self.below(users.len())]);
        let call = self.call(side);
        // Most requests of others are followed soon, so that there is something to follow.
        if self.below(2) == 0 {
            self.decide(side);
        }
        match (self.below(if self.net.pbx[side].is_some() { 34 } else { 28 }), call) {
            (0..=2, _) => {
                let request = DialRequest { target, ..DialRequest::default() };
                let dialled = self.net.at(side, |bench| bench.phone.dial(bench.now, request));
                if let Ok(id) = dialled {
                    self.owe(side, "dial", id.0, true);
                }
            }
            (3..=7, _) => (0..self.net.phones.len()).for_each(|side| self.decide(side)),
            (8, Some(id)) => {
                let _ = self.net.at(side, |bench| bench.phone.reject(bench.now, id, Some(486)));
            }
            (9, Some(id)) => self.net.at(side, |bench| bench.phone.hangup(bench.now, id, None)),
            (10 | 11, Some(id)) => self.hold(side, id, true),
            (12 | 13, Some(id)) => self.hold(side, id, false),
            (14, Some(id)) => {
                // Both at once.
                self.hold(side, id, true);
                let name = self.net.phones[side].phone.call(id).map(|info| info.sip_call_id);
                for other in 0..self.net.phones.len() {
                    let calls = self.net.phones[other].phone.calls();
                    let same = calls.iter().find(|info| Some(&info.sip_call_id) == name.as_ref());
                    if let Some(id) = same.filter(|_| other != side).map(|info| info.id) {
                        self.hold(other, id, true);
                    }
                }
            }
            (15, Some(id)) => {
                let uri = TransferTarget::Uri(target);
                let done = self.net.at(side, |bench| bench.phone.transfer(bench.now, id, uri)).is_ok();
                self.owe(side, "transfer", id.0, done);
            }
            (16, Some(id)) => {
                if let Some(other) = self.call(side).filter(|other| *other != id) {
                    let to = TransferTarget::Call(other);
                    let done = self.net.at(side, |bench| bench.phone.transfer(bench.now, id, to)).is_ok();
                    self.owe(side, "transfer", id.0, done);
                }
            }
            (17 | 18, _) => (0..self.net.phones.len()).for_each(|side| self.decide(side)),
            (19, Some(id)) => {
                let done = self
                    .net
                    .at(side, |bench| bench.phone.send_info(bench.now, id, "application/dtmf", "1"))
                    .is_ok();
                self.owe(side, "info", id.0, done);
            }
            (20, _) => {
                let message = MessageRequest {
                    target,
                    content_type: "text/plain".into(),
                    body: "hello".into(),
                    extra_headers: Vec::new(),
                };
                if let Ok(id) = self.net.at(side, |bench| bench.phone.send_message(bench.now, message)) {
                    self.owe(side, "request", id.0, true);
                }
            }
            (21, _) if disturb && self.below(3) == 0 => {
                self.disturbed = true;
                let reachable = self.below(2) == 0;
                self.history.push(format!("{:?} {side}: cut, reachable {reachable}", self.net.now));
                self.net.cut(side, reachable);
            }
            (22, _) if disturb && self.below(12) == 0 => {
                self.disturbed = true;
                self.history.push(format!("{:?} {side}: page hide", self.net.now));
                // It is shown again: a page that goes is in `page`.
                self.net.at(side, |bench| bench.input(Input::PageHide(PageKept::Page)));
            }
            (23, _) => self.net.phones[side].reachable = true,
            (24 | 25, Some(id)) => {
                let muted = self.below(3) > 0;
                if self.net.at(side, |bench| bench.phone.mute(bench.now, id, muted)).is_ok() {
                    self.say(side, id, &|wish| wish.muted = muted);
                }
            }
            (26, Some(id)) => {
                let track = (self.below(2) == 0).then_some(TrackId(self.commands as u32));
                if self.net.at(side, |bench| bench.phone.replace_track(bench.now, id, track)).is_ok() {
                    self.say(side, id, &|wish| wish.track = track);
                }
            }
            (28, _) => {
                self.history.push(format!("{:?} {side}: the PBX calls", self.net.now));
                self.net.at_pbx(side, Pbx::call);
            }
            (29..=33, _) => {
                let pbx = self.net.pbx[side].as_ref().unwrap();
                let (acts, up) = (pbx.habits.acts(), pbx.up().map(|(leg, _)| leg).last());
                let act = acts[self.below(acts.len())];
                if let Some(leg) = up {
                    self.history.push(format!("{:?} {side}: the PBX: {act:?}", self.net.now));
                    self.net.at_pbx(side, |pbx, now| pbx.act(now, leg, act));
                }
            }
            _ => {}
        }
        let pause = [5, 50, 300, 1_500][self.below(4)];
        let pause = self.below(pause);
        self.net.run(ms(u64::try_from(pause).unwrap()));
        self.check_wishes();
    }

    /// What the user says counts for the call, and for those that are to take its place and have no word of their own.
    fn say(&mut self, side: usize, id: CallId, change: &dyn Fn(&mut Wish)) {
        let before = self.wished(side, id);
        let mut wish = before;
        change(&mut wish);
        self.said[side].insert(id, wish);
        self.history.push(format!("{:?} {side}: {id:?} is to be {wish:?}", self.net.now));
    }

    /// What the user last wished of a call: what was said of it, else what is wished of the one that it goes on with.
    fn wished(&self, side: usize, id: CallId) -> Wish {
        if let Some(said) = self.said[side].get(&id) {
            return *said;
        }
        let former = self.net.phones[side].continued.get(&id);
        former.map_or_else(Wish::default, |former| self.wished(side, *former))
    }

    fn only_listens(&self, side: usize, id: CallId) -> bool {
        let former = self.net.phones[side].continued.get(&id);
        self.listens[side].contains(&id) || former.is_some_and(|former| self.only_listens(side, *former))
    }

    /// A microphone is open and sending only where the user's last word says so, and the call that may be heard is heard.
    fn check_wishes(&mut self) {
        for (side, bench) in self.net.phones.iter().enumerate() {
            let mut open = Vec::new();
            for info in bench.phone.calls() {
                let Some(model) = self.net.media[side].get(&info.id).filter(|model| !model.closed) else {
                    continue;
                };
                let wished = self.wished(side, info.id);
                let followed = bench.wishes.get(&info.id).copied();
                if followed.map(|wish| (wish.muted, wish.track)) != Some((wished.muted, wished.track)) {
                    self.net.leaks.push(format!("{side} {:?}: {wished:?} wished, {followed:?}", info.id));
                }
                if self.only_listens(side, info.id) && bench.microphones[&info.id] {
                    self.net.leaks.push(format!("{side} {:?}: a microphone is open", info.id));
                }
                let heard = info.state == CallState::Active && model.may_receive();
                open.push((info.id, heard, bench.has_element(info.id)));
            }
            let owners = open.iter().filter(|(_, _, has)| *has).count();
            let heard = open.iter().filter(|(_, heard, _)| *heard);
            if heard.clone().filter(|(_, _, has)| *has).count() > 1 || (heard.count() > 0 && owners == 0) {
                self.net.leaks.push(format!("{side}: who is heard? {open:?}"));
            }
        }
    }

    /// Answers what rings, and follows a request to call somebody else, or not.
    fn decide(&mut self, side: usize) {
        let ringing = self.net.phones[side].phone.calls();
        let ringing = ringing
            .iter()
            .find(|info| info.direction == Direction::Incoming && info.state == CallState::Ringing);
        if let Some(id) = ringing.map(|info| info.id) {
            if self.below(4) == 0 {
                self.net.phones[side].phone.listen_only(self.net.now, id, true);
                self.listens[side].insert(id);
                self.history.push(format!("{:?} {side}: {id:?} is to have no microphone", self.net.now));
            }
            let done = self.net.at(side, |bench| bench.phone.answer(bench.now, id)).is_ok();
            self.owe(side, "answer", id.0, done);
        }
        let asked = self.net.phones[side].events.iter().rev().find_map(|event| match event {
            Event::TransferRequested { call, .. } => Some(*call),
            _ => None,
        });
        let Some(id) = asked else { return };
        if self.below(8) == 0 {
            self.net.at(side, |bench| bench.phone.reject_transfer(bench.now, id));
        } else if let Ok(new) = self.net.at(side, |bench| bench.phone.accept_transfer(bench.now, id)) {
            self.owe(side, "dial", new.0, true);
        }
    }

    fn hold(&mut self, side: usize, id: CallId, hold: bool) {
        let done = self.net.at(side, |bench| {
            if hold { bench.phone.hold(bench.now, id) } else { bench.phone.unhold(bench.now, id) }
        });
        self.owe(side, "hold", id.0, done.is_ok());
    }

    pub fn fail(&self, seed: u64, what: &str) -> ! {
        panic!("seed {seed}: {what}\n{}\n{}", self.history.join("\n"), self.net.log.join("\n"))
    }

    /// Both ends of each call that is up agree, on who holds too.
    pub fn check_agreement(&self, seed: u64, undisturbed: bool) {
        for (side, bench) in self.net.phones.iter().enumerate() {
            for info in bench.phone.calls().iter().filter(|info| info.state == CallState::Active) {
                let leg = self.net.pbx[side]
                    .as_ref()
                    .and_then(|pbx| pbx.up().map(|(_, leg)| leg).find(|leg| leg.call_id == info.sip_call_id));
                if let Some(leg) = leg {
                    if info.remote_hold != leg.holds && !info.local_hold {
                        self.fail(seed, &format!("{side} {info:?} and {leg:?} do not agree"));
                    }
                    continue;
                }
                let mut others = self.net.phones.iter().enumerate().filter(|(other, _)| *other != side);
                let other = others.find_map(|(at, bench)| {
                    let mut calls = bench.phone.calls().into_iter();
                    Some((at, calls.find(|other| other.sip_call_id == info.sip_call_id)?))
                });
                let Some((at, other)) = other else {
                    self.fail(seed, &format!("{side} {:?} has no other end", info.id))
                };
                // Who holds hears of the other's hold only when it asks for both directions again: the answer to an offer
                // that holds does not say it, should an earlier one have been lost. Nothing is audible then either way.
                let holds_too = info.local_hold && !undisturbed;
                let hold = other.local_hold == info.remote_hold || holds_too;
                if other.state != CallState::Active || !hold {
                    self.fail(seed, &format!("{side} {info:?} and {other:?} do not agree"));
                }
                // And their descriptions say the same.
                let said = |side: usize, id: CallId| {
                    self.net.media[side].get(&id).and_then(|model| model.negotiated)
                };
                let (here, there) = (said(side, info.id), said(at, other.id));
                if undisturbed && here != there.map(MediaDirection::reversed) {
                    self.fail(seed, &format!("{side} {info:?} has {here:?}, {other:?} has {there:?}"));
                }
            }
        }
    }

    /// Each side's descriptions of a session have one name, the next number where they say something else, and no fewer
    /// lines than before (RFC 3264, section 8).
    fn check_descriptions(&self, seed: u64) {
        let mut sessions: BTreeMap<_, (String, u64, Vec<u8>)> = BTreeMap::new();
        for (side, message) in &self.net.trace {
            let headers = message.headers();
            let body = match message {
                Message::Request(request) => &request.body,
                Message::Response(response) => &response.body,
            };
            if body.is_empty() || headers.content_type() != Some("application/sdp") {
                continue;
            }
            let tag = match message {
                Message::Request(_) => headers.from_tag(),
                Message::Response(_) => headers.to_tag(),
            };
            let text = str::from_utf8(body).unwrap();
            let words: Vec<&str> = text.lines().nth(1).unwrap().split(' ').collect();
            let (name, version) = (words[1].to_owned(), words[2].parse().unwrap());
            let key = (*side, headers.call_id().map(str::to_owned), tag);
            if let Some((known, last, said)) = sessions.get(&key) {
                let lines = |text: &[u8]| str::from_utf8(text).unwrap().matches("\r\nm=").count();
                let counts = if version == *last { said == body } else { version > *last };
                if *known != name || !counts || lines(body) < lines(said) {
                    self.fail(seed, &format!("{side}: {} follows {}", text, String::from_utf8_lossy(said)));
                }
            }
            sessions.insert(key, (name, version, body.clone()));
        }
    }

    pub fn check_end(&mut self, seed: u64) {
        self.check_descriptions(seed);
        for side in 0..self.net.phones.len() {
            for info in self.net.phones[side].phone.calls() {
                self.net.at(side, |bench| bench.hangup(info.id));
            }
        }
        self.net.run(secs(200));
        for side in 0..self.net.phones.len() {
            let calls = self.net.phones[side].phone.calls();
            if !calls.is_empty() {
                self.fail(seed, &format!("{side}: {calls:?} stay"));
            }
            self.net.at(side, |bench| bench.phone.disconnect(bench.now));
        }
        self.net.run(secs(10));
        for pbx in self.net.pbx.iter().flatten() {
            if let Some(broken) = pbx.broken.first() {
                self.fail(seed, &format!("{broken}\n{:?}", pbx.habits));
            }
            // A page that was left, or that never came to register, cannot say goodbye over a socket that is lost.
            if let Some((_, leg)) = pbx.up().next().filter(|_| !self.disturbed) {
                self.fail(seed, &format!("stays at the PBX: {leg:?}"));
            }
        }
        for side in 0..self.net.phones.len() {
            let bench = &self.net.phones[side];
            if let Some(timer) = bench.phone.poll_timeout() {
                self.fail(seed, &format!("{side}: a timer is left: {timer:?}"));
            }
            if bench.socket.is_some() {
                self.fail(seed, "a socket is left");
            }
            let mut settled: BTreeMap<(&str, u32), usize> = BTreeMap::new();
            let mut ended = BTreeMap::new();
            for event in &bench.events {
                if let Some(key) = settles(event) {
                    *settled.entry(key).or_default() += 1;
                }
                if let Event::Ended(id, _) = event {
                    *ended.entry(*id).or_insert(0) += 1;
                }
            }
            // A dial that the phone makes by itself (a transfer, a redirection) is reported too.
            settled.retain(|key, _| key.0 != "dial" || self.owed[side].contains_key(key));
            if settled != self.owed[side] {
                self.fail(seed, &format!("{side}: owed {:?}, settled {settled:?}", self.owed[side]));
            }
            if let Some((id, count)) = ended.iter().find(|(_, count)| **count != 1) {
                self.fail(seed, &format!("{side}: {id:?} ended {count} times"));
            }
            for (id, model) in &self.net.media[side] {
                if !model.closed || !ended.contains_key(id) {
                    self.fail(seed, &format!("{side}: {id:?} keeps its media"));
                }
            }
            let bound = self.commands * 30 + 200;
            if bench.events.len() > bound {
                self.fail(seed, &format!("{side}: {} events", bench.events.len()));
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// The seeds to play, from this one on: so many, or as many as `SIM_SEEDS` says, or `SIM_SEED` alone.
pub fn seeds(first: u64, standard: u64) -> Range<u64> {
    if let Some(seed) = number("SIM_SEED") {
        return seed..seed + 1;
    }
    let standard = if cfg!(target_arch = "wasm32") { standard / 20 } else { standard };
    first..first + number("SIM_SEEDS").unwrap_or(standard)
}

fn walk(seed: u64, disturb: bool, reached: &mut BTreeMap<&'static str, usize>) {
    // Some hide, some are asked for credentials.
    let mut walk = Walk::with(seed, |side, config| {
        config.anonymous = (seed + u64::try_from(side).unwrap()).is_multiple_of(3)
    });
    walk.net.challenge = seed % 4 == 1;
    walk.net.run(ms(100));
    for _ in 0..40 {
        walk.step(disturb);
    }
    for bench in &mut walk.net.phones {
        bench.reachable = true;
    }
    // Re-INVITEs that crossed are made again after 4 s at most.
    walk.net.run(secs(40));
    if !walk.disturbed {
        walk.check_agreement(seed, true);
    }
    walk.check_end(seed);
    if let Some(leak) = walk.net.leaks.first() {
        walk.fail(seed, &format!("audible against the user's last word: {leak}"));
    }
    if let Some(broken) = walk.net.rules.broken.first() {
        walk.fail(seed, broken);
    }
    for bench in &walk.net.phones {
        for event in &bench.events {
            match event {
                Event::DialDone(_, Ok(())) => *reached.entry("dial").or_default() += 1,
                Event::HoldDone(_, Ok(())) => *reached.entry("hold").or_default() += 1,
                Event::TransferDone(_, Ok(())) => *reached.entry("transfer").or_default() += 1,
                Event::RequestDone(_, Ok(())) => *reached.entry("request").or_default() += 1,
                Event::Replaced { .. } => *reached.entry("replaced").or_default() += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn both_ends_agree_and_nothing_stays() {
    let mut reached = BTreeMap::new();
    let seeds = seeds(0, 800);
    let one = seeds.end - seeds.start == 1;
    for seed in seeds {
        walk(seed, false, &mut reached);
    }
    for what in ["dial", "hold", "transfer", "request", "replaced"] {
        assert!(one || reached.contains_key(what), "{what} was not reached: {reached:?}");
    }
}

#[test]
fn sockets_that_are_lost_and_pages_that_are_left_leave_nothing_behind() {
    let mut reached = BTreeMap::new();
    let seeds = seeds(10_000, 800);
    let one = seeds.end - seeds.start == 1;
    for seed in seeds {
        walk(seed, true, &mut reached);
    }
    assert!(one || reached.contains_key("dial"), "{reached:?}");
}

// ---- what the seeds have found, at its smallest

/// Both hold. We take ours back, and before our offer is made the other side offers `inactive`: no answer to that can
/// say that we hold no more, so our own offer follows.
#[test]
fn an_unhold_that_the_answer_to_an_inactive_offer_cannot_tell_is_offered_afterwards() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let held = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&held, 200, ""), &ANSWER.replace("sendrecv", "recvonly")));
    bench.take_request("ACK");
    bench.media = Media::Manual;
    bench.phone.unhold(bench.now, call).unwrap();
    bench.drain();
    let reinvite = caller.request("INVITE", Some(&OFFER.replace("sendrecv", "inactive")));
    send(&mut bench, &reinvite);
    bench.jobs.retain(|job| matches!(job.2, MediaCommand::Renegotiate { .. }));
    bench.finish_job(Ok(MediaValue::Local(ANSWER.replace("sendrecv", "inactive"))));
    bench.take_response(100);
    bench.take_response(200);
    bench.media = Media::Prompt;
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.take_request("INVITE");
    let offered = MediaCommand::Reoffer { direction: MediaDirection::SendRecv };
    assert!(bench.jobs.iter().any(|job| job.2 == offered));
}
