//! Carries out what the calls' state machine says: writes by compare-and-swap first, then acts.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use url::Url;
use uuid::Uuid;

use crate::{
    calls::{self, Code, Effect, Event, Plan, Record, State, Timing, VoiceReply, transition},
    clock,
    config::Config,
    crash,
    limits::Limits,
    store::{Created, Durability, Store, Unavailable},
    telemetry::{Alarm, Metrics},
    tokens::{Purpose, Tokens},
    upstream::{MakeCall, Outcome, Upstream},
};

/// How often deadlines are looked for.
const SWEEP: Duration = Duration::from_millis(200);
/// How often a write is tried that others overtake.
const TRIES: usize = 64;
/// For how long the outcome of a request is tried to be written when the store is away.
const PERSIST: Duration = Duration::from_secs(30);

/// The calls of this instance, and of the others that share its store.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) store: Store,
    pub(crate) timing: Timing,
    pub(crate) tokens: Tokens,
    pub(crate) stopping: CancellationToken,
    upstream: Upstream,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    /// Where 46elks finds the webhooks.
    hooks: Url,
    tasks: TaskTracker,
}

impl Exchange {
    pub(crate) fn new(
        config: &Config,
        hooks: Url,
        store: Store,
        timing: Timing,
        upstream: Upstream,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let exchange = Arc::new(Self {
            store,
            timing,
            tokens: Tokens::new(config.hook_key.clone()),
            stopping: CancellationToken::new(),
            upstream,
            limits,
            metrics,
            hooks,
            tasks: TaskTracker::new(),
        });
        exchange.tasks.spawn(sweep(Arc::clone(&exchange)));
        exchange
    }

    /// Writes a call down and has it dialled. What is begun goes on when the browser that asked is gone.
    pub(crate) async fn start(self: &Arc<Self>, record: Record) -> Result<Created, Unavailable> {
        let exchange = Arc::clone(self);
        self.run(async move {
            let (record, effects) = transition(&record, &Event::Begin, clock::now(), &exchange.timing);
            let created = exchange.store.create(record).await?;
            crash::point("record-written");
            if let Created::New(record) = &created {
                exchange.metrics.call_started();
                let call = Arc::clone(&exchange);
                if let (true, Some(plan)) = (effects.contains(&Effect::Originate), record.plan.clone()) {
                    let (id, nonce) = (record.call_id, record.nonce.clone());
                    exchange.tasks.spawn(async move { call.originate(id, &nonce, &plan).await });
                }
            }
            Ok(created)
        })
        .await
    }

    /// Writes down the cancellation of a call that is not known.
    pub(crate) async fn bury(&self, tombstone: Record) -> Result<Created, Unavailable> {
        self.store.create(tombstone).await
    }

