//! Hold and unhold: re-INVITE by either side, refusals, and offers that cross (RFC 3261, section 14, RFC 3264).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, ms, outcome, secs, send, with_sdp};
use crate::forking_proxy::Net;
use crate::incoming::answered;
use wasm_softphone::phone::{CallId, CallState, Event, MediaCommand};
use wasm_softphone::sip::message::{Message, Method, Request};
use wasm_softphone::sip::sdp::Direction;

pub fn with(sdp: &str, direction: &str) -> String {
    sdp.replace("sendrecv", direction)
}

fn flows(bench: &Bench) -> Vec<Direction> {
    let flow = |command: &MediaCommand| match command {
        MediaCommand::Flow(direction) => Some(*direction),
        _ => None,
    };
    bench.jobs.iter().filter_map(|(_, _, command)| flow(command)).collect()
}

/// The directions that were offered within the call.
pub fn offered(bench: &Bench) -> Vec<Direction> {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Reoffer { direction } | MediaCommand::RestartIce { direction } => Some(*direction),
        _ => None,
    };
    bench.jobs.iter().filter_map(|(_, _, command)| of(command)).collect()
}

pub fn done(bench: &Bench) -> Vec<Result<(), &'static str>> {
    let of = |event: &Event| match event {
        Event::HoldDone(_, result) => Some(outcome(result)),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

pub fn hold(bench: &mut Bench, call: CallId, on: bool) {
    let now = bench.now;
    if on { bench.phone.hold(now, call) } else { bench.phone.unhold(now, call) }.unwrap();
    bench.drain();
}

pub fn call(bench: &mut Bench) -> (CallId, Caller) {
    let (call, caller) = answered(bench);
    bench.jobs.clear();
    bench.events.clear();
    bench.lines();
    (call, caller)
}

fn agree(bench: &mut Bench, direction: &str) -> Request {
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, direction)));
    assert_eq!(bench.lines(), ["ACK"]);
    invite
}

#[test]
fn held_and_taken_back() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    // Nothing flows from now on, not from the answer on.
    assert_eq!(flows(&bench), [Direction::Inactive]);
    let reoffer = MediaCommand::Reoffer { direction: Direction::SendOnly };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == reoffer));
    assert!(done(&bench).is_empty());
    let invite = agree(&mut bench, "recvonly");
    assert_eq!(done(&bench), [Ok(())]);
    let info = bench.phone.call(id).unwrap();
    assert_eq!((info.local_hold, info.remote_hold, info.state), (true, false, CallState::Active));
    // The ACK was lost.
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    hold(&mut bench, id, true);
    assert_eq!(done(&bench), [Ok(()), Ok(())], "held already");
    bench.nothing_sent();
    hold(&mut bench, id, false);
    agree(&mut bench, "sendrecv");
    assert_eq!(done(&bench).len(), 3);
    assert_eq!(flows(&bench), [Direction::Inactive, Direction::SendRecv]);
    assert!(!bench.phone.call(id).unwrap().local_hold);
    bench.pass(secs(40));
    bench.nothing_sent();
}

/// A call, and in it a hold that comes to nothing with this status.
fn answered_with(bench: &mut Bench, status: u16) -> (CallId, Caller) {
    let (id, caller) = call(bench);
    hold(bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, status, ""));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(matches!(done(bench)[..], [Err(_)]), "{status}");
    (id, caller)
}

/// JsSIP hangs up here.
#[test]
fn a_hold_that_is_refused_leaves_the_call_as_it_was() {
    for status in [488, 403, 500, 603] {
        let mut bench = Bench::online();
        let (id, _) = answered_with(&mut bench, status);
        assert_eq!(flows(&bench), [Direction::Inactive, Direction::SendRecv]);
        assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::Rollback));
        let info = bench.phone.call(id).unwrap();
        assert_eq!((info.local_hold, info.state), (false, CallState::Active));
        assert!(bench.end_of(id).is_none());
        bench.pass(secs(40));
        bench.nothing_sent();
    }
}

