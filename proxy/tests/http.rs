//! The proxy over real sockets, against a scripted 46elks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::*;
use tokio::sync::Notify;
use uuid::Uuid;
use wasm_softphone_proxy::config::StoreConfig;

#[tokio::test]
async fn the_whole_journey() {
    let setup = Setup::new().await;
    let (status, config) = setup.browser.get("/v1/config").await;
    assert_eq!(status, 200);
    assert_eq!(
        config,
        json!({"number": ALICE, "default_caller_id": "main", "caller_ids": [{"key": "main", "from": BRIDGE}],
            "ring_timeout_s": 20, "confirm_timeout_s": 4, "max_duration_s": 3600})
    );
    let id = Uuid::new_v4();
    let (status, call) = setup.browser.put(id, &json!({"to": "+46 70-123 45 67", "caller_id": "main"})).await;
    assert_eq!(status, 202, "{call}");
    assert_eq!(call["call_id"], id.to_string());
    assert_eq!(call["state"], "ringing_client");
    assert_eq!(call["expect"], json!({"from": BRIDGE, "to": ALICE}));
    assert_eq!(
        (&call["confirmed"], &call["ended"], &call["reason"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    assert!(call["expires_at"].as_str().unwrap().ends_with('Z'));

    let asked = setup.elks.asked_for(1).await;
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/a1/calls"));
    assert!(asked.authorization.starts_with("Basic "));
    let mut names: Vec<&str> = asked.form.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["from", "timeout", "to", "voice_start", "whenhangup"]);
    assert_eq!((asked.form["from"].as_str(), asked.form["to"].as_str()), (BRIDGE, ALICE));
    assert_eq!(asked.form["timeout"], "20");

    let seq = call["seq"].as_u64().unwrap();
    let polling = setup.browser.clone();
    let poll = tokio::spawn(async move { polling.poll(id, seq, 20).await });
    assert_eq!(setup.browser.claim(id).await, 204);
    let action = setup.voice_start(&asked, &asked.id).await;
    assert_eq!(
        action,
        json!({"connect": DESTINATION, "callerid": BRIDGE, "timeout": 45, "failed": {"hangup": "reject"},
            "busy": {"hangup": "busy"}})
    );
    let answered = poll.await.unwrap();
    assert_eq!(answered["confirmed"], true, "{answered}");
    setup.browser.state(id, "bridging").await;
    let fields = [
        ("id", asked.id.as_str()),
        ("state", "success"),
        ("duration", "30"),
        ("cost", "11400"),
        ("actions", r#"[{"connect":"+46701234567","result":"success"}]"#),
        ("legs", r#"[{"duration":17,"state":"success"}]"#),
    ];
    assert_eq!(setup.whenhangup(&asked, &fields).await, 204);
    assert_eq!(setup.whenhangup(&asked, &fields).await, 204);
    let ended = setup.browser.poll(id, 0, 0).await;
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("ended"), &json!("completed")));
    assert_eq!((&ended["duration_s"], &ended["ended"]), (&json!(17), &json!(true)));
    assert_eq!(setup.elks.a_legs().len(), 1);
}

#[tokio::test]
async fn nothing_of_46elks_reaches_the_browser() {
    let setup = Setup::new().await;
    let (id, asked) = setup.bridged().await;
    let mut seen = String::new();
    for path in [
        "/v1/config".to_owned(),
        format!("/v1/calls/{id}"),
        "/openapi.json".to_owned(),
        "/metrics".to_owned(),
    ] {
        let response = setup.browser.request(Method::GET, &path).send().await.unwrap();
        seen.push_str(&format!("{:?}", response.headers()));
        seen.push_str(&response.text().await.unwrap());
    }
    seen.push_str(&setup.browser.cancel(id).await.to_string());
    for secret in [API_USER, API_PASSWORD, HOOK_KEY, JWT_SECRET, SIP_SECRET, &asked.id, "/hooks/v/", "Basic"]
    {
        let found = seen.matches(secret).count();
        // The description names the webhooks' route, not their tokens.
        let allowed = if secret == "/hooks/v/" { seen.matches("/hooks/v/{token}").count() } else { 0 };
        assert_eq!(found, allowed, "{secret}");
    }
    let (status, sip) = setup.browser.get("/v1/sip").await;
    assert_eq!(
        (status, &sip["username"], &sip["password"]),
        (StatusCode::OK, &json!("4600100100"), &json!(SIP_SECRET))
    );
    assert_eq!(sip["uri"], "sip:4600100100@voip.46elks.com");
    let (status, problem) = setup.browser.of("bob").get("/v1/sip").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[tokio::test]
async fn each_answer_of_46elks_has_its_code() {
    let html = "<html><body>502 Bad Gateway, secret-of-the-provider</body></html>";
    for (reply, status, code, retry) in [
        (
            Reply::text(401, "", "API access requires Basic HTTP authentication. secret-of-the-provider"),
            502,
            "provider_auth",
            None,
        ),
        (Reply::text(403, "", "Invalid to number secret-of-the-provider"), 422, "invalid_destination", None),
        (Reply::text(403, "", "Invalid from number"), 502, "provider_config", None),
        (Reply::text(403, "", "Missing key from"), 502, "provider_config", None),
        (Reply::text(402, "", "whatever"), 503, "provider_credit", None),
        (Reply::text(403, "", "Not enough credits to do that"), 503, "provider_credit", None),
        (Reply::text(429, "retry-after: 7\r\n", "slow down"), 503, "provider_busy", Some(7)),
        (Reply::text(429, "", ""), 503, "provider_busy", Some(10)),
        (
            Reply::text(429, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", ""),
            503,
            "provider_busy",
            Some(10),
        ),
        (Reply::text(500, "", "Invalid to number"), 502, "provider_error", None),
        (Reply::text(502, "content-type: text/html\r\n", html), 502, "provider_error", None),
        (Reply::text(404, "", "what?"), 502, "provider_error", None),
        (Reply::text(302, "location: http://127.0.0.1:1/\r\n", ""), 502, "provider_error", None),
        (Reply::text(200, "", r#"{"id":"c0000"#), 502, "provider_error", None),
        (Reply::text(200, "", r#"{"id":"../../a1/me"}"#), 502, "provider_error", None),
        (Reply::text(200, "", r#"{"state":"ongoing"}"#), 502, "provider_error", None),
        (Reply::text(200, "", &"x".repeat(100_000)), 502, "provider_error", None),
    ] {
        let setup = Setup::new().await;
        setup.elks.then(reply.clone());
        let id = Uuid::new_v4();
        let request = setup.browser.request(Method::PUT, &format!("/v1/calls/{id}"));
        let response = request.json(&json!({"to": DESTINATION})).send().await.unwrap();
        let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().get("www-authenticate").is_none());
        let (found, problem) = json_of(response).await;
        assert_eq!((found.as_u16(), &problem["code"]), (status, &json!(code)), "{reply:?}");
        assert_eq!(problem["status"], status);
        assert_eq!(header, retry.map(|seconds: u64| seconds.to_string()), "{reply:?}");
        assert_eq!(problem.get("retry_after_s"), retry.map(|seconds| json!(seconds)).as_ref());
        assert!(!problem.to_string().contains("secret-of-the-provider"));
        // The same answer again, and no second request.
        let (again, repeated) = setup.browser.put(id, &json!({"to": DESTINATION})).await;
        assert_eq!((again.as_u16(), repeated), (status, problem), "{reply:?}");
        let call = setup.browser.poll(id, 0, 0).await;
        assert_eq!(setup.elks.asked().len(), 1, "{reply:?}");
        if matches!(&reply, Reply::Raw(bytes) if bytes.starts_with(b"HTTP/1.1 200 ")) {
            // A call was made: its number is busy until its leg is over, and what it asks for is refused.
            assert_eq!((&call["state"], &call["reason"]), (&json!("cancelling"), &Value::Null), "{reply:?}");
            let another = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
            assert_eq!(another.1["code"], "call_in_progress");
            continue;
        }
        assert_eq!((&call["state"], &call["reason"]), (&json!("failed"), &json!("provider_error")));
        // The number is free again.
        setup.call().await;
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_unknown_until_a_hook_or_the_time_tells() {
    for reply in [
        Reply::Hang,
        Reply::Raw(Vec::new()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":".to_vec()),
    ] {
        let setup = Setup::with(|config| {
            config.upstream.total_timeout = Duration::from_millis(300);
            config.timeouts.ring = Duration::from_millis(1_000);
        })
        .await;
        setup.elks.then(reply.clone());
        setup.elks.then(reply);
        let (id, asked) = setup.call().await;
        let call = setup.browser.poll(id, 0, 0).await;
        assert_eq!(call["state"], "accepted");
        // It was made after all.
        assert_eq!(setup.browser.claim(id).await, 204);
        assert_eq!(setup.voice_start(&asked, &asked.id).await["connect"], DESTINATION);
        setup.browser.state(id, "bridging").await;
        setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success")]).await;
        assert_eq!(setup.browser.state(id, "ended").await["reason"], "completed");

        let (id, asked) = setup.call().await;
        let call = setup.browser.state(id, "failed").await;
        assert_eq!(call["reason"], "provider_unknown");
        assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
        assert_eq!(setup.elks.a_legs().len(), 2);
    }
}

#[tokio::test]
async fn without_46elks_the_call_fails_at_once() {
    let setup = Setup::with(|config| config.upstream.base_url = "http://127.0.0.1:1/a1".to_owned()).await;
    let (status, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (502, &json!("provider_error")));
}

#[tokio::test]
async fn destinations_are_checked_before_anything_is_dialled() {
    let setup = Setup::new().await;
    for (to, status, code) in [
        ("0701234567", 422, "invalid_destination"),
        ("+46701234567,+88212345678", 422, "invalid_destination"),
        ("sip:a@example.com", 422, "invalid_destination"),
        ("+46701234567;x=1", 422, "invalid_destination"),
        ("*21*+46701234567#", 422, "invalid_destination"),
        ("112", 403, "emergency_unsupported"),
        ("911", 403, "emergency_unsupported"),
        ("+4790123456", 403, "destination_denied"),
        ("+469001234567", 403, "destination_denied"),
        ("+88212345678", 403, "destination_denied"),
        (ALICE, 403, "destination_denied"),
        ("+4600100199", 403, "destination_denied"),
        (BRIDGE, 403, "destination_denied"),
    ] {
        let (found, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": to})).await;
        assert_eq!((found.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{to}");
    }
    let body = json!({"to": DESTINATION, "caller_id": "boss"});
    let (status, problem) = setup.browser.put(Uuid::new_v4(), &body).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("caller_id_denied")));
    assert_eq!(setup.elks.asked().len(), 0);
}

#[tokio::test]
async fn limits_and_the_switch_stop_calls() {
    let setup = Setup::with(|config| config.limits.user_per_minute = 1).await;
    let (_, asked) = setup.call().await;
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "failed")]).await;
    let request = setup.browser.request(Method::PUT, &format!("/v1/calls/{}", Uuid::new_v4()));
    let response = request.json(&json!({"to": DESTINATION})).send().await.unwrap();
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let (status, problem) = json_of(response).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("rate_limited")));

    let setup = Setup::with(|config| config.budget.minutes_per_day = Some(1)).await;
    let (_, asked) = setup.bridged().await;
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success"), ("duration", "61")]).await;
    let refused = || async {
        let (status, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
        (status == 429).then(|| problem["code"].clone())
    };
    // The end is counted just after it is told; until then a call may still be in progress.
    assert_eq!(eventually("the budget is used up", refused).await, "budget_exhausted");

    let setup = Setup::with(|config| config.kill_switch = true).await;
    let (status, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("disabled")));
}

#[tokio::test]
async fn the_switch_keeps_far_ends_from_being_dialled() {
    let folder = tempfile::tempdir().unwrap();
    let stop = folder.path().join("stop");
    let setup = Setup::with(|config| config.kill_switch_file = Some(stop.clone())).await;
    let reject = json!({"hangup": "reject"});
    // Set between the request and the answer.
    let (id, asked) = setup.call().await;
    assert_eq!(setup.browser.claim(id).await, 204);
    std::fs::write(&stop, "").unwrap();
    assert_eq!(setup.voice_start(&asked, &asked.id).await, reject);
    assert_eq!(setup.browser.poll(id, 0, 0).await["confirmed"], false);
    // Cancelled is cancelled, also when calls are allowed again.
    std::fs::remove_file(&stop).unwrap();
    assert_eq!(setup.voice_start(&asked, &asked.id).await, reject);
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success")]).await;
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "cancelled");

    // Set while voice_start waits for the claim.
    let (id, asked) = setup.call().await;
    let claim = async {
        std::fs::write(&stop, "").unwrap();
        setup.browser.claim(id).await
    };
    let (action, _) = tokio::join!(setup.voice_start(&asked, &asked.id), claim);
    assert_eq!(action, reject);
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success")]).await;
    std::fs::remove_file(&stop).unwrap();

    // A voice_start that comes twice isn't answered as before.
    let (_, asked) = setup.bridged().await;
    std::fs::write(&stop, "").unwrap();
    assert_eq!(setup.voice_start(&asked, &asked.id).await, reject);
}

#[tokio::test]
async fn cancellations_of_what_never_was_are_limited() {
    let setup = Setup::with(|config| config.limits.user_per_minute = 1).await;
    let (id, _) = setup.call().await;
    let cancel = |browser: &Browser, id: Uuid| {
        let request = browser.request(Method::DELETE, &format!("/v1/calls/{id}"));
        async { json_of(request.send().await.unwrap()).await }
    };
    for _ in 0..10 {
        assert_eq!(cancel(&setup.browser, Uuid::new_v4()).await.0, 202);
    }
    let (status, problem) = cancel(&setup.browser, Uuid::new_v4()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("rate_limited")));
    // Nobody else is, and a call can always be cancelled.
    assert_eq!(cancel(&setup.browser.of("bob"), Uuid::new_v4()).await.0, 202);
    assert_eq!(cancel(&setup.browser, id).await.0, 202);
}

#[tokio::test]
async fn a_store_that_fails_raises_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    // The journal can't be written anew.
    std::fs::create_dir(folder.path().join("journal.new")).unwrap();
    let journal = Some(folder.path().join("journal"));
    let setup = Setup::with(|config| config.store = StoreConfig::Memory { journal }).await;
    let (status, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    let (_, metrics) = setup.browser.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(!metrics.contains(r#"alarms_total{kind="store"} 0"#), "{metrics}");
    assert_eq!(setup.elks.asked().len(), 0);
}

#[tokio::test]
async fn one_number_has_one_call() {
    let setup = Setup::new().await;
    let (id, asked) = setup.call().await;
    let (status, problem) = setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("call_in_progress")));
    let other = setup.browser.of("bob").put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!(other.0, 202);
    // It is held until 46elks says that its leg is over.
    setup.browser.cancel(id).await;
    assert_eq!(setup.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await.0, 409);
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "failed")]).await;
    setup.call().await;
}

#[tokio::test]
async fn the_same_request_is_the_same_call() {
    let setup = Setup::new().await;
    let gate = Arc::new(Notify::new());
    setup.elks.then(Reply::Gated(Arc::clone(&gate)));
    let id = Uuid::new_v4();
    let body = json!({"to": DESTINATION});
    let ask = || {
        let (browser, body) = (setup.browser.clone(), body.clone());
        tokio::spawn(async move { browser.put(id, &body).await })
    };
    let (first, second) = (ask(), ask());
    setup.elks.asked_for(1).await;
    // Another body, while it is in flight and after.
    assert_eq!(setup.browser.put(id, &json!({"to": "+46701234568"})).await.1["code"], "idempotency_mismatch");
    gate.notify_one();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.0.as_u16(), &first), (202, &second));
    let key = setup.browser.request(Method::POST, "/v1/calls").header("idempotency-key", format!("\"{id}\""));
    assert_eq!(json_of(key.json(&body).send().await.unwrap()).await, first);
    // Who spells it differently means the same.
    assert_eq!(setup.browser.put(id, &json!({"to": "+46 701234567", "caller_id": "main"})).await.0, 202);
    assert_eq!(setup.browser.put(id, &json!({"to": "+46701234568"})).await.0, 422);
    assert_eq!(setup.browser.of("bob").put(id, &body).await.0, 422);
    assert_eq!(setup.elks.asked().len(), 1);
    let unkeyed = setup.browser.request(Method::POST, "/v1/calls").json(&body).send().await.unwrap();
    assert_eq!(unkeyed.status(), 400);
}

