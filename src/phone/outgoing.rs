//! Outgoing calls: INVITE, its responses, CANCEL and their races (RFC 3261, sections 9.1 and 13.2).

use super::authentication::renew;
use super::call::{Call, Phase};
use super::capabilities;
use super::context::Cx;
use super::description::sdp_text;
use super::env::Ask;
use super::forks::Hear;
use super::media_half::MediaJob;
use super::peer::Peer;
use super::timers::TxId;
use super::transactions::Owner;
use super::{
    CallState, CallTimer, CredentialsId, DialRequest, DialStage, Direction, EndCause, EndedBy, Event,
    LogLevel, MediaCommand,
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

/// Whom to call, read once.
pub(super) struct Callee(Uri);

impl Callee {
    pub(super) fn of(dial: &DialRequest) -> Result<Self, Error> {
        Uri::parse(&dial.target)
            .ok()
            .filter(|uri| uri.headers.is_none())
            .map(Self)
            .ok_or_else(|| Error::new(ErrorCode::InvalidDestination, "The destination is not a SIP URI"))
    }
}

impl Call {
    /// A call to be, which makes its offer. It goes on with `former`.
    pub(super) fn dial(
        cx: &mut Cx,
        Callee(target): Callee,
        dial: DialRequest,
        own: &[(&str, &str)],
        former: Option<&Self>,
    ) -> Result<Box<Self>, Error> {
        let mut call = Self::new(cx.numbers.call(), Direction::Outgoing, Phase::Preparing);
        call.sip.call_id = token(&mut *cx.env.entropy, 24);
        call.sip.local_tag = token(&mut *cx.env.entropy, 12);
        call.peer = Peer::new(target.aor(), dial.display_name.clone());
        if dial.timeout.is_some() {
            call.dialled.set_own_timeout();
        }
        if let Some(former) = former {
            former.go_on_as(&mut call);
            call.sip.hidden = former.sip.hidden;
        }
        call.sip.hidden |= cx.env.config.anonymous;

        let uri = target.to_text();
        let remote = name_addr(dial.display_name.as_deref(), &uri);
        let mut invite = Request::new(Method::Invite, uri);
        invite.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&cx.caller_address(call.sip.hidden), ";tag=", &call.sip.local_tag])),
            ("To", &remote),
            ("Call-ID", &call.sip.call_id),
            ("CSeq", "1 INVITE"),
            ("Contact", &cx.contact()),
            ("Allow", capabilities::ALLOW),
            ("Supported", &cx.env.supported()),
            ("Content-Type", capabilities::SDP),
        ]);
        invite.headers.push_all(own);
        if call.sip.hidden {
            cx.hide_caller(&mut invite);
        }
        for (name, value) in dial.extra_headers {
            invite.headers.push(&name, value);
        }
        // A value that cannot be sent is refused now, not when the microphone is already open.
        invite
            .to_text()
            .map_err(|_| Error::invalid_config("displayName", "contains characters that cannot be sent"))?;
        call.sip.invite = Some(invite);

        call.begin_dial(cx, dial.listens_only);
        call.timers.set(CallTimer::Ring, cx.env.now + dial.timeout.unwrap_or(super::RING_TIMEOUT));
        call.media_job(cx, MediaJob::Offer, MediaCommand::CreateOffer);
        Ok(call)
    }

    /// The application hears of a call that it has dialled.
    pub(super) fn begin_dial(&mut self, cx: &mut Cx, listens_only: Option<bool>) {
        if let Some(listens_only) = listens_only {
            self.choose_microphone(listens_only);
        }
        cx.event(Event::CallState(self.id, CallState::New));
        cx.event(Event::Stage(self.id, DialStage::Preparing));
        self.set_call_state(cx, CallState::Connecting);
    }

    /// The offer is ready.
    pub(super) fn send_invite(&mut self, cx: &mut Cx, sdp: String) {
        if self.phase != Phase::Preparing {
            return;
        }
        self.phase = Phase::Inviting;
        let Some(invite) = self.sip.invite.as_mut() else { return };
        invite.body = sdp.into_bytes();
        let mut invite = invite.clone();
        self.offer_session(cx, &mut invite.headers);
        self.sip.invite = Some(invite.clone());
        match self.send_request(cx, Owner::Invite(self.id), invite, Attempt::default()) {
            Ok(tx) => {
                self.sip.invite_tx = Some(tx);
                cx.event(Event::Stage(self.id, DialStage::Requesting));
            }
            Err(error) => self.fail_outgoing(cx, error, EndedBy::Network),
        }
    }

    /// The INVITE has been sent, with the credentials of this transaction.
    pub(super) fn invite_sent(&mut self, cx: &mut Cx, tx: TxId) {
        self.sip.invite_tx = Some(tx);
        self.dialled.invitation.sent();
        self.dialled.forks.forget();
        let (Some(invite), Some(entry)) = (self.sip.invite.as_mut(), cx.transactions.client(tx)) else {
            return;
        };
        let sent = &entry.tx.request.headers;
        if let Some(cseq) = sent.get("CSeq") {
            invite.headers.set("CSeq", cseq);
        }
        // The ACK of the 2xx carries the same credentials (RFC 3261, section 22.1).
        for name in ["Authorization", "Proxy-Authorization"] {
            invite.headers.remove(name);
            invite.headers.copy(name, sent);
        }
    }

    pub(super) fn invite_asks(&mut self, question: CredentialsId) {
        self.dialled.invitation.ask(question);
    }

    pub(super) fn on_invite_response(&mut self, cx: &mut Cx, request: &Request, response: &Response) {
        match response.status {
            100..=199 => self.on_invite_provisional(cx, request, response),
            200..=299 => self.on_invite_ok(cx, request, response),
            _ => {
                self.sip.invite_tx = None;
                if self.phase == Phase::Terminating {
                    self.remove(cx);
                    return;
                }
                if self.phase == Phase::Inviting {
                    if response.status == 422 && self.ask_for_longer_session(cx, response)
                        || response.status == 421 && self.take_extension(cx, response)
                    {
                        return;
                    }
                    // There twice (RFC 3261, section 8.2.2.2): over the socket that was lost, and over this one.
                    if response.status == 482 && self.renew_invite(cx) {
                        return;
                    }
                    if self.redirected(cx, response.status, &response.headers)
                        || self.invite_again_later(cx, response.status)
                    {
                        return;
                    }
                    self.learn_reason(&response.headers);
                    let mut error = super::registration::refused(response);
                    error.learn_cause(self.end.q850());
                    self.fail_outgoing(cx, error, EndedBy::Remote);
                }
            }
        }
    }

    /// 422: whether the INVITE that makes the call has been sent again with what the other side asks for
    /// (RFC 4028, section 7.4).
    fn ask_for_longer_session(&mut self, cx: &mut Cx, response: &Response) -> bool {
        if !self.session.timer.asks_for_longer(response) {
            return false;
        }
        let Some(mut invite) = self.sip.invite.clone() else { return false };
        renew(&mut invite);
        self.offer_session(cx, &mut invite.headers);
        self.sip.invite = Some(invite.clone());
        self.send_request(cx, Owner::Invite(self.id), invite, Attempt::default()).is_ok()
    }

    /// 421: whether the INVITE that makes the call has been sent again, which is done once, with the extensions that it
    /// names (RFC 3261, section 21.4.16).
    fn take_extension(&mut self, cx: &mut Cx, response: &Response) -> bool {
        let required = response.headers.values("Require");
        let is = |tag: &str, known: &str| known.eq_ignore_ascii_case(tag);
        let supported = capabilities::supported(true);
        if !self.dialled.invitation.takes_extension() {
            return false;
        }
        let Some(mut invite) = self.sip.invite.clone() else { return false };
        if required.is_empty()
            || !required.iter().all(|tag| capabilities::REQUIRABLE.iter().any(|known| is(tag, known)))
        {
            return false;
        }
        self.dialled.invitation.extend();
        self.session.timer.require(required.iter().any(|tag| is(tag, "timer")));
        renew(&mut invite);
        invite.headers.set("Supported", supported);
        self.offer_session(cx, &mut invite.headers);
        self.sip.invite = Some(invite.clone());
        self.send_request(cx, Owner::Invite(self.id), invite, Attempt::default()).is_ok()
    }

    fn on_invite_provisional(&mut self, cx: &mut Cx, request: &Request, response: &Response) {
        if self.dialled.invitation.on_provisional() {
            self.send_cancel(cx, false);
            return;
        }
        if self.phase != Phase::Inviting || response.status == 100 {
            return;
        }
        self.tell_referrer(cx, response.status);

        self.dialled.invitation.reach();
        let state = self.state;
        // It is judged when it is heard.
        let sdp = sdp_text(&response.headers, &response.body);
        let speaks = sdp.is_some();
        if let Some(dialog) = Dialog::from_response(request, response) {
            let tag = dialog.remote_tag.clone();
            if response.status != 199 {
                self.dialled.forks.ring(dialog);
            }
            if !self.acknowledge_provisional(cx, &tag, response) {
                return;
            }
            if response.status == 199 {
                self.fork_over(cx, &tag);
                return;
            }
            if self.learn_identity(cx, &response.headers) {
                self.dialled.forks.assert(&tag);
            }

            if speaks {
                self.dialled.forks.speak(&tag, sdp, response.headers.contains_token("Require", "100rel"));
            }
        }
        if speaks {
            self.hear_fork(cx);
        } else if response.status != 183 && state == CallState::Connecting {
            self.set_call_state(cx, CallState::Ringing);
            cx.event(Event::Stage(self.id, DialStage::Ringing));
        }
    }

    /// One peer connection takes the early media of one fork: of the one that spoke last. While a description is
    /// being set, the next one waits.
    pub(super) fn hear_fork(&mut self, cx: &mut Cx) {
        if self.phase != Phase::Inviting || self.media.job().is_some() {
            return;
        }
        match self.dialled.forks.hear() {
            Hear::Fork(answer) => {
                match sdp::judge(answer, true, &self.descriptions.agreed) {
                    Ok(answer) => self.answer_job(cx, MediaJob::EarlyAnswer, answer),
                    // What comes with the final answer decides.
                    Err(flaw) => {
                        cx.log(LogLevel::Warn, &["early media cannot be heard: ", flaw.text()]);
                    }
                }
            }
            // Nobody speaks any more; the others still ring.
            Hear::Nobody if self.state == CallState::EarlyMedia => {
                self.set_call_state(cx, CallState::Ringing)
            }
            Hear::Nobody | Hear::Same => {}
        }
    }

    pub(super) fn on_early_media(&mut self, cx: &mut Cx) {
        if self.phase != Phase::Inviting {
            return;
        }
        if self.state != CallState::EarlyMedia && self.dialled.forks.anybody_speaks() {
            self.set_call_state(cx, CallState::EarlyMedia);
            cx.event(Event::Stage(self.id, DialStage::EarlyMedia));
        }
        self.hear_fork(cx);
    }

    /// One fork is over, the call is not (RFC 6228).
    fn fork_over(&mut self, cx: &mut Cx, tag: &str) {
        self.dialled.forks.leave(tag);
        self.hear_fork(cx);
    }

    /// A BYE in an early dialog ends that dialog; the INVITE has other forks, or its final response still comes
    /// (RFC 3261, section 15). `false`: it is no BYE of a fork.
    pub(super) fn fork_left(&mut self, cx: &mut Cx, tx: TxId, tag: &str) -> bool {
        let early = self.phase == Phase::Inviting && self.dialled.forks.rings(tag);
        if early {
            cx.respond(tx, 200);
            self.fork_over(cx, tag);
        }
        early
    }

    fn on_invite_ok(&mut self, cx: &mut Cx, request: &Request, response: &Response) {
        let Some(mut dialog) = Dialog::from_response(request, response) else {
            // Without a To-tag there is no dialog to acknowledge in. The peer gives up after 32 s; so do we now.
            if self.phase == Phase::Inviting {
                let error = Error::new(ErrorCode::ServerError, "The answer to the call has no To-tag");
                self.fail_outgoing(cx, error, EndedBy::Remote);
            }
            return;
        };
        let via = cx.via();

        // A repeated 2xx: its ACK was lost (RFC 3261, section 13.2.2.4).
        if let Some(ack) = self.dialled.forks.ack(&dialog.remote_tag) {
            let ack = ack.to_owned();
            cx.line.transmit(&mut cx.env, ack, true);
            return;
        }
        if self.phase != Phase::Inviting {
            if self.dialled.forks.is_full() {
                return;
            }
            // Another fork answered too, or the answer crossed our CANCEL: acknowledged and ended on its own
            // dialog; the call that goes on is not touched. The record of a cancelled call stays for as long as
            // 2xx may be repeated, so that a repetition gets the same ACK and no second BYE.
            let elsewhere = self.is_up();
            let ack = cx.ack_and_bye(request, &mut dialog, elsewhere);
            self.dialled.forks.acknowledge(&dialog.remote_tag, ack);
            return;
        }

        // The dialog goes on; the route set is that of the 2xx (RFC 3261, section 13.2.2.4).
        let early_sdp = self.dialled.forks.answer(&mut dialog);
        // Who has answered is not another who has rung.
        let another = self.dialled.forks.asserted_by_another(&dialog.remote_tag);
        let rang = another && self.peer.forget_asserted();
        if !self.learn_identity(cx, &response.headers) && rang {
            cx.event(Event::Remote(self.id));
        }

        self.succession.set_replaceable(response.headers.contains_token("Supported", "replaces"));
        self.phase = Phase::Applying;
        let ack = ack_text(request, &mut dialog, &via);
        self.dialled.forks.acknowledge(&dialog.remote_tag, ack.clone());
        let settled = self.dialled.forks.take_settled(&dialog.remote_tag);
        self.sip.dialog = Some(dialog);
        self.session_answered(cx, response);
        self.timers.clear(CallTimer::Ring);
        if let Some(ack) = ack {
            cx.line.transmit(&mut cx.env, ack, true);
        }
        if let Some(with_it) = settled {
            self.answered_after_offers(cx, with_it);
            return;
        }
        // A 2xx without SDP after a 1xx with it: against RFC 3261, section 13.2.1, but gateways do it.
        match self.judge_answer(cx, sdp_text(&response.headers, &response.body).or(early_sdp)) {
            Ok(answer) => self.answer_job(cx, MediaJob::FinalAnswer, answer),
            Err(error) => self.end_unagreed(cx, error),
        }
    }

    /// The 2xx after an offer of a fork that was taken: offer and answer have been exchanged, if it is of that fork.
    /// Another one has an answer that cannot be used, and gets a new offer.
    fn answered_after_offers(&mut self, cx: &mut Cx, with_it: bool) {
        if !with_it {
            self.abandon_offer_of_theirs(cx);
            self.set_remote_hold(cx, false);
            self.session.recovery.begin_anew();
        }
        self.outgoing_up(cx);
        self.continue_offer(cx);
    }

    /// The answer is set: the call is up.
    pub(super) fn outgoing_up(&mut self, cx: &mut Cx) {
        if self.phase != Phase::Applying {
            return;
        }
        self.phase = Phase::Confirmed;
        self.dialled.report_done();
        self.await_media(cx);
        self.set_call_state(cx, CallState::Active);
        cx.event(Event::Stage(self.id, DialStage::Connected));
        cx.event(Event::DialDone(self.id, Ok(())));
        self.tell_referrer(cx, 200);
        if let Some(old) = self.succession.take_replaces() {
            self.audio.stop_following();
            cx.ask(self.id, Ask::TakePlace { old, asked: false });
        }
        self.recover(cx);
    }

    pub(super) fn on_invite_timeout(&mut self, cx: &mut Cx) {
        self.sip.invite_tx = None;
        if self.phase == Phase::Terminating {
            self.remove(cx);
        } else if self.phase == Phase::Inviting && !self.redirected(cx, 408, &Headers::default()) {
            let error = Error::new(ErrorCode::Timeout, "The server did not answer").with_status(408);
            self.fail_outgoing(cx, error, EndedBy::Network);
        }
    }

    pub(super) fn on_ring_timeout(&mut self, cx: &mut Cx) {
        let error = if self.dialled.has_own_timeout() {
            Error::new(ErrorCode::Timeout, "The call was not answered in time")
        } else if let Some(error) =
            self.dialled.redirects.as_ref().and_then(|redirects| redirects.unanswered())
        {
            error
        } else {
            Error::new(ErrorCode::NoAnswer, "Nobody answered")
        };
        match self.direction {
            Direction::Outgoing if self.rest.is_some() => self.hang_up_rest(cx, Some(error)),
            Direction::Outgoing => self.give_up_call(cx, Some(error), EndedBy::Local),
            Direction::Incoming => self.refuse(cx, 480, EndCause::Failed(error), EndedBy::Local),
        }
    }

    /// The caller gives up before the answer.
    pub(super) fn give_up_call(&mut self, cx: &mut Cx, cause: Option<Error>, by: EndedBy) {
        let end = match &cause {
            Some(error) if error.code != ErrorCode::Aborted => EndCause::Failed(error.clone()),
            _ => EndCause::Cancelled,
        };
        let error = cause.unwrap_or_else(|| Error::new(ErrorCode::Aborted, "The call was cancelled"));

        match self.phase {
            Phase::Inviting => {
                let (asking, provisional) = self.dialled.invitation.give_up();
                let running = self.sip.invite_tx.is_some();
                self.phase = Phase::Terminating;
                self.report_end(cx, end, None, by, Some(error));
                if let Some(question) = asking {
                    cx.questions.take(question);
                }
                if running {
                    self.timers.set(CallTimer::Cancelled, cx.env.now + T64);
                    if provisional {
                        self.send_cancel(cx, false);
                    }
                } else {
                    self.remove(cx);
                }
            }
            Phase::Preparing => {
                self.report_end(cx, end, None, by, Some(error));
                self.remove(cx);
            }
            _ => {}
        }
    }

    /// `early`: also where no 1xx has come yet.
    pub(super) fn send_cancel(&mut self, cx: &mut Cx, early: bool) {
        // Once is enough: the CANCEL has a transaction of its own.
        if !self.dialled.invitation.wants_cancel() {
            return;
        }
        let Some(tx) = self.sip.invite_tx else { return };
        let cancel = match cx.transactions.client(tx) {
            Some(entry) if entry.tx.state == ClientState::Proceeding => entry.tx.cancel(),
            // It has no deadline before it is sent.
            Some(entry) if early && entry.tx.is_open() && entry.tx.deadline.is_some() => entry.tx.cancel(),
            _ => return,
        };
        self.dialled.invitation.take_cancel();
        self.timers.set(CallTimer::Cancelled, cx.env.now + T64);
        if let Err(error) = self.send_request(cx, Owner::Nobody, cancel, Attempt::default()) {
            cx.log(super::LogLevel::Warn, &["CANCEL could not be sent: ", &error.message]);
        }
    }

    /// The cancelled INVITE got no final response: its transaction is over all the same (RFC 3261, section 9.1).
    pub(super) fn on_cancelled_timeout(&mut self, cx: &mut Cx) {
        if cx.line.is_interrupted() {
            // The CANCEL has yet to be sent. Its time is that of everything that waits.
            self.timers.set(CallTimer::Cancelled, cx.env.now + T64);
            return;
        }
        cx.forget_clients_of(Owner::Invite(self.id));
        self.remove(cx);
    }

    pub(super) fn fail_outgoing(&mut self, cx: &mut Cx, error: Error, by: EndedBy) {
        let status = error.sip_status;
        self.report_end(cx, EndCause::Failed(error.clone()), status, by, Some(error));
        self.remove(cx);
    }
}

