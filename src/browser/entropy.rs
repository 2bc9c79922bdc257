//! Randomness from `crypto.getRandomValues`.

use web_sys::{Crypto, Window};

use crate::entropy::Entropy;

/// The most that `getRandomValues` gives at once (Web Cryptography API, section 10.1.1).
const QUOTA: usize = 65_536;

/// The browser's random source.
pub(crate) struct BrowserEntropy(Crypto);

impl BrowserEntropy {
    /// `None` where there is no `crypto`.
    pub(crate) fn new(window: &Window) -> Option<Self> {
        window.crypto().ok().map(Self)
    }
}

impl Entropy for BrowserEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(QUOTA) {
            if let Err(error) = self.0.get_random_values_with_u8_array(chunk) {
                // Going on with zeros would make tags and nonces guessable, so the command fails instead.
                wasm_bindgen::throw_val(error);
            }
        }
    }
}
