//! SUBSCRIBE and NOTIFY (RFC 6665), as the subscriber; and what keeps a publication (RFC 3903) alive in the same way.
//!
//! The dialog is the one of the first NOTIFY, which may come before the 2xx; one that a 2xx has made gives way to it.
//! When a proxy forks the SUBSCRIBE, the NOTIFYs of all other forks get 481, which ends them at the notifiers
//! (section 4.1.4): one lamp must not show two states in turn.

use super::capabilities;
use super::context::Cx;
use super::messaging::{MAX_BODY, is_media_type};
use super::publication::DEFAULT_EXPIRES;
use super::registration::refused;
use super::timers::TxId;
use super::transactions::Owner;
use super::{Event, SubscribeRequest, SubscriptionId, SubscriptionState, TimerKey};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::body;
use crate::sip::dialog::Dialog;
use crate::sip::header::{Params, is_token, parse_u32, split_before};
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::T64;
use crate::sip::uri::Uri;
use crate::text::{concat, digits};
use crate::time::Duration;

const MAX_SUBSCRIPTIONS: usize = 256;
const MAX_EXPIRES: u32 = 86_400;
/// 423 may ask for a longer lifetime so often in one attempt.
const MAX_TOO_BRIEF: u8 = 2;
const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_secs(300);
const MAX_RETRY_AFTER: u32 = 3600;
/// Seconds from the refusal of one that was granted before to the next try, at least.
const REFUSED_WAIT: u32 = 30;
/// Longest body of a NOTIFY that nobody has asked for: a mailbox has some lines of counts.
const MAX_SUMMARY: usize = 4096;

#[derive(Debug)]
pub(super) enum Kind {
    Subscribe {
        accept: String,
        /// The SUBSCRIBE that is to make the dialog.
        first: Option<Box<Request>>,
        dialog: Option<Dialog>,
        /// A NOTIFY has come in the dialog.
        confirmed: bool,
    },
    Publish {
        content_type: String,
        body: String,
        etag: Option<String>,
        /// The server does not know this body yet.
        unsent: bool,
    },
}

/// One subscription or publication.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) kind: Kind,
    pub(super) target: String,
    event: String,
    state: SubscriptionState,
    /// It was active once.
    granted: bool,
    /// Seconds to ask for; raised by 423.
    expires: u32,
    too_brief: u8,
    failures: u32,
    /// A request has no final response yet.
    under_way: bool,
    /// The application wants no more of it.
    pub(super) ending: bool,
    /// The connection that it was made over is gone.
    interrupted: bool,
}

impl Cx {
    pub(super) fn start_subscription(&mut self, request: SubscribeRequest) -> Result<SubscriptionId, Error> {
        let target = self.request_target(&request.target)?;
        if !is_token(&request.event) {
            return Err(Error::invalid_config("event", "not the name of an event package"));
        }
        if !request.accept.iter().all(|kind| is_media_type(kind)) {
            return Err(Error::invalid_config("accept", "not a media type"));
        }
        let accept = request.accept.join(", ");
        let kind = Kind::Subscribe { accept, first: None, dialog: None, confirmed: false };
        self.add_subscription(target, request.event, request.expires, kind)
    }

