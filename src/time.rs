//! Time as the state machines see it: a number that the driver hands in with every input.
//!
//! Nothing in the portable half reads a clock. That makes every race repeatable in a test, and a throttled
//! background tab harmless: late wake-ups are handled in order, early ones change nothing.

use core::fmt;
use core::ops::{Add, AddAssign, Div, Mul, Sub};

/// A span of time in whole milliseconds, up to 49 days: what cannot be said in it counts as that.
///
/// The one of `core` counts seconds and nanoseconds, and checks each product in 128 bits: a kilobyte of the module, for
/// a precision that no timer here has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u32);

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// The longest.
    pub const MAX: Self = Self(u32::MAX);

    /// This many milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        if ms > u32::MAX as u64 { Self::MAX } else { Self(ms as u32) }
    }

    /// This many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        if seconds > (u32::MAX / 1000) as u64 { Self::MAX } else { Self(seconds as u32 * 1000) }
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u32 {
        self.0
    }

    /// In whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0 / 1000
    }

    /// Whether this is no time.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left after this much; nothing when that is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times as long.
    #[must_use]
    pub const fn saturating_mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Add for Duration {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Duration {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Mul<u32> for Duration {
    type Output = Self;

    fn mul(self, times: u32) -> Self {
        self.saturating_mul(times)
    }
}

impl Div<u32> for Duration {
    type Output = Self;

    /// The longest, where it is divided by nothing.
    fn div(self, parts: u32) -> Self {
        Self(self.0.checked_div(parts).unwrap_or(u32::MAX))
    }
}

/// What is more than fits is the longest; less than a millisecond is dropped.
impl From<core::time::Duration> for Duration {
    fn from(duration: core::time::Duration) -> Self {
        Self(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.0.into())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A moment, in milliseconds since an origin that the driver chooses and keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);

    /// A moment `ms` milliseconds after the origin.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs.as_millis().into()))
    }
}

/// For drivers with a clock of their own.
impl Add<core::time::Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: core::time::Duration) -> Self {
        self + Duration::from(rhs)
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
