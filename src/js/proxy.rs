//! Requests to the call proxy, with the headers of the application's own session.

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};

use super::config::{self, ProxyHeaders};
use super::driver::Driver;
use super::error;
use crate::browser::object::get;
use crate::browser::proxy_client::ProxyRequest;
use crate::browser::task::then;
use crate::dial::proxy::{ProxyCommand, ProxyFailure, ProxyReply};
use crate::error::{Error, ErrorCode};
use crate::phone::{Input, LogLevel, ProxyId};

/// The option that the errors name.
const FIELD: &str = "proxyHeaders";

/// One thing that was asked of the proxy; dropping it takes it back.
pub(crate) enum Asked {
    /// The application has been asked for headers.
    Headers,
    /// The request is under way.
    #[expect(dead_code, reason = "held for its Drop")]
    Request(ProxyRequest),
}

type Headers = Vec<(String, String)>;

impl Driver {
    /// Carries out `Output::Proxy`. Where the application's headers are there, the request leaves before this
    /// returns.
    pub(super) fn ask_proxy(&self, id: ProxyId, command: ProxyCommand, keepalive: bool) {
        let settings = self.settings();
        let function = match &settings.proxy_headers {
            ProxyHeaders::None => return self.send_to_proxy(id, &command, &[], keepalive),
            ProxyHeaders::Static(headers) => return self.send_to_proxy(id, &command, headers, keepalive),
            ProxyHeaders::Ask(function) => function,
        };
        self.with(|state| state.asked.push((id, Asked::Headers)));
        match function.call0(&JsValue::UNDEFINED) {
            Err(_) => self.headers_failed(id, failed()),
            Ok(given) if get(&given, "then").is_function() => {
                // On a page that is on its way out there may be no later.
                let last = self.with(|state| state.last_headers.clone().filter(|_| state.leaving));
                if let Some(headers) = last {
                    return self.send_to_proxy(id, &command, &headers, keepalive);
                }
                let me = self.weak().clone();
                let answered = move |given: Result<JsValue, JsValue>| {
                    if let Some(driver) = Self::alive(&me) {
                        match given {
                            Ok(given) => driver.headers_given(id, &command, &given, keepalive),
                            Err(_) => driver.headers_failed(id, failed()),
                        }
                    }
                };
                then(Promise::resolve(&given).unchecked_into(), Box::new(answered));
            }
            Ok(given) => self.headers_given(id, &command, &given, keepalive),
        }
    }

    /// The application has answered.
    fn headers_given(&self, id: ProxyId, command: &ProxyCommand, given: &JsValue, keepalive: bool) {
        let headers = if given.is_undefined() || given.is_null() {
            Ok(Headers::new())
        } else {
            config::proxy_headers(FIELD, given)
        };
        match headers {
            Ok(headers) => {
                // Not any more, where it was taken back meanwhile.
                if self.with(|state| state.asked.iter().any(|(asked, _)| *asked == id)) {
                    self.send_to_proxy(id, command, &headers, keepalive);
                }
                self.with(|state| state.last_headers = Some(headers));
            }
            Err(error) => self.headers_failed(id, error),
        }
    }

    fn headers_failed(&self, id: ProxyId, error: Error) {
        if self.answered(id).is_some() {
            self.log(LogLevel::Warn, &error.message);
            self.feed(Input::Proxy(id, Err(ProxyFailure::NotSent(error))));
        }
    }

    fn send_to_proxy(
        &self,
        id: ProxyId,
        command: &ProxyCommand,
        headers: &[(String, String)],
        keepalive: bool,
    ) {
        let settings = self.settings();
        let me = self.weak().clone();
        let report = move |reply: Option<ProxyReply>| {
            if let Some(driver) = Self::alive(&me) {
                drop(driver.answered(id));
                driver.feed(Input::Proxy(id, reply.ok_or(ProxyFailure::Network)));
            }
        };
        let sent = match &settings.proxy_url {
            Some(base) => ProxyRequest::send(base, command, headers, keepalive, Box::new(report)).ok(),
            None => None,
        };
        drop(self.answered(id));
        match sent {
            Some(request) => self.with(|state| state.asked.push((id, Asked::Request(request)))),
            None => {
                let error =
                    error::new(ErrorCode::ProxyUnreachable, "The browser does not send to this proxyUrl");
                self.feed(Input::Proxy(id, Err(ProxyFailure::NotSent(error))));
            }
        }
    }

    /// What was asked is not waited for any more.
    pub(super) fn answered(&self, id: ProxyId) -> Option<Asked> {
        self.with(|state| state.asked.extract_if(.., |(asked, _)| *asked == id).next())
            .map(|(_, asked)| asked)
    }
}

