//! wasm-softphone: a SIP softphone core for browsers.
//!
//! The portable half ([`phone`], [`sip`], [`dial`]) is pure state machines: no clock, no socket, no randomness,
//! no async. The browser half (`browser`, `js`; wasm32 only) is thin.
//!
//! # The driving contract
//! **After every input or command, poll what is to be sent, done and told until there is nothing, then wait until
//! [`phone::Phone::poll_timeout`].**
//!
//! 1. Call a command ([`phone::Phone::dial`], …) or [`phone::Phone::handle_input`] with the current time.
//! 2. Send what [`phone::Phone::poll_transmit`] returns, then do what [`phone::Phone::poll_job`] returns, then tell the
//!    application what [`phone::Phone::poll_event`] returns, with no borrow held; and again, until all three are empty.
//! 3. Arm one timer for `poll_timeout`; when it fires, hand in [`phone::Input::Timer`].
#![forbid(unsafe_code)]

#[cfg(target_arch = "wasm32")]
mod browser;
pub mod dial;
pub mod entropy;
pub mod error;
#[cfg(any(test, target_arch = "wasm32"))]
mod guess;
#[cfg(target_arch = "wasm32")]
pub mod js;
pub mod phone;
pub mod sip;
mod text;
pub mod time;
pub mod url;

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: size_classes::SizeClasses = size_classes::SizeClasses::new(size_classes::LinearMemory);

// The unit tests of the browser half need a browser, and those of the portable half run there as well.
#[cfg(all(test, target_arch = "wasm32"))]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);
