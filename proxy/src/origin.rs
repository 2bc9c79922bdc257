//! Which pages may use the proxy: those of the listed origins, exactly.
//!
//! CORS is no authorization, as a program that is no browser sends whatever Origin it likes; it keeps other pages
//! from using a visitor's browser. So requests with an Origin that is not listed are refused before anything else
//! happens, not only left without the headers that would let the page read the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE,
    ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use crate::config::{Config, is_loopback};

/// Request headers of the proxy's own interface.
const ALLOWED_HEADERS: [&str; 4] = ["authorization", "content-type", "idempotency-key", "x-csrf-token"];
const METHODS: HeaderValue = HeaderValue::from_static("GET, PUT, POST, DELETE");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, location");
/// Two hours, the most that Chromium keeps.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Which origins are let in.
#[derive(Clone, Debug)]
pub struct Origins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listed: BTreeSet<String>,
    development: bool,
    allowed_headers: HeaderValue,
}

/// The request comes from a page that may not use the proxy: 403 `origin_denied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("origin_denied: {reason}")]
pub struct OriginDenied {
    /// Why, for log and metrics: one of a fixed few words.
    pub reason: &'static str,
}

impl OriginDenied {
    /// The code of the answer.
    pub const CODE: &str = "origin_denied";
}

impl Origins {
    /// The origins and request headers that the configuration lists.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let names = ALLOWED_HEADERS.into_iter().chain(config.allowed_headers.iter().map(String::as_str));
        let names = names.collect::<Vec<_>>().join(", ");
        let allowed_headers = HeaderValue::from_str(&names)
            .unwrap_or_else(|_| HeaderValue::from_static("authorization, content-type, idempotency-key"));
        Self(Arc::new(Inner {
            listed: config.origins.clone(),
            development: config.development,
            allowed_headers,
        }))
    }

    /// Whether a request with these headers may go on; gives its origin where it names one.
    ///
    /// Without an Origin it may, unless the browser says that another site sent it: browsers leave the Origin out of
    /// GETs of the page's own origin, and programs send none.
    pub fn check<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>, OriginDenied> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return Err(OriginDenied { reason: "several_origins" });
        }
        match origin {
            Some(origin) if self.is_listed(origin) => Ok(Some(origin)),
            Some(_) => Err(OriginDenied { reason: "not_listed" }),
            None if site(headers).is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site")) => {
                Err(OriginDenied { reason: "cross_site" })
            }
            None => Ok(None),
        }
    }

    fn is_listed(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.0.listed.contains(origin) || (self.0.development && is_loopback_origin(origin))
    }

    fn add_cors(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    fn preflight(&self, origin: &HeaderValue) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        self.add_cors(origin, headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.0.allowed_headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        response
    }
}

/// Layer for the browser's half of the interface (`axum::middleware::from_fn_with_state`): refuses what
/// [`Origins::check`] refuses, answers preflights, and adds the CORS headers. Never `*`, never credentials.
pub async fn guard(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let checked = origins.check(request.headers()).map(|origin| origin.cloned());
    let mut response = match checked {
        Err(denied) => {
            tracing::info!(code = OriginDenied::CODE, reason = denied.reason, "refused");
            denied.into_response()
        }
        Ok(Some(origin)) if is_preflight(&request) => origins.preflight(&origin),
        Ok(origin) => {
            let mut response = next.run(request).await;
            if let Some(origin) = origin {
                origins.add_cors(&origin, response.headers_mut());
            }
            response
        }
    };
    // On refusals too: a cache must not give one page what was meant for another.
    response.headers_mut().append(VARY, VARIES);
    response
}

