//! Why a call ends: what the other side says of it, and the reason that the application gets.

use super::io::EndReason;
use crate::sip::header::Reason;
use crate::sip::message::Headers;

/// Longest text that is shown, in characters.
const MAX_TEXT: usize = 128;

/// What Reason headers say (RFC 3326).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReasonHeader {
    q850: Option<u16>,
    text: Option<String>,
    network: bool,
}

impl ReasonHeader {
    /// `None`: they say nothing.
    fn read(headers: &Headers) -> Option<Self> {
        let mut said = Self::default();
        for reason in headers.get_all("Reason").flat_map(Reason::parse_list) {
            if reason.protocol.eq_ignore_ascii_case("Q.850") {
                // 0 is no cause: gateways write it where they have none.
                said.q850 = said.q850.or(reason.cause.filter(|cause| (1..=127).contains(cause)));
                // Out of order, no circuit, network out of order, temporary failure, congestion, timer expiry.
                said.network |= matches!(reason.cause, Some(27 | 34 | 38 | 41 | 42 | 44 | 47 | 102));
            } else {
                // Our like say so when the media or the session are lost.
                said.network |= matches!(reason.cause, Some(408 | 500..=599));
            }
            if said.text.is_none() {
                said.text =
                    reason.text.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect());
            }
        }
        (said != Self::default()).then_some(said)
    }
}

/// Why a call ends.
#[derive(Debug, Default)]
pub(super) struct End {
    reason: Option<EndReason>,
    said: Option<Box<ReasonHeader>>,
}

impl End {
    /// Why it is over for the application, once it is.
    pub(super) const fn reason(&self) -> Option<&EndReason> {
        self.reason.as_ref()
    }

    /// It is over for the application.
    pub(super) const fn is_over(&self) -> bool {
        self.reason.is_some()
    }

    /// It is over for the application from now on. What the other side has said of it is part of the reason.
    pub(super) fn end_with(&mut self, mut reason: EndReason) -> EndReason {
        if let Some(said) = self.said.take() {
            reason.q850 = said.q850;
            reason.reason_text = said.text;
        }
        self.reason = Some(reason.clone());
        reason
    }

    /// The other side says why.
    pub(super) fn learn(&mut self, headers: &Headers) {
        if let Some(said) = ReasonHeader::read(headers) {
            self.said = Some(Box::new(said));
        }
    }

    /// The other side says that it was the network, and nobody's wish.
    pub(super) fn is_by_network(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.network)
    }

    /// The ISDN cause that the other side gives.
    pub(super) fn q850(&self) -> Option<u16> {
        self.said.as_ref().and_then(|said| said.q850)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn read(values: &[&str]) -> Option<ReasonHeader> {
        let mut headers = Headers::default();
        for value in values {
            headers.push("Reason", *value);
        }
        ReasonHeader::read(&headers)
    }

    #[test]
    fn the_first_cause_and_the_first_text_count() {
        for (values, q850, text, network) in [
            (&["Q.850;cause=16;text=\"Normal\""][..], Some(16), Some("Normal"), false),
            (&["SIP;cause=200;text=\"a\"", "Q.850;cause=17;text=\"b\""], Some(17), Some("a"), false),
            (&["Q.850;cause=0, Q.850;cause=21"], Some(21), None, false),
            (&["Q.850;cause=38"], Some(38), None, true),
            (&["SIP;cause=503"], None, None, true),
        ] {
            let said = read(values).unwrap();
            assert_eq!((said.q850, said.text.as_deref(), said.network), (q850, text, network), "{values:?}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["Q.850;cause=128"]), None);
    }
}
