//! Where a call may go. What is not allowed is denied.
//!
//! In order: emergency and other short numbers are told apart first, so that the page can say so; then the number
//! must be E.164; not one of the account's own, nor another client's (a call to itself); allowed by the longest
//! matching prefix or, where none matches, by its country; and a real number of an ordinary kind there, by Google's
//! number metadata, which also tells the countries apart that share +1, +7 or +44.

use std::collections::{BTreeMap, BTreeSet};

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumber, PhoneNumberType, Region};
use serde::Deserialize;

use crate::auth::Session;
use crate::config::{Config, NumberKind};
use crate::numbers::{E164, calling_code_length};

/// 46elks hands out WebRTC numbers under this prefix; calls to them would come back to a browser, and in Sweden no
/// subscriber's number begins like this.
const CLIENT_NUMBERS: &str = "+4600";

/// What may be dialled.
#[derive(Debug)]
pub struct Policy {
    countries: BTreeSet<String>,
    prefixes: BTreeMap<String, Rule>,
    kinds: BTreeSet<NumberKind>,
    own: BTreeSet<E164>,
    emergency: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Allow,
    Deny,
}

/// Why a destination is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct PolicyError {
    /// The code of the answer: `invalid_destination`, `destination_denied` or `emergency_unsupported`.
    pub code: &'static str,
    /// The check that refused it, for log and metrics: one of a fixed few words.
    pub reason: &'static str,
}

impl PolicyError {
    fn invalid(reason: &'static str) -> Self {
        Self { code: "invalid_destination", reason }
    }

    fn denied(reason: &'static str) -> Self {
        Self { code: "destination_denied", reason }
    }

    fn emergency() -> Self {
        Self { code: "emergency_unsupported", reason: "emergency" }
    }
}

