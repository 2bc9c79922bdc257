//! Calls that come in (RFC 3261, sections 8.2, 9.2, 13.3 and 17.2.1).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, Outcome, answer, config, ms, outcome, secs, send};
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallId, CallState, EndCause, EndedBy, Event, Input, MediaCommand, MediaError, MediaValue, PhoneConfig,
};
use wasm_softphone::sip::message::Request;

/// A call rings; returns it with its caller and INVITE. The 180 has been looked at.
pub fn ringing(bench: &mut Bench) -> (CallId, Caller, Request) {
    let mut caller = Caller::new("in");
    let invite = caller.request("INVITE", Some(OFFER));
    send(bench, &invite);
    let ringing = bench.take_response(180);
    caller.to_tag = ringing.headers.to().unwrap().tag().map(str::to_owned);
    (bench.incoming(), caller, invite)
}

/// A call is up. Nothing is left to look at.
pub fn answered(bench: &mut Bench) -> (CallId, Caller) {
    let (call, mut caller, _) = ringing(bench);
    bench.answer(call);
    bench.take_response(200);
    let ack = caller.ack(caller.seq, None);
    send(bench, &ack);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.nothing_sent();
    (call, caller)
}

fn answer_results(bench: &Bench) -> Vec<Outcome> {
    bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::AnswerDone(_, result) => Some(outcome(result)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_call_rings_is_answered_and_the_caller_hangs_up() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("in");
    let invite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &invite);
    let ringing = bench.take_response(180);
    assert_eq!(ringing.headers.get("Via"), invite.headers.get("Via"));
    assert!(ringing.headers.get("Contact").is_some());
    let call = bench.incoming();
    let info = bench.phone.call(call).unwrap();
    assert_eq!(
        (info.remote_uri.as_str(), info.remote_display_name.as_deref()),
        ("sip:bob@example.com", Some("Bob"))
    );
    assert!(bench.jobs.is_empty(), "no microphone before the answer");
    bench.answer(call);
    let ok = bench.take_response(200);
    assert_eq!(ok.body, ANSWER.as_bytes());
    assert_eq!(ok.headers.to().unwrap().tag(), ringing.headers.to().unwrap().tag());
    assert_eq!(answer_results(&bench), []);
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert_eq!(answer_results(&bench), [Ok(())]);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE"]);
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Completed, EndedBy::Remote));
    assert!(bench.media_closed(call));
}

/// RFC 3261, section 13.3.1.4: at T1, doubling up to T2, for 64 × T1; then BYE.
#[test]
fn the_answer_is_repeated_until_acknowledged_and_given_up_after_32_seconds() {
    let mut bench = Bench::online();
    let (call, _, _) = ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    let begin = bench.now;
    let mut at = Vec::new();
    while bench.now - begin < ms(31_900) {
        bench.pass(ms(100));
        for line in bench.lines() {
            assert_eq!(line, "200 INVITE");
            at.push((bench.now - begin).as_millis());
        }
    }
    assert_eq!(at, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    bench.pass(ms(200));
    assert_eq!(bench.lines(), ["BYE"]);
    assert_eq!(answer_results(&bench), [Err("timeout")]);
    let end = bench.end_of(call).unwrap();
    assert_eq!(end.by, EndedBy::Network);
}

#[test]
fn an_ack_stops_the_repetition() {
    let mut bench = Bench::online();
    answered(&mut bench);
    bench.pass(secs(19));
    bench.nothing_sent();
}

#[test]
fn rejecting_says_603_or_what_it_is_told() {
    for (status, sent, code) in
        [(None, 603, "declined"), (Some(486), 486, "busy"), (Some(480), 480, "no_answer")]
    {
        let mut bench = Bench::online();
        let (call, caller, invite) = ringing(&mut bench);
        bench.reject(call, status);
        bench.take_response(sent);
        let end = bench.end_of(call).unwrap().clone();
        assert!(matches!(&end.cause, EndCause::Failed(error) if error.code.as_str() == code));
        assert_eq!((end.sip_status, end.by), (Some(sent), EndedBy::Local));
        // The ACK of a refusal is part of its transaction.
        send(&mut bench, &caller.build("ACK", 1, None));
        send(&mut bench, &invite);
        assert!(bench.jobs.is_empty());
    }
    let mut bench = Bench::online();
    let (call, _, _) = ringing(&mut bench);
    for status in [100, 200, 299, 700, 401, 407] {
        assert!(bench.phone.reject(bench.now, call, Some(status)).is_err(), "{status}");
    }
    bench.nothing_sent();
}

#[test]
fn a_repeated_invite_gets_the_same_response_and_rings_once() {
    let mut bench = Bench::online();
    let (_, _, invite) = ringing(&mut bench);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    assert_eq!(bench.phone.calls().len(), 1);
}

#[test]
fn the_caller_gives_up() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    caller.to_tag = None;
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Cancelled, EndedBy::Remote));
}

