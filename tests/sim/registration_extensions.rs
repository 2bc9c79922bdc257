//! What comes with a registration: outbound (RFC 5626), GRUU (RFC 5627), Service-Route (RFC 3608), and servers that are
//! busy (RFC 3261, section 21.5.4).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, answer, config, secs, send, with_sdp};
use wasm_softphone::phone::{PhoneConfig, RegistrationState};
use wasm_softphone::sip::message::{Request, Response};

const GRUU: &str = "sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-41d0-a765-00a0c91e6bf6";

fn registering() -> PhoneConfig {
    PhoneConfig { register: true, ..config() }
}

/// A 2xx that lists our contact with these parameters.
fn ok(request: &Request, params: &str) -> Response {
    let mut response = request.response(200, None);
    response.set_to_tag("registrar");
    let contact = request.headers.get("Contact").unwrap();
    response.headers.push("Contact", format!("{contact};expires=40{params}"));
    response
}

/// Registered with a 2xx that has these parameters and headers.
fn registered(config: PhoneConfig, params: &str, headers: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(config);
    bench.connect();
    let request = bench.take_request("REGISTER");
    let mut response = ok(&request, params);
    for (name, value) in headers {
        response.headers.push(name, *value);
    }
    bench.reply(&response);
    assert_eq!(bench.registration(), RegistrationState::Registered);
    bench
}

fn gruu_params() -> String {
    format!(";pub-gruu=\"{GRUU}\";temp-gruu=\"sip:tgruu.7hs@example.com;gr\"")
}

fn contact_of_a_dial(bench: &mut Bench) -> String {
    bench.dial("sip:bob@example.com");
    bench.take_request("INVITE").headers.get("Contact").unwrap().to_owned()
}

#[test]
fn a_register_names_the_instance_and_its_one_flow() {
    let mut bench = Bench::new(registering());
    bench.connect();
    let first = bench.take_request("REGISTER");
    let supported = first.headers.values("Supported");
    for tag in ["path", "outbound", "gruu"] {
        assert!(supported.contains(&tag), "{supported:?}");
    }
    let contact = first.headers.get("Contact").unwrap().to_owned();
    let (_, rest) = contact.split_once(";+sip.instance=\"<urn:uuid:").unwrap();
    let (uuid, rest) = rest.split_once(">\"").unwrap();
    assert_eq!((uuid.len(), rest), (36, ";reg-id=1"));
    // The same phone after a loss of the connection: the registrar replaces the flow.
    bench.reply(&ok(&first, ""));
    bench.cut();
    let second = bench.take_request("REGISTER");
    assert_eq!(second.headers.get("Contact"), Some(contact.as_str()));
    // Another phone is another instance.
    let mut other = Bench::seeded(registering(), 2);
    other.connect();
    assert!(!other.take_request("REGISTER").headers.get("Contact").unwrap().contains(uuid));
}

#[test]
fn the_instance_of_the_configuration_is_used_unless_it_would_break_the_header() {
    let own = "urn:uuid:00000000-0000-1000-8000-000a95a0e128";
    for (given, taken) in [(own, true), ("urn:x\">;q=1", false), ("mine", false), ("urn:a b", false)] {
        let config = PhoneConfig { instance_id: Some(given.into()), ..registering() };
        let mut bench = Bench::new(config);
        bench.connect();
        let request = bench.take_request("REGISTER");
        let contact = request.headers.get("Contact").unwrap();
        assert_eq!(contact.contains(given), taken, "{contact}");
        assert!(contact.contains(";+sip.instance=\"<urn:") && contact.ends_with(">\";reg-id=1"), "{contact}");
    }
}

/// RFC 5626, section 11.6.
#[test]
fn a_first_hop_without_outbound_gets_a_plain_registration_once() {
    let mut bench = Bench::new(registering());
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&request.response(439, None));
    let request = bench.take_request("REGISTER");
    assert!(!request.headers.get("Contact").unwrap().contains("reg-id"));
    assert!(!request.headers.contains_token("Supported", "outbound"));
    bench.reply(&ok(&request, ""));
    assert_eq!(bench.connect_results(), [Ok(())]);
    // Not asked again at each refresh.
    bench.pass(secs(29));
    let refresh = bench.take_request("REGISTER");
    assert!(!refresh.headers.get("Contact").unwrap().contains("reg-id"));

    let mut bench = Bench::new(registering());
    bench.connect();
    for _ in 0..2 {
        let request = bench.take_request("REGISTER");
        bench.reply(&request.response(439, None));
    }
    assert_eq!(bench.connect_results(), [Err("registration_failed")]);
    bench.nothing_sent();
}

