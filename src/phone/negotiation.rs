//! Offers within a call, by re-INVITE or UPDATE, from either side; hold (RFC 3261, section 14, RFC 3311, RFC 3264).

use super::call::{Call, Job, Phase};
use super::description::{describes, read_offer, sdp_text};
use super::offers::{Crossing, Next, flow};
use super::outgoing::ack_text;
use super::recovery::is_from_peer;
use super::transactions::{Owner, TxId};
use super::{CallId, CallTimer, Direction, Event, MediaCommand, MediaError, Phone, TimerKey};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Request, Response};
use crate::sip::sdp::{self, Direction as MediaDirection};
use crate::sip::transaction::{ClientState, T64, sibling};
use crate::text::{concat, digits};
use crate::time::Duration;

impl Phone {
    // ---- hold

    pub(super) fn start_hold(&mut self, id: CallId, on: bool) -> Result<(), Error> {
        let call = self.holdable(id)?;
        call.offers.command();
        if let Some(referral) = &mut call.referral {
            referral.set_put_on_hold(false);
        }
        self.request_hold(id, on);
        self.continue_offer(id);
        Ok(())
    }

    /// Holds because something else needs it, such as a transfer: nobody waits for its outcome.
    pub(super) fn hold_unasked(&mut self, id: CallId) -> Result<(), Error> {
        self.holdable(id)?;
        self.request_hold(id, true);
        self.continue_offer(id);
        Ok(())
    }

    /// Ends a hold that `hold_unasked` began.
    pub(super) fn take_back_hold(&mut self, id: CallId) {
        self.request_hold(id, false);
        self.continue_offer(id);
    }

    fn holdable(&mut self, id: CallId) -> Result<&mut Call, Error> {
        let call = self
            .calls
            .get_mut(&id)
            .filter(|call| call.phase != Phase::Terminating)
            .ok_or_else(super::call_ended)?;
        if !matches!(call.phase, Phase::Confirmed | Phase::Accepted) || call.is_gated() {
            return Err(Error::new(ErrorCode::InvalidState, "Only an answered call can be held"));
        }
        Ok(call)
    }

    /// What flows follows the wish at once: nothing leaks until the other side has agreed.
    pub(super) fn request_hold(&mut self, id: CallId, on: bool) {
        if self.calls.get_mut(&id).is_some_and(|call| call.offers.wish_hold(on)) {
            self.hold_changed(id);
        }
    }

    fn hold_changed(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (local, remote) = (call.offers.local_hold(), call.offers.remote_hold());
        self.media_order(id, MediaCommand::Flow(flow(local, remote)));
        self.event(Event::Hold { call: id, local, remote });
        // The call that is taking its place is held as soon as it is up, and nothing may be heard before.
        let next = self.calls.values().find(|call| call.replaces == Some(id) && !call.answer_pending);
        if let Some((next, own, remote)) =
            next.map(|call| (call.id, call.offers.local_hold(), call.offers.remote_hold()))
        {
            self.media_order(next, MediaCommand::Flow(flow(local || own, remote)));
        }
    }

    pub(super) fn set_remote_hold(&mut self, id: CallId, on: bool) {
        if self.calls.get_mut(&id).is_some_and(|call| call.offers.set_remote_hold(on)) {
            self.hold_changed(id);
        }
    }

    /// Makes an offer where what is agreed is not what is wanted, unless something else goes on: then it follows that.
    pub(super) fn continue_offer(&mut self, id: CallId) {
        let online = self.flow.open_socket().is_some();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase != Phase::Confirmed || call.lost_dialog.is_some() {
            return;
        }
        let restart = call.recovery.wants_offer();
        let free = online && call.job.is_none() && call.pending_ok.is_none();
        match call.offers.advance(call.session_timer.wants_offer(), restart, free) {
            Next::Wait => return,
            Next::Agreed => {
                self.hold_done(id, &Ok(()));
                return;
            }
            Next::Offer => {}
        }
        let (direction, flow) = (call.offers.to_offer(), call.offers.flow());
        let (job, command) = if !call.media_open {
            (Job::Resume, MediaCommand::Resume { direction })
        } else if restart {
            (Job::OurOffer, MediaCommand::RestartIce { direction })
        } else {
            (Job::OurOffer, MediaCommand::Reoffer { direction })
        };
        self.media_job(id, job, command);
        if job == Job::Resume && flow != MediaDirection::SendRecv {
            self.media_order(id, MediaCommand::Flow(flow));
        }
    }

