//! Each phase of a call against each event: what is sent, and how the call stands for the application afterwards. The
//! tables below are all of it; a cell is `sent>state`, `-` for nothing sent, and for a command first whether it was
//! accepted (`ok`, or the code of the error). Provisional 100s are left out.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, line, secs, send, with_sdp};
use crate::incoming::ringing;
use wasm_softphone::phone::{CallId, CallState, MediaValue, MessageRequest, TransferTarget};
use wasm_softphone::sip::message::{Message, Request};

const OUTGOING: [&str; 8] =
    ["preparing", "inviting", "ringing", "early", "cancelling", "applying", "up", "hung up"];
const INCOMING: [&str; 5] = ["alerting", "answering", "accepted", "up", "hung up"];

struct Cell {
    bench: Bench,
    call: CallId,
    /// The INVITE of the call, either side's.
    invite: Request,
    peer: Caller,
}

fn outgoing(phase: &str) -> Cell {
    let mut bench = Bench::online();
    if matches!(phase, "preparing" | "applying") {
        bench.media = Media::Manual;
    }
    let call = bench.dial("sip:bob@example.com");
    if phase == "preparing" {
        let invite = Caller::new("none").request("INVITE", None);
        let peer = Caller::new("none");
        return Cell { bench, call, invite, peer };
    }
    if phase == "applying" {
        bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    }
    let invite = bench.take_request("INVITE");
    match phase {
        "inviting" => {}
        "ringing" => bench.reply(&answer(&invite, 180, "b")),
        "early" => bench.reply(&with_sdp(answer(&invite, 183, "b"), ANSWER)),
        "cancelling" => {
            bench.reply(&answer(&invite, 180, "b"));
            bench.hangup(call);
        }
        _ => {
            bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
            if phase == "hung up" {
                bench.hangup(call);
            }
        }
    }
    let peer = Caller::callee(&invite, "b");
    Cell { bench, call, invite, peer }
}

fn incoming(phase: &str) -> Cell {
    let mut bench = Bench::online();
    if phase == "answering" {
        bench.media = Media::Manual;
    }
    let (call, mut peer, invite) = ringing(&mut bench);
    if phase != "alerting" {
        bench.answer(call);
    }
    if matches!(phase, "up" | "hung up") {
        let ack = peer.ack(peer.seq, None);
        send(&mut bench, &ack);
    }
    if phase == "hung up" {
        bench.hangup(call);
    }
    Cell { bench, call, invite, peer }
}

fn state(cell: &Cell) -> &'static str {
    if cell.bench.end_of(cell.call).is_some() {
        return "ended";
    }
    match cell.bench.phone.call(cell.call).map(|info| info.state) {
        Some(CallState::New) => "new",
        Some(CallState::Connecting) => "connecting",
        Some(CallState::Ringing) => "ringing",
        Some(CallState::EarlyMedia) => "early",
        Some(CallState::Active) => "active",
        Some(CallState::Reconnecting) => "reconnecting",
        Some(CallState::Ended) => "ended",
        None => "gone",
    }
}

