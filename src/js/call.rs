//! One call: what the driver keeps of it, and the class that JavaScript sees.

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::{Function, Promise};
use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::MediaStreamTrack;

use super::config::Options;
use super::driver::{Driver, take_first};
use super::dtmf;
use super::error;
use super::event::{self, Listeners};
use super::promise::{Settler, settled};
use crate::browser::media_devices::Audio;
use crate::browser::media_session::{MediaSession, Replacement};
use crate::browser::object::{get, object, set};
use crate::dial::strategy::StrategyName;
use crate::error::{Error, ErrorCode};
use crate::phone::{CallId, CallInfo, CallNote, CallState, Direction, Phone, TransferTarget};

const EVENTS: &[&str] = &[
    "state",
    "hold",
    "mute",
    "remote",
    "microphone",
    "dtmf",
    "stats",
    "transfer",
    "transferRequest",
    "redirect",
    "replaced",
    "remoteTrack",
    "ended",
];

/// What a promise of a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Answer,
    Hold,
    Transfer,
    Tones,
    End,
}

/// What is known of a call. The phone forgets a call that has ended; this stays as long as JavaScript holds it.
pub(crate) struct CallEntry {
    pub(crate) id: CallId,
    sip_call_id: String,
    pub(crate) strategy: Option<StrategyName>,
    pub(crate) state: Cell<CallState>,
    /// Of the INVITE that was received, those that applications put in.
    headers: Vec<(String, String)>,
    /// What the phone knows of it, and at the end what it knew last.
    pub(crate) info: RefCell<CallInfo>,
    /// Milliseconds since 1970.
    pub(crate) started_at: Cell<Option<f64>>,
    pub(crate) listeners: Listeners,
    /// The microphone for this call, where it differs from the configuration.
    pub(crate) audio: RefCell<Option<Audio>>,
    waiting: RefCell<Vec<(Wait, Settler)>>,
    /// The one JavaScript object, so that it is the same wherever it appears. Given up at the end of the call:
    /// until then it keeps itself alive.
    object: RefCell<Option<JsValue>>,
}

impl CallEntry {
    /// A new call. `former`: the one whose place it takes, or is to take.
    pub(crate) fn new(
        info: CallInfo,
        headers: Vec<(String, String)>,
        strategy: Option<StrategyName>,
        former: Option<&Self>,
    ) -> Rc<Self> {
        // Begun by the page before.
        let note = info.note;
        #[allow(clippy::cast_precision_loss)]
        let started_at = (note.started_at > 0).then_some(note.started_at as f64);
        let continued = started_at.filter(|_| info.direction == Direction::Outgoing);
        Rc::new(Self {
            id: info.id,
            sip_call_id: info.sip_call_id.clone(),
            strategy: strategy.or(continued.map(|_| StrategyName::SipInvite)),
            state: Cell::new(CallState::New),
            headers,
            info: RefCell::new(info),
            started_at: Cell::new(started_at),
            listeners: Listeners::default(),
            audio: RefCell::new(former.and_then(|former| former.audio.borrow().clone())),
            waiting: RefCell::default(),
            object: RefCell::default(),
        })
    }

    /// What is to be kept with the call for another page.
    pub(crate) fn note(&self) -> CallNote {
        // Milliseconds since 1970: whole, and far from what a double can't hold.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let started_at = self.started_at.get().unwrap_or(0.0) as u64;
        CallNote { started_at }
    }

    /// The id that JavaScript sees: the SIP Call-ID, which the server's logs show too.
    pub(crate) fn js_id(&self) -> &str {
        &self.sip_call_id
    }

