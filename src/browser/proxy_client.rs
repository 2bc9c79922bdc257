//! Requests to the call proxy, by `fetch`: JSON there and back. What the proxy says is read leniently: whatever is
//! missing, of another type or too large is not there.

use gloo_net::http::Headers;
use js_sys::{Array, JSON, JsString, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortController, RequestInit};

use super::object::{get, number, object, set, string};
use super::task::{promised, then};
use crate::dial::proxy::{Expected, ProxyCall, ProxyCommand, ProxyConfig, ProxyReply};
use crate::text::{self, concat, digits, printable};
use crate::time::Duration;

/// The longest answer that is read, in characters. The longest sensible one is a list of caller IDs.
const MAX_BODY: u32 = 65_536;
/// The most caller IDs that are taken.
const MAX_CALLER_IDS: usize = 256;
/// The longest time that the proxy may name; a longer one is none.
const MAX_SECONDS: f64 = 86_400.0;

#[wasm_bindgen]
extern "C" {
    // js-sys binds it with a `&str`, for which the text would be copied into the module and out again.
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = parse)]
    fn parse_json(text: &JsString) -> Result<JsValue, JsValue>;

    // What pages put in the place of `fetch` may throw, and give something like a response.
    #[wasm_bindgen(catch)]
    fn fetch(request: &web_sys::Request) -> Result<JsValue, JsValue>;

    type Response;

    #[wasm_bindgen(method, catch)]
    fn text(this: &Response) -> Result<Promise, JsValue>;
}

/// A request that is under way; dropping it aborts it, except for a cancellation: that one must arrive.
#[must_use = "dropping it aborts the request"]
pub(crate) struct ProxyRequest(Option<AbortController>);

impl ProxyRequest {
    /// Sends the command to the proxy at `base`, with the application's headers, before this returns: the page may
    /// be on its way out. `keepalive`: the request outlives the page. `report` is called once, never from within
    /// this function and maybe after the drop: with the answer, or with `None` when the request failed on its way
    /// there or back.
    ///
    /// # Errors
    /// When the browser does not take the request: nothing was sent.
    pub(crate) fn send(
        base: &str,
        command: &ProxyCommand,
        headers: &[(String, String)],
        keepalive: bool,
        report: Box<dyn FnOnce(Option<ProxyReply>)>,
    ) -> Result<Self, JsValue> {
        let abort = AbortController::new()?;
        let request = request(base, command, headers, keepalive, &abort)?;
        let answered = move |response: Result<JsValue, JsValue>| match response {
            Ok(response) => read(response.unchecked_into(), report),
            Err(_) => report(None),
        };
        then(promised(fetch(&request)), Box::new(answered));
        Ok(Self((!matches!(command, ProxyCommand::Cancel { .. })).then_some(abort)))
    }
}

impl Drop for ProxyRequest {
    fn drop(&mut self) {
        if let Some(abort) = &self.0 {
            abort.abort();
        }
    }
}

fn request(
    base: &str,
    command: &ProxyCommand,
    headers: &[(String, String)],
    keepalive: bool,
    abort: &AbortController,
) -> Result<web_sys::Request, JsValue> {
    let (method, path, body) = asked(command);
    let base = base.strip_suffix('/').unwrap_or(base);
    // A path of this origin, whatever `<base>` the page may have: that could be of another one.
    let origin = if base.starts_with('/') {
        // A page without an origin has "null".
        string(&js_sys::global(), "origin").filter(|origin| origin != "null").ok_or(JsValue::UNDEFINED)?
    } else {
        String::new()
    };
    let url = concat(&[&origin, base, "/v1/", &path]);

    let sent_headers = Headers::new();
    sent_headers.set("Accept", "application/json");
    for (name, value) in headers {
        // They were checked: this throws at what is no header.
        sent_headers.set(name, value);
    }
    let init = object!([("keepalive", keepalive), ("signal", abort.signal())]);
    for (name, value) in [
        ("method", method),
        ("mode", "cors"),
        ("cache", "no-store"),
        // Neither cookies nor what the browser may know of HTTP authentication: the headers are the session.
        ("credentials", "omit"),
        // A redirected request would take the session's headers along.
        ("redirect", "error"),
        ("referrerPolicy", "no-referrer"),
    ] {
        set(&init, name, value);
    }
    if let Some(body) = body {
        sent_headers.set("Content-Type", "application/json");
        set(&init, "body", JSON::stringify(&body)?);
    }
    set(&init, "headers", sent_headers.into_raw());
    web_sys::Request::new_with_str_and_init(&url, init.unchecked_ref::<RequestInit>())
}

