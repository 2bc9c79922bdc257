//! 3xx by policy, 503 and the next server (RFC 3261, sections 8.1.3.4, 21.3 and 21.5.4), and what the other side says of
//! why a call ends (RFC 3326).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, config, secs, send, with_sdp};
use crate::incoming::answered;
use wasm_softphone::phone::{
    CallId, CallState, ConnectionState, CredentialSource, DialRequest, EndCause, Event, Input, PhoneConfig,
    RedirectPolicy,
};
use wasm_softphone::sip::message::{Request, Response};

fn dialled(redirects: RedirectPolicy) -> (Bench, CallId, Request) {
    let mut bench = Bench::new(PhoneConfig { redirects, ..config() });
    bench.connect();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    (bench, id, invite)
}

fn moved(invite: &Request, status: u16, contacts: &[&str]) -> Response {
    let mut response = answer(invite, status, "proxy");
    response.headers.remove("Contact");
    for contact in contacts {
        response.headers.push("Contact", *contact);
    }
    response
}

/// The INVITE that follows a response to the last one.
fn next(bench: &mut Bench, response: &Response) -> Request {
    bench.reply(response);
    bench.take_request("ACK");
    bench.take_request("INVITE")
}

fn asked(bench: &Bench) -> Vec<Vec<String>> {
    let of = |event: &Event| match event {
        Event::Redirected { targets, .. } => Some(targets.clone()),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

#[test]
fn nobody_is_sent_anywhere_unless_it_is_wanted() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Off);
    bench.reply(&moved(&invite, 302, &["<sip:carol@example.com>"]));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_error(id), "redirected");
}

#[test]
fn the_best_address_is_called_in_the_same_call() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(3));
    let response = moved(
        &invite,
        302,
        &[
            "<sip:worse@example.com>;q=0.2, <sip:best@example.com;method=REFER?Route=%3Csip%3Aevil%3E&Subject=x>;q=0.9",
            "<tel:+46701234567>;q=1, <mailto:bob@example.com>;q=1",
        ],
    );
    let second = next(&mut bench, &response);
    assert_eq!(second.uri, "sip:best@example.com");
    assert_eq!((second.headers.get("Route"), second.headers.get("Subject")), (None, None));
    for name in ["To", "From", "Call-ID"] {
        assert_eq!(second.headers.get(name), invite.headers.get(name), "{name}");
    }
    assert!(second.headers.seq() > invite.headers.seq());
    assert_eq!(second.body, invite.body);
    bench.reply(&with_sdp(answer(&second, 200, "best"), ANSWER));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    assert_eq!(bench.dial_result(id), Some(&Ok(())));
    bench.hangup(id);
    assert_eq!(bench.take_request("BYE").headers.get("Call-ID"), invite.headers.get("Call-ID"));
}

#[test]
fn the_next_address_is_tried_until_one_declines_everywhere() {
    let targets = &["<sip:one@example.com>, <sip:two@example.com>, <sip:three@example.com>"];
    let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(5));
    let one = next(&mut bench, &moved(&invite, 300, targets));
    let two = next(&mut bench, &answer(&one, 404, "a"));
    assert_eq!((one.uri.as_str(), two.uri.as_str()), ("sip:one@example.com", "sip:two@example.com"));
    bench.reply(&answer(&two, 603, "b"));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_error(id), "declined");
}

#[test]
fn loops_and_long_ways_end() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(9));
    let second = next(&mut bench, &moved(&invite, 302, &["<sip:carol@example.com>"]));
    bench.reply(&moved(&second, 302, &["<sip:bob@example.com>, <sip:carol@example.com>"]));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_error(id), "redirected");

    let (mut bench, id, mut invite) = dialled(RedirectPolicy::Follow(2));
    for hop in 0..2 {
        let target = format!("<sip:{hop}@example.com>");
        invite = next(&mut bench, &moved(&invite, 301, &[&target]));
    }
    bench.reply(&moved(&invite, 302, &["<sip:far@example.com>"]));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.dial_error(id), "redirected");
}

#[test]
fn a_proxy_of_theirs_an_empty_response_and_less_security_are_not_followed() {
    for (status, contacts) in [
        (305, &["<sip:proxy.example.net>"][..]),
        (302, &[]),
        (302, &["nonsense <"]),
        (380, &["<sip:x@example.com>"]),
    ] {
        let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(3));
        bench.reply(&moved(&invite, status, contacts));
        assert_eq!(bench.lines(), ["ACK"], "{status}");
        assert_eq!(bench.dial_error(id), "redirected");
    }
    let mut bench = Bench::new(PhoneConfig { redirects: RedirectPolicy::Follow(3), ..config() });
    bench.connect();
    bench.dial("sips:bob@example.com");
    let invite = bench.take_request("INVITE");
    let second = next(&mut bench, &moved(&invite, 302, &["<sip:a@example.com>, <sips:b@example.com>"]));
    assert_eq!(second.uri, "sips:b@example.com");
}

