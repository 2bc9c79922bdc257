//! `RTCPeerConnection` for one audio stream.

use core::cell::{Cell, RefCell};

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MediaStream, MediaStreamTrack, RtcConfiguration, RtcIceGatheringState, RtcPeerConnection,
    RtcPeerConnectionState, RtcRtpReceiver, RtcRtpSender, RtcRtpTransceiver, RtcSdpType,
    RtcSessionDescriptionInit, RtcSignalingState,
};

use super::listener::Listener;
use super::object::{get, object, set, string};
use crate::sip::sdp::with_fitting_events;
use crate::text::{codec_name, digits, first_place, number as number_of, split};

#[wasm_bindgen]
extern "C" {
    // web-sys binds these without `catch`, but they throw.
    #[wasm_bindgen(extends = RtcPeerConnection)]
    type Connection;

    #[wasm_bindgen(method, catch, js_name = addTransceiver)]
    fn add_transceiver(this: &Connection, kind: &str, init: &JsValue) -> Result<RtcRtpTransceiver, JsValue>;

    #[wasm_bindgen(method, catch, js_name = setConfiguration)]
    fn configure(this: &Connection, configuration: &RtcConfiguration) -> Result<(), JsValue>;

    // In web-sys with a type for the options.
    #[wasm_bindgen(method, js_name = createOffer)]
    fn offer(this: &Connection, options: &JsValue) -> Promise;

    // Missing in web-sys.
    #[wasm_bindgen(extends = RtcRtpSender)]
    type Sender;

    #[wasm_bindgen(method, js_name = setStreams)]
    fn set_streams(this: &Sender, stream: &MediaStream);

    #[wasm_bindgen(extends = RtcRtpTransceiver)]
    type Transceiver;

    #[wasm_bindgen(method, catch, js_name = setCodecPreferences)]
    fn prefer(this: &Transceiver, codecs: &Array) -> Result<(), JsValue>;
}

/// What a connection is made with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    /// `RTCIceServer[]`, or `undefined`.
    pub(crate) ice_servers: JsValue,
    /// `RTCIceTransportPolicy`, or `undefined`.
    pub(crate) ice_transport_policy: JsValue,
    /// Codec names, best first.
    pub(crate) codecs: Vec<String>,
}

impl Configuration {
    fn for_browser(&self) -> RtcConfiguration {
        let rtc = object!([]);
        if !self.ice_servers.is_undefined() {
            set(&rtc, "iceServers", &self.ice_servers);
        }
        if !self.ice_transport_policy.is_undefined() {
            set(&rtc, "iceTransportPolicy", &self.ice_transport_policy);
        }
        rtc.unchecked_into()
    }

    /// The kind of the best candidates that these servers can give, as the `typ` of a candidate says it
    /// (RFC 8839, section 5.1): one of them is useful, however the peer is reached.
    fn best_candidate(&self) -> &'static str {
        let has = |scheme: &str| {
            let servers = match self.ice_servers.dyn_ref::<Array>() {
                Some(servers) => servers.clone(),
                None => return false,
            };
            servers.iter().any(|server| {
                let urls = get(&server, "urls");
                let urls = urls.dyn_ref::<Array>().cloned().unwrap_or_else(|| Array::of1(&urls));
                urls.iter().any(|url| {
                    url.as_string().is_some_and(|url| {
                        url.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                    })
                })
            })
        };
        if has("turn") || self.ice_transport_policy == "relay" {
            "relay"
        } else if has("stun") {
            "srflx"
        } else {
            "host"
        }
    }
}

/// As many as [`ranked_priority`] has room for.
const MOST_FORKS: u32 = 15;

/// A priority above those of earlier forks and, among the candidates of one fork, in their order (RFC 8445, section
/// 5.1.2). Below those of our own candidates: the lower one of a pair counts first (section 6.1.2.3).
const fn ranked_priority(priority: u32, fork: u32) -> u32 {
    (fork << 20) + (priority >> 12)
}

