//! Offers and answers, each judged whole before the browser sees it, whichever message it comes in (RFC 3264, RFC 8829).

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::bench::{
    ANSWER, Bench, Caller, Media, OFFER, answer, config, describes, ms, secs, send, with_sdp,
};
use crate::hold::{call, done, hold, offered, with};
use wasm_softphone::phone::{
    CallId, CallState, EndCause, Event, Input, MediaCommand, MediaError, MediaValue,
};
use wasm_softphone::sip::message::{Request, Response};
use wasm_softphone::sip::sdp::Direction;

const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n";
const FAX: &str = "m=image 49170 udptl t38\r\n";

/// The call goes on, and nothing has changed.
fn undisturbed(bench: &mut Bench, id: CallId) {
    let info = bench.phone.call(id).unwrap();
    assert_eq!((info.state, info.local_hold, info.remote_hold), (CallState::Active, false, false));
    bench.pass(secs(120));
    bench.nothing_sent();
    hold(bench, id, true);
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "recvonly")));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(done(bench), [Ok(())]);
}

fn media_lines(body: &[u8]) -> Vec<String> {
    let text = str::from_utf8(body).unwrap();
    text.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
}

fn origin(body: &[u8]) -> (String, u32) {
    let text = str::from_utf8(body).unwrap();
    let words: Vec<&str> = text.lines().nth(1).unwrap().split(' ').collect();
    (words[1].to_owned(), words[2].parse().unwrap())
}

fn flowing(bench: &Bench) -> Option<Direction> {
    bench.jobs.iter().rev().find_map(|(_, _, command)| match command {
        MediaCommand::Flow(direction) => Some(*direction),
        _ => None,
    })
}

/// What phones and gateways offer that a browser cannot take, the status and a word of the reason.
fn useless() -> Vec<(String, u16, &'static str)> {
    let fax = format!("{}{FAX}", OFFER.replace("audio 9 ", "audio 0 "));
    vec![
        (fax, 488, "304"),
        (OFFER.replace("m=audio", "m=image"), 488, "304"),
        (OFFER.replace("a=rtcp-mux\r\n", ""), 488, "rtcp-mux"),
        (OFFER.replace("a=fingerprint:sha-256 AA:01\r\n", ""), 488, "DTLS-SRTP"),
        (OFFER.replace("a=ice-ufrag:offr\r\n", ""), 488, "ICE"),
        (OFFER.replace(" 111 8 0", " 18 101").replace("111 opus", "18 G729"), 488, "305"),
        ("no sdp".to_owned(), 488, "malformed"),
    ]
}

fn refused(response: &Response, word: &str) {
    let warning = response.headers.get("Warning").unwrap();
    assert!(warning.contains(word), "{warning}");
    assert_eq!(warning.split(' ').next().unwrap().len(), 3, "{warning}");
}

#[test]
fn an_offer_that_leaves_no_audio_is_refused_and_the_call_goes_on_as_it_was() {
    for method in ["INVITE", "UPDATE"] {
        for (offer, status, word) in useless() {
            let mut bench = Bench::online();
            let (id, mut caller) = call(&mut bench);
            let request = caller.request(method, Some(&offer));
            send(&mut bench, &request);
            refused(&bench.take_response(status), word);
            assert!(bench.jobs.is_empty(), "the browser sees nothing of it");
            assert!(bench.events.iter().all(|event| matches!(event, Event::Log(..))), "{:?}", bench.events);
            undisturbed(&mut bench, id);
        }
    }
}

#[test]
fn an_offer_that_no_browser_takes_does_not_ring() {
    for (offer, status, word) in useless() {
        let mut bench = Bench::online();
        send(&mut bench, &Caller::new("useless").request("INVITE", Some(&offer)));
        refused(&bench.take_response(status), word);
        assert!(bench.phone.calls().is_empty());
        assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))));
    }
}

