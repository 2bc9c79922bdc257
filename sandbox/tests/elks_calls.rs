//! Calls through the 46elks simulator: a phone registered over SIP, with real media.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::elks::{Elks, ElksPhone, PHONE, PUBLIC, Webhook};
use common::share;
use reqwest::Method;
use sandbox::numbers::Notice;
use serde_json::{Value, json};
use tokio::time::Instant;
use wasm_softphone::phone::{CallState, DialRequest, EndCause, EndedBy, Event};

#[tokio::test]
async fn a_call_is_placed_answered_and_connected_to_the_echo() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    hook.reply("/v", 200, r#"{"connect":"+46700000001","callerid":"+46766860000"}"#);
    let (status, call) = elks.place(&hook.url("/v"), Some(&hook.url("/h"))).await;
    assert_eq!((status, call["state"].as_str()), (200, Some("ongoing")));
    let id = call["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 33 && id.starts_with('c'), "{id}");

    let incoming = phone.incoming().await;
    let info = phone.softphone.agent.phone().call(incoming).unwrap();
    assert_eq!(info.remote_uri, format!("sip:{PUBLIC}@voip.46elks.com"));
    assert!(hook.posts("/v").is_empty(), "voice_start is not fetched before the answer");
    phone.softphone.agent.answer(incoming).unwrap();
    phone.until(incoming, CallState::Active).await;
    let form = phone.softphone.run_while(hook.wait("/v", 1)).await.remove(0);
    assert_eq!((form["callid"].as_str(), form["direction"].as_str()), (id.as_str(), "outgoing"));
    assert_eq!((form["from"].as_str(), form["to"].as_str()), (PUBLIC, PHONE));
    phone.softphone.run_while(elks.wait_log("the B leg", |log| log["legs"][1]["answered"] == true)).await;
    let heard = phone.listen_for(incoming, 660.0).await;
    assert!(share(&heard, 660.0) > 0.8, "the echo");

    phone.softphone.agent.hangup(incoming);
    let reason = phone.ended(incoming).await;
    assert_eq!((reason.cause, reason.by), (EndCause::Completed, EndedBy::Local));
    let form = phone.softphone.run_while(hook.wait("/h", 1)).await.remove(0);
    assert_eq!((form["id"].as_str(), form["state"].as_str()), (id.as_str(), "success"));
    let legs: serde_json::Value = serde_json::from_str(&form["legs"]).unwrap();
    assert_eq!((legs[0]["to"].as_str(), legs[0]["state"].as_str()), (Some("+46700000001"), Some("success")));
    let actions: serde_json::Value = serde_json::from_str(&form["actions"]).unwrap();
    assert_eq!(actions, json!([{ "connect": "+46700000001", "result": "success" }]));
    let log = elks.log().await;
    assert_eq!((log["a_legs"].as_u64(), log["b_legs"].as_u64()), (Some(1), Some(1)));
    assert_eq!(log["legs"][0]["heard"]["hertz"], 660);
    let (_, record) = elks.get(&format!("/a1/calls/{id}")).await;
    assert_eq!(record["state"], "success");
    for key in ["start", "duration", "cost", "legs", "actions", "timeout", "owner"] {
        assert!(!record[key].is_null(), "{key} in {record}");
    }
}

fn id(call: &Value) -> String {
    call["id"].as_str().unwrap().to_owned()
}

async fn place(elks: &Elks, action: Value) -> String {
    id(&elks.place(&action.to_string(), None).await.1)
}

fn results(record: &Value) -> Vec<&str> {
    record["actions"].as_array().unwrap().iter().filter_map(|action| action["result"].as_str()).collect()
}

#[tokio::test]
async fn a_phone_that_refuses() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    for (count, (status, state)) in [(486, "busy"), (603, "failed")].into_iter().enumerate() {
        let (_, call) = elks.place(&hook.url("/v"), Some(&hook.url("/h"))).await;
        let incoming = phone.incoming().await;
        phone.softphone.agent.reject(incoming, Some(status)).unwrap();
        let forms = phone.softphone.run_while(hook.wait("/h", count + 1)).await;
        assert_eq!(
            (forms[count]["id"].as_str(), forms[count]["state"].as_str()),
            (id(&call).as_str(), state)
        );
    }
    assert!(hook.posts("/v").is_empty());
}

#[tokio::test]
async fn a_phone_that_does_not_answer_is_cancelled() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    let (voice, hang) = (hook.url("/v"), hook.url("/h"));
    let form =
        [("from", PUBLIC), ("to", PHONE), ("voice_start", &voice), ("whenhangup", &hang), ("timeout", "1")];
    elks.post("/a1/calls", &form).await;
    let call = phone.incoming().await;
    assert_eq!(phone.ended(call).await.cause, EndCause::Cancelled);
    assert_eq!(phone.softphone.run_while(hook.wait("/h", 1)).await[0]["state"], "failed");
    assert!(hook.posts("/v").is_empty());
}

