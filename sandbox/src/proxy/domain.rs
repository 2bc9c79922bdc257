//! What a proxy serves: a name, its users, and the rules that differ between providers.

use wasm_softphone::time::Duration;

use wasm_softphone::sip::digest::Algorithm;

use super::auth::NONCE_LIFETIME;
use crate::accounts::{ACCOUNTS, DOMAIN};

/// What becomes of an INVITE that a user's phone sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// It goes to the user or number that it is for.
    Free,
    /// It is refused with 403.
    Forbidden,
    /// It goes to this service line, whatever it is for.
    Trunk(String),
}

/// A domain and its rules. The default is the sandbox's own.
#[derive(Clone)]
pub struct Domain {
    /// Host of the addresses of record, and the digest realm.
    pub name: String,
    /// User and password of each.
    pub accounts: Vec<(String, String)>,
    /// What is asked for, the strongest first (RFC 8760, section 2.3).
    pub algorithms: Vec<Algorithm>,
    /// `qop=auth` is asked for, and then required.
    pub qop: bool,
    /// How long a nonce is good for; zero makes every answer a stale one.
    pub nonce_lifetime: Duration,
    /// A wrong password gets 403, not one more challenge.
    pub forbid_wrong: bool,
    /// A registration takes the place of all others of its user; else a call rings on all of them.
    pub last_wins: bool,
    /// What becomes of calls that phones make.
    pub calls: Calls,
}

impl Default for Domain {
    fn default() -> Self {
        let owned =
            |account: &crate::accounts::Account| (account.user.to_owned(), account.password.to_owned());
        Self {
            name: DOMAIN.to_owned(),
            accounts: ACCOUNTS.iter().map(owned).collect(),
            // MD5 is for the many phones that know nothing else.
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            qop: true,
            nonce_lifetime: NONCE_LIFETIME,
            forbid_wrong: false,
            last_wins: false,
            calls: Calls::Free,
        }
    }
}

impl Domain {
    /// The address of record of a user.
    #[must_use]
    pub fn aor(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.name)
    }
}
