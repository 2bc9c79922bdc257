//! The page's life, and the network under it.

use std::rc::Rc;

use js_sys::{Array, Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventTarget, Window};

use super::listener::Listener;
use super::object::{get, object, string};
use super::task::{promised, then};
use crate::phone::Hint;

/// The global object as a window, which it is in a page. Clock, randomness, timers and `navigator` are properties of the global
/// object in a worker and in Node.js too, where a phone can be made, and its account checked.
pub(crate) fn scope() -> Window {
    js_sys::global().unchecked_into()
}

/// Calls back when the page is closed, left, or put aside (`pagehide`: unlike `unload` it is fired on telephones
/// too, and does not keep a page from coming back as it was). `true`: the browser means to keep the page.
pub(crate) fn on_hide(window: &Window, hidden: Box<dyn Fn(bool)>) -> Listener {
    Listener::new(window, "pagehide", Box::new(move |event| hidden(get(&event, "persisted") == true)))
}

/// Whether nobody looks at the page.
pub(crate) fn is_hidden(window: &Window) -> bool {
    window.document().is_some_and(|document| get(&document, "visibilityState") == "hidden")
}

/// Calls back with what the browser says of the local network, or of this machine (Local Network Access): "granted",
/// "prompt" or "denied", nothing where it knows no such permission. Chromium has split the one that it had at first in two,
/// and still knows its name: it says "prompt" of the one that does not count.
pub(crate) fn local_network(window: &Window, loopback: bool, done: Box<dyn FnOnce(Option<&'static str>)>) {
    let permissions = get(&window.navigator(), "permissions");
    let query = get(&permissions, "query");
    let ask = |name: &str| -> JsValue {
        let name = object!([("name", name)]);
        let asked = query.dyn_ref::<Function>().map(|query| query.call1(&permissions, &name));
        promised(asked.unwrap_or(Ok(JsValue::UNDEFINED))).into()
    };
    let name = if loopback { "loopback-network" } else { "local-network" };
    let asked = Array::of2(&ask(name), &ask("local-network-access"));
    then(
        Promise::all_settled(&asked),
        Box::new(move |settled| {
            let settled: Array = settled.unwrap_or(JsValue::UNDEFINED).dyn_into().unwrap_or_default();
            let is = |state: &&str| settled.iter().any(|one| get(&get(&one, "value"), "state") == *state);
            done(["denied", "granted", "prompt"].into_iter().find(is));
        }),
    );
}

/// Calls back with what the browser tells of the network and of the page, for as long as the listeners are kept.
/// `changed`: the page is hidden, or looked at again.
pub(crate) fn on_hint(window: &Window, hint: Rc<dyn Fn(Hint)>, changed: Box<dyn Fn()>) -> Vec<Listener> {
    let mut listeners = Vec::new();
    let mut listen = |target: &EventTarget, kind: &'static str, handler: Box<dyn Fn(JsValue)>| {
        listeners.push(Listener::new(target, kind, handler));
    };
    let tells = |what: Hint| {
        let hint = hint.clone();
        Box::new(move |_: JsValue| hint(what))
    };
    listen(window, "online", tells(Hint::Online));
    listen(window, "offline", tells(Hint::Offline));
    // Back from where pages are kept that may be gone back to.
    let shown = hint.clone();
    listen(
        window,
        "pageshow",
        Box::new(move |event| {
            if get(&event, "persisted") == true {
                shown(Hint::Woken);
            }
        }),
    );
    if let Some(document) = window.document() {
        // After a freeze (Page Lifecycle).
        listen(&document, "resume", tells(Hint::Woken));
        let (window, seen) = (window.clone(), hint.clone());
        listen(
            &document,
            "visibilitychange",
            Box::new(move |_| {
                changed();
                if !is_hidden(&window) {
                    seen(Hint::Visible);
                }
            }),
        );
    }
    // Not in every browser. It is fired for mere estimates of the throughput too.
    let network = get(&window.navigator(), "connection");
    if let Some(target) = network.dyn_ref::<EventTarget>() {
        let kind = core::cell::RefCell::new(string(&network, "type"));
        let network = network.clone();
        listen(
            target,
            "change",
            Box::new(move |_| {
                let now = string(&network, "type");
                let before = kind.replace(now.clone());
                hint(if now == before { Hint::Visible } else { Hint::NetworkChanged });
            }),
        );
    }
    listeners
}
