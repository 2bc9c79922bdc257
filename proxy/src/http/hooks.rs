//! What 46elks calls. Whoever isn't 46elks, or has no live token, finds nothing here: one answer for all.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Json,
    extract::{ConnectInfo, FromRequestParts, Path, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use secrecy::ExposeSecret;
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::{
    Shared,
    documented::HookProblems,
    input::FormBody,
    problem::{Code, Problem},
};
use crate::{
    calls::{Event, Hangup, Record},
    config::Config,
    numbers::E164,
    telemetry::Alarm,
    tokens::{self, Purpose},
};

/// No id of 46elks is longer.
const LONGEST_ID: usize = 64;

/// What 46elks is to do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Action {
    /// Call a number and connect it.
    Connect {
        /// One number.
        connect: String,
        /// What it is shown.
        #[serde(skip_serializing_if = "Option::is_none")]
        callerid: Option<String>,
        /// How long it may ring, in seconds.
        timeout: u64,
        /// If it can't be reached.
        failed: Hang,
        /// If it is busy.
        busy: Hang,
    },
    /// End the call.
    Hangup(Hang),
}

/// How a call is ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Hang {
    /// `reject` or `busy`.
    hangup: &'static str,
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Hangup(_) => "reject",
        }
    }
}

const REJECT: Hang = Hang { hangup: "reject" };
const BUSY: Hang = Hang { hangup: "busy" };

/// The fields that are read; others are passed over.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes the form; the fields are read leniently")]
pub(crate) struct VoiceForm {
    /// 46elks' id of the call; `id` is taken, too.
    callid: Option<String>,
    /// The caller.
    from: Option<String>,
    /// The number that was called.
    to: Option<String>,
}

/// The fields that are read; others are passed over.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes the form; the fields are read leniently")]
pub(crate) struct HangupForm {
    /// 46elks' id of the call; `callid` is taken, too.
    id: Option<String>,
    /// How the browser's leg went.
    state: Option<String>,
    /// Seconds.
    duration: Option<String>,
    /// In 1/10000 of the account's currency.
    cost: Option<String>,
    /// JSON.
    actions: Option<String>,
    /// JSON.
    legs: Option<String>,
}

/// From an address of 46elks, with its Basic credentials where they are asked for.
pub(crate) struct Provider;

impl FromRequestParts<Shared> for Provider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let source = peer.and_then(|peer| source(peer, &parts.headers, &shared.config.trusted_proxies));
        if !source.is_some_and(|source| contains(&shared.config.hook_sources, source)) {
            return Err(nothing("source"));
        }
        if !credentials(&parts.headers, &shared.config) {
            return Err(nothing("credentials"));
        }
        Ok(Self)
    }
}

/// The secret part of the path. What is no text is as wrong as any other.
pub(crate) struct Secret(String);

impl<S: Send + Sync> FromRequestParts<S> for Secret {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(secret)| Self(secret)).map_err(|_| nothing("token"))
    }
}

/// What everybody else gets.
fn nothing(reason: &'static str) -> Problem {
    info!(code = "not_found", reason, "a webhook was refused");
    Code::NotFound.into()
}

/// Who sent it: the peer, or, as far as peers are our own reverse proxies, whom the last of them names.
fn source(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut source = peer.to_canonical();
    // Also of a line that isn't all text: without it, the line before, the client's own, would count.
    let named = headers.get_all("x-forwarded-for").iter();
    let named: Vec<_> = named.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let named: Vec<&str> = named.iter().flat_map(|value| value.split(',')).collect();
    for name in named.iter().rev() {
        if !contains(trusted, source) {
            break;
        }
        source = address(name.trim())?;
    }
    Some(source)
}

/// Some write a port, too.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn credentials(headers: &HeaderMap, config: &Config) -> bool {
    let Some(wanted) = &config.hook_basic else { return true };
    let wanted = format!("{}:{}", wanted.username.expose_secret(), wanted.password.expose_secret());
    let found = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        scheme.eq_ignore_ascii_case("basic").then(|| String::from_utf8(decoded).ok())?
    });
    found.is_some_and(|found| tokens::equal(&wanted, &found))
}

async fn find(shared: &Shared, token: &str, purpose: Purpose) -> Result<Record, Problem> {
    let id = shared.exchange.store.find_hook(&tokens::hook_id(token)).await?;
    let record = match id {
        Some(id) => shared.exchange.store.get(id).await?,
        None => None,
    };
    let record = record.filter(|record| shared.exchange.tokens.fits(token, record, purpose));
    record.ok_or_else(|| nothing("token"))
}

/// 46elks: the browser's leg is answered. What now?
///
/// The far end is dialled if the client claims the call within the time for it, and never otherwise.
#[utoipa::path(
    post, path = "/hooks/v/{token}", tag = "hooks", operation_id = "voiceStart",
    params(("token" = String, Path, description = "The call's secret")),
    request_body(content = VoiceForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What to do", body = Action),
        HookProblems,
    ),
)]
pub(crate) async fn voice_start(
    State(shared): State<Shared>,
    _provider: Provider,
    Secret(token): Secret,
    FormBody(form): FormBody,
) -> Result<Json<Action>, Problem> {
    let record = find(&shared, &token, Purpose::Voice).await?;
    let callid = form.get("callid").or_else(|| form.get("id"));
    let Some(callid) = callid.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID) else {
        warn!(call_id = %record.call_id, "a voice_start without a call");
        shared.metrics.hook("voice_start", "reject");
        return Ok(Json(Action::Hangup(REJECT)));
    };
    let plan = match shared.exchange.voice_start(record.call_id, callid.clone()).await {
        Ok(plan) => plan,
        // 46elks ends the call whatever the error; this way it surely does.
        Err(unavailable) => {
            let _logged = Problem::from(unavailable);
            None
        }
    };
    let action = match plan {
        Some(plan) => Action::Connect {
            connect: plan.to,
            callerid: Some(plan.from),
            timeout: shared.exchange.timing.connect.div_ceil(1_000),
            failed: REJECT,
            busy: BUSY,
        },
        None => Action::Hangup(REJECT),
    };
    shared.metrics.hook("voice_start", action.name());
    Ok(Json(action))
}

