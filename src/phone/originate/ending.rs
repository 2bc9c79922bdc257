//! How a call by REST ends, whoever ends it, and what stays of it afterwards.

use super::super::call::{Call, Phase};
use super::super::context::Cx;
use super::super::env::Ask;
use super::super::{AnswerBy, CallTimer, EndCause, EndedBy, Job, LogLevel, MediaCommand, TimerKey};
use super::{GRACE, RING_TIMEOUT, unverified};
use crate::dial::originate::Purpose;
use crate::error::{Error, ErrorCode};
use crate::time::Duration;

/// From the provider's BYE until the call ends here: within that the proxy mostly knows how the far leg ended.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(2);

impl Call {
    /// The proxy tells no more of a confirmed call. The end of one that is answered here is seen here.
    pub(super) fn on_lost(&mut self, cx: &mut Cx) {
        if self.rest.as_deref_mut().is_some_and(|rest| rest.answer == AnswerBy::Elsewhere) {
            let error = Error::new(ErrorCode::ProxyError, "The proxy has forgotten the call");
            self.end_rest(cx, EndCause::Failed(error.clone()), EndedBy::Network, error);
        }
    }

    pub(super) fn on_ended_at_proxy(&mut self, cx: &mut Cx, error: Option<Error>) {
        let open = self.rest.as_ref().is_some_and(|rest| rest.open);
        let phase = self.phase;
        let error = match error {
            None if open => None,
            // It can't have been completed before it was confirmed.
            None => Some(Error::new(ErrorCode::ProviderError, "The provider has ended the call")),
            // This phone has answered somebody, and that was not the provider.
            Some(error)
                if error.code == ErrorCode::BridgeMissing
                    && !open
                    && matches!(phase, Phase::Accepted | Phase::Confirmed | Phase::Outcome) =>
            {
                Some(unverified("The call that was answered is not the provider's"))
            }
            error => error,
        };
        let cause = match &error {
            None => EndCause::Completed,
            Some(error) if error.code == ErrorCode::Aborted => EndCause::Cancelled,
            Some(error) => EndCause::Failed(error.clone()),
        };
        match phase {
            Phase::Accepted | Phase::Confirmed => self.end_with_bye(cx, cause, EndedBy::Remote, None),
            Phase::Outcome => {
                self.end_rest(cx, cause, EndedBy::Remote, error.unwrap_or_else(super::super::call_ended))
            }
            Phase::Originating if open => {
                self.end_rest(cx, cause, EndedBy::Remote, error.unwrap_or_else(super::super::call_ended));
            }
            _ => self.abandon(cx, cause, error.unwrap_or_else(super::super::call_ended)),
        }
    }

    /// The provider has hung up. The audio is over, and how the far leg ended is yet to be heard.
    pub(in crate::phone) fn bridge_over(&mut self, cx: &mut Cx) {
        self.stop_awaiting_ack();
        self.timers.clear_all(&[CallTimer::Confirm, CallTimer::MaxDuration]);
        self.media_order(cx, MediaCommand::Close);
        let now = cx.env.now;

        self.session.recovery.forget_path();
        self.media.drop_job();
        self.phase = Phase::Outcome;
        self.timers.set(CallTimer::Outcome, now + OUTCOME_TIMEOUT);
        // A question that was put off is asked now.
        self.hurry(cx);
    }

