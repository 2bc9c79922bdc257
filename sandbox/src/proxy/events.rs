//! The notifier of the network (RFC 6665): who is on the phone (RFC 4235), who is there (RFC 3863), and how many
//! messages wait (RFC 3842). Presence is what phones publish (RFC 3903).

use core::time::Duration;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use wasm_softphone::entropy::{Entropy, token};
use wasm_softphone::sip::dialog::Dialog;
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::time::Instant;

use super::ConnId;

/// The longest lifetime that is granted, seconds.
const MAX_EXPIRES: u32 = 3600;
/// More than this are refused: nobody needs them here.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Package {
    Dialog,
    Presence,
    MessageSummary,
}

impl Package {
    fn of(request: &Request) -> Option<Self> {
        let event = request.headers.get("Event")?.split(';').next()?.trim();
        Some(match event {
            "dialog" => Self::Dialog,
            "presence" => Self::Presence,
            "message-summary" => Self::MessageSummary,
            _ => return None,
        })
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Dialog => "application/dialog-info+xml",
            Self::Presence => "application/pidf+xml",
            Self::MessageSummary => "application/simple-message-summary",
        }
    }
}

/// A call of somebody, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Busy {
    /// Call-ID.
    pub(super) call: String,
    /// "trying", "early" or "confirmed".
    pub(super) state: &'static str,
    /// Whether the watched one called.
    pub(super) caller: bool,
}

struct Subscription {
    conn: ConnId,
    dialog: Dialog,
    /// The Event header, with its `id` if it has one.
    event: String,
    package: Package,
    user: String,
    expires: Instant,
    version: u32,
}

struct Published {
    etag: String,
    body: Vec<u8>,
    expires: Instant,
}

/// Subscriptions, and what there is to tell.
#[derive(Default)]
pub(super) struct Events {
    subscriptions: Vec<Subscription>,
    published: BTreeMap<String, Published>,
    waiting: BTreeMap<String, u32>,
}

/// Where and when something happens.
pub(super) struct Here<'a> {
    pub(super) now: Instant,
    /// The address of this network: host and port.
    pub(super) host: &'a str,
    pub(super) domain: &'a str,
    pub(super) entropy: &'a mut dyn Entropy,
}

/// What is to be sent, and where to.
pub(super) type Sends = Vec<(ConnId, Message)>;

impl Events {
    /// SUBSCRIBE to `user`, by somebody who has proved to be a user of this network.
    pub(super) fn subscribe(
        &mut self,
        conn: ConnId,
        here: &mut Here<'_>,
        user: &str,
        request: &Request,
        busy: &[Busy],
    ) -> Sends {
        let Some(package) = Package::of(request) else {
            let mut response = request.response(489, None);
            response.headers.push("Allow-Events", "dialog, presence, message-summary");
            return vec![(conn, Message::Response(response))];
        };
        // A mailbox is its owner's.
        let from = request.headers.from().map(|from| from.uri).unwrap_or_default();
        let theirs = format!("sip:{user}@{}", here.domain);
        if package == Package::MessageSummary && from != theirs {
            return vec![(conn, Message::Response(request.response(403, None)))];
        }
        let expires = request.headers.number("Expires").unwrap_or(MAX_EXPIRES).min(MAX_EXPIRES);
        let tag = token(here.entropy, 12);
        let Some(dialog) =
            Dialog::from_request(request, &tag).filter(|_| self.subscriptions.len() < MAX_SUBSCRIPTIONS)
        else {
            return vec![(conn, Message::Response(request.response(503, None)))];
        };
        self.subscriptions.push(Subscription {
            conn,
            dialog,
            event: request.headers.get("Event").unwrap_or_default().to_owned(),
            package,
            user: user.to_owned(),
            expires: here.now + Duration::from_secs(u64::from(expires)),
            version: 0,
        });
        let mut sends = vec![(conn, accepted(request, expires, here.host, &tag))];
        let last = self.subscriptions.len() - 1;
        sends.extend(self.notify_at(last, here, busy));
        self.subscriptions.retain(|one| one.expires > here.now);
        sends
    }

    /// SUBSCRIBE within a subscription: a new lifetime, or its end. `None`: there is no such subscription.
    pub(super) fn refresh(
        &mut self,
        conn: ConnId,
        here: &mut Here<'_>,
        request: &Request,
        busy: impl Fn(&str) -> Vec<Busy>,
    ) -> Option<Sends> {
        let tag = request.headers.to_tag()?;
        let call_id = request.headers.call_id()?;
        let at = self.subscriptions.iter().position(|one| {
            one.dialog.call_id == call_id && one.dialog.local_tag == tag && one.expires > here.now
        })?;
        let expires = request.headers.number("Expires").unwrap_or(MAX_EXPIRES).min(MAX_EXPIRES);
        let one = self.subscriptions.get_mut(at)?;
        if !one.dialog.accept_seq(&request.method, request.headers.seq().unwrap_or(0)) {
            return Some(vec![(conn, Message::Response(request.response(500, None)))]);
        }
        // The phone may have come back over another connection.
        one.conn = conn;
        one.dialog.refresh_target(&request.headers);
        one.expires = here.now + Duration::from_secs(u64::from(expires));
        let busy = busy(&one.user);
        let mut sends = vec![(conn, accepted(request, expires, here.host, &tag))];
        sends.extend(self.notify_at(at, here, &busy));
        self.subscriptions.retain(|one| one.expires > here.now);
        Some(sends)
    }

    /// The calls of `user` have changed.
    pub(super) fn calls_changed(&mut self, here: &mut Here<'_>, user: &str, busy: &[Busy]) -> Sends {
        self.tell(here, user, Package::Dialog, busy)
    }

