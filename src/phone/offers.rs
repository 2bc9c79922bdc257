//! Offer and answer within a call: what is wished, what is agreed, and whose offer is under way (RFC 3264, RFC 3261,
//! section 14). A value: `negotiation` sends, and orders the media.

use super::timers::CallTimer;
use super::timers::TxId;
use crate::sip::message::Request;
use crate::sip::sdp::Direction;
use crate::time::{Duration, Instant};

/// How long an offer within a call may go unanswered. A user may be asked; nothing is agreed to in the meantime.
const UNANSWERED: Duration = Duration::from_secs(60);
/// Offers that cross do so within a round trip or two.
const CROSSING: Duration = Duration::from_secs(4);
/// Limit of glares before our offer is given up.
const MAX_GLARES: u8 = 8;
/// Limit of new offers after one whose outcome is unknown: for half a minute or so.
const MAX_DOUBTS: u8 = 4;

/// Our own offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ours {
    /// Whether it puts the peer on hold.
    hold: bool,
    /// It restarts ICE.
    pub(super) restart: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The browser makes it.
    Making,
    /// It has been out since then without a final response: offers of the peer cross it.
    Out(Instant),
    /// Its answer is being set.
    Answered,
}

/// An offer of the peer, or its request for one of ours, without a final response yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theirs {
    pub(super) tx: TxId,
    /// CSeq number.
    pub(super) seq: u32,
    /// Our response contains an offer.
    pub(super) offered: bool,
    pub(super) remote_hold: bool,
    /// What our description says of our own hold.
    pub(super) local_hold: bool,
}

/// Whose offer is under way. There is one at a time.
#[derive(Debug, Clone, Copy, Default)]
enum Exchange {
    #[default]
    Idle,
    Ours(Ours),
    Theirs(Theirs),
}

/// What follows from what is wished and what is agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another exchange is under way; an offer that is still needed follows it.
    Wait,
    /// There is nothing to offer.
    Agreed,
    /// An offer of ours is begun.
    Offer,
}

/// An offer of the peer arrives while ours is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crossing {
    None,
    /// Ours has not been sent.
    Unsent,
    /// The two have crossed.
    Crossed,
    /// Ours went to a place that the peer has left: waiting for it would refuse theirs for nothing.
    Stale,
}

/// Our offer has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) restart: bool,
    /// The hold that the peer had agreed to before.
    pub(super) agreed: bool,
    /// It asked for the hold that the peer had agreed to before.
    pub(super) nothing_new: bool,
    /// The peer's hold was unknown before.
    pub(super) doubted: bool,
    /// It is unknown now: the offer was sent, and the peer may have agreed.
    pub(super) in_doubt: bool,
}

/// The offers of one call.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Held by us, as far as the application has asked for.
    wished: bool,
    /// The hold that the peer has agreed to.
    agreed: bool,
    /// Held by the other side.
    remote: bool,
    exchange: Exchange,
    /// An offer of the peer that arrived while its answer to ours was being set.
    waiting: Option<(TxId, Box<Request>)>,
    /// Consecutive glares (RFC 3261, section 14.1).
    glares: u8,
    /// Consecutive offers whose outcome is unknown.
    doubts: u8,
    /// The peer's state is unknown: an offer is to settle it.
    in_doubt: bool,
    /// `hold` and `unhold` that have not been reported.
    commands: u32,
    /// The ACK of our last re-INVITE, with its CSeq number.
    last_ack: Option<(u32, String)>,
    /// End of the pause after a glare.
    backoff: Option<Instant>,
    /// When our offer is given up.
    unanswered: Option<Instant>,
}

impl Offers {
    // ---- hold

    /// Held by us, as far as the application has asked for.
    pub(super) const fn local_hold(&self) -> bool {
        self.wished
    }

    /// Held by the other side.
    pub(super) const fn remote_hold(&self) -> bool {
        self.remote
    }

    /// Whether that changes something.
    pub(super) const fn wish_hold(&mut self, on: bool) -> bool {
        core::mem::replace(&mut self.wished, on) != on
    }

    /// Whether that changes something.
    pub(super) const fn set_remote_hold(&mut self, on: bool) -> bool {
        core::mem::replace(&mut self.remote, on) != on
    }

    /// The application asks for a hold, or for its end, and is told the outcome.
    pub(super) const fn command(&mut self) {
        self.commands = self.commands.saturating_add(1);
        self.doubts = 0;
    }

