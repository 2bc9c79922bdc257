//! Which incoming call is answered by itself: the provider's for this dial, once, and no other.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::bench::ANSWER;
use wasm_softphone::dial::proxy::ProxyReply;
use wasm_softphone::phone::{DialRequest, MediaValue};

const STRANGER: &str = "+46701111111";

fn rang(bench: &Bench) -> usize {
    bench.events.iter().filter(|event| matches!(event, Event::Incoming(_))).count()
}

/// The number that is called changes.
fn to(request: &Request, user: &str) -> Request {
    let text = request.to_text().unwrap().replace("<sip:4600100100@", &format!("<sip:{user}@"));
    match wire::parse(text.as_bytes()) {
        Ok(Frame::Message(Message::Request(request))) => request,
        _ => panic!("the test's own request is broken"),
    }
}

fn is_answered(from: &str, called: &str) -> bool {
    let (mut bench, id, ..) = reach(At::Ringing);
    let (_, invite) = bridge("bridge", from);
    send(&mut bench, &to(&invite, called));
    let lines = bench.lines();
    let answered = lines == ["200 INVITE"];
    if !answered {
        assert_eq!(lines, ["180 INVITE"], "{from} {called}");
        assert_eq!(rang(&bench), 1);
        assert_eq!(count(&bench, is_claim), 0);
    }
    assert!(!gate_is_open(&bench, id));
    answered
}

#[test]
fn the_providers_call_is_answered_with_and_without_its_plus() {
    for from in ["+46766860000", "46766860000", "+46-766.860(000)", "+46766860000;phone-context=x"] {
        assert!(is_answered(from, "4600100100"), "{from}");
    }
    assert!(is_answered(CALLER_ID, "+4600100100"));
}

#[test]
fn a_stranger_rings_and_is_not_answered() {
    for from in [STRANGER, "+4676686000", "+467668600000", "0766860000", "anonymous", "a46766860000", "bob"] {
        assert!(!is_answered(from, "4600100100"), "{from}");
    }
}

#[test]
fn a_call_to_another_number_rings_and_is_not_answered() {
    for called in ["4600100101", "alice", "460010010", "bob4600100100"] {
        assert!(!is_answered(CALLER_ID, called), "{called}");
    }
}

#[test]
fn a_phone_without_a_number_dials_nothing() {
    for user in ["sip:alice@example.com", "sip:example.com", "sip:+@example.com"] {
        let mut bench = Bench::new(PhoneConfig { uri: Uri::parse(user).unwrap(), ..config() });
        bench.connect();
        let error = bench.phone.originate(bench.now, request()).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid_config", "{user}");
    }
}

#[test]
fn a_phone_that_cannot_be_called_dials_nothing() {
    let mut bench =
        Bench::new(PhoneConfig { uri: Uri::parse("sip:4600100100@voip.46elks.com").unwrap(), ..config() });
    assert_eq!(bench.phone.originate(bench.now, request()).unwrap_err().code.as_str(), "not_connected");
}

#[test]
fn nothing_is_answered_that_comes_without_a_dial() {
    let mut bench = elks();
    let (_, invite) = bridge("early", CALLER_ID);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["180 INVITE"]);
}

#[test]
fn nothing_is_answered_before_the_slot_is_armed() {
    for at in [At::Lock, At::Microphone] {
        let (mut bench, id, _, invite) = reach(at);
        send(&mut bench, &invite);
        assert_eq!(bench.lines(), ["180 INVITE"]);
        bench.hangup(id);
    }
}

// ---- the INVITE before the answer of the proxy

