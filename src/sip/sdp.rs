//! The little that signalling needs to know of a session description (RFC 8866, RFC 3264); the browser makes
//! and reads the rest.

use crate::text::{append, before, concat, last_place, number, split, split_once};

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

/// Why a description cannot be used, as RFC 3264 and RFC 8829 want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The body is of another kind.
    Type,
    /// It is no session description.
    Malformed,
    /// It leaves the call no audio line.
    NoAudio,
    /// It has none of the codecs that browsers have.
    NoCodec,
    /// It has no DTLS-SRTP (RFC 5763): browsers send nothing else.
    NoDtls,
    /// It has no ICE (RFC 8839): browsers send nowhere without.
    NoIce,
    /// It keeps a port of its own for RTCP, which browsers refuse (RFC 8829, section 4.1.1).
    NoMux,
    /// It has fewer media lines than were agreed (RFC 3264, section 8).
    Lines,
}

impl Flaw {
    /// The status that refuses an offer for it.
    #[must_use]
    pub const fn status(self) -> u16 {
        if matches!(self, Self::Type) { 415 } else { 488 }
    }

    /// The code of the Warning (RFC 3261, section 20.43).
    #[must_use]
    pub const fn warning(self) -> &'static str {
        match self {
            Self::NoAudio => "304",
            Self::NoCodec => "305",
            Self::NoDtls => "302",
            Self::NoIce | Self::NoMux => "306",
            Self::Type | Self::Malformed | Self::Lines => "399",
        }
    }

    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Type => "The body is no session description",
            Self::Malformed => "The session description is malformed",
            Self::NoAudio => "The session description leaves the call no audio",
            Self::NoCodec => "There is no audio codec in common (opus, G722, PCMU, PCMA)",
            Self::NoDtls => "The session description has no DTLS-SRTP (a=fingerprint)",
            Self::NoIce => "The session description has no ICE (a=ice-ufrag, a=ice-pwd)",
            Self::NoMux => "The session description has no a=rtcp-mux",
            Self::Lines => "The session description has fewer media lines than before",
        }
    }
}

/// What two sides have agreed on, for as long as their session lasts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreed {
    /// The media lines in their order. The empty one is the call's audio; of each other one, refused, what repeats it.
    pub lines: Vec<String>,
    /// The peer of the DTLS association: its fingerprint, and whether it has the active role.
    pub peer: Option<(String, bool)>,
}

/// A description of the peer's that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What the browser gets: the session with the call's audio line alone.
    pub sdp: String,
    /// The direction of that line, as the peer sees it.
    pub direction: Direction,
    /// All media lines, as in [`Agreed::lines`].
    pub lines: Vec<String>,
    /// The fingerprint of the peer's certificate.
    pub fingerprint: String,
    /// An answer: whether the peer takes the active role.
    pub active: bool,
}

/// The codecs that every browser has (RFC 7874, section 3), and the one that all have beyond them.
const CODECS: [&str; 4] = ["opus", "PCMU", "PCMA", "G722"];

