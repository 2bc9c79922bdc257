//! Session timers (RFC 4028).

use super::{CallId, Phone};

impl Phone {
    pub(super) fn on_session_refresh(&mut self, _id: CallId) {}

    pub(super) fn on_session_expired(&mut self, _id: CallId) {}
}
