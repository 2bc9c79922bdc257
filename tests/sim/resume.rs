//! Calls that outlive their page (src/phone/resume.rs): what is kept, and what another phone makes of it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wasm_softphone::time::Duration;

use crate::bench::{ANSWER, Bench, Caller, Media, OFFER, answer, config, ms, outcome, secs, send, with_sdp};
use crate::incoming::answered;
use crate::recovery::{register, registering, states, talking};
use wasm_softphone::entropy::{Entropy, SeededEntropy, below};
use wasm_softphone::error::ErrorCode;
use wasm_softphone::phone::{
    CallId, CallNote, CallState, ConnectionState, EndCause, EndedBy, Event, Input, MediaCommand, MediaError,
    MediaState, MediaValue, PhoneConfig,
};
use wasm_softphone::sip::message::{Message, Request};
use wasm_softphone::sip::sdp::Direction;
use wasm_softphone::sip::uri::Uri;

const NOTE: CallNote = CallNote { started_at: 1_790_000_000_042 };

fn record(bench: &Bench) -> Option<String> {
    bench.phone.record(&|_| NOTE)
}

/// Another page with the same configuration.
fn page(config: PhoneConfig) -> Bench {
    Bench::seeded(config, 77)
}

fn take(bench: &mut Bench, record: &str, age: Duration) -> Result<usize, ErrorCode> {
    let taken = bench.phone.resume(bench.now, record, age).map_err(|error| error.code);
    bench.drain();
    taken
}

/// The call of this record on another page, whose re-INVITE is out.
fn taken_up(config: PhoneConfig, record: &str) -> (Bench, CallId, Request) {
    let mut bench = page(config);
    assert_eq!(take(&mut bench, record, secs(2)), Ok(1));
    let call = bench.phone.calls()[0].id;
    bench.connect();
    if bench.config.register {
        register(&mut bench);
    }
    let invite = bench.take_request("INVITE");
    (bench, call, invite)
}

fn agree(bench: &mut Bench, invite: &Request) {
    bench.reply(&with_sdp(answer(invite, 200, ""), ANSWER));
    bench.take_request("ACK");
}

fn tags(request: &Request) -> (Option<String>, Option<String>) {
    (request.headers.from_tag(), request.headers.to_tag())
}

// ---- the way through

#[test]
fn a_call_goes_on_in_another_page() {
    let (mut old, _, mut far) = talking(registering(), true);
    let last = send_infos(&mut old, 3);
    let record = record(&old).unwrap();
    let before = old.phone.calls()[0].clone();

    let mut bench = page(registering());
    assert_eq!(take(&mut bench, &record, secs(2)), Ok(1));
    let info = bench.phone.calls()[0].clone();
    assert_eq!(states(&bench, info.id), [CallState::Reconnecting]);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))), "it does not ring");
    assert_eq!(
        (info.sip_call_id.as_str(), info.direction, info.remote_uri.as_str(), info.note),
        (before.sip_call_id.as_str(), before.direction, before.remote_uri.as_str(), NOTE)
    );
    bench.nothing_sent();
    bench.connect();
    let binding = register(&mut bench);
    let contact = binding.headers.get("Contact").unwrap().to_owned();
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.headers.call_id(), Some(before.sip_call_id.as_str()));
    assert_eq!(invite.uri, "sip:bob@192.0.2.4:5060");
    assert_eq!(tags(&invite), tags(&last));
    assert_eq!(invite.headers.get("From"), last.headers.get("From"));
    assert_eq!(invite.headers.get("To"), last.headers.get("To"));
    assert!(invite.headers.seq() > last.headers.seq());
    assert!(contact.contains(invite.headers.get("Contact").unwrap().trim_matches(['<', '>'])));
    assert!(!invite.body.is_empty());
    agree(&mut bench, &invite);
    assert_eq!(states(&bench, info.id), [CallState::Reconnecting, CallState::Active]);
    assert_eq!(bench.connect_results(), [Ok(())]);

    // The dialog goes on from both sides.
    let info_request = far.request("INFO", None);
    send(&mut bench, &info_request);
    bench.take_response(200);
    bench.hangup(info.id);
    let bye = bench.take_request("BYE");
    assert!(bye.headers.seq() > invite.headers.seq());
    bench.reply(&answer(&bye, 200, ""));
    bench.disconnect();
    assert_eq!(bench.phone.record(&|_| NOTE), None);
}

/// The registrar and the other sides look for the phone where it was.
#[test]
fn the_binding_is_the_one_of_before() {
    let mut old = Bench::new(registering());
    old.connect();
    let first = register(&mut old);
    let (_, _) = answered(&mut old);
    let record = record(&old).unwrap();
    let mut bench = page(registering());
    take(&mut bench, &record, Duration::ZERO).unwrap();
    bench.connect();
    let second = register(&mut bench);
    assert_eq!(second.headers.get("Contact"), first.headers.get("Contact"));
    assert_ne!(second.headers.call_id(), first.headers.call_id());
}

