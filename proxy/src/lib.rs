//! A hardened proxy between browsers and the 46elks voice API.
//!
//! The browser asks for a call by its own id, answers the call that 46elks makes to it, and claims it; the far end is
//! dialled once 46elks and the browser agree that this call was answered. No credential, address or text of
//! 46elks reaches the browser, and nothing is dialled twice.
//!
//! [`calls`] decides, [`store`] remembers, [`upstream`] asks 46elks. [`Proxy`] is all of it, to be served alone by
//! the binary or inside another server.

pub mod auth;
pub mod calls;
mod client;
mod clock;
pub mod config;
mod crash;
mod exchange;
mod http;
pub mod limits;
pub mod numbers;
pub mod origin;
pub mod policy;
mod proxy;
mod server;
pub mod store;
pub mod telemetry;
mod tokens;
pub mod upstream;

pub use client::install_tls;
pub use http::Code;
pub use proxy::{Proxy, SetupError};
pub use server::{Patience, serve};
