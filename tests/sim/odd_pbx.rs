//! A phone at a PBX with habits: each alone and those of known makes by a table, and random days of random ones. What
//! must hold: both ends agree, nothing that was refused changes a call, nothing within a dialog shows credentials that
//! nobody asked for, a phone that had a binding gets it again, and nothing stays. More seeds:
//! `SIM_SEEDS=20000 cargo test --test sim odd_pbx`; one: `SIM_SEED=7 cargo test --test sim pbx_of_random -- --nocapture`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;
use wasm_softphone::time::Duration;

use crate::bench::{ms, outcome, secs};
use crate::forking_proxy::Net;
use crate::pbx::{Act, Crlf, Early, Habits, Line4916, Pbx, Stage, Timers};
use crate::random_calls::seeds;
use wasm_softphone::entropy::{SeededEntropy, below};
use wasm_softphone::phone::{
    CallId, CallInfo, CallState, CredentialSource, Credentials, DialRequest, Event, Footprint,
    RegistrationState, Secret,
};
use wasm_softphone::sip::sdp::Direction;

/// Crossed offers, and requests to come back later: all is said again by then.
const SETTLED: Duration = Duration::from_secs(45);
/// The longest back-off between two attempts at a registration, with what an attempt takes.
const BACK_OFF: Duration = Duration::from_secs(31 * 60);
/// A phone that comes back within minutes opens no more sockets than this in that hour.
const SOCKETS: usize = 6;

/// What a registrar says for a while.
const REFUSALS: [u16; 9] = [400, 401, 403, 404, 405, 480, 482, 500, 503];

struct Desk {
    net: Net,
    name: String,
    history: Vec<String>,
    /// The user's last word on each call that is up.
    holds: BTreeMap<CallId, bool>,
}

impl Desk {
    fn new(name: &str, habits: &Habits, seed: u64) -> Self {
        let net = Net::beside(
            1,
            Some(seed),
            |_, config| {
                config.register = true;
                config.trust_identity = true;
                // Kept by the phone, or asked for each time.
                if seed.is_multiple_of(2) {
                    config.credentials = CredentialSource::Ask;
                }
            },
            |_, now| Some(Pbx::new(habits.clone(), seed, now)),
        );
        let mut desk = Self { net, name: name.into(), history: Vec::new(), holds: BTreeMap::new() };
        desk.net.media_delay = 30;
        desk.net.credentials = Some(Credentials {
            username: None,
            secret: Secret::Password("alice-secret".into()),
            realm: None,
        });
        desk
    }

    fn pbx(&self) -> &Pbx {
        self.net.pbx[0].as_ref().unwrap()
    }

    fn run(&mut self, time: Duration) {
        self.net.run(time);
    }

    fn until(&mut self, bound: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.net.now + bound;
        while !done(self) && self.net.now < end {
            self.run(ms(200));
        }
        done(self)
    }

    fn fail(&self, what: &str) -> ! {
        let log: Vec<_> = self.net.log.iter().filter(|line| *line != "PBX pong").cloned().collect();
        let log = &log[log.len().saturating_sub(100)..];
        panic!(
            "{}: {what}\n{:?}\n{}\n{}",
            self.name,
            self.pbx().habits,
            self.history.join("\n"),
            log.join("\n")
        )
    }

    fn note(&mut self, what: impl Into<String>) {
        let what = format!("{:?} {}", self.net.now, what.into());
        if self.net.shows {
            println!("== {what}");
        }
        self.net.log.push(what.clone());
        self.history.push(what);
    }

    fn calls(&self) -> Vec<CallInfo> {
        let calls = self.net.phones[0].phone.calls().into_iter();
        calls.filter(|info| info.state != CallState::Ended).collect()
    }

    fn registered(&self) -> bool {
        self.net.phones[0].registration() == RegistrationState::Registered && self.pbx().is_registered()
    }

    /// What must hold at every step.
    fn check(&self) {
        if let Some(broken) = self.pbx().broken.first() {
            self.fail(broken);
        }
        if let Some(leak) = self.net.leaks.first() {
            self.fail(&format!("audible while held: {leak}"));
        }
        // Once for each challenge that is to be answered, and never for a keep-alive's.
        if self.net.questions > self.pbx().challenges {
            self.fail(&format!("{} questions for {} challenges", self.net.questions, self.pbx().challenges));
        }
    }

