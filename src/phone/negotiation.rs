//! Offers within a call, by re-INVITE or UPDATE, from either side; hold (RFC 3261, section 14, RFC 3311, RFC 3264).

use super::call::{Call, Phase};
use super::calls::Calls;
use super::capabilities;
use super::context::Cx;
use super::description::{describes, read_offer, sdp_text};
use super::env::Ask;
use super::media_half::MediaJob;
use super::offers::{Crossing, Next, flow};
use super::outgoing::ack_text;
use super::recovery::is_from_peer;
use super::timers::TxId;
use super::transactions::Owner;
use super::{CallId, CallTimer, Direction, Event, MediaCommand, MediaError};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Request, Response};
use crate::sip::sdp::{self, Direction as MediaDirection};
use crate::sip::transaction::{ClientState, T64, sibling};
use crate::text::{concat, digits};
use crate::time::Duration;

impl Cx {
    /// The 2xx crossed our CANCEL or BYE. It is acknowledged all the same (RFC 3261, section 13.2.2.4).
    pub(super) fn acknowledge_late(&mut self, request: &Request) {
        let mut ack = sibling(request, Method::Ack);
        ack.headers.set("Via", self.via());
        for name in ["Authorization", "Proxy-Authorization"] {
            ack.headers.copy(name, &request.headers);
        }
        if let Ok(text) = ack.to_text() {
            self.line.transmit(&mut self.env, text, true);
        }
    }
}

impl Calls {
    /// The call that is taking the place of this one is held as soon as it is up, and nothing may be heard before.
    pub(super) fn follow_hold(&mut self, cx: &mut Cx, id: CallId) {
        let Some(held) = self.get(id).map(|call| call.session.offers.local_hold()) else { return };
        let next = self
            .iter_mut()
            .find(|call| call.succession.replaces() == Some(id) && !call.answering.is_pending());
        if let Some(call) = next {
            let (own, remote) = (call.session.offers.local_hold(), call.session.offers.remote_hold());
            call.media_order(cx, MediaCommand::Flow(flow(held || own, remote)));
        }
    }
}

impl Call {
    // ---- hold

    pub(super) fn start_hold(&mut self, cx: &mut Cx, on: bool) -> Result<(), Error> {
        self.holdable()?;
        self.session.offers.command();
        if let Some(referral) = &mut self.transfers.theirs {
            referral.set_put_on_hold(false);
        }
        self.request_hold(cx, on);
        self.continue_offer(cx);
        Ok(())
    }

    /// Holds because something else needs it, such as a transfer: nobody waits for its outcome.
    pub(super) fn hold_unasked(&mut self, cx: &mut Cx) -> Result<(), Error> {
        self.holdable()?;
        self.request_hold(cx, true);
        self.continue_offer(cx);
        Ok(())
    }

    /// Ends a hold that `hold_unasked` began.
    pub(super) fn take_back_hold(&mut self, cx: &mut Cx) {
        self.request_hold(cx, false);
        self.continue_offer(cx);
    }

    fn holdable(&self) -> Result<(), Error> {
        if self.phase == Phase::Terminating {
            return Err(super::call_ended());
        }
        if !matches!(self.phase, Phase::Confirmed | Phase::Accepted) || self.is_gated() {
            return Err(Error::new(ErrorCode::InvalidState, "Only an answered call can be held"));
        }
        Ok(())
    }

    /// What flows follows the wish at once: nothing leaks until the other side has agreed.
    pub(super) fn request_hold(&mut self, cx: &mut Cx, on: bool) {
        if self.session.offers.wish_hold(on) {
            self.hold_changed(cx);
        }
    }

    fn hold_changed(&mut self, cx: &mut Cx) {
        let (local, remote) = (self.session.offers.local_hold(), self.session.offers.remote_hold());
        self.media_order(cx, MediaCommand::Flow(flow(local, remote)));
        cx.event(Event::Hold { call: self.id, local, remote });
        cx.ask(self.id, Ask::FollowHold);
    }

