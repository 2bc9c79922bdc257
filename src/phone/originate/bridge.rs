//! The provider's call to this phone: answered behind the gate, claimed, and opened with the confirmation.

use super::super::call::{Job, Phase};
use super::super::transactions::TxId;
use super::super::{
    AnswerBy, CallId, CallState, CallTimer, DialStage, EndCause, Event, MediaCommand, Output, Phone, TimerKey,
};
use super::unverified;
use crate::sip::dialog::Dialog;
use crate::sip::digest::sha256_hex;
use crate::sip::message::Request;
use crate::time::Duration;

/// From the provider's INVITE to its answer. The microphone is open by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Phone {
    pub(super) fn answer_bridge(&mut self, id: CallId, tx: TxId, request: &Request) {
        if let Some(refusal) = self.refusal(request) {
            // The provider tells the proxy that this phone cannot be reached.
            self.respond_refusal(tx, refusal);
            return;
        }
        let tag = self.calls.get(&id).map(|call| call.local_tag.clone()).unwrap_or_default();
        let Some(dialog) = Dialog::from_request(request, &tag) else {
            self.respond(tx, 400);
            return;
        };
        if let Some(entry) = self.transactions.server(tx) {
            entry.call = Some(id);
        }
        self.timers.set(TimerKey::Call(id, CallTimer::Bridge), self.now + ANSWER_TIMEOUT);
        // The provider was faster than the proxy, whose answer would have told.
        if self.rest(id).is_some_and(|rest| rest.state.is_none()) {
            self.event(Event::Stage(id, DialStage::RingingClient));
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.sip_call_id.clone_from(&dialog.call_id);
        call.invite = Some(request.clone());
        call.invite_tx = Some(tx);
        call.dialog = Some(dialog);
        call.phase = Phase::Answering;
        call.came_over = self.flow.heard_over;
        self.make_answer(id, Job::Answer);
    }

    /// The 200 to the provider's call is out.
    pub(in crate::phone) fn bridge_answered(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let sip_call_id = sha256_hex(&call.sip_call_id);
        let Some(rest) = call.rest.as_mut() else { return };
        let orders = rest.originate.claim(Some(sip_call_id));
        let confirm = self.now + rest.confirm_timeout;
        self.timers.clear(TimerKey::Call(id, CallTimer::Bridge));
        self.timers.set(TimerKey::Call(id, CallTimer::Confirm), confirm);
        self.event(Event::Stage(id, DialStage::ClientConnected));
        self.carry_out(id, orders);
    }

    /// The proxy has seen the provider on this phone's line.
    pub(super) fn on_confirmed(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(rest) = call.rest.as_mut() else { return };
        if call.phase == Phase::Outcome {
            // Too late to talk; how it ended follows.
            return;
        }
        let answered = matches!(call.phase, Phase::Accepted | Phase::Confirmed);
        if !answered && rest.answer == AnswerBy::ThisPhone {
            // Some other phone of this number has answered it.
            let error = unverified("Another phone has answered the provider's call");
            self.abandon(id, EndCause::Failed(error.clone()), error);
            return;
        }
        rest.open = true;
        call.dial_done = true;
        let until = now + rest.max_duration;
        let lock = rest.lock;
        let here = rest.answer == AnswerBy::ThisPhone;
        self.clear_call_timers(id, &[CallTimer::Bridge, CallTimer::Confirm, CallTimer::Ring]);
        self.timers.set(TimerKey::Call(id, CallTimer::MaxDuration), until);
        if here {
            self.media_order(id, MediaCommand::OpenGate);
            self.out.push(Output::Unlock(lock));
        }
        self.set_call_state(id, CallState::Ringing);
        self.event(Event::Stage(id, DialStage::Ringing));
        self.set_call_state(id, CallState::Active);
        self.event(Event::Stage(id, DialStage::Connected));
        self.event(Event::DialDone(id, Ok(())));
    }
}