/// Method, path and body. The ids are UUIDs made here, so that they need no escaping.
fn asked(command: &ProxyCommand) -> (&'static str, String, Option<JsValue>) {
    let call = |id: &str, more: &str| concat(&["calls/", id, more]);
    match command {
        ProxyCommand::Config => ("GET", "config".to_owned(), None),
        ProxyCommand::Start { call: id, to, caller_id } => {
            let body = object!([("to", to.as_str())]);
            if let Some(key) = caller_id {
                set(&body, "caller_id", key.as_str());
            }
            ("PUT", call(id, ""), Some(body))
        }
        ProxyCommand::Poll { call: id, since, wait } => {
            let query = concat(&["?since=", &digits(*since), "&wait=", &digits(wait.as_secs())]);
            ("GET", call(id, &query), None)
        }
        ProxyCommand::Claim { call: id, sip_call_id_sha256 } => {
            let body = object!([]);
            if let Some(hash) = sip_call_id_sha256 {
                set(&body, "sip_call_id_sha256", hash.as_str());
            }
            ("POST", call(id, "/claim"), Some(body))
        }
        ProxyCommand::Cancel { call: id } => ("DELETE", call(id, ""), None),
    }
}

/// Reads an answer; reports `None` when it breaks off.
fn read(response: Response, report: Box<dyn FnOnce(Option<ProxyReply>)>) {
    let text = promised(response.text().map(JsValue::from));
    let read = move |text: Result<JsValue, JsValue>| {
        report(text.ok().map(|text| understand(&response, &text)));
    };
    then(text, Box::new(read));
}

/// What an answer and its text say.
fn understand(response: &JsValue, text: &JsValue) -> ProxyReply {
    let body = match text.dyn_ref::<JsString>() {
        Some(text) if text.length() <= MAX_BODY => parse_json(text).unwrap_or_default(),
        _ => JsValue::UNDEFINED,
    };
    let retry_after = || {
        let headers: web_sys::Headers = get(response, "headers").dyn_into().ok()?;
        let seconds = Headers::from_raw(headers).get("Retry-After")?;
        duration(text::number(seconds.trim_ascii())?.into())
    };
    ProxyReply {
        // In range, so the cast is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        status: number(response, "status").filter(|status| (0.0..1000.0).contains(status)).unwrap_or(0.0)
            as u16,
        code: word(&body, "code"),
        retry_after: seconds(&body, "retry_after_s").or_else(retry_after),
        call: call(&body),
        config: config(&body),
    }
}

fn call(body: &JsValue) -> Option<ProxyCall> {
    let flag = |key| get(body, key).as_bool() == Some(true);
    let expect = get(body, "expect");
    Some(ProxyCall {
        state: word(body, "state")?,
        seq: number(body, "seq").and_then(whole).unwrap_or_default(),
        confirmed: flag("confirmed"),
        ended: flag("ended"),
        reason: word(body, "reason"),
        expect: word(&expect, "from").zip(word(&expect, "to")).map(|(from, to)| Expected { from, to }),
        ring_timeout: seconds(body, "ring_timeout_s"),
        confirm_timeout: seconds(body, "confirm_timeout_s"),
        max_duration: seconds(body, "max_duration_s"),
    })
}

fn config(body: &JsValue) -> Option<ProxyConfig> {
    let mut caller_ids = Vec::new();
    if let Some(listed) = get(body, "caller_ids").dyn_ref::<Array>() {
        for entry in listed.iter().take(MAX_CALLER_IDS) {
            caller_ids.extend(word(&entry, "key").zip(word(&entry, "from")));
        }
    }
    let default_caller_id = word(body, "default_caller_id");
    Some(ProxyConfig { number: word(body, "number")?, default_caller_id, caller_ids })
}

/// A short text for people or for comparison.
fn word(object: &JsValue, key: &str) -> Option<String> {
    string(object, key).map(|text| printable(&text))
}

fn seconds(object: &JsValue, key: &str) -> Option<Duration> {
    duration(number(object, key)?)
}

fn duration(seconds: f64) -> Option<Duration> {
    // Within a day, so the cast is exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| Duration::from_millis((seconds * 1000.0) as u64))
}

