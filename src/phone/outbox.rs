//! What the phone wants done and tells, until it is polled for it.

use super::io::{Event, Job, Transmit};

/// Three queues: the order holds within each of them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    transmits: Vec<Transmit>,
    jobs: Vec<Job>,
    events: Vec<Event>,
}

/// A place in each of the queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    transmits: usize,
    jobs: usize,
    events: usize,
}

impl Outbox {
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        self.transmits.push(transmit);
    }

    pub(super) fn job(&mut self, job: Job) {
        self.jobs.push(job);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    pub(super) fn next_transmit(&mut self) -> Option<Transmit> {
        take_first(&mut self.transmits)
    }

    pub(super) fn next_job(&mut self) -> Option<Job> {
        take_first(&mut self.jobs)
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        take_first(&mut self.events)
    }

    pub(super) const fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

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

/// The oldest entry. An input leaves a few of them, so that moving the others up costs less than a ring buffer would.
fn take_first<T>(queue: &mut Vec<T>) -> Option<T> {
    if queue.is_empty() { None } else { Some(queue.remove(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::{CallId, CallState};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn state(id: u32) -> Event {
        Event::CallState(CallId(id), CallState::Active)
    }

    #[test]
    fn each_queue_keeps_its_order() {
        let mut out = Outbox::default();
        out.event(state(1));
        out.job(Job::Statistics(CallId(1)));
        out.event(state(2));
        assert!(out.has_jobs());
        assert_eq!(
            (out.next_event(), out.next_event(), out.next_event()),
            (Some(state(1)), Some(state(2)), None)
        );
        assert_eq!((out.next_job(), out.next_job()), (Some(Job::Statistics(CallId(1))), None));
        assert_eq!(out.next_transmit(), None);
    }

    #[test]
    fn what_is_done_for_a_wish_comes_out_in_its_place() {
        let mut former = Outbox::default();
        former.event(state(1));
        let place = former.end();
        former.event(state(3));
        let end = former.end();
        let mut out = Outbox::default();
        out.take_over(&mut former, Place::default(), place);
        out.event(state(2));
        out.take_over(&mut former, place, end);
        let events: Vec<Event> = core::iter::from_fn(|| out.next_event()).collect();
        assert_eq!(events, [state(1), state(2), state(3)]);
    }
}