    /// What must hold when nothing is under way.
    fn check_settled(&self) {
        self.check();
        let calls = self.calls();
        for info in &calls {
            let Some((_, leg)) = self.pbx().up().find(|(_, leg)| leg.call_id == info.sip_call_id) else {
                self.fail(&format!("no other end: {info:?}"))
            };
            if info.state != CallState::Active {
                self.fail(&format!("stuck: {info:?}"));
            }
            // A hold that was refused is told as such, and the call is as it was.
            let last = self.net.phones[0].events.iter().rev().find_map(|event| match event {
                Event::HoldDone(id, result) if *id == info.id => Some(result.is_ok()),
                _ => None,
            });
            // A call that has taken the place of a held one is held.
            if last != Some(false)
                && info.continues.is_none()
                && self.holds.get(&info.id).is_some_and(|holds| *holds != info.local_hold)
            {
                self.fail(&format!("the user said otherwise: {info:?}"));
            }
            if info.remote_hold != leg.holds && !info.local_hold {
                self.fail(&format!("the other end holds: {}; {info:?}", leg.holds));
            }
            let ours = leg.agreed.map(Direction::reversed);
            let model = self.net.model(0, info.id);
            if model.negotiated != ours {
                self.fail(&format!("{:?} here, {ours:?} there", model.negotiated));
            }
            let right = match (info.local_hold, leg.holds) {
                (false, false) => ours == Some(Direction::SendRecv),
                (true, false) => matches!(ours, Some(Direction::SendOnly | Direction::Inactive)),
                (false, true) if self.pbx().habits.music => ours == Some(Direction::RecvOnly),
                (false, true) => ours == Some(Direction::Inactive),
                (true, true) => ours != Some(Direction::SendRecv),
            };
            if !right {
                self.fail(&format!("{ours:?} with holds here {}, there {}", info.local_hold, leg.holds));
            }
            if leg.shown != 0 {
                let expected = format!("sip:party{}@example.com", leg.shown);
                let shown = info.asserted_identity.as_ref().map(|identity| identity.uri.as_str());
                if shown != Some(&expected) {
                    self.fail(&format!("{shown:?} is shown and {expected} is there"));
                }
            }
        }
        for (_, leg) in self.pbx().up() {
            if !calls.iter().any(|info| info.sip_call_id == leg.call_id) {
                self.fail(&format!("{} is up at the PBX alone", leg.call_id));
            }
        }
    }

    // ---- what the user does

    fn dial(&mut self) -> Option<CallId> {
        self.note("dial");
        let request = DialRequest { target: "sip:desk@example.com".into(), ..DialRequest::default() };
        self.net.at(0, |bench| bench.phone.dial(bench.now, request)).ok()
    }

    fn hold(&mut self, call: CallId, on: bool) {
        self.note(format!("{call:?} hold {on}"));
        let done = self.net.at(0, |bench| {
            if on { bench.phone.hold(bench.now, call) } else { bench.phone.unhold(bench.now, call) }
        });
        if done.is_ok() {
            self.holds.insert(call, on);
        }
    }

    fn act(&mut self, act: Act) {
        let Some((leg, _)) = self.pbx().up().last() else { return };
        self.note(format!("{act:?}"));
        self.net.at_pbx(0, |pbx, now| pbx.act(now, leg, act));
    }

    fn only_call(&self) -> CallId {
        match &self.calls()[..] {
            [info] => info.id,
            other => self.fail(&format!("one call was expected: {other:?}")),
        }
    }

    /// Everything within one call, and its end.
    fn through_a_call(&mut self, phone_ends_it: bool) {
        self.run(SETTLED);
        self.check_settled();
        for on in [true, false] {
            let call = self.only_call();
            self.hold(call, on);
            self.run(SETTLED);
            self.check_settled();
        }
        for act in self.pbx().habits.acts() {
            self.act(act);
            self.run(SETTLED);
            self.check_settled();
        }
        // After all of that holds work as before.
        for on in [true, false] {
            let call = self.only_call();
            self.hold(call, on);
            self.run(SETTLED);
            self.check_settled();
        }
        for event in &self.net.phones[0].events {
            if let Event::HoldDone(_, result) = event
                && result.is_err()
            {
                self.fail(&format!("a hold failed: {:?}", outcome(result)));
            }
        }
        if phone_ends_it {
            let call = self.only_call();
            self.note("hang up");
            self.net.at(0, |bench| bench.hangup(call));
        } else {
            self.act(Act::Bye);
        }
        self.run(secs(5));
        if let [info, ..] = &self.calls()[..] {
            self.fail(&format!("not ended: {info:?}"));
        }
        self.check_settled();
    }

