//! Values of headers: addresses, parameters, lists (RFC 3261, sections 7.3.1 and 25.1).
//!
//! Lenient on input, as section 7.3.1 wants it: any amount of white space around separators, lists on one line
//! or on several, parameters of any kind.

use core::fmt;

use super::message::Method;
use crate::text::{concat, number, split_once};

/// Why a header value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Nothing there.
    #[error("empty value")]
    Empty,
    /// A `<` without its `>`, or text where there may be none.
    #[error("malformed address")]
    Address,
    /// Not `SIP/2.0/<transport> <sent-by>`.
    #[error("malformed Via")]
    Via,
    /// Not `<number> <method>`, or a number of 2**31 or more.
    #[error("malformed CSeq")]
    CSeq,
}

/// `;name=value` parameters, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params(Vec<Param>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    name: String,
    value: Option<String>,
    /// Was a quoted string. Kept since the two forms are not interchangeable for every receiver.
    quoted: bool,
}

impl Params {
    /// Reads parameters from a text that begins with `;` (or is empty). Never fails: what is not a parameter is
    /// left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut params = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (part, tail) = split_at_top(rest, b';');
            rest = tail;
            let (name, value) = split_at_top(part, b'=');
            let name = name.trim_ascii();
            if name.is_empty() {
                continue;
            }
            let value = value.trim_ascii();
            let has_value = name.len() < part.trim_ascii().len();
            let quoted = value.starts_with('"');
            params.push(Param {
                name: name.to_owned(),
                value: has_value.then(|| if quoted { unquote(value) } else { value.to_owned() }),
                quoted,
            });
        }
        Self(params)
    }

    /// The value, unquoted; `""` for a parameter without one. Names are case-insensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|param| param.value.as_deref().unwrap_or_default())
    }

    /// Whether the parameter is there, with or without a value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets or adds a parameter; it is quoted when printed if its value needs that.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let quoted = value.is_some_and(|value| {
            value.is_empty()
                || !value.bytes().all(|b| is_token_byte(b) || matches!(b, b'[' | b']' | b':' | b'/' | b'@'))
        });
        let value = value.map(str::to_owned);
        match self.0.iter_mut().find(|param| param.name.eq_ignore_ascii_case(name)) {
            Some(param) => {
                param.value = value;
                param.quoted = quoted;
            }
            None => self.0.push(Param { name: name.to_owned(), value, quoted }),
        }
    }

    /// Takes a parameter out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|param| !param.name.eq_ignore_ascii_case(name));
    }

    /// All parameters, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|param| (param.name.as_str(), param.value.as_deref()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Param> {
        self.0.iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for param in &self.0 {
            f.write_str(";")?;
            f.write_str(&param.name)?;
            if let Some(value) = &param.value {
                f.write_str("=")?;
                if param.quoted {
                    f.write_str(&quote(value))?;
                } else {
                    f.write_str(value)?;
                }
            }
        }
        Ok(())
    }
}

/// An address with an optional name: From, To, Contact, Route, Refer-To … (RFC 3261, section 20.10).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameAddr {
    /// The display name, unquoted.
    pub display_name: Option<String>,
    /// The URI as on the wire; `*` in a Contact that un-registers everything.
    pub uri: String,
    /// The parameters of the header (not those of the URI).
    pub params: Params,
}

