//! The HTTP face.

mod calls;
mod documented;
mod hooks;
mod input;
mod operate;
mod problem;
mod session;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::problem::Code;
use self::problem::Problem;
use crate::{
    auth::Authenticator,
    config::Config,
    exchange::Exchange,
    limits::Limits,
    origin::{self, Origins},
    policy::Policy,
    telemetry::{Metrics, log_requests},
};

/// Beyond the longest poll, no request takes longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the handlers share.
pub(crate) type Shared = Arc<Parts>;

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) auth: Authenticator,
    pub(crate) policy: Policy,
    pub(crate) limits: Arc<Limits>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) long_poll: Duration,
    /// Every number that is ours, as digits.
    pub(crate) own_digits: BTreeSet<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wasm-softphone-proxy",
        description = "Calls through the 46elks voice API for browsers: every call once, only to where it is \
            allowed, and without a credential in the page."
    ),
    components(schemas(problem::ProblemBody)),
    modifiers(&Token),
    tags(
        (name = "calls", description = "For browsers"),
        (name = "session", description = "For browsers"),
        (name = "hooks", description = "For 46elks only"),
        (name = "operation", description = "For the operator"),
    )
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        scheme.description = Some("A token of the host application, of at most 15 minutes".to_owned());
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// All routes; may be nested under a prefix.
pub(crate) fn router(shared: &Shared) -> Router {
    let (browser, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(calls::put, calls::get, calls::delete))
        .routes(routes!(calls::post))
        .routes(routes!(calls::claim))
        .routes(routes!(session::config))
        .routes(routes!(session::sip))
        .split_for_parts();
    let (others, of_others) = OpenApiRouter::new()
        .routes(routes!(hooks::voice_start))
        .routes(routes!(hooks::whenhangup))
        .routes(routes!(hooks::incoming))
        .routes(routes!(operate::live))
        .routes(routes!(operate::ready))
        .routes(routes!(operate::metrics))
        .split_for_parts();
    description.merge(of_others);
    let browser = browser
        // Before the layer, which answers preflights: to the router they are methods that aren't there.
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Origins::new(&shared.config), origin::guard));
    let longest = shared.long_poll.saturating_add(PATIENCE);
    browser
        .merge(others)
        .route("/openapi.json", axum::routing::get(operate::openapi))
        .layer(Extension(Arc::new(description)))
        .fallback(async || Problem::from(Code::NotFound))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(move |request, next| within(longest, request, next)))
        .layer(CatchPanicLayer::custom(|_| Problem::from(Code::Internal).into_response()))
        .layer(from_fn(careful))
        .layer(from_fn_with_state(Arc::clone(&shared.metrics), count))
        .layer(from_fn_with_state(Arc::clone(&shared.metrics), log_requests))
        .with_state(Arc::clone(shared))
}

async fn method_not_allowed() -> Problem {
    Code::MethodNotAllowed.into()
}

async fn within(longest: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::from(Code::RequestTimeout).into_response(),
    }
}

/// Nothing here is to be kept, framed, sniffed or run.
async fn careful(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Counts the problems by their codes.
async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(code) = response.extensions().get::<Code>() {
        metrics.refused(code.as_str());
    }
    response
}
