//! A dialog keeps its privacy, its numbers and its capabilities from the first message to the last.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, OFFER, answer, config, secs, send, with_sdp};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{
    CallId, CallState, EndCause, EndedBy, Event, LogLevel, MediaCommand, MediaError, MediaValue,
    MessageRequest, PhoneConfig, TransferTarget,
};
use wasm_softphone::sip::message::{Message, Request, Response};

const CHALLENGE: &str = "Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"";

fn online(change: impl Fn(&mut PhoneConfig)) -> Bench {
    let mut config = config();
    change(&mut config);
    let mut bench = Bench::new(config);
    bench.connect();
    bench.events.clear();
    bench
}

fn challenged(request: &Request) -> Response {
    let mut challenge = answer(request, 407, "p");
    challenge.headers.push("Proxy-Authenticate", CHALLENGE);
    challenge
}

/// Answers everything that this phone asks for within the call, and gives it all back.
fn obliging(bench: &mut Bench) -> Vec<Message> {
    let mut seen = Vec::new();
    while !bench.sent.is_empty() {
        let message = bench.sent.remove(0);
        if let Message::Request(request) = &message {
            match request.method.as_str() {
                "ACK" => {}
                "INVITE" => {
                    let mut ok = with_sdp(answer(request, 200, ""), ANSWER);
                    if let Some(session) = request.headers.get("Session-Expires") {
                        ok.headers.push("Session-Expires", session);
                    }
                    bench.reply(&ok);
                }
                "REFER" => bench.reply(&answer(request, 202, "")),
                _ => bench.reply(&answer(request, 200, "")),
            }
        }
        seen.push(message);
    }
    seen
}

/// A call that was challenged, rang reliably, was answered with a session timer, held, transferred, asked for a transfer,
/// asked about, and hung up.
#[test]
fn nothing_in_an_anonymous_call_names_the_caller() {
    let mut bench = online(|config| config.anonymous = true);
    let call = bench.dial("sip:bob@example.com");
    let first = bench.take_request("INVITE");
    bench.reply(&challenged(&first));
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    let mut seen = Vec::new();
    let mut callee = Caller::callee(&invite, "bob");
    let mut rings = answer(&invite, 180, "bob");
    rings.headers.push("Require", "100rel");
    rings.headers.push("RSeq", "1");
    bench.reply(&rings);
    seen.extend(obliging(&mut bench));
    let mut ok = with_sdp(answer(&invite, 200, "bob"), ANSWER);
    ok.headers.push("Session-Expires", "120;refresher=uac");
    ok.headers.push("Allow", "INVITE, ACK, UPDATE, BYE");
    bench.reply(&ok);
    let ack = bench.take_request("ACK");
    assert_eq!(ack.headers.get("Privacy"), Some("id"));
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    seen.extend(obliging(&mut bench));
    bench.phone.send_info(bench.now, call, "application/dtmf", "1").unwrap();
    bench.drain();
    seen.extend(obliging(&mut bench));
    bench.pass(secs(61));
    seen.extend(obliging(&mut bench));
    let target = TransferTarget::Uri("sip:carol@example.com".into());
    bench.phone.transfer(bench.now, call, target).unwrap();
    bench.drain();
    seen.extend(obliging(&mut bench));
    let mut notify = callee.request("NOTIFY", None);
    notify.headers.push("Event", "refer");
    notify.headers.push("Subscription-State", "terminated;reason=noresource");
    notify.headers.push("Content-Type", "message/sipfrag");
    notify.body = b"SIP/2.0 486 Busy Here".to_vec();
    send(&mut bench, &notify);
    for method in ["OPTIONS", "UPDATE", "INFO", "REFER", "MESSAGE", "INVITE"] {
        let sdp = (method == "INVITE").then_some(OFFER);
        let mut request = callee.request(method, sdp);
        if method == "REFER" {
            request.headers.push("Refer-To", "<sip:dave@example.com>");
        }
        send(&mut bench, &request);
    }
    let ack = callee.ack(callee.seq, None);
    send(&mut bench, &ack);
    seen.extend(obliging(&mut bench));
    bench.phone.reject_transfer(bench.now, call);
    bench.drain();
    seen.extend(obliging(&mut bench));
    bench.hangup(call);
    let bye = bench.take_request("BYE");
    assert_eq!(bye.headers.get("Proxy-Authorization"), None);
    seen.push(Message::Request(bye));
    let lines: Vec<String> = seen.iter().map(crate::bench::line).collect();
    for line in [
        "PRACK",
        "INVITE",
        "INFO",
        "UPDATE",
        "REFER",
        "NOTIFY",
        "BYE",
        "200 OPTIONS",
        "200 UPDATE",
        "202 REFER",
        "200 INVITE",
        "200 NOTIFY",
    ] {
        assert!(lines.iter().any(|sent| sent == line), "{line} is not among {lines:?}");
    }
    for message in &seen {
        // What the test itself has written: the Request-URI and the To of the other side's requests.
        let mut text = format!("{message:?}").to_lowercase();
        if let Message::Response(response) = message {
            let to = response.headers.get("To").unwrap().to_lowercase();
            text = text.replace(&format!("{to:?}"), "");
        }
        assert!(!text.contains("alice"), "{message:?}");
        let headers = message.headers();
        let of_call = !matches!(message, Message::Response(response) if [100, 200].contains(&response.status)
            && headers.get("Contact").is_none());
        assert!(!of_call || headers.get("Privacy") == Some("id"), "{message:?}");
    }
}

