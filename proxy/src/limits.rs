//! How often and how much: what stands between a stolen token and the telephone bill.
//!
//! [`Limits::check`] counts in this process, with token buckets: a bucket of 6 a minute lets 6 calls through at once
//! and then one every 10 s. [`Limits::admit`] counts in the process and, where several instances share a
//! [`Counters`], there too, in fixed windows. Every attempt counts that gets past the checks before it, also one
//! that a later limit refuses.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::{BudgetConfig, Config, LimitsConfig, StoreConfig};
use crate::numbers::E164;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// How many unknown calls a user may cancel for each that may be started: many more than any page does.
const CANCELS: u32 = 10;

/// Where the time comes from; tests bring their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since some moment that never changes; never goes back.
    fn monotonic(&self) -> Duration;
    /// Time since 1970-01-01 00:00 UTC.
    fn unix(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

/// Counters that several instances share.
pub trait Counters: fmt::Debug + Send + Sync {
    /// Adds `amount` to the counter `key`, which is forgotten no earlier than `life` from now; gives the new count.
    /// An amount of 0 only reads.
    fn add<'a>(&'a self, key: &'a str, amount: u64, life: Duration) -> CountersFuture<'a>;
}

/// What [`Counters::add`] gives in the end.
pub type CountersFuture<'a> = Pin<Box<dyn Future<Output = Result<u64, CountersUnavailable>> + Send + 'a>>;

/// The shared counters can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared counters can't be reached")]
pub struct CountersUnavailable;

/// Why no call may be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {limit}")]
pub struct Limited {
    /// The code of the answer: `rate_limited`, `budget_exhausted`, `disabled` or `unavailable`.
    pub code: &'static str,
    /// The HTTP status that goes with it: 429 or 503.
    pub status: u16,
    /// When to try again.
    pub retry_after: Duration,
    /// Which limit, for log and metrics: one of a fixed few words.
    pub limit: &'static str,
}

impl Limited {
    fn rate(limit: &'static str, retry_after: Duration) -> Self {
        Self { code: "rate_limited", status: 429, retry_after, limit }
    }

    fn unavailable() -> Self {
        Self { code: "unavailable", status: 503, retry_after: Duration::from_secs(5), limit: "counters" }
    }

    /// [`retry_after`](Self::retry_after) in whole seconds, at least one, as `Retry-After` has it.
    #[must_use]
    pub fn retry_after_s(&self) -> u64 {
        let more = u64::from(self.retry_after.subsec_nanos() > 0);
        self.retry_after.as_secs().saturating_add(more).max(1)
    }
}

/// The limits and what has been used of them.
pub struct Limits {
    config: LimitsConfig,
    budget: BudgetConfig,
    kill_switch: bool,
    kill_switch_file: Option<PathBuf>,
    key: SecretString,
    clock: Arc<dyn Clock>,
    shared: Option<Arc<dyn Counters>>,
    user_minute: Bucket,
    user_hour: Bucket,
    destination: Bucket,
    global: Bucket,
    cancel_minute: Bucket,
    spent: Mutex<Spent>,
    spent_file: Option<PathBuf>,
    /// What the file held at the start goes as far as this, in milliseconds since 1970-01-01.
    known_until: Duration,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("config", &self.config)
            .field("budget", &self.budget)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Spent {
    /// Days since 1970-01-01.
    day: u64,
    seconds: u64,
    cost: u64,
    /// When the last was added, in milliseconds since 1970-01-01.
    until: u64,
}

impl Spent {
    fn add(&mut self, today: u64, now: Duration, duration: Duration, cost: Option<u64>) {
        if self.day != today {
            *self = Self { day: today, ..Self::default() };
        }
        self.seconds = self.seconds.saturating_add(whole_seconds(duration));
        self.cost = self.cost.saturating_add(cost.unwrap_or(0));
        self.until = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(self.until);
    }
}

/// What was used of the budget before a restart.
fn read_spent(path: &Path) -> Option<Spent> {
    match std::fs::read(path) {
        Ok(text) => {
            let spent = serde_json::from_slice(&text).ok();
            if spent.is_none() {
                tracing::error!(kind = "budget_file", "the day's use can't be read: counting from nothing");
            }
            spent
        }
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::error!(kind = "budget_file", reason = %error.kind(), "the day's use can't be read");
            }
            None
        }
    }
}

