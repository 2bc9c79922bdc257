//! The registration (RFC 3261, section 10): bind, refresh, and un-bind one contact; and what the registrar gives with
//! it: the way for requests (RFC 3608), an address that leads here from anywhere (RFC 5627).

use super::context::Cx;
use super::env::LineEvent;
use super::transactions::Owner;
use super::{Event, LogLevel, RegistrationState, TimerKey};
use crate::entropy::{below, token, uuid_v4};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::{NameAddr, parse_u32};
use crate::sip::message::{Method, Request, Response};
use crate::sip::uri::Uri;
use crate::text::{before, concat, digits};
use crate::time::{Duration, Instant};

/// Back-off after a refusal that is temporary by its status: full jitter below min(cap, base · 2ⁿ).
const RETRY_BASE: Duration = Duration::from_secs(2);
const RETRY_CAP: Duration = Duration::from_secs(60);
/// After any other refusal, where a binding was granted before: half to all of min(cap, base · 2ⁿ). Servers bar an
/// address after some wrong passwords, often after five in ten minutes, so the base is long.
const REFUSED_BASE: Duration = Duration::from_secs(30);
const REFUSED_CAP: Duration = Duration::from_secs(1800);
/// A hint of the browser does not lead to another REGISTER sooner after a failure.
const HINT_AFTER: u32 = 5;
/// A registrar may ask for a longer registration (423) so often in one attempt.
const MAX_TOO_BRIEF: u8 = 2;
/// No registrar has reason to ask for more than a day.
const MAX_EXPIRES: u32 = 86_400;
/// A hostile or mistaken Retry-After must not silence the phone for good.
pub(super) const MAX_RETRY_AFTER: u32 = 600;
/// A timer's delay in a tab in the background at the worst, and the time for an answer; milliseconds.
const THROTTLED: u64 = 75_000;
/// More proxies than any service sends its users through.
const MAX_SERVICE_ROUTES: usize = 8;

#[derive(Debug)]
pub(super) struct Registration {
    pub(super) state: RegistrationState,
    /// The address of record that the Call-ID is for.
    aor: String,
    call_id: String,
    from_tag: String,
    pub(super) seq: u32,
    /// Lifetime to ask for, seconds; raised by 423.
    expires: u32,
    too_brief: u8,
    failures: u32,
    /// Until then no hint leads to another REGISTER.
    hold_until: Instant,
    /// The REGISTER under way is to remove the binding.
    removing: bool,
    /// The registrar holds a binding that it has confirmed.
    bound: bool,
    /// `+sip.instance` (RFC 5626, section 4.1), the same for the life of the phone.
    pub(super) instance: String,
    /// An edge proxy of this server lacks outbound (439): the contact is registered without `reg-id`.
    plain: bool,
    /// The registrar knows this flow (RFC 5626, section 6).
    outbound: bool,
    /// Our addresses for others, of the registrar's making (RFC 5627, section 4.2): the public one, and the one that
    /// does not say who we are.
    gruu: [Option<String>; 2],
    /// Route of requests outside dialogs (RFC 3608, section 6.1).
    service_route: Vec<String>,
}

impl Registration {
    pub(super) const fn new() -> Self {
        Self {
            instance: String::new(),
            plain: false,
            outbound: false,
            gruu: [None, None],
            service_route: Vec::new(),
            state: RegistrationState::Unregistered,
            aor: String::new(),
            call_id: String::new(),
            from_tag: String::new(),
            seq: 0,
            expires: 0,
            too_brief: 0,
            failures: 0,
            hold_until: Instant::ZERO,
            removing: false,
            bound: false,
        }
    }

    /// The registrar may have a binding of ours.
    pub(super) const fn is_bound(&self) -> bool {
        self.bound
    }

    pub(super) const fn forget_binding(&mut self) {
        self.bound = false;
    }

    pub(super) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }
}

