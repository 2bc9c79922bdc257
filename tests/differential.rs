//! Our parser against one that nobody here wrote (`ezk-sip-types`): the same verdict on the same bytes, and the same
//! method, URI, branch, tags, Call-ID, CSeq and body. Inputs are the torture tests of RFC 4475 and RFC 5118, messages as
//! servers send them, and seeded mutations of both. A third judge, the grammar of RFC 3261 in regular expressions, says
//! who is right: where a message follows it, only the differences that are named in `ACCEPTED` as errors of the other
//! parser may be; where it does not, each difference has its reason there too.
#![cfg(not(target_arch = "wasm32"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use ezk_sip_types::header::typed::{CSeq, CallID, ContentLength, FromTo, Via};
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use ezk_sip_types::print::AppendCtx;
use ezk_sip_types::{Headers, Name};
use regex::Regex;
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::sip::message::Message;
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::sip::wire::{self, Frame};

/// What both parsers are asked for.
const FIELDS: [&str; 10] =
    ["start", "uri", "reason", "branch", "from tag", "to tag", "call-id", "cseq", "cseq method", "body"];
type Reading = Result<[String; 10], String>;

/// User, host and port of a URI in one form; one that cannot be read as it is.
fn read_uri(text: &str) -> String {
    let Ok(uri) = Uri::parse(text) else { return text.to_owned() };
    let address = uri.host.trim_matches(['[', ']']).parse::<Ipv6Addr>();
    let host = address.map_or(uri.host.clone(), |address| address.to_string());
    format!("{} {:?} {host} {:?}", uri.scheme, uri.user_decoded(), uri.port)
}

fn ours(bytes: &[u8]) -> Reading {
    let message = match wire::parse(bytes) {
        Ok(Frame::Message(message)) => message,
        Ok(_) => return Err("keep-alive".into()),
        Err(rejected) => return Err(rejected.error.to_string()),
    };
    let headers = message.headers();
    let cseq = headers.cseq().unwrap();
    let (start, uri, reason, body) = match &message {
        Message::Request(request) => {
            let uri = read_uri(&request.uri);
            (request.method.to_string(), uri, String::new(), &request.body)
        }
        Message::Response(response) => {
            let reason = response.reason.trim().to_owned();
            (response.status.to_string(), String::new(), reason, &response.body)
        }
    };
    Ok([
        start,
        uri,
        reason,
        headers.top_via().unwrap().branch().unwrap_or_default().to_owned(),
        headers.from_tag().unwrap_or_default(),
        headers.to_tag().unwrap_or_default(),
        headers.call_id().unwrap().to_owned(),
        cseq.seq.to_string(),
        cseq.method.to_string(),
        body.escape_ascii().to_string(),
    ])
}

/// As ezk's own transport reads a datagram.
fn theirs(bytes: &[u8]) -> Reading {
    let buffer = Bytes::copy_from_slice(bytes);
    let mut parser = PullParser::new(&buffer, 0);
    let mut start = None;
    let mut headers = Headers::new();
    for line in &mut parser {
        let line = line.map_err(|_| "incomplete")?;
        let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
        if start.is_none() {
            start = Some(MessageLine::parse(&buffer)(line).map_err(|_| "start line")?.1);
        } else {
            let (_, line) = Line::parse(&buffer, line).map_err(|_| "header line")?;
            headers.insert(line.name, line.value);
        }
    }
    let start = start.ok_or("no start line")?;
    let body = &bytes[parser.head_end()..];
    let body = match headers.try_get_named::<ContentLength>() {
        None => body,
        Some(Err(_)) => return Err("Content-Length".into()),
        Some(Ok(length)) => body.get(..length.0).ok_or("body too short")?,
    };
    let vias: Vec<Via> = headers.get_named().map_err(|_| "Via")?;
    let via = vias.first().ok_or("Via")?;
    let from: FromTo = headers.get(Name::FROM).map_err(|_| "From")?;
    let to: FromTo = headers.get(Name::TO).map_err(|_| "To")?;
    let call_id: CallID = headers.get_named().map_err(|_| "Call-ID")?;
    let cseq: CSeq = headers.get_named().map_err(|_| "CSeq")?;
    let (start, uri, reason) = match start {
        MessageLine::Request(line) => {
            // As printed: the type of its user part has no name outside.
            let uri = read_uri(&line.uri.default_print_ctx().to_string());
            (line.method.to_string(), uri, String::new())
        }
        MessageLine::Response(line) => {
            let reason = line.reason.map(|reason| reason.to_string()).unwrap_or_default();
            (line.code.into_u16().to_string(), String::new(), reason)
        }
    };
    let text = |text: Option<&bytesstr::BytesStr>| text.map(ToString::to_string).unwrap_or_default();
    Ok([
        start,
        uri,
        reason,
        text(via.params.get_val("branch")),
        text(from.tag.as_ref()),
        text(to.tag.as_ref()),
        call_id.0.to_string(),
        cseq.cseq.to_string(),
        cseq.method.to_string(),
        body.escape_ascii().to_string(),
    ])
}