/// In one step, so that a crash leaves the old or the new.
fn write_spent(path: &Path, spent: &Spent) -> std::io::Result<()> {
    let new = path.with_added_extension("new");
    std::fs::write(&new, serde_json::to_vec(spent)?)?;
    std::fs::rename(&new, path)
}

impl Limits {
    /// Limits that count in this process, by the machine's clocks.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(config, Arc::new(SystemClock::default()), None)
    }

    /// Limits with a clock of one's own, and with counters that other instances share.
    #[must_use]
    pub fn with(config: &Config, clock: Arc<dyn Clock>, shared: Option<Arc<dyn Counters>>) -> Self {
        let limits = &config.limits;
        let bucket = |count, window| Bucket::new(count, window, limits.max_keys, &clock);
        let spent_file = config.budget.file.clone().or_else(|| match &config.store {
            StoreConfig::Memory { journal: Some(path) } => Some(path.with_added_extension("budget")),
            _ => None,
        });
        let spent = spent_file.as_deref().and_then(read_spent).unwrap_or_default();
        Self {
            user_minute: bucket(limits.user_per_minute, MINUTE),
            user_hour: bucket(limits.user_per_hour, HOUR),
            destination: bucket(limits.destination, limits.destination_window),
            global: bucket(limits.global_per_minute, MINUTE),
            cancel_minute: bucket(limits.user_per_minute.saturating_mul(CANCELS), MINUTE),
            config: limits.clone(),
            budget: config.budget.clone(),
            kill_switch: config.kill_switch,
            kill_switch_file: config.kill_switch_file.clone(),
            key: config.hook_key.clone(),
            shared,
            known_until: Duration::from_millis(spent.until),
            spent: Mutex::new(spent),
            spent_file,
            clock,
        }
    }

    /// Whether this user may cancel a call that isn't known, which is remembered for a while, too.
    pub fn check_cancel(&self, user: &str) -> Result<(), Limited> {
        let user = self.digest("cancel", &[user]);
        self.cancel_minute.take(user).map_err(|wait| Limited::rate("cancel_minute", wait))
    }

    /// Whether this user may start a call to this number now, by what this process has counted.
    pub fn check(&self, user: &str, to: &E164) -> Result<(), Limited> {
        self.check_switch()?;
        let spent = self.spent_today();
        self.check_budget(spent.seconds, spent.cost)?;
        // The user's own limits go first: nobody uses up what belongs to all, or fills the table of destinations.
        let user_key = self.digest("user", &[user]);
        self.user_minute.take(user_key).map_err(|wait| Limited::rate("user_minute", wait))?;
        self.user_hour.take(user_key).map_err(|wait| Limited::rate("user_hour", wait))?;
        let pair = self.digest("destination", &[user, to.as_str()]);
        self.destination.take(pair).map_err(|wait| Limited::rate("destination", wait))?;
        self.global.take(0).map_err(|wait| Limited::rate("global", wait))
    }

    /// [`check`](Self::check), and the same by what all instances have counted. When the shared counters can't be
    /// reached, no call is started.
    pub async fn admit(&self, user: &str, to: &E164) -> Result<(), Limited> {
        self.check(user, to)?;
        let Some(shared) = &self.shared else { return Ok(()) };
        let day = self.today();
        let seconds =
            shared.add(&day_key(day, "seconds"), 0, 2 * DAY).await.map_err(|_| Limited::unavailable())?;
        let cost = shared.add(&day_key(day, "cost"), 0, 2 * DAY).await.map_err(|_| Limited::unavailable())?;
        self.check_budget(seconds, cost)?;
        let user_key = format!("{:032x}", self.digest("user", &[user]));
        let pair = format!("{:032x}", self.digest("destination", &[user, to.as_str()]));
        for (limit, key, count, window) in [
            ("user_minute", user_key.as_str(), self.config.user_per_minute, MINUTE),
            ("user_hour", user_key.as_str(), self.config.user_per_hour, HOUR),
            ("destination", pair.as_str(), self.config.destination, self.config.destination_window),
            ("global", "all", self.config.global_per_minute, MINUTE),
        ] {
            let now = self.clock.unix().as_millis();
            let length = window.as_millis().max(1);
            let key = format!("limit:{limit}:{key}:{}", now / length);
            let used = shared.add(&key, 1, window * 2).await.map_err(|_| Limited::unavailable())?;
            if used > u64::from(count) {
                let rest = u64::try_from(length - now % length).unwrap_or(u64::MAX);
                return Err(Limited::rate(limit, Duration::from_millis(rest)));
            }
        }
        Ok(())
    }

    /// A call has ended: how long it was and what 46elks says it cost, in 1/10000 of the account's currency. Once
    /// a call, however often its webhook comes.
    pub fn record_end(&self, duration: Duration, cost: Option<u64>) {
        let now = self.clock.unix();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.add(self.today(), now, duration, cost);
        // Under the lock, so that an older sum never overwrites a newer one.
        if let Some(path) = &self.spent_file
            && let Err(error) = write_spent(path, &spent)
        {
            tracing::error!(kind = "budget_file", reason = %error.kind(), "the day's use can't be written");
        }
    }

    /// [`record_end`](Self::record_end) of a call that ended at `unix`: with it a journal that is read again after
    /// a restart gives the day's use back. Calls of other days don't count, nor do those that the budget's own file
    /// has counted.
    pub fn record_end_at(&self, unix: Duration, duration: Duration, cost: Option<u64>) {
        let today = self.today();
        if unix.as_secs() / DAY.as_secs() != today || unix <= self.known_until {
            return;
        }
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).add(today, unix, duration, cost);
    }

    /// [`record_end`](Self::record_end), for all instances.
    pub async fn settle(&self, duration: Duration, cost: Option<u64>) -> Result<(), CountersUnavailable> {
        self.record_end(duration, cost);
        if let Some(shared) = &self.shared {
            let day = self.today();
            shared.add(&day_key(day, "seconds"), whole_seconds(duration), 2 * DAY).await?;
            shared.add(&day_key(day, "cost"), cost.unwrap_or(0), 2 * DAY).await?;
        }
        Ok(())
    }

    /// Seconds and cost of today's ended calls, as far as this process knows.
    #[must_use]
    pub fn used_today(&self) -> (u64, u64) {
        let spent = self.spent_today();
        (spent.seconds, spent.cost)
    }

    /// Whether the kill switch stops all calls: 503 `disabled`.
    pub fn check_switch(&self) -> Result<(), Limited> {
        // A file that can't be looked for counts as there: when in doubt, no calls.
        let file = self.kill_switch_file.as_ref().is_some_and(|path| path.try_exists().unwrap_or(true));
        if self.kill_switch || file {
            return Err(Limited { code: "disabled", status: 503, retry_after: MINUTE, limit: "kill_switch" });
        }
        Ok(())
    }

    fn check_budget(&self, seconds: u64, cost: u64) -> Result<(), Limited> {
        let minutes_gone = self.budget.minutes_per_day.is_some_and(|most| seconds >= most.saturating_mul(60));
        let cost_gone = self.budget.cost_per_day.is_some_and(|most| cost >= most);
        let limit = match (minutes_gone, cost_gone) {
            (true, _) => "minutes",
            (_, true) => "cost",
            _ => return Ok(()),
        };
        let now = self.clock.unix().as_secs();
        let retry_after = Duration::from_secs(DAY.as_secs() - now % DAY.as_secs());
        Err(Limited { code: "budget_exhausted", status: 429, retry_after, limit })
    }

    fn spent_today(&self) -> Spent {
        let today = self.today();
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.day == today { spent } else { Spent { day: today, ..Spent::default() } }
    }

    fn today(&self) -> u64 {
        self.clock.unix().as_secs() / DAY.as_secs()
    }

    /// Users and numbers are not kept as they are, neither in memory nor in the shared counters.
    fn digest(&self, purpose: &str, parts: &[&str]) -> u128 {
        // An HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes()) else {
            return 0;
        };
        for part in std::iter::once(&purpose).chain(parts) {
            mac.update(part.as_bytes());
            mac.update(b"\0");
        }
        mac.finalize().into_bytes().iter().take(16).fold(0, |all, byte| (all << 8) | u128::from(*byte))
    }
}

