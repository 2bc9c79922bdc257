//! The loopback telephone network that the demo and the browser tests talk to.

use std::{
    env::consts::EXE_SUFFIX,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    logs,
    process::{Group, Task, tail},
    suites::Suite,
    workspace,
};

/// The port of the tests where it is free, as in a namespace of their own. It is compiled into the browser tests, so another one costs a build.
pub(crate) const TEST_PORT: u16 = 18_080;

/// How long the sandbox may take to answer its first request.
const START: Duration = Duration::from_secs(20);

/// Compiles it, with cargo's own account of how far that is.
pub(crate) fn build_in_sight() -> Result<()> {
    Task::cargo().args(["build", "--package", "sandbox"]).deadline(Duration::from_secs(1800)).in_sight()
}

/// Compiles it.
pub(crate) fn build() -> Result<()> {
    Task::cargo().args(["build", "--package", "sandbox"]).deadline(Duration::from_secs(1800)).run()
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, TEST_PORT))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}

/// Where its page, its package and its SIP server are.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// A running sandbox; it ends when this is dropped.
#[must_use = "the sandbox ends when this is dropped"]
pub(crate) struct Sandbox {
    group: Group,
    log: Option<PathBuf>,
}

impl Sandbox {
    /// Starts it with this package and its call log on our own output, and waits until it answers.
    pub(crate) fn start_in_sight(port: u16, package: &Path) -> Result<Self> {
        let task = task(port).arg("--pkg").arg(package).arg("--show-passwords");
        Self { group: task.start()?, log: None }.ready(port)
    }

    /// Starts it with its call log in a file, and waits until it answers.
    pub(crate) fn start_logged(port: u16, suite: Suite) -> Result<Self> {
        let log = logs::dir(suite)?.join("sandbox.log");
        let task =
            task(port).arg("--secrets-file").arg(logs::secrets_file(suite)?).args(["--proxy-log", "info"]);
        Self { group: task.start_logged(&log)?, log: Some(log) }.ready(port)
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.group.wait()?;
        if !status.success() {
            bail!("the sandbox ended: {status}");
        }
        Ok(())
    }

    /// The end of its call log, for a failure report.
    pub(crate) fn recent_log(&self) -> String {
        let text = self.log.as_ref().and_then(|log| fs::read_to_string(log).ok());
        tail(&text.unwrap_or_default(), 60)
    }

    fn ready(mut self, port: u16) -> Result<Self> {
        let started = Instant::now();
        while !answers(port) {
            if let Some(status) = self.group.try_wait()? {
                bail!("the sandbox did not start: {status}\n{}", self.recent_log());
            }
            if started.elapsed() > START {
                bail!("the sandbox does not answer on {}\n{}", url(port), self.recent_log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }
}

/// What [`build`] makes.
pub(crate) fn program() -> PathBuf {
    workspace::target().join("debug").join(format!("sandbox{EXE_SUFFIX}"))
}

fn task(port: u16) -> Task {
    Task::new(program()).args(["--port", &port.to_string()])
}

fn answers(port: u16) -> bool {
    demo_settings(port).is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}

/// The whole answer to a request for the demo's settings.
fn demo_settings(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET /demo.json HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// `Authorization` of a page's session with the call proxy.
pub(crate) fn proxy_authorization(port: u16) -> Result<String> {
    let answer = demo_settings(port).context("the sandbox does not answer")?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    let settings: serde_json::Value = serde_json::from_str(body).context("/demo.json")?;
    let header = settings.pointer("/elks/0/proxyHeaders/Authorization").and_then(serde_json::Value::as_str);
    header.map(str::to_owned).context("/demo.json has no session with the proxy")
}
