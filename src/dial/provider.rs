//! Telephone providers as data: what they can do and how they want it.

use std::rc::Rc;

use super::strategy::StrategyName;
use crate::error::Error;
use crate::text::has_control;
use crate::url::check_server_url;

/// How a provider wants E.164 numbers in a Request-URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumberFormat {
    /// `sip:+46701234567@domain;user=phone` (RFC 3261, section 19.1.6).
    #[default]
    Global,
    /// `sip:46701234567@domain`.
    Digits,
}

/// What a provider can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name in configurations.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Ways of calling the telephone network, best first; SIP addresses always go by sip-invite.
    pub strategies: Vec<StrategyName>,
    /// Offer session timers (RFC 4028).
    pub session_timers: bool,
    /// Redirections (3xx) may be followed, where the configuration wants that.
    pub redirects: bool,
    /// Codec names, best first; the rest follow.
    pub codecs: Vec<String>,
    /// WebSocket URLs used where the configuration has none, tried in order.
    pub servers: Vec<String>,
    /// How numbers are written.
    pub number_format: NumberFormat,
}

impl Provider {
    /// A provider with these strategies and defaults for the rest; the id doubles as the name.
    #[must_use]
    pub fn new(id: &str, strategies: Vec<StrategyName>) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            strategies,
            session_timers: true,
            redirects: true,
            codecs: Vec::new(),
            servers: Vec::new(),
            number_format: NumberFormat::Global,
        }
    }

    /// A SIP server of one's own: numbers go by INVITE.
    fn custom() -> Self {
        Self { name: "SIP server".to_owned(), ..Self::new("custom", vec![StrategyName::SipInvite]) }
    }

    /// 46elks: accounts may call out by INVITE only where support has enabled it, so REST comes first; calls are
    /// said to end after a minute where session timers were offered; SIP users are numbers without their "+". Calls
    /// cost money: a server that is to be trusted with that has no reason to send one elsewhere.
    fn elks46() -> Self {
        Self {
            name: "46elks".to_owned(),
            session_timers: false,
            redirects: false,
            codecs: vec!["PCMA".to_owned(), "PCMU".to_owned()],
            servers: vec!["wss://voip.46elks.com/w1/websocket".to_owned()],
            number_format: NumberFormat::Digits,
            ..Self::new("46elks", vec![StrategyName::RestOriginate, StrategyName::SipInvite])
        }
    }

    /// Checks what an application supplies.
    fn check(&self) -> Result<(), Error> {
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !visible(&self.id) || self.id.len() > 64 {
            return Err(Error::invalid_config("id", "expected 1 to 64 visible ASCII characters"));
        }
        if has_control(&self.name) || self.name.len() > 200 {
            return Err(Error::invalid_config("name", "too long, or with control characters"));
        }
        if self.strategies.is_empty() {
            return Err(Error::invalid_config("strategies", "at least one is needed"));
        }
        if self
            .strategies
            .iter()
            .enumerate()
            .any(|(at, one)| self.strategies.iter().skip(at + 1).any(|other| other == one))
        {
            return Err(Error::invalid_config("strategies", "each may be named once"));
        }
        if !self.codecs.iter().all(|codec| visible(codec) && codec.len() <= 64) {
            return Err(Error::invalid_config("codecs", "expected names such as PCMA or opus"));
        }
        self.servers.iter().try_for_each(|url| check_server_url(url))
    }
}

/// The providers that a configuration can name.
#[derive(Debug, Clone)]
pub struct ProviderRegistry {
    /// Shared: a configuration keeps its provider without a copy.
    providers: Vec<Rc<Provider>>,
}

impl Default for ProviderRegistry {
    fn default() -> Self {
        Self { providers: vec![Rc::new(Provider::custom()), Rc::new(Provider::elks46())] }
    }
}

impl ProviderRegistry {
    /// The id used where a configuration names none.
    pub const DEFAULT_ID: &'static str = "custom";

