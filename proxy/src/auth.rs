//! Who may use the proxy: holders of a short-lived JSON Web Token that the host application signed.
//!
//! The algorithm is the configuration's, never the token's; `sub`, `aud`, `exp` and `iat` must be there, and a token
//! lives 15 minutes at most, so that one that leaks is worth little. Who the user is to the telephone network, own
//! number and caller IDs, is looked up here, or taken from the signed claims where the operator turned that on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use hmac::{Hmac, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

use crate::config::{AuthConfig, Config, JwtAlgorithm, JwtKey, UserConfig};
use crate::numbers::E164;

mod jwks;
pub mod signatures;

use jwks::Jwks;

/// A WebRTC number of 46elks begins like this. A number that a token claims must: it is what the first, paid, leg of
/// a call goes to.
const CLIENT_NUMBERS: &str = "+4600";

/// Longer than any token that is meant for this.
const MAX_TOKEN: usize = 4096;

/// An authenticated user, and what the user is to the telephone network.
#[derive(Clone, Debug)]
pub struct Session {
    /// The token's `sub`: for keys and comparisons, not for logs.
    pub user: String,
    /// What logs call the user: a keyed hash.
    pub hash: String,
    /// The user's own WebRTC number.
    pub number: E164,
    /// The caller IDs that the user may show, by key.
    pub caller_ids: BTreeMap<String, E164>,
    /// The key of the one that is shown when a call names none.
    pub default_caller_id: String,
    /// What the user's browser registers with; none where the configuration has no secret for the number.
    pub sip: Option<SipAccount>,
}

/// What a browser registers with.
#[derive(Clone, Debug)]
pub struct SipAccount {
    /// Addresses of SIP over WebSocket.
    pub servers: Vec<String>,
    /// `sip:4600100100@voip.46elks.com`
    pub uri: String,
    /// The number without its +.
    pub username: String,
    /// The secret of the number.
    pub password: SecretString,
}

/// Why a request is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct AuthError {
    /// The code of the answer: `unauthenticated`; `unavailable` when the host application's keys can't be had.
    pub code: &'static str,
    /// Why, for log and metrics: one of a fixed few words.
    pub reason: &'static str,
}

impl AuthError {
    const fn refused(reason: &'static str) -> Self {
        Self { code: "unauthenticated", reason }
    }
}

/// The authenticator can't be built.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// The key is not what the algorithm needs.
    #[error("auth: the key does not fit the algorithm")]
    Key,
    /// The client for the key set can't be built.
    #[error("auth.jwks_url: no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Checks tokens.
pub struct Authenticator {
    auth: AuthConfig,
    validation: Validation,
    keys: Keys,
    hash_key: SecretString,
    users: BTreeMap<String, UserConfig>,
    caller_ids: BTreeMap<String, E164>,
    owned: BTreeSet<E164>,
    sip: crate::config::SipConfig,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("auth", &self.auth).finish_non_exhaustive()
    }
}

enum Keys {
    One(Box<DecodingKey>),
    Set(Jwks),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    iat: u64,
    number: Option<E164>,
    caller_ids: Option<BTreeMap<String, E164>>,
    default_caller_id: Option<String>,
}

