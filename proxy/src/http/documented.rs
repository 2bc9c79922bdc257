//! The parts that the descriptions of the endpoints share.

use std::collections::BTreeMap;

use utoipa::{
    IntoParams, IntoResponses,
    openapi::{Ref, RefOr, Response, content::ContentBuilder, response::ResponseBuilder},
};
use uuid::Uuid;

/// A call's id in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes the parameter")]
pub(crate) struct CallPath {
    /// The call's id: a random UUID (version 4), made by the client.
    #[param(
        example = "8e03978e-40d5-43e8-bc93-6894a57f9324",
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    )]
    call_id: Uuid,
}

/// A call's id in a header.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes the parameter")]
pub(crate) struct KeyHeader {
    /// The call's id in quotes: a random UUID (version 4), made by the client.
    #[param(
        rename = "Idempotency-Key",
        example = "\"8e03978e-40d5-43e8-bc93-6894a57f9325\"",
        pattern = "^\"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\"$"
    )]
    key: String,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal: $codes:literal,)* })*) => {
        $($(#[$doc])* pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([$((stringify!($status).to_owned(), problem($codes)),)*])
            }
        })*
    };
}

problems! {
    /// Of a request for a call.
    StartProblems {
        400: "bad_request",
        401: "unauthenticated",
        403: "origin_denied, caller_id_denied, destination_denied, emergency_unsupported",
        408: "request_timeout",
        409: "call_in_progress, cancelled",
        410: "expired",
        413: "bad_request",
        415: "bad_request",
        422: "invalid_destination, idempotency_mismatch",
        429: "rate_limited, budget_exhausted",
        502: "provider_auth, provider_config, provider_error",
        503: "provider_credit, provider_busy, disabled, unavailable",
    }
    /// Of a question about a call.
    ReadProblems {
        400: "bad_request",
        401: "unauthenticated",
        403: "origin_denied",
        404: "not_found",
        410: "expired",
        503: "unavailable",
    }
    /// Of a claim.
    ClaimProblems {
        400: "bad_request",
        401: "unauthenticated",
        403: "origin_denied",
        404: "not_found",
        408: "request_timeout",
        409: "cancelled: it is over, or about to be",
        410: "expired",
        413: "bad_request",
        415: "bad_request",
        503: "unavailable",
    }
    /// Of a cancellation.
    CancelProblems {
        400: "bad_request",
        401: "unauthenticated",
        403: "origin_denied",
        429: "rate_limited: too many calls that nobody knows",
        503: "unavailable",
    }
    /// Of a question about the session.
    SessionProblems {
        401: "unauthenticated",
        403: "origin_denied",
        404: "not_found: not set up here",
        503: "unavailable",
    }
    /// Of a webhook.
    HookProblems {
        400: "bad_request",
        404: "not_found, whatever is wrong with the source or the secret",
        408: "request_timeout",
        413: "bad_request",
        503: "unavailable",
    }
    /// Of the readiness.
    ReadyProblems {
        503: "unavailable: the store is away, or the proxy is about to stop",
    }
}

fn problem(codes: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
    ResponseBuilder::new().description(codes).content("application/problem+json", content).build().into()
}
