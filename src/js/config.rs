//! Options objects of JavaScript, checked field by field. Every error names the field.

use core::ops::RangeInclusive;
use core::time::Duration;

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortSignal, HtmlAudioElement};

use crate::browser::audio_element::Playback;
use crate::browser::media_devices::Audio;
use crate::browser::object::get;
use crate::dial::destination::check_country;
use crate::dial::provider::Provider;
use crate::dial::strategy::{Choice, StrategyName};
use crate::error::Error;
use crate::phone::{CredentialSource, Credentials, PhoneConfig, Secret, check_server_url, is_loopback};
use crate::sip::uri::Uri;

/// A day; longer registrations are no use to a page.
const REGISTER_EXPIRES: RangeInclusive<u32> = 1..=86_400;
const ICE_GATHER_TIMEOUT: RangeInclusive<u32> = 0..=60_000;
/// Objects within objects that are searched for API credentials.
const MAX_DEPTH: u32 = 4;

/// An options object.
pub(crate) struct Options {
    value: JsValue,
}

impl Options {
    /// An object, or `undefined` for none.
    ///
    /// # Errors
    /// `invalid_config` for anything else, and for what looks like an API credential.
    pub(crate) fn new(what: &str, value: &JsValue) -> Result<Self, Error> {
        if value.is_undefined() || value.is_null() {
            return Ok(Self { value: Object::new().into() });
        }
        if !value.is_object() || Array::is_array(value) {
            return Err(Error::invalid_config(what, "expected an object"));
        }
        refuse_api_credentials(value, MAX_DEPTH)?;
        Ok(Self { value: value.clone() })
    }

    /// A field; `None` when it is missing, `undefined` or `null`.
    fn field(&self, name: &str) -> Result<Option<JsValue>, Error> {
        let value = self.raw(name)?;
        Ok((!value.is_undefined() && !value.is_null()).then_some(value))
    }

    fn raw(&self, name: &str) -> Result<JsValue, Error> {
        // A getter may throw; its text is not ours to pass on.
        Reflect::get(&self.value, &name.into()).map_err(|_| Error::invalid_config(name, "cannot be read"))
    }

    /// A string.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, Error> {
        self.field(name)?
            .map(|value| value.as_string().ok_or_else(|| Error::invalid_config(name, "expected a string")))
            .transpose()
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        self.field(name)?
            .map(|value| value.as_bool().ok_or_else(|| Error::invalid_config(name, "expected true or false")))
            .transpose()
    }

    /// A whole number within a range.
    pub(crate) fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Error> {
        let Some(value) = self.field(name)? else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite()).map(f64::round);
        // In range, so the cast is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        match number {
            Some(number) if number >= f64::from(*range.start()) && number <= f64::from(*range.end()) => {
                Ok(Some(number as u32))
            }
            _ => Err(Error::invalid_config(
                name,
                &format!("expected a number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let bad = || Error::invalid_config(name, "expected a list of strings");
        self.field(name)?
            .map(|value| {
                if !Array::is_array(&value) {
                    return Err(bad());
                }
                value.unchecked_into::<Array>().iter().map(|item| item.as_string().ok_or_else(bad)).collect()
            })
            .transpose()
    }

    /// One string or a list of them.
    fn string_or_strings(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        match self.field(name)?.and_then(|value| value.as_string()) {
            Some(one) => Ok(Some(vec![one])),
            None => self.strings(name),
        }
    }

    fn function(&self, name: &str) -> Result<Option<Function>, Error> {
        self.field(name)?
            .map(|value| value.dyn_into().map_err(|_| Error::invalid_config(name, "expected a function")))
            .transpose()
    }

    /// `audio`: true, false, or `MediaTrackConstraints`.
    pub(crate) fn audio(&self) -> Result<Option<Audio>, Error> {
        let Some(value) = self.field("audio")? else { return Ok(None) };
        Ok(Some(match value.as_bool() {
            Some(true) => Audio::Default,
            Some(false) => Audio::Off,
            None if value.is_object() && !Array::is_array(&value) => {
                Audio::Constraints(value.unchecked_into())
            }
            None => {
                return Err(Error::invalid_config("audio", "expected true, false or MediaTrackConstraints"));
            }
        }))
    }

    /// Names and values of a plain object.
    fn headers(&self, name: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        self.field(name)?.map(|value| headers(name, &value)).transpose()
    }
}

/// How the phone gets SIP credentials.
#[derive(Debug, Clone, Default)]
pub(crate) enum CredentialsSetting {
    /// There are none.
    #[default]
    None,
    /// Given.
    Static(Credentials),
    /// The application is asked each time.
    Ask(Function),
}

/// The configuration of a `DialStrategy`, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    servers: Vec<String>,
    uri: Option<Uri>,
    display_name: Option<String>,
    pub(crate) credentials: CredentialsSetting,
    register: bool,
    register_expires: Duration,
    pub(crate) provider: Provider,
    pub(crate) strategy: Choice,
    pub(crate) proxy_url: Option<String>,
    pub(crate) ice_servers: JsValue,
    pub(crate) ice_transport_policy: JsValue,
    ice_gather_timeout: Duration,
    codecs: Vec<String>,
    pub(crate) audio: Audio,
    pub(crate) playback: Playback,
    pub(crate) default_country: Option<String>,
    pub(crate) debug: bool,
}