impl NameAddr {
    /// Parses one address.
    ///
    /// # Errors
    /// When there is no URI, a `<` has no `>`, or other text follows.
    pub fn parse(value: &str) -> Result<Self, HeaderError> {
        let value = value.trim_ascii();
        let (before, bracketed) = match find_top(value, b'<') {
            Some(at) => (value.get(..at).unwrap_or_default(), value.get(at + 1..)),
            None => (value, None),
        };
        let (name, uri, params) = match bracketed {
            Some(inner) => {
                let (uri, after) = split_once(inner, b'>').ok_or(HeaderError::Address)?;
                (before.trim_ascii(), uri, after.trim_ascii())
            }
            // Without brackets every parameter belongs to the header, not to the URI (section 20.10).
            None => {
                let (uri, params) = split_before(value, b';');
                ("", uri, params)
            }
        };
        let uri = uri.trim_ascii();
        if uri.is_empty() {
            return Err(HeaderError::Empty);
        }
        if !is_uri_text(uri) || !(params.is_empty() || params.starts_with(';')) {
            return Err(HeaderError::Address);
        }
        let display_name = match name {
            "" => None,
            _ if name.starts_with('"') => Some(unquote(name)),
            _ => Some(name.to_owned()),
        };
        Ok(Self { display_name, uri: uri.to_owned(), params: Params::parse(params) })
    }

    /// Parses a list of addresses.
    ///
    /// # Errors
    /// When one of them cannot be parsed.
    pub fn parse_list(value: &str) -> Result<Vec<Self>, HeaderError> {
        split_list(value).map(Self::parse).collect()
    }

    /// The `tag` parameter (RFC 3261, section 19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }
}

/// An address with a name, as a header has it: see [`NameAddr`], whose printing takes more of the module.
pub(crate) fn name_addr(display_name: Option<&str>, uri: &str) -> String {
    match display_name {
        Some(name) => concat(&[&quote(name), " <", uri, ">"]),
        None => concat(&["<", uri, ">"]),
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            f.write_str(&quote(name))?;
            f.write_str(" ")?;
        }
        if self.uri == "*" {
            return f.write_str("*");
        }
        f.write_str("<")?;
        f.write_str(&self.uri)?;
        f.write_str(">")?;
        self.params.fmt(f)
    }
}

/// One Via value (RFC 3261, section 20.42).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// `WS`, `WSS`, `UDP` …, as on the wire.
    pub transport: String,
    /// Host and port, as on the wire.
    pub sent_by: String,
    /// Parameters.
    pub params: Params,
}

impl Via {
    /// Parses the first value of a line.
    ///
    /// # Errors
    /// When it is not `SIP/2.0/<transport> <sent-by>`.
    pub fn parse(value: &str) -> Result<Self, HeaderError> {
        let (value, _) = split_at_top(value, b',');
        let (head, params) = split_before(value, b';');
        let (name, rest) = split_once(head, b'/').ok_or(HeaderError::Via)?;
        let (version, rest) = split_once(rest, b'/').ok_or(HeaderError::Via)?;
        if !name.trim_ascii().eq_ignore_ascii_case("SIP") || version.trim_ascii() != "2.0" {
            return Err(HeaderError::Via);
        }
        let (transport, rest) = next_word(rest);
        // White space is allowed around the colon of the port (section 25.1: COLON).
        let mut sent_by = String::new();
        let (mut word, mut rest) = next_word(rest);
        while !word.is_empty() {
            sent_by.push_str(word);
            (word, rest) = next_word(rest);
        }
        if !is_token(transport) || sent_by.is_empty() {
            return Err(HeaderError::Via);
        }
        Ok(Self { transport: transport.to_owned(), sent_by, params: Params::parse(params) })
    }

    /// Parses a list of Via values, topmost first.
    ///
    /// # Errors
    /// When one of them cannot be parsed.
    pub fn parse_list(value: &str) -> Result<Vec<Self>, HeaderError> {
        split_list(value).map(Self::parse).collect()
    }

    /// The `branch` parameter: the transaction id (RFC 3261, section 8.1.1.7).
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SIP/2.0/")?;
        f.write_str(&self.transport)?;
        f.write_str(" ")?;
        f.write_str(&self.sent_by)?;
        self.params.fmt(f)
    }
}

/// CSeq (RFC 3261, section 20.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// Sequence number, below 2**31 (RFC 3261, section 8.1.1.5).
    pub seq: u32,
    /// Method of the request.
    pub method: Method,
}

