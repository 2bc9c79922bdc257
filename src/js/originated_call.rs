//! `originateCall()`: a call by REST that something else answers.
//!
//! It has a driver of its own whose phone never connects: all that is used of it is the call at the proxy.

use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::call::{CallEntry, Wait};
use super::config::OriginateOptions;
use super::dial_strategy::provider;
use super::driver::Driver;
use super::promise::{Settler, settled};
use super::{error, event};
use crate::browser::listener::Listener;
use crate::dial::provider::ProviderRegistry;
use crate::dial::strategy::StrategyName;
use crate::error::{Error, ErrorCode};
use crate::phone::{AnswerBy, CallId, Direction, OriginateRequest};

/// The call behind one `originateCall()`.
pub(crate) struct Originated {
    call: Rc<CallEntry>,
    to: String,
    /// Until the proxy has taken the call on, or has not.
    settler: Option<Settler>,
    #[expect(dead_code, reason = "held for its Drop")]
    abort: Option<Listener>,
}

/// Asks the call proxy for one call. Rejects with a SoftphoneError.
#[wasm_bindgen(js_name = originateCall)]
pub fn originate_call(options: &JsValue) -> Promise {
    start(options).unwrap_or_else(|error| settled(&Err(error)))
}

fn start(options: &JsValue) -> Result<Promise, Error> {
    let OriginateOptions { settings, to, signal } =
        OriginateOptions::read(options, provider(ProviderRegistry::DEFAULT_ID)?)?;
    if signal.as_ref().is_some_and(web_sys::AbortSignal::aborted) {
        return Err(aborted());
    }
    let request = OriginateRequest {
        to: to.clone(),
        caller_id: settings.caller_id.clone(),
        timeout: None,
        answer: AnswerBy::Elsewhere,
        listens_only: None,
    };
    let driver = Driver::new(settings)?;
    let missing = || error::new(ErrorCode::InvalidState, "The call could not be made");
    let id = driver.with_phone(|phone, now| phone.originate(now, request)).ok_or_else(missing)??;
    let call = driver.adopt(id, Some(StrategyName::RestOriginate)).ok_or_else(missing)?;
    let weak = driver.weak().clone();
    let abort = signal.map(|signal| {
        let aborted = move |_| {
            if let Some(driver) = Driver::alive(&weak) {
                driver.end_originated(id, Some(aborted()));
            }
        };
        Listener::new(&signal, "abort", Box::new(aborted))
    });
    let (promise, settler) = Settler::new();
    driver.with(|state| {
        state.originated = Some(Originated { call, to, settler: Some(settler), abort });
        state.keep = Some(driver.clone());
    });
    driver.drain();
    Ok(promise)
}

impl Driver {
    /// The promise of `originateCall()` can be settled: the proxy has taken the call on, or has not.
    pub(super) fn originate_done(&self, result: &Result<(), Error>) {
        let settling = self.peek_originated(|originated| {
            Some((originated.settler.take()?, originated.call.clone(), originated.to.clone()))
        });
        let Some((settler, call, to)) = settling else { return };
        match (result, self.weak().upgrade()) {
            (Ok(()), Some(driver)) => settler.resolve(&OriginatedCall { call, to, driver }.into()),
            (Err(error), _) => settler.reject(error),
            (Ok(()), None) => {}
        }
    }

    /// The call is over: nothing keeps its driver any more but the application, and a last request.
    pub(super) fn originate_ended(&self) {
        let over = self.with(|state| {
            state.over |= state.originated.is_some();
            state.originated.take()
        });
        drop(over);
    }

    fn peek_originated<T>(&self, f: impl FnOnce(&mut Originated) -> Option<T>) -> Option<T> {
        self.with(|state| state.originated.as_mut().and_then(f))
    }

    fn end_originated(&self, id: CallId, cause: Option<Error>) {
        self.with_phone(|phone, now| phone.hangup(now, id, cause));
        self.drain();
    }
}

/// A call that was asked of the proxy and that something else answers.
#[wasm_bindgen]
pub struct OriginatedCall {
    call: Rc<CallEntry>,
    to: String,
    driver: Rc<Driver>,
}

#[wasm_bindgen]
impl OriginatedCall {
    /// The UUID by which the proxy knows the call.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn id(&self) -> JsValue {
        self.call.js_id().into()
    }

    /// `outgoing`.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn direction(&self) -> JsValue {
        event::direction(Direction::Outgoing).into()
    }

    /// The number that the provider's call to the client shows; empty where the proxy does not say.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn from(&self) -> JsValue {
        self.call.info.borrow().local_number.as_deref().unwrap_or_default().into()
    }

    /// The destination, E.164.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn to(&self) -> JsValue {
        self.to.as_str().into()
    }

    /// The proxy's word for where the call stands; `ended` at the end, however it came.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn state(&self) -> JsValue {
        if self.call.has_ended() {
            return "ended".into();
        }
        self.call.info.borrow().proxy_state.as_deref().unwrap_or_default().into()
    }

    /// Ends the call; resolves when it is over.
    pub fn cancel(&self) -> Promise {
        if self.call.has_ended() {
            return settled(&Ok(()));
        }
        if let Err(error) = self.driver.check_alive() {
            return settled(&Err(error));
        }
        let promise = self.call.wait(Wait::End);
        self.driver.end_originated(self.call.id, None);
        promise
    }
}

fn aborted() -> Error {
    error::new(ErrorCode::Aborted, "The call was aborted")
}

#[cfg(test)]
mod tests {
    use js_sys::{Function, Reflect};
    use wasm_bindgen::JsCast;
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::proxy::tests::{FakeProxy, until};
    use super::*;
    use crate::browser::object::{get, object_of, string};

