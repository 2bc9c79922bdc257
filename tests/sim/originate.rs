//! Calls by REST: the proxy's answers, the provider's INVITE, the claim and the confirmation, in the order in which
//! they come and in others.

mod ending;
mod matching;
mod orders;
mod proxy;
mod random;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{Bench, Caller, Media, OFFER, config, ms, secs, send};
use wasm_softphone::dial::proxy::{Expected, ProxyCall, ProxyCommand, ProxyConfig, ProxyFailure, ProxyReply};
use wasm_softphone::phone::{
    AnswerBy, CallId, CallState, DialStage, EndCause, EndedBy, Event, Input, MediaCommand, OriginateRequest,
    PageKept, PhoneConfig,
};
use wasm_softphone::sip::message::{Message, Request};
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::sip::wire::{self, Frame};

pub const OWN: &str = "+4600100100";
pub const CALLER_ID: &str = "+46766860000";
pub const TO: &str = "+46701234567";

/// A phone of the provider's, connected.
pub fn elks() -> Bench {
    let mut bench =
        Bench::new(PhoneConfig { uri: Uri::parse("sip:4600100100@voip.46elks.com").unwrap(), ..config() });
    bench.connect();
    bench.events.clear();
    bench
}

pub fn request() -> OriginateRequest {
    OriginateRequest {
        to: TO.into(),
        caller_id: None,
        timeout: None,
        answer: AnswerBy::ThisPhone,
        listens_only: None,
    }
}

pub fn originate(bench: &mut Bench) -> CallId {
    let id = bench.phone.originate(bench.now, request()).unwrap();
    bench.drain();
    id
}

/// The provider's INVITE to this phone.
pub fn bridge(call_id: &str, from: &str) -> (Caller, Request) {
    let mut caller = Caller::new(call_id);
    let plain = caller.request("INVITE", Some(OFFER)).to_text().unwrap();
    let text = plain
        .replace("sip:bob@example.com", &format!("sip:{from}@voip.46elks.com"))
        .replace("<sip:alice@example.com>", "<sip:4600100100@voip.46elks.com>");
    match wire::parse(text.as_bytes()) {
        Ok(Frame::Message(Message::Request(request))) => (caller, request),
        _ => panic!("the test's own request is broken"),
    }
}

pub fn is_config(command: &ProxyCommand) -> bool {
    *command == ProxyCommand::Config
}

pub fn is_start(command: &ProxyCommand) -> bool {
    matches!(command, ProxyCommand::Start { .. })
}

pub fn is_poll(command: &ProxyCommand) -> bool {
    matches!(command, ProxyCommand::Poll { .. })
}

pub fn is_claim(command: &ProxyCommand) -> bool {
    matches!(command, ProxyCommand::Claim { .. })
}

pub fn is_cancel(command: &ProxyCommand) -> bool {
    matches!(command, ProxyCommand::Cancel { .. })
}

pub fn state(name: &str, seq: u32) -> ProxyCall {
    ProxyCall {
        state: name.into(),
        seq,
        confirmed: matches!(name, "client_answered" | "bridging"),
        expect: Some(Expected { from: CALLER_ID.into(), to: OWN.into() }),
        ring_timeout: Some(secs(20)),
        confirm_timeout: Some(secs(4)),
        ..ProxyCall::default()
    }
}

pub fn ended(reason: &str, seq: u32) -> ProxyCall {
    ProxyCall { ended: true, reason: Some(reason.into()), ..state("ended", seq) }
}

pub fn reply(status: u16, call: ProxyCall) -> Result<ProxyReply, ProxyFailure> {
    Ok(ProxyReply { status, call: Some(call), ..ProxyReply::default() })
}

pub fn problem(status: u16, code: &str) -> Result<ProxyReply, ProxyFailure> {
    let code = (!code.is_empty()).then(|| code.to_owned());
    Ok(ProxyReply { status, code, ..ProxyReply::default() })
}

pub fn known() -> Result<ProxyReply, ProxyFailure> {
    let config = ProxyConfig {
        number: OWN.into(),
        default_caller_id: Some("main".into()),
        caller_ids: vec![("main".into(), CALLER_ID.into())],
    };
    Ok(ProxyReply { status: 200, config: Some(config), ..ProxyReply::default() })
}

pub fn stages(bench: &Bench, id: CallId) -> Vec<DialStage> {
    bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Stage(call, stage) if *call == id => Some(*stage),
            _ => None,
        })
        .collect()
}

pub fn gate_is_open(bench: &Bench, id: CallId) -> bool {
    bench.jobs.iter().any(|(call, _, command)| *call == id && *command == MediaCommand::OpenGate)
}

/// How far a dial has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// The browser has not said whether the lock is to be had.
    Lock,
    /// The user has not allowed the microphone.
    Microphone,
    /// The proxy has been asked.
    Requested,
    /// The proxy has answered, the provider has not called.
    Ringing,
    /// The provider has called, the answer is being made.
    Answering,
    /// 200 is out, ACK is not in.
    Accepted,
    /// Acknowledged, not confirmed.
    Gated,
    /// Confirmed.
    Open,
    /// The provider has hung up.
    Outcome,
}

/// A dial that has come so far, with what the provider would say next.
pub fn reach(at: At) -> (Bench, CallId, Caller, Request) {
    reach_with(at, request())
}