/// Lets the event happen; returns whether a command was accepted, where it is one.
fn happen(cell: &mut Cell, event: &str) -> Option<Result<(), wasm_softphone::error::Error>> {
    let now = cell.bench.now;
    let call = cell.call;
    if let Some(response) = match event {
        "180" => Some(answer(&cell.invite, 180, "b")),
        "183 SDP" => Some(with_sdp(answer(&cell.invite, 183, "b"), ANSWER)),
        "200" => Some(with_sdp(answer(&cell.invite, 200, "b"), ANSWER)),
        "200 fork" => Some(with_sdp(answer(&cell.invite, 200, "other"), ANSWER)),
        "302" => Some(answer(&cell.invite, 302, "b")),
        "404" => Some(answer(&cell.invite, 404, "b")),
        "487" => Some(answer(&cell.invite, 487, "b")),
        "603" => Some(answer(&cell.invite, 603, "b")),
        _ => None,
    } {
        cell.bench.reply(&response);
        return None;
    }
    let request = match event {
        "BYE" | "INFO" | "OPTIONS" | "UPDATE" | "PRACK" | "REFER" | "NOTIFY" | "MESSAGE" | "SUBSCRIBE"
        | "FOO" => {
            let mut request = cell.peer.request(event, None);
            match event {
                "REFER" => request.headers.push("Refer-To", "<sip:carol@example.com>"),
                "NOTIFY" => {
                    request.headers.push("Event", "refer");
                    request.headers.push("Subscription-State", "active");
                }
                "PRACK" => request.headers.push("RAck", "1 1 INVITE"),
                "MESSAGE" => {
                    request.headers.push("Content-Type", "text/plain");
                    request.body = b"hello".to_vec();
                }
                _ => {}
            }
            Some(request)
        }
        "re-INVITE" => Some(cell.peer.request("INVITE", Some(OFFER))),
        "CANCEL" => Some(cell.peer.cancel()),
        "ACK" => Some(cell.peer.ack(cell.peer.seq, None)),
        _ => None,
    };
    if let Some(request) = request {
        send(&mut cell.bench, &request);
        return None;
    }
    let result = match event {
        "40 s" => {
            cell.bench.pass(secs(40));
            return None;
        }
        "socket lost" => {
            cell.bench.reachable = false;
            cell.bench.cut();
            return None;
        }
        "hangup" => {
            cell.bench.hangup(call);
            return None;
        }
        "answer" => cell.bench.phone.answer(now, call),
        "reject" => cell.bench.phone.reject(now, call, Some(486)),
        "hold" => cell.bench.phone.hold(now, call),
        "unhold" => cell.bench.phone.unhold(now, call),
        "transfer" => cell.bench.phone.transfer(now, call, TransferTarget::Uri("sip:c@example.com".into())),
        "send INFO" => cell.bench.phone.send_info(now, call, "application/dtmf", "1"),
        "send MESSAGE" => cell
            .bench
            .phone
            .send_message(
                now,
                MessageRequest {
                    target: "sip:bob@example.com".into(),
                    content_type: "text/plain".into(),
                    body: "x".into(),
                    ..MessageRequest::default()
                },
            )
            .map(|_| ()),
        _ => panic!("{event} is no event"),
    };
    cell.bench.drain();
    Some(result)
}

fn outcome(mut cell: Cell, event: &str) -> String {
    cell.bench.sent.clear();
    let result = happen(&mut cell, event);
    let sent: Vec<String> = cell
        .bench
        .sent
        .iter()
        .map(|message| match message {
            Message::Request(_) => line(message),
            Message::Response(response) => response.status.to_string(),
        })
        .filter(|line| line != "100")
        .collect();
    let mut text = match result {
        None => String::new(),
        Some(Ok(())) => "ok:".into(),
        Some(Err(error)) => format!("{}:", error.code.as_str()),
    };
    text.push_str(&if sent.is_empty() { "-".to_owned() } else { sent.join("+") });
    text.push('>');
    text.push_str(state(&cell));
    text
}

