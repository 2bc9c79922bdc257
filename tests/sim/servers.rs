//! Several servers: priorities, weights, failing over and returning; and one server that ten thousand phones come back
//! to at the same time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::bench::{ANSWER, Bench, answer, config, ms, secs, with_sdp};
use crate::recovery::{register, registering};
use wasm_softphone::entropy::SeededEntropy;
use wasm_softphone::phone::{
    ConnectionState, Event, Input, Phone, PhoneConfig, RegistrationState, SocketId, Transmit,
};
use wasm_softphone::sip::message::Message;
use wasm_softphone::sip::wire::{self, Frame};
use wasm_softphone::time::{Duration, Instant};

fn servers(names: &[&str], weights: &[(u32, u32)]) -> PhoneConfig {
    PhoneConfig {
        servers: names.iter().map(|name| format!("wss://{name}.example.com")).collect(),
        weights: weights.to_vec(),
        ..config()
    }
}

/// The names of the servers that were tried, in order.
fn tried(bench: &Bench) -> Vec<String> {
    let name = |url: &str| url.trim_start_matches("wss://").split('.').next().unwrap().to_owned();
    bench.opened.iter().map(|(_, _, url)| name(url)).collect()
}

fn refuse(bench: &mut Bench) {
    let socket = bench.opened.last().unwrap().1;
    bench.input(Input::SocketClosed(socket));
}

#[test]
fn the_lowest_priority_comes_first_and_alike_ones_by_weight() {
    let mut first = BTreeMap::new();
    for seed in 0..1_000 {
        let mut bench = Bench::seeded(servers(&["c", "a", "b"], &[(2, 1), (1, 3), (1, 1)]), seed);
        bench.reachable = false;
        bench.connect();
        refuse(&mut bench);
        refuse(&mut bench);
        let tried = tried(&bench);
        assert_eq!(tried[2], "c", "the last resort");
        *first.entry(tried[0].clone()).or_insert(0) += 1;
    }
    let (a, b) = (first["a"], first["b"]);
    assert!((700..800).contains(&a) && (200..300).contains(&b), "{a} to {b}");
}

#[test]
fn a_weight_of_nothing_is_the_last_of_its_kind() {
    for seed in 0..50 {
        let mut bench = Bench::seeded(servers(&["a", "b"], &[(0, 0), (0, 5)]), seed);
        bench.reachable = false;
        bench.connect();
        refuse(&mut bench);
        assert_eq!(tried(&bench), ["b", "a"]);
    }
}

/// The preferred server fails and another one takes its place.
fn failed_over(config: PhoneConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.connect();
    if bench.config.register {
        register(&mut bench);
    }
    bench.reachable = false;
    bench.cut();
    // Once more the same, and then the next.
    refuse(&mut bench);
    bench.open_late();
    if bench.config.register {
        register(&mut bench);
    }
    assert_eq!(tried(&bench), ["a", "a", "b"]);
    bench.reachable = true;
    bench
}

#[test]
fn it_returns_to_the_preferred_server_in_time_without_a_gap() {
    let mut bench = failed_over(PhoneConfig { register: true, ..servers(&["a", "b"], &[]) });
    bench.events.clear();
    let begin = bench.now;
    while bench.opened.len() == 3 {
        bench.pass(ms(100));
        assert!(bench.now - begin <= secs(60), "it stays");
    }
    assert!(bench.now - begin >= secs(30));
    register(&mut bench);
    assert_eq!(tried(&bench)[3], "a");
    assert_eq!(bench.sockets, [SocketId(4)], "the other one is closed");
    assert_eq!(bench.registration(), RegistrationState::Registered);
    let told = |event: &Event| matches!(event, Event::Connection(..) | Event::Registration(..));
    assert!(!bench.events.iter().any(told), "nothing was ever missing");
    bench.pass(secs(3600));
    assert!(bench.lines().iter().all(|line| line == "REGISTER"));
    assert_eq!(bench.opened.len(), 4);
}

#[test]
fn it_does_not_return_during_a_call() {
    let mut bench = failed_over(servers(&["a", "b"], &[]));
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.pass(secs(600));
    assert_eq!(bench.opened.len(), 3);
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.pass(secs(31));
    assert_eq!(tried(&bench)[3..], ["a"]);
    assert_eq!(bench.sockets.len(), 1);
}