#[test]
fn a_call_that_came_in_goes_on_along_its_route() {
    let mut old = Bench::online();
    let mut caller = Caller::new("in-1");
    let mut invite = caller.request("INVITE", Some(OFFER));
    invite.headers.push("Record-Route", "<sip:p2.example.com;lr>, <sip:p1.example.com;lr>");
    send(&mut old, &invite);
    let call = old.incoming();
    old.answer(call);
    let ok = old.sent.iter().find_map(|message| match message {
        Message::Response(response) if response.status == 200 => Some(response.clone()),
        _ => None,
    });
    caller.to_tag = ok.unwrap().headers.to_tag();
    send(&mut old, &caller.ack(1, None));
    let (mut bench, call, invite) = taken_up(config(), &record(&old).unwrap());
    assert_eq!(
        invite.headers.get_all("Route").collect::<Vec<_>>(),
        ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
    );
    assert_eq!(invite.headers.get("To"), Some("\"Bob\" <sip:bob@example.com>;tag=caller"));
    agree(&mut bench, &invite);
    let info = bench.phone.call(call).unwrap();
    assert_eq!(info.remote_display_name.as_deref(), Some("Bob"));
    // The other side's numbers go on from where they were.
    let stale = caller.build("INFO", 0, None);
    send(&mut bench, &stale);
    bench.take_response(500);
    let bye = caller.request("BYE", None);
    send(&mut bench, &bye);
    bench.take_response(200);
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Completed);
}

#[test]
fn a_call_is_taken_up_as_often_as_need_be() {
    let (old, _, _) = talking(config(), true);
    let mut record = record(&old).unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let (mut bench, call, invite) = taken_up(config(), &record);
        assert!(invite.headers.seq().unwrap() > last);
        last = invite.headers.seq().unwrap();
        agree(&mut bench, &invite);
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
        record = bench.phone.record(&|_| NOTE).unwrap();
    }
}

// ---- what is kept, and when

/// Sends and finishes INFO requests; returns the last.
fn send_infos(bench: &mut Bench, count: usize) -> Request {
    let call = bench.phone.calls()[0].id;
    let mut last = None;
    for _ in 0..count {
        bench.phone.send_info(bench.now, call, "application/dtmf-relay", "Signal=1\r\n").unwrap();
        bench.drain();
        let request = bench.take_request("INFO");
        bench.reply(&answer(&request, 200, ""));
        last = Some(request);
    }
    last.unwrap()
}

/// The last record that was kept may be older than the last requests.
#[test]
fn no_number_is_used_twice_though_the_page_is_gone_in_between() {
    for count in 1..60 {
        let (mut old, _, _) = talking(config(), true);
        let mut kept = record(&old).unwrap();
        let mut changes = 0;
        for _ in 0..count {
            send_infos(&mut old, 1);
            let new = record(&old).unwrap();
            // Up to a block of requests may come before it is in the store.
            if new != kept {
                changes += 1;
                kept = new;
            }
        }
        assert!(changes <= count / 16 + 1, "{changes} records for {count} requests");
        let late = kept.clone();
        let last = send_infos(&mut old, 16).headers.seq().unwrap();
        let (_, _, invite) = taken_up(config(), &late);
        assert!(invite.headers.seq().unwrap() > last, "after {count}");
    }
}

#[test]
fn only_calls_that_are_answered_on_both_sides_are_kept() {
    // Going out.
    let mut bench = Bench::online();
    assert_eq!(record(&bench), None, "no call");
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    assert_eq!(record(&bench), None, "preparing");
    bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
    let invite = bench.take_request("INVITE");
    assert_eq!(record(&bench), None, "inviting");
    bench.reply(&answer(&invite, 180, "b"));
    assert_eq!(record(&bench), None, "ringing");
    bench.reply(&with_sdp(answer(&invite, 183, "b"), ANSWER));
    bench.finish_job(Ok(MediaValue::Applied));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::EarlyMedia);
    assert_eq!(record(&bench), None, "early media");
    bench.reply(&with_sdp(answer(&invite, 200, "b"), ANSWER));
    assert_eq!(record(&bench), None, "the answer is being set");
    bench.finish_job(Ok(MediaValue::Applied));
    assert!(record(&bench).is_some(), "answered");
    bench.hangup(call);
    assert_eq!(record(&bench), None, "hung up");

    // Coming in.
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let mut caller = Caller::new("in-1");
    let invite = caller.request("INVITE", Some(OFFER));
    send(&mut bench, &invite);
    assert_eq!(record(&bench), None, "alerting");
    let call = bench.incoming();
    bench.answer(call);
    assert_eq!(record(&bench), None, "answering");
    bench.lines();
    bench.finish_job(Ok(MediaValue::Local(ANSWER.into())));
    let ok = bench.take_response(200);
    assert_eq!(record(&bench), None, "not acknowledged");
    caller.to_tag = ok.headers.to_tag();
    send(&mut bench, &caller.ack(1, None));
    assert!(record(&bench).is_some(), "acknowledged");
    bench.disconnect();
    assert_eq!(record(&bench), None, "being disconnected");
}

