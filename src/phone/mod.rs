//! The phone: one state machine that owns the connection, the registration and the calls. It finds whom an input
//! concerns and hands it on; a call does the rest (`Phone::with`).
//!
//! | file | what |
//! |---|---|
//! | `io` | inputs, outputs, events |
//! | `context` | what a call may touch: the one door to the outside |
//! | `env` | what every machine may touch: configuration, time, randomness, outputs; what calls ask and the connection tells the phone |
//! | `outbox` | what comes out, until it is polled for |
//! | `calls` | the calls, and queries over all of them |
//! | `arrivals` | new calls |
//! | `between` | actions that concern two calls |
//! | `requests` | our requests and the calls when a server challenges, or the connection is lost, replaced or closed |
//! | `config`, `capabilities` | settings; methods and extensions |
//! | `line`, `servers`, `liveness` | the WebSocket: from one to another, back-off; the order of the servers; keep-alive |
//! | `connection` | what the connection means for the transactions and the registration |
//! | `outage` | what is under way when a socket is lost, and what waits for the next one |
//! | `registration` | REGISTER: what it asks for, and what follows from its response |
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
//! | `authentication`, `questions` | challenges to requests; those that wait for the application's credentials |
//! | `wish` | what the user last wished of a call's audio, and who plays in the application's element |
//! | `tone_queue`, `tones` | the DTMF that is sent: what is due when, and what is done |
//! | `peer`, `answering`, `audio`, `media_half`, `succession`, `taken_up`, `reason` | parts of a call: types with private fields |
//! | `call`, `transactions`, `timers`, `sorted_map` | what is kept |

mod answering;
mod arrivals;
mod audio;
mod authentication;
mod auto_answer;
mod awaited_ack;
mod between;
mod call;
mod calls;
mod capabilities;
pub mod config;
mod connection;
mod context;
mod description;
mod env;
mod fixture;
mod forks;
mod identity;
mod in_dialog;
mod incoming;
mod invitation;
pub mod io;
mod line;
mod liveness;
mod media;
mod media_half;
mod messaging;
mod negotiation;
mod offers;
mod originate;
mod outage;
mod outbox;
mod outgoing;
mod peer;
mod publication;
mod questions;
mod reason;
mod recovery;
mod redirect;
mod refer;
mod refresh;
mod registration;
mod reliable;
mod repair;
mod replaces;
mod requests;
mod resume;
mod servers;
mod session_timer;
mod sorted_map;
mod subscription;
mod succession;
mod taken_up;
mod timers;
mod tone_queue;
mod tones;
mod transactions;
mod transfer;
mod wish;

pub use config::*;
pub use io::*;

use self::call::{Call, Phase};
use self::calls::Calls;
use self::context::Cx;
use self::env::{Asked, What};
use self::originate::RestCall;
use self::timers::{CallTimer, TimerKey, TxId};
use self::transactions::{Owner, server_key};
use crate::dial::proxy::ProxyFailure;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Method, Request, Response};
use crate::sip::transaction::{ClientAction, ClientState, Server, ServerAction, T64};
use crate::sip::wire::{self, Frame, MAX_MESSAGE};
use crate::text::{concat, digits, printable};
use crate::time::{Duration, Instant};

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

/// A SIP phone without clock, socket, randomness or async (see the crate documentation for the driving loop).
///
/// * getters: [`connection`](Self::connection), [`registration`](Self::registration), [`call`](Self::call),
///   [`calls`](Self::calls)
/// * what happened outside: [`handle_input`](Self::handle_input), never fails
/// * commands: `connect`, `disconnect`, `dial`, `answer`, `progress`, `reject`, `hangup`, `send_info`, `send_tones`,
///   `count_statistics`, ...
/// * what is to be done now: [`poll_transmit`](Self::poll_transmit), [`poll_job`](Self::poll_job),
///   [`poll_event`](Self::poll_event), [`poll_timeout`](Self::poll_timeout)
pub struct Phone {
    cx: Cx,
    calls: Calls,
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
    pub fn new(config: PhoneConfig, entropy: Box<dyn Entropy>) -> Self {
        Self { cx: Cx::new(config, entropy), calls: Calls::new() }
    }