    /// The call of the PBX is answered.
    fn called(&mut self) {
        self.note("called");
        if !self.net.at_pbx(0, Pbx::call) {
            self.fail("the PBX has nowhere to call");
        }
        if !self.until(secs(5), |desk| !desk.calls().is_empty()) {
            self.fail("it does not ring");
        }
        let call = self.only_call();
        self.run(ms(300));
        self.net.at(0, |bench| bench.answer(call));
    }

    /// Registered, a call out, a call in, an idle hour, gone.
    fn day(&mut self) {
        if !self.until(secs(60), Self::registered) {
            self.fail("not registered");
        }
        if self.net.phones[0].connect_results() != [Ok(())] {
            self.fail(&format!("connect: {:?}", self.net.phones[0].connect_results()));
        }
        // What the server does with a ping is known by then.
        self.run(secs(60));
        let call = self.dial().unwrap();
        self.until(secs(5), |desk| desk.net.phones[0].dial_result(call).is_some());
        if self.net.phones[0].dial_result(call).map(outcome) != Some(Ok(())) {
            self.fail(&format!("dial: {:?}", self.net.phones[0].dial_result(call)));
        }
        self.through_a_call(true);
        self.called();
        self.through_a_call(false);
        self.idle();
        for status in REFUSALS {
            self.refused(status);
        }
        self.note("forgotten");
        self.net.at_pbx(0, |pbx, _| pbx.forget());
        if !self.until(secs(3700), Self::registered) {
            self.fail("not registered again");
        }
        self.gone();
    }

    fn idle(&mut self) {
        self.note("idle");
        let (sockets, questions) = (self.net.phones[0].opened.len(), self.net.questions);
        self.run(secs(3600));
        self.check_settled();
        if !self.registered() {
            self.fail("no longer registered");
        }
        let sockets = self.net.phones[0].opened.len() - sockets;
        if sockets > SOCKETS {
            self.fail(&format!("{sockets} sockets in an idle hour"));
        }
        // A refresh may be asked about, nothing else.
        let refreshes = 2 * 3600 / usize::try_from(self.pbx().habits.expires / 2).unwrap() + 2;
        if self.net.questions - questions > 2 * refreshes {
            self.fail(&format!("{} questions in an idle hour", self.net.questions - questions));
        }
    }

    /// The registrar refuses for a while, and then agrees again.
    fn refused(&mut self, status: u16) {
        self.note(format!("the registrar says {status}"));
        self.net.at_pbx(0, |pbx, _| pbx.refuse(status, secs(2400)));
        self.run(secs(2401));
        self.note("the registrar agrees");
        // Where a refresh is asked twice, the second attempt succeeds.
        let attempts = if self.pbx().habits.foreign_nonces { 2 } else { 1 };
        if !self.until(BACK_OFF * attempts, Self::registered) {
            self.fail(&format!("after {status} not registered again"));
        }
        self.check_settled();
    }

    fn gone(&mut self) {
        self.note("disconnect");
        self.net.at(0, |bench| bench.disconnect());
        self.run(secs(60));
        self.check();
        let footprint = self.net.phones[0].phone.footprint();
        if footprint != Footprint::default() {
            self.fail(&format!("still kept: {footprint:?}"));
        }
        if self.pbx().binding.is_some() {
            self.fail("the binding was left");
        }
    }
}

