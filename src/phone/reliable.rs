//! Reliable provisional responses and PRACK, on both sides (RFC 3262).

use super::call::{Call, Phase};
use super::capabilities;
use super::context::Cx;
use super::description::{describes, sdp_text};
use super::media_half::MediaJob;
use super::timers::TxId;
use super::transactions::Owner;
use super::{CallId, CallTimer, EndCause, EndedBy, LogLevel};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::{next_word, parse_u32};
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::{T1, T64};
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// The reliable 1xx of an incoming call.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// RSeq of the last one.
    rseq: u32,
    /// CSeq number of the INVITE.
    seq: u32,
    /// The one that has not been acknowledged.
    pending: Option<Pending>,
    /// What is to be said next.
    next: Option<(u16, Option<String>)>,
    /// The 200 that waits: its description, and whether that is an offer.
    ok: Option<(String, bool)>,
    /// Offer and answer have been exchanged, and that has been acknowledged.
    answered: bool,
}

#[derive(Debug)]
struct Pending {
    text: String,
    interval: Duration,
    until: Instant,
    /// It holds an answer.
    answers: bool,
    /// It holds our offer: the PRACK holds the answer.
    offers: bool,
}

impl Call {
    /// Before the call is answered another offer can be agreed to once the first exchange is over, which only a PRACK
    /// tells (RFC 3262, section 5, RFC 3311, section 5.2). `tag`: of the fork that makes it, where we call.
    pub(super) fn takes_early_offer(&self, tag: &str) -> bool {
        let settled = match self.phase {
            Phase::Inviting => self.dialled.forks.has_answered(tag),
            Phase::Alerting | Phase::Accepted => {
                self.reliable.as_ref().is_some_and(|reliable| reliable.answered)
            }
            _ => false,
        };
        settled && self.media.job().is_none() && self.session.offers.theirs().is_none()
    }

    /// Our offer has not been answered: that of the INVITE by this fork, or that of a reliable 1xx.
    pub(super) fn offers_early(&self, tag: &str) -> bool {
        match self.phase {
            Phase::Preparing => true,
            Phase::Inviting => !self.dialled.forks.has_answered(tag),
            _ => {
                let pending = self.reliable.as_ref().and_then(|reliable| reliable.pending.as_ref());
                pending.is_some_and(|pending| pending.offers)
            }
        }
    }
}

impl Call {
    // ---- as the caller

    /// Sends the PRACK of a reliable 1xx. `false`: the response is a repetition, or one before it is missing, and
    /// is to be ignored (RFC 3262, section 4).
    pub(super) fn acknowledge_provisional(&mut self, cx: &mut Cx, tag: &str, response: &Response) -> bool {
        if !response.headers.contains_token("Require", "100rel") {
            return true;
        }
        let Some(rseq) = response.headers.number("RSeq").filter(|rseq| *rseq > 0) else { return true };
        let Some(invite) = response.headers.seq() else { return true };

        let Some(dialog) = self.dialled.forks.acknowledge_provisional(tag, rseq) else { return false };
        let Some(dialog) = dialog else { return true };
        let mut prack = dialog.request(Method::Prack, None);
        prack.headers.push("RAck", concat(&[&digits(rseq), " ", &digits(invite), " INVITE"]));
        if let Err(error) = self.send_request(cx, Owner::Prack(self.id), prack, Attempt::default()) {
            cx.log(LogLevel::Warn, &["PRACK could not be sent: ", &error.message]);
        }
        true
    }

    // ---- as the called side

    /// A 1xx but 100 of an incoming call: sent reliably where the caller demands it, and where it holds an answer and
    /// the caller can (RFC 3262, section 3).
    pub(super) fn respond_provisional(&mut self, cx: &mut Cx, tx: TxId, status: u16, sdp: Option<String>) {
        let wish = cx.env.config.reliable_provisional;
        let first = crate::entropy::below(&mut *cx.env.entropy, 1 << 30);

        let (required, supported, seq) = match &self.sip.invite {
            Some(invite) => (
                invite.headers.contains_token("Require", "100rel"),
                invite.headers.contains_token("Supported", "100rel"),
                invite.headers.seq().unwrap_or(0),
            ),
            None => (false, false, 0),
        };
        let offered = wish && supported && sdp.is_some();
        if !required && !offered {
            self.respond_in_dialog(cx, tx, status, sdp);
            return;
        }
        if sdp.is_none() && self.is_late_offer() && !self.is_answered_reliably() {
            // The first that is reliable would have to hold our offer (RFC 3262, section 5), and with it goes the
            // microphone: not before somebody wants to answer.
            cx.respond(tx, 100);
            return;
        }

        let first = u32::try_from(first).unwrap_or(0).saturating_add(1);
        let reliable = self
            .reliable
            .get_or_insert_with(|| Box::new(Reliable { rseq: first, seq, ..Reliable::default() }));
        // Not before the one before it has been acknowledged.
        if reliable.pending.is_some() {
            reliable.next = Some((status, sdp));
            return;
        }
        self.send_reliably(cx, tx, status, sdp);
    }

