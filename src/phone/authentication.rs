//! Challenged requests: answered, or kept until the application has given credentials (RFC 3261, section 22).

use super::call::{Call, Phase};
use super::context::{Cx, Question};
use super::transactions::Owner;
use super::{
    CallId, CredentialSource, Credentials, CredentialsId, EndedBy, Event, LogLevel, Output, Phone, Secret,
    TimerKey,
};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::{Attempt, Circumstances, Scope};
use crate::sip::message::{Method, Request, Response};
use crate::text::{concat, digits};
use crate::time::Duration;

/// From a question for credentials to its answer: a person may have to type a password.
const QUESTION: Duration = Duration::from_secs(120);

/// Requests that only ask whether somebody is there: a challenge is an answer too, and no credentials follow.
pub(super) const fn any_answer_will_do(owner: Owner) -> bool {
    matches!(owner, Owner::Ping | Owner::Caller(_))
}

impl Phone {
    /// `true`: the request will be sent again; the challenge is no outcome yet.
    pub(super) fn answer_challenge(
        &mut self,
        owner: Owner,
        request: &Request,
        response: &Response,
        mut attempt: Attempt,
    ) -> bool {
        if request.method == Method::Cancel || any_answer_will_do(owner) {
            return false;
        }
        if let Owner::Invite(id) = owner
            && self.calls.get(&id).is_none_or(|call| call.phase != Phase::Inviting)
        {
            return false;
        }
        let about = Circumstances {
            scope: Cx::scope(owner),
            in_dialog: request.headers.to_tag().is_some(),
            kept: self.cx.config.credentials.kept(),
            asks: matches!(self.cx.config.credentials, CredentialSource::Ask),
        };
        let realms = self.cx.authenticator.on_challenge(about, response, &mut attempt);
        let Some(realm) = realms.first().cloned() else {
            self.cx.log(LogLevel::Warn, &["a challenge that is not answered"]);
            return false;
        };
        match &self.cx.config.credentials {
            CredentialSource::None => false,
            CredentialSource::Static(_) | CredentialSource::ByRealm(_) => {
                let kept = self.cx.config.credentials.kept().to_vec();
                self.send_again(owner, request.clone(), attempt, &kept);
                true
            }
            CredentialSource::Ask => {
                self.cx.last_question = self.cx.last_question.wrapping_add(1);
                let id = CredentialsId(self.cx.last_question);
                if let Owner::Invite(call) = owner {
                    self.with(call, |call, _| {
                        call.invite_tx = None;
                        call.invite_asks(id);
                    });
                }
                let until = self.cx.now + QUESTION;
                self.cx.questions.insert(id, Question { owner, request: request.clone(), attempt, until });
                self.cx.time_questions();
                self.cx.out.push(Output::NeedCredentials { id, realm });
                true
            }
        }
    }

    pub(super) fn on_credentials(&mut self, id: CredentialsId, credentials: Option<Credentials>) {
        let Some(Question { owner, request, mut attempt, .. }) = self.cx.questions.remove(&id) else {
            return;
        };
        self.cx.time_questions();
        match credentials {
            Some(credentials) => {
                attempt.given.insert(0, credentials);
                let given = attempt.given.clone();
                self.send_again(owner, request, attempt, &given);
            }
            None => self.not_given(owner, "The function `credentials` gave none that can be used"),
        }
    }

    fn not_given(&mut self, owner: Owner, problem: &'static str) {
        let error = Error::new(ErrorCode::AuthFailed, problem).with_hint(
            "The function `credentials` of the configuration must settle with a password, ha1 or bearerToken.",
        );
        self.on_request_failed(owner, error);
    }

    pub(super) fn on_question_timeout(&mut self) {
        let mut late = Vec::new();
        let now = self.cx.now;
        self.cx.questions.retain(|question| {
            let waits = question.until > now;
            if !waits {
                late.push(question.owner);
            }
            waits
        });
        for owner in late {
            self.not_given(owner, "The function `credentials` has not answered in time");
        }
        self.cx.time_questions();
    }

