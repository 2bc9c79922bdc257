//! The calls of a phone, and queries over all of them. A file that implements a feature adds its own queries.

use super::call::{Call, Phase};
use super::context::Cx;
use super::io::CallId;
use super::sorted_map::SortedMap;
use crate::sip::message::Request;

/// The calls, oldest first.
#[derive(Debug)]
pub(super) struct Calls {
    all: SortedMap<CallId, Box<Call>>,
    /// Counts each mutable access to a call: while it stands still, no call has changed.
    pub(super) revision: u32,
}

impl Calls {
    pub(super) const fn new() -> Self {
        Self { all: SortedMap::new(), revision: 0 }
    }

    pub(super) fn get(&self, id: CallId) -> Option<&Call> {
        self.all.get(&id).map(Box::as_ref)
    }

    const fn count(&mut self) {
        self.revision = self.revision.wrapping_add(1);
    }

    // Inlined it would be 1 kB of the module: every way to a call begins with it.
    #[inline(never)]
    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.count();
        self.all.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn insert(&mut self, call: Box<Call>) {
        self.count();
        self.all.insert(call.id, call);
    }

    pub(super) fn remove(&mut self, id: CallId) {
        self.count();
        self.all.remove(&id);
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.all.values().map(Box::as_ref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        self.count();
        self.all.values_mut().map(Box::as_mut)
    }

    /// Those that this is true of. The ids, so that each can be looked up again after what is done to the one before.
    pub(super) fn ids(&self, which: impl Fn(&Call) -> bool) -> Vec<CallId> {
        self.iter().filter(|call| which(call)).map(|call| call.id).collect()
    }

    /// Those that are not over.
    pub(super) fn live(&self) -> Vec<CallId> {
        self.ids(Call::is_live)
    }

    /// There are as many as the configuration allows.
    pub(super) fn is_full(&self, cx: &Cx) -> bool {
        self.iter().filter(|call| call.is_live()).count() >= cx.env.config.max_calls
    }

    /// Tells the connection whether a call is going on.
    #[inline(never)]
    pub(super) fn tell_line(&self, cx: &mut Cx) {
        cx.line.set_in_call(&mut cx.env, self.any_live());
    }

    /// One is not over.
    pub(super) fn any_live(&self) -> bool {
        self.iter().any(Call::is_live)
    }

    /// The user has another call that is more than a ringing one.
    pub(super) fn occupy_the_user(&self, but: Option<CallId>) -> bool {
        self.iter().any(|call| {
            Some(call.id) != but
                && !call.end.is_over()
                && !matches!(call.phase, Phase::Alerting | Phase::Terminating)
        })
    }

    /// The call in one of whose dialogs this request is. There are `max_calls` at most: an index would cost more than it
    /// saves.
    pub(super) fn find(&self, request: &Request, to_tag: &str) -> Option<CallId> {
        let call_id = request.headers.call_id()?;
        let call = self.iter().find(|call| call.sip.call_id == call_id && call.sip.local_tag == to_tag)?;
        let from_tag = request.headers.head().from_tag().unwrap_or_default();
        call.knows_remote_tag(from_tag).then_some(call.id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{calls, cx, request};
    use super::super::io::Direction;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const PHASES: [(Direction, Phase); 5] = [
        (Direction::Incoming, Phase::Alerting),
        (Direction::Outgoing, Phase::Inviting),
        (Direction::Outgoing, Phase::Confirmed),
        (Direction::Incoming, Phase::Terminating),
        (Direction::Outgoing, Phase::Outcome),
    ];

    #[test]
    fn those_that_end_are_not_live() {
        let mut cx = cx();
        let (mut calls, ids) = calls(&mut cx, &PHASES);
        assert_eq!(calls.live(), [ids[0], ids[1], ids[2], ids[4]]);
        assert!(calls.any_live());
        for id in &ids {
            calls.remove(*id);
        }
        assert!(calls.is_empty() && !calls.any_live());
    }

    #[test]
    fn a_call_that_rings_or_ends_does_not_occupy_the_user() {
        for (phase, occupies) in [
            (Phase::Alerting, false),
            (Phase::Terminating, false),
            (Phase::Answering, true),
            (Phase::Inviting, true),
            (Phase::Confirmed, true),
        ] {
            let mut cx = cx();
            let (calls, ids) = calls(&mut cx, &[(Direction::Incoming, phase)]);
            assert_eq!(calls.occupy_the_user(None), occupies, "{phase:?}");
            assert!(!calls.occupy_the_user(Some(ids[0])), "{phase:?}: but for itself");
        }
    }

    #[test]
    fn what_ends_leaves_room_for_another() {
        let mut cx = cx();
        let (calls, _) = calls(&mut cx, &PHASES);
        for (max, full) in [(3, true), (4, true), (5, false)] {
            cx.env.config.max_calls = max;
            assert_eq!(calls.is_full(&cx), full, "{max}");
        }
    }

    #[test]
    fn a_request_belongs_to_the_dialog_of_its_call_id_and_both_tags() {
        let mut cx = cx();
        let (calls, ids) = calls(&mut cx, &PHASES);
        for (call_id, from, to, found) in [
            ("call-3", "bobs", "ours-3", Some(ids[2])),
            ("call-1", "bobs", "ours-3", None),
            ("call-3", "another", "ours-3", None),
            ("call-3", "bobs", "ours-1", None),
        ] {
            let mut request = request("INFO", "");
            request.headers.set("Call-ID", call_id);
            request.headers.set("From", format!("<sip:bob@example.com>;tag={from}"));
            assert_eq!(calls.find(&request, to), found, "{call_id} {from} {to}");
        }
    }

    #[test]
    fn each_mutable_access_to_a_call_is_counted() {
        let mut cx = cx();
        let (mut calls, ids) = calls(&mut cx, &PHASES);
        let before = calls.revision;
        assert!(calls.get(ids[0]).is_some() && calls.iter().count() == 5);
        assert_eq!(calls.revision, before);
        calls.get_mut(ids[0]);
        calls.iter_mut().next();
        calls.remove(ids[1]);
        assert_eq!(calls.revision, before + 3);
    }
}
