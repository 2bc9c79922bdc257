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

use core::time::Duration;

use super::call::Phase;
use super::negotiation::is_from_peer;
use super::{CallId, CallState, CallTimer, EndCause, EndedBy, LogLevel, MediaState, Phone, TimerKey};
use crate::entropy::below;
use crate::error::{Error, ErrorCode};
use crate::time::Instant;

/// From the answer until packets can flow. DTLS and ICE take well under a second where they work at all; ICE
/// itself may try for 15 s and more over a bad network.
const FIRST_PATH: Duration = Duration::from_secs(20);
/// Browsers call a path disconnected after a few seconds without an answer to checks (RFC 7675), and often find it
/// again.
const DISTURBED: Duration = Duration::from_secs(2);
/// What changes the way of the signalling changes that of the media too, of which browsers tell seconds later.
const TOGETHER: Duration = Duration::from_secs(10);
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
pub(super) enum Path {
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
pub(super) const fn step(signalling: Signalling, path: Path) -> Step {
    match (signalling, path) {
        (Signalling::Lost, _) | (Signalling::Well, Path::Disturbed) => Step::Wait,
        (Signalling::Moved, Path::Pending | Path::Well) => Step::Tell,
        (Signalling::Moved, Path::Disturbed | Path::Broken) | (Signalling::Well, Path::Broken) => {
            Step::Restart
        }
        (Signalling::Well, Path::Pending | Path::Well) => Step::Rest,
    }
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
}

impl Phone {
    // ---- what happens

    /// From now on the media path has a deadline: on a network where ICE finds no candidates at all, the browser
    /// reports nothing, ever.
    pub(super) fn await_media(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.recovery.path == Path::Pending) {
            self.timers.set(TimerKey::Call(id, CallTimer::IceConnect), self.now + FIRST_PATH);
        }
    }

    pub(super) fn on_media_state(&mut self, id: CallId, state: MediaState) {
        let now = self.now;
        let Some(call) =
            self.calls.get_mut(&id).filter(|call| !matches!(call.phase, Phase::Terminating | Phase::Outcome))
        else {
            return;
        };
        let recovery = &mut call.recovery;
        let before = recovery.path;
        let association = TimerKey::Call(id, CallTimer::Association);
        if state == MediaState::IceConnected {
            if before.is_ill() && !self.timers.is_set(association) {
                self.timers.set(association, now + ASSOCIATION);
            }
            return;
        }
        self.timers.clear(association);
        // Both ways at once, more or less.
        let moved = recovery.signalling_since > Instant::ZERO && now - recovery.signalling_since < TOGETHER;
        recovery.path = match (state, before) {
            (MediaState::Connected | MediaState::IceConnected, _) => Path::Well,
            (MediaState::Disconnected, Path::Well) if moved => Path::Broken,
            (MediaState::Disconnected, Path::Well) => Path::Disturbed,
            (MediaState::Disconnected, path) => path,
            (MediaState::Failed, _) => Path::Broken,
        };
        if recovery.path == before {
            return;
        }
        if recovery.path.is_ill() && !before.is_ill() {
            recovery.ill_since = now;
        }
        let again = TimerKey::Call(id, CallTimer::Recovery);
        self.timers.clear(again);
        match recovery.path {
            Path::Well => {
                recovery.restart = false;
                self.timers.clear(TimerKey::Call(id, CallTimer::IceConnect));
            }
            Path::Disturbed => {
                self.timers.set(again, now + DISTURBED);
                self.ask_for_life();
            }
            Path::Broken | Path::Pending => {}
        }
        self.recover(id);
    }

    /// The connection is lost, for every call that is answered.
    pub(super) fn signalling_lost(&mut self) {
        for id in self.live_calls() {
            self.set_signalling(id, Signalling::Lost);
        }
    }

    /// There is a connection again, and the registrar knows it.
    pub(super) fn signalling_back(&mut self) {
        for id in self.live_calls() {
            if self.calls.get(&id).is_some_and(|call| call.recovery.signalling == Signalling::Lost) {
                self.set_signalling(id, Signalling::Moved);
            }
        }
    }

