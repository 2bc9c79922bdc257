//! What the browser tests share. The module is used as an application uses it: through its JavaScript objects.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of this")]

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, JSON, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_softphone::js::DialStrategy;
use web_sys::MediaStream;

#[wasm_bindgen(module = "/tests/web/page.js")]
extern "C" {
    fn pause(ms: u32) -> Promise;
    fn within(promise: &Promise, ms: f64) -> Promise;

    pub type Meter;
    #[wasm_bindgen(constructor)]
    pub fn new(stream: &JsValue) -> Meter;
    #[wasm_bindgen(method)]
    pub fn level(this: &Meter) -> f64;
    #[wasm_bindgen(method)]
    pub fn peak(this: &Meter) -> f64;

    pub type Prompt;
    #[wasm_bindgen(constructor)]
    pub fn new() -> Prompt;
    #[wasm_bindgen(method, getter)]
    pub fn open(this: &Prompt) -> u32;
    #[wasm_bindgen(method, getter)]
    pub fn constraints(this: &Prompt) -> JsValue;
    #[wasm_bindgen(method)]
    pub fn allow(this: &Prompt) -> Promise;
    #[wasm_bindgen(method)]
    pub fn refuse(this: &Prompt, name: &str);
    #[wasm_bindgen(method)]
    pub fn live(this: &Prompt) -> u32;
    #[wasm_bindgen(method, getter)]
    pub fn tracks(this: &Prompt) -> Array;
    #[wasm_bindgen(method)]
    pub fn restore(this: &Prompt);

    pub type Watch;
    #[wasm_bindgen(constructor)]
    pub fn new() -> Watch;
    #[wasm_bindgen(method)]
    pub fn total(this: &Watch) -> String;
    #[wasm_bindgen(method)]
    pub fn left(this: &Watch) -> String;
    #[wasm_bindgen(method)]
    pub fn cut(this: &Watch);
    #[wasm_bindgen(method, getter, js_name = mostTimers)]
    pub fn most_timers(this: &Watch) -> u32;
    #[wasm_bindgen(method)]
    pub fn restore(this: &Watch);

    /// What is sent over WebSockets while it is there.
    pub type Wire;
    #[wasm_bindgen(constructor)]
    pub fn new() -> Wire;
    #[wasm_bindgen(method)]
    pub fn holds(this: &Wire, text: &str) -> bool;
    #[wasm_bindgen(method)]
    pub fn receive(this: &Wire, text: &str);
    #[wasm_bindgen(method)]
    pub fn restore(this: &Wire);

    pub type Uncaught;
    #[wasm_bindgen(constructor)]
    pub fn new() -> Uncaught;
    #[wasm_bindgen(method)]
    pub fn count(this: &Uncaught) -> u32;
    #[wasm_bindgen(method)]
    pub fn restore(this: &Uncaught);
}

