//! Randomness from `crypto.getRandomValues`.

use web_sys::{Crypto, Window};

use crate::entropy::Entropy;

/// Asked for at once: enough for some messages. `getRandomValues` gives up to 65,536 (Web Cryptography API, section
/// 10.1.1).
const BLOCK: usize = 256;

/// The browser's random source.
pub(crate) struct BrowserEntropy {
    crypto: Crypto,
    block: [u8; BLOCK],
    /// How much of it is not used yet, at its end.
    left: usize,
}

impl BrowserEntropy {
    /// `None` where there is no `crypto`.
    pub(crate) fn new(window: &Window) -> Option<Self> {
        let crypto = window.crypto().ok()?;
        Some(Self { crypto, block: [0; BLOCK], left: 0 })
    }
}

impl Entropy for BrowserEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            if self.left == 0 {
                if let Err(error) = self.crypto.get_random_values_with_u8_array(&mut self.block) {
                    // Going on with zeros would make tags and nonces guessable, so the command fails instead.
                    wasm_bindgen::throw_val(error);
                }
                self.left = BLOCK;
            }
            self.left -= 1;
            if let Some(random) = self.block.get_mut(self.left) {
                // None is used twice, and none is left to be read.
                *byte = core::mem::take(random);
            }
        }
    }
}
