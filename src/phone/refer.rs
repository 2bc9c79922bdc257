//! REFER and its NOTIFY (RFC 3515, RFC 5589), either way: the transferor, the transferee, and with `replaces` the target.

use super::call::{Call, Phase};
use super::calls::Calls;
use super::capabilities;
use super::context::Cx;
use super::env::Ask;
use super::timers::TxId;
use super::transactions::Owner;
use super::transfer::{EXPIRES, Missing, News, Referral, refer_event, refer_sub_is_false};
use super::{CallId, EndCause, EndedBy, Event, LogLevel, MediaCommand, TransferState};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::NameAddr;
use crate::sip::message::{Method, Request, Response};
use crate::sip::uri::{Uri, UriError, escape_header};
use crate::text::concat;

impl Calls {
    /// The call, if it can take part in a transfer.
    pub(super) fn transferable(&self, id: CallId) -> Result<&Call, Error> {
        let call =
            self.get(id).filter(|call| call.phase != Phase::Terminating).ok_or_else(super::call_ended)?;
        let busy = call.transfers.ours.is_some()
            || call.transfers.theirs.is_some()
            || self.iter().any(|call| {
                call.transfers.ours.as_ref().is_some_and(|transfer| transfer.other() == Some(id))
            });
        if busy {
            return Err(invalid("A transfer of this call is under way"));
        }
        if call.phase != Phase::Confirmed || call.rest.is_some() {
            return Err(invalid("This call cannot be transferred now"));
        }
        Ok(call)
    }
}

impl Call {
    pub(super) fn refer_if_held(&mut self, cx: &mut Cx) {
        let aor = cx.env.config.uri.aor();
        let contact = cx.contact();
        // A call that ends meanwhile takes its transfer with it.
        if self.phase != Phase::Confirmed {
            return;
        }
        let Some(refer_to) = self.transfers.ours.as_mut().and_then(|transfer| transfer.refer(cx.env.now))
        else {
            return;
        };
        let Some(dialog) = self.sip.dialog.as_mut() else { return };
        let mut refer = dialog.request(Method::Refer, None);
        refer.headers.push_all(&[
            ("Contact", &contact),
            ("Refer-To", refer_to),
            ("Allow", capabilities::ALLOW),
            ("Supported", "replaces, norefersub"),
            ("Accept", "message/sipfrag"),
        ]);
        if !self.sip.hidden {
            refer.headers.push("Referred-By", concat(&["<", &aor, ">"]));
        }
        if let Err(error) = self.send_request(cx, Owner::Refer(self.id), refer, Attempt::default()) {
            self.transfer_failed(cx, None, error);
        }
    }

    pub(super) fn on_refer_response(&mut self, cx: &mut Cx, response: &Response) {
        let Some(transfer) = self.transfers.ours.as_mut() else { return };
        let news = transfer.on_response(response);
        self.on_transfer_news(cx, news);
    }

    fn on_transfer_news(&mut self, cx: &mut Cx, news: News) {
        match news {
            News::None => {}
            News::Going(state, status) => {
                let transfer = self.transfers.ours.as_mut();
                if transfer.is_some_and(|transfer| transfer.tell(state)) {
                    cx.event(Event::Transfer(self.id, state, Some(status)));
                }
            }
            News::Succeeded(status) => self.transfer_succeeded(cx, status),
            News::Failed(status, error) => self.transfer_failed(cx, status, error),
        }
    }

    pub(super) fn refer_failed(&mut self, cx: &mut Cx, error: Error) {
        self.transfer_failed(cx, None, error);
    }

    /// NOTIFY within a call's dialog: that of a REFER, implicit subscription (RFC 3515, section 2.4.4).
    pub(super) fn on_refer_notify(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        let Some(event) = refer_event(request) else {
            cx.respond_with(tx, 489, &[("Allow-Events", "refer")]);
            return;
        };
        let transfer = self.transfers.ours.as_mut();
        let Some(news) = transfer.and_then(|transfer| transfer.on_notify(event, request)) else {
            cx.respond(tx, 481);
            return;
        };
        cx.respond(tx, 200);
        self.on_transfer_news(cx, news);
    }

    fn transfer_succeeded(&mut self, cx: &mut Cx, status: u16) {
        let Some((other, departed)) = self.take_transfer_of(cx) else { return };
        cx.event(Event::Transfer(self.id, TransferState::Accepted, Some(status)));
        cx.event(Event::TransferDone(self.id, Ok(())));
        self.end_departed(cx, departed);
        // What the other side or the target has ended already is not up any more.
        self.end_with_bye(cx, EndCause::Completed, EndedBy::Local, None);
        if let Some(other) = other {
            cx.ask(self.id, Ask::HangUp(other));
        }
    }

