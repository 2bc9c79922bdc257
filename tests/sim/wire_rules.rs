//! What holds for every message that a phone sends, in random calls too: numbers that rise, capabilities that are told, no
//! digest that nobody has asked for, and nothing of who hides.

use std::collections::{BTreeMap, BTreeSet};

use wasm_softphone::phone::PhoneConfig;
use wasm_softphone::sip::message::{Message, Method, Request, Response};

/// What one dialog has sent: the last CSeq number, and all branches.
type Sent = (u32, BTreeSet<String>);

#[derive(Debug, Default)]
pub struct WireRules {
    /// By phone, Call-ID and both tags.
    sent: BTreeMap<(usize, String, String, String), Sent>,
    /// What did not hold.
    pub broken: Vec<String>,
}

impl WireRules {
    /// A message that phone `side` has sent.
    pub fn look(&mut self, side: usize, config: &PhoneConfig, message: &Message) {
        let problem = match message {
            Message::Request(request) => self.request(side, request),
            Message::Response(response) => response_of(response),
        };
        let hidden = if config.anonymous { names_itself(config, message) } else { None };
        for problem in problem.into_iter().chain(hidden) {
            self.broken.push(format!("{side}: {problem}\n{message:?}"));
        }
    }

    fn request(&mut self, side: usize, request: &Request) -> Option<String> {
        let headers = &request.headers;
        let to_tag = headers.to_tag()?;
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return None;
        }
        // No server of these simulations challenges a request within a dialog.
        for name in ["Authorization", "Proxy-Authorization"] {
            if headers.get(name).is_some() {
                return Some(format!("{name} within a dialog, unasked"));
            }
        }
        if let (Some(asked), Some(least)) = (headers.number("Session-Expires"), headers.number("Min-SE"))
            && asked < least
        {
            return Some("Session-Expires below Min-SE".into());
        }
        let branch = headers.top_via()?.branch().unwrap_or_default().to_owned();
        let seq = headers.seq()?;
        let key = (side, headers.call_id()?.to_owned(), headers.from_tag()?, to_tag);
        let (last, branches) = self.sent.entry(key).or_default();
        // Sent again, over another socket: the same transaction.
        if !branches.insert(branch) {
            return None;
        }
        // What has waited for the registration may come behind a BYE, which did not: it is refused, and no harm done.
        let counts = request.method != Method::Bye;
        let before = core::mem::replace(last, if counts { seq.max(*last) } else { *last });
        (seq <= before).then(|| format!("CSeq {seq} after {before}"))
    }
}

fn response_of(response: &Response) -> Option<String> {
    let headers = &response.headers;
    let method = headers.cseq()?.method;
    let wanted: &[&str] = match method {
        Method::Invite => &["Supported", "Allow", "Contact"],
        Method::Update => &["Supported", "Contact"],
        Method::Options => &["Supported", "Allow", "Accept"],
        _ => return None,
    };
    if !(200..300).contains(&response.status) {
        return None;
    }
    wanted
        .iter()
        .find(|name| headers.get(name).is_none())
        .map(|name| format!("a 2xx to {method:?} without {name}"))
}

/// What in this message says who its sender is; the sender hides. To and From of a dialog that others have begun have the
/// name that they called, and what the server needs to know goes no further than to it.
fn names_itself(config: &PhoneConfig, message: &Message) -> Option<String> {
    let (headers, in_dialog) = match message {
        Message::Request(request) if request.method == Method::Register => return None,
        Message::Request(request) => (&request.headers, request.headers.to_tag().is_some()),
        Message::Response(response) => (&response.headers, true),
    };
    let personal = headers.cseq().is_some_and(|cseq| {
        !matches!(cseq.method, Method::Subscribe | Method::Publish | Method::Notify | Method::Cancel)
    });
    let user = config.uri.user.clone().unwrap_or_default().to_lowercase();
    let names = [format!(":{user}@"), format!("\"{user}\"")];
    let to_server = ["P-Preferred-Identity", "Authorization", "Proxy-Authorization"];
    // Whom the request is about or came from.
    let of_others = ["To", "From", "Via", "Refer-To", "Route", "Record-Route"];
    for (name, value) in headers.iter() {
        let outside = !in_dialog && to_server.contains(&name);
        // The ACK of a 2xx repeats the credentials of its INVITE (RFC 3261, section 22.1).
        let repeated = name.ends_with("Authorization")
            && matches!(message, Message::Request(request) if request.method == Method::Ack);
        let asserted_by_others = name == "Referred-By" && !value.contains(&format!(":{user}@"));
        if outside || repeated || asserted_by_others || of_others.contains(&name) {
            continue;
        }
        if names.iter().any(|name| value.to_lowercase().contains(name)) {
            return Some(format!("{name} names the one who hides: {value}"));
        }
    }
    let of_call =
        personal && matches!(message, Message::Request(request) if request.method != Method::Options);
    let says = headers.get("Privacy") == Some("id");
    (of_call && !says).then(|| "no Privacy: id".into())
}
