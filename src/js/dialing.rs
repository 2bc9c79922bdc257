//! One `dial()`, from its arguments to its result.

use std::rc::Rc;

use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;

use super::call::CallEntry;
use super::config::{DialOptions, Settings};
use super::driver::Driver;
use super::promise::Settler;
use super::{error, event};
use crate::browser::listener::Listener;
use crate::browser::object::{object, set};
use crate::dial::destination::Destination;
use crate::dial::strategy::{self, Choice, Decision, StrategyName};
use crate::error::{Error, ErrorCode};
use crate::phone::{CallId, DialRequest, DialStage};

/// The dial that is running.
pub(crate) struct Dialing {
    settler: Settler,
    /// The call, once there is one.
    call: Option<Rc<CallEntry>>,
    strategy: Option<StrategyName>,
    on_progress: Option<Function>,
    abort: Option<Listener>,
}

impl Dialing {
    /// Resolves with a failure, without touching the state of the phone.
    pub(crate) fn fail(self, error: &Error) {
        let result = self.failure(error);
        self.settler.resolve(&result);
    }

    fn failure(&self, error: &Error) -> JsValue {
        let id = self.call.as_ref().map(|call| call.js_id());
        failure(&error::to_js(error), id, self.strategy)
    }
}

impl Driver {
    /// `dial()`: never rejects, and leaves `error` and `lastResult` behind on every path.
    pub(crate) fn dial(&self, destination: &JsValue, options: &JsValue) -> Promise {
        let (promise, settler) = Settler::new();
        let running = self.check_alive().and_then(|()| {
            self.with(|state| match state.dial {
                Some(_) => Err(error::new(ErrorCode::AlreadyDialing, "Another dial is in progress")),
                None => Ok(()),
            })
        });
        if let Err(error) = running {
            // The running dial goes on undisturbed and will put its own outcome in the place of this one.
            let js = error::to_js(&error);
            let result = failure(&js, None, None);
            self.remember(js, result.clone());
            settler.resolve(&result);
            return promise;
        }
        // From here on a dial is in progress: what the getters of the arguments do finds it so.
        self.with(|state| {
            state.dial =
                Some(Dialing { settler, call: None, strategy: None, on_progress: None, abort: None });
        });
        self.remember(JsValue::NULL, JsValue::NULL);
        if let Err(error) = self.start_dial(destination, options) {
            self.dial_failed(error);
        }
        self.drain();
        promise
    }

    fn start_dial(&self, destination: &JsValue, options: &JsValue) -> Result<(), Error> {
        let options = DialOptions::read(options)?;
        let request = self.plan(destination, &options)?;
        if options.signal.as_ref().is_some_and(web_sys::AbortSignal::aborted) {
            return Err(aborted());
        }
        let id = self.with_phone(|phone, now| phone.dial(now, request)).ok_or_else(not_configured)??;
        let call = self.adopt(id, Some(StrategyName::SipInvite)).ok_or_else(not_configured)?;
        call.audio.replace(options.audio);
        let me = self.weak().clone();
        let abort = options.signal.map(|signal| {
            let aborted = move |_| {
                if let Some(driver) = Self::alive(&me) {
                    driver.with_phone(|phone, now| phone.hangup(now, id, Some(aborted())));
                    driver.drain();
                }
            };
            Listener::new(&signal, "abort", Box::new(aborted))
        });
        self.with(|state| {
            if let Some(dial) = &mut state.dial {
                dial.call = Some(call);
                dial.on_progress = options.on_progress;
                dial.abort = abort;
            }
        });
        Ok(())
    }

    /// Everything that can be wrong before anything is sent or the microphone is opened.
    fn plan(&self, destination: &JsValue, options: &DialOptions) -> Result<DialRequest, Error> {
        let text = destination_text(destination)?;
        let settings = self.settings();
        if self.with(|state| state.phone.is_none()) {
            return Err(not_configured());
        }
        let (destination, decision) = decide(&settings, &text, options.strategy)?;
        self.with(|state| {
            if let Some(dial) = &mut state.dial {
                dial.strategy = Some(decision.strategy);
            }
        });
        strategy::check(&decision, settings.proxy_url.is_some())?;
        let domain = settings.domain().ok_or_else(not_configured)?;
        Ok(DialRequest {
            target: destination.request_uri(domain, &settings.provider),
            display_name: None,
            extra_headers: options.extra_headers.clone(),
            timeout: options.timeout,
        })
    }

