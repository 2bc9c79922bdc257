//! The calls under way, in words: who calls whom, and what became of it.

use std::collections::BTreeMap;

use wasm_softphone::sip::message::{Method, Request, default_reason};
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::time::Instant;

use super::events::Busy;
use super::transaction::News;

/// More calls than this are not followed: what never ends must not pile up.
const MAX_CALLS: usize = 10_000;

struct Call {
    caller: String,
    callee: String,
    answered: Option<Instant>,
    early: bool,
    ringing: bool,
}

/// Call-IDs and what is known of them.
#[derive(Default)]
pub(super) struct CallLog {
    calls: BTreeMap<String, Call>,
}

impl CallLog {
    /// A new call.
    pub(super) fn begin(&mut self, request: &Request) -> String {
        let (caller, callee) = parties(request);
        let line = format!("{caller} -> {callee} calling");
        if self.calls.len() >= MAX_CALLS {
            self.calls.pop_first();
        }
        self.calls.insert(
            request.headers.call_id().unwrap_or_default().to_owned(),
            Call { caller, callee, answered: None, early: false, ringing: false },
        );
        line
    }

    /// A call that went nowhere.
    pub(super) fn refused(&self, request: &Request, status: u16) -> Option<String> {
        let (caller, callee) = parties(request);
        (request.method == Method::Invite)
            .then(|| format!("{caller} -> {callee} failed: {status} {}", default_reason(status)))
    }

    pub(super) fn count(&self) -> usize {
        self.calls.len()
    }

    /// The calls that a user takes part in.
    pub(super) fn of(&self, user: &str) -> Vec<Busy> {
        let mine = self.calls.iter().filter(|(_, call)| call.caller == user || call.callee == user);
        mine.map(|(id, call)| Busy {
            call: id.clone(),
            state: match (call.answered, call.ringing || call.early) {
                (Some(_), _) => "confirmed",
                (None, true) => "early",
                (None, false) => "trying",
            },
            caller: call.caller == user,
        })
        .collect()
    }

    /// Who takes part in a call: the caller first.
    pub(super) fn parties(&self, call_id: &str) -> Option<(String, String)> {
        self.calls.get(call_id).map(|call| (call.caller.clone(), call.callee.clone()))
    }

    /// A BYE.
    pub(super) fn ended(&mut self, now: Instant, request: &Request) -> Option<String> {
        let call = self.calls.remove(request.headers.call_id()?)?;
        let by = name(request.headers.from().map(|from| from.uri).as_deref());
        let seconds = now.saturating_since(call.answered.unwrap_or(now)).as_secs();
        Some(format!("{} -> {} hung up by {by} after {seconds} s", call.caller, call.callee))
    }

    /// How an INVITE fares.
    pub(super) fn news(&mut self, now: Instant, news: &News) -> Option<String> {
        let call = self.calls.get_mut(&news.call_id)?;
        // A re-INVITE is not news of the call.
        if call.answered.is_some() {
            return None;
        }
        let what = match news.status {
            183 if news.body && !call.early => {
                call.early = true;
                "sends early media".to_owned()
            }
            180 if !call.ringing => {
                call.ringing = true;
                "ringing".to_owned()
            }
            100..=199 => return None,
            200..=299 => {
                call.answered = Some(now);
                "answered".to_owned()
            }
            status => {
                let what = match status {
                    486 | 600 => format!("busy ({status})"),
                    603 => "declined (603)".to_owned(),
                    487 => "cancelled".to_owned(),
                    _ => format!("failed: {status} {}", default_reason(status)),
                };
                let line = format!("{} -> {} {what}", call.caller, call.callee);
                self.calls.remove(&news.call_id);
                return Some(line);
            }
        };
        Some(format!("{} -> {} {what}", call.caller, call.callee))
    }
}

fn parties(request: &Request) -> (String, String) {
    let from = request.headers.from().map(|from| from.uri);
    (name(from.as_deref()), name(Some(&request.uri)))
}

/// The user part of a URI, fit for a terminal.
pub(super) fn name(uri: Option<&str>) -> String {
    let user = uri.and_then(|uri| Uri::parse(uri).ok()).and_then(|uri| uri.user_decoded());
    match user {
        Some(user) => user.chars().filter(|c| !c.is_control()).take(40).collect(),
        None => "somebody".to_owned(),
    }
}
