//! The clock and the one timer.

use core::cell::{Cell, RefCell};

use js_sys::{Date, Function};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Performance, Window};

use super::listener::{Callback, callback, drop_later};
use super::object::set;
use crate::time::Instant;

/// Browsers keep the delay in 32 signed bits; a longer one would fire at once.
const LONGEST_DELAY_MS: u32 = i32::MAX as u32;
/// Nobody's clock is set forward by so much in small steps.
const JUMP_MS: f64 = 3000.0;

/// The monotonic clock of the page.
pub(crate) struct Clock {
    performance: Performance,
    /// What the clock on the wall was ahead by.
    ahead: Cell<f64>,
}

impl Clock {
    /// `None` where there is no `performance`.
    pub(crate) fn new(window: &Window) -> Option<Self> {
        let performance = window.performance()?;
        let ahead = Cell::new(Date::now() - performance.now());
        Some(Self { performance, ahead })
    }

    /// Milliseconds since the page was loaded.
    pub(crate) fn now(&self) -> Instant {
        instant(self.performance.now())
    }

    /// The same, and whether the clock on the wall has jumped ahead since this was last asked: the machine has slept, in
    /// which time this clock stands still on most systems, or somebody has set the other one.
    pub(crate) fn read(&self) -> (Instant, bool) {
        let now = self.performance.now();
        let ahead = Date::now() - now;
        (instant(now), ahead - self.ahead.replace(ahead) > JUMP_MS)
    }
}

fn instant(milliseconds: f64) -> Instant {
    // A float-to-integer `as` saturates, and the time is never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Instant::from_millis(milliseconds as u64)
}

#[wasm_bindgen]
extern "C" {
    type Worker;

    #[wasm_bindgen(method, js_name = postMessage)]
    fn post(this: &Worker, delay: f64);

    #[wasm_bindgen(method)]
    fn terminate(this: &Worker);
}

thread_local! {
    static MAKE_WORKER: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// The page can make workers, or what acts as one, that answer each number with a message so many milliseconds later, or never for a negative
/// one.
pub(crate) fn use_workers(make: Function) {
    MAKE_WORKER.set(Some(make));
}

/// A worker that is ended with this.
struct Helper(Worker);

impl Drop for Helper {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

/// At most one `setTimeout` at a time. While the page is hidden, when those are throttled, a helper keeps the time too:
/// see `makeTimer` of the package's entry. Where there can be none, as the page's policy may want it, the timeout is late.
#[must_use = "dropping it clears the timeout"]
pub(crate) struct Timer {
    window: Window,
    callback: Option<Callback>,
    handle: Cell<Option<i32>>,
    due: Cell<Option<Instant>>,
    hidden: Cell<bool>,
    helper: RefCell<Option<Helper>>,
}

impl Timer {
    /// A timer that is not set. Whoever is called must call [`Timer::fired`].
    pub(crate) fn new(window: &Window, function: Box<dyn Fn(JsValue)>) -> Self {
        Self {
            window: window.clone(),
            callback: Some(callback(function)),
            handle: Cell::new(None),
            due: Cell::new(None),
            hidden: Cell::new(false),
            helper: RefCell::new(None),
        }
    }

    /// Sees to it that the callback runs at this moment at the latest, or not at all. One that is set for an earlier
    /// moment stays: most deadlines go before they are reached, and setting it back and forth costs more than being early.
    /// Not in a hidden page without a helper: a browser throttles most what is set each time by a timer.
    pub(crate) fn set(&self, clock: &Clock, due: Option<Instant>) {
        let is_set = self.handle.get().is_some();
        let stays = !self.hidden.get() || self.helper.borrow().is_some();
        if is_set && (due == self.due.get() || stays && due >= self.due.get()) || !is_set && due.is_none() {
            return;
        }
        let now = clock.now();
        self.clear();
        self.due.set(due);
        self.tell_helper(now);
        let (Some(due), Some(callback)) = (due, &self.callback) else { return };
        let delay = (due - now).as_millis().min(LONGEST_DELAY_MS);
        self.handle.set(
            self.window
                .set_timeout_with_callback_and_timeout_and_arguments_0(
                    callback.as_ref().unchecked_ref(),
                    i32::try_from(delay).unwrap_or(i32::MAX),
                )
                .ok(),
        );
    }

    /// The page is hidden, or is not.
    pub(crate) fn set_hidden(&self, now: Instant, hidden: bool) {
        self.hidden.set(hidden);
        if !hidden {
            let old = self.helper.take();
            drop(old);
        } else if self.helper.borrow().is_none() {
            let make = MAKE_WORKER.with_borrow(Option::clone);
            // A page without workers, or without this one, is woken late.
            let made = make.and_then(|make| make.call0(&JsValue::UNDEFINED).ok());
            let (Some(worker), Some(callback)) = (made.filter(JsValue::is_object), &self.callback) else {
                return;
            };
            set(&worker, "onmessage", callback.as_ref());
            self.helper.replace(Some(Helper(worker.unchecked_into())));
            self.tell_helper(now);
        }
    }

    fn tell_helper(&self, now: Instant) {
        if let Some(Helper(worker)) = &*self.helper.borrow() {
            let delay =
                self.due.get().map_or(-1, |due| i32::try_from((due - now).as_millis()).unwrap_or(i32::MAX));
            worker.post(delay.into());
        }
    }

    /// To be called when the callback runs: the timeout is spent.
    pub(crate) fn fired(&self) {
        // The other one may still run.
        self.clear();
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
        drop(self.helper.take());
        if let Some(callback) = self.callback.take() {
            drop_later(callback);
        }
    }
}