    /// Another connection has taken the place of one that was well.
    pub(super) fn signalling_moved(&mut self) {
        for id in self.live_calls() {
            self.set_signalling(id, Signalling::Moved);
        }
    }

    /// The network may be another one: what is disturbed is not waited for.
    pub(super) fn media_doubted(&mut self) {
        for id in self.live_calls() {
            if self.calls.get(&id).is_some_and(|call| call.recovery.path == Path::Disturbed) {
                self.timers.clear(TimerKey::Call(id, CallTimer::Recovery));
                self.on_recovery_timer(id);
            }
        }
    }

    fn set_signalling(&mut self, id: CallId, signalling: Signalling) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.needs_connection() && call.is_up())
        else {
            return;
        };
        let recovery = &mut call.recovery;
        recovery.signalling = signalling;
        recovery.signalling_since = now;
        recovery.attempts = 0;
        match recovery.path {
            // Both ways at once: the network is another one.
            Path::Disturbed => recovery.path = Path::Broken,
            // So the browser says, which does not know better yet.
            Path::Well if signalling == Signalling::Moved => {
                recovery.restart |= self.flow.liveness.network_changed_within(TOGETHER, now);
            }
            _ => {}
        }
        self.timers.clear(TimerKey::Call(id, CallTimer::Recovery));
        self.recover(id);
    }

    /// The other side has answered in the dialog: it knows where we are.
    pub(super) fn reached(&mut self, id: CallId) {
        let now = self.now;
        let Some(recovery) = self.calls.get_mut(&id).map(|call| &mut call.recovery) else { return };
        if recovery.signalling == Signalling::Moved {
            recovery.signalling = Signalling::Well;
            recovery.signalling_since = now;
            recovery.attempts = 0;
            self.recover(id);
        }
    }

    /// Our offer has been agreed to.
    pub(super) fn recovery_agreed(&mut self, id: CallId, restart: bool) {
        let Some(recovery) = self.calls.get_mut(&id).map(|call| &mut call.recovery) else { return };
        if restart {
            recovery.restart = false;
            if recovery.path.is_ill() {
                self.timers.set(TimerKey::Call(id, CallTimer::Recovery), self.now + RESTARTED);
            } else {
                self.recover(id);
            }
        }
    }

    /// The other side could not be told or asked, or has refused: again later. `false`: that was not for recovery.
    pub(super) fn recovery_failed(&mut self, id: CallId, restart: bool, error: &Error) -> bool {
        let Some(recovery) = self.calls.get_mut(&id).map(|call| &mut call.recovery) else { return false };
        // A browser may take the path to be well because the other side answers the checks of our offer; but without
        // our credentials it makes none itself, and hears nothing of us. So does it after a rollback.
        let unheard = restart && error.sip_status.is_none() && recovery.path == Path::Well;
        if restart {
            recovery.restart = unheard && recovery.attempts < RESTARTS_OF_A_PATH_THAT_IS_WELL;
        }
        if recovery.signalling == Signalling::Lost {
            return true;
        }
        let moved = recovery.signalling == Signalling::Moved;
        let refused = error.sip_status.is_some_and(is_from_peer);
        if moved && refused && !restart {
            self.reached(id);
            return false;
        }
        if !(moved || restart) {
            return false;
        }
        recovery.attempts = recovery.attempts.saturating_add(1);
        let limit = RETRY_CAP.min(RETRY_BASE.saturating_mul(1 << recovery.attempts.min(4)));
        let half = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) / 2;
        let wait = Duration::from_millis(half + below(&mut *self.entropy, half));
        self.timers.set(TimerKey::Call(id, CallTimer::Recovery), self.now + wait);
        true
    }

    // ---- what is done

    /// What the table says, for the call as it is. While an attempt has yet to show what it brings, nothing.
    pub(super) fn recover(&mut self, id: CallId) {
        let waiting = self.timers.is_set(TimerKey::Call(id, CallTimer::Recovery));
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        let state = call.state;
        let recovery = &mut call.recovery;
        let step = match step(recovery.signalling, recovery.path) {
            Step::Tell | Step::Rest if recovery.restart => Step::Restart,
            step => step,
        };
        if step == Step::Rest {
            recovery.attempts = 0;
            self.clear_call_timers(id, &[CallTimer::Recovery, CallTimer::Grace]);
            if state == CallState::Reconnecting {
                self.set_call_state(id, CallState::Active);
            }
            self.continue_offer(id);
            return;
        }
        // A move that was planned disturbs nobody.
        let ill = recovery.path.is_ill() || recovery.signalling == Signalling::Lost;
        if ill && state == CallState::Active {
            self.set_call_state(id, CallState::Reconnecting);
        }
        self.arm_grace(id);
        if waiting {
            return;
        }
        match step {
            Step::Tell => self.on_session_refresh(id),
            Step::Restart => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.recovery.restart = true;
                }
                self.continue_offer(id);
            }
            Step::Rest | Step::Wait => {}
        }
    }

    pub(super) fn on_recovery_timer(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id)
            && call.recovery.path == Path::Disturbed
        {
            call.recovery.path = Path::Broken;
        }
        self.recover(id);
    }

    /// There is a path, and the other side does not make the association that was agreed on. Where it takes no other
    /// call in the place of this one, the grace goes on.
    pub(super) fn on_association_timer(&mut self, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.recovery.path.is_ill()) {
            self.replace_association(id);
        }
    }

    /// When the call is judged, if it does not get well before.
    fn arm_grace(&mut self, id: CallId) {
        let Some(recovery) = self.calls.get(&id).map(|call| &call.recovery) else { return };
        let signalling = recovery.signalling_since + self.config.signalling_grace;
        let media = recovery.ill_since.max(match recovery.signalling {
            // It could not be mended before.
            Signalling::Well => recovery.signalling_since,
            _ => Instant::ZERO,
        }) + self.config.media_grace;
        let at = match (recovery.signalling, recovery.path.is_ill()) {
            (Signalling::Well, _) => media,
            (_, true) => signalling.max(media),
            (_, false) => signalling,
        };
        // Signalling that is lost while the two hear each other: the end is for the media to decide.
        let key = TimerKey::Call(id, CallTimer::Grace);
        if at > self.now || recovery.path.is_ill() {
            self.timers.set(key, at);
        } else {
            self.timers.clear(key);
        }
    }

    pub(super) fn on_grace_timer(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Confirmed) else {
            return;
        };
        let recovery = &mut call.recovery;
        if recovery.path.is_ill() {
            self.end_unrecovered(id);
        } else if recovery.signalling == Signalling::Moved {
            // Whoever does not answer is heard all the same. A session timer finds out the rest.
            recovery.signalling = Signalling::Well;
            recovery.signalling_since = now;
            self.log(LogLevel::Warn, &["the other side does not answer where it is told of the new way"]);
            self.recover(id);
        }
    }

    /// The first path has not come up.
    pub(super) fn on_ice_timeout(&mut self, id: CallId) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let call_waits = matches!(call.phase, Phase::Accepted | Phase::Applying);
        if call.recovery.is_unreached() && call.phase == Phase::Confirmed {
            // Not for want of trying: there was no way to the other side. It gets the time that any other call has.
            call.recovery.path = Path::Broken;
            call.recovery.ill_since = now;
            self.recover(id);
            return;
        }
        if self.flow.is_interrupted() && call_waits {
            // Our answer has not left yet, or its ACK could not come: the other side cannot have begun.
            self.await_media(id);
            return;
        }
        self.end_unrecovered(id);
    }

    fn end_unrecovered(&mut self, id: CallId) {
        let lost = self.calls.get(&id).is_some_and(|call| call.recovery.is_unreached());
        let (code, message, reason) = if lost {
            (
                ErrorCode::Transport,
                "The connection could not be restored",
                "SIP;cause=408;text=\"Connection lost\"",
            )
        } else {
            (ErrorCode::IceFailed, "No media path to the other side was found", "SIP;cause=408;text=\"ICE\"")
        };
        self.end_with_bye(id, EndCause::Failed(Error::new(code, message)), EndedBy::Network, Some(reason));
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
}
