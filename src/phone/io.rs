//! What goes into a [`Phone`](super::Phone) and what comes out of it.

use core::fmt;

use crate::dial::proxy::{ProxyCommand, ProxyFailure, ProxyReply};
use crate::error::Error;
pub use crate::sip::auth::{Credentials, Secret};
use crate::sip::message::redact;
use crate::sip::sdp::Direction as MediaDirection;
use crate::text::before;

/// A call of this phone. Ids are never used twice within one `Phone`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u32);

/// One WebSocket. What a socket says after it was replaced is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(pub u32);

/// One media job of a call. The answer to a job that was replaced is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MediaSeq(pub u32);

/// Whether the browser lets this page reach the local network (Local Network Access).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalNetwork {
    /// It may, or the browser does not restrict it.
    Granted,
    /// The user is asked, or will be.
    Prompt,
    /// It may not.
    Denied,
}

/// One question for credentials.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CredentialsId(pub u32);

/// One request to the call proxy. What comes after [`Job::AbortProxy`] is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyId(pub u32);

/// One lock that is shared with the other pages of this origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LockId(pub u32);

/// One request outside a dialog that the application asked for: MESSAGE, OPTIONS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u32);

/// One subscription (RFC 6665) or publication (RFC 3903).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(pub u32);

/// Somebody, as the server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sip:`, `sips:` or `tel:` URI.
    pub uri: String,
    /// Its display name.
    pub display_name: Option<String>,
}

/// What a page knows of a call and this phone does not, to be kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallNote {
    /// When it was answered, milliseconds since 1970; 0 where that is not known.
    pub started_at: u64,
}

/// What happened outside. Handling it never fails.
#[derive(Debug)]
pub enum Input {
    /// Time has passed: the deadline of `poll_timeout` may be due. Early or repeated is harmless.
    Timer,
    /// The WebSocket is open and the server has accepted the subprotocol `sip`.
    SocketOpened(SocketId),
    /// One WebSocket message, text or binary (RFC 7118, section 5.2).
    SocketData(SocketId, Vec<u8>),
    /// The WebSocket is closed, or could not be opened.
    SocketClosed(SocketId),
    /// The outcome of a [`Job::Media`] job.
    MediaDone {
        /// The call.
        call: CallId,
        /// The job.
        seq: MediaSeq,
        /// What it brought.
        result: Result<MediaValue, MediaError>,
    },
    /// The state of the media path has changed.
    MediaState {
        /// The call.
        call: CallId,
        /// The new state.
        state: MediaState,
    },
    /// What has become of tones in the audio ([`Job::Tones`]), or whether it takes any.
    Tones(CallId, TonesReport),
    /// The answer to [`Job::NeedCredentials`]; `None` when there are none.
    Credentials(CredentialsId, Option<Credentials>),
    /// The answer to a [`Job::Proxy`], or why there is none.
    Proxy(ProxyId, Result<ProxyReply, ProxyFailure>),
    /// The answer to a [`Job::Lock`]: whether it is granted. `true` too where the browser has no such locks.
    Lock(LockId, bool),
    /// What the browser says of the local network, before it tells of a socket that it has not opened.
    LocalNetwork(LocalNetwork),
    /// The page is being closed or left: what is to be sent must be sent now.
    PageHide(PageKept),
    /// The connection may be dead, or may be had again.
    Hint(Hint),
}

/// What outlives the page that is being closed or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKept {
    /// Nothing.
    Nothing,
    /// The record of the calls: the next page may take them up.
    Calls,
    /// The page itself, which the browser may show again as it was.
    Page,
}

/// What the browser tells of the network and the page. It is a reason to look, and never believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// There is a network again.
    Online,
    /// There is none.
    Offline,
    /// There is another one: the connection moves to it.
    NetworkChanged,
    /// The page is looked at again.
    Visible,
    /// The page or the whole machine has slept.
    Woken,
}

/// A track that the application has handed over, by the number that the browser half has given it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrackId(pub u32);

/// What the user wishes of a call's own audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Silence is sent instead of the microphone.
    pub muted: bool,
    /// No microphone is opened: the call only listens. It counts from when the media of the call begin.
    pub listens_only: bool,
    /// This track is sent instead of the microphone.
    pub track: Option<TrackId>,
}