#[tokio::test]
async fn the_request_goes_on_when_the_browser_is_gone() {
    let setup = Setup::new().await;
    let gate = Arc::new(Notify::new());
    setup.elks.then(Reply::Gated(Arc::clone(&gate)));
    let id = Uuid::new_v4();
    let asking = setup.browser.clone();
    let gone = tokio::spawn(async move { asking.put(id, &json!({"to": DESTINATION})).await });
    let asked = setup.elks.asked_for(1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    gate.notify_one();
    setup.browser.state(id, "ringing_client").await;
    assert_eq!(setup.browser.claim(id).await, 204);
    assert_eq!(setup.voice_start(&asked, &asked.id).await["connect"], DESTINATION);
}

#[tokio::test]
async fn old_calls_are_gone_but_not_forgotten() {
    let setup = Setup::with(|config| {
        config.timeouts.record_life = Duration::from_millis(1);
        config.timeouts.tombstone = Duration::from_millis(300);
    })
    .await;
    let (id, asked) = setup.call().await;
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "failed")]).await;
    let gone = || async {
        let (status, problem) = setup.browser.get(&format!("/v1/calls/{id}")).await;
        (status == 410).then_some(problem)
    };
    assert_eq!(eventually("the call is old", gone).await["code"], "expired");
    let (status, problem) = setup.browser.put(id, &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (410, &json!("expired")));
    assert_eq!(setup.browser.claim(id).await, 410);
    assert_eq!(setup.elks.asked().len(), 1);
}

