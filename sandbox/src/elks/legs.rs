//! The legs of phones: one of the crate's own [`Phone`](wasm_softphone::phone::Phone) each, on a line of the
//! domain's proxy.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, interval, sleep_until, timeout};
use wasm_softphone::phone::{
    CallId, CallState, CredentialSource, Credentials, DialRequest, Event, PhoneConfig, Secret,
};
use wasm_softphone::sip::uri::{Uri, escape_user};

use super::audio::Line as Audio;
use super::calls::{Input, LegId};
use super::{DOMAIN, Shared};
use crate::media::{Playback, Settings};
use crate::network::Line;
use crate::numbers::{Agent, Link, Notice};

/// The user that phones' own calls are handed to.
pub(super) const TRUNK: &str = "trunk";
/// After the end, for BYE and its answer, or CANCEL and the ACK of what follows.
const LINGER: Duration = Duration::from_secs(5);
/// Longer than any call rings: the calls keep the time themselves.
const RINGING: Duration = Duration::from_secs(3600);
/// This much silence ends a recording.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a second phone may take to register.
const SECOND: Duration = Duration::from_secs(5);

/// What a leg is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Accept,
    End(Option<u16>),
}

fn config(user: &str) -> PhoneConfig {
    let uri = Uri {
        scheme: "sip".to_owned(),
        user: Some(escape_user(user)),
        host: DOMAIN.to_owned(),
        ..Uri::default()
    };
    PhoneConfig {
        register: false,
        user_agent: "46elks".to_owned(),
        // The provider's calls have neither.
        session_timers: None,
        reliable_provisional: false,
        ..PhoneConfig::new(vec!["ws://127.0.0.1/w1/websocket".to_owned()], uri)
    }
}

fn media(audio: &Arc<Audio>) -> Settings {
    Settings { playback: Playback::Echo, listener: None, port: Some(audio.clone()) }
}

/// Whom to call, and how.
pub(super) struct Invite {
    pub(super) leg: LegId,
    pub(super) call: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) second: Option<bool>,
    pub(super) audio: Arc<Audio>,
}

