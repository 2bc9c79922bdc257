//! The call machine on a virtual clock.

use super::*;
use wasm_softphone::entropy::SeededEntropy;

const PHONE: &str = "+4600100100";
const PUBLIC: &str = "+46766860000";

struct Sim {
    calls: Calls,
    now: u64,
}

impl Sim {
    fn new() -> Self {
        let number = |number: &str, secret: Option<&str>| Number {
            id: "n".to_owned(),
            number: number.to_owned(),
            secret: secret.map(str::to_owned),
            user: secret.is_none().then(|| PHONE.to_owned()),
        };
        let numbers = vec![number(PHONE, Some("s")), number(PUBLIC, None)];
        let clock = Clock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let entropy = Box::new(SeededEntropy::new(7));
        Self { calls: Calls::new(Options::default(), numbers, "u".to_owned(), clock, entropy), now: 0 }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.calls.handle(self.now(), input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.calls.poll_output()).collect()
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, ms: u64) -> Vec<Output> {
        let end = self.now + ms;
        let mut outputs = Vec::new();
        while let Some(at) = self.calls.poll_timeout().filter(|at| at.as_millis() <= end) {
            self.now = at.as_millis().max(self.now);
            outputs.extend(self.input(Input::Timer));
        }
        self.now = end;
        outputs
    }

    fn place(&mut self, voice_start: &str) -> (String, LegId) {
        let id = self.calls.originate(
            self.now(),
            Originate {
                from: PUBLIC.to_owned(),
                to: PHONE.to_owned(),
                voice_start: voice_start.to_owned(),
                whenhangup: Some("http://127.0.0.1/h".to_owned()),
                timeout: Some(20),
            },
        );
        let outputs = self.pass(50);
        let Some(Output::Invite { leg, to, from, .. }) = outputs.first() else { panic!("{outputs:?}") };
        assert_eq!((from.as_str(), to.as_str()), (PUBLIC, "4600100100"));
        (id, *leg)
    }

    fn fetch(outputs: &[Output]) -> (String, u64, Vec<(String, String)>) {
        let fetches: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Fetch { url, seq, form, .. } => Some((url.clone(), *seq, form.clone())),
                _ => None,
            })
            .collect();
        let [fetch] = fetches.as_slice() else { panic!("{outputs:?}") };
        fetch.clone()
    }

    fn state(&self, id: &str) -> &str {
        &self.calls.record(id).unwrap().state
    }

    fn action(&self, id: &str, at: usize) -> &Value {
        &self.calls.record(id).unwrap().actions[at]
    }
}

fn hooks(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Hook { .. })).count()
}

#[test]
fn the_same_seed_gives_the_same_ids() {
    assert_eq!(Sim::new().place("{}").0, Sim::new().place("{}").0);
}

#[test]
fn nobody_answers() {
    let mut sim = Sim::new();
    let (id, leg) = sim.place("http://127.0.0.1/v");
    assert!(sim.pass(19_999).is_empty());
    let outputs = sim.pass(1);
    assert_eq!(outputs.first(), Some(&Output::End(leg, None)));
    assert_eq!((hooks(&outputs), sim.state(&id)), (1, "failed"));
    assert!(sim.calls.poll_timeout().is_none());
    assert!(sim.input(Input::Answered(leg)).is_empty(), "too late");
}

