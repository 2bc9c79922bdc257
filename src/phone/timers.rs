//! The deadlines of a phone: set and cleared by name, the earliest first.

/// A call names its deadlines by the reasons that `Phone::poll_timeout` gives.
pub(super) use super::io::Why as CallTimer;
use super::io::{CallId, ProxyId, SubscriptionId, Why};
use super::sorted_map::SortedMap;
use crate::time::{Duration, Instant};

/// One transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TxId(pub(super) u32);

#[cfg(test)]
impl TxId {
    pub(super) const fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// Any deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKey {
    Connect,
    KeepAlive,
    Pong,
    Reconnect,
    Move,
    Previous,
    Return,
    Register,
    Binding,
    Question,
    Disconnect,
    Outage,
    Client(TxId),
    Server(TxId),
    Call(CallId, CallTimer),
    Proxy(ProxyId),
    Subscription(SubscriptionId),
    Unmatched,
}

impl TimerKey {
    pub(super) const fn why(self) -> Why {
        match self {
            Self::Connect => Why::Connect,
            Self::KeepAlive => Why::KeepAlive,
            Self::Pong => Why::Pong,
            Self::Reconnect => Why::Reconnect,
            Self::Move => Why::Move,
            Self::Previous => Why::Previous,
            Self::Return => Why::Return,
            Self::Register => Why::Register,
            Self::Binding => Why::Binding,
            Self::Question => Why::Question,
            Self::Disconnect => Why::Disconnect,
            Self::Outage => Why::Outage,
            Self::Client(_) | Self::Server(_) => Why::Transaction,
            Self::Call(_, timer) => timer,
            Self::Proxy(_) => Why::Proxy,
            Self::Subscription(_) => Why::Subscription,
            Self::Unmatched => Why::Bridge,
        }
    }
}

/// The earliest of deadlines that are shown one after the other, and how many there are. Of two at the same time it is
/// the first that was shown.
#[derive(Debug, Default)]
pub(super) struct Earliest {
    earliest: Option<(Instant, TimerKey)>,
    count: usize,
}

impl Earliest {
    #[inline(never)]
    pub(super) fn show(&mut self, at: Option<Instant>, key: TimerKey) {
        let Some(at) = at else { return };
        self.count += 1;
        if self.earliest.is_none_or(|(earliest, _)| at < earliest) {
            self.earliest = Some((at, key));
        }
    }

    pub(super) const fn get(&self) -> Option<(Instant, TimerKey)> {
        self.earliest
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }
}

impl Timers<TimerKey> {
    pub(super) fn show(&self, earliest: &mut Earliest) {
        for (key, at) in self.0.iter() {
            earliest.show(Some(*at), *key);
        }
    }
}

/// Deadlines by key. The earliest is looked for among all of them: even a thousand are read in a microsecond, and a
/// second index by time would cost more of the module than it saves.
#[derive(Debug)]
pub(super) struct Timers<K>(SortedMap<K, Instant>);

impl<K: Ord + Copy> Timers<K> {
    pub(super) const fn new() -> Self {
        Self(SortedMap::new())
    }

    /// Sets or moves a deadline.
    pub(super) fn set(&mut self, key: K, at: Instant) {
        self.0.insert(key, at);
    }

    pub(super) fn clear(&mut self, key: K) {
        self.0.remove(&key);
    }

    pub(super) fn clear_all(&mut self, keys: &[K]) {
        for key in keys {
            self.clear(*key);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_set(&self, key: K) -> bool {
        self.0.get(&key).is_some()
    }

    /// Moves those that fit to a later time.
    pub(super) fn put_off(&mut self, by: Duration, fits: impl Fn(&K) -> bool) {
        for (key, at) in self.0.iter_mut() {
            if fits(key) {
                *at = *at + by;
            }
        }
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<(Instant, K)> {
        let mut earliest: Option<(Instant, K)> = None;
        for (key, at) in self.0.iter() {
            if earliest.is_none_or(|(earliest, _)| *at < earliest) {
                earliest = Some((*at, *key));
            }
        }
        earliest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_earliest_is_next() {
        let at = Instant::from_millis;
        let mut timers = Timers::new();
        timers.set('b', at(20));
        timers.set('a', at(10));
        timers.set('c', at(30));
        timers.set('c', at(5));
        timers.clear('b');
        assert_eq!(timers.next(), Some((at(5), 'c')));
        timers.clear('c');
        assert_eq!(timers.next(), Some((at(10), 'a')));
        timers.clear('a');
        assert_eq!(timers.next(), None);
        assert!(!timers.is_set('a'));
    }
}