#[tokio::test]
async fn a_cancellation_may_come_first() {
    let setup = Setup::with(|config| config.timeouts.tombstone = Duration::from_millis(500)).await;
    let id = Uuid::new_v4();
    let tomb = setup.browser.cancel(id).await;
    assert_eq!(
        (&tomb["state"], &tomb["reason"], &tomb["ended"]),
        (&json!("ended"), &json!("cancelled"), &json!(true))
    );
    let (status, problem) = setup.browser.put(id, &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("cancelled")));
    assert_eq!(setup.browser.cancel(id).await["state"], "ended");
    assert_eq!(setup.elks.asked().len(), 0);
    let forgotten =
        || async { (setup.browser.put(id, &json!({"to": DESTINATION})).await.0 == 202).then_some(()) };
    eventually("the tombstone is gone", forgotten).await;
}

#[tokio::test]
async fn a_cancelled_call_is_not_bridged() {
    let setup = Setup::new().await;
    let (id, asked) = setup.call().await;
    assert_eq!(setup.browser.claim(id).await, 204);
    assert_eq!(setup.browser.cancel(id).await["state"], "cancelling");
    assert_eq!(setup.browser.claim(id).await, 409);
    assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success")]).await;
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "cancelled");
}

#[tokio::test]
async fn a_cancellation_in_flight_is_heeded() {
    let setup = Setup::new().await;
    let gate = Arc::new(Notify::new());
    setup.elks.then(Reply::Gated(Arc::clone(&gate)));
    let id = Uuid::new_v4();
    let asking = setup.browser.clone();
    let put = tokio::spawn(async move { asking.put(id, &json!({"to": DESTINATION})).await });
    let asked = setup.elks.asked_for(1).await;
    assert_eq!(setup.browser.cancel(id).await["state"], "cancelling");
    assert_eq!(put.await.unwrap().1["state"], "cancelling");
    gate.notify_one();
    assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
}

