//! The transactions under way, found by their wire keys (RFC 3261, sections 17.1.3 and 17.2.3).

use super::io::{CallId, RequestId, SocketId, SubscriptionId};
use super::sorted_map::SortedMap;
use super::timers::{Earliest, TimerKey, TxId};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Headers, Method, Request, Response};
use crate::sip::transaction::{Client, ClientState, Server, ServerState, T64};
use crate::text::{concat, digits};
use crate::time::{Duration, Instant};

/// Whom the responses of a client transaction concern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Register,
    Invite(CallId),
    Bye(CallId),
    Info(CallId),
    /// INFO with a tone.
    Tone(CallId),
    /// A re-INVITE of ours.
    Reinvite(CallId),
    /// A re-INVITE of ours that nobody waits for any more. Its 2xx is acknowledged all the same.
    LateReinvite(CallId),
    /// An UPDATE of ours.
    Update(CallId),
    Prack(CallId),
    Refer(CallId),
    /// The NOTIFY of a transfer that the other side asked us for.
    ReferNotify(CallId),
    Subscription(SubscriptionId),
    Publication(SubscriptionId),
    /// MESSAGE or OPTIONS.
    Request(RequestId),
    /// OPTIONS to the caller of a call that rings.
    Caller(CallId),
    /// OPTIONS to the server, as a sign of life.
    Ping,
    /// CANCEL, the BYE of an extra fork, requests of calls that are gone: nobody.
    Nobody,
}