/// Each habit by its name, alone.
fn alone() -> Vec<(&'static str, Habits)> {
    let plain = Habits::plain;
    let timers = |required, least| Some(Timers { required, least });
    vec![
        ("plain", plain()),
        ("challenges", Habits { challenges: true, ..plain() }),
        ("foreign_nonces", Habits { challenges: true, foreign_nonces: true, ..plain() }),
        (
            "challenges_options",
            Habits { challenges: true, challenges_options: true, crlf: Crlf::Silent, ..plain() },
        ),
        ("challenges_within", Habits { challenges: true, challenges_within: true, ..plain() }),
        ("rewrites_contact", Habits { rewrites_contact: true, expires: 60, ..plain() }),
        (
            "rewrites_contact_and_instance",
            Habits {
                rewrites_contact: true,
                keeps_instance: false,
                lists_contacts: true,
                expires: 60,
                ..plain()
            },
        ),
        ("lists_contacts", Habits { lists_contacts: true, expires: 60, ..plain() }),
        ("drops_first_register", Habits { drops_first_register: true, ..plain() }),
        ("crlf_silent", Habits { crlf: Crlf::Silent, ..plain() }),
        ("crlf_for_a_while", Habits { crlf: Crlf::AnswersFor(60), ..plain() }),
        ("crlf_closes", Habits { crlf: Crlf::Closes, ..plain() }),
        ("third_party", Habits { third_party: true, ..plain() }),
        ("no_early", Habits { early: Early::None, ..plain() }),
        ("early_session", Habits { early: Early::Session, ..plain() }),
        ("ringing_after_session", Habits { early: Early::SessionThenRinging, ..plain() }),
        ("early_update", Habits { early_update: true, ..plain() }),
        ("reinvites_at_once", Habits { reinvites_at_once: true, ..plain() }),
        ("music", Habits { music: true, ..plain() }),
        ("offerless_resume", Habits { offerless_resume: true, ..plain() }),
        ("offerless_refresh", Habits { offerless_refresh: true, music: true, ..plain() }),
        ("answers_inactive", Habits { answers_inactive: true, ..plain() }),
        ("flips_setup", Habits { flips_setup: true, ..plain() }),
        ("fax", Habits { fax: true, ..plain() }),
        ("video", Habits { video: true, ..plain() }),
        ("line_by_update", Habits { connected_line: Some(Line4916::Update), ..plain() }),
        ("line_by_invite", Habits { connected_line: Some(Line4916::Invite), ..plain() }),
        (
            "line_by_remote_party_id",
            Habits { connected_line: Some(Line4916::Update), remote_party_id: true, ..plain() },
        ),
        ("pings", Habits { pings: true, ..plain() }),
        ("reuses_cseq", Habits { pings: true, reuses_cseq: true, ..plain() }),
        ("lacks_last_crlf", Habits { lacks_last_crlf: true, ..plain() }),
        ("multipart", Habits { multipart: true, ..plain() }),
        ("timers_required", Habits { timers: timers(true, 90), ..plain() }),
        ("timers_long", Habits { timers: timers(false, 3600), ..plain() }),
        ("replaces", Habits { replaces: true, ..plain() }),
    ]
}

fn makes() -> Vec<(&'static str, Habits)> {
    vec![
        ("asterisk", Habits::asterisk()),
        ("freeswitch", Habits::freeswitch()),
        ("cucm", Habits::cucm()),
        ("kamailio", Habits::kamailio()),
        ("three_cx", Habits::three_cx()),
    ]
}

