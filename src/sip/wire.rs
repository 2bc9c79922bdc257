//! From bytes to messages (RFC 3261, section 7; RFC 7118).

use super::header::{CSeq, NameAddr, Via, is_token, split_list};
use super::message::{Headers, Message, Method, Request, Response, long_name, redact};

/// The longest message that is read or sent, in bytes.
pub const MAX_MESSAGE: usize = 65_536;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The head is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("Message Too Large")]
    TooLong,
    /// Neither a request line nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// Not SIP/2.0.
    #[error("Version Not Supported")]
    Version,
    /// A header that is malformed, or there twice where once is allowed; its name.
    #[error("bad {0} header")]
    Header(&'static str),
    /// A mandatory header is missing (RFC 3261, section 8.1.1); its name.
    #[error("missing {0} header")]
    Missing(&'static str),
    /// Content-Length is no number, or more than there is.
    #[error("bad Content-Length")]
    ContentLength,
    /// The method in CSeq is not that of the request (RFC 3261, section 8.1.1.5).
    #[error("CSeq is of another method")]
    CSeqMethod,
}

/// Bytes that are not a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What is wrong.
    pub error: ParseError,
    /// The answer, when it was a request other than ACK and its Via, From, To, Call-ID and CSeq are there; the
    /// tag of To is still to be added.
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
    let (head, body) = split_head(bytes.get(..MAX_MESSAGE).unwrap_or(bytes));
    let text = String::from_utf8_lossy(head);
    let (first_line, lines) = text.split_once('\n').unwrap_or((&text, ""));
    let first_line = first_line.trim();
    let mut headers = Headers::default();
    let read = read_headers(lines, &mut headers);

    let outcome = if too_long {
        Err(ParseError::TooLong)
    } else if matches!(text, std::borrow::Cow::Owned(_)) {
        Err(ParseError::Utf8)
    } else {
        read_start(first_line).and_then(|start| {
            read?;
            check(&start, &headers)?;
            Ok((start, body_of(&headers, body)?))
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
            first_line: {
                let line: String = first_line.chars().filter(|c| !c.is_control()).take(80).collect();
                redact(&line).into_owned()
            },
        }),
    }
}

enum Start<'a> {
    Request(Method, &'a str),
    Response(u16, &'a str),
}

/// Head and body; the empty line belongs to neither.
fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(at) = bytes.get(from..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
        let next = from + at + 1;
        let rest = bytes.get(next..).unwrap_or_default();
        if let Some(body) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            return (bytes.get(..next).unwrap_or_default(), body);
        }
        from = next;
    }
    (bytes, &[])
}

fn read_start(line: &str) -> Result<Start<'_>, ParseError> {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    if is_version(first) {
        check_version(first)?;
        // A bare `SIP/2.0 200`, without the space that the grammar wants behind it, exists in the field.
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = code.parse().ok().filter(|status| (100..=699).contains(status) && code.len() == 3);
        return Ok(Start::Response(status.ok_or(ParseError::StartLine)?, reason));
    }
    let (uri, version) = rest.rsplit_once(' ').ok_or(ParseError::StartLine)?;
    let uri = uri.trim();
    if !is_version(version) || !is_token(first) {
        return Err(ParseError::StartLine);
    }
    check_version(version)?;
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"');
    if uri.is_empty() || uri.contains(bad) {
        return Err(ParseError::StartLine);
    }
    Ok(Start::Request(Method::from_token(first), uri))
}

fn is_version(word: &str) -> bool {
    word.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"))
}

fn check_version(word: &str) -> Result<(), ParseError> {
    if word.get(4..) == Some("2.0") { Ok(()) } else { Err(ParseError::Version) }
}

/// Reads all header lines that can be read, and reports the first that cannot.
fn read_headers(text: &str, headers: &mut Headers) -> Result<(), ParseError> {
    let mut outcome = Ok(());
    let mut rest = text;
    while !rest.is_empty() {
        let (line, mut tail) = rest.split_once('\n').unwrap_or((rest, ""));
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = name.trim_end();
        let mut value = std::borrow::Cow::Borrowed(value.trim());
        // Unfold (RFC 3261, section 7.3.1).
        while tail.starts_with([' ', '\t']) {
            let (line, next) = tail.split_once('\n').unwrap_or((tail, ""));
            let value = value.to_mut();
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(line.trim());
            tail = next;
        }
        rest = tail;
        // A NUL or a CR within a line could never be sent back in a response.
        if value.contains(['\0', '\r']) {
            value = value.replace(['\0', '\r'], " ").into();
        }
        if !is_token(name) || !line.contains(':') {
            outcome = outcome.and(Err(ParseError::Header("unknown")));
        } else if long_name(name).eq_ignore_ascii_case("Via") {
            // One header for each Via, so that a response to them can be told hop by hop.
            for via in split_list(&value) {
                headers.push(name, via);
            }
        } else {
            headers.push(name, value);
        }
    }
    outcome
}

fn check(start: &Start<'_>, headers: &Headers) -> Result<(), ParseError> {
    for name in ["From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type"] {
        if headers.get_all(name).nth(1).is_some() {
            return Err(ParseError::Header(name));
        }
    }
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let value = headers.get(name).ok_or(ParseError::Missing(name))?;
        let good = match name {
            "Via" => Via::parse(value).is_ok(),
            "Call-ID" => !value.is_empty() && !value.contains(char::is_whitespace),
            "CSeq" => match CSeq::parse(value) {
                Ok(cseq) => match start {
                    Start::Request(method, _) if *method != cseq.method => {
                        return Err(ParseError::CSeqMethod);
                    }
                    _ => true,
                },
                Err(_) => false,
            },
            _ => NameAddr::parse(value).is_ok(),
        };
        if !good {
            return Err(ParseError::Header(name));
        }
    }
    Ok(())
}

/// The body that Content-Length tells of; all that is there without one, for a WebSocket message has an end
/// (RFC 7118, section 5.2).
fn body_of<'a>(headers: &Headers, body: &'a [u8]) -> Result<&'a [u8], ParseError> {
    let mut length = None;
    for value in headers.get_all("Content-Length") {
        let this = value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<usize>().ok()).flatten();
        if this.is_none() || (length.is_some() && length != this) {
            return Err(ParseError::ContentLength);
        }
        length = this;
    }
    body.get(..length.unwrap_or(body.len())).ok_or(ParseError::ContentLength)
}

fn reply(first_line: &str, headers: Headers, error: ParseError) -> Option<Response> {
    let (method, rest) = first_line.split_once(' ')?;
    if method == "ACK" || !is_token(method) || !rest.rsplit(' ').next().is_some_and(is_version) {
        return None;
    }
    // What could not be decoded cannot be echoed.
    let echo = |name: &str| headers.get(name).is_some_and(|v| !v.is_empty() && !v.contains('\u{fffd}'));
    if !["Via", "From", "To", "Call-ID", "CSeq"].into_iter().all(echo) {
        return None;
    }
    let request =
        Request { method: Method::from_token(method), uri: String::new(), headers, body: Vec::new() };
    Some(match error {
        ParseError::TooLong => request.response(513, None),
        ParseError::Version => request.response(505, None),
        other => {
            let mut reason = String::from("Bad Request: ");
            reason.push_str(&other.to_string());
            request.response(400, Some(&reason))
        }
    })
}