    pub(super) fn set_remote_hold(&mut self, cx: &mut Cx, on: bool) {
        if self.session.offers.set_remote_hold(on) {
            self.hold_changed(cx);
        }
    }

    /// Makes an offer where what is agreed is not what is wanted, unless something else goes on: then it follows that.
    pub(super) fn continue_offer(&mut self, cx: &mut Cx) {
        let online = cx.line.open_socket().is_some();

        if self.phase != Phase::Confirmed || self.taken_up.has_lost_dialog() {
            return;
        }
        let restart = self.session.recovery.wants_offer();
        let free = online && self.media.job().is_none() && self.session.pending_ok.is_none();
        match self.session.offers.advance(self.session.timer.wants_offer(), restart, free) {
            Next::Wait => return,
            Next::Agreed => {
                self.hold_done(cx, &Ok(()));
                return;
            }
            Next::Offer => {}
        }
        let (direction, flow) = (self.session.offers.to_offer(), self.session.offers.flow());
        let (job, command) = if !self.media.is_open() {
            (MediaJob::Resume, MediaCommand::Resume { direction })
        } else if restart {
            (MediaJob::OurOffer, MediaCommand::RestartIce { direction })
        } else {
            (MediaJob::OurOffer, MediaCommand::Reoffer { direction })
        };
        self.media_job(cx, job, command);
        if job == MediaJob::Resume && flow != MediaDirection::SendRecv {
            self.media_order(cx, MediaCommand::Flow(flow));
        }
    }

    fn hold_done(&mut self, cx: &mut Cx, result: &Result<(), Error>) {
        for _ in 0..self.session.offers.take_commands() {
            cx.event(Event::HoldDone(self.id, result.clone()));
        }
        cx.ask(self.id, Ask::GoOnWithTransfer);
    }

    /// The call is over: whoever waits for a hold is told.
    pub(super) fn hold_ended(&mut self, cx: &mut Cx) {
        self.session.offers.stop();
        self.session.timer.stop();
        self.abandon_waiting(cx);
        self.abandon_reinvite(cx);
        self.hold_done(cx, &Err(super::call_ended()));
    }

    // ---- our offer

    /// It is made: it goes out.
    pub(super) fn our_offer_ready(&mut self, cx: &mut Cx, sdp: String) {
        let contact = cx.contact();
        let now = cx.env.now;

        let Some(dialog) = self.sip.dialog.as_mut().filter(|_| self.session.offers.send(now)) else { return };
        let mut request = dialog.request(Method::Invite, None);
        request.headers.push_all(&[
            ("Contact", &contact),
            ("Allow", capabilities::ALLOW),
            ("Content-Type", capabilities::SDP),
        ]);
        request.body = sdp.into_bytes();
        self.keep_session(cx, &mut request.headers);
        if let Err(error) = self.send_request(cx, Owner::Reinvite(self.id), request, Attempt::default()) {
            self.offer_failed(cx, error);
        }
    }

    pub(super) fn on_reoffer_timeout(&mut self, cx: &mut Cx) {
        self.abandon_reinvite(cx);
        let error =
            Error::new(ErrorCode::Timeout, "The other side did not respond to the change of the call");
        self.offer_failed(cx, error);
    }

    /// Nobody waits for our re-INVITE any more: it is cancelled, where that is possible and the call is not over.
    pub(super) fn abandon_reinvite(&mut self, cx: &mut Cx) {
        let up = self.phase == Phase::Confirmed;
        let now = cx.env.now;
        let (mut cancel, mut unsent) = (None, None);
        for (tx, entry) in cx.transactions.clients() {
            if entry.owner != Owner::Reinvite(self.id) {
                continue;
            }
            // One that waits to be sent is not sent any more.
            if entry.socket.is_none() {
                unsent = Some(tx);
                continue;
            }
            entry.owner = Owner::LateReinvite(self.id);
            if entry.tx.state == ClientState::Proceeding {
                entry.tx.deadline = Some(now + T64);
                cancel = up.then(|| entry.tx.cancel());
            }
        }
        if let Some(tx) = unsent {
            cx.transactions.remove_client(tx);
        }
        if let Some(cancel) = cancel
            && let Err(error) = self.send_request(cx, Owner::Nobody, cancel, Attempt::default())
        {
            cx.log(super::LogLevel::Warn, &["CANCEL could not be sent: ", &error.message]);
        }
    }