/// The grammar of RFC 3261, section 25.1, as far as it goes into what is compared.
struct Grammar {
    request_line: Regex,
    status_line: Regex,
    sip_uri: Regex,
    header: Regex,
    via: Regex,
    address: Regex,
    call_id: Regex,
    cseq: Regex,
}

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| {
    let token = r"[A-Za-z0-9\-.!%*_+`'~]+";
    let word = r#"[A-Za-z0-9\-.!%*_+`'~()<>:\\"/\[\]?{}]+"#;
    let quoted = r#""(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*""#;
    let label = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
    let top_label = "[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
    let host =
        format!(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}|(?:{label}\.)*{top_label}\.?)");
    let host_port = format!(r"{host}(?:[ \t]*:[ \t]*[0-9]{{1,5}})?");
    let user = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+";
    let password = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*";
    let param = r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})+";
    let hname = r"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$]|%[0-9A-Fa-f]{2})";
    let bare = format!(r"sips?:(?:{user}(?::{password})?@)?{host}(?::[0-9]{{1,5}})?");
    let header = format!("{hname}+={hname}*");
    let uri = format!(r"{bare}(?:;{param}(?:={param})?)*(?:\?{header}(?:&{header})*)?");
    // Without brackets neither `;`, `?` nor `,` is of the URI (section 20.10).
    let unbracketed =
        format!(r"sips?:(?:[A-Za-z0-9\-_.!~*'()&=+$/%]+(?::{password})?@)?{host}(?::[0-9]{{1,5}})?");
    let params =
        format!(r"(?:[ \t]*;[ \t]*{token}(?:[ \t]*=[ \t]*(?:{token}|{host}|[0-9a-fA-F:]+|{quoted}))?)*");
    let name = format!(r"(?:(?:{token}[ \t]+)*(?:{token})?|{quoted})");
    let regex = |text: String| Regex::new(&format!("^(?:{text})$")).unwrap();
    Grammar {
        request_line: regex(format!(r"{token} (?P<uri>[^ \t]+) SIP/2\.0")),
        status_line: regex(r"SIP/2\.0 [1-6][0-9]{2} [^\x00-\x08\x0a-\x1f\x7f]*".to_owned()),
        sip_uri: regex(uri.clone()),
        header: regex(format!(r"{token}[ \t]*:.*")),
        via: regex(format!(r"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*{token}[ \t]+{host_port}{params}")),
        address: regex(format!(r"(?:{name}[ \t]*<{uri}>|{unbracketed}){params}")),
        call_id: regex(format!("{word}(?:@{word})?")),
        cseq: regex(format!(r"[0-9]{{1,10}}[ \t]+{token}")),
    }
});

