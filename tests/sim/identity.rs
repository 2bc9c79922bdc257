//! Who calls, and who says so (RFC 3323, RFC 3325, RFC 5806, RFC 7044).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, config, send, with_sdp};
use wasm_softphone::phone::{CallInfo, Identity, MessageRequest, PhoneConfig, PublishRequest};

fn online(trust_identity: bool) -> Bench {
    let mut bench = Bench::new(PhoneConfig { trust_identity, ..config() });
    bench.connect();
    bench
}

/// What is known of a caller whose INVITE has these headers.
fn caller(trust_identity: bool, headers: &[(&str, &str)]) -> CallInfo {
    let mut bench = online(trust_identity);
    let mut invite = Caller::new("identity").request("INVITE", Some(OFFER));
    for (name, value) in headers {
        invite.headers.push(name, *value);
    }
    send(&mut bench, &invite);
    bench.phone.call(bench.incoming()).unwrap()
}

fn identity(uri: &str, name: Option<&str>) -> Option<Identity> {
    Some(Identity { uri: uri.into(), display_name: name.map(str::to_owned) })
}

#[test]
fn an_asserted_identity_is_told_where_it_is_trusted_and_never_replaces_the_from() {
    let pai = [("P-Asserted-Identity", "\"Robert\" <sip:robert@example.com>")];
    let info = caller(true, &pai);
    assert_eq!(info.asserted_identity, identity("sip:robert@example.com", Some("Robert")));
    assert_eq!(
        (info.remote_uri.as_str(), info.remote_display_name.as_deref()),
        ("sip:bob@example.com", Some("Bob"))
    );
    assert_eq!(caller(false, &pai).asserted_identity, None);
}

#[test]
fn of_two_asserted_identities_the_sip_uri_is_told() {
    let both = [("P-Asserted-Identity", "<tel:1234>, \"Robert\" <sip:robert@example.com>")];
    assert_eq!(caller(true, &both).asserted_identity, identity("sip:robert@example.com", Some("Robert")));
    let number = [("P-Asserted-Identity", "<tel:1234>")];
    assert_eq!(caller(true, &number).asserted_identity, identity("tel:1234", None));
    for bad in ["<https://example.com>", "<javascript:x>", "<", ""] {
        assert_eq!(caller(true, &[("P-Asserted-Identity", bad)]).asserted_identity, None, "{bad}");
    }
}

#[test]
fn who_diverted_the_call_is_told_where_it_is_trusted() {
    let headers = [("Diversion", "\"Desk\" <sip:desk@example.com>;reason=no-answer, <sip:main@example.com>")];
    assert_eq!(caller(true, &headers).diversion, identity("sip:desk@example.com", Some("Desk")));
    assert_eq!(caller(false, &headers).diversion, None);
}

#[test]
fn the_history_tells_of_a_diversion_only_where_there_was_one() {
    let diverted = "<sip:desk@example.com?Reason=SIP%3Bcause%3D486>;index=1, <sip:alice@example.com>;index=1.1;mp=1, \
                    <sip:alice@192.0.2.9>;index=1.1.1;rc=1.1";
    let info = caller(true, &[("History-Info", diverted)]);
    assert_eq!(info.diversion, identity("sip:desk@example.com", None));
    for none in [
        "<sip:alice@example.com>;index=1, <sip:alice@192.0.2.9>;index=1.1;rc=1",
        "<sip:desk@example.com?Privacy=history>;index=1, <sip:alice@example.com>;index=1.1;mp=1",
        "<sip:alice@example.com>;index=1.1;mp=7",
        "nonsense",
    ] {
        assert_eq!(caller(true, &[("History-Info", none)]).diversion, None, "{none}");
    }
}

#[test]
fn who_has_answered_is_told_where_it_is_trusted() {
    for trusted in [true, false] {
        let mut bench = online(trusted);
        let call = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        let mut ok = with_sdp(answer(&invite, 200, "bob"), ANSWER);
        ok.headers.push("P-Asserted-Identity", "\"Carol\" <sip:carol@example.com>");
        bench.reply(&ok);
        let info = bench.phone.call(call).unwrap();
        let expected = if trusted { identity("sip:carol@example.com", Some("Carol")) } else { None };
        assert_eq!(info.asserted_identity, expected);
        assert_eq!(info.remote_uri, "sip:bob@example.com");
    }
}

#[test]
fn an_anonymous_caller_is_known_to_the_server_only() {
    let mut bench = Bench::new(PhoneConfig { anonymous: true, register: true, ..config() });
    bench.connect();
    // The registrar must know whom it registers.
    let register = bench.take_request("REGISTER");
    assert_eq!(
        register.headers.get("From").map(|from| from.starts_with("\"Alice\" <sip:alice@")),
        Some(true)
    );
    assert_eq!(register.headers.get("Privacy"), None);
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let from = invite.headers.get("From").unwrap();
    assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), "{from}");
    assert_eq!(invite.headers.get("Privacy"), Some("id"));
    assert_eq!(invite.headers.get("P-Preferred-Identity"), Some("\"Alice\" <sip:alice@example.com>"));
    // Nothing else names the caller: the server takes that one header out.
    let text = invite.to_text().unwrap();
    assert_eq!(text.matches("alice").count() + text.matches("Alice").count(), 2, "{text}");
    // Nor does what follows within the call.
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    let ack = bench.take_request("ACK").to_text().unwrap();
    assert!(!ack.contains("alice"), "{ack}");
}

#[test]
fn an_anonymous_message_is_so_too_and_a_publication_is_not() {
    let mut bench = Bench::new(PhoneConfig { anonymous: true, ..config() });
    bench.connect();
    let (target, content_type) = ("sip:bob@example.com".to_owned(), "text/plain".to_owned());
    let body = "x".to_owned();
    let message = MessageRequest { target, content_type, body, ..MessageRequest::default() };
    bench.phone.send_message(bench.now, message).unwrap();
    bench.drain();
    let message = bench.take_request("MESSAGE");
    assert!(message.headers.get("From").unwrap().contains("anonymous.invalid"));
    assert_eq!(message.headers.get("Privacy"), Some("id"));
    let publication = PublishRequest {
        event: "presence".into(),
        content_type: "application/pidf+xml".into(),
        body: "<presence/>".into(),
        expires: crate::bench::secs(600),
    };
    bench.phone.publish(bench.now, None, publication).unwrap();
    bench.drain();
    let publish = bench.take_request("PUBLISH");
    assert!(publish.headers.get("From").unwrap().contains("sip:alice@example.com"));
    assert_eq!(publish.headers.get("Privacy"), None);
}

#[test]
fn who_does_not_hide_sends_no_privacy_headers() {
    let mut bench = Bench::online();
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.get("Privacy"), None);
    assert_eq!(invite.headers.get("P-Preferred-Identity"), None);
    assert!(invite.headers.get("From").unwrap().starts_with("\"Alice\" <sip:alice@example.com>"));
}
