//! What the user last wished of a call's own audio: kept with the call, and followed by the call that takes its place, so
//! that a muted microphone stays muted and no microphone opens that was not open, whatever happens to the call.

use super::call::Call;
use super::calls::Calls;
use super::context::Cx;
use super::{CallId, MediaCommand, Output, Wish};
use crate::error::Error;

impl Calls {
    /// A wish for this call, and for those that are about to take its place.
    pub(super) fn change_wish(
        &mut self,
        cx: &mut Cx,
        id: CallId,
        change: &dyn Fn(&mut Wish),
    ) -> Result<(), Error> {
        let call = self.get_mut(id).filter(|call| call.end_reason.is_none()).ok_or_else(super::call_ended)?;
        // From now on it has a wish of its own.
        call.follows = None;
        let mut changed = vec![id];
        for call in self.iter_mut() {
            let follows = call.follows.is_some_and(|former| changed.contains(&former));
            if call.id != id && !follows {
                continue;
            }
            let mut wish = call.wish;
            change(&mut wish);
            // A microphone is opened with the media, or not at all.
            if call.media_open {
                wish.listens_only = call.wish.listens_only;
            } else if wish.listens_only != call.wish.listens_only {
                call.wish_said = true;
            }
            let new = core::mem::replace(&mut call.wish, wish) != wish;
            if follows {
                changed.push(call.id);
            }
            if new {
                let seq = call.media_seq;
                if call.media_open {
                    let (call, command) = (call.id, MediaCommand::Wish(wish));
                    cx.out.push(Output::Media { call, seq, command });
                }
            }
        }
        Ok(())
    }

    /// One call at a time plays in the application's element: the one that may be heard, and of several the last that
    /// came to be. The others play in one of their own.
    pub(super) fn share_element(&mut self, cx: &mut Cx) {
        // A look changes none, so that they count as changed only when they are.
        loop {
            let at = self.iter().position(|call| call.may_be_heard() != call.heard.is_some());
            let Some(call) = at.and_then(|at| self.iter_mut().nth(at)) else { break };
            cx.last_heard = cx.last_heard.wrapping_add(1);
            call.heard = call.may_be_heard().then_some(cx.last_heard);
        }
        let heard = self.iter().filter(|call| call.heard.is_some());
        let Some(owner) = heard.max_by_key(|call| call.heard).map(|call| call.id) else { return };
        let Some(former) = cx.has_element.replace(owner).filter(|former| *former != owner) else {
            return;
        };
        for (call, plays) in [(former, false), (owner, true)] {
            if let Some(call) = self.get_mut(call) {
                call.media_order(cx, MediaCommand::Element(plays));
            }
        }
    }
}

impl Call {
    /// Where the audio of the other side is played, or about to be.
    pub(super) fn may_be_heard(&self) -> bool {
        use super::call::{Job, Phase};
        self.media_open
            && !self.offers.local_hold()
            && !self.is_gated()
            && match self.phase {
                Phase::Inviting => self.forks.is_heard() || self.job == Some(Job::Reinvite),
                Phase::Alerting => self.early_answer.is_some() || self.job.is_some(),
                Phase::Answering | Phase::Applying | Phase::Accepted | Phase::Confirmed => true,
                Phase::Originating | Phase::Outcome | Phase::Preparing | Phase::Terminating => false,
            }
    }

    /// What the user has last wished of this call counts for the new one too, until the new one has a wish of its own.
    pub(super) fn go_on_as(&self, new: &mut Self) {
        new.wish = self.wish;
        new.wish_said = self.wish_said;
        new.follows = Some(self.id);
        new.continues = Some(self.id);
    }
}

impl Call {
    /// Whether the call has a microphone: said before its media begin, and counts then.
    pub(super) fn choose_microphone(&mut self, listens_only: bool) {
        if !self.media_open {
            self.wish.listens_only = listens_only;
            self.wish_said = true;
        }
    }

    /// The media of a call begin: with what is wished of it.
    pub(super) fn wish_of_new_media(&mut self, cx: &mut Cx) {
        let listens_only = cx.config.listens_only;
        if self.media_open {
            return;
        }
        self.media_open = true;
        if !core::mem::replace(&mut self.wish_said, true) {
            self.wish.listens_only = listens_only;
        }
        let wish = self.wish;
        self.media_order(cx, MediaCommand::Wish(wish));
    }
}
