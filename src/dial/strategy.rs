//! The decision between the ways of calling.

use super::destination::Destination;
use super::provider::Provider;
use crate::error::{Error, ErrorCode};

/// A way of calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrategyName {
    /// An INVITE from the browser.
    SipInvite,
    /// A REST request makes the provider call the browser and then the destination.
    RestOriginate,
}

impl StrategyName {
    /// The name as JavaScript sees it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SipInvite => "sip-invite",
            Self::RestOriginate => "rest-originate",
        }
    }

    /// The strategy of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SipInvite, Self::RestOriginate].into_iter().find(|strategy| strategy.as_str() == name)
    }
}

/// What the application has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The provider's capabilities and the destination decide.
    #[default]
    Auto,
    /// Always this one.
    Fixed(StrategyName),
}

impl Choice {
    /// Reads `auto` or the name of a strategy.
    ///
    /// # Errors
    /// `invalid_config` naming `strategy`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match StrategyName::parse(name) {
            Some(strategy) => Ok(Self::Fixed(strategy)),
            None if name == "auto" => Ok(Self::Auto),
            None => Err(Error::invalid_config("strategy", "expected auto, sip-invite or rest-originate")),
        }
    }
}

/// How a call will be made, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The way.
    pub strategy: StrategyName,
    /// One sentence for logs.
    pub reason: &'static str,
    /// Why that way cannot reach the destination, where it cannot.
    impossible: Option<&'static str>,
}

/// The strategy for telephone numbers, before a destination is known.
#[must_use]
pub fn default_strategy(choice: Choice, provider: &Provider) -> StrategyName {
    match choice {
        Choice::Fixed(strategy) => strategy,
        Choice::Auto => provider.strategies.first().copied().unwrap_or(StrategyName::SipInvite),
    }
}

/// Decides how to call the destination. Nothing is refused here: see [`check`].
#[must_use]
pub fn decide(
    choice: Choice,
    provider: &Provider,
    destination: &Destination,
    has_proxy_url: bool,
) -> Decision {
    use StrategyName::{RestOriginate, SipInvite};
    let is_number = destination.phone_number().is_some();
    let is_local = matches!(destination, Destination::Local(_));
    let (strategy, reason) = match choice {
        Choice::Auto | Choice::Fixed(SipInvite) if is_local => {
            (SipInvite, "a name or an extension of the account's domain is called by INVITE")
        }
        Choice::Fixed(RestOriginate) if is_local => (
            RestOriginate,
            "the application has chosen it, but this is a name or an extension of the account's domain",
        ),
        Choice::Auto if !is_number => (SipInvite, "SIP addresses are called by INVITE"),
        Choice::Auto => match default_strategy(choice, provider) {
            SipInvite => (SipInvite, "the provider takes numbers by INVITE"),
            RestOriginate if has_proxy_url => {
                (RestOriginate, "the provider takes numbers by REST, through the proxy")
            }
            RestOriginate => (RestOriginate, "the provider takes numbers by REST; a proxy is not configured"),
        },
        Choice::Fixed(strategy) => (strategy, "the application has chosen it"),
    };
    let impossible = match strategy {
        RestOriginate if !is_number => Some("rest-originate reaches telephone numbers only"),
        SipInvite if is_number && !provider.strategies.contains(&SipInvite) => {
            Some("the provider does not take telephone numbers by sip-invite")
        }
        _ => None,
    };
    Decision { strategy, reason, impossible }
}