    const ANSWERS: &str = "(method, path, before) => {
        const expect = { from: '+46766860000', to: '+4600100100' };
        const call = (state, seq, more) => ({ call_id: path.slice(6, 42), state, seq, confirmed: false, ended: false,
            reason: null, expect, ...more });
        if (path === 'config') return [200, { number: '+4600100100', default_caller_id: 'main',
            caller_ids: [{ key: 'main', from: '+46766860000' }] }];
        if (method === 'PUT') return [202, call('ringing_client', 1)];
        if (path.endsWith('/claim')) return [204];
        if (method === 'DELETE') return [202, call('cancelling', 9)];
        if (before === 1) return [200, call('bridging', 2, { confirmed: true })];
        return undefined;
    }";

    fn options() -> JsValue {
        object_of([
            ("proxyUrl", "/elks".into()),
            ("destination", "+46700000001".into()),
            ("callerId", "main".into()),
            ("headers", object_of([("Authorization", "Bearer x".into())])),
        ])
    }

    async fn settle(promise: Promise) -> Result<JsValue, JsValue> {
        JsFuture::from(promise).await
    }

    async fn refused(options: &JsValue) -> String {
        string(&settle(originate_call(options)).await.unwrap_err(), "code").unwrap()
    }

    fn cancel(call: &JsValue) -> Promise {
        let cancel: Function = get(call, "cancel").unchecked_into();
        cancel.call0(call).unwrap().unchecked_into()
    }

    #[test]
    async fn a_call_from_the_request_to_its_end() {
        let proxy = FakeProxy::new(ANSWERS);
        let call = settle(originate_call(&options())).await.unwrap();
        let id = string(&call, "id").unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(string(&call, "direction").as_deref(), Some("outgoing"));
        assert_eq!(string(&call, "from").as_deref(), Some("+46766860000"));
        assert_eq!(string(&call, "to").as_deref(), Some("+46700000001"));
        until("news", || string(&call, "state").as_deref() == Some("bridging")).await;
        let put = proxy.requests().into_iter().find(|request| request.method() == "PUT").unwrap();
        assert!(put.url().ends_with(&format!("/elks/v1/calls/{id}")));
        assert_eq!(put.headers().get("authorization").unwrap().as_deref(), Some("Bearer x"));
        let body = JsFuture::from(put.text().unwrap()).await.unwrap().as_string().unwrap();
        assert_eq!(body, r#"{"to":"+46700000001","caller_id":"main"}"#);

        settle(cancel(&call)).await.unwrap();
        assert_eq!(string(&call, "state").as_deref(), Some("ended"));
        until("the cancellation", || proxy.methods().iter().any(|method| method == "DELETE")).await;
        settle(cancel(&call)).await.unwrap();
        assert_eq!(proxy.methods().iter().filter(|method| *method == "PUT").count(), 1);
        assert_eq!(proxy.methods().iter().filter(|method| *method == "DELETE").count(), 1);
    }

    #[test]
    async fn a_refusal_rejects() {
        let proxy = FakeProxy::new(
            "(method) => (method === 'PUT' ? [403, { code: 'destination_denied' }] : [404, {}])",
        );
        assert_eq!(refused(&options()).await, "proxy_denied");
        assert!(proxy.methods().iter().any(|method| method == "PUT"));
    }

    #[test]
    async fn an_abort_counts_before_and_after() {
        let proxy = FakeProxy::new(ANSWERS);
        let controller = web_sys::AbortController::new().unwrap();
        let with_signal = options();
        Reflect::set(&with_signal, &"signal".into(), &controller.signal()).unwrap();
        let call = settle(originate_call(&with_signal)).await.unwrap();
        controller.abort();
        until("the end", || string(&call, "state").as_deref() == Some("ended")).await;
        until("the cancellation", || proxy.methods().iter().any(|method| method == "DELETE")).await;
        let asked = proxy.requests().len();
        assert_eq!(refused(&with_signal).await, "aborted");
        assert_eq!(proxy.requests().len(), asked, "an aborted signal asks for nothing");

        // In the middle of the request.
        let controller = web_sys::AbortController::new().unwrap();
        Reflect::set(&with_signal, &"signal".into(), &controller.signal()).unwrap();
        let call = originate_call(&with_signal);
        controller.abort();
        assert_eq!(string(&settle(call).await.unwrap_err(), "code").as_deref(), Some("aborted"));
        until("the cancellation", || {
            proxy.methods().iter().filter(|method| *method == "DELETE").count() == 2
        })
        .await;
    }

    #[test]
    async fn wrong_options_reject_and_nothing_is_asked() {
        let proxy = FakeProxy::new(ANSWERS);
        for (field, value, code) in [
            ("proxyUrl", JsValue::UNDEFINED, "proxy_required"),
            ("proxyUrl", "http://proxy.example.com".into(), "invalid_config"),
            ("destination", "sip:bob@example.com".into(), "invalid_destination"),
            ("destination", JsValue::UNDEFINED, "invalid_destination"),
            ("destination", "0701234567".into(), "invalid_destination"),
            ("callerId", "a b".into(), "invalid_config"),
            ("headers", object_of([("Authorization", "Basic eA==".into())]), "invalid_config"),
            ("signal", 1.into(), "invalid_config"),
            ("apiPassword", "x".into(), "invalid_config"),
        ] {
            let options = options();
            Reflect::set(&options, &field.into(), &value).unwrap();
            assert_eq!(refused(&options).await, code, "{field}");
        }
        assert_eq!(proxy.requests().len(), 0);
    }
}
