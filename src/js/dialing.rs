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
use crate::browser::media_devices::Audio;
use crate::browser::object::{object, set};
use crate::dial::destination::Destination;
use crate::dial::strategy::{self, Choice, Decision, StrategyName};
use crate::error::{Error, ErrorCode};
use crate::phone::{AnswerBy, CallId, DialRequest, DialStage, OriginateRequest};

/// What to ask of the phone.
enum Plan {
    Invite(DialRequest),
    Rest(OriginateRequest),
}

/// The dial that is running.
pub(crate) struct Dialing {
    settler: Settler,
    /// The call, once there is one.
    call: Option<Rc<CallEntry>>,
    strategy: Option<StrategyName>,
    on_progress: Option<Function>,
    abort: Option<Listener>,
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
        let plan = self.plan(destination, &options)?;
        if options.signal.as_ref().is_some_and(web_sys::AbortSignal::aborted) {
            return Err(aborted());
        }
        let (id, strategy) = match plan {
            Plan::Invite(request) => {
                (self.with_phone(|phone, now| phone.dial(now, request)), StrategyName::SipInvite)
            }
            Plan::Rest(request) => {
                (self.with_phone(|phone, now| phone.originate(now, request)), StrategyName::RestOriginate)
            }
        };
        let id = id.ok_or_else(not_configured)??;
        let call = self.adopt(id, Some(strategy)).ok_or_else(not_configured)?;
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
    fn plan(&self, destination: &JsValue, options: &DialOptions) -> Result<Plan, Error> {
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
        if let (StrategyName::RestOriginate, Some(number)) = (decision.strategy, destination.phone_number()) {
            if !options.extra_headers.is_empty() {
                return Err(Error::invalid_config(
                    "extraHeaders",
                    "rest-originate sends no INVITE to put them in",
                ));
            }
            return Ok(Plan::Rest(OriginateRequest {
                to: number.e164().to_owned(),
                caller_id: options.caller_id.clone().or_else(|| settings.caller_id.clone()),
                timeout: options.timeout,
                answer: AnswerBy::ThisPhone,
                listens_only: options.audio.as_ref().map(Audio::is_off),
            }));
        }
        let domain = settings.domain().ok_or_else(not_configured)?;
        Ok(Plan::Invite(DialRequest {
            target: destination.request_uri(domain, &settings.provider),
            display_name: None,
            extra_headers: options.extra_headers.clone(),
            timeout: options.timeout,
            listens_only: options.audio.as_ref().map(Audio::is_off),
            continues: None,
        }))
    }

    /// The SIP URI of a destination, read like that of `dial()`.
    pub(super) fn target_uri(&self, destination: &JsValue) -> Result<String, Error> {
        let text = destination_text(destination)?;
        let settings = self.settings();
        let destination = Destination::parse(&text, settings.default_country.as_deref())?;
        Ok(destination.request_uri(settings.domain().ok_or_else(not_configured)?, &settings.provider))
    }

    /// How a dial to this destination would go, and why.
    pub(crate) fn decision_for(&self, destination: &JsValue) -> Result<Decision, Error> {
        self.check_alive()?;
        let text = destination_text(destination)?;
        Ok(decide(&self.settings(), &text, None)?.1)
    }

