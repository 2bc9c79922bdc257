//! Digest authentication (RFC 7616, RFC 8760; servers of RFC 2617 and RFC 2069 too), for both sides of it.

use sha2::{Digest, Sha256, Sha512_256};

use super::auth::Secret;
use super::header::{is_token, quote, split_list, unquote};
use super::md5::md5;
use super::message::Method;
use crate::entropy::push_hex;
use crate::text::{append, has_control, split_once};

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
        let mut text = String::new();
        for (at, part) in parts.iter().enumerate() {
            append(&mut text, &[if at == 0 { "" } else { ":" }, part]);
        }
        match self {
            Self::Md5 | Self::Md5Sess => hex(&md5(&text)),
            Self::Sha256 | Self::Sha256Sess => hex(&Sha256::digest(text)),
            Self::Sha512_256 | Self::Sha512_256Sess => hex(&Sha512_256::digest(text)),
        }
    }
}

#[inline(never)]
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        push_hex(&mut text, *byte);
    }
    text
}

/// SHA-256 of a text, in hex.
#[must_use]
pub fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
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
            Some(value) if has_control(value) => Err(()),
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
            // Never turned into a digest: that would be a password of the server's choosing.
            Secret::Bearer(_) => false,
            Secret::Ha1(ha1) => ha1.len() == if self.algorithm <= Algorithm::Md5 { 32 } else { 64 },
        }
    }
}

/// The challenges that are supported, in the order of the response. Takes the values of all WWW-Authenticate (or
/// all Proxy-Authenticate) lines; a line may hold several challenges.
pub fn challenges<'a>(values: impl Iterator<Item = &'a str>) -> std::vec::IntoIter<Challenge> {
    let mut challenges = Vec::new();
    for value in values {
        for scheme in schemes(value) {
            challenges.extend(Challenge::from_params(&scheme));
        }
    }
    challenges.into_iter()
}

