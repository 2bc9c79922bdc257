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
//! A request that the peer retransmits in the same way is carried out once.
//!
//! A proxy that has the INVITE may send its responses to the lost socket (RFC 3261, section 18.2.2); a restarted one has
//! forgotten it. So if the INVITE gets no response on the new socket, or 482 (merged request), a new INVITE replaces it,
//! after CANCEL and BYE for the old.

use super::authentication::renew;
use super::call::{Call, Phase};
use super::context::Cx;
use super::outgoing::ack_text;
use super::registration::{MAX_RETRY_AFTER, refused, retry_after};
use super::transactions::{Owner, TxId};
use super::{
    CallId, CallState, CallTimer, Direction, EndCause, EndedBy, LogLevel, Phone, SocketId, TimerKey,
};
use crate::entropy::token;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Headers, Method, Request, Response};
use crate::sip::transaction::T64;
use crate::text::concat;
use crate::time::{Duration, Instant};

/// Time for the first response to an INVITE on a new socket. A server that has it responds at once (RFC 3261, section
/// 17.2.1).
const FIRST_RESPONSE: Duration = Duration::from_secs(4);
/// Retry-After of an overloaded server that gives none, seconds.
const BUSY: u32 = 10;

/// Limit of remembered responses. They are of the last half minute, and a lost socket loses only a few.
const MAX_ANSWERED: usize = 32;

/// A request that must not be carried out twice, with the status of its response.
#[derive(Debug)]
pub(super) struct Answered {
    key: String,
    status: u16,
    at: Instant,
}

/// Methods that have an effect each time. The dialog protects the others, or they do no harm.
const fn answers_once(method: &Method) -> bool {
    matches!(method, Method::Message | Method::Info | Method::Refer | Method::Notify)
}

fn answer_key(headers: &Headers) -> Option<String> {
    Some(concat(&[headers.call_id()?, " ", &headers.from_tag()?, " ", headers.get("CSeq")?]))
}

impl Phone {
    // ---- the loss

    /// The connection is lost with this socket: interrupts subscriptions and requests.
    pub(super) fn everything_interrupted(&mut self, lost: SocketId, error: &Error) {
        self.cx.subscriptions_interrupted(error);
        self.requests_interrupted(lost, error);
        if self.cx.flow.established && !self.cx.timers.is_set(TimerKey::Outage) {
            self.cx.timers.set(TimerKey::Outage, self.cx.now + self.cx.config.signalling_grace);
        }
    }

    /// Gives up the requests that were sent over this socket, or marks them for the next one.
    pub(super) fn requests_interrupted(&mut self, lost: SocketId, error: &Error) {
        let established = self.cx.flow.established;
        let mut failed = Vec::new();
        let mut over = Vec::new();
        for (id, entry) in self.cx.transactions.clients() {
            if !entry.tx.is_open() || entry.socket != Some(lost) {
                continue;
            }
            match entry.owner {
                Owner::Register | Owner::Ping => over.push(id),
                // A late 2xx still gets its ACK.
                Owner::LateReinvite(_) => {}
                Owner::Nobody if entry.tx.request.method == Method::Invite => {}
                Owner::Reinvite(_) => failed.push((id, entry.owner)),
                owner => {
                    entry.socket = None;
                    entry.again = true;
                    entry.first = false;
                    entry.tx.deadline = None;
                    self.cx.timers.clear(TimerKey::Client(id));
                    if !established && !matches!(owner, Owner::Bye(_) | Owner::Nobody) {
                        failed.push((id, owner));
                    }
                }
            }
        }
        for id in over {
            self.cx.remove_client(id);
        }
        for (id, owner) in failed {
            self.give_up_request(id, owner, error);
        }
    }

    fn give_up_request(&mut self, id: TxId, owner: Owner, error: &Error) {
        match owner {
            Owner::Reinvite(call) => self.with(call, |call, cx| call.reinvite_lost(cx, id, error)),
            Owner::Invite(call)
                if self.calls.get(&call).is_some_and(|call| call.phase == Phase::Inviting) =>
            {
                self.with(call, |call, cx| call.give_up_call(cx, Some(error.clone()), EndedBy::Network));
            }
            Owner::Invite(_) if !self.cx.flow.established => {}
            _ => {
                self.cx.remove_client(id);
                self.on_request_failed(owner, error.clone());
            }
        }
    }

