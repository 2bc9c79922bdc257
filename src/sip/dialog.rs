//! Dialogs (RFC 3261, section 12): tags, CSeq, route set and remote target.

use super::header::{NameAddr, Params, split_before};
use super::message::{Method, Request, Response};
use crate::text::{before, concat, digits};

/// One side's view of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The other side's tag; empty for a peer that sends none (RFC 2543).
    pub remote_tag: String,
    /// From of our requests, with our tag.
    pub(crate) local: String,
    /// To of our requests, with the other side's tag.
    pub(crate) remote: String,
    /// The last CSeq that we used.
    pub local_seq: u32,
    /// The last CSeq that the other side used.
    pub remote_seq: Option<u32>,
    /// Route header values, in the order in which we send them.
    pub(crate) route_set: Vec<String>,
    /// Where our requests go: the other side's Contact.
    pub(crate) remote_target: String,
    /// The other side is not to learn who we are: each of our requests asks for that (RFC 3323, section 4.2).
    pub(crate) private: bool,
}

impl Dialog {
    /// One of which nothing but the Call-ID is known yet.
    pub(crate) fn named(call_id: &str) -> Self {
        Self {
            call_id: call_id.to_owned(),
            local_tag: String::new(),
            remote_tag: String::new(),
            local: String::new(),
            remote: String::new(),
            local_seq: 0,
            remote_seq: None,
            route_set: Vec::new(),
            remote_target: String::new(),
            private: false,
        }
    }

    /// As the caller, from a response with a To-tag to our INVITE (RFC 3261, section 12.1.2).
    /// `None` where the response lacks what a dialog needs.
    #[must_use]
    pub fn from_response(request: &Request, response: &Response) -> Option<Self> {
        // What may be missing comes first, so that nothing has to be dropped where it is.
        let (from, to) = (request.headers.get("From")?, response.headers.get("To")?);
        let (call_id, local_seq) = (request.headers.call_id()?, request.headers.seq()?);
        let local_tag = request.headers.head().from_tag()?;
        let remote_tag = response.headers.head().to_tag()?;
        // A missing Contact is against RFC 3261, section 12.1.1, but the Request-URI is then the best guess.
        let remote_target = contact_uri(&response.headers).unwrap_or_else(|| request.uri.clone());
        let mut route_set: Vec<String> = owned(&response.headers.values("Record-Route"));
        route_set.reverse();
        Some(Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: remote_tag.to_owned(),
            local: from.to_owned(),
            remote: to.to_owned(),
            local_seq,
            remote_seq: None,
            route_set,
            remote_target,
            private: request.headers.get("Privacy").is_some(),
        })
    }

    /// As the callee, from an INVITE that we answer with `local_tag` (RFC 3261, section 12.1.1).
    #[must_use]
    pub fn from_request(request: &Request, local_tag: &str) -> Option<Self> {
        let (from, to) = (request.headers.get("From")?, request.headers.get("To")?);
        let call_id = request.headers.call_id()?;
        let remote_target = contact_uri(&request.headers)?;
        Some(Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: request.headers.head().from_tag().unwrap_or_default().to_owned(),
            local: concat(&[to, ";tag=", local_tag]),
            remote: from.to_owned(),
            local_seq: 0,
            remote_seq: request.headers.seq(),
            route_set: owned(&request.headers.values("Record-Route")),
            remote_target,
            private: false,
        })
    }

    /// A request within the dialog (RFC 3261, section 12.2.1.1), without Via. ACK keeps the INVITE's CSeq: give
    /// it in `ack_of`.
    #[must_use]
    pub fn request(&mut self, method: Method, ack_of: Option<u32>) -> Request {
        let seq = ack_of.unwrap_or_else(|| {
            self.local_seq = self.local_seq.saturating_add(1);
            self.local_seq
        });
        // A first route without `lr` is a strict router (RFC 2543): it takes the place of the Request-URI, and
        // the remote target goes to the end of the route.
        let first = self.route_set.first().and_then(|route| NameAddr::parse(route).ok());
        let strict = first.map(|route| route.uri).filter(|uri| !has_lr(uri));
        let mut request = Request::new(method.clone(), strict.as_ref().unwrap_or(&self.remote_target));
        request.headers.push("Max-Forwards", "70");
        for route in self.route_set.iter().skip(usize::from(strict.is_some())) {
            request.headers.push("Route", route.as_str());
        }
        if strict.is_some() {
            request.headers.push("Route", concat(&["<", &self.remote_target, ">"]));
        }
        let cseq = concat(&[&digits(seq), " ", method.as_str()]);
        let own: [(&str, &str); 4] =
            [("From", &self.local), ("To", &self.remote), ("Call-ID", &self.call_id), ("CSeq", &cseq)];
        request.headers.push_all(&own);
        if self.private {
            request.headers.push("Privacy", "id");
        }
        request
    }

    /// Takes the CSeq of a request within the dialog. `false`: it is lower than the last one, and gets 500
    /// (RFC 3261, section 12.2.2). A number that comes again is not lower: proxies that ask whether a dialog is alive take
    /// numbers of which the peer knows nothing, and uses them again. For the same reason, and against the letter of that
    /// section, OPTIONS does not raise the number: it changes nothing in the dialog.
    pub fn accept_seq(&mut self, method: &Method, seq: u32) -> bool {
        if self.remote_seq.is_some_and(|last| seq < last) {
            return false;
        }
        if *method != Method::Options {
            self.remote_seq = Some(seq);
        }
        true
    }

    /// Where our requests go.
    #[must_use]
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// Target refresh: the Contact of a re-INVITE or of its 2xx is the new remote target.
    pub fn refresh_target(&mut self, headers: &super::message::Headers) {
        if let Some(uri) = contact_uri(headers) {
            self.remote_target = uri;
        }
    }
}

