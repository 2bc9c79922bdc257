//! What can be set while it runs, over `/_sim/config`: what nobody outside knows of the real service, and times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What becomes of an older registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reg {
    /// The new one takes its place.
    LastWins,
    /// A call rings on all of them.
    Fork,
}

/// The settings; `GET /_sim/config` shows them with these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Registration policy.
    pub reg: Reg,
    /// Challenges ask for `qop=auth`.
    pub qop: bool,
    /// Every nonce is old at once, so that each answer is challenged anew with `stale=true`.
    pub stale_nonce: bool,
    /// `POST /a1/calls/{id}` with `state=hangup` works, which no document says.
    pub undocumented_hangup: bool,
    /// Phones may call: their number's `voice_start` is run.
    pub client_calls: bool,
    /// A header of the A leg's INVITE that carries the call's id.
    pub callid_header: Option<String>,
    /// The A leg's offer has no PCMU.
    pub pcma_only: bool,
    /// A phone whose answer has a Session-Expires loses the call after so long; the official example says "a minute
    /// or so".
    pub session_timer_drop_ms: Option<u64>,
    /// Status of `Missing key ...`.
    pub missing_key_status: u16,
    /// Status of `Invalid ... number`.
    pub bad_number_status: u16,
    /// Status of `Not enough credits`.
    pub no_credit_status: u16,
    /// Status for an id that is not there.
    pub unknown_id_status: u16,
    /// Parties that are no numbers which `connect` may call.
    pub sip_whitelist: Vec<String>,
    /// Numbers that are not ours and may be shown all the same.
    pub unlocked: Vec<String>,
    /// `voice_start` of a number: a URL or an action. Without one a public number connects to its user's phone.
    pub voice_start: BTreeMap<String, String>,
    /// From the request until the INVITE.
    pub invite_delay_ms: u64,
    /// How long a far party rings before it answers.
    pub b_answer_ms: u64,
    /// How long the one that hangs up stays.
    pub b_hangup_ms: u64,
    /// How long the one that rings long rings.
    pub b_ring_ms: u64,
    /// How long a file plays.
    pub play_ms: u64,
    /// How long the answer of a URL with an action may take.
    pub fetch_timeout_ms: u64,
    /// Seconds that a `connect` rings when it names none.
    pub connect_timeout: u64,
    /// The documents' five minutes between two attempts of a webhook are multiplied by this.
    pub webhook_scale: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reg: Reg::LastWins,
            qop: true,
            stale_nonce: false,
            undocumented_hangup: false,
            client_calls: false,
            callid_header: None,
            pcma_only: false,
            session_timer_drop_ms: None,
            missing_key_status: 403,
            bad_number_status: 403,
            no_credit_status: 402,
            unknown_id_status: 404,
            sip_whitelist: Vec::new(),
            unlocked: Vec::new(),
            voice_start: BTreeMap::new(),
            invite_delay_ms: 50,
            b_answer_ms: 1000,
            b_hangup_ms: 3000,
            b_ring_ms: 20_000,
            play_ms: 1000,
            fetch_timeout_ms: 5000,
            connect_timeout: 60,
            webhook_scale: 0.01,
        }
    }
}
