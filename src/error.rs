//! The errors that reach JavaScript: a stable code, a message that is safe to show, and a hint.

use std::borrow::Cow;

use crate::text::{concat, digits, printable, split_once};

/// Stable, machine-readable reason. The text form ([`ErrorCode::as_str`]) is the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// An option has a value that cannot be used; the message names the field.
    InvalidConfig,
    /// The destination is not one that can be called.
    InvalidDestination,
    /// `configure` has not been given what this needs.
    NotConfigured,
    /// There is no connection to a SIP server.
    NotConnected,
    /// Another dial is in progress.
    AlreadyDialing,
    /// The application aborted it.
    Aborted,
    /// It took longer than allowed.
    Timeout,
    /// The WebSocket failed or was refused.
    Transport,
    /// The server did not accept the credentials.
    AuthFailed,
    /// The server refused the registration.
    RegistrationFailed,
    /// The user or the browser refused the microphone.
    MediaDenied,
    /// There is no usable microphone, or the media could not be agreed.
    MediaUnavailable,
    /// No media path to the other side could be found.
    IceFailed,
    /// 486, 600.
    Busy,
    /// 603, 607.
    Declined,
    /// 408, 480, or nobody answered in time.
    NoAnswer,
    /// 404, 410, 484, 604.
    NotFound,
    /// 403 and other refusals by policy.
    Forbidden,
    /// The provider has no way to make this call.
    UnsupportedByProvider,
    /// 5xx and answers that make no sense.
    ServerError,
    /// 3xx: the callee is to be called elsewhere.
    Redirected,
    /// 488, 606, 415: the other side cannot take the media that was offered.
    NotAcceptable,
    /// `rest-originate` needs a proxy URL.
    ProxyRequired,
    /// The call proxy could not be reached, or what it was asked was lost.
    ProxyUnreachable,
    /// The call proxy does not accept the session, or does not allow the call.
    ProxyDenied,
    /// The call proxy's limits or budget allow no more calls now.
    ProxyRateLimited,
    /// The call proxy failed, or answered what makes no sense.
    ProxyError,
    /// The provider refused or failed what the proxy asked for.
    ProviderError,
    /// The provider's call to this phone did not come.
    BridgeMissing,
    /// A call that looked like the provider's was answered, and nothing proved that it was.
    UnverifiedBridge,
    /// The call has ended.
    Ended,
    /// What was asked for does not fit the state of the call.
    InvalidState,
    /// What was kept of calls cannot be used: it is damaged, too old, or of another account.
    InvalidRecord,
    /// The module cannot go on; make a new instance.
    Fatal,
}

impl ErrorCode {
    /// The code as JavaScript sees it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::InvalidDestination => "invalid_destination",
            Self::NotConfigured => "not_configured",
            Self::NotConnected => "not_connected",
            Self::AlreadyDialing => "already_dialing",
            Self::Aborted => "aborted",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::AuthFailed => "auth_failed",
            Self::RegistrationFailed => "registration_failed",
            Self::MediaDenied => "media_denied",
            Self::MediaUnavailable => "media_unavailable",
            Self::IceFailed => "ice_failed",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::NoAnswer => "no_answer",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::UnsupportedByProvider => "unsupported_by_provider",
            Self::ServerError => "server_error",
            Self::Redirected => "redirected",
            Self::NotAcceptable => "not_acceptable",
            Self::ProxyRequired => "proxy_required",
            Self::ProxyUnreachable => "proxy_unreachable",
            Self::ProxyDenied => "proxy_denied",
            Self::ProxyRateLimited => "proxy_rate_limited",
            Self::ProxyError => "proxy_error",
            Self::ProviderError => "provider_error",
            Self::BridgeMissing => "bridge_missing",
            Self::UnverifiedBridge => "unverified_bridge",
            Self::Ended => "ended",
            Self::InvalidState => "invalid_state",
            Self::InvalidRecord => "invalid_record",
            Self::Fatal => "fatal",
        }
    }

    /// Whether the same request may succeed later without a change of configuration.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::NotConnected
                | Self::AlreadyDialing
                | Self::Timeout
                | Self::Transport
                | Self::IceFailed
                | Self::Busy
                | Self::NoAnswer
                | Self::ServerError
                | Self::ProxyUnreachable
                | Self::ProxyRateLimited
                | Self::ProxyError
                | Self::ProviderError
                | Self::BridgeMissing
                | Self::UnverifiedBridge
        )
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::NotConfigured => "Give `servers` and `uri` to the constructor or to configure().",
            Self::NotConnected => "Call connect() and wait for it before dialling.",
            Self::AlreadyDialing => "Wait for the running dial, or abort it with its AbortSignal.",
            Self::Transport => {
                "Check the server's address and that it speaks the WebSocket subprotocol \"sip\"."
            }
            Self::AuthFailed => "Check the user name and the SIP password.",
            Self::RegistrationFailed => "Ask the provider whether this account may register from a browser.",
            Self::MediaDenied => "Allow the microphone for this page in the browser's site settings.",
            Self::MediaUnavailable => "Check that a microphone is connected and not used by another program.",
            Self::IceFailed => "The network blocks media; add a TURN server to iceServers.",
            Self::InvalidDestination => {
                "Use +<country code><number>, sip:, sips: or tel:, or a name or an extension of your domain; set defaultCountry for national numbers."
            }
            Self::ProxyRequired => {
                "Set proxyUrl to your call proxy; API credentials must stay on the server."
            }
            Self::ProxyUnreachable => {
                "Check proxyUrl, that the proxy runs, and that it allows this page's origin."
            }
            Self::ProxyDenied => "Check the session in proxyHeaders and what the proxy allows it.",
            Self::ProxyRateLimited => "Wait before the next call.",
            Self::ProxyError | Self::ProviderError => {
                "Try again; if the error persists, tell the operator of the call proxy."
            }
            Self::BridgeMissing => {
                "Check that this phone is registered with the number that the proxy calls."
            }
            Self::UnverifiedBridge => {
                "Nothing was heard or sent. If the error persists, tell the operator of the call proxy: its webhooks may not arrive."
            }
            Self::Busy | Self::NoAnswer => "Try again later.",
            Self::NotFound => "Check the number or the address.",
            Self::Forbidden => "Ask the provider what this account may do.",
            Self::NotAcceptable => {
                "Both sides need audio by DTLS-SRTP with ICE, and a codec in common; see the option codecs."
            }
            Self::ServerError => "Try again; if the error persists, tell the operator of the server.",
            Self::Fatal => "Make a new DialStrategy.",
            _ => return None,
        })
    }
}

