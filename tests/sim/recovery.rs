//! Calls that lose their signalling, their media path, or both (src/phone/recovery.rs).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, line, ms, secs, send, with_sdp};
use crate::hold::offered;
use crate::incoming::answered;
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallId, CallState, EndCause, EndedBy, Event, Hint, Input, MediaCommand, MediaState, MediaValue,
    PhoneConfig, SocketId,
};
use wasm_softphone::sip::message::{Message, Method, Request};
use wasm_softphone::sip::sdp::Direction;

/// A call that this phone has made; the other side takes UPDATE, or not.
pub fn talking(config: PhoneConfig, updates: bool) -> (Bench, CallId, Caller) {
    let mut bench = Bench::new(config);
    bench.connect();
    if bench.config.register {
        register(&mut bench);
    }
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    if updates {
        ok.headers.push("Allow", "INVITE, ACK, BYE, UPDATE");
    }
    bench.reply(&ok);
    bench.take_request("ACK");
    bench.events.clear();
    bench.jobs.clear();
    (bench, call, Caller::callee(&invite, "b"))
}

pub fn register(bench: &mut Bench) -> Request {
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(200, None));
    request
}

/// The connection gives no sign of life when it is asked for one, and the next is open and registered a moment later.
pub fn next_connection(bench: &mut Bench) {
    bench.reachable = false;
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.input(Input::Hint(Hint::Woken));
    bench.lines();
    bench.pass(ms(300));
    bench.reachable = true;
    bench.open_late();
    register(bench);
}

/// The next attempt reaches the server.
fn until_asked(bench: &mut Bench) {
    let end = bench.now + secs(14);
    while bench.sent.is_empty() && bench.now < end {
        bench.pass(ms(100));
    }
}

pub fn registering() -> PhoneConfig {
    PhoneConfig { register: true, ..config() }
}

fn media(bench: &mut Bench, call: CallId, state: MediaState) {
    bench.input(Input::MediaState { call, state });
}

pub fn states(bench: &Bench, call: CallId) -> Vec<CallState> {
    let of = |event: &Event| match event {
        Event::CallState(id, state) if *id == call => Some(*state),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

fn restarts(bench: &Bench) -> usize {
    let restart = |command: &MediaCommand| matches!(command, MediaCommand::RestartIce { .. });
    bench.jobs.iter().filter(|(_, _, command)| restart(command)).count()
}

fn code(bench: &Bench, call: CallId) -> ErrorCode {
    match &bench.end_of(call).expect("the call goes on").cause {
        EndCause::Failed(error) => error.code,
        other => panic!("{other:?}"),
    }
}

// ---- signalling

#[test]
fn after_a_reconnect_the_other_side_is_told_by_update() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.cut();
    assert_eq!(states(&bench, call), [CallState::Reconnecting]);
    // Not before the registrar knows the way.
    let first = register(&mut bench);
    assert!(first.headers.get("Contact").unwrap().contains("+sip.instance"));
    assert!(first.headers.get("Contact").unwrap().contains("reg-id=1"));
    let update = bench.take_request("UPDATE");
    assert!(update.body.is_empty() && update.headers.get("Contact").is_some());
    assert_eq!(update.headers.to_tag().as_deref(), Some("b"));
    bench.reply(&answer(&update, 200, ""));
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    assert_eq!(restarts(&bench), 0);
    bench.pass(secs(15));
    assert!(!bench.lines().iter().any(|line| line == "UPDATE" || line == "INVITE" || line == "BYE"));
}

#[test]
fn without_update_and_without_session_timers_it_is_told_by_re_invite() {
    let (mut bench, call, _) = talking(PhoneConfig { session_timers: None, ..config() }, false);
    bench.cut();
    let invite = bench.take_request("INVITE");
    assert!(!invite.body.is_empty() && invite.headers.get("Contact").is_some());
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    assert_eq!(restarts(&bench), 0, "the media were well");
}

#[test]
fn who_says_that_it_takes_update_and_does_not_is_told_by_re_invite() {
    let (mut bench, call, _) = talking(config(), true);
    bench.cut();
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 405, ""));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// Both have lost the same server: the one that is back first cannot reach the other yet.
#[test]
fn a_peer_that_is_not_back_yet_is_told_again() {
    let (mut bench, call, _) = talking(config(), true);
    bench.cut();
    for status in [480, 404, 408, 503, 500, 478] {
        let update = bench.take_request("UPDATE");
        bench.reply(&answer(&update, status, ""));
        bench.nothing_sent();
        bench.pass(secs(8));
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Reconnecting, "after {status}");
    }
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
}

