//! DTMF as telephone-events in the audio stream (RFC 4733), by `RTCDTMFSender`.

use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventTarget, RtcRtpSender, RtcdtmfSender};

use super::listener::Listener;
use super::object;

#[wasm_bindgen]
extern "C" {
    // web-sys binds insertDTMF without `catch`, but it throws when the call has ended or takes no telephone-events.
    #[wasm_bindgen(extends = EventTarget)]
    type DtmfSender;

    #[wasm_bindgen(method, catch, js_name = insertDTMF)]
    fn insert(this: &DtmfSender, tones: &str, duration: u32, gap: u32) -> Result<(), JsValue>;
}

/// Tones being sent; dropping it forgets about them (the browser goes on).
#[must_use = "dropping it loses the report of the end"]
pub(crate) struct SendingDtmf {
    sender: DtmfSender,
    _listener: Listener,
}

impl SendingDtmf {
    /// Sends tones (`duration` and `gap` in milliseconds) and reports when the last has been played.
    ///
    /// # Errors
    /// When the other side takes no telephone-events or the call is over.
    pub(crate) fn start(
        sender: &RtcRtpSender,
        tones: &str,
        duration: u32,
        gap: u32,
        done: Box<dyn Fn()>,
    ) -> Result<Self, JsValue> {
        let dtmf: RtcdtmfSender = sender.dtmf().ok_or(JsValue::NULL)?;
        let dtmf: DtmfSender = dtmf.unchecked_into();
        dtmf.insert(tones, duration, gap)?;
        let changed = move |event: JsValue| {
            // An empty tone says that all have been played (WebRTC 1.0, section 7.2).
            if object::string(&event, "tone").as_deref() == Some("") {
                done();
            }
        };
        let listener = Listener::new(&dtmf, "tonechange", Box::new(changed));
        Ok(Self { sender: dtmf, _listener: listener })
    }

    /// Stops, and returns the tones that have not begun: a browser that cannot send them any more says nothing, and
    /// never goes on.
    pub(crate) fn cut(self) -> String {
        let rest = object::string(&self.sender, "toneBuffer").unwrap_or_default();
        // Where nothing can be sent there is nothing to stop.
        let _stopped = self.sender.insert("", 100, 70);
        rest
    }
}
