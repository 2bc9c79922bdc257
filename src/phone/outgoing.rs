//! Outgoing calls: INVITE, its responses, CANCEL and their races (RFC 3261, sections 9.1 and 13.2).

use super::authentication::renew;
use super::call::{Call, Job, Phase};
use super::description::sdp_text;
use super::forks::Hear;
use super::transactions::{Owner, TxId};
use super::{
    CallId, CallState, CallTimer, CredentialsId, DialRequest, DialStage, Direction, EndCause, EndedBy, Event,
    LogLevel, MediaCommand, Phone, SUPPORTED, TimerKey,
};
use crate::entropy::token;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::header::name_addr;
use crate::sip::message::{Headers, Method, Request, Response};
use crate::sip::sdp;
use crate::sip::transaction::{ClientState, T64};
use crate::sip::uri::Uri;
use crate::text::concat;

impl Phone {
    /// `own`: headers that an application cannot set.
    pub(super) fn start_dial(&mut self, dial: DialRequest, own: &[(&str, &str)]) -> Result<CallId, Error> {
        if self.flow.closing || self.flow.open_socket().is_none() {
            return Err(Error::new(ErrorCode::NotConnected, "There is no connection to the SIP server"));
        }
        let target = Uri::parse(&dial.target)
            .ok()
            .filter(|uri| uri.headers.is_none())
            .ok_or_else(|| Error::new(ErrorCode::InvalidDestination, "The destination is not a SIP URI"))?;
        self.take_headers(&dial.extra_headers)?;
        if self.live_calls().len() >= self.config.max_calls {
            return Err(Error::new(ErrorCode::InvalidState, "There are too many calls already"));
        }
        let id = self.new_call_id();
        let mut call = Call::new(id, Direction::Outgoing, Phase::Preparing);
        call.sip_call_id = token(&mut *self.entropy, 24);
        call.local_tag = token(&mut *self.entropy, 12);
        call.remote_uri = target.aor();
        call.remote_display_name.clone_from(&dial.display_name);
        call.own_timeout = dial.timeout.is_some();
        if let Some(former) = dial.continues.and_then(|former| self.calls.get(&former)) {
            former.go_on_as(&mut call);
            call.hidden = former.hidden;
        }
        call.hidden |= self.config.anonymous;

        let uri = target.to_text();
        let remote = name_addr(dial.display_name.as_deref(), &uri);
        let mut invite = Request::new(Method::Invite, uri);
        invite.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&self.caller_address(call.hidden), ";tag=", &call.local_tag])),
            ("To", &remote),
            ("Call-ID", &call.sip_call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", &self.contact()),
            ("Allow", super::ALLOW),
            ("Supported", &self.supported()),
            ("Content-Type", super::SDP),
        ]);
        invite.headers.push_all(own);
        if call.hidden {
            self.hide_caller(&mut invite);
        }
        for (name, value) in dial.extra_headers {
            invite.headers.push(&name, value);
        }
        // A value that cannot be sent is refused now, not when the microphone is already open.
        invite
            .to_text()
            .map_err(|_| Error::invalid_config("displayName", "contains characters that cannot be sent"))?;
        call.invite = Some(invite);

        self.calls.insert(id, call);
        if let Some(listens_only) = dial.listens_only {
            self.choose_microphone(id, listens_only);
        }
        self.event(Event::CallState(id, CallState::New));
        self.event(Event::Stage(id, DialStage::Preparing));
        self.set_call_state(id, CallState::Connecting);
        let ring = dial.timeout.unwrap_or(super::RING_TIMEOUT);
        self.timers.set(TimerKey::Call(id, CallTimer::Ring), self.now + ring);
        self.media_job(id, Job::Offer, MediaCommand::CreateOffer);
        Ok(id)
    }

    /// The offer is ready.
    pub(super) fn send_invite(&mut self, id: CallId, sdp: String) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Preparing) else {
            return;
        };
        call.phase = Phase::Inviting;
        let Some(invite) = call.invite.as_mut() else { return };
        invite.body = sdp.into_bytes();
        let mut invite = invite.clone();
        self.offer_session(id, &mut invite.headers);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some(invite.clone());
        }
        match self.send_request(Owner::Invite(id), invite, Attempt::default()) {
            Ok(tx) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.invite_tx = Some(tx);
                }
                self.event(Event::Stage(id, DialStage::Requesting));
            }
            Err(error) => self.fail_outgoing(id, error, EndedBy::Network),
        }
    }

    /// The INVITE goes out again with an answer to the challenge.
    pub(super) fn invite_resent(&mut self, id: CallId, tx: TxId, request: &Request) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite_tx = Some(tx);
            call.invitation.sent();
            call.forks.forget();
            if let Some(invite) = call.invite.as_mut() {
                if let Some(cseq) = request.headers.get("CSeq") {
                    invite.headers.set("CSeq", cseq);
                }
                // The ACK of the 2xx carries the same credentials (RFC 3261, section 22.1).
                for name in ["Authorization", "Proxy-Authorization"] {
                    invite.headers.remove(name);
                    invite.headers.copy(name, &request.headers);
                }
            }
        }
    }

    pub(super) fn invite_asks(&mut self, id: CallId, question: CredentialsId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.invitation.ask(question);
        }
    }

    pub(super) fn on_invite_response(&mut self, id: CallId, request: &Request, response: &Response) {
        match response.status {
            100..=199 => self.on_invite_provisional(id, request, response),
            200..=299 => self.on_invite_ok(id, request, response),
            _ => {
                let Some(call) = self.calls.get_mut(&id) else { return };
                call.invite_tx = None;
                if call.phase == Phase::Terminating {
                    self.remove(id);
                    return;
                }
                if call.phase == Phase::Inviting {
                    if response.status == 422 && self.ask_for_longer_session(id, response)
                        || response.status == 421 && self.take_extension(id, response)
                    {
                        return;
                    }
                    // There twice (RFC 3261, section 8.2.2.2): over the socket that was lost, and over this one.
                    if response.status == 482 && self.renew_invite(id) {
                        return;
                    }
                    if self.redirected(id, response.status, &response.headers)
                        || self.invite_elsewhere(id, response)
                        || self.invite_again_later(id, response.status)
                    {
                        return;
                    }
                    self.learn_reason(id, &response.headers);
                    let mut error = super::registration::refused(response);
                    let said = self.calls.get(&id).and_then(|call| call.said.as_ref()?.q850);
                    error.learn_cause(said);
                    self.fail_outgoing(id, error, EndedBy::Remote);
                }
            }
        }
    }

    /// 422: whether the INVITE that makes the call has been sent again with what the other side asks for
    /// (RFC 4028, section 7.4).
    fn ask_for_longer_session(&mut self, id: CallId, response: &Response) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        if !call.session_timer.asks_for_longer(response) {
            return false;
        }
        let Some(mut invite) = call.invite.clone() else { return false };
        renew(&mut invite);
        self.offer_session(id, &mut invite.headers);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some(invite.clone());
        }
        self.send_request(Owner::Invite(id), invite, Attempt::default()).is_ok()
    }

    /// 421: whether the INVITE that makes the call has been sent again, which is done once, with the extensions that it
    /// names (RFC 3261, section 21.4.16).
    fn take_extension(&mut self, id: CallId, response: &Response) -> bool {
        let required = response.headers.values("Require");
        let is = |tag: &str, known: &str| known.eq_ignore_ascii_case(tag);
        let supported = self.supported_with(true);
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.invitation.takes_extension()) else {
            return false;
        };
        let Some(mut invite) = call.invite.clone() else { return false };
        if required.is_empty() || !required.iter().all(|tag| SUPPORTED.iter().any(|known| is(tag, known))) {
            return false;
        }
        call.invitation.extend();
        call.session_timer.require(required.iter().any(|tag| is(tag, "timer")));
        renew(&mut invite);
        invite.headers.set("Supported", supported);
        self.offer_session(id, &mut invite.headers);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = Some(invite.clone());
        }
        self.send_request(Owner::Invite(id), invite, Attempt::default()).is_ok()
    }

    fn on_invite_provisional(&mut self, id: CallId, request: &Request, response: &Response) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.invitation.on_provisional() {
            self.send_cancel(id, false);
            return;
        }
        if call.phase != Phase::Inviting || response.status == 100 {
            return;
        }
        self.tell_referrer(id, response.status);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.invitation.reach();
        let state = call.state;
        // It is judged when it is heard.
        let sdp = sdp_text(&response.headers, &response.body);
        let speaks = sdp.is_some();
        if let Some(dialog) = Dialog::from_response(request, response) {
            let tag = dialog.remote_tag.clone();
            if response.status != 199 {
                call.forks.ring(dialog);
            }
            if !self.acknowledge_provisional(id, &tag, response) {
                return;
            }
            if response.status == 199 {
                self.fork_over(id, &tag);
                return;
            }
            if self.learn_identity(id, &response.headers)
                && let Some(call) = self.calls.get_mut(&id)
            {
                call.forks.assert(&tag);
            }
            let Some(call) = self.calls.get_mut(&id) else { return };
            if speaks {
                call.forks.speak(&tag, sdp, response.headers.contains_token("Require", "100rel"));
            }
        }
        if speaks {
            self.hear_fork(id);
        } else if response.status != 183 && state == CallState::Connecting {
            self.set_call_state(id, CallState::Ringing);
            self.event(Event::Stage(id, DialStage::Ringing));
        }
    }

    /// One peer connection takes the early media of one fork: of the one that spoke last. While a description is
    /// being set, the next one waits.
    pub(super) fn hear_fork(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase != Phase::Inviting || call.job.is_some() {
            return;
        }
        match call.forks.hear() {
            Hear::Fork(answer) => {
                match sdp::judge(answer, true, &call.descriptions.agreed) {
                    Ok(answer) => self.answer_job(id, Job::EarlyAnswer, answer),
                    // What comes with the final answer decides.
                    Err(flaw) => {
                        self.log(LogLevel::Warn, &["early media cannot be heard: ", flaw.text()]);
                    }
                }
            }
            // Nobody speaks any more; the others still ring.
            Hear::Nobody if call.state == CallState::EarlyMedia => {
                self.set_call_state(id, CallState::Ringing)
            }
            Hear::Nobody | Hear::Same => {}
        }
    }

    pub(super) fn on_early_media(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id).filter(|call| call.phase == Phase::Inviting) else { return };
        if call.state != CallState::EarlyMedia && call.forks.anybody_speaks() {
            self.set_call_state(id, CallState::EarlyMedia);
            self.event(Event::Stage(id, DialStage::EarlyMedia));
        }
        self.hear_fork(id);
    }

    /// One fork is over, the call is not (RFC 6228).
    fn fork_over(&mut self, id: CallId, tag: &str) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.forks.leave(tag);
            self.hear_fork(id);
        }
    }

    /// A BYE in an early dialog ends that dialog; the INVITE has other forks, or its final response still comes
    /// (RFC 3261, section 15). `false`: it is no BYE of a fork.
    pub(super) fn fork_left(&mut self, id: CallId, tx: TxId, tag: &str) -> bool {
        let early =
            self.calls.get(&id).is_some_and(|call| call.phase == Phase::Inviting && call.forks.rings(tag));
        if early {
            self.respond(tx, 200);
            self.fork_over(id, tag);
        }
        early
    }

    fn on_invite_ok(&mut self, id: CallId, request: &Request, response: &Response) {
        let Some(mut dialog) = Dialog::from_response(request, response) else {
            // Without a To-tag there is no dialog to acknowledge in. The peer gives up after 32 s; so do we now.
            if self.calls.get(&id).is_some_and(|call| call.phase == Phase::Inviting) {
                let error = Error::new(ErrorCode::ServerError, "The answer to the call has no To-tag");
                self.fail_outgoing(id, error, EndedBy::Remote);
            }
            return;
        };
        let via = self.via();
        let Some(call) = self.calls.get_mut(&id) else {
            self.ack_and_bye(request, &mut dialog, false);
            return;
        };
        // A repeated 2xx: its ACK was lost (RFC 3261, section 13.2.2.4).
        if let Some(ack) = call.forks.ack(&dialog.remote_tag) {
            let ack = ack.to_owned();
            self.transmit(ack, true);
            return;
        }
        if call.phase != Phase::Inviting {
            if call.forks.is_full() {
                return;
            }
            // Another fork answered too, or the answer crossed our CANCEL: acknowledged and ended on its own
            // dialog; the call that goes on is not touched. The record of a cancelled call stays for as long as
            // 2xx may be repeated, so that a repetition gets the same ACK and no second BYE.
            let elsewhere = call.is_up();
            let ack = self.ack_and_bye(request, &mut dialog, elsewhere);
            if let Some(call) = self.calls.get_mut(&id) {
                call.forks.acknowledge(&dialog.remote_tag, ack);
            }
            return;
        }

        // The dialog goes on; the route set is that of the 2xx (RFC 3261, section 13.2.2.4).
        let early_sdp = call.forks.answer(&mut dialog);
        // Who has answered is not another who has rung.
        let another = call.forks.asserted_by_another(&dialog.remote_tag);
        let rang = if another { call.asserted_identity.take() } else { None };
        if !self.learn_identity(id, &response.headers) && rang.is_some() {
            self.event(Event::Remote(id));
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.replaceable = response.headers.contains_token("Supported", "replaces");
        call.phase = Phase::Applying;
        let ack = ack_text(request, &mut dialog, &via);
        call.forks.acknowledge(&dialog.remote_tag, ack.clone());
        let settled = call.forks.take_settled(&dialog.remote_tag);
        call.dialog = Some(dialog);
        self.session_answered(id, response);
        self.timers.clear(TimerKey::Call(id, CallTimer::Ring));
        if let Some(ack) = ack {
            self.transmit(ack, true);
        }
        if let Some(with_it) = settled {
            self.answered_after_offers(id, with_it);
            return;
        }
        // A 2xx without SDP after a 1xx with it: against RFC 3261, section 13.2.1, but gateways do it.
        match self.judge_answer(id, sdp_text(&response.headers, &response.body).or(early_sdp)) {
            Ok(answer) => self.answer_job(id, Job::FinalAnswer, answer),
            Err(error) => self.end_unagreed(id, error),
        }
    }

    /// The 2xx after an offer of a fork that was taken: offer and answer have been exchanged, if it is of that fork.
    /// Another one has an answer that cannot be used, and gets a new offer.
    fn answered_after_offers(&mut self, id: CallId, with_it: bool) {
        if !with_it {
            self.abandon_offer_of_theirs(id);
            self.set_remote_hold(id, false);
            if let Some(call) = self.calls.get_mut(&id) {
                call.recovery.begin_anew();
            }
        }
        self.outgoing_up(id);
        self.continue_offer(id);
    }

    /// The answer is set: the call is up.
    pub(super) fn outgoing_up(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Applying) else { return };
        call.phase = Phase::Confirmed;
        call.dial_done = true;
        self.await_media(id);
        self.set_call_state(id, CallState::Active);
        self.event(Event::Stage(id, DialStage::Connected));
        self.event(Event::DialDone(id, Ok(())));
        self.tell_referrer(id, 200);
        if let Some(old) = self.calls.get_mut(&id).and_then(|call| call.replaces.take()) {
            self.take_place_of(old, id, false);
        }
        self.recover(id);
    }

    pub(super) fn on_invite_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.invite_tx = None;
        if call.phase == Phase::Terminating {
            self.remove(id);
        } else if call.phase == Phase::Inviting && !self.redirected(id, 408, &Headers::default()) {
            let error = Error::new(ErrorCode::Timeout, "The server did not answer").with_status(408);
            self.fail_outgoing(id, error, EndedBy::Network);
        }
    }

    pub(super) fn on_ring_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let error = if call.own_timeout {
            Error::new(ErrorCode::Timeout, "The call was not answered in time")
        } else if let Some(error) = call.redirects.as_ref().and_then(|redirects| redirects.unanswered()) {
            error
        } else {
            Error::new(ErrorCode::NoAnswer, "Nobody answered")
        };
        match call.direction {
            Direction::Outgoing if call.rest.is_some() => self.hang_up_rest(id, Some(error)),
            Direction::Outgoing => self.give_up_call(id, Some(error), EndedBy::Local),
            Direction::Incoming => self.refuse(id, 480, EndCause::Failed(error), EndedBy::Local),
        }
    }

    /// The caller gives up before the answer.
    pub(super) fn give_up_call(&mut self, id: CallId, cause: Option<Error>, by: EndedBy) {
        let end = match &cause {
            Some(error) if error.code != ErrorCode::Aborted => EndCause::Failed(error.clone()),
            _ => EndCause::Cancelled,
        };
        let error = cause.unwrap_or_else(|| Error::new(ErrorCode::Aborted, "The call was cancelled"));
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            Phase::Inviting => {
                let (asking, provisional) = call.invitation.give_up();
                let running = call.invite_tx.is_some();
                call.phase = Phase::Terminating;
                self.report_end(id, end, None, by, Some(error));
                if let Some(question) = asking {
                    self.questions.remove(&question);
                }
                if running {
                    self.timers.set(TimerKey::Call(id, CallTimer::Cancelled), self.now + T64);
                    if provisional {
                        self.send_cancel(id, false);
                    }
                } else {
                    self.remove(id);
                }
            }
            Phase::Preparing => {
                self.report_end(id, end, None, by, Some(error));
                self.remove(id);
            }
            _ => {}
        }
    }

    /// `early`: also where no 1xx has come yet.
    pub(super) fn send_cancel(&mut self, id: CallId, early: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        // Once is enough: the CANCEL has a transaction of its own.
        if !call.invitation.wants_cancel() {
            return;
        }
        let Some(tx) = call.invite_tx else { return };
        let cancel = match self.transactions.client(tx) {
            Some(entry) if entry.tx.state == ClientState::Proceeding => entry.tx.cancel(),
            // It has no deadline before it is sent.
            Some(entry) if early && entry.tx.is_open() && entry.tx.deadline.is_some() => entry.tx.cancel(),
            _ => return,
        };
        call.invitation.take_cancel();
        self.timers.set(TimerKey::Call(id, CallTimer::Cancelled), self.now + T64);
        if let Err(error) = self.send_request(Owner::Nobody, cancel, Attempt::default()) {
            self.log(super::LogLevel::Warn, &["CANCEL could not be sent: ", &error.message]);
        }
    }

    /// The cancelled INVITE got no final response: its transaction is over all the same (RFC 3261, section 9.1).
    pub(super) fn on_cancelled_timeout(&mut self, id: CallId) {
        if self.flow.is_interrupted() {
            // The CANCEL has yet to be sent. Its time is that of everything that waits.
            self.timers.set(TimerKey::Call(id, CallTimer::Cancelled), self.now + T64);
            return;
        }
        self.forget_clients_of(Owner::Invite(id));
        self.remove(id);
    }

    pub(super) fn fail_outgoing(&mut self, id: CallId, error: Error, by: EndedBy) {
        let status = error.sip_status;
        self.report_end(id, EndCause::Failed(error.clone()), status, by, Some(error));
        self.remove(id);
    }

    /// Acknowledges a 2xx that nobody wants and ends its dialog. Returns the ACK.
    pub(super) fn ack_and_bye(
        &mut self,
        request: &Request,
        dialog: &mut Dialog,
        elsewhere: bool,
    ) -> Option<String> {
        let ack = ack_text(request, dialog, &self.via());
        if let Some(ack) = ack.clone() {
            self.transmit(ack, true);
        }
        let mut bye = dialog.request(Method::Bye, None);
        if elsewhere {
            // Who has answered for nothing is told that it was no mishap.
            bye.headers.push("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"");
        }
        if let Err(error) = self.send_request(Owner::Nobody, bye, Attempt::default()) {
            self.log(super::LogLevel::Warn, &["BYE could not be sent: ", &error.message]);
        }
        ack
    }
}

/// The ACK of a 2xx: a request of its own within the dialog (RFC 3261, section 13.2.2.4).
pub(super) fn ack_text(invite: &Request, dialog: &mut Dialog, via: &str) -> Option<String> {
    let seq = invite.headers.seq()?;
    let mut ack = dialog.request(Method::Ack, Some(seq));
    ack.headers.push_front("Via", via);
    for name in ["Authorization", "Proxy-Authorization"] {
        ack.headers.copy(name, &invite.headers);
    }
    ack.to_text().ok()
}