#[tokio::test]
async fn answers_of_voice_start_that_end_the_call() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    hook.reply("/404", 404, r#"{"connect":"+46700000001"}"#);
    hook.reply("/text", 200, "hello");
    hook.reply("/dance", 200, r#"{"dance":"polka"}"#);
    for path in ["/404", "/text", "/dance"] {
        let (_, call) = elks.place(&hook.url(path), None).await;
        let incoming = phone.answer().await;
        phone.ended(incoming).await;
        elks.wait_state(&id(&call), "failed").await;
    }
    let call = place(&elks, json!({ "hangup": "busy" })).await;
    let incoming = phone.answer().await;
    phone.ended(incoming).await;
    elks.wait_state(&call, "success").await;
    let log = elks.log().await;
    assert_eq!((log["a_legs"].as_u64(), log["b_legs"].as_u64()), (Some(4), Some(0)));
    // Nothing outside of this machine is asked.
    elks.place("http://example.com/voice", None).await;
    let incoming = phone.answer().await;
    phone.ended(incoming).await;
}

#[tokio::test]
async fn the_magic_numbers() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    elks.config(json!({ "b_answer_ms": 50, "b_hangup_ms": 300, "b_ring_ms": 1500 })).await;
    for (number, result) in [
        ("+46700000002", "busy"),
        ("+46700000003", "failed"),
        ("+46700000004", "failed"),
        ("+46700000005", "success"),
    ] {
        let call = place(&elks, json!({ "connect": number, "timeout": 1 })).await;
        let incoming = phone.answer().await;
        let reason = phone.ended(incoming).await;
        assert_eq!((reason.cause, reason.by), (EndCause::Completed, EndedBy::Remote), "{number}");
        let record = elks.wait_state(&call, "success").await;
        assert_eq!(results(&record), [result], "{number}");
    }
    let call = place(&elks, json!({ "connect": "+46700000006" })).await;
    let at = Instant::now();
    let incoming = phone.answer().await;
    let heard = phone.listen_for(incoming, 425.0).await;
    assert!(share(&heard, 425.0) > 0.8, "ringback while it rings");
    assert!(share(&phone.listen_for(incoming, 440.0).await, 440.0) > 0.8, "then the party's tone");
    assert!(at.elapsed() > Duration::from_millis(1500), "{:?}", at.elapsed());
    phone.softphone.agent.hangup(incoming);
    phone.ended(incoming).await;
    phone.softphone.run_while(elks.wait_state(&call, "success")).await;
}

#[tokio::test]
async fn a_list_rings_and_the_first_that_answers_wins() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    elks.config(json!({ "b_answer_ms": 100 })).await;
    let call =
        place(&elks, json!({ "connect": "+46700000002,+46700000003,+46700000001,sip:evil.example" })).await;
    let incoming = phone.answer().await;
    let log = phone
        .softphone
        .run_while(elks.wait_log("the winner", |log| {
            log["legs"].as_array().unwrap().iter().any(|leg| leg["leg"] == "b" && leg["answered"] == true)
        }))
        .await;
    assert_eq!(log["b_legs"], 3, "a SIP address needs the whitelist: {log}");
    phone.softphone.agent.hangup(incoming);
    phone.ended(incoming).await;
    let record = phone.softphone.run_while(elks.wait_state(&call, "success")).await;
    let won: Vec<&str> = record["legs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|leg| leg["state"] == "success")
        .map(|leg| leg["to"].as_str().unwrap())
        .collect();
    assert_eq!(won, ["+46700000001"]);

    let call = place(&elks, json!({ "connect": "sip:evil.example", "failed": { "hangup": "reject" } })).await;
    let incoming = phone.answer().await;
    phone.ended(incoming).await;
    assert_eq!(results(&elks.wait_state(&call, "success").await), ["failed"]);
}

