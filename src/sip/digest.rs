//! Digest authentication (RFC 7616, RFC 8760; servers of RFC 2617 and RFC 2069 too), for both sides of it.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use super::header::{is_token, quote, split_list, unquote};
use super::message::Method;
use crate::phone::io::Secret;

/// Hash algorithms (RFC 8760, section 2.1), the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5-sess`.
    Md5Sess,
    /// `MD5`; also where a challenge names none.
    Md5,
    /// `SHA-256-sess`.
    Sha256Sess,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256-sess`.
    Sha512_256Sess,
    /// `SHA-512-256`.
    Sha512_256,
}

const ALGORITHMS: [(&str, Algorithm); 6] = [
    ("MD5", Algorithm::Md5),
    ("MD5-sess", Algorithm::Md5Sess),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-256-sess", Algorithm::Sha256Sess),
    ("SHA-512-256", Algorithm::Sha512_256),
    ("SHA-512-256-sess", Algorithm::Sha512_256Sess),
];

impl Algorithm {
    /// The token on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, algorithm)| *algorithm == self).map_or("MD5", |(name, _)| name)
    }

    fn from_token(token: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(token)).map(|(_, algorithm)| *algorithm)
    }

    const fn is_sess(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    /// H of the parts joined with colons, in lower-case hex.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 | Self::Md5Sess => hex(&Md5::digest(text)),
            Self::Sha256 | Self::Sha256Sess => hex(&Sha256::digest(text)),
            Self::Sha512_256 | Self::Sha512_256Sess => hex(&Sha512_256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// A challenge that can be answered (RFC 7616, section 3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Realm, unquoted.
    pub realm: String,
    /// Nonce, unquoted.
    pub nonce: String,
    /// To be sent back as it came.
    pub opaque: Option<String>,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// `auth` is among the offered qualities of protection.
    pub qop_auth: bool,
    /// The challenge has a `qop` at all; without one the answer is that of RFC 2069.
    pub qop_present: bool,
    /// The nonce was too old, the credentials were good.
    pub stale: bool,
    /// The server wants the user name hashed (RFC 7616, section 3.4.4).
    pub userhash: bool,
}

impl Challenge {
    /// Reads the first challenge of a WWW-Authenticate or Proxy-Authenticate value. `None` when it is not Digest,
    /// or cannot be answered: unknown algorithm, no `auth` in `qop`, no realm or nonce, control characters.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        Self::from_params(&schemes(value).into_iter().next()?)
    }

    fn from_params(challenge: &Scheme<'_>) -> Option<Self> {
        if !challenge.name.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let is_true = |name| challenge.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let qop = challenge.get("qop");
        let qop_auth =
            qop.is_some_and(|qop| split_list(qop).any(|option| option.eq_ignore_ascii_case("auth")));
        if qop.is_some() && !qop_auth {
            return None;
        }
        let algorithm = match challenge.get("algorithm") {
            Some(token) => Algorithm::from_token(token)?,
            None => Algorithm::Md5,
        };
        let text = |name| match challenge.get(name) {
            // They are sent back; a control character in them is an attack or a defect, never a need.
            Some(value) if value.chars().any(char::is_control) => Err(()),
            value => Ok(value.map(str::to_owned)),
        };
        Some(Self {
            realm: text("realm").ok()??,
            nonce: text("nonce").ok()??,
            opaque: text("opaque").ok()?,
            algorithm,
            qop_auth,
            qop_present: qop.is_some(),
            stale: is_true("stale"),
            userhash: is_true("userhash"),
        })
    }

    /// Whether this secret can answer: a password always, a hash when it is as long as the algorithm's.
    #[must_use]
    pub fn fits(&self, secret: &Secret) -> bool {
        match secret {
            Secret::Password(_) => true,
            Secret::Ha1(ha1) => ha1.len() == if self.algorithm <= Algorithm::Md5 { 32 } else { 64 },
        }
    }
}

/// The challenges to answer: for each realm the strongest that is supported, realms in the order of the
/// response. Takes the values of all WWW-Authenticate (or all Proxy-Authenticate) lines; a line may hold several
/// challenges.
pub fn choose<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut chosen: Vec<Challenge> = Vec::new();
    for value in values {
        for challenge in schemes(value).iter().filter_map(Challenge::from_params) {
            match chosen.iter_mut().find(|other| other.realm == challenge.realm) {
                Some(other) if other.algorithm < challenge.algorithm => *other = challenge,
                Some(_) => {}
                None => chosen.push(challenge),
            }
        }
    }
    chosen
}

/// The value of an Authorization or Proxy-Authorization header (RFC 7616, section 3.4).
///
/// `uri` is the Request-URI, `nc` counts the uses of this nonce from 1, `cnonce` is fresh and random.
#[must_use]
pub fn authorization(
    challenge: &Challenge,
    username: &str,
    secret: &Secret,
    method: &Method,
    uri: &str,
    nc: u32,
    cnonce: &str,
) -> String {
    let algorithm = challenge.algorithm;
    let nc = hex(&nc.to_be_bytes());
    let qop = if challenge.qop_auth { Some("auth") } else { None };
    let ha1 = match secret {
        Secret::Password(password) => algorithm.hash(&[username, &challenge.realm, password]),
        Secret::Ha1(ha1) => ha1.to_ascii_lowercase(),
    };
    let response =
        response(algorithm, ha1, &challenge.nonce, qop.map(|qop| (nc.as_str(), qop)), cnonce, method, uri);

    let mut out = String::with_capacity(320);
    out.push_str("Digest ");
    let username = if challenge.userhash {
        quote(&algorithm.hash(&[username, &challenge.realm]))
    } else {
        quote(username)
    };
    let mut add = |name: &str, value: &str| {
        if out.len() > 7 {
            out.push_str(", ");
        }
        out.extend([name, "=", value]);
    };
    add("username", &username);
    add("realm", &quote(&challenge.realm));
    add("nonce", &quote(&challenge.nonce));
    add("uri", &quote(uri));
    add("response", &quote(&response));
    add("algorithm", algorithm.as_str());
    if let Some(opaque) = &challenge.opaque {
        add("opaque", &quote(opaque));
    }
    if let Some(qop) = qop {
        add("qop", qop);
        add("nc", &nc);
    }
    if qop.is_some() || algorithm.is_sess() {
        add("cnonce", &quote(cnonce));
    }
    if challenge.userhash {
        add("userhash", "true");
    }
    out
}

/// KD(H(A1), …) of RFC 7616, section 3.4.1, or the older form without `qop`.
fn response(
    algorithm: Algorithm,
    ha1: String,
    nonce: &str,
    qop: Option<(&str, &str)>,
    cnonce: &str,
    method: &Method,
    uri: &str,
) -> String {
    let ha1 = if algorithm.is_sess() { algorithm.hash(&[&ha1, nonce, cnonce]) } else { ha1 };
    let ha2 = algorithm.hash(&[method.as_str(), uri]);
    match qop {
        Some((nc, qop)) => algorithm.hash(&[&ha1, nonce, nc, cnonce, qop, &ha2]),
        None => algorithm.hash(&[&ha1, nonce, &ha2]),
    }
}

/// Credentials that a client sent, as a server reads them (RFC 7616, section 3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The user name, or its hash where [`Authorization::userhash`] is set.
    pub username: String,
    /// Realm.
    pub realm: String,
    /// Nonce.
    pub nonce: String,
    /// The Request-URI that was signed.
    pub uri: String,
    /// The digest in hex.
    pub response: String,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Quality of protection.
    pub qop: Option<String>,
    /// Nonce count, as on the wire.
    pub nc: Option<String>,
    /// Client nonce.
    pub cnonce: Option<String>,
    /// Opaque.
    pub opaque: Option<String>,
    /// The user name is hashed.
    pub userhash: bool,
}

impl Authorization {
    /// Reads the value of an Authorization or Proxy-Authorization header; `None` when it is not Digest or a
    /// mandatory part is missing.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let scheme = schemes(value).into_iter().next()?;
        if !scheme.name.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let text = |name| scheme.get(name).map(str::to_owned);
        Some(Self {
            username: text("username")?,
            realm: text("realm")?,
            nonce: text("nonce")?,
            uri: text("uri")?,
            response: text("response")?,
            algorithm: match scheme.get("algorithm") {
                Some(token) => Algorithm::from_token(token)?,
                None => Algorithm::Md5,
            },
            qop: text("qop"),
            nc: text("nc"),
            cnonce: text("cnonce"),
            opaque: text("opaque"),
            userhash: scheme.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    /// Whether these credentials are this user's (RFC 7616, section 3.4.4: by name or by its hash).
    #[must_use]
    pub fn is_user(&self, username: &str) -> bool {
        if self.userhash {
            self.username.eq_ignore_ascii_case(&self.algorithm.hash(&[username, &self.realm]))
        } else {
            self.username == username
        }
    }

    /// Whether the digest is that of this user and password. The caller checks the realm, the nonce, its count
    /// and the URI.
    #[must_use]
    pub fn verify(&self, username: &str, password: &str, method: &Method) -> bool {
        let qop = match (self.qop.as_deref(), self.nc.as_deref()) {
            (Some(qop), Some(nc)) if qop.eq_ignore_ascii_case("auth") => Some((nc, qop)),
            (Some(_), _) => return false,
            (None, _) => None,
        };
        let cnonce = self.cnonce.as_deref().unwrap_or_default();
        let ha1 = self.algorithm.hash(&[username, &self.realm, password]);
        let expected = response(self.algorithm, ha1, &self.nonce, qop, cnonce, method, &self.uri);
        // Compares all of it, so that the time does not tell where they differ.
        let given = self.response.as_bytes();
        self.is_user(username)
            && given.len() == expected.len()
            && given.iter().zip(expected.bytes()).fold(0, |acc, (a, b)| acc | (a.to_ascii_lowercase() ^ b))
                == 0
    }
}

/// Whether the digest is that of this password and of the user name in it. The caller checks that the user exists,
/// the realm, the nonce, its count and the URI. For a hashed user name use [`Authorization::verify`].
#[must_use]
pub fn verify(authorization: &Authorization, password: &str, method: &Method) -> bool {
    authorization.verify(&authorization.username, password, method)
}

/// One challenge or one set of credentials: a scheme and its parameters.
struct Scheme<'a> {
    name: &'a str,
    params: Vec<(&'a str, String)>,
}

impl Scheme<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Splits a value into its schemes. Commas separate parameters as well as challenges (RFC 9110, section 11.6.1),
/// so an item starts a new challenge when two words stand before its `=`, or one word and no `=` at all.
fn schemes(value: &str) -> Vec<Scheme<'_>> {
    let mut all: Vec<Scheme<'_>> = Vec::new();
    for item in split_list(value) {
        let word_len = item.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(item.len());
        let (word, rest) = item.split_at(word_len);
        let rest = rest.trim_start();
        let param = if rest.starts_with('=') {
            item
        } else {
            if is_token(word) {
                all.push(Scheme { name: word, params: Vec::new() });
            }
            rest
        };
        if let Some((name, value)) = param.split_once('=')
            && let Some(scheme) = all.last_mut()
        {
            let value = value.trim();
            let value = if value.starts_with('"') { unquote(value) } else { value.to_owned() };
            scheme.params.push((name.trim(), value));
        }
    }
    all
}
