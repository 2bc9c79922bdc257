//! Answering challenges (RFC 3261, section 22): which to answer, with what nonce count, and when to give up.

use super::digest::{self, Challenge};
use super::message::{Request, Response};
use crate::entropy::{Entropy, token};
use crate::phone::Credentials;

/// The 401 and 407 answers that one request has had so far.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// Realms that were answered because of a challenge to this request.
    answered: Vec<(bool, String)>,
    rounds: u8,
}

/// Which requests a challenge is kept for: an answer meant for the registrar is not shown to anyone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// REGISTER.
    Register,
    /// Everything else.
    Calls,
}

#[derive(Debug, Clone)]
struct Protection {
    scope: Scope,
    /// 407 and `Proxy-Authorization` rather than 401 and `Authorization`.
    proxy: bool,
    challenge: Challenge,
    /// How often this nonce has been used (RFC 7616, section 3.4: `nc`).
    uses: u32,
}

/// The challenges that servers have made, so that the next request can be sent with its answer at once.
#[derive(Debug, Default)]
pub struct Authenticator {
    protections: Vec<Protection>,
}

/// More realms than any sane server has; a bound on what a hostile one can make us keep and send.
const MAX_REALMS: usize = 4;
/// 401, 407, and once more each for a stale nonce.
const MAX_ROUNDS: u8 = 4;

impl Authenticator {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self { protections: Vec::new() }
    }

    /// Forgets all challenges: other servers, other credentials.
    pub fn clear(&mut self) {
        self.protections.clear();
    }

    /// Takes the challenges of a 401 or 407. `None`: to answer again would not help (wrong password, unknown
    /// algorithm, too many rounds). Otherwise the first realm, for the question who to be there.
    pub fn on_challenge(
        &mut self,
        scope: Scope,
        response: &Response,
        attempt: &mut Attempt,
    ) -> Option<String> {
        let proxy = response.status == 407;
        let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let challenges = digest::choose(response.headers.get_all(name));
        attempt.rounds = attempt.rounds.saturating_add(1);
        if challenges.is_empty() || attempt.rounds > MAX_ROUNDS {
            return None;
        }
        // The same realm again, and not because the nonce is stale: the credentials are wrong.
        let again = |challenge: &Challenge| {
            attempt.answered.iter().any(|(p, realm)| *p == proxy && *realm == challenge.realm)
        };
        if challenges.iter().any(|challenge| again(challenge) && !challenge.stale) {
            self.protections.retain(|known| known.scope != scope || known.proxy != proxy);
            return None;
        }
        let realm = challenges.first().map(|challenge| challenge.realm.clone());
        for challenge in challenges {
            if !attempt.answered.iter().any(|(p, realm)| *p == proxy && *realm == challenge.realm) {
                attempt.answered.push((proxy, challenge.realm.clone()));
            }
            self.protections.retain(|known| {
                known.scope != scope || known.proxy != proxy || known.challenge.realm != challenge.realm
            });
            self.protections.push(Protection { scope, proxy, challenge, uses: 0 });
        }
        while self.protections.len() > MAX_REALMS {
            self.protections.remove(0);
        }
        realm
    }

    /// Adds the answers to all known challenges of this scope. ACK and CANCEL cannot be challenged
    /// (RFC 3261, section 22.1) and are not to be given here.
    pub fn authorize(
        &mut self,
        scope: Scope,
        request: &mut Request,
        user: &str,
        credentials: &Credentials,
        entropy: &mut dyn Entropy,
    ) {
        request.headers.remove("Authorization");
        request.headers.remove("Proxy-Authorization");
        let username = credentials.username.as_deref().unwrap_or(user);
        for known in self.protections.iter_mut().filter(|known| known.scope == scope) {
            if credentials.realm.as_ref().is_some_and(|realm| *realm != known.challenge.realm) {
                continue;
            }
            known.uses = known.uses.saturating_add(1);
            let value = digest::authorization(
                &known.challenge,
                username,
                &credentials.secret,
                &request.method,
                &request.uri,
                known.uses,
                &token(entropy, 16),
            );
            let name = if known.proxy { "Proxy-Authorization" } else { "Authorization" };
            request.headers.push(name, value);
        }
    }
}