#[test]
fn who_hides_gives_a_caller_no_name_either() {
    let mut bench = online(|config| config.anonymous = true);
    let (call, _) = {
        let (call, mut caller, _) = ringing(&mut bench);
        bench.answer(call);
        let ok = bench.take_response(200);
        assert_eq!(ok.headers.get("Privacy"), Some("id"));
        let ack = caller.ack(caller.seq, None);
        send(&mut bench, &ack);
        (call, caller)
    };
    let target = TransferTarget::Uri("sip:carol@example.com".into());
    bench.phone.transfer(bench.now, call, target).unwrap();
    bench.drain();
    let hold = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&hold, 200, ""), ANSWER));
    bench.take_request("ACK");
    let refer = bench.take_request("REFER");
    assert_eq!((refer.headers.get("Referred-By"), refer.headers.get("Privacy")), (None, Some("id")));
}

/// The registrar's public GRUU names the account; the configuration may change while a call is up.
#[test]
fn the_contact_of_an_anonymous_call_stays_without_a_name() {
    let mut bench = online(|config| {
        config.anonymous = true;
        config.register = true;
    });
    let register = bench.take_request("REGISTER");
    let mut ok = answer(&register, 200, "r");
    let contact = register.headers.get("Contact").unwrap();
    let gruus = "pub-gruu=\"sip:alice@example.com;gr=urn:uuid:1\";temp-gruu=\"sip:tgruu.7hs@example.com;gr\"";
    ok.headers.set("Contact", format!("{contact};expires=600;{gruus}"));
    bench.reply(&ok);
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.get("Contact").unwrap().contains("tgruu"));
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    bench.take_request("ACK");
    bench.phone.configure(PhoneConfig { anonymous: false, register: true, ..config() });
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let hold = bench.take_request("INVITE");
    assert!(hold.headers.get("Contact").unwrap().contains("tgruu"));
    assert_eq!(hold.headers.get("Privacy"), Some("id"));
    // The next call does not hide.
    bench.dial("sip:carol@example.com");
    let open = bench.take_request("INVITE");
    assert!(open.headers.get("Contact").unwrap().contains("sip:alice@example.com;gr="));
    assert_eq!(open.headers.get("Privacy"), None);
}

#[test]
fn an_anonymous_call_is_one_in_the_next_page_too() {
    let mut old = online(|config| config.anonymous = true);
    old.dial("sip:bob@example.com");
    let invite = old.take_request("INVITE");
    old.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    let record = old.phone.record(&|_| wasm_softphone::phone::CallNote::default()).unwrap();
    let mut bench = Bench::new(config());
    bench.phone.resume(bench.now, &record, secs(1)).unwrap();
    bench.connect();
    let again = bench.take_request("INVITE");
    assert_eq!(again.headers.get("Privacy"), Some("id"));
    assert!(again.headers.get("From").unwrap().contains("anonymous.invalid"));
}

// ---- credentials

