//! The settings of a phone.

use core::time::Duration;

use super::io::Credentials;
use crate::error::Error;
use crate::sip::uri::Uri;
use crate::text::{before, has_space_or_control, number, split_once};

/// Where credentials come from.
#[derive(Debug, Clone, Default)]
pub enum CredentialSource {
    /// There are none: a challenge is a failure.
    #[default]
    None,
    /// Kept by the phone.
    Static(Credentials),
    /// The same for several realms, such as a registrar and a gateway behind it: those that name a realm are for that one,
    /// one without is for the others.
    ByRealm(Vec<Credentials>),
    /// Asked for with [`Output::NeedCredentials`](super::Output::NeedCredentials) each time, and not kept.
    Ask,
}

impl CredentialSource {
    /// What the phone has without asking.
    pub(super) fn kept(&self) -> &[Credentials] {
        match self {
            Self::Static(credentials) => core::slice::from_ref(credentials),
            Self::ByRealm(list) => list,
            Self::None | Self::Ask => &[],
        }
    }
}

/// What to do with a redirection, 3xx (RFC 3261, section 8.1.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectPolicy {
    /// The call ends as `redirected`: whoever can answer could send the user anywhere.
    #[default]
    Off,
    /// Tell with [`Event::Redirected`](super::Event::Redirected) and wait.
    Ask,
    /// Call the targets in turn, this many at most.
    Follow(u8),
}

/// Whose INVITE takes the place of a call at once (RFC 3891). Anybody else's rings, and takes the place when it is answered:
/// who knows the tags of a dialog need not have them from either side, since servers publish them (RFC 4235).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplacesPolicy {
    /// That of the other side itself, by its address, and of whom it sends in its place (Referred-By, RFC 3892) while it
    /// holds the call. With `trust_identity` that of everybody whom the server vouches for, and of nobody else.
    #[default]
    Peer,
    /// Everybody's who knows the tags.
    Any,
    /// Nobody's.
    Ask,
}

/// Session timers (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimers {
    /// What to ask for; 90 s at least.
    pub expires: Duration,
}

/// The settings of a phone.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// WebSocket URLs, tried in order.
    pub servers: Vec<String>,
    /// Priority and weight of each server, as in RFC 2782: those of the lowest priority first, among alike ones at random in
    /// proportion to their weights. Empty: one after the other. Whoever is at a lesser server goes back to a better one in
    /// time, when there is no call.
    pub weights: Vec<(u32, u32)>,
    /// Address of record.
    pub uri: Uri,
    /// Name shown to the other side.
    pub display_name: Option<String>,
    /// Where credentials come from.
    pub credentials: CredentialSource,
    /// Register after connecting.
    pub register: bool,
    /// Asked-for lifetime of the registration.
    pub register_expires: Duration,
    /// Longest wait for ICE candidates.
    pub ice_gather_timeout: Duration,
    /// How long a call may be without media while it can be mended: the way to the other side is there.
    pub media_grace: Duration,
    /// How long a call may be without media while there is no way to the other side, and how long what is to be said
    /// waits for a connection.
    pub signalling_grace: Duration,
    /// Calls at once; one more gets 486.
    pub max_calls: usize,
    /// Session timers; `None`: none are offered, and those of the peer are kept to.
    pub session_timers: Option<SessionTimers>,
    /// Support reliable 1xx (RFC 3262).
    pub reliable_provisional: bool,
    /// What to do with 3xx.
    pub redirects: RedirectPolicy,
    /// Calls open no microphone, unless it is wished for one.
    pub listens_only: bool,
    /// Whose INVITE takes the place of a call without being asked about.
    pub replaces: ReplacesPolicy,
    /// Believe P-Asserted-Identity (RFC 3325), Diversion and History-Info from the server.
    pub trust_identity: bool,
    /// Take the messages that wait from a NOTIFY that nobody has subscribed to, as many servers send it to each phone
    /// that is registered. `None`: when it comes over the connection that is registered and names this phone, which only
    /// the server can do where GRUU and Contact are not published. `Some(true)`: without a registration too.
    pub message_summary: Option<bool>,
    /// Callers whose headers may make this phone answer by itself (RFC 5373 and its like): URIs without scheme
    /// (`bob@example.com`), domains (`@example.com`) or `*`. Empty: nobody's. With `trust_identity` the caller is who
    /// the server vouches for, and nobody where it does not; without it, the From, which a caller can forge unless the
    /// server checks it.
    pub auto_answer: Vec<String>,
    /// `+sip.instance` (RFC 5626): the same for this installation for good, a URN; `None`: one is made up.
    pub instance_id: Option<String>,
    /// Say goodbye when the page is closed or left: calls end, and the registration too.
    pub hangup_on_unload: bool,
    /// Hide who calls or sends messages (RFC 3323): `Privacy: id` and an anonymous From. The server is told in
    /// P-Preferred-Identity, and has to take that out.
    pub anonymous: bool,
    /// Emit every SIP message, redacted, as a log event.
    pub trace: bool,
    /// `User-Agent`.
    pub user_agent: String,
}

