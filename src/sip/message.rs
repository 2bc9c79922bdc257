//! Requests and responses: how they are held, and how they are printed.
//!
//! The only file that names `rsip`, which is the message model here (`Headers`, `Header`, `StatusCode`). It
//! neither parses nor prints whole messages for us: rsip 0.4.0 rejects valid input (folded lines, compact names,
//! unknown methods, IPv6), loses the reason phrase, and prints CR and LF that stand in a value.

use core::fmt;
use std::borrow::Cow;

use rsip::Header;
use rsip::headers::UntypedHeader;

use super::header::{CSeq, NameAddr, Params, Via, is_token, parse_u32, split_list};
use super::wire::MAX_MESSAGE;

/// A method. Names are case-sensitive (RFC 3261, section 7.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// RFC 3261, section 13.
    Invite,
    /// RFC 3261, section 17.1.1.3.
    Ack,
    /// RFC 3261, section 15.
    Bye,
    /// RFC 3261, section 9.
    Cancel,
    /// RFC 3261, section 10.
    Register,
    /// RFC 3261, section 11.
    Options,
    /// RFC 6086.
    Info,
    /// RFC 3262.
    Prack,
    /// RFC 3311.
    Update,
    /// RFC 3515.
    Refer,
    /// RFC 6665.
    Notify,
    /// RFC 6665.
    Subscribe,
    /// RFC 3428.
    Message,
    /// RFC 3903.
    Publish,
    /// Any other token.
    Other(String),
}

const METHODS: [(&str, Method); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("REGISTER", Method::Register),
    ("OPTIONS", Method::Options),
    ("INFO", Method::Info),
    ("PRACK", Method::Prack),
    ("UPDATE", Method::Update),
    ("REFER", Method::Refer),
    ("NOTIFY", Method::Notify),
    ("SUBSCRIBE", Method::Subscribe),
    ("MESSAGE", Method::Message),
    ("PUBLISH", Method::Publish),
];

impl Method {
    /// The token on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(token) => token,
            known => METHODS.iter().find(|(_, method)| method == known).map_or("", |(token, _)| token),
        }
    }

    /// The method with this name; a name that differs in case is another method.
    #[must_use]
    pub fn from_token(token: &str) -> Self {
        METHODS
            .iter()
            .find(|(name, _)| *name == token)
            .map_or_else(|| Self::Other(token.to_owned()), |(_, method)| method.clone())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Maps names to rsip's variants and back. Names that rsip has no variant for, or that no softphone meets, are
/// `Header::Other`, which costs one more allocation each and nothing else.
macro_rules! known_headers {
    ($($name:literal $variant:ident,)*) => {
        const KNOWN: &[(&str, fn(String) -> Header)] =
            &[$(($name, |value| Header::$variant(rsip::headers::$variant::new(value))),)*];

        fn name_and_value(header: &Header) -> (&str, &str) {
            match header {
                $(Header::$variant(header) => ($name, header.value()),)*
                Header::Other(name, value) => (name, value),
                // Not made by `make_header`.
                _ => ("", ""),
            }
        }
    };
}

known_headers! {
    "Via" Via,
    "From" From,
    "To" To,
    "Call-ID" CallId,
    "CSeq" CSeq,
    "Contact" Contact,
    "Max-Forwards" MaxForwards,
    "Record-Route" RecordRoute,
    "Route" Route,
    "Allow" Allow,
    "Supported" Supported,
    "Require" Require,
    "User-Agent" UserAgent,
    "Server" Server,
    "Expires" Expires,
    "Content-Type" ContentType,
    "Content-Length" ContentLength,
    "Authorization" Authorization,
    "Proxy-Authorization" ProxyAuthorization,
    "WWW-Authenticate" WwwAuthenticate,
    "Proxy-Authenticate" ProxyAuthenticate,
}

fn make_header(name: &str, value: String) -> Header {
    match KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, make)) => make(value),
        None => Header::Other(name.to_owned(), value),
    }
}

