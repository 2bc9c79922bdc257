//! Requests and responses: how they are stored and printed.
//!
//! The only file that names `rsip`, which is the message model here (`Headers`, `Header`). It
//! neither parses nor prints whole messages for us: rsip 0.4.0 rejects valid input (folded lines, compact names,
//! unknown methods, IPv6), loses the reason phrase, and prints CR and LF that stand in a value.

use core::fmt;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use rsip::Header;
use rsip::headers::UntypedHeader;

use super::header::{CSeq, NameAddr, Via, is_token, is_uri_text, parse_u32, quote, split_list};
use super::wire::MAX_MESSAGE;
use crate::text::{append, before, concat, digits, has_control, is_line, split_once};

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

/// Maps names to rsip's variants and back: those that every message has. All others are
/// `Header::Other`, which costs one more allocation each; a variant costs some hundred bytes of the module.
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
/// long form. `Debug` hides credentials. A copy costs nothing until one of the two is changed.
#[derive(Clone, Default)]
pub struct Headers(Arc<Fields>);

#[derive(Default)]
struct Fields {
    list: Vec<Header>,
    /// Read when it is first asked for, and dropped with each change: so it never says anything but what the list does.
    head: OnceLock<Head>,
}

/// By hand, since that of `rsip::Header` has a branch for each of its fifty variants.
impl Clone for Fields {
    #[inline(never)]
    fn clone(&self) -> Self {
        let mut list = Vec::with_capacity(self.list.len() + 1);
        for header in &self.list {
            let (name, value) = name_and_value(header);
            list.push(make_header(name, value.to_owned()));
        }
        Self { list, head: OnceLock::new() }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// What every message has (RFC 3261, section 8.1.1) and many ask for, read from the headers once. A message that has been
/// received has all of it; in one that is being built, what is missing or cannot be read is `None`.
#[derive(Debug, Default)]
pub struct Head {
    /// The topmost Via.
    pub via: Option<Via>,
    /// From.
    pub from: Option<NameAddr>,
    /// To.
    pub to: Option<NameAddr>,
    /// CSeq.
    pub cseq: Option<CSeq>,
}

impl Head {
    fn read(headers: &Headers) -> Self {
        let address = |name| headers.get(name).and_then(|value| NameAddr::parse(value).ok());
        Self {
            via: headers.get("Via").and_then(|value| Via::parse(value).ok()),
            from: address("From"),
            to: address("To"),
            cseq: headers.get("CSeq").and_then(|value| CSeq::parse(value).ok()),
        }
    }

    /// The tag of From.
    #[must_use]
    #[inline(never)]
    pub fn from_tag(&self) -> Option<&str> {
        self.from.as_ref().and_then(NameAddr::tag)
    }

    /// The tag of To.
    #[must_use]
    #[inline(never)]
    pub fn to_tag(&self) -> Option<&str> {
        self.to.as_ref().and_then(NameAddr::tag)
    }

    /// The URI of From.
    #[must_use]
    pub fn from_uri(&self) -> Option<&str> {
        self.from.as_ref().map(|from| from.uri.as_str())
    }

    /// The branch of the topmost Via.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.via.as_ref().and_then(Via::branch)
    }
}

/// The values of the headers of one name.
// Not an iterator adapter: those are compiled into every place that uses them.
#[derive(Debug)]
pub struct Named<'a, 'n> {
    rest: &'a [Header],
    name: &'n str,
}

impl<'a> Iterator for Named<'a, '_> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        while let Some((first, rest)) = self.rest.split_first() {
            self.rest = rest;
            let (name, value) = name_and_value(first);
            if name.eq_ignore_ascii_case(self.name) {
                return Some(value);
            }
        }
        None
    }
}

impl Headers {
    /// What every message has, as values.
    #[must_use]
    #[inline(never)]
    pub fn head(&self) -> &Head {
        self.0.head.get_or_init(|| Head::read(self))
    }

    /// The only way to a change.
    fn change(&mut self) -> &mut Vec<Header> {
        let fields = Arc::make_mut(&mut self.0);
        fields.head = OnceLock::new();
        &mut fields.list
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.push_owned(name, value.into());
    }

    /// Adds headers behind the others.
    #[inline(never)]
    pub(crate) fn push_all(&mut self, headers: &[(&str, &str)]) {
        for (name, value) in headers {
            self.push(name, *value);
        }
    }

