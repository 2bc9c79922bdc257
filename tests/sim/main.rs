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

mod auto_answer;
mod bearer;
mod bench;
mod browser;
mod chaos;
#[cfg(not(target_arch = "wasm32"))]
mod conformance;
mod descriptions;
mod flow;
mod flows_rfc3665;
mod flows_rfc5359;
mod forking;
mod forking_proxy;
mod fuzz;
mod hold;
mod hostile;
mod identity;
mod in_dialog;
mod incoming;
mod limits;
mod liveness;
mod messaging;
mod negotiation;
mod odd_pbx;
mod originate;
mod outage;
mod outgoing;
mod page;
mod pair;
mod patience;
mod pbx;
mod privacy;
mod random_calls;
mod recovery;
mod redirect;
mod registration;
mod registration_extensions;
mod registration_later;
mod reliable;
mod replaces;
mod resume;
mod revision;
mod scenarios;
mod sequence;
mod servers;
mod session_timer;
mod subscription;
mod tables;
mod tones;
mod torture;
mod transfer;
mod watch;
mod wire_rules;
mod wish;
mod world;