    pub(super) fn add_subscription(
        &mut self,
        target: String,
        event: String,
        expires: Duration,
        kind: Kind,
    ) -> Result<SubscriptionId, Error> {
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return Err(Error::new(ErrorCode::InvalidState, "There are too many subscriptions already"));
        }
        let expires = if expires.is_zero() { DEFAULT_EXPIRES } else { expires };
        let id = self.numbers.subscription();
        let subscription = Subscription {
            kind,
            target,
            event,
            state: SubscriptionState::Pending,
            granted: false,
            expires: expires.as_secs().clamp(1, MAX_EXPIRES),
            too_brief: 0,
            failures: 0,
            under_way: false,
            ending: false,
            interrupted: false,
        };
        self.subscriptions.insert(id, Box::new(subscription));
        self.send_subscription(id);
        Ok(id)
    }

    /// The next SUBSCRIBE or PUBLISH. One at a time: what changes meanwhile is sent after the response.
    pub(super) fn send_subscription(&mut self, id: SubscriptionId) {
        let Some(known) = self.subscriptions.get(&id) else { return };
        if known.under_way || known.interrupted {
            return;
        }
        let (owner, request) = match known.kind {
            Kind::Subscribe { .. } => (Owner::Subscription(id), self.subscribe_request(id)),
            Kind::Publish { .. } => (Owner::Publication(id), self.publish_request(id)),
        };
        let Some(known) = self.subscriptions.get_mut(&id) else { return };
        let Some(mut request) = request else { return };
        let expires = if known.ending { 0 } else { known.expires };
        request.headers.push_all(&[("Event", &known.event), ("Expires", &digits(expires))]);
        known.under_way = true;
        self.timers.clear(TimerKey::Subscription(id));
        if let Err(error) = self.send_request(owner, request, Attempt::default()) {
            self.subscription_failed(id, error);
        }
    }

    fn subscribe_request(&mut self, id: SubscriptionId) -> Option<Request> {
        let target = self.subscriptions.get(&id)?.target.clone();
        let fresh = self.request_outside(Method::Subscribe, &target, &concat(&["<", &target, ">"]));
        let contact = self.contact();
        let known = self.subscriptions.get_mut(&id)?;
        let Kind::Subscribe { accept, first, dialog, .. } = &mut known.kind else { return None };
        let mut request = match dialog {
            Some(dialog) => dialog.request(Method::Subscribe, None),
            None => {
                *first = Some(Box::new(fresh.clone()));
                fresh
            }
        };
        request.headers.push_all(&[("Contact", &contact), ("Allow", capabilities::ALLOW)]);
        if !accept.is_empty() {
            request.headers.push("Accept", accept.as_str());
        }
        Some(request)
    }

    pub(super) fn end_subscription(&mut self, id: SubscriptionId) {
        let Some(known) = self.subscriptions.get_mut(&id).filter(|known| !known.ending) else { return };
        known.ending = true;
        let exists = match &known.kind {
            Kind::Subscribe { dialog, .. } => dialog.is_some(),
            Kind::Publish { etag, .. } => etag.is_some(),
        };
        if known.under_way {
            // The response tells what there is to end.
        } else if exists && !known.interrupted {
            self.send_subscription(id);
        } else {
            self.finish_subscription(id, None);
        }
    }

    /// It is over: told once, and forgotten.
    fn finish_subscription(&mut self, id: SubscriptionId, error: Option<Error>) {
        self.set_subscription(id, SubscriptionState::Terminated, error);
        self.timers.clear(TimerKey::Subscription(id));
        self.forget_clients_of(Owner::Subscription(id));
        self.forget_clients_of(Owner::Publication(id));
        self.subscriptions.remove(&id);
    }

    fn set_subscription(&mut self, id: SubscriptionId, state: SubscriptionState, error: Option<Error>) {
        if let Some(known) = self.subscriptions.get_mut(&id)
            && known.state != SubscriptionState::Terminated
            && (known.state != state || error.is_some())
        {
            known.state = state;
            known.granted |= state == SubscriptionState::Active;
            self.event(Event::Subscription(id, state, error));
        }
    }

    /// All of them, at the end of the connection.
    pub(super) fn end_subscriptions(&mut self, at_once: bool) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            if at_once {
                self.finish_subscription(id, None);
            } else {
                self.end_subscription(id);
            }
        }
    }

    /// The socket is gone. The notifier's way to us led over it: what was agreed is made anew on the next one.
    pub(super) fn subscriptions_interrupted(&mut self, error: &Error) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            let Some(known) = self.subscriptions.get_mut(&id) else { continue };
            if known.ending {
                self.finish_subscription(id, None);
                continue;
            }
            known.interrupted = true;
            let told = known.state == SubscriptionState::Pending;
            self.start_anew(id);
            self.set_subscription(id, SubscriptionState::Pending, (!told).then(|| error.clone()));
        }
    }

    /// The notifiers are told of the new way to us (RFC 6665, section 4.1.2.2).
    pub(super) fn refresh_subscriptions(&mut self) {
        let ids: Vec<SubscriptionId> = self.subscriptions.keys().copied().collect();
        for id in ids {
            self.send_subscription(id);
        }
    }

    pub(super) fn resume_subscriptions(&mut self) {
        let mut ids = Vec::new();
        for (id, known) in self.subscriptions.iter_mut() {
            if core::mem::take(&mut known.interrupted) {
                known.failures = 0;
                ids.push(*id);
            }
        }
        for id in ids {
            self.send_subscription(id);
        }
    }

    /// Forgets the dialog; a publication keeps its tag, which the server knows on any connection, and sends its
    /// state again with it.
    fn start_anew(&mut self, id: SubscriptionId) {
        self.forget_clients_of(Owner::Subscription(id));
        self.forget_clients_of(Owner::Publication(id));
        self.timers.clear(TimerKey::Subscription(id));
        let Some(known) = self.subscriptions.get_mut(&id) else { return };
        known.under_way = false;
        known.too_brief = 0;
        match &mut known.kind {
            Kind::Subscribe { first, dialog, confirmed, .. } => {
                (*first, *dialog, *confirmed) = (None, None, false);
            }
            Kind::Publish { unsent, .. } => *unsent = true,
        }
    }

    /// Anew, at once the first time and then later and later: a notifier that ends every subscription must not get
    /// the next one in the same moment.
    fn retry_subscription(
        &mut self,
        id: SubscriptionId,
        after: Option<u32>,
        error: Option<Error>,
        at_once: bool,
    ) {
        self.start_anew(id);
        self.set_subscription(id, SubscriptionState::Pending, error);
        let Some(known) = self.subscriptions.get_mut(&id).filter(|known| !known.interrupted) else { return };
        let failures = known.failures.min(8);
        known.failures = known.failures.saturating_add(1);
        let mut delay = u64::from(after.unwrap_or(0).min(MAX_RETRY_AFTER)) * 1000;
        if !(at_once && failures == 0) {
            let limit = RETRY_CAP.min(RETRY_BASE.saturating_mul(1 << failures));
            delay += 500 + below(&mut *self.env.entropy, u64::from(limit.as_millis()));
        }
        self.timers.set(TimerKey::Subscription(id), self.env.now + Duration::from_millis(delay));
    }

    pub(super) fn on_subscription_timer(&mut self, id: SubscriptionId) {
        let Some(known) = self.subscriptions.get_mut(&id) else { return };
        if known.ending {
            // The last NOTIFY has not come (RFC 6665, Timer N).
            self.finish_subscription(id, None);
            return;
        }
        if known.state == SubscriptionState::Active {
            known.failures = 0;
        }
        known.too_brief = 0;
        self.send_subscription(id);
    }

    /// Between 50 % and 70 % of the lifetime, as for a registration.
    fn schedule_refresh(&mut self, id: SubscriptionId, seconds: u32) {
        let millis = u64::from(seconds.clamp(1, MAX_EXPIRES)) * 1000;
        let delay = millis / 2 + below(&mut *self.env.entropy, millis / 5);
        self.timers.set(TimerKey::Subscription(id), self.env.now + Duration::from_millis(delay));
    }

    pub(super) fn on_subscription_response(
        &mut self,
        id: SubscriptionId,
        request: &Request,
        response: &Response,
    ) {
        let status = response.status;
        let Some(known) = self.subscriptions.get_mut(&id).filter(|_| status >= 200) else { return };
        known.under_way = false;
        let was_end = request.headers.number("Expires") == Some(0);
        if let Kind::Subscribe { dialog: Some(dialog), .. } = &mut known.kind {
            // A challenge has used up a number.
            dialog.local_seq = dialog.local_seq.max(request.headers.seq().unwrap_or(0));
        }
        if was_end {
            match known.kind {
                // The last NOTIFY may still come, and is taken.
                Kind::Subscribe { dialog: Some(_), .. } if status < 300 => {
                    self.set_subscription(id, SubscriptionState::Terminated, None);
                    self.timers.set(TimerKey::Subscription(id), self.env.now + T64);
                }
                _ => self.finish_subscription(id, None),
            }
            return;
        }
        match status {
            ..=299 => self.subscription_accepted(id, request, response),
            _ if known.ending => self.finish_subscription(id, None),
            // RFC 6665, section 4.1.2.1; RFC 3903, section 4
            423 => {
                let min = response.headers.number("Min-Expires").unwrap_or(0);
                if min > known.expires && min <= MAX_EXPIRES && known.too_brief < MAX_TOO_BRIEF {
                    known.too_brief += 1;
                    known.expires = min;
                    if let Kind::Publish { unsent, .. } = &mut known.kind {
                        *unsent |= !request.body.is_empty();
                    }
                    self.send_subscription(id);
                } else {
                    self.subscription_refused(id, refused(response));
                }
            }
            // What was agreed is gone: a dialog (481), a published state (412).
            412 | 481 => {
                let gone = match &mut known.kind {
                    Kind::Subscribe { dialog, .. } => status == 481 && dialog.take().is_some(),
                    Kind::Publish { etag, .. } => status == 412 && etag.take().is_some(),
                };
                if gone {
                    self.retry_subscription(id, None, None, true);
                } else {
                    self.subscription_refused(id, refused(response));
                }
            }
            408 | 480 | 491 | 500..=599 => {
                let error = refused(response);
                self.retry_subscription(id, error.retry_after, Some(error), false);
            }
            _ => self.subscription_refused(id, refused(response)),
        }
    }

    fn subscription_accepted(&mut self, id: SubscriptionId, request: &Request, response: &Response) {
        let Some(known) = self.subscriptions.get_mut(&id) else { return };
        let granted = response.headers.number("Expires").unwrap_or(known.expires).min(known.expires);
        let again = match &mut known.kind {
            Kind::Subscribe { dialog, .. } => {
                match dialog {
                    Some(dialog) => dialog.refresh_target(&response.headers),
                    None => *dialog = Dialog::from_response(request, response),
                }
                known.ending
            }
            Kind::Publish { etag, unsent, .. } => {
                *etag = response.headers.get("SIP-ETag").map(str::to_owned);
                if known.ending && etag.is_none() {
                    self.finish_subscription(id, None);
                    return;
                }
                known.ending || *unsent
            }
        };
        if granted == 0 {
            let error = Error::new(ErrorCode::ServerError, "The server granted no time");
            self.retry_subscription(id, None, Some(error), false);
            return;
        }
        if matches!(known.kind, Kind::Publish { .. }) && !known.ending {
            self.set_subscription(id, SubscriptionState::Active, None);
        }
        self.schedule_refresh(id, granted);
        if again {
            self.send_subscription(id);
        }
    }

    /// No final response.
    pub(super) fn subscription_failed(&mut self, id: SubscriptionId, error: Error) {
        let Some(known) = self.subscriptions.get(&id) else { return };
        if known.ending {
            self.finish_subscription(id, None);
        } else if matches!(error.code, ErrorCode::Timeout | ErrorCode::Transport) {
            self.retry_subscription(id, None, Some(error), false);
        } else {
            self.subscription_refused(id, error);
        }
    }

    /// One that was granted before may be granted again: the server was restarted, or does not reach its database.
    fn subscription_refused(&mut self, id: SubscriptionId, error: Error) {
        if self.subscriptions.get(&id).is_some_and(|known| known.granted) {
            let after = error.retry_after.unwrap_or(0).max(REFUSED_WAIT);
            self.retry_subscription(id, Some(after), Some(error), false);
        } else {
            self.finish_subscription(id, Some(error));
        }
    }

    /// NOTIFY outside the dialogs of calls (RFC 6665, section 4.1.3). Without a subscription it gets 481, but for a
    /// message-summary where the configuration takes it.
    pub(super) fn on_notify(&mut self, tx: TxId, request: &Request) {
        if let Some(refusal) = self.unsupported(request) {
            self.respond_refusal(tx, refusal);
            return;
        }
        let Some(id) = self.find_subscription(request) else {
            let body = self.unsolicited_summary(request);
            self.respond(tx, if body.is_some() { 200 } else { 481 });
            if let Some(body) = body {
                self.event(Event::MessageSummary(body));
            }
            return;
        };
        let Some(known) = self.subscriptions.get_mut(&id) else { return };
        let Kind::Subscribe { first: Some(first), dialog, confirmed, .. } = &mut known.kind else { return };
        let (event, params) = split_before(request.headers.get("Event").unwrap_or_default(), b';');
        // We give no ids: one with an id belongs to somebody else's subscription in the dialog.
        if !event.trim_ascii().eq_ignore_ascii_case(&known.event) || Params::parse(params).contains("id") {
            self.respond(tx, 489);
            return;
        }
        if request.body.len() > MAX_BODY {
            self.respond(tx, 413);
            return;
        }
        // Of several parts the first is the state. A list (RFC 4662) is handed on as it is.
        let kind = request.headers.content_type().unwrap_or_default();
        let single = |kind: &str| !body::is_multipart(kind);
        let mixed = kind.eq_ignore_ascii_case("multipart/mixed");
        let (kind, body) = body::part(&request.headers, &request.body, &single)
            .filter(|_| mixed)
            .unwrap_or((kind, &request.body));
        let Ok(body) = core::str::from_utf8(body) else {
            self.respond(tx, 415);
            return;
        };
        if *confirmed {
            let seq = request.headers.seq().unwrap_or(0);
            if !dialog.as_mut().is_some_and(|dialog| dialog.accept_seq(&request.method, seq)) {
                self.respond(tx, 500);
                return;
            }
        } else {
            let tag = first.headers.head().from_tag().unwrap_or_default();
            // From our SUBSCRIBE rather than from the NOTIFY: without the tag, which is put on again.
            let own = first.headers.get("From").and_then(|from| from.strip_suffix(tag));
            let own = own.and_then(|from| from.strip_suffix(";tag=")).unwrap_or_default().to_owned();
            let mut opening = request.clone();
            opening.headers.set("To", own);
            let Some(mut made) = Dialog::from_request(&opening, tag) else {
                // No Contact.
                self.respond(tx, 400);
                return;
            };
            made.local_seq = dialog.as_ref().map_or(1, |dialog| dialog.local_seq);
            made.local_seq = made.local_seq.max(first.headers.seq().unwrap_or(1));
            *dialog = Some(made);
            *confirmed = true;
        }
        if let (Some(dialog), true) = (dialog.as_mut(), request.headers.get("Contact").is_some()) {
            dialog.refresh_target(&request.headers);
        }
        self.respond(tx, 200);
        let (state, params) =
            split_before(request.headers.get("Subscription-State").unwrap_or("active"), b';');
        let (state, params) = (state.trim_ascii().to_ascii_lowercase(), Params::parse(params));
        self.notified(id, kind, body, &state, &params);
    }

    /// The body of a NOTIFY that a server sends by itself to a phone that is registered: to our name or our Contact, and
    /// in no dialog. Asterisk sends it as soon as it has the binding, which may be before it answers the REGISTER. It is no
    /// more believed than a MESSAGE, whose sender is as little proved: what it can do is to light a lamp.
    fn unsolicited_summary(&self, request: &Request) -> Option<String> {
        let event =
            request.headers.get("Event").filter(|event| event.eq_ignore_ascii_case("message-summary"));
        let kind = request.headers.content_type().unwrap_or_default();
        let uri = Uri::parse(&request.uri).ok()?;
        let ours = |own: &Uri| own.user.is_some() && own.user == uri.user;
        let wanted = self.env.config.message_summary.unwrap_or_else(|| {
            (self.registration.is_registered() || self.registration.is_under_way())
                && self.env.heard_over == self.line.open_socket()
        });
        let good = wanted
            && event.is_some()
            && request.headers.head().to_tag().is_none()
            && kind.eq_ignore_ascii_case("application/simple-message-summary")
            && request.body.len() <= MAX_SUMMARY
            && (ours(&self.env.config.uri)
                || Uri::parse(&self.env.contact_uri()).is_ok_and(|own| ours(&own)));
        core::str::from_utf8(&request.body).ok().filter(|_| good).map(str::to_owned)
    }

    fn notified(&mut self, id: SubscriptionId, content_type: &str, body: &str, state: &str, params: &Params) {
        let Some(known) = self.subscriptions.get(&id) else { return };
        let (ending, under_way) = (known.ending, known.under_way);
        let terminated = state == "terminated";
        if !terminated && !ending {
            let state = match state {
                "pending" => SubscriptionState::Pending,
                _ => SubscriptionState::Active,
            };
            self.set_subscription(id, state, None);
            if let Some(seconds) = params.get("expires").and_then(parse_u32)
                && !under_way
            {
                self.schedule_refresh(id, seconds);
            }
        }
        // What crosses our end of it is answered, and not told.
        if !(ending || terminated && body.is_empty()) {
            let (content_type, body) = (content_type.to_owned(), body.to_owned());
            self.event(Event::Notify { subscription: id, content_type, body });
        }
        if !terminated {
            return;
        }
        if ending {
            self.finish_subscription(id, None);
            return;
        }
        let after = params.get("retry-after").and_then(parse_u32);
        // RFC 6665, section 4.1.3
        match params.get("reason").unwrap_or_default().to_ascii_lowercase().as_str() {
            reason @ ("rejected" | "noresource" | "invariant") => {
                let code = if reason == "noresource" { ErrorCode::NotFound } else { ErrorCode::Forbidden };
                let error = Error::new(code, "The server ended the subscription");
                self.finish_subscription(id, (reason != "invariant").then_some(error));
            }
            "deactivated" | "timeout" => self.retry_subscription(id, None, None, true),
            _ => self.retry_subscription(id, after, None, false),
        }
    }

    /// The subscription whose dialog this is, or is going to be.
    fn find_subscription(&self, notify: &Request) -> Option<SubscriptionId> {
        let call_id = notify.headers.call_id()?;
        let (to_tag, from_tag) = (notify.headers.head().to_tag()?, notify.headers.head().from_tag()?);
        self.subscriptions.iter().find_map(|(id, known)| {
            let Kind::Subscribe { first: Some(first), dialog, confirmed, .. } = &known.kind else {
                return None;
            };
            let ours = first.headers.call_id() == Some(call_id) && first.headers.head().from_tag()? == to_tag;
            let known_tag = !confirmed || dialog.as_ref()?.remote_tag == from_tag;
            (ours && known_tag).then_some(*id)
        })
    }
}
