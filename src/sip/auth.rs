//! Answering challenges (RFC 3261, section 22): which to answer, with what nonce count, and when to give up.

use core::fmt;

use super::digest::{self, Challenge};
use super::message::{Request, Response};
use crate::entropy::{Entropy, token};
use crate::text::{concat, has_space_or_control};

/// SIP digest credentials. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name in the digest; `None`: the user part of the address of record.
    pub username: Option<String>,
    /// Password or its hash.
    pub secret: Secret,
    /// Answer challenges of this realm only. `None`: those of the realms that the registrar has named in challenges to
    /// REGISTER, and where it has named none, of the one that challenged the first request outside a dialog. Whoever
    /// else asks gets no answer, since an answer lets the password be guessed offline.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

/// A secret that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password.
    Password(String),
    /// H(username:realm:password) in hex, for one algorithm and realm (RFC 7616, section 3.4.2).
    Ha1(String),
    /// An access token (RFC 8898): sent as it is, over TLS or to this machine only.
    Bearer(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The 401 and 407 answers that one request has had so far.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// Realms that were answered because of a challenge to this request.
    answered: Vec<(bool, String)>,
    rounds: u8,
    /// Answers by a token. A second one is asked for where the first has expired (RFC 8898, section 2.2).
    tokens: u8,
    /// What the application has given for this request, the latest first: servers on one way may ask in turn.
    pub given: Vec<Credentials>,
}

impl Attempt {
    /// A token has been sent.
    pub const fn used_token(&mut self) {
        self.tokens = self.tokens.saturating_add(1);
    }

    fn has_answered(&self, proxy: bool, realm: &str) -> bool {
        self.answered.iter().any(|(by_proxy, known)| *by_proxy == proxy && known == realm)
    }
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
    realm: String,
    /// The realm's challenges. The credentials decide which is answered: a hash fits one algorithm only.
    offers: Vec<Offer>,
    /// The realm takes tokens too (RFC 8898).
    bearer: bool,
    /// Nothing shows that it is a realm of our servers: only credentials that name it are an answer.
    foreign: bool,
}

#[derive(Debug, Clone)]
struct Offer {
    challenge: Challenge,
    /// How often this nonce has been used (RFC 7616, section 3.4: `nc`).
    uses: u32,
}

/// The challenges that servers have made, so that the next request can be sent with its answer at once.
#[derive(Debug, Default)]
pub struct Authenticator {
    protections: Vec<Protection>,
    /// The realms of our own servers, as far as they are known: an answer to anyone else's challenge is material for
    /// guessing the password, and a challenge may come from the other end of a call.
    realms: Vec<String>,
    /// The registrar has named them, rather than whoever challenged first.
    by_registrar: bool,
}

/// What a challenge is to be seen with.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Whom the request was for.
    pub scope: Scope,
    /// The request belongs to a dialog: the other end of it may have made the challenge.
    pub in_dialog: bool,
    /// The credentials that the phone has. The realms that they name are answered by the application's word, and no others
    /// where each of them names one.
    pub kept: &'a [Credentials],
    /// The application is asked for credentials, so that it may have newer ones.
    pub asks: bool,
}

/// More realms than any sane server has; a bound on what a hostile one can make us keep and send.
const MAX_REALMS: usize = 4;
/// The same for the challenges of one response.
const MAX_CHALLENGES: usize = 16;
/// 401, 407, and once more each for a stale nonce.
const MAX_ROUNDS: u8 = 4;

