//! Challenged requests: answered, or kept until the application has given credentials (RFC 3261, section 22).

use super::call::Call;
use super::context::Cx;
use super::transactions::Owner;
use crate::sip::auth::Scope;
use crate::sip::message::Request;
use crate::text::{concat, digits};

/// Requests that only ask whether somebody is there: a challenge is an answer too, and no credentials follow.
pub(super) const fn any_answer_will_do(owner: Owner) -> bool {
    matches!(owner, Owner::Ping | Owner::Caller(_))
}

impl Call {
    /// The next CSeq of the dialog that the request belongs to, which may be one that a 1xx has made.
    pub(super) fn next_seq_in(&mut self, request: &Request) -> u32 {
        let tag = request.headers.head().to_tag().unwrap_or_default();
        match self.dialog_to(tag) {
            Some(dialog) => {
                dialog.local_seq = dialog.local_seq.saturating_add(1);
                dialog.local_seq
            }
            None => next_seq_of(request),
        }
    }
}

impl Cx {
    pub(super) const fn scope(owner: Owner) -> Scope {
        match owner {
            Owner::Register => Scope::Register,
            _ => Scope::Calls,
        }
    }
}

pub(super) fn next_seq_of(request: &Request) -> u32 {
    request.headers.seq().map_or(1, |seq| seq.saturating_add(1))
}

/// Re-issues a request: next CSeq, credentials removed.
pub(super) fn renew(request: &mut Request) {
    let seq = digits(next_seq_of(request));
    let cseq = concat(&[&seq, " ", request.method.as_str()]);
    request.headers.set("CSeq", cseq);
    for name in ["Authorization", "Proxy-Authorization"] {
        request.headers.remove(name);
    }
}
