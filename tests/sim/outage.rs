//! Requests and responses that were under way when the socket was lost (src/phone/outage.rs).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, secs, send, with_sdp};
use crate::incoming::{answered, ringing};
use crate::recovery::{register, registering, talking};
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallId, CallState, ConnectionState, EndCause, Event, Input, MediaState, MediaValue, MessageRequest,
    PhoneConfig,
};
use wasm_softphone::sip::message::{Message, Method, Request};

/// A call that rings at the far end.
fn calling(bench: &mut Bench) -> (CallId, Request) {
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    (call, invite)
}

/// The server is there again; the phone finds it.
fn come_back(bench: &mut Bench) {
    bench.reachable = true;
    let begin = bench.now;
    while bench.phone.connection() != ConnectionState::Connected {
        bench.pass(ms(50));
        assert!(bench.now - begin < secs(14), "it does not come back");
    }
}

fn accept(bench: &mut Bench, invite: &Request, tag: &str) {
    bench.reply(&with_sdp(answer(invite, 200, tag), ANSWER));
    bench.take_request("ACK");
}

// ---- calls that are being made

/// A server that has it answers the repetition, one that never got it takes it on.
#[test]
fn an_invite_is_sent_again_and_the_call_goes_on() {
    for status in [100, 180] {
        let mut bench = Bench::new(registering());
        bench.connect();
        register(&mut bench);
        let (call, invite) = calling(&mut bench);
        bench.cut();
        register(&mut bench);
        assert_eq!(bench.take_request("INVITE"), invite, "the same transaction");
        bench.reply(&answer(&invite, status, "b"));
        bench.pass(secs(30));
        bench.nothing_sent();
        accept(&mut bench, &invite, "b");
        assert_eq!(bench.dial_result(call), Some(&Ok(())));
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    }
}

#[test]
fn an_invite_that_had_no_response_yet_is_sent_again_too() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reachable = false;
    bench.cut();
    // Longer than any transaction lasts.
    bench.pass(secs(50));
    assert!(bench.end_of(call).is_none());
    come_back(&mut bench);
    assert_eq!(bench.take_request("INVITE"), invite);
    accept(&mut bench, &invite, "b");
}

#[test]
fn an_offer_that_is_made_during_the_outage_waits() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.reachable = false;
    bench.cut();
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    assert!(bench.end_of(call).is_none());
    come_back(&mut bench);
    bench.take_request("INVITE");
    // It was never sent before: it has the time that any INVITE has.
    bench.pass(secs(20));
    assert!(bench.end_of(call).is_none());
    bench.pass(secs(13));
    assert_eq!(bench.dial_error(call), "timeout");
}

