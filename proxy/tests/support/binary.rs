//! The real binary, which can be killed.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
};

use super::support::{
    ALICE, API_PASSWORD, API_USER, BRIDGE, Browser, DEADLINE, Elks, HOOK_KEY, JWT_SECRET, SIP_SECRET,
    eventually,
};

pub(crate) struct Binary {
    child: Child,
    pub(crate) browser: Browser,
    log: Arc<Mutex<String>>,
}

/// What is particular about an instance.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// The table `[store]`.
    pub(crate) store: String,
    /// The table `[timeouts]`.
    pub(crate) timeouts: String,
    pub(crate) crash_at: Option<&'static str>,
    pub(crate) panic_at: Option<&'static str>,
}

impl Binary {
    /// Starts the binary and waits until it listens.
    pub(crate) fn start(elks: &Elks, folder: &Path, options: &Options) -> Self {
        let config = write_config(elks, folder, options);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-softphone-proxy"));
        command.arg("--config").arg(config).stderr(Stdio::piped()).env_remove("CRASH_AT");
        if let Some(step) = options.crash_at {
            command.env("CRASH_AT", step);
        }
        if let Some(step) = options.panic_at {
            command.env("PANIC_AT", step);
        }
        let mut child = command.spawn().unwrap();
        let (lines, listening) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let mut file = kept_log(child.id());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let value: Option<serde_json::Value> = serde_json::from_str(&line).ok();
                let listen = value.as_ref().and_then(|line| line["listen"].as_str()?.parse().ok());
                if let Some(address) = listen {
                    lines.send(address).unwrap();
                }
                if let Some(file) = &mut file {
                    writeln!(file, "{line}").unwrap();
                }
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address: SocketAddr = listening.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            // The process may have a listener all the same.
            child.kill().unwrap();
            panic!("the proxy doesn't listen: {}", log.lock().unwrap())
        });
        Self { child, browser: Browser::new(&format!("http://{address}")), log }
    }

    /// Where a webhook is on this instance.
    pub(crate) fn here(&self, hook: &str) -> String {
        let path = url::Url::parse(hook).unwrap().path().to_owned();
        format!("{}{path}", self.browser.base)
    }

    /// kill -9.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has died by itself.
    pub(crate) async fn died(mut self) -> String {
        let mut child = Some(&mut self.child);
        let child = child.take().unwrap();
        eventually("the proxy dies", || {
            let status = child.try_wait().unwrap();
            async move { status }
        })
        .await;
        self.log.lock().unwrap().clone()
    }

    /// SIGTERM, and its end; gives the exit status's success and the log.
    pub(crate) async fn terminate(mut self) -> (bool, String) {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let child = &mut self.child;
        let status = eventually("the proxy stops", || {
            let status = child.try_wait().unwrap();
            async move { status }
        })
        .await;
        (status.success(), self.log.lock().unwrap().clone())
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // It may be dead already.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

fn write_config(elks: &Elks, folder: &Path, options: &Options) -> PathBuf {
    let path = folder.join("config.toml");
    let Options { store, timeouts, .. } = options;
    let elks = elks.address;
    fs::write(
        &path,
        format!(
            r#"
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:1"
hook_key = "{HOOK_KEY}"
hook_sources = ["127.0.0.1/32"]
development = true

[upstream]
base_url = "http://{elks}/a1"
username = "{API_USER}"
password = "{API_PASSWORD}"

[auth]
algorithm = "HS256"
secret = "{JWT_SECRET}"
audience = "wasm-softphone-proxy"

[[users]]
sub = "alice"
number = "{ALICE}"
caller_ids = {{ main = "{BRIDGE}" }}
default_caller_id = "main"
sip_password = "{SIP_SECRET}"

[destinations]
countries = ["SE"]

[limits]
user_per_minute = 1000
user_per_hour = 1000
destination = 1000
global_per_minute = 1000

[timeouts]
{timeouts}

[store]
{store}
"#
        ),
    )
    .unwrap();
    path
}

/// Where the log of an instance stays, for whoever searches all logs for secrets, and what to search it for.
fn kept_log(instance: u32) -> Option<fs::File> {
    let folder = PathBuf::from(std::env::var_os("TEST_LOGS")?);
    let secrets = [API_USER, API_PASSWORD, HOOK_KEY, JWT_SECRET, SIP_SECRET, ""].join("\n");
    fs::write(folder.join("proxy-tests-secrets.txt"), secrets).unwrap();
    Some(fs::File::create(folder.join(format!("proxy-{instance}.log"))).unwrap())
}