/// Video, fax, data and a second audio line are refused, in their places; and so they stay, in whoever's descriptions.
#[test]
fn every_line_but_the_calls_audio_is_refused_and_none_is_lost() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    let second = OFFER.split_once("m=audio").unwrap().1.replace("a=mid:0", "a=mid:2");
    let offer = format!("{OFFER}{VIDEO}m=audio{second}{FAX}").replace("BUNDLE 0", "BUNDLE 0 1 2");
    send(&mut bench, &caller.request("INVITE", Some(&offer)));
    bench.take_response(100);
    let ok = bench.take_response(200);
    let refused =
        ["m=video 0 UDP/TLS/RTP/SAVPF 96", "m=audio 0 UDP/TLS/RTP/SAVPF 111 8 0", "m=image 0 udptl t38"];
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 8".to_owned();
    assert_eq!(media_lines(&ok.body)[0], audio);
    assert_eq!(media_lines(&ok.body)[1..], refused);
    let seen = bench.jobs.iter().find_map(|(_, _, command)| match command {
        MediaCommand::Renegotiate { offer, .. } => Some(offer.clone()),
        _ => None,
    });
    assert_eq!(seen.as_deref(), Some(OFFER), "the browser knows of one line");
    send(&mut bench, &caller.ack(caller.seq, None));
    // Ours has as many, and the answer is read by its first.
    hold(&mut bench, id, true);
    let invite = bench.take_request("INVITE");
    assert_eq!(media_lines(&invite.body)[1..], refused);
    let agreed = format!(
        "{}m=video 0 UDP/TLS/RTP/SAVPF 96\r\nm=audio 0 x 0\r\nm=image 0 udptl t38\r\n",
        with(ANSWER, "recvonly")
    );
    bench.reply(&with_sdp(answer(&invite, 200, ""), &agreed));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(done(&bench), [Ok(())]);
    // Fewer than before are no offer (RFC 3264, section 8).
    send(&mut bench, &caller.request("INVITE", Some(OFFER)));
    assert_eq!(bench.lines(), ["488 INVITE"]);
}

/// RFC 3264, section 8: one name, and each description has the next number, whichever connection the browser makes it by.
#[test]
fn a_session_keeps_its_name_through_another_association() {
    let mut bench = Bench::online();
    let (id, mut caller) = call(&mut bench);
    let mut last = None;
    for round in 0..6 {
        bench.media = Media::Manual;
        bench.jobs.clear();
        let body = if round % 2 == 0 {
            send(&mut bench, &caller.request("UPDATE", Some(OFFER)));
            let other = ANSWER.replace("o=- 2 2 ", &format!("o=- 77{round} 2 "));
            bench.finish_job(Ok(MediaValue::Local(other)));
            bench.take_response(200).body
        } else {
            hold(&mut bench, id, round % 4 == 1);
            bench.jobs.retain(|(_, _, command)| !matches!(command, MediaCommand::Flow(_)));
            bench.finish_job(Ok(MediaValue::Local(OFFER.replace("o=- 1 1 ", &format!("o=- 88{round} 9 ")))));
            let invite = bench.take_request("INVITE");
            bench.media = Media::Prompt;
            bench.reply(&with_sdp(
                answer(&invite, 200, ""),
                &with(ANSWER, if round % 4 == 1 { "recvonly" } else { "sendrecv" }),
            ));
            bench.take_request("ACK");
            invite.body
        };
        let (name, version) = origin(&body);
        if let Some((known, number)) = last {
            assert_eq!((&name, version), (&known, number + 1));
        }
        last = Some((name, version));
    }
}

// ---- offerless

