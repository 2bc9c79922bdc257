//! The HTTP API of the 46elks simulator, its control, and its registrar.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::RawPhone;
use common::elks::{Elks, PHONE, PUBLIC, encode};
use reqwest::Method;
use sandbox::numbers::Notice;
use serde_json::{Value, json};
use wasm_softphone::phone::Event;
use wasm_softphone::sip::digest::{Algorithm, Challenge};

const ECHO: &str = r#"{"connect":"+46700000001"}"#;

#[tokio::test]
async fn without_credentials_there_is_nothing() {
    let elks = Elks::start().await;
    for path in ["/a1/calls", "/a1/me", "/a1/numbers", "/a1/nothing"] {
        for password in [None, Some("wrong")] {
            let mut request = elks.client.get(elks.url(path));
            if password.is_some() {
                request = request.basic_auth("u1", password);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{path}");
            assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
            assert!(response.text().await.unwrap().starts_with("API access requires Basic HTTP"));
        }
    }
}

#[tokio::test]
async fn no_browser_may_call_it() {
    let elks = Elks::start().await;
    for method in [Method::OPTIONS, Method::GET] {
        let request = elks.signed(method.clone(), "/a1/calls").header("origin", "http://localhost:1");
        let response = request.header("access-control-request-method", "POST").send().await.unwrap();
        assert_eq!(response.status().as_u16(), if method == Method::GET { 200 } else { 405 });
        assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    }
    let request = elks.signed(Method::GET, "/a1/calls").header("host", "api.46elks.com");
    assert_eq!(request.send().await.unwrap().status(), 403, "loopback names only");
}

#[tokio::test]
async fn validation_in_its_order() {
    let elks = Elks::start().await;
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[], "Missing key from"),
        (&[("from", "x")], "Missing key to"),
        (&[("from", "x"), ("to", "y")], "Missing key voice_start"),
        (&[("from", "x"), ("to", "y"), ("voice_start", ECHO)], "Invalid from number"),
        (&[("from", "+46766869999"), ("to", "y"), ("voice_start", ECHO)], "Invalid from number"),
        (&[("from", PHONE), ("to", "y"), ("voice_start", ECHO)], "Invalid from number"),
        (&[("from", PUBLIC), ("to", "y"), ("voice_start", ECHO)], "Invalid to number"),
        (&[("from", PUBLIC), ("to", "+0700000001"), ("voice_start", ECHO)], "Invalid to number"),
    ];
    for (form, message) in cases {
        assert_eq!(elks.post("/a1/calls", form).await, (403, Value::String(message.to_owned())));
    }
    let json = json!({ "from": PUBLIC, "to": PHONE, "voice_start": ECHO });
    let request = elks.signed(Method::POST, "/a1/calls").header("content-type", "application/json");
    let response = request.body(json.to_string()).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.text().await.unwrap().as_str()),
        (403, "Missing key from")
    );
    elks.config(json!({ "missing_key_status": 400, "bad_number_status": 422, "no_credit_status": 403 }))
        .await;
    assert_eq!(elks.post("/a1/calls", &[]).await.0, 400);
    assert_eq!(elks.post("/a1/calls", cases[3].0).await.0, 422);
    elks.fault("402", Value::Null).await;
    assert_eq!(elks.place(ECHO, None).await.0, 403);
    elks.config(json!({ "unlocked": ["+46701234567"] })).await;
    let form = [("from", "+46701234567"), ("to", PHONE), ("voice_start", ECHO)];
    assert_eq!(elks.post("/a1/calls", &form).await.0, 200);
}

#[tokio::test]
async fn three_ways_to_place_and_a_phone_that_is_not_there() {
    let elks = Elks::start().await;
    let form = [("from", PUBLIC), ("to", PHONE), ("voice_start", ECHO)];
    let query = format!("/a1/calls/POST?{}", encode(&form));
    let answers =
        [elks.post("/a1/calls", &form).await, elks.post("/a1/Calls", &form).await, elks.get(&query).await];
    for (status, call) in answers {
        assert_eq!(status, 200, "{call}");
        assert_eq!((call["from"].as_str(), call["to"].as_str()), (Some(PUBLIC), Some(PHONE)));
        assert_eq!((call["direction"].as_str(), call["state"].as_str()), (Some("outgoing"), Some("ongoing")));
        assert!(call["created"].as_str().unwrap().starts_with("2026-01-01T00:00:"), "seeded: {call}");
        let record = elks.wait_state(call["id"].as_str().unwrap(), "failed").await;
        for key in ["start", "duration", "cost", "legs", "actions"] {
            assert!(record.get(key).is_none(), "{key} in {record}");
        }
    }
}

