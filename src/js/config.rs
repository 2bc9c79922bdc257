//! Options objects of JavaScript, checked field by field. Every error names the field.

use core::cell::RefCell;
use core::ops::RangeInclusive;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortSignal, HtmlAudioElement};

use crate::browser::audio_element::Playback;
use crate::browser::media_devices::Audio;
use crate::browser::object::get;
use crate::dial::destination::{Destination, check_country};
use crate::dial::provider::Provider;
use crate::dial::strategy::{Choice, StrategyName};
use crate::error::{Error, ErrorCode};
use crate::guess;
use crate::phone::{
    CredentialSource, Credentials, MessageRequest, PhoneConfig, PublishRequest, RedirectPolicy,
    ReplacesPolicy, Secret, SessionTimers, SubscribeRequest,
};
use crate::sip::uri::Uri;
use crate::text::{before, concat, digits, has_control, has_space_or_control, split, split_once};
use crate::time::Duration;
use crate::url::{check_server_url, is_loopback, is_plain_local_url};

/// A day; longer registrations are no use to a page.
const REGISTER_EXPIRES: RangeInclusive<u32> = 1..=86_400;
/// Priority and weight of each server.
type Weights = Vec<(u32, u32)>;
/// How long a call may be without media, or without a connection, milliseconds.
const GRACE: RangeInclusive<u32> = 1_000..=600_000;
const ICE_GATHER_TIMEOUT: RangeInclusive<u32> = 0..=60_000;
/// The option that names a number to call from.
const CALLER_ID: &str = "callerId";
/// As RFC 4028, section 4.2, recommends.
const SESSION_EXPIRES: Duration = Duration::from_secs(1800);
/// Objects within objects that are searched for API credentials.
const MAX_DEPTH: u32 = 4;
/// Of the name of an option that does not exist, characters.
const MAX_SHOWN_NAME: usize = 40;

/// An options object, read field by field. A field that is wrong reads as missing, and [`Options::finish`] says so:
/// with a `Result` from each field the readers below would be half as large again. What has been read is what exists: there
/// is no other list of names.
#[must_use = "`finish` has the errors"]
pub(crate) struct Options {
    value: JsValue,
    /// The first error.
    error: RefCell<Option<Error>>,
    /// The names that were asked for.
    known: RefCell<Vec<&'static str>>,
}

impl Options {
    /// An object, or `undefined` for none.
    ///
    /// # Errors
    /// `invalid_config` for anything else, and for what looks like an API credential.
    pub(crate) fn new(what: &str, value: &JsValue) -> Result<Self, Error> {
        let value = if value.is_undefined() || value.is_null() {
            Object::new().into()
        } else if is_object(value) {
            refuse_api_credentials(value, MAX_DEPTH)?;
            value.clone()
        } else {
            return Err(Error::invalid_config(what, "expected an object"));
        };
        Ok(Self { value, error: RefCell::default(), known: RefCell::default() })
    }