    fn hold_done(&mut self, id: CallId, result: &Result<(), Error>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for _ in 0..call.offers.take_commands() {
            self.event(Event::HoldDone(id, result.clone()));
        }
        self.on_hold_outcome(id);
    }

    /// The call is over: whoever waits for a hold is told.
    pub(super) fn hold_ended(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.offers.stop();
            call.session_timer.stop();
        }
        self.abandon_waiting(id);
        self.abandon_reinvite(id);
        self.hold_done(id, &Err(super::call_ended()));
    }

    // ---- our offer

    /// It is made: it goes out.
    pub(super) fn our_offer_ready(&mut self, id: CallId, sdp: String) {
        let contact = self.contact();
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = call.dialog.as_mut().filter(|_| call.offers.send(now)) else { return };
        let mut request = dialog.request(Method::Invite, None);
        request.headers.push_all(&[
            ("Contact", &contact),
            ("Allow", super::ALLOW),
            ("Content-Type", super::SDP),
        ]);
        request.body = sdp.into_bytes();
        self.keep_session(id, &mut request.headers);
        if let Err(error) = self.send_request(Owner::Reinvite(id), request, Attempt::default()) {
            self.offer_failed(id, error);
        }
    }

    pub(super) fn on_reoffer_timeout(&mut self, id: CallId) {
        self.abandon_reinvite(id);
        let error =
            Error::new(ErrorCode::Timeout, "The other side did not respond to the change of the call");
        self.offer_failed(id, error);
    }

    /// Nobody waits for our re-INVITE any more: it is cancelled, where that is possible and the call is not over.
    pub(super) fn abandon_reinvite(&mut self, id: CallId) {
        let up = self.calls.get(&id).is_some_and(|call| call.phase == Phase::Confirmed);
        let now = self.now;
        let (mut cancel, mut unsent) = (None, None);
        for (tx, entry) in self.transactions.clients() {
            if entry.owner != Owner::Reinvite(id) {
                continue;
            }
            // One that waits to be sent is not sent any more.
            if entry.socket.is_none() {
                unsent = Some(tx);
                continue;
            }
            entry.owner = Owner::LateReinvite(id);
            if entry.tx.state == ClientState::Proceeding {
                entry.tx.deadline = Some(now + T64);
                self.timers.set(TimerKey::Client(tx), now + T64);
                cancel = up.then(|| entry.tx.cancel());
            }
        }
        if let Some(tx) = unsent {
            self.remove_client(tx);
        }
        if let Some(cancel) = cancel
            && let Err(error) = self.send_request(Owner::Nobody, cancel, Attempt::default())
        {
            self.log(super::LogLevel::Warn, &["CANCEL could not be sent: ", &error.message]);
        }
    }

    /// The 2xx crossed our CANCEL or BYE. It is acknowledged (RFC 3261, section 13.2.2.4), and if the call goes on, an
    /// offer of what it is now takes the place of the one that the other side has just agreed to.
    pub(super) fn on_late_reinvite_response(&mut self, id: CallId, request: &Request, response: &Response) {
        if !(200..300).contains(&response.status) {
            return;
        }
        let mut ack = sibling(request, Method::Ack);
        ack.headers.set("Via", self.via());
        for name in ["Authorization", "Proxy-Authorization"] {
            ack.headers.copy(name, &request.headers);
        }
        if let Ok(text) = ack.to_text() {
            self.transmit(text, true);
        }
        let seq = request.headers.seq();
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        // Neither again, nor overtaken by a later one.
        if seq.is_some_and(|seq| call.offers.acknowledge(seq, "")) {
            call.offers.set_doubt(true);
            self.continue_offer(id);
        }
    }

    pub(super) fn on_reinvite_response(&mut self, id: CallId, request: &Request, response: &Response) {
        if response.status < 200 {
            return;
        }
        let via = self.via();
        let seq = request.headers.seq().unwrap_or(0);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if response.status < 300 {
            // Acknowledged whatever has become of the call; a repeated 2xx gets the same ACK (RFC 3261, 13.2.2.4).
            let ack = match (call.offers.ack_of(seq), call.dialog.as_mut()) {
                (Some(ack), _) => Some(ack.to_owned()),
                (None, Some(dialog)) => ack_text(request, dialog, &via),
                (None, None) => None,
            };
            let Some(ack) = ack else { return };
            // One that a later one has overtaken settles nothing any more.
            let latest = call.offers.acknowledge(seq, &ack);
            let going_on = call.offers.is_ours() && call.phase == Phase::Confirmed && latest;
            if let Some(dialog) = call.dialog.as_mut().filter(|_| going_on) {
                dialog.refresh_target(&response.headers);
            }
            self.transmit(ack, true);
            if going_on {
                self.session_answered(id, response);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.offers.responded();
                }
                let sdp = sdp_text(&response.headers, &response.body);
                // It is no answer to an offer of another association (RFC 8842, section 5.3).
                let keeps = self.calls.get(&id).is_some_and(|call| call.resumed)
                    && sdp.as_deref().is_some_and(sdp::keeps_association);
                if keeps && self.replace_association(id) {
                    self.media_order(id, MediaCommand::Rollback);
                    return;
                }
                match self.judge_answer(id, sdp) {
                    Ok(answer) => {
                        if let Some(call) = self.calls.get_mut(&id) {
                            call.offers.answered();
                        }
                        self.answer_job(id, Job::OurAnswer, answer);
                    }
                    Err(error) => self.our_answer_unusable(id, error),
                }
            }
            return;
        }
        if !call.offers.is_ours() || call.phase != Phase::Confirmed {
            return;
        }
        match response.status {
            // RFC 3261, section 14.1: who made the Call-ID waits longer, so that both do not cross again.
            491 if call.offers.glare() => {
                let wait = match call.direction {
                    Direction::Outgoing => 2100 + below(&mut *self.entropy, 190) * 10,
                    Direction::Incoming => below(&mut *self.entropy, 200) * 10,
                };
                call.offers.pause(self.now + Duration::from_millis(wait));
                self.media_order(id, MediaCommand::Rollback);
            }
            // The offer itself was not looked at: the same again, with the interval that the other side can take.
            422 if call.session_timer.takes_longer(response) => {
                call.offers.withdraw();
                self.media_order(id, MediaCommand::Rollback);
                self.continue_offer(id);
            }
            481 => {
                let error = Error::from_status(481, &response.reason);
                if !self.replace_resumed(id, &error) {
                    self.dialog_gone(id, error);
                }
            }
            status => self.offer_failed(id, Error::from_status(status, &response.reason)),
        }
    }

    /// The 2xx was the other side's agreement, and nothing can be done with the answer in it: until both are of one mind
    /// again, the call is offered anew as it is here. `false`: that has been done often enough, and the call is over.
    fn agreed_in_vain(&mut self, id: CallId, error: &Error) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let again = call.offers.agreed_in_vain();
        if !again {
            self.end_unagreed(id, error.clone());
        }
        again
    }

    pub(super) fn our_answer_unusable(&mut self, id: CallId, error: Error) {
        if self.agreed_in_vain(id, &error) {
            self.offer_failed(id, error);
        }
    }

    /// Our offer was in a 2xx, and nothing can be done with the answer in its ACK.
    pub(super) fn ack_unusable(&mut self, id: CallId, error: Error) {
        if self.calls.get(&id).is_some_and(|call| call.phase == Phase::Accepted) {
            self.end_unagreed(id, error);
        } else if self.agreed_in_vain(id, &error) {
            self.media_order(id, MediaCommand::Rollback);
            self.offer_in_doubt(id, &error, true);
        }
    }

    /// The answer is set: agreed.
    pub(super) fn our_answer_applied(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(offer) = call.offers.agree() {
            call.resumed = false;
            self.timers.clear(TimerKey::Call(id, CallTimer::Renew));
            self.recovery_agreed(id, offer.restart);
        }
        self.continue_offer(id);
    }

    /// The other side does not agree, or cannot be asked: the call stays as it was.
    pub(super) fn offer_failed(&mut self, id: CallId, error: Error) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(failed) = call.offers.fail() else { return };
        call.job = None;
        let refresh = call.session_timer.offer_failed();
        let lost = error.code == ErrorCode::Transport;
        self.media_order(id, MediaCommand::Rollback);
        let recovers = self.recovery_failed(id, failed.restart, &error);
        if let Some(call) = self.calls.get_mut(&id) {
            call.offers.withdraw();
        }
        if refresh && !recovers {
            self.refresh_failed(id, &error);
        }
        if lost || recovers {
            // The wish stays; it is made again over the next socket, even if it is back at what was agreed.
            if let Some(call) = self.calls.get_mut(&id) {
                call.offers.set_doubt(failed.in_doubt);
            }
            return;
        }
        if failed.in_doubt {
            self.offer_in_doubt(id, &error, failed.doubted);
        }
        let wished = self.calls.get(&id).is_some_and(|call| call.offers.local_hold() != failed.agreed);
        if failed.nothing_new && wished {
            // What the user wants has not been asked for yet.
            self.continue_offer(id);
            return;
        }
        self.request_hold(id, failed.agreed);
        self.hold_done(id, &Err(error));
        if self.calls.get(&id).is_some_and(|call| call.recovery.wants_offer()) {
            self.continue_offer(id);
        }
    }

    /// The other side has not refused: its agreement may be lost, with a connection for instance. So that both are of one
    /// mind again, it is asked to agree to what the call has been left as, soon. What it says to that settles nothing,
    /// unless it agrees: `doubted`.
    fn offer_in_doubt(&mut self, id: CallId, error: &Error, doubted: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        // 491 and 500 are the other side's own too (RFC 3261, section 14.2), if not for ever.
        let said = |status| is_from_peer(status) || matches!(status, 491 | 500);
        if !doubted && error.sip_status.is_some_and(said) {
            return;
        }
        let Some(half) = call.offers.ask_again() else { return };
        let wait = Duration::from_millis(half + below(&mut *self.entropy, half));
        self.timers.set(TimerKey::Call(id, CallTimer::Renew), self.now + wait);
    }

    pub(super) fn offer_again(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.offers.set_doubt(true);
            self.continue_offer(id);
        }
    }

    /// A new socket is there: wishes that waited for it.
    pub(super) fn offers_after_reconnect(&mut self) {
        for id in self.live_calls() {
            self.continue_offer(id);
        }
    }

    // ---- the other side's offer

    /// RFC 3261, section 14.2.
    pub(super) fn on_reinvite(&mut self, id: CallId, tx: TxId, request: &Request, seq: u32) {
        if self.wait_for_answer(id, tx, request) {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            // Our INVITE is still open.
            Phase::Preparing | Phase::Inviting | Phase::Applying => {
                self.respond_in_dialog(id, tx, 491, None);
                return;
            }
            Phase::Alerting | Phase::Answering => {
                self.retry_later(id, tx);
                return;
            }
            Phase::Terminating | Phase::Originating | Phase::Outcome => {
                self.respond_in_dialog(id, tx, 481, None);
                return;
            }
            Phase::Accepted | Phase::Confirmed => {}
        }
        match call.offers.crossing(self.now) {
            Crossing::Crossed => {
                self.respond_in_dialog(id, tx, 491, None);
                return;
            }
            Crossing::Stale => {
                self.abandon_reinvite(id);
                let error = Error::new(ErrorCode::Timeout, "The other side has made an offer of its own");
                self.offer_failed(id, error);
            }
            // Theirs goes first, ours follows it.
            Crossing::Unsent if call.job == Some(Job::OurOffer) => {
                call.offers.withdraw();
                call.job = None;
                self.timers.clear(TimerKey::Call(id, CallTimer::IceGather));
                self.media_order(id, MediaCommand::Rollback);
            }
            Crossing::Unsent | Crossing::None => {}
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        // Our 2xx was lost, and somebody else has answered in our place: nobody makes another offer before (section 14.1).
        let passed = call.phase == Phase::Confirmed
            && call.pending_ok.as_ref().is_some_and(|ok| ok.is_overtaken_by(seq));
        if passed {
            self.stop_awaiting_ack(id);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.offers.theirs().is_some() || call.job.is_some() || call.pending_ok.is_some() {
            self.retry_later(id, tx);
            return;
        }
        self.take_offer(id, tx, request, seq);
    }

    pub(super) fn take_offer(&mut self, id: CallId, tx: TxId, request: &Request, seq: u32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let offer = match read_offer(request, &call.descriptions.agreed) {
            Ok(offer) => offer,
            Err(flaw) => {
                // The call goes on as it was.
                let refusal = self.refusal_of(flaw);
                self.respond_refusal(tx, refusal);
                self.early_job_done(id);
                return;
            }
        };
        call.offers.take(tx, seq, offer.as_ref().map(|offer| offer.direction));
        let direction = call.offers.to_answer();
        let tag = request.headers.from_tag().unwrap_or_default();
        if let Some(dialog) = call.dialog_to(&tag) {
            dialog.refresh_target(&request.headers);
        }
        if call.phase == Phase::Inviting {
            call.forks.settle(tag);
        }
        let invite = request.method == Method::Invite;
        if let Some(entry) = self.transactions.server(tx) {
            entry.call = Some(id);
        }
        if invite {
            self.respond(tx, 100);
        }
        match offer {
            Some(offer) => {
                self.description_job(id, Job::Reinvite, offer, |offer| MediaCommand::Renegotiate {
                    offer,
                    direction,
                });
            }
            None => self.media_job(id, Job::Reinvite, MediaCommand::Reoffer { direction }),
        }
    }

    /// RFC 3311, section 5.2.
    pub(super) fn on_update(&mut self, id: CallId, tx: TxId, request: &Request, seq: u32) {
        let described = describes(request);
        if described && self.wait_for_answer(id, tx, request) {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tag = request.headers.from_tag().unwrap_or_default();
        if !described {
            // Of this fork, where there are several.
            if let Some(dialog) = call.dialog_to(&tag) {
                dialog.refresh_target(&request.headers);
            }
            self.respond_in_dialog(id, tx, 200, None);
            self.continue_offer(id);
            return;
        }
        let offered = call.pending_ok.as_ref().is_some_and(|ok| ok.offered())
            || call.offers.is_out()
            || call.offers_early(&tag);
        let ready = call.phase == Phase::Confirmed || call.takes_early_offer(&tag);
        if offered {
            self.respond_in_dialog(id, tx, 491, None);
        } else if !ready || call.offers.is_ours() || call.offers.theirs().is_some() || call.job.is_some() {
            self.retry_later(id, tx);
        } else {
            self.take_offer(id, tx, request, seq);
        }
    }

    /// The other side's answer to our offer is being set, which takes milliseconds: the offer that has come right behind it
    /// waits for that. `false`: there is nothing to wait for.
    fn wait_for_answer(&mut self, id: CallId, tx: TxId, request: &Request) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        // An INVITE before the answer crosses ours.
        let may_wait = call.is_up() || request.method != Method::Invite;
        let setting = may_wait && call.job.is_some_and(Job::sets_answer);
        if !setting || !call.offers.wait(tx, request) {
            return false;
        }
        if let Some(entry) = self.transactions.server(tx) {
            entry.call = Some(id);
        }
        if request.method == Method::Invite {
            self.respond(tx, 100);
        }
        true
    }

    /// The answer is set, or is not: the offer behind it is taken.
    pub(super) fn take_waiting(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.job.is_none()) else { return };
        let Some((tx, request)) = call.offers.take_waiting() else { return };
        let seq = request.headers.seq().unwrap_or(0);
        if request.method == Method::Invite {
            self.on_reinvite(id, tx, &request, seq);
        } else {
            self.on_update(id, tx, &request, seq);
        }
    }

    /// It waits for nothing any more.
    pub(super) fn abandon_waiting(&mut self, id: CallId) {
        if let Some((tx, _)) = self.calls.get_mut(&id).and_then(|call| call.offers.take_waiting()) {
            self.respond_in_dialog(id, tx, 487, None);
        }
    }

    /// 500 with a random Retry-After: the peer's earlier INVITE is not finished (RFC 3261, section 14.2).
    fn retry_later(&mut self, id: CallId, tx: TxId) {
        let seconds = below(&mut *self.entropy, 11);
        self.respond_with(tx, 500, Some(id), &[("Retry-After", &digits(seconds))], None);
    }

    /// The answer (or offer) for the 200 is ready.
    pub(super) fn reinvite_ready(&mut self, id: CallId, sdp: String) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(theirs) = call.offers.answer() else { return };
        // UPDATE or PRACK: nothing acknowledges its 200.
        let update = self
            .transactions
            .server(theirs.tx)
            .is_some_and(|entry| entry.tx.request.method != Method::Invite);
        let text = self.respond_in_dialog(id, theirs.tx, 200, Some(sdp));
        self.set_remote_hold(id, theirs.remote_hold);
        if update {
            self.early_job_done(id);
        } else {
            self.await_ack(id, theirs.seq, text, theirs.offered);
        }
    }

    /// It cannot be agreed to: the call stays as it was.
    pub(super) fn reinvite_failed(&mut self, id: CallId, error: &MediaError) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(theirs) = call.offers.drop_theirs() else { return };
        call.forks.unsettle();
        let text = concat(&[
            "399 ",
            &self.host,
            " \"",
            &super::media_error(error).message.replace(['"', '\\'], "'"),
            "\"",
        ]);
        self.respond_refusal(theirs.tx, (488, Some(("Warning", text))));
        self.media_order(id, MediaCommand::Rollback);
        self.early_job_done(id);
    }

    /// Their offer is of no interest any more: it was cancelled, or whoever made it has not got the call.
    pub(super) fn abandon_offer_of_theirs(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(theirs) = call.offers.drop_theirs() {
            call.job = None;
            self.respond_in_dialog(id, theirs.tx, 487, None);
            self.media_order(id, MediaCommand::Rollback);
            self.continue_offer(id);
        }
    }
}