impl Cx {
    /// REGISTER on a fresh socket, or again.
    pub(super) fn start_registering(&mut self) {
        self.registration.expires = self.env.config.register_expires.as_secs().clamp(1, MAX_EXPIRES);
        self.registration.too_brief = 0;
        self.registration.removing = false;
        self.timers.clear(TimerKey::Register);
        self.forget_clients_of(Owner::Register);
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
        let aor = self.env.config.uri.aor();
        // RFC 3261, section 10.2.4: all REGISTERs of one phone to one registrar share a Call-ID.
        if aor != self.registration.aor {
            self.registration.aor = aor;
            self.registration.call_id = token(&mut *self.env.entropy, 24);
            self.registration.from_tag = token(&mut *self.env.entropy, 12);
        }
        let mut request = Request::new(Method::Register, self.env.config.uri.domain());
        let local = self.own_address();
        self.make_instance();
        // One flow is all that a phone has: the registrar puts the new one in the place of the one that was lost
        // (RFC 5626, section 4.2).
        let instance = concat(&[";+sip.instance=\"<", &self.registration.instance, ">\""]);
        let reg_id = if self.registration.plain { "" } else { ";reg-id=1" };
        let supported = if self.registration.plain { "path, gruu" } else { "path, outbound, gruu" };
        request.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&local, ";tag=", &self.registration.from_tag])),
            ("To", &local),
            ("Call-ID", &self.registration.call_id),
            ("CSeq", &concat(&[&digits(seq), " REGISTER"])),
            ("Contact", &concat(&["<", &self.contact_uri(), ">", &instance, reg_id])),
            ("Expires", &digits(expires)),
            ("Allow", super::ALLOW),
            ("Supported", supported),
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
            // The first proxy cannot keep flows (RFC 5626, section 11.6): registered as ever, then.
            439 if !self.registration.plain => {
                self.registration.plain = true;
                self.send_register();
            }
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
                let after = retry_after(response);
                let error = register_error(response);
                if status == 503 {
                    // Without a time it counts as a failure of the moment.
                    self.line.server_is_busy(&mut self.env, after.unwrap_or(1).min(MAX_RETRY_AFTER));
                    if self.line.leave_busy_server(&mut self.env, &error) {
                        return;
                    }
                }
                self.registration_failed(error, retry, after);
            }
        }
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
        self.learn_addresses(response);
        // Between 50 % and 70 % of the lifetime: two more tries fit in before it runs out. And where it is short, early
        // enough for a tab in the background whose timers fire once a minute.
        let millis = u64::from(granted).saturating_mul(1000);
        let late = millis.saturating_sub(THROTTLED).max(millis / 2);
        let delay = (millis / 2 + below(&mut *self.env.entropy, millis / 5)).min(late);
        self.timers.set(TimerKey::Register, self.env.now + Duration::from_millis(delay));
        self.timers.set(TimerKey::Binding, self.env.now + Duration::from_millis(millis));
        self.set_registration(RegistrationState::Registered, None);
        self.line.connected(&mut self.env);
    }

    /// The REGISTER got no answer, or one that cannot be used.
    pub(super) fn registration_failed(&mut self, error: Error, retry: bool, retry_after: Option<u32>) {
        if !self.registration.removing && self.line.go_back(&mut self.env, &error) {
            return;
        }
        if self.registration.removing {
            self.removed();
            return;
        }
        self.log(LogLevel::Warn, &["registration failed: ", &error.message]);
        self.set_registration(RegistrationState::Failed, Some(error.clone()));
        if !self.line.is_established() {
            if retry {
                let socket = self.line.open_socket();
                self.line.drop_socket(&mut self.env);
                self.line.attempt_failed(&mut self.env, error.clone());
                if let Some(socket) = socket {
                    self.on_down(socket, error);
                }
            } else {
                self.env.tell(LineEvent::GaveUp(error));
            }
            return;
        }
        if self.line.take_connect() {
            self.event(Event::ConnectDone(Err(error)));
        }
        // Calls need no binding: those that have waited for one go on without.
        self.line.connected(&mut self.env);
        // What was granted once may be granted again: the registrar was restarted, or does not reach its database.
        let shift = self.registration.failures.min(8);
        self.registration.failures = self.registration.failures.saturating_add(1);
        let asked = retry_after.unwrap_or(u32::from(retry)).min(MAX_RETRY_AFTER);
        let (base, cap) = if retry { (RETRY_BASE, RETRY_CAP) } else { (REFUSED_BASE, REFUSED_CAP) };
        let limit = u64::from(cap.min(base.saturating_mul(1 << shift)).as_millis());
        let least = if retry { 0 } else { limit / 2 };
        let wait = u64::from(asked) * 1000 + least + below(&mut *self.env.entropy, limit - least);
        self.timers.set(TimerKey::Register, self.env.now + Duration::from_millis(wait));
        self.registration.hold_until = self.env.now + Duration::from_secs(asked.max(HINT_AFTER).into());
    }

    pub(super) fn on_register_timer(&mut self) {
        if self.line.open_socket().is_some() && self.env.config.register && !self.line.is_closing() {
            self.start_registering();
        }
    }

    /// Something has changed, perhaps for the better: a registration that was refused is asked for now.
    pub(super) fn register_if_failed(&mut self) {
        let failed = self.registration.state == RegistrationState::Failed;
        if failed && self.line.is_established() && self.env.now >= self.registration.hold_until {
            self.on_register_timer();
        }
    }

    /// The time that the registrar granted is over, and no refresh has been granted.
    pub(super) fn on_binding_expired(&mut self) {
        self.registration.bound = false;
        if self.registration.state == RegistrationState::Registered {
            let error = Error::new(ErrorCode::RegistrationFailed, "The registration has expired");
            self.set_registration(RegistrationState::Registering, Some(error));
            // Otherwise its outcome is waited for: each has a deadline.
            if self.timers.is_set(TimerKey::Register) {
                self.on_register_timer();
            }
        }
    }
}

