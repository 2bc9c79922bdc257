//! Links that are slow, servers that are deaf for a while, and a permission of the browser (src/phone/flow.rs).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{ANSWER, Bench, answer, config, ms, secs, with_sdp};
use crate::recovery::{register, registering};
use wasm_softphone::phone::{
    ConnectionState, Event, Hint, Input, LocalNetwork, PhoneConfig, RegistrationState, SocketId,
};
use wasm_softphone::sip::message::Message;

fn opens(bench: &mut Bench, socket: SocketId) {
    bench.socket = Some(socket);
    bench.sockets.push(socket);
    bench.input(Input::SocketOpened(socket));
}

/// Every socket opens so long after it was asked for, unless it was closed.
fn pass_on_slow_link(bench: &mut Bench, opening: Duration, time: Duration) {
    let end = bench.now + time;
    while bench.now < end {
        bench.pass(ms(100));
        let ready: Vec<SocketId> = bench
            .opened
            .iter()
            .filter(|(at, socket, _)| bench.now - *at == opening && !bench.closed.contains(socket))
            .map(|(_, socket, _)| *socket)
            .collect();
        for socket in ready {
            if !bench.closed.contains(&socket) {
                opens(bench, socket);
            }
        }
    }
}

fn servers(count: usize) -> PhoneConfig {
    let servers = ["wss://a.example.com", "wss://b.example.com", "wss://c.example.com"];
    PhoneConfig { servers: servers[..count].iter().map(|url| (*url).to_owned()).collect(), ..config() }
}

// ---- a slow link

#[test]
fn a_link_with_two_seconds_of_round_trip_connects_and_comes_back() {
    for count in [1, 2, 3] {
        for opening in [secs(6), secs(8), secs(12)] {
            let mut bench = Bench::new(servers(count));
            bench.reachable = false;
            bench.connect();
            pass_on_slow_link(&mut bench, opening, secs(30));
            assert_eq!(bench.connect_results(), [Ok(())], "{count} {opening:?}");
            assert_eq!(bench.sockets.len(), 1, "the others are closed");
            bench.cut();
            pass_on_slow_link(&mut bench, opening, secs(40));
            assert_eq!(bench.phone.connection(), ConnectionState::Connected, "{count} {opening:?}");
            assert_eq!(bench.sockets.len(), 1, "the others are closed");
            let unused = bench.opened.iter().filter(|(_, socket, _)| !bench.closed.contains(socket)).count();
            assert!(unused <= 2, "the first was lost, the last is open");
        }
    }
}

#[test]
fn a_hint_lets_a_socket_that_is_opening_go_on() {
    let mut bench = Bench::online();
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(3));
    bench.input(Input::Hint(Hint::Online));
    assert_eq!((bench.opened.len(), bench.closed.len()), (3, 0));
    opens(&mut bench, SocketId(2));
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    assert_eq!(bench.closed, [SocketId(3)]);
}

#[test]
fn connecting_to_silence_ends_and_closes_every_socket() {
    for count in [1, 3] {
        let mut bench = Bench::new(servers(count));
        bench.reachable = false;
        bench.connect();
        bench.pass(secs(29));
        assert_eq!(bench.connect_results(), []);
        bench.pass(secs(2));
        assert_eq!(bench.connect_results(), [Err("transport")]);
        assert!(bench.opened.iter().all(|(_, socket, _)| bench.closed.contains(socket)));
        assert_eq!(bench.opened.len(), count);
        assert_eq!(bench.phone.poll_timeout(), None);
    }
}

#[test]
fn while_the_network_is_away_two_sockets_are_open_at_most() {
    let mut bench = Bench::online();
    bench.reachable = false;
    bench.cut();
    for _ in 0..600 {
        bench.pass(secs(1));
        let open = bench.opened.len() - 1 - bench.closed.len();
        assert!(open <= 2, "{open} sockets");
    }
    assert!(bench.opened.len() > 40, "there are always new attempts");
    bench.disconnect();
    bench.pass(secs(3));
    assert_eq!(bench.opened.len() - 1, bench.closed.len());
}

#[test]
fn on_a_slow_link_a_hint_waits_for_an_answer_as_long_as_the_connection_took() {
    let mut bench = Bench::new(config());
    bench.reachable = false;
    bench.connect();
    pass_on_slow_link(&mut bench, secs(6), secs(7));
    bench.pass(secs(60));
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.input(Input::Hint(Hint::Visible));
    bench.pass(ms(2_500));
    bench.receive("\r\n");
    bench.pass(secs(8));
    assert_eq!(bench.opened.len(), 1);
}

// ---- a server that is deaf at first

/// Asterisk takes WebSockets before it is booted, and drops what comes over them.
#[test]
fn a_register_that_is_dropped_is_sent_over_another_socket_after_five_seconds() {
    for first in [true, false] {
        let mut bench = Bench::new(registering());
        bench.connect();
        if !first {
            register(&mut bench);
            bench.pass(secs(100));
            bench.cut();
        }
        let opened = bench.opened.len();
        bench.take_request("REGISTER");
        bench.pass(ms(4_900));
        assert_eq!(bench.opened.len(), opened);
        bench.pass(ms(1_500));
        assert_eq!(bench.opened.len(), opened + 1);
        register(&mut bench);
        assert_eq!(bench.registration(), RegistrationState::Registered);
        assert!(!bench.connect_results().contains(&Err("timeout")));
    }
}

