//! Which feature a source module belongs to.

/// What one could leave out or would look for, and its modules, each with what is below it. A module stands under the
/// first feature that names it; the test below keeps the names true.
pub(super) const FEATURES: [(&str, &[&str]); 21] = [
    (
        "audio: microphone, tracks, ICE, offers and answers, statistics",
        &[
            "browser::audio_element",
            "browser::media_devices",
            "browser::media_session",
            "browser::peer_connection",
            "browser::stats",
            "phone::audio",
            "phone::description",
            "phone::media",
            "phone::media_half",
            "phone::negotiation",
            "phone::offers",
            "sip::sdp",
        ],
    ),
    (
        "messages: lexer, headers, addresses, printing",
        &["sip::body", "sip::header", "sip::message", "sip::uri", "sip::wire"],
    ),
    (
        "transactions and dialogs",
        &["phone::transactions", "phone::requests", "sip::dialog", "sip::transaction"],
    ),
    (
        "outgoing and incoming calls",
        &[
            "phone::answering",
            "phone::arrivals",
            "phone::call",
            "phone::incoming",
            "phone::invitation",
            "phone::outgoing",
        ],
    ),
    ("forks", &["phone::forks"]),
    ("registration", &["phone::registration", "phone::refresh"]),
    (
        "servers and outages",
        &[
            "phone::line",
            "phone::liveness",
            "phone::outage",
            "phone::recovery",
            "phone::repair",
            "phone::servers",
        ],
    ),
    ("authentication", &["phone::authentication", "sip::auth", "sip::digest", "sip::md5"]),
    (
        "subscriptions, publications and messages",
        &["js::subscription", "phone::messaging", "phone::publication", "phone::subscription"],
    ),
    ("transfer and Replaces", &["phone::refer", "phone::replaces", "phone::succession", "phone::transfer"]),
    (
        "calls by REST",
        &[
            "browser::proxy_client",
            "dial::originate",
            "dial::proxy",
            "js::originated_call",
            "js::proxy",
            "phone::originate",
        ],
    ),
    ("numbers and dial strategies", &["dial"]),
    ("resume after a reload", &["browser::lock", "phone::resume", "phone::taken_up"]),
    ("redirects", &["phone::redirect"]),
    ("auto-answer", &["phone::auto_answer"]),
    ("identity of the peer", &["phone::identity", "phone::peer"]),
    ("reliable 1xx", &["phone::reliable"]),
    ("session timers", &["phone::session_timer"]),
    ("tones", &["browser::dtmf", "js::dtmf", "phone::tone_queue", "phone::tones"]),
    ("options", &["js::config", "phone::config"]),
    ("JavaScript API: objects, events, what the phone asks of the browser", &["js"]),
];

/// What belongs to none of them.
pub(super) const OTHERS: &str = "the rest: what all of them share";

/// The feature of the module of this path, below the crate.
pub(super) fn of(path: &str) -> &'static str {
    let within = |module: &&str| {
        path.strip_prefix(*module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let found = FEATURES.into_iter().find(|(_, modules)| modules.iter().any(within));
    found.map_or(OTHERS, |(feature, _)| feature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_module_that_is_named_exists() {
        for module in FEATURES.iter().flat_map(|(_, modules)| *modules) {
            let path = workspace::root().join("src").join(module.replace("::", "/"));
            assert!(path.is_dir() || path.with_extension("rs").is_file(), "{module}");
        }
    }

    #[test]
    fn a_function_belongs_to_the_feature_of_its_module() {
        assert_eq!(of("phone::transfer::Transfer::start"), "transfer and Replaces");
        assert_eq!(of("dial::proxy::body"), "calls by REST");
        assert_eq!(of("dial::plan::national"), "numbers and dial strategies");
        assert_eq!(of("phone::calls::Calls::get"), OTHERS);
    }
}
