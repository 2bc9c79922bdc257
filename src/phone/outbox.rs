//! What the phone wants done and tells, until it is polled for it.

use super::io::{Event, Job, Transmit};

/// Three queues: the order holds within each of them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) transmits: Vec<Transmit>,
    pub(super) jobs: Vec<Job>,
    pub(super) events: Vec<Event>,
}

/// A place in each of the queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    transmits: usize,
    jobs: usize,
    events: usize,
}

impl Outbox {
    /// Behind what is there.
    pub(super) const fn end(&self) -> Place {
        Place { transmits: self.transmits.len(), jobs: self.jobs.len(), events: self.events.len() }
    }

    /// Takes over what `former` holds from its first entry up to `to`, when all before `from` has been taken.
    pub(super) fn take_over(&mut self, former: &mut Self, from: Place, to: Place) {
        move_first(&mut self.transmits, &mut former.transmits, to.transmits - from.transmits);
        move_first(&mut self.jobs, &mut former.jobs, to.jobs - from.jobs);
        move_first(&mut self.events, &mut former.events, to.events - from.events);
    }
}

fn move_first<T>(to: &mut Vec<T>, from: &mut Vec<T>, count: usize) {
    to.extend(from.drain(..count.min(from.len())));
}

/// The oldest entry.
pub(super) fn take_first<T>(queue: &mut Vec<T>) -> Option<T> {
    if queue.is_empty() { None } else { Some(queue.remove(0)) }
}
