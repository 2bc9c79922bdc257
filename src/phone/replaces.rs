//! INVITE with Replaces (RFC 3891): a call that takes the place of another one.
