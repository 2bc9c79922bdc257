//! The little that signalling needs to know of a session description (RFC 8866, RFC 3264); the browser makes
//! and reads the rest.

use crate::text::{before, number, split_once};

/// Which way media flows, as the writer of the description sees it (RFC 8866, section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The writer only sends: the reader is on hold.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The same direction as the other side sees it (RFC 3264, section 6.1).
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    fn from_attribute(line: &str) -> Option<Self> {
        Some(match line {
            "a=sendrecv" => Self::SendRecv,
            "a=sendonly" => Self::SendOnly,
            "a=recvonly" => Self::RecvOnly,
            "a=inactive" => Self::Inactive,
            _ => return None,
        })
    }
}

/// What a session description says about audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdpInfo {
    /// Port of the first audio stream; 0 when it is refused or there is none.
    pub audio_port: u16,
    /// Its direction. Without ICE, `c=0.0.0.0` counts as hold (RFC 3264, section 8.4): the writer does not
    /// receive. With ICE it only says that no candidate is known yet (RFC 8840, section 4.1.1).
    pub direction: Direction,
    /// There is an audio stream, refused or not.
    pub has_audio: bool,
}

/// Reads a session description; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<SdpInfo> {
    let (first, mut rest) = next_line(text);
    if first != "v=0" {
        return None;
    }
    let mut info = SdpInfo { audio_port: 0, direction: Direction::SendRecv, has_audio: false };
    let (mut direction, mut unreachable, mut ice) = (None, false, false);
    let mut in_audio = false;
    let mut in_media = false;
    while !rest.is_empty() {
        let line;
        (line, rest) = next_line(rest);
        if let Some(media) = line.strip_prefix("m=") {
            if in_audio {
                break;
            }
            in_media = true;
            let (kind, port) = split_once(media, b' ').unwrap_or((media, ""));
            in_audio = kind == "audio";
            if in_audio {
                info.has_audio = true;
                // `<port>/<count>` is allowed.
                info.audio_port = number(before(before(port.trim_ascii(), b' '), b'/'))?.try_into().ok()?;
            }
        } else if in_media && !in_audio {
        } else if let Some(found) = Direction::from_attribute(line) {
            direction = Some(found);
        } else if let Some(connection) = line.strip_prefix("c=") {
            unreachable = connection == "IN IP4 0.0.0.0";
        } else if line.starts_with("a=ice-ufrag:") {
            ice = true;
        }
    }
    info.direction = match (direction.unwrap_or(Direction::SendRecv), unreachable && !ice) {
        (Direction::SendRecv, true) => Direction::SendOnly,
        (Direction::RecvOnly, true) => Direction::Inactive,
        (direction, _) => direction,
    };
    Some(info)
}

fn next_line(text: &str) -> (&str, &str) {
    let (line, rest) = split_once(text, b'\n').unwrap_or((text, ""));
    (line.trim_ascii_end(), rest)
}

/// Payload types and encoding names of the first audio stream, in the writer's order; the name is empty where none
/// is given.
#[must_use]
pub fn audio_codecs(text: &str) -> Vec<(u8, String)> {
    let mut codecs: Vec<(u8, String)> = Vec::new();
    let mut in_audio = false;
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if in_audio {
                break;
            }
            in_audio = media.starts_with("audio ");
            if in_audio {
                let types = media.split_ascii_whitespace().skip(3).filter_map(|pt| pt.parse().ok());
                codecs = types.map(|pt| (pt, static_name(pt).to_owned())).collect();
            }
        } else if in_audio
            && let Some(map) = line.strip_prefix("a=rtpmap:")
            && let Some((pt, encoding)) = map.split_once(' ')
            && let Ok(pt) = pt.parse::<u8>()
            && let Some(codec) = codecs.iter_mut().find(|codec| codec.0 == pt)
        {
            codec.1 = encoding.trim().split('/').next().unwrap_or_default().to_owned();
        }
    }
    codecs
}

/// Names of the static payload types that are still in use (RFC 3551, section 6).
fn static_name(payload_type: u8) -> &'static str {
    match payload_type {
        0 => "PCMU",
        3 => "GSM",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        18 => "G729",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CHROMIUM: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 8 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=sendrecv\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=rtpmap:126 telephone-event/8000\r\n";

    #[test]
    fn browser_offer() {
        let info = parse(CHROMIUM).unwrap();
        assert!(info.has_audio);
        assert_eq!(info.audio_port, 9);
        // With ICE an unspecified address is not hold.
        assert_eq!(info.direction, Direction::SendRecv);
        let codecs = audio_codecs(CHROMIUM);
        let codecs: Vec<_> = codecs.iter().map(|(pt, name)| (*pt, name.as_str())).collect();
        assert_eq!(codecs, [(111, "opus"), (8, "PCMA"), (0, "PCMU"), (126, "telephone-event")]);
    }

    #[test]
    fn directions() {
        let sdp = |session: &str, media: &str| {
            parse(&format!("v=0\no=- 1 1 IN IP4 h\ns=-\n{session}t=0 0\nm=audio 4000/1 RTP/AVP 8\n{media}m=video 0 RTP/AVP 96\na=inactive\n"))
                .unwrap()
                .direction
        };
        assert_eq!(sdp("", ""), Direction::SendRecv);
        assert_eq!(sdp("a=sendonly\n", ""), Direction::SendOnly);
        assert_eq!(sdp("a=sendonly\n", "a=recvonly\n"), Direction::RecvOnly);
        assert_eq!(sdp("", "a=inactive\n"), Direction::Inactive);
        assert_eq!(sdp("c=IN IP4 0.0.0.0\n", ""), Direction::SendOnly);
        assert_eq!(sdp("c=IN IP4 0.0.0.0\n", "c=IN IP4 192.0.2.1\n"), Direction::SendRecv);
        assert_eq!(sdp("", "c=IN IP4 0.0.0.0\na=recvonly\n"), Direction::Inactive);
        assert_eq!(Direction::SendOnly.reversed(), Direction::RecvOnly);
        assert_eq!(Direction::RecvOnly.reversed(), Direction::SendOnly);
        assert_eq!(Direction::Inactive.reversed(), Direction::Inactive);
        assert_eq!(Direction::SendRecv.reversed(), Direction::SendRecv);
    }

    #[test]
    fn refused_missing_and_broken() {
        let refused =
            parse("v=0\r\nm=video 5000 RTP/AVP 96\r\na=sendonly\r\nm=audio 0 RTP/AVP 8\r\n").unwrap();
        assert!(refused.has_audio);
        assert_eq!((refused.audio_port, refused.direction), (0, Direction::SendRecv));
        let video = "v=0\r\nm=video 5000 RTP/AVP 96\r\n";
        assert!(!parse(video).unwrap().has_audio && audio_codecs(video).is_empty());
        for bad in [
            "",
            "hello",
            "v=1\r\n",
            "v=0\r\nm=audio\r\n",
            "v=0\r\nm=audio x RTP/AVP 0\r\n",
            "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
