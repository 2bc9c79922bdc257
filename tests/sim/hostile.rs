//! Anything may come over the socket at any time: no panic, no stuck call, no growth.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, secs, send, with_sdp};
use crate::incoming::{answered, ringing};
use crate::sequence::{at, mutate};
use wasm_softphone::entropy::SeededEntropy;
use wasm_softphone::phone::{Event, Input, MediaState, SocketId};

#[test]
fn mutated_messages_in_every_state_neither_panic_nor_stick() {
    let rounds = if cfg!(target_arch = "wasm32") { 40 } else { 600 };
    for seed in 0..rounds {
        let mut random = SeededEntropy::new(seed);
        let mut bench = Bench::online();
        let mut corpus: Vec<String> = Vec::new();
        let mut caller = Caller::new("in");
        let call = match seed % 4 {
            0 => {
                let call = bench.dial("sip:bob@example.com");
                let invite = bench.take_request("INVITE");
                for status in [100, 180, 183, 200, 302, 407, 486, 503] {
                    corpus.push(with_sdp(answer(&invite, status, "b"), ANSWER).to_text().unwrap());
                }
                call
            }
            1 => {
                let (call, ringing_caller, invite) = ringing(&mut bench);
                caller = ringing_caller;
                corpus.push(invite.to_text().unwrap());
                corpus.push(caller.cancel().to_text().unwrap());
                call
            }
            2 => {
                let (call, up) = answered(&mut bench);
                caller = up;
                call
            }
            _ => {
                let call = bench.dial("sip:bob@example.com");
                let invite = bench.take_request("INVITE");
                bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
                caller = Caller::callee(&invite, "b");
                corpus.push(with_sdp(answer(&invite, 200, "c"), ANSWER).to_text().unwrap());
                call
            }
        };
        for method in ["INVITE", "BYE", "INFO", "OPTIONS", "UPDATE", "NOTIFY", "REFER"] {
            corpus.push(caller.request(method, Some(OFFER)).to_text().unwrap());
        }
        corpus.push(caller.ack(1, None).to_text().unwrap());
        for _ in 0..60 {
            let message = corpus[at(&mut random, corpus.len())].clone();
            let mutated = mutate(&mut random, message.as_bytes());
            if let Some(socket) = bench.socket {
                bench.input(Input::SocketData(socket, mutated));
            }
            bench.input(Input::Timer);
        }
        for info in bench.phone.calls() {
            bench.hangup(info.id);
        }
        bench.pass(secs(200));
        assert!(bench.phone.calls().is_empty(), "seed {seed}");
        assert!(bench.end_of(call).is_some(), "seed {seed}");
        bench.disconnect();
        bench.pass(secs(3));
        assert_eq!(bench.phone.poll_timeout(), None, "seed {seed}");
    }
}

#[test]
fn reports_for_things_that_never_were_are_ignored() {
    let mut bench = Bench::online();
    use wasm_softphone::phone::{CallId, CredentialsId, MediaSeq, MediaValue};
    for id in [0, 1, 99] {
        let call = CallId(id);
        bench.input(Input::MediaDone { call, seq: MediaSeq(1), result: Ok(MediaValue::Applied) });
        bench.input(Input::MediaState { call, state: MediaState::Failed });
        bench.input(Input::Credentials(CredentialsId(id), None));
        bench.input(Input::SocketClosed(SocketId(id + 50)));
        bench.hangup(call);
    }
    assert_eq!(bench.events, []);
    bench.nothing_sent();
}

/// A caller that makes one early dialog after the other, and one that calls again and again.
#[test]
fn floods_are_bounded() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    for fork in 0..1_000 {
        bench.reply(&answer(&invite, 180, &format!("fork{fork}")));
    }
    let begin = bench.events.len();
    bench.reply(&with_sdp(answer(&invite, 200, "winner"), ANSWER));
    assert!(bench.events.len() < begin + 10);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));

    let mut bench = Bench::online();
    for number in 0..1_000 {
        let invite = Caller::new(&format!("flood{number}")).request("INVITE", Some(OFFER));
        send(&mut bench, &invite);
    }
    assert_eq!(bench.phone.calls().len(), bench.config.max_calls);
    assert_eq!(bench.events.iter().filter(|event| matches!(event, Event::Incoming(_))).count(), 8);
    // Refused calls leave nothing once their transactions have timed out.
    bench.disconnect();
    bench.pass(secs(40));
    assert_eq!(bench.phone.poll_timeout(), None);
}

/// A server that answers one call in a thousand names.
#[test]
fn a_flood_of_answers_is_bounded() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    for fork in 0..1_000 {
        bench.reply(&with_sdp(answer(&invite, 200, &format!("fork{fork}")), ANSWER));
    }
    assert!(bench.sent.len() < 50, "{} messages", bench.sent.len());
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

/// A request so long that no answer to it can be sent leaves no transaction behind.
#[test]
fn what_cannot_be_answered_is_forgotten() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("long");
    let small = caller.request("OPTIONS", None);
    let mut long = small.clone();
    // Named again in the answer with a space more each: the answer is longer than the request.
    for _ in 0..8 {
        long.headers.push("Require", "a,".repeat(3_500));
    }
    send(&mut bench, &long);
    bench.nothing_sent();
    send(&mut bench, &small);
    bench.take_response(200);
}
