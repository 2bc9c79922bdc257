//! What the API promises whatever the application does with it, in a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "clippy knows `#[test]` only")]

mod web;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Object, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use wasm_softphone::js::{DialStrategy, originate_call, register_provider};
use web::*;

wasm_bindgen_test_configure!(run_in_browser);

fn offline() -> JsValue {
    object([("servers", "ws://127.0.0.1:9/sip".into()), ("uri", "sip:alice@sandbox.test".into())])
}

/// A property whose getter throws.
fn throwing_getter(key: &str) -> JsValue {
    let object: Object = Object::new();
    let getter = Function::new_no_args("throw new Error('from a getter')");
    let descriptor: Object =
        web::object([("get", getter.into()), ("enumerable", true.into())]).unchecked_into();
    Object::define_property(&object, &key.into(), &descriptor);
    object.into()
}

// ---- configuration

#[wasm_bindgen_test]
fn a_wrong_option_is_named() {
    for (field, value) in
        [("servers", JsValue::from("http://x")), ("uri", 1.into()), ("strategy", "x".into())]
    {
        let config = offline();
        set(&config, field, &value);
        let error = DialStrategy::new(&config).map(|_| ()).unwrap_err();
        assert_eq!(code(&error), "invalid_config");
        assert!(string(&error, "message").contains(field));
    }
    let error = DialStrategy::new(&throwing_getter("uri")).map(|_| ()).unwrap_err();
    assert_eq!(code(&error), "invalid_config");
    assert!(!string(&error, "message").contains("from a getter"));
}

#[wasm_bindgen_test]
async fn api_credentials_are_refused_everywhere() {
    let phone = phone(&offline());
    for bad in [
        object([("apiUsername", "u".into())]),
        object([("apiPassword", "p".into())]),
        object([("api_key", "k".into())]),
        object([("auth", object([("user", "u".into())]))]),
        object([("proxyHeaders", object([("authorization", "basic eDp5".into())]))]),
        object([("proxyUrl", "https://u:p@proxy.example.com".into())]),
    ] {
        for error in [
            DialStrategy::new(&bad).map(|_| ()).unwrap_err(),
            phone.configure(&bad).unwrap_err(),
            failed(phone.dial(&"sip:bob@sandbox.test".into(), &bad)).await,
        ] {
            assert_eq!(code(&error), "invalid_config");
            assert!(string(&error, "hint").contains("proxy"), "{error:?}");
        }
    }
    phone.free();
}

#[wasm_bindgen_test]
async fn an_unconfigured_phone_says_so() {
    let phone = phone(&JsValue::UNDEFINED);
    assert_eq!(code_of(phone.connect()).await, "not_configured");
    let error = failed(phone.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "not_configured");
    assert_eq!((phone.error(), get(&phone.last_result(), "error")), (error.clone(), error));
    ok(phone.disconnect()).await;
    // It can be completed in steps.
    phone.configure(&object([("uri", "sip:alice@sandbox.test".into())])).unwrap();
    assert_eq!(code_of(phone.connect()).await, "not_configured");
    phone.configure(&object([("servers", "ws://127.0.0.1:9/sip".into())])).unwrap();
    assert_eq!(code_of(phone.connect()).await, "transport");
    phone.free();
}

// ---- strategies

