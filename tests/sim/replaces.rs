//! INVITE with Replaces (RFC 3891).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, secs, send};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{
    CallState, Direction, EndCause, EndedBy, Event, MediaCommand, PhoneConfig, ReplacesPolicy,
};
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

// ---- who may, with nobody's hand on the phone

/// The same as [`replacing`], from somebody else.
fn from_carol(other: &mut Caller, caller: &Caller) -> Request {
    let mut invite = replacing(other, &tags(caller));
    invite.headers.set("From", format!("\"Carol\" <sip:carol@example.com>;tag={}", other.tag));
    invite
}

/// A server may publish the tags of a dialog (RFC 4235): who knows them is not taken for the other side.
#[test]
fn a_stranger_who_knows_the_tags_is_asked_about() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    let mut other = Caller::new("other");
    send(&mut bench, &from_carol(&mut other, &caller));
    let rings = bench.take_response(180);
    let new = bench.incoming();
    assert_ne!(new, old);
    let info = bench.phone.call(new).unwrap();
    assert_eq!((info.state, info.replaces, info.continues), (CallState::Ringing, Some(old), Some(old)));
    assert!(!bench.wishes.contains_key(&new), "no media");
    bench.pass(secs(5));
    bench.nothing_sent();
    // Answered by hand it takes the place.
    bench.phone.mute(bench.now, old, true).unwrap();
    bench.answer(new);
    bench.take_response(200);
    assert!(bench.wishes[&new].muted, "what the user last wished goes on");
    other.to_tag = rings.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    bench.take_request("BYE");
    assert!(bench.events.contains(&Event::Replaced { old, new }));
    assert!(bench.end_of(old).is_some());
}

#[test]
fn a_stranger_who_is_declined_leaves_the_call() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    send(&mut bench, &from_carol(&mut Caller::new("other"), &caller));
    bench.take_response(180);
    let new = bench.incoming();
    bench.reject(new, None);
    bench.take_response(603);
    bench.nothing_sent();
    assert_eq!(bench.phone.call(old).unwrap().state, CallState::Active);
    assert!(bench.end_of(old).is_none());
}

/// Answered by hand: the user wants to talk, whatever was on hold.
#[test]
fn what_is_answered_by_hand_is_not_held() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    bench.phone.hold(bench.now, old).unwrap();
    bench.drain();
    crate::transfer::let_hold(&mut bench);
    let mut other = Caller::new("other");
    send(&mut bench, &from_carol(&mut other, &caller));
    let rings = bench.take_response(180);
    let new = bench.incoming();
    bench.answer(new);
    bench.take_response(200);
    other.to_tag = rings.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    assert!(!bench.phone.call(new).unwrap().local_hold);
}

/// An attended transfer: the other side holds, and whom it sends comes in its name (RFC 5589, section 7.1).
#[test]
fn whom_the_other_side_sends_while_it_holds_is_not_asked_about() {
    for held in [true, false] {
        let mut bench = Bench::online();
        let (_, mut caller) = answered(&mut bench);
        if held {
            let hold = caller.request("INVITE", Some(&OFFER.replace("sendrecv", "sendonly")));
            send(&mut bench, &hold);
            bench.take_response(100);
            bench.take_response(200);
            let ack = caller.ack(caller.seq, None);
            send(&mut bench, &ack);
        }
        let mut invite = from_carol(&mut Caller::new("other"), &caller);
        invite.headers.push("Referred-By", "<sip:bob@example.com>");
        send(&mut bench, &invite);
        bench.take_response(if held { 200 } else { 180 });
        let mut invite = from_carol(&mut Caller::new("third"), &caller);
        invite.headers.push("Referred-By", "<sip:mallory@example.com>");
        send(&mut bench, &invite);
        bench.take_response(180);
    }
}