impl CSeq {
    /// Parses a value.
    ///
    /// # Errors
    /// When it is not `<number below 2**31> <method>`.
    pub fn parse(value: &str) -> Result<Self, HeaderError> {
        let (seq, rest) = next_word(value);
        let (method, rest) = next_word(rest);
        match number(seq) {
            Some(seq) if seq < 1 << 31 && is_token(method) && rest.trim_ascii().is_empty() => {
                Ok(Self { seq, method: Method::from_token(method) })
            }
            _ => Err(HeaderError::CSeq),
        }
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.seq, f)?;
        f.write_str(" ")?;
        f.write_str(self.method.as_str())
    }
}

/// One value of a Reason header (RFC 3326).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850` …
    pub protocol: String,
    /// A SIP status for `SIP`, an ISDN cause for `Q.850`.
    pub cause: Option<u16>,
    /// For people.
    pub text: Option<String>,
}

impl Reason {
    /// Parses a list; what is not a Reason is left out, for the header is only information.
    #[must_use]
    pub fn parse_list(value: &str) -> Vec<Self> {
        let mut reasons = Vec::new();
        for item in split_list(value) {
            let (protocol, params) = split_before(item, b';');
            let params = Params::parse(params);
            let protocol = protocol.trim_ascii();
            if is_token(protocol) {
                reasons.push(Self {
                    protocol: protocol.to_owned(),
                    cause: params.get("cause").and_then(number).and_then(|cause| cause.try_into().ok()),
                    text: params.get("text").map(str::to_owned),
                });
            }
        }
        reasons
    }
}

/// The items of a comma-separated list, trimmed; commas in quoted strings and in `<…>` do not separate, empty
/// items are left out (RFC 3261, section 7.3.1).
#[must_use]
pub const fn split_list(value: &str) -> Items<'_> {
    Items(value)
}

/// The rest of a list: see [`split_list`].
#[derive(Debug, Clone)]
pub struct Items<'a>(&'a str);

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        while !self.0.is_empty() {
            let (item, tail) = split_at_top(self.0, b',');
            self.0 = tail;
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

/// A number: digits with white space around them; parameters and comments behind it are ignored
/// (`Expires: 600;x`, `Retry-After: 120 (in a meeting)`).
#[must_use]
pub fn parse_u32(value: &str) -> Option<u32> {
    number(split_before(split_before(value, b';').0, b'(').0.trim_ascii())
}

/// A token (RFC 3261, section 25.1).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Not empty, and nothing that would end a URI in a header or a start line. Says nothing of its form.
pub(crate) fn is_uri_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b > b' ' && !matches!(b, 0x7f | b'"' | b'<' | b'>'))
}

/// Before and from this byte on; all of it and nothing where there is no such place.
pub(crate) fn split_before(text: &str, byte: u8) -> (&str, &str) {
    let at = text.bytes().position(|b| b == byte).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or_default()
}

/// The first word and what follows it; empty where there is none.
pub(crate) fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    let end = text.bytes().position(|b| b.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// As a quoted string (RFC 3261, section 25.1). Control characters are left out: nothing that prints a header
/// may end its line.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The content of the quoted string at the start of the text; what follows its end is ignored.
pub(crate) fn unquote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    chars.next();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// Where `wanted` (an ASCII byte) stands outside of quoted strings and of `<…>`.
fn find_top(text: &str, wanted: u8) -> Option<usize> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
        } else if bracketed {
            bracketed = byte != b'>';
        } else if byte == wanted {
            return Some(at);
        } else {
            quoted = byte == b'"';
            bracketed = byte == b'<';
        }
    }
    None
}

