//! The torture tests of RFC 4475 and RFC 5118, each with what our parser makes of it and what the phone answers; where
//! the RFCs leave a choice or we take more than they want, with the reason.
//!
//! `tests/fixtures` has the messages byte for byte (`rfc4475` and `rfc5118` by the names that the RFCs give them). Three
//! messages of RFC 5118 (4.6, 4.8, 4.9) are printed there with a Content-Length that their bodies do not have; the
//! fixtures have the length of the body.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{Bench, Caller, Media, OFFER, config, line, send};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{CallState, ConnectionState, Event, Input, MediaState, Transmit};
use wasm_softphone::sip::message::Message;
use wasm_softphone::sip::wire::{self, Frame, ParseError};

/// What the parser says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reads {
    /// A request with this method.
    Request(&'static str),
    /// A response with this status.
    Response(u16),
    /// No message.
    Not(ParseError),
}
use ParseError::{CSeqMethod, ContentLength, Header, Missing, StartLine, Version};
use Reads::{Not, Request, Response};

struct Case {
    name: &'static str,
    bytes: &'static [u8],
    section: &'static str,
    reads: Reads,
    /// Status of the only answer.
    answer: Option<u16>,
    /// Of the answer, where it is not the one that the RFC names first.
    why: &'static str,
}

macro_rules! cases {
    ($($folder:literal $section:literal $name:literal $reads:expr, $answer:expr, $why:literal;)*) => {
        &[$(Case {
            name: $name,
            bytes: include_bytes!(concat!("../fixtures/", $folder, "/", $name, ".sip")),
            section: concat!($folder, " ", $section),
            reads: $reads,
            answer: $answer,
            why: $why,
        },)*]
    };
}

const ODD_METHOD: &str = "!interesting-Method0123456789_*+`.%indeed'~";

