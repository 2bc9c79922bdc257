//! Recovery of a call whose signalling or media path is lost. This table decides:
//!
//! | signalling | media path | action |
//! |---|---|---|
//! | lost: no connection to a server | any | none: the phone looks for a server |
//! | moved: a new connection, unknown to the peer | well | UPDATE, or re-INVITE |
//! | moved | ill, or on another network | re-INVITE with an ICE restart |
//! | well | disturbed | none: most often the path comes back by itself |
//! | well | broken | re-INVITE with an ICE restart (RFC 8839, section 4.4.1.1.1) |
//!
//! Failed attempts are repeated with back-off until the grace is over. A call ends when its media have been ill for their
//! grace with signalling well, or its signalling for its grace with the media ill. While audio flows, no call ends for
//! lack of signalling. A dialog that the peer no longer knows (481) ends the call at once.
//!
//! `Recovery` is a value with four deadlines; `repair` carries out what it decides.

use super::io::MediaState;
use super::timers::CallTimer;
use crate::entropy::{Entropy, below};
use crate::time::{Duration, Instant};

/// Time for the first media path, from the answer on. ICE and DTLS mostly take well under a second; ICE may try for 15 s
/// or more over a bad network.
const FIRST_PATH: Duration = Duration::from_secs(20);
/// Time for a disturbed path to come back. Browsers call a path disconnected after a few seconds without a response to
/// consent checks (RFC 7675), and often find it again.
const DISTURBED: Duration = Duration::from_secs(2);
/// A media path that is disturbed this soon after the connection was lost or moved is lost with it: browsers report it
/// seconds later.
pub(super) const TOGETHER: Duration = Duration::from_secs(10);
/// Limit of repeated ICE restarts on a path that the browser reports as well.
const RESTARTS_OF_A_PATH_THAT_IS_WELL: u32 = 3;
/// Time for the path after an ICE restart, from the answer on.
const RESTARTED: Duration = Duration::from_secs(8);
/// Time for a new DTLS association within a call, once ICE has a path. A handshake takes a few round trips.
const ASSOCIATION: Duration = Duration::from_secs(3);
/// Back-off between attempts: half to all of min(cap, base · 2ⁿ).
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(8);

/// State of a call's signalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Signalling {
    /// The peer can be reached, and knows our Contact, as far as is known.
    #[default]
    Well,
    /// There is no connection to a server.
    Lost,
    /// There is one, and the peer does not know it yet.
    Moved,
}

/// State of a call's media path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Path {
    /// It has not come up yet.
    #[default]
    Pending,
    /// Packets can flow.
    Well,
    /// No packets flow, but the path may come back.
    Disturbed,
    /// The path does not come back by itself.
    Broken,
}

impl Path {
    const fn is_ill(self) -> bool {
        matches!(self, Self::Disturbed | Self::Broken)
    }
}

/// The action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All is well.
    Rest,
    /// A deadline or another event follows.
    Wait,
    /// Tell the peer our new Contact.
    Tell,
    /// Restart ICE, which tells the Contact too.
    Restart,
}

/// The table.
const fn step(signalling: Signalling, path: Path) -> Step {
    match (signalling, path) {
        (Signalling::Lost, _) | (Signalling::Well, Path::Disturbed) => Step::Wait,
        (Signalling::Moved, Path::Pending | Path::Well) => Step::Tell,
        (Signalling::Moved, Path::Disturbed | Path::Broken) | (Signalling::Well, Path::Broken) => {
            Step::Restart
        }
        (Signalling::Well, Path::Pending | Path::Well) => Step::Rest,
    }
}

/// Whether a refusal with this status comes from the peer itself. What proxies say (476 to 479 where Kamailio
/// cannot forward, 480 where nobody is registered), and nothing at all, does not.
pub(super) const fn is_from_peer(status: u16) -> bool {
    matches!(status, 400..=403 | 405..=407 | 409..=429 | 431..=475 | 482..=490 | 492..=499 | 600..)
}

/// The action, and the state that the application sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) step: Step,
    /// The call is `reconnecting`. A planned move to another connection is not.
    pub(super) ill: bool,
}

