//! A sine in G.711 (RFC 3551, sections 4.5.14).

use std::f64::consts::TAU;

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

const SAMPLE_RATE: u64 = 8000;
/// -12 dBFS: clear, and no fright in a headset.
const AMPLITUDE: f64 = 8192.0;

/// The two companding laws of G.711.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// PCMA.
    A,
    /// PCMU.
    Mu,
}

impl Law {
    /// Linear samples at 8 kHz.
    #[must_use]
    pub fn decode(self, payload: &[u8]) -> Vec<i16> {
        let decode = match self {
            Self::A => decode_alaw,
            Self::Mu => decode_ulaw,
        };
        payload.iter().map(|byte| decode(*byte)).collect()
    }

    /// The payload of these samples at 8 kHz.
    #[must_use]
    pub fn encode(self, samples: &[i16]) -> Vec<u8> {
        let encode = match self {
            Self::A => encode_alaw,
            Self::Mu => encode_ulaw,
        };
        samples.iter().map(|sample| encode(*sample)).collect()
    }
}

/// A sine without end.
#[derive(Debug, Clone, Copy)]
pub struct Tone {
    hertz: u64,
}

impl Tone {
    /// A tone of this frequency, below 4 kHz.
    #[must_use]
    pub fn new(hertz: u16) -> Self {
        Self { hertz: u64::from(hertz) }
    }

    /// The samples from number `start` on, encoded.
    #[must_use]
    pub fn frame(&self, law: Law, start: u64, samples: u64) -> Vec<u8> {
        let encode = match law {
            Law::A => encode_alaw,
            Law::Mu => encode_ulaw,
        };
        (start..start + samples)
            .map(|sample| {
                // Whole cycles are left out in integers, so that the phase stays exact for ever.
                let phase = (sample * self.hertz % SAMPLE_RATE) as f64 / SAMPLE_RATE as f64;
                encode((AMPLITUDE * (TAU * phase).sin()) as i16)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_sine_in_both_laws() {
        for law in [Law::A, Law::Mu] {
            let samples = law.decode(&Tone::new(1000).frame(law, 8000 * 3600, 8));
            // Eight samples of 1 kHz at 8 kHz are one cycle; G.711 is good to about 3 % at the start of a segment, where 8192 lies.
            for (sample, expected) in samples.iter().zip([0.0, 0.707, 1.0, 0.707, 0.0, -0.707, -1.0, -0.707])
            {
                let difference = f64::from(*sample) - expected * AMPLITUDE;
                assert!(difference.abs() < 0.04 * AMPLITUDE, "{law:?} {samples:?}");
            }
        }
    }

    #[test]
    fn frames_join_without_a_step() {
        let tone = Tone::new(440);
        let whole = tone.frame(Law::A, 0, 320);
        assert_eq!(whole, [tone.frame(Law::A, 0, 160), tone.frame(Law::A, 160, 160)].concat());
    }
}
