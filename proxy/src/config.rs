//! What the operator decides: a TOML file, the environment on top, both checked whole before anything listens.
//!
//! Every setting of the file may also come from the environment, as `WASM_SOFTPHONE_PROXY_` and the setting's path
//! with `__` for each dot: `WASM_SOFTPHONE_PROXY_UPSTREAM__USERNAME`; lists are then written with commas. Every
//! secret `x` may also be given as `x_file`, the path of a file that holds it. An error names the field and never
//! what stood in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use crate::numbers::E164;

mod raw;

/// Everything the operator decides. Made by [`Config::load`], or in code from [`Config::development`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that the server listens on.
    pub listen: SocketAddr,
    /// Where 46elks reaches this proxy, without a slash at the end: the webhooks' addresses begin with it.
    pub public_url: String,
    /// The 46elks API.
    pub upstream: UpstreamConfig,
    /// The key that the webhooks' tokens and the hashes of the log are made with; at least 24 characters.
    pub hook_key: SecretString,
    /// Whose addresses may call the webhooks. 46elks' own by default.
    pub hook_sources: Vec<IpNet>,
    /// HTTP Basic credentials that 46elks sends with webhooks, where the operator wants them too.
    pub hook_basic: Option<BasicCredentials>,
    /// Reverse proxies whose `X-Forwarded-For` is believed. Empty: the peer of the connection is the client.
    pub trusted_proxies: Vec<IpNet>,
    /// How long the proxy waits for what.
    pub timeouts: Timeouts,
    /// Where calls are kept.
    pub store: StoreConfig,
    /// Development: any loopback origin, a local provider over plain HTTP; only ever on a loopback address.
    pub development: bool,
    /// The origins of the pages that may use the proxy, each as a browser writes it: `https://app.example.com`.
    pub origins: BTreeSet<String>,
    /// Request headers that pages may send beyond the proxy's own, in lower case.
    pub allowed_headers: BTreeSet<String>,
    /// Who may use the proxy.
    pub auth: AuthConfig,
    /// The users that the proxy knows itself, by the token's `sub`.
    pub users: BTreeMap<String, UserConfig>,
    /// Numbers of the account that every user may show, by key. A user's own of the same key goes before.
    pub caller_ids: BTreeMap<String, E164>,
    /// More numbers of the account: never dialled, and a call that claims to come from one is rejected.
    pub own_numbers: BTreeSet<E164>,
    /// Calls that come in to the account's public numbers.
    pub incoming: IncomingConfig,
    /// The SIP half: where the browsers register.
    pub sip: SipConfig,
    /// Where calls may go.
    pub destinations: DestinationConfig,
    /// How often.
    pub limits: LimitsConfig,
    /// How much a day.
    pub budget: BudgetConfig,
    /// No call is started while this is set.
    pub kill_switch: bool,
    /// Nor while this file exists.
    pub kill_switch_file: Option<PathBuf>,
    /// The longest call; the browser ends it and the proxy raises an alarm.
    pub max_duration: Duration,
}

/// The 46elks API.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// `https://api.46elks.com/a1`, without a slash at the end.
    pub base_url: String,
    /// The API username: `u` and 32 hexadecimal digits; better that of a subaccount with a `usagelimit`.
    pub username: SecretString,
    /// The API password.
    pub password: SecretString,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take in all.
    pub total_timeout: Duration,
}

/// HTTP Basic credentials.
#[derive(Clone, Debug)]
pub struct BasicCredentials {
    /// The user.
    pub username: SecretString,
    /// The password.
    pub password: SecretString,
}

/// How long the proxy waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the browser to answer: `timeout` of the request to 46elks, in whole seconds.
    pub ring: Duration,
    /// For the far end to answer: `timeout` of the `connect`, in whole seconds.
    pub connect: Duration,
    /// For a claim, once 46elks says that the browser's leg was answered.
    pub claim: Duration,
    /// That the browser waits for the confirmation.
    pub confirm: Duration,
    /// That an ended call can be asked for.
    pub record_life: Duration,
    /// That a cancel of an unknown call is remembered.
    pub tombstone: Duration,
    /// Without a poll or a claim, after which a call that nobody has confirmed is cancelled.
    pub idle: Duration,
    /// The longest long-poll.
    pub long_poll: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ring: Duration::from_secs(20),
            connect: Duration::from_secs(45),
            claim: Duration::from_millis(1500),
            confirm: Duration::from_secs(4),
            record_life: Duration::from_secs(15 * 60),
            tombstone: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            long_poll: Duration::from_secs(25),
        }
    }
}

