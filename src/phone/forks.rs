//! The forks of an outgoing call: who rings, who is heard, who has answered (RFC 3261, sections 12.1.2 and 13.2). A value:
//! `outgoing` sends.

use crate::sip::dialog::Dialog;
use crate::sip::message::{Method, Request};

/// Forks that are told apart while it rings, and answers that are acknowledged; no proxy forks to more.
const MAX_FORKS: usize = 16;

/// An early dialog (RFC 3261, section 12.1.2).
#[derive(Debug)]
struct Early {
    dialog: Dialog,
    /// The SDP of the last 1xx that had one.
    sdp: Option<String>,
    /// RSeq of the last reliable 1xx that was acknowledged (RFC 3262, section 4).
    rseq: Option<u32>,
    /// One of them has answered our offer: another exchange may begin (RFC 3311, section 5.1).
    answered: bool,
}

/// What is to be heard before the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hear<'a> {
    /// This answer of a fork.
    Fork(&'a str),
    /// Nobody speaks.
    Nobody,
    /// As before.
    Same,
}

/// The forks of one call.
#[derive(Debug, Default)]
pub(super) struct Forks {
    /// Those that ring. The one that spoke last with SDP is the last.
    early: Vec<Early>,
    /// The SDP of the one that is heard before the answer.
    heard: Option<String>,
    /// The tag of the one whose offer before the answer was taken last. The browser has settled with it, and takes no answer
    /// to the offer of the INVITE any more.
    settled: Option<String>,
    /// The ACKs sent, by the other side's tag, to be repeated with a repeated 2xx.
    acks: Vec<(String, String)>,
    /// The one of which the asserted identity is.
    asserted_by: Option<String>,
}

impl Forks {
    fn of(&self, tag: &str) -> Option<&Early> {
        self.early.iter().find(|early| early.dialog.remote_tag == tag)
    }

    fn of_mut(&mut self, tag: &str) -> Option<&mut Early> {
        self.early.iter_mut().find(|early| early.dialog.remote_tag == tag)
    }

    /// One of those that ring has this tag.
    pub(super) fn rings(&self, tag: &str) -> bool {
        self.of(tag).is_some()
    }

    pub(super) fn dialog(&mut self, tag: &str) -> Option<&mut Dialog> {
        self.of_mut(tag).map(|early| &mut early.dialog)
    }

    // ---- while it rings

    /// A 1xx has made this dialog, if there is none yet.
    pub(super) fn ring(&mut self, dialog: Dialog) {
        if !self.rings(&dialog.remote_tag) && self.early.len() < MAX_FORKS {
            self.early.push(Early { dialog, sdp: None, rseq: None, answered: false });
        }
    }