/// The server has it, and its responses go to the socket that is gone (RFC 3261, section 18.2.2).
#[test]
fn an_invite_that_brings_nothing_gives_way_to_a_new_one() {
    let mut bench = Bench::online();
    let (call, invite) = calling(&mut bench);
    bench.cut();
    assert_eq!(bench.take_request("INVITE"), invite);
    bench.pass(ms(3_900));
    bench.nothing_sent();
    bench.pass(ms(200));
    let cancel = bench.take_request("CANCEL");
    assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
    // Somebody may have answered, and waits for an ACK that never comes.
    let bye = bench.take_request("BYE");
    assert_eq!(bye.headers.to_tag().as_deref(), Some("b"));
    assert_eq!(bye.headers.from_tag(), invite.headers.from_tag());
    let anew = bench.take_request("INVITE");
    assert_ne!(anew.headers.from_tag(), invite.headers.from_tag());
    assert_eq!(anew.headers.call_id(), invite.headers.call_id());
    assert_eq!(anew.body, invite.body);
    // What comes of the old one is ended, and does not touch the new one.
    bench.reply(&with_sdp(answer(&invite, 200, "late"), ANSWER));
    assert_eq!(bench.lines(), ["ACK", "BYE"]);
    bench.reply(&answer(&anew, 180, "c"));
    accept(&mut bench, &anew, "c");
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

/// The server was restarted, and the called phone has the INVITE already.
#[test]
fn an_invite_that_is_there_twice_gives_way_to_a_new_one() {
    let mut bench = Bench::online();
    let (call, invite) = calling(&mut bench);
    bench.cut();
    bench.take_request("INVITE");
    bench.reply(&answer(&invite, 100, ""));
    bench.reply(&answer(&invite, 482, "b"));
    assert_eq!(bench.lines(), ["ACK", "BYE", "INVITE"]);
    assert!(bench.end_of(call).is_none());
    // Without a loss it is what it says.
    let mut bench = Bench::online();
    let (call, invite) = calling(&mut bench);
    bench.reply(&answer(&invite, 482, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(bench.end_of(call).is_some());
}

/// The next INVITE; what rang before it may be told BYE first.
fn take_invite(bench: &mut Bench) -> Request {
    bench
        .sent
        .retain(|message| !matches!(message, Message::Request(request) if request.method == Method::Bye));
    bench.take_request("INVITE")
}

/// The other phone comes back a moment later than this one.
#[test]
fn who_rang_before_is_asked_for_again_until_back() {
    for rang in [true, false] {
        let mut bench = Bench::online();
        let call = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        if rang {
            bench.reply(&answer(&invite, 180, "b"));
        }
        bench.cut();
        let again = bench.take_request("INVITE");
        bench.reply(&answer(&again, 480, "p"));
        assert_eq!(bench.lines(), ["ACK"]);
        if !rang {
            assert!(bench.end_of(call).is_some());
            continue;
        }
        for wait in [1000, 2000] {
            bench.pass(ms(wait - 10));
            bench.nothing_sent();
            bench.pass(ms(20));
            let anew = take_invite(&mut bench);
            assert_ne!(anew.headers.from_tag(), again.headers.from_tag());
            bench.reply(&answer(&anew, 404, "p"));
            assert_eq!(bench.lines(), ["ACK"]);
        }
        bench.pass(ms(4010));
        let anew = take_invite(&mut bench);
        bench.reply(&answer(&anew, 180, "c"));
        accept(&mut bench, &anew, "c");
        assert_eq!(bench.dial_result(call), Some(&Ok(())));
    }
}

/// It rings again, and nobody answers: that is the end.
#[test]
fn who_rings_again_and_does_not_answer_is_not_asked_for() {
    let mut bench = Bench::online();
    let (call, _) = calling(&mut bench);
    bench.cut();
    let again = bench.take_request("INVITE");
    bench.reply(&answer(&again, 180, "b"));
    bench.reply(&answer(&again, 408, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.end_of(call).unwrap().sip_status, Some(408));
}

/// It does not come back; or it is given up while nobody is asked.
#[test]
fn who_rang_before_is_not_asked_for_for_ever() {
    for given_up in [false, true] {
        let mut bench = Bench::online();
        let (call, _) = calling(&mut bench);
        bench.cut();
        let mut invites = 0;
        while bench.end_of(call).is_none() {
            let invite = take_invite(&mut bench);
            invites += 1;
            bench.reply(&answer(&invite, 480, "p"));
            bench.lines();
            if given_up {
                bench.hangup(call);
                break;
            }
            bench.pass(ms(4010));
        }
        assert_eq!(invites, if given_up { 1 } else { 4 });
        let end = bench.end_of(call).unwrap();
        assert_eq!(end.sip_status, (!given_up).then_some(480));
        bench.pass(secs(40));
        bench.nothing_sent();
    }
}

#[test]
fn an_invite_is_not_made_anew_for_ever() {
    let mut bench = Bench::online();
    let (call, _) = calling(&mut bench);
    let mut invites = 0;
    for _ in 0..10 {
        bench.cut();
        bench.pass(secs(13));
        invites += bench.lines().iter().filter(|line| *line == "INVITE").count();
    }
    assert!(bench.end_of(call).is_some());
    assert!((2..=10).contains(&invites), "{invites}");
}

#[test]
fn a_call_that_is_given_up_during_the_outage_is_cancelled() {
    for rang in [false, true] {
        let mut bench = Bench::online();
        let call = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        if rang {
            bench.reply(&answer(&invite, 180, "b"));
        }
        bench.reachable = false;
        bench.cut();
        bench.hangup(call);
        assert!(bench.end_of(call).is_some());
        bench.pass(secs(45));
        come_back(&mut bench);
        let cancel = bench.take_request("CANCEL");
        assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
        bench.nothing_sent();
        bench.reply(&answer(&cancel, 200, ""));
        // The answer had crossed.
        bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
        assert_eq!(bench.lines(), ["ACK", "BYE"]);
    }
}

#[test]
fn what_never_left_is_not_cancelled() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.reachable = false;
    bench.cut();
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    bench.hangup(call);
    come_back(&mut bench);
    bench.pass(secs(30));
    bench.nothing_sent();
    assert!(bench.phone.call(call).is_none());
}

// ---- calls that ring here

#[test]
fn answering_while_there_is_no_connection_is_kept() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.reachable = false;
    bench.cut();
    bench.answer(call);
    bench.pass(secs(50));
    bench.nothing_sent();
    assert!(bench.end_of(call).is_none());
    come_back(&mut bench);
    let ok = bench.take_response(200);
    assert!(!ok.body.is_empty());
    send(&mut bench, &caller.ack(caller.seq, None));
    let done = bench.events.iter().find_map(|event| match event {
        Event::AnswerDone(id, result) if *id == call => Some(result.is_ok()),
        _ => None,
    });
    assert_eq!(done, Some(true));
}

/// The other side cannot begin with its media before it has our answer.
#[test]
fn what_is_answered_without_a_connection_has_its_time_for_the_media_afterwards() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.media = Media::Manual;
    bench.reachable = false;
    bench.cut();
    bench.answer(call);
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.pass(secs(45));
    assert!(bench.end_of(call).is_none());
    come_back(&mut bench);
    bench.take_response(200);
    bench.pass(secs(15));
    assert!(bench.end_of(call).is_none());
    bench.sent.clear();
    send(&mut bench, &caller.ack(caller.seq, None));
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    bench.pass(secs(60));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_caller_who_has_given_up_meanwhile_is_no_longer_waited_for() {
    let mut bench = Bench::online();
    let (call, ..) = ringing(&mut bench);
    bench.cut();
    let options = bench.take_request("OPTIONS");
    assert!(options.headers.to_tag().is_some());
    bench.reply(&answer(&options, 481, ""));
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Cancelled);
}

#[test]
fn a_refusal_during_the_outage_is_said_afterwards() {
    let mut bench = Bench::online();
    let (call, ..) = ringing(&mut bench);
    bench.reachable = false;
    bench.cut();
    bench.reject(call, Some(486));
    bench.pass(secs(40));
    come_back(&mut bench);
    bench.take_response(486);
}

#[test]
fn a_call_does_not_ring_through_a_long_outage() {
    let mut bench = Bench::online();
    let (call, ..) = ringing(&mut bench);
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(61));
    let EndCause::Failed(error) = &bench.end_of(call).unwrap().cause else { panic!() };
    assert_eq!(error.code, ErrorCode::Transport);
}

