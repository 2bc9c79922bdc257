//! Calls through the sandbox, in a real browser: signalling and audio.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "clippy knows `#[test]` only")]

mod web;

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web::*;
use web_sys::{AbortController, MediaStreamTrack};

wasm_bindgen_test_configure!(run_in_browser);

/// The fake microphone beeps; silence is exact zeros and comfort noise far below this.
const AUDIBLE: f64 = 0.005;

async fn hears(call: &Call) {
    let meter = Meter::new(&call.remote_stream().expect("a remote stream").into());
    until("audio from the other side", || meter.level() > AUDIBLE).await;
}

async fn stats(call: &Call) -> JsValue {
    ok(call.stats()).await
}

/// Waits until bytes have gone both ways since `before`.
async fn packets_flow(call: &Call, before: &JsValue) -> JsValue {
    eventually("bytes both ways", || async {
        let now = stats(call).await;
        let more = |key| number_of(&now, key) > number_of(before, key);
        (more("bytesSent") && more("bytesReceived")).then_some(now)
    })
    .await
}

fn ended_by(call: &Call) -> (String, String) {
    let reason = call.end_reason();
    (string(&reason, "code"), string(&reason, "by"))
}

#[wasm_bindgen_test]
async fn the_echo_is_called_and_heard() {
    let phone = registered("alice").await;
    let states = Events::of_phone(&phone, "call");
    let (options, stages) = progress();
    let dial = phone.dial(&number("600"), &options);
    assert!(phone.is_dialing());
    assert_eq!(phone.calls().length(), 1);

    let call = answered(dial).await;
    assert!(!phone.is_dialing());
    assert!(phone.error().is_null());
    assert_eq!(get(&phone.last_result(), "call"), JsValue::from(call.clone()));
    assert_eq!(phone.calls().get(0), JsValue::from(call.clone()));
    for (_, seen) in stages.borrow().iter() {
        assert_eq!(JsValue::from(seen.clone()), JsValue::from(call.clone()));
    }
    let names: Vec<String> = stages.borrow().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.first().map(String::as_str), Some("preparing"));
    assert!(names.contains(&"requesting".to_owned()));
    assert_eq!(names.last().map(String::as_str), Some("connected"));
    assert_eq!(
        (call.state(), call.direction(), call.strategy().as_string()),
        ("active".into(), "outgoing".into(), Some("sip-invite".into()))
    );
    assert_eq!(string(&call.remote(), "uri"), "sip:600@sandbox.test");
    assert!(call.started_at().is_some());
    assert!(call.end_reason().is_null());

    until("a remote stream", || call.remote_stream().is_some()).await;
    hears(&call).await;
    let first = stats(&call).await;
    let second = packets_flow(&call, &first).await;
    assert!(get(&second, "codec").as_string().is_some());
    assert!(number_of(&second, "jitter") >= 0.0);
    let periodic = Events::of_call(&call, "stats");
    until("a stats event", || periodic.len() > 0).await;
    let mos = number_of(&periodic.last(), "mos");
    assert!((1.0..=4.5).contains(&mos), "{mos}");
    let loss = number_of(&periodic.last(), "packetLoss");
    assert!((0.0..=1.0).contains(&loss), "{loss}");

    // An echo of silence is silence.
    call.mute();
    assert!(call.muted());
    let meter = Meter::new(&call.remote_stream().unwrap().into());
    let mut quiet_since = js_sys::Date::now();
    until("two seconds of silence", || {
        if meter.level() > AUDIBLE {
            quiet_since = js_sys::Date::now();
        }
        js_sys::Date::now() - quiet_since > 2000.0
    })
    .await;
    call.unmute();
    assert!(!call.muted());
    hears(&call).await;

    let microphone =
        call.local_stream().unwrap().get_audio_tracks().get(0).unchecked_into::<MediaStreamTrack>();
    ok(call.hangup()).await;
    assert_eq!(microphone.ready_state(), web_sys::MediaStreamTrackState::Ended);
    assert_eq!(ended_by(&call), ("completed".into(), "local".into()));
    assert_eq!(call.state(), "ended");
    assert!(call.local_stream().is_none() && call.remote_stream().is_none());
    assert_eq!(phone.calls().length(), 0);
    let seen = states.field("state");
    assert_eq!(seen.first().map(String::as_str), Some("new"));
    assert_eq!(seen.last().map(String::as_str), Some("ended"));
    assert!(seen.contains(&"active".to_owned()));
    // Harmless.
    ok(call.hangup()).await;
    assert_eq!(code_of(call.answer()).await, "ended");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn the_tone_arrives_as_it_is() {
    let phone = registered("alice").await;
    let call = answered(phone.dial(&number("601"), &JsValue::UNDEFINED)).await;
    until("a remote stream", || call.remote_stream().is_some()).await;
    let meter = Meter::new(&call.remote_stream().unwrap().into());
    until("440 Hz", || meter.level() > AUDIBLE && (meter.peak() - 440.0).abs() < 15.0).await;
    bye(phone).await;
    assert_eq!(call.state(), "ended");
}

