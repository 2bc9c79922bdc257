//! Calls that take the place of others: INVITE with Replaces (RFC 3891).

use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::identity::{asserted, from_uri};
use super::{CallId, Direction, Phone, ReplacesPolicy};
use crate::sip::header::{NameAddr, Params, split_before};
use crate::sip::message::{Headers, Request};
use crate::sip::uri::Uri;

impl Phone {}

impl Calls {
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
            .iter()
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
}

impl Call {
    /// Whether this INVITE may take the place of the call with nobody's hand on the phone.
    pub(super) fn may_replace(&self, cx: &Cx, headers: &Headers) -> bool {
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
