//! The registration (RFC 3261, section 10): bind, refresh, and un-bind one contact; and what the registrar gives with
//! it: the way for requests (RFC 3608), an address that leads here from anywhere (RFC 5627).

use super::capabilities::ALLOW;
use super::env::Env;
use super::io::{Event, LogLevel, RegistrationState};
use super::timers::{Earliest, TimerKey};
use crate::entropy::{below, token, uuid_v4};
use crate::error::{Error, ErrorCode};
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

/// What follows from the final response to our REGISTER.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing: the binding is removed.
    Removed,
    /// The phone is registered.
    Registered,
    /// Another REGISTER is to be sent at once.
    Again,
    /// The server is overloaded for so many seconds; elsewhere it may succeed. Otherwise it is a refusal.
    Busy(u32, Refusal),
    /// It has failed, and the phone goes on without.
    Refused(Refusal),
}

/// Why the registration has failed, and when another attempt makes sense.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Error,
    /// The cause is temporary by its status.
    pub(super) temporary: bool,
    /// Seconds that the registrar asks to wait.
    pub(super) retry_after: Option<u32>,
}

/// The registration. It sends nothing: it makes the REGISTER, and says what follows from the response.
#[derive(Debug)]
pub(super) struct Registration {
    state: RegistrationState,
    /// The address of record that the Call-ID is for.
    aor: String,
    call_id: String,
    from_tag: String,
    seq: u32,
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
    instance: String,
    /// An edge proxy of this server lacks outbound (439): the contact is registered without `reg-id`.
    plain: bool,
    /// The registrar knows this flow (RFC 5626, section 6).
    outbound: bool,
    /// Our addresses for others, of the registrar's making (RFC 5627, section 4.2): the public one, and the one that
    /// does not say who we are.
    gruu: [Option<String>; 2],
    /// Route of requests outside dialogs (RFC 3608, section 6.1).
    service_route: Vec<String>,
    /// When the next REGISTER is due.
    due: Option<Instant>,
    /// When the time that the registrar has granted is over.
    expiry: Option<Instant>,
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
            due: None,
            expiry: None,
        }
    }

    pub(super) const fn state(&self) -> RegistrationState {
        self.state
    }

    pub(super) fn is_registered(&self) -> bool {
        self.state == RegistrationState::Registered
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == RegistrationState::Failed
    }

    /// A REGISTER is under way, and its success is waited for.
    pub(super) fn is_under_way(&self) -> bool {
        self.state == RegistrationState::Registering
    }

    /// `+sip.instance` of this phone, empty before its first REGISTER.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn set_instance(&mut self, instance: String) {
        self.instance = instance;
    }

    /// CSeq of the last REGISTER.
    pub(super) const fn seq(&self) -> u32 {
        self.seq
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

    // ---- its deadlines

    pub(super) fn show_deadlines(&self, earliest: &mut Earliest) {
        earliest.show(self.due, TimerKey::Register);
        earliest.show(self.expiry, TimerKey::Binding);
    }

    /// The next REGISTER is due now, or has been sent.
    pub(super) const fn set_due(&mut self, due: Option<Instant>) {
        self.due = due;
    }

    /// The time that the registrar granted is over, and no refresh has been granted. `true`: another REGISTER is to be
    /// sent.
    pub(super) fn on_expired(&mut self, env: &mut Env) -> bool {
        self.expiry = None;
        self.bound = false;
        if self.state != RegistrationState::Registered {
            return false;
        }
        let error = Error::new(ErrorCode::RegistrationFailed, "The registration has expired");
        self.enter(env, RegistrationState::Registering, Some(error));
        // Otherwise its outcome is waited for: each has a deadline.
        self.due.is_some()
    }

    /// Something has changed, perhaps for the better: whether a registration that was refused is asked for now.
    pub(super) fn is_worth_a_try(&self, now: Instant) -> bool {
        self.has_failed() && now >= self.hold_until
    }

    // ---- REGISTER

    /// REGISTER on a fresh socket, or again.
    pub(super) fn begin(&mut self, env: &Env) {
        self.expires = env.config.register_expires.as_secs().clamp(1, MAX_EXPIRES);
        self.too_brief = 0;
        self.removing = false;
        self.due = None;
    }

    /// The binding is to be removed. `false`: there can be none.
    pub(super) fn begin_removal(&mut self) -> bool {
        let may_be_bound = self.bound || self.is_under_way();
        self.removing |= may_be_bound;
        may_be_bound
    }

    /// The next REGISTER, for this contact.
    pub(super) fn request(&mut self, env: &mut Env) -> Request {
        let expires = if self.removing { 0 } else { self.expires };
        let seq = self.next_seq();
        let aor = env.config.uri.aor();
        // RFC 3261, section 10.2.4: all REGISTERs of one phone to one registrar share a Call-ID.
        if aor != self.aor {
            self.aor = aor;
            self.call_id = token(&mut *env.entropy, 24);
            self.from_tag = token(&mut *env.entropy, 12);
        }
        let mut request = Request::new(Method::Register, env.config.uri.domain());
        let local = env.own_address();
        self.make_instance(env);
        // One flow is all that a phone has: the registrar puts the new one in the place of the one that was lost
        // (RFC 5626, section 4.2).
        let instance = concat(&[";+sip.instance=\"<", &self.instance, ">\""]);
        let reg_id = if self.plain { "" } else { ";reg-id=1" };
        let supported = if self.plain { "path, gruu" } else { "path, outbound, gruu" };
        request.headers.push_all(&[
            ("Max-Forwards", "70"),
            ("From", &concat(&[&local, ";tag=", &self.from_tag])),
            ("To", &local),
            ("Call-ID", &self.call_id),
            ("CSeq", &concat(&[&digits(seq), " REGISTER"])),
            ("Contact", &concat(&["<", &env.contact_uri(), ">", &instance, reg_id])),
            ("Expires", &digits(expires)),
            ("Allow", ALLOW),
            ("Supported", supported),
        ]);
        if !self.removing && self.state != RegistrationState::Registered {
            self.enter(env, RegistrationState::Registering, None);
        }
        request
    }

    fn make_instance(&mut self, env: &mut Env) {
        let given = env.config.instance_id.as_deref().filter(|id| is_instance(id));
        if let Some(given) = given {
            self.instance = given.to_owned();
        } else if self.instance.is_empty() {
            self.instance = concat(&["urn:uuid:", &uuid_v4(&mut *env.entropy)]);
        }
    }

    /// Takes a final response.
    pub(super) fn on_response(&mut self, env: &mut Env, response: &Response) -> Verdict {
        if self.removing {
            self.removed(env);
            return Verdict::Removed;
        }
        let refused = |error| Refusal { error, temporary: false, retry_after: None };
        match response.status {
            200..=299 => self.granted(env, response),
            // The first proxy cannot keep flows (RFC 5626, section 11.6): registered as ever, then.
            439 if !self.plain => {
                self.plain = true;
                Verdict::Again
            }
            // RFC 3261, section 10.2.8
            423 => {
                let min = response.headers.get("Min-Expires").and_then(parse_u32).unwrap_or(0);
                let acceptable = min > self.expires && min <= MAX_EXPIRES;
                if acceptable && self.too_brief < MAX_TOO_BRIEF {
                    self.too_brief += 1;
                    self.expires = min;
                    Verdict::Again
                } else {
                    Verdict::Refused(refused(register_error(response)))
                }
            }
            status => {
                let retry_after = retry_after(response);
                let temporary = matches!(status, 408 | 480 | 500..=599);
                let refusal = Refusal { error: register_error(response), temporary, retry_after };
                if status == 503 {
                    // Without a time it counts as a failure of the moment.
                    Verdict::Busy(retry_after.unwrap_or(1).min(MAX_RETRY_AFTER), refusal)
                } else {
                    Verdict::Refused(refusal)
                }
            }
        }
    }

    fn granted(&mut self, env: &mut Env, response: &Response) -> Verdict {
        let granted = self.lifetime(env, response);
        if granted == 0 {
            let error = Error::new(ErrorCode::RegistrationFailed, "The server granted no registration time");
            return Verdict::Refused(Refusal { error, temporary: true, retry_after: None });
        }
        self.bound = true;
        self.failures = 0;
        self.learn_addresses(env, response);
        // Between 50 % and 70 % of the lifetime: two more tries fit in before it runs out. And where it is short, early
        // enough for a tab in the background whose timers fire once a minute.
        let millis = u64::from(granted).saturating_mul(1000);
        let late = millis.saturating_sub(THROTTLED).max(millis / 2);
        let delay = (millis / 2 + below(&mut *env.entropy, millis / 5)).min(late);
        self.due = Some(env.now + Duration::from_millis(delay));
        self.expiry = Some(env.now + Duration::from_millis(millis));
        self.enter(env, RegistrationState::Registered, None);
        Verdict::Registered
    }

    /// The REGISTER that was to remove the binding got no answer: that is the end of it. `false`: it was another.
    pub(super) fn end_removal(&mut self, env: &mut Env) -> bool {
        let removing = self.removing;
        if removing {
            self.removed(env);
        }
        removing
    }

    /// The REGISTER under way is to remove the binding.
    pub(super) const fn is_removing(&self) -> bool {
        self.removing
    }

    pub(super) fn failed(&mut self, env: &mut Env, error: &Error) {
        env.log(LogLevel::Warn, &["registration failed: ", &error.message]);
        self.enter(env, RegistrationState::Failed, Some(error.clone()));
    }

    /// Plans another attempt: what was granted once may be granted again. The registrar was restarted, or does not reach
    /// its database.
    pub(super) fn try_later(&mut self, env: &mut Env, temporary: bool, retry_after: Option<u32>) {
        let shift = self.failures.min(8);
        self.failures = self.failures.saturating_add(1);
        let asked = retry_after.unwrap_or(u32::from(temporary)).min(MAX_RETRY_AFTER);
        let (base, cap) = if temporary { (RETRY_BASE, RETRY_CAP) } else { (REFUSED_BASE, REFUSED_CAP) };
        let limit = u64::from(cap.min(base.saturating_mul(1 << shift)).as_millis());
        let least = if temporary { 0 } else { limit / 2 };
        let wait = u64::from(asked) * 1000 + least + below(&mut *env.entropy, limit - least);
        self.due = Some(env.now + Duration::from_millis(wait));
        self.hold_until = env.now + Duration::from_secs(asked.max(HINT_AFTER).into());
    }

    /// The socket is gone: what the registrar knows of us leads nowhere. It knows it all the same.
    pub(super) fn interrupted(&mut self, env: &mut Env) {
        self.due = None;
        self.plain = false;
        self.failures = 0;
        let bound = self.bound;
        self.removed(env);
        self.bound = bound;
    }

    fn removed(&mut self, env: &mut Env) {
        self.removing = false;
        self.bound = false;
        self.outbound = false;
        self.gruu = [None, None];
        self.service_route.clear();
        self.expiry = None;
        self.enter(env, RegistrationState::Unregistered, None);
    }

    fn enter(&mut self, env: &mut Env, state: RegistrationState, error: Option<Error>) {
        if self.state != state || error.is_some() {
            self.state = state;
            env.event(Event::Registration(state, error));
        }
    }

    // ---- what the registrar gives

    /// What the 2xx says beyond the lifetime. It holds until the next one.
    fn learn_addresses(&mut self, env: &mut Env, response: &Response) {
        let headers = &response.headers;
        let outbound = ["Require", "Supported"].iter().any(|name| headers.contains_token(name, "outbound"));
        let binding = self.own_binding(env, response);
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
                env.log(LogLevel::Warn, &["a Service-Route that cannot be used"]);
                routes.clear();
                break;
            }
            routes.push(value.to_owned());
        }
        self.outbound = outbound && !self.plain;
        self.gruu = gruu;
        self.service_route = routes;
    }

    /// The Route of a request outside a dialog, REGISTER excepted (RFC 3608, section 6.1).
    pub(super) fn route(&self, request: &mut Request) {
        for route in &self.service_route {
            request.headers.push("Route", route.as_str());
        }
    }

    /// Our Contact in what makes or refreshes a dialog: the GRUU while there is one (RFC 5627, section 4.4), with `ob`
    /// where requests are to come back over this flow (RFC 5626, section 4.3). `private`: one that does not say who we
    /// are (RFC 5627, section 3.1.2).
    pub(super) fn contact(&self, env: &Env, private: bool) -> String {
        let [public, temporary] = &self.gruu;
        let own = if private { temporary } else { public };
        let own = own.clone().unwrap_or_else(|| env.contact_uri());
        let ob = if self.outbound { ";ob" } else { "" };
        concat(&["<", &own, ob, ">"])
    }

    /// Our contact among those that the registrar lists: behind a NAT some registrars answer with the address that they
    /// see. It is known by its instance (RFC 5626, section 4.2.1), by its user, which no other phone can guess, by both
    /// before either, or by being the only one.
    fn own_binding(&self, env: &Env, response: &Response) -> Option<NameAddr> {
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
                + u8::from(user.as_deref() == Some(env.contact_user()))
                + 2 * u8::from(instance == Some(&*self.instance));
            if rank > best.0 {
                best = (rank, Some(contact));
            }
        }
        best.1
    }

    /// Seconds that the registrar granted to our contact: its `expires` parameter, else the Expires header, else
    /// what we asked for (RFC 3261, section 10.2.4).
    fn lifetime(&self, env: &Env, response: &Response) -> u32 {
        let by_contact = self
            .own_binding(env, response)
            .and_then(|contact| contact.params.get("expires").and_then(parse_u32));
        by_contact
            .or_else(|| response.headers.get("Expires").and_then(parse_u32))
            .unwrap_or(self.expires)
            .min(MAX_EXPIRES)
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
