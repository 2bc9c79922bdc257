//! `cargo run -p sandbox -- --port 8080`
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use sandbox::accounts::{ACCOUNTS, DOMAIN};
use sandbox::numbers::NUMBERS;
use sandbox::report::Report;
use sandbox::{Sandbox, Settings};

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
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { port, trace, www, pkg } = Arguments::parse();
    for (what, directory) in [("demo page", &www), ("npm package", &pkg)] {
        if !directory.is_dir() {
            eprintln!("no {what} at {}", directory.display());
        }
    }
    let report = Report::new(trace, say);
    let sandbox = match Sandbox::bind(Settings { port, www, pkg }, report).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    say(&format!("http://{}/", sandbox.address()));
    for account in ACCOUNTS {
        say(&format!("  sip:{}@{DOMAIN}  password {}", account.user, account.password));
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
