//! The media of one call: a WebRTC peer that echoes what it hears or plays a tone. One task and one UDP socket
//! per address for each call.
//!
//! The only place that names str0m. Its contract holds throughout: after every change, [`Rtc::poll_output`] is
//! drained until it returns a timeout.

mod address;
mod tone;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::{Codec, CodecExtra, FormatParams};
use str0m::media::{Direction, Frequency, MediaData, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, interval, sleep_until};
use wasm_softphone::phone::{CallId, MediaCommand, MediaError, MediaSeq, MediaState, MediaValue};
use wasm_softphone::sip::sdp;

pub use tone::{Law, Tone};

/// One packet of audio (RFC 3551, section 4.2).
const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: u64 = 160;
/// From the loss of the media path until the call is given up: time for the peer's BYE, which says more, or for
/// an ICE restart.
const LOSS_PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any packet that a network of MTU 1500 brings.
const MAX_PACKET: usize = 2000;

/// What a peer hears from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playback {
    /// Its own audio, in whatever codec: PCMU, PCMA and opus.
    Echo,
    /// A tone of this many hertz, in PCMA or PCMU.
    Tone(u16),
}

/// What a peer's packet held, for those who want to listen.
#[derive(Debug, Clone)]
pub struct Heard {
    /// On which call.
    pub call: CallId,
    /// How the payload is companded; `None` for opus.
    pub law: Option<Law>,
    /// The payload of one packet.
    pub payload: Arc<[u8]>,
}

/// Audio that is made and heard elsewhere, in G.711 frames of 20 ms: a bridge, a mixer, a measuring set.
pub trait Port: Send + Sync + core::fmt::Debug {
    /// The next `samples` samples for the peer.
    fn play(&self, law: Law, samples: u64) -> Vec<u8>;
    /// The payload of a packet from the peer.
    fn hear(&self, law: Law, payload: &[u8]);
    /// Whether PCMU may be agreed on beside PCMA.
    fn pcmu(&self) -> bool {
        true
    }
}

/// How the media of a call is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the peer hears.
    pub playback: Playback,
    /// Gets a copy of what the peer sends.
    pub listener: Option<mpsc::UnboundedSender<Heard>>,
    /// Plays and hears in the place of `playback`.
    pub port: Option<Arc<dyn Port>>,
}

/// News of a call's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The outcome of a job.
    Done(MediaSeq, Result<MediaValue, MediaError>),
    /// The media path.
    State(MediaState),
    /// The peer pressed a key (RFC 4733).
    Dtmf(char),
}

/// The media of one call. Dropping it ends it, in order.
pub struct Session {
    jobs: mpsc::UnboundedSender<(MediaSeq, MediaCommand)>,
}

impl Session {
    /// Starts the task; nothing is opened before the first job.
    #[must_use]
    pub fn start(call: CallId, settings: Settings, news: mpsc::UnboundedSender<(CallId, News)>) -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            str0m::crypto::from_feature_flags().install_process_default();
        });
        let (jobs, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(settings, receiver, Reporter { call, sender: news }));
        Self { jobs }
    }

    /// Does a media job. `false`: the session has ended and nothing will be reported.
    #[must_use]
    pub fn job(&self, seq: MediaSeq, command: MediaCommand) -> bool {
        self.jobs.send((seq, command)).is_ok()
    }
}

struct Reporter {
    call: CallId,
    sender: mpsc::UnboundedSender<(CallId, News)>,
}

impl Reporter {
    fn send(&self, news: News) {
        // Whoever drops the receiver does not want to know.
        let _ = self.sender.send((self.call, news));
    }
}

struct Packet {
    source: SocketAddr,
    destination: SocketAddr,
    contents: Vec<u8>,
}

struct Peer {
    rtc: Rtc,
    settings: Settings,
    news: Reporter,
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    packets: mpsc::Receiver<Packet>,
    _readers: JoinSet<()>,
    mid: Option<Mid>,
    pending: Option<SdpPendingOffer>,
    /// The other side's certificate.
    fingerprint: String,
    connected: bool,
    /// When a lost path counts as failed.
    lost: Option<Instant>,
    tone: Option<Tone>,
    frames: u64,
    ticks: Interval,
    /// RTP time of the last key press: its end is sent three times.
    last_key: Option<MediaTime>,
}

