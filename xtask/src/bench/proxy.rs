//! `cargo xtask bench proxy`: how many calls the proxy starts, beside a handler that does nothing, in the same run.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    process::{Group, Task},
    setup, workspace,
};

/// Users with a number each. One has one call at a time, so this is also the most calls that can be started.
const USERS: usize = 60_000;
const CONNECTIONS: &str = "32";
const SECONDS: u64 = 5;
/// How often each is measured, in turn.
const ROUNDS: usize = 3;
/// Long enough for the proxy; guards nothing.
const KEY: &str = "a key for the load test alone, not a secret";
const HOOK_KEY: &str = "another key for the load test alone";

/// Builds what it needs, and prints a table.
pub(super) fn run() -> Result<()> {
    if let Some(reason) = setup::program("wrk", "wrk")? {
        bail!(reason);
    }
    // As people deploy it.
    let package = ["--profile", "server", "--package", "wasm-softphone-proxy"];
    Task::cargo()
        .arg("build")
        .args(package)
        .args(["--bins", "--example", "load_peers"])
        .deadline(Duration::from_secs(1800))
        .run()?;
    let built = workspace::target().join("server");
    let dir = workspace::scratch()?.join("bench");
    fs::create_dir_all(&dir)?;
    println!(
        "{SECONDS} s each, {CONNECTIONS} connections, {ROUNDS} rounds in turn; one PUT is one call started\n"
    );
    println!("              calls/s    p50 ms    p99 ms    max ms   refused   memory MB");
    for round in 0..ROUNDS {
        let [bare, upstream, listen] = free_ports()?;
        let tokens = dir.join("tokens.txt");
        let _peers = Task::new(built.join("examples").join("load_peers"))
            .args([&bare.to_string(), &upstream.to_string()])
            .arg(&tokens)
            .arg(USERS.to_string())
            .env("LOAD_KEY", KEY)
            .start_logged(&dir.join("peers.log"))?;
        let config = dir.join("proxy.toml");
        fs::write(&config, configuration(listen, upstream))?;
        let running = Task::new(built.join("wasm-softphone-proxy"))
            .arg("--config")
            .arg(&config)
            .args(["--log", "warn"])
            .start_logged(&dir.join("proxy.log"))?;
        for port in [bare, upstream, listen] {
            wait_for(port)?;
        }
        let script = workspace::root().join("proxy/benches/calls.lua");
        let load = |port: u16| measure(port, &script, &tokens);
        let before = memory(&running)?;
        // Which comes first changes, as the machine may.
        let figures = if round % 2 == 0 {
            [("bare axum", load(bare)?), ("proxy", load(listen)?)]
        } else {
            let proxy = load(listen)?;
            [("bare axum", load(bare)?), ("proxy", proxy)]
        };
        let after = memory(&running)?;
        for (name, figures) in figures {
            let memory = if name == "proxy" { format!("{before:.0} to {after:.0}") } else { String::new() };
            println!(
                "{name:<12}{:>9.0}{:>10.2}{:>10.2}{:>10.2}{:>10}   {memory}",
                figures.per_second, figures.p50, figures.p99, figures.max, figures.refused
            );
        }
    }
    Ok(())
}

/// What the load tool found; times in milliseconds.
struct Figures {
    per_second: f64,
    p50: f64,
    p99: f64,
    max: f64,
    refused: f64,
}

fn measure(port: u16, script: &Path, tokens: &Path) -> Result<Figures> {
    let text = Task::new("wrk")
        .args(["--threads", "1", "--connections", CONNECTIONS, "--duration", &format!("{SECONDS}s")])
        .arg("--script")
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}"))
        .env("LOAD_TOKENS", tokens)
        .env("LOAD_PATH", "/v1/calls/")
        .deadline(Duration::from_secs(SECONDS + 30))
        .read()?;
    let line = text.lines().find(|line| line.starts_with("requests=")).context("wrk said nothing")?;
    let figure = |name: &str| -> Result<f64> {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.with_context(|| format!("wrk did not say {name}"))?.parse().context("a figure of wrk")
    };
    Ok(Figures {
        per_second: figure("requests")? / figure("seconds")?,
        p50: figure("p50_us")? / 1000.0,
        p99: figure("p99_us")? / 1000.0,
        max: figure("max_us")? / 1000.0,
        refused: figure("errors")?,
    })
}

fn configuration(listen: u16, upstream: u16) -> String {
    format!(
        r#"listen = "127.0.0.1:{listen}"
public_url = "http://127.0.0.1:{listen}"
hook_key = "{HOOK_KEY}"
development = true
caller_ids = {{ main = "+46766860000" }}

[upstream]
base_url = "http://127.0.0.1:{upstream}/a1"
username = "u0123456789abcdef0123456789abcdef"
password = "0123456789abcdef0123456789abcdef"

[auth]
algorithm = "HS256"
secret = "{KEY}"
audience = "load"
users_from_claims = true

[destinations]
countries = ["SE"]

[limits]
user_per_minute = 1000000
user_per_hour = 1000000
destination = 1000000
global_per_minute = 100000000
max_keys = 1000000
"#
    )
}

fn free_ports() -> Result<[u16; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn wait_for(port: u16) -> Result<()> {
    let started = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        if started.elapsed() > Duration::from_secs(60) {
            bail!("nothing listens on port {port}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Resident memory in megabytes.
fn memory(group: &Group) -> Result<f64> {
    let path = format!("/proc/{}/status", group.id());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = kilobytes.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(kilobytes.parse::<f64>()? / 1024.0)
}
