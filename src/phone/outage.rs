//! Requests and responses across the loss of a socket, and without one.
//!
//! | message | on the next socket |
//! |---|---|
//! | responses, ACK | sent as soon as it is open |
//! | BYE, CANCEL | the same transaction again, as soon as it is open |
//! | INVITE that makes a call, INFO, REFER, NOTIFY, UPDATE without SDP, PRACK, MESSAGE, OPTIONS | the same transaction again, once registered: a server that has it absorbs the retransmission (RFC 3261, section 17.2.3) |
//! | re-INVITE | ACK and CANCEL, whatever its outcome; then a new offer |
//! | REGISTER, SUBSCRIBE, PUBLISH | made anew |
//!
//! A request that one with a higher CSeq has overtaken over a later socket is not sent again: the peer would refuse it. It
//! fails, but for BYE.
//!
//! A request that the peer retransmits in the same way is carried out once.
//!
//! A proxy that has the INVITE may send its responses to the lost socket (RFC 3261, section 18.2.2); a restarted one has
//! forgotten it. So if the INVITE gets no response on the new socket, or 482 (merged request), a new INVITE replaces it,
//! after CANCEL and BYE for the old.

use super::authentication::renew;
use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::outgoing::ack_text;
use super::timers::TxId;
use super::transactions::Owner;
use super::{CallId, CallState, CallTimer, Direction, EndCause, EndedBy, LogLevel};
use crate::entropy::token;
use crate::error::Error;
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::T64;
use crate::text::concat;
use crate::time::Duration;

/// Time for the first response to an INVITE on a new socket. A server that has it responds at once (RFC 3261, section
/// 17.2.1).
pub(super) const FIRST_RESPONSE: Duration = Duration::from_secs(4);

impl Calls {
    /// The call that this INVITE is, once more. A caller that could not know whether its INVITE arrived sends a new one, with
    /// another From tag and CSeq and the same offer.
    pub(super) fn repeated_by(&self, request: &Request) -> Option<CallId> {
        let head = request.headers.head();
        let found = self.iter().find(|call| {
            Some(call.sip.call_id.as_str()) == request.headers.call_id()
                && call.sip.invite.as_ref().is_some_and(|invite| {
                    let again = invite.headers.get("CSeq") == request.headers.get("CSeq")
                        && invite.headers.head().from_tag() == head.from_tag();
                    again
                        || (invite.body == request.body
                            && invite.headers.head().from_uri() == head.from_uri())
                })
        });
        found.map(|call| call.id)
    }
}

impl Call {
    /// The INVITE of a call that rings here, or has just been answered, arrives again over another connection. A server was
    /// restarted, and the caller has retransmitted: the call is the same, and continues over the new connection. While the
    /// old connection is still up, it is a merged request instead (RFC 3261, section 8.2.2.2): `false`.
    pub(super) fn adopt_retransmitted_invite(&mut self, cx: &mut Cx, tx: TxId, request: &Request) -> bool {
        let rings = matches!(self.phase, Phase::Alerting | Phase::Answering);
        let answered = self.phase == Phase::Accepted && self.session.pending_ok.is_some();
        if !(rings || answered) || self.answering.came_over().is_none_or(|socket| cx.line.listens_to(socket))
        {
            return false;
        }
        let (Some(old), Some(mut dialog)) =
            (&self.sip.dialog, Dialog::from_request(request, &self.sip.local_tag))
        else {
            return false;
        };
        dialog.local_seq = old.local_seq;
        dialog.private = old.private;
        self.sip.dialog = Some(dialog);
        self.sip.invite = Some(request.clone());
        self.answering.set_came_over(cx.env.heard_over);
        self.reliable = None;
        let early = self.answering.early_answer().cloned();
        let former = self.sip.invite_tx.take();
        let pending = self.session.pending_ok.take();
        if rings {
            self.sip.invite_tx = Some(tx);
        }
        self.timers.clear(CallTimer::Reliable1xx);
        if let Some(former) = former {
            cx.transactions.remove_server(former);
        }
        if let Some(entry) = cx.transactions.server(tx) {
            entry.call = Some(self.id);
        }
        match pending {
            Some(pending) => {
                let text = self.respond_in_dialog(cx, tx, 200, pending.description());
                let seq = request.headers.seq().unwrap_or(pending.seq());
                self.await_ack(cx, seq, text, pending.offered());
            }
            None => {
                let status = if early.is_some() { 183 } else { 180 };
                self.respond_provisional(cx, tx, status, early);
            }
        }
        true
    }

    /// The response to our re-INVITE is lost. Its 2xx may be under way: without an ACK the peer repeats it, and ends the
    /// call after 32 s (RFC 3261, section 13.3.1.4). So an ACK goes out in any case. Without a 2xx the peer ignores it.
    pub(super) fn reinvite_lost(&mut self, cx: &mut Cx, tx: TxId, error: &Error) {
        let via = cx.via();
        let request = cx.transactions.client(tx).map(|entry| entry.tx.request.clone());
        let ack = request.and_then(|request| {
            let dialog = self.sip.dialog.as_mut()?;
            ack_text(&request, dialog, &via)
        });
        if let Some(ack) = ack {
            cx.line.transmit(&mut cx.env, ack, true);
        }
        self.abandon_reinvite(cx);
        self.offer_failed(cx, error.clone());
        // If the next connection is up already, no other event repeats the offer.
        self.continue_offer(cx);
    }

