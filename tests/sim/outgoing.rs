//! Calls that we make: INVITE, its responses and races (RFC 3261, sections 9.1, 13.2 and 17.1.1; RFC 6026).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, secs, send, with_sdp};
use wasm_softphone::error::{Error, ErrorCode};
use wasm_softphone::phone::{
    CallState, CredentialSource, Credentials, DialRequest, DialStage, EndCause, EndedBy, Event, Input,
    MediaCommand, MediaError, MediaState, MediaValue, PhoneConfig, Secret,
};

fn states(bench: &Bench) -> Vec<CallState> {
    bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::CallState(_, state) => Some(*state),
            _ => None,
        })
        .collect()
}

fn stages(bench: &Bench) -> Vec<DialStage> {
    bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Stage(_, stage) => Some(*stage),
            _ => None,
        })
        .collect()
}

/// RFC 3665, section 3.1.
#[test]
fn a_call_is_made_answered_and_hung_up() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.uri, "sip:bob@example.com");
    assert_eq!(invite.headers.get("Content-Type"), Some("application/sdp"));
    assert_eq!(invite.body, OFFER.as_bytes());
    assert!(invite.headers.get("Via").unwrap().starts_with("SIP/2.0/WSS "));
    assert!(invite.headers.get("Contact").unwrap().contains(".invalid;transport=ws"));
    bench.reply(&answer(&invite, 100, ""));
    bench.reply(&answer(&invite, 180, "b"));
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    let ack = bench.take_request("ACK");
    assert_eq!(ack.uri, "sip:bob@192.0.2.4:5060");
    assert_eq!(ack.headers.get("CSeq"), Some("1 ACK"));
    assert_ne!(
        ack.headers.get("Via"),
        invite.headers.get("Via"),
        "the ACK of a 2xx is a transaction of its own"
    );
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    assert_eq!(bye.headers.get("CSeq"), Some("2 BYE"));
    bench.reply(&answer(&bye, 200, ""));
    use CallState::{Active, Connecting, Ended, New, Ringing};
    assert_eq!(states(&bench), [New, Connecting, Ringing, Active, Ended]);
    assert_eq!(
        stages(&bench),
        [DialStage::Preparing, DialStage::Requesting, DialStage::Ringing, DialStage::Connected]
    );
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Completed, EndedBy::Local));
    assert!(bench.media_closed(call));
    bench.input(Input::Timer);
    assert!(bench.phone.call(call).is_none());
}

#[test]
fn early_media_is_played_before_the_answer() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 183, "b"), ANSWER));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::EarlyMedia);
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    let set: Vec<bool> = bench
        .jobs
        .iter()
        .filter_map(|(_, _, command)| match command {
            MediaCommand::SetAnswer { provisional, .. } => Some(*provisional),
            _ => None,
        })
        .collect();
    assert_eq!(set, [true, false]);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

#[test]
fn an_answer_without_sdp_after_early_media_keeps_the_early_answer() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 183, "b"), ANSWER));
    bench.reply(&answer(&invite, 200, "b"));
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

#[test]
fn an_answer_without_any_sdp_is_ended_politely() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 200, "b"));
    assert_eq!(bench.lines(), ["ACK", "BYE"]);
    assert_eq!(bench.dial_error(call), "not_acceptable");
}

#[test]
fn an_answer_that_the_browser_refuses_is_acknowledged_and_ended() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.nothing_sent();
    bench.jobs.retain(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. }));
    bench.finish_job(Err(MediaError::Description));
    let bye = bench.take_request("BYE");
    assert!(bye.headers.get("Reason").unwrap().contains("488"));
    assert_eq!(bench.dial_error(call), "not_acceptable");
}

