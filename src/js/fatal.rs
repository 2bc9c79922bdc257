//! What is left to do after a trap: turn the microphones off and report it.
//!
//! A trap (a panic, memory that ran out, a stack that overflowed) does not unwind in WebAssembly: borrows stay taken
//! for good, so the phones that were alive cannot go on. The module cannot notice its own trap; the glue that
//! `cargo xtask build` writes catches it where it leaves the module, and calls [`module_trapped`].

use core::cell::RefCell;
use std::rc::{Rc, Weak};

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::driver::Driver;

thread_local! {
    static DRIVERS: RefCell<Vec<Weak<Driver>>> = const { RefCell::new(Vec::new()) };
}

/// Remembers a phone.
pub(crate) fn watch(driver: &Rc<Driver>) {
    DRIVERS.with_borrow_mut(|drivers| {
        drivers.retain(|driver| driver.strong_count() > 0);
        drivers.push(Rc::downgrade(driver));
    });
}

/// Ends all phones: called by the glue with where in the module the trap happened.
///
/// The borrows that the trap has left behind are avoided. Memory may be what ran out, so that everything that needs
/// none comes first.
#[wasm_bindgen(js_name = moduleTrapped)]
pub fn module_trapped(cause: &JsValue) {
    let drivers =
        DRIVERS.with(|drivers| drivers.try_borrow_mut().map(|mut drivers| core::mem::take(&mut *drivers)));
    let drivers = drivers.unwrap_or_default();
    for driver in drivers.iter().filter_map(Weak::upgrade) {
        driver.poison();
        // Its destructor would borrow.
        core::mem::forget(driver);
    }
    for driver in drivers.iter().filter_map(Weak::upgrade) {
        driver.report_fatal(cause);
        core::mem::forget(driver);
    }
}

#[cfg(test)]
mod tests {
    use js_sys::{Function, Promise, Reflect};
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::{get, object_of, string};
    use crate::js::DialStrategy;

    fn code(error: &JsValue) -> String {
        string(error, "code").unwrap()
    }

    fn call(phone: &JsValue, method: &str, argument: &JsValue) -> Result<JsValue, JsValue> {
        let method: Function = Reflect::get(phone, &method.into()).unwrap().unchecked_into();
        method.call1(phone, argument)
    }

    async fn settle(promise: JsValue) -> Result<JsValue, JsValue> {
        JsFuture::from(promise.unchecked_into::<Promise>()).await
    }

