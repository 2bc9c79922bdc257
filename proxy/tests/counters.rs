//! Limits that two instances share through a real redis-server of the PATH.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use wasm_softphone_proxy::config::{BasicCredentials, Config};
use wasm_softphone_proxy::limits::{Clock, Counters, CountersUnavailable, Limits, RedisCounters};
use wasm_softphone_proxy::numbers::E164;

/// Time stands still, in the middle of every window.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn unix(&self) -> Duration {
        Duration::from_secs(1_767_270_630)
    }
}

struct Redis {
    process: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Redis {
    async fn start() -> Self {
        let deadline = Instant::now() + Duration::from_secs(20);
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is in the PATH");
        let redis = Self { process, url: format!("redis://127.0.0.1:{port}"), _directory: directory };
        loop {
            let client = redis::Client::open(redis.url.as_str()).unwrap();
            if client.get_multiplexed_async_connection().await.is_ok() {
                return redis;
            }
            assert!(Instant::now() < deadline, "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn counters(&self) -> RedisCounters {
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(1)));
        let client = redis::Client::open(self.url.as_str()).unwrap();
        RedisCounters::new(ConnectionManager::new_with_config(client, settings).await.unwrap(), "test")
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn limits(counters: RedisCounters, change: impl FnOnce(&mut Config)) -> Limits {
    let mut config = Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/a1",
        BasicCredentials { username: "u1".into(), password: "password".into() },
        "hook-key-hook-key-hook-key".into(),
        "jwt-secret-jwt-secret-jwt-secret-jwt".into(),
    );
    change(&mut config);
    Limits::with(&config, Arc::new(Noon), Some(Arc::new(counters)))
}

fn number(at: u32) -> E164 {
    E164::parse(&format!("+4670{at:07}")).unwrap()
}

#[tokio::test]
async fn counters_add_read_and_end() {
    let redis = Redis::start().await;
    let counters = redis.counters().await;
    assert_eq!(counters.add("a", 0, Duration::from_secs(100)).await, Ok(0));
    assert_eq!(redis.ask::<u64>(&["EXISTS", "test:a"]).await, 0);
    assert_eq!(counters.add("a", 2, Duration::from_secs(100)).await, Ok(2));
    assert_eq!(counters.add("a", 3, Duration::from_secs(100)).await, Ok(5));
    assert_eq!(counters.add("a", 0, Duration::from_secs(100)).await, Ok(5));
    assert_eq!(counters.add("b", 1, Duration::from_secs(100)).await, Ok(1));
    let rest: i64 = redis.ask(&["TTL", "test:a"]).await;
    assert!((1..=100).contains(&rest), "{rest}");
}

#[tokio::test]
async fn two_instances_share_limits_and_budget_and_keep_no_number() {
    let redis = Redis::start().await;
    let few = |config: &mut Config| {
        config.limits.user_per_minute = 100;
        config.limits.user_per_hour = 4;
        config.budget.minutes_per_day = Some(10);
    };
    let one = limits(redis.counters().await, few);
    let two = limits(redis.counters().await, few);
    for at in 0..2 {
        one.admit("alice", &number(at)).await.unwrap();
        two.admit("alice", &number(at)).await.unwrap();
    }
    for limits in [&one, &two] {
        let limited = limits.admit("alice", &number(9)).await.unwrap_err();
        assert_eq!((limited.code, limited.limit), ("rate_limited", "user_hour"));
    }
    two.admit("bob", &number(0)).await.unwrap();
    one.settle(Duration::from_secs(600), Some(5)).await.unwrap();
    assert_eq!(two.admit("bob", &number(1)).await.unwrap_err().code, "budget_exhausted");

    let keys: Vec<String> = redis.ask(&["KEYS", "*"]).await;
    assert!(keys.len() >= 8, "{keys:?}");
    for key in &keys {
        assert!(key.starts_with("test:") && !key.contains("alice") && !key.contains("4670000"), "{key}");
        assert!(redis.ask::<i64>(&["TTL", key]).await > 0, "{key} never ends");
    }
}

#[tokio::test]
async fn without_the_server_no_call_is_started() {
    let mut redis = Redis::start().await;
    let counters = redis.counters().await;
    let limits = limits(counters.clone(), |_| ());
    limits.admit("alice", &number(0)).await.unwrap();
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    assert_eq!(limits.admit("alice", &number(1)).await.unwrap_err().code, "unavailable");
    assert_eq!(counters.add("a", 1, Duration::from_secs(1)).await, Err(CountersUnavailable));
}