    fn send_reliably(&mut self, cx: &mut Cx, tx: TxId, status: u16, sdp: Option<String>) {
        let contact = cx.contact();
        let Some(reliable) = self.reliable.as_mut() else { return };
        reliable.rseq = reliable.rseq.saturating_add(1);
        let rseq = digits(reliable.rseq);
        let offers = sdp.is_some() && self.is_late_offer() && !self.is_answered_reliably();
        let answers = sdp.is_some() && !offers;
        let headers = [
            ("Contact", contact.as_str()),
            ("Allow", capabilities::ALLOW),
            ("Require", "100rel"),
            ("RSeq", &rseq),
        ];
        let text = self.respond_with(cx, tx, status, &headers, sdp);
        let pending = Pending { text, interval: T1, until: cx.env.now + T64, answers, offers };
        if let Some(reliable) = self.reliable.as_mut() {
            reliable.pending = Some(pending);
            self.timers.set(CallTimer::Reliable1xx, cx.env.now + T1);
        }
    }

    /// Whether the 200 has to wait for a PRACK, since the answer may not have come there yet (RFC 3262, section 3).
    pub(super) fn ok_waits(&mut self, sdp: &str, offered: bool) -> bool {
        let Some(reliable) = self.reliable.as_mut() else {
            return false;
        };
        let waits = reliable.pending.as_ref().is_some_and(|pending| pending.answers || pending.offers);
        if waits {
            reliable.ok = Some((sdp.to_owned(), offered));
        }
        waits
    }

    /// The INVITE has no offer: ours is in the 200, or in a reliable 1xx.
    pub(super) fn is_late_offer(&self) -> bool {
        self.sip.invite.as_ref().is_some_and(|invite| !describes(invite))
    }

    /// Whether a 1xx can hold an offer: only a reliable one may (RFC 3262, section 5).
    pub(super) fn takes_reliable(&self, cx: &mut Cx) -> bool {
        let invite = self.sip.invite.as_ref();
        invite.is_some_and(|invite| {
            invite.headers.contains_token("Require", "100rel")
                || (cx.env.config.reliable_provisional
                    && invite.headers.contains_token("Supported", "100rel"))
        })
    }

    /// The answer has been acknowledged already: the 200 does not repeat it (RFC 3262, section 5).
    pub(super) fn is_answered_reliably(&self) -> bool {
        self.reliable.as_ref().is_some_and(|reliable| reliable.answered)
    }

    pub(super) fn on_prack(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        let rack = request.headers.get("RAck").unwrap_or_default();
        let (rseq, rest) = next_word(rack);
        let (seq, rest) = next_word(rest);
        let (method, _) = next_word(rest);
        let (rseq, seq) = (parse_u32(rseq), parse_u32(seq));
        let over = self.phase == Phase::Terminating;
        if over {
            cx.respond(tx, 481);
            return;
        }
        let invite_tx = self.sip.invite_tx;
        let acknowledged = self
            .reliable
            .as_mut()
            .filter(|reliable| rseq == Some(reliable.rseq) && seq == Some(reliable.seq) && method == "INVITE")
            .and_then(|reliable| reliable.pending.take().map(|pending| (reliable, pending)));
        let Some((reliable, pending)) = acknowledged else {
            cx.respond(tx, 481);
            return;
        };
        let settled = reliable.answered;
        reliable.answered |= pending.answers || pending.offers;
        let (next, ok) = (reliable.next.take(), reliable.ok.take());
        self.timers.clear(CallTimer::Reliable1xx);
        if pending.offers {
            self.respond_with(cx, tx, 200, &[], None);
            match self.judge_answer(cx, sdp_text(&request.headers, &request.body)) {
                Ok(answer) => self.answer_job(cx, MediaJob::PrackAnswer, answer),
                Err(error) => {
                    self.refuse(cx, 488, EndCause::Failed(error), EndedBy::Network);
                    return;
                }
            }
        } else if !describes(request) {
            self.respond_with(cx, tx, 200, &[], None);
        } else if (settled || pending.answers) && self.takes_early_offer("") {
            self.take_offer(cx, tx, request, request.headers.seq().unwrap_or(0));
        } else {
            // It is not agreed to: the call goes on with what has been agreed.
            self.respond_with(cx, tx, 488, &[], None);
        }
        match (ok, next, invite_tx) {
            (Some((sdp, offered)), ..) => self.send_ok(cx, sdp, offered),
            (None, Some((status, sdp)), Some(invite)) => self.send_reliably(cx, invite, status, sdp),
            _ => {}
        }
    }

    /// Sent again, each time after twice as long, until the caller has acknowledged it or is given up.
    pub(super) fn on_reliable_timer(&mut self, cx: &mut Cx) {
        let now = cx.env.now;
        let pending = self.reliable.as_mut().and_then(|reliable| reliable.pending.as_mut());
        let Some(pending) = pending else { return };
        if cx.line.is_interrupted() {
            // Its PRACK could not have come.
            pending.until = now + T64;
        }
        if now >= pending.until {
            let error = Error::new(ErrorCode::Timeout, "The caller did not acknowledge the ringing");
            self.refuse(cx, 504, EndCause::Failed(error), EndedBy::Network);
            return;
        }
        pending.interval = pending.interval.saturating_mul(2);
        let next = (now + pending.interval).min(pending.until);
        let text = pending.text.clone();
        self.timers.set(CallTimer::Reliable1xx, next);
        cx.line.transmit(&mut cx.env, text, false);
    }
}

impl Cx {
    /// Whatever it is, the final response to the INVITE decides.
    pub(super) fn on_prack_response(&mut self, _id: CallId, response: &Response) {
        if response.status >= 300 {
            self.log(LogLevel::Warn, &["PRACK was refused: ", &digits(response.status)]);
        }
    }

    pub(super) fn prack_failed(&mut self, _id: CallId, error: Error) {
        self.log(LogLevel::Warn, &["PRACK failed: ", &error.message]);
    }
}