    /// Gives up the requests that have waited too long for a connection. Later ones get the full time.
    pub(super) fn on_outage_timer(&mut self) {
        let error =
            Error::new(ErrorCode::Transport, "The connection was lost, and did not come back in time");
        let waiting: Vec<(TxId, Owner)> = self
            .cx
            .transactions
            .clients()
            .filter(|(_, entry)| entry.socket.is_none() && entry.tx.is_open())
            .map(|(id, entry)| (id, entry.owner))
            .collect();
        for (id, owner) in waiting {
            self.give_up_request(id, owner, &error);
        }
        for id in self.live_calls() {
            let ringing = self.calls.get(&id).is_some_and(|call| {
                call.direction == Direction::Incoming
                    && matches!(call.phase, Phase::Alerting | Phase::Answering)
            });
            if ringing {
                self.with(id, |call, cx| {
                    call.refuse(cx, 480, EndCause::Failed(error.clone()), EndedBy::Network)
                });
            }
        }
        self.cx.timers.set(TimerKey::Outage, self.cx.now + self.cx.config.signalling_grace);
    }

    // ---- the next socket

    /// The socket is open: sends the requests that need no registration. In a call that is over, the last NOTIFY of a
    /// transfer goes before the BYE, as its CSeq is lower. In a call that continues, requests with a lower CSeq may wait
    /// for the registration, so the NOTIFY waits too.
    pub(super) fn say_what_waits(&mut self) {
        let Some(socket) = self.cx.flow.open_socket() else { return };
        self.cx.flush_queue(socket);
        let live = self.live_calls();
        self.send_waiting(socket, &|owner| match owner {
            Owner::Bye(_) | Owner::Nobody => true,
            Owner::ReferNotify(id) => !live.contains(&id),
            _ => false,
        });
    }

    /// The same before a disconnect: calls that were given up get their CANCEL.
    pub(super) fn say_goodbye(&mut self, socket: SocketId) {
        self.send_waiting(socket, &|owner| matches!(owner, Owner::Invite(_)));
    }

    /// The socket is registered: sends all other requests.
    pub(super) fn resume_transactions(&mut self) {
        self.cx.timers.clear(TimerKey::Outage);
        if let Some(socket) = self.cx.flow.open_socket() {
            self.send_waiting(socket, &|_| true);
        }
    }

    pub(super) fn resume_calls(&mut self) {
        for id in self.live_calls() {
            self.with(id, |call, cx| call.resume_call(cx));
        }
    }

    fn send_waiting(&mut self, socket: SocketId, fits: &dyn Fn(Owner) -> bool) {
        let (mut cancels, mut unsent) = (Vec::new(), Vec::new());
        let mut texts = Vec::new();
        let now = self.cx.now;
        for (id, entry) in self.cx.transactions.clients() {
            if entry.socket.is_some() || !entry.tx.is_open() || !fits(entry.owner) {
                continue;
            }
            if let Owner::Update(call) = entry.owner
                && self.calls.get(&call).is_none_or(|call| call.phase == Phase::Terminating)
            {
                // A BYE with a higher CSeq has been sent.
                unsent.push((id, None));
                continue;
            }
            let mut wait = T64;
            let mut text = entry.tx.request.to_text().ok();
            if let Owner::Invite(call) = entry.owner {
                let call = self.calls.get_mut(&call);
                match call {
                    Some(call) if call.phase == Phase::Inviting => {
                        call.invitation.over_new_socket(entry.again);
                        if entry.again {
                            wait = FIRST_RESPONSE;
                        }
                    }
                    // Cancelled meanwhile. RFC 3261, section 9.1, demands a 1xx before the CANCEL, lest it overtake the
                    // INVITE. Over another socket, and this much later, it does not.
                    Some(call) if entry.again => {
                        text = None;
                        if call.invitation.take_cancel() {
                            cancels.push(entry.tx.cancel());
                        }
                        call.timers.set(CallTimer::Cancelled, now + T64);
                    }
                    // It was never sent.
                    call => {
                        unsent.push((id, call.map(|call| call.id)));
                        continue;
                    }
                }
            }
            entry.socket = Some(socket);
            entry.tx.deadline = Some(now + wait);
            self.cx.timers.set(TimerKey::Client(id), now + wait);
            texts.extend(text);
        }
        for text in texts {
            self.cx.transmit(text, false);
        }
        for (id, call) in unsent {
            self.cx.remove_client(id);
            if let Some(call) = call {
                self.with(call, |call, cx| call.remove(cx));
            }
        }
        for cancel in cancels {
            self.cx.send_or_log(cancel);
        }
    }

