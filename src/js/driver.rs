//! Owns the phone and what it needs of the browser, and turns the crank.
//!
//! **No borrow is held while JavaScript runs.** What listeners, callbacks and getters of the application do while
//! the loop in [`Driver::drain`] delivers events is carried out at once; what follows from it is left to that
//! outer loop, so events never overtake each other.

use core::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use wasm_bindgen::JsValue;

use super::call::{CallEntry, Wait};
use super::config::{self, Settings};
use super::dialing::Dialing;
use super::event::{self, Listeners};
use super::originated_call::Originated;
use super::promise::{Settler, settle_all};
use super::proxy::Asked;
use super::subscription::SubscriptionEntry;
use super::{error, fatal};
use crate::browser::clock::{Clock, Timer};
use crate::browser::entropy::BrowserEntropy;
use crate::browser::listener::Listener;
use crate::browser::lock::WebLock;
use crate::browser::media_devices::Audio;
use crate::browser::media_session::{IceServers, MediaReport, MediaSession, MediaSetup, Replacement};
use crate::browser::object::{object, set};
use crate::browser::page;
use crate::browser::peer_connection::Configuration;
use crate::browser::task::{promised, then};
use crate::browser::websocket::{Socket, SocketEvent};
use crate::dial::strategy::StrategyName;
use crate::error::{Error, ErrorCode};
use crate::phone::{
    CallId, CallState, ConnectionState, CredentialsId, DialStage, EndReason, Event, Hint, Input, Job,
    LocalNetwork, LockId, LogLevel, MediaCommand, MediaSeq, PageKept, Phone, ProxyId, RegistrationState,
    RequestId, SocketId, TonesReport, TrackId, Transmit, Wish,
};
use crate::time::Instant;
use crate::url::is_loopback_url;

/// Everything behind one `DialStrategy`.
pub(crate) struct Driver {
    me: Weak<Self>,
    clock: Clock,
    timer: Timer,
    pub(super) state: RefCell<State>,
    sessions: RefCell<Vec<(CallId, Rc<MediaSession>)>>,
    sockets: RefCell<Vec<(SocketId, Rc<Socket>)>>,
    locks: RefCell<Vec<(LockId, WebLock)>>,
    pub(crate) listeners: Listeners,
    draining: Cell<bool>,
    /// A panic has happened; the state may be half changed and borrowed for good.
    poisoned: Cell<bool>,
    released: Cell<bool>,
}

/// What is borrowed for a moment at a time.
pub(crate) struct State {
    pub(crate) phone: Option<Phone>,
    pub(crate) settings: Rc<Settings>,
    /// What is asked of the call proxy and not answered yet.
    pub(super) asked: Vec<(ProxyId, Asked)>,
    /// The headers that the application last gave for the proxy, for requests that cannot wait. In memory only.
    pub(super) last_headers: Option<Vec<(String, String)>>,
    page_hide: Option<Listener>,
    hints: Vec<Listener>,
    /// Nobody needs this driver any more once its last request is answered.
    pub(super) over: bool,
    pub(super) originated: Option<Originated>,
    /// What was last given out to be kept for another page.
    record: Option<String>,
    /// The phone's revision then.
    recorded: Option<u32>,
    calls: Vec<Rc<CallEntry>>,
    /// The application's tracks that calls send.
    tracks: Vec<(TrackId, Replacement)>,
    last_track: u32,
    pub(super) subscriptions: Vec<Rc<SubscriptionEntry>>,
    /// MESSAGE and OPTIONS that are not answered yet.
    pub(super) requests: Vec<(RequestId, Settler)>,
    pub(crate) connects: Vec<Settler>,
    pub(crate) disconnects: Vec<Settler>,
    pub(crate) dial: Option<Dialing>,
    pub(crate) error: JsValue,
    pub(crate) last_result: JsValue,
    pub(crate) connection: ConnectionState,
    pub(crate) registration: RegistrationState,
    entropy: Option<BrowserEntropy>,
    /// After `free()` the driver keeps itself alive until it has said goodbye; that of a call without a phone, until
    /// the call is over.
    pub(super) keep: Option<Rc<Driver>>,
}

impl State {
    pub(crate) fn record(&self) -> JsValue {
        self.record.as_deref().map_or(JsValue::NULL, JsValue::from)
    }

    #[cfg(test)]
    pub(super) fn watches_page(&self) -> bool {
        self.page_hide.is_some()
    }
}

