//! The web server: the demo page, the npm package, `/demo.json`, and SIP over WebSocket (RFC 7118).

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::watch;
use tower_http::services::ServeDir;
use wasm_softphone::sip::wire::MAX_MESSAGE;
use wasm_softphone::url::is_loopback;

use crate::accounts::{ACCOUNTS, aor};
use crate::call_proxy::{self, CallProxy};
use crate::elks::Elks;
use crate::network::{Line, Network};

/// What pages from here may do: run our module, talk to us, and to SIP servers that a user enters.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
     style-src 'self'; img-src 'self' data:; font-src 'self'; media-src 'self' blob: mediastream:; \
     connect-src 'self' wss: ws://127.0.0.1:* ws://localhost:*; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Policy headers of every response. `no-cache` still permits 304s: a rebuilt package shows at the next reload.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("permissions-policy"), "microphone=(self)"),
];

#[derive(Clone)]
struct App {
    network: Network,
    elks: Elks,
    calls: Arc<CallProxy>,
    stop: watch::Receiver<bool>,
}

pub(crate) fn router(
    network: Network,
    elks: Elks,
    calls: Arc<CallProxy>,
    www: &Path,
    pkg: &Path,
    stop: watch::Receiver<bool>,
) -> Router {
    let simulator = elks.router();
    let proxy = calls.router();
    Router::new()
        .route("/demo.json", get(demo))
        .route("/load.json", get(load))
        .route("/sip", get(sip))
        .nest_service("/pkg", ServeDir::new(pkg))
        .fallback_service(ServeDir::new(www))
        .with_state(App { network, elks, calls, stop })
        .merge(simulator)
        .layer(middleware::from_fn(guard))
        // Its own policy guards it, as where people deploy it.
        .nest(call_proxy::PATH, proxy)
}

/// Refuses requests that name another host: a page of some other site whose name was made to resolve to
/// 127.0.0.1 (DNS rebinding) is not from here.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = if host.is_some_and(|host| is_loopback(host_name(host))) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this server answers to loopback names only\n").into_response()
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The host of `host[:port]`, IPv6 without its brackets.
fn host_name(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or("", |(host, _)| host),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// Whether a page of this origin is served from this machine.
pub(crate) fn is_loopback_origin(origin: &HeaderValue) -> bool {
    origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()).is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| is_loopback(host_name(authority.as_str())))
    })
}

/// Ready-made settings, in the words of `DialStrategyConfig`.
#[derive(Serialize)]
struct Demo {
    sip: Vec<DialStrategyConfig>,
    elks: Vec<serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DialStrategyConfig {
    servers: String,
    uri: String,
    display_name: &'static str,
    credentials: SipCredentials,
    ice_servers: [String; 0],
}

#[derive(Serialize)]
struct SipCredentials {
    username: &'static str,
    password: &'static str,
}

async fn demo(State(app): State<App>, headers: HeaderMap) -> Response {
    // The name that the page was reached by: "localhost" and "127.0.0.1" are different origins.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let sip = ACCOUNTS
        .iter()
        .map(|account| DialStrategyConfig {
            servers: format!("ws://{host}/sip"),
            uri: aor(account.user),
            display_name: account.display_name,
            credentials: SipCredentials { username: account.user, password: account.password },
            ice_servers: [],
        })
        .collect();
    let mut response =
        Json(Demo { sip, elks: app.elks.demo(host, |user| app.calls.token(user)) }).into_response();
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    // Browser tests run on a port of their own.
    if let Some(origin) = headers.get(header::ORIGIN).filter(|origin| is_loopback_origin(origin)) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

async fn load(State(app): State<App>) -> Response {
    app.network
        .load()
        .await
        .map_or_else(|| StatusCode::SERVICE_UNAVAILABLE.into_response(), |load| Json(load).into_response())
}

async fn sip(State(app): State<App>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    self::upgrade(app.network, &headers, upgrade, app.stop)
}

/// Connects a WebSocket to a network.
pub(crate) fn upgrade(
    network: Network,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    stop: watch::Receiver<bool>,
) -> Response {
    // WebSockets know no same-origin rule: any page in the world may try to open one to this machine.
    if !headers.get(header::ORIGIN).is_none_or(is_loopback_origin) {
        return (StatusCode::FORBIDDEN, "pages of other origins are not served here\n").into_response();
    }
    let upgrade = upgrade.protocols(["sip"]).max_message_size(2 * MAX_MESSAGE);
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, "the WebSocket subprotocol \"sip\" is required (RFC 7118)\n")
            .into_response();
    }
    upgrade.on_upgrade(|socket| async move {
        let line = network.open().await;
        serve(socket, line, stop).await;
    })
}

async fn serve(mut socket: WebSocket, mut line: Line, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => line.send(text.as_bytes().to_vec()).await,
                Some(Ok(Message::Binary(bytes))) => line.send(bytes.to_vec()).await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            text = line.receive() => {
                let Some(text) = text else { return };
                if socket.send(Message::Text(text.into())).await.is_err() {
                    return;
                }
            }
            _ = stop.changed() => {
                let going_away = CloseFrame { code: 1001, reason: "".into() };
                // It closes in any case; this only says why.
                let _ = socket.send(Message::Close(Some(going_away))).await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_this_machine_only() {
        for good in
            ["http://127.0.0.1:8080", "http://localhost", "https://app.localhost:3000", "http://[::1]:9"]
        {
            assert!(is_loopback_origin(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in
            ["https://example.com", "http://127.0.0.1.example.com", "null", "file://", "", "ftp://localhost"]
        {
            assert!(!is_loopback_origin(&HeaderValue::from_static(bad)), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host_name("localhost:8080"), "localhost");
        assert_eq!(host_name("[::1]:8080"), "::1");
        assert_eq!(host_name("example.com"), "example.com");
    }
}
