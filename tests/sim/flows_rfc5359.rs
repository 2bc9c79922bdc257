//! The service examples of RFC 5359 that a phone takes part in. Which of them do not apply, and why, is in
//! `docs/rfc.md`. `P` is the proxy; what it only passes on is not shown.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ms, secs};
use crate::forking_proxy::Net;
use wasm_softphone::phone::{CallId, CallState, Event, MessageRequest, TransferTarget};

fn hold(net: &mut Net, side: usize, call: CallId, hold: bool) -> bool {
    net.at(
        side,
        |bench| {
            if hold { bench.phone.hold(bench.now, call) } else { bench.phone.unhold(bench.now, call) }
        },
    )
    .is_ok()
}

fn is_up(net: &Net, side: usize, call: CallId) -> bool {
    net.phones[side].phone.call(call).is_some_and(|info| info.state == CallState::Active)
}

fn transfer_result(net: &Net, side: usize, call: CallId) -> Option<bool> {
    net.phones[side].events.iter().find_map(|event| match event {
        Event::TransferDone(id, result) if *id == call => Some(result.is_ok()),
        _ => None,
    })
}

/// Section 2.1: hold and back; silence on both sides meanwhile.
#[test]
fn s2_1_call_hold() {
    let mut net = Net::new(2);
    let (a, b) = net.call(0, 1);
    if !hold(&mut net, 1, b, true) {
        return;
    }
    // At once, before the other side has agreed.
    assert!(!net.model(1, b).may_send() && !net.model(1, b).may_receive());
    net.run(ms(200));
    assert_eq!(net.lines(), ["B INVITE", "P 100 INVITE", "A 100 INVITE", "A 200 INVITE", "B ACK"]);
    let info = net.phones[0].phone.call(a).unwrap();
    assert_eq!((info.local_hold, info.remote_hold), (false, true));
    assert!(!net.model(0, a).may_send());
    assert!(hold(&mut net, 1, b, false));
    net.run(ms(200));
    assert_eq!(net.lines(), ["B INVITE", "P 100 INVITE", "A 100 INVITE", "A 200 INVITE", "B ACK"]);
    for (side, call) in [(0, a), (1, b)] {
        let info = net.phones[side].phone.call(call).unwrap();
        assert_eq!((info.local_hold, info.remote_hold), (false, false));
        assert!(net.model(side, call).may_send() && net.model(side, call).may_receive());
    }
    assert_eq!(net.leaks, Vec::<String>::new());
}

/// Section 2.2: the held party waits while a third is asked; then the first call goes on.
#[test]
fn s2_2_consultation_hold() {
    let mut net = Net::new(3);
    let (a, b) = net.call(0, 1);
    if !hold(&mut net, 1, b, true) {
        return;
    }
    net.run(ms(200));
    let (second, c) = net.call(1, 2);
    assert!(is_up(&net, 1, second) && is_up(&net, 2, c) && is_up(&net, 0, a));
    assert!(net.model(1, second).may_send() && !net.model(1, b).may_send());
    net.at(1, |bench| bench.hangup(second));
    net.run(ms(200));
    assert!(hold(&mut net, 1, b, false));
    net.run(ms(200));
    assert!(net.model(0, a).may_send() && net.model(1, b).may_send());
    assert_eq!(net.leaks, Vec::<String>::new());
}

/// Section 2.4: B sends A on to C and leaves.
#[test]
fn s2_4_transfer_unattended() {
    let mut net = Net::new(3);
    let (a, b) = net.call(0, 1);
    let target = TransferTarget::Uri("sip:carol@example.com".into());
    net.at(1, |bench| bench.phone.transfer(bench.now, b, target)).unwrap();
    net.run(secs(1));
    assert!(net.phones[0].events.iter().any(|event| matches!(
        event,
        Event::TransferRequested { call, target, .. } if *call == a && target == "sip:carol@example.com"
    )));
    let new = net.at(0, |bench| bench.phone.accept_transfer(bench.now, a)).unwrap();
    net.run(secs(1));
    let there = net.incoming(2);
    net.at(2, |bench| bench.answer(there));
    net.run(secs(2));
    assert!(is_up(&net, 0, new) && is_up(&net, 2, there));
    assert_eq!(transfer_result(&net, 1, b), Some(true));
    assert!(net.phones[1].end_of(b).is_some() && net.phones[0].end_of(a).is_some());
    let mut lines = net.lines();
    lines.retain(|line| ["REFER", "202 REFER", "NOTIFY", "BYE"].iter().any(|what| line.ends_with(what)));
    assert_eq!(lines[0], "B REFER");
    assert_eq!(lines[1], "A 202 REFER");
    assert!(lines.contains(&"A NOTIFY".to_owned()) && lines.contains(&"B BYE".to_owned()), "{lines:?}");
}