/// CUCM's resume: `inactive`, then an INVITE without an offer (RFC 3261, section 14.2, RFC 6337, section 5.1).
#[test]
fn a_re_invite_without_an_offer_is_answered_by_all_that_we_want() {
    for (held, answered, direction, flow, remote) in [
        (false, "sendrecv", Direction::SendRecv, Direction::SendRecv, false),
        (false, "inactive", Direction::SendRecv, Direction::RecvOnly, true),
        (false, "recvonly", Direction::SendRecv, Direction::SendRecv, false),
        (true, "recvonly", Direction::Inactive, Direction::Inactive, true),
    ] {
        let mut bench = Bench::online();
        let (id, mut caller) = call(&mut bench);
        send(&mut bench, &caller.request("INVITE", Some(&with(OFFER, "inactive"))));
        assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
        send(&mut bench, &caller.ack(caller.seq, None));
        assert!(bench.phone.call(id).unwrap().remote_hold);
        if held {
            hold(&mut bench, id, true);
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "inactive")));
            bench.take_request("ACK");
        }
        bench.events.clear();
        send(&mut bench, &caller.request("INVITE", None));
        assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
        assert_eq!(offered(&bench).last(), Some(&direction));
        assert!(bench.phone.call(id).unwrap().remote_hold, "until its answer says otherwise");
        send(&mut bench, &caller.ack(caller.seq, Some(&with(ANSWER, answered))));
        assert_eq!(flowing(&bench), Some(flow), "{answered}");
        assert_eq!(bench.phone.call(id).unwrap().remote_hold, remote, "{answered}");
        let told = bench.events.contains(&Event::Hold { call: id, local: held, remote: false });
        assert_eq!(told, !remote, "{answered}");
        bench.pass(secs(60));
        bench.nothing_sent();
    }
}

/// Many phones answer `inactive` to a hold and `sendonly` to its end while they hold themselves.
#[test]
fn whoever_is_held_goes_on_asking_for_both_directions() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    let agree = |bench: &mut Bench, on: bool, direction: &str| {
        hold(bench, id, on);
        let invite = bench.take_request("INVITE");
        bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, direction)));
        bench.take_request("ACK");
        bench.phone.call(id).unwrap().remote_hold
    };
    assert!(!agree(&mut bench, true, "inactive"));
    assert!(agree(&mut bench, false, "sendonly"));
    assert!(agree(&mut bench, true, "inactive"));
    assert!(agree(&mut bench, false, "sendonly"));
    assert_eq!(offered(&bench).last(), Some(&Direction::SendRecv));
    agree(&mut bench, true, "recvonly");
    assert!(!agree(&mut bench, false, "sendrecv"), "it is for the other side to say");
    assert_eq!(flowing(&bench), Some(Direction::SendRecv));
}

/// A call that only listens offers `recvonly`: an answer of `sendonly` is all that it can get.
#[test]
fn a_call_that_only_listens_is_not_held_by_an_answer_that_only_sends() {
    for (answered, held) in [("sendonly", false), ("inactive", true)] {
        let mut bench = Bench::online();
        bench.media = Media::Manual;
        let id = bench.dial("sip:bob@example.com");
        bench.finish_job(Ok(MediaValue::Local(with(OFFER, "recvonly"))));
        let invite = bench.take_request("INVITE");
        bench.media = Media::Prompt;
        bench.reply(&with_sdp(answer(&invite, 200, "b"), &with(ANSWER, answered)));
        assert_eq!(bench.lines(), ["ACK"]);
        let info = bench.phone.call(id).unwrap();
        assert_eq!((info.state, info.remote_hold), (CallState::Active, held), "{answered}");
    }
}

/// The direction counts in the offer and the answer that make the call too.
#[test]
fn a_call_can_begin_on_hold() {
    for (direction, held) in
        [("sendonly", true), ("inactive", true), ("recvonly", false), ("sendrecv", false)]
    {
        let mut bench = Bench::online();
        let id = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        // Announcements before the answer only send, and hold nobody.
        bench.reply(&with_sdp(answer(&invite, 183, "b"), &with(ANSWER, "sendonly")));
        assert!(!bench.phone.call(id).unwrap().remote_hold);
        bench.reply(&with_sdp(answer(&invite, 200, "b"), &with(ANSWER, direction)));
        assert_eq!(bench.phone.call(id).unwrap().remote_hold, held, "{direction}");
        assert_eq!(bench.events.contains(&Event::Hold { call: id, local: false, remote: true }), held);

        let mut bench = Bench::online();
        let mut caller = Caller::new("held");
        send(&mut bench, &caller.request("INVITE", Some(&with(OFFER, direction))));
        let id = bench.incoming();
        bench.answer(id);
        caller.to_tag = bench.take_response(180).headers.to_tag();
        bench.take_response(200);
        send(&mut bench, &caller.ack(1, None));
        let info = bench.phone.call(id).unwrap();
        assert_eq!((info.state, info.remote_hold), (CallState::Active, held), "{direction}");
    }
}

