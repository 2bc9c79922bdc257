//! The revision of a phone (src/phone/calls.rs): while it stays, the record of the calls does.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, config, ms, secs, send};
use crate::forking_proxy::Net;
use crate::incoming::answered;
use crate::random_calls::{Walk, seeds};
use crate::recovery::{register, registering, talking};
use wasm_softphone::phone::{CallId, CallNote, Hint, Input, MediaState, PhoneConfig, TransferTarget};

/// What was last seen of each phone, and how often a record was another one than before.
struct Seen {
    last: Vec<(u32, Option<String>)>,
    news: usize,
}

fn look(bench: &Bench) -> (u32, Option<String>) {
    (bench.phone.revision(), bench.phone.record(&|_| CallNote::default()))
}

impl Seen {
    fn new(net: &Net) -> Self {
        Self { last: net.phones.iter().map(look).collect(), news: 0 }
    }

    fn check(&mut self, net: &Net, seed: u64) {
        for (side, bench) in net.phones.iter().enumerate() {
            let (now, last) = (look(bench), &mut self.last[side]);
            if now.1 != last.1 {
                assert_ne!(now.0, last.0, "seed {seed}: {side}: missed: {:?}, now {:?}", last.1, now.1);
                self.news += 1;
            }
            *last = now;
        }
    }

    /// Lets time pass, and looks after every millisecond of it.
    fn pass(&mut self, net: &mut Net, time: u64, seed: u64) {
        for _ in 0..time {
            net.run(ms(1));
            self.check(net, seed);
        }
    }
}

/// Those of `random_calls`, with a look after every message, or nearly.
#[test]
fn no_change_of_the_record_is_missed() {
    let mut news = 0;
    let seeds = seeds(20_000, 30);
    let one = seeds.end - seeds.start == 1;
    for seed in seeds {
        let mut walk = Walk::with(seed, |side, config| {
            config.anonymous = (seed + u64::try_from(side).unwrap()).is_multiple_of(3);
        });
        walk.net.run(ms(100));
        let mut seen = Seen::new(&walk.net);
        for _ in 0..20 {
            walk.step(true);
            seen.check(&walk.net, seed);
            let side = walk.below(walk.net.phones.len());
            let calls = walk.net.phones[side].phone.calls();
            if let Some(id) = calls.first().map(|info| info.id) {
                command(&mut walk, side, id);
            }
            seen.check(&walk.net, seed);
            seen.pass(&mut walk.net, 150, seed);
        }
        for bench in &mut walk.net.phones {
            bench.reachable = true;
        }
        seen.pass(&mut walk.net, 2_000, seed);
        for side in 0..walk.net.phones.len() {
            walk.net.at(side, |bench| bench.phone.disconnect(bench.now));
            seen.check(&walk.net, seed);
        }
        seen.pass(&mut walk.net, 2_000, seed);
        news += seen.news;
    }
    assert!(one || news > 150, "{news}");
}

/// What changes a record, whatever the walk does. What comes of it is another test's.
fn command(walk: &mut Walk, side: usize, id: CallId) {
    let which = walk.below(9);
    walk.net.at(side, |bench| match which {
        0 => drop(bench.phone.hold(bench.now, id)),
        1 => drop(bench.phone.unhold(bench.now, id)),
        2 => drop(bench.phone.answer(bench.now, id)),
        3 => drop(bench.phone.mute(bench.now, id, true)),
        4 => drop(bench.phone.transfer(bench.now, id, TransferTarget::Uri("sip:carol@example.com".into()))),
        5 => bench.input(Input::Hint(Hint::NetworkChanged)),
        6 => bench.input(Input::MediaState { call: id, state: MediaState::Failed }),
        7 => bench.phone.hangup(bench.now, id, None),
        _ => drop(bench.phone.send_info(bench.now, id, "application/dtmf", "1")),
    });
}

/// A phone that registers again with the instance that it has got meanwhile.
#[test]
fn another_instance_counts() {
    let (mut bench, ..) = talking(registering(), true);
    let before = look(&bench);
    let instance_id = Some("urn:uuid:00000000-0000-4000-8000-000000000042".to_owned());
    bench.phone.configure(PhoneConfig { instance_id, ..registering() });
    bench.input(Input::Hint(Hint::NetworkChanged));
    register(&mut bench);
    let after = look(&bench);
    assert_ne!(before.1, after.1);
    assert_ne!(before.0, after.0);
}

#[test]
fn a_call_that_nothing_happens_to_is_not_written_again() {
    let mut bench = Bench::new(config());
    bench.connect();
    let (call, mut caller): (_, Caller) = answered(&mut bench);
    let before = look(&bench);
    bench.pass(secs(100));
    assert!(bench.pings > 0, "the connection was kept alive meanwhile");
    assert_eq!(look(&bench), before);
    let info = caller.request("INFO", None);
    send(&mut bench, &info);
    let after = look(&bench);
    assert!(after.0 != before.0 && after.1 != before.1);
    bench.hangup(call);
    assert_eq!(look(&bench).1, None);
}
