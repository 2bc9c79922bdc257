//! Incoming calls: INVITE, ringing, answer, refusal, and the caller's CANCEL (RFC 3261, sections 9.2 and 13.3).

use super::awaited_ack::AwaitedAck;
use super::call::{Call, Job, Phase};
use super::description::{read_offer, sdp_text};
use super::transactions::TxId;
use super::{
    CallId, CallState, CallTimer, Direction, EndCause, EndedBy, Event, MediaCommand, MediaError, Phone,
    TimerKey, session_timer,
};
use crate::entropy::token;
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::header::Reason;
use crate::sip::message::Request;
use crate::sip::sdp::Agreed;

impl Phone {
    /// An INVITE outside a dialog.
    pub(super) fn on_invite(&mut self, tx: TxId, request: &Request) {
        if !self.adopt_retransmitted_invite(tx, request) && !self.take_bridge(tx, request) {
            self.ring(tx, request);
        }
    }

    /// A call that the user is to hear of.
    pub(super) fn ring(&mut self, tx: TxId, request: &Request) {
        if let Some(refusal) = self.refusal(request) {
            self.respond_refusal(tx, refusal);
            return;
        }
        let replaces = match self.replaced_call(request) {
            Ok(replaces) => replaces,
            Err(status) => {
                self.respond(tx, status);
                return;
            }
        };
        if replaces.is_none() && self.live_calls().len() >= self.config.max_calls {
            self.respond(tx, 486);
            return;
        }
        let at_once = replaces.filter(|old| self.may_replace(*old, &request.headers));
        if let Some(status) = self.auto_answer_refusal(request).filter(|_| at_once.is_none()) {
            self.respond(tx, status);
            return;
        }
        let id = self.new_call_id();
        let tag = token(&mut *self.entropy, 12);
        let Some(mut dialog) = Dialog::from_request(request, &tag) else {
            // No usable Contact (RFC 3261, section 8.1.1.8 demands one).
            self.respond(tx, 400);
            return;
        };
        let mut call = Call::new(id, Direction::Incoming, Phase::Alerting);
        call.sip_call_id.clone_from(&dialog.call_id);
        call.local_tag = tag;
        call.hidden = self.config.anonymous;
        dialog.private = call.hidden;
        if let Some(from) = request.headers.from() {
            call.remote_uri = from.uri;
            call.remote_display_name = from.display_name;
        }
        call.invite = Some(request.clone());
        call.invite_tx = Some(tx);
        call.dialog = Some(dialog);
        call.replaces = replaces;
        if let Some(former) = replaces.and_then(|former| self.calls.get(&former)) {
            former.go_on_as(&mut call);
        }
        call.came_over = self.flow.heard_over;
        call.replaceable = request.headers.contains_token("Supported", "replaces");
        self.calls.insert(id, call);
        if let Some(entry) = self.transactions.server(tx) {
            entry.call = Some(id);
        }
        self.learn_identity(id, &request.headers);
        if super::identity::is_withheld(&request.headers)
            && let Some(call) = self.calls.get_mut(&id)
        {
            call.private = true;
        }
        self.event(Event::CallState(id, CallState::New));
        // The caller's CANCEL may get lost with a socket.
        self.timers.set(TimerKey::Call(id, CallTimer::Ring), self.now + super::RING_TIMEOUT);
        if let Some(old) = at_once {
            self.answer_in_place_of(old, id);
            return;
        }
        self.plan_auto_answer(id, request);
        self.respond_provisional(id, tx, 180, None);
        self.set_call_state(id, CallState::Ringing);
        self.event(Event::Incoming(id));
    }

