//! Events to JavaScript, and their listeners.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use super::driver::take_first;
use crate::browser::listener::callback;
use crate::browser::object::{object, set};
use crate::dial::strategy::StrategyName;
use crate::error::Error;
use crate::phone::{
    CallState, ConnectionState, DialStage, Direction, EndCause, EndReason, EndedBy, LogLevel,
    RegistrationState, SubscriptionState, TransferState,
};

#[wasm_bindgen]
extern "C" {
    // Missing in old browsers, where the call fails with a ReferenceError.
    #[wasm_bindgen(catch, js_name = reportError)]
    fn report_error(error: &JsValue) -> Result<(), JsValue>;
}

/// The listeners of one object, called in the order in which they were added.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Rc<Inner>);

#[derive(Default)]
struct Inner {
    last: Cell<u32>,
    entries: RefCell<Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    id: u32,
    kind: &'static str,
    function: Function,
}

impl Listeners {
    /// Adds a listener for one of `kinds`; returns the JavaScript function that removes it.
    ///
    /// # Errors
    /// `invalid_config` for another kind, or something that is no function.
    pub(crate) fn add(
        &self,
        kinds: &[&'static str],
        kind: &JsValue,
        listener: &JsValue,
    ) -> Result<Function, Error> {
        let kind = kind
            .as_string()
            .and_then(|kind| kinds.iter().copied().find(|known| *known == kind))
            .ok_or_else(|| Error::invalid_config("type", "no such event"))?;
        if !listener.is_function() {
            return Err(Error::invalid_config("listener", "expected a function"));
        }
        let function = listener.clone().unchecked_into();
        let id = self.0.last.get().wrapping_add(1);
        self.0.last.set(id);
        self.0.entries.borrow_mut().push(Entry { id, kind, function });
        let weak = Rc::downgrade(&self.0);
        let remove = move |_| {
            if let Some(listeners) = weak.upgrade() {
                let removed = take_first(&mut listeners.entries.borrow_mut(), |entry| entry.id == id);
                drop(removed);
            }
        };
        Ok(callback(Box::new(remove)).into_js_value().unchecked_into())
    }

    /// Whether somebody listens.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.0.entries.borrow().iter().any(|entry| entry.kind == kind)
    }

    fn knows(&self, id: u32) -> bool {
        self.0.entries.borrow().iter().any(|entry| entry.id == id)
    }

    /// Copies, so that nothing is borrowed when they are called; none after a panic that has left them borrowed.
    fn of(&self, kind: &str) -> Vec<Entry> {
        let mut found = Vec::new();
        if let Ok(entries) = self.0.entries.try_borrow() {
            for entry in entries.iter() {
                if entry.kind == kind {
                    found.push(entry.clone());
                }
            }
        }
        found
    }

    /// Nobody listens any more.
    pub(crate) fn clear(&self) {
        let old = self.0.entries.take();
        drop(old);
    }

    /// Calls the listeners. What they throw is reported like any uncaught error of the page, and the others are
    /// still called. A listener that an earlier one has removed is not called.
    pub(crate) fn emit(&self, kind: &str, payload: &JsValue) {
        for entry in self.of(kind) {
            if self.knows(entry.id) {
                call_back(&entry.function, payload);
            }
        }
    }
}

/// Calls a function of the application with one argument.
pub(crate) fn call_back(function: &Function, argument: &JsValue) {
    if let Err(thrown) = function.call1(&JsValue::UNDEFINED, argument) {
        report(&thrown);
    }
}

/// Reports what the application threw, outside of our stack.
pub(crate) fn report(thrown: &JsValue) {
    if report_error(thrown).is_err() {
        // An unhandled rejection is the next best way into the console and the error trackers.
        let _unhandled = Promise::reject(thrown);
    }
}

pub(crate) const fn connection(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Disconnected => "disconnected",
        ConnectionState::Connecting => "connecting",
        ConnectionState::Connected => "connected",
        ConnectionState::Reconnecting => "reconnecting",
    }
}

pub(crate) const fn registration(state: RegistrationState) -> &'static str {
    match state {
        RegistrationState::Unregistered => "unregistered",
        RegistrationState::Registering => "registering",
        RegistrationState::Registered => "registered",
        RegistrationState::Failed => "failed",
    }
}

pub(crate) const fn call_state(state: CallState) -> &'static str {
    match state {
        CallState::New => "new",
        CallState::Connecting => "connecting",
        CallState::Ringing => "ringing",
        CallState::EarlyMedia => "early-media",
        CallState::Active => "active",
        CallState::Reconnecting => "reconnecting",
        CallState::Ended => "ended",
    }
}

pub(crate) const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}

pub(crate) const fn stage(stage: DialStage) -> &'static str {
    match stage {
        DialStage::Preparing => "preparing",
        DialStage::Requesting => "requesting",
        DialStage::RingingClient => "ringing-client",
        DialStage::ClientConnected => "client-connected",
        DialStage::Ringing => "ringing",
        DialStage::EarlyMedia => "early-media",
        DialStage::Connected => "connected",
    }
}

pub(crate) const fn transfer_state(state: TransferState) -> &'static str {
    match state {
        TransferState::Trying => "trying",
        TransferState::Ringing => "ringing",
        TransferState::Accepted => "accepted",
        TransferState::Failed => "failed",
    }
}

pub(crate) const fn subscription(state: SubscriptionState) -> &'static str {
    match state {
        SubscriptionState::Pending => "pending",
        SubscriptionState::Active => "active",
        SubscriptionState::Terminated => "terminated",
    }
}

pub(crate) const fn log_level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

pub(crate) fn strategy(strategy: Option<StrategyName>) -> JsValue {
    strategy.map_or(JsValue::NULL, |strategy| strategy.as_str().into())
}

/// `Call.endReason`.
pub(crate) fn end_reason(reason: &EndReason) -> JsValue {
    let code = match &reason.cause {
        EndCause::Completed => "completed",
        EndCause::Cancelled => "cancelled",
        EndCause::AnsweredElsewhere => "answered_elsewhere",
        EndCause::Failed(error) => error.code.as_str(),
    };
    let by = match reason.by {
        EndedBy::Local => "local",
        EndedBy::Remote => "remote",
        EndedBy::Network => "network",
    };
    let object = object!([("code", code), ("by", by)]);
    if let Some(status) = reason.sip_status {
        set(&object, "sipStatus", status);
    }
    if let Some(cause) = reason.q850 {
        set(&object, "q850", cause);
    }
    if let Some(text) = &reason.reason_text {
        set(&object, "reasonText", text);
    }
    object
}