#[wasm_bindgen_test]
async fn listening_only_opens_no_microphone() {
    let phone = registered("alice").await;
    let prompt = Prompt::new();
    let call = answered(phone.dial(&number("601"), &object([("audio", JsValue::FALSE)]))).await;
    until("a remote stream", || call.remote_stream().is_some()).await;
    hears(&call).await;
    assert_eq!(prompt.open(), 0);
    assert!(call.local_stream().is_none());
    prompt.restore();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn busy_and_declined_are_told_apart() {
    let phone = registered("alice").await;
    for (target, expected, status) in [("602", "busy", 486.0), ("604", "declined", 603.0)] {
        let error = failed(phone.dial(&number(target), &JsValue::UNDEFINED)).await;
        assert_eq!(code(&error), expected);
        assert_eq!(number_of(&error, "sipStatus"), status);
        assert_eq!(phone.error(), error);
        assert_eq!(get(&phone.last_result(), "error"), error);
        assert_eq!(phone.calls().length(), 0);
    }
    phone.reset();
    assert!(phone.error().is_null() && phone.last_result().is_null());
    let error = failed(phone.dial(&number("999999"), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "not_found");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_ringing_call_is_cancelled() {
    let phone = registered("alice").await;
    let (options, stages) = progress();
    let dial = phone.dial(&number("603"), &options);
    until("ringing", || reached(&stages, "ringing")).await;
    let call: Call = phone.calls().get(0).unchecked_into();
    assert_eq!(call.state(), "ringing");
    let ended = Events::of_call(&call, "ended");
    ok(call.hangup()).await;
    let error = failed(dial).await;
    assert!(!code(&error).is_empty());
    assert_eq!(ended_by(&call), ("cancelled".into(), "local".into()));
    assert_eq!(ended.field("code"), ["cancelled"]);
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn an_abort_signal_ends_a_dial() {
    let phone = registered("alice").await;
    let abort = AbortController::new().unwrap();
    let (options, stages) = progress();
    set(&options, "signal", &abort.signal());
    let dial = phone.dial(&number("603"), &options);
    until("ringing", || reached(&stages, "ringing")).await;
    abort.abort();
    assert_eq!(code(&failed(dial).await), "aborted");
    assert!(!phone.is_dialing());

    // A signal that has been given before: nothing is sent, no microphone is opened.
    let prompt = Prompt::new();
    let error = failed(phone.dial(&number("603"), &options)).await;
    assert_eq!(code(&error), "aborted");
    assert_eq!((prompt.open(), phone.calls().length()), (0, 0));
    prompt.restore();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_dial_that_takes_too_long_times_out() {
    let phone = registered("alice").await;
    let error = failed(phone.dial(&number("603"), &object([("timeout", 1200.into())]))).await;
    assert_eq!(code(&error), "timeout");
    assert_eq!(get(&error, "retryable"), JsValue::TRUE);
    assert_eq!(phone.calls().length(), 0);
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn the_other_side_hangs_up() {
    let phone = registered("alice").await;
    let call = answered(phone.dial(&number("606"), &JsValue::UNDEFINED)).await;
    let ended = Events::of_call(&call, "ended");
    until("the end", || ended.len() == 1).await;
    assert_eq!(ended_by(&call), ("completed".into(), "remote".into()));
    assert_eq!((ended.field("code"), ended.field("by")), (vec!["completed".into()], vec!["remote".into()]));
    assert!(call.local_stream().is_none());
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn early_media_is_heard_before_the_answer() {
    let phone = registered("alice").await;
    let (options, stages) = progress();
    let dial = phone.dial(&number("605"), &options);
    until("early media", || reached(&stages, "early-media")).await;
    let call: Call = phone.calls().get(0).unchecked_into();
    assert_eq!(call.state(), "early-media");
    let meter = {
        until("a remote stream", || call.remote_stream().is_some()).await;
        Meter::new(&call.remote_stream().unwrap().into())
    };
    until("early audio", || meter.level() > AUDIBLE).await;
    assert_eq!(call.state(), "early-media", "heard before the answer");
    assert!(call.started_at().is_none());
    let same = answered(dial).await;
    assert_eq!(JsValue::from(same), JsValue::from(call.clone()));
    assert_eq!(call.state(), "active");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn the_network_calls_back() {
    let phone = registered("alice").await;
    let events = Events::of_phone(&phone, "incoming");
    let call = answered(phone.dial(&number("607"), &JsValue::UNDEFINED)).await;
    ok(call.hangup()).await;
    let back = incoming(&events).await;
    ok(back.answer()).await;
    assert_eq!((back.state(), back.direction()), ("active".into(), "incoming".into()));
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn two_phones_talk() {
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let rings = Events::of_phone(&bob, "incoming");
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    let callee = incoming(&rings).await;
    assert_eq!((callee.state(), callee.direction()), ("ringing".into(), "incoming".into()));
    assert!(callee.strategy().is_null());
    assert_eq!(string(&callee.remote(), "uri"), "sip:alice@sandbox.test");
    assert!(!string(&callee.remote(), "displayName").is_empty());
    assert_eq!(bob.calls().get(0), JsValue::from(callee.clone()));
    // No microphone before the answer.
    assert!(callee.local_stream().is_none());
    ok(callee.answer()).await;
    assert_eq!(callee.state(), "active");
    let caller = answered(dial).await;
    assert_eq!(caller.id(), callee.id());

    for call in [&caller, &callee] {
        until("a remote stream", || call.remote_stream().is_some()).await;
        hears(call).await;
        let before = stats(call).await;
        packets_flow(call, &before).await;
    }
    // The callee hangs up; the caller is told.
    let ended = Events::of_call(&caller, "ended");
    ok(callee.hangup()).await;
    until("the caller's end", || ended.len() == 1).await;
    assert_eq!(ended_by(&caller), ("completed".into(), "remote".into()));
    assert_eq!(ended_by(&callee), ("completed".into(), "local".into()));
    assert_eq!(code_of(callee.answer()).await, "ended");

    // A call that is refused, with the status that was asked for.
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    until("the second ring", || rings.len() == 2).await;
    let callee: Call = get(&rings.last(), "call").unchecked_into();
    assert_eq!(code_of(callee.reject_with(&object([("status", 200.into())]))).await, "invalid_config");
    ok(callee.reject()).await;
    assert_eq!(callee.state(), "ended");
    let error = failed(dial).await;
    assert_eq!((code(&error), number_of(&error, "sipStatus")), ("declined".into(), 603.0));
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    until("the third ring", || rings.len() == 3).await;
    let callee: Call = get(&rings.last(), "call").unchecked_into();
    ok(callee.reject_with(&object([("status", 486.into())]))).await;
    assert_eq!(code(&failed(dial).await), "busy");

    // A caller who gives up.
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    until("the fourth ring", || rings.len() == 4).await;
    let callee: Call = get(&rings.last(), "call").unchecked_into();
    let caller: Call = alice.calls().get(0).unchecked_into();
    let missed = Events::of_call(&callee, "ended");
    ok(caller.hangup()).await;
    failed(dial).await;
    until("the missed call", || missed.len() == 1).await;
    assert_eq!(ended_by(&callee), ("cancelled".into(), "remote".into()));
    bye(alice).await;
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn tones_are_sent_in_the_audio_and_by_info() {
    let phone = registered("alice").await;
    let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    // Lined up: the second starts when the first is done.
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    let note = |name: &'static str| {
        let order = order.clone();
        wasm_bindgen::closure::Closure::<dyn FnMut(JsValue)>::new(move |_| order.borrow_mut().push(name))
    };
    let (first_done, second_done) = (note("first"), note("second"));
    let first = call.send_dtmf(&"12#".into(), &JsValue::UNDEFINED).then(&first_done);
    let second = call
        .send_dtmf(&"D".into(), &object([("duration", 60.into()), ("gap", 40.into())]))
        .then(&second_done);
    ok(first).await;
    ok(second).await;
    assert_eq!(*order.borrow(), ["first", "second"]);
    ok(call.send_dtmf(&"5*".into(), &object([("method", "info".into())]))).await;
    assert_eq!(code_of(call.send_dtmf(&"12x".into(), &JsValue::UNDEFINED)).await, "invalid_config");
    assert_eq!(
        code_of(call.send_dtmf(&"1".into(), &object([("duration", 1.into())]))).await,
        "invalid_config"
    );
    // What is not sent when the call ends is told.
    let unsent = call.send_dtmf(&"1234567890".into(), &JsValue::UNDEFINED);
    ok(call.hangup()).await;
    assert_eq!(code_of(unsent).await, "ended");
    bye(phone).await;
}

/// Refuses tones as Chromium does, until it is dropped: so many times.
struct Refusing(js_sys::Function);

impl Refusing {
    fn new(times: f64) -> Self {
        let body = "const kind = RTCDTMFSender.prototype;
            const native = kind.insertDTMF;
            globalThis.refusals = 0;
            kind.insertDTMF = function (...tones) {
                if (globalThis.refusals >= times) return native.apply(this, tones);
                globalThis.refusals += 1;
                throw new DOMException('this sender cannot send DTMF', 'InvalidStateError');
            };
            return () => { kind.insertDTMF = native; };";
        let wrap = js_sys::Function::new_with_args("times", body);
        Self(wrap.call1(&JsValue::UNDEFINED, &times.into()).unwrap().unchecked_into())
    }

    fn refusals(&self) -> f64 {
        number_of(&js_sys::global(), "refusals")
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.call0(&JsValue::UNDEFINED).unwrap();
    }
}

#[wasm_bindgen_test]
async fn tones_that_the_browser_refuses_are_tried_again_for_a_while() {
    let phone = registered("alice").await;
    let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    let refusing = Refusing::new(3.0);
    let first = call.send_dtmf(&"12".into(), &JsValue::UNDEFINED);
    let second = call.send_dtmf(&"3".into(), &object([("method", "info".into())]));
    ok(first).await;
    ok(second).await;
    assert_eq!(refusing.refusals(), 3.0);
    drop(refusing);
    let refusing = Refusing::new(f64::INFINITY);
    let begun = js_sys::Date::now();
    assert_eq!(code_of(call.send_dtmf(&"1".into(), &JsValue::UNDEFINED)).await, "media_unavailable");
    assert!(js_sys::Date::now() - begun >= 1900.0);
    assert!((2.0..=50.0).contains(&refusing.refusals()));
    drop(refusing);
    ok(call.send_dtmf(&"1".into(), &JsValue::UNDEFINED)).await;
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn codecs_are_used_in_the_order_of_preference() {
    let config = settings("alice").await;
    let codecs: js_sys::Array = ["pcma"].iter().map(|name| JsValue::from_str(name)).collect();
    set(&config, "codecs", &codecs);
    let (alice, bob) = (phone(&config), registered("bob").await);
    ok(alice.connect()).await;
    let rings = Events::of_phone(&bob, "incoming");
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    ok(incoming(&rings).await.answer()).await;
    let call = answered(dial).await;
    let codec = eventually("a codec", || async { get(&stats(&call).await, "codec").as_string() }).await;
    assert_eq!(codec, "PCMA");
    bye(alice).await;
    bye(bob).await;
}
