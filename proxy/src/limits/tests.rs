use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::config::BasicCredentials;

/// 2026-01-01 12:00 UTC.
const NOON: u64 = 1_767_268_800;

#[derive(Debug, Default)]
struct TestClock(AtomicU64);

impl TestClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn unix(&self) -> Duration {
        Duration::from_secs(NOON) + self.monotonic()
    }
}

fn config() -> Config {
    Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/a1",
        BasicCredentials { username: "u1".into(), password: "password".into() },
        "hook-key-hook-key-hook-key".into(),
        "jwt-secret-jwt-secret-jwt-secret-jwt".into(),
    )
}

fn limits(change: impl FnOnce(&mut Config)) -> (Arc<TestClock>, Limits) {
    let mut config = config();
    change(&mut config);
    let clock = Arc::new(TestClock::default());
    let limits = Limits::with(&config, Arc::clone(&clock) as Arc<dyn Clock>, None);
    (clock, limits)
}

fn number(at: u32) -> E164 {
    E164::parse(&format!("+4670{at:07}")).unwrap()
}

#[test]
fn six_calls_a_minute_a_user() {
    let (clock, limits) = limits(|_| ());
    for at in 0..6 {
        limits.check("alice", &number(at)).unwrap();
    }
    let limited = limits.check("alice", &number(6)).unwrap_err();
    assert_eq!((limited.code, limited.status, limited.limit), ("rate_limited", 429, "user_minute"));
    assert_eq!(limited.retry_after_s(), 10);
    // Nobody else is kept from calling.
    limits.check("bob", &number(0)).unwrap();
    clock.advance(Duration::from_millis(9_999));
    assert!(limits.check("alice", &number(6)).is_err());
    clock.advance(Duration::from_millis(1));
    limits.check("alice", &number(6)).unwrap();
}

#[test]
fn sixty_calls_an_hour_a_user() {
    let (clock, limits) = limits(|_| ());
    let mut made = 0;
    // One every 10 s is what the minute allows.
    for at in 0..400 {
        made += u32::from(limits.check("alice", &number(at)).is_ok());
        clock.advance(Duration::from_secs(10));
    }
    // 400 attempts in 66 minutes 40 s: 60 at once and one a minute.
    assert!((100..=127).contains(&made), "{made}");
    let limited = limits.check("alice", &number(1000)).unwrap_err();
    assert_eq!(limited.limit, "user_hour");
}

#[test]
fn three_calls_in_ten_minutes_to_one_number() {
    let (clock, limits) = limits(|_| ());
    for _ in 0..3 {
        limits.check("alice", &number(1)).unwrap();
    }
    let limited = limits.check("alice", &number(1)).unwrap_err();
    assert_eq!((limited.limit, limited.retry_after_s()), ("destination", 200));
    limits.check("alice", &number(2)).unwrap();
    limits.check("bob", &number(1)).unwrap();
    clock.advance(Duration::from_secs(200));
    limits.check("alice", &number(1)).unwrap();
    assert!(limits.check("alice", &number(1)).is_err());
}

#[test]
fn thirty_calls_a_minute_of_all() {
    let (_, limits) = limits(|_| ());
    for at in 0..30 {
        limits.check(&format!("user-{at}"), &number(at)).unwrap();
    }
    let limited = limits.check("one-more", &number(99)).unwrap_err();
    assert_eq!((limited.limit, limited.retry_after_s()), ("global", 2));
}

#[test]
fn a_user_over_the_limit_uses_up_nothing_of_the_others() {
    let (_, limits) = limits(|_| ());
    for at in 0..1000 {
        let _ = limits.check("mallory", &number(at));
    }
    for at in 0..24 {
        limits.check(&format!("user-{at}"), &number(at)).unwrap();
    }
}

#[test]
fn the_days_minutes_run_out_and_come_back_at_midnight() {
    let (clock, limits) = limits(|config| config.budget.minutes_per_day = Some(10));
    limits.record_end(Duration::from_secs(599), None);
    limits.check("alice", &number(1)).unwrap();
    limits.record_end(Duration::from_millis(500), None);
    let limited = limits.check("alice", &number(1)).unwrap_err();
    assert_eq!((limited.code, limited.status, limited.limit), ("budget_exhausted", 429, "minutes"));
    assert_eq!(limited.retry_after_s(), 12 * 60 * 60);
    assert_eq!(limits.used_today(), (600, 0));
    clock.advance(Duration::from_secs(12 * 60 * 60) - Duration::from_millis(1));
    assert!(limits.check("alice", &number(1)).is_err());
    clock.advance(Duration::from_millis(1));
    limits.check("alice", &number(1)).unwrap();
    assert_eq!(limits.used_today(), (0, 0));
}

