//! The 46elks simulator in the hands of a test: its API, its control, a customer's server, a registered phone.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sandbox::media::{Playback, Settings as MediaSettings};
use sandbox::numbers::{Agent, Notice};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use wasm_softphone::phone::{
    CallId, CallState, CredentialSource, Credentials, EndReason, Event, PhoneConfig, RegistrationState,
    Secret,
};
use wasm_softphone::sip::uri::Uri;

use super::{PATIENCE, Server, SocketLink, Softphone, connect_to};

pub(crate) const PHONE: &str = "+4600100100";
pub(crate) const PUBLIC: &str = "+46766860000";

type Form = BTreeMap<String, String>;

pub(crate) struct Elks {
    pub(crate) server: Server,
    pub(crate) client: reqwest::Client,
    user: String,
    password: String,
}

impl Elks {
    pub(crate) async fn start() -> Self {
        let (server, credentials) = Server::start_elks().await;
        let (user, password) = credentials.trim().split_once(':').unwrap();
        wasm_softphone_proxy::install_tls();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { server, client, user: user.to_owned(), password: password.to_owned() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    pub(crate) fn signed(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path)).basic_auth(&self.user, Some(&self.password))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        decode(self.signed(reqwest::Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let body = encode(form);
        let request = self.signed(reqwest::Method::POST, path).body(body);
        decode(request.header("content-type", FORM).send().await.unwrap()).await
    }

    pub(crate) async fn place(&self, voice_start: &str, whenhangup: Option<&str>) -> (u16, Value) {
        let mut form = vec![("from", PUBLIC), ("to", PHONE), ("voice_start", voice_start), ("timeout", "20")];
        form.extend(whenhangup.map(|url| ("whenhangup", url)));
        self.post("/a1/calls", &form).await
    }

    pub(crate) async fn sim(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.request(method, self.url(path)).header("content-type", "application/json");
        decode(request.body(body.to_string()).send().await.unwrap()).await
    }

    pub(crate) async fn fault(&self, name: &str, value: Value) {
        let body = json!({ "name": name, "value": value });
        assert_eq!(self.sim(reqwest::Method::POST, "/_sim/fault", body).await.0, 200, "{name}");
    }

    pub(crate) async fn config(&self, changes: Value) {
        let (status, answer) = self.sim(reqwest::Method::POST, "/_sim/config", changes).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn log(&self) -> Value {
        self.sim(reqwest::Method::GET, "/_sim/log", Value::Null).await.1
    }

    pub(crate) async fn wait_log(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log().await;
            if wanted(&log) {
                return log;
            }
            assert!(Instant::now() < deadline, "no {what} in {log:#}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn wait_state(&self, id: &str, state: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, record) = self.get(&format!("/a1/calls/{id}")).await;
            if record["state"] == state {
                return record;
            }
            assert!(Instant::now() < deadline, "not {state}: {record:#}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn secret(&self, number: &str) -> String {
        let (_, numbers) = self.get("/a1/numbers").await;
        let list = numbers["data"].as_array().unwrap();
        let id = list.iter().find(|n| n["number"] == number).unwrap()["id"].as_str().unwrap();
        self.get(&format!("/a1/numbers/{id}")).await.1["secret"].as_str().unwrap().to_owned()
    }

    /// The phone of the first user, registered; it plays 660 Hz.
    pub(crate) async fn phone(&self) -> ElksPhone {
        let secret = self.secret(PHONE).await;
        let mut phone = self.phone_with(&secret).await;
        phone
            .softphone
            .wait("the registration", |notice| match notice {
                Notice::Phone(Event::ConnectDone(result)) => {
                    assert_eq!(*result, Ok(()));
                    Some(())
                }
                _ => None,
            })
            .await;
        assert_eq!(phone.softphone.agent.phone().registration(), RegistrationState::Registered);
        phone
    }

    pub(crate) async fn phone_with(&self, secret: &str) -> ElksPhone {
        let user = PHONE.trim_start_matches('+');
        let credentials =
            Credentials { username: None, secret: Secret::Password(secret.to_owned()), realm: None };
        let url = format!("ws://{}/w1/websocket", self.server.address);
        let config = PhoneConfig {
            credentials: CredentialSource::Static(credentials),
            ..PhoneConfig::new(vec![url.clone()], Uri::parse(&format!("sip:{user}@voip.46elks.com")).unwrap())
        };
        let (listener, heard) = mpsc::unbounded_channel();
        let settings = MediaSettings { playback: Playback::Tone(660), listener: Some(listener), port: None };
        let socket = connect_to(&url, &[("sec-websocket-protocol", "sip")]).await.unwrap();
        ElksPhone {
            softphone: Softphone { agent: Agent::new(config, SocketLink::new(socket), settings), heard },
        }
    }
}

pub(crate) struct ElksPhone {
    pub(crate) softphone: Softphone,
}

impl ElksPhone {
    pub(crate) async fn incoming(&mut self) -> CallId {
        self.softphone
            .wait("a call", |notice| match notice {
                Notice::Phone(Event::Incoming(call)) => Some(*call),
                _ => None,
            })
            .await
    }

    pub(crate) async fn until(&mut self, call: CallId, wanted: CallState) {
        self.softphone
            .wait(&format!("{wanted:?}"), |notice| match notice {
                Notice::Phone(Event::CallState(id, state)) if *id == call => (*state == wanted).then_some(()),
                _ => None,
            })
            .await;
    }

    pub(crate) async fn answer(&mut self) -> CallId {
        let call = self.incoming().await;
        self.softphone.agent.answer(call).unwrap();
        self.until(call, CallState::Active).await;
        call
    }

    pub(crate) async fn ended(&mut self, call: CallId) -> EndReason {
        self.softphone
            .wait("the end", |notice| match notice {
                Notice::Phone(Event::Ended(id, reason)) if *id == call => Some(reason.clone()),
                _ => None,
            })
            .await
    }

    /// Listens until this pitch has most of the power: what was queued before it may come first.
    pub(crate) async fn listen_for(&mut self, call: CallId, hertz: f64) -> Vec<i16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.softphone.listen(call).await;
            if super::share(&heard, hertz) > 0.8 || Instant::now() > deadline {
                return heard;
            }
        }
    }
}

/// A customer's server.
pub(crate) struct Webhook {
    address: String,
    state: Arc<Mutex<WebhookState>>,
}

#[derive(Default)]
struct WebhookState {
    replies: HashMap<String, (u16, String)>,
    posts: Vec<(String, Form)>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(WebhookState::default()));
        let router = Router::new().fallback(take).with_state(state.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn reply(&self, path: &str, status: u16, body: &str) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), (status, body.to_owned()));
    }