/// Our BYE went into a connection of the other side that was dead. It comes back, and asks.
#[test]
fn who_has_hung_up_says_so_when_asked() {
    let (mut bench, call, mut caller) = talking(config(), true);
    bench.hangup(call);
    bench.take_request("BYE");
    for (method, body) in [("UPDATE", None), ("OPTIONS", None), ("INFO", None), ("INVITE", Some(OFFER))] {
        send(&mut bench, &caller.request(method, body));
        bench.take_response(481);
    }
}

/// The hold that was under way is made again once the other side is reached, by an UPDATE that says nothing of it.
#[test]
fn a_hold_that_a_proxy_refused_meanwhile_is_made_afterwards() {
    let (mut bench, call, _) = talking(config(), true);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.take_request("INVITE");
    bench.cut();
    bench
        .sent
        .retain(|message| !matches!(message, Message::Request(request) if request.method == Method::Ack));
    let mut held = None;
    for round in 0..40 {
        for message in core::mem::take(&mut bench.sent) {
            let Message::Request(request) = message else { continue };
            match request.method {
                Method::Update => bench.reply(&answer(&request, if round < 2 { 478 } else { 200 }, "")),
                Method::Invite if round < 2 => bench.reply(&answer(&request, 478, "")),
                Method::Invite => held = Some(request),
                _ => {}
            }
        }
        if held.is_some() {
            break;
        }
        bench.pass(ms(500));
    }
    let invite = held.expect("the hold is forgotten");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &ANSWER.replace("a=sendrecv", "a=recvonly")));
    assert!(bench.events.iter().any(|event| matches!(event, Event::HoldDone(id, Ok(())) if *id == call)));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// The hold may have been agreed to: that the user has thought better of it meanwhile has to be said.
#[test]
fn a_hold_that_was_lost_is_undone_at_the_other_side_where_it_is_not_wanted_any_more() {
    let (mut bench, call, _) = talking(config(), true);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.take_request("INVITE");
    bench.phone.unhold(bench.now, call).unwrap();
    bench.drain();
    bench.nothing_sent();
    bench.cut();
    bench.pass(secs(2));
    let mut offers = 0;
    for _ in 0..10 {
        for message in core::mem::take(&mut bench.sent) {
            let Message::Request(request) = message else { continue };
            match request.method {
                Method::Update => bench.reply(&answer(&request, 200, "")),
                Method::Invite => {
                    bench.reply(&with_sdp(answer(&request, 200, ""), ANSWER));
                    offers += 1;
                }
                _ => {}
            }
        }
        bench.pass(secs(1));
    }
    assert_eq!((offers, offered(&bench)), (1, vec![Direction::SendOnly, Direction::SendRecv]));
    assert!(!bench.phone.call(call).unwrap().local_hold);
}