#[test]
fn voice_start_has_five_seconds() {
    let mut sim = Sim::new();
    let (id, leg) = sim.place("http://127.0.0.1/v");
    let outputs = sim.input(Input::Answered(leg));
    let (url, seq, form) = Sim::fetch(&outputs);
    assert_eq!(url, "http://127.0.0.1/v");
    assert!(form.contains(&("callid".to_owned(), id.clone())));
    assert_eq!(hooks(&sim.pass(4999)), 0);
    assert_eq!(hooks(&sim.pass(1)), 1);
    let body = Some(r#"{"connect":"+46700000001"}"#.to_owned());
    assert!(sim.input(Input::Fetched { call: id.clone(), seq, body }).is_empty(), "too late");
    assert_eq!(sim.state(&id), "failed");
}

#[test]
fn connect_goes_where_the_result_leads() {
    for (number, wait, result, url) in [
        ("+46700000002", 20, "busy", "http://127.0.0.1/b"),
        ("+46700000004", 20, "failed", "http://127.0.0.1/n"),
        ("+46700000003", 45_000, "failed", "http://127.0.0.1/n"),
        ("+46700000005", 4000, "success", "http://127.0.0.1/s"),
    ] {
        let mut sim = Sim::new();
        let action = json!({
            "connect": number, "timeout": 45, "busy": "http://127.0.0.1/b",
            "success": "http://127.0.0.1/s", "next": "http://127.0.0.1/n",
        });
        let (id, leg) = sim.place(&action.to_string());
        sim.input(Input::Answered(leg));
        assert!(sim.pass(wait - 1).iter().all(|output| !matches!(output, Output::Fetch { .. })), "{number}");
        let outputs = sim.pass(1);
        let (to, seq, form) = Sim::fetch(&outputs);
        assert_eq!((to.as_str(), sim.action(&id, 0)["result"].as_str()), (url, Some(result)), "{number}");
        assert!(form.contains(&("result".to_owned(), result.to_owned())));
        let body = Some(r#"{"hangup":"reject"}"#.to_owned());
        let outputs = sim.input(Input::Fetched { call: id.clone(), seq, body });
        assert_eq!((hooks(&outputs), sim.state(&id)), (1, "success"));
        let billed = sim.calls.legs.iter().filter(|leg| leg.billed).map(|leg| leg.leg).collect::<Vec<_>>();
        assert_eq!(billed, ["a", "b"]);
    }
}

#[test]
fn either_side_ends_a_bridged_call() {
    for by_a in [true, false] {
        let mut sim = Sim::new();
        let (id, a) = sim.place(r#"{"connect":"+46700000001"}"#);
        sim.input(Input::Answered(a));
        let outputs = sim.pass(1000);
        assert!(outputs.contains(&Output::Play(a, Sound::Echo)), "{outputs:?}");
        sim.pass(9000);
        let b = LegId(sim.calls.legs[1].id);
        let outputs = sim.input(Input::Gone(if by_a { a } else { b }, None));
        assert_eq!((hooks(&outputs), sim.state(&id)), (1, "success"));
        assert_eq!(outputs.contains(&Output::End(a, None)), !by_a);
        let record = sim.calls.record(&id).unwrap();
        assert_eq!((record.duration, record.cost), (Some(10), Some(1900)));
        assert_eq!(record.legs[0]["duration"], 9);
        assert_eq!(record.actions[0]["result"], "success");
    }
}

#[test]
fn the_caller_gives_up_while_it_rings_there() {
    let mut sim = Sim::new();
    let (id, a) = sim.place(r#"{"connect":"+46700000006"}"#);
    sim.input(Input::Answered(a));
    sim.pass(5000);
    sim.input(Input::Gone(a, None));
    assert_eq!(sim.state(&id), "success");
    assert!(sim.calls.legs.iter().all(|leg| leg.ended_at.is_some()), "the far leg stops at once");
    assert!(sim.pass(60_000).is_empty());
}

#[test]
fn an_ivr_collects_keys_repeats_and_gives_up() {
    let menu = json!({ "ivr": "http://127.0.0.1/menu.wav", "timeout": 5, "repeat": 2, "1": { "hangup": "busy" },
        "next": "http://127.0.0.1/n" });
    let mut sim = Sim::new();
    let (id, a) = sim.place(&menu.to_string());
    let outputs = sim.input(Input::Answered(a));
    assert!(outputs.contains(&Output::Get("http://127.0.0.1/menu.wav".to_owned())));
    sim.input(Input::Key(a, '1'));
    assert_eq!((sim.action(&id, 0)["result"].as_str(), sim.state(&id)), (Some("1"), "success"));

    let (_, a) = sim.place(&menu.to_string());
    sim.input(Input::Answered(a));
    assert!(sim.pass(5000).contains(&Output::Get("http://127.0.0.1/menu.wav".to_owned())), "once more");
    assert_eq!(Sim::fetch(&sim.pass(5000)).0, "http://127.0.0.1/n");

    let long = json!({ "ivr": "sound/beep", "digits": 4, "next": "http://127.0.0.1/n" });
    for (keys, result) in [("1234", "1234"), ("12#", "12")] {
        let (_, a) = sim.place(&long.to_string());
        sim.input(Input::Answered(a));
        let outputs: Vec<Output> = keys.chars().flat_map(|key| sim.input(Input::Key(a, key))).collect();
        assert!(Sim::fetch(&outputs).2.contains(&("result".to_owned(), result.to_owned())));
    }
}

#[test]
fn play_ends_by_itself_or_by_a_key() {
    for (skippable, key_ends) in [(true, true), (false, false)] {
        let mut sim = Sim::new();
        let play = json!({ "play": "sound/beep", "skippable": skippable, "next": { "hangup": "reject" } });
        let (id, a) = sim.place(&play.to_string());
        sim.input(Input::Answered(a));
        sim.input(Input::Key(a, '5'));
        assert_eq!(sim.state(&id) == "success", key_ends);
        sim.pass(1000);
        assert_eq!(sim.state(&id), "success");
    }
}

#[test]
fn recordings_end_by_silence_key_or_time_and_are_reported() {
    let record = |silence: &str| json!({ "record": "http://127.0.0.1/r", "timelimit": 9, "silencedetection": silence });
    for how in ["silence", "key", "time"] {
        let mut sim = Sim::new();
        let (id, a) = sim.place(&record(if how == "key" { "no" } else { "yes" }).to_string());
        sim.input(Input::Answered(a));
        sim.pass(3000);
        let outputs = match how {
            "silence" => sim.input(Input::Silent(a)),
            "key" => {
                assert!(sim.input(Input::Silent(a)).is_empty());
                sim.input(Input::Key(a, '#'))
            }
            _ => sim.pass(6000),
        };
        let Some(Output::Hook { url, form, .. }) = outputs.first() else { panic!("{outputs:?}") };
        assert_eq!(url, "http://127.0.0.1/r");
        let seconds = if how == "time" { "9" } else { "3" };
        assert!(form.contains(&("duration".to_owned(), seconds.to_owned())), "{form:?}");
        assert!(form.iter().any(|(key, value)| key == "wav" && value.ends_with(&format!("{id}-r0.wav"))));
        assert_eq!((hooks(&outputs), sim.state(&id)), (2, "success"));
    }
}

#[test]
fn recordcall_is_reported_at_the_end() {
    let mut sim = Sim::new();
    let (_, a) = sim.place(r#"{"connect":"+46700000001","recordcall":"http://127.0.0.1/r"}"#);
    sim.input(Input::Answered(a));
    sim.pass(5000);
    let outputs = sim.input(Input::Gone(a, None));
    assert_eq!(hooks(&outputs), 2);
}

#[test]
fn an_incoming_call_is_answered_when_the_phone_does() {
    let mut sim = Sim::new();
    let id = sim.calls.incoming(sim.now(), "+46701112233", PUBLIC).unwrap();
    let outputs = sim.outputs();
    let leg = outputs.iter().find_map(|output| match output {
        Output::Invite { leg, from, .. } if from == "+46701112233" => Some(*leg),
        _ => None,
    });
    assert!(sim.calls.record(&id).unwrap().start.is_none());
    sim.input(Input::Answered(leg.unwrap()));
    assert!(sim.calls.record(&id).unwrap().start.is_some());
    assert!(sim.calls.legs.iter().all(|leg| !leg.billed));
    assert!(sim.calls.incoming(sim.now(), "+46701112233", "+46700000001").is_none());
}

#[test]
fn hangup_as_the_first_action_of_an_incoming_call() {
    for (word, state) in [("busy", "busy"), ("reject", "failed"), ("404", "failed")] {
        let mut sim = Sim::new();
        let action = json!({ "hangup": word }).to_string();
        sim.calls.options.voice_start.insert(PUBLIC.to_owned(), action);
        let id = sim.calls.incoming(sim.now(), "+46701112233", PUBLIC).unwrap();
        assert_eq!(sim.state(&id), state, "{word}");
    }
}

#[test]
fn e164() {
    for good in ["+46700000001", "+4600100100", "+1234567"] {
        assert!(is_e164(good), "{good}");
    }
    for bad in
        ["", "46700000001", "+0700000001", "+46", "+46700000001,+46", "sip:x", "+4670000000100000", "+46 70"]
    {
        assert!(!is_e164(bad), "{bad}");
    }
}
