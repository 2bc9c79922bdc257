//! What the proxy answers, and what it does not: every code, every loss, every deadline.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::bench::ANSWER;
use wasm_softphone::phone::{Input, ProxyId};

fn refused(status: u16, code: &str) -> &'static str {
    let (mut bench, id, ..) = reach(At::Requested);
    bench.proxy_answers(is_start, problem(status, code));
    let error = bench.dial_error(id);
    // There is nothing to cancel, and nothing to ask.
    assert_eq!((count(&bench, is_cancel), count(&bench, is_poll)), (0, 0), "{status} {code}");
    settled(bench, id);
    error
}

#[test]
fn every_problem_of_the_contract_has_its_error() {
    for (status, code, error) in [
        (400, "bad_request", "proxy_error"),
        (413, "bad_request", "proxy_error"),
        (415, "bad_request", "proxy_error"),
        (401, "unauthenticated", "proxy_denied"),
        (403, "origin_denied", "proxy_denied"),
        (403, "caller_id_denied", "proxy_denied"),
        (403, "destination_denied", "proxy_denied"),
        (403, "emergency_unsupported", "proxy_denied"),
        (422, "invalid_destination", "invalid_destination"),
        (422, "idempotency_mismatch", "proxy_error"),
        (409, "call_in_progress", "already_dialing"),
        (409, "cancelled", "aborted"),
        (429, "rate_limited", "proxy_rate_limited"),
        (429, "budget_exhausted", "proxy_rate_limited"),
        (502, "provider_auth", "provider_error"),
        (502, "provider_config", "provider_error"),
        (503, "provider_credit", "provider_error"),
        (503, "provider_busy", "provider_error"),
        (502, "provider_error", "provider_error"),
        (503, "disabled", "proxy_error"),
        // A server that is no such proxy.
        (401, "", "proxy_denied"),
        (403, "", "proxy_denied"),
        (404, "", "proxy_error"),
        (405, "", "proxy_error"),
        (410, "", "proxy_error"),
        (429, "", "proxy_rate_limited"),
    ] {
        assert_eq!(refused(status, code), error, "{status} {code}");
    }
}

#[test]
fn the_time_to_wait_is_in_the_hint() {
    let (mut bench, id, ..) = reach(At::Requested);
    let answer = ProxyReply {
        status: 429,
        code: Some("rate_limited".into()),
        retry_after: Some(secs(30)),
        ..ProxyReply::default()
    };
    bench.proxy_answers(is_start, Ok(answer));
    let error = bench.dial_result(id).unwrap().as_ref().unwrap_err();
    assert!(error.hint.as_deref().unwrap_or_default().contains("30"), "{error:?}");
}

#[test]
fn a_request_that_was_not_sent_fails_with_its_own_error() {
    let (mut bench, id, ..) = reach(At::Requested);
    let error = wasm_softphone::error::Error::invalid_config("proxyHeaders", "threw");
    bench.proxy_answers(is_start, Err(ProxyFailure::NotSent(error)));
    assert_eq!(bench.dial_error(id), "invalid_config");
    assert_eq!(count(&bench, is_cancel), 0);
    settled(bench, id);
}

/// Answers after which nobody knows whether there is a call.
fn doubtful() -> Vec<Result<ProxyReply, ProxyFailure>> {
    let mut answers = vec![Err(ProxyFailure::Network), Err(ProxyFailure::Timeout)];
    for status in [200, 202, 204, 301, 408, 500, 502, 503, 504] {
        answers.push(problem(status, ""));
    }
    answers.push(problem(500, "internal"));
    answers
}

#[test]
fn a_lost_answer_is_asked_for_and_the_request_never_repeated() {
    for answer in doubtful() {
        let (mut bench, id, ..) = reach(At::Requested);
        bench.proxy_answers(is_start, answer.clone());
        assert_eq!(count(&bench, is_poll), 1, "{answer:?}");
        bench.proxy_answers(is_poll, reply(200, state("ringing_client", 1)));
        let (mut caller, invite) = bridge("bridge", CALLER_ID);
        send(&mut bench, &invite);
        acknowledge(&mut bench, &mut caller, true);
        bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
        assert_eq!(bench.dial_result(id), Some(&Ok(())));
        bench.hangup(id);
        settled(bench, id);
    }
}

