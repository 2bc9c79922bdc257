//! The phone: one state machine that owns the connection, the registration and the calls.
//!
//! | file | what |
//! |---|---|
//! | `io` | inputs, outputs, events |
//! | `config` | settings |
//! | `flow` | the WebSocket: servers in order, back-off, from one to another |
//! | `liveness` | keep-alive, hints of the browser |
//! | `outage` | what is under way when a socket is lost, and what waits for the next one |
//! | `registration` | REGISTER |
//! | `outgoing`, `invitation`, `forks` | INVITE out and its races; how it fares; who rings, who is heard, who has answered |
//! | `incoming`, `awaited_ack` | INVITE in, answer, refusal; a 2xx until its ACK comes |
//! | `originate` | calls by REST: the proxy, the provider's call to this phone, and the proof that it is it |
//! | `reliable` | reliable 1xx and PRACK (RFC 3262) |
//! | `redirect` | 3xx |
//! | `identity` | who calls, and how that is said and believed |
//! | `auto_answer` | calls that ask to be answered at once |
//! | `in_dialog` | BYE, INFO |
//! | `recovery`, `repair` | calls whose signalling or media path is lost: what is decided, and what is done |
//! | `resume` | calls that outlive their page |
//! | `offers`, `negotiation` | holds, offers and answers of a call, and the re-INVITE and UPDATE that carry them, either side's |
//! | `session_timer`, `refresh` | RFC 4028: the timer of a call, and the requests that keep its session up |
//! | `transfer`, `refer`, `replaces` | REFER (RFC 3515): its state, and its messages; Replaces (RFC 3891) |
//! | `subscription`, `publication`, `messaging` | SUBSCRIBE, NOTIFY, PUBLISH, MESSAGE |
//! | `media` | the jobs for the media half and their outcomes |
//! | `authentication` | challenges to requests |
//! | `wish` | what the user last wished of a call's audio, and who plays in the application's element |
//! | `call`, `transactions`, `timers`, `sorted_map` | what is kept |

mod authentication;
mod auto_answer;
mod awaited_ack;
mod call;
pub mod config;
mod description;
mod flow;
mod forks;
mod identity;
mod in_dialog;
mod incoming;
mod invitation;
pub mod io;
mod liveness;
mod media;
mod messaging;
mod negotiation;
mod offers;
mod originate;
mod outage;
mod outgoing;
mod publication;
mod recovery;
mod redirect;
mod refer;
mod refresh;
mod registration;
mod reliable;
mod repair;
mod replaces;
mod resume;
mod session_timer;
mod sorted_map;
mod subscription;
mod timers;
mod transactions;
mod transfer;
mod wish;

pub use config::*;
pub use io::*;

use self::authentication::any_answer_will_do;
use self::call::{Call, Phase};
use self::flow::Flow;
use self::originate::RestCall;
use self::registration::Registration;
use self::sorted_map::SortedMap;
use self::timers::{CallTimer, TimerKey, Timers};
use self::transactions::{Owner, Transactions, TxId};
use crate::entropy::{Entropy, token};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::{Attempt, Authenticator};
use crate::sip::dialog::Dialog;
use crate::sip::header::name_addr;
use crate::sip::message::{Message, Method, Request, Response, check_extra_header, long_name, redact_with};
use crate::sip::transaction::{Client, ClientAction, ClientState, Server, ServerAction, T64};
use crate::sip::uri::{Uri, UriError};
use crate::sip::wire::{self, Frame, MAX_MESSAGE};
use crate::text::{concat, digits, printable};
use crate::time::{Duration, Instant};

/// The methods that this phone answers (RFC 3261, section 20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY, MESSAGE";
/// The extensions that a peer may require of this phone (RFC 3261, section 20.32), and those that it is told of.
const SUPPORTED: [&str; 7] = ["100rel", "timer", "replaces", "norefersub", "outbound", "gruu", "answermode"];
/// What may be told of, but not required: the end of a fork (RFC 6228).
const EARLY_TERMINATED: &str = "199";
const SDP: &str = "application/sdp";
/// Proxies give up after three minutes of ringing (RFC 3261, section 16.6, Timer C); so do we, on either side.
const RING_TIMEOUT: Duration = Duration::from_secs(180);
/// From the first useful candidate until the description leaves: those of the other network interfaces come within
/// a few milliseconds. Chromium says that it has gathered all of them 100 ms later.
const ICE_SETTLE: Duration = Duration::from_millis(20);

/// What the application may know of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInfo {
    /// The id.
    pub id: CallId,
    /// SIP Call-ID (RFC 3261, section 20.8); by REST the UUID of the call at the proxy.
    pub sip_call_id: String,
    /// Who called.
    pub direction: Direction,
    /// State.
    pub state: CallState,
    /// The other side's URI.
    pub remote_uri: String,
    /// The other side's display name.
    pub remote_display_name: Option<String>,
    /// The other side as the server vouches for it (RFC 3325), where the configuration trusts that.
    pub asserted_identity: Option<Identity>,
    /// The other side does not want its identity to be passed on (RFC 3323), or hides it.
    pub private: bool,
    /// Who has sent the call on to us (RFC 5806, RFC 7044), likewise.
    pub diversion: Option<Identity>,
    /// It answers itself (RFC 5373), at once or in a few seconds.
    pub auto_answer: bool,
    /// What the page before has kept of it.
    pub note: CallNote,
    /// What the user last wished of its own audio.
    pub wish: Wish,
    /// The call whose place it takes, or is to take.
    pub continues: Option<CallId>,
    /// Incoming, and it rings: it asks to take the place of this call (RFC 3891), and does when it is answered.
    pub replaces: Option<CallId>,
    /// Held by us.
    pub local_hold: bool,
    /// Held by the other side.
    pub remote_hold: bool,
    /// Why it ended, once it has.
    pub end_reason: Option<EndReason>,
    /// By REST: the number that the other side sees, once it is known.
    pub local_number: Option<String>,
    /// By REST: how it stands, in the proxy's words.
    pub proxy_state: Option<String>,
    /// Nothing may be heard or shown of the other side: it has not been proved to be the right one.
    pub gated: bool,
}

/// What to dial.
#[derive(Debug, Clone, Default)]
pub struct DialRequest {
    /// The Request-URI: `sip:` or `sips:`.
    pub target: String,
    /// Name for the To header.
    pub display_name: Option<String>,
    /// Headers of the application; checked.
    pub extra_headers: Vec<(String, String)>,
    /// Longest time until it is answered.
    pub timeout: Option<Duration>,
    /// Whether the call only listens, with no microphone; `None`: as the configuration says.
    pub listens_only: Option<bool>,
    /// The call that this one goes on with: what the user wishes of its audio counts for this one too.
    pub continues: Option<CallId>,
}

/// What to call by REST. `Debug` shows no number.
#[derive(Clone)]
pub struct OriginateRequest {
    /// The destination, E.164 with its "+".
    pub to: String,
    /// The key of a caller ID that the proxy knows; `None` for its default.
    pub caller_id: Option<String>,
    /// Longest time until the bridge is confirmed.
    pub timeout: Option<Duration>,
    /// Who answers the provider's call.
    pub answer: AnswerBy,
    /// Whether the call only listens, with no microphone; `None`: as the configuration says.
    pub listens_only: Option<bool>,
}

