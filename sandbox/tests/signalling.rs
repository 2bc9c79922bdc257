//! Raw SIP over a WebSocket against a running sandbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{RawPhone, SDP, Server, open};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use wasm_softphone::sip::digest::Algorithm;
use wasm_softphone::sip::message::Method;

fn refused(result: Result<common::Socket, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn websockets_of_this_machine_with_the_subprotocol_only() {
    let server = Server::start().await;
    let sip = ("sec-websocket-protocol", "sip");
    assert_eq!(refused(open(&server.address, &[]).await), 400);
    assert_eq!(refused(open(&server.address, &[("sec-websocket-protocol", "xmpp")]).await), 400);
    assert_eq!(refused(open(&server.address, &[sip, ("origin", "https://example.com")]).await), 403);
    assert_eq!(refused(open(&server.address, &[sip, ("host", "rebound.example.com")]).await), 403);
    for origin in ["http://localhost:3000", "http://127.0.0.1:1"] {
        open(&server.address, &[sip, ("origin", origin)]).await.unwrap();
    }
}

#[tokio::test]
async fn registers_with_either_algorithm_and_not_without_the_password() {
    let server = Server::start().await;
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let mut phone = RawPhone::connect(&server, "alice").await;
        let register = phone.register(600);
        let response = phone.exchange(register, algorithm, None).await;
        assert_eq!(response.status, 200);
        assert!(response.headers.get("Contact").unwrap().ends_with(";expires=600"));

        let mut phone = RawPhone::connect(&server, "alice").await;
        let register = phone.register(600);
        assert_eq!(phone.exchange(register, algorithm, Some("guess")).await.status, 401);
        let register = phone.register(9);
        let brief = phone.exchange(register, algorithm, None).await;
        assert_eq!((brief.status, brief.headers.number("Min-Expires")), (423, Some(10)));
    }
    server.wait_for("alice: wrong user or password").await;
}

#[tokio::test]
async fn answers_pings_in_text_and_binary() {
    use futures_util::{SinkExt, StreamExt};
    let server = Server::start().await;
    let mut socket = common::open_sip(&server.address).await;
    for ping in [Frame::text("\r\n\r\n"), Frame::binary(&b"\r\n\r\n"[..])] {
        socket.send(ping).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Frame::text("\r\n"));
    }
}

#[tokio::test]
async fn two_phones_of_one_user_ring_and_one_answers() {
    let server = Server::start().await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    let mut desk = RawPhone::registered(&server, "bob").await;
    let mut mobile = RawPhone::registered(&server, "bob").await;

    let mut invite = alice.invite("bob");
    alice.sign_and_send(&mut invite, Algorithm::Sha256, None).await;
    let (at_desk, at_mobile) = (desk.request(Method::Invite).await, mobile.request(Method::Invite).await);
    assert_eq!(at_desk.body, SDP.as_bytes());
    desk.respond(&desk.answer(&at_desk, 180)).await;
    assert_eq!(alice.status().await, 180);
    mobile.respond(&mobile.answer(&at_mobile, 180)).await;
    assert_eq!(alice.status().await, 180);

    mobile.respond(&mobile.answer(&at_mobile, 200)).await;
    let ok = alice.response().await;
    assert_eq!(ok.status, 200);
    let ack = alice.within(&invite, &ok, Method::Ack);
    alice.send(&ack).await;
    mobile.request(Method::Ack).await;
    let cancel = desk.request(Method::Cancel).await;
    assert!(cancel.headers.get("Reason").unwrap().contains("cause=200"));
    desk.respond(&cancel.response(200, None)).await;
    desk.respond(&desk.answer(&at_desk, 487)).await;
    desk.request(Method::Ack).await;

    let bye = alice.within(&invite, &ok, Method::Bye);
    alice.send(&bye).await;
    let bye = mobile.request(Method::Bye).await;
    mobile.respond(&bye.response(200, None)).await;
    assert_eq!(alice.status().await, 200);
    for line in ["bob registered (2 phones)", "alice -> bob ringing", "alice -> bob answered"] {
        server.wait_for(line).await;
    }
    server.wait_for("alice -> bob hung up by alice after 0 s").await;
}

