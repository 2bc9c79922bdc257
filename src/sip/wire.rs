//! From bytes to messages (RFC 3261, section 7; RFC 7118).

use core::fmt;
use std::borrow::Cow;

use super::header::{Via, is_token, is_uri_text, split_list};
use super::message::{Headers, Message, Method, Request, Response, long_name, redact};
use crate::text::{concat, find, is_line, number, printable, split_once};

/// The longest message that is read or sent, in bytes.
pub const MAX_MESSAGE: usize = 65_536;
/// The most headers that a message may have; each Via of a list counts.
pub const MAX_HEADERS: usize = 256;
/// The longest value of a header, in bytes, without its folds.
pub const MAX_HEADER: usize = 8192;

/// One WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// CRLF CRLF: the peer wants a pong (RFC 5626, section 3.5.1).
    Ping,
    /// CRLF: the peer's pong.
    Pong,
    /// A SIP message.
    Message(Message),
}

/// Why bytes are not a message. Shows nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// More than [`MAX_MESSAGE`] bytes.
    TooLong,
    /// Neither a request line nor a status line.
    StartLine,
    /// Not SIP/2.0.
    Version,
    /// A header that is malformed, or there twice where once is allowed; its name.
    Header(&'static str),
    /// A mandatory header is missing (RFC 3261, section 8.1.1); its name.
    Missing(&'static str),
    /// A line that is no header, or one with a name that is no token.
    HeaderLine,
    /// More than [`MAX_HEADERS`].
    TooManyHeaders,
    /// A header longer than [`MAX_HEADER`].
    HeaderTooLong,
    /// Content-Length is no number, or more than there is.
    ContentLength,
    /// The method in CSeq is not that of the request (RFC 3261, section 8.1.1.5).
    CSeqMethod,
}

impl ParseError {
    /// What is wrong, in words. (Without the machinery of `fmt`, which the module has no other use for.)
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::TooLong => "Message Too Large".into(),
            Self::StartLine => "malformed start line".into(),
            Self::Version => "Version Not Supported".into(),
            Self::Header(name) => concat(&["bad ", name, " header"]).into(),
            Self::Missing(name) => concat(&["missing ", name, " header"]).into(),
            Self::HeaderLine => "malformed header line".into(),
            Self::TooManyHeaders => "too many headers".into(),
            Self::HeaderTooLong => "header too long".into(),
            Self::ContentLength => "bad Content-Length".into(),
            Self::CSeqMethod => "CSeq is of another method".into(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl core::error::Error for ParseError {}

/// Bytes that are not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What is wrong.
    pub error: ParseError,
    /// The answer, when it was a request other than ACK and its Via and CSeq are there; the tag of To is still to be
    /// added.
    pub reply: Option<Response>,
    /// The first line for the log: no control characters, at most 80 characters, secrets hidden.
    pub first_line: String,
}

/// Reads one WebSocket message.
///
/// # Errors
/// When it is not a SIP message; [`Rejected::reply`] is what to answer, if anything.
#[allow(clippy::result_large_err, reason = "made once a broken message, and taken apart at once")]
pub fn parse(bytes: &[u8]) -> Result<Frame, Rejected> {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let (blank, bytes) = bytes.split_at(start);
    if bytes.is_empty() && !blank.is_empty() {
        let lines = blank.iter().filter(|b| **b == b'\n').count();
        return Ok(if lines > 1 { Frame::Ping } else { Frame::Pong });
    }
    let too_long = bytes.len() > MAX_MESSAGE;
    let capped = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    // The head is text; a body need not be.
    let (head, body) = capped.split_at_checked(head_length(capped)).unwrap_or((capped, &[]));
    let head = text_of(head);
    let (first_line, lines) = split_once(&head, b'\n').unwrap_or((&head, ""));
    let first_line = first_line.trim_ascii();
    let mut headers = Headers::default();
    let read = read_headers(lines, too_long && body.is_empty(), &mut headers);

    let outcome = if too_long {
        Err(ParseError::TooLong)
    } else {
        read_start(first_line).and_then(|start| {
            read?;
            let body = check(&start, &headers, body)?;
            Ok((start, body))
        })
    };
    match outcome {
        Ok((Start::Request(method, uri), body)) => Ok(Frame::Message(Message::Request(Request {
            method,
            uri: uri.to_owned(),
            headers,
            body: body.to_vec(),
        }))),
        Ok((Start::Response(status, reason), body)) => Ok(Frame::Message(Message::Response(Response {
            status,
            reason: reason.to_owned(),
            headers,
            body: body.to_vec(),
        }))),
        Err(error) => Err(Rejected {
            error,
            reply: reply(first_line, headers, error),
            // Hide before cutting: a password whose `@` is gone looks like anything else.
            first_line: printable(&redact(first_line)),
        }),
    }
}

/// Up to the empty line, that included; all where there is none.
fn head_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes.get(at..).and_then(|rest| find(rest, b'\n')) {
        let line = bytes.get(at..at + length);
        at += length + 1;
        if matches!(line, Some(b"" | b"\r")) {
            return at;
        }
    }
    bytes.len()
}

/// The bytes as text. What is not UTF-8 (RFC 3261, section 7) is read as the Latin-1 of old telephones: no call is lost
/// for the letters of a name.
pub(crate) fn text_of(mut bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::new();
    loop {
        let valid = leading_text(bytes);
        let Some((byte, rest)) = bytes.get(valid.len()..).and_then(<[u8]>::split_first) else {
            if text.is_empty() {
                return valid.into();
            }
            text.push_str(valid);
            return text.into();
        };
        text.push_str(valid);
        text.push(if *byte < 0xa0 { char::REPLACEMENT_CHARACTER } else { char::from(*byte) });
        bytes = rest;
    }
}

/// The bytes as text, up to the first that is not UTF-8.
pub(crate) fn leading_text(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            bytes.get(..error.valid_up_to()).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
        }
    }
}

