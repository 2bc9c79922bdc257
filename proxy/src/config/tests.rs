use secrecy::ExposeSecret;

use super::*;

const MINIMAL: &str = r#"
public_url = "https://calls.example.com/"
hook_key = "hook-key-hook-key-hook-key"
origins = ["https://app.example.com"]

[upstream]
username = "u00000000000000000000000000000000"
password = "provider-password"

[auth]
algorithm = "HS256"
secret = "jwt-secret-jwt-secret-jwt-secret-jwt"
audience = "calls"

[[users]]
sub = "alice"
number = "+4600100100"
caller_ids = { main = "+46766860000" }
"#;

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, toml).unwrap();
    Config::load(Some(&path), environment.iter().map(|(name, value)| (name.to_string(), value.to_string())))
}

/// The minimal file with `setting` in front of everything.
fn with(setting: &str) -> Result<Config, ConfigError> {
    load(&format!("{setting}\n{MINIMAL}"), &[])
}

fn fields(result: Result<Config, ConfigError>) -> Vec<String> {
    result.expect_err("was accepted").fields().map(str::to_owned).collect()
}

#[test]
fn a_minimal_file_gets_the_documented_defaults() {
    let config = load(MINIMAL, &[]).unwrap();
    assert_eq!(config.listen, SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    assert_eq!(config.public_url, "https://calls.example.com");
    assert_eq!(config.upstream.base_url, "https://api.46elks.com/a1");
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.upstream.total_timeout, Duration::from_secs(8));
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.limits, LimitsConfig::default());
    assert_eq!(config.hook_sources, provider_sources());
    assert!(matches!(config.store, StoreConfig::Memory { journal: None }));
    assert!(!config.development && !config.kill_switch && !config.auth.users_from_claims);
    // Default deny: no country unless the operator names one.
    assert!(config.destinations.countries.is_empty());
    assert_eq!(config.auth.max_lifetime, Duration::from_secs(900));
}

#[test]
fn the_environment_goes_before_the_file_and_knows_lists_times_and_numbers() {
    let config = load(
        MINIMAL,
        &[
            ("WASM_SOFTPHONE_PROXY_UPSTREAM__PASSWORD", "12345678901234567890"),
            ("WASM_SOFTPHONE_PROXY_ORIGINS", "https://a.example.com, https://b.example.com"),
            ("WASM_SOFTPHONE_PROXY_TIMEOUTS__RING", "15s"),
            ("WASM_SOFTPHONE_PROXY_TIMEOUTS__CLAIM", "1.2"),
            ("WASM_SOFTPHONE_PROXY_LIMITS__USER_PER_MINUTE", "3"),
            ("WASM_SOFTPHONE_PROXY_DESTINATIONS__COUNTRIES", "SE,NO"),
            ("WASM_SOFTPHONE_PROXY_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1/32"),
            ("WASM_SOFTPHONE_PROXY_CALLER_IDS__SHARED", "+46766860009"),
            ("WASM_SOFTPHONE_PROXY_KILL_SWITCH", "true"),
            ("WASM_SOFTPHONE_PROXY_CONFIG", "/etc/anything"),
            ("WASM_SOFTPHONE_PROXY_LISTEN", ""),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.upstream.password.expose_secret(), "12345678901234567890");
    assert_eq!(config.origins.len(), 2);
    assert_eq!(config.timeouts.ring, Duration::from_secs(15));
    assert_eq!(config.timeouts.claim, Duration::from_millis(1200));
    assert_eq!(config.limits.user_per_minute, 3);
    assert_eq!(config.destinations.countries, BTreeSet::from(["SE".to_owned(), "NO".to_owned()]));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.caller_ids["shared"].as_str(), "+46766860009");
    assert!(config.kill_switch);
}

#[test]
fn secrets_come_from_files_too_but_not_from_both() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, "key-from-a-file-key-from-a-file\n").unwrap();
    let from_file = format!("hook_key_file = {:?}", path.display().to_string());
    let without = MINIMAL.replace("hook_key = \"hook-key-hook-key-hook-key\"", &from_file);
    assert_eq!(load(&without, &[]).unwrap().hook_key.expose_secret(), "key-from-a-file-key-from-a-file");
    assert_eq!(fields(with(&from_file)), ["hook_key"]);

    let missing = without.replace("/key\"", "/nothing-here\"");
    assert_eq!(fields(load(&missing, &[])), ["hook_key_file"]);
    assert_eq!(fields(load(&MINIMAL.replace("hook_key", "#"), &[])), ["hook_key"]);
    assert_eq!(fields(load(&MINIMAL.replace("password =", "#"), &[])), ["upstream.password"]);
}

