//! Dead connections that nobody has closed, hints of the browser, and connections that move
//! (src/phone/liveness.rs, src/phone/flow.rs).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{ANSWER, Bench, answer, config, ms, secs, with_sdp};
use crate::recovery::{next_connection, register, registering, states, talking};
use wasm_softphone::phone::{
    CallState, ConnectionState, CredentialSource, Event, Hint, Input, MediaCommand, MediaState, PhoneConfig,
    RegistrationState, SocketId,
};

/// What a server does with keep-alives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Crlf,
    Options,
}

/// A phone whose server has shown what it answers.
fn met(server: Server, config: PhoneConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.answers_crlf = server == Server::Crlf;
    bench.connect();
    if bench.config.register {
        register(&mut bench);
    }
    bench.pass(secs(11));
    bench
}

fn restarts(bench: &Bench) -> usize {
    bench.jobs.iter().filter(|(_, _, command)| matches!(command, MediaCommand::RestartIce { .. })).count()
}

/// The other side agrees to the re-INVITE that is on its way.
fn accept_restart(bench: &mut Bench) {
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
}

/// The path is gone and nobody says so. How long that goes unnoticed.
fn time_to_notice(bench: &mut Bench) -> Duration {
    bench.answers_crlf = false;
    bench.answers_options = false;
    let dead = bench.now;
    let opened = bench.opened.len();
    while bench.opened.len() == opened {
        bench.pass(ms(10));
        assert!(bench.now - dead < secs(120), "it is never noticed");
    }
    bench.now - dead
}

#[test]
fn a_dead_connection_is_noticed_in_the_time_that_is_promised() {
    for server in [Server::Crlf, Server::Options] {
        for offset in (0..25).step_by(3) {
            let mut bench = met(server, config());
            bench.pass(secs(offset));
            let idle = time_to_notice(&mut bench);
            assert!(idle <= secs(35), "{server:?}: {idle:?}");

            let mut bench = met(server, config());
            let call = bench.dial("sip:bob@example.com");
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
            bench.pass(secs(offset));
            let in_call = time_to_notice(&mut bench);
            assert!(in_call <= secs(14), "{server:?}: {in_call:?}");
            assert!(bench.end_of(call).is_none());

            for hint in [Hint::Online, Hint::Offline, Hint::Visible, Hint::Woken, Hint::NetworkChanged] {
                let mut bench = met(server, config());
                bench.pass(secs(offset));
                bench.reachable = false;
                bench.answers_crlf = false;
                bench.answers_options = false;
                bench.input(Input::Hint(hint));
                bench.pass(ms(2_001));
                let state = bench.phone.connection();
                assert_eq!(state, ConnectionState::Reconnecting, "{server:?} {hint:?}");
            }
        }
    }
}

#[test]
fn the_short_interval_lasts_as_long_as_the_call() {
    let (mut bench, call, _) = talking(config(), true);
    let (before, at) = (bench.pings, bench.now);
    bench.pass(secs(60));
    let during = bench.pings - before;
    assert!((6..=8).contains(&during), "{during} in {:?}", bench.now - at);
    bench.hangup(call);
    let before = bench.pings;
    bench.pass(secs(100));
    let after = bench.pings - before;
    assert!((3..=6).contains(&after), "{after}");
}

#[test]
fn a_server_without_crlf_is_asked_by_options_for_itself_alone() {
    let mut bench = Bench::new(config());
    bench.answers_crlf = false;
    bench.connect();
    assert_eq!((bench.pings, bench.option_pings), (1, 0));
    bench.pass(ms(9_900));
    assert_eq!(bench.option_pings, 0);
    bench.pass(ms(200));
    assert_eq!(bench.option_pings, 1);
    bench.pass(secs(60));
    assert_eq!(bench.pings, 1, "it is known that it does not answer those");
    assert!(bench.option_pings >= 3);
    // What is known of a server is not asked again.
    bench.cut();
    bench.pass(secs(9));
    assert_eq!(bench.pings, 1);
}

#[test]
fn a_ping_of_the_server_is_answered_where_it_came_from() {
    let mut bench = met(Server::Crlf, config());
    bench.receive("\r\n\r\n");
    assert_eq!(bench.pongs, 1);
}

// ---- hints

