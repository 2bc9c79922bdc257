//! REGISTER (RFC 3261, section 10; RFC 7616; RFC 8760).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, config, secs};
use wasm_softphone::phone::{
    ConnectionState, CredentialSource, Credentials, Event, Input, PhoneConfig, RegistrationState, Secret,
};
use wasm_softphone::sip::message::{Request, Response};

const MD5: &str = "Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn registering() -> PhoneConfig {
    PhoneConfig { register: true, ..config() }
}

fn start() -> Bench {
    let mut bench = Bench::new(registering());
    bench.connect();
    bench
}

fn challenge(request: &Request, status: u16, value: &str) -> Response {
    let mut response = request.response(status, None);
    response.set_to_tag("registrar");
    let name = if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
    response.headers.push(name, value);
    response
}

fn ok(request: &Request, expires: u32) -> Response {
    let mut response = request.response(200, None);
    response.set_to_tag("registrar");
    let contact = request.headers.get("Contact").unwrap();
    response.headers.push("Contact", format!("<sip:other@192.0.2.1>;expires=7, {contact};expires={expires}"));
    response
}

#[test]
fn registers_with_an_answer_to_the_challenge() {
    let mut bench = start();
    let first = bench.take_request("REGISTER");
    assert_eq!(first.uri, "sip:example.com");
    assert_eq!(first.headers.get("To"), Some("\"Alice\" <sip:alice@example.com>"));
    assert_eq!(first.headers.get("Expires"), Some("600"));
    assert_eq!(first.headers.get("Authorization"), None);
    assert_eq!(bench.connect_results(), []);
    bench.reply(&challenge(&first, 401, MD5));
    let second = bench.take_request("REGISTER");
    assert_eq!(second.headers.call_id(), first.headers.call_id());
    assert_eq!(second.headers.get("CSeq"), Some("2 REGISTER"));
    assert_ne!(second.headers.get("Via"), first.headers.get("Via"));
    let authorization = second.headers.get("Authorization").unwrap();
    assert!(authorization.contains("nc=00000001"), "{authorization}");
    assert!(!authorization.contains("alice-secret"));
    bench.reply(&ok(&second, 600));
    assert_eq!(bench.registration(), RegistrationState::Registered);
    assert_eq!(bench.connect_results(), [Ok(())]);
}

#[test]
fn refreshes_between_half_and_seven_tenths_with_the_next_nonce_count() {
    for seed in 0..50 {
        let mut bench = Bench::seeded(registering(), seed);
        bench.connect();
        let first = bench.take_request("REGISTER");
        bench.reply(&challenge(&first, 401, MD5));
        let second = bench.take_request("REGISTER");
        bench.reply(&ok(&second, 200));
        bench.pass(secs(99));
        bench.nothing_sent();
        let earliest = bench.now;
        while bench.sent.is_empty() {
            bench.pass(secs(1));
        }
        assert!(bench.now - earliest <= secs(42));
        let refresh = bench.take_request("REGISTER");
        assert!(refresh.headers.get("Authorization").unwrap().contains("nc=00000002"));
        assert_eq!(bench.registration(), RegistrationState::Registered, "no flicker while refreshing");
        bench.reply(&ok(&refresh, 200));
        bench.nothing_sent();
    }
}

#[test]
fn a_wrong_password_fails_after_one_retry_and_is_never_tried_again() {
    let mut bench = start();
    let first = bench.take_request("REGISTER");
    bench.reply(&challenge(&first, 401, MD5));
    let second = bench.take_request("REGISTER");
    bench.reply(&challenge(&second, 401, "Digest realm=\"example.com\", nonce=\"n2\", qop=\"auth\""));
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
    assert_eq!(bench.registration(), RegistrationState::Failed);
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    bench.pass(secs(24 * 3600));
    bench.nothing_sent();
    assert_eq!(bench.opened.len(), 1);
    assert_eq!(bench.phone.poll_timeout(), None, "no timer is left");
}