    /// A call that is being set up. A 200 without its ACK gets the full time again. A ringing call asks by OPTIONS whether
    /// its caller has cancelled.
    pub(super) fn resume_call(&mut self, cx: &mut Cx) {
        if let Some(pending) = &mut self.session.pending_ok {
            let text = pending.text().to_owned();
            pending.wait_on(cx.env.now);
            // The peer starts its media only now.
            self.await_media(cx);
            cx.line.transmit(&mut cx.env, text, false);
            return;
        }
        if self.direction == Direction::Incoming && matches!(self.phase, Phase::Alerting | Phase::Answering) {
            // The CANCEL may have gone to the lost socket. A 481 says so: the call is over (RFC 3261, section 12.2.1.2).
            let Some(dialog) = self.sip.dialog.as_mut() else { return };
            let mut options = dialog.request(Method::Options, None);
            options.headers.push("Contact", cx.contact());
            if let Err(error) = self.send_request(cx, Owner::Caller(self.id), options, Attempt::default()) {
                cx.log(LogLevel::Warn, &["OPTIONS could not be sent: ", &error.message]);
            }
        }
    }

    pub(super) fn on_caller_response(&mut self, cx: &mut Cx, response: &Response) {
        if response.status == 481 && (matches!(self.phase, Phase::Alerting | Phase::Answering)) {
            self.refuse(cx, 487, EndCause::Cancelled, EndedBy::Remote);
        }
    }

    // ---- an INVITE without success

    /// The callee rang before the outage, and cannot be reached after it: its phone comes back a moment later than this
    /// one, and a restarted proxy has no binding for it yet. Plans another INVITE. `true`: the call continues.
    pub(super) fn invite_again_later(&mut self, cx: &mut Cx, status: u16) -> bool {
        let away = matches!(status, 404 | 408 | 430 | 477..=480 | 500 | 503 | 504);
        let rang = self.state != CallState::Connecting;
        let Some(wait) = self.dialled.invitation.again_in().filter(|_| rang && away) else { return false };
        self.timers.set(CallTimer::Renew, cx.env.now + wait);
        true
    }

    pub(super) fn on_renew_timer(&mut self, cx: &mut Cx) {
        if self.phase == Phase::Confirmed {
            self.offer_again(cx);
        } else {
            self.dialled.invitation.allow_renewal();
            self.renew_invite(cx);
        }
    }

    /// Replaces an INVITE that went over a lost socket and has failed since. `true`: a new one is out.
    pub(super) fn renew_invite(&mut self, cx: &mut Cx) -> bool {
        let now = cx.env.now;
        let tag = token(&mut *cx.env.entropy, 12);
        let hidden = self.sip.hidden;
        let from = concat(&[&cx.caller_address(hidden), ";tag=", &tag]);
        if self.phase != Phase::Inviting {
            return false;
        }
        if !self.dialled.invitation.renew() {
            return false;
        }
        let Some(invite) = self.sip.invite.as_mut() else { return false };
        // The same call and caller, in a dialog of its own.
        invite.headers.set("From", from);
        renew(invite);
        let invite = invite.clone();
        self.sip.local_tag = tag;
        self.sip.invite_tx = None;
        // A fork that has answered meanwhile would get no ACK, so BYE ends its dialog. CANCEL ends those that ring.
        let byes = self.dialled.forks.abandon();
        let mut cancel = None;
        for (_, entry) in cx.transactions.clients() {
            if entry.owner == Owner::Invite(self.id) {
                entry.owner = Owner::Nobody;
                if entry.tx.is_open() {
                    cancel = Some(entry.tx.cancel());
                    entry.tx.deadline = Some(now + T64);
                }
            }
        }
        for request in cancel.into_iter().chain(byes) {
            cx.send_or_log(request);
        }
        match self.send_request(cx, Owner::Invite(self.id), invite, Attempt::default()) {
            Ok(_) => true,
            Err(error) => {
                self.fail_outgoing(cx, error, EndedBy::Network);
                true
            }
        }
    }
}

impl Cx {
    pub(super) fn send_or_log(&mut self, request: Request) {
        let method = request.method.clone();
        if let Err(error) = self.send_request(Owner::Nobody, request, Attempt::default()) {
            self.log(LogLevel::Warn, &[method.as_str(), " could not be sent: ", &error.message]);
        }
    }

    /// Repeats the response to a request that was carried out before, and whose response was lost. `true`: done. (RFC 3261,
    /// section 8.2.2.2, has 482 for a request that is not answered yet.)
    pub(super) fn answer_again(&mut self, tx: TxId, request: &Request) -> bool {
        let Some(status) = self.transactions.status_given(request, self.env.now) else { return false };
        self.respond(tx, status);
        true
    }
}
