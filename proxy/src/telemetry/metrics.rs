//! Figures in the text format that Prometheus reads.
//!
//! A registry of its own for each proxy, so that two in one process, as in tests, count apart. No label takes a
//! value that a client can choose.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::render`].
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the operator should be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// 46elks refuses the API credentials.
    ProviderAuth,
    /// 46elks refuses the caller ID, or misses a parameter.
    ProviderConfig,
    /// The account has no credit left.
    ProviderCredit,
    /// The browser claimed a call and 46elks reported the answer more than 2 s apart: perhaps another device
    /// answered.
    ClaimDisagreement,
    /// A webhook of a call names another of 46elks' calls.
    OtherCall,
    /// A call is longer than the longest that is allowed.
    TooLong,
    /// 46elks never said what became of a call.
    OutcomeUnknown,
    /// Somebody calls with one of our own numbers.
    Spoofed,
    /// The day's budget is used up.
    BudgetExhausted,
    /// The store, or the shared counters, can't be reached.
    Store,
}

impl Alarm {
    /// The name in log and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProviderAuth => "provider_auth",
            Self::ProviderConfig => "provider_config",
            Self::ProviderCredit => "provider_credit",
            Self::ClaimDisagreement => "claim_disagreement",
            Self::OtherCall => "other_call",
            Self::TooLong => "too_long",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Spoofed => "spoofed",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Store => "store",
        }
    }

    const ALL: [Self; 10] = [
        Self::ProviderAuth,
        Self::ProviderConfig,
        Self::ProviderCredit,
        Self::ClaimDisagreement,
        Self::OtherCall,
        Self::TooLong,
        Self::OutcomeUnknown,
        Self::Spoofed,
        Self::BudgetExhausted,
        Self::Store,
    ];
}

/// A label value that is one of few words of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

macro_rules! labels {
    ($($name:ident { $($label:ident: $kind:ty),* })*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            struct $name { $($label: $kind),* }
        )*
    };
}

labels! {
    Reason { reason: Word }
    Code { code: Word }
    Limit { limit: Word }
    Kind { kind: Word }
    Class { class: Word }
    Hook { hook: Word, outcome: Word }
    Http { method: Word, route: String, class: Word }
    Route { route: String }
}

/// Makes the histogram of a family.
type Seconds = fn() -> Histogram;

fn request_seconds() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

fn call_seconds() -> Histogram {
    Histogram::new([1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0])
}