    /// So many are told the outcome now.
    pub(super) const fn take_commands(&mut self) -> u32 {
        core::mem::replace(&mut self.commands, 0)
    }

    /// For a resumed call.
    pub(super) const fn restore(&mut self, local_hold: bool, remote_hold: bool) {
        self.wished = local_hold;
        self.agreed = local_hold;
        self.remote = remote_hold;
    }

    /// What flows here, whatever the descriptions say.
    pub(super) const fn flow(&self) -> Direction {
        flow(self.wished, self.remote)
    }

    /// An offer of ours. Whether the other side still holds is for its answer to say (RFC 6337, section 5.1): what is not
    /// offered, it could never take back.
    pub(super) const fn to_offer(&self) -> Direction {
        direction(self.wished, self.wished && self.remote)
    }

    // ---- our offer

    /// What is to be done. `wanted`: something else than hold wants an offer, `restart` one that restarts ICE; `free`:
    /// nothing else hinders it. [`Next::Offer`] has begun it.
    pub(super) fn advance(&mut self, wanted: bool, restart: bool, free: bool) -> Next {
        if self.is_ours() {
            return Next::Wait;
        }
        if self.wished == self.agreed && !(wanted || restart || self.in_doubt) {
            return Next::Agreed;
        }
        if !free || self.has_theirs() || self.backoff.is_some() {
            return Next::Wait;
        }
        self.exchange = Exchange::Ours(Ours { hold: self.wished, restart, stage: Stage::Making });
        Next::Offer
    }

    /// It goes out. `false`: it is not wanted any more.
    pub(super) fn send(&mut self, now: Instant) -> bool {
        let Exchange::Ours(ours) = &mut self.exchange else { return false };
        ours.stage = Stage::Out(now);
        // A 1xx ends Timer B: the wait for what comes after it has an end of its own.
        self.unanswered = Some(now + UNANSWERED);
        true
    }

    pub(super) const fn is_ours(&self) -> bool {
        matches!(self.exchange, Exchange::Ours(_))
    }

    /// It has been sent and not been answered.
    pub(super) const fn is_out(&self) -> bool {
        matches!(self.exchange, Exchange::Ours(Ours { stage: Stage::Out(_), .. }))
    }

    /// Its final response has come: nobody waits for that any more.
    pub(super) const fn responded(&mut self) {
        self.unanswered = None;
    }

    /// With an answer, which is being set.
    pub(super) fn answered(&mut self) {
        if let Exchange::Ours(ours) = &mut self.exchange {
            ours.stage = Stage::Answered;
        }
    }

    /// The answer is set: agreed.
    pub(super) fn agree(&mut self) -> Option<Ours> {
        let Exchange::Ours(ours) = self.exchange else { return None };
        self.exchange = Exchange::Idle;
        self.agreed = ours.hold;
        self.glares = 0;
        self.doubts = 0;
        self.in_doubt = false;
        Some(ours)
    }

    /// It is not to be, or to be made again.
    pub(super) const fn withdraw(&mut self) {
        if self.is_ours() {
            self.exchange = Exchange::Idle;
        }
        self.unanswered = None;
    }

    /// 491: ours is withdrawn, to be made again after a pause. `false`: that has been done often enough.
    pub(super) const fn glare(&mut self) -> bool {
        if self.glares >= MAX_GLARES {
            return false;
        }
        self.glares += 1;
        self.withdraw();
        true
    }

    pub(super) const fn pause(&mut self, until: Instant) {
        self.backoff = Some(until);
    }

    /// It has come to nothing. It stays until it is known whether it is made again, so that nothing takes its place before:
    /// [`withdraw`](Self::withdraw) follows.
    pub(super) fn fail(&mut self) -> Option<Failed> {
        let Exchange::Ours(ours) = self.exchange else { return None };
        self.glares = 0;
        self.unanswered = None;
        let nothing_new = ours.hold == self.agreed;
        let doubted = core::mem::replace(&mut self.in_doubt, false);
        let in_doubt = doubted || (self.is_out() && !nothing_new);
        Some(Failed { restart: ours.restart, agreed: self.agreed, nothing_new, doubted, in_doubt })
    }

    // ---- what the other side has made of it

    pub(super) const fn set_doubt(&mut self, in_doubt: bool) {
        self.in_doubt = in_doubt;
    }

