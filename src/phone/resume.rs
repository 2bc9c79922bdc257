//! Calls that outlive their page: what is written down of them, and how another page takes them up.
//!
//! A record holds what a dialog consists of (RFC 3261, section 12) and what an application knows of a call. It holds
//! no credentials and nothing of the media but the name of the session: whoever takes a call up makes keys and
//! candidates of its own, in a re-INVITE. It is text, one `key=value` a line, of bounded size, and nothing in it is
//! believed before it has been checked: it may come from a store that others can write to.
//!
//! Numbers that were used must not be used again, though a page may be gone before its last record was kept: CSeq is
//! written down ahead of what was used, and a gap in it does no harm (RFC 3261, section 12.2.2).

use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::env::Ask;
use super::taken_up::TakenUp;
use super::{CallId, CallNote, CallState, Direction, Identity};
use crate::error::{Error, ErrorCode};
use crate::sip::dialog::Dialog;
use crate::sip::header::{NameAddr, is_token};
use crate::sip::message::Method;
use crate::sip::uri::Uri;
use crate::text::{append, concat, digits, has_control, has_space_or_control, number, split, split_once};

/// What a record begins with: its kind and version.
const VERSION: &str = "wasm-softphone-calls/1";
/// The longest record, bytes. Calls that do not fit are left out.
pub(super) const MAX_RECORD: usize = 16_384;
/// CSeq is kept at the end of a block of these.
const SEQ_BLOCK: u32 = 16;
/// RFC 3261, section 8.1.1.5.
const MAX_SEQ: u32 = (1 << 31) - 1;
/// More proxies than any call goes through.
const MAX_ROUTES: usize = 16;

/// The flags of a call, a letter each.
mod flag {
    pub(super) const OUTGOING: u8 = b'o';
    pub(super) const LOCAL_HOLD: u8 = b'l';
    pub(super) const REMOTE_HOLD: u8 = b'r';
    pub(super) const REFRESHES: u8 = b's';
    pub(super) const UPDATES: u8 = b'u';
    pub(super) const REPLACEABLE: u8 = b'p';
    pub(super) const MUTED: u8 = b'm';
    pub(super) const LISTENS_ONLY: u8 = b'a';
    pub(super) const HIDDEN: u8 = b'h';
    pub(super) const PRIVATE: u8 = b'v';
}

/// Lines of a record.
struct Lines {
    text: String,
    /// Every value could be written.
    good: bool,
}

impl Lines {
    fn push(&mut self, key: &str, value: &str) {
        self.good &= !has_control(value);
        append(&mut self.text, &[key, "=", value, "\n"]);
    }

    fn number(&mut self, key: &str, value: Option<u32>) {
        self.optional(key, value.map(digits).as_deref());
    }

    fn identity(&mut self, key: &str, name: &str, identity: Option<&Identity>) {
        if let Some(identity) = identity {
            self.push(key, &identity.uri);
            self.optional(name, identity.display_name.as_deref());
        }
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(key, value);
        }
    }
}

impl Calls {
    pub(super) fn record(&self, cx: &Cx, notes: &dyn Fn(CallId) -> CallNote) -> Option<String> {
        if cx.line.is_closing() {
            return None;
        }
        let mut record = Lines { text: concat(&[VERSION, "\n"]), good: true };
        record.push("aor", &cx.env.config.uri.aor());
        record.push("instance", cx.registration.instance());
        record.push("user", cx.env.contact_user());
        record.push("host", cx.env.host());
        let mut any = false;
        for call in self.iter() {
            let Some(lines) = cx.write_call(call, notes(call.id)) else { continue };
            if record.text.len() + lines.len() <= MAX_RECORD {
                record.text.push_str(&lines);
                any = true;
            }
        }
        (any && record.good).then_some(record.text)
    }
}

impl Call {
    /// The page was gone when the 2xx to a re-INVITE came, if one came: without an ACK the other side would end the
    /// call (RFC 3261, section 13.3.1.4). To another one an ACK says nothing.
    pub(super) fn acknowledge_for_before(&mut self, cx: &mut Cx) {
        let via = cx.via();
        let (Some(seq), Some(dialog)) = (self.taken_up.take_unacknowledged(), self.sip.dialog.as_mut())
        else {
            return;
        };
        let mut ack = dialog.request(Method::Ack, Some(seq));
        ack.headers.push_front("Via", via);
        if let Ok(text) = ack.to_text() {
            cx.line.transmit(&mut cx.env, text, true);
        }
    }

    /// The dialog that we have taken up is not known where the request came to (481). The other side itself may still
    /// be in it: then a new call takes its place (RFC 3891), if it can. Nobody else is rung by that. `false`: that is
    /// no way.
    pub(super) fn replace_resumed(&mut self, cx: &mut Cx, error: Error) -> bool {
        if !self.taken_up.is_resumed() {
            return false;
        }
        let Some((target, replaces)) = super::refer::place_of(self) else { return false };
        self.replace_by_new_call(cx, &target, replaces, error)
    }

