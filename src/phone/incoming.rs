//! Incoming calls: INVITE, ringing, answer, refusal, and the caller's CANCEL (RFC 3261, sections 9.2 and 13.3).

use super::awaited_ack::AwaitedAck;
use super::call::{Call, Phase};
use super::calls::Calls;
use super::capabilities;
use super::context::Cx;
use super::description::{read_offer, sdp_text};
use super::env::Ask;
use super::media_half::MediaJob;
use super::peer::Peer;
use super::timers::TxId;
use super::{
    CallState, CallTimer, Direction, EndCause, EndedBy, Event, MediaCommand, MediaError, session_timer,
};
use crate::entropy::token;
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::header::Reason;
use crate::sip::message::Request;
use crate::sip::sdp::Agreed;

impl Calls {
    /// Why an INVITE cannot ring here, if so: status and a header that explains.
    pub(super) fn refusal(
        &self,
        cx: &Cx,
        request: &Request,
    ) -> Option<(u16, Option<(&'static str, String)>)> {
        if let Some(refusal) = cx.unsupported(request).or_else(|| session_timer::too_small(request)) {
            return Some(refusal);
        }
        // Before it rings: nobody answers a call that comes to nothing.
        if let Err(flaw) = read_offer(request, &Agreed::default()) {
            return Some(cx.refusal_of(flaw));
        }
        if cx.line.is_closing() {
            return Some((480, None));
        }
        // The same request over another path (RFC 3261, section 8.2.2.2).
        let from_tag = request.headers.head().from_tag();
        let merged = self.iter().any(|call| {
            (call.direction == Direction::Incoming || call.rest.is_some())
                && Some(call.sip.call_id.as_str()) == request.headers.call_id()
                && call.sip.invite.as_ref().is_some_and(|invite| {
                    invite.headers.get("CSeq") == request.headers.get("CSeq")
                        && invite.headers.head().from_tag() == from_tag
                })
        });
        if merged {
            return Some((482, None));
        }
        None
    }
}

impl Call {
    /// A call that comes in with this INVITE, and takes the place of `former`; the application has only heard that it is
    /// there. `None`: no dialog can be made of it.
    pub(super) fn ring(cx: &mut Cx, tx: TxId, request: &Request, former: Option<&Self>) -> Option<Box<Self>> {
        let id = cx.numbers.call();
        let tag = token(&mut *cx.env.entropy, 12);
        let mut dialog = Dialog::from_request(request, &tag)?;
        let mut call = Self::new(id, Direction::Incoming, Phase::Alerting);
        call.sip.call_id.clone_from(&dialog.call_id);
        call.sip.local_tag = tag;
        call.sip.hidden = cx.env.config.anonymous;
        dialog.private = call.sip.hidden;
        if let Some(from) = &request.headers.head().from {
            call.peer = Peer::new(from.uri.clone(), from.display_name.clone());
        }
        call.sip.invite = Some(request.clone());
        call.sip.invite_tx = Some(tx);
        call.sip.dialog = Some(dialog);
        if let Some(former) = former {
            call.succession.set_replaces(former.id);
            former.go_on_as(&mut call);
        }
        call.answering.set_came_over(cx.env.heard_over);
        call.succession.set_replaceable(request.headers.contains_token("Supported", "replaces"));
        if let Some(entry) = cx.transactions.server(tx) {
            entry.call = Some(id);
        }
        call.learn_identity(cx, &request.headers);
        if super::identity::is_withheld(&request.headers) {
            call.peer.set_private(true);
        }
        cx.event(Event::CallState(id, CallState::New));
        // The caller's CANCEL may get lost with a socket.
        call.timers.set(CallTimer::Ring, cx.env.now + super::RING_TIMEOUT);
        Some(call)
    }

    /// It rings.
    pub(super) fn present(&mut self, cx: &mut Cx, tx: TxId, request: &Request, occupied: bool) {
        self.plan_auto_answer(cx, request, occupied);
        self.respond_provisional(cx, tx, 180, None);
        self.set_call_state(cx, CallState::Ringing);
        cx.event(Event::Incoming(self.id));
    }

    pub(super) fn start_answer(&mut self, cx: &mut Cx) -> Result<(), Error> {
        if self.join_answer(cx) {
            return Ok(());
        }
        self.answerable()?;
        self.answering.want();
        if self.media.job().is_some() {
            // The 183's answer is being made; the 200 follows it.
            cx.ask(self.id, Ask::YieldToIt);
            return Ok(());
        }
        self.set_call_state(cx, CallState::Connecting);
        self.continue_answer(cx);
        cx.ask(self.id, Ask::YieldToIt);
        Ok(())
    }

