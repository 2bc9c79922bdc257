//! PUBLISH (RFC 3903).

use super::{Phone, PublishRequest, SubscriptionId};
use crate::error::{Error, ErrorCode};
use crate::sip::message::Response;

impl Phone {
    pub(super) fn start_publication(
        &mut self,
        _id: Option<SubscriptionId>,
        _request: PublishRequest,
    ) -> Result<SubscriptionId, Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }

    pub(super) fn on_publication_response(&mut self, _id: SubscriptionId, _response: &Response) {}

    pub(super) fn publication_failed(&mut self, _id: SubscriptionId, _error: Error) {}
}
