//! What this phone can do, as it tells others.

use crate::text::list;

/// The methods that this phone answers (RFC 3261, section 20.5).
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY, MESSAGE";
/// The extensions that a peer may require of this phone (RFC 3261, section 20.32), and those that it is told of.
pub(super) const REQUIRABLE: [&str; 7] =
    ["100rel", "timer", "replaces", "norefersub", "outbound", "gruu", "answermode"];
/// What may be told of, but not required: the end of a fork (RFC 6228).
pub(super) const EARLY_TERMINATED: &str = "199";
pub(super) const SDP: &str = "application/sdp";

/// The extensions that the other side is told of. `timer` where we want none too: those of the other side are kept
/// to, and a server that requires them is told that we can (RFC 4028, section 7.1). `reliable`: provisional responses
/// may be (RFC 3262).
pub(super) fn supported(reliable: bool) -> String {
    let mut tags = REQUIRABLE.to_vec();
    tags.retain(|tag| reliable || *tag != "100rel");
    tags.push(EARLY_TERMINATED);
    list(&tags)
}