    /// Lets a call do something, and does what it asks for. Nothing where there is no such call.
    fn with<R: Default>(&mut self, id: CallId, act: impl FnOnce(&mut Call, &mut Cx) -> R) -> R {
        let Some(call) = self.calls.get_mut(id) else { return R::default() };
        let result = act(call, &mut self.cx);
        self.do_as_asked();
        result
    }

    /// The same for a command of the application.
    fn command<R>(
        &mut self,
        id: CallId,
        act: impl FnOnce(&mut Call, &mut Cx) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let call = self.calls.get_mut(id).ok_or_else(call_ended)?;
        let result = act(call, &mut self.cx);
        self.do_as_asked();
        result
    }

    /// Lets the connection do something, and does what follows from it for the calls.
    fn line<R>(&mut self, act: impl FnOnce(&mut Cx) -> R) -> R {
        self.calls.tell_line(&mut self.cx);
        let result = act(&mut self.cx);
        self.do_as_asked();
        result
    }

    /// What calls have asked for: whatever concerns more than one of them. Its outputs take the place where it was asked
    /// for, as if the call had done it.
    #[inline(never)]
    fn do_as_asked(&mut self) {
        if self.cx.env.asked.is_empty() {
            return;
        }
        let asked = core::mem::take(&mut self.cx.env.asked);
        let mut former = core::mem::take(&mut self.cx.env.out);
        let (mut taken, end) = (0, former.end());
        for Asked { what, at } in asked {
            self.cx.env.out.take_over(&mut former, at - taken);
            taken = at;
            match what {
                What::Call(id, what) => self.do_for(id, what),
                What::Line(event) => self.on_line(event),
            }
        }
        self.cx.env.out.take_over(&mut former, end - taken);
    }

    // ---- inputs and outputs

