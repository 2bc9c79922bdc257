//! Offers within a call, by re-INVITE or UPDATE, from either side; hold (RFC 3261, section 14, RFC 3311, RFC 3264).

use super::transactions::TxId;
use super::{CallId, Phone};
use crate::error::{Error, ErrorCode};
use crate::sip::message::{Request, Response};

impl Phone {
    pub(super) fn start_hold(&mut self, _id: CallId, _on: bool) -> Result<(), Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn on_update(&mut self, _id: CallId, tx: TxId, _request: &Request, _seq: u32) {
        self.method_not_allowed(tx);
    }

    pub(super) fn on_reinvite_response(&mut self, _id: CallId, _request: &Request, _response: &Response) {}

    pub(super) fn on_update_response(&mut self, _id: CallId, _response: &Response) {}

    pub(super) fn offer_failed(&mut self, _id: CallId, _error: Error) {}

    pub(super) fn on_glare_timer(&mut self, _id: CallId) {}
}
