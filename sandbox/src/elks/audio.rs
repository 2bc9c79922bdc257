//! What a phone's leg hears and lets be heard: a tone, an echo, keys, or another leg; and a measuring set.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::magic::Sound;
use crate::media::{Law, Port};

const SAMPLE_RATE: f64 = 8000.0;
/// -9 dBFS: a stranger's tone is loud.
const AMPLITUDE: f64 = 11_600.0;
/// Audio that may wait to be played: what is older is lost, so that nothing lags behind.
const MAX_QUEUE: usize = 1600;
/// How much of what was heard last is looked at for its pitch: half a second.
const WINDOW: usize = 4000;
/// Louder than this is no silence: about -50 dBFS.
const SILENCE: f64 = 100.0;
/// A key's tone and the pause after it, in samples.
const KEY: usize = 1600;
const PAUSE: usize = 800;

/// The audio of one leg; shared between its media task and the exchange.
#[derive(Debug)]
pub(super) struct Line {
    state: Mutex<State>,
    pcmu: bool,
}

#[derive(Debug)]
struct State {
    sound: Sound,
    /// What is to be played before all else.
    queue: VecDeque<i16>,
    /// Samples played.
    at: u64,
    joined: Option<Arc<Line>>,
    packets: u64,
    samples: u64,
    energy: f64,
    loudest: f64,
    window: VecDeque<i16>,
    loud: Instant,
}

impl Line {
    pub(super) fn new() -> Arc<Self> {
        Self::with(true)
    }