#[test]
fn what_happens_while_a_call_goes_on_leaves_the_record_alone() {
    let (mut bench, _, mut far) = talking(config(), true);
    let first = record(&bench).unwrap();
    bench.pass(secs(100));
    let call = bench.phone.calls()[0].id;
    bench.input(Input::MediaState { call, state: MediaState::Disconnected });
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    assert_eq!(record(&bench).unwrap(), first);
    // What the other side has sent is new.
    let request = far.request("INFO", None);
    send(&mut bench, &request);
    assert_ne!(record(&bench).unwrap(), first);
}

#[test]
fn nothing_secret_is_kept() {
    let mut bench = Bench::new(registering());
    bench.media = Media::Manual;
    bench.connect();
    let request = bench.take_request("REGISTER");
    let challenge = |request: &Request| {
        let mut challenge = request.response(401, None);
        challenge.headers.push("WWW-Authenticate", "Digest realm=\"example.com\", nonce=\"the-nonce\"");
        challenge
    };
    bench.reply(&challenge(&request));
    register(&mut bench);
    let call = bench.dial("sip:bob@example.com");
    let keys = "a=ice-ufrag:uuuu\r\na=ice-pwd:pppppppppppppppppppppp\r\na=fingerprint:sha-256 AA:BB\r\n\
                a=crypto:1 AES inline:kkkk\r\n";
    bench.finish_job(Ok(MediaValue::Local(format!("{OFFER}{keys}"))));
    let invite = bench.take_request("INVITE");
    bench.reply(&challenge(&invite));
    bench.take_request("ACK");
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.get("Authorization").is_some());
    bench.reply(&with_sdp(answer(&invite, 200, "b"), &format!("{ANSWER}{keys}")));
    bench.finish_job(Ok(MediaValue::Applied));
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    let record = record(&bench).unwrap();
    let response = invite.headers.get("Authorization").unwrap();
    let digest = response.split("response=\"").nth(1).unwrap().split('"').next().unwrap();
    for secret in [
        "alice-secret",
        "the-nonce",
        "uuuu",
        "pppp",
        "AA:BB",
        "kkkk",
        "ice-",
        "fingerprint",
        "crypto",
        digest,
    ] {
        assert!(!record.contains(secret), "{secret} is in\n{record}");
    }
    assert!(!record.to_ascii_lowercase().contains("authorization"));
}

// ---- hold, and the rest of what is known

#[test]
fn hold_survives() {
    for (local, remote, offered, flows) in [
        (true, false, Direction::SendOnly, Direction::Inactive),
        (false, true, Direction::SendRecv, Direction::RecvOnly),
        (true, true, Direction::Inactive, Direction::Inactive),
    ] {
        let mut old = Bench::online();
        let (call, mut caller) = answered(&mut old);
        old.lines();
        if local {
            old.phone.hold(old.now, call).unwrap();
            old.drain();
            let invite = old.take_request("INVITE");
            old.reply(&with_sdp(answer(&invite, 200, ""), &ANSWER.replace("sendrecv", "recvonly")));
            old.take_request("ACK");
        }
        if remote {
            let update = caller.request("UPDATE", Some(&OFFER.replace("sendrecv", "sendonly")));
            send(&mut old, &update);
            old.take_response(200);
        }
        let (mut bench, call, invite) = taken_up(config(), &record(&old).unwrap());
        let info = bench.phone.call(call).unwrap();
        assert_eq!((info.local_hold, info.remote_hold), (local, remote));
        let commands: Vec<_> = bench.jobs.iter().map(|(_, _, command)| command.clone()).collect();
        let resume = MediaCommand::Resume { direction: offered };
        assert_eq!(commands, [resume, MediaCommand::Flow(flows)], "nothing leaks before the answer");
        bench.reply(&with_sdp(
            answer(&invite, 200, ""),
            &ANSWER.replace("sendrecv", if remote { "sendonly" } else { "recvonly" }),
        ));
        bench.take_request("ACK");
        let info = bench.phone.call(call).unwrap();
        assert_eq!((info.local_hold, info.remote_hold, info.state), (local, remote, CallState::Active));
        if local {
            bench.phone.unhold(bench.now, call).unwrap();
            bench.drain();
            let invite = bench.take_request("INVITE");
            agree(&mut bench, &invite);
            let done = bench.events.iter().find_map(|event| match event {
                Event::HoldDone(_, result) => Some(outcome(result)),
                _ => None,
            });
            assert_eq!(done, Some(Ok(())));
        }
    }
}

