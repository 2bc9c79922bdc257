//! Every way to end a call by REST in every phase of it: nothing goes on ringing, nothing goes on costing.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::bench::answer;
use wasm_softphone::error::{Error, ErrorCode};
use wasm_softphone::phone::{CallInfo, ConnectionState, LockId, MediaError, MediaValue};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    HangUp,
    Abort,
    PageHide,
    Disconnect,
}

fn end(at: At, how: How) {
    let (mut bench, id, mut caller, invite) = reach(at);
    match how {
        How::HangUp => bench.hangup(id),
        How::Abort => {
            let cause = Error::new(ErrorCode::Aborted, "aborted");
            bench.phone.hangup(bench.now, id, Some(cause));
            bench.drain();
        }
        How::PageHide => bench.input(Input::PageHide(PageKept::Nothing)),
        How::Disconnect => bench.disconnect(),
    }
    let asked = !matches!(at, At::Lock | At::Microphone);
    assert_eq!(count(&bench, is_start), usize::from(asked));
    // It outlives the page, and the connection.
    assert_eq!(bench.asked.iter().filter(|(command, _)| is_cancel(command)).count(), usize::from(asked));
    assert!(bench.asked.iter().all(|(command, keepalive)| !is_cancel(command) || *keepalive));
    assert_eq!(bench.requests.iter().any(|(_, command)| is_cancel(command)), asked);
    let open = matches!(at, At::Open | At::Outcome);
    assert_eq!(gate_is_open(&bench, id), open);
    let end = bench.end_of(id).unwrap();
    assert_eq!(end.by, EndedBy::Local);
    assert_eq!(end.cause, if open { EndCause::Completed } else { EndCause::Cancelled });
    if open {
        assert_eq!(bench.dial_result(id), Some(&Ok(())));
    } else {
        assert_eq!(bench.dial_error(id), "aborted");
    }
    assert!(bench.locks.is_empty());
    let lines = bench.lines();
    let expected: &[&str] = match at {
        At::Answering => &["603 INVITE"],
        // Only after the ACK (RFC 3261, section 15); a page that is left has no time for that.
        At::Accepted if how == How::PageHide => &["BYE"],
        At::Gated | At::Open => &["BYE"],
        _ => &[],
    };
    assert_eq!(lines, expected, "{at:?} {how:?}");
    if at == At::Accepted && how != How::PageHide {
        let ack = caller.ack(1, None);
        send(&mut bench, &ack);
        assert_eq!(bench.lines(), ["BYE"]);
    }
    // The provider calls all the same.
    if matches!(at, At::Requested | At::Ringing) && !matches!(how, How::PageHide | How::Disconnect) {
        if at == At::Requested {
            bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
        }
        bench.proxy_answers(is_cancel, reply(202, state("cancelling", 2)));
        send(&mut bench, &invite);
        assert_eq!(bench.lines(), ["603 INVITE"]);
        assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))));
    }
    settled(bench, id);
}

macro_rules! ends {
    ($($name:ident: $at:ident $how:ident;)*) => { $(
        #[test]
        fn $name() {
            end(At::$at, How::$how);
        }
    )* };
}

ends! {
    hang_up_while_the_lock_is_pending: Lock HangUp;
    hang_up_while_the_microphone_is_pending: Microphone HangUp;
    hang_up_while_the_proxy_is_asked: Requested HangUp;
    hang_up_before_the_invite: Ringing HangUp;
    hang_up_while_the_answer_is_made: Answering HangUp;
    hang_up_before_the_ack: Accepted HangUp;
    hang_up_before_the_confirmation: Gated HangUp;
    hang_up_of_an_open_call: Open HangUp;
    hang_up_while_the_outcome_is_awaited: Outcome HangUp;
    abort_while_the_lock_is_pending: Lock Abort;
    abort_while_the_microphone_is_pending: Microphone Abort;
    abort_while_the_proxy_is_asked: Requested Abort;
    abort_before_the_invite: Ringing Abort;
    abort_while_the_answer_is_made: Answering Abort;
    abort_before_the_ack: Accepted Abort;
    abort_before_the_confirmation: Gated Abort;
    abort_of_an_open_call: Open Abort;
    abort_while_the_outcome_is_awaited: Outcome Abort;
    page_left_while_the_lock_is_pending: Lock PageHide;
    page_left_while_the_microphone_is_pending: Microphone PageHide;
    page_left_while_the_proxy_is_asked: Requested PageHide;
    page_left_before_the_invite: Ringing PageHide;
    page_left_while_the_answer_is_made: Answering PageHide;
    page_left_before_the_ack: Accepted PageHide;
    page_left_before_the_confirmation: Gated PageHide;
    page_left_with_an_open_call: Open PageHide;
    page_left_while_the_outcome_is_awaited: Outcome PageHide;
    disconnect_while_the_lock_is_pending: Lock Disconnect;
    disconnect_while_the_microphone_is_pending: Microphone Disconnect;
    disconnect_while_the_proxy_is_asked: Requested Disconnect;
    disconnect_before_the_invite: Ringing Disconnect;
    disconnect_before_the_confirmation: Gated Disconnect;
    disconnect_with_an_open_call: Open Disconnect;
    disconnect_before_the_ack: Accepted Disconnect;
    disconnect_while_the_outcome_is_awaited: Outcome Disconnect;
}

