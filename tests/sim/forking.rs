//! Calls of ours that ring in several places: early dialogs, their media, and who wins (RFC 3261, sections 12.1.2,
//! 13.2.2.4 and 15; RFC 6228).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, secs, send, with_sdp};
use wasm_softphone::phone::{CallId, CallState, EndCause, MediaCommand, MediaError, MediaValue};
use wasm_softphone::sip::message::Request;

/// The answer of one fork.
fn sdp(port: u16) -> String {
    ANSWER.replace("m=audio 9 ", &format!("m=audio {port} "))
}

/// The port of each answer that the media half was given, and whether it is for good.
fn set(bench: &Bench) -> Vec<(u16, bool)> {
    let answers = bench.jobs.iter().filter_map(|(_, _, command)| match command {
        MediaCommand::SetAnswer { answer, provisional } => {
            let port = answer.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap();
            Some((port.parse().unwrap(), !provisional))
        }
        _ => None,
    });
    answers.collect()
}

fn dialled(bench: &mut Bench) -> (CallId, Request) {
    let call = bench.dial("sip:bob@example.com");
    (call, bench.take_request("INVITE"))
}

/// Dialled, with the media half left to the test.
fn dialled_by_hand(bench: &mut Bench) -> (CallId, Request) {
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    (call, bench.take_request("INVITE"))
}

fn state(bench: &Bench, call: CallId) -> CallState {
    bench.phone.call(call).unwrap().state
}

#[test]
fn the_fork_that_spoke_last_is_heard_and_the_one_that_answers_wins() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    assert!(invite.headers.contains_token("Supported", "199"));
    bench.reply(&with_sdp(answer(&invite, 183, "b1"), &sdp(1001)));
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    bench.reply(&answer(&invite, 180, "b1"));
    assert_eq!(set(&bench), [(1001, false), (1002, false)]);
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), &sdp(1001)));
    let ack = bench.take_request("ACK");
    assert!(ack.headers.get("To").unwrap().ends_with("tag=b1"));
    assert_eq!(set(&bench).last(), Some(&(1001, true)), "the winner's answer, whoever was heard before");
    assert_eq!(state(&bench, call), CallState::Active);
}

/// JsSIP sends ACK and BYE in the first dialog, and cuts the good call.
#[test]
fn second_2xx_from_a_fork() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    bench.reply(&with_sdp(answer(&invite, 183, "b1"), &sdp(1001)));
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), &sdp(1001)));
    bench.take_request("ACK");
    bench.jobs.clear();
    bench.reply(&with_sdp(answer(&invite, 200, "b2"), &sdp(1002)));
    for (method, reason) in [("ACK", None), ("BYE", Some("SIP;cause=200;text=\"Call completed elsewhere\""))]
    {
        let request = bench.take_request(method);
        assert_eq!(request.headers.get("To"), Some("<sip:bob@example.com>;tag=b2"));
        assert_eq!(request.headers.get("Reason"), reason);
    }
    bench.nothing_sent();
    assert_eq!(set(&bench), [], "the media of the call that goes on is not touched");
    assert_eq!(state(&bench, call), CallState::Active);
    // A BYE of the loser is no BYE of this call.
    let mut loser = Caller::callee(&invite, "b2");
    send(&mut bench, &loser.request("BYE", None));
    assert_eq!(bench.lines(), ["481 BYE"]);
    assert_eq!(state(&bench, call), CallState::Active);
}