/// What was thrown is not repeated: it may well hold the secret.
fn failed() -> Error {
    Error::invalid_config(FIELD, "the function failed")
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;

    use js_sys::{Array, Function};
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::{object, string};
    use crate::dial::provider::ProviderRegistry;
    use crate::js::config::Settings;

    /// Stands in for `fetch`: keeps the requests, and answers as it is told to.
    pub(in super::super) struct FakeProxy {
        object: JsValue,
    }

    impl FakeProxy {
        /// `answers`: a function of JavaScript, from the method, the path after "/v1/" and how many came before to
        /// `[status, body]`, a promise of that, or `undefined` for no answer.
        pub(in super::super) fn new(answers: &str) -> Self {
            let body = format!(
                "const native = globalThis.fetch;
                const proxy = {{ requests: [], open: 0, restore() {{ globalThis.fetch = native; }} }};
                const answers = {answers};
                globalThis.fetch = async (request) => {{
                    const path = request.url.split('/v1/')[1];
                    const before = proxy.requests.filter((other) => other.method === request.method).length;
                    proxy.requests.push(request);
                    const answer = await answers(request.method, path, before);
                    if (answer === undefined) {{
                        proxy.open += 1;
                        await new Promise((_, reject) => request.signal.addEventListener('abort', () => {{
                            proxy.open -= 1;
                            reject(request.signal.reason);
                        }}));
                    }}
                    const [status, body] = answer;
                    if (status === 0) throw new TypeError('network');
                    return new Response(status === 204 ? null : JSON.stringify(body), {{ status }});
                }};
                return proxy;"
            );
            Self { object: Function::new_no_args(&body).call0(&JsValue::UNDEFINED).unwrap() }
        }

        pub(in super::super) fn requests(&self) -> Vec<web_sys::Request> {
            let requests: Array = get(&self.object, "requests").unchecked_into();
            requests.iter().map(JsCast::unchecked_into).collect()
        }

        pub(in super::super) fn methods(&self) -> Vec<String> {
            self.requests().iter().map(web_sys::Request::method).collect()
        }

        fn open(&self) -> f64 {
            get(&self.object, "open").as_f64().unwrap()
        }
    }

    impl Drop for FakeProxy {
        fn drop(&mut self) {
            get(&self.object, "restore").unchecked_into::<Function>().call0(&self.object).unwrap();
        }
    }

    pub(in super::super) async fn pause(ms: i32) {
        let promise = Promise::new(&mut |resolve, _| {
            let window = web_sys::window().unwrap();
            window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms).unwrap();
        });
        JsFuture::from(promise).await.unwrap();
    }

    pub(in super::super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let end = js_sys::Date::now() + 10_000.0;
        while !condition() {
            assert!(js_sys::Date::now() < end, "waited in vain: {what}");
            pause(5).await;
        }
    }

    fn driver(headers: &JsValue) -> (Rc<Driver>, Rc<core::cell::RefCell<Vec<String>>>) {
        let provider = |id: &str| ProviderRegistry::default().get(id).cloned();
        let config = object([
            ("servers", "ws://127.0.0.1:9".into()),
            ("uri", "sip:alice@sandbox.test".into()),
            ("proxyUrl", "/elks".into()),
            ("proxyHeaders", headers.clone()),
        ]);
        let settings = Settings::new(provider("custom").unwrap()).merged(&config, provider).unwrap();
        let driver = Driver::new(settings).unwrap();
        let logged = Rc::new(core::cell::RefCell::new(Vec::new()));
        let lines = logged.clone();
        let listener = crate::browser::listener::callback(Box::new(move |event: JsValue| {
            lines.borrow_mut().push(string(&event, "text").unwrap());
        }));
        driver.listeners.add(&["log"], &"log".into(), &listener.into_js_value()).unwrap();
        (driver, logged)
    }

    fn function(body: &str) -> JsValue {
        Function::new_no_args(body).into()
    }

    fn asked(driver: &Driver) -> usize {
        driver.with(|state| state.asked.len())
    }

    fn authorization(request: &web_sys::Request) -> Option<String> {
        request.headers().get("authorization").unwrap()
    }

    #[test]
    async fn headers_are_asked_for_each_time() {
        let proxy = FakeProxy::new("() => [204]");
        globalise_counter();
        let (driver, _) = driver(&function(
            "globalThis.asked += 1; return { Authorization: `Bearer ${globalThis.asked}` };",
        ));
        for id in 1..=2 {
            driver.ask_proxy(ProxyId(id), ProxyCommand::Config, false);
            // A function that answers at once costs no turn of the event loop.
            assert_eq!(proxy.requests().len(), id as usize);
        }
        let seen: Vec<_> = proxy.requests().iter().filter_map(authorization).collect();
        assert_eq!(seen, ["Bearer 1", "Bearer 2"]);
        until("the answers", || asked(&driver) == 0).await;
        driver.release();
    }

    fn globalise_counter() {
        js_sys::Reflect::set(&js_sys::global(), &"asked".into(), &0.into()).unwrap();
    }

    #[test]
    async fn bad_headers_are_refused_and_never_shown() {
        let proxy = FakeProxy::new("() => [204]");
        for body in [
            "return { Authorization: 'Basic hunter2' };",
            "return { AUTHORIZATION: ' \\tbAsIc hunter2' };",
            "return { 'Proxy-Authorization': 'Basic hunter2' };",
            "return { 'X-Forwarded-Authorization': 'BASIC hunter2' };",
            "return { Authorization: 'Bearer x, Basic hunter2' };",
            "return { 'X-Api-Key': 'hunter2' };",
            "return { Cookie: 'hunter2' };",
            "return { 'Sec-Fetch-Site': 'hunter2' };",
            "return { 'X Y': 'hunter2' };",
            "return { X: 'hunter2\\r\\nY: 1' };",
            "return { X: 'hunter2\\u0100' };",
            "return { X: 1 };",
            "return 'hunter2';",
            "return ['hunter2'];",
            "throw new Error('hunter2');",
            "return Promise.reject('hunter2');",
            "return Promise.resolve({ Authorization: 'Basic hunter2' });",
        ] {
            let (driver, logged) = driver(&function(body));
            driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
            until("the refusal", || asked(&driver) == 0).await;
            let lines = logged.borrow().clone();
            assert_eq!(lines.len(), 1, "{body}");
            assert!(lines[0].starts_with(FIELD) && !lines[0].contains("hunter2"), "{lines:?}");
            driver.release();
        }
        assert_eq!(proxy.requests().len(), 0);
        for good in ["return {};", "return undefined;", "return { 'X-Session': 'basic' };"] {
            let (driver, _) = driver(&function(good));
            driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
            until("the answer", || asked(&driver) == 0).await;
            driver.release();
        }
        assert_eq!(proxy.requests().len(), 3);
    }

    #[test]
    async fn what_is_taken_back_is_not_sent_or_is_aborted() {
        let proxy = FakeProxy::new("() => undefined");
        let (driver, _) =
            driver(&function("return new Promise((resolve) => { globalThis.give = resolve; });"));
        driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
        assert!(driver.answered(ProxyId(1)).is_some());
        let give: Function = get(&js_sys::global(), "give").unchecked_into();
        give.call1(&JsValue::UNDEFINED, &object([("X", "1".into())])).unwrap();
        pause(20).await;
        assert_eq!(proxy.requests().len(), 0);

        driver.ask_proxy(ProxyId(2), ProxyCommand::Config, false);
        let give: Function = get(&js_sys::global(), "give").unchecked_into();
        give.call1(&JsValue::UNDEFINED, &object([("X", "2".into())])).unwrap();
        until("the request", || proxy.open() > 0.0).await;
        assert!(driver.answered(ProxyId(2)).is_some());
        until("the abort", || proxy.open() == 0.0).await;
        driver.release();
    }

    #[test]
    async fn a_page_that_is_left_sends_what_must_be_sent_at_once() {
        let proxy = FakeProxy::new("() => [204]");
        let (driver, _) = driver(&function("return Promise.resolve({ Authorization: 'Bearer x' });"));
        driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
        until("the first", || proxy.requests().len() == 1 && asked(&driver) == 0).await;
        let cancel = || ProxyCommand::Cancel { call: "8e03978e-40d5-43e8-bc93-6894a57f9324".to_owned() };
        driver.with(|state| state.leaving = true);
        driver.ask_proxy(ProxyId(2), cancel(), true);
        let requests = proxy.requests();
        assert_eq!(requests.len(), 2, "not synchronous");
        assert_eq!(authorization(&requests[1]).as_deref(), Some("Bearer x"));
        assert_eq!(get(&requests[1], "keepalive"), JsValue::TRUE);
        driver.with(|state| state.leaving = false);
        // Otherwise what it is asked for now counts.
        driver.ask_proxy(ProxyId(3), cancel(), true);
        assert_eq!(proxy.requests().len(), 2);
        until("the third", || proxy.requests().len() == 3).await;
        driver.release();
    }
}