pub fn reach_with(at: At, request: OriginateRequest) -> (Bench, CallId, Caller, Request) {
    let mut bench = elks();
    if at == At::Lock {
        bench.lock_free = None;
    }
    bench.media = if at == At::Microphone { Media::Manual } else { Media::Prompt };
    let id = bench.phone.originate(bench.now, request).unwrap();
    bench.drain();
    let (mut caller, invite) = bridge("bridge", CALLER_ID);
    let steps = [At::Ringing, At::Answering, At::Accepted, At::Gated, At::Open, At::Outcome];
    let steps = steps.iter().position(|step| *step == at).map_or(0, |at| at + 1);
    if steps > 0 {
        bench.proxy_answers(is_config, known());
        bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    }
    if steps > 1 {
        if at == At::Answering {
            bench.media = Media::Manual;
        }
        send(&mut bench, &invite);
    }
    if steps > 2 {
        acknowledge(&mut bench, &mut caller, steps > 3);
    }
    if steps > 4 {
        bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    }
    if steps > 5 {
        let bye = caller.request("BYE", None);
        send(&mut bench, &bye);
    }
    bench.sent.clear();
    (bench, id, caller, invite)
}

/// Takes the 200 and, if so, acknowledges it.
pub fn acknowledge(bench: &mut Bench, caller: &mut Caller, ack: bool) {
    let ok = bench.take_response(200);
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    if ack {
        let ack = caller.ack(1, None);
        send(bench, &ack);
    }
}

pub fn count(bench: &Bench, of: impl Fn(&ProxyCommand) -> bool) -> usize {
    bench.asked.iter().filter(|(command, _)| of(command)).count()
}

/// No call is asked for twice.
pub fn asked_for_once(bench: &Bench) {
    let mut calls: Vec<&String> = bench
        .asked
        .iter()
        .filter_map(|(command, _)| match command {
            ProxyCommand::Start { call, .. } => Some(call),
            _ => None,
        })
        .collect();
    let all = calls.len();
    calls.sort();
    calls.dedup();
    assert_eq!(calls.len(), all, "a call was asked for twice");
}

/// Everything that can run out runs out: nothing is left over of the dial, which has had one outcome.
pub fn settled(mut bench: Bench, id: CallId) {
    assert!(bench.dial_result(id).is_some(), "the dial has no outcome");
    let ends = bench.events.iter().filter(|event| matches!(event, Event::Ended(of, _) if *of == id)).count();
    assert_eq!(ends, 1);
    assert!(bench.phone.calls().iter().all(|call| call.id != id), "an ended call is still listed");
    assert!(bench.locks.is_empty(), "the lock is kept");
    asked_for_once(&bench);
    bench.pass(secs(200));
    bench.input(Input::Timer);
    assert!(bench.phone.call(id).is_none(), "the record stays");
    assert!(bench.requests.is_empty(), "{:?}", bench.requests);
    bench.disconnect();
    bench.pass(secs(3));
    assert_eq!(bench.phone.poll_timeout(), None);
    let closed = bench.jobs.iter().rev().find(|(of, _, _)| *of == id).map(|(_, _, command)| command.clone());
    assert!(matches!(closed, None | Some(MediaCommand::Close)), "{closed:?} after the end");
}

#[test]
fn the_whole_journey() {
    let mut bench = elks();
    let id = originate(&mut bench);
    assert_eq!(bench.locks.len(), 1);
    bench.proxy_answers(is_config, known());
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    let (mut caller, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    let ok = bench.take_response(200);
    bench.nothing_sent();
    assert!(!gate_is_open(&bench, id));
    assert!(bench.dial_result(id).is_none());
    let claim = bench.requests.iter().find(|(_, command)| is_claim(command)).unwrap();
    match &claim.1 {
        ProxyCommand::Claim { sip_call_id_sha256: Some(hash), .. } => assert_eq!(hash.len(), 64),
        other => panic!("{other:?}"),
    }
    bench.proxy_answers(is_claim, problem(204, ""));
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert!(!gate_is_open(&bench, id));
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    assert!(gate_is_open(&bench, id));
    assert_eq!(bench.dial_result(id), Some(&Ok(())));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    assert!(bench.locks.is_empty(), "the next dial is another tab's as well");
    assert_eq!(
        stages(&bench, id),
        [
            DialStage::Preparing,
            DialStage::Requesting,
            DialStage::RingingClient,
            DialStage::ClientConnected,
            DialStage::Ringing,
            DialStage::Connected
        ]
    );
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))));
    // The far end hangs up: the provider's BYE, and then the proxy knows how it went.
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE"]);
    assert!(bench.media_closed(id));
    assert!(bench.end_of(id).is_none());
    bench.pass(ms(300));
    bench.proxy_answers(is_poll, reply(200, ended("completed", 4)));
    let end = bench.end_of(id).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Completed, EndedBy::Remote));
    bench.pass(secs(120));
    assert!(bench.phone.call(id).is_none());
    assert!(bench.phone.poll_timeout().is_none_or(|(at, _)| at > bench.now));
    assert!(bench.requests.is_empty());
    let started = bench.asked.iter().filter(|(command, _)| is_start(command)).count();
    assert_eq!(started, 1);
    bench.input(Input::Timer);
}
