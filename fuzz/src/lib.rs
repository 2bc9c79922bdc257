//! What the fuzz targets do: one function each, for any bytes. What must hold is asserted; everything else is that
//! nothing panics and nothing takes long.

mod proxy;

#[path = "../../tests/sim/bench.rs"]
mod bench;
#[path = "../../tests/sim/sequence.rs"]
mod sequence;

use wasm_softphone::entropy::SeededEntropy;
use wasm_softphone::phone::{Credentials, Secret};
use wasm_softphone::sip::auth::{Attempt, Authenticator, Circumstances, Scope};
use wasm_softphone::sip::dialog::Dialog;
use wasm_softphone::sip::digest;
use wasm_softphone::sip::header::{CSeq, NameAddr, Params, Reason, Via, parse_u32, split_list};
use wasm_softphone::sip::message::{Message, Method, Request, Response, check_extra_header, redact};
use wasm_softphone::sip::sdp;
use wasm_softphone::sip::transaction::Client;
use wasm_softphone::sip::uri::{Uri, escape_user};
use wasm_softphone::sip::wire::{self, Frame, MAX_HEADER, MAX_HEADERS, MAX_MESSAGE};
use wasm_softphone::time::Instant;

pub use proxy::proxy;
pub use sequence::run as phone;

/// One WebSocket message.
pub fn wire(data: &[u8]) {
    match wire::parse(data) {
        Ok(Frame::Message(message)) => {
            let headers = message.headers();
            assert!(headers.from().is_some() && headers.to().is_some() && headers.cseq().is_some());
            assert!(headers.top_via().is_some() && headers.call_id().is_some());
            assert!(headers.iter().count() <= MAX_HEADERS);
            assert!(headers.iter().all(|(_, value)| value.len() <= MAX_HEADER));
            // What was read is read again from what is printed.
            if let Ok(text) = message.to_text() {
                assert!(text.len() <= MAX_MESSAGE);
                let Ok(Frame::Message(again)) = wire::parse(text.as_bytes()) else { panic!("{text}") };
                assert_eq!(again.to_text().as_ref(), Ok(&text));
            }
        }
        Ok(_) => assert!(data.iter().all(|byte| matches!(byte, b'\r' | b'\n'))),
        Err(rejected) => {
            assert!(rejected.first_line.chars().count() <= 80);
            if let Some(mut reply) = rejected.reply {
                reply.set_to_tag("t");
                assert!(matches!(reply.status, 400 | 505 | 513));
                let text = reply.to_text();
                assert!(text.is_err() || text.is_ok_and(|text| text.len() <= MAX_MESSAGE));
            }
        }
    }
}

/// Everything that is made of a message.
pub fn message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Nothing is shown that was hidden before.
    let hidden = redact(&text);
    assert_eq!(redact(&hidden), hidden);
    let Ok(Frame::Message(message)) = wire::parse(data) else { return };
    let headers = message.headers();
    for (name, value) in headers.iter() {
        assert_eq!(headers.get_all(name).filter(|found| *found == value).count(), {
            headers.iter().filter(|(other, found)| other.eq_ignore_ascii_case(name) && *found == value).count()
        });
        let _ = (check_extra_header(name, value), headers.number(name), headers.values(name));
        let _ = (headers.contains_token(name, "timer"), headers.content_type());
    }
    let dialog = match &message {
        Message::Request(request) => {
            for status in [100, 180, 200, 486, 699] {
                let mut response = request.response(status, None);
                response.set_to_tag("t");
                if let Ok(text) = response.to_text() {
                    // As long as it is short enough, it is a response to this request.
                    let Ok(Frame::Message(Message::Response(again))) = wire::parse(text.as_bytes()) else {
                        panic!("{text}")
                    };
                    assert_eq!(again.headers.top_via(), request.headers.top_via());
                    assert_eq!(again.headers.cseq(), request.headers.cseq());
                }
            }
            let client = Client::new(request.clone(), Instant::from_millis(1));
            let _ = client.cancel().to_text();
            Dialog::from_request(request, "local")
        }
        Message::Response(response) => {
            let mut request = Request::new(Method::Invite, "sip:b@h");
            for name in ["Via", "From", "Call-ID", "CSeq"] {
                request.headers.push(name, response.headers.get(name).unwrap());
            }
            request.headers.push("To", "<sip:b@h>");
            let mut client = Client::new(request.clone(), Instant::from_millis(1));
            let _ = client.on_response(response, Instant::from_millis(2));
            let _ = client.on_timeout(Instant::from_millis(64_002));
            Dialog::from_response(&request, response)
        }
    };
    if let Some(mut dialog) = dialog {
        dialog.refresh_target(headers);
        for method in [Method::Bye, Method::Info] {
            let mut request = dialog.request(method, None);
            request.headers.push_front("Via", "SIP/2.0/WSS h;branch=z9hG4bK1");
            if let Ok(text) = request.to_text() {
                assert!(wire::parse(text.as_bytes()).is_ok(), "{text}");
            }
        }
        for (method, seq) in [(Method::Info, 1), (Method::Options, u32::MAX), (Method::Bye, 0)] {
            let _ = dialog.accept_seq(&method, seq);
        }
    }
}