/// The connection is half open, and the next one there before that is sure: nothing but the end of the old one says that
/// the hold has to be made again.
#[test]
fn a_hold_over_a_connection_that_gives_way_to_the_next_is_made_over_that() {
    let (mut bench, call, _) = talking(registering(), true);
    for on in [true, false] {
        let now = bench.now;
        if on { bench.phone.hold(now, call) } else { bench.phone.unhold(now, call) }.unwrap();
        bench.drain();
        let invite = bench.take_request("INVITE");
        if on {
            bench.reply(&with_sdp(answer(&invite, 200, ""), &ANSWER.replace("a=sendrecv", "a=recvonly")));
            bench.take_request("ACK");
            continue;
        }
        next_connection(&mut bench);
        assert_eq!(bench.closed, [], "its answer may still come");
        let update = bench.sent.iter().find_map(|message| match message {
            Message::Request(request) if request.method == Method::Update => Some(request.clone()),
            _ => None,
        });
        bench.reply(&answer(&update.expect("the other side is told"), 200, ""));
        bench.sent.clear();
        bench.cut_one(SocketId(1));
        // The right one is acknowledged, in case that its 200 is lost.
        let ack = bench.take_request("ACK");
        assert_eq!(ack.headers.seq(), invite.headers.seq());
        let again = bench.take_request("INVITE");
        assert_eq!(offered(&bench), [Direction::SendOnly, Direction::SendRecv, Direction::SendRecv]);
        bench.reply(&with_sdp(answer(&again, 200, ""), ANSWER));
    }
    let done: Vec<_> = bench.events.iter().filter(|event| matches!(event, Event::HoldDone(..))).collect();
    assert!(matches!(&done[..], [Event::HoldDone(_, Ok(())), Event::HoldDone(_, Ok(()))]), "{done:?}");
}

#[test]
fn a_dialog_that_is_gone_ends_the_call_at_once() {
    let (mut bench, call, _) = talking(config(), true);
    bench.cut();
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 481, ""));
    let end = bench.end_of(call).unwrap();
    assert_eq!((end.sip_status, end.by), (Some(481), EndedBy::Remote));
    assert!(bench.media_closed(call));
}

#[test]
fn a_refusal_comes_from_the_other_side_too() {
    let (mut bench, call, _) = talking(config(), false);
    bench.cut();
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 488, "b"));
    bench.take_request("ACK");
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    bench.pass(secs(20));
    bench.nothing_sent();
}

/// As long as the two hear each other no call ends for want of signalling, however long that takes.
#[test]
fn a_long_outage_ends_no_call_that_is_heard() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(600));
    assert!(bench.end_of(call).is_none());
    bench.reachable = true;
    until_asked(&mut bench);
    register(&mut bench);
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
}

#[test]
fn an_outage_of_both_ends_the_call_after_the_grace() {
    let (mut bench, call, _) = talking(config(), true);
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(5));
    media(&mut bench, call, MediaState::Disconnected);
    bench.pass(secs(10));
    media(&mut bench, call, MediaState::Failed);
    bench.pass(ms(44_900));
    assert!(bench.end_of(call).is_none());
    bench.pass(ms(200));
    assert_eq!(code(&bench, call), ErrorCode::Transport);
    assert_eq!(bench.end_of(call).unwrap().by, EndedBy::Network);
    assert!(bench.media_closed(call));
}

#[test]
fn a_session_that_nobody_could_refresh_does_not_end_the_call() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    ok.headers.push("Session-Expires", "100;refresher=uac");
    ok.headers.push("Allow", "UPDATE");
    bench.reply(&ok);
    bench.take_request("ACK");
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(300));
    assert!(bench.end_of(call).is_none());
    bench.reachable = true;
    bench.pass(secs(14));
    let update = bench.take_request("UPDATE");
    let mut ok = answer(&update, 200, "");
    ok.headers.push("Session-Expires", "100;refresher=uac");
    bench.reply(&ok);
    bench.pass(secs(20));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_hold_during_the_outage_is_made_afterwards() {
    let (mut bench, call, _) = talking(config(), true);
    bench.reachable = false;
    bench.cut();
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::Flow(Direction::Inactive)));
    bench.reachable = true;
    bench.pass(secs(14));
    let mut lines = bench.lines();
    lines.sort();
    assert_eq!(lines, ["INVITE", "UPDATE"]);
}