// ---- answers that cannot be used

/// Without audio, without keys, none at all.
fn bad_answers() -> Vec<Option<String>> {
    vec![
        Some(ANSWER.replace("audio 9 ", "audio 0 ")),
        Some(ANSWER.replace("a=fingerprint:sha-256 BB:02\r\n", "")),
        Some("nonsense".to_owned()),
        None,
    ]
}

fn reply(bench: &mut Bench, request: &Request, tag: &str, sdp: Option<&String>) {
    let response = answer(request, 200, tag);
    bench.reply(&match sdp {
        Some(sdp) => with_sdp(response, sdp),
        None => response,
    });
}

fn why(bench: &Bench, id: CallId) -> &'static str {
    match &bench.end_of(id).expect("it is not over").cause {
        EndCause::Failed(error) => error.code.as_str(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_whose_answer_cannot_be_used_ends_with_the_reason() {
    for bad in bad_answers() {
        // In the 2xx.
        let mut bench = Bench::online();
        let id = bench.dial("sip:bob@example.com");
        let invite = bench.take_request("INVITE");
        reply(&mut bench, &invite, "b", bad.as_ref());
        bench.take_request("ACK");
        assert!(bench.take_request("BYE").headers.get("Reason").unwrap().starts_with("SIP;cause=488;text="));
        assert_eq!(why(&bench, id), "not_acceptable");
        // In the ACK.
        let mut bench = Bench::online();
        let mut caller = Caller::new("late");
        send(&mut bench, &caller.request("INVITE", None));
        let id = bench.incoming();
        bench.answer(id);
        caller.to_tag = bench.take_response(180).headers.to_tag();
        bench.take_response(200);
        send(&mut bench, &caller.ack(1, bad.as_deref()));
        assert!(bench.take_request("BYE").headers.get("Reason").unwrap().starts_with("SIP;cause=488;text="));
        assert_eq!(why(&bench, id), "not_acceptable");
    }
}

/// A 2xx to our offer is the other side's agreement: it is offered the call as it is here, until both agree.
#[test]
fn an_answer_within_a_call_that_cannot_be_used_is_followed_by_another_offer() {
    for bad in bad_answers() {
        for ours in [true, false] {
            let mut bench = Bench::online();
            let (id, mut caller) = call(&mut bench);
            if ours {
                hold(&mut bench, id, true);
                let invite = bench.take_request("INVITE");
                reply(&mut bench, &invite, "", bad.as_ref());
                bench.take_request("ACK");
                assert_eq!(done(&bench), [Err("not_acceptable")]);
            } else {
                send(&mut bench, &caller.request("INVITE", None));
                assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
                send(&mut bench, &caller.ack(caller.seq, bad.as_deref()));
            }
            bench.nothing_sent();
            assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::Rollback));
            bench.pass(secs(2));
            assert_eq!(offered(&bench).last(), Some(&Direction::SendRecv));
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
            bench.take_request("ACK");
            bench.events.clear();
            undisturbed(&mut bench, id);
        }
    }
}

