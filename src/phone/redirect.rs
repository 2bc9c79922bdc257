//! 3xx: where else the called side can be reached (RFC 3261, section 8.1.3.4).

use super::{CallId, Phone};
use crate::error::{Error, ErrorCode};

impl Phone {
    pub(super) fn take_redirect(&mut self, _id: CallId, _target: usize) -> Result<(), Error> {
        Err(Error::new(ErrorCode::InvalidState, "Not in this version"))
    }
}
