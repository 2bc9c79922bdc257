//! Every fault of the 46elks simulator, armed and met.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::elks::{Elks, PHONE, PUBLIC, Webhook, encode};
use common::share;
use reqwest::Method;
use sandbox::elks::faults::Fault;
use sandbox::numbers::Notice;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use wasm_softphone::phone::{CallId, CallState, Event};

const ECHO: &str = r#"{"connect":"+46700000001"}"#;

async fn legs(elks: &Elks) -> (u64, u64) {
    let log = elks.log().await;
    (log["a_legs"].as_u64().unwrap(), log["b_legs"].as_u64().unwrap())
}

fn id(call: &Value) -> String {
    call["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn all_are_listed_and_can_be_disarmed() {
    let elks = Elks::start().await;
    for fault in Fault::ALL {
        elks.fault(fault.name(), Value::Null).await;
    }
    let armed = |list: &Value| {
        list["faults"].as_array().unwrap().iter().filter(|fault| fault["armed"] == true).count()
    };
    let (_, list) = elks.sim(Method::GET, "/_sim/fault", Value::Null).await;
    assert_eq!(armed(&list), Fault::ALL.len());
    elks.fault("none", Value::Null).await;
    let (_, list) = elks.sim(Method::GET, "/_sim/fault", Value::Null).await;
    assert_eq!(armed(&list), 0);
    elks.fault("500", Value::Null).await;
    assert_eq!(elks.sim(Method::DELETE, "/_sim/fault", Value::Null).await.0, 204);
    assert_eq!(elks.sim(Method::POST, "/_sim/fault", json!({ "name": "rain" })).await.0, 404);
    assert_eq!(elks.place(ECHO, None).await.0, 200);
}

#[tokio::test]
async fn refusals_are_text_and_place_no_call() {
    let elks = Elks::start().await;
    for (name, status, start) in [
        ("401", 401, "API access requires"),
        ("403-from", 403, "Invalid from number"),
        ("403-to", 403, "Invalid to number"),
        ("403-missing", 403, "Missing key"),
        ("402", 402, "Not enough credits"),
        ("429", 429, "Too many"),
        ("500", 500, "Internal"),
        ("html-502-body", 502, "<html>"),
    ] {
        elks.fault(name, Value::Null).await;
        let form = [("from", PUBLIC), ("to", PHONE), ("voice_start", ECHO)];
        let request = elks.signed(Method::POST, "/a1/calls").body(encode(&form));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{name}");
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry.as_deref(), (name == "429").then_some("7"), "{name}");
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/"), "{name} {kind}");
        let body = response.text().await.unwrap();
        assert!(body.starts_with(start), "{name} {body}");
        assert_eq!(legs(&elks).await, (0, 0), "{name}");
    }
    assert_eq!(elks.place(ECHO, None).await.0, 200, "each was armed once");
}

#[tokio::test]
async fn unreadable_answers_of_calls_that_are_made() {
    let elks = Elks::start().await;
    elks.fault("truncated-json", Value::Null).await;
    let (status, body) = elks.place(ECHO, None).await;
    assert_eq!(status, 200);
    assert!(body.as_str().is_some_and(|body| body.starts_with('{')), "{body}");
    elks.fault("unknown-state", Value::Null).await;
    assert_eq!(elks.place(ECHO, None).await.1["state"], "pondering");
    elks.fault("response-lost", json!(60_000)).await;
    let lost = timeout(Duration::from_millis(500), elks.place(ECHO, None)).await;
    assert!(lost.is_err(), "{lost:?}");
    elks.wait_log("three calls", |log| log["a_legs"] == 3).await;
}

#[tokio::test]
async fn the_invite_comes_before_the_response() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    elks.fault("invite-before-response", json!(1500)).await;
    let place = elks.place(ECHO, None);
    tokio::pin!(place);
    tokio::select! {
        _ = phone.incoming() => {}
        answer = &mut place => panic!("{answer:?} came first"),
    }
    let (status, _) = phone.softphone.run_while(place).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn no_invite_and_a_late_one() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    elks.fault("no-invite", Value::Null).await;
    let whenhangup = hook.url("/h");
    let form = [
        ("from", PUBLIC),
        ("to", PHONE),
        ("voice_start", ECHO),
        ("timeout", "1"),
        ("whenhangup", &whenhangup),
    ];
    let (_, call) = elks.post("/a1/calls", &form).await;
    let posts = phone.softphone.run_while(hook.wait("/h", 1)).await;
    assert_eq!((posts[0]["id"].as_str(), posts[0]["state"].as_str()), (id(&call).as_str(), "failed"));
    assert_eq!(legs(&elks).await, (0, 0));

    elks.fault("late-invite-after-cancel", json!(1000)).await;
    let at = Instant::now();
    elks.place(ECHO, None).await;
    phone.incoming().await;
    assert!(at.elapsed() >= Duration::from_millis(900), "{:?}", at.elapsed());
}

#[tokio::test]
async fn voice_start_comes_twice_or_from_another_call_or_late() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    for (name, value, own, count) in [
        ("dup-voice-start", Value::Null, vec![true, true], 2),
        ("voice-start-other-callid", json!("after"), vec![true, false], 2),
        ("voice-start-other-callid", json!("instead"), vec![false], 1),
    ] {
        let path = format!("/{name}{}", value.as_str().unwrap_or_default());
        hook.reply(&path, 200, r#"{"hangup":"reject"}"#);
        elks.fault(name, value).await;
        let (_, call) = elks.place(&hook.url(&path), None).await;
        phone.answer().await;
        let posts = phone.softphone.run_while(hook.wait(&path, count)).await;
        let mut found: Vec<bool> = posts.iter().map(|form| form["callid"] == id(&call)).collect();
        // Two requests under way may overtake each other.
        found.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(found, own, "{name}");
        phone.softphone.run_while(elks.wait_state(&id(&call), "success")).await;
    }
    elks.fault("voice-start-slow", json!(1000)).await;
    elks.place(&hook.url("/slow"), None).await;
    phone.answer().await;
    let at = Instant::now();
    phone.softphone.run_while(hook.wait("/slow", 1)).await;
    assert!(at.elapsed() >= Duration::from_millis(800), "{:?}", at.elapsed());
}