    /// The other side has agreed, and nothing can be done with its answer: it is offered anew what the call is here.
    /// `false`: that has been done often enough.
    pub(super) const fn agreed_in_vain(&mut self) -> bool {
        if self.doubts >= MAX_DOUBTS {
            return false;
        }
        self.in_doubt = true;
        true
    }

    /// The other side is asked again soon: from how many milliseconds on, to twice as many. `None`: with the next offer, or
    /// once it says where it is.
    pub(super) const fn ask_again(&mut self) -> Option<u64> {
        if self.doubts >= MAX_DOUBTS {
            self.in_doubt = true;
            return None;
        }
        self.doubts += 1;
        Some(500 << self.doubts)
    }

    /// The ACK of the re-INVITE with this number, if it is the last one that was acknowledged.
    pub(super) fn ack_of(&self, seq: u32) -> Option<&str> {
        self.last_ack.as_ref().filter(|(last, _)| *last == seq).map(|(_, ack)| ack.as_str())
    }

    /// Acknowledged. `false`: a later one has overtaken it, and it settles nothing any more.
    pub(super) fn acknowledge(&mut self, seq: u32, ack: &str) -> bool {
        let latest = self.last_ack.as_ref().is_none_or(|(last, _)| *last < seq);
        if latest {
            self.last_ack = Some((seq, ack.to_owned()));
        }
        latest
    }

    // ---- their offer

    /// Theirs comes.
    pub(super) fn crossing(&self, now: Instant) -> Crossing {
        match self.exchange {
            Exchange::Ours(Ours { stage: Stage::Out(sent), .. }) if now - sent < CROSSING => {
                Crossing::Crossed
            }
            Exchange::Ours(Ours { stage: Stage::Out(_), .. }) => Crossing::Stale,
            Exchange::Ours(_) => Crossing::Unsent,
            Exchange::Idle | Exchange::Theirs(_) => Crossing::None,
        }
    }

    /// It is being answered. `offered`: the direction of its description; without one it asks for an offer of ours.
    pub(super) fn take(&mut self, tx: TxId, seq: u32, offered: Option<Direction>) {
        // The peer sends nothing we could hear, or wants nothing from us: it has put us on hold. Without an offer its answer
        // to ours tells.
        let remote_hold = offered.map_or(self.remote, holds);
        // Only an answer to both directions can say whether we hold: else what the other side knows of us stays as it is.
        let tells = offered.is_none_or(|direction| direction == Direction::SendRecv);
        let local_hold = if tells { self.wished } else { self.agreed };
        let offered = offered.is_none();
        self.exchange = Exchange::Theirs(Theirs { tx, seq, offered, remote_hold, local_hold });
    }

    /// What our answer to theirs says, or our offer where theirs asks for one: an answer agrees to no more than both holds
    /// allow, an offer asks for all that we want (RFC 3261, section 14.2).
    pub(super) const fn to_answer(&self) -> Direction {
        match self.exchange {
            Exchange::Theirs(Theirs { offered: false, remote_hold, .. }) => {
                direction(self.wished, remote_hold)
            }
            _ => self.to_offer(),
        }
    }

    pub(super) const fn theirs(&self) -> Option<&Theirs> {
        match &self.exchange {
            Exchange::Theirs(theirs) => Some(theirs),
            _ => None,
        }
    }

    /// It is answered, and so agreed.
    pub(super) fn answer(&mut self) -> Option<Theirs> {
        let theirs = self.drop_theirs()?;
        self.agreed = theirs.local_hold;
        Some(theirs)
    }

    /// It is refused, or of no interest any more.
    pub(super) fn drop_theirs(&mut self) -> Option<Theirs> {
        let theirs = *self.theirs()?;
        self.exchange = Exchange::Idle;
        Some(theirs)
    }

    /// It waits until the answer to ours is set. `false`: another one does already.
    pub(super) fn wait(&mut self, tx: TxId, request: &Request) -> bool {
        let free = self.waiting.is_none();
        if free {
            self.waiting = Some((tx, Box::new(request.clone())));
        }
        free
    }

    pub(super) fn is_waiting(&self, tx: TxId) -> bool {
        self.waiting.as_ref().is_some_and(|(waiting, _)| *waiting == tx)
    }

    pub(super) const fn take_waiting(&mut self) -> Option<(TxId, Box<Request>)> {
        self.waiting.take()
    }

