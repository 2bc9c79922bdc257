//! SUBSCRIBE, NOTIFY (RFC 6665) and PUBLISH (RFC 3903).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, answer, config, secs, send};
use wasm_softphone::phone::{
    Event, Hint, Input, PhoneConfig, PublishRequest, SocketId, SubscribeRequest, SubscriptionId,
    SubscriptionState,
};
use wasm_softphone::sip::header::NameAddr;
use wasm_softphone::sip::message::{Request, Response};

use SubscriptionState::{Active, Pending, Terminated};

fn subscribe(bench: &mut Bench) -> (SubscriptionId, Request) {
    let request = SubscribeRequest {
        target: "sip:bob@example.com".into(),
        event: "dialog".into(),
        accept: vec!["application/dialog-info+xml".into()],
        expires: secs(600),
    };
    let id = bench.phone.subscribe(bench.now, request).unwrap();
    bench.drain();
    (id, bench.take_request("SUBSCRIBE"))
}

fn granted(request: &Request, tag: &str, seconds: u32) -> Response {
    let mut response = answer(request, 200, tag);
    response.headers.push("Expires", seconds.to_string());
    response
}

/// Returns the status it got.
fn notify(bench: &mut Bench, notifier: &mut Caller, state: &str, body: &str) -> u16 {
    let mut request = notifier.request("NOTIFY", None);
    request.headers.push("Event", "dialog");
    request.headers.push("Subscription-State", state);
    if !body.is_empty() {
        request.headers.set("Content-Type", "application/dialog-info+xml");
        request.body = body.as_bytes().to_vec();
    }
    status_of(bench, &request)
}

fn status_of(bench: &mut Bench, request: &Request) -> u16 {
    send(bench, request);
    let line = bench.lines();
    line[0][..3].parse().unwrap()
}