#[tokio::test]
async fn voice_start_waits_for_the_claim() {
    let setup = Setup::new().await;
    let gate = Arc::new(Notify::new());
    setup.elks.then(Reply::Gated(Arc::clone(&gate)));
    let id = Uuid::new_v4();
    let asking = setup.browser.clone();
    let put = tokio::spawn(async move { asking.put(id, &json!({"to": DESTINATION})).await });
    // 46elks asks before it has answered, and the claim comes last.
    let asked = setup.elks.asked_for(1).await;
    let (first, again, claim) =
        tokio::join!(setup.voice_start(&asked, &asked.id), setup.voice_start(&asked, &asked.id), async {
            setup.browser.state(id, "ringing_client").await;
            setup.browser.claim(id).await
        });
    assert_eq!((&first["connect"], claim.as_u16()), (&json!(DESTINATION), 204));
    // The same call again: the same answer.
    assert_eq!(first, again);
    assert_eq!(first, setup.voice_start(&asked, &asked.id).await);
    // Another call: none.
    let other = "c99999999999999999999999999999999";
    assert_eq!(setup.voice_start(&asked, other).await, json!({"hangup": "reject"}));
    gate.notify_one();
    assert_eq!(put.await.unwrap().0, 202);
    setup.browser.state(id, "bridging").await;
}

