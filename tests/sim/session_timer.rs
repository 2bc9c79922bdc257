//! Session timers (RFC 4028).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, config, secs, send, with_sdp};
use wasm_softphone::phone::{CallId, CallState, PhoneConfig};
use wasm_softphone::sip::message::{Request, Response};

/// A call that the other side has answered with these headers.
fn answered_with(headers: &[(&str, &str)]) -> (Bench, CallId, Request) {
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    for (name, value) in headers {
        ok.headers.push(name, *value);
    }
    bench.reply(&ok);
    bench.take_request("ACK");
    (bench, id, invite)
}

fn refreshed(update: &Request, session: &str) -> Response {
    let mut ok = answer(update, 200, "");
    ok.headers.push("Session-Expires", session);
    ok
}

#[test]
fn we_ask_for_half_an_hour_and_nothing_when_it_is_off() {
    let (mut bench, _, invite) = answered_with(&[]);
    assert_eq!(invite.headers.get("Session-Expires"), Some("1800"));
    assert!(invite.headers.contains_token("Supported", "timer"));
    // The other side knows no timers: there is none.
    bench.pass(secs(4000));
    bench.nothing_sent();
    let mut bench = Bench::new(PhoneConfig { session_timers: None, ..config() });
    bench.connect();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.get("Session-Expires"), None);
    // Others may want them all the same (RFC 4028, section 7.1).
    assert!(invite.headers.contains_token("Supported", "timer"));
}

#[test]
fn update_refreshes_at_half_for_as_long_as_it_is_answered() {
    let headers = [("Session-Expires", "100;refresher=uac"), ("Allow", "INVITE, ACK, UPDATE, BYE")];
    let (mut bench, id, _) = answered_with(&headers);
    for _ in 0..3 {
        bench.pass(secs(49));
        bench.nothing_sent();
        bench.pass(secs(1));
        let update = bench.take_request("UPDATE");
        assert!(update.body.is_empty());
        assert_eq!(update.headers.get("Session-Expires"), Some("100;refresher=uac"));
        bench.reply(&refreshed(&update, "100;refresher=uac"));
    }
    // Once it isn't, the other side is gone.
    bench.pass(secs(50));
    bench.take_request("UPDATE");
    bench.pass(secs(33));
    let bye = bench.take_request("BYE");
    assert!(bye.headers.get("Reason").is_some_and(|reason| reason.contains("cause=408")));
    assert_eq!(bench.end_of(id).and_then(|end| end.sip_status), None);
    assert_eq!(bench.phone.calls().len(), 0);
}

#[test]
fn a_refresh_that_is_refused_is_tried_again_and_without_update_goes_by_re_invite() {
    let headers = [("Session-Expires", "300;refresher=uac"), ("Allow", "UPDATE")];
    let (mut bench, id, _) = answered_with(&headers);
    bench.pass(secs(150));
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 500, ""));
    bench.pass(secs(10));
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 405, ""));
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.get("Session-Expires"), Some("300;refresher=uac"));
    let mut ok = with_sdp(refreshed(&invite, "300;refresher=uac"), ANSWER);
    ok.headers.push("Require", "timer");
    bench.reply(&ok);
    bench.take_request("ACK");
    bench.pass(secs(149));
    bench.nothing_sent();
    bench.pass(secs(1));
    bench.take_request("INVITE");
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn a_refresh_waits_for_an_offer_under_way() {
    let (mut bench, id, _) = answered_with(&[("Session-Expires", "100;refresher=uac")]);
    bench.pass(secs(49));
    bench.phone.hold(bench.now, id).unwrap();
    bench.drain();
    let hold = bench.take_request("INVITE");
    bench.pass(secs(1));
    bench.nothing_sent();
    bench.reply(&with_sdp(answer(&hold, 491, ""), ANSWER));
    bench.take_request("ACK");
    bench.pass(secs(5));
    let again = bench.take_request("INVITE");
    bench.reply(&with_sdp(refreshed(&again, "100;refresher=uac"), ANSWER));
    bench.take_request("ACK");
    // That was one, too.
    bench.pass(secs(49));
    bench.nothing_sent();
}

#[test]
fn who_does_not_refresh_is_hung_up_on() {
    let (mut bench, id, _) = answered_with(&[("Session-Expires", "120;refresher=uas")]);
    bench.pass(secs(87));
    bench.nothing_sent();
    bench.pass(secs(1));
    bench.take_request("BYE");
    assert!(bench.end_of(id).is_some());
}