impl Authenticator {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self { protections: Vec::new(), realms: Vec::new(), by_registrar: false }
    }

    /// Forgets all challenges: other credentials.
    pub fn clear(&mut self) {
        self.protections.clear();
    }

    /// Forgets whose challenges are to be answered: other servers.
    pub fn forget_realms(&mut self) {
        self.realms.clear();
        self.by_registrar = false;
    }

    /// Whether this realm is one of our servers'; where it can be learnt, it is.
    fn is_ours(&mut self, realm: &str, about: Circumstances<'_>) -> bool {
        if about.kept.iter().any(|one| one.realm.as_deref() == Some(realm)) {
            return true;
        }
        if !about.kept.is_empty() && about.kept.iter().all(|one| one.realm.is_some()) {
            return false;
        }
        let registers = about.scope == Scope::Register;
        if registers && !self.by_registrar {
            self.realms.clear();
            self.by_registrar = true;
        }
        let known = self.realms.iter().any(|known| known == realm);
        if known {
            return true;
        }
        let learns = registers || (!self.by_registrar && self.realms.is_empty() && !about.in_dialog);
        if learns && self.realms.len() < MAX_REALMS {
            self.realms.push(realm.to_owned());
        }
        learns
    }

    /// Takes the challenges of a 401 or 407 and gives their realms. None: to answer again would not help (wrong
    /// password, unknown algorithm, too many rounds) or would harm (somebody else's challenge).
    pub fn on_challenge(
        &mut self,
        about: Circumstances<'_>,
        response: &Response,
        attempt: &mut Attempt,
    ) -> Vec<String> {
        let scope = about.scope;
        let proxy = response.status == 407;
        let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        attempt.rounds = attempt.rounds.saturating_add(1);
        if attempt.rounds > MAX_ROUNDS {
            return Vec::new();
        }
        let mut found: Vec<Protection> = Vec::new();
        for challenge in digest::challenges(response.headers.get_all(name)).take(MAX_CHALLENGES) {
            let realm = challenge.realm.clone();
            let offer = Offer { challenge, uses: 0 };
            match found.iter_mut().find(|known| known.realm == realm) {
                Some(known) => known.offers.push(offer),
                None => found.push(Protection {
                    scope,
                    proxy,
                    realm,
                    offers: vec![offer],
                    bearer: false,
                    foreign: false,
                }),
            }
        }
        for realm in digest::bearer_realms(response.headers.get_all(name)).take(MAX_CHALLENGES) {
            match found.iter_mut().find(|known| known.realm == realm) {
                Some(known) => known.bearer = true,
                None => found.push(Protection {
                    scope,
                    proxy,
                    realm,
                    offers: Vec::new(),
                    bearer: true,
                    foreign: false,
                }),
            }
        }
        found.retain_mut(|known| {
            known.foreign = !self.is_ours(&known.realm, about);
            // A function may know whose realm it is.
            !known.foreign || (about.asks && !about.in_dialog)
        });
        // The same realm again, and not because the nonce is stale: the credentials are wrong.
        let expired = about.asks && attempt.tokens == 1;
        let wrong = found.iter().any(|known| {
            attempt.has_answered(proxy, &known.realm)
                && !(expired && known.bearer)
                && !known.offers.iter().any(|offer| offer.challenge.stale)
        });
        if wrong {
            self.protections.retain(|known| known.scope != scope || known.proxy != proxy);
            return Vec::new();
        }
        let mut realms = Vec::new();
        for mut new in found {
            realms.push(new.realm.clone());
            // A function is asked about one realm at a time.
            if !(attempt.has_answered(proxy, &new.realm) || about.asks && realms.len() > 1) {
                attempt.answered.push((proxy, new.realm.clone()));
            }
            let same =
                |known: &Protection| known.scope == scope && known.proxy == proxy && known.realm == new.realm;
            if let Some(at) = self.protections.iter().position(same) {
                let before = self.protections.remove(at);
                // A nonce that comes again is counted on: a server takes a lower count for a replay.
                for offer in &mut new.offers {
                    for old in &before.offers {
                        if old.challenge.nonce == offer.challenge.nonce {
                            offer.uses = offer.uses.max(old.uses);
                        }
                    }
                }
            }
            self.protections.push(new);
        }
        while self.protections.len() > MAX_REALMS {
            self.protections.remove(0);
        }
        realms
    }

    /// Adds the answers to all known challenges of this scope, each by the credentials that name its realm, or by the first
    /// that name none. ACK and CANCEL cannot be challenged
    /// (RFC 3261, section 22.1) and are not to be given here. `secure`: nobody reads along on the way to the server.
    /// `false`: there was nothing to add.
    pub fn authorize(
        &mut self,
        scope: Scope,
        request: &mut Request,
        user: &str,
        credentials: &[Credentials],
        secure: bool,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let mut added = false;
        request.headers.remove("Authorization");
        request.headers.remove("Proxy-Authorization");
        for known in self.protections.iter_mut().filter(|known| known.scope == scope) {
            let named = credentials.iter().find(|one| one.realm.as_ref() == Some(&known.realm));
            let any = credentials.iter().find(|one| one.realm.is_none() && !known.foreign);
            let Some(credentials) = named.or(any) else { continue };
            if known.foreign && self.realms.len() < MAX_REALMS {
                known.foreign = false;
                self.realms.push(known.realm.clone());
            }
            let username = credentials.username.as_deref().unwrap_or(user);
            let name = if known.proxy { "Proxy-Authorization" } else { "Authorization" };
            if let Secret::Bearer(token) = &credentials.secret {
                // Whoever has the token is us: it goes to the servers of the account, over a channel of ours, and
                // not to the other end of a call (RFC 8898, sections 2 and 5).
                let fit = known.bearer && secure && request.headers.head().to_tag().is_none();
                if fit && !token.is_empty() && !has_space_or_control(token) {
                    request.headers.push(name, concat(&["Bearer ", token]));
                    added = true;
                }
                continue;
            }
            // The strongest (RFC 8760, section 2.4); of equals the first.
            let mut best: Option<&mut Offer> = None;
            for offer in &mut known.offers {
                if offer.challenge.fits(&credentials.secret)
                    && best.as_ref().is_none_or(|best| offer.challenge.algorithm > best.challenge.algorithm)
                {
                    best = Some(offer);
                }
            }
            let Some(offer) = best else { continue };
            offer.uses = offer.uses.saturating_add(1);
            let value = digest::authorization(
                &offer.challenge,
                username,
                &credentials.secret,
                &request.method,
                &request.uri,
                offer.uses,
                &token(entropy, 16),
            );
            request.headers.push(name, value);
            added = true;
        }
        added
    }
}