async fn run(
    settings: Settings,
    mut jobs: mpsc::UnboundedReceiver<(MediaSeq, MediaCommand)>,
    news: Reporter,
) {
    let Some((seq, first)) = jobs.recv().await else { return };
    let mut peer = match Peer::open(settings, news).await {
        Ok(peer) => peer,
        Err(news) => return news.send(News::Done(seq, Err(MediaError::Unavailable))),
    };
    if !peer.job(seq, first) {
        return;
    }
    loop {
        let deadline = match peer.drain() {
            Ok(deadline) => deadline,
            Err(_) => return peer.news.send(News::State(MediaState::Failed)),
        };
        let changed = tokio::select! {
            job = jobs.recv() => match job {
                Some((seq, command)) => {
                    if peer.is_begun_anew(&command) {
                        peer.close();
                        peer = match Peer::open(peer.settings, peer.news).await {
                            Ok(peer) => peer,
                            Err(news) => return news.send(News::Done(seq, Err(MediaError::Unavailable))),
                        };
                    }
                    if !peer.job(seq, command) {
                        return;
                    }
                    Ok(())
                }
                None => return peer.close(),
            },
            Some(packet) = peer.packets.recv() => peer.receive(&packet),
            () = sleep_until(deadline) => peer.timeout(),
            _ = peer.ticks.tick(), if peer.plays() && peer.connected => peer.play(),
        };
        if changed.is_err() {
            return peer.news.send(News::State(MediaState::Failed));
        }
    }
}

impl Peer {
    /// Opens the sockets. Gives the news back when there is no address to be reached at.
    async fn open(settings: Settings, news: Reporter) -> Result<Self, Reporter> {
        let codecs = settings.port.is_none() && matches!(settings.playback, Playback::Echo);
        let mut config = Rtc::builder()
            .clear_codecs()
            // A tone is encoded here, and opus is not: then it must not be agreed on.
            .enable_opus(codecs, false)
            .enable_pcma(true, false)
            .enable_pcmu(settings.port.as_ref().is_none_or(|port| port.pcmu()), false);
        let keys = config.codec_config();
        let tele = Codec::Tele;
        keys.add_config(
            Pt::new_with_value(126),
            None,
            tele,
            Frequency::EIGHT_KHZ,
            None,
            FormatParams::default(),
        );
        if codecs {
            let wide = Frequency::FORTY_EIGHT_KHZ;
            keys.add_config(Pt::new_with_value(110), None, tele, wide, None, FormatParams::default());
        }
        let mut rtc = config.build(std::time::Instant::now());

        let (sender, packets) = mpsc::channel(256);
        let mut readers = JoinSet::new();
        let mut sockets = Vec::new();
        for ip in address::local() {
            let Ok((local, socket)) = bind(ip).await else { continue };
            let Ok(candidate) = Candidate::host(local, Protocol::Udp) else { continue };
            if rtc.add_local_candidate(candidate).is_none() {
                continue;
            }
            readers.spawn(read(local, socket.clone(), sender.clone()));
            sockets.push((local, socket));
        }
        if sockets.is_empty() {
            return Err(news);
        }
        let tone = match settings.playback {
            Playback::Echo => None,
            Playback::Tone(hertz) => Some(Tone::new(hertz)),
        };
        Ok(Self {
            rtc,
            settings,
            news,
            sockets,
            packets,
            _readers: readers,
            mid: None,
            pending: None,
            fingerprint: String::new(),
            connected: false,
            lost: None,
            tone,
            frames: 0,
            ticks: interval(FRAME),
            last_key: None,
        })
    }

    /// An offer for another DTLS association (RFC 8842, section 4), which str0m does not make.
    fn is_begun_anew(&self, command: &MediaCommand) -> bool {
        let MediaCommand::Renegotiate { offer, .. } = command else { return false };
        let offered = fingerprint(offer);
        !self.fingerprint.is_empty() && !offered.is_empty() && offered != self.fingerprint
    }