/// Judges a description of the peer's, an answer or an offer, by what has been agreed, and brings it into the form in
/// which browsers take it. Browsers know one audio line only: what else is offered is refused here, and is repeated by
/// [`with_lines`].
///
/// Mended is what phones get wrong and what leaves no doubt of its meaning: line ends, blank lines, white space and a byte
/// order mark at the beginning of a line, and the DTLS role in an association that has one (RFC 8842, section 5.3).
///
/// # Errors
/// What makes it unusable.
pub fn judge(text: &str, answers: bool, agreed: &Agreed) -> Result<Description, Flaw> {
    let place = agreed.lines.iter().position(String::is_empty).filter(|_| !answers);
    let (mut session, mut audio, mut group) = (String::new(), String::new(), "");
    let mut lines: Vec<String> = Vec::new();
    let (mut in_audio, mut versioned) = (false, false);
    let (mut codec, mut direction, mut setup) = (false, None, "");
    for line in split(text, b'\n') {
        let line = line.trim_ascii();
        // A byte order mark may stand before the first.
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if !versioned && line != "v=0" {
            return Err(Flaw::Malformed);
        }
        versioned = true;
        if let Some(media) = line.strip_prefix("m=") {
            let (kind, rest) = split_once(media, b' ').ok_or(Flaw::Malformed)?;
            let (port, rest) = split_once(rest.trim_ascii(), b' ').ok_or(Flaw::Malformed)?;
            let port = number(before(port, b'/')).filter(|port| *port < 1 << 16).ok_or(Flaw::Malformed)?;
            in_audio = kind == "audio"
                && port != 0
                && audio.is_empty()
                && place.is_none_or(|place| place == lines.len());
            lines.push(if in_audio { String::new() } else { concat(&["m=", kind, " 0 ", rest]) });
            if !in_audio {
                continue;
            }
            codec |= split(rest, b' ').skip(1).any(|format| matches!(format, "0" | "8" | "9"));
        } else if !in_audio && !lines.is_empty() {
            if let (true, Some(last)) = (line.starts_with(MID), lines.last_mut()) {
                append(last, &[" ", line]);
            }
            continue;
        } else if let Some(role) = line.strip_prefix("a=setup:") {
            setup = role;
            continue;
        } else if let Some(bundle) = line.strip_prefix("a=group:BUNDLE") {
            group = bundle;
            continue;
        } else if let Some(map) = line.strip_prefix("a=rtpmap:") {
            let name = before(split_once(map, b' ').unwrap_or_default().1, b'/');
            codec |= CODECS.iter().any(|codec| codec.eq_ignore_ascii_case(name));
        }
        // What a media line says goes before what the session says: it comes later.
        direction = Direction::from_attribute(line).or(direction);
        append(if in_audio { &mut audio } else { &mut session }, &[line, "\r\n"]);
    }
    let find = |name: &str| attribute(&audio, name).or_else(|| attribute(&session, name));
    let has = |name: &str, flaw| if find(name).is_some() { Ok(()) } else { Err(flaw) };
    if !versioned {
        return Err(Flaw::Malformed);
    }
    if audio.is_empty() {
        return Err(Flaw::NoAudio);
    }
    if !answers && lines.len() < agreed.lines.len() {
        return Err(Flaw::Lines);
    }
    let fingerprint = find("a=fingerprint:").ok_or(Flaw::NoDtls)?.to_owned();
    has("a=ice-ufrag:", Flaw::NoIce)?;
    has("a=ice-pwd:", Flaw::NoIce)?;
    has("a=rtcp-mux", Flaw::NoMux)?;
    if !codec {
        return Err(Flaw::NoCodec);
    }
    // What the session is bundled with is refused.
    let mid = attribute(&audio, MID).filter(|mid| split(group, b' ').any(|other| other == *mid));
    if let Some(mid) = mid {
        append(&mut session, &["a=group:BUNDLE ", mid, "\r\n"]);
    }
    let known = agreed.peer.as_ref().filter(|(print, _)| print.eq_ignore_ascii_case(&fingerprint));
    let setup = match (setup, known) {
        ("active" | "passive" | "actpass", Some((_, active))) if answers => role(*active),
        ("actpass", None) if answers => "active",
        ("active" | "passive", Some((_, active))) if setup != role(*active) => "actpass",
        _ => setup,
    };
    session.push_str(&audio);
    if !setup.is_empty() {
        append(&mut session, &["a=setup:", setup, "\r\n"]);
    }
    Ok(Description {
        sdp: session,
        direction: direction.unwrap_or(Direction::SendRecv),
        lines,
        fingerprint,
        active: setup != "passive",
    })
}

const MID: &str = "a=mid:";

const fn role(active: bool) -> &'static str {
    if active { "active" } else { "passive" }
}

/// What follows the name of the first such attribute.
fn attribute<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    split(section, b'\n').find_map(|line| line.trim_ascii_end().strip_prefix(name))
}

/// A description of the browser's, which has one media line, with all the lines that the session has.
#[must_use]
pub fn with_lines(sdp: &str, lines: &[String]) -> String {
    let (mut whole, audio) =
        sdp.split_at_checked(media_at(sdp)).map(|(a, b)| (a.to_owned(), b)).unwrap_or_default();
    for line in lines {
        if line.is_empty() {
            whole.push_str(audio);
        } else {
            // What stands before the last one is the peer's.
            let (media, mid) =
                line.split_at_checked(last_place(line, " a=mid:").unwrap_or(line.len())).unwrap_or_default();
            append(&mut whole, &[media, "\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n"]);
            if !mid.is_empty() {
                append(&mut whole, &[mid.trim_ascii(), "\r\n"]);
            }
        }
    }
    whole
}

