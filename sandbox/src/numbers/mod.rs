//! The service numbers: the crate's own [`Phone`](wasm_softphone::phone::Phone) with a behaviour each.

mod agent;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};
use wasm_softphone::phone::{
    CallId, CallState, DialRequest, Direction, EndCause, EndedBy, Event, PhoneConfig,
};
use wasm_softphone::sip::uri::Uri;

pub use agent::{Agent, Link, Notice};

use crate::accounts::DOMAIN;
use crate::media::{Playback, Settings};
use crate::network::{Line, Network};
use crate::report::Report;

/// The pitch of all tones.
const TONE: Playback = Playback::Tone(440);
/// Early media of 605, until it answers.
const EARLY: Duration = Duration::from_secs(2);
/// 606 hangs up after this.
const SHORT_CALL: Duration = Duration::from_secs(3);
/// 607 calls back after this, so that the caller's phone is seen to be idle in between.
const CALL_BACK_DELAY: Duration = Duration::from_secs(1);
/// 607 lets it ring for so long.
const CALL_BACK_RINGING: Duration = Duration::from_secs(30);
/// Calls of one number at a time.
const MAX_CALLS: usize = 64;

/// What a number does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Answer,
    Busy,
    Ring,
    Decline,
    EarlyMedia,
    HangUp,
    CallBack,
}

/// A number that can be called.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// What to dial.
    pub number: &'static str,
    /// What it does, in a few words.
    pub name: &'static str,
    behaviour: Behaviour,
    playback: Playback,
}

/// All of them.
pub const NUMBERS: [Number; 8] = [
    number("600", "Echo", Behaviour::Answer, Playback::Echo),
    number("601", "440 Hz tone", Behaviour::Answer, TONE),
    number("602", "Busy", Behaviour::Busy, TONE),
    number("603", "Rings, never answers", Behaviour::Ring, TONE),
    number("604", "Declines", Behaviour::Decline, TONE),
    number("605", "Early media, then answers", Behaviour::EarlyMedia, TONE),
    number("606", "Hangs up after 3 s", Behaviour::HangUp, TONE),
    number("607", "Calls you back", Behaviour::CallBack, TONE),
];

const fn number(
    number: &'static str,
    name: &'static str,
    behaviour: Behaviour,
    playback: Playback,
) -> Number {
    Number { number, name, behaviour, playback }
}

/// Runs the numbers on a thread of their own, until `stop` changes: the phone's state machine is made for one
/// thread, and media must not wait for web pages.
///
/// # Errors
/// When the system gives no thread.
pub(crate) async fn spawn(
    network: Network,
    report: Report,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the first caller can come.
    let mut lines = Vec::new();
    for number in NUMBERS {
        lines.push((number, network.open_service(number.number).await));
    }
    std::thread::Builder::new().name("numbers".to_owned()).spawn(move || {
        let tasks = LocalSet::new();
        for (number, mut line) in lines {
            let (network, report) = (network.clone(), report.clone());
            tasks.spawn_local(async move {
                loop {
                    Desk::new(number, line, report.clone()).serve().await;
                    line = network.open_service(number.number).await;
                }
            });
        }
        drop(network);
        runtime.block_on(tasks.run_until(async move {
            // A dropped sender is the end as well.
            let _ = stop.changed().await;
        }));
    })?;
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    Answer(CallId),
    HangUp(CallId),
    CallBack(String),
}

/// One number at work.
struct Desk {
    number: Number,
    agent: Agent<Line>,
    report: Report,
    /// Who is on each call: the address of record.
    callers: BTreeMap<CallId, String>,
    plans: Vec<(Instant, Plan)>,
}