#[test]
fn who_asks_is_told_of_the_addresses_and_may_choose_or_hang_up() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Ask);
    bench.reply(&moved(&invite, 302, &["<sip:one@example.com>;q=0.1, <sip:two@example.com>"]));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(asked(&bench), [["sip:two@example.com", "sip:one@example.com"]]);
    let now = bench.now;
    assert!(bench.phone.follow_redirect(now, id, 2).is_err());
    bench.phone.follow_redirect(now, id, 1).unwrap();
    bench.drain();
    let second = bench.take_request("INVITE");
    assert_eq!(second.uri, "sip:one@example.com");
    assert!(bench.phone.follow_redirect(now, id, 0).is_err(), "not twice");
    // That one does not answer: the call is over, and nobody is asked again.
    bench.reply(&answer(&second, 486, "x"));
    assert_eq!(bench.dial_error(id), "busy");

    let (mut bench, id, invite) = dialled(RedirectPolicy::Ask);
    bench.reply(&moved(&invite, 302, &["<sip:one@example.com>"]));
    bench.lines();
    bench.hangup(id);
    bench.nothing_sent();
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Cancelled);
    let now = bench.now;
    assert!(bench.phone.follow_redirect(now, id, 0).is_err());

    // Nobody decides, or somebody decides against it.
    for declines in [false, true] {
        let (mut bench, id, invite) = dialled(RedirectPolicy::Ask);
        bench.reply(&moved(&invite, 302, &["<sip:one@example.com>"]));
        if declines {
            bench.phone.decline_redirect(bench.now, id);
            bench.drain();
            assert_eq!(bench.end_of(id).unwrap().sip_status, Some(302));
        } else {
            bench.pass(secs(179));
            assert_eq!(bench.end_of(id), None);
            bench.pass(secs(1));
        }
        assert_eq!(bench.dial_error(id), "redirected");
        assert_eq!(bench.lines(), ["ACK"]);
        assert!(bench.phone.follow_redirect(bench.now, id, 0).is_err());
    }
    // There is nothing to decline.
    let (mut bench, id, _) = dialled(RedirectPolicy::Ask);
    bench.phone.decline_redirect(bench.now, id);
    bench.drain();
    assert_eq!(bench.end_of(id), None);
}

#[test]
fn what_the_application_and_the_user_have_said_goes_along() {
    let mut bench =
        Bench::new(PhoneConfig { redirects: RedirectPolicy::Follow(1), anonymous: true, ..config() });
    bench.connect();
    let request = DialRequest {
        target: "sip:bob@example.com".into(),
        extra_headers: vec![("X-Ticket".into(), "4711".into())],
        ..DialRequest::default()
    };
    let id = bench.phone.dial(bench.now, request).unwrap();
    bench.drain();
    let invite = bench.take_request("INVITE");
    let second = next(&mut bench, &moved(&invite, 302, &["<sip:carol@example.com>"]));
    for name in ["X-Ticket", "Privacy", "P-Preferred-Identity", "Contact", "Supported"] {
        assert!(second.headers.get(name).is_some(), "{name}");
        assert_eq!(second.headers.get(name), invite.headers.get(name), "{name}");
    }
    // The new one is challenged like any other.
    let mut challenge = answer(&second, 407, "proxy");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\", algorithm=MD5");
    let third = next(&mut bench, &challenge);
    assert_eq!(third.uri, "sip:carol@example.com");
    let digest = third.headers.get("Proxy-Authorization").unwrap();
    assert!(digest.contains("uri=\"sip:carol@example.com\""), "{digest}");
    bench.reply(&with_sdp(answer(&third, 200, "c"), ANSWER));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn an_address_where_nobody_answers_at_all_is_followed_by_the_next() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(5));
    bench.reply(&answer(&invite, 180, "proxy"));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Ringing);
    let targets = &["<sip:one@example.com>, <sip:two@example.com>"];
    let one = next(&mut bench, &moved(&invite, 300, targets));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Connecting);
    // One knows somebody else; what is left of the first list comes after.
    let carol = next(&mut bench, &moved(&one, 302, &["<sip:carol@example.com>"]));
    assert_eq!(carol.uri, "sip:carol@example.com");
    bench.pass(secs(33));
    let two = bench.take_request("INVITE");
    assert_eq!(two.uri, "sip:two@example.com");
    assert_eq!(bench.end_of(id), None);
}

#[test]
fn given_up_before_the_redirection_comes() {
    for provisional in [false, true] {
        let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(3));
        if provisional {
            bench.reply(&answer(&invite, 180, "proxy"));
        }
        bench.hangup(id);
        bench.lines();
        bench.reply(&moved(&invite, 302, &["<sip:carol@example.com>"]));
        assert_eq!(bench.lines(), ["ACK"]);
        assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Cancelled);
        bench.pass(secs(80));
        bench.nothing_sent();
    }
}