#[test]
fn a_challenged_call_ends_without_a_digest_that_nobody_has_asked_for() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let first = bench.take_request("INVITE");
    bench.reply(&challenged(&first));
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "bob"), ANSWER));
    assert!(bench.take_request("ACK").headers.get("Proxy-Authorization").is_some());
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let hold = bench.take_request("INVITE");
    assert_eq!(hold.headers.get("Proxy-Authorization"), None);
    // A server that asks within the dialog gets its answer, and from then on without asking.
    bench.reply(&challenged(&hold));
    bench.take_request("ACK");
    let hold = bench.take_request("INVITE");
    assert!(hold.headers.get("Proxy-Authorization").is_some());
    bench.reply(&with_sdp(answer(&hold, 200, ""), ANSWER));
    assert!(bench.take_request("ACK").headers.get("Proxy-Authorization").is_some());
    bench.hangup(call);
    assert!(bench.take_request("BYE").headers.get("Proxy-Authorization").is_some());
    // Another dialog has not been asked.
    let other = bench.dial("sip:carol@example.com");
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.get("Proxy-Authorization").is_some(), "outside of dialogs it is known who asks");
    bench.reply(&with_sdp(answer(&invite, 200, "carol"), ANSWER));
    bench.take_request("ACK");
    bench.hangup(other);
    assert_eq!(bench.take_request("BYE").headers.get("Proxy-Authorization"), None);
}

// ---- numbers

/// Kamailio's dialog module asks with a number of the peer's, which the peer then uses itself.
#[test]
fn a_bye_with_the_number_of_a_keep_alive_ends_the_call() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    for _ in 0..3 {
        let next = caller.seq + 1;
        caller.branch += 1;
        let options = caller.build("OPTIONS", next, None);
        send(&mut bench, &options);
        bench.take_response(200);
    }
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(200);
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Completed);
}

#[test]
fn a_number_that_comes_again_is_taken_whatever_the_method_and_a_lower_one_is_not() {
    for method in ["OPTIONS", "INFO", "UPDATE", "INVITE", "MESSAGE", "BYE"] {
        let mut bench = Bench::online();
        let (_, mut caller) = answered(&mut bench);
        let info = caller.request("INFO", None);
        send(&mut bench, &info);
        bench.take_response(200);
        let sdp = (method == "INVITE").then_some(OFFER);
        caller.branch += 1;
        send(&mut bench, &caller.build(method, caller.seq - 1, sdp));
        bench.take_response(500);
        caller.branch += 1;
        send(&mut bench, &caller.build(method, caller.seq, sdp));
        let statuses = bench.lines();
        assert!(statuses.iter().any(|line| line.starts_with("200 ")), "{method}: {statuses:?}");
    }
    // Proxies that count on take no numbers away from the peer.
    let mut bench = Bench::online();
    let (_, mut caller) = answered(&mut bench);
    caller.branch += 1;
    send(&mut bench, &caller.build("OPTIONS", caller.seq + 9, None));
    bench.take_response(200);
    let reinvite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &reinvite);
    assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
}

// ---- capabilities

#[test]
fn each_2xx_says_what_this_phone_can() {
    let mut bench = Bench::online();
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    let mut seen = vec![bench.take_response(200)];
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    for (method, sdp) in [("OPTIONS", None), ("UPDATE", None), ("INVITE", Some(OFFER))] {
        let request = caller.request(method, sdp);
        send(&mut bench, &request);
        if method == "INVITE" {
            bench.take_response(100);
        }
        seen.push(bench.take_response(200));
    }
    let mut outside = Caller::new("stranger").request("OPTIONS", None);
    outside.headers.set("To", "<sip:alice@example.com>");
    send(&mut bench, &outside);
    seen.push(bench.take_response(200));
    for response in &seen {
        for tag in ["timer", "replaces", "100rel"] {
            assert!(response.headers.contains_token("Supported", tag), "{tag} is not in {response:?}");
        }
        assert!(response.headers.get("Allow").is_some());
    }
    // So do our own requests in the dialog.
    bench.sent.clear();
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    assert!(bench.take_request("INVITE").headers.contains_token("Supported", "replaces"));
}

