//! Bad days: the random use of `random_calls` with phones that have to register, while the proxy is restarted, the
//! registrar forgets, refuses for a while or drops a REGISTER, connections are cut or half open, pages freeze, media paths break and microphones are refused.
//! Once all of that is over, every phone is registered within its bound, both ends of every call agree, and nothing
//! stays. More seeds: `cargo xtask soak --seeds N`; one of them: `SIM_SEED=n cargo test --test sim world -- --nocapture`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::{BTreeMap, BTreeSet};

use crate::bench::{ms, secs};
use crate::random_calls::{Walk, seeds};
use crate::watch::Watch;
use wasm_softphone::phone::{CallState, ConnectionState, Footprint, Input, MediaState, RegistrationState};

/// Back-off (8 s at most), a connection and a registration; a half-open one is found within 35 s. A registration that was
/// refused over the connection that is there is asked for 30 s later at first, 60 s later the second time.
const BACK_WITHIN: u64 = 95;
/// The longest back-off after refusals.
const REFUSED_WITHIN: u64 = 1860;
/// A binding that the registrar has lost comes back with the refresh of one that lasts 600 s.
const REFRESHED_WITHIN: u64 = 600;

type Counts = BTreeMap<&'static str, usize>;

fn fault(walk: &mut Walk, down: &mut Option<usize>, faults: &mut Counts) {
    let side = walk.below(walk.net.phones.len());
    let what = match walk.below(30) {
        0 if down.is_none() => {
            walk.net.restart();
            *down = Some(1 + walk.below(6));
            "proxy restarted"
        }
        1 => {
            walk.net.registered.as_mut().map(|all| all.remove(&side));
            "binding forgotten"
        }
        2 => {
            walk.net.half_open(side);
            "half open"
        }
        3 => {
            walk.net.cut(side, down.is_none());
            "cut"
        }
        4 => {
            let time = [200, 5_000, 40_000][walk.below(3)];
            walk.net.freeze(side, ms(time));
            "frozen"
        }
        5 => {
            walk.net.refuses_microphone[side] = true;
            "microphone refused"
        }
        8 => {
            let time = [1, 15, 60][walk.below(3)];
            walk.net.thinks_of_microphone[side] = secs(time);
            "microphone asked for"
        }
        6 | 7 => {
            let up: Vec<_> = walk.net.phones[side].phone.calls();
            let Some(call) = up.iter().find(|info| info.state == CallState::Active) else { return };
            let state = if walk.below(2) == 0 { MediaState::Disconnected } else { MediaState::Failed };
            walk.net.at(side, |bench| bench.input(Input::MediaState { call: call.id, state }));
            "path broken"
        }
        9 => {
            let until = walk.net.now + secs([2, 6, 12][walk.below(3)]);
            let status = [400, 401, 403, 404, 405, 482, 487, 493, 500, 503][walk.below(10)];
            walk.net.refuses_to_register[side] = (until, status);
            // It is asked at once.
            walk.net.cut(side, down.is_none());
            "registrar refuses"
        }
        10 => {
            walk.net.drops_register[side] = true;
            "REGISTER dropped"
        }
        _ => return,
    };
    walk.history.push(format!("{:?} {side}: {what}", walk.net.now));
    *faults.entry(what).or_default() += 1;
}

/// What must hold at every step has held.
fn check(walk: &Walk, seed: u64) {
    if let Some(broken) = walk.net.watch.as_ref().and_then(|watch| watch.broken.first()) {
        walk.fail(seed, broken);
    }
    if let Some(broken) = walk.net.rules.broken.first() {
        walk.fail(seed, broken);
    }
    if let Some(leak) = walk.net.leaks.first() {
        walk.fail(seed, &format!("audible while held: {leak}"));
    }
}

/// Says which seed it was, whatever panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("it was seed {}", self.0);
        }
    }
}

fn day(seed: u64, faults: &mut Counts, calls: &mut Counts, extremes: &mut Watch) {
    let _named = Named(seed);
    let mut walk = Walk::with(seed, |_, config| config.register = true);
    walk.net.registered = Some(BTreeSet::new());
    walk.net.watch = Some(Watch::default());
    walk.net.run(secs(2));
    let mut down = None;
    for _ in 0..50 {
        fault(&mut walk, &mut down, faults);
        // The server comes back some steps later.
        down = match down {
            Some(0) => {
                walk.net.phones.iter_mut().for_each(|bench| bench.reachable = true);
                None
            }
            other => other.map(|steps| steps - 1),
        };
        walk.step(false);
        check(&walk, seed);
    }
    walk.net.heal();
    walk.net.run(secs(BACK_WITHIN));
    for (side, bench) in walk.net.phones.iter().enumerate() {
        if bench.phone.connection() != ConnectionState::Connected {
            walk.fail(seed, &format!("{side} is {:?}", bench.phone.connection()));
        }
    }
    walk.net.run(secs(REFRESHED_WITHIN));
    // Each refusal of the day has doubled the wait for the next attempt, up to half an hour.
    let registered = |walk: &Walk| {
        let mut phones = walk.net.phones.iter();
        phones.all(|bench| bench.phone.registration() == RegistrationState::Registered)
    };
    for _ in 0..REFUSED_WITHIN / 60 {
        if !registered(&walk) {
            walk.net.run(secs(60));
        }
    }
    if !registered(&walk) {
        walk.fail(seed, "not all are registered");
    }
    let away = (0..walk.net.phones.len()).find(|side| !walk.net.registered.as_ref().unwrap().contains(side));
    if let Some(side) = away {
        walk.fail(seed, &format!("{side} is not registered again"));
    }
    for (side, bench) in walk.net.phones.iter().enumerate() {
        for info in bench.phone.calls() {
            *calls.entry("up at the end").or_default() += 1;
            if !matches!(info.state, CallState::Active | CallState::Ended) {
                walk.fail(seed, &format!("{side}: stuck: {info:?}"));
            }
        }
        *calls.entry("ended").or_default() += bench
            .events
            .iter()
            .filter(|event| matches!(event, wasm_softphone::phone::Event::Ended(..)))
            .count();
    }
    walk.check_agreement(seed, false);
    check(&walk, seed);
    walk.check_end(seed);
    check(&walk, seed);
    for (side, bench) in walk.net.phones.iter().enumerate() {
        let footprint = bench.phone.footprint();
        if footprint != Footprint::default() {
            walk.fail(seed, &format!("{side} still holds {footprint:?}"));
        }
    }
    if let Some(watch) = walk.net.watch.take() {
        for (what, time) in watch.longest {
            let longest = extremes.longest.entry(what).or_default();
            *longest = time.max(*longest);
        }
        extremes.most = extremes.most.most(watch.most);
    }
}

#[test]
fn after_a_bad_day_all_are_registered_agree_and_nothing_stays() {
    let (mut faults, mut calls, mut extremes) = (Counts::new(), Counts::new(), Watch::default());
    let seeds = seeds(20_000, 400);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        day(seed, &mut faults, &mut calls, &mut extremes);
    }
    println!(
        "{count} seeds; faults: {faults:?}; calls: {calls:?}; longest: {:?}; {:?}",
        extremes.longest, extremes.most
    );
    if count == 1 {
        return;
    }
    assert_eq!(faults.len(), 10, "{faults:?}");
    assert!(calls.contains_key("up at the end") && calls.contains_key("ended"), "{calls:?}");
}