    pub(in crate::phone) fn on_outcome_timeout(&mut self, cx: &mut Cx) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        let (cause, error) = if rest.open {
            (EndCause::Completed, super::super::call_ended())
        } else {
            let error = if rest.originate.is_confirmed() {
                Error::new(ErrorCode::ProviderError, "The provider has ended the call")
            } else {
                unverified("The provider hung up before the call was confirmed")
            };
            (EndCause::Failed(error.clone()), error)
        };
        self.end_rest(cx, cause, EndedBy::Remote, error);
    }

    pub(in crate::phone) fn on_bridge_timeout(&mut self, cx: &mut Cx) {
        let Some(rest) = self.rest.as_ref() else { return };
        let (code, message) = if !rest.armed {
            (ErrorCode::Timeout, "The browser did not say whether another tab is dialling")
        } else if self.phase == Phase::Answering {
            (ErrorCode::MediaUnavailable, "The provider's call could not be answered in time")
        } else if rest.state.is_none() {
            (ErrorCode::ProxyUnreachable, "The call proxy did not answer in time")
        } else if rest.answer == AnswerBy::Elsewhere {
            (ErrorCode::NoAnswer, "Nobody answered the provider's call")
        } else {
            (ErrorCode::BridgeMissing, "The provider did not call this phone")
        };
        let error = Error::new(code, message);
        self.abandon(cx, EndCause::Failed(error.clone()), error);
    }

    pub(in crate::phone) fn on_confirm_timeout(&mut self, cx: &mut Cx) {
        let error = unverified("The call could not be verified");
        self.abandon(cx, EndCause::Failed(error.clone()), error);
    }

    pub(in crate::phone) fn on_max_duration(&mut self, cx: &mut Cx) {
        cx.log(LogLevel::Warn, &["the call has reached its longest time"]);
        self.hang_up_rest(cx, None);
    }

    /// The user, the application or a deadline ends it.
    pub(in crate::phone) fn hang_up_rest(&mut self, cx: &mut Cx, cause: Option<Error>) {
        let open = self.rest.as_deref_mut().is_some_and(|rest| rest.open);
        let end = match &cause {
            Some(error) if error.code != ErrorCode::Aborted => EndCause::Failed(error.clone()),
            _ if open => EndCause::Completed,
            _ => EndCause::Cancelled,
        };
        let error = cause.unwrap_or_else(|| Error::new(ErrorCode::Aborted, "The call was cancelled"));
        self.abandon(cx, end, error);
    }

    /// The page is going. A call by REST ends with every page, for its far end is paid for.
    pub(in crate::phone) fn leave_rest(&mut self, cx: &mut Cx) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        rest.leave();
        self.hang_up_rest(cx, None);
        // What waits for another attempt has no other time.
        self.hurry(cx);
    }

    /// Asks now what was to be asked later.
    pub(super) fn hurry(&mut self, cx: &mut Cx) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        let orders = rest.take_due(None);
        self.carry_out(cx, orders);
    }

    /// Called once, when a call by REST has ended for the application: the proxy is told, and the record stays for as
    /// long as the provider may still call for it.
    pub(in crate::phone) fn rest_ended(&mut self, cx: &mut Cx) {
        self.timers.clear_all(&[
            CallTimer::Bridge,
            CallTimer::Confirm,
            CallTimer::Outcome,
            CallTimer::MaxDuration,
            CallTimer::ProxyPause,
        ]);

        let bridged = self.sip.dialog.is_some();
        let Some(rest) = self.rest.as_mut() else { return };
        let mut cancels = rest.take_cancels();
        let mut orders = rest.originate.cancel();
        // A cancellation that was decided on at the proxy's word.
        orders.append(&mut cancels);
        let cancelling = rest.requests.iter().any(|(_, purpose)| *purpose == Purpose::Cancel);
        let rings = !bridged && rest.originate.may_still_ring();
        let lingers = rest.armed && (!orders.is_empty() || cancelling || rings);
        rest.set_lingers(lingers);
        // The answers to these may still tell what the provider's call looks like.
        let keep = |purpose: Purpose| matches!(purpose, Purpose::Start | Purpose::Config | Purpose::Cancel);
        let dropped = rest.take_requests(|purpose| lingers && keep(purpose));
        let window = rest.window;
        let lock = (rest.answer == AnswerBy::ThisPhone && !rest.open).then_some(rest.lock);
        for request in dropped {
            cx.timers.clear(TimerKey::Proxy(request));
            cx.env.job(Job::AbortProxy(request));
        }
        if let Some(lock) = lock {
            cx.env.job(Job::Unlock(lock));
        }
        if lingers {
            let at = window.max(cx.env.now + RING_TIMEOUT + GRACE);
            self.timers.set(CallTimer::Tombstone, at);
        }
        self.carry_out(cx, orders);
    }

    /// Whether the record of an ended call is still needed.
    pub(in crate::phone) fn lingers(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.lingers)
    }

    pub(in crate::phone) fn on_tombstone(&mut self, cx: &mut Cx) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        rest.set_lingers(false);
        // What has waited for its time is done no more.
        drop(rest.take_due(None));
        for request in rest.take_requests(|_| false) {
            cx.timers.clear(TimerKey::Proxy(request));
            cx.env.job(Job::AbortProxy(request));
        }
        self.timers.clear(CallTimer::ProxyPause);
        // The BYE may still wait for the ACK; whoever sends it lays the record to rest.
        if self.session.pending_ok.is_none() {
            self.remove(cx);
        }
        cx.ask(self.id, Ask::JudgeUnmatched);
    }
}
