//! Which way a call goes: what can be dialled, what a provider can do, and the decision between them; and the REST
//! way itself, as far as it is not SIP.

pub mod destination;
pub mod originate;
mod plan;
mod plans;
pub mod provider;
pub mod proxy;
pub mod strategy;

pub use destination::{Destination, PhoneNumber, check_country};
pub use provider::{NumberFormat, Provider, ProviderRegistry};
pub use strategy::{Choice, Decision, StrategyName, check, decide, default_strategy};
