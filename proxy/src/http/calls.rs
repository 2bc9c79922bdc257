//! The calls as the browser sees them.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Shared,
    documented::{CallPath, CancelProblems, ClaimProblems, KeyHeader, ReadProblems, StartProblems},
    input::{CallId, Caller, IdempotencyKey, JsonBody},
    problem::{Code, Problem},
};
use crate::{
    auth::Session,
    calls::{self, Event, Millis, Plan, Reason, Record, Timing},
    clock,
    numbers::E164,
    store::Created,
    telemetry::Alarm,
    tokens,
};

/// How long a poll is taken as the sign of life of the ones after it.
const SEEN: u64 = 5_000;
/// The longest wait that can be asked for, in seconds; the configuration may grant less.
const LONGEST_POLL: u64 = 25;
/// The largest whole number that JavaScript has.
const LARGEST: u64 = (1 << 53) - 1;
/// The longest that a browser waits for what came of its request; it is answered before it gives up.
const PATIENCE: Duration = Duration::from_millis(9_000);

/// What to dial.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dial {
    /// The number to call, in E.164 with its +.
    #[schema(example = "+46701234567", pattern = r"^\+[1-9][0-9]{6,14}$")]
    to: String,
    /// The key of the caller ID to show; the session's default one if absent.
    #[schema(example = "main", min_length = 1, max_length = 64)]
    caller_id: Option<String>,
}

/// Which call the client answered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// SHA-256 of the SIP Call-ID of the answered INVITE, in hexadecimal.
    #[schema(
        example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        pattern = "^[0-9a-f]{64}$"
    )]
    sip_call_id_sha256: Option<String>,
}

/// When a poll is to be answered.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Poll {
    /// At once if the call's `seq` is greater.
    #[param(example = 1, minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    since: Option<u64>,
    /// After this many seconds in any case.
    #[param(example = 0, minimum = 0, maximum = 25)]
    wait: Option<u64>,
}

/// A call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallView {
    /// Its id, made by the client.
    call_id: Uuid,
    /// Where it is.
    state: calls::State,
    /// Grows with every change of this object.
    seq: u64,
    /// The client's answered call is this one: it may open the microphone.
    confirmed: bool,
    /// Nothing changes any more.
    ended: bool,
    /// Why it ended.
    #[schema(required)]
    reason: Option<Reason>,
    /// How long the far end was connected, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<u64>,
    /// What the INVITE of its bridge will show; absent if it was never dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Expect>,
    /// How long the browser's leg may ring, in seconds.
    ring_timeout_s: u64,
    /// How long to wait for `confirmed` after answering, in seconds.
    confirm_timeout_s: u64,
    /// How long it may take, in seconds.
    max_duration_s: u64,
    /// After this no INVITE belongs to it.
    #[schema(format = DateTime, example = "2026-01-01T12:00:25Z")]
    expires_at: String,
}

/// What the INVITE of a bridge shows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Expect {
    /// In From.
    #[schema(example = "+46766860000")]
    from: String,
    /// In To.
    #[schema(example = "+4600100100")]
    to: String,
}

impl CallView {
    fn new(record: &Record, shared: &Shared) -> Self {
        let timing = &shared.exchange.timing;
        Self {
            call_id: record.call_id,
            state: record.state,
            seq: record.seq,
            confirmed: record.confirmed(),
            ended: record.ended(),
            reason: record.outcome(),
            duration_s: record.duration_s,
            expect: record
                .plan
                .as_ref()
                .map(|plan| Expect { from: plan.from.clone(), to: plan.number.clone() }),
            ring_timeout_s: timing.ring.div_ceil(1_000),
            confirm_timeout_s: timing.confirm.div_ceil(1_000),
            max_duration_s: timing.max_duration / 1_000,
            expires_at: expires_at(record, timing),
        }
    }
}

fn expires_at(record: &Record, timing: &Timing) -> String {
    let at = i64::try_from(record.created_at.saturating_add(timing.ring).saturating_add(timing.grace));
    at.ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX).to_string()
}