impl Owner {
    /// The call that it belongs to.
    pub(super) const fn call(self) -> Option<CallId> {
        match self {
            Self::Invite(id)
            | Self::Bye(id)
            | Self::Info(id)
            | Self::Tone(id)
            | Self::Reinvite(id)
            | Self::LateReinvite(id)
            | Self::Update(id)
            | Self::Prack(id)
            | Self::Refer(id)
            | Self::ReferNotify(id)
            | Self::Caller(id) => Some(id),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct ClientEntry {
    pub(super) owner: Owner,
    pub(super) tx: Client,
    pub(super) attempt: Attempt,
    /// The socket that it was last sent over; `None`: it waits for the next one.
    pub(super) socket: Option<SocketId>,
    /// The lost socket that it was sent over before.
    lost: Option<SocketId>,
    /// Its deadline is that of the first response over a new socket.
    pub(super) first: bool,
    key: String,
}

impl ClientEntry {
    /// It was sent before, over a socket that is lost.
    pub(super) const fn was_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// The socket that it was sent over is lost: it waits for the next one.
    pub(super) const fn lose_socket(&mut self) {
        self.lost = self.socket.take();
        self.first = false;
        self.tx.deadline = None;
    }
}

#[derive(Debug)]
pub(super) struct ServerEntry {
    pub(super) tx: Server,
    /// The call that an INVITE belongs to.
    pub(super) call: Option<CallId>,
    key: String,
}

/// Requests of the other side under way: those of strangers, and all. What is a call's own gets through while strangers
/// keep us busy; nearly all of them are refused INVITEs whose ACK does not come for 32 s. INVITEs that were answered
/// with a 2xx give way.
const MAX_STRANGERS: usize = 128;
const MAX_SERVERS: usize = 256;
/// Requests of ours under way, beyond which the application may start no more.
const MAX_CLIENTS: usize = 256;

/// Limit of remembered responses. They are of the last half minute, and a lost socket loses only a few.
const MAX_ANSWERED: usize = 32;

/// A request that must not be carried out twice, with the status of its response.
#[derive(Debug)]
struct Answered {
    key: String,
    status: u16,
    at: Instant,
}

/// Methods that have an effect each time. The dialog protects the others, or they do no harm.
const fn answers_once(method: &Method) -> bool {
    matches!(method, Method::Message | Method::Info | Method::Refer | Method::Notify)
}

fn answer_key(headers: &Headers) -> Option<String> {
    Some(concat(&[headers.call_id()?, " ", headers.head().from_tag()?, " ", headers.get("CSeq")?]))
}

/// Dialogs whose last CSeq is remembered: those used last. A phone with all its calls up has fewer.
const MAX_DIALOGS: usize = 64;

/// The highest CSeq that has been sent in a dialog.
#[derive(Debug)]
struct Sent {
    dialog: String,
    seq: u32,
    /// Over which socket.
    socket: SocketId,
}

fn dialog_key(call_id: &str, local_tag: &str, remote_tag: &str) -> String {
    concat(&[call_id, " ", local_tag, " ", remote_tag])
}

/// The dialog that a request of ours is sent in; `None` outside of dialogs.
#[inline(never)]
fn dialog_of(headers: &Headers) -> Option<String> {
    let head = headers.head();
    Some(dialog_key(headers.call_id()?, head.from_tag()?, head.to_tag()?))
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    last: u32,
    clients: SortedMap<TxId, Box<ClientEntry>>,
    clients_by_key: SortedMap<String, TxId>,
    servers: SortedMap<TxId, Box<ServerEntry>>,
    servers_by_key: SortedMap<String, TxId>,
    /// The last responses to requests that must not be carried out twice.
    answered: Vec<Answered>,
    /// The dialog used last is the last.
    sent: Vec<Sent>,
}

/// Branch and method: a CANCEL has the branch of its INVITE.
fn client_key(branch: &str, method: &str) -> String {
    concat(&[branch, " ", method])
}

/// Branch, sent-by and method, where ACK belongs to INVITE. For a peer without the magic cookie, or with nothing
/// behind it (RFC 4475, section 3.2.1), the old key of RFC 2543 (section 17.2.3) is close to Call-ID and CSeq.
pub(super) fn server_key(request: &Request, method: &Method) -> Option<String> {
    let via = request.headers.head().via.as_ref()?;
    let method = if *method == Method::Ack { "INVITE" } else { method.as_str() };
    let unique = |branch: &&str| branch.strip_prefix("z9hG4bK").is_some_and(|id| !id.is_empty());
    let branch = via.branch().filter(unique);
    Some(match branch {
        Some(branch) => concat(&[branch, " ", &via.sent_by, " ", method]),
        None => {
            let seq = digits(request.headers.seq()?);
            concat(&[request.headers.call_id()?, " ", &seq, " ", &via.sent_by, " ", method])
        }
    })
}

impl Transactions {
    fn next_id(&mut self) -> TxId {
        self.last = self.last.wrapping_add(1);
        TxId(self.last)
    }

    pub(super) fn add_client(
        &mut self,
        owner: Owner,
        tx: Client,
        attempt: Attempt,
        socket: Option<SocketId>,
    ) -> TxId {
        let id = self.next_id();
        let branch = tx.request.headers.head().branch().unwrap_or_default();
        let key = client_key(branch, tx.request.method.as_str());
        self.clients_by_key.insert(key.clone(), id);
        self.clients
            .insert(id, Box::new(ClientEntry { owner, tx, attempt, socket, lost: None, first: false, key }));
        id
    }

    pub(super) fn find_client(&self, response: &Response) -> Option<TxId> {
        let head = response.headers.head();
        let method = head.cseq.as_ref()?.method.as_str();
        self.clients_by_key.get(&client_key(head.branch()?, method)).copied()
    }

    pub(super) fn client(&mut self, id: TxId) -> Option<&mut ClientEntry> {
        self.clients.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn clients(&mut self) -> impl Iterator<Item = (TxId, &mut ClientEntry)> {
        self.clients.iter_mut().map(|(id, entry)| (*id, entry.as_mut()))
    }

    /// A request of ours has no final response.
    pub(super) fn are_open(&self) -> bool {
        self.clients.values().any(|entry| entry.tx.is_open())
    }

    /// The same of one that went over this socket.
    pub(super) fn wait_over(&self, socket: SocketId) -> bool {
        self.clients.values().any(|entry| entry.tx.is_open() && entry.socket == Some(socket))
    }

    /// A request of this dialog waits to be sent.
    pub(super) fn waits_in(&self, headers: &Headers) -> bool {
        let dialog = (headers.call_id(), headers.head().to_tag());
        dialog.1.is_some()
            && self.clients.values().any(|entry| {
                let of = &entry.tx.request.headers;
                entry.socket.is_none() && entry.tx.is_open() && dialog == (of.call_id(), of.head().to_tag())
            })
    }

    /// CSeq of a re-INVITE in this call that has no final response.
    pub(super) fn open_reinvite(&self, call: CallId) -> Option<u32> {
        use ClientState::{Calling, Proceeding};
        let open = self.clients.values().find(|entry| {
            entry.owner == Owner::Reinvite(call) && matches!(entry.tx.state, Calling | Proceeding)
        });
        open.and_then(|entry| entry.tx.request.headers.seq())
    }

    pub(super) fn remove_client(&mut self, id: TxId) -> Option<ClientEntry> {
        let entry = self.clients.remove(&id)?;
        self.clients_by_key.remove(&entry.key);
        Some(*entry)
    }

    pub(super) fn add_server(&mut self, tx: Server, key: String) -> TxId {
        let id = self.next_id();
        self.servers_by_key.insert(key.clone(), id);
        self.servers.insert(id, Box::new(ServerEntry { tx, call: None, key }));
        id
    }

    /// Whether no more requests can be taken, from within a call or not.
    const fn is_full(&self, in_call: bool) -> bool {
        self.servers.len() >= if in_call { MAX_SERVERS } else { MAX_STRANGERS }
    }

    /// The oldest INVITE that was answered with a 2xx. It is kept for Timer L only to absorb a repetition, which comes after
    /// an outage at most, and is known by its Call-ID then.
    fn oldest_accepted(&self) -> Option<TxId> {
        let accepted = |entry: &ServerEntry| entry.tx.state == ServerState::Accepted;
        self.servers.iter().find(|(_, entry)| accepted(entry)).map(|(id, _)| *id)
    }

    /// Whether the application may start a request of its own. What has its final response is no longer under way.
    pub(super) fn allow_request(&self) -> Result<(), Error> {
        if self.clients.values().filter(|entry| entry.tx.is_open()).count() < MAX_CLIENTS {
            return Ok(());
        }
        Err(Error::new(ErrorCode::InvalidState, "There are too many requests under way already"))
    }

    /// The transaction that the request with this key repeats or acknowledges.
    pub(super) fn find_server(&self, key: &str) -> Option<TxId> {
        self.servers_by_key.get(key).copied()
    }

    /// The INVITE transaction that a CANCEL is for (RFC 3261, section 9.2).
    pub(super) fn find_cancelled(&self, cancel: &Request) -> Option<TxId> {
        self.servers_by_key.get(&server_key(cancel, &Method::Invite)?).copied()
    }

    pub(super) fn server(&mut self, id: TxId) -> Option<&mut ServerEntry> {
        self.servers.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn remove_server(&mut self, id: TxId) {
        if let Some(entry) = self.servers.remove(&id) {
            self.servers_by_key.remove(&entry.key);
        }
    }

    // ---- the order of requests in a dialog (RFC 3261, section 12.2.1.1)

    /// This request of ours goes out over this socket.
    #[inline(never)]
    pub(super) fn note_sent(&mut self, headers: &Headers, socket: SocketId) {
        let (Some(dialog), Some(seq)) = (dialog_of(headers), headers.seq()) else { return };
        let mut sent = Sent { dialog, seq, socket };
        match self.sent.iter().position(|known| known.dialog == sent.dialog) {
            Some(at) => {
                let known = self.sent.remove(at);
                if known.seq > seq {
                    sent = known;
                }
            }
            None if self.sent.len() >= MAX_DIALOGS => drop(self.sent.remove(0)),
            None => {}
        }
        self.sent.push(sent);
    }

    fn sent_in(&self, dialog: &str) -> Option<&Sent> {
        self.sent.iter().find(|known| known.dialog == dialog)
    }

    /// The highest CSeq that has been sent in this dialog; 0 where none is known.
    pub(super) fn last_seq(&self, dialog: &Dialog) -> u32 {
        let key = dialog_key(&dialog.call_id, &dialog.local_tag, &dialog.remote_tag);
        self.sent_in(&key).map_or(0, |sent| sent.seq)
    }

    /// Requests that were sent over a lost socket, and that one with a higher CSeq has overtaken over a later socket: the
    /// other side would refuse them (RFC 3261, section 12.2.2). Over the same socket the higher one came behind, or was
    /// lost too. A BYE is never given up: where it has not arrived, the other side would stay in the call.
    #[inline(never)]
    pub(super) fn overtaken(&self) -> Vec<TxId> {
        let mut overtaken = Vec::new();
        for (id, entry) in self.clients.iter() {
            let request = &entry.tx.request;
            let waits = entry.socket.is_none() && entry.tx.is_open() && request.method != Method::Bye;
            if let Some(lost) = entry.lost.filter(|_| waits)
                && let Some(sent) = dialog_of(&request.headers).and_then(|key| self.sent_in(&key))
                && sent.socket > lost
                && request.headers.seq() < Some(sent.seq)
            {
                overtaken.push(*id);
            }
        }
        overtaken
    }

    // ---- deadlines

    pub(super) fn show_deadlines(&self, earliest: &mut Earliest) {
        for (id, entry) in self.clients.iter() {
            earliest.show(entry.tx.deadline, TimerKey::Client(*id));
        }
        for (id, entry) in self.servers.iter() {
            earliest.show(entry.tx.deadline, TimerKey::Server(*id));
        }
    }

    /// The page was suspended for so long.
    pub(super) fn put_off(&mut self, by: Duration) {
        for (_, entry) in self.clients.iter_mut() {
            entry.tx.deadline = entry.tx.deadline.map(|at| at + by);
        }
        for (_, entry) in self.servers.iter_mut() {
            entry.tx.deadline = entry.tx.deadline.map(|at| at + by);
        }
    }

    /// The deadline of a request of others has been reached.
    pub(super) fn on_server_timeout(&mut self, id: TxId, now: Instant) {
        if let Some(entry) = self.server(id) {
            entry.tx.on_timeout(now);
        }
        self.tidy_server(id);
    }

    /// Forgets it, if it has ended.
    pub(super) fn tidy_client(&mut self, id: TxId) {
        if self.client(id).is_some_and(|entry| entry.tx.state == ClientState::Terminated) {
            self.remove_client(id);
        }
    }

    /// Forgets it, if it has ended.
    pub(super) fn tidy_server(&mut self, id: TxId) {
        if self.server(id).is_some_and(|entry| entry.tx.state == ServerState::Terminated) {
            self.remove_server(id);
        }
    }

    pub(super) fn remove_clients_of(&mut self, owner: Owner) {
        let of = |(id, entry): (TxId, &mut ClientEntry)| (entry.owner == owner).then_some(id);
        let ids: Vec<TxId> = self.clients().filter_map(of).collect();
        for id in ids {
            self.remove_client(id);
        }
    }

    /// Whether one more request can be taken, from within a call or not.
    pub(super) fn make_room(&mut self, in_call: bool) -> bool {
        while self.is_full(in_call) {
            let Some(accepted) = self.oldest_accepted() else { return false };
            self.remove_server(accepted);
        }
        true
    }

    // ---- retransmissions over another socket

    /// The status that this request has been given before, where it must not be carried out twice.
    pub(super) fn status_given(&self, request: &Request, now: Instant) -> Option<u16> {
        if !answers_once(&request.method) {
            return None;
        }
        let key = answer_key(&request.headers)?;
        let again = self.answered.iter().find(|answered| answered.key == key && now - answered.at < T64);
        again.map(|answered| answered.status)
    }

    /// The request with these headers has been given this response.
    pub(super) fn remember_answer(&mut self, headers: &Headers, status: u16, now: Instant) {
        let once = headers.head().cseq.as_ref().is_some_and(|cseq| answers_once(&cseq.method));
        let Some(key) = answer_key(headers).filter(|_| once && status >= 200) else { return };
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.remove(0);
        }
        self.answered.push(Answered { key, status, at: now });
    }

    /// Our own, and those of others.
    pub(super) const fn count(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    pub(super) fn clear(&mut self) {
        let last = self.last;
        *self = Self { last, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::fixture;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CALL: CallId = CallId(1);

    /// A request of ours in one dialog, with this CSeq.
    fn request(seq: u32) -> Request {
        let mut info = fixture::request("INFO", "");
        info.headers.set("To", "<sip:alice@example.com>;tag=ours");
        info.headers.set("CSeq", format!("{seq} INFO"));
        info
    }

    /// One that was sent over this socket, which is lost, or that was never sent.
    fn add(transactions: &mut Transactions, method: Method, seq: u32, socket: Option<SocketId>) -> TxId {
        let mut request = request(seq);
        request.method = method;
        let client = Client::new(request, Instant::ZERO);
        let id = transactions.add_client(Owner::Info(CALL), client, Attempt::default(), socket);
        let entry = transactions.client(id).unwrap();
        if socket.is_some() {
            entry.lose_socket();
        }
        id
    }

    #[test]
    fn what_a_later_request_has_overtaken_over_a_later_socket_is_not_sent_again() {
        let [first, second] = [SocketId(1), SocketId(2)];
        let mut transactions = Transactions::default();
        let lost = add(&mut transactions, Method::Info, 2, Some(first));
        add(&mut transactions, Method::Bye, 2, Some(first));
        add(&mut transactions, Method::Info, 1, None);
        transactions.note_sent(&request(2).headers, first);
        assert_eq!(transactions.overtaken(), [], "nothing has been sent since");
        // Over the same socket both have arrived, or neither.
        transactions.note_sent(&request(3).headers, first);
        assert_eq!(transactions.overtaken(), []);
        transactions.note_sent(&request(4).headers, second);
        assert_eq!(transactions.overtaken(), [lost], "a BYE goes out all the same");
    }

    #[test]
    fn the_last_number_of_a_dialog_is_known_after_its_call_is_gone() {
        let socket = SocketId(1);
        let mut transactions = Transactions::default();
        let mut dialog = Dialog::named("of-bob");
        dialog.local_tag = "bobs".to_owned();
        dialog.remote_tag = "ours".to_owned();
        assert_eq!(transactions.last_seq(&dialog), 0);
        for seq in [7, 9, 8] {
            transactions.note_sent(&request(seq).headers, socket);
        }
        assert_eq!(transactions.last_seq(&dialog), 9);
        // Only so many are kept, those used last.
        for other in 0..MAX_DIALOGS {
            assert_eq!(transactions.last_seq(&dialog), 9, "{other}");
            let mut elsewhere = request(1);
            elsewhere.headers.set("Call-ID", format!("other-{other}"));
            transactions.note_sent(&elsewhere.headers, socket);
        }
        assert_eq!((transactions.last_seq(&dialog), transactions.sent.len()), (0, MAX_DIALOGS));
    }
}
