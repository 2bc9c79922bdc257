//! What the user last wished of a call's own audio: kept with the call, and followed by the call that takes its place, so
//! that a muted microphone stays muted and no microphone opens that was not open, whatever happens to the call.

use super::call::Call;
use super::calls::Calls;
use super::context::Cx;
use super::{CallId, MediaCommand, Wish};
use crate::error::Error;

impl Calls {
    /// A wish for this call, and for those that are about to take its place.
    pub(super) fn change_wish(
        &mut self,
        cx: &mut Cx,
        id: CallId,
        change: &dyn Fn(&mut Wish),
    ) -> Result<(), Error> {
        let call = self.get_mut(id).filter(|call| !call.end.is_over()).ok_or_else(super::call_ended)?;
        // From now on it has a wish of its own.
        call.audio.stop_following();
        let mut changed = vec![id];
        for call in self.iter_mut() {
            let follows = call.audio.follows().is_some_and(|former| changed.contains(&former));
            if call.id != id && !follows {
                continue;
            }
            let new = call.audio.change(call.media.is_open(), change);
            if follows {
                changed.push(call.id);
            }
            if new {
                call.media_order(cx, MediaCommand::Wish(call.audio.wish()));
            }
        }
        Ok(())
    }

    /// One call at a time plays in the application's element: the one that may be heard, and of several the last that
    /// came to be. The others play in one of their own.
    pub(super) fn share_element(&mut self, cx: &mut Cx) {
        // A look changes none, so that they count as changed only when they are.
        loop {
            let at = self.iter().position(|call| call.may_be_heard() != call.audio.heard().is_some());
            let Some(call) = at.and_then(|at| self.iter_mut().nth(at)) else { break };
            let number = cx.numbers.heard();
            let heard = call.may_be_heard().then_some(number);
            call.audio.set_heard(heard);
        }
        let heard = self.iter().filter(|call| call.audio.heard().is_some());
        let Some(owner) = heard.max_by_key(|call| call.audio.heard()).map(|call| call.id) else { return };
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
        use super::call::Phase;
        use super::media_half::MediaJob;
        self.media.is_open()
            && !self.session.offers.local_hold()
            && !self.is_gated()
            && match self.phase {
                Phase::Inviting => {
                    self.dialled.forks.is_heard() || self.media.job() == Some(MediaJob::Reinvite)
                }
                Phase::Alerting => self.answering.early_answer().is_some() || self.media.job().is_some(),
                Phase::Answering | Phase::Applying | Phase::Accepted | Phase::Confirmed => true,
                Phase::Originating | Phase::Outcome | Phase::Preparing | Phase::Terminating => false,
            }
    }

    /// What the user has last wished of this call counts for the new one too, until the new one has a wish of its own.
    pub(super) fn go_on_as(&self, new: &mut Self) {
        new.audio = self.audio.followed_by(self.id);
        new.succession.set_continues(self.id);
    }
}

impl Call {
    /// Whether the call has a microphone: said before its media begin, and counts then.
    pub(super) fn choose_microphone(&mut self, listens_only: bool) {
        if !self.media.is_open() {
            self.audio.say_microphone(listens_only);
        }
    }

    /// The media of a call begin: with what is wished of it.
    pub(super) fn wish_of_new_media(&mut self, cx: &mut Cx) {
        if self.media.open() {
            let wish = self.audio.begin(cx.env.config.listens_only);
            self.media_order(cx, MediaCommand::Wish(wish));
        }
    }
}