    /// Over, as far as JavaScript has been told.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.get() == CallState::Ended
    }

    /// A call by REST that is not proved to be the provider's.
    pub(crate) fn is_gated(&self) -> bool {
        self.strategy == Some(StrategyName::RestOriginate) && self.started_at.get().is_none()
    }

    /// The JavaScript object.
    pub(crate) fn object(self: &Rc<Self>, driver: &Weak<Driver>) -> JsValue {
        let known = self.object.borrow().clone();
        known.unwrap_or_else(|| {
            let object = JsValue::from(Call { entry: self.clone(), driver: driver.clone() });
            self.object.replace(Some(object.clone()));
            object
        })
    }

    /// A method of the JavaScript object, bound to it.
    pub(crate) fn method(self: &Rc<Self>, name: &str, driver: &Weak<Driver>) -> JsValue {
        let object = self.object(driver);
        let method: Function = get(&object, name).unchecked_into();
        method.bind0(&object).into()
    }

    /// Whether this is its JavaScript object.
    pub(crate) fn is(&self, object: &JsValue) -> bool {
        self.object.borrow().as_ref() == Some(object)
    }

    /// Lets go of the JavaScript object.
    pub(crate) fn release_object(&self) {
        let object = self.object.take();
        drop(object);
    }

    /// A promise of this.
    pub(crate) fn wait(&self, what: Wait) -> Promise {
        let (promise, settler) = Settler::new();
        self.waiting.borrow_mut().push((what, settler));
        promise
    }

    /// Who has waited for this for the longest has the outcome.
    pub(crate) fn settle_first(&self, what: Wait, result: &Result<(), Error>) {
        if let Some((_, settler)) = self.take_waiting(|wait| wait == what) {
            settler.settle(result);
        }
    }

    /// Those who wait for this have their outcome.
    pub(crate) fn settle(&self, what: Wait, result: &Result<(), Error>) {
        while let Some((_, settler)) = self.take_waiting(|wait| wait == what) {
            settler.settle(result);
        }
    }

    /// The call is over, or the phone has failed: nobody shall wait for ever.
    pub(crate) fn settle_rest(&self, error: &Error) {
        let outcome = Err(error.clone());
        while let Some((_, settler)) = self.take_waiting(|_| true) {
            settler.settle(&outcome);
        }
    }

    fn take_waiting(&self, is_it: impl Fn(Wait) -> bool) -> Option<(Wait, Settler)> {
        take_first(&mut *self.waiting.try_borrow_mut().ok()?, |(wait, _)| is_it(*wait))
    }

    /// The other side, as far as it is known.
    pub(crate) fn remote_js(&self) -> JsValue {
        let info = self.info.borrow();
        let object = object!([("uri", info.remote_uri.as_str()), ("private", info.private)]);
        let asserted = info.asserted_identity.as_ref();
        for (key, value) in [
            ("displayName", info.remote_display_name.as_ref()),
            ("assertedIdentity", asserted.map(|identity| &identity.uri)),
            ("assertedDisplayName", asserted.and_then(|identity| identity.display_name.as_ref())),
            ("diversion", info.diversion.as_ref().map(|identity| &identity.uri)),
        ] {
            if let Some(value) = value {
                set(&object, key, value);
            }
        }
        object
    }

    fn end_reason_js(&self) -> JsValue {
        self.info
            .borrow()
            .end_reason
            .as_ref()
            .filter(|_| self.has_ended())
            .map_or(JsValue::NULL, event::end_reason)
    }
}

/// A call. Made by the phone only.
#[wasm_bindgen]
pub struct Call {
    entry: Rc<CallEntry>,
    driver: Weak<Driver>,
}

