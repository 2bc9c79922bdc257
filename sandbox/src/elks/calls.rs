//! The call model: one state machine for all calls, without clock and sockets.
//!
//! ```text
//! Waiting -> Ringing -> Pausing -> Fetching -> Connecting -> Bridged -.
//!               |                     ^  \---> Playing, Ivr, Recording |-> Over
//!               '---------------------+-----------------<-------------'
//! ```

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use wasm_softphone::entropy::Entropy;
use wasm_softphone::time::{Duration, Instant};

use super::actions::{self, Action, Branch, Connect, Hangup, Ivr, Verb};
use super::faults::{Fault, Faults};
use super::magic::{self, Manner, Sound};
use super::options::Options;
use super::record::{Clock, LegLog, Record, hex};

/// Seconds that the A leg rings when the request names no time.
const RING_TIMEOUT: u64 = 60;
/// Cost of a leg's second, in 1/10000 of the account's currency.
const COST_PER_SECOND: u64 = 100;
/// More calls than this are not remembered.
const MAX_CALLS: usize = 10_000;

/// One leg: a phone's, or a far party's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Call the phones of a user.
    Invite {
        /// The new leg.
        leg: LegId,
        /// The call it belongs to.
        call: String,
        /// User part of From.
        from: String,
        /// User part of To: the number without `+`.
        to: String,
        /// Register one more phone first; it answers at once or rings only.
        second: Option<bool>,
    },
    /// Answer the INVITE of a phone.
    Accept(LegId),
    /// End a leg of a phone, with this status where it has none yet.
    End(LegId, Option<u16>),
    /// Let this be heard on the leg.
    Play(LegId, Sound),
    /// Join the audio of two legs of phones.
    Join(LegId, LegId),
    /// Fetch an action; answer with [`Input::Fetched`].
    Fetch {
        /// The call.
        call: String,
        /// To be handed back.
        seq: u64,
        /// From here.
        url: String,
        /// With this form.
        form: Vec<(String, String)>,
    },
    /// Fetch a file of sound; what comes is not looked at.
    Get(String),
    /// Report something, until it is accepted.
    Hook {
        /// To here.
        url: String,
        /// This form.
        form: Vec<(String, String)>,
        /// Not before so long from now.
        after: Duration,
    },
}

/// What has happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A phone has answered.
    Answered(LegId),
    /// A leg is over; with the status of the refusal where there was one.
    Gone(LegId, Option<u16>),
    /// A key was pressed.
    Key(LegId, char),
    /// Nothing was heard for three seconds.
    Silent(LegId),
    /// What a fetch has brought: the body of a 200 to 204.
    Fetched {
        /// The call.
        call: String,
        /// Of which fetch.
        seq: u64,
        /// `None`: it failed.
        body: Option<String>,
    },
    /// Time has passed.
    Timer,
}

/// A request to call.
#[derive(Debug, Clone, Default)]
pub struct Originate {
    /// Number to show.
    pub from: String,
    /// Number of the A leg.
    pub to: String,
    /// URL or action.
    pub voice_start: String,
    /// Where to report the end.
    pub whenhangup: Option<String>,
    /// Seconds to ring.
    pub timeout: Option<u64>,
}

/// A number of the simulated account.
#[derive(Debug, Clone)]
pub struct Number {
    /// `n...`.
    pub id: String,
    /// E.164.
    pub number: String,
    /// The SIP password of a WebRTC number.
    pub secret: Option<String>,
    /// Of a public number: the WebRTC number of the same user.
    pub user: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Waiting,
    Ringing,
    Pausing,
    Fetching { seq: u64, first: bool },
    Connecting { legs: Vec<LegId>, connect: Connect, busy: bool },
    Bridged { leg: LegId, connect: Connect },
    Playing { skippable: bool, next: Option<Branch> },
    Ivr { ivr: Ivr, digits: String, left: u64 },
    Recording { since: Instant, silencedetection: bool, url: String, next: Option<Branch> },
    Over,
}

#[derive(Debug)]
struct Call {
    record: Record,
    /// Made by request and so billed.
    originated: bool,
    a: LegId,
    stage: Stage,
    deadline: Option<Instant>,
    voice_start: String,
    hooks: Vec<String>,
    ring: Duration,
    no_invite: bool,
    second: Option<bool>,
    answered: Option<Instant>,
    /// The first action may still refuse the call with a status of its own.
    first: bool,
    recordcall: Option<String>,
    recordings: u32,
    running_state: String,
}

