//! `SoftphoneError` as JavaScript sees it: an `Error` with a code.

use core::cell::RefCell;

use js_sys::Function;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::browser::object::{get, set};
use crate::error::{Error, ErrorCode};

thread_local! {
    static MAKE: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// For the entry of the package: how it makes an error of its class from the message and the code. A hint that it gives comes first: it
/// knows what the page can tell of the cause.
#[wasm_bindgen(js_name = useErrors, skip_typescript)]
pub fn use_errors(make: Function) {
    MAKE.set(Some(make));
}

/// An error of the package's class, or of this name.
fn make(message: &str, code: &str) -> JsValue {
    let make = MAKE.with_borrow(Clone::clone);
    let made = make.and_then(|make| make.call2(&JsValue::UNDEFINED, &message.into(), &code.into()).ok());
    made.unwrap_or_else(|| {
        let js = js_sys::Error::new(message);
        js.set_name("SoftphoneError");
        js.into()
    })
}

/// The error as a JavaScript `Error`.
pub(crate) fn to_js(error: &Error) -> JsValue {
    let code = error.code.as_str();
    // What the module knows better than by the code alone stays.
    let by_code = error.hint.as_deref() == error.code.hint();
    let js = make(&error.message, if by_code { code } else { "" });
    set(&js, "code", code);
    set(&js, "retryable", error.retryable());
    if let Some(status) = error.sip_status {
        set(&js, "sipStatus", status);
    }
    if let Some(seconds) = error.retry_after {
        set(&js, "retryAfter", seconds);
    }
    if let Some(hint) = &error.hint
        && get(&js, "hint").is_undefined()
    {
        set(&js, "hint", hint.as_ref());
    }
    js
}

/// An error with the code's hint.
pub(crate) fn new(code: ErrorCode, message: &'static str) -> Error {
    Error::new(code, message)
}