    #[test]
    async fn after_a_panic_every_phone_says_so_and_nothing_throws_from_within() {
        let config =
            object_of([("servers", "ws://127.0.0.1:9".into()), ("uri", "sip:alice@sandbox.test".into())]);
        let phone = JsValue::from(DialStrategy::new(&config).unwrap());
        let told = Rc::new(RefCell::new(Vec::new()));
        let listener = {
            let (told, phone) = (told.clone(), phone.clone());
            Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
                // A listener may look at the phone.
                assert!(get(&phone, "calls").is_object());
                told.borrow_mut().push(get(&event, "error"));
            })
        };
        let on: Function = Reflect::get(&phone, &"on".into()).unwrap().unchecked_into();
        on.call2(&phone, &"fatal".into(), listener.as_ref()).unwrap();
        let connecting = call(&phone, "connect", &JsValue::UNDEFINED).unwrap();

        // A panic leaves whatever was borrowed borrowed; here, the state of a phone.
        let driver = DRIVERS.with_borrow(|drivers| drivers.last().and_then(Weak::upgrade)).unwrap();
        driver.stay_borrowed();
        module_trapped(&"panicked somewhere".into());

        let told = told.borrow().clone();
        assert_eq!(told.iter().map(code).collect::<Vec<_>>(), ["fatal"]);
        assert!(string(&told[0], "hint").is_some());
        let error = settle(call(&phone, "connect", &JsValue::UNDEFINED).unwrap()).await.unwrap_err();
        assert_eq!(code(&error), "fatal");
        let result = settle(call(&phone, "dial", &"sip:bob@sandbox.test".into()).unwrap()).await.unwrap();
        assert_eq!(code(&get(&result, "error")), "fatal");
        assert_eq!(code(&call(&phone, "configure", &config).unwrap_err()), "fatal");
        assert!(get(&phone, "connection").is_string() && get(&phone, "registration").is_string());
        call(&phone, "reset", &JsValue::UNDEFINED).unwrap();
        call(&phone, "free", &JsValue::UNDEFINED).unwrap();
        drop(connecting);

        // A new one works.
        let phone = JsValue::from(DialStrategy::new(&config).unwrap());
        let error = settle(call(&phone, "connect", &JsValue::UNDEFINED).unwrap()).await.unwrap_err();
        assert_eq!(code(&error), "transport");
        call(&phone, "free", &JsValue::UNDEFINED).unwrap();
    }

    /// Runs this as JavaScript.
    fn js(body: &str) -> JsValue {
        Function::new_no_args(body).call0(&JsValue::UNDEFINED).unwrap()
    }

    async fn registered() -> JsValue {
        let url =
            option_env!("SANDBOX_URL").unwrap_or("http://127.0.0.1:8080").replace("http", "ws") + "/sip";
        let credentials = object_of([("username", "alice".into()), ("password", "alice-secret".into())]);
        let config = object_of([
            ("servers", url.into()),
            ("uri", "sip:alice@sandbox.test".into()),
            ("credentials", credentials),
        ]);
        let phone = JsValue::from(DialStrategy::new(&config).unwrap());
        settle(call(&phone, "connect", &JsValue::UNDEFINED).unwrap()).await.unwrap();
        phone
    }

    async fn answered(phone: &JsValue) -> JsValue {
        let result = settle(call(phone, "dial", &"sip:600@sandbox.test".into()).unwrap()).await.unwrap();
        assert_eq!(get(&result, "success"), true);
        get(&result, "call")
    }

    #[test]
    async fn a_panic_in_a_call_turns_everything_off_and_the_next_phone_works() {
        let restore: Function = js("const made = globalThis.made = [];
            const spy = (name) => {
                const Native = globalThis[name];
                globalThis[name] = class extends Native {
                    constructor(...given) { super(...given); made.push(this); }
                };
                return () => { globalThis[name] = Native; };
            };
            const undo = [spy('RTCPeerConnection'), spy('WebSocket')];
            return () => { for (const one of undo) one(); };")
        .unchecked_into();
        let phone = registered().await;
        let talking = answered(&phone).await;
        let stream: web_sys::MediaStream = get(&talking, "localStream").unchecked_into();
        let track: web_sys::MediaStreamTrack = stream.get_audio_tracks().get(0).unchecked_into();
        assert_eq!(track.ready_state(), web_sys::MediaStreamTrackState::Live);

        let driver = DRIVERS.with_borrow(|drivers| drivers.last().and_then(Weak::upgrade)).unwrap();
        driver.stay_borrowed();
        module_trapped(&"panicked in a call".into());

        assert_eq!(track.ready_state(), web_sys::MediaStreamTrackState::Ended);
        assert_eq!(
            js("return made.filter((one) => one.connectionState).map((pc) => pc.connectionState).join()"),
            "closed"
        );
        // CLOSING or CLOSED
        assert_eq!(
            js("return made.filter((one) => one.url).every((socket) => socket.readyState >= 2)"),
            true
        );
        call(&phone, "free", &JsValue::UNDEFINED).unwrap();

        let phone = registered().await;
        answered(&phone).await;
        settle(call(&phone, "disconnect", &JsValue::UNDEFINED).unwrap()).await.unwrap();
        call(&phone, "free", &JsValue::UNDEFINED).unwrap();
        restore.call0(&JsValue::UNDEFINED).unwrap();
    }
}
