//! Requests to the call proxy, with the headers of the application's own session.

use std::rc::Rc;

use wasm_bindgen::JsValue;

use super::config::{self, ProxyHeaders, Settings};
use super::driver::{Driver, take_first};
use super::error;
use crate::browser::object::get;
use crate::browser::proxy_client::ProxyRequest;
use crate::browser::task::{promised, then};
use crate::dial::proxy::{ProxyCommand, ProxyFailure, ProxyReply};
use crate::error::{Error, ErrorCode};
use crate::phone::{Input, LogLevel, ProxyId};

/// The option that the errors name.
const FIELD: &str = "proxyHeaders";

/// One thing that was asked of the proxy; dropping it takes it back.
pub(crate) enum Asked {
    /// The application has been asked for headers.
    Headers(Errand),
    /// The request is under way.
    #[expect(dead_code, reason = "held for its Drop")]
    Request(ProxyRequest),
}

/// What is to be sent, and where: headers that the application gave for one proxy never go to another that it has
/// named meanwhile.
pub(crate) struct Errand {
    command: ProxyCommand,
    keepalive: bool,
    settings: Rc<Settings>,
}

type Headers = Vec<(String, String)>;

impl Driver {
    /// Carries out `Job::Proxy`. Where the application's headers are there, the request leaves before this
    /// returns.
    pub(super) fn ask_proxy(&self, id: ProxyId, command: ProxyCommand, keepalive: bool) {
        if let ProxyCommand::Cancel { call } = &command {
            self.withdraw(call);
        }
        let settings = self.settings();
        let function = match &settings.proxy_headers {
            ProxyHeaders::Static(headers) => {
                let errand = Errand { command, keepalive, settings: settings.clone() };
                return self.send_to_proxy(id, &errand, headers);
            }
            ProxyHeaders::Ask(function) => function.clone(),
        };
        let errand = Errand { command, keepalive, settings };
        self.with(|state| state.asked.push((id, Asked::Headers(errand))));
        match function.call0(&JsValue::UNDEFINED) {
            Ok(given) if get(&given, "then").is_function() => {
                let me = self.weak().clone();
                let answered = move |given: Result<JsValue, JsValue>| {
                    if let Some(driver) = Self::alive(&me) {
                        driver.headers_given(id, &given);
                    }
                };
                then(promised(Ok(given)), Box::new(answered));
            }
            given => self.headers_given(id, &given),
        }
    }

    /// A call that is cancelled before its request has left is not asked for any more.
    fn withdraw(&self, cancelled: &str) {
        let started = self.take_asked(&|_, asked| {
            matches!(asked, Asked::Headers(Errand { command: ProxyCommand::Start { call, .. }, .. })
                if call == cancelled)
        });
        if let Some((id, _)) = started {
            let error = error::new(ErrorCode::Aborted, "The call was cancelled");
            self.feed(Input::Proxy(id, Err(ProxyFailure::NotSent(error))));
        }
    }

    /// The page is on its way out: cancellations that wait for headers leave now, with those that were given last.
    pub(super) fn hurry_cancellations(&self) {
        let (headers, settings) = self.with(|state| (state.last_headers.clone(), state.settings.clone()));
        let Some(headers) = headers else { return };
        let waits = |_, asked: &Asked| match asked {
            Asked::Headers(Errand { command: ProxyCommand::Cancel { .. }, settings: of, .. }) => {
                Rc::ptr_eq(of, &settings)
            }
            _ => false,
        };
        while let Some((id, Asked::Headers(errand))) = self.take_asked(&waits) {
            self.send_to_proxy(id, &errand, &headers);
        }
    }

    /// The application has answered; not of interest where the request was taken back meanwhile, or has left.
    fn headers_given(&self, id: ProxyId, given: &Result<JsValue, JsValue>) {
        let waiting = self.take_asked(&|asked, what| asked == id && matches!(what, Asked::Headers(_)));
        let Some((_, Asked::Headers(errand))) = waiting else { return };
        let headers = match given {
            Ok(given) if given.is_undefined() || given.is_null() => Ok(Headers::new()),
            Ok(given) => config::proxy_headers(FIELD, given),
            // What was thrown is not repeated: it may well hold the secret.
            Err(_) => Err(Error::invalid_config(FIELD, "the function failed")),
        };
        match headers {
            Ok(headers) => {
                self.send_to_proxy(id, &errand, &headers);
                self.with(|state| {
                    if Rc::ptr_eq(&state.settings, &errand.settings) {
                        state.last_headers = Some(headers);
                    }
                });
            }
            Err(error) => {
                self.log(LogLevel::Warn, &error.message);
                self.feed(Input::Proxy(id, Err(ProxyFailure::NotSent(error))));
            }
        }
    }

    fn send_to_proxy(&self, id: ProxyId, errand: &Errand, headers: &[(String, String)]) {
        let me = self.weak().clone();
        let report = move |reply: Option<ProxyReply>| {
            // Nobody waits for it any more where it was taken back.
            if let Some(driver) = Self::alive(&me)
                && driver.answered(id)
            {
                driver.feed(Input::Proxy(id, reply.ok_or(ProxyFailure::Network)));
            }
        };
        let sent = errand.settings.proxy_url.as_ref().and_then(|base| {
            ProxyRequest::send(base, &errand.command, headers, errand.keepalive, Box::new(report)).ok()
        });
        match sent {
            Some(request) => self.with(|state| state.asked.push((id, Asked::Request(request)))),
            None => {
                let error =
                    error::new(ErrorCode::ProxyUnreachable, "The browser does not send to this proxyUrl");
                self.feed(Input::Proxy(id, Err(ProxyFailure::NotSent(error))));
            }
        }
    }