/// What goes to the server, in order: [`Phone::poll_transmit`](super::Phone::poll_transmit).
#[derive(Clone, PartialEq, Eq)]
pub enum Transmit {
    /// Open a WebSocket with the subprotocol `sip`.
    OpenSocket {
        /// Names the socket in inputs.
        socket: SocketId,
        /// `wss://` or `ws://`.
        url: String,
    },
    /// Send one text message.
    Send {
        /// Over this socket.
        socket: SocketId,
        /// A SIP message or a keep-alive.
        text: String,
    },
    /// Close the socket; nothing more is expected from it.
    CloseSocket(SocketId),
}

impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenSocket { socket, url } => write!(f, "OpenSocket({socket:?}, {})", before(url, b'?')),
            Self::Send { socket, text } => write!(f, "Send({socket:?}, {:?})", redact(text)),
            Self::CloseSocket(socket) => write!(f, "CloseSocket({socket:?})"),
        }
    }
}

/// What is to be done outside, and mostly reported by an [`Input`]: [`Phone::poll_job`](super::Phone::poll_job).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Do a media job and report it with [`Input::MediaDone`].
    Media {
        /// The call.
        call: CallId,
        /// To be handed back.
        seq: MediaSeq,
        /// The job.
        command: MediaCommand,
    },
    /// Ask the application for credentials; answer with [`Input::Credentials`].
    NeedCredentials {
        /// To be handed back.
        id: CredentialsId,
        /// The realm of the challenge.
        realm: String,
    },
    /// Ask the call proxy, and report with [`Input::Proxy`].
    Proxy {
        /// To be handed back.
        id: ProxyId,
        /// The question.
        command: ProxyCommand,
        /// The page may be gone before the answer; the request must arrive all the same.
        keepalive: bool,
    },
    /// The answer is not wanted any more.
    AbortProxy(ProxyId),
    /// Get this lock, without waiting for another page to release it; answer with [`Input::Lock`].
    Lock {
        /// To be handed back.
        id: LockId,
        /// The same on every page for the same thing.
        name: String,
    },
    /// Release the lock, or stop asking for it.
    Unlock(LockId),
    /// Send these tones in the audio (RFC 4733); report with [`Input::Tones`].
    Tones {
        /// The call.
        call: CallId,
        /// 0-9, A-D, *, # and commas, each of which is a pause of two seconds.
        tones: String,
        /// Milliseconds of each tone.
        duration: u32,
        /// Milliseconds between tones.
        gap: u32,
    },
    /// Take statistics of this call, which [`Phone::count_statistics`](super::Phone::count_statistics) has asked for.
    Statistics(CallId),
}

/// How DTMF travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToneMethod {
    /// As telephone-events in the audio (RFC 4733).
    Audio,
    /// As INFO requests (RFC 6086) with `application/dtmf-relay`, one a tone.
    Info,
}

/// DTMF to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tones {
    /// 0-9, A-D, *, # and commas, each of which is a pause of two seconds.
    pub tones: String,
    /// Milliseconds of each tone.
    pub duration: u32,
    /// Milliseconds between tones.
    pub gap: u32,
    /// How they travel.
    pub method: ToneMethod,
}

/// What the browser half reports of tones in the audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TonesReport {
    /// Whether the audio takes tones from now on: its path is up, and this side sends.
    Ready(bool),
    /// The last tone has been sent.
    Sent,
    /// It has stopped; these have not begun.
    Cut(String),
    /// It takes none.
    Refused {
        /// The other side does take them: the browser may take them in a moment.
        for_now: bool,
    },
}