    /// The call goes on as it is, held; unless the other side has left.
    fn transfer_failed(&mut self, cx: &mut Cx, status: Option<u16>, error: Error) {
        let Some((_, departed)) = self.take_transfer_of(cx) else { return };
        cx.event(Event::Transfer(self.id, TransferState::Failed, status));
        cx.event(Event::TransferDone(self.id, Err(error)));
        self.end_departed(cx, departed);
    }

    fn take_transfer_of(&mut self, cx: &mut Cx) -> Option<(Option<CallId>, bool)> {
        let transfer = self.transfers.ours.take()?;
        for (_, entry) in cx.transactions.clients() {
            if entry.owner == Owner::Refer(self.id) {
                entry.owner = Owner::Nobody;
            }
        }
        cx.questions.forget_of(Owner::Refer(self.id));
        Some((transfer.other(), transfer.has_departed()))
    }

    /// The other side hangs up a call that is being transferred. It leaves when the new call is up, and its report
    /// of that may follow.
    pub(super) fn depart(&mut self, cx: &mut Cx) {
        let Some(transfer) = self.transfers.ours.as_mut() else { return };
        transfer.depart(cx.env.now);
        self.phase = Phase::Terminating;
        self.session.pending_ok = None;
        self.media_order(cx, MediaCommand::Close);
    }

    /// Nothing more is waited for.
    pub(super) fn on_peer_left(&mut self, cx: &mut Cx) {
        if self.transfers.ours.as_ref().is_some_and(|transfer| transfer.has_departed()) {
            self.transfer_failed(cx, None, departed());
        }
    }

    fn end_departed(&mut self, cx: &mut Cx, departed: bool) {
        if departed {
            self.report_end(cx, EndCause::Completed, None, EndedBy::Remote, None);
            self.remove(cx);
        }
    }

    pub(super) fn on_transfer_timeout(&mut self, cx: &mut Cx) {
        if let Some(transfer) = self.transfers.ours.as_mut() {
            match transfer.give_up() {
                Missing::Hold => self.refer_if_held(cx),
                Missing::LastNotify => self.on_peer_left(cx),
                Missing::Outcome => {
                    let error =
                        Error::new(ErrorCode::Timeout, "The outcome of the transfer was not reported");
                    self.transfer_failed(cx, None, error);
                }
            }
        } else if let Some(referral) = self.transfers.theirs.as_ref() {
            if referral.call().is_some() {
                self.end_with_bye(cx, EndCause::Completed, EndedBy::Local, None);
            } else {
                self.end_referral(cx, 480);
            }
        }
    }

    /// The call is over, and with it what depends on it; `dial_failed`: it has never been up.
    pub(super) fn end_transfers(&mut self, cx: &mut Cx, status: Option<u16>, dial_failed: bool) {
        self.transfer_failed(cx, None, super::call_ended());
        cx.ask(self.id, Ask::GoOnWithTransfer);
        if dial_failed {
            self.tell_referrer(cx, status.filter(|status| *status >= 300).unwrap_or(487));
        }

        let Some(referral) = self.transfers.theirs.as_ref() else { return };
        let Some(new) = referral.call() else {
            self.end_referral(cx, 487);
            return;
        };
        let dialog = self.sip.dialog.clone();
        let Some(referral) = self.transfers.theirs.take() else { return };
        cx.ask(self.id, Ask::OutliveReferral { new, referral, dialog });
    }

    // ---- as the transferee

    pub(super) fn on_refer(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        let (uri, target) = match self.refer_target(request) {
            Ok(target) => target,
            Err(status) => {
                self.respond_with(cx, tx, status, &[], None);
                return;
            }
        };
        let wanted = !refer_sub_is_false(&request.headers);
        let contact = cx.contact();
        let headers = [("Contact", contact.as_str()), ("Refer-Sub", "false")];
        let headers = if wanted { headers.get(..1).unwrap_or_default() } else { &headers };
        self.respond_with(cx, tx, 202, headers, None);

        let referral = Referral::new(target.clone(), uri.header("Replaces"), request, wanted, cx.env.now);
        let referred_by = referral.referred_by().map(str::to_owned);
        self.transfers.theirs = Some(Box::new(referral));
        // At once, before anything is known (RFC 3515, section 2.4.4).
        self.notify_referrer(cx);
        cx.event(Event::TransferRequested { call: self.id, target, referred_by });
    }

