//! Actions that concern two calls: the phone carries out what a call asks for ([`Ask`]), and commands that name two calls.

use super::env::Ask;
use super::refer::{invalid, replacing};
use super::transfer::{Referrer, Transfer};
use super::*;
use crate::sip::sdp::Direction as MediaDirection;
use crate::sip::uri::Uri;

impl Phone {
    pub(super) fn start_transfer(&mut self, id: CallId, target: TransferTarget) -> Result<(), Error> {
        self.calls.transferable(id)?;
        let (refer_to, other) = match target {
            TransferTarget::Uri(target) => {
                let uri = Uri::parse(&target).ok().filter(|uri| uri.headers.is_none());
                let uri = uri.ok_or_else(|| {
                    Error::new(ErrorCode::InvalidDestination, "The destination is not a SIP URI")
                })?;
                (concat(&["<", &uri.to_text(), ">"]), None)
            }
            TransferTarget::Call(other) => {
                if other == id {
                    return Err(invalid("A call cannot be transferred to itself"));
                }
                let refer_to = replacing(self.calls.transferable(other)?)
                    .ok_or_else(|| invalid("The other side of that call has no SIP address"))?;
                (refer_to, Some(other))
            }
        };
        let mut holding = Vec::new();
        for call in core::iter::once(id).chain(other) {
            if self.calls.get(call).is_some_and(|call| !call.session.offers.local_hold()) {
                holding.push(call);
            }
        }
        if let Some(call) = self.calls.get_mut(id) {
            let transfer = Transfer::new(refer_to, other, holding.clone(), self.cx.env.now);
            call.transfers.ours = Some(Box::new(transfer));
        }
        for call in holding {
            // A call that cannot be held now can be transferred all the same.
            if let Err(error) = self.command(call, |call, cx| call.hold_unasked(cx)) {
                self.cx.log(LogLevel::Warn, &["not held before the transfer: ", &error.message]);
                self.go_on_with_transfer(call);
            }
        }
        self.with(id, |call, cx| call.refer_if_held(cx));
        Ok(())
    }

    /// The hold of this call has succeeded or failed: a transfer that waited for it continues.
    pub(super) fn go_on_with_transfer(&mut self, id: CallId) {
        let mut waiting = None;
        for call in self.calls.iter_mut() {
            if call.transfers.ours.as_mut().is_some_and(|transfer| transfer.held(id)) {
                waiting = Some(call.id);
            }
        }
        if let Some(waiting) = waiting {
            self.with(waiting, |call, cx| call.refer_if_held(cx));
        }
    }

    /// Reports the status of the new call to the transfer of `old`.
    pub(super) fn tell_referral(&mut self, old: CallId, new: CallId, status: u16) {
        self.with(old, |call, cx| call.set_referral_status(cx, status));
        match status {
            100..=199 => {}
            200..=299 => {
                self.cx.event(Event::Replaced { old, new });
                if let Some(referral) =
                    self.calls.get_mut(old).and_then(|call| call.transfers.theirs.as_mut())
                {
                    referral.await_farewell(self.cx.env.now);
                }
            }
            _ => {
                let referral = self.calls.get_mut(old).and_then(|call| call.transfers.theirs.take());
                // The two talk to each other again.
                if referral.is_some_and(|referral| referral.is_put_on_hold()) {
                    self.with(old, |call, cx| call.take_back_hold(cx));
                }
            }
        }
    }

    pub(super) fn take_transfer(&mut self, id: CallId) -> Result<CallId, Error> {
        let call =
            self.calls.get(id).filter(|call| call.phase != Phase::Terminating).ok_or_else(call_ended)?;
        let Some(referral) = call.transfers.theirs.as_ref().filter(|referral| referral.call().is_none())
        else {
            return Err(invalid("The other side asks for no transfer"));
        };
        let target = referral.target().to_owned();
        let dial = DialRequest { target, continues: Some(id), ..DialRequest::default() };
        let own: Vec<(&str, String)> =
            referral.headers().into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let held = call.session.offers.local_hold();
        let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let new = self.start_dial(dial, &own)?;
        if let Some(referral) = self.calls.get_mut(id).and_then(|call| call.transfers.theirs.as_mut()) {
            referral.accept(new);
        }
        if let Some(call) = self.calls.get_mut(new) {
            call.dialled.set_referrer(Some(Box::new(Referrer::new(id))));
        }
        if !held {
            match self.command(id, |call, cx| call.hold_unasked(cx)) {
                Ok(()) => {
                    if let Some(referral) =
                        self.calls.get_mut(id).and_then(|call| call.transfers.theirs.as_mut())
                    {
                        referral.set_put_on_hold(true);
                    }
                }
                Err(error) => {
                    self.cx.log(LogLevel::Warn, &["not held during the transfer: ", &error.message]);
                }
            }
        }
        Ok(new)
    }

