use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Timing;

/// Milliseconds since 1970 (UTC).
pub type Millis = u64;

/// How long an ended record is kept, so that a repeated request is refused instead of dialled and a late
/// whenhangup still counts: 46elks repeats it for 24 h.
const KEPT: Millis = 25 * 3_600_000;

/// All that is known of one call. It holds no credential: the hook tokens are derived from `nonce` and a key that
/// only the configuration has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Made by the client; also the idempotency key.
    pub call_id: Uuid,
    /// Whose call it is.
    pub user: String,
    /// What to dial. Absent in a tombstone: a call that was cancelled before it was asked for.
    pub plan: Option<Plan>,
    /// Makes this call's hook tokens.
    pub nonce: String,
    /// By these the hooks find the record.
    pub hooks: Option<HookIds>,
    /// Counts the writes: what compare-and-swap compares.
    pub version: u64,
    /// Counts the changes that a client can see.
    pub seq: u64,
    /// Where the call is.
    pub state: State,
    /// When it was asked for.
    pub created_at: Millis,
    /// The last poll or claim.
    pub seen_at: Millis,
    /// The id in 46elks' answer.
    pub provider_id: Option<String>,
    /// The request was sent and got no answer.
    pub outcome_unknown: bool,
    /// What 46elks refused the call with.
    pub refusal: Option<Refusal>,
    /// The voice_start that is bound to this call.
    pub voice: Option<Voice>,
    /// When the client said that it had answered.
    pub claimed_at: Option<Millis>,
    /// SHA-256 of the SIP Call-ID that the client answered, in hexadecimal.
    pub claim: Option<String>,
    /// When it was decided to dial the far leg.
    pub connected_at: Option<Millis>,
    /// When it was cancelled, by whomever.
    pub cancelled_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// Why it ended; while it is being cancelled, why it will have.
    pub reason: Option<Reason>,
    /// How long the far leg was connected.
    pub duration_s: Option<u64>,
    /// In 1/10000 of the account's currency.
    pub cost: Option<u64>,
    /// Duration and cost have been counted.
    pub settled: bool,
    /// The duration that was counted: that of the browser's leg, in seconds.
    pub settled_s: u64,
    /// How often 46elks was asked how the call went.
    pub reads: u8,
    /// Not to be asked again before this.
    pub read_after: Millis,
}

/// What a call dials. The numbers are complete; whoever logs one masks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The far leg, E.164.
    pub to: String,
    /// The caller ID's key.
    pub caller_id: String,
    /// The bridge number: `from` of the browser's leg and the far leg's caller ID.
    pub from: String,
    /// The session's own WebRTC number.
    pub number: String,
}

/// Hashes of the hook tokens, to find a record by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookIds {
    /// Of voice_start.
    pub voice: String,
    /// Of whenhangup.
    pub hangup: String,
}

/// 46elks' answer to the request, where it wasn't a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What it means.
    pub code: Code,
    /// Seconds, where 46elks named them.
    pub retry_after_s: Option<u64>,
    /// It answered a success that can't be read: a call was made, which nobody wants any more.
    #[serde(default)]
    pub made: bool,
}

/// What an answer of 46elks means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// `Invalid to number`.
    InvalidDestination,
    /// Our credentials are wrong.
    ProviderAuth,
    /// Our request is wrong.
    ProviderConfig,
    /// The account is empty.
    ProviderCredit,
    /// Too many requests.
    ProviderBusy,
    /// Anything else.
    ProviderError,
}

/// The one voice_start that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voice {
    /// 46elks' id of the call.
    pub callid: String,
    /// When it came.
    pub at: Millis,
    /// What it is answered with.
    pub decision: Decision,
}

/// The answer to a voice_start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The claim is still missing.
    Waiting,
    /// The far leg is dialled.
    Connect,
    /// It is not.
    Reject,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for. 46elks may or may not have the request.
    Accepted,
    /// 46elks calls the browser.
    RingingClient,
    /// The browser answered this call, and no other: it may open the microphone.
    ClientAnswered,
    /// 46elks was told to dial the far leg.
    Bridging,
    /// To be ended as soon as it can be.
    Cancelling,
    /// Over.
    Ended,
    /// There was no call.
    Failed,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was answered, and hung up.
    Completed,
    /// The far leg is busy.
    Busy,
    /// The far leg doesn't answer.
    NoAnswer,
    /// The far leg can't be reached.
    Failed,
    /// By the client, by its silence, or by the operator who stopped all calls.
    Cancelled,
    /// The browser's leg wasn't answered.
    ClientUnreachable,
    /// The browser's leg was answered, and nobody claimed it.
    Unverified,
    /// 46elks refused the call.
    ProviderError,
    /// It is not known what 46elks did.
    ProviderUnknown,
}

