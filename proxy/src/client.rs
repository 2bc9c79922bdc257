//! How the proxy asks other servers.

/// Chooses who does the cryptography of TLS, where nobody has yet. For who builds a client of its own before a proxy; without the
/// feature `tls` there is nothing to choose.
pub fn install_tls() {
    #[cfg(feature = "tls")]
    {
        // An error says that the program has chosen another provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// The start of every client.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    install_tls();
    // What is asked and trusted is one address, not what it points to.
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none())
}