/// What tells the answers of one fork from those of another (RFC 8839, section 5.4).
pub(super) fn ice_ufrag(sdp: &str) -> &str {
    split(sdp, b'\n').find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default()
}

/// Whose certificate it is (RFC 8122, section 5).
fn fingerprint(sdp: &str) -> &str {
    let line = split(sdp, b'\n').find_map(|line| line.strip_prefix("a=fingerprint:"));
    line.unwrap_or_default().trim_ascii_end()
}

/// Whether an `icecandidate` event brings a candidate of this kind, over UDP: telephones do not do ICE over TCP.
fn is_useful(candidate: &str, kind: &str) -> bool {
    let mut words = split(candidate, b' ');
    if !words.nth(2).is_some_and(|transport| transport.eq_ignore_ascii_case("udp")) {
        return false;
    }
    while let Some(word) = words.next() {
        if word == "typ" {
            return words.next() == Some(kind);
        }
    }
    false
}

/// An `RTCPeerConnection`; dropping it closes it.
#[must_use = "dropping it closes the connection"]
pub(crate) struct PeerConnection {
    pc: Connection,
    codecs: Vec<String>,
    listeners: Vec<Listener>,
    /// The fork that the last description was of, by its ICE user fragment, and which one in turn it is.
    fork: RefCell<(String, u32)>,
    /// The browser takes no description on it any more.
    pub(super) damaged: Cell<bool>,
    /// That all candidates are in may be said of those of before: ICE began again before they were.
    restarted: Cell<bool>,
}

impl PeerConnection {
    /// A new connection.
    ///
    /// # Errors
    /// When there is no WebRTC or the browser refuses the configuration.
    pub(crate) fn new(configuration: &Configuration) -> Result<Self, JsValue> {
        // The bundle policy stays the browser's own: with "max-bundle" it refuses answers without a=group:BUNDLE,
        // and telephones don't know BUNDLE (RFC 9143, section 7.3.3).
        let pc = RtcPeerConnection::new_with_configuration(&configuration.for_browser())?;
        Ok(Self {
            pc: pc.unchecked_into(),
            codecs: configuration.codecs.clone(),
            listeners: Vec::new(),
            fork: RefCell::default(),
            damaged: Cell::default(),
            restarted: Cell::default(),
        })
    }

    /// Takes other ICE servers, for when ICE begins again.
    pub(crate) fn configure(&self, configuration: &Configuration) {
        // What it may throw at, servers that it does not take, leaves those that there are.
        let _ = self.pc.configure(&configuration.for_browser());
    }

    /// Listens as long as the connection is open.
    pub(crate) fn on(&mut self, kind: &'static str, handler: Box<dyn Fn(JsValue)>) {
        self.listeners.push(Listener::new(&self.pc, kind, handler));
    }

    /// Listens for useful candidates.
    pub(crate) fn on_useful_candidate(
        &mut self,
        configuration: &Configuration,
        handler: Box<dyn Fn(JsValue)>,
    ) {
        let kind = configuration.best_candidate();
        let useful = move |event: JsValue| {
            let candidate = string(&get(&event, "candidate"), "candidate");
            if candidate.is_some_and(|candidate| is_useful(&candidate, kind)) {
                handler(event);
            }
        };
        self.on("icecandidate", Box::new(useful));
    }

    /// Adds the audio line of an offer. The track may come later, with [`PeerConnection::attach`], and the direction
    /// with [`PeerConnection::set_direction`].
    pub(crate) fn add_audio(&self) -> Result<(), JsValue> {
        // Without a stream the description would say that the track belongs to none ("msid:-"), and some
        // browsers then give the other side's application no stream.
        let streams = MediaStream::new().map(|stream| Array::of1(&stream)).unwrap_or_default();
        let init = object!([("streams", streams)]);
        self.pc.add_transceiver("audio", &init)?;
        self.apply_codecs();
        Ok(())
    }