impl Authenticator {
    /// Prepares the keys. A key set of the host application is fetched with the first token, so that the proxy
    /// starts without it.
    #[expect(
        clippy::unused_async,
        reason = "the callers need not change when a kind of key has to be waited for"
    )]
    pub async fn new(config: &Config) -> Result<Self, AuthSetupError> {
        signatures::install();
        let auth = config.auth.clone();
        let (algorithm, keys) = match (auth.algorithm, &auth.key) {
            (JwtAlgorithm::HS256, JwtKey::Secret(secret)) => {
                let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                (Algorithm::HS256, Keys::One(Box::new(key)))
            }
            (JwtAlgorithm::EdDSA, JwtKey::PublicKeyPem(pem)) => {
                let key = DecodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| AuthSetupError::Key)?;
                (Algorithm::EdDSA, Keys::One(Box::new(key)))
            }
            (JwtAlgorithm::EdDSA, JwtKey::Jwks(url)) => {
                (Algorithm::EdDSA, Keys::Set(Jwks::new(url.clone())?))
            }
            _ => return Err(AuthSetupError::Key),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[&auth.audience]);
        if let Some(issuer) = &auth.issuer {
            validation.set_issuer(&[issuer]);
        }
        let mut required = vec!["sub", "aud", "exp", "iat"];
        required.extend(auth.issuer.as_ref().map(|_| "iss"));
        validation.set_required_spec_claims(&required);
        validation.leeway = auth.leeway.as_secs();
        validation.validate_nbf = true;
        let owned = config.own_numbers.iter().chain(config.caller_ids.values()).cloned().collect();
        Ok(Self {
            auth,
            validation,
            keys,
            hash_key: config.hook_key.clone(),
            users: config.users.clone(),
            caller_ids: config.caller_ids.clone(),
            owned,
            sip: config.sip.clone(),
        })
    }

    /// Who sent a request with these headers.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Session, AuthError> {
        let token = bearer(headers)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthError::refused("malformed"))?;
        if self.validation.algorithms.first() != Some(&header.alg) {
            return Err(AuthError::refused("algorithm"));
        }
        let claims = match &self.keys {
            Keys::One(key) => self.decode(token, key)?,
            Keys::Set(set) => {
                let kid = header.kid.as_deref().ok_or(AuthError::refused("key_id"))?;
                self.decode(token, &*set.key(kid).await?)?
            }
        };
        self.check_life(&claims, now())?;
        self.session(claims)
    }

    /// What logs call `user`.
    #[must_use]
    pub fn user_hash(&self, user: &str) -> String {
        // An HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.hash_key.expose_secret().as_bytes()) else {
            return String::new();
        };
        mac.update(b"user\0");
        mac.update(user.as_bytes());
        mac.finalize().into_bytes().iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn decode(&self, token: &str, key: &DecodingKey) -> Result<Claims, AuthError> {
        use jsonwebtoken::errors::ErrorKind;
        match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => Err(AuthError::refused(match error.kind() {
                ErrorKind::ExpiredSignature => "expired",
                ErrorKind::ImmatureSignature => "not_yet",
                ErrorKind::InvalidAudience => "audience",
                ErrorKind::InvalidIssuer => "issuer",
                ErrorKind::InvalidSignature => "signature",
                ErrorKind::InvalidAlgorithm => "algorithm",
                ErrorKind::MissingRequiredClaim(_) | ErrorKind::Json(_) => "claims",
                _ => "malformed",
            })),
        }
    }

    fn check_life(&self, claims: &Claims, now: u64) -> Result<(), AuthError> {
        let leeway = self.auth.leeway.as_secs();
        if claims.iat > now.saturating_add(leeway) {
            return Err(AuthError::refused("not_yet"));
        }
        match claims.exp.checked_sub(claims.iat) {
            Some(life) if life > 0 && life <= self.auth.max_lifetime.as_secs() => Ok(()),
            _ => Err(AuthError::refused("lifetime")),
        }
    }

    fn session(&self, claims: Claims) -> Result<Session, AuthError> {
        if claims.sub.is_empty() || claims.sub.len() > 255 {
            return Err(AuthError::refused("subject"));
        }
        let hash = self.user_hash(&claims.sub);
        let mut caller_ids = self.caller_ids.clone();
        let (number, default, password) = match self.users.get(&claims.sub) {
            Some(user) => {
                caller_ids.extend(user.caller_ids.clone());
                (user.number.clone(), user.default_caller_id.clone(), user.sip_password.clone())
            }
            None if self.auth.users_from_claims => {
                let number = claims.number.ok_or(AuthError::refused("claims"))?;
                // Another user's number would take over that user's calls.
                let taken = self.users.values().any(|user| user.number == number);
                if taken || !number.as_str().starts_with(CLIENT_NUMBERS) {
                    return Err(AuthError::refused("claims"));
                }
                let claimed = claims.caller_ids.unwrap_or_default();
                // A number that the configuration does not know is not checked for in incoming calls either.
                if !claimed.values().all(|claimed| self.owned.contains(claimed)) {
                    return Err(AuthError::refused("claims"));
                }
                caller_ids.extend(claimed);
                (number, claims.default_caller_id, None)
            }
            None => return Err(AuthError::refused("user")),
        };
        let default = default
            .or_else(|| caller_ids.contains_key("main").then(|| "main".to_owned()))
            .or_else(|| caller_ids.keys().next().cloned())
            .filter(|key| caller_ids.contains_key(key))
            .ok_or(AuthError::refused("claims"))?;
        let sip = password.map(|password| SipAccount {
            servers: self.sip.servers.clone(),
            uri: format!("sip:{}@{}", number.digits(), self.sip.domain),
            username: number.digits().to_owned(),
            password,
        });
        Ok(Session { user: claims.sub, hash, number, caller_ids, default_caller_id: default, sip })
    }
}

/// The one bearer token of a request (RFC 6750, 2.1). Basic credentials are refused like any other scheme.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::refused("missing"))?;
    if values.next().is_some() {
        return Err(AuthError::refused("malformed"));
    }
    let text = value.to_str().map_err(|_| AuthError::refused("malformed"))?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthError::refused("malformed"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::refused("scheme"));
    }
    let token = token.trim();
    if token.is_empty() || token.len() > MAX_TOKEN { Err(AuthError::refused("malformed")) } else { Ok(token) }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests;