    /// The running dial has come further.
    pub(crate) fn dial_stage(&self, id: CallId, stage: DialStage) {
        let progress = self.with(|state| {
            let dial = state.dial.as_ref()?;
            let call = dial.call.clone().filter(|call| call.id == id)?;
            Some((dial.on_progress.clone()?, call))
        });
        if let Some((function, call)) = progress {
            let (stage, call) = (event::stage(stage).into(), call.object(self.weak()));
            if let Err(thrown) = function.call2(&JsValue::UNDEFINED, &stage, &call) {
                event::report(&thrown);
            }
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
                let result = object!([
                    ("success", true),
                    ("callId", call.js_id()),
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

    /// `error` and `lastResult`; a panic may have left the state borrowed.
    pub(crate) fn remember(&self, error: JsValue, result: JsValue) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            (state.error, state.last_result) = (error, result);
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
    let result = object!([("success", false), ("error", error.clone())]);
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

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use js_sys::Array;
    use wasm_bindgen::JsCast;
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use web_sys::RtcSdpType;

    use super::super::config::Settings;
    use super::super::proxy::tests::{FakeProxy, until};
    use super::*;
    use crate::browser::listener::callback;
    use crate::browser::object::object_of;
    use crate::browser::object::{get, string};
    use crate::browser::peer_connection::{Configuration, PeerConnection};
    use crate::dial::provider::ProviderRegistry;

    /// A proxy that confirms when it is told to (`confirm()`), and the provider's number.
    const ANSWERS: &str = "(() => {
        let seq = 0;
        const confirmed = new Promise((resolve) => { globalThis.confirm = resolve; });
        return async (method, path) => {
            const call = (state, more) => ({ state, seq: (seq += 1), confirmed: false, ended: false,
                expect: { from: '+46766860000', to: '+4600100100' }, ...more });
            if (path === 'config') return [404, {}];
            if (method === 'PUT') return [202, call('ringing_client')];
            if (method === 'DELETE') return [202, call('cancelling')];
            if (path.endsWith('/claim')) return [204];
            if (seq > 1) return undefined;
            await confirmed;
            return [200, call('bridging', { confirmed: true })];
        };
    })()";

    /// Stands in for the WebSocket and the server behind it.
    struct FakeServer(JsValue);

    impl FakeServer {
        fn new() -> Self {
            let body = "
                const native = globalThis.WebSocket;
                const server = { sent: [], restore() { globalThis.WebSocket = native; } };
                server.receive = (text) => server.socket.dispatchEvent(new MessageEvent('message', { data: text }));
                globalThis.WebSocket = class extends EventTarget {
                    constructor(url, protocol) {
                        super();
                        this.protocol = protocol;
                        server.socket = this;
                        setTimeout(() => this.dispatchEvent(new Event('open')));
                    }
                    send(text) { server.sent.push(text); }
                    close() { setTimeout(() => this.dispatchEvent(new Event('close'))); }
                };
                return server;";
            Self(Function::new_no_args(body).call0(&JsValue::UNDEFINED).unwrap())
        }

        fn sent(&self) -> Vec<String> {
            get(&self.0, "sent")
                .unchecked_into::<Array>()
                .iter()
                .filter_map(|text| text.as_string())
                .collect()
        }

        fn find(&self, start: &str) -> Option<String> {
            self.sent().into_iter().find(|text| text.starts_with(start))
        }

        fn receive(&self, text: &str) {
            let receive: Function = get(&self.0, "receive").unchecked_into();
            receive.call1(&JsValue::UNDEFINED, &text.into()).unwrap();
        }

        /// A tone in the call with this Call-ID.
        fn info(&self, call: &str, from: &str, to_tag: &str) {
            let body = "Signal=5\r\nDuration=100\r\n";
            let text = format!(
                "INFO sip:4600100100@client.invalid SIP/2.0\r\nVia: SIP/2.0/WS 192.0.2.1;branch=z9hG4bKinfo{call}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{from}@voip.46elks.com>;tag=a\r\n\
                 To: <sip:4600100100@voip.46elks.com>{to_tag}\r\nCall-ID: {call}\r\nCSeq: 2 INFO\r\n\
                 Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            self.receive(&text);
        }

        /// A request of the call with this Call-ID.
        fn request(&self, method: &str, call: &str, from: &str, to_tag: &str, sdp: &str) {
            let text = format!(
                "{method} sip:4600100100@client.invalid SIP/2.0\r\nVia: SIP/2.0/WS 192.0.2.1;branch=z9hG4bK{method}{call}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:{from}@voip.46elks.com>;tag=a\r\n\
                 To: <sip:4600100100@voip.46elks.com>{to_tag}\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:b@192.0.2.1;transport=ws>\r\nContent-Type: application/sdp\r\n\
                 Content-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            );
            self.receive(&text);
        }
    }

    impl Drop for FakeServer {
        fn drop(&mut self) {
            get(&self.0, "restore").unchecked_into::<Function>().call0(&self.0).unwrap();
        }
    }

    async fn phone() -> Rc<Driver> {
        let provider = |id: &str| ProviderRegistry::default().get(id).cloned();
        let config = object_of([
            ("servers", "ws://127.0.0.1:9".into()),
            ("uri", "sip:4600100100@voip.46elks.com".into()),
            ("register", false.into()),
            ("providerId", "46elks".into()),
            ("proxyUrl", "/elks".into()),
        ]);
        let driver =
            Driver::new(Settings::new(provider("custom").unwrap()).merged(&config, provider).unwrap());
        let driver = driver.unwrap();
        driver.with_phone(|phone, now| phone.connect(now));
        driver.drain();
        until("the connection", || {
            driver.with(|state| state.connection == crate::phone::ConnectionState::Connected)
        })
        .await;
        driver
    }

    /// Starts a dial; the stages that it comes to.
    fn dial(driver: &Rc<Driver>) -> (Promise, Rc<RefCell<Vec<String>>>) {
        let stages = Rc::new(RefCell::new(Vec::new()));
        let seen = stages.clone();
        let listener = callback(Box::new(move |stage: JsValue| {
            seen.borrow_mut().push(stage.as_string().unwrap());
        }));
        let options = object_of([("onProgress", listener.into_js_value())]);
        (driver.dial(&"+46700000001".into(), &options), stages)
    }

    async fn code(dial: Promise) -> String {
        let result = JsFuture::from(dial).await.unwrap();
        string(&get(&result, "error"), "code").unwrap_or_default()
    }

    /// An offer of another connection.
    async fn offer(pc: &PeerConnection) -> String {
        pc.add_audio().unwrap();
        let description = pc.create_offer(false).await.unwrap();
        pc.set_local(description).await.unwrap();
        until("candidates", || pc.gathered()).await;
        pc.local_sdp().unwrap()
    }

    fn to_tag(response: &str) -> String {
        let to = response.lines().find(|line| line.starts_with("To:")).unwrap();
        to[to.find(";tag=").unwrap()..].to_owned()
    }

    fn reached(stages: &Rc<RefCell<Vec<String>>>, stage: &str) -> bool {
        stages.borrow().iter().any(|name| name == stage)
    }

    #[test]
    async fn a_call_by_rest_from_the_request_to_the_goodbye() {
        let (server, proxy) = (FakeServer::new(), FakeProxy::new(ANSWERS));
        let driver = phone().await;
        let (dial, stages) = dial(&driver);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        let pc = PeerConnection::new(&Configuration::default()).unwrap();
        let offer = offer(&pc).await;
        server.request("INVITE", "bridge", "+46766860000", "", &offer);
        until("the answer", || server.find("SIP/2.0 200").is_some()).await;
        let answer = server.find("SIP/2.0 200").unwrap();
        let sdp = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(sdp.contains("a=sendrecv"), "{sdp}");
        server.request("ACK", "bridge", "+46766860000", &to_tag(&answer), "");
        pc.set_remote(RtcSdpType::Answer, sdp).await.unwrap();
        until("the claim", || proxy.requests().iter().any(|request| request.url().ends_with("/claim"))).await;
        until("the media path", || pc.state() == web_sys::RtcPeerConnectionState::Connected).await;
        let [entry] = &driver.calls()[..] else { panic!("not one call") };
        let session = driver.session(entry.id).unwrap();
        assert_eq!(*stages.borrow(), ["preparing", "requesting", "ringing-client", "client-connected"]);
        assert!(session.remote_stream().is_none(), "shown before it was proved");
        assert!(driver.with(|state| state.dial.is_some()));

        let confirm: Function = get(&js_sys::global(), "confirm").unchecked_into();
        confirm.call0(&JsValue::UNDEFINED).unwrap();
        let result = JsFuture::from(dial).await.unwrap();
        assert_eq!(get(&result, "success"), JsValue::TRUE, "{:?}", get(&result, "error"));
        assert_eq!(string(&result, "strategy").as_deref(), Some("rest-originate"));
        assert!(session.remote_stream().is_some());
        assert_eq!(stages.borrow()[4..], ["ringing", "connected"]);
        let id = string(&result, "callId").unwrap();
        assert!(proxy.requests().iter().any(|request| request.url().ends_with(&format!("/v1/calls/{id}"))));

        driver.with_phone(|phone, now| phone.hangup(now, entry.id, None));
        driver.drain();
        assert!(server.find("BYE ").is_some());
        assert!(proxy.methods().iter().any(|method| method == "DELETE"));
        driver.release();
    }

    #[test]
    async fn a_call_that_only_looks_like_the_providers_hears_and_says_nothing() {
        let proxy = FakeProxy::new(&ANSWERS.replace("ended: false,", "ended: false, confirm_timeout_s: 1,"));
        let server = FakeServer::new();
        let driver = phone().await;
        let (dial, stages) = dial(&driver);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        let pc = PeerConnection::new(&Configuration::default()).unwrap();
        let offer = offer(&pc).await;
        server.request("INVITE", "spoofed", "+46766860000", "", &offer);
        until("the answer", || server.find("SIP/2.0 200").is_some()).await;
        let answer = server.find("SIP/2.0 200").unwrap();
        server.request("ACK", "spoofed", "+46766860000", &to_tag(&answer), "");
        let sdp = answer.split_once("\r\n\r\n").unwrap().1;
        pc.set_remote(RtcSdpType::Answer, sdp).await.unwrap();
        let session = driver.session(driver.calls()[0].id).unwrap();
        until("the media path", || session.is_connected()).await;
        assert!(session.remote_stream().is_none());
        let tones = Rc::new(RefCell::new(Vec::new()));
        let heard = tones.clone();
        let listener = callback(Box::new(move |event| heard.borrow_mut().push(event)));
        let entry = driver.calls()[0].clone();
        entry.listeners.add(&["dtmf"], &"dtmf".into(), &listener.into_js_value()).unwrap();
        server.info("spoofed", "+46766860000", &to_tag(&answer));
        until("its answer", || {
            server.sent().iter().any(|text| text.starts_with("SIP/2.0 200") && text.contains("2 INFO"))
        })
        .await;
        assert!(tones.borrow().is_empty(), "tones of whoever it is");
        assert_eq!(code(dial).await, "unverified_bridge");
        assert!(session.remote_stream().is_none() && session.local_stream().is_none());
        assert!(!reached(&stages, "ringing") && !reached(&stages, "connected"));
        assert!(server.find("BYE ").is_some());
        assert!(proxy.methods().iter().any(|method| method == "DELETE"));
        assert_eq!(driver.calls().len(), 0);
        driver.release();
    }

    #[test]
    async fn a_stranger_in_the_window_rings_and_is_not_answered() {
        let (server, proxy) = (FakeServer::new(), FakeProxy::new(ANSWERS));
        let driver = phone().await;
        let (dial, stages) = dial(&driver);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        let pc = PeerConnection::new(&Configuration::default()).unwrap();
        let offer = offer(&pc).await;
        server.request("INVITE", "stranger", "+46701111111", "", &offer);
        until("it to ring", || server.find("SIP/2.0 180").is_some()).await;
        assert_eq!(driver.calls().len(), 2);
        assert!(driver.session(driver.calls()[1].id).is_none(), "no media for a call that rings");
        assert!(server.find("SIP/2.0 200").is_none());
        driver.release();
        assert_eq!(code(dial).await, "aborted");
        until("the cancellation", || proxy.methods().iter().any(|method| method == "DELETE")).await;
    }

    #[test]
    async fn leaving_the_page_cancels_at_once() {
        let (_server, proxy) = (FakeServer::new(), FakeProxy::new(ANSWERS));
        let driver = phone().await;
        assert!(driver.with(|state| state.watches_page()), "a phone that is connected says goodbye");
        let (dial, stages) = dial(&driver);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        let window = web_sys::window().unwrap();
        window.dispatch_event(&web_sys::Event::new("pagehide").unwrap()).unwrap();
        let requests = proxy.requests();
        let cancel = requests.iter().find(|request| request.method() == "DELETE").unwrap();
        assert_eq!(get(cancel, "keepalive"), JsValue::TRUE);
        assert_eq!(code(dial).await, "aborted");
        until("the answer", || driver.with(|state| !state.watches_page())).await;
        driver.release();
    }

    #[test]
    async fn one_page_dials_at_a_time() {
        let (_server, proxy) = (FakeServer::new(), FakeProxy::new(ANSWERS));
        let (one, other) = (phone().await, phone().await);
        let (first, stages) = dial(&one);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        assert_eq!(code(dial(&other).0).await, "already_dialing");
        assert_eq!(proxy.methods().iter().filter(|method| *method == "PUT").count(), 1);
        one.release();
        assert_eq!(code(first).await, "aborted");
        other.release();
    }

    #[test]
    async fn a_panic_does_not_keep_the_number_locked() {
        let (_server, _proxy) = (FakeServer::new(), FakeProxy::new(ANSWERS));
        let driver = phone().await;
        let (first, stages) = dial(&driver);
        until("ringing here", || reached(&stages, "ringing-client")).await;
        super::super::fatal::module_trapped(&"panicked somewhere".into());
        assert_eq!(code(first).await, "fatal");
        let remembered = driver.peek(|state| (state.error.clone(), state.last_result.clone())).unwrap();
        assert_eq!(string(&remembered.0, "code").as_deref(), Some("fatal"));
        assert_eq!(get(&remembered.1, "success"), JsValue::FALSE);
        let again = phone().await;
        // The browser keeps locks elsewhere, and takes a moment.
        // The browser keeps locks elsewhere, and takes a moment.
        let end = js_sys::Date::now() + 5_000.0;
        loop {
            let (next, stages) = dial(&again);
            until("an outcome", || {
                reached(&stages, "requesting") || again.with(|state| state.dial.is_none())
            })
            .await;
            if reached(&stages, "requesting") {
                break;
            }
            assert_eq!(code(next).await, "already_dialing");
            assert!(js_sys::Date::now() < end, "still locked");
        }
        again.release();
    }
}