fn times_out(at: At, after: Duration) {
    let (mut bench, id, ..) = reach_with(at, OriginateRequest { timeout: Some(after), ..request() });
    bench.pass(after - ms(1));
    assert!(bench.end_of(id).is_none());
    bench.pass(ms(1));
    assert_eq!(bench.dial_error(id), "timeout");
    let asked = !matches!(at, At::Lock | At::Microphone);
    assert_eq!(count(&bench, is_cancel), usize::from(asked));
    settled(bench, id);
}

macro_rules! deadlines {
    ($($name:ident: $at:ident;)*) => { $(
        #[test]
        fn $name() {
            times_out(At::$at, secs(3));
        }
    )* };
}

deadlines! {
    timeout_while_the_lock_is_pending: Lock;
    timeout_while_the_microphone_is_pending: Microphone;
    timeout_while_the_proxy_is_asked: Requested;
    timeout_before_the_invite: Ringing;
    timeout_while_the_answer_is_made: Answering;
    timeout_before_the_ack: Accepted;
    timeout_before_the_confirmation: Gated;
}

#[test]
fn the_timeout_of_the_dial_does_not_end_an_open_call() {
    let (mut bench, id, ..) = reach_with(At::Open, OriginateRequest { timeout: Some(secs(3)), ..request() });
    bench.pass(secs(20));
    assert!(bench.end_of(id).is_none());
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_cancellation_that_waits_for_another_attempt_goes_out_with_the_page() {
    let (mut bench, id, ..) = reach(At::Ringing);
    bench.hangup(id);
    bench.proxy_answers(is_cancel, Err(ProxyFailure::Network));
    assert!(!bench.requests.iter().any(|(_, command)| is_cancel(command)));
    bench.input(Input::PageHide(PageKept::Nothing));
    assert!(bench.requests.iter().any(|(_, command)| is_cancel(command)));
    settled(bench, id);
}

#[test]
fn a_cancellation_is_repeated_until_it_is_heard_and_not_after_that() {
    for failure in [
        Err(ProxyFailure::Network),
        Err(ProxyFailure::Timeout),
        problem(401, "unauthenticated"),
        problem(429, "rate_limited"),
        problem(500, ""),
        problem(502, ""),
    ] {
        let (mut bench, id, ..) = reach(At::Ringing);
        bench.hangup(id);
        bench.proxy_answers(is_cancel, failure);
        bench.pass(secs(1));
        assert_eq!(count(&bench, is_cancel), 2);
        bench.proxy_answers(is_cancel, reply(202, state("cancelling", 2)));
        bench.pass(secs(20));
        assert_eq!(count(&bench, is_cancel), 2);
        settled(bench, id);
    }
}

#[test]
fn a_cancellation_that_is_never_heard_is_given_up() {
    let (mut bench, id, ..) = reach(At::Ringing);
    bench.hangup(id);
    for _ in 0..6 {
        bench.proxy_answers(is_cancel, Err(ProxyFailure::Network));
        bench.pass(secs(4));
    }
    assert_eq!(count(&bench, is_cancel), 6);
    settled(bench, id);
}

#[test]
fn the_proxy_is_told_of_the_end_after_the_phone_has_disconnected() {
    let (mut bench, id, ..) = reach(At::Ringing);
    bench.disconnect();
    assert!(bench.events.contains(&Event::DisconnectDone), "the proxy must not hold up a disconnect");
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    bench.proxy_answers(is_cancel, Err(ProxyFailure::Network));
    bench.pass(secs(1));
    assert_eq!(count(&bench, is_cancel), 2);
    // Back on the line, the late call is known.
    bench.connect();
    let (_, invite) = bridge("late", CALLER_ID);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["603 INVITE"]);
    settled(bench, id);
}

