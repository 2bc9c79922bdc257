//! The action grammar: what `voice_start`, `next` and the branches of an action answer with.
//!
//! One JSON object with one main key and its options. A branch is a URL to fetch the next action from, or the
//! action itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Seconds that an `ivr` waits for a key when it names no time, or none between 1 and 30.
const IVR_TIMEOUT: u64 = 10;
/// How often an `ivr` plays its prompt.
const IVR_REPEAT: u64 = 3;
/// Longest recording in seconds when none is named.
const RECORD_LIMIT: u64 = 120;
/// Nested deeper than this, it is no action that somebody has written.
const MAX_DEPTH: usize = 32;

/// What comes after an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branch {
    /// Fetched from here.
    Url(String),
    /// Given already.
    Action(Box<Action>),
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What is done.
    pub verb: Verb,
    /// Where to report the recording of the whole call.
    pub recordcall: Option<String>,
}

/// The main key of an action, with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Call these numbers, and join the first that answers.
    Connect(Connect),
    /// Play a file.
    Play {
        /// Where it is, or the name of a built-in one.
        url: String,
        /// A key ends it.
        skippable: bool,
        /// What comes then.
        next: Option<Branch>,
    },
    /// Play a file and collect keys.
    Ivr(Ivr),
    /// Record the caller.
    Record {
        /// Where to report the recording.
        url: String,
        /// Longest time in seconds.
        timelimit: u64,
        /// Three seconds of silence end it; else `#` does.
        silencedetection: bool,
        /// What comes then.
        next: Option<Branch>,
    },
    /// End the call.
    Hangup(Hangup),
}

/// `connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// As it was written.
    pub to: String,
    /// The called parties' view of the caller; default: the caller's own number.
    pub callerid: Option<String>,
    /// Seconds to let it ring.
    pub timeout: Option<u64>,
    /// Where to report the end of the call too.
    pub whenhangup: Option<String>,
    /// Where each result leads; `next` stands for those that have no branch of their own.
    pub branches: BTreeMap<String, Branch>,
}

impl Connect {
    /// The parties, in the order in which they are written.
    pub fn parties(&self) -> impl Iterator<Item = &str> {
        self.to.split(',').map(str::trim)
    }

    /// What follows a result.
    #[must_use]
    pub fn after(&self, result: &str) -> Option<&Branch> {
        self.branches.get(result).or_else(|| self.branches.get("next"))
    }
}

/// `ivr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ivr {
    /// The prompt.
    pub url: String,
    /// How many keys are wanted; `#` ends the input before.
    pub digits: usize,
    /// Seconds to wait for them.
    pub timeout: u64,
    /// How often the prompt is played.
    pub repeat: u64,
    /// What keys lead to.
    pub keys: BTreeMap<String, Branch>,
    /// Gets the keys as `result`.
    pub next: Option<Branch>,
}

/// `hangup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// Declined.
    Reject,
    /// Busy.
    Busy,
    /// No such number.
    NotFound,
}

/// Why an answer is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Not JSON, or no object.
    #[error("not a JSON object")]
    Json,
    /// No main key, or more than one.
    #[error("no main key that is known, or more than one")]
    MainKey,
    /// A value of another type than it should be.
    #[error("the value of {0:?} has the wrong type")]
    Value(&'static str),
}

/// Reads an answer.
///
/// # Errors
/// Says what is wrong with it.
pub fn parse(text: &str) -> Result<Action, Bad> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => action(&object, 0),
        _ => Err(Bad::Json),
    }
}

fn action(object: &Map<String, Value>, depth: usize) -> Result<Action, Bad> {
    if depth > MAX_DEPTH {
        return Err(Bad::Json);
    }
    let mains = ["connect", "play", "ivr", "record", "hangup"];
    let mut present = mains.into_iter().filter(|key| object.contains_key(*key));
    let (Some(main), None) = (present.next(), present.next()) else { return Err(Bad::MainKey) };
    let main_value = text(object, main)?.ok_or(Bad::Value(main))?;
    let next = || branch(object.get("next"), depth);
    let verb = match main {
        "connect" => {
            let mut branches = BTreeMap::new();
            for key in ["next", "success", "busy", "failed"] {
                if let Some(branch) = branch(object.get(key), depth)? {
                    branches.insert(key.to_owned(), branch);
                }
            }
            Verb::Connect(Connect {
                to: main_value,
                callerid: text(object, "callerid")?,
                timeout: number(object, "timeout"),
                whenhangup: text(object, "whenhangup")?,
                branches,
            })
        }
        "play" => Verb::Play { url: main_value, skippable: flag(object, "skippable", true), next: next()? },
        "ivr" => {
            let mut keys = BTreeMap::new();
            for (key, value) in object {
                if !key.is_empty()
                    && key.chars().all(|c| c.is_ascii_digit() || matches!(c, '*' | '#'))
                    && let Some(branch) = branch(Some(value), depth)?
                {
                    keys.insert(key.clone(), branch);
                }
            }
            let digits = number(object, "digits").unwrap_or(1).max(1);
            Verb::Ivr(Ivr {
                url: main_value,
                digits: usize::try_from(digits).unwrap_or(usize::MAX),
                timeout: number(object, "timeout").filter(|t| (1..=30).contains(t)).unwrap_or(IVR_TIMEOUT),
                repeat: number(object, "repeat").unwrap_or(IVR_REPEAT).max(1),
                keys,
                next: next()?,
            })
        }
        "record" => Verb::Record {
            url: main_value,
            timelimit: number(object, "timelimit").unwrap_or(RECORD_LIMIT),
            silencedetection: flag(object, "silencedetection", true),
            next: next()?,
        },
        _ => Verb::Hangup(match main_value.as_str() {
            "busy" => Hangup::Busy,
            "404" => Hangup::NotFound,
            _ => Hangup::Reject,
        }),
    };
    Ok(Action { verb, recordcall: text(object, "recordcall")? })
}