/// `SetAnswer` fails: the browser has the last word.
#[test]
fn an_answer_to_our_hold_that_the_browser_refuses_leaves_nobody_held() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    bench.media = Media::Manual;
    hold(&mut bench, id, true);
    bench.jobs.remove(0);
    bench.finish_job(Ok(MediaValue::Local(with(OFFER, "sendonly"))));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), &with(ANSWER, "recvonly")));
    bench.take_request("ACK");
    let words = "Failed to set SSL role for the transport.".to_owned();
    bench.finish_job(Err(MediaError::Refused(words)));
    let told = bench
        .events
        .iter()
        .any(|event| matches!(event, Event::HoldDone(_, Err(error)) if error.message.contains("SSL role")));
    assert!(told, "{:?}", bench.events);
    assert_eq!(done(&bench), [Err("not_acceptable")]);
    bench.media = Media::Prompt;
    bench.pass(secs(2));
    let reoffer = MediaCommand::Reoffer { direction: Direction::SendRecv };
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == reoffer));
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    bench.events.clear();
    undisturbed(&mut bench, id);
}

#[test]
fn a_side_that_always_agrees_to_what_cannot_be_used_is_left_with_the_reason() {
    let mut bench = Bench::online();
    let (id, _) = call(&mut bench);
    hold(&mut bench, id, true);
    for _ in 0..200 {
        while !bench.sent.is_empty() && bench.end_of(id).is_none() {
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, ""), "nonsense"));
            bench.take_request("ACK");
        }
        bench.pass(ms(500));
    }
    assert_eq!(why(&bench, id), "not_acceptable");
    let bye = bench.take_request("BYE");
    assert!(bye.headers.get("Reason").unwrap().contains("malformed"), "{:?}", bye.headers);
}

/// RFC 8842, section 5.3: the roles of an association stay, whatever an answer says.
#[test]
fn a_role_that_an_answer_swaps_is_put_right() {
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    bench.take_request("ACK");
    for (written, on) in [("passive", true), ("actpass", false)] {
        hold(&mut bench, id, on);
        let invite = bench.take_request("INVITE");
        bench.jobs.clear();
        bench.reply(&with_sdp(
            answer(&invite, 200, ""),
            &ANSWER.replace("a=setup:active", &format!("a=setup:{written}")),
        ));
        bench.take_request("ACK");
        let set = MediaCommand::SetAnswer { answer: ANSWER.into(), provisional: false };
        assert!(bench.jobs.iter().any(|(_, _, command)| *command == set), "{written}: {:?}", bench.jobs);
    }
}

#[test]
fn a_description_as_phones_send_it_is_taken() {
    for mended in [
        OFFER.trim_end().to_owned(),
        OFFER.replace("\r\n", "\n"),
        format!("\u{feff}{OFFER}\r\n"),
        format!("\r\n{OFFER}"),
        // Of its name in Latin-1 only what is UTF-8 can be written here; the letter itself is a test of the parser's.
        OFFER.replace("s=-", "s=J\u{f6}rg"),
    ] {
        let mut bench = Bench::online();
        let mut caller = Caller::new("mended");
        send(&mut bench, &caller.request("INVITE", Some(&mended)));
        let id = bench.incoming();
        bench.answer(id);
        assert_eq!(bench.lines(), ["180 INVITE", "200 INVITE"], "{mended:?}");
        let seen = bench.jobs.iter().find_map(|(_, _, command)| match command {
            MediaCommand::CreateAnswer { offer } => Some(offer.replace("J\u{f6}rg", "-")),
            _ => None,
        });
        assert_eq!(seen.as_deref(), Some(OFFER));
    }
}

// ---- in time

