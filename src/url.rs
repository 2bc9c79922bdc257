//! URLs of servers: which may be used, and which lead to this machine or its network.

use crate::error::Error;
use crate::text::{before, has_space_or_control, number, split, split_once};

/// Checks a WebSocket URL: `wss:`, or `ws:` to this machine or its network, without user, password or fragment. Whether `ws:` may
/// leave this machine is for [`is_plain_local_url`]'s callers to say.
///
/// # Errors
/// `invalid_config` naming `servers`.
pub fn check_server_url(url: &str) -> Result<(), Error> {
    let bad = |problem: &str| Err(Error::invalid_config("servers", problem));
    if has_space_or_control(url) {
        return bad("a URL has no spaces or control characters");
    }
    let lower = url.to_ascii_lowercase();
    let (rest, secure) = if let Some(rest) = lower.strip_prefix("wss://") {
        (rest, true)
    } else if let Some(rest) = lower.strip_prefix("ws://") {
        (rest, false)
    } else {
        return bad("expected a wss:// URL");
    };
    if rest.as_bytes().contains(&b'#') {
        return bad("a WebSocket URL has no fragment");
    }
    let authority = authority(rest);
    if authority.as_bytes().contains(&b'@') {
        return Err(Error::invalid_config("servers", "a user or password does not belong in a URL")
            .with_hint("Give SIP credentials in `credentials`."));
    }
    let host = host(authority);
    if host.is_empty() {
        return bad("the URL has no host");
    }
    // The browser reads more as a host than this file does: a backslash, an encoded dot, digits of other scripts.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let is_local = host.bytes().all(plain) && is_local_url(url);
    if !secure && !is_local {
        return Err(Error::invalid_config("servers", "plain ws: is only for a loopback host")
            .with_hint("Use wss:// so that signalling is encrypted."));
    }
    Ok(())
}

/// Whether this is a `ws:` URL that leads to the local network: everybody there could listen to what is sent.
#[must_use]
pub fn is_plain_local_url(url: &str) -> bool {
    let plain = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("ws://"));
    plain && !is_loopback_url(url) && is_local_url(url)
}

/// Whether nobody on the way can listen: `wss:`, or this machine.
pub(crate) fn is_secure_url(url: &str) -> bool {
    check_server_url(url).is_ok() && !is_plain_local_url(url)
}

/// The authority of a URL whose scheme is taken off.
fn authority(rest: &str) -> &str {
    before(before(rest, b'/'), b'?')
}

fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(v6) => before(v6, b']'),
        None => before(authority, b':'),
    }
}

/// Whether the host of a URL is this machine.
#[must_use]
pub fn is_loopback_url(url: &str) -> bool {
    is_loopback(host_of(&url.to_ascii_lowercase()))
}

fn host_of(url: &str) -> &str {
    let mut rest = split_once(url, b':').map_or("", |(_, rest)| rest);
    while let Some(without) = rest.strip_prefix('/') {
        rest = without;
    }
    host(authority(rest))
}

/// Whether the host of a URL is in a local network as far as its name tells: private and link-local addresses (RFC 1918,
/// RFC 3927, RFC 4193), this machine, names that are for such networks (RFC 6762, RFC 8375) and names without a dot.
pub(crate) fn is_local_url(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let host = host_of(&lower);
    let v4 = matches!(v4(host), Some((10, _) | (192, 168) | (172, 16..=31) | (169, 254)));
    let v6 = split_once(host, b':').is_some()
        && ["fc", "fd", "fe80:"].iter().any(|prefix| host.starts_with(prefix));
    let name = [".local", ".lan", ".internal", ".home.arpa"].iter().any(|domain| host.ends_with(domain));
    // What begins with a digit is a number, in one of the forms in which URLs take addresses.
    let dotless = host.starts_with(|first: char| first.is_ascii_alphabetic())
        && !host.bytes().any(|byte| byte == b'.' || byte == b':');
    v4 || v6 || name || is_loopback(host) || dotless
}

