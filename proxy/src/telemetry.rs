//! What the proxy tells its operator: log lines and metrics, neither with a full number, a token or a secret.

mod log;
mod metrics;

pub use log::{LogLayer, init_logging, log_panics, log_requests, scrub};
pub use metrics::{Alarm, Metrics};