    pub(super) fn continue_answer(&mut self, cx: &mut Cx) {
        self.phase = Phase::Answering;
        if let Some(sdp) = self.answering.early_answer().cloned() {
            self.send_ok(cx, sdp, false);
            return;
        }
        self.make_answer(cx, MediaJob::Answer);
    }

    /// Answers the offer of the INVITE, or makes one where it has none.
    pub(super) fn make_answer(&mut self, cx: &mut Cx, job: MediaJob) {
        match self.invite_offer() {
            Some(offer) => {
                self.description_job(cx, job, offer, |offer| MediaCommand::CreateAnswer { offer });
            }
            None => self.media_job(cx, job, MediaCommand::CreateOffer),
        }
    }

    pub(super) fn start_progress(&mut self, cx: &mut Cx) -> Result<(), Error> {
        self.answerable()?;
        let free = self.media.job().is_none() && self.answering.early_answer().is_none();
        if !free || (self.is_late_offer() && !self.takes_reliable(cx)) {
            return Err(Error::new(ErrorCode::InvalidState, "The call has no offer to answer early"));
        }
        self.make_answer(cx, MediaJob::Progress);
        Ok(())
    }

    /// Offer and answer of before the answer to the call have been exchanged: what has waited for that goes on.
    pub(super) fn early_job_done(&mut self, cx: &mut Cx) {
        match self.phase {
            Phase::Alerting if self.answering.is_wanted() => {
                self.set_call_state(cx, CallState::Connecting);
                self.continue_answer(cx);
            }
            Phase::Confirmed => self.continue_offer(cx),
            _ => {}
        }
    }

    /// The 183's answer is ready.
    pub(super) fn progress_ready(&mut self, cx: &mut Cx, sdp: String) {
        if self.phase != Phase::Alerting {
            return;
        }
        self.answering.set_early_answer(sdp.clone());
        let wanted = self.answering.is_wanted();
        if let Some(tx) = self.sip.invite_tx {
            self.respond_provisional(cx, tx, 183, Some(sdp));
        }
        self.set_call_state(cx, CallState::EarlyMedia);
        if wanted {
            self.set_call_state(cx, CallState::Connecting);
            self.continue_answer(cx);
        }
    }

    /// The local description is ready: 200.
    pub(super) fn answer_ready(&mut self, cx: &mut Cx, sdp: String) {
        if self.phase != Phase::Answering {
            return;
        }
        let offered = self.is_late_offer();
        self.send_ok(cx, sdp, offered);
    }

    pub(super) fn send_ok(&mut self, cx: &mut Cx, sdp: String, offered: bool) {
        if self.ok_waits(&sdp, offered) {
            return;
        }
        self.timers.clear(CallTimer::Reliable1xx);
        let sdp = Some(sdp).filter(|_| !self.is_answered_reliably());

        self.phase = Phase::Accepted;
        let seq = self.sip.invite.as_ref().and_then(|invite| invite.headers.seq()).unwrap_or(0);
        let Some(tx) = self.sip.invite_tx.take() else { return };
        let by_rest = self.rest.is_some();
        if !by_rest {
            self.timers.clear(CallTimer::Ring);
        }
        let text = self.respond_in_dialog(cx, tx, 200, sdp);
        self.await_ack(cx, seq, text, offered);
        self.await_media(cx);
        if by_rest {
            self.bridge_answered(cx);
        }
    }

    /// A 2xx is out: it is repeated until its ACK comes, even though the transport is reliable, since a later
    /// hop may not be (RFC 3261, section 13.3.1.4).
    pub(super) fn await_ack(&mut self, cx: &mut Cx, seq: u32, text: String, offered: bool) {
        self.session.pending_ok = Some(Box::new(AwaitedAck::new(seq, text, offered, cx.env.now)));
    }

    /// Nothing depends on the ACK any more.
    pub(super) fn stop_awaiting_ack(&mut self) {
        self.session.pending_ok = None;
    }

    pub(super) fn on_retransmit_timer(&mut self, cx: &mut Cx) {
        let Some(pending) = self.session.pending_ok.as_mut() else { return };
        let text = pending.repeat(cx.env.now);
        // Not kept for later: after a reconnect the timer sends it soon enough.
        cx.line.transmit(&mut cx.env, text, false);
    }

    pub(super) fn on_ack_timeout(&mut self, cx: &mut Cx) {
        let interrupted = cx.line.is_interrupted();

        if let Some(pending) = self.session.pending_ok.as_mut().filter(|_| interrupted) {
            // It could not have come.
            pending.wait_on(cx.env.now);
            return;
        }
        self.session.pending_ok = None;
        if self.phase == Phase::Terminating {
            self.send_bye(cx, None);
            return;
        }
        let error = Error::new(ErrorCode::Timeout, "The caller did not acknowledge the answer");
        self.end_with_bye(cx, EndCause::Failed(error), EndedBy::Network, None);
    }

