/// The time limits of a call, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long 46elks lets the browser's leg ring.
    pub ring: u64,
    /// How long 46elks lets the far leg ring.
    pub connect: u64,
    /// How long voice_start waits for the claim.
    pub claim: u64,
    /// How long the browser waits for the confirmation.
    pub confirm: u64,
    /// After the ring time, how long until a call of unknown outcome is given up.
    pub grace: u64,
    /// Without a poll or a claim for this long the page counts as closed.
    pub idle: u64,
    /// The longest call.
    pub max_duration: u64,
    /// How long a record can be asked for.
    pub record_life: u64,
    /// How long the cancellation of a call that was never seen is kept.
    pub tombstone: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ring: 20_000,
            connect: 45_000,
            claim: 1_500,
            confirm: 4_000,
            grace: 5_000,
            idle: 30_000,
            max_duration: 3_600_000,
            record_life: 900_000,
            tombstone: 60_000,
        }
    }
}

impl Timing {
    /// After it no leg of this call can begin to ring in the browser.
    pub(crate) fn slot(&self, created_at: u64) -> u64 {
        created_at.saturating_add(self.ring).saturating_add(self.grace)
    }
}