#[test]
fn fast_200_during_a_pranswer_job() {
    let mut bench = Bench::online();
    let (call, invite) = dialled_by_hand(&mut bench);
    bench.reply(&with_sdp(answer(&invite, 183, "b1"), &sdp(1001)));
    let early = bench.jobs.last().unwrap().1;
    bench.reply(&with_sdp(answer(&invite, 200, "b2"), &sdp(1002)));
    assert_eq!(bench.lines(), ["ACK"], "at once, whatever the media half does");
    assert_eq!(set(&bench), [(1001, false), (1002, true)]);
    // The outcome of the early answer, good or bad, is of no interest any more.
    let done =
        |seq| wasm_softphone::phone::Input::MediaDone { call, seq, result: Err(MediaError::Description) };
    bench.input(done(early));
    assert_eq!(state(&bench, call), CallState::Connecting);
    bench.jobs.remove(0);
    bench.finish_job(Ok(MediaValue::Applied));
    assert_eq!(state(&bench, call), CallState::Active);
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

#[test]
fn forks_that_speak_while_one_is_being_set_wait_and_the_last_is_set() {
    let mut bench = Bench::online();
    let (call, invite) = dialled_by_hand(&mut bench);
    for (tag, port) in [("b1", 1001), ("b2", 1002), ("b3", 1003)] {
        bench.reply(&with_sdp(answer(&invite, 183, tag), &sdp(port)));
    }
    assert_eq!(set(&bench), [(1001, false)]);
    bench.finish_job(Ok(MediaValue::Applied));
    assert_eq!(state(&bench, call), CallState::EarlyMedia);
    assert_eq!(set(&bench), [(1003, false)]);
    // One that cannot be set is no reason to give up.
    bench.finish_job(Err(MediaError::Description));
    assert_eq!(set(&bench), []);
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    assert_eq!(set(&bench), [(1002, false)]);
}

#[test]
fn two_xx_after_hang_up() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    bench.reply(&answer(&invite, 180, "b1"));
    bench.reply(&answer(&invite, 180, "b2"));
    bench.hangup(call);
    bench.take_request("CANCEL");
    for tag in ["b2", "b1"] {
        let ok = with_sdp(answer(&invite, 200, tag), ANSWER);
        bench.reply(&ok);
        for method in ["ACK", "BYE"] {
            let to = format!("<sip:bob@example.com>;tag={tag}");
            assert_eq!(bench.take_request(method).headers.get("To"), Some(to.as_str()));
        }
        bench.reply(&ok);
        assert_eq!(bench.lines(), ["ACK"], "a repetition gets its ACK and no second BYE");
    }
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Cancelled);
    bench.pass(secs(80));
    assert!(bench.phone.call(call).is_none());
}

#[test]
fn the_end_of_a_fork_gives_its_place_to_another() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    bench.reply(&with_sdp(answer(&invite, 183, "b1"), &sdp(1001)));
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    bench.reply(&answer(&invite, 199, "b2"));
    assert_eq!(set(&bench), [(1001, false), (1002, false), (1001, false)]);
    assert_eq!(state(&bench, call), CallState::EarlyMedia);
    bench.reply(&answer(&invite, 199, "b1"));
    assert_eq!(state(&bench, call), CallState::Ringing, "nobody speaks any more");
    // A fork that nobody knew does no harm, and no dialog is left of the others.
    bench.reply(&answer(&invite, 199, "b9"));
    for tag in ["b1", "b2", "b9"] {
        send(&mut bench, &Caller::callee(&invite, tag).request("INFO", None));
        assert_eq!(bench.lines(), ["481 INFO"]);
    }
    bench.reply(&with_sdp(answer(&invite, 200, "b3"), &sdp(1003)));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(state(&bench, call), CallState::Active);
}

#[test]
fn a_bye_of_a_fork_ends_that_fork_only() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    bench.reply(&with_sdp(answer(&invite, 183, "b1"), &sdp(1001)));
    bench.reply(&with_sdp(answer(&invite, 183, "b2"), &sdp(1002)));
    let mut fork = Caller::callee(&invite, "b2");
    send(&mut bench, &fork.request("BYE", None));
    assert_eq!(bench.lines(), ["200 BYE"]);
    assert_eq!(set(&bench).last(), Some(&(1001, false)));
    send(&mut bench, &fork.request("BYE", None));
    assert_eq!(bench.lines(), ["481 BYE"]);
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), &sdp(1001)));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(state(&bench, call), CallState::Active);
}

#[test]
fn a_hundred_forks_are_bounded_and_any_may_answer() {
    let mut bench = Bench::online();
    let (call, invite) = dialled(&mut bench);
    for fork in 0..100 {
        bench.reply(&with_sdp(answer(&invite, 183, &format!("b{fork}")), &sdp(1000 + fork)));
    }
    assert_eq!(set(&bench).len(), 16);
    bench.reply(&with_sdp(answer(&invite, 200, "b99"), &sdp(1099)));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(set(&bench).last(), Some(&(1099, true)));
    assert_eq!(state(&bench, call), CallState::Active);
}
