//! Reliable provisional responses and PRACK, on both sides (RFC 3262).

use super::transactions::TxId;
use super::{CallId, Phone};
use crate::error::Error;
use crate::sip::message::{Request, Response};

impl Phone {
    pub(super) fn on_prack(&mut self, _id: CallId, tx: TxId, _request: &Request) {
        self.method_not_allowed(tx);
    }

    pub(super) fn on_prack_response(&mut self, _id: CallId, _response: &Response) {}

    pub(super) fn prack_failed(&mut self, _id: CallId, _error: Error) {}

    pub(super) fn on_reliable_timer(&mut self, _id: CallId) {}
}
