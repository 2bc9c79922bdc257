//! A binding that was granted once is asked for again, whatever the registrar answers meanwhile
//! (src/phone/registration.rs, src/phone/authentication.rs).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{Bench, config, secs};
use crate::recovery::{register, registering};
use wasm_softphone::phone::{
    CredentialSource, Credentials, Event, Hint, Input, PhoneConfig, RegistrationState, Secret,
    SubscribeRequest, SubscriptionState,
};
use wasm_softphone::sip::message::{Message, Request, Response};

/// The longest wait for the next REGISTER.
const LONGEST: Duration = secs(1800);

fn registered(config: PhoneConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.connect();
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
    bench.events.clear();
    bench
}

fn refresh(bench: &mut Bench) -> Request {
    while bench.sent.is_empty() {
        bench.pass(secs(10));
    }
    bench.take_request("REGISTER")
}

fn challenge(request: &Request, nonce: &str) -> Response {
    let mut response = request.response(401, None);
    response.headers.push("WWW-Authenticate", format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\""));
    response
}

fn registrations(bench: &Bench) -> Vec<(RegistrationState, Option<&'static str>)> {
    let of = |event: &Event| match event {
        Event::Registration(state, error) => Some((*state, error.as_ref().map(|error| error.code.as_str()))),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

/// How long it takes until a REGISTER is sent.
fn wait(bench: &mut Bench) -> Duration {
    let since = bench.now;
    while bench.sent.is_empty() {
        bench.pass(secs(1));
        assert!(bench.now - since <= LONGEST + secs(1), "it is never asked again");
    }
    bench.now - since
}

fn password() -> Credentials {
    Credentials { username: None, secret: Secret::Password("alice-secret".into()), realm: None }
}

#[test]
fn a_refresh_that_is_refused_is_asked_again() {
    for status in [400, 403, 404, 405, 482, 487, 493, 420, 423, 500, 600, 603] {
        let mut bench = registered(registering());
        let request = refresh(&mut bench);
        bench.reply(&request.response(status, None));
        let code = Some("registration_failed");
        assert_eq!(registrations(&bench), [(RegistrationState::Failed, code)], "{status}");
        assert!(wait(&mut bench) <= secs(61), "{status}");
        register(&mut bench);
        assert_eq!(bench.registration(), RegistrationState::Registered, "{status}");
        assert_eq!(bench.opened.len(), 1, "{status}");
    }
}

#[test]
fn the_waits_grow_up_to_half_an_hour_and_each_refusal_is_told() {
    let mut bench = registered(registering());
    let mut waits = Vec::new();
    for _ in 0..20 {
        let request = refresh(&mut bench);
        bench.reply(&request.response(403, None));
        waits.push(wait(&mut bench));
    }
    // No more than four within the ten minutes in which a server may count wrong passwords.
    assert!(waits[..5].iter().fold(Duration::ZERO, |sum, wait| sum + *wait) > secs(400), "{waits:?}");
    assert!(waits[19] >= secs(900) && waits.iter().all(|wait| *wait <= LONGEST + secs(1)), "{waits:?}");
    let failed =
        registrations(&bench).iter().filter(|(state, _)| *state == RegistrationState::Failed).count();
    assert_eq!(failed, 20);
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

/// Two registrars that do not share their nonces.
#[test]
fn a_second_challenge_with_another_nonce_is_not_the_end() {
    let mut bench = registered(registering());
    let request = refresh(&mut bench);
    bench.reply(&challenge(&request, "one"));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, "two"));
    assert_eq!(registrations(&bench), [(RegistrationState::Failed, Some("auth_failed"))]);
    assert!(wait(&mut bench) <= secs(31));
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

/// Asterisk challenges whom it does not know, too: its database was away.
#[test]
fn a_registrar_that_does_not_know_the_account_for_a_while_is_asked_again() {
    let mut bench = registered(registering());
    let request = refresh(&mut bench);
    let forgotten = bench.now;
    let mut nonce = 0;
    bench.reply(&challenge(&request, "n"));
    while bench.registration() != RegistrationState::Registered {
        bench.pass(secs(1));
        for request in core::mem::take(&mut bench.sent) {
            let Message::Request(request) = request else { continue };
            nonce += 1;
            if bench.now - forgotten >= secs(30) {
                bench.reply(&request.response(200, None));
            } else {
                bench.reply(&challenge(&request, &nonce.to_string()));
            }
        }
        assert!(bench.now - forgotten < secs(120));
    }
}

#[test]
fn a_hint_asks_at_once_but_no_more_often_than_the_registrar_wants() {
    for hint in [Hint::Online, Hint::Visible, Hint::Woken, Hint::NetworkChanged] {
        let mut bench = registered(registering());
        bench.pass(secs(20));
        let request = refresh(&mut bench);
        bench.reachable = false;
        bench.reply(&request.response(403, None));
        bench.pass(secs(6));
        bench.input(Input::Hint(hint));
        assert_eq!(bench.lines(), ["REGISTER"], "{hint:?}");

        let mut bench = registered(registering());
        let request = refresh(&mut bench);
        let mut busy = request.response(403, None);
        busy.headers.push("Retry-After", "300");
        bench.reply(&busy);
        for _ in 0..20 {
            bench.pass(secs(10));
            bench.input(Input::Hint(Hint::Visible));
        }
        bench.nothing_sent();
    }
    let mut bench = registered(registering());
    let mut asked = 0;
    let end = refresh(&mut bench).response(403, None);
    bench.reply(&end);
    for _ in 0..100 {
        bench.input(Input::Hint(Hint::Visible));
        while !bench.sent.is_empty() {
            asked += 1;
            let request = bench.take_request("REGISTER");
            bench.reply(&request.response(403, None));
        }
        bench.pass(Duration::from_millis(100));
    }
    assert!(asked <= 2, "{asked} in ten seconds");
}

#[test]
fn new_credentials_are_tried_at_once() {
    let mut bench = registered(registering());
    let request = refresh(&mut bench);
    bench.reply(&challenge(&request, "one"));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, "two"));
    bench.phone.configure(registering());
    bench.input(Input::Timer);
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

// ---- the function that gives credentials

fn asking() -> PhoneConfig {
    PhoneConfig { credentials: CredentialSource::Ask, ..registering() }
}

#[test]
fn a_function_that_fails_once_is_asked_again() {
    let mut bench = registered(asking());
    let request = refresh(&mut bench);
    bench.reply(&challenge(&request, "one"));
    let (id, _) = bench.questions.remove(0);
    bench.input(Input::Credentials(id, None));
    assert_eq!(registrations(&bench), [(RegistrationState::Failed, Some("auth_failed"))]);
    assert!(wait(&mut bench) <= secs(31));
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, "two"));
    let (id, _) = bench.questions.remove(0);
    bench.input(Input::Credentials(id, Some(password())));
    register(&mut bench);
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn a_function_that_never_answers_does_not_keep_a_phone_registered() {
    let mut bench = registered(asking());
    let expired = bench.now + secs(600);
    let end = bench.now + secs(3600);
    while bench.now < end {
        bench.pass(secs(10));
        for message in core::mem::take(&mut bench.sent) {
            let Message::Request(request) = message else { continue };
            bench.reply(&challenge(&request, "n"));
        }
        assert!(bench.now < expired || bench.registration() != RegistrationState::Registered);
    }
    assert!(bench.questions.len() > 3, "it is not asked again");
    let error = bench.events.iter().find_map(|event| match event {
        Event::Registration(RegistrationState::Failed, Some(error)) => Some(error.clone()),
        _ => None,
    });
    let error = error.expect("no failure is told");
    assert!(
        error.message.contains("`credentials`") && error.hint.as_ref().unwrap().contains("`credentials`")
    );
}