/// The policy can't be built: the data or the operator's file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PolicyDataError {
    /// The file can't be read.
    #[error("destinations.deny_file: can't be read: {0}")]
    Unreadable(std::io::ErrorKind),
    /// Not in the form of `data/denied.toml`.
    #[error(
        "{0}: is not a list of [[deny]] entries with a `prefix` such as \"+979\", a `why` and a `source`"
    )]
    Malformed(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenyFile {
    deny: Vec<DenyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenyEntry {
    prefix: String,
    why: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmergencyFile {
    numbers: BTreeSet<String>,
    #[expect(dead_code, reason = "the file has to have it")]
    source: String,
}

impl Policy {
    /// Reads the lists: those that come with the proxy and the operator's.
    pub fn new(config: &Config) -> Result<Self, PolicyDataError> {
        let rules = &config.destinations;
        let mut prefixes = BTreeMap::new();
        let own = "data/denied.toml";
        let mut denied = denied_prefixes(own, include_str!("../data/denied.toml"))?;
        if let Some(path) = &rules.deny_file {
            let text =
                std::fs::read_to_string(path).map_err(|error| PolicyDataError::Unreadable(error.kind()))?;
            denied.append(&mut denied_prefixes("destinations.deny_file", &text)?);
        }
        prefixes.extend(rules.allow.iter().map(|prefix| (prefix.clone(), Rule::Allow)));
        // Second, so that a prefix that is both allowed and denied is denied.
        prefixes
            .extend(denied.into_iter().chain(rules.deny.iter().cloned()).map(|prefix| (prefix, Rule::Deny)));
        let emergency: EmergencyFile = parse(include_str!("../data/emergency.toml"))
            .ok_or(PolicyDataError::Malformed("data/emergency.toml"))?;
        Ok(Self {
            countries: rules.countries.clone(),
            prefixes,
            kinds: rules.kinds.clone(),
            own: config.all_own_numbers(),
            emergency: emergency.numbers,
        })
    }

    /// The number that may be dialled for `to`, as this user typed it.
    pub fn check(&self, to: &str, session: &Session) -> Result<E164, PolicyError> {
        if self.is_emergency(to) {
            return Err(PolicyError::emergency());
        }
        let number = E164::parse(to).map_err(|_| PolicyError::invalid("not_e164"))?;
        let of_session = number == session.number || session.caller_ids.values().any(|own| *own == number);
        if of_session || self.own.contains(&number) {
            return Err(PolicyError::denied("own_number"));
        }
        if number.as_str().starts_with(CLIENT_NUMBERS) {
            return Err(PolicyError::denied("client_number"));
        }
        let rule = self.rule_for(&number);
        if rule == Some(Rule::Deny) {
            return Err(PolicyError::denied("prefix"));
        }
        // A number that begins like one of an allowed country is asked for in full below; one that does not is
        // denied before its form is looked at.
        let parsed =
            PhoneNumber::parse(number.as_str(), None).map_err(|_| PolicyError::denied("unknown_number"))?;
        // What the metadata reads must be what is dialled: it knows national prefixes and would drop a digit.
        if PHONE_NUMBER_UTIL.format(&parsed, rlibphonenumber::PhoneNumberFormat::E164) != number.as_str() {
            return Err(PolicyError::invalid("not_canonical"));
        }
        let region = parsed.get_region_code();
        let country_allowed = region.is_some_and(|region| self.countries.contains(&region_code(region)));
        if rule.is_none() && !country_allowed {
            // A country that is allowed may still have no such number.
            let same_code = self.countries.iter().any(|code| shares_calling_code(code, &parsed));
            return Err(match region {
                None if same_code => PolicyError::invalid("no_such_number"),
                _ => PolicyError::denied("country"),
            });
        }
        if !parsed.is_valid() {
            return Err(PolicyError::invalid("no_such_number"));
        }
        self.check_kind(parsed.get_type())?;
        Ok(number)
    }

    /// Whether `number` is one of the account's own; a call that claims to come from one is spoofed.
    #[must_use]
    pub fn is_own(&self, number: &E164) -> bool {
        self.own.contains(number)
    }

    fn is_emergency(&self, to: &str) -> bool {
        let trimmed: String = to.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '-')).take(32).collect();
        let digits = trimmed.strip_prefix('+').unwrap_or(&trimmed);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let short = digits.len() == trimmed.len() && (2..=6).contains(&digits.len());
        let behind_code = digits.get(calling_code_length(digits)..).unwrap_or_default();
        short
            || self.emergency.contains(digits)
            || (trimmed.starts_with('+') && self.emergency.contains(behind_code))
    }

    fn rule_for(&self, number: &E164) -> Option<Rule> {
        let number = number.as_str();
        (2..=number.len()).rev().find_map(|length| self.prefixes.get(number.get(..length)?).copied())
    }

    fn check_kind(&self, kind: PhoneNumberType) -> Result<(), PolicyError> {
        use PhoneNumberType as Kind;
        let asked_for = |kind| self.kinds.contains(&kind);
        match kind {
            Kind::FixedLine | Kind::Mobile | Kind::FixedLineOrMobile | Kind::TollFree | Kind::VoIP => Ok(()),
            Kind::SharedCost if asked_for(NumberKind::SharedCost) => Ok(()),
            Kind::UAN if asked_for(NumberKind::Uan) => Ok(()),
            Kind::PersonalNumber if asked_for(NumberKind::Personal) => Ok(()),
            Kind::PremiumRate => Err(PolicyError::denied("premium")),
            Kind::SharedCost => Err(PolicyError::denied("shared_cost")),
            _ => Err(PolicyError::denied("kind")),
        }
    }
}

fn region_code(region: Region) -> String {
    region.as_region_str().to_string()
}

fn shares_calling_code(country: &str, number: &PhoneNumber) -> bool {
    country
        .parse::<Region>()
        .ok()
        .and_then(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region))
        .is_some_and(|code| code == number.country_code)
}

/// Whether this is the ISO 3166-1 code of a country that has telephone numbers.
pub(crate) fn is_country(code: &str) -> bool {
    let upper_case = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    upper_case
        && code
            .parse::<Region>()
            .is_ok_and(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some())
}