/// Compact names: RFC 3261 section 7.3.3, RFC 3265, 3515, 3892, 3841, 4028, 4474.
const COMPACT: [(u8, &str); 20] = [
    (b'a', "Accept-Contact"),
    (b'b', "Referred-By"),
    (b'c', "Content-Type"),
    (b'd', "Request-Disposition"),
    (b'e', "Content-Encoding"),
    (b'f', "From"),
    (b'i', "Call-ID"),
    (b'j', "Reject-Contact"),
    (b'k', "Supported"),
    (b'l', "Content-Length"),
    (b'm', "Contact"),
    (b'n', "Identity-Info"),
    (b'o', "Event"),
    (b'r', "Refer-To"),
    (b's', "Subject"),
    (b't', "To"),
    (b'u', "Allow-Events"),
    (b'v', "Via"),
    (b'x', "Session-Expires"),
    (b'y', "Identity"),
];

/// The long form of a header name; the name itself where it is not a compact one.
pub(crate) fn long_name(name: &str) -> &str {
    match name.as_bytes() {
        [letter] => COMPACT
            .iter()
            .find(|(compact, _)| *compact == letter.to_ascii_lowercase())
            .map_or(name, |(_, long)| long),
        _ => name,
    }
}

/// The headers of a message, in their order. Names are case-insensitive, and a compact name is the same as its
/// long form. `Debug` hides credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(rsip::Headers);

impl Headers {
    /// Adds a header behind the others.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push(make_header(long_name(name), value.into()));
    }

    /// Adds a header before the others: Via and Record-Route in a proxy.
    pub fn push_front(&mut self, name: &str, value: impl Into<String>) {
        let header = make_header(long_name(name), value.into());
        self.edit(|headers| headers.insert(0, header));
    }

    /// Replaces the first header of this name and drops its others, or adds one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let name = long_name(name);
        let mut header = Some(make_header(name, value.into()));
        self.edit(|headers| {
            headers.retain_mut(|old| {
                if !name_and_value(old).0.eq_ignore_ascii_case(name) {
                    return true;
                }
                match header.take() {
                    Some(new) => {
                        *old = new;
                        true
                    }
                    None => false,
                }
            });
            headers.extend(header);
        });
    }

    /// Drops all headers of this name.
    pub fn remove(&mut self, name: &str) {
        let name = long_name(name);
        self.0.retain(|header| !name_and_value(header).0.eq_ignore_ascii_case(name));
    }

    /// Takes the first header of this name out.
    pub fn remove_first(&mut self, name: &str) -> Option<String> {
        let name = long_name(name);
        let at = self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))?;
        let mut taken = None;
        self.edit(|headers| taken = Some(name_and_value(&headers.remove(at)).1.to_owned()));
        taken
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = long_name(name);
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all headers of this name, a line each.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = long_name(name).to_owned();
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(&name)).map(|(_, value)| value)
    }

    /// The items of all headers of this name, as one list (RFC 3261, section 7.3.1). Only for headers whose
    /// grammar is a list.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.get_all(name).flat_map(split_list).collect()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(name_and_value)
    }

    /// Whether a list of tokens (Supported, Require, Allow …) has this one, in whatever case.
    #[must_use]
    pub fn contains_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).flat_map(split_list).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.get("Call-ID").filter(|value| !value.is_empty())
    }

    /// CSeq, where it can be read.
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq> {
        self.get("CSeq").and_then(|value| CSeq::parse(value).ok())
    }

    /// From, where it can be read.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr> {
        self.get("From").and_then(|value| NameAddr::parse(value).ok())
    }

    /// To, where it can be read.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr> {
        self.get("To").and_then(|value| NameAddr::parse(value).ok())
    }

    /// The topmost Via, where it can be read.
    #[must_use]
    pub fn top_via(&self) -> Option<Via> {
        self.get("Via").and_then(|value| Via::parse(value).ok())
    }

    /// Content-Type without its parameters, as on the wire.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get("Content-Type").and_then(|value| value.split(';').next()).map(str::trim)
    }

    /// A header that holds one number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(parse_u32)
    }

    fn edit(&mut self, change: impl FnOnce(&mut Vec<Header>)) {
        let mut headers = core::mem::take(&mut self.0).into();
        change(&mut headers);
        self.0 = headers.into();
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|(name, value)| if is_credential(name) { (name, REDACTED) } else { (name, value) }),
            )
            .finish()
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Request-URI, as on the wire; any scheme.
    pub uri: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self { method, uri: uri.into(), headers: Headers::default(), body: Vec::new() }
    }

    /// The message as it goes over a WebSocket. Content-Length is set from the body.
    ///
    /// # Errors
    /// When a part of it cannot be sent: see [`PrintError`].
    pub fn to_text(&self) -> Result<String, PrintError> {
        let method = self.method.as_str();
        if !is_token(method)
            || self.uri.is_empty()
            || self.uri.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(PrintError::StartLine);
        }
        print(&[method, " ", &self.uri, " SIP/2.0"], &self.headers, &self.body)
    }

    /// A response to this request (RFC 3261, section 8.2.6.2): Via, From, To, Call-ID and CSeq as they came;
    /// Record-Route where the response may make a dialog (section 12.1.1); Timestamp in a 100 (section 8.2.6.1).
    /// The tag of To is the caller's to add, with [`Response::set_to_tag`]. Without `reason` the default phrase.
    #[must_use]
    pub fn response(&self, status: u16, reason: Option<&str>) -> Response {
        let dialog = (101..=299).contains(&status)
            && matches!(self.method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify);
        let mut headers = Headers::default();
        for name in ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route", "Timestamp"] {
            let (all, wanted) = match name {
                "Via" => (true, true),
                "Record-Route" => (true, dialog),
                "Timestamp" => (false, status == 100),
                _ => (false, true),
            };
            if wanted {
                for value in self.headers.get_all(name).take(if all { usize::MAX } else { 1 }) {
                    headers.push(name, value);
                }
            }
        }
        let reason = reason.map_or_else(|| default_reason(status), str::to_owned);
        Response { status, reason, headers, body: Vec::new() }
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status, 100 to 699.
    pub status: u16,
    /// Reason phrase, as on the wire; may be empty.
    pub reason: String,
    /// Headers.
    pub headers: Headers,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The message as it goes over a WebSocket. Content-Length is set from the body.
    ///
    /// # Errors
    /// When a part of it cannot be sent: see [`PrintError`].
    pub fn to_text(&self) -> Result<String, PrintError> {
        if !(100..=699).contains(&self.status) || !is_line(&self.reason) {
            return Err(PrintError::StartLine);
        }
        print(&["SIP/2.0 ", &self.status.to_string(), " ", &self.reason], &self.headers, &self.body)
    }

    /// Adds a tag to To, unless it has one (RFC 3261, section 8.2.6.2).
    pub fn set_to_tag(&mut self, tag: &str) {
        if let Some(to) = self.headers.get("To")
            && self.headers.to().is_some_and(|to| to.tag().is_none())
        {
            let mut params = Params::default();
            params.set("tag", Some(tag));
            // The rest stays byte by byte what the peer sent.
            let to = to.to_owned() + &params.to_string();
            self.headers.set("To", to);
        }
    }
}

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Message {
    /// The headers of either.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// The message as it goes over a WebSocket.
    ///
    /// # Errors
    /// When a part of it cannot be sent: see [`PrintError`].
    pub fn to_text(&self) -> Result<String, PrintError> {
        match self {
            Self::Request(request) => request.to_text(),
            Self::Response(response) => response.to_text(),
        }
    }
}