/// The preferred server stays away, or takes the WebSocket and nothing else. It is asked now and then.
#[test]
fn a_preferred_server_that_stays_away_disturbs_nobody() {
    let mut bench = failed_over(servers(&["a", "b"], &[]));
    bench.reachable = false;
    let attempts = bench.opened.len();
    let begin = bench.now;
    while bench.now - begin < secs(3600) {
        bench.pass(secs(1));
        if bench.opened.last().unwrap().1 != bench.sockets[0] {
            let socket = bench.opened.last().unwrap().1;
            bench.input(Input::SocketClosed(socket));
        }
        assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    }
    let attempts = bench.opened.len() - attempts;
    assert!((6..=20).contains(&attempts), "{attempts} in an hour");

    let mut bench = failed_over(PhoneConfig { register: true, ..servers(&["a", "b"], &[]) });
    let begin = bench.now;
    while bench.now - begin < secs(70) {
        bench.pass(ms(500));
        while !bench.sent.is_empty() {
            let request = bench.take_request("REGISTER");
            if bench.sockets.len() == 2 {
                bench.reply(&answer(&request, 500, ""));
            } else {
                bench.reply(&request.response(200, None));
            }
        }
        assert_eq!(bench.registration(), RegistrationState::Registered);
    }
    assert_eq!(bench.sockets, [SocketId(3)]);
}

#[test]
fn alike_servers_are_as_good_as_each_other() {
    let mut bench = Bench::new(servers(&["a", "b"], &[(1, 1), (1, 1)]));
    bench.connect();
    bench.reachable = false;
    bench.cut();
    refuse(&mut bench);
    bench.open_late();
    bench.reachable = true;
    bench.pass(secs(3600));
    assert_eq!(bench.opened.len(), 3, "there is nowhere better to return to");
}

// ---- ten thousand

/// What happens to one phone, and when.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake,
    Opens(SocketId),
    Refused(SocketId),
    Receives(SocketId, String),
}

/// A server that many phones are registered at, and that is away for a while.
struct Crowd {
    phones: Vec<Phone>,
    agenda: BinaryHeap<Reverse<(Instant, usize, What)>>,
    now: Instant,
    /// The server is away from and until.
    away: (Instant, Instant),
    sockets: Vec<Option<SocketId>>,
    /// WebSockets asked for, and REGISTERs, in each tenth of a second since it went.
    attempts: BTreeMap<u64, u32>,
    registers: BTreeMap<u64, u32>,
    /// When each was registered again.
    back: Vec<Option<Instant>>,
}

impl Crowd {
    fn new(count: usize, outage: Duration) -> Self {
        let gone = Instant::from_millis(2_000);
        let phone = |seed: usize| {
            Phone::new(registering(), Box::new(SeededEntropy::new(u64::try_from(seed).unwrap())))
        };
        let mut crowd = Self {
            phones: (0..count).map(phone).collect(),
            agenda: BinaryHeap::new(),
            now: Instant::from_millis(0),
            away: (gone, gone + outage),
            sockets: vec![None; count],
            attempts: BTreeMap::new(),
            registers: BTreeMap::new(),
            back: vec![None; count],
        };
        for index in 0..count {
            crowd.phones[index].connect(crowd.now);
            crowd.drain(index);
        }
        crowd.run(gone);
        assert!(crowd.phones.iter().all(|phone| phone.registration() == RegistrationState::Registered));
        crowd.attempts.clear();
        crowd.registers.clear();
        crowd.back.fill(None);
        for index in 0..count {
            if let Some(socket) = crowd.sockets[index].take() {
                crowd.phones[index].handle_input(gone, Input::SocketClosed(socket));
                crowd.drain(index);
            }
        }
        crowd
    }

    fn is_up(&self) -> bool {
        self.now < self.away.0 || self.now >= self.away.1
    }

    fn bucket(&self) -> u64 {
        self.now.as_millis().saturating_sub(self.away.0.as_millis()) / 100
    }

    fn later(&mut self, index: usize, millis: u64, what: What) {
        self.agenda.push(Reverse((self.now + ms(millis), index, what)));
    }

