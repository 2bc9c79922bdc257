//! Calls with real media: the crate's own phone with str0m in the place of the browser, calling the numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{PATIENCE, RawPhone, Server, Softphone, share};
use sandbox::media::Playback;
use sandbox::numbers::Notice;
use tokio::time::{Instant, timeout};
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallId, CallState, DialRequest, Direction, EndCause, EndReason, EndedBy, Event, RegistrationState,
};

/// A registered phone that plays 660 Hz into its calls.
async fn alice(server: &Server) -> Softphone {
    let mut phone = Softphone::connect(server, "alice", Playback::Tone(660)).await;
    phone
        .wait("the registration", |notice| match notice {
            Notice::Phone(Event::ConnectDone(result)) => {
                assert_eq!(*result, Ok(()));
                Some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(phone.agent.phone().registration(), RegistrationState::Registered);
    phone
}

fn dial(phone: &mut Softphone, number: &str) -> CallId {
    let target = format!("sip:{number}@sandbox.test");
    phone.agent.dial(DialRequest { target, ..DialRequest::default() }).unwrap()
}

async fn until_state(phone: &mut Softphone, call: CallId, wanted: CallState) {
    phone
        .wait(&format!("{wanted:?}"), |notice| match notice {
            Notice::Phone(Event::CallState(id, state)) if *id == call => {
                assert!(*state == wanted || *state != CallState::Ended, "ended before {wanted:?}");
                (*state == wanted).then_some(())
            }
            _ => None,
        })
        .await;
}

async fn until_ended(phone: &mut Softphone, call: CallId) -> EndReason {
    phone
        .wait("the end", |notice| match notice {
            Notice::Phone(Event::Ended(id, reason)) if *id == call => Some(reason.clone()),
            _ => None,
        })
        .await
}

fn assert_tone(samples: &[i16], hertz: f64) {
    let share = share(samples, hertz);
    assert!(share > 0.8, "{hertz} Hz has {share:.2} of the power");
}

#[tokio::test]
async fn the_echo_gives_back_what_it_hears() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let call = dial(&mut alice, "600");
    until_state(&mut alice, call, CallState::Active).await;
    let heard = alice.listen(call).await;
    assert_tone(&heard, 660.0);
    assert!(share(&heard, 440.0) < 0.05);
    alice.agent.hangup(call);
    let reason = until_ended(&mut alice, call).await;
    assert_eq!((reason.cause, reason.by), (EndCause::Completed, EndedBy::Local));
    alice.run_while(server.wait_for("alice -> 600 calling")).await;
    alice.run_while(server.wait_for("alice -> 600 answered")).await;
}

#[tokio::test]
async fn the_tone_is_a_at_440_hertz() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let call = dial(&mut alice, "601");
    until_state(&mut alice, call, CallState::Active).await;
    assert_tone(&alice.listen(call).await, 440.0);
}

#[tokio::test]
async fn busy_and_declined_have_their_codes() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    for (number, code) in [("602", ErrorCode::Busy), ("604", ErrorCode::Declined)] {
        let call = dial(&mut alice, number);
        let EndCause::Failed(error) = until_ended(&mut alice, call).await.cause else {
            panic!("{number} was answered");
        };
        assert_eq!(error.code, code);
    }
}

#[tokio::test]
async fn early_media_is_heard_before_the_answer() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let mut bob = RawPhone::registered(&server, "bob").await;
    let mut invite = bob.invite("605");
    let algorithm = wasm_softphone::sip::digest::Algorithm::Sha256;
    bob.sign_and_send(&mut invite, algorithm, None).await;
    let mut early = bob.response().await;
    while early.status == 180 {
        early = bob.response().await;
    }
    let at = Instant::now();
    assert_eq!((early.status, early.body.is_empty()), (183, false));
    let ok = bob.response().await;
    assert_eq!((ok.status, &ok.body), (200, &early.body), "the 200 repeats the early answer");
    assert!(at.elapsed().as_millis() > 1500, "answered after {:?}", at.elapsed());

    let call = dial(&mut alice, "605");
    until_state(&mut alice, call, CallState::EarlyMedia).await;
    until_state(&mut alice, call, CallState::Active).await;
    assert_tone(&alice.listen(call).await, 440.0);
}

#[tokio::test]
async fn the_short_call_is_hung_up_by_the_number() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let call = dial(&mut alice, "606");
    until_state(&mut alice, call, CallState::Active).await;
    let at = Instant::now();
    let reason = until_ended(&mut alice, call).await;
    assert_eq!((reason.cause, reason.by), (EndCause::Completed, EndedBy::Remote));
    let lasted = at.elapsed().as_secs_f64();
    assert!((2.5..10.0).contains(&lasted), "{lasted} s");
    server.wait_for("alice -> 606 hung up by 606 after 3 s").await;
}

#[tokio::test]
async fn the_number_that_calls_back() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let call = dial(&mut alice, "607");
    until_state(&mut alice, call, CallState::Active).await;
    alice.agent.hangup(call);
    let back = alice
        .wait("the call back", |notice| match notice {
            Notice::Phone(Event::Incoming(call)) => Some(*call),
            _ => None,
        })
        .await;
    let info = alice.agent.phone().call(back).unwrap();
    assert_eq!((info.direction, info.remote_uri.as_str()), (Direction::Incoming, "sip:607@sandbox.test"));
    alice.agent.answer(back).unwrap();
    until_state(&mut alice, back, CallState::Active).await;
    assert_tone(&alice.listen(back).await, 440.0);
    alice.agent.hangup(back);
    until_ended(&mut alice, back).await;
    alice.run_while(server.wait_for("607 -> alice answered")).await;
    // Once is enough: the end of the call back is not followed by another.
    let more = timeout(
        std::time::Duration::from_secs(3),
        alice
            .wait("another call", |notice| matches!(notice, Notice::Phone(Event::Incoming(_))).then_some(())),
    );
    assert!(more.await.is_err());
}

#[tokio::test]
async fn many_calls_to_one_number_at_once() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let calls: Vec<CallId> = (0..4).map(|_| dial(&mut alice, "600")).collect();
    let mut active = 0;
    alice
        .wait("four answers", |notice| {
            active += usize::from(matches!(notice, Notice::Phone(Event::CallState(_, CallState::Active))));
            (active == calls.len()).then_some(())
        })
        .await;
    for call in calls {
        assert_tone(&alice.listen(call).await, 660.0);
    }
}

#[tokio::test]
async fn a_caller_whose_media_vanishes_is_hung_up_on() {
    let server = Server::start().await;
    let mut alice = alice(&server).await;
    let call = dial(&mut alice, "601");
    until_state(&mut alice, call, CallState::Active).await;
    alice.listen(call).await;
    // The whole phone goes, without a BYE.
    drop(alice);
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        let log = server.log();
        if log.iter().any(|line| line.starts_with("alice -> 601 hung up by 601")) {
            return;
        }
        assert!(Instant::now() < deadline, "{log:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
