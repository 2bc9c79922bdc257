//! `SoftphoneError` as JavaScript sees it: an `Error` with a code.

use wasm_bindgen::JsValue;

use crate::browser::object::set;
use crate::error::{Error, ErrorCode};

/// The error as a JavaScript `Error`.
pub(crate) fn to_js(error: &Error) -> JsValue {
    let js = js_sys::Error::new(&error.message);
    js.set_name("SoftphoneError");
    set(&js, "code", error.code.as_str());
    set(&js, "retryable", error.retryable());
    if let Some(status) = error.sip_status {
        set(&js, "sipStatus", status);
    }
    if let Some(seconds) = error.retry_after {
        set(&js, "retryAfter", seconds);
    }
    if let Some(hint) = &error.hint {
        set(&js, "hint", hint.as_ref());
    }
    js.into()
}

/// An error with the code's hint.
pub(crate) fn new(code: ErrorCode, message: &'static str) -> Error {
    Error::new(code, message)
}