/// It may have agreed, and its answer be lost, with its connection for instance: it is asked to agree to the call as it is
/// here.
#[test]
fn a_hold_whose_outcome_is_not_known_is_undone_at_the_other_side() {
    for status in [408, 478, 480, 503] {
        let mut bench = Bench::online();
        let (id, _) = answered_with(&mut bench, status);
        assert!(!bench.phone.call(id).unwrap().local_hold);
        // Still away.
        bench.pass(secs(2));
        let invite = bench.take_request("INVITE");
        bench.reply(&answer(&invite, status, ""));
        assert_eq!(bench.lines(), ["ACK"]);
        bench.pass(secs(4));
        let invite = bench.take_request("INVITE");
        assert_eq!(offered(&bench), [Direction::SendOnly, Direction::SendRecv, Direction::SendRecv]);
        bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
        assert_eq!(bench.lines(), ["ACK"]);
        // Nobody is told of a hold that nobody has asked for.
        assert_eq!(done(&bench).len(), 1);
        bench.pass(secs(120));
        bench.nothing_sent();
        assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    }
}

#[test]
fn a_side_that_cannot_be_asked_is_not_asked_for_ever() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let mut asked = 0;
    for _ in 0..600 {
        for message in core::mem::take(&mut bench.sent) {
            if let Message::Request(request) = message
                && request.method == Method::Invite
            {
                asked += 1;
                bench.reply(&answer(&request, 480, ""));
            }
        }
        bench.pass(secs(1));
    }
    assert_eq!(asked, 5);
    assert_eq!(done(&bench).len(), 1);
    // A hold that the user wants is not held up by it, and settles it.
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 480, ""));
    hold(&mut bench, id, true);
    bench
        .sent
        .retain(|message| matches!(message, Message::Request(request) if request.method == Method::Invite));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "recvonly")));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(bench.phone.call(id).unwrap().local_hold);
    // Nothing is in doubt any more.
    bench.pass(secs(120));
    bench.nothing_sent();
}

#[test]
fn a_call_that_the_other_side_does_not_know_ends() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 481, ""));
    assert_eq!(bench.lines(), ["ACK", "BYE"]);
    assert!(bench.end_of(id).is_some());
    assert_eq!(done(&bench), [Err("ended")]);
}

#[test]
fn offers_that_cross_are_made_again() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    let theirs = caller.request("INVITE", Some(&with(OFFER, "sendonly")));
    send(&mut bench, &theirs);
    assert_eq!(bench.lines(), ["491 INVITE"]);
    send(&mut bench, &caller.ack(caller.seq, None));
    bench.reply(&answer(&invite, 491, ""));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(done(&bench).is_empty());
    // Theirs comes again first.
    let theirs = caller.request("INVITE", Some(&with(OFFER, "sendonly")));
    send(&mut bench, &theirs);
    let lines = bench.lines();
    assert_eq!(lines, ["100 INVITE", "200 INVITE"]);
    send(&mut bench, &caller.ack(caller.seq, None));
    // It agrees to nothing more, but an answer of "inactive" to "sendonly" does not tell of a hold of ours.
    let renegotiate =
        MediaCommand::Renegotiate { offer: with(OFFER, "sendonly"), direction: Direction::Inactive };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == renegotiate));
    assert!(done(&bench).is_empty());
    bench.pass(ms(2000));
    let reoffer = MediaCommand::Reoffer { direction: Direction::Inactive };
    assert_eq!(bench.jobs.iter().filter(|(_, _, command)| *command == reoffer).count(), 1);
    agree(&mut bench, "inactive");
    assert_eq!(done(&bench), [Ok(())]);
    let info = bench.phone.call(id).unwrap();
    assert_eq!((info.local_hold, info.remote_hold), (true, true));
    bench.pass(secs(5));
    bench.nothing_sent();
}

#[test]
fn who_made_the_call_waits_longer_after_glare() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 491, ""));
    bench.lines();
    // An incoming call: within two seconds (RFC 3261, section 14.1).
    bench.pass(ms(2000));
    let again = agree(&mut bench, "recvonly");
    assert!(again.headers.seq() > invite.headers.seq());
    assert_eq!(done(&bench), [Ok(())]);
}

