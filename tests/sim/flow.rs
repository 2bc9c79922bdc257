//! The connection: servers in order, reconnecting, keep-alive (RFC 7118, RFC 5626).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, answer, config, ms, secs, with_sdp};
use wasm_softphone::phone::{ConnectionState, Event, Input, PhoneConfig, SocketId};

fn three_servers() -> PhoneConfig {
    PhoneConfig {
        servers: ["wss://a.example.com", "wss://b.example.com", "wss://c.example.com"]
            .map(String::from)
            .to_vec(),
        ..config()
    }
}

#[test]
fn servers_are_tried_in_order_and_then_connect_fails() {
    let mut bench = Bench::new(three_servers());
    bench.reachable = false;
    bench.connect();
    assert_eq!(bench.phone.connection(), ConnectionState::Connecting);
    bench.input(Input::SocketClosed(SocketId(1)));
    assert_eq!(bench.opened.len(), 2);
    bench.pass(secs(5));
    assert_eq!(bench.opened.len(), 3, "a silent server is given 5 s before the next is tried");
    bench.pass(secs(5));
    assert_eq!(bench.closed, [SocketId(3)], "and may open for longer, beside it");
    bench.pass(secs(20));
    let urls: Vec<_> = bench.opened.iter().map(|(_, _, url)| url.as_str()).collect();
    assert_eq!(urls, ["wss://a.example.com", "wss://b.example.com", "wss://c.example.com"]);
    assert_eq!(bench.connect_results(), [Err("transport")]);
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    bench.pass(secs(3600));
    assert_eq!(bench.opened.len(), 3, "no attempt that nobody asked for");
}

#[test]
fn connecting_twice_is_one_attempt_and_again_later_succeeds_at_once() {
    let mut bench = Bench::new(config());
    bench.reachable = false;
    bench.connect();
    bench.connect();
    assert_eq!(bench.opened.len(), 1);
    bench.socket = Some(SocketId(1));
    bench.input(Input::SocketOpened(SocketId(1)));
    assert_eq!(bench.connect_results(), [Ok(())]);
    bench.connect();
    assert_eq!(bench.connect_results(), [Ok(()), Ok(())]);
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn without_servers_connect_says_so() {
    let mut bench = Bench::new(PhoneConfig { servers: Vec::new(), ..config() });
    bench.connect();
    assert_eq!(bench.connect_results(), [Err("not_configured")]);
}

#[test]
fn comes_back_at_once_and_then_with_jitter_below_the_cap() {
    for seed in 0..20 {
        let mut bench = Bench::seeded(config(), seed);
        bench.connect();
        bench.events.clear();
        bench.reachable = false;
        let lost = bench.now;
        bench.cut();
        assert_eq!(bench.phone.connection(), ConnectionState::Reconnecting);
        assert_eq!(bench.opened.last().unwrap().0, lost, "the first attempt comes at once");
        for round in 0..10_u32 {
            let failed = bench.now;
            let socket = bench.opened.last().unwrap().1;
            bench.input(Input::SocketClosed(socket));
            let count = bench.opened.len();
            let latest = failed + ms(8_000.min(1_000 << round));
            while bench.opened.len() == count && bench.now < latest {
                bench.pass(ms(10));
            }
            assert!(bench.opened.len() > count, "round {round} waited too long");
        }
    }
}

#[test]
fn a_server_that_comes_back_is_found_within_the_cap() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.reachable = false;
    bench.cut();
    // A refused connection fails at once.
    let end = bench.now + secs(120);
    while bench.now < end {
        let socket = bench.opened.last().unwrap().1;
        bench.input(Input::SocketClosed(socket));
        let count = bench.opened.len();
        while bench.opened.len() == count {
            let (at, _) = bench.phone.poll_timeout().unwrap();
            bench.now = bench.now.max(at);
            bench.input(Input::Timer);
        }
    }
    let socket = bench.opened.last().unwrap().1;
    bench.input(Input::SocketClosed(socket));
    bench.reachable = true;
    let up = bench.now;
    bench.pass(secs(8));
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    assert!(bench.opened.last().unwrap().0 - up <= secs(8));
}

#[test]
fn pings_within_the_interval_and_answers_pings() {
    let mut bench = Bench::online();
    assert_eq!(bench.pings, 1, "a new server shows what it answers");
    bench.pass(ms(19_900));
    assert_eq!(bench.pings, 1);
    bench.pass(ms(5_200));
    assert_eq!(bench.pings, 2);
    bench.receive("\r\n\r\n");
    assert_eq!(bench.pongs, 1);
}