/// A message, taken apart in the simplest way there is.
struct Parts {
    text: String,
    start: String,
    lines: Vec<String>,
    /// Every line of the head ends with CRLF, and an empty line ends it.
    framed: bool,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let head = text.split("\r\n\r\n").next().unwrap();
        let bare = head.replace("\r\n", "");
        let framed = text.contains("\r\n\r\n") && !bare.contains(['\r', '\n']);
        let unfolded = head.replace('\r', "").replace("\n ", " ").replace("\n\t", " ");
        let mut lines = unfolded.split('\n').map(str::to_owned);
        let start = lines.next().unwrap();
        let lines = lines.collect();
        Self { text, start, lines, framed }
    }

    fn values(&self, long: &str, short: &str) -> Vec<&str> {
        let named = self.lines.iter().filter_map(|line| line.split_once(':'));
        let is = |name: &str| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short);
        named.filter(|(name, _)| is(name.trim())).map(|(_, value)| value.trim()).collect()
    }

    /// Whether a header of this name goes over several lines.
    fn folded(&self, long: &str, short: &str) -> bool {
        Regex::new(&format!(r"(?im)^(?:{long}|{short})[ \t]*:.*\r?\n[ \t]")).unwrap().is_match(&self.text)
    }

    fn once(&self, long: &str, short: &str, grammar: &Regex) -> bool {
        matches!(self.values(long, short)[..], [value] if grammar.is_match(value))
    }

    /// Whether the grammar has this part of the message.
    fn strict(&self, part: &str) -> bool {
        let grammar = &*GRAMMAR;
        match part {
            "start" => {
                let uri = grammar.request_line.captures(&self.start);
                let sip = uri
                    .as_ref()
                    .is_some_and(|found| grammar.sip_uri.is_match(&found["uri"]) && hosts(&found["uri"]));
                sip || grammar.status_line.is_match(&self.start)
            }
            "Via" => {
                let vias = self.values("Via", "v");
                !vias.is_empty()
                    && vias
                        .iter()
                        .all(|line| line.split(',').all(|via| grammar.via.is_match(via.trim()) && hosts(via)))
            }
            "From" => {
                self.once("From", "f", &grammar.address)
                    && self.values("From", "f").iter().all(|value| hosts(value))
            }
            "To" => {
                self.once("To", "t", &grammar.address)
                    && self.values("To", "t").iter().all(|value| hosts(value))
            }
            "Call-ID" => self.once("Call-ID", "i", &grammar.call_id),
            "CSeq" => {
                let number =
                    |value: &str| value.split_whitespace().next().and_then(|seq| seq.parse::<u32>().ok());
                self.once("CSeq", "CSeq", &grammar.cseq)
                    && self
                        .values("CSeq", "CSeq")
                        .iter()
                        .all(|value| number(value).is_some_and(|seq| seq < 1 << 31))
            }
            "Content-Length" => {
                let lengths = self.values("Content-Length", "l");
                lengths.len() < 2 && lengths.iter().all(|length| length.bytes().all(|b| b.is_ascii_digit()))
            }
            "lines" => self.lines.iter().all(|line| grammar.header.is_match(line)),
            other => panic!("{other}"),
        }
    }
}

/// What stands in brackets is an address, and what follows a host a port.
fn hosts(text: &str) -> bool {
    let ports = Regex::new(r"[A-Za-z0-9.\]][ \t]*:[ \t]*([0-9]{5,})").unwrap();
    let ports = ports.captures_iter(text).all(|found| found[1].parse::<u16>().is_ok());
    ports && text.split('[').skip(1).all(|rest| rest.split(']').next().unwrap().parse::<Ipv6Addr>().is_ok())
}

/// One difference.
struct Difference<'a> {
    parts: &'a Parts,
    /// The field, or `verdict`.
    field: &'static str,
    /// The value, or why it was rejected (empty: it was not).
    ours: &'a str,
    theirs: &'a str,
}

impl Difference<'_> {
    fn loose(&self, part: &str) -> bool {
        !self.parts.strict(part)
    }
    fn we_reject(&self, why: &str) -> bool {
        self.field == "verdict" && self.theirs.is_empty() && self.ours == why
    }
    fn they_reject(&self, why: &str) -> bool {
        self.field == "verdict" && self.ours.is_empty() && self.theirs == why
    }
}

type Accepted = (&'static str, fn(&Difference<'_>) -> bool);