// ---- media

#[test]
fn a_path_that_stays_away_is_restarted() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Disconnected);
    assert_eq!(states(&bench, call), [CallState::Reconnecting]);
    bench.pass(ms(1_900));
    bench.nothing_sent();
    bench.pass(ms(200));
    assert_eq!(restarts(&bench), 1);
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    bench.pass(secs(60));
    assert_eq!(restarts(&bench), 1);
}

#[test]
fn a_broken_path_is_restarted_at_once_and_the_call_goes_on() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Failed);
    assert_eq!(restarts(&bench), 1);
    assert_eq!(bench.lines(), ["INVITE"]);
    assert_eq!(states(&bench, call), [CallState::Reconnecting]);
}

#[test]
fn a_held_call_keeps_its_hold_through_a_restart() {
    let (mut bench, call, _) = talking(config(), true);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &ANSWER.replace("sendrecv", "recvonly")));
    bench.take_request("ACK");
    bench.jobs.clear();
    media(&mut bench, call, MediaState::Failed);
    let wanted = MediaCommand::RestartIce { direction: Direction::SendOnly };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == wanted), "{:?}", bench.jobs);
}

/// The answer to a restart is there, and no packet comes through.
#[test]
fn restarts_are_repeated_until_the_grace_is_over() {
    let (mut bench, call, _) = talking(config(), true);
    bench.media = Media::Manual;
    media(&mut bench, call, MediaState::Failed);
    let begin = bench.now;
    let mut answered = 0;
    while bench.end_of(call).is_none() {
        assert!(bench.now - begin < secs(40), "the call never ends");
        let waits = |command: &MediaCommand| {
            matches!(command, MediaCommand::RestartIce { .. } | MediaCommand::SetAnswer { .. })
        };
        if let Some(at) = bench.jobs.iter().position(|(_, _, command)| waits(command)) {
            let (call, seq, command) = bench.jobs.remove(at);
            let value = match command {
                MediaCommand::RestartIce { .. } => MediaValue::Local(OFFER.into()),
                _ => MediaValue::Applied,
            };
            bench.input(Input::MediaDone { call, seq, result: Ok(value) });
        }
        if let Some(Message::Request(invite)) =
            bench.sent.iter().find(|message| line(message) == "INVITE").cloned()
        {
            answered += 1;
            bench.sent.clear();
            bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
        }
        bench.pass(ms(100));
    }
    assert_eq!((bench.now - begin).as_secs(), 30);
    assert_eq!(code(&bench, call), ErrorCode::IceFailed);
    assert!((3..=6).contains(&answered), "{answered}");
}

#[test]
fn the_grace_is_a_setting() {
    let (mut bench, call, _) = talking(PhoneConfig { media_grace: secs(5), ..config() }, true);
    media(&mut bench, call, MediaState::Failed);
    bench.pass(ms(4_900));
    assert!(bench.end_of(call).is_none());
    bench.pass(ms(200));
    assert_eq!(code(&bench, call), ErrorCode::IceFailed);
    assert!(bench.lines().contains(&"BYE".to_owned()));
}

#[test]
fn a_restart_that_is_refused_is_tried_again() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Failed);
    for status in [488, 500] {
        let invite = bench.take_request("INVITE");
        bench.reply(&answer(&invite, status, "b"));
        bench.take_request("ACK");
        bench.nothing_sent();
        bench.pass(secs(5));
    }
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
}

#[test]
fn a_restart_that_crosses_the_other_sides_offer_comes_after_it() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Failed);
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 491, "b"));
    bench.take_request("ACK");
    bench.pass(secs(5));
    bench.take_request("INVITE");
    assert_eq!(restarts(&bench), 2);
}

