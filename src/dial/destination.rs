//! Where a call goes: what can be dialled, and why the rest is refused before anything is sent.

use super::plan::{self, Country, Problem};
use super::provider::{NumberFormat, Provider};
use crate::error::{Error, ErrorCode};
use crate::sip::uri::Uri;
use crate::text::{concat, has_control, split, split_once};

/// Longest input, bytes. Real addresses are far shorter (a GRUU has some 200).
const MAX_INPUT: usize = 512;

/// Longest extension or private number, digits.
const MAX_PRIVATE: usize = 15;

/// Longest extension that is dialled as it is, digits. An E.164 number with its calling code has seven at least.
const MAX_EXTENSION: usize = 6;

/// Longest name that is dialled as it is, bytes.
const MAX_NAME: usize = 64;

/// Emergency numbers that people dial abroad too. A country has more of its own, all of three digits.
const EMERGENCY: [&str; 4] = ["000", "112", "911", "999"];

const SHORT: &str = "numbers such as 112 or 911 cannot be called from here: use a telephone; \
                     an extension is sip:<extension>@<domain>";
const NOT_SIP: &str = "not a valid SIP address; expected sip:user@host";

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A `sip:` or `sips:` URI, normalised, that may stand in a request line (RFC 3261, section 19.1.1).
    Sip(String),
    /// A number of the public telephone network.
    Tel(PhoneNumber),
    /// A user part in the domain of the account: an extension, a name, or a feature code such as `*97`.
    Local(String),
    /// A number that only a private network knows (RFC 3966, section 5.1.5: local number with a domain).
    Private {
        /// Digits.
        number: String,
        /// The domain in which the number has a meaning.
        context: String,
    },
}

/// A number of the public telephone network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneNumber {
    e164: String,
    extension: Option<String>,
}

impl PhoneNumber {
    /// `+` and up to 15 digits (ITU-T E.164).
    #[must_use]
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// The digits of `;ext=` (RFC 3966, section 5.3). They are no part of the number that is called: providers
    /// do not route them. An application can send them as DTMF once the call is answered.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }
}

/// Checks `defaultCountry`: a country code of ISO 3166-1 alpha-2, in either case.
///
/// # Errors
/// `invalid_config` naming `defaultCountry`.
pub fn check_country(code: &str) -> Result<(), Error> {
    country(code).map(|_| ())
}

fn country(code: &str) -> Result<Country, Error> {
    plan::country(code).ok_or_else(|| {
        Error::invalid_config("defaultCountry", "not a country code")
            .with_hint("Give two letters of ISO 3166-1, such as SE, GB or US.")
    })
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorCode::InvalidDestination, message)
}