#[test]
fn the_session_timer_goes_on() {
    let mut old = Bench::online();
    old.dial("sip:bob@example.com");
    let invite = old.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    ok.headers.push("Session-Expires", "600;refresher=uas");
    old.reply(&ok);
    let (mut bench, call, invite) = taken_up(config(), &record(&old).unwrap());
    assert_eq!(invite.headers.get("Session-Expires"), Some("600;refresher=uas"));
    let mut ok = with_sdp(answer(&invite, 200, ""), ANSWER);
    ok.headers.push("Session-Expires", "600;refresher=uas");
    bench.reply(&ok);
    bench.pass(secs(500));
    assert!(bench.end_of(call).is_none());
    bench.pass(secs(100));
    assert_eq!(bench.end_of(call).unwrap().by, EndedBy::Network);
}

/// RFC 3264, section 8: the same session, the next version.
#[test]
fn the_name_of_the_session_goes_on() {
    let (old, _, _) = talking(config(), true);
    let mut bench = page(config());
    bench.media = Media::Manual;
    take(&mut bench, &record(&old).unwrap(), secs(1)).unwrap();
    bench.connect();
    let of = |session: u32, version: u32| {
        OFFER.replace("o=- 1 1", &format!("o=- {session} {version}")).into_bytes()
    };
    bench.finish_job(Ok(MediaValue::Local(String::from_utf8(of(987, 2)).unwrap())));
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.body, of(1, 2));
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.finish_job(Ok(MediaValue::Applied));
    let call = bench.phone.calls()[0].id;
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    bench.phone.hold(bench.now, call).unwrap();
    bench.drain();
    bench.lines();
    bench.jobs.retain(|(_, _, command)| !matches!(command, MediaCommand::Flow(_)));
    bench.finish_job(Ok(MediaValue::Local(String::from_utf8(of(987, 3)).unwrap())));
    let invite = bench.take_request("INVITE");
    assert_eq!(invite.body, of(1, 3));
}

/// The page was gone between the 2xx to its re-INVITE and the ACK.
#[test]
fn a_re_invite_that_was_open_is_acknowledged() {
    let (mut old, call, _) = talking(config(), true);
    old.phone.hold(old.now, call).unwrap();
    old.drain();
    let open = old.take_request("INVITE");
    let record = record(&old).unwrap();
    let mut bench = page(config());
    take(&mut bench, &record, secs(1)).unwrap();
    assert!(bench.phone.calls()[0].local_hold);
    bench.connect();
    let ack = bench.take_request("ACK");
    assert_eq!((ack.headers.seq(), tags(&ack)), (open.headers.seq(), tags(&open)));
    let invite = bench.take_request("INVITE");
    assert!(invite.headers.seq() > open.headers.seq());
    agree(&mut bench, &invite);
    assert!(!bench.phone.record(&|_| NOTE).unwrap().contains("open="));
}

#[test]
fn several_calls_are_taken_up() {
    let (mut old, _, _) = talking(config(), true);
    answered(&mut old);
    let mut bench = page(config());
    assert_eq!(take(&mut bench, &record(&old).unwrap(), secs(1)), Ok(2));
    bench.connect();
    for _ in 0..2 {
        let at = bench.sent.iter().position(
            |message| matches!(message, Message::Request(request) if request.method.as_str() == "INVITE"),
        );
        let Message::Request(invite) = bench.sent.remove(at.unwrap()) else { panic!() };
        bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    }
    assert!(bench.phone.calls().iter().all(|info| info.state == CallState::Active));
}

// ---- when it does not go well

#[test]
fn what_is_too_old_or_not_this_account_s_is_refused() {
    let (old, _, _) = talking(config(), true);
    let record = record(&old).unwrap();
    let grace = config().signalling_grace;
    assert_eq!(take(&mut page(config()), &record, grace), Ok(1));
    let mut bench = page(config());
    assert_eq!(take(&mut bench, &record, grace + ms(1)), Err(ErrorCode::InvalidRecord));
    assert!(bench.phone.calls().is_empty() && bench.events.is_empty());
    let other = PhoneConfig { uri: Uri::parse("sip:mallory@example.com").unwrap(), ..config() };
    assert_eq!(take(&mut page(other), &record, secs(1)), Err(ErrorCode::InvalidRecord));
    // A phone that is in use.
    assert_eq!(take(&mut Bench::online(), &record, secs(1)), Err(ErrorCode::InvalidState));
    let mut bench = page(config());
    assert_eq!(take(&mut bench, &record, secs(1)), Ok(1));
    assert_eq!(take(&mut bench, &record, secs(1)), Err(ErrorCode::InvalidState), "twice");
}

