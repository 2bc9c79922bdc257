//! What is left behind: counted from outside, by replacing what the browser gives.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "clippy knows `#[test]` only")]

mod web;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web::*;

wasm_bindgen_test_configure!(run_in_browser);

async fn nothing_left(watch: &Watch) {
    let total = watch.total();
    for kind in ["sockets", "connections", "tracks", "timers", "listeners"] {
        let opened = js_sys::JSON::parse(&total).unwrap();
        assert!(number_of(&opened, kind) > 0.0, "the watch has seen no {kind}");
    }
    let mut left = watch.left();
    until("everything to be given back", || {
        left = watch.left();
        if left != "{}" {
            web_sys::console::log_1(&format!("left: {left}").into());
        }
        left == "{}"
    })
    .await;
}

#[wasm_bindgen_test]
async fn nothing_is_left_after_disconnect() {
    let watch = Watch::new();
    let phone = registered("alice").await;
    for _ in 0..2 {
        let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
        until("a remote stream", || call.remote_stream().is_some()).await;
        assert_eq!(call.local_stream(), call.local_stream());
        let sent = ok(call.send_dtmf(&"1".into(), &JsValue::UNDEFINED)).await;
        assert!(sent.is_undefined());
        ok(call.hangup()).await;
    }
    failed(phone.dial(&number("602"), &JsValue::UNDEFINED)).await;
    ok(phone.disconnect()).await;
    nothing_left(&watch).await;
    // One timer for everything.
    assert_eq!(watch.most_timers(), 1);
    watch.restore();
    phone.free();
}

#[wasm_bindgen_test]
async fn nothing_is_left_after_free_in_the_middle_of_a_call() {
    let watch = Watch::new();
    let phone = registered("alice").await;
    let abort = web_sys::AbortController::new().unwrap();
    let call =
        answered(phone.dial(&number("600"), &object([("signal", JsValue::from(abort.signal()))]))).await;
    until("a remote stream", || call.remote_stream().is_some()).await;
    phone.free();
    nothing_left(&watch).await;
    watch.restore();
}

#[wasm_bindgen_test]
async fn nothing_is_left_after_free_while_it_rings() {
    let watch = Watch::new();
    let phone = registered("alice").await;
    let (options, stages) = progress();
    let abort = web_sys::AbortController::new().unwrap();
    set(&options, "signal", &abort.signal());
    let dial = phone.dial(&number("603"), &options);
    until("ringing", || reached(&stages, "ringing")).await;
    phone.free();
    assert_eq!(code(&failed(dial).await), "aborted");
    nothing_left(&watch).await;
    watch.restore();
}

#[wasm_bindgen_test]
async fn nothing_is_left_of_a_call_that_was_taken() {
    let watch = Watch::new();
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let rings = Events::of_phone(&bob, "incoming");
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    let callee = incoming(&rings).await;
    ok(callee.answer()).await;
    let caller = answered(dial).await;
    ok(caller.hangup()).await;
    until("the end", || callee.state() == "ended").await;
    ok(alice.disconnect()).await;
    ok(bob.disconnect()).await;
    nothing_left(&watch).await;
    watch.restore();
    // The objects outlive it all.
    assert_eq!(string(&callee.end_reason(), "by"), "remote");
    let kept: Call = get(&alice.last_result(), "call").unchecked_into();
    assert_eq!(kept.state(), "ended");
    alice.free();
    bob.free();
}
