//! Call transfer (RFC 3515, RFC 5589): blind and attended, as transferor, transferee and target.

use core::time::Duration;

use super::call::{Call, Phase};
use super::transactions::{Owner, TxId};
use super::{
    CallId, CallTimer, DialRequest, EndCause, EndedBy, Event, LogLevel, MediaCommand, Phone, TimerKey,
    TransferState, TransferTarget,
};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::header::{NameAddr, Params, split_before};
use crate::sip::message::{Method, Request, Response, default_reason};
use crate::sip::uri::{Uri, UriError, escape_header};
use crate::text::{before, concat, digits, number, split_once};

/// Longest wait for the other side to agree to being held before it is transferred.
const HOLD_TIMEOUT: Duration = Duration::from_secs(10);
/// From the REFER until its outcome: a target rings for three minutes at most, and the news of it takes its time.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(200);
/// The transferee has hung up: its last NOTIFY may still be under way (RFC 5057, section 4.1).
const LAST_NOTIFY: Duration = Duration::from_secs(4);
/// How long the application may think about a transfer that it is asked for.
const DECISION_TIMEOUT: Duration = Duration::from_secs(60);
/// The new call is up and the transferor does not hang up.
const FAREWELL: Duration = Duration::from_secs(5);

/// How far a transfer of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The calls are being held.
    Holding,
    /// REFER is out.
    Referred,
    /// REFER has been accepted.
    Accepted,
    /// The other side has hung up since; the end of the call is told with the outcome of the transfer.
    Departed,
}

/// A transfer that we have asked the other side for.
#[derive(Debug)]
pub(super) struct Transfer {
    refer_to: String,
    /// Attended: the call with the target.
    other: Option<CallId>,
    progress: Progress,
    /// The calls that are not held yet.
    holding: Vec<CallId>,
    /// CSeq of the REFER: the id of its subscription (RFC 3515, section 2.4.6).
    seq: Option<u32>,
    told: Option<TransferState>,
}

/// A transfer that the other side asks us for.
#[derive(Debug)]
pub(super) struct Referral {
    target: String,
    replaces: Option<String>,
    referred_by: Option<String>,
    subscription: Subscribed,
    /// Accepted: the call that was made for it.
    call: Option<CallId>,
    /// The other side has been put on hold for it, and by nobody else.
    pub(super) put_on_hold: bool,
}

/// The implicit subscription of a REFER, as its notifier.
#[derive(Debug, Clone, Copy)]
struct Subscribed {
    /// CSeq of the REFER.
    seq: u32,
    /// `false` where it was not wanted (RFC 4488) or is over.
    wanted: bool,
    /// The last status reported.
    status: u16,
}

/// Who asked us to make a call.
#[derive(Debug)]
pub(super) struct Referrer {
    call: CallId,
    /// What is left of the call with it once that is over: the subscription lives on in the dialog (RFC 5057).
    orphan: Option<(Dialog, Subscribed)>,
}

impl Call {
    /// The other side may hang up: it has taken the transfer on and owes us its outcome.
    pub(super) fn awaits_transfer(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.progress == Progress::Accepted)
    }

    fn departed(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.progress == Progress::Departed)
    }
}

impl Phone {
    // ---- as the transferor

