//! Reliable provisional responses and PRACK (RFC 3262), UPDATE before the answer (RFC 3311), late offers.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, describes, ms, secs, send, with_sdp};
use wasm_softphone::phone::{CallId, CallState, MediaCommand, MediaError, MediaValue};
use wasm_softphone::sip::message::{Request, Response};

/// A reliable 1xx of the far end.
fn reliable(invite: &Request, status: u16, tag: &str, rseq: u32) -> Response {
    let mut response = answer(invite, status, tag);
    response.headers.push("Require", "100rel");
    response.headers.push("RSeq", rseq.to_string());
    response
}

// ---- as the caller

#[test]
fn a_reliable_1xx_is_acknowledged_once_and_in_order() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.contains_token("Supported", "100rel"));
    let ringing = reliable(&invite, 180, "b", 988_789);
    bench.reply(&ringing);
    let prack = bench.take_request("PRACK");
    assert_eq!(prack.uri, "sip:bob@192.0.2.4:5060");
    assert_eq!(prack.headers.get("RAck"), Some("988789 1 INVITE"));
    assert_eq!(prack.headers.get("CSeq"), Some("2 PRACK"));
    assert_eq!(prack.headers.get("To"), Some("<sip:bob@example.com>;tag=b"));
    // Repeated before its PRACK came; the one after next, whose predecessor is missing.
    bench.reply(&ringing);
    bench.reply(&with_sdp(reliable(&invite, 183, "b", 988_791), ANSWER));
    bench.nothing_sent();
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Ringing);
    bench.reply(&with_sdp(reliable(&invite, 183, "b", 988_790), ANSWER));
    let prack = bench.take_request("PRACK");
    assert_eq!(prack.headers.get("RAck"), Some("988790 1 INVITE"));
    assert_eq!(prack.headers.get("CSeq"), Some("3 PRACK"));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::EarlyMedia);
    // The answer came in the 183: the 200 needs none.
    bench.reply(&answer(&invite, 200, "b"));
    assert_eq!(bench.take_request("ACK").headers.get("CSeq"), Some("1 ACK"));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.hangup(call);
    assert_eq!(
        bench.take_request("BYE").headers.get("CSeq"),
        Some("4 BYE"),
        "the numbers of the dialog go on"
    );
}

#[test]
fn each_fork_has_its_own_numbers() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    for (tag, rseq) in [("b1", 7), ("b2", 7), ("b1", 8), ("b2", 8)] {
        bench.reply(&reliable(&invite, 183, tag, rseq));
        let prack = bench.take_request("PRACK");
        assert!(prack.headers.get("To").unwrap().ends_with(tag));
        assert_eq!(prack.headers.get("RAck"), Some(format!("{rseq} 1 INVITE").as_str()));
        assert_eq!(prack.headers.seq(), Some(rseq - 5));
    }
}

