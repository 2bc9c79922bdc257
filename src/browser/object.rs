//! Properties of JavaScript objects. A getter of the application may throw; that counts as `undefined` here, and
//! the options reader in `js::config`, which must tell the difference, has its own.

use js_sys::{Array, JsString, Object, Reflect};
use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::{AbortSignal, MediaStreamTrack};

/// The property, or `undefined`, of what is no object too.
pub(crate) fn get(object: &JsValue, key: &str) -> JsValue {
    // `Reflect.get` would throw, and wasm-bindgen keeps for ever the slot of what a function that threw has not returned.
    if !object.is_object() && !object.is_function() {
        return JsValue::UNDEFINED;
    }
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

#[wasm_bindgen]
extern "C" {
    // Key and value in one crossing, and no slot of ours for either.
    #[wasm_bindgen(catch, js_namespace = Reflect, js_name = set)]
    fn reflect_set(object: &JsValue, key: &str, value: &JsValue) -> Result<bool, JsValue>;

    #[wasm_bindgen(catch, js_namespace = Reflect, js_name = set)]
    fn reflect_set_text(object: &JsValue, key: &str, value: &str) -> Result<bool, JsValue>;
}

/// What a property can be set to.
pub(crate) trait Value {
    fn put(self, object: &JsValue, key: &str);
}

impl Value for &JsValue {
    #[inline(never)]
    fn put(self, object: &JsValue, key: &str) {
        let set = reflect_set(object, key, self);
        debug_assert!(set.is_ok(), "a fresh object takes properties");
    }
}

impl Value for JsValue {
    /// Takes the value, so that it is dropped in one place.
    #[inline(never)]
    fn put(self, object: &JsValue, key: &str) {
        (&self).put(object, key);
    }
}

impl Value for &str {
    #[inline(never)]
    fn put(self, object: &JsValue, key: &str) {
        let set = reflect_set_text(object, key, self);
        debug_assert!(set.is_ok(), "a fresh object takes properties");
    }
}

impl Value for &String {
    fn put(self, object: &JsValue, key: &str) {
        self.as_str().put(object, key);
    }
}

impl Value for String {
    #[inline(never)]
    fn put(self, object: &JsValue, key: &str) {
        self.as_str().put(object, key);
    }
}

macro_rules! converted {
    ($($kind:ty),*) => {
        $(impl Value for $kind {
            fn put(self, object: &JsValue, key: &str) {
                JsValue::from(self).put(object, key);
            }
        })*
    };
}
converted!(bool, u8, u16, u32, f64, Array, AbortSignal, JsString, MediaStreamTrack, web_sys::Headers);

/// Sets a property of an object that this module made: that cannot fail, as it is neither frozen nor a proxy.
pub(crate) fn set(object: &JsValue, key: &str, value: impl Value) {
    value.put(object, key);
}

/// An object without properties.
#[inline(never)]
pub(crate) fn empty() -> JsValue {
    Object::new().into()
}

/// A plain object with these properties: names, and values.
///
/// A macro, as one call for each property is smaller than a list of them that is filled and dropped.
macro_rules! object {
    ([$(($key:expr, $value:expr)),* $(,)?]) => {{
        let object = $crate::browser::object::empty();
        $($crate::browser::object::set(&object, $key, $value);)*
        object
    }};
}
pub(crate) use object;

/// The same of a list, for tests.
#[cfg(test)]
pub(crate) fn object_of<const N: usize>(properties: [(&str, JsValue); N]) -> JsValue {
    let object = empty();
    for (key, value) in properties {
        set(&object, key, value);
    }
    object
}

/// One value of [`plain`].
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Plain<'a> {
    /// A string.
    Text(&'a str),
    /// A number; `null` where it is unknown.
    Number(Option<f64>),
}

/// Plain data as a JavaScript object.
///
/// Serialized as a list of entries and not as a struct: for those the serializer keeps a table of all field names,
/// whose hash map is 3 kB of wasm, and each struct has a serialize function of its own.
pub(crate) fn plain(fields: &[(&str, Plain<'_>)]) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
    fields
        .serialize(&serializer)
        .map_err(JsValue::from)
        .and_then(|entries| Object::from_entries(&entries))
        .map_or_else(|error| error, JsValue::from)
}
