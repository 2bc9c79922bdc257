//! Two phones on a simulated link with a virtual clock, and seeded random use of them.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::VecDeque;

use crate::bench::{Bench, config, line, ms, secs};
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::phone::{CallState, DialRequest, Event, Input, SocketId};
use wasm_softphone::sip::message::Message;
use wasm_softphone::time::{Duration, Instant};

/// Two phones whose messages go straight to each other after a delay. What they do not answer themselves
/// (REGISTER) is switched off; the link stands for a server that changes nothing.
struct Pair {
    phones: [Bench; 2],
    /// Messages under way to each phone.
    queues: [VecDeque<(Instant, Message)>; 2],
    /// First lines in the order of sending, with the sender.
    log: Vec<(usize, String)>,
    now: Instant,
    latency: Duration,
    jitter: Option<SeededEntropy>,
}

impl Pair {
    fn new(latency: Duration, seed: u64) -> Self {
        let mut phones = [
            Bench::seeded(config(), seed.wrapping_mul(2)),
            Bench::seeded(config(), seed.wrapping_mul(2) + 1),
        ];
        for phone in &mut phones {
            phone.connect();
        }
        let now = phones[0].now;
        Self {
            phones,
            queues: [VecDeque::new(), VecDeque::new()],
            log: Vec::new(),
            now,
            latency,
            jitter: None,
        }
    }

    fn collect(&mut self) {
        for side in 0..2 {
            for message in core::mem::take(&mut self.phones[side].sent) {
                self.log.push((side, line(&message)));
                let extra = self.jitter.as_mut().map_or(0, |entropy| below(entropy, 40));
                let at = self.now + self.latency + ms(extra);
                // A WebSocket delivers in order.
                let queue = &mut self.queues[1 - side];
                let at = queue.back().map_or(at, |(last, _)| at.max(*last));
                queue.push_back((at, message));
            }
        }
    }

    /// The earliest thing to happen: a delivery or a timer.
    fn step(&mut self, end: Instant) -> bool {
        self.collect();
        let deliveries = (0..2).filter_map(|side| self.queues[side].front().map(|(at, _)| *at));
        let timers = self.phones.iter().filter_map(|bench| bench.phone.poll_timeout().map(|(at, _)| at));
        let Some(next) = deliveries.chain(timers).min().filter(|at| *at <= end) else {
            self.set_now(end);
            return false;
        };
        self.set_now(self.now.max(next));
        for side in 0..2 {
            while self.queues[side].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, message) = self.queues[side].pop_front().unwrap();
                let text = message.to_text().unwrap();
                if self.phones[side].socket.is_some() {
                    self.phones[side].receive(&text);
                }
            }
            self.phones[side].input(Input::Timer);
        }
        true
    }

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        for bench in &mut self.phones {
            bench.now = now;
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            if !self.step(end) {
                return;
            }
        }
        panic!("the pair never rests");
    }

    fn lines(&mut self) -> Vec<String> {
        self.collect();
        core::mem::take(&mut self.log)
            .into_iter()
            .map(|(side, line)| format!("{} {line}", ["A", "B"][side]))
            .collect()
    }
}

#[test]
fn a_call_from_one_to_the_other_and_back() {
    let mut pair = Pair::new(ms(20), 1);
    let call = pair.phones[0].dial("sip:bob@example.com");
    pair.run(ms(100));
    assert_eq!(pair.lines(), ["A INVITE", "B 180 INVITE"]);
    let at_b = pair.phones[1].incoming();
    pair.phones[1].answer(at_b);
    pair.run(ms(100));
    assert_eq!(pair.lines(), ["B 200 INVITE", "A ACK"]);
    assert_eq!(pair.phones[0].phone.call(call).unwrap().state, CallState::Active);
    assert_eq!(pair.phones[1].phone.call(at_b).unwrap().state, CallState::Active);
    pair.phones[1].hangup(at_b);
    pair.run(ms(100));
    assert_eq!(pair.lines(), ["B BYE", "A 200 BYE"]);
    assert!(pair.phones[0].end_of(call).is_some());

    pair.phones[1].dial("sip:alice@example.com");
    pair.run(ms(100));
    let at_a = pair.phones[0].incoming();
    pair.phones[0].reject(at_a, Some(486));
    pair.run(ms(100));
    assert_eq!(pair.lines(), ["B INVITE", "A 180 INVITE", "A 486 INVITE", "B ACK"]);
}

