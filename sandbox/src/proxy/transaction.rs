//! Forwarding with transaction state (RFC 3261, section 16; RFC 6026): forks, CANCEL, the ACK of failures,
//! timers B and C.
//!
//! ```text
//! upstream            Transaction                    downstream
//!   INVITE  ---------->  ... one Branch per target ---> INVITE
//!   1xx     <----------  each                      <--- 1xx
//!   2xx     <----------  each; others get CANCEL   <--- 2xx
//!   3xx-6xx <----------  the best, once all are in <--- 3xx-6xx, ACK --->
//! ```

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use wasm_softphone::entropy::{Entropy, token};
use wasm_softphone::sip::header::CSeq;
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::time::Instant;

use super::ConnId;

/// 64 * T1: timers B, F, H, L and M, and the longest wait for the 487 of a CANCEL.
const T64: Duration = Duration::from_secs(32);
/// Timer C: the longest ringing (RFC 3261, section 16.6, step 11: more than three minutes).
const TIMER_C: Duration = Duration::from_secs(181);

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) conn: ConnId,
    /// The new Request-URI.
    pub(super) uri: String,
}

/// A response to an INVITE has gone upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) call_id: String,
    pub(super) status: u16,
    /// It had a body.
    pub(super) body: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BranchState {
    /// Nothing heard yet (timer B or F).
    Calling,
    /// It rings (timer C).
    Proceeding,
    /// CANCEL is out.
    Cancelled,
    /// A final response has come, or none will.
    Done,
}

/// The request as it went to one target.
struct Branch {
    /// The `branch` of our Via.
    id: String,
    conn: ConnId,
    request: Request,
    state: BranchState,
    deadline: Instant,
    /// CANCEL with this Reason as soon as the first 1xx permits it (RFC 3261, section 9.1).
    cancel: Option<Option<String>>,
}

/// One request that was forwarded.
struct Transaction {
    upstream: ConnId,
    /// The upstream connection is gone: there is nobody to answer.
    orphan: bool,
    /// `branch` and sent-by of the upstream Via (RFC 3261, section 17.2.3).
    key: (String, String),
    /// As it came, for the responses that we make ourselves.
    request: Request,
    branches: Vec<Branch>,
    best: Option<Response>,
    /// The caller has sent CANCEL.
    cancelled: bool,
    /// The final status that went upstream.
    finished: Option<u16>,
    /// What went upstream last, for a repeated request.
    last: Option<Response>,
    /// When a finished transaction is forgotten.
    forget: Option<Instant>,
}

impl Transaction {
    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }
}

/// All requests under way.
pub(super) struct Transactions {
    own: String,
    next: u64,
    transactions: BTreeMap<u64, Transaction>,
    /// `branch` of our Via to its transaction.
    by_branch: BTreeMap<String, u64>,
    sends: VecDeque<(ConnId, Message)>,
    news: VecDeque<News>,
}

impl Transactions {
    pub(super) fn count(&self) -> usize {
        self.transactions.len()
    }

    pub(super) const fn new(own: String) -> Self {
        Self {
            own,
            next: 0,
            transactions: BTreeMap::new(),
            by_branch: BTreeMap::new(),
            sends: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    pub(super) fn poll_send(&mut self) -> Option<(ConnId, Message)> {
        self.sends.pop_front()
    }

    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.transactions
            .values()
            .flat_map(|transaction| {
                let running = transaction.branches.iter().filter(|b| b.state != BranchState::Done);
                running.map(|branch| branch.deadline).chain(transaction.forget)
            })
            .min()
    }

    /// Sends a request to its targets. An ACK leaves no trace: it has no response.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        upstream: ConnId,
        request: Request,
        targets: Vec<Target>,
        entropy: &mut dyn Entropy,
    ) {
        let id = self.next;
        self.next += 1;
        let stateless = request.method == Method::Ack;
        if request.method == Method::Invite {
            self.sends.push_back((upstream, Message::Response(request.response(100, None))));
        }
        let mut branches = Vec::new();
        for target in targets {
            let branch = format!("z9hG4bK{}", token(entropy, 20));
            let mut copy = request.clone();
            copy.uri = target.uri;
            copy.headers.push_front("Via", format!("SIP/2.0/WS {};branch={branch}", self.own));
            self.sends.push_back((target.conn, Message::Request(copy.clone())));
            if !stateless {
                self.by_branch.insert(branch.clone(), id);
                branches.push(Branch {
                    id: branch,
                    conn: target.conn,
                    request: copy,
                    state: BranchState::Calling,
                    deadline: now + T64,
                    cancel: None,
                });
            }
        }
        if !stateless {
            let transaction = Transaction {
                upstream,
                orphan: false,
                key: key(&request),
                request,
                branches,
                best: None,
                cancelled: false,
                finished: None,
                last: None,
                forget: None,
            };
            self.transactions.insert(id, transaction);
        }
    }