#[test]
fn the_gruu_is_our_contact_while_we_are_registered() {
    let mut bench = registered(registering(), &gruu_params(), &[]);
    assert_eq!(contact_of_a_dial(&mut bench), format!("<{GRUU}>"));
    // As the called side too: what makes the dialog is the 180.
    let invite = Caller::new("in").request("INVITE", Some(crate::bench::OFFER));
    send(&mut bench, &invite);
    assert_eq!(bench.take_response(180).headers.get("Contact"), Some(format!("<{GRUU}>").as_str()));
    // The registrar is still told where this phone is.
    bench.pass(secs(29));
    bench.sent.retain(|message| crate::bench::line(message) == "REGISTER");
    let refresh = bench.take_request("REGISTER");
    assert!(refresh.headers.get("Contact").unwrap().contains(".invalid;transport=ws>"));
    // The next 2xx has none any more.
    bench.reply(&ok(&refresh, ""));
    assert!(contact_of_a_dial(&mut bench).contains(".invalid"));
}

#[test]
fn without_a_registration_there_is_no_gruu() {
    let mut bench =
        registered(registering(), &gruu_params(), &[("Service-Route", "<sip:edge.example.com;lr>")]);
    bench.cut();
    // Back, and not registered yet.
    let register = bench.take_request("REGISTER");
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.get("Contact").unwrap().contains(".invalid"));
    assert_eq!(invite.headers.get("Route"), None);
    bench.reply(&ok(&register, &gruu_params()));
    assert_eq!(contact_of_a_dial(&mut bench), format!("<{GRUU}>"));
}

#[test]
fn a_gruu_that_is_no_address_is_not_used() {
    for bad in [";pub-gruu=\"https://example.com\"", ";pub-gruu", ";pub-gruu=\"sip:a@b?Replaces=x\""] {
        let mut bench = registered(registering(), bad, &[]);
        assert!(contact_of_a_dial(&mut bench).contains(".invalid;transport=ws>"), "{bad}");
    }
}

#[test]
fn who_hides_does_so_in_the_contact_too() {
    let config = PhoneConfig { anonymous: true, ..registering() };
    let mut bench = registered(config, &gruu_params(), &[]);
    assert_eq!(contact_of_a_dial(&mut bench), "<sip:tgruu.7hs@example.com;gr>");
}

/// RFC 5626, section 4.3.
#[test]
fn ob_asks_for_requests_over_this_flow_where_the_registrar_keeps_flows() {
    let mut bench = registered(registering(), "", &[("Require", "outbound")]);
    assert!(contact_of_a_dial(&mut bench).ends_with(";transport=ws;ob>"));
    let mut bench = registered(registering(), &gruu_params(), &[("Supported", "path, outbound")]);
    assert_eq!(contact_of_a_dial(&mut bench), format!("<{GRUU};ob>"));
    let mut bench = registered(registering(), "", &[("Supported", "path")]);
    assert!(!contact_of_a_dial(&mut bench).contains(";ob"));
}

#[test]
fn the_service_route_is_taken_by_requests_outside_dialogs_only() {
    let routes = [("Service-Route", "<sip:edge.example.com;lr>, <sip:home.example.com;lr>")];
    let mut bench = registered(registering(), "", &routes);
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let route = ["<sip:edge.example.com;lr>", "<sip:home.example.com;lr>"];
    assert_eq!(invite.headers.values("Route"), route);
    // Challenged: the same way again, once.
    let mut challenge = invite.response(407, None);
    challenge.set_to_tag("edge");
    challenge.headers.push("Proxy-Authenticate", "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"");
    bench.reply(&challenge);
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.values("Route"), route);
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.values("Route"), route);
    // Within the dialog the Record-Route counts.
    let mut ok200 = with_sdp(answer(&invite, 200, "bob"), ANSWER);
    ok200.headers.push("Record-Route", "<sip:other.example.com;lr>");
    bench.reply(&ok200);
    assert_eq!(bench.take_request("ACK").headers.values("Route"), ["<sip:other.example.com;lr>"]);
    // A CANCEL goes the way of its INVITE (RFC 3261, section 9.1).
    let call = bench.dial("sip:carol@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&answer(&invite, 180, "carol"));
    bench.hangup(call);
    assert_eq!(bench.take_request("CANCEL").headers.values("Route"), route);
    // REGISTER goes to the registrar by itself; un-registered, nothing is left of the route.
    bench.pass(secs(29));
    bench.sent.retain(|message| crate::bench::line(message) == "REGISTER");
    let refresh = bench.take_request("REGISTER");
    assert_eq!(refresh.headers.get("Route"), None);
    bench.reply(&ok(&refresh, ""));
    bench.dial("sip:dave@example.com");
    assert_eq!(bench.take_request("INVITE").headers.get("Route"), None);
}