    /// The other side is in the dialog and keeps to the DTLS association that it had, as Asterisk does, whatever we
    /// offer: none will come about. A new call takes the place of this one, by the address of record: a server that
    /// speaks for others knows nobody by its own Contact. `false`: that is no way.
    pub(super) fn replace_association(&mut self, cx: &mut Cx) -> bool {
        if self.phase != Phase::Confirmed {
            return false;
        }
        let Some((contact, replaces)) = super::refer::place_of(self) else { return false };
        let address = Uri::parse(self.peer.uri()).ok().filter(|uri| !uri.host.ends_with(".invalid"));
        let error = Error::new(ErrorCode::IceFailed, "The other side makes no new connection for its media");
        self.replace_by_new_call(cx, &address.unwrap_or(contact), replaces, error)
    }

    fn replace_by_new_call(&mut self, cx: &mut Cx, target: &Uri, replaces: String, error: Error) -> bool {
        if !self.succession.is_replaceable() || self.taken_up.has_lost_dialog() {
            return false;
        }
        self.session.offers.withdraw();
        self.taken_up.lose_dialog(error);
        cx.ask(self.id, Ask::MakeReplacement { target: target.to_text(), replaces });
        true
    }

    /// The call that was to take its place has come to nothing, or could not be made.
    pub(super) fn replacement_failed(&mut self, cx: &mut Cx) {
        match self.taken_up.take_lost_dialog() {
            Some(error) if error.sip_status.is_some() => self.dialog_gone(cx, error),
            // The dialog is there: what can be mended of the media is tried until the grace is over.
            Some(_) => self.recover(cx),
            None => {}
        }
    }
}

impl Cx {
    /// A call that can be taken up: answered on both sides, and this phone's own.
    pub(super) fn write_call(&self, call: &Call, note: CallNote) -> Option<String> {
        if call.phase != Phase::Confirmed || call.rest.is_some() {
            return None;
        }
        let dialog = call.sip.dialog.as_ref()?;
        let mut lines = Lines { text: String::new(), good: true };
        lines.push("call", &dialog.call_id);
        let mut flags = String::new();
        for (flag, set) in [
            (flag::OUTGOING, call.direction == Direction::Outgoing),
            (flag::LOCAL_HOLD, call.session.offers.local_hold()),
            (flag::REMOTE_HOLD, call.session.offers.remote_hold()),
            (flag::REFRESHES, call.session.timer.is_ours()),
            (flag::UPDATES, call.session.timer.takes_updates()),
            (flag::REPLACEABLE, call.succession.is_replaceable()),
            (flag::MUTED, call.audio.wish().muted),
            (flag::LISTENS_ONLY, call.audio.wish().listens_only),
            (flag::HIDDEN, call.sip.hidden),
            (flag::PRIVATE, call.peer.is_private()),
        ] {
            if set {
                flags.push(char::from(flag));
            }
        }
        lines.push("flags", &flags);
        lines.push("ltag", &dialog.local_tag);
        lines.push("rtag", &dialog.remote_tag);
        lines.push("local", &dialog.local);
        lines.push("remote", &dialog.remote);
        lines.push("target", &dialog.remote_target);
        for route in &dialog.route_set {
            lines.push("route", route);
        }
        lines.number("lseq", Some((dialog.local_seq | (SEQ_BLOCK - 1)).saturating_add(SEQ_BLOCK)));
        lines.number("rseq", dialog.remote_seq);
        lines.number("open", self.transactions.open_reinvite(call.id).or(call.taken_up.unacknowledged()));
        lines.push("uri", call.peer.uri());
        lines.optional("name", call.peer.display_name().map(String::as_str));
        lines.identity("asserted", "asserted-name", call.peer.asserted());
        lines.identity("diversion", "diversion-name", call.peer.diversion());
        lines.number("expires", call.session.timer.interval());
        lines.number("min-se", call.session.timer.min_se());
        lines.optional("origin", call.descriptions.origin.as_deref());
        let media = &call.descriptions.agreed.lines;
        for line in media.iter().filter(|_| media.len() > 1) {
            lines.push("line", line);
        }
        let seconds = digits(note.started_at / 1000);
        lines.push("started", &concat(&[&seconds, ".", &digits(note.started_at % 1000)]));
        lines.good.then_some(lines.text)
    }
}

#[cold]
pub(super) fn refused(message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidRecord, message)
}

/// A record that has been checked.
#[derive(Default)]
pub(super) struct Record {
    pub(super) aor: String,
    pub(super) instance: String,
    pub(super) user: String,
    pub(super) host: String,
    #[expect(clippy::vec_box, reason = "the boxes are what the phone keeps")]
    pub(super) calls: Vec<Box<Call>>,
}

