//! Reading of national and international numbers with the numbering plans of [`plans`](super::plans).
//!
//! A plan knows the calling code, the prefixes and which lengths can start with which digit; that tells a trunk
//! prefix from the number's own first digit (a German 0 from an Italian one) without the patterns of every block.

use core::cmp::Ordering;

use super::plans::PLANS;
use crate::text::{concat, split, split_once};

/// Longest number (ITU-T E.164, section 6.2.1), calling code included.
const E164_DIGITS: usize = 15;

/// Why digits are not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// No country has this calling code.
    CallingCode,
    /// Fewer digits than any number there.
    TooShort,
    /// More digits than any number there.
    TooLong,
    /// No number there looks like this.
    Impossible,
    /// It makes sense as a national number and as one with the country's own calling code.
    Ambiguous,
}

/// The numbering plan of one calling code.
#[derive(Clone, Copy)]
struct Plan {
    code: &'static str,
    /// Lengths and first digits of national numbers: see [`PLANS`].
    shape: &'static str,
    trunks: &'static str,
    international: &'static str,
}

/// A country within its plan.
pub(super) struct Country {
    plan: Plan,
    /// Length, mask of first digits and area code of short local numbers; empty where there are none.
    local: &'static str,
}

/// The country with this ISO 3166-1 alpha-2 code, in either case.
pub(super) fn country(code: &str) -> Option<Country> {
    if code.len() != 2 {
        return None;
    }
    plans().find_map(|(plan, countries)| {
        split(countries, b' ').find_map(|entry| {
            let (name, local) = entry.split_at_checked(2)?;
            name.eq_ignore_ascii_case(code).then_some(Country { plan, local })
        })
    })
}

fn plans() -> impl Iterator<Item = (Plan, &'static str)> {
    split(PLANS, b'\n').filter_map(|line| {
        let mut fields = split(line, b' ');
        let plan = Plan {
            code: fields.next()?,
            shape: fields.next()?,
            trunks: or_default(fields.next()?, "0"),
            international: or_default(fields.next()?, "00"),
        };
        Some((plan, fields.rest()))
    })
}

fn or_default(field: &'static str, default: &'static str) -> &'static str {
    match field {
        "" => default,
        "-" => "",
        other => other,
    }
}

/// E.164 with its `+`, from the digits after a `+` or an international prefix.
///
/// First digits are not checked here: numbers outside the published ranges exist (46elks gives its WebRTC
/// clients `+4600…`), and the network knows better.
pub(super) fn international(digits: &str) -> Result<String, Problem> {
    let (plan, national) = plans()
        .find_map(|(plan, _)| Some((plan, digits.strip_prefix(plan.code)?)))
        .ok_or(Problem::CallingCode)?;
    // "+46 (0)70 …": the trunk prefix does not belong there; but it stays where the rest is no better.
    let national = match plan.without_trunk(national) {
        Some(rest) if plan.is_viable(rest) && !plan.is_viable(national) => rest,
        _ => national,
    };
    plan.check_length(national)?;
    plan.e164(national)
}

impl Country {
    /// E.164 with its `+`, from digits as dialled in the country.
    pub(super) fn national(&self, digits: &str) -> Result<String, Problem> {
        let plan = &self.plan;
        // No calling code starts with 0.
        if let Some(rest) = plan.without_international(digits)
            && !rest.is_empty()
            && !rest.starts_with('0')
        {
            return international(rest);
        }
        if let Some(area) = self.area_code(digits) {
            return plan.e164(&concat(&[area, digits]));
        }
        let whole = plan.is_viable(digits);
        if let Some(rest) = plan.without_trunk(digits)
            && plan.is_viable(rest)
        {
            return plan.e164(rest);
        }
        // The calling code without its "+". Where both are possible a guess could ring a stranger.
        let with_code = digits.strip_prefix(plan.code).filter(|rest| plan.is_viable(rest));
        match with_code {
            Some(_) if whole => Err(Problem::Ambiguous),
            Some(rest) => plan.e164(rest),
            None if whole => plan.e164(digits),
            None => {
                plan.check_length(plan.without_trunk(digits).unwrap_or(digits))?;
                Err(Problem::Impossible)
            }
        }
    }

    /// The area code that goes before a local number dialled without it (Caribbean and Channel islands).
    fn area_code(&self, digits: &str) -> Option<&'static str> {
        let (shape, area) = self.local.split_at_checked(3)?;
        fits(shape, digits).then_some(area)
    }
}

