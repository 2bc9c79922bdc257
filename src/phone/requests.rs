//! Our requests and the calls when a server challenges a request, and when the connection is lost, replaced or closed.

use super::authentication::{any_answer_will_do, next_seq_of};
use super::env::{LineEvent, Waiting};
use super::outage::FIRST_RESPONSE;
use super::questions::Question;
use super::recovery::Signalling;
use super::registration::{MAX_RETRY_AFTER, Refusal, refused, retry_after};
use super::timers::TxId;
use super::*;
use crate::sip::auth::{Attempt, Circumstances, Secret};

/// From a question for credentials to its answer: a person may have to type a password.
const QUESTION: Duration = Duration::from_secs(120);

/// Time of `disconnect` for the responses to BYE and REGISTER.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A timer this late means that the page was suspended.
const LATE: Duration = Duration::from_secs(10);

/// Up to this it may have been throttled only: browsers wake long hidden tabs once a minute.
const ASLEEP: Duration = Duration::from_secs(70);

/// Retry-After of an overloaded server that gives none, seconds.
const BUSY: u32 = 10;

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
            && self.calls.get(id).is_none_or(|call| call.phase != Phase::Inviting)
        {
            return false;
        }
        let about = Circumstances {
            scope: Cx::scope(owner),
            in_dialog: request.headers.head().to_tag().is_some(),
            kept: self.cx.env.config.credentials.kept(),
            asks: matches!(self.cx.env.config.credentials, CredentialSource::Ask),
        };
        let realms = self.cx.authenticator.on_challenge(about, response, &mut attempt);
        let Some(realm) = realms.first().cloned() else {
            self.cx.log(LogLevel::Warn, &["a challenge that is not answered"]);
            return false;
        };
        match &self.cx.env.config.credentials {
            CredentialSource::None => false,
            CredentialSource::Static(_) | CredentialSource::ByRealm(_) => {
                let kept = self.cx.env.config.credentials.kept().to_vec();
                self.send_again(owner, request.clone(), attempt, &kept);
                true
            }
            CredentialSource::Ask => {
                let until = self.cx.env.now + QUESTION;
                let id = self.cx.questions.add(Question { owner, request: request.clone(), attempt, until });
                if let Owner::Invite(call) = owner {
                    self.with(call, |call, _| {
                        call.sip.invite_tx = None;
                        call.invite_asks(id);
                    });
                }
                self.cx.env.job(Job::NeedCredentials { id, realm });
                true
            }
        }
    }

    pub(super) fn on_credentials(&mut self, id: CredentialsId, credentials: Option<Credentials>) {
        let Some(Question { owner, request, mut attempt, .. }) = self.cx.questions.take(id) else {
            return;
        };
        match credentials {
            Some(credentials) => {
                attempt.given.insert(0, credentials);
                let given = attempt.given.clone();
                self.send_again(owner, request, attempt, &given);
            }
            None => {
                self.on_request_failed(
                    owner,
                    not_given("The function `credentials` gave none that can be used"),
                );
            }
        }
    }

    pub(super) fn on_question_timeout(&mut self) {
        for owner in self.cx.questions.take_late(self.cx.env.now) {
            self.on_request_failed(owner, not_given("The function `credentials` has not answered in time"));
        }
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
            | Owner::Tone(id)
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
        if request.headers.head().to_tag().is_some()
            && let Some(call) = owner.call().and_then(|id| self.calls.get_mut(id))
        {
            call.sip.challenged = true;
        }
        request.headers.remove("Via");
        let cseq = concat(&[&digits(seq), " ", request.method.as_str()]);
        request.headers.set("CSeq", cseq);
        let user = self.cx.env.config.uri.user.as_deref().unwrap_or_default();
        let scope = Cx::scope(owner);
        let secure = self.cx.line.is_secure(&self.cx.env.config);
        if !self.cx.authenticator.authorize(
            scope,
            &mut request,
            user,
            credentials,
            secure,
            &mut *self.cx.env.entropy,
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
                    self.with(call, |call, cx| call.invite_sent(cx, tx));
                }
            }
            Err(error) => self.on_request_failed(owner, error),
        }
    }

    /// A request that gets no final response, or none that helps.
    pub(super) fn on_request_failed(&mut self, owner: Owner, error: Error) {
        match owner {
            Owner::Register => {
                let temporary = matches!(error.code, ErrorCode::Timeout | ErrorCode::Transport);
                self.line(|cx| cx.registration_failed(Refusal { error, temporary, retry_after: None }));
            }
            Owner::Invite(call) => {
                if self.calls.get(call).is_some_and(|call| call.phase == Phase::Terminating) {
                    self.with(call, |call, cx| call.remove(cx));
                } else {
                    self.with(call, |call, cx| call.fail_outgoing(cx, error, EndedBy::Network));
                }
            }
            Owner::Bye(call) => self.with(call, |call, cx| call.remove(cx)),
            Owner::Info(call) | Owner::Tone(call) => {
                self.with(call, |call, cx| call.info_done(cx, owner, Err(error)));
            }
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

    /// Gives up the requests that were sent over this socket, or marks them for the next one.
    pub(super) fn requests_interrupted(&mut self, lost: SocketId, error: &Error) {
        let established = self.cx.line.is_established();
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
                    entry.lose_socket();
                    if !established && !matches!(owner, Owner::Bye(_) | Owner::Nobody) {
                        failed.push((id, owner));
                    }
                }
            }
        }
        for id in over {
            self.cx.transactions.remove_client(id);
        }
        for (id, owner) in failed {
            self.give_up_request(id, owner, error);
        }
    }

    pub(super) fn give_up_request(&mut self, id: TxId, owner: Owner, error: &Error) {
        match owner {
            Owner::Reinvite(call) => self.with(call, |call, cx| call.reinvite_lost(cx, id, error)),
            Owner::Invite(call) if self.calls.get(call).is_some_and(|call| call.phase == Phase::Inviting) => {
                self.with(call, |call, cx| call.give_up_call(cx, Some(error.clone()), EndedBy::Network));
            }
            Owner::Invite(_) if !self.cx.line.is_established() => {}
            _ => {
                self.cx.transactions.remove_client(id);
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
        self.for_live_calls(&|call, cx| {
            let rings = matches!(call.phase, Phase::Alerting | Phase::Answering);
            if rings && call.direction == Direction::Incoming {
                call.refuse(cx, 480, EndCause::Failed(error.clone()), EndedBy::Network);
            }
        });
        self.cx.timers.set(TimerKey::Outage, self.cx.env.now + self.cx.env.config.signalling_grace);
    }

    /// Sends the requests that have waited for this connection. Those that need no registration go first. In a call that
    /// is over, the last NOTIFY of a transfer goes before the BYE, as its CSeq is lower. In a call that continues, requests
    /// with a lower CSeq may wait for the registration, so the NOTIFY waits too.
    pub(super) fn send_waiting(&mut self, which: Waiting) {
        if which == Waiting::All {
            self.cx.timers.clear(TimerKey::Outage);
        }
        let Some(socket) = self.cx.line.open_socket() else { return };
        let fits = |calls: &Calls, owner| match (which, owner) {
            (Waiting::All, _) | (Waiting::Unregistered, Owner::Bye(_) | Owner::Nobody) => true,
            (Waiting::Unregistered, Owner::ReferNotify(id)) => {
                calls.get(id).is_none_or(|call| !call.is_live())
            }
            (Waiting::Invites, owner) => matches!(owner, Owner::Invite(_)),
            (Waiting::Unregistered, _) => false,
        };
        for id in self.cx.transactions.overtaken() {
            // One that is given up may end the call, and that the others.
            let Some(owner) = self.cx.transactions.client(id).map(|entry| entry.owner) else { continue };
            let error = Error::new(ErrorCode::Transport, "The connection was lost before the response came");
            self.give_up_request(id, owner, &error);
        }
        let (mut cancels, mut unsent) = (Vec::new(), Vec::new());
        let mut texts = Vec::new();
        let now = self.cx.env.now;
        for (id, entry) in self.cx.transactions.clients() {
            if entry.socket.is_some() || !entry.tx.is_open() || !fits(&self.calls, entry.owner) {
                continue;
            }
            if let Owner::Update(call) = entry.owner
                && self.calls.get(call).is_none_or(|call| call.phase == Phase::Terminating)
            {
                // A BYE with a higher CSeq has been sent.
                unsent.push((id, None));
                continue;
            }
            let mut wait = T64;
            let mut text = entry.tx.request.to_text().ok();
            if let Owner::Invite(call) = entry.owner {
                let call = self.calls.get_mut(call);
                match call {
                    Some(call) if call.phase == Phase::Inviting => {
                        call.dialled.invitation.over_new_socket(entry.was_lost());
                        if entry.was_lost() {
                            wait = FIRST_RESPONSE;
                        }
                    }
                    // Cancelled meanwhile. RFC 3261, section 9.1, demands a 1xx before the CANCEL, lest it overtake the
                    // INVITE. Over another socket, and this much later, it does not.
                    Some(call) if entry.was_lost() => {
                        text = None;
                        if call.dialled.invitation.take_cancel() {
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
            if let Some(text) = text {
                texts.push((text, entry.tx.request.headers.clone()));
            }
        }
        for (text, headers) in texts {
            self.cx.transactions.note_sent(&headers, socket);
            self.cx.line.transmit(&mut self.cx.env, text, false);
        }
        for (id, call) in unsent {
            self.cx.transactions.remove_client(id);
            if let Some(call) = call {
                self.with(call, |call, cx| call.remove(cx));
            }
        }
        for cancel in cancels {
            self.cx.send_or_log(cancel);
        }
    }

    /// What the connection has told, for the calls and their requests.
    pub(super) fn on_line(&mut self, event: LineEvent) {
        match event {
            LineEvent::Opened => {
                self.send_waiting(Waiting::Unregistered);
                if self.cx.line.is_closing() {
                    self.send_waiting(Waiting::Invites);
                }
                self.line(Cx::on_opened);
            }
            LineEvent::Up => {
                self.send_waiting(Waiting::All);
                self.for_live_calls(&|call, cx| call.acknowledge_for_before(cx));
                if self.cx.line.has_previous() {
                    self.cx.refresh_subscriptions();
                    self.for_live_calls(&|call, cx| call.set_signalling(cx, Signalling::Moved));
                } else {
                    self.for_live_calls(&|call, cx| call.resume_call(cx));
                    self.cx.resume_subscriptions();
                    self.for_live_calls(&|call, cx| call.signalling_back(cx));
                }
                self.for_live_calls(&|call, cx| call.continue_offer(cx));
                self.line(|cx| {
                    cx.close_previous();
                    cx.line.learn_keep_alive(&mut cx.env);
                    cx.line.plan_return(&mut cx.env);
                });
            }
            LineEvent::Back => {
                self.send_waiting(Waiting::All);
                self.line(Cx::on_back);
            }
            LineEvent::Unbound => self.cx.registration_interrupted(),
            LineEvent::Down { socket, error } => self.line(|cx| cx.on_down(socket, error)),
            LineEvent::AskByOptions => self.cx.ask_by_options(),
            LineEvent::OptionsOver => self.cx.forget_clients_of(Owner::Ping),
            LineEvent::Hinted(hint) => {
                if hint == Hint::Woken {
                    // The binding may have expired, and any server answers a REGISTER. The other sides may have gone.
                    self.line(Cx::on_register_timer);
                    self.for_live_calls(&|call, cx| call.resume_call(cx));
                }
                if hint != Hint::Offline {
                    self.line(Cx::register_if_failed);
                }
                if matches!(hint, Hint::NetworkChanged | Hint::Online | Hint::Woken) {
                    self.for_live_calls(&|call, cx| call.doubt_media(cx));
                }
            }
            LineEvent::Lost => self.for_live_calls(&|call, cx| call.set_signalling(cx, Signalling::Lost)),
            LineEvent::Interrupted { socket, error } => self.requests_interrupted(socket, &error),
            LineEvent::Send(waiting) => self.send_waiting(waiting),
            LineEvent::GaveUp(error) => self.give_up(error),
            LineEvent::Over => self.finish_disconnect(),
        }
    }

    pub(super) fn for_live_calls(&mut self, act: &dyn Fn(&mut Call, &mut Cx)) {
        for id in self.calls.live() {
            self.with(id, act);
        }
    }

    /// The first `connect` has failed for good.
    pub(super) fn give_up(&mut self, error: Error) {
        let before = self.cx.line.connection();
        self.cx.line.abandon(&mut self.cx.env);
        self.cx.registration.set_due(None);
        self.end_all_calls(&error);
        self.cx.abandon_transactions();
        self.cx.line.report_connection(&mut self.cx.env, before, Some(error.clone()));
        if self.cx.line.take_connect() {
            self.cx.event(Event::ConnectDone(Err(error)));
        }
    }

    pub(super) fn start_disconnecting(&mut self) {
        if self.cx.line.is_idle() {
            // Calls that are answered elsewhere need no connection.
            for id in self.calls.live() {
                self.with(id, |call, cx| call.hang_up(cx, None, 480));
            }
            self.cx.event(Event::DisconnectDone);
            return;
        }
        // Also a connect that waits for an earlier disconnect: the last command counts.
        if self.cx.line.take_connect() {
            self.cx.event(Event::ConnectDone(Err(Error::new(ErrorCode::Aborted, "Disconnected"))));
        }
        if self.cx.line.is_closing() {
            return;
        }
        self.cx.line.close();
        self.cx.refuse_unmatched();
        for id in self.calls.live() {
            self.with(id, |call, cx| call.hang_up(cx, None, 480));
        }
        self.cx.registration.set_due(None);
        self.cx.end_subscriptions(false);
        self.cx.timers.set(TimerKey::Disconnect, self.cx.env.now + DISCONNECT_TIMEOUT);
        if self.cx.line.open_socket().is_some() {
            self.line(|cx| cx.start_unregistering());
        } else if self.cx.line.is_waiting() && self.cx.has_goodbyes() {
            self.cx.line.begin_anew(&mut self.cx.env);
        }
        self.check_disconnected();
    }

    /// The page is going: whatever is not sent now is never sent.
    pub(super) fn on_page_hide(&mut self, kept: PageKept) {
        let stays = kept == PageKept::Page || !self.cx.env.config.hangup_on_unload;
        let mut handed_on = false;
        let ids = self.calls.ids(|_| true);
        for id in ids {
            let Some(call) = self.calls.get(id) else { continue };
            if call.rest.is_some() {
                self.with(id, |call, cx| call.leave_rest(cx));
            } else if stays {
                continue;
            } else if kept == PageKept::Calls && self.cx.write_call(call, CallNote::default()).is_some() {
                handed_on = true;
                continue;
            } else if !call.end.is_over() {
                self.with(id, |call, cx| call.hang_up(cx, None, 480));
            }
            self.with(id, |call, cx| call.hurry_goodbye(cx));
        }
        if !stays && !handed_on && !self.cx.line.is_idle() {
            self.start_disconnecting();
        }
    }

    /// Finishes the disconnect once nothing is outstanding.
    pub(super) fn check_disconnected(&mut self) {
        if !self.cx.line.is_closing() {
            return;
        }
        let waiting = if self.cx.line.open_socket().is_some() {
            self.cx.transactions.are_open()
                || !self.cx.questions.is_empty()
                // A BYE that waits for the caller's ACK.
                || self.calls.iter().any(|call| call.session.pending_ok.is_some())
        } else {
            self.cx.has_goodbyes()
        };
        if !waiting {
            self.finish_disconnect();
        }
    }

    pub(super) fn finish_disconnect(&mut self) {
        self.cx.line.drop_socket(&mut self.cx.env);
        let again = self.cx.line.take_connect();
        let error = Error::new(ErrorCode::Aborted, "Disconnected");
        self.end_all_calls(&error);
        self.cx.abandon_transactions();
        self.cx.registration.set_due(None);
        self.cx.timers.clear_all(&[TimerKey::Disconnect, TimerKey::Outage]);
        let before = self.cx.line.connection();
        self.cx.line.reset();
        self.cx.line.report_connection(&mut self.cx.env, before, None);
        self.cx.registration_interrupted();
        self.cx.registration.forget_binding();
        self.cx.event(Event::DisconnectDone);
        if again {
            self.cx.line.want_connect();
            self.cx.start_connecting();
        }
    }

    /// The connection is over, and with it every call that needs it. What is to be said to a call proxy is said all
    /// the same.
    pub(super) fn end_all_calls(&mut self, error: &Error) {
        let ids: Vec<CallId> =
            self.calls.iter().filter(|call| call.needs_connection()).map(|call| call.id).collect();
        for id in ids {
            let cause = EndCause::Failed(error.clone());
            self.with(id, |call, cx| {
                call.report_end(cx, cause, None, EndedBy::Network, Some(error.clone()));
                call.remove(cx);
            });
        }
    }

    /// Detects a late timer: the page was frozen, or the machine asleep. Awaited messages had no time to arrive, so their
    /// deadlines are put off by as much; due actions happen at once.
    pub(super) fn notice_sleep(&mut self) {
        let Some((due, _)) = self.next_deadline() else { return };
        let late = self.cx.env.now - due;
        if late < LATE {
            return;
        }
        self.cx.timers.put_off(late, |key| !matches!(key, TimerKey::Subscription(_)));
        self.cx.line.put_off(late);
        self.cx.transactions.put_off(late);
        self.cx.questions.put_off(late);
        for call in self.calls.iter_mut() {
            call.put_off(late);
        }
        self.line(|cx| cx.line.on_hint(&mut cx.env, if late < ASLEEP { Hint::Visible } else { Hint::Woken }));
    }

    /// 503: tries the next server (RFC 3261, section 21.5.4, RFC 3263, section 4.3), if there is one and no other call.
    /// `true`: the call continues there.
    pub(super) fn invite_elsewhere(&mut self, id: CallId, response: &Response) -> bool {
        let inviting = self.calls.get(id).is_some_and(|call| call.phase == Phase::Inviting);
        if response.status != 503
            || !inviting
            || self.cx.env.config.servers.len() < 2
            || self.calls.live() != [id]
        {
            return false;
        }
        // At least for a while, so that this call tries no server twice.
        self.cx
            .line
            .server_is_busy(&self.cx.env, retry_after(response).unwrap_or(BUSY).clamp(BUSY, MAX_RETRY_AFTER));
        let error = refused(response);
        if !self.line(|cx| cx.line.leave_for_free_server(&mut cx.env, &error)) {
            return false;
        }
        self.with(id, |call, cx| {
            call.dialled.invitation.allow_renewal();
            call.renew_invite(cx)
        })
    }
}

fn not_given(problem: &'static str) -> Error {
    Error::new(ErrorCode::AuthFailed, problem).with_hint(
        "The function `credentials` of the configuration must settle with a password, ha1 or bearerToken.",
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{call, phone};
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_end_of_the_connection_is_the_end_of_the_calls_that_need_it() {
        let mut phone = phone();
        let mut ids = Vec::new();
        for phase in [Phase::Confirmed, Phase::Alerting, Phase::Inviting] {
            let call = call(&mut phone.cx, Direction::Incoming, phase);
            ids.push(call.id);
            phone.calls.insert(call);
        }
        phone.end_all_calls(&Error::new(ErrorCode::Aborted, "Disconnected"));
        for id in ids {
            let ended = phone.calls.get(id).unwrap().end.reason().cloned().unwrap();
            assert_eq!(ended.by, EndedBy::Network);
        }
    }

    #[test]
    fn each_call_that_is_not_over_hears_of_the_connection() {
        let mut phone = phone();
        for phase in [Phase::Confirmed, Phase::Terminating, Phase::Alerting] {
            let call = call(&mut phone.cx, Direction::Incoming, phase);
            phone.calls.insert(call);
        }
        phone.on_line(LineEvent::Lost);
        let lost: Vec<bool> = phone.calls.iter().map(|call| call.session.recovery.is_lost()).collect();
        // Only one that is up has signalling to lose.
        assert_eq!(lost, [true, false, false]);
        phone.on_line(LineEvent::Hinted(Hint::NetworkChanged));
        assert_eq!(phone.calls.live().len(), 2);
    }

    #[test]
    fn credentials_that_are_not_given_in_time_end_their_request() {
        let mut phone = phone();
        let call = call(&mut phone.cx, Direction::Outgoing, Phase::Inviting);
        let id = call.id;
        phone.calls.insert(call);
        let request = Request::new(Method::Invite, "sip:bob@example.com");
        let until = phone.cx.env.now + QUESTION;
        let owner = Owner::Invite(id);
        let question = Question { owner, request, attempt: Attempt::default(), until };
        phone.cx.questions.add(question);
        phone.on_question_timeout();
        assert!(phone.calls.get(id).unwrap().is_live(), "not before its time");
        phone.cx.env.now = until;
        phone.on_question_timeout();
        let ended = phone.calls.get(id).unwrap().end.reason().cloned().unwrap();
        assert!(matches!(ended.cause, EndCause::Failed(error) if error.code == ErrorCode::AuthFailed));
        assert!(phone.cx.questions.is_empty());
    }

    #[test]
    fn a_disconnect_without_a_connection_is_done_at_once() {
        let mut phone = phone();
        phone.start_disconnecting();
        assert_eq!(phone.poll_event(), Some(Event::DisconnectDone));
    }
}
