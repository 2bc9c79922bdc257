//! The media half of one call: does the jobs that the phone gives, and reports.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Poll, Waker};
use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{MediaStream, RtcPeerConnectionState, RtcSdpType, RtcTrackEvent};

use super::audio_element::{Playback, RemoteAudio};
use super::dtmf::SendingDtmf;
use super::media_devices::{Audio, Microphone, RequestedMicrophone};
use super::peer_connection::{Configuration, PeerConnection};
use super::stats::{CallStats, StatsReader};
use crate::phone::{MediaCommand, MediaError, MediaSeq, MediaState, MediaValue};

/// What a session is made with.
#[derive(Debug, Clone, Default)]
pub(crate) struct MediaSetup {
    /// The connection.
    pub(crate) connection: Configuration,
    /// The microphone.
    pub(crate) audio: Audio,
    /// The loudspeaker.
    pub(crate) playback: Playback,
    /// Whether the call was muted before its microphone was open.
    pub(crate) muted: bool,
}

/// What a session reports.
pub(crate) enum MediaReport {
    /// The outcome of a job.
    Done(MediaSeq, Result<MediaValue, MediaError>),
    /// The media path has changed.
    State(MediaState),
    /// The browser does not play the remote audio before a user gesture.
    PlaybackBlocked,
}

/// Why a job stops.
enum Stop {
    /// It failed.
    Failed(MediaError),
    /// The session was closed meanwhile; nobody waits for a report.
    Closed,
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
    waiting: RefCell<Vec<Waker>>,
    parts: RefCell<Parts>,
}

#[derive(Default)]
struct Parts {
    connection: Option<PeerConnection>,
    microphone: Option<Microphone>,
    speaker: Option<RemoteAudio>,
    remote: Option<MediaStream>,
    dtmf: Option<SendingDtmf>,
    muted: bool,
    stats: StatsReader,
    /// The job whose candidates are being gathered.
    gathering: Option<MediaSeq>,
    /// A useful candidate has come.
    useful: bool,
    /// The job that shall not wait for candidates.
    hurried: Option<MediaSeq>,
}

impl MediaSession {
    /// A session without a connection or a microphone: the first job opens them. `report` is never called from
    /// within a method of this type, except for [`MediaCommand::TakeLocal`].
    pub(crate) fn new(setup: MediaSetup, report: impl Fn(MediaReport) + 'static) -> Rc<Self> {
        let muted = setup.muted;
        Rc::new(Self {
            setup,
            report: Box::new(report),
            closed: Cell::new(false),
            waiting: RefCell::default(),
            parts: RefCell::new(Parts { muted, ..Parts::default() }),
        })
    }