/// Plays all of a table, and tells of all that fail.
fn play(table: &[(&str, Habits)]) {
    let only = std::env::var("SIM_HABIT").ok();
    let mut failed = Vec::new();
    // Wasm without optimisation is slow; the host plays all of them.
    let step = if cfg!(target_arch = "wasm32") { 8 } else { 1 };
    for (seed, (name, habits)) in (0..).zip(table).step_by(step) {
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        let played = std::panic::catch_unwind(|| Desk::new(name, habits, seed).day());
        if let Err(what) = played {
            let text = what.downcast_ref::<String>().cloned().unwrap_or_else(|| "?".into());
            failed.push(text.lines().next().unwrap_or_default().to_owned());
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn each_habit_of_a_pbx_alone() {
    play(&alone());
}

#[test]
fn the_habits_of_known_pbxs() {
    play(&makes());
}

fn random_day(seed: u64, reached: &mut BTreeMap<&'static str, usize>) {
    let habits = Habits::random(seed);
    let mut desk = Desk::new(&format!("seed {seed}"), &habits, seed);
    let mut random = SeededEntropy::new(seed);
    let mut one_of = |count: u64| usize::try_from(below(&mut random, count)).unwrap();
    let delay = ms([5, 40, 300][one_of(3)]);
    desk.net.delay(0, delay);
    desk.net.media_delay = [1, 30, 200][one_of(3)];
    if !desk.until(secs(90), Desk::registered) {
        desk.fail("not registered");
    }
    let acts = habits.acts();
    for _ in 0..30 {
        let calls = desk.calls();
        let call = (!calls.is_empty()).then(|| calls[one_of(calls.len().try_into().unwrap())].clone());
        match (one_of(16), call) {
            (0, _) if calls.len() < 3 => {
                desk.dial();
            }
            (1, _) if calls.len() < 3 => {
                desk.note("called");
                desk.net.at_pbx(0, Pbx::call);
            }
            (2 | 3, Some(info)) if info.state == CallState::Ringing => {
                desk.note("answer");
                let _ = desk.net.at(0, |bench| bench.phone.answer(bench.now, info.id));
            }
            (4 | 5, Some(info)) => {
                let on = !info.local_hold;
                desk.hold(info.id, on);
            }
            (6, Some(info)) if one_of(3) == 0 => {
                desk.note("hang up");
                desk.net.at(0, |bench| bench.hangup(info.id));
            }
            (7, _) if one_of(4) == 0 => desk.act(Act::Bye),
            (8, _) if one_of(4) == 0 => {
                let status = REFUSALS[one_of(REFUSALS.len().try_into().unwrap())];
                let time = [1, 60, 2000][one_of(3)];
                desk.note(format!("the registrar says {status} for {time} s"));
                desk.net.at_pbx(0, |pbx, _| pbx.refuse(status, secs(time)));
            }
            (9, _) if one_of(4) == 0 => {
                desk.note("forgotten");
                desk.net.at_pbx(0, |pbx, _| pbx.forget());
            }
            (10, _) if one_of(6) == 0 => {
                desk.note("cut");
                desk.net.cut(0, true);
            }
            (11, _) if one_of(4) == 0 => {
                desk.note("an hour");
                desk.run(secs(3600));
            }
            (12, _) => desk.net.at_pbx(0, |pbx, now| pbx.cancel(now)),
            _ => desk.act(acts[one_of(acts.len().try_into().unwrap())]),
        }
        let pause = [5, 50, 400, 3_000][one_of(4)];
        let pause = ms(one_of(pause).try_into().unwrap());
        desk.run(pause);
        desk.check();
    }
    // All that rings is answered, and all that is said is heard.
    desk.run(secs(2));
    for info in desk.calls().into_iter().filter(|info| info.state == CallState::Ringing) {
        let _ = desk.net.at(0, |bench| bench.phone.answer(bench.now, info.id));
    }
    desk.run(SETTLED + SETTLED);
    desk.check_settled();
    let refused = desk.pbx().refuses.map_or(desk.net.now, |(_, until)| until);
    while desk.net.now < refused {
        desk.run(secs(10));
    }
    let attempts = if habits.foreign_nonces { 2 } else { 1 };
    if !desk.until((BACK_OFF * attempts).max(secs(habits.expires.into())), Desk::registered) {
        desk.fail("not registered again");
    }
    desk.check_settled();
    for info in desk.calls() {
        *reached.entry("up at the end").or_default() += 1;
        if info.id.0 % 2 == 0 {
            desk.net.at(0, |bench| bench.hangup(info.id));
        } else {
            desk.act(Act::Bye);
        }
    }
    desk.run(secs(40));
    for info in desk.calls() {
        desk.net.at(0, |bench| bench.hangup(info.id));
    }
    desk.run(secs(200));
    if let Some((_, leg)) = desk.pbx().up().next() {
        desk.fail(&format!("stays at the PBX: {leg:?}"));
    }
    if let [info, ..] = &desk.calls()[..] {
        desk.fail(&format!("stays: {info:?}"));
    }
    desk.gone();
    for what in &desk.pbx().reached {
        *reached.entry(what).or_default() += 1;
    }
    let over = desk.pbx().legs.iter().filter(|leg| leg.stage == Stage::Over).count();
    *reached.entry("ended").or_default() += over;
}

#[test]
fn a_pbx_of_random_habits() {
    let mut reached = BTreeMap::new();
    let seeds = seeds(30_000, 200);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        random_day(seed, &mut reached);
    }
    println!("{count} seeds: {reached:?}");
    // So few days, as in the browser, need not see everything.
    if count < 100 {
        return;
    }
    for what in [
        "registered",
        "refused",
        "held",
        "resumed",
        "line",
        "replaced",
        "fax refused",
        "video refused",
        "up at the end",
        "ended",
    ] {
        assert!(reached.contains_key(what), "{what} was not reached: {reached:?}");
    }
}
