//! A scripted 46elks, a proxy on a real socket, and a browser that asks it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;
use wasm_softphone_proxy::{
    Proxy,
    config::{BasicCredentials, Config, UserConfig},
    numbers::E164,
};

pub(crate) const API_USER: &str = "u00112233445566778899aabbccddeeff";
pub(crate) const API_PASSWORD: &str = "api-password-of-46elks-9";
pub(crate) const HOOK_KEY: &str = "hook-key-hook-key-hook-key-1";
pub(crate) const JWT_SECRET: &str = "jwt-secret-jwt-secret-jwt-secret-123";
pub(crate) const SIP_SECRET: &str = "sip-secret-of-alice-77";
pub(crate) const ALICE: &str = "+4600100100";
pub(crate) const BRIDGE: &str = "+46766860000";
pub(crate) const DESTINATION: &str = "+46701234567";
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What the scripted 46elks answers a request for a call with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200 and a new call.
    Call,
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// A new call, but only once the notification comes.
    Gated(Arc<tokio::sync::Notify>),
}

impl Reply {
    pub(crate) fn text(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes(),
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) form: HashMap<String, String>,
    /// The id that it was answered with.
    pub(crate) id: String,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<Asked>,
    records: HashMap<String, Value>,
}

/// The scripted 46elks.
#[derive(Clone)]
pub(crate) struct Elks {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Elks {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let elks = Self { address: listener.local_addr().unwrap(), script: Arc::default() };
        let serving = elks.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let elks = serving.clone();
                tokio::spawn(async move { elks.serve(stream).await });
            }
        });
        elks
    }

    /// The next replies; after them, each is a call.
    pub(crate) fn then(&self, reply: Reply) {
        self.script.lock().unwrap().replies.push_back(reply);
    }

    /// What a read of this call is answered with.
    pub(crate) fn record(&self, id: &str, record: Value) {
        self.script.lock().unwrap().records.insert(id.to_owned(), record);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().unwrap().asked.clone()
    }

    /// The requests for a call: each would have been billed.
    pub(crate) fn a_legs(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.method == "POST").collect()
    }

    pub(crate) async fn asked_for(&self, count: usize) -> Asked {
        eventually("46elks is asked", || async { self.a_legs().get(count - 1).cloned() }).await
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            bytes.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = header(head, "content-length").parse().unwrap_or(0);
                if body.len() >= length {
                    break (text.clone(), length);
                }
            }
        };
        let (head, body) = head.split_once("\r\n\r\n").unwrap();
        let mut line = head.split(' ');
        let (method, path) = (line.next().unwrap().to_owned(), line.next().unwrap().to_owned());
        let form = url::form_urlencoded::parse(&body.as_bytes()[..length]).into_owned().collect();
        let (reply, id) = {
            let mut script = self.script.lock().unwrap();
            let id = format!("c{:032x}", script.asked.len() + 1);
            script.asked.push(Asked {
                method: method.clone(),
                path: path.clone(),
                authorization: header(head, "authorization"),
                form,
                id: id.clone(),
            });
            let reply = if method == "GET" {
                let record = script.records.get(path.rsplit('/').next().unwrap());
                record.map_or(Reply::text(404, "", "Unable to get call data."), |record| {
                    Reply::text(200, "content-type: application/json\r\n", &record.to_string())
                })
            } else {
                script.replies.pop_front().unwrap_or(Reply::Call)
            };
            (reply, id)
        };
        let call =
            json!({"direction": "outgoing", "state": "ongoing", "id": id, "created": "2026-01-01T00:00:00"});
        let call = Reply::text(200, "content-type: application/json\r\n", &call.to_string());
        let reply = match reply {
            Reply::Gated(gate) => {
                gate.notified().await;
                call
            }
            Reply::Call => call,
            other => other,
        };
        match reply {
            Reply::Raw(bytes) => {
                // The proxy may be gone.
                let _gone = stream.write_all(&bytes).await;
                let _gone = stream.shutdown().await;
            }
            _ => std::future::pending().await,
        }
    }
}

