//! The HTTP API. Errors are plain text, and there is no CORS: a browser cannot call it.

use core::time::Duration;
use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::calls::{Number, Originate, is_e164};
use super::faults::Fault;
use super::record::{format_micros, parse_micros};
use super::{Elks, Shared};

/// Records of one page of history.
const PAGE: usize = 100;
const NO_AUTH: &str = "API access requires Basic HTTP authentication. Read documentation or examples.";
const FORM: &str = "application/x-www-form-urlencoded";

type Form = BTreeMap<String, String>;

/// Everything below `/a1/`; the paths are the same in any case.
pub(super) async fn serve(
    State(elks): State<Elks>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let shared = &elks.shared;
    let path = uri.path().to_ascii_lowercase();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).skip(1).collect();
    let response = route(shared, &method, &segments, &uri, &headers, &body).await;
    shared.note_request(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "status": response.status().as_u16(),
        "at": shared.time(),
    }));
    response
}

async fn route(
    shared: &Shared,
    method: &Method,
    segments: &[&str],
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD | Method::POST | Method::DELETE) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    let placing =
        matches!((method, segments), (&Method::POST, ["calls"]) | (&Method::GET, ["calls", "post"]));
    if placing && shared.calls().faults.take(Fault::Unauthorized).is_some() || !is_authorized(shared, headers)
    {
        let mut response = text(StatusCode::UNAUTHORIZED, NO_AUTH);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"46elks\""));
        return response;
    }
    let query = form(uri.query().unwrap_or_default().as_bytes());
    let get = *method == Method::GET || *method == Method::HEAD;
    match segments {
        ["calls", "post"] if get => place(shared, query).await,
        ["calls"] if *method == Method::POST => place(shared, posted(headers, body)).await,
        ["calls"] if get => history(shared, &query),
        ["calls", id] if get => {
            let found = shared.calls().record(id).map(super::record::Record::json);
            found.map_or_else(
                || unknown(shared, "Unable to get call data."),
                |record| Json(record).into_response(),
            )
        }
        ["calls", id] if *method == Method::DELETE => {
            let now = shared.clock.now();
            let deleted = shared.calls().delete(now, id);
            deleted.map_or_else(
                || unknown(shared, "Unable to get call data."),
                |at| Json(json!({ "id": id, "deleted": at })).into_response(),
            )
        }
        ["calls", id] if *method == Method::POST => hang_up(shared, id, &posted(headers, body)),
        ["numbers"] if get => {
            let numbers: Vec<Value> =
                shared.calls().numbers.iter().map(|number| number_json(number, false)).collect();
            Json(json!({ "data": numbers })).into_response()
        }
        ["numbers", id] if get => {
            let found =
                shared.calls().numbers.iter().find(|number| number.id == *id).map(|n| number_json(n, true));
            found.map_or_else(|| unknown(shared, "Invalid number id"), |number| Json(number).into_response())
        }
        ["me"] if get => Json(json!({
            "id": shared.api.username,
            "displayname": "Simulated account",
            "name": "Simulated account",
            "currency": "SEK",
            "balance": 1_000_000,
        }))
        .into_response(),
        ["calls" | "numbers" | "me", ..] => text(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
        _ => text(StatusCode::NOT_FOUND, "Not found"),
    }
}