    /// A challenged request again: same Call-ID and From-tag, CSeq one higher, new branch (RFC 3261, section
    /// 22.2).
    pub(super) fn send_again(
        &mut self,
        owner: Owner,
        mut request: Request,
        mut attempt: Attempt,
        credentials: &[Credentials],
    ) {
        let seq = match owner {
            Owner::Register => self.cx.registration.next_seq(),
            Owner::Bye(id)
            | Owner::Info(id)
            | Owner::Reinvite(id)
            | Owner::LateReinvite(id)
            | Owner::Update(id)
            | Owner::Prack(id)
            | Owner::Refer(id)
            | Owner::ReferNotify(id)
            | Owner::Caller(id) => self.with(id, |call, _| call.next_seq_in(&request)),
            Owner::Invite(_)
            | Owner::Nobody
            | Owner::Ping
            | Owner::Subscription(_)
            | Owner::Publication(_)
            | Owner::Request(_) => next_seq_of(&request),
        };
        if request.headers.to_tag().is_some()
            && let Some(call) = owner.call().and_then(|id| self.calls.get_mut(&id))
        {
            call.challenged = true;
        }
        request.headers.remove("Via");
        let cseq = concat(&[&digits(seq), " ", request.method.as_str()]);
        request.headers.set("CSeq", cseq);
        let user = self.cx.config.uri.user.as_deref().unwrap_or_default();
        let scope = Cx::scope(owner);
        let secure = self.cx.flow.secure;
        if !self.cx.authenticator.authorize(
            scope,
            &mut request,
            user,
            credentials,
            secure,
            &mut *self.cx.entropy,
        ) {
            let error =
                Error::new(ErrorCode::AuthFailed, "The server does not accept this kind of credentials");
            self.on_request_failed(owner, error);
            return;
        }
        if credentials.iter().any(|one| matches!(one.secret, Secret::Bearer(_))) {
            attempt.used_token();
        }
        match self.cx.send_prepared(owner, request, attempt) {
            Ok(tx) => {
                if let Owner::Invite(call) = owner {
                    self.with(call, |call, cx| call.invite_resent(cx, tx));
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
                    self.with(call, |call, cx| call.remove(cx));
                } else {
                    self.with(call, |call, cx| call.fail_outgoing(cx, error, EndedBy::Network));
                }
            }
            Owner::Bye(call) => self.with(call, |call, cx| call.remove(cx)),
            Owner::Info(call) => self.cx.event(Event::InfoDone(call, Err(error))),
            Owner::Reinvite(call) => self.with(call, |call, cx| call.offer_failed(cx, error)),
            Owner::Update(call) => self.with(call, |call, cx| call.refresh_failed(cx, &error)),
            Owner::Prack(call) => self.cx.prack_failed(call, error),
            Owner::Refer(call) => self.with(call, |call, cx| call.refer_failed(cx, error)),
            Owner::ReferNotify(call) => self.with(call, |call, _| call.refer_notify_failed()),
            Owner::Subscription(id) => self.cx.subscription_failed(id, error),
            Owner::Publication(id) => self.cx.publication_failed(id, error),
            Owner::Request(id) => self.cx.event(Event::RequestDone(id, Err(error))),
            Owner::LateReinvite(_) | Owner::Caller(_) | Owner::Ping | Owner::Nobody => {}
        }
    }
}

impl Call {
    /// The next CSeq of the dialog that the request belongs to, which may be one that a 1xx has made.
    fn next_seq_in(&mut self, request: &Request) -> u32 {
        let tag = request.headers.to_tag().unwrap_or_default();
        match self.dialog_to(&tag) {
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

    /// Sets the deadline of the oldest question.
    pub(super) fn time_questions(&mut self) {
        match self.questions.values().map(|question| question.until).min() {
            Some(at) => self.timers.set(TimerKey::Question, at),
            None => self.timers.clear(TimerKey::Question),
        }
    }

    /// The call is over for the application: no credentials are waited for, except for the BYE that ends it.
    pub(super) fn forget_questions_of_call(&mut self, id: CallId) {
        self.questions.retain(|question| match question.owner {
            Owner::Invite(call)
            | Owner::Info(call)
            | Owner::Reinvite(call)
            | Owner::LateReinvite(call)
            | Owner::Update(call)
            | Owner::Prack(call)
            | Owner::Refer(call)
            | Owner::ReferNotify(call)
            | Owner::Caller(call) => call != id,
            _ => true,
        });
        self.time_questions();
    }
}

fn next_seq_of(request: &Request) -> u32 {
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
