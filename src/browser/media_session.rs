//! The media half of one call: does the jobs that the phone gives, and reports.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Poll, Waker};
use std::rc::Rc;

use js_sys::{Array, Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaStream, MediaStreamTrack, RtcPeerConnectionState, RtcSdpType, RtcTrackEvent};

use super::audio_element::{Playback, RemoteAudio};
use super::dtmf::SendingDtmf;
use super::listener::Listener;
use super::media_devices::{Audio, ENDED, Microphone, RequestedMicrophone, on_device_change};
use super::object::string;
use super::peer_connection::{Configuration, PeerConnection};
use super::stats::StatsReader;
use super::task::{promised, spawn, then};
use crate::error::Error;
use crate::phone::{MediaCommand, MediaError, MediaSeq, MediaState, MediaValue};
use crate::sip::sdp::Direction;
use crate::text;

/// What a session is made with.
#[derive(Default)]
pub(crate) struct MediaSetup {
    /// The connection, but for its ICE servers.
    pub(crate) connection: Configuration,
    /// Its ICE servers.
    pub(crate) servers: Option<IceServers>,
    /// The microphone.
    pub(crate) audio: Audio,
    /// The loudspeaker.
    pub(crate) playback: Playback,
}

/// Where the ICE servers come from.
pub(crate) struct IceServers {
    /// What the application has set last: a list, `undefined`, or a function that gives a list or a promise of one.
    pub(crate) setting: Box<dyn Fn() -> JsValue>,
    /// What is wrong with what such a function gave.
    pub(crate) check: fn(&JsValue) -> Result<(), Error>,
}

/// So long may the application take to say which ICE servers there are, milliseconds. The job's own deadline is later.
const SERVERS_TIMEOUT_MS: i32 = 10_000;

/// A track of the application's that is sent instead of the microphone. It is never stopped here.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// The track.
    pub(crate) track: MediaStreamTrack,
    /// It holds more than the microphone: muting the call leaves it alone.
    pub(crate) mixed: bool,
}

/// What a session reports.
pub(crate) enum MediaReport {
    /// The outcome of a job.
    Done(MediaSeq, Result<MediaValue, MediaError>),
    /// The media path has changed.
    State(MediaState),
    /// The other side is heard on this track of the same stream now.
    Track(MediaStreamTrack),
    /// The browser does not play the remote audio before a user gesture, or does so now.
    PlaybackBlocked(bool),
    /// The microphone has changed by itself.
    Microphone(&'static str),
    /// Which ICE servers there are are not known: the previous ones are used.
    Servers(String),
}

/// Why a job stops.
enum Stop {
    /// It failed.
    Failed(MediaError),
    /// The session was closed meanwhile, or the job is one without an outcome; nobody waits for a report.
    Closed,
}

/// What a job does, in the order of the fields. The microphone is asked for before all of it and taken before the end.
struct Steps {
    connection: Connection,
    /// This description of the peer is set, or the last one taken back.
    remote: Option<(RtcSdpType, String)>,
    end: End,
}

/// The connection that a job goes by.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// None: it opens the microphone only.
    None,
    /// The first of the call, with the microphone where it is not open yet.
    First,
    /// The one that there is.
    Same,
    /// The one that there is, and another one where it is not sound.
    Sound,
    /// The same, with the current ICE servers.
    Restarted,
}

/// How a job ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// With a microphone.
    Microphone,
    /// With the peer's description applied.
    Applied,
    /// The phone gets no result.
    Silent,
    /// With an offer in this direction.
    Offer(Direction),
    /// With such an offer that has new candidates and credentials.
    Restart(Direction),
    /// With an answer that agrees to this at most.
    Answer(Direction),
}

impl From<MediaError> for Stop {
    fn from(error: MediaError) -> Self {
        Self::Failed(error)
    }
}

/// The peer connection, microphone and loudspeaker of one call.
pub(crate) struct MediaSession {
    setup: MediaSetup,
    report: Box<dyn Fn(MediaReport)>,
    closed: Cell<bool>,
    /// Whether the audio takes tones, as the driver last heard.
    took_tones: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    parts: RefCell<Parts>,
}

#[derive(Default)]
struct Parts {
    connection: Option<Rc<PeerConnection>>,
    /// The one of before, until the other side can have what is said of the new one.
    previous: Option<Rc<PeerConnection>>,
    microphone: Option<Microphone>,
    /// The microphone is gone: another device may come.
    devices: Option<Listener>,
    speaker: Option<RemoteAudio>,
    /// It is not heard before a user gesture.
    blocked: bool,
    remote: Option<MediaStream>,
    /// The microphone was opened by itself, before there was anything to connect it to.
    prepared: bool,
    /// The gate is closed: the microphone is not sent, and what the other side sends is kept back.
    gated: bool,
    kept_back: Option<MediaStream>,
    /// Another call plays in the application's element.
    elsewhere: bool,
    dtmf: Option<SendingDtmf>,
    muted: bool,
    replacement: Option<Replacement>,
    /// On hold, nothing is sent.
    quiet: bool,
    /// On hold, nothing is played.
    deaf: bool,
    /// The last job: an earlier one makes no local description any more.
    latest: Option<MediaSeq>,
    /// The ICE servers that were used last.
    servers: JsValue,
    stats: StatsReader,
    /// The job whose candidates are being gathered.
    gathering: Option<MediaSeq>,
    /// A useful candidate has come.
    useful: bool,
    /// The job that shall not wait for candidates.
    hurried: Option<MediaSeq>,
}

impl Parts {
    /// What is to be sent.
    fn outgoing(&self) -> Option<MediaStreamTrack> {
        if self.gated {
            return None;
        }
        let own = |microphone: &Microphone| microphone.track();
        match &self.replacement {
            Some(other) if !self.quiet && (other.mixed || !self.muted) => Some(Clone::clone(&other.track)),
            _ => self.microphone.as_ref().and_then(own),
        }
    }

    /// The microphone gives silence where that is to be sent: its track stays on the line, since the clock of the stream
    /// goes on over silence only as long as there is a track (RFC 3550, section 5.1). The other side would throw away
    /// what lies in its past.
    fn silence(&self) {
        if let Some(microphone) = &self.microphone {
            microphone.set_muted(self.muted || self.quiet);
        }
    }
}

impl MediaSession {
    /// A session without a connection or a microphone: the first job opens them. `report` is never called from
    /// within a method of this type, except for [`MediaCommand::TakeLocal`].
    pub(crate) fn new(setup: MediaSetup, report: Box<dyn Fn(MediaReport)>) -> Rc<Self> {
        Rc::new(Self {
            setup,
            report,
            closed: Cell::new(false),
            took_tones: Cell::new(false),
            waiting: RefCell::default(),
            parts: RefCell::default(),
        })
    }

    /// Does a job. A command without a result takes effect at once; the steps of any other run asynchronously.
    pub(crate) fn run(self: &Rc<Self>, seq: MediaSeq, command: MediaCommand) {
        let (connection, remote, end) = match command {
            MediaCommand::Close => return self.close(),
            MediaCommand::TakeLocal => return self.hurry(seq),
            MediaCommand::OpenGate => return self.open_gate(),
            MediaCommand::Flow(direction) => return self.set_flow(direction),
            MediaCommand::Element(has) => return self.set_element(has),
            // It names tracks that are known elsewhere.
            MediaCommand::Wish(_) => return,
            MediaCommand::OpenMicrophone => (Connection::None, None, End::Microphone),
            MediaCommand::CreateOffer => (Connection::First, None, End::Offer(Direction::SendRecv)),
            MediaCommand::Resume { direction } => (Connection::First, None, End::Offer(direction)),
            MediaCommand::Reoffer { direction } => (Connection::Sound, None, End::Offer(direction)),
            MediaCommand::RestartIce { direction } => (Connection::Restarted, None, End::Restart(direction)),
            MediaCommand::CreateAnswer { offer } => {
                (Connection::First, Some((RtcSdpType::Offer, offer)), End::Answer(Direction::SendRecv))
            }
            MediaCommand::Renegotiate { offer, direction } => {
                (Connection::Sound, Some((RtcSdpType::Offer, offer)), End::Answer(direction))
            }
            MediaCommand::SetAnswer { answer, provisional: true } => {
                (Connection::Same, Some((RtcSdpType::Pranswer, answer)), End::Applied)
            }
            MediaCommand::SetAnswer { answer, provisional: false } => {
                (Connection::Same, Some((RtcSdpType::Answer, answer)), End::Applied)
            }
            MediaCommand::Rollback => {
                (Connection::Same, Some((RtcSdpType::Rollback, String::new())), End::Silent)
            }
        };
        {
            let mut parts = self.parts.borrow_mut();
            if connection == Connection::None {
                (parts.prepared, parts.gated) = (true, true);
            }
            parts.latest = (end != End::Silent).then_some(seq);
            // ICE may begin again, with an offer or an answer.
            parts.useful = false;
        }
        spawn(Box::pin(self.clone().job(seq, Steps { connection, remote, end })));
    }

