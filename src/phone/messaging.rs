//! MESSAGE (RFC 3428) and OPTIONS outside a dialog, and what every request outside a dialog has in common.

use super::capabilities;
use super::context::Cx;
use super::timers::TxId;
use super::transactions::Owner;
use super::{Event, MessageRequest, RequestId};
use crate::entropy::token;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::body::part;
use crate::sip::header::is_token;
use crate::sip::message::{Method, Request, Response};
use crate::sip::uri::Uri;
use crate::text::{before, concat, has_control, split_once};

/// Longest body in either direction. The 1300 bytes of RFC 3428, section 8, are about UDP: the path of a WebSocket
/// is congestion-controlled, and proxies that go on by UDP answer 513.
pub(super) const MAX_BODY: usize = 60 * 1024;

impl Cx {
    /// A URI to send a request to, if there is a connection to send it over.
    pub(super) fn request_target(&self, target: &str) -> Result<String, Error> {
        if self.line.is_closing() || self.line.open_socket().is_none() {
            return Err(Error::new(ErrorCode::NotConnected, "There is no connection to the SIP server"));
        }
        let uri = Uri::parse(target).ok().filter(|uri| uri.headers.is_none());
        let error = || Error::new(ErrorCode::InvalidDestination, "The destination is not a SIP URI");
        uri.map(|uri| uri.to_text()).ok_or_else(error)
    }

    /// A request that belongs to no dialog.
    pub(super) fn request_outside(&mut self, method: Method, uri: &str, to: &str) -> Request {
        let tag = token(&mut *self.env.entropy, 12);
        let call_id = token(&mut *self.env.entropy, 24);
        let cseq = concat(&["1 ", method.as_str()]);
        // What is for people may be anonymous; state is published and subscribed to under our name.
        let hides = self.env.config.anonymous && matches!(method, Method::Message | Method::Options);
        let from = self.caller_address(hides);
        let mut request = Request::new(method, uri);
        if hides {
            self.hide_caller(&mut request);
        }
        request.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&from, ";tag=", &tag])),
            ("To", to),
            ("Call-ID", &call_id),
            ("CSeq", &cseq),
        ]);
        request
    }

    fn start_request(&mut self, request: Request) -> Result<RequestId, Error> {
        self.transactions.allow_request()?;
        let id = self.numbers.request();
        self.send_request(Owner::Request(id), request, Attempt::default()).map(|_| id)
    }

    pub(super) fn start_message(&mut self, message: MessageRequest) -> Result<RequestId, Error> {
        let uri = self.request_target(&message.target)?;
        check_body(&message.content_type, &message.body)?;
        self.env.take_headers(&message.extra_headers)?;
        // No Contact: a MESSAGE makes no dialog (RFC 3428, section 4).
        let mut request = self.request_outside(Method::Message, &uri, &concat(&["<", &uri, ">"]));
        request.headers.push("Content-Type", message.content_type);
        for (name, value) in message.extra_headers {
            request.headers.push(&name, value);
        }
        request.body = message.body.into_bytes();
        self.start_request(request)
    }

    pub(super) fn start_options(&mut self, target: &str) -> Result<RequestId, Error> {
        let uri = self.request_target(target)?;
        let mut request = self.request_outside(Method::Options, &uri, &concat(&["<", &uri, ">"]));
        let contact = self.contact();
        request.headers.push_all(&[("Contact", &contact), ("Accept", capabilities::SDP)]);
        self.start_request(request)
    }

    pub(super) fn on_request_response(&mut self, id: RequestId, response: &Response) {
        let result = match response.status {
            ..=199 => return,
            200..=299 => Ok(()),
            status => Err(Error::from_status(status, &response.reason)),
        };
        self.event(Event::RequestDone(id, result));
    }

    /// Within the dialog of a call or outside: RFC 3428 makes no difference.
    pub(super) fn on_message(&mut self, tx: TxId, request: &Request) {
        if let Some(refusal) = self.unsupported(request) {
            self.respond_refusal(tx, refusal);
            return;
        }
        if request.body.len() > MAX_BODY {
            self.respond(tx, 413);
            return;
        }
        let is_text = |kind: &str| kind.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"));
        let (content_type, body) = match request.headers.content_type() {
            Some(kind) => part(&request.headers, &request.body, &is_text).unwrap_or((kind, &request.body)),
            None => ("text/plain", request.body.as_slice()),
        };
        let is_text = is_text(content_type);
        let body = core::str::from_utf8(body).ok();
        let encoded = request.headers.get("Content-Encoding").is_some();
        let (Some(body), true, false) = (body, is_text, encoded) else {
            // RFC 3261, section 21.4.13
            self.respond_with(tx, 415, &[("Accept", "text/plain, text/html, text/*")]);
            return;
        };
        let from = request.headers.head().from.as_ref();
        let event = Event::Message {
            from: from.map(|from| from.uri.clone()).unwrap_or_default(),
            display_name: from.and_then(|from| from.display_name.clone()),
            content_type: content_type.to_owned(),
            body: body.to_owned(),
        };
        self.respond(tx, 200);
        self.event(event);
    }
}

/// Whether this can be sent as a body.
pub(super) fn check_body(content_type: &str, body: &str) -> Result<(), Error> {
    if !is_media_type(content_type) {
        return Err(Error::invalid_config("contentType", "not a media type"));
    }
    if body.len() > MAX_BODY {
        return Err(Error::invalid_config("body", "longer than 60 KiB"));
    }
    Ok(())
}

/// `type/subtype`, with or without parameters.
pub(super) fn is_media_type(text: &str) -> bool {
    let kind = split_once(before(text, b';').trim_ascii(), b'/');
    !has_control(text) && text.len() < 256 && kind.is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}