/// Whatever the store holds.
#[test]
fn a_damaged_record_is_refused_or_harmless() {
    let (mut old, _, _) = talking(config(), true);
    answered(&mut old);
    let record = record(&old).unwrap();
    let mut refused = 0;
    for end in 0..record.len() {
        if !record.is_char_boundary(end) {
            continue;
        }
        let mut bench = page(config());
        refused += usize::from(take(&mut bench, &record[..end], secs(1)).is_err());
    }
    assert!(refused > record.len() / 2);
    let seeds = if cfg!(target_arch = "wasm32") { 300 } else { 4000 };
    for seed in 0..seeds {
        let mut random = SeededEntropy::new(seed);
        let damaged = damage(&record, &mut random);
        let mut bench = page(config());
        if take(&mut bench, &damaged, secs(1)).is_ok() {
            bench.connect();
            bench.pass(secs(200));
            for info in bench.phone.calls() {
                bench.hangup(info.id);
            }
            bench.pass(secs(100));
            assert!(bench.phone.calls().is_empty(), "seed {seed}: a call is stuck");
        } else {
            assert!(bench.phone.calls().is_empty(), "seed {seed}");
        }
    }
}

fn damage(record: &str, random: &mut dyn Entropy) -> String {
    let mut lines: Vec<String> = record.lines().map(str::to_owned).collect();
    for _ in 0..=below(random, 3) {
        let count = u64::try_from(lines.len()).unwrap();
        let at = usize::try_from(below(random, count)).unwrap();
        let line = lines[at].clone();
        match below(random, 7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, line),
            2 => lines[at] = line.replace('=', ":"),
            3 => lines[at] = format!("{line}\u{7f}\r\0"),
            4 => lines[at] = format!("{}{}", line, "9".repeat(40)),
            5 => {
                let with = ["<sip:x>", ";tag=", "\"", "4294967295", "\u{1f600}", "", ">", "?Replaces=1", "="];
                let key = line.split('=').next().unwrap().to_owned();
                let pick = usize::try_from(below(random, 9)).unwrap();
                lines[at] = format!("{key}={}", with[pick]);
            }
            _ => {
                let mut bytes = line.into_bytes();
                if !bytes.is_empty() {
                    let count = u64::try_from(bytes.len()).unwrap();
                    let at = usize::try_from(below(random, count)).unwrap();
                    bytes[at] = u8::try_from(below(random, 128)).unwrap();
                }
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

#[test]
fn what_could_be_put_into_a_message_is_refused() {
    let (old, _, _) = talking(config(), true);
    let record = record(&old).unwrap();
    let line =
        |key: &str| record.lines().find(|line| line.starts_with(&format!("{key}="))).unwrap().to_owned();
    for (key, value) in [
        ("ltag", "a b"),
        ("ltag", "other"),
        ("rtag", "b;x"),
        ("target", "http://example.com"),
        ("target", "sip:bob@x\tRoute: <sip:evil>"),
        ("call", ""),
        ("call", "a b"),
        ("lseq", "4294967295"),
        ("lseq", "-1"),
        ("instance", "x\">"),
        ("instance", "urn:x>\";y"),
        ("host", "evil.example.com"),
        ("host", ".invalid"),
        ("user", "a@b"),
        ("user", ""),
        ("uri", ""),
        ("local", "<sip:alice@example.com>"),
        ("aor", "sip:bob@example.com"),
    ] {
        let changed = record.replace(&line(key), &format!("{key}={value}"));
        assert_ne!(changed, record);
        assert_eq!(
            take(&mut page(config()), &changed, secs(1)),
            Err(ErrorCode::InvalidRecord),
            "{key}={value}"
        );
    }
    let newer = record.replacen("calls/1", "calls/2", 1);
    assert_eq!(take(&mut page(config()), &newer, secs(1)), Err(ErrorCode::InvalidRecord));
    // What a later version adds.
    let more = format!("{record}later=1\n");
    assert_eq!(take(&mut page(config()), &more, secs(1)), Ok(1));
}

#[test]
fn a_record_has_a_bounded_size() {
    let mut bench = Bench::new(PhoneConfig { max_calls: 200, ..config() });
    bench.connect();
    let mut kept = 0;
    for n in 0..60 {
        let mut caller = Caller::new(&format!("in-{n}"));
        let mut invite = caller.request("INVITE", Some(OFFER));
        for hop in 0..10 {
            invite
                .headers
                .push("Record-Route", format!("<sip:proxy-{hop}.{}.example.com;lr>", "x".repeat(50)));
        }
        send(&mut bench, &invite);
        let call = bench.incoming();
        bench.answer(call);
        let ok = bench.sent.iter().rev().find_map(|message| match message {
            Message::Response(response) if response.status == 200 => Some(response.clone()),
            _ => None,
        });
        caller.to_tag = ok.unwrap().headers.to_tag();
        send(&mut bench, &caller.ack(1, None));
        let record = record(&bench).unwrap();
        assert!(record.len() <= 16_384, "{} bytes", record.len());
        kept = record.matches("\ncall=").count();
    }
    assert!(kept > 5);
    let mut other = page(config());
    let taken = take(&mut other, &record(&bench).unwrap(), secs(1));
    assert_eq!(taken, Ok(config().max_calls), "no more than this phone may have");
    let long = format!("{}{}", record(&bench).unwrap(), "x=\n".repeat(6000));
    assert_eq!(take(&mut page(config()), &long, secs(1)), Err(ErrorCode::InvalidRecord));
}

#[test]
fn a_server_that_is_away_is_waited_for_until_the_grace_is_over() {
    let (old, _, _) = talking(config(), true);
    let record = record(&old).unwrap();
    for back in [true, false] {
        let mut bench = page(config());
        bench.reachable = false;
        take(&mut bench, &record, secs(1)).unwrap();
        let call = bench.phone.calls()[0].id;
        bench.connect();
        for _ in 0..40 {
            refuse_sockets(&mut bench);
            bench.pass(secs(1));
        }
        assert_eq!(bench.connect_results(), [Err("transport")], "it is told after one try");
        assert_eq!(bench.phone.connection(), ConnectionState::Reconnecting);
        assert!(bench.end_of(call).is_none());
        if back {
            bench.reachable = true;
            refuse_sockets(&mut bench);
            bench.pass(secs(10));
            let invite = bench.take_request("INVITE");
            agree(&mut bench, &invite);
            assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
        } else {
            for _ in 0..30 {
                refuse_sockets(&mut bench);
                bench.pass(secs(1));
            }
            let end = bench.end_of(call).unwrap();
            assert!(matches!(&end.cause, EndCause::Failed(error) if error.code == ErrorCode::Transport));
        }
    }
}

fn refuse_sockets(bench: &mut Bench) {
    if bench.socket.is_none()
        && let Some((_, socket, _)) = bench.opened.last()
    {
        let socket = *socket;
        bench.input(Input::SocketClosed(socket));
    }
}

#[test]
fn offers_that_cross_and_peers_that_are_away_are_tried_again() {
    for status in [491, 480, 500, 503, 408] {
        let (old, _, _) = talking(config(), true);
        let (mut bench, call, invite) = taken_up(config(), &record(&old).unwrap());
        bench.reply(&answer(&invite, status, ""));
        assert_eq!(bench.lines(), ["ACK"]);
        bench.pass(secs(9));
        let again = bench.take_request("INVITE");
        assert!(again.headers.seq() > invite.headers.seq());
        agree(&mut bench, &again);
        assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active, "after {status}");
    }
}

#[test]
fn without_a_microphone_there_is_no_call() {
    let (old, _, _) = talking(config(), true);
    let mut bench = page(config());
    bench.media = Media::Manual;
    take(&mut bench, &record(&old).unwrap(), secs(1)).unwrap();
    let call = bench.phone.calls()[0].id;
    bench.connect();
    // The user is being asked.
    bench.pass(secs(40));
    assert!(bench.end_of(call).is_none());
    bench.finish_job(Err(MediaError::Denied));
    let end = bench.end_of(call).unwrap();
    assert!(matches!(&end.cause, EndCause::Failed(error) if error.code == ErrorCode::MediaDenied));
    assert_eq!(bench.lines(), ["BYE"], "the other side does not talk to nobody");
}

#[test]
fn hung_up_while_it_is_being_taken_up() {
    let (old, _, _) = talking(config(), true);
    let (mut bench, call, invite) = taken_up(config(), &record(&old).unwrap());
    bench.hangup(call);
    assert_eq!(bench.lines(), ["BYE"]);
    bench.reply(&with_sdp(answer(&invite, 200, ""), ANSWER));
    bench.pass(secs(100));
    assert_eq!(bench.phone.record(&|_| NOTE), None);
    assert!(bench.phone.calls().is_empty());
}

// ---- INVITE with Replaces

/// A call whose other side takes Replaces, or not.
fn replaceable(supported: bool) -> (String, Request) {
    let mut old = Bench::online();
    let call = old.dial("sip:bob@example.com");
    let invite = old.take_request("INVITE");
    let mut ok = with_sdp(answer(&invite, 200, "b"), ANSWER);
    if supported {
        ok.headers.push("Supported", "timer, replaces");
    }
    old.reply(&ok);
    old.phone.mute(old.now, call, true).unwrap();
    (record(&old).unwrap(), invite)
}

#[test]
fn a_dialog_that_is_gone_ends_the_call() {
    let (record, _) = replaceable(false);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&answer(&invite, 481, ""));
    let end = bench.end_of(call).unwrap();
    assert_eq!((end.sip_status, end.by), (Some(481), EndedBy::Remote));
    assert!(bench.media_closed(call));
}

#[test]
fn a_peer_that_takes_replaces_gets_a_call_in_the_place_of_the_lost_dialog() {
    let (record, first) = replaceable(true);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&answer(&invite, 481, ""));
    bench.take_request("ACK");
    let new = bench.take_request("INVITE");
    assert_eq!(new.headers.to_tag(), None);
    assert_eq!(new.uri, "sip:bob@192.0.2.4:5060");
    // Whoever is not in the dialog must not ring.
    assert_eq!(new.headers.get("Require"), Some("replaces"));
    let replaces = format!(
        "{};to-tag=b;from-tag={}",
        first.headers.call_id().unwrap(),
        first.headers.from_tag().unwrap()
    );
    assert_eq!(new.headers.get("Replaces"), Some(replaces.as_str()));
    assert!(bench.end_of(call).is_none());
    assert!(bench.phone.calls().iter().all(|info| info.wish.muted), "what is muted stays so");
    assert!(bench.wishes.len() == 2 && bench.wishes.values().all(|wish| wish.muted));
    bench.pass(secs(5));
    bench.reply(&with_sdp(answer(&new, 200, "c"), ANSWER));
    bench.take_request("ACK");
    let replaced = bench.events.iter().find_map(|event| match event {
        Event::Replaced { old, new } => Some((*old, *new)),
        _ => None,
    });
    let (before, after) = replaced.unwrap();
    assert_eq!(before, call);
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Completed);
    assert_eq!(bench.phone.call(after).unwrap().state, CallState::Active);
    bench.lines();
    bench.pass(secs(60));
    assert_eq!(bench.phone.calls().len(), 1);
    assert!(bench.phone.record(&|_| NOTE).is_some());
}

