//! Promises that are settled later.

use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;

use super::error;
use crate::error::Error;

/// The two ends of a promise. Settling runs no code of the application: its reactions come in a microtask.
pub(crate) struct Settler {
    resolve: Function,
    reject: Function,
}

impl Settler {
    /// A pending promise and what settles it.
    pub(crate) fn new() -> (Promise, Self) {
        let mut functions = None;
        let promise = Promise::new(&mut |resolve, reject| functions = Some((resolve, reject)));
        // The executor runs before `new` returns (ECMAScript, section 27.2.3.1).
        let (resolve, reject) = functions.unwrap_or_default();
        (promise, Self { resolve, reject })
    }

    /// Resolves with this value.
    pub(crate) fn resolve(self, value: &JsValue) {
        let called = self.resolve.call1(&JsValue::UNDEFINED, value);
        debug_assert!(called.is_ok(), "resolve does not throw");
    }

    /// Rejects with this error.
    pub(crate) fn reject(self, error: &Error) {
        let called = self.reject.call1(&JsValue::UNDEFINED, &error::to_js(error));
        debug_assert!(called.is_ok(), "reject does not throw");
    }

    /// Resolves with `undefined`, or rejects.
    pub(crate) fn settle(self, result: &Result<(), Error>) {
        match result {
            Ok(()) => self.resolve(&JsValue::UNDEFINED),
            Err(error) => self.reject(error),
        }
    }
}

/// Settles all of them alike.
pub(crate) fn settle_all(settlers: Vec<Settler>, result: &Result<(), Error>) {
    for settler in settlers {
        settler.settle(result);
    }
}

/// A promise that is settled already.
pub(crate) fn settled(result: &Result<(), Error>) -> Promise {
    match result {
        Ok(()) => Promise::resolve(&JsValue::UNDEFINED),
        Err(error) => Promise::reject(&error::to_js(error)),
    }
}