    /// Why an INVITE cannot ring here, if so: status and a header that explains.
    pub(super) fn refusal(&self, request: &Request) -> Option<(u16, Option<(&'static str, String)>)> {
        if let Some(refusal) = self.unsupported(request).or_else(|| session_timer::too_small(request)) {
            return Some(refusal);
        }
        // Before it rings: nobody answers a call that comes to nothing.
        if let Err(flaw) = read_offer(request, &Agreed::default()) {
            return Some(self.refusal_of(flaw));
        }
        if self.flow.closing {
            return Some((480, None));
        }
        // The same request over another path (RFC 3261, section 8.2.2.2).
        let from_tag = request.headers.from_tag();
        let merged = self.calls.values().any(|call| {
            (call.direction == Direction::Incoming || call.rest.is_some())
                && Some(call.sip_call_id.as_str()) == request.headers.call_id()
                && call.invite.as_ref().is_some_and(|invite| {
                    invite.headers.get("CSeq") == request.headers.get("CSeq")
                        && invite.headers.from_tag() == from_tag
                })
        });
        if merged {
            return Some((482, None));
        }
        None
    }

    pub(super) fn start_answer(&mut self, id: CallId) -> Result<(), Error> {
        if self.join_answer(id) {
            return Ok(());
        }
        let call = self.incoming_call(id)?;
        call.answer_pending = true;
        call.answer_wanted = true;
        if call.job.is_some() {
            // The 183's answer is being made; the 200 follows it.
            self.yield_to(id);
            return Ok(());
        }
        self.set_call_state(id, CallState::Connecting);
        self.continue_answer(id);
        self.yield_to(id);
        Ok(())
    }

    pub(super) fn continue_answer(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.phase = Phase::Answering;
        if let Some(sdp) = call.early_answer.clone() {
            self.send_ok(id, sdp, false);
            return;
        }
        self.make_answer(id, Job::Answer);
    }

    /// Answers the offer of the INVITE, or makes one where it has none.
    pub(super) fn make_answer(&mut self, id: CallId, job: Job) {
        match self.calls.get(&id).and_then(|call| call.invite_offer()) {
            Some(offer) => {
                self.description_job(id, job, offer, |offer| MediaCommand::CreateAnswer { offer });
            }
            None => self.media_job(id, job, MediaCommand::CreateOffer),
        }
    }

    pub(super) fn start_progress(&mut self, id: CallId) -> Result<(), Error> {
        let call = self.incoming_call(id)?;
        let free = call.job.is_none() && call.early_answer.is_none();
        if !free || (self.is_late_offer(id) && !self.takes_reliable(id)) {
            return Err(Error::new(ErrorCode::InvalidState, "The call has no offer to answer early"));
        }
        self.make_answer(id, Job::Progress);
        Ok(())
    }

    /// Offer and answer of before the answer to the call have been exchanged: what has waited for that goes on.
    pub(super) fn early_job_done(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        match call.phase {
            Phase::Alerting if call.answer_wanted => {
                self.set_call_state(id, CallState::Connecting);
                self.continue_answer(id);
            }
            Phase::Confirmed => self.continue_offer(id),
            _ => {}
        }
    }

    /// The 183's answer is ready.
    pub(super) fn progress_ready(&mut self, id: CallId, sdp: String) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Alerting) else { return };
        call.early_answer = Some(sdp.clone());
        let wanted = call.answer_wanted;
        if let Some(tx) = call.invite_tx {
            self.respond_provisional(id, tx, 183, Some(sdp));
        }
        self.set_call_state(id, CallState::EarlyMedia);
        if wanted {
            self.set_call_state(id, CallState::Connecting);
            self.continue_answer(id);
        }
    }

    /// The local description is ready: 200.
    pub(super) fn answer_ready(&mut self, id: CallId, sdp: String) {
        if self.calls.get(&id).is_none_or(|call| call.phase != Phase::Answering) {
            return;
        }
        let offered = self.is_late_offer(id);
        self.send_ok(id, sdp, offered);
    }

    pub(super) fn send_ok(&mut self, id: CallId, sdp: String, offered: bool) {
        if self.ok_waits(id, &sdp, offered) {
            return;
        }
        self.timers.clear(TimerKey::Call(id, CallTimer::Reliable1xx));
        let sdp = Some(sdp).filter(|_| !self.is_answered_reliably(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.phase = Phase::Accepted;
        let seq = call.invite.as_ref().and_then(|invite| invite.headers.seq()).unwrap_or(0);
        let Some(tx) = call.invite_tx.take() else { return };
        let by_rest = call.rest.is_some();
        if !by_rest {
            self.timers.clear(TimerKey::Call(id, CallTimer::Ring));
        }
        let text = self.respond_in_dialog(id, tx, 200, sdp);
        self.await_ack(id, seq, text, offered);
        self.await_media(id);
        if by_rest {
            self.bridge_answered(id);
        }
    }

    /// A 2xx is out: it is repeated until its ACK comes, even though the transport is reliable, since a later
    /// hop may not be (RFC 3261, section 13.3.1.4).
    pub(super) fn await_ack(&mut self, id: CallId, seq: u32, text: String, offered: bool) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.pending_ok = Some(Box::new(AwaitedAck::new(seq, text, offered, self.now)));
        }
    }

    /// Nothing depends on the ACK any more.
    pub(super) fn stop_awaiting_ack(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.pending_ok = None;
        }
    }

    pub(super) fn on_retransmit_timer(&mut self, id: CallId) {
        let Some(pending) = self.calls.get_mut(&id).and_then(|call| call.pending_ok.as_mut()) else { return };
        let text = pending.repeat(self.now);
        // Not kept for later: after a reconnect the timer sends it soon enough.
        self.transmit(text, false);
    }

    pub(super) fn on_ack_timeout(&mut self, id: CallId) {
        let interrupted = self.flow.is_interrupted();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(pending) = call.pending_ok.as_mut().filter(|_| interrupted) {
            // It could not have come.
            pending.wait_on(self.now);
            return;
        }
        call.pending_ok = None;
        if call.phase == Phase::Terminating {
            self.send_bye(id, None);
            return;
        }
        let error = Error::new(ErrorCode::Timeout, "The caller did not acknowledge the answer");
        self.end_with_bye(id, EndCause::Failed(error), EndedBy::Network, None);
    }

    /// ACK for a 2xx.
    pub(super) fn on_ack(&mut self, id: CallId, request: &Request) {
        let seq = request.headers.seq().unwrap_or(0);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(pending) = call.pending_ok.take_if(|pending| pending.is_acknowledged_by(seq)) else {
            return;
        };
        if call.phase == Phase::Terminating {
            // Hung up before the ACK: only now may BYE be sent (RFC 3261, section 15).
            self.send_bye(id, None);
            return;
        }
        let first = call.phase == Phase::Accepted;
        if pending.offered() {
            match self.judge_answer(id, sdp_text(&request.headers, &request.body)) {
                Ok(answer) => self.answer_job(id, Job::AckAnswer, answer),
                Err(error) => self.ack_unusable(id, error),
            }
            return;
        }
        if first {
            self.incoming_up(id);
        }
        self.continue_offer(id);
    }

    /// Acknowledged: the call is up.
    pub(super) fn incoming_up(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Accepted) else { return };
        call.phase = Phase::Confirmed;
        // The provider's call is up with its confirmation, whichever comes first.
        if call.rest.is_some() {
            self.recover(id);
            return;
        }
        let pending = core::mem::take(&mut call.answer_pending);
        let replaces = call.replaces.take();
        self.set_call_state(id, CallState::Active);
        if let Some(old) = replaces {
            self.take_place_of(old, id, pending);
        }
        if pending {
            self.event(Event::AnswerDone(id, Ok(())));
        }
        self.recover(id);
    }

    /// Microphone or description failed while answering.
    pub(super) fn answer_failed(&mut self, id: CallId, error: &MediaError) {
        let status = match error {
            MediaError::Description | MediaError::Refused(_) => 488,
            _ => 480,
        };
        self.refuse(id, status, EndCause::Failed(super::media_error(error)), EndedBy::Local);
    }

    /// A final failure response, and the end of the call.
    pub(super) fn refuse(&mut self, id: CallId, status: u16, cause: EndCause, by: EndedBy) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tx = call.invite_tx.take();
        let error = match &cause {
            EndCause::Failed(error) => error.clone(),
            _ => super::call_ended(),
        };
        if let Some(tx) = tx {
            self.respond_in_dialog(id, tx, status, None);
        }
        self.report_end(id, cause, Some(status), by, Some(error));
        self.remove(id);
    }

    pub(super) fn start_reject(&mut self, id: CallId, status: Option<u16>) -> Result<(), Error> {
        let status = status.unwrap_or(603);
        if !(300..=699).contains(&status) {
            return Err(Error::invalid_config("status", "must be from 300 to 699"));
        }
        if matches!(status, 401 | 407) {
            return Err(Error::invalid_config("status", "a challenge is not a refusal"));
        }
        let call = self.calls.get(&id).filter(|call| call.phase != Phase::Terminating);
        match call {
            None => Ok(()),
            Some(call) if call.rest.is_none() && matches!(call.phase, Phase::Alerting | Phase::Answering) => {
                let error = Error::from_status(status, &crate::sip::message::default_reason(status));
                self.refuse(id, status, EndCause::Failed(error), EndedBy::Local);
                Ok(())
            }
            Some(_) => {
                Err(Error::new(ErrorCode::InvalidState, "Only a ringing incoming call can be rejected"))
            }
        }
    }

    /// CANCEL for an INVITE that has no final response yet.
    pub(super) fn on_cancelled(&mut self, id: CallId, cancel: &Request) {
        let waiting =
            self.calls.get(&id).is_some_and(|call| matches!(call.phase, Phase::Alerting | Phase::Answering));
        if waiting {
            self.learn_reason(id, &cancel.headers);
            let cause = if self.calls.get(&id).is_some_and(|call| call.rest.is_some()) {
                EndCause::Failed(Error::new(
                    ErrorCode::BridgeMissing,
                    "The provider gave up calling this phone",
                ))
            } else {
                cancel_cause(cancel)
            };
            self.refuse(id, 487, cause, EndedBy::Remote);
        }
    }

    fn incoming_call(&mut self, id: CallId) -> Result<&mut Call, Error> {
        let call = self
            .calls
            .get_mut(&id)
            .filter(|call| call.phase != Phase::Terminating)
            .ok_or_else(super::call_ended)?;
        if call.phase == Phase::Alerting && !call.answer_wanted {
            Ok(call)
        } else {
            Err(Error::new(ErrorCode::InvalidState, "Only a ringing incoming call can be answered"))
        }
    }

    /// A response of the dialog: To-tag, Contact, and for an INVITE's success the SDP. Returns its text.
    pub(super) fn respond_in_dialog(
        &mut self,
        id: CallId,
        tx: TxId,
        status: u16,
        sdp: Option<String>,
    ) -> String {
        let contact = self.contact();
        let mut headers = Vec::new();
        if status < 300 && status > 100 {
            headers.extend([("Contact", contact), ("Allow", super::ALLOW.to_owned())]);
        }
        if status == 200 {
            self.accept_session(id, tx, &mut headers);
        }
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.respond_with(tx, status, Some(id), &headers, sdp)
    }
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