/// The target declines: the transferor still has its call, and can take it back.
#[test]
fn s2_4_transfer_unattended_to_somebody_who_declines() {
    let mut net = Net::new(3);
    let (a, b) = net.call(0, 1);
    let target = TransferTarget::Uri("sip:carol@example.com".into());
    net.at(1, |bench| bench.phone.transfer(bench.now, b, target)).unwrap();
    net.run(secs(1));
    net.at(0, |bench| bench.phone.accept_transfer(bench.now, a)).unwrap();
    net.run(secs(1));
    let there = net.incoming(2);
    net.at(2, |bench| bench.reject(there, Some(486)));
    net.run(secs(2));
    assert_eq!(transfer_result(&net, 1, b), Some(false));
    assert!(is_up(&net, 0, a) && is_up(&net, 1, b));
}

/// Section 2.5: B talks to C first, then connects A and C; both calls of B end.
#[test]
fn s2_5_transfer_attended() {
    let mut net = Net::new(3);
    let (a, b) = net.call(0, 1);
    hold(&mut net, 1, b, true);
    net.run(ms(200));
    let (second, c) = net.call(1, 2);
    net.at(1, |bench| bench.phone.transfer(bench.now, b, TransferTarget::Call(second))).unwrap();
    net.run(secs(1));
    let new = net.at(0, |bench| bench.phone.accept_transfer(bench.now, a)).unwrap();
    net.run(secs(2));
    assert!(is_up(&net, 0, new), "{:?}", net.log);
    assert_eq!(transfer_result(&net, 1, b), Some(true));
    for (side, call) in [(0, a), (1, b), (1, second), (2, c)] {
        assert!(net.phones[side].end_of(call).is_some(), "{side} {call:?}: {:?}", net.log);
    }
    // C took it up without ringing: it takes the place of a call that was answered (RFC 3891, section 3).
    let replaced = net.phones[2].events.iter().find_map(|event| match event {
        Event::Replaced { old, new } if *old == c => Some(*new),
        _ => None,
    });
    assert!(is_up(&net, 2, replaced.unwrap()));
    assert_eq!(net.leaks, Vec::<String>::new());
}

/// Sections 2.7 to 2.9: forwarding by the called side is a redirection for the caller (3xx), which it is told of.
#[test]
fn s2_7_call_forwarding_by_redirection_ends_as_redirected() {
    for status in [301, 302] {
        let mut net = Net::new(2);
        let call = net.dial(0, "sip:bob@example.com");
        net.run(ms(100));
        let there = net.incoming(1);
        net.at(1, |bench| bench.reject(there, Some(status)));
        net.run(ms(200));
        assert_eq!(net.phones[0].end_of(call).unwrap().sip_status, Some(status));
        assert_eq!(net.phones[0].dial_error(call), "redirected");
    }
}

/// Section 2.9: forwarded by the proxy after a refusal: for the caller one call.
#[test]
fn s2_9_call_forwarding_by_the_proxy_is_one_call() {
    let mut net = Net::new(3);
    net.bindings.insert("bob".into(), vec![1, 2]);
    let call = net.dial(0, "sip:bob@example.com");
    net.run(ms(100));
    let (b, c) = (net.incoming(1), net.incoming(2));
    net.at(1, |bench| bench.reject(b, Some(486)));
    net.run(ms(100));
    net.at(2, |bench| bench.answer(c));
    net.run(ms(200));
    assert!(is_up(&net, 0, call) && is_up(&net, 2, c));
    assert!(net.phones[1].phone.calls().is_empty());
}

/// Section 2.10: a third party is added by the one that mixes: it has two calls that are both up.
#[test]
fn s2_10_a_third_party_is_added_to_a_conference_of_two_calls() {
    let mut net = Net::new(3);
    let (a, b) = net.call(0, 1);
    let (second, c) = net.call(1, 2);
    for (side, call) in [(0, a), (1, b), (1, second), (2, c)] {
        assert!(is_up(&net, side, call));
        assert!(net.model(side, call).may_send() && net.model(side, call).may_receive());
    }
}

/// Section 2.6 has the transfer asked for by an instant message; what concerns a phone is the message (RFC 3428).
#[test]
fn s2_6_an_instant_message() {
    let mut net = Net::new(2);
    let message = MessageRequest {
        target: "sip:bob@example.com".into(),
        content_type: "text/plain".into(),
        body: "call carol".into(),
        ..MessageRequest::default()
    };
    let Ok(id) = net.at(0, |bench| bench.phone.send_message(bench.now, message)) else { return };
    net.run(ms(200));
    assert_eq!(net.lines(), ["A MESSAGE", "B 200 MESSAGE"]);
    assert!(
        net.phones[1]
            .events
            .iter()
            .any(|event| matches!(event, Event::Message { body, .. } if body == "call carol"))
    );
    assert!(net.phones[0].events.contains(&Event::RequestDone(id, Ok(()))));
}
