//! SIP (RFC 3261 and friends): pure Rust, no clock, no random source, no async, no browser.

pub mod auth;
pub mod body;
pub mod dialog;
pub mod digest;
pub mod header;
mod md5;
pub mod message;
pub mod sdp;
pub mod transaction;
pub mod uri;
pub mod wire;