    /// What is sent on the line of the peer's offer is a part of this stream, with no track as yet.
    pub(crate) fn take_line(&self, stream: &MediaStream) {
        let Some(transceiver) = self.transceiver() else { return };
        // Without it, in an old browser, the description says that the track belongs to no stream ("msid:-").
        let sender: Sender = transceiver.sender().unchecked_into();
        if get(&sender, "setStreams").is_function() {
            sender.set_streams(stream);
        }
    }

    /// Sends this track, or nothing, on the line that is there, from now on.
    pub(crate) fn attach(&self, track: Option<&MediaStreamTrack>) -> Option<Promise> {
        Some(self.sender()?.replace_track(track).unchecked_into())
    }

    /// The direction of the line in the next description.
    pub(crate) fn set_direction(&self, direction: &str) {
        if let Some(transceiver) = self.transceiver() {
            set(&transceiver, "direction", direction);
        }
    }

    /// Whether both sides have agreed that this one sends.
    pub(crate) fn sends(&self) -> bool {
        let agreed = self.transceiver().and_then(|line| string(&line, "currentDirection"));
        matches!(agreed.as_deref(), Some("sendrecv" | "sendonly"))
    }

    /// The direction of the line in the next description.
    #[cfg(test)]
    pub(crate) fn direction(&self) -> String {
        self.transceiver().and_then(|line| string(&line, "direction")).unwrap_or_default()
    }

