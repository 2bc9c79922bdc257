//! Call transfer (RFC 3515, RFC 5589), as transferor and as transferee, alone and among three phones.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{
    ANSWER, Bench, Caller, OFFER, Outcome, answer, config, line, outcome, secs, send, with_sdp,
};
use crate::incoming::answered;
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::phone::{CallId, CallState, EndCause, Event, Input, TransferState, TransferTarget};
use wasm_softphone::sip::message::{Message, Request};
use wasm_softphone::sip::uri::Uri;

/// What was said of transfers: states with their status, then the outcome.
pub fn told(bench: &Bench) -> (Vec<(TransferState, Option<u16>)>, Vec<Outcome>) {
    let mut states = Vec::new();
    let mut done = Vec::new();
    for event in &bench.events {
        match event {
            Event::Transfer(_, state, status) => states.push((*state, *status)),
            Event::TransferDone(_, result) => done.push(outcome(result)),
            _ => {}
        }
    }
    (states, done)
}

fn transfer(bench: &mut Bench, call: CallId, target: TransferTarget) -> Outcome {
    let result = bench.phone.transfer(bench.now, call, target);
    bench.drain();
    outcome(&result)
}

fn blind() -> TransferTarget {
    TransferTarget::Uri("sip:carol@example.com".into())
}

/// Answers the re-INVITE that holds the call, where there is one.
pub fn let_hold(bench: &mut Bench) {
    while let Some(Message::Request(request)) = bench.sent.first() {
        match request.method.as_str() {
            "INVITE" => {
                let invite = bench.take_request("INVITE");
                let held = ANSWER.replace("sendrecv", "recvonly");
                bench.reply(&with_sdp(answer(&invite, 200, ""), &held));
            }
            "ACK" => {
                bench.take_request("ACK");
            }
            _ => return,
        }
    }
}

/// REFER is out.
fn referring(bench: &mut Bench) -> (CallId, Caller, Request) {
    let (call, caller) = answered(bench);
    assert_eq!(transfer(bench, call, blind()), Ok(()));
    let_hold(bench);
    let refer = bench.take_request("REFER");
    (call, caller, refer)
}

/// REFER has been accepted.
fn referred(bench: &mut Bench) -> (CallId, Caller, Request) {
    let (call, caller, refer) = referring(bench);
    bench.reply(&answer(&refer, 202, ""));
    (call, caller, refer)
}

fn notify(caller: &mut Caller, state: &str, fragment: &str) -> Request {
    let mut request = caller.request("NOTIFY", None);
    request.headers.push("Event", "refer");
    request.headers.push("Subscription-State", state);
    if !fragment.is_empty() {
        request.headers.push("Content-Type", "message/sipfrag;version=2.0");
        request.body = fragment.as_bytes().to_vec();
    }
    request
}

const LAST: &str = "terminated;reason=noresource";

#[test]
fn a_blind_transfer_is_followed_to_its_end_and_then_we_hang_up() {
    let mut bench = Bench::online();
    let (call, mut caller, refer) = referring(&mut bench);
    assert_eq!(refer.headers.get("Refer-To"), Some("<sip:carol@example.com>"));
    assert_eq!(refer.headers.get("Referred-By"), Some("<sip:alice@example.com>"));
    assert!(refer.headers.get("Contact").is_some());
    bench.reply(&answer(&refer, 202, ""));
    for (state, text) in
        [("active;expires=60", "SIP/2.0 100 Trying\r\n"), ("active", "SIP/2.0 180 Ringing\r\n")]
    {
        send(&mut bench, &notify(&mut caller, state, text));
        bench.take_response(200);
    }
    assert!(bench.end_of(call).is_none());
    send(&mut bench, &notify(&mut caller, LAST, "SIP/2.0 200 OK\r\n"));
    assert_eq!(bench.lines(), ["200 NOTIFY", "BYE"]);
    let states = [
        (TransferState::Trying, Some(202)),
        (TransferState::Ringing, Some(180)),
        (TransferState::Accepted, Some(200)),
    ];
    assert_eq!(told(&bench), (states.to_vec(), vec![Ok(())]));
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Completed);
}

#[test]
fn a_notify_may_overtake_the_202() {
    let mut bench = Bench::online();
    let (_, mut caller, refer) = referring(&mut bench);
    send(&mut bench, &notify(&mut caller, "active", "SIP/2.0 100 Trying"));
    bench.reply(&answer(&refer, 202, ""));
    send(&mut bench, &notify(&mut caller, LAST, "SIP/2.0 200 OK"));
    assert_eq!(bench.lines(), ["200 NOTIFY", "200 NOTIFY", "BYE"]);
    assert_eq!(told(&bench).1, [Ok(())]);
}