    /// To be called when everything has been read and before anything is done with it.
    ///
    /// # Errors
    /// That of the first field that was wrong; otherwise `invalid_config` naming a field that nobody has asked for, unless it is
    /// `undefined`.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let known = self.known.take();
        // Own enumerable keys only: what a framework adds to an object is neither, or a symbol. An event that a framework hands to its
        // handler, or an object of a class, has fields of its own.
        let keys = if is_plain(&self.value) {
            Object::keys(self.value.unchecked_ref::<Object>())
        } else {
            Array::new()
        };
        for key in keys.iter() {
            let Some(name) = key.as_string() else { continue };
            if !known.contains(&name.as_str()) && !get(&self.value, &name).is_undefined() {
                self.fail(unknown(&name, &known));
            }
        }
        self.data()
    }

    /// Like [`Options::finish`] for what is data rather than options, and may hold more: what the application's server has answered,
    /// and the dictionaries of browsers.
    ///
    /// # Errors
    /// That of the first field that was wrong.
    fn data(self) -> Result<(), Error> {
        self.error.into_inner().map_or(Ok(()), Err)
    }

    #[inline(never)]
    fn fail(&self, error: Error) {
        self.error.borrow_mut().get_or_insert(error);
    }

    fn refuse(&self, name: &str, problem: &str) {
        self.fail(Error::invalid_config(name, problem));
    }

    /// The value, if it was good.
    fn keep<T>(&self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// A field; `None` when it is missing, `undefined` or `null`.
    fn field(&self, name: &'static str) -> Option<JsValue> {
        let value = self.raw(name);
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    fn raw(&self, name: &'static str) -> JsValue {
        self.known.borrow_mut().push(name);
        // A getter may throw; its text is not ours to pass on.
        Reflect::get(&self.value, &name.into()).unwrap_or_else(|_| {
            self.refuse(name, "cannot be read");
            JsValue::UNDEFINED
        })
    }

    /// A string.
    pub(crate) fn string(&self, name: &'static str) -> Option<String> {
        let text = self.field(name)?.as_string();
        if text.is_none() {
            self.refuse(name, "expected a string");
        }
        text
    }

    /// A string that passes the check.
    fn checked(&self, name: &'static str, check: fn(&str) -> Result<(), Error>) -> Option<String> {
        let text = self.string(name)?;
        self.keep(check(&text))?;
        Some(text)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &'static str) -> Option<bool> {
        let value = self.field(name)?.as_bool();
        if value.is_none() {
            self.refuse(name, "expected true or false");
        }
        value
    }

    /// A whole number within a range.
    pub(crate) fn integer(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let number = self.field(name)?.as_f64().filter(|number| number.is_finite()).map(f64::round);
        // In range, so the cast is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        match number {
            Some(number) if number >= f64::from(*range.start()) && number <= f64::from(*range.end()) => {
                Some(number as u32)
            }
            _ => {
                self.refuse(
                    name,
                    &concat(&[
                        "expected a number from ",
                        &digits(*range.start()),
                        " to ",
                        &digits(*range.end()),
                    ]),
                );
                None
            }
        }
    }

    /// A whole number of milliseconds.
    fn milliseconds(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<Duration> {
        self.integer(name, range).map(|ms| Duration::from_millis(ms.into()))
    }

    fn strings(&self, name: &'static str) -> Option<Vec<String>> {
        self.list(name, &self.field(name)?)
    }

    fn list(&self, name: &str, value: &JsValue) -> Option<Vec<String>> {
        let mut strings = Vec::new();
        let mut good = Array::is_array(value);
        if good {
            for item in value.unchecked_ref::<Array>().iter() {
                match item.as_string() {
                    Some(item) => strings.push(item),
                    None => good = false,
                }
            }
        }
        if !good {
            self.refuse(name, "expected a list of strings");
            return None;
        }
        Some(strings)
    }

    /// One string or a list of them.
    fn string_or_strings(&self, name: &'static str) -> Option<Vec<String>> {
        let value = self.field(name)?;
        match value.as_string() {
            Some(one) => Some(vec![one]),
            None => self.list(name, &value),
        }
    }

    /// `servers`: URLs in order, or with priority and weight.
    fn servers(&self) -> Option<(Vec<String>, Weights)> {
        let value = self.field("servers")?;
        if !Array::is_array(&value) {
            return self.string_or_strings("servers").map(|urls| (urls, Vec::new()));
        }
        let (mut urls, mut weights) = (Vec::new(), Vec::new());
        for (place, item) in value.unchecked_ref::<Array>().iter().enumerate() {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let (url, weight) = match item.as_string() {
                Some(url) => (Some(url), (place, 1)),
                None => {
                    let options = self.keep(Self::new("servers", &item))?;
                    let priority = options.integer("priority", 0..=65_535).unwrap_or(place);
                    let weight = options.integer("weight", 0..=65_535).unwrap_or(1);
                    let url = options.string("url");
                    self.keep(options.finish())?;
                    (url, (priority, weight))
                }
            };
            match url {
                Some(url) => urls.push(url),
                None => self.refuse("servers", "expected URLs, or objects with a url"),
            }
            weights.push(weight);
        }
        Some((urls, weights))
    }

    fn function(&self, name: &'static str) -> Option<Function> {
        let value = self.field(name)?;
        if value.is_function() {
            return Some(value.unchecked_into());
        }
        self.refuse(name, "expected a function");
        None
    }

    /// `audio`: true, false, or `MediaTrackConstraints`.
    pub(crate) fn audio(&self) -> Option<Audio> {
        let value = self.field("audio")?;
        match value.as_bool() {
            Some(true) => Some(Audio::Default),
            Some(false) => Some(Audio::Off),
            None if is_object(&value) => Some(Audio::Constraints(value.unchecked_into())),
            None => {
                self.refuse("audio", "expected true, false or MediaTrackConstraints");
                None
            }
        }
    }

    fn signal(&self) -> Option<AbortSignal> {
        let signal = self.field("signal")?;
        // Not by `instanceof`: signals of polyfills and of other frames are as good.
        if get(&signal, "aborted").as_bool().is_some() && get(&signal, "addEventListener").is_function() {
            return Some(signal.unchecked_into());
        }
        self.refuse("signal", "expected an AbortSignal");
        None
    }

    /// How to call.
    fn strategy(&self) -> Option<Choice> {
        let name = self.string("strategy")?;
        self.keep(Choice::parse(&name))
    }

    /// Names and values of a plain object.
    fn headers(&self, name: &'static str) -> Option<Vec<(String, String)>> {
        self.keep(headers(name, &self.field(name)?))
    }

    /// Headers for the proxy, or the function that gives them, whose answers are checked when it is asked.
    fn proxy_headers(&self, name: &'static str) -> Option<ProxyHeaders> {
        let value = self.field(name)?;
        if value.is_function() {
            return Some(ProxyHeaders::Ask(value.unchecked_into()));
        }
        self.keep(proxy_headers(name, &value)).map(ProxyHeaders::Static)
    }

    /// `sessionTimers`: true, false, or the interval.
    fn session_timers(&self) -> Option<Option<SessionTimers>> {
        let value = self.field("sessionTimers")?;
        let expires = match value.as_bool() {
            Some(true) => SESSION_EXPIRES,
            Some(false) => return Some(None),
            None => {
                let options = self.keep(Self::new("sessionTimers", &value))?;
                let seconds = options.integer("expires", 90..=86_400).unwrap_or(1800);
                self.keep(options.finish())?;
                Duration::from_secs(seconds.into())
            }
        };
        Some(Some(SessionTimers { expires }))
    }

    /// `redirects`: `off`, `ask`, or how many to follow.
    fn redirects(&self) -> Option<RedirectPolicy> {
        let policy = match self.field("redirects")?.as_string().as_deref() {
            Some("off") => RedirectPolicy::Off,
            Some("ask") => RedirectPolicy::Ask,
            Some(_) => {
                self.refuse("redirects", "expected off, ask or a number");
                return None;
            }
            None => RedirectPolicy::Follow(u8::try_from(self.integer("redirects", 1..=20)?).ok()?),
        };
        Some(policy)
    }

    /// `replaces`: `peer`, `any`, or `ask`.
    fn replaces(&self) -> Option<ReplacesPolicy> {
        match self.field("replaces")?.as_string().as_deref() {
            Some("peer") => Some(ReplacesPolicy::Peer),
            Some("any") => Some(ReplacesPolicy::Any),
            Some("ask") => Some(ReplacesPolicy::Ask),
            _ => {
                self.refuse("replaces", "expected peer, any or ask");
                None
            }
        }
    }

    fn expires(&self) -> Duration {
        Duration::from_secs(self.integer("expires", REGISTER_EXPIRES).unwrap_or(3600).into())
    }

    fn caller_id(&self) -> Option<String> {
        self.checked(CALLER_ID, check_caller_id)
    }
}

/// Refuses `ws:` to another machine.
fn refuse_plain(servers: &[String]) -> Result<(), Error> {
    if servers.iter().any(|url| is_plain_local_url(url)) {
        return Err(Error::invalid_config("servers", "plain ws: is only for a loopback host").with_hint(
            "Use wss://, or set insecureLocalServers: true if nobody in this network may not hear who calls whom.",
        ));
    }
    Ok(())
}

/// The error for an option that does not exist.
#[cold]
fn unknown(name: &str, known: &[&str]) -> Error {
    // It is the application's text, and the message is for people.
    let shown: String = name.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_NAME).collect();
    match guess::meant(name, known) {
        Some(meant) => {
            Error::invalid_config(&shown, &concat(&["there is no such option; did you mean `", meant, "`?"]))
        }
        None => Error::invalid_config(&shown, "there is no such option"),
    }
}

/// Puts in what was given.
fn update<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn is_object(value: &JsValue) -> bool {
    value.is_object() && !Array::is_array(value)
}

/// Headers of the application's own session with its proxy. `Debug` shows none of them.
#[derive(Clone)]
pub(crate) enum ProxyHeaders {
    /// Given; there may be none.
    Static(Vec<(String, String)>),
    /// The application is asked each time.
    Ask(Function),
}

impl Default for ProxyHeaders {
    fn default() -> Self {
        Self::Static(Vec::new())
    }
}

impl core::fmt::Debug for ProxyHeaders {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ProxyHeaders")
    }
}