#[test]
fn connecting_and_dialling_end_when_the_function_never_answers() {
    let mut bench = Bench::new(asking());
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&challenge(&request, "one"));
    bench.pass(secs(60));
    assert_eq!(bench.connect_results(), [], "a person may be typing a password");
    bench.pass(secs(61));
    assert_eq!(bench.connect_results(), [Err("auth_failed")]);
    assert_eq!(bench.phone.poll_timeout(), None);

    let mut bench = Bench::new(PhoneConfig { credentials: CredentialSource::Ask, ..config() });
    bench.connect();
    let call = bench.dial("sip:bob@example.com");
    let request = bench.take_request("INVITE");
    bench.reply(&challenge(&request, "one"));
    bench.take_request("ACK");
    bench.pass(secs(121));
    assert_eq!(bench.dial_error(call), "auth_failed");
}

/// The registration runs out while the refresh has no answer yet, and says so.
#[test]
fn a_registration_that_has_run_out_is_not_called_registered() {
    let mut bench = Bench::new(registering());
    bench.connect();
    let request = bench.take_request("REGISTER");
    let mut response = request.response(200, None);
    response.headers.push("Expires", "40");
    bench.reply(&response);
    bench.events.clear();
    while bench.sent.is_empty() {
        bench.pass(secs(1));
    }
    let request = bench.take_request("REGISTER");
    bench.pass(secs(20));
    assert_eq!(registrations(&bench), [(RegistrationState::Registering, Some("registration_failed"))]);
    bench.reply(&request.response(200, None));
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

// ---- of its kind

#[test]
fn a_subscription_that_was_active_is_asked_for_again() {
    let subscription = |bench: &mut Bench| {
        let request = SubscribeRequest {
            target: "sip:bob@example.com".into(),
            event: "dialog".into(),
            expires: secs(600),
            ..SubscribeRequest::default()
        };
        bench.phone.subscribe(bench.now, request).unwrap();
        bench.drain();
        bench.take_request("SUBSCRIBE")
    };
    let last = |bench: &Bench| {
        let of = |event: &Event| match event {
            Event::Subscription(_, state, _) => Some(*state),
            _ => None,
        };
        bench.events.iter().rev().find_map(of)
    };
    for status in [403, 404, 489] {
        let mut bench = Bench::online();
        let first = subscription(&mut bench);
        bench.reply(&crate::bench::answer(&first, 200, "n"));
        let mut notifier = crate::bench::Caller::callee(&first, "n");
        let mut notify = notifier.request("NOTIFY", None);
        notify.headers.push("Event", "dialog");
        notify.headers.push("Subscription-State", "active;expires=600");
        crate::bench::send(&mut bench, &notify);
        bench.take_response(200);
        assert_eq!(last(&bench), Some(SubscriptionState::Active));
        while bench.sent.is_empty() {
            bench.pass(secs(10));
        }
        let again = bench.take_request("SUBSCRIBE");
        bench.reply(&again.response(status, None));
        assert_eq!(last(&bench), Some(SubscriptionState::Pending), "{status}");
        bench.pass(secs(40));
        bench.take_request("SUBSCRIBE");

        // One that was never granted is refused for good.
        let mut bench = Bench::online();
        let first = subscription(&mut bench);
        bench.reply(&first.response(status, None));
        assert_eq!(last(&bench), Some(SubscriptionState::Terminated), "{status}");
    }
}

// ---- which binding is ours

#[test]
fn our_binding_is_known_among_several_that_the_registrar_has_rewritten() {
    let within = |contacts: &dyn Fn(&str, &str) -> String| {
        let mut bench = Bench::new(registering());
        bench.connect();
        let request = bench.take_request("REGISTER");
        let contact = request.headers.get("Contact").unwrap();
        let user = contact.split(['@', ':']).nth(1).unwrap().to_owned();
        let instance = contact.split("+sip.instance=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        let mut response = request.response(200, None);
        response.headers.push("Contact", contacts(&user, &instance));
        bench.reply(&response);
        bench.pass(secs(45));
        !bench.sent.is_empty()
    };
    let desk = "<sip:desk@192.0.2.77>;expires=3600";
    assert!(within(&|user, _| format!("{desk}, <sip:{user}@198.51.100.7:40123;transport=ws>;expires=60")));
    assert!(within(&|_, instance| format!(
        "{desk}, <sip:alice@198.51.100.7:40123;transport=ws>;+sip.instance={instance};expires=60"
    )));
    // A page that was there before has left the same instance behind.
    assert!(within(&|user, instance| format!(
        "<sip:old@198.51.100.7:1;transport=ws>;+sip.instance={instance};expires=3600, \
         <sip:{user}@198.51.100.7:40123;transport=ws>;+sip.instance={instance};expires=60"
    )));
    assert!(!within(&|user, _| format!(
        "<sip:desk@192.0.2.77>;expires=60, <sip:{user}@192.0.2.1>;expires=3600"
    )));
}
