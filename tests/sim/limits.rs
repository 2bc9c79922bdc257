//! Each limit at its value and one beyond it: what is beyond has an outcome that can be told from others, and nothing
//! else is lost.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, config, secs, send, with_sdp};
use crate::incoming::answered;
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallState, DialRequest, Event, MessageRequest, PhoneConfig, SubscribeRequest, TransferTarget,
};
use wasm_softphone::sip::message::{Headers, Message, Request};
use wasm_softphone::sip::wire::{MAX_HEADER, MAX_HEADERS, MAX_MESSAGE};

/// A phone with a call that must not notice anything.
fn in_a_call() -> (Bench, Caller) {
    let mut bench = Bench::online();
    let (_, caller) = answered(&mut bench);
    (bench, caller)
}

/// The call is up and answers, whatever was refused besides.
fn still_in_the_call(bench: &mut Bench, caller: &mut Caller) {
    bench.sent.clear();
    let info = caller.request("INFO", None);
    send(bench, &info);
    bench.take_response(200);
    assert_eq!(bench.phone.calls()[0].state, CallState::Active);
}

fn options() -> Request {
    Caller::new("limits").request("OPTIONS", None)
}

#[test]
fn message_size() {
    let (mut bench, mut caller) = in_a_call();
    let bare = options().to_text().unwrap().len();
    for (size, status) in [(MAX_MESSAGE, 200), (MAX_MESSAGE + 1, 513)] {
        let length = size - bare - "Content-Type: text/plain\r\n".len() - 4;
        let text = options().to_text().unwrap().replace(
            "Content-Length: 0\r\n",
            &format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n"),
        ) + &"x".repeat(length);
        assert_eq!(text.len(), size);
        bench.receive(&text);
        bench.take_response(status);
    }
    still_in_the_call(&mut bench, &mut caller);
}

#[test]
fn header_count() {
    let (mut bench, mut caller) = in_a_call();
    for (most, status) in [(MAX_HEADERS, 200), (MAX_HEADERS + 1, 400)] {
        for name in ["X-A", "Via"] {
            // An answer that repeats them has one more, Supported.
            let count = if name == "Via" && status == 200 { most - 1 } else { most };
            let mut request = options();
            let more = count - request.headers.iter().count();
            let values = vec!["SIP/2.0/UDP h"; more];
            // Each on a line, or all of them in a list.
            match name {
                "Via" => request.headers.push(name, values.join(",")),
                _ => values.into_iter().for_each(|value| request.headers.push(name, value)),
            }
            send(&mut bench, &request);
            let response = bench.take_response(status);
            assert!(status == 200 || response.reason.ends_with("too many headers"), "{}", response.reason);
        }
    }
    still_in_the_call(&mut bench, &mut caller);
}

#[test]
fn header_length() {
    let (mut bench, mut caller) = in_a_call();
    for (length, status) in [(MAX_HEADER, 200), (MAX_HEADER + 1, 400)] {
        // In one piece, and folded.
        for fold in ["x", "\r\n "] {
            let half = "x".repeat(length / 2);
            let rest = "x".repeat(length - length / 2 - 1);
            let text = options().to_text().unwrap().replacen(
                "Max-Forwards",
                &format!("X-A: {half}{fold}{rest}\r\nMax-Forwards"),
                1,
            );
            bench.receive(&text);
            let response = bench.take_response(status);
            assert!(status == 200 || response.reason.ends_with("header too long"), "{}", response.reason);
        }
    }
    still_in_the_call(&mut bench, &mut caller);
}

