//! The DTMF of one call that waits or is being sent, as a value: one request after the other.

use super::io::{ToneMethod, Tones};
use super::timers::CallTimer;
use crate::time::{Duration, Instant};

/// How long a comma waits (WebRTC 1.0, section 7.2).
const PAUSE: Duration = Duration::from_secs(2);
/// How long after tones that the browser has refused they are tried again.
const RETRY: Duration = Duration::from_millis(50);
/// How long the browser may refuse them.
const PATIENCE: Duration = Duration::from_secs(2);

/// The requests of one call, of which the first may be under way.
#[derive(Debug, Default)]
pub(super) struct ToneQueue {
    waiting: Vec<Tones>,
    under_way: UnderWay,
    /// The audio takes tones: its path is up, and this side sends.
    audio: bool,
    /// Since when the browser has refused the first request.
    refused: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum UnderWay {
    #[default]
    Nothing,
    /// The browser sends the tones of the first request.
    Audio,
    /// An INFO has no response yet.
    Info,
    /// The next step of the first request is due then.
    Pause(Instant),
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// The browser is to send these.
    Audio(Tones),
    /// An INFO is to carry this tone, which lasts so many milliseconds.
    Info(char, u32),
    /// The first request is done.
    Done,
}

impl ToneQueue {
    /// The browser sends the tones of the first request.
    pub(super) fn is_in_audio(&self) -> bool {
        self.under_way == UnderWay::Audio
    }

    pub(super) fn push(&mut self, tones: Tones) {
        self.waiting.push(tones);
    }

    /// Begins the first request, unless it is under way, or goes by audio and the audio takes no tones.
    pub(super) fn begin(&mut self, now: Instant) -> Step {
        let Some(first) = self.waiting.first().filter(|_| self.under_way == UnderWay::Nothing) else {
            return Step::Nothing;
        };
        match first.method {
            ToneMethod::Info => self.next_tone(now),
            ToneMethod::Audio if self.audio => {
                self.under_way = UnderWay::Audio;
                Step::Audio(first.clone())
            }
            // What the browser has refused before counts no more.
            ToneMethod::Audio => {
                self.refused = None;
                Step::Nothing
            }
        }
    }

    /// The next tone of the first request, which goes by INFO.
    fn next_tone(&mut self, now: Instant) -> Step {
        let Some(first) = self.waiting.first_mut() else { return Step::Nothing };
        let Some(tone) = first.tones.chars().next() else { return Step::Done };
        first.tones.remove(0);
        if tone == ',' {
            self.under_way = UnderWay::Pause(now + PAUSE);
            return Step::Nothing;
        }
        self.under_way = UnderWay::Info;
        Step::Info(tone, first.duration)
    }

    /// The pause is over.
    pub(super) fn resume(&mut self, now: Instant) -> Step {
        self.under_way = UnderWay::Nothing;
        self.begin(now)
    }

    /// The other side has accepted an INFO: the next one follows after the tone and the gap.
    pub(super) fn info_accepted(&mut self, now: Instant) {
        if let Some(first) = self.waiting.first().filter(|_| self.under_way == UnderWay::Info) {
            let millis = u64::from(first.duration) + u64::from(first.gap);
            self.under_way = UnderWay::Pause(now + Duration::from_millis(millis));
        }
    }

    pub(super) fn set_audio(&mut self, takes_tones: bool) {
        self.audio = takes_tones;
        // Tones that the browser has refused are tried again at once, or wait for the audio.
        if self.waits() && self.waiting.first().is_some_and(|first| first.method == ToneMethod::Audio) {
            self.under_way = UnderWay::Nothing;
        }
    }

    const fn waits(&self) -> bool {
        matches!(self.under_way, UnderWay::Pause(_))
    }

    /// The browser has stopped the tones: the rest waits, first in line. `true` where nothing is left of them.
    pub(super) fn cut(&mut self, rest: String) -> bool {
        let Some(first) = self.waiting.first_mut().filter(|_| self.under_way == UnderWay::Audio) else {
            return false;
        };
        if rest.is_empty() {
            return true;
        }
        first.tones = rest;
        self.under_way = UnderWay::Nothing;
        self.refused = None;
        false
    }

    /// The browser has refused the tones: they are tried again, unless that has gone on for too long.
    pub(super) fn try_again(&mut self, now: Instant) -> bool {
        let since = *self.refused.get_or_insert(now);
        let again = now - since < PATIENCE;
        if again {
            self.under_way = UnderWay::Pause(now + RETRY);
        }
        again
    }

    /// The first request is done. `false`: there is none.
    pub(super) fn finish(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        self.under_way = UnderWay::Nothing;
        self.refused = None;
        self.waiting.remove(0);
        true
    }