    /// Lets something happen to a call; `None` where there is no such call.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        id: Uuid,
        event: Event,
    ) -> Result<Option<Record>, Unavailable> {
        let exchange = Arc::clone(self);
        let applied = self.run(async move { exchange.happen(id, &event).await }).await?;
        Ok(applied.map(|(record, _)| record))
    }

    /// The answer to a voice_start: the plan if the far leg is to be dialled.
    pub(crate) async fn voice_start(
        self: &Arc<Self>,
        id: Uuid,
        callid: String,
    ) -> Result<Option<Plan>, Unavailable> {
        let exchange = Arc::clone(self);
        self.run(async move { exchange.decide(id, callid).await }).await
    }

    /// The call once it is known what came of its request, or as it is after `limit`.
    pub(crate) async fn answered(&self, id: Uuid, limit: Duration) -> Result<Option<Record>, Unavailable> {
        self.until(id, limit, Record::answered).await
    }

    /// The call once it has changed, or as it is after `limit`.
    pub(crate) async fn until(
        &self,
        id: Uuid,
        limit: Duration,
        enough: impl Fn(&Record) -> bool,
    ) -> Result<Option<Record>, Unavailable> {
        let started = Instant::now();
        loop {
            let Some(record) = self.store.get(id).await? else { return Ok(None) };
            let left = limit.saturating_sub(started.elapsed());
            if enough(&record) || left.is_zero() || self.stopping.is_cancelled() {
                return Ok(Some(record));
            }
            tokio::select! {
                () = self.store.changed(id, record.version, left) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Ends what waits, and waits for what must not be cut off.
    pub(crate) async fn shut_down(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs to its end, whether or not somebody still waits for it.
    async fn run<T: Send + 'static>(
        &self,
        job: impl Future<Output = Result<T, Unavailable>> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let lost = |_| Unavailable("a task was lost".to_owned());
        let done = self.tasks.spawn(job).await.map_err(lost).flatten();
        if done.is_err() {
            self.metrics.alarm(Alarm::Store);
        }
        done
    }

    async fn happen(
        self: &Arc<Self>,
        id: Uuid,
        event: &Event,
    ) -> Result<Option<(Record, Option<VoiceReply>)>, Unavailable> {
        for _ in 0..TRIES {
            let Some(record) = self.store.get(id).await? else { return Ok(None) };
            let (next, effects) = transition(&record, event, clock::now(), &self.timing);
            let (was, unchanged) = (record.state, next == record);
            let written = if unchanged {
                Some(record)
            } else {
                let small = matches!(event, Event::Seen | Event::ConnectReturned) && effects.is_empty();
                let relaxed = small && (next.state == was || next.state == State::Bridging);
                let durability = if relaxed { Durability::Relaxed } else { Durability::Durable };
                self.store.replace(next, durability).await?
            };
            if let Some(record) = written {
                if record.state != was {
                    self.report(&record);
                }
                let reply = self.carry_out(&record, effects);
                return Ok(Some((record, reply)));
            }
        }
        Err(Unavailable("a record that never rests".to_owned()))
    }

    fn carry_out(self: &Arc<Self>, record: &Record, effects: Vec<Effect>) -> Option<VoiceReply> {
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::Answer(reply) => answer = Some(reply),
                Effect::Settle { duration_s, cost } => {
                    let exchange = Arc::clone(self);
                    self.tasks.spawn(async move { exchange.settle(duration_s, cost).await });
                }
                Effect::Alarm(alarm) => self.raise(record, alarm),
                Effect::Read { id } => {
                    let (exchange, call_id) = (Arc::clone(self), record.call_id);
                    self.tasks.spawn(async move {
                        let call = exchange.upstream.read_call(&id).await;
                        exchange.persist(call_id, &Event::Read(call)).await;
                    });
                }
                // Only `start` makes calls, once their record is written.
                Effect::Originate => {}
            }
        }
        answer
    }

    async fn decide(self: &Arc<Self>, id: Uuid, callid: String) -> Result<Option<Plan>, Unavailable> {
        crash::point("voice-before-write");
        let event = Event::VoiceStart { callid };
        loop {
            if self.switched_off(id).await? {
                return Ok(None);
            }
            let Some((record, reply)) = self.happen(id, &event).await? else { return Ok(None) };
            match reply {
                Some(VoiceReply::Wait { until }) => {
                    let left = Duration::from_millis(until.saturating_sub(clock::now()));
                    self.store.changed(id, record.version, left).await;
                }
                Some(VoiceReply::Connect) => {
                    // The decision may be another request's, whose write is still under way.
                    self.store.barrier().await?;
                    crash::point("voice-after-write");
                    // It may have been set while the claim was waited for.
                    if self.switched_off(id).await? {
                        return Ok(None);
                    }
                    if record.state == State::ClientAnswered {
                        let exchange = Arc::clone(self);
                        self.tasks.spawn(async move { exchange.persist(id, &Event::ConnectReturned).await });
                    }
                    return Ok(record.plan);
                }
                Some(VoiceReply::Hangup) | None => return Ok(None),
            }
        }
    }

    /// Whether all calls are stopped: then this one is cancelled before its far end is dialled.
    async fn switched_off(self: &Arc<Self>, id: Uuid) -> Result<bool, Unavailable> {
        let Err(limited) = self.limits.check_switch() else { return Ok(false) };
        warn!(call_id = %id, code = limited.code, "the far end is not dialled");
        self.happen(id, &Event::Cancel).await?;
        Ok(true)
    }

    /// Sends the one request of a call.
    async fn originate(self: &Arc<Self>, id: Uuid, nonce: &str, plan: &Plan) {
        // A cancellation that came in between is cheaper to heed now.
        let wanted = match self.store.get(id).await {
            Ok(record) => record.is_some_and(|record| record.state == State::Accepted),
            Err(_) => false,
        };
        if !wanted {
            self.persist(id, &Event::NotSent).await;
            return;
        }
        crash::point("before-post");
        let (Some(voice_start), Some(whenhangup)) =
            (self.hook("v", id, nonce, Purpose::Voice), self.hook("h", id, nonce, Purpose::Hangup))
        else {
            self.persist(id, &Event::NotSent).await;
            return;
        };
        let call = MakeCall {
            from: &plan.from,
            to: &plan.number,
            timeout_s: self.timing.ring.div_ceil(1_000),
            voice_start: &voice_start,
            whenhangup: &whenhangup,
        };
        let asked = Instant::now();
        let (outcome, status) = self.upstream.make_call(&call).await;
        self.metrics.upstream(status, asked.elapsed());
        crash::point("after-answer");
        let event = match outcome {
            Outcome::Started(id) => Event::Started { id },
            Outcome::Refused(refusal) => {
                warn!(call_id = %id, code = refusal.code.as_str(), "46elks refused the call");
                match refusal.code {
                    Code::ProviderAuth => self.metrics.alarm(Alarm::ProviderAuth),
                    Code::ProviderConfig => self.metrics.alarm(Alarm::ProviderConfig),
                    Code::ProviderCredit => self.metrics.alarm(Alarm::ProviderCredit),
                    Code::InvalidDestination | Code::ProviderBusy | Code::ProviderError => {}
                }
                Event::Refused(refusal)
            }
            Outcome::Unknown => {
                warn!(call_id = %id, code = "provider_unknown", "no answer from 46elks");
                Event::Unknown
            }
        };
        self.persist(id, &event).await;
    }

    /// The address of a webhook of one call.
    fn hook(&self, kind: &str, id: Uuid, nonce: &str, purpose: Purpose) -> Option<String> {
        let token = self.tokens.token(id, nonce, purpose);
        let mut url = self.hooks.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["hooks", kind, &token]);
        Some(url.into())
    }

    /// Lets something happen to a call, and again if the store was away. The deadlines resolve what stays unwritten.
    async fn persist(self: &Arc<Self>, id: Uuid, event: &Event) {
        let started = Instant::now();
        while let Err(problem) = self.happen(id, event).await {
            if started.elapsed() > PERSIST || self.stopping.is_cancelled() {
                warn!(call_id = %id, store = %problem, "what happened can't be written");
                self.metrics.alarm(Alarm::Store);
                return;
            }
            tokio::time::sleep(SWEEP).await;
        }
    }

    async fn settle(&self, duration_s: u64, cost: Option<u64>) {
        if self.limits.settle(Duration::from_secs(duration_s), cost).await.is_err() {
            self.metrics.alarm(Alarm::Store);
        }
    }

    fn report(&self, record: &Record) {
        let (state, reason) = (record.state.as_str(), record.outcome().map(calls::Reason::as_str));
        let (duration_s, cost) = (record.duration_s, record.cost);
        info!(call_id = %record.call_id, state, reason, duration_s, cost, "call");
        if let Some(reason) = reason {
            self.metrics.call_ended(reason, duration_s.map(Duration::from_secs));
        }
    }

    fn raise(&self, record: &Record, alarm: calls::Alarm) {
        let alarm = match alarm {
            calls::Alarm::OtherCall => Alarm::OtherCall,
            calls::Alarm::ClaimSkew => Alarm::ClaimDisagreement,
            calls::Alarm::TooLong => Alarm::TooLong,
            calls::Alarm::OutcomeUnknown => Alarm::OutcomeUnknown,
        };
        warn!(call_id = %record.call_id, kind = alarm.as_str(), "somebody should look at this call");
        self.metrics.alarm(alarm);
    }
}

async fn sweep(exchange: Arc<Exchange>) {
    let mut available = true;
    while !exchange.stopping.is_cancelled() {
        let swept = sweep_once(&exchange).await;
        match (&swept, available) {
            (Err(problem), true) => {
                warn!(store = %problem, "deadlines can't be looked for");
                exchange.metrics.alarm(Alarm::Store);
            }
            (Ok(()), false) => info!("the store is back"),
            _ => {}
        }
        available = swept.is_ok();
        let _stopping = tokio::time::timeout(SWEEP, exchange.stopping.cancelled()).await;
    }
}

async fn sweep_once(exchange: &Arc<Exchange>) -> Result<(), Unavailable> {
    let mut swept = Ok(());
    for id in exchange.store.due(clock::now()).await? {
        // One that can't be read, or written, must not keep the others from their deadlines.
        if let Err(problem) = exchange.happen(id, &Event::Tick).await {
            swept = Err(problem);
        }
    }
    swept
}