/// The other side restarts ICE: its offer has other credentials. The answer is the browser's.
#[test]
fn the_other_side_restarts() {
    let (mut bench, call, mut far) = talking(config(), true);
    bench.media = Media::Manual;
    media(&mut bench, call, MediaState::Disconnected);
    let offer = format!("{OFFER}a=ice-ufrag:new\r\na=ice-pwd:newnewnewnewnewnewnewnew\r\n");
    send(&mut bench, &far.request("INVITE", Some(&offer)));
    assert_eq!(bench.lines(), ["100 INVITE"]);
    // Ours does not cross it.
    bench.pass(secs(3));
    assert_eq!(restarts(&bench), 0);
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    assert!(bench.lines().iter().all(|line| line == "200 INVITE"));
    media(&mut bench, call, MediaState::Connected);
    let ack = far.ack(far.seq, None);
    send(&mut bench, &ack);
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    bench.pass(secs(10));
    bench.nothing_sent();
}

#[test]
fn a_first_path_that_fails_is_restarted_within_its_time() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.finish_job(Ok(MediaValue::Applied));
    bench.pass(secs(15));
    media(&mut bench, call, MediaState::Failed);
    assert_eq!(restarts(&bench), 1);
    bench.pass(secs(5));
    assert_eq!(code(&bench, call), ErrorCode::IceFailed);
}

// ---- both

/// An offer that restarts ICE went into a dead connection, and the browser calls the path well: the other side answers
/// its checks, without being able to make its own.
#[test]
fn a_restart_that_was_lost_is_made_again_though_the_path_is_called_well() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Failed);
    bench.take_request("INVITE");
    media(&mut bench, call, MediaState::Connected);
    bench.cut();
    assert_eq!(restarts(&bench), 2);
    assert!(bench.lines().iter().any(|line| line == "INVITE"));
}

#[test]
fn a_path_that_is_disturbed_just_after_a_move_is_not_waited_for() {
    let (mut bench, call, _) = talking(config(), true);
    bench.cut();
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    bench.pass(secs(2));
    media(&mut bench, call, MediaState::Disconnected);
    assert_eq!(restarts(&bench), 1);
    bench.take_request("INVITE");
}

/// Where the offer was refused or given up by the other side, what the browser says counts.
#[test]
fn a_restart_that_was_refused_is_not_made_again_while_the_path_is_well() {
    for status in [488, 500] {
        let (mut bench, call, _) = talking(config(), true);
        media(&mut bench, call, MediaState::Failed);
        let invite = bench.take_request("INVITE");
        media(&mut bench, call, MediaState::Connected);
        bench.reply(&answer(&invite, status, "b"));
        bench.take_request("ACK");
        bench.pass(secs(20));
        assert_eq!(restarts(&bench), 1, "{status}");
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    }
}

#[test]
fn when_both_are_lost_one_offer_mends_both() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.reachable = false;
    bench.cut();
    media(&mut bench, call, MediaState::Disconnected);
    bench.pass(secs(6));
    media(&mut bench, call, MediaState::Failed);
    assert_eq!(restarts(&bench), 0, "nothing could be said");
    bench.reachable = true;
    until_asked(&mut bench);
    register(&mut bench);
    assert_eq!(restarts(&bench), 1);
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    bench.nothing_sent();
}

/// Our offer went to where the other side was before; its own comes from where it is now.
#[test]
fn an_offer_into_the_void_does_not_keep_the_other_sides_out() {
    let (mut bench, call, mut far) = talking(config(), true);
    media(&mut bench, call, MediaState::Failed);
    let lost = bench.take_request("INVITE");
    bench.reply(&lost.response(100, None));
    bench.pass(secs(1));
    send(&mut bench, &far.request("INVITE", Some(OFFER)));
    assert_eq!(bench.lines(), ["491 INVITE"], "they may just have crossed");
    bench.pass(secs(4));
    send(&mut bench, &far.request("INVITE", Some(OFFER)));
    let lines = bench.lines();
    assert_eq!(lines, ["CANCEL", "100 INVITE", "200 INVITE"]);
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
}