fn header(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

pub(crate) fn config(elks: SocketAddr, proxy: SocketAddr) -> Config {
    let mut config = Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        &format!("http://{proxy}"),
        &format!("http://{elks}/a1"),
        BasicCredentials { username: API_USER.into(), password: API_PASSWORD.into() },
        HOOK_KEY.into(),
        JWT_SECRET.into(),
    );
    for (user, number, sip) in [("alice", ALICE, Some(SIP_SECRET)), ("bob", "+4600100101", None)] {
        config.users.insert(
            user.to_owned(),
            UserConfig {
                number: E164::parse(number).unwrap(),
                caller_ids: BTreeMap::from([("main".to_owned(), E164::parse(BRIDGE).unwrap())]),
                default_caller_id: Some("main".to_owned()),
                sip_password: sip.map(Into::into),
            },
        );
    }
    config.limits.user_per_minute = 1_000;
    config.limits.user_per_hour = 1_000;
    config.limits.destination = 1_000;
    config.limits.global_per_minute = 1_000;
    config
}

pub(crate) fn token(user: &str) -> String {
    wasm_softphone_proxy::auth::signatures::install();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": user, "aud": "wasm-softphone-proxy", "iat": now, "exp": now + 600});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes()))
        .unwrap()
}

/// A proxy with its 46elks, and a browser.
pub(crate) struct Setup {
    pub(crate) elks: Elks,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) browser: Browser,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let elks = Elks::start().await;
        Self::against(elks, change).await
    }

    pub(crate) async fn against(elks: Elks, change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = config(elks.address, address);
        change(&mut config);
        let proxy = Arc::new(Proxy::new(config).await.unwrap());
        let service = proxy.router().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { elks, proxy, browser: Browser::new(&format!("http://{address}")) }
    }

    /// Starts a call and gives its id and 46elks' side of it.
    pub(crate) async fn call(&self) -> (Uuid, Asked) {
        let id = Uuid::new_v4();
        let before = self.elks.a_legs().len();
        let (status, body) = self.browser.put(id, &json!({"to": DESTINATION})).await;
        assert_eq!(status, 202, "{body}");
        (id, self.elks.asked_for(before + 1).await)
    }

    /// A call that is up.
    pub(crate) async fn bridged(&self) -> (Uuid, Asked) {
        let (id, asked) = self.call().await;
        assert_eq!(self.browser.claim(id).await, 204);
        assert_eq!(self.voice_start(&asked, &asked.id).await["connect"], DESTINATION);
        (id, asked)
    }

    pub(crate) async fn voice_start(&self, asked: &Asked, callid: &str) -> Value {
        let form = [("callid", callid), ("direction", "outgoing"), ("from", BRIDGE), ("to", ALICE)];
        let (status, body) = self.browser.hook(&asked.form["voice_start"], &form).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) async fn whenhangup(&self, asked: &Asked, fields: &[(&str, &str)]) -> StatusCode {
        self.browser.hook(&asked.form["whenhangup"], fields).await.0
    }
}

/// A client of the proxy.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) base: String,
    pub(crate) token: String,
}

impl Browser {
    pub(crate) fn new(base: &str) -> Self {
        wasm_softphone_proxy::install_tls();
        let client = Client::builder().no_proxy().timeout(DEADLINE * 2).build().unwrap();
        Self { client, base: base.to_owned(), token: token("alice") }
    }

    pub(crate) fn of(&self, user: &str) -> Self {
        Self { token: token(user), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    pub(crate) async fn put(&self, id: Uuid, body: &Value) -> (StatusCode, Value) {
        json_of(self.request(Method::PUT, &format!("/v1/calls/{id}")).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn poll(&self, id: Uuid, since: u64, wait: u64) -> Value {
        let (status, body) = self.get(&format!("/v1/calls/{id}?since={since}&wait={wait}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub(crate) async fn claim(&self, id: Uuid) -> StatusCode {
        let request = self.request(Method::POST, &format!("/v1/calls/{id}/claim"));
        request.json(&json!({})).send().await.unwrap().status()
    }

    pub(crate) async fn cancel(&self, id: Uuid) -> Value {
        let request = self.request(Method::DELETE, &format!("/v1/calls/{id}"));
        let (status, body) = json_of(request.send().await.unwrap()).await;
        assert_eq!(status, 202, "{body}");
        body
    }

    /// As 46elks would: a form, and no token but the path's.
    pub(crate) async fn hook(&self, url: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let response = self.client.post(url).form(fields).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Polls until the call is in this state.
    pub(crate) async fn state(&self, id: Uuid, state: &str) -> Value {
        let started = Instant::now();
        let mut since = 0;
        loop {
            let call = self.poll(id, since, 1).await;
            if call["state"] == state {
                return call;
            }
            assert!(started.elapsed() < DEADLINE, "not {state}: {call}");
            since = call["seq"].as_u64().unwrap();
        }
    }
}

pub(crate) async fn json_of(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Tries until there is something, with a deadline.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
