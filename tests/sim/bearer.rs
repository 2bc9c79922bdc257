//! Whose challenges are answered, and with what: access tokens (RFC 8898), and the realms of others.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, answer, config, outcome, with_sdp};
use wasm_softphone::phone::{
    CallId, CredentialSource, Credentials, Event, Input, PhoneConfig, RegistrationState, Secret,
};
use wasm_softphone::sip::message::{Request, Response};

const BEARER: &str =
    "Bearer realm=\"example.com\", authz_server=\"https://login.example.com\", scope=\"sip\"";
const DIGEST: &str = "Digest realm=\"example.com\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn token(token: &str, realm: Option<&str>) -> Credentials {
    Credentials { username: None, secret: Secret::Bearer(token.into()), realm: realm.map(str::to_owned) }
}

fn registering(credentials: CredentialSource) -> PhoneConfig {
    PhoneConfig { register: true, credentials, ..config() }
}

fn start(credentials: CredentialSource) -> Bench {
    let mut bench = Bench::new(registering(credentials));
    bench.connect();
    bench
}

fn challenge(request: &Request, status: u16, values: &[&str]) -> Response {
    let mut response = request.response(status, None);
    response.set_to_tag("server");
    let name = if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
    for value in values {
        response.headers.push(name, *value);
    }
    response
}

fn ok(request: &Request) -> Response {
    let mut response = request.response(200, None);
    response.set_to_tag("registrar");
    response.headers.push("Contact", format!("{};expires=600", request.headers.get("Contact").unwrap()));
    response
}

/// Registered after a challenge with this value.
fn registered(credentials: CredentialSource, value: &str) -> Bench {
    let mut bench = start(credentials);
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[value]));
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request));
    assert_eq!(bench.registration(), RegistrationState::Registered);
    bench.events.clear();
    bench
}

/// An answered call.
fn called(bench: &mut Bench) -> CallId {
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    bench.take_request("ACK");
    call
}

fn info(bench: &mut Bench, call: CallId) -> Request {
    bench.phone.send_info(bench.now, call, "application/dtmf-relay", "Signal=1\r\n").unwrap();
    bench.drain();
    bench.take_request("INFO")
}

fn info_results(bench: &Bench) -> Vec<Result<(), &'static str>> {
    let done = |event: &Event| match event {
        Event::InfoDone(_, result) => Some(outcome(result)),
        _ => None,
    };
    bench.events.iter().filter_map(done).collect()
}

#[test]
fn a_token_answers_a_bearer_challenge() {
    let mut bench = start(CredentialSource::Static(token("t0ken", None)));
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.get("Authorization"), None, "nothing before it is asked for");
    bench.reply(&challenge(&request, 401, &[DIGEST, BEARER]));
    let request = bench.take_request("REGISTER");
    assert_eq!(request.headers.values("Authorization"), ["Bearer t0ken"]);
    bench.reply(&ok(&request));
    // By a proxy, for a call.
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &[BEARER]));
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.values("Proxy-Authorization"), ["Bearer t0ken"]);
}

#[test]
fn a_token_is_never_turned_into_a_digest_nor_a_password_into_a_token() {
    let mut bench = start(CredentialSource::Static(token("t0ken", None)));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[DIGEST]));
    bench.nothing_sent();
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);

    let mut bench = start(config().credentials);
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[BEARER]));
    bench.nothing_sent();
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn a_token_goes_to_its_realm_only() {
    let mut bench = start(CredentialSource::Static(token("t0ken", Some("elsewhere.example"))));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[BEARER]));
    bench.nothing_sent();
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn a_token_goes_over_tls_or_to_this_machine_only() {
    for (url, sent) in [("ws://127.0.0.1:8080/", true), ("ws://sip.example.com/", false)] {
        let mut config = registering(CredentialSource::Static(token("t0ken", None)));
        config.servers = vec![url.into()];
        let mut bench = Bench::new(config);
        bench.connect();
        let request = bench.take_request("REGISTER");
        bench.reply(&challenge(&request, 401, &[BEARER]));
        assert_eq!(bench.lines().len(), usize::from(sent), "{url}");
    }
}

#[test]
fn a_token_is_not_shown_to_the_other_end_of_a_call() {
    let mut bench = registered(CredentialSource::Static(token("t0ken", None)), BEARER);
    let call = called(&mut bench);
    let request = info(&mut bench, call);
    assert_eq!(request.headers.get("Authorization"), None);
    bench.reply(&challenge(&request, 401, &[BEARER]));
    bench.nothing_sent();
    assert_eq!(info_results(&bench), [Err("auth_failed")]);
}

