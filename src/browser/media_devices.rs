//! The microphone.

use js_sys::Object;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaStream, MediaStreamConstraints, MediaStreamTrack};

use super::listener::Listener;
use super::object;
use super::task::spawn;
use crate::phone::MediaError;

/// Which microphone an application asks for.
#[derive(Debug, Clone, Default)]
pub(crate) enum Audio {
    /// The browser's choice.
    #[default]
    Default,
    /// With these `MediaTrackConstraints`.
    Constraints(Object),
    /// None: the call only listens.
    Off,
}

impl Audio {
    /// There is to be no microphone.
    pub(crate) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}

/// An open microphone; dropping it turns it off.
#[must_use = "dropping it turns the microphone off"]
pub(crate) struct Microphone(MediaStream, Vec<Listener>);

/// The state of a microphone that is gone.
pub(crate) const ENDED: &str = "ended";

/// Calls back when there are other devices than before.
pub(crate) fn on_device_change(changed: Box<dyn Fn(JsValue)>) -> Option<Listener> {
    let devices = web_sys::window()?.navigator().media_devices().ok()?;
    Some(Listener::new(&devices, "devicechange", changed))
}

/// A microphone that was asked for. Dropping it does not take the question back, as nothing can, but a microphone
/// that is then granted is turned off at once.
#[must_use = "dropping it turns the microphone off"]
pub(crate) struct RequestedMicrophone(Option<JsFuture>);

impl RequestedMicrophone {
    /// Asks the browser for a microphone, now.
    ///
    /// # Errors
    /// When there is no such thing: no device, or a page outside a secure context.
    pub(crate) fn new(audio: &Audio) -> Result<Self, MediaError> {
        let constraints = MediaStreamConstraints::new();
        match audio {
            Audio::Constraints(object) => constraints.set_audio(object),
            Audio::Default | Audio::Off => constraints.set_audio(&JsValue::TRUE),
        }
        let navigator = web_sys::window().ok_or(MediaError::Unavailable)?.navigator();
        let devices = navigator.media_devices().map_err(|_| MediaError::Unavailable)?;
        // It is missing outside a secure context.
        if devices.is_undefined() {
            return Err(MediaError::Unavailable);
        }
        let asked =
            devices.get_user_media_with_constraints(&constraints).map_err(|error| media_error(&error))?;
        Ok(Self(Some(JsFuture::from(asked))))
    }

    /// Waits for the user.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`.
    pub(crate) async fn open(mut self) -> Result<Microphone, MediaError> {
        let asked = self.0.take().ok_or(MediaError::Unavailable)?;
        let stream = asked.await.map_err(|error| media_error(&error))?;
        Ok(Microphone(stream.unchecked_into(), Vec::new()))
    }
}

impl Drop for RequestedMicrophone {
    fn drop(&mut self) {
        if let Some(asked) = self.0.take() {
            spawn(Box::pin(async move {
                if let Ok(stream) = asked.await {
                    drop(Microphone(stream.unchecked_into(), Vec::new()));
                }
            }));
        }
    }
}

impl Microphone {
    /// The stream, for the application.
    pub(crate) fn stream(&self) -> MediaStream {
        // Not `self.0.clone()`: that is the method of JavaScript, which makes tracks that nobody would ever stop.
        Clone::clone(&self.0)
    }

    /// The one audio track.
    pub(crate) fn track(&self) -> Option<MediaStreamTrack> {
        self.0.get_audio_tracks().get(0).dyn_into().ok()
    }

    /// How it is now: "live"; "interrupted", the system has taken it away for a while; "ended", the device is gone, or the
    /// permission.
    pub(crate) fn state(&self) -> &'static str {
        match self.track() {
            Some(track) if object::get(&track, "readyState") == "live" => {
                if track.muted() {
                    "interrupted"
                } else {
                    "live"
                }
            }
            _ => ENDED,
        }
    }

    /// Calls back when that changes by itself.
    pub(crate) fn watch(&mut self, changed: &dyn Fn() -> Box<dyn Fn(JsValue)>) {
        let Some(track) = self.track() else { return };
        self.1 = ["ended", "mute", "unmute"]
            .into_iter()
            .map(|kind| Listener::new(&track, kind, changed()))
            .collect();
    }

    /// A muted microphone sends silence.
    pub(crate) fn set_muted(&self, muted: bool) {
        if let Some(track) = self.track() {
            track.set_enabled(!muted);
        }
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        for track in self.0.get_tracks().iter() {
            track.unchecked_into::<MediaStreamTrack>().stop();
        }
    }
}

/// Media Capture and Streams, section 10.2: the names of `getUserMedia` failures.
fn media_error(error: &JsValue) -> MediaError {
    match object::string(error, "name").as_deref() {
        Some("NotAllowedError" | "SecurityError" | "PermissionDeniedError") => MediaError::Denied,
        _ => MediaError::Unavailable,
    }
}
