//! Redirects, transfers, headers, messages and subscriptions as JavaScript sees them, through the sandbox, in a real
//! browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "clippy knows `#[test]` only")]

mod web;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web::*;

wasm_bindgen_test_configure!(run_in_browser);

const NONE: &JsValue = &JsValue::UNDEFINED;

/// Address of a user of the sandbox.
fn user(name: &str) -> JsValue {
    format!("sip:{name}@sandbox.test").into()
}

fn first_call(phone: &Phone) -> Call {
    phone.calls().get(0).unchecked_into()
}

/// The names of an object's own properties, in order.
fn keys(object: &JsValue) -> String {
    js_sys::Object::keys(object.unchecked_ref::<js_sys::Object>()).sort().join(" ").into()
}

/// `caller` calls `callee`; both ends, answered.
async fn talking(caller: &Phone, callee: &Phone, name: &str) -> (Call, Call) {
    let rings = Events::of_phone(callee, "incoming");
    let dial = caller.dial(&user(name), NONE);
    let theirs = incoming(&rings).await;
    ok(theirs.answer()).await;
    (answered(dial).await, theirs)
}

#[wasm_bindgen_test]
async fn headers_of_a_caller_reach_the_application_that_is_called() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let rings = Events::of_phone(&bob, "incoming");
    let headers = object([("X-Ticket", "4711".into()), ("Subject", "Lunch, at 12".into())]);
    let dial = alice.dial(&user("bob"), &object([("extraHeaders", headers)]));
    let callee = incoming(&rings).await;
    assert_eq!(keys(&callee.headers()), "Subject X-Ticket");
    assert_eq!(string(&callee.headers(), "X-Ticket"), "4711");
    assert_eq!(string(&callee.headers(), "Subject"), "Lunch, at 12");
    // Of the one who calls there is nothing to tell.
    assert_eq!(keys(&first_call(&alice).headers()), "");
    ok(callee.reject()).await;
    failed(dial).await;
    // The object outlives the call.
    assert_eq!(string(&callee.headers(), "X-Ticket"), "4711");

    // Headers that are the phone's own, and those that would be more than one.
    for (name, value) in [("Via", "x"), ("f", "x"), ("X-A", "1\r\nX-B: 2"), ("X-A\r\nX-B", "1"), ("X A", "1")]
    {
        let headers = object([(name, value.into())]);
        let error = failed(alice.dial(&user("bob"), &object([("extraHeaders", headers)]))).await;
        assert_eq!(code(&error), "invalid_config", "{name}");
        assert!(string(&error, "message").starts_with("extraHeaders"));
    }
    assert_eq!((rings.len(), alice.calls().length()), (1, 0));
    bye(alice).await;
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn what_the_network_says_of_a_failure_is_told() {
    let phone = registered("alice").await;
    let ends = Events::of_phone(&phone, "call");
    let error = failed(phone.dial(&user("away"), NONE)).await;
    assert_eq!((number_of(&error, "sipStatus"), number_of(&error, "retryAfter")), (480.0, 120.0));
    assert_eq!(get(&error, "retryable"), JsValue::TRUE);
    assert!(string(&error, "hint").contains("120 s"));

    let call: Call = get(&ends.last(), "call").unchecked_into();
    let reason = call.end_reason();
    assert_eq!((string(&reason, "code"), string(&reason, "by")), (code(&error), "remote".into()));
    assert_eq!((number_of(&reason, "q850"), number_of(&reason, "sipStatus")), (19.0, 480.0));
    assert_eq!(string(&reason, "reasonText"), "No answer from the user");

    // Where nothing is said there is no such field.
    let error = failed(phone.dial(&number("602"), NONE)).await;
    assert!(get(&error, "retryAfter").is_undefined());
    let busy: Call = get(&ends.last(), "call").unchecked_into();
    assert_eq!(keys(&busy.end_reason()), "by code sipStatus");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn who_has_moved_is_called_elsewhere_where_that_is_wanted() {
    let moved = user("moved");
    let phone = registered("alice").await;
    let error = failed(phone.dial(&moved, NONE)).await;
    assert_eq!((code(&error), number_of(&error, "sipStatus")), ("redirected".into(), 302.0));

    phone.configure(&object([("redirects", "ask".into())])).unwrap();
    assert_eq!(code(&failed(phone.dial(&moved, NONE)).await), "redirected", "nobody listens");

    // Best first: the echo, and then the number that is busy.
    for (choice, index, outcome) in
        [("decline", 0, "redirected"), ("follow", 1, "busy"), ("follow", 0, "answered")]
    {
        let dial = phone.dial(&moved, NONE);
        let call = first_call(&phone);
        let asked = Events::of_call(&call, "redirect");
        until("the question", || asked.len() == 1).await;
        let question = asked.last();
        let targets: js_sys::Array = get(&question, "targets").unchecked_into();
        assert_eq!(String::from(targets.join(" ")), "sip:600@sandbox.test sip:602@sandbox.test");
        if choice == "follow" {
            // There is no third, and the question stays open.
            assert!(settle(invoke(&question, "follow", &2.into())).await.is_err());
        }
        ok(invoke(&question, choice, &index.into())).await;
        if outcome == "answered" {
            let same = answered(dial).await;
            assert_eq!(JsValue::from(same), JsValue::from(call.clone()));
            assert_eq!(call.state(), "active");
            ok(call.hangup()).await;
        } else {
            assert_eq!(code(&failed(dial).await), outcome);
        }
    }

    // Without a question.
    phone.configure(&object([("redirects", 1.into())])).unwrap();
    ok(answered(phone.dial(&moved, NONE)).await.hangup()).await;
    // Given up while it is asked.
    phone.configure(&object([("redirects", "ask".into())])).unwrap();
    let dial = phone.dial(&moved, NONE);
    let call = first_call(&phone);
    let asked = Events::of_call(&call, "redirect");
    until("the question", || asked.len() == 1).await;
    ok(call.hangup()).await;
    assert_eq!(code(&failed(dial).await), "aborted");
    assert_eq!(code_of(invoke(&asked.last(), "follow", &0.into())).await, "ended");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_transfer_is_asked_about_and_refused() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let (ours, theirs) = talking(&alice, &bob, "bob").await;
    let asked = Events::of_call(&theirs, "transferRequest");
    let transfer = ours.transfer(&number("601"));
    until("the request", || asked.len() == 1).await;
    let request = asked.last();
    assert_eq!(string(&request, "target"), "sip:601@sandbox.test");
    assert_eq!(string(&request, "referredBy"), "<sip:alice@sandbox.test>");
    // Nothing has been called, and the one who asks has put the call on hold.
    assert_eq!(bob.calls().length(), 1);
    assert!(ours.local_hold());
    ok(invoke(&request, "reject", NONE)).await;
    let error = settle(transfer).await.unwrap_err();
    assert_eq!((code(&error), number_of(&error, "sipStatus")), ("declined".into(), 603.0));
    // The call stays.
    assert_eq!((ours.state(), theirs.state()), ("active".into(), "active".into()));
    ok(ours.unhold()).await;
    assert!(!ours.local_hold());
    bye(alice).await;
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn a_transfer_that_is_accepted_makes_the_call() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let (ours, theirs) = talking(&alice, &bob, "bob").await;
    let asked = Events::of_call(&theirs, "transferRequest");
    let progress = Events::of_call(&ours, "transfer");
    let transfer = ours.transfer(&number("600"));
    until("the request", || asked.len() == 1).await;
    let new: Call = ok(invoke(&asked.last(), "accept", NONE)).await.unchecked_into();
    assert_eq!(new.direction(), "outgoing");
    assert_eq!(string(&new.remote(), "uri"), "sip:600@sandbox.test");
    assert!(bob.calls().includes(&new, 0));
    ok(transfer).await;
    assert_eq!(progress.field("state").last().map(String::as_str), Some("accepted"));
    until("the new call", || new.state() == "active").await;
    until("the end of the old one", || ours.state() == "ended" && theirs.state() == "ended").await;
    // Once is enough.
    assert_eq!(code_of(invoke(&asked.last(), "accept", NONE)).await, "ended");
    ok(new.hangup()).await;
    bye(alice).await;
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn messages_are_sent_and_received() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let messages = Events::of_phone(&bob, "message");
    ok(alice.send_message(&user("bob"), &"Grüße\r\nzwei <b>Zeilen</b>".into(), NONE)).await;
    until("the message", || messages.len() == 1).await;
    let message = messages.last();
    assert_eq!(keys(&message), "body contentType displayName from");
    assert_eq!(string(&message, "from"), "sip:alice@sandbox.test");
    assert_eq!(string(&message, "contentType"), "text/plain");
    assert_eq!(string(&message, "body"), "Grüße\r\nzwei <b>Zeilen</b>");

    let html = object([("contentType", "text/html".into()), ("extraHeaders", object([("X-A", "1".into())]))]);
    ok(alice.send_message(&user("bob"), &"<p>".into(), &html)).await;
    until("the second message", || messages.len() == 2).await;
    assert_eq!(string(&messages.last(), "contentType"), "text/html");

    let error = settle(alice.send_message(&user("nobody"), &"hello".into(), NONE)).await.unwrap_err();
    assert_eq!((code(&error), number_of(&error, "sipStatus")), ("not_found".into(), 404.0));
    for (target, body, options, expected) in [
        (&user("bob"), JsValue::from(1), JsValue::UNDEFINED, "body"),
        (&user("bob"), "x".repeat(60 * 1024 + 1).into(), JsValue::UNDEFINED, "body"),
        (&user("bob"), "x".into(), object([("contentType", "text\r\nX-B: 2".into())]), "contentType"),
        (&user("bob"), "x".into(), object([("extraHeaders", object([("To", "x".into())]))]), "extraHeaders"),
        (&user("bob"), "x".into(), object([("extraHeaders", 1.into())]), "extraHeaders"),
        (&user("bob"), "x".into(), "x".into(), "options"),
        (&"bob@sandbox.test".into(), "x".into(), JsValue::UNDEFINED, ""),
    ] {
        let error = settle(alice.send_message(target, &body, &options)).await.unwrap_err();
        let known = if expected.is_empty() { "invalid_destination" } else { "invalid_config" };
        assert_eq!(code(&error), known);
        assert!(string(&error, "message").starts_with(expected), "{expected}: {error:?}");
    }
    assert_eq!(messages.len(), 2);

    let unsent = alice.send_message(&user("bob"), &"x".into(), NONE);
    bye(alice.clone()).await;
    // Its answer came first, or it was given up: it has an end in both cases.
    if let Err(error) = settle(unsent).await {
        assert_eq!(code(&error), "aborted");
    }
    bye(bob).await;
    let unconnected = phone(&settings("alice").await);
    assert_eq!(code_of(unconnected.send_message(&user("bob"), &"x".into(), NONE)).await, "not_connected");
    unconnected.free();
    let unconfigured = phone(NONE);
    assert_eq!(code_of(unconfigured.send_message(&user("bob"), &"x".into(), NONE)).await, "not_configured");
    unconfigured.free();
}

#[wasm_bindgen_test]
async fn options_tell_whether_somebody_is_there() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    ok(alice.send_options(&user("bob"))).await;
    // In the domain of the account.
    ok(alice.send_options(&"bob".into())).await;
    let error = settle(alice.send_options(&user("nobody"))).await.unwrap_err();
    assert_eq!((code(&error), number_of(&error, "sipStatus")), ("not_found".into(), 404.0));
    assert_eq!(code_of(alice.send_options(&1.into())).await, "invalid_destination");
    bye(bob).await;
    // Known, and not there.
    let error = settle(alice.send_options(&user("bob"))).await.unwrap_err();
    assert_eq!(number_of(&error, "sipStatus"), 480.0);
    bye(alice).await;
}