#[test]
fn a_call_that_the_proxy_does_not_know_is_cancelled_all_the_same() {
    for answer in doubtful() {
        let (mut bench, id, _, invite) = reach(At::Requested);
        bench.proxy_answers(is_config, known());
        bench.proxy_answers(is_start, answer);
        bench.proxy_answers(is_poll, problem(404, "not_found"));
        assert_eq!(bench.dial_error(id), "proxy_unreachable");
        assert_eq!(count(&bench, is_cancel), 1);
        send(&mut bench, &invite);
        assert_eq!(bench.lines(), ["603 INVITE"]);
        settled(bench, id);
    }
}

#[test]
fn a_session_that_ran_out_while_asking_is_denied_and_cancelled() {
    for status in [401, 403] {
        let (mut bench, id, ..) = reach(At::Requested);
        bench.proxy_answers(is_start, Err(ProxyFailure::Network));
        bench.proxy_answers(is_poll, problem(status, ""));
        assert_eq!(bench.dial_error(id), "proxy_denied");
        assert_eq!(count(&bench, is_cancel), 1);
        settled(bench, id);
    }
}

#[test]
fn a_proxy_that_answers_no_question_is_given_up() {
    let (mut bench, id, ..) = reach(At::Requested);
    bench.proxy_answers(is_start, Err(ProxyFailure::Network));
    for _ in 0..6 {
        bench.proxy_answers(is_poll, Err(ProxyFailure::Network));
        bench.pass(secs(4));
    }
    assert_eq!(bench.dial_error(id), "proxy_unreachable");
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

#[test]
fn a_proxy_that_never_answers_is_bounded_by_the_slot() {
    let (mut bench, id, ..) = reach(At::Requested);
    bench.pass(secs(10));
    // The request timed out: it is asked for.
    assert_eq!((count(&bench, is_poll), count(&bench, is_start)), (1, 1));
    bench.pass(secs(15));
    assert_eq!(bench.dial_error(id), "proxy_unreachable");
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

#[test]
fn the_slot_is_armed_for_as_long_as_the_provider_rings() {
    let mut bench = elks();
    let id = originate(&mut bench);
    let call = ProxyCall { ring_timeout: Some(secs(30)), ..state("ringing_client", 1) };
    bench.proxy_answers(is_start, reply(202, call));
    bench.pass(secs(34));
    assert!(bench.end_of(id).is_none());
    bench.pass(secs(1));
    assert_eq!(bench.dial_error(id), "bridge_missing");
    settled(bench, id);
}

#[test]
fn the_confirmation_has_the_time_that_the_proxy_names() {
    let mut bench = elks();
    let id = originate(&mut bench);
    let call = ProxyCall { confirm_timeout: Some(secs(7)), ..state("ringing_client", 1) };
    bench.proxy_answers(is_start, reply(202, call));
    let (_, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    bench.pass(ms(6_999));
    assert!(bench.end_of(id).is_none());
    bench.pass(ms(1));
    assert_eq!(bench.dial_error(id), "unverified_bridge");
    settled(bench, id);
}

#[test]
fn another_number_than_this_phones_is_an_error_of_the_configuration() {
    for to in ["+4600100101", "", "+46001001001"] {
        let mut bench = elks();
        let id = originate(&mut bench);
        let expect = Some(Expected { from: CALLER_ID.into(), to: to.into() });
        bench.proxy_answers(is_start, reply(202, ProxyCall { expect, ..state("ringing_client", 1) }));
        assert_eq!(bench.dial_error(id), "proxy_error");
        assert_eq!(count(&bench, is_cancel), 1);
        settled(bench, id);
    }
}

// ---- the claim

#[test]
fn a_claim_is_repeated_until_it_is_heard() {
    for failure in [
        Err(ProxyFailure::Network),
        Err(ProxyFailure::Timeout),
        problem(401, ""),
        problem(429, ""),
        problem(502, ""),
    ] {
        let (mut bench, id, ..) = reach(At::Gated);
        bench.proxy_answers(is_claim, failure);
        bench.pass(ms(250));
        assert_eq!(count(&bench, is_claim), 2);
        bench.proxy_answers(is_claim, problem(204, ""));
        bench.pass(secs(2));
        assert_eq!(count(&bench, is_claim), 2);
        bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
        assert!(gate_is_open(&bench, id));
        bench.hangup(id);
        settled(bench, id);
    }
}

#[test]
fn a_claim_that_is_refused_or_never_heard_ends_unverified() {
    for answers in [vec![problem(409, "ended")], vec![Err(ProxyFailure::Network); 4]] {
        let (mut bench, id, ..) = reach(At::Gated);
        for answer in answers {
            bench.proxy_answers(is_claim, answer);
            bench.pass(ms(1_000));
            if bench.end_of(id).is_some() {
                break;
            }
        }
        bench.pass(secs(4));
        assert_eq!(bench.dial_error(id), "unverified_bridge");
        assert!(!gate_is_open(&bench, id));
        settled(bench, id);
    }
}

// ---- questions

#[test]
fn questions_that_fail_are_asked_again() {
    let (mut bench, id, ..) = reach(At::Gated);
    for failure in [Err(ProxyFailure::Network), problem(502, ""), problem(200, "")] {
        bench.proxy_answers(is_poll, failure);
        bench.pass(secs(1));
    }
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    assert!(gate_is_open(&bench, id));
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_proxy_that_forgets_a_call_that_is_not_confirmed_ends_it() {
    for (status, error) in
        [(404, "proxy_error"), (410, "proxy_error"), (401, "proxy_denied"), (403, "proxy_denied")]
    {
        for at in [At::Ringing, At::Gated] {
            let (mut bench, id, ..) = reach(at);
            bench.proxy_answers(is_poll, problem(status, ""));
            assert_eq!(bench.dial_error(id), error, "{status}");
            assert_eq!(count(&bench, is_cancel), 1);
            // And goes on until that is heard.
            bench.proxy_answers(is_cancel, Err(ProxyFailure::Network));
            bench.pass(secs(1));
            assert_eq!(count(&bench, is_cancel), 2);
            settled(bench, id);
        }
    }
}

#[test]
fn a_confirmed_call_goes_on_whatever_the_proxy_remembers() {
    for status in [401, 403, 404, 410] {
        let (mut bench, id, mut caller, _) = reach(At::Open);
        bench.proxy_answers(is_poll, problem(status, ""));
        bench.pass(secs(5));
        assert!(bench.end_of(id).is_none());
        let bye = caller.request("BYE", None);
        send(&mut bench, &bye);
        bench.pass(secs(2));
        assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
        settled(bench, id);
    }
}

#[test]
fn a_session_that_is_renewed_is_asked_again() {
    let (mut bench, id, ..) = reach(At::Open);
    bench.proxy_answers(is_poll, problem(401, ""));
    bench.pass(secs(1));
    bench.proxy_answers(is_poll, reply(200, ended("completed", 4)));
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
    settled(bench, id);
}

#[test]
fn a_proxy_without_news_is_not_asked_without_a_pause() {
    let (mut bench, id, ..) = reach(At::Open);
    let before = count(&bench, is_poll);
    let end = bench.now + secs(60);
    while bench.now < end {
        if bench.requests.iter().any(|(_, command)| is_poll(command)) {
            bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
        }
        bench.pass(ms(50));
    }
    assert!(count(&bench, is_poll) - before < 40);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let (mut bench, id, ..) = reach(At::Gated);
    let (poll, _) = bench.requests.iter().find(|(_, command)| is_poll(command)).cloned().unwrap();
    bench.input(Input::Proxy(ProxyId(999), reply(200, state("bridging", 9))));
    assert!(!gate_is_open(&bench, id));
    bench.hangup(id);
    // It was aborted.
    bench.input(Input::Proxy(poll, reply(200, state("bridging", 9))));
    assert!(!gate_is_open(&bench, id));
    // The same twice.
    let (mut bench, id, ..) = reach(At::Ringing);
    let (poll, _) = bench.requests.iter().find(|(_, command)| is_poll(command)).cloned().unwrap();
    bench.input(Input::Proxy(poll, reply(200, ended("busy", 2))));
    bench.input(Input::Proxy(poll, reply(200, ended("busy", 2))));
    assert_eq!(bench.dial_error(id), "busy");
    bench.requests.retain(|(open, _)| *open != poll);
    settled(bench, id);
}

#[test]
fn an_end_before_the_provider_calls_is_the_dials() {
    for (reason, error) in [
        ("client_unreachable", "bridge_missing"),
        ("provider_error", "provider_error"),
        ("provider_unknown", "provider_error"),
        ("cancelled", "aborted"),
        ("completed", "provider_error"),
    ] {
        let (mut bench, id, ..) = reach(At::Ringing);
        bench.proxy_answers(is_poll, reply(200, ended(reason, 2)));
        assert_eq!(bench.dial_error(id), error, "{reason}");
        settled(bench, id);
    }
}

#[test]
fn a_call_that_the_proxy_takes_on_after_its_cancellation_is_cancelled_again() {
    let (mut bench, id, ..) = reach(At::Requested);
    bench.hangup(id);
    bench.proxy_answers(is_cancel, problem(404, ""));
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    assert_eq!(count(&bench, is_cancel), 2);
    settled(bench, id);
}

#[test]
fn a_late_call_after_a_failure_of_the_provider_is_refused() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    bench.proxy_answers(is_config, known());
    bench.proxy_answers(is_start, problem(502, "provider_error"));
    assert_eq!(bench.dial_error(id), "provider_error");
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["603 INVITE"]);
    settled(bench, id);
}

// ---- answered elsewhere

fn elsewhere() -> OriginateRequest {
    OriginateRequest { answer: AnswerBy::Elsewhere, ..request() }
}

#[test]
fn a_call_that_is_answered_elsewhere_needs_no_connection() {
    let mut bench = Bench::new(config());
    let id = bench.phone.originate(bench.now, elsewhere()).unwrap();
    bench.drain();
    assert!(bench.locks.is_empty() && bench.jobs.is_empty());
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    let claims: Vec<_> = bench.requests.iter().filter(|(_, command)| is_claim(command)).collect();
    assert!(matches!(claims[..], [(_, ProxyCommand::Claim { sip_call_id_sha256: None, .. })]));
    bench.proxy_answers(is_claim, problem(204, ""));
    bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
    assert_eq!(bench.dial_result(id), Some(&Ok(())));
    bench.proxy_answers(is_poll, reply(200, ended("completed", 3)));
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Completed);
    settled(bench, id);
}

#[test]
fn a_call_that_is_answered_elsewhere_can_be_ended_at_any_time() {
    for steps in 0..3 {
        for how in 0..3 {
            let mut bench = Bench::new(config());
            let id = bench.phone.originate(bench.now, elsewhere()).unwrap();
            bench.drain();
            if steps > 0 {
                bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
            }
            if steps > 1 {
                bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
            }
            match how {
                0 => bench.hangup(id),
                1 => bench.input(Input::PageHide(PageKept::Nothing)),
                _ => bench.disconnect(),
            }
            assert_eq!(count(&bench, is_cancel), 1);
            settled(bench, id);
        }
    }
}

#[test]
fn a_call_that_nobody_answers_elsewhere_is_given_up() {
    let mut bench = Bench::new(config());
    let id = bench.phone.originate(bench.now, elsewhere()).unwrap();
    bench.drain();
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    bench.pass(secs(29));
    assert_eq!(bench.dial_error(id), "no_answer");
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

#[test]
fn a_call_that_is_answered_elsewhere_ends_when_the_proxy_forgets_it() {
    let mut bench = Bench::new(config());
    let id = bench.phone.originate(bench.now, elsewhere()).unwrap();
    bench.drain();
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
    bench.proxy_answers(is_poll, problem(410, ""));
    assert!(bench.end_of(id).is_some());
    settled(bench, id);
}

#[test]
fn a_call_that_is_answered_elsewhere_outlives_a_connection_that_fails() {
    let mut bench = Bench::new(config());
    let id = bench.phone.originate(bench.now, elsewhere()).unwrap();
    bench.drain();
    bench.reachable = false;
    bench.connect();
    let socket = bench.opened[0].1;
    bench.input(Input::SocketClosed(socket));
    assert_eq!(bench.connect_results(), [Err("transport")]);
    assert!(bench.end_of(id).is_none());
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn the_media_of_the_answer_is_the_phones_own() {
    let (mut bench, id, _, invite) = reach(At::Ringing);
    send(&mut bench, &invite);
    let ok = bench.take_response(200);
    assert_eq!(ok.body, ANSWER.as_bytes());
    bench.hangup(id);
    settled(bench, id);
}
