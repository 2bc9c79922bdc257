//! SIP and tel URIs (RFC 3261, section 19; RFC 3966).

/// A parsed `sip:` or `sips:` URI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uri {
    /// `sip` or `sips`.
    pub scheme: String,
    /// The user part, unescaped form not applied: as on the wire.
    pub user: Option<String>,
    /// Host name or address; IPv6 with its brackets.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
}