/// Why a message cannot be printed. Holds no values: they may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// A method, Request-URI, status or reason phrase that would break the start line.
    #[error("start line cannot be sent")]
    StartLine,
    /// A header name that is not a token; the name.
    #[error("header name cannot be sent")]
    HeaderName(String),
    /// A header value with CR, LF or NUL; the name of the header.
    #[error("value of {0} cannot be sent")]
    HeaderValue(String),
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("message too long")]
    TooLong,
    /// A body that is not UTF-8 has no place in a text message (RFC 7118, section 5.2).
    #[error("body is not UTF-8")]
    Body,
}

fn print(start: &[&str], headers: &Headers, body: &[u8]) -> Result<String, PrintError> {
    let body = core::str::from_utf8(body).map_err(|_| PrintError::Body)?;
    let mut text = String::with_capacity(1024 + body.len());
    text.extend(start.iter().copied());
    text.push_str("\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length")) {
        if !is_token(name) {
            return Err(PrintError::HeaderName(name.to_owned()));
        }
        if !is_line(value) {
            return Err(PrintError::HeaderValue(name.to_owned()));
        }
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n", body]);
    if text.len() > MAX_MESSAGE { Err(PrintError::TooLong) } else { Ok(text) }
}

fn is_line(text: &str) -> bool {
    !text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// Headers whose content is the stack's: an application that could set them would break transactions, dialogs,
/// or the framing.
const OWNED: [&str; 40] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Route",
    "Record-Route",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Content-Disposition",
    "Max-Forwards",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Require",
    "Proxy-Require",
    "Supported",
    "Unsupported",
    "Allow",
    "Allow-Events",
    "Event",
    "Subscription-State",
    "Expires",
    "Min-Expires",
    "User-Agent",
    "Server",
    "RSeq",
    "RAck",
    "Session-Expires",
    "Min-SE",
    "Replaces",
    "Refer-To",
    "Path",
    "Service-Route",
    "Timestamp",
    "Target-Dialog",
];