const CASES: &[Case] = cases! {
    "rfc4475" "3.1.1.1" "wsinv" Request("INVITE"), Some(481), "its To has a tag, and there is no such dialog";
    "rfc4475" "3.1.1.2" "intmeth" Request(ODD_METHOD), Some(501), "";
    "rfc4475" "3.1.1.3" "esc01" Request("INVITE"), Some(180), "";
    "rfc4475" "3.1.1.4" "escnull" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.1.1.5" "esc02" Request("RE%47IST%45R"), Some(501), "not REGISTER: % escapes nothing in a token";
    "rfc4475" "3.1.1.6" "lwsdisp" Request("OPTIONS"), Some(200), "";
    "rfc4475" "3.1.1.7" "longreq" Request("INVITE"), Some(180), "";
    "rfc4475" "3.1.1.8" "dblreq" Request("REGISTER"), Some(405),
        "one WebSocket message is one SIP message (RFC 7118, section 5.1): the INVITE behind it is not looked at";
    "rfc4475" "3.1.1.9" "semiuri" Request("OPTIONS"), Some(200), "";
    "rfc4475" "3.1.1.10" "transports" Request("OPTIONS"), Some(200), "";
    "rfc4475" "3.1.1.11" "mpart01" Request("MESSAGE"), Some(200), "";
    "rfc4475" "3.1.1.12" "unreason" Response(200), None, "of no transaction";
    "rfc4475" "3.1.1.13" "noreason" Response(100), None, "of no transaction";
    "rfc4475" "3.1.2.1" "badinv01" Not(Header("Via")), Some(400), "";
    "rfc4475" "3.1.2.2" "clerr" Not(ContentLength), Some(400), "";
    "rfc4475" "3.1.2.3" "ncl" Not(ContentLength), Some(400), "";
    "rfc4475" "3.1.2.4" "scalar02" Not(Header("CSeq")), Some(400), "";
    "rfc4475" "3.1.2.5" "scalarlg" Not(Header("CSeq")), None, "";
    "rfc4475" "3.1.2.6" "quotbal" Not(Header("To")), Some(400), "";
    "rfc4475" "3.1.2.7" "ltgtruri" Not(StartLine), Some(400), "";
    "rfc4475" "3.1.2.8" "lwsruri" Not(StartLine), Some(400), "";
    "rfc4475" "3.1.2.9" "lwsstart" Request("INVITE"), Some(180), "lenient: it cannot be meant otherwise";
    "rfc4475" "3.1.2.10" "trws" Request("OPTIONS"), Some(200), "lenient: it cannot be meant otherwise";
    "rfc4475" "3.1.2.11" "escruri" Request("INVITE"), Some(180), "lenient: the headers in the URI are not used";
    "rfc4475" "3.1.2.12" "baddate" Request("INVITE"), Some(180), "lenient: Date is not used";
    "rfc4475" "3.1.2.13" "regbadct" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.1.2.14" "badaspec" Request("OPTIONS"), Some(200), "lenient: it cannot be meant otherwise";
    "rfc4475" "3.1.2.15" "baddn" Request("OPTIONS"), Some(200), "lenient: From and To are no lists, a comma ends nothing";
    "rfc4475" "3.1.2.16" "badvers" Not(Version), Some(505), "";
    "rfc4475" "3.1.2.17" "mismatch01" Not(CSeqMethod), Some(400), "";
    "rfc4475" "3.1.2.18" "mismatch02" Not(CSeqMethod), Some(400), "";
    "rfc4475" "3.1.2.19" "bigcode" Not(StartLine), None, "";
    "rfc4475" "3.2.1" "badbranch" Request("OPTIONS"), Some(200), "found again by the key of RFC 2543";
    "rfc4475" "3.3.1" "insuf" Not(Missing("From")), Some(400), "";
    "rfc4475" "3.3.2" "unkscm" Request("OPTIONS"), Some(416), "";
    "rfc4475" "3.3.3" "novelsc" Request("OPTIONS"), Some(416), "";
    "rfc4475" "3.3.4" "unksm2" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.3.5" "bext01" Request("OPTIONS"), Some(420), "";
    "rfc4475" "3.3.6" "invut" Request("INVITE"), Some(415), "";
    "rfc4475" "3.3.7" "regaut01" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.3.8" "multi01" Not(Header("From")), Some(400), "";
    "rfc4475" "3.3.9" "mcl01" Not(ContentLength), Some(400), "";
    "rfc4475" "3.3.10" "bcast" Response(200), None, "";
    "rfc4475" "3.3.11" "zeromf" Request("OPTIONS"), Some(200), "";
    "rfc4475" "3.3.12" "cparam01" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.3.13" "cparam02" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.3.14" "regescrt" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc4475" "3.3.15" "sdp01" Request("INVITE"), Some(180),
        "lenient (406 is allowed): who sends INVITE takes SDP, whatever its Accept says (RFC 3261, section 13.2.1)";
    "rfc4475" "3.4.1" "inv2543" Request("INVITE"), Some(400),
        "read, but not taken: without a Contact (RFC 3261, section 8.1.1.8) the dialog has no target, and who speaks \
         SIP over WebSocket is younger than RFC 2543";
    "rfc5118" "4.1" "ipv6-good" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc5118" "4.2" "ipv6-bad" Request("REGISTER"), Some(405),
        "methods come first (RFC 3261, section 8.2.1); the same URI in a request that we take gets 400";
    "rfc5118" "4.3" "port-ambiguous" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc5118" "4.4" "port-unambiguous" Request("REGISTER"), Some(405), "a phone is no registrar";
    "rfc5118" "4.5" "via-received-param-with-delim" Request("BYE"), Some(481), "there is no such dialog";
    "rfc5118" "4.5" "via-received-param-no-delim" Request("OPTIONS"), Some(200), "";
    "rfc5118" "4.6" "ipv6-in-sdp" Request("INVITE"), Some(180), "";
    "rfc5118" "4.7" "mult-ip-in-header" Request("BYE"), Some(481), "there is no such dialog";
    "rfc5118" "4.8" "mult-ip-in-sdp" Request("INVITE"), Some(180), "";
    "rfc5118" "4.9" "ipv4-mapped-ipv6" Request("INVITE"), Some(180), "";
    "rfc5118" "4.10" "ipv6-bug-abnf-3-colons" Request("OPTIONS"), Some(200), "lenient, as section 4.10 wants it";
    "rfc5118" "4.10" "ipv6-correct-abnf-2-colons" Request("OPTIONS"), Some(200), "";
};