/// The configuration of a `DialStrategy`, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What the phone needs, but for its address and what the provider has to say.
    phone: PhoneConfig,
    uri: Option<Uri>,
    /// Asked for credentials each time.
    pub(crate) ask_credentials: Option<Function>,
    pub(crate) provider: Rc<Provider>,
    pub(crate) strategy: Choice,
    pub(crate) proxy_url: Option<String>,
    pub(crate) proxy_headers: ProxyHeaders,
    pub(crate) caller_id: Option<String>,
    pub(crate) ice_servers: JsValue,
    pub(crate) ice_transport_policy: JsValue,
    codecs: Vec<String>,
    pub(crate) audio: Audio,
    pub(crate) playback: Playback,
    pub(crate) default_country: Option<String>,
    pub(crate) resume: bool,
    /// `ws:` may lead to the local network.
    insecure_local: bool,
}

impl Settings {
    /// Nothing but defaults.
    #[inline(never)]
    pub(crate) fn new(provider: Rc<Provider>) -> Self {
        Self {
            phone: PhoneConfig::new(Vec::new(), Uri::default()),
            uri: None,
            ask_credentials: None,
            provider,
            strategy: Choice::Auto,
            proxy_url: None,
            proxy_headers: ProxyHeaders::default(),
            caller_id: None,
            ice_servers: JsValue::UNDEFINED,
            ice_transport_policy: JsValue::UNDEFINED,
            codecs: Vec::new(),
            audio: Audio::Default,
            playback: Playback::Own,
            default_country: None,
            resume: false,
            insecure_local: false,
        }
    }

    /// These settings with those of `config` on top. Fields that are missing or `undefined` stay as they are.
    /// `provider` finds one by its id.
    ///
    /// # Errors
    /// `invalid_config` naming the field.
    pub(crate) fn merged(
        &self,
        config: &JsValue,
        provider: fn(&str) -> Result<Rc<Provider>, Error>,
    ) -> Result<Self, Error> {
        let options = Options::new("config", config)?;
        let mut new = self.clone();
        let phone = &mut new.phone;

        if let Some((servers, weights)) = options.servers() {
            if servers.is_empty() {
                options.refuse("servers", "at least one is needed");
            }
            for url in &servers {
                options.keep(check_server_url(url));
            }
            phone.servers = servers;
            phone.weights = weights;
        }
        update(&mut new.insecure_local, options.boolean("insecureLocalServers"));
        if !new.insecure_local {
            options.keep(refuse_plain(&phone.servers));
        }
        if let Some(uri) = options.string("uri") {
            new.uri = Uri::parse(&uri)
                .ok()
                .filter(|uri| uri.user.is_some() && uri.password.is_none() && uri.headers.is_none());
            if new.uri.is_none() {
                options.refuse("uri", "expected an address such as sip:alice@example.com");
            }
        }
        if let Some(value) = options.field("credentials") {
            new.ask_credentials = None;
            phone.credentials = if value.is_function() {
                new.ask_credentials = Some(value.unchecked_into());
                CredentialSource::Ask
            } else if Array::is_array(&value) {
                let list = value.unchecked_ref::<Array>().iter();
                let list: Vec<_> = list.filter_map(|one| options.keep(credentials(&one, true))).collect();
                if list.is_empty() {
                    options.refuse("credentials", "expected credentials for one realm at least");
                }
                CredentialSource::ByRealm(list)
            } else {
                options
                    .keep(credentials(&value, true))
                    .map_or(CredentialSource::None, CredentialSource::Static)
            };
        }
        for (name, setting) in [
            ("register", &mut phone.register),
            ("trustIdentity", &mut phone.trust_identity),
            ("hangupOnUnload", &mut phone.hangup_on_unload),
            ("anonymous", &mut phone.anonymous),
            ("debug", &mut phone.trace),
            ("resume", &mut new.resume),
        ] {
            update(setting, options.boolean(name));
        }
        type Check = fn(&str) -> Result<(), Error>;
        let texts: [(&'static str, Check, &mut Option<String>); 5] = [
            ("displayName", check_display_name, &mut phone.display_name),
            ("instanceId", check_instance_id, &mut phone.instance_id),
            ("proxyUrl", check_proxy_url, &mut new.proxy_url),
            (CALLER_ID, check_caller_id, &mut new.caller_id),
            ("defaultCountry", check_country, &mut new.default_country),
        ];
        for (name, check, setting) in texts {
            let given = options.checked(name, check);
            if given.is_some() {
                *setting = given;
            }
        }
        for (name, range, setting) in [
            ("iceGatherTimeout", ICE_GATHER_TIMEOUT, &mut phone.ice_gather_timeout),
            ("mediaGrace", GRACE, &mut phone.media_grace),
            ("signallingGrace", GRACE, &mut phone.signalling_grace),
        ] {
            update(setting, options.milliseconds(name, range));
        }
        if let Some(seconds) = options.integer("registerExpires", REGISTER_EXPIRES) {
            phone.register_expires = Duration::from_secs(seconds.into());
        }
        if let Some(id) = options.string("providerId") {
            update(&mut new.provider, options.keep(provider(&id)));
        }
        update(&mut new.strategy, options.strategy());
        if options.boolean("autoDetect") == Some(true) {
            new.strategy = Choice::Auto;
        }
        update(&mut new.proxy_headers, options.proxy_headers("proxyHeaders"));
        if let Some(servers) = options.field("iceServers") {
            // What a function gives is checked each time.
            if !servers.is_function() {
                options.keep(check_ice_servers(&servers));
            }
            new.ice_servers = servers;
        }
        if let Some(policy) = options.checked("iceTransportPolicy", check_ice_transport_policy) {
            new.ice_transport_policy = policy.into();
        }
        update(&mut new.codecs, options.strings("codecs"));
        update(&mut new.audio, options.audio());
        let element = options.raw("audioElement");
        if element.is_null() {
            new.playback = Playback::Application;
        } else if let Some(element) = element.dyn_ref::<HtmlAudioElement>() {
            // Not `element.clone()`, which may be a method of JavaScript.
            new.playback = Playback::Element(Clone::clone(element));
        } else if !element.is_undefined() {
            options.refuse("audioElement", "expected an HTMLAudioElement or null");
        }
        update(&mut phone.session_timers, options.session_timers());
        update(&mut phone.redirects, options.redirects());
        update(&mut phone.replaces, options.replaces());
        phone.message_summary = options.boolean("unsolicitedMessageSummary").or(phone.message_summary);
        if let Some(callers) = options.strings("autoAnswer") {
            if callers.iter().any(|caller| caller.is_empty() || has_space_or_control(caller)) {
                options.refuse("autoAnswer", "expected addresses, domains (@example.com) or *");
            }
            phone.auto_answer = callers;
        }
        options.finish()?;
        Ok(new)
    }

    /// What the phone needs of this; `None` while the servers or the address are missing.
    pub(crate) fn phone_config(&self) -> Option<PhoneConfig> {
        let mut config = PhoneConfig { uri: self.uri.clone()?, ..self.phone.clone() };
        if config.servers.is_empty() {
            config.servers.clone_from(&self.provider.servers);
        }
        if config.servers.is_empty() {
            return None;
        }
        if !self.provider.session_timers {
            config.session_timers = None;
        }
        if !self.provider.redirects {
            config.redirects = RedirectPolicy::Off;
        }
        config.listens_only = matches!(self.audio, Audio::Off);
        Some(config)
    }

    /// Whether every line of the log is wanted, and not only warnings.
    pub(crate) const fn debug(&self) -> bool {
        self.phone.trace
    }

    /// The address of record, where calls are to outlive the page.
    pub(crate) fn resumes(&self) -> Option<String> {
        self.uri.as_ref().filter(|_| self.resume).map(Uri::aor)
    }

    /// The address of record, where what registers it is to be told from others and has not been named.
    pub(crate) fn needs_instance(&self) -> Option<String> {
        self.uri.as_ref().filter(|_| self.phone.register && self.phone.instance_id.is_none()).map(Uri::aor)
    }

    /// The domain of the address of record.
    pub(crate) fn domain(&self) -> Option<&str> {
        self.uri.as_ref().map(|uri| uri.host.as_str())
    }

    /// Codec names, best first: the application's, or the provider's.
    pub(crate) fn codecs(&self) -> &[String] {
        if self.codecs.is_empty() { &self.provider.codecs } else { &self.codecs }
    }
}

/// The options of one `dial()`, checked.
#[derive(Debug, Default)]
pub(crate) struct DialOptions {
    pub(crate) signal: Option<AbortSignal>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) strategy: Option<Choice>,
    pub(crate) caller_id: Option<String>,
    pub(crate) extra_headers: Vec<(String, String)>,
    pub(crate) audio: Option<Audio>,
    pub(crate) on_progress: Option<Function>,
}

