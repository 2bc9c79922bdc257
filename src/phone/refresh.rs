//! Requests that keep a session up, and tell the other side where we are: UPDATE without an offer (RFC 3311, RFC 4028).

use super::call::Call;
use super::capabilities;
use super::context::Cx;
use super::session_timer::{self, Refresh};
use super::timers::TxId;
use super::transactions::Owner;
use super::{EndCause, EndedBy};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Headers, Method, Response};

impl Call {
    /// What an INVITE that makes a call asks for.
    pub(super) fn offer_session(&self, cx: &mut Cx, headers: &mut Headers) {
        let wanted = cx.env.config.session_timers.map(|wanted| wanted.expires);
        self.session.timer.ask(wanted, headers);
    }

    /// What our 2xx to an INVITE or UPDATE says of the session.
    pub(super) fn accept_session(
        &mut self,
        cx: &mut Cx,
        tx: TxId,
        headers: &mut Vec<(&'static str, String)>,
    ) {
        let Some(entry) = cx.transactions.server(tx) else { return };
        let request = &entry.tx.request;
        if !session_timer::agrees(&request.method) {
            return;
        }
        // Not with a provider's self.
        let wanted =
            cx.env.config.session_timers.filter(|_| self.rest.is_none()).map(|wanted| wanted.expires);
        self.session.timer.accept(request, wanted, headers);
        self.start_session_timer(cx.env.now);
    }

    /// What the other side's 2xx to our INVITE, re-INVITE or UPDATE says of it.
    pub(super) fn session_answered(&mut self, cx: &mut Cx, response: &Response) {
        self.session.timer.agree(response);
        self.start_session_timer(cx.env.now);
        self.reached(cx);
        // What could not be agreed while the other side was away.
        self.continue_offer(cx);
    }

    /// The headers of a refresh.
    pub(super) fn keep_session(&self, cx: &mut Cx, headers: &mut Headers) {
        headers.push("Supported", cx.env.supported());
        self.session.timer.keep(headers);
    }

    pub(super) fn on_session_refresh(&mut self, cx: &mut Cx) {
        let contact = cx.contact();

        match self.session.timer.refresh() {
            Refresh::Under => return,
            Refresh::Offer => {
                self.continue_offer(cx);
                return;
            }
            Refresh::Update => {}
        }
        // A transaction of its own that needs no offer: it may overlap with anything (RFC 3311, section 5.1).
        let Some(dialog) = self.sip.dialog.as_mut() else { return };
        let mut update = dialog.request(Method::Update, None);
        update.headers.push_all(&[("Contact", &contact), ("Allow", capabilities::ALLOW)]);
        self.keep_session(cx, &mut update.headers);
        if let Err(error) = self.send_request(cx, Owner::Update(self.id), update, Attempt::default()) {
            self.refresh_failed(cx, &error);
        }
    }

    pub(super) fn on_update_response(&mut self, cx: &mut Cx, response: &Response) {
        if response.status < 200 {
            return;
        }

        if response.status < 300 {
            if let Some(dialog) = self.sip.dialog.as_mut() {
                dialog.refresh_target(&response.headers);
            }
            self.session_answered(cx, response);
        } else if self.session.timer.update_refused(response) {
            self.on_session_refresh(cx);
        } else {
            self.refresh_failed(cx, &Error::from_status(response.status, &response.reason));
        }
    }

    /// The other side is not there any more (RFC 4028, section 10), or can't be asked now: then again, until the
    /// session is over.
    pub(super) fn refresh_failed(&mut self, cx: &mut Cx, error: &Error) {
        self.session.timer.refresh_failed();
        if error.sip_status == Some(481) {
            self.dialog_gone(cx, error.clone());
            return;
        }
        // RFC 4028, section 10, would end the call here after 408 or no answer. The other side may be looking for a
        // new connection: the session's own end is soon enough.
        if self.recovery_failed(cx, false, error) {
            return;
        }
        self.session.timer.refresh_later(cx.env.now);
    }

    pub(super) fn on_session_expired(&mut self, cx: &mut Cx) {
        if self.session.recovery.is_unreached() {
            self.session.timer.expire_later(cx.env.now);
            return;
        }
        let error = Error::new(ErrorCode::Timeout, "The other side no longer refreshes the session");
        let reason = Some("SIP;cause=408;text=\"Session expired\"");
        self.end_with_bye(cx, EndCause::Failed(error), EndedBy::Network, reason);
    }
}