#[test]
fn a_server_that_stops_answering_pings_is_left() {
    let mut bench = Bench::online();
    bench.pass(secs(26));
    bench.answers_crlf = false;
    bench.answers_options = false;
    let silent = bench.now;
    while bench.closed.is_empty() {
        bench.pass(ms(100));
    }
    assert!(bench.now - silent <= secs(35));
    assert_eq!(bench.closed, [SocketId(1)]);
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.option_pings, 1, "it is asked in the other way before it is left");
}

#[test]
fn a_server_that_never_answers_pings_is_kept() {
    let mut bench = Bench::new(config());
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.connect();
    bench.pass(secs(600));
    assert!(bench.pings > 20);
    assert_eq!(bench.option_pings, 1);
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn any_message_counts_as_a_sign_of_life() {
    let mut bench = Bench::online();
    bench.answers_crlf = false;
    let pings = bench.pings;
    while bench.pings == pings {
        bench.pass(secs(1));
    }
    bench.pass(secs(9));
    bench.receive("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/WS x;branch=z9hG4bKo\r\nFrom: <sip:b@c>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.lines(), ["200 OPTIONS"]);
    bench.pass(secs(3));
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn what_an_old_socket_says_is_ignored() {
    let mut bench = Bench::online();
    bench.cut();
    assert_eq!(bench.opened.len(), 2);
    bench.events.clear();
    bench.input(Input::SocketClosed(SocketId(1)));
    bench.input(Input::SocketOpened(SocketId(1)));
    bench.input(Input::SocketData(SocketId(1), b"\r\n\r\n".to_vec()));
    assert_eq!(bench.events, []);
    assert_eq!(bench.pongs, 0);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
}

#[test]
fn a_call_survives_the_loss_of_the_socket_and_its_bye_goes_out_on_the_next() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.reachable = false;
    bench.cut();
    assert!(bench.end_of(call).is_none(), "the call goes on");
    bench.hangup(call);
    bench.nothing_sent();
    assert!(bench.end_of(call).is_some());
    let socket = bench.opened.last().unwrap().1;
    bench.socket = Some(socket);
    bench.input(Input::SocketOpened(socket));
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    bench.nothing_sent();
}

#[test]
fn a_bye_in_flight_is_sent_again_on_the_next_socket() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.hangup(call);
    let first = bench.take_request("BYE");
    bench.cut();
    let second = bench.take_request("BYE");
    assert_eq!(first, second, "the same transaction");
}

#[test]
fn a_call_that_was_not_answered_is_given_up_after_a_long_outage_and_cancelled_after_it() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "b"));
    bench.reachable = false;
    bench.cut();
    bench.pass(secs(59));
    assert!(bench.end_of(call).is_none());
    bench.pass(secs(2));
    assert_eq!(bench.dial_error(call), "transport");
    assert!(bench.media_closed(call));
    bench.reachable = true;
    bench.pass(secs(9));
    let cancel = bench.take_request("CANCEL");
    assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
    // The answer had crossed: it is acknowledged and ended.
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    assert_eq!(bench.lines(), ["ACK", "BYE"]);
}

#[test]
fn nothing_can_be_dialled_while_the_connection_is_down() {
    let mut bench = Bench::new(config());
    let request =
        wasm_softphone::phone::DialRequest { target: "sip:bob@example.com".into(), ..Default::default() };
    let error = bench.phone.dial(bench.now, request).unwrap_err();
    assert_eq!(error.code.as_str(), "not_connected");
    bench.drain();
    assert_eq!(bench.events, []);
}

#[test]
fn connection_events_tell_the_whole_story_once() {
    let mut bench = Bench::new(config());
    bench.connect();
    bench.cut();
    bench.disconnect();
    let states: Vec<_> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Connection(state, _) => Some(*state),
            _ => None,
        })
        .collect();
    use ConnectionState::{Connected, Connecting, Disconnected, Reconnecting};
    assert_eq!(states, [Connecting, Connected, Reconnecting, Connected, Disconnected]);
}

#[test]
fn connect_during_disconnect_begins_afterwards() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    bench.disconnect();
    assert!(bench.end_of(call).is_some());
    let bye = bench.take_request("BYE");
    bench.connect();
    assert_eq!(bench.opened.len(), 1);
    bench.reply(&answer(&bye, 200, ""));
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    assert_eq!(bench.connect_results(), [Ok(())]);
}