#[wasm_bindgen]
impl Call {
    /// The SIP Call-ID.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn id(&self) -> JsValue {
        self.entry.js_id().into()
    }

    /// `outgoing` or `incoming`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn direction(&self) -> JsValue {
        event::direction(self.entry.info.borrow().direction).into()
    }

    /// How an outgoing call is made; `null` for an incoming one.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn strategy(&self) -> JsValue {
        event::strategy(self.entry.strategy)
    }

    /// `CallState`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn state(&self) -> JsValue {
        event::call_state(self.entry.state.get()).into()
    }

    /// The other side.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn remote(&self) -> JsValue {
        self.entry.remote_js()
    }

    /// The custom headers of a received INVITE.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn headers(&self) -> JsValue {
        let object = object!([]);
        for (name, value) in &self.entry.headers {
            set(&object, name, value);
        }
        object
    }

    /// Held by us.
    #[wasm_bindgen(getter, js_name = localHold)]
    #[must_use]
    pub fn local_hold(&self) -> bool {
        self.entry.info.borrow().local_hold
    }

    /// Held by the other side.
    #[wasm_bindgen(getter, js_name = remoteHold)]
    #[must_use]
    pub fn remote_hold(&self) -> bool {
        self.entry.info.borrow().remote_hold
    }

    /// Our microphone sends silence.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn muted(&self) -> bool {
        self.entry.info.borrow().wish.muted
    }

    /// The microphone while the call lasts.
    #[wasm_bindgen(getter, js_name = localStream)]
    #[must_use]
    pub fn local_stream(&self) -> JsValue {
        self.media(|session| session.local_stream().map(Into::into))
    }

    /// How the microphone is; `null` without one.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn microphone(&self) -> JsValue {
        self.media(|session| session.microphone().map(Into::into))
    }

    /// The browser plays nothing before the user has done something.
    #[wasm_bindgen(getter, js_name = audioBlocked)]
    #[must_use]
    pub fn audio_blocked(&self) -> bool {
        self.session().is_some_and(|session| session.is_blocked())
    }

    /// What the other side sends, while the call lasts.
    #[wasm_bindgen(getter, js_name = remoteStream)]
    #[must_use]
    pub fn remote_stream(&self) -> JsValue {
        self.media(|session| session.remote_stream().map(Into::into))
    }

    /// The call whose place it takes when it is answered.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn replaces(&self) -> JsValue {
        let driver = self.driver.upgrade().filter(|_| !self.entry.has_ended());
        let replaced = driver.as_ref().and_then(|driver| {
            let id = self.entry.info.borrow().replaces?;
            driver.calls().into_iter().find(|call| call.id == id)
        });
        replaced.map_or(JsValue::NULL, |call| call.object(&self.driver))
    }

    /// When it was answered, milliseconds since 1970.
    #[wasm_bindgen(getter, js_name = startedAt)]
    #[must_use]
    pub fn started_at(&self) -> JsValue {
        self.entry.started_at.get().map_or(JsValue::NULL, JsValue::from)
    }

    /// Why it ended; `null` before that.
    #[wasm_bindgen(getter, js_name = endReason)]
    #[must_use]
    pub fn end_reason(&self) -> JsValue {
        self.entry.end_reason_js()
    }

    /// Answers an incoming call.
    pub fn answer(&self, options: &JsValue) -> Promise {
        self.command(&mut |driver| {
            let options = Options::new("options", options)?;
            let audio = options.audio();
            options.finish()?;
            let listens_only = audio.as_ref().map(Audio::is_off);
            let answered = driver.with_phone(|phone, now| {
                if let Some(listens_only) = listens_only {
                    phone.listen_only(now, self.entry.id, listens_only);
                }
                phone.answer(now, self.entry.id)
            });
            answered.ok_or_else(ended)??;
            if audio.is_some() {
                self.entry.audio.replace(audio);
            }
            Ok(self.entry.wait(Wait::Answer))
        })
    }

    /// Refuses an incoming call.
    pub fn reject(&self, options: &JsValue) -> Promise {
        self.command(&mut |driver| {
            let options = Options::new("options", options)?;
            let status = options.integer("status", 300..=699);
            options.finish()?;
            let status = status.and_then(|status| u16::try_from(status).ok());
            driver.with_phone(|phone, now| phone.reject(now, self.entry.id, status)).ok_or_else(ended)??;
            Ok(self.entry.wait(Wait::End))
        })
    }

    /// Ends the call.
    pub fn hangup(&self) -> Promise {
        if self.entry.has_ended() {
            return settled(&Ok(()));
        }
        self.command(&mut |driver| {
            driver.with_phone(|phone, now| phone.hangup(now, self.entry.id, None));
            Ok(self.entry.wait(Wait::End))
        })
    }

    /// Puts the other side on hold.
    pub fn hold(&self) -> Promise {
        self.change_hold(true)
    }

    /// Takes the other side off hold.
    pub fn unhold(&self) -> Promise {
        self.change_hold(false)
    }

    /// Hands the other side over, to an address or to the other side of another call.
    pub fn transfer(&self, target: &JsValue) -> Promise {
        self.command(&mut |driver| {
            let other = driver.calls().into_iter().find(|call| call.is(target));
            let target = match other {
                Some(other) => TransferTarget::Call(other.id),
                None => TransferTarget::Uri(driver.target_uri(target)?),
            };
            driver
                .with_phone(|phone, now| phone.transfer(now, self.entry.id, target))
                .ok_or_else(ended)??;
            Ok(self.entry.wait(Wait::Transfer))
        })
    }

    /// Behind `accept()` of the event `transferRequest`.
    #[wasm_bindgen(js_name = acceptTransfer)]
    pub fn accept_transfer(&self) -> Promise {
        self.command(&mut |driver| {
            let id = driver
                .with_phone(|phone, now| phone.accept_transfer(now, self.entry.id))
                .ok_or_else(ended)??;
            let call = driver.adopt(id, Some(StrategyName::SipInvite)).ok_or_else(ended)?;
            Ok(Promise::resolve(&call.object(&self.driver)))
        })
    }

    /// Behind `reject()` of the event `transferRequest`.
    #[wasm_bindgen(js_name = rejectTransfer)]
    pub fn reject_transfer(&self) -> Promise {
        self.command(&mut |driver| {
            driver.with_phone(|phone, now| phone.reject_transfer(now, self.entry.id));
            Ok(settled(&Ok(())))
        })
    }

    /// Behind `follow()` of the event `redirect`.
    #[wasm_bindgen(js_name = followRedirect)]
    pub fn follow_redirect(&self, target: u32) -> Promise {
        self.command(&mut |driver| {
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            driver
                .with_phone(|phone, now| phone.follow_redirect(now, self.entry.id, target))
                .ok_or_else(ended)??;
            Ok(settled(&Ok(())))
        })
    }

    /// Behind `decline()` of the event `redirect`.
    #[wasm_bindgen(js_name = declineRedirect)]
    pub fn decline_redirect(&self) -> Promise {
        self.command(&mut |driver| {
            driver.with_phone(|phone, now| phone.decline_redirect(now, self.entry.id));
            Ok(settled(&Ok(())))
        })
    }

    /// Sends this track instead of the microphone; `null`: the microphone again.
    #[wasm_bindgen(js_name = replaceAudioTrack)]
    pub fn replace_audio_track(&self, track: &JsValue, options: &JsValue) -> Promise {
        self.command(&mut |driver| {
            let options = Options::new("options", options)?;
            let mixed = options.boolean("mixed").unwrap_or(false);
            options.finish()?;
            let replacement = match track.dyn_ref::<MediaStreamTrack>() {
                Some(track) if track.kind() == "audio" => {
                    // Not `track.clone()`, which is the browser's own: another track.
                    Some(Replacement { track: Clone::clone(track), mixed })
                }
                None if track.is_null() || track.is_undefined() => None,
                _ => return Err(Error::invalid_config("track", "expected an audio track or null")),
            };
            if replacement.is_some() && self.entry.info.borrow().wish.listens_only {
                return Err(error::new(ErrorCode::InvalidState, "A call without a microphone sends nothing"));
            }
            driver.replace_track(self.entry.id, replacement).ok_or_else(ended)??;
            Ok(settled(&Ok(())))
        })
    }

    /// Sends silence.
    pub fn mute(&self) {
        self.set_muted(true);
    }

    /// Sends the microphone again.
    pub fn unmute(&self) {
        self.set_muted(false);
    }

    /// Sends DTMF tones.
    #[wasm_bindgen(js_name = sendDtmf)]
    pub fn send_dtmf(&self, tones: &JsValue, options: &JsValue) -> Promise {
        self.command(&mut |driver| {
            let tones = dtmf::tones(tones, options)?;
            driver.tend_tones(self.entry.id);
            driver.with_phone(|phone, now| phone.send_tones(now, self.entry.id, tones)).unwrap_or(Ok(()))?;
            Ok(self.entry.wait(Wait::Tones))
        })
    }

    /// Quality and counters.
    pub fn stats(&self) -> Promise {
        self.command(&mut |driver| {
            let session = driver.session(self.entry.id).ok_or_else(|| {
                error::new(ErrorCode::InvalidState, "There is no media in this call (any more)")
            })?;
            let (promise, settler) = Settler::new();
            let done = move |stats| match stats {
                Some(stats) => settler.resolve(&stats),
                None => settler.reject(&ended()),
            };
            session.stats(Box::new(done));
            Ok(promise)
        })
    }

    /// Adds a listener; returns the function that removes it.
    ///
    /// # Errors
    /// `invalid_config` for an unknown event.
    pub fn on(&self, kind: &JsValue, listener: &JsValue) -> Result<Function, JsValue> {
        let remove =
            self.entry.listeners.add(EVENTS, kind, listener).map_err(|error| error::to_js(&error))?;
        if let Some(driver) = Driver::alive(&self.driver) {
            driver.count_stats(&self.entry);
        }
        Ok(remove)
    }
}

