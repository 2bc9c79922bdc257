//! `wasm-softphone-proxy --config FILE`
#![forbid(unsafe_code)]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};
use wasm_softphone_proxy::{Proxy, SetupError, config::Config, telemetry::init_logging};

/// How long connections and requests to 46elks may take to end once the proxy is to stop.
const STOP: Duration = Duration::from_secs(20);

/// Calls through the 46elks voice API for browsers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration, TOML; the environment goes before it
    #[arg(long, env = "WASM_SOFTPHONE_PROXY_CONFIG")]
    config: Option<PathBuf>,
    /// Check the configuration and what it names, and stop
    #[arg(long)]
    check_config: bool,
    /// What is logged
    #[arg(long, default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let Arguments { config, check_config, log } = Arguments::parse();
    let config = match Config::load(config.as_deref(), std::env::vars()) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    init_logging(&log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("no runtime: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let run = async { if check_config { Proxy::check(config).await } else { serve(config).await } };
    match runtime.block_on(run) {
        Ok(()) => {
            if check_config {
                println!("the configuration is good");
            }
            ExitCode::SUCCESS
        }
        Err(problem) => {
            error!(reason = %problem, "cannot run");
            eprintln!("{problem}");
            match problem {
                SetupError::Config(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn serve(config: Config) -> Result<(), SetupError> {
    let listen = config.listen;
    let proxy = Arc::new(Proxy::new(config).await?);
    let listener = TcpListener::bind(listen).await?;
    let listen = listener.local_addr()?;
    info!(%listen, version = env!("CARGO_PKG_VERSION"), "listening");
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopping = Arc::clone(&proxy);
    let (tell, told) = tokio::sync::oneshot::channel();
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        info!("stopping");
        // Long-polls are answered, so that their connections end.
        stopping.begin_shut_down();
        // Nobody hears it if the server has failed.
        let _unheard = tell.send(());
    };
    let service = proxy.router().into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(stop);
    let overdue = async {
        // An error: the server ended by itself, and so does the select.
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(STOP).await;
    };
    let served = tokio::select! {
        served = async { server.await } => served,
        () = overdue => Ok(()),
    };
    // Requests to 46elks have their own limit, which is shorter.
    if tokio::time::timeout(STOP, proxy.shut_down()).await.is_err() {
        error!("what was under way was cut off");
    }
    info!("stopped");
    Ok(served?)
}