#[test]
fn with_trust_in_the_server_its_word_counts_and_nothing_else() {
    for (asserted, status) in [(true, 200), (false, 180)] {
        let mut bench = Bench::new(PhoneConfig { trust_identity: true, ..config() });
        bench.connect();
        let (_, caller) = answered(&mut bench);
        let mut invite = if asserted {
            from_carol(&mut Caller::new("other"), &caller)
        } else {
            replacing(&mut Caller::new("other"), &tags(&caller))
        };
        if asserted {
            invite.headers.push("P-Asserted-Identity", "<sip:carol@example.com>");
        }
        send(&mut bench, &invite);
        bench.take_response(status);
    }
}

#[test]
fn a_hidden_caller_is_not_taken_for_a_hidden_other_side() {
    let hidden = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=";
    let mut bench = Bench::online();
    let mut caller = Caller::new("in");
    let mut invite = caller.request("INVITE", Some(OFFER));
    invite.headers.set("From", format!("{hidden}{}", caller.tag));
    send(&mut bench, &invite);
    caller.to_tag = bench.take_response(180).headers.to().unwrap().tag().map(str::to_owned);
    let old = bench.incoming();
    bench.answer(old);
    bench.take_response(200);
    send(&mut bench, &caller.ack(1, None));
    let mut other = Caller::new("other");
    let mut invite = replacing(&mut other, &tags(&caller));
    invite.headers.set("From", format!("{hidden}{}", other.tag));
    send(&mut bench, &invite);
    bench.take_response(180);
}

#[test]
fn the_policy_is_the_applications() {
    for (policy, ours, strangers) in
        [(ReplacesPolicy::Any, 200, 200), (ReplacesPolicy::Peer, 200, 180), (ReplacesPolicy::Ask, 180, 180)]
    {
        for (carol, status) in [(false, ours), (true, strangers)] {
            let mut bench = Bench::new(PhoneConfig { replaces: policy, ..config() });
            bench.connect();
            let (_, caller) = answered(&mut bench);
            let mut other = Caller::new("other");
            let invite =
                if carol { from_carol(&mut other, &caller) } else { replacing(&mut other, &tags(&caller)) };
            send(&mut bench, &invite);
            bench.take_response(status);
        }
    }
}

/// Pickup: who answers in place of the one whom we call is asked about too.
#[test]
fn a_pickup_by_somebody_else_is_asked_about() {
    let mut bench = Bench::online();
    let old = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "early"));
    let callee = Caller::callee(&invite, "early");
    let mut other = Caller::new("pickup");
    send(&mut bench, &from_carol(&mut other, &callee));
    let rings = bench.take_response(180);
    let new = bench.incoming();
    assert_eq!(bench.phone.call(new).unwrap().replaces, Some(old));
    bench.answer(new);
    bench.take_response(200);
    other.to_tag = rings.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    bench.take_request("CANCEL");
    assert_eq!(bench.dial_error(old), "aborted");
}

/// The old call is resumed while the new one, whose other end holds from its start, is not up yet: what the new call may
/// send follows its own other end.
#[test]
fn a_hold_of_the_new_call_outlasts_that_of_the_old() {
    let mut bench = Bench::online();
    let (_, mut caller) = answered(&mut bench);
    let held = |sdp: &str| sdp.replace("sendrecv", "inactive");
    send(&mut bench, &caller.request("INVITE", Some(&held(OFFER))));
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
    send(&mut bench, &caller.ack(caller.seq, None));
    let mut other = Caller::new("other");
    let mut invite = replacing(&mut other, &tags(&caller));
    invite.body = held(OFFER).into_bytes();
    invite.headers.set("Content-Length", invite.body.len().to_string());
    send(&mut bench, &invite);
    bench.take_response(200);
    let new = bench.phone.calls().last().unwrap().id;
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
    let mut flows = bench.jobs.iter().filter_map(|(id, _, command)| match command {
        MediaCommand::Flow(direction) if *id == new => Some(*direction),
        _ => None,
    });
    assert_eq!(flows.next_back(), Some(MediaDirection::RecvOnly));
}