    /// Takes what happened outside. Drain the three polls afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.begin(now);
        self.notice_sleep();
        match input {
            Input::Timer => {}
            Input::SocketOpened(socket) => self.line(|cx| cx.line.on_socket_opened(&mut cx.env, socket)),
            Input::SocketData(socket, data) => {
                if self.cx.line.listens_to(socket) {
                    self.cx.env.heard_over = Some(socket);
                    self.on_data(socket, &data);
                }
            }
            Input::SocketClosed(socket) => self.line(|cx| cx.line.on_socket_closed(&mut cx.env, socket)),
            Input::MediaDone { call, seq, result } => {
                self.with(call, |call, cx| call.on_media_done(cx, seq, result))
            }
            Input::Tones(call, report) => self.with(call, |call, cx| call.on_tones_report(cx, report)),
            Input::MediaState { call, state } => self.with(call, |call, cx| call.on_media_state(cx, state)),
            Input::Credentials(id, credentials) => self.on_credentials(id, credentials),
            Input::Proxy(id, answer) => self.on_proxy(id, &answer),
            Input::Lock(id, granted) => {
                let call = self.calls.iter().find(|call| call.waits_for_lock(id)).map(|call| call.id);
                if let Some(call) = call {
                    self.with(call, |call, cx| call.on_lock(cx, granted));
                }
            }
            Input::LocalNetwork(state) => self.cx.line.set_local_network(state),
            Input::PageHide(kept) => self.on_page_hide(kept),
            Input::Hint(hint) => self.line(|cx| cx.line.on_hint(&mut cx.env, hint)),
        }
        self.run_timers();
        self.line(Cx::close_previous);
        self.check_disconnected();
    }

    /// The next message or socket for the server. Nothing may delay it: the other side waits for an ACK.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        debug_assert!(self.cx.env.asked.is_empty(), "a call has asked for something outside of `with`");
        self.cx.env.out.next_transmit()
    }

    /// The next job for the browser half, after all transmits.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.cx.env.out.next_job().or_else(|| {
            self.calls.share_element(&mut self.cx);
            self.cx.env.out.next_job()
        })
    }

    /// The next event for the application, after all jobs. Its listener may give commands.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.cx.env.out.next_event()
    }

    /// When to call with [`Input::Timer`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        self.next_deadline().map(|(at, key)| (at, key.why()))
    }

    // ---- commands: drain the three polls after each

    /// New settings. Those that name the connection (`servers`, `uri`, `register`) count from the next
    /// [`Phone::connect`] after a disconnect: what was registered must be un-registered under the same name.
    pub fn configure(&mut self, config: PhoneConfig) {
        self.cx.authenticator.clear();
        if self.cx.line.connection() == ConnectionState::Disconnected {
            self.cx.authenticator.forget_realms();
            self.cx.env.config = config;
            self.cx.next_account = None;
            return;
        }
        // The names of the connection change places, so that the new ones wait and the old ones stay.
        let mut config = config;
        core::mem::swap(&mut config.servers, &mut self.cx.env.config.servers);
        core::mem::swap(&mut config.weights, &mut self.cx.env.config.weights);
        core::mem::swap(&mut config.uri, &mut self.cx.env.config.uri);
        core::mem::swap(&mut config.register, &mut self.cx.env.config.register);
        let new = core::mem::replace(&mut self.cx.env.config, config);
        self.cx.next_account = Some(((new.servers, new.weights), new.uri, new.register));
        if self.cx.line.is_established() && self.cx.registration.has_failed() {
            // Perhaps the password is another one now.
            self.cx.registration.set_due(Some(self.cx.env.now));
        }
    }

    /// The `+sip.instance` of this phone where the configuration has none, from the next registration on. Calls that
    /// were taken up from another page keep that page's, which the registrar knows.
    pub fn use_instance(&mut self, id: &str) {
        if self.calls.is_empty() && registration::is_instance(id) {
            self.cx.registration.set_instance(id.to_owned());
        }
    }

    /// Opens the connection and registers; ends in [`Event::ConnectDone`]. While connected it reports success
    /// at once; while connecting it joins the attempt (one event).
    pub fn connect(&mut self, now: Instant) {
        self.begin(now);
        let registered = !self.cx.env.config.register || self.cx.registration.is_registered();
        let up = self.cx.line.open_socket().is_some() && !self.cx.line.is_closing();
        if up && registered && self.cx.line.is_established() {
            self.cx.event(Event::ConnectDone(Ok(())));
            return;
        }
        self.cx.line.want_connect();
        if self.cx.line.is_closing() {
            // `finish_disconnect` takes it up.
        } else if self.cx.line.connection() == ConnectionState::Disconnected {
            self.cx.start_connecting();
        } else if up && self.cx.line.is_established() && !self.cx.registration.is_under_way() {
            // Connected, but the registration was refused earlier: one more honest try.
            self.line(|cx| cx.start_registering());
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

    /// Answers an incoming call; ends in [`Event::AnswerDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn answer(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.start_answer(cx))
    }

    /// Sends early media in a 183 to an incoming call that is not yet answered (RFC 3261, section 21.1.5).
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn progress(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.start_progress(cx))
    }

    /// Refuses an incoming call with this status (300 to 699; 603 unless told otherwise). Nothing for a call that
    /// has ended.
    ///
    /// # Errors
    /// `invalid_state` for a call that is answered or outgoing, `invalid_config` for a status out of range.
    pub fn reject(&mut self, now: Instant, call: CallId, status: Option<u16>) -> Result<(), Error> {
        self.begin(now);
        let status = incoming::refusal_status(status)?;
        match self.calls.get(call) {
            Some(_) => self.command(call, |call, cx| call.start_reject(cx, status)),
            None => Ok(()),
        }
    }

    /// CANCEL, BYE or a refusal, whichever the state calls for. Nothing for a call that has ended.
    /// `cause`: what to report as the reason (an application's timeout or abort), else completed or cancelled.
    pub fn hangup(&mut self, now: Instant, call: CallId, cause: Option<Error>) {
        self.begin(now);
        self.with(call, |call, cx| call.hang_up(cx, cause, 603));
        self.check_disconnected();
    }

    /// Sends silence instead of the microphone, or the microphone again; in the calls that are to take its place too.
    ///
    /// # Errors
    /// `ended`.
    pub fn mute(&mut self, now: Instant, call: CallId, muted: bool) -> Result<(), Error> {
        self.begin(now);
        self.calls.change_wish(&mut self.cx, call, &|wish| wish.muted = muted)
    }

    /// Sends this track instead of the microphone; `None`: the microphone again. In the calls that are to take its place
    /// too.
    ///
    /// # Errors
    /// `ended`.
    pub fn replace_track(&mut self, now: Instant, call: CallId, track: Option<TrackId>) -> Result<(), Error> {
        self.begin(now);
        self.calls.change_wish(&mut self.cx, call, &|wish| wish.track = track)
    }

    /// Whether an incoming call only listens, with no microphone: to be said before [`Phone::answer`] or
    /// [`Phone::progress`]; later it changes nothing.
    pub fn listen_only(&mut self, now: Instant, call: CallId, listens_only: bool) {
        self.begin(now);
        self.with(call, |call, _| call.choose_microphone(listens_only));
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
        self.command(call, |call, cx| call.start_info(cx, false, content_type, body))
    }

    /// Sends DTMF within an answered call, behind what is being sent already; ends in [`Event::TonesDone`]. Tones in the
    /// audio wait while the audio takes none, for one on hold.
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_config`.
    pub fn send_tones(&mut self, now: Instant, call: CallId, tones: Tones) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.send_tones(cx, tones))
    }

    /// Asks for [`Job::Statistics`] of this call once: after two seconds, or after the first multiple of that at which the
    /// call is active. Nothing where there is no such call, or that is asked for already.
    pub fn count_statistics(&mut self, now: Instant, call: CallId) {
        self.begin(now);
        self.with(call, |call, cx| call.count_statistics(cx));
    }

    /// Puts the other side on hold: nothing is sent or played from now on, and the other side is asked to agree; ends
    /// in [`Event::HoldDone`]. A refusal leaves the call as it was.
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn hold(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.start_hold(cx, true))
    }

    /// Takes the other side off hold; ends in [`Event::HoldDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn unhold(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.start_hold(cx, false))
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
        self.with(call, |call, cx| call.refuse_transfer(cx));
    }

    /// Goes where [`Event::Redirected`] says: to the target with this index.
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_destination`.
    pub fn follow_redirect(&mut self, now: Instant, call: CallId, target: usize) -> Result<(), Error> {
        self.begin(now);
        self.command(call, |call, cx| call.take_redirect(cx, target))
    }

    /// Goes nowhere: the call ends as `redirected`. Nothing where [`Event::Redirected`] waits for no answer.
    pub fn decline_redirect(&mut self, now: Instant, call: CallId) {
        self.begin(now);
        self.with(call, |call, cx| call.refuse_redirect(cx));
    }

    /// Sends a message (RFC 3428); ends in [`Event::RequestDone`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config`, `invalid_state` (too many requests under way).
    pub fn send_message(&mut self, now: Instant, message: MessageRequest) -> Result<RequestId, Error> {
        self.begin(now);
        self.cx.start_message(message)
    }

    /// Asks what the other side can do (OPTIONS); ends in [`Event::RequestDone`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_state` (too many requests under way).
    pub fn send_options(&mut self, now: Instant, target: &str) -> Result<RequestId, Error> {
        self.begin(now);
        self.cx.start_options(target)
    }

    /// Subscribes to an event of a resource (RFC 6665): kept up, also over reconnects, until
    /// [`Phone::unsubscribe`].
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config`, `invalid_state` (too many subscriptions).
    pub fn subscribe(&mut self, now: Instant, request: SubscribeRequest) -> Result<SubscriptionId, Error> {
        self.begin(now);
        self.cx.start_subscription(request)
    }

    /// Ends a subscription or publication. Nothing when it is over.
    pub fn unsubscribe(&mut self, now: Instant, id: SubscriptionId) {
        self.begin(now);
        self.cx.end_subscription(id);
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
        self.cx.start_publication(id, request)
    }

    /// What another page needs to take up the calls of this one, with `notes` of the page itself; `None` when there is no
    /// such call. It changes only when there is something new to be kept.
    ///
    /// It holds no credentials, but who talks to whom: keep it where no other origin can read it.
    #[must_use]
    pub fn record(&self, notes: &dyn Fn(CallId) -> CallNote) -> Option<String> {
        self.calls.record(&self.cx, notes)
    }

    /// As long as this is the same number, so is the [`Phone::record`] with the same notes. It changes with whatever is
    /// told to a call and with each REGISTER, which may bring another instance; each interval of
    /// statistics counts as well.
    #[must_use]
    pub const fn revision(&self) -> u32 {
        self.calls.revision.wrapping_add(self.cx.registration.seq())
    }

    // ---- getters

    /// State of the connection.
    #[must_use]
    pub const fn connection(&self) -> ConnectionState {
        self.cx.line.connection()
    }

    /// State of the registration.
    #[must_use]
    pub const fn registration(&self) -> RegistrationState {
        self.cx.registration.state()
    }

    /// A call, until the input after its end.
    #[must_use]
    pub fn call(&self, call: CallId) -> Option<CallInfo> {
        self.calls.get(call).map(info)
    }

    /// The headers of a received INVITE that are neither the protocol's nor about somebody's identity: those that the
    /// caller's application, or its PBX, has put in. 32 at most, of 2048 bytes at most each.
    #[must_use]
    pub fn received_headers(&self, call: CallId) -> Vec<(String, String)> {
        self.calls.get(call).map(Call::received_headers).unwrap_or_default()
    }

    /// How much it keeps in memory: for those who watch a phone for long.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let (client_transactions, server_transactions) = self.cx.transactions.count();
        Footprint {
            calls: self.calls.len(),
            client_transactions,
            server_transactions,
            timers: self.cx.deadlines().count()
                + self.calls.iter().map(|call| call.deadlines()).sum::<usize>(),
            subscriptions: self.cx.subscriptions.len(),
        }
    }

    /// The calls that have not ended, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallInfo> {
        self.calls
            .iter()
            .filter(|call| call.phase != Phase::Terminating && !call.end.is_over())
            .map(info)
            .collect()
    }

    // ---- common to all parts

    fn begin(&mut self, now: Instant) {
        // Clocks of machines that wake up have been seen to step back.
        self.cx.env.now = self.cx.env.now.max(now);
        for id in core::mem::take(&mut self.cx.to_remove) {
            self.calls.remove(id);
        }
    }

    /// The next deadline: of the phone, or of a part of a call that keeps its own.
    fn next_deadline(&self) -> Option<(Instant, TimerKey)> {
        let mut earliest = self.cx.deadlines();
        for call in self.calls.iter() {
            if let Some((at, timer)) = call.poll_timeout() {
                earliest.show(Some(at), TimerKey::Call(call.id, timer));
            }
        }
        earliest.get()
    }

    fn run_timers(&mut self) {
        while let Some((_, key)) = self.next_deadline().filter(|(at, _)| *at <= self.cx.env.now) {
            self.cx.timers.clear(key);
            match key {
                TimerKey::Connect
                | TimerKey::KeepAlive
                | TimerKey::Pong
                | TimerKey::Reconnect
                | TimerKey::Move
                | TimerKey::Previous
                | TimerKey::Return => self.line(|cx| {
                    let busy = cx.transactions.are_open();
                    cx.line.on_timeout(&mut cx.env, key, busy);
                }),
                TimerKey::Register => self.line(|cx| cx.on_register_timer()),
                TimerKey::Binding => self.line(|cx| cx.on_binding_expired()),
                TimerKey::Question => self.on_question_timeout(),
                TimerKey::Disconnect => self.finish_disconnect(),
                TimerKey::Outage => self.on_outage_timer(),
                TimerKey::Client(id) => self.on_client_timer(id),
                TimerKey::Server(id) => self.cx.transactions.on_server_timeout(id, self.cx.env.now),
                TimerKey::Call(id, timer) => self.with(id, |call, cx| call.on_timeout(cx, timer)),
                TimerKey::Proxy(id) => {
                    self.cx.env.job(Job::AbortProxy(id));
                    self.on_proxy(id, &Err(ProxyFailure::Timeout));
                }
                TimerKey::Subscription(id) => self.cx.on_subscription_timer(id),
                // They were waited for long enough: they ring, and nobody but the user answers them.
                TimerKey::Unmatched => {
                    for (tx, request) in core::mem::take(&mut self.cx.unmatched) {
                        self.ring(tx, &request);
                    }
                }
            }
        }
    }

    // ---- messages in

    fn on_data(&mut self, socket: SocketId, data: &[u8]) {
        let frame = wire::parse(data);
        if !matches!(frame, Ok(Frame::Pong)) {
            self.cx.line.on_heard(
                &mut self.cx.env,
                socket,
                matches!(frame, Ok(Frame::Message(Message::Response(_)))),
            );
        }
        match frame {
            Ok(Frame::Ping) => self.cx.env.transmit(Transmit::Send { socket, text: "\r\n".to_owned() }),
            Ok(Frame::Pong) => self.cx.line.on_pong(&mut self.cx.env, socket),
            Ok(Frame::Message(message)) => {
                if self.cx.env.config.trace {
                    self.cx.env.trace("received", &wire::text_of(data));
                }
                match message {
                    Message::Request(request) => self.on_request(request),
                    Message::Response(response) => self.on_response(&response),
                }
            }
            Err(rejected) => {
                self.cx
                    .log(LogLevel::Warn, &["rejected: ", &rejected.error.text(), ": ", &rejected.first_line]);
                if let Some(reply) = rejected.reply {
                    self.cx.send_untracked(reply);
                }
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        // One without a key is not answered.
        let Some(key) = server_key(&request, &request.method) else { return };
        if let Some(tx) = self.cx.transactions.find_server(&key) {
            let Some(entry) = self.cx.transactions.server(tx) else { return };
            let action = entry.tx.on_request(&request.method);
            let text = entry.tx.last_response.clone();
            self.cx.transactions.tidy_server(tx);
            match action {
                ServerAction::Absorb => return,
                ServerAction::Resend => {
                    if let Some(text) = text {
                        self.cx.line.transmit(&mut self.cx.env, text, false);
                    }
                    return;
                }
                ServerAction::Deliver => {}
            }
        }
        let to_tag = request.headers.head().to_tag();
        let call = to_tag.and_then(|tag| self.calls.find(&request, tag));
        if request.method == Method::Ack {
            // Never answered (RFC 3261, section 17.2.1).
            if let Some(id) = call {
                self.with(id, |call, cx| call.on_ack(cx, &request));
            }
            return;
        }
        if request.method != Method::Cancel && !self.cx.transactions.make_room(call.is_some()) {
            self.cx.send_untracked(request.response(503, None));
            return;
        }
        // Whatever the answer adds, a description above all, must find room behind what it repeats.
        if request.least_response() > MAX_MESSAGE / 2 {
            self.cx.send_untracked(request.response(513, None));
            return;
        }
        let tx = self.cx.transactions.add_server(Server::new(request.clone()), key);
        if self.cx.answer_again(tx, &request) {
            return;
        }
        match (&request.method, to_tag, call) {
            (Method::Cancel, ..) => self.on_cancel(tx, &request),
            (_, Some(_), Some(id)) => self.with(id, |call, cx| call.on_in_dialog_request(cx, tx, &request)),
            (Method::Notify, ..) => self.cx.on_notify(tx, &request),
            (_, Some(_), None) => self.cx.respond(tx, 481),
            (Method::Message, None, _) => self.cx.on_message(tx, &request),
            (Method::Prack | Method::Update, None, _) => self.cx.respond(tx, 481),
            (Method::Invite, None, _) => self.on_invite(tx, &request),
            // Nobody is called on a stranger's behalf.
            (Method::Refer, None, _) => self.cx.respond(tx, 403),
            (Method::Options, None, _) => match self.cx.unsupported(&request) {
                None => self.cx.respond_to_options(tx),
                Some(refusal) => self.cx.respond_refusal(tx, refusal),
            },
            // A BYE or INFO without a To-tag belongs to no dialog (RFC 3261, section 15.1.2).
            (Method::Bye | Method::Info, None, _) => self.cx.respond(tx, 481),
            _ => self.cx.method_not_allowed(tx, &request.method),
        }
    }

    /// RFC 3261, section 9.2.
    fn on_cancel(&mut self, tx: TxId, request: &Request) {
        let Some(invite) = self.cx.transactions.find_cancelled(request) else {
            self.cx.respond(tx, 481);
            return;
        };
        let call = self.cx.transactions.server(invite).and_then(|entry| entry.call);
        match call.and_then(|id| self.calls.get(id)) {
            Some(call) => drop(call.respond_with(&mut self.cx, tx, 200, &[], None)),
            None => self.cx.respond(tx, 200),
        }
        let Some(id) = call else {
            self.cx.cancel_unmatched(invite);
            return;
        };
        // A re-INVITE can be cancelled too; the call goes on.
        let call = self.calls.get(id);
        if call.and_then(|call| call.session.offers.theirs()).is_some_and(|theirs| theirs.tx == invite) {
            self.with(id, |call, cx| call.abandon_offer_of_theirs(cx));
        } else if call.is_some_and(|call| call.session.offers.is_waiting(invite)) {
            self.with(id, |call, cx| call.abandon_waiting(cx));
        } else {
            self.with(id, |call, cx| call.on_cancelled(cx, request));
        }
    }

    fn on_response(&mut self, response: &Response) {
        if response.headers.get_all("Via").count() > 1 {
            // It was for somebody behind us, and nobody is (RFC 3261, section 8.1.3.3).
            self.cx.log(LogLevel::Warn, &["misrouted response ", &digits(response.status)]);
            return;
        }
        let Some(id) = self.cx.transactions.find_client(response) else {
            // A 2xx that comes after its transaction is gone is no concern of ours any more: its ACK was sent
            // for 32 s (RFC 6026, section 8.5).
            self.cx.log(LogLevel::Warn, &["stray response ", &digits(response.status)]);
            return;
        };
        let now = self.cx.env.now;
        let Some(entry) = self.cx.transactions.client(id) else { return };
        let action = entry.tx.on_response(response, now);
        let owner = entry.owner;
        let request = entry.tx.request.clone();
        let attempt = entry.attempt.clone();
        self.cx.transactions.tidy_client(id);
        match action {
            ClientAction::Ignore => return,
            ClientAction::Deliver => {}
            ClientAction::AckAndDeliver(ack) => {
                if let Ok(text) = ack.to_text() {
                    self.cx.line.transmit(&mut self.cx.env, text, true);
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
            self.with(call, |call, cx| call.learn_identity(cx, &response.headers));
        }
        // The call may be gone; a 2xx is acknowledged all the same.
        let owner = match owner {
            Owner::Invite(call) if self.calls.get(call).is_none() => Owner::Nobody,
            owner => owner,
        };
        match owner {
            Owner::Register => self.line(|cx| cx.on_register_response(response)),
            Owner::Invite(call) => {
                if !self.invite_elsewhere(call, response) {
                    self.with(call, |call, cx| call.on_invite_response(cx, &request, response));
                }
            }
            Owner::Bye(call) => {
                if response.status >= 200 {
                    self.with(call, |call, cx| call.remove(cx));
                }
            }
            Owner::Info(call) | Owner::Tone(call) => match response.status {
                100..=199 => {}
                200..=299 => self.with(call, |call, cx| call.info_done(cx, owner, Ok(()))),
                status => {
                    let error = Error::from_status(status, &response.reason);
                    self.with(call, |call, cx| {
                        // The end of the call is that of its tones, and no other is sent before.
                        if status != 481 || owner == Owner::Info(call.id) {
                            call.info_done(cx, owner, Err(error.clone()));
                        }
                        if status == 481 {
                            call.dialog_gone(cx, error);
                        }
                    });
                }
            },
            Owner::Reinvite(call) => {
                self.with(call, |call, cx| call.on_reinvite_response(cx, &request, response))
            }
            Owner::LateReinvite(call) => {
                if (200..300).contains(&response.status) {
                    self.cx.acknowledge_late(&request);
                    self.with(call, |call, cx| call.late_reinvite_agreed(cx, &request));
                }
            }
            Owner::Update(call) => self.with(call, |call, cx| call.on_update_response(cx, response)),
            Owner::Prack(call) => self.cx.on_prack_response(call, response),
            Owner::Refer(call) => self.with(call, |call, cx| call.on_refer_response(cx, response)),
            Owner::ReferNotify(call) => self.with(call, |call, _| call.on_refer_notify_response(response)),
            Owner::Subscription(id) | Owner::Publication(id) => {
                self.cx.on_subscription_response(id, &request, response);
            }
            Owner::Request(id) => self.cx.on_request_response(id, response),
            Owner::Caller(call) => self.with(call, |call, cx| call.on_caller_response(cx, response)),
            Owner::Ping => {
                self.cx.line.on_options_answered();
                self.cx.forget_clients_of(Owner::Ping);
            }
            // An INVITE whose place another has taken, or whose call is gone.
            Owner::Nobody if request.method == Method::Invite && (200..300).contains(&response.status) => {
                if let Some(mut dialog) = Dialog::from_response(&request, response) {
                    // The call that it was may have sent more than its INVITE.
                    let sent = self.cx.transactions.last_seq(&dialog);
                    dialog.local_seq = dialog.local_seq.max(sent);
                    self.cx.ack_and_bye(&request, &mut dialog, false);
                }
            }
            Owner::Nobody => {}
        }
    }

    fn on_client_timer(&mut self, id: TxId) {
        let now = self.cx.env.now;
        let wait = T64 - self.cx.line.first_response();
        let Some(entry) = self.cx.transactions.client(id) else { return };
        let owner = entry.owner;
        if core::mem::take(&mut entry.first) {
            let unheard = entry.tx.state == ClientState::Calling
                && (owner == Owner::Register || !self.cx.line.has_heard());
            if unheard && entry.socket.is_some() && entry.socket == self.cx.line.open_socket() {
                self.line(|cx| cx.line.leave_unanswered(&mut cx.env));
                return;
            }
            if wait > Duration::ZERO {
                entry.tx.deadline = Some(now + wait);
                return;
            }
        }
        if let Owner::Invite(call) = owner
            && entry.was_lost()
            && entry.tx.is_open()
            && self.with(call, |call, cx| call.renew_invite(cx))
        {
            return;
        }
        let Some(entry) = self.cx.transactions.client(id) else { return };
        let timed_out = entry.tx.on_timeout(now);
        self.cx.transactions.tidy_client(id);
        if !timed_out {
            return;
        }
        match owner {
            Owner::Invite(call) => self.with(call, |call, cx| call.on_invite_timeout(cx)),
            owner => {
                let error = Error::new(ErrorCode::Timeout, "The server did not answer");
                self.on_request_failed(owner, error);
            }
        }
        self.line(|cx| cx.line.leave_silent_server(&mut cx.env));
    }
}

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
        sip_call_id: rest.map_or(call.sip.call_id.as_str(), RestCall::id).to_owned(),
        direction: call.direction,
        state: call.state,
        remote_uri: call.peer.uri().to_owned(),
        remote_display_name: call.peer.display_name().cloned(),
        asserted_identity: call.peer.asserted().cloned(),
        private: call.peer.is_private(),
        diversion: call.peer.diversion().cloned(),
        auto_answer: call.answering.is_by_itself(),
        note: call.taken_up.note(),
        wish: call.audio.wish(),
        continues: call.succession.continues(),
        replaces: call.succession.replaces().filter(|_| call.phase == Phase::Alerting),
        local_hold: call.session.offers.local_hold(),
        remote_hold: call.session.offers.remote_hold(),
        end_reason: call.end.reason().cloned(),
        local_number: rest.and_then(RestCall::caller_id).cloned(),
        proxy_state: rest.and_then(RestCall::state).cloned(),
        gated: rest.is_some_and(|rest| !rest.is_open()),
    }
}