#[test]
fn both_hold_at_once_and_an_update_takes_back() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    hold(&mut bench, id, true);
    agree(&mut bench, "recvonly");
    let update = caller.request("UPDATE", Some(&with(OFFER, "sendonly")));
    send(&mut bench, &update);
    assert_eq!(bench.lines(), ["200 UPDATE"]);
    let info = bench.phone.call(id).unwrap();
    assert_eq!((info.local_hold, info.remote_hold), (true, true));
    hold(&mut bench, id, false);
    agree(&mut bench, "sendonly");
    assert_eq!(flows(&bench).last(), Some(&Direction::RecvOnly), "they still hold");
    let update = caller.request("UPDATE", Some(OFFER));
    send(&mut bench, &update);
    assert_eq!(bench.lines(), ["200 UPDATE"]);
    assert_eq!(flows(&bench).last(), Some(&Direction::SendRecv));
    // Without an offer it is a new target at most.
    let update = caller.request("UPDATE", None);
    send(&mut bench, &update);
    assert_eq!(bench.lines(), ["200 UPDATE"]);
}

#[test]
fn only_the_last_wish_counts_and_every_one_is_answered() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    hold(&mut bench, id, false);
    let first = bench.take_request("INVITE");
    bench.nothing_sent();
    bench.reply(&with_sdp(answer(&first, 200, ""), &with(ANSWER, "recvonly")));
    // Agreed on what is not wanted any more.
    assert_eq!(bench.lines(), ["ACK", "INVITE"]);
    assert!(done(&bench).is_empty());
    assert_eq!(flows(&bench).last(), Some(&Direction::SendRecv));
}

#[test]
fn a_socket_lost_with_a_re_invite_pending_keeps_call_and_wish() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let lost = bench.take_request("INVITE");
    bench.cut();
    assert!(bench.end_of(id).is_none());
    assert!(bench.phone.call(id).unwrap().local_hold);
    bench.pass(secs(10));
    assert!(bench.end_of(id).is_none());
    // Whoever has agreed to it stops repeating that (RFC 3261, section 13.3.1.4).
    assert_eq!(bench.take_request("ACK").headers.seq(), lost.headers.seq());
    agree(&mut bench, "recvonly");
    assert_eq!(done(&bench), [Ok(())]);
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn hung_up_and_left_while_a_re_invite_is_open() {
    for local in [true, false] {
        let mut bench = Bench::online();
        let (id, mut caller) = call(&mut bench);
        hold(&mut bench, id, true);
        let invite = bench.take_request("INVITE");
        if local {
            bench.hangup(id);
            let bye = bench.take_request("BYE");
            bench.reply(&answer(&bye, 200, ""));
        } else {
            let bye = caller.request("BYE", None);
            send(&mut bench, &bye);
            bench.take_response(200);
        }
        assert_eq!(done(&bench), [Err("ended")]);
        assert!(bench.end_of(id).is_some());
        bench.reply(&answer(&invite, 487, ""));
        bench.pass(secs(40));
        assert!(bench.phone.poll_timeout().is_none_or(|(at, _)| at > bench.now));
        assert!(bench.phone.calls().is_empty());
    }
}

#[test]
fn an_offer_that_cannot_be_made_leaves_the_call_as_it_was() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    bench.media = Media::Fails;
    hold(&mut bench, id, true);
    bench.nothing_sent();
    assert_eq!(done(&bench).len(), 1);
    assert!(done(&bench)[0].is_err());
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

/// A hold that a proxy answered in place of the other side.
fn doubted(bench: &mut Bench) -> (CallId, Caller) {
    let call = answered_with(bench, 478);
    bench.pass(secs(2));
    call
}

/// What is said to the offer that settles it settles nothing: the hold may have been agreed to before.
#[test]
fn a_doubt_outlives_a_refusal() {
    for status in [488, 500] {
        let mut bench = Bench::online();
        let (id, _) = doubted(&mut bench);
        let invite = bench.take_request("INVITE");
        bench.reply(&answer(&invite, status, ""));
        assert_eq!(bench.lines(), ["ACK"]);
        bench.pass(secs(4));
        let invite = bench.take_request("INVITE");
        bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
        assert_eq!(bench.lines(), ["ACK"]);
        bench.pass(secs(120));
        bench.nothing_sent();
        assert_eq!(done(&bench).len(), 1);
        assert!(!bench.phone.call(id).unwrap().local_hold);
    }
}