/// Every reader of a header's value; what it has read it reads again from what it prints.
pub fn header(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if text.len() > MAX_HEADER {
        return;
    }
    // `*` stands alone, whatever came with it.
    if let Some(address) = NameAddr::parse(text).ok().filter(|address| address.uri != "*") {
        let printed = address.to_string();
        let again = NameAddr::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again.uri, address.uri);
        // Control characters are not printed.
        if !address.tag().unwrap_or_default().chars().any(char::is_control) {
            assert_eq!(again.tag(), address.tag(), "{printed}");
        }
    }
    if let Ok(list) = NameAddr::parse_list(text) {
        assert!(list.len() <= text.len());
    }
    if let Ok(via) = Via::parse(text) {
        let again = Via::parse(&via.to_string()).unwrap_or_else(|error| panic!("{via}: {error}"));
        assert_eq!((again.transport.as_str(), again.branch()), (via.transport.as_str(), via.branch()));
    }
    let _ = Via::parse_list(text);
    if let Ok(cseq) = CSeq::parse(text) {
        assert_eq!(CSeq::parse(&cseq.to_string()), Ok(cseq));
    }
    if let Ok(uri) = Uri::parse(text) {
        let printed = uri.to_string();
        let again = Uri::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        // What a URI may not hold is escaped when it is printed, and stays so.
        assert_eq!(again.to_string(), printed);
        assert_eq!((&again.scheme, &again.host, again.port), (&uri.scheme, &uri.host, uri.port), "{printed}");
        assert_eq!(again.user_decoded(), uri.user_decoded(), "{printed}");
        assert!(Uri::parse(&uri.aor()).is_ok() && Uri::parse(&uri.domain()).is_ok(), "{printed}");
        let user = uri.user_decoded().filter(|user| !user.contains('\u{fffd}'));
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            let same = Uri::parse(&format!("sip:{}@h", escape_user(&user))).unwrap();
            assert_eq!(same.user_decoded().as_ref(), Some(&user));
        }
    }
    let params = Params::parse(text);
    let again = Params::parse(&params.to_string());
    assert_eq!(again.iter().count(), params.iter().count(), "{params}");
    for (name, _) in params.iter() {
        let first = params.get(name);
        assert!(params.contains(name));
        // Control characters are not printed.
        if !first.unwrap_or_default().chars().any(char::is_control) {
            assert_eq!(again.get(name), first, "{params}");
        }
    }
    let items: Vec<&str> = split_list(text).collect();
    assert!(items.iter().all(|item| !item.is_empty() && *item == item.trim_ascii()));
    let _ = (Reason::parse_list(text), parse_u32(text));
}

/// Challenges, and what is answered to them.
pub fn digest(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if text.contains(['\r', '\n', '\0']) {
        return;
    }
    if let Some(authorization) = digest::Authorization::parse(text) {
        let _ = authorization.verify("alice", "secret", &Method::Register);
    }
    let mut entropy = SeededEntropy::new(1);
    let mut authenticator = Authenticator::new();
    let mut request = Request::new(Method::Register, "sip:example.com");
    for (name, value) in [
        ("Via", "SIP/2.0/WSS h;branch=z9hG4bK1"),
        ("From", "<sip:alice@example.com>;tag=a"),
        ("To", "<sip:alice@example.com>"),
        ("Call-ID", "c"),
        ("CSeq", "1 REGISTER"),
    ] {
        request.headers.push(name, value);
    }
    let mut attempt = Attempt::default();
    // Each line of the input is a header; three rounds with the same ones, the third of which must end it.
    for round in 0..6 {
        let (status, name) =
            if round % 2 == 0 { (401, "WWW-Authenticate") } else { (407, "Proxy-Authenticate") };
        let mut response: Response = request.response(status, None);
        for line in text.split('\u{1}') {
            response.headers.push(name, line);
        }
        let about = Circumstances { scope: Scope::Register, in_dialog: false, kept: &[], asks: false };
        let realms = authenticator.on_challenge(about, &response, &mut attempt);
        assert!(round < 4 || realms.is_empty(), "a request goes round and round");
        for secret in [
            Secret::Password("secret".into()),
            Secret::Ha1("0123456789abcdef0123456789abcdef".into()),
            Secret::Bearer("token".into()),
        ] {
            let credentials = Credentials { username: None, secret, realm: None };
            let mut answered = request.clone();
            authenticator.authorize(
                Scope::Register,
                &mut answered,
                "alice",
                core::slice::from_ref(&credentials),
                true,
                &mut entropy,
            );
            let printed = answered.to_text().unwrap_or_default();
            assert!(!printed.contains("secret"), "{printed}");
            if !printed.is_empty() && printed.len() < MAX_HEADER {
                let read = wire::parse(printed.as_bytes());
                assert_eq!(read, Ok(Frame::Message(Message::Request(with_length(answered)))), "{printed}");
            }
        }
    }
}

fn with_length(mut request: Request) -> Request {
    request.headers.push("Content-Length", "0");
    request
}

/// Session descriptions.
pub fn sdp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(info) = sdp::parse(&text) {
        assert!(info.has_audio || info.audio_port == 0);
        assert_eq!(info.direction.reversed().reversed(), info.direction);
    }
    assert!(sdp::audio_codecs(&text).len() <= text.len());
    // What is mended needs no mending, and each line has its place.
    for answers in [false, true] {
        if let Ok(judged) = sdp::judge(&text, answers, &sdp::Agreed::default()) {
            let again = sdp::judge(&judged.sdp, answers, &sdp::Agreed::default()).unwrap();
            assert_eq!(again.sdp, judged.sdp);
            let whole = sdp::with_lines(&judged.sdp, &judged.lines);
            let read = sdp::judge(&whole, answers, &sdp::Agreed::default()).unwrap();
            assert_eq!((read.sdp, read.lines.len()), (judged.sdp, judged.lines.len()));
        }
    }
}