    /// The INVITE of a call that rings here, or has just been answered, arrives again over another connection. A server was
    /// restarted, and the caller has retransmitted: the call is the same, and continues over the new connection. While the
    /// old connection is still up, it is a merged request instead (RFC 3261, section 8.2.2.2). A caller that could not
    /// know whether the INVITE arrived sends a new one, with another From tag and CSeq and the same offer.
    pub(super) fn adopt_retransmitted_invite(&mut self, tx: TxId, request: &Request) -> bool {
        let from_tag = request.headers.from_tag();
        let Some(call) = self.calls.values_mut().find(|call| {
            Some(call.sip_call_id.as_str()) == request.headers.call_id()
                && call.invite.as_ref().is_some_and(|invite| {
                    let again = invite.headers.get("CSeq") == request.headers.get("CSeq")
                        && invite.headers.from_tag() == from_tag;
                    let caller = |request: &Request| request.headers.from().map(|from| from.uri);
                    again || (invite.body == request.body && caller(invite) == caller(request))
                })
        }) else {
            return false;
        };
        let rings = matches!(call.phase, Phase::Alerting | Phase::Answering);
        let answered = call.phase == Phase::Accepted && call.pending_ok.is_some();
        if !(rings || answered) || call.came_over.is_none_or(|socket| self.cx.flow.listens_to(socket)) {
            return false;
        }
        let (Some(old), Some(mut dialog)) = (&call.dialog, Dialog::from_request(request, &call.local_tag))
        else {
            return false;
        };
        dialog.local_seq = old.local_seq;
        dialog.private = old.private;
        call.dialog = Some(dialog);
        call.invite = Some(request.clone());
        call.came_over = self.cx.flow.heard_over;
        call.reliable = None;
        let id = call.id;
        let early = call.early_answer.clone();
        let former = call.invite_tx.take();
        let pending = call.pending_ok.take();
        if rings {
            call.invite_tx = Some(tx);
        }
        call.timers.clear(CallTimer::Reliable1xx);
        if let Some(former) = former {
            self.cx.timers.clear(TimerKey::Server(former));
            self.cx.transactions.remove_server(former);
        }
        if let Some(entry) = self.cx.transactions.server(tx) {
            entry.call = Some(id);
        }
        match pending {
            Some(pending) => {
                let text =
                    self.with(id, |call, cx| call.respond_in_dialog(cx, tx, 200, pending.description()));
                let seq = request.headers.seq().unwrap_or(pending.seq());
                self.with(id, |call, cx| call.await_ack(cx, seq, text, pending.offered()));
            }
            None => {
                let status = if early.is_some() { 183 } else { 180 };
                self.with(id, |call, cx| call.respond_provisional(cx, tx, status, early));
            }
        }
        true
    }
}

impl Phone {
    /// 503: tries the next server (RFC 3261, section 21.5.4, RFC 3263, section 4.3), if there is one and no other call.
    /// `true`: the call continues there.
    pub(super) fn invite_elsewhere(&mut self, id: CallId, response: &Response) -> bool {
        let inviting = self.calls.get(&id).is_some_and(|call| call.phase == Phase::Inviting);
        if response.status != 503
            || !inviting
            || self.cx.config.servers.len() < 2
            || self.live_calls() != [id]
        {
            return false;
        }
        // At least for a while, so that this call tries no server twice.
        self.cx.server_is_busy(retry_after(response).unwrap_or(BUSY).clamp(BUSY, MAX_RETRY_AFTER));
        let error = refused(response);
        if !self.leave_for_free_server(&error) {
            return false;
        }
        self.with(id, |call, cx| {
            call.invitation.allow_renewal();
            call.renew_invite(cx)
        })
    }
}

