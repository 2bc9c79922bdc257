//! The control of the simulator, for tests and curious people; JSON. Pages of this machine may use it.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::LegId;
use super::faults::{self, Armed};
use super::options::Options;
use super::{Elks, domain};
use crate::http::is_loopback_origin;

pub(super) fn router() -> Router<Elks> {
    Router::new()
        .route("/fault", get(list_faults).post(arm).delete(disarm))
        .route("/log", get(log).delete(reset_log))
        .route("/incoming", post(incoming))
        .route("/config", get(show_config).post(configure))
        .layer(middleware::from_fn(cors))
}

/// Pages of other sites are refused; those of this machine may be served from any port.
async fn cors(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if !origin.as_ref().is_none_or(is_loopback_origin) {
        return (StatusCode::FORBIDDEN, "pages of other origins are not served here\n").into_response();
    }
    let preflight = request.method() == Method::OPTIONS;
    let mut response =
        if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if preflight {
            headers
                .insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        }
    }
    response
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    #[serde(alias = "fault")]
    name: String,
    #[serde(alias = "count")]
    times: Option<u32>,
    /// `false` disarms it.
    enabled: Option<bool>,
    #[serde(default)]
    value: Value,
}

async fn list_faults(State(elks): State<Elks>) -> Json<Value> {
    Json(elks.shared.calls().faults.list())
}

/// Arms a fault, once unless `times` says otherwise (0: until disarmed). `none` disarms all.
async fn arm(State(elks): State<Elks>, Json(arm): Json<Arm>) -> Response {
    let mut calls = elks.shared.calls();
    if arm.name == "none" {
        calls.faults.clear();
    } else if let Some(fault) = faults::by_name(&arm.name)
        && arm.enabled == Some(false)
    {
        calls.faults.disarm(fault);
    } else if let Some(fault) = faults::by_name(&arm.name) {
        let times = Some(arm.times.unwrap_or(1)).filter(|times| *times > 0);
        calls.faults.arm(fault, Armed { times, value: arm.value });
    } else {
        return (StatusCode::NOT_FOUND, Json(json!({ "error": "no such fault" }))).into_response();
    }
    Json(calls.faults.list()).into_response()
}

async fn disarm(State(elks): State<Elks>) -> StatusCode {
    elks.shared.calls().faults.clear();
    StatusCode::NO_CONTENT
}

async fn log(State(elks): State<Elks>) -> Json<Value> {
    let shared = &elks.shared;
    let (from, requests, webhooks) = {
        let log = shared.log();
        (log.legs_from, log.requests.clone(), log.webhooks.clone())
    };
    let legs: Vec<_> = shared.calls().legs.iter().skip(from).cloned().collect();
    let billed = |name: &str| legs.iter().filter(|leg| leg.billed && leg.leg == name).count();
    let (a_legs, b_legs) = (billed("a"), billed("b"));
    let wires = shared.wires();
    let legs: Vec<Value> = legs
        .into_iter()
        .map(|leg| {
            let heard = wires.0.get(&LegId(leg.id)).map(|(_, audio)| audio.heard());
            let mut value = json!(leg);
            if let (Value::Object(object), Some(heard)) = (&mut value, heard) {
                object.insert("heard".to_owned(), heard);
            }
            value
        })
        .collect();
    Json(
        json!({ "a_legs": a_legs, "b_legs": b_legs, "legs": legs, "requests": requests, "webhooks": webhooks }),
    )
}

async fn reset_log(State(elks): State<Elks>) -> StatusCode {
    let legs = elks.shared.calls().legs.len();
    let mut log = elks.shared.log();
    log.legs_from = legs;
    log.requests.clear();
    log.webhooks.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    from: String,
    to: String,
}

async fn incoming(State(elks): State<Elks>, Json(call): Json<Incoming>) -> Response {
    let now = elks.shared.clock.now();
    let id = elks.shared.calls().incoming(now, &call.from, &call.to);
    elks.shared.wake.notify_one();
    match id {
        Some(id) => (StatusCode::CREATED, Json(json!({ "id": id }))).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "not one of our numbers" }))).into_response(),
    }
}

async fn show_config(State(elks): State<Elks>) -> Json<Options> {
    Json(elks.shared.calls().options.clone())
}

/// Sets what is named; the rest stays.
async fn configure(State(elks): State<Elks>, Json(changes): Json<Value>) -> Response {
    let new = {
        let mut calls = elks.shared.calls();
        let mut options = json!(calls.options);
        if let (Value::Object(options), Value::Object(changes)) = (&mut options, changes) {
            options.extend(changes);
        }
        match serde_json::from_value::<Options>(options) {
            Ok(options) => calls.options = options,
            Err(error) => {
                let error = json!({ "error": error.to_string() });
                return (StatusCode::BAD_REQUEST, Json(error)).into_response();
            }
        }
        domain(&calls)
    };
    elks.shared.network.configure(new).await;
    show_config(State(elks)).await.into_response()
}
