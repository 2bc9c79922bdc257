//! Who calls: P-Asserted-Identity (RFC 3325), Diversion (RFC 5806), History-Info (RFC 7044), Privacy (RFC 3323).
//!
//! Whoever sends a header can write what it likes into it. These are believed where the configuration says that the
//! server removes what it has not checked itself (RFC 3325, section 5), and are not looked at otherwise.

use super::{CallId, Identity, Phone};
use crate::sip::header::NameAddr;
use crate::sip::message::{Headers, Request};
use crate::text::{before, split_once};

/// The From of who does not want to be known (RFC 3323, section 4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

impl Phone {
    /// Our address in the From of calls and of other requests to people, without a tag.
    pub(super) fn caller_address(&self) -> String {
        if self.config.anonymous { ANONYMOUS.to_owned() } else { self.own_address() }
    }

    /// To the server: who we are, and that nobody else is to be told (RFC 3325, sections 9.2 and 9.3).
    pub(super) fn hide_caller(&self, request: &mut Request) {
        if self.config.anonymous {
            request.headers.set("Privacy", "id");
            request.headers.set("P-Preferred-Identity", self.own_address());
        }
    }

    /// What the server vouches for of the other side: of a caller in its INVITE, of who has answered in the 2xx.
    pub(super) fn learn_identity(&mut self, id: CallId, headers: &Headers) {
        if !self.config.trust_identity {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(identity) = asserted(headers) {
            call.asserted_identity = Some(identity);
        }
        if let Some(identity) = diverted(headers) {
            call.diversion = Some(identity);
        }
    }
}

fn identity(address: NameAddr) -> Option<Identity> {
    let scheme = before(&address.uri, b':');
    let known = ["sip", "sips", "tel"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    // Headers in it (History-Info has some) are for machines.
    let uri = before(&address.uri, b'?').to_owned();
    known.then_some(Identity { uri, display_name: address.display_name })
}

/// There may be two, a SIP URI and a number (RFC 3325, section 9.1): the first says more.
pub(super) fn asserted(headers: &Headers) -> Option<Identity> {
    let mut best: Option<Identity> = None;
    for value in headers.values("P-Asserted-Identity") {
        let found = NameAddr::parse(value).ok().and_then(identity);
        let better = best.as_ref().is_none_or(|best| before(&best.uri, b':').eq_ignore_ascii_case("tel"));
        if better && found.is_some() {
            best = found;
        }
    }
    best
}

/// Who has sent the call on to us, the last one.
fn diverted(headers: &Headers) -> Option<Identity> {
    // The newest comes first (RFC 5806, section 4).
    let diversion = headers.values("Diversion");
    if let Some(value) = diversion.first() {
        return NameAddr::parse(value).ok().and_then(identity);
    }
    // `mp` on an entry names the one that was for somebody else (RFC 7044, section 5): that one has diverted. `rc`,
    // from an address to its contact, is no diversion.
    let entries: Vec<NameAddr> =
        headers.values("History-Info").into_iter().filter_map(|value| NameAddr::parse(value).ok()).collect();
    let index = entries.iter().rev().find_map(|entry| entry.params.get("mp"))?;
    let from = entries.iter().find(|entry| entry.params.get("index") == Some(index))?;
    let hidden = split_once(&from.uri, b'?').is_some_and(|(_, headers)| {
        let headers = headers.to_ascii_lowercase();
        headers.contains("privacy=history") || headers.contains("privacy=header")
    });
    if hidden { None } else { identity(from.clone()) }
}

/// Whether a URI is one of these: `bob@example.com`, `@example.com`, `*`.
pub(super) fn matches(patterns: &[String], uri: &str) -> bool {
    let parsed = crate::sip::uri::Uri::parse(uri).ok();
    patterns.iter().any(|pattern| {
        let Some(uri) = &parsed else { return pattern == "*" };
        let Some((user, host)) = split_once(pattern, b'@') else { return pattern == "*" };
        host.eq_ignore_ascii_case(&uri.host) && (user.is_empty() || uri.user.as_deref() == Some(user))
    })
}

/// The URI of the From, where there is one.
pub(super) fn from_uri(headers: &Headers) -> String {
    headers.from().map(|from| from.uri).unwrap_or_default()
}
