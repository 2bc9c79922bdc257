use super::{Decision, Hangup, Millis, Reason, Record, Refusal, State, Timing, Voice};

/// When to ask 46elks how a call went, counted from when its whenhangup was due.
const READS: [Millis; 6] = [0, 5_000, 10_000, 20_000, 30_000, 40_000];
/// A call that was cancelled after the far leg was dialled, and of which nothing is heard any more.
const SILENCE: Millis = 120_000;
/// A claim and its voice_start belong together; more than this between them is odd.
const SKEW: Millis = 2_000;

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written down: its one request may be sent.
    Begin,
    /// 46elks made the call.
    Started {
        /// 46elks' id of it.
        id: String,
    },
    /// 46elks didn't.
    Refused(Refusal),
    /// The request was sent, and nobody knows what came of it.
    Unknown,
    /// The request was never sent.
    NotSent,
    /// The browser's leg is answered, and 46elks asks what to do.
    VoiceStart {
        /// 46elks' id of the call.
        callid: String,
    },
    /// 46elks was told to dial the far leg.
    ConnectReturned,
    /// The client answered a call and takes it for this one.
    Claim {
        /// SHA-256 of its SIP Call-ID.
        hash: Option<String>,
    },
    /// The client asked how the call is.
    Seen,
    /// The client doesn't want it any more.
    Cancel,
    /// 46elks says that the call is over.
    HungUp(Hangup),
    /// 46elks' record of the call; `None` where it couldn't be had.
    Read(Option<Hangup>),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the one request.
    Originate,
    /// Answer the voice_start.
    Answer(VoiceReply),
    /// Ask 46elks how the call went.
    Read {
        /// 46elks' id of the call.
        id: String,
    },
    /// Count what it cost.
    Settle {
        /// How long it took, in seconds.
        duration_s: u64,
        /// In 1/10000 of the account's currency.
        cost: Option<u64>,
    },
    /// Somebody should look.
    Alarm(Alarm),
}

/// The answer to a voice_start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoiceReply {
    /// Dial the far leg.
    Connect,
    /// Don't.
    Hangup,
    /// Ask again when the record changes, at the latest then.
    Wait {
        /// The end of the wait for the claim.
        until: Millis,
    },
}

/// What an operator should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// A voice_start of another call than the one that is bound.
    OtherCall,
    /// The claim and the voice_start lie far apart: another device may have answered.
    ClaimSkew,
    /// A call is longer than allowed.
    TooLong,
    /// It isn't known what 46elks did.
    OutcomeUnknown,
}

/// What becomes of `record` by `event` at `now`, and what is to be done. Deadlines that have passed come first, so
/// a late timer changes nothing.
#[must_use]
pub fn transition(record: &Record, event: &Event, now: Millis, timing: &Timing) -> (Record, Vec<Effect>) {
    let mut next = record.clone();
    let mut effects = Vec::new();
    let mut step = Step { record: &mut next, effects: &mut effects, now, timing };
    step.pass_deadlines();
    step.take(event);
    if next.visible() != record.visible() {
        next.seq = next.seq.saturating_add(1);
    }
    (next, effects)
}

/// When [`Event::Tick`] does something, if nothing else happens before.
#[must_use]
pub fn next_deadline(record: &Record, timing: &Timing) -> Option<Millis> {
    if record.ended() {
        return None;
    }
    [
        read_at(record, timing),
        Some(end_at(record, timing)),
        claim_until(record, timing),
        idle_at(record, timing),
    ]
    .into_iter()
    .flatten()
    .min()
}

struct Step<'a> {
    record: &'a mut Record,
    effects: &'a mut Vec<Effect>,
    now: Millis,
    timing: &'a Timing,
}

