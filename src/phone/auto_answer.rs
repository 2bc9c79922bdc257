//! Calls that ask to be answered at once (RFC 5373, and the headers that were used before it).
