//! Requests within an answered call: BYE, re-INVITE, INFO, OPTIONS (RFC 3261, sections 12.2, 14 and 15).

use super::call::{Call, Phase};
use super::context::Cx;
use super::timers::TxId;
use super::transactions::Owner;
use super::{EndCause, EndedBy, Event, session_timer};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Request};
use crate::text::{split, split_once};

impl Call {
    pub(super) fn on_in_dialog_request(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        // Whatever a BYE requires, the call is over for the one who sent it.
        if request.method != Method::Bye
            && let Some(refusal) = cx.unsupported(request).or_else(|| session_timer::too_small(request))
        {
            cx.respond_refusal(tx, refusal);
            return;
        }
        let seq = request.headers.seq().unwrap_or(0);
        let from_tag = request.headers.head().from_tag().unwrap_or_default();

        if !self.dialog_to(from_tag).is_none_or(|dialog| dialog.accept_seq(&request.method, seq)) {
            cx.respond(tx, 500);
            return;
        }
        self.learn_identity(cx, &request.headers);

        // With our BYE the dialog is over (RFC 3261, section 15.1.1). It may never have arrived, and whoever was away asks by
        // one of these whether the call is still there.
        let over = self.phase == Phase::Terminating && self.sip.dialog.is_some();
        match &request.method {
            Method::Invite | Method::Update | Method::Options | Method::Info if over => {
                self.respond_in_dialog(cx, tx, 481, None);
            }
            Method::Bye if self.fork_left(cx, tx, from_tag) => {}
            Method::Bye => {
                self.learn_reason(&request.headers);
                self.on_bye(cx, tx);
            }
            Method::Invite => self.on_reinvite(cx, tx, request, seq),
            Method::Options => cx.respond_to_options(tx),
            Method::Info => self.on_info(cx, tx, request),
            Method::Prack => self.on_prack(cx, tx, request),
            Method::Update => self.on_update(cx, tx, request, seq),
            Method::Refer => self.on_refer(cx, tx, request),
            Method::Notify => self.on_refer_notify(cx, tx, request),
            Method::Subscribe => self.on_refer_subscribe(cx, tx, request),
            Method::Message => cx.on_message(tx, request),
            _ => cx.method_not_allowed(tx, &request.method),
        }
    }

    fn on_bye(&mut self, cx: &mut Cx, tx: TxId) {
        cx.respond(tx, 200);

        if let Some(theirs) = self.session.offers.drop_theirs() {
            cx.respond(theirs.tx, 487);
        }

        match self.phase {
            // Our BYE would have waited for an ACK that does not come any more.
            Phase::Terminating if self.session.pending_ok.take().is_some() => self.remove(cx),
            // The BYEs have crossed: ours will be answered too.
            Phase::Terminating => {}
            // The far end left before it answered; the INVITE's own final response still follows.
            Phase::Inviting | Phase::Preparing => {}
            Phase::Originating | Phase::Outcome => {}
            Phase::Alerting | Phase::Answering => {
                self.refuse(cx, 487, EndCause::Cancelled, EndedBy::Remote);
            }
            Phase::Accepted | Phase::Confirmed if self.rest.is_some() => self.bridge_over(cx),
            Phase::Confirmed
                if self.transfers.ours.as_ref().is_some_and(|transfer| transfer.is_accepted()) =>
            {
                self.depart(cx)
            }
            Phase::Applying | Phase::Accepted | Phase::Confirmed => {
                self.session.pending_ok = None;
                let error = Error::new(ErrorCode::Ended, "The other side hung up");
                let by = if self.end.is_by_network() { EndedBy::Network } else { EndedBy::Remote };
                self.report_end(cx, EndCause::Completed, None, by, Some(error));
                self.remove(cx);
            }
        }
    }

    /// RFC 6086; DTMF in the forms that gateways use (`application/dtmf-relay`, `application/dtmf`).
    fn on_info(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        cx.respond(tx, 200);
        let tone = request.headers.content_type().and_then(|content_type| {
            let body = core::str::from_utf8(&request.body).ok()?;
            let signal = if content_type.eq_ignore_ascii_case("application/dtmf-relay") {
                split(body, b'\n').find_map(|line| {
                    let (name, value) = split_once(line, b'=')?;
                    name.trim_ascii().eq_ignore_ascii_case("signal").then_some(value)
                })?
            } else if content_type.eq_ignore_ascii_case("application/dtmf") {
                body
            } else {
                return None;
            };
            match signal.trim_ascii() {
                "10" => Some('*'),
                "11" => Some('#'),
                signal => match signal.as_bytes() {
                    [tone @ (b'0'..=b'9' | b'A'..=b'D' | b'a'..=b'd' | b'*' | b'#')] => {
                        Some(char::from(tone.to_ascii_uppercase()))
                    }
                    _ => None,
                },
            }
        });
        if let Some(tone) = tone
            && (self.phase != Phase::Terminating && !self.is_gated())
        {
            cx.event(Event::Dtmf(self.id, tone));
        }
    }