/// The figures of one proxy.
pub struct Metrics {
    registry: Registry,
    calls_started: Counter,
    calls_ended: Family<Reason, Counter>,
    call_duration: Histogram,
    calls_live: Gauge,
    refused: Family<Code, Counter>,
    limited: Family<Limit, Counter>,
    upstream: Family<Class, Counter>,
    upstream_seconds: Histogram,
    hooks: Family<Hook, Counter>,
    alarms: Family<Kind, Counter>,
    http: Family<Http, Counter>,
    http_seconds: Family<Route, Histogram, Seconds>,
    budget_seconds: Gauge,
    budget_cost: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All figures at 0.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("softphone_proxy"),
            calls_started: Counter::default(),
            calls_ended: Family::default(),
            call_duration: call_seconds(),
            calls_live: Gauge::default(),
            refused: Family::default(),
            limited: Family::default(),
            upstream: Family::default(),
            upstream_seconds: request_seconds(),
            hooks: Family::default(),
            alarms: Family::default(),
            http: Family::default(),
            http_seconds: Family::new_with_constructor(request_seconds),
            budget_seconds: Gauge::default(),
            budget_cost: Gauge::default(),
        };
        let m = &mut metrics;
        let r = &mut m.registry;
        r.register("calls_started", "Calls that were asked of 46elks", m.calls_started.clone());
        r.register("calls_ended", "Calls that have ended, by reason", m.calls_ended.clone());
        r.register("call_duration_seconds", "How long ended calls were", m.call_duration.clone());
        r.register("calls_live", "Calls that have not ended", m.calls_live.clone());
        r.register("calls_refused", "Requests for a call that were refused, by code", m.refused.clone());
        r.register("limits_hit", "Requests for a call over a limit, by limit", m.limited.clone());
        r.register("upstream_responses", "Answers of 46elks, by class of status", m.upstream.clone());
        r.register("upstream_duration_seconds", "How long 46elks took to answer", m.upstream_seconds.clone());
        r.register("hooks", "Webhooks of 46elks, by kind and outcome", m.hooks.clone());
        r.register("alarms", "What the operator should look at, by kind", m.alarms.clone());
        r.register("http_requests", "Requests, by method, route and class of status", m.http.clone());
        r.register("http_duration_seconds", "How long requests took, by route", m.http_seconds.clone());
        r.register("budget_used_seconds", "Seconds of today's ended calls", m.budget_seconds.clone());
        r.register(
            "budget_used_cost",
            "Cost of today's ended calls, 1/10000 of the currency",
            m.budget_cost.clone(),
        );
        // There from the start, so that a rule on their increase sees the first.
        for alarm in Alarm::ALL {
            m.alarms.get_or_create(&Kind { kind: Word(alarm.as_str()) }).inc_by(0);
        }
        metrics
    }

    /// The media type that [`render`](Self::render) is answered with.
    pub const CONTENT_TYPE: &str = CONTENT_TYPE;

    /// All figures, as Prometheus reads them.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A call was asked of 46elks.
    pub fn call_started(&self) {
        self.calls_started.inc();
        self.calls_live.inc();
    }

    /// A call that was [started](Self::call_started) has ended.
    pub fn call_ended(&self, reason: &'static str, duration: Option<Duration>) {
        self.calls_ended.get_or_create(&Reason { reason: Word(reason) }).inc();
        self.calls_live.dec();
        if let Some(duration) = duration {
            self.call_duration.observe(duration.as_secs_f64());
        }
    }

    /// How many calls have not ended: for a start with calls of before.
    pub fn calls_live(&self, count: i64) {
        self.calls_live.set(count);
    }

    /// A request for a call was refused with this code.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&Code { code: Word(code) }).inc();
    }

    /// A request for a call was over this limit.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&Limit { limit: Word(limit) }).inc();
    }

    /// 46elks answered with this status, or not at all (`None`: timeout, reset).
    pub fn upstream(&self, status: Option<u16>, latency: Duration) {
        self.upstream.get_or_create(&Class { class: Word(status.map_or("none", class)) }).inc();
        self.upstream_seconds.observe(latency.as_secs_f64());
    }

    /// A webhook: `hook` is `voice_start`, `hangup` or `incoming`; `outcome` one of a fixed few words.
    pub fn hook(&self, hook: &'static str, outcome: &'static str) {
        self.hooks.get_or_create(&Hook { hook: Word(hook), outcome: Word(outcome) }).inc();
    }

    /// Something that the operator should look at. It is logged as well.
    pub fn alarm(&self, alarm: Alarm) {
        self.alarms.get_or_create(&Kind { kind: Word(alarm.as_str()) }).inc();
        tracing::error!(kind = alarm.as_str(), "alarm");
    }

    /// How much of the day's budget is used: seconds, and cost in 1/10000 of the currency.
    pub fn budget_used(&self, seconds: u64, cost: u64) {
        self.budget_seconds.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        self.budget_cost.set(i64::try_from(cost).unwrap_or(i64::MAX));
    }

    /// A request was answered. `route` is the router's, never the path.
    pub(super) fn http_request(&self, method: &'static str, route: &str, status: u16, latency: Duration) {
        let route = route.to_owned();
        let labels = Http { method: Word(method), route: route.clone(), class: Word(class(status)) };
        self.http.get_or_create(&labels).inc();
        self.http_seconds.get_or_create(&Route { route }).observe(latency.as_secs_f64());
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new();
        metrics.call_started();
        metrics.call_started();
        metrics.call_ended("completed", Some(Duration::from_secs(30)));
        metrics.refused("destination_denied");
        metrics.limited("user_minute");
        metrics.upstream(Some(403), Duration::from_millis(20));
        metrics.upstream(None, Duration::from_secs(8));
        metrics.hook("voice_start", "connect");
        metrics.alarm(Alarm::ProviderCredit);
        metrics.http_request("GET", "/v1/calls/{call_id}", 404, Duration::from_millis(1));
        metrics.budget_used(90, 11_400);
        let text = metrics.render();
        for line in [
            "softphone_proxy_calls_started_total 2",
            "softphone_proxy_calls_ended_total{reason=\"completed\"} 1",
            "softphone_proxy_calls_live 1",
            "softphone_proxy_call_duration_seconds_bucket{le=\"30.0\"} 1",
            "softphone_proxy_calls_refused_total{code=\"destination_denied\"} 1",
            "softphone_proxy_limits_hit_total{limit=\"user_minute\"} 1",
            "softphone_proxy_upstream_responses_total{class=\"4xx\"} 1",
            "softphone_proxy_upstream_responses_total{class=\"none\"} 1",
            "softphone_proxy_upstream_duration_seconds_count 2",
            "softphone_proxy_hooks_total{hook=\"voice_start\",outcome=\"connect\"} 1",
            "softphone_proxy_alarms_total{kind=\"provider_credit\"} 1",
            "softphone_proxy_alarms_total{kind=\"provider_auth\"} 0",
            "softphone_proxy_http_requests_total{method=\"GET\",route=\"/v1/calls/{call_id}\",class=\"4xx\"} 1",
            "softphone_proxy_budget_used_seconds 90",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn two_proxies_count_apart() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.call_started();
        assert!(two.render().contains("softphone_proxy_calls_started_total 0"));
    }
}
