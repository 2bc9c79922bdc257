use std::collections::{BTreeSet, HashMap};

use proptest::{prelude::*, sample::select};
use uuid::Uuid;

use super::*;

const T: Timing = Timing {
    ring: 20_000,
    connect: 45_000,
    claim: 1_500,
    confirm: 4_000,
    grace: 5_000,
    idle: 30_000,
    max_duration: 3_600_000,
    record_life: 900_000,
    tombstone: 60_000,
};
const START: Millis = 1_000_000_000;
const OURS: &str = "c719b1eefbf65b1f89c013e6433dbf537";
const OTHER: &str = "c00000000000000000000000000000000";

fn fresh() -> Record {
    let plan = Plan {
        to: "+46701234567".to_owned(),
        caller_id: "main".to_owned(),
        from: "+46766860000".to_owned(),
        number: "+4600100100".to_owned(),
    };
    let hooks = HookIds { voice: "v".to_owned(), hangup: "h".to_owned() };
    Record::dialling(Uuid::from_u128(1), "alice", plan, "nonce".to_owned(), hooks, START)
}

/// A record with its own clock, which writes as the stores do.
struct Call {
    record: Record,
    now: Millis,
    effects: Vec<Effect>,
}

impl Call {
    fn new() -> Self {
        let mut call = Self { record: fresh(), now: START, effects: Vec::new() };
        call.on(Event::Begin);
        call
    }

    fn on(&mut self, event: Event) -> Vec<Effect> {
        let (mut next, effects) = transition(&self.record, &event, self.now, &T);
        next.version = next.version.saturating_add(u64::from(next != self.record)).max(1);
        self.record = next;
        self.effects.extend(effects.clone());
        effects
    }

    fn after(&mut self, wait: Millis) -> &mut Self {
        self.now += wait;
        self.on(Event::Tick);
        self
    }

    fn voice(&mut self, callid: &str) -> VoiceReply {
        let effects = self.on(Event::VoiceStart { callid: callid.to_owned() });
        let answer = |effect: &Effect| if let Effect::Answer(reply) = effect { Some(*reply) } else { None };
        effects.iter().find_map(answer).unwrap()
    }

    fn started(&mut self) -> &mut Self {
        self.on(Event::Started { id: OURS.to_owned() });
        self
    }

    fn claim(&mut self) -> &mut Self {
        self.on(Event::Claim { hash: None });
        self
    }

    fn bridged(&mut self) -> &mut Self {
        self.started().claim();
        assert_eq!(self.voice(OURS), VoiceReply::Connect);
        self.on(Event::ConnectReturned);
        self
    }

    fn hung_up(&mut self, fields: &[(&str, &str)]) -> (State, Option<Reason>) {
        self.on(Event::HungUp(form(fields)));
        (self.record.state, self.record.outcome())
    }

    fn is(&self, state: State, reason: Option<Reason>) {
        assert_eq!((self.record.state, self.record.outcome()), (state, reason));
    }
}

fn form(fields: &[(&str, &str)]) -> Hangup {
    let fields: HashMap<String, String> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Hangup::from_form(&fields)
}

