//! What the phone wants done and tells, until it is polled for it.

use super::io::{Event, Job, Transmit};

#[derive(Debug)]
enum Output {
    Transmit(Transmit),
    Job(Job),
    Event(Event),
}

/// In the order in which it was put down; each kind is polled by itself.
#[derive(Debug, Default)]
pub(super) struct Outbox(Vec<Output>);

impl Outbox {
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        self.0.push(Output::Transmit(transmit));
    }

    pub(super) fn job(&mut self, job: Job) {
        self.0.push(Output::Job(job));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.0.push(Output::Event(event));
    }

    pub(super) fn next_transmit(&mut self) -> Option<Transmit> {
        match self.take_first(|output| matches!(output, Output::Transmit(_)))? {
            Output::Transmit(transmit) => Some(transmit),
            _ => None,
        }
    }

    pub(super) fn next_job(&mut self) -> Option<Job> {
        match self.take_first(|output| matches!(output, Output::Job(_)))? {
            Output::Job(job) => Some(job),
            _ => None,
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        match self.take_first(|output| matches!(output, Output::Event(_)))? {
            Output::Event(event) => Some(event),
            _ => None,
        }
    }

    /// An input leaves a few of them, so that looking at all costs less than three queues would.
    #[inline(never)]
    fn take_first(&mut self, is_it: fn(&Output) -> bool) -> Option<Output> {
        let at = self.0.iter().position(is_it)?;
        Some(self.0.remove(at))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are: the place of the next.
    pub(super) fn end(&self) -> usize {
        self.0.len()
    }

    /// Takes over the first `count` of what `former` holds.
    pub(super) fn take_over(&mut self, former: &mut Self, count: usize) {
        self.0.extend(former.0.drain(..count.min(former.0.len())));
    }
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
    fn each_kind_keeps_its_order() {
        let mut out = Outbox::default();
        out.event(state(1));
        out.job(Job::Statistics(CallId(1)));
        out.event(state(2));
        assert!(!out.is_empty());
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
        out.take_over(&mut former, place);
        out.event(state(2));
        out.take_over(&mut former, end - place);
        let events: Vec<Event> = core::iter::from_fn(|| out.next_event()).collect();
        assert_eq!(events, [state(1), state(2), state(3)]);
    }
}
