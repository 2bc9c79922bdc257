//! Event listeners and the closures behind them.

use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Event, EventTarget};

/// A listener that is removed when this is dropped.
#[must_use = "dropping it removes the listener"]
pub(crate) struct Listener {
    target: EventTarget,
    kind: &'static str,
    closure: Option<Closure<dyn Fn(Event)>>,
}

impl Listener {
    /// Adds a listener for events of this kind.
    pub(crate) fn new(target: &EventTarget, kind: &'static str, handler: impl Fn(Event) + 'static) -> Self {
        let closure = Closure::<dyn Fn(Event)>::new(handler);
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
pub(crate) fn drop_later<T: 'static>(value: T) {
    spawn_local(async move { drop(value) });
}