    /// The strategy that a dial to this destination would use.
    pub(crate) fn strategy_for(&self, destination: &JsValue) -> Result<StrategyName, Error> {
        self.check_alive()?;
        let text = destination_text(destination)?;
        Ok(decide(&self.settings(), &text, None)?.1.strategy)
    }

    /// The running dial has come further.
    pub(crate) fn dial_stage(&self, id: CallId, stage: DialStage) {
        let progress = self.with(|state| {
            let dial = state.dial.as_ref()?;
            let call = dial.call.clone().filter(|call| call.id == id)?;
            Some((dial.on_progress.clone()?, call))
        });
        if let Some((function, call)) = progress {
            event::call_back(&function, &[&event::stage(stage).into(), &call.object(self.weak())]);
        }
    }

    /// The running dial is over.
    pub(crate) fn dial_done(&self, id: CallId, result: Result<(), Error>) {
        let ours = self.with(|state| {
            state.dial.as_ref().and_then(|dial| dial.call.as_ref()).is_some_and(|call| call.id == id)
        });
        if !ours {
            return;
        }
        match result {
            Err(error) => self.dial_failed(error),
            Ok(()) => {
                let Some(dial) = self.with(|state| state.dial.take()) else { return };
                let Some(call) = dial.call else { return };
                let result = object([
                    ("success", true.into()),
                    ("callId", call.js_id().into()),
                    ("strategy", event::strategy(dial.strategy)),
                    ("call", call.object(self.weak())),
                ]);
                self.remember(JsValue::NULL, result.clone());
                dial.settler.resolve(&result);
            }
        }
    }

    /// The running dial, if any, has failed.
    pub(crate) fn dial_failed(&self, error: Error) {
        let Some(dial) = self.with(|state| state.dial.take()) else { return };
        let js = error::to_js(&error);
        let id = dial.call.as_ref().map(|call| call.js_id());
        let result = failure(&js, id, dial.strategy);
        self.remember(js, result.clone());
        dial.settler.resolve(&result);
    }

    /// `error` and `lastResult`.
    pub(crate) fn remember(&self, error: JsValue, result: JsValue) {
        if self.check_alive().is_ok() {
            self.with(|state| (state.error, state.last_result) = (error, result));
        }
    }
}

fn destination_text(destination: &JsValue) -> Result<String, Error> {
    destination
        .as_string()
        .ok_or_else(|| error::new(ErrorCode::InvalidDestination, "The destination must be a string"))
}

/// The destination, and how it is to be called.
#[inline(never)]
fn decide(
    settings: &Settings,
    destination: &str,
    choice: Option<Choice>,
) -> Result<(Destination, Decision), Error> {
    let destination = Destination::parse(destination, settings.default_country.as_deref())?;
    let choice = choice.unwrap_or(settings.strategy);
    let has_proxy = settings.proxy_url.is_some();
    let decision = strategy::decide(choice, &settings.provider, &destination, has_proxy);
    Ok((destination, decision))
}

/// A `DialResult` without success.
fn failure(error: &JsValue, call_id: Option<&str>, strategy: Option<StrategyName>) -> JsValue {
    let result = object([("success", false.into()), ("error", error.clone())]);
    if let Some(id) = call_id {
        set(&result, "callId", id);
    }
    if let Some(strategy) = strategy {
        set(&result, "strategy", strategy.as_str());
    }
    result
}

fn aborted() -> Error {
    error::new(ErrorCode::Aborted, "The dial was aborted")
}

fn not_configured() -> Error {
    error::new(ErrorCode::NotConfigured, "The phone is not configured")
}
