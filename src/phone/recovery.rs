//! What is done when the way of a call's signalling or of its media is lost. All of it is decided here, in one table:
//!
//! | signalling | media | what is done |
//! |---|---|---|
//! | lost: no connection to a server | any | nothing can be said; the flow looks for a server |
//! | moved: a new connection, of which the other side does not know | well | it is told: UPDATE, or re-INVITE |
//! | moved | ill, or the network is another one | it is told by a re-INVITE that restarts ICE |
//! | well | disturbed | nothing: most of the time it comes back by itself |
//! | well | broken | re-INVITE that restarts ICE (RFC 8839, section 4.4.1.1.1) |
//!
//! What fails is tried again, later and later, until the grace is over. A call ends when its media have been ill for
//! longer than their grace with signalling well, or signalling for longer than its own with the media ill; as long as
//! the two hear each other, no call ends for want of signalling. The dialog that is gone (481) ends it at once.
//! A value with four deadlines: `repair` does what it says.

use core::time::Duration;

use super::negotiation::is_from_peer;
use super::{CallTimer, MediaState};
use crate::entropy::{Entropy, below};
use crate::time::Instant;

/// From the answer until packets can flow. DTLS and ICE take well under a second where they work at all; ICE
/// itself may try for 15 s and more over a bad network.
const FIRST_PATH: Duration = Duration::from_secs(20);
/// Browsers call a path disconnected after a few seconds without an answer to checks (RFC 7675), and often find it
/// again.
const DISTURBED: Duration = Duration::from_secs(2);
/// What changes the way of the signalling changes that of the media too, of which browsers tell seconds later.
pub(super) const TOGETHER: Duration = Duration::from_secs(10);
/// So often a restart is tried again that only the browser's word makes unnecessary.
const RESTARTS_OF_A_PATH_THAT_IS_WELL: u32 = 3;
/// ICE has been restarted: from the answer until the path must be there.
const RESTARTED: Duration = Duration::from_secs(8);
/// In a call, from a path until DTLS is up, where that is to come. A handshake takes a few round trips.
const ASSOCIATION: Duration = Duration::from_secs(3);
/// Between attempts: half to all of min(cap, base · 2ⁿ).
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_CAP: Duration = Duration::from_secs(8);

/// How well a call's signalling is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Signalling {
    /// The other side and this one reach each other, as far as is known.
    #[default]
    Well,
    /// There is no connection to a server.
    Lost,
    /// There is, and the other side has not been told of it.
    Moved,
}

/// How well a call's media are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Path {
    /// It has not come up yet.
    #[default]
    Pending,
    /// Packets can flow.
    Well,
    /// They do not, and may do so again.
    Disturbed,
    /// It does not come back by itself.
    Broken,
}

impl Path {
    const fn is_ill(self) -> bool {
        matches!(self, Self::Disturbed | Self::Broken)
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All is well.
    Rest,
    /// Time or something else decides.
    Wait,
    /// The other side is told where we are.
    Tell,
    /// ICE is restarted, which tells it too.
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

/// What is to be done now, and how the call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) step: Step,
    /// It is noticed. A move that was planned disturbs nobody.
    pub(super) ill: bool,
}

/// Why a request of ours that was to help has failed, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was not for recovery.
    Other,
    /// Nor any more: who refuses knows where we are.
    Reached,
    /// It is tried again later.
    Retried,
}

/// The call did not get well in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is well.
    None,
    /// It goes on, though the other side has not answered where it was told of the new way: it is heard all the same. A
    /// session timer finds out the rest.
    GoOn,
    End,
}

/// How long a call may be ill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graces {
    pub(super) signalling: Duration,
    pub(super) media: Duration,
}

/// The health of one call.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    signalling: Signalling,
    /// Since when it is as it is.
    signalling_since: Instant,
    path: Path,
    /// Since when the media are ill; of no meaning while they are not.
    ill_since: Instant,
    /// Attempts since all was well.
    attempts: u32,
    /// The next offer restarts ICE.
    restart: bool,
    /// By when the first path must be there.
    path_by: Option<Instant>,
    /// An attempt has until then to show what it brings.
    again: Option<Instant>,
    /// When the call is judged, if it does not get well before.
    judged: Option<Instant>,
    /// By when there must be an association over the path that is there.
    association_by: Option<Instant>,
}

impl Recovery {
    /// Of a call that another page has begun: neither way is there yet.
    pub(super) fn resumed(now: Instant) -> Self {
        Self {
            signalling: Signalling::Lost,
            signalling_since: now,
            path: Path::Broken,
            ill_since: now,
            ..Self::default()
        }
    }

    /// An offer is wanted though nothing else has changed.
    pub(super) const fn wants_offer(&self) -> bool {
        self.restart
    }

    /// The media go another way from now on.
    pub(super) const fn begin_anew(&mut self) {
        self.restart = true;
    }

