//! The SIP servers of the configuration: in which order they are tried, and which of them are overloaded (RFC 2782,
//! RFC 3263).

use super::config::PhoneConfig;
use super::env::Env;
use crate::entropy::below;
use crate::time::{Duration, Instant};

/// Which server is in use, or comes next.
#[derive(Debug)]
pub(super) struct Servers {
    /// Places in the configuration, in the order in which they are tried.
    order: Vec<usize>,
    /// Place in `order` of the current or next attempt.
    at: usize,
    /// Servers tried in this round.
    tried: usize,
    /// Overloaded servers (503), each with the end of its Retry-After.
    busy: Vec<(usize, Instant)>,
}

/// Lower is better. Without weights it is the place in the list.
fn priority(config: &PhoneConfig, server: usize) -> u32 {
    match config.weights.get(server) {
        Some((priority, _)) => *priority,
        None => u32::try_from(server).unwrap_or(u32::MAX),
    }
}

/// The server's share of this priority; 0 if it is of another.
fn weight(config: &PhoneConfig, server: usize, of: u32) -> u64 {
    if priority(config, server) != of {
        return 0;
    }
    config.weights.get(server).map_or(1, |(_, weight)| u64::from(*weight))
}

fn best(config: &PhoneConfig) -> Option<u32> {
    (0..config.servers.len()).map(|server| priority(config, server)).min()
}

impl Servers {
    pub(super) const fn new() -> Self {
        Self { order: Vec::new(), at: 0, tried: 0, busy: Vec::new() }
    }

    /// The first round of a connection: no server is overloaded yet.
    pub(super) fn start(&mut self, env: &mut Env) {
        self.busy.clear();
        self.begin_round(env);
    }

    /// All servers, best first; among those of one priority at random by weight (RFC 2782).
    pub(super) fn begin_round(&mut self, env: &mut Env) {
        let config = &env.config;
        let mut left: Vec<usize> = (0..config.servers.len()).collect();
        let mut order = Vec::new();
        while let Some(best) = left.iter().map(|server| priority(config, *server)).min() {
            let mut total = 0_u64;
            for server in &left {
                total = total.saturating_add(weight(config, *server, best));
            }
            let mut chosen = below(&mut *env.entropy, total.max(1));
            let mut at = None;
            for (place, server) in left.iter().enumerate() {
                if priority(config, *server) == best {
                    at = Some(place);
                    match chosen.checked_sub(weight(config, *server, best)) {
                        Some(rest) => chosen = rest,
                        None => break,
                    }
                }
            }
            let Some(at) = at else { break };
            order.push(left.remove(at));
        }
        *self = Self { order, busy: core::mem::take(&mut self.busy), ..Self::new() };
    }

    /// Where the current or next attempt stands in the order, to come back to it with [`Self::go_to`].
    pub(super) const fn place(&self) -> usize {
        self.at
    }

    pub(super) const fn go_to(&mut self, place: usize) {
        self.at = place;
    }

    /// To the server with this place in the configuration, the first where it has none in the order.
    pub(super) fn go_to_server(&mut self, server: usize) {
        self.at = self.order.iter().position(|known| *known == server).unwrap_or_default();
    }

    /// The server at this place of the order.
    pub(super) fn at(&self, place: usize) -> Option<usize> {
        self.order.get(place.checked_rem(self.order.len())?).copied()
    }

    /// The server of the current or next attempt.
    pub(super) fn current(&self) -> Option<usize> {
        self.at(self.at)
    }