    pub(super) fn start_transfer(&mut self, id: CallId, target: TransferTarget) -> Result<(), Error> {
        self.transferable(id)?;
        let (refer_to, other) = match target {
            TransferTarget::Uri(target) => {
                let uri = Uri::parse(&target).ok().filter(|uri| uri.headers.is_none());
                let uri = uri.ok_or_else(|| {
                    Error::new(ErrorCode::InvalidDestination, "The destination is not a SIP URI")
                })?;
                (concat(&["<", &uri.to_text(), ">"]), None)
            }
            TransferTarget::Call(other) => {
                if other == id {
                    return Err(invalid("A call cannot be transferred to itself"));
                }
                let refer_to = replacing(self.transferable(other)?)
                    .ok_or_else(|| invalid("The other side of that call has no SIP address"))?;
                (refer_to, Some(other))
            }
        };
        let mut holding = Vec::new();
        for call in core::iter::once(id).chain(other) {
            if self.calls.get(&call).is_some_and(|call| !call.offers.local_hold()) {
                holding.push(call);
            }
        }
        if let Some(call) = self.calls.get_mut(&id) {
            let progress = Progress::Holding;
            let holding = holding.clone();
            let transfer = Transfer { refer_to, other, progress, holding, seq: None, told: None };
            call.transfer = Some(Box::new(transfer));
        }
        self.timers.set(TimerKey::Call(id, CallTimer::Transfer), self.now + HOLD_TIMEOUT);
        for call in holding {
            // A call that cannot be held now can be transferred all the same.
            if let Err(error) = self.hold_unasked(call) {
                self.log(LogLevel::Warn, &["not held before the transfer: ", &error.message]);
                self.on_hold_outcome(call);
            }
        }
        self.refer_if_held(id);
        Ok(())
    }

    /// The call, if it can take part in a transfer.
    fn transferable(&self, id: CallId) -> Result<&Call, Error> {
        let call = self
            .calls
            .get(&id)
            .filter(|call| call.phase != Phase::Terminating)
            .ok_or_else(super::call_ended)?;
        let busy = call.transfer.is_some()
            || call.referral.is_some()
            || self
                .calls
                .values()
                .any(|call| call.transfer.as_ref().is_some_and(|transfer| transfer.other == Some(id)));
        if busy {
            return Err(invalid("A transfer of this call is under way"));
        }
        if call.phase != Phase::Confirmed || call.rest.is_some() {
            return Err(invalid("This call cannot be transferred now"));
        }
        Ok(call)
    }

    /// `hold` of this call has come to its end, one way or the other.
    pub(super) fn on_hold_outcome(&mut self, id: CallId) {
        let mut waiting = None;
        for call in self.calls.values_mut() {
            if let Some(transfer) = call.transfer.as_mut()
                && transfer.holding.contains(&id)
            {
                transfer.holding.retain(|call| *call != id);
                waiting = Some(call.id);
            }
        }
        if let Some(id) = waiting {
            self.refer_if_held(id);
        }
    }

    fn refer_if_held(&mut self, id: CallId) {
        let aor = self.config.uri.aor();
        let contact = self.contact();
        // A call that ends meanwhile takes its transfer with it.
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        let Some(transfer) = call
            .transfer
            .as_mut()
            .filter(|transfer| transfer.progress == Progress::Holding && transfer.holding.is_empty())
        else {
            return;
        };
        transfer.progress = Progress::Referred;
        let Some(dialog) = call.dialog.as_mut() else { return };
        let mut refer = dialog.request(Method::Refer, None);
        refer.headers.push_all(&[
            ("Contact", &contact),
            ("Refer-To", &transfer.refer_to),
            ("Allow", super::ALLOW),
            ("Supported", "replaces, norefersub"),
            ("Accept", "message/sipfrag"),
        ]);
        if !call.hidden {
            refer.headers.push("Referred-By", concat(&["<", &aor, ">"]));
        }
        self.timers.set(TimerKey::Call(id, CallTimer::Transfer), self.now + OUTCOME_TIMEOUT);
        if let Err(error) = self.send_request(Owner::Refer(id), refer, Attempt::default()) {
            self.transfer_failed(id, None, error);
        }
    }

    pub(super) fn on_refer_response(&mut self, id: CallId, response: &Response) {
        let Some(transfer) = self.calls.get_mut(&id).and_then(|call| call.transfer.as_mut()) else { return };
        match response.status {
            100..=199 => {}
            200..=299 => {
                if transfer.progress == Progress::Referred {
                    transfer.progress = Progress::Accepted;
                }
                transfer.seq = response.headers.seq();
                // RFC 4488: nothing more will be said of it.
                if refer_sub_is_false(&response.headers) {
                    self.transfer_succeeded(id, response.status);
                } else {
                    self.tell_transfer(id, TransferState::Trying, Some(response.status));
                }
            }
            status => {
                self.transfer_failed(id, Some(status), Error::from_status(status, &response.reason));
            }
        }
    }