#[test]
fn a_peer_that_is_gone_refuses_that_too() {
    for status in [481, 420, 404, 603] {
        let (record, _) = replaceable(true);
        let (mut bench, call, invite) = taken_up(config(), &record);
        bench.reply(&answer(&invite, 481, ""));
        bench.take_request("ACK");
        let new = bench.take_request("INVITE");
        bench.reply(&answer(&new, status, "c"));
        let end = bench.end_of(call).unwrap();
        assert_eq!((end.sip_status, end.by), (Some(481), EndedBy::Remote), "after {status}");
        bench.pass(secs(100));
        assert!(bench.phone.calls().is_empty());
    }
}

#[test]
fn hung_up_while_another_call_is_to_take_its_place() {
    let (record, _) = replaceable(true);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&answer(&invite, 481, ""));
    bench.take_request("ACK");
    let new = bench.take_request("INVITE");
    bench.reply(&answer(&new, 180, "c"));
    bench.hangup(call);
    assert!(bench.phone.calls().is_empty());
    assert!(bench.lines().contains(&"CANCEL".to_owned()));
    bench.reply(&answer(&new, 487, "c"));
    bench.pass(secs(100));
}

/// Also when nobody answers to that: the grace is over.
#[test]
fn a_place_that_is_not_taken_in_time_is_given_up() {
    let (record, _) = replaceable(true);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&answer(&invite, 481, ""));
    bench.take_request("ACK");
    let new = bench.take_request("INVITE");
    bench.reply(&answer(&new, 180, "c"));
    bench.pass(secs(90));
    assert!(bench.end_of(call).is_some());
    assert!(bench.phone.calls().is_empty());
    assert!(bench.lines().contains(&"CANCEL".to_owned()));
}