enum Start<'a> {
    Request(Method, &'a str),
    Response(u16, &'a str),
}

fn read_start(line: &str) -> Result<Start<'_>, ParseError> {
    let (first, rest) = split_once(line, b' ').unwrap_or((line, ""));
    let rest = rest.trim_ascii();
    if is_version(first) {
        check_version(first)?;
        // A bare `SIP/2.0 200`, without the space that the grammar wants behind it, exists in the field.
        let (code, reason) = split_once(rest, b' ').unwrap_or((rest, ""));
        return match number(code).and_then(|status| u16::try_from(status).ok()) {
            Some(status @ 100..=699) if code.len() == 3 => Ok(Start::Response(status, reason)),
            _ => Err(ParseError::StartLine),
        };
    }
    let (uri, version) = last_word(rest);
    let uri = uri.trim_ascii();
    if uri.is_empty() || !is_version(version) || !is_token(first) {
        return Err(ParseError::StartLine);
    }
    check_version(version)?;
    if !is_uri_text(uri) {
        return Err(ParseError::StartLine);
    }
    Ok(Start::Request(Method::from_token(first), uri))
}

/// Everything before the last space, and what stands behind it.
fn last_word(text: &str) -> (&str, &str) {
    let at = text.bytes().rposition(|b| b == b' ').map_or(0, |at| at + 1);
    text.split_at_checked(at).unwrap_or_default()
}

fn is_version(word: &str) -> bool {
    word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"))
}

fn check_version(word: &str) -> Result<(), ParseError> {
    if word.get(4..) == Some("2.0") { Ok(()) } else { Err(ParseError::Version) }
}

/// Reads all header lines that can be read, and reports the first that cannot. A line at the place where the text is cut
/// is left out: it was longer.
fn read_headers(text: &str, cut: bool, headers: &mut Headers) -> Result<(), ParseError> {
    let mut outcome = Ok(());
    let mut count = 0;
    headers.reserve(24);
    let mut rest = text;
    while !rest.is_empty() {
        let (line, mut tail) = split_once(rest, b'\n').unwrap_or((rest, ""));
        if line.is_empty() || line == "\r" {
            break;
        }
        let (name, value) = split_once(line, b':').unwrap_or_default();
        let name = name.trim_ascii_end();
        let mut value = value.trim_ascii().to_owned();
        // Unfold (RFC 3261, section 7.3.1).
        while matches!(tail.as_bytes().first(), Some(b' ' | b'\t')) {
            let (line, next) = split_once(tail, b'\n').unwrap_or((tail, ""));
            let line = line.trim_ascii();
            if !value.is_empty() && !line.is_empty() {
                value.push(' ');
            }
            value.push_str(line);
            tail = next;
        }
        rest = tail;
        if cut && rest.is_empty() {
            break;
        }
        // A NUL or a CR within a line could never be sent back in a response.
        if !is_line(&value) {
            let clean: String =
                value.chars().map(|c| if matches!(c, '\0' | '\r') { ' ' } else { c }).collect();
            value = clean.trim_ascii().to_owned();
        }
        let name = long_name(name);
        // One header for each Via, so that a response to them can be told hop by hop.
        let is_via = name.eq_ignore_ascii_case("Via");
        count += if is_via { split_list(&value).count() } else { 1 };
        let problem = if !is_token(name) {
            ParseError::HeaderLine
        } else if value.len() > MAX_HEADER {
            ParseError::HeaderTooLong
        } else if count > MAX_HEADERS {
            ParseError::TooManyHeaders
        } else {
            if is_via {
                for via in split_list(&value) {
                    headers.push(name, via);
                }
            } else {
                headers.push(name, value);
            }
            continue;
        };
        outcome = outcome.and(Err(problem));
    }
    outcome
}

/// The headers that every message has, once each except Via (RFC 3261, section 8.1.1).
const CORE: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Checks the headers that every message has, and finds the body that Content-Length tells of; without one it is
/// all that is there, for a WebSocket message has an end (RFC 7118, section 5.2).
fn check<'a>(start: &Start<'_>, headers: &Headers, body: &'a [u8]) -> Result<&'a [u8], ParseError> {
    let head = headers.head();
    for name in CORE {
        let mut values = headers.get_all(name);
        let value = values.next().ok_or(ParseError::Missing(name))?;
        let good = match name {
            // All of them: the answer goes back over each (RFC 4475, section 3.1.2.1).
            "Via" => head.via.is_some() && values.all(|via| Via::parse(via).is_ok()),
            "From" => head.from.is_some(),
            "To" => head.to.is_some(),
            "Call-ID" => is_word(value),
            _ => match (&head.cseq, start) {
                (Some(cseq), Start::Request(method, _)) if *method != cseq.method => {
                    return Err(ParseError::CSeqMethod);
                }
                (cseq, _) => cseq.is_some(),
            },
        };
        if !good || values.next().is_some() {
            return Err(ParseError::Header(name));
        }
    }
    let mut length = None;
    for value in headers.get_all("Content-Length") {
        let this = number(value).and_then(|length| usize::try_from(length).ok());
        if this.is_none() || (length.is_some() && length != this) {
            return Err(ParseError::ContentLength);
        }
        length = this;
    }
    body.get(..length.unwrap_or(body.len())).ok_or(ParseError::ContentLength)
}

/// Not empty, no white space. Call-IDs in the field hold more than the grammar allows.
fn is_word(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b > b' ')
}

