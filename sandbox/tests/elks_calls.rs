//! Calls through the 46elks simulator: a phone registered over SIP, with real media.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::elks::{Elks, PHONE, PUBLIC, Webhook};
use common::share;
use serde_json::json;
use wasm_softphone::phone::{CallState, EndCause, EndedBy};

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
