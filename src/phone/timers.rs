//! The deadlines of a phone: set, cleared and taken by name, the earliest first.

use super::sorted_map::SortedMap;
use crate::time::Instant;

/// Deadlines by key. Finding the earliest does not depend on how many there are.
#[derive(Debug)]
pub(super) struct Timers<K> {
    by_key: SortedMap<K, Instant>,
    by_time: SortedMap<(Instant, K), ()>,
}

impl<K: Ord + Copy> Timers<K> {
    pub(super) const fn new() -> Self {
        Self { by_key: SortedMap::new(), by_time: SortedMap::new() }
    }

    /// Sets or moves a deadline.
    pub(super) fn set(&mut self, key: K, at: Instant) {
        self.clear(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key), ());
    }

    pub(super) fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(super) fn is_set(&self, key: K) -> bool {
        self.by_key.get(&key).is_some()
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<(Instant, K)> {
        self.by_time.first().map(|(entry, ())| *entry)
    }

    /// Any that fits.
    pub(super) fn find(&self, fits: impl Fn(&K) -> bool) -> Option<K> {
        self.by_key.keys().copied().find(|key| fits(key))
    }

    /// Takes the earliest that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (_, key) = self.next().filter(|(at, _)| *at <= now)?;
        self.clear(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn due_timers_come_in_order_and_once() {
        let at = Instant::from_millis;
        let mut timers = Timers::new();
        timers.set('b', at(20));
        timers.set('a', at(10));
        timers.set('c', at(30));
        timers.set('c', at(5));
        timers.clear('b');
        assert_eq!(timers.next(), Some((at(5), 'c')));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(100)), Some('c'));
        assert_eq!(timers.pop_due(at(100)), Some('a'));
        assert_eq!(timers.pop_due(at(100)), None);
        assert!(!timers.is_set('a'));
    }
}