impl Code {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidDestination => "invalid_destination",
            Self::ProviderAuth => "provider_auth",
            Self::ProviderConfig => "provider_config",
            Self::ProviderCredit => "provider_credit",
            Self::ProviderBusy => "provider_busy",
            Self::ProviderError => "provider_error",
        }
    }
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::RingingClient => "ringing_client",
            Self::ClientAnswered => "client_answered",
            Self::Bridging => "bridging",
            Self::Cancelling => "cancelling",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

impl Reason {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::ClientUnreachable => "client_unreachable",
            Self::Unverified => "unverified",
            Self::ProviderError => "provider_error",
            Self::ProviderUnknown => "provider_unknown",
        }
    }
}

impl Record {
    /// A call that is about to be dialled: once this is written, it is never dialled again.
    #[must_use]
    pub fn dialling(
        call_id: Uuid,
        user: &str,
        plan: Plan,
        nonce: String,
        hooks: HookIds,
        now: Millis,
    ) -> Self {
        Self {
            plan: Some(plan),
            nonce,
            hooks: Some(hooks),
            state: State::Accepted,
            reason: None,
            ended_at: None,
            cancelled_at: None,
            settled: false,
            ..Self::tombstone(call_id, user, now)
        }
    }

    /// The cancellation of a call that hasn't been asked for: its request may still be under way.
    #[must_use]
    pub fn tombstone(call_id: Uuid, user: &str, now: Millis) -> Self {
        Self {
            call_id,
            user: user.to_owned(),
            plan: None,
            nonce: String::new(),
            hooks: None,
            version: 0,
            seq: 1,
            state: State::Ended,
            created_at: now,
            seen_at: now,
            provider_id: None,
            outcome_unknown: false,
            refusal: None,
            voice: None,
            claimed_at: None,
            claim: None,
            connected_at: None,
            cancelled_at: Some(now),
            ended_at: Some(now),
            reason: Some(Reason::Cancelled),
            duration_s: None,
            cost: None,
            settled: true,
            settled_s: 0,
            reads: 0,
            read_after: 0,
        }
    }

    /// Whether nothing changes any more.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    /// Whether the bridge is proven: voice_start was fetched, so our leg was answered, and the client claims it.
    #[must_use]
    pub fn confirmed(&self) -> bool {
        self.connected_at.is_some()
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Reason> {
        self.reason.filter(|_| self.ended())
    }

    /// Whether it is known, or known to be unknowable, what came of the request to 46elks.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.state != State::Accepted || self.outcome_unknown
    }

    /// The WebRTC number that this call occupies.
    #[must_use]
    pub fn occupies(&self) -> Option<&str> {
        self.plan.as_ref().filter(|_| !self.ended()).map(|plan| plan.number.as_str())
    }

    /// Whether it is too old to be asked for.
    #[must_use]
    pub fn expired(&self, now: Millis, timing: &Timing) -> bool {
        let life = self.created_at.saturating_add(timing.record_life);
        self.plan.is_some()
            && self
                .ended_at
                .is_some_and(|ended_at| now >= life.max(ended_at.saturating_add(timing.tombstone)))
    }

    /// When the store may forget it.
    #[must_use]
    pub fn forget_at(&self, timing: &Timing) -> Option<Millis> {
        let kept = if self.plan.is_some() { KEPT.max(timing.record_life) } else { timing.tombstone };
        self.ended_at.map(|ended_at| ended_at.saturating_add(kept))
    }

    /// What a client sees of it; `seq` counts its changes.
    pub(super) fn visible(&self) -> (State, bool, Option<Reason>, Option<u64>) {
        (self.state, self.confirmed(), self.outcome(), self.duration_s)
    }
}
