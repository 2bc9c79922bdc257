//! stub
use super::{CallId, OriginateRequest, Phone};
use crate::error::{Error, ErrorCode};
impl Phone {
    pub(super) fn start_originate(&mut self, _: OriginateRequest) -> Result<CallId, Error> {
        Err(Error::new(ErrorCode::NotConnected, "stub"))
    }
}
