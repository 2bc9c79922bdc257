//! DTMF of one call: one `sendDtmf` after the other, in the audio (RFC 4733) or by INFO.

use wasm_bindgen::JsValue;

use super::config::Options;
use super::promise::Settler;
use crate::error::Error;
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// How long a comma waits (WebRTC 1.0, section 7.2).
pub(crate) const PAUSE: Duration = Duration::from_secs(2);
/// How long after tones that the browser has refused they are tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(50);
/// So long it may refuse them.
const PATIENCE: Duration = Duration::from_secs(2);
/// What WebRTC allows, milliseconds.
const DURATION: core::ops::RangeInclusive<u32> = 40..=6000;
const GAP: core::ops::RangeInclusive<u32> = 30..=6000;

/// How tones travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// As telephone-events in the audio.
    Rtp,
    /// As INFO requests with `application/dtmf-relay`.
    Info,
}

/// What `sendDtmf` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tones {
    /// 0-9, A-D, *, # and commas.
    pub(crate) tones: String,
    /// Milliseconds of each tone.
    pub(crate) duration: u32,
    /// Milliseconds between tones.
    pub(crate) gap: u32,
    /// How.
    pub(crate) method: Method,
}

impl Tones {
    /// Reads the arguments of `sendDtmf`.
    ///
    /// # Errors
    /// `invalid_config` naming the argument.
    pub(crate) fn read(tones: &JsValue, options: &JsValue) -> Result<Self, Error> {
        let tones = tones
            .as_string()
            .filter(|tones| !tones.is_empty())
            .ok_or_else(|| Error::invalid_config("tones", "expected a string of tones"))?
            .to_ascii_uppercase();
        if !tones.chars().all(|tone| matches!(tone, '0'..='9' | 'A'..='D' | '*' | '#' | ',')) {
            return Err(Error::invalid_config("tones", "only 0-9, A-D, *, # and comma can be sent"));
        }
        let options = Options::new("options", options)?;
        let tones = Self {
            tones,
            duration: options.integer("duration", DURATION).unwrap_or(100),
            gap: options.integer("gap", GAP).unwrap_or(70),
            method: match options.string("method").as_deref() {
                None | Some("rtp") => Method::Rtp,
                Some("info") => Method::Info,
                Some(_) => return Err(Error::invalid_config("method", "expected rtp or info")),
            },
        };
        options.finish()?;
        Ok(tones)
    }
}

/// The body of an INFO for one tone, `application/dtmf-relay`.
pub(crate) fn relay_body(tone: char, duration: u32) -> String {
    concat(&["Signal=", tone.encode_utf8(&mut [0; 4]), "\r\nDuration=", &digits(duration), "\r\n"])
}

/// Tones that wait or are being sent.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Vec<(Tones, Settler)>,
    sending: bool,
    /// Since when the browser has refused the first.
    refused: Option<Instant>,
}

impl Queue {
    /// Lines up.
    pub(crate) fn push(&mut self, tones: Tones, settler: Settler) {
        self.waiting.push((tones, settler));
    }

    /// The next to be sent, unless something is being sent, or it goes by audio and no audio flows yet.
    pub(crate) fn start(&mut self, audio_flows: bool) -> Option<Tones> {
        if self.sending {
            return None;
        }
        let (tones, _) = self.waiting.first()?;
        if tones.method == Method::Rtp && !audio_flows {
            self.refused = None;
            return None;
        }
        self.sending = true;
        Some(tones.clone())
    }

    /// The next tone of what is being sent by INFO, and its duration.
    pub(crate) fn next_tone(&mut self) -> Option<(char, u32)> {
        let (tones, _) = self.waiting.first_mut().filter(|_| self.sending)?;
        let tone = tones.tones.chars().next()?;
        tones.tones.remove(0);
        Some((tone, tones.duration))
    }

    /// How long to wait after a tone by INFO.
    pub(crate) fn spacing(&self) -> Option<Duration> {
        let (tones, _) = self.waiting.first().filter(|_| self.sending)?;
        Some(Duration::from_millis(u64::from(tones.duration + tones.gap)))
    }

    /// What was being sent in the audio was cut: the rest waits, first in line.
    pub(crate) fn put_back(&mut self, rest: String) {
        if let Some((tones, _)) = self.waiting.first_mut().filter(|_| self.sending) {
            tones.tones = rest;
            self.sending = false;
            self.refused = None;
        }
    }