#[test]
fn a_stale_nonce_is_not_a_wrong_password() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(
        &request,
        401,
        "Digest realm=\"example.com\", nonce=\"n2\", qop=\"auth\", stale=true",
    ));
    let request = bench.take_request("REGISTER");
    let authorization = request.headers.get("Authorization").unwrap();
    assert!(authorization.contains("nonce=\"n2\"") && authorization.contains("nc=00000001"));
    bench.reply(&ok(&request, 600));
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn endless_stale_challenges_come_to_an_end() {
    let mut bench = start();
    let mut registers = 0;
    while bench.connect_results().is_empty() {
        let request = bench.take_request("REGISTER");
        registers += 1;
        assert!(registers < 10, "a loop");
        let value = format!("Digest realm=\"example.com\", nonce=\"n{registers}\", qop=\"auth\", stale=true");
        bench.reply(&challenge(&request, 401, &value));
    }
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn an_outdated_nonce_on_refresh_gets_one_more_answer() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    bench.pass(secs(80));
    let refresh = bench.take_request("REGISTER");
    bench.reply(&challenge(&refresh, 401, "Digest realm=\"example.com\", nonce=\"n9\", qop=\"auth\""));
    let again = bench.take_request("REGISTER");
    assert!(again.headers.get("Authorization").unwrap().contains("nonce=\"n9\""));
    bench.reply(&ok(&again, 100));
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn a_401_and_a_407_in_one_exchange_are_both_answered() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 407, "Digest realm=\"edge\", nonce=\"p\", qop=\"auth\""));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Proxy-Authorization").is_some());
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Proxy-Authorization").unwrap().contains("realm=\"edge\""));
    assert!(request.headers.get("Authorization").unwrap().contains("realm=\"example.com\""));
    bench.reply(&ok(&request, 600));
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn of_several_challenges_the_strongest_is_answered() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    let mut response = challenge(&request, 401, MD5);
    response.headers.push(
        "WWW-Authenticate",
        "Digest realm=\"example.com\", nonce=\"s\", qop=\"auth,auth-int\", algorithm=SHA-256",
    );
    bench.reply(&response);
    let request = bench.take_request("REGISTER");
    let values: Vec<_> = request.headers.get_all("Authorization").collect();
    assert_eq!(values.len(), 1);
    assert!(values[0].contains("algorithm=SHA-256") && values[0].contains("qop=auth,"), "{}", values[0]);
}

#[test]
fn unknown_algorithms_fail_without_a_second_request() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, "Digest realm=\"e\", nonce=\"n\", algorithm=WHIRLPOOL"));
    bench.nothing_sent();
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn too_brief_is_asked_again_with_the_registrars_minimum_but_not_for_ever() {
    let mut bench = Bench::new(PhoneConfig { register_expires: secs(60), ..registering() });
    bench.connect();
    let request = bench.take_request("REGISTER");
    let mut brief = request.response(423, None);
    brief.headers.push("Min-Expires", "300");
    bench.reply(&brief);
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.get("Expires"), Some("300"));
    bench.reply(&ok(&request, 300));
    assert_eq!(bench.registration(), RegistrationState::Registered);

    let mut bench = Bench::new(registering());
    bench.connect();
    let mut asked = 0;
    while bench.connect_results().is_empty() {
        let request = bench.take_request("REGISTER");
        asked += 1;
        assert!(asked < 10, "a loop");
        let mut brief = request.response(423, None);
        brief.headers.push("Min-Expires", format!("{}", 600 + asked));
        bench.reply(&brief);
    }
    assert_eq!(bench.connect_results(), [Err("registration_failed")]);
}

#[test]
fn a_server_that_cannot_register_us_is_passed_over() {
    let mut config = registering();
    config.servers.push("wss://two.example.com/sip".into());
    let mut bench = Bench::new(config);
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(503, None));
    let request = bench.take_request("REGISTER");
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.opened[1].2, "wss://two.example.com/sip");
    bench.reply(&ok(&request, 600));
    assert_eq!(bench.connect_results(), [Ok(())]);
}

#[test]
fn a_refusal_fails_connect_with_the_status() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(403, None));
    assert_eq!(bench.connect_results(), [Err("registration_failed")]);
    let status = bench.events.iter().find_map(|event| match event {
        Event::ConnectDone(Err(error)) => error.sip_status,
        _ => None,
    });
    assert_eq!(status, Some(403));
    bench.pass(secs(3600));
    assert_eq!(bench.opened.len(), 1);
}

#[test]
fn a_refresh_that_fails_is_tried_again_and_the_call_goes_on() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    bench.pass(secs(80));
    let request = bench.take_request("REGISTER");
    let mut response = request.response(503, None);
    response.headers.push("Retry-After", "5");
    bench.reply(&response);
    assert_eq!(bench.registration(), RegistrationState::Failed);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    bench.pass(secs(4));
    bench.nothing_sent();
    bench.pass(secs(4));
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn silence_over_three_sockets_is_a_failure_after_35_seconds() {
    let mut bench = start();
    bench.pass(secs(34));
    assert_eq!(bench.connect_results(), []);
    bench.pass(secs(2));
    assert_eq!(bench.connect_results(), [Err("timeout")]);
    assert_eq!((bench.opened.len(), bench.lines().len()), (3, 3));
    assert_eq!(bench.phone.poll_timeout(), None);
}

#[test]
fn disconnect_removes_the_binding_and_closes() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 600));
    bench.disconnect();
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.get("Expires"), Some("0"));
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    bench.reply(&ok(&request, 0));
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
    assert_eq!(bench.registration(), RegistrationState::Unregistered);
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.closed.len(), 1);
    assert_eq!(bench.phone.poll_timeout(), None);
}

#[test]
fn disconnect_answers_a_challenge_to_its_last_register() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 600));
    bench.disconnect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.get("Expires"), Some("0"));
    bench.reply(&ok(&request, 0));
    assert!(bench.events.contains(&Event::DisconnectDone));
}

