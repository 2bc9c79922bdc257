//! What somebody may have meant by a name that does not exist.

use crate::text::{split, split_once};

/// Longer names are not compared.
const MAX_NAME: usize = 32;

/// Names that other phones have for ours: theirs, without signs and capitals, and ours.
const ELSEWHERE: &str = "sockets=servers wsservers=servers websocketurl=servers transportoptions=servers url=servers \
                         password=credentials username=credentials authorizationuser=credentials ha1=credentials \
                         authorizationusername=credentials authorizationpassword=credentials \
                         aor=uri pcconfig=iceServers mediaconstraints=audio eventhandlers=onProgress";

/// The one of `names` that is meant by `wrong`, if one is likely: another phone's name for it, or one that differs by a letter or two.
pub(crate) fn meant<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let wrong = letters(wrong);
    if wrong.is_empty() || wrong.len() > MAX_NAME {
        return None;
    }
    let synonym = split(ELSEWHERE, b' ').filter_map(|pair| split_once(pair, b'='));
    for (theirs, ours) in synonym {
        if theirs.as_bytes() == wrong {
            return names.iter().copied().find(|name| *name == ours);
        }
    }
    let far = |name: &&str| distance(&wrong, &letters(name));
    let nearest = names.iter().copied().min_by_key(far)?;
    // A third of a name is another name.
    (far(&nearest).saturating_mul(3) <= wrong.len()).then_some(nearest)
}

/// Letters and digits in lower case: nobody means the difference between `callerID` and `caller_id`.
fn letters(name: &str) -> Vec<u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect()
}

/// How many letters to put in, take away or change (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.iter().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NAMES: [&str; 8] =
        ["servers", "uri", "credentials", "displayName", "registerExpires", "iceServers", "timeout", "audio"];

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        for (wrong, meant_name) in [
            ("server", "servers"),
            ("Servers", "servers"),
            ("sevrers", "servers"),
            ("display_name", "displayName"),
            ("displayname", "displayName"),
            ("register_expires", "registerExpires"),
            ("timout", "timeout"),
            ("timeOut", "timeout"),
            ("credential", "credentials"),
            ("iceServer", "iceServers"),
        ] {
            assert_eq!(meant(wrong, &NAMES), Some(meant_name), "{wrong}");
        }
    }

    #[test]
    fn names_of_other_phones_are_understood() {
        for (wrong, meant_name) in [
            ("sockets", "servers"),
            ("ws_servers", "servers"),
            ("password", "credentials"),
            ("authorization_user", "credentials"),
            ("authorizationUsername", "credentials"),
            ("aor", "uri"),
            ("pcConfig", "iceServers"),
            ("mediaConstraints", "audio"),
        ] {
            assert_eq!(meant(wrong, &NAMES), Some(meant_name), "{wrong}");
        }
        // Not where that name does not exist.
        assert_eq!(meant("sockets", &["timeout"]), None);
    }

    #[test]
    fn nothing_is_guessed_of_another_word() {
        let long = "servers".repeat(10);
        for wrong in ["", "_", "foo", "video", "user", "colour", "\u{e9}\u{e9}\u{e9}", &long] {
            assert_eq!(meant(wrong, &NAMES), None, "{wrong}");
        }
        assert_eq!(meant("x", &[]), None);
    }

    #[test]
    fn letters_are_counted() {
        for (one, other, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("abc", "abc", 0),
            ("abc", "axc", 1),
            ("abc", "bc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(distance(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }
}
