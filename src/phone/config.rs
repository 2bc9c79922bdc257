//! The settings of a phone.

use super::io::Credentials;
use crate::sip::uri::Uri;
use crate::time::Duration;

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
    /// Asked for with [`Job::NeedCredentials`](super::Job::NeedCredentials) each time, and not kept.
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
    /// that is registered. `None`: when it comes over the connection that is registered, or is being registered, and
    /// names this phone, which only the server can do where GRUU and Contact are not published. `Some(true)`: without a
    /// registration too.
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
