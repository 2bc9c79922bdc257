//! Runs the [`Proxy`]: one task that owns it, and the lines that connect phones to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, OsEntropy};
use crate::proxy::{ConnId, Domain, Load, Output, Proxy};
use crate::report::Report;

/// Messages that may wait for a slow reader before its connection is given up.
const LINE_BUFFER: usize = 1024;

enum Input {
    Opened(ConnId, mpsc::Sender<String>),
    Service(ConnId, mpsc::Sender<String>, String),
    Configure(Box<Domain>),
    Data(ConnId, Vec<u8>),
    Closed(ConnId),
    Load(oneshot::Sender<Load>),
}

/// The way to the proxy; cheap to clone.
#[derive(Clone)]
pub struct Network {
    inputs: mpsc::Sender<Input>,
    next: Arc<AtomicU64>,
}

impl Network {
    /// Starts a proxy that is reached at this loopback address.
    #[must_use]
    pub fn spawn(own: String, report: Report) -> Self {
        Self::serving(Domain::default(), own, report)
    }

    /// The same for a domain of its own.
    #[must_use]
    pub fn serving(domain: Domain, own: String, report: Report) -> Self {
        let (inputs, receiver) = mpsc::channel(LINE_BUFFER);
        tokio::spawn(run(Proxy::serving(domain, own, Box::new(OsEntropy)), receiver, report));
        Self { inputs, next: Arc::new(AtomicU64::new(1)) }
    }

    /// A new connection.
    pub async fn open(&self) -> Line {
        self.connect(Input::Opened).await
    }

    /// The line of a service number.
    pub async fn open_service(&self, number: &str) -> Line {
        self.connect(|conn, sender| Input::Service(conn, sender, number.to_owned())).await
    }

    /// New settings of the domain.
    pub async fn configure(&self, domain: Domain) {
        // As with `Line::input`.
        let _ = self.inputs.send(Input::Configure(Box::new(domain))).await;
    }

    /// What the proxy holds; `None`: it has ended.
    pub async fn load(&self) -> Option<Load> {
        let (sender, receiver) = oneshot::channel();
        self.inputs.send(Input::Load(sender)).await.ok()?;
        receiver.await.ok()
    }

    async fn connect(&self, input: impl FnOnce(ConnId, mpsc::Sender<String>) -> Input) -> Line {
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, outgoing) = mpsc::channel(LINE_BUFFER);
        let line = Line { conn, inputs: self.inputs.clone(), outgoing };
        line.input(input(conn, sender)).await;
        line
    }
}

/// One connection to the proxy. Dropping it hangs up.
pub struct Line {
    conn: ConnId,
    inputs: mpsc::Sender<Input>,
    outgoing: mpsc::Receiver<String>,
}

impl Line {
    /// Hands a message to the proxy.
    pub async fn send(&self, bytes: Vec<u8>) {
        self.input(Input::Data(self.conn, bytes)).await;
    }

    /// The next message from the proxy; `None` when it has given the connection up.
    pub async fn receive(&mut self) -> Option<String> {
        self.outgoing.recv().await
    }

    async fn input(&self, input: Input) {
        // The proxy's task ends with the process only, and then nothing is left to tell.
        let _ = self.inputs.send(input).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Err(TrySendError::Full(input)) = self.inputs.try_send(Input::Closed(self.conn)) {
            let inputs = self.inputs.clone();
            tokio::spawn(async move { inputs.send(input).await });
        }
    }
}

async fn run(mut proxy: Proxy, mut inputs: mpsc::Receiver<Input>, report: Report) {
    let clock = Clock::start();
    let mut lines: BTreeMap<ConnId, mpsc::Sender<String>> = BTreeMap::new();
    loop {
        let input = tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => Some(input),
                None => return,
            },
            () = clock.sleep_until(proxy.poll_timeout()) => None,
        };
        let now = clock.now();
        match input {
            None => proxy.timer(now),
            Some(Input::Opened(conn, line)) => {
                lines.insert(conn, line);
                proxy.opened(conn);
            }
            Some(Input::Service(conn, line, number)) => {
                lines.insert(conn, line);
                proxy.attach_service(conn, &number);
            }
            Some(Input::Configure(domain)) => proxy.configure(*domain),
            // Whoever has asked may be gone.
            Some(Input::Load(sender)) => drop(sender.send(proxy.load())),
            Some(Input::Data(conn, bytes)) => {
                report.received(conn, &bytes);
                proxy.received(now, conn, &bytes);
            }
            Some(Input::Closed(conn)) => {
                lines.remove(&conn);
                proxy.closed(now, conn);
            }
        }
        while let Some(output) = proxy.poll_output() {
            match output {
                Output::Send { conn, text } => {
                    report.sent(conn, &text);
                    // A reader that is this far behind is gone: without its sender the line ends, and says so.
                    if lines.get(&conn).is_some_and(|line| line.try_send(text).is_err()) {
                        lines.remove(&conn);
                    }
                }
                Output::Event(line) => report.event(&line),
            }
        }
    }
}
