//! The far parties: what a number does is told by its last two digits.

use core::time::Duration;

use super::options::Options;

/// What a party lets be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Nothing.
    Silence,
    /// What it hears.
    Echo,
    /// A tone of this many hertz.
    Tone(u16),
    /// The keys that the other side presses, as tones.
    Keys,
    /// The tone that says that it rings there.
    Ringback,
}

/// How a party meets a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers after this time, and hangs up after the other.
    Answers {
        /// Ringing.
        after: Duration,
        /// What it lets be heard.
        sound: Sound,
        /// Hangs up so long after the answer.
        hangs_up: Option<Duration>,
    },
    /// Is busy.
    Busy,
    /// Rings for ever.
    Rings,
    /// Cannot be reached.
    Fails,
}

/// What the party with this number does. A number without a part of its own answers and plays a tone.
#[must_use]
pub fn manner(number: &str, options: &Options) -> Manner {
    let answer = Duration::from_millis(options.b_answer_ms);
    let answers = |after, sound, hangs_up| Manner::Answers { after, sound, hangs_up };
    let tail = number.len().checked_sub(2).and_then(|at| number.get(at..)).unwrap_or_default();
    match tail {
        "01" => answers(answer, Sound::Echo, None),
        "02" => Manner::Busy,
        "03" => Manner::Rings,
        "04" => Manner::Fails,
        "05" => answers(answer, Sound::Tone(440), Some(Duration::from_millis(options.b_hangup_ms))),
        "06" => answers(Duration::from_millis(options.b_ring_ms), Sound::Tone(440), None),
        "07" => answers(answer, Sound::Keys, None),
        _ => answers(answer, Sound::Tone(440), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_last_two_digits() {
        let options = Options::default();
        let second = Duration::from_secs(1);
        let answers = |after, sound, hangs_up| Manner::Answers { after, sound, hangs_up };
        for (number, expected) in [
            ("+46700000001", answers(second, Sound::Echo, None)),
            ("+46700000002", Manner::Busy),
            ("+46700000003", Manner::Rings),
            ("+46700000004", Manner::Fails),
            ("+46700000005", answers(second, Sound::Tone(440), Some(3 * second))),
            ("+46700000006", answers(20 * second, Sound::Tone(440), None)),
            ("+46700000007", answers(second, Sound::Keys, None)),
            ("+46700000011", answers(second, Sound::Tone(440), None)),
        ] {
            assert_eq!(manner(number, &options), expected, "{number}");
        }
    }
}