#[test]
fn a_connection_that_is_lost_while_somebody_is_asked() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Ask);
    bench.reply(&moved(&invite, 302, &["<sip:carol@example.com>"]));
    bench.lines();
    bench.reachable = false;
    bench.cut();
    bench.phone.follow_redirect(bench.now, id, 0).unwrap();
    bench.drain();
    bench.nothing_sent();
    bench.open_late();
    let second = bench.take_request("INVITE");
    assert_eq!(second.uri, "sip:carol@example.com");
    bench.reply(&with_sdp(answer(&second, 200, "c"), ANSWER));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn hung_up_while_the_redirected_call_rings() {
    let (mut bench, id, invite) = dialled(RedirectPolicy::Follow(1));
    bench.reply(&answer(&invite, 180, "proxy"));
    let second = next(&mut bench, &moved(&invite, 302, &["<sip:carol@example.com>"]));
    // The 180 was of the first INVITE: it allows no CANCEL of this one (RFC 3261, section 9.1).
    bench.hangup(id);
    bench.nothing_sent();
    bench.reply(&answer(&second, 180, "carol"));
    let cancel = bench.take_request("CANCEL");
    assert_eq!((cancel.uri, cancel.headers.seq()), (second.uri.clone(), second.headers.seq()));
    bench.reply(&answer(&second, 487, "carol"));
    assert_eq!(bench.lines(), ["ACK"]);
    bench.pass(secs(40));
    bench.nothing_sent();
}

/// The credentials are the application's each time: what was said for the first address is not said to the next.
#[test]
fn the_answer_to_a_challenge_stays_with_the_address_it_was_for() {
    let mut bench = Bench::new(PhoneConfig {
        redirects: RedirectPolicy::Follow(2),
        credentials: CredentialSource::Ask,
        ..config()
    });
    bench.connect();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut challenge = answer(&invite, 407, "proxy");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"");
    bench.reply(&challenge);
    bench.take_request("ACK");
    let (question, _) = bench.questions.remove(0);
    let CredentialSource::Static(password) = config().credentials else { panic!() };
    bench.input(Input::Credentials(question, Some(password)));
    let answered = bench.take_request("INVITE");
    assert!(answered.headers.get("Proxy-Authorization").is_some());
    let second = next(&mut bench, &moved(&answered, 302, &["<sip:carol@example.net>"]));
    assert_eq!(second.uri, "sip:carol@example.net");
    assert_eq!(second.headers.get("Proxy-Authorization"), None);
    assert!(second.headers.seq() > answered.headers.seq());
}

// ---- the next server

fn two_servers() -> PhoneConfig {
    let mut config = config();
    config.servers.push("wss://two.example.com/sip".into());
    config
}

fn busy(invite: &Request) -> Response {
    let mut response = answer(invite, 503, "one");
    response.headers.push("Retry-After", "60");
    response
}

#[test]
fn a_server_that_is_overloaded_is_left_and_the_call_goes_on_at_the_next() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&busy(&invite));
    bench.take_request("ACK");
    assert_eq!(bench.opened.last().unwrap().2, "wss://two.example.com/sip");
    let second = bench.take_request("INVITE");
    assert_eq!(second.headers.get("Call-ID"), invite.headers.get("Call-ID"));
    assert!(second.headers.seq() > invite.headers.seq());
    bench.reply(&with_sdp(answer(&second, 200, "b"), ANSWER));
    bench.take_request("ACK");
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    assert_eq!(bench.phone.connection(), ConnectionState::Connected);

    // Where all say so, that is the outcome, whatever they say of when to come back.
    for after in [None, Some("0"), Some("60"), Some("4294967295")] {
        let mut bench = Bench::new(two_servers());
        bench.connect();
        let id = bench.dial("sip:bob@example.com");
        for _ in 0..2 {
            let invite = bench.take_request("INVITE");
            let mut response = answer(&invite, 503, "one");
            if let Some(after) = after {
                response.headers.push("Retry-After", after);
            }
            bench.reply(&response);
            bench.take_request("ACK");
        }
        bench.nothing_sent();
        assert_eq!(bench.dial_error(id), "server_error");
        let Some(Err(error)) = bench.dial_result(id) else { panic!("it succeeded") };
        assert_eq!(error.retry_after, after.map(|after| after.parse().unwrap()));
        assert_eq!(bench.phone.connection(), ConnectionState::Connected);
    }
}

#[test]
fn hung_up_on_the_way_to_the_next_server() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reachable = false;
    bench.reply(&busy(&invite));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.end_of(id), None);
    bench.hangup(id);
    assert_eq!(bench.end_of(id).unwrap().cause, EndCause::Cancelled);
    bench.reachable = true;
    bench.open_late();
    bench.pass(secs(60));
    bench.nothing_sent();
    assert!(bench.phone.calls().is_empty());
}

