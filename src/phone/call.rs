//! What a phone keeps of one call: one INVITE usage (RFC 3261, sections 13 to 15).

use super::answering::Answering;
use super::audio::Audio;
use super::awaited_ack::AwaitedAck;
use super::call_ended;
use super::context::{Cx, Responder};
use super::description::Descriptions;
use super::env::Ask;
use super::forks::Forks;
use super::invitation::Invitation;
use super::io::{CallId, CallState, Direction, EndCause, EndReason, EndedBy, Event, MediaCommand};
use super::media_half::MediaHalf;
use super::offers::Offers;
use super::originate::RestCall;
use super::peer::Peer;
use super::reason::End;
use super::recovery::Recovery;
use super::redirect::Redirects;
use super::reliable::Reliable;
use super::session_timer::SessionTimer;
use super::succession::Succession;
use super::taken_up::TakenUp;
use super::timers::TxId;
use super::timers::{CallTimer, Timers};
use super::tone_queue::ToneQueue;
use super::transactions::Owner;
use super::transfer::{Referral, Referrer, Transfer};
use crate::error::Error;
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::message::Request;
use crate::time::{Duration, Instant};

/// Where the call stands in the protocol. [`CallState`] is what the application sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Outgoing by REST: the provider's call to this phone has not come. From its INVITE on the phases are those of
    /// an incoming call.
    Originating,
    /// Outgoing by REST: the provider has hung up; how the far leg ended is being asked.
    Outcome,
    /// Outgoing: the offer is being made; nothing has been sent.
    Preparing,
    /// Outgoing: INVITE is out, or waits for credentials to be sent again.
    Inviting,
    /// Outgoing: answered and acknowledged; the answer is being set.
    Applying,
    /// Incoming: 180 has been sent.
    Alerting,
    /// Incoming: an answer (or, without an offer, an offer) is being made.
    Answering,
    /// Incoming: 200 has been sent, ACK has not come.
    Accepted,
    /// Answered on both sides.
    Confirmed,
    /// Over for the application. The record stays until the protocol has been tidied up:
    /// the BYE answered, the CANCEL followed by a final response, the 200 acknowledged so that BYE may be sent.
    Terminating,
}

/// The names of a call, and the messages that made it.
#[derive(Debug, Default)]
pub(super) struct Sip {
    pub(super) local_tag: String,
    pub(super) call_id: String,
    /// A server has asked for credentials within the dialog, and they were given.
    pub(super) challenged: bool,
    /// The other side is not to learn who we are.
    pub(super) hidden: bool,
    /// The dialog once there is one.
    pub(super) dialog: Option<Dialog>,
    /// Outgoing: the INVITE as last sent, without Via and credentials. Incoming: as received.
    pub(super) invite: Option<Request>,
    /// The transaction of the INVITE that made the call.
    pub(super) invite_tx: Option<TxId>,
}

/// What a call has that was dialled.
#[derive(Debug, Default)]
pub(super) struct Dialled {
    /// How its INVITE fares.
    pub(super) invitation: Invitation,
    /// Its forks.
    pub(super) forks: Forks,
    /// Where it has been sent to (3xx).
    pub(super) redirects: Option<Box<Redirects>>,
    done: bool,
    own_timeout: bool,
    referrer: Option<Box<Referrer>>,
}

impl Dialled {
    /// `DialDone` is reported. `false`: it has been.
    pub(super) const fn report_done(&mut self) -> bool {
        !core::mem::replace(&mut self.done, true)
    }

    /// The application has set the ring deadline itself.
    pub(super) const fn has_own_timeout(&self) -> bool {
        self.own_timeout
    }

    pub(super) const fn set_own_timeout(&mut self) {
        self.own_timeout = true;
    }

    /// Who asked us to make this call.
    pub(super) fn referrer(&mut self) -> Option<&mut Referrer> {
        self.referrer.as_deref_mut()
    }

    pub(super) fn set_referrer(&mut self, referrer: Option<Box<Referrer>>) {
        self.referrer = referrer;
    }
}

/// What a call has once it is answered.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Holds, offers and answers.
    pub(super) offers: Offers,
    pub(super) timer: SessionTimer,
    /// How well its signalling and its media are.
    pub(super) recovery: Recovery,
    /// The DTMF that is being sent.
    pub(super) tones: ToneQueue,
    /// Incoming, and after a re-INVITE: the 2xx that has no ACK yet.
    pub(super) pending_ok: Option<Box<AwaitedAck>>,
}