/// Whether this is the beginning of a telephone number.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    prefix.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn denied_prefixes(name: &'static str, text: &str) -> Result<Vec<String>, PolicyDataError> {
    let file: DenyFile = parse(text).ok_or(PolicyDataError::Malformed(name))?;
    let explained = |entry: &DenyEntry| !entry.why.trim().is_empty() && !entry.source.trim().is_empty();
    if file.deny.iter().all(|entry| is_prefix(&entry.prefix) && explained(entry)) {
        Ok(file.deny.into_iter().map(|entry| entry.prefix).collect())
    } else {
        Err(PolicyDataError::Malformed(name))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(toml: &str) -> Option<T> {
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    config::Config::builder().add_source(source).build().ok()?.try_deserialize().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::config::BasicCredentials;

    fn config() -> Config {
        let mut config = Config::development(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/a1",
            BasicCredentials { username: "u1".into(), password: "password".into() },
            "hook-key-hook-key-hook-key".into(),
            "jwt-secret-jwt-secret-jwt-secret-jwt".into(),
        );
        config.own_numbers.insert(E164::parse("+46766869999").unwrap());
        config
    }

    fn policy(change: impl FnOnce(&mut Config)) -> Policy {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap();
        Policy::new(&config).unwrap()
    }

    fn session() -> Session {
        let number = |text| E164::parse(text).unwrap();
        Session {
            user: "alice".to_owned(),
            hash: "0011223344556677".to_owned(),
            number: number("+4600100100"),
            caller_ids: BTreeMap::from([("main".to_owned(), number("+46766860000"))]),
            default_caller_id: "main".to_owned(),
            sip: None,
        }
    }

    fn code(policy: &Policy, to: &str) -> &'static str {
        policy.check(to, &session()).map_or_else(|error| error.code, |_| "ok")
    }

    fn reason(policy: &Policy, to: &str) -> &'static str {
        policy.check(to, &session()).map_or_else(|error| error.reason, |_| "ok")
    }

    #[test]
    fn swedish_numbers_are_allowed_and_come_back_trimmed() {
        let policy = policy(|_| ());
        assert_eq!(policy.check("+46 70-123 45 67", &session()).unwrap().as_str(), "+46701234567");
        for to in
            ["+46700000001", "+46700000007", "+46700000011", "+4687500000", "+46317000000", "+4620123456"]
        {
            assert_eq!(reason(&policy, to), "ok", "{to}");
        }
    }

    #[test]
    fn every_other_country_is_denied() {
        let policy = policy(|_| ());
        for to in
            ["+4790123456", "+4530123456", "+12025550123", "+442079460000", "+3706123456", "+37061234567"]
        {
            assert_eq!(code(&policy, to), "destination_denied", "{to}");
        }
        let none = self::policy(|config| config.destinations.countries.clear());
        assert_eq!(reason(&none, "+46701234567"), "country");
    }

    #[test]
    fn every_country_of_the_metadata_but_the_allowed_one_is_denied() {
        let policy = policy(|_| ());
        let mut tried = 0;
        for region in PHONE_NUMBER_UTIL.get_supported_regions() {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number(region) else { continue };
            let to =
                PHONE_NUMBER_UTIL.format(&example, rlibphonenumber::PhoneNumberFormat::E164).into_owned();
            tried += 1;
            let expected = if region_code(region) == "SE" { "ok" } else { "destination_denied" };
            // Tristan da Cunha's numbers are too short for any number of a public network.
            let expected = if E164::parse(&to).is_ok() { expected } else { "invalid_destination" };
            assert_eq!(code(&policy, &to), expected, "{} {to}", region_code(region));
        }
        assert!(tried > 230, "{tried}");
    }

    #[test]
    fn the_caribbean_is_not_the_united_states() {
        let policy = policy(|config| config.destinations.countries = BTreeSet::from(["US".to_owned()]));
        assert_eq!(reason(&policy, "+12025550123"), "ok");
        assert_eq!(reason(&policy, "+12124567890"), "ok");
        for area in [
            "242", "246", "264", "268", "284", "340", "345", "441", "473", "649", "658", "664", "670", "671",
            "684", "721", "758", "767", "784", "787", "809", "829", "849", "868", "869", "876", "939", "416",
        ] {
            for line in ["2345678", "5551234", "4567890"] {
                assert_ne!(code(&policy, &format!("+1{area}{line}")), "ok", "{area}");
            }
        }
        assert_eq!(code(&policy, "+19002345678"), "destination_denied");
        assert_eq!(code(&policy, "+19762345678"), "destination_denied");
        let jamaica =
            self::policy(|config| config.destinations.countries = BTreeSet::from(["JM".to_owned()]));
        assert_eq!(reason(&jamaica, "+18762345678"), "ok");
        assert_eq!(code(&jamaica, "+12025550123"), "destination_denied");
        // Kazakhstan shares +7, Guernsey +44.
        let neighbours =
            self::policy(|config| config.destinations.countries = ["RU", "GB"].map(str::to_owned).into());
        assert_eq!(reason(&neighbours, "+79161234567"), "ok");
        assert_eq!(code(&neighbours, "+77012345678"), "destination_denied");
        assert_eq!(reason(&neighbours, "+442079460000"), "ok");
        assert_eq!(code(&neighbours, "+441481256789"), "destination_denied");
    }

    #[test]
    fn premium_satellite_and_global_numbers_are_denied() {
        let all_countries = |config: &mut Config| {
            config.destinations.countries = PHONE_NUMBER_UTIL
                .get_supported_regions()
                .map(region_code)
                .filter(|code| is_country(code))
                .collect();
        };
        let policy = policy(all_countries);
        for to in [
            "+46900123456",
            "+46900123456789",
            "+46939123456",
            "+46944123456",
            "+46991234567",
            "+80012345678",
            "+80812345678",
            "+870773111632",
            "+878101234567890",
            "+881612345678",
            "+88213123456",
            "+883510012345",
            "+888123456789",
            "+979123456789",
            "+991001234567",
            "+19002345678",
            "+449091234567",
            "+499001234567",
        ] {
            assert_eq!(code(&policy, to), "destination_denied", "{to}");
        }
        // Swedish shared cost (077) only when asked for.
        assert_eq!(reason(&policy, "+46771234567"), "shared_cost");
        let asked = self::policy(|config| {
            all_countries(config);
            config.destinations.kinds = BTreeSet::from([NumberKind::SharedCost]);
        });
        assert_eq!(reason(&asked, "+46771234567"), "ok");
    }

    #[test]
    fn the_longest_prefix_decides_and_deny_wins_a_draw() {
        let policy = policy(|config| {
            config.destinations.countries = BTreeSet::from(["SE".to_owned()]);
            config.destinations.allow = ["+4790", "+4675", "+47901"].map(str::to_owned).into();
            config.destinations.deny = ["+4675", "+467012", "+47901234"].map(str::to_owned).into();
        });
        assert_eq!(reason(&policy, "+4790023456"), "ok");
        assert_eq!(reason(&policy, "+4790123456"), "prefix");
        assert_eq!(reason(&policy, "+4790113456"), "ok");
        assert_eq!(reason(&policy, "+4740612345"), "country");
        assert_eq!(reason(&policy, "+46701234567"), "prefix");
        assert_eq!(reason(&policy, "+46701334567"), "ok");
        // The metadata does not matter to a denied prefix; it does to an allowed one.
        assert_eq!(code(&policy, "+4790"), "invalid_destination");
        assert_eq!(code(&policy, "+47900234"), "invalid_destination");
    }

    #[test]
    fn emergency_and_short_numbers_have_a_code_of_their_own() {
        let policy = policy(|_| ());
        for to in [
            "112",
            "911",
            "1-1-2",
            " 112 ",
            "999",
            "90000",
            "1177",
            "+112",
            "+46112",
            "+46 112",
            "+1911",
            "+46116000",
        ] {
            assert_eq!(code(&policy, to), "emergency_unsupported", "{to}");
        }
        for to in ["", "1", "0701234567", "*112#", "112;", "tel:112"] {
            assert_eq!(code(&policy, to), "invalid_destination", "{to}");
        }
    }

    #[test]
    fn own_numbers_and_other_clients_are_no_destination() {
        let policy = policy(|config| {
            config.caller_ids.insert("shared".to_owned(), E164::parse("+46766868888").unwrap());
        });
        for (to, expected) in [
            ("+4600100100", "own_number"),
            ("+46766860000", "own_number"),
            ("+46766869999", "own_number"),
            ("+46766868888", "own_number"),
            ("+46 76-686 88 88", "own_number"),
            ("+4600100101", "client_number"),
            ("+46001234567", "client_number"),
        ] {
            assert_eq!(reason(&policy, to), expected, "{to}");
        }
        assert!(policy.is_own(&E164::parse("+46766868888").unwrap()));
        assert!(!policy.is_own(&E164::parse("+46701234567").unwrap()));
    }

    #[test]
    fn lists_addresses_and_codes_are_no_destination() {
        let policy = policy(|_| ());
        for to in [
            "+46701234567,+8821234567",
            "sip:+46701234567@voip.46elks.com",
            "+46701234567@voip.46elks.com",
            "+46701234567;ext=9",
            "*21*+46701234567#",
            "+46701234567#",
            "+46701234567p1",
            "+46701234567\r\n",
            "+46701234567\0",
            "+46０701234567",
            "+460701234567",
            "0046701234567",
            "{\"connect\":\"+46701234567\"}",
        ] {
            assert_eq!(code(&policy, to), "invalid_destination", "{to:?}");
        }
    }

    #[test]
    fn no_such_number_is_told_from_a_country_that_is_denied() {
        let policy = policy(|_| ());
        assert_eq!(reason(&policy, "+4670123456"), "no_such_number");
        assert_eq!(reason(&policy, "+467012345678"), "no_such_number");
        assert_eq!(reason(&policy, "+4712"), "not_e164");
        assert_eq!(code(&policy, "+9991234567"), "destination_denied");
    }

    #[test]
    fn the_operators_list_stands_on_top_and_must_be_well_formed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("denied.toml");
        let mut config = config();
        config.destinations.deny_file = Some(path.clone());
        assert!(matches!(Policy::new(&config), Err(PolicyDataError::Unreadable(_))));
        for bad in [
            "",
            "deny = 1",
            "[[deny]]\nprefix = \"46\"\nwhy = \"w\"\nsource = \"s\"",
            "[[deny]]\nprefix = \"+46\"",
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(Policy::new(&config), Err(PolicyDataError::Malformed(_))), "{bad}");
        }
        std::fs::write(&path, "[[deny]]\nprefix = \"+46701\"\nwhy = \"test\"\nsource = \"test\"").unwrap();
        let policy = Policy::new(&config).unwrap();
        assert_eq!(reason(&policy, "+46701234567"), "prefix");
        assert_eq!(reason(&policy, "+46900123456"), "prefix");
    }

    fn any_destination() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,20}",
            "\\+46[0-9 -]{5,14}",
            "\\+[1-9][0-9]{0,15}",
            "(\\+46|\\+1|\\+882|\\+979|00|sip:|)[0-9]{2,12}[,;*#@ ]?[0-9+]{0,9}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn only_e164_numbers_of_an_allowed_country_are_accepted(to in any_destination()) {
            let policy = swedish();
            if let Ok(number) = policy.check(&to, &session()) {
                let digits = number.as_str().strip_prefix("+46").expect("an allowed country");
                prop_assert!(digits.bytes().all(|b| b.is_ascii_digit()));
                prop_assert!((7..=15).contains(&number.digits().len()));
                for denied in ["00", "900", "939", "944", "99"] {
                    prop_assert!(!digits.starts_with(denied));
                }
                let typed = to.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '\u{a0}'));
                prop_assert!(typed);
                prop_assert_eq!(policy.check(number.as_str(), &session()).unwrap(), number);
            }
        }

        #[test]
        fn an_accepted_number_with_anything_behind_it_is_refused(tail in "[,;*#@a-zA-Z:/+]\\PC{0,12}") {
            let to = format!("+46701234567{tail}");
            prop_assert_eq!(code(swedish(), &to), "invalid_destination");
        }

        #[test]
        fn denied_prefixes_deny_whatever_follows(
            prefix in prop::sample::select(vec!["+808", "+870", "+878", "+881", "+882", "+883", "+888", "+979", "+46900"]),
            rest in "[0-9]{6,9}",
        ) {
            let code = code(swedish(), &format!("{prefix}{rest}"));
            prop_assert!(code == "destination_denied", "{}", code);
        }
    }

    fn swedish() -> &'static Policy {
        static POLICY: std::sync::OnceLock<Policy> = std::sync::OnceLock::new();
        POLICY.get_or_init(|| policy(|_| ()))
    }
}
