//! The two requests that 46elks ever gets from us: make a call, and read a call by its id.
//!
//! Each request is built here. Nothing is repeated: a request that got no answer may have made a call.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::{
    calls::{Code, Hangup, Refusal},
    client,
    config::UpstreamConfig,
};

/// No answer of 46elks is longer.
const LONGEST: usize = 64 * 1024;
/// The longest time that 46elks may tell us to stay away, in seconds.
const LONGEST_RETRY: u64 = 3_600;

/// The client of the 46elks API.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client,
    calls: String,
    username: SecretString,
    password: SecretString,
}

/// What the request for a call says.
#[derive(Clone, Debug)]
pub struct MakeCall<'a> {
    /// The bridge number.
    pub from: &'a str,
    /// The session's own WebRTC number.
    pub to: &'a str,
    /// How long it may ring, in seconds.
    pub timeout_s: u64,
    /// Where 46elks asks what to do once it is answered.
    pub voice_start: &'a str,
    /// Where 46elks tells that it is over.
    pub whenhangup: &'a str,
}

/// What came of the request for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 46elks made the call with this id.
    Started(String),
    /// It didn't, or its answer can't be used.
    Refused(Refusal),
    /// The request went out and its answer didn't come.
    Unknown,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client: {0}")]
pub struct NoClient(reqwest::Error);

impl Upstream {
    /// A client that follows no redirect, uses no proxy of the environment and keeps no connection: the first byte
    /// on a kept one may meet its end, which looks like a request that was lost.
    ///
    /// # Errors
    /// The TLS library can't be set up.
    pub fn new(config: &UpstreamConfig) -> Result<Self, NoClient> {
        let client = client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .connect_timeout(config.connect_timeout)
            .timeout(config.total_timeout)
            .user_agent(concat!("wasm-softphone-proxy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(NoClient)?;
        Ok(Self {
            client,
            calls: format!("{}/calls", config.base_url),
            username: config.username.clone(),
            password: config.password.clone(),
        })
    }

    /// Asks for a call, once. Gives the status, too, where there was one.
    pub async fn make_call(&self, call: &MakeCall<'_>) -> (Outcome, Option<u16>) {
        let form = [
            ("from", call.from),
            ("to", call.to),
            ("timeout", &call.timeout_s.to_string()),
            ("voice_start", call.voice_start),
            ("whenhangup", call.whenhangup),
        ];
        let request = self
            .client
            .post(&self.calls)
            .basic_auth(self.username.expose_secret(), Some(self.password.expose_secret()))
            .form(&form);
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                (classify(response).await, Some(status))
            }
            // Nothing was sent.
            Err(error) if error.is_connect() || error.is_builder() => (refused(Code::ProviderError), None),
            Err(_) => (Outcome::Unknown, None),
        }
    }

    /// Reads a call. `None` where that isn't possible now.
    pub async fn read_call(&self, id: &str) -> Option<Hangup> {
        if !is_call_id(id) {
            return None;
        }
        let request = self
            .client
            .get(format!("{}/{id}", self.calls))
            .basic_auth(self.username.expose_secret(), Some(self.password.expose_secret()));
        let response = request.send().await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let call: Value = serde_json::from_slice(&body(response).await?).ok()?;
        Some(Hangup::from_json(&call)).filter(|call| call.id.as_deref().is_none_or(|found| found == id))
    }
}

/// Whether it is an id of a call: `c` and 32 hexadecimal digits. It becomes a part of a path.
#[must_use]
pub fn is_call_id(id: &str) -> bool {
    id.strip_prefix('c')
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

async fn classify(response: Response) -> Outcome {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .map(|seconds| seconds.min(LONGEST_RETRY));
    let Some(body) = body(response).await else {
        // A success whose rest was lost is still a call, probably.
        return if status.is_success() { Outcome::Unknown } else { by_text(status, "", retry_after) };
    };
    if status.is_success() {
        let call: Option<Value> = serde_json::from_slice(&body).ok();
        let id = call.as_ref().and_then(|call| call.get("id")?.as_str()).filter(|id| is_call_id(id));
        let made = Refusal { code: Code::ProviderError, retry_after_s: None, made: true };
        return id.map_or(Outcome::Refused(made), |id| Outcome::Started(id.to_owned()));
    }
    by_text(status, &String::from_utf8_lossy(&body), retry_after)
}

/// Errors are plain text. What it begins with says more than the status, which is not documented.
fn by_text(status: StatusCode, text: &str, retry_after_s: Option<u64>) -> Outcome {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Outcome::Refused(Refusal { code: Code::ProviderBusy, retry_after_s, made: false });
    }
    let begins = |prefix: &str| status.is_client_error() && text.trim_start().starts_with(prefix);
    refused(match status.as_u16() {
        401 => Code::ProviderAuth,
        402 => Code::ProviderCredit,
        _ if begins("Not enough credits") => Code::ProviderCredit,
        _ if begins("Invalid to number") => Code::InvalidDestination,
        _ if begins("Invalid from number") || begins("Missing key") => Code::ProviderConfig,
        _ => Code::ProviderError,
    })
}

fn refused(code: Code) -> Outcome {
    Outcome::Refused(Refusal { code, retry_after_s: None, made: false })
}

async fn body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Some(Vec::new());
        }
    }
    Some(body)
}

/// How long a browser should wait when 46elks doesn't say.
pub(crate) const BUSY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_before_they_become_a_path() {
        assert!(is_call_id("c719b1eefbf65b1f89c013e6433dbf537"));
        for bad in ["", "c", "c719b1eefbf65b1f89c013e6433dbf53", "n719b1eefbf65b1f89c013e6433dbf537", "c../x"]
        {
            assert!(!is_call_id(bad), "{bad}");
        }
        assert!(!is_call_id("cé19b1eefbf65b1f89c013e6433dbf53"));
        assert!(!is_call_id("C719B1EEFBF65B1F89C013E6433DBF537"));
    }
}