/// A description of one audio line without the telephone-events on another clock than that of the codec that is ranked first,
/// where it has some on that clock (RFC 4733, section 2.1). Chromium would take 8000 Hz beside opus too, and end each tone
/// after a sixth of its time.
#[must_use]
pub fn with_fitting_events(sdp: &str, rank: impl Fn(&str) -> usize) -> String {
    let media = split(sdp, b'\n').find(|line| line.starts_with("m=")).unwrap_or_default();
    let formats = || split(media.trim_ascii_end(), b' ').skip(3);
    // Static payload types need no map, and are on 8000 Hz.
    let map = |format: &str| {
        let map = split(sdp, b'\n').find_map(|line| {
            let (number, map) = split_once(line.strip_prefix("a=rtpmap:")?, b' ')?;
            (number == format).then_some(map.trim_ascii_end())
        });
        let static_name = number(format).and_then(|number| u8::try_from(number).ok()).map_or("", static_name);
        let (name, clock) = map.and_then(|map| split_once(map, b'/')).unwrap_or((static_name, "8000"));
        (name, before(clock, b'/'))
    };
    let is_event = |name: &str| name.eq_ignore_ascii_case("telephone-event");
    let codecs = formats().map(map).filter(|(name, _)| !is_event(name));
    let clock = codecs.min_by_key(|(name, _)| rank(name)).unwrap_or_default().1;
    let events = |fits: bool| {
        formats().filter(move |format| {
            let (name, other) = map(format);
            is_event(name) && (other == clock) == fits
        })
    };
    if events(true).next().is_none() {
        return sdp.to_owned();
    }
    let other = |format: &str| events(false).any(|event| event == format);
    let mut fitting = String::new();
    for line in split(sdp, b'\n') {
        let (name, value) = split_once(line, b':').unwrap_or_default();
        if matches!(name, "a=rtpmap" | "a=fmtp" | "a=rtcp-fb") && other(before(value, b' ')) {
            continue;
        }
        if !fitting.is_empty() {
            fitting.push('\n');
        }
        if line != media {
            fitting.push_str(line);
            continue;
        }
        for (place, word) in split(line.trim_ascii_end(), b' ').enumerate() {
            if place < 3 || !other(word) {
                append(&mut fitting, &[if place > 0 { " " } else { "" }, word]);
            }
        }
        fitting.push('\r');
    }
    fitting
}

fn media_at(sdp: &str) -> usize {
    let mut at = 0;
    for line in split(sdp, b'\n') {
        if line.starts_with("m=") {
            return at;
        }
        at += line.len() + 1;
    }
    sdp.len()
}

/// What a description of the browser's says of itself: the direction of its line, the fingerprint, and whether it takes the
/// active role.
#[must_use]
pub fn own(sdp: &str) -> (Direction, &str, bool) {
    let direction =
        split(sdp, b'\n').filter_map(|line| Direction::from_attribute(line.trim_ascii_end())).last();
    (
        direction.unwrap_or(Direction::SendRecv),
        attribute(sdp, "a=fingerprint:").unwrap_or_default(),
        attribute(sdp, "a=setup:") == Some("active"),
    )
}

/// Whether the answer to an offer in this direction tells that its writer has put us on hold; `None` where it tells
/// nothing of that. Many phones answer `inactive` to any hold.
#[must_use]
pub const fn tells_hold(offered: Direction, answered: Direction) -> Option<bool> {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    match (offered, answered) {
        (SendRecv, SendOnly | Inactive) | (RecvOnly, RecvOnly | Inactive) => Some(true),
        (SendRecv | SendOnly, RecvOnly) | (SendRecv | RecvOnly, SendRecv) | (RecvOnly, SendOnly) => {
            Some(false)
        }
        (SendOnly | Inactive, _) => None,
    }
}

fn next_line(text: &str) -> (&str, &str) {
    let (line, rest) = split_once(text, b'\n').unwrap_or((text, ""));
    (line.trim_ascii_end(), rest)
}

