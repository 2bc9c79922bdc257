//! The secret parts of the webhooks' addresses: one a call and purpose, made from a key and the call's record.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::calls::{HookIds, Record};

/// What a webhook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Voice,
    Hangup,
}

/// Makes and checks the tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    key: SecretString,
}

impl Tokens {
    pub(crate) fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// base64url(HMAC-SHA256(key, call id ‖ purpose ‖ nonce)).
    pub(crate) fn token(&self, call_id: uuid::Uuid, nonce: &str, purpose: Purpose) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes()) else {
            // HMAC takes a key of any length.
            return String::new();
        };
        mac.update(call_id.as_bytes());
        mac.update(match purpose {
            Purpose::Voice => b"v",
            Purpose::Hangup => b"h",
        });
        mac.update(nonce.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    pub(crate) fn hook_ids(&self, call_id: uuid::Uuid, nonce: &str) -> HookIds {
        HookIds {
            voice: hook_id(&self.token(call_id, nonce, Purpose::Voice)),
            hangup: hook_id(&self.token(call_id, nonce, Purpose::Hangup)),
        }
    }

    /// Whether `token` is the record's, in constant time.
    pub(crate) fn fits(&self, token: &str, record: &Record, purpose: Purpose) -> bool {
        let expected = self.token(record.call_id, &record.nonce, purpose);
        !record.nonce.is_empty() && equal(&expected, token)
    }
}

/// The store is asked for this, so that it never holds a token, and how long it looks tells nothing about one.
pub(crate) fn hook_id(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// Compares in constant time; only the length shows.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// 128 random bits.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
