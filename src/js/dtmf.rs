//! The arguments of `sendDtmf`.

use wasm_bindgen::JsValue;

use super::config::Options;
use crate::error::Error;
use crate::phone::{ToneMethod, Tones};

/// What WebRTC allows, milliseconds.
const DURATION: core::ops::RangeInclusive<u32> = 40..=6000;
const GAP: core::ops::RangeInclusive<u32> = 30..=6000;

/// Reads the arguments of `sendDtmf`.
///
/// # Errors
/// `invalid_config` naming the argument.
pub(super) fn tones(tones: &JsValue, options: &JsValue) -> Result<Tones, Error> {
    let tones = tones
        .as_string()
        .filter(|tones| !tones.is_empty())
        .ok_or_else(|| Error::invalid_config("tones", "expected a string of tones"))?
        .to_ascii_uppercase();
    let options = Options::new("options", options)?;
    let tones = Tones {
        tones,
        duration: options.integer("duration", DURATION).unwrap_or(100),
        gap: options.integer("gap", GAP).unwrap_or(70),
        method: match options.string("method").as_deref() {
            None | Some("rtp") => ToneMethod::Audio,
            Some("info") => ToneMethod::Info,
            Some(_) => return Err(Error::invalid_config("method", "expected rtp or info")),
        },
    };
    options.finish()?;
    Ok(tones)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object_of;

    #[test]
    fn tones_are_checked() {
        let read = tones(&"12a#,".into(), &JsValue::UNDEFINED).unwrap();
        assert_eq!(read.tones, "12A#,");
        assert_eq!((read.duration, read.gap, read.method), (100, 70, ToneMethod::Audio));
        for (text, options) in [
            (JsValue::from(1), JsValue::UNDEFINED),
            ("".into(), JsValue::UNDEFINED),
            ("1".into(), object_of([("duration", 10.into())])),
            ("1".into(), object_of([("gap", 6001.into())])),
            ("1".into(), object_of([("method", "inband".into())])),
        ] {
            let error = tones(&text, &options).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config");
        }
    }
}