impl core::fmt::Debug for OriginateRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OriginateRequest").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Who answers the provider's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBy {
    /// This phone, which must be connected.
    ThisPhone,
    /// Something else, which the application sees to. No connection is needed, and there is no audio here.
    Elsewhere,
}

/// Where to transfer a call to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferTarget {
    /// Blind: to this SIP URI.
    Uri(String),
    /// Attended: to the other side of this call, whose place is taken (RFC 3891).
    Call(CallId),
}

/// A message to send (RFC 3428).
#[derive(Debug, Clone, Default)]
pub struct MessageRequest {
    /// The Request-URI: `sip:` or `sips:`.
    pub target: String,
    /// Media type, such as `text/plain`.
    pub content_type: String,
    /// The text.
    pub body: String,
    /// Headers of the application; checked.
    pub extra_headers: Vec<(String, String)>,
}

/// What to subscribe to (RFC 6665).
#[derive(Debug, Clone, Default)]
pub struct SubscribeRequest {
    /// The resource: `sip:` or `sips:`.
    pub target: String,
    /// The event package: `message-summary`, `dialog`, `presence`, ...
    pub event: String,
    /// Media types that are understood.
    pub accept: Vec<String>,
    /// Lifetime to ask for.
    pub expires: Duration,
}

/// What to publish (RFC 3903).
#[derive(Debug, Clone, Default)]
pub struct PublishRequest {
    /// The event package.
    pub event: String,
    /// Media type.
    pub content_type: String,
    /// The state.
    pub body: String,
    /// Lifetime to ask for.
    pub expires: Duration,
}

/// URLs with their priorities and weights.
type Servers = (Vec<String>, Vec<(u32, u32)>);

/// A challenged request that waits for the application's credentials.
#[derive(Debug)]
struct Question {
    owner: Owner,
    request: Request,
    attempt: Attempt,
    until: Instant,
}

/// A SIP phone without clock, socket, randomness or async (see the crate documentation for the driving loop).
///
/// * getters: [`connection`](Self::connection), [`registration`](Self::registration), [`call`](Self::call),
///   [`calls`](Self::calls)
/// * what happened outside: [`handle_input`](Self::handle_input), never fails
/// * commands: `connect`, `disconnect`, `dial`, `answer`, `progress`, `reject`, `hangup`, `send_info`
/// * what is to be done now: [`poll_output`](Self::poll_output), [`poll_timeout`](Self::poll_timeout)
pub struct Phone {
    config: PhoneConfig,
    /// `servers`, `uri` and `register` that wait for the end of the connection.
    next_account: Option<(Servers, Uri, bool)>,
    entropy: Box<dyn Entropy>,
    now: Instant,
    out: Vec<Output>,
    /// What `poll_output` is handing out.
    handing_out: std::vec::IntoIter<Output>,
    timers: Timers<TimerKey>,
    flow: Flow,
    registration: Registration,
    transactions: Transactions,
    authenticator: Authenticator,
    calls: SortedMap<CallId, Box<Call>>,
    /// Calls that are to be forgotten before the next input.
    to_remove: Vec<CallId>,
    last_call: u32,
    questions: SortedMap<CredentialsId, Question>,
    last_question: u32,
    last_proxy: u32,
    last_lock: u32,
    last_request: u32,
    /// The call that plays in the application's element.
    has_element: Option<CallId>,
    last_heard: u32,
    subscriptions: SortedMap<SubscriptionId, Box<subscription::Subscription>>,
    last_subscription: u32,
    /// INVITEs of which it is not known yet whether they are the provider's for a dial by REST.
    unmatched: Vec<(TxId, Request)>,
    answered: Vec<outage::Answered>,
    /// Headers of the application, whose values are not for the log.
    secret_headers: Vec<String>,
    /// User part of our Contact: unguessable, so that only the registrar can address this phone directly.
    contact_user: String,
    /// Host of Via and Contact: a browser has no address (RFC 7118, section 5).
    host: String,
    via_transport: &'static str,
}

impl core::fmt::Debug for Phone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Phone")
            .field("connection", &self.connection())
            .field("registration", &self.registration())
            .field("calls", &self.calls.len())
            .finish_non_exhaustive()
    }
}

impl Phone {
    /// A phone that does nothing until [`Phone::connect`].
    #[must_use]
    pub fn new(config: PhoneConfig, mut entropy: Box<dyn Entropy>) -> Self {
        let contact_user = token(&mut *entropy, 12);
        let host = token(&mut *entropy, 12) + ".invalid";
        Self {
            config,
            next_account: None,
            entropy,
            now: Instant::ZERO,
            out: Vec::new(),
            handing_out: Vec::new().into_iter(),
            timers: Timers::new(),
            flow: Flow::new(),
            registration: Registration::new(),
            transactions: Transactions::default(),
            authenticator: Authenticator::new(),
            calls: SortedMap::new(),
            to_remove: Vec::new(),
            last_call: 0,
            questions: SortedMap::new(),
            last_question: 0,
            last_proxy: 0,
            last_lock: 0,
            last_request: 0,
            has_element: None,
            last_heard: 0,
            subscriptions: SortedMap::new(),
            last_subscription: 0,
            unmatched: Vec::new(),
            answered: Vec::new(),
            secret_headers: Vec::new(),
            contact_user,
            host,
            via_transport: "WSS",
        }
    }

    // ---- inputs and outputs