/// The ACK was lost with the socket.
#[test]
fn a_200_without_its_ack_gets_its_full_time_on_the_next_socket() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    bench.pass(secs(20));
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(30));
    assert!(bench.end_of(call).is_none());
    come_back(&mut bench);
    assert!(bench.lines().iter().all(|line| line == "200 INVITE"));
    send(&mut bench, &caller.ack(caller.seq, None));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

// ---- a server that has forgotten everything

/// The caller's phone has sent its INVITE again, or made it anew, and the restarted server knows of no earlier one.
#[test]
fn a_call_that_rings_goes_on_ringing_over_the_way_that_is_there_now() {
    for (answered, anew) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut bench = Bench::online();
        let (call, mut caller, _) = ringing(&mut bench);
        if answered {
            bench.answer(call);
            bench.take_response(200);
        }
        let tag = caller.to_tag.take();
        let copy = caller.build("INVITE", caller.seq, Some(OFFER)).to_text().unwrap();
        caller.to_tag = tag;
        let again = copy.replace("branch=z9hG4bK", "branch=z9hG4bKother");
        // While the first way is there, it is a copy.
        bench.receive(&again.replace("other", "early"));
        bench.take_response(482);
        bench.cut();
        bench.lines();
        if anew {
            (caller.tag, caller.seq) = ("anew".into(), caller.seq + 1);
            let mut invite = Caller { to_tag: None, ..Caller::new(&caller.call_id) };
            (invite.tag, invite.branch) = (caller.tag.clone(), 7);
            let made = invite.build("INVITE", caller.seq, Some(OFFER)).to_text().unwrap();
            bench.receive(&made.replace("branch=z9hG4bK", "branch=z9hG4bKother"));
        } else {
            bench.receive(&again);
        }
        let status = if answered { 200 } else { 180 };
        let response = bench.take_response(status);
        assert!(response.headers.get("Via").unwrap().contains("z9hG4bKother"));
        assert_eq!(response.headers.to_tag(), caller.to_tag);
        if !answered {
            bench.answer(call);
            let ok = bench.take_response(200);
            assert!(ok.headers.get("Via").unwrap().contains("z9hG4bKother"));
        }
        send(&mut bench, &caller.ack(caller.seq, None));
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
        let incoming = bench.events.iter().filter(|event| matches!(event, Event::Incoming(_))).count();
        assert_eq!(incoming, 1, "it rings once");
        bench.lines();
        send(&mut bench, &caller.request("BYE", None));
        bench.take_response(200);
        assert!(bench.end_of(call).is_some());
    }
}