/// What follows from a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request was not for recovery.
    Other,
    /// The peer has refused it, so the peer is reached.
    Reached,
    /// Recovery tries again later.
    Retried,
}

/// What follows when the grace is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: the call is well.
    None,
    /// The call continues, though the peer has not answered over the new connection: audio flows. A session timer ends the
    /// call if the peer is gone.
    GoOn,
    End,
}

/// The graces of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graces {
    pub(super) signalling: Duration,
    pub(super) media: Duration,
}

/// The health of one call.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    signalling: Signalling,
    /// The time of its last change.
    signalling_since: Instant,
    path: Path,
    /// Since when the media path is ill, if it is.
    ill_since: Instant,
    /// Attempts since all was well.
    attempts: u32,
    /// The next offer restarts ICE.
    restart: bool,
    /// Deadline of the first path.
    path_by: Option<Instant>,
    /// The next attempt, unless the last one helps before.
    again: Option<Instant>,
    /// End of the grace.
    judged: Option<Instant>,
    /// Deadline of the DTLS association over the new path.
    association_by: Option<Instant>,
}

impl Recovery {
    /// For a resumed call: neither signalling nor a media path yet.
    pub(super) fn resumed(now: Instant) -> Self {
        Self {
            signalling: Signalling::Lost,
            signalling_since: now,
            path: Path::Broken,
            ill_since: now,
            ..Self::default()
        }
    }

    /// Whether an offer is needed to restart ICE.
    pub(super) const fn wants_offer(&self) -> bool {
        self.restart
    }

    /// The media path changes: the next offer restarts ICE.
    pub(super) const fn begin_anew(&mut self) {
        self.restart = true;
    }

    /// Whether the peer may not know our Contact. Its silence then proves nothing.
    pub(super) fn is_unreached(&self) -> bool {
        self.signalling != Signalling::Well
    }

    /// Whether there is no connection to a server.
    pub(super) fn is_lost(&self) -> bool {
        self.signalling == Signalling::Lost
    }

    /// Whether no packets flow.
    pub(super) const fn is_ill(&self) -> bool {
        self.path.is_ill()
    }

    // ---- events of the media path

    /// Starts the deadline of the first path. On a network where ICE finds no candidates the browser never reports a
    /// failure.
    pub(super) fn await_path(&mut self, now: Instant) {
        if self.path == Path::Pending {
            self.path_by = Some(now + FIRST_PATH);
        }
    }

    /// Clears that deadline.
    pub(super) const fn forget_path(&mut self) {
        self.path_by = None;
    }

    /// The browser reports the path's state. `false`: nothing has changed.
    pub(super) fn on_media(&mut self, state: MediaState, now: Instant) -> bool {
        let before = self.path;
        if state == MediaState::IceConnected {
            if before.is_ill() && self.association_by.is_none() {
                self.association_by = Some(now + ASSOCIATION);
            }
            return false;
        }
        self.association_by = None;
        // Signalling and media at about the same time.
        let moved = self.signalling_since > Instant::ZERO && now - self.signalling_since < TOGETHER;
        self.path = match (state, before) {
            (MediaState::Connected | MediaState::IceConnected, _) => Path::Well,
            (MediaState::Disconnected, Path::Well) if moved => Path::Broken,
            (MediaState::Disconnected, Path::Well) => Path::Disturbed,
            (MediaState::Disconnected, path) => path,
            (MediaState::Failed, _) => Path::Broken,
        };
        if self.path == before {
            return false;
        }
        if self.path.is_ill() && !before.is_ill() {
            self.ill_since = now;
        }
        self.again = None;
        match self.path {
            Path::Well => {
                self.restart = false;
                self.path_by = None;
            }
            Path::Disturbed => self.again = Some(now + DISTURBED),
            Path::Broken | Path::Pending => {}
        }
        true
    }

    /// Whether the path may come back by itself.
    pub(super) fn is_disturbed(&self) -> bool {
        self.path == Path::Disturbed
    }

    /// Stops waiting: a disturbed path counts as broken.
    pub(super) fn stop_waiting(&mut self) {
        self.again = None;
        if self.is_disturbed() {
            self.path = Path::Broken;
        }
    }

