//! What is kept of a call, in the words of the API, and the times in it.

use core::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};
use wasm_softphone::entropy::Entropy;
use wasm_softphone::time::Instant;

/// Wall time for the machine's own: naive UTC, as the API writes it.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Timestamp,
    last: i64,
}

impl Clock {
    /// A clock that shows `origin` at the machine's origin.
    #[must_use]
    pub const fn new(origin: Timestamp) -> Self {
        Self { origin, last: 0 }
    }

    /// Microseconds since 1970, never twice the same.
    pub fn stamp(&mut self, now: Instant) -> i64 {
        self.last = self.micros(now).max(self.last + 1);
        self.last
    }

    /// A moment in the API's form.
    #[must_use]
    pub fn format(&self, now: Instant) -> String {
        format_micros(self.micros(now))
    }

    fn micros(&self, now: Instant) -> i64 {
        let passed = Duration::from_millis(now.as_millis());
        self.origin.as_microsecond().saturating_add(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX))
    }
}

/// `2018-02-20T11:55:27.756000`.
#[must_use]
pub fn format_micros(micros: i64) -> String {
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()
}

/// Reads what [`format_micros`] writes; the fraction may be missing, and `Z` there.
#[must_use]
pub fn parse_micros(text: &str) -> Option<i64> {
    let time: jiff::civil::DateTime = text.trim_end_matches('Z').parse().ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp().as_microsecond())
}

/// 32 hexadecimal digits.
pub fn hex(entropy: &mut dyn Entropy) -> String {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// `c...`.
    pub id: String,
    /// `outgoing` or `incoming`.
    pub direction: &'static str,
    /// E.164.
    pub from: String,
    /// E.164.
    pub to: String,
    /// Microseconds since 1970.
    pub created: i64,
    /// When it was picked up.
    pub start: Option<String>,
    /// `ongoing`, then `success`, `failed` or `busy`.
    pub state: String,
    /// Seconds, once it was picked up and is over.
    pub duration: Option<u64>,
    /// In 1/10000 of the currency.
    pub cost: Option<u64>,
    /// What was done, with the results.
    pub actions: Vec<Value>,
    /// Whom it was connected to.
    pub legs: Vec<Value>,
    /// The account.
    pub owner: String,
    /// Seconds to ring.
    pub timeout: Option<u64>,
    /// Out of the history.
    pub deleted: bool,
}

impl Record {
    /// The answer to `POST /a1/calls`.
    #[must_use]
    pub fn start_json(&self) -> Value {
        let mut object = Map::new();
        for (key, value) in [
            ("direction", self.direction),
            ("from", &self.from),
            ("created", &format_micros(self.created)),
            ("to", &self.to),
            ("state", &self.state),
            ("id", &self.id),
        ] {
            object.insert(key.to_owned(), value.into());
        }
        Value::Object(object)
    }

    /// The record as history shows it; what is not known is left out.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = self.start_json();
        if let Value::Object(object) = &mut value {
            object.insert("owner".to_owned(), self.owner.clone().into());
            if let Some(timeout) = self.timeout {
                object.insert("timeout".to_owned(), timeout.into());
            }
            if let Some(start) = &self.start {
                object.insert("start".to_owned(), start.clone().into());
                object.insert("actions".to_owned(), self.actions.clone().into());
                object.insert("legs".to_owned(), self.legs.clone().into());
            }
            for (key, number) in [("duration", self.duration), ("cost", self.cost)] {
                if let Some(number) = number {
                    object.insert(key.to_owned(), number.into());
                }
            }
        }
        value
    }

    /// The form of `voice_start` and `next`.
    #[must_use]
    pub fn start_form(&self) -> Vec<(String, String)> {
        [
            ("direction", self.direction.to_owned()),
            ("callid", self.id.clone()),
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("created", format_micros(self.created)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// The form of `whenhangup`: lists are JSON in strings.
    #[must_use]
    pub fn end_form(&self) -> Vec<(String, String)> {
        let Value::Object(object) = self.json() else { return Vec::new() };
        object
            .into_iter()
            .filter(|(key, _)| !matches!(key.as_str(), "owner" | "timeout"))
            .map(|(key, value)| match value {
                Value::String(text) => (key, text),
                other => (key, other.to_string()),
            })
            .collect()
    }
}

/// A leg as `GET /_sim/log` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LegLog {
    /// Its number.
    pub id: u64,
    /// The call it belongs to.
    pub call: String,
    /// `a`, `b` or `stranger`.
    pub leg: &'static str,
    /// E.164.
    pub from: String,
    /// E.164.
    pub to: String,
    /// Somebody pays for it.
    pub billed: bool,
    /// Was answered.
    pub answered: bool,
    /// When it began.
    pub at: String,
    /// When it was answered.
    pub answered_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How it ended.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_naive_utc_with_microseconds() {
        let micros = parse_micros("2018-02-20T11:55:27.756000").unwrap();
        assert_eq!(format_micros(micros), "2018-02-20T11:55:27.756000");
        assert_eq!(parse_micros("2018-02-20T11:55:27Z"), Some(micros - 756_000));
        assert_eq!(parse_micros("yesterday"), None);
        let mut clock = Clock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let now = Instant::from_millis(1500);
        assert_eq!(clock.format(now), "2026-01-01T00:00:01.500000");
        assert!(clock.stamp(now) < clock.stamp(now), "two calls in one millisecond are told apart");
    }
}