#[tokio::test]
async fn whenhangup_comes_twice_or_late_or_before_voice_start() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    for path in ["/v1", "/v2", "/v3"] {
        hook.reply(path, 200, r#"{"hangup":"reject"}"#);
    }
    elks.fault("hangup-hook-dup", Value::Null).await;
    elks.place(&hook.url("/v1"), Some(&hook.url("/twice"))).await;
    phone.answer().await;
    let posts = phone.softphone.run_while(hook.wait("/twice", 2)).await;
    assert_eq!(posts[0], posts[1]);

    elks.fault("hangup-hook-late", json!(1500)).await;
    let (_, call) = elks.place(&hook.url("/v2"), Some(&hook.url("/late"))).await;
    phone.answer().await;
    phone.softphone.run_while(elks.wait_state(&id(&call), "success")).await;
    assert!(hook.posts("/late").is_empty());
    phone.softphone.run_while(hook.wait("/late", 1)).await;

    elks.fault("hangup-hook-before-voice-start", Value::Null).await;
    elks.place(&hook.url("/v3"), Some(&hook.url("/early"))).await;
    phone.answer().await;
    phone.softphone.run_while(hook.wait("/v3", 1)).await;
    let order = hook.order();
    let at = |path: &str| order.iter().position(|found| found == path).unwrap();
    assert!(at("/early") < at("/v3"), "{order:?}");
    phone.softphone.run_while(hook.wait("/early", 2)).await;
}

#[tokio::test]
async fn strangers_call_first_and_are_measured() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    for (name, from) in
        [("stranger-call-in-window", "+46709999999"), ("spoofed-own-number-in-window", PUBLIC)]
    {
        elks.sim(Method::DELETE, "/_sim/log", Value::Null).await;
        elks.fault(name, Value::Null).await;
        elks.place(ECHO, None).await;
        let stranger = phone.incoming().await;
        let remote = phone.softphone.agent.phone().call(stranger).unwrap().remote_uri.clone();
        assert_eq!(remote, format!("sip:{from}@voip.46elks.com"), "{name}");
        let real = phone.incoming().await;
        phone.softphone.agent.answer(stranger).unwrap();
        phone.until(stranger, CallState::Active).await;
        assert!(share(&phone.listen_for(stranger, 1500.0).await, 1500.0) > 0.8, "{name}");
        let measured = |log: &Value| {
            let legs = log["legs"].as_array().unwrap().clone();
            legs.into_iter().find(|leg| leg["leg"] == "stranger").unwrap()
        };
        let log = phone
            .softphone
            .run_while(elks.wait_log("what the stranger hears", |log| measured(log)["heard"]["hertz"] == 660))
            .await;
        assert_eq!(
            (measured(&log)["billed"].as_bool(), measured(&log)["answered"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!((log["a_legs"].as_u64(), log["b_legs"].as_u64()), (Some(1), Some(0)), "{name}");
        phone.softphone.agent.reject(real, None).unwrap();
        phone.softphone.agent.hangup(stranger);
        phone.ended(stranger).await;
    }
}

#[tokio::test]
async fn a_second_phone_registers_and_answers_first() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    elks.config(json!({ "reg": "fork" })).await;
    elks.fault("two-registrations", json!("ring")).await;
    elks.place(ECHO, None).await;
    let call = phone.answer().await;
    phone.softphone.run_while(elks.wait_log("the first B leg", |log| log["b_legs"] == 1)).await;
    phone.softphone.agent.hangup(call);
    phone.ended(call).await;

    elks.fault("two-registrations", json!("answer")).await;
    let (_, call) = elks.place(ECHO, None).await;
    let ringing: CallId = phone.incoming().await;
    phone.ended(ringing).await;
    phone.softphone.run_while(elks.wait_log("the B leg", |log| log["b_legs"] == 2)).await;
    assert_eq!(elks.get(&format!("/a1/calls/{}", id(&call))).await.1["state"], "ongoing");
}

#[tokio::test]
async fn the_far_party_is_busy_does_not_answer_or_fails() {
    let elks = Elks::start().await;
    let mut phone = elks.phone().await;
    let hook = Webhook::start().await;
    let at = hook.url("/result");
    for (name, result) in [("b-busy", "busy"), ("b-noanswer", "failed"), ("b-failed", "failed")] {
        elks.fault(name, Value::Null).await;
        let action = json!({ "connect": "+46700000001", "timeout": 1, "next": at, "busy": at }).to_string();
        let count = hook.posts("/result").len();
        let (_, call) = elks.place(&action, None).await;
        phone.answer().await;
        let posts = phone.softphone.run_while(hook.wait("/result", count + 1)).await;
        assert_eq!(posts[count]["result"], result, "{name}");
        phone.softphone.run_while(elks.wait_state(&id(&call), "failed")).await;
        let ended = phone
            .softphone
            .wait("the end", |notice| matches!(notice, Notice::Phone(Event::Ended(..))).then_some(()));
        // It may have come while the log was read.
        let _ = timeout(Duration::from_millis(200), ended).await;
    }
}