#[tokio::test]
async fn a_caller_who_cancels() {
    let server = Server::start().await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    let mut bob = RawPhone::registered(&server, "bob").await;
    let mut invite = alice.invite("bob");
    alice.sign_and_send(&mut invite, Algorithm::Md5, None).await;
    let rings = bob.request(Method::Invite).await;
    bob.respond(&bob.answer(&rings, 180)).await;
    assert_eq!(alice.status().await, 180);
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.body.clear();
    cancel.headers.remove("Content-Type");
    cancel.headers.set("CSeq", "2 CANCEL");
    alice.send(&cancel).await;
    assert_eq!(alice.status().await, 200);
    let cancel = bob.request(Method::Cancel).await;
    bob.respond(&cancel.response(200, None)).await;
    bob.respond(&bob.answer(&rings, 487)).await;
    bob.request(Method::Ack).await;
    let cancelled = alice.response().await;
    assert_eq!(cancelled.status, 487);
    alice.ack_failure(&invite, &cancelled).await;
    server.wait_for("alice -> bob cancelled").await;
}

#[tokio::test]
async fn numbers_and_users_that_do_not_answer() {
    let server = Server::start().await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    for (callee, status) in [("602", 486), ("604", 603), ("nobody", 404), ("bob", 480)] {
        assert_eq!(alice.call_in_vain(callee).await.status, status, "{callee}");
    }
    server.wait_for("alice -> 602 busy (486)").await;
    server.wait_for("alice -> 604 declined (603)").await;
    server.wait_for("alice -> nobody failed: 404 Not Found").await;
}

#[tokio::test]
async fn a_number_that_rings_can_be_cancelled() {
    let server = Server::start().await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    let mut invite = alice.invite("603");
    alice.sign_and_send(&mut invite, Algorithm::Sha256, None).await;
    assert_eq!(alice.status().await, 180);
    let mut cancel = invite.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", "2 CANCEL");
    alice.send(&cancel).await;
    let (first, second) = (alice.response().await, alice.response().await);
    let method = |response: &wasm_softphone::sip::message::Response| response.headers.cseq().unwrap().method;
    assert_eq!((first.status, method(&first)), (200, Method::Cancel));
    assert_eq!((second.status, method(&second)), (487, Method::Invite));
}

#[tokio::test]
async fn an_offer_without_a_usable_codec_is_not_acceptable() {
    let server = Server::start().await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    let mut invite = alice.invite("601");
    invite.body = SDP.replace("SAVPF 0", "SAVPF 97").replace("rtpmap:0 PCMU", "rtpmap:97 speex").into_bytes();
    alice.sign_and_send(&mut invite, Algorithm::Sha256, None).await;
    let mut status = alice.status().await;
    while status < 200 {
        status = alice.status().await;
    }
    assert_eq!(status, 488);
}

#[tokio::test]
async fn a_closed_socket_unregisters() {
    let server = Server::start().await;
    let bob = RawPhone::registered(&server, "bob").await;
    bob.close().await;
    server.wait_for("bob disconnected (no phone)").await;
    let mut alice = RawPhone::registered(&server, "alice").await;
    assert_eq!(alice.call_in_vain("bob").await.status, 480);
}

#[tokio::test]
async fn traces_show_no_secrets() {
    let server = Server::start_with(true).await;
    let _alice = RawPhone::registered(&server, "alice").await;
    server.wait_for("alice registered (1 phone)").await;
    let log = server.log().join("\n");
    assert!(log.contains("REGISTER sip:sandbox.test SIP/2.0"));
    let credentials = log.lines().find(|line| line.trim_start().starts_with("Authorization:")).unwrap();
    assert!(credentials.contains("username=\"alice\"") && !credentials.contains("nonce=\""), "{credentials}");
}

#[tokio::test]
async fn stops_when_told_and_closes_its_sockets() {
    let mut server = Server::start().await;
    let mut phone = RawPhone::registered(&server, "alice").await;
    server.stop().await.unwrap();
    assert_eq!(phone.text().await, None);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let server = Server::start().await;
    let port = server.address.rsplit(':').next().unwrap().parse().unwrap();
    let report = sandbox::report::Report::new(false, |_| {});
    let settings = sandbox::Settings {
        crowd: 0,
        port,
        www: "/nowhere".into(),
        pkg: "/nowhere".into(),
        elks: sandbox::elks::Settings::default(),
        secrets: None,
        elks_api_credentials: None,
    };
    let error = sandbox::Sandbox::bind(settings, report).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{error}");
}
