//! Calls that ask to be answered at once (RFC 5373, and the headers that were used before it): intercoms, paging.
//!
//! Off unless the configuration names callers, since whoever is answered without a hand on the phone listens in. The
//! caller is the one that the server vouches for where the configuration trusts it; otherwise the one of From, which
//! anyone can forge unless the server checks it.

use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::identity::{asserted, from_uri, matches};
use super::{CallTimer, Phone};
use crate::sip::header::{NameAddr, Params, parse_u32, split_before};
use crate::sip::message::{Headers, Request};
use crate::text::first_place;
use crate::time::Duration;

/// `answer-after` and `delay` are for a tone or two.
const MAX_DELAY: u32 = 30;

/// What an INVITE asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wish {
    /// Seconds to ring before.
    after: u32,
    /// Rather not at all than by hand.
    required: bool,
}

/// `None`: to be answered by hand, as ever.
fn wish(headers: &Headers) -> Option<Wish> {
    // The header of the RFC says it all, also that it is to be answered by hand.
    for name in ["Priv-Answer-Mode", "Answer-Mode"] {
        if let Some(value) = headers.get(name) {
            let (mode, params) = split_before(value, b';');
            let required = Params::parse(params).contains("require");
            return mode.trim_ascii().eq_ignore_ascii_case("Auto").then_some(Wish { after: 0, required });
        }
    }
    let bounded = |seconds: Option<&str>| seconds.and_then(parse_u32).unwrap_or(0).min(MAX_DELAY);
    for value in headers.values("Call-Info") {
        let params = NameAddr::parse(value).map(|info| info.params).unwrap_or_default();
        if params.contains("answer-after") {
            return Some(Wish { after: bounded(params.get("answer-after")), required: false });
        }
    }
    for value in headers.values("Alert-Info") {
        let text = value.to_ascii_lowercase();
        if ["alert-autoanswer", "auto answer", "auto-answer"]
            .iter()
            .any(|sign| first_place(&text, sign).is_some())
        {
            let params = NameAddr::parse(value).map(|info| info.params).unwrap_or_default();
            return Some(Wish { after: bounded(params.get("delay")), required: false });
        }
    }
    None
}

impl Phone {}

impl Calls {
    /// The status for a call that is to be answered at once or not at all, and cannot be (RFC 5373, section 4.3.2).
    pub(super) fn auto_answer_refusal(&self, cx: &Cx, request: &Request) -> Option<u16> {
        if !wish(&request.headers)?.required {
            return None;
        }
        if !cx.may_auto_answer(&request.headers) {
            Some(403)
        } else if self.occupy_the_user(None) {
            Some(486)
        } else {
            None
        }
    }
}

impl Call {
    /// Marks a call that will be answered by itself; before the application hears of it.
    pub(super) fn plan_auto_answer(&mut self, cx: &mut Cx, request: &Request, occupied: bool) {
        let Some(wish) = wish(&request.headers) else { return };
        if occupied || !cx.may_auto_answer(&request.headers) {
            return;
        }
        self.auto_answer = true;
        let at = cx.now + Duration::from_secs(wish.after.into());
        self.timers.set(CallTimer::AutoAnswer, at);
    }

    pub(super) fn answer_itself(&mut self, cx: &mut Cx, occupied: bool) {
        if self.phase != Phase::Alerting || self.answer_wanted {
            return;
        }
        // The user has taken or made another call meanwhile: this one rings on.
        if occupied || cx.flow.closing {
            self.auto_answer = false;
            return;
        }
        // Cannot fail: it rings, and nobody has answered it.
        if self.start_answer(cx).is_ok() {
            // The application has not asked for it, and waits for no outcome.
            self.answer_pending = false;
        }
    }

    /// `answer` of a call that is being answered by itself: its outcome is that of the call. `false`: it is not.
    pub(super) fn join_answer(&mut self, cx: &mut Cx) -> bool {
        let begun = self.answer_wanted || self.phase != Phase::Alerting;
        if !((self.auto_answer || self.replaces.is_some()) && begun) {
            return false;
        }
        match self.phase {
            Phase::Confirmed => cx.event(super::Event::AnswerDone(self.id, Ok(()))),
            Phase::Alerting | Phase::Answering | Phase::Accepted => self.answer_pending = true,
            _ => return false,
        }
        true
    }

    /// The header of the 2xx that says how it was answered (RFC 5373, section 4.3.3).
    pub(super) fn answer_mode(&self) -> Option<&'static str> {
        let headers = &self.invite.as_ref().filter(|_| self.auto_answer)?.headers;
        ["Priv-Answer-Mode", "Answer-Mode"].into_iter().find(|name| headers.get(name).is_some())
    }
}

impl Cx {
    fn may_auto_answer(&self, headers: &Headers) -> bool {
        // Without the word of a server that is trusted, an unknown caller stays unknown.
        let caller = if self.config.trust_identity {
            asserted(headers).map(|identity| identity.uri)
        } else {
            Some(from_uri(headers))
        };
        caller.is_some_and(|uri| matches(&self.config.auto_answer, &uri))
    }
}
