//! What lives on beside calls: subscriptions (RFC 6665) and publications (RFC 3903), as one class.

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::config;
use super::driver::{Driver, take_first};
use super::event::{self, Listeners};
use super::promise::{Settler, settle_all, settled};
use super::{call, error};
use crate::browser::object::{object, set};
use crate::error::Error;
use crate::phone::{PublishRequest, SubscriptionId, SubscriptionState};

const EVENTS: &[&str] = &["state", "notify"];

/// What is known of one.
pub(crate) struct SubscriptionEntry {
    id: SubscriptionId,
    /// Of a publication: what an update begins with.
    published: Option<PublishRequest>,
    state: Cell<SubscriptionState>,
    listeners: Listeners,
    ending: RefCell<Vec<Settler>>,
    /// The JavaScript object, which is kept until the end: who only listens need not hold it.
    object: RefCell<Option<JsValue>>,
}

impl Driver {
    pub(super) fn subscribe(
        &self,
        target: &JsValue,
        event: &JsValue,
        options: &JsValue,
    ) -> Result<JsValue, Error> {
        self.check_alive()?;
        let request = config::subscribe(self.target_uri(target)?, event, options)?;
        let id = self.with_phone(|phone, now| phone.subscribe(now, request)).ok_or_else(not_configured)??;
        Ok(self.watch_subscription(id, None))
    }

    pub(super) fn publish(
        &self,
        event: &JsValue,
        body: &JsValue,
        options: &JsValue,
    ) -> Result<JsValue, Error> {
        self.check_alive()?;
        let request = config::publish(event, body, options)?;
        let known = request.clone();
        let id =
            self.with_phone(|phone, now| phone.publish(now, None, request)).ok_or_else(not_configured)??;
        Ok(self.watch_subscription(id, Some(known)))
    }

    fn watch_subscription(&self, id: SubscriptionId, published: Option<PublishRequest>) -> JsValue {
        let entry = Rc::new(SubscriptionEntry {
            id,
            published,
            state: Cell::new(SubscriptionState::Pending),
            listeners: Listeners::default(),
            ending: RefCell::default(),
            object: RefCell::default(),
        });
        let object = JsValue::from(Subscription { entry: entry.clone(), driver: self.weak().clone() });
        entry.object.replace(Some(object.clone()));
        self.with(|state| state.subscriptions.push(entry));
        self.drain();
        object
    }

    fn subscription(&self, id: SubscriptionId) -> Option<Rc<SubscriptionEntry>> {
        self.with(|state| state.subscriptions.iter().find(|entry| entry.id == id).cloned())
    }

    pub(super) fn subscription_changed(
        &self,
        id: SubscriptionId,
        state: SubscriptionState,
        error: Option<&Error>,
    ) {
        let Some(entry) = self.subscription(id) else { return };
        entry.state.set(state);
        let payload = object!([("state", event::subscription(state))]);
        if let Some(error) = error {
            set(&payload, "error", error::to_js(error));
        }
        entry.listeners.emit("state", &payload);
        if state == SubscriptionState::Terminated {
            self.forget_subscription(id);
        }
    }

    pub(super) fn notified(&self, id: SubscriptionId, content_type: &str, body: &str) {
        if let Some(entry) = self.subscription(id) {
            let payload = object!([("contentType", content_type), ("body", body)]);
            entry.listeners.emit("notify", &payload);
        }
    }

    fn forget_subscription(&self, id: SubscriptionId) {
        let entry = self.with(|state| take_first(&mut state.subscriptions, |entry| entry.id == id));
        if let Some(entry) = entry {
            entry.end();
        }
    }
}

impl SubscriptionEntry {
    /// Nothing more comes of it, and nobody shall wait for it.
    pub(crate) fn end(&self) {
        self.state.set(SubscriptionState::Terminated);
        let object = self.object.take();
        drop(object);
        settle_all(self.ending.take(), &Ok(()));
    }
}

/// A subscription or a publication. Made by the phone only.
#[wasm_bindgen]
pub struct Subscription {
    entry: Rc<SubscriptionEntry>,
    driver: Weak<Driver>,
}

#[wasm_bindgen]
impl Subscription {
    /// `pending`, `active` or `terminated`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn state(&self) -> JsValue {
        event::subscription(self.entry.state.get()).into()
    }

    /// Adds a listener; returns the function that removes it.
    ///
    /// # Errors
    /// `invalid_config` for an unknown event.
    pub fn on(&self, kind: &JsValue, listener: &JsValue) -> Result<Function, JsValue> {
        self.entry.listeners.add(EVENTS, kind, listener).map_err(|error| error::to_js(&error))
    }

    /// Publishes this body instead.
    ///
    /// # Errors
    /// `ended`, `invalid_config`; for a subscription `ended` too, as there is nothing of it to update.
    pub fn update(&self, body: &JsValue) -> Result<(), JsValue> {
        self.try_update(body).map_err(|error| error::to_js(&error))
    }

    /// Ends it; resolves when that is done. Never rejects.
    pub fn unsubscribe(&self) -> Promise {
        let driver = Driver::alive(&self.driver);
        let Some(driver) = driver.filter(|_| self.entry.state.get() != SubscriptionState::Terminated) else {
            return settled(&Ok(()));
        };
        let (promise, settler) = Settler::new();
        self.entry.ending.borrow_mut().push(settler);
        driver.with_phone(|phone, now| phone.unsubscribe(now, self.entry.id));
        driver.drain();
        promise
    }
}

impl Subscription {
    fn try_update(&self, body: &JsValue) -> Result<(), Error> {
        let driver = self.driver.upgrade().ok_or_else(call::ended)?;
        driver.check_alive()?;
        let mut request = self.entry.published.clone().ok_or_else(call::ended)?;
        request.body = config::text("body", body)?;
        driver
            .with_phone(|phone, now| phone.publish(now, Some(self.entry.id), request))
            .ok_or_else(call::ended)??;
        driver.drain();
        Ok(())
    }
}

impl Drop for Subscription {
    /// `free()`: without its object nobody could end it.
    fn drop(&mut self) {
        if self.entry.state.get() == SubscriptionState::Terminated {
            return;
        }
        self.entry.listeners.clear();
        if let Some(driver) = Driver::alive(&self.driver) {
            driver.with_phone(|phone, now| phone.unsubscribe(now, self.entry.id));
            driver.forget_subscription(self.entry.id);
            driver.drain();
        }
    }
}

fn not_configured() -> Error {
    error::new(crate::error::ErrorCode::NotConfigured, "The phone is not configured")
}
