//! Call quality from `getStats`.

use js_sys::Array;
use wasm_bindgen::JsValue;
use web_sys::RtcStatsReport;

use super::object::{Plain, get, number, plain, string};

/// What a call sends, receives, and how it sounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CallStats {
    /// Estimated listening quality, 1 to 4.5.
    pub(crate) mos: Option<f64>,
    /// Milliseconds.
    pub(crate) round_trip_time: Option<f64>,
    /// Milliseconds.
    pub(crate) jitter: Option<f64>,
    /// 0 to 1, over the last interval.
    pub(crate) packet_loss: Option<f64>,
    /// "opus", "PCMU", …
    pub(crate) codec: Option<String>,
    /// Payload bytes.
    pub(crate) bytes_sent: f64,
    /// Payload bytes.
    pub(crate) bytes_received: f64,
}

impl CallStats {
    /// As JavaScript sees it.
    pub(crate) fn to_js(&self) -> JsValue {
        plain(&[
            ("mos", Plain::Number(self.mos)),
            ("roundTripTime", Plain::Number(self.round_trip_time)),
            ("jitter", Plain::Number(self.jitter)),
            ("packetLoss", Plain::Number(self.packet_loss)),
            ("codec", self.codec.as_deref().map_or(Plain::Number(None), Plain::Text)),
            ("bytesSent", Plain::Number(Some(self.bytes_sent))),
            ("bytesReceived", Plain::Number(Some(self.bytes_received))),
        ])
    }
}

/// Packet counters since the call began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Packets {
    received: f64,
    lost: f64,
}

impl Packets {
    /// The share of packets that got lost since `earlier`. `None`: none were due. A duplicate makes the counter
    /// of lost packets go down (RFC 3550, section 6.4.1), which counts as no loss.
    fn loss_since(self, earlier: Self) -> Option<f64> {
        let lost = (self.lost - earlier.lost).max(0.0);
        let expected = (self.received - earlier.received).max(0.0) + lost;
        (expected > 0.0).then(|| lost / expected)
    }
}

/// Reads reports and remembers the last, to tell what happened in between.
#[derive(Debug, Default)]
pub(crate) struct StatsReader {
    last: Packets,
}

impl StatsReader {
    /// The figures of a report (WebRTC Statistics, section 8).
    pub(crate) fn read(&mut self, report: &RtcStatsReport) -> CallStats {
        let report = Array::from(&report.values());
        let first = |wanted: &dyn Fn(&JsValue) -> bool| report.iter().find(|stat| wanted(stat));
        let find = |kind: &str| {
            first(&|stat| is(stat, "type", kind) && string(stat, "kind").is_none_or(|kind| kind == "audio"))
        };
        let mut stats = CallStats::default();
        let mut buffered_ms = None;

        if let Some(inbound) = &find("inbound-rtp") {
            stats.bytes_received = count(inbound, "bytesReceived");
            stats.jitter = number(inbound, "jitter").map(to_ms);
            let now =
                Packets { received: count(inbound, "packetsReceived"), lost: count(inbound, "packetsLost") };
            stats.packet_loss = now.loss_since(self.last);
            self.last = now;
            buffered_ms = number(inbound, "jitterBufferDelay")
                .zip(number(inbound, "jitterBufferEmittedCount").filter(|count| *count > 0.0))
                .map(|(delay, count)| to_ms(delay / count));
        }
        if let Some(outbound) = &find("outbound-rtp") {
            stats.bytes_sent = count(outbound, "bytesSent");
            // What we send is what was agreed; what we receive is unknown until the first packet.
            let id = get(outbound, "codecId");
            stats.codec = first(&|stat| id.is_string() && get(stat, "id") == id)
                .and_then(|codec| string(&codec, "mimeType"))
                .map(|mime| crate::text::codec_name(&mime).to_owned());
        }
        stats.round_trip_time = find("remote-inbound-rtp")
            .and_then(|stat| number(&stat, "roundTripTime"))
            .or_else(|| {
                first(&|stat| is(stat, "type", "candidate-pair") && get(stat, "nominated").is_truthy())
                    .and_then(|pair| number(&pair, "currentRoundTripTime"))
            })
            .map(to_ms);
        // Without packets there is nothing to judge.
        stats.mos = stats.packet_loss.map(|loss| {
            let network = stats.round_trip_time.unwrap_or(0.0) / 2.0;
            let buffer = buffered_ms.unwrap_or_else(|| 2.0 * stats.jitter.unwrap_or(0.0));
            mean_opinion_score(network + buffer + CODEC_DELAY_MS, loss)
        });
        stats
    }
}

fn is(stat: &JsValue, key: &str, value: &str) -> bool {
    string(stat, key).as_deref() == Some(value)
}

fn count(stat: &JsValue, key: &str) -> f64 {
    number(stat, key).unwrap_or(0.0)
}

fn to_ms(seconds: f64) -> f64 {
    seconds * 1000.0
}

/// Packetisation and look-ahead of the usual 20 ms codecs.
const CODEC_DELAY_MS: f64 = 20.0;

/// Estimated mean opinion score by the E-model (ITU-T G.107, default values), for a one-way delay in milliseconds
/// and a share of lost packets from 0 to 1. The packet-loss robustness is that of G.711 with concealment
/// (G.113, table I.4), which opus exceeds: an estimate on the safe side.
fn mean_opinion_score(delay_ms: f64, loss: f64) -> f64 {
    const BASIC_SIGNAL_TO_NOISE: f64 = 93.2;
    const PACKET_LOSS_ROBUSTNESS: f64 = 25.1;
    // G.107 annex: the usual approximation of Id without echo.
    let delay_impairment = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let loss_percent = loss * 100.0;
    let equipment_impairment = 95.0 * loss_percent / (loss_percent + PACKET_LOSS_ROBUSTNESS);
    let r = (BASIC_SIGNAL_TO_NOISE - delay_impairment - equipment_impairment).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.01
    }

    #[test]
    fn mos_follows_g107() {
        // R = 93.2 gives 4.41 (G.107, annex B); 4.1 is "satisfied" at R = 82, 3.1 at R = 60.
        assert!(close(mean_opinion_score(0.0, 0.0), 4.41));
        assert!(close(mean_opinion_score(100.0, 0.0), 4.36));
        // 3 % loss: 95·3/28.1 = 10.1 off.
        assert!(close(mean_opinion_score(0.0, 0.03), 4.13));
        assert!(mean_opinion_score(400.0, 0.0) < 3.5);
        assert!(close(mean_opinion_score(0.0, 1.0), 1.17));
        assert!(close(mean_opinion_score(5000.0, 1.0), 1.0));
    }

    #[test]
    fn loss_is_of_the_last_interval() {
        let first = Packets { received: 100.0, lost: 0.0 };
        let second = Packets { received: 190.0, lost: 10.0 };
        assert_eq!(first.loss_since(Packets::default()), Some(0.0));
        assert_eq!(second.loss_since(first), Some(0.1));
        assert_eq!(second.loss_since(second), None);
        let duplicates = Packets { received: 290.0, lost: 8.0 };
        assert_eq!(duplicates.loss_since(second), Some(0.0));
    }
}