#[wasm_bindgen_test]
async fn a_subscription_tells_what_is_published_until_it_ends() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let here = |note: &str| {
        JsValue::from(format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@sandbox.test\"><tuple id=\"t\">\
             <status><basic>open</basic></status><note>{note}</note></tuple></presence>"
        ))
    };
    let watch = alice.subscribe(&user("bob"), &"presence".into(), NONE).unwrap();
    assert_eq!(watch.state(), "pending");
    let (notes, states) =
        (Events::of_subscription(&watch, "notify"), Events::of_subscription(&watch, "state"));
    until("the first NOTIFY", || notes.len() > 0).await;
    assert_eq!((watch.state(), states.field("state")), ("active".into(), vec!["active".to_owned()]));

    let published = bob.publish(&"presence".into(), &here("in the office"), NONE).unwrap();
    let told = |text: &'static str| notes.field("body").last().is_some_and(|body| body.contains(text));
    until("what is published", || told("in the office")).await;
    assert_eq!(string(&notes.last(), "contentType"), "application/pidf+xml");
    until("the publication", || published.state() == "active").await;
    published.update(&here("at lunch")).unwrap();
    until("the update", || told("at lunch")).await;
    assert_eq!(code(&published.update(&1.into()).unwrap_err()), "invalid_config");
    ok(published.unsubscribe()).await;
    assert_eq!(published.state(), "terminated");
    assert_eq!(code(&published.update(&here("x")).unwrap_err()), "ended");
    until("the end of what was published", || !told("at lunch")).await;

    ok(watch.unsubscribe()).await;
    assert_eq!(watch.state(), "terminated");
    assert_eq!(states.field("state").last().map(String::as_str), Some("terminated"));
    // Again is harmless.
    ok(watch.unsubscribe()).await;
    assert_eq!(code(&watch.on("note", &function(|_, _| {})).unwrap_err()), "invalid_config");
    bye(alice).await;
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn a_subscription_that_is_refused_says_why() {
    let alice = registered("alice").await;
    for (target, event, status) in [("bob", "message-summary", 403.0), ("bob", "weather", 489.0)] {
        let refused = alice.subscribe(&user(target), &event.into(), NONE).unwrap();
        let states = Events::of_subscription(&refused, "state");
        until("the refusal", || refused.state() == "terminated").await;
        assert_eq!(number_of(&get(&states.last(), "error"), "sipStatus"), status);
    }
    let options = |name: &str, value: JsValue| object([(name, value)]);
    for (event, options, expected) in [
        (JsValue::from(1), JsValue::UNDEFINED, "event"),
        ("a b".into(), JsValue::UNDEFINED, "event"),
        ("presence\r\nX-B: 2".into(), JsValue::UNDEFINED, "event"),
        ("presence".into(), options("accept", 1.into()), "accept"),
        ("presence".into(), options("accept", "text".into()), "accept"),
        ("presence".into(), options("accept", "text/x\r\nX-B: 2".into()), "accept"),
        ("presence".into(), options("expires", 0.into()), "expires"),
        ("presence".into(), options("expires", 86_401.into()), "expires"),
        ("presence".into(), options("expires", "1".into()), "expires"),
    ] {
        let error = alice.subscribe(&user("bob"), &event, &options).map(|_| ()).unwrap_err();
        assert_eq!(code(&error), "invalid_config", "{event:?} {options:?}");
        assert!(string(&error, "message").starts_with(expected), "{expected}: {error:?}");
    }
    for (event, body, options, expected) in [
        (JsValue::from(1), JsValue::from("x"), JsValue::UNDEFINED, "event"),
        ("a b".into(), "x".into(), JsValue::UNDEFINED, "event"),
        ("presence".into(), 1.into(), JsValue::UNDEFINED, "body"),
        ("presence".into(), "x".into(), options("contentType", "x\r\nX-B: 2".into()), "contentType"),
        ("presence".into(), "x".into(), options("contentType", 1.into()), "contentType"),
        ("presence".into(), "x".into(), options("expires", 0.into()), "expires"),
    ] {
        let error = alice.publish(&event, &body, &options).map(|_| ()).unwrap_err();
        assert_eq!(code(&error), "invalid_config", "{event:?} {options:?}");
        assert!(string(&error, "message").starts_with(expected), "{expected}: {error:?}");
    }
    let error =
        alice.subscribe(&"bob@sandbox.test".into(), &"presence".into(), NONE).map(|_| ()).unwrap_err();
    assert_eq!(code(&error), "invalid_destination");
    bye(alice).await;
    let unconnected = phone(&settings("alice").await);
    for refused in [
        unconnected.subscribe(&user("bob"), &"presence".into(), NONE),
        unconnected.publish(&"presence".into(), &"x".into(), NONE),
    ] {
        assert_eq!(code(&refused.map(|_| ()).unwrap_err()), "not_connected");
    }
    unconnected.free();
}

