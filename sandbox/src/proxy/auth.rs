//! Digest authentication, the server's side (RFC 7616, RFC 8760).

use std::collections::BTreeMap;

use wasm_softphone::entropy::{Entropy, token};
use wasm_softphone::sip::digest::Authorization;
use wasm_softphone::sip::message::{Request, Response};
use wasm_softphone::time::{Duration, Instant};

use super::Domain;

/// How long a nonce is good for. Long enough that a phone seldom has to ask again, short enough that tests and
/// demos meet `stale=true`.
pub(super) const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// More nonces than this are not remembered; the oldest go first.
const MAX_NONCES: usize = 10_000;

/// Which pair of headers carries the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// 401, WWW-Authenticate, Authorization: the registrar.
    Registrar,
    /// 407, Proxy-Authenticate, Proxy-Authorization: the proxy.
    Proxy,
}

impl Side {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Registrar => 401,
            Self::Proxy => 407,
        }
    }

    const fn challenge(self) -> &'static str {
        match self {
            Self::Registrar => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }

    pub(super) const fn credentials(self) -> &'static str {
        match self {
            Self::Registrar => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

/// What a request's credentials are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This user's, fresh.
    Accepted(String),
    /// There are none for this realm: challenge.
    Missing,
    /// Right, but the nonce is too old, unknown or was used before: challenge with `stale=true`.
    Stale,
    /// Unknown user or wrong password: challenge anew, and let nobody tell the two apart.
    Wrong,
}

struct Nonce {
    issued: Instant,
    /// Highest count seen: what is not higher is a replay (RFC 7616, section 3.4).
    count: u32,
}

/// Issues nonces and checks what comes back.
pub(super) struct Authenticator {
    nonces: BTreeMap<String, Nonce>,
}

impl Authenticator {
    pub(super) const fn new() -> Self {
        Self { nonces: BTreeMap::new() }
    }

    pub(super) fn check(&mut self, now: Instant, domain: &Domain, side: Side, request: &Request) -> Verdict {
        let Some(credentials) = request
            .headers
            .get_all(side.credentials())
            .filter_map(Authorization::parse)
            .find(|credentials| credentials.realm == domain.name)
        else {
            return Verdict::Missing;
        };
        // The signed URI must be that of the request, or a signature for one call would do for another.
        let good = credentials.uri == request.uri
            && credentials.qop.is_some() == domain.qop
            && domain.algorithms.contains(&credentials.algorithm);
        let Some((user, _)) = domain
            .accounts
            .iter()
            .find(|(user, password)| good && credentials.verify(user, password, &request.method))
        else {
            return Verdict::Wrong;
        };
        if !domain.qop {
            // Without qop there is no count: a nonce is good until it is old (RFC 2069).
            let fresh = self
                .nonces
                .get(&credentials.nonce)
                .is_some_and(|nonce| now.saturating_since(nonce.issued) < domain.nonce_lifetime);
            return if fresh { Verdict::Accepted(user.clone()) } else { Verdict::Stale };
        }
        let count = credentials.nc.as_deref().and_then(|nc| u32::from_str_radix(nc, 16).ok());
        match (self.nonces.get_mut(&credentials.nonce), count) {
            (Some(nonce), Some(count))
                if now.saturating_since(nonce.issued) < domain.nonce_lifetime && count > nonce.count =>
            {
                nonce.count = count;
                Verdict::Accepted(user.clone())
            }
            _ => Verdict::Stale,
        }
    }

    /// Adds the challenges, the strongest first (RFC 8760, section 2.3). MD5 is for the many phones that know
    /// nothing else.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
        domain: &Domain,
        side: Side,
        stale: bool,
        response: &mut Response,
    ) {
        self.forget(now);
        for algorithm in &domain.algorithms {
            let nonce = token(entropy, 32);
            response.headers.push(
                side.challenge(),
                format!(
                    "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={}{}{}",
                    domain.name,
                    algorithm.as_str(),
                    if domain.qop { ", qop=\"auth\"" } else { "" },
                    if stale { ", stale=true" } else { "" },
                ),
            );
            self.nonces.insert(nonce, Nonce { issued: now, count: 0 });
        }
    }

    fn forget(&mut self, now: Instant) {
        if self.nonces.len() < MAX_NONCES {
            return;
        }
        self.nonces.retain(|_, nonce| now.saturating_since(nonce.issued) < NONCE_LIFETIME);
        if self.nonces.len() >= MAX_NONCES
            && let Some(oldest) = self.nonces.values().map(|nonce| nonce.issued).min()
        {
            self.nonces.retain(|_, nonce| nonce.issued > oldest);
        }
    }
}