/// Whatever goes wrong, the call is still there, and can be transferred again.
#[test]
fn a_failed_transfer_returns_to_the_held_call() {
    type Play = fn(&mut Bench, &mut Caller, &Request);
    let plays: [(&str, Play); 9] = [
        ("declined", |bench, _, refer| bench.reply(&answer(refer, 603, ""))),
        ("forbidden", |bench, _, refer| bench.reply(&answer(refer, 405, ""))),
        ("server_error", |bench, _, refer| bench.reply(&answer(refer, 500, ""))),
        ("timeout", |bench, _, _| {
            bench.pass(secs(16));
            bench.receive("\r\n");
            bench.pass(secs(17));
        }),
        ("busy", |bench, caller, refer| {
            bench.reply(&answer(refer, 202, ""));
            send(bench, &notify(caller, LAST, "SIP/2.0 486 Busy Here"));
        }),
        ("timeout", |bench, caller, refer| {
            bench.reply(&answer(refer, 202, ""));
            send(bench, &notify(caller, "terminated;reason=timeout", ""));
        }),
        ("server_error", |bench, caller, refer| {
            bench.reply(&answer(refer, 202, ""));
            send(bench, &notify(caller, LAST, "SIP/2.0 100 Trying"));
        }),
        ("server_error", |bench, caller, refer| {
            bench.reply(&answer(refer, 202, ""));
            send(bench, &notify(caller, "terminated", ""));
        }),
        ("timeout", |bench, _, refer| {
            bench.reply(&answer(refer, 202, ""));
            bench.pass(secs(201));
        }),
    ];
    for (code, play) in plays {
        let mut bench = Bench::online();
        let (call, mut caller, refer) = referring(&mut bench);
        let held = bench.phone.call(call).unwrap().local_hold;
        play(&mut bench, &mut caller, &refer);
        let (states, done) = told(&bench);
        assert_eq!(done, [Err(code)]);
        assert_eq!(states.last().unwrap().0, TransferState::Failed);
        let info = bench.phone.call(call).unwrap();
        assert_eq!((info.state, info.local_hold), (CallState::Active, held), "{code}");
        assert!(!bench.lines().contains(&"BYE".to_owned()));
        // Nothing more is expected of it.
        send(&mut bench, &notify(&mut caller, LAST, "SIP/2.0 200 OK"));
        bench.take_response(481);
        assert!(bench.end_of(call).is_none());
        assert_eq!(transfer(&mut bench, call, blind()), Ok(()));
        let_hold(&mut bench);
        bench.take_request("REFER");
    }
}

/// A library in wide use says `terminated` in every NOTIFY, and gives no reason.
#[test]
fn terminated_without_a_reason_and_a_provisional_status_is_not_the_end() {
    let mut bench = Bench::online();
    let (_, mut caller, _) = referred(&mut bench);
    send(&mut bench, &notify(&mut caller, "terminated", "SIP/2.0 180 Ringing"));
    assert_eq!(told(&bench).1, []);
    send(&mut bench, &notify(&mut caller, "terminated", "SIP/2.0 200 OK"));
    assert_eq!(told(&bench).1, [Ok(())]);
}

#[test]
fn two_transfers_at_once_are_one_too_many() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    assert_eq!(transfer(&mut bench, call, blind()), Ok(()));
    assert_eq!(transfer(&mut bench, call, blind()), Err("invalid_state"));
    let_hold(&mut bench);
    bench.take_request("REFER");
    assert_eq!(transfer(&mut bench, call, blind()), Err("invalid_state"));
    bench.nothing_sent();
    // And the other side's REFER has to wait too.
    let mut refer = caller.request("REFER", None);
    refer.headers.push("Refer-To", "<sip:dave@example.com>");
    send(&mut bench, &refer);
    bench.take_response(491);
}

#[test]
fn what_cannot_be_transferred() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    for target in ["tel:1", "sip:a@b?Replaces=x", "carol", "sip:carol@example.com\r\nX: y"] {
        assert_eq!(
            transfer(&mut bench, call, TransferTarget::Uri(target.into())),
            Err("invalid_destination")
        );
    }
    assert_eq!(transfer(&mut bench, call, TransferTarget::Call(call)), Err("invalid_state"));
    assert_eq!(transfer(&mut bench, call, TransferTarget::Call(CallId(99))), Err("ended"));
    assert_eq!(transfer(&mut bench, CallId(99), blind()), Err("ended"));
    let dialled = bench.dial("sip:dave@example.com");
    assert_eq!(transfer(&mut bench, dialled, blind()), Err("invalid_state"));
    assert_eq!(transfer(&mut bench, call, TransferTarget::Call(dialled)), Err("invalid_state"));
    assert_eq!(told(&bench), (vec![], vec![]));
}

