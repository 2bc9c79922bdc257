//! Bodies of several parts (RFC 5621, RFC 2046, section 5.1).

use super::message::Headers;
use super::wire::leading_text;
use crate::text::{before, concat, split, split_once};

/// Parts within parts, at most.
const DEEPEST: u8 = 3;

/// The body, or the first of its parts, of a media type that is wanted, with that type. Parts of other types are passed
/// over, also those whose handling is `required`: a call is not lost for what comes along with it.
pub fn part<'a>(
    headers: &'a Headers,
    body: &'a [u8],
    wanted: &dyn Fn(&str) -> bool,
) -> Option<(&'a str, &'a [u8])> {
    find(headers.get("Content-Type")?, body, wanted, DEEPEST)
}

/// Whether the body has parts.
#[must_use]
pub fn has_parts(headers: &Headers) -> bool {
    headers.content_type().is_some_and(is_multipart)
}

/// Whether a body of this media type has parts.
#[must_use]
pub fn is_multipart(kind: &str) -> bool {
    kind.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
}

fn find<'a>(
    content_type: &'a str,
    body: &'a [u8],
    wanted: &dyn Fn(&str) -> bool,
    deepest: u8,
) -> Option<(&'a str, &'a [u8])> {
    let (kind, parameters) = split_once(content_type, b';').unwrap_or((content_type, ""));
    let kind = kind.trim_ascii();
    if wanted(kind) {
        return Some((kind, body));
    }
    if deepest == 0 || !is_multipart(kind) {
        return None;
    }
    let boundary = split(parameters, b';').find_map(|parameter| {
        let (name, value) = split_once(parameter, b'=')?;
        let value = value.trim_ascii();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        name.trim_ascii().eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let delimiter = concat(&["--", boundary]);
    let (mut at, mut begin) = (0, None);
    while at < body.len() {
        let rest = body.get(at..)?;
        let end = at + rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |newline| newline + 1);
        let tail = body.get(at..end)?.strip_prefix(delimiter.as_bytes()).map(<[u8]>::trim_ascii);
        // The last part may lack the line that ends it.
        let last = tail.is_none() && end == body.len();
        if let (true, Some(begin)) = (last || matches!(tail, Some(b"" | b"--")), begin) {
            let part = body.get(begin..if last { end } else { at })?;
            // The line end before the delimiter is a part of that.
            let part = part.strip_suffix(b"\n").filter(|_| !last).unwrap_or(part);
            let part = part.strip_suffix(b"\r").filter(|_| !last).unwrap_or(part);
            let found = read(part).and_then(|(kind, body)| find(kind, body, wanted, deepest - 1));
            if found.is_some() {
                return found;
            }
        }
        if matches!(tail, Some(b"" | b"--")) {
            begin = (tail == Some(b"")).then_some(end);
        }
        at = end;
    }
    None
}

/// The media type of a part and what follows its headers.
fn read(part: &[u8]) -> Option<(&str, &[u8])> {
    let mut kind = "text/plain";
    let text = leading_text(part);
    let mut rest = text;
    loop {
        let (line, tail) = split_once(rest, b'\n')?;
        rest = tail;
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let (name, value) = split_once(line, b':')?;
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case("Content-Type") || name.eq_ignore_ascii_case("c") {
            kind = value.trim_ascii();
        } else if name.eq_ignore_ascii_case("Content-Transfer-Encoding")
            && !matches!(before(value.trim_ascii(), b'-'), "binary" | "8bit" | "7bit")
        {
            return None;
        }
    }
    Some((kind, part.get(text.len() - rest.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn sdp(content_type: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut headers = Headers::default();
        headers.push("Content-Type", content_type);
        let is_sdp = |kind: &str| kind.eq_ignore_ascii_case("application/sdp");
        part(&headers, body, &is_sdp).map(|(_, body)| body.to_vec())
    }

    #[test]
    fn the_part_that_is_wanted_is_found() {
        let isup = b"--x\r\nContent-Type: application/ISUP;version=itu\r\n\r\n\x00\xff--x\r\n--x\r\n";
        let rest = b"content-type:application/sdp\r\nContent-Disposition: session\r\n\r\nv=0\r\ns=-\r\n\r\n--x--\r\n";
        let whole = [&isup[..], &rest[..]].concat();
        for kind in [
            "multipart/mixed;boundary=x",
            "Multipart/Mixed; a=b; Boundary=\"x\"",
            "multipart/related;boundary=x",
        ] {
            assert_eq!(sdp(kind, &whole).as_deref(), Some(&b"v=0\r\ns=-\r\n"[..]), "{kind}");
        }
        assert_eq!(sdp("Application/SDP;x=y", b"v=0").as_deref(), Some(&b"v=0"[..]));
        // Bare line ends, a preamble, and no end.
        let bare = b"hello\n--x\n\nplain\n--x\nc: application/sdp\n\nv=0\n";
        assert_eq!(sdp("multipart/alternative;boundary=x", bare).as_deref(), Some(&b"v=0\n"[..]));
        let nested = b"--a\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--\r\n--a--";
        assert!(sdp("multipart/mixed;boundary=a", nested).is_some());
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (kind, body) in [
            ("multipart/mixed", &b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"[..]),
            ("multipart/mixed;boundary=y", b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
            ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\nv=0\r\n--x--"),
            ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--x--"),
            ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: application/sdp"),
            ("multipart/mixed;boundary=x", b""),
            ("text/plain", b"v=0"),
        ] {
            assert_eq!(sdp(kind, body), None, "{kind}");
        }
        let deep: String = (0..9)
            .map(|depth| format!("--{depth}\r\nContent-Type: multipart/mixed;boundary={}\r\n\r\n", depth + 1))
            .collect();
        assert_eq!(sdp("multipart/mixed;boundary=0", deep.as_bytes()), None);
    }
}
