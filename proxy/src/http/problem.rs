use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::{
    calls::{self, Refusal},
    store::Unavailable,
    upstream,
};

/// Why something wasn't done: `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: the code says it.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// For people.
    #[schema(example = "This destination is not allowed")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 403, minimum = 400, maximum = 599)]
    status: u16,
    /// For programs.
    code: Code,
    /// Not to be tried again before, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// What a program can tell problems apart by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        // The derive doesn't see a name that comes from a macro.
        impl PartialSchema for Code {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some([$($text,)*]))
                    .description(Some("What a program can tell problems apart by."))
                    .into()
            }
        }

        impl ToSchema for Code {}

        impl Code {
            /// As it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// From how it is written.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request can't be understood.
    BadRequest = "bad_request", BAD_REQUEST, "The request is not as it should be";
    /// No token, or none that holds.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid token is needed";
    /// The page is not on the list.
    OriginDenied = "origin_denied", FORBIDDEN, "This origin is not allowed";
    /// The caller ID is not the session's.
    CallerIdDenied = "caller_id_denied", FORBIDDEN, "This caller ID is not allowed";
    /// The destination is not allowed.
    DestinationDenied = "destination_denied", FORBIDDEN, "This destination is not allowed";
    /// Emergency numbers can't be called this way.
    EmergencyUnsupported = "emergency_unsupported", FORBIDDEN, "Emergency numbers cannot be called from here";
    /// There is no such thing.
    NotFound = "not_found", NOT_FOUND, "There is no such thing here";
    /// Not that way.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "This method is not allowed here";
    /// The request took too long to come.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request took too long";
    /// The number has another call.
    CallInProgress = "call_in_progress", CONFLICT, "This number has another call";
    /// The call was cancelled before it was asked for.
    Cancelled = "cancelled", CONFLICT, "This call was cancelled";
    /// The call is too old to be asked for.
    Expired = "expired", GONE, "This call is too old";
    /// Not a number that can be called.
    InvalidDestination = "invalid_destination", UNPROCESSABLE_ENTITY, "This is no number that can be called";
    /// The id has been used for something else.
    IdempotencyMismatch = "idempotency_mismatch", UNPROCESSABLE_ENTITY, "This id was used for another call";
    /// Too many calls.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many calls";
    /// The day's minutes or money are used up.
    BudgetExhausted = "budget_exhausted", TOO_MANY_REQUESTS, "The day's budget is used up";
    /// A defect of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something went wrong here";
    /// 46elks doesn't take our credentials.
    ProviderAuth = "provider_auth", BAD_GATEWAY, "The provider does not accept the proxy";
    /// 46elks doesn't take our request.
    ProviderConfig = "provider_config", BAD_GATEWAY, "The proxy is not set up for this call";
    /// 46elks' answer can't be used.
    ProviderError = "provider_error", BAD_GATEWAY, "The provider failed";
    /// The account is empty.
    ProviderCredit = "provider_credit", SERVICE_UNAVAILABLE, "The provider's account has no credit";
    /// 46elks has too much to do.
    ProviderBusy = "provider_busy", SERVICE_UNAVAILABLE, "The provider is busy";
    /// The operator stopped all calls.
    Disabled = "disabled", SERVICE_UNAVAILABLE, "Calls are switched off";
    /// The store is away, or the proxy is about to stop.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available now";
}

/// A problem on its way to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// The same code with another status: several statuses share `bad_request`.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn retry_after(self, seconds: Option<u64>) -> Self {
        Self { retry_after_s: seconds, ..self }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        let retry_after_s = matches!(code, Code::Unavailable).then_some(1);
        Self { code, status: code.status(), retry_after_s }
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        tracing::error!(store = %unavailable, kind = "store", "the store is unavailable");
        Code::Unavailable.into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            calls::Code::InvalidDestination => Code::InvalidDestination,
            calls::Code::ProviderAuth => Code::ProviderAuth,
            calls::Code::ProviderConfig => Code::ProviderConfig,
            calls::Code::ProviderCredit => Code::ProviderCredit,
            calls::Code::ProviderBusy => Code::ProviderBusy,
            calls::Code::ProviderError => Code::ProviderError,
        };
        let busy = (code == Code::ProviderBusy).then_some(upstream::BUSY.as_secs());
        Self::from(code).retry_after(refusal.retry_after_s.or(busy))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.code.title(),
            status: self.status.as_u16(),
            code: self.code,
            retry_after_s: self.retry_after_s,
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
