//! Who calls: P-Asserted-Identity (RFC 3325), Diversion (RFC 5806), History-Info (RFC 7044), Privacy (RFC 3323).