#[test]
fn the_days_cost_runs_out() {
    let (_, limits) = limits(|config| config.budget.cost_per_day = Some(20_000));
    limits.record_end(Duration::from_secs(1), Some(11_400));
    limits.check("alice", &number(1)).unwrap();
    limits.record_end(Duration::from_secs(1), Some(11_400));
    let limited = limits.check("alice", &number(1)).unwrap_err();
    assert_eq!((limited.code, limited.limit), ("budget_exhausted", "cost"));
}

#[test]
fn what_a_journal_tells_counts_only_for_its_day() {
    let (_, limits) = limits(|_| ());
    let now = Duration::from_secs(NOON);
    limits.record_end_at(now - DAY, Duration::from_secs(100), Some(100));
    limits.record_end_at(now + DAY, Duration::from_secs(100), Some(100));
    limits.record_end_at(now - HOUR, Duration::from_secs(7), Some(9));
    assert_eq!(limits.used_today(), (7, 9));
    limits.record_end(Duration::MAX, Some(u64::MAX));
    assert_eq!(limits.used_today(), (u64::MAX, u64::MAX));
}

#[test]
fn a_restart_does_not_give_the_day_back() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let start = || {
        limits(|config| {
            config.budget.minutes_per_day = Some(10);
            config.store = StoreConfig::Memory { journal: Some(journal.clone()) };
        })
    };
    let (clock, before) = start();
    before.record_end(Duration::from_secs(500), Some(7));
    clock.advance(Duration::from_secs(5));
    before.record_end(Duration::from_secs(99), Some(1));
    drop(before);

    let (clock, after) = start();
    assert_eq!(after.used_today(), (599, 8));
    // The journal tells of the same calls, and of one that ended as the process died.
    after.record_end_at(Duration::from_secs(NOON), Duration::from_secs(500), Some(7));
    after.record_end_at(Duration::from_secs(NOON + 5), Duration::from_secs(99), Some(1));
    assert_eq!(after.used_today(), (599, 8));
    after.check("alice", &number(1)).unwrap();
    after.record_end_at(Duration::from_secs(NOON + 6), Duration::from_secs(1), None);
    assert_eq!(after.check("alice", &number(1)).unwrap_err().code, "budget_exhausted");
    clock.advance(DAY);
    after.check("alice", &number(1)).unwrap();
    after.record_end(Duration::from_secs(3), None);
    assert_eq!(after.used_today(), (3, 0));

    // One that can't be read counts for nothing, and is replaced.
    std::fs::write(journal.with_added_extension("budget"), "{").unwrap();
    let (_, spoiled) = start();
    assert_eq!(spoiled.used_today(), (0, 0));
    spoiled.record_end(Duration::from_secs(3), None);
    let (_, again) = start();
    assert_eq!(again.used_today(), (3, 0));
}

#[test]
fn the_kill_switch_is_a_setting_or_a_file() {
    let (_, switched) = limits(|config| config.kill_switch = true);
    let limited = switched.check("alice", &number(1)).unwrap_err();
    assert_eq!((limited.code, limited.status), ("disabled", 503));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stop");
    let (_, limits) = limits(|config| config.kill_switch_file = Some(file.clone()));
    limits.check("alice", &number(1)).unwrap();
    std::fs::write(&file, "").unwrap();
    assert_eq!(limits.check("alice", &number(1)).unwrap_err().code, "disabled");
    std::fs::remove_file(&file).unwrap();
    limits.check("alice", &number(1)).unwrap();
}

#[test]
fn the_tables_do_not_grow_without_bound() {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    let bucket = Bucket::new(3, MINUTE, 5000, &clock);
    for key in 0..5000 {
        bucket.take(key).unwrap();
    }
    assert!(bucket.take(5000).is_err());
    assert_eq!(bucket.limiter.len(), 5000);

    let clock = Arc::new(TestClock::default());
    let bucket = Bucket::new(3, MINUTE, 5000, &(Arc::clone(&clock) as Arc<dyn Clock>));
    for key in 0..100_000 {
        bucket.take(key).unwrap();
        // A hundred a second: after a minute a bucket is full again and forgotten.
        clock.advance(Duration::from_millis(10 * u64::from(key % 2 == 0) * 10));
        assert!(bucket.limiter.len() <= 5000);
    }
}