/// Where calls are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In this process; with a journal, a restart knows them too.
    Memory {
        /// The file, which must survive a restart.
        journal: Option<PathBuf>,
    },
    /// In a Redis (or Valkey) server that several instances share.
    Redis {
        /// `redis://user:password@host:6379/0`: a secret, as it may hold a password.
        url: SecretString,
        /// What its keys begin with.
        prefix: String,
    },
}

/// Who may use the proxy: holders of a short-lived JSON Web Token of the host application.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// The one way that tokens are signed; what a token says of itself only has to agree.
    pub algorithm: JwtAlgorithm,
    /// What the signature is checked with.
    pub key: JwtKey,
    /// The `aud` that a token must have.
    pub audience: String,
    /// The `iss` that a token must have, if any.
    pub issuer: Option<String>,
    /// How far clocks may differ; at most 60 s.
    pub leeway: Duration,
    /// The longest life of a token, `exp` - `iat`; at most 15 min.
    pub max_lifetime: Duration,
    /// Take a user's number and caller IDs from the token where [`Config::users`] does not know the user.
    pub users_from_claims: bool,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256: the host application and the proxy share a secret.
    HS256,
    /// Ed25519: the proxy holds the public key only.
    EdDSA,
}

/// What a token's signature is checked with.
#[derive(Clone, Debug)]
pub enum JwtKey {
    /// HS256: the shared secret, at least 32 characters.
    Secret(SecretString),
    /// EdDSA: the public key in PEM.
    PublicKeyPem(String),
    /// EdDSA: where the host application publishes its keys (RFC 7517).
    Jwks(Url),
}

/// A user that the proxy knows itself.
#[derive(Clone, Debug)]
pub struct UserConfig {
    /// The user's own WebRTC number.
    pub number: E164,
    /// The caller IDs that only this user may show, by key.
    pub caller_ids: BTreeMap<String, E164>,
    /// The key of the caller ID that is shown when a call names none.
    pub default_caller_id: Option<String>,
    /// The secret of the WebRTC number, for `GET /v1/sip`.
    pub sip_password: Option<SecretString>,
}

/// Calls that come in to the account's public numbers.
#[derive(Clone, Debug, Default)]
pub struct IncomingConfig {
    /// The last part of the webhook's address, `/hooks/incoming/{secret}`; at least 24 characters.
    pub secret: Option<SecretString>,
    /// The public number that was called: the WebRTC number that rings.
    pub numbers: BTreeMap<E164, E164>,
}

/// Where the browsers register.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// Addresses of SIP over WebSocket.
    pub servers: Vec<String>,
    /// What stands after the @.
    pub domain: String,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            servers: vec!["wss://voip.46elks.com/w1/websocket".to_owned()],
            domain: "voip.46elks.com".to_owned(),
        }
    }
}

/// Where calls may go. What is not allowed is denied.
#[derive(Clone, Debug, Default)]
pub struct DestinationConfig {
    /// Countries, by ISO 3166-1 code: `SE`. Countries that share +1, +7 or +44 are told apart.
    pub countries: BTreeSet<String>,
    /// Prefixes that are allowed beyond the countries: `+3706`. The longest of all prefixes decides.
    pub allow: BTreeSet<String>,
    /// Prefixes that are denied on top of those that come with the proxy.
    pub deny: BTreeSet<String>,
    /// A file of prefixes to deny, in the form of the proxy's own `data/denied.toml`, on top of those.
    pub deny_file: Option<PathBuf>,
    /// Kinds of numbers that are allowed on top of ordinary ones.
    pub kinds: BTreeSet<NumberKind>,
}

/// Kinds of numbers that are refused unless the operator asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberKind {
    /// The caller pays part of it.
    SharedCost,
    /// One number for a company's many.
    Uan,
    /// A number for life.
    Personal,
}

