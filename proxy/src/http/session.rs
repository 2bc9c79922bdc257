//! What the session's user has.

use axum::{Json, extract::State};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    documented::SessionProblems,
    input::Caller,
    problem::{Code, Problem},
};

/// The session's numbers and the proxy's time limits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigView {
    /// The session's own WebRTC number.
    #[schema(example = "+4600100100")]
    number: String,
    /// The key of the caller ID that is shown where a call names none.
    #[schema(example = "main")]
    default_caller_id: String,
    /// The caller IDs to choose from.
    caller_ids: Vec<CallerId>,
    /// How long the browser's leg may ring, in seconds.
    #[schema(example = 20)]
    ring_timeout_s: u64,
    /// How long to wait for `confirmed` after answering, in seconds.
    #[schema(example = 4)]
    confirm_timeout_s: u64,
    /// How long a call may take, in seconds.
    #[schema(example = 3600)]
    max_duration_s: u64,
}

/// A caller ID.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallerId {
    /// Its name in requests.
    #[schema(example = "main")]
    key: String,
    /// What the INVITE of a bridge shows in From.
    #[schema(example = "+46766860000")]
    from: String,
}

/// How the session's user registers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SipView {
    /// SIP over WebSocket.
    #[schema(example = json!(["wss://voip.46elks.com/w1/websocket"]))]
    servers: Vec<String>,
    /// The address of record.
    #[schema(example = "sip:4600100100@voip.46elks.com")]
    uri: String,
    /// The user of the digest.
    #[schema(example = "4600100100")]
    username: String,
    /// Its password: the number's secret, which is no API credential. Never to be stored.
    password: String,
}

/// The session's numbers and the proxy's time limits.
#[utoipa::path(
    get, path = "/v1/config", tag = "session", operation_id = "getConfig",
    responses(
        (status = 200, description = "The session's", body = ConfigView),
        SessionProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn config(State(shared): State<Shared>, Caller(session): Caller) -> Json<ConfigView> {
    let timing = &shared.exchange.timing;
    Json(ConfigView {
        number: session.number.as_str().to_owned(),
        default_caller_id: session.default_caller_id,
        caller_ids: session
            .caller_ids
            .iter()
            .map(|(key, from)| CallerId { key: key.clone(), from: from.as_str().to_owned() })
            .collect(),
        ring_timeout_s: timing.ring.div_ceil(1_000),
        confirm_timeout_s: timing.confirm.div_ceil(1_000),
        max_duration_s: timing.max_duration / 1_000,
    })
}

/// How the session's user registers.
#[utoipa::path(
    get, path = "/v1/sip", tag = "session", operation_id = "getSip",
    responses(
        (status = 200, description = "The session's", body = SipView),
        SessionProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn sip(Caller(session): Caller) -> Result<Json<SipView>, Problem> {
    let account = session.sip.ok_or(Problem::from(Code::NotFound))?;
    Ok(Json(SipView {
        servers: account.servers,
        uri: account.uri,
        username: account.username,
        password: account.password.expose_secret().to_owned(),
    }))
}