fn states(bench: &Bench) -> Vec<(SubscriptionState, Option<&'static str>)> {
    let of = |event: &Event| match event {
        Event::Subscription(_, state, error) => {
            Some((*state, error.as_ref().map(|error| error.code.as_str())))
        }
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

fn bodies(bench: &Bench) -> Vec<String> {
    let of = |event: &Event| match event {
        Event::Notify { body, .. } => Some(body.clone()),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

fn active(bench: &mut Bench) -> (SubscriptionId, Caller) {
    let (id, request) = subscribe(bench);
    bench.reply(&granted(&request, "n", 600));
    let mut notifier = Caller::callee(&request, "n");
    assert_eq!(notify(bench, &mut notifier, "active;expires=600", "<one/>"), 200);
    bench.events.clear();
    (id, notifier)
}

/// RFC 5621: a state among other parts; a list of states (RFC 4662) stays whole.
#[test]
fn a_state_among_other_parts_is_told_without_them() {
    let parts =
        "--x\r\nContent-Type: application/dialog-info+xml\r\n\r\n<two/>\r\n--x\r\n\r\nmore\r\n--x--\r\n";
    for (kind, told) in [("multipart/mixed;boundary=x", "<two/>"), ("multipart/related;boundary=x", parts)] {
        let mut bench = Bench::online();
        let (_, mut notifier) = active(&mut bench);
        let mut request = notifier.request("NOTIFY", None);
        request.headers.push("Event", "dialog");
        request.headers.push("Subscription-State", "active");
        request.headers.set("Content-Type", kind);
        request.body = parts.as_bytes().to_vec();
        assert_eq!(status_of(&mut bench, &request), 200);
        assert_eq!(bodies(&bench), [told]);
    }
}

/// The next request, which must come within this time, from its half on.
fn next(bench: &mut Bench, method: &str, lifetime: u64) -> Request {
    bench.pass(secs(lifetime / 2 - 1));
    bench.nothing_sent();
    let mut left = lifetime / 5 + 2;
    while bench.sent.is_empty() && left > 0 {
        bench.pass(secs(1));
        left -= 1;
    }
    bench.take_request(method)
}

#[test]
fn the_state_comes_by_notify_and_the_subscription_is_refreshed() {
    let mut bench = Bench::online();
    let (_, request) = subscribe(&mut bench);
    assert_eq!(request.headers.get("Event"), Some("dialog"));
    assert_eq!(request.headers.get("Expires"), Some("600"));
    assert_eq!(request.headers.get("Accept"), Some("application/dialog-info+xml"));
    bench.reply(&granted(&request, "n", 300));
    assert_eq!(states(&bench), []);
    let mut notifier = Caller::callee(&request, "n");
    assert_eq!(notify(&mut bench, &mut notifier, "pending", ""), 200);
    assert_eq!(notify(&mut bench, &mut notifier, "active;expires=300", "<one/>"), 200);
    assert_eq!(states(&bench), [(Active, None)]);
    assert_eq!(bodies(&bench), ["", "<one/>"]);
    for seq in 2..5 {
        let refresh = next(&mut bench, "SUBSCRIBE", 300);
        assert_eq!(refresh.headers.get("CSeq").unwrap(), format!("{seq} SUBSCRIBE"));
        assert_eq!(refresh.headers.to_tag().as_deref(), Some("n"));
        assert_eq!(refresh.uri, "sip:bob@192.0.2.4:5060");
        bench.reply(&granted(&refresh, "n", 300));
    }
    assert_eq!(states(&bench), [(Active, None)]);
}

#[test]
fn a_notify_may_come_before_the_2xx_and_makes_the_dialog() {
    let mut bench = Bench::online();
    let (id, request) = subscribe(&mut bench);
    let mut notifier = Caller::callee(&request, "first");
    assert_eq!(notify(&mut bench, &mut notifier, "active", "<one/>"), 200);
    assert_eq!(states(&bench), [(Active, None)]);
    // The 2xx is of another fork.
    bench.reply(&granted(&request, "second", 600));
    let mut other = Caller::callee(&request, "second");
    assert_eq!(notify(&mut bench, &mut other, "active", "<other/>"), 481);
    assert_eq!(bodies(&bench), ["<one/>"]);
    bench.phone.unsubscribe(bench.now, id);
    bench.drain();
    let end = bench.take_request("SUBSCRIBE");
    assert_eq!(end.headers.to_tag().as_deref(), Some("first"));
    assert_eq!(end.headers.from_tag(), request.headers.from_tag());
    assert_eq!(end.headers.get("CSeq"), Some("2 SUBSCRIBE"));
}

#[test]
fn the_first_notify_counts_more_than_the_2xx() {
    let mut bench = Bench::online();
    let (_, request) = subscribe(&mut bench);
    bench.reply(&granted(&request, "proxy", 600));
    let mut notifier = Caller::callee(&request, "n");
    assert_eq!(notify(&mut bench, &mut notifier, "active", "<one/>"), 200);
    assert_eq!(next(&mut bench, "SUBSCRIBE", 600).headers.to_tag().as_deref(), Some("n"));
}

#[test]
fn notifies_are_taken_in_order_and_only_of_what_was_asked_for() {
    let mut bench = Bench::online();
    let (_, mut notifier) = active(&mut bench);
    let late = notifier.request("NOTIFY", None);
    assert_eq!(notify(&mut bench, &mut notifier, "active", "<two/>"), 200);
    let mut late = late;
    late.headers.push("Event", "dialog");
    late.headers.push("Subscription-State", "active");
    assert_eq!(status_of(&mut bench, &late), 500);
    for (event, status) in [("presence", 489), ("dialog;id=7", 489), ("dialog", 200)] {
        let mut request = notifier.request("NOTIFY", None);
        request.headers.push("Event", event);
        request.headers.push("Subscription-State", "active");
        assert_eq!(status_of(&mut bench, &request), status, "{event}");
    }
    let mut request = notifier.request("NOTIFY", None);
    request.headers.push("Require", "teleportation");
    assert_eq!(status_of(&mut bench, &request), 420);
    let mut stranger = Caller::callee(&request, "n");
    stranger.call_id = "unknown".into();
    assert_eq!(notify(&mut bench, &mut stranger, "active", "<x/>"), 481);
    assert_eq!(notify(&mut bench, &mut Caller::new("unsolicited"), "active", "<x/>"), 481);
    assert_eq!(bodies(&bench), ["<two/>", ""]);
}

/// A NOTIFY about waiting messages that nobody has subscribed to.
fn summary(notifier: &mut Caller) -> Request {
    let mut request = notifier.request("NOTIFY", None);
    request.headers.push("Event", "message-summary");
    request.headers.set("Content-Type", "application/simple-message-summary");
    request.body = b"Messages-Waiting: yes\r\nVoice-Message: 2/1\r\n".to_vec();
    request
}

fn summaries(bench: &Bench) -> Vec<String> {
    let of = |event: &Event| match event {
        Event::MessageSummary(body) => Some(body.clone()),
        _ => None,
    };
    bench.events.iter().filter_map(of).collect()
}

/// Connected; the REGISTER is not answered yet, if there is one.
fn with_mailbox(message_summary: Option<bool>, register: bool) -> (Bench, Option<Request>) {
    let mut bench = Bench::new(PhoneConfig { message_summary, register, ..config() });
    bench.connect();
    let request = register.then(|| bench.take_request("REGISTER"));
    (bench, request)
}

#[test]
fn a_message_summary_that_nobody_asked_for_is_taken_over_the_registered_connection() {
    let (mut bench, request) = with_mailbox(None, true);
    let request = request.unwrap();
    let mut server = Caller::new("mwi");
    let mut registered = answer(&request, 200, "registrar");
    registered.headers.push("Contact", format!("{};expires=600", request.headers.get("Contact").unwrap()));
    bench.reply(&registered);
    let mut first = summary(&mut server);
    assert_eq!(status_of(&mut bench, &first), 200);
    // To the Contact as well as to the name.
    let contact = NameAddr::parse(request.headers.get("Contact").unwrap()).unwrap();
    first = summary(&mut server);
    first.uri = contact.uri;
    assert_eq!(status_of(&mut bench, &first), 200);
    // Repeated, it is answered again, and told once.
    assert_eq!(status_of(&mut bench, &first), 200);
    assert_eq!(summaries(&bench), ["Messages-Waiting: yes\r\nVoice-Message: 2/1\r\n"; 2]);

    let mut wrong = |change: &dyn Fn(&mut Request)| {
        let mut request = summary(&mut server);
        change(&mut request);
        status_of(&mut bench, &request)
    };
    assert_eq!(wrong(&|request| request.uri = "sip:carol@alice.invalid".into()), 481);
    assert_eq!(wrong(&|request| request.headers.set("Event", "dialog")), 481);
    assert_eq!(wrong(&|request| request.headers.set("Event", "message-summary;id=7")), 481);
    assert_eq!(wrong(&|request| request.headers.set("Content-Type", "text/plain")), 481);
    assert_eq!(wrong(&|request| request.headers.set("To", "<sip:alice@example.com>;tag=x")), 481);
    assert_eq!(wrong(&|request| request.headers.set("Require", "teleportation")), 420);
    assert_eq!(wrong(&|request| request.body = vec![b'x'; 4096]), 200);
    assert_eq!(wrong(&|request| request.body = vec![b'x'; 4097]), 481);
    assert_eq!(summaries(&bench).len(), 3);
}

#[test]
fn a_message_summary_that_nobody_asked_for_is_taken_always_or_never_by_the_option() {
    let (mut bench, request) = with_mailbox(Some(false), true);
    let request = request.unwrap();
    bench.reply(&answer(&request, 200, "registrar"));
    assert_eq!(status_of(&mut bench, &summary(&mut Caller::new("mwi"))), 481);
    // Without a registration no server means this phone.
    let (mut unregistered, _) = with_mailbox(None, false);
    assert_eq!(status_of(&mut unregistered, &summary(&mut Caller::new("mwi"))), 481);
    assert!(summaries(&bench).is_empty() && summaries(&unregistered).is_empty());
    let (mut always, _) = with_mailbox(Some(true), false);
    assert_eq!(status_of(&mut always, &summary(&mut Caller::new("mwi"))), 200);
    assert_eq!(summaries(&always).len(), 1);
}

/// Asterisk tells what waits as soon as it has the binding: now and then before it answers the REGISTER.
#[test]
fn a_message_summary_may_overtake_the_answer_to_the_register() {
    let (mut bench, request) = with_mailbox(None, true);
    let mut server = Caller::new("mwi");
    assert_eq!(status_of(&mut bench, &summary(&mut server)), 200);
    assert_eq!(summaries(&bench).len(), 1);
    bench.reply(&answer(&request.unwrap(), 200, "registrar"));
    // Who is refused has no server that means this phone.
    while bench.sent.is_empty() {
        bench.pass(secs(1));
    }
    let again = bench.take_request("REGISTER");
    bench.reply(&answer(&again, 403, "registrar"));
    assert_eq!(status_of(&mut bench, &summary(&mut server)), 481);
    assert_eq!(summaries(&bench).len(), 1);
}

/// Over the connection that is being left, a NOTIFY is no word of the registrar.
#[test]
fn a_message_summary_over_the_previous_connection_is_refused() {
    let (mut bench, request) = with_mailbox(None, true);
    bench.reply(&answer(&request.unwrap(), 200, "registrar"));
    bench.dial("sip:bob@example.com");
    bench.take_request("INVITE");
    bench.input(Input::Hint(Hint::NetworkChanged));
    let request = bench.take_request("REGISTER");
    bench.reply(&answer(&request, 200, "registrar"));
    let notify = summary(&mut Caller::new("mwi")).to_text().unwrap().into_bytes();
    bench.input(Input::SocketData(SocketId(1), notify));
    assert_eq!(bench.take_response(481).status, 481);
    assert!(summaries(&bench).is_empty());
}

#[test]
fn too_brief_a_lifetime_is_made_longer() {
    let mut bench = Bench::online();
    let (_, request) = subscribe(&mut bench);
    let mut brief = answer(&request, 423, "n");
    brief.headers.push("Min-Expires", "1800");
    bench.reply(&brief);
    let again = bench.take_request("SUBSCRIBE");
    assert_eq!(again.headers.get("Expires"), Some("1800"));
    let mut absurd = answer(&again, 423, "n");
    absurd.headers.push("Min-Expires", "60");
    bench.reply(&absurd);
    bench.nothing_sent();
    assert_eq!(states(&bench), [(Terminated, Some("forbidden"))]);
}

#[test]
fn a_dialog_that_the_notifier_has_forgotten_is_made_anew() {
    let mut bench = Bench::online();
    let (_, _) = active(&mut bench);
    let refresh = next(&mut bench, "SUBSCRIBE", 600);
    bench.reply(&answer(&refresh, 481, "n"));
    bench.pass(secs(0));
    let anew = bench.take_request("SUBSCRIBE");
    assert_eq!(anew.headers.to_tag(), None);
    assert_ne!(anew.headers.call_id(), refresh.headers.call_id());
    bench.reply(&granted(&anew, "n2", 600));
    let mut notifier = Caller::callee(&anew, "n2");
    assert_eq!(notify(&mut bench, &mut notifier, "active", "<two/>"), 200);
    assert_eq!(states(&bench), [(Pending, None), (Active, None)]);
}

#[test]
fn refusals_end_it_and_failures_are_tried_again() {
    for (status, code) in
        [(489, "server_error"), (403, "forbidden"), (404, "not_found"), (481, "server_error")]
    {
        let mut bench = Bench::online();
        let (_, request) = subscribe(&mut bench);
        bench.reply(&answer(&request, status, "n"));
        assert_eq!(states(&bench), [(Terminated, Some(code))], "{status}");
        bench.pass(secs(3600));
        bench.nothing_sent();
    }
    let mut bench = Bench::online();
    let (_, request) = subscribe(&mut bench);
    let mut busy = answer(&request, 503, "n");
    busy.headers.push("Retry-After", "30 (later)");
    bench.reply(&busy);
    bench.pass(secs(30));
    bench.nothing_sent();
    bench.pass(secs(3));
    bench.take_request("SUBSCRIBE");
    assert_eq!(states(&bench), [(Pending, Some("server_error"))]);
}

#[test]
fn how_the_notifier_ends_it_says_what_follows() {
    for (end, wait, ended) in [
        ("terminated;reason=deactivated", 0, false),
        ("terminated;reason=timeout", 0, false),
        ("terminated;reason=probation;retry-after=60", 60, false),
        ("terminated;reason=giveup;retry-after=60", 60, false),
        ("terminated", 0, false),
        ("terminated;reason=rejected", 0, true),
        ("terminated;reason=noresource", 0, true),
        ("Terminated;reason=invariant", 0, true),
    ] {
        let mut bench = Bench::online();
        let (_, mut notifier) = active(&mut bench);
        let mut request = notifier.request("NOTIFY", None);
        request.headers.push("Event", "dialog");
        request.headers.push("Subscription-State", end);
        send(&mut bench, &request);
        bench.take_response(200);
        if wait > 0 {
            bench.pass(secs(wait));
            bench.nothing_sent();
        }
        bench.pass(secs(4));
        if ended {
            bench.nothing_sent();
            assert_eq!(states(&bench).last().unwrap().0, Terminated, "{end}");
            assert_eq!(notify(&mut bench, &mut notifier, "active", ""), 481);
        } else {
            assert_eq!(bench.take_request("SUBSCRIBE").headers.to_tag(), None, "{end}");
            assert_eq!(states(&bench), [(Pending, None)]);
        }
    }
}

/// A notifier that ends every subscription must not drive the phone round and round.
#[test]
fn ends_in_a_row_are_answered_later_and_later() {
    let mut bench = Bench::online();
    let (_, mut notifier) = active(&mut bench);
    let mut count = 0;
    for _ in 0..600 {
        notify(&mut bench, &mut notifier, "terminated;reason=deactivated", "");
        bench.pass(secs(1));
        for message in core::mem::take(&mut bench.sent) {
            let wasm_softphone::sip::message::Message::Request(request) = message else { continue };
            count += 1;
            notifier = Caller::callee(&request, "n");
        }
    }
    assert!((2..30).contains(&count), "{count}");
}

#[test]
fn an_unsubscribe_may_cross_a_notify() {
    let mut bench = Bench::online();
    let (id, mut notifier) = active(&mut bench);
    bench.phone.unsubscribe(bench.now, id);
    bench.drain();
    let end = bench.take_request("SUBSCRIBE");
    assert_eq!(end.headers.get("Expires"), Some("0"));
    assert_eq!(notify(&mut bench, &mut notifier, "active", "<crossing/>"), 200);
    assert_eq!(states(&bench), []);
    bench.reply(&granted(&end, "n", 0));
    assert_eq!(states(&bench), [(Terminated, None)]);
    assert_eq!(notify(&mut bench, &mut notifier, "terminated;reason=timeout", "<last/>"), 200);
    assert_eq!(notify(&mut bench, &mut notifier, "active", ""), 481);
    assert_eq!(states(&bench), [(Terminated, None)]);
    assert_eq!(bodies(&bench), Vec::<String>::new());
    bench.pass(secs(3600));
    bench.nothing_sent();
}

#[test]
fn an_unsubscribe_before_the_2xx_follows_it() {
    let mut bench = Bench::online();
    let (id, request) = subscribe(&mut bench);
    bench.phone.unsubscribe(bench.now, id);
    bench.drain();
    bench.nothing_sent();
    bench.reply(&granted(&request, "n", 600));
    let end = bench.take_request("SUBSCRIBE");
    assert_eq!(end.headers.get("Expires"), Some("0"));
    bench.reply(&answer(&end, 481, "n"));
    assert_eq!(states(&bench), [(Terminated, None)]);
}

#[test]
fn after_a_reconnect_everything_is_made_anew_and_disconnecting_ends_it() {
    let mut bench = Bench::online();
    let (_, _) = active(&mut bench);
    bench.cut();
    bench.pass(secs(1));
    assert_eq!(states(&bench), [(Pending, Some("transport"))]);
    let anew = bench.take_request("SUBSCRIBE");
    assert_eq!(anew.headers.to_tag(), None);
    bench.nothing_sent();
    bench.reply(&granted(&anew, "n2", 600));
    let mut notifier = Caller::callee(&anew, "n2");
    assert_eq!(notify(&mut bench, &mut notifier, "active", ""), 200);
    bench.events.clear();
    bench.disconnect();
    let end = bench.take_request("SUBSCRIBE");
    assert_eq!(end.headers.get("Expires"), Some("0"));
    bench.reply(&granted(&end, "n2", 0));
    assert_eq!(states(&bench), [(Terminated, None)]);
    assert!(bench.events.contains(&Event::DisconnectDone));
    assert_eq!(bench.phone.poll_timeout(), None, "no timer is left");
}

// ---- PUBLISH

fn body(text: &str) -> PublishRequest {
    PublishRequest {
        event: "presence".into(),
        content_type: "application/pidf+xml".into(),
        body: text.into(),
        expires: secs(600),
    }
}

fn publish(bench: &mut Bench, id: Option<SubscriptionId>, text: &str) -> SubscriptionId {
    let id = bench.phone.publish(bench.now, id, body(text)).unwrap();
    bench.drain();
    id
}

fn stored(request: &Request, etag: &str) -> Response {
    let mut response = granted(request, "esc", 600);
    response.headers.push("SIP-ETag", etag);
    response
}

fn published(bench: &mut Bench) -> SubscriptionId {
    let id = publish(bench, None, "<here/>");
    let request = bench.take_request("PUBLISH");
    assert_eq!(request.uri, "sip:alice@example.com");
    assert_eq!(request.headers.get("SIP-If-Match"), None);
    assert_eq!((request.headers.get("Event"), &request.body[..]), (Some("presence"), &b"<here/>"[..]));
    bench.reply(&stored(&request, "e1"));
    assert_eq!(states(bench), [(Active, None)]);
    bench.events.clear();
    id
}

/// Tag and body of a PUBLISH.
fn content(request: &Request) -> (Option<&str>, &str) {
    (request.headers.get("SIP-If-Match"), core::str::from_utf8(&request.body).unwrap())
}

#[test]
fn a_publication_is_refreshed_replaced_and_removed() {
    let mut bench = Bench::online();
    let id = published(&mut bench);
    let refresh = next(&mut bench, "PUBLISH", 600);
    assert_eq!(content(&refresh), (Some("e1"), ""));
    // A change meanwhile waits for the response.
    publish(&mut bench, Some(id), "<away/>");
    bench.nothing_sent();
    bench.reply(&stored(&refresh, "e2"));
    let replace = bench.take_request("PUBLISH");
    assert_eq!(content(&replace), (Some("e2"), "<away/>"));
    bench.reply(&stored(&replace, "e3"));
    bench.phone.unsubscribe(bench.now, id);
    bench.drain();
    let remove = bench.take_request("PUBLISH");
    assert_eq!((content(&remove), remove.headers.get("Expires")), ((Some("e3"), ""), Some("0")));
    bench.reply(&answer(&remove, 200, "esc"));
    assert_eq!(states(&bench), [(Terminated, None)]);
    let ended = bench.phone.publish(bench.now, Some(id), body("<late/>")).unwrap_err();
    assert_eq!(ended.code.as_str(), "ended");
    bench.pass(secs(3600));
    bench.nothing_sent();
}

#[test]
fn a_publication_that_the_server_has_lost_is_made_anew() {
    let mut bench = Bench::online();
    published(&mut bench);
    let refresh = next(&mut bench, "PUBLISH", 600);
    bench.reply(&answer(&refresh, 412, "esc"));
    let anew = bench.take_request("PUBLISH");
    assert_eq!(content(&anew), (None, "<here/>"));
    let mut brief = answer(&anew, 423, "esc");
    brief.headers.push("Min-Expires", "900");
    bench.reply(&brief);
    let longer = bench.take_request("PUBLISH");
    assert_eq!((content(&longer), longer.headers.get("Expires")), ((None, "<here/>"), Some("900")));
    bench.reply(&stored(&longer, "e9"));
    assert_eq!(states(&bench), [(Pending, None), (Active, None)]);
}

#[test]
fn after_a_reconnect_the_state_is_published_again() {
    let mut bench = Bench::online();
    let id = published(&mut bench);
    bench.cut();
    bench.pass(secs(1));
    let again = bench.take_request("PUBLISH");
    assert_eq!(content(&again), (Some("e1"), "<here/>"));
    bench.reply(&answer(&again, 412, "esc"));
    let anew = bench.take_request("PUBLISH");
    assert_eq!(content(&anew), (None, "<here/>"));
    bench.phone.unsubscribe(bench.now, id);
    bench.drain();
    bench.reply(&stored(&anew, "e2"));
    let remove = bench.take_request("PUBLISH");
    assert_eq!(content(&remove), (Some("e2"), ""));
}