    /// The 2xx crossed our CANCEL: an offer of what the call is now takes the place of the one that the other side has just
    /// agreed to.
    pub(super) fn late_reinvite_agreed(&mut self, cx: &mut Cx, request: &Request) {
        // Neither again, nor overtaken by a later one.
        if self.phase == Phase::Confirmed
            && request.headers.seq().is_some_and(|seq| self.session.offers.acknowledge(seq, ""))
        {
            self.session.offers.set_doubt(true);
            self.continue_offer(cx);
        }
    }

    pub(super) fn on_reinvite_response(&mut self, cx: &mut Cx, request: &Request, response: &Response) {
        if response.status < 200 {
            return;
        }
        let via = cx.via();
        let seq = request.headers.seq().unwrap_or(0);

        if response.status < 300 {
            // Acknowledged whatever has become of the call; a repeated 2xx gets the same ACK (RFC 3261, 13.2.2.4).
            let ack = match (self.session.offers.ack_of(seq), self.sip.dialog.as_mut()) {
                (Some(ack), _) => Some(ack.to_owned()),
                (None, Some(dialog)) => ack_text(request, dialog, &via),
                (None, None) => None,
            };
            let Some(ack) = ack else { return };
            // One that a later one has overtaken settles nothing any more.
            let latest = self.session.offers.acknowledge(seq, &ack);
            let going_on = self.session.offers.is_ours() && self.phase == Phase::Confirmed && latest;
            if let Some(dialog) = self.sip.dialog.as_mut().filter(|_| going_on) {
                dialog.refresh_target(&response.headers);
            }
            cx.line.transmit(&mut cx.env, ack, true);
            if going_on {
                self.session_answered(cx, response);
                self.session.offers.responded();
                let sdp = sdp_text(&response.headers, &response.body);
                // It is no answer to an offer of another association (RFC 8842, section 5.3).
                let keeps = self.taken_up.is_resumed() && sdp.as_deref().is_some_and(sdp::keeps_association);
                if keeps && self.replace_association(cx) {
                    self.media_order(cx, MediaCommand::Rollback);
                    return;
                }
                match self.judge_answer(cx, sdp) {
                    Ok(answer) => {
                        self.session.offers.answered();
                        self.answer_job(cx, MediaJob::OurAnswer, answer);
                    }
                    Err(error) => self.our_answer_unusable(cx, error),
                }
            }
            return;
        }
        if !self.session.offers.is_ours() || self.phase != Phase::Confirmed {
            return;
        }
        match response.status {
            // RFC 3261, section 14.1: who made the Call-ID waits longer, so that both do not cross again.
            491 if self.session.offers.glare() => {
                let wait = match self.direction {
                    Direction::Outgoing => 2100 + below(&mut *cx.env.entropy, 190) * 10,
                    Direction::Incoming => below(&mut *cx.env.entropy, 200) * 10,
                };
                self.session.offers.pause(cx.env.now + Duration::from_millis(wait));
                self.media_order(cx, MediaCommand::Rollback);
            }
            // The offer itself was not looked at: the same again, with the interval that the other side can take.
            422 if self.session.timer.takes_longer(response) => {
                self.session.offers.withdraw();
                self.media_order(cx, MediaCommand::Rollback);
                self.continue_offer(cx);
            }
            481 => {
                let error = Error::from_status(481, &response.reason);
                if !self.replace_resumed(cx, error.clone()) {
                    self.dialog_gone(cx, error);
                }
            }
            status => self.offer_failed(cx, Error::from_status(status, &response.reason)),
        }
    }

