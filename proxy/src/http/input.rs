//! What comes in, refused with a problem where it isn't as it should be.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use uuid::{Uuid, Variant, Version};

use super::{
    Shared,
    problem::{Code, Problem},
};
use crate::auth::Session;

/// No request of a browser is longer.
const LONGEST: usize = 2 * 1024;
/// Those of 46elks hold the call's whole history.
const LONGEST_HOOK: usize = 16 * 1024;
/// How long a body may take.
const BODY: Duration = Duration::from_secs(5);

/// A JSON body: of that content type, short, and without unknown fields where its type says so.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !has_type(request.headers(), "application/json") {
            return Err(Problem::from(Code::BadRequest).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = read(request, LONGEST).await?;
        serde_json::from_slice(&body).map(Self).map_err(|_| Code::BadRequest.into())
    }
}

/// The fields of a webhook.
pub(crate) struct FormBody(pub(crate) HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for FormBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let body = read(request, LONGEST_HOOK).await?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

async fn read(request: Request, longest: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::from(Code::BadRequest).with_status(StatusCode::PAYLOAD_TOO_LARGE);
    let body = Limited::new(request.into_body(), longest).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Code::BadRequest.into()),
        Err(_) => Err(Code::RequestTimeout.into()),
    }
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let found = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = found.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted))
}

/// The id in the path: a random UUID, as the client makes it.
pub(crate) struct CallId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for CallId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| Problem::from(Code::BadRequest))?;
        call_id(&id).map(Self)
    }
}

/// The id as a header (draft-ietf-httpapi-idempotency-key-header): a quoted string, though the bare id is taken too.
pub(crate) struct IdempotencyKey(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok());
        let key = key.ok_or(Problem::from(Code::BadRequest))?.trim();
        let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        call_id(bare).map(Self)
    }
}

fn call_id(text: &str) -> Result<Uuid, Problem> {
    let id = Uuid::try_parse(text).ok().filter(|id| {
        let random = id.get_version() == Some(Version::Random) && id.get_variant() == Variant::RFC4122;
        // Not the other spellings that a UUID may have.
        random && id.hyphenated().to_string().eq_ignore_ascii_case(text)
    });
    id.ok_or(Code::BadRequest.into())
}

/// Who asks.
pub(crate) struct Caller(pub(crate) Session);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let session = state.auth.authenticate(&parts.headers).await;
        session.map(Self).map_err(|error| {
            tracing::info!(code = error.code, reason = error.reason, "not authenticated");
            Problem::from(Code::from_name(error.code).unwrap_or(Code::Unauthenticated))
        })
    }
}
