//! The page is closed, left, or put aside: what is said within that very moment, and to whom.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, ms, secs, send, with_sdp};
use crate::incoming::{answered, ringing};
use crate::recovery::{register, registering, states, talking};
use wasm_softphone::phone::{
    CallId, CallNote, CallState, ConnectionState, Input, MediaValue, PageKept, PhoneConfig,
    RegistrationState, SubscribeRequest,
};

/// Where a call is when the page goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// The microphone is being opened.
    Preparing,
    /// The INVITE is out, and nothing has been said to it.
    Inviting,
    /// It rings there.
    Proceeding,
    /// It was hung up before anything was said to the INVITE.
    GivenUp,
    /// The 2xx has come, and its answer is being set.
    Applying,
    /// This phone has called.
    Outgoing,
    /// It rings here.
    Ringing,
    /// The answer is being made.
    Answering,
    /// Our 2xx waits for its ACK.
    Accepted,
    /// It was hung up while our 2xx waits for its ACK.
    HungUp,
    /// This phone was called.
    Incoming,
    /// Both sides hold, and an offer of ours is out.
    Holding,
}

const ALL: [At; 12] = [
    At::Preparing,
    At::Inviting,
    At::Proceeding,
    At::GivenUp,
    At::Applying,
    At::Outgoing,
    At::Ringing,
    At::Answering,
    At::Accepted,
    At::HungUp,
    At::Incoming,
    At::Holding,
];

fn registered(config: PhoneConfig) -> Bench {
    let mut bench = Bench::new(config);
    bench.connect();
    register(&mut bench);
    bench
}

fn reach(at: At, config: PhoneConfig) -> (Bench, CallId) {
    let mut bench = registered(config);
    let call = match at {
        At::Preparing => {
            bench.media = Media::Manual;
            bench.dial("sip:bob@example.com")
        }
        At::Inviting | At::Proceeding | At::GivenUp | At::Applying | At::Outgoing | At::Holding => {
            let call = bench.dial("sip:bob@example.com");
            let invite = bench.take_request("INVITE");
            match at {
                At::Inviting => {}
                At::Proceeding => bench.reply(&answer(&invite, 180, "b")),
                At::GivenUp => bench.hangup(call),
                _ => {
                    if at == At::Applying {
                        bench.media = Media::Manual;
                    }
                    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
                }
            }
            if at == At::Holding {
                bench.phone.hold(bench.now, call).unwrap();
                bench.drain();
            }
            call
        }
        At::Ringing => ringing(&mut bench).0,
        At::Answering => {
            let (call, ..) = ringing(&mut bench);
            bench.media = Media::Manual;
            bench.answer(call);
            call
        }
        At::Accepted | At::HungUp => {
            let (call, ..) = ringing(&mut bench);
            bench.answer(call);
            if at == At::HungUp {
                bench.hangup(call);
            }
            call
        }
        At::Incoming => answered(&mut bench).0,
    };
    bench.lines();
    bench.events.clear();
    (bench, call)
}

/// What is said to the other side of the call.
const fn goodbye(at: At) -> &'static [&'static str] {
    match at {
        At::Preparing => &[],
        At::Inviting | At::Proceeding | At::GivenUp => &["CANCEL"],
        At::Ringing | At::Answering => &["480 INVITE"],
        At::Applying | At::Outgoing | At::Accepted | At::HungUp | At::Incoming | At::Holding => &["BYE"],
    }
}

const fn can_be_resumed(at: At) -> bool {
    matches!(at, At::Outgoing | At::Incoming | At::Holding)
}

/// `page closed without resume → no BYE, no un-REGISTER`
#[test]
fn a_page_that_goes_says_goodbye_at_once_in_every_state_of_a_call() {
    for at in ALL {
        let (mut bench, _) = reach(at, registering());
        bench.input(Input::PageHide(PageKept::Nothing));
        let sent = bench.sent.clone();
        let mut expected = goodbye(at).to_vec();
        expected.push("REGISTER");
        assert_eq!(bench.lines(), expected, "{at:?}");
        assert_eq!(sent.last().unwrap().headers().get("Expires"), Some("0"), "{at:?}");
        assert!(bench.phone.calls().is_empty(), "{at:?}");
        // Should the page be there all the same, it has a phone that has been disconnected.
        bench.pass(secs(3));
        bench.nothing_sent();
        assert_eq!(bench.phone.connection(), ConnectionState::Disconnected, "{at:?}");
    }
}

#[test]
fn what_the_next_page_takes_up_is_left_alone_and_the_rest_ends() {
    for at in ALL {
        let (mut bench, call) = reach(at, registering());
        bench.input(Input::PageHide(PageKept::Calls));
        let mut expected = goodbye(at).to_vec();
        expected.push("REGISTER");
        if can_be_resumed(at) {
            expected.clear();
            assert!(bench.phone.record(&|_| CallNote::default()).is_some());
            assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
        }
        assert_eq!(bench.lines(), expected, "{at:?}");
    }
    // Beside a call that goes on, the registration stays where the next page looks for it.
    let (mut bench, call, _) = talking(registering(), true);
    let (second, ..) = ringing(&mut bench);
    let dialled = bench.dial("sip:carol@example.com");
    bench.lines();
    bench.input(Input::PageHide(PageKept::Calls));
    assert_eq!(bench.lines(), ["480 INVITE", "CANCEL"]);
    assert!(bench.end_of(call).is_none());
    assert!(bench.end_of(second).is_some() && bench.end_of(dialled).is_some());
    assert_eq!(bench.registration(), RegistrationState::Registered);
}

