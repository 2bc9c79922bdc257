//! Calls that take the place of others: INVITE with Replaces (RFC 3891).

use super::call::{Call, Phase};
use super::context::Cx;
use super::identity::{asserted, from_uri};
use super::{CallId, Direction, EndCause, EndedBy, Event, LogLevel, MediaCommand, Phone, ReplacesPolicy};
use crate::error::{Error, ErrorCode};
use crate::sip::header::{NameAddr, Params, split_before};
use crate::sip::message::{Headers, Request};
use crate::sip::sdp::Direction as MediaDirection;
use crate::sip::uri::Uri;

impl Phone {
    /// The call whose place this INVITE is to take, or the status that refuses it (RFC 3891, section 3).
    pub(super) fn replaced_call(&self, request: &Request) -> Result<Option<CallId>, u16> {
        let mut lines = request.headers.get_all("Replaces");
        let Some(line) = lines.next() else { return Ok(None) };
        let (call_id, params) = split_before(line, b';');
        let params = Params::parse(params);
        let (Some(to_tag), Some(from_tag), None) =
            (params.get("to-tag"), params.get("from-tag"), lines.next())
        else {
            return Err(400);
        };
        let call = self
            .calls
            .values()
            .find(|call| call.sip_call_id == call_id.trim_ascii() && call.local_tag == to_tag)
            // A peer of RFC 2543 has no tag: "0" stands for it.
            .filter(|call| call.knows_remote_tag(from_tag) || (from_tag == "0" && call.knows_remote_tag("")))
            .filter(|call| call.rest.is_none())
            .ok_or(481_u16)?;
        match call.phase {
            Phase::Terminating => Err(603),
            _ if call.is_up() && params.contains("early-only") => Err(486),
            _ if call.is_up() => Ok(Some(call.id)),
            Phase::Inviting if call.direction == Direction::Outgoing => Ok(Some(call.id)),
            // An early dialog that the other side has begun cannot be replaced.
            _ => Err(481),
        }
    }

    /// The user has taken on (or made) the call whose place this one takes: it is answered without asking.
    pub(super) fn answer_in_place_of(&mut self, old: CallId, id: CallId) {
        let held = self.calls.get(&old).is_some_and(|call| call.offers.local_hold());
        self.with(id, |call, cx| {
            call.set_call_state(cx, super::CallState::Connecting);
            call.continue_answer(cx);
            if held {
                call.media_order(cx, MediaCommand::Flow(MediaDirection::Inactive));
            }
        });
    }

    /// The new call is up: the old one ends (RFC 3891, section 3: by BYE, or CANCEL for an early one).
    /// `asked`: by hand, so that it is not held as the old one was.
    pub(super) fn take_place_of(&mut self, old: CallId, id: CallId, asked: bool) {
        let Some(call) = self.calls.get(&old).filter(|call| call.phase != Phase::Terminating) else { return };
        let (up, held) = (call.is_up(), call.offers.local_hold() && !asked);
        self.cx.event(Event::Replaced { old, new: id });
        if held {
            self.with(id, |call, cx| {
                if let Err(error) = call.hold_unasked(cx) {
                    cx.log(LogLevel::Warn, &["the new call could not be held: ", &error.message]);
                    call.media_order(cx, MediaCommand::Flow(MediaDirection::SendRecv));
                }
            });
        }
        self.with(old, |call, cx| {
            if up {
                call.end_with_bye(cx, EndCause::Completed, EndedBy::Remote, None);
            } else {
                let error = Error::new(ErrorCode::Aborted, "Another call has taken its place");
                call.give_up_call(cx, Some(error), EndedBy::Remote);
            }
        });
    }
}

impl Call {
    /// Whether this INVITE may take the place of the call with nobody's hand on the phone.
    pub(super) fn may_replace(&self, cx: &mut Cx, headers: &Headers) -> bool {
        match cx.config.replaces {
            ReplacesPolicy::Any => true,
            ReplacesPolicy::Ask => false,
            ReplacesPolicy::Peer if cx.config.trust_identity => asserted(headers).is_some(),
            ReplacesPolicy::Peer => {
                let address = |uri: &str| {
                    // Of those who hide, nobody is who another one is (RFC 3323, section 4.1.1.3).
                    let uri = Uri::parse(uri).ok().filter(|uri| uri.host != "anonymous.invalid");
                    uri.map(|uri| uri.aor())
                };

                let Some(peer) = address(&self.remote_uri) else { return false };
                // The target of its transfer comes in its name, which proves little, so only while it has us on hold.
                let referrer = headers.get("Referred-By").and_then(|value| NameAddr::parse(value).ok());
                let referrer = referrer.filter(|_| self.offers.remote_hold()).and_then(|by| address(&by.uri));
                address(&from_uri(headers)).is_some_and(|caller| caller == peer) || referrer == Some(peer)
            }
        }
    }
}
