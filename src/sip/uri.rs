//! SIP URIs (RFC 3261, section 19.1).

use core::fmt;

use super::header::Params;

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
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "sip" && scheme != "sips" {
            return Err(UriError::Scheme);
        }
        if rest.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"')) {
            return Err(UriError::Character);
        }
        // The user part may hold `;`, `?`, `:` and `/` unescaped, so the first `@` decides, before anything else.
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (user, password) = match user {
            Some(user) => match user.split_once(':') {
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(user), None),
            },
            None => (None, None),
        };
        if user == Some("") {
            return Err(UriError::User);
        }
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let host_len = if host_port.starts_with('[') {
            host_port.find(']').ok_or(UriError::Host)?.saturating_add(1)
        } else {
            host_port.find(':').unwrap_or(host_port.len())
        };
        let (host, port) = host_port.split_at(host_len);
        if !is_host(host) {
            return Err(UriError::Host);
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(UriError::Host),
            // `u16::from_str` alone would also take "+5060".
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| UriError::Port)?)
            }
            Some(_) => return Err(UriError::Port),
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
        text.push_str(&self.scheme);
        text.push(':');
        if let Some(user) = &self.user {
            text.push_str(user);
            text.push('@');
        }
        self.push_host(&mut text);
        text
    }

    /// The user part with its escapes undone; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn user_decoded(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        let mut bytes = Vec::with_capacity(user.len());
        let mut rest = user.as_bytes();
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
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn push_host(&self, text: &mut String) {
        text.push_str(&self.host);
        if let Some(port) = self.port {
            text.push(':');
            text.push_str(&port.to_string());
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        text.push_str(&self.scheme);
        text.push(':');
        if let Some(user) = &self.user {
            text.push_str(user);
            if let Some(password) = &self.password {
                text.push(':');
                text.push_str(password);
            }
            text.push('@');
        }
        self.push_host(&mut text);
        for (name, value) in self.params.iter() {
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                // A quoted string has no place in a URI (RFC 3261, section 25.1: paramchar).
                escape_into(&mut text, value, "-_.!~*'()[]/:&+$%@,?=");
            }
        }
        if let Some(headers) = &self.headers {
            text.push('?');
            text.push_str(headers);
        }
        f.write_str(&text)
    }
}

/// Escapes what a user part cannot hold (RFC 3261, section 25.1: user), `%` included.
#[must_use]
pub fn escape_user(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(&mut out, text, "-_.!~*'()&=+$,;?/");
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
