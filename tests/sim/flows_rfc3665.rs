//! The call flows of RFC 3665 that concern a phone: the first lines in order, and how both ends stand afterwards.
//! `P` is the proxy; what it only passes on is not shown.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ms, secs};
use crate::forking_proxy::Net;
use wasm_softphone::phone::{CallState, EndCause, EndedBy, RegistrationState};

fn registering(challenge: bool) -> Net {
    let mut net = Net::with(1, None, |_, config| config.register = true);
    net.challenge = challenge;
    net
}

/// Section 2.1: the registrar asks for credentials.
#[test]
fn s2_1_successful_new_registration() {
    let mut net = registering(true);
    net.run(ms(200));
    assert_eq!(net.lines(), ["A REGISTER", "P 401 REGISTER", "A REGISTER", "P 200 REGISTER"]);
    assert_eq!(net.phones[0].registration(), RegistrationState::Registered);
}

/// Section 2.2: the registration is refreshed, with the challenge answered beforehand.
#[test]
fn s2_2_update_of_contact_list() {
    let mut net = registering(true);
    net.run(ms(200));
    net.lines();
    net.run(secs(600));
    let lines = net.lines();
    assert!(lines.len() >= 2, "{lines:?}");
    assert_eq!(lines[..2], ["A REGISTER", "P 200 REGISTER"]);
    assert!(!lines.contains(&"P 401 REGISTER".to_owned()), "{lines:?}");
}

/// Section 2.4: disconnecting takes the binding back.
#[test]
fn s2_4_cancellation_of_registration() {
    let mut net = registering(false);
    net.run(ms(200));
    net.lines();
    net.at(0, |bench| bench.phone.disconnect(bench.now));
    net.run(secs(5));
    assert_eq!(net.lines(), ["A REGISTER", "P 200 REGISTER"]);
    let (_, last) = net.trace.last().unwrap();
    let contact = last.headers().get("Contact").unwrap();
    assert!(contact == "*" || contact.contains("expires=0") || last.headers().get("Expires") == Some("0"));
    assert_eq!(net.phones[0].registration(), RegistrationState::Unregistered);
}

/// Sections 3.1 and 3.2: a call through a proxy, ended by the called side.
#[test]
fn s3_1_and_3_2_session_through_a_proxy() {
    let mut net = Net::new(2);
    let call = net.dial(0, "sip:bob@example.com");
    net.run(ms(100));
    assert_eq!(net.lines(), ["A INVITE", "P 100 INVITE", "B 180 INVITE"]);
    assert_eq!(net.phones[0].phone.call(call).unwrap().state, CallState::Ringing);
    let there = net.incoming(1);
    net.at(1, |bench| bench.answer(there));
    net.run(ms(100));
    assert_eq!(net.lines(), ["B 200 INVITE", "A ACK"]);
    for (side, id) in [(0, call), (1, there)] {
        assert_eq!(net.phones[side].phone.call(id).unwrap().state, CallState::Active);
        assert!(net.model(side, id).may_send() && net.model(side, id).may_receive());
    }
    // Requests within the call go by the route that the proxy has recorded.
    let ack = &net.trace.last().unwrap().1;
    assert!(ack.headers().get("Route").unwrap().contains("proxy.example.com"));
    net.at(1, |bench| bench.hangup(there));
    net.run(ms(100));
    assert_eq!(net.lines(), ["B BYE", "A 200 BYE"]);
    let ended = net.phones[0].end_of(call).unwrap();
    assert_eq!((&ended.cause, ended.by), (&EndCause::Completed, EndedBy::Remote));
    let ended = net.phones[1].end_of(there).unwrap();
    assert_eq!((&ended.cause, ended.by), (&EndCause::Completed, EndedBy::Local));
    assert!(net.model(0, call).closed && net.model(1, there).closed);
}

/// Section 3.3: the proxy asks for credentials.
#[test]
fn s3_3_session_with_proxy_authentication() {
    let mut net = Net::new(2);
    net.challenge = true;
    let call = net.dial(0, "sip:bob@example.com");
    net.run(ms(150));
    assert_eq!(
        net.lines(),
        ["A INVITE", "P 407 INVITE", "A ACK", "A INVITE", "P 100 INVITE", "B 180 INVITE"]
    );
    let call_ids: Vec<_> = net
        .trace
        .iter()
        .filter(|(side, _)| *side == 0)
        .map(|(_, message)| message.headers().call_id().unwrap())
        .collect();
    assert!(call_ids.windows(2).all(|pair| pair[0] == pair[1]));
    let there = net.incoming(1);
    net.at(1, |bench| bench.answer(there));
    net.run(ms(100));
    assert_eq!(net.lines(), ["B 200 INVITE", "A ACK"]);
    assert_eq!(net.phones[0].phone.call(call).unwrap().state, CallState::Active);
}