#[test]
fn a_service_route_is_used_whole_or_not_at_all() {
    let many = ["<sip:edge.example.com;lr>"; 9].join(", ");
    for bad in ["<sip:edge.example.com;lr>, nonsense <", "<tel:1>", many.as_str()] {
        let mut bench = registered(registering(), "", &[("Service-Route", bad)]);
        bench.dial("sip:bob@example.com");
        assert_eq!(bench.take_request("INVITE").headers.get("Route"), None, "{bad}");
    }
}

fn busy(request: &Request, retry_after: &str) -> Response {
    let mut response = request.response(503, None);
    if !retry_after.is_empty() {
        response.headers.push("Retry-After", retry_after);
    }
    response
}

fn two_servers() -> PhoneConfig {
    let mut config = registering();
    config.servers.push("wss://two.example.com/sip".into());
    config
}

#[test]
fn a_busy_server_is_left_for_the_other_and_not_tried_before_its_time() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, ""));
    bench.pass(secs(29));
    let request = bench.take_request("REGISTER");
    bench.reply(&busy(&request, "120 (maintenance);duration=3600"));
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.opened[1].2, "wss://two.example.com/sip");
    assert_eq!(bench.closed.len(), 1);
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, ""));
    assert_eq!(bench.registration(), RegistrationState::Registered);
    // The second server fails: the first is waited for, its time is not over.
    let start = bench.now;
    bench.reachable = false;
    bench.cut();
    while bench.opened.iter().filter(|(_, _, url)| url.contains("one")).count() < 2 {
        bench.pass(secs(1));
        assert!(bench.now - start < secs(200));
    }
    assert!(bench.now - start >= secs(118), "{:?}", bench.now - start);
}

#[test]
fn with_all_servers_busy_connect_fails_and_a_registered_phone_waits() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    for _ in 0..2 {
        let request = bench.take_request("REGISTER");
        bench.reply(&busy(&request, "60"));
    }
    assert_eq!(bench.opened.len(), 2);
    assert_eq!(bench.connect_results(), [Err("registration_failed")]);
    assert_eq!(bench.phone.poll_timeout(), None);
    // By hand it is tried all the same.
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, ""));
    assert_eq!(bench.registration(), RegistrationState::Registered);
    // Later both are busy again: neither is asked before its time.
    bench.pass(secs(29));
    for _ in 0..2 {
        let request = bench.take_request("REGISTER");
        bench.reply(&busy(&request, "60"));
    }
    let opened = bench.opened.len();
    bench.pass(secs(55));
    assert_eq!(bench.opened.len(), opened);
    bench.nothing_sent();
    bench.pass(secs(15));
    bench.take_request("REGISTER");
}

#[test]
fn a_call_keeps_the_phone_at_a_busy_server() {
    let mut bench = Bench::new(two_servers());
    bench.connect();
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, ""));
    bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    bench.take_request("ACK");
    bench.pass(secs(29));
    let request = bench.take_request("REGISTER");
    bench.reply(&busy(&request, "5"));
    assert_eq!((bench.opened.len(), bench.registration()), (1, RegistrationState::Failed));
    bench.pass(secs(8));
    let request = bench.take_request("REGISTER");
    bench.reply(&ok(&request, ""));
    assert_eq!((bench.opened.len(), bench.registration()), (1, RegistrationState::Registered));
}

#[test]
fn a_call_that_a_busy_server_refuses_is_not_repeated_and_says_when() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&busy(&invite, "30"));
    bench.take_request("ACK");
    let error = bench.dial_result(call).unwrap().clone().unwrap_err();
    assert_eq!((error.code.as_str(), error.sip_status), ("server_error", Some(503)));
    assert!(error.hint.as_deref().unwrap().contains("30 s"));
    bench.pass(secs(60));
    bench.nothing_sent();
    assert_eq!(bench.opened.len(), 1);
}