#[test]
fn what_is_sent() {
    let (mut bench, mut caller) = in_a_call();
    let message = |length: usize, headers: usize| MessageRequest {
        target: "sip:bob@example.com".into(),
        content_type: "text/plain".into(),
        body: "x".repeat(length),
        extra_headers: vec![("X-A".into(), "y".repeat(2048)); headers],
    };
    let mut outcome = |length, headers| {
        let now = bench.now;
        let result = bench.phone.send_message(now, message(length, headers)).map(|_| ());
        bench.drain();
        bench.sent.clear();
        result.map_err(|error| error.code)
    };
    assert_eq!(outcome(60 * 1024, 0), Ok(()));
    assert_eq!(outcome(60 * 1024 + 1, 0), Err(ErrorCode::InvalidConfig));
    // All of it together.
    assert_eq!(outcome(60 * 1024, 1), Ok(()));
    assert_eq!(outcome(60 * 1024, 2), Err(ErrorCode::InvalidConfig));
    still_in_the_call(&mut bench, &mut caller);
}

#[test]
fn calls() {
    let max = config().max_calls;
    let mut bench = Bench::online();
    let mut up = Vec::new();
    for number in 0..max {
        let mut caller = Caller::new(&format!("call{number}"));
        send(&mut bench, &caller.request("INVITE", Some(OFFER)));
        caller.to_tag = bench.take_response(180).headers.to_tag();
        let id = bench.incoming();
        bench.answer(id);
        bench.take_response(200);
        send(&mut bench, &caller.ack(1, None));
        up.push((id, caller));
    }
    let before = bench.phone.calls();
    assert_eq!(before.len(), max);
    bench.sent.clear();
    let request = || DialRequest { target: "sip:bob@example.com".into(), ..DialRequest::default() };
    let refused = bench.phone.dial(bench.now, request()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidState);
    let mut late = Caller::new("late");
    send(&mut bench, &late.request("INVITE", Some(OFFER)));
    assert_eq!(bench.lines(), ["486 INVITE"]);
    assert_eq!(bench.phone.calls(), before);
    // One less is enough.
    let (first, mut caller) = up.remove(0);
    send(&mut bench, &caller.request("BYE", None));
    bench.take_response(200);
    assert!(bench.end_of(first).is_some());
    send(&mut bench, &late.request("INVITE", Some(OFFER)));
    bench.take_response(180);
}

