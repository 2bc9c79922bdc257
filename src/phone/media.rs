//! The media jobs of calls: ordered here, done outside, their outcomes handed to whom they concern.

use super::call::{Call, Phase};
use super::context::Cx;
use super::media_half::MediaJob;
use super::offers::holds;
use super::{
    CallState, CallTimer, EndCause, EndedBy, ICE_SETTLE, Job, LogLevel, MediaCommand, MediaError, MediaSeq,
    MediaValue, media_error,
};
use crate::text::concat;
use crate::time::Duration;

/// For a job that asks nobody, beyond the time for candidates: browsers set a description within milliseconds.
const JOB_TIMEOUT: Duration = Duration::from_secs(20);
/// A description without a candidate leads nowhere (where only relayed ones may be used, the TURN server is slow): so much
/// longer it is waited for.
const FIRST_CANDIDATE: Duration = Duration::from_secs(10);
/// How often a call reports statistics to those who listen.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(2);

impl Call {
    pub(super) fn media_job(&mut self, cx: &mut Cx, job: MediaJob, command: MediaCommand) {
        self.wish_of_new_media(cx);
        let seq = self.media.begin(job);
        self.descriptions.theirs = None;
        self.timers.clear_all(&[CallTimer::IceGather, CallTimer::MediaJob]);
        if !job.may_ask() {
            let at = cx.env.now + JOB_TIMEOUT + cx.env.config.ice_gather_timeout;
            self.timers.set(CallTimer::MediaJob, at);
        }
        cx.env.job(Job::Media { call: self.id, seq, command });
    }

    /// A command that nobody reports back on.
    pub(super) fn media_order(&mut self, cx: &mut Cx, command: MediaCommand) {
        if self.media.is_open() {
            if matches!(command, MediaCommand::Close) {
                self.media.close();
                self.session.tones.set_audio(false);
            }
            let seq = self.media.seq();
            cx.env.job(Job::Media { call: self.id, seq, command });
        }
    }

    /// A job that was never reported: nobody shall wait for it for ever.
    pub(super) fn on_job_timeout(&mut self, cx: &mut Cx) {
        // What it brings after all is not for the next one.
        if let Some(job) = self.media.give_up() {
            self.timers.clear(CallTimer::IceGather);
            let error = if job.describes() { MediaError::NoCandidate } else { MediaError::Description };
            self.on_media_error(cx, job, &error);
            self.take_waiting(cx);
        }
    }

    /// Asks for statistics after their interval.
    pub(super) fn count_statistics(&mut self, cx: &mut Cx) {
        if !self.end.is_over() && !self.timers.is_set(CallTimer::Statistics) {
            self.timers.set(CallTimer::Statistics, cx.env.now + STATISTICS_INTERVAL);
        }
    }

    pub(super) fn on_statistics_timer(&mut self, cx: &mut Cx) {
        if self.state == CallState::Active {
            cx.env.job(Job::Statistics(self.id));
        } else {
            self.count_statistics(cx);
        }
    }

    pub(super) fn on_gather_timeout(&mut self, cx: &mut Cx) {
        self.timers.set(CallTimer::MediaJob, cx.env.now + FIRST_CANDIDATE);
        self.media_order(cx, MediaCommand::TakeLocal);
    }

