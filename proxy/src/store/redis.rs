use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{
    Client, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{Created, Unavailable};
use crate::{
    calls::{Millis, Record, Timing, next_deadline},
    limits::{Counters, RedisCounters},
};

/// Nothing waits longer for Redis: 46elks expects the answer to a hook within seconds.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// How soon a change of another instance is seen.
const POLL: Duration = Duration::from_millis(100);
/// How many due calls are taken at a time.
const BATCH: u32 = 256;
/// A record is kept this long beyond what its own limits say.
const MARGIN: Millis = 3_600_000;

/// Records in Redis: each a hash of version and JSON, changed by scripts, which Redis runs one at a time. For one
/// Redis or a replicated one, not for a cluster: the keys of a call have different slots.
pub struct Redis {
    connection: ConnectionManager,
    prefix: String,
    timing: Timing,
    /// A change of this instance is seen at once.
    written: Notify,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// KEYS: call, number, voice hook, hangup hook, agenda. ARGV: id, record, ttl, due, plan ("1" or "").
static CREATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local known = redis.call('HGET', KEYS[1], 'record')
        if known then return {'existing', known} end
        if ARGV[5] == '1' then
            if redis.call('EXISTS', KEYS[2]) == 1 then return {'busy', ''} end
            redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
            redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[3])
            redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[3])
            redis.call('ZADD', KEYS[5], ARGV[4], ARGV[1])
        end
        redis.call('HSET', KEYS[1], 'version', 1, 'record', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return {'new', ''}
        ",
    )
});

/// KEYS: call, number, voice hook, hangup hook, agenda. ARGV: id, record, ttl, due ("" once ended), old version,
/// new version.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], 'version') ~= ARGV[5] then return 0 end
        redis.call('HSET', KEYS[1], 'version', ARGV[6], 'record', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        redis.call('PEXPIRE', KEYS[3], ARGV[3])
        redis.call('PEXPIRE', KEYS[4], ARGV[3])
        if ARGV[4] == '' then
            redis.call('ZREM', KEYS[5], ARGV[1])
            if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
        else
            redis.call('ZADD', KEYS[5], ARGV[4], ARGV[1])
        end
        return 1
        ",
    )
});

impl Redis {
    pub(super) fn new(url: &str, prefix: &str, timing: Timing) -> Result<Self, Unavailable> {
        // Never with the URL: it may hold a password.
        let client = Client::open(url).map_err(|_| Unavailable("not a Redis URL".to_owned()))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(|error| Unavailable(format!("Redis: {}", error.category())))?;
        Ok(Self { connection, prefix: prefix.to_owned(), timing, written: Notify::new() })
    }

    pub(super) async fn create(&self, mut record: Record) -> Result<Created, Unavailable> {
        record.version = 1;
        let script = CREATE.clone();
        let mut call = self.prepare(&script, &record)?;
        call.arg(if record.plan.is_some() { "1" } else { "" });
        let (outcome, known): (String, String) = self.invoke(&call).await?;
        match outcome.as_str() {
            "new" => Ok(Created::New(record)),
            "busy" => Ok(Created::Busy),
            _ => read(&known).map(Created::Existing),
        }
    }