#[derive(Debug)]
struct Leg {
    call: String,
    from: String,
    to: String,
    /// `None`: a phone; else what the far party lets be heard.
    party: Option<Sound>,
    /// Of an INVITE that a phone has sent.
    inbound: bool,
    answered: Option<Instant>,
    log: usize,
}

/// All calls. After each input drain [`Calls::poll_output`], then wait until [`Calls::poll_timeout`].
pub struct Calls {
    /// Settings.
    pub options: Options,
    /// Armed faults.
    pub faults: Faults,
    /// The numbers.
    pub numbers: Vec<Number>,
    /// Every leg there was.
    pub legs: Vec<LegLog>,
    /// The owner's id in records.
    pub owner: String,
    clock: Clock,
    entropy: Box<dyn Entropy + Send>,
    calls: BTreeMap<String, Call>,
    live: BTreeMap<LegId, Leg>,
    /// What far parties will do.
    plans: Vec<(Instant, Input)>,
    outputs: VecDeque<Output>,
    last: u64,
}

impl Calls {
    /// No calls yet.
    #[must_use]
    pub fn new(
        options: Options,
        numbers: Vec<Number>,
        owner: String,
        clock: Clock,
        entropy: Box<dyn Entropy + Send>,
    ) -> Self {
        Self {
            options,
            faults: Faults::default(),
            numbers,
            legs: Vec::new(),
            owner,
            clock,
            entropy,
            calls: BTreeMap::new(),
            live: BTreeMap::new(),
            plans: Vec::new(),
            outputs: VecDeque::new(),
            last: 0,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to come with [`Input::Timer`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().filter_map(|call| call.deadline);
        calls.chain(self.plans.iter().map(|(at, _)| *at)).min()
    }

    /// A moment in the API's form.
    #[must_use]
    pub fn format(&self, now: Instant) -> String {
        self.clock.format(now)
    }

    /// The records, newest first.
    #[must_use]
    pub fn records(&self) -> Vec<&Record> {
        let mut records: Vec<&Record> = self.calls.values().map(|call| &call.record).collect();
        records.sort_unstable_by_key(|record| core::cmp::Reverse(record.created));
        records
    }

    /// One record.
    #[must_use]
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.calls.get(id).map(|call| &call.record).filter(|record| !record.deleted)
    }

    /// Hides a record; the call goes on. `None`: there is none.
    pub fn delete(&mut self, now: Instant, id: &str) -> Option<String> {
        let record = self.calls.get_mut(id).map(|call| &mut call.record).filter(|record| !record.deleted)?;
        record.deleted = true;
        Some(self.clock.format(now))
    }

    /// Ends a call from outside.
    pub fn hang_up(&mut self, now: Instant, id: &str) -> bool {
        let known = self.calls.contains_key(id);
        let state = self
            .calls
            .get(id)
            .map_or("failed", |call| if call.answered.is_some() { "success" } else { "failed" });
        self.finish(now, id, state);
        known
    }

    /// Whether a call ended.
    #[must_use]
    pub fn is_over(&self, id: &str) -> bool {
        self.calls.get(id).is_none_or(|call| call.stage == Stage::Over)
    }

    /// A call as `POST /a1/calls` makes it.
    pub fn originate(&mut self, now: Instant, request: Originate) -> String {
        let id = self.id('c');
        let at_once = self.faults.take(Fault::InviteBeforeResponse).is_some();
        let mut delay = if at_once { 0 } else { self.options.invite_delay_ms };
        if let Some(late) = self.faults.take(Fault::LateInviteAfterCancel) {
            delay = late.number(3000);
        }
        for fault in [Fault::StrangerCallInWindow, Fault::SpoofedOwnNumberInWindow] {
            if let Some(armed) = self.faults.take(fault) {
                let from = match fault {
                    Fault::StrangerCallInWindow => armed.text("+46709999999"),
                    _ => request.from.clone(),
                };
                self.stranger(now, &from, &request.to);
                delay = delay.max(500);
            }
        }
        let second = self.faults.take(Fault::TwoRegistrations).map(|armed| armed.text("ring") == "answer");
        let no_invite = self.faults.take(Fault::NoInvite).is_some();
        let running = self.faults.take(Fault::UnknownState).map(|armed| armed.text("pondering"));
        let call = Call {
            originated: true,
            stage: Stage::Waiting,
            deadline: Some(now + Duration::from_millis(delay)),
            voice_start: request.voice_start,
            hooks: request.whenhangup.into_iter().collect(),
            ring: Duration::from_secs(request.timeout.unwrap_or(RING_TIMEOUT)),
            no_invite,
            second,
            running_state: running.unwrap_or_else(|| "ongoing".to_owned()),
            ..self.call(now, &id, "outgoing", &request.from, &request.to)
        };
        self.insert(call);
        id
    }

    /// A call from outside to a number of ours: its `voice_start` is run, or the phones of a WebRTC number ring.
    pub fn incoming(&mut self, now: Instant, from: &str, to: &str) -> Option<String> {
        let number = self.numbers.iter().find(|number| number.number == to)?;
        let voice_start = self.voice_start(number)?;
        let id = self.id('c');
        let a = self.virtual_leg(now, &id, from, to, Sound::Tone(1000), "a");
        let call = Call { a, voice_start, ..self.call(now, &id, "incoming", from, to) };
        self.insert(call);
        self.start(now, &id);
        Some(id)
    }

    /// A phone of this WebRTC number has called: its `voice_start` is run.
    pub fn client_call(&mut self, now: Instant, number: &str, to: &str) -> Option<LegId> {
        let known = self.numbers.iter().find(|n| n.number == number && n.secret.is_some())?;
        let voice_start = self.options.voice_start.get(&known.number).cloned()?;
        let id = self.id('c');
        let a = self.leg(now, &id, number, to, "a", false);
        if let Some(leg) = self.live.get_mut(&a) {
            leg.inbound = true;
        }
        let call = Call { a, voice_start, ..self.call(now, &id, "incoming", number, to) };
        self.insert(call);
        self.start(now, &id);
        Some(a)
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Answered(leg) => self.answered(now, leg),
            Input::Gone(leg, status) => self.gone(now, leg, status),
            Input::Key(leg, key) => self.key(now, leg, key),
            Input::Silent(leg) => {
                let Some(id) = self.live.get(&leg).map(|leg| leg.call.clone()) else { return };
                if self.calls.get(&id).is_some_and(|call| {
                    call.a == leg && matches!(call.stage, Stage::Recording { silencedetection: true, .. })
                }) {
                    self.recorded(now, &id);
                }
            }
            Input::Fetched { call, seq, body } => self.fetched(now, &call, seq, body.as_deref()),
            Input::Timer => {}
        }
        self.run_timers(now);
    }