#[test]
fn unknown_settings_are_refused_by_name() {
    for (toml, name) in [
        (format!("orgins = []\n{MINIMAL}"), "orgins"),
        (format!("{MINIMAL}\n[limits]\nuser_per_minutes = 3"), "user_per_minutes"),
        (format!("{MINIMAL}\nphone = 1"), "phone"),
    ] {
        let error = load(&toml, &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let error =
        load(MINIMAL, &[("WASM_SOFTPHONE_PROXY_UPSTREM__PASSWORD", "s3cret-value")]).unwrap_err().to_string();
    assert!(error.contains("upstrem") && !error.contains("s3cret-value"), "{error}");
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    for (setting, field) in [
        ("development = \"zzsecretzz\"", "development"),
        ("listen = \"zzsecretzz\"", "listen"),
        ("trusted_proxies = [\"zzsecretzz\"]", "trusted_proxies"),
        ("own_numbers = [\"zzsecretzz\"]", "own_numbers"),
        ("max_duration = \"zzsecretzz\"", "max_duration"),
        ("limits = { user_per_minute = \"zzsecretzz\" }", "limits.user_per_minute"),
        ("timeouts = { ring = -1 }", "timeouts.ring"),
        ("store = { kind = \"zzsecretzz\" }", "store.kind"),
        ("users = [{ sub = \"a\", number = \"zzsecretzz\" }]", "number"),
        ("caller_ids = { main = \"zzsecretzz\" }", "caller_ids"),
    ] {
        let toml = if setting.starts_with("users") {
            format!("{setting}\n{}", MINIMAL.split("[[users]]").next().unwrap())
        } else {
            format!("{setting}\n{MINIMAL}")
        };
        let error = load(&toml, &[]).unwrap_err();
        assert!(error.fields().any(|found| found.contains(field)), "{setting}: {error}");
        assert!(!error.to_string().contains("zzsecretzz"), "{setting}: {error}");
    }
    let error = load("password = zzsecretzz", &[]).unwrap_err().to_string();
    assert!(!error.contains("zzsecretzz"), "{error}");
}

#[test]
fn debug_shows_no_secret() {
    let mut config = load(MINIMAL, &[]).unwrap();
    config.incoming.secret = Some("incoming-secret-incoming-secret".into());
    config.store = StoreConfig::Redis { url: "redis://:redis-password@localhost".into(), prefix: "p".into() };
    let shown = format!("{config:?}");
    for secret in
        ["hook-key", "provider-password", "jwt-secret", "incoming-secret", "redis-password", "u0000000"]
    {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(!shown.contains("4600100100") && !shown.contains("46766860000"), "{shown}");
}

#[test]
fn origins_are_exact_and_never_wild() {
    for good in
        ["https://a.example.com", "https://a.example.com:8443", "http://localhost:3000", "http://127.0.0.1"]
    {
        assert_eq!(check_origin(good), Ok(()), "{good}");
    }
    for bad in [
        "*",
        "null",
        "",
        "https://*.example.com",
        "https://a.example.com/",
        "https://a.example.com/app",
        "https://a.example.com:443",
        "https://A.example.com",
        "http://a.example.com",
        "ftp://a.example.com",
        "a.example.com",
        "https://user@a.example.com",
    ] {
        assert!(check_origin(bad).is_err(), "{bad}");
        let toml = MINIMAL.replace("https://app.example.com", bad);
        assert!(load(&toml, &[]).is_err(), "{bad}");
    }
    assert_eq!(fields(load(&MINIMAL.replace("\"https://app.example.com\"", ""), &[])), ["origins"]);
}

#[test]
fn plain_http_is_for_loopback_only() {
    let public = |url: &str| load(&MINIMAL.replace("https://calls.example.com/", url), &[]);
    assert_eq!(fields(public("http://calls.example.com")), ["public_url"]);
    assert_eq!(fields(public("https://u:p@calls.example.com")), ["public_url"]);
    assert_eq!(fields(public("calls.example.com")), ["public_url"]);
    assert!(public("http://127.0.0.1:8080/elks").is_ok());
    let upstream = |url: &str| load(MINIMAL, &[("WASM_SOFTPHONE_PROXY_UPSTREAM__BASE_URL", url)]);
    assert_eq!(fields(upstream("http://api.46elks.com/a1")), ["upstream.base_url"]);
    assert_eq!(fields(upstream("http://127.0.0.1.example.com/a1")), ["upstream.base_url"]);
    assert!(upstream("http://[::1]:9/a1").is_ok());
}

#[test]
fn development_is_for_this_machine_and_a_local_provider() {
    let development = |extra: &[(&str, &str)]| {
        let mut environment = vec![
            ("WASM_SOFTPHONE_PROXY_DEVELOPMENT", "true"),
            ("WASM_SOFTPHONE_PROXY_UPSTREAM__BASE_URL", "http://127.0.0.1:9/a1"),
        ];
        environment.extend_from_slice(extra);
        load(MINIMAL, &environment)
    };
    assert!(development(&[]).is_ok());
    assert_eq!(fields(development(&[("WASM_SOFTPHONE_PROXY_LISTEN", "0.0.0.0:8080")])), ["development"]);
    assert_eq!(fields(development(&[("WASM_SOFTPHONE_PROXY_LISTEN", "[::]:8080")])), ["development"]);
    for real in ["https://api.46elks.com/a1", "https://API.46elks.com./a1", "https://46elks.com/a1"] {
        let extra = [("WASM_SOFTPHONE_PROXY_UPSTREAM__BASE_URL", real)];
        assert_eq!(fields(development(&extra)), ["development"], "{real}");
    }
}

#[test]
fn short_and_shared_secrets_are_refused() {
    assert_eq!(
        fields(load(&MINIMAL.replace("hook-key-hook-key-hook-key", "hook-key-hook-key-hook-"), &[])),
        ["hook_key"]
    );
    let long = "jwt-secret-jwt-secret-jwt-secret-jwt";
    assert_eq!(fields(load(&MINIMAL.replace(long, "jwt-secret"), &[])), ["auth.secret"]);
    assert_eq!(fields(load(&MINIMAL.replace("hook-key-hook-key-hook-key", long), &[])), ["auth.secret"]);
    assert_eq!(fields(with("incoming = { secret = \"short\" }")), ["incoming.secret"]);
    assert_eq!(fields(with("incoming = { secret = \"a/b/c/d/e/f/g/h/i/j/k/l/m/n\" }")), ["incoming.secret"]);
    assert_eq!(
        fields(with("incoming = { numbers = [{ number = \"+46766860000\", connect = \"+4600100100\" }] }")),
        ["incoming.secret"]
    );
    assert_eq!(
        fields(with("hook_basic = { username = \"u\", password = \"short\" }")),
        ["hook_basic.password"]
    );
}

#[test]
fn the_way_tokens_are_signed_goes_with_the_key() {
    let auth =
        |text: &str| load(&MINIMAL.replace("secret = \"jwt-secret-jwt-secret-jwt-secret-jwt\"", text), &[]);
    assert_eq!(fields(auth("")), ["auth"]);
    assert_eq!(fields(auth("jwks_url = \"https://a.example.com/jwks\"")), ["auth.algorithm"]);
    assert_eq!(
        fields(auth(
            "secret = \"jwt-secret-jwt-secret-jwt-secret-jwt\"\njwks_url = \"https://a.example.com/\""
        )),
        ["auth"]
    );
    let eddsa = |text: &str| {
        let toml = MINIMAL.replace("\"HS256\"", "\"EdDSA\"");
        load(&toml.replace("secret = \"jwt-secret-jwt-secret-jwt-secret-jwt\"", text), &[])
    };
    assert!(eddsa("jwks_url = \"https://a.example.com/jwks\"").is_ok());
    assert_eq!(fields(eddsa("jwks_url = \"http://a.example.com/jwks\"")), ["auth.jwks_url"]);
    assert_eq!(fields(eddsa("public_key = \"not a key\"")), ["auth.public_key"]);
    assert_eq!(fields(eddsa("secret = \"jwt-secret-jwt-secret-jwt-secret-jwt\"")), ["auth.algorithm"]);
    assert_eq!(fields(load(&MINIMAL.replace("HS256", "none"), &[])), ["auth.algorithm"]);
    assert_eq!(fields(load(&MINIMAL.replace("HS256", "RS256"), &[])), ["auth.algorithm"]);
}

#[test]
fn users_numbers_limits_and_times_are_checked() {
    let twice =
        "[[users]]\nsub = \"bob\"\nnumber = \"+4600100100\"\ncaller_ids = { main = \"+46766861111\" }";
    assert_eq!(fields(load(&format!("{MINIMAL}{twice}"), &[])), ["users[1].number"]);
    let same = twice.replace("bob", "alice").replace("100100", "100101");
    assert_eq!(fields(load(&format!("{MINIMAL}{same}"), &[])), ["users[1].sub"]);
    let none = "[[users]]\nsub = \"bob\"\nnumber = \"+4600100101\"";
    assert_eq!(fields(load(&format!("{MINIMAL}{none}"), &[])), ["users[1].caller_ids"]);
    let unknown = format!("{MINIMAL}default_caller_id = \"other\"");
    assert_eq!(fields(load(&unknown, &[])), ["users[0].default_caller_id"]);
    for (setting, field) in [
        ("limits = { user_per_minute = 0 }", "limits.user_per_minute"),
        ("timeouts = { ring = \"10m\" }", "timeouts.ring"),
        ("timeouts = { claim = \"5s\" }", "timeouts.claim"),
        ("max_duration = \"48h\"", "max_duration"),
        ("destinations = { countries = [\"Sweden\"] }", "destinations.countries"),
        ("destinations = { countries = [\"001\"] }", "destinations.countries"),
        ("destinations = { allow = [\"46\"] }", "destinations.allow[0]"),
        ("destinations = { deny = [\"+\"] }", "destinations.deny[0]"),
        ("trusted_proxies = [\"0.0.0.0/0\"]", "trusted_proxies[0]"),
        ("hook_sources = []", "hook_sources"),
        ("hook_sources = [\"::/0\"]", "hook_sources[0]"),
        ("allowed_headers = [\"*\"]", "allowed_headers[0]"),
        ("allowed_headers = [\"Cookie\"]", "allowed_headers[0]"),
        ("store = { kind = \"redis\" }", "store.url"),
        ("store = { kind = \"redis\", url = \"http://localhost\" }", "store.url"),
        ("store = { kind = \"redis\", url = \"rediss://localhost\" }", "store.url"),
        ("store = { kind = \"memory\", url = \"redis://localhost\" }", "store.kind"),
        ("sip = { servers = [\"ws://voip.example.com\"] }", "sip.servers[0]"),
    ] {
        assert!(fields(with(setting)).iter().any(|found| found == field), "{setting}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let toml =
        MINIMAL.replace("https://calls.example.com/", "http://calls.example.com").replace("HS256", "EdDSA");
    assert_eq!(fields(load(&toml, &[])), ["public_url", "auth.algorithm"]);
}

#[test]
fn a_configuration_can_be_made_in_code() {
    let mut config = Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        "http://127.0.0.1:8080/elks",
        "http://127.0.0.1:8080/a1",
        BasicCredentials { username: "u1".into(), password: "password".into() },
        "hook-key-hook-key-hook-key".into(),
        "jwt-secret-jwt-secret-jwt-secret-jwt".into(),
    );
    config.validate().unwrap();
    config.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    assert!(config.validate().is_err());
}

/// The example for operators, with the files that it names.
#[test]
fn the_example_file_is_accepted_and_shows_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = directory.path();
    for (name, content) in [
        ("hook_key", "hook-key-hook-key-hook-key"),
        ("api_username", "u00000000000000000000000000000000"),
        ("api_password", "provider-password"),
        ("sip_alice", "sip-password"),
        ("incoming_secret", "incoming-secret-incoming-secret"),
        ("hook_password", "hook-password-hook-password"),
        ("redis_url", "redis://localhost"),
    ] {
        std::fs::write(secrets.join(name), content).unwrap();
    }
    let example = include_str!("../../deploy/config.example.toml")
        .replace("/run/credentials/wasm-softphone-proxy.service", secrets.to_str().unwrap());
    let config = load(&example, &[]).unwrap();
    assert_eq!(config.users["alice"].sip_password.as_ref().unwrap().expose_secret(), "sip-password");
    assert_eq!(config.destinations.countries, BTreeSet::from(["SE".to_owned()]));
    crate::policy::Policy::new(&config).unwrap();

    // Every default that the example shows behind a # is the default.
    let shown: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_default(setting) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(shown.contains("\nmax_duration = \"1h\"") && shown.contains("\nlong_poll"));
    assert_eq!(format!("{:?}", load(&shown, &[]).unwrap()), format!("{config:?}"));
}

/// Whether a commented line of the example is a default and not another possibility.
fn is_default(line: &str) -> bool {
    let other = [
        "caller_ids",
        "allow =",
        "deny =",
        "deny_file",
        "username",
        "password_file",
        "kind =",
        "url_file",
        "prefix",
        "file =",
    ];
    let setting = line
        .split_once(" = ")
        .is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    setting && !other.iter().any(|start| line.starts_with(start))
}