/// The transfers of a call, either way.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// The transfer that we have asked the other side for.
    pub(super) ours: Option<Box<Transfer>>,
    /// The transfer that the other side asks us for.
    pub(super) theirs: Option<Box<Referral>>,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) direction: Direction,
    pub(super) state: CallState,
    pub(super) phase: Phase,
    pub(super) sip: Sip,
    pub(super) peer: Peer,
    pub(super) answering: Answering,
    /// Its reliable 1xx, where it has come in (RFC 3262).
    pub(super) reliable: Option<Box<Reliable>>,
    pub(super) end: End,
    pub(super) dialled: Dialled,
    /// Deadlines that are no part's own.
    pub(super) timers: Timers<CallTimer>,
    pub(super) media: MediaHalf,
    /// Its session descriptions.
    pub(super) descriptions: Descriptions,
    pub(super) session: Session,
    pub(super) transfers: Transfers,
    pub(super) succession: Succession,
    pub(super) taken_up: TakenUp,
    pub(super) audio: Audio,
    /// What a call by REST has beyond that.
    pub(super) rest: Option<Box<RestCall>>,
}

impl Call {
    /// On the heap from the first: a value of this size is a long copy wherever it is moved to.
    #[inline(never)]
    pub(super) fn new(id: CallId, direction: Direction, phase: Phase) -> Box<Self> {
        Box::new(Self {
            id,
            direction,
            state: CallState::New,
            phase,
            sip: Sip::default(),
            peer: Peer::default(),
            answering: Answering::default(),
            reliable: None,
            end: End::default(),
            dialled: Dialled::default(),
            timers: Timers::new(),
            media: MediaHalf::default(),
            descriptions: Descriptions::default(),
            session: Session::default(),
            transfers: Transfers::default(),
            succession: Succession::default(),
            taken_up: TakenUp::default(),
            audio: Audio::default(),
            rest: None,
        })
    }