fn day_key(day: u64, what: &str) -> String {
    format!("budget:{day}:{what}")
}

/// Begun seconds, as a second that was begun is paid for.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[derive(Clone, Debug)]
struct Monotonic(Arc<dyn Clock>);

impl GovernorClock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

/// One limit, for as many keys as there are, up to a number.
struct Bucket {
    limiter: RateLimiter<u128, HashMapStateStore<u128>, Monotonic, NoOpMiddleware<Nanos>>,
    clock: Monotonic,
    max_keys: usize,
    /// How many keys there may be before those are dropped whose buckets are full again.
    next_sweep: Mutex<usize>,
}

const SWEEP: usize = 1024;

impl Bucket {
    fn new(count: u32, window: Duration, max_keys: usize, clock: &Arc<dyn Clock>) -> Self {
        // The configuration refuses a count of 0.
        let burst = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let period = (window / burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(period).unwrap_or(Quota::per_minute(burst)).allow_burst(burst);
        let clock = Monotonic(Arc::clone(clock));
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            clock,
            max_keys,
            next_sweep: Mutex::new(SWEEP.min(max_keys)),
        }
    }

    /// Takes one out, or says how long to wait.
    fn take(&self, key: u128) -> Result<(), Duration> {
        if self.is_full() {
            return Err(MINUTE);
        }
        self.limiter.check_key(&key).map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    fn is_full(&self) -> bool {
        let mut next_sweep = self.next_sweep.lock().unwrap_or_else(PoisonError::into_inner);
        if self.limiter.len() < *next_sweep {
            return false;
        }
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        let left = self.limiter.len();
        // Twice what is left, so that the sweeps cost little however many keys there are.
        *next_sweep = left.saturating_mul(2).max(SWEEP).min(self.max_keys);
        left >= self.max_keys
    }
}

/// [`Counters`] in this process, for tests and for a single instance.
#[derive(Debug, Default)]
pub struct MemoryCounters(Mutex<std::collections::HashMap<String, (u64, Option<Instant>)>>);

impl Counters for MemoryCounters {
    fn add<'a>(&'a self, key: &'a str, amount: u64, life: Duration) -> CountersFuture<'a> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        counters.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        let count = if amount == 0 {
            counters.get(key).map_or(0, |(count, _)| *count)
        } else {
            let entry = counters.entry(key.to_owned()).or_insert((0, None));
            *entry = (entry.0.saturating_add(amount), now.checked_add(life));
            entry.0
        };
        Box::pin(std::future::ready(Ok(count)))
    }
}