/// Forks that ring: the seventeenth is not told apart, but it may be the one that answers.
#[test]
fn early_dialogs() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    for fork in 0..17 {
        let mut ringing = answer(&invite, 180, &format!("fork{fork}"));
        ringing.headers.push("Require", "100rel");
        ringing.headers.push("RSeq", "1");
        bench.reply(&ringing);
        // Those that are kept are acknowledged.
        assert_eq!(bench.lines(), if fork < 16 { vec!["PRACK"] } else { vec![] }, "{fork}");
    }
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Ringing);
    bench.reply(&with_sdp(answer(&invite, 200, "fork16"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

/// Forks that answer: each up to the sixteenth gets ACK and BYE; more are left to their own timers.
#[test]
fn answers_of_forks() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "winner"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    for fork in 1..17 {
        bench.reply(&with_sdp(answer(&invite, 200, &format!("fork{fork}")), ANSWER));
        assert_eq!(bench.lines(), if fork < 16 { vec!["ACK", "BYE"] } else { vec![] }, "{fork}");
    }
    // A repetition of any that was acknowledged gets its ACK again.
    bench.reply(&with_sdp(answer(&invite, 200, "fork15"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

#[test]
fn subscriptions() {
    let (mut bench, mut caller) = in_a_call();
    let request = |number: usize| SubscribeRequest {
        target: format!("sip:b{number}@example.com"),
        event: "dialog".into(),
        accept: Vec::new(),
        expires: secs(600),
    };
    let mut first = None;
    for number in 0..256 {
        let id = bench.phone.subscribe(bench.now, request(number)).unwrap();
        first.get_or_insert(id);
        bench.drain();
    }
    let refused = bench.phone.subscribe(bench.now, request(256)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidState);
    bench.drain();
    assert_eq!(bench.lines().len(), 256);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Subscription(_, _, Some(_)))));
    still_in_the_call(&mut bench, &mut caller);
    // One less is enough.
    bench.phone.unsubscribe(bench.now, first.unwrap());
    bench.drain();
    bench.pass(secs(40));
    assert!(bench.phone.subscribe(bench.now, request(256)).is_ok());
}

/// Requests of strangers that stay under way, refused INVITEs without an ACK: at 128 the next gets a 503 without a
/// transaction, and what belongs to a call goes on.
#[test]
fn requests_of_strangers() {
    let mut bench = Bench::new(PhoneConfig { max_calls: 1, ..config() });
    bench.connect();
    let (call, mut caller) = answered(&mut bench);
    // The INVITE of the call has a transaction too, and gives way.
    for number in 1..130 {
        send(&mut bench, &Caller::new(&format!("flood{number}")).request("INVITE", Some(OFFER)));
        let status = if number <= 128 { "486 INVITE" } else { "503 INVITE" };
        assert_eq!(bench.lines(), [status], "{number}");
    }
    send(&mut bench, &options());
    bench.take_response(503);
    still_in_the_call(&mut bench, &mut caller);
    // The ACK of one makes room for one.
    let mut ack = Caller::new("flood1").build("ACK", 1, None);
    ack.headers.set("Via", Caller::new("flood1").request("INVITE", None).headers.get("Via").unwrap());
    send(&mut bench, &ack);
    send(&mut bench, &options());
    bench.take_response(200);
    send(&mut bench, &caller.request("BYE", None));
    bench.take_response(200);
    assert!(bench.end_of(call).is_some());
    // They time out.
    bench.pass(secs(33));
    for number in 0..10 {
        send(&mut bench, &Caller::new(&format!("later{number}")).request("OPTIONS", None));
        bench.take_response(200);
    }
}

/// What was answered and acknowledged is not under way: neither re-INVITEs one after the other nor calls keep others out.
#[test]
fn many_re_invites_and_calls_within_half_a_minute() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    for number in 0..300 {
        send(&mut bench, &caller.request("INVITE", Some(OFFER)));
        assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"], "{number}");
        let ack = caller.ack(caller.seq, None);
        send(&mut bench, &ack);
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active, "{number}");
    }
    send(&mut bench, &options());
    bench.take_response(200);
    // Our own, too.
    for number in 0..300 {
        let hold = number % 2 == 0;
        crate::hold::hold(&mut bench, call, hold);
        let invite = bench.take_request("INVITE");
        let direction = if hold { "recvonly" } else { "sendrecv" };
        let answer = with_sdp(answer(&invite, 200, &caller.tag), &crate::hold::with(ANSWER, direction));
        bench.reply(&answer);
        bench.lines();
    }
    assert!(bench.phone.send_options(bench.now, "sip:bob@example.com").is_ok());
    bench.drain();
    assert_eq!(bench.lines(), ["OPTIONS"]);
    still_in_the_call(&mut bench, &mut caller);
}

/// The same from within a call: re-INVITEs, each refused because one is under way, and none acknowledged.
#[test]
fn requests_within_a_call() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = crate::bench::Media::Manual;
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    bench.lines();
    let mut statuses = Vec::new();
    for _ in 0..300 {
        send(&mut bench, &caller.request("INVITE", Some(OFFER)));
        statuses.extend(bench.lines());
    }
    assert_eq!(statuses.len(), 300);
    assert!(statuses[..200].iter().all(|status| !status.starts_with("503")), "{statuses:?}");
    assert_eq!(statuses[299], "503 INVITE");
    let other = Caller::new("other").request("OPTIONS", None);
    send(&mut bench, &other);
    bench.take_response(503);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.pass(secs(33));
    bench.sent.clear();
    send(&mut bench, &other);
    bench.take_response(200);
}