/// Starts a call, once.
///
/// The id is the client's own and makes the request repeatable: asked again with the same body, this tells of the
/// same call and dials nothing. A call of which 46elks didn't answer in time is `accepted`; it ends as
/// `provider_unknown` unless 46elks calls back.
#[utoipa::path(
    put, path = "/v1/calls/{call_id}", tag = "calls", operation_id = "startCall",
    params(CallPath),
    request_body = Dial,
    responses(
        (status = 202, description = "It is, or was, dialled", body = CallView),
        StartProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn put(
    State(shared): State<Shared>,
    Caller(session): Caller,
    CallId(id): CallId,
    JsonBody(dial): JsonBody<Dial>,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    start(&shared, &session, id, dial).await
}

/// Starts a call, once: as `PUT /v1/calls/{call_id}`, with the id in a header.
#[utoipa::path(
    post, path = "/v1/calls", tag = "calls", operation_id = "startCallByKey",
    params(KeyHeader),
    request_body = Dial,
    responses(
        (status = 202, description = "It is, or was, dialled", body = CallView),
        StartProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn post(
    State(shared): State<Shared>,
    Caller(session): Caller,
    IdempotencyKey(id): IdempotencyKey,
    JsonBody(dial): JsonBody<Dial>,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    start(&shared, &session, id, dial).await
}

async fn start(
    shared: &Shared,
    session: &Session,
    id: Uuid,
    dial: Dial,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    let key = dial.caller_id.unwrap_or_else(|| session.default_caller_id.clone());
    if let Some(known) = shared.exchange.store.get(id).await? {
        return again(shared, session, &known, &dial.to, &key).await;
    }
    let (to, from) = match allowed(shared, session, &dial.to, &key).await {
        Ok(numbers) => numbers,
        Err(problem) => {
            info!(call_id = %id, session = session.hash, code = problem.code().as_str(), "call refused");
            return Err(problem);
        }
    };
    let now = clock::now();
    let plan = Plan {
        to: to.as_str().to_owned(),
        caller_id: key.clone(),
        from: from.as_str().to_owned(),
        number: session.number.as_str().to_owned(),
    };
    let nonce = tokens::nonce().map_err(|_| Problem::from(Code::Internal))?;
    let hooks = shared.exchange.tokens.hook_ids(id, &nonce);
    let record = Record::dialling(id, &session.user, plan, nonce, hooks, now);
    match shared.exchange.start(record).await? {
        Created::New(_) => {
            info!(call_id = %id, session = session.hash, destination = %to, "call accepted");
            answer(shared, id, now).await
        }
        Created::Existing(known) => again(shared, session, &known, &dial.to, &key).await,
        Created::Busy => Err(Code::CallInProgress.into()),
    }
}

/// All checks before anything is dialled, those that cost nothing first.
async fn allowed<'a>(
    shared: &Shared,
    session: &'a Session,
    to: &str,
    key: &str,
) -> Result<(E164, &'a E164), Problem> {
    let to = shared.policy.check(to, session).map_err(|error| named(error.code))?;
    let from = session.caller_ids.get(key).ok_or(Problem::from(Code::CallerIdDenied))?;
    if shared.exchange.stopping.is_cancelled() {
        return Err(Code::Unavailable.into());
    }
    if let Err(limited) = shared.limits.admit(&session.user, &to).await {
        shared.metrics.limited(limited.limit);
        if limited.code == "budget_exhausted" {
            shared.metrics.alarm(Alarm::BudgetExhausted);
        }
        return Err(named(limited.code).retry_after(Some(limited.retry_after_s())));
    }
    Ok((to, from))
}

fn named(code: &str) -> Problem {
    Code::from_name(code).unwrap_or(Code::Internal).into()
}

/// A request whose id is known.
async fn again(
    shared: &Shared,
    session: &Session,
    known: &Record,
    to: &str,
    key: &str,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    if known.user != session.user {
        return Err(Code::IdempotencyMismatch.into());
    }
    let Some(plan) = &known.plan else { return Err(Code::Cancelled.into()) };
    let same = E164::parse(to).is_ok_and(|to| to.as_str() == plan.to) && plan.caller_id == key;
    if !same {
        return Err(Code::IdempotencyMismatch.into());
    }
    if known.expired(clock::now(), &shared.exchange.timing) {
        return Err(Code::Expired.into());
    }
    answer(shared, known.call_id, known.created_at).await
}

/// Joins the request that is under way, and gives its answer.
async fn answer(
    shared: &Shared,
    id: Uuid,
    created_at: Millis,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    // Later than this there is no answer: who sent the request has been killed.
    let total = clock::millis(shared.config.upstream.total_timeout).saturating_add(1_000);
    let left = created_at.saturating_add(total).saturating_sub(clock::now());
    let patience = PATIENCE.min(Duration::from_millis(left));
    let record = shared.exchange.answered(id, patience).await?.ok_or(Problem::from(Code::Expired))?;
    match record.refusal {
        Some(refusal) => Err(refusal.into()),
        None => Ok((StatusCode::ACCEPTED, Json(CallView::new(&record, shared)))),
    }
}

/// Tells how a call is, at once or when it changes.
#[utoipa::path(
    get, path = "/v1/calls/{call_id}", tag = "calls", operation_id = "getCall",
    params(CallPath, Poll),
    responses(
        (status = 200, description = "The call", body = CallView),
        ReadProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn get(
    State(shared): State<Shared>,
    Caller(session): Caller,
    CallId(id): CallId,
    poll: Result<Query<Poll>, QueryRejection>,
) -> Result<Json<CallView>, Problem> {
    let Query(poll) = poll.map_err(|_| Problem::from(Code::BadRequest))?;
    let wait = poll.wait.unwrap_or(0);
    if wait > LONGEST_POLL {
        return Err(Code::BadRequest.into());
    }
    let since = poll.since.unwrap_or(0);
    if since > LARGEST {
        return Err(Code::BadRequest.into());
    }
    let record = own(&shared, &session, id).await?;
    seen(&shared, &record).await?;
    if wait == 0 {
        return Ok(Json(CallView::new(&own(&shared, &session, id).await?, &shared)));
    }
    let enough = |record: &Record| record.seq > since || record.ended();
    let record = shared.exchange.until(id, Duration::from_secs(wait).min(shared.long_poll), enough).await?;
    let record = record.ok_or(Problem::from(Code::NotFound))?;
    seen(&shared, &record).await?;
    Ok(Json(CallView::new(&record, &shared)))
}

async fn own(shared: &Shared, session: &Session, id: Uuid) -> Result<Record, Problem> {
    let record = shared.exchange.store.get(id).await?.filter(|record| record.user == session.user);
    let record = record.ok_or(Problem::from(Code::NotFound))?;
    if record.expired(clock::now(), &shared.exchange.timing) {
        return Err(Code::Expired.into());
    }
    Ok(record)
}

async fn seen(shared: &Shared, record: &Record) -> Result<(), Problem> {
    if !record.ended() && clock::now().saturating_sub(record.seen_at) >= SEEN {
        shared.exchange.apply(record.call_id, Event::Seen).await?;
    }
    Ok(())
}

/// Says that the client answers a call and takes it for this one.
///
/// The far end is dialled only if this and 46elks' own word that the browser's leg was answered come together.
#[utoipa::path(
    post, path = "/v1/calls/{call_id}/claim", tag = "calls", operation_id = "claimCall",
    params(CallPath),
    request_body = Claim,
    responses(
        (status = 204, description = "Noted"),
        ClaimProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn claim(
    State(shared): State<Shared>,
    Caller(session): Caller,
    CallId(id): CallId,
    JsonBody(claim): JsonBody<Claim>,
) -> Result<StatusCode, Problem> {
    let hash = claim.sip_call_id_sha256;
    let hexadecimal =
        |hash: &String| hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hash.as_ref().is_none_or(hexadecimal) {
        return Err(Code::BadRequest.into());
    }
    own(&shared, &session, id).await?;
    let record = shared.exchange.apply(id, Event::Claim { hash }).await?;
    let record = record.ok_or(Problem::from(Code::NotFound))?;
    if record.ended() || record.state == calls::State::Cancelling {
        return Err(Code::Cancelled.into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels a call, in whatever state it is, and also one whose request has not come yet.
#[utoipa::path(
    delete, path = "/v1/calls/{call_id}", tag = "calls", operation_id = "cancelCall",
    params(CallPath),
    responses(
        (status = 202, description = "The call, which is over or about to be", body = CallView),
        CancelProblems,
    ),
    security(("token" = [])),
)]
pub(crate) async fn delete(
    State(shared): State<Shared>,
    Caller(session): Caller,
    CallId(id): CallId,
) -> Result<(StatusCode, Json<CallView>), Problem> {
    let tombstone = Record::tombstone(id, &session.user, clock::now());
    let known = match shared.exchange.store.get(id).await? {
        Some(known) => Some(known),
        None => {
            if let Err(limited) = shared.limits.check_cancel(&session.user) {
                shared.metrics.limited(limited.limit);
                return Err(named(limited.code).retry_after(Some(limited.retry_after_s())));
            }
            match shared.exchange.bury(tombstone.clone()).await? {
                Created::Existing(known) => Some(known),
                Created::New(_) | Created::Busy => None,
            }
        }
    };
    let record = match known {
        // Somebody else's id is as good as unknown.
        Some(known) if known.user == session.user => shared.exchange.apply(id, Event::Cancel).await?,
        _ => None,
    };
    let record = record.unwrap_or(tombstone);
    Ok((StatusCode::ACCEPTED, Json(CallView::new(&record, &shared))))
}