    /// The 2xx was the other side's agreement, and nothing can be done with the answer in it: until both are of one mind
    /// again, the call is offered anew as it is here. `false`: that has been done often enough, and the call is over.
    fn agreed_in_vain(&mut self, cx: &mut Cx, error: &Error) -> bool {
        let again = self.session.offers.agreed_in_vain();
        if !again {
            self.end_unagreed(cx, error.clone());
        }
        again
    }

    pub(super) fn our_answer_unusable(&mut self, cx: &mut Cx, error: Error) {
        if self.agreed_in_vain(cx, &error) {
            self.offer_failed(cx, error);
        }
    }

    /// Our offer was in a 2xx, and nothing can be done with the answer in its ACK.
    pub(super) fn ack_unusable(&mut self, cx: &mut Cx, error: Error) {
        if self.phase == Phase::Accepted {
            self.end_unagreed(cx, error);
        } else if self.agreed_in_vain(cx, &error) {
            self.media_order(cx, MediaCommand::Rollback);
            self.offer_in_doubt(cx, &error, true);
        }
    }

    /// The answer is set: agreed.
    pub(super) fn our_answer_applied(&mut self, cx: &mut Cx) {
        if let Some(offer) = self.session.offers.agree() {
            self.taken_up.settle();
            self.timers.clear(CallTimer::Renew);
            self.recovery_agreed(cx, offer.restart);
        }
        self.continue_offer(cx);
    }

    /// The other side does not agree, or cannot be asked: the call stays as it was.
    pub(super) fn offer_failed(&mut self, cx: &mut Cx, error: Error) {
        let Some(failed) = self.session.offers.fail() else { return };
        self.media.drop_job();
        let refresh = self.session.timer.offer_failed();
        let lost = error.code == ErrorCode::Transport;
        self.media_order(cx, MediaCommand::Rollback);
        let recovers = self.recovery_failed(cx, failed.restart, &error);
        self.session.offers.withdraw();
        if refresh && !recovers {
            self.refresh_failed(cx, &error);
        }
        if lost || recovers {
            // The wish stays; it is made again over the next socket, even if it is back at what was agreed.
            self.session.offers.set_doubt(failed.in_doubt);
            return;
        }
        if failed.in_doubt {
            self.offer_in_doubt(cx, &error, failed.doubted);
        }
        let wished = self.session.offers.local_hold() != failed.agreed;
        if failed.nothing_new && wished {
            // What the user wants has not been asked for yet.
            self.continue_offer(cx);
            return;
        }
        self.request_hold(cx, failed.agreed);
        self.hold_done(cx, &Err(error));
        if self.session.recovery.wants_offer() {
            self.continue_offer(cx);
        }
    }

    /// The other side has not refused: its agreement may be lost, with a connection for instance. So that both are of one
    /// mind again, it is asked to agree to what the call has been left as, soon. What it says to that settles nothing,
    /// unless it agrees: `doubted`.
    fn offer_in_doubt(&mut self, cx: &mut Cx, error: &Error, doubted: bool) {
        // 491 and 500 are the other side's own too (RFC 3261, section 14.2), if not for ever.
        let said = |status| is_from_peer(status) || matches!(status, 491 | 500);
        if !doubted && error.sip_status.is_some_and(said) {
            return;
        }
        let Some(half) = self.session.offers.ask_again() else { return };
        let wait = Duration::from_millis(half + below(&mut *cx.env.entropy, half));
        self.timers.set(CallTimer::Renew, cx.env.now + wait);
    }

    pub(super) fn offer_again(&mut self, cx: &mut Cx) {
        self.session.offers.set_doubt(true);
        self.continue_offer(cx);
    }

    // ---- the other side's offer

