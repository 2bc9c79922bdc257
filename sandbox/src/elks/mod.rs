//! A simulator of the 46elks voice API and WebRTC service, on loopback: the HTTP API at `/a1/`, SIP over WebSocket at
//! `/w1/websocket`, and its control at `/_sim/`, over one model of calls.
//!
//! ```text
//! POST /a1/calls --> api --.                        .--> webhooks: voice_start, next, whenhangup
//! /_sim/incoming -> control --> Calls (machine) --> exchange
//!                                                   '--> legs: a Phone + media each --> proxy --> /w1/websocket
//! ```
//!
//! Nothing of it was measured on the real service; what the documents leave open is in [`options`].

pub mod actions;
mod api;
mod audio;
pub mod calls;
mod control;
mod exchange;
pub mod faults;
mod legs;
pub mod magic;
pub mod options;
pub mod record;
mod webhooks;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{any, get};
use core::time::Duration;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use wasm_softphone::entropy::{Entropy, SeededEntropy};
use wasm_softphone::sip::digest::Algorithm;

use crate::clock::{Clock, OsEntropy};
use crate::network::Network;
use crate::proxy;
use crate::report::Report;
use audio::Line as Audio;
use calls::{Calls, Input, LegId, Number};
use exchange::Wires;
use options::{Options, Reg};

/// Domain of the WebRTC numbers, and the digest realm.
pub const DOMAIN: &str = "voip.46elks.com";

/// WebRTC number, public number and name of each user.
const USERS: [(&str, &str, &str); 2] =
    [("+4600100100", "+46766860000", "Elsa"), ("+4600100101", "+46766861111", "Olle")];

/// How many requests and webhooks are remembered.
const MAX_LOG: usize = 10_000;

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Makes ids, secrets and the times in records the same in every run.
    pub seed: Option<u64>,
    /// What is set from the start.
    pub options: Options,
}

/// The API user and password. `Debug` shows no password.
#[derive(Clone)]
pub struct ApiCredentials {
    /// `u...`.
    pub username: String,
    /// The password.
    pub password: String,
}

impl core::fmt::Debug for ApiCredentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ApiCredentials").finish_non_exhaustive()
    }
}

/// The simulator; cheap to clone.
#[derive(Clone)]
pub struct Elks {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
}

/// What its parts share.
pub(crate) struct Shared {
    calls: Mutex<Calls>,
    wires: Mutex<Wires>,
    log: Mutex<Log>,
    wake: Notify,
    clock: Clock,
    network: Network,
    http: reqwest::Client,
    api: ApiCredentials,
}

#[derive(Default)]
struct Log {
    requests: Vec<Value>,
    webhooks: Vec<Value>,
    /// Legs before this one were counted already.
    legs_from: usize,
}