impl Plan {
    fn is_viable(&self, national: &str) -> bool {
        fits(self.shape, national)
    }

    fn without_trunk<'a>(&self, digits: &'a str) -> Option<&'a str> {
        split(self.trunks, b',')
            .filter(|trunk| !trunk.is_empty())
            .find_map(|trunk| digits.strip_prefix(trunk))
    }

    /// The longest prefix wins: "009" is one carrier's international prefix where "00" is another's.
    fn without_international<'a>(&self, digits: &'a str) -> Option<&'a str> {
        let mut best: Option<&str> = None;
        for run in split(self.international, b',') {
            let (first, last) = split_once(run, b'-').unwrap_or((run, run));
            if let Some((prefix, rest)) = digits.split_at_checked(first.len())
                && !prefix.is_empty()
                && first <= prefix
                && prefix <= last
                && best.is_none_or(|best| rest.len() < best.len())
            {
                best = Some(rest);
            }
        }
        best
    }

    fn check_length(&self, national: &str) -> Result<(), Problem> {
        let (mut longer, mut shorter) = (false, false);
        for (length, _) in entries(self.shape) {
            match length.cmp(&national.len()) {
                Ordering::Equal => return Ok(()),
                Ordering::Greater => longer = true,
                Ordering::Less => shorter = true,
            }
        }
        Err(match (shorter, longer) {
            (false, _) => Problem::TooShort,
            (_, false) => Problem::TooLong,
            _ => Problem::Impossible,
        })
    }

    fn e164(&self, national: &str) -> Result<String, Problem> {
        if self.code.len().saturating_add(national.len()) > E164_DIGITS {
            return Err(Problem::TooLong);
        }
        Ok(concat(&["+", self.code, national]))
    }
}

/// Whether the shape has this length with this first digit.
fn fits(shape: &str, digits: &str) -> bool {
    let Some(first) = digits.chars().next().and_then(|c| c.to_digit(10)) else { return false };
    entries(shape).any(|(length, mask)| length == digits.len() && mask >> first & 1 == 1)
}

/// Length and mask of first digits, shortest first.
fn entries(shape: &str) -> impl Iterator<Item = (usize, u32)> {
    shape.as_bytes().chunks_exact(3).filter_map(|entry| {
        let &[length, high, low] = entry else { return None };
        let value = |byte: u8| char::from(byte).to_digit(32);
        Some((usize::try_from(value(length)?).ok()?, value(high)? << 5 | value(low)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_table_is_well_formed() {
        let mut countries = 0;
        for (plan, names) in plans() {
            assert!((1..=3).contains(&plan.code.len()), "{}", plan.code);
            assert!(plan.code.bytes().all(|b| b.is_ascii_digit()));
            assert!(!plan.shape.is_empty() && plan.shape.len() % 3 == 0, "{}", plan.code);
            let lengths: Vec<_> = entries(plan.shape).map(|(length, _)| length).collect();
            assert_eq!(lengths.len() * 3, plan.shape.len(), "{}", plan.code);
            assert!(lengths.is_sorted(), "{}", plan.code);
            assert!(
                lengths.iter().all(|length| *length > 3),
                "{}: short numbers must stay out of reach",
                plan.code
            );
            assert!(entries(plan.shape).all(|(_, mask)| (1..1024).contains(&mask)), "{}", plan.code);
            for name in names.split(' ').filter(|name| !name.is_empty()) {
                countries += 1;
                assert!(name.get(..2).is_some_and(|n| n.bytes().all(|b| b.is_ascii_uppercase())), "{name}");
            }
            // Calling codes are free of prefixes, so the first that fits is the only one.
            let clashes = plans().filter(|(other, _)| other.code.starts_with(plan.code)).count();
            assert_eq!(clashes, 1, "{}", plan.code);
        }
        assert!(countries >= 240, "{countries}");
    }

    #[test]
    fn prefixes_are_lists_and_runs() {
        let plan = Plan { code: "0", shape: "", trunks: "80,8", international: "00,005-007,0099" };
        for (digits, rest) in [
            ("0046", Some("46")),
            ("00646", Some("46")),
            ("00446", Some("446")),
            ("009946", Some("46")),
            ("046", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(plan.without_international(digits), rest, "{digits}");
        }
        assert_eq!(plan.without_trunk("8012"), Some("12"));
        assert_eq!(plan.without_trunk("812"), Some("12"));
        assert_eq!(plan.without_trunk("12"), None);
        assert_eq!(Plan { trunks: "", ..plan }.without_trunk("012"), None);
    }
}
