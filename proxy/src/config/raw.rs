//! The settings as they are written; [`read`] makes a [`Config`] of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use config::{Environment, FileFormat};
use ipnet::IpNet;
use secrecy::SecretString;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use url::Url;

use super::{
    AuthConfig, BasicCredentials, BudgetConfig, Config, ConfigError, DestinationConfig, IncomingConfig,
    JwtAlgorithm, JwtKey, LimitsConfig, NumberKind, Problems, SipConfig, StoreConfig, Timeouts,
    UpstreamConfig, UserConfig, provider_sources, without_slash,
};
use crate::numbers::E164;

const PREFIX: &str = "WASM_SOFTPHONE_PROXY";

/// Where the binary looks for the file; no setting, so not read as one.
const FILE_VARIABLE: &str = "WASM_SOFTPHONE_PROXY_CONFIG";

pub(super) fn read(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::one("configuration file", &format!("can't be read: {}", error.kind()))
        })?;
        builder = builder.add_source(config::File::from_str(&text, FileFormat::Toml));
    }
    let variables = environment
        .into_iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && name != FILE_VARIABLE && !value.is_empty())
        .collect();
    let environment =
        Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").source(Some(variables));
    let built = builder.add_source(environment).build().map_err(|error| match error {
        // The parser's own message shows the line, and with it what may be a secret.
        config::ConfigError::FileParse { .. } => ConfigError::one("configuration file", "is not valid TOML"),
        _ => ConfigError::one("configuration", "can't be read"),
    })?;
    let raw: Raw = serde_path_to_error::deserialize(built).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::one(if path == "." { "configuration" } else { &path }, &without_value(error.inner()))
    })?;
    raw.resolve()
}

/// What serde says is wrong, without what it read.
fn without_value(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::NotFound(field) => format!("`{field}` is missing"),
        config::ConfigError::Type { expected, .. } => format!("is not {expected}"),
        config::ConfigError::At { error, .. } => without_value(error),
        config::ConfigError::Message(text) if text.starts_with("missing field") => text.clone(),
        // The name and the names there are.
        config::ConfigError::Message(text) if text.starts_with("unknown field") => text.clone(),
        config::ConfigError::Message(text) => match text.strip_prefix("must be ") {
            Some(expected) => format!("is not {expected}"),
            None => "has a value that is not possible here".to_owned(),
        },
        _ => "has a value that is not possible here".to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "default_listen", deserialize_with = "parsed")]
    listen: SocketAddr,
    public_url: String,
    upstream: RawUpstream,
    hook_key: Option<SecretString>,
    hook_key_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "optional_list")]
    hook_sources: Option<Vec<IpNet>>,
    #[serde(default)]
    hook_basic: Option<RawBasic>,
    #[serde(default, deserialize_with = "list")]
    trusted_proxies: Vec<IpNet>,
    #[serde(default)]
    timeouts: RawTimeouts,
    #[serde(default)]
    store: RawStore,
    #[serde(default)]
    development: bool,
    #[serde(default, deserialize_with = "list")]
    origins: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    allowed_headers: Vec<String>,
    auth: RawAuth,
    #[serde(default)]
    users: Vec<RawUser>,
    #[serde(default)]
    caller_ids: BTreeMap<String, E164>,
    #[serde(default, deserialize_with = "list")]
    own_numbers: Vec<E164>,
    #[serde(default)]
    incoming: RawIncoming,
    #[serde(default)]
    sip: RawSip,
    #[serde(default)]
    destinations: RawDestinations,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    budget: RawBudget,
    #[serde(default)]
    kill_switch: bool,
    kill_switch_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "duration")]
    max_duration: Option<Duration>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpstream {
    #[serde(default = "default_upstream")]
    base_url: String,
    username: Option<SecretString>,
    username_file: Option<PathBuf>,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "duration")]
    connect_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    total_timeout: Option<Duration>,
}