/// Asterisk with `timers=required`, or `100rel=required`.
#[test]
fn a_421_that_names_what_we_can_is_followed_once() {
    for (required, followed) in
        [("timer", true), ("100rel", true), ("timer, 100rel", true), ("telepathy", false), ("", false)]
    {
        let mut bench = online(|config| {
            config.session_timers = None;
            config.reliable_provisional = false;
        });
        let call = bench.dial("sip:bob@example.com");
        let mut invite = bench.take_request("INVITE");
        assert!(invite.headers.contains_token("Supported", "timer"));
        assert_eq!(invite.headers.get("Session-Expires"), None);
        for again in [followed, false] {
            let mut refusal = answer(&invite, 421, "b");
            refusal.headers.push("Require", required);
            bench.reply(&refusal);
            bench.take_request("ACK");
            if again {
                let next = bench.take_request("INVITE");
                assert!(next.headers.seq() > invite.headers.seq());
                for tag in required.split(", ") {
                    assert!(next.headers.contains_token("Supported", tag), "{tag}");
                }
                assert_eq!(next.headers.get("Session-Expires").is_some(), required.contains("timer"));
                invite = next;
            } else if !followed {
                break;
            }
        }
        bench.nothing_sent();
        assert_eq!(bench.dial_error(call), "forbidden", "{required}");
    }
}

// ---- who is there

fn connected(headers: &[(&str, &str)]) -> (Bench, CallId, Caller) {
    let mut bench = online(|config| config.trust_identity = true);
    let (call, mut caller, _) = {
        let mut caller = Caller::new("line");
        let mut invite = caller.request("INVITE", Some(OFFER));
        for (name, value) in headers {
            invite.headers.push(name, *value);
        }
        send(&mut bench, &invite);
        let rings = bench.take_response(180);
        caller.to_tag = rings.headers.to_tag();
        (bench.incoming(), caller, invite)
    };
    bench.answer(call);
    bench.take_response(200);
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    bench.events.clear();
    (bench, call, caller)
}

fn remote(bench: &Bench, call: CallId) -> (Option<String>, Option<String>, bool) {
    let info = bench.phone.call(call).unwrap();
    let (uri, name) = info.asserted_identity.map_or((None, None), |who| (Some(who.uri), who.display_name));
    (uri, name, info.private)
}

fn told(bench: &mut Bench, call: CallId) -> usize {
    let count = bench.events.iter().filter(|event| **event == Event::Remote(call)).count();
    bench.events.clear();
    count
}

#[test]
fn the_connected_line_is_told_by_update_and_by_re_invite() {
    let desk = ("P-Asserted-Identity", "\"Desk\" <sip:desk@example.com>");
    let (mut bench, call, mut caller) = connected(&[desk]);
    assert_eq!(remote(&bench, call), (Some("sip:desk@example.com".into()), Some("Desk".into()), false));
    // An attended transfer on the other side: the second party is there now.
    let mut update = caller.request("UPDATE", None);
    update.headers.push("P-Asserted-Identity", "\"Carol\" <sip:carol@example.com>");
    update.headers.push("Privacy", "id");
    send(&mut bench, &update);
    assert_eq!(remote(&bench, call), (Some("sip:carol@example.com".into()), Some("Carol".into()), true));
    assert_eq!(told(&mut bench, call), 1);
    let mut reinvite = caller.request("INVITE", Some(OFFER));
    reinvite.headers.push("P-Asserted-Identity", "<sip:dave@example.com>");
    send(&mut bench, &reinvite);
    assert_eq!(remote(&bench, call), (Some("sip:dave@example.com".into()), None, false));
    assert_eq!(told(&mut bench, call), 1);
    let ack = caller.ack(caller.seq, None);
    send(&mut bench, &ack);
    // The same again is no news, and what says nothing changes nothing.
    for identity in [Some("<sip:dave@example.com>"), None] {
        let mut update = caller.request("UPDATE", None);
        if let Some(identity) = identity {
            update.headers.push("P-Asserted-Identity", identity);
        }
        send(&mut bench, &update);
        assert_eq!(told(&mut bench, call), 0);
    }
    // The answer to our own offer says it too.
    bench.sent.clear();
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let hold = bench.take_request("INVITE");
    let mut ok = with_sdp(answer(&hold, 200, ""), ANSWER);
    ok.headers.push("P-Asserted-Identity", "\"Erin\" <sip:erin@example.com>");
    bench.reply(&ok);
    assert_eq!(remote(&bench, call).0.as_deref(), Some("sip:erin@example.com"));
    assert_eq!(told(&mut bench, call), 1);
    // The From of the dialog is what it was.
    assert_eq!(bench.phone.call(call).unwrap().remote_uri, "sip:bob@example.com");
}