    /// `false`: that was the last.
    fn job(&mut self, seq: MediaSeq, command: MediaCommand) -> bool {
        match command {
            MediaCommand::CreateOffer | MediaCommand::Resume { .. } => {
                let offer = self.offer();
                self.report_local(seq, offer);
            }
            MediaCommand::Reoffer { .. } | MediaCommand::RestartIce { .. } => {
                let offer = self.reoffer();
                self.report_local(seq, offer);
            }
            MediaCommand::CreateAnswer { offer } | MediaCommand::Renegotiate { offer, .. } => {
                let answer = self.answer(&offer);
                self.report_local(seq, answer);
            }
            MediaCommand::SetAnswer { answer, provisional } => {
                // An answer can be applied once only, and a fork's early one need not be the last: early media
                // of those we call is not played, for nobody listens here.
                let applied = provisional || self.apply(&answer).is_some();
                let result = if applied { Ok(MediaValue::Applied) } else { Err(MediaError::Description) };
                self.news.send(News::Done(seq, result));
            }
            // There is no microphone here, and no gate before it.
            MediaCommand::OpenMicrophone => self.news.send(News::Done(seq, Ok(MediaValue::Microphone))),
            // Candidates are complete from the start.
            MediaCommand::TakeLocal
            | MediaCommand::OpenGate
            | MediaCommand::Flow(_)
            | MediaCommand::Wish(_)
            | MediaCommand::Element(_) => {}
            MediaCommand::Rollback => self.pending = None,
            MediaCommand::Close => {
                self.close();
                return false;
            }
        }
        true
    }

    /// RTCP BYE and DTLS close_notify. Should they fail: the peer learns of the end by signalling all the same.
    fn close(&mut self) {
        if self.rtc.close().is_ok() {
            let _ = self.drain();
        }
    }

    fn report_local(&self, seq: MediaSeq, description: Option<String>) {
        let result = match description {
            Some(description) => {
                self.news.send(News::Done(seq, Ok(MediaValue::Gathering)));
                Ok(MediaValue::Local(description))
            }
            None => Err(MediaError::Description),
        };
        self.news.send(News::Done(seq, result));
    }

