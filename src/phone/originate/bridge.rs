//! The provider's call to this phone: answered behind the gate, claimed, and opened with the confirmation.

use super::super::call::{Call, Phase};
use super::super::context::Cx;
use super::super::media_half::MediaJob;
use super::super::timers::TxId;
use super::super::{AnswerBy, CallState, CallTimer, DialStage, EndCause, Event, Job, MediaCommand};
use super::unverified;
use crate::sip::dialog::Dialog;
use crate::sip::digest::sha256_hex;
use crate::sip::message::Request;
use crate::time::Duration;

/// From the provider's INVITE to its answer. The microphone is open by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Call {
    pub(in crate::phone) fn answer_bridge(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        let Some(dialog) = Dialog::from_request(request, &self.sip.local_tag) else {
            cx.respond(tx, 400);
            return;
        };
        if let Some(entry) = cx.transactions.server(tx) {
            entry.call = Some(self.id);
        }
        self.timers.set(CallTimer::Bridge, cx.env.now + ANSWER_TIMEOUT);
        // The provider was faster than the proxy, whose answer would have told.
        if self.rest.as_deref_mut().is_some_and(|rest| rest.state.is_none()) {
            cx.event(Event::Stage(self.id, DialStage::RingingClient));
        }

        self.sip.call_id.clone_from(&dialog.call_id);
        self.sip.invite = Some(request.clone());
        self.sip.invite_tx = Some(tx);
        self.sip.dialog = Some(dialog);
        self.phase = Phase::Answering;
        self.answering.set_came_over(cx.env.heard_over);
        self.make_answer(cx, MediaJob::Answer);
    }

    /// The 200 to the provider's call is out.
    pub(in crate::phone) fn bridge_answered(&mut self, cx: &mut Cx) {
        let sip_call_id = sha256_hex(&self.sip.call_id);
        let Some(rest) = self.rest.as_mut() else { return };
        let orders = rest.originate.claim(Some(sip_call_id));
        let confirm = cx.env.now + rest.confirm_timeout;
        self.timers.clear(CallTimer::Bridge);
        self.timers.set(CallTimer::Confirm, confirm);
        cx.event(Event::Stage(self.id, DialStage::ClientConnected));
        self.carry_out(cx, orders);
    }

    /// The proxy has seen the provider on this phone's line.
    pub(super) fn on_confirmed(&mut self, cx: &mut Cx) {
        let now = cx.env.now;

        let Some(rest) = self.rest.as_mut() else { return };
        if self.phase == Phase::Outcome {
            // Too late to talk; how it ended follows.
            return;
        }
        let answered = matches!(self.phase, Phase::Accepted | Phase::Confirmed);
        if !answered && rest.answer == AnswerBy::ThisPhone {
            // Some other phone of this number has answered it.
            let error = unverified("Another phone has answered the provider's call");
            self.abandon(cx, EndCause::Failed(error.clone()), error);
            return;
        }
        rest.open();
        self.dialled.report_done();
        let until = now + rest.max_duration;
        let lock = rest.lock;
        let here = rest.answer == AnswerBy::ThisPhone;
        self.timers.clear_all(&[CallTimer::Bridge, CallTimer::Confirm, CallTimer::Ring]);
        self.timers.set(CallTimer::MaxDuration, until);
        if here {
            self.media_order(cx, MediaCommand::OpenGate);
            cx.env.job(Job::Unlock(lock));
        }
        self.set_call_state(cx, CallState::Ringing);
        cx.event(Event::Stage(self.id, DialStage::Ringing));
        self.set_call_state(cx, CallState::Active);
        cx.event(Event::Stage(self.id, DialStage::Connected));
        cx.event(Event::DialDone(self.id, Ok(())));
    }
}