impl Call {
    /// Does what needs a living driver, then what follows from it.
    fn command(&self, f: &mut dyn FnMut(&Rc<Driver>) -> Result<Promise, Error>) -> Promise {
        let result = match self.driver.upgrade() {
            _ if self.entry.has_ended() => Err(ended()),
            Some(driver) => driver.check_alive().and_then(|()| {
                let result = f(&driver);
                driver.drain();
                result
            }),
            None => Err(ended()),
        };
        result.unwrap_or_else(|error| settled(&Err(error)))
    }

    fn change_hold(&self, on: bool) -> Promise {
        let change = if on { Phone::hold } else { Phone::unhold };
        self.command(&mut |driver| {
            driver.with_phone(|phone, now| change(phone, now, self.entry.id)).ok_or_else(ended)??;
            Ok(self.entry.wait(Wait::Hold))
        })
    }

    fn set_muted(&self, muted: bool) {
        if let Some(driver) = Driver::alive(&self.driver) {
            // A call that is over has nothing to mute.
            let wished = driver.with_phone(|phone, now| phone.mute(now, self.entry.id, muted));
            let changed = matches!(wished, Some(Ok(()))) && {
                let wish = &mut self.entry.info.borrow_mut().wish;
                core::mem::replace(&mut wish.muted, muted) != muted
            };
            driver.drain();
            if changed {
                self.entry.listeners.emit("mute", &object!([("muted", muted)]));
            }
        }
    }

    fn session(&self) -> Option<Rc<MediaSession>> {
        self.driver.upgrade()?.session(self.entry.id)
    }

    fn media(&self, what: fn(&MediaSession) -> Option<JsValue>) -> JsValue {
        self.session().and_then(|session| what(&session)).unwrap_or(JsValue::NULL)
    }
}

impl Drop for Call {
    /// `free()`: without its object nobody could end the call.
    fn drop(&mut self) {
        if self.entry.has_ended() {
            return;
        }
        self.entry.release_object();
        if let Some(driver) = Driver::alive(&self.driver) {
            driver.with_phone(|phone, now| phone.hangup(now, self.entry.id, None));
            driver.drain();
        }
    }
}

pub(super) fn ended() -> Error {
    error::new(ErrorCode::Ended, "The call has ended")
}