    /// Not over, for the application or for the protocol.
    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Terminating && !self.end.is_over()
    }

    /// Answered, and not over.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Applying | Phase::Accepted | Phase::Confirmed)
    }

    /// The user is taken up by it: answered, being answered, or being dialled by REST.
    pub(super) const fn occupies(&self) -> bool {
        matches!(self.phase, Phase::Answering | Phase::Originating) || self.is_up()
    }

    /// Whether it ends with the connection: all but those by REST that are answered elsewhere.
    pub(super) fn needs_connection(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.is_answered_here())
    }

    /// Nothing of the other side may be heard or shown, and nothing sent: it has not been proved to be the right one.
    pub(super) fn is_gated(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.is_open())
    }

    /// The next deadline, and which it is.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        let parts = [
            self.timers.next(),
            self.session.recovery.poll_timeout(),
            self.session.offers.poll_timeout(),
            self.session.timer.poll_timeout(),
            self.session.tones.poll_timeout(),
            self.transfer_until().map(|at| (at, CallTimer::Transfer)),
            self.session.pending_ok.as_ref().and_then(|ok| ok.poll_timeout()),
        ];
        parts.into_iter().flatten().min()
    }

    /// That one has been reached.
    fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::IceConnect | CallTimer::Recovery | CallTimer::Grace | CallTimer::Association => {
                self.session.recovery.take_timeout(timer);
            }
            CallTimer::Glare | CallTimer::Reoffer => self.session.offers.take_timeout(timer),
            CallTimer::SessionRefresh | CallTimer::SessionExpired => self.session.timer.take_timeout(timer),
            CallTimer::Retransmit2xx | CallTimer::Ack => {
                if let Some(ok) = &mut self.session.pending_ok {
                    ok.take_timeout(timer);
                }
            }
            CallTimer::Transfer => {
                if let Some(until) = self.transfer_deadline() {
                    *until = None;
                }
            }
            timer => self.timers.clear(timer),
        }
    }

    /// Does what is due at this one, which has been reached.
    pub(super) fn on_timeout(&mut self, cx: &mut Cx, timer: CallTimer) {
        self.take_timeout(timer);
        match timer {
            CallTimer::IceGather => self.on_gather_timeout(cx),
            CallTimer::IceConnect => self.on_ice_timeout(cx),
            CallTimer::Ring => self.on_ring_timeout(cx),
            CallTimer::Cancelled => self.on_cancelled_timeout(cx),
            CallTimer::Retransmit2xx => self.on_retransmit_timer(cx),
            CallTimer::Ack => self.on_ack_timeout(cx),
            CallTimer::ProxyPause => self.on_proxy_pause(cx),
            CallTimer::Bridge => self.on_bridge_timeout(cx),
            CallTimer::Confirm => self.on_confirm_timeout(cx),
            CallTimer::Outcome => self.on_outcome_timeout(cx),
            CallTimer::MaxDuration => self.on_max_duration(cx),
            CallTimer::Tombstone => self.on_tombstone(cx),
            CallTimer::Glare => self.continue_offer(cx),
            CallTimer::Reoffer => self.on_reoffer_timeout(cx),
            CallTimer::Renew => self.on_renew_timer(cx),
            CallTimer::Association => self.on_association_timer(cx),
            CallTimer::SessionRefresh => self.on_session_refresh(cx),
            CallTimer::SessionExpired => self.on_session_expired(cx),
            CallTimer::Reliable1xx => self.on_reliable_timer(cx),
            CallTimer::Transfer => self.on_transfer_timeout(cx),
            CallTimer::AutoAnswer => cx.ask(self.id, Ask::AnswerItself),
            CallTimer::Recovery => self.on_recovery_timer(cx),
            CallTimer::Grace => self.on_grace_timer(cx),
            CallTimer::MediaJob => self.on_job_timeout(cx),
            CallTimer::Tone => self.on_tone_timer(cx),
            CallTimer::Statistics => self.on_statistics_timer(cx),
            // These are the phone's.
            CallTimer::Connect
            | CallTimer::KeepAlive
            | CallTimer::Pong
            | CallTimer::Reconnect
            | CallTimer::Move
            | CallTimer::Previous
            | CallTimer::Return
            | CallTimer::Register
            | CallTimer::Binding
            | CallTimer::Question
            | CallTimer::Transaction
            | CallTimer::Proxy
            | CallTimer::Subscription
            | CallTimer::Outage
            | CallTimer::Disconnect => {}
        }
    }

    fn transfer_until(&self) -> Option<Instant> {
        match (&self.transfers.ours, &self.transfers.theirs) {
            (Some(transfer), _) => transfer.until(),
            (None, Some(referral)) => referral.until(),
            (None, None) => None,
        }
    }

    /// That of the transfer, which is either ours or theirs.
    fn transfer_deadline(&mut self) -> Option<&mut Option<Instant>> {
        match (&mut self.transfers.ours, &mut self.transfers.theirs) {
            (Some(transfer), _) => Some(transfer.deadline()),
            (None, Some(referral)) => Some(referral.deadline()),
            (None, None) => None,
        }
    }

    /// The page was suspended for so long.
    pub(super) fn put_off(&mut self, by: Duration) {
        // For the far end, and for whoever pays for the call, the time did pass.
        self.timers.put_off(by, |timer| {
            !matches!(timer, CallTimer::Ring | CallTimer::MaxDuration | CallTimer::Tombstone)
        });
        if let Some(until) = self.transfer_deadline() {
            *until = until.map(|at| at + by);
        }
        if let Some(ok) = &mut self.session.pending_ok {
            ok.put_off(by);
        }
        self.session.recovery.put_off(by);
        self.session.offers.put_off(by);
        self.session.timer.put_off(by);
        self.session.tones.put_off(by);
    }

    /// How many deadlines its parts have.
    pub(super) fn deadlines(&self) -> usize {
        self.timers.len()
            + self.session.pending_ok.as_ref().map_or(0, |ok| ok.deadlines())
            + usize::from(self.transfer_until().is_some())
            + self.session.recovery.deadlines()
            + self.session.offers.deadlines()
            + self.session.timer.deadlines()
            + usize::from(self.session.tones.poll_timeout().is_some())
    }

    /// Offer and answer have been exchanged: a session timer runs in a call that is up.
    pub(super) fn start_session_timer(&mut self, now: Instant) {
        if self.is_up() {
            self.session.timer.start(now);
        } else {
            self.session.timer.stop();
        }
    }

    /// Whether a request with this From-tag belongs to one of the call's dialogs.
    pub(super) fn knows_remote_tag(&self, tag: &str) -> bool {
        self.sip.dialog.as_ref().is_some_and(|dialog| dialog.remote_tag == tag)
            || self.dialled.forks.rings(tag)
    }

    /// The dialog with this tag of the other side, confirmed or early.
    pub(super) fn dialog_to(&mut self, tag: &str) -> Option<&mut Dialog> {
        let confirmed = self.sip.dialog.as_mut().filter(|dialog| dialog.remote_tag == tag);
        confirmed.or_else(|| self.dialled.forks.dialog(tag))
    }
}

impl Call {
    /// Sends a request of this call.
    pub(super) fn send_request(
        &mut self,
        cx: &mut Cx,
        owner: Owner,
        request: Request,
        attempt: Attempt,
    ) -> Result<TxId, Error> {
        let tx = cx.send_as(owner, request, attempt, self.sip.challenged)?;
        if matches!(owner, Owner::Invite(_)) {
            self.invite_sent(cx, tx);
        }
        Ok(tx)
    }