impl Cx {
    pub(super) fn set_registration(&mut self, state: RegistrationState, error: Option<Error>) {
        if self.registration.state != state || error.is_some() {
            self.registration.state = state;
            self.event(Event::Registration(state, error));
        }
    }

    fn removed(&mut self) {
        self.registration.removing = false;
        self.registration.bound = false;
        self.registration.outbound = false;
        self.registration.gruu = [None, None];
        self.registration.service_route.clear();
        self.timers.clear(TimerKey::Binding);
        self.set_registration(RegistrationState::Unregistered, None);
    }

    fn make_instance(&mut self) {
        let given = self.env.config.instance_id.as_deref().filter(|id| is_instance(id));
        if let Some(given) = given {
            self.registration.instance = given.to_owned();
        } else if self.registration.instance.is_empty() {
            self.registration.instance = concat(&["urn:uuid:", &uuid_v4(&mut *self.env.entropy)]);
        }
    }

    /// What the 2xx says beyond the lifetime. It holds until the next one.
    fn learn_addresses(&mut self, response: &Response) {
        let headers = &response.headers;
        let outbound = ["Require", "Supported"].iter().any(|name| headers.contains_token(name, "outbound"));
        let binding = self.own_binding(response);
        let gruu = ["pub-gruu", "temp-gruu"].map(|parameter| {
            let gruu = binding.as_ref()?.params.get(parameter)?;
            let uri = Uri::parse(gruu).ok()?;
            (uri.headers.is_none() && uri.password.is_none()).then(|| gruu.to_owned())
        });
        let mut routes = Vec::new();
        for value in headers.values("Service-Route") {
            // The whole way or none: with a part of it requests go astray.
            let good = NameAddr::parse(value).is_ok_and(|route| Uri::parse(&route.uri).is_ok());
            if !good || routes.len() == MAX_SERVICE_ROUTES {
                self.log(LogLevel::Warn, &["a Service-Route that cannot be used"]);
                routes.clear();
                break;
            }
            routes.push(value.to_owned());
        }
        self.registration.outbound = outbound && !self.registration.plain;
        self.registration.gruu = gruu;
        self.registration.service_route = routes;
    }