impl Cx {
    /// Acknowledges a 2xx that nobody wants and ends its dialog. Returns the ACK.
    pub(super) fn ack_and_bye(
        &mut self,
        request: &Request,
        dialog: &mut Dialog,
        elsewhere: bool,
    ) -> Option<String> {
        let ack = ack_text(request, dialog, &self.via());
        if let Some(ack) = ack.clone() {
            self.line.transmit(&mut self.env, ack, true);
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{call, cx};
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn dial(target: &str) -> DialRequest {
        DialRequest { target: target.to_owned(), ..DialRequest::default() }
    }

    fn made(cx: &mut Cx, dial: DialRequest, former: Option<&Call>) -> Result<Box<Call>, Error> {
        Call::dial(cx, Callee::of(&dial)?, dial, &[("Replaces", "x")], former)
    }

    #[test]
    fn a_destination_is_an_address_and_brings_no_headers() {
        for (target, good) in [
            ("sip:bob@example.com", true),
            ("sips:bob@example.com;transport=ws", true),
            ("sip:bob@example.com?Replaces=x", false),
            ("tel:+46700000000", false),
            ("bob", false),
            ("", false),
        ] {
            assert_eq!(Callee::of(&dial(target)).is_ok(), good, "{target}");
        }
    }

    #[test]
    fn a_dialled_call_has_its_invite_and_makes_its_offer() {
        let mut cx = cx();
        let call = made(&mut cx, dial("sip:bob@example.com"), None).unwrap();
        let invite = call.sip.invite.as_ref().unwrap();
        assert_eq!((invite.uri.as_str(), invite.headers.get("Replaces")), ("sip:bob@example.com", Some("x")));
        assert_eq!(invite.headers.from_tag(), Some(call.sip.local_tag.clone()));
        assert_eq!((call.phase, call.media.job()), (Phase::Preparing, Some(MediaJob::Offer)));
        assert!(
            call.timers.is_set(CallTimer::Ring)
                && call.timers.is_set(CallTimer::MediaJob) != call.media.job().is_some_and(MediaJob::may_ask)
        );
    }

    #[test]
    fn what_cannot_be_sent_is_refused_before_the_microphone_opens() {
        let mut cx = cx();
        for (name, value) in [("X-A", "1\r\nRoute: <sip:eve>"), ("X-A\r\nRoute", "1"), ("X-A", "1\0")] {
            let extra_headers = vec![(name.to_owned(), value.to_owned())];
            let dial = DialRequest { extra_headers, ..dial("sip:bob@example.com") };
            let error = made(&mut cx, dial, None).map(|_| ()).map_err(|error| error.code);
            assert_eq!(error, Err(ErrorCode::InvalidConfig), "{name} {value}");
        }
        assert!(cx.env.out.is_empty());
    }

    #[test]
    fn a_call_that_goes_on_with_another_hides_as_that_one_did() {
        for (anonymous, former_hides, hides) in
            [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
        {
            let mut cx = cx();
            let mut former = call(&mut cx, Direction::Outgoing, Phase::Confirmed);
            former.sip.hidden = former_hides;
            cx.env.config.anonymous = anonymous;
            let call = made(&mut cx, dial("sip:bob@example.com"), Some(&former)).unwrap();
            let from = call.sip.invite.as_ref().unwrap().headers.get("From").unwrap().to_owned();
            assert_eq!(
                (call.sip.hidden, from.contains("anonymous.invalid")),
                (hides, hides),
                "{anonymous} {former_hides}"
            );
        }
    }
}