    pub(super) fn refer_failed(&mut self, id: CallId, error: Error) {
        self.transfer_failed(id, None, error);
    }

    /// NOTIFY within a call's dialog: that of a REFER, implicit subscription (RFC 3515, section 2.4.4).
    pub(super) fn on_refer_notify(&mut self, id: CallId, tx: TxId, request: &Request) {
        let Some(event) = refer_event(request) else {
            self.respond_with(tx, 489, None, &[("Allow-Events", "refer")], None);
            return;
        };
        let transfer = self.calls.get_mut(&id).and_then(|call| call.transfer.as_mut());
        // The NOTIFY may overtake the response to the REFER (RFC 3515, section 2.4.4).
        let Some(transfer) = transfer.filter(|transfer| {
            transfer.progress != Progress::Holding
                && (event.is_none() || transfer.seq.is_none() || event == transfer.seq)
        }) else {
            self.respond(tx, 481);
            return;
        };
        if transfer.progress == Progress::Referred {
            transfer.progress = Progress::Accepted;
        }
        self.respond(tx, 200);
        let (state, params) =
            split_before(request.headers.get("Subscription-State").unwrap_or_default(), b';');
        let params = Params::parse(params);
        let terminated = state.trim_ascii().eq_ignore_ascii_case("terminated");
        let reported = sipfrag(request);
        match reported {
            Some((status @ 200..=299, _)) => self.transfer_succeeded(id, status),
            Some((status @ 300.., phrase)) => {
                self.transfer_failed(id, Some(status), Error::from_status(status, phrase));
            }
            // A peer in wide use calls every NOTIFY the last one, and then goes on; but it gives no reason.
            _ if terminated && (reported.is_none() || params.contains("reason")) => {
                let error = match params.get("reason") {
                    Some("timeout") => Error::new(ErrorCode::Timeout, "The transfer took too long"),
                    Some("rejected") => Error::new(ErrorCode::Declined, "The transfer was declined"),
                    _ => Error::new(
                        ErrorCode::ServerError,
                        "The other side does not report the outcome of the transfer",
                    ),
                };
                self.transfer_failed(id, None, error);
            }
            Some((100, _)) => self.tell_transfer(id, TransferState::Trying, Some(100)),
            Some((status, _)) => self.tell_transfer(id, TransferState::Ringing, Some(status)),
            None => {}
        }
    }

    fn tell_transfer(&mut self, id: CallId, state: TransferState, status: Option<u16>) {
        let Some(transfer) = self.calls.get_mut(&id).and_then(|call| call.transfer.as_mut()) else { return };
        // The 202 and the NOTIFY of 100 say the same.
        if transfer.told == Some(state) || (transfer.told.is_some() && state == TransferState::Trying) {
            return;
        }
        transfer.told = Some(state);
        self.event(Event::Transfer(id, state, status));
    }

    fn transfer_succeeded(&mut self, id: CallId, status: u16) {
        let Some((other, departed)) = self.take_transfer_of(id) else { return };
        self.event(Event::Transfer(id, TransferState::Accepted, Some(status)));
        self.event(Event::TransferDone(id, Ok(())));
        self.end_departed(id, departed);
        // What the other side or the target has ended already is not up any more.
        for call in core::iter::once(id).chain(other) {
            self.end_with_bye(call, EndCause::Completed, EndedBy::Local, None);
        }
    }

    /// The call goes on as it is, held; unless the other side has left.
    fn transfer_failed(&mut self, id: CallId, status: Option<u16>, error: Error) {
        let Some((_, departed)) = self.take_transfer_of(id) else { return };
        self.event(Event::Transfer(id, TransferState::Failed, status));
        self.event(Event::TransferDone(id, Err(error)));
        self.end_departed(id, departed);
    }