    /// The first path did not come up because the peer could not be reached. The call gets the grace of an established
    /// one.
    pub(super) const fn excuse_path(&mut self, now: Instant) {
        self.path = Path::Broken;
        self.ill_since = now;
    }

    // ---- events of the signalling

    /// Sets the state of the signalling. `network_changed`: the browser has reported that lately.
    pub(super) fn set_signalling(&mut self, signalling: Signalling, network_changed: bool, now: Instant) {
        self.signalling = signalling;
        self.signalling_since = now;
        self.attempts = 0;
        match self.path {
            // Signalling and media at once: the network has changed.
            Path::Disturbed => self.path = Path::Broken,
            // The browser may not have noticed yet.
            Path::Well if signalling == Signalling::Moved => self.restart |= network_changed,
            _ => {}
        }
        self.again = None;
    }

    /// The peer has responded in the dialog, so it knows our Contact. `false`: it knew before.
    pub(super) fn reach(&mut self, now: Instant) -> bool {
        let moved = self.signalling == Signalling::Moved;
        if moved {
            self.signalling = Signalling::Well;
            self.signalling_since = now;
            self.attempts = 0;
        }
        moved
    }

    /// The peer has answered our offer with an ICE restart. `false`: the path has yet to come up.
    pub(super) fn restarted(&mut self, now: Instant) -> bool {
        self.restart = false;
        let ill = self.path.is_ill();
        if ill {
            self.again = Some(now + RESTARTED);
        }
        !ill
    }

    /// A request for recovery got no response, or was refused with this status.
    pub(super) fn fail(
        &mut self,
        restart: bool,
        status: Option<u16>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Failure {
        // The browser may report the path as well because the peer answers the checks of our offer. But without our ICE
        // credentials the peer sends no checks itself, and hears nothing of us. After a rollback it is the same.
        let unheard = restart && status.is_none() && self.path == Path::Well;
        if restart {
            self.restart = unheard && self.attempts < RESTARTS_OF_A_PATH_THAT_IS_WELL;
        }
        if self.signalling == Signalling::Lost {
            return Failure::Retried;
        }
        let moved = self.signalling == Signalling::Moved;
        if moved && !restart && status.is_some_and(is_from_peer) {
            return Failure::Reached;
        }
        if !(moved || restart) {
            return Failure::Other;
        }
        self.attempts = self.attempts.saturating_add(1);
        let limit = RETRY_CAP.min(RETRY_BASE.saturating_mul(1 << self.attempts.min(4)));
        let half = u64::from(limit.as_millis()) / 2;
        self.again = Some(now + Duration::from_millis(half + below(entropy, half)));
        Failure::Retried
    }

    // ---- the decision

    /// The action of the table. While an attempt is under way, none.
    pub(super) fn plan(&mut self, graces: Graces, now: Instant) -> Plan {
        let step = match step(self.signalling, self.path) {
            Step::Tell | Step::Rest if self.restart => Step::Restart,
            step => step,
        };
        if step == Step::Rest {
            self.attempts = 0;
            self.again = None;
            self.judged = None;
            return Plan { step, ill: false };
        }
        let ill = self.path.is_ill() || self.signalling == Signalling::Lost;
        self.set_grace(graces, now);
        if self.again.is_some() {
            return Plan { step: Step::Wait, ill };
        }
        self.restart |= step == Step::Restart;
        Plan { step, ill }
    }

    fn set_grace(&mut self, graces: Graces, now: Instant) {
        let signalling = self.signalling_since + graces.signalling;
        let media = self.ill_since.max(match self.signalling {
            // Without signalling it could not be repaired before.
            Signalling::Well => self.signalling_since,
            _ => Instant::ZERO,
        }) + graces.media;
        let at = match (self.signalling, self.path.is_ill()) {
            (Signalling::Well, _) => media,
            (_, true) => signalling.max(media),
            (_, false) => signalling,
        };
        // While audio flows, lost signalling does not end the call: the media path decides.
        self.judged = Some(at).filter(|at| *at > now || self.path.is_ill());
    }

    /// The grace is over.
    pub(super) fn judge(&mut self, now: Instant) -> Verdict {
        if self.path.is_ill() {
            Verdict::End
        } else if self.signalling == Signalling::Moved {
            self.signalling = Signalling::Well;
            self.signalling_since = now;
            Verdict::GoOn
        } else {
            Verdict::None
        }
    }

    // ---- deadlines

    /// The call is over: clears all deadlines.
    pub(super) const fn stop(&mut self) {
        self.path_by = None;
        self.again = None;
        self.judged = None;
        self.association_by = None;
    }

    /// The next deadline, with its timer.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        let at = |at: Option<Instant>, timer| at.map(|at| (at, timer));
        [
            at(self.path_by, CallTimer::IceConnect),
            at(self.again, CallTimer::Recovery),
            at(self.judged, CallTimer::Grace),
            at(self.association_by, CallTimer::Association),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// This deadline is reached.
    pub(super) const fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::IceConnect => self.path_by = None,
            CallTimer::Recovery => self.again = None,
            CallTimer::Grace => self.judged = None,
            _ => self.association_by = None,
        }
    }