    /// The browser has refused what was to be sent in the audio: it waits, first in line, unless it has done so too long.
    pub(crate) fn try_again(&mut self, now: Instant) -> bool {
        let since = *self.refused.get_or_insert(now);
        self.sending = now - since >= PATIENCE;
        !self.sending
    }

    /// What was being sent is done; its promise is to be settled.
    pub(crate) fn finish(&mut self) -> Option<Settler> {
        if !core::mem::take(&mut self.sending) {
            return None;
        }
        self.refused = None;
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0).1)
    }

    /// The call is over.
    pub(crate) fn abandon(&mut self) -> Vec<Settler> {
        self.sending = false;
        let mut settlers = Vec::new();
        for (_, settler) in core::mem::take(&mut self.waiting) {
            settlers.push(settler);
        }
        settlers
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object_of;

    #[test]
    fn tones_are_checked() {
        let tones = Tones::read(&"12a#,".into(), &JsValue::UNDEFINED).unwrap();
        assert_eq!(tones.tones, "12A#,");
        assert_eq!((tones.duration, tones.gap, tones.method), (100, 70, Method::Rtp));
        for (tones, options) in [
            (JsValue::from(1), JsValue::UNDEFINED),
            ("".into(), JsValue::UNDEFINED),
            ("1E".into(), JsValue::UNDEFINED),
            ("1\r\nX: y".into(), JsValue::UNDEFINED),
            ("1".into(), object_of([("duration", 10.into())])),
            ("1".into(), object_of([("gap", 6001.into())])),
            ("1".into(), object_of([("method", "inband".into())])),
        ] {
            let error = Tones::read(&tones, &options).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config");
        }
    }

    #[test]
    fn tones_in_the_audio_wait_for_the_audio() {
        let mut queue = Queue::default();
        let tones = Tones::read(&"1".into(), &JsValue::UNDEFINED).unwrap();
        queue.push(tones, Settler::new().1);
        assert!(queue.start(false).is_none());
        assert!(queue.start(true).is_some());
    }

    #[test]
    fn tones_that_were_cut_go_on_where_they_were() {
        let mut queue = Queue::default();
        queue.push(Tones::read(&"12345".into(), &JsValue::UNDEFINED).unwrap(), Settler::new().1);
        assert!(queue.start(true).is_some());
        queue.put_back("45".into());
        assert!(queue.finish().is_none() && queue.start(false).is_none());
        assert_eq!(queue.start(true).map(|tones| tones.tones).as_deref(), Some("45"));
        assert!(queue.finish().is_some());
    }

    #[test]
    fn tones_that_the_browser_refuses_are_tried_again_for_two_seconds() {
        let mut queue = Queue::default();
        let at = Instant::from_millis;
        for first in [100, 50_000] {
            queue.push(Tones::read(&"12".into(), &JsValue::UNDEFINED).unwrap(), Settler::new().1);
            assert!(queue.start(true).is_some() && queue.try_again(at(first)));
            assert_eq!(queue.start(true).map(|tones| tones.tones).as_deref(), Some("12"));
            assert!(queue.try_again(at(first + 1999)) && queue.finish().is_none());
            assert!(queue.start(true).is_some() && !queue.try_again(at(first + 2000)));
            assert!(queue.start(true).is_none() && queue.finish().is_some(), "the refusal is told");
        }
        // A hold begins meanwhile: it counts from then on.
        queue.push(Tones::read(&"1".into(), &JsValue::UNDEFINED).unwrap(), Settler::new().1);
        assert!(queue.start(true).is_some() && queue.try_again(at(60_000)));
        assert!(queue.start(false).is_none());
        assert!(queue.start(true).is_some() && queue.try_again(at(90_000)));
    }

    #[test]
    fn the_queue_sends_one_job_at_a_time() {
        let job =
            |tones: &str| Tones { tones: tones.to_owned(), duration: 100, gap: 50, method: Method::Info };
        let mut queue = Queue::default();
        queue.push(job("12"), Settler::new().1);
        queue.push(job("3"), Settler::new().1);
        assert_eq!(queue.start(true).map(|tones| tones.tones.len()), Some(2));
        assert_eq!(queue.start(true), None);
        assert_eq!(queue.next_tone(), Some(('1', 100)));
        assert_eq!(queue.spacing(), Some(Duration::from_millis(150)));
        assert_eq!(queue.next_tone(), Some(('2', 100)));
        assert_eq!(queue.next_tone(), None);
        assert!(queue.finish().is_some());
        assert!(queue.finish().is_none());
        assert_eq!(queue.start(true).map(|tones| tones.tones.len()), Some(1));
        assert_eq!(queue.abandon().len(), 1);
    }
}
