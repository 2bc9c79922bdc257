//! Scenarios at which other phones are known to fail, those of them that no other file tests; `docs/rfc.md` names the
//! tests of all of them.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, answer, config, secs, send, with_sdp};
use crate::forking_proxy::Net;
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{CallState, Event, PhoneConfig, TransferTarget};

/// The server asks with SHA-256 or with `md5` in lower case, then its proxy with another realm: both are answered in
/// one exchange, with one Call-ID.
#[test]
fn a_401_and_then_a_407_with_other_algorithms() {
    for (first, second) in [("SHA-256", "md5"), ("md5", "sha-256"), ("MD5", "SHA-512-256")] {
        let mut bench = Bench::new(PhoneConfig { register: true, ..config() });
        bench.connect();
        let register = bench.take_request("REGISTER");
        let mut challenge = register.response(401, None);
        challenge.headers.push(
            "WWW-Authenticate",
            format!("Digest realm=\"user\", nonce=\"n1\", qop=\"auth\", algorithm={first}"),
        );
        bench.reply(&challenge);
        let again = bench.take_request("REGISTER");
        let answer = again.headers.get("Authorization").unwrap().to_ascii_lowercase();
        assert!(answer.contains(&format!("algorithm={}", first.to_ascii_lowercase())), "{answer}");
        let mut challenge = again.response(407, None);
        challenge.headers.push(
            "Proxy-Authenticate",
            format!("Digest realm=\"edge\", nonce=\"n2\", qop=\"auth\", algorithm={second}"),
        );
        bench.reply(&challenge);
        let last = bench.take_request("REGISTER");
        assert!(last.headers.get("Authorization").unwrap().contains("realm=\"user\""));
        let answer = last.headers.get("Proxy-Authorization").unwrap();
        let named = format!("algorithm={}", second.to_ascii_lowercase());
        assert!(answer.contains("realm=\"edge\""), "{answer}");
        assert!(answer.to_ascii_lowercase().contains(&named), "{answer}");
        assert_eq!(last.headers.call_id(), register.headers.call_id());
    }
}

/// A PRACK for a 1xx that was never sent reliably (RFC 3262, section 3): refused, and nothing changes.
#[test]
fn a_stray_prack_changes_nothing() {
    for up in [false, true] {
        let mut bench = Bench::online();
        let (call, mut caller) = if up {
            answered(&mut bench)
        } else {
            let (call, caller, _) = ringing(&mut bench);
            (call, caller)
        };
        let before = bench.phone.call(call);
        let mut prack = caller.request("PRACK", None);
        prack.headers.push("RAck", "7 1 INVITE");
        send(&mut bench, &prack);
        let lines = bench.lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with('4'), "{lines:?}");
        assert_eq!(bench.phone.call(call), before);
    }
}

/// UPDATE without SDP refreshes the target (RFC 3311, section 5.2): the next request goes there.
#[test]
fn an_update_without_sdp_is_answered_and_moves_the_target() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    let mut update = caller.request("UPDATE", None);
    update.headers.set("Contact", "<sip:bob@192.0.2.77:5070>");
    send(&mut bench, &update);
    let ok = bench.take_response(200);
    assert!(ok.body.is_empty());
    bench.hangup(call);
    assert_eq!(bench.take_request("BYE").uri, "sip:bob@192.0.2.77:5070");
}

/// A second phone answers while the call with the first is already held: that call is not touched.
#[test]
fn the_second_answer_of_a_fork_while_the_call_is_held() {
    let mut bench = Bench::online();
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "first"), ANSWER));
    bench.take_request("ACK");
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    let reinvite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "second"), ANSWER));
    for method in ["ACK", "BYE"] {
        let request = bench.take_request(method);
        assert_eq!(request.headers.to_tag().as_deref(), Some("second"));
    }
    bench.reply(&with_sdp(answer(&reinvite, 200, ""), &ANSWER.replace("sendrecv", "recvonly")));
    bench.take_request("ACK");
    let info = bench.phone.call(call).unwrap();
    assert_eq!((info.state, info.local_hold), (CallState::Active, true));
    assert!(bench.events.contains(&Event::HoldDone(call, Ok(()))));
}

/// A whole day of telephony with the trace on: registration and calls with challenges, hold, transfer.
#[test]
fn no_secret_is_in_any_log_line_or_event() {
    let mut net = Net::with(3, None, |_, config| {
        config.trace = true;
        config.register = true;
    });
    net.challenge = true;
    net.run(secs(1));
    let (a, b) = net.call(0, 1);
    net.at(1, |bench| bench.phone.hold(bench.now, b)).unwrap();
    net.run(secs(1));
    net.at(1, |bench| bench.phone.unhold(bench.now, b)).unwrap();
    net.run(secs(1));
    let target = TransferTarget::Uri("sip:carol@example.com".into());
    net.at(1, |bench| bench.phone.transfer(bench.now, b, target)).unwrap();
    net.run(secs(1));
    net.at(0, |bench| bench.phone.accept_transfer(bench.now, a)).unwrap();
    net.run(secs(1));
    let there = net.incoming(2);
    net.at(2, |bench| bench.answer(there));
    net.run(secs(5));
    // What went over the wire as an answer to a challenge.
    let mut secrets = vec!["alice-secret".to_owned()];
    for (_, message) in &net.trace {
        for name in ["Authorization", "Proxy-Authorization"] {
            for value in message.headers().get_all(name) {
                let response = value.split("response=\"").nth(1).unwrap();
                secrets.push(response.split('"').next().unwrap().to_owned());
            }
        }
    }
    assert!(secrets.len() > 4);
    let mut lines = 0;
    for bench in &net.phones {
        for event in &bench.events {
            let text = format!("{event:?}");
            lines += usize::from(matches!(event, Event::Log(..)));
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{text}");
            }
        }
    }
    assert!(lines > 50);
}
