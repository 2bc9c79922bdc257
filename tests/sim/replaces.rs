//! INVITE with Replaces (RFC 3891).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, secs, send};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{CallState, Direction, EndCause, EndedBy, Event, MediaCommand, PhoneConfig};
use wasm_softphone::sip::message::Request;
use wasm_softphone::sip::sdp::Direction as MediaDirection;

fn replacing(caller: &mut Caller, value: &str) -> Request {
    let mut invite = caller.request("INVITE", Some(OFFER));
    invite.headers.push("Replaces", value);
    invite.headers.push("Require", "replaces");
    invite
}

/// Replaces for the call that this caller has.
fn tags(caller: &Caller) -> String {
    format!("{};to-tag={};from-tag={}", caller.call_id, caller.to_tag.as_ref().unwrap(), caller.tag)
}

#[test]
fn a_call_takes_the_place_of_another_without_ringing() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    let mut other = Caller::new("other");
    send(&mut bench, &replacing(&mut other, &tags(&caller)));
    let ok = bench.take_response(200);
    assert_eq!(ok.body, ANSWER.as_bytes());
    bench.nothing_sent();
    assert!(bench.end_of(old).is_none(), "the old call stays until the new one is up");
    other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    bench.take_request("BYE");
    let calls = bench.phone.calls();
    assert_eq!(calls.len(), 1);
    let new = &calls[0];
    assert_eq!((new.state, new.direction), (CallState::Active, Direction::Incoming));
    assert!(bench.events.contains(&Event::Replaced { old, new: new.id }));
    let end = bench.end_of(old).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Completed, EndedBy::Remote));
    assert_eq!(bench.events.iter().filter(|event| matches!(event, Event::Incoming(_))).count(), 1);
}

#[test]
fn what_matches_nothing_or_must_not_is_refused() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    let right = tags(&caller);
    let to_tag = caller.to_tag.clone().unwrap();
    let swapped = format!("in;to-tag=caller;from-tag={to_tag}");
    for (values, status) in [
        (vec!["other;to-tag=1;from-tag=2"], 481),
        (vec![swapped.as_str()], 481),
        (vec![&format!("in;to-tag={to_tag};from-tag=wrong")], 481),
        (vec!["in;to-tag=wrong;from-tag=caller"], 481),
        (vec![&format!("in;to-tag={to_tag};from-tag=0")], 481),
        (vec![&format!("{right};early-only")], 486),
        (vec![right.as_str(), right.as_str()], 400),
        (vec![&format!("in;to-tag={to_tag}")], 400),
        (vec!["in;from-tag=caller"], 400),
        (vec![""], 400),
    ] {
        let mut other = Caller::new(&format!("other{status}{}", bench.now.as_millis()));
        bench.pass(secs(1));
        let mut invite = other.request("INVITE", Some(OFFER));
        for value in &values {
            invite.headers.push("Replaces", *value);
        }
        send(&mut bench, &invite);
        bench.take_response(status);
        bench.nothing_sent();
    }
    assert_eq!(bench.phone.calls().len(), 1);
    assert!(bench.end_of(old).is_none());
}

#[test]
fn a_ringing_call_cannot_be_replaced_by_its_caller_but_ours_can() {
    let mut bench = Bench::online();
    let (rings, caller, _) = ringing(&mut bench);
    send(&mut bench, &replacing(&mut Caller::new("other"), &tags(&caller)));
    bench.take_response(481);
    bench.reject(rings, None);
    bench.lines();

    let old = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "early"));
    let callee = Caller::callee(&invite, "early");
    let mut other = Caller::new("pickup");
    send(&mut bench, &replacing(&mut other, &format!("{};early-only", tags(&callee))));
    let ok = bench.take_response(200);
    other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    bench.take_request("CANCEL");
    assert!(bench.end_of(old).is_some());
    assert_eq!(bench.dial_error(old), "aborted");
    bench.reply(&answer(&invite, 487, "early"));
    bench.take_request("ACK");
    assert_eq!(bench.phone.calls().len(), 1);
}

#[test]
fn an_answer_that_fails_leaves_the_old_call() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    bench.media = Media::Fails;
    send(&mut bench, &replacing(&mut Caller::new("other"), &tags(&caller)));
    bench.take_response(488);
    bench.nothing_sent();
    assert_eq!(bench.phone.call(old).unwrap().state, CallState::Active);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Replaced { .. })));
}

#[test]
fn a_caller_that_gives_up_or_never_acknowledges_leaves_the_old_call() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    bench.media = Media::Manual;
    let mut other = Caller::new("other");
    send(&mut bench, &replacing(&mut other, &tags(&caller)));
    send(&mut bench, &other.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    bench.media = Media::Prompt;
    send(&mut bench, &replacing(&mut Caller::new("third"), &tags(&caller)));
    bench.take_response(200);
    bench.pass(secs(40));
    assert_eq!(bench.phone.call(old).unwrap().state, CallState::Active);
    assert_eq!(bench.phone.calls().len(), 1);
}

#[test]
fn the_place_of_a_call_is_there_even_when_all_are_taken() {
    let mut bench = Bench::new(PhoneConfig { max_calls: 1, ..config() });
    bench.connect();
    let (old, caller) = answered(&mut bench);
    let mut other = Caller::new("other");
    send(&mut bench, &replacing(&mut other, &tags(&caller)));
    let ok = bench.take_response(200);
    other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    assert!(bench.end_of(old).is_some());
    // The old call is over: it has no place any more.
    bench.lines();
    send(&mut bench, &replacing(&mut Caller::new("late"), &tags(&caller)));
    bench.take_response(603);
}

/// What the user has put on hold stays on hold, and nothing is heard or sent in between.
#[test]
fn a_held_call_is_replaced_by_a_held_one() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    // Where holding is not to be had, there is nothing to carry over.
    let _ = bench.phone.hold(bench.now, old);
    bench.drain();
    crate::transfer::let_hold(&mut bench);
    let held = bench.phone.call(old).unwrap().local_hold;
    bench.jobs.clear();
    let mut other = Caller::new("other");
    send(&mut bench, &replacing(&mut other, &tags(&caller)));
    let ok = bench.take_response(200);
    let flow = bench.jobs.iter().find_map(|(_, _, command)| match command {
        MediaCommand::Flow(direction) => Some(*direction),
        _ => None,
    });
    assert_eq!(flow, held.then_some(MediaDirection::Inactive));
    other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    let new = bench.phone.calls().into_iter().find(|info| info.id != old).unwrap();
    assert_eq!(new.local_hold, held);
    assert!(bench.end_of(old).is_some());
}
