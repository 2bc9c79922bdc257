//! The media jobs of calls: ordered here, done outside, their outcomes handed to whom they concern.

use super::call::{Job, Phase};
use super::offers::holds;
use super::{
    CallId, CallTimer, EndCause, EndedBy, ICE_SETTLE, LogLevel, MediaCommand, MediaError, MediaSeq,
    MediaValue, Output, Phone, TimerKey, media_error,
};
use crate::text::concat;
use crate::time::Duration;

/// For a job that asks nobody, beyond the time for candidates: browsers set a description within milliseconds.
const JOB_TIMEOUT: Duration = Duration::from_secs(20);
/// A description without a candidate leads nowhere (where only relayed ones may be used, the TURN server is slow): so much
/// longer it is waited for.
const FIRST_CANDIDATE: Duration = Duration::from_secs(10);

impl Phone {
    pub(super) fn media_job(&mut self, id: CallId, job: Job, command: MediaCommand) {
        self.wish_of_new_media(id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.media_seq = MediaSeq(call.media_seq.0.wrapping_add(1));
            call.job = Some(job);
            call.descriptions.theirs = None;
            let seq = call.media_seq;
            self.clear_call_timers(id, &[CallTimer::IceGather, CallTimer::MediaJob]);
            if !job.may_ask() {
                let at = self.now + JOB_TIMEOUT + self.config.ice_gather_timeout;
                self.timers.set(TimerKey::Call(id, CallTimer::MediaJob), at);
            }
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

    /// A job that was never reported: nobody shall wait for it for ever.
    pub(super) fn on_job_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(job) = call.job.take() {
            // What it brings after all is not for the next one.
            call.media_seq = MediaSeq(call.media_seq.0.wrapping_add(1));
            self.timers.clear(TimerKey::Call(id, CallTimer::IceGather));
            let error = if job.describes() { MediaError::NoCandidate } else { MediaError::Description };
            self.on_media_error(id, job, &error);
            self.take_waiting(id);
        }
    }

    pub(super) fn on_gather_timeout(&mut self, id: CallId) {
        self.timers.set(TimerKey::Call(id, CallTimer::MediaJob), self.now + FIRST_CANDIDATE);
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
                let theirs = call.descriptions.theirs.as_ref();
                let held = theirs.is_some_and(|offer| holds(offer.direction));
                self.clear_call_timers(id, &[CallTimer::IceGather, CallTimer::MediaJob]);
                let sdp = self.describe(id, &sdp);
                if held && matches!(job, Job::Answer | Job::Progress) {
                    self.set_remote_hold(id, true);
                }
                match job {
                    Job::Offer => self.send_invite(id, sdp),
                    Job::Answer => self.answer_ready(id, sdp),
                    Job::Progress => self.progress_ready(id, sdp),
                    Job::Reinvite => self.reinvite_ready(id, sdp),
                    Job::OurOffer | Job::Resume => self.our_offer_ready(id, sdp),
                    Job::Microphone
                    | Job::EarlyAnswer
                    | Job::FinalAnswer
                    | Job::AckAnswer
                    | Job::PrackAnswer
                    | Job::OurAnswer => {}
                }
            }
            Ok(MediaValue::Applied) => {
                call.job = None;
                self.timers.clear(TimerKey::Call(id, CallTimer::MediaJob));
                let held = self.answer_agreed(id);
                if let Some(held) = held.filter(|_| job != Job::EarlyAnswer) {
                    self.set_remote_hold(id, held);
                }
                match job {
                    Job::EarlyAnswer => self.on_early_media(id),
                    Job::FinalAnswer => self.outgoing_up(id),
                    Job::AckAnswer => {
                        self.incoming_up(id);
                        self.continue_offer(id);
                    }
                    Job::PrackAnswer => self.early_job_done(id),
                    Job::OurAnswer => self.our_answer_applied(id),
                    Job::Microphone
                    | Job::Offer
                    | Job::Answer
                    | Job::Progress
                    | Job::Reinvite
                    | Job::Resume
                    | Job::OurOffer => {}
                }
            }
            Err(error) => {
                call.job = None;
                self.clear_call_timers(id, &[CallTimer::IceGather, CallTimer::MediaJob]);
                let error = match error {
                    MediaError::Refused(words) => MediaError::Refused(without_keys(&words)),
                    error => error,
                };
                if let MediaError::Refused(words) = &error {
                    self.log(LogLevel::Warn, &["the browser refuses a description: ", words]);
                }
                self.on_media_error(id, job, &error);
            }
        }
        self.take_waiting(id);
    }

    pub(super) fn on_media_error(&mut self, id: CallId, job: Job, error: &MediaError) {
        match job {
            Job::Offer | Job::Microphone => self.fail_outgoing(id, media_error(error), EndedBy::Local),
            Job::PrackAnswer if self.calls.get(&id).is_some_and(|call| call.is_up()) => {
                self.end_unagreed(id, media_error(error));
            }
            Job::Answer | Job::Progress | Job::PrackAnswer => self.answer_failed(id, error),
            // Early media that cannot be played is no reason to give up the call.
            Job::EarlyAnswer => {
                self.log(LogLevel::Warn, &["the early media could not be set"]);
                self.hear_fork(id);
            }
            // Without a microphone there is no way to go on.
            Job::Resume => {
                let cause = EndCause::Failed(media_error(error));
                self.end_with_bye(id, cause, EndedBy::Local, None);
            }
            Job::FinalAnswer => self.end_unagreed(id, media_error(error)),
            Job::AckAnswer => self.ack_unusable(id, media_error(error)),
            Job::Reinvite => self.reinvite_failed(id, error),
            Job::OurAnswer => self.our_answer_unusable(id, media_error(error)),
            Job::OurOffer => self.offer_failed(id, media_error(error)),
        }
    }
}

/// A browser repeats the line of a description that it does not understand, and that may hold a key.
fn without_keys(words: &str) -> String {
    let at = |key: &&str| words.as_bytes().windows(key.len()).position(|part| part == key.as_bytes());
    let first = ["a=ice-pwd:", "a=crypto:", "k="].iter().filter_map(at).min();
    match first.and_then(|at| words.get(..at)) {
        Some(before) => concat(&[before, "<redacted>"]),
        None => words.to_owned(),
    }
}