#[test]
fn a_doubt_that_was_given_up_is_settled_once_the_other_side_says_where_it_is() {
    let mut bench = Bench::online();
    let (id, mut caller) = doubted(&mut bench);
    for _ in 0..45 {
        for message in core::mem::take(&mut bench.sent) {
            if let Message::Request(request) = message
                && request.method == Method::Invite
            {
                bench.reply(&answer(&request, 480, ""));
            }
        }
        bench.pass(secs(1));
    }
    bench.lines();
    send(&mut bench, &caller.request("UPDATE", None));
    bench.take_response(200);
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    bench.pass(secs(120));
    bench.nothing_sent();
    assert!(!bench.phone.call(id).unwrap().local_hold);
}

/// It has not been asked for when the offer under way comes to nothing, and is offered next.
#[test]
fn a_hold_behind_an_offer_that_settles_a_doubt_does_not_share_its_fate() {
    for status in [480, 488, 500] {
        let mut bench = Bench::online();
        let (id, _) = doubted(&mut bench);
        let invite = bench.take_request("INVITE");
        hold(&mut bench, id, true);
        bench.reply(&answer(&invite, status, ""));
        assert_eq!(done(&bench).len(), 1, "{status}");
        bench.take_request("ACK");
        let invite = bench.take_request("INVITE");
        assert_eq!(offered(&bench), [Direction::SendOnly, Direction::SendRecv, Direction::SendOnly]);
        bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "recvonly")));
        assert_eq!(done(&bench)[1], Ok(()));
        assert!(bench.phone.call(id).unwrap().local_hold);
        bench.lines();
        bench.pass(secs(120));
        bench.nothing_sent();
    }
}

#[test]
fn a_hold_behind_an_offer_of_theirs_that_is_cancelled_is_made() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    bench.media = Media::Manual;
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    hold(&mut bench, id, true);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.media = Media::Prompt;
    send(&mut bench, &caller.cancel());
    bench.sent.retain(|message| matches!(message, Message::Request(_)));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "recvonly")));
    assert_eq!(done(&bench), [Ok(())]);
}

/// The 2xx of the first comes after that of the second, which then comes again while a third is under way.
#[test]
fn a_late_answer_is_not_taken_for_that_of_the_offer_under_way() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    let first = bench.take_request("INVITE");
    bench.reply(&answer(&first, 100, ""));
    bench.pass(secs(61));
    assert_eq!(bench.lines(), ["CANCEL"]);
    assert!(matches!(done(&bench)[..], [Err(_)]));
    hold(&mut bench, id, true);
    let second = bench.take_request("INVITE");
    let agreed = with_sdp(answer(&second, 200, ""), &with(ANSWER, "recvonly"));
    bench.reply(&agreed);
    assert_eq!(bench.lines(), ["ACK"]);
    bench.reply(&with_sdp(answer(&first, 200, ""), &with(ANSWER, "recvonly")));
    assert_eq!(bench.lines(), ["ACK"], "the second has settled it");
    hold(&mut bench, id, false);
    let third = bench.take_request("INVITE");
    bench.reply(&agreed);
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(done(&bench).len(), 2, "the third has no answer yet");
    bench.reply(&with_sdp(answer(&third, 200, ""), ANSWER));
    assert_eq!(done(&bench).len(), 3);
    assert!(!bench.phone.call(id).unwrap().local_hold);
    bench.lines();
    // Nor is one that was taken long ago.
    hold(&mut bench, id, true);
    bench.take_request("INVITE");
    bench.reply(&agreed);
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(done(&bench).len(), 3, "the fourth has no answer yet");
}

/// The answer is lost with the connection of who gave it, and the proxy says that nobody is there. That phone waits for an
/// ACK when it is back, and the next offer is all that can tell it not to.
#[test]
fn both_ends_agree_and_the_call_goes_on_when_the_answer_to_a_hold_is_lost() {
    for away in [0, 3, 12] {
        let mut net = Net::new(2);
        let (here, there) = net.call(0, 1);
        net.at(0, |bench| bench.phone.hold(bench.now, here)).unwrap();
        while !net.log.iter().any(|line| line == "B 200 INVITE") {
            net.run(ms(1));
        }
        net.cut(1, away == 0);
        net.run(secs(away));
        net.phones[1].reachable = true;
        net.run(secs(120));
        for (side, call) in [(0, here), (1, there)] {
            let info = net.phones[side].phone.call(call).unwrap();
            let found = (info.state, info.local_hold, info.remote_hold);
            assert_eq!(found, (CallState::Active, false, false), "away for {away} s, phone {side}");
        }
    }
}