impl DialOptions {
    /// Reads the second argument of `dial()`.
    ///
    /// # Errors
    /// `invalid_config` naming the field.
    pub(crate) fn read(options: &JsValue) -> Result<Self, Error> {
        let options = Options::new("options", options)?;
        let read = Self {
            signal: options.signal(),
            timeout: options.milliseconds("timeout", 1..=u32::MAX),
            strategy: options.strategy(),
            caller_id: options.caller_id(),
            extra_headers: options.headers("extraHeaders").unwrap_or_default(),
            audio: options.audio(),
            on_progress: options.function("onProgress"),
        };
        // The entry of the package keeps it.
        options.raw("metadata");
        options.finish()?;
        Ok(read)
    }
}

/// Whether it is an object of no class of its own: in every frame, the prototype of those has none itself.
fn is_plain(value: &JsValue) -> bool {
    let prototype = Object::get_prototype_of(value);
    prototype.is_null() || Object::get_prototype_of(&prototype).is_null()
}

/// A text.
///
/// # Errors
/// `invalid_config` naming it.
pub(crate) fn text(name: &str, value: &JsValue) -> Result<String, Error> {
    value.as_string().ok_or_else(|| Error::invalid_config(name, "expected a string"))
}

/// Reads what `sendMessage()` is given, but for its target.
///
/// # Errors
/// `invalid_config` naming the field.
pub(crate) fn message(body: &JsValue, options: &JsValue) -> Result<MessageRequest, Error> {
    let options = Options::new("options", options)?;
    let message = MessageRequest {
        target: String::new(),
        content_type: options.string("contentType").unwrap_or_else(|| "text/plain;charset=UTF-8".to_owned()),
        body: text("body", body)?,
        extra_headers: options.headers("extraHeaders").unwrap_or_default(),
    };
    options.finish()?;
    Ok(message)
}

/// Reads what `subscribe()` is given.
///
/// # Errors
/// `invalid_config` naming the field.
pub(crate) fn subscribe(
    target: String,
    event: &JsValue,
    options: &JsValue,
) -> Result<SubscribeRequest, Error> {
    let options = Options::new("options", options)?;
    let request = SubscribeRequest {
        target,
        event: text("event", event)?,
        accept: options.string_or_strings("accept").unwrap_or_default(),
        expires: options.expires(),
    };
    options.finish()?;
    Ok(request)
}

/// Reads what `publish()` is given.
///
/// # Errors
/// `invalid_config` naming the field.
pub(crate) fn publish(event: &JsValue, body: &JsValue, options: &JsValue) -> Result<PublishRequest, Error> {
    let options = Options::new("options", options)?;
    let request = PublishRequest {
        event: text("event", event)?,
        content_type: options.string("contentType").unwrap_or_else(|| "application/pidf+xml".to_owned()),
        body: text("body", body)?,
        expires: options.expires(),
    };
    options.finish()?;
    Ok(request)
}

/// Reads the argument of `registerProvider()`.
///
/// # Errors
/// `invalid_config` naming the field.
pub(crate) fn provider(value: &JsValue) -> Result<Provider, Error> {
    let options = Options::new("provider", value)?;
    let id = options.string("id").unwrap_or_else(|| {
        options.refuse("id", "is needed");
        String::new()
    });
    let mut strategies = Vec::new();
    for name in options.strings("strategies").unwrap_or_default() {
        match StrategyName::parse(&name) {
            Some(strategy) => strategies.push(strategy),
            None => options.refuse("strategies", "expected sip-invite or rest-originate"),
        }
    }
    let mut provider = Provider::new(&id, strategies);
    update(&mut provider.name, options.string("name"));
    update(&mut provider.session_timers, options.boolean("sessionTimers"));
    update(&mut provider.codecs, options.strings("codecs"));
    update(&mut provider.servers, options.string_or_strings("servers"));
    options.keep(refuse_plain(&provider.servers));
    options.finish()?;
    Ok(provider)
}

/// What `originateCall()` is given, checked.
pub(crate) struct OriginateOptions {
    /// Those of a phone that is never connected: what it registers with names nobody.
    pub(crate) settings: Settings,
    /// E.164, with its "+".
    pub(crate) to: String,
    pub(crate) signal: Option<AbortSignal>,
}

impl OriginateOptions {
    /// Reads the argument of `originateCall()`.
    ///
    /// # Errors
    /// `invalid_config` naming the field, `proxy_required`, `invalid_destination`.
    pub(crate) fn read(options: &JsValue, provider: Rc<Provider>) -> Result<Self, Error> {
        let options = Options::new("options", options)?;
        let mut settings = Settings::new(provider);
        settings.phone.servers = vec!["wss://originate.invalid".to_owned()];
        settings.uri = Uri::parse("sip:originate@originate.invalid").ok();
        settings.phone.register = false;
        settings.proxy_headers = options.proxy_headers("headers").unwrap_or_default();
        settings.proxy_url = options.checked("proxyUrl", check_proxy_url);
        settings.caller_id = options.caller_id();
        let destination = options.string("destination");
        let signal = options.signal();
        options.finish()?;
        if settings.proxy_url.is_none() {
            let missing = "originateCall() needs the URL of a call proxy";
            return Err(Error::new(ErrorCode::ProxyRequired, missing));
        }
        let destination = Destination::parse(&destination.unwrap_or_default(), None)?;
        let number = destination.phone_number().ok_or_else(|| {
            Error::new(ErrorCode::InvalidDestination, "originateCall() reaches telephone numbers only")
        })?;
        Ok(Self { settings, to: number.e164().to_owned(), signal })
    }
}