/// A job for the media half of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// What the user wishes of the call's own audio from now on. The media of a call begin with it, and nothing else
    /// makes them; it comes again whenever it changes. No report.
    Wish(Wish),
    /// Whether the call plays in the application's element from now on, where there is one, or in one of its own. `true`
    /// until told otherwise. No report.
    Element(bool),
    /// Open the microphone, make a peer connection and an offer. Report [`MediaValue::Gathering`] when the
    /// local description is set, then [`MediaValue::Local`] when all candidates are in.
    CreateOffer,
    /// Like `CreateOffer`, for a call that another page has begun: in this direction.
    Resume {
        /// The direction to offer, as we see it.
        direction: MediaDirection,
    },
    /// Open the microphone and nothing else, behind a closed gate: whatever follows, nothing of it is sent, nothing
    /// of the other side is played or shown to the application, until [`MediaCommand::OpenGate`]. Report
    /// [`MediaValue::Microphone`].
    OpenMicrophone,
    /// Send the microphone and play the other side from now on. No report.
    OpenGate,
    /// Make an answer to this offer (SDP), with a microphone and a peer connection where there are none yet. Reported
    /// like `CreateOffer`.
    CreateAnswer {
        /// The peer's offer.
        offer: String,
    },
    /// Answer a new offer of the peer within the call (re-INVITE, UPDATE); reported like `CreateAnswer`.
    Renegotiate {
        /// The peer's offer.
        offer: String,
        /// The most that the answer may agree to, as we see it.
        direction: MediaDirection,
    },
    /// Make a new offer within the call (re-INVITE, UPDATE); reported like `CreateOffer`.
    Reoffer {
        /// The direction to offer, as we see it.
        direction: MediaDirection,
    },
    /// Like `Reoffer`, with ICE restarted (RFC 8839, section 4.4.1.1.1): new candidates on the line that is there.
    RestartIce {
        /// The direction to offer, as we see it.
        direction: MediaDirection,
    },
    /// What may flow from now on, whatever the descriptions say: while a call is held nothing is sent, and nothing of
    /// the other side is played. No report. `SendRecv` until told otherwise.
    Flow(MediaDirection),
    /// Enough waiting for candidates: report [`MediaValue::Local`] with what is there. Carries the seq of the
    /// job it hurries.
    TakeLocal,
    /// Set the peer's answer (SDP) to our offer. Report [`MediaValue::Applied`].
    SetAnswer {
        /// The peer's answer.
        answer: String,
        /// It came in a 1xx: early media (`pranswer`).
        provisional: bool,
    },
    /// Go back to the last agreed descriptions: the offer in progress came to nothing. No report.
    Rollback,
    /// Stop the microphone and close the peer connection. No report.
    Close,
}

/// What a media job brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaValue {
    /// The local description is set and candidates are being gathered; `Local` follows.
    Gathering,
    /// A candidate of the best kind that the ICE servers can give is in (a relayed one with TURN, a reflexive one
    /// with STUN, else one of the host): what still comes adds little. Follows `Gathering`, at most once a job.
    Useful,
    /// The local description, with its candidates.
    Local(String),
    /// The remote description is set.
    Applied,
    /// The microphone is open, or the call is to have none.
    Microphone,
}

/// Why a media job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaError {
    /// The microphone was refused.
    Denied,
    /// No usable microphone, or no WebRTC.
    Unavailable,
    /// The peer's description cannot be used.
    Description,
    /// The browser refuses the peer's description: its own words.
    Refused(String),
    /// Which ICE servers there are could not be found out: why.
    Servers(String),
    /// No candidate was found in time (RFC 8445, section 5.1.1): where only relayed ones may be used, no TURN server has
    /// answered.
    NoCandidate,
}

/// The state of the media path (ICE and DTLS together).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaState {
    /// ICE has found a path, and DTLS is yet to come.
    IceConnected,
    /// Packets can flow.
    Connected,
    /// No packets for some seconds; may come back.
    Disconnected,
    /// It will not come back by itself.
    Failed,
}

/// State of the connection to the SIP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected, and not trying.
    Disconnected,
    /// First attempt.
    Connecting,
    /// Open.
    Connected,
    /// Lost; trying to come back.
    Reconnecting,
}

/// State of the registration (RFC 3261, section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationState {
    /// Not registered.
    Unregistered,
    /// REGISTER is under way.
    Registering,
    /// Bound.
    Registered,
    /// Refused.
    Failed,
}

/// State of a call, as the application sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Just made.
    New,
    /// Media is being prepared or the INVITE is out; for an incoming call: it is being answered.
    Connecting,
    /// It rings, there or here.
    Ringing,
    /// The other side sends audio before it answers.
    EarlyMedia,
    /// Answered.
    Active,
    /// Answered, and the way of its signalling or of its media is being restored.
    Reconnecting,
    /// Over.
    Ended,
}

/// How much a phone keeps in memory, each kind within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Calls, those included that are over and wait for their last answer.
    pub calls: usize,
    /// Requests of its own (RFC 3261, section 17.1).
    pub client_transactions: usize,
    /// Requests of others (RFC 3261, section 17.2).
    pub server_transactions: usize,
    /// Deadlines.
    pub timers: usize,
    /// Subscriptions and publications.
    pub subscriptions: usize,
}

