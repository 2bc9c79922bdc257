//! One call's record as a state machine without clock and without IO.
//!
//! [`transition()`] takes a record, what happened and when, and gives the new record and what is to be done. It is
//! the only thing that changes a record; whoever calls it writes the result by compare-and-swap before anything
//! is done, so that two instances, or two hooks at once, cannot both decide.

mod outcome;
mod record;
mod timing;
mod transition;

#[cfg(test)]
mod tests;

pub use outcome::Hangup;
pub use record::{Code, Decision, HookIds, Millis, Plan, Reason, Record, Refusal, State, Voice};
pub use timing::Timing;
pub use transition::{Alarm, Effect, Event, VoiceReply, next_deadline, transition};