    /// Takes what happened outside. Drain [`Phone::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.begin(now);
        self.notice_sleep();
        match input {
            Input::Timer => {}
            Input::SocketOpened(socket) => self.on_socket_opened(socket),
            Input::SocketData(socket, data) => {
                if self.flow.listens_to(socket) {
                    self.flow.heard_over = Some(socket);
                    self.on_data(socket, &data);
                }
            }
            Input::SocketClosed(socket) => self.on_socket_closed(socket),
            Input::MediaDone { call, seq, result } => self.on_media_done(call, seq, result),
            Input::MediaState { call, state } => self.on_media_state(call, state),
            Input::Credentials(id, credentials) => self.on_credentials(id, credentials),
            Input::Proxy(id, answer) => self.on_proxy(id, &answer),
            Input::Lock(id, granted) => self.on_lock(id, granted),
            Input::LocalNetwork(state) => self.flow.local_network = state,
            Input::PageHide(kept) => self.on_page_hide(kept),
            Input::Hint(hint) => self.on_hint(hint),
        }
        self.run_timers();
        self.pace_keep_alive();
        self.close_previous();
        self.check_disconnected();
    }

    /// The next thing to do outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.handing_out.next().or_else(|| {
            if self.out.is_empty() {
                self.share_element();
            }
            self.handing_out = core::mem::take(&mut self.out).into_iter();
            self.handing_out.next()
        })
    }

    /// When to call with [`Input::Timer`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        self.next_deadline().map(|(at, key)| (at, key.why()))
    }

    // ---- commands: drain `poll_output` after each

    /// New settings. Those that name the connection (`servers`, `uri`, `register`) count from the next
    /// [`Phone::connect`] after a disconnect: what was registered must be un-registered under the same name.
    pub fn configure(&mut self, config: PhoneConfig) {
        self.authenticator.clear();
        if self.flow.connection() == ConnectionState::Disconnected {
            self.authenticator.forget_realms();
            self.config = config;
            self.next_account = None;
            return;
        }
        // The names of the connection change places, so that the new ones wait and the old ones stay.
        let mut config = config;
        core::mem::swap(&mut config.servers, &mut self.config.servers);
        core::mem::swap(&mut config.weights, &mut self.config.weights);
        core::mem::swap(&mut config.uri, &mut self.config.uri);
        core::mem::swap(&mut config.register, &mut self.config.register);
        let new = core::mem::replace(&mut self.config, config);
        self.next_account = Some(((new.servers, new.weights), new.uri, new.register));
        if self.flow.established && self.registration.state == RegistrationState::Failed {
            // Perhaps the password is another one now.
            self.timers.set(TimerKey::Register, self.now);
        }
    }

    /// The `+sip.instance` of this phone where the configuration has none, from the next registration on. Calls that
    /// were taken up from another page keep that page's, which the registrar knows.
    pub fn use_instance(&mut self, id: &str) {
        if self.calls.is_empty() && registration::is_instance(id) {
            id.clone_into(&mut self.registration.instance);
        }
    }

    /// Opens the connection and registers; ends in [`Event::ConnectDone`]. While connected it reports success
    /// at once; while connecting it joins the attempt (one event).
    pub fn connect(&mut self, now: Instant) {
        self.begin(now);
        let registered = !self.config.register || self.registration.state == RegistrationState::Registered;
        let up = self.flow.open_socket().is_some() && !self.flow.closing;
        if up && registered && self.flow.established {
            self.event(Event::ConnectDone(Ok(())));
            return;
        }
        self.flow.connect_pending = true;
        if self.flow.closing {
            // `finish_disconnect` takes it up.
        } else if self.flow.connection() == ConnectionState::Disconnected {
            self.start_connecting();
        } else if up && self.flow.established && self.registration.state != RegistrationState::Registering {
            // Connected, but the registration was refused earlier: one more honest try.
            self.start_registering();
        }
    }

    /// Ends calls, un-registers, closes the socket; ends in [`Event::DisconnectDone`], after 2 s at the latest.
    pub fn disconnect(&mut self, now: Instant) {
        self.begin(now);
        self.start_disconnecting();
    }

    /// Starts an outgoing call.
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config` (a header that cannot be sent), `invalid_state`
    /// (too many calls).
    pub fn dial(&mut self, now: Instant, request: DialRequest) -> Result<CallId, Error> {
        self.begin(now);
        self.start_dial(request, &[])
    }

    /// Starts a call by REST: asks the call proxy for it, answers the provider's call to this phone with nothing
    /// heard or sent, and opens up once the proxy has confirmed that it is the right one.
    ///
    /// # Errors
    /// `not_connected`, `invalid_state` (too many calls, or another one is answered), `invalid_config` (the user of
    /// `uri` is not a number, so that the provider's call could not be told).
    pub fn originate(&mut self, now: Instant, request: OriginateRequest) -> Result<CallId, Error> {
        self.begin(now);
        self.start_originate(request)
    }

    /// Answers an incoming call; ends in [`Event::AnswerDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn answer(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.start_answer(call)
    }

    /// Sends early media in a 183 to an incoming call that is not yet answered (RFC 3261, section 21.1.5).
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn progress(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.start_progress(call)
    }

    /// Refuses an incoming call with this status (300 to 699; 603 unless told otherwise). Nothing for a call that
    /// has ended.
    ///
    /// # Errors
    /// `invalid_state` for a call that is answered or outgoing, `invalid_config` for a status out of range.
    pub fn reject(&mut self, now: Instant, call: CallId, status: Option<u16>) -> Result<(), Error> {
        self.begin(now);
        self.start_reject(call, status)
    }

    /// CANCEL, BYE or a refusal, whichever the state calls for. Nothing for a call that has ended.
    /// `cause`: what to report as the reason (an application's timeout or abort), else completed or cancelled.
    pub fn hangup(&mut self, now: Instant, call: CallId, cause: Option<Error>) {
        self.begin(now);
        self.hang_up(call, cause, 603);
        self.check_disconnected();
    }

    /// Sends silence instead of the microphone, or the microphone again; in the calls that are to take its place too.
    ///
    /// # Errors
    /// `ended`.
    pub fn mute(&mut self, now: Instant, call: CallId, muted: bool) -> Result<(), Error> {
        self.begin(now);
        self.change_wish(call, &|wish| wish.muted = muted)
    }

    /// Sends this track instead of the microphone; `None`: the microphone again. In the calls that are to take its place
    /// too.
    ///
    /// # Errors
    /// `ended`.
    pub fn replace_track(&mut self, now: Instant, call: CallId, track: Option<TrackId>) -> Result<(), Error> {
        self.begin(now);
        self.change_wish(call, &|wish| wish.track = track)
    }

    /// Whether an incoming call only listens, with no microphone: to be said before [`Phone::answer`] or
    /// [`Phone::progress`]; later it changes nothing.
    pub fn listen_only(&mut self, now: Instant, call: CallId, listens_only: bool) {
        self.begin(now);
        self.choose_microphone(call, listens_only);
    }

    /// Sends an INFO within an answered call (RFC 6086), e.g. DTMF; ends in [`Event::InfoDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_config`, `transport`.
    pub fn send_info(
        &mut self,
        now: Instant,
        call: CallId,
        content_type: &str,
        body: &str,
    ) -> Result<(), Error> {
        self.begin(now);
        self.start_info(call, content_type, body)
    }

    /// Puts the other side on hold: nothing is sent or played from now on, and the other side is asked to agree; ends
    /// in [`Event::HoldDone`]. A refusal leaves the call as it was.
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn hold(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.start_hold(call, true)
    }

    /// Takes the other side off hold; ends in [`Event::HoldDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn unhold(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.start_hold(call, false)
    }

    /// Asks the other side to call somebody else (RFC 3515); ends in [`Event::TransferDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_destination`.
    pub fn transfer(&mut self, now: Instant, call: CallId, target: TransferTarget) -> Result<(), Error> {
        self.begin(now);
        self.start_transfer(call, target)
    }

    /// Does what [`Event::TransferRequested`] asks for: a new call, which is returned.
    ///
    /// # Errors
    /// `ended`, `invalid_state`, as for [`Phone::dial`].
    pub fn accept_transfer(&mut self, now: Instant, call: CallId) -> Result<CallId, Error> {
        self.begin(now);
        self.take_transfer(call)
    }

    /// Refuses what [`Event::TransferRequested`] asks for (603). Nothing when it is over.
    pub fn reject_transfer(&mut self, now: Instant, call: CallId) {
        self.begin(now);
        self.refuse_transfer(call);
    }

    /// Goes where [`Event::Redirected`] says: to the target with this index.
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_destination`.
    pub fn follow_redirect(&mut self, now: Instant, call: CallId, target: usize) -> Result<(), Error> {
        self.begin(now);
        self.take_redirect(call, target)
    }

    /// Goes nowhere: the call ends as `redirected`. Nothing where [`Event::Redirected`] waits for no answer.
    pub fn decline_redirect(&mut self, now: Instant, call: CallId) {
        self.begin(now);
        self.refuse_redirect(call);
    }

    /// Sends a message (RFC 3428); ends in [`Event::RequestDone`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config`, `invalid_state` (too many requests under way).
    pub fn send_message(&mut self, now: Instant, message: MessageRequest) -> Result<RequestId, Error> {
        self.begin(now);
        self.start_message(message)
    }

    /// Asks what the other side can do (OPTIONS); ends in [`Event::RequestDone`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_state` (too many requests under way).
    pub fn send_options(&mut self, now: Instant, target: &str) -> Result<RequestId, Error> {
        self.begin(now);
        self.start_options(target)
    }

    /// Subscribes to an event of a resource (RFC 6665): kept up, also over reconnects, until
    /// [`Phone::unsubscribe`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config`, `invalid_state` (too many subscriptions).
    pub fn subscribe(&mut self, now: Instant, request: SubscribeRequest) -> Result<SubscriptionId, Error> {
        self.begin(now);
        self.start_subscription(request)
    }

    /// Ends a subscription or publication. Nothing when it is over.
    pub fn unsubscribe(&mut self, now: Instant, id: SubscriptionId) {
        self.begin(now);
        self.end_subscription(id);
    }

    /// Publishes event state of this account (RFC 3903), or replaces it where `id` is that of an earlier publication;
    /// refreshed until [`Phone::unsubscribe`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_config`, `ended`.
    pub fn publish(
        &mut self,
        now: Instant,
        id: Option<SubscriptionId>,
        request: PublishRequest,
    ) -> Result<SubscriptionId, Error> {
        self.begin(now);
        self.start_publication(id, request)
    }

    /// What another page needs to take up the calls of this one, with `notes` of the page itself; `None` when there is no
    /// such call. It changes only when there is something new to be kept.
    ///
    /// It holds no credentials, but who talks to whom: keep it where no other origin can read it.
    #[must_use]
    pub fn record(&self, notes: &dyn Fn(CallId) -> CallNote) -> Option<String> {
        self.write_record(notes)
    }

    /// Takes up the calls of a record that another page has kept, `age` ago: they are `Reconnecting`, and go on once
    /// [`Phone::connect`] has brought this phone to its server. Returns how many there are.
    ///
    /// # Errors
    /// `invalid_state` while there is a connection or a call, `invalid_record` for one that is damaged, too old, or of
    /// another account: nothing is taken up.
    pub fn resume(&mut self, now: Instant, record: &str, age: Duration) -> Result<usize, Error> {
        self.begin(now);
        self.take_record(record, age)
    }

    // ---- getters

    /// State of the connection.
    #[must_use]
    pub const fn connection(&self) -> ConnectionState {
        self.flow.connection()
    }

    /// State of the registration.
    #[must_use]
    pub const fn registration(&self) -> RegistrationState {
        self.registration.state
    }

    /// A call, until the input after its end.
    #[must_use]
    pub fn call(&self, call: CallId) -> Option<CallInfo> {
        self.calls.get(&call).map(|call| info(call))
    }

    /// How much it keeps in memory: for those who watch a phone for long.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let (client_transactions, server_transactions) = self.transactions.count();
        Footprint {
            calls: self.calls.len(),
            client_transactions,
            server_transactions,
            timers: self.timers.len() + self.calls.values().map(|call| call.deadlines()).sum::<usize>(),
            subscriptions: self.subscriptions.len(),
        }
    }

    /// The calls that have not ended, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallInfo> {
        self.calls
            .values()
            .filter(|call| call.phase != Phase::Terminating && call.end_reason.is_none())
            .map(|call| info(call))
            .collect()
    }

    // ---- common to all parts

    fn begin(&mut self, now: Instant) {
        // Clocks of machines that wake up have been seen to step back.
        self.now = self.now.max(now);
        for id in core::mem::take(&mut self.to_remove) {
            self.calls.remove(&id);
        }
    }

    #[inline(never)]
    fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    #[inline(never)]
    fn log(&mut self, level: LogLevel, parts: &[&str]) {
        if self.config.trace || matches!(level, LogLevel::Warn | LogLevel::Error) {
            self.event(Event::Log(level, concat(parts)));
        }
    }

    fn trace(&mut self, direction: &str, text: &str) {
        if self.config.trace {
            self.log(LogLevel::Debug, &[direction, "\n", &redact_with(text, &self.secret_headers)]);
        }
    }

    /// Checks the headers of the application; their values may be tokens, so that none is written to the log.
    fn take_headers(&mut self, headers: &[(String, String)]) -> Result<(), Error> {
        for (name, value) in headers {
            check_extra_header(name, value)
                .map_err(|problem| Error::invalid_config("extraHeaders", problem))?;
            let name = long_name(name);
            let known = self.secret_headers.iter().any(|known| known.eq_ignore_ascii_case(name));
            if !known {
                self.secret_headers.push(name.to_owned());
            }
        }
        Ok(())
    }

    /// The next deadline: of the phone, or of a part of a call that keeps its own.
    fn next_deadline(&self) -> Option<(Instant, TimerKey)> {
        let mut next = self.timers.next();
        for call in self.calls.values() {
            let own = call.poll_timeout().map(|(at, timer)| (at, TimerKey::Call(call.id, timer)));
            if own.is_some() && (next.is_none() || own < next) {
                next = own;
            }
        }
        next
    }

    /// Takes the next deadline that has been reached.
    fn take_deadline(&mut self) -> Option<TimerKey> {
        let (_, key) = self.next_deadline().filter(|(at, _)| *at <= self.now)?;
        let of_call = match key {
            TimerKey::Call(id, timer) => self.calls.get_mut(&id).is_some_and(|call| call.take_timeout(timer)),
            _ => false,
        };
        if !of_call {
            self.timers.clear(key);
        }
        Some(key)
    }

    fn run_timers(&mut self) {
        while let Some(key) = self.take_deadline() {
            match key {
                TimerKey::Connect => self.on_connect_timeout(),
                TimerKey::KeepAlive => self.on_keep_alive_timer(),
                TimerKey::Pong => self.on_pong_timeout(),
                TimerKey::Reconnect => self.on_reconnect_timer(),
                TimerKey::Move => self.on_move_timer(),
                TimerKey::Previous => self.on_previous_timer(),
                TimerKey::Return => self.on_return_timer(),
                TimerKey::Register => self.on_register_timer(),
                TimerKey::Binding => self.on_binding_expired(),
                TimerKey::Question => self.on_question_timeout(),
                TimerKey::Disconnect => self.finish_disconnect(),
                TimerKey::Outage => self.on_outage_timer(),
                TimerKey::Client(id) => self.on_client_timer(id),
                TimerKey::Server(id) => self.on_server_timer(id),
                TimerKey::Call(id, timer) => match timer {
                    CallTimer::IceGather => self.on_gather_timeout(id),
                    CallTimer::IceConnect => self.on_ice_timeout(id),
                    CallTimer::Ring => self.on_ring_timeout(id),
                    CallTimer::Cancelled => self.on_cancelled_timeout(id),
                    CallTimer::Retransmit2xx => self.on_retransmit_timer(id),
                    CallTimer::Ack => self.on_ack_timeout(id),
                    CallTimer::ProxyPause => self.on_proxy_pause(id),
                    CallTimer::Bridge => self.on_bridge_timeout(id),
                    CallTimer::Confirm => self.on_confirm_timeout(id),
                    CallTimer::Outcome => self.on_outcome_timeout(id),
                    CallTimer::MaxDuration => self.on_max_duration(id),
                    CallTimer::Tombstone => self.on_tombstone(id),
                    CallTimer::Glare => self.continue_offer(id),
                    CallTimer::Reoffer => self.on_reoffer_timeout(id),
                    CallTimer::Renew => self.on_renew_timer(id),
                    CallTimer::Association => self.on_association_timer(id),
                    CallTimer::SessionRefresh => self.on_session_refresh(id),
                    CallTimer::SessionExpired => self.on_session_expired(id),
                    CallTimer::Reliable1xx => self.on_reliable_timer(id),
                    CallTimer::Transfer => self.on_transfer_timeout(id),
                    CallTimer::AutoAnswer => self.on_auto_answer_timer(id),
                    CallTimer::Recovery => self.on_recovery_timer(id),
                    CallTimer::Grace => self.on_grace_timer(id),
                    CallTimer::MediaJob => self.on_job_timeout(id),
                },
                TimerKey::Proxy(id) => self.on_proxy_timeout(id),
                TimerKey::Subscription(id) => self.on_subscription_timer(id),
                TimerKey::Unmatched => self.on_unmatched_timeout(),
            }
        }
    }

    fn new_call_id(&mut self) -> CallId {
        self.last_call = self.last_call.wrapping_add(1);
        CallId(self.last_call)
    }

    fn live_calls(&self) -> Vec<CallId> {
        self.calls
            .values()
            .filter(|call| call.phase != Phase::Terminating && call.end_reason.is_none())
            .map(|call| call.id)
            .collect()
    }

    fn set_call_state(&mut self, id: CallId, state: CallState) {
        if let Some(call) = self.calls.get_mut(&id)
            && call.state != state
            && call.state != CallState::Ended
        {
            call.state = state;
            self.event(Event::CallState(id, state));
        }
    }

    /// The call is over for the application: the media stops, and the outcome of what was waited for is told.
    /// Does nothing the second time.
    fn report_end(
        &mut self,
        id: CallId,
        cause: EndCause,
        sip_status: Option<u16>,
        by: EndedBy,
        error: Option<Error>,
    ) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.end_reason.is_none()) else { return };
        let (q850, reason_text) = call.said.take().map_or((None, None), |said| (said.q850, said.text));
        let reason = EndReason { cause, sip_status, by, q850, reason_text };
        call.end_reason = Some(reason.clone());
        call.phase = Phase::Terminating;
        call.job = None;
        call.recovery.stop();
        let theirs = call.offers.drop_theirs();
        let error = error.unwrap_or_else(call_ended);
        let dial_failed =
            call.direction == Direction::Outgoing && !core::mem::replace(&mut call.dial_done, true);
        let answer_failed = core::mem::take(&mut call.answer_pending);
        if call.rest.is_some() {
            self.rest_ended(id);
        }
        self.timers.clear(TimerKey::Call(id, CallTimer::AutoAnswer));
        self.clear_call_timers(
            id,
            &[
                CallTimer::IceGather,
                CallTimer::Ring,
                CallTimer::Reliable1xx,
                CallTimer::MediaJob,
                CallTimer::Renew,
            ],
        );
        let mut infos = self.forget_questions_of(Owner::Info(id));
        self.forget_questions_of_call(id);
        for (_, entry) in self.transactions.clients() {
            if entry.owner == Owner::Info(id) {
                entry.owner = Owner::Nobody;
                infos += 1;
            }
        }
        if let Some(theirs) = theirs {
            self.respond_in_dialog(id, theirs.tx, 487, None);
        }
        self.end_transfers(id, sip_status, dial_failed);
        self.replacement_over(id, by);
        self.hold_ended(id);
        self.media_order(id, MediaCommand::Close);
        if dial_failed {
            self.event(Event::DialDone(id, Err(error.clone())));
        }
        if answer_failed {
            self.event(Event::AnswerDone(id, Err(error)));
        }
        for _ in 0..infos {
            self.event(Event::InfoDone(id, Err(call_ended())));
        }
        self.set_call_state(id, CallState::Ended);
        self.event(Event::Ended(id, reason));
    }

    /// Nothing more is to come for this call. It is forgotten before the next input.
    fn remove(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.phase = Phase::Terminating;
        call.pending_ok = None;
        self.timers.clear(TimerKey::Call(id, CallTimer::Cancelled));
        if !self.lingers(id) {
            self.to_remove.push(id);
        }
    }

    fn clear_call_timers(&mut self, id: CallId, timers: &[CallTimer]) {
        for timer in timers {
            self.timers.clear(TimerKey::Call(id, *timer));
        }
    }

    fn hang_up(&mut self, id: CallId, cause: Option<Error>, refusal: u16) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.rest.is_some() {
            self.hang_up_rest(id, cause);
            return;
        }
        match call.phase {
            Phase::Preparing | Phase::Inviting => self.give_up_call(id, cause, EndedBy::Local),
            Phase::Alerting | Phase::Answering => {
                let end = cause.map_or_else(
                    || EndCause::Failed(Error::from_status(refusal, "Declined")),
                    EndCause::Failed,
                );
                self.refuse(id, refusal, end, EndedBy::Local);
            }
            Phase::Applying | Phase::Accepted | Phase::Confirmed => {
                let end = cause.map_or(EndCause::Completed, EndCause::Failed);
                self.end_with_bye(id, end, EndedBy::Local, None);
            }
            Phase::Terminating => self.on_peer_left(id),
            // These are by REST only.
            Phase::Originating | Phase::Outcome => {}
        }
    }

    fn hangup_for_disconnect(&mut self, id: CallId) {
        self.hang_up(id, None, 480);
    }

    /// The connection is over, and with it every call that needs it. What is to be said to a call proxy is said all
    /// the same.
    fn end_all_calls(&mut self, error: &Error) {
        let ids: Vec<CallId> =
            self.calls.values().filter(|call| call.needs_connection()).map(|call| call.id).collect();
        for id in ids {
            let cause = EndCause::Failed(error.clone());
            self.report_end(id, cause, None, EndedBy::Network, Some(error.clone()));
            self.remove(id);
        }
    }

    // ---- messages in

    fn on_data(&mut self, socket: SocketId, data: &[u8]) {
        let frame = wire::parse(data);
        if !matches!(frame, Ok(Frame::Pong)) {
            self.heard_from(socket, matches!(frame, Ok(Frame::Message(Message::Response(_)))));
        }
        match frame {
            Ok(Frame::Ping) => self.on_ping(socket),
            Ok(Frame::Pong) => self.on_pong(socket),
            Ok(Frame::Message(message)) => {
                if self.config.trace {
                    self.trace("received", &wire::text_of(data));
                }
                match message {
                    Message::Request(request) => self.on_request(request),
                    Message::Response(response) => self.on_response(&response),
                }
            }
            Err(rejected) => {
                self.log(LogLevel::Warn, &["rejected: ", &rejected.error.text(), ": ", &rejected.first_line]);
                if let Some(reply) = rejected.reply {
                    self.send_untracked(reply);
                }
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        if let Some(tx) = self.transactions.find_server(&request) {
            let Some(entry) = self.transactions.server(tx) else { return };
            let action = entry.tx.on_request(&request.method);
            let text = entry.tx.last_response.clone();
            self.tidy_server(tx);
            match action {
                ServerAction::Absorb => return,
                ServerAction::Resend => {
                    if let Some(text) = text {
                        self.transmit(text, false);
                    }
                    return;
                }
                ServerAction::Deliver => {}
            }
        }
        let to_tag = request.headers.to_tag();
        let call = to_tag.as_ref().and_then(|tag| self.find_call(&request, tag));
        if request.method == Method::Ack {
            // Never answered (RFC 3261, section 17.2.1).
            if let Some(id) = call {
                self.on_ack(id, &request);
            }
            return;
        }
        if request.method != Method::Cancel && !self.make_room(call.is_some()) {
            self.send_untracked(request.response(503, None));
            return;
        }
        // Whatever the answer adds, a description above all, must find room behind what it repeats.
        let bare = request.response(200, None).to_text();
        if bare.is_ok_and(|text| text.len() > MAX_MESSAGE / 2) {
            self.send_untracked(request.response(513, None));
            return;
        }
        let Some(tx) = self.transactions.add_server(Server::new(request.clone()), None) else { return };
        if self.answer_again(tx, &request) {
            return;
        }
        match (&request.method, to_tag, call) {
            (Method::Cancel, ..) => self.on_cancel(tx, &request),
            (_, Some(_), Some(id)) => self.on_in_dialog_request(id, tx, &request),
            (Method::Notify, ..) => self.on_notify(tx, &request),
            (_, Some(_), None) => self.respond(tx, 481),
            (Method::Message, None, _) => self.on_message(tx, &request),
            (Method::Prack | Method::Update, None, _) => self.respond(tx, 481),
            (Method::Invite, None, _) => self.on_invite(tx, &request),
            // Nobody is called on a stranger's behalf.
            (Method::Refer, None, _) => self.respond(tx, 403),
            (Method::Options, None, _) => match self.unsupported(&request) {
                None => self.respond_to_options(tx),
                Some(refusal) => self.respond_refusal(tx, refusal),
            },
            // A BYE or INFO without a To-tag belongs to no dialog (RFC 3261, section 15.1.2).
            (Method::Bye | Method::Info, None, _) => self.respond(tx, 481),
            _ => self.method_not_allowed(tx, &request.method),
        }
    }

    /// Whether one more request can be taken, from within a call or not.
    fn make_room(&mut self, in_call: bool) -> bool {
        while self.transactions.is_full(in_call) {
            let Some(accepted) = self.transactions.oldest_accepted() else { return false };
            self.timers.clear(TimerKey::Server(accepted));
            self.transactions.remove_server(accepted);
        }
        true
    }

    fn find_call(&self, request: &Request, to_tag: &str) -> Option<CallId> {
        let call_id = request.headers.call_id()?;
        // There are `max_calls` at most: an index would cost more than it saves.
        let call =
            self.calls.values().find(|call| call.sip_call_id == call_id && call.local_tag == to_tag)?;
        let from_tag = request.headers.from_tag().unwrap_or_default();
        call.knows_remote_tag(&from_tag).then_some(call.id)
    }

    /// RFC 3261, section 9.2.
    fn on_cancel(&mut self, tx: TxId, request: &Request) {
        let Some(invite) = self.transactions.find_cancelled(request) else {
            self.respond(tx, 481);
            return;
        };
        let call = self.transactions.server(invite).and_then(|entry| entry.call);
        self.respond_with(tx, 200, call, &[], None);
        let Some(id) = call else {
            self.cancel_unmatched(invite);
            return;
        };
        // A re-INVITE can be cancelled too; the call goes on.
        let call = self.calls.get(&id);
        if call.and_then(|call| call.offers.theirs()).is_some_and(|theirs| theirs.tx == invite) {
            self.abandon_offer_of_theirs(id);
        } else if call.is_some_and(|call| call.offers.is_waiting(invite)) {
            self.abandon_waiting(id);
        } else {
            self.on_cancelled(id, request);
        }
    }

    fn on_response(&mut self, response: &Response) {
        if response.headers.get_all("Via").count() > 1 {
            // It was for somebody behind us, and nobody is (RFC 3261, section 8.1.3.3).
            self.log(LogLevel::Warn, &["misrouted response ", &digits(response.status)]);
            return;
        }
        let Some(id) = self.transactions.find_client(response) else {
            // A 2xx that comes after its transaction is gone is no concern of ours any more: its ACK was sent
            // for 32 s (RFC 6026, section 8.5).
            self.log(LogLevel::Warn, &["stray response ", &digits(response.status)]);
            return;
        };
        let now = self.now;
        let Some(entry) = self.transactions.client(id) else { return };
        let action = entry.tx.on_response(response, now);
        let owner = entry.owner;
        let request = entry.tx.request.clone();
        let attempt = entry.attempt.clone();
        self.tidy_client(id);
        match action {
            ClientAction::Ignore => return,
            ClientAction::Deliver => {}
            ClientAction::AckAndDeliver(ack) => {
                if let Ok(text) = ack.to_text() {
                    self.transmit(text, true);
                }
            }
        }
        if matches!(response.status, 401 | 407) && self.answer_challenge(owner, &request, response, attempt) {
            return;
        }
        // An INVITE may have several answers, and not each of them is the call's.
        if let Some(call) = owner.call().filter(|_| (101..=299).contains(&response.status))
            && !matches!(owner, Owner::Invite(_))
        {
            self.learn_identity(call, &response.headers);
        }
        match owner {
            Owner::Register => self.on_register_response(response),
            Owner::Invite(call) => self.on_invite_response(call, &request, response),
            Owner::Bye(call) => {
                if response.status >= 200 {
                    self.remove(call);
                }
            }
            Owner::Info(call) => match response.status {
                100..=199 => {}
                200..=299 => self.event(Event::InfoDone(call, Ok(()))),
                status => {
                    let error = Error::from_status(status, &response.reason);
                    self.event(Event::InfoDone(call, Err(error.clone())));
                    if status == 481 {
                        self.dialog_gone(call, error);
                    }
                }
            },
            Owner::Reinvite(call) => self.on_reinvite_response(call, &request, response),
            Owner::LateReinvite(call) => self.on_late_reinvite_response(call, &request, response),
            Owner::Update(call) => self.on_update_response(call, response),
            Owner::Prack(call) => self.on_prack_response(call, response),
            Owner::Refer(call) => self.on_refer_response(call, response),
            Owner::ReferNotify(call) => self.on_refer_notify_response(call, response),
            Owner::Subscription(id) | Owner::Publication(id) => {
                self.on_subscription_response(id, &request, response);
            }
            Owner::Request(id) => self.on_request_response(id, response),
            Owner::Caller(call) => self.on_caller_response(call, response),
            Owner::Ping => self.on_ping_response(),
            // An INVITE whose place another has taken.
            Owner::Nobody if request.method == Method::Invite && (200..300).contains(&response.status) => {
                if let Some(mut dialog) = Dialog::from_response(&request, response) {
                    self.ack_and_bye(&request, &mut dialog, false);
                }
            }
            Owner::Nobody => {}
        }
    }

    // ---- requests out

    /// Sends a request: Via, User-Agent, the Route outside dialogs and, where a challenge is known, its answer are
    /// added.
    fn send_request(&mut self, owner: Owner, mut request: Request, attempt: Attempt) -> Result<TxId, Error> {
        if !matches!(request.method, Method::Register | Method::Ack | Method::Cancel)
            && request.headers.to_tag().is_none()
            && request.headers.get("Route").is_none()
        {
            self.route_headers(&mut request);
        }
        if request.headers.get("Privacy").is_some() && request.headers.get("Contact").is_some() {
            request.headers.set("Contact", self.contact_as(true));
        }
        // Within a dialog a request goes to the other end of it, and an answer to a challenge lets a password be guessed: none
        // goes there before a server has asked for it in this dialog. RFC 3261, section 22.2, would have it each time.
        let call = owner.call().and_then(|id| self.calls.get(&id));
        let asked_for = request.headers.to_tag().is_none() || call.is_some_and(|call| call.challenged);
        let credentials = self.config.credentials.kept();
        if !credentials.is_empty()
            && asked_for
            && !matches!(request.method, Method::Ack | Method::Cancel)
            && !any_answer_will_do(owner)
        {
            let user = self.config.uri.user.as_deref().unwrap_or_default();
            let scope = Self::scope(owner);
            let secure = self.flow.secure;
            self.authenticator.authorize(scope, &mut request, user, credentials, secure, &mut *self.entropy);
        }
        let tx = self.send_prepared(owner, request.clone(), attempt)?;
        if let Owner::Invite(call) = owner {
            self.invite_resent(call, tx, &request);
        }
        Ok(tx)
    }

    fn send_prepared(&mut self, owner: Owner, mut request: Request, attempt: Attempt) -> Result<TxId, Error> {
        // CANCEL comes with the Via of its INVITE.
        if request.method != Method::Cancel {
            let via = self.via();
            request.headers.push_front("Via", via);
            request.headers.set("User-Agent", self.config.user_agent.clone());
        }
        let text = request.to_text().map_err(|error| {
            Error::new(ErrorCode::InvalidConfig, concat(&["The request cannot be sent: ", &error.text()]))
        })?;
        // What waits in this dialog has lower numbers, and goes first (RFC 3261, section 12.2.2).
        let follows = !matches!(request.method, Method::Ack | Method::Cancel | Method::Bye)
            && self.transactions.waits_in(&request.headers);
        let socket = self.flow.open_socket().filter(|_| !follows);
        let waits = socket.is_none() && (follows || self.flow.keeps(&request.method));
        if !waits && !self.transmit(text, false) {
            return Err(Error::new(ErrorCode::Transport, "There is no connection to the SIP server"));
        }
        let mut tx = Client::new(request, self.now);
        let first = match owner {
            Owner::Register => !self.flow.settled,
            Owner::Invite(_) => !self.flow.heard,
            _ => false,
        };
        if waits {
            // Its time runs from when it is sent.
            tx.deadline = None;
        } else if first {
            tx.deadline = Some(self.now + self.first_response());
        }
        let deadline = tx.deadline;
        let id = self.transactions.add_client(owner, tx, attempt, socket);
        if let Some(entry) = self.transactions.client(id) {
            entry.first = first && !waits;
        }
        if let Some(at) = deadline {
            self.timers.set(TimerKey::Client(id), at);
        }
        Ok(id)
    }

    fn via(&mut self) -> String {
        let branch = token(&mut *self.entropy, 16);
        concat(&["SIP/2.0/", self.via_transport, " ", &self.host, ";branch=z9hG4bK", &branch])
    }

    fn contact_uri(&self) -> String {
        concat(&[&self.config.uri.scheme, ":", &self.contact_user, "@", &self.host, ";transport=ws"])
    }

    /// The extensions that the other side is told of. `timer` where we want none too: those of the other side are kept
    /// to, and a server that requires them is told that we can (RFC 4028, section 7.1).
    fn supported(&self) -> String {
        self.supported_with(self.config.reliable_provisional)
    }

    fn supported_with(&self, reliable: bool) -> String {
        let mut tags = SUPPORTED.to_vec();
        tags.retain(|tag| reliable || *tag != "100rel");
        tags.push(EARLY_TERMINATED);
        list(&tags)
    }

    /// Our address in From and To, without a tag.
    fn own_address(&self) -> String {
        let name = self.config.display_name.as_deref().filter(|name| !name.is_empty());
        name_addr(name, &self.config.uri.aor())
    }

    fn tidy_client(&mut self, id: TxId) {
        let Some(entry) = self.transactions.client(id) else { return };
        match entry.tx.deadline {
            Some(at) => self.timers.set(TimerKey::Client(id), at),
            None => self.timers.clear(TimerKey::Client(id)),
        }
        if entry.tx.state == ClientState::Terminated {
            self.remove_client(id);
        }
    }

    fn remove_client(&mut self, id: TxId) {
        self.timers.clear(TimerKey::Client(id));
        self.transactions.remove_client(id);
    }

    fn on_client_timer(&mut self, id: TxId) {
        let now = self.now;
        let wait = T64 - self.first_response();
        let Some(entry) = self.transactions.client(id) else { return };
        let owner = entry.owner;
        if core::mem::take(&mut entry.first) {
            let unheard =
                entry.tx.state == ClientState::Calling && (owner == Owner::Register || !self.flow.heard);
            if unheard && entry.socket.is_some() && entry.socket == self.flow.open_socket() {
                self.leave_unanswered();
                return;
            }
            if wait > Duration::ZERO {
                entry.tx.deadline = Some(now + wait);
                self.timers.set(TimerKey::Client(id), now + wait);
                return;
            }
        }
        if let Owner::Invite(call) = owner
            && entry.again
            && entry.tx.is_open()
            && self.renew_invite(call)
        {
            return;
        }
        let Some(entry) = self.transactions.client(id) else { return };
        let timed_out = entry.tx.on_timeout(now);
        self.tidy_client(id);
        if !timed_out {
            return;
        }
        match owner {
            Owner::Invite(call) => self.on_invite_timeout(call),
            owner => {
                let error = Error::new(ErrorCode::Timeout, "The server did not answer");
                self.on_request_failed(owner, error);
            }
        }
        self.leave_silent_server();
    }

    fn forget_clients_of(&mut self, owner: Owner) {
        let ids: Vec<TxId> =
            self.transactions.clients().filter(|(_, entry)| entry.owner == owner).map(|(id, _)| id).collect();
        for id in ids {
            self.remove_client(id);
        }
        self.forget_questions_of(owner);
    }

    /// Returns how many there were.
    fn forget_questions_of(&mut self, owner: Owner) -> usize {
        let before = self.questions.len();
        self.questions.retain(|question| question.owner != owner);
        self.time_questions();
        before - self.questions.len()
    }

    /// Forgets all transactions and their timers.
    fn abandon_transactions(&mut self) {
        self.end_subscriptions(true);
        let mut owners: Vec<Owner> = self.questions.values().map(|question| question.owner).collect();
        owners.extend(self.transactions.clients().map(|(_, entry)| entry.owner));
        for owner in owners {
            if let Owner::Request(id) = owner {
                let error = Error::new(ErrorCode::Aborted, "Disconnected");
                self.event(Event::RequestDone(id, Err(error)));
            }
        }
        let ids: Vec<TxId> = self.transactions.clients().map(|(id, _)| id).collect();
        for id in ids {
            self.remove_client(id);
        }
        while let Some(key) = self.timers.find(|key| matches!(key, TimerKey::Server(_))) {
            self.timers.clear(key);
        }
        self.transactions.clear();
        self.unmatched.clear();
        self.answered.clear();
        self.timers.clear(TimerKey::Unmatched);
        self.questions = SortedMap::new();
        self.time_questions();
    }

    // ---- responses out

    fn respond(&mut self, tx: TxId, status: u16) {
        self.respond_with(tx, status, None, &[], None);
    }

    /// Sends a response with these headers and this body, with the To-tag of the call if it belongs to one.
    /// Returns its text, empty where it could not be sent.
    fn respond_with(
        &mut self,
        tx: TxId,
        status: u16,
        call: Option<CallId>,
        headers: &[(&str, &str)],
        sdp: Option<String>,
    ) -> String {
        let tag = match call.and_then(|id| self.calls.get(&id)) {
            Some(call) => call.local_tag.clone(),
            None => token(&mut *self.entropy, 12),
        };
        let now = self.now;
        let answers = status == 200
            && self.transactions.server(tx).is_some_and(|entry| {
                entry.tx.request.method == Method::Invite && entry.tx.request.headers.to_tag().is_none()
            });
        let mode = call.filter(|_| answers).and_then(|id| self.answer_mode(id));
        let supported = self.supported();
        let private = call.and_then(|id| self.calls.get(&id)).is_some_and(|call| call.hidden);
        let private = private.then(|| self.contact_as(true));
        let Some(entry) = self.transactions.server(tx) else { return String::new() };
        let mut response = entry.tx.request.response(status, None);
        if let Some(mode) = mode {
            response.headers.push(mode, "Auto");
        }
        response.headers.push_all(headers);
        // RFC 3261, sections 11.2 and 13.3.1.4, RFC 3311, section 5.2.
        let tells = matches!(entry.tx.request.method, Method::Invite | Method::Update | Method::Options);
        if tells && (200..300).contains(&status) {
            response.headers.push("Supported", supported);
        }
        if let Some(contact) = private {
            response.headers.push("Privacy", "id");
            if response.headers.get("Contact").is_some() {
                response.headers.set("Contact", contact);
            }
        }
        if let Some(sdp) = sdp {
            response.headers.push("Content-Type", SDP);
            response.body = sdp.into_bytes();
        }
        // RFC 3261, section 8.2.6.2: every response but 100 has a To-tag.
        if status > 100 {
            response.set_to_tag(&tag);
        }
        let Ok(text) = response.to_text() else {
            // Too long to be answered: the transaction would wait for ever.
            self.timers.clear(TimerKey::Server(tx));
            self.transactions.remove_server(tx);
            return String::new();
        };
        if !entry.tx.respond(status, &text, now) {
            return String::new();
        }
        self.tidy_server(tx);
        self.remember_answer(&response);
        self.transmit(text.clone(), true);
        text
    }

    /// Without a transaction (RFC 3261, section 8.2.7).
    fn send_untracked(&mut self, mut response: Response) {
        response.set_to_tag(&token(&mut *self.entropy, 12));
        if let Ok(text) = response.to_text() {
            self.transmit(text, false);
        }
    }

    /// One that is not for this phone (405), or of which nobody here has heard (RFC 3261, section 21.5.2).
    fn method_not_allowed(&mut self, tx: TxId, method: &Method) {
        let status = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        self.respond_with(tx, status, None, &[("Allow", ALLOW)], None);
    }

    /// What this phone can do (RFC 3261, section 11.2).
    fn respond_to_options(&mut self, tx: TxId) {
        self.respond_with(tx, 200, None, &[("Allow", ALLOW), ("Accept", description::ACCEPT)], None);
    }

    fn respond_refusal(&mut self, tx: TxId, (status, header): (u16, Option<(&'static str, String)>)) {
        let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
        self.respond_with(tx, status, None, header.as_slice(), None);
    }

    /// What cannot be done for any request: an extension that we lack (420), a URI that is not SIP (416) or none at all
    /// (400; RFC 5118, section 4.2).
    fn unsupported(&self, request: &Request) -> Option<(u16, Option<(&'static str, String)>)> {
        match Uri::parse(&request.uri) {
            Ok(_) => {}
            Err(UriError::Scheme) => return Some((416, None)),
            Err(_) => return Some((400, None)),
        }
        let mut required = request.headers.values("Require");
        required.retain(|tag| !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag)));
        if !required.is_empty() {
            return Some((420, Some(("Unsupported", list(&required)))));
        }
        None
    }

    fn tidy_server(&mut self, id: TxId) {
        let Some(entry) = self.transactions.server(id) else { return };
        match entry.tx.deadline {
            Some(at) => self.timers.set(TimerKey::Server(id), at),
            None => self.timers.clear(TimerKey::Server(id)),
        }
        if entry.tx.state == crate::sip::transaction::ServerState::Terminated {
            self.transactions.remove_server(id);
        }
    }

    fn on_server_timer(&mut self, id: TxId) {
        let now = self.now;
        if let Some(entry) = self.transactions.server(id) {
            entry.tx.on_timeout(now);
        }
        self.tidy_server(id);
    }
}

/// Values as one comma-separated list.
fn list(values: &[&str]) -> String {
    let mut list = String::new();
    for value in values {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(value);
    }
    list
}

/// The SDP of a message, if its body is one.
#[cold]
fn call_ended() -> Error {
    Error::new(ErrorCode::Ended, "The call has ended")
}

fn media_error(error: &MediaError) -> Error {
    match error {
        MediaError::Denied => Error::new(ErrorCode::MediaDenied, "The microphone was refused"),
        MediaError::Unavailable => Error::new(ErrorCode::MediaUnavailable, "No microphone can be used"),
        MediaError::Description => {
            Error::new(ErrorCode::NotAcceptable, "The other side's media cannot be used")
        }
        MediaError::Refused(words) => Error::new(
            ErrorCode::NotAcceptable,
            concat(&["The browser rejects the session description: ", &printable(words)]),
        ),
        MediaError::Servers(problem) => {
            Error::new(ErrorCode::IceFailed, concat(&["iceServers: ", &printable(problem)]))
                .with_hint("Check the function in `iceServers`.")
        }
        MediaError::NoCandidate => Error::new(
            ErrorCode::IceFailed,
            "The browser found no ICE candidate: no TURN server of iceServers answered, or the network is down",
        ),
    }
}

fn info(call: &Call) -> CallInfo {
    let rest = call.rest.as_deref();
    CallInfo {
        id: call.id,
        // By REST the name that the proxy knows it by: there is no other before the provider has called.
        sip_call_id: rest.map_or(call.sip_call_id.as_str(), RestCall::id).to_owned(),
        direction: call.direction,
        state: call.state,
        remote_uri: call.remote_uri.clone(),
        remote_display_name: call.remote_display_name.clone(),
        asserted_identity: call.asserted_identity.clone(),
        private: call.private,
        diversion: call.diversion.clone(),
        auto_answer: call.auto_answer,
        note: call.note,
        wish: call.wish,
        continues: call.continues,
        replaces: call.replaces.filter(|_| call.phase == Phase::Alerting),
        local_hold: call.offers.local_hold(),
        remote_hold: call.offers.remote_hold(),
        end_reason: call.end_reason.clone(),
        local_number: rest.and_then(RestCall::caller_id).cloned(),
        proxy_state: rest.and_then(RestCall::state).cloned(),
        gated: rest.is_some_and(|rest| !rest.is_open()),
    }
}