/// At every moment of a call, either side hangs up; and both at once.
#[test]
fn hanging_up_at_any_moment_ends_the_call_at_both_ends() {
    for who in 0..3 {
        for moment in (0..400).step_by(5) {
            let mut pair = Pair::new(ms(30), 1 + moment);
            let call = pair.phones[0].dial("sip:bob@example.com");
            let mut at_b = None;
            let mut hung_up = [None; 2];
            let begin = pair.now;
            while pair.now - begin < ms(600) {
                pair.run(ms(5));
                if at_b.is_none()
                    && pair.phones[1].events.iter().any(|event| matches!(event, Event::Incoming(_)))
                {
                    at_b = Some(pair.phones[1].incoming());
                }
                if pair.now - begin >= ms(100)
                    && let Some(id) = at_b
                    && pair.phones[1].phone.call(id).is_some_and(|info| info.state == CallState::Ringing)
                {
                    pair.phones[1].answer(id);
                }
                if pair.now - begin >= ms(moment) {
                    if who != 1 && hung_up[0].is_none() {
                        pair.phones[0].hangup(call);
                        hung_up[0] = Some(pair.now);
                    }
                    if who != 0
                        && hung_up[1].is_none()
                        && let Some(id) = at_b
                    {
                        pair.phones[1].hangup(id);
                        hung_up[1] = Some(pair.now);
                    }
                }
            }
            pair.run(secs(70));
            assert!(pair.phones[0].end_of(call).is_some(), "who {who}, moment {moment}");
            for bench in &pair.phones {
                assert!(bench.phone.calls().is_empty(), "who {who}, moment {moment}: a call is stuck");
                assert_eq!(
                    bench.events.iter().filter(|event| matches!(event, Event::Ended(..))).count(),
                    usize::from(bench.events.iter().any(|event| matches!(event, Event::CallState(..))))
                );
            }
        }
    }
}

/// Random use: dial, answer, reject, hang up, lose the socket, in any order. In the end everything is over at
/// both ends, and a disconnected phone has no timer, socket or media left.
#[test]
fn random_use_leaves_nothing_behind() {
    // Wasm without optimisation is slow; the host plays all of them.
    let seeds = if cfg!(target_arch = "wasm32") { 30 } else { 300 };
    for seed in 0..seeds {
        let mut random = SeededEntropy::new(seed);
        let mut pair = Pair::new(ms(10), seed);
        pair.jitter = Some(SeededEntropy::new(seed ^ 0xabcd));
        for _ in 0..40 {
            let side = usize::try_from(below(&mut random, 2)).unwrap();
            let calls = pair.phones[side].phone.calls();
            let pick = |random: &mut dyn Entropy| {
                let count = u64::try_from(calls.len()).unwrap();
                calls.get(usize::try_from(below(random, count.max(1))).unwrap()).map(|info| info.id)
            };
            let bench = &mut pair.phones[side];
            match below(&mut random, 10) {
                0..=3 => {
                    let request =
                        DialRequest { target: "sip:x@example.com".into(), ..DialRequest::default() };
                    let _ = bench.phone.dial(bench.now, request);
                    bench.drain();
                }
                4 | 5 => {
                    if let Some(id) = pick(&mut random) {
                        let _ = bench.phone.answer(bench.now, id);
                        bench.drain();
                    }
                }
                6 => {
                    if let Some(id) = pick(&mut random) {
                        let _ = bench.phone.reject(bench.now, id, Some(486));
                        bench.drain();
                    }
                }
                7 | 8 => {
                    if let Some(id) = pick(&mut random) {
                        bench.hangup(id);
                    }
                }
                _ => {
                    if bench.socket.is_some() && below(&mut random, 3) == 0 {
                        bench.cut();
                    }
                }
            }
            let pause = below(&mut random, 120);
            pair.run(ms(pause));
        }
        for side in 0..2 {
            for info in pair.phones[side].phone.calls() {
                pair.phones[side].hangup(info.id);
            }
        }
        pair.run(secs(200));
        for (side, bench) in pair.phones.iter().enumerate() {
            assert!(bench.phone.calls().is_empty(), "seed {seed}, side {side}: {:?}", bench.phone.calls());
        }
        for bench in &mut pair.phones {
            bench.disconnect();
        }
        pair.run(secs(10));
        for (side, bench) in pair.phones.iter().enumerate() {
            assert_eq!(bench.phone.poll_timeout(), None, "seed {seed}, side {side}: a timer is left");
            assert_eq!(bench.socket, None::<SocketId>);
            let ids: Vec<_> = bench
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::CallState(id, CallState::New) => Some(*id),
                    _ => None,
                })
                .collect();
            for id in ids {
                let ends = bench
                    .events
                    .iter()
                    .filter(|event| matches!(event, Event::Ended(e, _) if *e == id))
                    .count();
                assert_eq!(ends, 1, "seed {seed}, side {side}, {id:?}");
                let dialled =
                    bench.events.iter().any(|event| matches!(event, Event::Stage(s, _) if *s == id));
                if dialled {
                    assert!(bench.dial_result(id).is_some());
                }
                let used = bench.jobs.iter().any(|(job, ..)| *job == id);
                assert_eq!(
                    used,
                    bench.media_closed(id),
                    "seed {seed}, side {side}, {id:?}: media is left open"
                );
            }
        }
    }
}
