//! Requests that keep a session up, and tell the other side where we are: UPDATE without an offer (RFC 3311, RFC 4028).

use super::session_timer::{self, Refresh};
use super::transactions::{Owner, TxId};
use super::{CallId, EndCause, EndedBy, Phone};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::message::{Headers, Method, Response};

impl Phone {
    /// What an INVITE that makes a call asks for.
    pub(super) fn offer_session(&self, id: CallId, headers: &mut Headers) {
        let wanted = self.config.session_timers.map(|wanted| wanted.expires);
        if let Some(call) = self.calls.get(&id) {
            call.session_timer.ask(wanted, headers);
        }
    }

    /// What our 2xx to an INVITE or UPDATE says of the session.
    pub(super) fn accept_session(&mut self, id: CallId, tx: TxId, headers: &mut Vec<(&'static str, String)>) {
        let Some(entry) = self.transactions.server(tx) else { return };
        let request = &entry.tx.request;
        let Some(call) = self.calls.get_mut(&id).filter(|_| session_timer::agrees(&request.method)) else {
            return;
        };
        // Not with a provider's call.
        let wanted = self.config.session_timers.filter(|_| call.rest.is_none()).map(|wanted| wanted.expires);
        call.session_timer.accept(request, wanted, headers);
        call.start_session_timer(self.now);
    }

    /// What the other side's 2xx to our INVITE, re-INVITE or UPDATE says of it.
    pub(super) fn session_answered(&mut self, id: CallId, response: &Response) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.session_timer.agree(response);
        call.start_session_timer(self.now);
        self.reached(id);
        // What could not be agreed while the other side was away.
        self.continue_offer(id);
    }

    /// The headers of a refresh.
    pub(super) fn keep_session(&self, id: CallId, headers: &mut Headers) {
        let Some(call) = self.calls.get(&id) else { return };
        headers.push("Supported", self.supported());
        call.session_timer.keep(headers);
    }

    pub(super) fn on_session_refresh(&mut self, id: CallId) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.session_timer.refresh() {
            Refresh::Under => return,
            Refresh::Offer => {
                self.continue_offer(id);
                return;
            }
            Refresh::Update => {}
        }
        // A transaction of its own that needs no offer: it may overlap with anything (RFC 3311, section 5.1).
        let Some(dialog) = call.dialog.as_mut() else { return };
        let mut update = dialog.request(Method::Update, None);
        update.headers.push_all(&[("Contact", &contact), ("Allow", super::ALLOW)]);
        self.keep_session(id, &mut update.headers);
        if let Err(error) = self.send_request(Owner::Update(id), update, Attempt::default()) {
            self.refresh_failed(id, &error);
        }
    }

    pub(super) fn on_update_response(&mut self, id: CallId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if response.status < 300 {
            if let Some(dialog) = call.dialog.as_mut() {
                dialog.refresh_target(&response.headers);
            }
            self.session_answered(id, response);
        } else if call.session_timer.update_refused(response) {
            self.on_session_refresh(id);
        } else {
            self.refresh_failed(id, &Error::from_status(response.status, &response.reason));
        }
    }

    /// The other side is not there any more (RFC 4028, section 10), or can't be asked now: then again, until the
    /// session is over.
    pub(super) fn refresh_failed(&mut self, id: CallId, error: &Error) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.session_timer.refresh_failed();
        if error.sip_status == Some(481) {
            self.dialog_gone(id, error.clone());
            return;
        }
        // RFC 4028, section 10, would end the call here after 408 or no answer. The other side may be looking for a
        // new connection: the session's own end is soon enough.
        if self.recovery_failed(id, false, error) {
            return;
        }
        if let Some(call) = self.calls.get_mut(&id) {
            call.session_timer.refresh_later(self.now);
        }
    }

    pub(super) fn on_session_expired(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id).filter(|call| call.recovery.is_unreached()) {
            call.session_timer.expire_later(self.now);
            return;
        }
        let error = Error::new(ErrorCode::Timeout, "The other side no longer refreshes the session");
        let reason = Some("SIP;cause=408;text=\"Session expired\"");
        self.end_with_bye(id, EndCause::Failed(error), EndedBy::Network, reason);
    }
}