/// Why the two may differ. The first that fits counts; each must be needed by an input.
const ACCEPTED: &[Accepted] = &[
    // ---- theirs is wrong
    (
        "theirs undoes % escapes in parameters of headers, where there are none (RFC 4475, section 3.1.1.2)",
        |d| {
            let escaped = |long, short| d.parts.values(long, short).iter().any(|value| value.contains('%'));
            match d.field {
                "branch" => escaped("Via", "v"),
                "from tag" => escaped("From", "f"),
                "to tag" => escaped("To", "t"),
                _ => false,
            }
        },
    ),
    ("theirs tells names of parameters apart by their case (RFC 3261, section 7.3.1)", |d| {
        let other_case = |values: Vec<&str>, name: &str| {
            values.iter().any(|value| value.to_ascii_lowercase().contains(name) && !value.contains(name))
        };
        match d.field {
            "branch" => other_case(d.parts.values("Via", "v"), "branch"),
            "from tag" => other_case(d.parts.values("From", "f"), "tag"),
            "to tag" => other_case(d.parts.values("To", "t"), "tag"),
            _ => false,
        }
    }),
    ("theirs takes a method by its beginning and in any case (INVITEX is INVITE)", |d| {
        let (ours, theirs) = (d.ours.to_ascii_uppercase(), d.theirs.to_ascii_uppercase());
        matches!(d.field, "start" | "cseq method") && ours.starts_with(&theirs)
    }),
    ("theirs knows no quoted pair but \\\" (RFC 4475, section 3.1.1.1)", |d| {
        let quoted = |long, short| d.parts.values(long, short).iter().any(|value| value.contains('\\'));
        (d.they_reject("From") && quoted("From", "f")) || (d.they_reject("To") && quoted("To", "t"))
    }),
    (
        "theirs takes no fold within a name, and no space around the colon of a port (RFC 3261, section 25.1)",
        |d| {
            let spaced = |via: &&str| Regex::new(r"[ \t]:|:[ \t]").unwrap().is_match(via);
            (d.they_reject("From") && d.parts.folded("From", "f"))
                || (d.they_reject("To") && d.parts.folded("To", "t"))
                || ((d.field == "branch" || d.they_reject("Via"))
                    && d.parts.values("Via", "v").iter().any(spaced))
        },
    ),
    ("theirs wants escapes to be UTF-8", |d| {
        let other = |value: &&str| Regex::new("%[89a-fA-F]").unwrap().is_match(value);
        (d.they_reject("From") && d.parts.values("From", "f").iter().any(other))
            || (d.they_reject("To") && d.parts.values("To", "t").iter().any(other))
            || (d.they_reject("start line") && other(&d.parts.start.as_str()))
    }),
    ("theirs takes a start line that is folded", |d| {
        let folded = d.parts.text.split('\n').nth(1).is_some_and(|line| line.starts_with([' ', '\t']));
        folded && (d.we_reject("malformed header line") || d.we_reject("malformed start line"))
    }),
    (
        "theirs takes no `?` within a header of a URI, where it may be (RFC 3261, section 25.1: hnv-unreserved)",
        |d| d.they_reject("start line") && d.parts.start.matches('?').count() > 1,
    ),
    ("theirs reads no URI but sip and sips; ours answers them with 416, or does not care", |d| {
        let other = |value: &str| !value.contains("sip:") && !value.contains("sips:");
        let in_header = |long, short| d.parts.values(long, short).iter().any(|value| other(value));
        (d.they_reject("From") && in_header("From", "f"))
            || (d.they_reject("To") && in_header("To", "t"))
            || (d.they_reject("start line") && other(&d.parts.start))
    }),
    ("theirs does not skip empty lines before a message (RFC 3261, section 7.5)", |d| {
        d.they_reject("no start line") && d.parts.text.starts_with(['\r', '\n'])
    }),
    (
        "theirs does not compare the method of CSeq with that of the request (RFC 4475, section 3.1.2.17)",
        |d| d.we_reject("CSeq is of another method"),
    ),
    (
        "theirs takes the first of several headers that may be there once (RFC 4475, sections 3.3.8 and 3.3.9)",
        |d| {
            let several = |long, short| d.parts.values(long, short).len() > 1;
            (d.we_reject("bad From header") && several("From", "f"))
                || (d.we_reject("bad To header") && several("To", "t"))
                || (d.we_reject("bad Call-ID header") && several("Call-ID", "i"))
                || (d.we_reject("bad CSeq header") && several("CSeq", "CSeq"))
                || (d.we_reject("bad Content-Length") && several("Content-Length", "l"))
        },
    ),
    ("theirs ignores what follows a value that it has understood", |d| {
        (d.we_reject("bad From header") && d.loose("From"))
            || (d.we_reject("bad To header") && d.loose("To"))
            || (d.we_reject("bad CSeq header") && d.loose("CSeq"))
            || (d.we_reject("bad Content-Length") && d.loose("Content-Length"))
            || (d.we_reject("bad Via header") && d.loose("Via"))
            || (d.we_reject("malformed start line") && d.loose("start"))
            || (d.we_reject("Version Not Supported") && d.loose("start"))
    }),
    ("theirs takes a Call-ID with white space in it", |d| {
        d.we_reject("bad Call-ID header") && d.loose("Call-ID")
    }),
    ("theirs takes letters beyond ASCII, nothing and folds for a header name", |d| {
        d.we_reject("malformed header line") && (d.loose("lines") || d.parts.text.contains("\n :"))
    }),
    // ---- ours is lenient
    ("ours takes a message without an empty line at its end: a WebSocket message has an end", |d| {
        d.they_reject("incomplete") && !d.parts.framed
    }),
    ("ours takes lines that end with a lone LF among others, and a CR as white space", |d| {
        !d.parts.framed && matches!(d.field, "body" | "verdict")
    }),
    ("ours reads what is not UTF-8 as the Latin-1 of old telephones: no call is lost for a name", |d| {
        d.they_reject("not UTF-8")
    }),
    ("ours does not read the Request-URI before it matters", |d| {
        d.they_reject("start line") && d.loose("start")
    }),
    ("ours takes any host in a Via, which it does not use", |d| d.they_reject("Via") && d.loose("Via")),
    ("ours takes any URI in From and To, and spaces within <>: they are shown, not used", |d| {
        (d.they_reject("From") && d.loose("From")) || (d.they_reject("To") && d.loose("To"))
    }),
    ("ours reads a malformed parameter up to the next `;`, theirs gives up there", |d| match d.field {
        "branch" => d.loose("Via"),
        "from tag" => d.loose("From"),
        "to tag" => d.loose("To"),
        _ => false,
    }),
    ("theirs takes an empty user before an `@`, which ours does not read as a URI", |d| {
        d.field == "uri" && d.loose("start")
    }),
];

