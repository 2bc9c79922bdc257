//! Simulation: phones on a virtual clock, against a scripted server and against each other. No socket, no
//! browser, no real time: every race can be played, and played again. Runs on the host and on wasm.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

mod bench;
mod chaos;
mod flow;
mod forking;
mod hostile;
mod in_dialog;
mod incoming;
mod originate;
mod outgoing;
mod pair;
mod registration;
mod reliable;
