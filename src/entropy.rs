//! Randomness as the state machines see it: handed in, so that a run can be repeated from a seed.

/// A source of random bytes: `crypto.getRandomValues` in the browser, a seeded generator in tests.
pub trait Entropy {
    /// Fills `buffer` with random bytes.
    fn fill(&mut self, buffer: &mut [u8]);
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A token of `chars` characters from a 32-letter alphabet (5 bits each), valid as a tag, branch, Call-ID,
/// user part and host label (RFC 3261, section 19.3 asks for at least 32 bits).
pub fn token(entropy: &mut dyn Entropy, chars: usize) -> String {
    let mut bytes = vec![0_u8; chars];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(*ALPHABET.get(usize::from(byte & 31)).unwrap_or(&b'a'))).collect()
}

/// A UUID of version 4 (RFC 9562, section 5.4), in lower case.
pub fn uuid_v4(entropy: &mut dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    let mut text = String::new();
    for (at, byte) in bytes.into_iter().enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(&mut text, byte);
    }
    text
}

/// One byte as two digits in lower case.
pub(crate) fn push_hex(text: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
    }
}

/// A random number in `0..bound`; 0 when `bound` is 0.
pub fn below(entropy: &mut dyn Entropy, bound: u64) -> u64 {
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
}

/// SplitMix64: a small seeded generator for tests and simulations. Not for production.
#[derive(Debug, Clone)]
pub struct SeededEntropy(u64);

impl SeededEntropy {
    /// The same seed gives the same bytes.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn a_uuid_says_that_it_is_random() {
        assert_eq!(uuid_v4(&mut Fixed(0)), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_v4(&mut Fixed(0xff)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let mut random = SeededEntropy::new(1);
        let first = uuid_v4(&mut random);
        assert_ne!(first, uuid_v4(&mut random));
        assert_eq!(first.len(), 36);
    }
}
