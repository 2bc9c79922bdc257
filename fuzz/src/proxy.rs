//! Requests to the call proxy: those of browsers, and the hooks of the provider, with calls in progress. No request may
//! end in an internal error, and no answer may hold a secret.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use uuid::Uuid;
use wasm_softphone::entropy::{Entropy, below};
use wasm_softphone_proxy::Proxy;
use wasm_softphone_proxy::config::{BasicCredentials, Config, UserConfig};
use wasm_softphone_proxy::numbers::E164;

use crate::sequence::{Script, at};

const API_PASSWORD: &str = "api-password-of-46elks-9";
const HOOK_KEY: &str = "hook-key-hook-key-hook-key-1";
const JWT_SECRET: &str = "jwt-secret-jwt-secret-jwt-secret-123";
const INCOMING: &str = "incoming-secret-incoming-secret";

/// Runs with one proxy: it keeps what it is told for a while.
const RUNS: u32 = 500;

struct World {
    runtime: Runtime,
    proxy: Proxy,
    /// The hooks of the calls that the provider was asked for.
    hooks: Rc<RefCell<Vec<String>>>,
    token: String,
    runs: u32,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// The requests that these bytes make.
pub fn proxy(data: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        if world.as_ref().is_none_or(|world| world.runs >= RUNS) {
            *world = Some(World::new());
        }
        let world = world.as_mut().expect("just made");
        world.runs += 1;
        let mut script = Script(data);
        let local = tokio::task::LocalSet::new();
        // One after the other, so that an input says the same again.
        for _ in 0..12 {
            if script.0.is_empty() {
                break;
            }
            local.block_on(&world.runtime, world.request(&mut script));
        }
    });
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let hooks = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        let (listener, proxy) = local.block_on(&runtime, async {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let proxy = Proxy::new(config(listener.local_addr().expect("its address"))).await;
            (listener, proxy.unwrap_or_else(|error| panic!("{error}")))
        });
        listener.set_nonblocking(true).expect("non-blocking");
        // The provider is a thread of its own: calls go out while no request is looked at.
        let (told, tell) = std::sync::mpsc::channel();
        std::thread::spawn(move || provider(listener, &told));
        let hooks_in = Rc::clone(&hooks);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let claims =
            json!({"sub": "alice", "aud": "wasm-softphone-proxy", "iat": now, "exp": now + 890});
        let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token");
        let mut world = Self { runtime, proxy, hooks, token, runs: 0 };
        // A call in progress, so that hooks have something to name.
        let first = Request::put(format!("/v1/calls/{}", Uuid::new_v4()))
            .header("authorization", format!("Bearer {}", world.token))
            .header("content-type", "application/json")
            .body(Body::from(r#"{"to": "+46701234567"}"#))
            .expect("a request");
        let (status, body) = world.runtime.block_on(world.send(first));
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        let form = tell.recv_timeout(Duration::from_secs(20)).expect("the provider is asked");
        *hooks_in.borrow_mut() = form;
        world.runs = 0;
        world
    }

    async fn send(&self, mut request: Request<Body>) -> (StatusCode, String) {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.proxy.router().oneshot(request).await.expect("infallible");
        let status = response.status();
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn request(&self, script: &mut Script<'_>) {
        let Some(request) = self.build(script) else { return };
        let shown = format!("{} {}", request.method(), request.uri());
        // A browser that goes away in the middle is one more case.
        let patience = Duration::from_millis(30);
        let Ok((status, body)) = tokio::time::timeout(patience, self.send(request)).await else { return };
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{shown}: {body}");
        for secret in [API_PASSWORD, HOOK_KEY, JWT_SECRET, INCOMING] {
            assert!(!body.contains(secret), "{shown}: {body}");
        }
    }

    fn build(&self, script: &mut Script<'_>) -> Option<Request<Body>> {
        let methods = [Method::PUT, Method::POST, Method::GET, Method::DELETE, Method::OPTIONS, Method::PATCH];
        let method = methods[at(script, methods.len())].clone();
        let id = match below(script, 3) {
            0 => "9f8b7a6c-5d4e-4f3a-8b2c-1d0e9f8a7b6c".to_owned(),
            1 => Uuid::from_u128((0x4000_8000_0000_0000_0000_u128 << 48) | u128::from(below(script, 9))).to_string(),
            _ => raw(script, 40),
        };
        let hooks = self.hooks.borrow();
        let hook = hooks.get(at(script, hooks.len() + 1)).cloned().unwrap_or_else(|| raw(script, 40));
        let path = match below(script, 12) {
            0 | 1 => format!("/v1/calls/{id}"),
            2 => format!("/v1/calls/{id}/claim"),
            3 => "/v1/calls".to_owned(),
            4 => "/v1/config".to_owned(),
            5 => "/v1/sip".to_owned(),
            6..=8 => hook,
            9 => format!("/hooks/incoming/{}", if below(script, 2) == 0 { INCOMING.into() } else { raw(script, 30) }),
            10 => ["/health/live", "/health/ready", "/metrics", "/openapi.json"][at(script, 4)].to_owned(),
            _ => format!("/{}", raw(script, 60)),
        };
        let query = match below(script, 4) {
            0 => format!("?since={}&wait={}", raw(script, 8), raw(script, 4)),
            1 => format!("?{}", raw(script, 40)),
            _ => String::new(),
        };
        let mut request = Request::builder().method(method).uri(format!("{path}{query}"));
        for _ in 0..below(script, 4) {
            let names = [
                "content-type",
                "origin",
                "x-forwarded-for",
                "idempotency-key",
                "content-length",
                "access-control-request-method",
                "access-control-request-headers",
                "authorization",
            ];
            let values: [&[u8]; 8] = [
                b"application/json",
                b"http://localhost:8080",
                b"127.0.0.1, 176.10.154.199",
                b"\"9f8b7a6c-5d4e-4f3a-8b2c-1d0e9f8a7b6c\"",
                b"application/x-www-form-urlencoded",
                b"Bearer x.y.z",
                b"Basic YTpi",
                b"null",
            ];
            let name = HeaderName::from_static(names[at(script, names.len())]);
            let value = match below(script, 3) {
                0 => HeaderValue::from_bytes(raw(script, 60).as_bytes()).ok()?,
                _ => HeaderValue::from_bytes(values[at(script, values.len())]).ok()?,
            };
            request = request.header(name, value);
        }
        if below(script, 3) != 0 {
            request = request.header("authorization", format!("Bearer {}", self.token));
            request = request.header("content-type", "application/json");
        }
        let body = match below(script, 6) {
            0 => Vec::new(),
            1 => br#"{"to": "+46701234567"}"#.to_vec(),
            2 => json!({"to": raw(script, 20), "caller_id": raw(script, 10)}).to_string().into_bytes(),
            3 => json!({"sip_call_id_sha256": raw(script, 70)}).to_string().into_bytes(),
            4 => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for _ in 0..below(script, 6) {
                    let names = ["callid", "id", "from", "to", "state", "duration", "cost", "actions", "legs", "start"];
                    let name = names[at(script, names.len())];
                    form.append_pair(name, &raw(script, 60));
                }
                form.finish().into_bytes()
            }
            _ => {
                let mut bytes = vec![0; at(script, 300)];
                script.fill(&mut bytes);
                bytes
            }
        };
        request.body(Body::from(body)).ok()
    }
}