#[test]
fn an_expired_token_is_asked_for_once_more() {
    let mut bench = start(CredentialSource::Ask);
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[BEARER]));
    for (at, text) in ["old", "new"].into_iter().enumerate() {
        assert_eq!(bench.questions.len(), 1);
        let (id, _) = bench.questions.remove(0);
        bench.input(Input::Credentials(id, Some(token(text, None))));
        let request = bench.take_request("REGISTER");
        assert_eq!(request.headers.values("Authorization"), [format!("Bearer {text}")]);
        bench.reply(&challenge(&request, 401, &[&format!("{BEARER}, error=\"invalid_token\"")]));
        assert_eq!(bench.questions.len(), usize::from(at == 0));
    }
    bench.nothing_sent();
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
}

#[test]
fn a_token_stays_out_of_every_text() {
    let credentials = token("t0ken-secret", None);
    assert!(!format!("{credentials:?} {:?}", credentials.secret).contains("t0ken-secret"));
    let config = PhoneConfig { trace: true, ..registering(CredentialSource::Static(credentials)) };
    let mut bench = Bench::new(config);
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, 401, &[BEARER]));
    assert!(bench.take_request("REGISTER").to_text().unwrap().contains("t0ken-secret"));
    assert!(!format!("{:?} {:?}", bench.events, bench.config).contains("t0ken-secret"));
}

#[test]
fn a_realm_that_no_server_of_ours_has_named_is_not_answered_within_a_dialog() {
    let mut bench = registered(config().credentials, DIGEST);
    let call = called(&mut bench);
    let request = info(&mut bench, call);
    bench.reply(&challenge(&request, 401, &["Digest realm=\"mallory\", nonce=\"m\", qop=\"auth\""]));
    bench.nothing_sent();
    assert_eq!(info_results(&bench), [Err("auth_failed")]);
    // That of the registrar is, by whichever of its proxies.
    let request = info(&mut bench, call);
    bench.reply(&challenge(&request, 407, &[DIGEST]));
    let again = bench.take_request("INFO");
    assert!(again.headers.get("Proxy-Authorization").unwrap().contains("realm=\"example.com\""));
    assert_eq!(again.headers.seq(), request.headers.seq().map(|seq| seq + 1));
}

#[test]
fn without_any_known_realm_nothing_is_learnt_from_within_a_dialog() {
    let mut bench = Bench::online();
    let call = called(&mut bench);
    for _ in 0..2 {
        let request = info(&mut bench, call);
        bench.reply(&challenge(&request, 401, &[DIGEST]));
        bench.nothing_sent();
    }
    assert_eq!(info_results(&bench), [Err("auth_failed"); 2]);
}

#[test]
fn an_invite_is_answered_to_the_registrars_realm_only() {
    let mut bench = registered(config().credentials, DIGEST);
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 401, &["Digest realm=\"mallory\", nonce=\"m\", qop=\"auth\""]));
    bench.take_request("ACK");
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "auth_failed");
    // Of two realms in one challenge, ours.
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &["Digest realm=\"mallory\", nonce=\"m\", qop=\"auth\"", DIGEST]));
    bench.take_request("ACK");
    let values = bench.take_request("INVITE");
    let values = values.headers.values("Proxy-Authorization").join(" ");
    assert!(values.contains("example.com") && !values.contains("mallory"), "{values}");
}

#[test]
fn without_a_registration_the_first_realm_counts() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &[DIGEST]));
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    // The other end's own challenge.
    bench.reply(&challenge(&invite, 401, &["Digest realm=\"mallory\", nonce=\"m\", qop=\"auth\""]));
    bench.take_request("ACK");
    bench.nothing_sent();
}

#[test]
fn lower_case_algorithms_are_answered() {
    let mut bench = start(config().credentials);
    let request = bench.take_request("REGISTER");
    let value = "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\", algorithm=md5";
    bench.reply(&challenge(&request, 401, &[value]));
    let request = bench.take_request("REGISTER");
    assert!(request.headers.get("Authorization").unwrap().contains("algorithm=MD5"));
}