    pub(super) fn on_media_done(
        &mut self,
        cx: &mut Cx,
        seq: MediaSeq,
        result: Result<MediaValue, MediaError>,
    ) {
        if self.media.seq() != seq {
            return;
        }
        if self.phase == Phase::Terminating {
            return;
        }
        let Some(job) = self.media.job() else { return };
        match result {
            Ok(MediaValue::Gathering) => {
                let at = cx.env.now + cx.env.config.ice_gather_timeout;
                self.timers.set(CallTimer::IceGather, at);
            }
            Ok(MediaValue::Useful) => {
                if self.timers.is_set(CallTimer::IceGather) {
                    let wait = ICE_SETTLE.min(cx.env.config.ice_gather_timeout);
                    self.timers.set(CallTimer::IceGather, cx.env.now + wait);
                }
            }
            Ok(MediaValue::Microphone) => {
                self.media.drop_job();
                self.microphone_ready(cx);
            }
            Ok(MediaValue::Local(sdp)) => {
                self.media.drop_job();
                let theirs = self.descriptions.theirs.as_ref();
                let held = theirs.is_some_and(|offer| holds(offer.direction));
                self.timers.clear_all(&[CallTimer::IceGather, CallTimer::MediaJob]);
                let sdp = self.describe(&sdp);
                if held && matches!(job, MediaJob::Answer | MediaJob::Progress) {
                    self.set_remote_hold(cx, true);
                }
                match job {
                    MediaJob::Offer => self.send_invite(cx, sdp),
                    MediaJob::Answer => self.answer_ready(cx, sdp),
                    MediaJob::Progress => self.progress_ready(cx, sdp),
                    MediaJob::Reinvite => self.reinvite_ready(cx, sdp),
                    MediaJob::OurOffer | MediaJob::Resume => self.our_offer_ready(cx, sdp),
                    MediaJob::Microphone
                    | MediaJob::EarlyAnswer
                    | MediaJob::FinalAnswer
                    | MediaJob::AckAnswer
                    | MediaJob::PrackAnswer
                    | MediaJob::OurAnswer => {}
                }
            }
            Ok(MediaValue::Applied) => {
                self.media.drop_job();
                self.timers.clear(CallTimer::MediaJob);
                let held = self.answer_agreed();
                if let Some(held) = held.filter(|_| job != MediaJob::EarlyAnswer) {
                    self.set_remote_hold(cx, held);
                }
                match job {
                    MediaJob::EarlyAnswer => self.on_early_media(cx),
                    MediaJob::FinalAnswer => self.outgoing_up(cx),
                    MediaJob::AckAnswer => {
                        self.incoming_up(cx);
                        self.continue_offer(cx);
                    }
                    MediaJob::PrackAnswer => self.early_job_done(cx),
                    MediaJob::OurAnswer => self.our_answer_applied(cx),
                    MediaJob::Microphone
                    | MediaJob::Offer
                    | MediaJob::Answer
                    | MediaJob::Progress
                    | MediaJob::Reinvite
                    | MediaJob::Resume
                    | MediaJob::OurOffer => {}
                }
            }
            Err(error) => {
                self.media.drop_job();
                self.timers.clear_all(&[CallTimer::IceGather, CallTimer::MediaJob]);
                let error = match error {
                    MediaError::Refused(words) => MediaError::Refused(without_keys(&words)),
                    error => error,
                };
                if let MediaError::Refused(words) = &error {
                    cx.log(LogLevel::Warn, &["the browser refuses a description: ", words]);
                }
                self.on_media_error(cx, job, &error);
            }
        }
        self.take_waiting(cx);
    }

    pub(super) fn on_media_error(&mut self, cx: &mut Cx, job: MediaJob, error: &MediaError) {
        match job {
            MediaJob::Offer | MediaJob::Microphone => {
                self.fail_outgoing(cx, media_error(error), EndedBy::Local)
            }
            MediaJob::PrackAnswer if self.is_up() => {
                self.end_unagreed(cx, media_error(error));
            }
            MediaJob::Answer | MediaJob::Progress | MediaJob::PrackAnswer => self.answer_failed(cx, error),
            // Early media that cannot be played is no reason to give up the call.
            MediaJob::EarlyAnswer => {
                cx.log(LogLevel::Warn, &["the early media could not be set"]);
                self.hear_fork(cx);
            }
            // Without a microphone there is no way to go on.
            MediaJob::Resume => {
                let cause = EndCause::Failed(media_error(error));
                self.end_with_bye(cx, cause, EndedBy::Local, None);
            }
            MediaJob::FinalAnswer => self.end_unagreed(cx, media_error(error)),
            MediaJob::AckAnswer => self.ack_unusable(cx, media_error(error)),
            MediaJob::Reinvite => self.reinvite_failed(cx, error),
            MediaJob::OurAnswer => self.our_answer_unusable(cx, media_error(error)),
            MediaJob::OurOffer => self.offer_failed(cx, media_error(error)),
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