/// Each row: the event, where it is said, a cell for each phase; alternatives in a cell are separated by spaces.
fn check(phases: &[&str], make: fn(&str) -> Cell, table: &str) {
    let mut wrong = Vec::new();
    let mut actual = Vec::new();
    let mut events = Vec::new();
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let mut parts = row.split('|').map(str::trim);
        let (event, section) = (parts.next().unwrap(), parts.next().unwrap());
        let cells: Vec<&str> = parts.collect();
        events.push(event);
        let found: Vec<String> = phases.iter().map(|phase| outcome(make(phase), event)).collect();
        actual.push(format!("{event} | {section} | {}", found.join(" | ")));
        for (at, found) in found.iter().enumerate() {
            let expected = cells.get(at).copied().unwrap_or_default();
            if !expected.split_whitespace().any(|expected| expected == found) {
                wrong.push(format!("{event} while {}: {found}, expected {expected}", phases[at]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), actual.join("\n"));
    // All of them, none twice.
    let mut unique = events.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!((unique.len(), events.len()), (EVENTS, EVENTS));
}

const EVENTS: usize = 31;

#[test]
fn each_phase_of_an_outgoing_call_and_each_event() {
    check(&OUTGOING, outgoing, OUTGOING_TABLE);
}

#[test]
fn each_phase_of_an_incoming_call_and_each_event() {
    check(&INCOMING, incoming, INCOMING_TABLE);
}

const OUTGOING_TABLE: &str = "
180 | 3261 13.2.2.1 | ->connecting | ->ringing | ->ringing | ->early | ->ended | ->connecting | ->active | ->ended
183 SDP | 3261 13.2.1 | ->connecting | ->early | ->early | ->early | ->ended | ->connecting | ->active | ->ended
200 | 3261 13.2.2.4 | ->connecting | ACK>active | ACK>active | ACK>active | ACK+BYE>ended | ACK>connecting | ACK>active | ACK>ended
200 fork | 3261 13.2.2.4 | ->connecting | ACK>active | ACK>active | ACK>active | ACK+BYE>ended | ACK+BYE>connecting | ACK+BYE>active | ACK+BYE>ended
302 | 3261 8.1.3.4 | ->connecting | ACK>ended | ACK>ended | ACK>ended | ACK>ended | ->connecting | ->active | ->ended
404 | 3261 13.2.2.3 | ->connecting | ACK>ended | ACK>ended | ACK>ended | ACK>ended | ->connecting | ->active | ->ended
487 | 3261 9.1 | ->connecting | ACK>ended | ACK>ended | ACK>ended | ACK>ended | ->connecting | ->active | ->ended
603 | 3261 13.2.2.3 | ->connecting | ACK>ended | ACK>ended | ACK>ended | ACK>ended | ->connecting | ->active | ->ended
BYE | 3261 15.1.2 | 481>connecting | 481>connecting | 200>ringing | 200>ringing | 200>ended | 200>ended | 200>ended | 200>ended
INFO | 6086 4.2.2 | 481>connecting | 481>connecting | 200>ringing | 200>early | 200>ended | 200>connecting | 200>active | 481>ended
OPTIONS | 3261 11.2 | 200>connecting | 481>connecting | 200>ringing | 200>early | 200>ended | 200>connecting | 200>active | 481>ended
UPDATE | 3311 5.2 | 481>connecting | 481>connecting | 200>ringing | 200>early | 200>ended | 200>connecting | 200>active | 481>ended
PRACK | 3262 3 | 481>connecting | 481>connecting | 405>ringing 481>ringing | 405>early 481>early | 405>ended 481>ended | 405>connecting 481>connecting | 405>active 481>active | 405>ended 481>ended
REFER | 3515 2.4.2 | 403>connecting | 481>connecting | 481>ringing | 481>early | 481>ended | 491>connecting | 202+NOTIFY>active | 481>ended
NOTIFY | 6665 4.1.3 | 481>connecting | 481>connecting | 481>ringing | 481>early | 481>ended | 481>connecting | 481>active | 481>ended
MESSAGE | 3428 7 | 200>connecting | 481>connecting | 200>ringing | 200>early | 200>ended | 200>connecting | 200>active | 200>ended
SUBSCRIBE | 3261 8.2.1 | 405>connecting | 481>connecting | 489>ringing | 489>early | 489>ended | 489>connecting | 489>active | 489>ended
FOO | 3261 21.5.2 | 501>connecting | 481>connecting | 501>ringing | 501>early | 501>ended | 501>connecting | 501>active | 501>ended
re-INVITE | 3261 14.2 | 180>connecting | 481>connecting | 491>ringing | 491>early | 481>ended | ->connecting | 200>active | 481>ended
CANCEL | 3261 9.2 | 481>connecting | 481>connecting | 481>ringing | 481>early | 481>ended | 481>connecting | 481>active | 481>ended
ACK | 3261 13.3.1.4 | ->connecting | ->connecting | ->ringing | ->early | ->ended | ->connecting | ->active | ->ended
40 s | 3261 17.1.1.2 | ->connecting | ->ended | ->ringing | ->early | ->ended | BYE>ended | ->active | ->ended
socket lost | 5626 4.3 | ->connecting | ->connecting | ->ringing | ->early | ->ended | ->connecting | ->reconnecting | ->ended
hangup | 3261 15 | ->ended | ->ended | CANCEL>ended | CANCEL>ended | ->ended | BYE>ended | BYE>ended | ->ended
answer | 3261 13.3.1.4 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ended:->ended | invalid_state:->connecting | invalid_state:->active | ended:->ended
reject | 3261 13.3.1.3 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ok:->ended | invalid_state:->connecting | invalid_state:->active | ok:->ended
hold | 3264 8.4 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ended:->ended | invalid_state:->connecting | ok:INVITE>active | ended:->ended
unhold | 3264 8.4 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ended:->ended | invalid_state:->connecting | ok:->active | ended:->ended
transfer | 3515 2.4 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ended:->ended | invalid_state:->connecting | ok:INVITE>active | ended:->ended
send INFO | 6086 4.2.1 | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->ringing | invalid_state:->early | ended:->ended | invalid_state:->connecting | ok:INFO>active | ended:->ended
send MESSAGE | 3428 4 | ok:MESSAGE>connecting | ok:MESSAGE>connecting | ok:MESSAGE>ringing | ok:MESSAGE>early | ok:MESSAGE>ended | ok:MESSAGE>connecting | ok:MESSAGE>active | ok:MESSAGE>ended
";
const INCOMING_TABLE: &str = "
180 | 3261 13.2.2.1 | ->ringing | ->connecting | ->connecting | ->active | ->ended
183 SDP | 3261 13.2.1 | ->ringing | ->connecting | ->connecting | ->active | ->ended
200 | 3261 13.2.2.4 | ->ringing | ->connecting | ->connecting | ->active | ->ended
200 fork | 3261 13.2.2.4 | ->ringing | ->connecting | ->connecting | ->active | ->ended
302 | 3261 8.1.3.4 | ->ringing | ->connecting | ->connecting | ->active | ->ended
404 | 3261 13.2.2.3 | ->ringing | ->connecting | ->connecting | ->active | ->ended
487 | 3261 9.1 | ->ringing | ->connecting | ->connecting | ->active | ->ended
603 | 3261 13.2.2.3 | ->ringing | ->connecting | ->connecting | ->active | ->ended
BYE | 3261 15.1.2 | 200+487>ended | 200+487>ended | 200>ended | 200>ended | 200>ended
INFO | 6086 4.2.2 | 200>ringing | 200>connecting | 200>connecting | 200>active | 481>ended
OPTIONS | 3261 11.2 | 200>ringing | 200>connecting | 200>connecting | 200>active | 481>ended
UPDATE | 3311 5.2 | 200>ringing | 200>connecting | 200>connecting | 200>active | 481>ended
PRACK | 3262 3 | 405>ringing 481>ringing | 405>connecting 481>connecting | 405>connecting 481>connecting | 405>active 481>active | 405>ended 481>ended
REFER | 3515 2.4.2 | 481>ringing | 481>connecting | 491>connecting | 202+NOTIFY>active | 481>ended
NOTIFY | 6665 4.1.3 | 481>ringing | 481>connecting | 481>connecting | 481>active | 481>ended
MESSAGE | 3428 7 | 200>ringing | 200>connecting | 200>connecting | 200>active | 200>ended
SUBSCRIBE | 3261 8.2.1 | 489>ringing | 489>connecting | 489>connecting | 489>active | 489>ended
FOO | 3261 21.5.2 | 501>ringing | 501>connecting | 501>connecting | 501>active | 501>ended
re-INVITE | 3261 14.2 | 500>ringing | 500>connecting | 500>connecting | 200>active | 481>ended
CANCEL | 3261 9.2 | 200+487>ended | 200+487>ended | 200>connecting | 481>active | 481>ended
ACK | 3261 13.3.1.4 | ->ringing | ->connecting | ->active | ->active | ->ended
40 s | 3261 17.1.1.2 | ->ringing | ->connecting | 200+200+200+200+200+200+200+200+200+200+BYE>ended | ->active | ->ended
socket lost | 5626 4.3 | ->ringing | ->connecting | ->connecting | ->reconnecting | ->ended
hangup | 3261 15 | 603>ended | 603>ended | ->ended | BYE>ended | ->ended
answer | 3261 13.3.1.4 | ok:200>connecting | invalid_state:->connecting | invalid_state:->connecting | invalid_state:->active | ended:->ended
reject | 3261 13.3.1.3 | ok:486>ended | ok:486>ended | invalid_state:->connecting | invalid_state:->active | ok:->ended
hold | 3264 8.4 | invalid_state:->ringing | invalid_state:->connecting | ok:->connecting | ok:INVITE>active | ended:->ended
unhold | 3264 8.4 | invalid_state:->ringing | invalid_state:->connecting | ok:->connecting | ok:->active | ended:->ended
transfer | 3515 2.4 | invalid_state:->ringing | invalid_state:->connecting | invalid_state:->connecting | ok:INVITE>active | ended:->ended
send INFO | 6086 4.2.1 | invalid_state:->ringing | invalid_state:->connecting | invalid_state:->connecting | ok:INFO>active | ended:->ended
send MESSAGE | 3428 4 | ok:MESSAGE>ringing | ok:MESSAGE>connecting | ok:MESSAGE>connecting | ok:MESSAGE>active | ok:MESSAGE>ended
";