    /// ACK for a 2xx.
    pub(super) fn on_ack(&mut self, cx: &mut Cx, request: &Request) {
        let seq = request.headers.seq().unwrap_or(0);

        let Some(pending) = self.session.pending_ok.take_if(|pending| pending.is_acknowledged_by(seq)) else {
            return;
        };
        if self.phase == Phase::Terminating {
            // Hung up before the ACK: only now may BYE be sent (RFC 3261, section 15).
            self.send_bye(cx, None);
            return;
        }
        let first = self.phase == Phase::Accepted;
        if pending.offered() {
            match self.judge_answer(cx, sdp_text(&request.headers, &request.body)) {
                Ok(answer) => self.answer_job(cx, MediaJob::AckAnswer, answer),
                Err(error) => self.ack_unusable(cx, error),
            }
            return;
        }
        if first {
            self.incoming_up(cx);
        }
        self.continue_offer(cx);
    }

    /// Acknowledged: the call is up.
    pub(super) fn incoming_up(&mut self, cx: &mut Cx) {
        if self.phase != Phase::Accepted {
            return;
        }
        self.phase = Phase::Confirmed;
        // The provider's call is up with its confirmation, whichever comes first.
        if self.rest.is_some() {
            self.recover(cx);
            return;
        }
        let pending = self.answering.take_pending();
        let replaces = self.succession.take_replaces();
        self.set_call_state(cx, CallState::Active);
        if let Some(old) = replaces {
            self.audio.stop_following();
            cx.ask(self.id, Ask::TakePlace { old, asked: pending });
        }
        if pending {
            cx.event(Event::AnswerDone(self.id, Ok(())));
        }
        self.recover(cx);
    }

    /// Microphone or description failed while answering.
    pub(super) fn answer_failed(&mut self, cx: &mut Cx, error: &MediaError) {
        let status = match error {
            MediaError::Description | MediaError::Refused(_) => 488,
            _ => 480,
        };
        self.refuse(cx, status, EndCause::Failed(super::media_error(error)), EndedBy::Local);
    }

    /// A final failure response, and the end of the call.
    pub(super) fn refuse(&mut self, cx: &mut Cx, status: u16, cause: EndCause, by: EndedBy) {
        let tx = self.sip.invite_tx.take();
        let error = match &cause {
            EndCause::Failed(error) => error.clone(),
            _ => super::call_ended(),
        };
        if let Some(tx) = tx {
            self.respond_in_dialog(cx, tx, status, None);
        }
        self.report_end(cx, cause, Some(status), by, Some(error));
        self.remove(cx);
    }

    pub(super) fn start_reject(&mut self, cx: &mut Cx, status: u16) -> Result<(), Error> {
        match self.phase {
            Phase::Terminating => Ok(()),
            Phase::Alerting | Phase::Answering if self.rest.is_none() => {
                let error = Error::from_status(status, &crate::sip::message::default_reason(status));
                self.refuse(cx, status, EndCause::Failed(error), EndedBy::Local);
                Ok(())
            }
            _ => Err(Error::new(ErrorCode::InvalidState, "Only a ringing incoming call can be rejected")),
        }
    }

    /// CANCEL for an INVITE that has no final response yet.
    pub(super) fn on_cancelled(&mut self, cx: &mut Cx, cancel: &Request) {
        if matches!(self.phase, Phase::Alerting | Phase::Answering) {
            self.learn_reason(&cancel.headers);
            let cause = if self.rest.is_some() {
                EndCause::Failed(Error::new(
                    ErrorCode::BridgeMissing,
                    "The provider gave up calling this phone",
                ))
            } else {
                cancel_cause(cancel)
            };
            self.refuse(cx, 487, cause, EndedBy::Remote);
        }
    }

    fn answerable(&self) -> Result<(), Error> {
        if self.phase == Phase::Terminating {
            return Err(super::call_ended());
        }
        if self.phase == Phase::Alerting && !self.answering.is_wanted() {
            Ok(())
        } else {
            Err(Error::new(ErrorCode::InvalidState, "Only a ringing incoming call can be answered"))
        }
    }

