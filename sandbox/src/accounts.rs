//! Who lives here: one domain, three users with passwords that everybody may know, and the service numbers.

/// The domain of every address of record, and the digest realm.
pub const DOMAIN: &str = "sandbox.test";

/// A user who can register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User part of the address of record and digest user name.
    pub user: &'static str,
    /// SIP password. No secret: the server listens on loopback only and hands it out in `/demo.json`.
    pub password: &'static str,
    /// Name for people.
    pub display_name: &'static str,
}

/// The users.
pub const ACCOUNTS: [Account; 3] = [
    Account { user: "alice", password: "alice-secret", display_name: "Alice" },
    Account { user: "bob", password: "bob-secret", display_name: "Bob" },
    Account { user: "carol", password: "carol-secret", display_name: "Carol" },
];

/// More of them, for tests with many phones: user and password of each.
pub fn crowd(size: u32) -> impl Iterator<Item = (String, String)> {
    (0..size).map(|number| (format!("crowd{number}"), format!("crowd{number}-secret")))
}

/// `sip:<user>@sandbox.test`.
#[must_use]
pub fn aor(user: &str) -> String {
    format!("sip:{user}@{DOMAIN}")
}
