//! The registrar's table: which connections an address of record rings on (RFC 3261, section 10.3).

use core::time::Duration;
use std::collections::BTreeMap;

use wasm_softphone::sip::header::{NameAddr, parse_u32};
use wasm_softphone::sip::message::Request;
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::time::Instant;

use super::ConnId;

/// Shorter registrations are refused with 423.
pub(super) const MIN_EXPIRES: u32 = 10;
/// Longer ones are shortened.
pub(super) const MAX_EXPIRES: u32 = 3600;
/// For a REGISTER that names no lifetime.
const DEFAULT_EXPIRES: u32 = 600;
/// An address of record rings on no more phones than this.
const MAX_BINDINGS: usize = 32;

/// One contact of an address of record.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub(super) contact: NameAddr,
    /// Compares contacts: scheme, user, host and port.
    pub(super) key: String,
    pub(super) conn: ConnId,
    pub(super) expires: Instant,
    call_id: String,
    cseq: u32,
}

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// 400.
    Malformed(&'static str),
    /// 423, with Min-Expires.
    TooBrief,
    /// 403: the table is full.
    TooMany,
    /// 500: an older request than the one that made the binding (RFC 3261, section 10.3, step 7).
    OutOfOrder,
}

/// The bindings of every user.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    bindings: BTreeMap<String, Vec<Binding>>,
}

enum Change {
    Remove(String),
    Set(Binding),
}

impl Registrar {
    /// Applies a REGISTER: all of it or nothing.
    pub(super) fn register(
        &mut self,
        now: Instant,
        user: &str,
        conn: ConnId,
        request: &Request,
        last_wins: bool,
    ) -> Result<(), Refused> {
        let call_id = request.headers.call_id().unwrap_or_default().to_owned();
        let cseq = request.headers.cseq().map_or(0, |cseq| cseq.seq);
        let default = match request.headers.get("Expires") {
            Some(value) => parse_u32(value).unwrap_or(DEFAULT_EXPIRES),
            None => DEFAULT_EXPIRES,
        };
        let mut contacts = Vec::new();
        for value in request.headers.values("Contact") {
            contacts.push(NameAddr::parse(value).map_err(|_| Refused::Malformed("Bad Contact"))?);
        }
        let bound = self.bindings.entry(user.to_owned()).or_default();
        bound.retain(|binding| binding.expires > now);

        let newer = |binding: &Binding| binding.call_id != call_id || binding.cseq < cseq;
        if contacts.iter().any(|contact| contact.uri == "*") {
            if contacts.len() != 1 || request.headers.number("Expires") != Some(0) {
                return Err(Refused::Malformed("Contact * needs Expires 0"));
            }
            if !bound.iter().all(newer) {
                return Err(Refused::OutOfOrder);
            }
            bound.clear();
            return Ok(());
        }

        let mut changes = Vec::new();
        for mut contact in contacts {
            let uri = Uri::parse(&contact.uri).map_err(|_| Refused::Malformed("Bad Contact"))?;
            let key = uri.aor();
            let seconds = contact.params.get("expires").and_then(parse_u32).unwrap_or(default);
            if let Some(existing) = bound.iter().find(|binding| binding.key == key)
                && !newer(existing)
            {
                return Err(Refused::OutOfOrder);
            }
            if seconds == 0 {
                changes.push(Change::Remove(key));
                continue;
            }
            if seconds < MIN_EXPIRES {
                return Err(Refused::TooBrief);
            }
            contact.params.remove("expires");
            contact.display_name = None;
            changes.push(Change::Set(Binding {
                contact,
                key,
                conn,
                expires: now + Duration::from_secs(u64::from(seconds.min(MAX_EXPIRES))),
                call_id: call_id.clone(),
                cseq,
            }));
        }
        if bound.len() + changes.len() > MAX_BINDINGS {
            return Err(Refused::TooMany);
        }
        for change in changes {
            match change {
                Change::Remove(key) => bound.retain(|binding| binding.key != key),
                Change::Set(new) => {
                    bound.retain(|binding| binding.key != new.key && !last_wins);
                    bound.push(new);
                }
            }
        }
        Ok(())
    }

    /// The live bindings of a user, oldest first.
    pub(super) fn bindings(&self, now: Instant, user: &str) -> impl Iterator<Item = &Binding> {
        self.bindings.get(user).into_iter().flatten().filter(move |binding| binding.expires > now)
    }

    /// Drops what has expired and tells whose it was.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<String> {
        self.drop_where(|binding| binding.expires <= now)
    }

    /// Drops what rings on a connection that is gone (RFC 5626, section 5.3) and tells whose it was.
    pub(super) fn closed(&mut self, conn: ConnId) -> Vec<String> {
        self.drop_where(|binding| binding.conn == conn)
    }

    pub(super) fn count(&self) -> usize {
        self.bindings.values().map(Vec::len).sum()
    }

    fn drop_where(&mut self, gone: impl Fn(&Binding) -> bool) -> Vec<String> {
        let mut users = Vec::new();
        for (user, bound) in &mut self.bindings {
            let before = bound.len();
            bound.retain(|binding| !gone(binding));
            if bound.len() < before {
                users.push(user.clone());
            }
        }
        users
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.values().flatten().map(|binding| binding.expires).min()
    }
}
