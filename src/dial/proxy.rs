//! The contract with a call proxy, as values: what is asked of it, and what it says.
//!
//! The proxy holds the provider's API credential and makes the calls; the browser has a session with the proxy and
//! nothing else. Paths, headers and JSON are the business of whoever carries these values.

use core::fmt;

use crate::error::{Error, ErrorCode};
use crate::text::{concat, digits, printable};
use crate::time::Duration;

/// One thing that is asked of the proxy. `call` is a UUID (version 4) made here: it names the call before the proxy
/// has heard of it, so that a lost answer can be asked for and a call can be cancelled before it was answered.
#[derive(Clone, PartialEq, Eq)]
pub enum ProxyCommand {
    /// `GET /v1/config`: the session's own number and its caller IDs.
    Config,
    /// `PUT /v1/calls/{call}`: make the call. The same id makes no second one.
    Start {
        /// The id.
        call: String,
        /// E.164, with its "+".
        to: String,
        /// The caller ID's key; `None` for the session's default.
        caller_id: Option<String>,
    },
    /// `GET /v1/calls/{call}`: the state, once it is a later one than `since`, or after `wait`.
    Poll {
        /// The id.
        call: String,
        /// The last state that was seen.
        since: u32,
        /// How long the proxy may wait for news; zero for an answer at once.
        wait: Duration,
    },
    /// `POST /v1/calls/{call}/claim`: this phone answers, or has answered, the provider's call.
    Claim {
        /// The id.
        call: String,
        /// SHA-256 of the SIP Call-ID in hex, where the call is answered here.
        sip_call_id_sha256: Option<String>,
    },
    /// `DELETE /v1/calls/{call}`: the call is not wanted any more. Counts for a call that the proxy has not seen
    /// yet too.
    Cancel {
        /// The id.
        call: String,
    },
}

impl fmt::Debug for ProxyCommand {
    /// Without telephone numbers, which do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("Config"),
            Self::Start { call, .. } => write!(f, "Start({call})"),
            Self::Poll { call, since, .. } => write!(f, "Poll({call}, {since})"),
            Self::Claim { call, .. } => write!(f, "Claim({call})"),
            Self::Cancel { call } => write!(f, "Cancel({call})"),
        }
    }
}

/// What the proxy answered. Whatever was not understood is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyReply {
    /// HTTP status.
    pub status: u16,
    /// `code` of a problem (RFC 9457).
    pub code: Option<String>,
    /// When to try again: `retry_after_s` of a problem, else `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The call, where the answer describes one.
    pub call: Option<ProxyCall>,
    /// The answer to [`ProxyCommand::Config`].
    pub config: Option<ProxyConfig>,
}

/// Where a call stands at the proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyCall {
    /// The proxy's word for it: `ringing_client`, `bridging`, ...
    pub state: String,
    /// Grows with each change.
    pub seq: u32,
    /// The provider has been seen to be connected to the phone that claims the call.
    pub confirmed: bool,
    /// Nothing more is to come.
    pub ended: bool,
    /// Why it ended: `busy`, `no_answer`, ...
    pub reason: Option<String>,
    /// The provider's call to this phone.
    pub expect: Option<Expected>,
    /// How long the provider lets this phone ring.
    pub ring_timeout: Option<Duration>,
    /// How long the confirmation may take after the answer.
    pub confirm_timeout: Option<Duration>,
    /// The longest call that the proxy's operator allows.
    pub max_duration: Option<Duration>,
}

/// How the provider's call to this phone looks. `Debug` shows no number.
#[derive(Clone, PartialEq, Eq)]
pub struct Expected {
    /// The calling number.
    pub from: String,
    /// The called number: that of this phone.
    pub to: String,
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expected")
    }
}

/// What the proxy says of the session. `Debug` shows no number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The number of the session's own phone.
    pub number: String,
    /// The key that counts where a call names none.
    pub default_caller_id: Option<String>,
    /// Caller IDs: key, and the number that the provider's call to this phone will show.
    pub caller_ids: Vec<(String, String)>,
}