    pub(super) fn url<'a>(&self, config: &'a PhoneConfig) -> &'a str {
        self.current().and_then(|server| config.servers.get(server)).map(String::as_str).unwrap_or_default()
    }

    /// The current attempt has failed.
    pub(super) const fn pass(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    /// Counts anew how many have been tried.
    pub(super) const fn retry(&mut self, tried: usize) {
        self.tried = tried;
    }

    /// Whether every server has been tried in this round.
    pub(super) const fn are_tried(&self, config: &PhoneConfig) -> bool {
        self.tried >= config.servers.len()
    }

    /// The server to try now, past the overloaded ones. If all are, the next one anyway.
    pub(super) fn take_next(&mut self, now: Instant) -> Option<usize> {
        for _ in 0..self.order.len() {
            if !self.current().is_some_and(|server| self.is_busy(server, now)) {
                break;
            }
            self.pass();
            self.tried = self.tried.saturating_add(1);
        }
        let server = self.current()?;
        self.tried = self.tried.saturating_add(1);
        Some(server)
    }

    /// 503: avoids the current server for its Retry-After (RFC 3261, section 21.5.4).
    pub(super) fn avoid(&mut self, time: Duration, now: Instant) {
        let Some(server) = self.current() else { return };
        self.busy.retain(|(busy, _)| *busy != server);
        self.busy.push((server, now + time));
    }

    fn is_busy(&self, server: usize, now: Instant) -> bool {
        self.busy.iter().any(|(busy, until)| *busy == server && *until > now)
    }

    pub(super) fn has_free(&self, env: &Env) -> bool {
        (0..env.config.servers.len()).any(|server| !self.is_busy(server, env.now))
    }

    /// When the first of the overloaded servers can be tried again.
    pub(super) fn free_at(&self, now: Instant) -> Option<Instant> {
        self.busy.iter().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    /// The current one is of the best priority.
    pub(super) fn is_best(&self, config: &PhoneConfig) -> bool {
        self.current().map(|server| priority(config, server)) == best(config)
    }

    /// The place of one of the best priority that is not overloaded.
    pub(super) fn preferred(&self, env: &Env) -> Option<usize> {
        let best = best(&env.config);
        self.order.iter().position(|server| {
            Some(priority(&env.config, *server)) == best && !self.is_busy(*server, env.now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::fixture;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// With a server for each priority.
    fn started(weights: &[(u32, u32)]) -> (Servers, Env) {
        let mut env = fixture::cx().env;
        let urls = 0..weights.len();
        env.config.servers = urls.map(|server| format!("wss://{server}.example.com")).collect();
        env.config.weights = weights.to_vec();
        let mut servers = Servers::new();
        servers.start(&mut env);
        (servers, env)
    }

    #[test]
    fn the_better_priority_comes_first() {
        let (mut servers, env) = started(&[(3, 1), (1, 1), (2, 1)]);
        let mut order = Vec::new();
        while !servers.are_tried(&env.config) {
            order.extend(servers.take_next(env.now));
            servers.pass();
        }
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn of_one_priority_each_gets_its_share() {
        let mut first = [0; 3];
        let (mut servers, mut env) = started(&[(1, 6), (1, 3), (1, 1)]);
        for _ in 0..1000 {
            servers.begin_round(&mut env);
            first[servers.current().unwrap()] += 1;
        }
        assert!((550..650).contains(&first[0]) && (250..350).contains(&first[1]), "{first:?}");
        assert!((60..140).contains(&first[2]), "{first:?}");
    }

    #[test]
    fn an_overloaded_one_is_passed_over_until_its_time_is_over() {
        let (mut servers, mut env) = started(&[(1, 1), (2, 1)]);
        servers.avoid(Duration::from_secs(30), env.now);
        assert_eq!(servers.take_next(env.now), Some(1));
        assert!(servers.has_free(&env) && !servers.is_best(&env.config));
        assert_eq!(servers.preferred(&env), None, "the best is overloaded");
        servers.avoid(Duration::from_secs(60), env.now);
        assert!(!servers.has_free(&env));
        assert_eq!(servers.free_at(env.now), Some(env.now + Duration::from_secs(30)));
        assert!(servers.take_next(env.now).is_some(), "any, where all are overloaded");
        env.now = env.now + Duration::from_secs(31);
        assert_eq!(servers.preferred(&env), Some(0));
    }

    #[test]
    fn without_servers_there_is_none() {
        let (mut servers, env) = started(&[]);
        assert_eq!((servers.take_next(env.now), servers.current(), servers.at(3)), (None, None, None));
        assert_eq!(servers.url(&env.config), "");
        assert!(servers.are_tried(&env.config));
    }
}
