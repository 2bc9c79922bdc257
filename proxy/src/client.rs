//! How the proxy asks other servers.

/// The start of every client.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    #[cfg(feature = "tls")]
    {
        // An error says that the program has chosen another provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // What is asked and trusted is one address, not what it points to.
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none())
}