#[wasm_bindgen]
extern "C" {
    /// `DialStrategy` from JavaScript's side.
    #[derive(Clone)]
    pub type Phone;
    #[wasm_bindgen(method, catch)]
    pub fn configure(this: &Phone, config: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    pub fn connect(this: &Phone) -> Promise;
    #[wasm_bindgen(method)]
    pub fn disconnect(this: &Phone) -> Promise;
    #[wasm_bindgen(method)]
    pub fn dial(this: &Phone, destination: &JsValue, options: &JsValue) -> Promise;
    #[wasm_bindgen(method, js_name = sendMessage)]
    pub fn send_message(this: &Phone, target: &JsValue, body: &JsValue, options: &JsValue) -> Promise;
    #[wasm_bindgen(method, js_name = sendOptions)]
    pub fn send_options(this: &Phone, target: &JsValue) -> Promise;
    #[wasm_bindgen(method, catch)]
    pub fn subscribe(
        this: &Phone,
        target: &JsValue,
        event: &JsValue,
        options: &JsValue,
    ) -> Result<Subscription, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn publish(
        this: &Phone,
        event: &JsValue,
        body: &JsValue,
        options: &JsValue,
    ) -> Result<Subscription, JsValue>;
    #[wasm_bindgen(method)]
    pub fn reset(this: &Phone);
    #[wasm_bindgen(method, catch, js_name = strategyReason)]
    pub fn strategy_reason(this: &Phone, destination: &str) -> Result<String, JsValue>;

    #[wasm_bindgen(method, catch, js_name = strategyFor)]
    pub fn strategy_for(this: &Phone, destination: &str) -> Result<String, JsValue>;
    #[wasm_bindgen(method, getter)]
    pub fn strategy(this: &Phone) -> String;
    #[wasm_bindgen(method, getter, js_name = isDialing)]
    pub fn is_dialing(this: &Phone) -> bool;
    #[wasm_bindgen(method, getter)]
    pub fn error(this: &Phone) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = lastResult)]
    pub fn last_result(this: &Phone) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn connection(this: &Phone) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn registration(this: &Phone) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn calls(this: &Phone) -> Array;
    #[wasm_bindgen(method, catch)]
    pub fn on(this: &Phone, kind: &str, listener: &JsValue) -> Result<Function, JsValue>;
    #[wasm_bindgen(method)]
    pub fn free(this: &Phone);

    /// `Call` from JavaScript's side.
    #[derive(Clone)]
    pub type Call;
    #[wasm_bindgen(method, getter)]
    pub fn id(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn direction(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn strategy(this: &Call) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn state(this: &Call) -> String;
    #[wasm_bindgen(method, getter)]
    pub fn remote(this: &Call) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn muted(this: &Call) -> bool;
    #[wasm_bindgen(method, getter, js_name = localStream)]
    pub fn local_stream(this: &Call) -> Option<MediaStream>;
    #[wasm_bindgen(method, getter, js_name = remoteStream)]
    pub fn remote_stream(this: &Call) -> Option<MediaStream>;
    #[wasm_bindgen(method, getter, js_name = startedAt)]
    pub fn started_at(this: &Call) -> Option<f64>;
    #[wasm_bindgen(method, getter, js_name = endReason)]
    pub fn end_reason(this: &Call) -> JsValue;
    #[wasm_bindgen(method, getter)]
    pub fn headers(this: &Call) -> JsValue;
    #[wasm_bindgen(method)]
    pub fn answer(this: &Call) -> Promise;
    #[wasm_bindgen(method, js_name = answer)]
    pub fn answer_with(this: &Call, options: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    pub fn reject(this: &Call) -> Promise;
    #[wasm_bindgen(method, js_name = reject)]
    pub fn reject_with(this: &Call, options: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    pub fn hangup(this: &Call) -> Promise;
    #[wasm_bindgen(method)]
    pub fn hold(this: &Call) -> Promise;
    #[wasm_bindgen(method)]
    pub fn unhold(this: &Call) -> Promise;
    #[wasm_bindgen(method, getter, js_name = localHold)]
    pub fn local_hold(this: &Call) -> bool;
    #[wasm_bindgen(method)]
    pub fn transfer(this: &Call, target: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    pub fn mute(this: &Call);
    #[wasm_bindgen(method)]
    pub fn unmute(this: &Call);
    #[wasm_bindgen(method, js_name = sendDtmf)]
    pub fn send_dtmf(this: &Call, tones: &JsValue, options: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    pub fn stats(this: &Call) -> Promise;
    #[wasm_bindgen(method, catch)]
    pub fn on(this: &Call, kind: &str, listener: &JsValue) -> Result<Function, JsValue>;
    #[wasm_bindgen(method)]
    pub fn free(this: &Call);

    /// `Subscription`, which is a publication too, from JavaScript's side.
    #[derive(Clone)]
    pub type Subscription;
    #[wasm_bindgen(method, getter)]
    pub fn state(this: &Subscription) -> String;
    #[wasm_bindgen(method, catch)]
    pub fn on(this: &Subscription, kind: &str, listener: &JsValue) -> Result<Function, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub fn update(this: &Subscription, body: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    pub fn unsubscribe(this: &Subscription) -> Promise;
    #[wasm_bindgen(method)]
    pub fn free(this: &Subscription);
}

/// How long a test waits for what must happen.
const DEADLINE_MS: f64 = 20_000.0;

/// Where the sandbox is.
pub fn sandbox() -> &'static str {
    option_env!("SANDBOX_URL").unwrap_or("http://127.0.0.1:8080").trim_end_matches('/')
}

/// The ready-made settings of a user of the sandbox.
pub async fn settings(user: &str) -> JsValue {
    let url = format!("{}/demo.json", sandbox());
    let text = gloo_net::http::Request::get(&url).send().await.unwrap().text().await.unwrap();
    let demo = JSON::parse(&text).unwrap();
    let found = Array::from(&get(&demo, "sip"))
        .iter()
        .find(|config| string(config, "uri").starts_with(&format!("sip:{user}@")))
        .unwrap();
    // Loopback needs no STUN, and a test no network.
    set(&found, "iceServers", &Array::new());
    found
}

/// A phone.
pub fn phone(config: &JsValue) -> Phone {
    JsValue::from(DialStrategy::new(config).unwrap()).unchecked_into()
}

/// A phone of a sandbox user that is registered.
pub async fn registered(user: &str) -> Phone {
    let phone = phone(&settings(user).await);
    ok(phone.connect()).await;
    assert_eq!((phone.connection(), phone.registration()), ("connected".into(), "registered".into()));
    phone
}

/// Ends a phone and waits for it.
pub async fn bye(phone: Phone) {
    ok(phone.disconnect()).await;
    assert_eq!(phone.connection(), "disconnected");
    phone.free();
}

/// Address of a number of the sandbox.
pub fn number(number: &str) -> JsValue {
    format!("sip:{number}@sandbox.test").into()
}

// ---- objects

pub fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap()
}

pub fn set(object: &JsValue, key: &str, value: &JsValue) {
    Reflect::set(object, &key.into(), value).unwrap();
}

pub fn string(object: &JsValue, key: &str) -> String {
    get(object, key).as_string().unwrap_or_else(|| panic!("no string {key}"))
}

pub fn number_of(object: &JsValue, key: &str) -> f64 {
    get(object, key).as_f64().unwrap_or_else(|| panic!("no number {key}"))
}

pub fn object<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new().into();
    for (key, value) in fields {
        set(&object, key, &value);
    }
    object
}

/// A JavaScript function; it stays for the life of the page.
pub fn function(f: impl Fn(JsValue, JsValue) + 'static) -> JsValue {
    Closure::<dyn Fn(JsValue, JsValue)>::new(f).into_js_value()
}

/// What a listener was given, in order.
#[derive(Clone, Default)]
pub struct Events(Rc<RefCell<Vec<JsValue>>>);

impl Events {
    pub fn of_phone(phone: &Phone, kind: &str) -> Self {
        let events = Self::default();
        phone.on(kind, &events.listener()).unwrap();
        events
    }

    pub fn of_call(call: &Call, kind: &str) -> Self {
        let events = Self::default();
        call.on(kind, &events.listener()).unwrap();
        events
    }

    pub fn of_subscription(subscription: &Subscription, kind: &str) -> Self {
        let events = Self::default();
        subscription.on(kind, &events.listener()).unwrap();
        events
    }

    pub fn listener(&self) -> JsValue {
        let events = self.0.clone();
        function(move |event, _| events.borrow_mut().push(event))
    }

    pub fn all(&self) -> Vec<JsValue> {
        self.0.borrow().clone()
    }

    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub fn last(&self) -> JsValue {
        self.0.borrow().last().unwrap().clone()
    }

    /// One field of each.
    pub fn field(&self, key: &str) -> Vec<String> {
        self.0.borrow().iter().map(|event| string(event, key)).collect()
    }
}

// ---- waiting

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = js_sys::Date::now() + DEADLINE_MS;
    while !condition() {
        assert!(js_sys::Date::now() < end, "waited in vain: {what}");
        JsFuture::from(pause(10)).await.unwrap();
    }
}

/// Asks again until there is an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let end = js_sys::Date::now() + DEADLINE_MS;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(js_sys::Date::now() < end, "waited in vain: {what}");
        JsFuture::from(pause(20)).await.unwrap();
    }
}

