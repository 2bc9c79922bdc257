//! What the tests of the parts begin with: a context without a phone, messages, and calls that are up.
#![cfg(test)]

use super::call::{Call, Phase};
use super::calls::Calls;
use super::context::Cx;
use super::env::{Asked, Env, LineEvent, What};
use super::io::{CallId, Direction, Event, Transmit};
use super::peer::Peer;
use super::{Phone, PhoneConfig};
use crate::entropy::SeededEntropy;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Request};
use crate::sip::uri::Uri;
use crate::sip::wire::{self, Frame};

/// The configuration of Alice, with two servers.
pub(super) fn config() -> PhoneConfig {
    let servers = vec!["wss://one.example.com".to_owned(), "wss://two.example.com".to_owned()];
    PhoneConfig::new(servers, Uri::parse("sip:alice@example.com").unwrap())
}

pub(super) fn cx() -> Cx {
    cx_with(config())
}

pub(super) fn cx_with(config: PhoneConfig) -> Cx {
    Cx::new(config, Box::new(SeededEntropy::new(1)))
}

pub(super) fn phone() -> Phone {
    Phone::new(config(), Box::new(SeededEntropy::new(1)))
}

/// A request of Bob's as it comes in, with these headers more.
pub(super) fn request(method: &str, headers: &str) -> Request {
    let text = format!(
        "{method} sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/WSS bob.invalid;branch=z9hG4bKb\r\n\
         From: \"Bob\" <sip:bob@example.com>;tag=bobs\r\nTo: <sip:alice@example.com>\r\nCall-ID: of-bob\r\n\
         CSeq: 7 {method}\r\nContact: <sip:bob@192.0.2.4>\r\n{headers}Content-Length: 0\r\n\r\n"
    );
    match wire::parse(text.as_bytes()) {
        Ok(Frame::Message(Message::Request(request))) => request,
        other => panic!("{other:?}"),
    }
}

/// A call with Bob in this phase, in a dialog of its own.
pub(super) fn call(cx: &mut Cx, direction: Direction, phase: Phase) -> Box<Call> {
    let id = cx.numbers.call();
    let mut call = Call::new(id, direction, phase);
    let mut invite = request("INVITE", "");
    invite.headers.set("Call-ID", format!("call-{}", id.0));
    call.sip.local_tag = format!("ours-{}", id.0);
    call.sip.call_id = format!("call-{}", id.0);
    call.peer = Peer::new("sip:bob@example.com".to_owned(), None);
    call.sip.dialog = Dialog::from_request(&invite, &call.sip.local_tag);
    assert!(call.sip.dialog.is_some());
    call.sip.invite = Some(invite);
    call
}

/// So many calls, and their ids.
pub(super) fn calls(cx: &mut Cx, phases: &[(Direction, Phase)]) -> (Calls, Vec<CallId>) {
    let mut calls = Calls::new();
    let mut ids = Vec::new();
    for (direction, phase) in phases {
        let call = call(cx, *direction, *phase);
        ids.push(call.id);
        calls.insert(call);
    }
    (calls, ids)
}

/// What the connection has told, taken.
pub(super) fn told(env: &mut Env) -> Vec<LineEvent> {
    let line = |asked| match asked {
        Asked { what: What::Line(event), .. } => event,
        Asked { what: What::Call(..), .. } => panic!("no call is here"),
    };
    core::mem::take(&mut env.asked).into_iter().map(line).collect()
}

/// Takes the outputs: the transmits, then the jobs, then the events.
pub(super) fn outputs(env: &mut Env) -> Vec<String> {
    let sent = |transmit: Transmit| match transmit {
        Transmit::OpenSocket { socket, url } => format!("open {} {url}", socket.0),
        Transmit::CloseSocket(socket) => format!("close {}", socket.0),
        Transmit::Send { socket, text } => {
            let first = text.lines().next().unwrap_or_default();
            format!("send {} {}", socket.0, first.split(' ').next().unwrap_or_default())
        }
    };
    let told = |event: Event| match event {
        Event::Connection(state, _) => format!("{state:?}"),
        Event::Registration(state, _) => format!("{state:?}"),
        other => format!("{other:?}"),
    };
    let mut outputs = Vec::new();
    outputs.extend(core::iter::from_fn(|| env.out.next_transmit()).map(sent));
    outputs.extend(core::iter::from_fn(|| env.out.next_job()).map(|job| format!("{job:?}")));
    outputs.extend(core::iter::from_fn(|| env.out.next_event()).map(told));
    outputs
}
