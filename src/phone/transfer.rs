//! Call transfer (RFC 3515, RFC 5589): blind and attended, as transferor, transferee and target.

use super::transactions::TxId;
use super::{CallId, Phone, TransferTarget};
use crate::error::{Error, ErrorCode};
use crate::sip::message::{Request, Response};

impl Phone {
    pub(super) fn start_transfer(&mut self, _id: CallId, _target: TransferTarget) -> Result<(), Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn take_transfer(&mut self, _id: CallId) -> Result<CallId, Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn refuse_transfer(&mut self, _id: CallId) {}

    pub(super) fn on_refer(&mut self, _id: CallId, tx: TxId, _request: &Request) {
        self.method_not_allowed(tx);
    }

    /// NOTIFY within a call's dialog: that of a REFER, implicit subscription (RFC 3515, section 2.4.4).
    pub(super) fn on_refer_notify(&mut self, _id: CallId, tx: TxId, _request: &Request) {
        self.method_not_allowed(tx);
    }

    pub(super) fn on_refer_response(&mut self, _id: CallId, _response: &Response) {}

    pub(super) fn refer_failed(&mut self, _id: CallId, _error: Error) {}

    pub(super) fn on_refer_notify_response(&mut self, _id: CallId, _response: &Response) {}

    pub(super) fn refer_notify_failed(&mut self, _id: CallId) {}

    pub(super) fn on_transfer_timeout(&mut self, _id: CallId) {}
}