fn default_upstream() -> String {
    "https://api.46elks.com/a1".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBasic {
    username: Option<SecretString>,
    username_file: Option<PathBuf>,
    password: Option<SecretString>,
    password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTimeouts {
    #[serde(deserialize_with = "duration")]
    ring: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    connect: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    claim: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    confirm: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    record_life: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    tombstone: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    idle: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    long_poll: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStore {
    kind: RawStoreKind,
    journal: Option<PathBuf>,
    url: Option<SecretString>,
    url_file: Option<PathBuf>,
    prefix: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawStoreKind {
    #[default]
    Memory,
    Redis,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    algorithm: JwtAlgorithm,
    secret: Option<SecretString>,
    secret_file: Option<PathBuf>,
    public_key: Option<String>,
    public_key_file: Option<PathBuf>,
    jwks_url: Option<String>,
    audience: String,
    issuer: Option<String>,
    #[serde(default, deserialize_with = "duration")]
    leeway: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    max_lifetime: Option<Duration>,
    #[serde(default)]
    users_from_claims: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    sub: String,
    number: E164,
    #[serde(default)]
    caller_ids: BTreeMap<String, E164>,
    default_caller_id: Option<String>,
    sip_password: Option<SecretString>,
    sip_password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawIncoming {
    secret: Option<SecretString>,
    secret_file: Option<PathBuf>,
    numbers: Vec<RawIncomingNumber>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIncomingNumber {
    number: E164,
    connect: E164,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSip {
    #[serde(deserialize_with = "optional_list")]
    servers: Option<Vec<String>>,
    domain: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawDestinations {
    #[serde(deserialize_with = "list")]
    countries: Vec<String>,
    #[serde(deserialize_with = "list")]
    allow: Vec<String>,
    #[serde(deserialize_with = "list")]
    deny: Vec<String>,
    deny_file: Option<PathBuf>,
    kinds: BTreeSet<NumberKind>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    user_per_minute: Option<u32>,
    user_per_hour: Option<u32>,
    destination: Option<u32>,
    #[serde(deserialize_with = "duration")]
    destination_window: Option<Duration>,
    global_per_minute: Option<u32>,
    max_keys: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawBudget {
    minutes_per_day: Option<u64>,
    cost_per_day: Option<u64>,
    file: Option<PathBuf>,
}

impl Raw {
    fn resolve(self) -> Result<Config, ConfigError> {
        let mut problems = Problems::default();
        let p = &mut problems;
        let hook_key = required(p, "hook_key", self.hook_key, self.hook_key_file.as_deref());
        let username =
            required(p, "upstream.username", self.upstream.username, self.upstream.username_file.as_deref());
        let password =
            required(p, "upstream.password", self.upstream.password, self.upstream.password_file.as_deref());
        let hook_basic = self.hook_basic.map(|basic| BasicCredentials {
            username: required(p, "hook_basic.username", basic.username, basic.username_file.as_deref()),
            password: required(p, "hook_basic.password", basic.password, basic.password_file.as_deref()),
        });
        let store = self.store.resolve(p);
        let auth = self.auth.resolve(p);
        let mut users = BTreeMap::new();
        for (at, user) in self.users.into_iter().enumerate() {
            let sip_password = secret(
                p,
                &format!("users[{at}].sip_password"),
                user.sip_password,
                user.sip_password_file.as_deref(),
            );
            let entry = UserConfig {
                number: user.number,
                caller_ids: user.caller_ids,
                default_caller_id: user.default_caller_id,
                sip_password,
            };
            if users.insert(user.sub, entry).is_some() {
                p.add(&format!("users[{at}].sub"), "is that of another user too");
            }
        }
        let incoming = self.incoming.resolve(p);
        let standard = Timeouts::default();
        let usual = LimitsConfig::default();
        let config = Config {
            listen: self.listen,
            public_url: without_slash(&self.public_url),
            upstream: UpstreamConfig {
                base_url: without_slash(&self.upstream.base_url),
                username,
                password,
                connect_timeout: self.upstream.connect_timeout.unwrap_or(Duration::from_secs(3)),
                total_timeout: self.upstream.total_timeout.unwrap_or(Duration::from_secs(8)),
            },
            hook_key,
            hook_sources: self.hook_sources.unwrap_or_else(provider_sources),
            hook_basic,
            trusted_proxies: self.trusted_proxies,
            timeouts: Timeouts {
                ring: self.timeouts.ring.unwrap_or(standard.ring),
                connect: self.timeouts.connect.unwrap_or(standard.connect),
                claim: self.timeouts.claim.unwrap_or(standard.claim),
                confirm: self.timeouts.confirm.unwrap_or(standard.confirm),
                record_life: self.timeouts.record_life.unwrap_or(standard.record_life),
                tombstone: self.timeouts.tombstone.unwrap_or(standard.tombstone),
                idle: self.timeouts.idle.unwrap_or(standard.idle),
                long_poll: self.timeouts.long_poll.unwrap_or(standard.long_poll),
            },
            store,
            development: self.development,
            origins: self.origins.into_iter().collect(),
            allowed_headers: self.allowed_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            auth,
            users,
            caller_ids: self.caller_ids,
            own_numbers: self.own_numbers.into_iter().collect(),
            incoming,
            sip: SipConfig {
                servers: self.sip.servers.unwrap_or_else(|| SipConfig::default().servers),
                domain: self.sip.domain.unwrap_or_else(|| SipConfig::default().domain),
            },
            destinations: DestinationConfig {
                countries: self.destinations.countries.into_iter().collect(),
                allow: self.destinations.allow.into_iter().collect(),
                deny: self.destinations.deny.into_iter().collect(),
                deny_file: self.destinations.deny_file,
                kinds: self.destinations.kinds,
            },
            limits: LimitsConfig {
                user_per_minute: self.limits.user_per_minute.unwrap_or(usual.user_per_minute),
                user_per_hour: self.limits.user_per_hour.unwrap_or(usual.user_per_hour),
                destination: self.limits.destination.unwrap_or(usual.destination),
                destination_window: self.limits.destination_window.unwrap_or(usual.destination_window),
                global_per_minute: self.limits.global_per_minute.unwrap_or(usual.global_per_minute),
                max_keys: self.limits.max_keys.unwrap_or(usual.max_keys),
            },
            budget: BudgetConfig {
                minutes_per_day: self.budget.minutes_per_day.or(BudgetConfig::default().minutes_per_day),
                cost_per_day: self.budget.cost_per_day,
                file: self.budget.file,
            },
            kill_switch: self.kill_switch,
            kill_switch_file: self.kill_switch_file,
            max_duration: self.max_duration.unwrap_or(Duration::from_secs(60 * 60)),
        };
        problems.into_result()?;
        Ok(config)
    }
}

impl RawStore {
    fn resolve(self, problems: &mut Problems) -> StoreConfig {
        match self.kind {
            RawStoreKind::Memory => {
                if self.url.is_some() || self.url_file.is_some() || self.prefix.is_some() {
                    problems.add("store.kind", "is \"memory\", which has no `url` and no `prefix`");
                }
                StoreConfig::Memory { journal: self.journal }
            }
            RawStoreKind::Redis => {
                if self.journal.is_some() {
                    problems.add("store.kind", "is \"redis\", which has no `journal`");
                }
                StoreConfig::Redis {
                    url: required(problems, "store.url", self.url, self.url_file.as_deref()),
                    prefix: self.prefix.unwrap_or_else(|| "wasm-softphone".to_owned()),
                }
            }
        }
    }
}

impl RawAuth {
    fn resolve(self, problems: &mut Problems) -> AuthConfig {
        let shared = secret(problems, "auth.secret", self.secret, self.secret_file.as_deref());
        let pem = match (self.public_key, self.public_key_file) {
            (Some(_), Some(_)) => {
                problems.add("auth.public_key", "is given twice, here and as a file");
                None
            }
            (given, None) => given,
            (None, Some(path)) => read_file(problems, "auth.public_key_file", &path),
        };
        let jwks = self.jwks_url.and_then(|url| match Url::parse(&url) {
            Ok(url) => Some(url),
            Err(_) => {
                problems.add("auth.jwks_url", "is no address such as https://example.com");
                None
            }
        });
        let key = match (shared, pem, jwks) {
            (Some(secret), None, None) => JwtKey::Secret(secret),
            (None, Some(pem), None) => JwtKey::PublicKeyPem(pem),
            (None, None, Some(url)) => JwtKey::Jwks(url),
            (None, None, None) => {
                problems.add("auth", "has none of `secret`, `public_key` and `jwks_url`");
                JwtKey::PublicKeyPem(String::new())
            }
            _ => {
                problems.add("auth", "has more than one of `secret`, `public_key` and `jwks_url`");
                JwtKey::PublicKeyPem(String::new())
            }
        };
        AuthConfig {
            algorithm: self.algorithm,
            key,
            audience: self.audience,
            issuer: self.issuer,
            leeway: self.leeway.unwrap_or(Duration::from_secs(5)),
            max_lifetime: self.max_lifetime.unwrap_or(Duration::from_secs(15 * 60)),
            users_from_claims: self.users_from_claims,
        }
    }
}

impl RawIncoming {
    fn resolve(self, problems: &mut Problems) -> IncomingConfig {
        let secret = secret(problems, "incoming.secret", self.secret, self.secret_file.as_deref());
        let mut numbers = BTreeMap::new();
        for (at, entry) in self.numbers.into_iter().enumerate() {
            if numbers.insert(entry.number, entry.connect).is_some() {
                problems.add(&format!("incoming.numbers[{at}].number"), "is there twice");
            }
        }
        IncomingConfig { secret, numbers }
    }
}

/// A secret that must be there; what stands in for one that is not never gets past the problem.
fn required(
    problems: &mut Problems,
    field: &str,
    given: Option<SecretString>,
    file: Option<&Path>,
) -> SecretString {
    if given.is_none() && file.is_none() {
        problems.add(field, "is missing: give it or its `_file`");
    }
    secret(problems, field, given, file).unwrap_or_default()
}

fn secret(
    problems: &mut Problems,
    field: &str,
    given: Option<SecretString>,
    file: Option<&Path>,
) -> Option<SecretString> {
    match (given, file) {
        (Some(_), Some(_)) => {
            problems.add(field, "is given twice, here and as a file");
            None
        }
        (given, None) => given,
        (None, Some(path)) => {
            // An editor leaves a line break at the end.
            read_file(problems, &format!("{field}_file"), path)
                .map(|text| SecretString::from(text.trim_end_matches(['\r', '\n'])))
        }
    }
}

fn read_file(problems: &mut Problems, field: &str, path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            problems.add(field, &format!("can't be read: {}", error.kind()));
            None
        }
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.trim().parse().map_err(|_| de::Error::custom("must be an address with a port"))
}

/// A list, or one string with commas, as the environment has no lists.
fn list<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct List<T>(std::marker::PhantomData<T>);

    fn item<T: FromStr, E: de::Error>(text: &str) -> Result<T, E> {
        text.trim().parse().map_err(|_| E::custom("must be a list of what this setting takes"))
    }

    impl<'de, T: FromStr> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.split(',').filter(|part| !part.trim().is_empty()).map(item).collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(text) = seq.next_element::<String>()? {
                items.push(item(&text)?);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_any(List(std::marker::PhantomData))
}

fn optional_list<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    list(deserializer).map(Some)
}

/// A time such as `"20s"` or `"1m 30s"`, or a number of seconds.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    const EXPECTED: &str = "must be a time such as \"20s\"";
    let text = String::deserialize(deserializer)?;
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| de::Error::custom(EXPECTED));
    }
    let signed = text.parse::<jiff::SignedDuration>().map_err(|_| de::Error::custom(EXPECTED))?;
    Duration::try_from(signed).map(Some).map_err(|_| de::Error::custom(EXPECTED))
}