#[test]
fn credentials_for_an_ended_call_are_not_used() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..config() });
    bench.connect();
    // The realm is learnt from an INVITE.
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &[DIGEST]));
    bench.take_request("ACK");
    let (question, _) = bench.questions.remove(0);
    let CredentialSource::Static(password) = config().credentials else { panic!() };
    bench.input(Input::Credentials(question, Some(password.clone())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    bench.take_request("ACK");
    let request = info(&mut bench, call);
    bench.reply(&challenge(&request, 407, &[DIGEST]));
    let (question, _) = bench.questions.remove(0);
    bench.hangup(call);
    bench.take_request("BYE");
    assert_eq!(info_results(&bench).len(), 1);
    bench.input(Input::Credentials(question, Some(password)));
    bench.nothing_sent();
}

// ---- several realms

fn of(user: &str, realm: Option<&str>) -> Credentials {
    Credentials {
        username: Some(user.into()),
        secret: Secret::Password(format!("{user}-secret")),
        realm: realm.map(str::to_owned),
    }
}

const GATEWAY: &str = "Digest realm=\"gateway\", nonce=\"g\", qop=\"auth\"";
const STRANGER: &str = "Digest realm=\"stranger\", nonce=\"s\", qop=\"auth\"";

fn dial_challenged(bench: &mut Bench, value: &str) -> CallId {
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &[value]));
    bench.take_request("ACK");
    call
}

/// A registrar, and a gateway behind it that has users of its own.
#[test]
fn credentials_may_be_a_list_by_realm() {
    for registrar in [None, Some("example.com")] {
        let list = vec![of("gate", Some("gateway")), of("alice", registrar)];
        let mut bench = registered(CredentialSource::ByRealm(list), DIGEST);
        dial_challenged(&mut bench, GATEWAY);
        let invite = bench.take_request("INVITE");
        let answer = invite.headers.get("Proxy-Authorization").unwrap();
        assert!(answer.contains("username=\"gate\"") && answer.contains("realm=\"gateway\""), "{answer}");
        assert_eq!(invite.headers.get_all("Proxy-Authorization").count(), 1);
        // Nobody else is answered.
        let call = dial_challenged(&mut bench, STRANGER);
        assert_eq!(bench.dial_error(call), "auth_failed");
    }
}

#[test]
fn a_function_is_told_the_realm_and_answers_others_by_their_name_only() {
    let ask = |given: Credentials| {
        let mut bench = start(CredentialSource::Ask);
        let request = bench.take_request("REGISTER");
        bench.reply(&challenge(&request, 401, &[DIGEST]));
        let (id, realm) = bench.questions.remove(0);
        assert_eq!(realm, "example.com");
        bench.input(Input::Credentials(id, Some(of("alice", None))));
        let request = bench.take_request("REGISTER");
        bench.reply(&ok(&request));
        let call = dial_challenged(&mut bench, GATEWAY);
        let (id, realm) = bench.questions.remove(0);
        assert_eq!(realm, "gateway");
        bench.input(Input::Credentials(id, Some(given)));
        (bench, call)
    };
    let (mut bench, _) = ask(of("gate", Some("gateway")));
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.get("Proxy-Authorization").unwrap().contains("username=\"gate\""));
    // The other side of a call may have made the realm up.
    let (mut bench, call) = ask(of("alice", None));
    bench.nothing_sent();
    assert_eq!(bench.dial_error(call), "auth_failed");
    // Within a call nobody is asked on its behalf.
    let call = called(&mut bench);
    let info = info(&mut bench, call);
    bench.reply(&challenge(&info, 407, &[STRANGER]));
    assert!(bench.questions.is_empty());
}

#[test]
fn two_servers_on_one_way_that_ask_in_turn_are_both_answered() {
    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..config() });
    bench.connect();
    dial_challenged(&mut bench, GATEWAY);
    let (id, _) = bench.questions.remove(0);
    bench.input(Input::Credentials(id, Some(of("gate", Some("gateway")))));
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite, 407, &[STRANGER]));
    bench.take_request("ACK");
    let (id, realm) = bench.questions.remove(0);
    assert_eq!(realm, "stranger");
    bench.input(Input::Credentials(id, Some(of("other", Some("stranger")))));
    let invite = bench.take_request("INVITE");
    let answers: Vec<_> = invite.headers.get_all("Proxy-Authorization").collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    // The same realm a second time is a refusal.
    bench.reply(&challenge(&invite, 407, &["Digest realm=\"gateway\", nonce=\"h\", qop=\"auth\""]));
    assert!(bench.questions.is_empty());
}
