//! The media jobs of calls: ordered here, done outside, their outcomes handed to whom they concern.

use super::call::{Job, Phase};
use super::{
    CallId, CallTimer, EndCause, EndedBy, ICE_SETTLE, LogLevel, MediaCommand, MediaError, MediaSeq,
    MediaValue, Output, Phone, TimerKey, media_error,
};

impl Phone {
    pub(super) fn media_job(&mut self, id: CallId, job: Job, command: MediaCommand) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.media_seq = MediaSeq(call.media_seq.0.wrapping_add(1));
            call.job = Some(job);
            call.media_open = true;
            let seq = call.media_seq;
            self.timers.clear(TimerKey::Call(id, CallTimer::IceGather));
            self.out.push(Output::Media { call: id, seq, command });
        }
    }

    /// A command that nobody reports back on.
    pub(super) fn media_order(&mut self, id: CallId, command: MediaCommand) {
        if let Some(call) = self.calls.get_mut(&id).filter(|call| call.media_open) {
            if matches!(command, MediaCommand::Close) {
                call.media_open = false;
            }
            let seq = call.media_seq;
            self.out.push(Output::Media { call: id, seq, command });
        }
    }

    pub(super) fn on_gather_timeout(&mut self, id: CallId) {
        self.media_order(id, MediaCommand::TakeLocal);
    }

    pub(super) fn on_media_done(
        &mut self,
        id: CallId,
        seq: MediaSeq,
        result: Result<MediaValue, MediaError>,
    ) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.media_seq == seq) else { return };
        if call.phase == Phase::Terminating {
            return;
        }
        let Some(job) = call.job else { return };
        match result {
            Ok(MediaValue::Gathering) => {
                let at = self.now + self.config.ice_gather_timeout;
                self.timers.set(TimerKey::Call(id, CallTimer::IceGather), at);
            }
            Ok(MediaValue::Useful) => {
                let timer = TimerKey::Call(id, CallTimer::IceGather);
                if self.timers.is_set(timer) {
                    let wait = ICE_SETTLE.min(self.config.ice_gather_timeout);
                    self.timers.set(timer, self.now + wait);
                }
            }
            Ok(MediaValue::Microphone) => {
                call.job = None;
                self.microphone_ready(id);
            }
            Ok(MediaValue::Local(sdp)) => {
                call.job = None;
                self.timers.clear(TimerKey::Call(id, CallTimer::IceGather));
                match job {
                    Job::Offer => self.send_invite(id, sdp),
                    Job::Answer => self.answer_ready(id, sdp),
                    Job::Progress => self.progress_ready(id, sdp),
                    Job::Reinvite => self.reinvite_ready(id, sdp),
                    Job::OurOffer => self.our_offer_ready(id, sdp),
                    Job::Microphone
                    | Job::EarlyAnswer
                    | Job::FinalAnswer
                    | Job::AckAnswer
                    | Job::OurAnswer => {}
                }
            }
            Ok(MediaValue::Applied) => {
                call.job = None;
                match job {
                    Job::EarlyAnswer => self.on_early_media(id),
                    Job::FinalAnswer => self.outgoing_up(id),
                    Job::AckAnswer => {
                        self.incoming_up(id);
                        self.continue_offer(id);
                    }
                    Job::OurAnswer => self.our_answer_applied(id),
                    Job::Microphone
                    | Job::Offer
                    | Job::Answer
                    | Job::Progress
                    | Job::Reinvite
                    | Job::OurOffer => {}
                }
            }
            Err(error) => {
                call.job = None;
                self.timers.clear(TimerKey::Call(id, CallTimer::IceGather));
                self.on_media_error(id, job, &error);
            }
        }
    }

    pub(super) fn on_media_error(&mut self, id: CallId, job: Job, error: &MediaError) {
        match job {
            Job::Offer | Job::Microphone => self.fail_outgoing(id, media_error(error), EndedBy::Local),
            Job::Answer | Job::Progress => self.answer_failed(id, error),
            // Early media that cannot be played is no reason to give up the call.
            Job::EarlyAnswer => {
                self.log(LogLevel::Warn, format_args!("the early media could not be set"));
            }
            Job::FinalAnswer | Job::AckAnswer => {
                let cause = EndCause::Failed(media_error(error));
                self.end_with_bye(id, cause, EndedBy::Local, Some("SIP;cause=488"));
            }
            Job::Reinvite => self.reinvite_failed(id),
            Job::OurOffer | Job::OurAnswer => self.offer_failed(id, media_error(error)),
        }
    }
}