/// Reads `credentials`, or what a function gave for it, which is not `strictly` options: it may be a server's answer as it came.
///
/// # Errors
/// `invalid_config` naming the field; never with a value in it.
pub(crate) fn credentials(value: &JsValue, strictly: bool) -> Result<Credentials, Error> {
    let options = Options::new("credentials", value)?;
    let (password, ha1) = (options.string("password"), options.string("ha1"));
    let (username, realm) = (options.string("username"), options.string("realm"));
    let bearer = options.string("bearerToken");
    if strictly { options.finish() } else { options.data() }?;
    if let Some(token) = bearer {
        // RFC 6750, section 2.1; what is both a token and a password would be a guess.
        let good = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
        if token.is_empty() || !good || password.is_some() || ha1.is_some() {
            return Err(Error::invalid_config(
                "credentials.bearerToken",
                "expected a token, and no password",
            ));
        }
        return Ok(Credentials { username, secret: Secret::Bearer(token), realm });
    }
    let (field, problem) = match (password, ha1) {
        (Some(password), _) => {
            return Ok(Credentials { username, secret: Secret::Password(password), realm });
        }
        (None, Some(ha1)) if ha1.len() >= 32 && ha1.bytes().all(|b| b.is_ascii_hexdigit()) => {
            return Ok(Credentials { username, secret: Secret::Ha1(ha1), realm });
        }
        (None, Some(_)) => ("credentials.ha1", "expected a hash in hex"),
        (None, None) => ("credentials", "a password, ha1 or bearerToken is needed"),
    };
    Err(Error::invalid_config(field, problem))
}

fn headers(what: &str, value: &JsValue) -> Result<Vec<(String, String)>, Error> {
    let bad = || Error::invalid_config(what, "expected an object of strings");
    if !is_object(value) {
        return Err(bad());
    }
    let keys = Object::keys(value.unchecked_ref::<Object>());
    // A `Headers` or a `Map` has no properties of its own, and would count as no headers.
    if keys.length() == 0 && !is_plain_object(value) {
        return Err(bad());
    }
    let mut headers = Vec::new();
    for key in keys.iter() {
        let text = Reflect::get(value, &key).ok().and_then(|value| value.as_string());
        headers.push(key.as_string().zip(text).ok_or_else(bad)?);
    }
    Ok(headers)
}

/// Headers that browsers set by themselves or that belong to the connection (Fetch Standard, "forbidden
/// request-header"; RFC 9110, section 7.6.1), and the one that says what the body is.
const NOT_FOR_APPLICATIONS: &str = " accept-charset accept-encoding connection content-length content-type cookie \
    cookie2 date dnt expect host keep-alive origin referer set-cookie te trailer transfer-encoding upgrade via ";

/// Reads `proxyHeaders`, or what a function gave for it: those of the application's own session with its proxy.
///
/// # Errors
/// `invalid_config` naming the field, never what is in it.
pub(crate) fn proxy_headers(field: &str, value: &JsValue) -> Result<Vec<(String, String)>, Error> {
    let refuse = |problem| Err(Error::invalid_config(field, problem));
    let headers = headers(field, value)?;
    for (name, value) in &headers {
        // RFC 9110, section 5.1: a token. `fetch` takes no value beyond Latin-1.
        let token = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token || has_control(value) || value.chars().any(|c| u32::from(c) > 0xff) {
            return refuse("not a valid HTTP header");
        }
        if is_basic_authorization(name, value) || is_api_credential_name(name) {
            return Err(api_credential(field));
        }
        let name = name.to_ascii_lowercase();
        let starts = |with: &str| name.strip_prefix(with).is_some();
        let reserved = split(NOT_FOR_APPLICATIONS, b' ').any(|word| word == name);
        if reserved || starts("sec-") || starts("proxy-") || starts("access-control-") {
            return refuse("holds a header that only the browser may set");
        }
    }
    Ok(headers)
}

/// `Authorization: Basic …`, how REST APIs take an account's user and password (RFC 7617), under whatever name
/// speaks of authorization, and wherever in a list of several.
fn is_basic_authorization(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.as_bytes().windows(4).any(|part| part == b"auth")
        && split(value, b',').any(|part| {
            part.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
        })
}

/// A URN (RFC 5626, section 4.1) that can stand in quotes and angle brackets.
fn check_instance_id(id: &str) -> Result<(), Error> {
    let urn = id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
    if !urn || id.len() > 128 || id.bytes().any(|b| !b.is_ascii_graphic() || b"<>\"\\".contains(&b)) {
        return Err(Error::invalid_config("instanceId", "expected a URN such as urn:uuid:..."));
    }
    Ok(())
}

/// A key of the proxy's, such as "main": neither a telephone number nor what could be a password or a token.
fn check_caller_id(key: &str) -> Result<(), Error> {
    let good = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if key.is_empty() || key.len() > 64 || !good {
        return Err(Error::invalid_config(
            CALLER_ID,
            "expected the name that the proxy has for it, such as \"main\"",
        ));
    }
    if is_api_id(key) {
        return Err(api_credential(CALLER_ID));
    }
    Ok(())
}

/// What the ids and passwords of the accounts at 46elks and its like look like: 32 hex digits, with a letter before
/// them or not.
fn is_api_id(text: &str) -> bool {
    let hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex(text) || text.get(1..).is_some_and(hex)
}

fn api_credential(field: &str) -> Error {
    Error::invalid_config(field, "API credentials must not be in a browser")
        .with_hint("Keep API credentials on the call proxy and give its address in `proxyUrl`.")
}

/// Refuses options that look like the credentials of a REST API, wherever they stand in the object: in a browser
/// anyone can read them, and they allow far more than one call.
fn refuse_api_credentials(value: &JsValue, depth: u32) -> Result<(), Error> {
    for key in Object::keys(value.unchecked_ref::<Object>()).iter() {
        let Some(name) = key.as_string() else { continue };
        if is_api_credential_name(&name) {
            return Err(api_credential(&name));
        }
        let Ok(field) = Reflect::get(value, &key) else { continue };
        if let Some(text) = field.as_string() {
            if is_basic_authorization(&name, &text) {
                return Err(api_credential(&name));
            }
            if has_user_info(&text) {
                return Err(Error::invalid_config(&name, "a user or password does not belong in a URL")
                    .with_hint("Keep API credentials on the call proxy; SIP ones go into `credentials`."));
            }
        } else if depth > 0 && is_plain_object(&field) {
            refuse_api_credentials(&field, depth - 1)?;
        }
    }
    Ok(())
}