#[test]
fn answered_elsewhere_is_not_a_missed_call() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    caller.to_tag = None;
    let mut cancel = caller.cancel();
    cancel.headers.push("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"");
    send(&mut bench, &cancel);
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::AnsweredElsewhere);
}

#[test]
fn a_cancel_while_the_microphone_opens_ends_the_call_and_the_late_answer_is_dropped() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    caller.to_tag = None;
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(answer_results(&bench), [Err("ended")]);
    assert!(bench.media_closed(call));
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.nothing_sent();
}

#[test]
fn a_cancel_after_the_answer_has_no_effect() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    let tag = caller.to_tag.take();
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL"]);
    caller.to_tag = tag;
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_cancel_for_nothing_gets_481() {
    let mut bench = Bench::online();
    send(&mut bench, &Caller::new("none").cancel());
    assert_eq!(bench.lines(), ["481 CANCEL"]);
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let invite = caller.request("INVITE", None);
    send(&mut bench, &invite);
    bench.take_response(180);
    let call = bench.incoming();
    bench.answer(call);
    let ok = bench.take_response(200);
    assert_eq!(ok.body, OFFER.as_bytes());
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    let ack = caller.ack(1, Some(ANSWER));
    send(&mut bench, &ack);
    assert_eq!(answer_results(&bench), [Ok(())]);
    let set = MediaCommand::SetAnswer { answer: ANSWER.into(), provisional: false };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == set));
}

#[test]
fn an_ack_without_the_answer_that_was_due_ends_the_call() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let invite = caller.request("INVITE", None);
    send(&mut bench, &invite);
    bench.take_response(180);
    let call = bench.incoming();
    bench.answer(call);
    let ok = bench.take_response(200);
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert_eq!(bench.lines(), ["BYE"]);
    assert_eq!(answer_results(&bench), [Err("not_acceptable")]);
}

#[test]
fn microphone_and_media_failures_refuse_the_call() {
    for (error, status, code) in [
        (MediaError::Denied, 480, "media_denied"),
        (MediaError::Unavailable, 480, "media_unavailable"),
        (MediaError::Description, 488, "not_acceptable"),
    ] {
        let mut bench = Bench::online();
        bench.media = Media::Manual;
        let (call, _, _) = ringing(&mut bench);
        bench.answer(call);
        bench.finish_job(Err(error));
        bench.take_response(status);
        assert_eq!(answer_results(&bench), [Err(code)]);
        assert!(bench.end_of(call).is_some());
    }
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    bench.hangup(call);
    bench.nothing_sent();
    assert!(bench.end_of(call).is_some());
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.input(Input::Timer);
    assert!(bench.phone.call(call).is_none());
}

#[test]
fn hanging_up_without_an_ack_ever_sends_bye_in_the_end() {
    let mut bench = Bench::online();
    let (call, _, _) = ringing(&mut bench);
    bench.answer(call);
    bench.hangup(call);
    bench.sent.clear();
    bench.pass(secs(33));
    assert_eq!(bench.lines().last().map(String::as_str), Some("BYE"));
    assert!(bench.end_of(call).is_some());
}

#[test]
fn hanging_up_a_ringing_call_declines_it() {
    let mut bench = Bench::online();
    let (call, _, _) = ringing(&mut bench);
    bench.hangup(call);
    assert_eq!(bench.lines(), ["603 INVITE"]);
}

#[test]
fn one_call_too_many_is_busy() {
    let mut bench = Bench::new(PhoneConfig { max_calls: 1, ..config() });
    bench.connect();
    answered(&mut bench);
    let invite = Caller::new("second").request("INVITE", Some(OFFER));
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["486 INVITE"]);
    assert_eq!(bench.phone.calls().len(), 1);
}

#[test]
fn what_cannot_ring_is_answered_with_the_reason() {
    type Change = fn(&mut Request);
    let cases: [(u16, Change, &str); 6] = [
        (415, |r| r.headers.set("Content-Type", "text/plain"), "Accept"),
        (488, |r| r.body = b"v=0\r\ns=-\r\nm=video 9 RTP/AVP 96\r\n".to_vec(), "To"),
        (488, |r| r.body = b"nonsense".to_vec(), "To"),
        (420, |r| r.headers.push("Require", "telepathy"), "Unsupported"),
        (416, |r| r.uri = "tel:+4612345".into(), "To"),
        (400, |r| r.headers.remove("Contact"), "To"),
    ];
    for (status, change, header) in cases {
        let mut bench = Bench::online();
        let mut invite = Caller::new("odd").request("INVITE", Some(OFFER));
        change(&mut invite);
        send(&mut bench, &invite);
        let response = bench.take_response(status);
        assert!(response.headers.get(header).is_some(), "{status} lacks {header}");
        assert!(response.headers.to().unwrap().tag().is_some());
        assert!(bench.phone.calls().is_empty());
    }
}

