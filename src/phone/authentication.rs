//! Challenged requests: answered, or kept until the application has given credentials (RFC 3261, section 22).

use super::call::Call;
use super::context::Cx;
use super::sorted_map::SortedMap;
use super::timers::Earliest;
use super::transactions::Owner;
use super::{CallId, CredentialsId, TimerKey};
use crate::sip::auth::{Attempt, Scope};
use crate::sip::message::Request;
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// Requests that only ask whether somebody is there: a challenge is an answer too, and no credentials follow.
pub(super) const fn any_answer_will_do(owner: Owner) -> bool {
    matches!(owner, Owner::Ping | Owner::Caller(_))
}

impl Call {
    /// The next CSeq of the dialog that the request belongs to, which may be one that a 1xx has made.
    pub(super) fn next_seq_in(&mut self, request: &Request) -> u32 {
        let tag = request.headers.head().to_tag().unwrap_or_default();
        match self.dialog_to(tag) {
            Some(dialog) => {
                dialog.local_seq = dialog.local_seq.saturating_add(1);
                dialog.local_seq
            }
            None => next_seq_of(request),
        }
    }
}

impl Cx {
    pub(super) const fn scope(owner: Owner) -> Scope {
        match owner {
            Owner::Register => Scope::Register,
            _ => Scope::Calls,
        }
    }
}

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

pub(super) fn next_seq_of(request: &Request) -> u32 {
    request.headers.seq().map_or(1, |seq| seq.saturating_add(1))
}

/// Re-issues a request: next CSeq, credentials removed.
pub(super) fn renew(request: &mut Request) {
    let seq = digits(next_seq_of(request));
    let cseq = concat(&[&seq, " ", request.method.as_str()]);
    request.headers.set("CSeq", cseq);
    for name in ["Authorization", "Proxy-Authorization"] {
        request.headers.remove(name);
    }
}