#[test]
fn a_page_that_the_browser_keeps_says_nothing_and_goes_on() {
    for at in ALL {
        let (mut bench, _) = reach(at, registering());
        let before = bench.phone.calls();
        bench.input(Input::PageHide(PageKept::Page));
        bench.nothing_sent();
        assert_eq!(bench.phone.calls(), before, "{at:?}");
    }
    let (mut bench, call, mut far) = talking(registering(), true);
    bench.input(Input::PageHide(PageKept::Page));
    // It is shown again; the browser has closed the socket meanwhile.
    bench.cut();
    register(&mut bench);
    let update = bench.take_request("UPDATE");
    bench.reply(&answer(&update, 200, ""));
    assert_eq!(states(&bench, call), [CallState::Reconnecting, CallState::Active]);
    send(&mut bench, &far.request("BYE", None));
    bench.take_response(200);
}

#[test]
fn with_hangup_on_unload_off_a_page_goes_without_a_word() {
    for at in ALL {
        for kept in [PageKept::Nothing, PageKept::Calls, PageKept::Page] {
            let config = PhoneConfig { hangup_on_unload: false, ..registering() };
            let (mut bench, _) = reach(at, config);
            let before = bench.phone.calls();
            bench.input(Input::PageHide(kept));
            bench.nothing_sent();
            assert_eq!(bench.phone.calls(), before, "{at:?} {kept:?}");
        }
    }
}

#[test]
fn a_phone_without_a_call_is_un_registered_and_its_subscriptions_end() {
    let mut bench = registered(registering());
    let request = SubscribeRequest {
        target: "sip:alice@example.com".into(),
        event: "message-summary".into(),
        accept: vec!["application/simple-message-summary".into()],
        expires: secs(600),
    };
    bench.phone.subscribe(bench.now, request).unwrap();
    bench.drain();
    let subscribe = bench.take_request("SUBSCRIBE");
    bench.reply(&answer(&subscribe, 200, "n"));
    bench.lines();
    bench.input(Input::PageHide(PageKept::Calls));
    let said = bench.sent.clone();
    assert_eq!(bench.lines(), ["SUBSCRIBE", "REGISTER"]);
    assert!(said.iter().all(|message| message.headers().get("Expires") == Some("0")));
}

/// What cannot be said now is never said: nothing is opened for it, and nothing is queued in vain.
#[test]
fn a_phone_without_a_connection_says_nothing() {
    let mut bench = Bench::new(registering());
    bench.input(Input::PageHide(PageKept::Nothing));
    bench.nothing_sent();
    assert!(bench.events.is_empty() && bench.opened.is_empty());

    // An INVITE that waits for the next connection has not left: there is nothing to cancel.
    let (mut bench, call) = reach(At::Preparing, registering());
    bench.reachable = false;
    bench.cut();
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    bench.input(Input::PageHide(PageKept::Nothing));
    bench.nothing_sent();
    assert!(bench.end_of(call).is_some());
}

/// A REGISTER under way binds, whatever becomes of its answer.
#[test]
fn a_page_that_goes_while_it_registers_takes_that_back() {
    let mut bench = Bench::new(registering());
    bench.connect();
    bench.take_request("REGISTER");
    bench.input(Input::PageHide(PageKept::Nothing));
    assert_eq!(bench.take_request("REGISTER").headers.get("Expires"), Some("0"));
}

#[test]
fn an_answer_that_comes_too_late_opens_nothing() {
    let (mut bench, _) = reach(At::Answering, registering());
    bench.input(Input::PageHide(PageKept::Nothing));
    bench.lines();
    let (call, seq, _) = bench.jobs.first().cloned().unwrap();
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Local(ANSWER.into())) });
    bench.nothing_sent();

    // The ACK, behind the BYE.
    let mut bench = registered(registering());
    let (call, mut caller, _) = ringing(&mut bench);
    bench.answer(call);
    bench.lines();
    bench.input(Input::PageHide(PageKept::Nothing));
    assert_eq!(bench.lines(), ["BYE", "REGISTER"]);
    caller.to_tag = Some("t".into());
    send(&mut bench, &caller.ack(1, None));
    bench.pass(ms(1900));
    bench.nothing_sent();
    // A call that comes meanwhile is not answered as if somebody were there.
    let mut late = Caller::new("late");
    send(&mut bench, &late.request("INVITE", Some(OFFER)));
    assert!(!bench.lines().contains(&"180 INVITE".to_owned()));
}