impl Call {
    /// The response to our re-INVITE is lost. Its 2xx may be under way: without an ACK the peer repeats it, and ends the
    /// call after 32 s (RFC 3261, section 13.3.1.4). So an ACK goes out in any case. Without a 2xx the peer ignores it.
    fn reinvite_lost(&mut self, cx: &mut Cx, tx: TxId, error: &Error) {
        let via = cx.via();
        let request = cx.transactions.client(tx).map(|entry| entry.tx.request.clone());
        let ack = request.and_then(|request| {
            let dialog = self.dialog.as_mut()?;
            ack_text(&request, dialog, &via)
        });
        if let Some(ack) = ack {
            cx.transmit(ack, true);
        }
        self.abandon_reinvite(cx);
        self.offer_failed(cx, error.clone());
        // If the next connection is up already, no other event repeats the offer.
        self.continue_offer(cx);
    }

    /// A call that is being set up. A 200 without its ACK gets the full time again. A ringing call asks by OPTIONS whether
    /// its caller has cancelled.
    fn resume_call(&mut self, cx: &mut Cx) {
        if let Some(pending) = &mut self.pending_ok {
            let text = pending.text().to_owned();
            pending.wait_on(cx.now);
            // The peer starts its media only now.
            self.await_media(cx);
            cx.transmit(text, false);
            return;
        }
        if self.direction == Direction::Incoming && matches!(self.phase, Phase::Alerting | Phase::Answering) {
            // The CANCEL may have gone to the lost socket. A 481 says so: the call is over (RFC 3261, section 12.2.1.2).
            let Some(dialog) = self.dialog.as_mut() else { return };
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
        let Some(wait) = self.invitation.again_in().filter(|_| rang && away) else { return false };
        self.timers.set(CallTimer::Renew, cx.now + wait);
        true
    }

    pub(super) fn on_renew_timer(&mut self, cx: &mut Cx) {
        if self.phase == Phase::Confirmed {
            self.offer_again(cx);
        } else {
            self.invitation.allow_renewal();
            self.renew_invite(cx);
        }
    }

    /// Replaces an INVITE that went over a lost socket and has failed since. `true`: a new one is out.
    pub(super) fn renew_invite(&mut self, cx: &mut Cx) -> bool {
        let now = cx.now;
        let tag = token(&mut *cx.entropy, 12);
        let hidden = self.hidden;
        let from = concat(&[&cx.caller_address(hidden), ";tag=", &tag]);
        if self.phase != Phase::Inviting {
            return false;
        }
        if !self.invitation.renew() {
            return false;
        }
        let Some(invite) = self.invite.as_mut() else { return false };
        // The same call and caller, in a dialog of its own.
        invite.headers.set("From", from);
        renew(invite);
        let invite = invite.clone();
        self.local_tag = tag;
        self.invite_tx = None;
        // A fork that has answered meanwhile would get no ACK, so BYE ends its dialog. CANCEL ends those that ring.
        let byes = self.forks.abandon();
        let mut cancel = None;
        for (tx, entry) in cx.transactions.clients() {
            if entry.owner == Owner::Invite(self.id) {
                entry.owner = Owner::Nobody;
                if entry.tx.is_open() {
                    cancel = Some(entry.tx.cancel());
                    entry.tx.deadline = Some(now + T64);
                    cx.timers.set(TimerKey::Client(tx), now + T64);
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
    fn send_or_log(&mut self, request: Request) {
        let method = request.method.clone();
        if let Err(error) = self.send_request(Owner::Nobody, request, Attempt::default()) {
            self.log(LogLevel::Warn, &[method.as_str(), " could not be sent: ", &error.message]);
        }
    }

    // ---- retransmissions over another socket

    /// Repeats the response to a request that was carried out before, and whose response was lost. `true`: done. (RFC 3261,
    /// section 8.2.2.2, has 482 for a request that is not answered yet.)
    pub(super) fn answer_again(&mut self, tx: TxId, request: &Request) -> bool {
        if !answers_once(&request.method) {
            return false;
        }
        let Some(key) = answer_key(&request.headers) else { return false };
        let now = self.now;
        let again = self.answered.iter().find(|answered| answered.key == key && now - answered.at < T64);
        match again.map(|answered| answered.status) {
            Some(status) => {
                self.respond(tx, status);
                true
            }
            None => false,
        }
    }

    pub(super) fn remember_answer(&mut self, response: &Response) {
        let once = response.headers.cseq().is_some_and(|cseq| answers_once(&cseq.method));
        let Some(key) = answer_key(&response.headers).filter(|_| once && response.status >= 200) else {
            return;
        };
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.remove(0);
        }
        self.answered.push(Answered { key, status: response.status, at: self.now });
    }
}