    /// Whether this request was forwarded before; if so, its response goes out again.
    pub(super) fn repeat(&mut self, conn: ConnId, request: &Request) -> bool {
        let Some((_, transaction)) =
            self.find(conn, request, |transaction| transaction.request.method == request.method)
        else {
            return false;
        };
        let again = transaction.last.clone();
        if let Some(response) = again {
            self.sends.push_back((conn, Message::Response(response)));
        }
        true
    }

    /// Takes in the ACK of a failure, which ends here (RFC 3261, section 17.1.1.3).
    pub(super) fn absorb_ack(&mut self, conn: ConnId, request: &Request) -> bool {
        let Some((id, _)) = self.find(conn, request, |transaction| {
            transaction.is_invite() && transaction.finished.is_some_and(|status| status >= 300)
        }) else {
            return false;
        };
        self.forget(id);
        true
    }

    /// CANCEL: whether there is an INVITE for it.
    pub(super) fn cancel(
        &mut self,
        now: Instant,
        conn: ConnId,
        request: &Request,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let Some((id, transaction)) = self.find(conn, request, Transaction::is_invite) else {
            return false;
        };
        if transaction.finished.is_none() {
            transaction.cancelled = true;
            let reason = request.headers.get("Reason").map(str::to_owned);
            self.cancel_branches(now, id, reason.as_deref());
            self.conclude(now, id, entropy);
        }
        true
    }

