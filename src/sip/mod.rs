//! SIP (RFC 3261 and friends): pure Rust, no clock, no random source, no async, no browser.

pub mod uri;
