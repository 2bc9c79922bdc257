//! Calls that ask to be answered at once (RFC 5373 and its forerunners), and who may ask.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, OFFER, config, ms, secs, send};
use wasm_softphone::phone::{CallState, Event, PhoneConfig};

fn online(patterns: &[&str], trust_identity: bool) -> Bench {
    let auto_answer = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let mut bench = Bench::new(PhoneConfig { auto_answer, trust_identity, ..config() });
    bench.connect();
    bench
}

fn invite(bench: &mut Bench, id: &str, headers: &[(&str, &str)]) {
    let mut invite = Caller::new(id).request("INVITE", Some(OFFER));
    for (name, value) in headers {
        invite.headers.push(name, *value);
    }
    send(bench, &invite);
}

/// What was sent in answer to an INVITE with these headers.
fn lines(patterns: &[&str], trust: bool, headers: &[(&str, &str)]) -> Vec<String> {
    let mut bench = online(patterns, trust);
    invite(&mut bench, "auto", headers);
    bench.lines()
}

const AUTO: (&str, &str) = ("Answer-Mode", "Auto");

#[test]
fn each_of_the_headers_is_understood() {
    for header in [
        AUTO,
        ("Priv-Answer-Mode", "auto"),
        ("Call-Info", "<sip:example.com>;answer-after=0"),
        ("Alert-Info", "<http://www.example.com>;info=alert-autoanswer;delay=0"),
        ("Alert-Info", "Auto Answer"),
    ] {
        assert_eq!(lines(&["*"], false, &[header]), ["180 INVITE", "200 INVITE"], "{header:?}");
        assert_eq!(lines(&[], false, &[header]), ["180 INVITE"], "off unless configured: {header:?}");
    }
    for header in [
        ("Answer-Mode", "Manual"),
        ("Call-Info", "<http://example.com/a.png>;purpose=icon"),
        ("Alert-Info", "<http://example.com/ring.wav>"),
        ("Alert-Info", "<"),
    ] {
        assert_eq!(lines(&["*"], false, &[header]), ["180 INVITE"], "{header:?}");
    }
    // The header of the RFC has the last word.
    let both = [("Answer-Mode", "Manual"), ("Call-Info", "<sip:a>;answer-after=0")];
    assert_eq!(lines(&["*"], false, &both), ["180 INVITE"]);
}

#[test]
fn the_answer_says_that_nobody_gave_it_and_the_application_is_told() {
    let mut bench = online(&["bob@example.com"], false);
    let mut caller = Caller::new("auto");
    let mut request = caller.request("INVITE", Some(OFFER));
    request.headers.push("Answer-Mode", "Auto;require");
    request.headers.push("Require", "answermode");
    send(&mut bench, &request);
    let call = bench.incoming();
    assert!(bench.phone.call(call).unwrap().auto_answer);
    assert_eq!(bench.take_response(180).headers.get("Answer-Mode"), None);
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.get("Answer-Mode"), Some("Auto"));
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(caller.seq, None));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    // Nobody has called `answer`.
    assert!(!bench.events.iter().any(|event| matches!(event, Event::AnswerDone(..))));
    assert_eq!(
        bench.phone.poll_timeout().map(|(_, why)| why == wasm_softphone::phone::Why::AutoAnswer),
        Some(false)
    );
}

#[test]
fn only_the_callers_of_the_list_are_answered() {
    for (patterns, answered) in [
        (&["bob@example.com"][..], true),
        (&["bob@EXAMPLE.com"], true),
        (&["@example.com"], true),
        (&["carol@example.com", "@other.example"], false),
        (&["@ample.com", "bob", "bob@", "ob@example.com"], false),
    ] {
        assert_eq!(lines(patterns, false, &[AUTO]).len() == 2, answered, "{patterns:?}");
    }
}

/// From is what the caller says; where the server vouches for callers, that counts, and its silence too.
#[test]
fn with_a_trusted_server_its_word_counts_and_not_the_from() {
    let pai = ("P-Asserted-Identity", "<sip:boss@example.com>");
    assert_eq!(lines(&["boss@example.com"], true, &[AUTO, pai]).len(), 2);
    assert_eq!(lines(&["bob@example.com"], true, &[AUTO, pai]).len(), 1);
    assert_eq!(lines(&["bob@example.com"], true, &[AUTO]).len(), 1);
    assert_eq!(lines(&["boss@example.com"], false, &[AUTO, pai]).len(), 1);
}

#[test]
fn what_must_be_answered_at_once_and_may_not_be_is_refused() {
    let required = ("Answer-Mode", "Auto;require");
    let mut bench = online(&["carol@example.com"], false);
    invite(&mut bench, "auto", &[required]);
    assert_eq!(bench.lines(), ["403 INVITE"]);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))));
    // Another call is in the way.
    let mut bench = online(&["*"], false);
    bench.dial("sip:dave@example.com");
    bench.sent.clear();
    invite(&mut bench, "auto", &[required]);
    assert_eq!(bench.lines(), ["486 INVITE"]);
}

#[test]
fn never_while_another_call_has_the_user() {
    let mut bench = online(&["*"], false);
    bench.dial("sip:dave@example.com");
    bench.sent.clear();
    invite(&mut bench, "auto", &[AUTO]);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    let call = bench.incoming();
    assert!(!bench.phone.call(call).unwrap().auto_answer);
    bench.pass(secs(20));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Ringing);
}

#[test]
fn the_delay_is_kept_and_bounded_and_a_call_made_meanwhile_prevails() {
    let mut bench = online(&["*"], false);
    invite(&mut bench, "auto", &[("Call-Info", "<sip:a>;answer-after=5")]);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    bench.pass(ms(4999));
    bench.nothing_sent();
    bench.pass(ms(1));
    bench.take_response(200);

    let mut bench = online(&["*"], false);
    invite(&mut bench, "auto", &[("Call-Info", "<sip:a>;answer-after=86400")]);
    bench.take_response(180);
    bench.pass(secs(30));
    bench.take_response(200);

    let mut bench = online(&["*"], false);
    invite(&mut bench, "auto", &[("Call-Info", "<sip:a>;answer-after=5")]);
    let call = bench.incoming();
    bench.dial("sip:dave@example.com");
    bench.sent.clear();
    bench.pass(secs(6));
    bench.nothing_sent();
    let info = bench.phone.call(call).unwrap();
    assert_eq!((info.state, info.auto_answer), (CallState::Ringing, false));
    // By hand it can still be taken.
    bench.answer(call);
    bench.take_response(200);
}

#[test]
fn a_caller_who_gives_up_is_not_answered() {
    let mut bench = online(&["*"], false);
    let mut caller = Caller::new("auto");
    let mut request = caller.request("INVITE", Some(OFFER));
    request.headers.push("Call-Info", "<sip:a>;answer-after=5");
    send(&mut bench, &request);
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["180 INVITE", "200 CANCEL", "487 INVITE"]);
    bench.pass(secs(10));
    bench.nothing_sent();
}