#[test]
fn a_hint_ends_the_wait_for_the_next_attempt() {
    for hint in [Hint::Online, Hint::Visible, Hint::Woken, Hint::NetworkChanged] {
        let mut bench = Bench::online();
        bench.reachable = false;
        bench.cut();
        let refuse = |bench: &mut Bench| {
            let socket = bench.opened.last().unwrap().1;
            bench.input(Input::SocketClosed(socket));
        };
        for _ in 0..8 {
            refuse(&mut bench);
            bench.pass(secs(8));
        }
        refuse(&mut bench);
        bench.pass(ms(1));
        let attempts = bench.opened.len();
        bench.reachable = true;
        let waits = bench.phone.poll_timeout().unwrap().0 - bench.now > ms(1_000);
        bench.now = bench.now + ms(1_000);
        bench.input(Input::Hint(hint));
        if waits {
            assert_eq!(bench.opened.len(), attempts + 1, "{hint:?}");
            assert_eq!(bench.phone.connection(), ConnectionState::Connected);
        }
    }
}

#[test]
fn a_swarm_of_hints_is_one() {
    let mut bench = Bench::online();
    bench.reachable = false;
    bench.cut();
    let attempts = bench.opened.len();
    for _ in 0..100 {
        bench.input(Input::Hint(Hint::Online));
        bench.input(Input::Hint(Hint::Visible));
    }
    assert_eq!(bench.opened.len(), attempts);
    let mut bench = met(Server::Crlf, config());
    let pings = bench.pings;
    for _ in 0..100 {
        bench.input(Input::Hint(Hint::Visible));
    }
    assert_eq!(bench.pings, pings + 1);
}

/// The machine wakes up: the connection has survived, or not.
#[test]
fn a_connection_that_answers_after_all_is_kept() {
    let mut bench = met(Server::Crlf, config());
    bench.reachable = false;
    bench.answers_crlf = false;
    bench.input(Input::Hint(Hint::Woken));
    assert_eq!(bench.opened.len(), 2, "another one is under way at once");
    // What was on its way before it slept proves nothing.
    bench.receive("\r\n\r\n");
    assert_eq!(bench.closed, []);
    bench.receive("\r\n");
    assert_eq!(bench.closed, [SocketId(2)]);
    bench.pass(secs(10));
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
}

#[test]
fn one_that_does_not_gives_way_to_the_next_as_soon_as_that_is_open() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.pass(secs(1));
    next_connection(&mut bench);
    assert_eq!(bench.closed, [SocketId(1)]);
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    // A planned move is none of the user's business.
    assert_eq!(states(&bench, call), []);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Connection(..))));
}

#[test]
fn waking_up_registers_at_once() {
    let mut bench = met(Server::Crlf, registering());
    bench.input(Input::Hint(Hint::Woken));
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
    // Being looked at again does not.
    bench.pass(secs(2));
    bench.input(Input::Hint(Hint::Visible));
    bench.nothing_sent();
}

#[test]
fn the_network_is_another_one_and_a_disturbed_path_is_restarted_at_once() {
    let (mut bench, call, _) = talking(config(), true);
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    bench.pass(ms(100));
    bench.nothing_sent();
    bench.input(Input::Hint(Hint::Online));
    assert!(bench.jobs.iter().any(|(_, _, command)| matches!(command, MediaCommand::RestartIce { .. })));
}

#[test]
fn hints_do_nothing_where_nothing_is_wanted() {
    let mut bench = Bench::new(config());
    for hint in [Hint::Online, Hint::Offline, Hint::Visible, Hint::Woken, Hint::NetworkChanged] {
        bench.input(Input::Hint(hint));
    }
    assert!(bench.opened.is_empty() && bench.events.is_empty());
    assert_eq!(bench.phone.poll_timeout(), None);
}

// ---- make before break

#[test]
fn on_another_network_the_new_connection_is_registered_before_the_old_one_is_closed() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.input(Input::Hint(Hint::NetworkChanged));
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.closed, []);
    let request = register(&mut bench);
    assert!(request.headers.get("Contact").unwrap().contains("reg-id=1"));
    assert_eq!(bench.closed, [SocketId(1)]);
    // The browser may not know yet that the path of the audio is gone too.
    assert_eq!(restarts(&bench), 1);
    accept_restart(&mut bench);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    assert_eq!(bench.registration(), RegistrationState::Registered);
    let told = bench
        .events
        .iter()
        .filter(|event| matches!(event, Event::Connection(..) | Event::Registration(..)))
        .count();
    assert_eq!(told, 0, "nothing was ever missing");
}