    /// Adds a provider.
    ///
    /// # Errors
    /// `invalid_config` naming the field: a taken id, no strategies, a server that is no `wss:` URL, ….
    pub fn register(&mut self, provider: Provider) -> Result<(), Error> {
        provider.check()?;
        if self.get(&provider.id).is_ok() {
            return Err(Error::invalid_config("id", "a provider with this id exists"));
        }
        self.providers.push(Rc::new(provider));
        Ok(())
    }

    /// The provider with this id.
    ///
    /// # Errors
    /// `invalid_config` naming `providerId`.
    pub fn get(&self, id: &str) -> Result<&Rc<Provider>, Error> {
        self.providers.iter().find(|provider| provider.id == id).ok_or_else(|| {
            Error::invalid_config("providerId", "no such provider")
                .with_hint("Use \"custom\" or \"46elks\", or add your own with registerProvider().")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn built_in_providers() {
        let registry = ProviderRegistry::default();
        let custom = registry.get(ProviderRegistry::DEFAULT_ID).unwrap();
        assert_eq!(custom.strategies, [StrategyName::SipInvite]);
        assert!(custom.session_timers && custom.servers.is_empty() && custom.codecs.is_empty());
        let elks = registry.get("46elks").unwrap();
        assert_eq!(elks.strategies, [StrategyName::RestOriginate, StrategyName::SipInvite]);
        assert!(!elks.session_timers && !elks.redirects && custom.redirects);
        assert_eq!(elks.codecs.first().map(String::as_str), Some("PCMA"));
        assert_eq!(elks.servers, ["wss://voip.46elks.com/w1/websocket"]);
        for provider in [custom, elks] {
            assert_eq!(provider.check(), Ok(()));
        }
        let missing = registry.get("telnyx").unwrap_err();
        assert_eq!(missing.code.as_str(), "invalid_config");
        assert!(missing.message.starts_with("providerId"), "{}", missing.message);
    }

    #[test]
    fn a_registered_provider_is_found_and_its_id_is_taken() {
        let mut registry = ProviderRegistry::default();
        let mine = Provider {
            codecs: vec!["opus".to_owned()],
            servers: vec!["wss://sip.example.com/ws".to_owned()],
            ..Provider::new("mine", vec![StrategyName::SipInvite])
        };
        registry.register(mine.clone()).unwrap();
        assert_eq!(registry.get("mine").map(|found| &**found), Ok(&mine));
        for taken in ["mine", "custom", "46elks"] {
            let error = registry.register(Provider::new(taken, vec![StrategyName::SipInvite])).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config");
            assert!(error.message.starts_with("id:"), "{}", error.message);
        }
        assert_eq!(registry.get("mine").map(|found| &**found), Ok(&mine), "a refused one replaces nothing");
    }

    #[test]
    fn what_cannot_be_registered() {
        let good = Provider::new("p", vec![StrategyName::SipInvite]);
        let long = "x".repeat(65);
        let text = |s: &str| vec![s.to_owned()];
        for (field, bad) in [
            ("id", Provider { id: String::new(), ..good.clone() }),
            ("id", Provider { id: "a b".to_owned(), ..good.clone() }),
            ("id", Provider { id: "a\r\nb".to_owned(), ..good.clone() }),
            ("id", Provider { id: long, ..good.clone() }),
            ("name", Provider { name: "a\u{0}".to_owned(), ..good.clone() }),
            ("strategies", Provider { strategies: Vec::new(), ..good.clone() }),
            ("strategies", Provider { strategies: vec![StrategyName::SipInvite; 2], ..good.clone() }),
            ("codecs", Provider { codecs: text(""), ..good.clone() }),
            ("codecs", Provider { codecs: text("PC MA"), ..good.clone() }),
            ("servers", Provider { servers: text("https://example.com"), ..good.clone() }),
            ("servers", Provider { servers: text("ws://example.com"), ..good.clone() }),
        ] {
            let mut registry = ProviderRegistry::default();
            let error = registry.register(bad).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config");
            assert!(error.message.starts_with(field), "{field}: {}", error.message);
        }
        assert_eq!(ProviderRegistry::default().register(good), Ok(()));
    }
}
