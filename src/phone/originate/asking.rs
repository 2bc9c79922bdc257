//! What is asked of the proxy, and what its answers mean for the call.

use super::super::call::{Call, Phase};
use super::super::context::Cx;
use super::super::{AnswerBy, CallTimer, DialStage, EndCause, EndedBy, Event, Job, ProxyId, TimerKey};
use super::{GRACE, RING_TIMEOUT, number};
use crate::dial::originate::{News, Order, Purpose, Step};
use crate::dial::proxy::{ProxyCall, ProxyCommand, ProxyFailure, ProxyReply};
use crate::error::{Error, ErrorCode};
use crate::time::Duration;

/// For an answer of the proxy, beyond what it was told to wait.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);

impl Call {
    pub(in crate::phone) fn has_asked_proxy(&self, request: ProxyId) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.requests.iter().any(|(id, _)| *id == request))
    }

    pub(in crate::phone) fn on_proxy(
        &mut self,
        cx: &mut Cx,
        request: ProxyId,
        answer: &Result<ProxyReply, ProxyFailure>,
    ) {
        let Some(rest) = self.rest.as_deref_mut() else { return };
        let Some(purpose) = rest.take_request(request) else { return };
        if let Ok(ProxyReply { call: Some(call), .. }) = answer {
            rest.set_state(&call.state);
        }
        let Step { orders, news } = rest.originate.on_answer(purpose, answer);
        self.carry_out(cx, orders);
        for news in news {
            self.on_news(cx, news);
        }
    }

    pub(super) fn carry_out(&mut self, cx: &mut Cx, orders: Vec<Order>) {
        for order in orders {
            if order.after.is_zero() {
                self.ask_proxy(cx, order);
            } else {
                let at = cx.env.now + order.after;
                if let Some(rest) = self.rest.as_deref_mut() {
                    rest.put_off(at, order);
                }
            }
        }
        self.set_pause_timer();
    }

    pub(super) fn set_pause_timer(&mut self) {
        match self.rest.as_deref_mut().and_then(|rest| rest.pauses.iter().map(|(at, _)| *at).min()) {
            Some(at) => self.timers.set(CallTimer::ProxyPause, at),
            None => self.timers.clear(CallTimer::ProxyPause),
        }
    }

    pub(in crate::phone) fn on_proxy_pause(&mut self, cx: &mut Cx) {
        let now = cx.env.now;
        let Some(rest) = self.rest.as_deref_mut() else { return };
        let due = rest.take_due(Some(now));
        self.carry_out(cx, due);
    }

    pub(super) fn ask_proxy(&mut self, cx: &mut Cx, order: Order) {
        let request = cx.numbers.proxy();
        let Some(rest) = self.rest.as_deref_mut() else { return };
        rest.asked(request, order.purpose);
        let wait = match &order.command {
            ProxyCommand::Poll { wait, .. } => *wait,
            _ => Duration::ZERO,
        };
        // A page that is left while a call is being given up must not keep the far end ringing.
        let keepalive = rest.leaving || order.purpose == Purpose::Cancel;
        cx.timers.set(TimerKey::Proxy(request), cx.env.now + wait + PROXY_TIMEOUT);
        cx.env.job(Job::Proxy { id: request, command: order.command, keepalive });
    }

    pub(super) fn on_news(&mut self, cx: &mut Cx, news: News) {
        let over = self.phase == Phase::Terminating;
        match news {
            News::Config(config) => {
                if let Some(rest) = self.rest.as_deref_mut() {
                    rest.expect(config.expected(rest.originate.caller_id()));
                }
            }
            News::Accepted(accepted) => self.on_accepted(cx, &accepted, over),
            News::Confirmed if !over => self.on_confirmed(cx),
            News::Ended(error) if !over => self.on_ended_at_proxy(cx, error),
            News::Failed(error) if !over => self.abandon(cx, EndCause::Failed(error.clone()), error),
            News::Lost if !over => self.on_lost(cx),
            News::Confirmed | News::Ended(_) | News::Failed(_) | News::Lost => {}
        }
    }

    pub(super) fn on_accepted(&mut self, cx: &mut Cx, accepted: &ProxyCall, over: bool) {
        let now = cx.env.now;
        let own = cx.own_number();

        let phase = self.phase;
        let Some(rest) = self.rest.as_mut() else { return };
        rest.accept(accepted);
        let until = now + accepted.ring_timeout.unwrap_or(RING_TIMEOUT) + GRACE;
        if over {
            if rest.lingers && !accepted.ended {
                self.timers.set(CallTimer::Tombstone, until);
            }
            return;
        }
        rest.set_window(until);
        if rest.answer == AnswerBy::Elsewhere {
            let orders = rest.originate.claim(None);
            let until = until + rest.confirm_timeout;
            self.timers.set(CallTimer::Bridge, until);
            cx.event(Event::Stage(self.id, DialStage::RingingClient));
            self.carry_out(cx, orders);
            return;
        }
        if rest.expected.as_ref().is_some_and(|expected| number(&expected.to) != own) {
            let error = Error::new(ErrorCode::ProxyError, "The proxy has called another phone")
                .with_hint("Let `uri` be the number that the proxy has for this session.");
            self.abandon(cx, EndCause::Failed(error.clone()), error);
            return;
        }
        if phase == Phase::Originating {
            self.timers.set(CallTimer::Bridge, until);
            cx.event(Event::Stage(self.id, DialStage::RingingClient));
        }
    }

    /// The dial comes to nothing, wherever it stands.
    pub(in crate::phone) fn abandon(&mut self, cx: &mut Cx, cause: EndCause, error: Error) {
        match self.phase {
            Phase::Answering => {
                let tx = self.sip.invite_tx.take();
                if let Some(tx) = tx {
                    self.respond_in_dialog(cx, tx, 603, None);
                }
                self.end_rest(cx, cause, EndedBy::Local, error);
            }
            Phase::Accepted | Phase::Confirmed => self.end_with_bye(cx, cause, EndedBy::Local, None),
            Phase::Terminating => {}
            _ => self.end_rest(cx, cause, EndedBy::Local, error),
        }
    }

    pub(super) fn end_rest(&mut self, cx: &mut Cx, cause: EndCause, by: EndedBy, error: Error) {
        self.report_end(cx, cause, None, by, Some(error));
        self.remove(cx);
    }
}
