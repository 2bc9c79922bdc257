//! SIP URIs (RFC 3261, section 19.1).

use core::fmt;

use super::header::{Params, is_uri_text, split_before};
use crate::text::{append, concat, digits, has_space_or_control, number, split, split_once};

/// Why a text is not a SIP URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Neither `sip:` nor `sips:`.
    #[error("not a sip: or sips: URI")]
    Scheme,
    /// A character that a URI cannot hold: a space, a control character, `<`, `>` or a quote.
    #[error("a character that a URI cannot hold")]
    Character,
    /// An `@` with nothing before it.
    #[error("empty user part")]
    User,
    /// No host, or one that is neither a name nor an address.
    #[error("no valid host")]
    Host,
    /// A port that is not a number from 0 to 65535.
    #[error("no valid port")]
    Port,
}

/// A parsed `sip:` or `sips:` URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uri {
    /// `sip` or `sips`.
    pub scheme: String,
    /// The user part as on the wire (still escaped), without the password.
    pub user: Option<String>,
    /// The password part as on the wire.
    pub password: Option<String>,
    /// Host name or address, in lower case; IPv6 with its brackets.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// `;name=value` after the host, values as on the wire.
    pub params: Params,
    /// What follows `?`, as on the wire.
    pub headers: Option<String>,
}

impl Uri {
    /// Parses a URI.
    ///
    /// # Errors
    /// For other schemes than `sip:` and `sips:`, characters that no URI may hold, and a missing or impossible
    /// user, host or port.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = split_once(text, b':').ok_or(UriError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "sip" && scheme != "sips" {
            return Err(UriError::Scheme);
        }
        if !rest.is_empty() && (!is_uri_text(rest) || has_space_or_control(rest)) {
            return Err(UriError::Character);
        }
        // The user part may hold `;`, `?`, `:` and `/` unescaped, so the first `@` decides, before anything else.
        let (user, rest) = match split_once(rest, b'@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (user, password) = match user {
            Some(user) => match split_once(user, b':') {
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(user), None),
            },
            None => (None, None),
        };
        if user == Some("") {
            return Err(UriError::User);
        }
        let (rest, headers) = match split_once(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = split_before(rest, b';');
        let (host, port) = match split_once(host_port, b']') {
            // Only an IPv6 address has a bracket; `is_host` sees to it that both are there.
            Some((inner, port)) => (host_port.get(..inner.len() + 1).unwrap_or_default(), port),
            None => split_before(host_port, b':'),
        };
        if !is_host(host) {
            return Err(UriError::Host);
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(UriError::Host),
            Some(digits) => {
                let port = number(digits).and_then(|port| u16::try_from(port).ok());
                Some(port.ok_or(UriError::Port)?)
            }
        };
        Ok(Self {
            scheme,
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            host: host.to_ascii_lowercase(),
            port,
            params: Params::parse(params),
            headers: headers.map(str::to_owned),
        })
    }

    /// `scheme:user@host[:port]`, without password, parameters and headers: an address of record.
    #[must_use]
    pub fn aor(&self) -> String {
        let mut text = String::with_capacity(48);
        append(&mut text, &[&self.scheme, ":"]);
        if let Some(user) = &self.user {
            append(&mut text, &[user, "@"]);
        }
        self.push_host(&mut text);
        text
    }

    /// `scheme:host[:port]`: where the users of this domain register (RFC 3261, section 10.2).
    #[must_use]
    pub fn domain(&self) -> String {
        let mut text = concat(&[&self.scheme, ":"]);
        self.push_host(&mut text);
        text
    }

    /// The user part with its escapes undone; as it stands where they are not UTF-8.
    #[must_use]
    pub fn user_decoded(&self) -> Option<String> {
        self.user.as_deref().map(unescape)
    }

    /// The value of this header after the `?`, with its escapes undone (RFC 3261, section 19.1.1).
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        split(self.headers.as_deref()?, b'&').find_map(|header| {
            let (key, value) = split_once(header, b'=')?;
            key.eq_ignore_ascii_case(name).then(|| unescape(value))
        })
    }

    fn push_host(&self, text: &mut String) {
        text.push_str(&self.host);
        if let Some(port) = self.port {
            append(text, &[":", &digits(port)]);
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl Uri {
    /// The URI as it stands on the wire.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(64);
        append(&mut text, &[&self.scheme, ":"]);
        if let Some(user) = &self.user {
            text.push_str(user);
            if let Some(password) = &self.password {
                append(&mut text, &[":", password]);
            }
            text.push('@');
        }
        self.push_host(&mut text);
        for (name, value) in self.params.iter() {
            append(&mut text, &[";", name]);
            if let Some(value) = value {
                text.push('=');
                // A quoted string has no place in a URI (RFC 3261, section 25.1: paramchar).
                escape_into(&mut text, value, "-_.!~*'()[]/:&+$%@,?=");
            }
        }
        if let Some(headers) = &self.headers {
            append(&mut text, &["?", headers]);
        }
        text
    }
}

/// Escapes what a user part cannot hold (RFC 3261, section 25.1: user), `%` included.
#[must_use]
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text, "-_.!~*'()&=+$,;?/");
    out
}