#[test]
fn refused_pracks_and_impossible_numbers_do_no_harm() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&reliable(&invite, 180, "b", u32::MAX));
    let prack = bench.take_request("PRACK");
    bench.reply(&answer(&prack, 481, ""));
    for rseq in ["0", "4294967296", "-1", "x", ""] {
        let mut response = answer(&invite, 183, "b");
        response.headers.push("Require", "100rel");
        response.headers.push("RSeq", rseq);
        bench.reply(&response);
    }
    bench.nothing_sent();
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn hung_up_while_the_prack_is_out() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&reliable(&invite, 180, "b", 1));
    let prack = bench.take_request("PRACK");
    bench.hangup(call);
    bench.take_request("CANCEL");
    bench.reply(&answer(&prack, 200, ""));
    bench.reply(&reliable(&invite, 183, "b", 2));
    bench.nothing_sent();
    bench.reply(&answer(&invite, 487, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(bench.phone.calls().is_empty());
}

/// An INVITE that rings, from a caller with these headers.
fn called(header: &str) -> (Bench, Caller, CallId) {
    let mut bench = Bench::online();
    let mut caller = Caller::new("reliable");
    let mut invite = caller.request("INVITE", Some(OFFER));
    invite.headers.push(header, "100rel");
    send(&mut bench, &invite);
    let id = bench.incoming();
    (bench, caller, id)
}

fn prack(caller: &mut Caller, response: &Response) -> Request {
    let mut prack = caller.request("PRACK", None);
    let rseq = response.headers.get("RSeq").unwrap();
    prack.headers.push("RAck", format!("{rseq} 1 INVITE"));
    prack
}

#[test]
fn ringing_is_reliable_where_the_caller_demands_it() {
    let (mut bench, mut caller, id) = called("Require");
    let ringing = bench.take_response(180);
    assert_eq!(ringing.headers.get("Require"), Some("100rel"));
    // It got lost: 0.5, 1, 2 s later again.
    bench.pass(ms(3600));
    assert_eq!(bench.lines(), ["180 INVITE", "180 INVITE", "180 INVITE"]);
    caller.to_tag = ringing.headers.to_tag();
    let wrong = caller.request("PRACK", None);
    send(&mut bench, &wrong);
    assert_eq!(bench.lines(), ["481 PRACK"]);
    let right = prack(&mut caller, &ringing);
    send(&mut bench, &right);
    assert_eq!(bench.lines(), ["200 PRACK"]);
    // The same once more, as another request: it acknowledges nothing.
    let again = prack(&mut caller, &ringing);
    send(&mut bench, &again);
    assert_eq!(bench.lines(), ["481 PRACK"]);
    bench.pass(secs(40));
    bench.nothing_sent();
    bench.answer(id);
    assert!(!bench.take_response(200).body.is_empty());
}

#[test]
fn a_caller_who_never_acknowledges_is_given_up() {
    let (mut bench, _, id) = called("Require");
    bench.pass(secs(32));
    let lines = bench.lines();
    assert_eq!(lines.last().map(String::as_str), Some("504 INVITE"), "{lines:?}");
    assert_eq!(bench.end_of(id).and_then(|end| end.sip_status), Some(504));
    bench.pass(secs(60));
    bench.nothing_sent();
}

#[test]
fn the_200_waits_for_the_prack_of_an_answer_and_does_not_repeat_it() {
    let (mut bench, mut caller, id) = called("Supported");
    // Without an answer nothing has to be reliable.
    assert_eq!(bench.take_response(180).headers.get("RSeq"), None);
    bench.phone.progress(bench.now, id).unwrap();
    bench.drain();
    let early = bench.take_response(183);
    assert_eq!(early.body, ANSWER.as_bytes());
    bench.answer(id);
    bench.nothing_sent();
    caller.to_tag = early.headers.to_tag();
    let acknowledged = prack(&mut caller, &early);
    send(&mut bench, &acknowledged);
    bench.take_response(200);
    let ok = bench.take_response(200);
    assert!(ok.body.is_empty());
    send(&mut bench, &caller.ack(1, None));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn cancelled_while_a_prack_is_awaited() {
    let (mut bench, caller, id) = called("Require");
    bench.take_response(180);
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    assert!(bench.end_of(id).is_some());
    bench.pass(secs(60));
    bench.nothing_sent();
}

// ---- offers and answers before the answer to the call

/// A call that we answer early and reliably; that has been acknowledged, if `with` says how.
fn answered_early(with: Option<&str>) -> (Bench, Caller, CallId) {
    let (mut bench, mut caller, id) = called("Supported");
    bench.take_response(180);
    bench.phone.progress(bench.now, id).unwrap();
    bench.drain();
    let early = bench.take_response(183);
    caller.to_tag = early.headers.to_tag();
    if let Some(body) = with {
        let mut prack = prack(&mut caller, &early);
        if !body.is_empty() {
            prack.headers.push("Content-Type", "application/sdp");
            prack.body = body.into();
        }
        send(&mut bench, &prack);
    }
    (bench, caller, id)
}

fn renegotiated(bench: &Bench) -> usize {
    let is = |command: &MediaCommand| matches!(command, MediaCommand::Renegotiate { .. });
    bench.jobs.iter().filter(|(_, _, command)| is(command)).count()
}

#[test]
fn an_offer_in_an_update_before_the_answer_is_agreed_to_once_the_first_is_settled() {
    let (mut bench, mut caller, _) = answered_early(None);
    let early = caller.request("UPDATE", Some(OFFER));
    send(&mut bench, &early);
    let lines = bench.lines();
    assert_eq!(lines, ["500 UPDATE"], "our answer has not been acknowledged");

    let (mut bench, mut caller, id) = answered_early(Some(""));
    assert_eq!(bench.lines(), ["200 PRACK"]);
    let update = caller.request("UPDATE", Some(OFFER));
    send(&mut bench, &update);
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.cseq().unwrap().method.as_str(), "UPDATE");
    assert!(describes(&ok.body, ANSWER));
    assert_eq!(renegotiated(&bench), 1);
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::EarlyMedia);
    bench.answer(id);
    assert!(bench.take_response(200).body.is_empty());
    send(&mut bench, &caller.ack(1, None));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    bench.pass(secs(40));
    bench.nothing_sent();
}