// ---- a peer that keeps to the association that it had

/// As Asterisk answers an offer of another association.
fn existing() -> String {
    format!("{ANSWER}a=setup:active\r\na=connection:existing\r\n")
}

/// The new call by the address of record has taken the place of this one.
fn replaced(bench: &mut Bench, call: CallId, new: &Request) {
    assert_eq!(new.uri, "sip:bob@example.com", "by the address of record: the Contact is the server's own");
    assert_eq!(new.headers.to_tag(), None);
    assert_eq!(new.headers.get("Require"), Some("replaces"));
    assert!(new.headers.get("Replaces").unwrap().contains(";to-tag=b;from-tag="));
    bench.media = Media::Prompt;
    bench.reply(&with_sdp(answer(new, 200, "c"), ANSWER));
    bench.take_request("ACK");
    bench.take_request("BYE");
    assert!(bench.events.iter().any(|event| matches!(event, Event::Replaced { old, .. } if *old == call)));
    assert_eq!(bench.end_of(call).unwrap().cause, EndCause::Completed);
    assert_eq!(bench.phone.calls().len(), 1);
    assert_eq!(bench.phone.calls()[0].state, CallState::Active);
}

/// `resume with Asterisk: 200 says a=connection:existing → INVITE with Replaces to the address of record`
#[test]
fn a_peer_that_keeps_to_its_old_connection_gets_a_call_in_the_place_of_this_one() {
    let (record, _) = replaceable(true);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&with_sdp(answer(&invite, 200, ""), &existing()));
    bench.take_request("ACK");
    assert!(!bench.jobs.iter().any(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. })));
    let new = bench.take_request("INVITE");
    replaced(&mut bench, call, &new);
    bench.pass(secs(60));
    assert!(!bench.lines().contains(&"INVITE".to_owned()), "ICE is not restarted for ever");
}

