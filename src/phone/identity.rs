//! Who calls: P-Asserted-Identity (RFC 3325), Diversion (RFC 5806), History-Info (RFC 7044), Privacy (RFC 3323).
//!
//! Whoever sends a header can write what it likes into it. These are believed where the configuration says that the
//! server removes what it has not checked itself (RFC 3325, section 5), and are not looked at otherwise.

use super::call::Call;
use super::context::Cx;
use super::peer::Told;
use super::{Direction, Event, Identity};
use crate::sip::header::NameAddr;
use crate::sip::message::{Headers, Request, check_extra_header};
use crate::sip::uri::Uri;
use crate::text::{append, before, first_place, split, split_once};

/// The From of who does not want to be known (RFC 3323, section 4.1.1.3).
const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// So many headers of a received INVITE are shown.
const MAX_SHOWN_HEADERS: usize = 32;
/// Values of one name are put together up to this length, in bytes.
const MAX_SHOWN_VALUE: usize = 2048;
/// What says who somebody is, and is told as such or not at all; and what is for servers.
const NOT_SHOWN: [&str; 9] = [
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    "Diversion",
    "History-Info",
    "Identity",
    "Privacy",
    "Referred-By",
    "Reason",
];

impl Call {
    /// See [`super::Phone::received_headers`].
    pub(super) fn received_headers(&self) -> Vec<(String, String)> {
        let invite =
            self.sip.invite.as_ref().filter(|_| self.direction == Direction::Incoming && self.rest.is_none());
        let Some(invite) = invite else { return Vec::new() };
        let mut shown: Vec<(String, String)> = Vec::new();
        for (name, value) in invite.headers.iter() {
            let hidden = NOT_SHOWN.iter().any(|hidden| hidden.eq_ignore_ascii_case(name));
            if hidden || check_extra_header(name, value).is_err() {
                continue;
            }
            let full = shown.len() >= MAX_SHOWN_HEADERS;
            match shown.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                // RFC 3261, section 7.3.1: the same on one line.
                Some((_, values)) if values.len() < MAX_SHOWN_VALUE => append(values, &[", ", value]),
                Some(_) => {}
                None if full => {}
                None => shown.push((name.to_owned(), value.to_owned())),
            }
        }
        shown
    }

    /// Why the other side ends the call, in its own words (RFC 3326).
    pub(super) fn learn_reason(&mut self, headers: &Headers) {
        if !self.is_gated() {
            self.end.learn(headers);
        }
    }

    /// What the server vouches for of the other side, in any request or response of the call: who calls or has answered,
    /// and later who is there after a transfer, a pick-up or out of a queue (RFC 3325, section 9.1). Whether there was
    /// something.
    pub(super) fn learn_identity(&mut self, cx: &mut Cx, headers: &Headers) -> bool {
        if self.rest.is_some() {
            return false;
        }
        if !cx.env.config.trust_identity {
            return false;
        }
        let (asserted, withheld) = vouched_for(headers);
        let told = asserted.is_some();
        let changed = self.peer.learn(Told { asserted, withheld, diversion: diverted(headers) });
        // Before that nobody knows of the call.
        if changed && self.state != super::CallState::New {
            cx.event(Event::Remote(self.id));
        }
        told
    }
}

impl Cx {
    /// Our address in the From of calls and of other requests to people, without a tag.
    pub(super) fn caller_address(&self, hidden: bool) -> String {
        if hidden { ANONYMOUS.to_owned() } else { self.env.own_address() }
    }

    /// To the server: who we are, and that nobody else is to be told (RFC 3325, sections 9.2 and 9.3).
    pub(super) fn hide_caller(&self, request: &mut Request) {
        request.headers.set("Privacy", "id");
        request.headers.set("P-Preferred-Identity", self.env.own_address());
    }
}

/// Whether a caller does not want to be known (RFC 3323, section 4): what is known of it is not for others.
pub(super) fn is_withheld(headers: &Headers) -> bool {
    let anonymous = headers.head().from_uri().and_then(|from| Uri::parse(from).ok()).is_some_and(|from| {
        let user = from.user.as_deref().unwrap_or_default();
        from.host.eq_ignore_ascii_case("anonymous.invalid") || user.eq_ignore_ascii_case("anonymous")
    });
    anonymous || asks_for_privacy(headers)
}

fn asks_for_privacy(headers: &Headers) -> bool {
    headers.get_all("Privacy").any(|values| split(values, b';').any(is_privacy))
}

/// Values of Privacy (RFC 3323, section 4.2, RFC 3325, section 9.3), and of Remote-Party-ID's parameter.
fn is_privacy(wish: &str) -> bool {
    let wish = wish.trim_ascii();
    ["id", "user", "header", "full", "name", "uri"].iter().any(|known| known.eq_ignore_ascii_case(wish))
}

/// Whom a message names in the server's name, and whether that is not for others. Remote-Party-ID is what servers wrote
/// before there was RFC 3325, and Asterisk and FreeSWITCH still can.
fn vouched_for(headers: &Headers) -> (Option<Identity>, bool) {
    let found = asserted(headers);
    // The From of a dialog stays as it was, and says nothing of who is there now.
    let withheld = asks_for_privacy(headers);
    if found.is_some() {
        return (found, withheld);
    }
    let old = headers.values("Remote-Party-ID").first().and_then(|value| NameAddr::parse(value).ok());
    let Some(old) = old else { return (None, withheld) };
    let hidden = old.params.get("privacy").is_some_and(is_privacy);
    (identity(old), withheld || hidden)
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
        first_place(&headers, "privacy=history").or(first_place(&headers, "privacy=header")).is_some()
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
    headers.head().from_uri().unwrap_or_default().to_owned()
}