impl fmt::Debug for ProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyConfig")
    }
}

impl ProxyConfig {
    /// What a call with this caller ID will look like here.
    #[must_use]
    pub fn expected(&self, caller_id: Option<&str>) -> Option<Expected> {
        let key = caller_id.or(self.default_caller_id.as_deref())?;
        let (_, from) = self.caller_ids.iter().find(|(known, _)| known == key)?;
        Some(Expected { from: from.clone(), to: self.number.clone() })
    }
}

/// Why there is no answer of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyFailure {
    /// The request failed on its way there or back: whether it arrived is not known.
    Network,
    /// The same, after waiting for as long as it is worth.
    Timeout,
    /// It was not sent: the application's headers cannot be had or used.
    NotSent(Error),
}

/// What a refusal of the proxy means for the application.
#[must_use]
pub fn refusal(reply: &ProxyReply) -> Error {
    let code = reply.code.as_deref().unwrap_or_default();
    let (kind, message) = match (code, reply.status) {
        ("invalid_destination", _) => {
            (ErrorCode::InvalidDestination, "The number cannot be called, the proxy or the provider says")
        }
        ("emergency_unsupported", _) => {
            (ErrorCode::ProxyDenied, "Emergency numbers cannot be called this way")
        }
        ("destination_denied", _) => (ErrorCode::ProxyDenied, "The proxy does not allow this destination"),
        ("caller_id_denied", _) => (ErrorCode::ProxyDenied, "The proxy does not allow this caller ID"),
        ("origin_denied", _) => (ErrorCode::ProxyDenied, "The proxy does not serve pages of this origin"),
        ("call_in_progress", _) => (ErrorCode::AlreadyDialing, "Another call of this number is in progress"),
        ("cancelled", _) => (ErrorCode::Aborted, "The call was cancelled"),
        ("budget_exhausted", _) => (ErrorCode::ProxyRateLimited, "The proxy's budget for calls is used up"),
        ("provider_busy", _) => (ErrorCode::ProviderError, "The provider has too much to do"),
        ("provider_auth", _) => (ErrorCode::ProviderError, "The provider refuses the proxy's account"),
        ("provider_credit", _) => (ErrorCode::ProviderError, "The proxy's account has no credit left"),
        ("provider_config", _) => (ErrorCode::ProviderError, "The proxy's account is not set up for this"),
        _ if code.starts_with("provider_") => (ErrorCode::ProviderError, "The provider failed"),
        (_, 401) => (ErrorCode::ProxyDenied, "The proxy does not accept this session"),
        (_, 402 | 403) => (ErrorCode::ProxyDenied, "The proxy refuses this call"),
        (_, 429) => (ErrorCode::ProxyRateLimited, "The proxy allows no more calls now"),
        _ => (ErrorCode::ProxyError, "The proxy failed"),
    };
    let hint = match code {
        "emergency_unsupported" => Some("Use a telephone for emergency calls."),
        "destination_denied" => {
            Some("Ask who runs the call proxy which countries and numbers may be called.")
        }
        "caller_id_denied" => Some("Let `callerId` be a key that the call proxy knows for this user."),
        "call_in_progress" => {
            Some("The end of the last call may not have been heard of yet: try again in some seconds.")
        }
        _ => None,
    };
    // A code that this version does not know may help whoever reads it; it comes from outside.
    let code = printable(code);
    let known = if code.is_empty() { digits(reply.status) } else { code };
    let error = Error::new(kind, concat(&[message, " (", &known, ")"]));
    match (reply.retry_after, hint) {
        (Some(after), _) => {
            error.with_hint(concat(&["Try again in ", &digits(after.as_secs()), " seconds."]))
        }
        (None, Some(hint)) => error.with_hint(hint),
        (None, None) => error,
    }
}