/// 46elks: the call is over. It may come twice, late, and before anything else.
#[utoipa::path(
    post, path = "/hooks/h/{token}", tag = "hooks", operation_id = "whenHangup",
    params(("token" = String, Path, description = "The call's secret")),
    request_body(content = HangupForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 204, description = "Noted"),
        HookProblems,
    ),
)]
pub(crate) async fn whenhangup(
    State(shared): State<Shared>,
    _provider: Provider,
    Secret(token): Secret,
    FormBody(form): FormBody,
) -> Result<StatusCode, Problem> {
    let record = find(&shared, &token, Purpose::Hangup).await?;
    let mut hangup = Hangup::from_form(&form);
    hangup.id = hangup.id.filter(|id| id.len() <= LONGEST_ID);
    shared.exchange.apply(record.call_id, Event::HungUp(hangup)).await?;
    shared.metrics.hook("hangup", "noted");
    Ok(StatusCode::NO_CONTENT)
}

/// 46elks: somebody calls a public number.
///
/// Nobody but us may call with one of our own numbers, and we don't call ourselves: such a call wants to be taken
/// for a bridge.
#[utoipa::path(
    post, path = "/hooks/incoming/{secret}", tag = "hooks", operation_id = "incoming",
    params(("secret" = String, Path, description = "The secret of the configuration")),
    request_body(content = VoiceForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What to do", body = Action),
        HookProblems,
    ),
)]
pub(crate) async fn incoming(
    State(shared): State<Shared>,
    _provider: Provider,
    Secret(secret): Secret,
    FormBody(form): FormBody,
) -> Result<Json<Action>, Problem> {
    let wanted = shared.config.incoming.secret.as_ref().ok_or_else(|| nothing("token"))?;
    if !tokens::equal(wanted.expose_secret(), &secret) {
        return Err(nothing("token"));
    }
    let from = form.get("from").map_or("", String::as_str);
    let digits: String = from.chars().filter(char::is_ascii_digit).collect();
    // 46elks writes E.164; a spoofed number may come in another dress, with zeros before it or a host behind.
    let ours = shared.own_digits.iter().any(|own| digits.contains(own.as_str()));
    let rings = form.get("to").and_then(|to| E164::parse(to).ok());
    let rings = rings.and_then(|to| shared.config.incoming.numbers.get(&to));
    let action = match rings {
        Some(number) if !ours => Action::Connect {
            connect: number.as_str().to_owned(),
            callerid: None,
            timeout: shared.exchange.timing.connect.div_ceil(1_000),
            failed: REJECT,
            busy: BUSY,
        },
        _ => {
            if ours {
                shared.metrics.alarm(Alarm::Spoofed);
            }
            Action::Hangup(REJECT)
        }
    };
    shared.metrics.hook("incoming", action.name());
    Ok(Json(action))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> Option<IpAddr> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        source(peer.parse().unwrap(), &headers, &trusted)
    }

    #[test]
    fn the_source_is_named_by_a_trusted_hop_or_is_the_peer() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let ours = ["10.0.0.0/8"];
        assert_eq!(source_of("192.0.2.1", &[], &ours), ip("192.0.2.1"));
        // Whoever isn't trusted may write what they like.
        assert_eq!(source_of("192.0.2.1", &["176.10.154.199"], &ours), ip("192.0.2.1"));
        assert_eq!(source_of("10.0.0.1", &["176.10.154.199"], &ours), ip("176.10.154.199"));
        // The client's own header stands left of what our hop adds.
        assert_eq!(source_of("10.0.0.1", &["176.10.154.199, 192.0.2.1"], &ours), ip("192.0.2.1"));
        assert_eq!(source_of("10.0.0.1", &["176.10.154.199", "192.0.2.1, 10.0.0.2"], &ours), ip("192.0.2.1"));
        assert_eq!(source_of("10.0.0.1", &["[2001:db8::1]:443"], &ours), ip("2001:db8::1"));
        assert_eq!(source_of("::ffff:10.0.0.1", &["192.0.2.1"], &ours), ip("192.0.2.1"));
        assert_eq!(source_of("10.0.0.1", &["nonsense"], &ours), None);
    }

    #[test]
    fn what_cannot_be_read_in_a_header_does_not_hide_who_sent_it() {
        // The hop adds to the last line; the client wrote the rest of it, and the line before.
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "176.10.154.199".parse().unwrap());
        let line = axum::http::HeaderValue::from_bytes(b"\xff, 192.0.2.1").unwrap();
        headers.append("x-forwarded-for", line);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let found = source("10.0.0.1".parse().unwrap(), &headers, &trusted);
        assert_eq!(found, Some("192.0.2.1".parse().unwrap()));
    }
}