    /// Turns the microphone off, closes the connection, stops the audio. A microphone that the user grants later
    /// is turned off at once.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        // After a panic these may be borrowed for good; what can be closed is closed.
        if let Ok(mut parts) = self.parts.try_borrow_mut() {
            let parts = core::mem::take(&mut *parts);
            drop(parts);
        }
        if let Ok(mut waiting) = self.waiting.try_borrow_mut() {
            for waker in waiting.drain(..) {
                waker.wake();
            }
        }
    }

    /// Sends silence, or not; and this track, or the microphone.
    pub(crate) fn set_wish(self: &Rc<Self>, muted: bool, replacement: Option<Replacement>) {
        {
            let mut parts = self.parts.borrow_mut();
            parts.muted = muted;
            parts.replacement = replacement;
        }
        self.attach_outgoing();
    }

    /// The microphone.
    pub(crate) fn local_stream(&self) -> Option<MediaStream> {
        self.parts.borrow().microphone.as_ref().map(Microphone::stream)
    }

    /// What the other side sends.
    pub(crate) fn remote_stream(&self) -> Option<MediaStream> {
        self.parts.borrow().remote.clone()
    }

    /// Whether packets can flow.
    #[cfg(test)]
    pub(crate) fn is_connected(&self) -> bool {
        let parts = self.parts.borrow();
        parts.connection.as_ref().map(|pc| pc.state()) == Some(RtcPeerConnectionState::Connected)
    }

    /// Whether tones in the audio would arrive: not before the path is up, and not on hold. A call that never sends says
    /// so at once, by refusing them.
    pub(crate) fn takes_tones(&self) -> bool {
        let parts = self.parts.borrow();
        let Some(pc) = parts.connection.as_ref() else { return false };
        self.setup.audio.is_off()
            || (pc.state() == RtcPeerConnectionState::Connected && !parts.gated && !parts.quiet && pc.sends())
    }

    /// Whether the audio takes tones, when that is not what was returned last.
    pub(crate) fn tones_changed(&self) -> Option<bool> {
        let ready = self.takes_tones();
        (self.took_tones.replace(ready) != ready).then_some(ready)
    }

    /// Stops tones that cannot be sent any more, and returns those that have not begun.
    pub(crate) fn cut_dtmf(&self) -> Option<String> {
        if self.takes_tones() {
            return None;
        }
        let sending = self.parts.borrow_mut().dtmf.take();
        sending.map(SendingDtmf::cut)
    }

    /// The last tone has been sent.
    pub(crate) fn forget_dtmf(&self) {
        let sent = self.parts.borrow_mut().dtmf.take();
        // Outside of the borrow.
        drop(sent);
    }

    /// Figures since the last call of this (`CallStats`), or `None` when the session is or gets closed.
    pub(crate) fn stats(self: &Rc<Self>, done: Box<dyn FnOnce(Option<JsValue>)>) {
        let session = self.clone();
        spawn(Box::pin(async move {
            let report = match session.pc().map(|pc| pc.stats()) {
                Ok(report) => session.unless_closed(report).await,
                Err(closed) => Err(closed),
            };
            done(match report {
                Ok(Ok(report)) => Some(session.parts.borrow_mut().stats.read(report.unchecked_ref()).to_js()),
                _ => None,
            });
        }));
    }

    /// Plays tones into the audio (RFC 4733).
    ///
    /// # Errors
    /// When there is no connection, or the other side takes no telephone-events: `false`. `true` where it does: Chromium
    /// refuses tones for a moment after the media path is up.
    pub(crate) fn send_dtmf(
        &self,
        tones: &str,
        duration: u32,
        gap: u32,
        done: Box<dyn Fn()>,
    ) -> Result<(), bool> {
        let pc = self.pc().map_err(|_| false)?;
        let sender = pc.sender().ok_or(false)?;
        let sending = SendingDtmf::start(&sender, tones, duration, gap, done)
            .map_err(|_| pc.sends() && pc.takes_events())?;
        // Dropped outside of the borrow.
        let _former = self.parts.borrow_mut().dtmf.replace(sending);
        Ok(())
    }

    async fn job(self: Rc<Self>, seq: MediaSeq, steps: Steps) {
        match self.negotiate(seq, steps).await {
            Ok(Some(value)) => self.done(seq, Ok(value)),
            Ok(None) => self.described(seq),
            Err(Stop::Failed(error)) => self.done(seq, Err(error)),
            Err(Stop::Closed) => {}
        }
    }

    fn done(&self, seq: MediaSeq, result: Result<MediaValue, MediaError>) {
        if !self.closed.get() {
            (self.report)(MediaReport::Done(seq, result));
        }
    }

    // ---- the jobs

    /// One job; `None` when it has made a local description. One function with few places that wait, since each
    /// such place is code of its own.
    async fn negotiate(self: &Rc<Self>, seq: MediaSeq, steps: Steps) -> Result<Option<MediaValue>, Stop> {
        let Steps { connection, remote, end } = steps;
        let first = connection == Connection::First;
        let mut microphone = None;
        if connection == Connection::None || (first && !self.parts.borrow().prepared) {
            // The user may take long over the microphone prompt, and the device takes its time to start:
            // everything that needs no microphone is done meanwhile.
            microphone = self.request_microphone()?;
        }
        let restarts = connection == Connection::Restarted;
        let made =
            first || ((restarts || connection == Connection::Sound) && self.is_unsound(remote.as_ref())?);
        if made || restarts {
            let configuration = self.configuration(first).await?;
            self.check_latest(seq)?;
            if made {
                self.connect(&configuration)?;
            } else {
                self.pc()?.configure(&configuration);
            }
        }
        let mut offer = None;
        if let End::Offer(direction) | End::Restart(direction) = end {
            let pc = self.pc()?;
            if made {
                pc.add_audio().map_err(unavailable)?;
            }
            self.set_direction(&pc, direction);
            offer = Some(pc.create_offer(matches!(end, End::Restart(_))));
        }
        if let Some((kind, sdp)) = remote
            && let Some(set) = self.set_remote(kind, &sdp)?
        {
            let set = self.described_by(set).await;
            self.remote_set(kind, set)?;
        }
        if let Some(microphone) = microphone {
            self.take_microphone(microphone.open().await?)?;
        }
        match end {
            End::Microphone => return Ok(Some(MediaValue::Microphone)),
            End::Applied => return Ok(Some(MediaValue::Applied)),
            End::Silent => return Err(Stop::Closed),
            End::Offer(_) | End::Restart(_) => {}
            End::Answer(direction) => {
                if made {
                    self.take_line()?;
                }
                self.set_direction(&*self.pc()?, direction);
            }
        }
        if made {
            self.attach_outgoing();
        }
        let description = match offer {
            Some(offer) => offer,
            None => self.pc()?.create_answer(),
        };
        let description = self.described_by(description).await?;
        // What was made for a job that is taken back, or that another has overtaken, must not become the description.
        self.check_latest(seq)?;
        let set = self.pc()?.set_local(description);
        self.described_by(set).await?;
        Ok(None)
    }

    // ---- their parts

    /// Whether a description leads nowhere on the connection that there is.
    fn is_unsound(&self, remote: Option<&(RtcSdpType, String)>) -> Result<bool, Stop> {
        let pc = self.pc()?;
        Ok(pc.damaged.get() || remote.is_some_and(|(_, offer)| pc.is_other_association(offer)))
    }

    /// A job that another has overtaken, or that is taken back, goes no further.
    fn check_latest(&self, seq: MediaSeq) -> Result<(), Stop> {
        if self.parts.borrow().latest == Some(seq) { Ok(()) } else { Err(Stop::Closed) }
    }

    /// Starts to set the peer's description; `None` where it is left alone. Not held while this waits: the connection is
    /// closed with the session.
    fn set_remote(self: &Rc<Self>, kind: RtcSdpType, sdp: &str) -> Result<Option<JsFuture>, Stop> {
        if kind == RtcSdpType::Rollback {
            self.go_back();
            return Ok(Some(self.pc()?.rollback()));
        }
        let pc = self.pc()?;
        let left_alone = kind == RtcSdpType::Pranswer && pc.hears_other_fork(sdp);
        Ok((!left_alone).then(|| pc.set_remote(kind, sdp)))
    }

    /// What follows from the outcome.
    fn remote_set(&self, kind: RtcSdpType, set: Result<JsValue, Stop>) -> Result<(), Stop> {
        match (kind, &set) {
            // The phone gets no result: the next job makes another connection.
            (RtcSdpType::Rollback, Err(Stop::Failed(_))) => {
                self.pc()?.damaged.set(true);
                return Err(Stop::Closed);
            }
            (RtcSdpType::Answer, Ok(_)) => {
                let previous = self.parts.borrow_mut().previous.take();
                drop(previous);
            }
            _ => {}
        }
        set.map(drop)
    }

    fn request_microphone(&self) -> Result<Option<RequestedMicrophone>, MediaError> {
        match &self.setup.audio {
            Audio::Off => Ok(None),
            audio => RequestedMicrophone::new(audio).map(Some),
        }
    }

    /// Takes the microphone. Once closed it is dropped instead, which turns it off.
    fn take_microphone(self: &Rc<Self>, mut microphone: Microphone) -> Result<(), Stop> {
        if self.closed.get() {
            return Err(Stop::Closed);
        }
        if microphone.track().is_none() {
            return Err(MediaError::Unavailable.into());
        }
        let weak = Rc::downgrade(self);
        microphone.watch(&|| {
            let weak = weak.clone();
            Box::new(move |_| {
                if let Some(session) = weak.upgrade() {
                    session.microphone_changed();
                }
            })
        });
        let mut parts = self.parts.borrow_mut();
        let former = parts.microphone.replace(microphone);
        parts.silence();
        drop(parts);
        drop(former);
        Ok(())
    }

    fn microphone_changed(self: &Rc<Self>) {
        let Some(state) = self.microphone() else { return };
        (self.report)(MediaReport::Microphone(state));
        if state == ENDED && !self.closed.get() {
            self.reopen_microphone();
        }
    }

    /// The call is to have a microphone, and has none any more: one that is there now, or that comes.
    fn reopen_microphone(self: &Rc<Self>) {
        let session = self.clone();
        spawn(Box::pin(async move {
            let mut opened = Err(MediaError::Unavailable);
            // The one that was asked for may be the very one that is gone.
            for audio in [session.setup.audio.clone(), Audio::Default] {
                opened = match RequestedMicrophone::new(&audio) {
                    Ok(requested) => requested.open().await,
                    Err(error) => Err(error),
                };
                if !matches!(opened, Err(MediaError::Unavailable)) {
                    break;
                }
            }
            match opened {
                Ok(microphone) => {
                    if session.take_microphone(microphone).is_ok() {
                        session.parts.borrow_mut().devices = None;
                        session.attach_outgoing();
                        session.microphone_changed();
                    }
                }
                // Who takes the permission back is not asked again.
                Err(MediaError::Denied) => session.parts.borrow_mut().devices = None,
                Err(_) if !session.closed.get() => session.await_device(),
                Err(_) => {}
            }
        }));
    }

    fn await_device(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        let listener = on_device_change(Box::new(move |_| {
            if let Some(session) = weak.upgrade().filter(|session| session.microphone() == Some(ENDED)) {
                session.reopen_microphone();
            }
        }));
        self.parts.borrow_mut().devices = listener;
    }

    /// How the microphone is; `None` without one.
    pub(crate) fn microphone(&self) -> Option<&'static str> {
        self.parts.borrow().microphone.as_ref().map(Microphone::state)
    }

    /// Whether what the other side sends waits for a user gesture to be heard.
    pub(crate) fn is_blocked(&self) -> bool {
        self.parts.borrow().blocked
    }

    /// Tries to play what the browser has refused to play.
    pub(crate) fn resume_audio(&self) {
        if let Some(speaker) = &self.parts.borrow().speaker {
            speaker.resume();
        }
    }

    /// Answers with a stream, whether something may be sent now or not: with nothing attached, nothing leaves.
    fn take_line(&self) -> Result<(), Stop> {
        if matches!(self.setup.audio, Audio::Off) {
            return Ok(());
        }
        let stream = self.local_stream().map_or_else(MediaStream::new, Ok).map_err(unavailable)?;
        self.pc()?.take_line(&stream);
        Ok(())
    }

    /// The direction of the next description: this one, as far as there is a microphone to send.
    fn set_direction(&self, pc: &PeerConnection, direction: Direction) {
        let listens_only = matches!(self.setup.audio, Audio::Off);
        pc.set_direction(match direction {
            Direction::SendRecv if !listens_only => "sendrecv",
            Direction::SendOnly if !listens_only => "sendonly",
            Direction::SendRecv | Direction::RecvOnly => "recvonly",
            Direction::SendOnly | Direction::Inactive => "inactive",
        });
    }

    /// What may be sent and played from now on.
    fn set_flow(self: &Rc<Self>, direction: Direction) {
        let remote = {
            let mut parts = self.parts.borrow_mut();
            parts.quiet = matches!(direction, Direction::RecvOnly | Direction::Inactive);
            parts.deaf = matches!(direction, Direction::SendOnly | Direction::Inactive);
            parts.remote.clone().map(|remote| (remote, !parts.deaf))
        };
        self.attach_outgoing();
        if let Some((remote, heard)) = remote {
            enable(&remote, heard);
            self.take_element();
        }
    }

    fn set_element(self: &Rc<Self>, has: bool) {
        self.parts.borrow_mut().elsewhere = !has;
        self.take_element();
    }

    /// Where the call is to be heard as things stand. Who is not heard leaves the element to the others.
    fn playback(&self) -> Playback {
        let parts = self.parts.borrow();
        match &self.setup.playback {
            Playback::Element(_) if parts.elsewhere || parts.deaf => Playback::Own,
            playback => playback.clone(),
        }
    }

    /// Plays in the application's element, or lets go of it.
    fn take_element(self: &Rc<Self>) {
        let remote = {
            let parts = self.parts.borrow();
            parts.remote.clone().filter(|_| !parts.deaf)
        };
        let playback = self.playback();
        if let Some(remote) = remote
            && self.parts.borrow().speaker.as_ref().is_some_and(|speaker| !speaker.plays_in(&playback))
        {
            self.play(remote);
        }
    }

    fn open_gate(self: &Rc<Self>) {
        let remote = {
            let mut parts = self.parts.borrow_mut();
            parts.gated = false;
            parts.kept_back.take()
        };
        self.attach_outgoing();
        if let Some(remote) = remote {
            self.play(remote);
        }
    }

    /// Puts on the line what is to be sent as things stand, or nothing. (Not only where it is another than before:
    /// what was put there last may not be there yet.)
    fn attach_outgoing(self: &Rc<Self>) {
        let (connection, outgoing) = {
            let parts = self.parts.borrow();
            parts.silence();
            (parts.connection.clone(), parts.outgoing())
        };
        let Some(sending) = connection.and_then(|pc| pc.attach(outgoing.as_ref())) else { return };
        let weak = Rc::downgrade(self);
        let sent = move |sent: Result<JsValue, JsValue>| {
            // Nobody waits for it, and a call in which this side is not heard is none.
            if let (Err(_), Some(session)) = (sent, weak.upgrade().filter(|session| !session.closed.get())) {
                (session.report)(MediaReport::State(MediaState::Failed));
            }
        };
        then(sending, Box::new(sent));
    }

    /// What a connection is made with, or goes on with, by what the application says now.
    async fn configuration(&self, first: bool) -> Result<Configuration, Stop> {
        match self.servers().await? {
            Ok(servers) => self.parts.borrow_mut().servers = servers,
            Err(problem) if first => return Err(MediaError::Servers(problem).into()),
            Err(problem) => (self.report)(MediaReport::Servers(problem)),
        }
        let servers = self.parts.borrow().servers.clone();
        Ok(Configuration { ice_servers: servers, ..self.setup.connection.clone() })
    }

    async fn servers(&self) -> Result<Result<JsValue, String>, Stop> {
        let Some(servers) = &self.setup.servers else { return Ok(Ok(JsValue::UNDEFINED)) };
        let setting = (servers.setting)();
        let Some(function) = setting.dyn_ref::<Function>() else { return Ok(Ok(setting)) };
        let late = Promise::new(&mut |_, reject| {
            if let Some(window) = web_sys::window() {
                // Without timers there is no deadline.
                let _ = window.set_timeout_with_callback_and_timeout_and_arguments_1(
                    &reject,
                    SERVERS_TIMEOUT_MS,
                    &"the function has not answered within 10 s".into(),
                );
            }
        });
        let given = Promise::race(&Array::of2(&promised(function.call0(&JsValue::UNDEFINED)), &late));
        Ok(match self.unless_closed(JsFuture::from(given)).await? {
            Ok(list) => (servers.check)(&list).map(|()| list).map_err(|error| error.message.to_string()),
            Err(thrown) => Err(words(&thrown)),
        })
    }

    fn connect(self: &Rc<Self>, configuration: &Configuration) -> Result<(), Stop> {
        if self.closed.get() {
            return Err(Stop::Closed);
        }
        let mut pc = PeerConnection::new(configuration).map_err(unavailable)?;
        let weak = Rc::downgrade(self);
        let handler = |handle: fn(&Rc<Self>, &JsValue)| {
            let weak = weak.clone();
            Box::new(move |event: JsValue| {
                if let Some(session) = weak.upgrade() {
                    handle(&session, &event);
                }
            })
        };
        pc.on("icegatheringstatechange", handler(|session, _| session.gathering_changed()));
        pc.on_useful_candidate(configuration, handler(|session, _| session.candidate_came()));
        // The first one that a job has waited for in vain.
        pc.on("icecandidate", handler(|session, _| session.gathered()));
        pc.on("connectionstatechange", handler(|session, _| session.state_changed()));
        pc.on("iceconnectionstatechange", handler(|session, _| session.path_changed()));
        pc.on("track", handler(|session, event| session.track_came(event.unchecked_ref())));
        let mut parts = self.parts.borrow_mut();
        let old = parts.connection.replace(Rc::new(pc));
        if parts.previous.is_none() {
            parts.previous = old;
        }
        Ok(())
    }

    /// Nothing comes of a new connection: the one of before is still there.
    fn go_back(self: &Rc<Self>) {
        let (new, line) = {
            let mut parts = self.parts.borrow_mut();
            let Some(previous) = parts.previous.take() else { return };
            let line = previous.incoming();
            (parts.connection.replace(previous), line)
        };
        drop(new);
        if let Some(line) = line {
            self.hear(&line);
        }
    }

    /// The local description is set.
    fn described(&self, seq: MediaSeq) {
        self.parts.borrow_mut().gathering = Some(seq);
        self.done(seq, Ok(MediaValue::Gathering));
        let useful = self.parts.borrow().useful;
        if useful {
            self.done(seq, Ok(MediaValue::Useful));
        }
        self.gathered();
    }

    fn candidate_came(&self) {
        let gathering = {
            let mut parts = self.parts.borrow_mut();
            let first = !core::mem::replace(&mut parts.useful, true);
            parts.gathering.filter(|_| first)
        };
        if let Some(seq) = gathering {
            self.done(seq, Ok(MediaValue::Useful));
        }
    }

    fn hurry(&self, seq: MediaSeq) {
        self.parts.borrow_mut().hurried = Some(seq);
        self.gathered();
    }

    /// All candidates are in, and there may be none: no server of those that have to be used has answered.
    fn gathering_changed(&self) {
        self.gathered();
        let seq = {
            let mut parts = self.parts.borrow_mut();
            let complete = parts.connection.as_ref().is_some_and(|pc| pc.gathered());
            if complete { parts.gathering.take() } else { None }
        };
        if let Some(seq) = seq {
            self.done(seq, Err(MediaError::NoCandidate));
        }
    }

    /// Reports the local description, if a job waits for it and it is complete enough.
    fn gathered(&self) {
        let ready = {
            let mut parts = self.parts.borrow_mut();
            let Some(seq) = parts.gathering else { return };
            let hurried = parts.hurried == Some(seq);
            let Some(sdp) =
                parts.connection.as_ref().filter(|pc| hurried || pc.gathered()).and_then(|pc| pc.local_sdp())
            else {
                return;
            };
            // Where ICE begins again, the state is still the one of before for a moment. And one without candidates leads
            // nowhere, however long it has been waited for.
            if !text::split(&sdp, b'\n').any(|line| line.starts_with("a=candidate:")) {
                return;
            }
            parts.gathering = None;
            // Our offer may yet come to nothing.
            let offers = parts.connection.as_ref().is_some_and(|pc| pc.offers());
            (seq, sdp, if offers { None } else { parts.previous.take() })
        };
        drop(ready.2);
        self.done(ready.0, Ok(MediaValue::Local(ready.1)));
    }

    fn state_changed(&self) {
        let state = self.parts.borrow().connection.as_ref().map(|pc| pc.state());
        let state = match state {
            Some(RtcPeerConnectionState::Connected) => MediaState::Connected,
            Some(RtcPeerConnectionState::Disconnected) => MediaState::Disconnected,
            Some(RtcPeerConnectionState::Failed) => MediaState::Failed,
            _ => return,
        };
        (self.report)(MediaReport::State(state));
    }

    fn path_changed(&self) {
        if self.parts.borrow().connection.as_ref().is_some_and(|pc| pc.awaits_dtls()) {
            (self.report)(MediaReport::State(MediaState::IceConnected));
        }
    }

    fn track_came(self: &Rc<Self>, event: &RtcTrackEvent) {
        self.hear(&event.track());
    }

    /// This is what the other side sends now.
    fn hear(self: &Rc<Self>, track: &MediaStreamTrack) {
        if track.kind() != "audio" {
            return;
        }
        let (stream, gated) = {
            let mut parts = self.parts.borrow_mut();
            // A stream of our own: the browser takes the track out of its own ones while the call is on hold.
            let known = parts.remote.as_ref().or(parts.kept_back.as_ref()).cloned();
            if let Some(stream) = known {
                // That of another connection, which is or will be gone.
                for other in stream.get_audio_tracks().iter() {
                    let own: &JsValue = track.as_ref();
                    if other != *own {
                        stream.remove_track(other.unchecked_ref());
                    }
                }
                stream.add_track(track);
                let (heard, shown) = (!parts.deaf, parts.kept_back.is_none());
                drop(parts);
                enable(&stream, heard);
                if shown {
                    (self.report)(MediaReport::Track(Clone::clone(track)));
                }
                return;
            }
            let Ok(stream) = MediaStream::new() else { return };
            stream.add_track(track);
            if parts.gated {
                parts.kept_back = Some(Clone::clone(&stream));
            }
            (stream, parts.gated)
        };
        if !gated {
            self.play(stream);
        }
    }

    /// Lets the other side be heard, here and by the application.
    fn play(self: &Rc<Self>, stream: MediaStream) {
        // The old one would take its stream, perhaps this one, off the element.
        let old = self.parts.borrow_mut().speaker.take();
        drop(old);
        let weak = Rc::downgrade(self);
        let blocked = move |blocked| {
            if let Some(session) = weak.upgrade()
                && core::mem::replace(&mut session.parts.borrow_mut().blocked, blocked) != blocked
            {
                (session.report)(MediaReport::PlaybackBlocked(blocked));
            }
        };
        let speaker = RemoteAudio::play(&self.playback(), &stream, Box::new(blocked));
        let mut parts = self.parts.borrow_mut();
        enable(&stream, !parts.deaf);
        parts.speaker = speaker;
        parts.remote = Some(stream);
    }

    fn pc(&self) -> Result<Rc<PeerConnection>, Stop> {
        self.parts.borrow().connection.clone().ok_or(Stop::Closed)
    }

    /// Waits for an operation on descriptions.
    async fn described_by(&self, operation: JsFuture) -> Result<JsValue, Stop> {
        let outcome = self.unless_closed(operation).await?;
        outcome.map_err(|error| Stop::Failed(MediaError::Refused(words(&error))))
    }

    /// Waits for the operation or for [`MediaSession::close`]: a closed connection leaves the promises of its
    /// operations pending for ever (WebRTC 1.0, section 4.4.1.2), and with them would stay all that waits.
    async fn unless_closed(&self, mut operation: JsFuture) -> Result<Result<JsValue, JsValue>, Stop> {
        poll_fn(|context| {
            if self.closed.get() {
                return Poll::Ready(Err(Stop::Closed));
            }
            let polled = Pin::new(&mut operation).poll(context);
            if polled.is_pending() {
                let mut waiting = self.waiting.borrow_mut();
                waiting.retain(|waker| !waker.will_wake(context.waker()));
                waiting.push(context.waker().clone());
            }
            polled.map(Ok)
        })
        .await
    }
}