    #[inline(never)]
    fn push_owned(&mut self, name: &str, value: String) {
        self.insert(self.0.list.len(), name, value);
    }

    /// Adds a header before the others: Via and Record-Route in a proxy.
    pub fn push_front(&mut self, name: &str, value: impl Into<String>) {
        self.insert(0, name, value.into());
    }

    #[inline(never)]
    fn insert(&mut self, at: usize, name: &str, value: String) {
        self.change().insert(at, make_header(long_name(name), value));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// Replaces the first header of this name and drops its others, or adds one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.set_owned(name, value.into());
    }

    #[inline(never)]
    fn set_owned(&mut self, name: &str, value: String) {
        let name = long_name(name);
        let at = self.position(name);
        self.remove(name);
        self.insert(at.unwrap_or(self.0.list.len()), name, value);
    }

    /// Drops all headers of this name.
    #[inline(never)]
    pub fn remove(&mut self, name: &str) {
        let name = long_name(name);
        if self.position(name).is_some() {
            self.change().retain(|header| !name_and_value(header).0.eq_ignore_ascii_case(name));
        }
    }

    /// Takes the first header of this name out.
    pub fn remove_first(&mut self, name: &str) -> Option<String> {
        let at = self.position(long_name(name))?;
        let taken = self.change().remove(at);
        Some(name_and_value(&taken).1.to_owned())
    }

    /// The value of the first header of this name.
    #[must_use]
    #[inline(never)]
    pub fn get(&self, name: &str) -> Option<&str> {
        Named { rest: &self.0.list, name: long_name(name) }.next()
    }