/// Longest value of a header that an application may add, in bytes.
const MAX_EXTRA_VALUE: usize = 2048;

/// Checks a header that an application wants to add to its requests.
///
/// # Errors
/// What is wrong with it, in words for `invalid_config`.
pub fn check_extra_header(name: &str, value: &str) -> Result<(), &'static str> {
    if !is_token(name) || name.len() > 64 {
        return Err("not a header name");
    }
    let name = long_name(name);
    if OWNED.iter().any(|owned| owned.eq_ignore_ascii_case(name)) {
        return Err("this header is set by the phone itself");
    }
    if value.chars().any(char::is_control) {
        return Err("a header value holds no control characters");
    }
    if value.len() > MAX_EXTRA_VALUE {
        return Err("longer than 2048 bytes");
    }
    Ok(())
}

/// The phrase of RFC 3261, section 21, for a status; empty for one that rsip does not know.
#[must_use]
pub fn default_reason(status: u16) -> String {
    let code = rsip::StatusCode::from(status);
    if matches!(code, rsip::StatusCode::Other(..)) {
        return String::new();
    }
    // rsip has no phrases, but its names are made of them: `BusyHere`.
    let mut phrase = String::with_capacity(32);
    let mut lower = false;
    for c in format!("{code:?}").chars() {
        if lower && c.is_ascii_uppercase() {
            phrase.push(' ');
        }
        lower = c.is_ascii_lowercase();
        phrase.push(c);
    }
    phrase
}

const REDACTED: &str = "<redacted>";

fn is_credential(name: &str) -> bool {
    ["Authorization", "Proxy-Authorization", "Authentication-Info", "Proxy-Authentication-Info"]
        .iter()
        .any(|secret| secret.eq_ignore_ascii_case(name))
}

/// A message for a trace: credentials in Authorization headers, passwords in URIs and keys in SDP are hidden.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(text.len());
    let mut in_credentials = false;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        let end = line.get(content.len()..).unwrap_or_default();
        let folded = content.starts_with([' ', '\t']);
        if folded && in_credentials {
            out.extend([" ", REDACTED, end]);
            continue;
        }
        let (name, value) = content.split_once(':').unwrap_or_default();
        in_credentials = is_credential(name.trim());
        if in_credentials {
            out.extend([name, ": "]);
            redact_credentials(value, &mut out);
        } else if let Some(kept) =
            ["a=crypto:", "a=ice-pwd:", "k="].into_iter().find(|prefix| content.starts_with(prefix))
        {
            out.extend([kept, REDACTED]);
        } else {
            redact_passwords(content, &mut out);
        }
        out.push_str(end);
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

fn redact_credentials(value: &str, out: &mut String) {
    let value = value.trim();
    let (scheme, params) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Digest") || !is_token(scheme) {
        return out.push_str(REDACTED);
    }
    out.push_str(scheme);
    for (at, item) in split_list(params).enumerate() {
        out.push_str(if at == 0 { " " } else { ", " });
        let (name, _) = item.split_once('=').unwrap_or((item, ""));
        if ["username", "realm", "algorithm"].iter().any(|kept| kept.eq_ignore_ascii_case(name.trim())) {
            out.push_str(item);
        } else {
            out.extend([name.trim(), "=", REDACTED]);
        }
    }
}

/// `sip:user:password@host`: the password goes.
fn redact_passwords(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find("sip:").or_else(|| rest.find("sips:")) {
        let start = at + rest.get(at..).and_then(|uri| uri.find(':')).unwrap_or_default() + 1;
        let (before, after) = rest.split_at(start);
        out.push_str(before);
        rest = after;
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).unwrap_or(after.len());
        let uri = after.get(..end).unwrap_or_default();
        if let Some((userinfo, _)) = uri.split_once('@')
            && let Some((user, _)) = userinfo.split_once(':')
        {
            out.extend([user, ":", REDACTED]);
            rest = after.get(userinfo.len()..).unwrap_or_default();
        }
    }
    out.push_str(rest);
}
