//! What the user wishes of a call's own audio, as a value, and since when the other side may be heard.

use super::io::{CallId, Wish};

/// What the user wishes of a call's audio, and whether it may be heard.
#[derive(Debug, Default)]
pub(super) struct Audio {
    /// What the user last wished of its own audio.
    wish: Wish,
    /// Whether it has a microphone has been said, or was settled when its media began.
    said: bool,
    /// The call whose wishes are this one's too, until it has a wish of its own.
    follows: Option<CallId>,
    /// It may be heard: the greater, the later it came to be.
    heard: Option<u32>,
}

impl Audio {
    pub(super) const fn follows(&self) -> Option<CallId> {
        self.follows
    }

    pub(super) const fn heard(&self) -> Option<u32> {
        self.heard
    }

    pub(super) const fn set_heard(&mut self, heard: Option<u32>) {
        self.heard = heard;
    }

    /// That of a call which goes on with `former`, whose audio this is.
    pub(super) const fn followed_by(&self, former: CallId) -> Self {
        Self { wish: self.wish, said: self.said, follows: Some(former), heard: None }
    }

    /// The user has said whether there is a microphone.
    pub(super) const fn say_microphone(&mut self, listens_only: bool) {
        self.wish.listens_only = listens_only;
        self.said = true;
    }

    pub(super) const fn wish(&self) -> Wish {
        self.wish
    }

    /// As a record says. A page that wants no microphone now gets none either.
    pub(super) const fn restore(&mut self, muted: bool, listens_only: bool) {
        self.wish.muted = muted;
        self.wish.listens_only = listens_only;
        self.said = listens_only;
    }

    /// It has taken the place of the call that it followed.
    pub(super) const fn stop_following(&mut self) {
        self.follows = None;
    }

    /// Takes a wish. Whether it differs; a microphone is opened with the media (`open`), or not at all.
    pub(super) fn change(&mut self, open: bool, change: &dyn Fn(&mut Wish)) -> bool {
        let mut wish = self.wish;
        change(&mut wish);
        if open {
            wish.listens_only = self.wish.listens_only;
        } else if wish.listens_only != self.wish.listens_only {
            self.said = true;
        }
        core::mem::replace(&mut self.wish, wish) != wish
    }

    /// The media begin: without a word of the user the configuration says whether there is a microphone.
    pub(super) fn begin(&mut self, listens_only: bool) -> Wish {
        if !core::mem::replace(&mut self.said, true) {
            self.wish.listens_only = listens_only;
        }
        self.wish
    }
}