#[test]
fn a_new_address_waits_for_the_next_connection() {
    let mut bench = Bench::new(PhoneConfig { register: true, ..config() });
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(200, None));
    let other = wasm_softphone::sip::uri::Uri::parse("sip:carol@example.org").unwrap();
    let next = PhoneConfig { uri: other, register: true, ..config() };
    bench.phone.configure(next);
    bench.disconnect();
    let removal = bench.take_request("REGISTER");
    assert_eq!(removal.headers.call_id(), request.headers.call_id());
    assert!(removal.headers.get("To").unwrap().contains("sip:alice@example.com"));
    bench.reply(&removal.response(200, None));
    bench.connect();
    let fresh = bench.take_request("REGISTER");
    assert!(fresh.headers.get("To").unwrap().contains("sip:carol@example.org"));
    assert_eq!(fresh.uri, "sip:example.org");
    assert_ne!(fresh.headers.call_id(), request.headers.call_id());
}

#[test]
fn disconnecting_again_takes_back_a_connect_that_waits() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.hangup(call);
    bench.disconnect();
    bench.connect();
    bench.disconnect();
    assert_eq!(bench.connect_results(), [Err("aborted")]);
    bench.pass(secs(3));
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn the_last_settings_count() {
    let mut bench = Bench::online();
    let server = |url: &str| PhoneConfig { servers: vec![url.to_owned()], ..config() };
    bench.phone.configure(server("wss://two.example.com"));
    bench.disconnect();
    bench.phone.configure(server("wss://three.example.com"));
    bench.connect();
    assert_eq!(bench.opened.last().unwrap().2, "wss://three.example.com");
}

#[test]
fn settings_without_servers_that_waited_fail_the_next_connect() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.hangup(call);
    bench.phone.configure(PhoneConfig { servers: Vec::new(), ..config() });
    bench.disconnect();
    bench.connect();
    bench.pass(secs(3));
    assert_eq!(bench.connect_results(), [Err("not_configured")]);
    bench.connect();
    assert_eq!(bench.connect_results(), [Err("not_configured"); 2]);
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
}

/// A proxy in front of a dead server takes every WebSocket and closes it at once.
#[test]
fn a_server_that_hangs_up_at_once_every_time_is_not_hammered() {
    let mut bench = Bench::online();
    let end = bench.now + secs(60);
    while bench.now < end {
        if bench.socket.is_some() {
            bench.cut();
        }
        bench.pass(ms(1));
    }
    assert!(bench.opened.len() < 60, "{} attempts in a minute", bench.opened.len());
    assert!(bench.opened.len() > 6, "{} attempts in a minute", bench.opened.len());
    // Once a connection has lasted, the next loss is repaired at once.
    bench.pass(secs(60));
    let count = bench.opened.len();
    bench.cut();
    assert_eq!(bench.opened.len(), count + 1);
}

#[test]
fn a_call_begun_before_the_registration_fails_with_the_socket() {
    let mut bench = Bench::new(PhoneConfig { register: true, ..three_servers() });
    bench.connect();
    bench.take_request("REGISTER");
    let call = bench.dial("sip:bob@example.com");
    bench.take_request("INVITE");
    bench.cut();
    assert_eq!(bench.dial_error(call), "transport");
    assert!(bench.media_closed(call));
}

/// Kamailio answers no pings; its silence to a REGISTER is the only sign that the connection is dead.
#[test]
fn a_refresh_into_silence_looks_for_another_connection() {
    let mut bench = Bench::new(PhoneConfig { register: true, ..config() });
    bench.answers_crlf = false;
    bench.answers_options = false;
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(200, None));
    bench.pass(secs(600));
    assert!(bench.opened.len() >= 2);
    assert_eq!(bench.closed.first(), Some(&SocketId(1)));

    // Without a registration an INVITE shows it; while anything is heard, the connection is kept.
    for speaks in [false, true] {
        let mut bench = Bench::new(config());
        bench.answers_crlf = false;
        bench.answers_options = false;
        bench.connect();
        bench.dial("sip:bob@example.com");
        bench.pass(secs(3));
        if speaks {
            bench.receive("\r\n\r\n");
        }
        bench.pass(secs(6));
        assert_eq!(bench.opened.len(), if speaks { 1 } else { 2 });
    }
}

/// The caller's ACK is on its way; without a BYE it would sit in a call with nobody.
#[test]
fn disconnecting_right_after_answering_waits_for_the_ack_to_say_bye() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = crate::incoming::ringing(&mut bench);
    bench.answer(call);
    bench.take_response(200);
    bench.disconnect();
    let ack = caller.ack(caller.seq, None);
    crate::bench::send(&mut bench, &ack);
    let bye = bench.take_request("BYE");
    bench.reply(&answer(&bye, 200, ""));
    assert!(bench.events.contains(&Event::DisconnectDone));
}