#[test]
fn nothing_of_a_user_or_a_number_is_kept() {
    let (_, limits) = limits(|_| ());
    limits.check("alice@example.com", &number(1)).unwrap();
    assert!(!format!("{limits:?}").contains("alice"));
    assert_ne!(limits.digest("user", &["a", "b"]), limits.digest("user", &["ab"]));
    assert_ne!(limits.digest("user", &["a"]), limits.digest("destination", &["a"]));
}

fn shared_pair(
    counters: Arc<dyn Counters>,
    change: impl FnOnce(&mut Config),
) -> (Arc<TestClock>, Limits, Limits) {
    let mut config = config();
    change(&mut config);
    let clock = Arc::new(TestClock::default());
    let one = |clock: &Arc<TestClock>| {
        Limits::with(&config, Arc::clone(clock) as Arc<dyn Clock>, Some(Arc::clone(&counters)))
    };
    (Arc::clone(&clock), one(&clock), one(&clock))
}

#[tokio::test]
async fn two_instances_share_the_limits() {
    let (clock, one, two) = shared_pair(Arc::new(MemoryCounters::default()), |_| ());
    for at in 0..3 {
        one.admit("alice", &number(at)).await.unwrap();
        two.admit("alice", &number(at)).await.unwrap();
    }
    for limits in [&one, &two] {
        let limited = limits.admit("alice", &number(9)).await.unwrap_err();
        assert_eq!((limited.code, limited.limit), ("rate_limited", "user_minute"));
        assert!(limited.retry_after_s() <= 60);
    }
    clock.advance(MINUTE);
    two.admit("alice", &number(9)).await.unwrap();
}

#[tokio::test]
async fn two_instances_share_the_budget() {
    let (_, one, two) =
        shared_pair(Arc::new(MemoryCounters::default()), |config| config.budget.minutes_per_day = Some(1));
    one.settle(Duration::from_secs(60), Some(1)).await.unwrap();
    assert_eq!(two.used_today(), (0, 0));
    assert_eq!(two.admit("alice", &number(1)).await.unwrap_err().code, "budget_exhausted");
}

#[tokio::test]
async fn without_the_shared_counters_no_call_is_started() {
    #[derive(Debug)]
    struct Broken;
    impl Counters for Broken {
        fn add<'a>(&'a self, _: &'a str, _: u64, _: Duration) -> CountersFuture<'a> {
            Box::pin(std::future::ready(Err(CountersUnavailable)))
        }
    }
    let (_, one, _) = shared_pair(Arc::new(Broken), |_| ());
    let limited = one.admit("alice", &number(1)).await.unwrap_err();
    assert_eq!((limited.code, limited.status), ("unavailable", 503));
    assert_eq!(one.settle(Duration::ZERO, None).await, Err(CountersUnavailable));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the attempts lie in time: a token bucket never lets through more than its size at once and what it
    /// refills meanwhile.
    #[test]
    fn no_window_holds_more_than_a_bucket_and_its_refill(pauses in prop::collection::vec(0u64..30_000, 1..120)) {
        let (clock, limits) = limits(|config| {
            config.limits.destination = 1000;
            config.limits.user_per_hour = 1000;
        });
        let mut accepted = Vec::new();
        for pause in pauses {
            clock.advance(Duration::from_millis(pause));
            if limits.check("alice", &number(1)).is_ok() {
                accepted.push(clock.monotonic());
            }
        }
        for (at, first) in accepted.iter().enumerate() {
            let within = accepted[at..].iter().filter(|time| **time - *first < MINUTE).count();
            prop_assert!(within <= 6 + 6, "{within}");
            let at_once = accepted[at..].iter().filter(|time| **time - *first < Duration::from_secs(10)).count();
            prop_assert!(at_once <= 6 + 1, "{at_once}");
        }
    }

    #[test]
    fn once_the_budget_is_spent_nothing_gets_through(ends in prop::collection::vec((0u64..400, 0u64..9000), 1..40)) {
        let (_, limits) = limits(|config| {
            config.budget = BudgetConfig { minutes_per_day: Some(20), cost_per_day: Some(50_000), file: None };
            config.limits.user_per_minute = 1000;
            config.limits.user_per_hour = 1000;
            config.limits.destination = 1000;
            config.limits.global_per_minute = 1000;
        });
        let (mut seconds, mut cost) = (0, 0);
        for (duration, price) in ends {
            limits.record_end(Duration::from_secs(duration), Some(price));
            seconds += duration;
            cost += price;
            let open = seconds < 1200 && cost < 50_000;
            prop_assert_eq!(limits.check("alice", &number(1)).is_ok(), open);
        }
    }
}