impl Footprint {
    /// The greater of each.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            client_transactions: self.client_transactions.max(other.client_transactions),
            server_transactions: self.server_transactions.max(other.server_transactions),
            timers: self.timers.max(other.timers),
            subscriptions: self.subscriptions.max(other.subscriptions),
        }
    }
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We.
    Outgoing,
    /// They.
    Incoming,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// This side.
    Local,
    /// The other side or a server on its behalf.
    Remote,
    /// The network or the media path.
    Network,
}

/// Why a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndCause {
    /// It was answered and then hung up.
    Completed,
    /// The caller gave up before it was answered.
    Cancelled,
    /// Another device of the callee answered (RFC 3326: `Reason: SIP;cause=200`).
    AnsweredElsewhere,
    /// It failed.
    Failed(Error),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndReason {
    /// Why.
    pub cause: EndCause,
    /// The SIP status, where one was received or sent.
    pub sip_status: Option<u16>,
    /// By whom.
    pub by: EndedBy,
    /// The ISDN cause that the other side gives (Q.850, by the Reason header of RFC 3326).
    pub q850: Option<u16>,
    /// What the other side says of it, for people; 128 characters at most, without control characters.
    pub reason_text: Option<String>,
}

/// How far a dial has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialStage {
    /// Microphone and offer are being made.
    Preparing,
    /// The INVITE is out; by REST: the proxy has been asked.
    Requesting,
    /// By REST: the provider calls this phone.
    RingingClient,
    /// By REST: this phone has answered the provider, and nothing is heard or sent until it is proved to be it.
    ClientConnected,
    /// The far end rings.
    Ringing,
    /// The far end sends audio.
    EarlyMedia,
    /// Answered.
    Connected,
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// The other side has taken it on.
    Trying,
    /// The transfer target rings.
    Ringing,
    /// The transfer target has answered.
    Accepted,
    /// It came to nothing: the call goes on, held.
    Failed,
}

/// State of a subscription (RFC 6665, section 4.1.2) or a publication (RFC 3903).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Asked for.
    Pending,
    /// In force.
    Active,
    /// Over.
    Terminated,
}

/// News for the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection has changed state.
    Connection(ConnectionState, Option<Error>),
    /// The registration has changed state.
    Registration(RegistrationState, Option<Error>),
    /// The outcome of `connect`; once for each `connect` that was accepted.
    ConnectDone(Result<(), Error>),
    /// `disconnect` is complete: calls ended, un-registered, socket closed.
    DisconnectDone,
    /// A new incoming call rings.
    Incoming(CallId),
    /// A call has changed state.
    CallState(CallId, CallState),
    /// An outgoing call has come further.
    Stage(CallId, DialStage),
    /// The outcome of a dial; once for each call made with `dial`, before its `Ended` where it failed.
    DialDone(CallId, Result<(), Error>),
    /// The outcome of `answer`.
    AnswerDone(CallId, Result<(), Error>),
    /// The outcome of `send_info`.
    InfoDone(CallId, Result<(), Error>),
    /// The outcome of the oldest `send_tones` that has none yet. Those of a call that ends have no other.
    TonesDone(CallId, Result<(), Error>),
    /// Hold has changed.
    Hold {
        /// The call.
        call: CallId,
        /// Held by us.
        local: bool,
        /// Held by the other side.
        remote: bool,
    },
    /// What is known of the other side of a call has changed (RFC 3325, RFC 4916).
    Remote(CallId),
    /// The outcome of `hold` or `unhold`.
    HoldDone(CallId, Result<(), Error>),
    /// A transfer that we asked for has come further, with the status that the other side reported.
    Transfer(CallId, TransferState, Option<u16>),
    /// The outcome of `transfer`.
    TransferDone(CallId, Result<(), Error>),
    /// The other side asks us to call somebody else (REFER): `accept_transfer` or `reject_transfer`. What it names
    /// is not to be trusted.
    TransferRequested {
        /// The call in which it asks.
        call: CallId,
        /// Whom to call: a SIP URI.
        target: String,
        /// `Referred-By`, not authenticated.
        referred_by: Option<String>,
    },
    /// This call takes the place of another one (RFC 3891), or of one that was transferred (RFC 3515).
    Replaced {
        /// The one that ends.
        old: CallId,
        /// The one that takes its place.
        new: CallId,
    },
    /// The called side redirects (3xx) and the policy is to ask: `follow_redirect`, or hang up.
    Redirected {
        /// The call.
        call: CallId,
        /// Where to, best first.
        targets: Vec<String>,
    },
    /// A message has come (RFC 3428).
    Message {
        /// URI of the sender, as it says itself.
        from: String,
        /// Its display name.
        display_name: Option<String>,
        /// Media type.
        content_type: String,
        /// The text.
        body: String,
    },
    /// The outcome of `send_message` or `send_options`.
    RequestDone(RequestId, Result<(), Error>),
    /// A subscription or publication has changed state.
    Subscription(SubscriptionId, SubscriptionState, Option<Error>),
    /// The notifier tells of its state (RFC 6665).
    Notify {
        /// The subscription.
        subscription: SubscriptionId,
        /// Media type; empty without a body.
        content_type: String,
        /// The state, empty where there is none.
        body: String,
    },
    /// What waits in a mailbox, told without a subscription (RFC 3842): the body of a NOTIFY.
    MessageSummary(String),
    /// The other side sent a DTMF tone by INFO.
    Dtmf(CallId, char),
    /// A call is over. The last event of a call; [`Phone::call`](super::Phone::call) still knows it until the
    /// next input.
    Ended(CallId, EndReason),
    /// For the log, secrets redacted.
    Log(LogLevel, String),
}

/// Weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// SIP trace.
    Debug,
    /// State changes.
    Info,
    /// Something was wrong and was dealt with.
    Warn,
    /// Something failed.
    Error,
}

/// Why the next wake-up is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The socket has not opened in time.
    Connect,
    /// A keep-alive is due (RFC 5626, section 3.5.1).
    KeepAlive,
    /// The server has not answered a keep-alive (RFC 5626, section 4.4.1).
    Pong,
    /// The next attempt to connect.
    Reconnect,
    /// Another socket has not opened in time.
    Move,
    /// The previous socket is closed, whatever is outstanding over it.
    Previous,
    /// The preferred server is tried.
    Return,
    /// The registration is to be refreshed or tried again.
    Register,
    /// The binding expires.
    Binding,
    /// The application has not given credentials in time.
    Question,
    /// A transaction times out (RFC 3261, timers B, F, H, L, M).
    Transaction,
    /// Gathering of candidates has taken too long.
    IceGather,
    /// The media path has not come up in time.
    IceConnect,
    /// The call has rung for too long.
    Ring,
    /// A cancelled INVITE got no final response (RFC 3261, section 9.1).
    Cancelled,
    /// A 2xx is sent again until its ACK comes (RFC 3261, section 13.3.1.4).
    Retransmit2xx,
    /// The ACK of a 2xx has not come in 64 × T1.
    Ack,
    /// The call proxy has not responded in time.
    Proxy,
    /// The call proxy is asked again.
    ProxyPause,
    /// The provider's call has not arrived, or an INVITE could not be matched in time.
    Bridge,
    /// The answered call has not been proved to be the provider's.
    Confirm,
    /// The proxy has not reported how the far leg ended.
    Outcome,
    /// The longest time that a call may last.
    MaxDuration,
    /// The provider no longer calls for an abandoned dial.
    Tombstone,
    /// An offer that crossed the other side's is made again (RFC 3261, section 14.1).
    Glare,
    /// Our offer within a call has not been answered.
    Reoffer,
    /// The session is to be refreshed (RFC 4028).
    SessionRefresh,
    /// The session has not been refreshed (RFC 4028, section 10).
    SessionExpired,
    /// A reliable 1xx is sent again until its PRACK comes (RFC 3262, section 3).
    Reliable1xx,
    /// The outcome of a transfer has not been heard.
    Transfer,
    /// A call with auto-answer is answered (RFC 5373).
    AutoAnswer,
    /// Another attempt to recover a call.
    Recovery,
    /// The grace of a call is over.
    Grace,
    /// The media half has not reported a job.
    MediaJob,
    /// The next tone is due, or tones that the browser has refused are tried again.
    Tone,
    /// Statistics are due.
    Statistics,
    /// Another INVITE to a callee that rang before an outage; another offer after one whose outcome is unknown.
    Renew,
    /// ICE has found a path, and DTLS has not come up over it.
    Association,
    /// A subscription or publication is to be refreshed or tried again.
    Subscription,
    /// Requests have waited too long for a connection.
    Outage,
    /// Disconnecting takes too long.
    Disconnect,
}
