//! Does what the calls want done: one thread for all phones, for a phone's state machine is made for one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::Shared;
use super::audio::Line as Audio;
use super::calls::{Input, LegId, Output};
use super::legs::{self, Command, Invite};
use super::webhooks;

/// What more legs than this have heard is forgotten, the oldest first.
const MAX_LEGS: usize = 10_000;

/// The way to the legs of phones.
#[derive(Debug, Default)]
pub(super) struct Wires(pub(super) BTreeMap<LegId, (mpsc::UnboundedSender<Command>, Arc<Audio>)>);

impl Wires {
    pub(super) fn insert(&mut self, leg: LegId, sender: mpsc::UnboundedSender<Command>, audio: Arc<Audio>) {
        if self.0.len() >= MAX_LEGS {
            self.0.pop_first();
        }
        self.0.insert(leg, (sender, audio));
    }
}

/// Runs the calls until `stop` changes.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn spawn(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("elks".to_owned()).spawn(move || {
        let tasks = LocalSet::new();
        tasks.spawn_local(legs::trunk(shared.clone()));
        tasks.spawn_local(run(shared));
        runtime.block_on(tasks.run_until(async move {
            // A dropped sender is the end as well.
            let _ = stop.changed().await;
        }));
    })?;
    Ok(())
}

async fn run(shared: Arc<Shared>) {
    loop {
        loop {
            let output = shared.calls().poll_output();
            let Some(output) = output else { break };
            carry_out(&shared, output);
        }
        let due = shared.calls().poll_timeout();
        tokio::select! {
            () = shared.wake.notified() => {}
            () = shared.clock.sleep_until(due) => {
                let now = shared.clock.now();
                shared.calls().handle(now, Input::Timer);
            }
        }
    }
}

fn carry_out(shared: &Arc<Shared>, output: Output) {
    match output {
        Output::Invite { leg, call, from, to, second } => {
            let (sender, commands) = mpsc::unbounded_channel();
            let audio = Audio::with(!shared.calls().options.pcma_only);
            shared.wires().insert(leg, sender, audio.clone());
            spawn_local(legs::invite(
                shared.clone(),
                Invite { leg, call, from, to, second, audio },
                commands,
            ));
        }
        Output::Accept(leg) => command(shared, leg, Command::Accept),
        Output::End(leg, status) => command(shared, leg, Command::End(status)),
        Output::Play(leg, sound) => {
            if let Some((_, audio)) = shared.wires().0.get(&leg) {
                audio.set(sound);
            }
        }
        Output::Join(a, b) => {
            let wires = shared.wires();
            if let (Some((_, a)), Some((_, b))) = (wires.0.get(&a), wires.0.get(&b)) {
                Audio::join(a, b);
            }
        }
        Output::Fetch { call, seq, url, form } => {
            spawn_local(webhooks::fetch(shared.clone(), call, seq, url, form));
        }
        Output::Get(url) => {
            spawn_local(webhooks::get(shared.clone(), url));
        }
        Output::Hook { url, form, after } => {
            spawn_local(webhooks::report(shared.clone(), url, form, after.into()));
        }
    }
}

fn command(shared: &Shared, leg: LegId, command: Command) {
    if let Some((sender, _)) = shared.wires().0.get(&leg) {
        // A leg that has ended needs no command.
        let _ = sender.send(command);
    }
}
