//! `cargo run -p sandbox -- --port 8080`
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sandbox::accounts::{ACCOUNTS, DOMAIN};
use sandbox::elks::options::{Options, Reg};
use sandbox::numbers::NUMBERS;
use sandbox::report::Report;
use sandbox::{Sandbox, Settings, elks};

/// A loopback telephone network in one process: the demo page, three SIP accounts, and numbers to call.
#[derive(Parser)]
#[command(name = "sandbox", version)]
struct Arguments {
    /// TCP port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Print every SIP message, secrets redacted
    #[arg(long)]
    trace: bool,
    /// Directory of the demo page
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../www"))]
    www: PathBuf,
    /// Directory of the npm package
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../pkg"))]
    pkg: PathBuf,
    /// Makes the ids, secrets and times of the 46elks simulator the same in every run
    #[arg(long)]
    seed: Option<u64>,
    /// Registrations of the 46elks simulator: last-wins, or fork to ring all phones of a number
    #[arg(long, value_parser = ["last-wins", "fork"], default_value = "last-wins")]
    reg: String,
    /// POST /a1/calls/{id} with state=hangup works in the 46elks simulator, which no document says
    #[arg(long)]
    undocumented_hangup: bool,
    /// Name of a header in the 46elks simulator's INVITE that carries the call's id
    #[arg(long)]
    callid_header: Option<String>,
    /// Show the passwords of the accounts too
    #[arg(long)]
    show_passwords: bool,
    /// Log what the call proxy does too, from this level on: info, warn, ...
    #[arg(long)]
    proxy_log: Option<String>,
    /// Add so many users: crowd0, crowd1, ... with the password crowd0-secret and so on
    #[arg(long, default_value_t = 0)]
    crowd: u32,
    /// List all secrets in this file, one a line
    #[arg(long)]
    secrets_file: Option<PathBuf>,
    /// Write the API user and password of the 46elks simulator to this file, as user:password
    #[arg(long)]
    elks_api_credentials_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments {
        port,
        trace,
        www,
        pkg,
        seed,
        reg,
        undocumented_hangup,
        callid_header,
        show_passwords,
        proxy_log,
        crowd,
        secrets_file: secrets,
        elks_api_credentials_file: elks_api_credentials,
    } = Arguments::parse();
    for (what, directory) in [("demo page", &www), ("npm package", &pkg)] {
        if !directory.is_dir() {
            eprintln!("no {what} at {}", directory.display());
        }
    }
    if let Some(level) = proxy_log {
        wasm_softphone_proxy::telemetry::init_logging(&level);
    }
    let report = Report::new(trace, say);
    let reg = if reg == "fork" { Reg::Fork } else { Reg::LastWins };
    let options = Options { reg, undocumented_hangup, callid_header, ..Options::default() };
    let elks = elks::Settings { seed, options };
    let settings = Settings { port, www, pkg, crowd, elks, secrets, elks_api_credentials };
    let sandbox = match Sandbox::bind(settings, report).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    say(&format!("http://{}/", sandbox.address()));
    for account in ACCOUNTS {
        // A log is no place for passwords, not even for these.
        let password =
            if show_passwords { format!("  password {}", account.password) } else { String::new() };
        say(&format!("  sip:{}@{DOMAIN}{password}", account.user));
    }
    for number in NUMBERS {
        say(&format!("  {}  {}", number.number, number.name));
    }
    let stop = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("cannot wait for Ctrl-C: {error}");
            core::future::pending::<()>().await;
        }
    };
    match sandbox.run(stop).await {
        Ok(()) => {
            say("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. A reader that has closed the pipe is no reason to end the calls, as `println!` would.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
