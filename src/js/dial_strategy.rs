//! The exported class `DialStrategy`, and the functions beside it.

use core::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::config::{self, Settings};
use super::driver::{Driver, State};
use super::promise::{Settler, settle_all, settled};
use super::{error, event};
use crate::dial::provider::{Provider, ProviderRegistry};
use crate::dial::strategy::{self, StrategyName};
use crate::error::{Error, ErrorCode};
use crate::phone::{ConnectionState, LogLevel, MessageRequest, Phone, RegistrationState, RequestId};
use crate::time::{Duration, Instant};

const EVENTS: &[&str] = &[
    "connection",
    "registration",
    "incoming",
    "call",
    "message",
    "messageSummary",
    "audioBlocked",
    "record",
    "log",
    "fatal",
];

thread_local! {
    static PROVIDERS: RefCell<ProviderRegistry> = RefCell::default();
}

/// The provider with this id. Nothing stays borrowed: an option's getter may register another.
pub(super) fn provider(id: &str) -> Result<Rc<Provider>, Error> {
    PROVIDERS.with_borrow(|providers| providers.get(id).cloned())
}

/// Adds a provider.
///
/// # Errors
/// `invalid_config` naming the field, or for a taken id.
#[wasm_bindgen(js_name = registerProvider)]
pub fn register_provider(provider: &JsValue) -> Result<(), JsValue> {
    let provider = config::provider(provider).map_err(|error| error::to_js(&error))?;
    PROVIDERS.with_borrow_mut(|providers| providers.register(provider)).map_err(|error| error::to_js(&error))
}

/// For the entry of the package: how it makes the workers that keep the time while the page is hidden.
#[wasm_bindgen(js_name = useTimerWorkers, skip_typescript)]
pub fn use_timer_workers(make: js_sys::Function) {
    crate::browser::clock::use_workers(make);
}

/// A SIP phone for one account.
#[wasm_bindgen]
pub struct DialStrategy {
    driver: Rc<Driver>,
}

#[wasm_bindgen]
impl DialStrategy {
    /// A phone that does nothing until `connect()`.
    ///
    /// # Errors
    /// `invalid_config` naming the field.
    #[wasm_bindgen(constructor)]
    pub fn new(config: &JsValue) -> Result<Self, JsValue> {
        let driver = provider(ProviderRegistry::DEFAULT_ID)
            .and_then(|default| Settings::new(default).merged(config, provider))
            .and_then(Driver::new)
            .map_err(|error| error::to_js(&error))?;
        Ok(Self { driver })
    }

    /// Merges into the configuration.
    ///
    /// # Errors
    /// `already_dialing`, `invalid_config` naming the field: the configuration then stays as it was.
    pub fn configure(&self, config: &JsValue) -> Result<(), JsValue> {
        self.try_configure(config).map_err(|error| error::to_js(&error))
    }

    /// Opens the WebSocket and registers.
    pub fn connect(&self) -> Promise {
        self.when_done(
            |state| &mut state.connects,
            Phone::connect,
            Err(error::new(ErrorCode::NotConfigured, "The phone is not configured")),
        )
    }

    /// Ends calls, un-registers, closes the socket.
    pub fn disconnect(&self) -> Promise {
        self.when_done(|state| &mut state.disconnects, Phone::disconnect, Ok(()))
    }

    /// Takes up calls of another page, from a record that is so many milliseconds old. Returns how many there are.
    ///
    /// # Errors
    /// `invalid_state`, `invalid_record`, `not_configured`.
    #[wasm_bindgen(js_name = resumeCalls)]
    pub fn resume_calls(&self, record: &JsValue, age: &JsValue) -> Result<u32, JsValue> {
        self.try_resume(record, age).map_err(|error| error::to_js(&error))
    }