/// Calls the phones of a user.
pub(super) async fn invite(
    shared: Arc<Shared>,
    invite: Invite,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let second = match invite.second {
        Some(answers) => second_phone(&shared, &invite.to, answers).await,
        None => None,
    };
    let line = shared.network.open_service(&invite.from).await;
    let timers = Arc::new(AtomicBool::new(false));
    let link = Tap { line, targets: None, timers: timers.clone() };
    let mut agent = Agent::new(config(&invite.from), link, media(&invite.audio));
    let drop_after = shared.calls().options.session_timer_drop_ms.map(Duration::from_millis);
    let mut drop_at: Option<Instant> = None;
    let extra_headers = match shared.calls().options.callid_header.clone() {
        Some(name) => vec![(name, invite.call.clone())],
        None => Vec::new(),
    };
    let request = DialRequest {
        target: format!("sip:{}@{DOMAIN}", escape_user(&invite.to)),
        extra_headers,
        timeout: Some(RINGING.into()),
        ..DialRequest::default()
    };
    let mut request = Some(request);
    let mut call = None;
    let mut ticks = interval(Duration::from_millis(500));
    let mut linger: Option<Instant> = None;
    loop {
        tokio::select! {
            notice = agent.next() => match notice {
                Notice::Phone(Event::ConnectDone(Ok(()))) => {
                    let Some(request) = request.take() else { continue };
                    match agent.dial(request) {
                        Ok(id) => call = Some(id),
                        Err(_) => {
                            shared.input(Input::Gone(invite.leg, None));
                            break;
                        }
                    }
                }
                Notice::LinkLost => {
                    shared.input(Input::Gone(invite.leg, None));
                    break;
                }
                notice => {
                    let active = matches!(notice, Notice::Phone(Event::CallState(_, CallState::Active)));
                    if let Some(after) = drop_after.filter(|_| active && timers.load(Ordering::Relaxed)) {
                        drop_at.get_or_insert_with(|| Instant::now() + after);
                    }
                    if tell(&shared, invite.leg, &invite.audio, notice) {
                        linger.get_or_insert_with(|| Instant::now() + LINGER);
                    }
                }
            },
            command = commands.recv() => match (command, call) {
                (Some(Command::Accept), _) => {}
                (Some(Command::End(_)), Some(call)) => {
                    agent.hangup(call);
                    linger.get_or_insert_with(|| Instant::now() + LINGER);
                }
                (Some(Command::End(_)), None) => break,
                (None, _) if linger.is_none() => {
                    if let Some(call) = call {
                        agent.hangup(call);
                    }
                    linger = Some(Instant::now() + LINGER);
                }
                // Nobody talks to this leg any more; only its own time is left.
                (None, _) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            _ = ticks.tick(), if linger.is_none() => {
                if invite.audio.silence() >= SILENCE {
                    shared.input(Input::Silent(invite.leg));
                }
            }
            () = until(drop_at), if linger.is_none() => {
                drop_at = None;
                if let Some(call) = call {
                    agent.hangup(call);
                }
            }
            () = until(linger) => break,
        }
    }
    invite.audio.part();
    if let Some(second) = second {
        second.abort();
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => core::future::pending().await,
    }
}

/// Hands a phone's news to the calls. `true`: the leg is over.
fn tell(shared: &Shared, leg: LegId, audio: &Audio, notice: Notice) -> bool {
    match notice {
        Notice::Phone(Event::CallState(_, CallState::Active)) => shared.input(Input::Answered(leg)),
        Notice::Phone(Event::Ended(_, reason)) => {
            shared.input(Input::Gone(leg, reason.sip_status));
            return true;
        }
        Notice::Dtmf(_, key) => {
            audio.key(key);
            shared.input(Input::Key(leg, key));
        }
        _ => {}
    }
    false
}

/// Another phone of the same user, registered as any other. `None`: it cannot.
async fn second_phone(shared: &Arc<Shared>, user: &str, answers: bool) -> Option<AbortHandle> {
    let secret = shared.secret(user)?;
    let credentials = Credentials { username: None, secret: Secret::Password(secret), realm: None };
    let config =
        PhoneConfig { register: true, credentials: CredentialSource::Static(credentials), ..config(user) };
    let audio = Audio::new();
    audio.set(super::magic::Sound::Tone(1200));
    let mut agent = Agent::new(config, shared.network.open().await, media(&audio));
    let registered = timeout(SECOND, async {
        loop {
            match agent.next().await {
                Notice::Phone(Event::ConnectDone(result)) => return result.is_ok(),
                Notice::LinkLost => return false,
                _ => {}
            }
        }
    });
    if !registered.await.unwrap_or(false) {
        return None;
    }
    let task = spawn_local(async move {
        loop {
            match agent.next().await {
                // One that is over already needs no answer.
                Notice::Phone(Event::Incoming(call)) if answers => drop(agent.answer(call)),
                Notice::LinkLost => return,
                _ => {}
            }
        }
    });
    Some(task.abort_handle())
}

/// Sees on a line what the phone does not say: what INVITEs are for, and whether an answer has session timers.
struct Tap {
    line: Line,
    targets: Option<mpsc::UnboundedSender<String>>,
    timers: Arc<AtomicBool>,
}

impl Link for Tap {
    async fn send(&mut self, text: &str) {
        Link::send(&mut self.line, text).await;
    }

    async fn receive(&mut self) -> Option<String> {
        let text = Link::receive(&mut self.line).await?;
        let header = |name: &str| {
            text.lines()
                .take_while(|line| !line.is_empty())
                .any(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
        };
        if text.starts_with("SIP/2.0 2") && (header("Session-Expires:") || header("x:")) {
            self.timers.store(true, Ordering::Relaxed);
        }
        let target = text.strip_prefix("INVITE ").and_then(|rest| rest.split(' ').next());
        if let Some(user) = target.and_then(|uri| Uri::parse(uri).ok()).and_then(|uri| uri.user_decoded()) {
            // Whoever has dropped the receiver takes no calls.
            if let Some(targets) = &self.targets {
                let _ = targets.send(user);
            }
        }
        Some(text)
    }
}

/// Takes the calls that phones make, one at a time; a second one is met with 486.
pub(super) async fn trunk(shared: Arc<Shared>) {
    loop {
        let line = shared.network.open_service(TRUNK).await;
        let audio = Audio::new();
        let (targets, mut called) = mpsc::unbounded_channel();
        let config = PhoneConfig { max_calls: 1, ..config(TRUNK) };
        let link = Tap { line, targets: Some(targets), timers: Arc::default() };
        let mut agent = Agent::new(config, link, media(&audio));
        let (sender, mut commands) = mpsc::unbounded_channel();
        let mut current: Option<(CallId, LegId)> = None;
        let mut answered = false;
        let mut linger: Option<Instant> = None;
        loop {
            tokio::select! {
                notice = agent.next() => match notice {
                    Notice::Phone(Event::Incoming(call)) => {
                        let to = called.try_recv().unwrap_or_default();
                        let info = agent.phone().call(call);
                        let from = info.and_then(|info| Uri::parse(&info.remote_uri).ok()).and_then(|uri| uri.user_decoded());
                        let from = format!("+{}", from.unwrap_or_default());
                        match shared.client_call(&from, &to, sender.clone(), audio.clone()) {
                            Some(leg) => current = Some((call, leg)),
                            None => drop(agent.reject(call, Some(403))),
                        }
                    }
                    Notice::LinkLost => break,
                    notice => {
                        if let Some((_, leg)) = current
                            && tell(&shared, leg, &audio, notice)
                        {
                            linger = Some(Instant::now() + Duration::from_millis(500));
                        }
                    }
                },
                Some(command) = commands.recv() => {
                    let Some((call, _)) = current else { continue };
                    // A call that has just ended takes no more commands.
                    match command {
                        Command::Accept => {
                            answered = true;
                            drop(agent.answer(call));
                        }
                        Command::End(status) if !answered => drop(agent.reject(call, status.or(Some(480)))),
                        Command::End(_) => agent.hangup(call),
                    }
                }
                () = until(linger) => break,
            }
        }
        audio.part();
    }
}
