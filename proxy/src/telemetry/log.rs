//! JSON lines with a fixed set of fields.
//!
//! What may be in a line is listed, not what may not: a field that is not listed is left out, and what other crates
//! log is left out but for who and how bad, as their messages may quote a request. Text is scrubbed on top of it,
//! for the day when somebody formats a number into a message.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Metrics;

/// The fields that a line may have, beside `time`, `level`, `target` and `message`.
const FIELDS: [&str; 24] = [
    "call_id",
    "session",
    "destination",
    "caller_id",
    "code",
    "reason",
    "state",
    "kind",
    "limit",
    "route",
    "method",
    "status",
    "upstream",
    "duration_ms",
    "duration_s",
    "latency_ms",
    "cost",
    "seq",
    "listen",
    "version",
    "store",
    "count",
    "step",
    "source",
];

/// The crates whose messages and fields are shown.
const OURS: [&str; 2] = ["wasm_softphone_proxy", "sandbox"];

/// Sends log lines of this process to the standard error, as JSON. `filter` is an [`EnvFilter`] such as `info`;
/// only the proxy's own crate is heard below warnings whatever it says.
///
/// Does nothing where the process has a subscriber already, as in tests.
pub fn init_logging(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::registry().with(LogLayer::stderr().with_filter(filter)).try_init();
}

/// Logs panics of this process as lines of the log: where they happened, and not what they say, which may be what
/// somebody sent.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(kind = "panic", reason = place.unwrap_or_default(), "a defect");
    }));
}

type Sink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Writes events as JSON lines, with listed fields only.
#[derive(Clone)]
pub struct LogLayer {
    sink: Sink,
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer").finish_non_exhaustive()
    }
}

impl LogLayer {
    /// Lines for the standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(|line| {
            // There is nobody to tell that the log can't be written.
            let _ = std::io::stderr().lock().write_all(line);
        })
    }

    /// Lines for `sink`, each with its line break.
    #[must_use]
    pub fn new(sink: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink) }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let target = metadata.target();
        let ours = OURS.iter().any(|name| target == *name || target.starts_with(&format!("{name}::")));
        if !ours && *metadata.level() > Level::WARN {
            return;
        }
        let mut line = Map::new();
        let time = jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        line.insert("time".to_owned(), format!("{time:.3}").into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), target.into());
        if ours {
            event.record(&mut Fields(&mut line));
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        (self.sink)(text.as_bytes());
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        if field.name() == "message" || FIELDS.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        // These are made of digits and hyphens or dots like a number, and are none.
        let harmless = match field.name() {
            "call_id" | "session" => is_identifier(text),
            "listen" => text.parse::<SocketAddr>().is_ok(),
            "source" => text.parse::<IpAddr>().is_ok(),
            _ => false,
        };
        let text = if harmless { text.to_owned() } else { scrub(text) };
        self.insert(field, text);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

/// A UUID, or a hash as [`Session::hash`](crate::auth::Session::hash) has it.
fn is_identifier(text: &str) -> bool {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    hexadecimal(&text.replace('-', "")) && matches!(groups.as_slice(), [8, 4, 4, 4, 12] | [16])
}

/// The text without what could be a telephone number (7 digits and more, however they are set apart) or a secret
/// (20 and more of the characters of Base64, with a digit among them).
#[must_use]
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let secret = run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '='));
        if secret.len() >= 20 && secret.bytes().any(|byte| byte.is_ascii_digit()) {
            clean.push('…');
            rest = rest.get(secret.len()..).unwrap_or_default();
            continue;
        }
        if first.is_ascii_digit() {
            let number = run(rest, |c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '(' | ')' | '.'));
            // What stands between digits belongs to the number, what stands behind them does not.
            let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
            let digits = number.bytes().filter(u8::is_ascii_digit).count();
            if digits >= 7 {
                clean.push('…');
            } else {
                clean.push_str(number);
            }
            rest = rest.get(number.len()..).unwrap_or_default();
            continue;
        }
        // Words whole, so that no part of one is looked at again.
        let word = run(rest, |c| c.is_alphanumeric());
        let taken = if word.is_empty() { first.len_utf8() } else { word.len() };
        let (word, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        clean.push_str(if digits >= 7 { "…" } else { word });
        rest = after;
    }
    clean
}