    /// A response of the dialog: To-tag, Contact, and for an INVITE's success the SDP. Returns its text.
    pub(super) fn respond_in_dialog(
        &mut self,
        cx: &mut Cx,
        tx: TxId,
        status: u16,
        sdp: Option<String>,
    ) -> String {
        let contact = cx.contact();
        let mut headers = Vec::new();
        if status < 300 && status > 100 {
            headers.extend([("Contact", contact), ("Allow", capabilities::ALLOW.to_owned())]);
        }
        if status == 200 {
            self.accept_session(cx, tx, &mut headers);
        }
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.respond_with(cx, tx, status, &headers, sdp)
    }
}

/// The status that refuses a call, as the application wants it.
pub(super) fn refusal_status(status: Option<u16>) -> Result<u16, Error> {
    let status = status.unwrap_or(603);
    if !(300..=699).contains(&status) {
        return Err(Error::invalid_config("status", "must be from 300 to 699"));
    }
    if matches!(status, 401 | 407) {
        return Err(Error::invalid_config("status", "a challenge is not a refusal"));
    }
    Ok(status)
}

/// A CANCEL because someone else answered says so (RFC 3326); that is not a missed call.
fn cancel_cause(cancel: &Request) -> EndCause {
    let elsewhere =
        cancel.headers.get_all("Reason").flat_map(Reason::parse_list).any(|reason| match reason.cause {
            // Call completed elsewhere (RFC 3326, section 3.1); Non-selected user clearing.
            Some(200) => reason.protocol.eq_ignore_ascii_case("SIP"),
            Some(26) => reason.protocol.eq_ignore_ascii_case("Q.850"),
            _ => false,
        });
    if elsewhere { EndCause::AnsweredElsewhere } else { EndCause::Cancelled }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{call, calls, cx, request};
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_refusal_by_the_application_is_a_final_response_other_than_a_challenge() {
        for (status, taken) in [
            (None, Some(603)),
            (Some(300), Some(300)),
            (Some(486), Some(486)),
            (Some(699), Some(699)),
            (Some(200), None),
            (Some(299), None),
            (Some(700), None),
            (Some(401), None),
            (Some(407), None),
        ] {
            assert_eq!(refusal_status(status).ok(), taken, "{status:?}");
        }
    }

    #[test]
    fn an_invite_that_cannot_ring_is_refused_before_it_does() {
        for (headers, closing, status) in [
            ("", false, None),
            ("", true, Some(480)),
            ("Require: 100rel\r\n", false, None),
            ("Require: teleport\r\n", false, Some(420)),
            ("Supported: timer\r\nSession-Expires: 20\r\n", false, Some(422)),
        ] {
            let mut cx = cx();
            if closing {
                cx.line.close();
            }
            let (calls, _) = calls(&mut cx, &[]);
            let refusal = calls.refusal(&cx, &request("INVITE", headers)).map(|(status, _)| status);
            assert_eq!(refusal, status, "{headers} {closing}");
        }
    }

    #[test]
    fn the_same_invite_over_another_path_is_merged() {
        let mut cx = cx();
        let (mut calls, ids) = calls(&mut cx, &[(Direction::Incoming, Phase::Alerting)]);
        let mut again = request("INVITE", "");
        assert!(calls.refusal(&cx, &again).is_none());
        again.headers.set("Call-ID", "call-1");
        assert_eq!(calls.refusal(&cx, &again).map(|(status, _)| status), Some(482));
        // One that we have made is another call, whatever its Call-ID.
        calls.get_mut(ids[0]).unwrap().direction = Direction::Outgoing;
        assert!(calls.refusal(&cx, &again).is_none());
    }

    #[test]
    fn a_call_that_rings_takes_over_what_the_former_is() {
        let mut cx = cx();
        let mut former = call(&mut cx, Direction::Outgoing, Phase::Confirmed);
        former.audio.restore(true, false);
        let invite = request("INVITE", "Supported: replaces\r\nPrivacy: id\r\n");
        let new = Call::ring(&mut cx, TxId::numbered(1), &invite, Some(&former)).unwrap();
        assert_eq!(
            (new.succession.replaces(), new.audio.wish().muted, new.succession.is_replaceable()),
            (Some(former.id), true, true)
        );
        assert!(new.peer.is_private() && new.timers.is_set(CallTimer::Ring));
        assert_eq!(new.peer.uri(), "sip:bob@example.com");
    }

    #[test]
    fn no_call_is_made_of_an_invite_without_a_contact() {
        let mut cx = cx();
        let mut invite = request("INVITE", "");
        invite.headers.remove("Contact");
        assert!(Call::ring(&mut cx, TxId::numbered(1), &invite, None).is_none());
    }

    #[test]
    fn only_a_ringing_call_can_be_refused() {
        for (phase, outcome) in [
            (Phase::Alerting, Ok(())),
            (Phase::Terminating, Ok(())),
            (Phase::Confirmed, Err(ErrorCode::InvalidState)),
            (Phase::Inviting, Err(ErrorCode::InvalidState)),
        ] {
            let mut cx = cx();
            let mut call = call(&mut cx, Direction::Incoming, phase);
            assert_eq!(call.start_reject(&mut cx, 486).map_err(|error| error.code), outcome, "{phase:?}");
        }
    }
}
