//! Calls that ask to be answered at once (RFC 5373, and the headers that were used before it): intercoms, paging.
//!
//! Off unless the configuration names callers, since whoever is answered without a hand on the phone listens in. The
//! caller is the one that the server vouches for where the configuration trusts it; otherwise the one of From, which
//! anyone can forge unless the server checks it.

use super::CallTimer;
use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::identity::{asserted, from_uri, matches};
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
        self.answering.set_by_itself(true);
        let at = cx.env.now + Duration::from_secs(wish.after.into());
        self.timers.set(CallTimer::AutoAnswer, at);
    }

    pub(super) fn answer_itself(&mut self, cx: &mut Cx, occupied: bool) {
        if self.phase != Phase::Alerting || self.answering.is_wanted() {
            return;
        }
        // The user has taken or made another call meanwhile: this one rings on.
        if occupied || cx.line.is_closing() {
            self.answering.set_by_itself(false);
            return;
        }
        // Cannot fail: it rings, and nobody has answered it.
        if self.start_answer(cx).is_ok() {
            // The application has not asked for it, and waits for no outcome.
            self.answering.set_pending(false);
        }
    }

    /// `answer` of a call that is being answered by itself: its outcome is that of the call. `false`: it is not.
    pub(super) fn join_answer(&mut self, cx: &mut Cx) -> bool {
        let begun = self.answering.is_wanted() || self.phase != Phase::Alerting;
        if !((self.answering.is_by_itself() || self.succession.replaces().is_some()) && begun) {
            return false;
        }
        match self.phase {
            Phase::Confirmed => cx.event(super::Event::AnswerDone(self.id, Ok(()))),
            Phase::Alerting | Phase::Answering | Phase::Accepted => self.answering.set_pending(true),
            _ => return false,
        }
        true
    }

    /// The header of the 2xx that says how it was answered (RFC 5373, section 4.3.3).
    pub(super) fn answer_mode(&self) -> Option<&'static str> {
        let headers = &self.sip.invite.as_ref().filter(|_| self.answering.is_by_itself())?.headers;
        ["Priv-Answer-Mode", "Answer-Mode"].into_iter().find(|name| headers.get(name).is_some())
    }
}

impl Cx {
    fn may_auto_answer(&self, headers: &Headers) -> bool {
        // Without the word of a server that is trusted, an unknown caller stays unknown.
        let caller = if self.env.config.trust_identity {
            asserted(headers).map(|identity| identity.uri)
        } else {
            Some(from_uri(headers))
        };
        caller.is_some_and(|uri| matches(&self.env.config.auto_answer, &uri))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{calls, cx, request};
    use super::super::io::Direction;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn asks(headers: &str) -> Option<(u32, bool)> {
        wish(&request("INVITE", headers).headers).map(|wish| (wish.after, wish.required))
    }

    #[test]
    fn what_an_invite_asks_for() {
        for (headers, wish) in [
            ("", None),
            ("Answer-Mode: Auto\r\n", Some((0, false))),
            ("Answer-Mode: Manual\r\n", None),
            ("Priv-Answer-Mode: auto;require\r\n", Some((0, true))),
            ("Call-Info: <sip:x@h>;answer-after=3\r\n", Some((3, false))),
            ("Call-Info: <sip:x@h>;answer-after=4000\r\n", Some((MAX_DELAY, false))),
            ("Call-Info: <sip:x@h>;answer-after=soon\r\n", Some((0, false))),
            ("Alert-Info: <http://h/>;info=alert-autoanswer;delay=2\r\n", Some((2, false))),
            ("Alert-Info: <http://h/>;info=ring\r\n", None),
            // The header of the RFC goes before those that were used before it.
            ("Answer-Mode: Manual\r\nCall-Info: <sip:x@h>;answer-after=0\r\n", None),
        ] {
            assert_eq!(asks(headers), wish, "{headers}");
        }
    }

    #[test]
    fn at_once_or_not_at_all() {
        for (allowed, busy, headers, refusal) in [
            (true, false, "Answer-Mode: Auto;require\r\n", None),
            (true, true, "Answer-Mode: Auto;require\r\n", Some(486)),
            (false, false, "Answer-Mode: Auto;require\r\n", Some(403)),
            (false, true, "Answer-Mode: Auto\r\n", None),
        ] {
            let mut cx = cx();
            if allowed {
                cx.env.config.auto_answer = vec!["@example.com".to_owned()];
            }
            let phase = if busy { Phase::Confirmed } else { Phase::Terminating };
            let (calls, _) = calls(&mut cx, &[(Direction::Incoming, phase)]);
            let request = request("INVITE", headers);
            assert_eq!(calls.auto_answer_refusal(&cx, &request), refusal, "{allowed} {busy} {headers}");
        }
    }

    #[test]
    fn who_is_trusted_answers_for_the_caller() {
        for (trusts, headers, may) in [
            (false, "", true),
            (true, "", false),
            (true, "P-Asserted-Identity: <sip:bob@example.com>\r\n", true),
            (true, "P-Asserted-Identity: <sip:bob@elsewhere.example>\r\n", false),
        ] {
            let mut cx = cx();
            cx.env.config.auto_answer = vec!["bob@example.com".to_owned()];
            cx.env.config.trust_identity = trusts;
            assert_eq!(cx.may_auto_answer(&request("INVITE", headers).headers), may, "{trusts} {headers}");
        }
    }

    #[test]
    fn a_call_is_not_answered_for_a_user_who_has_another() {
        for (occupied, answers) in [(false, true), (true, false)] {
            let mut cx = cx();
            cx.env.config.auto_answer = vec!["*".to_owned()];
            let (mut calls, ids) = calls(&mut cx, &[(Direction::Incoming, Phase::Alerting)]);
            let call = calls.get_mut(ids[0]).unwrap();
            call.plan_auto_answer(&mut cx, &request("INVITE", "Answer-Mode: Auto\r\n"), occupied);
            assert_eq!(call.answering.is_by_itself(), answers);
            assert_eq!(call.timers.is_set(CallTimer::AutoAnswer), answers);
        }
    }

    #[test]
    fn the_2xx_says_in_which_header_it_was_asked() {
        let mut cx = cx();
        let (mut calls, ids) = calls(&mut cx, &[(Direction::Incoming, Phase::Alerting)]);
        let call = calls.get_mut(ids[0]).unwrap();
        for (headers, auto, mode) in [
            ("Answer-Mode: Auto\r\n", true, Some("Answer-Mode")),
            ("Priv-Answer-Mode: Auto\r\n", true, Some("Priv-Answer-Mode")),
            ("Answer-Mode: Auto\r\n", false, None),
            ("", true, None),
        ] {
            call.answering.set_by_itself(auto);
            call.sip.invite = Some(request("INVITE", headers));
            assert_eq!(call.answer_mode(), mode, "{headers} {auto}");
        }
    }
}