    /// Whom a REFER names, or why it is refused.
    fn refer_target(&self, request: &Request) -> Result<(Uri, String), u16> {
        if self.phase != Phase::Confirmed {
            return Err(if self.is_up() { 491 } else { 481 });
        }
        if self.rest.is_some() {
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
        if self.transfers.theirs.is_some() || self.transfers.ours.is_some() {
            return Err(491);
        }
        uri.params.remove("method");
        // Of the headers in the URI only Replaces is taken: the rest could be anything.
        let target = Uri { headers: None, ..uri.clone() }.to_text();
        Ok((uri, target))
    }

    pub(super) fn refuse_transfer(&mut self, cx: &mut Cx) {
        let pending = self.transfers.theirs.as_ref();
        if pending.is_some_and(|referral| referral.call().is_none()) {
            self.end_referral(cx, 603);
        }
    }

    /// Nothing comes of it.
    fn end_referral(&mut self, cx: &mut Cx, status: u16) {
        self.set_referral_status(cx, status);
        self.transfers.theirs = None;
    }

    pub(super) fn set_referral_status(&mut self, cx: &mut Cx, status: u16) {
        let Some(referral) = self.transfers.theirs.as_mut() else { return };
        if referral.set_status(status) {
            self.notify_referrer(cx);
        }
    }

    /// The call that was made for somebody has come further.
    pub(super) fn tell_referrer(&mut self, cx: &mut Cx, status: u16) {
        let contact = cx.contact();

        let Some(referrer) = self.dialled.referrer() else { return };
        let (old, notify) = (referrer.call(), referrer.notify(status, &contact));
        if status >= 200 {
            self.dialled.set_referrer(None);
        }
        if let Some(notify) = notify {
            cx.send_notify(Owner::Nobody, notify);
        }
        let Some(old) = old else { return };
        cx.ask(self.id, Ask::TellReferral { old, status });
    }

    /// Tells the transferor how it stands.
    fn notify_referrer(&mut self, cx: &mut Cx) {
        let contact = cx.contact();

        let (Some(referral), Some(dialog)) = (&self.transfers.theirs, self.sip.dialog.as_mut()) else {
            return;
        };
        if let Some(request) = referral.notify(dialog, &contact) {
            cx.send_notify(Owner::ReferNotify(self.id), request);
        }
    }

    pub(super) fn on_refer_notify_response(&mut self, response: &Response) {
        // The subscription is gone (RFC 6665, section 4.2.2); the call is not.
        if response.status >= 300 {
            self.refer_notify_failed();
        }
    }

    pub(super) fn refer_notify_failed(&mut self) {
        if let Some(referral) = self.transfers.theirs.as_mut() {
            referral.unsubscribe();
        }
    }

    /// The transferor refreshes or ends its implicit subscription (RFC 3515, section 2.4.4).
    pub(super) fn on_refer_subscribe(&mut self, cx: &mut Cx, tx: TxId, request: &Request) {
        let Some(event) = refer_event(request) else {
            cx.respond_with(tx, 489, &[("Allow-Events", "refer")]);
            return;
        };
        let referral = self.transfers.theirs.as_ref();
        if !referral.is_some_and(|referral| referral.is_subscribed(event)) {
            cx.respond(tx, 481);
            return;
        }
        let ends = request.headers.number("Expires") == Some(0);
        let expires = if ends { "0" } else { EXPIRES };
        let contact = cx.contact();
        self.respond_with(cx, tx, 200, &[("Contact", &contact), ("Expires", expires)], None);
        self.notify_referrer(cx);
        if ends {
            self.refer_notify_failed();
        }
    }
}

impl Cx {
    fn send_notify(&mut self, owner: Owner, request: Request) {
        if let Err(error) = self.send_request(owner, request, Attempt::default()) {
            self.log(LogLevel::Warn, &["NOTIFY could not be sent: ", &error.message]);
        }
    }
}

/// Refer-To for the other side of this call, whose place in it is to be taken (RFC 3891, RFC 5589, section 7).
pub(super) fn replacing(call: &Call) -> Option<String> {
    let (uri, replaces) = place_of(call)?;
    let headers = Some(concat(&["Replaces=", &escape_header(&replaces)]));
    Some(concat(&["<", &Uri { headers, ..uri }.to_text(), ">"]))
}

/// Where the other side of this call is to be called, and the Replaces that takes our place there.
pub(super) fn place_of(call: &Call) -> Option<(Uri, String)> {
    let dialog = call.sip.dialog.as_ref()?;
    // The Contact of a browser (RFC 7118, section 5) leads nowhere but through its own proxy: then the address of
    // record, and whichever device has the dialog takes the call.
    let contact = Uri::parse(dialog.remote_target()).ok().filter(|uri| !uri.host.ends_with(".invalid"));
    let uri = contact.or_else(|| Uri::parse(call.peer.uri()).ok())?;
    // The tags as the target sees them: its own is the To-tag.
    let to_tag = if dialog.remote_tag.is_empty() { "0" } else { dialog.remote_tag.as_str() };
    let replaces = concat(&[&dialog.call_id, ";to-tag=", to_tag, ";from-tag=", &dialog.local_tag]);
    Some((uri, replaces))
}

#[cold]
pub(super) fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorCode::InvalidState, problem)
}

#[cold]
fn departed() -> Error {
    Error::new(ErrorCode::Ended, "The other side hung up and did not report the outcome of the transfer")
}
