//! Numbers of every country, read by us and by Google's libphonenumber (tools/phone-metadata has asked it).
#![allow(clippy::unwrap_used, clippy::panic, reason = "on wasm clippy doesn't see that these are tests")]

use std::collections::BTreeSet;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

use wasm_softphone::dial::{Destination, PhoneNumber};

const FIXTURE: &str = include_str!("fixtures/phone-numbers.tsv");

/// What we refuse and libphonenumber takes: kinds of input, countries (empty: all), and why.
const STRICTER: &[(&[&str], &[&str], &str)] = &[
    (&["short"], &[], "three digits are never a subscriber's number"),
    (&["long"], &["DE", "ID", "JP"], "E.164 ends at 15 digits"),
    (&["no-plus"], &[], "could be a national number as well as one that begins with the calling code"),
    (&["national", "digits"], &["AR"], "the mobile prefix 15 in mid-number needs a table of area codes"),
    (
        &["national", "digits"],
        &["BJ"],
        "eight digits were replaced in 2024; the reference is older than our table",
    ),
    (&["national", "digits", "significant"], &["ZW"], "withdrawn; the reference is older than our table"),
];

#[test]
fn agrees_with_libphonenumber_and_never_rings_another() {
    let (mut total, mut agreed) = (0_u32, 0_u32);
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
        let [kind, country, input, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four fields: {line}");
        };
        total += 1;
        let destination = Destination::parse(input, Some(country));
        let ours = destination.as_ref().ok().and_then(Destination::phone_number);
        match ours.map_or("-", PhoneNumber::e164) {
            same if same == expected => agreed += 1,
            "-" => match STRICTER.iter().position(|(kinds, countries, _)| {
                kinds.contains(&kind) && (countries.is_empty() || countries.contains(&country))
            }) {
                Some(reason) => drop(met.insert(reason)),
                None => wrong.push(format!("{line}: {}", destination.unwrap_err())),
            },
            other => wrong.push(format!("{line}: {other}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (index, entry) in STRICTER.iter().enumerate() {
        assert!(met.contains(&index), "no longer different: {entry:?}");
    }
    assert!(total > 4_000, "{total}");
    // 99.3 % when written.
    assert!(agreed * 1000 >= total * 992, "{agreed} of {total}");
}
