//! The media half of a call, as this half knows it: the job that is under way.

use super::io::MediaSeq;

/// What the pending media job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaJob {
    /// The microphone of a call by REST.
    Microphone,
    /// The offer of an outgoing call.
    Offer,
    /// Answer or offer for the 200 of an incoming call.
    Answer,
    /// Answer for an early-media 183.
    Progress,
    /// Set a 1xx's answer.
    EarlyAnswer,
    /// Set the 2xx's answer.
    FinalAnswer,
    /// Answer or offer for the 200 of a re-INVITE.
    Reinvite,
    /// Set the answer that came in an ACK.
    AckAnswer,
    /// Set the answer that came in a PRACK.
    PrackAnswer,
    /// The offer of our re-INVITE.
    OurOffer,
    /// The offer of the re-INVITE that takes a call up again: the first media of this page.
    Resume,
    /// Set the answer to our re-INVITE.
    OurAnswer,
}

impl MediaJob {
    /// The user may be asked for the microphone, which takes as long as it takes; the ringing has its own end.
    pub(super) const fn may_ask(self) -> bool {
        matches!(self, Self::Microphone | Self::Offer | Self::Answer | Self::Progress | Self::Resume)
    }

    /// It makes a description of this side.
    pub(super) const fn describes(self) -> bool {
        !matches!(self, Self::Microphone) && !self.sets_answer()
    }

    /// It sets an answer of the other side: within milliseconds, so that what comes meanwhile waits for it.
    pub(super) const fn sets_answer(self) -> bool {
        matches!(
            self,
            Self::EarlyAnswer | Self::FinalAnswer | Self::AckAnswer | Self::PrackAnswer | Self::OurAnswer
        )
    }
}

/// The media half of a call, as this half knows it.
#[derive(Debug, Default)]
pub(super) struct MediaHalf {
    /// The last job that was given.
    seq: MediaSeq,
    /// It has not been reported.
    job: Option<MediaJob>,
    /// A media session exists and must be closed.
    open: bool,
}

impl MediaHalf {
    pub(super) const fn seq(&self) -> MediaSeq {
        self.seq
    }

    pub(super) const fn close(&mut self) {
        self.open = false;
    }

    /// The job was never reported. What it brings after all is not for the next one.
    pub(super) const fn give_up(&mut self) -> Option<MediaJob> {
        let job = self.job.take();
        if job.is_some() {
            self.skip();
        }
        job
    }

    /// The job that has not been reported.
    pub(super) const fn job(&self) -> Option<MediaJob> {
        self.job
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// There is a media session from now on. `false`: there was one.
    pub(super) const fn open(&mut self) -> bool {
        !core::mem::replace(&mut self.open, true)
    }

    /// Nobody waits for its report any more.
    pub(super) const fn drop_job(&mut self) {
        self.job = None;
    }

    pub(super) const fn begin(&mut self, job: MediaJob) -> MediaSeq {
        self.skip();
        self.job = Some(job);
        self.seq
    }

    /// What was ordered before is reported in vain.
    pub(super) const fn skip(&mut self) {
        self.seq = MediaSeq(self.seq.0.wrapping_add(1));
    }
}
