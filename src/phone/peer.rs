//! Who is at the other end of a call: as the messages of the call say, and as the server vouches for.

use super::io::Identity;

/// The other side of one call.
#[derive(Debug, Default)]
pub(super) struct Peer {
    uri: String,
    display_name: Option<String>,
    asserted: Option<Identity>,
    private: bool,
    diversion: Option<Identity>,
}

/// What a server that is believed says in one message (RFC 3325; RFC 5806).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Who the other side is.
    pub(super) asserted: Option<Identity>,
    /// It does not want to be known to others (RFC 3323).
    pub(super) withheld: bool,
    /// Who has sent the call here.
    pub(super) diversion: Option<Identity>,
}

impl Peer {
    pub(super) const fn new(uri: String, display_name: Option<String>) -> Self {
        Self { uri, display_name, asserted: None, private: false, diversion: None }
    }

    /// The address by which it was dialled, or that its From gives.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    pub(super) const fn display_name(&self) -> Option<&String> {
        self.display_name.as_ref()
    }

    pub(super) const fn asserted(&self) -> Option<&Identity> {
        self.asserted.as_ref()
    }

    /// It does not want to be known to others (RFC 3323).
    pub(super) const fn is_private(&self) -> bool {
        self.private
    }

    pub(super) const fn diversion(&self) -> Option<&Identity> {
        self.diversion.as_ref()
    }

    pub(super) const fn set_private(&mut self, private: bool) {
        self.private = private;
    }

    /// Whether that is new.
    pub(super) fn learn(&mut self, told: Told) -> bool {
        let mut changed = false;
        let names = told.asserted.is_some();
        if names && self.asserted != told.asserted {
            self.asserted = told.asserted;
            changed = true;
        }
        if names || told.withheld {
            changed |= self.private != told.withheld;
            self.private = told.withheld;
        }
        if told.diversion.is_some() && self.diversion != told.diversion {
            self.diversion = told.diversion;
            changed = true;
        }
        changed
    }

    /// Another than the one who was vouched for has answered. Whether somebody was.
    pub(super) fn forget_asserted(&mut self) -> bool {
        self.asserted.take().is_some()
    }

    /// One line of a record. `None`: it says the name of nobody.
    pub(super) fn restore(&mut self, key: &str, value: &str) -> Option<()> {
        let text = || value.to_owned();
        let identity = || Some(Identity { uri: text(), display_name: None });
        match key {
            "uri" => self.uri = text(),
            "name" => self.display_name = Some(text()),
            "asserted" => self.asserted = identity(),
            "asserted-name" => self.asserted.as_mut()?.display_name = Some(text()),
            "diversion" => self.diversion = identity(),
            "diversion-name" => self.diversion.as_mut()?.display_name = Some(text()),
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn identity(user: &str) -> Option<Identity> {
        Some(Identity { uri: format!("sip:{user}@example.com"), display_name: None })
    }

    fn told(asserted: Option<Identity>, withheld: bool, diversion: Option<Identity>) -> Told {
        Told { asserted, withheld, diversion }
    }

    #[test]
    fn only_what_is_new_counts_as_a_change() {
        let mut peer = Peer::new("sip:a@example.com".to_owned(), None);
        for (told, changed, private) in [
            (told(None, false, None), false, false),
            (told(identity("a"), false, None), true, false),
            (told(identity("a"), false, None), false, false),
            // A message that names nobody says nothing of who is there.
            (told(None, false, identity("d")), true, false),
            (told(None, true, None), true, true),
            (told(None, false, None), false, true),
            (told(identity("b"), false, identity("d")), true, false),
        ] {
            assert_eq!((peer.learn(told), peer.is_private()), (changed, private));
        }
        assert_eq!((peer.asserted(), peer.diversion()), (identity("b").as_ref(), identity("d").as_ref()));
        assert!(peer.forget_asserted() && !peer.forget_asserted());
    }

    #[test]
    fn a_record_names_somebody_before_it_gives_the_name() {
        let mut peer = Peer::default();
        assert_eq!(peer.restore("asserted-name", "A"), None);
        assert_eq!(peer.restore("diversion-name", "D"), None);
        for (key, value) in [
            ("uri", "sip:a@b"),
            ("name", "N"),
            ("asserted", "sip:c@d"),
            ("asserted-name", "C"),
            ("later", "x"),
        ] {
            assert_eq!(peer.restore(key, value), Some(()), "{key}");
        }
        assert_eq!((peer.uri(), peer.display_name().map(String::as_str)), ("sip:a@b", Some("N")));
        assert_eq!(peer.asserted().and_then(|one| one.display_name.as_deref()), Some("C"));
    }
}