    pub(super) async fn get(&self, id: Uuid) -> Result<Option<Record>, Unavailable> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key("call", &id.to_string())).arg("record");
        let record: Option<String> = self.query(&command).await?;
        record.as_deref().map(read).transpose()
    }

    pub(super) async fn find_hook(&self, hook: &str) -> Result<Option<Uuid>, Unavailable> {
        let mut command = redis::cmd("GET");
        command.arg(self.key("hook", hook));
        let id: Option<String> = self.query(&command).await?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    pub(super) async fn replace(&self, mut next: Record) -> Result<Option<Record>, Unavailable> {
        let old = next.version;
        next.version = old.saturating_add(1);
        let script = REPLACE.clone();
        let mut call = self.prepare(&script, &next)?;
        call.arg(old.to_string()).arg(next.version.to_string());
        let written: u8 = self.invoke(&call).await?;
        self.written.notify_waiters();
        Ok((written == 1).then_some(next))
    }

    pub(super) async fn changed(&self, id: Uuid, version: u64, limit: Duration) {
        let end = Instant::now().checked_add(limit);
        let mut command = redis::cmd("HGET");
        command.arg(self.key("call", &id.to_string())).arg("version");
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            // From here on no change of this instance is missed.
            written.as_mut().enable();
            match self.query::<Option<u64>>(&command).await {
                Ok(Some(current)) if current == version => {}
                // Another version, forgotten or unavailable: for the caller to see when it reads.
                _ => return,
            }
            let left = end.map_or(POLL, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            // Either outcome leads to another look.
            let _either = tokio::time::timeout(left.min(POLL), written).await;
        }
    }

    pub(super) async fn due(&self, now: Millis) -> Result<Vec<Uuid>, Unavailable> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(self.key("agenda", "")).arg("-inf").arg(now).arg("LIMIT").arg(0).arg(BATCH);
        let ids: Vec<String> = self.query(&command).await?;
        let mut due = Vec::new();
        for id in ids {
            let known: bool = self.query(redis::cmd("EXISTS").arg(self.key("call", &id))).await?;
            match id.parse().ok().filter(|_| known) {
                Some(id) => due.push(id),
                None => self.query::<()>(redis::cmd("ZREM").arg(self.key("agenda", "")).arg(&id)).await?,
            }
        }
        Ok(due)
    }

    /// Counters on the same connection.
    pub(super) fn counters(&self) -> Arc<dyn Counters> {
        Arc::new(RedisCounters::new(self.connection.clone(), &format!("{}:counter", self.prefix)))
    }

    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        self.query::<String>(&redis::cmd("PING")).await.map(drop)
    }

    fn prepare<'a>(
        &self,
        script: &'a Script,
        record: &Record,
    ) -> Result<redis::ScriptInvocation<'a>, Unavailable> {
        let id = record.call_id.to_string();
        let json = serde_json::to_string(record).map_err(|error| Unavailable(error.to_string()))?;
        let number = record.plan.as_ref().map_or("", |plan| plan.number.as_str());
        let (voice, hangup) =
            record.hooks.as_ref().map_or(("", ""), |hooks| (hooks.voice.as_str(), hooks.hangup.as_str()));
        let due = next_deadline(record, &self.timing).map(|due| due.to_string()).unwrap_or_default();
        let mut call = script.key(self.key("call", &id));
        call.key(self.key("number", number))
            .key(self.key("hook", voice))
            .key(self.key("hook", hangup))
            .key(self.key("agenda", ""))
            .arg(id)
            .arg(json)
            .arg(self.life(record))
            .arg(due);
        Ok(call)
    }

    /// How long Redis keeps a record: a live one always longer than it can live.
    fn life(&self, record: &Record) -> Millis {
        let live = self.timing.slot(0).saturating_add(self.timing.max_duration).saturating_add(MARGIN);
        match (record.forget_at(&self.timing), record.ended_at) {
            (Some(forget_at), Some(ended_at)) => forget_at.saturating_sub(ended_at).max(1),
            _ => live,
        }
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    async fn invoke<T: redis::FromRedisValue>(
        &self,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        let mut connection = self.connection.clone();
        within(call.invoke_async(&mut connection)).await
    }

    async fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Unavailable> {
        let mut connection = self.connection.clone();
        within(command.query_async(&mut connection)).await
    }
}

async fn within<T>(job: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Unavailable> {
    match tokio::time::timeout(PATIENCE.saturating_mul(2), job).await {
        Ok(Ok(value)) => Ok(value),
        // Its text may hold what was sent.
        Ok(Err(error)) => Err(Unavailable(format!("Redis: {}", error.category()))),
        Err(_) => Err(Unavailable("Redis: no answer".to_owned())),
    }
}

fn read(json: &str) -> Result<Record, Unavailable> {
    // The error's own text may hold what stands there.
    serde_json::from_str(json).map_err(|_| Unavailable("a record that can't be read".to_owned()))
}