    /// A response from downstream.
    pub(super) fn response(
        &mut self,
        now: Instant,
        conn: ConnId,
        mut response: Response,
        entropy: &mut dyn Entropy,
    ) {
        let (Some(via), Some(cseq)) = (response.headers.top_via(), response.headers.cseq()) else {
            return;
        };
        let Some(&id) = via.branch().and_then(|branch| self.by_branch.get(branch)) else {
            return;
        };
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return;
        };
        // The response to our own CANCEL has the same branch and ends here.
        if transaction.request.method != cseq.method {
            return;
        }
        let Some(branch) =
            transaction.branches.iter_mut().find(|b| Some(b.id.as_str()) == via.branch() && b.conn == conn)
        else {
            return;
        };
        pop_via(&mut response);
        let status = response.status;
        if status < 200 {
            if branch.state == BranchState::Calling {
                branch.state = BranchState::Proceeding;
            }
            if branch.state == BranchState::Proceeding && transaction.request.method == Method::Invite {
                branch.deadline = now + TIMER_C;
            }
            if let Some(reason) = branch.cancel.take() {
                send_cancel(&mut self.sends, &self.own, branch, now, reason.as_deref());
            } else if status > 100 && transaction.finished.is_none() {
                self.upstream(id, response);
            }
            return;
        }
        if status >= 300 && transaction.request.method == Method::Invite {
            self.sends.push_back((conn, Message::Request(ack(&self.own, branch, &response))));
        }
        let first = branch.state != BranchState::Done;
        branch.state = BranchState::Done;
        if status < 300 {
            // An INVITE may bring several: each makes a dialog that the caller must know of (section 16.7, step 5).
            let invite = transaction.is_invite();
            if transaction.finished.is_none_or(|status| status < 300)
                && (invite || transaction.finished.is_none())
            {
                transaction.finished = Some(status);
                transaction.forget = Some(now + T64);
                self.upstream(id, response);
            }
            self.cancel_branches(now, id, Some("SIP;cause=200;text=\"Call completed elsewhere\""));
            if !invite {
                self.forget(id);
            }
        } else if first {
            if status >= 600 {
                self.cancel_branches(now, id, Some(&format!("SIP;cause={status}")));
            }
            self.keep_best(id, response);
            self.conclude(now, id, entropy);
        }
    }

    /// A connection is gone: its branches fail, its own requests are given up.
    pub(super) fn closed(&mut self, now: Instant, conn: ConnId, entropy: &mut dyn Entropy) {
        let ids: Vec<u64> = self.transactions.keys().copied().collect();
        for id in ids {
            let Some(transaction) = self.transactions.get_mut(&id) else { continue };
            let mut failed = false;
            for branch in transaction.branches.iter_mut().filter(|branch| branch.conn == conn) {
                if branch.state != BranchState::Done {
                    branch.state = BranchState::Done;
                    failed = true;
                }
            }
            if transaction.upstream == conn {
                transaction.orphan = true;
                if transaction.finished.is_none() {
                    transaction.cancelled = true;
                    self.cancel_branches(now, id, None);
                    failed = true;
                }
            }
            if failed {
                self.fail(id, 480);
                self.conclude(now, id, entropy);
            }
        }
    }

    pub(super) fn timer(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let ids: Vec<u64> = self.transactions.keys().copied().collect();
        for id in ids {
            let Some(transaction) = self.transactions.get_mut(&id) else { continue };
            if transaction.forget.is_some_and(|at| at <= now) {
                self.forget(id);
                continue;
            }
            let invite = transaction.is_invite();
            let mut failed = false;
            let mut rang_out = false;
            for branch in &mut transaction.branches {
                if branch.state == BranchState::Done || branch.deadline > now {
                    continue;
                }
                if branch.state == BranchState::Proceeding && invite {
                    // Timer C (section 16.8): the phone is told, and then has as long as after any CANCEL.
                    send_cancel(&mut self.sends, &self.own, branch, now, None);
                    rang_out = true;
                } else {
                    branch.state = BranchState::Done;
                    failed = true;
                }
            }
            if rang_out {
                self.fail(id, 408);
            }
            if failed {
                if !invite {
                    // A late 408 to anything but INVITE does harm and no good (RFC 4320, section 4.1).
                    self.forget(id);
                    continue;
                }
                self.fail(id, 408);
                self.conclude(now, id, entropy);
            }
        }
    }

    /// A failure of our own making takes part in the choice of the best.
    fn fail(&mut self, id: u64, status: u16) {
        if let Some(transaction) = self.transactions.get(&id) {
            let response = transaction.request.response(status, None);
            self.keep_best(id, response);
        }
    }

    fn keep_best(&mut self, id: u64, response: Response) {
        if let Some(transaction) = self.transactions.get_mut(&id)
            && transaction.best.as_ref().is_none_or(|best| rank(response.status) < rank(best.status))
        {
            transaction.best = Some(response);
        }
    }

    /// Sends the best failure upstream when no branch can do better any more (RFC 3261, section 16.7, step 6).
    fn conclude(&mut self, now: Instant, id: u64, entropy: &mut dyn Entropy) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        if transaction.branches.iter().any(|branch| branch.state != BranchState::Done) {
            return;
        }
        if transaction.finished.is_some() {
            return;
        }
        let response = if transaction.cancelled {
            transaction.request.response(487, None)
        } else {
            match transaction.best.take() {
                Some(best) => best,
                None => transaction.request.response(480, None),
            }
        };
        let mut response = response;
        response.set_to_tag(&token(entropy, 10));
        transaction.finished = Some(response.status);
        let invite = transaction.is_invite();
        transaction.forget = Some(now + T64);
        let orphan = transaction.orphan;
        self.upstream(id, response);
        // No ACK will come where nothing could be sent, and other methods have none.
        if !invite || orphan {
            self.forget(id);
        }
    }

    fn upstream(&mut self, id: u64, response: Response) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        if transaction.is_invite() {
            self.news.push_back(News {
                call_id: transaction.request.headers.call_id().unwrap_or_default().to_owned(),
                status: response.status,
                body: !response.body.is_empty(),
            });
        }
        if !transaction.orphan {
            transaction.last = Some(response.clone());
            self.sends.push_back((transaction.upstream, Message::Response(response)));
        }
    }

    fn cancel_branches(&mut self, now: Instant, id: u64, reason: Option<&str>) {
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        if !transaction.is_invite() {
            return;
        }
        for branch in &mut transaction.branches {
            match branch.state {
                BranchState::Calling => branch.cancel = Some(reason.map(str::to_owned)),
                BranchState::Proceeding => send_cancel(&mut self.sends, &self.own, branch, now, reason),
                BranchState::Cancelled | BranchState::Done => {}
            }
        }
    }

    fn find(
        &mut self,
        conn: ConnId,
        request: &Request,
        wanted: impl Fn(&Transaction) -> bool,
    ) -> Option<(u64, &mut Transaction)> {
        let key = key(request);
        self.transactions
            .iter_mut()
            .find(|(_, transaction)| {
                transaction.upstream == conn && transaction.key == key && wanted(transaction)
            })
            .map(|(id, transaction)| (*id, transaction))
    }

    fn forget(&mut self, id: u64) {
        if let Some(transaction) = self.transactions.remove(&id) {
            for branch in transaction.branches {
                self.by_branch.remove(&branch.id);
            }
        }
    }
}