fn contact_uri(headers: &super::message::Headers) -> Option<String> {
    let contact = headers.values("Contact").first().copied().and_then(|v| NameAddr::parse(v).ok())?;
    Some(contact.uri)
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn has_lr(uri: &str) -> bool {
    let (_, params) = split_before(before(uri, b'?'), b';');
    Params::parse(params).contains("lr")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn invite() -> Request {
        let mut request = Request::new(Method::Invite, "sip:bob@example.com");
        request.headers.push("Via", "SIP/2.0/WSS a.invalid;branch=z9hG4bKx");
        request.headers.push("From", "\"Alice\" <sip:alice@example.com>;tag=a");
        request.headers.push("To", "<sip:bob@example.com>");
        request.headers.push("Call-ID", "c");
        request.headers.push("CSeq", "7 INVITE");
        request.headers.push("Contact", "<sip:alice@a.invalid;transport=ws>");
        request
    }

    fn ok(routes: &[&str]) -> Response {
        let mut response = invite().response(200, None);
        response.set_to_tag("b");
        response.headers.set("Contact", "<sip:bob@192.0.2.4:5060>");
        for route in routes {
            response.headers.push("Record-Route", *route);
        }
        response
    }

    /// RFC 3261, sections 12.1.2 and 12.2.1.1: the caller's route set is the Record-Route reversed.
    #[test]
    fn caller_uses_the_record_route_in_reverse() {
        let response = ok(&["<sip:p2.example.com;lr>, <sip:p1.example.com;lr>"]);
        let mut dialog = Dialog::from_response(&invite(), &response).unwrap();
        let bye = dialog.request(Method::Bye, None);
        assert_eq!(bye.uri, "sip:bob@192.0.2.4:5060");
        assert_eq!(
            bye.headers.get_all("Route").collect::<Vec<_>>(),
            ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]
        );
        assert_eq!(bye.headers.get("CSeq"), Some("8 BYE"));
        assert_eq!(bye.headers.get("To"), Some("<sip:bob@example.com>;tag=b"));
        assert_eq!(bye.headers.get("From"), Some("\"Alice\" <sip:alice@example.com>;tag=a"));
    }

    #[test]
    fn callee_uses_the_record_route_as_it_stands_and_swaps_from_and_to() {
        let mut request = invite();
        request.headers.push("Record-Route", "<sip:p2.example.com;lr>, <sip:p1.example.com;lr>");
        let mut dialog = Dialog::from_request(&request, "b").unwrap();
        let bye = dialog.request(Method::Bye, None);
        assert_eq!(bye.uri, "sip:alice@a.invalid;transport=ws");
        assert_eq!(
            bye.headers.get_all("Route").collect::<Vec<_>>(),
            ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
        );
        assert_eq!(bye.headers.get("From"), Some("<sip:bob@example.com>;tag=b"));
        assert_eq!(bye.headers.get("To"), Some("\"Alice\" <sip:alice@example.com>;tag=a"));
        assert_eq!(bye.headers.get("CSeq"), Some("1 BYE"));
    }

    #[test]
    fn a_strict_router_takes_the_place_of_the_request_uri() {
        let response = ok(&["<sip:p2.example.com;lr>, <sip:old.example.com>"]);
        let mut dialog = Dialog::from_response(&invite(), &response).unwrap();
        let bye = dialog.request(Method::Bye, None);
        assert_eq!(bye.uri, "sip:old.example.com");
        assert_eq!(
            bye.headers.get_all("Route").collect::<Vec<_>>(),
            ["<sip:p2.example.com;lr>", "<sip:bob@192.0.2.4:5060>"]
        );
    }

    #[test]
    fn ack_keeps_the_number_of_the_invite() {
        let mut dialog = Dialog::from_response(&invite(), &ok(&[])).unwrap();
        assert_eq!(dialog.request(Method::Ack, Some(7)).headers.get("CSeq"), Some("7 ACK"));
        assert_eq!(dialog.request(Method::Info, None).headers.get("CSeq"), Some("8 INFO"));
    }

    #[test]
    fn sequence_numbers_must_not_fall() {
        let mut dialog = Dialog::from_request(&invite(), "b").unwrap();
        assert!(dialog.accept_seq(&Method::Info, 7));
        assert!(!dialog.accept_seq(&Method::Info, 3));
        assert!(dialog.accept_seq(&Method::Info, 8));
        assert!(dialog.accept_seq(&Method::Info, 20));
        assert!(!dialog.accept_seq(&Method::Info, 19));
        // A question of a proxy takes no number away from the peer.
        assert!(dialog.accept_seq(&Method::Options, 40));
        assert!(!dialog.accept_seq(&Method::Options, 19));
        assert!(dialog.accept_seq(&Method::Info, 21));
        assert!(!dialog.accept_seq(&Method::Bye, 20));
        assert!(dialog.accept_seq(&Method::Bye, 21));
        assert_eq!(dialog.remote_seq, Some(21));
    }

    #[test]
    fn each_request_of_a_private_dialog_says_that_it_is() {
        let mut request = invite();
        request.headers.push("Privacy", "id");
        let mut dialog = Dialog::from_response(&request, &ok(&[])).unwrap();
        for (method, ack_of) in [(Method::Ack, Some(7)), (Method::Info, None), (Method::Bye, None)] {
            assert_eq!(dialog.request(method, ack_of).headers.get("Privacy"), Some("id"));
        }
    }
}