#[tokio::test]
async fn history_pages_backwards_and_deletes() {
    let elks = Elks::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (_, call) = elks.place(ECHO, None).await;
        ids.push(call["id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let list = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = elks.get("/a1/calls").await;
    assert_eq!(list(&all), ids);
    assert!(all.get("next").is_none());
    let (_, page) = elks.get("/a1/calls?limit=2").await;
    assert_eq!(list(&page), ids[..2]);
    let next = page["next"].as_str().unwrap();
    let (_, page) = elks.get(&format!("/a1/calls?limit=2&start={next}")).await;
    assert_eq!(list(&page), ids[2..4], "before this date");
    let (_, page) = elks.get(&format!("/a1/calls?end={next}")).await;
    assert_eq!(list(&page), ids[..1], "after this date");
    assert_eq!(elks.get("/a1/calls?start=never").await.0, 403);

    let path = format!("/a1/calls/{}", ids[0]);
    let deleted = |answer: (u16, Value)| (answer.0, answer.1["deleted"].is_string());
    let request = elks.signed(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted(common::elks::decode(request).await), (200, true));
    assert_eq!(elks.get(&path).await, (404, Value::String("Unable to get call data.".to_owned())));
    assert_eq!(list(&elks.get("/a1/calls").await.1), ids[1..]);
}

#[tokio::test]
async fn numbers_show_the_secret_by_id_only() {
    let elks = Elks::start().await;
    let (_, numbers) = elks.get("/a1/numbers").await;
    assert!(!numbers.to_string().contains("secret"));
    for number in numbers["data"].as_array().unwrap() {
        let (_, one) = elks.get(&format!("/a1/numbers/{}", number["id"].as_str().unwrap())).await;
        let webrtc = number["number"].as_str().unwrap().starts_with("+4600");
        assert_eq!(one["secret"].is_string(), webrtc, "{number}");
    }
    assert_eq!(elks.get("/a1/numbers/n0").await, (404, Value::String("Invalid number id".to_owned())));
    let (status, me) = elks.get("/a1/me").await;
    assert!(status == 200 && me["id"].as_str().unwrap().starts_with('u'));
}

#[tokio::test]
async fn deleting_does_not_hang_up_and_hanging_up_is_an_option() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let (_, call) = elks.place(ECHO, None).await;
    let path = format!("/a1/calls/{}", call["id"].as_str().unwrap());
    let id = phone.answer().await;
    assert_eq!(elks.post(&path, &[("state", "hangup")]).await.0, 403);
    phone.softphone.run_while(elks.wait_log("the B leg", |log| log["legs"][1]["answered"] == true)).await;
    elks.config(json!({ "undocumented_hangup": true })).await;
    assert_eq!(elks.post(&path, &[("state", "hangup")]).await.0, 200);
    phone.ended(id).await;

    let (_, call) = elks.place(ECHO, None).await;
    let path = format!("/a1/calls/{}", call["id"].as_str().unwrap());
    let id = phone.answer().await;
    assert!(elks.signed(Method::DELETE, &path).send().await.unwrap().status().is_success());
    assert!(common::share(&phone.listen_for(id, 660.0).await, 660.0) > 0.8, "the call goes on");
}

#[tokio::test]
async fn control_is_for_pages_of_this_machine() {
    let elks = Elks::start().await;
    let url = elks.url("/_sim/log");
    let get = |origin: &'static str| elks.client.get(&url).header("origin", origin).send();
    let response = get("http://localhost:4321").await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:4321");
    assert_eq!(get("https://example.com").await.unwrap().status(), 403);
    let request =
        elks.client.request(Method::OPTIONS, elks.url("/_sim/fault")).header("origin", "http://127.0.0.1:9");
    let response = request.header("access-control-request-method", "DELETE").send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-headers"], "content-type");
    let armed = |list: &Value| list.to_string().contains("\"times\":3");
    let (status, list) =
        elks.sim(Method::POST, "/_sim/fault", json!({ "fault": "no-invite", "count": 3 })).await;
    assert!(status == 200 && armed(&list), "{list}");
    let off = json!({ "name": "no-invite", "enabled": false });
    let (status, list) = elks.sim(Method::POST, "/_sim/fault", off).await;
    assert!(status == 200 && !armed(&list), "{list}");
    assert_eq!(elks.sim(Method::POST, "/_sim/config", json!({ "colour": "red" })).await.0, 400);
    let body = json!({ "from": "+46701", "to": "+46705555555" });
    assert_eq!(elks.sim(Method::POST, "/_sim/incoming", body).await.0, 404);
    elks.place(ECHO, None).await;
    assert!(elks.log().await["requests"][0]["path"] == "/a1/calls");
    assert_eq!(elks.sim(Method::DELETE, "/_sim/log", Value::Null).await.0, 204);
    assert_eq!(elks.log().await["requests"], json!([]));
}

#[tokio::test]
async fn demo_settings_hold_no_api_credential() {
    let elks = Elks::start().await;
    let (_, demo) = elks.sim(Method::GET, "/demo.json", Value::Null).await;
    let config = &demo["elks"][0];
    assert_eq!(config["uri"], "sip:4600100100@voip.46elks.com");
    assert_eq!(config["servers"], format!("ws://{}/w1/websocket", elks.server.address));
    assert_eq!(config["credentials"]["password"], elks.secret(PHONE).await);
    let (_, me) = elks.get("/a1/me").await;
    assert!(!demo.to_string().contains(me["id"].as_str().unwrap()));
}

async fn registration(elks: &Elks, secret: &str) -> Result<(), String> {
    let mut phone = elks.phone_with(secret).await;
    phone
        .softphone
        .wait("an outcome", |notice| match notice {
            Notice::Phone(Event::ConnectDone(result)) => {
                Some(result.clone().map_err(|error| error.code.as_str().to_owned()))
            }
            _ => None,
        })
        .await
}

#[tokio::test]
async fn registrations_with_and_without_qop_and_with_a_wrong_secret() {
    let elks = Elks::start().await;
    let secret = elks.secret(PHONE).await;
    assert_eq!(registration(&elks, &secret).await, Ok(()));
    assert!(registration(&elks, "wrong").await.is_err());
    elks.config(json!({ "qop": false })).await;
    assert_eq!(registration(&elks, &secret).await, Ok(()));
    elks.config(json!({ "qop": true, "stale_nonce": true })).await;
    assert!(registration(&elks, &secret).await.is_err(), "stale for ever is given up");
}

#[tokio::test]
async fn the_challenge_and_the_refusals_on_the_wire() {
    let elks = Elks::start().await;
    let secret = elks.secret(PHONE).await;
    let mut phone = RawPhone::connect_elks(&elks.server, "4600100100").await;
    let mut register = phone.register(600);
    register.uri = "sip:voip.46elks.com".to_owned();
    register.headers.set("To", "<sip:4600100100@voip.46elks.com>");
    phone.send(&register).await;
    let challenge = phone.response().await;
    assert_eq!(challenge.status, 401);
    let challenges: Vec<Challenge> =
        challenge.headers.get_all("WWW-Authenticate").filter_map(Challenge::parse).collect();
    assert_eq!(challenges.len(), 1);
    assert_eq!((challenges[0].realm.as_str(), challenges[0].algorithm), ("voip.46elks.com", Algorithm::Md5));
    register.headers.set("CSeq", "2 REGISTER");
    phone.sign_and_send(&mut register, Algorithm::Md5, Some("wrong")).await;
    assert_eq!(phone.response().await.status, 403);
    register.headers.remove("Authorization");
    phone.sign_and_send(&mut register, Algorithm::Md5, Some(&secret)).await;
    assert_eq!(phone.response().await.status, 200);

    let mut invite = phone.invite("+46700000001");
    invite.uri = "sip:+46700000001@voip.46elks.com".to_owned();
    let from = invite.headers.get("From").unwrap().replace("sandbox.test", "voip.46elks.com");
    invite.headers.set("From", from);
    phone.sign_and_send(&mut invite, Algorithm::Md5, Some(&secret)).await;
    assert_eq!(phone.response().await.status, 403, "no calls by phones");

    // What our INVITE looks like.
    elks.config(json!({ "callid_header": "X-Call" })).await;
    let form = [("from", PUBLIC), ("to", PHONE), ("voice_start", ECHO)];
    let (_, call) = elks.post("/a1/calls", &form).await;
    let incoming = phone.request(wasm_softphone::sip::message::Method::Invite).await;
    assert_eq!(incoming.uri, phone.contact);
    assert!(incoming.headers.get("From").unwrap().contains(&format!("<sip:{PUBLIC}@voip.46elks.com>")));
    assert!(incoming.headers.get("To").unwrap().contains("<sip:4600100100@voip.46elks.com>"));
    assert_eq!(incoming.headers.get("X-Call"), call["id"].as_str());
    assert!(incoming.headers.get("Session-Expires").is_none(), "46elks asks for no session timer");
    let sdp = String::from_utf8(incoming.body.clone()).unwrap();
    let media = sdp.lines().find(|line| line.starts_with("m=audio")).unwrap();
    assert!(media.contains("UDP/TLS/RTP/SAVPF 8 0 "), "PCMA first: {media}");
    assert!(sdp.contains("telephone-event/8000") && sdp.contains("a=rtcp-mux"), "{sdp}");

    elks.config(json!({ "pcma_only": true })).await;
    elks.post("/a1/calls", &form).await;
    let incoming = phone.request(wasm_softphone::sip::message::Method::Invite).await;
    let sdp = String::from_utf8(incoming.body.clone()).unwrap();
    assert!(sdp.contains("PCMA/8000") && !sdp.contains("PCMU"), "{sdp}");

    // Session timers end the call where that is set.
    elks.config(json!({ "pcma_only": false, "session_timer_drop_ms": 200 })).await;
    elks.post("/a1/calls", &form).await;
    let incoming = phone.request(wasm_softphone::sip::message::Method::Invite).await;
    let mut ok = phone.answer(&incoming, 200);
    let offer = String::from_utf8(incoming.body.clone()).unwrap();
    ok.body = offer.replace("a=setup:actpass", "a=setup:active").into_bytes();
    ok.headers.push("Content-Type", "application/sdp");
    ok.headers.push("Session-Expires", "90;refresher=uas");
    phone.respond(&ok).await;
    phone.request(wasm_softphone::sip::message::Method::Ack).await;
    let at = tokio::time::Instant::now();
    phone.request(wasm_softphone::sip::message::Method::Bye).await;
    assert!(at.elapsed().as_millis() < 5000, "{:?}", at.elapsed());
}