    /// A reliable 1xx. `None`: it is a repetition, or one before it is missing, and is to be ignored (RFC 3262, section 4);
    /// else the dialog in which it is acknowledged, where there is one.
    pub(super) fn acknowledge_provisional(&mut self, tag: &str, rseq: u32) -> Option<Option<&mut Dialog>> {
        let Some(early) = self.of_mut(tag) else { return Some(None) };
        if early.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return None;
        }
        early.rseq = Some(rseq);
        Some(Some(&mut early.dialog))
    }

    /// It speaks, in a 1xx that is reliable or not.
    pub(super) fn speak(&mut self, tag: &str, sdp: Option<String>, reliably: bool) {
        if let Some(at) = self.early.iter().position(|early| early.dialog.remote_tag == tag) {
            let mut early = self.early.remove(at);
            early.sdp = sdp;
            early.answered |= early.rseq.is_some() && reliably;
            self.early.push(early);
        }
    }

    /// It has answered our offer, in a 1xx that was acknowledged.
    pub(super) fn has_answered(&self, tag: &str) -> bool {
        self.of(tag).is_some_and(|early| early.answered)
    }

    pub(super) fn anybody_speaks(&self) -> bool {
        self.early.iter().any(|early| early.sdp.is_some())
    }

    /// Who is to be heard now: who spoke last.
    pub(super) fn hear(&mut self) -> Hear<'_> {
        let last = self.early.iter().rev().find_map(|early| early.sdp.as_ref());
        match last {
            Some(answer) if self.settled.is_none() && self.heard.as_ref() != Some(answer) => {
                Hear::Fork(self.heard.insert(answer.clone()))
            }
            None => Hear::Nobody,
            Some(_) => Hear::Same,
        }
    }

    /// Somebody is heard before the answer, or could be.
    pub(super) const fn is_heard(&self) -> bool {
        self.heard.is_some() || self.settled.is_some()
    }

    /// One is over, the call is not.
    pub(super) fn leave(&mut self, tag: &str) {
        self.early.retain(|early| early.dialog.remote_tag != tag);
    }

    /// The INVITE is another one: their 1xx say nothing of it.
    pub(super) fn forget(&mut self) {
        self.early.clear();
    }

    /// Likewise, and what was heard is heard no more.
    pub(super) fn begin_anew(&mut self) {
        self.forget();
        self.heard = None;
    }

    /// The INVITE is given up for a new one: the BYEs for those that ring.
    pub(super) fn abandon(&mut self) -> Vec<Request> {
        self.heard = None;
        let early = core::mem::take(&mut self.early);
        early.into_iter().map(|mut early| early.dialog.request(Method::Bye, None)).collect()
    }

    // ---- offers of theirs before the answer

    /// The offer of this one is taken.
    pub(super) fn settle(&mut self, tag: String) {
        self.settled = Some(tag);
    }

    /// It could not be: with which fork the browser is now is not certain.
    pub(super) fn unsettle(&mut self) {
        if let Some(tag) = &mut self.settled {
            tag.clear();
        }
    }

    // ---- answers

    /// This one answers, and the others are forgotten. Its dialog goes on, and the last SDP of its 1xx is returned.
    pub(super) fn answer(&mut self, dialog: &mut Dialog) -> Option<String> {
        let at = self.early.iter().position(|early| early.dialog.remote_tag == dialog.remote_tag);
        let early = at.map(|at| self.early.swap_remove(at));
        self.early.clear();
        let early = early?;
        dialog.local_seq = early.dialog.local_seq;
        dialog.remote_seq = early.dialog.remote_seq;
        early.sdp
    }

    /// Whether the browser has settled with the one that has answered; `None`: with nobody.
    pub(super) fn take_settled(&mut self, tag: &str) -> Option<bool> {
        self.settled.take().map(|settled| settled == tag)
    }

    /// The identity that is asserted is of this one.
    pub(super) fn assert(&mut self, tag: &str) {
        self.asserted_by = Some(tag.to_owned());
    }

    /// This one has answered. Whether the identity is another's: who has answered is not another who has rung.
    pub(super) fn asserted_by_another(&mut self, tag: &str) -> bool {
        self.asserted_by.take().is_some_and(|asserted| asserted != tag)
    }

    /// The ACK of its 2xx.
    pub(super) fn ack(&self, tag: &str) -> Option<&str> {
        self.acks.iter().find(|(known, _)| known == tag).map(|(_, ack)| ack.as_str())
    }

    /// Its 2xx has been acknowledged.
    pub(super) fn acknowledge(&mut self, tag: &str, ack: Option<String>) {
        self.acks.extend(ack.map(|ack| (tag.to_owned(), ack)));
    }

    /// Nobody else's 2xx is acknowledged.
    pub(super) const fn is_full(&self) -> bool {
        self.acks.len() >= MAX_FORKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn dialog(tag: &str) -> Dialog {
        let mut dialog = Dialog::named("call-1");
        dialog.remote_tag = tag.to_owned();
        dialog
    }

    fn ringing(tags: &[&str]) -> Forks {
        let mut forks = Forks::default();
        for tag in tags {
            forks.ring(dialog(tag));
        }
        forks
    }

    fn speak(forks: &mut Forks, tag: &str, sdp: &str) {
        forks.speak(tag, Some(sdp.to_owned()), false);
    }

    #[test]
    fn who_spoke_last_is_heard_and_once() {
        let mut forks = ringing(&["a", "b", "a"]);
        assert_eq!(forks.early.len(), 2);
        assert_eq!(forks.hear(), Hear::Nobody);
        speak(&mut forks, "a", "of a");
        assert!(forks.anybody_speaks());
        assert_eq!(forks.hear(), Hear::Fork("of a"));
        assert_eq!(forks.hear(), Hear::Same);
        speak(&mut forks, "b", "of b");
        assert_eq!(forks.hear(), Hear::Fork("of b"));
        speak(&mut forks, "stranger", "of nobody");
        assert_eq!(forks.hear(), Hear::Same);
        forks.leave("b");
        assert_eq!(forks.hear(), Hear::Fork("of a"), "who is left");
        forks.leave("a");
        assert_eq!(forks.hear(), Hear::Nobody);
        assert!(forks.is_heard(), "of whom was heard last the browser knows");
    }

    #[test]
    fn nobody_is_heard_once_the_browser_has_settled_with_one() {
        let mut forks = ringing(&["a", "b"]);
        forks.settle("a".to_owned());
        speak(&mut forks, "b", "of b");
        assert_eq!(forks.hear(), Hear::Same);
        assert!(forks.is_heard());
        for (unsettled, answered, with_it) in
            [(false, "a", Some(true)), (false, "b", Some(false)), (true, "a", Some(false))]
        {
            let mut forks = ringing(&["a", "b"]);
            forks.settle("a".to_owned());
            if unsettled {
                forks.unsettle();
            }
            assert_eq!(forks.take_settled(answered), with_it, "{unsettled} {answered}");
            assert_eq!(forks.take_settled(answered), None);
        }
    }

    #[test]
    fn reliable_responses_are_acknowledged_in_order() {
        let mut forks = ringing(&["a"]);
        for (tag, rseq, taken, known) in [
            ("a", 7, true, true),
            ("a", 7, false, false),
            ("a", 9, false, false),
            ("a", 8, true, true),
            ("stranger", 1, true, false),
        ] {
            let outcome = forks.acknowledge_provisional(tag, rseq);
            assert_eq!(outcome.is_some(), taken, "{tag} {rseq}");
            assert_eq!(outcome.flatten().is_some(), known, "{tag} {rseq}");
        }
    }

    #[test]
    fn only_an_answer_that_was_acknowledged_ends_the_first_exchange() {
        let mut forks = ringing(&["a", "b"]);
        forks.speak("a", Some("sdp".to_owned()), true);
        assert!(!forks.has_answered("a"), "no PRACK");
        forks.acknowledge_provisional("a", 1);
        forks.speak("a", Some("sdp".to_owned()), false);
        assert!(!forks.has_answered("a"));
        forks.speak("a", Some("sdp".to_owned()), true);
        assert!(forks.has_answered("a") && !forks.has_answered("b"));
    }

    #[test]
    fn the_dialog_of_who_answers_goes_on_and_the_others_are_forgotten() {
        let mut forks = ringing(&["a", "b"]);
        speak(&mut forks, "a", "of a");
        forks.dialog("a").unwrap().local_seq = 5;
        forks.dialog("a").unwrap().remote_seq = Some(9);
        let mut answered = dialog("a");
        assert_eq!(forks.answer(&mut answered).as_deref(), Some("of a"));
        assert_eq!((answered.local_seq, answered.remote_seq), (5, Some(9)));
        assert!(!forks.rings("a") && !forks.rings("b"));
        let mut direct = dialog("c");
        let seq = direct.local_seq;
        assert_eq!(ringing(&["a"]).answer(&mut direct), None);
        assert_eq!(direct.local_seq, seq, "who has not rung before");
    }

    #[test]
    fn the_identity_is_that_of_who_answers() {
        for (asserted, answered, another) in
            [(None, "a", false), (Some("a"), "a", false), (Some("b"), "a", true)]
        {
            let mut forks = ringing(&["a", "b"]);
            if let Some(tag) = asserted {
                forks.assert(tag);
            }
            assert_eq!(forks.asserted_by_another(answered), another, "{asserted:?} {answered}");
            assert!(!forks.asserted_by_another(answered), "once");
        }
    }

    #[test]
    fn a_2xx_that_comes_again_gets_the_same_ack() {
        let mut forks = Forks::default();
        forks.acknowledge("a", Some("ACK a".to_owned()));
        forks.acknowledge("b", None);
        assert_eq!((forks.ack("a"), forks.ack("b")), (Some("ACK a"), None));
        for tag in 0..15 {
            assert!(!forks.is_full());
            forks.acknowledge(&tag.to_string(), Some(String::new()));
        }
        assert!(forks.is_full());
    }

    #[test]
    fn no_more_than_sixteen_are_told_apart() {
        let mut forks = Forks::default();
        for tag in 0..20 {
            forks.ring(dialog(&tag.to_string()));
        }
        assert!(forks.rings("15") && !forks.rings("16"));
        let byes = forks.abandon();
        assert_eq!((byes.len(), forks.early.len()), (16, 0));
    }

    #[test]
    fn another_invite_begins_anew() {
        let mut forks = ringing(&["a"]);
        speak(&mut forks, "a", "of a");
        forks.hear();
        forks.forget();
        assert!(forks.is_heard(), "a challenge: the same fork may say the same again");
        forks.begin_anew();
        assert!(!forks.is_heard());
        forks.ring(dialog("a"));
        speak(&mut forks, "a", "of a");
        assert_eq!(forks.hear(), Hear::Fork("of a"));
    }
}
