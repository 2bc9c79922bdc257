//! Parts of the proxy that stand alone.

pub mod auth;
pub mod config;
pub mod limits;
pub mod numbers;
pub mod origin;
pub mod policy;
pub mod telemetry;
