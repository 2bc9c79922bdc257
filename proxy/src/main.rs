//! `wasm-softphone-proxy --config FILE`
#![forbid(unsafe_code)]

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};
use wasm_softphone_proxy::{
    Patience, Proxy, SetupError,
    config::Config,
    telemetry::{init_logging, log_panics},
};

/// How long requests to 46elks may take to end once the proxy is to stop.
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
    // Not `vars()`, which panics at what is no Unicode, whosever variable it is.
    let text = |text: OsString| text.to_string_lossy().into_owned();
    let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let config = match Config::load(config.as_deref(), environment) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    init_logging(&log);
    log_panics();
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
    let proxy = Proxy::new(config).await?;
    let listener = TcpListener::bind(listen).await?;
    let listen = listener.local_addr()?;
    info!(%listen, version = env!("CARGO_PKG_VERSION"), "listening");
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        info!("stopping");
        // Long-polls are answered, so that their connections end.
        proxy.begin_shut_down();
    };
    wasm_softphone_proxy::serve(listener, proxy.router(), Patience::default(), stop).await;
    // Requests to 46elks have their own limit, which is shorter.
    if tokio::time::timeout(STOP, proxy.shut_down()).await.is_err() {
        error!("what was under way was cut off");
    }
    info!("stopped");
    Ok(())
}