impl Destination {
    /// Reads what a person or a link gives: `sip:`, `sips:`, `tel:`, `+` and a number with the usual separators,
    /// and, with a country, numbers as dialled there (with its trunk and international prefixes).
    ///
    /// What has no scheme and is no such number is a user part of the account's domain, where it is one of these:
    /// - an extension: 1 to 6 digits without separators, of which the first is not 0. With a country one that reads as
    ///   a number of that country is that number, and three digits that begin with 1 or 9 are refused: there they may be
    ///   an emergency number. Without one, only the emergency numbers that are dialled abroad too are refused: 000, 112, 911, 999.
    /// - a feature code: `*` and 1 to 6 digits or `*`.
    /// - a name: an ASCII letter, then letters, digits, `.`, `-` and `_`, up to 64.
    ///
    /// # Errors
    /// `invalid_destination` saying what is wrong, without repeating the input; `invalid_config` for an unknown
    /// country.
    pub fn parse(input: &str, default_country: Option<&str>) -> Result<Self, Error> {
        let country = default_country.map(country).transpose()?;
        if has_control(input) {
            return Err(refused("a destination holds no line breaks or control characters"));
        }
        let input = trim(input);
        if input.is_empty() {
            return Err(refused("the destination is empty"));
        }
        if input.len() > MAX_INPUT {
            return Err(refused("the destination is too long"));
        }
        match split_once(input, b':') {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                // `sip://bob@host` would parse as user "//bob".
                "sip" | "sips" if rest.starts_with('/') => Err(refused(NOT_SIP)),
                "sip" | "sips" => sip(input),
                "tel" => tel(rest, country.as_ref()),
                _ => Err(refused("not a sip:, sips: or tel: address, nor a phone number")),
            },
            None if input.as_bytes().contains(&b'@') => {
                Err(refused("an address needs its scheme: sip:user@host or sips:user@host"))
            }
            None if is_name(input) || is_feature_code(input) => Ok(Self::Local(input.to_owned())),
            None => {
                let number = Dialled::parse(input)?;
                let may_be_local = number.is_like_an_extension(country.is_some());
                public(&number, country.as_ref(), None, may_be_local)
            }
        }
    }

    /// The number, where it is one of the public telephone network.
    #[must_use]
    pub fn phone_number(&self) -> Option<&PhoneNumber> {
        match self {
            Self::Tel(number) => Some(number),
            _ => None,
        }
    }

    /// The Request-URI of an INVITE: the SIP URI itself; a number becomes an address of the `domain` that serves
    /// the account, written as the provider wants it (RFC 3261, section 19.1.6).
    #[must_use]
    pub fn request_uri(&self, domain: &str, provider: &Provider) -> String {
        let parts: [&str; 5] = match self {
            Self::Sip(uri) => return uri.clone(),
            Self::Tel(PhoneNumber { e164, .. }) => match provider.number_format {
                NumberFormat::Global => ["sip:", e164, "@", domain, ";user=phone"],
                // Without its "+" it is no telephone-subscriber of RFC 3966, so `user=phone` would be wrong.
                NumberFormat::Digits => ["sip:", e164.strip_prefix('+').unwrap_or(e164), "@", domain, ""],
            },
            Self::Local(user) => ["sip:", user, "@", domain, ""],
            Self::Private { number, context } if context.eq_ignore_ascii_case(domain) => {
                ["sip:", number, "@", domain, ""]
            }
            Self::Private { number, context } => {
                return concat(&["sip:", number, ";phone-context=", context, "@", domain, ";user=phone"]);
            }
        };
        concat(&parts)
    }
}

fn is_name(input: &str) -> bool {
    input.len() <= MAX_NAME
        && input.starts_with(|c: char| c.is_ascii_alphabetic())
        && input.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn is_feature_code(input: &str) -> bool {
    input.strip_prefix('*').is_some_and(|code| {
        (1..=MAX_EXTENSION).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit() || b == b'*')
    })
}

fn sip(input: &str) -> Result<Destination, Error> {
    // What is outside of ASCII has to be escaped in a URI (RFC 3261, section 25.1).
    if !input.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refused(NOT_SIP));
    }
    let uri = Uri::parse(input).map_err(|_| refused(NOT_SIP))?;
    // `sip:600` and `sip:alice` parse as hosts; nobody means that.
    if uri.user.is_none() && !uri.host.bytes().any(|b| matches!(b, b'.' | b':')) && uri.host != "localhost" {
        return Err(refused(NOT_SIP));
    }
    if uri.password.is_some() {
        return Err(refused("a password does not belong in a SIP address"));
    }
    // RFC 3261, section 19.1.1, table 1: neither may stand in a Request-URI, and section 19.1.5 warns of both.
    if uri.headers.is_some() || uri.params.get("method").is_some() {
        return Err(refused("a SIP address to call cannot hold headers or a method"));
    }
    Ok(Destination::Sip(uri.to_text()))
}

/// RFC 3966.
fn tel(text: &str, country: Option<&Country>) -> Result<Destination, Error> {
    let mut params = split(text, b';');
    let mut number = Dialled::parse(params.next().unwrap_or_default())?;
    let mut extension = None;
    let mut context = None;
    for param in params {
        let (name, value) = split_once(param, b'=').unwrap_or((param, ""));
        if name.eq_ignore_ascii_case("ext") {
            let dialled = Dialled::parse(value)?;
            if dialled.plus || dialled.digits.len() > MAX_PRIVATE {
                return Err(refused("not a valid extension"));
            }
            extension = Some(dialled.digits);
        } else if name.eq_ignore_ascii_case("phone-context") {
            context = Some(value);
        } else if name.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("m-")) {
            // Section 5.4: a mandatory parameter that is not understood makes the URI unusable.
            return Err(refused("the tel: address has a parameter that is not understood"));
        }
    }
    match context {
        Some(context) if !number.plus => {
            if context.starts_with('+') {
                number.digits.insert_str(0, &Dialled::parse(context)?.digits);
                number.plus = true;
            } else {
                return private(number.digits, context);
            }
        }
        _ => {}
    }
    public(&number, country, extension, false)
}

