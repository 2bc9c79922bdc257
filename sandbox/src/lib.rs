//! A loopback telephone network in one process: registrar, proxy, numbers with real media, and a web server for
//! the demo page. For the demo and the tests of wasm-softphone; it is no product and guards nothing of value.
//!
//! ```text
//! browser --WebSocket--> http --Line--> network (task) = proxy (state machine: registrar, forks, dialogs)
//!    |                                     |
//!    |                                   Line
//!    |                                     |
//!    +------------ media (UDP) --------- numbers (tasks): the crate's own Phone + str0m
//! ```
//!
//! Beside it stands a second network: the simulator of 46elks ([`elks`]), and the call proxy ([`call_proxy`]) that asks
//! it for calls.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod call_proxy;
pub mod clock;
pub mod elks;
mod http;
pub mod media;
pub mod network;
pub mod numbers;
pub mod proxy;
pub mod report;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use accounts::ACCOUNTS;
use call_proxy::CallProxy;
use elks::Elks;
use network::Network;
use proxy::Domain;
use report::Report;

/// How long open downloads may take once the server is told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Where things are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// TCP port on 127.0.0.1; 0 for any that is free.
    pub port: u16,
    /// The demo page.
    pub www: PathBuf,
    /// The npm package.
    pub pkg: PathBuf,
    /// Users beside the three, `crowd0` and so on.
    pub crowd: u32,
    /// The simulator of 46elks.
    pub elks: elks::Settings,
    /// Where to list all secrets, one a line, for whoever searches logs for them.
    pub secrets: Option<PathBuf>,
    /// Where to write the simulator's API user and password, as `user:password`, for a proxy in another process.
    pub elks_api_credentials: Option<PathBuf>,
}

/// Why the sandbox does not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on 127.0.0.1:{port}: {source} (another sandbox? try --port 0)")]
pub struct BindError {
    port: u16,
    source: io::Error,
}

/// A sandbox that listens.
pub struct Sandbox {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
    report: Report,
}

impl Sandbox {
    /// Starts to listen, on loopback only. Connections wait until [`Sandbox::run`].
    ///
    /// # Errors
    /// When the port is taken or may not be used.
    pub async fn bind(settings: Settings, report: Report) -> Result<Self, BindError> {
        let failed = |source| BindError { port: settings.port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, settings.port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, settings, report })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready.
    ///
    /// # Errors
    /// When the listening socket fails, or the system gives no thread.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let mut domain = Domain::default();
        domain.accounts.extend(accounts::crowd(self.settings.crowd));
        let network = Network::serving(domain, self.address.to_string(), self.report.clone());
        let (stopping, stopped) = watch::channel(false);
        numbers::spawn(network.clone(), self.report.clone(), stopped.clone()).await?;
        let elks = Elks::new(
            self.settings.elks.clone(),
            self.address.to_string(),
            self.report.clone(),
            stopped.clone(),
        )?;
        if let Some(path) = &self.settings.elks_api_credentials {
            let credentials = elks.api_credentials();
            write_secrets(path, &[format!("{}:{}", credentials.username, credentials.password)])?;
        }
        let calls = Arc::new(CallProxy::new(self.address, &elks).await?);
        if let Some(path) = &self.settings.secrets {
            let mut secrets = calls.secrets(&elks);
            secrets.extend(ACCOUNTS.iter().map(|account| account.password.to_owned()));
            write_secrets(path, &secrets)?;
        }
        let router = http::router(
            network,
            elks,
            calls.clone(),
            &self.settings.www,
            &self.settings.pkg,
            stopped.clone(),
        );
        // The proxy checks where its webhooks come from.
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let mut hurry = stopped;
        // SIP answers are small and come in pairs (100 and 180): without this the second waits some 40 ms for the
        // other side's delayed acknowledgement of the first. A connection that cannot have it works all the same.
        let listener = self.listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            stop.await;
            calls.begin_shut_down();
            // Nobody listens when there was no connection.
            let _ = stopping.send(true);
            // Keeps the channel open until every socket has seen the news.
            tokio::spawn(async move { stopping.closed().await });
        });
        tokio::select! {
            result = server => result,
            () = async {
                if hurry.changed().await.is_ok() {
                    tokio::time::sleep(STOP_PATIENCE).await;
                } else {
                    core::future::pending::<()>().await;
                }
            } => Ok(()),
        }
    }
}

/// Writes them, one a line, for nobody else to read.
fn write_secrets(path: &Path, secrets: &[String]) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    secrets.iter().try_for_each(|secret| writeln!(file, "{secret}"))
}
