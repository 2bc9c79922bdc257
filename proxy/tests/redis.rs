//! Two instances of the proxy on one real redis-server.
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

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use binary::{Binary, Options};
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;
use uuid::Uuid;

struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = TempDir::new().unwrap();
        let redis = Self { child: spawn(port, folder.path()), port, folder };
        redis.ready().await;
        redis
    }

    async fn ready(&self) {
        eventually("redis answers", || async { (ping(self.port)? == "+PONG\r\n").then_some(()) }).await;
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path());
        self.ready().await;
    }

    fn options(&self) -> Options {
        let store =
            format!("kind = \"redis\"\nurl = \"redis://127.0.0.1:{}/\"\nprefix = \"test\"", self.port);
        Options { store, ..Options::default() }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been stopped.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

fn spawn(port: u16, folder: &Path) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is in the PATH")
}

fn ping(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..read]).into_owned())
}

async fn start_call(proxy: &Binary, elks: &Elks) -> (Uuid, Asked) {
    let (id, before) = (Uuid::new_v4(), elks.a_legs().len());
    let (status, body) = proxy.browser.put(id, &json!({"to": DESTINATION})).await;
    assert_eq!(status, 202, "{body}");
    (id, elks.asked_for(before + 1).await)
}

async fn voice(proxy: &Binary, asked: &Asked) -> Value {
    let fields = [("callid", asked.id.as_str())];
    let (status, body) = proxy.browser.hook(&proxy.here(&asked.form["voice_start"]), &fields).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn hang_up(proxy: &Binary, asked: &Asked) {
    let fields = [("id", asked.id.as_str()), ("state", "success"), ("duration", "5")];
    assert_eq!(proxy.browser.hook(&proxy.here(&asked.form["whenhangup"]), &fields).await.0, 204);
}

struct Pair {
    redis: Redis,
    elks: Elks,
    folders: [TempDir; 2],
    a: Binary,
    b: Binary,
}

impl Pair {
    async fn start() -> Self {
        let (redis, elks) = (Redis::start().await, Elks::start().await);
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [a, b] = [0, 1].map(|at: usize| Binary::start(&elks, folders[at].path(), &redis.options()));
        Self { redis, elks, folders, a, b }
    }
}

#[tokio::test]
async fn a_call_belongs_to_no_instance() {
    let Pair { redis: _redis, elks, folders: _folders, a, b } = Pair::start().await;
    let (id, asked) = start_call(&a, &elks).await;
    assert_eq!(b.browser.put(id, &json!({"to": DESTINATION})).await.1["call_id"], id.to_string());
    assert_eq!(b.browser.put(id, &json!({"to": "+46701234568"})).await.0, 422);
    assert_eq!(
        b.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await.1["code"],
        "call_in_progress"
    );
    let seq = a.browser.state(id, "ringing_client").await["seq"].as_u64().unwrap();
    // The claim comes to one while voice_start waits at the other, and a poll at either sees it.
    let (here, there, action, claimed) = tokio::join!(
        a.browser.poll(id, seq, 20),
        b.browser.poll(id, seq, 20),
        voice(&a, &asked),
        b.browser.claim(id)
    );
    assert_eq!((&action["connect"], claimed.as_u16()), (&json!(DESTINATION), 204));
    assert_eq!((&here["confirmed"], &there["confirmed"]), (&json!(true), &json!(true)));
    assert_eq!(voice(&b, &asked).await, action);
    hang_up(&b, &asked).await;
    hang_up(&a, &asked).await;
    assert_eq!(a.browser.state(id, "ended").await["reason"], "completed");

    let (id, asked) = start_call(&b, &elks).await;
    assert_eq!(b.browser.claim(id).await, 204);
    assert_eq!(a.browser.cancel(id).await["state"], "cancelling");
    assert_eq!(voice(&b, &asked).await, json!({"hangup": "reject"}));
    hang_up(&a, &asked).await;
    assert_eq!(b.browser.state(id, "ended").await["reason"], "cancelled");

    let tomb = Uuid::new_v4();
    a.browser.cancel(tomb).await;
    assert_eq!(b.browser.put(tomb, &json!({"to": DESTINATION})).await.1["code"], "cancelled");
    assert_eq!(elks.a_legs().len(), 2);
}

#[tokio::test]
async fn the_same_request_at_both_is_one_call() {
    let Pair { redis: _redis, elks, folders: _folders, a, b } = Pair::start().await;
    for _ in 0..5 {
        let before = elks.a_legs().len();
        let (id, body) = (Uuid::new_v4(), json!({"to": DESTINATION}));
        let (first, second) = tokio::join!(a.browser.put(id, &body), b.browser.put(id, &body));
        assert_eq!((first.0.as_u16(), second.0.as_u16()), (202, 202));
        assert_eq!(elks.a_legs().len(), before + 1);
        hang_up(&a, elks.a_legs().last().unwrap()).await;
    }
}

#[tokio::test]
async fn an_instance_that_is_killed_loses_no_call() {
    let Pair { redis, elks, folders, a, b } = Pair::start().await;
    // In flight.
    elks.then(Reply::Hang);
    let (id, asking) = (Uuid::new_v4(), a.browser.clone());
    let put = tokio::spawn(async move {
        let request = asking.request(reqwest::Method::PUT, &format!("/v1/calls/{id}"));
        request.json(&json!({"to": DESTINATION})).send().await.is_ok()
    });
    let asked = elks.asked_for(1).await;
    a.kill();
    assert!(!put.await.unwrap());
    assert_eq!(b.browser.claim(id).await, 204);
    assert_eq!(voice(&b, &asked).await["connect"], DESTINATION);
    b.browser.state(id, "bridging").await;
    // Up.
    let a = Binary::start(&elks, folders[0].path(), &redis.options());
    assert_eq!(a.browser.poll(id, 0, 0).await["state"], "bridging");
    b.kill();
    hang_up(&a, &asked).await;
    assert_eq!(a.browser.state(id, "ended").await["reason"], "completed");
    assert_eq!(elks.a_legs().len(), 1);
}

#[tokio::test]
async fn the_deadlines_of_a_killed_instance_are_kept_by_the_other() {
    let (redis, elks) = (Redis::start().await, Elks::start().await);
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let options = Options { timeouts: "ring = \"1s\"".to_owned(), ..redis.options() };
    let [a, b] = [0, 1].map(|at: usize| Binary::start(&elks, folders[at].path(), &options));
    elks.then(Reply::Hang);
    let (id, asking) = (Uuid::new_v4(), a.browser.clone());
    let put = tokio::spawn(async move {
        let request = asking.request(reqwest::Method::PUT, &format!("/v1/calls/{id}"));
        request.json(&json!({"to": DESTINATION})).send().await.is_ok()
    });
    elks.asked_for(1).await;
    a.kill();
    assert!(!put.await.unwrap());
    assert_eq!(b.browser.state(id, "failed").await["reason"], "provider_unknown");
    start_call(&b, &elks).await;
}

#[tokio::test]
async fn without_redis_there_are_no_calls_and_with_it_they_are_back() {
    let Pair { mut redis, elks, folders: _folders, a, b } = Pair::start().await;
    let (id, asked) = start_call(&a, &elks).await;
    assert_eq!(a.browser.claim(id).await, 204);
    redis.stop();
    let (status, problem) = a.browser.put(Uuid::new_v4(), &json!({"to": DESTINATION})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    assert_eq!(b.browser.get("/health/ready").await.0, 503);
    assert_eq!(b.browser.get("/health/live").await.0, 200);
    assert_eq!(b.browser.get(&format!("/v1/calls/{id}")).await.0, 503);
    // 46elks sends it again.
    let hook = b.here(&asked.form["whenhangup"]);
    assert_eq!(b.browser.hook(&hook, &[("id", &asked.id)]).await.0, 503);
    redis.restart().await;
    for proxy in [&a, &b] {
        eventually("it is ready", || async {
            (proxy.browser.get("/health/ready").await.0 == 200).then_some(())
        })
        .await;
    }
    assert_eq!(voice(&b, &asked).await["connect"], DESTINATION);
    hang_up(&a, &asked).await;
    assert_eq!(b.browser.state(id, "ended").await["reason"], "completed");
    assert_eq!(elks.a_legs().len(), 1);
    let log = a.kill();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_holds_up_no_other() {
    let (redis, elks) = (Redis::start().await, Elks::start().await);
    let broken = Uuid::new_v4();
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", redis.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut write = redis::pipe();
    write.cmd("HSET").arg(format!("test:call:{broken}")).arg("version").arg(1).arg("record").arg("{}");
    write.cmd("ZADD").arg("test:agenda:").arg(0).arg(broken.to_string());
    write.query_async::<()>(&mut connection).await.unwrap();
    let folder = TempDir::new().unwrap();
    let options = Options { timeouts: "idle = \"400ms\"".to_owned(), ..redis.options() };
    let proxy = Binary::start(&elks, folder.path(), &options);
    let (id, _) = start_call(&proxy, &elks).await;
    let cancelled = || async {
        let record: String = redis::cmd("HGET")
            .arg(format!("test:call:{id}"))
            .arg("record")
            .query_async(&mut connection.clone())
            .await
            .unwrap();
        record.contains(r#""state":"cancelling""#).then_some(())
    };
    eventually("its deadline is kept", cancelled).await;
}

/// Requests, cancellations, claims and webhooks at once, at both instances: one call each at most, nothing is connected
/// without a claim or after a cancellation was answered, and every number is free again.
#[tokio::test]
async fn whatever_comes_at_once_at_both_is_one_call() {
    let Pair { redis: _redis, elks, folders: _folders, a, b } = Pair::start().await;
    for round in 0..12_u32 {
        let (id, before) = (Uuid::new_v4(), elks.a_legs().len());
        let body = json!({"to": DESTINATION});
        let cancel = async { if round % 3 == 0 { Some(b.browser.cancel(id).await) } else { None } };
        let (first, second, _) = tokio::join!(a.browser.put(id, &body), b.browser.put(id, &body), cancel);
        assert!(
            [first.0, second.0].iter().all(|status| [202, 409].contains(&status.as_u16())),
            "{first:?} {second:?}"
        );
        let legs = elks.a_legs();
        assert!(legs.len() <= before + 1, "{round}");
        let Some(asked) = legs.get(before) else { continue };
        let claim = async { if round % 2 == 0 { a.browser.claim(id).await.as_u16() } else { 0 } };
        let late = async {
            if round % 4 == 0 {
                drop(b.browser.cancel(id).await)
            }
        };
        let (one, two, claimed, ()) = tokio::join!(voice(&a, asked), voice(&b, asked), claim, late);
        let connects = [&one, &two].iter().filter(|action| action["connect"] == DESTINATION).count();
        let reject = json!({"hangup": "reject"});
        assert!(connects == 0 || claimed == 204, "{round}: {one} {two} {claimed}");
        b.browser.cancel(id).await;
        assert_eq!(voice(&a, asked).await, reject, "{round}");
        let (_, ()) = tokio::join!(hang_up(&a, asked), hang_up(&b, asked));
        assert_eq!(a.browser.poll(id, 0, 0).await["ended"], true, "{round}");
    }
}