#[test]
fn an_invite_before_the_answer_is_known_by_the_configuration() {
    let mut bench = elks();
    let id = originate(&mut bench);
    bench.proxy_answers(is_config, known());
    let (mut caller, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    acknowledge(&mut bench, &mut caller, true);
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
    assert_eq!(bench.dial_result(id), Some(&Ok(())));
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn an_invite_that_cannot_be_told_waits_for_the_configuration() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.proxy_answers(is_config, known());
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn an_invite_that_cannot_be_told_waits_for_the_answer() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    send(&mut bench, &invite);
    // News that tell nothing of it: no second 100.
    bench.proxy_answers(is_config, Err(ProxyFailure::Network));
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_stranger_that_could_not_be_told_rings_as_soon_as_it_can() {
    let (mut bench, id, ..) = reach(At::Requested);
    let (_, invite) = bridge("stranger", STRANGER);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    assert_eq!(rang(&bench), 0);
    bench.proxy_answers(is_config, known());
    assert_eq!(bench.lines(), ["180 INVITE"]);
    assert_eq!(rang(&bench), 1);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_call_that_waits_can_be_cancelled() {
    let (mut bench, id, caller, invite) = reach(At::Requested);
    send(&mut bench, &invite);
    bench.lines();
    let cancel = to(&caller.cancel(), "4600100100");
    send(&mut bench, &cancel);
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    bench.nothing_sent();
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_call_that_waits_too_long_rings_and_is_not_answered() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    send(&mut bench, &invite);
    bench.pass(secs(8));
    assert_eq!(bench.lines(), ["100 INVITE", "180 INVITE"]);
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    bench.nothing_sent();
    assert_eq!(count(&bench, is_claim), 0);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn only_so_many_calls_wait() {
    let (mut bench, id, ..) = reach(At::Requested);
    for caller in 0..20 {
        let (_, invite) = bridge(&format!("caller{caller}"), STRANGER);
        send(&mut bench, &invite);
    }
    let lines = bench.lines();
    assert_eq!(lines.iter().filter(|line| *line == "100 INVITE").count(), 8);
    assert_eq!(lines.iter().filter(|line| *line == "486 INVITE").count(), 12);
    bench.disconnect();
    assert_eq!(bench.lines(), vec!["480 INVITE"; 8]);
    settled(bench, id);
}

#[test]
fn a_call_that_waits_outlives_its_socket() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    send(&mut bench, &invite);
    bench.cut();
    bench.lines();
    bench.proxy_answers(is_config, known());
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

// ---- single use

#[test]
fn a_second_match_is_busy_in_every_phase() {
    for at in [At::Answering, At::Accepted, At::Gated, At::Open] {
        let (mut bench, id, ..) = reach(at);
        let (_, second) = bridge("second", CALLER_ID);
        send(&mut bench, &second);
        assert_eq!(bench.lines(), ["486 INVITE"], "{at:?}");
        assert_eq!(rang(&bench), 0);
        assert!(bench.end_of(id).is_none());
        bench.hangup(id);
        settled(bench, id);
    }
}

#[test]
fn the_same_invite_over_another_path_is_merged() {
    let (mut bench, id, _, invite) = reach(At::Gated);
    let text = invite.to_text().unwrap().replace("z9hG4bK", "z9hG4bKother");
    bench.receive(&text);
    assert_eq!(bench.lines(), ["482 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_call_long_after_the_window_is_one_like_any_other() {
    let (mut bench, id, ..) = reach(At::Open);
    bench.pass(secs(60));
    bench.sent.clear();
    let (_, invite) = bridge("later", CALLER_ID);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    bench.hangup(id);
}

#[test]
fn a_forged_caller_id_hears_and_sends_nothing() {
    // It comes first, and the provider's own call finds the phone busy.
    let (mut bench, id, ..) = reach(At::Ringing);
    let (mut forger, invite) = bridge("forger", CALLER_ID);
    send(&mut bench, &invite);
    acknowledge(&mut bench, &mut forger, true);
    let (_, real) = bridge("real", CALLER_ID);
    send(&mut bench, &real);
    assert_eq!(bench.lines(), ["486 INVITE"]);
    bench.pass(ms(3_999));
    assert!(!gate_is_open(&bench, id) && bench.end_of(id).is_none());
    bench.pass(ms(1));
    assert_eq!(bench.dial_error(id), "unverified_bridge");
    assert!(bench.lines().contains(&"BYE".to_owned()));
    assert_eq!(count(&bench, is_cancel), 1);
    assert!(!gate_is_open(&bench, id));
    settled(bench, id);
}

#[test]
fn an_unusable_invite_does_not_use_up_the_slot() {
    let (mut bench, id, _, invite) = reach(At::Ringing);
    let (_, broken) = bridge("broken", CALLER_ID);
    let text = broken.to_text().unwrap().replace("m=audio 9", "m=audio 0");
    bench.receive(&text);
    assert_eq!(bench.lines(), ["488 INVITE"]);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one() {
    let (mut bench, id, ..) = reach(At::Ringing);
    let (mut caller, invite) = bridge("bridge", CALLER_ID);
    let text = invite.to_text().unwrap();
    let (head, _) = text.split_once("Content-Type").unwrap();
    bench.receive(&format!("{head}Content-Length: 0\r\n\r\n"));
    let ok = bench.take_response(200);
    assert!(!ok.body.is_empty());
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    let ack = caller.ack(1, Some(ANSWER));
    send(&mut bench, &ack);
    assert!(!gate_is_open(&bench, id));
    bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
    assert!(gate_is_open(&bench, id));
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_phone_with_room_for_one_call_takes_its_own() {
    let uri = Uri::parse("sip:4600100100@voip.46elks.com").unwrap();
    let mut bench = Bench::new(PhoneConfig { uri, max_calls: 1, ..config() });
    bench.connect();
    let id = originate(&mut bench);
    bench.proxy_answers(is_config, known());
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    let (_, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    bench.take_response(200);
    let (_, stranger) = bridge("stranger", STRANGER);
    send(&mut bench, &stranger);
    assert_eq!(bench.lines(), ["486 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_provider_that_gives_up_ends_the_dial() {
    let (mut bench, id, caller, _) = reach(At::Answering);
    let cancel = to(&caller.cancel(), "4600100100");
    send(&mut bench, &cancel);
    assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(bench.dial_error(id), "bridge_missing");
    assert_eq!(count(&bench, is_cancel), 1);
    settled(bench, id);
}

// ---- what a gated call must not do

#[test]
fn nothing_within_a_gated_call_opens_it() {
    let (mut bench, id, mut caller, _) = reach(At::Gated);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    let info = caller
        .request("INFO", None)
        .to_text()
        .unwrap()
        .replace("Content-Length: 0\r\n\r\n", "Content-Type: application/dtmf\r\nContent-Length: 1\r\n\r\n5");
    bench.receive(&info);
    assert_eq!(bench.lines(), ["200 INFO"]);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Dtmf(..))));
    let options = caller.request("OPTIONS", None);
    send(&mut bench, &options);
    assert!(!gate_is_open(&bench, id));
    assert!(bench.phone.call(id).unwrap().gated);
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Connecting);
    assert!(bench.dial_result(id).is_none());
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn nothing_is_sent_to_a_gated_call() {
    let (mut bench, id, ..) = reach(At::Gated);
    let info = bench.phone.send_info(bench.now, id, "application/dtmf", "1");
    assert_eq!(info.unwrap_err().code.as_str(), "invalid_state");
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    assert!(!bench.phone.call(id).unwrap().gated);
    bench.phone.send_info(bench.now, id, "application/dtmf", "1").unwrap();
    bench.drain();
    assert_eq!(bench.lines(), ["INFO"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_gated_call_cannot_be_answered_or_rejected_by_hand() {
    for at in [At::Ringing, At::Answering, At::Gated] {
        let (mut bench, id, ..) = reach(at);
        assert_eq!(bench.phone.answer(bench.now, id).unwrap_err().code.as_str(), "invalid_state");
        assert_eq!(bench.phone.reject(bench.now, id, None).unwrap_err().code.as_str(), "invalid_state");
        assert!(bench.phone.progress(bench.now, id).is_err());
        bench.hangup(id);
        settled(bench, id);
    }
}

#[test]
fn a_confirmation_before_the_ack_is_enough() {
    let (mut bench, id, mut caller, _) = reach(At::Accepted);
    bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
    assert!(gate_is_open(&bench, id));
    assert_eq!(bench.dial_result(id), Some(&Ok(())));
    let ack = caller.ack(1, None);
    send(&mut bench, &ack);
    bench.hangup(id);
    assert_eq!(bench.lines(), ["BYE"]);
    settled(bench, id);
}

#[test]
fn a_confirmation_of_what_was_not_answered_here_opens_nothing() {
    for at in [At::Ringing, At::Answering] {
        let (mut bench, id, ..) = reach(at);
        bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
        assert_eq!(bench.dial_error(id), "unverified_bridge");
        assert!(!gate_is_open(&bench, id));
        assert_eq!(count(&bench, is_cancel), 1);
        settled(bench, id);
    }
}

#[test]
fn an_answered_call_that_the_provider_did_not_make_is_unverified() {
    for at in [At::Accepted, At::Gated] {
        let (mut bench, id, ..) = reach(at);
        // The provider's own call was busy meanwhile.
        bench.proxy_answers(is_poll, reply(200, ended("client_unreachable", 2)));
        assert_eq!(bench.dial_error(id), "unverified_bridge", "{at:?}");
        assert!(!gate_is_open(&bench, id));
        settled(bench, id);
    }
}

#[test]
fn an_answer_that_is_never_ready_is_given_up() {
    let (mut bench, id, ..) = reach(At::Answering);
    bench.pass(secs(10));
    assert_eq!(bench.dial_error(id), "media_unavailable");
    assert!(bench.lines().contains(&"603 INVITE".to_owned()));
    settled(bench, id);
}

// ---- other calls

#[test]
fn a_call_that_is_answered_by_hand_ends_the_dial() {
    for at in [At::Microphone, At::Ringing, At::Gated] {
        let (mut bench, id, ..) = reach(at);
        let (_, stranger) = bridge("stranger", STRANGER);
        send(&mut bench, &stranger);
        let other = bench.incoming();
        bench.answer(other);
        assert_eq!(bench.dial_error(id), "invalid_state", "{at:?}");
        assert!(!gate_is_open(&bench, id));
        bench.hangup(other);
        settled(bench, id);
    }
}

#[test]
fn an_open_call_goes_on_beside_another() {
    let (mut bench, id, ..) = reach(At::Open);
    let (_, stranger) = bridge("stranger", STRANGER);
    send(&mut bench, &stranger);
    let other = bench.incoming();
    bench.answer(other);
    assert!(bench.end_of(id).is_none());
    bench.hangup(other);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_call_that_was_dialled_and_answered_meanwhile_makes_the_phone_busy() {
    let (mut bench, id, _, invite) = reach(At::Ringing);
    let request = DialRequest { target: "sip:bob@example.com".into(), ..DialRequest::default() };
    let other = bench.phone.dial(bench.now, request).unwrap();
    bench.drain();
    let out = bench.take_request("INVITE");
    let ok = crate::bench::with_sdp(crate::bench::answer(&out, 200, "b"), ANSWER);
    bench.reply(&ok);
    bench.lines();
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["486 INVITE"]);
    assert_eq!(bench.dial_error(id), "invalid_state");
    bench.hangup(other);
    settled(bench, id);
}

#[test]
fn one_call_at_a_time() {
    for at in [At::Lock, At::Ringing, At::Gated, At::Open] {
        let (mut bench, id, ..) = reach(at);
        let again = bench.phone.originate(bench.now, request());
        assert_eq!(again.unwrap_err().code.as_str(), "invalid_state");
        bench.hangup(id);
        settled(bench, id);
    }
}

// ---- a dial after one that was given up

#[test]
fn the_tombstone_does_not_refuse_the_call_of_the_next_dial() {
    let (mut bench, first, ..) = reach(At::Ringing);
    bench.hangup(first);
    bench.proxy_answers(is_cancel, reply(202, ended("cancelled", 2)));
    let id = originate(&mut bench);
    bench.proxy_answers(is_config, known());
    // It may still be that of the first dial: the proxy has not taken on the second.
    let (_, invite) = bridge("bridge", CALLER_ID);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.proxy_answers(is_start, reply(202, state("ringing_client", 1)));
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.proxy_answers(is_poll, reply(200, state("bridging", 2)));
    assert!(gate_is_open(&bench, id));
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn the_late_call_of_the_first_dial_is_not_that_of_a_second_that_was_refused() {
    let (mut bench, first, _, invite) = reach(At::Ringing);
    bench.hangup(first);
    let id = originate(&mut bench);
    bench.proxy_answers(is_config, known());
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.proxy_answers(is_start, problem(409, "call_in_progress"));
    assert_eq!(bench.dial_error(id), "already_dialing");
    assert_eq!(bench.lines(), ["603 INVITE"]);
    settled(bench, id);
}

#[test]
fn a_call_that_had_its_bridge_does_not_delay_that_of_the_next_dial() {
    let (mut bench, id, ..) = reach(At::Open);
    bench.hangup(id);
    bench.sent.clear();
    let next = originate(&mut bench);
    bench.proxy_answers(is_config, known());
    // Faster than the answer to the request for the call.
    let (_, invite) = bridge("next", CALLER_ID);
    send(&mut bench, &invite);
    assert!(bench.lines().contains(&"200 INVITE".to_owned()));
    assert_eq!(
        stages(&bench, next),
        [DialStage::Preparing, DialStage::Requesting, DialStage::RingingClient, DialStage::ClientConnected]
    );
}

#[test]
fn the_tombstone_does_not_stand_for_ever() {
    let (mut bench, id, _, invite) = reach(At::Ringing);
    bench.hangup(id);
    bench.proxy_answers(is_cancel, reply(202, state("cancelling", 2)));
    bench.pass(secs(26));
    bench.sent.clear();
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    assert_eq!(rang(&bench), 1);
}

#[test]
fn what_the_late_call_looks_like_is_learnt_from_the_answer_to_the_cancellation() {
    let (mut bench, id, _, invite) = reach(At::Requested);
    bench.hangup(id);
    bench.proxy_answers(is_config, Err(ProxyFailure::Network));
    bench.proxy_answers(is_start, Err(ProxyFailure::Network));
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.proxy_answers(is_cancel, reply(202, state("cancelling", 2)));
    assert_eq!(bench.lines(), ["603 INVITE"]);
    settled(bench, id);
}

#[test]
fn new_settings_in_between_count_for_the_next_connection() {
    let (mut bench, id, _, invite) = reach(At::Ringing);
    let uri = Uri::parse("sip:4600100101@voip.46elks.com").unwrap();
    bench.phone.configure(PhoneConfig { uri, ..config() });
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["200 INVITE"]);
    bench.hangup(id);
    settled(bench, id);
}

#[test]
fn a_late_microphone_of_an_ended_dial_is_ignored() {
    let (mut bench, id, ..) = reach(At::Microphone);
    let (call, seq, _) = bench.jobs[0].clone();
    bench.hangup(id);
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Microphone) });
    assert!(bench.asked.is_empty());
    settled(bench, id);
}

#[test]
fn the_configurations_own_caller_id_counts() {
    // The dial names another key than the default one.
    let request = OriginateRequest { caller_id: Some("other".into()), ..request() };
    let (mut bench, id, _, invite) = reach_with(At::Requested, request);
    let mut config = known();
    if let Ok(ProxyReply { config: Some(config), .. }) = &mut config {
        config.caller_ids.push(("other".into(), STRANGER.into()));
    }
    bench.proxy_answers(is_config, config);
    send(&mut bench, &invite);
    assert_eq!(bench.lines(), ["180 INVITE"]);
    let (_, bridge) = bridge("other", STRANGER);
    send(&mut bench, &bridge);
    assert_eq!(bench.lines(), ["200 INVITE"]);
    assert_eq!(bench.phone.call(id).unwrap().local_number.as_deref(), Some(STRANGER));
    bench.hangup(id);
    settled(bench, id);
}