/// [`Counters`] in a Redis or Valkey server.
#[cfg(feature = "redis")]
#[derive(Clone)]
pub struct RedisCounters {
    connection: redis::aio::ConnectionManager,
    prefix: String,
}

#[cfg(feature = "redis")]
impl fmt::Debug for RedisCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCounters").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(feature = "redis")]
impl RedisCounters {
    /// Counters over `connection`; their keys begin with `prefix` and a colon.
    #[must_use]
    pub fn new(connection: redis::aio::ConnectionManager, prefix: &str) -> Self {
        Self { connection, prefix: prefix.to_owned() }
    }
}

#[cfg(feature = "redis")]
impl Counters for RedisCounters {
    fn add<'a>(&'a self, key: &'a str, amount: u64, life: Duration) -> CountersFuture<'a> {
        let mut connection = self.connection.clone();
        let key = format!("{}:{key}", self.prefix);
        Box::pin(async move {
            let mut commands = redis::pipe();
            if amount == 0 {
                commands.cmd("GET").arg(&key);
            } else {
                // In one step: a counter without an end would stay for ever.
                let seconds = whole_seconds(life).max(1);
                commands.atomic().cmd("INCRBY").arg(&key).arg(amount);
                commands.cmd("EXPIRE").arg(&key).arg(seconds).ignore();
            }
            let (count,): (Option<u64>,) =
                commands.query_async(&mut connection).await.map_err(|_| CountersUnavailable)?;
            Ok(count.unwrap_or(0))
        })
    }
}

#[cfg(test)]
mod tests;
