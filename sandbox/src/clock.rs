//! The clock and the randomness that the state machines are handed.

use wasm_softphone::entropy::Entropy;
use wasm_softphone::time::Instant;

/// Time since the process took this clock, and back.
#[derive(Debug, Clone, Copy)]
pub struct Clock(tokio::time::Instant);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sleeps until `deadline`; for ever when there is none.
    pub async fn sleep_until(&self, deadline: Option<Instant>) {
        match deadline {
            Some(at) => {
                tokio::time::sleep_until(self.0 + core::time::Duration::from_millis(at.as_millis())).await;
            }
            None => core::future::pending().await,
        }
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            // Ids that can be guessed would be worse than no server.
            eprintln!("the operating system gives no random numbers: {error}");
            std::process::exit(1);
        }
    }
}
