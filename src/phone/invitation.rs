//! How the INVITE of an outgoing call fares: its questions, its CANCEL, and how often it is made anew. A value: `outgoing`
//! and `outage` send.

use super::CredentialsId;
use crate::time::Duration;

/// So often may one call's INVITE be made anew.
const MAX_RENEWALS: u8 = 3;

/// The INVITE of one call.
#[derive(Debug, Default)]
pub(super) struct Invitation {
    /// Credentials that it waits for.
    question: Option<CredentialsId>,
    /// A 1xx has come, so that CANCEL may be sent (RFC 3261, section 9.1).
    provisional: bool,
    /// The caller has given up; CANCEL waits for a 1xx.
    cancelled: bool,
    /// It has been sent again over a new socket, and may be made anew.
    resent: bool,
    /// That has happened, and may be why nobody is reached.
    interrupted: bool,
    /// It has been made anew with an extension that was required (421).
    extended: bool,
    /// How often it has been made anew.
    renewals: u8,
}

impl Invitation {
    /// It waits for credentials.
    pub(super) const fn ask(&mut self, question: CredentialsId) {
        self.question = Some(question);
    }

    /// It is out, for the first time or with an answer to a challenge: no 1xx of an earlier one allows a CANCEL of this one.
    pub(super) const fn sent(&mut self) {
        self.question = None;
        self.provisional = false;
    }

    // ---- CANCEL

    /// A 1xx has come. `true`: CANCEL waits for it.
    pub(super) const fn on_provisional(&mut self) -> bool {
        self.provisional = true;
        self.cancelled
    }

    /// The caller gives up. Returns the question that is open, and whether CANCEL may be sent now.
    pub(super) const fn give_up(&mut self) -> (Option<CredentialsId>, bool) {
        self.cancelled = true;
        (self.question.take(), self.provisional)
    }

    /// CANCEL has yet to be sent. Once is enough: it has a transaction of its own.
    pub(super) const fn wants_cancel(&self) -> bool {
        self.cancelled
    }

    /// Whether it had yet to be sent: it is now.
    pub(super) const fn take_cancel(&mut self) -> bool {
        core::mem::replace(&mut self.cancelled, false)
    }

    // ---- made anew

    /// 421: whether it may be made anew with an extension, which is done once.
    pub(super) const fn takes_extension(&self) -> bool {
        !self.extended
    }

    pub(super) const fn extend(&mut self) {
        self.extended = true;
    }

    /// It has been sent over a new socket; `again`: over another one before.
    pub(super) const fn over_new_socket(&mut self, again: bool) {
        self.resent |= again;
        self.interrupted |= again;
    }

    /// It may be made anew.
    pub(super) const fn allow_renewal(&mut self) {
        self.resent = true;
    }

    /// It goes to another address, where nobody has it.
    pub(super) const fn redirect(&mut self) {
        self.resent = false;
    }

    /// Somebody is reached: what is said from now on is not for an outage.
    pub(super) const fn reach(&mut self) {
        self.interrupted = false;
    }

    /// The outage may be why nobody is reached: when it is to be made anew.
    pub(super) fn again_in(&self) -> Option<Duration> {
        let again = self.interrupted && self.renewals < MAX_RENEWALS;
        again.then(|| Duration::from_secs(1 << self.renewals))
    }

    /// It is made anew, if it has been sent again since it was last, and not too often.
    pub(super) const fn renew(&mut self) -> bool {
        let resent = core::mem::replace(&mut self.resent, false);
        if !resent || self.renewals >= MAX_RENEWALS {
            return false;
        }
        self.renewals += 1;
        self.provisional = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn cancel_waits_for_a_1xx_and_is_sent_once() {
        // Whether a 1xx has come, and whether the INVITE was challenged since.
        for (provisional, challenged, at_once) in
            [(false, false, false), (true, false, true), (true, true, false), (false, true, false)]
        {
            let mut invitation = Invitation::default();
            invitation.sent();
            if provisional {
                assert!(!invitation.on_provisional());
            }
            if challenged {
                invitation.sent();
            }
            assert_eq!(invitation.give_up(), (None, at_once), "{provisional} {challenged}");
            assert!(invitation.wants_cancel() && invitation.on_provisional());
            assert!(invitation.take_cancel() && !invitation.take_cancel() && !invitation.wants_cancel());
            assert!(!invitation.on_provisional());
        }
    }

    #[test]
    fn who_gives_up_is_not_asked_any_more() {
        let mut invitation = Invitation::default();
        invitation.ask(CredentialsId(3));
        assert_eq!(invitation.give_up(), (Some(CredentialsId(3)), false));
        let mut answered = Invitation::default();
        answered.ask(CredentialsId(4));
        answered.sent();
        assert_eq!(answered.give_up(), (None, false));
    }

    #[test]
    fn it_is_made_anew_three_times_and_only_where_it_was_sent_again() {
        let mut invitation = Invitation::default();
        assert!(!invitation.renew());
        invitation.over_new_socket(false);
        assert!(!invitation.renew(), "it was never out");
        for wait in [1, 2, 4] {
            invitation.over_new_socket(true);
            assert_eq!(invitation.again_in(), Some(Duration::from_secs(wait)));
            assert!(invitation.renew() && !invitation.renew());
        }
        invitation.allow_renewal();
        assert!(!invitation.renew());
        assert_eq!(invitation.again_in(), None);
    }

    #[test]
    fn a_redirect_and_a_callee_that_is_reached_end_the_outage() {
        let mut redirected = Invitation::default();
        redirected.over_new_socket(true);
        redirected.redirect();
        assert!(!redirected.renew());
        let mut reached = Invitation::default();
        reached.over_new_socket(true);
        reached.reach();
        assert_eq!(reached.again_in(), None);
        assert!(reached.renew(), "a proxy may have forgotten it all the same");
        assert_eq!(reached.give_up(), (None, false), "no 1xx of the new one has come");
    }

    #[test]
    fn an_extension_is_added_once() {
        let mut invitation = Invitation::default();
        assert!(invitation.takes_extension());
        invitation.extend();
        assert!(!invitation.takes_extension());
    }
}