/// Whether its writer keeps to the transport connection that there is (RFC 4145, section 5).
#[must_use]
pub fn keeps_association(text: &str) -> bool {
    split(text, b'\n').any(|line| line.trim_ascii_end() == "a=connection:existing")
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

    /// An audio line of a browser's.
    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 8\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\n";
    const HEAD: &str = "v=0\r\no=- 7 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n";

    fn agreed(lines: &[&str]) -> Agreed {
        Agreed { lines: lines.iter().map(|line| (*line).to_owned()).collect(), peer: None }
    }

    fn offer(text: &str, before: &Agreed) -> Result<Description, Flaw> {
        judge(text, false, before)
    }

    #[test]
    fn what_an_offer_lacks_is_named() {
        let whole = format!("{HEAD}{AUDIO}");
        let without = |line: &str| whole.replace(line, "");
        let nothing = Agreed::default();
        for (text, flaw) in [
            (String::new(), Flaw::Malformed),
            ("hello".to_owned(), Flaw::Malformed),
            (without("v=0\r\n"), Flaw::Malformed),
            (whole.replace("audio 9 ", "audio x "), Flaw::Malformed),
            (whole.replace("audio 9 ", "audio 70000 "), Flaw::Malformed),
            (format!("{whole}m=video\r\n"), Flaw::Malformed),
            (HEAD.to_owned(), Flaw::NoAudio),
            (whole.replace("audio 9 ", "audio 0 "), Flaw::NoAudio),
            (whole.replace("m=audio ", "m=image "), Flaw::NoAudio),
            (without("a=fingerprint:sha-256 AA\r\n"), Flaw::NoDtls),
            (without("a=ice-ufrag:u\r\n"), Flaw::NoIce),
            (without("a=ice-pwd:p\r\n"), Flaw::NoIce),
            (without("a=rtcp-mux\r\n"), Flaw::NoMux),
            (whole.replace(" 111 8", " 18 101").replace("opus", "telephone-event"), Flaw::NoCodec),
        ] {
            assert_eq!(offer(&text, &nothing).unwrap_err(), flaw, "{text}");
        }
        for codec in ["PCMA", "pcmu", "G722", "OPUS"] {
            let text = whole.replace(" 111 8", " 97").replace("111 opus", &format!("97 {codec}"));
            assert!(offer(&text, &nothing).is_ok(), "{codec}");
        }
        // What the session says counts for its lines.
        let moved = format!("{HEAD}a=fingerprint:sha-256 AA\r\na=sendonly\r\n{AUDIO}")
            .replace("a=ice-pwd:p\r\na=fingerprint:sha-256 AA\r\n", "a=ice-pwd:p\r\n")
            .replace("a=sendrecv\r\n", "");
        let judged = offer(&moved, &nothing).unwrap();
        assert_eq!((judged.direction, judged.fingerprint.as_str()), (Direction::SendOnly, "sha-256 AA"));
    }

    #[test]
    fn the_calls_audio_is_taken_and_every_other_line_is_refused() {
        let video =
            "m=video 9/2 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n";
        let fax = "m=image 49170 udptl t38\r\n";
        let (seen, told) = ("m=video 0 UDP/TLS/RTP/SAVPF 96 97 a=mid:1", "m=image 0 udptl t38");
        let second = AUDIO.replace("mid:0", "mid:2");
        let refused = "m=audio 0 UDP/TLS/RTP/SAVPF 111 8 a=mid:2";
        for (text, before, lines) in [
            (format!("{HEAD}{AUDIO}"), agreed(&[]), &[""][..]),
            (format!("{HEAD}{AUDIO}{video}"), agreed(&[""]), &["", seen]),
            (
                format!("{HEAD}a=group:BUNDLE 1 0\r\n{video}{AUDIO}{fax}"),
                agreed(&[seen, ""]),
                &[seen, "", told],
            ),
            (format!("{HEAD}{AUDIO}{second}"), agreed(&[]), &["", refused]),
        ] {
            let judged = offer(&text, &before).unwrap();
            assert_eq!(judged.lines, lines, "{text}");
            let group = if text.contains("BUNDLE") { "a=group:BUNDLE 0\r\n" } else { "" };
            assert_eq!(judged.sdp, format!("{HEAD}{group}{AUDIO}"));
            // Each is answered in its place.
            let answer = with_lines(&judged.sdp, &judged.lines);
            let places: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
            let offered: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
            assert_eq!(places.len(), offered.len());
            for (place, (answered, offered)) in places.iter().zip(&offered).enumerate() {
                assert_eq!(answered.split(' ').next(), offered.split(' ').next());
                assert_eq!(answered.contains(" 0 "), !lines[place].is_empty(), "{answer}");
            }
            assert_eq!(answer.contains("a=mid:1"), text.contains("a=mid:1"));
        }
        // The call's line stays where it is, and no line goes.
        assert_eq!(offer(&format!("{HEAD}{video}{AUDIO}"), &agreed(&[""])).unwrap_err(), Flaw::NoAudio);
        assert_eq!(offer(&format!("{HEAD}{AUDIO}"), &agreed(&["", seen])).unwrap_err(), Flaw::Lines);
        let closed = AUDIO.replace("audio 9 ", "audio 0 ");
        assert_eq!(offer(&format!("{HEAD}{closed}{fax}"), &agreed(&[""])).unwrap_err(), Flaw::NoAudio);
        assert_eq!(offer(&format!("{HEAD}{closed}{second}"), &agreed(&[""])).unwrap_err(), Flaw::NoAudio);
        // Of an answer only the call's line matters.
        let answer = |text: String| judge(&text, true, &agreed(&["", seen])).map(|judged| judged.sdp);
        for text in [format!("{HEAD}{AUDIO}m=video 0 x 96\r\n"), format!("{HEAD}{AUDIO}")] {
            assert_eq!(answer(text), Ok(format!("{HEAD}{AUDIO}")));
        }
        assert_eq!(answer(format!("{HEAD}{closed}{fax}")), Err(Flaw::NoAudio));
    }

    #[test]
    fn what_phones_get_wrong_is_mended() {
        let whole = format!("{HEAD}{AUDIO}");
        for text in [
            whole.trim_end().to_owned(),
            whole.replace("\r\n", "\n"),
            format!("{whole}\r\n\r\n"),
            format!("\u{feff}{whole}"),
            format!("\r\n  {}", whole.replace("\r\n", " \r\n ")),
        ] {
            assert_eq!(offer(&text, &Agreed::default()).unwrap().sdp, whole, "{text:?}");
        }
    }

    #[test]
    fn tones_are_on_the_clock_of_the_codec() {
        let with = |formats: &str, more: &str| {
            format!(
                "{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF {formats}\r\na=rtpmap:111 opus/48000/2\r\n{more}a=sendrecv\r\n"
            )
        };
        let slow = "a=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-16\r\n";
        let fast = "a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-16\r\n";
        let both = [fast, slow].concat();
        let offered = |sdp: &str, wanted: &str| {
            with_fitting_events(sdp, |name| usize::from(!name.eq_ignore_ascii_case(wanted)))
        };
        let opus = with("111 0 110 126", &both);
        assert_eq!(with_fitting_events(&opus, |_| 0), with("111 0 110", fast));
        assert_eq!(offered(&opus, "opus"), with("111 0 110", fast));
        let mapped = with("111 8 110 126", &[&both, "a=rtpmap:8 PCMA/8000\r\n"].concat());
        assert_eq!(offered(&mapped, "PCMA"), with("111 8 126", &[slow, "a=rtpmap:8 PCMA/8000\r\n"].concat()));
        assert_eq!(with_fitting_events(&with("0 111 110 126", &both), |_| 0), with("0 111 126", slow));
        // The only ones there are stay.
        for kept in [with("111 0 126", slow), with("0 110", fast), with("111 0", ""), String::new()] {
            assert_eq!(with_fitting_events(&kept, |_| 0), kept);
        }
    }

    #[test]
    fn the_role_of_an_association_stays() {
        let known = |active| Agreed { peer: Some(("SHA-256 aa".to_owned(), active)), ..Agreed::default() };
        let other = Agreed { peer: Some(("sha-256 BB".to_owned(), true)), ..Agreed::default() };
        for (before, answers, written, read) in [
            (known(true), true, "passive", "active"),
            (known(false), true, "active", "passive"),
            (known(false), true, "actpass", "passive"),
            (known(true), true, "active", "active"),
            (known(true), false, "passive", "actpass"),
            (known(true), false, "active", "active"),
            (known(true), false, "actpass", "actpass"),
            // Another association, or the first one.
            (other.clone(), true, "passive", "passive"),
            (other, false, "passive", "passive"),
            (Agreed::default(), true, "actpass", "active"),
            (Agreed::default(), true, "passive", "passive"),
            (Agreed::default(), true, "holdconn", "holdconn"),
        ] {
            let judged = judge(&format!("{HEAD}{AUDIO}a=setup:{written}\r\n"), answers, &before).unwrap();
            assert_eq!(judged.sdp, format!("{HEAD}{AUDIO}a=setup:{read}\r\n"), "{answers} {written}");
            assert_eq!(judged.active, read != "passive");
        }
        let text = format!("{HEAD}{AUDIO}a=setup:active\r\n");
        assert_eq!(own(&text), (Direction::SendRecv, "sha-256 AA", true));
    }

    #[test]
    fn who_holds_is_told_by_an_answer_to_an_offer_that_asks() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        for (offered, answers) in [
            (SendRecv, [Some(false), Some(true), Some(false), Some(true)]),
            (SendOnly, [None, None, Some(false), None]),
            (RecvOnly, [Some(false), Some(false), Some(true), Some(true)]),
            (Inactive, [None, None, None, None]),
        ] {
            let told = [SendRecv, SendOnly, RecvOnly, Inactive].map(|answered| tells_hold(offered, answered));
            // An offer of nothing is answered by nothing.
            let told = if offered == Inactive { [None; 4] } else { told };
            assert_eq!(told, answers, "{offered:?}");
        }
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
