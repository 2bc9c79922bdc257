//! DTMF that the application sends, and statistics: what the phone asks for, and when.

use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{CallId, CallState, Event, Input, MediaState, ToneMethod, Tones, TonesReport};

use super::bench::{Bench, Caller, answer, ms, secs};
use super::incoming::answered;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn send(bench: &mut Bench, call: CallId, tones: &str, method: ToneMethod) {
    let tones = Tones { tones: tones.into(), duration: 100, gap: 70, method };
    bench.phone.send_tones(bench.now, call, tones).unwrap();
    bench.drain();
}

fn report(bench: &mut Bench, call: CallId, report: TonesReport) {
    bench.input(Input::Tones(call, report));
}

fn outcomes(bench: &Bench) -> Vec<Option<ErrorCode>> {
    let outcome = |event: &Event| match event {
        Event::TonesDone(_, result) => Some(result.as_ref().err().map(|error| error.code)),
        _ => None,
    };
    bench.events.iter().filter_map(outcome).collect()
}

fn in_call() -> (Bench, CallId, Caller) {
    let mut bench = Bench::online();
    let (call, caller) = answered(&mut bench);
    bench.sent.clear();
    (bench, call, caller)
}

/// The body of the INFO that was sent last, which is accepted.
fn tone(bench: &mut Bench) -> String {
    let info = bench.take_request("INFO");
    assert_eq!(info.headers.content_type(), Some("application/dtmf-relay"));
    bench.reply(&answer(&info, 200, ""));
    String::from_utf8(info.body).unwrap()
}

#[test]
fn by_info_one_tone_follows_the_other() {
    let (mut bench, call, _caller) = in_call();
    send(&mut bench, call, "1,#", ToneMethod::Info);
    send(&mut bench, call, "9", ToneMethod::Info);
    assert_eq!(tone(&mut bench), "Signal=1\r\nDuration=100\r\n");
    bench.pass(ms(169) + secs(2));
    assert!(bench.sent.is_empty(), "the gap and the comma are not over");
    bench.pass(ms(1));
    assert_eq!(tone(&mut bench), "Signal=#\r\nDuration=100\r\n");
    assert_eq!(outcomes(&bench), []);
    bench.pass(ms(170));
    assert_eq!(outcomes(&bench), [None]);
    assert_eq!(tone(&mut bench), "Signal=9\r\nDuration=100\r\n");
    bench.pass(ms(170));
    assert_eq!(outcomes(&bench), [None, None]);
}

#[test]
fn an_info_that_is_refused_ends_its_tones_and_the_next_begin() {
    let (mut bench, call, _caller) = in_call();
    send(&mut bench, call, "12", ToneMethod::Info);
    send(&mut bench, call, "3", ToneMethod::Info);
    let info = bench.take_request("INFO");
    bench.reply(&answer(&info, 415, ""));
    assert_eq!(outcomes(&bench), [Some(ErrorCode::NotAcceptable)]);
    assert!(tone(&mut bench).starts_with("Signal=3"));
}

#[test]
fn tones_in_the_audio_wait_while_it_takes_none() {
    let (mut bench, call, _caller) = in_call();
    send(&mut bench, call, "123", ToneMethod::Audio);
    assert_eq!(bench.tones, []);
    report(&mut bench, call, TonesReport::Ready(true));
    assert_eq!(bench.tones, [(call, "123".to_owned())]);
    // The other side holds.
    report(&mut bench, call, TonesReport::Ready(false));
    report(&mut bench, call, TonesReport::Cut("3".into()));
    bench.pass(secs(60));
    assert_eq!((bench.tones.len(), outcomes(&bench)), (1, vec![]));
    report(&mut bench, call, TonesReport::Ready(true));
    assert_eq!(bench.tones.last(), Some(&(call, "3".to_owned())));
    report(&mut bench, call, TonesReport::Sent);
    assert_eq!(outcomes(&bench), [None]);
    report(&mut bench, call, TonesReport::Sent);
    assert_eq!(outcomes(&bench), [None], "nothing is under way");
}

#[test]
fn tones_that_the_browser_refuses_for_now_are_tried_again() {
    let (mut bench, call, _caller) = in_call();
    report(&mut bench, call, TonesReport::Ready(true));
    send(&mut bench, call, "1", ToneMethod::Audio);
    for tries in 1..=40 {
        assert_eq!((bench.tones.len(), outcomes(&bench)), (tries, vec![]));
        report(&mut bench, call, TonesReport::Refused { for_now: true });
        bench.pass(ms(50));
    }
    report(&mut bench, call, TonesReport::Refused { for_now: true });
    assert_eq!(outcomes(&bench), [Some(ErrorCode::MediaUnavailable)]);
    send(&mut bench, call, "1", ToneMethod::Audio);
    report(&mut bench, call, TonesReport::Refused { for_now: false });
    assert_eq!(outcomes(&bench).len(), 2);
}

#[test]
fn a_call_that_ends_sends_no_more_tones() {
    let (mut bench, call, mut caller) = in_call();
    send(&mut bench, call, "12", ToneMethod::Info);
    let info = bench.take_request("INFO");
    let bye = caller.request("BYE", None);
    super::bench::send(&mut bench, &bye);
    bench.sent.clear();
    bench.reply(&answer(&info, 200, ""));
    bench.pass(secs(60));
    assert!(bench.sent.is_empty() && outcomes(&bench).is_empty());
    let tones = Tones { tones: "1".into(), duration: 100, gap: 70, method: ToneMethod::Info };
    let error = bench.phone.send_tones(bench.now, call, tones).unwrap_err();
    assert_eq!(error.code, ErrorCode::Ended);
}

#[test]
fn only_tones_are_sent_and_only_in_an_answered_call() {
    let (mut bench, call, _caller) = in_call();
    for (text, code) in [("1E", ErrorCode::InvalidConfig), ("1\r\nX: y", ErrorCode::InvalidConfig)] {
        let tones = Tones { tones: text.into(), duration: 100, gap: 70, method: ToneMethod::Info };
        assert_eq!(bench.phone.send_tones(bench.now, call, tones).unwrap_err().code, code);
    }
    let other = bench.dial("sip:bob@example.com");
    let tones = Tones { tones: "1".into(), duration: 100, gap: 70, method: ToneMethod::Info };
    let error = bench.phone.send_tones(bench.now, other, tones).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidState);
}

#[test]
fn statistics_are_asked_for_once_and_only_of_an_active_call() {
    let (mut bench, call, _caller) = in_call();
    bench.phone.count_statistics(bench.now, call);
    bench.phone.count_statistics(bench.now, call);
    let due = bench.now + secs(2);
    bench.pass(secs(10));
    assert_eq!(bench.statistics, [(due, call)]);

    bench.phone.count_statistics(bench.now, call);
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Reconnecting);
    bench.pass(secs(3));
    assert_eq!(bench.statistics.len(), 1);
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    bench.pass(secs(3));
    assert_eq!(bench.statistics.len(), 2);
}
