//! What a call has that has come in, until it is answered.

use super::io::SocketId;

/// What a call has that has come in.
#[derive(Debug, Default)]
pub(super) struct Answering {
    /// The answer that was sent in a 183 and goes into the 200 too.
    early_answer: Option<String>,
    /// `answer` came while the 183's answer was still being made.
    wanted: bool,
    /// `answer` has been called and not been reported.
    pending: bool,
    /// The socket that its INVITE came over.
    came_over: Option<SocketId>,
    /// It answers itself, or has done so.
    by_itself: bool,
}

impl Answering {
    /// `answer` is called: its outcome is to be reported.
    pub(super) const fn want(&mut self) {
        self.pending = true;
        self.wanted = true;
    }

    /// A 183 carries this answer.
    pub(super) fn set_early_answer(&mut self, sdp: String) {
        self.early_answer = Some(sdp);
    }

    /// Its INVITE has come over this socket, for the first time or again.
    pub(super) const fn set_came_over(&mut self, socket: Option<SocketId>) {
        self.came_over = socket;
    }

    pub(super) const fn came_over(&self) -> Option<SocketId> {
        self.came_over
    }

    pub(super) const fn early_answer(&self) -> Option<&String> {
        self.early_answer.as_ref()
    }

    /// `answer` has been called.
    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The outcome of `answer` has not been reported.
    pub(super) const fn is_pending(&self) -> bool {
        self.pending
    }

    pub(super) const fn set_pending(&mut self, pending: bool) {
        self.pending = pending;
    }

    /// The outcome of `answer` is reported now. `false`: it was, or nobody waits for it.
    pub(super) const fn take_pending(&mut self) -> bool {
        core::mem::replace(&mut self.pending, false)
    }

    pub(super) const fn is_by_itself(&self) -> bool {
        self.by_itself
    }

    pub(super) const fn set_by_itself(&mut self, by_itself: bool) {
        self.by_itself = by_itself;
    }
}
