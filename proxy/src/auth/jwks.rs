//! The host application's public keys (RFC 7517), fetched when one is needed and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::AuthError;
use crate::client;

/// Keys older than this are fetched again, so that one that was withdrawn goes.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long keys are used when they can't be fetched again.
const STALE: Duration = Duration::from_secs(60 * 60);
/// Between two fetches: a token with an unknown key makes at most this many.
const PAUSE: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 64 * 1024;
const MAX_KEYS: usize = 64;

#[derive(Clone)]
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    url: Url,
    client: reqwest::Client,
    cache: RwLock<Cache>,
    /// When a fetch was last begun. Held over a fetch, so that many tokens make one.
    tried: Mutex<Option<Instant>>,
    pause: Duration,
}

#[derive(Default)]
struct Cache {
    keys: BTreeMap<String, Arc<DecodingKey>>,
    fetched: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        Self::with_pause(url, PAUSE)
    }

    pub(super) fn with_pause(url: Url, pause: Duration) -> Result<Self, reqwest::Error> {
        let client = client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(5))
            .build()?;
        Ok(Self(Arc::new(Inner { url, client, cache: RwLock::default(), tried: Mutex::new(None), pause })))
    }

    pub(super) async fn key(&self, kid: &str) -> Result<Arc<DecodingKey>, AuthError> {
        match self.0.cached(kid) {
            (Some(key), age) if age <= FRESH => return Ok(key),
            // Nobody waits for the host application while its last word still counts.
            (Some(key), age) if age <= STALE => {
                let inner = Arc::clone(&self.0);
                tokio::spawn(async move { inner.refresh().await });
                return Ok(key);
            }
            _ => self.0.refresh().await,
        }
        match self.0.cached(kid) {
            (_, age) if age > STALE => Err(AuthError { code: "unavailable", reason: "keys" }),
            (Some(key), _) => Ok(key),
            (None, _) => Err(AuthError { code: "unauthenticated", reason: "key_id" }),
        }
    }

    /// As if the keys had been fetched so much earlier.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        let mut cache = self.0.cache.write().unwrap();
        cache.fetched = cache.fetched.map(|at| at.checked_sub(by).unwrap());
    }
}

impl Inner {
    /// The key, if it is known, and how old all keys are.
    fn cached(&self, kid: &str) -> (Option<Arc<DecodingKey>>, Duration) {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        (cache.keys.get(kid).cloned(), cache.fetched.map_or(Duration::MAX, |at| at.elapsed()))
    }

    async fn refresh(&self) {
        let mut tried = self.tried.lock().await;
        if tried.is_some_and(|at| at.elapsed() < self.pause) {
            return;
        }
        *tried = Some(Instant::now());
        match self.fetch().await {
            Some(keys) => {
                let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
                *cache = Cache { keys, fetched: Some(Instant::now()) };
            }
            None => tracing::warn!(kind = "jwks", "the host application's keys can't be fetched"),
        }
    }

    async fn fetch(&self) -> Option<BTreeMap<String, Arc<DecodingKey>>> {
        let mut response = self.client.get(self.url.clone()).send().await.ok()?.error_for_status().ok()?;
        if response.status() != reqwest::StatusCode::OK {
            return None;
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if body.len() + chunk.len() > MAX_BODY {
                return None;
            }
            body.extend_from_slice(&chunk);
        }
        usable_keys(&body)
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// The Ed25519 keys for signatures among those of a key set; others are passed over.
fn usable_keys(body: &[u8]) -> Option<BTreeMap<String, Arc<DecodingKey>>> {
    let set: KeySet = serde_json::from_slice(body).ok()?;
    let mut keys = BTreeMap::new();
    // One by one: a key that isn't understood must not hide the others (RFC 7517, 5).
    for key in set.keys.into_iter().take(MAX_KEYS) {
        let Ok(key) = serde_json::from_value::<Jwk>(key) else { continue };
        let AlgorithmParameters::OctetKeyPair(parameters) = &key.algorithm else { continue };
        let common = &key.common;
        let for_signatures =
            common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
                && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify))
                && common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::EdDSA);
        if !for_signatures || parameters.curve != EllipticCurve::Ed25519 {
            continue;
        }
        let (Some(kid), Ok(decoding)) = (&common.key_id, DecodingKey::from_ed_components(&parameters.x))
        else {
            continue;
        };
        keys.insert(kid.clone(), Arc::new(decoding));
    }
    Some(keys)
}