impl PhoneConfig {
    /// Defaults for one account.
    #[must_use]
    pub fn new(servers: Vec<String>, uri: Uri) -> Self {
        Self {
            servers,
            weights: Vec::new(),
            uri,
            display_name: None,
            credentials: CredentialSource::None,
            register: true,
            register_expires: Duration::from_secs(600),
            ice_gather_timeout: Duration::from_millis(500),
            media_grace: Duration::from_secs(30),
            signalling_grace: Duration::from_secs(60),
            max_calls: 8,
            session_timers: Some(SessionTimers { expires: Duration::from_secs(1800) }),
            reliable_provisional: true,
            redirects: RedirectPolicy::Off,
            listens_only: false,
            replaces: ReplacesPolicy::Peer,
            trust_identity: false,
            message_summary: None,
            auto_answer: Vec::new(),
            instance_id: None,
            hangup_on_unload: true,
            anonymous: false,
            trace: false,
            user_agent: concat!("wasm-softphone/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Checks a WebSocket URL: `wss:`, or `ws:` to a loopback host, without user, password or fragment.
///
/// # Errors
/// `invalid_config` naming `servers`.
pub fn check_server_url(url: &str) -> Result<(), Error> {
    let bad = |problem: &str| Err(Error::invalid_config("servers", problem));
    if has_space_or_control(url) {
        return bad("a URL holds no spaces or control characters");
    }
    let lower = url.to_ascii_lowercase();
    let (rest, secure) = if let Some(rest) = lower.strip_prefix("wss://") {
        (rest, true)
    } else if let Some(rest) = lower.strip_prefix("ws://") {
        (rest, false)
    } else {
        return bad("expected a wss:// URL");
    };
    if rest.as_bytes().contains(&b'#') {
        return bad("a WebSocket URL has no fragment");
    }
    let authority = authority(rest);
    if authority.as_bytes().contains(&b'@') {
        return Err(Error::invalid_config("servers", "a user or password does not belong in a URL")
            .with_hint("Give SIP credentials in `credentials`."));
    }
    let host = host(authority);
    if host.is_empty() {
        return bad("the URL has no host");
    }
    if !secure && !is_loopback(host) {
        return Err(Error::invalid_config("servers", "plain ws: is only for a loopback host")
            .with_hint("Use wss:// so that signalling is encrypted."));
    }
    Ok(())
}

/// The authority of a URL whose scheme is taken off.
fn authority(rest: &str) -> &str {
    before(before(rest, b'/'), b'?')
}

fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(v6) => before(v6, b']'),
        None => before(authority, b':'),
    }
}

/// Whether the host of a URL is this machine.
#[must_use]
pub fn is_loopback_url(url: &str) -> bool {
    is_loopback(host_of(&url.to_ascii_lowercase()))
}

fn host_of(url: &str) -> &str {
    host(authority(split_once(url, b':').map_or("", |(_, rest)| rest.trim_start_matches('/'))))
}

/// Whether the host of a URL is in a local network as far as its name tells: private and link-local addresses (RFC 1918,
/// RFC 3927, RFC 4193), this machine, names that are for such networks (RFC 6762, RFC 8375) and names without a dot.
pub(super) fn is_local_url(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let host = host_of(&lower);
    let mut bytes = host.split('.').map(number);
    let v4 = matches!(
        (bytes.next().flatten(), bytes.next().flatten(), bytes.count()),
        (Some(10), Some(_), 2)
            | (Some(192), Some(168), 2)
            | (Some(172), Some(16..=31), 2)
            | (Some(169), Some(254), 2)
    );
    let v6 = split_once(host, b':').is_some()
        && ["fc", "fd", "fe80:"].iter().any(|prefix| host.starts_with(prefix));
    let name = [".local", ".lan", ".internal", ".home.arpa"].iter().any(|domain| host.ends_with(domain));
    v4 || v6 || name || is_loopback(host) || !host.bytes().any(|byte| byte == b'.' || byte == b':')
}

/// `localhost` and its subdomains, 127.0.0.0/8 and ::1.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host == "::1" || is_loopback_v4(host)
}

/// By hand: the parser of `std::net` takes more of the module than all the rest of this file.
fn is_loopback_v4(host: &str) -> bool {
    let byte = |part: &str| part.len() <= 3 && number(part).is_some_and(|byte| byte < 256);
    let plain = |part: &str| byte(part) && (part.len() == 1 || !part.starts_with('0'));
    let split = split_once(host, b'.')
        .and_then(|(a, rest)| split_once(rest, b'.').map(|(b, rest)| (a, b, split_once(rest, b'.'))));
    matches!(split, Some(("127", b, Some((c, d)))) if plain(b) && plain(c) && plain(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn loopback_hosts() {
        for yes in ["localhost", "a.localhost", "::1", "127.0.0.1", "127.255.10.0"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "",
            "127",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "127.0.0.1.example.com",
            "127.0.0.256",
            "127.0.0.01",
            "127.0.0.",
            "128.0.0.1",
            "0127.0.0.1",
            "localhost.example.com",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn hosts_in_local_networks() {
        for yes in [
            "wss://192.168.1.10:8089/ws",
            "wss://10.0.0.1",
            "wss://172.16.0.1/",
            "wss://172.31.255.1/",
            "wss://169.254.1.1/",
            "ws://127.0.0.1/ws",
            "wss://[fd00::1]/ws",
            "wss://[fe80::1]",
            "ws://[::1]:80",
            "wss://pbx.local/ws",
            "WSS://PBX.LAN:443",
            "wss://pbx/ws",
        ] {
            assert!(is_local_url(yes), "{yes}");
        }
        for no in [
            "wss://sip.example.com/ws",
            "wss://172.32.0.1",
            "wss://192.169.0.1",
            "wss://10.example.com",
            "wss://10.0.0.0.1",
            "wss://[2001:db8::1]/ws",
            "wss://fd.example.com",
            "wss://local.example.com/192.168.1.1",
        ] {
            assert!(!is_local_url(no), "{no}");
        }
    }

    #[test]
    fn plain_websocket_only_to_loopback() {
        for ok in [
            "wss://sip.example.com/ws",
            "WSS://sip.example.com:443",
            "ws://127.0.0.1:8080/sip",
            "ws://localhost/sip?x=1",
            "ws://[::1]:8080/sip",
        ] {
            assert_eq!(check_server_url(ok), Ok(()), "{ok}");
        }
        for bad in [
            "ws://sip.example.com",
            "ws://127.0.0.1.example.com",
            "https://sip.example.com",
            "wss://",
            "wss://user:secret@example.com",
            "wss://example.com/\r\nX: y",
            "wss://example.com/#a",
            "",
        ] {
            let error = check_server_url(bad).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config", "{bad}");
            assert!(!error.message.contains("secret"));
        }
    }
}
