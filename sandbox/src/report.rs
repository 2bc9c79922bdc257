//! What the network tells the people who watch it.

use std::sync::Arc;

use wasm_softphone::sip::message::redact;

use crate::proxy::ConnId;

/// Digits from which on a number belongs to a telephone.
const LONG_NUMBER: usize = 8;

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
        (self.print)(&format!("{} {}", time(), mask_numbers(&text)));
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

/// Whole telephone numbers are nobody's business but the callers': country and the last two digits tell them apart.
fn mask_numbers(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let length = from.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = from.split_at(length);
        masked.push_str(before);
        match (digits.get(..2), digits.get(length.saturating_sub(2)..)) {
            (Some(country), Some(last)) if length >= LONG_NUMBER => {
                masked.extend([country, "\u{2026}", last]);
            }
            _ => masked.push_str(digits),
        }
        rest = after;
    }
    masked + rest
}

fn time() -> impl core::fmt::Display {
    jiff::Zoned::now().strftime("%H:%M:%S")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_masked_and_others_are_not() {
        assert_eq!(
            mask_numbers("+46766860000 -> 4600100100 answered"),
            "+46\u{2026}00 -> 46\u{2026}00 answered"
        );
        assert_eq!(mask_numbers("alice -> 600 ringing (2 phones)"), "alice -> 600 ringing (2 phones)");
        assert_eq!(mask_numbers(""), "");
    }
}
