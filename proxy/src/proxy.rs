use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::Router;
use secrecy::ExposeSecret;
use url::Url;

use crate::{
    auth::{AuthSetupError, Authenticator},
    calls::Timing,
    clock::{self, millis},
    config::{Config, ConfigError, StoreConfig},
    exchange::Exchange,
    http::{self, Parts, Shared},
    limits::{Limits, SystemClock},
    policy::{Policy, PolicyDataError},
    store::{Store, Unavailable},
    telemetry::Metrics,
    upstream::{NoClient, Upstream},
};

/// A proxy that is ready to be served.
///
/// ```no_run
/// # async fn serve(config: wasm_softphone_proxy::config::Config) -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = wasm_softphone_proxy::Proxy::new(config).await?;
/// let app = axum::Router::new().nest("/elks", proxy.router());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// // The webhooks' sources are checked, so the server must tell the peers' addresses.
/// axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?;
/// proxy.shut_down().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    shared: Shared,
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store can't be opened.
    #[error("{0}")]
    Store(#[from] Unavailable),
    /// Tokens can't be checked.
    #[error("{0}")]
    Auth(#[from] AuthSetupError),
    /// The rules for destinations can't be read.
    #[error("{0}")]
    Policy(#[from] PolicyDataError),
    /// 46elks can't be called.
    #[error("{0}")]
    Client(#[from] NoClient),
    /// The address can't be listened on.
    #[error("listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The webhooks' address can't be built.
    #[error("public_url: is no address that webhooks could have")]
    PublicUrl,
}

impl Proxy {
    /// Checks the configuration, opens the store and takes up the calls that are in it.
    ///
    /// # Errors
    /// Something isn't as it must be; nothing has been dialled.
    pub async fn new(config: Config) -> Result<Self, SetupError> {
        config.validate()?;
        let timing = timing(&config);
        let store = match &config.store {
            StoreConfig::Memory { journal: None } => Store::memory(timing),
            StoreConfig::Memory { journal: Some(path) } => Store::journalled(path, timing, clock::now())?,
            StoreConfig::Redis { url, prefix } => Store::redis(url.expose_secret(), prefix, timing)?,
        };
        let hooks = hooks(&config).ok_or(SetupError::PublicUrl)?;
        let upstream = Upstream::new(&config.upstream)?;
        let shared_counters = store.counters();
        let limits = Arc::new(Limits::with(&config, Arc::new(SystemClock::default()), shared_counters));
        let metrics = Arc::new(Metrics::new());
        let (live, settled) = store.taken_up();
        metrics.calls_live(live);
        for (ended_at, duration_s, cost) in settled {
            limits.record_end_at(Duration::from_millis(ended_at), Duration::from_secs(duration_s), cost);
        }
        let shared = Arc::new(Parts {
            auth: Authenticator::new(&config).await?,
            policy: Policy::new(&config)?,
            exchange: Exchange::new(
                &config,
                hooks,
                store,
                timing,
                upstream,
                Arc::clone(&limits),
                Arc::clone(&metrics),
            ),
            limits,
            metrics,
            long_poll: config.timeouts.long_poll,
            own_digits: config
                .all_own_numbers()
                .iter()
                .map(|own| own.digits().to_owned())
                .collect::<BTreeSet<_>>(),
            config,
        });
        Ok(Self { shared })
    }

    /// Checks a configuration and what it names, as far as nothing is opened or sent for it.
    ///
    /// # Errors
    /// Something isn't as it must be.
    pub async fn check(config: Config) -> Result<(), SetupError> {
        config.validate()?;
        hooks(&config).ok_or(SetupError::PublicUrl)?;
        Upstream::new(&config.upstream)?;
        Authenticator::new(&config).await?;
        Policy::new(&config)?;
        Ok(())
    }

    /// All endpoints. To be served with the peers' addresses (`into_make_service_with_connect_info`).
    pub fn router(&self) -> Router {
        http::router(&self.shared)
    }

    /// Answers who waits and starts no more calls: the first half of [`shut_down`](Self::shut_down), for when
    /// the server is still to finish its connections.
    pub fn begin_shut_down(&self) {
        self.shared.exchange.stopping.cancel();
    }

    /// Answers who waits, starts no more calls, and returns when no request to 46elks is under way any more.
    pub async fn shut_down(&self) {
        self.shared.exchange.shut_down().await;
    }
}

fn timing(config: &Config) -> Timing {
    let timeouts = &config.timeouts;
    Timing {
        ring: millis(timeouts.ring),
        connect: millis(timeouts.connect),
        claim: millis(timeouts.claim),
        confirm: millis(timeouts.confirm),
        idle: millis(timeouts.idle),
        max_duration: millis(config.max_duration),
        record_life: millis(timeouts.record_life),
        tombstone: millis(timeouts.tombstone),
        ..Timing::default()
    }
}

/// Where 46elks finds the webhooks, with the credentials that it is to show.
fn hooks(config: &Config) -> Option<Url> {
    let mut url = Url::parse(&config.public_url).ok()?;
    if let Some(basic) = &config.hook_basic {
        url.set_username(basic.username.expose_secret()).ok()?;
        url.set_password(Some(basic.password.expose_secret())).ok()?;
    }
    (!url.cannot_be_a_base()).then_some(url)
}
