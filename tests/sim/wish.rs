//! What the user last wished of a call's audio follows the call, whatever takes its place.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, secs, send, with_sdp};
use crate::incoming::{answered, ringing};
use wasm_softphone::phone::{CallId, CallNote, MediaCommand, PhoneConfig, TrackId, Wish};
use wasm_softphone::sip::message::Request;
use wasm_softphone::sip::sdp::Direction;

const MUTED: Wish = Wish { muted: true, listens_only: false, track: None };

/// INVITE with Replaces for the call that this caller has, from the same address.
pub fn replacing(other: &mut Caller, caller: &Caller) -> Request {
    let mut invite = other.request("INVITE", Some(OFFER));
    let to_tag = caller.to_tag.as_ref().unwrap();
    invite.headers.push("Replaces", format!("{};to-tag={to_tag};from-tag={}", caller.call_id, caller.tag));
    invite.headers.push("Require", "replaces");
    invite
}

fn mute(bench: &mut Bench, call: CallId, muted: bool) {
    bench.phone.mute(bench.now, call, muted).unwrap();
    bench.drain();
}

/// The call that takes the place of another.
fn newest(bench: &Bench) -> CallId {
    bench.phone.calls().last().unwrap().id
}

/// Privacy: the other side takes the place of a muted call, and hears nothing more than before.
#[test]
fn a_muted_call_is_replaced_by_a_muted_one() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    mute(&mut bench, old, true);
    let mut other = Caller::new("other");
    send(&mut bench, &replacing(&mut other, &caller));
    let ok = bench.take_response(200);
    let new = newest(&bench);
    assert_ne!(new, old);
    assert_eq!(bench.wishes[&new], MUTED);
    assert!(bench.phone.call(new).unwrap().wish.muted);
    other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &other.ack(1, None));
    assert!(bench.end_of(old).is_some());
    mute(&mut bench, new, false);
    assert_eq!(bench.wishes[&new], Wish::default());
}

/// Privacy: a call without a microphone goes on without one.
#[test]
fn no_microphone_opens_that_was_not_open() {
    let mut bench = Bench::online();
    let (old, mut caller, _) = ringing(&mut bench);
    bench.phone.listen_only(bench.now, old, true);
    bench.answer(old);
    let ok = bench.take_response(200);
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(&mut bench, &caller.ack(1, None));
    send(&mut bench, &replacing(&mut Caller::new("other"), &caller));
    bench.take_response(200);
    assert!(bench.wishes[&newest(&bench)].listens_only);
}

#[test]
fn what_the_configuration_says_later_opens_no_microphone_either() {
    let mut bench = Bench::new(PhoneConfig { listens_only: true, ..config() });
    bench.connect();
    let (_, caller) = answered(&mut bench);
    bench.phone.configure(config());
    send(&mut bench, &replacing(&mut Caller::new("other"), &caller));
    bench.take_response(200);
    assert!(bench.wishes[&newest(&bench)].listens_only);
}

/// What is said to the old call while the new one is being set up counts for both, and what is said to the new one
/// counts more.
#[test]
fn a_wish_reaches_the_call_that_is_about_to_take_the_place() {
    let mut bench = Bench::online();
    let (old, caller) = answered(&mut bench);
    bench.media = Media::Manual;
    send(&mut bench, &replacing(&mut Caller::new("other"), &caller));
    let new = newest(&bench);
    mute(&mut bench, old, true);
    bench.phone.replace_track(bench.now, old, Some(TrackId(7))).unwrap();
    bench.drain();
    assert_eq!(bench.wishes[&new], Wish { track: Some(TrackId(7)), ..MUTED });
    mute(&mut bench, new, false);
    mute(&mut bench, old, false);
    mute(&mut bench, old, true);
    assert!(!bench.wishes[&new].muted, "it has a wish of its own");
    let hold = MediaCommand::Flow(Direction::Inactive);
    bench.phone.hold(bench.now, old).unwrap();
    bench.drain();
    assert!(bench.jobs.iter().any(|(id, _, job)| *id == new && *job == hold), "held before it is up");
}

#[test]
fn a_transfer_that_is_accepted_while_muted_makes_a_muted_call() {
    let mut bench = Bench::online();
    let (old, mut caller) = answered(&mut bench);
    mute(&mut bench, old, true);
    bench.phone.replace_track(bench.now, old, Some(TrackId(1))).unwrap();
    let mut refer = caller.request("REFER", None);
    refer.headers.push("Refer-To", "<sip:carol@example.com>");
    send(&mut bench, &refer);
    let new = bench.phone.accept_transfer(bench.now, old).unwrap();
    bench.drain();
    assert_eq!(bench.wishes[&new], Wish { track: Some(TrackId(1)), ..MUTED });
    assert_eq!(bench.phone.call(new).unwrap().continues, Some(old));
}

/// Hold, re-INVITE, UPDATE and a new association are the same call: nothing is said again, and nothing is forgotten.
#[test]
fn a_wish_stays_through_all_that_happens_within_a_call() {
    let mut bench = Bench::online();
    let (call, mut caller) = answered(&mut bench);
    mute(&mut bench, call, true);
    for _ in 0..2 {
        let request = caller.request("INVITE", Some(OFFER));
        send(&mut bench, &request);
        let ack = caller.ack(caller.seq, None);
        send(&mut bench, &ack);
    }
    assert_eq!(bench.wishes[&call], MUTED);
    bench.hangup(call);
    assert_eq!(bench.phone.mute(bench.now, call, false).unwrap_err().code.as_str(), "ended");
}

