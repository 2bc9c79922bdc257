//! What JavaScript sees.
//!
//! | file | what |
//! |---|---|
//! | `dial_strategy`, `call` | the exported classes |
//! | `driver` | owns the phone and everything in the browser; the drain loop |
//! | `dialing` | one `dial()` from its arguments to its result |
//! | `dtmf` | tones in line |
//! | `config` | options objects, checked |
//! | `error`, `event`, `promise` | how outcomes reach JavaScript |
//! | `fatal` | what is left to do after a panic |

mod call;
mod config;
mod dial_strategy;
mod dialing;
mod driver;
mod dtmf;
mod error;
mod event;
mod fatal;
mod promise;

pub use call::Call;
pub use dial_strategy::{DialStrategy, originate_call, register_provider};