#[wasm_bindgen_test]
async fn a_subscription_ends_with_its_object_and_with_the_phone() {
    let alice = registered("alice").await;
    let mailbox = alice.subscribe(&user("alice"), &"message-summary".into(), NONE).unwrap();
    let notes = Events::of_subscription(&mailbox, "notify");
    ok(alice.send_message(&user("mailbox"), &"heard".into(), NONE)).await;
    until("what waits", || notes.field("body").iter().any(|body| body.contains("Messages-Waiting: no")))
        .await;
    let watch = alice.subscribe(&user("bob"), &"dialog".into(), NONE).unwrap();
    let states = Events::of_subscription(&watch, "state");
    until("the second subscription", || watch.state() == "active").await;
    // Its listeners hear no more, and the other one goes on.
    watch.free();
    ok(alice.send_message(&user("mailbox"), &"heard".into(), NONE)).await;
    assert_eq!(states.field("state"), ["active"]);
    assert_eq!(mailbox.state(), "active");
    bye(alice).await;
    assert_eq!(mailbox.state(), "terminated");
}

#[wasm_bindgen_test]
async fn what_waits_is_told_without_a_subscription_unless_that_is_refused() {
    const BODY: &str = "Messages-Waiting: yes\r\nVoice-Message: 2/1\r\n";
    let notify = |branch: &str| {
        format!(
            "NOTIFY sip:alice@sandbox.test SIP/2.0\r\nVia: SIP/2.0/WS pbx.invalid;branch=z9hG4bK{branch}\r\n\
             From: <sip:pbx@sandbox.test>;tag=pbx\r\nTo: <sip:alice@sandbox.test>\r\nCall-ID: {branch}\r\n\
             CSeq: 1 NOTIFY\r\nContact: <sip:pbx@sandbox.test>\r\nEvent: message-summary\r\n\
             Subscription-State: active\r\nContent-Type: application/simple-message-summary\r\n\
             Content-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        )
    };
    let wire = Wire::new();
    let alice = registered("alice").await;
    let summaries = Events::of_phone(&alice, "messageSummary");
    wire.receive(&notify("taken"));
    until("what waits", || summaries.len() == 1).await;
    assert_eq!(keys(&summaries.last()), "body");
    assert_eq!(string(&summaries.last(), "body"), BODY);
    alice.configure(&object([("unsolicitedMessageSummary", JsValue::FALSE)])).unwrap();
    wire.receive(&notify("refused"));
    until("a refusal", || wire.holds("SIP/2.0 481")).await;
    assert_eq!(summaries.len(), 1);
    bye(alice).await;
    wire.restore();
}

/// As the README has it: `incoming` is answered by its listener, whoever has answered it already.
#[wasm_bindgen_test]
async fn answer_of_a_call_that_answers_itself_joins_it_and_the_server_says_who_calls() {
    let alice = registered("alice").await;
    let config = settings("bob").await;
    set(&config, "autoAnswer", &js_sys::Array::of1(&"*".into()));
    set(&config, "trustIdentity", &JsValue::TRUE);
    let bob = phone(&config);
    ok(bob.connect()).await;
    let rings = Events::of_phone(&bob, "incoming");
    let headers = object([("Answer-Mode", "Auto".into()), ("Privacy", "id".into())]);
    let options = object([("extraHeaders", headers)]);
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &options);
    let callee = incoming(&rings).await;
    ok(callee.answer()).await;
    assert_eq!(callee.state(), "active");
    ok(callee.answer()).await;
    let remote = callee.remote();
    assert_eq!(string(&remote, "assertedIdentity"), "sip:alice@sandbox.test");
    assert_eq!(get(&remote, "private"), JsValue::TRUE);
    answered(dial).await;
    bye(alice).await;
    bye(bob).await;
}