#[test]
fn refusals_become_typed_errors() {
    for (status, code) in [
        (302, "redirected"),
        (403, "forbidden"),
        (404, "not_found"),
        (408, "no_answer"),
        (410, "not_found"),
        (480, "no_answer"),
        (484, "not_found"),
        (486, "busy"),
        (488, "not_acceptable"),
        (500, "server_error"),
        (503, "server_error"),
        (600, "busy"),
        (603, "declined"),
        (604, "not_found"),
        (606, "not_acceptable"),
    ] {
        let mut bench = Bench::online();
        let call = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        bench.reply(&answer(&invite, status, "b"));
        let ack = bench.take_request("ACK");
        assert_eq!(ack.headers.get("Via"), invite.headers.get("Via"), "the ACK belongs to the transaction");
        assert_eq!(bench.dial_error(call), code, "{status}");
        let end = bench.end_of(call).unwrap();
        assert_eq!((end.sip_status, end.by), (Some(status), EndedBy::Remote));
        assert!(bench.media_closed(call));
    }
}

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.hangup(call);
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "aborted");
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Cancelled);
    bench.reply(&answer(&invite, 100, ""));
    let cancel = bench.take_request("CANCEL");
    assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
    assert_eq!(cancel.headers.get("CSeq"), Some("1 CANCEL"));
    bench.reply(&answer(&invite, 180, "b"));
    bench.nothing_sent();
    bench.reply(&answer(&cancel, 200, ""));
    bench.reply(&answer(&invite, 487, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
    bench.pass(secs(60));
    bench.nothing_sent();
}

#[test]
fn cancelled_before_any_answer_the_final_response_ends_it() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.hangup(call);
    bench.reply(&answer(&invite, 486, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
}

/// The classic race: the answer crosses the CANCEL.
#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    for provisional in [false, true] {
        let mut bench = Bench::online();
        let call = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        if provisional {
            bench.reply(&answer(&invite, 180, "b"));
        }
        bench.hangup(call);
        bench.sent.clear();
        bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
        let ack = bench.take_request("ACK");
        let bye = bench.take_request("BYE");
        assert_eq!(ack.headers.get("CSeq"), Some("1 ACK"));
        assert_eq!(bye.headers.get("To"), Some("<sip:bob@example.com>;tag=b"));
        bench.reply(&answer(&bye, 200, ""));
        assert_eq!(states(&bench).last(), Some(&CallState::Ended));
        // The ACK was lost on the way: the same again, and no second BYE.
        bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
        assert_eq!(bench.take_request("ACK"), ack);
        bench.nothing_sent();
        bench.pass(secs(33));
        bench.input(Input::Timer);
        assert!(bench.phone.call(call).is_none());
        bench.disconnect();
        assert_eq!(bench.phone.poll_timeout(), None);
    }
}

#[test]
fn a_cancel_that_gets_no_final_response_is_forgotten_after_32_seconds() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    bench.hangup(call);
    bench.take_request("CANCEL");
    bench.pass(secs(33));
    bench.input(Input::Timer);
    assert!(bench.phone.call(call).is_none());
}

/// RFC 3261, section 13.2.2.4; JsSIP ends the good call here.
#[test]
fn the_second_answer_of_a_fork_gets_ack_and_bye_on_its_own_dialog() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b1"));
    bench.reply(&answer(&invite, 180, "b2"));
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), ANSWER));
    bench.take_request("ACK");
    bench.reply(&with_sdp(answer(&invite, 200, "b2"), ANSWER));
    let ack = bench.take_request("ACK");
    let bye = bench.take_request("BYE");
    assert!(ack.headers.get("To").unwrap().ends_with("tag=b2"));
    assert!(bye.headers.get("To").unwrap().ends_with("tag=b2"));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.hangup(call);
    assert!(bench.take_request("BYE").headers.get("To").unwrap().ends_with("tag=b1"));
}

#[test]
fn a_repeated_answer_gets_the_same_ack_again() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    bench.reply(&ok);
    let ack = bench.take_request("ACK");
    bench.pass(ms(500));
    bench.reply(&ok);
    assert_eq!(bench.take_request("ACK"), ack);
    bench.nothing_sent();
    assert_eq!(states(&bench).last(), Some(&CallState::Active));
}

#[test]
fn repeated_answers_of_a_lost_fork_get_no_second_bye() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), ANSWER));
    let other = with_sdp(answer(&invite, 200, "b2"), ANSWER);
    bench.reply(&other);
    bench.lines();
    bench.reply(&other);
    assert_eq!(bench.lines(), ["ACK"]);
}

#[test]
fn a_silent_server_times_out_after_32_seconds() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    bench.pass(secs(31));
    assert!(bench.dial_result(call).is_none());
    bench.pass(secs(2));
    assert_eq!(bench.dial_error(call), "timeout");
    assert!(bench.media_closed(call));
}

#[test]
fn the_applications_own_timeout_cancels() {
    let mut bench = Bench::online();
    let request = DialRequest {
        target: "sip:bob@example.com".into(),
        timeout: Some(secs(10)),
        ..DialRequest::default()
    };
    let call = bench.phone.dial(bench.now, request).unwrap();
    bench.drain();
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    bench.pass(secs(10));
    assert_eq!(bench.lines(), ["CANCEL"]);
    assert_eq!(bench.dial_error(call), "timeout");
    let end = bench.end_of(call).unwrap();
    assert!(matches!(&end.cause, EndCause::Failed(error) if error.code == ErrorCode::Timeout));
}

#[test]
fn ringing_for_ever_ends_after_three_minutes() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    bench.pass(secs(179));
    assert!(bench.dial_result(call).is_none());
    bench.pass(secs(2));
    assert_eq!(bench.dial_error(call), "no_answer");
    assert_eq!(bench.lines(), ["CANCEL"]);
}