#[wasm_bindgen_test]
async fn the_provider_and_the_destination_decide() {
    let phone = phone(&offline());
    assert_eq!(phone.strategy(), "sip-invite");
    phone.configure(&object([("providerId", "46elks".into()), ("autoDetect", true.into())])).unwrap();
    assert_eq!(phone.strategy(), "rest-originate");
    assert_eq!(phone.strategy_for("+46101234567").unwrap(), "rest-originate");
    assert_eq!(phone.strategy_for("sip:bob@example.com").unwrap(), "sip-invite");
    assert_eq!(code(&phone.strategy_for("bob@example.com").unwrap_err()), "invalid_destination");
    assert!(phone.strategy_reason("+46101234567").unwrap().contains("REST"));
    assert!(phone.strategy_reason("sip:bob@example.com").unwrap().contains("INVITE"));
    assert_eq!(code(&phone.strategy_reason("bob@example.com").unwrap_err()), "invalid_destination");
    for local in ["bob", "600", "*97"] {
        assert_eq!(phone.strategy_for(local).unwrap(), "sip-invite");
        assert!(phone.strategy_reason(local).unwrap().contains("extension"));
    }

    let error = failed(phone.dial(&"+46101234567".into(), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "proxy_required");
    assert!(string(&error, "hint").contains("proxy"));
    assert_eq!(string(&phone.last_result(), "strategy"), "rest-originate");
    phone.configure(&object([("proxyUrl", "/calls".into())])).unwrap();
    let error = failed(phone.dial(&"+46101234567".into(), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "not_connected");
    assert_eq!(string(&phone.last_result(), "strategy"), "rest-originate");
    let error =
        failed(phone.dial(&"+46101234567".into(), &object([("strategy", "sip-invite".into())]))).await;
    assert_eq!(code(&error), "not_connected");
    assert_eq!(string(&phone.last_result(), "strategy"), "sip-invite");
    let rest = object([("strategy", "rest-originate".into())]);
    let error = failed(phone.dial(&"sip:bob@example.com".into(), &rest)).await;
    assert_eq!(code(&error), "unsupported_by_provider");
    // There is no INVITE to put them in.
    let headers = object([("extraHeaders", object([("X-Tag", "1".into())]))]);
    let error = failed(phone.dial(&"+46101234567".into(), &headers)).await;
    assert_eq!(code(&error), "invalid_config");
    assert!(string(&error, "message").starts_with("extraHeaders"));
    assert!(!phone.is_dialing() && phone.error() == error);
    assert_eq!(
        code_of(originate_call(&object([("destination", "+46101234567".into())]))).await,
        "proxy_required"
    );
    assert_eq!(
        code_of(originate_call(&object([("proxyUrl", "/calls".into())]))).await,
        "invalid_destination"
    );
    phone.free();
}

/// The options that the types document for one interface, or in the object type that follows `start`.
fn documented(start: &str) -> Vec<&'static str> {
    let types = include_str!("../pkg/index.d.ts");
    let from = types.find(start).unwrap_or_else(|| panic!("no {start}")) + start.len();
    let mut names = Vec::new();
    // How deep in braces: what an option's own object holds is no option.
    let mut depth = 1_usize;
    for line in types[from..].lines().map(str::trim).filter(|line| !line.starts_with(['/', '*'])) {
        for part in line.split_inclusive([';', '{', '}']) {
            if let Some((name, _)) = part.split_once(':').filter(|_| depth == 1) {
                let name = name.trim().trim_end_matches('?');
                if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    names.push(name);
                }
            }
            match part.as_bytes().last() {
                Some(b'{') => depth += 1,
                Some(b'}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                assert!(names.len() > 2, "{start}: {names:?}");
                return names;
            }
        }
    }
    panic!("{start} has no end");
}

#[wasm_bindgen_test]
fn the_documented_options_are_found() {
    let names = documented("export interface DialStrategyConfig {");
    assert_eq!(names.first(), Some(&"servers"));
    assert_eq!(names.last(), Some(&"debug"));
    assert!(names.contains(&"sessionTimers") && !names.contains(&"expires"), "{names:?}");
    let names = documented("export function originateCall(options: {");
    assert_eq!(names, ["proxyUrl", "destination", "callerId", "headers", "signal"]);
}

#[wasm_bindgen_test]
async fn every_documented_option_refuses_what_looks_like_a_credential() {
    const SECRET: &str = "hunter2hunter2";
    let basic = || object([("Authorization", format!("Basic {SECRET}").into())]);
    let credentials = || {
        let nested = object([("apiUsername", "u".into()), ("apiPassword", SECRET.into())]);
        [
            nested.clone(),
            object([("rest", nested)]),
            basic(),
            object([("headers", basic())]),
            object([("HTTP_AUTHORIZATION", format!("bAsIc\t{SECRET}").into())]),
            js_sys::Array::of1(&object([("api-key", SECRET.into())])).into(),
            format!("https://user:{SECRET}@api.example.com/a1").into(),
            format!("wss://{SECRET}@sip.example.com").into(),
        ]
    };
    let prompt = Prompt::new();
    let phone = phone(&offline());
    let check = |what: &str, error: &JsValue| {
        assert_eq!(code(error), "invalid_config", "{what}");
        let text = format!("{} {}", string(error, "message"), string(error, "hint"));
        assert!(text.contains("proxy") && !text.contains(SECRET), "{what}: {text}");
    };
    for bad in credentials() {
        for name in documented("export interface DialStrategyConfig {") {
            let config = object([(name, bad.clone())]);
            check(name, &DialStrategy::new(&config).map(|_| ()).unwrap_err());
            check(name, &phone.configure(&config).unwrap_err());
        }
        for name in documented("export interface SipCredentials {") {
            let config = object([("credentials", object([(name, bad.clone())]))]);
            check(name, &phone.configure(&config).unwrap_err());
        }
        for name in documented("export interface DialOptions {") {
            // Whatever the application likes.
            if name == "metadata" {
                continue;
            }
            let options = object([(name, bad.clone())]);
            check(name, &failed(phone.dial(&"sip:bob@sandbox.test".into(), &options)).await);
        }
        for name in documented("export interface Provider {") {
            check(name, &register_provider(&object([(name, bad.clone())])).unwrap_err());
        }
        for name in documented("export function originateCall(options: {") {
            let options = object([(name, bad.clone())]);
            check(name, &settle(originate_call(&options)).await.unwrap_err());
        }
    }
    assert_eq!(prompt.open(), 0);
    prompt.restore();
    phone.free();
}

/// What no option takes: a symbol, a number out of every range, a list of lists.
fn wrong() -> [JsValue; 3] {
    let lists = js_sys::Array::of1(&js_sys::Array::of1(&js_sys::Array::new()));
    [js_sys::Symbol::for_("wrong").into(), (-1).into(), lists.into()]
}

#[wasm_bindgen_test]
async fn every_documented_option_of_a_wrong_type_is_named() {
    let phone = phone(&offline());
    let check = |name: &str, error: &JsValue| {
        assert_eq!(code(error), "invalid_config", "{name}");
        let message = string(error, "message");
        // The field, and what it should be.
        let problem = message.split_once(": ").unwrap().1;
        assert!(message.starts_with(name) && problem.len() > 10, "{name}: {message}");
        assert_eq!(get(error, "retryable"), JsValue::FALSE, "{name}");
    };
    for bad in wrong() {
        for name in documented("export interface DialStrategyConfig {") {
            let config = object([(name, bad.clone())]);
            check(name, &DialStrategy::new(&config).map(|_| ()).unwrap_err());
            check(name, &phone.configure(&config).unwrap_err());
        }
        for name in documented("export interface Server {") {
            let server = object([("url", "wss://sip.example.com".into())]);
            set(&server, name, &bad);
            let servers = js_sys::Array::of1(&server);
            // Of the one without a URL the list itself is said to be wrong.
            let error = phone.configure(&object([("servers", servers.into())])).unwrap_err();
            assert_eq!(code(&error), "invalid_config", "{name}");
        }
        for name in documented("export interface SipCredentials {") {
            let credentials = object([("password", "x".into())]);
            set(&credentials, name, &bad);
            check(name, &phone.configure(&object([("credentials", credentials)])).unwrap_err());
        }
        for name in documented("export interface DialOptions {") {
            // Whatever the application likes.
            if name == "metadata" {
                continue;
            }
            let options = object([(name, bad.clone())]);
            check(name, &failed(phone.dial(&"sip:bob@sandbox.test".into(), &options)).await);
        }
        for name in documented("export interface Provider {") {
            let strategies = js_sys::Array::of1(&"sip-invite".into());
            let provider = object([("id", "wrong".into()), ("strategies", strategies.into())]);
            set(&provider, name, &bad);
            check(name, &register_provider(&provider).unwrap_err());
        }
        for name in documented("export function originateCall(options: {") {
            let options = object([
                ("proxyUrl", "https://proxy.example.com".into()),
                ("destination", "+46101234567".into()),
            ]);
            set(&options, name, &bad);
            check(name, &settle(originate_call(&options)).await.unwrap_err());
        }
    }
    // The configuration is as it was.
    assert_eq!(phone.strategy(), "sip-invite");
    assert_eq!(phone.strategy_for("sip:bob@example.com").unwrap(), "sip-invite");
    phone.free();
}

#[wasm_bindgen_test]
async fn no_option_brings_a_line_of_its_own_into_a_message() {
    const LINE: &str = "x\r\nX-Injected: 1";
    let line = || JsValue::from(LINE);
    let wire = Wire::new();
    // Each in a working configuration: it is refused, or does no harm.
    for name in documented("export interface DialStrategyConfig {") {
        for value in [line(), js_sys::Array::of1(&line()).into()] {
            let config = settings("alice").await;
            set(&config, name, &value);
            let Ok(made) = DialStrategy::new(&config) else { continue };
            let phone: Phone = JsValue::from(made).unchecked_into();
            settle(phone.connect()).await.ok();
            ok(phone.disconnect()).await;
            phone.free();
        }
    }
    for name in documented("export interface SipCredentials {") {
        let config = settings("alice").await;
        set(&get(&config, "credentials"), name, &line());
        let Ok(made) = DialStrategy::new(&config) else { continue };
        let phone: Phone = JsValue::from(made).unchecked_into();
        settle(phone.connect()).await.ok();
        ok(phone.disconnect()).await;
        phone.free();
    }
    let phone = registered("alice").await;
    let undefined = &JsValue::UNDEFINED;
    for uri in ["sip:bob@sandbox.test\r\nX-Injected: 1", "sip:bo\r\nX-Injected: 1 b@sandbox.test"] {
        let uri = uri.into();
        assert_eq!(code(&failed(phone.dial(&uri, undefined)).await), "invalid_destination");
        for refused in [phone.send_message(&uri, &"x".into(), undefined), phone.send_options(&uri)] {
            assert_eq!(code_of(refused).await, "invalid_destination");
        }
        assert!(phone.subscribe(&uri, &"presence".into(), undefined).is_err());
    }
    for headers in [object([("X-A", line())]), object([(LINE, "1".into())])] {
        let options = object([("extraHeaders", headers)]);
        assert_eq!(code(&failed(phone.dial(&number("600"), &options)).await), "invalid_config");
        let refused = phone.send_message(&number("600"), &"x".into(), &options);
        assert_eq!(code_of(refused).await, "invalid_config");
    }
    for (event, name) in
        [(line(), "expires"), ("presence".into(), "accept"), ("presence".into(), "contentType")]
    {
        let options = object([(name, line())]);
        let target = "sip:alice@sandbox.test".into();
        if name != "contentType" {
            assert!(phone.subscribe(&target, &event, &options).is_err());
        }
        if name != "accept" {
            assert!(phone.publish(&event, &"x".into(), &options).is_err());
        }
    }
    bye(phone).await;
    wire.restore();
    assert!(wire.holds("REGISTER sip:sandbox.test"));
    assert!(!wire.holds("\nX-Injected"), "a line of the application's is on the wire");
}

#[wasm_bindgen_test]
fn providers_can_be_added() {
    let strategies: js_sys::Array = ["rest-originate"].iter().map(|name| JsValue::from_str(name)).collect();
    let provider = object([("id", "mine".into()), ("strategies", strategies.into())]);
    register_provider(&provider).unwrap();
    assert_eq!(code(&register_provider(&provider).unwrap_err()), "invalid_config");
    let config = offline();
    set(&config, "providerId", &"mine".into());
    let phone = phone(&config);
    assert_eq!(phone.strategy(), "rest-originate");
    phone.free();
}

#[wasm_bindgen_test]
async fn what_cannot_be_dialled_is_refused_before_anything_happens() {
    let phone = phone(&offline());
    let prompt = Prompt::new();
    for bad in [
        JsValue::UNDEFINED,
        JsValue::NULL,
        46101234567.0.into(),
        "".into(),
        "112".into(),
        "0701234567".into(),
        "bob@example.com".into(),
        "sip:bob@example.com\r\nX: y".into(),
        "javascript:alert(1)".into(),
        Object::new().into(),
    ] {
        let error = failed(phone.dial(&bad, &JsValue::UNDEFINED)).await;
        assert_eq!(code(&error), "invalid_destination", "{bad:?}");
        assert_eq!(phone.error(), error);
        assert!(!phone.is_dialing());
    }
    let error = failed(phone.dial(&"sip:bob@example.com".into(), &throwing_getter("timeout"))).await;
    assert_eq!(code(&error), "invalid_config");
    let error = failed(phone.dial(&"sip:bob@example.com".into(), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "not_connected");
    assert_eq!(prompt.open(), 0);
    prompt.restore();
    phone.free();
}

// ---- listeners

#[wasm_bindgen_test]
async fn listeners_come_and_go() {
    let phone = phone(&offline());
    assert_eq!(code(&phone.on("ring", &function(|_, _| {})).unwrap_err()), "invalid_config");
    assert_eq!(code(&phone.on("call", &1.into()).unwrap_err()), "invalid_config");
    let kept = Events::of_phone(&phone, "connection");
    let removed = Events::default();
    let remove = phone.on("connection", &removed.listener()).unwrap();
    remove.call0(&JsValue::UNDEFINED).unwrap();
    remove.call0(&JsValue::UNDEFINED).unwrap();
    // One that an earlier listener takes away is not called any more.
    let later = Rc::new(RefCell::new(None::<Function>));
    let early = later.clone();
    phone
        .on(
            "connection",
            &function(move |_, _| {
                let remove = early.borrow_mut().take();
                if let Some(remove) = remove {
                    remove.call0(&JsValue::UNDEFINED).unwrap();
                }
            }),
        )
        .unwrap();
    let never = Events::default();
    later.replace(Some(phone.on("connection", &never.listener()).unwrap()));
    assert_eq!(code_of(phone.connect()).await, "transport");
    assert!(kept.len() >= 2);
    assert_eq!((removed.len(), never.len()), (0, 0));
    phone.free();
    // Harmless after the end.
    remove.call0(&JsValue::UNDEFINED).unwrap();
}

#[wasm_bindgen_test]
async fn a_listener_that_throws_disturbs_nobody() {
    let uncaught = Uncaught::new();
    let phone = phone(&settings("alice").await);
    let throws: JsValue = Function::new_no_args("throw new Error('from a listener')").into();
    for kind in ["connection", "registration", "call"] {
        phone.on(kind, &throws).unwrap();
    }
    let after = Events::of_phone(&phone, "registration");
    ok(phone.connect()).await;
    assert_eq!(after.field("state"), ["registering", "registered"]);
    assert_eq!(uncaught.count(), 4);
    // Neither does a callback.
    let call = answered(phone.dial(&number("600"), &object([("onProgress", throws.clone())]))).await;
    call.on("ended", &throws).unwrap();
    ok(call.hangup()).await;
    bye(phone).await;
    uncaught.restore();
    assert!(uncaught.count() > 8);
}

#[wasm_bindgen_test]
async fn commands_from_within_listeners_work_and_events_keep_their_order() {
    let phone = phone(&settings("alice").await);
    let order = Rc::new(RefCell::new(Vec::new()));
    let dialled = Rc::new(RefCell::new(None::<js_sys::Promise>));
    phone
        .on("registration", &{
            let (phone, order, dialled) = (phone.clone(), order.clone(), dialled.clone());
            function(move |event, _| {
                let state = string(&event, "state");
                order.borrow_mut().push(format!("registration {state}"));
                if state == "registered" {
                    // Every getter, and a command whose first events come before this listener returns.
                    assert_eq!(phone.registration(), "registered");
                    let (options, _) = progress();
                    *dialled.borrow_mut() = Some(phone.dial(&number("600"), &options));
                    assert!(phone.is_dialing());
                    assert_eq!(phone.calls().length(), 1);
                    order.borrow_mut().push("dialled".to_owned());
                }
            })
        })
        .unwrap();
    let second = order.clone();
    phone
        .on(
            "registration",
            &function(move |event, _| {
                second.borrow_mut().push(format!("second {}", string(&event, "state")));
            }),
        )
        .unwrap();
    phone
        .on("call", &{
            let order = order.clone();
            function(move |event, _| {
                let (call, state): (Call, _) =
                    (get(&event, "call").unchecked_into(), string(&event, "state"));
                order.borrow_mut().push(format!("call {state}"));
                assert_eq!(call.state(), state);
                if state == "active" {
                    // Hanging up from within, twice, is once.
                    let (_, _) = (call.hangup(), call.hangup());
                }
            })
        })
        .unwrap();
    ok(phone.connect()).await;
    let dial = dialled.borrow().clone().unwrap();
    answered(dial).await;
    until("the end", || order.borrow().iter().any(|line| line == "call ended")).await;
    let order = order.borrow().clone();
    let expected_start = [
        "registration registering",
        "second registering",
        "registration registered",
        "dialled",
        "second registered",
        "call new",
    ];
    assert_eq!(order.iter().take(6).map(String::as_str).collect::<Vec<_>>(), expected_start, "{order:?}");
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn freeing_from_within_a_listener_is_allowed() {
    let phone = phone(&settings("alice").await);
    let freed = Rc::new(Cell::new(false));
    phone
        .on("connection", &{
            let (phone, freed) = (phone.clone(), freed.clone());
            function(move |event, _| {
                if string(&event, "state") == "connected" && !freed.replace(true) {
                    phone.free();
                }
            })
        })
        .unwrap();
    assert_eq!(code_of(phone.connect()).await, "aborted");
    assert!(freed.get());
}

// ---- dial

#[wasm_bindgen_test]
async fn only_one_dial_at_a_time() {
    let phone = registered("alice").await;
    let (options, stages) = progress();
    let first = phone.dial(&number("603"), &options);
    let error = failed(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    assert_eq!(code(&error), "already_dialing");
    assert_eq!((phone.error(), get(&phone.last_result(), "error")), (error.clone(), error));
    assert!(phone.is_dialing());
    let refused = phone.configure(&object([("displayName", "A".into())])).unwrap_err();
    assert_eq!(code(&refused), "already_dialing");
    // A no-op meanwhile.
    phone.reset();
    assert!(!phone.error().is_null());
    // The first is undisturbed.
    until("ringing", || reached(&stages, "ringing")).await;
    assert_eq!(phone.calls().length(), 1);
    ok(phone.calls().get(0).unchecked_into::<Call>().hangup()).await;
    failed(first).await;
    assert!(!phone.is_dialing());
    phone.configure(&object([("displayName", "A".into())])).unwrap();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_dial_from_within_its_own_options_is_refused() {
    let phone = phone(&offline());
    let options: Object = Object::new();
    let inner = Rc::new(RefCell::new(None));
    let getter = {
        let (phone, inner) = (phone.clone(), inner.clone());
        Closure::<dyn Fn() -> JsValue>::new(move || {
            if inner.borrow().is_none() {
                let dial = phone.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
                *inner.borrow_mut() = Some(dial);
            }
            JsValue::UNDEFINED
        })
        .into_js_value()
    };
    Object::define_property(
        &options,
        &"timeout".into(),
        &object([("get", getter), ("enumerable", true.into())]).unchecked_into(),
    );
    let outer = phone.dial(&"sip:bob@sandbox.test".into(), &options);
    let inner = inner.borrow_mut().take().unwrap();
    assert_eq!(code(&failed(inner).await), "already_dialing");
    assert_eq!(code(&failed(outer).await), "not_connected");
    phone.free();
}

// ---- the microphone

#[wasm_bindgen_test]
async fn a_refused_or_missing_microphone_is_told() {
    let phone = registered("alice").await;
    let prompt = Prompt::new();
    for (name, expected) in [
        ("NotAllowedError", "media_denied"),
        ("SecurityError", "media_denied"),
        ("NotFoundError", "media_unavailable"),
        ("NotReadableError", "media_unavailable"),
        ("OverconstrainedError", "media_unavailable"),
    ] {
        let opened = prompt.open();
        let dial = phone.dial(&number("600"), &JsValue::UNDEFINED);
        until("the prompt", || prompt.open() > opened).await;
        prompt.refuse(name);
        let error = failed(dial).await;
        assert_eq!(code(&error), expected, "{name}");
        assert!(!string(&error, "hint").is_empty());
        assert_eq!(phone.calls().length(), 0);
    }
    let constraints = object([("echoCancellation", JsValue::FALSE)]);
    let dial = phone.dial(&number("600"), &object([("audio", constraints.clone())]));
    until("the prompt", || prompt.open() > 5).await;
    assert_eq!(get(&prompt.constraints(), "audio"), constraints);
    ok(prompt.allow()).await;
    let call = answered(dial).await;
    ok(call.hangup()).await;
    assert_eq!(prompt.live(), 0);
    prompt.restore();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_microphone_that_is_granted_after_the_hang_up_is_off_at_once() {
    let phone = registered("alice").await;
    let prompt = Prompt::new();
    let dial = phone.dial(&number("600"), &JsValue::UNDEFINED);
    until("the prompt", || prompt.open() == 1).await;
    ok(phone.calls().get(0).unchecked_into::<Call>().hangup()).await;
    failed(dial).await;
    ok(prompt.allow()).await;
    assert_eq!(prompt.tracks().length(), 1);
    until("the microphone to be off", || prompt.live() == 0).await;
    prompt.restore();
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn a_call_that_is_muted_before_its_microphone_opens_stays_silent() {
    let phone = registered("alice").await;
    let prompt = Prompt::new();
    let dial = phone.dial(&number("600"), &JsValue::UNDEFINED);
    until("the prompt", || prompt.open() == 1).await;
    phone.calls().get(0).unchecked_into::<Call>().mute();
    ok(prompt.allow()).await;
    let call = answered(dial).await;
    assert!(call.muted());
    assert_eq!(get(&prompt.tracks().get(0), "enabled"), JsValue::FALSE);
    call.unmute();
    assert_eq!(get(&prompt.tracks().get(0), "enabled"), JsValue::TRUE);
    prompt.restore();
    bye(phone).await;
}

// ---- free() in the middle of things

#[wasm_bindgen_test]
async fn freed_while_the_microphone_prompt_is_open() {
    let phone = registered("alice").await;
    let prompt = Prompt::new();
    let dial = phone.dial(&number("600"), &JsValue::UNDEFINED);
    until("the prompt", || prompt.open() == 1).await;
    phone.free();
    assert_eq!(code(&failed(dial).await), "aborted");
    ok(prompt.allow()).await;
    until("the microphone to be off", || prompt.live() == 0).await;
    prompt.restore();
}

#[wasm_bindgen_test]
async fn freed_while_connecting() {
    let phone = phone(&settings("alice").await);
    let connect = phone.connect();
    phone.free();
    assert_eq!(code_of(connect).await, "aborted");
}

#[wasm_bindgen_test]
async fn freed_during_a_call() {
    let prompt = Prompt::new();
    let (alice, bob) = (registered("alice").await, registered("bob").await);
    let rings = Events::of_phone(&bob, "incoming");
    let dial = alice.dial(&"sip:bob@sandbox.test".into(), &JsValue::UNDEFINED);
    until("the prompt", || prompt.open() == 1).await;
    ok(prompt.allow()).await;
    let callee = incoming(&rings).await;
    let answer = callee.answer();
    until("the second prompt", || prompt.open() == 2).await;
    ok(prompt.allow()).await;
    ok(answer).await;
    let caller = answered(dial).await;
    assert_eq!(prompt.live(), 2);
    let ended = Events::of_call(&callee, "ended");
    alice.free();
    // At once, not when the server has answered.
    assert_eq!(prompt.live(), 1);
    until("the goodbye", || ended.len() == 1).await;
    assert_eq!(ended.field("by"), ["remote"]);
    until("its end", || caller.state() == "ended").await;
    ok(caller.hangup()).await;
    prompt.restore();
    bye(bob).await;
}

#[wasm_bindgen_test]
async fn freeing_a_call_ends_it() {
    let phone = registered("alice").await;
    let ended = Events::of_phone(&phone, "call");
    let call = answered(phone.dial(&number("600"), &JsValue::UNDEFINED)).await;
    call.free();
    until("the end", || ended.field("state").last().map(String::as_str) == Some("ended")).await;
    assert_eq!(phone.calls().length(), 0);
    bye(phone).await;
}

#[wasm_bindgen_test]
async fn what_a_call_cannot_do_now_is_said() {
    let phone = registered("alice").await;
    let ringing = phone.dial(&number("603"), &JsValue::UNDEFINED);
    until("the call", || phone.calls().length() == 1).await;
    let call: Call = phone.calls().get(0).unchecked_into();
    for method in ["hold", "unhold", "transfer"] {
        let function: Function = Reflect::get(&call, &method.into()).unwrap().unchecked_into();
        let promise = function.call1(&call, &"sip:bob@sandbox.test".into()).unwrap();
        assert_eq!(code_of(promise.unchecked_into()).await, "invalid_state");
    }
    assert_eq!(code_of(call.answer()).await, "invalid_state");
    assert_eq!(code_of(call.reject()).await, "invalid_state");
    assert_ne!(call.state(), "ended");
    ok(call.hangup()).await;
    assert_eq!(code(&failed(ringing).await), "aborted");
    bye(phone).await;
}