#[test]
fn a_re_invite_during_a_refer_is_answered() {
    let mut bench = Bench::online();
    let (call, mut caller, refer) = referring(&mut bench);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
    send(&mut bench, &caller.ack(caller.seq, None));
    bench.reply(&answer(&refer, 202, ""));
    send(&mut bench, &notify(&mut caller, LAST, "SIP/2.0 200 OK"));
    assert_eq!(bench.lines(), ["200 NOTIFY", "BYE"]);
    assert!(bench.end_of(call).is_some());
}

/// The transferee leaves when its new call is up; its report may come later (RFC 5057), or never.
#[test]
fn a_notify_after_the_bye_still_counts() {
    for (report, expected) in
        [(Some("SIP/2.0 200 OK"), Ok(())), (Some("SIP/2.0 486 Busy Here"), Err("busy")), (None, Err("ended"))]
    {
        let mut bench = Bench::online();
        let (call, mut caller, _) = referred(&mut bench);
        send(&mut bench, &caller.request("BYE", None));
        bench.take_response(200);
        assert!(bench.media_closed(call));
        assert_eq!(told(&bench).1, []);
        match report {
            Some(report) => {
                send(&mut bench, &notify(&mut caller, LAST, report));
                bench.take_response(200);
            }
            None => bench.pass(secs(5)),
        }
        assert_eq!(told(&bench).1, [expected]);
        bench.nothing_sent();
        assert!(matches!(bench.events.last(), Some(Event::Ended(id, reason))
            if *id == call && reason.cause == EndCause::Completed));
        bench.input(Input::Timer);
        assert!(bench.phone.call(call).is_none());
    }
}

#[test]
fn hanging_up_in_every_state_of_a_transfer_ends_it() {
    for state in 0..4 {
        let mut bench = Bench::online();
        let (call, mut caller) = match state {
            0 => {
                let (call, caller, _) = referring(&mut bench);
                (call, caller)
            }
            _ => {
                let (call, caller, _) = referred(&mut bench);
                (call, caller)
            }
        };
        if state == 2 {
            send(&mut bench, &notify(&mut caller, "active", "SIP/2.0 180 Ringing"));
        }
        if state == 3 {
            send(&mut bench, &caller.request("BYE", None));
        }
        bench.lines();
        bench.hangup(call);
        assert_eq!(told(&bench).1, [Err("ended")], "{state}");
        assert_eq!(told(&bench).0.last(), Some(&(TransferState::Failed, None)));
        assert!(bench.end_of(call).is_some());
        if state == 3 {
            bench.nothing_sent();
        } else {
            let bye = bench.take_request("BYE");
            send(&mut bench, &notify(&mut caller, LAST, "SIP/2.0 200 OK"));
            bench.take_response(481);
            bench.reply(&answer(&bye, 200, ""));
        }
        assert_eq!(told(&bench).1.len(), 1);
        bench.pass(secs(40));
        assert!(bench.phone.call(call).is_none());
    }
}

#[test]
fn losing_the_connection_during_a_refer_fails_it_when_it_does_not_come_back() {
    let mut bench = Bench::online();
    let (_, _, refer) = referring(&mut bench);
    bench.cut();
    assert_eq!(bench.take_request("REFER"), refer, "the same transaction again");
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(59));
    assert_eq!(told(&bench).1, []);
    bench.pass(secs(2));
    assert_eq!(told(&bench).1, [Err("transport")]);
}

/// RFC 4488.
#[test]
fn a_peer_that_wants_to_say_nothing_more_has_said_all() {
    let mut bench = Bench::online();
    let (call, _, refer) = referring(&mut bench);
    let mut accepted = answer(&refer, 202, "");
    accepted.headers.push("Refer-Sub", "false");
    bench.reply(&accepted);
    assert_eq!(bench.lines(), ["BYE"]);
    assert_eq!(told(&bench).1, [Ok(())]);
    assert!(bench.end_of(call).is_some());
}

#[test]
fn a_notify_that_belongs_to_nothing() {
    let mut bench = Bench::online();
    let (_, mut caller, refer) = referred(&mut bench);
    for (event, status) in [("presence", 489), ("refer;id=4711", 481), ("refer;id=x", 481)] {
        let mut request = notify(&mut caller, LAST, "SIP/2.0 200 OK");
        request.headers.set("Event", event);
        send(&mut bench, &request);
        bench.take_response(status);
    }
    for fragment in ["SIP/2.0", "SIP/2.0 99 x", "SIP/2.0 700 x", "HTTP/1.1 200 OK", "\r\n", "SIP/2.0 65736 x"]
    {
        send(&mut bench, &notify(&mut caller, "active", fragment));
        bench.take_response(200);
    }
    assert_eq!(told(&bench).1, []);
    let mut last = notify(&mut caller, LAST, "SIP/2.0 200 OK");
    last.headers.set("Event", format!("refer;id={}", refer.headers.seq().unwrap()));
    send(&mut bench, &last);
    assert_eq!(told(&bench).1, [Ok(())]);
}

