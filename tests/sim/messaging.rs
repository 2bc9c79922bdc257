//! MESSAGE (RFC 3428) and OPTIONS outside a dialog.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, Outcome, answer, outcome, secs, send};
use crate::incoming::answered;
use wasm_softphone::error::Error;
use wasm_softphone::phone::{Event, Input, MessageRequest, RequestId};
use wasm_softphone::sip::message::Request;

fn message() -> MessageRequest {
    MessageRequest {
        target: "sip:bob@example.com".into(),
        content_type: "text/plain;charset=utf-8".into(),
        body: "hej \u{e5}".into(),
        extra_headers: vec![("X-Topic".into(), "greeting".into())],
    }
}

fn post(bench: &mut Bench, message: MessageRequest) -> Result<RequestId, Error> {
    let id = bench.phone.send_message(bench.now, message);
    bench.drain();
    id
}

fn done(bench: &Bench, id: RequestId) -> Vec<Outcome> {
    let of = |event: &Event| match event {
        Event::RequestDone(done, result) if *done == id => Some(outcome(result)),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

#[test]
fn a_message_and_its_outcomes() {
    let mut bench = Bench::online();
    for (status, expected) in [(202, Ok(())), (404, Err("not_found")), (603, Err("declined"))] {
        let id = post(&mut bench, message()).unwrap();
        let request = bench.take_request("MESSAGE");
        assert_eq!(request.uri, "sip:bob@example.com");
        assert_eq!(request.headers.get("Content-Type"), Some("text/plain;charset=utf-8"));
        assert_eq!(request.headers.get("X-Topic"), Some("greeting"));
        assert_eq!(request.headers.get("Contact"), None);
        assert_eq!(request.body, "hej \u{e5}".as_bytes());
        bench.reply(&request.response(100, None));
        assert_eq!(done(&bench, id), []);
        bench.reply(&answer(&request, status, "b"));
        assert_eq!(done(&bench, id), [expected]);
    }
    bench.nothing_sent();
}

#[test]
fn every_message_has_an_outcome_whatever_becomes_of_the_connection() {
    let mut bench = Bench::online();
    let silent = post(&mut bench, message()).unwrap();
    bench.pass(secs(31));
    assert_eq!(done(&bench, silent), []);
    bench.receive("\r\n");
    bench.pass(secs(2));
    assert_eq!(done(&bench, silent), [Err("timeout")]);
    let cut = post(&mut bench, message()).unwrap();
    let sent = bench.sent.clone();
    bench.sent.clear();
    bench.cut();
    assert_eq!(done(&bench, cut), []);
    assert_eq!(bench.sent, sent[sent.len() - 1..], "the same transaction again");
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(61));
    assert_eq!(done(&bench, cut), [Err("transport")]);
    bench.reachable = true;
    bench.pass(secs(14));
    let last = post(&mut bench, message()).unwrap();
    bench.disconnect();
    bench.pass(secs(3));
    assert_eq!(done(&bench, last), [Err("aborted")]);
    assert_eq!(post(&mut bench, message()).unwrap_err().code.as_str(), "not_connected");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut bench = Bench::online();
    let cases = [
        (MessageRequest { target: "bob".into(), ..message() }, "invalid_destination"),
        (MessageRequest { content_type: "text".into(), ..message() }, "invalid_config"),
        (MessageRequest { content_type: "text/plain\r\nVia: x".into(), ..message() }, "invalid_config"),
        (MessageRequest { body: "x".repeat(61_441), ..message() }, "invalid_config"),
        (MessageRequest { extra_headers: vec![("Via".into(), "x".into())], ..message() }, "invalid_config"),
    ];
    for (message, code) in cases {
        assert_eq!(post(&mut bench, message).unwrap_err().code.as_str(), code);
    }
    bench.nothing_sent();
}

#[test]
fn a_message_comes_outside_a_call_and_within_one() {
    let mut bench = Bench::online();
    let (_, within) = answered(&mut bench);
    bench.sent.clear();
    for mut caller in [Caller::new("m1"), within] {
        bench.events.clear();
        let mut request = caller.request("MESSAGE", None);
        request.headers.set("Content-Type", "Text/Plain; charset=utf-8");
        request.body = b"hello".to_vec();
        send(&mut bench, &request);
        assert_eq!(bench.lines(), ["200 MESSAGE"]);
        let message = Event::Message {
            from: "sip:bob@example.com".into(),
            display_name: Some("Bob".into()),
            content_type: "Text/Plain".into(),
            body: "hello".into(),
        };
        assert_eq!(bench.events, [message]);
    }
}

/// RFC 5621: the text among other parts.
#[test]
fn a_message_of_several_parts_is_told_by_its_text() {
    let mut bench = Bench::online();
    let mut request = Caller::new("parts").request("MESSAGE", None);
    request.headers.set("Content-Type", "multipart/mixed;boundary=x");
    request.body =
        b"--x\r\nContent-Type: image/png\r\n\r\n\xff\xfe\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n".to_vec();
    let text = request.headers.clone();
    let head = Request { body: Vec::new(), headers: text, ..request.clone() }.to_text().unwrap();
    let head = head.replace("Content-Length: 0", &format!("Content-Length: {}", request.body.len()));
    let socket = bench.socket.unwrap();
    bench.input(Input::SocketData(socket, [head.as_bytes(), &request.body].concat()));
    assert_eq!(bench.lines(), ["200 MESSAGE"]);
    let told = bench.events.iter().any(|event| {
        matches!(event, Event::Message { content_type, body, .. } if content_type == "text/plain" && body == "hello")
    });
    assert!(told, "{:?}", bench.events);
}

#[test]
fn what_is_no_text_is_refused_with_what_would_be_taken() {
    let mut bench = Bench::online();
    for (id, header, value) in [("png", "Content-Type", "image/png"), ("zip", "Content-Encoding", "gzip")] {
        let mut request = Caller::new(id).request("MESSAGE", None);
        request.headers.set("Content-Type", "text/plain");
        request.headers.set(header, value);
        request.body = b"x".to_vec();
        send(&mut bench, &request);
        assert!(bench.take_response(415).headers.get("Accept").unwrap().starts_with("text/plain"));
    }
    let mut request = Caller::new("required").request("MESSAGE", None);
    request.headers.push("Require", "teleportation");
    send(&mut bench, &request);
    assert_eq!(bench.take_response(420).headers.get("Unsupported"), Some("teleportation"));
    assert_eq!(bench.events, []);
}

#[test]
fn options_outside_a_dialog() {
    let mut bench = Bench::online();
    let id = bench.phone.send_options(bench.now, "sip:bob@example.com").unwrap();
    bench.drain();
    let request = bench.take_request("OPTIONS");
    bench.reply(&answer(&request, 200, "b"));
    assert_eq!(done(&bench, id), [Ok(())]);
}