/// An answer to something else says nothing about the REGISTER.
#[test]
fn a_register_that_is_dropped_is_not_waited_for_because_options_are_answered() {
    let mut bench = Bench::new(registering());
    bench.answers_crlf = false;
    bench.connect();
    register(&mut bench);
    bench.pass(secs(100));
    bench.cut();
    bench.take_request("REGISTER");
    let lost = bench.now;
    bench.input(Input::Hint(Hint::Visible));
    bench.receive("\r\n");
    while bench.sent.is_empty() {
        bench.pass(ms(100));
    }
    assert!(bench.now - lost < secs(7));
}

#[test]
fn a_registrar_that_takes_its_time_is_waited_for() {
    // A 100 says that it is there; without one it gets more time over each socket.
    for (trying, takes) in [(true, 31), (false, 4), (false, 9), (false, 19)] {
        for count in [1, 2] {
            let mut bench = Bench::new(PhoneConfig { register: true, ..servers(count) });
            bench.connect();
            let end = bench.now + secs(40);
            let mut asked = Vec::new();
            while bench.now < end && bench.connect_results().is_empty() {
                for message in core::mem::take(&mut bench.sent) {
                    let Message::Request(request) = message else { continue };
                    if trying {
                        bench.reply(&request.response(100, None));
                    }
                    asked.push((bench.now, bench.socket, request));
                }
                let due: Vec<_> =
                    asked.iter().filter(|(at, ..)| bench.now - *at == secs(takes)).cloned().collect();
                for (_, socket, request) in due {
                    if socket == bench.socket {
                        bench.reply(&request.response(200, None));
                    }
                }
                bench.pass(ms(500));
            }
            assert_eq!(bench.connect_results(), [Ok(())], "{trying} {takes} s, {count} servers");
        }
    }
}

#[test]
fn a_call_over_a_fresh_socket_that_stays_silent_is_made_over_the_next() {
    let mut bench = Bench::new(config());
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.connect();
    let call = bench.dial("sip:bob@example.com");
    let first = bench.take_request("INVITE");
    bench.pass(ms(5_100));
    assert_eq!(bench.opened.len(), 2);
    let again = bench.take_request("INVITE");
    assert_eq!(again, first, "the same transaction");
    bench.reply(&with_sdp(answer(&again, 200, "b"), ANSWER));
    assert_eq!(bench.dial_result(call), Some(&Ok(())));
}

// ---- the browser's permission for the local network

fn local(url: &str) -> PhoneConfig {
    PhoneConfig { servers: vec![url.into()], ..config() }
}

fn connect_error(bench: &Bench) -> wasm_softphone::error::Error {
    let error = bench.events.iter().find_map(|event| match event {
        Event::ConnectDone(Err(error)) => Some(error.clone()),
        _ => None,
    });
    error.expect("connect() has not failed")
}

#[test]
fn a_local_network_that_the_browser_refuses_is_named() {
    use LocalNetwork::{Denied, Granted, Prompt};
    for (url, state, message, hint) in [
        ("wss://192.168.1.10/ws", Denied, true, true),
        ("wss://pbx.local/ws", Denied, true, true),
        ("wss://sip.example.com/ws", Denied, false, true),
        ("wss://192.168.1.10/ws", Prompt, false, true),
        ("wss://sip.example.com/ws", Prompt, false, false),
        ("wss://192.168.1.10/ws", Granted, false, false),
    ] {
        let mut bench = Bench::new(local(url));
        bench.reachable = false;
        bench.connect();
        bench.input(Input::LocalNetwork(state));
        bench.input(Input::SocketClosed(SocketId(1)));
        let error = connect_error(&bench);
        assert_eq!(error.code.as_str(), "transport");
        assert_eq!(error.message.contains("local network"), message, "{url} {state:?}: {error:?}");
        let named = error.hint.as_ref().is_some_and(|hint| hint.contains("Local Network Access"));
        assert_eq!(named, hint, "{url} {state:?}: {error:?}");
    }
}

/// Somebody reads the question.
#[test]
fn a_question_of_the_browser_has_time_to_be_answered() {
    let mut bench = Bench::new(local("wss://192.168.1.10/ws"));
    bench.reachable = false;
    bench.connect();
    bench.input(Input::LocalNetwork(LocalNetwork::Prompt));
    bench.pass(secs(90));
    assert_eq!(bench.connect_results(), []);
    opens(&mut bench, SocketId(1));
    assert_eq!(bench.connect_results(), [Ok(())]);
    assert_eq!(bench.opened.len(), 1);

    let mut bench = Bench::new(local("wss://192.168.1.10/ws"));
    bench.reachable = false;
    bench.connect();
    bench.input(Input::LocalNetwork(LocalNetwork::Prompt));
    bench.pass(secs(121));
    assert!(connect_error(&bench).hint.as_ref().unwrap().contains("Local Network Access"));
}
