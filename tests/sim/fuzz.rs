//! Any bytes at any time in any state: valid messages with headers, bodies and bytes changed, and bytes that are no
//! message, into phones with everything in progress; and commands and reports of any kind between them. No panic, no
//! growth, and a hang-up ends it all. More seeds: `SIM_SEEDS=20000 cargo test --test sim fuzz`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, secs, send};
use crate::sequence::{Target, at};
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::phone::{DialRequest, Event};

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

/// Commands and reports too, in any order.
#[test]
fn any_step_at_any_time_is_settled_and_leaves_nothing() {
    let standard = if cfg!(target_arch = "wasm32") { 30 } else { 600 };
    let rounds = std::env::var("SIM_SEEDS").ok().and_then(|value| value.parse().ok()).unwrap_or(standard);
    let first = std::env::var("SIM_FIRST").ok().and_then(|value| value.parse().ok()).unwrap_or(0);
    for seed in first..first + rounds {
        println!("seed {seed}");
        let mut random = SeededEntropy::new(seed);
        let mut target = Target::in_state(seed % 10, seed);
        for _ in 0..40 {
            target.step(&mut random);
        }
        target.finish();
    }
}

/// Steps made by bytes, as a fuzzer makes them.
#[test]
fn steps_made_by_bytes_are_settled_and_leave_nothing() {
    let rounds = if cfg!(target_arch = "wasm32") { 10 } else { 100 };
    for seed in 0..rounds {
        println!("seed {seed}");
        let mut bytes = [0; 160];
        SeededEntropy::new(seed).fill(&mut bytes);
        crate::sequence::run(&bytes);
    }
}