fn reply(first_line: &str, headers: Headers, error: ParseError) -> Option<Response> {
    let (method, rest) = split_once(first_line, b' ')?;
    if method == "ACK" || !is_token(method) || !is_version(last_word(rest).1) {
        return None;
    }
    // What an answer needs to find its way and its transaction (RFC 3261, section 17.1.3); whatever else is missing,
    // a 400 is better than silence (RFC 4475, section 3.3.1).
    if !["Via", "CSeq"].into_iter().all(|name| headers.get(name).is_some_and(|value| !value.is_empty())) {
        return None;
    }
    let request =
        Request { method: Method::from_token(method), uri: String::new(), headers, body: Vec::new() };
    Some(match error {
        ParseError::TooLong => request.response(513, None),
        ParseError::Version => request.response(505, None),
        other => {
            let mut reason = String::from("Bad Request: ");
            reason.push_str(&other.text());
            request.response(400, Some(&reason))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::header::{NameAddr, parse_u32};
    use super::super::message::PrintError;
    use super::super::uri::Uri;
    use super::super::{digest, header, sdp};
    use super::*;
    use crate::entropy::{SeededEntropy, below};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CORE_LINES: &str = "Via: SIP/2.0/WSS a.invalid;branch=z9hG4bK1\r\n\
        From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n";

    fn invite(lines: &str, body: &str) -> String {
        format!("INVITE sip:b@h SIP/2.0\r\n{CORE_LINES}CSeq: 1 INVITE\r\n{lines}\r\n{body}")
    }

    fn request(bytes: impl AsRef<[u8]>) -> Request {
        match parse(bytes.as_ref()) {
            Ok(Frame::Message(Message::Request(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    fn response(text: &str) -> Response {
        match parse(text.as_bytes()) {
            Ok(Frame::Message(Message::Response(response))) => response,
            other => panic!("{other:?}"),
        }
    }

    fn rejected(bytes: impl AsRef<[u8]>) -> Rejected {
        let rejected = parse(bytes.as_ref()).unwrap_err();
        // Whatever is to be sent can be sent.
        if let Some(reply) = &rejected.reply {
            let start = format!("SIP/2.0 {} ", reply.status);
            assert!(reply.to_text().unwrap().starts_with(&start));
        }
        rejected
    }

    fn status(rejected: &Rejected) -> Option<u16> {
        rejected.reply.as_ref().map(|reply| reply.status)
    }

    #[test]
    fn keep_alives() {
        for ping in ["\r\n\r\n", "\n\n", "\r\n\r\n\r\n\r\n"] {
            assert_eq!(parse(ping.as_bytes()), Ok(Frame::Ping), "{ping:?}");
        }
        assert_eq!(parse(b"\r\n"), Ok(Frame::Pong));
        assert_eq!(parse(b"\n"), Ok(Frame::Pong));
        // CRLFs before the start line are ignored (RFC 3261, section 7.5).
        assert_eq!(request(format!("\r\n\r\n{}", invite("", ""))).method, Method::Invite);
        for nothing in [&b""[..], b" ", b"\0", b"\r\n \r\n"] {
            let rejected = rejected(nothing);
            assert_eq!((rejected.error, rejected.reply), (ParseError::StartLine, None));
        }
    }

    #[test]
    fn folded_and_spaced_headers() {
        let message = request(invite(
            "Subject  :  I know\r\n\t you're \r\n  there\r\nX-Empty:\r\nX-Fold:\r\n a\r\n",
            "",
        ));
        assert_eq!(message.headers.get("Subject"), Some("I know you're there"));
        assert_eq!(message.headers.get("X-Empty"), Some(""));
        assert_eq!(message.headers.get("X-Fold"), Some("a"));
    }

    #[test]
    fn compact_message_of_freeswitch() {
        let message = request(
            "NOTIFY sip:1000@df7jal23ls0d.invalid;transport=ws SIP/2.0\r\n\
             v:SIP/2.0/WSS 192.0.2.1:7443;branch=z9hG4bKKQ0aKN7p0t9rr\r\n\
             Max-Forwards:70\r\n\
             f:<sip:1000@192.0.2.1>;tag=gQHU3NtcX8K9r\r\n\
             t:<sip:1000@192.0.2.1>;tag=m4ceg3i8gf\r\n\
             i:o9kqd2pq7ifcb2gg7t4l\r\n\
             CSeq:123456789 NOTIFY\r\n\
             m:<sip:mod_sofia@192.0.2.1:7443;transport=wss>\r\n\
             k:timer, path, replaces\r\n\
             o:message-summary\r\n\
             u:talk, hold\r\n\
             r:<sip:x@h>\r\n\
             b:<sip:y@h>\r\n\
             x:1800;refresher=uac\r\n\
             s:hi\r\ne:gzip\r\n\
             Subscription-State:terminated;reason=noresource\r\n\
             c:application/simple-message-summary\r\n\
             l:4\r\n\r\nbody",
        );
        for (name, value) in [
            ("From", "<sip:1000@192.0.2.1>;tag=gQHU3NtcX8K9r"),
            ("To", "<sip:1000@192.0.2.1>;tag=m4ceg3i8gf"),
            ("Call-ID", "o9kqd2pq7ifcb2gg7t4l"),
            ("Contact", "<sip:mod_sofia@192.0.2.1:7443;transport=wss>"),
            ("Event", "message-summary"),
            ("Allow-Events", "talk, hold"),
            ("Refer-To", "<sip:x@h>"),
            ("Referred-By", "<sip:y@h>"),
            ("Session-Expires", "1800;refresher=uac"),
            ("Subject", "hi"),
            ("Content-Encoding", "gzip"),
            ("Content-Type", "application/simple-message-summary"),
        ] {
            assert_eq!(message.headers.get(name), Some(value), "{name}");
        }
        assert_eq!(message.method, Method::Notify);
        assert_eq!(message.headers.top_via().unwrap().sent_by, "192.0.2.1:7443");
        assert!(message.headers.contains_token("Supported", "replaces"));
        assert_eq!(message.body, b"body");
    }

    #[test]
    fn unknown_methods() {
        let text = format!("FOO sip:b@h SIP/2.0\r\n{CORE_LINES}CSeq: 1 FOO\r\nAllow: INVITE, BAR\r\n\r\n");
        let message = request(&text);
        assert_eq!(message.method, Method::Other("FOO".into()));
        assert_eq!(message.headers.cseq().unwrap().method, Method::Other("FOO".into()));
        assert_eq!(message.headers.values("Allow"), ["INVITE", "BAR"]);
        assert_eq!(message.response(405, None).reason, "Method Not Allowed");
    }

    #[test]
    fn odd_request_uris() {
        for uri in [
            "sip:bob@[2001:db8::10]:5060",
            "sip:b@h;transport=quic",
            "sip:h?Replaces=a%40b",
            "sip:bob@h?Replaces=x%3Bto-tag%3D1",
            "tel:+46701234567",
            "http://example.com/",
            "nobodyKnowsThisScheme:totallyopaquecontent",
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        ] {
            let message = request(invite("", "").replacen("sip:b@h", uri, 1));
            assert_eq!(message.uri, uri);
        }
    }

    #[test]
    fn status_lines() {
        let with = |line: &str| response(&format!("{line}\r\n{CORE_LINES}CSeq: 1 INVITE\r\n\r\n"));
        for (line, status, reason) in [
            ("SIP/2.0 200 OK", 200, "OK"),
            ("SIP/2.0 200", 200, ""),
            ("SIP/2.0 200 ", 200, ""),
            ("sip/2.0 180 Ringing", 180, "Ringing"),
            ("SIP/2.0 403 Blocked by policy", 403, "Blocked by policy"),
            ("SIP/2.0 488 [x] Codec \u{e5}", 488, "[x] Codec \u{e5}"),
            ("SIP/2.0 699 x", 699, "x"),
        ] {
            let response = with(line);
            assert_eq!((response.status, response.reason.as_str()), (status, reason), "{line}");
        }
        for line in [
            "SIP/2.0",
            "SIP/2.0 20",
            "SIP/2.0 2000 OK",
            "SIP/2.0 700 x",
            "SIP/2.0 099 x",
            "SIP/2.0 +20 x",
            "SIP/2.0 OK",
            "SIP/3.0 200 OK",
            "SIP/ 200 OK",
        ] {
            let rejected = rejected(format!("{line}\r\n{CORE_LINES}CSeq: 1 INVITE\r\n\r\n"));
            assert_eq!(rejected.reply, None, "{line}");
            assert_eq!(
                rejected.error,
                if line.contains("SIP/2.0") { ParseError::StartLine } else { ParseError::Version }
            );
        }
    }

    #[test]
    fn line_ends() {
        let text = invite("Content-Type: text/plain\r\n", "a\r\nb\r\n");
        let crlf = request(&text);
        let lf = request(text.replace("\r\n", "\n"));
        assert_eq!(crlf.headers, lf.headers);
        assert_eq!((crlf.body.as_slice(), lf.body.as_slice()), (&b"a\r\nb\r\n"[..], &b"a\nb\n"[..]));
        // Without the empty line too: nothing is missing.
        assert_eq!(request(invite("", "").trim_end()).headers, request(invite("", "")).headers);
    }

    #[test]
    fn ipv6_in_headers() {
        let message = request(
            "INVITE sip:b@[2001:db8::10] SIP/2.0\r\n\
             Via: SIP/2.0/UDP [2001:db8::9:1]:5060;received=[2001:db8::9:255];branch=z9hG4bKas3-111\r\n\
             Record-Route: <sip:[2001:db8::5]:5060;lr>\r\n\
             From: <sip:a@[2001:db8::9:1]>;tag=81\r\nTo: <sip:b@[2001:db8::10]>\r\n\
             Call-ID: c@[2001:db8::9:1]\r\nCSeq: 1 INVITE\r\nContact: \"C\" <sip:c@[2001:db8::9:1]>\r\n\r\n",
        );
        let contact = NameAddr::parse(message.headers.get("Contact").unwrap()).unwrap();
        assert_eq!(Uri::parse(&contact.uri).unwrap().host, "[2001:db8::9:1]");
        let route = NameAddr::parse(message.headers.get("Record-Route").unwrap()).unwrap();
        assert_eq!(Uri::parse(&route.uri).unwrap().port, Some(5060));
        assert_eq!(message.headers.top_via().unwrap().params.get("received"), Some("[2001:db8::9:255]"));
    }

    #[test]
    fn lists_on_a_line_lose_nothing() {
        let message = request(invite(
            "v: SIP/2.0/TCP b.invalid;branch=z9hG4bK2;x=\"a,b\" , SIP / 2.0 / UDP c.invalid ;branch=z9hG4bK3\r\n\
             Record-Route: <sip:p1;lr>;x=\"a,b\", <sip:p2,p;lr>\r\nContact: <sip:x@h>, sip:y@h\r\n",
            "",
        ));
        let branches: Vec<_> = message
            .headers
            .get_all("Via")
            .map(|via| Via::parse(via).unwrap().branch().unwrap().to_owned())
            .collect();
        assert_eq!(branches, ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]);
        assert_eq!(message.headers.values("Record-Route"), ["<sip:p1;lr>;x=\"a,b\"", "<sip:p2,p;lr>"]);
        assert_eq!(message.headers.values("Contact"), ["<sip:x@h>", "sip:y@h"]);
        assert_eq!(message.response(180, None).headers.get_all("Via").count(), 3);
        let route = NameAddr::parse(message.headers.values("Record-Route")[0]).unwrap();
        assert_eq!(route.params.get("x"), Some("a,b"));
    }

    #[test]
    fn values_that_rsip_gets_wrong() {
        let message = request(invite(
            "Contact: <sip:a@h;transport=ws>;+sip.instance=\"<urn:uuid:1>\";pub-gruu=\"sip:a@h;gr=urn:uuid:1\"\r\n\
             Refer-To: <tel:+4670>\r\nReply-To: \"A \\\" <x>\" <sip:r@h>\r\n\
             WWW-Authenticate: Digest realm=\"h\", nonce=\"n\", qop=\"auth,auth-int\", algorithm=SHA-256\r\n",
            "",
        ));
        let contact = NameAddr::parse(message.headers.get("Contact").unwrap()).unwrap();
        assert_eq!(contact.params.get("+sip.instance"), Some("<urn:uuid:1>"));
        assert_eq!(contact.params.get("pub-gruu"), Some("sip:a@h;gr=urn:uuid:1"));
        assert_eq!(Uri::parse(&contact.uri).unwrap().to_string(), "sip:a@h;transport=ws");
        assert_eq!(NameAddr::parse(message.headers.get("Refer-To").unwrap()).unwrap().uri, "tel:+4670");
        let reply_to = NameAddr::parse(message.headers.get("Reply-To").unwrap()).unwrap();
        assert_eq!(reply_to.display_name.as_deref(), Some("A \" <x>"));
        assert_eq!(Uri::parse("sip:bob@h?Replaces=x").unwrap().host, "h");
        let challenge = digest::Challenge::parse(message.headers.get("WWW-Authenticate").unwrap()).unwrap();
        assert_eq!(challenge.algorithm, digest::Algorithm::Sha256);
    }

    #[test]
    fn rfc_4475_valid_messages() {
        // 3.1.1.1: wsinv.
        let message = request(
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n\
             TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n\
             from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n\
             MaX-fOrWaRdS: 0068\r\n\
             Call-ID: wsinv.ndaksdj@192.0.2.1\r\n\
             Content-Length   : 3\r\n\
             cseq: 0009\r\n  INVITE\r\n\
             Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n\
             s :\r\n\
             NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n\
             UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n\
             Content-Type: application/sdp\r\n\
             Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n\
             v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n \
             SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\
             m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\
             \r\nv=0",
        );
        assert_eq!(message.headers.to().unwrap().tag(), Some("1918181833n"));
        assert_eq!(message.headers.from().unwrap().display_name.as_deref(), Some("J Rosenberg \\\""));
        assert_eq!(message.headers.from().unwrap().tag(), Some("98asjd8"));
        assert_eq!(message.headers.number("Max-Forwards"), Some(68));
        assert_eq!(message.headers.cseq().unwrap().seq, 9);
        assert_eq!(message.headers.get_all("Via").count(), 3);
        assert_eq!(
            message.headers.get("NewFangledHeader"),
            Some("newfangled value continued newfangled value")
        );
        let contact = NameAddr::parse(message.headers.get("Contact").unwrap()).unwrap();
        assert_eq!(
            (contact.params.get("newparam"), contact.params.get("q")),
            (Some("newvalue"), Some("0.33"))
        );

        // 3.1.1.2: intmeth; its display name holds quoted control characters.
        let method = "!interesting-Method0123456789_*+`.%indeed'~";
        let message = request(format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK-.!%66*_+`'~\r\n\
             To: \"BEL:\\\x07 NUL:\\\0 DEL:\\\x7F\" <sip:b@h>\r\n\
             From: token1~` token2'+_ token3*%!.- <sip:mundane@h>;fromParam''~+*_!.-%=\"\u{442}\u{437}\";tag=_token~1'+`*%!-.\r\n\
             Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}}{{\r\nCSeq: 139122385 {method}\r\n\
             extensionHeader-!.%*+_`'~: \u{feff}\u{5927}\r\n\r\n"
        ));
        assert_eq!(message.method.as_str(), method);
        assert_eq!(message.headers.from().unwrap().tag(), Some("_token~1'+`*%!-."));
        assert!(message.response(405, None).to_text().is_ok());

        // 3.1.1.6: lwsdisp; 3.1.1.9: semiuri; 3.1.1.10: transports; 3.1.1.12 and 13: unreason, noreason.
        let message = request(
            invite("Via: SIP/2.0/SCTP h2;branch=z\r\nVia: SIP/2.0/UNKNOWN h3;branch=z\r\n", "")
                .replace("From: <", "From: caller<"),
        );
        assert_eq!(message.headers.from().unwrap().display_name.as_deref(), Some("caller"));
        assert_eq!(Via::parse(message.headers.get_all("Via").last().unwrap()).unwrap().transport, "UNKNOWN");

        // 3.1.1.8: dblreq; a WebSocket message holds one SIP message, what follows is not a second one.
        let message = request(invite("Content-Length: 0\r\n", &invite("", "")));
        assert_eq!(message.body, b"");

        // 3.1.1.11: mpart01; a body need not be text.
        let mut bytes = invite("Content-Length: 4\r\n", "").into_bytes();
        bytes.extend([0xff, 0xfe, 0, b'\n']);
        assert_eq!(request(&bytes).body, [0xff, 0xfe, 0, b'\n']);
    }

    #[test]
    fn broken_requests_are_answered() {
        let plain = invite("", "");
        for (text, error) in [
            // A line that is no header; a name with a space.
            (invite("what is this\r\n", ""), ParseError::HeaderLine),
            (invite("garbage\r\n", ""), ParseError::HeaderLine),
            (invite("X Y: z\r\n", ""), ParseError::HeaderLine),
            (invite(": z\r\n", ""), ParseError::HeaderLine),
            // RFC 4475, 3.1.2.1 (badinv01), 3.1.2.6 (quotbal), 3.1.2.14 and 3.1.2.15.
            (plain.replace("WSS a.invalid", "WSS"), ParseError::Header("Via")),
            (plain.replace("To: <", "To: \"Mr. J. User <"), ParseError::Header("To")),
            (plain.replace("From: <sip:a@h>", "From: <sip:a@h"), ParseError::Header("From")),
            (plain.replace("Call-ID: c", "Call-ID: c d"), ParseError::Header("Call-ID")),
            // 3.1.2.4 (scalar02), 3.1.2.17 and 18 (mismatch).
            (plain.replace("CSeq: 1 ", "CSeq: 36893488147419103232 "), ParseError::Header("CSeq")),
            (plain.replace("CSeq: 1 ", "CSeq: 1x "), ParseError::Header("CSeq")),
            (plain.replace("1 INVITE", "1 OPTIONS"), ParseError::CSeqMethod),
            (plain.replace("1 INVITE", "1 invite"), ParseError::CSeqMethod),
            // 3.3.8 (multi01).
            (invite("From: <sip:x@h>\r\n", ""), ParseError::Header("From")),
            (invite("t: <sip:x@h>\r\n", ""), ParseError::Header("To")),
            (invite("i: c\r\n", ""), ParseError::Header("Call-ID")),
            (invite("cseq: 1 INVITE\r\n", ""), ParseError::Header("CSeq")),
            // 3.1.2.2 (clerr), 3.1.2.3 (ncl).
            (invite("Content-Length: 5\r\n", "1234"), ParseError::ContentLength),
            (invite("Content-Length: -1\r\n", "1234"), ParseError::ContentLength),
            (invite("Content-Length: +4\r\n", "1234"), ParseError::ContentLength),
            (invite("Content-Length: four\r\n", "1234"), ParseError::ContentLength),
            (invite("l:\r\n", "1234"), ParseError::ContentLength),
            (invite("l: 99999999999999999999999\r\n", "1234"), ParseError::ContentLength),
            (invite("l: 4\r\nContent-Length: 3\r\n", "1234"), ParseError::ContentLength),
            // 3.1.2.7 (ltgtruri), 3.1.2.8 (lwsruri).
            (plain.replacen("sip:b@h", "<sip:b@h>", 1), ParseError::StartLine),
            (plain.replacen("sip:b@h", "sip:b@h; x", 1), ParseError::StartLine),
            (plain.replacen("sip:b@h", "sip:b\t@h", 1), ParseError::StartLine),
            (plain.replacen(" sip:b@h", "", 1), ParseError::StartLine),
        ] {
            let rejected = rejected(&text);
            assert_eq!(rejected.error, error, "{text}");
            let reply = rejected.reply.unwrap_or_else(|| panic!("no reply: {text}"));
            assert_eq!(reply.status, 400, "{text}");
            assert!(reply.reason.starts_with("Bad Request: "), "{}", reply.reason);
            assert!(reply.headers.get("Via").is_some() && reply.headers.get("CSeq").is_some());
        }
        // RFC 4475, 3.1.2.16 (badvers).
        let rejected = rejected(plain.replacen("SIP/2.0", "SIP/7.0", 1));
        assert_eq!((rejected.error, status(&rejected)), (ParseError::Version, Some(505)));
    }

    #[test]
    fn broken_messages_of_which_something_is_missing() {
        let plain = invite("", "");
        for name in CORE {
            let text: String = plain.split_inclusive('\n').filter(|line| !line.starts_with(name)).collect();
            let rejected = rejected(&text);
            let reply = (!["Via", "CSeq"].contains(&name)).then_some(400);
            assert_eq!((rejected.error, status(&rejected)), (ParseError::Missing(name), reply));
        }
        // An ACK is never answered (RFC 3261, section 17.2.1).
        let ack = rejected(invite("l: 9\r\n", "").replace("INVITE", "ACK"));
        assert_eq!((ack.error, ack.reply), (ParseError::ContentLength, None));
        let response =
            rejected(invite("l: 9\r\n", "").replacen("INVITE sip:b@h SIP/2.0", "SIP/2.0 200 OK", 1));
        assert_eq!((response.error, response.reply), (ParseError::ContentLength, None));
        let http = rejected(plain.replacen("SIP/2.0", "HTTP/1.1", 1));
        assert_eq!((http.error, http.reply), (ParseError::StartLine, None));
    }

    /// `from`, the only such text, with these bytes in its place.
    fn with_bytes(text: &str, from: &str, bytes: &[u8]) -> Vec<u8> {
        let (before, after) = text.split_once(from).unwrap();
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    }

    #[test]
    fn a_letter_that_is_not_utf_8_loses_no_message() {
        let named = invite("Subject: x\r\nContent-Length: 2\r\n", "\u{e5}")
            .replace("From: <", "From: \"J\u{f6}rg ?\" <");
        let message = request(with_bytes(&named, "?", b"M\xfcller"));
        assert_eq!(message.headers.from().unwrap().display_name.as_deref(), Some("J\u{f6}rg M\u{fc}ller"));
        assert_eq!(
            (message.headers.get("Subject"), message.body.as_slice()),
            (Some("x"), "\u{e5}".as_bytes())
        );
        let message = request(with_bytes(&named, "?", b"\x80\xff"));
        assert_eq!(message.headers.from().unwrap().display_name.as_deref(), Some("J\u{f6}rg \u{fffd}\u{ff}"));
        // Where it matters, it is wrong as it ever was.
        let rejected = rejected(with_bytes(&named, "1 INVITE", b"\xff INVITE"));
        assert_eq!((rejected.error, status(&rejected)), (ParseError::Header("CSeq"), Some(400)));
    }

    #[test]
    fn content_length() {
        assert_eq!(request(invite("", "1234")).body, b"1234");
        assert_eq!(request(invite("Content-Length: 4\r\n", "1234")).body, b"1234");
        assert_eq!(request(invite("Content-Length: 3\r\n", "1234")).body, b"123");
        assert_eq!(request(invite("Content-Length: 0\r\n", "1234")).body, b"");
        assert_eq!(request(invite("l: 0004 \r\nContent-Length: 4\r\n", "1234")).body, b"1234");
        // Bytes, not characters.
        assert_eq!(request(invite("l: 2\r\n", "\u{e5}\u{e5}")).body, "\u{e5}".as_bytes());
    }

    #[test]
    fn cap_at_64_kib() {
        let sized = |size: usize| {
            let head = invite("Content-Type: text/plain\r\n", "");
            let body = "x".repeat(size - head.len());
            head + &body
        };
        for size in [MAX_MESSAGE - 1, MAX_MESSAGE] {
            assert_eq!(request(sized(size)).to_text().map(|_| ()).is_ok(), size < MAX_MESSAGE - 30);
        }
        let over = rejected(sized(MAX_MESSAGE + 1));
        assert_eq!((over.error, status(&over)), (ParseError::TooLong, Some(513)));
        // The cap cuts through a header, which is then as good as not there.
        let long = "y".repeat(MAX_MESSAGE);
        let head = rejected(invite(&format!("X: {long}\r\n"), ""));
        assert_eq!((head.error, status(&head)), (ParseError::TooLong, Some(513)));
        for cut in [format!("To: <sip:b@h>;x={long}"), format!("To: <sip:b@h>\r\n ;x={long}")] {
            let head = rejected(invite("", "").replace("To: <sip:b@h>", &cut));
            assert_eq!((head.error, status(&head)), (ParseError::TooLong, None));
        }
        assert_eq!(rejected(vec![0xff; 1 << 20]).error, ParseError::TooLong);
    }

    #[test]
    fn nothing_unprintable_survives() {
        let message = request(invite("Subject: a\0b\rc\r\n", ""));
        assert_eq!(message.headers.get("Subject"), Some("a b c"));
        assert!(message.to_text().is_ok());
    }

    #[test]
    fn first_line_for_the_log() {
        assert_eq!(rejected("HELLO sip:a:secret@h\u{1}\u{7f}").first_line, "HELLO sip:a:<redacted>@h");
        let long = rejected(format!("X sip:{}:secret@h", "a".repeat(70)));
        assert_eq!(long.first_line.chars().count(), 80);
        assert!(!long.first_line.contains("secr"));
        assert_eq!(rejected("Authorization: hush").first_line, "Authorization: <redacted>");
    }

    /// A random message of what can be said in SIP.
    fn random_message(entropy: &mut SeededEntropy) -> Message {
        fn pick<'a>(entropy: &mut SeededEntropy, from: &[&'a str]) -> &'a str {
            from[usize::try_from(below(entropy, from.len() as u64)).unwrap()]
        }
        let methods = ["INVITE", "BYE", "FOO", "REGISTER", "NOTIFY"];
        let method = Method::from_token(pick(entropy, &methods));
        let uris = ["sip:b@h", "sips:b@[2001:db8::1]:5061;transport=ws", "tel:+46", "sip:h?x=y"];
        let names = ["", "\"A, \\\" <x>\" ", "\u{c5}sa ", "\"\" "];
        let mut headers = Headers::default();
        for _ in 0..=below(entropy, 3) {
            headers.push(
                "Via",
                pick(
                    entropy,
                    &["SIP/2.0/WSS a.invalid;branch=z9hG4bK1", "SIP/2.0/UDP [::1]:5060;rport;x=\"a,b\""],
                ),
            );
        }
        for name in ["From", "To"] {
            let tag = pick(entropy, &["", ";tag=1", ";tag=\"2\""]);
            let value = format!("{}<{}>{tag}", pick(entropy, &names), pick(entropy, &uris));
            headers.push(name, value);
        }
        headers.push("Call-ID", pick(entropy, &["c", "c@[::1]", "\u{e5}"]));
        headers.push("CSeq", format!("{} {method}", below(entropy, 1 << 31)));
        for _ in 0..below(entropy, 6) {
            let name =
                pick(entropy, &["X-A", "Contact", "Supported", "Record-Route", "Subject", "x-a", "Server"]);
            headers.push(
                name,
                pick(entropy, &["", "a", "<sip:x@h>, <sip:y@h>", "a;b=\"c,d\"", ": : \u{1f600}"]),
            );
        }
        let body = pick(entropy, &["", "v=0\r\n", "\r\n\r\nINVITE x\r\n", "\u{1f600}"]).as_bytes().to_vec();
        headers.push("Content-Length", body.len().to_string());
        if below(entropy, 2) == 0 {
            Message::Request(Request { method, uri: pick(entropy, &uris).into(), headers, body })
        } else {
            let status = 100 + u16::try_from(below(entropy, 600)).unwrap();
            Message::Response(Response {
                status,
                reason: pick(entropy, &["", "OK", "Nej \u{e5}"]).into(),
                headers,
                body,
            })
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let mut entropy = SeededEntropy::new(1);
        for _ in 0..2_000 {
            let message = random_message(&mut entropy);
            let text = message.to_text().unwrap();
            assert_eq!(parse(text.as_bytes()), Ok(Frame::Message(message)), "{text}");
        }
    }

    /// Everything that reads a peer's bytes, on one input.
    fn read_everything(bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        assert!(redact(&text).chars().count() <= text.len() * 12 + 12);
        let _ = (sdp::parse(&text), Uri::parse(&text), NameAddr::parse_list(&text), Via::parse_list(&text));
        let _ = (
            header::Reason::parse_list(&text),
            digest::challenges([&*text].into_iter()).count(),
            parse_u32(&text),
        );
        let _ = (digest::Authorization::parse(&text), header::Params::parse(&text).to_string());
        let message = match parse(bytes) {
            Ok(Frame::Message(message)) => message,
            Ok(_) => return,
            Err(rejected) => {
                if let Some(mut reply) = rejected.reply {
                    reply.set_to_tag("t");
                    parse(reply.to_text().unwrap().as_bytes()).ok();
                }
                return;
            }
        };
        let headers = message.headers();
        assert!(headers.from().is_some() && headers.to().is_some() && headers.cseq().is_some());
        assert!(headers.top_via().is_some() && headers.call_id().is_some());
        for (_, value) in headers.iter() {
            let _ = (
                NameAddr::parse_list(value),
                digest::challenges([value].into_iter()).count(),
                parse_u32(value),
            );
            if let Ok(address) = NameAddr::parse(value) {
                if let Ok(uri) = Uri::parse(&address.uri) {
                    // What is not ASCII is printed escaped.
                    let again = Uri::parse(&uri.to_string());
                    assert!(again.as_ref() == Ok(&uri) || !value.is_ascii(), "{value}");
                    assert_eq!(again.map(|uri| uri.to_string()), Ok(uri.to_string()), "{value}");
                }
                assert!(NameAddr::parse(&address.to_string()).is_ok(), "{value}");
            }
        }
        // What was read can be answered and passed on, and is then read as the same.
        if let Message::Request(request) = &message {
            let mut answer = request.response(180, None);
            answer.set_to_tag("t");
            assert!(parse(answer.to_text().unwrap().as_bytes()).is_ok());
            let bare = request.response(200, None).to_text().unwrap();
            assert_eq!(request.least_response(), bare.len(), "{bare}");
        }
        if let Ok(text) = message.to_text() {
            let Ok(Frame::Message(again)) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(again.to_text().as_ref(), Ok(&text));
        }
    }

    /// What is counted for the 513 is what would be printed.
    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn the_least_response_to_the_torture_messages_is_counted() {
        let mut counted = 0;
        for folder in ["rfc4475", "rfc5118", "servers"] {
            let folder = format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
            for file in std::fs::read_dir(folder).unwrap() {
                let bytes = std::fs::read(file.unwrap().path()).unwrap();
                if let Ok(Frame::Message(Message::Request(request))) = parse(&bytes) {
                    let bare = request.response(200, None).to_text().unwrap();
                    assert_eq!(request.least_response(), bare.len(), "{bare}");
                    counted += 1;
                }
            }
        }
        assert!(counted > 20, "{counted}");
    }

    #[test]
    fn a_response_that_is_longer_than_a_message_may_be_is_counted_too() {
        let mut text = b"MESSAGE sip:b@h SIP/2.0\r\n".to_vec();
        for _ in 0..9 {
            text.extend_from_slice(b"Via: SIP/2.0/UDP h;branch=z9hG4bK1;x=");
            // One byte each here, and three as the UTF-8 that is sent back.
            text.extend_from_slice(&[0x80; 2_600]);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("{CORE_LINES}CSeq: 1 MESSAGE\r\n\r\n").as_bytes());
        let request = request(text);
        assert_eq!(request.response(200, None).to_text(), Err(PrintError::TooLong));
        assert!(request.least_response() > MAX_MESSAGE, "{}", request.least_response());
    }

    #[test]
    fn mutations_never_panic() {
        let mut entropy = SeededEntropy::new(2);
        let pieces: [&[u8]; 18] = [
            b"\"",
            b"\\",
            b"<",
            b">",
            b",",
            b";",
            b"=",
            b":",
            b"@",
            b"\r\n",
            b"\n",
            b"\r\n ",
            b"\0",
            b"\xff",
            b"[",
            b"%",
            b"\xc3\xa5",
            b"SIP/2.0 ",
        ];
        let index =
            |entropy: &mut SeededEntropy, len: usize| usize::try_from(below(entropy, len as u64)).unwrap();
        let seeds = [
            invite("Contact: \"A, \\\"B\\\"\" <sip:a:p@[::1]:5060;x=y?z=w>;q=1;+sip.instance=\"<urn:x>\", sip:b@h\r\nl: 3\r\n", "v=0"),
            invite("Proxy-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth\", algorithm=SHA-256, Basic realm=x\r\n", "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 9 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=sendonly\r\n"),
            invite("Authorization: Digest username=\"a\", realm=\"b\", nonce=\"c\", uri=\"d\", response=\"e\"\r\nReason: SIP;cause=200;text=\"x\"\r\n", "")
                .replacen("INVITE sip:b@h SIP/2.0", "SIP/2.0 200 OK", 1),
        ];
        let mut accepted = 0;
        for round in 0..6_000 {
            let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
            for _ in 0..=index(&mut entropy, 4) {
                let at = index(&mut entropy, bytes.len());
                match below(&mut entropy, 5) {
                    0 => bytes.truncate(at + 1),
                    1 => drop(bytes.drain(at..(at + 1 + index(&mut entropy, 20)).min(bytes.len()))),
                    2 => bytes[at] = u8::try_from(below(&mut entropy, 256)).unwrap(),
                    3 => {
                        let piece = pieces[index(&mut entropy, pieces.len())];
                        bytes.splice(at..at, piece.iter().copied()).for_each(drop);
                    }
                    _ => {
                        let end = (at + index(&mut entropy, 40)).min(bytes.len());
                        let copy = bytes[at..end].to_vec();
                        let to = index(&mut entropy, bytes.len());
                        bytes.splice(to..to, copy).for_each(drop);
                    }
                }
                if bytes.is_empty() {
                    bytes.push(b'\n');
                }
            }
            accepted += usize::from(matches!(parse(&bytes), Ok(Frame::Message(_))));
            read_everything(&bytes);
        }
        // Else the sweep would only test the rejections.
        assert!((1_000..6_000).contains(&accepted), "{accepted}");
    }
}