#[test]
fn the_next_server_is_asked_once_it_knows_the_phone() {
    let mut bench = Bench::new(PhoneConfig { register: true, ..two_servers() });
    bench.connect();
    let register = bench.take_request("REGISTER");
    bench.reply(&answer(&register, 200, "r"));
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&busy(&invite));
    bench.take_request("ACK");
    let register = bench.take_request("REGISTER");
    bench.nothing_sent();
    bench.reply(&answer(&register, 200, "r"));
    let second = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&second, 200, "b"), ANSWER));
    bench.take_request("ACK");
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
}

#[test]
fn another_call_or_a_single_server_keeps_the_phone_where_it_is() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    answered(&mut bench);
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&busy(&invite));
    assert_eq!((bench.dial_error(id), bench.opened.len()), ("server_error", 1));

    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&busy(&invite));
    assert_eq!((bench.dial_error(id), bench.opened.len()), ("server_error", 1));
}

// ---- why it ended

#[test]
fn the_other_sides_reason_is_told() {
    let mut bench = Bench::online();
    let (id, mut caller) = answered(&mut bench);
    let mut bye = caller.request("BYE", None);
    bye.headers
        .push("Reason", "SIP;cause=200;text=\"far\u{7} away\", Q.850;cause=16;text=\"Normal call clearing\"");
    send(&mut bench, &bye);
    let end = bench.end_of(id).unwrap();
    assert_eq!((end.q850, end.reason_text.as_deref()), (Some(16), Some("far away")));
    assert_eq!(end.cause, EndCause::Completed);

    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut refused = answer(&invite, 486, "b");
    refused.headers.push("Reason", format!("Q.850;cause=17;text=\"{}\"", "x".repeat(400)));
    bench.reply(&refused);
    let end = bench.end_of(id).unwrap();
    assert_eq!((end.q850, end.reason_text.as_ref().map(String::len)), (Some(17), Some(128)));

    // A CANCEL that crossed the 200 has ended nothing: what it says is not why the call ends later.
    let mut bench = Bench::online();
    let (id, caller) = answered(&mut bench);
    let mut cancel = caller.build("CANCEL", 1, None);
    cancel.headers.remove("To");
    cancel.headers.push("To", "<sip:alice@example.com>");
    cancel.headers.push("Reason", "Q.850;cause=16;text=\"changed my mind\"");
    send(&mut bench, &cancel);
    bench.hangup(id);
    let end = bench.end_of(id).unwrap();
    assert_eq!((end.q850, end.reason_text.as_deref()), (None, None));
}

#[test]
fn answered_elsewhere_is_told_from_a_missed_call() {
    for (reason, cause) in [
        ("SIP;cause=200;text=\"Call completed elsewhere\"", EndCause::AnsweredElsewhere),
        ("Q.850;cause=26", EndCause::AnsweredElsewhere),
        ("Q.850;cause=16", EndCause::Cancelled),
        ("SIP;cause=26", EndCause::Cancelled),
    ] {
        let mut bench = Bench::online();
        let mut caller = Caller::new("in");
        let invite = caller.request("INVITE", Some(OFFER));
        send(&mut bench, &invite);
        let id = bench.incoming();
        let mut cancel = caller.cancel();
        cancel.headers.push("Reason", reason);
        send(&mut bench, &cancel);
        assert_eq!(bench.end_of(id).unwrap().cause, cause, "{reason}");
    }
}

// ---- headers of a received INVITE

#[test]
fn an_application_sees_the_headers_that_applications_put_in() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("in");
    let mut invite = caller.request("INVITE", Some(OFFER));
    for (name, value) in [
        ("X-Ticket", "4711"),
        ("x-ticket", "4712"),
        ("Subject", "Lunch"),
        ("P-Asserted-Identity", "<sip:boss@example.com>"),
        ("Authorization", "Digest secret"),
        ("X-Long", &"y".repeat(3000)),
    ] {
        invite.headers.push(name, value);
    }
    for n in 0..100 {
        invite.headers.push(&format!("X-{n}"), "z".repeat(50));
    }
    send(&mut bench, &invite);
    let headers = bench.phone.received_headers(bench.incoming());
    let get = |name: &str| {
        let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!((get("X-Ticket"), get("Subject")), (Some("4711, 4712"), Some("Lunch")));
    for hidden in ["P-Asserted-Identity", "Authorization", "X-Long", "Via", "From", "Content-Type"] {
        assert_eq!(get(hidden), None, "{hidden}");
    }
    assert_eq!(headers.len(), 32);
    // Of our own calls there are none.
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    assert!(bench.phone.received_headers(id).is_empty());
}
