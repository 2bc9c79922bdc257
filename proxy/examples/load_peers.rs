//! What stands around the proxy in the load test (`cargo xtask bench proxy`): a provider that says yes at once, and a
//! bare handler that answers as the proxy does without doing anything, to tell the proxy's cost from that of the HTTP
//! server, the machine and the load tool.
//!
//! `load_peers BARE_PORT UPSTREAM_PORT TOKENS_FILE TOKENS`: the key of the tokens stands in `LOAD_KEY`. Each token is of
//! another user with a number of its own, since a number has one call at a time.

use std::error::Error;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{post, put};
use axum::{Json, Router};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::net::TcpListener;

const LIFE: Duration = Duration::from_secs(14 * 60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bare, upstream, file, tokens] = arguments.as_slice() else {
        return Err("expected BARE_PORT UPSTREAM_PORT TOKENS_FILE TOKENS".into());
    };
    write_tokens(file, tokens.parse()?)?;
    let bare_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, bare.parse()?)).await?;
    let upstream_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, upstream.parse()?)).await?;
    let bare = Router::new().route("/v1/calls/{id}", put(accepted));
    let upstream = Router::new().route("/a1/calls", post(call));
    println!("ready");
    tokio::try_join!(async { axum::serve(bare_listener, bare).await }, async {
        axum::serve(upstream_listener, upstream).await
    },)?;
    Ok(())
}

fn write_tokens(file: &str, count: u32) -> Result<(), Box<dyn Error>> {
    wasm_softphone_proxy::auth::signatures::install();
    let key = EncodingKey::from_secret(std::env::var("LOAD_KEY")?.as_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for user in 0..count {
        let claims = json!({
            "sub": format!("user-{user}"),
            "aud": "load",
            "iat": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
            "number": format!("+46001{user:06}"),
            "default_caller_id": "main",
        });
        writeln!(out, "{}", encode(&Header::default(), &claims, &key)?)?;
    }
    out.flush()?;
    Ok(())
}

async fn accepted(body: String) -> impl IntoResponse {
    let answer = json!({
        "call_id": "00000000-0000-4000-8000-000000000000", "state": "ringing_client", "seq": 1,
        "confirmed": false, "ended": false, "reason": null, "length": body.len(),
        "expect": {"from": "+46766860000", "to": "+4600100100"},
        "ring_timeout_s": 20, "confirm_timeout_s": 4, "max_duration_s": 3600, "expires_at": "2026-01-01T12:00:25Z",
    });
    (StatusCode::ACCEPTED, [(header::CACHE_CONTROL, "no-store")], Json(answer))
}

async fn call() -> impl IntoResponse {
    let mut id = [0_u8; 16];
    // Without randomness there is no id, and the proxy reports what it was given.
    let known = getrandom::fill(&mut id).is_ok();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = json!({
        "direction": "outgoing", "from": "+46766860000", "to": "+4600100100",
        "created": "2026-01-01T12:00:00.000000", "state": "ongoing", "id": format!("c{id}"),
    });
    (if known { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, Json(answer))
}