impl Elks {
    /// A simulator that is reached at this loopback address, and runs until `stop` changes. Must be called in a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the system gives no thread, or no client for webhooks.
    pub fn new(
        settings: Settings,
        own: String,
        report: Report,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let mut entropy: Box<dyn Entropy + Send> = match settings.seed {
            Some(seed) => Box::new(SeededEntropy::new(seed)),
            None => Box::new(OsEntropy),
        };
        let origin = match settings.seed {
            // 2026-01-01T00:00:00Z: as good as any.
            Some(_) => jiff::Timestamp::from_second(1_767_225_600).map_err(io::Error::other)?,
            None => jiff::Timestamp::now(),
        };
        let owner = format!("u{}", record::hex(&mut *entropy));
        let api =
            ApiCredentials { username: owner.clone(), password: record::hex(&mut *entropy).to_uppercase() };
        let mut numbers = Vec::new();
        for (phone, public, _) in USERS {
            numbers.push(Number {
                id: format!("n{}", record::hex(&mut *entropy)),
                number: phone.to_owned(),
                secret: Some(record::hex(&mut *entropy).to_uppercase()),
                user: None,
            });
            numbers.push(Number {
                id: format!("n{}", record::hex(&mut *entropy)),
                number: public.to_owned(),
                secret: None,
                user: Some(phone.to_owned()),
            });
        }
        let calls = Calls::new(settings.options, numbers, owner, record::Clock::new(origin), entropy);
        wasm_softphone_proxy::install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            network: Network::serving(domain(&calls), own, report),
            calls: Mutex::new(calls),
            wires: Mutex::default(),
            log: Mutex::default(),
            wake: Notify::new(),
            clock: Clock::start(),
            http,
            api,
        });
        exchange::spawn(shared.clone(), stop.clone())?;
        Ok(Self { shared, stop })
    }

    /// `/a1/...`, `/w1/websocket` and `/_sim/...`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/a1/{*path}", any(api::serve))
            .route("/w1/websocket", get(websocket))
            .nest("/_sim", control::router())
            .with_state(self.clone())
    }

    /// For whoever calls the API in the place of a customer's server.
    #[must_use]
    pub fn api_credentials(&self) -> ApiCredentials {
        self.shared.api.clone()
    }

    /// What a call to this public number does: the address of its `voice_start`, or the action itself.
    pub fn set_voice_start(&self, number: &str, voice_start: String) {
        self.shared.calls().options.voice_start.insert(number.to_owned(), voice_start);
    }

    /// WebRTC number, public number, name and SIP password of each user.
    #[must_use]
    pub fn users(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        USERS
            .iter()
            .filter_map(|(phone, public, name)| {
                let secret = self.shared.secret(phone.trim_start_matches('+'))?;
                Some((*phone, *public, *name, secret))
            })
            .collect()
    }

    /// Ready-made settings for a page that was reached at `host`, in the words of `DialStrategyConfig`. `token`
    /// mints the bearer token of a user's WebRTC number for the proxy at `/elks`, where there is one.
    pub fn demo(&self, host: &str, token: impl Fn(&str) -> Option<String>) -> Vec<Value> {
        self.users()
            .into_iter()
            .map(|(phone, _, name, secret)| {
                let user = phone.trim_start_matches('+');
                let headers = token(phone)
                    .map_or_else(|| json!({}), |token| json!({ "Authorization": format!("Bearer {token}") }));
                json!({
                    "servers": format!("ws://{host}/w1/websocket"),
                    "uri": format!("sip:{user}@{DOMAIN}"),
                    "displayName": name,
                    "credentials": { "username": user, "password": secret },
                    "iceServers": [],
                    "providerId": "46elks",
                    "strategy": "auto",
                    "proxyUrl": format!("http://{host}/elks"),
                    "callerId": "main",
                    "defaultCountry": "SE",
                    "proxyHeaders": headers,
                })
            })
            .collect()
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn input(&self, input: Input) {
        let now = self.clock.now();
        self.calls().handle(now, input);
        self.wake.notify_one();
    }

    fn time(&self) -> String {
        let now = self.clock.now();
        self.calls().format(now)
    }

    fn note_webhook(&self, entry: Value) {
        let mut log = self.log();
        if log.webhooks.len() < MAX_LOG {
            log.webhooks.push(entry);
        }
    }

    fn note_request(&self, entry: Value) {
        let mut log = self.log();
        if log.requests.len() < MAX_LOG {
            log.requests.push(entry);
        }
    }

    /// The SIP password of a user.
    fn secret(&self, user: &str) -> Option<String> {
        let calls = self.calls();
        let number = calls.numbers.iter().find(|number| number.number.trim_start_matches('+') == user)?;
        number.secret.clone()
    }

    fn client_call(
        &self,
        from: &str,
        to: &str,
        sender: mpsc::UnboundedSender<legs::Command>,
        audio: Arc<Audio>,
    ) -> Option<LegId> {
        let now = self.clock.now();
        // The wire must be there before what the call wants done is carried out.
        let mut wires = self.wires();
        let leg = self.calls().client_call(now, from, to)?;
        wires.insert(leg, sender, audio);
        drop(wires);
        self.wake.notify_one();
        Some(leg)
    }
}

/// The domain as the options want it.
fn domain(calls: &Calls) -> proxy::Domain {
    let options = &calls.options;
    proxy::Domain {
        name: DOMAIN.to_owned(),
        accounts: calls
            .numbers
            .iter()
            .filter_map(|number| {
                Some((number.number.trim_start_matches('+').to_owned(), number.secret.clone()?))
            })
            .collect(),
        algorithms: vec![Algorithm::Md5],
        qop: options.qop,
        nonce_lifetime: Duration::from_secs(if options.stale_nonce { 0 } else { 300 }).into(),
        forbid_wrong: true,
        last_wins: options.reg == Reg::LastWins,
        calls: if options.client_calls {
            proxy::Calls::Trunk(legs::TRUNK.to_owned())
        } else {
            proxy::Calls::Forbidden
        },
    }
}

async fn websocket(State(elks): State<Elks>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    crate::http::upgrade(elks.shared.network.clone(), &headers, upgrade, elks.stop.clone())
}
