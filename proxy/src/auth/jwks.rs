//! The host application's public keys (RFC 7517), fetched when one is needed and kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use tokio::sync::Mutex;
use url::Url;

use super::AuthError;

/// Keys older than this are fetched again, so that one that was withdrawn goes.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// How long keys are used when they can't be fetched again.
const STALE: Duration = Duration::from_secs(60 * 60);
/// Between two fetches: a token with an unknown key makes at most this many.
const PAUSE: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 64 * 1024;
const MAX_KEYS: usize = 64;

pub(super) struct Jwks {
    url: Url,
    client: reqwest::Client,
    // Held over a fetch, so that many tokens make one.
    state: Mutex<State>,
    pause: Duration,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, Arc<DecodingKey>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Jwks {
    pub(super) fn new(url: Url) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(5))
            // What is trusted is this address, not what it points to.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { url, client, state: Mutex::new(State::default()), pause: PAUSE })
    }

    #[cfg(test)]
    pub(super) fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(super) async fn key(&self, kid: &str) -> Result<Arc<DecodingKey>, AuthError> {
        let mut state = self.state.lock().await;
        let age = |at: Option<Instant>| at.map_or(Duration::MAX, |at| at.elapsed());
        let wanted = !state.keys.contains_key(kid) || age(state.fetched) > FRESH;
        if wanted && age(state.tried) >= self.pause {
            state.tried = Some(Instant::now());
            match self.fetch().await {
                Some(keys) => {
                    state.keys = keys;
                    state.fetched = Some(Instant::now());
                }
                None => tracing::warn!(kind = "jwks", "the host application's keys can't be fetched"),
            }
        }
        if age(state.fetched) > STALE {
            return Err(AuthError { code: "unavailable", reason: "keys" });
        }
        state.keys.get(kid).cloned().ok_or(AuthError { code: "unauthenticated", reason: "key_id" })
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

/// The Ed25519 keys for signatures among those of a key set; others are passed over.
fn usable_keys(body: &[u8]) -> Option<BTreeMap<String, Arc<DecodingKey>>> {
    let set: JwkSet = serde_json::from_slice(body).ok()?;
    let mut keys = BTreeMap::new();
    for key in set.keys.iter().take(MAX_KEYS) {
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
