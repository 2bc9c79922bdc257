//! Requests within a call: re-INVITE, INFO, OPTIONS, order (RFC 3261, sections 12.2 and 14.2; RFC 6086).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Media, OFFER, answer, config, describes, ms, secs, send};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{CallState, Event, MediaCommand, MediaError, MediaValue, PhoneConfig};

const HOLD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
                    m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 127.0.0.1\r\na=sendonly\r\na=rtcp-mux\r\n\
                    a=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA:01\r\na=setup:actpass\r\n";

#[test]
fn the_other_side_holds_and_takes_back() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    for (offer, held) in [(HOLD, true), (OFFER, false)] {
        let reinvite = caller.request("INVITE", Some(offer));
        send(&mut bench, &reinvite);
        assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
        let ack = caller.ack(caller.seq, None);
        send(&mut bench, &ack);
        assert_eq!(bench.phone.call(call).unwrap().remote_hold, held);
        assert!(bench.events.contains(&Event::Hold { call, local: false, remote: held }));
        bench.pass(secs(5));
        bench.nothing_sent();
    }
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_re_invite_without_an_offer_gets_ours() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let reinvite = caller.request("INVITE", None);
    send(&mut bench, &reinvite);
    bench.take_response(100);
    assert!(describes(&bench.take_response(200).body, OFFER));
    let ack = caller.ack(caller.seq, Some(ANSWER));
    send(&mut bench, &ack);
    let set = MediaCommand::SetAnswer { answer: ANSWER.into(), provisional: false };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == set));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// JsSIP hangs up here.
#[test]
fn a_re_invite_that_cannot_be_agreed_leaves_the_call_as_it_was() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Fails;
    let reinvite = caller.request("INVITE", Some(HOLD));
    send(&mut bench, &reinvite);
    assert_eq!(bench.lines(), ["100 INVITE", "488 INVITE"]);
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::Rollback));
    let info = bench.phone.call(call).unwrap();
    assert_eq!((info.state, info.remote_hold), (CallState::Active, false));
    let text = caller.request("INVITE", Some("no sdp"));
    send(&mut bench, &text);
    assert_eq!(bench.lines(), ["488 INVITE"]);
    assert!(bench.end_of(call).is_none());
}

#[test]
fn a_second_re_invite_before_the_first_is_answered_is_told_to_wait() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Manual;
    bench.jobs.clear();
    let first = caller.request("INVITE", Some(HOLD));
    send(&mut bench, &first);
    bench.take_response(100);
    let second = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &second);
    let wait = bench.take_response(500);
    let seconds: u32 = wait.headers.get("Retry-After").unwrap().parse().unwrap();
    assert!(seconds <= 10);
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.take_response(200);
    assert!(bench.phone.call(call).unwrap().remote_hold);
}

#[test]
fn a_re_invite_before_our_answer_is_told_to_wait() {
    let mut bench = Bench::online();
    let (_, mut caller, _) = ringing(&mut bench);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    bench.take_response(500);
}

#[test]
fn a_re_invite_can_be_cancelled_and_the_call_goes_on() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Manual;
    bench.jobs.clear();
    let reinvite = caller.request("INVITE", Some(HOLD));
    send(&mut bench, &reinvite);
    bench.take_response(100);
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.nothing_sent();
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_bye_during_a_re_invite_ends_both() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Manual;
    let reinvite = caller.request("INVITE", Some(HOLD));
    send(&mut bench, &reinvite);
    bench.take_response(100);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE", "487 INVITE"]);
    assert!(bench.end_of(call).is_some());
}

#[test]
fn hanging_up_during_a_re_invite_ends_both() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Manual;
    let reinvite = caller.request("INVITE", Some(HOLD));
    send(&mut bench, &reinvite);
    bench.take_response(100);
    bench.hangup(call);
    assert_eq!(bench.lines(), ["487 INVITE", "BYE"]);
}

#[test]
fn a_re_invite_moves_the_remote_target() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let mut reinvite = caller.request("INVITE", Some(OFFER));
    reinvite.headers.set("Contact", "<sip:bob@198.51.100.9:5080>");
    send(&mut bench, &reinvite);
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.lines();
    bench.hangup(call);
    assert_eq!(bench.take_request("BYE").uri, "sip:bob@198.51.100.9:5080");
}

#[test]
fn the_answer_to_a_re_invite_is_repeated_until_acknowledged() {
    let mut bench = Bench::online();
    let (_, mut caller) = answered(&mut bench);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    bench.lines();
    bench.pass(ms(1_600));
    assert_eq!(bench.lines(), ["200 INVITE", "200 INVITE"]);
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.pass(secs(10));
    bench.nothing_sent();
}

#[test]
fn requests_out_of_order_get_500() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    caller.seq = 10;
    let info = caller.request("INFO", None);
    send(&mut bench, &info);
    bench.take_response(200);
    caller.seq = 5;
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(500);
    assert!(bench.end_of(call).is_none());
}

#[test]
fn other_requests_within_a_call_are_answered() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    for (method, status) in [("OPTIONS", 200), ("INFO", 200), ("UPDATE", 200), ("REFER", 400), ("FOO", 501)] {
        let request = caller.request(method, None);
        send(&mut bench, &request);
        bench.take_response(status);
    }
    let mut request = caller.request("INFO", None);
    request.headers.push("Require", "telepathy");
    send(&mut bench, &request);
    bench.take_response(420);
    assert!(bench.end_of(call).is_none());
}

#[test]
fn a_bye_ends_the_call_whatever_it_requires() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let mut bye = caller.request("BYE", None);
    bye.headers.push("Require", "telepathy");
    send(&mut bench, &bye);
    bench.take_response(200);
    assert!(bench.end_of(call).is_some());
}