    /// What was asked is not waited for any more; whether it was.
    pub(super) fn answered(&self, id: ProxyId) -> bool {
        self.take_asked(&|asked, _| asked == id).is_some()
    }

    fn take_asked(&self, which: &dyn Fn(ProxyId, &Asked) -> bool) -> Option<(ProxyId, Asked)> {
        self.with(|state| take_first(&mut state.asked, |(id, asked)| which(*id, asked)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;

    use js_sys::{Array, Function, Promise};
    use wasm_bindgen::JsCast;
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::{object_of, string};
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
        let config = object_of([
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
        assert!(driver.answered(ProxyId(1)));
        let give: Function = get(&js_sys::global(), "give").unchecked_into();
        give.call1(&JsValue::UNDEFINED, &object_of([("X", "1".into())])).unwrap();
        pause(20).await;
        assert_eq!(proxy.requests().len(), 0);

        driver.ask_proxy(ProxyId(2), ProxyCommand::Config, false);
        let give: Function = get(&js_sys::global(), "give").unchecked_into();
        give.call1(&JsValue::UNDEFINED, &object_of([("X", "2".into())])).unwrap();
        until("the request", || proxy.open() > 0.0).await;
        assert!(driver.answered(ProxyId(2)));
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
        driver.ask_proxy(ProxyId(2), cancel(), true);
        assert_eq!(proxy.requests().len(), 1, "it waits for headers");
        driver.hurry_cancellations();
        let requests = proxy.requests();
        assert_eq!(requests.len(), 2, "not synchronous");
        assert_eq!(authorization(&requests[1]).as_deref(), Some("Bearer x"));
        assert_eq!(get(&requests[1], "keepalive"), JsValue::TRUE);
        pause(20).await;
        assert_eq!(proxy.requests().len(), 2, "sent twice");
        // Otherwise what it is asked for now counts.
        driver.ask_proxy(ProxyId(3), cancel(), true);
        assert_eq!(proxy.requests().len(), 2);
        until("the third", || proxy.requests().len() == 3).await;
        driver.release();
    }

    #[test]
    async fn headers_stay_with_the_proxy_that_they_were_asked_for() {
        let proxy = FakeProxy::new("() => [204]");
        let (driver, _) =
            driver(&function("return new Promise((resolve) => { globalThis.give = resolve; });"));
        driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
        let provider = |id: &str| ProviderRegistry::default().get(id).cloned();
        let other = driver.settings().merged(&object_of([("proxyUrl", "/other".into())]), provider).unwrap();
        driver.with(|state| state.settings = Rc::new(other));
        let give: Function = get(&js_sys::global(), "give").unchecked_into();
        give.call1(&JsValue::UNDEFINED, &object_of([("Authorization", "Bearer x".into())])).unwrap();
        until("the request", || proxy.requests().len() == 1).await;
        assert!(proxy.requests()[0].url().ends_with("/elks/v1/config"), "{}", proxy.requests()[0].url());
        assert!(driver.with(|state| state.last_headers.is_none()), "kept for another proxy");
        driver.release();
    }

    #[test]
    async fn what_is_cancelled_before_it_was_sent_is_not_sent() {
        let proxy = FakeProxy::new("() => [204]");
        let (driver, _) = driver(&function(
            "return new Promise((resolve) => { (globalThis.gives ??= []).push(resolve); });",
        ));
        let call = "8e03978e-40d5-43e8-bc93-6894a57f9324".to_owned();
        let start = ProxyCommand::Start { call: call.clone(), to: "+461".to_owned(), caller_id: None };
        driver.ask_proxy(ProxyId(1), start, false);
        driver.ask_proxy(ProxyId(2), ProxyCommand::Cancel { call }, true);
        let gives: Array = get(&js_sys::global(), "gives").unchecked_into();
        for give in gives.iter() {
            let give: Function = give.unchecked_into();
            give.call1(&JsValue::UNDEFINED, &JsValue::UNDEFINED).unwrap();
        }
        until("the answers", || !proxy.requests().is_empty() && asked(&driver) == 0).await;
        assert_eq!(proxy.methods(), ["DELETE"]);
        driver.release();
    }

    #[test]
    async fn what_stands_in_for_fetch_may_be_odd() {
        let native = get(&js_sys::global(), "fetch");
        let put = |fetch: JsValue| {
            js_sys::Reflect::set(&js_sys::global(), &"fetch".into(), &fetch).unwrap();
        };
        for body in [
            "throw new Error('no');",
            "return undefined;",
            "return Promise.resolve({ status: 204 });",
            "return { status: 200, text: () => 'x' };",
            "return { status: NaN, text: async () => 7 };",
        ] {
            let (driver, _) = driver(&JsValue::UNDEFINED);
            put(function(body));
            driver.ask_proxy(ProxyId(1), ProxyCommand::Config, false);
            until(body, || asked(&driver) == 0).await;
            driver.check_alive().unwrap();
            driver.release();
        }
        put(native);
    }
}
