//! The little that signalling needs to know of a session description (RFC 8866, RFC 3264); the browser makes
//! and reads the rest.

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
    /// Payload types and encoding names, in the writer's order; the name is empty where none is given.
    pub codecs: Vec<(u8, String)>,
    /// There is an audio stream, refused or not.
    pub has_audio: bool,
}

/// Reads a session description; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<SdpInfo> {
    let mut lines = text.lines().map(str::trim_end);
    if lines.next()? != "v=0" {
        return None;
    }
    let mut info =
        SdpInfo { audio_port: 0, direction: Direction::SendRecv, codecs: Vec::new(), has_audio: false };
    let (mut direction, mut unreachable, mut ice) = (None, false, false);
    let mut in_audio = false;
    let mut in_media = false;
    for line in lines {
        if let Some(media) = line.strip_prefix("m=") {
            if in_audio {
                break;
            }
            in_media = true;
            let mut words = media.split_ascii_whitespace();
            in_audio = words.next() == Some("audio");
            if in_audio {
                info.has_audio = true;
                // `<port>/<count>` is allowed.
                info.audio_port = words.next()?.split('/').next()?.parse().ok()?;
                info.codecs = words
                    .skip(1)
                    .filter_map(|pt| pt.parse().ok())
                    .map(|pt| (pt, static_name(pt).to_owned()))
                    .collect();
            }
        } else if in_media && !in_audio {
        } else if let Some(found) = Direction::from_attribute(line) {
            direction = Some(found);
        } else if let Some(connection) = line.strip_prefix("c=") {
            unreachable = connection == "IN IP4 0.0.0.0";
        } else if line.starts_with("a=ice-ufrag:") {
            ice = true;
        } else if let Some(map) = line.strip_prefix("a=rtpmap:")
            && let Some((pt, encoding)) = map.split_once(' ')
            && let Ok(pt) = pt.parse::<u8>()
            && let Some(codec) = info.codecs.iter_mut().find(|codec| codec.0 == pt)
        {
            codec.1 = encoding.trim().split('/').next().unwrap_or_default().to_owned();
        }
    }
    info.direction = match (direction.unwrap_or(Direction::SendRecv), unreachable && !ice) {
        (Direction::SendRecv, true) => Direction::SendOnly,
        (Direction::RecvOnly, true) => Direction::Inactive,
        (direction, _) => direction,
    };
    Some(info)
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
