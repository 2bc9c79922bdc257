//! The registration (RFC 3261, section 10): bind, refresh, and un-bind one contact.

use core::time::Duration;

use super::transactions::Owner;
use super::{Event, LogLevel, Phone, RegistrationState, TimerKey};
use crate::entropy::{below, token};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::{NameAddr, parse_u32};
use crate::sip::message::{Method, Request, Response};
use crate::text::{before, concat};

/// Back-off after a refusal that may pass: full jitter below min(cap, base · 2ⁿ).
const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_secs(60);
/// A registrar may ask for a longer registration (423) so often in one attempt.
const MAX_TOO_BRIEF: u8 = 2;
/// No registrar has reason to ask for more than a day.
const MAX_EXPIRES: u32 = 86_400;
/// A hostile or mistaken Retry-After must not silence the phone for good.
const MAX_RETRY_AFTER: u32 = 600;

#[derive(Debug)]
pub(super) struct Registration {
    pub(super) state: RegistrationState,
    /// The address of record that the Call-ID is for.
    aor: String,
    call_id: String,
    from_tag: String,
    seq: u32,
    /// Lifetime to ask for, seconds; raised by 423.
    expires: u32,
    too_brief: u8,
    failures: u32,
    /// The REGISTER under way is to remove the binding.
    removing: bool,
    /// The registrar holds a binding that it has confirmed.
    bound: bool,
}

impl Registration {
    pub(super) const fn new() -> Self {
        Self {
            state: RegistrationState::Unregistered,
            aor: String::new(),
            call_id: String::new(),
            from_tag: String::new(),
            seq: 0,
            expires: 0,
            too_brief: 0,
            failures: 0,
            removing: false,
            bound: false,
        }
    }

    pub(super) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }
}

impl Phone {
    pub(super) fn set_registration(&mut self, state: RegistrationState, error: Option<Error>) {
        if self.registration.state != state || error.is_some() {
            self.registration.state = state;
            self.event(Event::Registration(state, error));
        }
    }

    /// REGISTER on a fresh socket, or again.
    pub(super) fn start_registering(&mut self) {
        self.registration.expires = u32::try_from(self.config.register_expires.as_secs())
            .unwrap_or(MAX_EXPIRES)
            .clamp(1, MAX_EXPIRES);
        self.registration.too_brief = 0;
        self.registration.removing = false;
        self.timers.clear(TimerKey::Register);
        self.send_register();
    }

    pub(super) fn start_unregistering(&mut self) {
        let under_way = self.registration.state == RegistrationState::Registering;
        if !self.registration.bound && !under_way {
            return;
        }
        // An answer to the REGISTER under way is no longer of interest.
        self.forget_clients_of(Owner::Register);
        self.registration.removing = true;
        self.send_register();
    }