fn reads(bytes: &[u8]) -> Result<Message, ParseError> {
    match wire::parse(bytes) {
        Ok(Frame::Message(message)) => Ok(message),
        Ok(frame) => panic!("{frame:?}"),
        Err(rejected) => Err(rejected.error),
    }
}

/// What the phone sends when it gets this: as text, for not all of it can be read.
fn feed(bench: &mut Bench, bytes: &[u8]) -> Vec<String> {
    let socket = bench.socket.unwrap();
    bench.phone.handle_input(bench.now, Input::SocketData(socket, bytes.to_vec()));
    let mut sent = Vec::new();
    while let Some(transmit) = bench.phone.poll_transmit() {
        match transmit {
            Transmit::Send { text, .. } => sent.push(text),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.phone.poll_job(), None);
    while let Some(event) = bench.phone.poll_event() {
        bench.events.push(event);
    }
    sent
}

/// The same with the description of a browser: those of the RFCs are of plain RTP, which no browser takes.
fn of_a_browser(bytes: &[u8]) -> Vec<u8> {
    let text = str::from_utf8(bytes).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines.retain(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        !name.eq_ignore_ascii_case("Content-Length") && !name.eq_ignore_ascii_case("l")
    });
    format!("{}\r\n\r\n{OFFER}", lines.join("\r\n")).into_bytes()
}