/// `localhost` and its subdomains, 127.0.0.0/8 and ::1.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "::1"
        || v4(host).is_some_and(|(first, _)| first == 127)
}

/// The first two bytes of an IPv4 address that is written in full. The other forms that URLs take (octal, hexadecimal, fewer
/// parts) are none here. By hand: the parser of `std::net` takes more of the module than all of this file.
fn v4(host: &str) -> Option<(u32, u32)> {
    let mut parts = split(host, b'.');
    let mut byte = || {
        let part = parts.next().filter(|part| part.len() == 1 || !part.starts_with('0'))?;
        number(part).filter(|byte| *byte < 256)
    };
    let (first, second, _, _) = (byte()?, byte()?, byte()?, byte()?);
    parts.next().is_none().then_some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn loopback_hosts() {
        for yes in ["localhost", "a.localhost", "::1", "127.0.0.1", "127.255.10.0"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "",
            "127",
            "127.1",
            "127.0.1",
            "127.0.0.1.",
            "127.0.0.1.example.com",
            "127.0.0.256",
            "127.0.0.01",
            "127.0.0.",
            "128.0.0.1",
            "0127.0.0.1",
            "localhost.example.com",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn hosts_in_local_networks() {
        for yes in [
            "wss://192.168.1.10:8089/ws",
            "wss://10.0.0.1",
            "wss://172.16.0.1/",
            "wss://172.31.255.1/",
            "wss://169.254.1.1/",
            "ws://127.0.0.1/ws",
            "wss://[fd00::1]/ws",
            "wss://[fe80::1]",
            "ws://[::1]:80",
            "wss://pbx.local/ws",
            "WSS://PBX.LAN:443",
            "wss://pbx/ws",
        ] {
            assert!(is_local_url(yes), "{yes}");
        }
        for no in [
            "wss://sip.example.com/ws",
            "wss://172.32.0.1",
            "wss://192.169.0.1",
            "wss://10.example.com",
            "wss://10.0.0.0.1",
            "wss://[2001:db8::1]/ws",
            "wss://fd.example.com",
            "wss://local.example.com/192.168.1.1",
            "ws://192.168.evil.com",
            "ws://172.16.x.y",
            "ws://134744072",
            "ws://0x08080808",
            "ws://010.0.0.1",
        ] {
            assert!(!is_local_url(no), "{no}");
        }
    }

    #[test]
    fn plain_websocket_only_to_loopback() {
        for ok in [
            "wss://sip.example.com/ws",
            "WSS://sip.example.com:443",
            "ws://127.0.0.1:8080/sip",
            "ws://localhost/sip?x=1",
            "ws://[::1]:8080/sip",
        ] {
            assert_eq!(check_server_url(ok), Ok(()), "{ok}");
            assert!(!is_plain_local_url(ok), "{ok}");
        }
        for local in ["ws://192.168.1.10:8088/ws", "WS://PBX.local", "ws://[fe80::1]/ws", "ws://pbx:8088/ws"]
        {
            assert_eq!(check_server_url(local), Ok(()), "{local}");
            assert!(is_plain_local_url(local) && !is_secure_url(local), "{local}");
        }
        assert!(!is_plain_local_url("wss://192.168.1.10/ws") && !is_plain_local_url("ws://sip.example.com"));
        for bad in [
            "ws://sip.example.com",
            "ws://127.0.0.1.example.com",
            "ws://192.168.evil.com",
            "ws://134744072",
            "ws://evil%2ecom",
            "ws://evil\u{3002}com",
            "ws://evil.com\\.local/",
            "ws://evil.com\\.localhost/",
            "https://sip.example.com",
            "wss://",
            "wss://user:secret@example.com",
            "wss://example.com/\r\nX: y",
            "wss://example.com/#a",
            "",
        ] {
            let error = check_server_url(bad).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid_config", "{bad}");
            assert!(!error.message.contains("secret"));
        }
    }
}
