//! Work that goes on later.

use core::pin::Pin;

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Runs a future on the page's event loop. Boxed by the caller: the executor's code is there once, not once for
/// each kind of future.
pub(crate) fn spawn(task: Pin<Box<dyn Future<Output = ()>>>) {
    spawn_local(task);
}

/// Calls back with the outcome of a promise.
pub(crate) fn then(promise: Promise, settled: Box<dyn FnOnce(Result<JsValue, JsValue>)>) {
    let outcome = JsFuture::from(promise);
    spawn(Box::pin(async move { settled(outcome.await) }));
}

/// What a function of the page gave: a promise, a value, or what it threw.
pub(crate) fn promised(given: Result<JsValue, JsValue>) -> Promise {
    match given {
        Ok(value) => Promise::resolve(&value),
        Err(thrown) => Promise::reject(&thrown),
    }
}