#[tokio::test]
async fn without_a_claim_nothing_is_connected() {
    let setup = Setup::new().await;
    let (id, asked) = setup.call().await;
    let started = Instant::now();
    assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
    let waited = started.elapsed();
    assert!((Duration::from_millis(1_400)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
    assert_eq!(setup.browser.claim(id).await, 409);
    assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
    setup.whenhangup(&asked, &[("id", &asked.id), ("state", "success")]).await;
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "unverified");
}

#[tokio::test]
async fn hooks_are_taken_in_any_dress_and_order() {
    let setup = Setup::new().await;
    let (id, asked) = setup.call().await;
    assert_eq!(setup.browser.claim(id).await, 204);
    let (status, body) = setup.browser.hook(&asked.form["voice_start"], &[("id", &asked.id)]).await;
    assert_eq!(status, 200);
    assert!(body.contains("connect"), "{body}");
    let fields = [("callid", asked.id.as_str()), ("state", "success"), ("actions", "no json")];
    assert_eq!(setup.whenhangup(&asked, &fields).await, 204);
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "completed");

    let (id, asked) = setup.call().await;
    assert_eq!(setup.whenhangup(&asked, &[("id", &asked.id), ("state", "failed")]).await, 204);
    assert_eq!(setup.voice_start(&asked, &asked.id).await, json!({"hangup": "reject"}));
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "client_unreachable");
    let (status, body) = setup.browser.hook(&asked.form["voice_start"], &[]).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, r#"{"hangup":"reject"}"#));
}

