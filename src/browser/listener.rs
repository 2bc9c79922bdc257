//! Event listeners and the closures behind them.

use core::any::Any;

use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::EventTarget;

use super::task::spawn;

/// All functions that JavaScript may call are of this one type, so that the glue is there once.
pub(crate) type Callback = Closure<dyn Fn(JsValue)>;

/// A function for JavaScript.
pub(crate) fn callback(function: Box<dyn Fn(JsValue)>) -> Callback {
    Closure::wrap(function)
}

/// A listener that is removed when this is dropped.
#[must_use = "dropping it removes the listener"]
pub(crate) struct Listener {
    target: EventTarget,
    kind: &'static str,
    closure: Option<Callback>,
}

impl Listener {
    /// Adds a listener for events of this kind.
    pub(crate) fn new(target: &EventTarget, kind: &'static str, handler: Box<dyn Fn(JsValue)>) -> Self {
        let closure = callback(handler);
        let added = target.add_event_listener_with_callback(kind, closure.as_ref().unchecked_ref());
        debug_assert!(added.is_ok(), "addEventListener does not throw");
        Self { target: target.clone(), kind, closure: Some(closure) }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(closure) = self.closure.take() {
            let function: &JsValue = closure.as_ref();
            let removed =
                self.target.remove_event_listener_with_callback(self.kind, function.unchecked_ref());
            debug_assert!(removed.is_ok(), "removeEventListener does not throw");
            drop_later(closure);
        }
    }
}

/// Drops the value when the JavaScript stack is empty. A closure must not be freed from inside its own call, and
/// whoever drops a listener cannot know whether that very listener is running.
pub(crate) fn drop_later(value: impl Any) {
    drop_boxed_later(Box::new(value));
}

fn drop_boxed_later(value: Box<dyn Any>) {
    spawn(Box::pin(async move { drop(value) }));
}
