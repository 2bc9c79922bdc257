//! Challenged requests that wait for the application's credentials.

use super::io::{CallId, CredentialsId};
use super::sorted_map::SortedMap;
use super::timers::{Earliest, TimerKey};
use super::transactions::Owner;
use crate::sip::auth::Attempt;
use crate::sip::message::Request;
use crate::time::{Duration, Instant};

/// A challenged request that waits for the application's credentials.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) owner: Owner,
    pub(super) request: Request,
    pub(super) attempt: Attempt,
    pub(super) until: Instant,
}

/// Challenged requests that wait for the application's credentials.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: SortedMap<CredentialsId, Question>,
    last: u32,
}

impl Questions {
    pub(super) fn add(&mut self, question: Question) -> CredentialsId {
        self.last = self.last.wrapping_add(1);
        let id = CredentialsId(self.last);
        self.waiting.insert(id, question);
        id
    }

    pub(super) fn take(&mut self, id: CredentialsId) -> Option<Question> {
        self.waiting.remove(&id)
    }

    /// Takes those that have waited too long.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<Owner> {
        let mut late = Vec::new();
        self.waiting.retain(|question| {
            let waits = question.until > now;
            if !waits {
                late.push(question.owner);
            }
            waits
        });
        late
    }

    /// Returns how many there were.
    pub(super) fn forget_of(&mut self, owner: Owner) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|question| question.owner != owner);
        before - self.waiting.len()
    }

    /// The call is over for the application: no credentials are waited for, except for the BYE that ends it.
    pub(super) fn forget_of_call(&mut self, id: CallId) {
        self.waiting.retain(|question| question.owner == Owner::Bye(id) || question.owner.call() != Some(id));
    }

    pub(super) fn owners(&self) -> Vec<Owner> {
        self.waiting.values().map(|question| question.owner).collect()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.waiting = SortedMap::new();
    }

    pub(super) fn show_deadlines(&self, earliest: &mut Earliest) {
        for question in self.waiting.values() {
            earliest.show(Some(question.until), TimerKey::Question);
        }
    }

    /// The page was suspended for so long.
    pub(super) fn put_off(&mut self, by: Duration) {
        for (_, question) in self.waiting.iter_mut() {
            question.until = question.until + by;
        }
    }
}