#[test]
fn an_offer_in_a_prack_is_answered_in_its_200() {
    let (mut bench, mut caller, id) = answered_early(Some(OFFER));
    let ok = bench.take_response(200);
    assert_eq!(ok.headers.cseq().unwrap().method.as_str(), "PRACK");
    assert!(describes(&ok.body, ANSWER));
    assert_eq!(renegotiated(&bench), 1);
    bench.answer(id);
    bench.take_response(200);
    send(&mut bench, &caller.ack(1, None));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn cancelled_while_an_update_is_answered() {
    let (mut bench, mut caller, id) = answered_early(Some(""));
    bench.lines();
    bench.media = Media::Manual;
    let update = caller.request("UPDATE", Some(OFFER));
    send(&mut bench, &update);
    bench.nothing_sent();
    (caller.seq, caller.branch, caller.to_tag) = (1, 1, None);
    send(&mut bench, &caller.cancel());
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE", "487 UPDATE"]);
    assert!(bench.end_of(id).is_some() && bench.media_closed(id));
}

/// An INVITE without an offer, from a caller who takes reliable 1xx.
fn called_late() -> (Bench, Caller, CallId) {
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let mut invite = caller.request("INVITE", None);
    invite.headers.push("Supported", "100rel");
    send(&mut bench, &invite);
    let id = bench.incoming();
    bench.take_response(180);
    (bench, caller, id)
}

#[test]
fn our_offer_in_a_reliable_1xx_is_answered_in_the_prack() {
    let (mut bench, mut caller, id) = called_late();
    bench.phone.progress(bench.now, id).unwrap();
    bench.drain();
    let early = bench.take_response(183);
    assert_eq!((early.body.as_slice(), early.headers.get("Require")), (OFFER.as_bytes(), Some("100rel")));
    // Answered by the user before the PRACK has come: the 200 follows it.
    bench.answer(id);
    bench.nothing_sent();
    caller.to_tag = early.headers.to_tag();
    let mut prack = prack(&mut caller, &early);
    prack.headers.push("Content-Type", "application/sdp");
    prack.body = ANSWER.into();
    send(&mut bench, &prack);
    let set = MediaCommand::SetAnswer { answer: ANSWER.into(), provisional: false };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == set));
    assert_eq!(bench.take_response(200).headers.cseq().unwrap().method.as_str(), "PRACK");
    assert!(bench.take_response(200).body.is_empty());
    send(&mut bench, &caller.ack(1, None));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn a_prack_without_the_answer_or_with_a_bad_one_ends_the_call() {
    for body in [None, Some("v=0\r\nnonsense")] {
        let (mut bench, mut caller, id) = called_late();
        bench.phone.progress(bench.now, id).unwrap();
        bench.drain();
        let early = bench.take_response(183);
        caller.to_tag = early.headers.to_tag();
        let mut prack = prack(&mut caller, &early);
        if let Some(body) = body {
            prack.headers.push("Content-Type", "application/sdp");
            prack.body = body.into();
            bench.media = Media::Fails;
        }
        send(&mut bench, &prack);
        assert_eq!(bench.lines(), ["200 PRACK", "488 INVITE"]);
        assert_eq!(bench.end_of(id).and_then(|end| end.sip_status), Some(488));
        assert!(bench.media_closed(id));
    }
    // To who cannot take it reliably, no offer goes out in a 1xx.
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let invite = caller.request("INVITE", None);
    send(&mut bench, &invite);
    let id = bench.incoming();
    assert!(bench.phone.progress(bench.now, id).is_err());
}