    /// RFC 3261, section 14.2.
    pub(super) fn on_reinvite(&mut self, cx: &mut Cx, tx: TxId, request: &Request, seq: u32) {
        if self.wait_for_answer(cx, tx, request) {
            return;
        }

        match self.phase {
            // Our INVITE is still open.
            Phase::Preparing | Phase::Inviting | Phase::Applying => {
                self.respond_in_dialog(cx, tx, 491, None);
                return;
            }
            Phase::Alerting | Phase::Answering => {
                self.retry_later(cx, tx);
                return;
            }
            Phase::Terminating | Phase::Originating | Phase::Outcome => {
                self.respond_in_dialog(cx, tx, 481, None);
                return;
            }
            Phase::Accepted | Phase::Confirmed => {}
        }
        match self.session.offers.crossing(cx.env.now) {
            Crossing::Crossed => {
                self.respond_in_dialog(cx, tx, 491, None);
                return;
            }
            Crossing::Stale => {
                self.abandon_reinvite(cx);
                let error = Error::new(ErrorCode::Timeout, "The other side has made an offer of its own");
                self.offer_failed(cx, error);
            }
            // Theirs goes first, ours follows it.
            Crossing::Unsent if self.media.job() == Some(MediaJob::OurOffer) => {
                self.session.offers.withdraw();
                self.media.drop_job();
                self.timers.clear(CallTimer::IceGather);
                self.media_order(cx, MediaCommand::Rollback);
            }
            Crossing::Unsent | Crossing::None => {}
        }

        // Our 2xx was lost, and somebody else has answered in our place: nobody makes another offer before (section 14.1).
        let passed = self.phase == Phase::Confirmed
            && self.session.pending_ok.as_ref().is_some_and(|ok| ok.is_overtaken_by(seq));
        if passed {
            self.stop_awaiting_ack();
        }

        if self.session.offers.theirs().is_some()
            || self.media.job().is_some()
            || self.session.pending_ok.is_some()
        {
            self.retry_later(cx, tx);
            return;
        }
        self.take_offer(cx, tx, request, seq);
    }

    pub(super) fn take_offer(&mut self, cx: &mut Cx, tx: TxId, request: &Request, seq: u32) {
        let offer = match read_offer(request, &self.descriptions.agreed) {
            Ok(offer) => offer,
            Err(flaw) => {
                // The call goes on as it was.
                let refusal = cx.refusal_of(flaw);
                cx.respond_refusal(tx, refusal);
                self.early_job_done(cx);
                return;
            }
        };
        self.session.offers.take(tx, seq, offer.as_ref().map(|offer| offer.direction));
        let direction = self.session.offers.to_answer();
        let tag = request.headers.head().from_tag().unwrap_or_default();
        if let Some(dialog) = self.dialog_to(tag) {
            dialog.refresh_target(&request.headers);
        }
        if self.phase == Phase::Inviting {
            self.dialled.forks.settle(tag.to_owned());
        }
        let invite = request.method == Method::Invite;
        if let Some(entry) = cx.transactions.server(tx) {
            entry.call = Some(self.id);
        }
        if invite {
            cx.respond(tx, 100);
        }
        match offer {
            Some(offer) => {
                self.description_job(cx, MediaJob::Reinvite, offer, |offer| MediaCommand::Renegotiate {
                    offer,
                    direction,
                });
            }
            None => self.media_job(cx, MediaJob::Reinvite, MediaCommand::Reoffer { direction }),
        }
    }

    /// RFC 3311, section 5.2.
    pub(super) fn on_update(&mut self, cx: &mut Cx, tx: TxId, request: &Request, seq: u32) {
        let described = describes(request);
        if described && self.wait_for_answer(cx, tx, request) {
            return;
        }

        let tag = request.headers.head().from_tag().unwrap_or_default();
        if !described {
            // Of this fork, where there are several.
            if let Some(dialog) = self.dialog_to(tag) {
                dialog.refresh_target(&request.headers);
            }
            self.respond_in_dialog(cx, tx, 200, None);
            self.continue_offer(cx);
            return;
        }
        let offered = self.session.pending_ok.as_ref().is_some_and(|ok| ok.offered())
            || self.session.offers.is_out()
            || self.offers_early(tag);
        let ready = self.phase == Phase::Confirmed || self.takes_early_offer(tag);
        if offered {
            self.respond_in_dialog(cx, tx, 491, None);
        } else if !ready
            || self.session.offers.is_ours()
            || self.session.offers.theirs().is_some()
            || self.media.job().is_some()
        {
            self.retry_later(cx, tx);
        } else {
            self.take_offer(cx, tx, request, seq);
        }
    }