#[test]
fn remote_party_id_is_believed_where_the_server_is_and_says_nothing_else() {
    let rpid = "\"Carol\" <sip:carol@example.com>;party=called;screen=yes;privacy=full";
    let (mut bench, call, mut caller) = connected(&[]);
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Remote-Party-ID", rpid);
    send(&mut bench, &update);
    assert_eq!(remote(&bench, call), (Some("sip:carol@example.com".into()), Some("Carol".into()), true));
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Remote-Party-ID", rpid);
    update.headers.push("P-Asserted-Identity", "<sip:dave@example.com>");
    send(&mut bench, &update);
    assert_eq!(remote(&bench, call), (Some("sip:dave@example.com".into()), None, false));
    // Without trust neither is looked at.
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    bench.events.clear();
    let mut update = caller.request("UPDATE", None);
    update.headers.push("Remote-Party-ID", rpid);
    update.headers.push("P-Asserted-Identity", "<sip:dave@example.com>");
    send(&mut bench, &update);
    assert_eq!(remote(&bench, call), (None, None, false));
    assert_eq!(told(&mut bench, call), 0);
}

#[test]
fn who_rings_is_told_and_who_answers_in_its_place_is_another() {
    let mut bench = online(|config| config.trust_identity = true);
    let call = bench.dial("sip:team@example.com");
    let invite = bench.take_request("INVITE");
    let mut rings = answer(&invite, 180, "one");
    rings.headers.push("P-Asserted-Identity", "\"One\" <sip:one@example.com>");
    bench.reply(&rings);
    assert_eq!(remote(&bench, call).0.as_deref(), Some("sip:one@example.com"));
    assert_eq!(told(&mut bench, call), 1);
    let mut progress = answer(&invite, 183, "one");
    progress.headers.push("P-Asserted-Identity", "\"Une\" <sip:one@example.com>");
    bench.reply(&progress);
    assert_eq!(remote(&bench, call).1.as_deref(), Some("Une"));
    assert_eq!(told(&mut bench, call), 1);
    // The other fork answers, and nobody vouches for it.
    bench.reply(&with_sdp(answer(&invite, 200, "two"), ANSWER));
    assert_eq!(remote(&bench, call), (None, None, false));
    assert_eq!(told(&mut bench, call), 1);
}

#[test]
fn a_number_that_is_suppressed_is_told_as_such() {
    let from = |value: &str| {
        let mut bench = Bench::online();
        let mut invite = Caller::new("x").request("INVITE", Some(OFFER));
        invite.headers.set("From", format!("{value};tag=t"));
        send(&mut bench, &invite);
        let info = bench.phone.call(bench.incoming()).unwrap();
        (info.remote_uri, info.private)
    };
    for (value, private) in [
        ("\"Anonymous\" <sip:anonymous@anonymous.invalid>", true),
        ("<sip:anonymous@pbx.example.com>", true),
        ("<sip:c8oqz84zk7z@ANONYMOUS.invalid>", true),
        ("<sip:bob@example.com>", false),
        ("<tel:+46700000000>", false),
    ] {
        assert_eq!(from(value).1, private, "{value}");
    }
    for (privacy, private) in
        [("id", true), ("header;id", true), ("user; critical", true), ("none", false), ("history", false)]
    {
        let (bench, call, _) =
            connected(&[("Privacy", privacy), ("P-Asserted-Identity", "<sip:b@example.com>")]);
        assert_eq!(remote(&bench, call).2, private, "{privacy}");
    }
}

// ---- outcomes

fn refused(status: u16, reason: &str) -> (&'static str, Option<u16>) {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut refusal = answer(&invite, status, "b");
    if !reason.is_empty() {
        refusal.headers.push("Reason", reason);
    }
    bench.reply(&refusal);
    bench.take_request("ACK");
    let end = bench.end_of(call).unwrap();
    assert_eq!((end.sip_status, end.by), (Some(status), EndedBy::Remote));
    (bench.dial_error(call), end.q850)
}

