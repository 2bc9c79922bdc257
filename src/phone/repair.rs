//! Carries out what `recovery` decides for a call whose signalling or media path is lost.

use super::call::{Call, Phase};
use super::context::Cx;
use super::recovery::{Failure, Graces, Signalling, Step, TOGETHER, Verdict};
use super::{CallState, EndCause, EndedBy, LogLevel, MediaState};
use crate::error::{Error, ErrorCode};

impl Call {
    // ---- events

    /// The call is answered: starts the deadline of its media path.
    pub(super) fn await_media(&mut self, cx: &mut Cx) {
        self.session.recovery.await_path(cx.env.now);
    }

    pub(super) fn on_media_state(&mut self, cx: &mut Cx, state: MediaState) {
        if matches!(self.phase, Phase::Terminating | Phase::Outcome) {
            return;
        }
        if self.session.recovery.on_media(state, cx.env.now) {
            if self.session.recovery.is_disturbed() {
                cx.line.ask_in_silence(&mut cx.env);
            }
            self.recover(cx);
        }
    }

    /// There is a connection again, and it is registered.
    pub(super) fn signalling_back(&mut self, cx: &mut Cx) {
        if self.session.recovery.is_lost() {
            self.set_signalling(cx, Signalling::Moved);
        }
    }

    /// The network may have changed: a disturbed path counts as broken.
    pub(super) fn doubt_media(&mut self, cx: &mut Cx) {
        if self.session.recovery.is_disturbed() {
            self.on_recovery_timer(cx);
        }
    }

    /// What has become of the connection: lost, or another one has taken its place.
    pub(super) fn set_signalling(&mut self, cx: &mut Cx, signalling: Signalling) {
        let network_changed = cx.line.network_changed_within(TOGETHER, cx.env.now);
        if self.needs_connection() && self.is_up() {
            self.session.recovery.set_signalling(signalling, network_changed, cx.env.now);
            self.recover(cx);
        }
    }

    /// The peer has responded in the dialog, so it knows our Contact.
    pub(super) fn reached(&mut self, cx: &mut Cx) {
        if self.session.recovery.reach(cx.env.now) {
            self.recover(cx);
        }
    }

    /// The peer has answered our offer.
    pub(super) fn recovery_agreed(&mut self, cx: &mut Cx, restart: bool) {
        if restart && self.session.recovery.restarted(cx.env.now) {
            self.recover(cx);
        }
    }

    /// A request got no response, or was refused: recovery tries again later. `false`: it was not for recovery.
    pub(super) fn recovery_failed(&mut self, cx: &mut Cx, restart: bool, error: &Error) -> bool {
        match self.session.recovery.fail(restart, error.sip_status, cx.env.now, &mut *cx.env.entropy) {
            Failure::Other => false,
            Failure::Reached => {
                self.reached(cx);
                false
            }
            Failure::Retried => true,
        }
    }

    // ---- actions

    pub(super) fn recover(&mut self, cx: &mut Cx) {
        let graces = Graces { signalling: cx.env.config.signalling_grace, media: cx.env.config.media_grace };
        if self.phase != Phase::Confirmed {
            return;
        }
        let state = self.state;
        let plan = self.session.recovery.plan(graces, cx.env.now);
        if plan.ill && state == CallState::Active {
            self.set_call_state(cx, CallState::Reconnecting);
        }
        match plan.step {
            Step::Rest => {
                if state == CallState::Reconnecting {
                    self.set_call_state(cx, CallState::Active);
                }
                self.continue_offer(cx);
            }
            Step::Tell => self.on_session_refresh(cx),
            Step::Restart => self.continue_offer(cx),
            Step::Wait => {}
        }
    }

    pub(super) fn on_recovery_timer(&mut self, cx: &mut Cx) {
        self.session.recovery.stop_waiting();
        self.recover(cx);
    }

    /// ICE has a path, but the peer does not make the new DTLS association. A call with Replaces takes over if the peer
    /// supports that; otherwise the grace runs on.
    pub(super) fn on_association_timer(&mut self, cx: &mut Cx) {
        if self.session.recovery.is_ill() {
            self.replace_association(cx);
        }
    }

    pub(super) fn on_grace_timer(&mut self, cx: &mut Cx) {
        if self.phase != Phase::Confirmed {
            return;
        }
        match self.session.recovery.judge(cx.env.now) {
            Verdict::None => {}
            Verdict::End => self.end_unrecovered(cx),
            Verdict::GoOn => {
                cx.log(LogLevel::Warn, &["the other side does not answer where it is told of the new way"]);
                self.recover(cx);
            }
        }
    }

    /// The first media path has not come up in time.
    pub(super) fn on_ice_timeout(&mut self, cx: &mut Cx) {
        let call_waits = matches!(self.phase, Phase::Accepted | Phase::Applying);
        if self.session.recovery.is_unreached() && self.phase == Phase::Confirmed {
            self.session.recovery.excuse_path(cx.env.now);
            self.recover(cx);
            return;
        }
        if cx.line.is_interrupted() && call_waits {
            // Our 2xx has not left yet, or its ACK could not arrive: the peer cannot have started its media.
            self.await_media(cx);
            return;
        }
        self.end_unrecovered(cx);
    }

    fn end_unrecovered(&mut self, cx: &mut Cx) {
        let lost = self.session.recovery.is_unreached();
        let (code, message, reason) = if lost {
            (
                ErrorCode::Transport,
                "The connection could not be restored",
                "SIP;cause=408;text=\"Connection lost\"",
            )
        } else {
            (ErrorCode::IceFailed, "No media path to the other side was found", "SIP;cause=408;text=\"ICE\"")
        };
        self.end_with_bye(cx, EndCause::Failed(Error::new(code, message)), EndedBy::Network, Some(reason));
    }
}