/// Names under which REST APIs' credentials go, whatever their spelling (apiUsername, api_key, API-Secret, …).
fn is_api_credential_name(name: &str) -> bool {
    let mut letters = String::new();
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        letters.push(char::from(byte.to_ascii_lowercase()));
    }
    let name = letters;
    let holds = |part: &str| name.as_bytes().windows(part.len()).any(|window| window == part.as_bytes());
    let api = holds("api")
        && ["user", "pass", "key", "secret", "token", "cred", "auth", "login"].iter().any(|part| holds(part));
    api || holds("basicauth")
        || matches!(
            name.as_str(),
            "auth" | "authtoken" | "accountsid" | "clientsecret" | "secretkey" | "accesskey"
        )
}

/// Whether a text is a URL with a user or password in its authority (RFC 3986, section 3.2.1).
fn has_user_info(text: &str) -> bool {
    // A scheme, "//", and the authority up to the path. (Searching by characters: the search for a substring
    // costs 3 kB of wasm.)
    let Some((_, rest)) = split_once(text, b':') else { return false };
    rest.strip_prefix("//")
        .map(|rest| before(before(before(rest, b'/'), b'?'), b'#'))
        .is_some_and(|authority| split_once(authority, b'@').is_some())
}

/// A literal or the like: not a stream, an element, an AbortSignal or a function.
fn is_plain_object(value: &JsValue) -> bool {
    value.is_object() && (Array::is_array(value) || is_plain(value))
}

/// `https:`, a path of the same origin, or `http:` to a loopback host.
fn check_proxy_url(url: &str) -> Result<(), Error> {
    const FIELD: &str = "proxyUrl";
    if has_space_or_control(url) {
        return Err(Error::invalid_config(FIELD, "a URL has no spaces or control characters"));
    }
    if split_once(url, b'?').is_some() || split_once(url, b'#').is_some() {
        return Err(Error::invalid_config(FIELD, "a base URL has neither a query nor a fragment"));
    }
    // A browser reads a backslash like a slash, so "/\host" is another origin.
    if url.starts_with('/') && !url.starts_with("//") && split_once(url, b'\\').is_none() {
        return Ok(());
    }
    let bad = || Error::invalid_config(FIELD, "expected an https: URL or a path that starts with a slash");
    // "https:host" is a path of the page's own server where that speaks https too (URL Standard, section 4.4).
    let parsed = match split_once(url, b':') {
        Some((_, rest)) if rest.starts_with("//") => web_sys::Url::new(url).map_err(|_| bad())?,
        _ => return Err(bad()),
    };
    if !parsed.username().is_empty() || !parsed.password().is_empty() {
        return Err(api_credential(FIELD));
    }
    let host = parsed.hostname();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    match parsed.protocol().as_str() {
        "https:" => Ok(()),
        "http:" if is_loopback(host) => Ok(()),
        "http:" => Err(Error::invalid_config(FIELD, "plain http: is only for a loopback host")),
        _ => Err(bad()),
    }
}

/// What `RTCPeerConnection` would throw at, found at the time of configuration instead of the first call.
pub(crate) fn check_ice_servers(servers: &JsValue) -> Result<(), Error> {
    const FIELD: &str = "iceServers";
    let bad = |problem: &str| Err(Error::invalid_config(FIELD, problem));
    if !Array::is_array(servers) {
        return bad("expected a list of RTCIceServer, or a function that gives one");
    }
    for server in servers.unchecked_ref::<Array>().iter() {
        let options = Options::new(FIELD, &server)?;
        let urls = options.string_or_strings("urls").unwrap_or_default();
        let authorized = get(&server, "username").is_string() && get(&server, "credential").is_string();
        options.data()?;
        if urls.is_empty() {
            return bad("each server needs `urls`");
        }
        for url in urls {
            let scheme = before(&url, b':');
            let is = |name: &str| scheme.eq_ignore_ascii_case(name);
            if is("turn") || is("turns") {
                if !authorized {
                    return bad("a turn: server needs username and credential");
                }
            } else if !is("stun") && !is("stuns") {
                return bad("expected stun:, stuns:, turn: or turns: URLs");
            }
            if split_once(&url, b'@').is_some() || has_space_or_control(&url) {
                return bad("not a valid URL");
            }
        }
    }
    Ok(())
}

fn check_ice_transport_policy(policy: &str) -> Result<(), Error> {
    match policy {
        "all" | "relay" => Ok(()),
        _ => Err(Error::invalid_config("iceTransportPolicy", "expected all or relay")),
    }
}

