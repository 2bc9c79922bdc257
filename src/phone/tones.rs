//! The DTMF that the application sends: one request after the other, in the audio (RFC 4733) or by INFO (RFC 6086).

use super::call::Call;
use super::context::Cx;
use super::io::{CallState, Event, Job, Tones, TonesReport};
use super::tone_queue::Step;
use crate::error::{Error, ErrorCode};
use crate::text::{concat, digits};

impl Call {
    pub(super) fn send_tones(&mut self, cx: &mut Cx, tones: Tones) -> Result<(), Error> {
        if self.end.is_over() {
            return Err(super::call_ended());
        }
        if tones.tones.is_empty()
            || !tones.tones.bytes().all(|tone| matches!(tone, b'0'..=b'9' | b'A'..=b'D' | b'*' | b'#' | b','))
        {
            return Err(Error::invalid_config("tones", "only 0-9, A-D, *, # and comma can be sent"));
        }
        if !matches!(self.state, CallState::Active | CallState::Reconnecting) {
            return Err(Error::new(ErrorCode::InvalidState, "Tones can be sent in an answered call only"));
        }
        self.session.tones.push(tones);
        self.begin_tones(cx);
        Ok(())
    }

    pub(super) fn on_tones_report(&mut self, cx: &mut Cx, report: TonesReport) {
        match report {
            TonesReport::Ready(takes_tones) => {
                self.session.tones.set_audio(takes_tones);
                self.begin_tones(cx);
            }
            // A report that is late is of tones that were cut, and not of what waits now.
            TonesReport::Sent | TonesReport::Refused { .. } if !self.session.tones.is_in_audio() => {}
            TonesReport::Sent => self.tones_done(cx, Ok(())),
            TonesReport::Cut(rest) => {
                if self.session.tones.cut(rest) {
                    self.tones_done(cx, Ok(()));
                } else {
                    self.begin_tones(cx);
                }
            }
            TonesReport::Refused { for_now } => {
                if !(for_now && self.session.tones.try_again(cx.env.now)) {
                    let error = "The other side takes no tones in the audio (RFC 4733)";
                    let error = Error::new(ErrorCode::MediaUnavailable, error);
                    self.tones_done(cx, Err(error.with_hint("Try the method \"info\".")));
                }
            }
        }
    }

    pub(super) fn on_tone_timer(&mut self, cx: &mut Cx) {
        let step = self.session.tones.resume(cx.env.now);
        self.take_step(cx, step);
    }

    /// The other side has answered the INFO of a tone.
    pub(super) fn tone_answered(&mut self, cx: &mut Cx, result: Result<(), Error>) {
        match result {
            Ok(()) => self.session.tones.info_accepted(cx.env.now),
            Err(error) => self.tones_done(cx, Err(error)),
        }
    }

    fn begin_tones(&mut self, cx: &mut Cx) {
        let step = self.session.tones.begin(cx.env.now);
        self.take_step(cx, step);
    }

    fn take_step(&mut self, cx: &mut Cx, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Audio(Tones { tones, duration, gap, .. }) => {
                cx.env.job(Job::Tones { call: self.id, tones, duration, gap });
            }
            Step::Info(tone, duration) => {
                let mut signal = [0; 4];
                let signal = &*tone.encode_utf8(&mut signal);
                let body = concat(&["Signal=", signal, "\r\nDuration=", &digits(duration), "\r\n"]);
                if let Err(error) = self.start_info(cx, true, "application/dtmf-relay", &body) {
                    self.tones_done(cx, Err(error));
                }
            }
            Step::Done => self.tones_done(cx, Ok(())),
        }
    }

    fn tones_done(&mut self, cx: &mut Cx, result: Result<(), Error>) {
        if self.session.tones.finish() {
            cx.event(Event::TonesDone(self.id, result));
            self.begin_tones(cx);
        }
    }
}