    /// The values of all headers of this name, a line each.
    pub fn get_all<'n>(&self, name: &'n str) -> Named<'_, 'n> {
        Named { rest: &self.0.list, name: long_name(name) }
    }

    /// Makes room for so many headers more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.change().reserve(more);
    }

    /// Adds the headers of this name that another message has.
    pub(crate) fn copy(&mut self, name: &str, from: &Self) {
        for value in from.get_all(name) {
            self.push(name, value);
        }
    }

    /// The items of all headers of this name, as one list (RFC 3261, section 7.3.1). Only for headers whose
    /// grammar is a list.
    #[must_use]
    #[inline(never)]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for line in self.get_all(name) {
            for item in split_list(line) {
                values.push(item);
            }
        }
        values
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.list.iter().map(name_and_value)
    }

    /// Whether a list of tokens (Supported, Require, Allow …) has this one, in whatever case.
    #[must_use]
    pub fn contains_token(&self, name: &str, token: &str) -> bool {
        self.values(name).iter().any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.get("Call-ID").filter(|value| !value.is_empty())
    }

    /// CSeq, where it can be read.
    #[must_use]
    pub fn cseq(&self) -> Option<CSeq> {
        self.head().cseq.clone()
    }

    /// The number of CSeq.
    #[must_use]
    #[inline(never)]
    pub fn seq(&self) -> Option<u32> {
        self.head().cseq.as_ref().map(|cseq| cseq.seq)
    }

    /// The tag of From.
    #[must_use]
    pub fn from_tag(&self) -> Option<String> {
        self.head().from_tag().map(str::to_owned)
    }

    /// The tag of To.
    #[must_use]
    pub fn to_tag(&self) -> Option<String> {
        self.head().to_tag().map(str::to_owned)
    }

    /// From, where it can be read.
    #[must_use]
    pub fn from(&self) -> Option<NameAddr> {
        self.head().from.clone()
    }

    /// To, where it can be read.
    #[must_use]
    pub fn to(&self) -> Option<NameAddr> {
        self.head().to.clone()
    }

    /// The topmost Via, where it can be read.
    #[must_use]
    pub fn top_via(&self) -> Option<Via> {
        self.head().via.clone()
    }

    /// Content-Type without its parameters, as on the wire.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get("Content-Type").map(|value| before(value, b';').trim_ascii())
    }

    /// A header that holds one number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(parse_u32)
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
        if !is_token(method) || !is_uri_text(&self.uri) {
            return Err(PrintError::StartLine);
        }
        print(&[method, " ", &self.uri, " SIP/2.0"], &self.headers, &self.body)
    }

    /// A response to this request (RFC 3261, section 8.2.6.2): Via, From, To, Call-ID and CSeq as they came;
    /// Record-Route where the response may make a dialog (section 12.1.1); Timestamp in a 100 (section 8.2.6.1).
    /// The tag of To is the caller's to add, with [`Response::set_to_tag`]. Without `reason` the default phrase.
    #[must_use]
    pub fn response(&self, status: u16, reason: Option<&str>) -> Response {
        let mut headers = Headers::default();
        headers.reserve(16);
        self.repeated(status, &mut |name, value| headers.push(name, value));
        let reason = reason.map_or_else(|| default_reason(status), str::to_owned);
        Response { status, reason, headers, body: Vec::new() }
    }

    /// The headers that a response with this status repeats.
    fn repeated(&self, status: u16, repeat: &mut dyn FnMut(&str, &str)) {
        for value in self.headers.get_all("Via") {
            repeat("Via", value);
        }
        for name in ["From", "To", "Call-ID", "CSeq", "Timestamp"] {
            if let Some(value) = self.headers.get(name)
                && (status == 100 || name != "Timestamp")
            {
                repeat(name, value);
            }
        }
        if (101..=299).contains(&status)
            && matches!(self.method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
        {
            for value in self.headers.get_all("Record-Route") {
                repeat("Record-Route", value);
            }
        }
    }

    /// How long a 200 is that does nothing but repeat what it must, in bytes.
    pub(crate) fn least_response(&self) -> usize {
        let mut size = "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".len();
        self.repeated(200, &mut |name, value| size += name.len() + value.len() + ": \r\n".len());
        size
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
        print(&["SIP/2.0 ", &digits(self.status), " ", &self.reason], &self.headers, &self.body)
    }

    /// Adds a tag to To, unless it has one (RFC 3261, section 8.2.6.2).
    // Not by the head: it would be read for this alone, and the next line changes it.
    pub fn set_to_tag(&mut self, tag: &str) {
        if let Some(to) = self.headers.get("To")
            && NameAddr::parse(to).is_ok_and(|to| to.tag().is_none())
        {
            // The rest stays byte by byte what the peer sent.
            let quoted;
            let tag = if is_token(tag) {
                tag
            } else {
                quoted = quote(tag);
                &quoted
            };
            let to = concat(&[to, ";tag=", tag]);
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrintError {
    /// A method, Request-URI, status or reason phrase that would break the start line.
    StartLine,
    /// A header name that is not a token; the name.
    HeaderName(String),
    /// A header value with CR, LF or NUL; the name of the header.
    HeaderValue(String),
    /// More than [`MAX_MESSAGE`] bytes.
    TooLong,
    /// A body that is not UTF-8 has no place in a text message (RFC 7118, section 5.2).
    Body,
}

impl PrintError {
    /// What is wrong, in words.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::StartLine => "start line cannot be sent".into(),
            Self::HeaderName(_) => "header name cannot be sent".into(),
            Self::HeaderValue(name) => concat(&["value of ", name, " cannot be sent"]).into(),
            Self::TooLong => "message too long".into(),
            Self::Body => "body is not UTF-8".into(),
        }
    }
}

impl fmt::Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl core::error::Error for PrintError {}

fn print(start: &[&str], headers: &Headers, body: &[u8]) -> Result<String, PrintError> {
    let body = core::str::from_utf8(body).map_err(|_| PrintError::Body)?;
    let mut text = String::with_capacity(1024 + body.len());
    append(&mut text, start);
    text.push_str("\r\n");
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case("Content-Length") {
            continue;
        }
        if !is_token(name) {
            return Err(PrintError::HeaderName(name.to_owned()));
        }
        if !is_line(value) {
            return Err(PrintError::HeaderValue(name.to_owned()));
        }
        append(&mut text, &[name, ": ", value, "\r\n"]);
    }
    append(&mut text, &["Content-Length: ", &digits(body.len() as u64), "\r\n\r\n", body]);
    if text.len() > MAX_MESSAGE { Err(PrintError::TooLong) } else { Ok(text) }
}

/// Headers whose content is the stack's: an application that could set them would break transactions, dialogs,
/// or the framing.
const OWNED: [&str; 43] = [
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
    "Accept",
    "Accept-Encoding",
    "Replaces",
    "Join",
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
    if has_control(value) {
        return Err("a header value holds no control characters");
    }
    if value.len() > MAX_EXTRA_VALUE {
        return Err("longer than 2048 bytes");
    }
    Ok(())
}

