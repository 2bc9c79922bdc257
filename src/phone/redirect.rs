//! 3xx: where else the called side can be reached (RFC 3261, section 8.1.3.4).
//!
//! Whoever can answer an INVITE could send the user's call anywhere, so nothing is followed unless the configuration says
//! so, and what is followed is an address only: nothing else of the Contact becomes part of the next INVITE.

use super::authentication::renew;
use super::call::{Call, Phase};
use super::config::RedirectPolicy;
use super::context::Cx;
use super::transactions::Owner;
use super::{CallState, EndedBy, Event};
use crate::error::{Error, ErrorCode};
use crate::sip::auth::Attempt;
use crate::sip::header::NameAddr;
use crate::sip::message::Headers;
use crate::sip::uri::Uri;
use crate::text::split_once;

/// So many addresses of one response are looked at.
const MAX_TARGETS: usize = 8;

/// Where a call has been sent to.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    /// Those that have not been tried, best first.
    targets: Vec<String>,
    /// Those that have, the first included: nobody is asked twice (RFC 3261, section 8.1.3.4).
    tried: Vec<String>,
    /// The application has been asked, and has not said where to go: the status that the question is about.
    asked: Option<u16>,
}

impl Redirects {
    /// What comes of a question that nobody answers.
    pub(super) fn unanswered(&self) -> Option<Error> {
        self.asked.map(|status| Error::from_status(status, ""))
    }
}

impl Call {
    /// A final response other than 2xx to the INVITE that makes a call, or none (408): whether the call goes on to
    /// somewhere else, or waits to be told where.
    pub(super) fn redirected(&mut self, cx: &mut Cx, status: u16, headers: &Headers) -> bool {
        let limit = match cx.env.config.redirects {
            RedirectPolicy::Off => return false,
            RedirectPolicy::Ask => MAX_TARGETS,
            RedirectPolicy::Follow(limit) => usize::from(limit),
        };

        let Some(invite) = self.sip.invite.as_ref() else { return false };
        let first = Uri::parse(&invite.uri).map(|uri| uri.to_text()).unwrap_or_default();
        let secure = first.starts_with("sips:");
        // 305 names a proxy: which one this phone uses is not for others to say. 380 is about other services.
        let moves = matches!(status, 300..=302);
        if self.dialled.redirects.is_none() && !moves {
            return false;
        }
        let redirects = self.dialled.redirects.get_or_insert_default();
        if redirects.tried.is_empty() {
            redirects.tried.push(first);
        }
        if moves {
            // Before those of an earlier response that are left: whoever was asked knows better.
            let mut found = targets(headers, secure, &redirects.tried);
            for left in core::mem::take(&mut redirects.targets) {
                if found.len() < MAX_TARGETS && !found.contains(&left) {
                    found.push(left);
                }
            }
            redirects.targets = found;
        } else if status >= 600 {
            // The same everywhere (RFC 3261, section 21.6).
            redirects.targets.clear();
        }
        if redirects.targets.is_empty() || redirects.tried.len() > limit {
            return false;
        }
        if cx.env.config.redirects == RedirectPolicy::Ask {
            if !moves {
                return false;
            }
            redirects.asked = Some(status);
            let targets = redirects.targets.clone();
            cx.event(Event::Redirected { call: self.id, targets });
            return true;
        }
        self.go_to(cx, 0)
    }

    pub(super) fn take_redirect(&mut self, cx: &mut Cx, target: usize) -> Result<(), Error> {
        let inviting = self.phase == Phase::Inviting;
        let redirects =
            self.dialled.redirects.as_mut().filter(|redirects| {
                inviting && redirects.asked.is_some() && target < redirects.targets.len()
            });
        let Some(redirects) = redirects else {
            return Err(Error::new(ErrorCode::InvalidState, "There is no such target"));
        };
        redirects.asked = None;
        self.go_to(cx, target);
        Ok(())
    }

    pub(super) fn refuse_redirect(&mut self, cx: &mut Cx) {
        if self.phase == Phase::Inviting
            && let Some(error) = self.dialled.redirects.as_ref().and_then(|redirects| redirects.unanswered())
        {
            self.fail_outgoing(cx, error, EndedBy::Local);
        }
    }

    /// The INVITE goes to another address: the same To, From and Call-ID, a higher CSeq.
    fn go_to(&mut self, cx: &mut Cx, target: usize) -> bool {
        let (Some(redirects), Some(invite)) = (self.dialled.redirects.as_mut(), self.sip.invite.as_mut())
        else {
            return false;
        };
        if target >= redirects.targets.len() {
            return false;
        }
        let target = redirects.targets.remove(target);
        redirects.tried.push(target.clone());
        invite.uri = target;
        renew(invite);
        let invite = invite.clone();
        self.dialled.forks.begin_anew();
        self.dialled.invitation.redirect();
        self.set_call_state(cx, CallState::Connecting);
        if let Err(error) = self.send_request(cx, Owner::Invite(self.id), invite, Attempt::default()) {
            self.fail_outgoing(cx, error, EndedBy::Network);
        }
        true
    }
}

/// The addresses of a 3xx that may be called, best first: SIP only, `sips:` where the call was to be `sips:`, and without
/// the headers and the method that a URI can ask for (RFC 3261, section 19.1.5).
fn targets(headers: &Headers, secure: bool, tried: &[String]) -> Vec<String> {
    let mut found: Vec<(u16, String)> = Vec::new();
    for contact in headers.values("Contact").into_iter().take(MAX_TARGETS) {
        let Ok(contact) = NameAddr::parse(contact) else { continue };
        let Ok(mut uri) = Uri::parse(&contact.uri) else { continue };
        uri.headers = None;
        uri.params.remove("method");
        let text = uri.to_text();
        if (secure && uri.scheme != "sips") || tried.contains(&text) {
            continue;
        }
        if found.iter().all(|(_, known)| *known != text) {
            found.push((contact.params.get("q").map_or(1000, thousandths), text));
        }
    }
    // Stable: equals stay in the order of the response.
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    found.into_iter().map(|(_, target)| target).collect()
}

/// A `q` of 0 to 1 with up to three decimals (RFC 3261, section 25.1).
fn thousandths(q: &str) -> u16 {
    let (whole, decimals) = split_once(q, b'.').unwrap_or((q, ""));
    if whole.trim_ascii() != "0" {
        return 1000;
    }
    let digit = |at: usize| {
        decimals.as_bytes().get(at).filter(|b| b.is_ascii_digit()).map_or(0, |b| u16::from(b - b'0'))
    };
    digit(0) * 100 + digit(1) * 10 + digit(2)
}