/// How often calls may be started. Each is a bucket that holds that many and refills evenly over its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Calls of one user a minute.
    pub user_per_minute: u32,
    /// Calls of one user an hour.
    pub user_per_hour: u32,
    /// Calls of one user to one destination within [`destination_window`](Self::destination_window).
    pub destination: u32,
    /// See [`destination`](Self::destination).
    pub destination_window: Duration,
    /// Calls of all users a minute.
    pub global_per_minute: u32,
    /// How many users, and pairs of user and destination, are kept count of; beyond it new ones are refused.
    pub max_keys: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            user_per_minute: 6,
            user_per_hour: 60,
            destination: 3,
            destination_window: Duration::from_secs(10 * 60),
            global_per_minute: 30,
            max_keys: 100_000,
        }
    }
}

/// How much a day of UTC may take. Once it is used up no call is started until the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Minutes of ended calls.
    pub minutes_per_day: Option<u64>,
    /// Cost of ended calls as 46elks reports it, in 1/10000 of the account's currency.
    pub cost_per_day: Option<u64>,
    /// Where a single instance keeps what was used of the day, over a restart; beside the journal by default.
    pub file: Option<PathBuf>,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { minutes_per_day: Some(600), cost_per_day: None, file: None }
    }
}

/// Where 46elks' webhooks come from, by its documentation: <https://46elks.com/docs/ip-addresses>.
#[must_use]
pub fn provider_sources() -> Vec<IpNet> {
    let v4 = [[176, 10, 154, 199], [85, 24, 146, 132], [185, 39, 146, 243]];
    let v6 = Ipv6Addr::new(0x2001, 0x9b0, 2, 0x902, 0, 0, 0, 0x199);
    v4.into_iter()
        .map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        .chain([IpAddr::V6(v6)])
        .map(IpNet::from)
        .collect()
}