    /// The call is over: nothing is sent any more.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        match self.under_way {
            UnderWay::Pause(until) => Some((until, CallTimer::Tone)),
            _ => None,
        }
    }

    pub(super) fn put_off(&mut self, by: Duration) {
        if let UnderWay::Pause(until) = self.under_way {
            self.under_way = UnderWay::Pause(until + by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NOW: Instant = Instant::from_millis(1_000);

    fn tones(tones: &str, method: ToneMethod) -> Tones {
        Tones { tones: tones.to_owned(), duration: 100, gap: 50, method }
    }

    fn queue(requests: &[(&str, ToneMethod)]) -> ToneQueue {
        let mut queue = ToneQueue::default();
        for (text, method) in requests {
            queue.push(tones(text, *method));
        }
        queue
    }

    fn audio(text: &str) -> Step {
        Step::Audio(tones(text, ToneMethod::Audio))
    }

    #[test]
    fn tones_in_the_audio_wait_for_the_audio() {
        let mut queue = queue(&[("1", ToneMethod::Audio)]);
        assert_eq!(queue.begin(NOW), Step::Nothing);
        queue.set_audio(true);
        assert_eq!(queue.begin(NOW), audio("1"));
        assert_eq!(queue.begin(NOW), Step::Nothing, "they are under way");
    }

    #[test]
    fn tones_that_were_cut_go_on_where_they_were() {
        let mut queue = queue(&[("12345", ToneMethod::Audio)]);
        queue.set_audio(true);
        assert_eq!(queue.begin(NOW), audio("12345"));
        queue.set_audio(false);
        assert!(!queue.cut("45".into()));
        assert_eq!(queue.begin(NOW), Step::Nothing);
        queue.set_audio(true);
        assert_eq!(queue.begin(NOW), audio("45"));
        assert!(queue.cut(String::new()), "nothing is left");
        assert!(queue.finish() && !queue.finish());
        assert!(!queue.cut("1".into()), "nothing is under way");
    }

    #[test]
    fn tones_that_the_browser_refuses_are_tried_again_for_two_seconds() {
        let mut queue = queue(&[("12", ToneMethod::Audio)]);
        queue.set_audio(true);
        for first in [NOW, NOW + Duration::from_secs(50)] {
            assert_eq!(queue.begin(first), audio("12"));
            assert!(queue.try_again(first));
            let retry = first + RETRY;
            assert_eq!(queue.poll_timeout(), Some((retry, CallTimer::Tone)));
            assert_eq!(queue.resume(retry), audio("12"));
            assert!(queue.try_again(first + Duration::from_millis(1_999)));
            assert_eq!(queue.resume(first + PATIENCE), audio("12"));
            assert!(!queue.try_again(first + PATIENCE), "the refusal is reported");
            assert!(queue.finish());
            queue.push(tones("12", ToneMethod::Audio));
        }
        // A hold begins meanwhile: the time counts from its end.
        assert_eq!(queue.begin(NOW), audio("12"));
        assert!(queue.try_again(NOW));
        queue.set_audio(false);
        assert_eq!(queue.begin(NOW), Step::Nothing);
        queue.set_audio(true);
        assert_eq!(queue.begin(NOW + PATIENCE), audio("12"));
        assert!(queue.try_again(NOW + PATIENCE));
    }

    #[test]
    fn by_info_one_tone_follows_the_other_after_its_time_and_the_gap() {
        let mut queue = queue(&[("1,2", ToneMethod::Info), ("3", ToneMethod::Info)]);
        assert_eq!(queue.begin(NOW), Step::Info('1', 100));
        assert_eq!((queue.begin(NOW), queue.poll_timeout()), (Step::Nothing, None));
        queue.info_accepted(NOW);
        let mut now = NOW + Duration::from_millis(150);
        assert_eq!(queue.poll_timeout(), Some((now, CallTimer::Tone)));
        assert_eq!(queue.resume(now), Step::Nothing, "a comma");
        now = now + PAUSE;
        assert_eq!(queue.poll_timeout(), Some((now, CallTimer::Tone)));
        assert_eq!(queue.resume(now), Step::Info('2', 100));
        queue.info_accepted(now);
        assert_eq!(queue.resume(now), Step::Done);
        assert!(queue.finish());
        assert_eq!(queue.begin(now), Step::Info('3', 100));
        queue.stop();
        assert!(!queue.finish() && queue.poll_timeout().is_none());
    }

    #[test]
    fn a_page_that_slept_puts_a_pause_off() {
        let mut queue = queue(&[(",1", ToneMethod::Info)]);
        assert_eq!(queue.begin(NOW), Step::Nothing);
        queue.put_off(PAUSE);
        assert_eq!(queue.poll_timeout(), Some((NOW + PAUSE + PAUSE, CallTimer::Tone)));
    }

    #[test]
    fn an_info_that_nobody_waits_for_changes_nothing() {
        let mut queue = queue(&[("1", ToneMethod::Audio)]);
        queue.info_accepted(NOW);
        assert_eq!(queue.poll_timeout(), None);
    }
}
