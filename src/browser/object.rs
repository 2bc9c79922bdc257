//! Properties of JavaScript objects. A getter of the application may throw; that counts as `undefined` here, and
//! the options reader in `js::config`, which must tell the difference, has its own.

use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// The property, or `undefined`.
pub(crate) fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(key)).unwrap_or(JsValue::UNDEFINED)
}

/// The property as a number.
pub(crate) fn number(object: &JsValue, key: &str) -> Option<f64> {
    get(object, key).as_f64()
}

/// The property as a string.
pub(crate) fn string(object: &JsValue, key: &str) -> Option<String> {
    get(object, key).as_string()
}

/// Sets a property of an object that this module made: that cannot fail, as it is neither frozen nor a proxy.
pub(crate) fn set(object: &JsValue, key: &str, value: impl Into<JsValue>) {
    let set = Reflect::set(object, &JsValue::from_str(key), &value.into());
    debug_assert!(set.is_ok(), "a fresh object takes properties");
}

/// A plain object with these properties.
pub(crate) fn object<const N: usize>(properties: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new().unchecked_into();
    for (key, value) in properties {
        set(&object, key, value);
    }
    object
}
