use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Created, Durability, Unavailable,
    journal::{Entry, Journal, Synced},
};
use crate::calls::{Millis, Record, Timing, next_deadline};

/// The journal is written anew when it has this many lines, and several for each record.
const COMPACT_AT: usize = 10_000;
/// More records than this are not taken: a day of calls at full speed has far fewer, and cancellations of calls that
/// never were must not fill the memory.
const MOST: usize = 200_000;

/// Records of this process, and a journal where they are to survive it.
#[derive(Debug)]
pub struct Memory {
    tables: Mutex<Tables>,
    journal: Option<Journal>,
    timing: Timing,
}

#[derive(Debug, Default)]
struct Tables {
    records: HashMap<Uuid, Slot>,
    numbers: HashMap<String, Uuid>,
    hooks: HashMap<String, Uuid>,
    /// When each record wants to be looked at: its deadline, or when it may be forgotten.
    agenda: BTreeSet<(Millis, Uuid)>,
    lines: usize,
}

#[derive(Debug)]
struct Slot {
    record: Record,
    changed: watch::Sender<u64>,
    due: Millis,
}

impl Memory {
    pub(super) fn new(timing: Timing) -> Self {
        Self { tables: Mutex::default(), journal: None, timing }
    }

    pub(super) fn open(path: &Path, timing: Timing, now: Millis) -> Result<Self, Unavailable> {
        let (journal, entries) = Journal::open(path)?;
        let mut last: HashMap<Uuid, Record> = HashMap::new();
        for entry in entries {
            match entry {
                Entry::Write(record) => drop(last.insert(record.call_id, *record)),
                Entry::Forget(id) => drop(last.remove(&id)),
            }
        }
        let mut tables = Tables::default();
        for mut record in last.into_values() {
            if !record.ended() {
                // Nobody could poll while we were away.
                record.seen_at = record.seen_at.max(now);
                // And whoever sent its request can't have the answer any more.
                record.outcome_unknown |= !record.answered();
            }
            tables.put(record, &timing);
        }
        journal.rewrite(tables.records.values().map(|slot| &slot.record))?;
        tables.lines = tables.records.len();
        Ok(Self { tables: Mutex::new(tables), journal: Some(journal), timing })
    }

    pub(super) async fn create(&self, mut record: Record) -> Result<Created, Unavailable> {
        let synced = {
            let mut tables = self.tables();
            if let Some(slot) = tables.records.get(&record.call_id) {
                return Ok(Created::Existing(slot.record.clone()));
            }
            if tables.records.len() >= MOST {
                return Err(Unavailable("too many records".to_owned()));
            }
            if record.occupies().is_some_and(|number| tables.numbers.contains_key(number)) {
                return Ok(Created::Busy);
            }
            record.version = 1;
            self.write(&mut tables, record.clone(), Durability::Durable)?
        };
        synced.wait().await?;
        Ok(Created::New(record))
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Record> {
        self.tables().records.get(&id).map(|slot| slot.record.clone())
    }

    pub(super) fn find_hook(&self, hook: &str) -> Option<Uuid> {
        self.tables().hooks.get(hook).copied()
    }

    pub(super) async fn replace(
        &self,
        mut next: Record,
        durability: Durability,
    ) -> Result<Option<Record>, Unavailable> {
        let synced = {
            let mut tables = self.tables();
            if tables.records.get(&next.call_id).is_none_or(|slot| slot.record.version != next.version) {
                return Ok(None);
            }
            next.version = next.version.saturating_add(1);
            self.write(&mut tables, next.clone(), durability)?
        };
        synced.wait().await?;
        Ok(Some(next))
    }

    pub(super) async fn changed(&self, id: Uuid, version: u64, limit: Duration) {
        let Some(mut changed) = self.tables().records.get(&id).map(|slot| slot.changed.subscribe()) else {
            return;
        };
        // Either outcome, the time or a forgotten record, is for the caller to see when it reads.
        let _either = tokio::time::timeout(limit, changed.wait_for(|current| *current != version)).await;
    }

    pub(super) async fn barrier(&self) -> Result<(), Unavailable> {
        match &self.journal {
            Some(journal) => journal.barrier()?.wait().await,
            None => Ok(()),
        }
    }

    pub(super) fn due(&self, now: Millis) -> Result<Vec<Uuid>, Unavailable> {
        let mut tables = self.tables();
        let due: Vec<Uuid> =
            tables.agenda.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        let mut live = Vec::new();
        for id in due {
            if tables.records.get(&id).is_some_and(|slot| !slot.record.ended()) {
                live.push(id);
            } else {
                tables.forget(id);
                if let Some(journal) = &self.journal {
                    journal.append(&Entry::Forget(id), false)?;
                    tables.lines = tables.lines.saturating_add(1);
                }
            }
        }
        Ok(live)
    }

    pub(super) fn taken_up(&self) -> (i64, Vec<(Millis, u64, Option<u64>)>) {
        let tables = self.tables();
        let records = || tables.records.values().map(|slot| &slot.record);
        let live = records().filter(|record| !record.ended()).count();
        let settled = records().filter(|record| record.settled && record.plan.is_some());
        let settled = settled.filter_map(|record| Some((record.ended_at?, record.settled_s, record.cost)));
        (i64::try_from(live).unwrap_or(i64::MAX), settled.collect())
    }

    pub(super) fn ready(&self) -> Result<(), Unavailable> {
        self.journal.as_ref().map_or(Ok(()), Journal::ready)
    }

    /// The queue of the journal has the order of the table's changes, since both happen under one lock.
    fn write(
        &self,
        tables: &mut Tables,
        record: Record,
        durability: Durability,
    ) -> Result<Synced, Unavailable> {
        let mut synced = Synced::at_once();
        if let Some(journal) = &self.journal {
            let entry = Entry::Write(Box::new(record.clone()));
            synced = journal.append(&entry, durability == Durability::Durable)?;
            tables.lines = tables.lines.saturating_add(1);
        }
        tables.put(record, &self.timing);
        if let Some(journal) = &self.journal
            && tables.lines > COMPACT_AT.max(tables.records.len().saturating_mul(4))
        {
            journal.rewrite(tables.records.values().map(|slot| &slot.record))?;
            tables.lines = tables.records.len();
        }
        Ok(synced)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn put(&mut self, record: Record, timing: &Timing) {
        let id = record.call_id;
        let due = next_deadline(&record, timing).or_else(|| record.forget_at(timing)).unwrap_or(Millis::MAX);
        if let Some(number) = record.occupies() {
            self.numbers.insert(number.to_owned(), id);
        } else if let Some(plan) = &record.plan
            && self.numbers.get(&plan.number) == Some(&id)
        {
            self.numbers.remove(&plan.number);
        }
        if let Some(hooks) = &record.hooks {
            self.hooks.insert(hooks.voice.clone(), id);
            self.hooks.insert(hooks.hangup.clone(), id);
        }
        let version = record.version;
        match self.records.get_mut(&id) {
            Some(slot) => {
                self.agenda.remove(&(slot.due, id));
                slot.record = record;
                slot.due = due;
                slot.changed.send_replace(version);
            }
            None => {
                self.records.insert(id, Slot { record, changed: watch::Sender::new(version), due });
            }
        }
        self.agenda.insert((due, id));
    }

    fn forget(&mut self, id: Uuid) {
        let Some(slot) = self.records.remove(&id) else { return };
        self.agenda.remove(&(slot.due, id));
        if let Some(hooks) = &slot.record.hooks {
            self.hooks.remove(&hooks.voice);
            self.hooks.remove(&hooks.hangup);
        }
    }
}