/// We are the caller.
#[test]
fn an_update_before_the_answer_to_our_call() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    let mut callee = Caller::callee(&invite, "b");
    let crossing = callee.request("UPDATE", Some(OFFER));
    send(&mut bench, &crossing);
    assert_eq!(bench.lines(), ["491 UPDATE"], "our offer is open (RFC 3311, section 5.2)");
    let mut moved = callee.request("UPDATE", None);
    moved.headers.set("Contact", "<sip:bob@moved.example.com>");
    send(&mut bench, &moved);
    assert_eq!(bench.lines(), ["200 UPDATE"]);
    // The fork's target is the new one.
    bench.reply(&with_sdp(reliable(&invite, 183, "b", 1), ANSWER));
    assert_eq!(bench.take_request("PRACK").uri, "sip:bob@moved.example.com");
    let settled = callee.request("UPDATE", Some(OFFER));
    send(&mut bench, &settled);
    assert!(describes(&bench.take_response(200).body, ANSWER));
    // A description that was not acknowledged is no answer yet, whatever was acknowledged before it.
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&reliable(&invite, 180, "b", 1));
    bench.reply(&with_sdp(answer(&invite, 183, "b"), ANSWER));
    bench.lines();
    let mut callee = Caller::callee(&invite, "b");
    send(&mut bench, &callee.request("UPDATE", Some(OFFER)));
    assert_eq!(bench.lines(), ["491 UPDATE"]);
}

/// A call of ours of which two forks have answered early and reliably.
fn two_forks() -> (Bench, CallId, Request) {
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    for tag in ["b1", "b2"] {
        bench.reply(&with_sdp(reliable(&invite, 183, tag, 1), ANSWER));
        bench.take_request("PRACK");
    }
    (bench, id, invite)
}

/// What the media half was asked for.
fn last_job(bench: &Bench) -> &MediaCommand {
    &bench.jobs.last().unwrap().2
}

#[test]
fn a_fork_that_renegotiates_before_it_answers_needs_no_further_answer() {
    for with_sdp_again in [false, true] {
        let (mut bench, id, invite) = two_forks();
        let mut fork = Caller::callee(&invite, "b1");
        for _ in 0..2 {
            let offer = OFFER.replace("sendrecv", "sendonly");
            send(&mut bench, &fork.request("UPDATE", Some(&offer)));
            let ok = bench.take_response(200);
            assert!(describes(&ok.body, &ANSWER.replace("sendrecv", "recvonly")));
            assert_eq!(ok.headers.to_tag(), fork.to_tag);
        }
        assert_eq!(renegotiated(&bench), 2);
        assert!(bench.phone.call(id).unwrap().remote_hold);
        let ok = answer(&invite, 200, "b1");
        bench.reply(&if with_sdp_again { with_sdp(ok, ANSWER) } else { ok });
        assert_eq!(bench.lines(), ["ACK"]);
        assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
        assert_eq!(bench.dial_result(id), Some(&Ok(())));
        let is_final =
            |command: &MediaCommand| matches!(command, MediaCommand::SetAnswer { provisional: false, .. });
        assert!(!bench.jobs.iter().any(|(_, _, command)| is_final(command)));
        // The dialog goes on with its numbers, and takes offers of either side.
        send(&mut bench, &fork.request("UPDATE", Some(OFFER)));
        assert_eq!(bench.lines(), ["200 UPDATE"]);
        assert!(!bench.phone.call(id).unwrap().remote_hold);
        bench.phone.hold(bench.now, id).unwrap();
        bench.drain();
        assert_eq!(bench.take_request("INVITE").headers.seq(), Some(3));
    }
}

