//! Whose place a call takes, and whether its own may be taken (RFC 3891).

use super::io::CallId;

/// The calls before and after one.
#[derive(Debug, Default)]
pub(super) struct Succession {
    continues: Option<CallId>,
    replaces: Option<CallId>,
    replaceable: bool,
}

impl Succession {
    /// The call whose place this one takes, or is to take.
    pub(super) const fn continues(&self) -> Option<CallId> {
        self.continues
    }

    pub(super) const fn set_continues(&mut self, former: CallId) {
        self.continues = Some(former);
    }

    /// The call whose place this one takes once it is up.
    pub(super) const fn replaces(&self) -> Option<CallId> {
        self.replaces
    }

    pub(super) const fn set_replaces(&mut self, old: CallId) {
        self.replaces = Some(old);
    }

    /// It is up, or over, or the other call is.
    pub(super) const fn take_replaces(&mut self) -> Option<CallId> {
        self.replaces.take()
    }

    /// The other side takes an INVITE with Replaces.
    pub(super) const fn is_replaceable(&self) -> bool {
        self.replaceable
    }

    pub(super) const fn set_replaceable(&mut self, replaceable: bool) {
        self.replaceable = replaceable;
    }
}