/// Requests of the application that nobody answers.
#[test]
fn requests_of_the_application() {
    let (mut bench, mut caller) = in_a_call();
    for _ in 0..256 {
        bench.phone.send_options(bench.now, "sip:bob@example.com").unwrap();
        bench.drain();
    }
    let refused = bench.phone.send_options(bench.now, "sip:bob@example.com").unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidState);
    let call = bench.phone.calls()[0].id;
    let refused = bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidState);
    let sent: Vec<Message> = core::mem::take(&mut bench.sent);
    assert_eq!(sent.len(), 256);
    still_in_the_call(&mut bench, &mut caller);
    // Each of them is told how it ended, once, and then there is room.
    let Message::Request(first) = &sent[0] else { panic!() };
    bench.reply(&answer(first, 200, "b"));
    assert!(bench.phone.send_info(bench.now, call, "application/dtmf", "1").is_ok());
    bench.drain();
    bench.pass(secs(40));
    let done = bench.events.iter().filter(|event| matches!(event, Event::RequestDone(..))).count();
    assert_eq!(done, 256);
    // The phone hangs up by itself whatever is under way.
    bench.hangup(call);
}

/// Lines of Record-Route until a message has this length.
fn lengthen(headers: &mut Headers, length: usize, to: usize) {
    let mut left = to - length;
    while left > 0 {
        // No rest that is shorter than a line.
        let line = if left > 8_000 { left.min(8_200) - 200 } else { left };
        let bare = "Record-Route: <sip:p.example.com;lr;x=>\r\n".len();
        headers.push("Record-Route", format!("<sip:p.example.com;lr;x={}>", "y".repeat(line - bare)));
        left -= line;
    }
}

/// Half of a message may be what its answer repeats: behind more the answer might find no room.
#[test]
fn what_an_answer_repeats() {
    let (mut bench, mut caller) = in_a_call();
    for (length, status) in [(MAX_MESSAGE / 2, 180), (MAX_MESSAGE / 2 + 1, 513)] {
        let mut invite = Caller::new(&format!("long{status}")).request("INVITE", Some(OFFER));
        let repeated = invite.response(200, None).to_text().unwrap().len();
        lengthen(&mut invite.headers, repeated, length);
        assert_eq!(invite.response(200, None).to_text().unwrap().len(), length);
        send(&mut bench, &invite);
        bench.take_response(status);
    }
    let call = bench.phone.calls()[1].id;
    bench.answer(call);
    let ok = bench.take_response(200);
    assert!(!ok.body.is_empty());
    bench.hangup(call);
    still_in_the_call(&mut bench, &mut caller);
    // Within a call the same.
    let mut reinvite = caller.request("INVITE", Some(OFFER));
    let repeated = reinvite.response(200, None).to_text().unwrap().len();
    lengthen(&mut reinvite.headers, repeated, MAX_MESSAGE / 2 + 1);
    send(&mut bench, &reinvite);
    bench.take_response(513);
    still_in_the_call(&mut bench, &mut caller);
}

/// A route that leaves no room for a description: what needs one is refused with an error, and the call is not stuck.
#[test]
fn a_route_that_is_too_long() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    let length = ok.to_text().unwrap().len();
    lengthen(&mut ok.headers, length, MAX_MESSAGE);
    bench.reply(&ok);
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
    let refused = bench.phone.send_info(bench.now, call, "text/plain", &"x".repeat(4096)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    bench
        .phone
        .transfer(bench.now, call, TransferTarget::Uri(format!("sip:c@{}.example.com", "c".repeat(300))))
        .ok();
    bench.drain();
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.pass(secs(60));
    bench.nothing_sent();
    let refused = |event: &Event| match event {
        Event::HoldDone(_, Err(error)) | Event::TransferDone(_, Err(error)) => {
            error.code == ErrorCode::InvalidConfig
        }
        _ => false,
    };
    assert_eq!(bench.events.iter().filter(|event| refused(event)).count(), 2);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    // The answer to this challenge does not fit either.
    let mut challenge = answer(&bye, 407, "b");
    let nonce = "n".repeat(4096);
    challenge
        .headers
        .push("Proxy-Authenticate", format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\""));
    bench.reply(&challenge);
    bench.pass(secs(40));
    assert!(bench.end_of(call).is_some() && bench.phone.calls().is_empty());
    bench.disconnect();
    bench.pass(secs(40));
    assert_eq!(bench.phone.poll_timeout(), None);
}