impl Desk {
    fn new(number: Number, line: Line, report: Report) -> Self {
        let uri = Uri {
            scheme: "sip".to_owned(),
            user: Some(number.number.to_owned()),
            host: DOMAIN.to_owned(),
            ..Uri::default()
        };
        let config = PhoneConfig {
            display_name: Some(number.name.to_owned()),
            register: false,
            max_calls: MAX_CALLS,
            user_agent: concat!("sandbox/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..PhoneConfig::new(vec!["ws://127.0.0.1/sip".to_owned()], uri)
        };
        let settings = Settings { playback: number.playback, listener: None, port: None };
        Self {
            number,
            agent: Agent::new(config, line, settings),
            report,
            callers: BTreeMap::new(),
            plans: Vec::new(),
        }
    }

    /// Ends when the line is lost.
    async fn serve(mut self) {
        loop {
            let due = self.plans.iter().map(|(at, _)| *at).min();
            tokio::select! {
                notice = self.agent.next() => match notice {
                    Notice::Phone(event) => self.on_event(event),
                    Notice::Dtmf(call, key) => self.on_key(call, key),
                    Notice::LinkLost => return,
                },
                () = async {
                    match due {
                        Some(at) => sleep_until(at).await,
                        None => core::future::pending().await,
                    }
                } => self.carry_out(),
            }
        }
    }

    fn plan(&mut self, after: Duration, plan: Plan) {
        self.plans.push((Instant::now() + after, plan));
    }

    fn carry_out(&mut self) {
        let now = Instant::now();
        let (due, later) = core::mem::take(&mut self.plans).into_iter().partition(|(at, _)| *at <= now);
        self.plans = later;
        let due: Vec<(Instant, Plan)> = due;
        for (_, plan) in due {
            match plan {
                Plan::Answer(call) => self.answer(call),
                Plan::HangUp(call) => self.agent.hangup(call),
                Plan::CallBack(target) => {
                    let request = DialRequest {
                        target,
                        timeout: Some(CALL_BACK_RINGING.into()),
                        ..DialRequest::default()
                    };
                    if let Err(error) = self.agent.dial(request) {
                        self.complain(&error);
                    }
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Incoming(call) => self.on_incoming(call),
            Event::CallState(call, CallState::EarlyMedia)
                if self.number.behaviour == Behaviour::EarlyMedia =>
            {
                self.plan(EARLY, Plan::Answer(call));
            }
            Event::CallState(call, CallState::Active) if self.number.behaviour == Behaviour::HangUp => {
                self.plan(SHORT_CALL, Plan::HangUp(call));
            }
            Event::Ended(call, reason) => {
                let caller = self.callers.remove(&call);
                self.plans
                    .retain(|(_, plan)| !matches!(plan, Plan::Answer(c) | Plan::HangUp(c) if *c == call));
                let hung_up = reason.cause == EndCause::Completed && reason.by == EndedBy::Remote;
                if let Some(caller) = caller
                    && hung_up
                    && self.number.behaviour == Behaviour::CallBack
                {
                    self.plan(CALL_BACK_DELAY, Plan::CallBack(caller));
                }
            }
            _ => {}
        }
    }

    fn on_incoming(&mut self, call: CallId) {
        let caller = self.agent.phone().call(call).and_then(|info| Uri::parse(&info.remote_uri).ok());
        if let Some(caller) = caller {
            self.callers.insert(call, caller.aor());
        }
        match self.number.behaviour {
            Behaviour::Answer | Behaviour::HangUp | Behaviour::CallBack => self.answer(call),
            Behaviour::Busy => self.reject(call, 486),
            Behaviour::Decline => self.reject(call, 603),
            Behaviour::Ring => {}
            Behaviour::EarlyMedia => {
                // An INVITE without an offer leaves nothing to answer early.
                if self.agent.progress(call).is_err() {
                    self.plan(EARLY, Plan::Answer(call));
                }
            }
        }
    }

    fn answer(&mut self, call: CallId) {
        if let Err(error) = self.agent.answer(call) {
            self.complain(&error);
        }
    }

    fn reject(&mut self, call: CallId, status: u16) {
        if let Err(error) = self.agent.reject(call, Some(status)) {
            self.complain(&error);
        }
    }

    fn on_key(&self, call: CallId, key: char) {
        let Some(info) = self.agent.phone().call(call) else { return };
        let other = Uri::parse(&info.remote_uri).ok().and_then(|uri| uri.user_decoded());
        let other = other.as_deref().unwrap_or("somebody");
        let number = self.number.number;
        match info.direction {
            Direction::Incoming => self.report.event(&format!("{other} -> {number} pressed {key}")),
            Direction::Outgoing => self.report.event(&format!("{number} -> {other} answerer pressed {key}")),
        }
    }

    fn complain(&self, error: &wasm_softphone::error::Error) {
        self.report.event(&format!("{}: {error}", self.number.number));
    }
}