#[test]
fn an_ended_dial_is_in_nobodys_way() {
    let (mut bench, id, ..) = reach(At::Ringing);
    bench.hangup(id);
    assert_eq!(bench.phone.calls(), Vec::<CallInfo>::new());
    let next = originate(&mut bench);
    bench.hangup(next);
    bench.disconnect();
    bench.connect();
    let third = originate(&mut bench);
    bench.hangup(third);
    settled(bench, third);
}

#[test]
fn a_bye_waits_for_the_ack_longer_than_the_tombstone_stands() {
    let (mut bench, id, ..) = reach(At::Accepted);
    bench.hangup(id);
    bench.proxy_answers(is_cancel, reply(202, state("cancelling", 2)));
    bench.pass(secs(33));
    assert!(bench.lines().contains(&"BYE".to_owned()), "the provider thinks that it is still connected");
    settled(bench, id);
}

#[test]
fn no_bye_follows_the_providers_own() {
    let (mut bench, id, mut caller, _) = reach(At::Accepted);
    bench.hangup(id);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    assert_eq!(bench.lines(), ["200 BYE"]);
    bench.pass(secs(40));
    bench.nothing_sent();
    settled(bench, id);
}

// ---- the connection

fn cut_at(at: At) -> (Bench, CallId, Caller, Request) {
    let (mut bench, id, caller, invite) = reach(at);
    bench.cut();
    assert_eq!(bench.phone.connection(), ConnectionState::Connected, "back at once");
    (bench, id, caller, invite)
}

#[test]
fn a_lost_socket_before_the_proxy_is_asked_changes_nothing() {
    let (mut bench, id, ..) = cut_at(At::Microphone);
    bench.media = Media::Prompt;
    bench.finish_job(Ok(MediaValue::Microphone));
    assert_eq!(count(&bench, is_start), 1);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_lost_socket_before_the_invite_leaves_the_slot_armed() {
    for at in [At::Requested, At::Ringing] {
        let (mut bench, id, _, invite) = cut_at(at);
        if at == At::Requested {
            bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
        }
        send(&mut bench, &invite);
        bench.take_response(200);
        bench.hangup(id);
        settled(bench, id);
    }
}

#[test]
fn a_lost_socket_and_no_invite_ends_at_the_deadline() {
    let (mut bench, id, ..) = cut_at(At::Ringing);
    bench.pass(secs(25));
    assert_eq!(bench.dial_error(id), "bridge_missing");
    settled(bench, id);
}

#[test]
fn a_lost_socket_while_the_answer_is_made_sends_it_over_the_next() {
    let (mut bench, id, ..) = cut_at(At::Answering);
    let (call, seq, _) = bench.jobs.last().cloned().unwrap();
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Local(OFFER.into())) });
    bench.take_response(200);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_lost_socket_of_an_answered_call_leaves_it_to_the_proxy() {
    for at in [At::Accepted, At::Gated, At::Open] {
        let (mut bench, id, ..) = cut_at(at);
        if at != At::Open {
            bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
        }
        assert!(gate_is_open(&bench, id));
        bench.proxy_answers(is_poll, reply(200, ended("completed", 4)));
        assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
        settled(bench, id);
    }
}

#[test]
fn a_lost_socket_while_the_outcome_is_awaited_is_of_no_interest() {
    let (mut bench, id, ..) = cut_at(At::Outcome);
    bench.proxy_answers(is_poll, reply(200, ended("busy", 4)));
    assert!(
        matches!(&bench.end_of(id).unwrap().cause, EndCause::Failed(error) if error.code == ErrorCode::Busy)
    );
    settled(bench, id);
}

// ---- before the proxy is asked

#[test]
fn another_tab_that_dials_is_told_before_anything_is_asked() {
    let mut bench = elks();
    bench.lock_free = Some(false);
    let id = originate(&mut bench);
    assert_eq!(bench.dial_error(id), "already_dialing");
    assert!(bench.asked.is_empty());
    settled(bench, id);
}

#[test]
fn a_microphone_that_is_refused_costs_no_call() {
    let (mut bench, id, ..) = reach(At::Microphone);
    bench.finish_job(Err(MediaError::Denied));
    assert_eq!(bench.dial_error(id), "media_denied");
    assert!(bench.asked.is_empty());
    settled(bench, id);
}