/// Whether a decided call can be made.
///
/// # Errors
/// `unsupported_by_provider` where the strategy cannot reach the destination, `proxy_required` for
/// rest-originate without a proxy URL.
pub fn check(decision: &Decision, has_proxy_url: bool) -> Result<(), Error> {
    if let Some(problem) = decision.impossible {
        return Err(Error::new(ErrorCode::UnsupportedByProvider, problem));
    }
    if decision.strategy == StrategyName::RestOriginate && !has_proxy_url {
        return Err(Error::new(ErrorCode::ProxyRequired, "rest-originate needs proxyUrl"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::provider::ProviderRegistry;
    use super::*;
    use StrategyName::{RestOriginate, SipInvite};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_go_both_ways() {
        for strategy in [SipInvite, RestOriginate] {
            assert_eq!(StrategyName::parse(strategy.as_str()), Some(strategy));
            assert_eq!(Choice::parse(strategy.as_str()), Ok(Choice::Fixed(strategy)));
        }
        assert_eq!(Choice::parse("auto"), Ok(Choice::Auto));
        for bad in ["", "Auto", "sip", "SIP-INVITE", "rest-originate "] {
            assert_eq!(StrategyName::parse(bad), None);
            let error = Choice::parse(bad).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config");
            assert!(error.message.starts_with("strategy:"), "{}", error.message);
        }
    }

    #[test]
    fn the_decision_and_its_check() {
        let mut registry = ProviderRegistry::default();
        registry.register(Provider::new("rest", vec![RestOriginate])).unwrap();
        let (auto, sip, rest) = (Choice::Auto, Choice::Fixed(SipInvite), Choice::Fixed(RestOriginate));
        let number = "+46701234567";
        let address = "sip:bob@example.com";
        let private = "tel:600;phone-context=example.com";
        // provider, choice, destination, strategy, without a proxy, with one
        for (id, choice, to, strategy, without, with) in [
            ("custom", auto, number, SipInvite, "", ""),
            ("custom", auto, address, SipInvite, "", ""),
            ("custom", sip, number, SipInvite, "", ""),
            ("custom", rest, number, RestOriginate, "proxy_required", ""),
            ("custom", rest, address, RestOriginate, "unsupported_by_provider", "unsupported_by_provider"),
            ("custom", auto, "600", SipInvite, "", ""),
            ("custom", rest, "600", RestOriginate, "unsupported_by_provider", "unsupported_by_provider"),
            ("46elks", auto, "bob", SipInvite, "", ""),
            ("46elks", rest, "bob", RestOriginate, "unsupported_by_provider", "unsupported_by_provider"),
            ("rest", sip, "600", SipInvite, "", ""),
            ("46elks", auto, number, RestOriginate, "proxy_required", ""),
            ("46elks", auto, address, SipInvite, "", ""),
            ("46elks", auto, "sips:bob@example.com", SipInvite, "", ""),
            ("46elks", auto, private, SipInvite, "", ""),
            ("46elks", sip, number, SipInvite, "", ""),
            ("46elks", rest, private, RestOriginate, "unsupported_by_provider", "unsupported_by_provider"),
            ("rest", auto, number, RestOriginate, "proxy_required", ""),
            ("rest", auto, address, SipInvite, "", ""),
            ("rest", sip, number, SipInvite, "unsupported_by_provider", "unsupported_by_provider"),
        ] {
            let provider = registry.get(id).unwrap();
            let destination = Destination::parse(to, None).unwrap();
            for (has_proxy, expected) in [(false, without), (true, with)] {
                let decision = decide(choice, provider, &destination, has_proxy);
                assert_eq!(decision.strategy, strategy, "{id} {choice:?} {to}");
                assert!(!decision.reason.is_empty());
                let code = check(&decision, has_proxy).err().map_or("", |error| error.code.as_str());
                assert_eq!(code, expected, "{id} {choice:?} {to} proxy: {has_proxy}");
            }
        }
    }

    #[test]
    fn the_reason_tells_of_a_missing_proxy() {
        let registry = ProviderRegistry::default();
        let elks = registry.get("46elks").unwrap();
        let number = Destination::parse("+46701234567", None).unwrap();
        let reason = |proxy| decide(Choice::Auto, elks, &number, proxy).reason;
        assert!(reason(false).contains("not configured"));
        assert!(!reason(true).contains("not configured"));
    }

    #[test]
    fn the_reason_says_what_a_destination_was_read_as() {
        let registry = ProviderRegistry::default();
        let custom = registry.get("custom").unwrap();
        for choice in [Choice::Auto, Choice::Fixed(SipInvite), Choice::Fixed(RestOriginate)] {
            let reason = |input, country| {
                let destination = Destination::parse(input, country).unwrap();
                decide(choice, custom, &destination, false).reason
            };
            for (input, country) in [("600", None), ("bob", None), ("*97", None), ("4000", Some("SE"))] {
                assert!(reason(input, country).contains("extension of the account's domain"), "{input}");
            }
            // Six digits, and a number of San Marino.
            for (input, country) in [("886377", Some("SM")), ("sip:600@example.com", None)] {
                assert!(!reason(input, country).contains("extension"), "{input}");
            }
        }
    }

    #[test]
    fn the_strategy_before_a_destination_is_known() {
        let registry = ProviderRegistry::default();
        let of = |choice, id| default_strategy(choice, registry.get(id).unwrap());
        assert_eq!(of(Choice::Auto, "custom"), SipInvite);
        assert_eq!(of(Choice::Auto, "46elks"), RestOriginate);
        assert_eq!(of(Choice::Fixed(SipInvite), "46elks"), SipInvite);
        assert_eq!(of(Choice::Fixed(RestOriginate), "custom"), RestOriginate);
    }
}