// ---- as the transferee

fn refer(caller: &mut Caller, to: &str) -> Request {
    let mut refer = caller.request("REFER", None);
    refer.headers.push("Refer-To", to);
    refer.headers.push("Referred-By", "<sip:bob@example.com>");
    refer
}

/// A REFER that waits for the user.
fn asked(bench: &mut Bench, to: &str) -> (CallId, Caller) {
    let (call, mut caller) = answered(bench);
    send(bench, &refer(&mut caller, to));
    bench.take_response(202);
    let notify = bench.take_request("NOTIFY");
    assert_eq!(notify.body, b"SIP/2.0 100 Trying\r\n");
    assert!(notify.headers.get("Subscription-State").unwrap().starts_with("active"));
    bench.reply(&answer(&notify, 200, ""));
    bench.nothing_sent();
    (call, caller)
}

fn accept(bench: &mut Bench, call: CallId) -> (CallId, Request) {
    let new = bench.phone.accept_transfer(bench.now, call).unwrap();
    bench.drain();
    let invites: Vec<Message> = core::mem::take(&mut bench.sent);
    let mut ours = None;
    for message in invites {
        if let Message::Request(request) = message
            && request.method.as_str() == "INVITE"
        {
            if request.headers.to_tag().is_some() {
                bench.reply(&with_sdp(answer(&request, 200, ""), ANSWER));
            } else {
                ours = Some(request);
            }
        }
    }
    bench.sent.clear();
    (new, ours.expect("no call was made"))
}

fn take_notify(bench: &mut Bench, state: &str, body: &str) -> Request {
    let notify = bench.take_request("NOTIFY");
    assert!(notify.headers.get("Subscription-State").unwrap().starts_with(state));
    assert_eq!(core::str::from_utf8(&notify.body).unwrap(), body);
    assert!(notify.headers.get("Contact").is_some());
    bench.reply(&answer(&notify, 200, ""));
    notify
}

