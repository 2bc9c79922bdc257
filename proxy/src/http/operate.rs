//! For the operator: health, metrics and the description of all this.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::header, response::IntoResponse};
use serde::Serialize;
use utoipa::{ToSchema, openapi::OpenApi};

use super::{
    Shared,
    documented::ReadyProblems,
    problem::{Code, Problem},
};
use crate::telemetry::Metrics;

/// How it goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: Health = Health { status: "ok" };

/// Whether the process works at all.
#[utoipa::path(
    get, path = "/health/live", tag = "operation", operation_id = "live",
    responses((status = 200, description = "It does", body = Health)),
)]
pub(crate) async fn live() -> Json<Health> {
    Json(OK)
}

/// Whether calls can be started here.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation", operation_id = "ready",
    responses(
        (status = 200, description = "They can", body = Health),
        ReadyProblems,
    ),
)]
pub(crate) async fn ready(State(shared): State<Shared>) -> Result<Json<Health>, Problem> {
    if shared.exchange.stopping.is_cancelled() || shared.exchange.store.ready().await.is_err() {
        return Err(Code::Unavailable.into());
    }
    Ok(Json(OK))
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "In the OpenMetrics text format", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(crate) async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    // It may have become another day, and a restart begins with what was used before.
    let (seconds, cost) = shared.limits.used_today();
    shared.metrics.budget_used(seconds, cost);
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], shared.metrics.render())
}

/// This description.
pub(crate) async fn openapi(Extension(description): Extension<Arc<OpenApi>>) -> Json<OpenApi> {
    Json(OpenApi::clone(&description))
}