/// The table of docs/outcomes.md.
#[test]
fn the_cause_counts_where_the_status_leaves_it_open() {
    for (status, cause, code) in [
        (403, 21, "declined"),
        (480, 21, "declined"),
        (503, 21, "declined"),
        (480, 17, "busy"),
        (500, 17, "busy"),
        (503, 1, "not_found"),
        (480, 3, "not_found"),
        (480, 22, "not_found"),
        (503, 28, "not_found"),
        (480, 18, "no_answer"),
        (503, 19, "no_answer"),
        (500, 20, "no_answer"),
        (403, 65, "not_acceptable"),
        (503, 88, "not_acceptable"),
        // Others leave it as the status has it.
        (403, 57, "forbidden"),
        (503, 34, "server_error"),
        (480, 31, "no_answer"),
        // A status that says it all has the last word.
        (404, 21, "not_found"),
        (486, 21, "busy"),
        (603, 17, "declined"),
        (488, 17, "not_acceptable"),
    ] {
        let (found, q850) = refused(status, &format!("Q.850;cause={cause}"));
        assert_eq!((found, q850), (code, Some(cause)), "{status} {cause}");
    }
    assert_eq!(refused(403, ""), ("forbidden", None));
    assert_eq!(refused(403, "SIP;cause=21"), ("forbidden", None));
}

#[test]
fn cause_0_is_none() {
    assert_eq!(refused(403, "Q.850;cause=0"), ("forbidden", None));
    assert_eq!(refused(480, "Q.850;cause=0, Q.850;cause=17"), ("busy", Some(17)));
    assert_eq!(refused(480, "Q.850;cause=300"), ("no_answer", None));
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let mut bye = caller.request("BYE", None);
    bye.headers.push("Reason", "Q.850;cause=0");
    send(&mut bench, &bye);
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.q850, end.by), (&EndCause::Completed, None, EndedBy::Remote));
}

/// An answered call that the other side has ended while it could not be told has been completed.
#[test]
fn a_call_that_is_not_known_any_more_has_been_completed() {
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    bench.cut();
    bench.pass(secs(5));
    let told = bench.sent.iter().find_map(|message| match message {
        Message::Request(request) => Some(request.clone()),
        Message::Response(_) => None,
    });
    bench.reply(&answer(&told.expect("the other side is told of the new way"), 481, ""));
    let end = bench.end_of(call).unwrap();
    assert_eq!((&end.cause, end.sip_status, end.by), (&EndCause::Completed, Some(481), EndedBy::Remote));
}

#[test]
fn an_end_for_want_of_a_network_is_told_as_such() {
    for (reason, by) in [
        ("Q.850;cause=16;text=\"Normal Clearing\"", EndedBy::Remote),
        ("Q.850;cause=38", EndedBy::Network),
        ("Q.850;cause=102", EndedBy::Network),
        ("SIP;cause=408;text=\"Session expired\"", EndedBy::Network),
        ("SIP;cause=200;text=\"Call completed elsewhere\"", EndedBy::Remote),
    ] {
        let mut bench = Bench::online();
        let (call, mut caller) = answered(&mut bench);
        let mut bye = caller.request("BYE", None);
        bye.headers.push("Reason", reason);
        send(&mut bench, &bye);
        let end = bench.end_of(call).unwrap();
        assert_eq!((&end.cause, end.by), (&EndCause::Completed, by), "{reason}");
    }
}

// ---- what is written down

fn logged(bench: &Bench) -> Vec<(LogLevel, String)> {
    let logged = bench.events.iter().filter_map(|event| match event {
        Event::Log(level, text) => Some((*level, text.clone())),
        _ => None,
    });
    logged.collect()
}

#[test]
fn warnings_are_told_without_a_trace_and_the_rest_is_not() {
    let mut bench = Bench::online();
    bench.receive("HELLO\r\n\r\n");
    let lines = logged(&bench);
    assert!(
        lines.iter().any(|(level, text)| *level == LogLevel::Warn && text.starts_with("rejected")),
        "{lines:?}"
    );
    bench.dial("sip:bob@example.com");
    bench.cut();
    bench.pass(secs(5));
    let lines = logged(&bench);
    assert!(lines.iter().all(|(level, _)| matches!(level, LogLevel::Warn | LogLevel::Error)), "{lines:?}");
    assert!(lines.len() > 1, "a lost connection is one: {lines:?}");
}

