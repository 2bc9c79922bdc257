//! A 2xx of ours to an INVITE, until its ACK comes (RFC 3261, section 13.3.1.4). A value: `incoming` sends.

use super::timers::CallTimer;
use crate::sip::transaction::{T1, T2, T64};
use crate::text::first_place;
use crate::time::{Duration, Instant};

/// The 2xx of one INVITE, which is sent again and again: even though the transport is reliable, a later hop may not be.
#[derive(Debug)]
pub(super) struct AwaitedAck {
    /// CSeq number of the INVITE.
    seq: u32,
    /// The 2xx.
    text: String,
    interval: Duration,
    /// It held our offer: the answer is in the ACK.
    offered: bool,
    repeat_at: Option<Instant>,
    until: Option<Instant>,
}

impl AwaitedAck {
    pub(super) fn new(seq: u32, text: String, offered: bool, now: Instant) -> Self {
        Self { seq, text, interval: T1, offered, repeat_at: Some(now + T1), until: Some(now + T64) }
    }

    /// The ACK with this number is its own.
    pub(super) const fn is_acknowledged_by(&self, seq: u32) -> bool {
        self.seq == seq
    }

    /// The other side makes an offer with this number, which nobody does before the ACK: the 2xx was lost, and somebody else
    /// has answered in our place (RFC 3261, section 14.1).
    pub(super) const fn is_overtaken_by(&self, seq: u32) -> bool {
        !self.offered && seq > self.seq
    }

    /// CSeq number of the INVITE.
    pub(super) const fn seq(&self) -> u32 {
        self.seq
    }

    /// The 2xx held our offer.
    pub(super) const fn offered(&self) -> bool {
        self.offered
    }

    /// The 2xx.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The description in it.
    pub(super) fn description(&self) -> Option<String> {
        let at = first_place(&self.text, "\r\n\r\n")?;
        self.text.get(at + 4..).filter(|body| !body.is_empty()).map(str::to_owned)
    }

    /// It is sent again now. Returns it.
    pub(super) fn repeat(&mut self, now: Instant) -> String {
        self.interval = (self.interval * 2).min(T2);
        self.repeat_at = Some(now + self.interval);
        self.text.clone()
    }

    /// The ACK could not have come before.
    pub(super) fn wait_on(&mut self, now: Instant) {
        self.until = Some(now + T64);
    }

    // ---- deadlines

    /// The next deadline, and which it is.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        let repeat = self.repeat_at.map(|at| (at, CallTimer::Retransmit2xx));
        let until = self.until.map(|at| (at, CallTimer::Ack));
        repeat.into_iter().chain(until).min()
    }

    /// That one has been reached.
    pub(super) const fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::Retransmit2xx => self.repeat_at = None,
            _ => self.until = None,
        }
    }

    /// The page was suspended, and could hear nothing.
    pub(super) fn put_off(&mut self, by: Duration) {
        for at in [&mut self.repeat_at, &mut self.until].into_iter().flatten() {
            *at = *at + by;
        }
    }

    /// How many deadlines it has.
    pub(super) fn deadlines(&self) -> usize {
        usize::from(self.repeat_at.is_some()) + usize::from(self.until.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn it_is_sent_again_each_time_after_twice_as_long_up_to_four_seconds() {
        let mut ok = AwaitedAck::new(1, "SIP/2.0 200 OK".to_owned(), false, at(0));
        let mut times = Vec::new();
        loop {
            let Some((now, timer)) = ok.poll_timeout() else { panic!("it has an end") };
            ok.take_timeout(timer);
            if timer == CallTimer::Ack {
                assert_eq!(now, at(32_000));
                break;
            }
            assert_eq!(ok.repeat(now), "SIP/2.0 200 OK");
            times.push(now.as_millis());
        }
        assert_eq!(times, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    }

    #[test]
    fn an_outage_gives_it_its_full_time_again() {
        let mut ok = AwaitedAck::new(1, String::new(), false, at(0));
        ok.put_off(Duration::from_secs(10));
        assert_eq!(ok.poll_timeout(), Some((at(10_500), CallTimer::Retransmit2xx)));
        ok.take_timeout(CallTimer::Retransmit2xx);
        assert_eq!((ok.poll_timeout(), ok.deadlines()), (Some((at(42_000), CallTimer::Ack)), 1));
        ok.wait_on(at(40_000));
        assert_eq!(ok.poll_timeout(), Some((at(72_000), CallTimer::Ack)));
    }

    #[test]
    fn numbers_say_whose_ack_it_is_and_whether_the_2xx_was_lost() {
        for (offered, seq, acknowledged, overtaken) in [
            (false, 5, true, false),
            (false, 4, false, false),
            (false, 6, false, true),
            (true, 6, false, false),
        ] {
            let ok = AwaitedAck::new(5, String::new(), offered, at(0));
            assert_eq!(ok.is_acknowledged_by(seq), acknowledged, "{offered} {seq}");
            assert_eq!(ok.is_overtaken_by(seq), overtaken, "{offered} {seq}");
        }
    }

    #[test]
    fn its_description_is_its_body() {
        for (text, description) in [
            ("SIP/2.0 200 OK\r\nTo: x\r\n\r\nv=0\r\n", Some("v=0\r\n")),
            ("SIP/2.0 200 OK\r\n\r\n", None),
            ("", None),
        ] {
            let ok = AwaitedAck::new(5, text.to_owned(), true, at(0));
            assert_eq!(ok.description().as_deref(), description, "{text}");
        }
    }
}
