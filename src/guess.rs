//! What somebody may have meant by a name that does not exist.

use crate::text::{split, split_once};

/// Longer names are not compared.
const MAX_NAME: usize = 32;

/// Names that other phones have for ours: theirs, without signs and capitals, and ours.
const ELSEWHERE: &str = "sockets=servers wsservers=servers websocketurl=servers transportoptions=servers url=servers \
                         password=credentials username=credentials authorizationuser=credentials ha1=credentials \
                         authorizationusername=credentials authorizationpassword=credentials \
                         aor=uri pcconfig=iceServers mediaconstraints=audio eventhandlers=onProgress";

/// The one of `names` that is meant by `wrong`, if one is likely: another phone's name for it, or one that differs by a slip of the finger.
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
    names.iter().copied().find(|name| is_slip(&wrong, &letters(name)))
}

/// Letters and digits in lower case: nobody means the difference between `callerID` and `caller_id`.
fn letters(name: &str) -> Vec<u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect()
}

/// Whether one is the other with a letter more or less, another letter, or two letters swapped: what is left between what
/// they begin and end with. A short name with another letter is another name.
fn is_slip(one: &[u8], other: &[u8]) -> bool {
    let shorter = one.len().min(other.len());
    let begin = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let end =
        one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count().min(shorter - begin);
    let left = |name: &[u8]| name.len() - begin - end;
    let (a, b) = (left(one), left(other));
    let swapped =
        (a, b) == (2, 2) && one.get(begin) == other.get(begin + 1) && one.get(begin + 1) == other.get(begin);
    (a <= 1 && b <= 1 || swapped) && (shorter > 3 || a + b == 0)
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
    fn one_slip_is_forgiven() {
        for (one, other, expected) in [
            ("", "", true),
            ("a", "", false),
            ("abcd", "abcd", true),
            ("abcd", "axcd", true),
            ("abcd", "bcd", false),
            ("abcde", "abde", true),
            ("abcd", "acbd", true),
            ("abcd", "adcb", false),
            ("aaaa", "aaaaa", true),
            ("abab", "abababab", false),
            ("uri", "url", false),
            ("kitten", "sitting", false),
        ] {
            assert_eq!(is_slip(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
            assert_eq!(is_slip(other.as_bytes(), one.as_bytes()), expected, "{other} {one}");
        }
    }
}
