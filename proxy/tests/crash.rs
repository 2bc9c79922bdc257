//! kill -9 at each step of a call, and a start after it: nothing is dialled twice, and every call ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/binary.rs"]
mod binary;
mod support;

use std::{fs, io::Write, path::Path};

use binary::{Binary, Options};
use reqwest::Method;
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;
use uuid::Uuid;

fn options(folder: &TempDir, crash_at: Option<&'static str>) -> Options {
    Options {
        store: format!("kind = \"memory\"\njournal = \"{}\"", journal(folder.path())),
        timeouts: "ring = \"1s\"".to_owned(),
        crash_at,
        panic_at: None,
    }
}

fn journal(folder: &Path) -> String {
    folder.join("journal").display().to_string()
}

/// A request for a call that the proxy may not survive.
async fn ask(browser: &Browser, id: Uuid) -> Option<(u16, Value)> {
    let request = browser.request(Method::PUT, &format!("/v1/calls/{id}")).json(&json!({"to": DESTINATION}));
    let response = request.send().await.ok()?;
    let (status, body) = json_of(response).await;
    Some((status.as_u16(), body))
}

async fn voice(proxy: &Binary, asked: &Asked) -> Option<Value> {
    let form = [("callid", asked.id.as_str())];
    let request = proxy.browser.client.post(proxy.here(&asked.form["voice_start"])).form(&form);
    let body = request.send().await.ok()?.text().await.ok()?;
    Some(serde_json::from_str(&body).unwrap())
}

async fn hang_up(proxy: &Binary, asked: &Asked) {
    let fields = [("id", asked.id.as_str()), ("state", "success"), ("duration", "5")];
    assert_eq!(proxy.browser.hook(&proxy.here(&asked.form["whenhangup"]), &fields).await.0, 204);
}

#[tokio::test]
async fn killed_before_the_request_is_sent() {
    for step in ["record-written", "before-post"] {
        let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, Some(step)));
        assert_eq!(ask(&proxy.browser, id).await, None, "{step}");
        proxy.died().await;
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
        // Its outcome counts as unknown: it isn't sent now.
        let (status, call) = ask(&proxy.browser, id).await.unwrap();
        assert_eq!((status, &call["state"]), (202, &json!("accepted")), "{step}");
        assert_eq!(proxy.browser.state(id, "failed").await["reason"], "provider_unknown", "{step}");
        assert_eq!(elks.a_legs().len(), 0, "{step}");
        assert_eq!(ask(&proxy.browser, Uuid::new_v4()).await.unwrap().0, 202, "{step}");
        assert_eq!(elks.a_legs().len(), 1, "{step}");
    }
}

#[tokio::test]
async fn killed_while_46elks_has_the_request() {
    for step in [None, Some("after-answer")] {
        let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, step));
        if step.is_none() {
            elks.then(Reply::Hang);
        }
        let asking = proxy.browser.clone();
        let put = tokio::spawn(async move { ask(&asking, id).await });
        let asked = elks.asked_for(1).await;
        match step {
            None => drop(proxy.kill()),
            Some(_) => drop(proxy.died().await),
        }
        assert_eq!(put.await.unwrap(), None);
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
        let (status, call) = ask(&proxy.browser, id).await.unwrap();
        assert_eq!((status, &call["state"]), (202, &json!("accepted")));
        // 46elks has made the call: it goes on.
        assert_eq!(proxy.browser.claim(id).await, 204);
        assert_eq!(voice(&proxy, &asked).await.unwrap()["connect"], DESTINATION);
        hang_up(&proxy, &asked).await;
        assert_eq!(proxy.browser.state(id, "ended").await["reason"], "completed");
        assert_eq!(elks.a_legs().len(), 1);
    }
}

#[tokio::test]
async fn killed_at_voice_start() {
    for step in ["voice-before-write", "voice-after-write"] {
        let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, Some(step)));
        assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
        let asked = elks.asked_for(1).await;
        assert_eq!(proxy.browser.claim(id).await, 204);
        assert_eq!(voice(&proxy, &asked).await, None, "{step}");
        proxy.died().await;
        let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
        let call = proxy.browser.poll(id, 0, 0).await;
        let decided = step == "voice-after-write";
        assert_eq!(call["confirmed"], decided, "{step}");
        // If 46elks asks again it is told the same, and only of this call.
        let other = Asked { id: "c99999999999999999999999999999999".to_owned(), ..asked.clone() };
        assert_eq!(voice(&proxy, &other).await.unwrap(), json!({"hangup": "reject"}), "{step}");
        assert_eq!(voice(&proxy, &asked).await.unwrap()["connect"], DESTINATION, "{step}");
        hang_up(&proxy, &asked).await;
        hang_up(&proxy, &asked).await;
        assert_eq!(proxy.browser.state(id, "ended").await["reason"], "completed", "{step}");
        assert_eq!(ask(&proxy.browser, id).await.unwrap().1["state"], "ended", "{step}");
        assert_eq!(elks.a_legs().len(), 1, "{step}");
    }
}

