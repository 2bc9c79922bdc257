//! One browser API a file.