/// Phrases of RFC 3261 section 21, RFC 3265, 3262, 3329, 4028, 6086, 6665, 8197. rsip's `StatusCode` has names
/// only (`BusyHere`), some of them wrong (201 for 202), and takes 5 kB of the module.
const PHRASES: [(u16, &str); 56] = [
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (199, "Early Dialog Terminated"),
    (200, "OK"),
    (202, "Accepted"),
    (204, "No Notification"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (433, "Anonymity Disallowed"),
    (469, "Bad Info Package"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
];

/// The phrase of the RFCs for a status; empty for one that is not known.
#[must_use]
pub fn default_reason(status: u16) -> String {
    PHRASES.iter().find(|(code, _)| *code == status).map_or("", |(_, phrase)| phrase).to_owned()
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
    redact_with(text, &[])
}

/// The same, with the values of these headers hidden too.
#[must_use]
pub fn redact_with<'a>(text: &'a str, hidden: &[String]) -> Cow<'a, str> {
    let mut out = String::with_capacity(text.len());
    let mut in_credentials = false;
    let mut rest = text;
    let is_hidden = |name: &str| hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(long_name(name)));
    while !rest.is_empty() {
        let (line, tail) = split_once(rest, b'\n').unwrap_or((rest, ""));
        let content = line.strip_suffix('\r').unwrap_or(line);
        let end = rest.get(content.len()..rest.len() - tail.len()).unwrap_or_default();
        rest = tail;
        let folded = matches!(content.as_bytes().first(), Some(b' ' | b'\t'));
        if folded && in_credentials {
            append(&mut out, &[" ", REDACTED, end]);
            continue;
        }
        let (name, value) = split_once(content, b':').unwrap_or_default();
        let key = name.trim_ascii();
        in_credentials = is_credential(key) || is_hidden(key);
        if in_credentials {
            append(&mut out, &[name, ": "]);
            if is_hidden(key) {
                out.push_str(REDACTED);
            } else {
                redact_credentials(value, &mut out);
            }
        } else if let Some(kept) =
            ["a=crypto:", "a=ice-pwd:", "k="].into_iter().find(|prefix| content.starts_with(prefix))
        {
            append(&mut out, &[kept, REDACTED]);
        } else {
            redact_passwords(content, &mut out);
        }
        out.push_str(end);
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

fn redact_credentials(value: &str, out: &mut String) {
    let value = value.trim_ascii();
    let (scheme, params) = split_once(value, b' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Digest") || !is_token(scheme) {
        return out.push_str(REDACTED);
    }
    out.push_str(scheme);
    for (at, item) in split_list(params).enumerate() {
        out.push_str(if at == 0 { " " } else { ", " });
        let name = before(item, b'=').trim_ascii();
        if ["username", "realm", "algorithm"].iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
            out.push_str(item);
        } else {
            append(out, &[name, "=", REDACTED]);
        }
    }
}

