//! What JavaScript sees.
//!
//! | file | what |
//! |---|---|
//! | `dial_strategy`, `call`, `originated_call`, `subscription` | the exported classes |
//! | `driver` | owns the phone and everything in the browser; the drain loop |
//! | `dialing` | one `dial()` from its arguments to its result |
//! | `dtmf` | tones in line |
//! | `proxy` | requests to the call proxy, with the application's headers |
//! | `config` | options objects, checked |
//! | `error`, `event`, `promise` | how outcomes reach JavaScript |
//! | `fatal` | what is left to do after a trap |

mod call;
mod config;
mod dial_strategy;
mod dialing;
mod driver;
mod dtmf;
mod error;
mod event;
mod fatal;
mod originated_call;
mod promise;
mod proxy;
mod subscription;

pub use call::Call;
pub use dial_strategy::{DialStrategy, register_provider, use_timer_workers};
pub use error::use_errors;
pub use fatal::module_trapped;
pub use originated_call::{OriginatedCall, originate_call};
pub use subscription::Subscription;
