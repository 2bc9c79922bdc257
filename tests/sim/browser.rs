//! A strict model of a browser's peer connection (RFC 8829), as far as descriptions go: what it writes, and what it
//! refuses to read. `media_session` of the browser half stands between it and the phone, and is modelled with it.

use wasm_softphone::sip::sdp::{self, Direction};

/// Who a description speaks for, and which role it takes in DTLS (RFC 8842).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Transport {
    fingerprint: String,
    ufrag: String,
    setup: String,
}

/// One `m=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub kind: String,
    pub port: u16,
    pub protocol: String,
    pub formats: String,
    pub mid: Option<String>,
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

pub fn lines(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.splitn(4, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (kind, port, protocol, formats) = (word(), word(), word(), word());
            let port = port.split('/').next().and_then(|port| port.parse().ok()).unwrap_or(0);
            found.push(Line { kind, port, protocol, formats, mid: None });
        } else if let (Some(last), Some(mid)) = (found.last_mut(), line.strip_prefix("a=mid:")) {
            last.mid = Some(mid.to_owned());
        }
    }
    found
}

fn transport(text: &str) -> Option<Transport> {
    Some(Transport {
        fingerprint: value(text, "a=fingerprint:")?.to_owned(),
        ufrag: value(text, "a=ice-ufrag:")?.to_owned(),
        setup: value(text, "a=setup:")?.to_owned(),
    })
}