/// The same Call-ID with another offer, or of somebody else, is another call.
#[test]
fn what_is_not_the_same_call_does_not_take_its_place() {
    for other in ["offer", "caller"] {
        let mut bench = Bench::online();
        let (call, caller, _) = ringing(&mut bench);
        bench.cut();
        bench.lines();
        let invite = Caller { tag: "anew".into(), branch: 7, ..Caller::new(&caller.call_id) };
        let text = invite.build("INVITE", 9, Some(OFFER)).to_text().unwrap();
        let text = match other {
            "offer" => text.replace("a=sendrecv", "a=sendonly"),
            _ => text.replace("sip:bob@example.com>;tag", "sip:eve@example.com>;tag"),
        };
        bench.receive(&text);
        assert_ne!(bench.take_response(180).headers.to_tag(), None);
        assert_eq!(bench.phone.calls().len(), 2, "{other}");
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Ringing);
    }
}

#[test]
fn what_comes_again_over_the_next_socket_is_not_done_twice() {
    let mut bench = Bench::online();
    let (_, mut caller) = answered(&mut bench);
    let mut info = caller.request("INFO", None);
    info.headers.push("Content-Type", "application/dtmf");
    info.body = b"5".to_vec();
    let message = "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/WSS x;branch=z9hG4bKm\r\nFrom: <sip:b@c>;tag=1\r\n\
                   To: <sip:a@b>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n\
                   Content-Length: 3\r\n\r\nhej";
    let info = info.to_text().unwrap();
    for round in 0..3 {
        // A restarted proxy gives it another branch.
        for text in [message, &info] {
            bench.receive(&text.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{round}")));
            bench.take_response(200);
        }
        bench.cut();
        come_back(&mut bench);
        bench.lines();
    }
    let told = |fits: fn(&Event) -> bool| bench.events.iter().filter(|event| fits(event)).count();
    assert_eq!(told(|event| matches!(event, Event::Message { .. })), 1);
    assert_eq!(told(|event| matches!(event, Event::Dtmf(..))), 1);
}

// ---- within calls

#[test]
fn what_was_asked_within_the_call_is_asked_again_once() {
    let (mut bench, call, _) = talking(config(), true);
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    let info = bench.take_request("INFO");
    bench.cut();
    assert_eq!(bench.take_request("INFO"), info, "the same transaction");
    bench.take_request("UPDATE");
    bench.nothing_sent();
    bench.reply(&answer(&info, 200, ""));
    let done = bench.events.iter().filter(|event| matches!(event, Event::InfoDone(_, Ok(())))).count();
    assert_eq!(done, 1);
    bench.cut();
    assert!(!bench.lines().contains(&"INFO".to_owned()), "it was answered");
}

#[test]
fn what_is_asked_during_the_outage_is_asked_afterwards() {
    let (mut bench, call, _) = talking(config(), true);
    bench.reachable = false;
    bench.cut();
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    bench.pass(secs(45));
    bench.nothing_sent();
    come_back(&mut bench);
    assert_eq!(bench.lines(), ["INFO", "UPDATE"]);
}

#[test]
fn a_re_invite_whose_answer_was_lost_is_acknowledged_and_made_anew() {
    let (mut bench, call, _) = talking(config(), false);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let lost = bench.take_request("INVITE");
    bench.reply(&answer(&lost, 100, ""));
    bench.cut();
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.seq(), lost.headers.seq());
    assert_ne!(ack.headers.get("Via"), lost.headers.get("Via"), "that of a 2xx");
    let cancel = bench.take_request("CANCEL");
    assert_eq!(cancel.headers.get("Via"), lost.headers.get("Via"));
    let anew = bench.take_request("INVITE");
    assert!(anew.headers.seq() > lost.headers.seq());
    // The first one is still open there (RFC 3261, section 14.2): again, later.
    bench.reply(&answer(&anew, 500, ""));
    bench.take_request("ACK");
    bench.pass(secs(9));
    assert!(bench.phone.call(call).unwrap().local_hold, "the wish stays");
    let again = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&again, 200, ""), &ANSWER.replace("sendrecv", "recvonly")));
    bench.take_request("ACK");
    assert!(bench.events.iter().any(|event| matches!(event, Event::HoldDone(_, Ok(())))));
}

#[test]
fn the_other_sides_re_invite_is_answered_on_the_next_socket() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.jobs.clear();
    bench.media = Media::Manual;
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    bench.take_response(100);
    bench.reachable = false;
    bench.cut();
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.pass(secs(40));
    assert!(bench.end_of(call).is_none());
    bench.media = Media::Prompt;
    come_back(&mut bench);
    assert!(bench.lines().iter().any(|line| line == "200 INVITE"));
}