/// Connected line and direct media: a re-INVITE or an UPDATE comes right behind the 200 or the ACK, while the answer in
/// that is being set.
#[test]
fn an_offer_right_behind_an_answer_waits_for_that_to_be_set() {
    for method in ["INVITE", "UPDATE"] {
        for (result, goes_on) in [(Ok(MediaValue::Applied), true), (Err(MediaError::Description), false)] {
            let mut bench = Bench::online();
            bench.media = Media::Manual;
            let id = bench.dial("sip:bob@example.com");
            bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
            let invite = bench.take_request("INVITE");
            bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
            bench.take_request("ACK");
            let mut callee = Caller::callee(&invite, "b");
            let offer = callee.request(method, Some(&with(OFFER, "sendonly")));
            send(&mut bench, &offer);
            bench.sent.retain(|message| crate::bench::line(message) != "100 INVITE");
            bench.nothing_sent();
            // Only one waits.
            send(&mut bench, &callee.request("UPDATE", Some(OFFER)));
            assert_eq!(bench.lines(), ["500 UPDATE"]);
            bench.finish_job(result);
            if goes_on {
                bench.finish_job(Ok(MediaValue::Local(with(ANSWER, "recvonly"))));
                assert_eq!(bench.lines().last(), Some(&format!("200 {method}")));
                assert!(bench.phone.call(id).unwrap().remote_hold);
            } else {
                let lines = bench.lines();
                assert!(
                    lines.contains(&format!("487 {method}")) && lines.contains(&"BYE".to_owned()),
                    "{lines:?}"
                );
            }
        }
    }
    // Cancelled, and hung up meanwhile.
    for cancelled in [true, false] {
        let mut bench = Bench::online();
        let (id, mut caller) = call(&mut bench);
        bench.media = Media::Manual;
        send(&mut bench, &caller.request("INVITE", None));
        bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
        assert_eq!(bench.lines(), ["100 INVITE", "200 INVITE"]);
        send(&mut bench, &caller.ack(caller.seq, Some(ANSWER)));
        send(&mut bench, &caller.request("INVITE", Some(OFFER)));
        assert_eq!(bench.lines(), ["100 INVITE"]);
        if cancelled {
            send(&mut bench, &caller.cancel());
            assert_eq!(bench.lines(), ["200 CANCEL", "487 INVITE"]);
            bench.finish_job(Ok(MediaValue::Applied));
            bench.nothing_sent();
            assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
        } else {
            bench.hangup(id);
            let lines = bench.lines();
            assert!(lines.contains(&"487 INVITE".to_owned()), "{lines:?}");
        }
    }
}

/// Before the answer too: right behind a reliable 183.
#[test]
fn an_update_right_behind_early_media_waits_for_that_to_be_set() {
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    bench.dial("sip:bob@example.com");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    let mut progress = with_sdp(answer(&invite, 183, "b"), ANSWER);
    progress.headers.push("Require", "100rel");
    progress.headers.push("RSeq", "1");
    bench.reply(&progress);
    bench.take_request("PRACK");
    send(&mut bench, &Caller::callee(&invite, "b").request("UPDATE", Some(OFFER)));
    bench.nothing_sent();
    bench.finish_job(Ok(MediaValue::Applied));
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    assert_eq!(bench.lines(), ["200 UPDATE"]);
}

#[test]
fn a_job_lasts_as_long_as_candidates_may() {
    let mut settings = config();
    settings.ice_gather_timeout = secs(30);
    let mut bench = Bench::new(settings);
    bench.connect();
    let (id, _) = call(&mut bench);
    bench.media = Media::Manual;
    hold(&mut bench, id, true);
    bench.jobs.remove(0);
    let (call, seq, _) = bench.jobs[0];
    bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Gathering) });
    bench.pass(secs(29));
    assert!(done(&bench).is_empty());
    bench.pass(secs(2));
    assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::TakeLocal));
    bench.finish_job(Ok(MediaValue::Local(with(OFFER, "sendonly"))));
    bench.take_request("INVITE");
}

/// `iceTransportPolicy: 'relay'`, and the TURN server is slow, or does not answer at all.
#[test]
fn a_description_without_a_candidate_is_waited_for_and_does_not_leave() {
    for answers in [true, false] {
        let mut bench = Bench::online();
        bench.media = Media::Manual;
        let id = bench.dial("sip:bob@example.com");
        let (call, seq, _) = bench.jobs[0];
        bench.input(Input::MediaDone { call, seq, result: Ok(MediaValue::Gathering) });
        bench.pass(ms(900));
        assert!(bench.jobs.iter().any(|(_, _, command)| *command == MediaCommand::TakeLocal));
        bench.nothing_sent();
        if answers {
            bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
            bench.take_request("INVITE");
            continue;
        }
        bench.pass(secs(11));
        bench.nothing_sent();
        assert_eq!(bench.dial_error(id), "ice_failed");
        let error = bench.dial_result(id).unwrap().as_ref().unwrap_err();
        assert!(error.message.contains("TURN"), "{error}");
    }
}