    /// The user has taken on (or made) the call whose place this one takes: it is answered without asking.
    pub(super) fn answer_in_place_of(&mut self, old: CallId, id: CallId) {
        let held = self.calls.get(old).is_some_and(|call| call.session.offers.local_hold());
        self.with(id, |call, cx| {
            call.set_call_state(cx, super::CallState::Connecting);
            call.continue_answer(cx);
            if held {
                call.media_order(cx, MediaCommand::Flow(MediaDirection::Inactive));
            }
        });
    }

    /// The new call is up: the old one ends (RFC 3891, section 3: by BYE, or CANCEL for an early one).
    /// `asked`: by hand, so that it is not held as the old one was.
    pub(super) fn take_place_of(&mut self, old: CallId, id: CallId, asked: bool) {
        let Some(call) = self.calls.get(old).filter(|call| call.phase != Phase::Terminating) else { return };
        let (up, held) = (call.is_up(), call.session.offers.local_hold() && !asked);
        self.cx.event(Event::Replaced { old, new: id });
        if held {
            self.with(id, |call, cx| {
                if let Err(error) = call.hold_unasked(cx) {
                    cx.log(LogLevel::Warn, &["the new call could not be held: ", &error.message]);
                    call.media_order(cx, MediaCommand::Flow(MediaDirection::SendRecv));
                }
            });
        }
        self.with(old, |call, cx| {
            if up {
                call.end_with_bye(cx, EndCause::Completed, EndedBy::Remote, None);
            } else {
                let error = Error::new(ErrorCode::Aborted, "Another call has taken its place");
                call.give_up_call(cx, Some(error), EndedBy::Remote);
            }
        });
    }

    /// See [`Call::replace_resumed`] and [`Call::replace_association`].
    pub(super) fn make_replacement(&mut self, id: CallId, target: String, replaces: &str) {
        let Some(call) = self.calls.get(id) else { return };
        let (note, held) = (call.taken_up.note(), call.session.offers.local_hold());
        let display_name = call.peer.display_name().cloned();
        let dial = DialRequest { target, display_name, continues: Some(id), ..DialRequest::default() };
        match self.start_dial(dial, &[("Replaces", replaces), ("Require", "replaces")]) {
            Ok(new) => {
                self.with(new, |call, cx| {
                    call.succession.set_replaces(id);
                    call.taken_up.set_note(note);
                    if held {
                        call.media_order(cx, MediaCommand::Flow(MediaDirection::Inactive));
                    }
                });
                self.with(id, |call, _| call.taken_up.settle());
            }
            Err(error) => {
                self.cx.log(LogLevel::Warn, &["no call could be made in its place: ", &error.message]);
                self.with(id, |call, cx| call.replacement_failed(cx));
            }
        }
    }

    /// One of the two is over: the call whose dialog is lost, or the one that was to take its place.
    pub(super) fn end_replacement(&mut self, id: CallId, replaced: Option<CallId>, by: EndedBy) {
        if let Some(old) = replaced {
            self.with(old, |call, cx| call.replacement_failed(cx));
        }
        let new = self.calls.iter_mut().find(|call| {
            call.succession.replaces() == Some(id)
                && call.direction == Direction::Outgoing
                && !call.end.is_over()
        });
        let Some(new) = new else { return };
        new.succession.take_replaces();
        let (new, phase) = (new.id, new.phase);
        if phase != Phase::Applying || by == EndedBy::Local {
            self.with(new, |call, cx| call.hang_up(cx, None, 480));
            return;
        }
        // The other side has answered the new call, and ends this one before the answer is set.
        self.cx.event(Event::Replaced { old: id, new });
        if self.calls.get(id).is_some_and(|call| call.session.offers.local_hold()) {
            self.with(new, |call, cx| call.request_hold(cx, true));
        }
    }