#[test]
fn another_fork_that_answers_gets_a_new_offer() {
    let (mut bench, id, invite) = two_forks();
    let mut fork = Caller::callee(&invite, "b1");
    bench.media = Media::Manual;
    let offer = OFFER.replace("sendrecv", "sendonly");
    send(&mut bench, &fork.request("UPDATE", Some(&offer)));
    bench.nothing_sent();
    bench.media = Media::Prompt;
    bench.reply(&with_sdp(answer(&invite, 200, "b2"), ANSWER));
    let ack = bench.take_request("ACK");
    assert_eq!(bench.take_response(487).headers.cseq().unwrap().method.as_str(), "UPDATE");
    assert!(matches!(last_job(&bench), MediaCommand::RestartIce { .. }), "{:?}", last_job(&bench));
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::Rollback));
    let again = bench.take_request("INVITE");
    assert_eq!(again.headers.get("To"), ack.headers.get("To"));
    assert!(again.headers.seq() > invite.headers.seq());
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    bench.reply(&with_sdp(answer(&again, 200, ""), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(!bench.phone.call(id).unwrap().remote_hold);
    bench.pass(secs(60));
    bench.nothing_sent();
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn answered_or_given_up_while_the_offer_of_a_fork_is_answered() {
    let pending = || {
        let (mut bench, id, invite) = two_forks();
        let mut fork = Caller::callee(&invite, "b1");
        bench.media = Media::Manual;
        bench.jobs.clear();
        send(&mut bench, &fork.request("UPDATE", Some(OFFER)));
        bench.nothing_sent();
        (bench, id, invite, fork)
    };
    let (mut bench, id, invite, mut fork) = pending();
    send(&mut bench, &fork.request("UPDATE", Some(OFFER)));
    assert_eq!(bench.lines(), ["500 UPDATE"], "one after the other");
    bench.reply(&answer(&invite, 200, "b1"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    assert_eq!(bench.lines(), ["200 UPDATE"]);

    let (mut bench, id, invite, _) = pending();
    bench.finish_job(Err(MediaError::Description));
    assert_eq!(bench.lines(), ["488 UPDATE"]);
    bench.reply(&with_sdp(answer(&invite, 200, "b1"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert!(matches!(last_job(&bench), MediaCommand::RestartIce { .. }), "{:?}", last_job(&bench));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);

    let (mut bench, id, ..) = pending();
    bench.hangup(id);
    assert_eq!(bench.lines(), ["487 UPDATE", "CANCEL"]);
    assert!(bench.media_closed(id));
}

/// We are called.
#[test]
fn answered_by_the_user_while_an_update_is_answered() {
    for good in [true, false] {
        let (mut bench, mut caller, id) = answered_early(Some(""));
        bench.lines();
        bench.media = Media::Manual;
        bench.jobs.clear();
        send(&mut bench, &caller.request("UPDATE", Some(OFFER)));
        bench.answer(id);
        bench.nothing_sent();
        bench.finish_job(if good {
            Ok(MediaValue::Local(ANSWER.into()))
        } else {
            Err(MediaError::Description)
        });
        assert_eq!(bench.lines(), [if good { "200 UPDATE" } else { "488 UPDATE" }, "200 INVITE"]);
        send(&mut bench, &caller.ack(1, None));
        assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    }
}

#[test]
fn an_update_that_crosses_our_offer_in_a_reliable_1xx_is_refused() {
    let (mut bench, mut caller, id) = called_late();
    bench.phone.progress(bench.now, id).unwrap();
    bench.drain();
    caller.to_tag = bench.take_response(183).headers.to_tag();
    send(&mut bench, &caller.request("UPDATE", Some(OFFER)));
    assert_eq!(bench.lines(), ["491 UPDATE"]);
}

#[test]
fn no_microphone_opens_because_a_caller_demands_an_offer_in_the_first_reliable_1xx() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let mut invite = caller.request("INVITE", None);
    invite.headers.push("Require", "100rel");
    send(&mut bench, &invite);
    let id = bench.incoming();
    // A 180 would have to hold it.
    assert_eq!(bench.lines(), ["100 INVITE"]);
    assert!(bench.jobs.is_empty());
    bench.answer(id);
    let ok = bench.take_response(200);
    assert_eq!(ok.body, OFFER.as_bytes());
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(1, Some(ANSWER)));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}
