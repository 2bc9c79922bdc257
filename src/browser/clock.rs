//! The clock and the one timer.

use core::cell::Cell;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Performance, Window};

use super::listener::{Callback, callback, drop_later};
use crate::time::Instant;

/// Browsers keep the delay in 32 signed bits; a longer one would fire at once.
const LONGEST_DELAY_MS: u64 = i32::MAX as u64;

/// The monotonic clock of the page.
pub(crate) struct Clock(Performance);

impl Clock {
    /// `None` where there is no `performance`.
    pub(crate) fn new(window: &Window) -> Option<Self> {
        window.performance().map(Self)
    }

    /// Milliseconds since the page was loaded.
    pub(crate) fn now(&self) -> Instant {
        // A float-to-integer `as` saturates, and the time is never negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Instant::from_millis(self.0.now() as u64)
    }
}

/// At most one `setTimeout` at a time.
#[must_use = "dropping it clears the timeout"]
pub(crate) struct Timer {
    window: Window,
    callback: Option<Callback>,
    handle: Cell<Option<i32>>,
    due: Cell<Option<Instant>>,
}

impl Timer {
    /// A timer that is not set. Whoever is called must call [`Timer::fired`].
    pub(crate) fn new(window: &Window, function: Box<dyn Fn(JsValue)>) -> Self {
        Self {
            window: window.clone(),
            callback: Some(callback(function)),
            handle: Cell::new(None),
            due: Cell::new(None),
        }
    }

    /// Moves the timer to this moment, or clears it.
    pub(crate) fn set(&self, now: Instant, due: Option<Instant>) {
        if due == self.due.get() && self.handle.get().is_some() == due.is_some() {
            return;
        }
        self.clear();
        self.due.set(due);
        let (Some(due), Some(callback)) = (due, &self.callback) else { return };
        let delay = (due - now).as_millis().min(u128::from(LONGEST_DELAY_MS));
        self.handle.set(
            self.window
                .set_timeout_with_callback_and_timeout_and_arguments_0(
                    callback.as_ref().unchecked_ref(),
                    i32::try_from(delay).unwrap_or(i32::MAX),
                )
                .ok(),
        );
    }

    /// To be called when the callback runs: the timeout is spent.
    pub(crate) fn fired(&self) {
        self.handle.set(None);
        self.due.set(None);
    }

    fn clear(&self) {
        if let Some(handle) = self.handle.take() {
            self.window.clear_timeout_with_handle(handle);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
        if let Some(callback) = self.callback.take() {
            drop_later(callback);
        }
    }
}
