//! Which INVITE is the provider's: the one that the armed slot waits for, or one that only looks like it.

use super::super::call::{Call, Phase};
use super::super::calls::Calls;
use super::super::context::Cx;
use super::super::timers::TxId;
use super::super::{AnswerBy, CallId, EndCause, TimerKey};
use super::{RestCall, number};
use crate::error::{Error, ErrorCode};
use crate::sip::message::Request;
use crate::sip::uri::Uri;
use crate::time::Duration;

/// How long a call waits, not yet ringing, for the news whether it is the provider's.
pub(in crate::phone) const MATCH_TIMEOUT: Duration = Duration::from_secs(8);
/// Calls that wait so at the same time; more are told that it is busy here.
pub(in crate::phone) const MAX_UNMATCHED: usize = 8;

/// What an INVITE is to the dials by REST.
pub(in crate::phone) enum Verdict {
    /// A call like any other.
    Stranger,
    /// Not to be told yet.
    Unknown,
    /// The one that this dial waits for.
    Bridge(CallId),
    /// It looks like it, but there is one already.
    Second,
    /// It looks like it, but the user has another call by now.
    Occupied(CallId),
    /// It is for a dial that was given up.
    Late,
}

impl Calls {
    pub(in crate::phone) fn verdict(&self, cx: &Cx, request: &Request) -> Verdict {
        let user = |uri: &str| Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        let from = request.headers.head().from_uri().map(|from| number(&user(from))).unwrap_or_default();
        let to = request.headers.head().to.as_ref().map(|to| number(&user(&to.uri))).unwrap_or_default();
        if from.is_empty() || to.is_empty() || to != cx.own_number() {
            return Verdict::Stranger;
        }
        let mut unknown = false;
        let mut late = false;
        let mut due = false;
        let mut waiting = None;
        for call in self.iter() {
            let Some(rest) = call.rest.as_deref() else { continue };
            if !rest.armed || rest.answer == AnswerBy::Elsewhere {
                continue;
            }
            let waits = call.phase == Phase::Originating;
            let Some(expected) = &rest.expected else {
                unknown |=
                    waits || (rest.lingers && call.sip.dialog.is_none() && rest.originate.may_still_ring());
                continue;
            };
            if number(&expected.from) != from {
                continue;
            }
            if waits {
                waiting = Some((call.id, rest));
            } else if call.phase == Phase::Terminating {
                late |= rest.lingers;
                // Its call has not come: it may be this one.
                due |= rest.lingers && call.sip.dialog.is_none();
            } else if !rest.open || cx.env.now <= rest.window {
                return Verdict::Second;
            }
        }
        match waiting {
            // It looks the same as that of the dial before, and the proxy, which makes one call at a time for a
            // number, has not yet taken on this one.
            Some((_, rest)) if due && rest.state.is_none() => Verdict::Unknown,
            Some((id, _)) if self.iter().any(|other| other.id != id && other.occupies()) => {
                Verdict::Occupied(id)
            }
            Some((id, _)) => Verdict::Bridge(id),
            None if late => Verdict::Late,
            None if unknown => Verdict::Unknown,
            None => Verdict::Stranger,
        }
    }
}

impl Call {
    /// Another call is answered: this one can no more be proved to be the right one.
    pub(in crate::phone) fn yield_to_another(&mut self, cx: &mut Cx) {
        let unproved = |rest: &RestCall| !rest.open && rest.answer == AnswerBy::ThisPhone;
        if self.rest.as_ref().is_some_and(|rest| unproved(rest)) {
            let error = occupied();
            self.abandon(cx, EndCause::Failed(error.clone()), error);
        }
    }
}

impl Cx {
    pub(in crate::phone) fn own_number(&self) -> String {
        number(self.env.config.uri.user.as_deref().unwrap_or_default())
    }

    /// The phone is about to disconnect.
    pub(in crate::phone) fn refuse_unmatched(&mut self) {
        for (tx, _) in core::mem::take(&mut self.unmatched) {
            self.respond(tx, 480);
        }
        self.timers.clear(TimerKey::Unmatched);
    }

    /// The caller gave up while it could not be told.
    pub(in crate::phone) fn cancel_unmatched(&mut self, tx: TxId) {
        if self.unmatched.extract_if(.., |(waiting, _)| *waiting == tx).next().is_some() {
            self.respond(tx, 487);
        }
    }
}

#[cold]
pub(in crate::phone) fn occupied() -> Error {
    Error::new(ErrorCode::InvalidState, "Another call was answered meanwhile")
}