/// Undoes escapes. Text whose bytes are not UTF-8 stays escaped.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%'
            && let Some((&[high, low], tail)) = rest.split_first_chunk::<2>()
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            bytes.push(high << 4 | low);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Escapes what a header value in a URI cannot hold (RFC 3261, section 25.1: hvalue).
pub(crate) fn escape_header(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    escape_into(&mut out, text, "-_.!~*'()[]/?:+$");
    out
}

fn escape_into(out: &mut String, text: &str, allowed: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || allowed.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A host name (underscores pass: they exist in the field), an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.contains(':') && v6.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn parts() {
        let uri = Uri::parse("SIP:bob:pw@Example.COM:5070;transport=ws;lr?Replaces=a%40b&x=").unwrap();
        assert_eq!(uri.scheme, "sip");
        assert_eq!(uri.user.as_deref(), Some("bob"));
        assert_eq!(uri.password.as_deref(), Some("pw"));
        assert_eq!(uri.host, "example.com");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.params.get("Transport"), Some("ws"));
        assert_eq!(uri.params.get("lr"), Some(""));
        assert_eq!(uri.params.get("ob"), None);
        assert_eq!(uri.headers.as_deref(), Some("Replaces=a%40b&x="));
        assert_eq!(uri.aor(), "sip:bob@example.com:5070");
        assert_eq!(uri.to_string(), "sip:bob:pw@example.com:5070;transport=ws;lr?Replaces=a%40b&x=");
    }

    #[test]
    fn printed_as_read() {
        for text in [
            "sip:example.com",
            "sips:alice@example.com",
            "sip:+46701234567@example.com;user=phone",
            "sip:alice@[2001:db8::1]",
            "sip:alice@[2001:db8::1]:5060;transport=quic",
            "sip:[::ffff:192.0.2.1]:443",
            "sip:192.0.2.4:5060;maddr=[2001:db8::2]",
            "sip:df7jal23ls0d.invalid;transport=ws",
            "sip:alice_b@host_1.example.com.",
            // RFC 4475, sections 3.1.1.2, 3.1.1.3 and 3.1.1.9.
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "sip:sips%3Auser%40example.com@example.net",
            "sip:user;par=u%40example.net@example.com",
            "sip:null-%00-null@example.com",
        ] {
            let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(uri.to_string(), text);
            assert_eq!(Uri::parse(&uri.to_string()).as_ref(), Ok(&uri));
        }
    }

    #[test]
    fn torture_user_part() {
        // RFC 4475, section 3.1.1.2: `;` and `?` belong to the user, the rest to the password.
        let uri = Uri::parse(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        )
        .unwrap();
        assert_eq!(uri.user.as_deref(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
        assert_eq!(uri.password.as_deref(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
        assert!(uri.params.is_empty() && uri.headers.is_none());
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("example.com", UriError::Scheme),
            ("tel:+46701234567", UriError::Scheme),
            ("http://example.com", UriError::Scheme),
            ("sipx:bob@example.com", UriError::Scheme),
            ("sip:", UriError::Host),
            ("sip:bob@", UriError::Host),
            ("sip:bob@;lr", UriError::Host),
            ("sip:@example.com", UriError::User),
            ("sip::pw@example.com", UriError::User),
            ("sip:bob@exa mple.com", UriError::Character),
            ("sip:bob@example.com ", UriError::Character),
            ("sip:bob@example.com\r\nX: y", UriError::Character),
            ("sip:bob@example.com\u{85}", UriError::Character),
            ("sip:b\0b@example.com", UriError::Character),
            ("sip:bob@example.com>", UriError::Character),
            ("sip:\"bob\"@example.com", UriError::Character),
            ("sip:bob@example.com:", UriError::Port),
            ("sip:bob@example.com:+506", UriError::Port),
            ("sip:bob@example.com:65536", UriError::Port),
            ("sip:bob@[::1", UriError::Host),
            ("sip:bob@::1]", UriError::Host),
            ("sip:bob@[]", UriError::Host),
            ("sip:bob@[::1]x", UriError::Host),
            ("sip:bob@[::g]", UriError::Host),
            ("sip:bob@a@b", UriError::Host),
            ("sip:bob@exämple.com", UriError::Host),
        ] {
            assert_eq!(Uri::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(escape_user("alice"), "alice");
        assert_eq!(escape_user("a b@c:d%\r\n<>\"#å"), "a%20b%40c%3Ad%25%0D%0A%3C%3E%22%23%C3%A5");
        assert_eq!(escape_user("+46-(0)8;x=1?/"), "+46-(0)8;x=1?/");
        let uri = Uri::parse("sip:a%20b%40c%3A%c3%A5%4@example.com").unwrap();
        assert_eq!(uri.user_decoded().as_deref(), Some("a b@c:å%4"));
        assert_eq!(Uri::parse("sip:example.com").unwrap().user_decoded(), None);
        let wild = "% \r\n;å\u{0}";
        let uri = Uri { user: Some(escape_user(wild)), host: "h".into(), ..Uri::default() };
        assert_eq!(uri.user_decoded().as_deref(), Some(wild));
    }

    #[test]
    fn set_params_cannot_break_out() {
        let mut uri = Uri::parse("sip:h").unwrap();
        uri.params.set("x", Some("a b;c\"\r\n>"));
        assert_eq!(uri.to_string(), "sip:h;x=a%20b%3Bc%22%0D%0A%3E");
    }
}