/// Asterisk ends the old call as soon as it has answered the new one, while the browser is at that answer.
#[test]
fn the_old_call_that_ends_before_the_new_answer_is_set_has_given_its_place() {
    for held in [false, true] {
        let (record, invited) = replaceable(true);
        let (mut bench, call, invite) = taken_up(config(), &record);
        if held {
            drop(bench.phone.hold(bench.now, call));
        }
        bench.reply(&with_sdp(answer(&invite, 200, ""), &existing()));
        bench.take_request("ACK");
        let new = bench.take_request("INVITE");
        bench.media = Media::Manual;
        bench.reply(&with_sdp(answer(&new, 200, "c"), ANSWER));
        bench.take_request("ACK");
        let bye = Caller::callee(&invited, "b").request("BYE", None);
        send(&mut bench, &bye);
        assert_eq!(bench.end_of(call).unwrap().by, EndedBy::Remote);
        assert!(
            bench.events.iter().any(|event| matches!(event, Event::Replaced { old, .. } if *old == call))
        );
        bench.jobs.retain(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. }));
        bench.finish_job(Ok(MediaValue::Applied));
        assert!(!bench.lines().contains(&"BYE".to_owned()), "the new call goes on");
        assert_eq!(bench.phone.calls().len(), 1);
        assert_eq!(bench.phone.calls()[0].state, CallState::Active);
        assert_eq!(bench.phone.calls()[0].local_hold, held);
    }
}

#[test]
fn without_replaces_its_answer_is_taken_as_it_is() {
    let (record, _) = replaceable(false);
    let (mut bench, call, invite) = taken_up(config(), &record);
    bench.reply(&with_sdp(answer(&invite, 200, ""), &existing()));
    assert_eq!(bench.lines(), ["ACK"]);
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
}

/// The call is agreed, and its media are for the test to play.
fn agreed_by_hand(bench: &mut Bench, invite: &Request) {
    bench.media = Media::Manual;
    bench.reply(&with_sdp(answer(invite, 200, ""), ANSWER));
    bench.take_request("ACK");
    bench.jobs.retain(|(_, _, command)| matches!(command, MediaCommand::SetAnswer { .. }));
    bench.finish_job(Ok(MediaValue::Applied));
}

#[test]
fn a_path_without_dtls_for_three_seconds_is_no_way() {
    for resumed in [true, false] {
        let (record, _) = replaceable(true);
        let (mut bench, call, invite) = taken_up(config(), &record);
        if resumed {
            agreed_by_hand(&mut bench, &invite);
        } else {
            // The same after any other offer in mid-call.
            agree(&mut bench, &invite);
            bench.media = Media::Manual;
            bench.jobs.clear();
            bench.input(Input::MediaState { call, state: MediaState::Failed });
            bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
            let restart = bench.take_request("INVITE");
            agreed_by_hand(&mut bench, &restart);
        }
        bench.input(Input::MediaState { call, state: MediaState::IceConnected });
        bench.pass(ms(1_500));
        // Told twice, it is the same path.
        bench.input(Input::MediaState { call, state: MediaState::IceConnected });
        bench.pass(ms(1_499));
        bench.nothing_sent();
        bench.pass(ms(1));
        bench.jobs.retain(|(_, _, command)| *command == MediaCommand::CreateOffer);
        bench.finish_job(Ok(MediaValue::Local(OFFER.into())));
        let new = bench.take_request("INVITE");
        replaced(&mut bench, call, &new);
    }
}

#[test]
fn dtls_that_comes_in_time_disturbs_nobody() {
    let (record, _) = replaceable(true);
    let (mut bench, call, invite) = taken_up(config(), &record);
    agreed_by_hand(&mut bench, &invite);
    bench.input(Input::MediaState { call, state: MediaState::IceConnected });
    bench.pass(ms(2_900));
    bench.input(Input::MediaState { call, state: MediaState::Connected });
    bench.pass(secs(30));
    bench.nothing_sent();
    assert_eq!(bench.phone.call(call).unwrap().state, CallState::Active);
    // Before a call is up, DTLS has the time of the whole call.
    let mut bench = Bench::online();
    bench.media = Media::Manual;
    let call = bench.dial("sip:bob@example.com");
    bench.input(Input::MediaState { call, state: MediaState::IceConnected });
    bench.pass(secs(10));
    assert_eq!(bench.phone.calls().len(), 1);
}

/// The address of record may lead to nobody: what can be mended is tried until the grace is over.
#[test]
fn a_place_that_is_refused_leaves_the_call_to_its_grace() {
    for status in [404, 481, 486, 603] {
        let (record, _) = replaceable(true);
        let (mut bench, call, invite) = taken_up(config(), &record);
        bench.reply(&with_sdp(answer(&invite, 200, ""), &existing()));
        bench.take_request("ACK");
        bench.media = Media::Manual;
        let new = bench.take_request("INVITE");
        bench.reply(&answer(&new, status, "c"));
        assert_eq!(bench.lines(), ["ACK"], "{status}");
        assert!(bench.end_of(call).is_none(), "{status}");
        assert!(bench.jobs.iter().any(|(_, _, command)| matches!(command, MediaCommand::RestartIce { .. })));
        bench.pass(config().signalling_grace + config().media_grace);
        assert!(bench.end_of(call).is_some() && bench.lines().contains(&"BYE".to_owned()), "{status}");
    }
}