    /// With PCMU beside PCMA, or without.
    pub(super) fn with(pcmu: bool) -> Arc<Self> {
        let state = State {
            sound: Sound::Silence,
            queue: VecDeque::new(),
            at: 0,
            joined: None,
            packets: 0,
            samples: 0,
            energy: 0.0,
            loudest: 0.0,
            window: VecDeque::new(),
            loud: Instant::now(),
        };
        Arc::new(Self { state: Mutex::new(state), pcmu })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays this from now on, and nobody else.
    pub(super) fn set(&self, sound: Sound) {
        let mut state = self.state();
        state.sound = sound;
        state.joined = None;
        state.queue.clear();
        state.loud = Instant::now();
    }

    /// Two legs hear each other.
    pub(super) fn join(a: &Arc<Self>, b: &Arc<Self>) {
        for (line, other) in [(a, b), (b, a)] {
            line.set(Sound::Silence);
            line.state().joined = Some(other.clone());
        }
    }

    /// Apart again; two lines that hold each other are never freed.
    pub(super) fn part(&self) {
        self.set(Sound::Silence);
    }

    /// The other side has pressed a key.
    pub(super) fn key(&self, key: char) {
        let mut state = self.state();
        if state.sound == Sound::Keys
            && let Some((low, high)) = key_tones(key)
        {
            for n in 0..KEY {
                let sample = (wave(low, n as u64) + wave(high, n as u64)) / 2.0;
                state.queue.push_back((AMPLITUDE * sample) as i16);
            }
            state.queue.extend([0; PAUSE]);
        }
    }

    /// How long nothing was heard.
    pub(super) fn silence(&self) -> Duration {
        self.state().loud.elapsed()
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> Value {
        let state = self.state();
        let level = (state.energy / (state.samples.max(1) as f64)).sqrt();
        let window: Vec<i16> = state.window.iter().copied().collect();
        let pitch = if state.loudest > SILENCE { dominant(&window) } else { None };
        json!({
            "packets": state.packets,
            "dbfs": decibels(level),
            "peak_dbfs": decibels(state.loudest),
            "hertz": pitch,
        })
    }

    fn push(&self, samples: &[i16]) {
        let mut state = self.state();
        state.queue.extend(samples);
        let surplus = state.queue.len().saturating_sub(MAX_QUEUE);
        state.queue.drain(..surplus);
    }
}

impl Port for Line {
    fn play(&self, law: Law, samples: u64) -> Vec<u8> {
        let mut state = self.state();
        let mut frame = Vec::new();
        for _ in 0..samples {
            let at = state.at;
            state.at += 1;
            let sample = match (state.queue.pop_front(), state.sound) {
                (Some(sample), _) => sample,
                (None, Sound::Tone(hertz)) => (AMPLITUDE * wave(f64::from(hertz), at)) as i16,
                // 425 Hz, one second of five, as in Sweden.
                (None, Sound::Ringback) if at % 40_000 < 8000 => (AMPLITUDE / 4.0 * wave(425.0, at)) as i16,
                _ => 0,
            };
            frame.push(sample);
        }
        law.encode(&frame)
    }

    fn pcmu(&self) -> bool {
        self.pcmu
    }

    fn hear(&self, law: Law, payload: &[u8]) {
        let samples = law.decode(payload);
        let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let level = (energy / (samples.len().max(1) as f64)).sqrt();
        let (echo, joined) = {
            let mut state = self.state();
            state.packets += 1;
            state.samples += samples.len() as u64;
            state.energy += energy;
            state.loudest = state.loudest.max(level);
            if level > SILENCE {
                state.loud = Instant::now();
            }
            state.window.extend(&samples);
            let surplus = state.window.len().saturating_sub(WINDOW);
            state.window.drain(..surplus);
            (state.sound == Sound::Echo, state.joined.clone())
        };
        // Never with the lock held: the other line may be about to push to this one.
        if echo {
            self.push(&samples);
        }
        if let Some(joined) = joined {
            joined.push(&samples);
        }
    }
}

fn wave(hertz: f64, at: u64) -> f64 {
    (TAU * (hertz * at as f64 / SAMPLE_RATE).fract()).sin()
}

fn decibels(level: f64) -> Option<f64> {
    (level > 0.0).then(|| ((20.0 * (level / 32_768.0).log10()) * 10.0).round() / 10.0)
}

/// ITU-T Q.23.
fn key_tones(key: char) -> Option<(f64, f64)> {
    let at = "123A456B789C*0#D".find(key)?;
    let low = [697.0, 770.0, 852.0, 941.0].get(at / 4).copied()?;
    let high = [1209.0, 1336.0, 1477.0, 1633.0].get(at % 4).copied()?;
    Some((low, high))
}

/// The strongest of the frequencies 100, 110, ... 3400 (Goertzel).
fn dominant(samples: &[i16]) -> Option<u32> {
    let power = |hertz: u32| {
        let turn = 2.0 * (TAU * f64::from(hertz) / SAMPLE_RATE).cos();
        let (mut a, mut b) = (0.0_f64, 0.0_f64);
        for sample in samples {
            (a, b) = (f64::from(*sample) + turn * a - b, a);
        }
        a * a + b * b - turn * a * b
    };
    if samples.len() < WINDOW / 4 {
        return None;
    }
    (10..=340).map(|tens| tens * 10).max_by(|a, b| power(*a).total_cmp(&power(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_level_and_pitch_and_echoes() {
        let (source, line) = (Line::new(), Line::new());
        source.set(Sound::Tone(660));
        line.set(Sound::Echo);
        for _ in 0..25 {
            line.hear(Law::A, &source.play(Law::A, 160));
        }
        let heard = line.heard();
        assert_eq!((heard["hertz"].as_u64(), heard["packets"].as_u64()), (Some(660), Some(25)), "{heard}");
        assert!((-13.0..-11.0).contains(&heard["dbfs"].as_f64().unwrap()), "{heard}");
        let ear = Line::new();
        for _ in 0..10 {
            ear.hear(Law::Mu, &line.play(Law::Mu, 160));
        }
        assert_eq!(ear.heard()["hertz"], 660);
    }

    #[test]
    fn silence_has_no_pitch() {
        let (source, line) = (Line::new(), Line::new());
        for _ in 0..25 {
            line.hear(Law::A, &source.play(Law::A, 160));
        }
        assert!(line.heard()["hertz"].is_null());
        assert!(line.heard()["peak_dbfs"].as_f64().unwrap() < -60.0);
    }

    #[test]
    fn joined_lines_hear_each_other_and_keys_are_tones() {
        let (a, b, ear) = (Line::new(), Line::new(), Line::new());
        Line::join(&a, &b);
        ear.set(Sound::Tone(1000));
        for _ in 0..10 {
            a.hear(Law::A, &ear.play(Law::A, 160));
        }
        let far = Line::new();
        for _ in 0..10 {
            far.hear(Law::A, &b.play(Law::A, 160));
        }
        assert_eq!(far.heard()["hertz"], 1000);
        let (keys, ear) = (Line::new(), Line::new());
        keys.set(Sound::Keys);
        keys.key('5');
        for _ in 0..10 {
            ear.hear(Law::A, &keys.play(Law::A, 160));
        }
        assert!([770, 1340].contains(&ear.heard()["hertz"].as_u64().unwrap()), "{}", ear.heard());
    }
}