#[tokio::test]
async fn a_cancellation_survives() {
    let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
    let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
    let asked = elks.asked_for(1).await;
    assert_eq!(proxy.browser.claim(id).await, 204);
    proxy.browser.cancel(id).await;
    let tomb = Uuid::new_v4();
    proxy.browser.cancel(tomb).await;
    proxy.kill();
    let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    assert_eq!(voice(&proxy, &asked).await.unwrap(), json!({"hangup": "reject"}));
    assert_eq!(ask(&proxy.browser, tomb).await.unwrap().0, 409);
    hang_up(&proxy, &asked).await;
    assert_eq!(proxy.browser.state(id, "ended").await["reason"], "cancelled");
    assert_eq!(elks.a_legs().len(), 1);
}

#[tokio::test]
async fn killed_again_and_again_it_stays_one_call() {
    let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
    let options = |crash_at| Options { timeouts: "ring = \"20s\"".to_owned(), ..options(&folder, crash_at) };
    for step in [None, Some("voice-before-write"), Some("voice-after-write"), Some("voice-after-write")] {
        let proxy = Binary::start(&elks, folder.path(), &options(step));
        assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
        let asked = elks.asked_for(1).await;
        assert_eq!(proxy.browser.claim(id).await, 204);
        if step.is_none() {
            proxy.kill();
        } else {
            assert_eq!(voice(&proxy, &asked).await, None);
            proxy.died().await;
        }
    }
    assert_eq!(elks.a_legs().len(), 1);
}

#[tokio::test]
async fn a_torn_last_line_is_passed_over_and_a_damaged_one_is_not() {
    let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
    let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
    proxy.kill();
    let path = journal(folder.path());
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(br#"{"write":{"call_id":"8e03"#).unwrap();
    let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
    let log = proxy.kill();
    assert_eq!(elks.a_legs().len(), 1);
    for secret in
        [API_PASSWORD, HOOK_KEY, JWT_SECRET, DESTINATION, &DESTINATION[1..], &ALICE[1..], "/hooks/v/e"]
    {
        assert!(!log.contains(secret), "{secret}: {log}");
    }

    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{{\"write\":\n{whole}")).unwrap();
    let started = std::process::Command::new(env!("CARGO_BIN_EXE_wasm-softphone-proxy"))
        .arg("--config")
        .arg(folder.path().join("config.toml"))
        .output()
        .unwrap();
    assert!(!started.status.success());
    assert!(String::from_utf8_lossy(&started.stderr).contains("line 1"), "{started:?}");
}

#[tokio::test]
async fn one_journal_has_one_process() {
    let (folder, elks) = (TempDir::new().unwrap(), Elks::start().await);
    let _proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_wasm-softphone-proxy"))
        .arg("--config")
        .arg(folder.path().join("config.toml"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process"), "{second:?}");
}

#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
    let proxy = Binary::start(&elks, folder.path(), &options(&folder, None));
    assert_eq!(ask(&proxy.browser, id).await.unwrap().0, 202);
    let seq = proxy.browser.poll(id, 0, 0).await["seq"].as_u64().unwrap();
    let polling = proxy.browser.clone();
    let poll = tokio::spawn(async move { polling.poll(id, seq, 25).await });
    // The poll is under way when the next request of another connection is answered.
    proxy.browser.get("/health/live").await;
    let (success, log) = proxy.terminate().await;
    assert!(success, "{log}");
    assert!(log.contains("stopped"), "{log}");
    assert_eq!(poll.await.unwrap()["call_id"], id.to_string());
}

#[tokio::test]
async fn a_wrong_configuration_is_named_by_its_field() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "listen = \"nowhere\"\nhook_key = \"short-secret\"\n").unwrap();
    let run = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wasm-softphone-proxy"));
        command.arg("--check-config").arg("--config").arg(&path).output().unwrap()
    };
    let wrong = run();
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("listen:"), "{said}");
    assert!(!said.contains("short-secret"), "{said}");
}

/// A variable of somebody else's is none of the proxy's business, whatever it holds.
#[test]
fn an_environment_that_is_not_unicode_is_borne() {
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, "listen = \"nowhere\"\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wasm-softphone-proxy"));
    command.arg("--check-config").arg("--config").arg(&path);
    let run = command.env("OTHER", std::ffi::OsStr::from_bytes(b"\xff")).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("listen:"), "{said}");
}

#[tokio::test]
async fn a_panic_shows_where_and_nothing_else() {
    let (folder, elks, id) = (TempDir::new().unwrap(), Elks::start().await, Uuid::new_v4());
    let options = Options { panic_at: Some("record-written"), ..options(&folder, None) };
    let proxy = Binary::start(&elks, folder.path(), &options);
    let (status, problem) = ask(&proxy.browser, id).await.unwrap();
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    let log = proxy.kill();
    assert!(log.contains(r#""kind":"panic""#) && log.contains("crash.rs"), "{log}");
    assert!(!log.contains("4670") && !log.contains("panicked"), "{log}");
    assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
}
