//! Every order in which the things of one dial can happen.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Config,
    Start,
    Invite,
    Ack,
    Claim,
    Confirm,
    /// The user hangs up, or the page is left.
    HangUp,
    PageHide,
    /// The provider hangs up.
    Bye,
    /// The proxy hears of the end.
    Ended,
}

/// Every order of these.
fn permutations(rest: &mut Vec<What>, order: &mut Vec<What>, visit: &mut dyn FnMut(&[What])) {
    if rest.is_empty() {
        visit(order);
        return;
    }
    for at in 0..rest.len() {
        let what = rest.remove(at);
        order.push(what);
        permutations(rest, order, visit);
        order.pop();
        rest.insert(at, what);
    }
}

struct Run {
    bench: Bench,
    id: CallId,
    caller: Caller,
    invite: Request,
    confirmed: bool,
    answered: bool,
    over: bool,
}

impl Run {
    fn new() -> Self {
        let mut bench = elks();
        let id = originate(&mut bench);
        let (caller, invite) = bridge("bridge", CALLER_ID);
        Self { bench, id, caller, invite, confirmed: false, answered: false, over: false }
    }

    fn open(&self, of: impl Fn(&ProxyCommand) -> bool) -> bool {
        self.bench.requests.iter().any(|(_, command)| of(command))
    }

    fn can(&self, what: What) -> bool {
        match what {
            What::Config => self.open(is_config),
            What::Start => self.open(is_start),
            What::Claim => self.open(is_claim),
            // The proxy confirms what is claimed and answered.
            What::Confirm => self.open(is_poll) && self.answered && count(&self.bench, is_claim) > 0,
            What::Ended => self.open(is_poll),
            What::Ack | What::Bye => self.caller.to_tag.is_some(),
            What::Invite | What::HangUp | What::PageHide => true,
        }
    }

    fn make(&mut self, what: What) {
        let bench = &mut self.bench;
        match what {
            What::Config => bench.proxy_answers(is_config, known()),
            What::Start => bench.proxy_answers(is_start, reply(202, state("ringing_client", 1))),
            What::Invite => send(bench, &self.invite),
            What::Ack => {
                let ack = self.caller.ack(1, None);
                send(bench, &ack);
            }
            What::Claim => bench.proxy_answers(is_claim, problem(204, "")),
            What::Confirm => {
                self.confirmed = !self.over;
                bench.proxy_answers(is_poll, reply(200, state("bridging", 3)));
            }
            What::HangUp => bench.hangup(self.id),
            What::PageHide => bench.input(Input::PageHide(PageKept::Page)),
            What::Bye => {
                let bye = self.caller.request("BYE", None);
                send(bench, &bye);
            }
            What::Ended => bench.proxy_answers(is_poll, reply(200, ended("completed", 4))),
        }
        self.over |= matches!(what, What::HangUp | What::PageHide | What::Bye | What::Ended);
        for message in &self.bench.sent {
            if let Message::Response(response) = message
                && response.status == 200
                && response.headers.cseq().is_some_and(|cseq| cseq.method.as_str() == "INVITE")
            {
                self.answered = true;
                self.caller.to_tag = response.headers.to().unwrap().tag().map(str::to_owned);
            }
        }
        self.bench.sent.clear();
    }

    fn check(&self, order: &[What]) {
        let bench = &self.bench;
        assert_eq!(gate_is_open(bench, self.id), self.confirmed, "{order:?}");
        assert!(count(bench, is_start) <= 1, "{order:?}");
        let ends = bench.events.iter().filter(|event| matches!(event, Event::Ended(..))).count();
        assert!(ends <= 1, "{order:?}");
        let done = bench.dial_result(self.id);
        assert!(ends == 0 || done.is_some(), "{order:?}");
        assert!(!self.confirmed || done == Some(&Ok(())), "{order:?}");
        assert!(!bench.events.iter().any(|event| matches!(event, Event::Incoming(_))), "{order:?}");
        if let Some(info) = bench.phone.call(self.id) {
            assert_eq!(info.gated, !self.confirmed, "{order:?}");
        }
    }
}

fn all_orders_of(set: &[What]) -> usize {
    let mut runs = 0_usize;
    permutations(&mut set.to_vec(), &mut Vec::new(), &mut |order| {
        let mut run = Run::new();
        for (at, what) in order.iter().enumerate() {
            if run.can(*what) {
                run.make(*what);
                run.check(&order[..=at]);
            } else if !run.over {
                // It cannot happen in this order.
                return;
            }
        }
        runs += 1;
        // Who has not ended it does so now.
        run.bench.hangup(run.id);
        settled(run.bench, run.id);
    });
    runs
}

#[test]
fn every_order_with_an_end_by_the_user() {
    use What::{Ack, Claim, Config, Confirm, HangUp, Invite, Start};
    assert!(all_orders_of(&[Config, Start, Invite, Ack, Claim, Confirm, HangUp]) > 50);
}

#[test]
fn every_order_with_a_page_that_is_left() {
    use What::{Ack, Claim, Config, Confirm, Invite, PageHide, Start};
    assert!(all_orders_of(&[Config, Start, Invite, Ack, Claim, Confirm, PageHide]) > 50);
}

#[test]
fn every_order_with_an_end_by_the_provider() {
    use What::{Ack, Bye, Claim, Confirm, Ended, Invite, Start};
    assert!(all_orders_of(&[Start, Invite, Ack, Claim, Confirm, Bye, Ended]) > 50);
}