    /// Does a job.
    pub(crate) fn run(self: &Rc<Self>, seq: MediaSeq, command: MediaCommand) {
        match command {
            MediaCommand::Close => self.close(),
            MediaCommand::TakeLocal => self.hurry(seq),
            command => spawn_local(self.clone().job(seq, command)),
        }
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

    /// Sends silence, or not.
    pub(crate) fn set_muted(&self, muted: bool) {
        let mut parts = self.parts.borrow_mut();
        parts.muted = muted;
        if let Some(microphone) = &parts.microphone {
            microphone.set_muted(muted);
        }
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
    pub(crate) fn is_connected(&self) -> bool {
        let parts = self.parts.borrow();
        parts.connection.as_ref().map(PeerConnection::state) == Some(RtcPeerConnectionState::Connected)
    }

    /// Figures since the last call of this.
    ///
    /// # Errors
    /// When the session is closed.
    pub(crate) async fn stats(self: Rc<Self>) -> Result<CallStats, JsValue> {
        let report = self.parts.borrow().connection.as_ref().map(PeerConnection::stats);
        let report = self.unless_closed(report.ok_or(JsValue::NULL)?).await.map_err(|_| JsValue::NULL)??;
        Ok(self.parts.borrow_mut().stats.read(&report))
    }

    /// Plays tones into the audio (RFC 4733).
    ///
    /// # Errors
    /// When there is no connection, or the other side takes no telephone-events.
    pub(crate) fn send_dtmf(
        &self,
        tones: &str,
        duration: u32,
        gap: u32,
        done: impl Fn() + 'static,
    ) -> Result<(), JsValue> {
        let sender = self.parts.borrow().connection.as_ref().and_then(PeerConnection::sender);
        let sending = SendingDtmf::start(&sender.ok_or(JsValue::NULL)?, tones, duration, gap, done)?;
        self.parts.borrow_mut().dtmf = Some(sending);
        Ok(())
    }

    async fn job(self: Rc<Self>, seq: MediaSeq, command: MediaCommand) {
        let outcome = match command {
            MediaCommand::CreateOffer => self.first_offer().await.map(|()| None),
            MediaCommand::CreateAnswer { offer } => self.first_answer(&offer).await.map(|()| None),
            MediaCommand::Reoffer => self.reoffer().await.map(|()| None),
            MediaCommand::Renegotiate { offer } => self.reanswer(&offer).await.map(|()| None),
            MediaCommand::SetAnswer { answer, provisional } => {
                self.apply(&answer, provisional).await.map(|()| Some(MediaValue::Applied))
            }
            MediaCommand::Rollback => return self.rollback().await,
            MediaCommand::TakeLocal | MediaCommand::Close => return,
        };
        match outcome {
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

    async fn first_offer(self: &Rc<Self>) -> Result<(), Stop> {
        // The user may take long over the microphone prompt, and the device takes its time to start: everything
        // that needs no microphone is done meanwhile.
        let microphone = self.request_microphone()?;
        self.connect()?;
        let send = microphone.is_some();
        self.with(|pc| pc.add_audio(send))?.map_err(unavailable)?;
        let offer = self.with(PeerConnection::create_offer)?;
        if let Some(microphone) = microphone {
            self.attach(microphone.open().await?).await?;
        }
        let offer = self.described_by(offer).await?;
        let set = self.with(|pc| pc.set_local(offer))?;
        self.described_by(set).await?;
        Ok(())
    }

    async fn first_answer(self: &Rc<Self>, offer: &str) -> Result<(), Stop> {
        let microphone = self.request_microphone()?;
        self.connect()?;
        let set = self.with(|pc| pc.set_remote(RtcSdpType::Offer, offer))?;
        self.described_by(set).await?;
        if let Some(microphone) = microphone {
            self.attach(microphone.open().await?).await?;
        }
        self.answer().await
    }

    async fn reoffer(self: &Rc<Self>) -> Result<(), Stop> {
        let offer = self.with(PeerConnection::create_offer)?;
        let offer = self.described_by(offer).await?;
        let set = self.with(|pc| pc.set_local(offer))?;
        self.described_by(set).await?;
        Ok(())
    }

    async fn reanswer(self: &Rc<Self>, offer: &str) -> Result<(), Stop> {
        let set = self.with(|pc| pc.set_remote(RtcSdpType::Offer, offer))?;
        self.described_by(set).await?;
        self.answer().await
    }

    async fn answer(self: &Rc<Self>) -> Result<(), Stop> {
        let answer = self.with(PeerConnection::create_answer)?;
        let answer = self.described_by(answer).await?;
        let set = self.with(|pc| pc.set_local(answer))?;
        self.described_by(set).await?;
        Ok(())
    }

    async fn apply(self: &Rc<Self>, answer: &str, provisional: bool) -> Result<(), Stop> {
        let kind = if provisional { RtcSdpType::Pranswer } else { RtcSdpType::Answer };
        let set = self.with(|pc| pc.set_remote(kind, answer))?;
        self.described_by(set).await?;
        Ok(())
    }

    async fn rollback(self: &Rc<Self>) {
        if let Ok(Some(rollback)) = self.with(PeerConnection::rollback) {
            // Nobody is told: a connection that cannot go back is found out by the next job.
            let _done = self.described_by(rollback).await;
        }
    }

    // ---- their parts

    fn request_microphone(&self) -> Result<Option<RequestedMicrophone>, MediaError> {
        match &self.setup.audio {
            Audio::Off => Ok(None),
            audio => RequestedMicrophone::new(audio).map(Some),
        }
    }

    /// Takes the microphone and sends it. Once closed it is dropped instead, which turns it off.
    async fn attach(self: &Rc<Self>, microphone: Microphone) -> Result<(), Stop> {
        if self.closed.get() {
            return Err(Stop::Closed);
        }
        let track = microphone.track().ok_or(MediaError::Unavailable)?;
        let stream = microphone.stream();
        let sending = {
            let mut parts = self.parts.borrow_mut();
            microphone.set_muted(parts.muted);
            parts.microphone = Some(microphone);
            parts.connection.as_ref().map(|pc| pc.send(&track, &stream)).ok_or(Stop::Closed)?
        };
        if let Some(sending) = sending.map_err(unavailable)? {
            self.unless_closed(sending).await?.map_err(unavailable)?;
        }
        Ok(())
    }

    fn connect(self: &Rc<Self>) -> Result<(), Stop> {
        if self.closed.get() {
            return Err(Stop::Closed);
        }
        let mut pc = PeerConnection::new(&self.setup.connection).map_err(unavailable)?;
        let weak = Rc::downgrade(self);
        pc.on("icegatheringstatechange", move |_| {
            if let Some(session) = weak.upgrade() {
                session.gathered();
            }
        });
        let weak = Rc::downgrade(self);
        pc.on_useful_candidate(&self.setup.connection, move || {
            if let Some(session) = weak.upgrade() {
                session.candidate_came();
            }
        });
        let weak = Rc::downgrade(self);
        pc.on("connectionstatechange", move |_| {
            if let Some(session) = weak.upgrade() {
                session.state_changed();
            }
        });
        let weak = Rc::downgrade(self);
        pc.on("track", move |event| {
            if let Some(session) = weak.upgrade() {
                session.track_came(event.unchecked_ref());
            }
        });
        self.parts.borrow_mut().connection = Some(pc);
        Ok(())
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

    /// Reports the local description, if a job waits for it and it is complete enough.
    fn gathered(&self) {
        let ready = {
            let mut parts = self.parts.borrow_mut();
            let Some(seq) = parts.gathering else { return };
            let hurried = parts.hurried == Some(seq);
            let Some(sdp) = parts
                .connection
                .as_ref()
                .filter(|pc| hurried || pc.gathered())
                .and_then(PeerConnection::local_sdp)
            else {
                return;
            };
            parts.gathering = None;
            (seq, sdp)
        };
        self.done(ready.0, Ok(MediaValue::Local(ready.1)));
    }

    fn state_changed(&self) {
        let state = self.parts.borrow().connection.as_ref().map(PeerConnection::state);
        let state = match state {
            Some(RtcPeerConnectionState::Connected) => MediaState::Connected,
            Some(RtcPeerConnectionState::Disconnected) => MediaState::Disconnected,
            Some(RtcPeerConnectionState::Failed) => MediaState::Failed,
            _ => return,
        };
        (self.report)(MediaReport::State(state));
    }

    fn track_came(self: &Rc<Self>, event: &RtcTrackEvent) {
        let stream = event.streams().get(0).dyn_into::<MediaStream>().ok().or_else(|| {
            let stream = MediaStream::new().ok()?;
            stream.add_track(&event.track());
            Some(stream)
        });
        let Some(stream) = stream else { return };
        // The old one would take its stream, perhaps this one, off the element.
        let old = self.parts.borrow_mut().speaker.take();
        drop(old);
        let weak = Rc::downgrade(self);
        let speaker = RemoteAudio::play(&self.setup.playback, &stream, move || {
            if let Some(session) = weak.upgrade() {
                (session.report)(MediaReport::PlaybackBlocked);
            }
        });
        let mut parts = self.parts.borrow_mut();
        parts.speaker = speaker;
        parts.remote = Some(stream);
    }

    fn with<T>(&self, f: impl FnOnce(&PeerConnection) -> T) -> Result<T, Stop> {
        self.parts.borrow().connection.as_ref().map(f).ok_or(Stop::Closed)
    }

    /// Waits for an operation on descriptions.
    async fn described_by(&self, operation: JsFuture) -> Result<JsValue, Stop> {
        self.unless_closed(operation).await?.map_err(|_| Stop::Failed(MediaError::Description))
    }

    /// Waits for the operation or for [`MediaSession::close`]: a closed connection leaves the promises of its
    /// operations pending for ever (WebRTC 1.0, section 4.4.1.2), and with them would stay all that waits.
    async fn unless_closed<F: Future>(&self, operation: F) -> Result<F::Output, Stop> {
        let mut operation = pin!(operation);
        poll_fn(|context| {
            if self.closed.get() {
                return Poll::Ready(Err(Stop::Closed));
            }
            let polled = operation.as_mut().poll(context);
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

fn unavailable(_: JsValue) -> Stop {
    Stop::Failed(MediaError::Unavailable)
}