/// Section 3.8: the caller gives up.
#[test]
fn s3_8_no_answer() {
    let mut net = Net::new(2);
    let call = net.dial(0, "sip:bob@example.com");
    net.run(ms(100));
    let there = net.incoming(1);
    net.lines();
    net.at(0, |bench| bench.hangup(call));
    net.run(ms(100));
    assert_eq!(
        net.lines(),
        ["A CANCEL", "P 200 CANCEL", "P CANCEL > B", "B 200 CANCEL", "B 487 INVITE", "A ACK"]
    );
    for (side, id, by) in [(0, call, EndedBy::Local), (1, there, EndedBy::Remote)] {
        let ended = net.phones[side].end_of(id).unwrap();
        assert_eq!((&ended.cause, ended.by), (&EndCause::Cancelled, by));
        assert!(net.phones[side].phone.calls().is_empty());
    }
}

fn refused(status: u16, code: &str) {
    let mut net = Net::new(2);
    let call = net.dial(0, "sip:bob@example.com");
    net.run(ms(100));
    let there = net.incoming(1);
    net.lines();
    net.at(1, |bench| bench.reject(there, Some(status)));
    net.run(ms(100));
    assert_eq!(net.lines(), [format!("B {status} INVITE"), "A ACK".into()]);
    assert_eq!(net.phones[0].dial_error(call), code);
    let ended = net.phones[0].end_of(call).unwrap();
    assert_eq!((ended.sip_status, ended.by), (Some(status), EndedBy::Remote));
    assert!(net.phones[1].end_of(there).is_some());
}

/// Section 3.9.
#[test]
fn s3_9_busy() {
    refused(486, "busy");
}

/// Section 3.11.
#[test]
fn s3_11_temporarily_unavailable() {
    refused(480, "no_answer");
}

/// Section 3.10: nothing ever answers; after 64 × T1 (Timer B) the phone gives up.
#[test]
fn s3_10_no_response() {
    let mut net = Net::new(1);
    net.delay(0, secs(600));
    let call = net.dial(0, "sip:bob@example.com");
    net.run(secs(31));
    assert!(net.phones[0].end_of(call).is_none());
    net.run(secs(2));
    assert_eq!(net.phones[0].dial_error(call), "timeout");
    assert_eq!(net.lines()[0], "A INVITE");
    assert!(net.phones[0].phone.calls().is_empty());
}

/// An address without a phone.
#[test]
fn an_unknown_address_is_told_as_not_found() {
    let mut net = Net::new(1);
    let call = net.dial(0, "sip:nobody@example.com");
    net.run(ms(100));
    assert_eq!(net.lines(), ["A INVITE", "P 404 INVITE", "A ACK"]);
    assert_eq!(net.phones[0].dial_error(call), "not_found");
}

/// Not in RFC 3665, but what its proxies do (RFC 3261, section 16.7): all phones ring, one answers, the others are
/// told why they stop.
#[test]
fn a_call_that_rings_at_several_phones_is_answered_by_one() {
    let mut net = Net::new(4);
    net.bindings.insert("team".into(), vec![1, 2, 3]);
    let call = net.dial(0, "sip:team@example.com");
    net.run(ms(100));
    assert_eq!(net.lines(), ["A INVITE", "P 100 INVITE", "B 180 INVITE", "C 180 INVITE", "D 180 INVITE"]);
    let there: Vec<_> = (1..4).map(|side| net.incoming(side)).collect();
    net.at(2, |bench| bench.answer(there[1]));
    net.run(ms(100));
    assert_eq!(
        net.lines(),
        [
            "C 200 INVITE",
            "P CANCEL > B",
            "P CANCEL > D",
            "A ACK",
            "B 200 CANCEL",
            "B 487 INVITE",
            "D 200 CANCEL",
            "D 487 INVITE"
        ]
    );
    for (side, id) in [(1, there[0]), (3, there[2])] {
        assert_eq!(net.phones[side].end_of(id).unwrap().cause, EndCause::AnsweredElsewhere);
    }
    for (side, id) in [(0, call), (2, there[1])] {
        assert_eq!(net.phones[side].phone.call(id).unwrap().state, CallState::Active);
    }
}

/// Two phones answer at the same time: one call stays, the other gets ACK and BYE (RFC 3261, section 13.2.2.4).
#[test]
fn of_two_phones_that_answer_at_once_one_keeps_the_call() {
    let mut net = Net::new(3);
    net.bindings.insert("team".into(), vec![1, 2]);
    let call = net.dial(0, "sip:team@example.com");
    net.run(ms(100));
    net.lines();
    let there = [net.incoming(1), net.incoming(2)];
    net.at(1, |bench| bench.answer(there[0]));
    net.at(2, |bench| bench.answer(there[1]));
    net.run(secs(2));
    let lines = net.lines();
    assert_eq!(lines.iter().filter(|line| *line == "A ACK").count(), 2, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == "A BYE").count(), 1, "{lines:?}");
    assert_eq!(net.phones[0].phone.call(call).unwrap().state, CallState::Active);
    let up = [1, 2].map(|side| net.phones[side].phone.call(there[side - 1]).is_some());
    assert_eq!(up, [true, false]);
}