#[test]
fn what_was_asked_over_the_old_one_is_answered_over_it() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.input(Input::Hint(Hint::NetworkChanged));
    assert_eq!(bench.closed, [], "an answer may still come");
    bench.nothing_sent();
    let text = with_sdp(answer(&invite, 200, "b"), ANSWER).to_text().unwrap();
    bench.input(Input::SocketData(SocketId(1), text.into_bytes()));
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
    assert_eq!(bench.closed, [SocketId(1)]);
    // One that says nothing is not waited for: the request goes out again over the new one.
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.input(Input::Hint(Hint::NetworkChanged));
    bench.pass(secs(17));
    assert_eq!(bench.closed, [SocketId(1)]);
    assert_eq!(bench.take_request("INVITE"), invite);
}

#[test]
fn a_move_that_comes_to_nothing_changes_nothing() {
    for silent in [false, true] {
        let (mut bench, call, _) = talking(registering(), true);
        bench.reachable = false;
        bench.input(Input::Hint(Hint::NetworkChanged));
        if silent {
            bench.pass(secs(6));
            assert_eq!(bench.closed, [SocketId(2)]);
        } else {
            bench.input(Input::SocketClosed(SocketId(2)));
        }
        bench.nothing_sent();
        assert_eq!(bench.phone.connection(), ConnectionState::Connected);
        assert_eq!(states(&bench, call), []);
        bench.pass(secs(60));
        assert_eq!(bench.opened.len(), 2);
    }
}

/// The new server takes the WebSocket, and no registration.
#[test]
fn a_new_connection_that_cannot_register_gives_way_to_the_old_one() {
    for how in ["refused", "closed", "silent"] {
        let (mut bench, call, _) = talking(registering(), true);
        bench.input(Input::Hint(Hint::NetworkChanged));
        let request = bench.take_request("REGISTER");
        match how {
            "refused" => bench.reply(&answer(&request, 500, "")),
            "closed" => bench.cut_one(SocketId(2)),
            _ => bench.pass(secs(17)),
        }
        assert!(!bench.sockets.contains(&SocketId(2)), "{how}");
        assert!(bench.sockets.contains(&SocketId(1)), "{how}");
        // The registrar may have taken it all the same.
        register(&mut bench);
        assert_eq!(bench.phone.connection(), ConnectionState::Connected, "{how}");
        assert_eq!(bench.registration(), RegistrationState::Registered, "{how}");
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active, "{how}");
    }
}