    /// The Route of a request outside a dialog, REGISTER excepted (RFC 3608, section 6.1). `send_request` does this
    /// for every request without a To-tag.
    pub(super) fn route_headers(&self, request: &mut Request) {
        for route in &self.registration.service_route {
            request.headers.push("Route", route.as_str());
        }
    }

    /// Our Contact in what makes or refreshes a dialog: the GRUU while there is one (RFC 5627, section 4.4), with `ob`
    /// where requests are to come back over this flow (RFC 5626, section 4.3).
    pub(super) fn contact(&self) -> String {
        self.contact_as(self.env.config.anonymous)
    }

    /// `private`: one that does not say who we are (RFC 5627, section 3.1.2).
    pub(super) fn contact_as(&self, private: bool) -> String {
        let [public, temporary] = &self.registration.gruu;
        let own = if private { temporary } else { public };
        let own = own.clone().unwrap_or_else(|| self.contact_uri());
        let ob = if self.registration.outbound { ";ob" } else { "" };
        concat(&["<", &own, ob, ">"])
    }

    /// Our contact among those that the registrar lists: behind a NAT some registrars answer with the address that they
    /// see. It is known by its instance (RFC 5626, section 4.2.1), by its user, which no other phone can guess, by both
    /// before either, or by being the only one.
    fn own_binding(&self, response: &Response) -> Option<NameAddr> {
        let contacts = response.headers.values("Contact");
        let mut best = (u8::from(contacts.len() > 1), None);
        for value in contacts {
            let Ok(contact) = NameAddr::parse(value) else { continue };
            let instance = contact
                .params
                .get("+sip.instance")
                .map(|id| before(id.strip_prefix('<').unwrap_or(id), b'>'));
            let user = Uri::parse(&contact.uri).ok().and_then(|uri| uri.user);
            let rank = 1
                + u8::from(user.as_deref() == Some(&*self.contact_user))
                + 2 * u8::from(instance == Some(&*self.registration.instance));
            if rank > best.0 {
                best = (rank, Some(contact));
            }
        }
        best.1
    }

    /// Seconds that the registrar granted to our contact: its `expires` parameter, else the Expires header, else
    /// what we asked for (RFC 3261, section 10.2.4).
    fn granted(&self, response: &Response) -> u32 {
        let by_contact =
            self.own_binding(response).and_then(|contact| contact.params.get("expires").and_then(parse_u32));
        by_contact
            .or_else(|| response.headers.get("Expires").and_then(parse_u32))
            .unwrap_or(self.registration.expires)
            .min(MAX_EXPIRES)
    }

    /// The socket is gone: what the registrar knows of us leads nowhere. It knows it all the same.
    pub(super) fn registration_interrupted(&mut self) {
        self.forget_clients_of(Owner::Register);
        self.timers.clear(TimerKey::Register);
        self.registration.plain = false;
        self.registration.failures = 0;
        let bound = self.registration.bound;
        self.removed();
        self.registration.bound = bound;
    }
}

/// Within quotes and angle brackets: what could end either is not taken, nor what is no URN.
pub(super) fn is_instance(id: &str) -> bool {
    id.len() > 4
        && id.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"))
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b":-._~%+=/()".contains(&b))
}

fn register_error(response: &Response) -> Error {
    let mut error = refused(response);
    if error.code != ErrorCode::AuthFailed {
        error.code = ErrorCode::RegistrationFailed;
        error.hint = error.code.hint().map(Into::into);
    }
    error
}

/// Seconds of Retry-After (RFC 3261, section 20.33), whose comment and parameters are for people.
pub(super) fn retry_after(response: &Response) -> Option<u32> {
    let value = response.headers.get("Retry-After")?;
    parse_u32(before(before(value, b';'), b'(').trim_ascii())
}

/// The error of a refused request, with what the server says of when to try again.
pub(super) fn refused(response: &Response) -> Error {
    let mut error = Error::from_status(response.status, &response.reason);
    error.retry_after = retry_after(response);
    if let Some(seconds) = error.retry_after {
        error = error.with_hint(concat(&["The server asks to try again after ", &digits(seconds), " s."]));
    }
    error
}