#[test]
fn an_incoming_call_recovers_like_an_outgoing_one() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    bench.events.clear();
    bench.cut();
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
}

// ---- jobs that are never reported

#[test]
fn an_answer_that_is_never_set_ends_the_call() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.pass(ms(20_400));
    bench.nothing_sent();
    bench.pass(ms(200));
    assert_eq!(bench.lines(), ["BYE"]);
    assert_eq!(bench.dial_error(call), "not_acceptable");
    assert!(bench.media_closed(call));
}

#[test]
fn the_other_sides_offer_is_refused_when_the_answer_is_never_made() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.media = Media::Manual;
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    assert_eq!(bench.lines(), ["100 INVITE"]);
    bench.pass(secs(21));
    assert_eq!(bench.lines(), ["488 INVITE"]);
    assert!(bench.end_of(call).is_none());
    // What comes of it after all is of no use any more.
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    bench.nothing_sent();
}

/// An ICE restart was under way when the user held, came to nothing, and was not needed in the end.
#[test]
fn a_hold_behind_a_restart_that_is_not_needed_any_more_is_made() {
    for status in [488, 503] {
        let (mut bench, call, _) = talking(config(), true);
        media(&mut bench, call, MediaState::Connected);
        media(&mut bench, call, MediaState::Failed);
        let restart = bench.take_request("INVITE");
        bench.phone.hold(bench.now, call).unwrap();
        bench.drain();
        bench.reply(&answer(&restart, status, ""));
        assert_eq!(bench.lines(), ["ACK"]);
        media(&mut bench, call, MediaState::Connected);
        bench.pass(secs(20));
        let invite = bench.take_request("INVITE");
        assert_eq!(offered(&bench).last(), Some(&Direction::SendOnly), "{status}");
        bench.reply(&with_sdp(answer(&invite, 200, ""), &ANSWER.replace("a=sendrecv", "a=recvonly")));
        assert!(bench.events.iter().any(|event| matches!(event, Event::HoldDone(_, Ok(())))), "{status}");
    }
}

/// The other side could not be told of the new way until the grace was over, which is no reason to end a call that is
/// heard.
#[test]
fn a_hold_that_nobody_could_be_told_of_is_reported_when_the_grace_is_over() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Connected);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.take_request("INVITE");
    bench.cut();
    for _ in 0..200 {
        for message in core::mem::take(&mut bench.sent) {
            if let Message::Request(request) = message
                && request.method != Method::Ack
            {
                bench.reply(&answer(&request, 480, ""));
            }
        }
        bench.pass(secs(1));
    }
    let done: Vec<_> = bench.events.iter().filter(|event| matches!(event, Event::HoldDone(..))).collect();
    assert!(matches!(&done[..], [Event::HoldDone(_, Err(_))]), "{done:?}");
    let info = bench.phone.call(call).unwrap();
    assert_eq!((info.state, info.local_hold), (CallState::Active, false));
}

/// The refusal says that the other side is reached, too; the hold is not made again for that.
#[test]
fn a_hold_that_is_refused_while_the_other_side_is_told_of_the_new_way_is_not_made_again() {
    let (mut bench, call, _) = talking(config(), true);
    media(&mut bench, call, MediaState::Connected);
    bench.cut();
    bench.take_request("UPDATE");
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 488, ""));
    assert_eq!(bench.lines(), ["ACK"]);
    let done: Vec<_> = bench.events.iter().filter(|event| matches!(event, Event::HoldDone(..))).collect();
    assert!(matches!(&done[..], [Event::HoldDone(_, Err(_))]), "{done:?}");
    bench.pass(secs(20));
    assert!(!bench.lines().contains(&"INVITE".to_owned()));
    assert!(!bench.phone.call(call).unwrap().local_hold);
}