impl Step<'_> {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Begin => self.begin(),
            Event::Started { id } => self.started(id),
            Event::Refused(refusal) => self.refused(*refusal),
            Event::Tick => {}
            Event::Unknown => self.record.outcome_unknown = true,
            Event::NotSent => {
                if !self.record.ended() && self.record.voice.is_none() {
                    self.end(State::Ended, self.record.reason.unwrap_or(Reason::Cancelled));
                }
            }
            Event::VoiceStart { callid } => self.voice_start(callid),
            Event::ConnectReturned => {
                if self.record.state == State::ClientAnswered {
                    self.record.state = State::Bridging;
                }
            }
            Event::Claim { hash } => self.claim(hash.as_deref()),
            Event::Seen => self.record.seen_at = self.record.seen_at.max(self.now),
            Event::Cancel => self.cancel(Reason::Cancelled),
            Event::HungUp(hangup) => self.hung_up(hangup),
            Event::Read(answer) => self.read(answer.as_ref()),
        }
    }

    /// Only the record's first write dials.
    fn begin(&mut self) {
        let untouched = self.record.version == 0 && self.record.state == State::Accepted;
        if untouched && self.record.plan.is_some() {
            self.effects.push(Effect::Originate);
        }
    }

    fn started(&mut self, id: &str) {
        self.record.provider_id.get_or_insert_with(|| id.to_owned());
        if self.record.state == State::Accepted {
            self.record.state = State::RingingClient;
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        // A voice_start is better proof of a call than an error is of none.
        if self.record.ended() || self.record.voice.is_some() {
            return;
        }
        self.record.refusal = Some(refusal);
        if refusal.made {
            // The browser's leg rings, so its number is not free yet.
            self.cancel(Reason::ProviderError);
            return;
        }
        match self.record.reason {
            Some(pending) => self.end(State::Ended, pending),
            None => self.end(State::Failed, Reason::ProviderError),
        }
    }

    fn voice_start(&mut self, callid: &str) {
        let reply = self.voice_reply(callid);
        self.effects.push(Effect::Answer(reply));
    }

    fn voice_reply(&mut self, callid: &str) -> VoiceReply {
        let other = |known: Option<&str>| known.is_some_and(|known| known != callid);
        let bound = self.record.voice.as_ref().map(|voice| voice.callid.as_str());
        if other(bound) || other(self.record.provider_id.as_deref()) {
            self.alarm(Alarm::OtherCall);
            return VoiceReply::Hangup;
        }
        if self.record.ended() || self.record.state == State::Cancelling {
            return VoiceReply::Hangup;
        }
        if self.record.voice.is_none() {
            self.record.voice =
                Some(Voice { callid: callid.to_owned(), at: self.now, decision: Decision::Waiting });
            self.record.state = State::RingingClient;
            self.connect_if_claimed();
        }
        match (&self.record.voice, claim_until(self.record, self.timing)) {
            (Some(Voice { decision: Decision::Connect, .. }), _) => VoiceReply::Connect,
            (_, Some(until)) => VoiceReply::Wait { until },
            _ => VoiceReply::Hangup,
        }
    }

    fn claim(&mut self, hash: Option<&str>) {
        if self.record.ended() || self.record.state == State::Cancelling {
            // Somebody answered our leg, and the client a call much later: it was not the same one.
            let answered_at = self.record.voice.as_ref().map(|voice| voice.at);
            let late = answered_at.is_some_and(|at| self.now.saturating_sub(at) > SKEW);
            if late && self.record.claimed_at.is_none() {
                self.alarm(Alarm::ClaimSkew);
            }
            return;
        }
        self.record.seen_at = self.record.seen_at.max(self.now);
        if self.record.claimed_at.is_none() {
            self.record.claimed_at = Some(self.now);
            self.record.claim = hash.map(str::to_owned);
        }
        self.connect_if_claimed();
    }

    /// The one place where the far leg is decided on: voice_start and claim are both there, in time.
    fn connect_if_claimed(&mut self) {
        let Some(claimed_at) = self.record.claimed_at else { return };
        let Some(voice) = self.record.voice.as_mut().filter(|voice| voice.decision == Decision::Waiting)
        else {
            return;
        };
        voice.decision = Decision::Connect;
        self.record.connected_at = Some(self.now);
        self.record.state = State::ClientAnswered;
        // A claim without a hash is made ahead of the answer.
        if self.record.claim.is_some() && self.now.saturating_sub(claimed_at) > SKEW {
            self.alarm(Alarm::ClaimSkew);
        }
    }

    fn cancel(&mut self, reason: Reason) {
        if self.record.ended() || self.record.state == State::Cancelling {
            return;
        }
        self.record.state = State::Cancelling;
        self.record.cancelled_at = Some(self.now);
        self.record.reason = Some(reason);
        self.reject();
        self.restart_reads();
    }

    fn reject(&mut self) {
        if let Some(voice) = &mut self.record.voice
            && voice.decision == Decision::Waiting
        {
            voice.decision = Decision::Reject;
        }
    }

    fn hung_up(&mut self, hangup: &Hangup) {
        let known: Vec<&str> = [
            self.record.voice.as_ref().map(|voice| voice.callid.as_str()),
            self.record.provider_id.as_deref(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let ours = hangup.id.as_deref().is_none_or(|id| known.is_empty() || known.contains(&id));
        if !ours || self.record.plan.is_none() {
            self.alarm(Alarm::OtherCall);
            return;
        }
        self.settle(hangup);
        if !self.record.ended() {
            if let Some(id) = &hangup.id {
                self.record.provider_id.get_or_insert_with(|| id.clone());
            }
            let reason = hangup.reason(self.record, self.now, self.timing);
            if self.record.connected_at.is_some() {
                self.record.duration_s = hangup.talked_s();
            }
            self.end(State::Ended, reason);
        }
    }

    fn settle(&mut self, hangup: &Hangup) {
        if !self.record.settled {
            self.record.settled = true;
            self.record.cost = hangup.cost;
            let duration_s = hangup.duration_s.or_else(|| hangup.talked_s()).unwrap_or(0);
            self.record.settled_s = duration_s;
            self.effects.push(Effect::Settle { duration_s, cost: hangup.cost });
        }
    }

    fn read(&mut self, answer: Option<&Hangup>) {
        if let Some(call) = answer
            && call.is_final()
            && !self.record.ended()
        {
            self.hung_up(call);
        }
    }

    fn pass_deadlines(&mut self) {
        if claim_until(self.record, self.timing).is_some_and(|until| self.now >= until) {
            self.cancel(Reason::Unverified);
        }
        if idle_at(self.record, self.timing).is_some_and(|at| self.now >= at) {
            self.cancel(Reason::Cancelled);
        }
        if self.record.ended() {
            return;
        }
        if self.now >= end_at(self.record, self.timing) {
            self.give_up();
        } else if read_at(self.record, self.timing).is_some_and(|at| self.now >= at)
            && let Some(id) = self.known_id()
        {
            let longest = self.record.connected_at.map(|at| longest(at, self.timing));
            if longest.is_some_and(|longest| self.now >= longest) && self.record.cancelled_at.is_none() {
                self.alarm(Alarm::TooLong);
            }
            self.record.reads = self.record.reads.saturating_add(1);
            // Reads that were missed, while nobody was there, are not made up for.
            self.record.read_after = self.now.saturating_add(1_000);
            self.effects.push(Effect::Read { id });
        }
    }

    /// Nothing was heard in time.
    fn give_up(&mut self) {
        if self.record.provider_id.is_none() || self.record.connected_at.is_some() {
            self.alarm(Alarm::OutcomeUnknown);
        }
        self.reject();
        match (self.record.reason, self.known_id()) {
            (Some(pending), _) => self.end(State::Ended, pending),
            (None, None) => self.end(State::Failed, Reason::ProviderUnknown),
            (None, Some(_)) if self.record.connected_at.is_some() => {
                self.end(State::Ended, Reason::ProviderUnknown);
            }
            (None, Some(_)) => self.end(State::Ended, Reason::ClientUnreachable),
        }
    }

    fn end(&mut self, state: State, reason: Reason) {
        self.reject();
        self.record.state = state;
        self.record.reason = Some(reason);
        self.record.ended_at = Some(self.now);
    }

    fn restart_reads(&mut self) {
        self.record.reads = 0;
        self.record.read_after = 0;
    }

    fn known_id(&self) -> Option<String> {
        let voice = self.record.voice.as_ref().map(|voice| voice.callid.clone());
        self.record.provider_id.clone().or(voice)
    }

    fn alarm(&mut self, alarm: Alarm) {
        self.effects.push(Effect::Alarm(alarm));
    }
}

/// The end of the wait for the claim, while there is one.
fn claim_until(record: &Record, timing: &Timing) -> Option<Millis> {
    let voice = record.voice.as_ref().filter(|voice| voice.decision == Decision::Waiting)?;
    (!record.ended()).then(|| voice.at.saturating_add(timing.claim))
}

/// When the page counts as closed.
fn idle_at(record: &Record, timing: &Timing) -> Option<Millis> {
    // A bridge that is up lives by its SIP leg, not by polls, which a page in the background may not get to send.
    let unproven = matches!(record.state, State::Accepted | State::RingingClient);
    unproven.then(|| record.seen_at.saturating_add(timing.idle))
}

/// When whenhangup should have come.
fn due_at(record: &Record, timing: &Timing) -> Millis {
    let ring = timing.slot(record.created_at);
    match (record.cancelled_at, record.connected_at) {
        (Some(cancelled_at), _) => cancelled_at.saturating_add(timing.grace),
        // Sooner if the page is gone: then the leg is, too.
        (None, Some(connected_at)) => {
            longest(connected_at, timing).min(record.seen_at.saturating_add(timing.idle))
        }
        (None, None) => ring,
    }
}

fn longest(connected_at: Millis, timing: &Timing) -> Millis {
    connected_at.saturating_add(timing.max_duration).saturating_add(timing.grace)
}

/// When 46elks is asked next: a bounded number of times.
fn read_at(record: &Record, timing: &Timing) -> Option<Millis> {
    if record.ended() || (record.provider_id.is_none() && record.voice.is_none()) {
        return None;
    }
    match READS.get(usize::from(record.reads)) {
        Some(after) => Some(due_at(record, timing).saturating_add(*after).max(record.read_after)),
        // Silence may have used them up long before the call is too long.
        None => {
            let connected_at = record.connected_at.filter(|_| record.cancelled_at.is_none())?;
            Some(longest(connected_at, timing)).filter(|longest| record.read_after <= *longest)
        }
    }
}

/// When the record ends, whatever happens.
fn end_at(record: &Record, timing: &Timing) -> Millis {
    let due = due_at(record, timing);
    match (record.connected_at, record.cancelled_at) {
        // As long as its leg may ring, the call holds its number.
        (None, Some(_)) => timing.slot(record.created_at).max(due).saturating_add(timing.grace),
        (None, None) if record.provider_id.is_none() && record.voice.is_none() => due,
        (None, None) => due.saturating_add(timing.grace),
        (Some(_), Some(_)) => due.saturating_add(SILENCE),
        (Some(connected_at), None) => longest(connected_at, timing).saturating_add(SILENCE),
    }
}