impl Driver {
    /// A driver without a phone: that comes with a complete configuration.
    ///
    /// # Errors
    /// Where there is no clock or no source of randomness.
    pub(crate) fn new(settings: Settings) -> Result<Rc<Self>, Error> {
        let missing =
            || error::new(ErrorCode::InvalidState, "This needs a clock and randomness of the browser");
        let window = page::scope();
        let clock = Clock::new(&window).ok_or_else(missing)?;
        let entropy = BrowserEntropy::new(&window).ok_or_else(missing)?;
        let driver = Rc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            clock,
            timer: Timer::new(&window, {
                let me = me.clone();
                Box::new(move |_| {
                    if let Some(driver) = Self::alive(&me) {
                        driver.on_timer();
                    }
                })
            }),
            state: RefCell::new(State {
                phone: None,
                settings: Rc::new(settings),
                asked: Vec::new(),
                last_headers: None,
                page_hide: None,
                hints: Vec::new(),
                over: false,
                originated: None,
                record: None,
                recorded: None,
                calls: Vec::new(),
                tracks: Vec::new(),
                last_track: 0,
                subscriptions: Vec::new(),
                requests: Vec::new(),
                connects: Vec::new(),
                disconnects: Vec::new(),
                dial: None,
                error: JsValue::NULL,
                last_result: JsValue::NULL,
                connection: ConnectionState::Disconnected,
                registration: RegistrationState::Unregistered,
                entropy: Some(entropy),
                keep: None,
            }),
            sessions: RefCell::default(),
            sockets: RefCell::default(),
            locks: RefCell::default(),
            listeners: Listeners::default(),
            draining: Cell::new(false),
            poisoned: Cell::new(false),
            released: Cell::new(false),
        });
        fatal::watch(&driver);
        driver.apply_settings();
        Ok(driver)
    }

    // ---- access

    /// What callbacks of the browser need: a driver that is there and has not failed.
    pub(crate) fn alive(me: &Weak<Self>) -> Option<Rc<Self>> {
        me.upgrade().filter(|driver| !driver.poisoned.get())
    }

    /// As a panic leaves it.
    #[cfg(test)]
    pub(crate) fn stay_borrowed(&self) {
        core::mem::forget(self.state.borrow_mut());
    }

    /// Borrows the state for the time of `f`, which must not call into JavaScript.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.borrow_mut())
    }

    /// Looks at the state; `None` when a panic has left it borrowed.
    pub(crate) fn peek<T>(&self, f: impl FnOnce(&State) -> T) -> Option<T> {
        self.state.try_borrow().ok().map(|state| f(&state))
    }

    /// The same for the phone; `None` while it is not configured.
    pub(crate) fn with_phone<T>(&self, f: impl FnOnce(&mut Phone, Instant) -> T) -> Option<T> {
        let now = self.clock.now();
        self.with(|state| state.phone.as_mut().map(|phone| f(phone, now)))
    }

    /// The settings, as they are now.
    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.with(|state| state.settings.clone())
    }

    pub(crate) const fn weak(&self) -> &Weak<Self> {
        &self.me
    }

    /// The media of a call.
    pub(crate) fn session(&self, call: CallId) -> Option<Rc<MediaSession>> {
        let sessions = self.sessions.try_borrow().ok()?;
        sessions.iter().find(|(id, _)| *id == call).map(|(_, session)| session.clone())
    }

    /// The calls that have not ended, oldest first.
    pub(crate) fn calls(&self) -> Vec<Rc<CallEntry>> {
        let mut calls = self.peek(|state| state.calls.clone()).unwrap_or_default();
        calls.retain(|call| !call.has_ended());
        calls
    }

    fn call(&self, id: CallId) -> Option<Rc<CallEntry>> {
        self.with(|state| state.calls.iter().find(|call| call.id == id).cloned())
    }

    /// A call that the phone has just made.
    pub(crate) fn adopt(&self, id: CallId, strategy: Option<StrategyName>) -> Option<Rc<CallEntry>> {
        self.with(|state| adopt(&mut state.calls, state.phone.as_ref()?, id, strategy))
    }

    /// # Errors
    /// `fatal` after a panic.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if self.poisoned.get() { Err(fatal_error()) } else { Ok(()) }
    }

    /// Hands the settings to the phone, which is made once they are complete.
    pub(crate) fn apply_settings(&self) {
        self.with(|state| {
            let Some(config) = state.settings.phone_config() else { return };
            match (&mut state.phone, state.entropy.take()) {
                (Some(phone), _) => phone.configure(config),
                (None, Some(entropy)) => state.phone = Some(Phone::new(config, Box::new(entropy))),
                (None, None) => {}
            }
        });
    }

    // ---- the loop

    /// Hands in what happened outside, and does what follows.
    pub(super) fn feed(&self, input: Input) {
        let (now, slept) = self.clock.read();
        self.with(|state| {
            let Some(phone) = &mut state.phone else { return };
            if slept {
                phone.handle_input(now, Input::Hint(Hint::Woken));
            }
            phone.handle_input(now, input);
        });
        self.drain();
    }

    /// Does what the phone wants done, until it wants nothing more. Within itself it does nothing: the outer loop
    /// takes up what has come.
    pub(crate) fn drain(&self) {
        if self.draining.replace(true) {
            return;
        }
        loop {
            // Before anything is done: what follows from that may let the phone forget a call.
            let events = self.collect();
            let worked = self.work();
            self.arm_timer();
            if events.is_empty() && !worked && !self.keep_record() {
                break;
            }
            for event in events {
                self.dispatch(event);
            }
        }
        self.draining.set(false);
        self.arm_timer();
        self.watch_page();
        self.watch_hints();
        self.release_when_idle();
    }

    /// Sends and does what the phone wants sent and done. Nothing that happens on this page may delay an ACK, so what a job
    /// gives to be sent goes out before the next job. `false`: there was nothing.
    fn work(&self) -> bool {
        let mut worked = false;
        loop {
            while let Some(transmit) = self.poll(Phone::poll_transmit) {
                self.transmit(transmit);
                worked = true;
            }
            let Some(job) = self.poll(Phone::poll_job) else { return worked };
            self.start(job);
            worked = true;
        }
    }

    fn poll<T>(&self, next: impl Fn(&mut Phone) -> Option<T>) -> Option<T> {
        self.with(|state| state.phone.as_mut().and_then(next))
    }

    fn transmit(&self, transmit: Transmit) {
        match transmit {
            Transmit::OpenSocket { socket, url } => self.open_socket(socket, &url),
            Transmit::Send { socket, text } => self.send(socket, &text),
            Transmit::CloseSocket(socket) => self.close_socket(socket),
        }
    }

    fn start(&self, job: Job) {
        match job {
            Job::Media { call, seq, command } => self.media(call, seq, command),
            Job::NeedCredentials { id, realm } => self.ask_credentials(id, realm),
            Job::Proxy { id, command, keepalive } => self.ask_proxy(id, command, keepalive),
            Job::AbortProxy(id) => {
                self.answered(id);
            }
            Job::Lock { id, name } => self.lock(id, &name),
            Job::Unlock(id) => {
                let released = take_first(&mut self.locks.borrow_mut(), |(lock, _)| *lock == id);
                drop(released);
            }
            Job::Tones { call, tones, duration, gap } => self.send_tones(call, &tones, duration, gap),
            Job::Statistics(call) => {
                if let Some(call) = self.call(call).filter(|call| call.listeners.has("stats")) {
                    self.emit_stats(&call);
                    self.count_stats(&call);
                }
            }
        }
    }

    /// The events that are due, and what the phone knows of its calls.
    fn collect(&self) -> Vec<Event> {
        self.with(|state| {
            let Some(phone) = state.phone.as_mut() else { return Vec::new() };
            let mut events = Vec::new();
            while let Some(event) = phone.poll_event() {
                if let Event::CallState(id, _) | Event::Incoming(id) = &event {
                    adopt(&mut state.calls, phone, *id, None);
                }
                events.push(event);
            }
            // Known before the events that tell of it, so that they find it.
            for call in &state.calls {
                if let Some(info) = phone.call(call.id) {
                    call.info.replace(info);
                }
            }
            events
        })
    }

    /// Gives out what is to be kept of the calls, if that is new.
    fn keep_record(&self) -> bool {
        let new = self.with(|state| {
            let phone = state.phone.as_ref().filter(|_| state.settings.resume);
            let revision = phone.map(Phone::revision);
            if core::mem::replace(&mut state.recorded, revision) == revision {
                return None;
            }
            let record = phone.and_then(|phone| {
                phone.record(&|id| {
                    let call = state.calls.iter().find(|call| call.id == id);
                    call.map(|call| call.note()).unwrap_or_default()
                })
            });
            if record == state.record {
                return None;
            }
            state.record.clone_from(&record);
            Some(record.map_or(JsValue::NULL, JsValue::from))
        });
        let Some(record) = new else { return false };
        self.listeners.emit("record", &object!([("record", record)]));
        true
    }

    fn on_timer(&self) {
        self.timer.fired();
        self.feed(Input::Timer);
    }

    /// Sets the timer to the phone's deadline.
    pub(crate) fn arm_timer(&self) {
        let due = self.with(|state| state.phone.as_ref().and_then(Phone::poll_timeout).map(|(at, _)| at));
        self.timer.set(&self.clock, due);
    }

    // ---- the wire

    fn open_socket(&self, id: SocketId, url: &str) {
        let me = self.me.clone();
        let opened = Cell::new(false);
        let loopback = is_loopback_url(url);
        let report = move |event| {
            let Some(driver) = Self::alive(&me) else { return };
            match event {
                SocketEvent::Opened => {
                    opened.set(true);
                    driver.feed(Input::SocketOpened(id));
                }
                SocketEvent::Data(bytes) => driver.feed(Input::SocketData(id, bytes)),
                SocketEvent::Closed => {
                    driver.close_socket(id);
                    if opened.get() {
                        driver.feed(Input::SocketClosed(id));
                    } else {
                        driver.look_at_local_network(loopback, Some(id));
                    }
                }
            }
        };
        self.look_at_local_network(loopback, None);
        match Socket::open(url, Rc::new(report)) {
            Ok(socket) => self.sockets.borrow_mut().push((id, Rc::new(socket))),
            // A page served over https may not open ws:, for one.
            Err(_) => self.feed(Input::SocketClosed(id)),
        }
    }

    fn send(&self, id: SocketId, text: &str) {
        let sockets = self.sockets.borrow();
        let socket = sockets.iter().find(|(socket, _)| *socket == id).map(|(_, socket)| socket.clone());
        drop(sockets);
        if socket.is_some_and(|socket| socket.send(text).is_err()) {
            self.close_socket(id);
            self.feed(Input::SocketClosed(id));
        }
    }

    /// Whether the page may reach the local network is asked as a socket is opened, since the user may be asked then, and
    /// before the phone hears that one was not opened.
    fn look_at_local_network(&self, loopback: bool, closed: Option<SocketId>) {
        let me = self.me.clone();
        let done = move |state: Option<&'static str>| {
            let Some(driver) = Self::alive(&me) else { return };
            let state = match state {
                Some("denied") => LocalNetwork::Denied,
                Some("prompt") => LocalNetwork::Prompt,
                _ => LocalNetwork::Granted,
            };
            driver.feed(Input::LocalNetwork(state));
            if let Some(id) = closed {
                driver.feed(Input::SocketClosed(id));
            }
        };
        page::local_network(&page::scope(), loopback, Box::new(done));
    }

    fn close_socket(&self, id: SocketId) {
        let closed = take_first(&mut self.sockets.borrow_mut(), |(socket, _)| *socket == id);
        drop(closed);
    }

    // ---- media

    fn media(&self, call: CallId, seq: MediaSeq, command: MediaCommand) {
        if command == MediaCommand::Close {
            self.close_session(call);
            return;
        }
        if let MediaCommand::Wish(wish) = command {
            // The only one that makes a session: a late job must not open a microphone again.
            let replacement = wish.track.and_then(|track| {
                self.with(|state| {
                    let known = state.tracks.iter().find(|(id, _)| *id == track);
                    known.map(|(_, replacement)| replacement.clone())
                })
            });
            if let Some(session) = self.session(call).or_else(|| self.open_session(call, wish)) {
                session.set_wish(wish.muted, replacement);
            }
        } else if let Some(session) = self.session(call) {
            session.run(seq, command);
            self.tend_tones(call);
        }
    }

    /// Sends this track in a call from now on, and in those that are to take its place.
    pub(super) fn replace_track(
        &self,
        call: CallId,
        replacement: Option<Replacement>,
    ) -> Option<Result<(), Error>> {
        let track = replacement.map(|replacement| {
            self.with(|state| {
                state.last_track = state.last_track.wrapping_add(1);
                let id = TrackId(state.last_track);
                state.tracks.push((id, replacement));
                id
            })
        });
        let replaced = self.with_phone(|phone, now| phone.replace_track(now, call, track));
        self.forget_tracks();
        replaced
    }

    /// Lets go of the tracks that no call sends any more.
    fn forget_tracks(&self) {
        let forgotten = self.with(|state| {
            let calls = state.phone.as_ref().map(Phone::calls).unwrap_or_default();
            let mut kept = Vec::new();
            let all = core::mem::take(&mut state.tracks);
            let mut forgotten = Vec::new();
            for track in all {
                let used = calls.iter().any(|call| call.wish.track == Some(track.0));
                if used { kept.push(track) } else { forgotten.push(track) }
            }
            state.tracks = kept;
            forgotten
        });
        drop(forgotten);
    }

    fn open_session(&self, call: CallId, wish: Wish) -> Option<Rc<MediaSession>> {
        // A call that answers itself has media before the application hears of it.
        let entry = self.adopt(call, None)?;
        let settings = self.settings();
        let (owner, known) = (self.me.clone(), settings.ice_servers.clone());
        // As they are set when they are asked for.
        let servers =
            move || Self::alive(&owner).map_or(known.clone(), |driver| driver.settings().ice_servers.clone());
        let setup = MediaSetup {
            servers: Some(IceServers { setting: Box::new(servers), check: config::check_ice_servers }),
            connection: Configuration {
                ice_servers: JsValue::UNDEFINED,
                ice_transport_policy: settings.ice_transport_policy.clone(),
                codecs: settings.codecs().to_vec(),
            },
            audio: match entry.audio.borrow().as_ref().unwrap_or(&settings.audio) {
                _ if wish.listens_only => Audio::Off,
                Audio::Off => Audio::Default,
                audio => audio.clone(),
            },
            playback: settings.playback.clone(),
        };
        let me = self.me.clone();
        let report = move |report| {
            let Some(driver) = Self::alive(&me) else { return };
            match report {
                MediaReport::Done(seq, result) => {
                    driver.feed(Input::MediaDone { call, seq, result });
                    driver.tend_tones(call);
                }
                MediaReport::State(state) => {
                    driver.feed(Input::MediaState { call, state });
                    driver.tend_tones(call);
                }
                MediaReport::Track(track) => {
                    if let Some(call) = driver.call(call) {
                        call.listeners.emit("remoteTrack", &object!([("track", track)]));
                    }
                }
                MediaReport::Servers(problem) => {
                    driver.log(
                        LogLevel::Warn,
                        &["iceServers: ", &problem, "; the previous ones are used"].concat(),
                    );
                }
                MediaReport::PlaybackBlocked(blocked) => driver.playback_blocked(call, blocked),
                MediaReport::Microphone(state) => {
                    if let Some(call) = driver.call(call) {
                        call.listeners.emit("microphone", &object!([("state", state)]));
                    }
                }
            }
        };
        let session = MediaSession::new(setup, Box::new(report));
        self.sessions.borrow_mut().push((call, session.clone()));
        Some(session)
    }

    fn playback_blocked(&self, call: CallId, blocked: bool) {
        if blocked {
            let text =
                "autoplay_blocked: the browser plays the other side's audio after the next click or key";
            self.log(LogLevel::Warn, text);
        }
        if let Some(call) = self.call(call) {
            let payload = object!([("call", call.object(&self.me)), ("blocked", blocked)]);
            self.listeners.emit("audioBlocked", &payload);
        }
    }

    /// Within a gesture of the user: what the browser has refused to play.
    pub(crate) fn resume_audio(&self) {
        for call in self.calls() {
            if let Some(session) = self.session(call.id).filter(|session| session.is_blocked()) {
                session.resume_audio();
            }
        }
    }

    fn close_session(&self, call: CallId) {
        let closed = take_first(&mut self.sessions.borrow_mut(), |(id, _)| *id == call);
        if let Some((_, session)) = closed {
            session.close();
        }
    }

    /// Asks for the next statistics of a call, where somebody listens.
    pub(crate) fn count_stats(&self, call: &CallEntry) {
        if call.listeners.has("stats") {
            self.with_phone(|phone, now| phone.count_statistics(now, call.id));
            self.arm_timer();
        }
    }

    fn emit_stats(&self, call: &Rc<CallEntry>) {
        let Some(session) = self.session(call.id) else { return };
        let call = call.clone();
        session.stats(Box::new(move |stats| {
            if let Some(stats) = stats {
                call.listeners.emit("stats", &stats);
            }
        }));
    }

    // ---- the page

    fn lock(&self, id: LockId, name: &str) {
        let Some(window) = web_sys::window() else {
            self.feed(Input::Lock(id, true));
            return;
        };
        let me = self.me.clone();
        let report = move |granted| {
            if let Some(driver) = Self::alive(&me) {
                driver.feed(Input::Lock(id, granted));
            }
        };
        let lock = WebLock::request(&window, name, Box::new(report));
        self.locks.borrow_mut().push((id, lock));
    }

    /// Listens for the end of the page as long as there is somebody to say goodbye to.
    fn watch_page(&self) {
        let (wanted, watching) = self.with(|state| {
            let rest = |call: &Rc<CallEntry>| call.strategy == Some(StrategyName::RestOriginate);
            let wanted = state.connection != ConnectionState::Disconnected
                || !state.asked.is_empty()
                || !self.locks.borrow().is_empty()
                || state.calls.iter().any(rest);
            (wanted, state.page_hide.is_some())
        });
        if wanted == watching {
            return;
        }
        let me = self.me.clone();
        let hidden = move |persisted| {
            if let Some(driver) = Self::alive(&me) {
                driver.feed(Input::PageHide(driver.outlives_page(persisted)));
                driver.hurry_cancellations();
            }
        };
        let listener =
            web_sys::window().filter(|_| wanted).map(|window| page::on_hide(&window, Box::new(hidden)));
        let old = self.with(|state| core::mem::replace(&mut state.page_hide, listener));
        drop(old);
    }

    /// What stays when the page goes. Without a listener the record of the calls is kept nowhere.
    fn outlives_page(&self, persisted: bool) -> PageKept {
        if persisted {
            PageKept::Page
        } else if self.settings().resume && self.listeners.has("record") {
            PageKept::Calls
        } else {
            PageKept::Nothing
        }
    }

    /// Listens for what the browser tells as long as there is a connection, or is to be one.
    fn watch_hints(&self) {
        let (wanted, watching) =
            self.with(|state| (state.connection != ConnectionState::Disconnected, !state.hints.is_empty()));
        if wanted == watching {
            return;
        }
        let hint = {
            let me = self.me.clone();
            move |hint| {
                if let Some(driver) = Self::alive(&me) {
                    driver.feed(Input::Hint(hint));
                }
            }
        };
        let me = self.me.clone();
        let changed = move || {
            if let Some(driver) = Self::alive(&me) {
                driver.keep_time(true);
            }
        };
        let window = web_sys::window().filter(|_| wanted);
        let hints =
            window.map(|window| page::on_hint(&window, Rc::new(hint), Box::new(changed))).unwrap_or_default();
        let old = self.with(|state| core::mem::replace(&mut state.hints, hints));
        drop(old);
        self.keep_time(wanted);
    }

    /// Timers of hidden pages are throttled.
    fn keep_time(&self, wanted: bool) {
        let hidden = web_sys::window().is_some_and(|window| page::is_hidden(&window));
        self.timer.set_hidden(self.clock.now(), wanted && hidden);
    }

    // ---- tones

    /// What is sent may have changed: tones in the audio may be cut, or begin.
    pub(crate) fn tend_tones(&self, call: CallId) {
        let Some(session) = self.session(call) else { return };
        if let Some(ready) = session.tones_changed() {
            self.feed(Input::Tones(call, TonesReport::Ready(ready)));
        }
        if let Some(rest) = session.cut_dtmf() {
            self.feed(Input::Tones(call, TonesReport::Cut(rest)));
        }
    }

    fn send_tones(&self, call: CallId, tones: &str, duration: u32, gap: u32) {
        let Some(session) = self.session(call) else { return };
        if !session.takes_tones() {
            // A hold, or a new connection, has come in between.
            self.tend_tones(call);
            self.feed(Input::Tones(call, TonesReport::Cut(tones.to_owned())));
            return;
        }
        let me = self.me.clone();
        let done = move || {
            let Some(driver) = Self::alive(&me) else { return };
            if let Some(session) = driver.session(call) {
                session.forget_dtmf();
            }
            driver.feed(Input::Tones(call, TonesReport::Sent));
        };
        if let Err(for_now) = session.send_dtmf(tones, duration, gap, Box::new(done)) {
            self.feed(Input::Tones(call, TonesReport::Refused { for_now }));
        }
    }

    // ---- credentials

    fn ask_credentials(&self, id: CredentialsId, realm: String) {
        // The function may take its time, and ask the user.
        self.arm_timer();
        // What was given may be a promise or not.
        let given = promised(match &self.settings().ask_credentials {
            Some(function) => function.call1(&JsValue::UNDEFINED, &object!([("realm", realm)])),
            None => Ok(JsValue::UNDEFINED),
        });
        let me = self.me.clone();
        let answered = move |given: Result<JsValue, JsValue>| {
            let Some(driver) = Self::alive(&me) else { return };
            // What was thrown is not repeated: it may well hold the secret.
            let credentials = match given {
                Err(_) => Err("the function failed".to_owned()),
                Ok(value) => config::credentials(&value, false).map_err(|error| error.message.to_string()),
            };
            if let Err(problem) = &credentials {
                driver.log(LogLevel::Warn, &["credentials: ", problem].concat());
            }
            driver.feed(Input::Credentials(id, credentials.ok()));
        };
        then(given, Box::new(answered));
    }

    // ---- events

    fn dispatch(&self, event: Event) {
        let id = match &event {
            Event::Incoming(id)
            | Event::CallState(id, _)
            | Event::AnswerDone(id, _)
            | Event::TonesDone(id, _)
            | Event::Hold { call: id, .. }
            | Event::HoldDone(id, _)
            | Event::Remote(id)
            | Event::Transfer(id, ..)
            | Event::TransferDone(id, _)
            | Event::TransferRequested { call: id, .. }
            | Event::Redirected { call: id, .. }
            | Event::Replaced { old: id, .. }
            | Event::Dtmf(id, _)
            | Event::Ended(id, _) => Some(*id),
            _ => None,
        };
        match (event, id.and_then(|id| self.call(id))) {
            (Event::Connection(connection, error), _) => {
                self.with(|state| state.connection = connection);
                self.emit_state("connection", event::connection(connection), error.as_ref());
            }
            (Event::Registration(registration, error), _) => {
                self.with(|state| state.registration = registration);
                self.emit_state("registration", event::registration(registration), error.as_ref());
            }
            (Event::ConnectDone(result), _) => settle_all(self.take_connects(), &result),
            (Event::DisconnectDone, _) => self.disconnected(),
            (Event::Stage(id, stage), _) => {
                if stage == DialStage::RingingClient {
                    self.originate_done(&Ok(()));
                }
                self.dial_stage(id, stage);
            }
            (Event::DialDone(id, result), _) => {
                self.originate_done(&result);
                self.dial_done(id, result);
            }
            (Event::RequestDone(id, result), _) => {
                let asked = self.with(|state| take_first(&mut state.requests, |(one, _)| *one == id));
                if let Some((_, settler)) = asked {
                    settler.settle(&result);
                }
            }
            (Event::Subscription(id, state, error), _) => {
                self.subscription_changed(id, state, error.as_ref());
            }
            (Event::Notify { subscription, content_type, body }, _) => {
                self.notified(subscription, &content_type, &body);
            }
            (Event::MessageSummary(body), _) => {
                self.listeners.emit("messageSummary", &object!([("body", body)]));
            }
            (Event::Message { from, display_name, content_type, body }, _) => {
                let payload = object!([("from", from), ("contentType", content_type), ("body", body),]);
                if let Some(name) = display_name {
                    set(&payload, "displayName", name);
                }
                self.listeners.emit("message", &payload);
            }
            (Event::Log(level, text), _) => self.log(level, &text),
            (Event::Incoming(_), Some(call)) => {
                self.listeners.emit("incoming", &object!([("call", call.object(&self.me))]));
            }
            (Event::CallState(_, state), Some(call)) => self.call_changed(&call, state),
            (Event::AnswerDone(_, result), Some(call)) => call.settle(Wait::Answer, &result),
            (Event::TonesDone(_, result), Some(call)) => call.settle_first(Wait::Tones, &result),
            (Event::Hold { local, remote, .. }, Some(call)) => {
                let payload = object!([("local", local), ("remote", remote)]);
                call.listeners.emit("hold", &payload);
            }
            (Event::HoldDone(_, result), Some(call)) => call.settle(Wait::Hold, &result),
            (Event::Remote(_), Some(call)) => call.listeners.emit("remote", &call.remote_js()),
            (Event::Transfer(_, state, status), Some(call)) => {
                let payload = object!([("state", event::transfer_state(state))]);
                if let Some(status) = status {
                    set(&payload, "sipStatus", status);
                }
                call.listeners.emit("transfer", &payload);
            }
            (Event::TransferDone(_, result), Some(call)) => call.settle(Wait::Transfer, &result),
            (Event::TransferRequested { target, referred_by, .. }, Some(call)) => {
                let payload = object!([
                    ("target", target),
                    ("accept", call.method("acceptTransfer", &self.me)),
                    ("reject", call.method("rejectTransfer", &self.me)),
                ]);
                if let Some(referred_by) = referred_by {
                    set(&payload, "referredBy", referred_by);
                }
                call.listeners.emit("transferRequest", &payload);
            }
            // Nobody would ever say where to.
            (Event::Redirected { call: id, .. }, Some(call)) if !call.listeners.has("redirect") => {
                self.with_phone(|phone, now| phone.decline_redirect(now, id));
            }
            (Event::Redirected { targets, .. }, Some(call)) => {
                let list = js_sys::Array::new();
                for target in targets {
                    list.push(&target.into());
                }
                let payload = object!([
                    ("targets", list),
                    ("follow", call.method("followRedirect", &self.me)),
                    ("decline", call.method("declineRedirect", &self.me)),
                ]);
                call.listeners.emit("redirect", &payload);
            }
            (Event::Replaced { new, .. }, Some(call)) => {
                if let Some(new) = self.adopt(new, None) {
                    call.listeners.emit("replaced", &object!([("call", new.object(&self.me))]));
                }
            }
            // Nothing is heard of a caller who may not be the provider.
            (Event::Dtmf(..), Some(call)) if call.is_gated() => {}
            (Event::Dtmf(_, tone), Some(call)) => {
                call.listeners.emit("dtmf", &object!([("tone", tone.to_string())]));
            }
            (Event::Ended(_, reason), Some(call)) => self.call_ended(&call, reason),
            // The call is not known any more: nobody waits for it.
            _ => {}
        }
    }

    fn take_connects(&self) -> Vec<Settler> {
        self.with(|state| core::mem::take(&mut state.connects))
    }

    fn emit_state(&self, kind: &str, state: &str, error: Option<&Error>) {
        let payload = object!([("state", state)]);
        if let Some(error) = error {
            set(&payload, "error", error::to_js(error));
        }
        self.listeners.emit(kind, &payload);
    }

    fn call_changed(&self, call: &Rc<CallEntry>, state: CallState) {
        call.state.set(state);
        if state == CallState::Active && call.started_at.get().is_none() {
            call.started_at.set(Some(js_sys::Date::now()));
        }
        let name = JsValue::from(event::call_state(state));
        let object_of_call = call.object(&self.me);
        call.listeners.emit("state", &object!([("state", name.clone())]));
        self.listeners.emit("call", &object!([("call", object_of_call), ("state", name)]));
    }

    fn call_ended(&self, call: &Rc<CallEntry>, reason: EndReason) {
        let payload = event::end_reason(&reason);
        call.info.borrow_mut().end_reason = Some(reason);
        self.close_session(call.id);
        if !call.has_ended() {
            self.call_changed(call, CallState::Ended);
        }
        let over = error::new(ErrorCode::Ended, "The call has ended");
        call.settle(Wait::End, &Ok(()));
        call.settle_rest(&over);
        call.listeners.emit("ended", &payload);
        let forgotten = self.with(|state| take_first(&mut state.calls, |one| one.id == call.id));
        drop(forgotten);
        self.forget_tracks();
        call.release_object();
        self.originate_ended();
    }

    /// A `connect()` that was called meanwhile is not settled here: it begins now.
    fn disconnected(&self) {
        let disconnects = self.with(|state| {
            state.over = state.keep.is_some();
            core::mem::take(&mut state.disconnects)
        });
        self.abandon_requests(&aborted());
        settle_all(disconnects, &Ok(()));
    }

    /// Nobody shall wait for an answer that cannot come any more.
    fn abandon_requests(&self, error: &Error) {
        // A panic may have left them borrowed.
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let requests = core::mem::take(&mut state.requests);
        let subscriptions = core::mem::take(&mut state.subscriptions);
        drop(state);
        for (_, settler) in requests {
            settler.reject(error);
        }
        for subscription in subscriptions {
            subscription.end();
        }
    }

    /// Releases itself once nothing is left to do. A cancellation that got no answer is sent again first.
    fn release_when_idle(&self) {
        let keep = self.with(|state| {
            let idle = state.phone.as_ref().is_none_or(|phone| phone.poll_timeout().is_none());
            if state.over && idle && state.asked.is_empty() { state.keep.take() } else { None }
        });
        if let Some(me) = keep {
            // Not here: this very method is being run on it.
            crate::browser::listener::drop_later(me);
        }
    }

    /// A line for `log` listeners: warnings always, the rest where `debug` is on.
    pub(super) fn log(&self, level: LogLevel, text: &str) {
        let wanted =
            matches!(level, LogLevel::Warn | LogLevel::Error) || self.with(|state| state.settings.debug());
        if wanted && self.listeners.has("log") {
            self.listeners.emit(
                "log",
                &object!(
                    [("level", event::log_level(level)), ("time", js_sys::Date::now()), ("text", text),]
                ),
            );
        }
    }

    // ---- the end

    /// Nothing is heard any more, here and by the application. `false`: it was so already.
    fn fall_silent(&self) -> bool {
        if self.released.replace(true) {
            return false;
        }
        self.listeners.clear();
        if self.poisoned.get() {
            return false;
        }
        for call in self.calls() {
            call.listeners.clear();
        }
        let sessions = self.sessions.take();
        for (_, session) in sessions {
            session.close();
        }
        self.dial_failed(aborted());
        settle_all(self.take_connects(), &Err(aborted()));
        true
    }

    /// Another page has taken over what this one had: nobody is told of the end.
    pub(crate) fn abandon(&self) {
        if !self.fall_silent() {
            return;
        }
        let (calls, phone, asked) = self.with(|state| {
            state.connection = ConnectionState::Disconnected;
            state.registration = RegistrationState::Unregistered;
            let (calls, phone) = (core::mem::take(&mut state.calls), state.phone.take());
            (calls, phone, core::mem::take(&mut state.asked))
        });
        let sockets = self.sockets.take();
        for call in calls {
            call.state.set(CallState::Ended);
            call.settle_rest(&aborted());
            call.release_object();
        }
        drop((phone, sockets, asked, self.locks.take()));
        self.disconnected();
        self.drain();
    }

    /// `free()`: the microphone is off and every promise is settled when this returns; goodbyes go out, and the
    /// rest follows when the server has answered them, or soon.
    pub(crate) fn release(&self) {
        if !self.fall_silent() {
            return;
        }
        let me = self.me.upgrade();
        self.with(|state| state.keep = me);
        if self.with_phone(|phone, now| phone.disconnect(now)).is_none() {
            self.disconnected();
        }
        self.drain();
    }

    /// Nothing works any more; microphones are turned off as far as they can be reached.
    pub(crate) fn poison(&self) {
        self.poisoned.set(true);
        if let Ok(mut sessions) = self.sessions.try_borrow_mut() {
            for (_, session) in sessions.drain(..) {
                session.close();
                // Its destructor must not run during a panic.
                core::mem::forget(session);
            }
        }
        // The server would go on calling a phone that answers no more.
        if let Ok(mut sockets) = self.sockets.try_borrow_mut() {
            sockets.clear();
        }
        // A new phone, here or on another page, needs them.
        if let Ok(mut locks) = self.locks.try_borrow_mut() {
            locks.clear();
        }
    }

    /// Tells the application, and whoever waits for a promise.
    pub(crate) fn report_fatal(&self, cause: &JsValue) {
        let error = fatal_error();
        if let Ok(mut state) = self.state.try_borrow_mut() {
            let mut waiting = core::mem::take(&mut state.connects);
            waiting.append(&mut state.disconnects);
            let calls = state.calls.clone();
            drop(state);
            settle_all(waiting, &Err(error.clone()));
            for call in calls {
                call.settle_rest(&error);
            }
            self.dial_failed(error.clone());
            self.originate_done(&Err(error.clone()));
        }
        self.abandon_requests(&error);
        let payload = error::to_js(&error);
        // Where in the module it happened: for a report of the defect.
        set(&payload, "cause", cause.clone());
        self.listeners.emit("fatal", &object!([("error", payload)]));
    }
}

/// The call; at first sight it is put on the list.
#[inline(never)]
fn adopt(
    calls: &mut Vec<Rc<CallEntry>>,
    phone: &Phone,
    id: CallId,
    strategy: Option<StrategyName>,
) -> Option<Rc<CallEntry>> {
    if let Some(known) = calls.iter().find(|call| call.id == id) {
        return Some(known.clone());
    }
    let info = phone.call(id)?;
    let former = calls.iter().find(|former| Some(former.id) == info.continues);
    let entry = CallEntry::new(info, phone.received_headers(id), strategy, former.map(Rc::as_ref));
    calls.push(entry.clone());
    Some(entry)
}

/// Takes the first of these out of the list. (`extract_if` can take all, and is four times the code.)
pub(super) fn take_first<T>(list: &mut Vec<T>, is_it: impl Fn(&T) -> bool) -> Option<T> {
    let at = list.iter().position(is_it)?;
    Some(list.remove(at))
}

fn aborted() -> Error {
    error::new(ErrorCode::Aborted, "The phone was shut down")
}

fn fatal_error() -> Error {
    error::new(ErrorCode::Fatal, "The phone has failed and cannot go on")
}
