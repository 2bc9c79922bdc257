//! Offers within a call that go wrong: answers that say more than they mean, offers in the wrong place, answers that
//! never come or come too late (RFC 3261, section 14, RFC 3264, RFC 3311).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Media, OFFER, answer, ms, secs, send, with_sdp};
use crate::hold::{call, done, hold, with};
use wasm_softphone::phone::{CallState, MediaCommand, MediaValue};
use wasm_softphone::sip::sdp::Direction;

fn agree(bench: &mut Bench, direction: &str) {
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, direction)));
    assert_eq!(bench.lines(), ["ACK"]);
}

fn offered(bench: &Bench) -> Option<Direction> {
    crate::hold::offered(bench).last().copied()
}

fn flowing(bench: &Bench) -> Option<Direction> {
    bench.jobs.iter().rev().find_map(|(_, _, command)| match command {
        MediaCommand::Flow(direction) => Some(*direction),
        _ => None,
    })
}

/// Many phones answer `inactive` to `sendonly`. Whether they hold too shows when they are offered both directions.
#[test]
fn a_hold_that_is_answered_with_inactive_can_be_taken_back() {
    for (answered, remote, flow) in
        [("sendrecv", false, Direction::SendRecv), ("sendonly", true, Direction::RecvOnly)]
    {
        let mut bench = Bench::online();
        let (id, _) = call(&mut bench);
        hold(&mut bench, id, true);
        agree(&mut bench, "inactive");
        hold(&mut bench, id, false);
        assert_eq!(offered(&bench), Some(Direction::SendRecv), "or the other side could never agree to more");
        agree(&mut bench, answered);
        let info = bench.phone.call(id).unwrap();
        assert_eq!((info.local_hold, info.remote_hold), (false, remote));
        assert_eq!(flowing(&bench), Some(flow));
    }
}

/// Our offer is in the 200 and its answer will be in the ACK: another offer crosses it (RFC 3311, section 5.2).
#[test]
fn an_update_before_the_ack_that_answers_us_crosses_our_offer() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    bench.media = Media::Manual;
    let reinvite = caller.request("INVITE", None);
    send(&mut bench, &reinvite);
    bench.take_response(100);
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    bench.take_response(200);
    let seq = caller.seq;
    let update = caller.request("UPDATE", Some(OFFER));
    send(&mut bench, &update);
    assert_eq!(bench.lines(), ["491 UPDATE"]);
    send(&mut bench, &caller.ack(seq, Some(ANSWER)));
    bench.finish_job(Ok(MediaValue::Applied));
    // Nothing is stuck.
    bench.media = Media::Prompt;
    hold(&mut bench, id, true);
    agree(&mut bench, "recvonly");
    assert_eq!(done(&bench), [Ok(())]);
}

/// A 1xx stops Timer B: nothing else would ever end the wait.
#[test]
fn a_re_invite_that_is_never_finally_answered_is_given_up() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 100, ""));
    bench.pass(secs(61));
    assert_eq!(done(&bench), [Err("timeout")]);
    let info = bench.phone.call(id).unwrap();
    assert_eq!((info.local_hold, info.state), (false, CallState::Active));
    assert_eq!(bench.lines(), ["CANCEL"]);
    let theirs = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &theirs);
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
    // The 200 crossed the CANCEL: acknowledged, and no answer to anything any more.
    bench.jobs.clear();
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(!bench.jobs.iter().any(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. })));
}

#[test]
fn a_side_that_always_says_491_is_not_asked_for_ever() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    for round in 0.. {
        assert!(round < 20, "still asking");
        bench.pass(secs(4));
        if bench.sent.is_empty() {
            break;
        }
        let invite = bench.take_request("INVITE");
        bench.reply(&answer(&invite, 491, ""));
        bench.take_request("ACK");
    }
    assert_eq!(done(&bench).len(), 1);
    assert!(done(&bench)[0].is_err());
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    // The next wish is a new one.
    hold(&mut bench, id, true);
    agree(&mut bench, "recvonly");
}

/// Hung up while the re-INVITE is open; its 200 comes after that of the BYE.
#[test]
fn a_late_200_to_a_re_invite_is_acknowledged() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.hangup(id);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.pass(ms(10));
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.seq(), invite.headers.seq());
    assert_eq!(ack.headers.to_tag(), invite.headers.to_tag());
}

#[test]
fn a_491_after_the_end_leaves_no_timer() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.hangup(id);
    bench.take_request("BYE");
    bench.reply(&answer(&invite, 491, ""));
    bench.take_request("ACK");
    let why = bench.phone.poll_timeout().map(|(_, why)| why);
    assert_ne!(why, Some(wasm_softphone::phone::Why::Glare));
}