    fn send_register(&mut self) {
        let expires = if self.registration.removing { 0 } else { self.registration.expires };
        let seq = self.registration.next_seq();
        let aor = self.config.uri.aor();
        // RFC 3261, section 10.2.4: all REGISTERs of one phone to one registrar share a Call-ID.
        if aor != self.registration.aor {
            self.registration.aor = aor;
            self.registration.call_id = token(&mut *self.entropy, 24);
            self.registration.from_tag = token(&mut *self.entropy, 12);
        }
        let mut request = Request::new(Method::Register, self.config.uri.domain());
        let local = self.own_address();
        request.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&local, ";tag=", &self.registration.from_tag])),
            ("To", &local),
            ("Call-ID", &self.registration.call_id),
            ("CSeq", &concat(&[&seq.to_string(), " REGISTER"])),
            ("Contact", &self.contact()),
            ("Expires", &expires.to_string()),
            ("Allow", super::ALLOW),
        ]);
        if !self.registration.removing && self.registration.state != RegistrationState::Registered {
            self.set_registration(RegistrationState::Registering, None);
        }
        if let Err(error) = self.send_request(Owner::Register, request, Attempt::default()) {
            self.registration_failed(error, false, None);
        }
    }

    pub(super) fn on_register_response(&mut self, response: &Response) {
        if response.status < 200 {
            return;
        }
        if self.registration.removing {
            self.removed();
            return;
        }
        match response.status {
            200..=299 => self.registered(response),
            // RFC 3261, section 10.2.8
            423 => {
                let min = response.headers.get("Min-Expires").and_then(parse_u32).unwrap_or(0);
                let acceptable = min > self.registration.expires && min <= MAX_EXPIRES;
                if acceptable && self.registration.too_brief < MAX_TOO_BRIEF {
                    self.registration.too_brief += 1;
                    self.registration.expires = min;
                    self.send_register();
                } else {
                    self.registration_failed(register_error(response), false, None);
                }
            }
            status => {
                let retry = matches!(status, 408 | 480 | 500..=599);
                let after = response.headers.get("Retry-After").and_then(parse_u32);
                self.registration_failed(register_error(response), retry, after);
            }
        }
    }

    fn removed(&mut self) {
        self.registration.removing = false;
        self.registration.bound = false;
        self.set_registration(RegistrationState::Unregistered, None);
    }

    fn registered(&mut self, response: &Response) {
        let granted = self.granted(response);
        if granted == 0 {
            let error = Error::new(ErrorCode::RegistrationFailed, "The server granted no registration time");
            self.registration_failed(error, true, None);
            return;
        }
        self.registration.bound = true;
        self.registration.failures = 0;
        // Between 50 % and 70 % of the lifetime: two more tries fit in before it runs out, even when a
        // background tab lets timers fire only once a minute.
        let millis = u64::from(granted).saturating_mul(1000);
        let delay = millis / 2 + below(&mut *self.entropy, millis / 5);
        self.timers.set(TimerKey::Register, self.now + Duration::from_millis(delay));
        self.set_registration(RegistrationState::Registered, None);
        self.connected();
    }

    /// Seconds that the registrar granted to our contact: its `expires` parameter, else the Expires header, else
    /// what we asked for (RFC 3261, section 10.2.4).
    fn granted(&self, response: &Response) -> u32 {
        let ours = self.contact_uri();
        let ours = before(&ours, b';');
        let contacts = response.headers.values("Contact");
        // Behind a NAT some registrars answer with the address that they see.
        let only = contacts.len() == 1;
        let by_contact = contacts.into_iter().find_map(|value| {
            let contact = NameAddr::parse(value).ok()?;
            let is_ours = only || before(&contact.uri, b';') == ours;
            is_ours.then(|| contact.params.get("expires").and_then(parse_u32))
        });
        let by_contact = by_contact.flatten();
        by_contact
            .or_else(|| response.headers.get("Expires").and_then(parse_u32))
            .unwrap_or(self.registration.expires)
            .min(MAX_EXPIRES)
    }

    /// The REGISTER got no answer, or one that cannot be used.
    pub(super) fn registration_failed(&mut self, error: Error, retry: bool, retry_after: Option<u32>) {
        if self.registration.removing {
            self.removed();
            return;
        }
        self.log(LogLevel::Warn, format_args!("registration failed: {error}"));
        self.set_registration(RegistrationState::Failed, Some(error.clone()));
        if !self.flow.established {
            if retry {
                self.drop_socket();
                self.attempt_failed(error.clone());
                self.transactions_interrupted(&error);
            } else {
                self.give_up(error);
            }
            return;
        }
        if core::mem::take(&mut self.flow.connect_pending) {
            self.event(Event::ConnectDone(Err(error)));
        }
        if retry {
            let shift = self.registration.failures.min(8);
            self.registration.failures = self.registration.failures.saturating_add(1);
            let limit = RETRY_CAP.min(RETRY_BASE.saturating_mul(1 << shift));
            let jitter = below(&mut *self.entropy, u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
            let asked = u64::from(retry_after.unwrap_or(1).min(MAX_RETRY_AFTER)) * 1000;
            self.timers.set(TimerKey::Register, self.now + Duration::from_millis(asked + jitter));
        }
    }

    pub(super) fn on_register_timer(&mut self) {
        if self.flow.open_socket().is_some() && self.config.register && !self.flow.closing {
            self.start_registering();
        }
    }

    /// The socket is gone: what the registrar knows of us leads nowhere.
    pub(super) fn registration_interrupted(&mut self) {
        self.forget_clients_of(Owner::Register);
        self.timers.clear(TimerKey::Register);
        self.removed();
    }
}

fn register_error(response: &Response) -> Error {
    let mut error = Error::from_status(response.status, &response.reason);
    if error.code != ErrorCode::AuthFailed {
        error.code = ErrorCode::RegistrationFailed;
        error.hint = error.code.hint().map(Into::into);
    }
    error
}
