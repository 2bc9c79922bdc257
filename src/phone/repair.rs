//! Carries out what `recovery` decides for a call whose signalling or media path is lost.

use super::call::Phase;
use super::recovery::{Failure, Graces, Signalling, Step, TOGETHER, Verdict};
use super::{CallId, CallState, EndCause, EndedBy, LogLevel, MediaState, Phone};
use crate::error::{Error, ErrorCode};

impl Phone {
    // ---- events

    /// The call is answered: starts the deadline of its media path.
    pub(super) fn await_media(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.recovery.await_path(self.now);
        }
    }

    pub(super) fn on_media_state(&mut self, id: CallId, state: MediaState) {
        let call = self.calls.get_mut(&id);
        let Some(call) = call.filter(|call| !matches!(call.phase, Phase::Terminating | Phase::Outcome))
        else {
            return;
        };
        if call.recovery.on_media(state, self.now) {
            if call.recovery.is_disturbed() {
                self.ask_for_life();
            }
            self.recover(id);
        }
    }

    /// The connection is lost, for all answered calls.
    pub(super) fn signalling_lost(&mut self) {
        for id in self.live_calls() {
            self.set_signalling(id, Signalling::Lost);
        }
    }

    /// There is a connection again, and it is registered.
    pub(super) fn signalling_back(&mut self) {
        for id in self.live_calls() {
            if self.calls.get(&id).is_some_and(|call| call.recovery.is_lost()) {
                self.set_signalling(id, Signalling::Moved);
            }
        }
    }

    /// A planned move: another connection has replaced a working one.
    pub(super) fn signalling_moved(&mut self) {
        for id in self.live_calls() {
            self.set_signalling(id, Signalling::Moved);
        }
    }

    /// The network may have changed: a disturbed path counts as broken.
    pub(super) fn media_doubted(&mut self) {
        for id in self.live_calls() {
            if self.calls.get(&id).is_some_and(|call| call.recovery.is_disturbed()) {
                self.on_recovery_timer(id);
            }
        }
    }

    fn set_signalling(&mut self, id: CallId, signalling: Signalling) {
        let network_changed = self.flow.liveness.network_changed_within(TOGETHER, self.now);
        let call = self.calls.get_mut(&id);
        if let Some(call) = call.filter(|call| call.needs_connection() && call.is_up()) {
            call.recovery.set_signalling(signalling, network_changed, self.now);
            self.recover(id);
        }
    }

    /// The peer has responded in the dialog, so it knows our Contact.
    pub(super) fn reached(&mut self, id: CallId) {
        if self.calls.get_mut(&id).is_some_and(|call| call.recovery.reach(self.now)) {
            self.recover(id);
        }
    }

    /// The peer has answered our offer.
    pub(super) fn recovery_agreed(&mut self, id: CallId, restart: bool) {
        if restart && self.calls.get_mut(&id).is_some_and(|call| call.recovery.restarted(self.now)) {
            self.recover(id);
        }
    }

    /// A request got no response, or was refused: recovery tries again later. `false`: it was not for recovery.
    pub(super) fn recovery_failed(&mut self, id: CallId, restart: bool, error: &Error) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        match call.recovery.fail(restart, error.sip_status, self.now, &mut *self.entropy) {
            Failure::Other => false,
            Failure::Reached => {
                self.reached(id);
                false
            }
            Failure::Retried => true,
        }
    }

    // ---- actions

    pub(super) fn recover(&mut self, id: CallId) {
        let graces = Graces { signalling: self.config.signalling_grace, media: self.config.media_grace };
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        let state = call.state;
        let plan = call.recovery.plan(graces, self.now);
        if plan.ill && state == CallState::Active {
            self.set_call_state(id, CallState::Reconnecting);
        }
        match plan.step {
            Step::Rest => {
                if state == CallState::Reconnecting {
                    self.set_call_state(id, CallState::Active);
                }
                self.continue_offer(id);
            }
            Step::Tell => self.on_session_refresh(id),
            Step::Restart => self.continue_offer(id),
            Step::Wait => {}
        }
    }

    pub(super) fn on_recovery_timer(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.recovery.stop_waiting();
        }
        self.recover(id);
    }

    /// ICE has a path, but the peer does not make the new DTLS association. A call with Replaces takes over if the peer
    /// supports that; otherwise the grace runs on.
    pub(super) fn on_association_timer(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.recovery.is_ill()) {
            self.replace_association(id);
        }
    }

    pub(super) fn on_grace_timer(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        match call.recovery.judge(self.now) {
            Verdict::None => {}
            Verdict::End => self.end_unrecovered(id),
            Verdict::GoOn => {
                self.log(LogLevel::Warn, &["the other side does not answer where it is told of the new way"]);
                self.recover(id);
            }
        }
    }

    /// The first media path has not come up in time.
    pub(super) fn on_ice_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let call_waits = matches!(call.phase, Phase::Accepted | Phase::Applying);
        if call.recovery.is_unreached() && call.phase == Phase::Confirmed {
            call.recovery.excuse_path(self.now);
            self.recover(id);
            return;
        }
        if self.flow.is_interrupted() && call_waits {
            // Our 2xx has not left yet, or its ACK could not arrive: the peer cannot have started its media.
            self.await_media(id);
            return;
        }
        self.end_unrecovered(id);
    }

    fn end_unrecovered(&mut self, id: CallId) {
        let lost = self.calls.get(&id).is_some_and(|call| call.recovery.is_unreached());
        let (code, message, reason) = if lost {
            (
                ErrorCode::Transport,
                "The connection could not be restored",
                "SIP;cause=408;text=\"Connection lost\"",
            )
        } else {
            (ErrorCode::IceFailed, "No media path to the other side was found", "SIP;cause=408;text=\"ICE\"")
        };
        self.end_with_bye(id, EndCause::Failed(Error::new(code, message)), EndedBy::Network, Some(reason));
    }
}