// ---- bodies of several parts

fn parts(sdp: Option<&str>) -> String {
    let isup = "--x\r\nContent-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n1234\r\n";
    let sdp =
        sdp.map(|sdp| format!("--x\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n")).unwrap_or_default();
    format!("{isup}{sdp}--x--\r\n")
}

fn in_parts(mut request: Request, sdp: Option<&str>) -> Request {
    request.headers.set("Content-Type", "multipart/mixed;boundary=\"x\"");
    request.body = parts(sdp).into_bytes();
    request
}

fn ok_in_parts(request: &Request, status: u16, sdp: &str) -> Response {
    let mut response = answer(request, status, "b");
    response.headers.push("Content-Type", "multipart/mixed; boundary=x");
    response.body = parts(Some(sdp)).into_bytes();
    response
}

#[test]
fn a_description_among_other_parts_is_found_wherever_a_body_is() {
    // INVITE, re-INVITE, UPDATE, ACK.
    let mut bench = Bench::online();
    let mut caller = Caller::new("parts");
    let invite = in_parts(caller.request("INVITE", None), Some(OFFER));
    send(&mut bench, &invite);
    let id = bench.incoming();
    bench.answer(id);
    caller.to_tag = bench.take_response(180).headers.to_tag();
    assert!(describes(&bench.take_response(200).body, ANSWER));
    send(&mut bench, &caller.ack(1, None));
    for (method, direction) in [("INVITE", "sendonly"), ("UPDATE", "sendrecv")] {
        let offer = in_parts(caller.request(method, None), Some(&with(OFFER, direction)));
        send(&mut bench, &offer);
        assert_eq!(bench.lines().last(), Some(&format!("200 {method}")));
        assert_eq!(bench.phone.call(id).unwrap().remote_hold, direction == "sendonly");
        if method == "INVITE" {
            send(&mut bench, &caller.ack(caller.seq, None));
        }
    }
    // An UPDATE whose parts hold no description is one without an offer.
    let update = in_parts(caller.request("UPDATE", None), None);
    send(&mut bench, &update);
    assert!(bench.take_response(200).body.is_empty());
    send(&mut bench, &caller.request("INVITE", None));
    bench.lines();
    send(&mut bench, &in_parts(caller.ack(caller.seq, None), Some(ANSWER)));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    bench.pass(secs(40));
    bench.nothing_sent();
    // 1xx, 2xx.
    let mut bench = Bench::online();
    let id = bench.dial("sip:bob@example.com");
    let invite = bench.take_request("INVITE");
    bench.reply(&ok_in_parts(&invite, 183, ANSWER));
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::EarlyMedia);
    bench.reply(&ok_in_parts(&invite, 200, ANSWER));
    bench.take_request("ACK");
    assert_eq!(bench.phone.call(id).unwrap().state, CallState::Active);
    // An INVITE whose parts hold none gets our offer; what is no part of anything, and what is asked, say what is taken.
    let mut bench = Bench::online();
    let mut caller = Caller::new("late");
    let invite = in_parts(caller.request("INVITE", None), None);
    send(&mut bench, &invite);
    let id = bench.incoming();
    bench.answer(id);
    bench.take_response(180);
    assert!(describes(&bench.take_response(200).body, OFFER));
    let mut other = Caller::new("other").request("INVITE", Some(OFFER));
    other.headers.set("Content-Type", "application/pidf+xml");
    send(&mut bench, &other);
    assert_eq!(bench.take_response(415).headers.get("Accept"), Some("application/sdp, multipart/mixed"));
    send(&mut bench, &Caller::new("asks").request("OPTIONS", None));
    assert_eq!(bench.take_response(200).headers.get("Accept"), Some("application/sdp, multipart/mixed"));
}