/// The differences on one input, each with the number of its reason.
fn compare(bytes: &[u8], used: &mut BTreeMap<usize, usize>) -> Result<bool, String> {
    let parts = Parts::of(bytes);
    let mut accept = |field: &'static str, ours: &str, theirs: &str| {
        let difference = Difference { parts: &parts, field, ours, theirs };
        match ACCEPTED.iter().position(|(_, fits)| fits(&difference)) {
            Some(reason) => {
                *used.entry(reason).or_default() += 1;
                Ok(())
            }
            None => {
                Err(format!("{field}: ours {ours:?}, theirs {theirs:?} of\n{}", parts.text.escape_debug()))
            }
        }
    };
    match (ours(bytes), theirs(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            for ((field, ours), theirs) in FIELDS.into_iter().zip(&ours).zip(&theirs) {
                if ours != theirs {
                    accept(field, ours, theirs)?;
                }
            }
            Ok(true)
        }
        (Err(_), Err(_)) => Ok(false),
        (ours, theirs) => {
            let why = |reading: Reading| reading.err().unwrap_or_default();
            accept("verdict", &why(ours), &why(theirs))?;
            Ok(false)
        }
    }
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found = Vec::new();
    for folder in ["rfc4475", "rfc5118", "servers"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn at(random: &mut SeededEntropy, len: usize) -> usize {
    usize::try_from(below(random, u64::try_from(len.max(1)).unwrap())).unwrap()
}

const PIECES: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\r\n ",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b"=",
    b":",
    b"@",
    b"?",
    b"%",
    b"%41",
    b"[",
    b"]",
    b";tag=x",
    b";x=\"y\"",
    b"0",
    b"4294967296",
    b"-",
    b"\xc3\xa5",
    b"\xff",
];