#[test]
fn a_call_is_muted_before_it_has_media() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let (call, ..) = ringing(&mut bench);
    mute(&mut bench, call, true);
    assert!(bench.wishes.is_empty());
    bench.answer(call);
    assert_eq!(bench.wishes[&call], MUTED);
}

// ---- the application's element

fn element(bench: &Bench, call: CallId) -> bool {
    bench.has_element(call)
}

/// A call of ours that is up.
fn dialled(bench: &mut Bench) -> (CallId, Caller) {
    let call = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    (call, Caller::callee(&invite, "b"))
}

/// A is held, B answered, B ends, A is taken back: it is heard.
#[test]
fn the_call_that_may_be_heard_has_the_element() {
    let mut bench = Bench::online();
    let (a, _) = dialled(&mut bench);
    bench.phone.hold(bench.now, a).unwrap();
    bench.drain();
    crate::transfer::let_hold(&mut bench);
    let (b, _) = answered(&mut bench);
    assert!(element(&bench, b) && !element(&bench, a));
    bench.hangup(b);
    bench.lines();
    bench.phone.unhold(bench.now, a).unwrap();
    bench.drain();
    assert!(element(&bench, a));
}

/// Both may be heard: the later one has the element, the other one plays elsewhere until it is alone again.
#[test]
fn of_two_calls_that_may_be_heard_the_later_has_the_element() {
    let mut bench = Bench::online();
    let (a, _) = dialled(&mut bench);
    let rings = bench.phone.calls().len();
    let (b, _) = answered(&mut bench);
    assert_eq!(rings, 1);
    assert!(element(&bench, b) && !element(&bench, a));
    bench.phone.hold(bench.now, b).unwrap();
    bench.drain();
    assert!(element(&bench, a) && !element(&bench, b));
    crate::transfer::let_hold(&mut bench);
    bench.phone.unhold(bench.now, b).unwrap();
    bench.drain();
    assert!(element(&bench, b) && !element(&bench, a));
    bench.hangup(b);
    assert!(element(&bench, a));
}

// ---- every wish, every way

/// A call that is up with this wish.
fn wished(bench: &mut Bench, wish: Wish) -> (CallId, Caller) {
    let (call, mut caller, _) = ringing(bench);
    bench.phone.listen_only(bench.now, call, wish.listens_only);
    bench.answer(call);
    let ok = bench.take_response(200);
    caller.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
    send(bench, &caller.ack(1, None));
    mute(bench, call, wish.muted);
    bench.phone.replace_track(bench.now, call, wish.track).unwrap();
    bench.drain();
    (call, caller)
}

type Way = fn(&mut Bench, CallId, &mut Caller);

/// All that may take the place of a call, the newest call being it afterwards.
const WAYS: [(&str, Way); 4] = [
    ("replaced", |bench, _, caller| {
        send(bench, &replacing(&mut Caller::new("other"), caller));
    }),
    ("replaced twice", |bench, _, caller| {
        let mut other = Caller::new("other");
        send(bench, &replacing(&mut other, caller));
        let ok = bench.take_response(200);
        other.to_tag = ok.headers.to().unwrap().tag().map(str::to_owned);
        send(bench, &other.ack(1, None));
        bench.lines();
        send(bench, &replacing(&mut Caller::new("third"), &other));
    }),
    ("answered in its place", |bench, _, caller| {
        let mut invite = replacing(&mut Caller::new("other"), caller);
        invite.headers.set("From", "<sip:carol@example.com>;tag=c");
        send(bench, &invite);
        let rings = bench.incoming();
        bench.answer(rings);
    }),
    ("transferred", |bench, call, caller| {
        let mut refer = caller.request("REFER", None);
        refer.headers.push("Refer-To", "<sip:carol@example.com>");
        send(bench, &refer);
        bench.phone.accept_transfer(bench.now, call).unwrap();
        bench.drain();
    }),
];

#[test]
fn every_wish_goes_every_way() {
    for bits in 0..8 {
        let wish = Wish {
            muted: bits & 1 != 0,
            listens_only: bits & 2 != 0,
            track: (bits & 4 != 0).then_some(TrackId(9)),
        };
        for (name, way) in WAYS {
            let mut bench = Bench::online();
            let (call, mut caller) = wished(&mut bench, wish);
            bench.lines();
            // What the configuration says by now is for new calls.
            bench.phone.configure(PhoneConfig { listens_only: !wish.listens_only, ..config() });
            way(&mut bench, call, &mut caller);
            let new = newest(&bench);
            assert_ne!(new, call, "{name}");
            assert_eq!(bench.wishes[&new], wish, "{name}");
            assert_eq!(bench.microphones[&new], !wish.listens_only, "{name}");
        }
        // In another page, where the track is not.
        let mut bench = Bench::online();
        wished(&mut bench, wish);
        let record = bench.phone.record(&|_| CallNote::default()).unwrap();
        let mut next = Bench::seeded(config(), 77);
        next.phone.resume(next.now, &record, secs(2)).unwrap();
        next.connect();
        assert_eq!(next.wishes[&newest(&next)], Wish { track: None, ..wish });
    }
}