    fn take_transfer_of(&mut self, id: CallId) -> Option<(Option<CallId>, bool)> {
        let transfer = self.calls.get_mut(&id)?.transfer.take()?;
        self.timers.clear(TimerKey::Call(id, CallTimer::Transfer));
        for (_, entry) in self.transactions.clients() {
            if entry.owner == Owner::Refer(id) {
                entry.owner = Owner::Nobody;
            }
        }
        self.forget_questions_of(Owner::Refer(id));
        Some((transfer.other, transfer.progress == Progress::Departed))
    }

    /// The other side hangs up a call that is being transferred. It leaves when the new call is up, and its report
    /// of that may follow.
    pub(super) fn depart(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(transfer) = call.transfer.as_mut() else { return };
        transfer.progress = Progress::Departed;
        call.phase = Phase::Terminating;
        call.pending_ok = None;
        self.media_order(id, MediaCommand::Close);
        self.timers.set(TimerKey::Call(id, CallTimer::Transfer), self.now + LAST_NOTIFY);
    }

    /// Nothing more is waited for.
    pub(super) fn on_peer_left(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.departed()) {
            self.transfer_failed(id, None, departed());
        }
    }

    fn end_departed(&mut self, id: CallId, departed: bool) {
        if departed {
            self.report_end(id, EndCause::Completed, None, EndedBy::Remote, None);
            self.remove(id);
        }
    }

    pub(super) fn on_transfer_timeout(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(transfer) = call.transfer.as_mut() {
            match transfer.progress {
                Progress::Holding => {
                    transfer.holding.clear();
                    self.refer_if_held(id);
                }
                Progress::Departed => self.on_peer_left(id),
                Progress::Referred | Progress::Accepted => {
                    let error =
                        Error::new(ErrorCode::Timeout, "The outcome of the transfer was not reported");
                    self.transfer_failed(id, None, error);
                }
            }
        } else if let Some(referral) = call.referral.as_ref() {
            if referral.call.is_some() {
                self.end_with_bye(id, EndCause::Completed, EndedBy::Local, None);
            } else {
                self.end_referral(id, 480);
            }
        }
    }

    /// The call is over, and with it what depends on it; `dial_failed`: it has never been up.
    pub(super) fn end_transfers(&mut self, id: CallId, status: Option<u16>, dial_failed: bool) {
        self.transfer_failed(id, None, super::call_ended());
        self.on_hold_outcome(id);
        if dial_failed {
            self.tell_referrer(id, status.filter(|status| *status >= 300).unwrap_or(487));
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(referral) = call.referral.as_ref() else { return };
        let Some(new) = referral.call else {
            self.end_referral(id, 487);
            return;
        };
        let subscription = referral.subscription;
        let dialog = call.dialog.clone();
        call.referral = None;
        self.timers.clear(TimerKey::Call(id, CallTimer::Transfer));
        if let Some(referrer) = self.calls.get_mut(&new).and_then(|call| call.referrer.as_mut()) {
            referrer.orphan = dialog.map(|mut dialog| {
                // Our own BYE, maybe twice for a challenge, takes numbers too; gaps do no harm.
                dialog.local_seq = dialog.local_seq.saturating_add(16);
                (dialog, subscription)
            });
        }
    }

    // ---- as the transferee

    pub(super) fn on_refer(&mut self, id: CallId, tx: TxId, request: &Request) {
        let (uri, target) = match self.refer_target(id, request) {
            Ok(target) => target,
            Err(status) => {
                self.respond_with(tx, status, Some(id), &[], None);
                return;
            }
        };
        let wanted = !refer_sub_is_false(&request.headers);
        let contact = self.contact();
        let headers = [("Contact", contact.as_str()), ("Refer-Sub", "false")];
        let headers = if wanted { headers.get(..1).unwrap_or_default() } else { &headers };
        self.respond_with(tx, 202, Some(id), headers, None);
        let referred_by = request.headers.get("Referred-By").map(str::to_owned);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.referral = Some(Box::new(Referral {
            target: target.clone(),
            replaces: uri.header("Replaces"),
            referred_by: referred_by.clone(),
            subscription: Subscribed { seq: request.headers.seq().unwrap_or(0), wanted, status: 100 },
            call: None,
            put_on_hold: false,
        }));
        self.timers.set(TimerKey::Call(id, CallTimer::Transfer), self.now + DECISION_TIMEOUT);
        // At once, before anything is known (RFC 3515, section 2.4.4).
        self.notify_referrer(id);
        self.event(Event::TransferRequested { call: id, target, referred_by });
    }

    /// Whom a REFER names, or why it is refused.
    fn refer_target(&self, id: CallId, request: &Request) -> Result<(Uri, String), u16> {
        let call = self.calls.get(&id).ok_or(481_u16)?;
        if call.phase != Phase::Confirmed {
            return Err(if call.is_up() { 491 } else { 481 });
        }
        if call.rest.is_some() {
            return Err(403);
        }
        let mut lines = request.headers.get_all("Refer-To");
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(400) };
        let address = NameAddr::parse(line).map_err(|_| 400_u16)?;
        let mut uri = Uri::parse(&address.uri).map_err(|error| match error {
            UriError::Scheme => 416_u16,
            _ => 400,
        })?;
        // Only calls are made for others.
        if uri.params.get("method").is_some_and(|method| method != "INVITE") {
            return Err(403);
        }
        if call.referral.is_some() || call.transfer.is_some() {
            return Err(491);
        }
        uri.params.remove("method");
        // Of the headers in the URI only Replaces is taken: the rest could be anything.
        let target = Uri { headers: None, ..uri.clone() }.to_text();
        Ok((uri, target))
    }

    pub(super) fn take_transfer(&mut self, id: CallId) -> Result<CallId, Error> {
        let call = self
            .calls
            .get(&id)
            .filter(|call| call.phase != Phase::Terminating)
            .ok_or_else(super::call_ended)?;
        let Some(referral) = call.referral.as_ref().filter(|referral| referral.call.is_none()) else {
            return Err(invalid("The other side asks for no transfer"));
        };
        let target = referral.target.clone();
        let dial = DialRequest { target, continues: Some(id), ..DialRequest::default() };
        let (replaces, referred_by) = (referral.replaces.clone(), referral.referred_by.clone());
        let held = call.offers.local_hold();
        let mut own = Vec::new();
        if let Some(value) = &replaces {
            own.push(("Replaces", value.as_str()));
            // RFC 3891, section 4: without it the target would ring as for any other call.
            own.push(("Require", "replaces"));
        }
        if let Some(value) = &referred_by {
            own.push(("Referred-By", value.as_str()));
        }
        let new = self.start_dial(dial, &own)?;
        self.timers.clear(TimerKey::Call(id, CallTimer::Transfer));
        if let Some(referral) = self.calls.get_mut(&id).and_then(|call| call.referral.as_mut()) {
            referral.call = Some(new);
        }
        if let Some(call) = self.calls.get_mut(&new) {
            call.referrer = Some(Box::new(Referrer { call: id, orphan: None }));
        }
        if !held {
            match self.hold_unasked(id) {
                Ok(()) => {
                    if let Some(referral) = self.calls.get_mut(&id).and_then(|call| call.referral.as_mut()) {
                        referral.put_on_hold = true;
                    }
                }
                Err(error) => {
                    self.log(LogLevel::Warn, &["not held during the transfer: ", &error.message]);
                }
            }
        }
        Ok(new)
    }

    pub(super) fn refuse_transfer(&mut self, id: CallId) {
        let pending = self.calls.get(&id).and_then(|call| call.referral.as_ref());
        if pending.is_some_and(|referral| referral.call.is_none()) {
            self.end_referral(id, 603);
        }
    }

    /// Nothing comes of it.
    fn end_referral(&mut self, id: CallId, status: u16) {
        self.set_referral_status(id, status);
        if let Some(call) = self.calls.get_mut(&id) {
            call.referral = None;
            self.timers.clear(TimerKey::Call(id, CallTimer::Transfer));
        }
    }

    fn set_referral_status(&mut self, id: CallId, status: u16) {
        let Some(referral) = self.calls.get_mut(&id).and_then(|call| call.referral.as_mut()) else { return };
        if referral.subscription.status != status {
            referral.subscription.status = status;
            self.notify_referrer(id);
        }
    }

    /// The call that was made for somebody has come further.
    pub(super) fn tell_referrer(&mut self, id: CallId, status: u16) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(referrer) = call.referrer.as_mut() else { return };
        let old = referrer.call;
        let orphan = referrer
            .orphan
            .as_mut()
            .filter(|(_, subscription)| subscription.wanted && subscription.status != status);
        let notify = orphan.map(|(dialog, subscription)| {
            subscription.status = status;
            notify(dialog, *subscription, &contact)
        });
        let over = referrer.orphan.is_some();
        if status >= 200 {
            call.referrer = None;
        }
        if let Some(notify) = notify {
            self.send_notify(Owner::Nobody, notify);
        }
        if over {
            return;
        }
        self.set_referral_status(old, status);
        match status {
            100..=199 => {}
            200..=299 => {
                self.event(Event::Replaced { old, new: id });
                self.timers.set(TimerKey::Call(old, CallTimer::Transfer), self.now + FAREWELL);
            }
            _ => {
                let referral = self.calls.get_mut(&old).and_then(|call| call.referral.take());
                // The two talk to each other again.
                if referral.is_some_and(|referral| referral.put_on_hold) {
                    self.take_back_hold(old);
                }
            }
        }
    }

    /// Tells the transferor how it stands.
    fn notify_referrer(&mut self, id: CallId) {
        let contact = self.contact();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(referral) = call.referral.as_mut().filter(|referral| referral.subscription.wanted) else {
            return;
        };
        let Some(dialog) = call.dialog.as_mut() else { return };
        let request = notify(dialog, referral.subscription, &contact);
        self.send_notify(Owner::ReferNotify(id), request);
    }

    fn send_notify(&mut self, owner: Owner, request: Request) {
        if let Err(error) = self.send_request(owner, request, Attempt::default()) {
            self.log(LogLevel::Warn, &["NOTIFY could not be sent: ", &error.message]);
        }
    }

    pub(super) fn on_refer_notify_response(&mut self, id: CallId, response: &Response) {
        // The subscription is gone (RFC 6665, section 4.2.2); the call is not.
        if response.status >= 300 {
            self.refer_notify_failed(id);
        }
    }

    pub(super) fn refer_notify_failed(&mut self, id: CallId) {
        if let Some(referral) = self.calls.get_mut(&id).and_then(|call| call.referral.as_mut()) {
            referral.subscription.wanted = false;
        }
    }

    /// The transferor refreshes or ends its implicit subscription (RFC 3515, section 2.4.4).
    pub(super) fn on_refer_subscribe(&mut self, id: CallId, tx: TxId, request: &Request) {
        let Some(event) = refer_event(request) else {
            self.respond_with(tx, 489, None, &[("Allow-Events", "refer")], None);
            return;
        };
        let referral = self.calls.get(&id).and_then(|call| call.referral.as_ref());
        let known = referral.is_some_and(|referral| {
            let known = referral.subscription;
            known.wanted && known.status < 200 && event.is_none_or(|seq| seq == known.seq)
        });
        if !known {
            self.respond(tx, 481);
            return;
        }
        let ends = request.headers.number("Expires") == Some(0);
        let expires = if ends { "0" } else { EXPIRES };
        let contact = self.contact();
        self.respond_with(tx, 200, Some(id), &[("Contact", &contact), ("Expires", expires)], None);
        self.notify_referrer(id);
        if ends {
            self.refer_notify_failed(id);
        }
    }
}