/// `sip:user:password@host`: the password goes.
fn redact_passwords(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = split_once(rest, b':') {
        append(out, &[before, ":"]);
        rest = after;
        let start = before.bytes().rposition(|b| !b.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        let scheme = before.get(start..).unwrap_or_default();
        if !(scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips")) {
            continue;
        }
        // What has been looked at is not looked at again: a line of nothing but `sip:` is long enough to notice.
        let stop = after.bytes().position(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | b'@'));
        let (uri, tail) = after.split_at_checked(stop.unwrap_or(after.len())).unwrap_or((after, ""));
        rest = tail;
        match split_once(uri, b':') {
            Some((user, _)) if tail.starts_with('@') => append(out, &[user, ":", REDACTED]),
            _ => out.push_str(uri),
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn invite() -> Request {
        let mut request = Request::new(Method::Invite, "sip:bob@example.com");
        for (name, value) in [
            ("Via", "SIP/2.0/WSS b.invalid;branch=z9hG4bK2"),
            ("v", "SIP/2.0/WSS a.invalid;branch=z9hG4bK1"),
            ("Record-Route", "<sip:p.example.com;lr>"),
            ("From", "\"A\" <sip:alice@example.com>;tag=1"),
            ("t", "<sip:bob@example.com>"),
            ("Call-ID", "c1"),
            ("CSeq", "1 INVITE"),
            ("Timestamp", "54"),
            ("Supported", "Path, timer"),
            ("X-App", "1"),
        ] {
            request.headers.push(name, value);
        }
        request
    }

    #[test]
    fn methods() {
        for (name, method) in METHODS {
            assert_eq!(Method::from_token(name), method);
            assert_eq!(method.as_str(), name);
        }
        assert_eq!(Method::from_token("invite"), Method::Other("invite".into()));
        assert_eq!(Method::from_token("FOO").to_string(), "FOO");
    }

    #[test]
    fn headers() {
        let mut headers = invite().headers;
        assert_eq!(headers.get("CALL-id"), Some("c1"));
        assert_eq!(headers.get("I"), Some("c1"));
        assert_eq!(headers.get("x-app"), Some("1"));
        assert_eq!(headers.get("Contact"), None);
        assert_eq!(headers.get_all("Via").count(), 2);
        assert_eq!(headers.top_via().unwrap().branch(), Some("z9hG4bK2"));
        assert_eq!(headers.from().unwrap().tag(), Some("1"));
        assert_eq!(headers.to().unwrap().uri, "sip:bob@example.com");
        assert_eq!(headers.cseq().unwrap().method, Method::Invite);
        assert_eq!(headers.number("Timestamp"), Some(54));
        assert!(headers.contains_token("k", "PATH") && headers.contains_token("Supported", "timer"));
        assert!(!headers.contains_token("Supported", "tim"));

        headers.push("Supported", "gruu");
        assert_eq!(headers.values("Supported"), ["Path", "timer", "gruu"]);
        headers.set("supported", "100rel");
        assert_eq!(headers.values("Supported"), ["100rel"]);
        headers.set("Contact", "*");
        assert_eq!(headers.iter().last(), Some(("Contact", "*")));
        headers.push_front("Via", "top");
        assert_eq!(headers.iter().next(), Some(("Via", "top")));
        assert_eq!(headers.remove_first("v").as_deref(), Some("top"));
        assert_eq!(headers.get_all("Via").count(), 2);
        headers.remove("VIA");
        assert_eq!(headers.get("Via"), None);
        assert_eq!(headers.remove_first("Via"), None);
        headers.set("Content-Type", "application/sdp ; x=1");
        assert_eq!(headers.content_type(), Some("application/sdp"));
        assert_eq!(headers.get("From"), Some("\"A\" <sip:alice@example.com>;tag=1"));
    }

    #[test]
    fn every_known_header_keeps_its_name_and_value() {
        for (name, make) in KNOWN {
            let header = make("value".into());
            assert_eq!(name_and_value(&header), (*name, "value"));
            // What rsip would print is what we print.
            assert_eq!(header.to_string(), format!("{name}: value"));
        }
        assert_eq!(name_and_value(&make_header("X-Y", "z".into())), ("X-Y", "z"));
    }

    #[test]
    fn debug_shows_no_credentials() {
        let mut request = invite();
        request.headers.push("proxy-authorization", "Digest hush");
        request.headers.push("Authorization", "Digest hush");
        let text = format!("{request:?}");
        assert!(
            !text.contains("hush") && text.contains("proxy-authorization") && text.contains("c1"),
            "{text}"
        );
    }

    #[test]
    fn printed() {
        let mut request = Request::new(Method::Message, "sip:b@h");
        request.headers.push("content-length", "99");
        request.headers.push("x-App", "1");
        request.body = "å".into();
        let text = request.to_text().unwrap();
        assert_eq!(text, "MESSAGE sip:b@h SIP/2.0\r\nx-App: 1\r\nContent-Length: 2\r\n\r\nå");
        let mut response = request.response(403, Some("Blocked by policy"));
        assert_eq!(response.to_text().unwrap(), "SIP/2.0 403 Blocked by policy\r\nContent-Length: 0\r\n\r\n");
        response.reason.clear();
        assert!(response.to_text().unwrap().starts_with("SIP/2.0 403 \r\n"));
    }

    #[test]
    fn nothing_is_injected() {
        for bad in ["a\r\nX: y", "a\n", "a\r", "a\0"] {
            let mut request = invite();
            request.headers.push("Subject", bad);
            assert_eq!(request.to_text(), Err(PrintError::HeaderValue("Subject".into())));
            assert_eq!(
                Message::Request(request).to_text().unwrap_err().to_string(),
                "value of Subject cannot be sent"
            );
            let mut request = invite();
            request.headers.set("Call-ID", bad);
            assert_eq!(request.to_text(), Err(PrintError::HeaderValue("Call-ID".into())));
            let mut request = invite();
            request.headers.push(bad, "x");
            assert_eq!(request.to_text(), Err(PrintError::HeaderName(bad.into())));
            let mut request = invite();
            request.uri.push_str(bad);
            assert_eq!(request.to_text(), Err(PrintError::StartLine));
            let mut request = invite();
            request.method = Method::Other(bad.into());
            assert_eq!(request.to_text(), Err(PrintError::StartLine));
            let response = invite().response(200, Some(bad));
            assert_eq!(response.to_text(), Err(PrintError::StartLine));
        }
        for uri in ["", "sip:a b", "<sip:a@h>", "sip:a@h\t"] {
            assert_eq!(Request::new(Method::Bye, uri).to_text(), Err(PrintError::StartLine), "{uri}");
        }
        for name in ["", "X Y", "X:", "Å"] {
            let mut request = invite();
            request.headers.push(name, "x");
            assert_eq!(request.to_text(), Err(PrintError::HeaderName(name.into())));
        }
        for status in [0, 99, 700] {
            assert_eq!(invite().response(status, Some("x")).to_text(), Err(PrintError::StartLine));
        }
        let mut request = invite();
        request.body = vec![0xff];
        assert_eq!(request.to_text(), Err(PrintError::Body));
    }

    #[test]
    fn cap_on_what_is_sent() {
        let mut request = invite();
        request.body = vec![b'x'; 60_000];
        let missing = MAX_MESSAGE - request.to_text().unwrap().len();
        request.body.resize(60_000 + missing, b'x');
        assert_eq!(request.to_text().map(|text| text.len()), Ok(MAX_MESSAGE));
        request.body.push(b'x');
        assert_eq!(request.to_text(), Err(PrintError::TooLong));
    }

    #[test]
    fn responses() {
        let names = |response: &Response| {
            response.headers.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>().join(" ")
        };
        let mut ringing = invite().response(180, None);
        assert_eq!(names(&ringing), "Via Via From To Call-ID CSeq Record-Route");
        assert_eq!(ringing.reason, "Ringing");
        assert_eq!(names(&invite().response(100, None)), "Via Via From To Call-ID CSeq Timestamp");
        assert_eq!(names(&invite().response(486, None)), "Via Via From To Call-ID CSeq");
        assert_eq!(
            ringing.headers.values("Via"),
            ["SIP/2.0/WSS b.invalid;branch=z9hG4bK2", "SIP/2.0/WSS a.invalid;branch=z9hG4bK1"]
        );
        ringing.set_to_tag("x1");
        ringing.set_to_tag("x2");
        assert_eq!(ringing.headers.get("To"), Some("<sip:bob@example.com>;tag=x1"));
        let mut bare = invite();
        bare.headers.set("To", "sip:bob@example.com;x=1");
        let mut bare = bare.response(404, None);
        bare.set_to_tag("y");
        assert_eq!(bare.headers.to().unwrap().tag(), Some("y"));
    }

    #[test]
    fn a_head_says_what_the_headers_say() {
        let mut headers = invite().headers;
        let head = headers.head();
        assert_eq!((head.branch(), head.from_tag(), head.to_tag()), (Some("z9hG4bK2"), Some("1"), None));
        assert_eq!(head.cseq.as_ref().map(|cseq| cseq.seq), Some(1));
        // Whatever has been read is read anew after a change, in this copy and not in the other.
        let before = headers.clone();
        headers.set("CSeq", "2 BYE");
        headers.push("f", "<sip:eve@example.com>;tag=9");
        headers.set("t", "<sip:bob@example.com>;tag=7");
        headers.push_front("Via", "SIP/2.0/WSS c.invalid;branch=z9hG4bK3");
        let head = headers.head();
        assert_eq!((head.branch(), head.from_tag(), head.to_tag()), (Some("z9hG4bK3"), Some("1"), Some("7")));
        assert_eq!(headers.cseq(), Some(CSeq { seq: 2, method: Method::Bye }));
        headers.remove_first("Via");
        headers.remove("From");
        assert_eq!((headers.head().branch(), headers.from_tag()), (Some("z9hG4bK2"), None));
        headers.set("To", "<sip:bob");
        assert!(headers.head().to.is_none());
        assert_eq!((before.seq(), before.from_tag(), before.to_tag()), (Some(1), Some("1".into()), None));
        assert_eq!(before, invite().headers);
        assert_ne!(before, headers);
    }

    #[test]
    fn reason_phrases() {
        assert_eq!(default_reason(200), "OK");
        assert_eq!(default_reason(486), "Busy Here");
        assert_eq!(default_reason(481), "Call/Transaction Does Not Exist");
        assert_eq!(default_reason(299), "");
        // Where rsip knows a status, its name says the same; the exceptions are the RFCs' spelling.
        for (code, phrase) in PHRASES {
            let squeeze = |text: &str| text.replace([' ', '-', '/'], "").to_ascii_lowercase();
            let rsip = squeeze(&format!("{:?}", rsip::StatusCode::from(code)));
            if !matches!(code, 202 | 606) {
                assert_eq!(squeeze(phrase), rsip, "{code}");
            }
        }
    }

    #[test]
    fn extra_headers() {
        for (name, value) in
            [("X-App", "1"), ("Subject", "hi å"), ("P-Preferred-Identity", "<sip:a@h>"), ("s", "")]
        {
            assert_eq!(check_extra_header(name, value), Ok(()), "{name}");
        }
        for name in [
            "",
            "X Y",
            "X:",
            "X\r\nVia",
            "Å",
            "via",
            "V",
            "call-ID",
            "i",
            "CONTACT",
            "Proxy-Authorization",
            "l",
            "refer-to",
            "join",
            "accept",
            "r",
            &"x".repeat(65),
        ] {
            assert!(check_extra_header(name, "1").is_err(), "{name:?}");
        }
        for value in ["a\r\nVia: x", "a\n", "a\0", "\u{7f}", "a\u{85}", &"x".repeat(2049)] {
            assert!(check_extra_header("X-App", value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn redaction() {
        let text = "INVITE sip:bob:pw1@h SIP/2.0\r\n\
            Authorization: Digest username=\"al, ice\", realm=\"r\",nonce=\"n1\", uri=\"sip:h\", response=\"hush\", algorithm=MD5\r\n\
            PROXY-authorization : Bearer hush\r\n \thush\r\n\
            Authentication-Info: rspauth=\"hush\", nextnonce=\"n2\"\r\n\
            Contact: <SIPS:carol:pw2@h:5061>, \"sip:\" <sip:dave:pw3@[::1]:5060;x=sip:eve@h>\r\n\
            Route: <sip:h:5060;lr>\r\n\
            \r\n\
            v=0\r\nk=clear:hush\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:hush\r\na=ice-pwd:hush\r\na=sendrecv";
        let redacted = redact(text);
        for secret in ["hush", "pw1", "pw2", "pw3", "n1", "n2"] {
            assert!(!redacted.contains(secret), "{secret} in {redacted}");
        }
        for kept in [
            "INVITE sip:bob:<redacted>@h SIP/2.0\r\n",
            "Authorization: Digest username=\"al, ice\", realm=\"r\", nonce=<redacted>, uri=<redacted>, response=<redacted>, algorithm=MD5\r\n",
            "PROXY-authorization : <redacted>\r\n <redacted>\r\n",
            "<SIPS:carol:<redacted>@h:5061>, \"sip:\" <sip:dave:<redacted>@[::1]:5060;x=sip:eve@h>\r\n",
            "Route: <sip:h:5060;lr>\r\n\r\nv=0\r\nk=<redacted>\r\na=crypto:<redacted>\r\na=ice-pwd:<redacted>\r\na=sendrecv",
        ] {
            assert!(redacted.contains(kept), "{kept} not in {redacted}");
        }
        let long = "sip:".repeat(15_000);
        assert_eq!(redact(&long), long);
        assert!(matches!(redact("SIP/2.0 200 OK\r\nFrom: <sip:a@h:5060>\r\n\r\n"), Cow::Borrowed(_)));
    }
}
