//! Steps at which the binary can be made to die, so that a test knows exactly how far it came.

/// Aborts the process, or panics, if the environment names `step`.
#[cfg(feature = "crash-points")]
pub(crate) fn point(step: &str) {
    if std::env::var("CRASH_AT").is_ok_and(|at| at == step) {
        std::process::abort();
    }
    if std::env::var("PANIC_AT").is_ok_and(|at| at == step) {
        #[expect(clippy::panic, reason = "a defect, for a test of what one shows")]
        {
            panic!("+46701234567");
        }
    }
}

/// Does nothing.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_step: &str) {}
