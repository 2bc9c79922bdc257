//! What every machine may touch, and what it tells the phone.

use super::capabilities;
use super::config::PhoneConfig;
use super::io::{CallId, EndedBy, Event, Hint, Job, LogLevel, SocketId, Transmit};
use super::outbox::Outbox;
use super::transfer::Referral;
use crate::entropy::{Entropy, token};
use crate::error::Error;
use crate::sip::dialog::Dialog;
use crate::sip::header::name_addr;
use crate::sip::message::{check_extra_header, long_name, redact_with};
use crate::text::concat;
use crate::time::Instant;

/// What a call asks of the phone.
#[derive(Debug)]
pub(super) enum Ask {
    /// Its hold has changed: the call that is taking its place follows.
    FollowHold,
    /// Its hold has succeeded or failed: a transfer may have waited for that.
    GoOnWithTransfer,
    /// End this call, whose transfer has succeeded.
    HangUp(CallId),
    /// Take the place of this call; `asked`: the user has answered, and a hold is not passed on.
    TakePlace { old: CallId, asked: bool },
    /// It was dialled for a transfer of `old`, and has received this status.
    TellReferral { old: CallId, status: u16 },
    /// It is over, and the call that was made for it goes on reporting.
    OutliveReferral { new: CallId, referral: Box<Referral>, dialog: Option<Dialog> },
    /// A new call is to take its place.
    MakeReplacement { target: String, replaces: String },
    /// It is over: `replaced` is the call whose place it was to take.
    EndReplacement { replaced: Option<CallId>, by: EndedBy },
    /// It is answered: no other call by REST is still to be confirmed.
    YieldToIt,
    /// It is to answer itself, unless the user has another call meanwhile.
    AnswerItself,
    /// It waits no more for the provider's call: those that might have been its are judged anew.
    JudgeUnmatched,
}

/// What the connection reports to the phone. It knows no call, and no request.
#[derive(Debug)]
pub(super) enum LineEvent {
    /// A socket is open: the phone may register over it.
    Opened,
    /// The phone can make and receive calls, over another connection than before.
    Up,
    /// The new connection was useless: the previous one is the open one again.
    Back,
    /// The open connection is lost.
    Lost,
    /// The registrar's binding leads nowhere any more.
    Unbound,
    /// What was sent over this socket has no answer.
    Interrupted { socket: SocketId, error: Error },
    /// The same, and no connection is left.
    Down { socket: SocketId, error: Error },
    /// What has waited for a connection may go out over this one.
    Send(Waiting),
    /// The server is to be asked by OPTIONS whether it is there.
    AskByOptions,
    /// The answer to that is waited for no more.
    OptionsOver,
    /// The browser has told of this, and a socket is open.
    Hinted(Hint),
    /// The first `connect` has failed for good.
    GaveUp(Error),
    /// `disconnect` has come to its end.
    Over,
}

/// Which of the requests that have waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Those that need no registration.
    Unregistered,
    /// INVITEs, before a disconnect: calls that were given up get their CANCEL.
    Invites,
    /// All.
    All,
}

/// What the phone is asked for or told.
#[derive(Debug)]
pub(super) enum What {
    Call(CallId, Ask),
    Line(LineEvent),
}

/// The same, in its place.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: What,
    /// How many outputs came before it: what is done comes out in this place.
    pub(super) at: usize,
}

/// What every machine may touch: the configuration, the time, randomness, and what comes out.
pub(super) struct Env {
    pub(super) config: PhoneConfig,
    pub(super) entropy: Box<dyn Entropy>,
    pub(super) now: Instant,
    /// The socket of the message that is being handled.
    pub(super) heard_over: Option<SocketId>,
    pub(super) out: Outbox,
    /// What calls have asked of the phone, and what the connection has told it.
    pub(super) asked: Vec<Asked>,
    /// Headers of the application, whose values are not for the log.
    secret_headers: Vec<String>,
    /// User part of our Contact: unguessable, so that only the registrar can address this phone directly.
    contact_user: String,
    /// Host of Via and Contact: a browser has no address (RFC 7118, section 5).
    host: String,
}

impl Env {
    pub(super) fn new(config: PhoneConfig, mut entropy: Box<dyn Entropy>) -> Self {
        let contact_user = token(&mut *entropy, 12);
        let host = token(&mut *entropy, 12) + ".invalid";
        Self {
            config,
            entropy,
            now: Instant::ZERO,
            heard_over: None,
            out: Outbox::default(),
            asked: Vec::new(),
            secret_headers: Vec::new(),
            contact_user,
            host,
        }
    }

    /// See [`Ask`].
    pub(super) fn ask(&mut self, call: CallId, what: Ask) {
        self.asked.push(Asked { what: What::Call(call, what), at: self.out.end() });
    }

    /// See [`LineEvent`].
    pub(super) fn tell(&mut self, event: LineEvent) {
        self.asked.push(Asked { what: What::Line(event), at: self.out.end() });
    }

    #[inline(never)]
    pub(super) fn transmit(&mut self, transmit: Transmit) {
        self.out.transmit(transmit);
    }

    #[inline(never)]
    pub(super) fn job(&mut self, job: Job) {
        self.out.job(job);
    }

    #[inline(never)]
    pub(super) fn event(&mut self, event: Event) {
        self.out.event(event);
    }

    #[inline(never)]
    pub(super) fn log(&mut self, level: LogLevel, parts: &[&str]) {
        if self.config.trace || matches!(level, LogLevel::Warn | LogLevel::Error) {
            self.event(Event::Log(level, concat(parts)));
        }
    }

    pub(super) fn trace(&mut self, direction: &str, text: &str) {
        if self.config.trace {
            self.log(LogLevel::Debug, &[direction, "\n", &redact_with(text, &self.secret_headers)]);
        }
    }

    /// Checks the headers of the application; their values may be tokens, so that none is written to the log.
    pub(super) fn take_headers(&mut self, headers: &[(String, String)]) -> Result<(), Error> {
        for (name, value) in headers {
            check_extra_header(name, value)
                .map_err(|problem| Error::invalid_config("extraHeaders", problem))?;
            let name = long_name(name);
            let known = self.secret_headers.iter().any(|known| known.eq_ignore_ascii_case(name));
            if !known {
                self.secret_headers.push(name.to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn contact_user(&self) -> &str {
        &self.contact_user
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The address of the page whose calls are taken up: where others look for this phone.
    pub(super) fn take_address(&mut self, contact_user: String, host: String) {
        self.contact_user = contact_user;
        self.host = host;
    }

    pub(super) fn contact_uri(&self) -> String {
        concat(&[&self.config.uri.scheme, ":", &self.contact_user, "@", &self.host, ";transport=ws"])
    }

    /// Our address in From and To, without a tag.
    pub(super) fn own_address(&self) -> String {
        let name = self.config.display_name.as_deref().filter(|name| !name.is_empty());
        name_addr(name, &self.config.uri.aor())
    }

    /// See [`capabilities::supported`].
    pub(super) fn supported(&self) -> String {
        capabilities::supported(self.config.reliable_provisional)
    }
}
