//! Small helpers for text, each one function for all its uses: the generic ones of the standard library are
//! compiled anew for every kind of argument, and the module is downloaded by every visitor.

/// The parts, one after the other.
pub(crate) fn concat(parts: &[&str]) -> String {
    let mut text = String::new();
    append(&mut text, parts);
    text
}

/// A number in decimal digits. (`to_string` brings the padding and signs of `fmt` along.)
pub(crate) fn digits(number: impl Into<u64>) -> String {
    let mut text = String::new();
    push_digits(&mut text, number.into());
    text
}

#[inline(never)]
fn push_digits(text: &mut String, number: u64) {
    if number >= 10 {
        push_digits(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Adds the parts to the text.
#[inline(never)]
pub(crate) fn append(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

/// A number that is digits and nothing else: no sign, no white space. `None` too where it does not fit.
#[inline(never)]
pub(crate) fn number(text: &str) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    let mut number = 0_u64;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
        if number > u64::from(u32::MAX) {
            return None;
        }
    }
    u32::try_from(number).ok()
}

/// A byte of one in each place of a word, and the highest bit of each.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether a byte of the word is less than `limit`, which is 128 at most.
const fn has_less(word: u64, limit: u64) -> bool {
    word.wrapping_sub(ONES * limit) & !word & HIGHS != 0
}

/// Where this byte stands first. Eight bytes at a time: what looks at each byte of a message is most of what reading it
/// costs.
#[inline(never)]
pub(crate) fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    for word in bytes.as_chunks::<8>().0 {
        if has_less(u64::from_le_bytes(*word) ^ (ONES * u64::from(wanted)), 1) {
            break;
        }
        at += 8;
    }
    Some(at + bytes.get(at..)?.iter().position(|byte| *byte == wanted)?)
}

/// Whether nothing ends the line: no CR, LF or NUL.
#[inline(never)]
pub(crate) fn is_line(text: &str) -> bool {
    let ends = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    !ends(rest) && !words.iter().any(|word| has_less(u64::from_le_bytes(*word), 14) && ends(word))
}

/// What stands before and behind the first such byte, which is an ASCII one.
#[inline(never)]
pub(crate) fn split_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = find(text.as_bytes(), byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Where the part, which is not empty, stands first. (The searcher of `str`, which is for long texts, is two kB.)
#[inline(never)]
pub(crate) fn first_place(text: &str, part: &str) -> Option<usize> {
    text.as_bytes().windows(part.len().max(1)).position(|window| window == part.as_bytes())
}

/// Where the part, which is not empty, stands last.
#[inline(never)]
pub(crate) fn last_place(text: &str, part: &str) -> Option<usize> {
    text.as_bytes().windows(part.len().max(1)).rposition(|window| window == part.as_bytes())
}

/// What stands before the first such byte; all of it where there is none.
pub(crate) fn before(text: &str, byte: u8) -> &str {
    split_once(text, byte).map_or(text, |(before, _)| before)
}

/// Values as one comma-separated list.
pub(crate) fn list(values: &[&str]) -> String {
    let mut list = String::new();
    for value in values {
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(value);
    }
    list
}

/// The codec of a media type: `PCMA` of `audio/PCMA`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn codec_name(mime_type: &str) -> &str {
    split_once(mime_type, b'/').map_or(mime_type, |(_, name)| name)
}

/// The parts between all such bytes, which are ASCII ones.
pub(crate) const fn split(text: &str, byte: u8) -> Split<'_> {
    Split { rest: Some(text), byte }
}

/// See [`split`].
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    byte: u8,
}

impl<'a> Split<'a> {
    /// What has not been split yet.
    pub(crate) fn rest(self) -> &'a str {
        self.rest.unwrap_or_default()
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    #[inline(never)]
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let (part, rest) = match split_once(rest, self.byte) {
            Some((part, rest)) => (part, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Some(part)
    }
}

/// What a peer says, for people: without control characters, and no more than 80 characters of it.
#[inline(never)]
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::new();
    let mut left = 80_u8;
    for c in text.chars() {
        if left > 0 && !c.is_control() {
            printable.push(c);
            left -= 1;
        }
    }
    printable
}

/// Whether there is a control character.
#[inline(never)]
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whether there is white space or a control character.
#[inline(never)]
pub(crate) fn has_space_or_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(number("0042"), Some(42));
        assert_eq!(number("4294967295"), Some(u32::MAX));
        for bad in ["", "4294967296", "99999999999999999999999", "+1", "-1", " 1", "1x", "\u{661}"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn digits_of_a_number() {
        for number in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            assert_eq!(digits(number), number.to_string());
        }
    }

    #[test]
    fn places_of_a_part() {
        for text in ["", "a", "ab", "\u{e5}abab", "xxabx", "aab"] {
            assert_eq!(first_place(text, "ab"), text.find("ab"), "{text}");
            assert_eq!(last_place(text, "ab"), text.rfind("ab"), "{text}");
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_stand() {
        for length in 0..40 {
            for wanted in [0, b'\n', b':', 0x7f, 0x80, 0xff] {
                let other = wanted ^ 1;
                let mut bytes = vec![other; length];
                assert_eq!(find(&bytes, wanted), None, "{length} {wanted}");
                for at in (0..length).rev() {
                    bytes[at] = wanted;
                    assert_eq!(find(&bytes, wanted), Some(at), "{length} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_line_has_no_end_within() {
        for length in 0..40 {
            let mut text = "\t\u{e5}\u{c}\u{b}".chars().cycle().take(length).collect::<Vec<char>>();
            assert!(is_line(&text.iter().collect::<String>()), "{length}");
            for at in 0..length {
                for end in ['\r', '\n', '\0'] {
                    let was = core::mem::replace(&mut text[at], end);
                    assert!(!is_line(&text.iter().collect::<String>()), "{length} {at} {end:?}");
                    text[at] = was;
                }
            }
        }
    }

    #[test]
    fn parts_and_splits() {
        assert_eq!(concat(&["a", "", "\u{e5}b"]), "a\u{e5}b");
        assert_eq!(concat(&[]), "");
        assert_eq!(split_once("\u{e5}:b:c", b':'), Some(("\u{e5}", "b:c")));
        assert_eq!(split_once("a", b':'), None);
        assert_eq!((before("a;b", b';'), before("a", b';')), ("a", "a"));
        for text in ["", ",", "a", "a,b", ",a,,\u{e5},"] {
            assert!(split(text, b',').eq(text.split(',')), "{text}");
        }
        let mut parts = split("a,b,c", b',');
        assert_eq!((parts.next(), parts.rest()), (Some("a"), "b,c"));
    }

    #[test]
    fn control_characters() {
        assert_eq!(printable("a\r\n\u{85}\u{e5}"), "a\u{e5}");
        assert_eq!(printable(&"\u{e5}".repeat(90)), "\u{e5}".repeat(80));
        assert!(has_control("a\u{85}") && has_control("\r") && !has_control("a \u{a0}\u{e5}"));
        assert!(
            has_space_or_control("a\u{a0}") && has_space_or_control("\0") && !has_space_or_control("\u{e5}")
        );
    }
}