    /// The page was suspended: puts all deadlines off.
    pub(super) fn put_off(&mut self, by: Duration) {
        let all = [&mut self.path_by, &mut self.again, &mut self.judged, &mut self.association_by];
        for at in all.into_iter().flatten() {
            *at = *at + by;
        }
    }

    /// The number of deadlines.
    pub(super) fn deadlines(&self) -> usize {
        [self.path_by, self.again, self.judged, self.association_by].into_iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_table() {
        use {Path::*, Signalling::*, Step::*};
        for (signalling, path, wanted) in [
            (Signalling::Well, Pending, Rest),
            (Signalling::Well, Path::Well, Rest),
            (Signalling::Well, Disturbed, Wait),
            (Signalling::Well, Broken, Restart),
            (Lost, Pending, Wait),
            (Lost, Path::Well, Wait),
            (Lost, Disturbed, Wait),
            (Lost, Broken, Wait),
            (Moved, Pending, Tell),
            (Moved, Path::Well, Tell),
            (Moved, Disturbed, Restart),
            (Moved, Broken, Restart),
        ] {
            assert_eq!(step(signalling, path), wanted, "{signalling:?} {path:?}");
        }
    }

    use crate::entropy::SeededEntropy;

    const GRACES: Graces = Graces { signalling: Duration::from_secs(60), media: Duration::from_secs(20) };

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// A call whose ways are so, since long.
    fn call(signalling: Signalling, path: Path) -> Recovery {
        Recovery { signalling, path, ..Recovery::default() }
    }

    fn fail(call: &mut Recovery, restart: bool, status: Option<u16>) -> Failure {
        call.fail(restart, status, at(100), &mut SeededEntropy::new(7))
    }

    #[test]
    fn the_browsers_word_changes_the_path() {
        use MediaState::{Connected, Disconnected, Failed, IceConnected};
        for (before, state, after, changes) in [
            (Path::Pending, Connected, Path::Well, true),
            (Path::Pending, IceConnected, Path::Pending, false),
            (Path::Pending, Disconnected, Path::Pending, false),
            (Path::Pending, Failed, Path::Broken, true),
            (Path::Well, Connected, Path::Well, false),
            (Path::Well, Disconnected, Path::Disturbed, true),
            (Path::Well, Failed, Path::Broken, true),
            (Path::Disturbed, Connected, Path::Well, true),
            (Path::Disturbed, IceConnected, Path::Disturbed, false),
            (Path::Disturbed, Failed, Path::Broken, true),
            (Path::Broken, Disconnected, Path::Broken, false),
            (Path::Broken, Connected, Path::Well, true),
        ] {
            let mut call = call(Signalling::Well, before);
            assert_eq!(call.on_media(state, at(100)), changes, "{before:?} {state:?}");
            assert_eq!(call.path, after, "{before:?} {state:?}");
        }
    }

    #[test]
    fn what_is_disturbed_is_waited_for_unless_the_network_is_another_one() {
        let mut alone = call(Signalling::Well, Path::Well);
        alone.on_media(MediaState::Disconnected, at(100));
        assert_eq!(alone.plan(GRACES, at(100)), Plan { step: Step::Wait, ill: true });
        assert_eq!(alone.poll_timeout(), Some((at(102), CallTimer::Recovery)));
        alone.take_timeout(CallTimer::Recovery);
        alone.stop_waiting();
        assert_eq!(alone.plan(GRACES, at(102)), Plan { step: Step::Restart, ill: true });
        assert!(alone.wants_offer());
        assert_eq!(alone.poll_timeout(), Some((at(120), CallTimer::Grace)), "since it is ill");
        // Within ten seconds of the loss of the signalling both ways are lost at once.
        for (after, step) in [(9, Step::Restart), (10, Step::Wait)] {
            let mut both = call(Signalling::Well, Path::Well);
            both.set_signalling(Signalling::Moved, false, at(100));
            assert!(both.reach(at(100)) && !both.reach(at(100)));
            both.on_media(MediaState::Disconnected, at(100 + after));
            assert_eq!(both.plan(GRACES, at(100 + after)).step, step, "{after} s");
        }
    }

    #[test]
    fn a_new_connection_restarts_ice_where_the_path_may_be_another_one() {
        // The path, whether the network has changed, and what is done.
        for (path, network_changed, step, ill) in [
            (Path::Well, false, Step::Tell, false),
            (Path::Well, true, Step::Restart, false),
            (Path::Pending, true, Step::Tell, false),
            (Path::Disturbed, false, Step::Restart, true),
            (Path::Broken, false, Step::Restart, true),
        ] {
            let mut call = call(Signalling::Lost, path);
            call.set_signalling(Signalling::Moved, network_changed, at(100));
            assert_eq!(call.plan(GRACES, at(100)), Plan { step, ill }, "{path:?} {network_changed}");
            assert_eq!(call.wants_offer(), step == Step::Restart);
        }
        let mut lost = call(Signalling::Well, Path::Well);
        lost.set_signalling(Signalling::Lost, true, at(100));
        assert_eq!(lost.plan(GRACES, at(100)), Plan { step: Step::Wait, ill: true }, "nothing can be said");
        assert!(lost.is_lost() && lost.is_unreached() && !lost.wants_offer());
    }

    #[test]
    fn a_failure_is_retried_where_it_was_for_recovery() {
        use Failure::{Other, Reached, Retried};
        for (signalling, path, restart, status, failure) in [
            (Signalling::Well, Path::Well, false, Some(488), Other),
            (Signalling::Well, Path::Well, false, None, Other),
            (Signalling::Well, Path::Broken, true, Some(488), Retried),
            (Signalling::Moved, Path::Well, false, Some(488), Reached),
            (Signalling::Moved, Path::Well, false, Some(480), Retried),
            (Signalling::Moved, Path::Well, false, None, Retried),
            (Signalling::Moved, Path::Broken, true, Some(488), Retried),
            (Signalling::Lost, Path::Well, false, Some(488), Retried),
        ] {
            let mut call = call(signalling, path);
            assert_eq!(
                fail(&mut call, restart, status),
                failure,
                "{signalling:?} {path:?} {restart} {status:?}"
            );
            let again = failure == Retried && signalling != Signalling::Lost;
            assert_eq!(call.poll_timeout().is_some(), again, "without a connection nothing is tried");
        }
    }

    #[test]
    fn attempts_come_later_and_later_and_a_restart_that_is_not_needed_ends() {
        let mut call = call(Signalling::Moved, Path::Broken);
        for limit in [2000, 4000, 8000, 8000, 8000] {
            fail(&mut call, true, None);
            let next = call.again.unwrap();
            let wait = u64::from((next - at(100)).as_millis());
            assert!((limit / 2..limit).contains(&wait), "{wait} of {limit}");
            assert_eq!(call.plan(GRACES, at(100)).step, Step::Wait, "one at a time");
        }
        // The browser takes the path to be well, and the other side has said nothing: three times.
        let mut well = Recovery { signalling: Signalling::Well, path: Path::Well, ..Recovery::default() };
        for restarts in [true, true, true, false] {
            fail(&mut well, true, None);
            assert_eq!(well.wants_offer(), restarts);
        }
        well.begin_anew();
        fail(&mut well, true, Some(488));
        assert!(!well.wants_offer(), "refused");
    }

    #[test]
    fn a_restart_that_is_agreed_to_has_eight_seconds() {
        let mut ill = call(Signalling::Well, Path::Broken);
        ill.begin_anew();
        assert!(!ill.restarted(at(100)) && !ill.wants_offer());
        assert_eq!(ill.poll_timeout(), Some((at(108), CallTimer::Recovery)));
        let mut well = call(Signalling::Well, Path::Well);
        assert!(well.restarted(at(100)));
        assert_eq!(well.poll_timeout(), None);
    }

    #[test]
    fn the_grace_is_that_of_the_way_that_is_lost() {
        // Ways, since when, and when the call is judged, after which it ends or goes on.
        for (signalling, since, path, ill_since, judged, verdict) in [
            (Signalling::Well, 0, Path::Broken, 100, Some(120), Verdict::End),
            // It could not be mended before.
            (Signalling::Well, 110, Path::Broken, 100, Some(130), Verdict::End),
            (Signalling::Moved, 100, Path::Broken, 100, Some(160), Verdict::End),
            (Signalling::Lost, 100, Path::Broken, 150, Some(170), Verdict::End),
            (Signalling::Moved, 100, Path::Well, 0, Some(160), Verdict::GoOn),
            (Signalling::Lost, 100, Path::Well, 0, Some(160), Verdict::None),
            // The two hear each other: as long as that lasts.
            (Signalling::Lost, 20, Path::Well, 0, None, Verdict::None),
        ] {
            let mut call = Recovery {
                signalling,
                signalling_since: at(since),
                path,
                ill_since: at(ill_since),
                ..Recovery::default()
            };
            call.plan(GRACES, at(100));
            let case = (signalling, since, path, ill_since);
            assert_eq!(call.poll_timeout(), judged.map(|judged| (at(judged), CallTimer::Grace)), "{case:?}");
            assert_eq!(call.judge(at(200)), verdict, "{case:?}");
            assert_eq!(call.is_unreached(), signalling != Signalling::Well && verdict != Verdict::GoOn);
        }
    }

    #[test]
    fn the_first_path_and_a_new_association_have_their_time() {
        let mut call = Recovery::default();
        call.await_path(at(0));
        assert_eq!(call.poll_timeout(), Some((at(20), CallTimer::IceConnect)));
        call.put_off(Duration::from_secs(5));
        assert_eq!(call.poll_timeout(), Some((at(25), CallTimer::IceConnect)));
        call.on_media(MediaState::Connected, at(1));
        assert_eq!((call.poll_timeout(), call.plan(GRACES, at(1)).step), (None, Step::Rest));
        call.await_path(at(2));
        assert_eq!(call.poll_timeout(), None, "it is there");
        call.on_media(MediaState::Failed, at(30));
        call.on_media(MediaState::IceConnected, at(31));
        call.on_media(MediaState::IceConnected, at(33));
        assert_eq!(call.poll_timeout(), Some((at(34), CallTimer::Association)), "from the first on");
        call.on_media(MediaState::Failed, at(33));
        assert_eq!(call.poll_timeout(), None);
        let mut excused = call_waiting();
        excused.excuse_path(at(40));
        assert_eq!(excused.plan(GRACES, at(40)), Plan { step: Step::Wait, ill: true });
        assert_eq!(excused.poll_timeout(), Some((at(60), CallTimer::Grace)));
        excused.stop();
        assert_eq!(excused.deadlines(), 0);
    }

    /// Its first path has not come up when the connection is lost.
    fn call_waiting() -> Recovery {
        let mut call = Recovery::default();
        call.set_signalling(Signalling::Lost, false, at(0));
        call
    }

    #[test]
    fn a_call_of_another_page_is_told_and_restarted_once_there_is_a_connection() {
        let mut call = Recovery::resumed(at(100));
        assert_eq!(call.plan(GRACES, at(100)), Plan { step: Step::Wait, ill: true });
        assert_eq!(call.poll_timeout(), Some((at(160), CallTimer::Grace)));
        call.set_signalling(Signalling::Moved, false, at(105));
        assert_eq!(call.plan(GRACES, at(105)), Plan { step: Step::Restart, ill: true });
    }
}