#[test]
fn a_challenge_is_answered_and_the_next_call_needs_none_but_the_dialog_gets_no_digest() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut challenge = answer(&invite, 407, "p");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"");
    bench.reply(&challenge);
    assert_eq!(bench.take_request("ACK").headers.get("Via"), invite.headers.get("Via"));
    let second = bench.take_request("INVITE");
    assert_eq!(second.headers.get("CSeq"), Some("2 INVITE"));
    assert_eq!(second.headers.from(), invite.headers.from());
    assert_eq!(second.headers.call_id(), invite.headers.call_id());
    assert_eq!(second.body, invite.body);
    assert!(second.headers.get("Proxy-Authorization").unwrap().contains("nc=00000001"));
    bench.reply(&with_sdp(answer(&second, 200, "b"), ANSWER));
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.get("CSeq"), Some("2 ACK"));
    assert_eq!(ack.headers.get("Proxy-Authorization"), second.headers.get("Proxy-Authorization"));
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    assert_eq!(bye.headers.get("CSeq"), Some("3 BYE"));
    // It goes to the far end (RFC 3261, section 22.1, has the credentials in the ACK alone).
    assert_eq!(bye.headers.get("Proxy-Authorization"), None);
    bench.reply(&answer(&bye, 200, ""));
    bench.dial("sip:bob@example.com");
    let next = bench.take_request("INVITE");
    assert!(next.headers.get("Proxy-Authorization").unwrap().contains("nc=00000002"));
}

#[test]
fn a_wrong_password_fails_the_call_after_one_retry() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    for round in 0..2 {
        let invite = bench.take_request("INVITE");
        let mut challenge = answer(&invite, 407, "p");
        let value = format!("Digest realm=\"example.com\", nonce=\"n{round}\", qop=\"auth\"");
        challenge.headers.push("Proxy-Authenticate", value);
        bench.reply(&challenge);
        bench.take_request("ACK");
    }
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "auth_failed");
}

#[test]
fn hanging_up_while_credentials_are_asked_for_leaves_nothing() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..config() });
    bench.connect();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut challenge = answer(&invite, 407, "p");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\"");
    bench.reply(&challenge);
    bench.take_request("ACK");
    bench.hangup(call);
    assert_eq!(bench.dial_error(call), "aborted");
    let (id, _) = bench.questions.remove(0);
    let credentials = Credentials { username: None, secret: Secret::Password("x".into()), realm: None };
    bench.input(Input::Credentials(id, Some(credentials)));
    bench.nothing_sent();
    assert!(bench.phone.call(call).is_none());
}

#[test]
fn a_refused_microphone_sends_nothing() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Err(MediaError::Denied));
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "media_denied");
}

#[test]
fn hanging_up_during_the_microphone_prompt_sends_nothing_ever() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.hangup(call);
    assert!(bench.media_closed(call));
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "aborted");
}

#[test]
fn candidates_are_waited_for_no_longer_than_told() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    bench.dial("sip:bob@example.com");
    let (call, seq, _) = bench.jobs[0].clone();
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Gathering) });
    bench.pass(ms(499));
    assert_eq!(bench.jobs.len(), 1);
    bench.pass(ms(1));
    assert_eq!(bench.jobs[1], (call, seq, MediaCommand::TakeLocal));
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Local(OFFER.into())) });
    assert_eq!(bench.lines(), ["INVITE"]);
    // Gathering completes later: too late to matter.
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Local(OFFER.into())) });
    bench.nothing_sent();
}

#[test]
fn the_offer_leaves_soon_after_a_useful_candidate() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    bench.dial("sip:bob@example.com");
    let (call, seq, _) = bench.jobs[0].clone();
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Gathering) });
    bench.pass(ms(100));
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Useful) });
    bench.pass(ms(19));
    assert_eq!(bench.jobs.len(), 1);
    bench.pass(ms(1));
    assert_eq!(bench.jobs[1], (call, seq, MediaCommand::TakeLocal));
    // One that comes when the offer has left sets no deadline.
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Local(OFFER.into())) });
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Useful) });
    bench.pass(ms(100));
    assert_eq!(bench.jobs.len(), 2);
    assert_eq!(bench.lines(), ["INVITE"]);
}

#[test]
fn a_call_without_a_media_path_ends_with_ice_failed() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.finish_job(Ok(MediaValue::Applied));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.pass(secs(20));
    assert_eq!(bench.lines(), ["BYE"]);
    let end = bench.end_of(call).unwrap();
    assert!(matches!(&end.cause, EndCause::Failed(error) if error.code == ErrorCode::IceFailed));
    assert_eq!(end.by, EndedBy::Network);
}