    fn run_timers(&mut self, now: Instant) {
        let (due, later) = core::mem::take(&mut self.plans).into_iter().partition(|(at, _)| *at <= now);
        self.plans = later;
        let due: Vec<(Instant, Input)> = due;
        for (_, input) in due {
            match input {
                Input::Answered(leg) => self.answered(now, leg),
                Input::Gone(leg, status) => self.gone(now, leg, status),
                _ => {}
            }
        }
        let due: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| call.deadline.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.deadline(now, &id);
        }
    }

    // ---- the A leg

    fn deadline(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.deadline = None;
        match core::mem::replace(&mut call.stage, Stage::Ringing) {
            Stage::Waiting => {
                call.deadline = Some(now + call.ring);
                if !call.no_invite {
                    self.invite_a(now, id);
                }
            }
            Stage::Ringing => self.finish(now, id, "failed"),
            Stage::Pausing => self.fetch_voice_start(now, id),
            Stage::Fetching { .. } => self.finish(now, id, "failed"),
            Stage::Connecting { legs, connect, busy } => {
                call.stage = Stage::Connecting { legs: Vec::new(), connect: connect.clone(), busy };
                for leg in legs {
                    self.end_leg(now, leg, "failed", None);
                }
                self.connected(now, id, &connect, "failed");
            }
            Stage::Playing { next, .. } => {
                self.result(id, "success");
                self.proceed(now, id, next.as_ref(), "success");
            }
            Stage::Ivr { ivr, digits, left } => {
                if !digits.is_empty() {
                    self.keys_entered(now, id, &ivr, &digits);
                } else if left > 1 {
                    self.prompt(now, id, ivr, left - 1);
                } else {
                    self.result(id, "failed");
                    self.proceed(now, id, ivr.next.as_ref(), "failed");
                }
            }
            stage @ Stage::Recording { .. } => {
                call.stage = stage;
                self.recorded(now, id);
            }
            stage @ (Stage::Bridged { .. } | Stage::Over) => call.stage = stage,
        }
    }

    fn invite_a(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get(id) else { return };
        let (from, to, second) = (call.record.from.clone(), call.record.to.clone(), call.second);
        let leg = if self.is_webrtc(&to) {
            let leg = self.leg(now, id, &from, &to, "a", true);
            self.invite(leg, id, &from, &to, second);
            leg
        } else {
            self.call_party(now, id, &from, &to, "a")
        };
        if let Some(call) = self.calls.get_mut(id) {
            call.a = leg;
        }
    }

    fn invite(&mut self, leg: LegId, call: &str, from: &str, to: &str, second: Option<bool>) {
        self.outputs.push_back(Output::Invite {
            leg,
            call: call.to_owned(),
            from: from.to_owned(),
            to: to.trim_start_matches('+').to_owned(),
            second,
        });
    }

    /// A call to the phones of a number that belongs to no request.
    fn stranger(&mut self, now: Instant, from: &str, to: &str) {
        let id = self.id('c');
        let leg = self.leg(now, &id, from, to, "stranger", false);
        self.invite(leg, &id, from, to, None);
        self.outputs.push_back(Output::Play(leg, Sound::Tone(1500)));
    }

    fn answered(&mut self, now: Instant, leg_id: LegId) {
        let Some(leg) = self.live.get_mut(&leg_id).filter(|leg| leg.answered.is_none()) else { return };
        leg.answered = Some(now);
        let (id, at) = (leg.call.clone(), self.clock.format(now));
        if let Some(log) = self.legs.get_mut(leg.log) {
            log.answered = true;
            log.answered_at = Some(at);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.a == leg_id {
            if call.stage == Stage::Ringing {
                self.picked_up(now, &id);
                self.start(now, &id);
            }
            return;
        }
        let Stage::Connecting { legs, connect, .. } = &call.stage else { return };
        let losers: Vec<LegId> = legs.iter().copied().filter(|other| *other != leg_id).collect();
        call.stage = Stage::Bridged { leg: leg_id, connect: connect.clone() };
        call.deadline = None;
        let a = call.a;
        for loser in losers {
            self.end_leg(now, loser, "failed", None);
        }
        self.picked_up(now, &id);
        let sound = |leg: LegId| self.live.get(&leg).and_then(|leg| leg.party);
        match (sound(a), sound(leg_id)) {
            (None, None) => self.outputs.push_back(Output::Join(a, leg_id)),
            (None, Some(sound)) => self.outputs.push_back(Output::Play(a, sound)),
            (Some(sound), None) => self.outputs.push_back(Output::Play(leg_id, sound)),
            (Some(_), Some(_)) => {}
        }
    }

    /// The A side counts as answered.
    fn picked_up(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.answered.is_none() {
            call.answered = Some(now);
            call.record.start = Some(self.clock.format(now));
            let a = call.a;
            if let Some(leg) = self.live.get_mut(&a) {
                leg.answered.get_or_insert(now);
                if leg.inbound {
                    self.outputs.push_back(Output::Accept(a));
                }
                if let Some(log) = self.legs.get_mut(leg.log) {
                    log.answered = true;
                    log.answered_at.get_or_insert(self.clock.format(now));
                }
            }
        }
    }

    /// Begins with the first action.
    fn start(&mut self, now: Instant, id: &str) {
        if let Some(armed) = self.faults.take(Fault::HangupHookBeforeVoiceStart)
            && let Some(call) = self.calls.get_mut(id)
        {
            call.stage = Stage::Pausing;
            call.deadline = Some(now + Duration::from_millis(armed.number(200)));
            let mut form = call.record.end_form();
            form.iter_mut()
                .filter(|(key, _)| key == "state")
                .for_each(|(_, value)| *value = "failed".to_owned());
            for url in call.hooks.clone() {
                self.outputs.push_back(Output::Hook { url, form: form.clone(), after: Duration::ZERO });
            }
            return;
        }
        if let Some(armed) = self.faults.take(Fault::VoiceStartSlow)
            && let Some(call) = self.calls.get_mut(id)
        {
            call.stage = Stage::Pausing;
            call.deadline = Some(now + Duration::from_millis(armed.number(4000)));
            return;
        }
        self.fetch_voice_start(now, id);
    }

    fn fetch_voice_start(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let voice_start = call.voice_start.clone();
        if voice_start.trim_start().starts_with('{') {
            return self.act_on(now, id, &voice_start, true);
        }
        let mut form = call.record.start_form();
        if call.record.direction == "incoming" {
            form.push(("result".to_owned(), "newincoming".to_owned()));
        }
        let duplicate = self.faults.take(Fault::DupVoiceStart).is_some();
        let other = self.faults.take(Fault::VoiceStartOtherCallid).map(|armed| armed.text("after"));
        let mut stranger = form.clone();
        if other.is_some() {
            let false_id = self.id('c');
            stranger
                .iter_mut()
                .filter(|(key, _)| key == "callid")
                .for_each(|(_, value)| *value = false_id.clone());
        }
        match other.as_deref() {
            // Nobody waits for what comes back: its number is of no fetch.
            Some("before") => {
                self.push_fetch(id, 0, &voice_start, stranger);
                self.fetch(now, id, &voice_start, form, true);
            }
            Some("instead") => self.fetch(now, id, &voice_start, stranger, true),
            Some(_) => {
                self.fetch(now, id, &voice_start, form, true);
                self.push_fetch(id, 0, &voice_start, stranger);
            }
            None => {
                self.fetch(now, id, &voice_start, form.clone(), true);
                if duplicate {
                    self.push_fetch(id, 0, &voice_start, form);
                }
            }
        }
    }

    fn fetch(&mut self, now: Instant, id: &str, url: &str, form: Vec<(String, String)>, first: bool) {
        let seq = self.next();
        let patience = Duration::from_millis(self.options.fetch_timeout_ms);
        if let Some(call) = self.calls.get_mut(id) {
            call.stage = Stage::Fetching { seq, first };
            call.deadline = Some(now + patience);
        }
        self.push_fetch(id, seq, url, form);
    }

    fn push_fetch(&mut self, call: &str, seq: u64, url: &str, form: Vec<(String, String)>) {
        let (call, url) = (call.to_owned(), url.to_owned());
        self.outputs.push_back(Output::Fetch { call, seq, url, form });
    }

    fn fetched(&mut self, now: Instant, id: &str, seq: u64, body: Option<&str>) {
        let Some(call) = self.calls.get(id) else { return };
        let Stage::Fetching { seq: wanted, first } = call.stage else { return };
        if wanted != seq {
            return;
        }
        match body {
            Some(body) => self.act_on(now, id, body, first),
            None => self.finish(now, id, "failed"),
        }
    }

    // ---- actions

    fn act_on(&mut self, now: Instant, id: &str, text: &str, first: bool) {
        if let Some(call) = self.calls.get_mut(id) {
            call.first = first;
            call.deadline = None;
        }
        match actions::parse(text) {
            Ok(action) => self.act(now, id, &action),
            Err(_) => self.finish(now, id, "failed"),
        }
    }

    fn act(&mut self, now: Instant, id: &str, action: &Action) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let first = core::mem::take(&mut call.first);
        if let Some(url) = &action.recordcall {
            call.recordcall = Some(url.clone());
        }
        let a = call.a;
        match &action.verb {
            Verb::Connect(connect) => {
                call.record.actions.push(json!({ "connect": connect.to }));
                call.hooks.extend(connect.whenhangup.clone());
                self.connect(now, id, connect);
            }
            Verb::Play { url, skippable, next } => {
                call.record.actions.push(json!({ "play": url }));
                call.stage = Stage::Playing { skippable: *skippable, next: next.clone() };
                call.deadline = Some(now + Duration::from_millis(self.options.play_ms));
                self.picked_up(now, id);
                self.prompt_sound(a, url);
            }
            Verb::Ivr(ivr) => {
                call.record.actions.push(json!({ "ivr": ivr.url }));
                self.picked_up(now, id);
                self.prompt(now, id, ivr.clone(), ivr.repeat);
            }
            Verb::Record { url, timelimit, silencedetection, next } => {
                call.record.actions.push(json!({ "record": url }));
                call.stage = Stage::Recording {
                    since: now,
                    silencedetection: *silencedetection,
                    url: url.clone(),
                    next: next.clone(),
                };
                call.deadline = Some(now + Duration::from_secs(*timelimit));
                self.picked_up(now, id);
                self.outputs.push_back(Output::Play(a, Sound::Silence));
            }
            Verb::Hangup(how) => {
                let word = match how {
                    Hangup::Reject => "reject",
                    Hangup::Busy => "busy",
                    Hangup::NotFound => "404",
                };
                call.record.actions.push(json!({ "hangup": word }));
                let answered = call.answered.is_some();
                let (state, status) = match how {
                    Hangup::Busy if first && !answered => ("busy", 486),
                    Hangup::NotFound if first && !answered => ("failed", 404),
                    _ if answered => ("success", 603),
                    _ => ("failed", 603),
                };
                self.end_leg(now, a, state, Some(status));
                self.finish(now, id, state);
            }
        }
    }

    fn prompt_sound(&mut self, leg: LegId, url: &str) {
        if url.starts_with("http") {
            self.outputs.push_back(Output::Get(url.to_owned()));
        }
        self.outputs.push_back(Output::Play(leg, Sound::Tone(880)));
    }

    fn prompt(&mut self, now: Instant, id: &str, ivr: Ivr, left: u64) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let (a, url) = (call.a, ivr.url.clone());
        call.deadline = Some(now + Duration::from_secs(ivr.timeout));
        call.stage = Stage::Ivr { ivr, digits: String::new(), left };
        self.prompt_sound(a, &url);
    }

    fn key(&mut self, now: Instant, leg: LegId, key: char) {
        let Some(id) = self.live.get(&leg).map(|leg| leg.call.clone()) else { return };
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.a == leg) else { return };
        match call.stage.clone() {
            Stage::Playing { skippable: true, next } => {
                call.deadline = None;
                self.result(&id, "success");
                self.proceed(now, &id, next.as_ref(), "success");
            }
            Stage::Ivr { ivr, mut digits, left } => {
                let ends = key == '#' && ivr.digits > 1;
                if !ends {
                    digits.push(key);
                }
                if ends || digits.len() >= ivr.digits {
                    call.deadline = None;
                    return self.keys_entered(now, &id, &ivr, &digits);
                }
                call.deadline = Some(now + Duration::from_secs(ivr.timeout));
                call.stage = Stage::Ivr { ivr, digits, left };
            }
            Stage::Recording { silencedetection: false, .. } if key == '#' => self.recorded(now, &id),
            _ => {}
        }
    }

    fn keys_entered(&mut self, now: Instant, id: &str, ivr: &Ivr, digits: &str) {
        self.result(id, digits);
        let branch = ivr.keys.get(digits).or(ivr.next.as_ref());
        self.proceed(now, id, branch, digits);
    }

    fn recorded(&mut self, now: Instant, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let Stage::Recording { since, url, next, .. } = core::mem::replace(&mut call.stage, Stage::Ringing)
        else {
            return;
        };
        call.deadline = None;
        self.report_recording(id, url, now.saturating_since(since));
        self.result(id, "success");
        self.proceed(now, id, next.as_ref(), "success");
    }

    fn report_recording(&mut self, id: &str, url: String, length: Duration) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let name = format!("{id}-r{}", call.recordings);
        call.recordings += 1;
        let mut form = call.record.start_form();
        form.retain(|(key, _)| key != "direction");
        form.push(("duration".to_owned(), length.as_secs().to_string()));
        form.push(("wav".to_owned(), format!("https://api.46elks.com/a1/recordings/{name}.wav")));
        self.outputs.push_back(Output::Hook { url, form, after: Duration::ZERO });
    }

    /// The result of the latest action.
    fn result(&mut self, id: &str, result: &str) {
        if let Some(Value::Object(action)) =
            self.calls.get_mut(id).and_then(|call| call.record.actions.last_mut())
        {
            action.insert("result".to_owned(), Value::String(result.to_owned()));
        }
    }

    /// Goes on with what follows; without anything the call ends.
    fn proceed(&mut self, now: Instant, id: &str, next: Option<&Branch>, result: &str) {
        match next {
            Some(Branch::Action(action)) => self.act(now, id, action),
            Some(Branch::Url(url)) => {
                let Some(call) = self.calls.get(id) else { return };
                let mut form = call.record.start_form();
                form.push(("result".to_owned(), result.to_owned()));
                self.fetch(now, id, url, form, false);
            }
            None => {
                let answered = self.calls.get(id).is_some_and(|call| call.answered.is_some());
                let state = match result {
                    _ if answered => "success",
                    "busy" => "busy",
                    _ => "failed",
                };
                self.finish(now, id, state);
            }
        }
    }

    // ---- connect

    fn connect(&mut self, now: Instant, id: &str, connect: &Connect) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let a = call.a;
        let own = call.record.from.clone();
        let callerid = connect.callerid.clone().unwrap_or(own);
        let timeout = connect.timeout.unwrap_or(self.options.connect_timeout);
        call.deadline = Some(now + Duration::from_secs(timeout));
        call.stage = Stage::Connecting { legs: Vec::new(), connect: connect.clone(), busy: false };
        self.outputs.push_back(Output::Play(a, Sound::Ringback));
        let mut legs = Vec::new();
        for to in connect.parties() {
            let allowed = is_e164(to) || self.options.sip_whitelist.iter().any(|sip| sip == to);
            if !allowed {
                continue;
            }
            let leg = if self.is_webrtc(to) {
                let leg = self.leg(now, id, &callerid, to, "b", false);
                self.invite(leg, id, &callerid, to, None);
                leg
            } else {
                self.call_party(now, id, &callerid, to, "b")
            };
            legs.push(leg);
        }
        if legs.is_empty() {
            return self.connected(now, id, connect, "failed");
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.stage = Stage::Connecting { legs, connect: connect.clone(), busy: false };
        }
    }

    /// A connect is over.
    fn connected(&mut self, now: Instant, id: &str, connect: &Connect, result: &str) {
        if let Some(call) = self.calls.get_mut(id) {
            call.deadline = None;
            let a = call.a;
            self.outputs.push_back(Output::Play(a, Sound::Silence));
        }
        self.result(id, result);
        self.proceed(now, id, connect.after(result), result);
    }

    fn call_party(&mut self, now: Instant, id: &str, from: &str, to: &str, name: &'static str) -> LegId {
        let mut manner = magic::manner(to, &self.options);
        for (fault, other) in
            [(Fault::BBusy, Manner::Busy), (Fault::BNoAnswer, Manner::Rings), (Fault::BFailed, Manner::Fails)]
        {
            if name == "b" && self.faults.take(fault).is_some() {
                manner = other;
            }
        }
        let sound = match manner {
            Manner::Answers { sound, .. } => sound,
            _ => Sound::Silence,
        };
        let leg = self.virtual_leg(now, id, from, to, sound, name);
        let soon = now + Duration::from_millis(20);
        match manner {
            Manner::Answers { after, hangs_up, .. } => {
                self.plans.push((now + after, Input::Answered(leg)));
                if let Some(stay) = hangs_up {
                    self.plans.push((now + after + stay, Input::Gone(leg, None)));
                }
            }
            Manner::Busy => self.plans.push((soon, Input::Gone(leg, Some(486)))),
            Manner::Rings => {}
            Manner::Fails => self.plans.push((soon, Input::Gone(leg, Some(404)))),
        }
        leg
    }

    fn gone(&mut self, now: Instant, leg_id: LegId, status: Option<u16>) {
        let Some(leg) = self.live.get(&leg_id) else { return };
        let (id, was_up) = (leg.call.clone(), leg.answered.is_some());
        let state = match status {
            _ if was_up => "success",
            Some(486 | 600) => "busy",
            _ => "failed",
        };
        self.forget_leg(now, leg_id, state);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.a == leg_id {
            let state = if call.answered.is_some() { "success" } else { state };
            if matches!(call.stage, Stage::Connecting { .. }) {
                self.result(&id, "failed");
            } else if matches!(call.stage, Stage::Bridged { .. }) {
                self.result(&id, "success");
            }
            return self.finish(now, &id, state);
        }
        match &mut call.stage {
            Stage::Bridged { leg, connect } if *leg == leg_id => {
                let connect = connect.clone();
                self.connected(now, &id, &connect, "success");
            }
            Stage::Connecting { legs, connect, busy } => {
                legs.retain(|leg| *leg != leg_id);
                *busy |= state == "busy";
                if legs.is_empty() {
                    let (connect, result) = (connect.clone(), if *busy { "busy" } else { "failed" });
                    self.connected(now, &id, &connect, result);
                }
            }
            _ => {}
        }
    }

    // ---- the end

    fn finish(&mut self, now: Instant, id: &str, state: &str) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.stage != Stage::Over) else { return };
        call.stage = Stage::Over;
        call.deadline = None;
        let legs: Vec<LegId> =
            self.live.iter().filter(|(_, leg)| leg.call == id).map(|(leg, _)| *leg).collect();
        for leg in legs {
            self.end_leg(now, leg, state, None);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        call.record.state = state.to_owned();
        if let Some(answered) = call.answered {
            let seconds = seconds(now.saturating_since(answered));
            let legs: u64 = call.record.legs.iter().filter_map(|leg| leg.get("duration")?.as_u64()).sum();
            call.record.duration = Some(seconds);
            call.record.cost = Some((seconds + legs) * COST_PER_SECOND);
        }
        let (form, hooks) = (call.record.end_form(), call.hooks.clone());
        let recording = call.recordcall.clone().zip(call.answered);
        let after = self.faults.take(Fault::HangupHookLate).map_or(0, |armed| armed.number(10_000));
        let times = 1 + usize::from(self.faults.take(Fault::HangupHookDup).is_some());
        for url in hooks {
            for _ in 0..times {
                let after = Duration::from_millis(after);
                self.outputs.push_back(Output::Hook { url: url.clone(), form: form.clone(), after });
            }
        }
        if let Some((url, answered)) = recording {
            self.report_recording(id, url, now.saturating_since(answered));
        }
    }

    fn end_leg(&mut self, now: Instant, leg: LegId, state: &str, status: Option<u16>) {
        if self.live.get(&leg).is_some_and(|leg| leg.party.is_none()) {
            self.outputs.push_back(Output::End(leg, status));
        }
        self.forget_leg(now, leg, state);
    }

    fn forget_leg(&mut self, now: Instant, leg_id: LegId, state: &str) {
        let Some(leg) = self.live.remove(&leg_id) else { return };
        self.plans
            .retain(|(_, plan)| !matches!(plan, Input::Answered(id) | Input::Gone(id, _) if *id == leg_id));
        let state = if leg.answered.is_some() { "success" } else { state };
        let at = self.clock.format(now);
        let is_b = self.legs.get_mut(leg.log).is_some_and(|log| {
            log.ended_at = Some(at);
            log.state = state.to_owned();
            log.leg == "b"
        });
        if is_b && let Some(call) = self.calls.get_mut(&leg.call) {
            let duration = leg.answered.map_or(0, |answered| seconds(now.saturating_since(answered)));
            call.record
                .legs
                .push(json!({ "duration": duration, "to": leg.to, "state": state, "from": leg.from }));
        }
    }

    // ---- small things

    fn call(&mut self, now: Instant, id: &str, direction: &'static str, from: &str, to: &str) -> Call {
        Call {
            record: Record {
                id: id.to_owned(),
                direction,
                from: from.to_owned(),
                to: to.to_owned(),
                created: self.clock.stamp(now),
                owner: self.owner.clone(),
                ..Record::default()
            },
            originated: false,
            a: LegId(0),
            stage: Stage::Ringing,
            deadline: None,
            voice_start: String::new(),
            hooks: Vec::new(),
            ring: Duration::from_secs(RING_TIMEOUT),
            no_invite: false,
            second: None,
            answered: None,
            first: true,
            recordcall: None,
            recordings: 0,
            running_state: "ongoing".to_owned(),
        }
    }

    fn insert(&mut self, mut call: Call) {
        if self.calls.len() >= MAX_CALLS
            && let Some(oldest) = self.records().last().map(|record| record.id.clone())
        {
            self.calls.remove(&oldest);
        }
        call.record.state = call.running_state.clone();
        call.record.timeout = call.originated.then_some(call.ring.as_secs().into());
        self.calls.insert(call.record.id.clone(), call);
    }

    fn virtual_leg(
        &mut self,
        now: Instant,
        call: &str,
        from: &str,
        to: &str,
        sound: Sound,
        name: &'static str,
    ) -> LegId {
        let billed = name == "b" && self.calls.get(call).is_some_and(|call| call.originated);
        let id = self.leg(
            now,
            call,
            from,
            to,
            name,
            billed || (name == "a" && self.calls.get(call).is_some_and(|call| call.originated)),
        );
        if let Some(leg) = self.live.get_mut(&id) {
            leg.party = Some(sound);
        }
        id
    }

    fn leg(
        &mut self,
        now: Instant,
        call: &str,
        from: &str,
        to: &str,
        name: &'static str,
        billed: bool,
    ) -> LegId {
        let id = LegId(self.next());
        self.legs.push(LegLog {
            id: id.0,
            call: call.to_owned(),
            leg: name,
            from: from.to_owned(),
            to: to.to_owned(),
            billed,
            at: self.clock.format(now),
            ..LegLog::default()
        });
        let leg = Leg {
            call: call.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            party: None,
            inbound: false,
            answered: None,
            log: self.legs.len() - 1,
        };
        self.live.insert(id, leg);
        id
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A new id with this letter before its 32 digits.
    fn id(&mut self, letter: char) -> String {
        format!("{letter}{}", hex(&mut *self.entropy))
    }

    fn is_webrtc(&self, number: &str) -> bool {
        self.numbers.iter().any(|known| known.number == number && known.secret.is_some())
    }

    fn voice_start(&self, number: &Number) -> Option<String> {
        let set = self.options.voice_start.get(&number.number).cloned();
        let phone = if number.secret.is_some() { Some(&number.number) } else { number.user.as_ref() };
        set.filter(|_| number.secret.is_none())
            .or_else(|| phone.map(|phone| json!({ "connect": phone }).to_string()))
    }
}

/// `+`, no leading zero, 7 to 15 digits.
#[must_use]
pub fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn seconds(time: Duration) -> u64 {
    (u64::from(time.as_millis()) + 500) / 1000
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