/// What the end of a call at the proxy means; `None` for one that was answered and hung up.
#[must_use]
pub fn ending(reason: Option<&str>) -> Option<Error> {
    let (code, message) = match reason {
        None | Some("completed") => return None,
        Some("busy") => (ErrorCode::Busy, "The other side is busy"),
        Some("no_answer") => (ErrorCode::NoAnswer, "Nobody answered"),
        Some("cancelled") => (ErrorCode::Aborted, "The call was cancelled"),
        Some("client_unreachable") => (ErrorCode::BridgeMissing, "The provider could not reach this phone"),
        Some("unverified") => (ErrorCode::UnverifiedBridge, "The call could not be verified"),
        Some("failed") => (ErrorCode::ProviderError, "The provider could not reach the number"),
        Some(_) => (ErrorCode::ProviderError, "The provider failed"),
    };
    Some(Error::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NUMBER: &str = "+46701234567";

    fn problem(status: u16, code: &str) -> ProxyReply {
        let code = (!code.is_empty()).then(|| code.to_owned());
        ProxyReply { status, code, ..ProxyReply::default() }
    }

    #[test]
    fn no_number_is_in_debug() {
        let expected = Expected { from: NUMBER.into(), to: NUMBER.into() };
        let config = ProxyConfig {
            number: NUMBER.into(),
            default_caller_id: Some("main".into()),
            caller_ids: vec![("main".into(), NUMBER.into())],
        };
        let call = ProxyCall { expect: Some(expected), ..ProxyCall::default() };
        let reply = ProxyReply { call: Some(call), config: Some(config), ..ProxyReply::default() };
        let start = ProxyCommand::Start { call: "uuid".into(), to: NUMBER.into(), caller_id: None };
        for text in [format!("{reply:?}"), format!("{start:?}")] {
            assert!(!text.contains("701234567"), "{text}");
        }
    }

    #[test]
    fn the_caller_id_by_its_key() {
        let config = ProxyConfig {
            number: "+1".into(),
            default_caller_id: Some("b".into()),
            caller_ids: vec![("a".into(), "+2".into()), ("b".into(), "+3".into())],
        };
        let from =
            |config: &ProxyConfig, key| config.expected(key).map(|expected| (expected.from, expected.to));
        assert_eq!(from(&config, Some("a")), Some(("+2".into(), "+1".into())));
        assert_eq!(from(&config, None), Some(("+3".into(), "+1".into())));
        assert_eq!(from(&config, Some("c")), None);
        assert_eq!(from(&ProxyConfig { default_caller_id: None, ..config }, None), None);
    }

    #[test]
    fn a_refusal_shows_its_code_and_nothing_that_breaks_a_line() {
        let error = refusal(&problem(403, "destination_denied"));
        assert_eq!(error.code, ErrorCode::ProxyDenied);
        assert!(error.message.contains("destination_denied"));
        assert!(refusal(&problem(418, "")).message.contains("418"));
        assert!(!refusal(&problem(500, "a\r\nb")).message.contains('\n'));
        assert!(refusal(&problem(403, "emergency_unsupported")).hint.is_some());
        let busy = ProxyReply { retry_after: Some(Duration::from_secs(7)), ..problem(429, "rate_limited") };
        let error = refusal(&busy);
        assert_eq!(error.code, ErrorCode::ProxyRateLimited);
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains('7')));
    }

    #[test]
    fn every_reason_has_its_meaning() {
        let code = |reason| ending(reason).map(|error| error.code);
        assert_eq!(code(None), None);
        assert_eq!(code(Some("completed")), None);
        assert_eq!(code(Some("busy")), Some(ErrorCode::Busy));
        assert_eq!(code(Some("no_answer")), Some(ErrorCode::NoAnswer));
        assert_eq!(code(Some("cancelled")), Some(ErrorCode::Aborted));
        assert_eq!(code(Some("client_unreachable")), Some(ErrorCode::BridgeMissing));
        assert_eq!(code(Some("unverified")), Some(ErrorCode::UnverifiedBridge));
        for reason in ["failed", "provider_error", "provider_unknown", "new"] {
            assert_eq!(code(Some(reason)), Some(ErrorCode::ProviderError), "{reason}");
        }
    }
}
