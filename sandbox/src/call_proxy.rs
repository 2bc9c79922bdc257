//! The call proxy that pages of the demo use, mounted at `/elks`: the very one that people deploy, in its development
//! mode, with the simulator as its provider and this server as the application that its users log in to.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use getrandom::fill;
use jsonwebtoken::{EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use wasm_softphone_proxy::Proxy;
use wasm_softphone_proxy::config::{
    BasicCredentials, BudgetConfig, Config, IncomingConfig, LimitsConfig, SipConfig, UserConfig,
};
use wasm_softphone_proxy::numbers::E164;

use crate::elks::{self, Elks};

/// Where it is mounted.
pub const PATH: &str = "/elks";
/// The key of each user's only caller ID.
pub const CALLER_ID: &str = "main";
/// `aud` of the tokens.
const AUDIENCE: &str = "wasm-softphone-proxy";
/// The proxy takes none that live longer than 15 minutes.
const TOKEN_LIFE: Duration = Duration::from_secs(14 * 60);

/// The mounted proxy, and the application that lets users use it.
pub struct CallProxy {
    proxy: Proxy,
    key: SecretString,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

impl CallProxy {
    /// The proxy of a sandbox at this address, for the users of the simulator.
    ///
    /// # Errors
    /// When the system gives no randomness, or the proxy refuses its configuration.
    pub async fn new(address: SocketAddr, elks: &Elks) -> io::Result<Self> {
        let key = secret()?;
        let origin = format!("http://{address}");
        let credentials = elks.api_credentials();
        let upstream =
            BasicCredentials { username: credentials.username.into(), password: credentials.password.into() };
        let mut config = Config::development(
            address,
            &format!("{origin}{PATH}"),
            &format!("{origin}/a1"),
            upstream,
            secret()?,
            key.clone(),
        );
        AUDIENCE.clone_into(&mut config.auth.audience);
        let mut public_numbers = BTreeMap::new();
        for (phone, public, _, password) in elks.users() {
            let number = E164::parse(phone).map_err(io::Error::other)?;
            let caller_id = E164::parse(public).map_err(io::Error::other)?;
            public_numbers.insert(caller_id.clone(), number.clone());
            let user = UserConfig {
                number,
                caller_ids: BTreeMap::from([(CALLER_ID.to_owned(), caller_id)]),
                default_caller_id: Some(CALLER_ID.to_owned()),
                sip_password: Some(password.into()),
            };
            config.users.insert(phone.to_owned(), user);
        }
        let incoming = secret()?;
        for (_, public, ..) in elks.users() {
            elks.set_voice_start(
                public,
                format!("{origin}{PATH}/hooks/incoming/{}", incoming.expose_secret()),
            );
        }
        config.incoming = IncomingConfig { secret: Some(incoming), numbers: public_numbers };
        config.sip = SipConfig {
            servers: vec![format!("ws://{address}/w1/websocket")],
            domain: elks::DOMAIN.to_owned(),
        };
        // Tests dial more in a minute than people do in a day, and a far end that rings for 20 s must be reached.
        config.timeouts.connect = Duration::from_secs(25);
        config.limits = LimitsConfig {
            user_per_minute: 10_000,
            user_per_hour: 100_000,
            destination: 10_000,
            global_per_minute: 10_000,
            ..LimitsConfig::default()
        };
        config.budget = BudgetConfig { minutes_per_day: None, cost_per_day: None, ..BudgetConfig::default() };
        let proxy = Proxy::new(config).await.map_err(io::Error::other)?;
        Ok(Self { proxy, key })
    }

    /// Its endpoints, to be mounted at [`PATH`].
    pub fn router(&self) -> Router {
        self.proxy.router()
    }

    /// The bearer token of a user who has logged in just now, by WebRTC number. `None` should the clock or the key be
    /// of no use.
    #[must_use]
    pub fn token(&self, user: &str) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let claims =
            Claims { sub: user, aud: AUDIENCE, iat: now.as_secs(), exp: (now + TOKEN_LIFE).as_secs() };
        let key = EncodingKey::from_secret(self.key.expose_secret().as_bytes());
        encode(&Header::default(), &claims, &key).ok()
    }

    /// What must never stand in a log, with the simulator's own.
    #[must_use]
    pub fn secrets(&self, elks: &Elks) -> Vec<String> {
        let credentials = elks.api_credentials();
        let passwords = elks.users().into_iter().map(|(_, _, _, password)| password);
        [credentials.username, credentials.password, self.key.expose_secret().to_owned()]
            .into_iter()
            .chain(passwords)
            .collect()
    }

    /// Answers who waits; to be called when the server stops.
    pub fn begin_shut_down(&self) {
        self.proxy.begin_shut_down();
    }
}

/// 32 random bytes in hex.
fn secret() -> io::Result<SecretString> {
    let mut bytes = [0_u8; 32];
    fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}
