//! MESSAGE (RFC 3428) and OPTIONS outside a dialog.

use super::transactions::TxId;
use super::{MessageRequest, Phone, RequestId};
use crate::error::{Error, ErrorCode};
use crate::sip::message::{Request, Response};

impl Phone {
    pub(super) fn start_message(&mut self, _message: MessageRequest) -> Result<RequestId, Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn start_options(&mut self, _target: &str) -> Result<RequestId, Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn on_message(&mut self, tx: TxId, _request: &Request) {
        self.method_not_allowed(tx);
    }

    pub(super) fn on_request_response(&mut self, _id: RequestId, _response: &Response) {}
}
