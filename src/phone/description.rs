//! Session descriptions in and out: the one place where an offer or answer of the peer's is judged, whichever message it
//! comes in, and where what this side says of the session is kept (RFC 3264, RFC 8829).

use super::call::Call;
use super::capabilities;
use super::context::Cx;
use super::media_half::MediaJob;
use super::{EndCause, EndedBy, LogLevel, MediaCommand};
use crate::error::{Error, ErrorCode};
use crate::sip::body;
use crate::sip::message::{Headers, Request};
use crate::sip::sdp::{self, Agreed, Description, Direction, Flaw};
use crate::sip::wire::text_of;
use crate::text::{concat, digits, number, split_once};

/// The bodies that a call takes.
pub(super) const ACCEPT: &str = "application/sdp, multipart/mixed";

/// What a call keeps of its session, besides what the browser does.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    pub(super) agreed: Agreed,
    /// The description of the peer's that the job under way is about.
    pub(super) theirs: Option<Box<Description>>,
    /// The fingerprint of this side's last description.
    fingerprint: String,
    /// The direction that this side has offered last.
    offered: Option<Direction>,
    /// The value of the `o=` line of the last one.
    pub(super) origin: Option<String>,
}

/// The description in a message, wherever in its body it is.
pub(super) fn sdp_text(headers: &Headers, body: &[u8]) -> Option<String> {
    let part = body::part(headers, body, &|kind| kind.eq_ignore_ascii_case(capabilities::SDP));
    let (_, sdp) = part.filter(|_| !body.is_empty() && headers.get("Content-Encoding").is_none())?;
    Some(text_of(sdp).into_owned())
}

/// Judges the offer in a message, if there is one.
pub(super) fn read_offer(request: &Request, agreed: &Agreed) -> Result<Option<Description>, Flaw> {
    let (headers, body) = (&request.headers, &request.body);
    match sdp_text(headers, body) {
        Some(sdp) => sdp::judge(&sdp, false, agreed).map(Some),
        // Of many parts, none of which is for us.
        None if body.is_empty()
            || (body::has_parts(headers) && headers.get("Content-Encoding").is_none()) =>
        {
            Ok(None)
        }
        None => Err(Flaw::Type),
    }
}

/// Whether there is one, good or bad.
pub(super) fn describes(request: &Request) -> bool {
    !matches!(read_offer(request, &Agreed::default()), Ok(None))
}

impl Call {
    /// The offer of the INVITE that made it.
    pub(super) fn invite_offer(&self) -> Option<Description> {
        read_offer(self.sip.invite.as_ref()?, &Agreed::default()).ok()?
    }
}

impl Call {
    /// A job that is about a description of the peer's.
    pub(super) fn description_job(
        &mut self,
        cx: &mut Cx,
        job: MediaJob,
        mut description: Description,
        command: impl FnOnce(String) -> MediaCommand,
    ) {
        let sdp = core::mem::take(&mut description.sdp);
        self.media_job(cx, job, command(sdp));
        self.descriptions.theirs = Some(Box::new(description));
    }

    /// Sets an answer to an offer of ours.
    pub(super) fn answer_job(&mut self, cx: &mut Cx, job: MediaJob, answer: Description) {
        let provisional = job == MediaJob::EarlyAnswer;
        self.description_job(cx, job, answer, |answer| MediaCommand::SetAnswer { answer, provisional });
    }

    /// The answer to our offer, judged.
    pub(super) fn judge_answer(&mut self, cx: &mut Cx, sdp: Option<String>) -> Result<Description, Error> {
        let problem = match sdp.map(|sdp| sdp::judge(&sdp, true, &self.descriptions.agreed)) {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(flaw)) => flaw.text(),
            None => "The other side answered without media",
        };
        cx.log(LogLevel::Warn, &["no usable answer: ", problem]);
        Err(Error::new(ErrorCode::NotAcceptable, problem))
    }

    /// The two sides have agreed on nothing that this one could use: the call is over.
    pub(super) fn end_unagreed(&mut self, cx: &mut Cx, error: Error) {
        // Without what could end the quotes.
        let reason = concat(&["SIP;cause=488;text=\"", &error.message.replace(['"', '\\'], "'"), "\""]);
        self.end_with_bye(cx, EndCause::Failed(error), EndedBy::Local, Some(&reason));
    }

    /// The answer that is set is the agreement. Returns whether it tells that the other side holds.
    pub(super) fn answer_agreed(&mut self) -> Option<bool> {
        let kept = &mut self.descriptions;
        let theirs = kept.theirs.take()?;
        kept.agreed.peer = Some((theirs.fingerprint, theirs.active));
        sdp::tells_hold(kept.offered?, theirs.direction)
    }

    /// A description that this side sends: of the session that there is, by its name, with the next number and with as many
    /// lines (RFC 3264, section 8).
    pub(super) fn describe(&mut self, sdp: &str) -> String {
        let kept = &mut self.descriptions;
        let (direction, fingerprint, active) = sdp::own(sdp);
        if kept.fingerprint != fingerprint {
            // Another association: its roles are yet to be agreed.
            fingerprint.clone_into(&mut kept.fingerprint);
            kept.agreed.peer = None;
        }
        match kept.theirs.take() {
            Some(theirs) => {
                kept.agreed.lines = theirs.lines;
                kept.agreed.peer = Some((theirs.fingerprint, !active));
            }
            None => {
                kept.offered = Some(direction);
                if kept.agreed.lines.is_empty() {
                    kept.agreed.lines.push(String::new());
                }
            }
        }
        let sdp = sdp::with_lines(sdp, &kept.agreed.lines);
        let Some((before, own, after)) = split_origin(&sdp) else { return sdp };
        let origin = kept.origin.as_deref().and_then(next_origin).unwrap_or_else(|| own.to_owned());
        let sdp = concat(&[before, &origin, after]);
        kept.origin = Some(origin);
        sdp
    }
}

impl Cx {
    /// The status that refuses an offer, and the header that explains it.
    pub(super) fn refusal_of(&self, flaw: Flaw) -> (u16, Option<(&'static str, String)>) {
        let header = match flaw {
            Flaw::Type => ("Accept", ACCEPT.to_owned()),
            flaw => ("Warning", concat(&[flaw.warning(), " ", self.env.host(), " \"", flaw.text(), "\""])),
        };
        (flaw.status(), Some(header))
    }
}

/// What stands before the value of the `o=` line, the value, and what stands behind it.
fn split_origin(sdp: &str) -> Option<(&str, &str, &str)> {
    // RFC 8866, section 5: the second line.
    let at = split_once(sdp, b'\n')?.0.len() + 1;
    let rest = sdp.get(at..)?.strip_prefix("o=")?;
    let end = rest.bytes().position(|b| b == b'\r' || b == b'\n')?;
    Some((sdp.get(..at + 2)?, rest.get(..end)?, rest.get(end..)?))
}

/// The same with the next version (RFC 8866, section 5.2).
fn next_origin(origin: &str) -> Option<String> {
    let (user, rest) = split_once(origin, b' ')?;
    let (session, rest) = split_once(rest, b' ')?;
    let (version, address) = split_once(rest, b' ')?;
    let version = digits(number(version)?.checked_add(1)?);
    Some(concat(&[user, " ", session, " ", &version, " ", address]))
}