/// Lifetime of the subscription of a REFER: longer than any call rings.
const EXPIRES: &str = "240";

/// NOTIFY with the status line that is reported (RFC 3515, section 2.4.5; RFC 3420).
fn notify(dialog: &mut Dialog, subscription: Subscribed, contact: &str) -> Request {
    let Subscribed { seq, status, .. } = subscription;
    let mut request = dialog.request(Method::Notify, None);
    let state = match status {
        100..=199 => concat(&["active;expires=", EXPIRES]),
        _ => "terminated;reason=noresource".to_owned(),
    };
    request.headers.push_all(&[
        ("Contact", contact),
        ("Event", &concat(&["refer;id=", &digits(seq)])),
        ("Subscription-State", &state),
        ("Content-Type", "message/sipfrag;version=2.0"),
    ]);
    let line = concat(&["SIP/2.0 ", &digits(status), " ", &default_reason(status), "\r\n"]);
    request.body = line.into_bytes();
    request
}

/// `None`: another event; else the id of the subscription, where there is one.
fn refer_event(request: &Request) -> Option<Option<u32>> {
    let (event, params) = split_before(request.headers.get("Event").unwrap_or_default(), b';');
    event
        .trim_ascii()
        .eq_ignore_ascii_case("refer")
        // What is no number is the id of nothing.
        .then(|| Params::parse(params).get("id").map(|id| number(id).unwrap_or(u32::MAX)))
}