impl Settings {
    /// Nothing but defaults.
    pub(crate) fn new(provider: Provider) -> Self {
        Self {
            servers: Vec::new(),
            uri: None,
            display_name: None,
            credentials: CredentialsSetting::None,
            register: true,
            register_expires: Duration::from_secs(600),
            provider,
            strategy: Choice::Auto,
            proxy_url: None,
            ice_servers: JsValue::UNDEFINED,
            ice_transport_policy: JsValue::UNDEFINED,
            ice_gather_timeout: Duration::from_millis(500),
            codecs: Vec::new(),
            audio: Audio::Default,
            playback: Playback::Own,
            default_country: None,
            debug: false,
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
        provider: fn(&str) -> Result<Provider, Error>,
    ) -> Result<Self, Error> {
        let options = Options::new("config", config)?;
        let mut new = self.clone();

        if let Some(servers) = options.string_or_strings("servers")? {
            if servers.is_empty() {
                return Err(Error::invalid_config("servers", "at least one is needed"));
            }
            servers.iter().try_for_each(|url| check_server_url(url))?;
            new.servers = servers;
        }
        if let Some(uri) = options.string("uri")? {
            let parsed = Uri::parse(&uri)
                .ok()
                .filter(|uri| uri.user.is_some() && uri.password.is_none() && uri.headers.is_none());
            new.uri = Some(parsed.ok_or_else(|| {
                Error::invalid_config("uri", "expected an address such as sip:alice@example.com")
            })?);
        }
        if let Some(name) = options.string("displayName")? {
            if name.chars().any(char::is_control) {
                return Err(Error::invalid_config("displayName", "holds control characters"));
            }
            new.display_name = Some(name);
        }
        if let Some(value) = options.field("credentials")? {
            new.credentials = match value.dyn_into::<Function>() {
                Ok(function) => CredentialsSetting::Ask(function),
                Err(value) => CredentialsSetting::Static(credentials(&value)?),
            };
        }
        if let Some(register) = options.boolean("register")? {
            new.register = register;
        }
        if let Some(seconds) = options.integer("registerExpires", REGISTER_EXPIRES)? {
            new.register_expires = Duration::from_secs(seconds.into());
        }
        if let Some(id) = options.string("providerId")? {
            new.provider = provider(&id)?;
        }
        if let Some(strategy) = options.string("strategy")? {
            new.strategy = Choice::parse(&strategy)?;
        }
        if options.boolean("autoDetect")? == Some(true) {
            new.strategy = Choice::Auto;
        }
        if let Some(url) = options.string("proxyUrl")? {
            check_proxy_url(&url)?;
            new.proxy_url = Some(url);
        }
        check_proxy_headers("proxyHeaders", &options)?;
        // A key of the proxy's; only the ways of calling that go through it will send it.
        options.string("callerId")?;
        if let Some(servers) = options.field("iceServers")? {
            check_ice_servers(&servers)?;
            new.ice_servers = servers;
        }
        if let Some(policy) = options.string("iceTransportPolicy")? {
            if policy != "all" && policy != "relay" {
                return Err(Error::invalid_config("iceTransportPolicy", "expected all or relay"));
            }
            new.ice_transport_policy = policy.into();
        }
        if let Some(ms) = options.integer("iceGatherTimeout", ICE_GATHER_TIMEOUT)? {
            new.ice_gather_timeout = Duration::from_millis(ms.into());
        }
        if let Some(codecs) = options.strings("codecs")? {
            new.codecs = codecs;
        }
        if let Some(audio) = options.audio()? {
            new.audio = audio;
        }
        let element = options.raw("audioElement")?;
        if element.is_null() {
            new.playback = Playback::Application;
        } else if !element.is_undefined() {
            let element = element
                .dyn_into::<HtmlAudioElement>()
                .map_err(|_| Error::invalid_config("audioElement", "expected an HTMLAudioElement or null"))?;
            new.playback = Playback::Element(element);
        }
        if let Some(country) = options.string("defaultCountry")? {
            check_country(&country)?;
            new.default_country = Some(country);
        }
        if let Some(debug) = options.boolean("debug")? {
            new.debug = debug;
        }
        Ok(new)
    }

    /// What the phone needs of this; `None` while the servers or the address are missing.
    pub(crate) fn phone_config(&self) -> Option<PhoneConfig> {
        let servers = if self.servers.is_empty() { &self.provider.servers } else { &self.servers };
        if servers.is_empty() {
            return None;
        }
        let mut config = PhoneConfig::new(servers.clone(), self.uri.clone()?);
        config.display_name.clone_from(&self.display_name);
        config.credentials = match &self.credentials {
            CredentialsSetting::None => CredentialSource::None,
            CredentialsSetting::Static(credentials) => CredentialSource::Static(credentials.clone()),
            CredentialsSetting::Ask(_) => CredentialSource::Ask,
        };
        config.register = self.register;
        config.register_expires = self.register_expires;
        config.ice_gather_timeout = self.ice_gather_timeout;
        config.trace = self.debug;
        Some(config)
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
        options.string("callerId")?;
        Ok(Self {
            signal: options
                .field("signal")?
                .map(|signal| {
                    // Not by `instanceof`: signals of polyfills and of other frames are as good.
                    if get(&signal, "aborted").as_bool().is_some()
                        && get(&signal, "addEventListener").is_function()
                    {
                        Ok(signal.unchecked_into())
                    } else {
                        Err(Error::invalid_config("signal", "expected an AbortSignal"))
                    }
                })
                .transpose()?,
            timeout: options.integer("timeout", 1..=u32::MAX)?.map(|ms| Duration::from_millis(ms.into())),
            strategy: options.string("strategy")?.map(|name| Choice::parse(&name)).transpose()?,
            extra_headers: options.headers("extraHeaders")?.unwrap_or_default(),
            audio: options.audio()?,
            on_progress: options.function("onProgress")?,
        })
    }
}

/// Reads the argument of `registerProvider()`.
///
/// # Errors
/// `invalid_config` naming the field.
pub(crate) fn provider(value: &JsValue) -> Result<Provider, Error> {
    let options = Options::new("provider", value)?;
    let id = options.string("id")?.ok_or_else(|| Error::invalid_config("id", "is needed"))?;
    let strategies = options
        .strings("strategies")?
        .unwrap_or_default()
        .iter()
        .map(|name| {
            StrategyName::parse(name)
                .ok_or_else(|| Error::invalid_config("strategies", "expected sip-invite or rest-originate"))
        })
        .collect::<Result<_, _>>()?;
    let mut provider = Provider::new(&id, strategies);
    if let Some(name) = options.string("name")? {
        provider.name = name;
    }
    if let Some(offer) = options.boolean("sessionTimers")? {
        provider.session_timers = offer;
    }
    provider.codecs = options.strings("codecs")?.unwrap_or_default();
    provider.servers = options.string_or_strings("servers")?.unwrap_or_default();
    Ok(provider)
}

/// Reads what `originateCall()` is given; the strategy itself is not part of this version.
///
/// # Errors
/// `invalid_config` naming the field, `proxy_required`.
pub(crate) fn check_originate(options: &JsValue) -> Result<(), Error> {
    let options = Options::new("options", options)?;
    check_proxy_headers("headers", &options)?;
    match options.string("proxyUrl")? {
        Some(url) => check_proxy_url(&url),
        None => Err(Error::new(
            crate::error::ErrorCode::ProxyRequired,
            "originateCall() needs the URL of a call proxy",
        )),
    }
}

/// Reads `credentials`, or what a function gave for it.
///
/// # Errors
/// `invalid_config` naming the field; never with a value in it.
pub(crate) fn credentials(value: &JsValue) -> Result<Credentials, Error> {
    let options = Options::new("credentials", value)?;
    let password = options.string("password")?;
    let ha1 = options.string("ha1")?;
    let secret = match (password, ha1) {
        (Some(password), _) => Secret::Password(password),
        (None, Some(ha1)) if ha1.len() >= 32 && ha1.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Secret::Ha1(ha1)
        }
        (None, Some(_)) => return Err(Error::invalid_config("credentials.ha1", "expected a hash in hex")),
        (None, None) if options.field("bearerToken")?.is_some() => {
            return Err(Error::invalid_config("credentials.bearerToken", "is not part of this version"));
        }
        (None, None) => {
            return Err(Error::invalid_config("credentials", "a password or ha1 is needed"));
        }
    };
    Ok(Credentials { username: options.string("username")?, secret, realm: options.string("realm")? })
}