pub fn attribute(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

/// What can be rolled back to.
#[derive(Debug, Clone, Default)]
struct Agreed {
    lines: Vec<Line>,
    remote: Option<Transport>,
    /// Our role, once it is settled.
    role: Option<&'static str>,
    ufrag: u32,
}

#[derive(Debug, Clone)]
pub struct Browser {
    /// Another one for each peer connection.
    id: u64,
    version: u64,
    now: Agreed,
    before: Agreed,
    /// Our offer waits for its answer.
    offered: bool,
}

impl Browser {
    pub fn new(id: u64) -> Self {
        Self { id, version: 1, now: Agreed::default(), before: Agreed::default(), offered: false }
    }

    fn describe(&mut self, setup: &str, direction: Direction) -> String {
        self.version += 1;
        let mut text = format!(
            "v=0\r\no=- {} {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n",
            4_000_000_000 + self.id,
            self.version
        );
        for line in &self.now.lines {
            text += &format!("m={} {} {} {}\r\n", line.kind, line.port, line.protocol, line.formats);
            text += "c=IN IP4 0.0.0.0\r\n";
            if let Some(mid) = &line.mid {
                text += &format!("a=mid:{mid}\r\n");
            }
            if line.port == 0 {
                text += "a=inactive\r\n";
                continue;
            }
            text += &format!(
                "a=rtcp-mux\r\na=ice-ufrag:ours{}\r\na=ice-pwd:password\r\na=fingerprint:sha-256 OURS:{}\r\n\
                 a=setup:{setup}\r\na={}\r\n",
                self.now.ufrag,
                self.id,
                // Nobody has given us anything but audio to send.
                if line.kind == "audio" { attribute(direction) } else { "recvonly" },
            );
        }
        text
    }

    /// createOffer and setLocalDescription.
    pub fn offer(&mut self, direction: Direction, restart: bool) -> String {
        if !self.offered {
            self.before = self.now.clone();
        }
        self.offered = true;
        if self.now.lines.is_empty() {
            self.now.lines.push(Line {
                kind: "audio".into(),
                port: 9,
                protocol: "UDP/TLS/RTP/SAVPF".into(),
                formats: "111 8 0 126".into(),
                mid: Some("0".into()),
            });
        }
        if restart {
            self.now.ufrag += 1;
        }
        self.describe("actpass", direction)
    }

    /// setRemoteDescription with an answer.
    pub fn set_answer(&mut self, answer: &str, provisional: bool) -> Result<(), String> {
        if !self.offered {
            return Err("an answer to no offer".into());
        }
        let (theirs, theirs_lines) = read(answer)?;
        let same = theirs_lines.len() == self.now.lines.len()
            && theirs_lines.iter().zip(&self.now.lines).all(|(their, our)| their.kind == our.kind);
        if !same {
            return Err("the m= lines of the answer do not match the offer's".into());
        }
        let role = match theirs.setup.as_str() {
            "active" => "passive",
            "passive" => "active",
            other => return Err(format!("an answer that says a=setup:{other}")),
        };
        let continued = self.before.remote.as_ref().is_some_and(|before| {
            before.fingerprint == theirs.fingerprint && self.before.ufrag == self.now.ufrag
        });
        if continued && self.before.role.is_some_and(|before| before != role) {
            return Err("Failed to set SSL role for the transport".into());
        }
        if !provisional {
            for (line, their) in self.now.lines.iter_mut().zip(&theirs_lines) {
                if their.port == 0 {
                    line.port = 0;
                }
            }
            self.now.remote = Some(theirs);
            self.now.role = Some(role);
            self.before = self.now.clone();
            self.offered = false;
        }
        Ok(())
    }

    /// setRemoteDescription with an offer, createAnswer and setLocalDescription. An offer of another association gets
    /// another peer connection: `fresh` is its number.
    pub fn answer(&mut self, offer: &str, most: Direction, fresh: u64) -> Result<String, String> {
        if self.offered {
            return Err("an offer while ours is open".into());
        }
        let (theirs, their_lines) = read(offer)?;
        let another = |before: &Transport| {
            !theirs.fingerprint.is_empty()
                && !before.fingerprint.is_empty()
                && before.fingerprint != theirs.fingerprint
        };
        if self.now.remote.as_ref().is_some_and(another) {
            *self = Self::new(fresh);
        }
        self.before = self.now.clone();
        if their_lines.len() < self.now.lines.len() {
            return Err("fewer m= lines than before".into());
        }
        let role = match (theirs.setup.as_str(), self.now.role) {
            ("actpass", Some(role)) => role,
            ("actpass" | "passive", None) => "active",
            ("active", None) => "passive",
            ("active", Some("passive")) => "passive",
            ("passive", Some("active")) => "active",
            (setup, _) => return Err(format!("an offer that says a=setup:{setup}")),
        };
        let mut heard = false;
        self.now.lines = their_lines
            .into_iter()
            .map(|mut line| {
                let first = line.kind == "audio" && !core::mem::replace(&mut heard, line.kind == "audio");
                let taken = first || (line.kind == "video" && line.protocol == "UDP/TLS/RTP/SAVPF");
                line.port = if taken && line.port != 0 { 9 } else { 0 };
                line
            })
            .collect();
        self.now.remote = Some(theirs);
        self.now.role = Some(role);
        let agreed = sdp::parse(offer).map_or(Direction::SendRecv, |info| info.direction.reversed());
        Ok(self.describe(role, crate::bench::both(agreed, most)))
    }

    pub fn rollback(&mut self) {
        self.now = self.before.clone();
        self.offered = false;
    }
}

/// What a browser must be able to read in any description.
fn read(text: &str) -> Result<(Transport, Vec<Line>), String> {
    if !text.starts_with("v=0\r\no=") {
        return Err("no session description".into());
    }
    if !text.ends_with("\r\n") {
        return Err("the last line is not ended: Invalid SDP line".into());
    }
    let lines = lines(text);
    // A browser takes a session in which nothing is left.
    if lines.iter().all(|line| line.port == 0 || !line.protocol.contains("SAVPF")) {
        let nothing = Transport { fingerprint: String::new(), ufrag: String::new(), setup: "actpass".into() };
        return Ok((nothing, lines));
    }
    let Some(transport) = transport(text) else { return Err("no ICE or DTLS".into()) };
    if !text.contains("a=rtcp-mux") {
        return Err("RTCP-MUX is not enabled when it is required".into());
    }
    Ok((transport, lines))
}
