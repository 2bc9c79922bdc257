use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calls::Millis;

/// The time. Records outlive the process and are shared between machines, so it is the wall's.
pub(crate) fn now() -> Millis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn millis(duration: Duration) -> Millis {
    duration.as_millis().try_into().unwrap_or(Millis::MAX)
}