impl Config {
    /// Reads `file`, where there is one, and the environment on top of it, and checks the whole.
    ///
    /// `environment` is that of the process, `std::env::vars()`; variables without the prefix are passed over.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config = raw::read(file, environment)?;
        config.validate()?;
        Ok(config)
    }

    /// A configuration for a provider in the same process or on the same machine; change what is needed, then call
    /// [`validate`](Self::validate). Swedish numbers may be called; nobody is known yet.
    #[must_use]
    pub fn development(
        listen: SocketAddr,
        public_url: &str,
        upstream_url: &str,
        upstream: BasicCredentials,
        hook_key: SecretString,
        jwt_secret: SecretString,
    ) -> Self {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self {
            listen,
            public_url: without_slash(public_url),
            upstream: UpstreamConfig {
                base_url: without_slash(upstream_url),
                username: upstream.username,
                password: upstream.password,
                connect_timeout: Duration::from_secs(3),
                total_timeout: Duration::from_secs(8),
            },
            hook_key,
            hook_sources: loopback.into_iter().map(IpNet::from).collect(),
            hook_basic: None,
            trusted_proxies: Vec::new(),
            timeouts: Timeouts::default(),
            store: StoreConfig::Memory { journal: None },
            development: true,
            origins: BTreeSet::new(),
            allowed_headers: BTreeSet::new(),
            auth: AuthConfig {
                algorithm: JwtAlgorithm::HS256,
                key: JwtKey::Secret(jwt_secret),
                audience: "wasm-softphone-proxy".to_owned(),
                issuer: None,
                leeway: Duration::from_secs(5),
                max_lifetime: Duration::from_secs(15 * 60),
                users_from_claims: false,
            },
            users: BTreeMap::new(),
            caller_ids: BTreeMap::new(),
            own_numbers: BTreeSet::new(),
            incoming: IncomingConfig::default(),
            sip: SipConfig::default(),
            destinations: DestinationConfig {
                countries: BTreeSet::from(["SE".to_owned()]),
                ..DestinationConfig::default()
            },
            limits: LimitsConfig::default(),
            budget: BudgetConfig::default(),
            kill_switch: false,
            kill_switch_file: None,
            max_duration: Duration::from_secs(60 * 60),
        }
    }

    /// Every number of the account that the configuration names.
    #[must_use]
    pub fn all_own_numbers(&self) -> BTreeSet<E164> {
        let of_users = self
            .users
            .values()
            .flat_map(|user| std::iter::once(&user.number).chain(user.caller_ids.values()));
        self.own_numbers
            .iter()
            .chain(self.caller_ids.values())
            .chain(of_users)
            .chain(self.incoming.numbers.iter().flat_map(|(public, webrtc)| [public, webrtc]))
            .cloned()
            .collect()
    }

    /// Checks the whole, and reports all that is wrong, by field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        self.check_addresses(&mut problems);
        self.check_secrets(&mut problems);
        self.check_auth(&mut problems);
        self.check_numbers(&mut problems);
        self.check_times_and_limits(&mut problems);
        problems.into_result()
    }

    fn check_addresses(&self, problems: &mut Problems) {
        check_url(problems, "public_url", &self.public_url);
        let upstream = check_own_url(problems, "upstream.base_url", &self.upstream.base_url);
        if self.development {
            if !self.listen.ip().is_loopback() {
                problems.add("development", "is for loopback addresses only, but `listen` is another");
            }
            let real = upstream.as_ref().and_then(Url::host_str).is_some_and(|host| {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host == "46elks.com" || host.ends_with(".46elks.com")
            });
            if real {
                problems.add("development", "must not be set with the real 46elks as `upstream.base_url`");
            }
        } else if self.origins.is_empty() {
            problems.add("origins", "names no origin, so no page could use the proxy");
        }
        for (at, origin) in self.origins.iter().enumerate() {
            if let Err(problem) = check_origin(origin) {
                problems.add(&format!("origins[{at}]"), problem);
            }
        }
        for (at, header) in self.allowed_headers.iter().enumerate() {
            let name = axum::http::HeaderName::from_bytes(header.as_bytes());
            if header.contains('*') || name.is_err() {
                problems.add(&format!("allowed_headers[{at}]"), "is not the name of one header");
            } else if matches!(header.as_str(), "cookie" | "host" | "x-forwarded-for" | "forwarded") {
                problems.add(&format!("allowed_headers[{at}]"), "is a header that no page may send here");
            }
        }
        if self.hook_sources.is_empty() {
            problems.add("hook_sources", "is empty, so no webhook could arrive");
        }
        for (name, networks) in
            [("hook_sources", &self.hook_sources), ("trusted_proxies", &self.trusted_proxies)]
        {
            for (at, network) in networks.iter().enumerate() {
                if network.prefix_len() == 0 {
                    problems.add(&format!("{name}[{at}]"), "is the whole internet");
                }
            }
        }
        if self.sip.servers.is_empty() {
            problems.add("sip.servers", "names no server");
        }
        for (at, server) in self.sip.servers.iter().enumerate() {
            let usable = Url::parse(server)
                .is_ok_and(|url| url.scheme() == "wss" || (url.scheme() == "ws" && is_loopback(&url)));
            if !usable {
                problems.add(&format!("sip.servers[{at}]"), "is no wss:// address (ws:// only to loopback)");
            }
        }
        if self.sip.domain.is_empty() || self.sip.domain.contains(|c: char| c.is_whitespace() || c == '@') {
            problems.add("sip.domain", "is no domain");
        }
        if let StoreConfig::Redis { url, prefix } = &self.store {
            let usable = Url::parse(url.expose_secret())
                .is_ok_and(|url| matches!(url.scheme(), "redis" | "redis+unix"));
            if !cfg!(feature = "redis") {
                problems
                    .add("store.kind", "is redis, and this program was built without the feature `redis`");
            }
            if !usable {
                problems.add("store.url", "is no redis:// or redis+unix:// address");
            }
            if prefix.is_empty() {
                problems.add("store.prefix", "is empty");
            }
        }
    }

    fn check_secrets(&self, problems: &mut Problems) {
        let mut at_least = |field: &str, secret: &SecretString, length: usize| {
            let found = secret.expose_secret();
            if found.chars().count() < length {
                problems.add(field, &format!("is shorter than {length} characters"));
            } else if found.trim() != found {
                problems.add(field, "begins or ends with white space");
            }
        };
        at_least("hook_key", &self.hook_key, 24);
        at_least("upstream.username", &self.upstream.username, 1);
        at_least("upstream.password", &self.upstream.password, 8);
        if let Some(basic) = &self.hook_basic {
            at_least("hook_basic.username", &basic.username, 1);
            at_least("hook_basic.password", &basic.password, 16);
        }
        if let Some(secret) = &self.incoming.secret {
            at_least("incoming.secret", secret, 24);
            let safe =
                secret.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !safe {
                problems.add("incoming.secret", "has characters other than A-Z, a-z, 0-9, - and _");
            }
        } else if !self.incoming.numbers.is_empty() {
            problems.add("incoming.secret", "is missing");
        }
    }

    fn check_auth(&self, problems: &mut Problems) {
        let auth = &self.auth;
        match (auth.algorithm, &auth.key) {
            (JwtAlgorithm::HS256, JwtKey::Secret(secret)) => {
                if secret.expose_secret().chars().count() < 32 {
                    problems.add("auth.secret", "is shorter than 32 characters");
                }
                if secret.expose_secret() == self.hook_key.expose_secret() {
                    problems.add("auth.secret", "is the same as `hook_key`");
                }
            }
            (JwtAlgorithm::EdDSA, JwtKey::PublicKeyPem(pem)) => {
                if pem.contains("PRIVATE KEY") {
                    problems.add("auth.public_key", "is a private key: give the public half");
                } else if jsonwebtoken::DecodingKey::from_ed_pem(pem.as_bytes()).is_err() {
                    problems.add("auth.public_key", "is no Ed25519 public key in PEM");
                }
            }
            (JwtAlgorithm::EdDSA, JwtKey::Jwks(url)) => {
                check_own_url(problems, "auth.jwks_url", url.as_str());
            }
            (JwtAlgorithm::HS256, _) => problems.add("auth.algorithm", "is HS256, which needs `auth.secret`"),
            (JwtAlgorithm::EdDSA, _) => {
                problems.add("auth.algorithm", "is EdDSA, which needs `auth.public_key` or `auth.jwks_url`");
            }
        }
        if auth.audience.trim().is_empty() {
            problems.add("auth.audience", "is empty");
        }
        if auth.leeway > Duration::from_secs(60) {
            problems.add("auth.leeway", "is more than 60 s");
        }
        if auth.max_lifetime > Duration::from_secs(15 * 60) || auth.max_lifetime.is_zero() {
            problems.add("auth.max_lifetime", "is not between 1 s and 15 min");
        }
        if self.users.is_empty() && !auth.users_from_claims && !self.development {
            problems.add("users", "names nobody, and `auth.users_from_claims` is off");
        }
    }

    fn check_numbers(&self, problems: &mut Problems) {
        let mut numbers = BTreeSet::new();
        for (at, (user, entry)) in self.users.iter().enumerate() {
            if user.is_empty() || user.len() > 255 {
                problems.add(&format!("users[{at}].sub"), "is empty or longer than 255 bytes");
            }
            // Two devices on one number could answer each other's calls.
            if !numbers.insert(&entry.number) {
                problems.add(&format!("users[{at}].number"), "is that of another user too");
            }
            let known =
                |key: &String| entry.caller_ids.contains_key(key) || self.caller_ids.contains_key(key);
            match &entry.default_caller_id {
                Some(key) if !known(key) => {
                    problems.add(&format!("users[{at}].default_caller_id"), "is not the key of a caller ID");
                }
                None if entry.caller_ids.is_empty() && self.caller_ids.is_empty() => {
                    problems.add(&format!("users[{at}].caller_ids"), "is empty, and so is `caller_ids`");
                }
                _ => {}
            }
        }
        for code in &self.destinations.countries {
            if !crate::policy::is_country(code) {
                problems.add("destinations.countries", "has something that is no ISO 3166-1 code such as SE");
            }
        }
        let lists = [
            ("destinations.allow", &self.destinations.allow),
            ("destinations.deny", &self.destinations.deny),
        ];
        for (field, prefixes) in lists {
            for (at, prefix) in prefixes.iter().enumerate() {
                if !crate::policy::is_prefix(prefix) {
                    problems.add(&format!("{field}[{at}]"), "is no prefix such as +4676");
                }
            }
        }
    }

    fn check_times_and_limits(&self, problems: &mut Problems) {
        let t = &self.timeouts;
        let minute = Duration::from_secs(60);
        let (second, day) = (Duration::from_secs(1), minute * 60 * 24);
        for (field, value, least, most) in [
            ("timeouts.ring", t.ring, second * 5, minute),
            ("timeouts.connect", t.connect, second * 5, minute * 2),
            ("timeouts.claim", t.claim, Duration::from_millis(100), second * 2),
            ("timeouts.confirm", t.confirm, second, second * 15),
            ("timeouts.record_life", t.record_life, minute, day),
            ("timeouts.tombstone", t.tombstone, second * 30, minute * 60),
            ("timeouts.idle", t.idle, second * 10, minute * 10),
            ("timeouts.long_poll", t.long_poll, second, second * 60),
            (
                "upstream.connect_timeout",
                self.upstream.connect_timeout,
                Duration::from_millis(100),
                second * 30,
            ),
            ("upstream.total_timeout", self.upstream.total_timeout, Duration::from_millis(100), minute),
            ("max_duration", self.max_duration, second * 10, day),
            ("limits.destination_window", self.limits.destination_window, second, day),
        ] {
            // In development a test may want them shorter.
            let least = if self.development { Duration::from_millis(1) } else { least };
            if value < least || value > most {
                problems.add(field, &format!("is not between {least:?} and {most:?}"));
            }
        }
        if t.claim >= t.confirm {
            problems.add("timeouts.claim", "is not shorter than `timeouts.confirm`");
        }
        for (field, value) in [
            ("limits.user_per_minute", u64::from(self.limits.user_per_minute)),
            ("limits.user_per_hour", u64::from(self.limits.user_per_hour)),
            ("limits.destination", u64::from(self.limits.destination)),
            ("limits.global_per_minute", u64::from(self.limits.global_per_minute)),
            ("limits.max_keys", self.limits.max_keys.try_into().unwrap_or(u64::MAX)),
        ] {
            if value == 0 {
                problems.add(field, "is 0; to stop all calls set `kill_switch`");
            }
        }
    }
}