impl IntoResponse for OriginDenied {
    fn into_response(self) -> Response {
        const BODY: &str = concat!(
            r#"{"type":"about:blank","title":"This page may not use the proxy","status":403,"#,
            r#""code":"origin_denied"}"#
        );
        let mut response = (StatusCode::FORBIDDEN, BODY).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // By it the refusal is counted.
        response.extensions_mut().insert(crate::http::Code::OriginDenied);
        response
    }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn site(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("sec-fetch-site").map(HeaderValue::as_bytes)
}

/// `http(s)://127.0.0.1`, `localhost` or `[::1]`, any port, written as a browser writes it.
fn is_loopback_origin(origin: &str) -> bool {
    Url::parse(origin).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && is_loopback(&url)
            && url.origin().ascii_serialization() == origin
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config::BasicCredentials;

    const PAGE: &str = "https://app.example.com";

    fn origins(development: bool) -> Origins {
        let mut config = Config::development(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/a1",
            BasicCredentials { username: "u1".into(), password: "password".into() },
            "hook-key-hook-key-hook-key".into(),
            "jwt-secret-jwt-secret-jwt-secret-jwt".into(),
        );
        config.origins.insert(PAGE.to_owned());
        config.allowed_headers.insert("x-tenant".to_owned());
        config.development = development;
        Origins::new(&config)
    }

    async fn send(development: bool, method: Method, headers: &[(&str, &str)]) -> Response {
        let router = Router::new()
            .route("/v1/config", get(async || ([(VARY, "accept")], "secret")))
            .layer(axum::middleware::from_fn_with_state(origins(development), guard));
        let mut request = Request::builder().method(method).uri("/v1/config");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn assert_no_cors(response: &Response) {
        let cors = response.headers().keys().find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cors, None);
    }

    #[tokio::test]
    async fn a_listed_origin_is_let_in_by_name() {
        let response = send(false, Method::GET, &[("origin", PAGE)]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let vary: Vec<_> = headers.get_all(VARY).iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.iter().any(|value| value.contains("Origin")) && vary.contains(&"accept"), "{vary:?}");
    }

    #[tokio::test]
    async fn any_other_origin_is_refused_before_the_handler() {
        for origin in [
            "https://evil.example",
            "https://app.example.com.evil.example",
            "https://sub.app.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com/",
            "null",
            "*",
            "",
            "HTTPS://APP.EXAMPLE.COM",
            "http://localhost:3000",
            "http://127.0.0.1",
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                let preflight = ("access-control-request-method", "PUT");
                let response = send(false, method, &[("origin", origin), preflight]).await;
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
                assert_no_cors(&response);
                assert!(response.headers().contains_key(VARY));
                assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
                let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(problem["code"], "origin_denied");
            }
        }
        let twice = send(false, Method::GET, &[("origin", PAGE), ("origin", "https://evil.example")]).await;
        assert_eq!(twice.status(), StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn a_preflight_is_answered_here() {
        let headers = [
            ("origin", PAGE),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization"),
        ];
        let response = send(false, Method::OPTIONS, &headers).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization, content-type, idempotency-key, x-csrf-token, x-tenant"
        );
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT, POST, DELETE");
        assert_eq!(headers[ACCESS_CONTROL_MAX_AGE], "7200");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }

    #[tokio::test]
    async fn without_an_origin_the_browsers_word_counts() {
        assert_eq!(send(false, Method::GET, &[]).await.status(), StatusCode::OK);
        for (site, status) in [("same-origin", 200), ("none", 200), ("same-site", 200), ("cross-site", 403)] {
            let response = send(false, Method::GET, &[("sec-fetch-site", site)]).await;
            assert_eq!(response.status().as_u16(), status, "{site}");
            assert_no_cors(&response);
        }
        let listed = send(false, Method::GET, &[("sec-fetch-site", "cross-site"), ("origin", PAGE)]).await;
        assert_eq!(listed.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn development_lets_in_loopback_and_nothing_else() {
        for origin in
            ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]:1", "http://localhost", PAGE]
        {
            assert_eq!(
                send(true, Method::GET, &[("origin", origin)]).await.status(),
                StatusCode::OK,
                "{origin}"
            );
        }
        for origin in
            ["http://localhost.evil.example", "http://127.0.0.1.nip.io", "http://10.0.0.1", "null", "file://"]
        {
            let response = send(true, Method::GET, &[("origin", origin)]).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn only_the_exact_origin_gets_through(origin in "(https?://)?[a-z.]{0,12}(app\\.example\\.com)?[a-z.:/0-9]{0,8}") {
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_str(&origin).unwrap())]);
            prop_assert_eq!(origins(false).check(&headers).is_ok(), origin == PAGE);
        }
    }
}
