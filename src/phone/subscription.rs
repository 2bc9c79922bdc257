//! SUBSCRIBE and NOTIFY (RFC 6665), as the subscriber.

use super::transactions::TxId;
use super::{Phone, SubscribeRequest, SubscriptionId};
use crate::error::{Error, ErrorCode};
use crate::sip::message::{Request, Response};

impl Phone {
    pub(super) fn start_subscription(&mut self, _request: SubscribeRequest) -> Result<SubscriptionId, Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn end_subscription(&mut self, _id: SubscriptionId) {}

    /// NOTIFY outside the dialogs of calls.
    pub(super) fn on_notify(&mut self, tx: TxId, _request: &Request) {
        self.respond(tx, 481);
    }

    pub(super) fn on_subscription_response(
        &mut self,
        _id: SubscriptionId,
        _request: &Request,
        _response: &Response,
    ) {
    }

    pub(super) fn subscription_failed(&mut self, _id: SubscriptionId, _error: Error) {}

    pub(super) fn on_subscription_timer(&mut self, _id: SubscriptionId) {}
}