    const fn has_theirs(&self) -> bool {
        self.waiting.is_some() || matches!(self.exchange, Exchange::Theirs(_))
    }

    // ---- deadlines

    /// The call is over.
    pub(super) const fn stop(&mut self) {
        self.withdraw();
        self.backoff = None;
    }

    /// The next deadline, and which it is.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, CallTimer)> {
        let glare = self.backoff.map(|at| (at, CallTimer::Glare));
        let unanswered = self.unanswered.map(|at| (at, CallTimer::Reoffer));
        glare.into_iter().chain(unanswered).min()
    }

    /// This deadline is reached.
    pub(super) const fn take_timeout(&mut self, timer: CallTimer) {
        match timer {
            CallTimer::Glare => self.backoff = None,
            _ => self.unanswered = None,
        }
    }

    /// The page was suspended: puts all deadlines off.
    pub(super) fn put_off(&mut self, by: Duration) {
        for at in [&mut self.backoff, &mut self.unanswered].into_iter().flatten() {
            *at = *at + by;
        }
    }

    /// The number of deadlines.
    pub(super) fn deadlines(&self) -> usize {
        usize::from(self.backoff.is_some()) + usize::from(self.unanswered.is_some())
    }
}

/// Whether the writer of this direction does not want to hear us.
pub(super) const fn holds(direction: Direction) -> bool {
    matches!(direction, Direction::SendOnly | Direction::Inactive)
}

/// What a description of ours says (RFC 3264, section 8.4).
const fn direction(local_hold: bool, remote_hold: bool) -> Direction {
    match (local_hold, remote_hold) {
        (false, false) => Direction::SendRecv,
        (false, true) => Direction::RecvOnly,
        (true, false) => Direction::SendOnly,
        (true, true) => Direction::Inactive,
    }
}