#[test]
fn a_stranger_who_knows_only_the_call_id_gets_481() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    caller.tag = "stranger".into();
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(481);
    assert!(bench.end_of(call).is_none());
}

#[test]
fn dtmf_in_info_is_told() {
    for (kind, body, tone) in [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Some('5')),
        ("application/dtmf-relay", "signal= #\r\n", Some('#')),
        ("application/dtmf-relay", "Signal=11\r\n", Some('#')),
        ("application/dtmf; charset=x", "a", Some('A')),
        ("application/dtmf", "10", Some('*')),
        ("application/dtmf", "12", None),
        ("application/dtmf", "", None),
        ("application/dtmf-relay", "Duration=160\r\n", None),
        ("text/plain", "5", None),
    ] {
        let mut bench = Bench::online();
        let (call, mut caller) = answered(&mut bench);
        let mut info = caller.request("INFO", None);
        info.headers.push("Content-Type", kind);
        info.body = body.as_bytes().to_vec();
        send(&mut bench, &info);
        bench.take_response(200);
        let told = bench.events.iter().find_map(|event| match event {
            Event::Dtmf(id, tone) if *id == call => Some(*tone),
            _ => None,
        });
        assert_eq!(told, tone, "{kind} {body:?}");
    }
}

#[test]
fn our_info_reports_its_outcome() {
    for (status, ok) in [(200, true), (415, false), (408, false), (481, false)] {
        let mut bench = Bench::online();
        let (call, _) = answered(&mut bench);
        bench
            .phone
            .send_info(bench.now, call, "application/dtmf-relay", "Signal=1\r\nDuration=160\r\n")
            .unwrap();
        bench.drain();
        let info = bench.take_request("INFO");
        assert_eq!(info.headers.get("Content-Type"), Some("application/dtmf-relay"));
        bench.reply(&answer(&info, status, ""));
        let result = bench.events.iter().find_map(|event| match event {
            Event::InfoDone(_, result) => Some(result.is_ok()),
            _ => None,
        });
        assert_eq!(result, Some(ok));
        // RFC 3261, section 12.2.1.2: 481 ends the dialog, other refusals do not.
        assert_eq!(bench.end_of(call).is_some(), status == 481);
    }
}

#[test]
fn an_info_that_is_under_way_when_the_call_ends_is_settled() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    let results = bench.events.iter().filter(|event| matches!(event, Event::InfoDone(_, Err(_)))).count();
    assert_eq!(results, 1);
    let info = bench.take_request("INFO");
    bench.reply(&answer(&info, 200, ""));
    assert_eq!(bench.events.iter().filter(|event| matches!(event, Event::InfoDone(..))).count(), 1);
}

#[test]
fn info_cannot_carry_a_header_in() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    let error = bench.phone.send_info(bench.now, call, "text/plain\r\nVia: evil", "x").unwrap_err();
    assert_eq!(error.code.as_str(), "invalid_config");
    bench.nothing_sent();
}

#[test]
fn media_that_fails_late_does_not_disturb_a_call_that_is_up() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    let (id, seq, _) = bench.jobs[0].clone();
    bench.input(wasm_softphone::phone::Input::MediaDone {
        call: id,
        seq,
        result: Err(MediaError::Unavailable),
    });
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn hanging_up_before_the_ack_of_a_re_invite_sends_one_bye() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    bench.take_response(100);
    bench.take_response(200);
    bench.hangup(call);
    bench.take_request("BYE");
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.pass(secs(31));
    bench.nothing_sent();
}

#[test]
fn an_info_that_waits_for_credentials_when_the_call_ends_is_settled_and_not_sent() {
    let mut bench =
        Bench::new(PhoneConfig { credentials: wasm_softphone::phone::CredentialSource::Ask, ..config() });
    bench.connect();
    // Within a call only a realm that is known from elsewhere is answered.
    bench.dial("sip:carol@example.com");
    let invite = bench.take_request("INVITE");
    let mut challenge = answer(&invite, 407, "");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\"");
    bench.reply(&challenge);
    bench.take_request("ACK");
    let (question, _) = bench.questions.remove(0);
    bench.input(wasm_softphone::phone::Input::Credentials(question, None));
    let (call, mut caller) = answered(&mut bench);
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    let info = bench.take_request("INFO");
    let mut challenge = answer(&info, 407, "");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\"");
    bench.reply(&challenge);
    let (question, _) = bench.questions.remove(0);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(200);
    let done = |bench: &Bench| bench.events.iter().filter(|e| matches!(e, Event::InfoDone(..))).count();
    assert_eq!(done(&bench), 1);
    let secret = wasm_softphone::phone::Secret::Password("x".into());
    let credentials = wasm_softphone::phone::Credentials { username: None, secret, realm: None };
    bench.input(wasm_softphone::phone::Input::Credentials(question, Some(credentials)));
    bench.nothing_sent();
    assert_eq!(done(&bench), 1);
}

#[test]
fn nothing_is_told_of_a_call_after_its_end() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.hangup(call);
    bench.events.clear();
    let mut info = caller.request("INFO", None);
    info.headers.push("Content-Type", "application/dtmf");
    info.body = b"1".to_vec();
    send(&mut bench, &info);
    assert_eq!(bench.events, []);
}

/// The registration fails for good while a call that did not wait for it is up.
#[test]
fn an_info_is_settled_when_connecting_is_given_up() {
    let mut bench = Bench::new(PhoneConfig { register: true, ..config() });
    bench.connect();
    let register = bench.take_request("REGISTER");
    let (call, _) = answered(&mut bench);
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    bench.reply(&register.response(403, None));
    assert!(bench.end_of(call).is_some());
    assert_eq!(bench.events.iter().filter(|event| matches!(event, Event::InfoDone(..))).count(), 1);
}