#[test]
fn a_call_goes_its_way() {
    let mut call = Call::new();
    assert_eq!(call.effects, [Effect::Originate]);
    call.is(State::Accepted, None);
    assert_eq!(call.record.seq, 1);
    call.started().is(State::RingingClient, None);
    assert!(!call.record.confirmed());
    call.claim().is(State::RingingClient, None);
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
    call.is(State::ClientAnswered, None);
    assert!(call.record.confirmed());
    call.on(Event::ConnectReturned);
    call.is(State::Bridging, None);
    assert_eq!(call.record.seq, 4);
    let end = call.hung_up(&[
        ("id", OURS),
        ("state", "success"),
        ("duration", "30"),
        ("cost", "11400"),
        ("actions", r#"[{"connect":"+46701234567","result":"success"}]"#),
        ("legs", r#"[{"duration":17,"to":"+46701234567","state":"success"}]"#),
    ]);
    assert_eq!(end, (State::Ended, Some(Reason::Completed)));
    assert_eq!((call.record.duration_s, call.record.cost), (Some(17), Some(11_400)));
    assert!(call.effects.contains(&Effect::Settle { duration_s: 30, cost: Some(11_400) }));
}

#[test]
fn the_far_legs_result_is_the_reason() {
    let connect = |result: &str| format!(r#"[{{"connect":"+46701234567","result":"{result}"}}]"#);
    for (wait, result, reason) in [
        (1_000, "success", Reason::Completed),
        (1_000, "busy", Reason::Busy),
        (1_000, "failed", Reason::Failed),
        (43_999, "failed", Reason::Failed),
        (44_000, "failed", Reason::NoAnswer),
        (46_000, "failed", Reason::NoAnswer),
        (1_000, "noanswer", Reason::NoAnswer),
    ] {
        let mut call = Call::new();
        call.bridged();
        call.now += wait;
        call.on(Event::Seen);
        let end = call.hung_up(&[("id", OURS), ("state", "success"), ("actions", &connect(result))]);
        assert_eq!(end, (State::Ended, Some(reason)), "{result} after {wait}");
    }
}

#[test]
fn whenhangup_may_leave_out_or_spoil_anything() {
    for (fields, reason) in [
        (vec![("state", "success"), ("duration", "12")], Reason::Completed),
        (vec![("state", "success")], Reason::Completed),
        (vec![("state", "busy")], Reason::Busy),
        (vec![("state", "failed")], Reason::Failed),
        (vec![("state", "novelty"), ("duration", "3")], Reason::Completed),
        (vec![("state", "novelty")], Reason::Failed),
        (vec![], Reason::Failed),
        (vec![("state", "success"), ("actions", "not json"), ("legs", "{")], Reason::Completed),
        (vec![("state", "success"), ("actions", r#"[{"connect":"x"}]"#)], Reason::Cancelled),
        (vec![("state", "success"), ("legs", r#"[{"state":"busy"}]"#)], Reason::Busy),
        (
            vec![
                ("state", "success"),
                ("legs", r#"[{"state":"failed"},{"state":"success","duration":"9"}]"#),
            ],
            Reason::Completed,
        ),
    ] {
        let mut call = Call::new();
        call.bridged();
        assert_eq!(call.hung_up(&fields), (State::Ended, Some(reason)), "{fields:?}");
    }
}

#[test]
fn a_voice_start_before_everything_waits_for_the_claim() {
    let mut call = Call::new();
    assert_eq!(call.voice(OURS), VoiceReply::Wait { until: START + 1_500 });
    call.is(State::RingingClient, None);
    call.now += 1_000;
    assert_eq!(call.voice(OURS), VoiceReply::Wait { until: START + 1_500 });
    call.claim().is(State::ClientAnswered, None);
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
    call.started();
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
}

#[test]
fn a_claim_too_late_connects_nothing() {
    let mut call = Call::new();
    call.started();
    call.voice(OURS);
    call.now += 1_500;
    call.claim();
    assert_eq!(call.voice(OURS), VoiceReply::Hangup);
    call.is(State::Cancelling, None);
    assert_eq!(call.hung_up(&[("id", OURS)]), (State::Ended, Some(Reason::Unverified)));
}

#[test]
fn another_calls_voice_start_is_rejected_before_and_after() {
    let mut call = Call::new();
    call.started().claim();
    assert_eq!(call.voice(OTHER), VoiceReply::Hangup);
    assert!(call.effects.contains(&Effect::Alarm(Alarm::OtherCall)));
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
    assert_eq!(call.voice(OTHER), VoiceReply::Hangup);
    call.is(State::ClientAnswered, None);
    // Its end isn't ours, either.
    call.hung_up(&[("id", OTHER)]);
    call.is(State::ClientAnswered, None);
}

#[test]
fn a_cancelled_call_is_never_connected() {
    for phase in 0..5 {
        let mut call = Call::new();
        if phase > 0 {
            call.started();
        }
        if phase > 1 {
            call.claim();
        }
        if phase > 2 {
            call.voice(OURS);
        }
        if phase > 3 {
            call.on(Event::ConnectReturned);
        }
        call.on(Event::Cancel);
        call.is(State::Cancelling, None);
        call.claim();
        assert_eq!(call.voice(OURS), VoiceReply::Hangup, "phase {phase}");
        let seq = call.record.seq;
        call.on(Event::Cancel);
        assert_eq!(call.record.seq, seq);
        assert_eq!(call.hung_up(&[("id", OURS), ("state", "failed")]).1, Some(Reason::Cancelled));
    }
}

#[test]
fn hanging_up_after_talking_is_no_cancellation() {
    let mut call = Call::new();
    call.bridged().after(10_000).on(Event::Cancel);
    let actions = r#"[{"connect":"+46701234567","result":"success"}]"#;
    let end = call.hung_up(&[("id", OURS), ("state", "success"), ("actions", actions), ("duration", "10")]);
    assert_eq!(end, (State::Ended, Some(Reason::Completed)));
    assert_eq!(call.record.duration_s, Some(10));
}

#[test]
fn a_success_that_cannot_be_read_holds_the_number_until_its_leg_is_over() {
    let mut call = Call::new();
    let refusal = Refusal { code: Code::ProviderError, retry_after_s: None, made: true };
    call.on(Event::Refused(refusal));
    call.is(State::Cancelling, None);
    assert_eq!(call.record.refusal, Some(refusal));
    assert_eq!(call.voice("c1"), VoiceReply::Hangup);
    call.hung_up(&[("state", "failed")]);
    call.is(State::Ended, Some(Reason::ProviderError));
}

#[test]
fn a_refusal_fails_the_call_unless_there_is_one() {
    let refusal = Refusal { code: Code::ProviderCredit, retry_after_s: None, made: false };
    let mut call = Call::new();
    call.on(Event::Refused(refusal));
    call.is(State::Failed, Some(Reason::ProviderError));
    assert_eq!(call.record.refusal, Some(refusal));
    assert_eq!(call.voice(OURS), VoiceReply::Hangup);

    let mut call = Call::new();
    call.claim();
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
    call.on(Event::Refused(refusal));
    call.is(State::ClientAnswered, None);
}

#[test]
fn an_unknown_outcome_is_resolved_by_a_hook_or_by_time() {
    let mut call = Call::new();
    call.on(Event::Unknown);
    assert!(call.record.answered());
    call.is(State::Accepted, None);
    call.claim();
    assert_eq!(call.voice(OURS), VoiceReply::Connect);

    let mut call = Call::new();
    call.on(Event::Unknown);
    assert_eq!(
        call.hung_up(&[("id", OURS), ("state", "failed")]),
        (State::Ended, Some(Reason::ClientUnreachable))
    );

    let mut call = Call::new();
    call.on(Event::Unknown);
    call.after(24_999).is(State::Accepted, None);
    call.after(1).is(State::Failed, Some(Reason::ProviderUnknown));
    assert_eq!(call.voice(OURS), VoiceReply::Hangup);
    // What it cost counts, however late it is told.
    call.now += 3_600_000;
    call.hung_up(&[("id", OURS), ("duration", "5"), ("cost", "100")]);
    call.is(State::Failed, Some(Reason::ProviderUnknown));
    assert!(call.effects.contains(&Effect::Settle { duration_s: 5, cost: Some(100) }));
}

#[test]
fn whenhangup_counts_once() {
    let mut call = Call::new();
    call.bridged();
    for _ in 0..3 {
        call.hung_up(&[("id", OURS), ("state", "success"), ("duration", "5"), ("cost", "100")]);
    }
    let settled = call.effects.iter().filter(|effect| matches!(effect, Effect::Settle { .. })).count();
    assert_eq!(settled, 1);
}

#[test]
fn whenhangup_before_voice_start_ends_the_call() {
    let mut call = Call::new();
    call.started().claim();
    call.hung_up(&[("id", OURS), ("state", "failed")]);
    call.is(State::Ended, Some(Reason::ClientUnreachable));
    assert_eq!(call.voice(OURS), VoiceReply::Hangup);
}

#[test]
fn a_page_that_is_gone_cancels_before_the_bridge_and_asks_after_it() {
    let slow = Timing { ring: 60_000, ..T };
    let mut record = fresh();
    record.provider_id = Some(OURS.to_owned());
    record.state = State::RingingClient;
    assert_eq!(next_deadline(&record, &slow), Some(START + 30_000));
    let (record, _) = transition(&record, &Event::Tick, START + 30_000, &slow);
    assert_eq!(record.state, State::Cancelling);

    let mut call = Call::new();
    call.bridged();
    let read = Effect::Read { id: OURS.to_owned() };
    assert!(!call.after(29_999).effects.contains(&read));
    assert!(call.after(1).effects.contains(&read));
    call.is(State::Bridging, None);
    let ongoing =
        Hangup { id: Some(OURS.to_owned()), state: Some("ongoing".to_owned()), ..Hangup::default() };
    call.on(Event::Read(Some(ongoing)));
    call.is(State::Bridging, None);
    let over = Hangup { id: Some(OURS.to_owned()), state: Some("success".to_owned()), ..Hangup::default() };
    call.on(Event::Read(Some(over)));
    call.is(State::Ended, Some(Reason::Completed));
}

#[test]
fn reading_is_bounded() {
    let mut call = Call::new();
    call.started();
    call.on(Event::Cancel);
    while let Some(at) = next_deadline(&call.record, &T) {
        call.now = call.now.max(at);
        call.on(Event::Tick);
        call.on(Event::Read(None));
    }
    call.is(State::Ended, Some(Reason::Cancelled));
    let reads = call.effects.iter().filter(|effect| matches!(effect, Effect::Read { .. })).count();
    assert!((1..=12).contains(&reads), "{reads}");
}

#[test]
fn a_claim_far_from_its_voice_start_is_told() {
    let mut call = Call::new();
    call.started();
    call.on(Event::Claim { hash: Some("00".repeat(32)) });
    call.now += 2_001;
    assert_eq!(call.voice(OURS), VoiceReply::Connect);
    assert!(call.effects.contains(&Effect::Alarm(Alarm::ClaimSkew)));
}

#[test]
fn a_tombstone_stays_one() {
    let tomb = Record::tombstone(Uuid::from_u128(2), "alice", START);
    for event in events() {
        let (next, effects) = transition(&tomb, &event, START + 1, &T);
        assert_eq!(next.state, State::Ended);
        assert_eq!(next.reason, Some(Reason::Cancelled));
        assert!(!effects.contains(&Effect::Originate));
        assert!(!effects.contains(&Effect::Answer(VoiceReply::Connect)));
    }
    assert_eq!(tomb.forget_at(&T), Some(START + 60_000));
}

fn events() -> Vec<Event> {
    vec![
        Event::Begin,
        Event::Started { id: OURS.to_owned() },
        Event::Refused(Refusal { code: Code::ProviderError, retry_after_s: None, made: false }),
        Event::Unknown,
        Event::NotSent,
        Event::VoiceStart { callid: OURS.to_owned() },
        Event::VoiceStart { callid: OTHER.to_owned() },
        Event::ConnectReturned,
        Event::Claim { hash: None },
        Event::Seen,
        Event::Cancel,
        Event::HungUp(form(&[("id", OURS), ("state", "success")])),
        Event::HungUp(form(&[("id", OTHER), ("state", "failed")])),
        Event::Read(None),
        Event::Read(Some(form(&[("id", OURS), ("state", "ongoing")]))),
        Event::Read(Some(form(&[("id", OURS), ("state", "failed")]))),
        Event::Tick,
    ]
}

/// A record in each state, and what each event makes of it: in the order of `events()`.
#[test]
fn every_state_meets_every_event() {
    use State::{
        Accepted as A, Bridging as B, Cancelling as C, ClientAnswered as Q, Ended as E, Failed as F,
        RingingClient as R,
    };
    let at = |prepare: fn(&mut Call)| {
        let mut call = Call::new();
        prepare(&mut call);
        call
    };
    type Row = (fn(&mut Call), [State; 17]);
    let states: [Row; 8] = [
        // Begin, Started, Refused, Unknown, NotSent, Voice, VoiceOther, Returned, Claim, Seen, Cancel, HungUp,
        // HungUpOther, ReadNone, ReadOngoing, ReadFailed, Tick
        (|_| {}, [A, R, F, A, E, R, R, A, A, A, C, E, E, A, A, E, A]),
        (
            |call| {
                call.started();
            },
            [R, R, F, R, E, R, R, R, R, R, C, E, R, R, R, E, R],
        ),
        // voice_start is there, the claim isn't.
        (
            |call| {
                call.voice(OURS);
            },
            [R, R, R, R, R, R, R, R, Q, R, C, E, R, R, R, E, R],
        ),
        (
            |call| {
                call.claim();
                call.voice(OURS);
            },
            [Q, Q, Q, Q, Q, Q, Q, B, Q, Q, C, E, Q, Q, Q, E, Q],
        ),
        (
            |call| {
                call.bridged();
            },
            [B, B, B, B, B, B, B, B, B, B, C, E, B, B, B, E, B],
        ),
        (
            |call| {
                call.started();
                call.on(Event::Cancel);
            },
            [C, C, E, C, E, C, C, C, C, C, C, E, C, C, C, E, C],
        ),
        (
            |call| {
                call.started();
                call.hung_up(&[("id", OURS)]);
            },
            [E; 17],
        ),
        (
            |call| {
                call.on(Event::Refused(Refusal {
                    code: Code::ProviderError,
                    retry_after_s: None,
                    made: false,
                }));
            },
            [F; 17],
        ),
    ];
    for (row, (prepare, outcomes)) in states.into_iter().enumerate() {
        for (event, outcome) in events().into_iter().zip(outcomes) {
            let mut call = at(prepare);
            let (before, was) = (call.record.clone(), call.effects.len());
            call.on(event.clone());
            assert_eq!(call.record.state, outcome, "row {row}, {event:?}");
            assert!(call.record.seq >= before.seq);
            assert_eq!(call.record.seq > before.seq, call.record.visible() != before.visible());
            assert!(!call.effects[was..].contains(&Effect::Originate), "row {row}, {event:?}");
        }
    }
}

#[derive(Clone, Debug)]
struct Step {
    wait: Millis,
    event: Event,
    /// The write is lost to a crash after it was decided on, as the reader of a stale version would be refused.
    lost: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let waits =
        select(vec![0, 0, 1, 100, 1_000, 1_499, 1_500, 4_000, 20_000, 25_000, 31_000, 100_000, 3_700_000]);
    let step = (waits, select(events()), prop::bool::weighted(0.1));
    prop::collection::vec(step.prop_map(|(wait, event, lost)| Step { wait, event, lost }), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_whatever_order(steps in steps()) {
        let mut call = Call::new();
        let mut originates = call.effects.iter().filter(|effect| **effect == Effect::Originate).count();
        let mut connected = BTreeSet::new();
        let mut claimed = false;
        let mut cancelled = false;
        let mut ended: Option<Record> = None;
        for Step { wait, event, lost } in steps {
            call.now += wait;
            let before = call.record.clone();
            let effects = call.on(event.clone());
            if lost && !effects.iter().any(|effect| matches!(effect, Effect::Answer(_) | Effect::Originate)) {
                // Nothing was answered on the strength of it, so it may be gone.
                call.record = before.clone();
                continue;
            }
            claimed |= matches!(event, Event::Claim { .. }) && !before.ended();
            cancelled |= event == Event::Cancel;
            originates += effects.iter().filter(|effect| **effect == Effect::Originate).count();
            if effects.contains(&Effect::Answer(VoiceReply::Connect)) {
                prop_assert!(claimed && !cancelled && !call.record.ended());
                prop_assert!(call.record.confirmed());
                let Event::VoiceStart { callid } = &event else { panic!("an answer to nobody") };
                connected.insert(callid.clone());
            }
            prop_assert!(originates <= 1);
            prop_assert!(connected.len() <= 1);
            prop_assert!(call.record.seq >= before.seq);
            if let Some(ended) = &ended {
                prop_assert_eq!(ended.visible(), call.record.visible());
                prop_assert_eq!(next_deadline(&call.record, &T), None);
            }
            if call.record.ended() {
                prop_assert!(call.record.outcome().is_some());
                ended = Some(call.record.clone());
            }
        }
        // By itself, and in bounded time and work.
        let (mut turns, limit) = (0, call.now + T.max_duration + 400_000);
        while let Some(at) = next_deadline(&call.record, &T) {
            call.now = call.now.max(at);
            let before = call.record.clone();
            call.on(Event::Tick);
            prop_assert!(before != call.record, "a deadline that changes nothing: {:?}", call.record);
            turns += 1;
            prop_assert!(turns < 40 && call.now <= limit);
        }
        prop_assert!(call.record.ended());
    }

    #[test]
    fn a_record_survives_being_written(steps in steps()) {
        let mut call = Call::new();
        for Step { wait, event, .. } in steps {
            call.now += wait;
            call.on(event);
        }
        let json = serde_json::to_string(&call.record).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Record>(&json).unwrap(), &call.record);
    }

    #[test]
    fn no_form_is_too_odd(fields in prop::collection::hash_map(
        select(vec!["id", "callid", "state", "duration", "cost", "actions", "legs"]), ".{0,40}", 0..7,
    )) {
        let fields: HashMap<String, String> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let mut call = Call::new();
        call.bridged();
        call.on(Event::HungUp(Hangup::from_form(&fields)));
        prop_assert!(call.record.ended() || fields.contains_key("id") || fields.contains_key("callid"));
    }
}

#[test]
fn a_call_that_is_too_long_is_told_of_also_after_silence() {
    let mut call = Call::new();
    call.bridged();
    // The page is in the background and does not ask; 46elks says each time that the call goes on.
    let mut reads = 0;
    for _ in 0..200 {
        let effects = call.after(1_000).effects.split_off(0);
        for _ in effects.iter().filter(|effect| matches!(effect, Effect::Read { .. })) {
            reads += 1;
            call.on(Event::Read(Some(Hangup { state: Some("ongoing".to_owned()), ..Hangup::default() })));
        }
    }
    assert_eq!(reads, 6);
    call.is(State::Bridging, None);
    let next = next_deadline(&call.record, &T).unwrap();
    assert!(next <= START + T.max_duration + T.grace, "{next}");
    call.now = next;
    let effects = call.on(Event::Tick);
    assert!(effects.contains(&Effect::Alarm(Alarm::TooLong)), "{effects:?}");
    assert!(effects.contains(&Effect::Read { id: OURS.to_owned() }), "{effects:?}");
    // Once.
    let next = next_deadline(&call.record, &T).unwrap();
    assert!(next > START + T.max_duration + T.grace + 60_000, "{next}");
}

#[test]
fn a_claim_long_after_somebody_answered_is_told_of() {
    // Another device answered our leg, and this one something else.
    let mut call = Call::new();
    call.started();
    assert!(matches!(call.voice(OURS), VoiceReply::Wait { .. }));
    call.after(2_500).is(State::Cancelling, None);
    let effects = call.on(Event::Claim { hash: None });
    assert_eq!(effects, [Effect::Alarm(Alarm::ClaimSkew)]);
    call.is(State::Cancelling, None);
    // Just too late is nothing strange, nor is a claim of a call that was cancelled before.
    let mut call = Call::new();
    call.started();
    assert!(matches!(call.voice(OURS), VoiceReply::Wait { .. }));
    assert_eq!(call.after(1_600).on(Event::Claim { hash: None }), []);
    let mut call = Call::new();
    call.started().on(Event::Cancel);
    assert_eq!(call.after(3_000).on(Event::Claim { hash: None }), []);
}