/// What flows here: held by us, the other side hears nothing and is not heard.
pub(super) const fn flow(local_hold: bool, remote_hold: bool) -> Direction {
    match (local_hold, remote_hold) {
        (true, _) => Direction::Inactive,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::SendRecv,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// An offer of ours is out since then.
    fn out(hold: bool, since: Instant) -> Offers {
        let mut offers = Offers::default();
        offers.wish_hold(hold);
        assert_eq!(offers.advance(true, false, true), Next::Offer);
        assert!(offers.send(since));
        offers
    }

    #[test]
    fn an_offer_is_made_where_what_is_wished_is_not_agreed() {
        // wished, agreed, wanted, restart, in doubt, free
        for (wished, agreed, wanted, restart, in_doubt, free, next) in [
            (false, false, false, false, false, true, Next::Agreed),
            (true, true, false, false, false, true, Next::Agreed),
            (false, false, false, false, false, false, Next::Agreed),
            (true, false, false, false, false, true, Next::Offer),
            (false, true, false, false, false, true, Next::Offer),
            (true, false, false, false, false, false, Next::Wait),
            (false, false, true, false, false, true, Next::Offer),
            (false, false, false, true, false, true, Next::Offer),
            (false, false, false, false, true, true, Next::Offer),
            (true, true, true, true, true, false, Next::Wait),
        ] {
            let mut offers = Offers { wished, agreed, in_doubt, ..Offers::default() };
            let case = (wished, agreed, wanted, restart, in_doubt, free);
            assert_eq!(offers.advance(wanted, restart, free), next, "{case:?}");
            assert_eq!(offers.is_ours(), next == Next::Offer);
            if next == Next::Offer {
                assert_eq!(offers.advance(true, true, true), Next::Wait, "one at a time: {case:?}");
                assert_eq!(offers.agree().map(|ours| ours.restart), Some(restart));
                assert_eq!(offers.advance(false, false, true), Next::Agreed, "{case:?}");
            }
        }
    }

    #[test]
    fn nothing_is_offered_while_theirs_is_under_way_or_two_have_crossed() {
        let mut theirs = Offers::default();
        theirs.wish_hold(true);
        theirs.take(TxId::numbered(1), 5, Some(SendRecv));
        assert_eq!(theirs.advance(false, false, true), Next::Wait);
        theirs.drop_theirs();
        assert!(theirs.wait(TxId::numbered(2), &Request::new(Method::Update, "sip:a@example.com")));
        assert_eq!(theirs.advance(false, false, true), Next::Wait);
        theirs.take_waiting();
        theirs.pause(at(2));
        assert_eq!(theirs.advance(false, false, true), Next::Wait);
        theirs.take_timeout(CallTimer::Glare);
        assert_eq!(theirs.advance(false, false, true), Next::Offer);
    }

    #[test]
    fn descriptions_and_what_flows_follow_both_holds() {
        // We hold, they hold: our offer, what flows, and our answers to each of their directions.
        for (local, remote, offer, flows, answers) in [
            (false, false, SendRecv, SendRecv, [SendRecv, RecvOnly, SendRecv, RecvOnly]),
            (false, true, SendRecv, RecvOnly, [SendRecv, RecvOnly, SendRecv, RecvOnly]),
            (true, false, SendOnly, Inactive, [SendOnly, Inactive, SendOnly, Inactive]),
            (true, true, Inactive, Inactive, [SendOnly, Inactive, SendOnly, Inactive]),
        ] {
            let mut offers = Offers::default();
            offers.restore(local, remote);
            assert_eq!((offers.to_offer(), offers.flow()), (offer, flows), "{local} {remote}");
            for (theirs, answer) in [SendRecv, SendOnly, RecvOnly, Inactive].into_iter().zip(answers) {
                offers.take(TxId::numbered(1), 5, Some(theirs));
                assert_eq!(offers.to_answer(), answer, "{local} {remote} {theirs:?}");
            }
            offers.take(TxId::numbered(1), 5, None);
            assert_eq!(offers.to_answer(), offer, "they ask for an offer: {local} {remote}");
        }
    }

    #[test]
    fn an_answer_of_ours_settles_hold_where_it_can_tell_it() {
        // We wish, what was agreed, their direction: what is agreed then, and whether they hold.
        for (wished, agreed, theirs, agreed_then, remote_hold) in [
            (true, false, Some(SendRecv), true, false),
            (false, true, Some(SendRecv), false, false),
            (true, false, Some(SendOnly), false, true),
            (true, false, Some(RecvOnly), false, false),
            (false, true, Some(Inactive), true, true),
            (true, false, None, true, false),
        ] {
            let mut offers = Offers { wished, agreed, ..Offers::default() };
            offers.take(TxId::numbered(1), 5, theirs);
            let answered = offers.answer().unwrap();
            assert_eq!((answered.remote_hold, answered.offered), (remote_hold, theirs.is_none()));
            assert_eq!(offers.agreed, agreed_then, "{wished} {agreed} {theirs:?}");
            assert!(offers.answer().is_none(), "once");
        }
        let mut refused = Offers::default();
        refused.wish_hold(true);
        refused.take(TxId::numbered(1), 5, Some(SendRecv));
        assert!(refused.drop_theirs().is_some() && refused.theirs().is_none());
        assert!(!refused.agreed, "what is refused settles nothing");
    }

    #[test]
    fn theirs_crosses_ours_while_ours_is_out() {
        let mut making = Offers::default();
        assert_eq!(making.crossing(at(0)), Crossing::None);
        making.advance(true, false, true);
        assert_eq!(making.crossing(at(0)), Crossing::Unsent);
        for (after, crossing) in [(0, Crossing::Crossed), (3, Crossing::Crossed), (4, Crossing::Stale)] {
            assert_eq!(out(true, at(100)).crossing(at(100 + after)), crossing, "{after} s");
        }
        let mut answered = out(true, at(0));
        answered.answered();
        assert!(answered.is_ours() && !answered.is_out());
    }

    #[test]
    fn ours_is_given_up_after_a_minute_without_a_final_response() {
        let mut offers = out(true, at(10));
        assert_eq!(offers.poll_timeout(), Some((at(70), CallTimer::Reoffer)));
        offers.put_off(Duration::from_secs(5));
        assert_eq!(offers.poll_timeout(), Some((at(75), CallTimer::Reoffer)), "the page was suspended");
        offers.responded();
        assert_eq!(offers.poll_timeout(), None);
        assert!(!Offers::default().send(at(0)), "there is none");
    }

    #[test]
    fn glares_are_followed_eight_times() {
        let mut offers = Offers::default();
        offers.wish_hold(true);
        for _ in 0..8 {
            assert_eq!(offers.advance(false, false, true), Next::Offer);
            offers.send(at(0));
            assert!(offers.glare());
            offers.pause(at(2));
            assert_eq!(offers.poll_timeout(), Some((at(2), CallTimer::Glare)), "not that of the offer");
            offers.take_timeout(CallTimer::Glare);
        }
        offers.advance(false, false, true);
        assert!(!offers.glare() && offers.is_ours());
        // The failure that follows begins the count anew.
        offers.fail();
        offers.withdraw();
        offers.advance(false, false, true);
        assert!(offers.glare());
    }

    #[test]
    fn an_offer_that_fails_leaves_a_doubt_where_the_other_side_may_have_agreed() {
        // Of a change, sent, answered, and whether there was a doubt before: whether there is one then.
        for (change, sent, answered, before, in_doubt) in [
            (true, true, false, false, true),
            (true, false, false, false, false),
            (true, true, true, false, false),
            (false, true, false, false, false),
            (false, true, false, true, true),
            (true, false, false, true, true),
        ] {
            let mut offers = Offers { in_doubt: before, ..Offers::default() };
            offers.wish_hold(change);
            offers.advance(true, true, true);
            if sent {
                offers.send(at(0));
            }
            if answered {
                offers.answered();
            }
            let failed = offers.fail().unwrap();
            let case = (change, sent, answered, before);
            assert_eq!(
                failed,
                Failed { restart: true, agreed: false, nothing_new: !change, doubted: before, in_doubt },
                "{case:?}"
            );
            assert_eq!(offers.advance(true, true, true), Next::Wait, "nothing takes its place: {case:?}");
            assert_eq!(offers.poll_timeout(), None);
            offers.withdraw();
            assert!(offers.fail().is_none());
            assert_eq!(offers.advance(true, false, true), Next::Offer);
        }
    }

    #[test]
    fn the_other_side_is_asked_again_four_times_and_a_command_begins_anew() {
        let mut offers = Offers::default();
        for half in [1000, 2000, 4000, 8000] {
            assert!(offers.agreed_in_vain());
            offers.set_doubt(false);
            assert_eq!(offers.ask_again(), Some(half));
            assert!(!offers.in_doubt);
        }
        assert!(!offers.agreed_in_vain());
        assert_eq!(offers.ask_again(), None);
        assert!(offers.in_doubt, "with the next offer");
        offers.command();
        offers.command();
        assert_eq!(offers.ask_again(), Some(1000));
        assert_eq!((offers.take_commands(), offers.take_commands()), (2, 0));
    }

    #[test]
    fn an_answer_that_is_set_ends_all_doubts() {
        let mut offers = out(true, at(0));
        offers.set_doubt(true);
        offers.ask_again();
        offers.responded();
        offers.answered();
        assert!(offers.agree().is_some());
        assert!(offers.agreed && !offers.in_doubt && offers.doubts == 0 && offers.glares == 0);
        assert!(offers.agree().is_none());
    }

    #[test]
    fn a_2xx_is_acknowledged_in_the_same_way_and_settles_things_once() {
        let mut offers = Offers::default();
        assert_eq!(offers.ack_of(5), None);
        assert!(offers.acknowledge(5, "ACK 5"));
        assert_eq!(offers.ack_of(5), Some("ACK 5"));
        assert!(!offers.acknowledge(5, "ACK 5"), "again");
        assert!(offers.acknowledge(7, "ACK 7"));
        assert!(!offers.acknowledge(6, "ACK 6"), "overtaken");
        assert_eq!((offers.ack_of(5), offers.ack_of(7)), (None, Some("ACK 7")));
    }

    #[test]
    fn one_of_theirs_waits() {
        let mut offers = Offers::default();
        let update = Request::new(Method::Update, "sip:alice@example.com");
        assert!(offers.wait(TxId::numbered(1), &update));
        assert!(!offers.wait(TxId::numbered(2), &update));
        assert!(offers.is_waiting(TxId::numbered(1)) && !offers.is_waiting(TxId::numbered(2)));
        assert_eq!(offers.take_waiting().map(|(tx, _)| tx), Some(TxId::numbered(1)));
        assert!(offers.take_waiting().is_none());
    }

    #[test]
    fn the_end_of_the_call_ends_ours_and_all_deadlines() {
        let mut offers = out(true, at(0));
        offers.pause(at(2));
        assert_eq!(offers.deadlines(), 2);
        offers.stop();
        assert_eq!((offers.deadlines(), offers.poll_timeout(), offers.is_ours()), (0, None, false));
    }
}