/// The beginning of `text` that consists of such characters.
fn run(text: &str, of: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !of(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Layer that counts and logs every request by its route, as the router has it, never by its path: a webhook's path
/// is a secret. For `Router::layer`, so that the route is known (`axum::middleware::from_fn_with_state`).
pub async fn log_requests(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "HEAD" => "HEAD",
        "PATCH" => "PATCH",
        _ => "other",
    };
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let latency = begun.elapsed();
    metrics.http_request(method, &route, status, latency);
    let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    // What machines ask for every few seconds would hide the rest.
    let routine = ["/health/live", "/health/ready", "/metrics"].iter().any(|path| route.ends_with(path));
    if routine && status < 400 {
        tracing::debug!(method, route, status, latency_ms, "request");
    } else {
        tracing::info!(method, route, status, latency_ms, "request");
    }
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use proptest::prelude::*;
    use tower::ServiceExt as _;

    use super::*;
    use crate::numbers::E164;

    fn captured() -> (Arc<Mutex<Vec<u8>>>, impl Subscriber + Send + Sync) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let layer = LogLayer::new(move |line| sink.lock().unwrap().extend_from_slice(line));
        (lines, tracing_subscriber::registry().with(layer))
    }

    fn lines(of: &Mutex<Vec<u8>>) -> Vec<Value> {
        let text = String::from_utf8(of.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_listed_fields_only() {
        let (log, subscriber) = captured();
        tracing::subscriber::with_default(subscriber, || {
            let number = E164::parse("+46701234567").unwrap();
            tracing::info!(
                call_id = "12345678-1234-4234-8234-123456789012",
                session = "0123456789012345",
                destination = %number,
                status = 202,
                cost = 11400,
                listen = "192.168.100.200:8080",
                source = %"176.10.154.199",
                authorization = "Bearer abc",
                body = "from=+46701234567",
                "call started"
            );
        });
        let lines = lines(&log);
        let line = lines[0].as_object().unwrap();
        assert_eq!(line["call_id"], "12345678-1234-4234-8234-123456789012");
        assert_eq!(line["session"], "0123456789012345");
        assert_eq!(line["destination"], "+46…67");
        assert_eq!(line["status"], 202);
        assert_eq!(line["message"], "call started");
        assert_eq!(line["level"], "INFO");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line["source"], "176.10.154.199");
        assert_eq!(line["listen"], "192.168.100.200:8080");
        assert!(!line.contains_key("authorization") && !line.contains_key("body"));
    }

    #[test]
    fn numbers_and_secrets_are_scrubbed_from_text_too() {
        let (log, subscriber) = captured();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                reason = "to +46701234567",
                "POST /hooks/v/dG9rZW4tdG9rZW4tdG9rZW4x +46 70-123 45 67"
            );
            tracing::warn!(call_id = "+46701234567", listen = "46701234567", state = ?Some("+46701234567"), "x");
        });
        let text = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        for secret in ["701234567", "123 45 67", "dG9rZW4"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn other_crates_say_only_that_something_is_wrong() {
        let (log, subscriber) = captured();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "hyper::proto", "GET /hooks/v/secret");
            tracing::warn!(target: "reqwest::connect", status = 1, "https://u:p@host/secret");
            tracing::info!(target: "wasm_softphone_proxyx", "secret");
        });
        let lines = lines(&log);
        assert_eq!(lines.len(), 1);
        let names: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["level", "target", "time"]);
    }

    #[tokio::test]
    async fn requests_are_logged_by_route() {
        let (log, subscriber) = captured();
        let metrics = Arc::new(Metrics::new());
        let router = Router::new()
            .nest(
                "/elks",
                Router::new()
                    .route("/hooks/v/{token}", post(async || "ok"))
                    .route("/v1/config", get(async || "ok"))
                    .route("/metrics", get(async || "ok")),
            )
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&metrics), log_requests));
        let guard = tracing::subscriber::set_default(subscriber);
        for (method, path) in [
            ("POST", "/elks/hooks/v/dG9rZW4?key=c2VjcmV0"),
            ("GET", "/elks/v1/config"),
            ("BREW", "/elks/v1/config"),
            ("GET", "/somewhere/dG9rZW4"),
            ("GET", "/elks/metrics"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        drop(guard);
        let routes: Vec<_> = lines(&log)
            .iter()
            .map(|line| ["level", "method", "route", "status"].map(|name| line[name].to_string()).join(" "))
            .map(|line| line.replace('"', ""))
            .collect();
        let expected = [
            "INFO POST /elks/hooks/v/{token} 200",
            "INFO GET /elks/v1/config 200",
            "INFO other /elks/v1/config 405",
            "INFO GET none 404",
            "DEBUG GET /elks/metrics 200",
        ];
        assert_eq!(routes, expected);
        let shown = String::from_utf8(log.lock().unwrap().clone()).unwrap() + &metrics.render();
        assert!(!shown.contains("dG9rZW4") && !shown.contains("c2VjcmV0"), "{shown}");
    }

    #[test]
    fn scrubbing_keeps_what_is_no_secret() {
        for text in [
            "call started",
            "status 502 after 1500 ms",
            "+46…67",
            "127.0.0.1:8080",
            "10 calls, 3 more",
            "provider_credit",
            "a-very-long-name-without-any-digit",
        ] {
            assert_eq!(scrub(text), text);
        }
        assert_eq!(scrub("to +46701234567 now"), "to +… now");
        assert_eq!(scrub("u0123456789abcdef"), "…");
    }

    proptest! {
        #[test]
        fn no_number_survives(
            before in "\\PC{0,10}", number in "\\+?[1-9][0-9]{6,14}", after in "\\PC{0,10}",
        ) {
            let clean = scrub(&format!("{before}{number}{after}"));
            let longest = clean.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
            prop_assert!(longest < 7, "{clean}");
        }

        #[test]
        fn no_token_survives(before in "[a-z ]{0,9}", token in "[A-Za-z_-]{9}[0-9][A-Za-z0-9_-]{12,40}") {
            let clean = scrub(&format!("{before} {token}"));
            prop_assert!(!clean.contains(&token[..9]), "{clean}");
        }
    }
}
