//! Calls that take the place of others: INVITE with Replaces (RFC 3891).

use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::identity::{asserted, from_uri};
use super::{CallId, Direction, ReplacesPolicy};
use crate::sip::header::{NameAddr, Params, split_before};
use crate::sip::message::{Headers, Request};
use crate::sip::uri::Uri;

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
            .find(|call| call.sip.call_id == call_id.trim_ascii() && call.sip.local_tag == to_tag)
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
        match cx.env.config.replaces {
            ReplacesPolicy::Any => true,
            ReplacesPolicy::Ask => false,
            ReplacesPolicy::Peer if cx.env.config.trust_identity => asserted(headers).is_some(),
            ReplacesPolicy::Peer => {
                let address = |uri: &str| {
                    // Of those who hide, nobody is who another one is (RFC 3323, section 4.1.1.3).
                    let uri = Uri::parse(uri).ok().filter(|uri| uri.host != "anonymous.invalid");
                    uri.map(|uri| uri.aor())
                };

                let Some(peer) = address(self.peer.uri()) else { return false };
                // The target of its transfer comes in its name, which proves little, so only while it has us on hold.
                let referrer = headers.get("Referred-By").and_then(|value| NameAddr::parse(value).ok());
                let referrer =
                    referrer.filter(|_| self.session.offers.remote_hold()).and_then(|by| address(&by.uri));
                address(&from_uri(headers)).is_some_and(|caller| caller == peer) || referrer == Some(peer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MediaCommand;
    use super::super::fixture::{call, calls, cx, request};
    use super::super::media_half::MediaJob;
    use super::super::peer::Peer;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn replaces(value: &str) -> Request {
        request("INVITE", &format!("Replaces: {value}\r\n"))
    }

    #[test]
    fn an_invite_without_replaces_takes_nobodys_place() {
        let mut cx = cx();
        let (calls, _) = calls(&mut cx, &[(Direction::Incoming, Phase::Confirmed)]);
        assert_eq!(calls.replaced_call(&request("INVITE", "")), Ok(None));
    }

    #[test]
    fn which_call_may_be_replaced() {
        // RFC 3891, section 3.
        for (direction, phase, early_only, plain) in [
            (Direction::Incoming, Phase::Confirmed, Err(486), Ok(())),
            (Direction::Outgoing, Phase::Accepted, Err(486), Ok(())),
            (Direction::Outgoing, Phase::Applying, Err(486), Ok(())),
            (Direction::Outgoing, Phase::Inviting, Ok(()), Ok(())),
            (Direction::Incoming, Phase::Alerting, Err(481), Err(481)),
            (Direction::Incoming, Phase::Terminating, Err(603), Err(603)),
        ] {
            let mut cx = cx();
            let (calls, _) = calls(&mut cx, &[(direction, phase)]);
            let of = |end: &str| {
                let value = format!("call-1;to-tag=ours-1;from-tag=bobs{end}");
                calls.replaced_call(&replaces(&value)).map(|found| assert!(found.is_some()))
            };
            assert_eq!((of(";early-only"), of("")), (early_only, plain), "{direction:?} {phase:?}");
        }
    }

    #[test]
    fn a_replaces_that_says_too_little_or_too_much_is_refused() {
        let mut cx = cx();
        let (calls, _) = calls(&mut cx, &[(Direction::Incoming, Phase::Confirmed)]);
        for (value, status) in [
            ("call-1", 400),
            ("call-1;to-tag=ours-1", 400),
            ("call-1;from-tag=bobs", 400),
            ("call-9;to-tag=ours-1;from-tag=bobs", 481),
            ("call-1;to-tag=ours-1;from-tag=0", 481),
            ("call-1;to-tag=ours-1;from-tag=bobs\r\nReplaces: call-1;to-tag=ours-1;from-tag=bobs", 400),
        ] {
            assert_eq!(calls.replaced_call(&replaces(value)), Err(status), "{value}");
        }
    }

    #[test]
    fn who_may_replace_without_a_hand_on_the_phone() {
        let mut cx = cx();
        let call = call(&mut cx, Direction::Outgoing, Phase::Confirmed);
        let stranger = "Referred-By: <sip:bob@example.com>\r\n";
        let asserted = "P-Asserted-Identity: <sip:eve@example.com>\r\n";
        for (policy, trusts, headers, by_eve, may) in [
            (ReplacesPolicy::Any, false, "", true, true),
            (ReplacesPolicy::Ask, false, "", false, false),
            (ReplacesPolicy::Peer, false, "", false, true),
            (ReplacesPolicy::Peer, false, "", true, false),
            // Its word counts only while it has us on hold.
            (ReplacesPolicy::Peer, false, stranger, true, false),
            (ReplacesPolicy::Peer, true, "", false, false),
            (ReplacesPolicy::Peer, true, asserted, true, true),
        ] {
            cx.env.config.replaces = policy;
            cx.env.config.trust_identity = trusts;
            let mut invite = request("INVITE", headers);
            if by_eve {
                invite.headers.set("From", "<sip:eve@example.com>;tag=e");
            }
            assert_eq!(call.may_replace(&cx, &invite.headers), may, "{policy:?} {trusts} {headers} {by_eve}");
        }
    }

    #[test]
    fn the_target_of_a_transfer_may_replace_while_the_peer_holds() {
        let mut cx = cx();
        let mut call = call(&mut cx, Direction::Outgoing, Phase::Confirmed);
        let mut invite = request("INVITE", "Referred-By: <sip:bob@example.com>\r\n");
        invite.headers.set("From", "<sip:carol@example.com>;tag=c");
        call.media_job(&mut cx, MediaJob::Offer, MediaCommand::CreateOffer);
        call.set_remote_hold(&mut cx, true);
        assert!(call.may_replace(&cx, &invite.headers));
        call.peer = Peer::new("sip:anonymous@anonymous.invalid".to_owned(), None);
        assert!(!call.may_replace(&cx, &invite.headers));
    }
}