    /// Answers a request of this call. Returns the text of the response, empty where it could not be sent.
    pub(super) fn respond_with(
        &self,
        cx: &mut Cx,
        tx: TxId,
        status: u16,
        headers: &[(&str, &str)],
        sdp: Option<String>,
    ) -> String {
        let by = Responder { tag: &self.sip.local_tag, mode: self.answer_mode(), hidden: self.sip.hidden };
        cx.respond_as(tx, status, &by, headers, sdp)
    }

    pub(super) fn set_call_state(&mut self, cx: &mut Cx, state: CallState) {
        if self.state != state && self.state != CallState::Ended {
            self.state = state;
            cx.event(Event::CallState(self.id, state));
        }
    }

    /// The call is over for the application: the media stops, and the outcome of what was waited for is told.
    /// Does nothing the second time.
    pub(super) fn report_end(
        &mut self,
        cx: &mut Cx,
        cause: EndCause,
        sip_status: Option<u16>,
        by: EndedBy,
        error: Option<Error>,
    ) {
        if self.end.is_over() {
            return;
        }
        let reason = self.end.end_with(EndReason { cause, sip_status, by, q850: None, reason_text: None });
        self.phase = Phase::Terminating;
        self.media.drop_job();
        self.session.recovery.stop();
        let theirs = self.session.offers.drop_theirs();
        let error = error.unwrap_or_else(call_ended);
        let dial_failed = self.direction == Direction::Outgoing && self.dialled.report_done();
        let answer_failed = self.answering.take_pending();
        self.timers.clear(CallTimer::AutoAnswer);
        self.timers.clear_all(&[
            CallTimer::IceGather,
            CallTimer::Ring,
            CallTimer::Reliable1xx,
            CallTimer::MediaJob,
            CallTimer::Renew,
            CallTimer::Statistics,
        ]);
        self.session.tones.stop();
        let mut infos = cx.questions.forget_of(Owner::Info(self.id));
        cx.questions.forget_of_call(self.id);
        for (_, entry) in cx.transactions.clients() {
            let is_info = entry.owner == Owner::Info(self.id);
            if is_info || entry.owner == Owner::Tone(self.id) {
                entry.owner = Owner::Nobody;
                infos += usize::from(is_info);
            }
        }
        if let Some(theirs) = theirs {
            self.respond_in_dialog(cx, theirs.tx, 487, None);
        }
        self.end_transfers(cx, sip_status, dial_failed);
        cx.ask(self.id, Ask::EndReplacement { replaced: self.succession.take_replaces(), by });
        self.hold_ended(cx);
        self.media_order(cx, MediaCommand::Close);
        // The microphone is off before the application gives headers, and the proxy hears of the end.
        if self.rest.is_some() {
            self.rest_ended(cx);
        }
        if dial_failed {
            cx.event(Event::DialDone(self.id, Err(error.clone())));
        }
        if answer_failed {
            cx.event(Event::AnswerDone(self.id, Err(error)));
        }
        for _ in 0..infos {
            cx.event(Event::InfoDone(self.id, Err(call_ended())));
        }
        self.set_call_state(cx, CallState::Ended);
        cx.event(Event::Ended(self.id, reason));
    }

    /// Nothing more is to come for this call. It is forgotten before the next input.
    pub(super) fn remove(&mut self, cx: &mut Cx) {
        self.phase = Phase::Terminating;
        self.session.pending_ok = None;
        self.timers.clear(CallTimer::Cancelled);
        if !self.lingers() {
            cx.to_remove.push(self.id);
        }
    }

    pub(super) fn hang_up(&mut self, cx: &mut Cx, cause: Option<Error>, refusal: u16) {
        if self.rest.is_some() {
            self.hang_up_rest(cx, cause);
            return;
        }
        match self.phase {
            Phase::Preparing | Phase::Inviting => self.give_up_call(cx, cause, EndedBy::Local),
            Phase::Alerting | Phase::Answering => {
                let end = cause.map_or_else(
                    || EndCause::Failed(Error::from_status(refusal, "Declined")),
                    EndCause::Failed,
                );
                self.refuse(cx, refusal, end, EndedBy::Local);
            }
            Phase::Applying | Phase::Accepted | Phase::Confirmed => {
                let end = cause.map_or(EndCause::Completed, EndCause::Failed);
                self.end_with_bye(cx, end, EndedBy::Local, None);
            }
            Phase::Terminating => self.on_peer_left(cx),
            // These are by REST only.
            Phase::Originating | Phase::Outcome => {}
        }
    }
}
