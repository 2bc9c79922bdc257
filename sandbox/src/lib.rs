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
#![forbid(unsafe_code)]

pub mod accounts;
pub mod clock;
mod http;
pub mod media;
pub mod network;
pub mod numbers;
pub mod proxy;
pub mod report;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use network::Network;
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
        let network = Network::spawn(self.address.to_string(), self.report.clone());
        let (stopping, stopped) = watch::channel(false);
        numbers::spawn(network.clone(), self.report.clone(), stopped.clone()).await?;
        let router = http::router(network, &self.settings.www, &self.settings.pkg, stopped.clone());
        let mut hurry = stopped;
        // SIP answers are small and come in pairs (100 and 180): without this the second waits some 40 ms for the
        // other side's delayed acknowledgement of the first. A connection that cannot have it works all the same.
        let listener = self.listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            stop.await;
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
