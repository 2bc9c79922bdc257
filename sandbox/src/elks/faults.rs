//! What can go wrong, by name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

macro_rules! faults {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// One way to go wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $doc] $variant,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in `/_sim/fault`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it does.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

faults! {
    InviteBeforeResponse "invite-before-response" "The INVITE is sent at once and the POST is answered `value` ms later (1000).";
    ResponseLost "response-lost" "The call is made; the POST gets no answer for `value` ms (60000), and then an empty 500.";
    NoInvite "no-invite" "The call is made and answered for, but no INVITE is sent: it fails at its timeout.";
    LateInviteAfterCancel "late-invite-after-cancel" "The INVITE comes `value` ms (3000) after the request, when the caller may have given up.";
    DupVoiceStart "dup-voice-start" "voice_start is posted twice with the same callid; the first answer counts.";
    VoiceStartOtherCallid "voice-start-other-callid" "voice_start is posted with another callid as well: \"after\" the true one (default), \"before\" it, or \"instead\".";
    VoiceStartSlow "voice-start-slow" "voice_start is posted `value` ms (4000) after the answer.";
    HangupHookDup "hangup-hook-dup" "whenhangup is posted twice.";
    HangupHookLate "hangup-hook-late" "whenhangup is posted `value` ms (10000) after the end.";
    HangupHookBeforeVoiceStart "hangup-hook-before-voice-start" "whenhangup is posted at the answer, `value` ms (200) before voice_start; and at the end again.";
    StrangerCallInWindow "stranger-call-in-window" "A stranger (`value`, default +46709999999) calls the WebRTC number just before the call that was asked for.";
    SpoofedOwnNumberInWindow "spoofed-own-number-in-window" "The same, and the stranger shows the `from` of the request.";
    TwoRegistrations "two-registrations" "A second phone registers to the WebRTC number before the INVITE: it rings, or with `value` \"answer\" answers at once.";
    Unauthorized "401" "POST /calls is refused as without credentials.";
    BadFrom "403-from" "POST /calls is refused with `Invalid from number`.";
    BadTo "403-to" "POST /calls is refused with `Invalid to number`.";
    MissingKey "403-missing" "POST /calls is refused with `Missing key voice_start`.";
    NoCredit "402" "POST /calls is refused with `Not enough credits`.";
    TooMany "429" "POST /calls is refused with 429 and Retry-After: `value` seconds (7).";
    Broken "500" "POST /calls gets 500.";
    HtmlBody "html-502-body" "POST /calls gets 502 with a page of HTML.";
    TruncatedJson "truncated-json" "The call is made, and the answer to POST /calls breaks off in the middle.";
    UnknownState "unknown-state" "The call's state is `value` (\"pondering\") instead of `ongoing` while it runs.";
    BBusy "b-busy" "The next far party is busy, whatever its number.";
    BNoAnswer "b-noanswer" "The next far party rings and never answers.";
    BFailed "b-failed" "The next far party cannot be reached.";
}

/// A fault that waits for its moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Armed {
    /// How many times more; `None`: always.
    pub times: Option<u32>,
    /// What it needs to know.
    pub value: Value,
}

impl Armed {
    /// The value as milliseconds or seconds.
    #[must_use]
    pub fn number(&self, default: u64) -> u64 {
        self.value.as_u64().unwrap_or(default)
    }

    /// The value as text.
    #[must_use]
    pub fn text(&self, default: &str) -> String {
        self.value.as_str().unwrap_or(default).to_owned()
    }
}

/// Those that are armed.
#[derive(Debug, Clone, Default)]
pub struct Faults(BTreeMap<Fault, Armed>);

impl Faults {
    /// Arms one.
    pub fn arm(&mut self, fault: Fault, armed: Armed) {
        self.0.insert(fault, armed);
    }

    /// Disarms one.
    pub fn disarm(&mut self, fault: Fault) {
        self.0.remove(&fault);
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Its moment has come: says whether it is armed, and counts.
    pub fn take(&mut self, fault: Fault) -> Option<Armed> {
        let armed = self.0.get_mut(&fault)?;
        let taken = armed.clone();
        if let Some(times) = &mut armed.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.0.remove(&fault);
            }
        }
        Some(taken)
    }

    /// Whether it is armed, without counting.
    #[must_use]
    pub fn peek(&self, fault: Fault) -> Option<&Armed> {
        self.0.get(&fault)
    }

    /// All faults, and which are armed.
    #[must_use]
    pub fn list(&self) -> Value {
        let list: Vec<Value> = Fault::ALL
            .iter()
            .map(|fault| {
                let armed = self.0.get(fault);
                json!({
                    "name": fault.name(),
                    "doc": fault.doc(),
                    "armed": armed.is_some(),
                    "times": armed.and_then(|armed| armed.times),
                    "value": armed.map(|armed| &armed.value),
                })
            })
            .collect();
        json!({ "faults": list })
    }
}

/// The fault of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<Fault> {
    Fault::ALL.iter().copied().find(|fault| fault.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_counted_down() {
        for fault in Fault::ALL {
            assert_eq!(by_name(fault.name()), Some(*fault));
        }
        let mut faults = Faults::default();
        faults.arm(Fault::BBusy, Armed { times: Some(2), value: Value::Null });
        assert_eq!(faults.take(Fault::BBusy).map(|armed| armed.number(5)), Some(5));
        assert!(faults.take(Fault::BBusy).is_some());
        assert!(faults.take(Fault::BBusy).is_none());
        faults.arm(Fault::Broken, Armed { times: None, value: Value::Null });
        assert!(faults.take(Fault::Broken).is_some() && faults.take(Fault::Broken).is_some());
        faults.clear();
        assert!(faults.take(Fault::Broken).is_none());
    }
}
