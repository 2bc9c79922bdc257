//! What is posted to the customer's server: fetches of actions, and reports that are repeated until accepted.

use core::time::Duration;
use std::sync::Arc;

use reqwest::Url;
use serde_json::{Value, json};
use wasm_softphone::url::is_loopback;

use super::Shared;
use super::calls::Input;

/// Between two attempts of a report, before it is scaled: five minutes.
const RETRY: Duration = Duration::from_secs(300);
/// A day of attempts.
const ATTEMPTS: u32 = 288;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether something may be posted there: this is a simulator, and no server outside is to hear of it.
pub(super) fn is_allowed(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        url.scheme() == "http"
            && url.host_str().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])))
    })
}

/// Fetches an action and hands it to the calls.
pub(super) async fn fetch(
    shared: Arc<Shared>,
    call: String,
    seq: u64,
    url: String,
    form: Vec<(String, String)>,
) {
    let body = post(&shared, "voice", &url, &form, 1).await;
    shared.input(Input::Fetched { call, seq, body });
}

/// Reports until it is accepted.
pub(super) async fn report(shared: Arc<Shared>, url: String, form: Vec<(String, String)>, after: Duration) {
    tokio::time::sleep(after).await;
    for attempt in 1..=ATTEMPTS {
        if post(&shared, "report", &url, &form, attempt).await.is_some() || !is_allowed(&url) {
            return;
        }
        let scale = shared.calls().options.webhook_scale.clamp(0.0, 1.0);
        tokio::time::sleep(RETRY.mul_f64(scale)).await;
    }
}

/// Fetches a file of sound, as the real one does before it plays it.
pub(super) async fn get(shared: Arc<Shared>, url: String) {
    if is_allowed(&url) {
        let status =
            shared.http.get(&url).timeout(PATIENCE).send().await.map(|answer| answer.status().as_u16());
        shared.note_webhook(json!({ "kind": "file", "url": url, "status": status.ok() }));
    }
}

/// The body, when the answer was 200 to 204.
async fn post(
    shared: &Shared,
    kind: &str,
    url: &str,
    form: &[(String, String)],
    attempt: u32,
) -> Option<String> {
    let entry = json!({ "kind": kind, "url": url, "attempt": attempt, "at": shared.time(), "form":
        form.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect::<serde_json::Map<_, _>>() });
    if !is_allowed(url) {
        note(shared, entry, "error", "only loopback addresses are posted to".into());
        return None;
    }
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = shared
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .timeout(PATIENCE)
        .body(body);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let error = if error.is_timeout() { "timeout" } else { "unreachable" };
            note(shared, entry, "error", error.into());
            return None;
        }
    };
    let status = answer.status().as_u16();
    let body = answer.text().await.ok();
    note(shared, entry, "status", status.into());
    body.filter(|_| (200..=204).contains(&status))
}

fn note(shared: &Shared, mut entry: Value, key: &str, value: Value) {
    if let Value::Object(entry) = &mut entry {
        entry.insert(key.to_owned(), value);
    }
    shared.note_webhook(entry);
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn only_this_machine_is_posted_to() {
        for good in ["http://127.0.0.1:8080/elks/hooks/v/x", "http://localhost/", "http://[::1]:9/"] {
            assert!(is_allowed(good), "{good}");
        }
        for bad in [
            "https://api.46elks.com/a1/calls",
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "x",
            "",
        ] {
            assert!(!is_allowed(bad), "{bad}");
        }
    }
}