/// `POST /a1/calls`. The order of the checks is ours: the documents have none.
async fn place(shared: &Shared, form: Form) -> Response {
    let mut lost = None;
    let mut late = None;
    let mut truncated = false;
    let answer = {
        let mut calls = shared.calls();
        let options = calls.options.clone();
        let missing = status(options.missing_key_status);
        let bad = status(options.bad_number_status);
        for key in ["from", "to", "voice_start"] {
            if !form.contains_key(key) {
                return text(missing, &format!("Missing key {key}"));
            }
        }
        if calls.faults.take(Fault::MissingKey).is_some() {
            return text(missing, "Missing key voice_start");
        }
        let get = |key: &str| form.get(key).cloned().unwrap_or_default();
        let (from, to) = (get("from"), get("to"));
        let owned = calls.numbers.iter().any(|number| number.number == from && number.secret.is_none())
            || options.unlocked.contains(&from);
        if !is_e164(&from) || !owned || calls.faults.take(Fault::BadFrom).is_some() {
            return text(bad, "Invalid from number");
        }
        if !is_e164(&to) || calls.faults.take(Fault::BadTo).is_some() {
            return text(bad, "Invalid to number");
        }
        if calls.faults.take(Fault::NoCredit).is_some() {
            return text(status(options.no_credit_status), "Not enough credits to make the call.");
        }
        if let Some(armed) = calls.faults.take(Fault::TooMany) {
            let mut response = text(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
            response.headers_mut().insert(header::RETRY_AFTER, armed.number(7).into());
            return response;
        }
        if calls.faults.take(Fault::Broken).is_some() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error");
        }
        if calls.faults.take(Fault::HtmlBody).is_some() {
            let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>";
            return (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, "text/html")], page).into_response();
        }
        if let Some(armed) = calls.faults.take(Fault::ResponseLost) {
            lost = Some(armed.number(60_000));
        }
        if calls.faults.take(Fault::TruncatedJson).is_some() {
            truncated = true;
        }
        if let Some(armed) = calls.faults.peek(Fault::InviteBeforeResponse) {
            late = Some(armed.number(1000));
        }
        let request = Originate {
            from,
            to,
            voice_start: get("voice_start"),
            whenhangup: form.get("whenhangup").filter(|url| !url.is_empty()).cloned(),
            timeout: form.get("timeout").and_then(|timeout| timeout.parse().ok()),
        };
        let id = calls.originate(shared.clock.now(), request);
        calls.record(&id).map(super::record::Record::start_json).unwrap_or_default()
    };
    shared.wake.notify_one();
    if let Some(wait) = lost {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        return (StatusCode::INTERNAL_SERVER_ERROR, "").into_response();
    }
    if let Some(wait) = late {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    if truncated {
        let whole = answer.to_string();
        let half = whole.get(..whole.len() / 2).unwrap_or_default().to_owned();
        return ([(header::CONTENT_TYPE, "application/json")], half).into_response();
    }
    Json(answer).into_response()
}

/// `start` is "before this date" and `end` "after this date": newest first, that is where a page starts and ends.
fn history(shared: &Shared, query: &Form) -> Response {
    let mut bounds = [None, None];
    for (bound, key) in bounds.iter_mut().zip(["start", "end"]) {
        if let Some(date) = query.get(key) {
            let Some(micros) = parse_micros(date) else {
                return text(StatusCode::FORBIDDEN, &format!("Invalid {key} date"));
            };
            *bound = Some(micros);
        }
    }
    let [start, end] = bounds;
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let calls = shared.calls();
    let mut found = calls.records().into_iter().filter(|record| {
        !record.deleted
            && start.is_none_or(|start| record.created < start)
            && end.is_none_or(|end| record.created > end)
    });
    let mut page = Vec::new();
    let mut last = None;
    for record in found.by_ref().take(limit) {
        last = Some(record.created);
        page.push(record.json());
    }
    let mut answer = json!({ "data": page });
    if found.next().is_some()
        && let (Value::Object(answer), Some(last)) = (&mut answer, last)
    {
        answer.insert("next".to_owned(), format_micros(last).into());
    }
    Json(answer).into_response()
}

/// No document knows it; two projects try it.
fn hang_up(shared: &Shared, id: &str, form: &Form) -> Response {
    let now = shared.clock.now();
    let mut calls = shared.calls();
    if !calls.options.undocumented_hangup || form.get("state").map(String::as_str) != Some("hangup") {
        return text(StatusCode::FORBIDDEN, "Not allowed");
    }
    if !calls.hang_up(now, id) {
        drop(calls);
        return unknown(shared, "Unable to get call data.");
    }
    let record = calls.record(id).map(super::record::Record::json).unwrap_or_default();
    drop(calls);
    shared.wake.notify_one();
    Json(record).into_response()
}

fn number_json(number: &Number, with_secret: bool) -> Value {
    let mut value = json!({
        "id": number.id,
        "number": number.number,
        "active": "yes",
        "country": "se",
        "capabilities": ["voice"],
    });
    if with_secret && let (Value::Object(object), Some(secret)) = (&mut value, &number.secret) {
        object.insert("secret".to_owned(), secret.clone().into());
    }
    value
}

fn is_authorized(shared: &Shared, headers: &HeaderMap) -> bool {
    let expected = format!("{}:{}", shared.api.username, shared.api.password);
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, token)| STANDARD.decode(token.trim()).ok())
        .is_some_and(|given| given == expected.as_bytes())
}

/// The keys of a posted form; any other kind of body holds none.
fn posted(headers: &HeaderMap, body: &[u8]) -> Form {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or(FORM);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(FORM) { form(body) } else { Form::new() }
}

fn form(text: &[u8]) -> Form {
    form_urlencoded::parse(text).into_owned().collect()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::FORBIDDEN)
}

fn unknown(shared: &Shared, message: &str) -> Response {
    let code = shared.calls().options.unknown_id_status;
    text(status(code), message)
}

fn text(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], message.to_owned()).into_response()
}