#[tokio::test]
async fn incoming_calls_ring_at_the_phone_of_the_number() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    for to in [PUBLIC, PHONE] {
        let body = json!({ "from": "+46701112233", "to": to });
        let (status, call) = elks.sim(Method::POST, "/_sim/incoming", body).await;
        assert_eq!(status, 201);
        let incoming = phone.answer().await;
        let remote = phone.softphone.agent.phone().call(incoming).unwrap().remote_uri.clone();
        assert_eq!(remote, "sip:+46701112233@voip.46elks.com", "the caller is shown");
        assert!(share(&phone.listen_for(incoming, 1000.0).await, 1000.0) > 0.8);
        phone.softphone.agent.hangup(incoming);
        phone.ended(incoming).await;
        let record = phone.softphone.run_while(elks.wait_state(&id(&call), "success")).await;
        assert_eq!(record["direction"], "incoming");
    }
    let hook = Webhook::start().await;
    hook.reply("/in", 200, r#"{"hangup":"reject"}"#);
    elks.config(json!({ "voice_start": { PUBLIC: hook.url("/in") } })).await;
    let body = json!({ "from": "+46701112233", "to": PUBLIC });
    let (_, call) = elks.sim(Method::POST, "/_sim/incoming", body).await;
    let form = hook.wait("/in", 1).await.remove(0);
    assert_eq!((form["result"].as_str(), form["from"].as_str()), ("newincoming", "+46701112233"));
    elks.wait_state(&id(&call), "failed").await;
    let log = elks.log().await;
    assert_eq!(
        (log["a_legs"].as_u64(), log["b_legs"].as_u64()),
        (Some(0), Some(0)),
        "nothing was originated"
    );
}

/// The call proxy decides on calls to the public numbers, and lets nobody pass who shows one of them.
#[tokio::test]
async fn a_caller_who_shows_our_own_number_does_not_ring() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let body = json!({ "from": PUBLIC, "to": PUBLIC });
    let (status, call) = elks.sim(Method::POST, "/_sim/incoming", body).await;
    assert_eq!(status, 201);
    phone.softphone.run_while(elks.wait_state(&id(&call), "failed")).await;
    let body = json!({ "from": "+46701112233", "to": PUBLIC });
    elks.sim(Method::POST, "/_sim/incoming", body).await;
    let first = phone.incoming().await;
    let remote = phone.softphone.agent.phone().call(first).unwrap().remote_uri.clone();
    assert_eq!(remote, "sip:+46701112233@voip.46elks.com");
    assert_eq!(phone.softphone.agent.phone().calls().len(), 1);
}

#[tokio::test]
async fn a_phone_may_call_where_that_is_enabled() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    hook.reply("/client", 200, r#"{"connect":"+46700000001"}"#);
    elks.config(json!({ "client_calls": true, "voice_start": { PHONE: hook.url("/client") } })).await;
    let target = "sip:+46701234567@voip.46elks.com".to_owned();
    let call = phone.softphone.agent.dial(DialRequest { target, ..DialRequest::default() }).unwrap();
    phone.until(call, CallState::Active).await;
    let form = hook.posts("/client").remove(0);
    assert_eq!((form["from"].as_str(), form["to"].as_str()), (PHONE, "+46701234567"));
    assert!(share(&phone.listen_for(call, 660.0).await, 660.0) > 0.8, "the echo");
    phone.softphone.agent.hangup(call);
    phone.ended(call).await;
    phone.softphone.run_while(elks.wait_state(&form["callid"], "success")).await;
}

#[tokio::test]
async fn the_newer_registration_takes_the_place_of_the_older() {
    let elks = Elks::start().await;
    let mut old = elks.phone().await;
    let mut new = elks.phone().await;
    place(&elks, json!({ "hangup": "reject" })).await;
    let call = old.softphone.run_while(new.incoming()).await;
    new.softphone.agent.reject(call, None).unwrap();

    elks.config(json!({ "reg": "fork" })).await;
    let mut third: ElksPhone = elks.phone().await;
    place(&elks, json!({ "hangup": "reject" })).await;
    let call = third.incoming().await;
    third.softphone.run_while(new.incoming()).await;
    third.softphone.agent.answer(call).unwrap();
    let silent = tokio::time::timeout(
        Duration::from_millis(300),
        old.softphone.wait("no call", |n| matches!(n, Notice::Phone(Event::Incoming(_))).then_some(())),
    );
    assert!(silent.await.is_err(), "the oldest is not registered any more");
}

#[tokio::test]
async fn reports_are_repeated_until_they_are_accepted() {
    let elks = Elks::start().await;
    elks.config(json!({ "webhook_scale": 0.001 })).await;
    let hook = Webhook::start().await;
    hook.reply("/h", 500, "");
    elks.place(r#"{"hangup":"reject"}"#, Some(&hook.url("/h"))).await;
    hook.wait("/h", 2).await;
    hook.reply("/h", 204, "");
    let log = elks
        .wait_log("an accepted report", |log| {
            log["webhooks"].as_array().unwrap().iter().any(|entry| entry["status"] == 204)
        })
        .await;
    let count = log["webhooks"].as_array().unwrap().len();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(elks.log().await["webhooks"].as_array().unwrap().len(), count);
}