#[test]
fn a_transfer_that_is_accepted_makes_a_call_and_tells_of_it() {
    let mut bench = Bench::online();
    let (call, mut caller) = asked(
        &mut bench,
        "<sip:carol@example.com;method=INVITE?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=x&Route=y>",
    );
    assert!(bench.events.contains(&Event::TransferRequested {
        call,
        target: "sip:carol@example.com".into(),
        referred_by: Some("<sip:bob@example.com>".into()),
    }));
    let (new, invite) = accept(&mut bench, call);
    assert_eq!(invite.uri, "sip:carol@example.com");
    assert_eq!(invite.headers.get("Replaces"), Some("a@b;to-tag=1;from-tag=2"));
    assert_eq!(invite.headers.get("Referred-By"), Some("<sip:bob@example.com>"));
    assert_eq!((invite.headers.get("Subject"), invite.headers.get("Route")), (None, None));
    bench.reply(&answer(&invite, 180, "carol"));
    take_notify(&mut bench, "active", "SIP/2.0 180 Ringing\r\n");
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    bench.take_request("ACK");
    take_notify(&mut bench, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n");
    assert!(bench.events.contains(&Event::Replaced { old: call, new }));
    assert!(bench.end_of(call).is_none());
    send(&mut bench, &caller.request("BYE", None));
    assert_eq!(bench.lines(), ["200 BYE"]);
    assert!(bench.end_of(call).is_some());
    assert_eq!(bench.phone.call(new).unwrap().state, CallState::Active);
    bench.pass(secs(30));
    bench.nothing_sent();
}

#[test]
fn a_transferor_that_does_not_hang_up_is_hung_up_on() {
    let mut bench = Bench::online();
    let (call, _) = asked(&mut bench, "sip:carol@example.com");
    let (new, invite) = accept(&mut bench, call);
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    bench.lines();
    bench.pass(secs(6));
    assert!(bench.end_of(call).is_some());
    assert!(bench.lines().contains(&"BYE".to_owned()));
    assert!(bench.end_of(new).is_none());
}

#[test]
fn a_transferor_that_leaves_at_once_is_told_all_the_same() {
    let mut bench = Bench::online();
    let (call, mut caller) = asked(&mut bench, "sip:carol@example.com");
    let (new, invite) = accept(&mut bench, call);
    send(&mut bench, &caller.request("BYE", None));
    bench.take_response(200);
    assert!(bench.end_of(call).is_some());
    bench.reply(&answer(&invite, 180, "carol"));
    let first = take_notify(&mut bench, "active", "SIP/2.0 180 Ringing\r\n");
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    bench.take_request("ACK");
    let last = take_notify(&mut bench, "terminated", "SIP/2.0 200 OK\r\n");
    assert!(first.headers.seq() < last.headers.seq());
    assert_eq!(bench.phone.call(new).unwrap().state, CallState::Active);
}

#[test]
fn a_transfer_that_fails_leaves_the_call_with_the_transferor() {
    let mut bench = Bench::online();
    let (call, mut caller) = asked(&mut bench, "sip:carol@example.com");
    let (new, invite) = accept(&mut bench, call);
    bench.reply(&answer(&invite, 486, "carol"));
    bench.take_request("ACK");
    take_notify(&mut bench, "terminated", "SIP/2.0 486 Busy Here\r\n");
    assert_eq!(bench.dial_error(new), "busy");
    assert!(bench.end_of(call).is_none());
    // The hold was for the transfer: the two talk again.
    let unhold = bench.take_request("INVITE");
    assert!(unhold.headers.to_tag().is_some());
    bench.reply(&with_sdp(answer(&unhold, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert!(!bench.phone.call(call).unwrap().local_hold);
    // It may ask again.
    send(&mut bench, &refer(&mut caller, "sip:dave@example.com"));
    assert_eq!(bench.lines(), ["202 REFER", "NOTIFY"]);
}

#[test]
fn a_transfer_that_is_rejected_or_not_decided_is_over() {
    for (wait, body) in
        [(false, "SIP/2.0 603 Decline\r\n"), (true, "SIP/2.0 480 Temporarily Unavailable\r\n")]
    {
        let mut bench = Bench::online();
        let (call, _) = asked(&mut bench, "sip:carol@example.com");
        if wait {
            bench.pass(secs(61));
        } else {
            bench.phone.reject_transfer(bench.now, call);
            bench.drain();
        }
        take_notify(&mut bench, "terminated", body);
        assert_eq!(outcome(&bench.phone.accept_transfer(bench.now, call).map(|_| ())), Err("invalid_state"));
        bench.phone.reject_transfer(bench.now, call);
        bench.drain();
        bench.nothing_sent();
        assert!(bench.end_of(call).is_none());
    }
}

#[test]
fn refers_that_are_refused() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    for (to, status) in [
        (vec![], 400),
        (vec!["<sip:a@example.com>", "<sip:b@example.com>"], 400),
        (vec!["<sip:a@example.com>, <sip:b@example.com>"], 400),
        (vec!["<"], 400),
        (vec!["<sip:>"], 400),
        (vec!["<tel:112>"], 416),
        (vec!["<https://example.com>"], 416),
        (vec!["<sip:a@example.com;method=BYE>"], 403),
    ] {
        let mut request = caller.request("REFER", None);
        for value in to {
            request.headers.push("Refer-To", value);
        }
        send(&mut bench, &request);
        bench.take_response(status);
        bench.nothing_sent();
    }
    assert!(!bench.events.iter().any(|event| matches!(event, Event::TransferRequested { .. })));
    let mut stranger = Caller::new("stranger");
    send(&mut bench, &refer(&mut stranger, "sip:carol@example.com"));
    bench.take_response(403);
    assert!(bench.end_of(call).is_none());
}

#[test]
fn a_refer_without_subscription_gets_no_notify() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let mut request = refer(&mut caller, "sip:carol@example.com");
    request.headers.push("Refer-Sub", "false");
    send(&mut bench, &request);
    assert_eq!(bench.take_response(202).headers.get("Refer-Sub"), Some("false"));
    let (_, invite) = accept(&mut bench, call);
    bench.reply(&answer(&invite, 180, "carol"));
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
}

#[test]
fn the_subscription_of_a_refer_is_refreshed_and_ended() {
    let mut bench = Bench::online();
    let (call, mut caller) = asked(&mut bench, "sip:carol@example.com");
    for (event, expires, lines) in [
        ("presence", "60", vec!["489 SUBSCRIBE"]),
        ("refer;id=1", "60", vec!["481 SUBSCRIBE"]),
        ("refer", "60", vec!["200 SUBSCRIBE", "NOTIFY"]),
        ("refer", "0", vec!["200 SUBSCRIBE", "NOTIFY"]),
        ("refer", "60", vec!["481 SUBSCRIBE"]),
    ] {
        let mut subscribe = caller.request("SUBSCRIBE", None);
        subscribe.headers.push("Event", event);
        subscribe.headers.push("Expires", expires);
        send(&mut bench, &subscribe);
        assert_eq!(bench.lines(), lines, "{event} {expires}");
    }
    bench.phone.reject_transfer(bench.now, call);
    bench.drain();
    bench.nothing_sent();
}

#[test]
fn hanging_up_before_a_transfer_is_decided_ends_its_subscription() {
    let mut bench = Bench::online();
    let (call, _) = asked(&mut bench, "sip:carol@example.com");
    bench.hangup(call);
    take_notify(&mut bench, "terminated", "SIP/2.0 487 Request Terminated\r\n");
    bench.take_request("BYE");
    assert_eq!(outcome(&bench.phone.accept_transfer(bench.now, call).map(|_| ())), Err("ended"));
}

/// The subscription outlives the call, and its requests are numbered after our BYE (RFC 5057).
#[test]
fn hanging_up_on_the_transferor_meanwhile_does_not_end_the_new_call() {
    let mut bench = Bench::online();
    let (call, _) = asked(&mut bench, "sip:carol@example.com");
    let (new, invite) = accept(&mut bench, call);
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.input(Input::Timer);
    assert!(bench.phone.call(call).is_none());
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    bench.take_request("ACK");
    let last = take_notify(&mut bench, "terminated", "SIP/2.0 200 OK\r\n");
    assert!(last.headers.seq() > bye.headers.seq());
    assert_eq!(last.headers.call_id(), bye.headers.call_id());
    assert_eq!(bench.phone.call(new).unwrap().state, CallState::Active);
    bench.pass(secs(40));
    bench.nothing_sent();
}

/// Whoever does not want to hear of it is not told again (RFC 6665, section 4.2.2); the call goes on.
#[test]
fn a_notify_that_is_refused_is_the_last() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    send(&mut bench, &refer(&mut caller, "sip:carol@example.com"));
    bench.take_response(202);
    let notify = bench.take_request("NOTIFY");
    bench.reply(&answer(&notify, 481, ""));
    let (new, invite) = accept(&mut bench, call);
    bench.reply(&answer(&invite, 180, "carol"));
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(bench.end_of(call).is_none() && bench.end_of(new).is_none());
}

#[test]
fn hanging_up_the_new_call_tells_the_transferor() {
    let mut bench = Bench::online();
    let (call, _) = asked(&mut bench, "sip:carol@example.com");
    let (new, invite) = accept(&mut bench, call);
    bench.reply(&answer(&invite, 180, "carol"));
    take_notify(&mut bench, "active", "SIP/2.0 180 Ringing\r\n");
    bench.hangup(new);
    let lines = bench.lines();
    assert!(lines.contains(&"CANCEL".to_owned()) && lines.contains(&"NOTIFY".to_owned()), "{lines:?}");
    assert!(bench.end_of(call).is_none());
}

// ---- three phones

/// Phones that reach each other through a server that changes nothing and loses no time.
pub struct Net {
    pub phones: Vec<Bench>,
    /// Names (user of the address or of a Contact, host of a Via) and whose they are.
    names: Vec<(String, usize)>,
    pub log: Vec<String>,
}

impl Net {
    pub fn new(users: &[&str]) -> Self {
        let mut phones = Vec::new();
        let mut names = Vec::new();
        for (at, user) in users.iter().enumerate() {
            let mut config = config();
            config.uri = Uri::parse(&format!("sip:{user}@example.com")).unwrap();
            config.display_name = None;
            let mut bench = Bench::seeded(config, 77 + u64::try_from(at).unwrap());
            bench.connect();
            phones.push(bench);
            names.push(((*user).to_owned(), at));
        }
        Self { phones, names, log: Vec::new() }
    }

    pub fn run(&mut self) {
        assert!(self.rounds(200), "they never stop talking");
    }

    /// Time for all of them.
    pub fn pass(&mut self, time: Duration) {
        let end = self.phones[0].now + time;
        for _ in 0..10_000 {
            self.run();
            let timers = self.phones.iter().filter_map(|bench| bench.phone.poll_timeout());
            let next = timers.map(|(at, _)| at).min().filter(|at| *at <= end);
            let now = next.map_or(end, |at| at.max(self.phones[0].now));
            for bench in &mut self.phones {
                bench.now = now;
                bench.input(Input::Timer);
            }
            if next.is_none() {
                return;
            }
        }
        panic!("they never rest");
    }

    /// Delivers what has been sent, and what is sent because of that, this many times. `true`: nothing is left.
    pub fn rounds(&mut self, count: u64) -> bool {
        for _ in 0..count {
            let mut quiet = true;
            for from in 0..self.phones.len() {
                for message in core::mem::take(&mut self.phones[from].sent) {
                    quiet = false;
                    self.log.push(format!("{from} {}", line(&message)));
                    if let Some(contact) = message.headers().get("Contact") {
                        let user = contact.trim_start_matches("<sip:").split('@').next().unwrap();
                        self.names.push((user.to_owned(), from));
                    }
                    let name = match &message {
                        Message::Request(request) => {
                            let via = request.headers.top_via().unwrap().sent_by;
                            self.names.push((via, from));
                            Uri::parse(&request.uri).unwrap().user.unwrap()
                        }
                        Message::Response(response) => response.headers.top_via().unwrap().sent_by,
                    };
                    let to = self.names.iter().find(|(known, _)| *known == name).expect("nobody there").1;
                    if self.phones[to].socket.is_some() {
                        self.phones[to].receive(&message.to_text().unwrap());
                    }
                }
            }
            if quiet {
                return true;
            }
        }
        false
    }

    /// A call between two of them, up.
    pub fn call(&mut self, from: usize, to: usize, address: &str) -> (CallId, CallId) {
        let here = self.phones[from].dial(address);
        self.run();
        let there = self.phones[to].incoming();
        self.phones[to].answer(there);
        self.run();
        assert_eq!(self.state(from, here), CallState::Active);
        assert_eq!(self.state(to, there), CallState::Active);
        (here, there)
    }

    pub fn state(&self, phone: usize, call: CallId) -> CallState {
        self.phones[phone].phone.call(call).map_or(CallState::Ended, |info| info.state)
    }
}

#[test]
fn three_phones_blind_transfer() {
    for answered in [true, false] {
        let mut net = Net::new(&["alice", "bob", "carol"]);
        let (at_alice, at_bob) = net.call(0, 1, "sip:bob@example.com");
        assert_eq!(transfer(&mut net.phones[0], at_alice, blind()), Ok(()));
        net.run();
        let now = net.phones[1].now;
        let new = net.phones[1].phone.accept_transfer(now, at_bob).unwrap();
        net.phones[1].drain();
        net.run();
        let at_carol = net.phones[2].incoming();
        assert_eq!(net.phones[2].phone.call(at_carol).unwrap().remote_uri, "sip:bob@example.com");
        if answered {
            net.phones[2].answer(at_carol);
            net.run();
            assert_eq!(told(&net.phones[0]).1, [Ok(())]);
            assert_eq!(net.state(0, at_alice), CallState::Ended);
            assert_eq!(net.state(1, at_bob), CallState::Ended);
            assert_eq!(net.state(1, new), CallState::Active);
            assert_eq!(net.state(2, at_carol), CallState::Active);
        } else {
            net.phones[2].reject(at_carol, None);
            net.run();
            assert_eq!(told(&net.phones[0]).1, [Err("declined")]);
            assert_eq!(net.state(0, at_alice), CallState::Active);
            assert_eq!(net.state(1, at_bob), CallState::Active);
        }
    }
}

/// Attended, with both calls held by the transferor before it begins.
#[test]
fn three_phones_attended_transfer_with_both_held() {
    for hold in [true, false] {
        let mut net = Net::new(&["alice", "bob", "carol"]);
        let (with_bob, at_bob) = net.call(0, 1, "sip:bob@example.com");
        let (with_carol, at_carol) = net.call(0, 2, "sip:carol@example.com");
        if hold {
            for call in [with_bob, with_carol] {
                let now = net.phones[0].now;
                // Where holding is not to be had the transfer goes on without it.
                let _ = net.phones[0].phone.hold(now, call);
                net.phones[0].drain();
                net.run();
            }
        }
        assert_eq!(transfer(&mut net.phones[0], with_bob, TransferTarget::Call(with_carol)), Ok(()));
        assert_eq!(transfer(&mut net.phones[0], with_carol, blind()), Err("invalid_state"));
        net.run();
        let now = net.phones[1].now;
        let new = net.phones[1].phone.accept_transfer(now, at_bob).unwrap();
        net.phones[1].drain();
        net.run();
        assert_eq!(told(&net.phones[0]).1, [Ok(())], "{:?}", net.log);
        let replaced = net.phones[2].events.iter().find_map(|event| match event {
            Event::Replaced { old, new } if *old == at_carol => Some(*new),
            _ => None,
        });
        let replaced = replaced.expect("Carol's call was not replaced");
        assert_eq!(net.state(2, replaced), CallState::Active);
        assert_eq!(net.state(1, new), CallState::Active);
        for (phone, call) in [(0, with_bob), (0, with_carol), (1, at_bob), (2, at_carol)] {
            assert_eq!(net.state(phone, call), CallState::Ended, "{phone}");
            let ends = net.phones[phone]
                .events
                .iter()
                .filter(|event| matches!(event, Event::Ended(id, _) if *id == call));
            assert_eq!(ends.count(), 1);
        }
        // Nobody was rung.
        assert_eq!(
            net.phones[2].events.iter().filter(|event| matches!(event, Event::Incoming(_))).count(),
            1
        );
    }
}

/// The target has gone meanwhile: both calls of the transferor that are still there stay.
#[test]
fn three_phones_attended_transfer_to_a_call_that_is_over() {
    let mut net = Net::new(&["alice", "bob", "carol"]);
    let (with_bob, at_bob) = net.call(0, 1, "sip:bob@example.com");
    let (with_carol, at_carol) = net.call(0, 2, "sip:carol@example.com");
    assert_eq!(transfer(&mut net.phones[0], with_bob, TransferTarget::Call(with_carol)), Ok(()));
    net.run();
    net.phones[2].hangup(at_carol);
    net.run();
    let now = net.phones[1].now;
    net.phones[1].phone.accept_transfer(now, at_bob).unwrap();
    net.phones[1].drain();
    net.run();
    // 481 of the target.
    assert_eq!(told(&net.phones[0]).0.last(), Some(&(TransferState::Failed, Some(481))));
    assert_eq!(net.state(0, with_bob), CallState::Active);
    assert_eq!(net.state(1, at_bob), CallState::Active);
}

/// Three phones that dial, answer, hold, transfer and hang up at random, with messages under way at all times. In
/// the end every transfer has had its one outcome, every call is over, and nothing is left behind.
#[test]
fn random_transfers_leave_nothing_behind() {
    let users = ["alice", "bob", "carol"];
    let seeds = if cfg!(target_arch = "wasm32") { 20 } else { 200 };
    let mut outcomes = [0_usize; 2];
    for seed in 0..seeds {
        let mut random = SeededEntropy::new(seed);
        let mut net = Net::new(&users);
        let mut asked = 0;
        for _ in 0..80 {
            let at = usize::try_from(below(&mut random, 3)).unwrap();
            let calls = net.phones[at].phone.calls();
            let pick = |random: &mut dyn Entropy| {
                let index = below(random, u64::try_from(calls.len()).unwrap().max(1));
                calls.get(usize::try_from(index).unwrap()).map(|info| info.id)
            };
            let now = net.phones[at].now;
            let address =
                format!("sip:{}@example.com", users[(at + 1 + usize::from(below(&mut random, 2) == 0)) % 3]);
            let first = pick(&mut random);
            let second = pick(&mut random);
            let bench = &mut net.phones[at];
            match (below(&mut random, 16), first, second) {
                (0 | 1, ..) if calls.len() < 3 => {
                    bench.dial(&address);
                }
                (2..=5, ..) => {
                    for info in &calls {
                        let _ = bench.phone.answer(now, info.id);
                    }
                }
                (6 | 7, Some(call), _) => {
                    let target = TransferTarget::Uri(address);
                    asked += usize::from(bench.phone.transfer(now, call, target).is_ok());
                }
                (8 | 9, Some(call), Some(other)) => {
                    let target = TransferTarget::Call(other);
                    asked += usize::from(bench.phone.transfer(now, call, target).is_ok());
                }
                (10..=12, ..) => {
                    for info in &calls {
                        let _ = bench.phone.accept_transfer(now, info.id);
                    }
                }
                (13, Some(call), _) => bench.phone.reject_transfer(now, call),
                (14, Some(call), _) => bench.hangup(call),
                (15, Some(call), _) => {
                    let _ = bench.phone.hold(now, call);
                }
                _ => {}
            }
            net.phones[at].drain();
            let rounds = below(&mut random, 4);
            net.rounds(rounds);
            if below(&mut random, 4) == 0 {
                let seconds = below(&mut random, 8);
                net.pass(secs(seconds));
            }
        }
        for at in 0..3 {
            for info in net.phones[at].phone.calls() {
                net.phones[at].hangup(info.id);
            }
        }
        net.pass(secs(300));
        let mut done = 0;
        for bench in &mut net.phones {
            assert!(bench.phone.calls().is_empty(), "seed {seed}: {:?}", bench.phone.calls());
            for result in told(bench).1 {
                done += 1;
                outcomes[usize::from(result.is_ok())] += 1;
            }
            bench.disconnect();
        }
        assert_eq!(done, asked, "seed {seed}");
        net.pass(secs(10));
        for bench in &net.phones {
            assert_eq!(bench.phone.poll_timeout(), None, "seed {seed}: a timer is left");
            for event in &bench.events {
                if let Event::CallState(id, CallState::New) = event {
                    let ends = bench.events.iter().filter(|end| matches!(end, Event::Ended(e, _) if e == id));
                    assert_eq!(ends.count(), 1, "seed {seed}, {id:?}");
                    let last = bench.events.iter().rev().find(|event| concerns(event, *id));
                    assert!(matches!(last, Some(Event::Ended(..))), "seed {seed}, {id:?}: {last:?}");
                }
            }
        }
    }
    assert!(outcomes[0] > 20 && outcomes[1] > 20, "the dice show too little: {outcomes:?}");
}

fn concerns(event: &Event, call: CallId) -> bool {
    matches!(event, Event::CallState(id, _) | Event::Transfer(id, ..) | Event::TransferDone(id, _)
        | Event::HoldDone(id, _) | Event::Stage(id, _) | Event::DialDone(id, _) | Event::AnswerDone(id, _)
        | Event::Ended(id, _) | Event::TransferRequested { call: id, .. } if *id == call)
}