/// An error with a stable code. The message is safe to show and to log: it never holds a secret.
///
/// Boxed, since almost every function can return one: a thin pointer moves and drops in a few bytes of wasm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<ErrorParts>);

/// What an [`Error`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorParts {
    /// Stable reason.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: Cow<'static, str>,
    /// The SIP status that caused it (RFC 3261, section 21).
    pub sip_status: Option<u16>,
    /// Seconds after which the server asks to try again (RFC 3261, section 20.33).
    pub retry_after: Option<u32>,
    /// What to do about it; by default that of the code.
    pub hint: Option<Cow<'static, str>>,
}

impl core::ops::Deref for Error {
    type Target = ErrorParts;

    fn deref(&self) -> &ErrorParts {
        &self.0
    }
}

impl core::ops::DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorParts {
        &mut self.0
    }
}

impl Error {
    /// An error with the code's own hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::build(code, message.into())
    }

    #[cold]
    #[inline(never)]
    fn build(code: ErrorCode, message: Cow<'static, str>) -> Self {
        let hint = code.hint().map(Cow::Borrowed);
        Self(Box::new(ErrorParts { code, message, sip_status: None, retry_after: None, hint }))
    }

    /// The same error with another hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the SIP status that it stands for.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.sip_status = Some(status);
        self
    }

    /// `invalid_config` that names the field.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn invalid_config(field: &str, problem: &str) -> Self {
        Self::new(ErrorCode::InvalidConfig, concat(&[field, ": ", problem]))
    }

    /// The error that a final SIP failure response (3xx to 6xx) to an INVITE or a REGISTER stands for.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn from_status(status: u16, reason: &str) -> Self {
        let code = match status {
            300..=399 => ErrorCode::Redirected,
            401 | 407 => ErrorCode::AuthFailed,
            404 | 410 | 414 | 416 | 484 | 485 | 604 => ErrorCode::NotFound,
            408 | 480 => ErrorCode::NoAnswer,
            486 | 600 => ErrorCode::Busy,
            603 | 607 => ErrorCode::Declined,
            415 | 488 | 606 => ErrorCode::NotAcceptable,
            402 | 403 | 405 | 406 | 412 | 417 | 421..=439 => ErrorCode::Forbidden,
            // 400, 482, 483, 487, 491 and the rest: not a refusal by policy, but something that went wrong.
            _ => ErrorCode::ServerError,
        };
        let summary = if status == 433 { "Anonymous callers are refused" } else { summary(code) };
        // The phrase comes from the peer: keep it short and printable, it ends up in user interfaces.
        let phrase = printable(reason);
        let space = if phrase.is_empty() { "" } else { " " };
        let message = concat(&[summary, " (", &digits(status), space, &phrase, ")"]);
        Self::new(code, message).with_status(status)
    }

    /// Takes the cause of Q.850 into account that a failure response to an INVITE gives in Reason (RFC 3326). It counts
    /// where the status leaves open what has happened (400, 403, 408, 480, 5xx and the like): gateways and PBXs use one status
    /// for many causes (RFC 3398, section 7.2.4.1).
    pub fn learn_cause(&mut self, cause: Option<u16>) {
        let open = matches!(self.code, ErrorCode::Forbidden | ErrorCode::NoAnswer | ErrorCode::ServerError);
        let code = match cause {
            Some(1..=3 | 22 | 28) => ErrorCode::NotFound,
            Some(17) => ErrorCode::Busy,
            Some(18..=20) => ErrorCode::NoAnswer,
            Some(21) => ErrorCode::Declined,
            Some(65 | 70 | 79 | 88) => ErrorCode::NotAcceptable,
            _ => return,
        };
        if open && code != self.code {
            let told = split_once(&self.message, b'(').map_or("", |(_, told)| told).to_owned();
            self.code = code;
            self.message = concat(&[summary(code), " (", &told]).into();
            if self.retry_after.is_none() {
                self.hint = code.hint().map(Cow::Borrowed);
            }
        }
    }

    /// Whether the same request may succeed later without a change of configuration.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.code.retryable()
    }
}

const fn summary(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Redirected => "The call was redirected to another address",
        ErrorCode::AuthFailed => "The server did not accept the credentials",
        ErrorCode::NotFound => "Nobody has this number or address",
        ErrorCode::NoAnswer => "Nobody answered",
        ErrorCode::Busy => "The other side is busy",
        ErrorCode::Declined => "The other side declined",
        ErrorCode::NotAcceptable => "The other side cannot accept this kind of call",
        ErrorCode::Forbidden => "The server refused the request",
        _ => "The server failed",
    }
}
