//! What must hold at every moment of a simulation, whatever has gone wrong.

use std::collections::BTreeMap;

use crate::forking_proxy::Net;
use wasm_softphone::phone::{CallId, CallState, Direction, Footprint, RegistrationState};
use wasm_softphone::time::{Duration, Instant};

/// A call is prepared or rings until it is given up: 180 s from the dial or the INVITE, whatever happens meanwhile.
const UNANSWERED: Duration = Duration::from_secs(181);
/// Restored: both graces, one after the other.
const RECONNECTING: Duration = Duration::from_secs(90);
/// A browser notices after so long that its other end is gone.
pub const NOTICED: Duration = Duration::from_secs(10);
/// One end of a call outlives the other for no longer, be every BYE lost: the browser notices, and then both graces.
const ALONE: Duration = Duration::from_secs(100);
/// What one phone holds at most; the limits of hostile days are far above (tests/sim/limits.rs).
const MOST: Footprint =
    Footprint { calls: 10, client_transactions: 30, server_transactions: 30, timers: 80, subscriptions: 0 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unanswered,
    Reconnecting,
    Other,
}

impl Stage {
    fn of(state: CallState) -> Self {
        match state {
            CallState::New | CallState::Connecting | CallState::Ringing | CallState::EarlyMedia => {
                Self::Unanswered
            }
            CallState::Reconnecting => Self::Reconnecting,
            CallState::Active | CallState::Ended => Self::Other,
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// How far each call is, and since when.
    stages: BTreeMap<(usize, CallId), (Stage, Instant)>,
    /// Which calls are up with no other end, and since when.
    alone: BTreeMap<(usize, CallId), Instant>,
    /// The longest and the most of each.
    pub longest: BTreeMap<&'static str, Duration>,
    pub most: Footprint,
    /// What did not hold.
    pub broken: Vec<String>,
}

fn is_up(state: CallState) -> bool {
    matches!(state, CallState::Active | CallState::Reconnecting)
}

impl Watch {
    fn lasts(&mut self, what: &'static str, time: Duration, bound: Duration, who: &str) {
        let longest = self.longest.entry(what).or_default();
        *longest = time.max(*longest);
        if time > bound {
            self.broken.push(format!("{who}: {what} for {time:?}"));
        }
    }

    /// Looks at everything. Returns the calls whose browser notices now that nobody is at the other end.
    pub fn look(&mut self, net: &Net) -> Vec<(usize, CallId)> {
        let mut noticed = Vec::new();
        let all: Vec<_> = net.phones.iter().map(|bench| bench.phone.calls()).collect();
        for (side, calls) in all.iter().enumerate() {
            // Its clock stands still.
            let frozen = net.is_frozen(side);
            for info in calls {
                let key = (side, info.id);
                let who = format!("{side} at {:?}: {:?} {:?}", net.now, info.id, info.direction);
                let state = Stage::of(info.state);
                let entry = self.stages.entry(key).or_insert((state, net.now));
                if entry.0 != state || frozen {
                    *entry = (state, net.now);
                }
                let time = net.now - entry.1;
                match state {
                    Stage::Unanswered => self.lasts("unanswered", time, UNANSWERED, &who),
                    Stage::Reconnecting => self.lasts("reconnecting", time, RECONNECTING, &who),
                    Stage::Other => {}
                }
                let mut others =
                    all.iter().enumerate().filter(|(other, _)| *other != side).flat_map(|(_, calls)| calls);
                let has_end = others
                    .any(|other| other.sip_call_id == info.sip_call_id && other.state != CallState::Ended)
                    || net.pbx[side].as_ref().is_some_and(|pbx| pbx.has(&info.sip_call_id));
                if !is_up(info.state) || has_end || frozen {
                    self.alone.remove(&key);
                } else {
                    let since = *self.alone.entry(key).or_insert(net.now);
                    let time = net.now - since;
                    self.lasts("alone", time, ALONE, &who);
                    if time >= NOTICED {
                        noticed.push(key);
                    }
                }
            }
            // A microphone is open only in a call that the user has made or answered, and knows of.
            for (id, model) in &net.media[side] {
                let call = calls.iter().find(|info| info.id == *id && info.state != CallState::Ended);
                let known = call.is_some_and(|info| {
                    info.direction == Direction::Outgoing || info.state != CallState::Ringing
                });
                if !model.closed && !known {
                    self.broken.push(format!("{side} at {:?}: the microphone is open for {id:?}", net.now));
                }
            }
            // What the user sees as registered is: the registrar has said so, and not too long ago.
            let registered = net.phones[side].registration() == RegistrationState::Registered;
            if registered
                && net.registered.is_some()
                && !frozen
                && net.now > net.granted[side] + Duration::from_secs(1)
            {
                self.broken.push(format!("{side} at {:?}: the registration has run out", net.now));
            }
            let footprint = net.phones[side].phone.footprint();
            self.most = self.most.most(footprint);
            if self.most.most(MOST) != MOST {
                self.broken.push(format!("{side} at {:?}: holds {footprint:?}", net.now));
            }
        }
        noticed
    }
}