fn check_display_name(name: &str) -> Result<(), Error> {
    if has_control(name) {
        return Err(Error::invalid_config("displayName", "contains control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object_of;
    use crate::dial::provider::ProviderRegistry;

    fn provider(id: &str) -> Result<Rc<Provider>, Error> {
        ProviderRegistry::default().get(id).cloned()
    }

    fn empty() -> Settings {
        Settings::new(provider(ProviderRegistry::DEFAULT_ID).unwrap())
    }

    fn merge(config: &JsValue) -> Result<Settings, Error> {
        empty().merged(config, provider)
    }

    fn refused(config: &JsValue) -> Error {
        let error = merge(config).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid_config");
        error
    }

    fn list(items: &[&str]) -> JsValue {
        items.iter().map(|item| JsValue::from_str(item)).collect::<Array>().into()
    }

    #[test]
    fn a_field_keeps_its_value_until_it_is_given_again() {
        let first = merge(&object_of([
            ("servers", "wss://sip.example.com".into()),
            ("uri", "sip:alice@example.com".into()),
            ("displayName", "Alice".into()),
            ("registerExpires", 300.into()),
        ]))
        .unwrap();
        let second = first
            .merged(&object_of([("displayName", "A".into()), ("uri", JsValue::UNDEFINED)]), provider)
            .unwrap();
        let config = second.phone_config().unwrap();
        assert_eq!(config.servers, ["wss://sip.example.com"]);
        assert_eq!(config.display_name.as_deref(), Some("A"));
        assert_eq!(config.register_expires, Duration::from_secs(300));
        assert_eq!(second.domain(), Some("example.com"));
        assert!(empty().phone_config().is_none());
    }

    #[test]
    fn servers_come_in_order_or_with_priorities_and_weights() {
        let server = |url: &str, priority: u32, weight: u32| {
            object_of([("url", url.into()), ("priority", priority.into()), ("weight", weight.into())])
        };
        let servers = Array::of3(
            &server("wss://a.example.com", 1, 10),
            &server("wss://b.example.com", 1, 0),
            &"wss://c.example.com".into(),
        );
        let uri = ("uri", "sip:alice@example.com".into());
        let config = merge(&object_of([("servers", servers.into()), uri])).unwrap().phone_config().unwrap();
        assert_eq!(config.servers.len(), 3);
        assert_eq!(config.weights, [(1, 10), (1, 0), (2, 1)]);
        let bad = object_of([("url", "wss://a.example.com".into()), ("weight", (-1).into())]);
        assert!(refused(&object_of([("servers", Array::of1(&bad).into())])).message.starts_with("weight"));
    }

    #[test]
    fn plain_ws_leaves_this_machine_by_an_option_only() {
        let servers = |url: &str| ("servers", JsValue::from(url));
        let allow = |yes: bool| ("insecureLocalServers", JsValue::from(yes));
        for url in [
            "ws://192.168.1.10:8088/ws",
            "ws://pbx.local/ws",
            "WS://10.0.0.1",
            "ws://[fd00::1]:8088/ws",
            "ws://pbx/ws",
        ] {
            let error = refused(&object_of([servers(url)]));
            assert!(error.hint.as_ref().unwrap().contains("insecureLocalServers"), "{url}");
            let allowed = merge(&object_of([servers(url), allow(true)])).unwrap();
            // It stays allowed, and can be taken back.
            allowed.merged(&object_of([servers(url)]), provider).unwrap();
            assert!(allowed.merged(&object_of([allow(false)]), provider).is_err());
            let added =
                object_of([("id", "lan".into()), ("strategies", list(&["sip-invite"])), servers(url)]);
            assert!(super::provider(&added).is_err());
        }
        // The option is for the local network.
        for url in ["ws://sip.example.com/ws", "ws://8.8.8.8/ws"] {
            let error = refused(&object_of([servers(url), allow(true)]));
            assert!(!error.hint.as_ref().unwrap().contains("insecureLocalServers"), "{url}");
        }
        for url in ["ws://localhost:8080/sip", "ws://127.0.0.1/sip", "wss://192.168.1.10/ws"] {
            merge(&object_of([servers(url)])).unwrap();
        }
    }

    #[test]
    fn every_error_names_its_field() {
        for (field, value) in [
            ("servers", JsValue::from("https://sip.example.com")),
            ("servers", Array::new().into()),
            ("servers", 1.into()),
            ("uri", "alice".into()),
            ("uri", "sip:alice:secret@example.com".into()),
            ("displayName", "A\r\nB: c".into()),
            ("credentials", Object::new().into()),
            ("credentials", 1.into()),
            ("credentials", Array::new().into()),
            ("credentials", Array::of1(&Object::new()).into()),
            ("register", "yes".into()),
            ("registerExpires", 0.into()),
            ("registerExpires", f64::NAN.into()),
            ("providerId", "nobody".into()),
            ("strategy", "rest".into()),
            ("autoDetect", 1.into()),
            ("proxyUrl", "http://proxy.example.com".into()),
            ("proxyUrl", "//proxy.example.com/x".into()),
            ("proxyUrl", "javascript:alert(1)".into()),
            ("proxyHeaders", object_of([("X", 1.into())])),
            // It has no properties of its own, and would count as no headers.
            ("proxyHeaders", js_sys::Map::new().into()),
            ("proxyUrl", "https://proxy.example.com/?token=x".into()),
            ("proxyUrl", "/calls#x".into()),
            ("proxyHeaders", object_of([("X Y", "1".into())])),
            ("proxyHeaders", object_of([("X", "1\r\nY: 2".into())])),
            ("proxyHeaders", object_of([("Cookie", "a=b".into())])),
            ("callerId", 1.into()),
            ("callerId", "".into()),
            ("callerId", "+46701234567".into()),
            ("callerId", "two words".into()),
            ("callerId", "user:secret".into()),
            ("callerId", "x".repeat(65).into()),
            ("iceServers", "stun:stun.example.com".into()),
            ("iceServers", Array::of1(&object_of([("urls", "http://x".into())])).into()),
            ("iceServers", Array::of1(&object_of([("urls", "turn:turn.example.com".into())])).into()),
            ("iceTransportPolicy", "none".into()),
            ("iceGatherTimeout", (-1).into()),
            ("servers", Array::of1(&1.into()).into()),
            ("servers", Array::of1(&object_of([("priority", 1.into())])).into()),
            ("mediaGrace", 0.into()),
            ("signallingGrace", "long".into()),
            ("codecs", "PCMA".into()),
            ("audio", "yes".into()),
            ("audioElement", Object::new().into()),
            ("defaultCountry", "Sweden".into()),
            ("debug", 1.into()),
        ] {
            let error = refused(&object_of([(field, value)]));
            assert!(error.message.starts_with(field), "{field}: {}", error.message);
        }
        assert!(refused(&"wss://x".into()).message.starts_with("config"));
    }

    #[test]
    fn api_credentials_are_refused_wherever_they_stand() {
        for key in [
            "apiUsername",
            "apiPassword",
            "api_key",
            "apiKey",
            "API-SECRET",
            "apiToken",
            "basicAuth",
            "auth",
            "authToken",
            "elksApiPassword",
            "accountSid",
        ] {
            for config in [
                object_of([(key, "x-secret".into())]),
                object_of([("rest", object_of([(key, "x-secret".into())]))]),
            ] {
                let error = refused(&config);
                assert!(error.message.contains(key), "{}", error.message);
                assert!(error.hint.as_ref().unwrap().contains("proxy"));
                assert!(!error.message.contains("x-secret"));
                assert!(DialOptions::read(&config).is_err());
            }
        }
        for headers in [
            object_of([("Authorization", "Basic eDp5".into())]),
            object_of([("AUTHORIZATION", " bAsIc eDp5".into())]),
        ] {
            refused(&object_of([("proxyHeaders", headers)]));
        }
        merge(&object_of([("proxyHeaders", object_of([("Authorization", "Bearer x".into())]))])).unwrap();
        for url in ["https://u:p@proxy.example.com/", "https://u@proxy.example.com/"] {
            let error = refused(&object_of([("proxyUrl", url.into())]));
            assert!(error.hint.is_some());
        }
        refused(&object_of([("servers", list(&["wss://ok.example.com", "wss://u:p@sip.example.com"]))]));
    }

    #[test]
    fn credentials_never_show_in_errors_or_debug_output() {
        let given = credentials(&object_of([("password", "hunter2".into())]), true).unwrap();
        assert!(!format!("{given:?}").contains("hunter2"));
        for (value, field) in [
            (object_of([("ha1", "hunter2".into())]), "credentials.ha1"),
            (object_of([("bearerToken", "hunter2 hunter2".into())]), "credentials.bearerToken"),
            (object_of([("password", 1.into())]), "password"),
        ] {
            let error = credentials(&value, true).unwrap_err();
            assert!(error.message.starts_with(field));
            assert!(!error.message.contains("hunter2"));
        }
    }

    #[test]
    fn options_that_do_not_exist_are_refused_by_name() {
        let list = |value: JsValue| JsValue::from(Array::of1(&value));
        for (config, name, meant) in [
            (object_of([("server", "wss://sip.example.com".into())]), "server", "servers"),
            (object_of([("sockets", Array::new().into())]), "sockets", "servers"),
            (object_of([("password", "hunter2".into())]), "password", "credentials"),
            (object_of([("display_name", "A".into())]), "display_name", "displayName"),
            (object_of([("colour", "red".into())]), "colour", ""),
            (object_of([("video", false.into())]), "video", ""),
            // Within another option.
            (
                object_of([("credentials", object_of([("pasword", "hunter2".into()), ("ha1", "x".into())]))]),
                "pasword",
                "password",
            ),
            (
                object_of([(
                    "credentials",
                    list(object_of([("password", "x".into()), ("relm", "x".into())])),
                )]),
                "relm",
                "realm",
            ),
            (object_of([("sessionTimers", object_of([("expire", 90.into())]))]), "expire", "expires"),
            (
                object_of([(
                    "servers",
                    list(object_of([("url", "wss://a.example.com".into()), ("wait", 1.into())])),
                )]),
                "wait",
                "",
            ),
        ] {
            let error = refused(&config);
            assert!(
                error.message.starts_with(&format!("{name}: there is no such option")),
                "{}",
                error.message
            );
            assert_eq!(error.message.contains("did you mean"), !meant.is_empty(), "{}", error.message);
            assert!(error.message.contains(meant) && !error.message.contains("hunter2"), "{}", error.message);
        }
        let error = DialOptions::read(&object_of([("timout", 1.into())])).unwrap_err();
        assert!(error.message.contains("`timeout`"), "{}", error.message);
        let error = message(&"x".into(), &object_of([("content_type", "x".into())])).unwrap_err();
        assert!(error.message.contains("`contentType`"), "{}", error.message);
        let long = "x\n".repeat(100);
        let error = refused(&object_of([(long.as_str(), 1.into())]));
        assert!(error.message.len() < 80 && !error.message.contains('\n'), "{}", error.message);
    }

    #[test]
    fn what_is_no_option_is_not_looked_at() {
        // It is as if they were not there.
        merge(&object_of([("server", JsValue::UNDEFINED)])).unwrap();
        // Inherited, not enumerable, or a symbol: what frameworks add to an object.
        let config: Object = Object::create(object_of([("inherited", 1.into())]).unchecked_ref());
        Reflect::set(&config, &js_sys::Symbol::iterator(), &1.into()).unwrap();
        Object::define_property(
            &config,
            &"__v_skip".into(),
            object_of([("value", true.into())]).unchecked_ref(),
        );
        merge(&config).unwrap();
        // A proxy of the state of a framework.
        let proxy = js_sys::Proxy::new(&object_of([("displayName", "A".into())]), &Object::new());
        assert_eq!(merge(&proxy).unwrap().phone.display_name.as_deref(), Some("A"));
        // The answer of a server, and dictionaries of the browser.
        let answer = object_of([("password", "x".into()), ("expiresAt", 1.into())]);
        credentials(&answer, false).unwrap();
        assert!(credentials(&answer, true).is_err());
        let server =
            object_of([("urls", "stun:stun.example.com".into()), ("credentialType", "password".into())]);
        let audio = object_of([("voiceIsolation", true.into())]);
        merge(&object_of([("iceServers", Array::of1(&server).into()), ("audio", audio)])).unwrap();
    }

    #[test]
    fn proxy_urls() {
        for ok in
            ["https://proxy.example.com/calls", "/api/calls", "http://127.0.0.1:8080", "http://localhost/x"]
        {
            check_proxy_url(ok).unwrap();
        }
        for bad in [
            "api/calls",
            "https:example.com",
            "http:localhost",
            "/\\example.com",
            "http://example.com",
            "https://a b",
            "ftp://example.com",
            "",
        ] {
            assert!(check_proxy_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_session_with_the_proxy_is_kept_and_not_shown() {
        let settings = merge(&object_of([
            ("callerId", "Main-2_b.c".into()),
            ("proxyHeaders", object_of([("Authorization", "Bearer hunter2".into())])),
        ]))
        .unwrap();
        assert_eq!(settings.caller_id.as_deref(), Some("Main-2_b.c"));
        let ProxyHeaders::Static(headers) = &settings.proxy_headers else { panic!("not kept") };
        assert_eq!(headers, &[("Authorization".to_owned(), "Bearer hunter2".to_owned())]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let function = js_sys::Function::new_no_args("return {}");
        let asked = settings.merged(&object_of([("proxyHeaders", function.into())]), provider).unwrap();
        assert!(matches!(asked.proxy_headers, ProxyHeaders::Ask(_)));

        // Ids and passwords of accounts at 46elks.
        for id in ["0123456789abcdef0123456789ABCDEF", "u0123456789abcdef0123456789abcdef"] {
            let error = refused(&object_of([("callerId", id.into())]));
            assert!(error.hint.as_ref().unwrap().contains("proxy") && !error.message.contains(id));
        }
        assert_eq!(
            DialOptions::read(&object_of([("callerId", "other".into())])).unwrap().caller_id.as_deref(),
            Some("other")
        );
        assert!(DialOptions::read(&object_of([("callerId", "a b".into())])).is_err());
    }

    #[test]
    fn dial_options_are_checked() {
        let options = DialOptions::read(&object_of([
            ("timeout", 1500.into()),
            ("extraHeaders", object_of([("X-Tag", "1".into())])),
            ("audio", false.into()),
            ("strategy", "auto".into()),
        ]))
        .unwrap();
        assert_eq!(options.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.extra_headers, [("X-Tag".to_owned(), "1".to_owned())]);
        assert!(matches!(options.audio, Some(Audio::Off)));
        for (field, value) in [
            ("timeout", JsValue::from(0)),
            ("timeout", f64::INFINITY.into()),
            ("signal", Object::new().into()),
            ("extraHeaders", list(&["X"])),
            ("onProgress", 1.into()),
            ("strategy", "fax".into()),
        ] {
            let error = DialOptions::read(&object_of([(field, value)])).unwrap_err();
            assert!(error.message.starts_with(field), "{}", error.message);
        }
    }

    #[test]
    fn auto_detect_is_strategy_auto() {
        let fixed = merge(&object_of([("strategy", "rest-originate".into())])).unwrap();
        assert_eq!(fixed.strategy, Choice::Fixed(StrategyName::RestOriginate));
        let auto = fixed.merged(&object_of([("autoDetect", true.into())]), provider).unwrap();
        assert_eq!(auto.strategy, Choice::Auto);
    }
}