#[test]
fn the_old_one_dies_while_the_new_one_opens() {
    let (mut bench, call, _) = talking(config(), true);
    bench.reachable = false;
    bench.input(Input::Hint(Hint::NetworkChanged));
    bench.cut_one(SocketId(1));
    assert_eq!(bench.phone.connection(), ConnectionState::Reconnecting);
    assert_eq!(bench.opened.len(), 2, "it is under way already");
    bench.open_late();
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    accept_restart(&mut bench);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// Browsers say that they are online when there is an address; there may be no route for it yet.
#[test]
fn a_network_that_cannot_be_used_at_once_is_tried_again() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.pass(secs(11));
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.reachable = false;
    bench.lines();
    bench.input(Input::Hint(Hint::Online));
    for socket in 2..5 {
        bench.cut_one(SocketId(socket));
        bench.pass(ms(300));
    }
    assert_eq!(bench.opened.len(), 5);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    bench.open_late();
    bench.lines().clear();
    bench.pass(secs(1));
    assert_eq!(
        bench.phone.connection(),
        ConnectionState::Connected,
        "the new one is not judged by the old one's silence"
    );
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_call_that_falls_silent_finds_the_connection_dead() {
    let (mut bench, call, _) = talking(config(), true);
    bench.pass(secs(11));
    bench.lines();
    // A server that is there is asked once, and kept.
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    bench.pass(secs(5));
    assert_eq!(bench.opened.len(), 1);

    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    bench.pass(ms(1_600));
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(restarts(&bench), 1, "over the new one, and nothing into the void");
    accept_restart(&mut bench);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn both_die_one_after_the_other() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.input(Input::Hint(Hint::NetworkChanged));
    bench.take_request("REGISTER");
    bench.reachable = false;
    bench.cut_one(SocketId(1));
    bench.cut_one(SocketId(2));
    assert_eq!(bench.phone.connection(), ConnectionState::Reconnecting);
    assert_eq!(states(&bench, call), [CallState::Reconnecting]);
    bench.open_late();
    register(&mut bench);
    bench.take_request("INVITE");
}

#[test]
fn disconnecting_during_a_move_closes_both() {
    for opened in [false, true] {
        let mut bench = met(Server::Crlf, registering());
        bench.reachable = opened;
        bench.input(Input::Hint(Hint::NetworkChanged));
        bench.lines();
        bench.disconnect();
        bench.pass(secs(3));
        assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
        assert_eq!(bench.sockets, []);
        assert_eq!(bench.closed.len(), 2);
        assert_eq!(bench.phone.poll_timeout(), None);
    }
}

// ---- sleep

/// The page is frozen for this long: it is not woken when it asks for it.
fn sleep(bench: &mut Bench, time: Duration) {
    bench.now = bench.now + time;
    bench.input(Input::Timer);
}

#[test]
fn a_frozen_page_registers_and_asks_for_life_as_soon_as_it_thaws() {
    let mut bench = met(Server::Crlf, registering());
    bench.answers_crlf = false;
    sleep(&mut bench, secs(3600));
    assert_eq!(bench.registration(), RegistrationState::Registering, "it has run out meanwhile");
    // Over either connection.
    register(&mut bench);
    register(&mut bench);
    assert_eq!(bench.opened.len(), 2, "another connection is under way, should this one be dead");
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn a_connection_that_died_while_the_page_was_frozen_is_replaced_at_once() {
    let (mut bench, call, _) = talking(registering(), true);
    bench.pass(secs(1));
    bench.reachable = false;
    bench.answers_crlf = false;
    sleep(&mut bench, secs(900));
    bench.lines();
    bench.reachable = true;
    bench.open_late();
    register(&mut bench);
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn nothing_times_out_in_its_sleep() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    ok.headers.push("Session-Expires", "100;refresher=uac");
    ok.headers.push("Allow", "UPDATE");
    bench.reply(&ok);
    bench.take_request("ACK");
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    let info = bench.take_request("INFO");
    sleep(&mut bench, secs(1_000));
    assert!(bench.end_of(call).is_none(), "the session is refreshed first");
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&info, 200, ""));
    bench.reply(&answer(&update, 200, ""));
    let done = bench.events.iter().find_map(|event| match event {
        Event::InfoDone(_, result) => Some(result.is_ok()),
        _ => None,
    });
    assert_eq!(done, Some(true), "its answer was on its way");
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

#[test]
fn a_call_that_rang_while_the_page_was_frozen_does_not_ring_afterwards() {
    let mut bench = Bench::online();
    let (call, ..) = crate::incoming::ringing(&mut bench);
    sleep(&mut bench, secs(90));
    let options = bench.take_request("OPTIONS");
    bench.reply(&answer(&options, 481, ""));
    assert!(bench.end_of(call).is_some());
    let mut bench = Bench::online();
    let (call, ..) = crate::incoming::ringing(&mut bench);
    sleep(&mut bench, secs(600));
    assert!(bench.end_of(call).is_some(), "three minutes are three minutes");
}

/// A tab in the background is woken once a minute at the worst. Everything is done late, and nothing is lost.
#[test]
fn a_throttled_tab_stays_registered() {
    for register_expires in [secs(600), secs(300), secs(120)] {
        let mut bench = Bench::new(PhoneConfig { register_expires, ..registering() });
        bench.connect();
        let mut expires = {
            register(&mut bench);
            bench.now + register_expires
        };
        for _ in 0..120 {
            bench.now = bench.now + secs(60);
            bench.input(Input::Timer);
            while !bench.sent.is_empty() {
                register(&mut bench);
                assert!(bench.now < expires, "{register_expires:?}: it had run out");
                expires = bench.now + register_expires;
            }
            assert!(bench.now < expires, "{register_expires:?}: it has run out");
        }
        assert_eq!(bench.opened.len(), 1);
    }
}

/// An offer that waits over the connection of before is given up when both are gone: its ACK goes out over the connection
/// that is made next, not over the one that was lost.
#[test]
fn an_offer_over_the_old_connection_is_given_up_over_the_next_one() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let reinvite = bench.take_request("INVITE");
    bench.input(Input::Hint(Hint::NetworkChanged));
    assert_eq!(bench.sockets.len(), 2);
    bench.sent.clear();
    // The bench panics where anything is sent over a socket that is gone.
    bench.cut();
    assert_eq!(bench.opened.len(), 3);
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.seq(), reinvite.headers.seq());
    assert_eq!(bench.end_of(call), None);
}