impl Drop for MediaSession {
    fn drop(&mut self) {
        self.close();
    }
}

/// Lets a stream be heard, or not, wherever it is played.
fn enable(stream: &MediaStream, heard: bool) {
    for track in stream.get_audio_tracks().iter() {
        track.unchecked_into::<MediaStreamTrack>().set_enabled(heard);
    }
}

/// What an error says of itself.
fn words(error: &JsValue) -> String {
    string(error, "message").or_else(|| error.as_string()).unwrap_or_default()
}

fn unavailable(_: JsValue) -> Stop {
    Stop::Failed(MediaError::Unavailable)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::object::{self, get, number};
    use super::super::peer_connection::ice_ufrag;
    use super::*;
    use crate::sip::sdp::{self, Agreed};

    /// A session and what it has reported.
    struct Side {
        session: Rc<MediaSession>,
        done: Rc<RefCell<Vec<Result<MediaValue, MediaError>>>>,
        connected: Rc<Cell<bool>>,
    }

    impl Side {
        fn new(audio: Audio) -> Self {
            let done = Rc::new(RefCell::new(Vec::new()));
            let connected = Rc::new(Cell::new(false));
            let (reports, up) = (done.clone(), connected.clone());
            let report = move |report| match report {
                MediaReport::Done(_, result) => reports.borrow_mut().push(result),
                MediaReport::State(state) => up.set(state == MediaState::Connected),
                MediaReport::Track(_)
                | MediaReport::PlaybackBlocked(_)
                | MediaReport::Microphone(_)
                | MediaReport::Servers(_) => {}
            };
            let setup = MediaSetup { audio, ..MediaSetup::default() };
            Self { session: MediaSession::new(setup, Box::new(report)), done, connected }
        }

        fn run(&self, command: MediaCommand) {
            self.done.borrow_mut().clear();
            self.session.run(MediaSeq(1), command);
        }

        fn has(&self, wanted: &Result<MediaValue, MediaError>) -> bool {
            self.done.borrow().contains(wanted)
        }

        /// The description that the last job makes; its failure ends the test at once, and by its name.
        async fn local(&self) -> String {
            let mut local = None;
            until("a local description", || {
                for done in &*self.done.borrow() {
                    match done {
                        Ok(MediaValue::Local(sdp)) => local = Some(sdp.clone()),
                        Ok(_) => {}
                        Err(error) => panic!("no local description: {error:?}"),
                    }
                }
                local.is_some()
            })
            .await;
            local.unwrap()
        }

        /// A figure of `CallStats`.
        async fn figure(&self, name: &str) -> f64 {
            let (promise, resolve) = pending();
            let done = move |stats: Option<JsValue>| {
                resolve.call1(&JsValue::UNDEFINED, &stats.unwrap()).unwrap();
            };
            self.session.stats(Box::new(done));
            number(&JsFuture::from(promise).await.unwrap(), name).unwrap()
        }

        async fn grows(&self, name: &str) -> bool {
            let before = self.figure(name).await;
            pause(700).await;
            self.figure(name).await > before
        }
    }

    fn pending() -> (js_sys::Promise, js_sys::Function) {
        let mut settle = None;
        let promise = js_sys::Promise::new(&mut |resolve, _| settle = Some(resolve));
        (promise, settle.unwrap())
    }

    async fn pause(ms: i32) {
        let (promise, resolve) = pending();
        web_sys::window()
            .unwrap()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms)
            .unwrap();
        JsFuture::from(promise).await.unwrap();
    }

    async fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let end = js_sys::Date::now() + 20_000.0;
        while !condition() {
            assert!(js_sys::Date::now() < end, "waited in vain: {what}");
            pause(10).await;
        }
    }

    /// A caller, and one that answers behind a closed gate.
    async fn behind_the_gate(audio: Audio) -> (Side, Side, String) {
        let (caller, callee) = (Side::new(Audio::Default), Side::new(audio));
        callee.run(MediaCommand::OpenMicrophone);
        until("the microphone", || callee.has(&Ok(MediaValue::Microphone))).await;
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        callee.run(MediaCommand::CreateAnswer { offer });
        let answer = callee.local().await;
        caller.run(MediaCommand::SetAnswer { answer: answer.clone(), provisional: false });
        until("the media path", || caller.connected.get() && callee.connected.get()).await;
        (caller, callee, answer)
    }

    #[test]
    async fn nothing_leaves_and_nothing_is_heard_until_the_gate_opens() {
        let (caller, callee, answer) = behind_the_gate(Audio::Default).await;
        assert!(answer.contains("a=sendrecv") && answer.contains("a=msid:"), "{answer}");
        assert!(!answer.contains("a=msid:- "), "{answer}");
        assert!(callee.session.local_stream().is_some());
        // The other side does send, so there would be something to hear.
        assert!(callee.grows("bytesReceived").await);
        assert!(callee.session.remote_stream().is_none());
        assert!(callee.session.parts.borrow().speaker.is_none());
        assert!(callee.session.parts.borrow().kept_back.is_some());
        assert_eq!(callee.figure("bytesSent").await, 0.0);
        assert_eq!(caller.figure("bytesReceived").await, 0.0);
        let sender = callee.session.pc().ok().and_then(|pc| pc.sender()).unwrap();
        assert!(sender.track().is_none());

        callee.session.set_wish(true, None);
        callee.run(MediaCommand::OpenGate);
        assert!(callee.session.remote_stream().is_some());
        assert!(callee.session.parts.borrow().speaker.is_some());
        until("the track", || sender.track().is_some()).await;
        assert!(!sender.track().unwrap().enabled(), "muted before the gate opened");
        callee.session.set_wish(false, None);
        assert!(sender.track().unwrap().enabled());
        assert!(caller.grows("bytesReceived").await);
        assert!(callee.grows("bytesSent").await);
        assert!(callee.done.borrow().is_empty(), "opening the gate is not reported");
        let track = sender.track().unwrap();
        callee.session.close();
        assert_eq!(track.ready_state(), web_sys::MediaStreamTrackState::Ended);
        caller.session.close();
    }

    #[test]
    async fn a_call_without_a_microphone_only_listens() {
        let (caller, callee, answer) = behind_the_gate(Audio::Off).await;
        assert!(answer.contains("a=recvonly"), "{answer}");
        assert!(callee.session.local_stream().is_none() && callee.session.remote_stream().is_none());
        callee.run(MediaCommand::OpenGate);
        assert!(callee.session.remote_stream().is_some());
        assert_eq!(caller.figure("bytesReceived").await, 0.0);
        callee.session.close();
        caller.session.close();
    }

    /// Two sides in a call.
    async fn talking() -> (Side, Side) {
        let (caller, callee) = (Side::new(Audio::Default), Side::new(Audio::Default));
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        callee.run(MediaCommand::CreateAnswer { offer });
        let answer = callee.local().await;
        caller.run(MediaCommand::SetAnswer { answer, provisional: false });
        until("the media path", || caller.connected.get() && callee.connected.get()).await;
        (caller, callee)
    }

    /// One side offers this, the other agrees to that at most.
    async fn renegotiate(from: &Side, offered: Direction, to: &Side, agreed: Direction) -> (String, String) {
        from.run(MediaCommand::Reoffer { direction: offered });
        let offer = from.local().await;
        to.run(MediaCommand::Renegotiate { offer: offer.clone(), direction: agreed });
        let answer = to.local().await;
        from.run(MediaCommand::SetAnswer { answer: answer.clone(), provisional: false });
        until("the answer", || from.has(&Ok(MediaValue::Applied))).await;
        (offer, answer)
    }

    fn line(sdp: &str) -> &str {
        sdp.lines()
            .find(|line| ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(line))
            .unwrap()
    }

    fn heard(side: &Side) -> bool {
        let stream = side.session.remote_stream().unwrap();
        let track: MediaStreamTrack = stream.get_audio_tracks().get(0).unchecked_into();
        track.enabled()
    }

    #[test]
    async fn on_hold_nothing_is_sent_or_played_and_afterwards_it_is_as_before() {
        let (us, them) = talking().await;
        assert!(us.grows("bytesSent").await && us.grows("bytesReceived").await);
        let stream = us.session.remote_stream().unwrap();
        us.session.set_wish(true, None);
        us.session.set_wish(false, None);

        // At once, before anybody has agreed: silence, and the track stays, so that the clock of the stream goes on.
        let sender = us.session.pc().ok().and_then(|pc| pc.sender()).unwrap();
        us.run(MediaCommand::Flow(Direction::Inactive));
        assert!(!heard(&us) && !sender.track().unwrap().enabled());

        // The answer agrees to less, and would let us send.
        let (offer, answer) = renegotiate(&us, Direction::SendOnly, &them, Direction::SendRecv).await;
        assert_eq!((line(&offer), line(&answer)), ("a=sendonly", "a=recvonly"));
        assert!(!us.grows("bytesReceived").await && !sender.track().unwrap().enabled());

        // They hold too; muting meanwhile counts afterwards.
        them.run(MediaCommand::Flow(Direction::Inactive));
        let (offer, answer) = renegotiate(&them, Direction::Inactive, &us, Direction::Inactive).await;
        assert_eq!((line(&offer), line(&answer)), ("a=inactive", "a=inactive"));
        us.session.set_wish(true, None);
        us.run(MediaCommand::Flow(Direction::SendRecv));
        them.run(MediaCommand::Flow(Direction::SendRecv));
        let (offer, answer) = renegotiate(&us, Direction::SendRecv, &them, Direction::SendRecv).await;
        assert_eq!((line(&offer), line(&answer)), ("a=sendrecv", "a=sendrecv"));
        assert!(heard(&us) && us.grows("bytesReceived").await && them.grows("bytesReceived").await);
        assert!(!sender.track().unwrap().enabled(), "muted while it was held");
        assert!(us.session.remote_stream().unwrap() == stream, "the application's stream stays the same");
        assert!(us.done.borrow().contains(&Ok(MediaValue::Applied)));
        us.session.close();
        them.session.close();
    }

    /// Whether audio goes out to be played, not only comes in.
    async fn plays(side: &Side) -> bool {
        let samples = async || {
            let pc = side.session.pc().ok().unwrap();
            let report: web_sys::RtcStatsReport = pc.stats().await.unwrap().unchecked_into();
            let stats: Vec<JsValue> = js_sys::Array::from(&report.values()).to_vec();
            stats.iter().find_map(|stat| number(stat, "totalSamplesReceived")).unwrap_or_default()
        };
        let before = samples().await;
        pause(700).await;
        samples().await > before
    }

    /// A hold that the other side refuses, or that cannot reach it.
    #[test]
    async fn an_offer_of_hold_that_is_taken_back_leaves_the_other_side_heard() {
        let (us, them) = talking().await;
        assert!(plays(&us).await && plays(&them).await);
        let offer = async |direction: Direction| {
            us.run(MediaCommand::Flow(Direction::Inactive));
            us.run(MediaCommand::Reoffer { direction });
            let offer = us.local().await;
            assert_ne!(line(&offer), "a=sendrecv");
            us.run(MediaCommand::Flow(Direction::SendRecv));
            us.run(MediaCommand::Rollback);
        };
        for direction in [Direction::SendOnly, Direction::Inactive] {
            offer(direction).await;
            assert!(heard(&us) && plays(&us).await, "{direction:?}: nothing is played");
            assert!(us.grows("bytesSent").await && them.grows("bytesSent").await, "{direction:?}");
        }
        // What is asked for in the same breath comes after it, whosever offer it is.
        offer(Direction::SendOnly).await;
        let (offered, answer) = renegotiate(&us, Direction::SendRecv, &them, Direction::SendRecv).await;
        assert_eq!((line(&offered), line(&answer)), ("a=sendrecv", "a=sendrecv"));
        offer(Direction::SendOnly).await;
        let (offered, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert_eq!((line(&offered), line(&answer)), ("a=sendrecv", "a=sendrecv"));
        assert!(plays(&us).await && plays(&them).await);
        us.session.close();
        them.session.close();
    }

    /// ICE restarted by one side; the other one answers an offer like any other.
    #[test]
    async fn a_restart_brings_new_candidates_on_both_sides_and_the_audio_goes_on() {
        let (us, them) = talking().await;
        let stream = us.session.remote_stream().unwrap();
        let before = us.session.pc().ok().and_then(|pc| pc.local_sdp()).unwrap();
        us.run(MediaCommand::RestartIce { direction: Direction::SendOnly });
        let offer = us.local().await;
        assert_ne!(ice_ufrag(&offer), ice_ufrag(&before));
        assert!(offer.contains("a=candidate:"), "{offer}");
        assert_eq!(line(&offer), "a=sendonly");
        let before = them.session.pc().ok().and_then(|pc| pc.local_sdp()).unwrap();
        them.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
        let answer = them.local().await;
        assert_ne!(ice_ufrag(&answer), ice_ufrag(&before));
        assert!(answer.contains("a=candidate:"), "{answer}");
        us.run(MediaCommand::SetAnswer { answer, provisional: false });
        until("the answer", || us.has(&Ok(MediaValue::Applied))).await;
        let (offer, _) = renegotiate(&us, Direction::SendRecv, &them, Direction::SendRecv).await;
        assert_eq!(line(&offer), "a=sendrecv");
        assert!(talk(&us, &them).await);
        assert!(us.session.remote_stream().unwrap() == stream, "the application's stream stays the same");
        us.session.close();
        them.session.close();
    }

    #[test]
    async fn a_restart_that_comes_to_nothing_leaves_the_path_as_it_was() {
        let (us, them) = talking().await;
        us.run(MediaCommand::RestartIce { direction: Direction::SendRecv });
        us.local().await;
        us.run(MediaCommand::Rollback);
        pause(200).await;
        assert!(talk(&us, &them).await);
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert!(answer.contains("a=candidate:"));
        assert!(talk(&us, &them).await);
        us.session.close();
        them.session.close();
    }

    #[test]
    async fn an_answer_agrees_to_no_more_than_it_may() {
        let (us, them) = talking().await;
        us.run(MediaCommand::Flow(Direction::Inactive));
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendOnly).await;
        assert_eq!(line(&answer), "a=sendonly");
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::Inactive).await;
        assert_eq!(line(&answer), "a=inactive");
        assert!(!them.grows("bytesReceived").await && !us.grows("bytesReceived").await);
        us.session.close();
        them.session.close();
    }

    /// The other side, as a page that was reloaded: a connection of its own, with other keys.
    async fn begin_anew(us: &Side, direction: Direction) -> (Side, String) {
        let anew = Side::new(Audio::Default);
        anew.run(MediaCommand::Resume { direction });
        let offer = anew.local().await;
        us.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
        let answer = us.local().await;
        (anew, answer)
    }

    #[test]
    async fn a_side_that_begins_anew_is_heard_soon() {
        for caller in [true, false] {
            let (us, them) = match talking().await {
                (caller_side, callee) if caller => (caller_side, callee),
                (caller_side, callee) => (callee, caller_side),
            };
            let stream = us.session.remote_stream().unwrap();
            them.session.close();
            let began = js_sys::Date::now();
            let (anew, answer) = begin_anew(&us, Direction::SendRecv).await;
            set_answer(&anew, &answer, false).await;
            assert!(talk(&us, &anew).await);
            // Chromium's own way takes six seconds.
            assert!(js_sys::Date::now() - began < 3_000.0, "it took too long");
            assert!(us.session.remote_stream().unwrap() == stream, "the application's stream stays the same");
            assert_eq!(stream.get_audio_tracks().length(), 1);
            let (offer, _) = renegotiate(&us, Direction::SendOnly, &anew, Direction::SendRecv).await;
            assert_eq!(line(&offer), "a=sendonly");
            us.session.close();
            anew.session.close();
        }
    }

    #[test]
    async fn a_call_on_hold_is_begun_anew_on_hold() {
        let (us, them) = talking().await;
        them.session.close();
        let (anew, answer) = begin_anew(&us, Direction::SendOnly).await;
        assert_eq!(line(&answer), "a=recvonly");
        set_answer(&anew, &answer, false).await;
        until("the media path", || us.connected.get() && anew.connected.get()).await;
        assert!(!anew.grows("bytesReceived").await);
        us.session.close();
        anew.session.close();
    }

    #[test]
    async fn nothing_comes_of_a_new_beginning() {
        let (us, them) = talking().await;
        let anew = Side::new(Audio::Default);
        anew.run(MediaCommand::Resume { direction: Direction::SendRecv });
        let offer = anew.local().await;
        us.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
        us.session.run(MediaSeq(1), MediaCommand::Rollback);
        pause(300).await;
        anew.session.close();
        us.done.borrow_mut().clear();
        assert!(talk(&us, &them).await);
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert_eq!(line(&answer), "a=sendrecv");
        assert!(talk(&us, &them).await);
        us.session.close();
        them.session.close();
    }

    #[test]
    async fn a_call_without_a_microphone_never_offers_to_send() {
        let (us, them) = (Side::new(Audio::Off), Side::new(Audio::Default));
        us.run(MediaCommand::CreateOffer);
        let offer = us.local().await;
        assert_eq!(line(&offer), "a=recvonly");
        them.run(MediaCommand::CreateAnswer { offer });
        let answer = them.local().await;
        us.run(MediaCommand::SetAnswer { answer, provisional: false });
        until("the answer", || us.has(&Ok(MediaValue::Applied))).await;
        let (offer, _) = renegotiate(&us, Direction::SendOnly, &them, Direction::SendRecv).await;
        assert_eq!(line(&offer), "a=inactive");
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert_eq!(line(&answer), "a=recvonly");
        us.session.close();
        them.session.close();
    }

    #[test]
    async fn an_offer_that_comes_to_nothing_leaves_no_trace() {
        let (us, them) = talking().await;
        us.run(MediaCommand::Reoffer { direction: Direction::Inactive });
        us.local().await;
        us.run(MediaCommand::Rollback);
        let pc = us.session.pc().ok().unwrap();
        until("the direction of before", || pc.direction() == "sendrecv").await;
        // Taken back while it is being made: it must not become the description.
        us.run(MediaCommand::Reoffer { direction: Direction::Inactive });
        us.session.run(MediaSeq(1), MediaCommand::Rollback);
        pause(300).await;
        assert!(us.done.borrow().is_empty(), "{:?}", us.done.borrow());
        let (_, answer) = renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert_eq!(line(&answer), "a=sendrecv");
        assert!(us.grows("bytesReceived").await && them.grows("bytesReceived").await);
        us.session.close();
        them.session.close();
    }

    #[test]
    async fn a_track_instead_of_the_microphone() {
        let (us, them) = talking().await;
        let sender = us.session.pc().ok().and_then(|pc| pc.sender()).unwrap();
        let microphone = sender.track().unwrap();
        let other: MediaStreamTrack =
            them.session.local_stream().unwrap().get_audio_tracks().get(0).unchecked_into();
        let other = Clone::clone(&other);
        let with = |muted, mixed| {
            us.session.set_wish(muted, Some(Replacement { track: Clone::clone(&other), mixed }));
        };
        with(false, false);
        until("the other track", || sender.track().as_ref() == Some(&other)).await;
        with(true, false);
        until("silence", || sender.track().as_ref() == Some(&microphone)).await;
        assert!(!microphone.enabled());
        assert!(other.enabled(), "it is the application's");
        us.run(MediaCommand::Flow(Direction::Inactive));
        with(false, false);
        pause(100).await;
        assert!(sender.track().as_ref() == Some(&microphone) && !microphone.enabled(), "held");
        us.run(MediaCommand::Flow(Direction::SendRecv));
        until("the other track again", || sender.track().as_ref() == Some(&other)).await;
        renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert!(sender.track().as_ref() == Some(&other));
        with(true, true);
        pause(100).await;
        assert!(sender.track().as_ref() == Some(&other), "a mix is not silenced by mute()");
        us.session.set_wish(true, None);
        until("the microphone", || sender.track().as_ref() == Some(&microphone)).await;
        assert!(!microphone.enabled());
        us.session.close();
        assert_eq!(other.ready_state(), web_sys::MediaStreamTrackState::Live);
        them.session.close();
    }

    /// A fork that answers this offer, when the caller has set its answer.
    async fn fork(caller: &Side, offer: &str, provisional: bool) -> (Side, String) {
        let fork = Side::new(Audio::Default);
        fork.run(MediaCommand::CreateAnswer { offer: offer.to_owned() });
        let answer = fork.local().await;
        set_answer(caller, &answer, provisional).await;
        (fork, answer)
    }

    async fn set_answer(side: &Side, answer: &str, provisional: bool) {
        side.run(MediaCommand::SetAnswer { answer: answer.to_owned(), provisional });
        until("the answer", || !side.done.borrow().is_empty()).await;
        assert!(side.has(&Ok(MediaValue::Applied)), "{:?}", side.done.borrow());
    }

    async fn talk(one: &Side, other: &Side) -> bool {
        until("the media path", || other.connected.get()).await;
        // A path that has just been restarted takes a while until it carries audio.
        for _ in 0..8 {
            if one.grows("bytesReceived").await && other.grows("bytesReceived").await {
                return true;
            }
        }
        false
    }

    #[test]
    async fn of_several_forks_the_first_is_heard_and_whichever_answers() {
        let caller = Side::new(Audio::Default);
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        let (first, _) = fork(&caller, &offer, true).await;
        assert!(talk(&caller, &first).await);
        let (second, _) = fork(&caller, &offer, true).await;
        assert!(talk(&caller, &first).await, "one at a time");
        // Those before it are still there, and still send.
        let (third, answer) = fork(&caller, &offer, false).await;
        assert!(talk(&caller, &third).await, "nothing is heard of the one that has answered");
        // The same description again, as after UPDATE, changes nothing.
        let (offer, again) = renegotiate(&caller, Direction::SendRecv, &third, Direction::SendRecv).await;
        assert!(offer.contains("a=sendrecv") && ice_ufrag(&again) == ice_ufrag(&answer));
        assert!(talk(&caller, &third).await);
        for side in [caller, first, second, third] {
            side.session.close();
        }
    }

    #[test]
    async fn a_fork_that_was_heard_answers_though_others_spoke_meanwhile() {
        let caller = Side::new(Audio::Default);
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        let (first, answer) = fork(&caller, &offer, true).await;
        let (second, _) = fork(&caller, &offer, true).await;
        set_answer(&caller, &answer, false).await;
        assert!(talk(&caller, &first).await);
        for side in [caller, first, second] {
            side.session.close();
        }
    }

    /// The answer to an offer of this fork.
    async fn offer_of(fork: &Side, caller: &Side) -> String {
        let (_, answer) = renegotiate(fork, Direction::SendRecv, caller, Direction::SendRecv).await;
        answer
    }

    #[test]
    async fn a_fork_renegotiates_before_it_answers_and_another_gets_a_new_offer() {
        let caller = Side::new(Audio::Default);
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        let (first, _) = fork(&caller, &offer, true).await;
        let answer = offer_of(&first, &caller).await;
        assert_eq!(line(&answer), "a=sendrecv");
        assert!(talk(&caller, &first).await);
        // The same once more: by now nothing is provisional any more.
        offer_of(&first, &caller).await;
        assert!(talk(&caller, &first).await);
        // Another one has answered the first offer, which cannot be taken any more.
        let second = Side::new(Audio::Default);
        second.run(MediaCommand::CreateAnswer { offer });
        second.local().await;
        caller.run(MediaCommand::RestartIce { direction: Direction::SendRecv });
        let offer = caller.local().await;
        second.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
        let answer = second.local().await;
        set_answer(&caller, &answer, false).await;
        assert!(talk(&caller, &second).await);
        for side in [caller, first, second] {
            side.session.close();
        }
    }

    #[test]
    async fn a_fork_that_is_not_heard_renegotiates() {
        let caller = Side::new(Audio::Default);
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        let (first, _) = fork(&caller, &offer, true).await;
        assert!(talk(&caller, &first).await);
        let (second, _) = fork(&caller, &offer, true).await;
        offer_of(&second, &caller).await;
        assert!(talk(&caller, &second).await);
        for side in [caller, first, second] {
            side.session.close();
        }
    }

    #[test]
    async fn a_fork_that_is_gone_makes_way_for_the_early_media_of_the_next() {
        let caller = Side::new(Audio::Default);
        caller.run(MediaCommand::CreateOffer);
        let offer = caller.local().await;
        let (first, _) = fork(&caller, &offer, true).await;
        assert!(talk(&caller, &first).await);
        first.session.close();
        until("its end to be noticed", || !caller.connected.get()).await;
        let (second, answer) = fork(&caller, &offer, true).await;
        assert!(talk(&caller, &second).await);
        set_answer(&caller, &answer, false).await;
        assert!(talk(&caller, &second).await);
        for side in [caller, second] {
            side.session.close();
        }
    }

    /// Stands in for `getUserMedia` until it is dropped.
    struct FakeDevices(js_sys::Function);

    impl FakeDevices {
        /// `answer`: an expression of JavaScript, in which `native` is the browser's own function.
        fn new(answer: &str) -> Self {
            let body = format!(
                "const devices = navigator.mediaDevices;
                const native = devices.getUserMedia.bind(devices);
                devices.getUserMedia = (constraints) => {answer};
                return () => {{ delete devices.getUserMedia; }};"
            );
            let restore = js_sys::Function::new_no_args(&body).call0(&JsValue::UNDEFINED).unwrap();
            Self(restore.unchecked_into())
        }
    }

    impl Drop for FakeDevices {
        fn drop(&mut self) {
            self.0.call0(&JsValue::UNDEFINED).unwrap();
        }
    }

    #[test]
    async fn a_microphone_that_cannot_be_had_is_told_before_anything_is_dialled() {
        for (name, error) in
            [("NotAllowedError", MediaError::Denied), ("NotFoundError", MediaError::Unavailable)]
        {
            let _devices =
                FakeDevices::new(&format!("Promise.reject(new DOMException('refused', '{name}'))"));
            let side = Side::new(Audio::Default);
            side.run(MediaCommand::OpenMicrophone);
            until("the refusal", || side.has(&Err(error.clone()))).await;
            assert!(side.session.local_stream().is_none());
            side.session.close();
        }
    }

    fn evaluate(body: &str) -> JsValue {
        Function::new_no_args(body).call0(&JsValue::UNDEFINED).unwrap()
    }

    async fn awaited(body: &str) -> JsValue {
        JsFuture::from(promised(Ok(evaluate(body)))).await.unwrap()
    }

    /// A side with these ICE servers.
    fn with_servers(setting: &str, policy: &str) -> Side {
        let mut side = Side::new(Audio::Default);
        let (reports, up) = (side.done.clone(), side.connected.clone());
        let setting = evaluate(setting);
        let mut setup = MediaSetup {
            servers: Some(IceServers {
                setting: Box::new(move || setting.clone()),
                check: |list| match Array::is_array(list) {
                    true => Ok(()),
                    false => Err(Error::invalid_config("iceServers", "no list")),
                },
            }),
            ..MediaSetup::default()
        };
        setup.connection.ice_transport_policy = policy.into();
        side.session = MediaSession::new(
            setup,
            Box::new(move |report| match report {
                MediaReport::Done(_, result) => reports.borrow_mut().push(result),
                MediaReport::State(state) => up.set(state == MediaState::Connected),
                MediaReport::Track(_) | MediaReport::PlaybackBlocked(_) | MediaReport::Microphone(_) => {}
                MediaReport::Servers(problem) => {
                    drop(js_sys::Reflect::set(&js_sys::global(), &"problem".into(), &problem.into()))
                }
            }),
        );
        side
    }

    #[test]
    async fn ice_servers_are_asked_for_before_each_restart() {
        // Nothing answers at these addresses, so that gathering lasts: each job is hurried before it has a candidate.
        let us = with_servers(
            "globalThis.asked = 0; globalThis.problem = '';
            return async () => {
                if (++asked === 3) throw new Error('no credentials today');
                return [{ urls: `stun:127.0.0.1:${9000 + asked}` }];
            };",
            "all",
        );
        let them = Side::new(Audio::Default);
        let hurried = async |command: MediaCommand| {
            us.run(command);
            us.session.run(MediaSeq(1), MediaCommand::TakeLocal);
            us.local().await
        };
        let offer = hurried(MediaCommand::CreateOffer).await;
        them.run(MediaCommand::CreateAnswer { offer });
        set_answer(&us, &them.local().await, false).await;
        let servers = || {
            let pc = us.session.pc().ok().unwrap();
            let list: Array = get(&pc.in_use(), "iceServers").unchecked_into();
            let urls: Array = get(&list.get(0), "urls").unchecked_into();
            let url = JsValue::from(urls);
            url.as_string().or_else(|| url.unchecked_ref::<Array>().get(0).as_string()).unwrap()
        };
        assert_eq!(servers(), "stun:127.0.0.1:9001");
        hurried(MediaCommand::Reoffer { direction: Direction::SendRecv }).await;
        us.run(MediaCommand::Rollback);
        assert_eq!(evaluate("return asked").as_f64(), Some(1.0), "nothing begins again");
        for (url, problem) in [("stun:127.0.0.1:9002", ""), ("stun:127.0.0.1:9002", "no credentials today")] {
            let offer = hurried(MediaCommand::RestartIce { direction: Direction::SendRecv }).await;
            them.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
            set_answer(&us, &them.local().await, false).await;
            assert_eq!(servers(), url);
            assert_eq!(evaluate("return problem").as_string().as_deref(), Some(problem));
        }
        assert!(talk(&us, &them).await);
        us.session.close();
        them.session.close();
    }

    /// Chromium says then that all candidates of before are in, when there is none yet of the new ones.
    #[test]
    async fn ice_begins_again_before_all_candidates_are_in() {
        let us = with_servers("return [{ urls: 'stun:127.0.0.1:9000' }]", "all");
        us.run(MediaCommand::CreateOffer);
        us.session.run(MediaSeq(1), MediaCommand::TakeLocal);
        let mut former = us.local().await;
        for _ in 0..5 {
            us.run(MediaCommand::RestartIce { direction: Direction::SendRecv });
            let offer = us.local().await;
            assert!(offer.contains("a=candidate:") && ice_ufrag(&offer) != ice_ufrag(&former));
            former = offer;
        }
        us.session.close();
    }

    #[test]
    async fn a_call_does_not_begin_without_the_ice_servers_and_the_reason_is_told() {
        for (setting, problem) in [
            ("return () => { throw new Error('signed out'); }", "signed out"),
            ("return () => Promise.reject('signed out')", "signed out"),
            ("return async () => 'stun:x'", "iceServers: no list"),
            ("return () => new Promise(() => {})", "the function has not answered within 10 s"),
        ] {
            let side = with_servers(setting, "all");
            side.run(MediaCommand::CreateOffer);
            until(problem, || side.has(&Err(MediaError::Servers(problem.to_owned())))).await;
            side.session.close();
        }
    }

    #[test]
    async fn a_description_without_candidates_is_not_given_out() {
        let side = with_servers("return []", "relay");
        side.run(MediaCommand::CreateOffer);
        side.session.run(MediaSeq(1), MediaCommand::TakeLocal);
        until("its failure", || side.has(&Err(MediaError::NoCandidate))).await;
        assert!(!side.done.borrow().iter().any(|done| matches!(done, Ok(MediaValue::Local(_)))));
        side.session.close();
    }

    /// Chromium takes no description any more on a connection on which an answer was refused while it was applied.
    #[test]
    async fn after_an_answer_that_the_browser_refuses_the_call_is_offered_anew() {
        let (us, them) = talking().await;
        us.run(MediaCommand::Reoffer { direction: Direction::SendOnly });
        let offer = us.local().await;
        them.run(MediaCommand::Renegotiate { offer, direction: Direction::SendRecv });
        let answer = them.local().await;
        let swapped = match answer.contains("a=setup:active") {
            true => answer.replace("a=setup:active", "a=setup:passive"),
            false => answer.replace("a=setup:passive", "a=setup:active"),
        };
        us.run(MediaCommand::SetAnswer { answer: swapped, provisional: false });
        let mut words = String::new();
        until("its refusal", || match us.done.borrow().first() {
            Some(Err(MediaError::Refused(said))) => {
                said.clone_into(&mut words);
                true
            }
            _ => false,
        })
        .await;
        assert!(words.contains("role"), "{words}");
        us.run(MediaCommand::Rollback);
        pause(200).await;
        assert!(them.connected.get() && us.grows("bytesSent").await, "the call goes on meanwhile");
        let (offer, _) = renegotiate(&us, Direction::SendRecv, &them, Direction::SendRecv).await;
        assert_eq!(line(&offer), "a=sendrecv");
        assert!(talk(&us, &them).await);
        // And theirs is taken too.
        renegotiate(&them, Direction::SendRecv, &us, Direction::SendRecv).await;
        assert!(talk(&us, &them).await);
        us.session.close();
        them.session.close();
    }

    /// A browser that offers video, before the audio or behind it: here it is a call, and there is no line for more.
    #[test]
    async fn video_is_refused_and_the_browser_that_offers_it_agrees() {
        for kinds in ["'video', 'audio'", "'audio', 'video', 'audio'"] {
            awaited(&format!(
                "return (async () => {{
                    const pc = globalThis.offerer = new RTCPeerConnection();
                    for (const kind of [{kinds}]) pc.addTransceiver(kind);
                    pc.createDataChannel('data');
                    await pc.setLocalDescription();
                    while (pc.iceGatheringState !== 'complete') await new Promise((done) => setTimeout(done, 10));
                }})()"
            ))
            .await;
            let offer = evaluate("return offerer.localDescription.sdp").as_string().unwrap();
            let judged = sdp::judge(&offer, false, &Agreed::default()).unwrap();
            let us = Side::new(Audio::Default);
            us.run(MediaCommand::CreateAnswer { offer: judged.sdp });
            let answer = sdp::with_lines(&us.local().await, &judged.lines);
            let lines = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
            assert_eq!(lines(&answer), lines(&offer), "{answer}");
            let own = us.session.pc().ok().unwrap();
            assert_eq!(own.lines(), ["audio sendrecv"], "nothing else is there");
            js_sys::Reflect::set(&js_sys::global(), &"answer".into(), &answer.into()).unwrap();
            awaited("return offerer.setRemoteDescription({ type: 'answer', sdp: answer })").await;
            let agreed = evaluate(
                "return offerer.getTransceivers().filter((line) => !['inactive', 'stopped', null].includes(line.currentDirection))
                    .map((line) => line.receiver.track.kind).join()",
            );
            assert_eq!(agreed.as_string().as_deref(), Some("audio"));
            until("the media path", || us.connected.get()).await;
            evaluate("offerer.close()");
            us.session.close();
        }
    }

    #[test]
    async fn a_microphone_that_is_granted_after_the_end_is_off_at_once() {
        let _devices = FakeDevices::new(
            "native(constraints).then((stream) => new Promise((resolve) => {
                globalThis.late = stream.getAudioTracks()[0];
                globalThis.grant = () => resolve(stream);
            }))",
        );
        let side = Side::new(Audio::Default);
        side.run(MediaCommand::OpenMicrophone);
        let global = js_sys::global();
        until("the question", || object::get(&global, "grant").is_function()).await;
        side.session.close();
        let track: web_sys::MediaStreamTrack = object::get(&global, "late").unchecked_into();
        assert_eq!(track.ready_state(), web_sys::MediaStreamTrackState::Live);
        let grant: js_sys::Function = object::get(&global, "grant").unchecked_into();
        grant.call0(&JsValue::UNDEFINED).unwrap();
        until("it to be off", || track.ready_state() == web_sys::MediaStreamTrackState::Ended).await;
        assert!(side.done.borrow().is_empty() && side.session.local_stream().is_none());
    }
}