/// Which failure tells the caller most; the lowest wins. 6xx speaks for the user on all phones; a 487 that no
/// caller asked for says nothing.
const fn rank(status: u16) -> (u8, u16) {
    match status {
        600..=699 => (0, status),
        401 | 407 | 415 | 420 | 484 => (2, status),
        487 | 408 | 480 => (6, status),
        300..=399 => (1, status),
        400..=499 => (3, status),
        _ => (4, status),
    }
}

fn key(request: &Request) -> (String, String) {
    match request.headers.top_via() {
        Some(via) => (via.branch().unwrap_or_default().to_owned(), via.sent_by),
        None => (String::new(), String::new()),
    }
}

/// Takes our Via off a response (RFC 3261, section 16.7, step 3).
fn pop_via(response: &mut Response) {
    let rest: Vec<String> =
        response.headers.values("Via").iter().skip(1).map(|via| (*via).to_owned()).collect();
    response.headers.remove("Via");
    for via in rest.into_iter().rev() {
        response.headers.push_front("Via", via);
    }
}

/// A request that follows an INVITE on its branch: same Request-URI, top Via, From, Call-ID and CSeq number.
fn follow_up(own: &str, branch: &Branch, method: Method) -> Request {
    let mut request = Request::new(method.clone(), branch.request.uri.clone());
    request.headers.push("Via", format!("SIP/2.0/WS {own};branch={}", branch.id));
    request.headers.push("Max-Forwards", "70");
    for name in ["From", "To", "Call-ID"] {
        if let Some(value) = branch.request.headers.get(name) {
            request.headers.push(name, value);
        }
    }
    if let Some(CSeq { seq, .. }) = branch.request.headers.cseq() {
        request.headers.push("CSeq", CSeq { seq, method }.to_string());
    }
    request
}

fn ack(own: &str, branch: &Branch, response: &Response) -> Request {
    let mut request = follow_up(own, branch, Method::Ack);
    if let Some(to) = response.headers.get("To") {
        request.headers.set("To", to);
    }
    request
}

fn send_cancel(
    sends: &mut VecDeque<(ConnId, Message)>,
    own: &str,
    branch: &mut Branch,
    now: Instant,
    reason: Option<&str>,
) {
    let mut request = follow_up(own, branch, Method::Cancel);
    if let Some(reason) = reason {
        request.headers.push("Reason", reason);
    }
    branch.state = BranchState::Cancelled;
    branch.deadline = now + T64;
    sends.push_back((branch.conn, Message::Request(request)));
}