    pub(super) fn do_for(&mut self, id: CallId, what: Ask) {
        match what {
            Ask::FollowHold => self.calls.follow_hold(&mut self.cx, id),
            Ask::GoOnWithTransfer => self.go_on_with_transfer(id),
            Ask::HangUp(other) => self.with(other, |call, cx| {
                call.end_with_bye(cx, EndCause::Completed, EndedBy::Local, None);
            }),
            Ask::TakePlace { old, asked } => self.take_place_of(old, id, asked),
            Ask::TellReferral { old, status } => self.tell_referral(old, id, status),
            Ask::OutliveReferral { new, referral, dialog } => self.with(new, |call, _| {
                if let Some(referrer) = call.dialled.referrer() {
                    referrer.outlive(&referral, dialog);
                }
            }),
            Ask::MakeReplacement { target, replaces } => self.make_replacement(id, target, &replaces),
            Ask::EndReplacement { replaced, by } => self.end_replacement(id, replaced, by),
            Ask::YieldToIt => self.for_live_calls(&|call, cx| {
                // That this phone has answered one call only is part of the proof, and its user can't have two.
                if call.id != id {
                    call.yield_to_another(cx);
                }
            }),
            Ask::JudgeUnmatched => self.judge_unmatched(),
            Ask::AnswerItself => {
                let occupied = self.calls.occupy_the_user(Some(id));
                self.with(id, |call, cx| call.answer_itself(cx, occupied));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{call, phone};
    use super::super::taken_up::TakenUp;
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn with_calls(phases: &[Phase]) -> (Phone, Vec<CallId>) {
        let mut phone = phone();
        let mut ids = Vec::new();
        for phase in phases {
            let call = call(&mut phone.cx, Direction::Outgoing, *phase);
            ids.push(call.id);
            phone.calls.insert(call);
        }
        (phone, ids)
    }

    fn events(phone: &mut Phone) -> Vec<String> {
        let events = core::iter::from_fn(|| phone.poll_event());
        events.filter(|event| !matches!(event, Event::Log(..))).map(|event| format!("{event:?}")).collect()
    }

    #[test]
    fn what_is_asked_comes_out_where_it_was_asked_for() {
        let (mut phone, ids) = with_calls(&[Phase::Confirmed, Phase::Confirmed]);
        phone.with(ids[0], |call, cx| {
            cx.event(Event::AnswerDone(call.id, Ok(())));
            cx.ask(call.id, Ask::TellReferral { old: ids[1], status: 200 });
            cx.event(Event::Incoming(call.id));
            cx.ask(call.id, Ask::TellReferral { old: ids[1], status: 180 });
            cx.event(Event::Remote(call.id));
        });
        let events = events(&mut phone);
        let kinds: Vec<&str> = events.iter().map(|event| event.split(['(', ' ']).next().unwrap()).collect();
        assert_eq!(kinds, ["AnswerDone", "Replaced", "Incoming", "Remote"]);
        assert!(phone.cx.env.asked.is_empty());
    }

    #[test]
    fn a_call_that_is_gone_is_asked_nothing() {
        let (mut phone, ids) = with_calls(&[Phase::Confirmed]);
        assert!(!phone.with(CallId(99), |_, _| true));
        let error = phone.command(CallId(99), |_, _| Ok(())).unwrap_err();
        assert_eq!(error.code, ErrorCode::Ended);
        phone.do_for(ids[0], Ask::HangUp(CallId(99)));
        assert!(phone.calls.get(ids[0]).is_some_and(Call::is_live));
    }

    #[test]
    fn only_calls_that_are_answered_and_free_can_be_transferred() {
        for (phase, transferring, code) in [
            (Phase::Confirmed, false, None),
            (Phase::Confirmed, true, Some(ErrorCode::InvalidState)),
            (Phase::Inviting, false, Some(ErrorCode::InvalidState)),
            (Phase::Terminating, false, Some(ErrorCode::Ended)),
        ] {
            let (mut phone, ids) = with_calls(&[phase]);
            if transferring {
                let transfer = Transfer::new("<sip:c@h>".to_owned(), None, Vec::new(), phone.cx.env.now);
                phone.calls.get_mut(ids[0]).unwrap().transfers.ours = Some(Box::new(transfer));
            }
            let found = phone.calls.transferable(ids[0]).err().map(|error| error.code);
            assert_eq!(found, code, "{phase:?} {transferring}");
        }
    }

    #[test]
    fn no_call_is_transferred_to_itself_or_to_what_is_no_address() {
        let (mut phone, ids) = with_calls(&[Phase::Confirmed]);
        for (target, code) in [
            (TransferTarget::Call(ids[0]), ErrorCode::InvalidState),
            (TransferTarget::Call(CallId(99)), ErrorCode::Ended),
            (TransferTarget::Uri("carol".to_owned()), ErrorCode::InvalidDestination),
            (TransferTarget::Uri("sip:carol@h?Replaces=x".to_owned()), ErrorCode::InvalidDestination),
        ] {
            let error = phone.start_transfer(ids[0], target.clone()).unwrap_err();
            assert_eq!(error.code, code, "{target:?}");
            assert!(phone.calls.get(ids[0]).unwrap().transfers.ours.is_none());
        }
    }

    #[test]
    fn a_new_call_takes_the_place_of_one_that_is_up_or_rings() {
        for (phase, up) in [(Phase::Confirmed, true), (Phase::Preparing, false)] {
            let (mut phone, ids) = with_calls(&[phase, Phase::Confirmed]);
            phone.take_place_of(ids[0], ids[1], false);
            let events = events(&mut phone);
            assert!(events[0].starts_with("Replaced"), "{events:?}");
            let ended = phone.calls.get(ids[0]).unwrap().end.reason().cloned().unwrap();
            assert_eq!((ended.cause == EndCause::Completed, ended.by), (up, EndedBy::Remote), "{phase:?}");
        }
    }

    #[test]
    fn nobodys_place_is_taken_twice() {
        let (mut phone, ids) = with_calls(&[Phase::Terminating, Phase::Confirmed]);
        phone.take_place_of(ids[0], ids[1], false);
        assert!(events(&mut phone).is_empty());
    }

    #[test]
    fn when_one_of_two_ends_the_other_is_told() {
        // By us, or before it is up: the call that was to take its place ends too. By the other side, which has answered
        // the new one: it goes on.
        for (phase, by, goes_on) in [
            (Phase::Preparing, EndedBy::Remote, false),
            (Phase::Applying, EndedBy::Local, false),
            (Phase::Applying, EndedBy::Remote, true),
        ] {
            let (mut phone, ids) = with_calls(&[Phase::Confirmed, phase]);
            phone.calls.get_mut(ids[1]).unwrap().succession.set_replaces(ids[0]);
            phone.end_replacement(ids[0], None, by);
            let new = phone.calls.get(ids[1]).unwrap();
            assert_eq!((new.succession.replaces(), new.is_live()), (None, goes_on), "{phase:?} {by:?}");
        }
    }

    #[test]
    fn a_dialog_that_is_lost_ends_with_the_call_that_was_to_take_its_place() {
        for (status, ends) in [(Some(481), true), (None, false)] {
            let (mut phone, ids) = with_calls(&[Phase::Confirmed, Phase::Terminating]);
            let error = Error::new(ErrorCode::IceFailed, "lost");
            let error = match status {
                Some(status) => error.with_status(status),
                None => error,
            };
            phone.calls.get_mut(ids[0]).unwrap().taken_up = TakenUp::lost(error);
            phone.end_replacement(ids[1], Some(ids[0]), EndedBy::Remote);
            let old = phone.calls.get(ids[0]).unwrap();
            assert_eq!((old.end.is_over(), !old.taken_up.has_lost_dialog()), (ends, true), "{status:?}");
        }
    }

    #[test]
    fn a_replacement_that_cannot_be_dialled_is_given_up() {
        let (mut phone, ids) = with_calls(&[Phase::Confirmed]);
        let call = phone.calls.get_mut(ids[0]).unwrap();
        call.taken_up = TakenUp::lost(Error::new(ErrorCode::IceFailed, "no new association"));
        // There is no connection.
        phone.make_replacement(ids[0], "sip:bob@example.com".to_owned(), "x");
        let call = phone.calls.get(ids[0]).unwrap();
        assert!(call.is_live() && call.taken_up.is_resumed() && !call.taken_up.has_lost_dialog());
        assert_eq!(phone.calls.len(), 1);
    }
}