    /// A message was left for `user`, or (`None`) all have been heard.
    pub(super) fn mailbox(&mut self, here: &mut Here<'_>, user: &str, left: Option<u32>) -> Sends {
        match left {
            Some(more) => *self.waiting.entry(user.to_owned()).or_default() += more,
            None => drop(self.waiting.remove(user)),
        }
        self.tell(here, user, Package::MessageSummary, &[])
    }

    /// PUBLISH by `user` of its own presence.
    pub(super) fn publish(
        &mut self,
        conn: ConnId,
        here: &mut Here<'_>,
        user: &str,
        request: &Request,
    ) -> Sends {
        if Package::of(request) != Some(Package::Presence) {
            let mut response = request.response(489, None);
            response.headers.push("Allow-Events", "presence");
            return vec![(conn, Message::Response(response))];
        }
        self.published.retain(|_, published| published.expires > here.now);
        if let Some(etag) = request.headers.get("SIP-If-Match")
            && self.published.get(user).is_none_or(|published| published.etag != etag)
        {
            return vec![(conn, Message::Response(request.response(412, None)))];
        }
        let expires = request.headers.number("Expires").unwrap_or(MAX_EXPIRES).min(MAX_EXPIRES);
        let etag = token(here.entropy, 8);
        if expires == 0 {
            self.published.remove(user);
        } else {
            let body = match self.published.remove(user) {
                // A refresh has no body.
                Some(known) if request.body.is_empty() => known.body,
                _ => request.body.clone(),
            };
            let expires = here.now + Duration::from_secs(u64::from(expires));
            self.published.insert(user.to_owned(), Published { etag: etag.clone(), body, expires });
        }
        let mut response = request.response(200, None);
        response.headers.push("SIP-ETag", etag);
        response.headers.push("Expires", expires.to_string());
        response.set_to_tag(&token(here.entropy, 10));
        let mut sends = vec![(conn, Message::Response(response))];
        sends.extend(self.tell(here, user, Package::Presence, &[]));
        sends
    }

    /// A connection is gone, and with it the subscriptions that were made over it.
    pub(super) fn closed(&mut self, conn: ConnId) {
        self.subscriptions.retain(|one| one.conn != conn);
    }

    fn tell(&mut self, here: &mut Here<'_>, user: &str, package: Package, busy: &[Busy]) -> Sends {
        self.subscriptions.retain(|one| one.expires > here.now);
        let mut sends = Vec::new();
        for at in 0..self.subscriptions.len() {
            if self.subscriptions.get(at).is_some_and(|one| one.user == user && one.package == package) {
                sends.extend(self.notify_at(at, here, busy));
            }
        }
        sends
    }

    fn notify_at(&mut self, at: usize, here: &mut Here<'_>, busy: &[Busy]) -> Option<(ConnId, Message)> {
        let waiting = self.subscriptions.get(at).and_then(|one| self.waiting.get(&one.user)).copied();
        let published = self
            .subscriptions
            .get(at)
            .and_then(|one| self.published.get(&one.user))
            .filter(|published| published.expires > here.now)
            .map(|published| published.body.clone());
        let one = self.subscriptions.get_mut(at)?;
        let (host, domain) = (here.host, here.domain);
        let entity = format!("sip:{}@{domain}", one.user);
        let body = match one.package {
            Package::Dialog => dialog_info(&entity, one.version, busy).into_bytes(),
            Package::Presence => published.unwrap_or_else(|| closed(&entity).into_bytes()),
            Package::MessageSummary => summary(&entity, waiting.unwrap_or(0)).into_bytes(),
        };
        one.version += 1;
        let left = one.expires.saturating_since(here.now).as_secs();
        let mut notify = one.dialog.request(Method::Notify, None);
        notify
            .headers
            .push_front("Via", format!("SIP/2.0/WS {host};branch=z9hG4bK{}", token(here.entropy, 20)));
        notify.headers.push("Contact", format!("<sip:{host};transport=ws>"));
        notify.headers.push("Event", one.event.clone());
        notify.headers.push(
            "Subscription-State",
            if left == 0 { "terminated;reason=timeout".to_owned() } else { format!("active;expires={left}") },
        );
        notify.headers.push("Content-Type", one.package.content_type());
        notify.body = body;
        Some((one.conn, Message::Request(notify)))
    }
}

fn accepted(request: &Request, expires: u32, host: &str, tag: &str) -> Message {
    let mut response: Response = request.response(200, None);
    response.headers.push("Expires", expires.to_string());
    response.headers.push("Contact", format!("<sip:{host};transport=ws>"));
    response.set_to_tag(tag);
    Message::Response(response)
}

fn dialog_info(entity: &str, version: u32, busy: &[Busy]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
         version=\"{version}\" state=\"full\" entity=\"{}\">\r\n",
        escaped(entity)
    );
    for one in busy {
        let direction = if one.caller { "initiator" } else { "recipient" };
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "<dialog id=\"{}\" direction=\"{direction}\"><state>{}</state></dialog>\r\n",
            escaped(&one.call),
            one.state
        );
    }
    text.push_str("</dialog-info>\r\n");
    text
}

/// Nothing published: not there.
fn closed(entity: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\">\r\n\
         <tuple id=\"phone\"><status><basic>closed</basic></status></tuple>\r\n</presence>\r\n",
        escaped(entity)
    )
}

fn summary(entity: &str, waiting: u32) -> String {
    let any = if waiting > 0 { "yes" } else { "no" };
    format!("Messages-Waiting: {any}\r\nMessage-Account: {entity}\r\nVoice-Message: {waiting}/0 (0/0)\r\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