#[test]
fn a_422_is_followed_twice_at_most() {
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let first = bench.take_request("INVITE");
    let too_small = |invite: &Request, min: &str| {
        let mut response = answer(invite, 422, "x");
        response.headers.push("Min-SE", min);
        response
    };
    bench.reply(&too_small(&first, "3600"));
    bench.take_request("ACK");
    let second = bench.take_request("INVITE");
    assert_eq!(second.headers.get("Session-Expires"), Some("3600"));
    assert_eq!(second.headers.get("Min-SE"), Some("3600"));
    assert_eq!(second.headers.call_id(), first.headers.call_id());
    assert!(second.headers.seq() > first.headers.seq());
    bench.reply(&too_small(&second, "4000"));
    bench.take_request("ACK");
    let third = bench.take_request("INVITE");
    bench.reply(&too_small(&third, "5000"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(bench.end_of(id).is_some());
    // The same again is no reason to try again.
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let first = bench.take_request("INVITE");
    bench.reply(&answer(&first, 422, "x"));
    assert_eq!(bench.lines(), ["ACK"]);
}

#[test]
fn as_the_callee() {
    let ring = |session: &str, supported: bool| {
        let mut bench = Bench::online();
        let mut caller = Caller::new("timed");
        let mut invite = caller.request("INVITE", Some(OFFER));
        invite.headers.push("Session-Expires", session);
        if supported {
            invite.headers.push("Supported", "timer");
        }
        send(&mut bench, &invite);
        (bench, caller)
    };
    let (mut bench, _) = ring("60", true);
    assert_eq!(bench.take_response(422).headers.get("Min-SE"), Some("90"));
    // They refresh.
    let (mut bench, mut caller) = ring("120", true);
    bench.take_response(180);
    let id = bench.incoming();
    bench.answer(id);
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.get("Session-Expires"), Some("120;refresher=uac"));
    assert_eq!(ok.headers.get("Require"), Some("timer"));
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(1, None));
    bench.pass(secs(80));
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Session-Expires", "120;refresher=uac");
    update.headers.push("Supported", "timer");
    send(&mut bench, &update);
    bench.take_response(200);
    bench.pass(secs(80));
    bench.nothing_sent();
    bench.pass(secs(10));
    bench.take_request("BYE");
    // They can't: we do.
    let (mut bench, mut caller) = ring("120", false);
    bench.take_response(180);
    let id = bench.incoming();
    bench.answer(id);
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.get("Session-Expires"), Some("120;refresher=uas"));
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(1, None));
    bench.pass(secs(60));
    bench.take_request("INVITE");
}

#[test]
fn never_less_than_the_other_side_can_take() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("min-se");
    let mut invite = caller.request("INVITE", Some(OFFER));
    invite.headers.push("Supported", "timer");
    invite.headers.push("Allow", "INVITE, ACK, BYE, UPDATE");
    invite.headers.push("Min-SE", "3600");
    send(&mut bench, &invite);
    bench.take_response(180);
    let id = bench.incoming();
    bench.answer(id);
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.get("Session-Expires"), Some("3600;refresher=uas"));
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(1, None));
    // Nor in the refresh, nor where it asks for less than it can take.
    bench.pass(secs(1800));
    let update = bench.take_request("UPDATE");
    assert_eq!(update.headers.get("Session-Expires"), Some("3600;refresher=uac"));
    assert_eq!(update.headers.get("Min-SE"), Some("3600"));
    bench.reply(&answer(&update, 200, ""));
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Supported", "timer");
    update.headers.push("Session-Expires", "1000;refresher=uac");
    update.headers.push("Min-SE", "4000");
    send(&mut bench, &update);
    assert_eq!(bench.take_response(200).headers.get("Session-Expires"), Some("4000;refresher=uac"));
    // Longer than a day is nobody's need, and not less than that either.
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Supported", "timer");
    update.headers.push("Session-Expires", "200000;refresher=uac");
    update.headers.push("Min-SE", "100000");
    send(&mut bench, &update);
    assert_eq!(bench.take_response(200).headers.get("Session-Expires"), Some("100000;refresher=uac"));
}

/// A refusal of the interval is no refusal of the hold.
#[test]
fn a_422_to_a_re_invite_is_followed() {
    let (mut bench, id, _) = answered_with(&[("Session-Expires", "300;refresher=uac")]);
    bench.phone.hold(bench.now, id).unwrap();
    bench.drain();
    let first = bench.take_request("INVITE");
    let mut response = answer(&first, 422, "");
    response.headers.push("Min-SE", "900");
    bench.reply(&response);
    bench.take_request("ACK");
    let second = bench.take_request("INVITE");
    assert_eq!(second.headers.get("Session-Expires"), Some("900;refresher=uac"));
    assert_eq!(second.headers.get("Min-SE"), Some("900"));
    bench.reply(&with_sdp(refreshed(&second, "900;refresher=uac"), ANSWER));
    bench.take_request("ACK");
    let done =
        |event: &wasm_softphone::phone::Event| *event == wasm_softphone::phone::Event::HoldDone(id, Ok(()));
    assert!(bench.events.iter().any(done));
}
