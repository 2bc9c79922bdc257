//! Drives a [`Phone`] outside of a browser: the loop of the crate's driving contract, with tokio for the clock and
//! str0m for the media.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;
use wasm_softphone::error::Error;
use wasm_softphone::phone::{
    CallId, DialRequest, Event, Input, Job, MediaCommand, MediaError, Phone, PhoneConfig, SocketId, Transmit,
};

use crate::clock::{Clock, OsEntropy};
use crate::media::{News, Session, Settings};
use crate::network::Line;

/// The WebSocket of a phone, or what takes its place.
pub trait Link {
    /// Sends one message. Must lose nothing when it is dropped before it is ready.
    fn send(&mut self, text: &str) -> impl Future<Output = ()>;
    /// The next message; `None` when the connection is gone. Must lose nothing when it is dropped.
    fn receive(&mut self) -> impl Future<Output = Option<String>>;
}

impl Link for Line {
    async fn send(&mut self, text: &str) {
        Self::send(self, text.as_bytes().to_vec()).await;
    }

    async fn receive(&mut self) -> Option<String> {
        Self::receive(self).await
    }
}

/// What an agent has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The phone's news.
    Phone(Event),
    /// The other side of a call pressed a key (RFC 4733).
    Dtmf(CallId, char),
    /// The connection is gone; it does not come back.
    LinkLost,
}

/// A phone with media, on a connection that is already open.
pub struct Agent<L> {
    phone: Phone,
    link: L,
    clock: Clock,
    settings: Settings,
    socket: Option<SocketId>,
    sessions: BTreeMap<CallId, Session>,
    news: mpsc::UnboundedReceiver<(CallId, News)>,
    reporter: mpsc::UnboundedSender<(CallId, News)>,
    outbox: VecDeque<String>,
    notices: VecDeque<Notice>,
}

impl<L: Link> Agent<L> {
    /// A phone that connects at once.
    #[must_use]
    pub fn new(config: PhoneConfig, link: L, settings: Settings) -> Self {
        let (reporter, news) = mpsc::unbounded_channel();
        let mut agent = Self {
            phone: Phone::new(config, Box::new(OsEntropy)),
            link,
            clock: Clock::start(),
            settings,
            socket: None,
            sessions: BTreeMap::new(),
            news,
            reporter,
            outbox: VecDeque::new(),
            notices: VecDeque::new(),
        };
        agent.phone.connect(agent.clock.now());
        agent.drain();
        agent
    }

    /// The phone, to look at.
    #[must_use]
    pub const fn phone(&self) -> &Phone {
        &self.phone
    }

    /// See [`Phone::dial`].
    ///
    /// # Errors
    /// Those of [`Phone::dial`].
    pub fn dial(&mut self, request: DialRequest) -> Result<CallId, Error> {
        let result = self.phone.dial(self.clock.now(), request);
        self.drain();
        result
    }

    /// See [`Phone::answer`].
    ///
    /// # Errors
    /// Those of [`Phone::answer`].
    pub fn answer(&mut self, call: CallId) -> Result<(), Error> {
        let result = self.phone.answer(self.clock.now(), call);
        self.drain();
        result
    }

    /// See [`Phone::progress`].
    ///
    /// # Errors
    /// Those of [`Phone::progress`].
    pub fn progress(&mut self, call: CallId) -> Result<(), Error> {
        let result = self.phone.progress(self.clock.now(), call);
        self.drain();
        result
    }

    /// See [`Phone::reject`].
    ///
    /// # Errors
    /// Those of [`Phone::reject`].
    pub fn reject(&mut self, call: CallId, status: Option<u16>) -> Result<(), Error> {
        let result = self.phone.reject(self.clock.now(), call, status);
        self.drain();
        result
    }

    /// See [`Phone::hangup`].
    pub fn hangup(&mut self, call: CallId) {
        self.phone.hangup(self.clock.now(), call, None);
        self.drain();
    }

    /// The next notice. Nothing is lost when this is dropped before it is ready.
    pub async fn next(&mut self) -> Notice {
        loop {
            while let Some(text) = self.outbox.front() {
                self.link.send(text).await;
                self.outbox.pop_front();
            }
            if let Some(notice) = self.notices.pop_front() {
                return notice;
            }
            let deadline = self.phone.poll_timeout().map(|(at, _)| at);
            let input = tokio::select! {
                text = self.link.receive() => match (text, self.socket) {
                    (Some(text), Some(socket)) => Input::SocketData(socket, text.into_bytes()),
                    (Some(_), None) => continue,
                    (None, _) => return Notice::LinkLost,
                },
                Some((call, news)) = self.news.recv() => match news {
                    News::Done(seq, result) => Input::MediaDone { call, seq, result },
                    News::State(state) => Input::MediaState { call, state },
                    News::Dtmf(key) => return Notice::Dtmf(call, key),
                },
                () = self.clock.sleep_until(deadline) => Input::Timer,
            };
            self.phone.handle_input(self.clock.now(), input);
            self.drain();
        }
    }

    fn drain(&mut self) {
        loop {
            if let Some(transmit) = self.phone.poll_transmit() {
                self.transmit(transmit);
            } else if let Some(job) = self.phone.poll_job() {
                self.start(job);
            } else if let Some(event) = self.phone.poll_event() {
                self.notices.push_back(Notice::Phone(event));
            } else {
                return;
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        match transmit {
            // The link is the one connection there is.
            Transmit::OpenSocket { socket, .. } => {
                self.socket = Some(socket);
                self.phone.handle_input(self.clock.now(), Input::SocketOpened(socket));
            }
            Transmit::Send { text, .. } => self.outbox.push_back(text),
            Transmit::CloseSocket(_) => self.socket = None,
        }
    }

    fn start(&mut self, job: Job) {
        match job {
            Job::Media { call, seq, command } => {
                let close = command == MediaCommand::Close;
                let session = self
                    .sessions
                    .entry(call)
                    .or_insert_with(|| Session::start(call, self.settings.clone(), self.reporter.clone()));
                let gone = !session.job(seq, command);
                if close {
                    self.sessions.remove(&call);
                } else if gone {
                    let result = Err(MediaError::Unavailable);
                    self.phone.handle_input(self.clock.now(), Input::MediaDone { call, seq, result });
                }
            }
            // The numbers need no password, and a test's phone is given its own.
            Job::NeedCredentials { id, .. } => {
                self.phone.handle_input(self.clock.now(), Input::Credentials(id, None));
            }
            // Numbers do not call by REST.
            Job::Proxy { .. } | Job::AbortProxy(_) | Job::Lock { .. } | Job::Unlock(_) => {}
            // They send no tones, and look at no statistics.
            Job::Tones { .. } | Job::Statistics(_) => {}
        }
    }
}
