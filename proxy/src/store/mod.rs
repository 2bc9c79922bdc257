//! Where the records are: in this process, with a journal if it is to survive, or in Redis for several instances.
//!
//! A record is only ever changed by compare-and-swap on its version. What is written as durable has reached the
//! disk (or Redis) when the call returns.

mod journal;
mod memory;
#[cfg_attr(not(feature = "redis"), path = "no_redis.rs")]
mod redis;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use uuid::Uuid;

pub use self::{memory::Memory, redis::Redis};
use crate::{
    calls::{Millis, Record, Timing},
    limits::Counters,
};

/// The state cannot be read or written now.
#[derive(Debug, thiserror::Error)]
#[error("the store is unavailable: {0}")]
pub struct Unavailable(pub String);

/// What came of [`Store::create`].
#[derive(Clone, Debug)]
pub enum Created {
    /// The record is written, and it is durable.
    New(Record),
    /// There is one with that id.
    Existing(Record),
    /// The WebRTC number has another call.
    Busy,
}

/// How a write is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Return when it would survive a crash.
    Durable,
    /// What a crash may lose.
    Relaxed,
}

/// The records of all calls.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "redis"),
    expect(clippy::large_enum_variant, reason = "there is no value of the smaller one")
)]
pub enum Store {
    /// Of this process alone.
    Memory(Memory),
    /// Shared by several instances.
    Redis(Redis),
}

impl Store {
    /// In memory, without a journal: a restart forgets every call.
    #[must_use]
    pub fn memory(timing: Timing) -> Self {
        Self::Memory(Memory::new(timing))
    }

    /// In memory, with a journal that is read at the start and written before anything is done.
    ///
    /// # Errors
    /// The journal can't be read or written, is damaged, or another process has it.
    pub fn journalled(path: &Path, timing: Timing, now: Millis) -> Result<Self, Unavailable> {
        Memory::open(path, timing, now).map(Self::Memory)
    }

    /// In Redis. It need not be there yet.
    ///
    /// # Errors
    /// The URL can't be understood, or this was built without the feature `redis`.
    pub fn redis(url: &str, prefix: &str, timing: Timing) -> Result<Self, Unavailable> {
        Redis::new(url, prefix, timing).map(Self::Redis)
    }

    /// Writes a new record, unless its id is known or its number is taken.
    ///
    /// # Errors
    /// The store is unavailable; whether it was written isn't known then.
    pub async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        match self {
            Self::Memory(memory) => memory.create(record).await,
            Self::Redis(redis) => redis.create(record).await,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn get(&self, id: Uuid) -> Result<Option<Record>, Unavailable> {
        match self {
            Self::Memory(memory) => Ok(memory.get(id)),
            Self::Redis(redis) => redis.get(id).await,
        }
    }

    /// Finds the call of a hook token by the token's hash.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn find_hook(&self, hook: &str) -> Result<Option<Uuid>, Unavailable> {
        match self {
            Self::Memory(memory) => Ok(memory.find_hook(hook)),
            Self::Redis(redis) => redis.find_hook(hook).await,
        }
    }

    /// Writes `next` if the record is still of `next`'s version, and gives it with its new version; `None` where
    /// somebody else was faster.
    ///
    /// # Errors
    /// The store is unavailable; whether it was written isn't known then.
    pub async fn replace(&self, next: Record, durability: Durability) -> Result<Option<Record>, Unavailable> {
        match self {
            Self::Memory(memory) => memory.replace(next, durability).await,
            Self::Redis(redis) => redis.replace(next).await,
        }
    }

    /// Waits until the record has another version, but not longer than `limit`.
    pub async fn changed(&self, id: Uuid, version: u64, limit: Duration) {
        match self {
            Self::Memory(memory) => memory.changed(id, version, limit).await,
            Self::Redis(redis) => redis.changed(id, version, limit).await,
        }
    }

    /// Waits until all that was read so far is durable.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn barrier(&self) -> Result<(), Unavailable> {
        match self {
            Self::Memory(memory) => memory.barrier().await,
            Self::Redis(_) => Ok(()),
        }
    }

    /// The calls with a deadline that has passed; forgets what is old enough.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn due(&self, now: Millis) -> Result<Vec<Uuid>, Unavailable> {
        match self {
            Self::Memory(memory) => memory.due(now),
            Self::Redis(redis) => redis.due(now).await,
        }
    }

    /// The counters that go with it, where several instances share them.
    #[must_use]
    pub fn counters(&self) -> Option<Arc<dyn Counters>> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => Some(redis.counters()),
        }
    }

    /// What the journal had: how many calls go on, and when each that has ended did, with its seconds and cost.
    #[must_use]
    pub fn taken_up(&self) -> (i64, Vec<(Millis, u64, Option<u64>)>) {
        match self {
            Self::Memory(memory) => memory.taken_up(),
            Self::Redis(_) => (0, Vec::new()),
        }
    }

    /// Whether it works.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::Memory(memory) => memory.ready(),
            Self::Redis(redis) => redis.ready().await,
        }
    }
}