#[test]
fn no_token_of_the_configuration_is_in_the_log() {
    let mut bench = online(|config| {
        config.trace = true;
        config.servers = vec!["wss://one.example.com/sip?access_token=hush-url".into()];
    });
    let extra_headers = vec![("X-Session".into(), "hush-call".into()), ("s".into(), "hush-subject".into())];
    let target = "sip:bob@example.com".to_owned();
    let request = wasm_softphone::phone::DialRequest {
        target: target.clone(),
        extra_headers: extra_headers.clone(),
        ..wasm_softphone::phone::DialRequest::default()
    };
    bench.phone.dial(bench.now, request).unwrap();
    let message =
        MessageRequest { target, content_type: "text/plain".into(), body: "x".into(), extra_headers };
    bench.phone.send_message(bench.now, message).unwrap();
    bench.drain();
    // It comes back too, from a server that repeats what it was sent.
    bench.take_request("MESSAGE");
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.get("X-Session"), Some("hush-call"));
    let mut echo = answer(&invite, 183, "b");
    echo.headers.push("x-session", "hush-call");
    bench.reply(&echo);
    bench.cut();
    bench.pass(secs(30));
    let lines = logged(&bench);
    assert!(lines.iter().any(|(_, text)| text.contains("wss://one.example.com/sip")), "{lines:?}");
    assert!(lines.iter().any(|(_, text)| text.contains("X-Session: <redacted>")), "{lines:?}");
    for (_, text) in lines {
        assert!(!text.contains("hush"), "{text}");
    }
    for event in &bench.events {
        assert!(!format!("{event:?}").contains("hush"), "{event:?}");
    }
}

#[test]
fn answer_of_a_call_that_answers_itself_joins_it() {
    for (after, state) in [("0", CallState::Connecting), ("5", CallState::Ringing)] {
        let mut bench = online(|config| config.auto_answer = vec!["*".into()]);
        let mut caller = Caller::new("auto");
        let mut invite = caller.request("INVITE", Some(OFFER));
        invite.headers.push("Call-Info", format!("<sip:x>;answer-after={after}"));
        send(&mut bench, &invite);
        let call = bench.incoming();
        assert_eq!(bench.phone.call(call).unwrap().state, state);
        bench.phone.answer(bench.now, call).unwrap();
        bench.drain();
        bench.pass(secs(6));
        bench.take_response(180);
        let ok = bench.take_response(200);
        caller.to_tag = ok.headers.to_tag();
        let ack = caller.ack(caller.seq, None);
        send(&mut bench, &ack);
        let done =
            |bench: &Bench| bench.events.iter().filter(|e| **e == Event::AnswerDone(call, Ok(()))).count();
        assert_eq!(done(&bench), 1);
        // Late, it is answered already.
        if after == "0" {
            bench.phone.answer(bench.now, call).unwrap();
            bench.drain();
            assert_eq!(done(&bench), 2);
        }
    }
    // A call that is answered by hand once is not answered twice.
    let mut bench = Bench::online();
    let (call, _) = answered(&mut bench);
    assert_eq!(bench.phone.answer(bench.now, call).unwrap_err().code.as_str(), "invalid_state");
}

#[test]
fn answer_of_a_call_that_answers_itself_and_fails_has_its_error() {
    let mut bench = online(|config| config.auto_answer = vec!["*".into()]);
    bench.media = crate::bench::Media::Manual;
    let mut invite = Caller::new("auto").request("INVITE", Some(OFFER));
    invite.headers.push("Answer-Mode", "Auto");
    send(&mut bench, &invite);
    let call = bench.incoming();
    bench.phone.answer(bench.now, call).unwrap();
    bench.finish_job(Err(wasm_softphone::phone::MediaError::Denied));
    let failed = bench.events.iter().any(|event| {
        matches!(event, Event::AnswerDone(id, Err(error)) if *id == call && error.code.as_str() == "media_denied")
    });
    assert!(failed, "{:?}", bench.events);
}

/// Browsers quote the line of a description that they refuse.
#[test]
fn no_key_of_a_description_is_in_the_log() {
    let mut bench = Bench::online();
    bench.media = crate::bench::Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.jobs.retain(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. }));
    let words = "Failed to parse SessionDescription. a=ice-pwd:hush Invalid SDP line.";
    bench.finish_job(Err(MediaError::Refused(words.into())));
    assert!(bench.end_of(call).is_some());
    let said = format!("{:?}", bench.events);
    assert!(said.contains("Failed to parse SessionDescription") && !said.contains("hush"), "{said}");
}