fn branch(value: Option<&Value>, depth: usize) -> Result<Option<Branch>, Bad> {
    match value {
        None | Some(Value::Null) => Ok(None),
        // An action may come as a string of JSON too, as `voice_start` does.
        Some(Value::String(text)) if text.trim_start().starts_with('{') => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => {
                action(&object, depth + 1).map(|action| Some(Branch::Action(Box::new(action))))
            }
            _ => Err(Bad::Json),
        },
        Some(Value::String(url)) => Ok(Some(Branch::Url(url.clone()))),
        Some(Value::Object(object)) => {
            action(object, depth + 1).map(|action| Some(Branch::Action(Box::new(action))))
        }
        Some(_) => Err(Bad::Value("next")),
    }
}

fn text(object: &Map<String, Value>, key: &'static str) -> Result<Option<String>, Bad> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Bad::Value(key)),
    }
}

/// A whole number, also one in a string.
fn number(object: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = object.get(key)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn flag(object: &Map<String, Value>, key: &str, default: bool) -> bool {
    match object.get(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => !matches!(text.as_str(), "no" | "false" | "0"),
        Some(Value::Number(number)) => number.as_u64() != Some(0),
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_with_branches_of_both_kinds() {
        let text = r#"{"connect":"+46701,+46702","callerid":"+46766","timeout":"45","recordcall":"http://127.0.0.1/r",
            "next":"http://127.0.0.1/n","busy":{"play":"sound/beep","next":{"hangup":"busy"}}}"#;
        let action = parse(text).unwrap();
        assert_eq!(action.recordcall.as_deref(), Some("http://127.0.0.1/r"));
        let Verb::Connect(connect) = action.verb else { panic!("connect") };
        assert_eq!(connect.parties().collect::<Vec<_>>(), ["+46701", "+46702"]);
        assert_eq!((connect.callerid.as_deref(), connect.timeout), (Some("+46766"), Some(45)));
        assert!(matches!(connect.after("busy"), Some(Branch::Action(_))));
        assert_eq!(connect.after("failed"), Some(&Branch::Url("http://127.0.0.1/n".to_owned())));
    }

    #[test]
    fn ivr_times() {
        for (timeout, seconds) in [("0", 10), ("1", 1), ("30", 30), ("31", 10), ("\"7\"", 7), ("-1", 10)] {
            let action = parse(&format!(r##"{{"ivr":"u","timeout":{timeout},"1":"a","#":"b"}}"##)).unwrap();
            let Verb::Ivr(ivr) = action.verb else { panic!("ivr") };
            assert_eq!(
                (ivr.timeout, ivr.repeat, ivr.digits, ivr.keys.len()),
                (seconds, 3, 1, 2),
                "{timeout}"
            );
        }
    }

    #[test]
    fn record_and_hangup_and_play() {
        let record = |text: &str| match parse(text).unwrap().verb {
            Verb::Record { timelimit, silencedetection, .. } => (timelimit, silencedetection),
            other => panic!("{other:?}"),
        };
        assert_eq!(record(r#"{"record":"u"}"#), (120, true));
        assert_eq!(record(r#"{"record":"u","timelimit":5,"silencedetection":"no"}"#), (5, false));
        for (word, expected) in [
            ("\"reject\"", Hangup::Reject),
            ("\"busy\"", Hangup::Busy),
            ("\"404\"", Hangup::NotFound),
            ("404", Hangup::NotFound),
        ] {
            assert_eq!(parse(&format!(r#"{{"hangup":{word}}}"#)).unwrap().verb, Verb::Hangup(expected));
        }
        let play = parse(r#"{"play":"sound/beep","skippable":false}"#).unwrap().verb;
        assert_eq!(play, Verb::Play { url: "sound/beep".to_owned(), skippable: false, next: None });
    }

    #[test]
    fn what_is_no_action() {
        let deep = "{\"play\":\"a\",\"next\":".repeat(40) + "{\"hangup\":\"busy\"}" + &"}".repeat(40);
        for (bad, why) in [
            ("", Bad::Json),
            ("[]", Bad::Json),
            ("{}", Bad::MainKey),
            (r#"{"dance":"polka"}"#, Bad::MainKey),
            (r#"{"play":"a","connect":"+46701"}"#, Bad::MainKey),
            (r#"{"play":["a"]}"#, Bad::Value("play")),
            (r#"{"play":"a","next":7}"#, Bad::Value("next")),
            (&deep, Bad::Json),
        ] {
            assert_eq!(parse(bad), Err(why), "{bad}");
        }
    }
}