/// Status and phrase of the response that a NOTIFY tells of (RFC 3420).
fn sipfrag(request: &Request) -> Option<(u16, &str)> {
    let kind = before(request.headers.content_type()?, b';');
    if !kind.trim_ascii().eq_ignore_ascii_case("message/sipfrag") {
        return None;
    }
    let line = before(core::str::from_utf8(&request.body).ok()?, b'\n').trim_ascii();
    let (version, rest) = split_once(line, b' ')?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let (status, phrase) = split_before(rest, b' ');
    let status = number(status).filter(|status| (100..=699).contains(status))?;
    Some((u16::try_from(status).ok()?, phrase.trim_ascii()))
}

/// RFC 4488.
fn refer_sub_is_false(headers: &crate::sip::message::Headers) -> bool {
    headers
        .get("Refer-Sub")
        .is_some_and(|value| before(value, b';').trim_ascii().eq_ignore_ascii_case("false"))
}

/// Refer-To for the other side of this call, whose place in it is to be taken (RFC 3891, RFC 5589, section 7).
fn replacing(call: &Call) -> Option<String> {
    let (uri, replaces) = place_of(call)?;
    let headers = Some(concat(&["Replaces=", &escape_header(&replaces)]));
    Some(concat(&["<", &Uri { headers, ..uri }.to_text(), ">"]))
}

/// Where the other side of this call is to be called, and the Replaces that takes our place there.
pub(super) fn place_of(call: &Call) -> Option<(Uri, String)> {
    let dialog = call.dialog.as_ref()?;
    // The Contact of a browser (RFC 7118, section 5) leads nowhere but through its own proxy: then the address of
    // record, and whichever device has the dialog takes the call.
    let contact = Uri::parse(dialog.remote_target()).ok().filter(|uri| !uri.host.ends_with(".invalid"));
    let uri = contact.or_else(|| Uri::parse(&call.remote_uri).ok())?;
    // The tags as the target sees them: its own is the To-tag.
    let to_tag = if dialog.remote_tag.is_empty() { "0" } else { dialog.remote_tag.as_str() };
    let replaces = concat(&[&dialog.call_id, ";to-tag=", to_tag, ";from-tag=", &dialog.local_tag]);
    Some((uri, replaces))
}

#[cold]
fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorCode::InvalidState, problem)
}

#[cold]
fn departed() -> Error {
    Error::new(ErrorCode::Ended, "The other side hung up and did not report the outcome of the transfer")
}