fn headers(what: &str, value: &JsValue) -> Result<Vec<(String, String)>, Error> {
    if !value.is_object() || Array::is_array(value) {
        return Err(Error::invalid_config(what, "expected an object of strings"));
    }
    Object::keys(value.unchecked_ref::<Object>())
        .iter()
        .map(|key| {
            let text = Reflect::get(value, &key).ok().and_then(|value| value.as_string());
            key.as_string()
                .zip(text)
                .ok_or_else(|| Error::invalid_config(what, "expected an object of strings"))
        })
        .collect()
}

/// `proxyHeaders`: those of the application's own session with its proxy. A function is asked when the headers
/// are needed, so it cannot be checked here.
fn check_proxy_headers(name: &str, options: &Options) -> Result<(), Error> {
    let Some(value) = options.field(name)? else { return Ok(()) };
    if value.is_function() {
        return Ok(());
    }
    for (header, value) in headers(name, &value)? {
        if header.bytes().any(|b| !b.is_ascii_graphic() || b == b':') || value.chars().any(char::is_control) {
            return Err(Error::invalid_config(name, "not a valid HTTP header"));
        }
        if is_basic_authorization(&header, &value) {
            return Err(api_credential(name));
        }
    }
    Ok(())
}

/// `Authorization: Basic …`: how REST APIs take an account's user and password (RFC 7617).
fn is_basic_authorization(name: &str, value: &str) -> bool {
    let name = name.trim();
    (name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("proxy-authorization"))
        && value.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
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
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
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
    let Some((_, rest)) = text.split_once(':') else { return false };
    rest.strip_prefix("//")
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .is_some_and(|authority| authority.contains('@'))
}