    /// What is to be kept of the calls for another page; `null`: nothing, or no `resume`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn record(&self) -> JsValue {
        self.driver.peek(State::record).unwrap_or(JsValue::NULL)
    }

    /// Ends here, with nobody told of it: another page has taken the calls up.
    pub fn abandon(&self) {
        self.driver.abandon();
    }

    /// For the entry of the package: for which account calls are kept, if they are.
    #[wasm_bindgen(getter, js_name = resumeKey)]
    #[must_use]
    pub fn resume_key(&self) -> JsValue {
        self.driver.peek(|state| state.settings.resumes()).flatten().map_or(JsValue::NULL, JsValue::from)
    }

    /// For the entry of the package: for which account an instance is to be found, if the application names none.
    #[wasm_bindgen(getter, js_name = instanceKey)]
    #[must_use]
    pub fn instance_key(&self) -> JsValue {
        self.driver
            .peek(|state| state.settings.needs_instance())
            .flatten()
            .map_or(JsValue::NULL, JsValue::from)
    }

    /// For the entry of the package: the instance that this phone is.
    #[wasm_bindgen(js_name = useInstance)]
    pub fn use_instance(&self, id: &JsValue) {
        if let Some(id) = id.as_string() {
            self.driver.with_phone(|phone, _| phone.use_instance(&id));
        }
    }

    /// For the entry of the package: a warning for `log` listeners.
    pub fn warn(&self, text: &JsValue) {
        self.driver.log(LogLevel::Warn, &text.as_string().unwrap_or_default());
    }

    /// Calls somebody. Never rejects.
    pub fn dial(&self, destination: &JsValue, options: &JsValue) -> Promise {
        self.driver.dial(destination, options)
    }

    /// Sends a text message (RFC 3428).
    #[wasm_bindgen(js_name = sendMessage)]
    pub fn send_message(&self, target: &JsValue, body: &JsValue, options: &JsValue) -> Promise {
        let message = config::message(body, options);
        self.request(target, &mut |phone, now, target| {
            phone.send_message(now, MessageRequest { target, ..message.clone()? })
        })
    }

    /// Asks whether somebody is there (OPTIONS).
    #[wasm_bindgen(js_name = sendOptions)]
    pub fn send_options(&self, target: &JsValue) -> Promise {
        self.request(target, &mut |phone, now, target| phone.send_options(now, &target))
    }

    /// Subscribes to an event of a resource (RFC 6665).
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config`.
    pub fn subscribe(
        &self,
        target: &JsValue,
        event: &JsValue,
        options: &JsValue,
    ) -> Result<JsValue, JsValue> {
        self.driver.subscribe(target, event, options).map_err(|error| error::to_js(&error))
    }

    /// Publishes event state of this account (RFC 3903).
    ///
    /// # Errors
    /// `not_connected`, `invalid_config`.
    pub fn publish(&self, event: &JsValue, body: &JsValue, options: &JsValue) -> Result<JsValue, JsValue> {
        self.driver.publish(event, body, options).map_err(|error| error::to_js(&error))
    }

    /// Plays what the browser has refused to play before the user has done something.
    #[wasm_bindgen(js_name = resumeAudio)]
    pub fn resume_audio(&self) {
        self.driver.resume_audio();
    }

    /// Clears `error` and `lastResult`, except while dialing.
    pub fn reset(&self) {
        if self.driver.check_alive().is_ok() && !self.is_dialing() {
            self.driver.remember(JsValue::NULL, JsValue::NULL);
        }
    }

    /// The strategy that `dial()` would use for this destination.
    ///
    /// # Errors
    /// `invalid_destination`.
    #[wasm_bindgen(js_name = strategyFor)]
    pub fn strategy_for(&self, destination: &JsValue) -> Result<JsValue, JsValue> {
        self.driver
            .decision_for(destination)
            .map(|decision| decision.strategy.as_str().into())
            .map_err(|error| error::to_js(&error))
    }

    /// Why, in one sentence.
    ///
    /// # Errors
    /// `invalid_destination`.
    #[wasm_bindgen(js_name = strategyReason)]
    pub fn strategy_reason(&self, destination: &JsValue) -> Result<JsValue, JsValue> {
        self.driver
            .decision_for(destination)
            .map(|decision| decision.reason.into())
            .map_err(|error| error::to_js(&error))
    }

    /// The strategy that `dial()` would use for a telephone number.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn strategy(&self) -> JsValue {
        self.driver
            .peek(|state| strategy::default_strategy(state.settings.strategy, &state.settings.provider))
            .map_or("", StrategyName::as_str)
            .into()
    }

    /// A dial is in progress.
    #[wasm_bindgen(getter, js_name = isDialing)]
    #[must_use]
    pub fn is_dialing(&self) -> bool {
        self.driver.peek(|state| state.dial.is_some()).unwrap_or(false)
    }

    /// The error of the last dial, or `null`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn error(&self) -> JsValue {
        self.driver.peek(|state| state.error.clone()).unwrap_or(JsValue::NULL)
    }

    /// The result of the last dial, or `null`.
    #[wasm_bindgen(getter, js_name = lastResult)]
    #[must_use]
    pub fn last_result(&self) -> JsValue {
        self.driver.peek(|state| state.last_result.clone()).unwrap_or(JsValue::NULL)
    }

    /// State of the connection.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn connection(&self) -> JsValue {
        let state = self.driver.peek(|state| state.connection);
        event::connection(state.unwrap_or(ConnectionState::Disconnected)).into()
    }

    /// State of the registration.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn registration(&self) -> JsValue {
        let state = self.driver.peek(|state| state.registration);
        event::registration(state.unwrap_or(RegistrationState::Failed)).into()
    }

    /// The calls that have not ended, oldest first.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn calls(&self) -> Array {
        let calls = Array::new();
        for call in self.driver.calls() {
            calls.push(&call.object(self.driver.weak()));
        }
        calls
    }

    /// Adds a listener; returns the function that removes it.
    ///
    /// # Errors
    /// `invalid_config` for an unknown event.
    pub fn on(&self, kind: &JsValue, listener: &JsValue) -> Result<Function, JsValue> {
        self.driver.listeners.add(EVENTS, kind, listener).map_err(|error| error::to_js(&error))
    }
}

impl DialStrategy {
    /// Does it, and promises to settle those that wait for it; at once when there is no phone.
    fn when_done(
        &self,
        waiting: fn(&mut State) -> &mut Vec<Settler>,
        command: fn(&mut Phone, Instant),
        without_phone: Result<(), Error>,
    ) -> Promise {
        if let Err(error) = self.driver.check_alive() {
            return settled(&Err(error));
        }
        let (promise, settler) = Settler::new();
        self.driver.with(|state| waiting(state).push(settler));
        if self.driver.with_phone(command).is_none() {
            settle_all(self.driver.with(|state| core::mem::take(waiting(state))), &without_phone);
        }
        self.driver.drain();
        promise
    }

    fn request(
        &self,
        target: &JsValue,
        send: &mut dyn FnMut(&mut Phone, Instant, String) -> Result<RequestId, Error>,
    ) -> Promise {
        let sent = self.driver.check_alive().and_then(|()| {
            let target = self.driver.target_uri(target)?;
            self.driver
                .with_phone(|phone, now| send(phone, now, target))
                .unwrap_or_else(|| Err(error::new(ErrorCode::NotConfigured, "The phone is not configured")))
        });
        let promise = match sent {
            Ok(id) => {
                let (promise, settler) = Settler::new();
                self.driver.with(|state| state.requests.push((id, settler)));
                promise
            }
            Err(error) => settled(&Err(error)),
        };
        self.driver.drain();
        promise
    }

    fn try_resume(&self, record: &JsValue, age: &JsValue) -> Result<u32, Error> {
        self.driver.check_alive()?;
        let record = config::text("record", record)?;
        // What is no time at all counts as too long ago. A float-to-integer `as` saturates.
        let age = age.as_f64().filter(|age| *age >= 0.0).unwrap_or(f64::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let age = Duration::from_millis(age as u64);
        let taken = self
            .driver
            .with_phone(|phone, now| phone.resume(now, &record, age))
            .ok_or_else(|| error::new(ErrorCode::NotConfigured, "The phone is not configured"))??;
        self.driver.drain();
        Ok(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    fn try_configure(&self, config: &JsValue) -> Result<(), Error> {
        self.driver.check_alive()?;
        let old = self.driver.settings();
        // The fields may be getters: read with nothing borrowed, then look whether they have started a dial.
        let new = old.merged(config, provider)?;
        if self.is_dialing() {
            return Err(error::new(ErrorCode::AlreadyDialing, "A dial is in progress"));
        }
        self.driver.with(|state| {
            state.settings = Rc::new(new);
            // They may be of another session.
            state.last_headers = None;
        });
        self.driver.apply_settings();
        self.driver.drain();
        Ok(())
    }
}

impl Drop for DialStrategy {
    /// `free()`: the driver keeps itself alive until it has said goodbye.
    fn drop(&mut self) {
        self.driver.release();
    }
}
