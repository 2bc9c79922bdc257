//! What is left to do after a panic: turn the microphones off and say so.
//!
//! A panic in WebAssembly does not unwind: borrows stay taken for good, so the phones that were alive cannot go on.

use core::cell::RefCell;
use std::rc::{Rc, Weak};

use wasm_bindgen::prelude::wasm_bindgen;

use super::driver::Driver;

thread_local! {
    static DRIVERS: RefCell<Vec<Weak<Driver>>> = const { RefCell::new(Vec::new()) };
}

/// Remembers a phone.
pub(crate) fn watch(driver: &Rc<Driver>) {
    DRIVERS.with_borrow_mut(|drivers| {
        drivers.retain(|driver| driver.strong_count() > 0);
        drivers.push(Rc::downgrade(driver));
    });
}

/// Runs when the module is loaded.
#[wasm_bindgen(start)]
pub(super) fn start() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        fail_all(&panic.to_string());
        previous(panic);
    }));
}

/// Ends all phones. The borrows that the panic has left behind are avoided.
fn fail_all(message: &str) {
    let drivers: Vec<Rc<Driver>> = DRIVERS.with(|drivers| {
        drivers
            .try_borrow()
            .map(|drivers| drivers.iter().filter_map(Weak::upgrade).collect())
            .unwrap_or_default()
    });
    for driver in &drivers {
        driver.poison();
    }
    for driver in drivers {
        driver.report_fatal(message);
        // Its destructor would borrow.
        core::mem::forget(driver);
    }
}