    pub(crate) fn posts(&self, path: &str) -> Vec<Form> {
        let state = self.state.lock().unwrap();
        state.posts.iter().filter(|(at, _)| at == path).map(|(_, form)| form.clone()).collect()
    }

    /// Waits until there are so many.
    pub(crate) async fn wait(&self, path: &str, count: usize) -> Vec<Form> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let posts = self.posts(path);
            if posts.len() >= count {
                return posts;
            }
            assert!(Instant::now() < deadline, "{} of {count} posts to {path}", posts.len());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The paths in the order in which they were posted to.
    pub(crate) fn order(&self) -> Vec<String> {
        self.state.lock().unwrap().posts.iter().map(|(path, _)| path.clone()).collect()
    }
}

async fn take(State(state): State<Arc<Mutex<WebhookState>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 100_000).await.unwrap();
    let form = form_urlencoded::parse(&body).into_owned().collect();
    let mut state = state.lock().unwrap();
    state.posts.push((path.clone(), form));
    let (status, body) = state.replies.get(&path).cloned().unwrap_or((204, String::new()));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// Status and body: JSON, or else the text in a string.
pub(crate) async fn decode(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A file that goes away with the test.
pub(crate) struct TemporaryFile(pub(crate) std::path::PathBuf);

impl TemporaryFile {
    pub(crate) fn new(name: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory: &Path = &std::env::temp_dir();
        Self(directory.join(format!("{name}-{}-{next}", std::process::id())))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
