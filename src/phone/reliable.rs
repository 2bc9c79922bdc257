//! Reliable provisional responses and PRACK, on both sides (RFC 3262).

use super::transactions::{Owner, TxId};
use super::{CallId, LogLevel, Phone};
use crate::error::Error;
use crate::sip::auth::Attempt;
use crate::sip::message::{Method, Request, Response};
use crate::text::concat;

impl Phone {
    // ---- as the caller

    /// Sends the PRACK of a reliable 1xx. `false`: the response is a repetition, or one before it is missing, and
    /// is to be ignored (RFC 3262, section 4).
    pub(super) fn acknowledge_provisional(&mut self, id: CallId, tag: &str, response: &Response) -> bool {
        if !response.headers.contains_token("Require", "100rel") {
            return true;
        }
        let Some(rseq) = response.headers.number("RSeq").filter(|rseq| *rseq > 0) else { return true };
        let Some(invite) = response.headers.seq() else { return true };
        let Some(early) = self
            .calls
            .get_mut(&id)
            .and_then(|call| call.early.iter_mut().find(|early| early.dialog.remote_tag == tag))
        else {
            return true;
        };
        if early.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        early.rseq = Some(rseq);
        let mut prack = early.dialog.request(Method::Prack, None);
        prack.headers.push("RAck", concat(&[&rseq.to_string(), " ", &invite.to_string(), " INVITE"]));
        if let Err(error) = self.send_request(Owner::Prack(id), prack, Attempt::default()) {
            self.log(LogLevel::Warn, format_args!("PRACK could not be sent: {error}"));
        }
        true
    }

    // ---- as the called side

    pub(super) fn on_prack(&mut self, _id: CallId, tx: TxId, _request: &Request) {
        self.method_not_allowed(tx);
    }

    /// Whatever it is, the final response to the INVITE decides.
    pub(super) fn on_prack_response(&mut self, _id: CallId, response: &Response) {
        if response.status >= 300 {
            self.log(LogLevel::Warn, format_args!("PRACK was refused: {}", response.status));
        }
    }

    pub(super) fn prack_failed(&mut self, _id: CallId, error: Error) {
        self.log(LogLevel::Warn, format_args!("PRACK failed: {error}"));
    }

    pub(super) fn on_reliable_timer(&mut self, _id: CallId) {}
}
