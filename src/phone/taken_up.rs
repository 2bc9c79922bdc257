//! What a call has that has outlived its page.

use super::io::CallNote;
use crate::error::Error;

/// What a call has that outlived its page.
#[derive(Debug, Default)]
pub(super) struct TakenUp {
    resumed: bool,
    /// CSeq of a re-INVITE whose 2xx the page before may have missed.
    unacknowledged: Option<u32>,
    lost_dialog: Option<Error>,
    note: CallNote,
}

impl TakenUp {
    pub(super) fn from_record() -> Self {
        Self { resumed: true, ..Self::default() }
    }

    pub(super) const fn unacknowledged(&self) -> Option<u32> {
        self.unacknowledged
    }

    pub(super) const fn set_unacknowledged(&mut self, seq: u32) {
        self.unacknowledged = Some(seq);
    }

    pub(super) const fn take_unacknowledged(&mut self) -> Option<u32> {
        self.unacknowledged.take()
    }

    pub(super) fn lose_dialog(&mut self, error: Error) {
        self.lost_dialog = Some(error);
    }

    pub(super) const fn take_lost_dialog(&mut self) -> Option<Error> {
        self.lost_dialog.take()
    }

    /// Taken up from a record, and the other side has not agreed to that yet.
    pub(super) const fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The other side has agreed, or another call has taken its place.
    pub(super) const fn settle(&mut self) {
        self.resumed = false;
    }

    /// The other side does not know the dialog any more; a new call is to take its place.
    pub(super) const fn has_lost_dialog(&self) -> bool {
        self.lost_dialog.is_some()
    }

    /// What the page keeps of it beyond that.
    pub(super) const fn note(&self) -> CallNote {
        self.note
    }

    pub(super) const fn set_note(&mut self, note: CallNote) {
        self.note = note;
    }

    #[cfg(test)]
    pub(super) fn lost(error: Error) -> Self {
        Self { resumed: true, lost_dialog: Some(error), ..Self::default() }
    }
}
