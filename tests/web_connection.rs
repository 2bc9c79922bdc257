//! Connection and registration against the sandbox, in a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "clippy knows `#[test]` only")]

mod web;

use js_sys::{Array, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web::*;

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn connecting_registers_and_disconnecting_takes_it_back() {
    let phone = phone(&settings("alice").await);
    let connections = Events::of_phone(&phone, "connection");
    let registrations = Events::of_phone(&phone, "registration");
    assert_eq!((phone.connection(), phone.registration()), ("disconnected".into(), "unregistered".into()));
    // Twice is as good as once.
    let (first, second) = (phone.connect(), phone.connect());
    ok(first).await;
    ok(second).await;
    ok(phone.connect()).await;
    assert_eq!(connections.field("state"), ["connecting", "connected"]);
    assert_eq!(registrations.field("state"), ["registering", "registered"]);
    ok(phone.disconnect()).await;
    assert_eq!((phone.connection(), phone.registration()), ("disconnected".into(), "unregistered".into()));
    assert_eq!(connections.field("state").last().map(String::as_str), Some("disconnected"));
    // And again.
    ok(phone.connect()).await;
    assert_eq!(phone.registration(), "registered");
    ok(phone.disconnect()).await;
    ok(phone.disconnect()).await;
    phone.free();
}

#[wasm_bindgen_test]
async fn connecting_while_disconnecting_begins_afterwards() {
    let phone = phone(&settings("alice").await);
    ok(phone.connect()).await;
    let goodbye = phone.disconnect();
    let again = phone.connect();
    ok(goodbye).await;
    ok(again).await;
    assert_eq!((phone.connection(), phone.registration()), ("connected".into(), "registered".into()));
    ok(phone.disconnect()).await;
    phone.free();
}

#[wasm_bindgen_test]
async fn a_wrong_password_is_told_once() {
    let config = settings("alice").await;
    set(&config, "credentials", &object([("username", "alice".into()), ("password", "wrong".into())]));
    let phone = phone(&config);
    let registrations = Events::of_phone(&phone, "registration");
    let error = settle(phone.connect()).await.unwrap_err();
    assert_eq!(code(&error), "auth_failed");
    assert!(!string(&error, "hint").is_empty());
    assert_eq!(phone.registration(), "failed");
    assert_eq!(registrations.field("state"), ["registering", "failed"]);
    assert_eq!(code(&get(&registrations.last(), "error")), "auth_failed");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn credentials_are_asked_for_and_not_kept() {
    let config = settings("alice").await;
    let given = get(&config, "credentials");
    let asked = Events::default();
    let count = asked.listener();
    let ask = wasm_bindgen::closure::Closure::<dyn Fn() -> JsValue>::new(move || {
        let called = count.unchecked_ref::<js_sys::Function>().call0(&JsValue::UNDEFINED);
        assert!(called.is_ok());
        Promise::resolve(&given).into()
    })
    .into_js_value();
    set(&config, "credentials", &ask);
    let phone = phone(&config);
    ok(phone.connect()).await;
    assert!(asked.len() >= 1);
    let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    ok(call.hangup()).await;
    assert!(asked.len() >= 2, "asked {} times", asked.len());
    bye(phone).await;

    let config = settings("alice").await;
    let refuse = wasm_bindgen::closure::Closure::<dyn Fn() -> JsValue>::new(|| {
        Promise::reject(&JsValue::from("the user closed the password dialogue")).into()
    })
    .into_js_value();
    set(&config, "credentials", &refuse);
    let phone = web::phone(&config);
    let log = Events::of_phone(&phone, "log");
    assert_eq!(code_of(phone.connect()).await, "auth_failed");
    // A warning comes without `debug`, and without what was thrown.
    assert!(log.field("text").iter().any(|text| text.starts_with("credentials:")));
    assert!(!log.field("text").iter().any(|text| text.contains("dialogue")));
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn no_server_is_a_transport_error() {
    let config = settings("alice").await;
    // Port 9, "discard": nobody listens.
    set(&config, "servers", &"ws://127.0.0.1:9/sip".into());
    let phone = phone(&config);
    let error = settle(phone.connect()).await.unwrap_err();
    assert_eq!(code(&error), "transport");
    assert_eq!(get(&error, "retryable"), JsValue::TRUE);
    assert_eq!(code(&failed(phone.dial(&number("600"), &JsValue::UNDEFINED)).await), "not_connected");
    ok(phone.disconnect()).await;
    phone.free();
}

#[wasm_bindgen_test]
async fn the_next_server_is_tried() {
    let config = settings("alice").await;
    let servers = Array::of2(&"ws://127.0.0.1:9/sip".into(), &get(&config, "servers"));
    set(&config, "servers", &servers);
    let phone = phone(&config);
    ok(phone.connect()).await;
    assert_eq!(phone.registration(), "registered");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_lost_connection_comes_back_and_the_call_lives_on() {
    let watch = Watch::new();
    let phone = registered("alice").await;
    let connections = Events::of_phone(&phone, "connection");
    let registrations = Events::of_phone(&phone, "registration");
    let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    watch.cut();
    until("the loss", || connections.field("state").contains(&"reconnecting".to_owned())).await;
    until("the return", || phone.connection() == "connected").await;
    until("the registration", || {
        registrations.field("state").last().map(String::as_str) == Some("registered")
    })
    .await;
    // The other side has agreed to the new way.
    until("the call", || call.state() == "active").await;
    ok(call.hangup()).await;
    watch.restore();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn the_trace_holds_every_message_and_no_secret() {
    let config = settings("alice").await;
    let password = string(&get(&config, "credentials"), "password");
    set(&config, "debug", &JsValue::TRUE);
    let phone = phone(&config);
    let log = Events::of_phone(&phone, "log");
    ok(phone.connect()).await;
    let lines = log.field("text");
    assert!(lines.iter().any(|line| line.contains("REGISTER sip:sandbox.test SIP/2.0")));
    assert!(lines.iter().any(|line| line.contains("SIP/2.0 401")));
    assert!(lines.iter().any(|line| line.contains("SIP/2.0 200")));
    for event in log.all() {
        let text = string(&event, "text");
        assert!(!text.contains(&password));
        assert!(!hex_response(&text), "{text}");
        assert!(["debug", "info", "warn", "error"].contains(&string(&event, "level").as_str()));
        assert!(number_of(&event, "time") > 1e12);
    }
    bye(phone).await;
}

/// Whether a digest response stands in the text.
fn hex_response(text: &str) -> bool {
    text.split("response=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .is_some_and(|value| value.len() >= 32 && value.bytes().all(|b| b.is_ascii_hexdigit()))
}