    /// The other side's answer to our offer is being set, which takes milliseconds: the offer that has come right behind it
    /// waits for that. `false`: there is nothing to wait for.
    fn wait_for_answer(&mut self, cx: &mut Cx, tx: TxId, request: &Request) -> bool {
        // An INVITE before the answer crosses ours.
        let may_wait = self.is_up() || request.method != Method::Invite;
        let setting = may_wait && self.media.job().is_some_and(MediaJob::sets_answer);
        if !setting || !self.session.offers.wait(tx, request) {
            return false;
        }
        if let Some(entry) = cx.transactions.server(tx) {
            entry.call = Some(self.id);
        }
        if request.method == Method::Invite {
            cx.respond(tx, 100);
        }
        true
    }

    /// The answer is set, or is not: the offer behind it is taken.
    pub(super) fn take_waiting(&mut self, cx: &mut Cx) {
        if self.media.job().is_some() {
            return;
        }
        let Some((tx, request)) = self.session.offers.take_waiting() else { return };
        let seq = request.headers.seq().unwrap_or(0);
        if request.method == Method::Invite {
            self.on_reinvite(cx, tx, &request, seq);
        } else {
            self.on_update(cx, tx, &request, seq);
        }
    }

    /// It waits for nothing any more.
    pub(super) fn abandon_waiting(&mut self, cx: &mut Cx) {
        if let Some((tx, _)) = self.session.offers.take_waiting() {
            self.respond_in_dialog(cx, tx, 487, None);
        }
    }

    /// The answer (or offer) for the 200 is ready.
    pub(super) fn reinvite_ready(&mut self, cx: &mut Cx, sdp: String) {
        let Some(theirs) = self.session.offers.answer() else { return };
        // UPDATE or PRACK: nothing acknowledges its 200.
        let update =
            cx.transactions.server(theirs.tx).is_some_and(|entry| entry.tx.request.method != Method::Invite);
        let text = self.respond_in_dialog(cx, theirs.tx, 200, Some(sdp));
        self.set_remote_hold(cx, theirs.remote_hold);
        if update {
            self.early_job_done(cx);
        } else {
            self.await_ack(cx, theirs.seq, text, theirs.offered);
        }
    }

    /// It cannot be agreed to: the call stays as it was.
    pub(super) fn reinvite_failed(&mut self, cx: &mut Cx, error: &MediaError) {
        let Some(theirs) = self.session.offers.drop_theirs() else { return };
        self.dialled.forks.unsettle();
        let text = concat(&[
            "399 ",
            cx.env.host(),
            " \"",
            &super::media_error(error).message.replace(['"', '\\'], "'"),
            "\"",
        ]);
        cx.respond_refusal(theirs.tx, (488, Some(("Warning", text))));
        self.media_order(cx, MediaCommand::Rollback);
        self.early_job_done(cx);
    }

    /// 500 with a random Retry-After: the peer's earlier INVITE is not finished (RFC 3261, section 14.2).
    fn retry_later(&self, cx: &mut Cx, tx: TxId) {
        let seconds = below(&mut *cx.env.entropy, 11);
        self.respond_with(cx, tx, 500, &[("Retry-After", &digits(seconds))], None);
    }

    /// Their offer is of no interest any more: it was cancelled, or whoever made it has not got the call.
    pub(super) fn abandon_offer_of_theirs(&mut self, cx: &mut Cx) {
        if let Some(theirs) = self.session.offers.drop_theirs() {
            self.media.drop_job();
            self.respond_in_dialog(cx, theirs.tx, 487, None);
            self.media_order(cx, MediaCommand::Rollback);
            self.continue_offer(cx);
        }
    }
}