#[test]
fn a_media_path_that_comes_back_keeps_the_call() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Reconnecting);
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.nothing_sent();
}

#[test]
fn the_other_side_hangs_up() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    let mut far = Caller::callee(&invite, "b");
    let bye = far.request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE"]);
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.by), (&EndCause::Completed, EndedBy::Remote));
}

#[test]
fn both_hang_up_at_once() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.hangup(call);
    let ours = bench.take_request("BYE");
    let bye = Caller::callee(&invite, "b").request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE"]);
    bench.reply(&answer(&ours, 481, ""));
    bench.input(Input::Timer);
    assert!(bench.phone.call(call).is_none());
}

#[test]
fn a_re_invite_right_behind_the_answer_waits_for_that_to_be_set() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    let reinvite = Caller::callee(&invite, "b").request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.finish_job(Ok(MediaValue::Applied));
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    assert_eq!(bench.lines().last().map(String::as_str), Some("200 INVITE"));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_happens() {
    let mut bench = Bench::online();
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(&str, Headers, &str); 8] = [
        ("bob", &[], "invalid_destination"),
        ("sip:bob@example.com\r\nX: y", &[], "invalid_destination"),
        ("sip:bob@example.com?Subject=x", &[], "invalid_destination"),
        ("mailto:bob@example.com", &[], "invalid_destination"),
        ("sip:bob@example.com", &[("X-A", "b\r\nVia: evil")], "invalid_config"),
        ("sip:bob@example.com", &[("X A", "b")], "invalid_config"),
        ("sip:bob@example.com", &[("Via", "b")], "invalid_config"),
        ("sip:bob@example.com", &[("Authorization", "Basic eA==")], "invalid_config"),
    ];
    for (target, headers, code) in cases {
        let request = DialRequest {
            target: target.into(),
            extra_headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..DialRequest::default()
        };
        let error = bench.phone.dial(bench.now, request).unwrap_err();
        bench.drain();
        assert_eq!(error.code.as_str(), code, "{target} {headers:?}");
        bench.nothing_sent();
        assert_eq!(bench.events, []);
        assert_eq!(bench.jobs, []);
    }
}

#[test]
fn extra_headers_and_names_are_sent() {
    let mut bench = Bench::online();
    let request = DialRequest {
        target: "sip:bob@example.com".into(),
        display_name: Some("Bob \"the\\builder\"".into()),
        extra_headers: vec![("X-Ticket".into(), "42".into())],
        ..DialRequest::default()
    };
    bench.phone.dial(bench.now, request).unwrap();
    bench.drain();
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.get("X-Ticket"), Some("42"));
    assert_eq!(invite.headers.to().unwrap().display_name.as_deref(), Some("Bob \"the\\builder\""));
}

#[test]
fn too_many_calls_are_refused() {
    let mut bench = Bench::online();
    for _ in 0..8 {
        bench.dial("sip:bob@example.com");
    }
    let request = DialRequest { target: "sip:bob@example.com".into(), ..DialRequest::default() };
    let error: Error = bench.phone.dial(bench.now, request).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidState);
}

#[test]
fn responses_that_belong_to_nothing_change_nothing() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut stray = answer(&invite, 200, "b");
    stray.headers.set("Via", "SIP/2.0/WSS x.invalid;branch=z9hG4bKother");
    bench.reply(&stray);
    let mut wrong_method = answer(&invite, 200, "b");
    wrong_method.headers.set("CSeq", "1 OPTIONS");
    bench.reply(&wrong_method);
    bench.nothing_sent();
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Connecting);
}

#[test]
fn an_answer_without_a_to_tag_fails_the_call() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(invite.response(200, None), ANSWER));
    assert_eq!(bench.dial_error(call), "server_error");
}

/// A proxy says 100 before it challenges; that 100 is none of the second INVITE's (RFC 3261, section 9.1).
#[test]
fn a_challenged_call_is_cancelled_at_the_first_1xx_of_its_second_invite() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 100, ""));
    let mut challenge = answer(&invite, 407, "p");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\"");
    bench.reply(&challenge);
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    bench.hangup(call);
    bench.nothing_sent();
    bench.reply(&answer(&invite, 180, "b"));
    let cancel = bench.take_request("CANCEL");
    assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
}

/// RFC 3261, section 9.1: the INVITE transaction goes with the call.
#[test]
fn an_invite_that_is_never_finished_does_not_hold_up_disconnecting() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    bench.hangup(call);
    bench.take_request("CANCEL");
    bench.pass(secs(33));
    bench.disconnect();
    assert!(bench.events.contains(&Event::DisconnectDone));
}