    /// The configuration that it goes by.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> JsValue {
        self.pc.get_configuration().into()
    }

    /// The kind and the direction of each line.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |line: JsValue| {
            let line: RtcRtpTransceiver = line.unchecked_into();
            format!("{} {}", line.receiver().track().kind(), string(&line, "direction").unwrap_or_default())
        };
        self.pc.get_transceivers().iter().map(line).collect()
    }

    /// Starts to make an offer, with new candidates and credentials or those that there are.
    pub(crate) fn create_offer(&self, ice_restart: bool) -> JsFuture {
        let options = object!([("iceRestart", ice_restart)]);
        JsFuture::from(self.pc.offer(&options))
    }

    /// Makes an answer to the offer that was set.
    pub(crate) fn create_answer(&self) -> JsFuture {
        self.apply_codecs();
        JsFuture::from(self.pc.create_answer())
    }

    /// Sets the description that `create_offer` or `create_answer` gave. Gathering starts.
    pub(crate) fn set_local(&self, description: JsValue) -> JsFuture {
        let sdp = string(&description, "sdp").unwrap_or_default();
        let anew = self.local_sdp().is_some_and(|former| ice_ufrag(&former) != ice_ufrag(&sdp));
        if anew && self.pc.ice_gathering_state() == RtcIceGatheringState::Gathering {
            self.restarted.set(true);
        }
        JsFuture::from(self.pc.set_local_description(&description.unchecked_into()))
    }

    /// Sets the peer's description. An offer that comes while our own has a provisional answer makes that answer the
    /// final one: the next exchange begins when the last is over.
    pub(crate) fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> JsFuture {
        if kind == RtcSdpType::Offer
            && self.pc.signaling_state() == RtcSignalingState::HaveRemotePranswer
            && let Some(provisional) = self.pc.remote_description()
        {
            let answer = RtcSessionDescriptionInit::new(RtcSdpType::Answer);
            answer.set_sdp(&provisional.sdp());
            // The browser does one after the other; should this one fail, so does the next.
            let _settled = JsFuture::from(self.pc.set_remote_description(&answer));
        }
        let description = RtcSessionDescriptionInit::new(kind);
        // Of what is offered this side has the choice, and an answer has made it.
        let preferred: &[String] = if kind == RtcSdpType::Offer { &self.codecs } else { &[] };
        let fitting = with_fitting_events(&self.ranked(kind, sdp), |name| rank(name, preferred));
        description.set_sdp(&fitting);
        JsFuture::from(self.pc.set_remote_description(&description))
    }

    /// Whether this offer is for another DTLS association than there is (RFC 8842, section 4): the other side has begun
    /// anew, as a page does that was reloaded. The browser would make that association over the path that there is, and
    /// keep to it for seconds after it is dead.
    pub(crate) fn is_other_association(&self, offer: &str) -> bool {
        let known = self.pc.current_remote_description().map(|description| description.sdp());
        let known = known.as_deref().map(fingerprint).unwrap_or_default();
        let offered = fingerprint(offer);
        !known.is_empty() && !offered.is_empty() && !known.eq_ignore_ascii_case(offered)
    }

    /// The track on which the other side is heard.
    pub(crate) fn incoming(&self) -> Option<MediaStreamTrack> {
        self.transceiver().map(|transceiver| transceiver.receiver().track())
    }

    /// Whether early media of another fork than that of this answer is being heard, or about to be. The browser drops
    /// its DTLS association with the one for the other, and cannot take it up again: were the former to answer after
    /// all, nothing would be heard of it for good.
    pub(crate) fn hears_other_fork(&self, sdp: &str) -> bool {
        let lost =
            matches!(self.state(), RtcPeerConnectionState::Disconnected | RtcPeerConnectionState::Failed);
        let fork = self.fork.borrow();
        fork.1 > 0 && fork.0 != ice_ufrag(sdp) && !lost
    }

    /// An answer, with its candidates above those of the forks that were heard before it. As long as a former fork
    /// answers checks, the browser would keep to its path, which is as good as any, and the handshake of the next one
    /// would get no answer: nothing would be heard until the former is gone. Where there was no early media, the
    /// description stays as it is.
    fn ranked(&self, kind: RtcSdpType, sdp: &str) -> String {
        let mut fork = self.fork.borrow_mut();
        let ufrag = ice_ufrag(sdp);
        if (kind == RtcSdpType::Pranswer || fork.1 > 0) && ufrag != fork.0 {
            fork.1 = MOST_FORKS.min(fork.1 + 1);
            ufrag.clone_into(&mut fork.0);
        }
        let mut ranked = String::new();
        for (number, line) in split(sdp, b'\n').enumerate() {
            if number > 0 {
                ranked.push('\n');
            }
            let priority = split(line, b' ').nth(3).and_then(number_of).filter(|_| fork.1 > 0);
            match priority.filter(|_| line.starts_with("a=candidate:")) {
                None => ranked.push_str(line),
                Some(priority) => {
                    for (place, word) in split(line, b' ').enumerate() {
                        if place > 0 {
                            ranked.push(' ');
                        }
                        if place == 3 {
                            ranked.push_str(&digits(ranked_priority(priority, fork.1)));
                        } else {
                            ranked.push_str(word);
                        }
                    }
                }
            }
        }
        ranked
    }

    /// Whether an offer of ours has no answer yet.
    pub(crate) fn offers(&self) -> bool {
        self.pc.signaling_state() == RtcSignalingState::HaveLocalOffer
    }

    /// Goes back to the last agreed descriptions. It fails where the connection is damaged: a description that is refused
    /// while it is being applied leaves Chromium's without a way back or forth.
    pub(crate) fn rollback(&self) -> JsFuture {
        // A rollback leaves the direction that was asked for (JSEP, section 4.1.10.2).
        let mut redirected = false;
        if let Some(transceiver) = self.transceiver() {
            let agreed = get(&transceiver, "currentDirection");
            if agreed.is_string() {
                redirected = get(&transceiver, "direction") != agreed;
                set(&transceiver, "direction", agreed);
            }
        }
        let rollback = RtcSessionDescriptionInit::new(RtcSdpType::Rollback);
        match self.pc.signaling_state() {
            // Chromium stops playing what an offer of ours does not want to receive as soon as that is set, and goes
            // on stopped after a rollback. An offer in the agreed direction, taken back too, starts it again. All of
            // it is queued at once: what is asked for next comes after it (WebRTC 1.0, section 4.4.1.2).
            RtcSignalingState::HaveLocalOffer if redirected => {
                let offer = JsValue::UNDEFINED.unchecked_into();
                let steps = [&rollback, &offer, &rollback].map(|step| self.pc.set_local_description(step));
                let steps: Array = steps.iter().collect();
                JsFuture::from(Promise::all(&steps))
            }
            RtcSignalingState::HaveLocalOffer => JsFuture::from(self.pc.set_local_description(&rollback)),
            RtcSignalingState::HaveRemoteOffer => JsFuture::from(self.pc.set_remote_description(&rollback)),
            // There is nothing to take back, but it shows whether it still makes offers.
            _ => self.create_offer(false),
        }
    }

    /// The local description with the candidates found so far.
    pub(crate) fn local_sdp(&self) -> Option<String> {
        self.pc.local_description().map(|description| description.sdp())
    }

    /// Whether all candidates are in, as far as that can be told: Chromium reports the end of a gathering that a restart of
    /// ICE has cut short, before the new one has found its first candidate, and then never that of the new one.
    pub(crate) fn gathered(&self) -> bool {
        !self.restarted.get() && self.pc.ice_gathering_state() == RtcIceGatheringState::Complete
    }

    /// ICE and DTLS together.
    pub(crate) fn state(&self) -> RtcPeerConnectionState {
        self.pc.connection_state()
    }

    /// ICE has a path, over which DTLS is not up.
    pub(crate) fn awaits_dtls(&self) -> bool {
        let ice = string(&self.pc, "iceConnectionState");
        self.state() == RtcPeerConnectionState::Connecting
            && matches!(ice.as_deref(), Some("connected" | "completed"))
    }

    /// Whether the other side has agreed to telephone-events; this one always does.
    pub(crate) fn takes_events(&self) -> bool {
        let agreed = self.pc.current_remote_description();
        agreed.is_some_and(|description| first_place(&description.sdp(), "telephone-event").is_some())
    }

    /// The sender of the audio line.
    pub(crate) fn sender(&self) -> Option<RtcRtpSender> {
        self.transceiver().map(|transceiver| transceiver.sender())
    }

    /// Starts to collect statistics, an `RTCStatsReport`.
    pub(crate) fn stats(&self) -> JsFuture {
        JsFuture::from(self.pc.get_stats().unchecked_into::<Promise>())
    }

    /// The first audio line: the peer may offer video too, and before it.
    fn transceiver(&self) -> Option<RtcRtpTransceiver> {
        self.pc.get_transceivers().iter().find_map(|transceiver| {
            let transceiver: RtcRtpTransceiver = transceiver.unchecked_into();
            (transceiver.receiver().track().kind() == "audio").then_some(transceiver)
        })
    }

    /// Puts the preferred codecs first. The others stay, telephone-event among them.
    fn apply_codecs(&self) {
        if self.codecs.is_empty() {
            return;
        }
        let (Some(transceiver), Some(capabilities)) =
            (self.transceiver(), RtcRtpReceiver::get_capabilities("audio"))
        else {
            return;
        };
        let codecs: Array = get(&capabilities, "codecs").unchecked_into();
        let codecs =
            ordered(&codecs, |codec| rank(&string(codec, "mimeType").unwrap_or_default(), &self.codecs));
        // An old browser without the method keeps its own order: the call is still good.
        if get(&transceiver, "setCodecPreferences").is_function() {
            let transceiver: Transceiver = transceiver.unchecked_into();
            let preferred = transceiver.prefer(&codecs);
            debug_assert!(preferred.is_ok(), "the browser's own codecs in another order");
        }
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.listeners.clear();
        self.pc.close();
    }
}