#[test]
fn the_same_call_over_two_paths_rings_once() {
    let mut bench = Bench::online();
    let (_, _, mut invite) = ringing(&mut bench);
    invite.headers.set("Via", "SIP/2.0/WSS caller.example.com;branch=z9hG4bKotherpath");
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["482 INVITE"]);
}

#[test]
fn requests_outside_calls_are_answered() {
    let mut bench = Bench::online();
    for (method, status) in [
        ("OPTIONS", 200),
        ("FOO", 501),
        ("SUBSCRIBE", 405),
        ("PUBLISH", 405),
        ("UPDATE", 481),
        ("PRACK", 481),
        ("BYE", 481),
        ("INFO", 481),
    ] {
        let request = Caller::new(method).request(method, None);
        send(&mut bench, &request);
        let response = bench.take_response(status);
        if matches!(status, 200 | 405 | 501) {
            assert!(response.headers.get("Allow").unwrap().contains("INVITE"));
        }
    }
    let mut caller = Caller::new("unknown");
    caller.to_tag = Some("gone".into());
    for method in ["BYE", "INVITE", "INFO", "OPTIONS", "FOO"] {
        let request = caller.request(method, None);
        send(&mut bench, &request);
        bench.take_response(481);
    }
    send(&mut bench, &caller.build("ACK", 1, None));
    bench.nothing_sent();
}

#[test]
fn broken_requests_are_answered_where_they_can_be() {
    let mut bench = Bench::online();
    bench.receive(
        "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/WS x;branch=z9hG4bKo\r\nFrom: <sip:b@c>;tag=1\r\n\
         To: <sip:a@b>\r\nCall-ID: o\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
    );
    bench.take_response(400);
    bench.receive("garbage");
    bench.receive("\u{0}\u{1}");
    bench.nothing_sent();
}

#[test]
fn early_media_goes_out_in_a_183_and_again_in_the_200() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.phone.progress(bench.now, call).unwrap();
    bench.drain();
    assert_eq!(bench.take_response(183).body, ANSWER.as_bytes());
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::EarlyMedia);
    bench.answer(call);
    assert_eq!(bench.take_response(200).body, ANSWER.as_bytes());
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert_eq!(answer_results(&bench), [Ok(())]);
}

#[test]
fn answering_twice_is_refused_and_changes_nothing() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    let error = bench.phone.answer(bench.now, call).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidState);
    bench.hangup(call);
    let error = bench.phone.answer(bench.now, call).unwrap_err();
    assert_eq!(error.code, ErrorCode::Ended);
}

#[test]
fn a_ringing_call_outlives_the_socket() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.cut();
    // The caller's CANCEL may have gone to the other socket.
    let options = bench.take_request("OPTIONS");
    bench.reply(&answer(&options, 200, ""));
    bench.answer(call);
    bench.take_response(200);
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// The caller's CANCEL may have been lost with a socket; a phone must not ring for ever.
#[test]
fn ringing_ends_after_three_minutes() {
    let mut bench = Bench::online();
    let (call, ..) = ringing(&mut bench);
    bench.pass(secs(179));
    bench.nothing_sent();
    bench.pass(secs(2));
    bench.take_response(480);
    let end = bench.end_of(call).unwrap();
    assert!(matches!(&end.cause, EndCause::Failed(error) if error.code == ErrorCode::NoAnswer));
    assert!(bench.phone.calls().is_empty());
}

#[test]
fn a_bye_instead_of_the_ack_ends_what_was_hung_up() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    bench.hangup(call);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(200);
    bench.pass(secs(40));
    bench.nothing_sent();
    assert!(bench.phone.call(call).is_none());
}

/// RFC 6026, section 7.1: an ACK that matches an accepted INVITE goes to the call. Peers that reuse the branch, or
/// that have none of RFC 3261's, would otherwise never be heard to acknowledge.
#[test]
fn an_ack_with_the_branch_of_the_invite_counts() {
    for branch in ["z9hG4bKin1", "1"] {
        let mut bench = Bench::online();
        let mut caller = Caller::new("in");
        let via = format!("SIP/2.0/WSS caller.example.com;branch={branch}");
        let mut invite = caller.request("INVITE", Some(OFFER));
        invite.headers.set("Via", via.clone());
        send(&mut bench, &invite);
        let call = bench.incoming();
        bench.answer(call);
        caller.to_tag = bench.sent[0].headers().to().unwrap().tag().map(str::to_owned);
        let mut ack = caller.ack(1, None);
        ack.headers.set("Via", via);
        send(&mut bench, &ack);
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    }
}

#[test]
fn options_with_an_unknown_extension_names_it() {
    let mut bench = Bench::online();
    let mut options = Caller::new("o").request("OPTIONS", None);
    options.headers.push("Require", "telepathy");
    send(&mut bench, &options);
    let response = bench.take_response(420);
    assert_eq!(response.headers.get("Unsupported"), Some("telepathy"));
}