fn whole(number: f64) -> Option<u32> {
    // In range, so the cast only cuts off a fraction.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::rc::Rc;

    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object_of;

    const CALL: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

    fn response(status: u16, retry_after: Option<&str>, body: &str) -> web_sys::Response {
        let headers = object_of([]);
        if let Some(value) = retry_after {
            set(&headers, "Retry-After", value);
        }
        let init = object_of([("status", status.into()), ("headers", headers)]);
        web_sys::Response::new_with_opt_str_and_init(Some(body), init.unchecked_ref()).unwrap()
    }

    async fn read(response: JsValue) -> Option<ProxyReply> {
        let (settle, settled) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
        let promise = Promise::new(&mut |resolve, _| *settle.borrow_mut() = Some(resolve));
        let told = settled.clone();
        let report = move |reply| {
            *told.borrow_mut() = reply;
            let resolve: Option<js_sys::Function> = settle.take();
            resolve.unwrap().call0(&JsValue::UNDEFINED).unwrap();
        };
        super::read(response.unchecked_into(), Box::new(report));
        JsFuture::from(promise).await.unwrap();
        settled.take()
    }

    async fn understood(status: u16, body: &str) -> ProxyReply {
        read(response(status, None, body).into()).await.unwrap()
    }

    fn made(base: &str, command: &ProxyCommand) -> web_sys::Request {
        let headers = [("Authorization".to_owned(), "Bearer x".to_owned())];
        request(base, command, &headers, true, &AbortController::new().unwrap()).unwrap()
    }

    async fn body(request: &web_sys::Request) -> String {
        JsFuture::from(request.text().unwrap()).await.unwrap().as_string().unwrap()
    }

    #[test]
    async fn requests_are_those_of_the_contract() {
        let base = "https://proxy.example.com/elks";
        let id = CALL.to_owned();
        let start = |to: &str, caller_id: Option<&str>| ProxyCommand::Start {
            call: id.clone(),
            to: to.to_owned(),
            caller_id: caller_id.map(str::to_owned),
        };
        let hash = Some("ab".repeat(32));
        for (command, method, path, sent) in [
            (ProxyCommand::Config, "GET", "config".to_owned(), String::new()),
            (start("+461", None), "PUT", format!("calls/{CALL}"), r#"{"to":"+461"}"#.to_owned()),
            (
                start("\"\\\n", Some("a\"b")),
                "PUT",
                format!("calls/{CALL}"),
                r#"{"to":"\"\\\n","caller_id":"a\"b"}"#.to_owned(),
            ),
            (
                ProxyCommand::Poll { call: id.clone(), since: 7, wait: Duration::from_secs(25) },
                "GET",
                format!("calls/{CALL}?since=7&wait=25"),
                String::new(),
            ),
            (
                ProxyCommand::Claim { call: id.clone(), sip_call_id_sha256: hash.clone() },
                "POST",
                format!("calls/{CALL}/claim"),
                format!(r#"{{"sip_call_id_sha256":"{}"}}"#, hash.clone().unwrap()),
            ),
            (
                ProxyCommand::Claim { call: id.clone(), sip_call_id_sha256: None },
                "POST",
                format!("calls/{CALL}/claim"),
                "{}".to_owned(),
            ),
            (ProxyCommand::Cancel { call: id.clone() }, "DELETE", format!("calls/{CALL}"), String::new()),
        ] {
            let slash = format!("{base}/");
            for base in [base, &slash] {
                let request = made(base, &command);
                assert_eq!(request.url(), format!("https://proxy.example.com/elks/v1/{path}"));
                assert_eq!(request.method(), method);
                let header = |name| request.headers().get(name).unwrap();
                assert_eq!(header("authorization").as_deref(), Some("Bearer x"));
                assert_eq!(header("content-type").is_some(), !sent.is_empty());
                for (key, value) in [
                    ("credentials", "omit"),
                    ("cache", "no-store"),
                    ("redirect", "error"),
                    ("referrerPolicy", "no-referrer"),
                ] {
                    assert_eq!(string(&request, key).as_deref(), Some(value), "{key}");
                }
                assert_eq!(get(&request, "keepalive"), JsValue::TRUE);
                assert_eq!(body(&request).await, sent);
            }
        }
        let origin = web_sys::window().unwrap().origin();
        assert_eq!(made("/elks/", &ProxyCommand::Config).url(), format!("{origin}/elks/v1/config"));
    }

    #[test]
    async fn a_call_is_read_with_everything_that_it_says() {
        let text = format!(
            r#"{{"call_id":"{CALL}","state":"ringing_client","seq":1,"confirmed":false,"ended":false,"reason":null,
            "expect":{{"from":"+46766860000","to":"+4600100100"}},"ring_timeout_s":20,"confirm_timeout_s":4.5,
            "max_duration_s":3600,"expires_at":"2026-01-01T12:00:25Z"}}"#
        );
        let reply = understood(202, &text).await;
        assert_eq!((reply.status, reply.code, reply.retry_after), (202, None, None));
        assert_eq!(reply.config, None);
        let call = reply.call.unwrap();
        assert_eq!(
            (call.state.as_str(), call.seq, call.confirmed, call.ended),
            ("ringing_client", 1, false, false)
        );
        assert_eq!(call.reason, None);
        assert_eq!(
            call.expect,
            Some(Expected { from: "+46766860000".to_owned(), to: "+4600100100".to_owned() })
        );
        assert_eq!(call.ring_timeout, Some(Duration::from_secs(20)));
        assert_eq!(call.confirm_timeout, Some(Duration::from_millis(4500)));
        assert_eq!(call.max_duration, Some(Duration::from_secs(3600)));

        let over = r#"{"state":"ended","seq":9,"confirmed":true,"ended":true,"reason":"busy"}"#;
        let call = understood(200, over).await.call.unwrap();
        assert_eq!(
            (call.seq, call.confirmed, call.ended, call.reason.as_deref()),
            (9, true, true, Some("busy"))
        );
    }

    #[test]
    async fn the_session_is_read() {
        let text = r#"{"number":"+4600100100","default_caller_id":"main","ring_timeout_s":20,
            "caller_ids":[{"key":"main","from":"+46766860000"},{"key":1},7,null,{"key":"b","from":"+2"}]}"#;
        let config = understood(200, text).await.config.unwrap();
        assert_eq!(
            (config.number.as_str(), config.default_caller_id.as_deref()),
            ("+4600100100", Some("main"))
        );
        let ids: Vec<_> = config.caller_ids.iter().map(|(key, from)| (key.as_str(), from.as_str())).collect();
        assert_eq!(ids, [("main", "+46766860000"), ("b", "+2")]);
    }

    #[test]
    async fn what_makes_no_sense_is_missing() {
        for body in [
            "",
            "<html><body>502 Bad Gateway</body></html>",
            r#"{"state":"ringing_client","seq":1,"conf"#,
            "null",
            "7",
            "[]",
            "\"state\"",
            r#"{"state":7,"code":{},"number":null}"#,
        ] {
            let reply = understood(502, body).await;
            assert_eq!(reply, ProxyReply { status: 502, ..ProxyReply::default() }, "{body}");
        }
        let odd = r#"{"state":"x","seq":-1,"confirmed":"true","ended":1,"reason":0,"expect":{"from":"+1"},
            "ring_timeout_s":"20","confirm_timeout_s":-4,"max_duration_s":1e300,"code":"a\r\nb"}"#;
        let reply = understood(200, odd).await;
        assert_eq!(reply.call, Some(ProxyCall { state: "x".to_owned(), ..ProxyCall::default() }));
        assert_eq!(reply.code.as_deref(), Some("ab"));
        let huge = format!(r#"{{"state":"x","pad":"{}"}}"#, "x".repeat(MAX_BODY as usize));
        assert_eq!(understood(200, &huge).await.call, None);
    }

    #[test]
    async fn when_to_try_again() {
        let of = |header, body: &str| {
            let response = response(429, header, body);
            async { read(response.into()).await.unwrap().retry_after.map(|after| after.as_secs()) }
        };
        assert_eq!(of(Some("7"), "{}").await, Some(7));
        assert_eq!(of(Some("7"), r#"{"retry_after_s":3}"#).await, Some(3));
        for bad in ["-1", "Wed, 21 Oct 2026 07:28:00 GMT", "999999999", ""] {
            assert_eq!(of(Some(bad), "").await, None, "{bad}");
        }
        assert_eq!(of(None, "").await, None);
    }

    #[test]
    async fn an_answer_that_does_not_come_is_told() {
        let mut settle = None;
        let told = js_sys::Promise::new(&mut |resolve, _| settle = Some(resolve));
        let settle = settle.unwrap();
        let report = move |reply: Option<ProxyReply>| {
            settle.call1(&JsValue::UNDEFINED, &reply.is_none().into()).unwrap();
        };
        // Nobody listens there.
        let sent =
            ProxyRequest::send("http://127.0.0.1:9", &ProxyCommand::Config, &[], false, Box::new(report));
        assert_eq!(JsFuture::from(told).await.unwrap(), JsValue::TRUE);
        drop(sent);
        let refused =
            ProxyRequest::send("http://u:p@127.0.0.1:9", &ProxyCommand::Config, &[], false, Box::new(|_| {}));
        assert!(refused.is_err());
    }
}