    fn offer(&mut self) -> Option<String> {
        let mut changes = self.rtc.sdp_api();
        self.mid = Some(changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// An offer that changes nothing is none to str0m, but an ICE restart always is.
    fn reoffer(&mut self) -> Option<String> {
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    fn answer(&mut self, offer: &str) -> Option<String> {
        self.fingerprint = fingerprint(offer);
        let offer = SdpOffer::from_sdp_string(offer).ok()?;
        let answer = self.rtc.sdp_api().accept_offer(offer).ok()?.to_sdp_string();
        self.pending = None;
        // Without a common codec str0m answers all the same, and refuses the stream.
        sdp::parse(&answer).is_some_and(|info| info.audio_port != 0).then_some(answer)
    }

    fn apply(&mut self, answer: &str) -> Option<()> {
        self.fingerprint = fingerprint(answer);
        let answer = SdpAnswer::from_sdp_string(answer).ok()?;
        self.rtc.sdp_api().accept_answer(self.pending.take()?, answer).ok()
    }

    fn timeout(&mut self) -> Result<(), RtcError> {
        if self.lost.is_some_and(|lost| lost + LOSS_PATIENCE <= Instant::now()) {
            self.lost = None;
            self.news.send(News::State(MediaState::Failed));
        }
        self.input(Input::Timeout(std::time::Instant::now()))
    }

    fn receive(&mut self, packet: &Packet) -> Result<(), RtcError> {
        // What is neither STUN, DTLS nor RTP is not for us.
        let Ok(contents) = packet.contents.as_slice().try_into() else { return Ok(()) };
        let receive = Receive {
            proto: Protocol::Udp,
            source: packet.source,
            destination: packet.destination,
            contents,
        };
        self.input(Input::Receive(std::time::Instant::now(), receive))
    }

    fn input(&mut self, input: Input) -> Result<(), RtcError> {
        if self.rtc.is_alive() { self.rtc.handle_input(input) } else { Ok(()) }
    }

    /// Sends and reports what there is; returns when to come back.
    fn drain(&mut self) -> Result<Instant, RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    let at = Instant::from_std(at);
                    return Ok(self.lost.map_or(at, |lost| at.min(lost + LOSS_PATIENCE)));
                }
                Output::Transmit(transmit) => {
                    if let Some((_, socket)) =
                        self.sockets.iter().find(|(local, _)| *local == transmit.source)
                    {
                        // UDP may lose packets; a full send buffer or a vanished interface is one more way.
                        let _ = socket.try_send_to(&transmit.contents, transmit.destination);
                    }
                }
                Output::Event(event) => self.event(event)?,
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), RtcError> {
        match event {
            Event::Connected => {
                self.connected = true;
                self.ticks.reset();
                self.found();
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed
                if self.lost.is_none() =>
            {
                self.lost = Some(Instant::now());
                self.news.send(News::State(MediaState::Disconnected));
            }
            Event::IceConnectionStateChange(state) if state.is_connected() && self.lost.is_some() => {
                self.found();
            }
            Event::MediaAdded(added) => {
                self.mid.get_or_insert(added.mid);
            }
            Event::MediaData(data) => self.heard(data)?,
            _ => {}
        }
        Ok(())
    }

    fn found(&mut self) {
        self.lost = None;
        self.news.send(News::State(MediaState::Connected));
    }

    fn heard(&mut self, data: MediaData) -> Result<(), RtcError> {
        if let CodecExtra::Tele(key) = data.codec_extra {
            if key.end && self.last_key != Some(data.time) {
                self.last_key = Some(data.time);
                if let Some(key) = key_name(key.event) {
                    self.news.send(News::Dtmf(key));
                }
            }
            return Ok(());
        }
        let law = law(data.params.spec().codec);
        if let Some(listener) = &self.settings.listener {
            // Whoever drops the receiver has heard enough.
            let _ = listener.send(Heard { call: self.news.call, law, payload: data.data.clone() });
        }
        if let Some(port) = &self.settings.port {
            if let Some(law) = law {
                port.hear(law, &data.data);
            }
            return Ok(());
        }
        if self.settings.playback != Playback::Echo || !self.is_sending() {
            return Ok(());
        }
        let Some(writer) = self.mid.and_then(|mid| self.rtc.writer(mid)) else { return Ok(()) };
        let Some(pt) = writer.match_params(data.params) else { return Ok(()) };
        writer.write(pt, data.network_time, data.time, data.data)
    }

    const fn plays(&self) -> bool {
        self.tone.is_some() || self.settings.port.is_some()
    }

    /// The next 20 ms of the tone or the port.
    fn play(&mut self) -> Result<(), RtcError> {
        let sending = self.is_sending();
        let at = self.frames;
        self.frames += 1;
        if !sending {
            return Ok(());
        }
        let Some(writer) = self.mid.and_then(|mid| self.rtc.writer(mid)) else { return Ok(()) };
        let Some((pt, law)) =
            writer.payload_params().find_map(|params| law(params.spec().codec).map(|law| (params.pt(), law)))
        else {
            return Ok(());
        };
        let now = std::time::Instant::now();
        let time = MediaTime::new(at * FRAME_SAMPLES, Frequency::EIGHT_KHZ);
        let frame = match (&self.settings.port, &self.tone) {
            (Some(port), _) => port.play(law, FRAME_SAMPLES),
            (None, Some(tone)) => tone.frame(law, at * FRAME_SAMPLES, FRAME_SAMPLES),
            (None, None) => return Ok(()),
        };
        writer.write(pt, now, time, frame)?;
        self.rtc.handle_input(Input::Timeout(now))
    }

    /// Not on hold, and still there.
    fn is_sending(&self) -> bool {
        let media = self.mid.and_then(|mid| self.rtc.media(mid));
        self.rtc.is_alive() && media.is_some_and(|media| media.direction().is_sending())
    }
}

const fn law(codec: Codec) -> Option<Law> {
    match codec {
        Codec::PCMA => Some(Law::A),
        Codec::PCMU => Some(Law::Mu),
        _ => None,
    }
}

/// RFC 8122, section 5.
fn fingerprint(description: &str) -> String {
    let line = description.lines().find_map(|line| line.strip_prefix("a=fingerprint:"));
    line.unwrap_or_default().to_ascii_lowercase()
}

/// RFC 4733, section 3.2.
fn key_name(event: u8) -> Option<char> {
    "0123456789*#ABCD".chars().nth(usize::from(event))
}

async fn bind(ip: IpAddr) -> std::io::Result<(SocketAddr, Arc<UdpSocket>)> {
    let socket = UdpSocket::bind((ip, 0)).await?;
    Ok((socket.local_addr()?, Arc::new(socket)))
}

async fn read(destination: SocketAddr, socket: Arc<UdpSocket>, packets: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        // Windows reports the ICMP errors of earlier sends here; they end nothing.
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        let contents = buffer.get(..length).unwrap_or_default().to_vec();
        if packets.send(Packet { source, destination, contents }).await.is_err() {
            return;
        }
    }
}