/// The realms that take a token (RFC 8898, section 4), from the same values.
pub fn bearer_realms<'a>(values: impl Iterator<Item = &'a str>) -> std::vec::IntoIter<String> {
    let mut realms = Vec::new();
    for value in values {
        for scheme in schemes(value) {
            if scheme.name.eq_ignore_ascii_case("Bearer") {
                realms.extend(scheme.get("realm").filter(|realm| !has_control(realm)).map(str::to_owned));
            }
        }
    }
    realms.into_iter()
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
        Secret::Password(secret) | Secret::Bearer(secret) => {
            algorithm.hash(&[username, &challenge.realm, secret])
        }
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
        append(&mut out, &[name, "=", value]);
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
        let end = item.bytes().position(|b| b == b'=' || b.is_ascii_whitespace()).unwrap_or(item.len());
        let (word, rest) = item.split_at_checked(end).unwrap_or_default();
        let rest = rest.trim_ascii_start();
        let param = if rest.starts_with('=') {
            item
        } else {
            if is_token(word) {
                all.push(Scheme { name: word, params: Vec::new() });
            }
            rest
        };
        if let Some((name, value)) = split_once(param, b'=')
            && let Some(scheme) = all.last_mut()
        {
            let value = value.trim_ascii();
            let value = if value.starts_with('"') { unquote(value) } else { value.to_owned() };
            scheme.params.push((name.trim_ascii(), value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn password(text: &str) -> Secret {
        Secret::Password(text.to_owned())
    }

    fn get() -> Method {
        Method::Other("GET".into())
    }

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn the_name_of_a_call_as_the_proxy_gets_it() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(""), empty);
        assert_eq!(sha256_hex("abc"), abc);
    }

    /// What a server reads of what the client wrote.
    fn answer(
        challenge: &str,
        user: &str,
        secret: &Secret,
        method: &Method,
        uri: &str,
        nc: u32,
        cnonce: &str,
    ) -> Authorization {
        let challenge = Challenge::parse(challenge).unwrap();
        Authorization::parse(&authorization(&challenge, user, secret, method, uri, nc, cnonce)).unwrap()
    }

    #[test]
    fn rfc_7616_section_3_9_1() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!(
                r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            );
            let secret = password("Circle of Life");
            let answer = answer(
                &challenge,
                "Mufasa",
                &secret,
                &get(),
                "/dir/index.html",
                1,
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            );
            assert_eq!(answer.response, response);
            assert_eq!(answer.opaque.as_deref(), Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"));
            assert_eq!(answer.algorithm.as_str(), algorithm);
            assert!(verify(&answer, "Circle of Life", &get()));
            assert!(!verify(&answer, "Circle of life", &get()));
            assert!(!verify(&answer, "Circle of Life", &Method::Invite));
        }
    }

    #[test]
    fn rfc_7616_section_3_9_2_userhash() {
        // With the values of erratum 4897: those of the RFC are of a truncated SHA-512, not of SHA-512/256.
        let challenge = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true"#;
        let secret = password("Secret, or not?");
        let answer = answer(
            challenge,
            "Jäsøn Doe",
            &secret,
            &get(),
            "/doe.json",
            1,
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        );
        assert_eq!(answer.username, "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
        assert_eq!(answer.response, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
        assert!(answer.userhash && answer.is_user("Jäsøn Doe") && !answer.is_user("Jason Doe"));
        assert!(answer.verify("Jäsøn Doe", "Secret, or not?", &get()));
        assert!(!answer.verify("Jason Doe", "Secret, or not?", &get()));
    }

    #[test]
    fn rfc_2617_and_rfc_2069() {
        let secret = password("Circle Of Life");
        let nonce = r#"realm="testrealm@host.com",nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let with_qop = answer(
            &format!(r#"digest {nonce},qop="auth,auth-int""#),
            "Mufasa",
            &secret,
            &get(),
            "/dir/index.html",
            1,
            "0a4f113b",
        );
        assert_eq!(with_qop.response, "6629fae49393a05397450978507c4ef1");
        // Erratum 749 of RFC 2069.
        let secret = password("CircleOfLife");
        let without =
            answer(&format!("Digest {nonce}"), "Mufasa", &secret, &get(), "/dir/index.html", 1, "0a4f113b");
        assert_eq!(without.response, "1949323746fe6a43ef61f9606e7febea");
        assert_eq!((&without.qop, &without.nc, &without.cnonce), (&None, &None, &None));
        assert!(verify(&without, "CircleOfLife", &get()));
    }

    #[test]
    fn sess_algorithms() {
        // Reference values from Python's hashlib.
        for (algorithm, with_qop, without) in [
            ("MD5-sess", "e30c7149fe7dffce1196b5cd06b9f7f6", "6c70acaa19df8370752466fffe13e508"),
            (
                "SHA-256-sess",
                "8f8d62e0d6c7f99b9cde520360545671c32f888388a2fb040e25e33ee8fcb98c",
                "7642ca6c6bdb08b060e23eaede749d2b055f14c8bc088d6c73dc3e195ff975bb",
            ),
            (
                "SHA-512-256-sess",
                "d18729197df3fda7875b3ce1a0ae68c0f1af76f70308cda0e69584d98df603ea",
                "3404a9f5c01163d81b5bd4a7a7a2d26e07a17d9f97a87981a7da8d8371e18f4e",
            ),
        ] {
            for (qop, response) in [(", qop=auth", with_qop), ("", without)] {
                let challenge =
                    format!(r#"Digest realm="example.com", nonce="nonce", algorithm={algorithm}{qop}"#);
                let secret = password("zanzibar");
                let answer =
                    answer(&challenge, "bob", &secret, &Method::Register, "sip:example.com", 11, "cnonce");
                assert_eq!(answer.response, response);
                assert_eq!(answer.cnonce.as_deref(), Some("cnonce"));
                assert!(verify(&answer, "zanzibar", &Method::Register));
            }
        }
    }

    #[test]
    fn printed_form() {
        let challenge =
            Challenge::parse(r#"Digest realm="r", nonce="n", opaque="", qop="auth", algorithm=SHA-256"#)
                .unwrap();
        let text = authorization(&challenge, "alice", &password("x"), &Method::Invite, "sip:b@h", 266, "c");
        let (head, tail) = text.split_once("response=\"").unwrap();
        assert_eq!(head, r#"Digest username="alice", realm="r", nonce="n", uri="sip:b@h", "#);
        // qop, nc and algorithm are tokens (RFC 7616, section 3.4); nc counts in hex.
        assert_eq!(&tail[64..], r#"", algorithm=SHA-256, opaque="", qop=auth, nc=0000010a, cnonce="c""#);
    }

    #[test]
    fn ha1_instead_of_password() {
        let challenge = Challenge::parse(
            r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", qop=auth"#,
        )
        .unwrap();
        let ha1 = Secret::Ha1("939E7578ED9E3C518A452ACEE763BCE9".into());
        let text = authorization(&challenge, "Mufasa", &ha1, &get(), "/dir/index.html", 1, "0a4f113b");
        assert!(text.contains("6629fae49393a05397450978507c4ef1"), "{text}");
        assert!(challenge.fits(&ha1));
        let sha = Challenge::parse(r#"Digest realm="r", nonce="n", algorithm=sha-256"#).unwrap();
        assert!(!sha.fits(&ha1) && sha.fits(&password("x")) && sha.fits(&Secret::Ha1("0".repeat(64))));
    }

    #[test]
    fn parameters_of_challenges() {
        let challenge = Challenge::parse(
            r#"dIgEsT  REALM = "a, \"b\"" , nonce=abc,stale=TRUE, algorithm="Sha-256", qop="auth-int , AUTH", domain="sip:x""#,
        )
        .unwrap();
        assert_eq!(challenge.realm, "a, \"b\"");
        assert_eq!(challenge.nonce, "abc");
        assert_eq!(challenge.algorithm, Algorithm::Sha256);
        assert!(challenge.stale && challenge.qop_auth && challenge.qop_present && !challenge.userhash);
        assert_eq!(challenge.opaque, None);
        for bad in [
            "",
            "Basic realm=\"x\"",
            "Digest",
            r#"Digest realm="r""#,
            r#"Digest nonce="n""#,
            r#"Digest realm="r", nonce="n", algorithm=SHA-1"#,
            r#"Digest realm="r", nonce="n", algorithm=AKAv1-MD5"#,
            r#"Digest realm="r", nonce="n", qop="auth-int""#,
            r#"Digest realm="r", nonce="n", qop="""#,
            "Digest realm=\"r\", nonce=\"n\r\nX: y\"",
            "Digest realm=\"r\u{1}\", nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"n\", opaque=\"\0\"",
            r#"realm="r", nonce="n""#,
        ] {
            assert_eq!(Challenge::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn challenges_of_several_lines() {
        let lines = [
            r#"Digest realm="a", nonce="1", algorithm=MD5, Digest realm="a", nonce="2", algorithm=SHA-256, qop="auth""#,
            r#"Basic realm="a", Negotiate, NTLM abc==, Digest realm="b",nonce="3""#,
            r#"Digest realm="a", nonce="4", algorithm=SHA-512-256, Digest realm="a", nonce="5", algorithm=SHA-3"#,
            r#"Digest realm="a", nonce="6", algorithm=SHA-512-256-sess"#,
        ];
        let all: Vec<_> = challenges(lines.into_iter()).collect();
        let got: Vec<_> = all.iter().map(|c| (c.realm.as_str(), c.nonce.as_str(), c.algorithm)).collect();
        assert_eq!(
            got,
            [
                ("a", "1", Algorithm::Md5),
                ("a", "2", Algorithm::Sha256),
                ("b", "3", Algorithm::Md5),
                ("a", "4", Algorithm::Sha512_256),
                ("a", "6", Algorithm::Sha512_256Sess),
            ]
        );
        assert_eq!(challenges(["Basic realm=x", ""].into_iter()).count(), 0);
    }

    #[test]
    fn nothing_breaks_out_of_the_header() {
        let challenge =
            Challenge::parse(r#"Digest realm="r\", response=\"x", nonce="n\\", opaque="o\"", qop=auth"#)
                .unwrap();
        let text = authorization(
            &challenge,
            "al\"ice\\\r\nVia: x",
            &password("x"),
            &Method::Bye,
            "sip:\"@h",
            1,
            "c",
        );
        assert!(!text.contains(['\r', '\n']));
        let read = Authorization::parse(&text).unwrap();
        assert_eq!(read.realm, "r\", response=\"x");
        assert_eq!(read.nonce, "n\\");
        assert_eq!(read.opaque.as_deref(), Some("o\""));
        assert_eq!(read.uri, "sip:\"@h");
        assert_eq!(read.response.len(), 32);
    }

    #[test]
    fn broken_credentials() {
        for bad in [
            "",
            "Basic YTpi",
            "Bearer x",
            r#"Digest username="a""#,
            r#"Digest username="a", realm="r", nonce="n", uri="u", response="x", algorithm=x"#,
        ] {
            assert_eq!(Authorization::parse(bad), None, "{bad}");
        }
        let good = r#"Digest username="a", realm="r", nonce="n", uri="u", response="00000000000000000000000000000000""#;
        for tail in ["", ", qop=auth", ", qop=auth-int, nc=00000001, cnonce=x", ", qop=auth, nc=00000001"] {
            assert!(!verify(&Authorization::parse(&format!("{good}{tail}")).unwrap(), "", &Method::Bye));
        }
    }
}
