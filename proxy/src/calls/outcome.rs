use std::collections::HashMap;

use serde_json::Value;

use super::{Millis, Reason, Record, Timing};

/// What 46elks tells about a call: whenhangup's form, or the call's record. Everything in it may be missing or
/// unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hangup {
    /// 46elks' id of the call.
    pub id: Option<String>,
    /// How the browser's leg went.
    pub state: Option<String>,
    /// Seconds.
    pub duration_s: Option<u64>,
    /// In 1/10000 of the account's currency.
    pub cost: Option<u64>,
    /// The result of each `connect`; `None` where it hasn't one.
    pub connects: Option<Vec<Option<String>>>,
    /// State and duration of each far leg.
    pub legs: Vec<(Option<String>, Option<u64>)>,
}

impl Hangup {
    /// From the fields of whenhangup, where `actions` and `legs` are JSON inside a string.
    #[must_use]
    pub fn from_form(fields: &HashMap<String, String>) -> Self {
        let text = |name: &str| fields.get(name).filter(|value| !value.is_empty()).cloned();
        let json = |name: &str| text(name).and_then(|value| serde_json::from_str(&value).ok());
        Self {
            id: text("id").or_else(|| text("callid")),
            state: text("state"),
            duration_s: text("duration").and_then(|value| whole(&value)),
            cost: text("cost").and_then(|value| whole(&value)),
            connects: json("actions").and_then(|value| connects(&value)),
            legs: json("legs").map(|value| legs(&value)).unwrap_or_default(),
        }
    }

    /// From a call's record.
    #[must_use]
    pub fn from_json(call: &Value) -> Self {
        Self {
            id: text(call, "id"),
            state: text(call, "state"),
            duration_s: number(call, "duration"),
            cost: number(call, "cost"),
            connects: call.get("actions").and_then(connects),
            legs: call.get("legs").map(legs).unwrap_or_default(),
        }
    }

    /// Whether a record tells of a call that is over. Unknown states are not taken for an end.
    pub(super) fn is_final(&self) -> bool {
        const FINAL: [&str; 6] = ["success", "failed", "busy", "noanswer", "cancel", "cancelled"];
        self.state.as_deref().is_some_and(|state| FINAL.contains(&state))
    }

    /// How long the far leg was connected, or else the browser's.
    pub(super) fn talked_s(&self) -> Option<u64> {
        self.legs
            .iter()
            .filter(|(state, _)| state.as_deref() == Some("success"))
            .filter_map(|(_, duration)| *duration)
            .max()
            .or(self.duration_s)
    }

    /// Why the call ended.
    pub(super) fn reason(&self, record: &Record, now: Millis, timing: &Timing) -> Reason {
        let pending = record.reason;
        let Some(connected_at) = record.connected_at else {
            return pending.unwrap_or(match (&record.voice, self.state.as_deref()) {
                // Answered, and hung up before anybody claimed it.
                (Some(_), _) => Reason::Unverified,
                // Answered, but voice_start never reached us.
                (None, Some("success")) => Reason::Failed,
                (None, _) => Reason::ClientUnreachable,
            });
        };
        let failed = || {
            let rang = now.saturating_sub(connected_at).saturating_add(1_000) >= timing.connect;
            if rang { Reason::NoAnswer } else { Reason::Failed }
        };
        let far = match self.far_result() {
            Some("success") => Some(Reason::Completed),
            Some("busy") => Some(Reason::Busy),
            Some("noanswer" | "no_answer") => Some(Reason::NoAnswer),
            Some("failed") => Some(failed()),
            _ => None,
        };
        match (far, pending) {
            (Some(Reason::Completed), _) => Reason::Completed,
            // Who cancels first is not told that the other end was busy.
            (_, Some(pending)) => pending,
            (Some(far), None) => far,
            // The connect has no result: the browser hung up while the far end rang.
            (None, None) if self.connects.is_some() => Reason::Cancelled,
            (None, None) => match (self.state.as_deref(), self.duration_s) {
                (Some("busy"), _) => Reason::Busy,
                (Some("success"), _) | (_, Some(1..)) => Reason::Completed,
                _ => failed(),
            },
        }
    }

    fn far_result(&self) -> Option<&str> {
        let mut connects = self.connects.iter().flatten().filter_map(Option::as_deref);
        let legs = || self.legs.iter().filter_map(|(state, _)| state.as_deref());
        connects
            .next_back()
            .or_else(|| legs().find(|state| *state == "success"))
            .or_else(|| legs().next_back())
    }
}

fn connects(actions: &Value) -> Option<Vec<Option<String>>> {
    let actions = actions.as_array()?;
    Some(
        actions
            .iter()
            .filter(|action| action.get("connect").is_some())
            .map(|action| text(action, "result"))
            .collect(),
    )
}

fn legs(legs: &Value) -> Vec<(Option<String>, Option<u64>)> {
    let legs = legs.as_array().map(Vec::as_slice).unwrap_or_default();
    legs.iter().map(|leg| (text(leg, "state"), number(leg, "duration"))).collect()
}

fn text(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

fn number(object: &Value, name: &str) -> Option<u64> {
    let value = object.get(name)?;
    value.as_u64().or_else(|| whole(value.as_str()?))
}

fn whole(text: &str) -> Option<u64> {
    text.trim().split('.').next()?.parse().ok()
}