/// A literal or the like: not a stream, an element, an AbortSignal or a function.
fn is_plain_object(value: &JsValue) -> bool {
    value.is_object()
        && (Array::is_array(value)
            || Object::get_prototype_of(value) == Object::get_prototype_of(&Object::new()))
}

/// `https:`, a path of the same origin, or `http:` to a loopback host.
fn check_proxy_url(url: &str) -> Result<(), Error> {
    const FIELD: &str = "proxyUrl";
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::invalid_config(FIELD, "a URL holds no spaces or control characters"));
    }
    // A browser reads a backslash like a slash, so "/\host" is another origin.
    if url.starts_with('/') && !url.starts_with("//") && !url.contains('\\') {
        return Ok(());
    }
    let bad = || Error::invalid_config(FIELD, "expected an https: URL or a path that starts with a slash");
    let parsed = web_sys::Url::new(url).map_err(|_| bad())?;
    if !parsed.username().is_empty() || !parsed.password().is_empty() {
        return Err(api_credential(FIELD));
    }
    let host = parsed.hostname();
    match parsed.protocol().as_str() {
        "https:" => Ok(()),
        "http:" if is_loopback(host.trim_matches(['[', ']'])) => Ok(()),
        "http:" => Err(Error::invalid_config(FIELD, "plain http: is only for a loopback host")),
        _ => Err(bad()),
    }
}