/// What stands before and behind the first separator; all of it and nothing where there is none.
pub(crate) fn split_at_top(text: &str, separator: u8) -> (&str, &str) {
    match find_top(text, separator) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn lists() {
        let items = |text| split_list(text).collect::<Vec<_>>();
        assert_eq!(items("a, b ,\tc"), ["a", "b", "c"]);
        assert_eq!(items(""), [""; 0]);
        assert_eq!(items(" , ,,"), [""; 0]);
        assert_eq!(items(r#""x, \"y" <sip:a,b@h>;q="1,2", *"#), [r#""x, \"y" <sip:a,b@h>;q="1,2""#, "*"]);
        // Nothing is lost where a quote or a bracket stays open.
        assert_eq!(items(r#"a, "b, c"#), ["a", r#""b, c"#]);
        assert_eq!(items("a, <b, c"), ["a", "<b, c"]);
        assert_eq!(items(r#"a, "b\"#), ["a", r#""b\"#]);
    }

    #[test]
    fn addresses() {
        let parse = |text| {
            let address = NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            (address.display_name.clone(), address.uri.clone(), address.tag().map(str::to_owned))
        };
        let name = |text: &str| Some(text.to_owned());
        let uri = |text: &str| text.to_owned();
        assert_eq!(parse("sip:a@h"), (None, uri("sip:a@h"), None));
        // Without brackets the parameters are the header's.
        assert_eq!(parse("sip:a@h;tag=1"), (None, uri("sip:a@h"), name("1")));
        assert_eq!(parse("<sip:a@h;tag=1>"), (None, uri("sip:a@h;tag=1"), None));
        assert_eq!(parse(" < sip:a@h > ;\ttag = 1"), (None, uri("sip:a@h"), name("1")));
        assert_eq!(parse("Alice B <sip:a@h>;TAG=1"), (name("Alice B"), uri("sip:a@h"), name("1")));
        assert_eq!(parse("<tel:+4670>"), (None, uri("tel:+4670"), None));
        assert_eq!(parse("tel:+4670"), (None, uri("tel:+4670"), None));
        assert_eq!(parse("*"), (None, uri("*"), None));
        assert_eq!(
            parse(r#""A \"x\" <sip:evil@h>, \\" <sip:[2001:db8::1]:5060>"#),
            (name(r#"A "x" <sip:evil@h>, \"#), uri("sip:[2001:db8::1]:5060"), None)
        );
        assert_eq!(parse(r#""" <sip:a@h>"#), (name(""), uri("sip:a@h"), None));
        assert_eq!(parse("Åsa <sip:a@h>"), (name("Åsa"), uri("sip:a@h"), None));
        for bad in [
            "",
            " ",
            "<>",
            "<sip:a@h",
            "\"A <sip:a@h>",
            "<sip:a@h> x",
            "sip:a b@h",
            "<sip:a@h>, <sip:b@h>",
            "<sip:\"a@h>",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn contacts() {
        let list = NameAddr::parse_list(
            r#""Bob, B" <sip:b@h;a=1,2>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";pub-gruu="sip:b@h;gr=x";expires=60, sip:c@h;q=0.5"#,
        )
        .unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].uri, "sip:b@h;a=1,2");
        assert_eq!(
            list[0].params.get("+SIP.instance"),
            Some("<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>")
        );
        assert_eq!(list[0].params.get("pub-gruu"), Some("sip:b@h;gr=x"));
        assert_eq!(list[0].params.get("expires").and_then(parse_u32), Some(60));
        assert_eq!(list[1].params.get("q"), Some("0.5"));
        assert!(NameAddr::parse_list("<sip:a@h>, <sip:b").is_err());
        // Quoted stays quoted, unquoted unquoted.
        let text = list[0].to_string();
        assert!(text.contains(r#";+sip.instance="<urn:uuid"#) && text.ends_with(";expires=60"), "{text}");
        assert_eq!(NameAddr::parse(&text).as_ref(), Ok(&list[0]));
    }

    #[test]
    fn display_names_cannot_break_out() {
        let address = NameAddr {
            display_name: Some("a\" <sip:evil@h>\\\r\nVia: x".into()),
            uri: "sip:a@h".into(),
            params: Params::default(),
        };
        let text = address.to_string();
        assert_eq!(text, r#""a\" <sip:evil@h>\\Via: x" <sip:a@h>"#);
        assert_eq!(NameAddr::parse(&text).unwrap().uri, "sip:a@h");
    }

    #[test]
    fn params() {
        let mut params = Params::parse(r#";a;b=1; c = "x;\"y,=" ;d=;;=z;a=2"#);
        let all: Vec<_> = params.iter().collect();
        assert_eq!(
            all,
            [("a", None), ("b", Some("1")), ("c", Some("x;\"y,=")), ("d", Some("")), ("a", Some("2"))]
        );
        assert!(params.contains("A") && !params.contains("z"));
        assert_eq!(params.get("a"), Some(""));
        params.set("B", Some("two words"));
        params.set("e", Some("token"));
        params.set("f", None);
        params.remove("A");
        assert_eq!(params.to_string(), r#";b="two words";c="x;\"y,=";d=;e=token;f"#);
        assert_eq!(Params::parse(""), Params::default());
        assert_eq!(Params::parse(r#";x="open"#).get("x"), Some("open"));
    }

    #[test]
    fn vias() {
        let via = Via::parse("SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport").unwrap();
        assert_eq!((via.transport.as_str(), via.sent_by.as_str()), ("WSS", "df7jal23ls0d.invalid"));
        assert_eq!(via.branch(), Some("z9hG4bK56sdasks"));
        assert_eq!(via.params.get("rport"), Some(""));
        assert_eq!(via.to_string(), "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport");
        // RFC 4475, section 3.1.1.1.
        let list = Via::parse_list(
            "SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8  , SIP  /    2.0   / UDP  192.168.255.111 : 5060   ; branch= z9hG4bK30239",
        )
        .unwrap();
        assert_eq!(list[0].to_string(), "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8");
        assert_eq!(list[1].to_string(), "SIP/2.0/UDP 192.168.255.111:5060;branch=z9hG4bK30239");
        let via =
            Via::parse("SIP/2.0/UDP [2001:db8::9:1]:5060;received=2001:db8::9:255;branch=z9hG4bKas3-111")
                .unwrap();
        assert_eq!(via.sent_by, "[2001:db8::9:1]:5060");
        assert_eq!(via.params.get("received"), Some("2001:db8::9:255"));
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=x",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/ h",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cseqs() {
        let cseq = CSeq::parse(" 0009\t INVITE ").unwrap();
        assert_eq!((cseq.seq, &cseq.method), (9, &Method::Invite));
        assert_eq!(cseq.to_string(), "9 INVITE");
        assert_eq!(CSeq::parse("1 FOO").unwrap().method, Method::Other("FOO".into()));
        assert_eq!(CSeq::parse("2147483647 ACK").unwrap().seq, 2_147_483_647);
        for bad in [
            "",
            "1",
            "INVITE",
            "INVITE 1",
            "1x INVITE",
            "+1 INVITE",
            "-1 ACK",
            "2147483648 ACK",
            "4294967296 ACK",
            "1 IN<VITE",
            "1 INVITE x",
        ] {
            assert!(CSeq::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers() {
        for (text, number) in [
            ("600", Some(600)),
            (" 600 ;x=1", Some(600)),
            ("120 (in a meeting)", Some(120)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
        ] {
            assert_eq!(parse_u32(text), number, "{text}");
        }
    }

    #[test]
    fn reasons() {
        let list =
            Reason::parse_list(r#"SIP ;cause=200 ;text="Call completed elsewhere", Q.850;cause=16, ;x, "#);
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].protocol.as_str(), list[0].cause), ("SIP", Some(200)));
        assert_eq!(list[0].text.as_deref(), Some("Call completed elsewhere"));
        assert_eq!((list[1].protocol.as_str(), list[1].cause, &list[1].text), ("Q.850", Some(16), &None));
        assert_eq!(Reason::parse_list("SIP;cause=99999")[0].cause, None);
    }
}