#[tokio::test]
async fn only_46elks_finds_the_hooks() {
    let setup = Setup::new().await;
    let (_, asked) = setup.call().await;
    let (voice, hangup) = (&asked.form["voice_start"], &asked.form["whenhangup"]);
    let (base, token) = voice.rsplit_once('/').unwrap();
    let server = &setup.browser.base;
    assert!(token.len() >= 43);
    let swapped = hangup.replace("/hooks/h/", "/hooks/v/");
    let longer = format!("{voice}x");
    let nothing = setup.browser.hook(&format!("{base}/unknown"), &[]).await;
    assert_eq!(nothing.0, 404);
    let garbled = ["v", "h", "incoming"].map(|kind| format!("{server}/hooks/{kind}/%ff"));
    for url in garbled.iter().chain([&swapped, &longer, &format!("{base}/{}", token.to_uppercase())]) {
        assert_eq!(setup.browser.hook(url, &[("callid", &asked.id)]).await, nothing, "{url}");
    }

    let setup = Setup::with(|config| config.hook_sources = vec!["192.0.2.0/24".parse().unwrap()]).await;
    let (_, asked) = setup.call().await;
    assert_eq!(setup.browser.hook(&asked.form["voice_start"], &[("callid", &asked.id)]).await, nothing);

    let setup = Setup::with(|config| {
        config.hook_sources = vec!["192.0.2.0/24".parse().unwrap()];
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let (_, asked) = setup.call().await;
    for (forwarded, status) in
        [("192.0.2.7", 200), ("192.0.2.7, 198.51.100.1", 404), ("198.51.100.1, 192.0.2.7", 200)]
    {
        let request =
            setup.browser.client.post(&asked.form["voice_start"]).header("x-forwarded-for", forwarded);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{forwarded}");
    }
}

#[tokio::test]
async fn hooks_may_ask_for_credentials_too() {
    let setup = Setup::with(|config| {
        config.hook_basic = Some(wasm_softphone_proxy::config::BasicCredentials {
            username: "46elks".into(),
            password: "p@ss:word/of the hooks".into(),
        });
    })
    .await;
    let (id, asked) = setup.call().await;
    assert_eq!(setup.browser.claim(id).await, 204);
    // The address holds them, and the client sends them.
    assert_eq!(setup.voice_start(&asked, &asked.id).await["connect"], DESTINATION);
    let mut bare = url::Url::parse(&asked.form["voice_start"]).unwrap();
    bare.set_username("").unwrap();
    bare.set_password(None).unwrap();
    assert_eq!(setup.browser.hook(bare.as_str(), &[("callid", &asked.id)]).await.0, 404);
}

#[tokio::test]
async fn a_call_with_our_own_number_is_no_bridge() {
    const SECRET: &str = "incoming-secret-incoming-secret";
    let setup = Setup::with(|config| {
        config.incoming.secret = Some(SECRET.into());
        config.incoming.numbers.insert(BRIDGE.parse().unwrap(), ALICE.parse().unwrap());
    })
    .await;
    let url = format!("{}/hooks/incoming/{SECRET}", setup.browser.base);
    let reject = r#"{"hangup":"reject"}"#;
    for (from, to, answer) in [
        ("+46709999999", BRIDGE, None),
        (BRIDGE, BRIDGE, Some(reject)),
        ("46766860000", BRIDGE, Some(reject)),
        ("0046766860000", BRIDGE, Some(reject)),
        (ALICE, BRIDGE, Some(reject)),
        ("sip:+46766860000@192.0.2.1:5060", BRIDGE, Some(reject)),
        ("+046766860000", BRIDGE, Some(reject)),
        ("+46709999999", "+46709999998", Some(reject)),
    ] {
        let (status, body) = setup.browser.hook(&url, &[("from", from), ("to", to), ("callid", "c1")]).await;
        assert_eq!(status, 200);
        match answer {
            Some(answer) => assert_eq!(body, answer, "{from} {to}"),
            None => assert!(
                body.contains(&format!(r#""connect":"{ALICE}""#)) && !body.contains("callerid"),
                "{body}"
            ),
        }
    }
    assert_eq!(setup.browser.hook(&format!("{url}x"), &[]).await.0, 404);
}

#[tokio::test]
async fn who_has_no_business_here_is_told_so() {
    let setup = Setup::new().await;
    let (id, _) = setup.call().await;
    let path = format!("/v1/calls/{id}");
    let of = |response: reqwest::Response| async {
        let security =
            ["cache-control", "x-content-type-options", "content-security-policy", "referrer-policy"];
        for name in security {
            assert!(response.headers().contains_key(name), "{name}");
        }
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.headers().get("www-authenticate").is_none());
        let (status, problem) = json_of(response).await;
        assert_eq!(problem["status"], status.as_u16());
        (status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    };
    let browser = &setup.browser;
    let send = |request: reqwest::RequestBuilder| async { of(request.send().await.unwrap()).await };
    let is = |status: u16, code: &str| (status, code.to_owned());

    let anonymous = browser.client.get(format!("{}{path}", browser.base));
    assert_eq!(send(anonymous).await, is(401, "unauthenticated"));
    let foreign = browser.request(Method::GET, &path).header("origin", "https://evil.example");
    assert_eq!(send(foreign).await, is(403, "origin_denied"));
    assert_eq!(send(browser.of("bob").request(Method::GET, &path)).await, is(404, "not_found"));
    assert_eq!(browser.of("bob").claim(id).await, 404);
    // Somebody else's call is as good as unknown, and stays untouched.
    assert_eq!(browser.of("bob").cancel(id).await["state"], "ended");
    assert_eq!(browser.poll(id, 0, 0).await["state"], "ringing_client");

    let unknown = format!("/v1/calls/{}", Uuid::new_v4());
    assert_eq!(send(browser.request(Method::GET, &unknown)).await, is(404, "not_found"));
    assert_eq!(send(browser.request(Method::GET, "/nowhere")).await, is(404, "not_found"));
    let patch = browser.request(Method::PATCH, &path).send().await.unwrap();
    assert!(patch.headers().contains_key("allow"));
    assert_eq!(of(patch).await, is(405, "method_not_allowed"));
    for bad in [
        "nonsense",
        "8e03978e40d543e8bc936894a57f9324",
        "00000000-0000-0000-0000-000000000000",
        "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d",
        "%ff",
    ] {
        let request = browser.request(Method::GET, &format!("/v1/calls/{bad}"));
        assert_eq!(send(request).await, is(400, "bad_request"), "{bad}");
    }
    for bad in ["since=x", "wait=26", "wait=-1", "since=1&since=2", "other=1"] {
        let request = browser.request(Method::GET, &format!("{path}?{bad}"));
        assert_eq!(send(request).await, is(400, "bad_request"), "{bad}");
    }
    let put = || browser.request(Method::PUT, &unknown);
    let typed = || put().header("content-type", "application/json");
    assert_eq!(send(put().body("{}")).await, is(415, "bad_request"));
    let form = put().header("content-type", "text/plain").body(r#"{"to":"+46701234567"}"#);
    assert_eq!(send(form).await, is(415, "bad_request"));
    for bad in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"to":1}"#,
        r#"{"to":"+46701234567","from":"+46701234567"}"#,
        "{\"to\":\"\u{0}\"}",
    ] {
        assert_eq!(send(typed().body(bad.to_owned())).await, is(400, "bad_request"), "{bad}");
    }
    let long = format!(r#"{{"to":"{}"}}"#, "1".repeat(2_048));
    assert_eq!(send(typed().body(long)).await, is(413, "bad_request"));
    let claim = browser.request(Method::POST, &format!("{path}/claim"));
    assert_eq!(send(claim.json(&json!({"sip_call_id_sha256": "xyz"}))).await, is(400, "bad_request"));
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask() {
    let setup = Setup::with(|config| config.origins = ["https://app.example.com".to_owned()].into()).await;
    let request =
        setup.browser.request(Method::GET, "/v1/config").header("origin", "https://app.example.com");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example.com");
    assert!(response.headers()["vary"].to_str().unwrap().contains("Origin"));
    let preflight =
        setup.browser.client.request(Method::OPTIONS, format!("{}/v1/calls/x", setup.browser.base));
    let preflight =
        preflight.header("origin", "https://app.example.com").header("access-control-request-method", "PUT");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains("PUT"));
    let foreign = setup.browser.request(Method::GET, "/v1/config").header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let (_, metrics) = setup.browser.get("/metrics").await;
    assert!(
        metrics.as_str().unwrap().contains(r#"calls_refused_total{code="origin_denied"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_poll_waits_as_long_as_it_is_told() {
    let setup = Setup::new().await;
    let (id, _) = setup.call().await;
    let seq = setup.browser.poll(id, 0, 25).await["seq"].as_u64().unwrap();
    let started = Instant::now();
    assert_eq!(setup.browser.poll(id, seq, 1).await["seq"], seq);
    assert!(started.elapsed() >= Duration::from_millis(990));
    let polling = setup.browser.clone();
    let poll = tokio::spawn(async move { polling.poll(id, seq, 25).await });
    setup.browser.cancel(id).await;
    assert_eq!(poll.await.unwrap()["state"], "cancelling");
}

#[tokio::test]
async fn a_page_that_is_gone_is_noticed() {
    let setup = Setup::with(|config| config.timeouts.idle = Duration::from_millis(400)).await;
    let (id, asked) = setup.call().await;
    let rejected = || async {
        let record = setup.voice_start(&asked, &asked.id).await;
        (record == json!({"hangup": "reject"})).then_some(())
    };
    eventually("it is cancelled", rejected).await;
    assert_eq!(setup.browser.poll(id, 0, 0).await["state"], "cancelling");
}

#[tokio::test]
async fn a_lost_whenhangup_is_made_up_for_by_reading() {
    let setup = Setup::with(|config| config.timeouts.ring = Duration::from_millis(500)).await;
    let (id, asked) = setup.call().await;
    setup.elks.record(&asked.id, json!({"id": asked.id, "state": "failed"}));
    assert_eq!(setup.browser.state(id, "ended").await["reason"], "client_unreachable");
    let reads = setup.elks.asked().into_iter().filter(|asked| asked.method == "GET").collect::<Vec<_>>();
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0].path, format!("/a1/calls/{}", asked.id));
}

#[tokio::test]
async fn stopping_answers_who_waits_and_refuses_what_is_new() {
    let setup = Setup::new().await;
    let (id, _) = setup.call().await;
    let seq = setup.browser.poll(id, 0, 0).await["seq"].as_u64().unwrap();
    let gate = Arc::new(Notify::new());
    setup.elks.then(Reply::Gated(Arc::clone(&gate)));
    let other = setup.browser.of("bob");
    let bobs = Uuid::new_v4();
    let asking = other.clone();
    let put = tokio::spawn(async move { asking.put(bobs, &json!({"to": DESTINATION})).await });
    setup.elks.asked_for(2).await;
    let polling = setup.browser.clone();
    let poll = tokio::spawn(async move { polling.poll(id, seq, 25).await });
    let started = Instant::now();
    let stopping = Arc::clone(&setup.proxy);
    let stopped = tokio::spawn(async move { stopping.shut_down().await });
    assert_eq!(poll.await.unwrap()["seq"], seq);
    assert_eq!(put.await.unwrap().1["state"], "accepted");
    assert!(started.elapsed() < Duration::from_secs(10));
    let (status, problem) = setup.browser.get("/health/ready").await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    let (status, problem) = other.of("bob").put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    // The request to 46elks is waited for.
    assert!(!stopped.is_finished());
    gate.notify_one();
    tokio::time::timeout(DEADLINE, stopped).await.unwrap().unwrap();
    assert_eq!(other.poll(bobs, 0, 0).await["state"], "ringing_client");
}

#[tokio::test]
async fn the_operator_sees_how_it_goes() {
    let setup = Setup::new().await;
    assert_eq!(setup.browser.get("/health/live").await, (StatusCode::OK, json!({"status": "ok"})));
    assert_eq!(setup.browser.get("/health/ready").await, (StatusCode::OK, json!({"status": "ok"})));
    setup.call().await;
    let response = setup.browser.client.get(format!("{}/metrics", setup.browser.base)).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = response.text().await.unwrap();
    assert!(text.contains("softphone_proxy_calls_started_total 1"), "{text}");
    assert!(text.contains(r#"route="/v1/calls/{call_id}""#), "{text}");
}

#[tokio::test]
async fn the_figures_of_the_budget_are_those_of_today_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("budget");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let spent =
        json!({"day": now.as_secs() / 86_400, "seconds": 90, "cost": 11_400, "until": now.as_secs() * 1_000});
    std::fs::write(&file, spent.to_string()).unwrap();
    let setup = Setup::with(|config| config.budget.file = Some(file)).await;
    let (_, metrics) = setup.browser.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("softphone_proxy_budget_used_seconds 90\n"), "{metrics}");
    assert!(metrics.contains("softphone_proxy_budget_used_cost 11400\n"), "{metrics}");
}

#[tokio::test]
async fn it_describes_itself() {
    let setup = Setup::new().await;
    let (status, description) = setup.browser.get("/openapi.json").await;
    assert_eq!(status, 200);
    let paths: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/v1/calls/{call_id}",
        "/v1/calls",
        "/v1/calls/{call_id}/claim",
        "/v1/config",
        "/v1/sip",
        "/hooks/v/{token}",
        "/hooks/h/{token}",
        "/hooks/incoming/{secret}",
        "/health/live",
        "/health/ready",
        "/metrics",
    ] {
        assert!(paths.iter().any(|found| *found == path), "{path}: {paths:?}");
    }
    assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert!(description["components"]["schemas"]["ProblemBody"].is_object());
}