    /// The other side may not know where we are: its silence is no end.
    pub(super) fn is_unreached(&self) -> bool {
        self.signalling != Signalling::Well
    }

    /// There is no connection to a server.
    pub(super) fn is_lost(&self) -> bool {
        self.signalling == Signalling::Lost
    }

    /// Packets do not flow.
    pub(super) const fn is_ill(&self) -> bool {
        self.path.is_ill()
    }

    // ---- what happens to the media

    /// From now on the media path has a deadline: on a network where ICE finds no candidates at all, the browser
    /// reports nothing, ever.
    pub(super) fn await_path(&mut self, now: Instant) {
        if self.path == Path::Pending {
            self.path_by = Some(now + FIRST_PATH);
        }
    }

    /// The path is not waited for any more.
    pub(super) const fn forget_path(&mut self) {
        self.path_by = None;
    }

    /// The browser's word of the path. `false`: nothing has changed.
    pub(super) fn on_media(&mut self, state: MediaState, now: Instant) -> bool {
        let before = self.path;
        if state == MediaState::IceConnected {
            if before.is_ill() && self.association_by.is_none() {
                self.association_by = Some(now + ASSOCIATION);
            }
            return false;
        }
        self.association_by = None;
        // Both ways at once, more or less.
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

    /// It may come back by itself.
    pub(super) fn is_disturbed(&self) -> bool {
        self.path == Path::Disturbed
    }

    /// What is disturbed is not waited for.
    pub(super) fn stop_waiting(&mut self) {
        self.again = None;
        if self.is_disturbed() {
            self.path = Path::Broken;
        }
    }

    /// The first path has not come up, and not for want of trying: there was no way to the other side. It gets the time that
    /// any other call has.
    pub(super) const fn excuse_path(&mut self, now: Instant) {
        self.path = Path::Broken;
        self.ill_since = now;
    }

    // ---- what happens to the signalling

    /// `network_changed`: lately.
    pub(super) fn set_signalling(&mut self, signalling: Signalling, network_changed: bool, now: Instant) {
        self.signalling = signalling;
        self.signalling_since = now;
        self.attempts = 0;
        match self.path {
            // Both ways at once: the network is another one.
            Path::Disturbed => self.path = Path::Broken,
            // So the browser says, which does not know better yet.
            Path::Well if signalling == Signalling::Moved => self.restart |= network_changed,
            _ => {}
        }
        self.again = None;
    }

    /// The other side has answered in the dialog: it knows where we are. `false`: it did before.
    pub(super) fn reach(&mut self, now: Instant) -> bool {
        let moved = self.signalling == Signalling::Moved;
        if moved {
            self.signalling = Signalling::Well;
            self.signalling_since = now;
            self.attempts = 0;
        }
        moved
    }

    /// An offer of ours has been agreed to that restarts ICE. `false`: what that brings is waited for.
    pub(super) fn restarted(&mut self, now: Instant) -> bool {
        self.restart = false;
        let ill = self.path.is_ill();
        if ill {
            self.again = Some(now + RESTARTED);
        }
        !ill
    }

    /// The other side could not be told or asked, or has refused with this status.
    pub(super) fn fail(
        &mut self,
        restart: bool,
        status: Option<u16>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Failure {
        // A browser may take the path to be well because the other side answers the checks of our offer; but without
        // our credentials it makes none itself, and hears nothing of us. So does it after a rollback.
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
        let half = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) / 2;
        self.again = Some(now + Duration::from_millis(half + below(entropy, half)));
        Failure::Retried
    }

    // ---- what is done

    /// What the table says, for the call as it is. While an attempt has yet to show what it brings, nothing.
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
            // It could not be mended before.
            Signalling::Well => self.signalling_since,
            _ => Instant::ZERO,
        }) + graces.media;
        let at = match (self.signalling, self.path.is_ill()) {
            (Signalling::Well, _) => media,
            (_, true) => signalling.max(media),
            (_, false) => signalling,
        };
        // Signalling that is lost while the two hear each other: the end is for the media to decide.
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

    /// The call is over.
    pub(super) const fn stop(&mut self) {
        self.path_by = None;
        self.again = None;
        self.judged = None;
        self.association_by = None;
    }

    /// The next deadline, and which it is.
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

    /// That one has been reached.
    pub(super) const fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::IceConnect => self.path_by = None,
            CallTimer::Recovery => self.again = None,
            CallTimer::Grace => self.judged = None,
            _ => self.association_by = None,
        }
    }

    /// The page was suspended: nothing could come back meanwhile.
    pub(super) fn put_off(&mut self, by: Duration) {
        let all = [&mut self.path_by, &mut self.again, &mut self.judged, &mut self.association_by];
        for at in all.into_iter().flatten() {
            *at = *at + by;
        }
    }

    /// How many deadlines it has.
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
            let wait = u64::try_from((next - at(100)).as_millis()).unwrap();
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
