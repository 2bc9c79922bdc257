//! Challenged requests: answered, or kept until the application has given credentials (RFC 3261, section 22).

use super::call::Phase;
use super::transactions::Owner;
use super::{CredentialSource, Credentials, CredentialsId, EndedBy, Event, Output, Phone, Question};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::{Attempt, Scope};
use crate::sip::message::{Method, Request, Response};
use crate::text::concat;

impl Phone {
    pub(super) const fn scope(owner: Owner) -> Scope {
        match owner {
            Owner::Register => Scope::Register,
            _ => Scope::Calls,
        }
    }

    /// `true`: the request will be sent again; the challenge is no outcome yet.
    pub(super) fn answer_challenge(
        &mut self,
        owner: Owner,
        request: &Request,
        response: &Response,
        mut attempt: Attempt,
    ) -> bool {
        if request.method == Method::Cancel {
            return false;
        }
        if let Owner::Invite(id) = owner
            && self.calls.get(&id).is_none_or(|call| call.phase != Phase::Inviting)
        {
            return false;
        }
        let realms = self.authenticator.on_challenge(Self::scope(owner), response, &mut attempt);
        let Some(realm) = realms.first().cloned() else { return false };
        match self.config.credentials.clone() {
            CredentialSource::None => false,
            CredentialSource::Static(credentials) => {
                if credentials.realm.as_ref().is_some_and(|wanted| !realms.contains(wanted)) {
                    return false;
                }
                self.send_again(owner, request.clone(), attempt, &credentials);
                true
            }
            CredentialSource::Ask => {
                self.last_question = self.last_question.wrapping_add(1);
                let id = CredentialsId(self.last_question);
                if let Owner::Invite(call) = owner {
                    if let Some(call) = self.calls.get_mut(&call) {
                        call.invite_tx = None;
                    }
                    self.invite_asks(call, id);
                }
                self.questions.insert(id, Question { owner, request: request.clone(), attempt });
                self.out.push(Output::NeedCredentials { id, realm });
                true
            }
        }
    }

    pub(super) fn on_credentials(&mut self, id: CredentialsId, credentials: Option<Credentials>) {
        let Some(Question { owner, request, attempt }) = self.questions.remove(&id) else { return };
        match credentials {
            Some(credentials) => self.send_again(owner, request, attempt, &credentials),
            None => {
                let error = Error::new(ErrorCode::AuthFailed, "There are no credentials for the SIP server");
                self.on_request_failed(owner, error);
            }
        }
    }

    /// A challenged request again: same Call-ID and From-tag, CSeq one higher, new branch (RFC 3261, section
    /// 22.2).
    pub(super) fn send_again(
        &mut self,
        owner: Owner,
        mut request: Request,
        attempt: Attempt,
        credentials: &Credentials,
    ) {
        let seq = match owner {
            Owner::Register => self.registration.next_seq(),
            Owner::Invite(_) | Owner::Nobody => request.headers.seq().map_or(1, |seq| seq.saturating_add(1)),
            Owner::Subscription(_) | Owner::Publication(_) | Owner::Request(_) => {
                request.headers.seq().map_or(1, |seq| seq.saturating_add(1))
            }
            Owner::Bye(id)
            | Owner::Info(id)
            | Owner::Reinvite(id)
            | Owner::Update(id)
            | Owner::Prack(id)
            | Owner::Refer(id)
            | Owner::ReferNotify(id) => {
                let tag = request.headers.to_tag().unwrap_or_default();
                match self.calls.get_mut(&id).and_then(|call| call.dialog_to(&tag)) {
                    Some(dialog) => {
                        dialog.local_seq = dialog.local_seq.saturating_add(1);
                        dialog.local_seq
                    }
                    None => request.headers.seq().map_or(1, |seq| seq.saturating_add(1)),
                }
            }
        };
        request.headers.remove("Via");
        let cseq = concat(&[&seq.to_string(), " ", request.method.as_str()]);
        request.headers.set("CSeq", cseq);
        let user = self.config.uri.user.as_deref().unwrap_or_default();
        let scope = Self::scope(owner);
        self.authenticator.authorize(scope, &mut request, user, credentials, &mut *self.entropy);
        let for_call = request.clone();
        match self.send_prepared(owner, request, attempt) {
            Ok(tx) => {
                if let Owner::Invite(call) = owner {
                    self.invite_resent(call, tx, &for_call);
                }
            }
            Err(error) => self.on_request_failed(owner, error),
        }
    }

    /// A request that gets no final response, or none that helps.
    pub(super) fn on_request_failed(&mut self, owner: Owner, error: Error) {
        match owner {
            Owner::Register => {
                let retry = matches!(error.code, ErrorCode::Timeout | ErrorCode::Transport);
                self.registration_failed(error, retry, None);
            }
            Owner::Invite(call) => {
                if self.calls.get(&call).is_some_and(|call| call.phase == Phase::Terminating) {
                    self.bury(call);
                } else {
                    self.fail_outgoing(call, error, EndedBy::Network);
                }
            }
            Owner::Bye(call) => self.bury(call),
            Owner::Info(call) => self.event(Event::InfoDone(call, Err(error))),
            Owner::Reinvite(call) | Owner::Update(call) => self.offer_failed(call, error),
            Owner::Prack(call) => self.prack_failed(call, error),
            Owner::Refer(call) => self.refer_failed(call, error),
            Owner::ReferNotify(call) => self.refer_notify_failed(call),
            Owner::Subscription(id) => self.subscription_failed(id, error),
            Owner::Publication(id) => self.publication_failed(id, error),
            Owner::Request(id) => self.event(Event::RequestDone(id, Err(error))),
            Owner::Nobody => {}
        }
    }
}
