//! What the network tells the people who watch it.

use std::sync::Arc;

use wasm_softphone::sip::message::redact;

use crate::proxy::ConnId;

/// Takes finished lines; cheap to clone.
#[derive(Clone)]
pub struct Report {
    print: Arc<dyn Fn(&str) + Send + Sync>,
    trace: bool,
}

impl Report {
    /// Hands every line to `print`; whole SIP messages, with secrets redacted, only with `trace`.
    #[must_use]
    pub fn new(trace: bool, print: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { print: Arc::new(print), trace }
    }

    /// One thing that happened: `14:02:59 alice -> 600 ringing`.
    pub fn event(&self, text: &str) {
        // Parts of it come from peers: nothing of theirs may move the cursor.
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        (self.print)(&format!("{} {text}", time()));
    }

    pub(crate) fn received(&self, conn: ConnId, bytes: &[u8]) {
        self.message("<--", conn, || String::from_utf8_lossy(bytes).into_owned());
    }

    pub(crate) fn sent(&self, conn: ConnId, text: &str) {
        self.message("-->", conn, || text.to_owned());
    }

    fn message(&self, arrow: &str, conn: ConnId, text: impl FnOnce() -> String) {
        if !self.trace {
            return;
        }
        let text = text();
        if text.trim().is_empty() {
            return;
        }
        let mut lines = format!("{} {arrow} connection {}", time(), conn.0);
        for line in redact(&text).lines() {
            lines.push_str("\n    ");
            lines.extend(line.chars().map(|c| if c.is_control() { '?' } else { c }));
        }
        (self.print)(&lines);
    }
}

fn time() -> impl core::fmt::Display {
    jiff::Zoned::now().strftime("%H:%M:%S")
}