/// The values by rank, those of the same rank in their order. (The sort of the standard library costs 4 kB of
/// wasm; a browser has some ten codecs.)
fn ordered(values: &Array, rank: impl Fn(&JsValue) -> usize) -> Array {
    let ordered = Array::new();
    for value in values.iter() {
        let place =
            ordered.iter().position(|other| rank(&other) > rank(&value)).unwrap_or(ordered.length() as usize);
        // At most as many as there are codecs.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        ordered.splice(place, 0, &value);
    }
    ordered
}

/// The place of a codec ("audio/PCMA") in the order of preference.
fn rank(mime_type: &str, preferred: &[String]) -> usize {
    let name = codec_name(mime_type);
    preferred.iter().position(|wanted| wanted.eq_ignore_ascii_case(name)).unwrap_or(preferred.len())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::browser::object::object_of;

    #[test]
    fn candidates_of_the_best_kind_over_udp_are_useful() {
        let host = "candidate:1 1 udp 2122260223 192.0.2.1 46154 typ host generation 0 ufrag EEtu";
        let tcp = "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0";
        let reflexive = "candidate:3 1 UDP 1686052607 198.51.100.1 4 typ srflx raddr 0.0.0.0 rport 0";
        assert!(is_useful(host, "host") && is_useful(reflexive, "srflx"));
        assert!(!is_useful(host, "srflx") && !is_useful(tcp, "host") && !is_useful("", "host"));

        let servers = |urls: JsValue| Configuration {
            ice_servers: Array::of1(&object_of([("urls", urls)])).into(),
            ..Configuration::default()
        };
        let two = Array::of2(&"stun:a.example".into(), &"TURNS:b.example".into());
        assert_eq!(servers(two.into()).best_candidate(), "relay");
        assert_eq!(servers("stun:a.example".into()).best_candidate(), "srflx");
        assert_eq!(Configuration::default().best_candidate(), "host");
        let relay = Configuration { ice_transport_policy: "relay".into(), ..Configuration::default() };
        assert_eq!(relay.best_candidate(), "relay");
    }

    #[test]
    fn later_forks_rank_above_earlier_ones_and_keep_their_order() {
        let (host, reflexive) = (2_122_260_223, 1_686_052_607);
        assert!(ranked_priority(host, 1) > ranked_priority(reflexive, 1));
        assert!(ranked_priority(0, 2) > ranked_priority(u32::MAX >> 1, 1));
        assert!(ranked_priority(host, MOST_FORKS) < reflexive);

        let sdp = |ufrag: &str| {
            format!("v=0\r\na=candidate:1 1 udp 2122260223 192.0.2.1 4 typ host\r\na=ice-ufrag:{ufrag}\r\n")
        };
        let ranked =
            |ufrag: &str, fork| sdp(ufrag).replace("2122260223", &ranked_priority(host, fork).to_string());
        let pc = PeerConnection::new(&Configuration::default()).unwrap();
        assert_eq!(pc.ranked(RtcSdpType::Answer, &sdp("a")), sdp("a"));
        assert_eq!(pc.ranked(RtcSdpType::Offer, &sdp("b")), sdp("b"));
        assert_eq!(pc.ranked(RtcSdpType::Pranswer, &sdp("a")), ranked("a", 1));
        assert_eq!(pc.ranked(RtcSdpType::Pranswer, &sdp("b")), ranked("b", 2));
        assert_eq!(
            pc.ranked(RtcSdpType::Answer, &sdp("b")),
            ranked("b", 2),
            "the same after its early media"
        );
        assert_eq!(pc.ranked(RtcSdpType::Answer, &sdp("c")), ranked("c", 3));
        assert_eq!(pc.ranked(RtcSdpType::Answer, "v=0\r\n"), "v=0\r\n");
    }

    #[test]
    fn preferred_codecs_come_first_and_the_others_keep_their_order() {
        let preferred = ["pcma".to_owned(), "opus".to_owned()];
        let codecs: Array = ["audio/opus", "audio/G722", "audio/PCMU", "audio/PCMA", "audio/telephone-event"]
            .iter()
            .map(|codec| JsValue::from_str(codec))
            .collect();
        let codecs = ordered(&codecs, |codec| rank(&codec.as_string().unwrap(), &preferred));
        let names: Vec<String> = codecs.iter().filter_map(|codec| codec.as_string()).collect();
        assert_eq!(names, ["audio/PCMA", "audio/opus", "audio/G722", "audio/PCMU", "audio/telephone-event"]);
    }
}