/// An address that the proxy asks for something.
fn check_own_url(problems: &mut Problems, field: &str, text: &str) -> Option<Url> {
    let url = check_url(problems, field, text)?;
    if url.scheme() == "https" && !cfg!(feature = "tls") {
        problems.add(field, "is https, and this program was built without the feature `tls`");
    }
    Some(url)
}

/// An address in the web, https unless it is on this machine.
fn check_url(problems: &mut Problems, field: &str, text: &str) -> Option<Url> {
    let Ok(url) = Url::parse(text) else {
        problems.add(field, "is no address such as https://example.com");
        return None;
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => problems.add(field, "is not https (http only to loopback)"),
        _ => problems.add(field, "is not https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(field, "has a user or a password in it");
    }
    if url.query().is_some() || url.fragment().is_some() {
        problems.add(field, "has a query or a fragment");
    }
    Some(url)
}

/// An origin exactly as a browser writes it (RFC 6454, 6.2).
fn check_origin(origin: &str) -> Result<(), &'static str> {
    if origin.contains('*') {
        return Err("is a wildcard: name each origin");
    }
    let url = Url::parse(origin).map_err(|_| "is no origin such as https://app.example.com")?;
    if url.origin().ascii_serialization() != origin {
        return Err("is not written as a browser writes an origin: scheme://host[:port], nothing more");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        _ => Err("is not https (http only to loopback)"),
    }
}

/// Whether the address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn without_slash(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// What is wrong with the configuration: one line a problem, each with the field's name, none with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<(String, String)>,
}

impl ConfigError {
    fn one(field: &str, problem: &str) -> Self {
        Self { problems: vec![(field.to_owned(), problem.to_owned())] }
    }

    /// The fields that are wrong.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(|(field, _)| field.as_str())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (field, problem)) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{field}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[derive(Default)]
struct Problems(Vec<(String, String)>);

impl Problems {
    fn add(&mut self, field: &str, problem: &str) {
        self.0.push((field.to_owned(), problem.to_owned()));
    }

    fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.0 }) }
    }
}

#[cfg(test)]
mod tests;