/// Bytes of the script as text.
fn raw(script: &mut Script<'_>, longest: usize) -> String {
    let mut bytes = vec![0; at(script, longest + 1)];
    script.fill(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn config(elks: SocketAddr) -> Config {
    let mut config = Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        "http://127.0.0.1:9",
        &format!("http://{elks}/a1"),
        BasicCredentials {
            username: "u00112233445566778899aabbccddeeff".into(),
            password: API_PASSWORD.into(),
        },
        HOOK_KEY.into(),
        JWT_SECRET.into(),
    );
    let number = |text: &str| E164::parse(text).expect("a number");
    config.users.insert(
        "alice".to_owned(),
        UserConfig {
            number: number("+4600100100"),
            caller_ids: BTreeMap::from([("main".to_owned(), number("+46766860000"))]),
            default_caller_id: Some("main".to_owned()),
            sip_password: Some("sip-secret-of-alice-77".into()),
        },
    );
    config.incoming.secret = Some(INCOMING.into());
    config.incoming.numbers.insert(number("+46766861111"), number("+4600100100"));
    config.limits.user_per_minute = 1_000_000;
    config.limits.user_per_hour = 1_000_000;
    config.limits.destination = 1_000_000;
    config.limits.global_per_minute = 1_000_000;
    config
}

/// A provider that makes each call, and tells the paths of its hooks.
fn provider(listener: std::net::TcpListener, told: &std::sync::mpsc::Sender<Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let mut number = 0_u32;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                bytes.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
                });
                if body.len() < length.unwrap_or(0) {
                    continue;
                }
                let form: BTreeMap<String, String> =
                    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
                let paths = ["voice_start", "whenhangup"]
                    .iter()
                    .filter_map(|name| url::Url::parse(form.get(*name)?).ok())
                    .map(|url| url.path().to_owned());
                let paths: Vec<String> = paths.collect();
                // The other end is gone once it has the first.
                let _gone = told.send(paths);
                break;
            }
            number += 1;
            let call = json!({"direction": "outgoing", "state": "ongoing", "id": format!("c{number:032x}"),
                "created": "2026-01-01T00:00:00"})
            .to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{call}",
                call.len()
            );
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    });
}