    fn drain(&mut self, index: usize) {
        while let Some(transmit) = self.phones[index].poll_transmit() {
            match transmit {
                Transmit::OpenSocket { socket, .. } => {
                    *self.attempts.entry(self.bucket()).or_default() += 1;
                    if self.is_up() {
                        self.sockets[index] = Some(socket);
                        self.later(index, 30, What::Opens(socket));
                    } else {
                        self.later(index, 10, What::Refused(socket));
                    }
                }
                Transmit::Send { socket, text } => match wire::parse(text.as_bytes()) {
                    Ok(Frame::Ping) => self.later(index, 10, What::Receives(socket, "\r\n".into())),
                    Ok(Frame::Message(Message::Request(request))) => {
                        *self.registers.entry(self.bucket()).or_default() += 1;
                        let ok = request.response(200, None).to_text().unwrap();
                        self.later(index, 10, What::Receives(socket, ok));
                    }
                    _ => panic!("{text}"),
                },
                Transmit::CloseSocket(_) => {}
            }
        }
        while let Some(event) = self.phones[index].poll_event() {
            if let Event::Registration(RegistrationState::Registered, _) = event {
                self.back[index].get_or_insert(self.now);
            }
        }
        if let Some((at, _)) = self.phones[index].poll_timeout() {
            self.agenda.push(Reverse((at, index, What::Wake)));
        }
    }

    fn run(&mut self, until: Instant) {
        while let Some(Reverse((at, index, what))) = self.agenda.pop() {
            if at > until {
                self.agenda.push(Reverse((at, index, what)));
                break;
            }
            self.now = at;
            let input = match what {
                // It may have been put off since.
                What::Wake if self.phones[index].poll_timeout().is_none_or(|(due, _)| due > at) => continue,
                What::Wake => Input::Timer,
                What::Opens(socket) => Input::SocketOpened(socket),
                What::Refused(socket) => Input::SocketClosed(socket),
                What::Receives(socket, text) => Input::SocketData(socket, text.into_bytes()),
            };
            self.phones[index].handle_input(at, input);
            self.drain(index);
        }
        self.now = until;
    }
}

/// The server is restarted. It gets no more than a share of the phones in any tenth of a second, and everybody is back
/// soon.
#[test]
fn ten_thousand_phones_do_not_stampede_a_restarted_server() {
    let count = if cfg!(target_arch = "wasm32") { 500 } else { 10_000 };
    // Outage in milliseconds; the greatest share that registers in a tenth of a second, percent; until half and 95 % are
    // back, in milliseconds after the server is.
    for (outage, share, half, most) in
        [(200, 14, 600, 1_100), (1_000, 14, 700, 2_200), (20_000, 4, 2_800, 7_000)]
    {
        let mut crowd = Crowd::new(count, ms(outage));
        let back = crowd.away.1;
        crowd.run(back + secs(9));
        let mut times: Vec<u64> = crowd
            .back
            .iter()
            .map(|at| at.expect("a phone never came back").as_millis() - back.as_millis())
            .collect();
        times.sort_unstable();
        let part = |percent: usize| times[(count - 1) * percent / 100];
        // The first tenth is that in which all of them notice, and find nobody.
        let busiest =
            crowd.attempts.iter().filter(|(bucket, _)| **bucket > 0).map(|(_, n)| *n).max().unwrap();
        let registers = crowd.registers.values().copied().max().unwrap();
        let percent = |n: u32| f64::from(n) * 100.0 / f64::from(u32::try_from(count).unwrap());
        println!(
            "away {outage} ms: {:.1} % of all ask in the busiest 100 ms, {:.1} % register; back after {} ms (half), {} ms \
             (95 %), {} ms (all)",
            percent(busiest),
            percent(registers),
            part(50),
            part(95),
            part(100)
        );
        if count >= 10_000 {
            // Most of them while nobody is there to answer: a refused connection costs nobody much.
            assert!(percent(busiest) <= 24.0, "{outage}: {:.1} %", percent(busiest));
            assert!(percent(registers) <= f64::from(share), "{outage}: {:.1} %", percent(registers));
        }
        assert!(part(50) <= half, "{outage}: half are back after {} ms", part(50));
        assert!(part(95) <= most, "{outage}: 95 % are back after {} ms", part(95));
        assert!(part(100) <= 8_100, "{outage}: the last is back after {} ms", part(100));
    }
}