/// What `RTCPeerConnection` would throw at, found at the time of configuration instead of the first call.
fn check_ice_servers(servers: &JsValue) -> Result<(), Error> {
    const FIELD: &str = "iceServers";
    let bad = |problem: &str| Err(Error::invalid_config(FIELD, problem));
    if !Array::is_array(servers) {
        return bad("expected a list of RTCIceServer");
    }
    for server in servers.unchecked_ref::<Array>().iter() {
        let options = Options::new(FIELD, &server)?;
        let urls = options.string_or_strings("urls")?.unwrap_or_default();
        if urls.is_empty() {
            return bad("each server needs `urls`");
        }
        for url in urls {
            let scheme = url.split(':').next().unwrap_or_default();
            match scheme.to_ascii_lowercase().as_str() {
                "stun" | "stuns" => {}
                "turn" | "turns"
                    if options.string("username")?.is_some() && options.string("credential")?.is_some() => {}
                "turn" | "turns" => return bad("a turn: server needs username and credential"),
                _ => return bad("expected stun:, stuns:, turn: or turns: URLs"),
            }
            if url.contains('@') || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return bad("not a valid URL");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object;
    use crate::dial::provider::ProviderRegistry;

    fn provider(id: &str) -> Result<Provider, Error> {
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
        let first = merge(&object([
            ("servers", "wss://sip.example.com".into()),
            ("uri", "sip:alice@example.com".into()),
            ("displayName", "Alice".into()),
            ("registerExpires", 300.into()),
        ]))
        .unwrap();
        let second = first
            .merged(&object([("displayName", "A".into()), ("uri", JsValue::UNDEFINED)]), provider)
            .unwrap();
        let config = second.phone_config().unwrap();
        assert_eq!(config.servers, ["wss://sip.example.com"]);
        assert_eq!(config.display_name.as_deref(), Some("A"));
        assert_eq!(config.register_expires, Duration::from_secs(300));
        assert_eq!(second.domain(), Some("example.com"));
        assert!(empty().phone_config().is_none());
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
            ("register", "yes".into()),
            ("registerExpires", 0.into()),
            ("registerExpires", f64::NAN.into()),
            ("providerId", "nobody".into()),
            ("strategy", "rest".into()),
            ("autoDetect", 1.into()),
            ("proxyUrl", "http://proxy.example.com".into()),
            ("proxyUrl", "//proxy.example.com/x".into()),
            ("proxyUrl", "javascript:alert(1)".into()),
            ("proxyHeaders", object([("X", 1.into())])),
            ("callerId", 1.into()),
            ("iceServers", "stun:stun.example.com".into()),
            ("iceServers", Array::of1(&object([("urls", "http://x".into())])).into()),
            ("iceServers", Array::of1(&object([("urls", "turn:turn.example.com".into())])).into()),
            ("iceTransportPolicy", "none".into()),
            ("iceGatherTimeout", (-1).into()),
            ("codecs", "PCMA".into()),
            ("audio", "yes".into()),
            ("audioElement", Object::new().into()),
            ("defaultCountry", "Sweden".into()),
            ("debug", 1.into()),
        ] {
            let error = refused(&object([(field, value)]));
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
            for config in
                [object([(key, "x-secret".into())]), object([("rest", object([(key, "x-secret".into())]))])]
            {
                let error = refused(&config);
                assert!(error.message.contains(key), "{}", error.message);
                assert!(error.hint.as_ref().unwrap().contains("proxy"));
                assert!(!error.message.contains("x-secret"));
                assert!(DialOptions::read(&config).is_err());
            }
        }
        for headers in [
            object([("Authorization", "Basic eDp5".into())]),
            object([("AUTHORIZATION", " bAsIc eDp5".into())]),
        ] {
            refused(&object([("proxyHeaders", headers)]));
        }
        merge(&object([("proxyHeaders", object([("Authorization", "Bearer x".into())]))])).unwrap();
        for url in ["https://u:p@proxy.example.com/", "https://u@proxy.example.com/"] {
            let error = refused(&object([("proxyUrl", url.into())]));
            assert!(error.hint.is_some());
        }
        refused(&object([("servers", list(&["wss://ok.example.com", "wss://u:p@sip.example.com"]))]));
    }

    #[test]
    fn credentials_never_show_in_errors_or_debug_output() {
        let given = credentials(&object([("password", "hunter2".into())])).unwrap();
        assert!(!format!("{given:?}").contains("hunter2"));
        for (value, field) in [
            (object([("ha1", "hunter2".into())]), "credentials.ha1"),
            (object([("bearerToken", "hunter2".into())]), "credentials.bearerToken"),
            (object([("password", 1.into())]), "password"),
        ] {
            let error = credentials(&value).unwrap_err();
            assert!(error.message.starts_with(field));
            assert!(!error.message.contains("hunter2"));
        }
    }

    #[test]
    fn proxy_urls() {
        for ok in
            ["https://proxy.example.com/calls", "/api/calls", "http://127.0.0.1:8080", "http://localhost/x"]
        {
            check_proxy_url(ok).unwrap();
        }
        for bad in
            ["api/calls", "/\\example.com", "http://example.com", "https://a b", "ftp://example.com", ""]
        {
            assert!(check_proxy_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dial_options_are_checked() {
        let options = DialOptions::read(&object([
            ("timeout", 1500.into()),
            ("extraHeaders", object([("X-Tag", "1".into())])),
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
            let error = DialOptions::read(&object([(field, value)])).unwrap_err();
            assert!(error.message.starts_with(field), "{}", error.message);
        }
    }

    #[test]
    fn auto_detect_is_strategy_auto() {
        let fixed = merge(&object([("strategy", "rest-originate".into())])).unwrap();
        assert_eq!(fixed.strategy, Choice::Fixed(StrategyName::RestOriginate));
        let auto = fixed.merged(&object([("autoDetect", true.into())]), provider).unwrap();
        assert_eq!(auto.strategy, Choice::Auto);
    }
}