#[test]
fn disconnect_does_not_wait_for_a_silent_server() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 600));
    bench.disconnect();
    bench.pass(secs(2));
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.phone.poll_timeout(), None);
}

#[test]
fn disconnect_while_registering_settles_connect_too() {
    let mut bench = start();
    bench.disconnect();
    assert_eq!(bench.connect_results(), [Err("aborted")]);
    bench.pass(secs(3));
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.phone.connection(), ConnectionState::Disconnected);
}

#[test]
fn credentials_are_asked_for_and_not_kept() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..registering() });
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    bench.nothing_sent();
    let (id, realm) = bench.questions.remove(0);
    assert_eq!(realm, "example.com");
    let credentials =
        Credentials { username: None, secret: Secret::Password("alice-secret".into()), realm: None };
    bench.input(Input::Credentials(id, Some(credentials)));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Authorization").unwrap().contains("username=\"alice\""));
    bench.reply(&ok(&request, 100));
    bench.pass(secs(80));
    let refresh = bench.take_request("REGISTER");
    assert_eq!(refresh.headers.get("Authorization"), None);
    bench.reply(&challenge(&refresh, 401, MD5));
    assert_eq!(bench.questions.len(), 1);
}

#[test]
fn no_credentials_is_auth_failed() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..registering() });
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let (id, _) = bench.questions.remove(0);
    bench.input(Input::Credentials(id, None));
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn secrets_stay_out_of_the_trace() {
    let mut bench = Bench::new(PhoneConfig { trace: true, ..registering() });
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    let sent = request.headers.get("Authorization").unwrap();
    let response = sent.split("response=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let trace = format!("{:?}", bench.events);
    assert!(trace.contains("REGISTER sip:example.com"));
    assert!(!trace.contains(&response) && !trace.contains("alice-secret"), "{trace}");
    assert!(!format!("{:?}", bench.config).contains("alice-secret"));
    let output = wasm_softphone::phone::Transmit::Send {
        socket: wasm_softphone::phone::SocketId(1),
        text: request.to_text().unwrap(),
    };
    assert!(!format!("{output:?}").contains(&response));
}

#[test]
fn a_100_is_not_the_end_of_the_removal() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 600));
    bench.disconnect();
    bench.events.clear();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(100, None));
    assert_eq!(bench.events, []);
    bench.reply(&request.response(200, None));
    use wasm_softphone::phone::ConnectionState::Disconnected;
    assert_eq!(
        bench.events,
        [
            Event::Registration(RegistrationState::Unregistered, None),
            Event::Connection(Disconnected, None),
            Event::DisconnectDone
        ]
    );
}

#[test]
fn a_retry_by_hand_replaces_the_one_that_waits() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    bench.pass(secs(80));
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(503, None));
    bench.connect();
    bench.take_request("REGISTER");
    bench.pass(secs(20));
    bench.nothing_sent();
}

/// A hash answers only for the algorithm that it was made with.
#[test]
fn a_hash_answers_the_challenge_that_it_fits() {
    let sha = "Digest realm=\"example.com\", nonce=\"n2\", qop=\"auth\", algorithm=SHA-256";
    for (length, algorithm) in [(32, "algorithm=MD5"), (64, "algorithm=SHA-256")] {
        let credentials =
            Credentials { username: None, secret: Secret::Ha1("0".repeat(length)), realm: None };
        let mut bench =
            Bench::new(PhoneConfig { credentials: CredentialSource::Static(credentials), ..registering() });
        bench.connect();
        let request = bench.take_request("REGISTER");
        let mut response = challenge(&request, 401, MD5);
        response.headers.push("WWW-Authenticate", sha);
        bench.reply(&response);
        let request = bench.take_request("REGISTER");
        let answers: Vec<_> = request.headers.get_all("Authorization").collect();
        assert_eq!(answers.len(), 1);
        assert!(answers[0].contains(algorithm), "{}", answers[0]);
    }
}

/// RFC 7616, section 3.4: `nc` counts all requests with this nonce; a server that saw 2 takes 1 for a replay.
#[test]
fn a_nonce_that_comes_again_is_counted_on() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    bench.pass(secs(75));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Authorization").unwrap().contains("nc=00000002"));
    bench.reply(&challenge(&request, 401, MD5));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Authorization").unwrap().contains("nc=00000003"));
}

/// Behind a NAT some registrars answer with the contact as they see it.
#[test]
fn the_lifetime_of_the_only_contact_is_ours_even_if_it_was_rewritten() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    let mut response = request.response(200, None);
    response.headers.push("Contact", "<sip:alice@192.0.2.9:4711;transport=ws>;expires=60");
    bench.reply(&response);
    bench.pass(secs(45));
    bench.take_request("REGISTER");
}

/// A refresh that fails leaves the binding as it was: calls would go to a phone that is gone.
#[test]
fn disconnecting_after_a_failed_refresh_removes_the_binding() {
    let mut bench = start();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, 100));
    bench.pass(secs(80));
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(503, None));
    bench.disconnect();
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.get("Expires"), Some("0"));
}