fn mutate(random: &mut SeededEntropy, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..=at(random, 2) {
        let position = at(random, bytes.len());
        match below(random, 6) {
            0 => {
                let mut byte = [0];
                random.fill(&mut byte);
                bytes[position] = b' ' + byte[0] % 95;
            }
            1 => drop(bytes.drain(position..(position + 1 + at(random, 6)).min(bytes.len()))),
            2 => {
                // A line somewhere else, or twice.
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let line = lines[at(random, lines.len())];
                lines.insert(at(random, lines.len()), line);
                bytes = lines.concat();
            }
            _ => {
                let piece = PIECES[at(random, PIECES.len())];
                bytes.splice(position..position, piece.iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

#[test]
fn two_parsers_agree_but_for_the_differences_that_have_a_reason() {
    let fixtures = fixtures();
    let mut used = BTreeMap::new();
    let mut failures = Vec::new();
    let fixture = |name: &str| {
        let (_, bytes) = fixtures.iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    };
    let (mut inputs, mut read) = (0_u32, 0_u32);
    let mut one = |name: &str, bytes: &[u8]| {
        inputs += 1;
        match compare(bytes, &mut used) {
            Ok(both) => read += u32::from(both),
            Err(difference) => failures.push(format!("{name}: {difference}")),
        }
    };
    for (name, bytes) in &fixtures {
        one(name, bytes);
    }
    // What mutations come upon once in some hundred thousand.
    let options = fixture("ipv6-correct-abnf-2-colons");
    one("empty user", options.replacen("sip:user@", "sip:@", 1).as_bytes());
    one("question mark", fixture("escruri").replacen("?Route=", "?Route=?", 1).as_bytes());
    let mut random = SeededEntropy::new(4475);
    let rounds = std::env::var("SIM_SEEDS").ok().and_then(|value| value.parse().ok()).unwrap_or(30_000);
    for _ in 0..rounds {
        let (name, bytes) = &fixtures[at(&mut random, fixtures.len())];
        one(name, &mutate(&mut random, bytes));
    }
    for (reason, count) in &used {
        println!("{count:6} {}", ACCEPTED[*reason].0);
    }
    println!("{read} of {inputs} read by both");
    assert!(
        failures.is_empty(),
        "{} differences:\n{}",
        failures.len(),
        failures[..failures.len().min(12)].join("\n\n")
    );
    // Most inputs get somewhere, and every reason is needed.
    assert!(read > inputs / 4, "{read} of {inputs}");
    let unused: Vec<_> = (0..ACCEPTED.len())
        .filter(|reason| !used.contains_key(reason))
        .map(|reason| ACCEPTED[reason].0)
        .collect();
    assert!(unused.is_empty() || rounds < 30_000, "{unused:#?}");
}

/// The judge itself: it takes what the RFC calls valid, but for what it is not asked for.
#[test]
fn the_grammar_takes_valid_messages_and_refuses_others() {
    let fixtures = fixtures();
    let parts = |name: &str| Parts::of(&fixtures.iter().find(|(found, _)| found == name).unwrap().1);
    for name in
        ["esc01", "lwsdisp", "longreq", "semiuri", "transports", "unreason", "noreason", "wsinv", "intmeth"]
    {
        let parts = parts(name);
        for part in ["start", "Via", "From", "To", "Call-ID", "CSeq", "Content-Length", "lines"] {
            assert!(parts.strict(part), "{name}: {part}");
        }
    }
    for (name, part) in [
        ("badinv01", "Via"),
        ("ncl", "Content-Length"),
        ("scalar02", "CSeq"),
        ("quotbal", "To"),
        ("ltgtruri", "start"),
        ("lwsruri", "start"),
        ("lwsstart", "start"),
        ("trws", "start"),
        ("badaspec", "To"),
        ("baddn", "From"),
        ("badvers", "start"),
        ("bigcode", "start"),
        ("multi01", "Call-ID"),
        ("mcl01", "Content-Length"),
        ("ipv6-bug-abnf-3-colons", "start"),
    ] {
        assert!(!parts(name).strict(part), "{name}: {part}");
    }
}
