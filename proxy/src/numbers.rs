//! Telephone numbers as E.164 writes them, and how they look in a log.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A telephone number in the international form of E.164: `+`, the country code and the rest, 7 to 15 digits in all.
///
/// [`Debug`](fmt::Debug) and [`Display`](fmt::Display) show the country code and the last two digits only, so that
/// a number that slips into a log or an error tells nobody whom it reaches; [`as_str`](Self::as_str) and serde give
/// the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164(String);

impl E164 {
    /// Reads a number. Spaces, no-break spaces and hyphens are dropped, as people write them; nothing else is
    /// forgiven: no comma (a list to the provider), no `sip:`, no `;`, `*`, `#`, no digits of other scripts.
    pub fn parse(text: &str) -> Result<Self, NotE164> {
        // Far more than anyone types into one number; it keeps what follows short.
        if text.len() > 64 {
            return Err(NotE164);
        }
        let trimmed: String = text.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '-')).collect();
        let digits = trimmed.strip_prefix('+').ok_or(NotE164)?;
        let well_formed = (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if well_formed { Ok(Self(trimmed)) } else { Err(NotE164) }
    }

    /// The number with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number without its `+`, as 46elks writes the user part of a SIP address.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.strip_prefix('+').unwrap_or(&self.0)
    }

    /// What a log may show: `+46…01`.
    #[must_use]
    pub fn masked(&self) -> String {
        let digits = self.digits();
        let country = digits.get(..calling_code_length(digits)).unwrap_or_default();
        let last = digits.len().checked_sub(2).and_then(|at| digits.get(at..)).unwrap_or_default();
        format!("+{country}…{last}")
    }
}

/// How many digits the country code takes: one for +1 and +7, two for the codes that ITU-T E.164 annex A assigns
/// with two, else three.
pub(crate) fn calling_code_length(digits: &str) -> usize {
    const TWO: [&str; 43] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
        "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
        "82", "84", "86", "90", "91", "92", "93", "94", "95",
    ];
    match (digits.get(..1), digits.get(..2)) {
        (Some("1" | "7"), _) => 1,
        (_, Some(two)) if TWO.contains(&two) || two == "98" => 2,
        _ => 3,
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Borrow<str> for E164 {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for E164 {
    type Err = NotE164;

    fn from_str(text: &str) -> Result<Self, NotE164> {
        Self::parse(text)
    }
}

impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for E164 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The error leaves out what was read: it may stand in a log.
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The text is no telephone number in the international form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a telephone number of the form +46701234567")]
pub struct NotE164;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spaces_and_hyphens_are_dropped_and_nothing_else_is() {
        assert_eq!(E164::parse(" +46 70-123 45 67 ").unwrap().as_str(), "+46701234567");
        assert_eq!(E164::parse("+46701234567").unwrap().digits(), "46701234567");
        for bad in [
            "",
            "+",
            "112",
            "0701234567",
            "46701234567",
            "0046701234567",
            "+0701234567",
            "+123456",
            "+1234567890123456",
            "+46701234567,+8821234567",
            "sip:+46701234567@example.com",
            "+46701234567;ext=1",
            "+4670123456*",
            "#+46701234567",
            "+4670123456７",
            "+46(0)701234567",
            "++46701234567",
            "+46\t701234567",
            "+46701234567\n",
            "+46.701.234567",
        ] {
            assert_eq!(E164::parse(bad), Err(NotE164), "{bad:?}");
        }
        assert!(E164::parse(&format!("+46701234567{}", " ".repeat(100))).is_err());
    }

    #[test]
    fn a_log_shows_the_country_and_the_last_two_digits() {
        for (number, shown) in [
            ("+46700000001", "+46…01"),
            ("+12025550123", "+1…23"),
            ("+35840123456", "+358…56"),
            ("+989121234567", "+98…67"),
            ("+9613123456", "+961…56"),
        ] {
            let number = E164::parse(number).unwrap();
            assert_eq!(number.to_string(), shown);
            assert_eq!(format!("{number:?}"), shown);
            assert_eq!(format!("{:?}", Some(&number)), format!("Some({shown})"));
        }
    }

    #[test]
    fn serde_carries_the_whole_number() {
        let number = E164::parse("+46700000001").unwrap();
        let json = serde_json::to_string(&number).unwrap();
        assert_eq!(json, "\"+46700000001\"");
        assert_eq!(serde_json::from_str::<E164>(&json).unwrap(), number);
        let error = serde_json::from_str::<E164>("\"+46700000001,+882\"").unwrap_err().to_string();
        assert!(!error.contains("46700000001"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_e164(text in "\\PC{0,24}") {
            if let Ok(number) = E164::parse(&text) {
                let digits = number.as_str().strip_prefix('+').unwrap();
                prop_assert!((7..=15).contains(&digits.len()));
                prop_assert!(digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'));
            }
        }

        #[test]
        fn near_numbers_are_accepted_only_if_e164(text in "[+0-9 ,;*#:sip-]{0,24}") {
            let trimmed: String = text.chars().filter(|c| !" -".contains(*c)).collect();
            let digits = trimmed.strip_prefix('+').unwrap_or("");
            let expected = (7..=15).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            prop_assert_eq!(E164::parse(&text).is_ok(), expected);
        }

        #[test]
        fn the_mask_hides_the_middle(number in "\\+[1-9][0-9]{6,14}") {
            let parsed = E164::parse(&number).unwrap();
            let shown = parsed.to_string();
            prop_assert!(shown.bytes().filter(u8::is_ascii_digit).count() <= 5);
            prop_assert!(!shown.contains(parsed.digits()));
        }
    }
}