/// The lines of a message whose header has one of these names, white space squeezed.
fn lines_of(text: &str, names: &[&str]) -> Vec<String> {
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut lines = Vec::new();
    for line in unfolded.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name.trim())) {
            lines.push(value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

#[test]
fn each_message_is_read_and_answered_as_the_table_says() {
    for case in CASES {
        let label = format!("{} ({})", case.name, case.section);
        match (case.reads, reads(case.bytes)) {
            (Request(method), Ok(Message::Request(request))) => {
                assert_eq!(request.method.as_str(), method, "{label}");
            }
            (Response(status), Ok(Message::Response(response))) => {
                assert_eq!(response.status, status, "{label}");
            }
            (Not(error), Err(found)) => assert_eq!(found, error, "{label}"),
            (expected, found) => panic!("{label}: {expected:?} expected, {found:?} found"),
        }

        let mut bench = Bench::online();
        let described = matches!(case.reads, Request("INVITE")) && matches!(case.answer, Some(180 | 400));
        let sent = if described {
            feed(&mut bench, &of_a_browser(case.bytes))
        } else {
            feed(&mut bench, case.bytes)
        };
        let statuses: Vec<u16> = sent
            .iter()
            .map(|text| {
                text.strip_prefix("SIP/2.0 ").unwrap_or_else(|| panic!("{label}: {text}"))[..3]
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(statuses, case.answer.into_iter().collect::<Vec<_>>(), "{label}");
        let rings = bench.events.iter().any(|event| matches!(event, Event::Incoming(_)));
        assert_eq!(rings, case.answer == Some(180), "{label}");
        for text in &sent {
            // It finds its way back over every hop, and its transaction.
            let came = String::from_utf8_lossy(case.bytes);
            for names in [&["Call-ID", "i"][..], &["CSeq"]] {
                // The first, where there are several.
                let first: Vec<String> = lines_of(&came, names).into_iter().take(1).collect();
                assert_eq!(lines_of(text, names), first, "{label}: {text}");
            }
            let vias = |text: &str| {
                lines_of(text, &["Via", "v"])
                    .join(",")
                    .split(',')
                    .map(|via| via.trim().to_owned())
                    .collect::<Vec<_>>()
            };
            let came: Vec<_> = vias(&came).into_iter().filter(|via| !via.is_empty()).collect();
            assert_eq!(vias(text), came, "{label}: {text}");
            let status = &text[8..11];
            for (header, of) in [("Allow", "405 501"), ("Accept", "415"), ("Unsupported", "420")] {
                let named = !lines_of(text, &[header]).is_empty();
                assert!(named || !of.contains(status), "{label}: {header} {text}");
            }
        }

        // Nothing is the worse for it.
        assert_eq!(bench.phone.connection(), ConnectionState::Connected, "{label}");
        let options = Caller::new("after").request("OPTIONS", None);
        send(&mut bench, &options);
        bench.take_response(200);
        for info in bench.phone.calls() {
            bench.hangup(info.id);
        }
        bench.disconnect();
        bench.pass(wasm_softphone::time::Duration::from_secs(40));
        assert_eq!(bench.phone.poll_timeout(), None, "{label}");
    }
}

/// An answer that is not the RFC's first choice has a reason.
#[test]
fn the_table_is_complete() {
    assert_eq!(CASES.iter().filter(|case| case.section.starts_with("rfc4475")).count(), 49);
    assert_eq!(CASES.iter().filter(|case| case.section.starts_with("rfc5118")).count(), 12);
    for case in CASES {
        let invalid = ["rfc4475 3.1.2", "rfc4475 3.3.15", "rfc4475 3.4.1", "rfc5118 4.2"];
        let invalid = invalid.iter().any(|section| case.section.starts_with(section));
        let taken = matches!(case.reads, Request(_));
        assert!(!(invalid && taken && case.why.is_empty()), "{}", case.name);
    }
    #[cfg(not(target_arch = "wasm32"))]
    for folder in ["rfc4475", "rfc5118"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(CASES.iter().any(|case| case.name == name), "{name}");
        }
    }
}

/// What the strange parts mean.
#[test]
fn what_is_read_is_what_was_meant() {
    let of = |name: &str| {
        let case = CASES.iter().find(|case| case.name == name).unwrap();
        reads(case.bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let message = of("wsinv");
    let headers = message.headers();
    assert_eq!(headers.to_tag().as_deref(), Some("1918181833n"));
    assert_eq!(headers.from_tag().as_deref(), Some("98asjd8"));
    assert_eq!(headers.from().unwrap().display_name.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!(headers.number("Max-Forwards"), Some(68));
    assert_eq!(headers.seq(), Some(9));
    assert_eq!(headers.get("Subject"), Some(""));
    assert_eq!(headers.get("NewFangledHeader"), Some("newfangled value continued newfangled value"));
    assert_eq!(headers.get("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let branches: Vec<_> = headers
        .get_all("Via")
        .map(|via| wasm_softphone::sip::header::Via::parse(via).unwrap().branch().unwrap().to_owned())
        .collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);

    let message = of("intmeth");
    let headers = message.headers();
    assert_eq!(headers.call_id(), Some(r#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#));
    assert_eq!(headers.top_via().unwrap().branch(), Some("z9hG4bK-.!%66*_+`'~"));
    let from = headers.from().unwrap();
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(from.params.get("fromParam''~+*_!.-%"), Some("работающий"));
    assert_eq!(headers.get("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));

    let message = of("esc01");
    let Message::Request(request) = &message else { panic!() };
    let uri = wasm_softphone::sip::uri::Uri::parse(&request.uri).unwrap();
    assert_eq!((uri.scheme.as_str(), uri.host.as_str()), ("sip", "example.net"));
    assert_eq!(uri.user_decoded().as_deref(), Some("sips:user@example.com"));
    // C%6Fntact is another header.
    assert_eq!(of("esc02").headers().get_all("Contact").count(), 2);
    assert_eq!(of("longreq").headers().get_all("Via").count(), 34);
    let Message::Request(request) = of("dblreq") else { panic!() };
    assert!(request.body.is_empty());
    let Message::Request(request) = of("mpart01") else { panic!() };
    assert_eq!(request.body.len(), 553);
    let Message::Response(response) = of("unreason") else { panic!() };
    assert_eq!(response.reason, "= 2**3 * 5**2 но сто девяносто девять - простое");
    let Message::Response(response) = of("noreason") else { panic!() };
    assert_eq!(response.reason, "");
    let Message::Request(request) = of("port-ambiguous") else { panic!() };
    let uri = wasm_softphone::sip::uri::Uri::parse(&request.uri).unwrap();
    assert_eq!((uri.host.as_str(), uri.port), ("[2001:db8::10:5070]", None));
    let Message::Request(request) = of("port-unambiguous") else { panic!() };
    let uri = wasm_softphone::sip::uri::Uri::parse(&request.uri).unwrap();
    assert_eq!((uri.host.as_str(), uri.port), ("[2001:db8::10]", Some(5070)));
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let received = of(name).headers().top_via().unwrap().params.get("received").unwrap().to_owned();
        assert_eq!(received.trim_matches(['[', ']']), "2001:db8::9:255", "{name}");
    }
}

/// All of them, while a call is dialled, rings or is up: the call does not notice.
#[test]
fn a_call_in_progress_does_not_notice() {
    for state in 0..3 {
        let mut bench = Bench::new(config());
        bench.connect();
        let call = match state {
            0 => {
                bench.media = Media::Prompt;
                bench.dial("sip:bob@example.com")
            }
            1 => ringing(&mut bench).0,
            _ => {
                let (call, _) = answered(&mut bench);
                bench.input(Input::MediaState { call, state: MediaState::Connected });
                call
            }
        };
        let before = bench.phone.call(call).unwrap();
        for case in CASES {
            feed(&mut bench, case.bytes);
        }
        assert_eq!(bench.phone.call(call).unwrap(), before);
        assert!(bench.phone.calls().len() <= bench.config.max_calls);
        bench.hangup(call);
        assert_eq!(bench.phone.call(call).map_or(CallState::Ended, |info| info.state), CallState::Ended);
    }
}

/// Requests whose branch is nothing but the magic cookie are told apart all the same (RFC 4475, section 3.2.1).
#[test]
fn two_requests_with_a_bare_cookie_are_both_answered() {
    let case = CASES.iter().find(|case| case.name == "badbranch").unwrap();
    let text = String::from_utf8(case.bytes.to_vec()).unwrap();
    let mut bench = Bench::online();
    for call_id in ["one", "two"] {
        bench.receive(&text.replace("badbranch.sadonfo23i420jv0as0derf3j3n", call_id));
        let response = bench.take_response(200);
        assert_eq!(response.headers.call_id(), Some(call_id));
    }
}

/// RFC 3261, section 8.1.3.3; RFC 4475, section 3.3.10.
#[test]
fn a_response_with_a_second_via_is_not_for_us() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    let mut response = crate::bench::answer(&invite, 486, "b");
    response.headers.push("Via", "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23");
    bench.reply(&response);
    bench.nothing_sent();
    assert_eq!(bench.end_of(call), None);
    response.headers.set("Via", invite.headers.get("Via").unwrap());
    bench.reply(&response);
    assert!(bench.end_of(call).is_some());
}

/// RFC 5118, section 4.2: a Request-URI that is SIP by its scheme only.
#[test]
fn a_request_uri_that_cannot_be_read_gets_400() {
    let mut bench = Bench::online();
    let mut caller = Caller::new("bad");
    for method in ["INVITE", "OPTIONS", "MESSAGE"] {
        let mut request = caller.request(method, None);
        request.uri = "sip:2001:db8::10".into();
        send(&mut bench, &request);
        assert_eq!(
            bench.sent.drain(..).map(|message| line(&message)).collect::<Vec<_>>(),
            [format!("400 {method}")]
        );
    }
}