// ---- the end

#[test]
fn disconnecting_while_there_is_no_connection_says_goodbye_on_the_next() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.reachable = false;
    bench.cut();
    bench.disconnect();
    assert!(bench.end_of(call).is_some());
    assert!(!bench.events.contains(&Event::DisconnectDone));
    bench.pass(ms(300));
    bench.open_late();
    let bye = bench.take_request("BYE");
    let removal = bench.take_request("REGISTER");
    assert_eq!(removal.headers.get("Expires"), Some("0"));
    bench.reply(&answer(&bye, 200, ""));
    bench.reply(&removal.response(200, None));
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    bench.pass(secs(100));
    assert_eq!(bench.phone.poll_timeout(), None);
}

#[test]
fn disconnecting_without_a_server_takes_two_seconds() {
    let (mut bench, ..) = talking(registering(), true);
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(6));
    bench.disconnect();
    bench.pass(ms(1_900));
    assert!(!bench.events.contains(&Event::DisconnectDone));
    bench.pass(ms(200));
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.phone.poll_timeout(), None);
}

#[test]
fn a_bye_waits_for_longer_than_a_transaction_lasts() {
    let (mut bench, call, _) = talking(config(), true);
    bench.reachable = false;
    bench.cut();
    bench.hangup(call);
    bench.pass(secs(50));
    come_back(&mut bench);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.nothing_sent();
}

// ---- outside calls

#[test]
fn what_is_under_way_is_kept_for_as_long_as_the_grace() {
    let mut bench = Bench::new(PhoneConfig { signalling_grace: secs(5), ..config() });
    bench.connect();
    let message = MessageRequest {
        target: "sip:bob@example.com".into(),
        content_type: "text/plain".into(),
        body: "hej".into(),
        ..MessageRequest::default()
    };
    let id = bench.phone.send_message(bench.now, message).unwrap();
    bench.drain();
    bench.reachable = false;
    bench.cut();
    bench.pass(ms(4_900));
    assert!(!bench.events.iter().any(|event| matches!(event, Event::RequestDone(..))));
    bench.pass(ms(200));
    let done = bench.events.iter().find_map(|event| match event {
        Event::RequestDone(of, Err(error)) if *of == id => Some(error.code),
        _ => None,
    });
    assert_eq!(done, Some(ErrorCode::Transport));
}

/// What the phone keeps is bounded, whatever comes in while there is no connection.
#[test]
fn a_caller_is_found_again_by_its_dialog() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("gone");
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    bench.cut();
    assert_eq!(bench.lines(), ["180 INVITE", "OPTIONS"]);
}

/// Registered, and in a call that has lost its connection. The REGISTER over the next one is out.
fn in_a_call_and_cut(before: impl FnOnce(&mut Bench, CallId)) -> (Bench, CallId, Request) {
    let mut bench = Bench::new(PhoneConfig { register: true, ..config() });
    bench.connect();
    let register = bench.take_request("REGISTER");
    bench.reply(&register.response(200, None));
    let (call, _) = answered(&mut bench);
    before(&mut bench, call);
    bench.cut();
    let register = bench.take_request("REGISTER");
    (bench, call, register)
}

#[test]
fn a_call_goes_on_while_the_registrar_refuses() {
    for status in [403, 500] {
        let (mut bench, call, register) = in_a_call_and_cut(|_, _| {});
        bench.reply(&register.response(status, None));
        let reinvite = bench.take_request("INVITE");
        bench.reply(&with_sdp(answer(&reinvite, 200, ""), ANSWER));
        bench.take_request("ACK");
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active, "{status}");
        // And the registrar is asked again.
        bench.pass(secs(120));
        assert!(bench.lines().contains(&"REGISTER".into()), "{status}");
    }
}

/// RFC 3261, section 12.2.2: a lower number is refused.
#[test]
fn what_waits_for_the_registration_goes_before_what_was_made_later() {
    let (mut bench, call, register) = in_a_call_and_cut(|bench, call| {
        bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
        bench.drain();
        bench.take_request("INFO");
    });
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.nothing_sent();
    bench.reply(&register.response(200, None));
    let seqs = bench.sent.iter().map(|message| message.headers().seq().unwrap());
    assert!(seqs.is_sorted(), "{:?}", bench.lines());
    assert_eq!(bench.lines()[..2], ["INFO", "INVITE"]);
}