/// Waits for the outcome of a promise.
pub async fn settle(promise: Promise) -> Result<JsValue, JsValue> {
    JsFuture::from(within(&promise, DEADLINE_MS)).await
}

/// Waits for success.
pub async fn ok(promise: Promise) -> JsValue {
    settle(promise).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Waits for failure; returns the code.
pub async fn code_of(promise: Promise) -> String {
    match settle(promise).await {
        Err(error) => code(&error),
        Ok(value) => panic!("no error but {value:?}"),
    }
}

/// The code of a SoftphoneError, which must be well-formed.
pub fn code(error: &JsValue) -> String {
    assert!(error.is_instance_of::<js_sys::Error>(), "not an Error: {error:?}");
    assert_eq!(string(error, "name"), "SoftphoneError");
    assert!(!string(error, "message").is_empty());
    assert!(get(error, "retryable").as_bool().is_some());
    string(error, "code")
}

/// The call of a successful dial.
pub async fn answered(dial: Promise) -> Call {
    let result = ok(dial).await;
    assert_eq!(get(&result, "success"), JsValue::TRUE, "{:?}", get(&result, "error"));
    assert!(get(&result, "error").is_undefined());
    let call: Call = get(&result, "call").unchecked_into();
    assert_eq!(string(&result, "callId"), call.id());
    assert_eq!(string(&result, "strategy"), "sip-invite");
    call
}

/// The error of a failed dial.
pub async fn failed(dial: Promise) -> JsValue {
    let result = ok(dial).await;
    assert_eq!(get(&result, "success"), JsValue::FALSE);
    assert!(get(&result, "call").is_undefined());
    get(&result, "error")
}

/// Calls a function that an event brought; returns its promise.
pub fn invoke(object: &JsValue, name: &str, argument: &JsValue) -> Promise {
    let function: Function = get(object, name).unchecked_into();
    function.call1(&JsValue::UNDEFINED, argument).unwrap().unchecked_into()
}

/// The stages that a dial has reached, with its call.
pub type Stages = Rc<RefCell<Vec<(String, Call)>>>;

/// Dial options that record each stage and the call.
pub fn progress() -> (JsValue, Stages) {
    let stages = Stages::default();
    let seen = stages.clone();
    let listener = function(move |stage, call| {
        seen.borrow_mut().push((stage.as_string().unwrap(), call.unchecked_into()));
    });
    (object([("onProgress", listener)]), stages)
}

/// Whether a stage has been reached.
pub fn reached(stages: &Stages, stage: &str) -> bool {
    stages.borrow().iter().any(|(name, _)| name == stage)
}

/// The first incoming call.
pub async fn incoming(events: &Events) -> Call {
    until("an incoming call", || events.len() > 0).await;
    get(&events.last(), "call").unchecked_into()
}