#[test]
fn a_lock_that_nobody_answers_for_is_given_up() {
    let (mut bench, id, ..) = reach(At::Lock);
    bench.pass(secs(10));
    assert_eq!(bench.dial_error(id), "timeout");
    // Too late.
    bench.input(Input::Lock(LockId(1), true));
    assert!(bench.asked.is_empty());
    settled(bench, id);
}

#[test]
fn a_prompt_for_the_microphone_may_take_its_time() {
    let (mut bench, id, ..) = reach(At::Microphone);
    bench.pass(secs(60));
    assert!(bench.end_of(id).is_none() && bench.asked.is_empty());
    bench.finish_job(Ok(MediaValue::Microphone));
    assert_eq!(count(&bench, is_start), 1);
    bench.hangup(id);
    settled(bench, id);
}

// ---- after the answer

#[test]
fn the_far_legs_outcome_is_that_of_the_call() {
    for (reason, code) in [
        ("busy", Some(ErrorCode::Busy)),
        ("no_answer", Some(ErrorCode::NoAnswer)),
        ("failed", Some(ErrorCode::ProviderError)),
        ("unverified", Some(ErrorCode::UnverifiedBridge)),
        ("client_unreachable", Some(ErrorCode::BridgeMissing)),
        ("provider_error", Some(ErrorCode::ProviderError)),
        ("something new", Some(ErrorCode::ProviderError)),
        ("completed", None),
    ] {
        for at in [At::Open, At::Outcome] {
            let (mut bench, id, ..) = reach(at);
            bench.proxy_answers(is_poll, reply(200, ended(reason, 4)));
            let found = match &bench.end_of(id).unwrap().cause {
                EndCause::Failed(error) => Some(error.code),
                _ => None,
            };
            assert_eq!(found, code, "{reason}");
            let lines = bench.lines();
            assert_eq!(lines, if at == At::Open { vec!["BYE"] } else { vec![] });
            // What is known to be over is not cancelled.
            assert_eq!(count(&bench, is_cancel), 0);
            settled(bench, id);
        }
    }
}

#[test]
fn the_outcome_is_not_waited_for_for_ever() {
    let (mut bench, id, ..) = reach(At::Outcome);
    bench.pass(ms(1_999));
    assert!(bench.end_of(id).is_none());
    bench.pass(ms(1));
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
    settled(bench, id);
}

#[test]
fn a_bye_before_the_confirmation_was_heard_is_no_forgery() {
    let (mut bench, id, mut caller, _) = reach(At::Gated);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    assert!(!gate_is_open(&bench, id) && bench.end_of(id).is_none());
    bench.proxy_answers(is_poll, reply(200, ended("busy", 4)));
    assert_eq!(bench.dial_error(id), "busy");
    settled(bench, id);
}

#[test]
fn a_bye_without_any_confirmation_is_unverified() {
    let (mut bench, id, mut caller, _) = reach(At::Gated);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.pass(secs(2));
    assert_eq!(bench.dial_error(id), "unverified_bridge");
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

#[test]
fn an_end_that_comes_with_the_confirmation_opens_nothing() {
    let (mut bench, id, ..) = reach(At::Gated);
    let call = ProxyCall { confirmed: true, ..ended("busy", 4) };
    bench.proxy_answers(is_poll, reply(200, call));
    assert!(!gate_is_open(&bench, id));
    assert_eq!(bench.dial_error(id), "busy");
    settled(bench, id);
}

#[test]
fn no_call_is_longer_than_the_proxy_allows() {
    let mut bench = elks();
    let id = originate(&mut bench);
    let call = ProxyCall { max_duration: Some(secs(60)), ..state("ringing_client", 1) };
    bench.proxy_answers(is_start, reply(202, call));
    let (mut caller, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    acknowledge(&mut bench, &mut caller, true);
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    bench.pass(secs(59));
    assert!(bench.end_of(id).is_none());
    bench.pass(secs(1));
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
    assert!(bench.lines().contains(&"BYE".to_owned()));
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

#[test]
fn an_hour_is_the_longest_where_the_proxy_does_not_say() {
    let (mut bench, id, ..) = reach(At::Open);
    bench.pass(secs(3_600));
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
    settled(bench, id);
}

#[test]
fn a_bye_that_is_answered_leaves_the_tombstone_alone() {
    let (mut bench, id, ..) = reach(At::Gated);
    bench.hangup(id);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.proxy_answers(is_cancel, Err(ProxyFailure::Network));
    bench.pass(secs(1));
    assert_eq!(count(&bench, is_cancel), 2);
    settled(bench, id);
}