fn private(number: String, context: &str) -> Result<Destination, Error> {
    let mut labels = context;
    while let Some(without_dot) = labels.strip_suffix('.') {
        labels = without_dot;
    }
    if labels.is_empty()
        || split(labels, b'.')
            .any(|label| label.is_empty() || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    {
        return Err(refused("phone-context is neither a domain nor a number with +"));
    }
    if EMERGENCY.contains(&number.as_str()) {
        return Err(refused(SHORT));
    }
    if number.len() > MAX_PRIVATE {
        return Err(refused("the number is too long"));
    }
    Ok(Destination::Private { number, context: labels.to_ascii_lowercase() })
}

/// `may_be_local`: what is no number of the country is an extension of the account's domain.
fn public(
    number: &Dialled,
    country: Option<&Country>,
    extension: Option<String>,
    may_be_local: bool,
) -> Result<Destination, Error> {
    let digits = number.digits.as_str();
    if may_be_local && (country.is_none() || digits.len() <= 3) {
        return Ok(Destination::Local(number.digits.clone()));
    }
    // No country has numbers this short; what has three digits is a service, often an emergency one.
    if digits.len() <= 3 {
        return Err(refused(if digits.starts_with(['0', '1', '9']) {
            SHORT
        } else {
            "too short for a phone number; an extension is written without separators"
        }));
    }
    let e164 = match country {
        _ if number.plus => plan::international(digits),
        Some(country) => country.national(digits),
        None => {
            return Err(refused(
                "a number without + needs a country: start with + and the country code, or set defaultCountry",
            ));
        }
    };
    let problem = match e164 {
        Ok(e164) => return Ok(Destination::Tel(PhoneNumber { e164, extension })),
        Err(problem) if may_be_local && problem != Problem::Ambiguous => {
            return Ok(Destination::Local(number.digits.clone()));
        }
        Err(problem) => problem,
    };
    Err(refused(match problem {
        Problem::CallingCode => "no country has this country code",
        Problem::TooShort => "the number is too short",
        Problem::TooLong => "the number is too long",
        Problem::Impossible => "no phone number of that country looks like this",
        Problem::Ambiguous => "it may or may not begin with the country code; write + and the whole number",
    }))
}

/// The digits of a number, separators dropped.
struct Dialled {
    plus: bool,
    /// With separators, as people write telephone numbers.
    separated: bool,
    digits: String,
}

impl Dialled {
    fn parse(text: &str) -> Result<Self, Error> {
        let mut dialled = Self { plus: false, separated: false, digits: String::new() };
        for c in text.chars() {
            if let Some(digit) = digit(c) {
                dialled.digits.push(digit);
            } else if matches!(c, '+' | '\u{ff0b}') && !dialled.plus && dialled.digits.is_empty() {
                dialled.plus = true;
            } else if c.is_ascii_alphabetic() {
                return Err(refused("a phone number holds digits, not letters"));
            } else if is_separator(c) {
                dialled.separated |= !is_invisible(c);
            } else {
                return Err(refused("a character that a phone number cannot hold"));
            }
        }
        if dialled.digits.is_empty() {
            return Err(refused("a phone number holds digits"));
        }
        Ok(dialled)
    }

    /// Whether an extension is written like this: 1 to 6 digits, and none that somewhere call an emergency service.
    fn is_like_an_extension(&self, has_country: bool) -> bool {
        let digits = self.digits.as_str();
        let emergency = match digits.len() {
            // In some countries two digits: 15, 17 and 18 in France.
            2 => has_country && digits.starts_with('1'),
            3 if has_country => digits.starts_with(['1', '9']),
            _ => EMERGENCY.contains(&digits),
        };
        !(self.plus || self.separated || emergency || digits.len() > MAX_EXTENSION || digits.starts_with('0'))
    }
}

/// ASCII, Arabic-Indic, Persian and full-width digits, as keyboards there type them.
fn digit(c: char) -> Option<char> {
    let value = match c {
        '0'..='9' => return Some(c),
        '\u{660}'..='\u{669}' => u32::from(c) - 0x660,
        '\u{6f0}'..='\u{6f9}' => u32::from(c) - 0x6f0,
        '\u{ff10}'..='\u{ff19}' => u32::from(c) - 0xff10,
        _ => return None,
    };
    char::from_digit(value, 10)
}

/// Visual separators (RFC 3966, section 3) and what typography makes of them.
fn is_separator(c: char) -> bool {
    matches!(
        c,
        '-' | '.' | '(' | ')' | '/' | '~' | '\u{2010}'
            ..='\u{2015}' | '\u{2212}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'
    ) || c.is_whitespace()
        || is_invisible(c)
}

/// Without white space and invisible marks at either end.
fn trim(text: &str) -> &str {
    let (mut start, mut end) = (None, 0);
    for (at, c) in text.char_indices() {
        if !c.is_whitespace() && !is_invisible(c) {
            start = start.or(Some(at));
            end = at + c.len_utf8();
        }
    }
    start.and_then(|start| text.get(start..end)).unwrap_or_default()
}

/// Marks of text direction and joining, which come along when numbers are copied from contact lists.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::super::provider::ProviderRegistry;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// What a person sees of a destination: the E.164 number, the SIP URI, or `number@context`.
    fn read(input: &str, country: Option<&str>) -> Result<String, String> {
        Destination::parse(input, country)
            .map(|destination| match destination {
                Destination::Sip(uri) => uri,
                Destination::Tel(number) => match number.extension() {
                    Some(extension) => format!("{} ext {extension}", number.e164()),
                    None => number.e164().to_owned(),
                },
                Destination::Local(user) => format!("{user}@"),
                Destination::Private { number, context } => format!("{number}@{context}"),
            })
            .map_err(|error| {
                assert_eq!(error.code, ErrorCode::InvalidDestination, "{input:?}");
                assert!(error.message.len() <= 120, "{}", error.message);
                assert!(!error.message.chars().any(char::is_control));
                error.message.to_string()
            })
    }

    #[test]
    fn international_numbers_need_no_country() {
        for (input, e164) in [
            ("+46701234567", "+46701234567"),
            ("+46 70-123 45 67", "+46701234567"),
            ("  +46 70 123 45 67 ", "+46701234567"),
            ("+46 (0)70-123 45 67", "+46701234567"),
            ("+46 (0) 8/123 456", "+468123456"),
            ("(+46) 70.123.45.67", "+46701234567"),
            ("+46\u{a0}70\u{2011}123\u{202f}45\u{2013}67", "+46701234567"),
            ("\u{202a}+46701234567\u{202c}", "+46701234567"),
            ("\u{ff0b}\u{ff14}\u{ff16}701234567", "+46701234567"),
            ("+\u{664}\u{666}\u{667}\u{660}1234567", "+46701234567"),
            ("+\u{6f4}\u{6f6}701234567", "+46701234567"),
            ("+44 (0)20 7946 0958", "+442079460958"),
            // The Italian 0 is part of the number, the Hungarian 06 is not.
            ("+39 06 1234 5678", "+390612345678"),
            ("+36 (06) 1 234 5678", "+3612345678"),
            ("+7 (8) 912 345-67-89", "+79123456789"),
            ("+1 (650) 253-0000", "+16502530000"),
            ("+1 1 650 253 0000", "+16502530000"),
            // A WebRTC number of 46elks: in no published range, and its zeros stay.
            ("+4600100100", "+4600100100"),
            ("+800 1234 5678", "+80012345678"),
            ("+883 5100 01234567", "+883510001234567"),
        ] {
            for country in [None, Some("SE"), Some("US")] {
                assert_eq!(read(input, country).as_deref(), Ok(e164), "{input:?}");
            }
        }
    }

    #[test]
    fn national_numbers_are_read_as_dialled_in_the_country() {
        for (country, input, e164) in [
            ("SE", "070-123 45 67", "+46701234567"),
            ("se", "0701234567", "+46701234567"),
            ("SE", "08-123 456 78", "+46812345678"),
            ("SE", "701234567", "+46701234567"),
            ("SE", "46701234567", "+46701234567"),
            ("SE", "0046 70 123 45 67", "+46701234567"),
            ("SE", "00 1 650 253 0000", "+16502530000"),
            ("DE", "(030) 123456", "+4930123456"),
            ("GB", "020 7946 0958", "+442079460958"),
            ("FR", "06 12 34 56 78", "+33612345678"),
            ("IT", "06 1234 5678", "+390612345678"),
            ("IT", "312 345 6789", "+393123456789"),
            ("VA", "06 698 12345", "+390669812345"),
            ("SM", "886377", "+3780549886377"),
            ("ES", "912 34 56 78", "+34912345678"),
            ("US", "(650) 253-0000", "+16502530000"),
            ("US", "1-650-253-0000", "+16502530000"),
            ("US", "011 46 70 123 45 67", "+46701234567"),
            ("CA", "506 234 5678", "+15062345678"),
            ("BB", "429 5000", "+12464295000"),
            ("BB", "1 650 253 0000", "+16502530000"),
            ("JE", "01534 456789", "+441534456789"),
            ("JE", "456789", "+441534456789"),
            ("RU", "8 (912) 345-67-89", "+79123456789"),
            ("RU", "8 800 555 35 35", "+78005553535"),
            ("RU", "800 555 35 35", "+78005553535"),
            ("RU", "8 10 46 70 123 45 67", "+46701234567"),
            ("KZ", "8 710 123 4567", "+77101234567"),
            ("BY", "8 0152 450911", "+375152450911"),
            ("HU", "06 1 234 5678", "+3612345678"),
            ("HU", "06 20 123 4567", "+36201234567"),
            ("LT", "8 312 34567", "+37031234567"),
            ("LT", "0 312 34567", "+37031234567"),
            ("AU", "0011 46 70 123 45 67", "+46701234567"),
            ("JP", "010 46 70 123 45 67", "+46701234567"),
            ("JP", "090-1234-5678", "+819012345678"),
            ("BR", "(011) 91234-5678", "+5511912345678"),
            ("BR", "00 15 46 70 123 45 67", "+46701234567"),
            ("CI", "01 23 45 67 89", "+2250123456789"),
            ("FI", "990 46 70 123 45 67", "+46701234567"),
        ] {
            assert_eq!(read(input, Some(country)).as_deref(), Ok(e164), "{country} {input:?}");
        }
    }

    #[test]
    fn tel_addresses() {
        for (input, country, expected) in [
            ("tel:+46701234567", None, "+46701234567"),
            ("TEL:+46-70-123.45(67)", None, "+46701234567"),
            // Not RFC 3966, but found in web pages, and of one meaning only.
            ("tel://+46701234567", None, "+46701234567"),
            ("tel:+46701234567;isub=1;x-future=2", None, "+46701234567"),
            ("tel:+468123456;ext=12-34", None, "+468123456 ext 1234"),
            ("tel:0701234567;phone-context=+46", None, "+46701234567"),
            ("tel:2530000;phone-context=+1-650", None, "+16502530000"),
            ("tel:0701234567", Some("SE"), "+46701234567"),
            ("tel:0701234567;phone-context=+46", Some("US"), "+46701234567"),
            ("tel:600;phone-context=Sandbox.test", None, "600@sandbox.test"),
            ("tel:600;phone-context=sandbox.test", Some("SE"), "600@sandbox.test"),
            // A global number has no context (RFC 3966, section 5.1.5): what is there is not looked at.
            ("tel:+46701234567;phone-context=example.com", None, "+46701234567"),
        ] {
            assert_eq!(read(input, country).as_deref(), Ok(expected), "{input}");
        }
        for bad in [
            "tel:",
            "tel:;phone-context=+46",
            "tel:0701234567",
            "tel:600",
            "tel:112;phone-context=example.com",
            "tel:600;phone-context=",
            "tel:600;phone-context=.",
            "tel:600;phone-context=a..b",
            "tel:600;phone-context=exa mple.com",
            "tel:600;phone-context=sip:x@y",
            "tel:600;phone-context=x@y>",
            "tel:1234567890123456;phone-context=example.com",
            "tel:600;phone-context=+46",
            "tel:0701234567;phone-context=+999",
            "tel:0701234567;phone-context=+4x",
            "tel:+468123456;ext=",
            "tel:+468123456;ext=+1",
            "tel:+468123456;ext=12a",
            "tel:+468123456;ext=1234567890123456",
            "tel:+468123456;m-route=1",
            "tel:+468123456?subject=x",
            "tel:%2B468123456",
            "tel:*31#",
            "tel:7042;phone-context=example.com/\u{e9}",
        ] {
            assert!(read(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn sip_addresses() {
        for (input, expected) in [
            ("sip:bob@example.com", "sip:bob@example.com"),
            ("SIP:Bob@Example.COM:5061", "sip:Bob@example.com:5061"),
            ("sips:bob@example.com", "sips:bob@example.com"),
            (" sip:600@sandbox.test ", "sip:600@sandbox.test"),
            ("sip:+46701234567@example.com;user=phone", "sip:+46701234567@example.com;user=phone"),
            ("sip:bob@[2001:db8::1]:5060;transport=ws", "sip:bob@[2001:db8::1]:5060;transport=ws"),
            ("sip:bob%40home@example.com;lr", "sip:bob%40home@example.com;lr"),
            ("sip:example.com", "sip:example.com"),
            ("sip:bob@localhost", "sip:bob@localhost"),
            ("sip:bob@pbx", "sip:bob@pbx"),
        ] {
            for country in [None, Some("SE")] {
                assert_eq!(read(input, country).as_deref(), Ok(expected), "{input}");
            }
        }
        for bad in [
            "sip:",
            "sips:",
            "sip:@example.com",
            "sip:bob@",
            "sip:bob@example.com:99999",
            "sip:bob@exa mple.com",
            "sip:b ob@example.com",
            "sip:bob@example.com?Replaces=x",
            "sip:bob@example.com?Subject=hi&X=%0d%0aVia",
            "sip:bob@example.com;method=BYE",
            "sip:bob@example.com;METHOD=BYE",
            "sip:bob:secret@example.com",
            "sip:j\u{f6}rg@example.com",
            "sip:bob@ex\u{e4}mple.com",
            "sip:600",
            "sip:alice",
            "sip://bob@example.com",
            "<sip:bob@example.com>",
            "\"Bob\" <sip:bob@example.com>",
            "sip:bob@example.com>",
        ] {
            let message = read(bad, None).unwrap_err();
            assert!(!message.contains("secret"));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("sip:{}@example.com", "x".repeat(600));
        let too_long = "x".repeat(65);
        for bad in [
            "",
            "   ",
            "\u{200e}",
            "60 0",
            "0600",
            "6000000",
            "1-800-FLOWERS",
            "600bob",
            "foo bar",
            "-bob",
            "bob;lr",
            "bob%40home",
            "j\u{f6}rg",
            "+1-800-FLOWERS",
            "+46701234567x12",
            "+46701234567,,1234",
            "+46701234567;ext=12",
            "+46701234567\r\nVia: x",
            "+46701234567\n",
            "+4670\u{0}1234567",
            "sip:bob@example.com\r\nX: y",
            "*31#0701234567",
            "*310701234567",
            "#31#",
            "*",
            "600*",
            "+",
            "++46701234567",
            "4670+1234567",
            "+46+701234567",
            "+46",
            "+46701",
            "+1 555",
            "+1 650 253 00000",
            "+1234567890123456",
            "+4670123456789",
            "+467012345678901",
            "+1 650 253 00",
            "+46 701234567 +46 701234567",
            "+210 1234567",
            "+999 12345678",
            "+0701234567",
            "0701234567",
            "701234567",
            "0046701234567",
            "mailto:bob@example.com",
            "https://example.com",
            "javascript:alert(1)",
            "urn:service:sos",
            "im:bob@example.com",
            ":",
            "bob@example.com",
            &too_long,
            "\u{1f4de}",
            "\u{967}\u{968}\u{969}\u{967}\u{968}\u{969}\u{967}",
            &long,
        ] {
            assert!(read(bad, None).is_err(), "{bad:?}");
        }
        for (country, bad) in [
            ("SE", "101"),
            ("SE", "6 00"),
            ("SE", "60-70"),
            ("SE", "0"),
            ("SE", "00"),
            ("SE", "00 0701234567"),
            ("SE", "0701"),
            ("SE", "070123456789012"),
            ("SE", "0070 123 45 67 89 01 23 45"),
            // Either 0468-123456 or +46 8-123456.
            ("SE", "468123456"),
            ("IT", "390212345678"),
            ("US", "123 456 7890"),
            ("US", "0046701234567"),
            ("US", "253 0000"),
            ("IT", "612345678901234"),
            ("AR", "011 15-2345-6789"),
        ] {
            assert!(read(bad, Some(country)).is_err(), "{country} {bad:?}");
        }
    }

    #[test]
    fn extensions_and_names_belong_to_the_domain_of_the_account() {
        for user in [
            "600",
            "101",
            "1",
            "7",
            "4000",
            "12345",
            "612345",
            "bob",
            "Bob",
            "bob.smith-2_x",
            "call-me",
            "sip",
            "example.com",
            "*97",
            "*43",
            "**21",
            "*31*600",
        ] {
            let expected = format!("{user}@");
            assert_eq!(read(user, None).as_deref(), Ok(&*expected), "{user}");
            assert_eq!(read(&format!(" {user}\u{200e}"), None).as_deref(), Ok(&*expected), "{user}");
        }
        assert_eq!(read("\u{ff16}\u{ff10}\u{ff10}", None).as_deref(), Ok("600@"));
        for (input, country, expected) in [
            ("600", "SE", "600@"),
            ("201", "US", "201@"),
            ("4000", "SE", "4000@"),
            ("1234", "US", "1234@"),
            ("600", "DE", "600@"),
            ("12345", "FR", "12345@"),
            ("12345", "SE", "12345@"),
            ("12345", "DE", "+4912345"),
            ("bob", "SE", "bob@"),
            ("*97", "US", "*97@"),
            // As long as an extension, and numbers there.
            ("886377", "SM", "+3780549886377"),
            ("456789", "JE", "+441534456789"),
        ] {
            assert_eq!(read(input, Some(country)).as_deref(), Ok(expected), "{country} {input}");
        }
    }

    /// Whatever the country, digits that its plan takes for a number are that number, or are refused as unclear.
    #[test]
    fn an_extension_is_never_a_number_of_the_country() {
        for code in ["SE", "DE", "US", "JE", "SM", "RU", "AD", "FO"] {
            let country = country(code).unwrap();
            let (mut numbers, mut extensions) = (0, 0);
            for digits in (0..=999_999).step_by(997).map(|number: u32| number.to_string()) {
                match (country.national(&digits), Destination::parse(&digits, Some(code))) {
                    (Ok(e164), Ok(Destination::Tel(number))) => {
                        numbers += 1;
                        assert_eq!(number.e164(), e164, "{code} {digits}");
                    }
                    (Err(Problem::Ambiguous), Err(_)) => {}
                    (Err(_), Ok(Destination::Local(user))) => {
                        extensions += 1;
                        assert_eq!(user, digits);
                    }
                    (Err(_), Err(_)) => assert!(digits.starts_with(['0', '1', '9']), "{code} {digits}"),
                    (read, dialled) => panic!("{code} {digits}: {read:?}, {dialled:?}"),
                }
            }
            assert!(extensions > 5, "{code}: {extensions}");
            assert!(numbers > 0 || !matches!(code, "JE" | "SM" | "AD" | "FO"), "{code}: {numbers}");
        }
    }

    #[test]
    fn emergency_numbers_are_refused_by_name() {
        for (country, number) in [
            (None, "112"),
            (None, "911"),
            (None, "+112"),
            (None, "+911"),
            (None, "tel:112"),
            (None, "tel:911;phone-context=example.com"),
            (Some("SE"), "112"),
            (Some("SE"), "1 1 2"),
            (Some("US"), "911"),
            (Some("US"), "9-1-1"),
            (None, "999"),
            (None, "000"),
            (Some("GB"), "999"),
            (Some("AU"), "000"),
            (Some("JP"), "119"),
        ] {
            assert_eq!(read(number, country).unwrap_err(), SHORT, "{country:?} {number}");
        }
        // With its calling code it is too short for any number.
        for number in ["+46112", "+1911", "+44999"] {
            assert!(read(number, None).is_err(), "{number}");
        }
    }

    #[test]
    fn the_message_says_what_is_wrong() {
        for (input, country, part) in [
            ("0701234567", None, "defaultCountry"),
            ("1-800-FLOWERS", Some("SE"), "letters"),
            ("+999 1234567", None, "country code"),
            ("+46701", None, "too short"),
            ("+467012345678901", None, "too long"),
            ("+4670123456789", None, "looks like"),
            ("468123456", Some("SE"), "write +"),
            ("+1234567890123456", None, "too long"),
            ("bob@example.com", None, "scheme"),
            ("mailto:bob@example.com", None, "sip:"),
            ("sip:bob@example.com?a=b", None, "headers"),
            ("sip:bob:pw@example.com", None, "password"),
            ("60 0", None, "separators"),
            ("101", Some("SE"), "sip:<extension>"),
            ("+46\n", None, "control"),
            ("", None, "empty"),
        ] {
            let message = read(input, country).unwrap_err();
            assert!(message.contains(part), "{input:?}: {message}");
        }
    }

    #[test]
    fn countries() {
        for ok in ["SE", "se", "Us", "GB", "XK", "AX"] {
            assert_eq!(check_country(ok), Ok(()), "{ok}");
        }
        for bad in ["", "S", "SWE", "UK", "ZZ", "46", "  ", "S ", "\r\n", "\u{e5}", "AG75", "0", "-"] {
            let error = check_country(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidConfig, "{bad:?}");
            assert!(error.message.starts_with("defaultCountry:"), "{}", error.message);
            assert_eq!(Destination::parse("+46701234567", Some(bad)), Err(error));
        }
    }

    #[test]
    fn request_uris() {
        let registry = ProviderRegistry::default();
        let domain = "sip.example.com";
        for (input, custom, elks) in [
            (
                "+46 70 123 45 67",
                "sip:+46701234567@sip.example.com;user=phone",
                "sip:46701234567@sip.example.com",
            ),
            (
                "tel:+468123456;ext=12",
                "sip:+468123456@sip.example.com;user=phone",
                "sip:468123456@sip.example.com",
            ),
            ("600", "sip:600@sip.example.com", "sip:600@sip.example.com"),
            ("bob", "sip:bob@sip.example.com", "sip:bob@sip.example.com"),
            ("*97", "sip:*97@sip.example.com", "sip:*97@sip.example.com"),
            ("SIP:bob@other.example;lr", "sip:bob@other.example;lr", "sip:bob@other.example;lr"),
            ("tel:600;phone-context=SIP.example.com", "sip:600@sip.example.com", "sip:600@sip.example.com"),
            (
                "tel:600;phone-context=other.example",
                "sip:600;phone-context=other.example@sip.example.com;user=phone",
                "sip:600;phone-context=other.example@sip.example.com;user=phone",
            ),
        ] {
            let destination = Destination::parse(input, None).unwrap();
            for (id, expected) in [("custom", custom), ("46elks", elks)] {
                let uri = destination.request_uri(domain, registry.get(id).unwrap());
                assert_eq!(uri, expected);
                assert!(Uri::parse(&uri).is_ok(), "{uri}");
            }
        }
    }

    /// Whatever is thrown at it: no panic, and what passes is safe to put into a request line.
    #[test]
    fn mutated_input_never_panics_nor_smuggles() {
        let seeds = [
            "+46 (0)70-123 45 67",
            "sip:bob@example.com:5060;transport=ws?x=y",
            "tel:0701234567;phone-context=+46;ext=12",
            "tel:600;phone-context=example.com",
            "0046701234567",
            "8 (912) 345-67-89",
            "sips:a%20b@[2001:db8::1]",
            "bob.smith",
            "*97",
            "600",
        ];
        let alphabet: Vec<char> =
            "0123456789+-.() /:;=@?%[]<>\"\\#*,abSIPtel\r\n\0\u{a0}\u{ff0b}\u{664}\u{202a}\u{e9}\u{1f4de}"
                .chars()
                .collect();
        let countries = [None, Some("SE"), Some("US"), Some("IT"), Some("BY"), Some("SG"), Some("BB")];
        let provider = ProviderRegistry::default().get("custom").unwrap().clone();
        let mut state = 0x9e37_79b9_u32;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize % below
        };
        let mut accepted = 0;
        for round in 0..20_000 {
            let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
            for _ in 0..=random(4) {
                let at = random(text.len() + 1);
                let c = alphabet[random(alphabet.len())];
                match random(3) {
                    0 if at < text.len() => text[at] = c,
                    1 if at < text.len() => drop(text.remove(at)),
                    _ => text.insert(at, c),
                }
            }
            let input: String = text.into_iter().collect();
            let Ok(destination) = Destination::parse(&input, countries[random(countries.len())]) else {
                continue;
            };
            accepted += 1;
            if let Some(number) = destination.phone_number() {
                let digits = number.e164().strip_prefix('+').unwrap();
                assert!((4..=15).contains(&digits.len()), "{input:?}");
                assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{input:?}");
                assert!(!digits.starts_with('0'), "{input:?}");
                // E.164 reads back as itself.
                assert_eq!(
                    Destination::parse(number.e164(), None).unwrap().phone_number().map(PhoneNumber::e164),
                    Some(number.e164())
                );
            }
            let uri = destination.request_uri("example.com", &provider);
            assert!(uri.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b)), "{input:?}: {uri}");
            let parsed = Uri::parse(&uri).unwrap();
            assert!(parsed.headers.is_none() && parsed.password.is_none(), "{input:?}: {uri}");
        }
        assert!(accepted > 2_000, "the sweep has lost its grip: {accepted}");
    }
}