// ---- what a server answers is learnt anew

/// Asterisk challenges OPTIONS, too.
#[test]
fn a_challenged_keep_alive_is_answered_and_asks_for_no_credentials() {
    for credentials in [CredentialSource::Ask, config().credentials] {
        let mut bench = Bench::new(PhoneConfig { credentials, ..config() });
        bench.answers_crlf = false;
        bench.challenges_options = true;
        bench.connect();
        bench.pass(secs(240));
        assert!(bench.questions.is_empty());
        assert!(bench.option_pings > 8, "{}", bench.option_pings);
        assert_eq!(bench.opened.len(), 1);
        // It is a sign of life: when it does not come any more, the server is gone.
        time_to_notice(&mut bench);
    }
}

/// Nor does the question whether a caller is still there.
#[test]
fn a_challenge_to_the_question_after_a_caller_asks_for_no_credentials() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..config() });
    bench.connect();
    let (call, ..) = crate::incoming::ringing(&mut bench);
    bench.cut();
    let options = bench.take_request("OPTIONS");
    let mut response = options.response(407, None);
    response.headers.push("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\"");
    bench.reply(&response);
    assert!(bench.questions.is_empty() && bench.end_of(call).is_none());
}

#[test]
fn a_server_that_no_longer_answers_crlf_is_asked_by_options_before_it_is_left() {
    for in_call in [false, true] {
        let mut bench = Bench::new(config());
        bench.connect();
        if in_call {
            bench.dial("sip:bob@example.com");
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
            bench.input(Input::MediaState { call: bench.phone.calls()[0].id, state: MediaState::Connected });
        }
        bench.pass(secs(60));
        bench.cut();
        bench.answers_crlf = false;
        bench.pass(secs(600));
        assert!(bench.opened.len() <= 3, "{} sockets", bench.opened.len());
        assert!(bench.option_pings > 10);
    }
    // Over one and the same connection, too.
    let mut bench = met(Server::Crlf, config());
    bench.answers_crlf = false;
    bench.pass(secs(600));
    assert_eq!(bench.opened.len(), 1);
    // One that answers neither any more is left once, and then believed.
    let mut bench = met(Server::Crlf, config());
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.cut();
    bench.pass(secs(600));
    assert_eq!(bench.opened.len(), 3);
}

#[test]
fn a_server_that_closes_upon_a_keep_alive_is_not_sent_it_again() {
    for (closes_upon, most) in [([true, false], 2), ([false, true], 3), ([true, true], 4)] {
        for register in [false, true] {
            let mut bench = Bench::new(PhoneConfig { register, ..config() });
            bench.answers_crlf = false;
            bench.closes_upon = closes_upon;
            bench.connect();
            let end = bench.now + secs(590);
            while bench.now < end {
                while !bench.sent.is_empty() {
                    register_or_not(&mut bench);
                }
                bench.pass(ms(500));
            }
            let sockets = bench.opened.len();
            assert!(sockets <= most, "{closes_upon:?}: {sockets} sockets");
            assert_eq!(bench.phone.connection(), ConnectionState::Connected);
        }
    }
}

fn register_or_not(bench: &mut Bench) {
    if bench.socket.is_none() {
        bench.lines();
    } else {
        register(bench);
    }
}

/// A loss that has nothing to do with a keep-alive teaches nothing.
#[test]
fn a_connection_that_is_cut_at_another_time_is_asked_by_crlf_again() {
    let mut bench = met(Server::Crlf, config());
    let pings = bench.pings;
    bench.pass(secs(5));
    bench.cut();
    bench.pass(secs(1));
    assert_eq!((bench.pings, bench.option_pings), (pings + 1, 0));
}