    /// `tone`: it is part of [`Call::send_tones`].
    pub(super) fn start_info(
        &mut self,
        cx: &mut Cx,
        tone: bool,
        content_type: &str,
        body: &str,
    ) -> Result<(), Error> {
        if self.phase == Phase::Terminating {
            return Err(super::call_ended());
        }
        let gated = self.is_gated();
        let dialog = self
            .sip
            .dialog
            .as_mut()
            .filter(|_| self.phase == Phase::Confirmed && !gated)
            .ok_or_else(|| Error::new(ErrorCode::InvalidState, "The call is not answered yet"))?;
        cx.transactions.allow_request()?;
        let mut request = dialog.request(Method::Info, None);
        request.headers.push("Content-Type", content_type);
        request.body = body.as_bytes().to_vec();
        let owner = if tone { Owner::Tone(self.id) } else { Owner::Info(self.id) };
        self.send_request(cx, owner, request, Attempt::default()).map(|_| ())
    }

    /// An INFO of ours has its outcome.
    pub(super) fn info_done(&mut self, cx: &mut Cx, owner: Owner, result: Result<(), Error>) {
        if owner == Owner::Tone(self.id) {
            self.tone_answered(cx, result);
        } else {
            cx.event(Event::InfoDone(self.id, result));
        }
    }

    // ---- the end of an answered call

    /// BYE, and the end of the call for the application.
    pub(super) fn end_with_bye(&mut self, cx: &mut Cx, cause: EndCause, by: EndedBy, reason: Option<&str>) {
        let error = match &cause {
            EndCause::Failed(error) => error.clone(),
            _ => Error::new(ErrorCode::Aborted, "The call was hung up"),
        };
        self.end_up_call(cx, cause, error.sip_status, by, error, reason);
    }

    fn end_up_call(
        &mut self,
        cx: &mut Cx,
        cause: EndCause,
        status: Option<u16>,
        by: EndedBy,
        error: Error,
        reason: Option<&str>,
    ) {
        if !self.is_up() {
            return;
        }
        let unacknowledged = self.phase == Phase::Accepted && self.session.pending_ok.is_some();
        self.phase = Phase::Terminating;
        self.report_end(cx, cause, status, by, Some(error));
        // The callee's BYE has to wait for the ACK of its 200 (RFC 3261, section 15).
        if !unacknowledged {
            self.stop_awaiting_ack();
            self.send_bye(cx, reason);
        }
    }

    /// 481 within the call (RFC 3261, section 12.2.1.2): the other side knows no such call any more. It was answered, and
    /// has been ended there without our hearing of it.
    pub(super) fn dialog_gone(&mut self, cx: &mut Cx, error: Error) {
        let status = error.sip_status;
        self.end_up_call(cx, EndCause::Completed, status, EndedBy::Remote, error, None);
    }

    /// The page is going, so the goodbye of a call that has ended waits for nothing: neither BYE for the ACK of our 2xx
    /// (RFC 3261, section 15), nor CANCEL for a 1xx (section 9.1), which can overtake no INVITE on a WebSocket.
    pub(super) fn hurry_goodbye(&mut self, cx: &mut Cx) {
        if !self.end.is_over() {
            return;
        }
        if self.session.pending_ok.take().is_some() {
            self.send_bye(cx, None);
        } else {
            self.send_cancel(cx, true);
        }
    }

    pub(super) fn send_bye(&mut self, cx: &mut Cx, reason: Option<&str>) {
        let Some(dialog) = self.sip.dialog.as_mut() else {
            self.remove(cx);
            return;
        };
        let mut bye = dialog.request(Method::Bye, None);
        if let Some(reason) = reason {
            bye.headers.push("Reason", reason);
        }
        if let Err(error) = self.send_request(cx, Owner::Bye(self.id), bye, Attempt::default()) {
            cx.log(super::LogLevel::Warn, &["BYE could not be sent: ", &error.message]);
            self.remove(cx);
        }
    }
}
