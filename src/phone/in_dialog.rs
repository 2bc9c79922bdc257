//! Requests within an answered call: BYE, re-INVITE, INFO, OPTIONS (RFC 3261, sections 12.2, 14 and 15).

use super::call::Phase;
use super::transactions::{Owner, TxId};
use super::{CallId, EndCause, EndedBy, Event, Phone, session_timer};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Request};
use crate::text::{split, split_once};

impl Phone {
    pub(super) fn on_in_dialog_request(&mut self, id: CallId, tx: TxId, request: &Request) {
        // Whatever a BYE requires, the call is over for the one who sent it.
        if request.method != Method::Bye
            && let Some(refusal) = self.unsupported(request).or_else(|| session_timer::too_small(request))
        {
            self.respond_refusal(tx, refusal);
            return;
        }
        let seq = request.headers.seq().unwrap_or(0);
        let from_tag = request.headers.from_tag().unwrap_or_default();
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.dialog_to(&from_tag).is_none_or(|dialog| dialog.accept_seq(&request.method, seq)) {
            self.respond(tx, 500);
            return;
        }
        self.learn_identity(id, &request.headers);
        let Some(call) = self.calls.get(&id) else { return };
        // With our BYE the dialog is over (RFC 3261, section 15.1.1). It may never have arrived, and whoever was away asks by
        // one of these whether the call is still there.
        let over = call.phase == Phase::Terminating && call.dialog.is_some();
        match &request.method {
            Method::Invite | Method::Update | Method::Options | Method::Info if over => {
                self.respond_in_dialog(id, tx, 481, None);
            }
            Method::Bye if self.fork_left(id, tx, &from_tag) => {}
            Method::Bye => {
                self.learn_reason(id, &request.headers);
                self.on_bye(id, tx);
            }
            Method::Invite => self.on_reinvite(id, tx, request, seq),
            Method::Options => self.respond_to_options(tx),
            Method::Info => self.on_info(id, tx, request),
            Method::Prack => self.on_prack(id, tx, request),
            Method::Update => self.on_update(id, tx, request, seq),
            Method::Refer => self.on_refer(id, tx, request),
            Method::Notify => self.on_refer_notify(id, tx, request),
            Method::Subscribe => self.on_refer_subscribe(id, tx, request),
            Method::Message => self.on_message(tx, request),
            _ => self.method_not_allowed(tx, &request.method),
        }
    }

    fn on_bye(&mut self, id: CallId, tx: TxId) {
        self.respond(tx, 200);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(theirs) = call.offers.drop_theirs() {
            self.respond(theirs.tx, 487);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.phase {
            // Our BYE would have waited for an ACK that does not come any more.
            Phase::Terminating if call.pending_ok.take().is_some() => self.remove(id),
            // The BYEs have crossed: ours will be answered too.
            Phase::Terminating => {}
            // The far end left before it answered; the INVITE's own final response still follows.
            Phase::Inviting | Phase::Preparing => {}
            Phase::Originating | Phase::Outcome => {}
            Phase::Alerting | Phase::Answering => {
                self.refuse(id, 487, EndCause::Cancelled, EndedBy::Remote);
            }
            Phase::Accepted | Phase::Confirmed if call.rest.is_some() => self.bridge_over(id),
            Phase::Confirmed if call.transfer.as_ref().is_some_and(|transfer| transfer.is_accepted()) => {
                self.depart(id)
            }
            Phase::Applying | Phase::Accepted | Phase::Confirmed => {
                call.pending_ok = None;
                let error = Error::new(ErrorCode::Ended, "The other side hung up");
                let by = if call.said.as_ref().is_some_and(|said| said.network) {
                    EndedBy::Network
                } else {
                    EndedBy::Remote
                };
                self.report_end(id, EndCause::Completed, None, by, Some(error));
                self.remove(id);
            }
        }
    }

    /// RFC 6086; DTMF in the forms that gateways use (`application/dtmf-relay`, `application/dtmf`).
    fn on_info(&mut self, id: CallId, tx: TxId, request: &Request) {
        self.respond(tx, 200);
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
            && self.calls.get(&id).is_some_and(|call| call.phase != Phase::Terminating && !call.is_gated())
        {
            self.event(Event::Dtmf(id, tone));
        }
    }

    pub(super) fn start_info(&mut self, id: CallId, content_type: &str, body: &str) -> Result<(), Error> {
        let call = self
            .calls
            .get_mut(&id)
            .filter(|call| call.phase != Phase::Terminating)
            .ok_or_else(super::call_ended)?;
        let gated = call.is_gated();
        let dialog = call
            .dialog
            .as_mut()
            .filter(|_| call.phase == Phase::Confirmed && !gated)
            .ok_or_else(|| Error::new(ErrorCode::InvalidState, "The call is not answered yet"))?;
        self.transactions.allow_request()?;
        let mut request = dialog.request(Method::Info, None);
        request.headers.push("Content-Type", content_type);
        request.body = body.as_bytes().to_vec();
        self.send_request(Owner::Info(id), request, Attempt::default()).map(|_| ())
    }

    // ---- the end of an answered call

    /// BYE, and the end of the call for the application.
    pub(super) fn end_with_bye(&mut self, id: CallId, cause: EndCause, by: EndedBy, reason: Option<&str>) {
        let error = match &cause {
            EndCause::Failed(error) => error.clone(),
            _ => Error::new(ErrorCode::Aborted, "The call was hung up"),
        };
        self.end_up_call(id, cause, error.sip_status, by, error, reason);
    }

    fn end_up_call(
        &mut self,
        id: CallId,
        cause: EndCause,
        status: Option<u16>,
        by: EndedBy,
        error: Error,
        reason: Option<&str>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.is_up() {
            return;
        }
        let unacknowledged = call.phase == Phase::Accepted && call.pending_ok.is_some();
        call.phase = Phase::Terminating;
        self.report_end(id, cause, status, by, Some(error));
        // The callee's BYE has to wait for the ACK of its 200 (RFC 3261, section 15).
        if !unacknowledged {
            self.stop_awaiting_ack(id);
            self.send_bye(id, reason);
        }
    }

    /// 481 within the call (RFC 3261, section 12.2.1.2): the other side knows no such call any more. It was answered, and
    /// has been ended there without our hearing of it.
    pub(super) fn dialog_gone(&mut self, id: CallId, error: Error) {
        let status = error.sip_status;
        self.end_up_call(id, EndCause::Completed, status, EndedBy::Remote, error, None);
    }

    /// The page is going, so the goodbye of a call that has ended waits for nothing: neither BYE for the ACK of our 2xx
    /// (RFC 3261, section 15), nor CANCEL for a 1xx (section 9.1), which can overtake no INVITE on a WebSocket.
    pub(super) fn hurry_goodbye(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.end_reason.is_some()) else { return };
        if call.pending_ok.take().is_some() {
            self.send_bye(id, None);
        } else {
            self.send_cancel(id, true);
        }
    }

    pub(super) fn send_bye(&mut self, id: CallId, reason: Option<&str>) {
        let Some(dialog) = self.calls.get_mut(&id).and_then(|call| call.dialog.as_mut()) else {
            self.remove(id);
            return;
        };
        let mut bye = dialog.request(Method::Bye, None);
        if let Some(reason) = reason {
            bye.headers.push("Reason", reason);
        }
        if let Err(error) = self.send_request(Owner::Bye(id), bye, Attempt::default()) {
            self.log(super::LogLevel::Warn, &["BYE could not be sent: ", &error.message]);
            self.remove(id);
        }
    }
}