impl Record {
    /// All of it or nothing.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_RECORD {
            return None;
        }
        let mut record = Self::default();
        let mut lines = split(text, b'\n');
        if lines.next() != Some(VERSION) {
            return None;
        }
        for line in lines.filter(|line| !line.is_empty()) {
            let (key, value) = split_once(line, b'=')?;
            if has_control(value) {
                return None;
            }
            record.take(key, value)?;
        }
        let calls = core::mem::take(&mut record.calls);
        for (at, call) in calls.iter().enumerate() {
            check(call)?;
            let twice = calls.iter().skip(at + 1).any(|other| {
                other.sip.call_id == call.sip.call_id && other.sip.local_tag == call.sip.local_tag
            });
            if twice {
                return None;
            }
        }
        record.calls = calls;
        // `<token>.invalid`, as this phone makes it (RFC 7118, section 5).
        let host = record.host.strip_suffix(".invalid")?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let instance = record.instance.is_empty() || super::registration::is_instance(&record.instance);
        (plain(host) && plain(&record.user) && instance && !record.calls.is_empty()).then_some(record)
    }

    fn take(&mut self, key: &str, value: &str) -> Option<()> {
        let own = match key {
            "aor" => &mut self.aor,
            "instance" => &mut self.instance,
            "user" => &mut self.user,
            "host" => &mut self.host,
            "call" => {
                let mut call = Call::new(CallId(0), Direction::Incoming, Phase::Confirmed);
                call.state = CallState::Reconnecting;
                call.sip.call_id = value.to_owned();
                call.sip.dialog = Some(Dialog::named(value));
                call.taken_up = TakenUp::from_record();
                self.calls.push(call);
                return Some(());
            }
            _ => return take_of_call(self.calls.last_mut()?, key, value),
        };
        *own = value.to_owned();
        Some(())
    }
}

/// One line of a call. What is not known is passed over.
fn take_of_call(call: &mut Call, key: &str, value: &str) -> Option<()> {
    let dialog = call.sip.dialog.as_mut()?;
    let text = || value.to_owned();
    match key {
        "flags" => {
            let has = |flag: u8| value.as_bytes().contains(&flag);
            if has(flag::OUTGOING) {
                call.direction = Direction::Outgoing;
                call.dialled.report_done();
            }
            call.session.offers.restore(has(flag::LOCAL_HOLD), has(flag::REMOTE_HOLD));
            call.session.timer.restore(has(flag::REFRESHES), has(flag::UPDATES));
            call.succession.set_replaceable(has(flag::REPLACEABLE));
            call.audio.restore(has(flag::MUTED), has(flag::LISTENS_ONLY));
            call.sip.hidden = has(flag::HIDDEN);
            dialog.private = call.sip.hidden;
            call.peer.set_private(has(flag::PRIVATE));
        }
        "ltag" => {
            call.sip.local_tag = text();
            dialog.local_tag = text();
        }
        "rtag" => dialog.remote_tag = text(),
        "local" => dialog.local = text(),
        "remote" => dialog.remote = text(),
        "target" => dialog.remote_target = text(),
        "route" => dialog.route_set.push(text()),
        "lseq" => dialog.local_seq = number(value)?,
        "rseq" => dialog.remote_seq = Some(number(value)?),
        "open" => call.taken_up.set_unacknowledged(number(value)?),
        "expires" => call.session.timer.restore_interval(number(value)?),
        "min-se" => call.session.timer.restore_min_se(number(value)?),
        "origin" => call.descriptions.origin = Some(text()),
        "line" => call.descriptions.agreed.lines.push(text()),
        "started" => {
            let (seconds, millis) = split_once(value, b'.')?;
            let started_at = u64::from(number(seconds)?) * 1000 + u64::from(number(millis)?);
            call.taken_up.set_note(CallNote { started_at });
        }
        _ => call.peer.restore(key, value)?,
    }
    Some(())
}

/// Whether requests can be made and known with what a record says of a call.
fn check(call: &Call) -> Option<()> {
    let dialog = call.sip.dialog.as_ref()?;
    let is = |good: bool| good.then_some(());
    is(!dialog.call_id.is_empty() && !has_space_or_control(&dialog.call_id))?;
    is(is_token(&dialog.local_tag) && (dialog.remote_tag.is_empty() || is_token(&dialog.remote_tag)))?;
    for (address, tag) in [(&dialog.local, &dialog.local_tag), (&dialog.remote, &dialog.remote_tag)] {
        let address = NameAddr::parse(address).ok()?;
        is(address.tag().unwrap_or_default() == tag)?;
    }
    Uri::parse(&dialog.remote_target).ok()?;
    is(dialog.route_set.len() <= MAX_ROUTES)?;
    for route in &dialog.route_set {
        Uri::parse(&NameAddr::parse(route).ok()?.uri).ok()?;
    }
    let lines = &call.descriptions.agreed.lines;
    is(lines.iter().all(|line| line.is_empty() || line.starts_with("m=")))?;
    is(lines.is_empty() || lines.iter().filter(|line| line.is_empty()).count() == 1)?;
    is(dialog.local_seq <= MAX_SEQ && dialog.remote_seq.unwrap_or(0) <= MAX_SEQ)?;
    is(!call.peer.uri().is_empty() && !has_space_or_control(call.peer.uri()))
}
