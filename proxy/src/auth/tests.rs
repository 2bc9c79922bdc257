use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderValue;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::digest::KeyInit;
use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Sha384, Sha512};
use url::Url;

use super::*;
use crate::config::BasicCredentials;

const SECRET: &str = "jwt-secret-jwt-secret-jwt-secret-jwt";
/// Seeds of two Ed25519 keys.
const KEY_1: [u8; 32] = [1; 32];
const KEY_2: [u8; 32] = [2; 32];

fn private_key(seed: [u8; 32]) -> EncodingKey {
    // RFC 8410, section 7: PKCS #8 around the seed.
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend_from_slice(&seed);
    EncodingKey::from_ed_der(&der)
}

/// RFC 8037, section 2.
fn public_jwk(seed: [u8; 32]) -> Value {
    let x = URL_SAFE_NO_PAD.encode(ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().as_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x })
}

fn public_pem(seed: [u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.decode(public_jwk(seed)["x"].as_str().unwrap()).unwrap();
    let mut der = vec![0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
    der.extend_from_slice(&x);
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

fn number(text: &str) -> E164 {
    E164::parse(text).unwrap()
}

fn config() -> Config {
    let mut config = Config::development(
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        "http://127.0.0.1:1",
        "http://127.0.0.1:1/a1",
        BasicCredentials { username: "u1".into(), password: "password".into() },
        "hook-key-hook-key-hook-key".into(),
        SECRET.into(),
    );
    config.users.insert(
        "alice".to_owned(),
        UserConfig {
            number: number("+4600100100"),
            caller_ids: BTreeMap::from([
                ("main".to_owned(), number("+46766860000")),
                ("away".to_owned(), number("+46766860001")),
            ]),
            default_caller_id: None,
            sip_password: Some("sip-password".into()),
        },
    );
    config.caller_ids.insert("shared".to_owned(), number("+46766868888"));
    config
}

async fn authenticator(change: impl FnOnce(&mut Config)) -> Authenticator {
    let mut config = config();
    change(&mut config);
    config.validate().unwrap();
    Authenticator::new(&config).await.unwrap()
}

fn claims(changes: Value) -> Value {
    let mut claims =
        json!({ "sub": "alice", "aud": "wasm-softphone-proxy", "iat": now(), "exp": now() + 600 });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn hs256(claims: &Value) -> String {
    sign(Algorithm::HS256, None, claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

/// Signed with another HMAC than ours.
fn longer<M: Mac + KeyInit>(algorithm: Algorithm, claims: &Value) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(json!({ "alg": algorithm })), part(claims.clone()));
    let mac = <M as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&message);
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    signatures::install();
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

fn with(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

async fn outcome(authenticator: &Authenticator, token: &str) -> &'static str {
    match authenticator.authenticate(&with(&format!("Bearer {token}"))).await {
        Ok(_) => "ok",
        Err(error) => {
            assert_eq!(error.code, "unauthenticated");
            error.reason
        }
    }
}

#[tokio::test]
async fn a_token_opens_the_session_of_its_user() {
    let authenticator = authenticator(|_| ()).await;
    let headers = with(&format!("bearer {}", hs256(&claims(json!({})))));
    let session = authenticator.authenticate(&headers).await.unwrap();
    assert_eq!(session.user, "alice");
    assert_eq!(session.number.as_str(), "+4600100100");
    assert_eq!(session.default_caller_id, "main");
    assert_eq!(session.caller_ids.keys().collect::<Vec<_>>(), ["away", "main", "shared"]);
    let sip = session.sip.unwrap();
    assert_eq!(sip.uri, "sip:4600100100@voip.46elks.com");
    assert_eq!(sip.username, "4600100100");
    assert_eq!(sip.password.expose_secret(), "sip-password");
    assert_eq!(session.hash.len(), 16);
    assert_eq!(session.hash, authenticator.user_hash("alice"));
    assert_ne!(session.hash, authenticator.user_hash("bob"));
}

#[tokio::test]
async fn neither_a_session_nor_an_error_shows_a_secret() {
    let authenticator = authenticator(|_| ()).await;
    let token = hs256(&claims(json!({})));
    let session = authenticator.authenticate(&with(&format!("Bearer {token}"))).await.unwrap();
    let shown = format!("{session:?} {authenticator:?}");
    for secret in ["sip-password", SECRET, "hook-key", "46766860000"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    let error = authenticator.authenticate(&with(&format!("Bearer {token}x"))).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&token));
}

#[tokio::test]
async fn only_one_bearer_token_is_taken() {
    let authenticator = authenticator(|_| ()).await;
    let refused = async |headers: HeaderMap| authenticator.authenticate(&headers).await.unwrap_err().reason;
    let token = hs256(&claims(json!({})));
    assert_eq!(refused(HeaderMap::new()).await, "missing");
    assert_eq!(refused(with("Basic dTE6cGFzc3dvcmQ=")).await, "scheme");
    assert_eq!(refused(with("basic dTE6cGFzc3dvcmQ=")).await, "scheme");
    assert_eq!(refused(with(&format!("Token {token}"))).await, "scheme");
    assert_eq!(refused(with(&token)).await, "malformed");
    assert_eq!(refused(with("Bearer ")).await, "malformed");
    assert_eq!(refused(with("Bearer x")).await, "malformed");
    assert_eq!(refused(with(&format!("Bearer {}", "x".repeat(5000)))).await, "malformed");
    let mut twice = with(&format!("Bearer {token}"));
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
    assert_eq!(refused(twice).await, "malformed");
}

#[tokio::test]
async fn every_claim_is_required_and_checked() {
    let authenticator = authenticator(|_| ()).await;
    for (changes, expected) in [
        (json!({}), "ok"),
        (json!({ "sub": null }), "claims"),
        (json!({ "aud": null }), "claims"),
        (json!({ "exp": null }), "claims"),
        (json!({ "iat": null }), "claims"),
        (json!({ "aud": "another-service" }), "audience"),
        (json!({ "aud": ["another-service", "wasm-softphone-proxy"] }), "ok"),
        (json!({ "exp": now() - 60, "iat": now() - 120 }), "expired"),
        (json!({ "exp": now() - 2, "iat": now() - 120 }), "ok"),
        (json!({ "iat": now() + 60, "exp": now() + 600 }), "not_yet"),
        (json!({ "iat": now() + 3, "exp": now() + 600 }), "ok"),
        (json!({ "nbf": now() + 60 }), "not_yet"),
        (json!({ "iat": now(), "exp": now() + 901 }), "lifetime"),
        (json!({ "iat": now(), "exp": now() + 900 }), "ok"),
        (json!({ "iat": 0 }), "lifetime"),
        (json!({ "iat": now() + 3, "exp": now() + 2 }), "lifetime"),
        (json!({ "sub": "" }), "subject"),
        (json!({ "sub": "nobody" }), "user"),
        (json!({ "sub": 7 }), "claims"),
    ] {
        assert_eq!(outcome(&authenticator, &hs256(&claims(changes.clone()))).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn an_issuer_is_required_where_one_is_set() {
    let authenticator =
        authenticator(|config| config.auth.issuer = Some("https://app.example.com".into())).await;
    assert_eq!(outcome(&authenticator, &hs256(&claims(json!({})))).await, "claims");
    assert_eq!(
        outcome(&authenticator, &hs256(&claims(json!({ "iss": "https://b.example.com" })))).await,
        "issuer"
    );
    assert_eq!(
        outcome(&authenticator, &hs256(&claims(json!({ "iss": "https://app.example.com" })))).await,
        "ok"
    );
}

#[tokio::test]
async fn the_algorithm_is_the_configurations_and_never_the_tokens() {
    let hmac = authenticator(|_| ()).await;
    let public_key = authenticator(|config| {
        config.auth.algorithm = JwtAlgorithm::EdDSA;
        config.auth.key = JwtKey::PublicKeyPem(public_pem(KEY_1));
    })
    .await;
    let all = claims(json!({}));
    let private = private_key(KEY_1);
    let other = private_key(KEY_2);
    assert_eq!(outcome(&public_key, &sign(Algorithm::EdDSA, None, &all, &private)).await, "ok");
    assert_eq!(outcome(&public_key, &sign(Algorithm::EdDSA, None, &all, &other)).await, "signature");
    assert_eq!(outcome(&hmac, &sign(Algorithm::EdDSA, None, &all, &private)).await, "algorithm");
    // The public key taken for a shared secret, in each form in which a library might.
    for secret in [public_pem(KEY_1), public_pem(KEY_1).trim().to_owned()] {
        let confused = sign(Algorithm::HS256, None, &all, &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(outcome(&public_key, &confused).await, "algorithm");
    }
    for token in
        [longer::<Hmac<Sha384>>(Algorithm::HS384, &all), longer::<Hmac<Sha512>>(Algorithm::HS512, &all)]
    {
        assert_eq!(outcome(&hmac, &token).await, "algorithm");
    }
    let wrong =
        sign(Algorithm::HS256, None, &all, &EncodingKey::from_secret(b"another secret of that length ....."));
    assert_eq!(outcome(&hmac, &wrong).await, "signature");
    // No signature at all, "none" in several spellings.
    let payload = hs256(&all).split('.').nth(1).unwrap().to_owned();
    for header in
        [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"typ":"JWT"}"#, r#"{"alg":"HS256"}"#]
    {
        let header = URL_SAFE_NO_PAD.encode(header);
        for token in [format!("{header}.{payload}."), format!("{header}.{payload}")] {
            assert_ne!(outcome(&hmac, &token).await, "ok");
            assert_ne!(outcome(&public_key, &token).await, "ok");
        }
    }
}

#[tokio::test]
async fn users_come_from_claims_only_where_that_is_on() {
    let number_claim = json!({ "sub": "carol", "number": "+4600100102", "default_caller_id": "shared" });
    let off = authenticator(|_| ()).await;
    assert_eq!(outcome(&off, &hs256(&claims(number_claim.clone()))).await, "user");

    let on = authenticator(|config| {
        config.auth.users_from_claims = true;
        config.own_numbers.insert(number("+46766869999"));
    })
    .await;
    let token = hs256(&claims(number_claim));
    let session = on.authenticate(&with(&format!("Bearer {token}"))).await.unwrap();
    assert_eq!(session.number.as_str(), "+4600100102");
    assert_eq!(session.default_caller_id, "shared");
    assert!(session.sip.is_none());
    for (changes, expected) in [
        (json!({ "sub": "carol", "number": "+4600100102", "caller_ids": { "desk": "+46766869999" } }), "ok"),
        // Numbers that the configuration does not know.
        (
            json!({ "sub": "carol", "number": "+4600100102", "caller_ids": { "desk": "+46701234567" } }),
            "claims",
        ),
        (json!({ "sub": "carol" }), "claims"),
        (json!({ "sub": "carol", "number": "+4600100102", "default_caller_id": "other" }), "claims"),
        // The first leg goes there: no number but a client's.
        (json!({ "sub": "carol", "number": "+46701234567" }), "claims"),
        (json!({ "sub": "carol", "number": "+882123456789" }), "claims"),
        // Another user's.
        (json!({ "sub": "carol", "number": "+4600100100" }), "claims"),
        (json!({ "sub": "carol", "number": "4600100102" }), "claims"),
    ] {
        assert_eq!(outcome(&on, &hs256(&claims(changes.clone()))).await, expected, "{changes}");
    }
    // The table goes before the claims.
    let token = hs256(&claims(json!({ "number": "+4600100102" })));
    let session = on.authenticate(&with(&format!("Bearer {token}"))).await.unwrap();
    assert_eq!(session.number.as_str(), "+4600100100");
}

struct KeyServer {
    url: Url,
    hits: Arc<AtomicUsize>,
    body: Arc<std::sync::Mutex<(u16, String)>>,
}

async fn key_server(body: String) -> KeyServer {
    let hits = Arc::new(AtomicUsize::new(0));
    let body = Arc::new(std::sync::Mutex::new((200, body)));
    let (counted, shared) = (Arc::clone(&hits), Arc::clone(&body));
    let answer = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let (status, body) = shared.lock().unwrap().clone();
        std::future::ready((axum::http::StatusCode::from_u16(status).unwrap(), body))
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().route("/jwks", get(answer))).into_future());
    KeyServer { url, hits, body }
}

fn jwk(private: [u8; 32], kid: &str, changes: Value) -> Value {
    let mut jwk = public_jwk(private);
    jwk["kid"] = kid.into();
    for (name, value) in changes.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

async fn with_key_set(url: &Url, pause: Duration) -> Authenticator {
    let mut authenticator = authenticator(|config| {
        config.auth.algorithm = JwtAlgorithm::EdDSA;
        config.auth.key = JwtKey::Jwks(url.clone());
    })
    .await;
    authenticator.keys = Keys::Set(Jwks::with_pause(url.clone(), pause).unwrap());
    authenticator
}

fn eddsa(kid: Option<&str>, private: [u8; 32]) -> String {
    sign(Algorithm::EdDSA, kid, &claims(json!({})), &private_key(private))
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_for_an_unknown_one_but_not_often() {
    let server = key_server(json!({ "keys": [jwk(KEY_1, "one", json!({}))] }).to_string()).await;
    let authenticator = with_key_set(&server.url, Duration::from_secs(3600)).await;
    for _ in 0..5 {
        assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok");
    }
    assert_eq!(server.hits.load(Ordering::SeqCst), 1);
    assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_2)).await, "signature");
    assert_eq!(outcome(&authenticator, &eddsa(None, KEY_1)).await, "key_id");
    // A flood of unknown keys makes no flood of requests.
    for at in 0..50 {
        assert_eq!(outcome(&authenticator, &eddsa(Some(&format!("made-up-{at}")), KEY_2)).await, "key_id");
    }
    assert_eq!(server.hits.load(Ordering::SeqCst), 1);

    let eager = with_key_set(&server.url, Duration::ZERO).await;
    assert_eq!(outcome(&eager, &eddsa(Some("two"), KEY_2)).await, "key_id");
    let both = json!({ "keys": [jwk(KEY_1, "one", json!({})), jwk(KEY_2, "two", json!({}))] });
    *server.body.lock().unwrap() = (200, both.to_string());
    assert_eq!(outcome(&eager, &eddsa(Some("two"), KEY_2)).await, "ok");
    // The server goes away: what is known is still good.
    *server.body.lock().unwrap() = (500, String::new());
    assert_eq!(outcome(&eager, &eddsa(Some("three"), KEY_2)).await, "key_id");
    assert_eq!(outcome(&eager, &eddsa(Some("two"), KEY_2)).await, "ok");
}

#[tokio::test]
async fn many_tokens_at_once_make_one_fetch() {
    let server = key_server(json!({ "keys": [jwk(KEY_1, "one", json!({}))] }).to_string()).await;
    let authenticator = Arc::new(with_key_set(&server.url, Duration::from_secs(3600)).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let authenticator = Arc::clone(&authenticator);
        tasks.spawn(async move { outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await });
    }
    assert!(tasks.join_all().await.iter().all(|found| *found == "ok"));
    assert_eq!(server.hits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn old_keys_are_fetched_again_meanwhile_and_count_for_an_hour() {
    let server = key_server(json!({ "keys": [jwk(KEY_1, "one", json!({}))] }).to_string()).await;
    let authenticator = with_key_set(&server.url, Duration::ZERO).await;
    let Keys::Set(set) = &authenticator.keys else { panic!("a key set") };
    let set = set.clone();
    assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok");
    // Withdrawn; the old key counts once more, and no longer when the fetch behind it is done.
    *server.body.lock().unwrap() = (200, json!({ "keys": [] }).to_string());
    set.age(Duration::from_secs(11 * 60));
    assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok");
    tokio::time::timeout(Duration::from_secs(10), async {
        while outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await == "ok" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the withdrawn key goes");

    *server.body.lock().unwrap() = (200, json!({ "keys": [jwk(KEY_1, "one", json!({}))] }).to_string());
    assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok");
    *server.body.lock().unwrap() = (500, String::new());
    set.age(Duration::from_secs(59 * 60));
    assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok");
    set.age(Duration::from_secs(2 * 60));
    let headers = with(&format!("Bearer {}", eddsa(Some("one"), KEY_1)));
    assert_eq!(authenticator.authenticate(&headers).await.unwrap_err().code, "unavailable");
}

#[tokio::test]
async fn only_ed25519_keys_for_signatures_are_taken() {
    let symmetric = json!({ "kty": "oct", "kid": "one", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" });
    for wrong in [
        symmetric,
        jwk(KEY_1, "one", json!({ "use": "enc" })),
        jwk(KEY_1, "one", json!({ "alg": "HS256" })),
        jwk(KEY_1, "one", json!({ "key_ops": ["encrypt"] })),
        jwk(KEY_1, "other", json!({})),
        json!({ "kty": "RSA", "kid": "one", "n": "AQAB", "e": "AQAB" }),
    ] {
        let server = key_server(json!({ "keys": [wrong] }).to_string()).await;
        let authenticator = with_key_set(&server.url, Duration::ZERO).await;
        assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "key_id", "{wrong}");
    }
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_it_is_not_the_tokens_fault() {
    let too_long = json!({ "keys": [], "pad": "x".repeat(70_000) }).to_string();
    for (status, body) in [(500, ""), (200, "<html>"), (302, ""), (200, too_long.as_str())] {
        let server = key_server(String::new()).await;
        *server.body.lock().unwrap() = (status, body.to_owned());
        let authenticator = with_key_set(&server.url, Duration::ZERO).await;
        let headers = with(&format!("Bearer {}", eddsa(Some("one"), KEY_1)));
        assert_eq!(authenticator.authenticate(&headers).await.unwrap_err().code, "unavailable", "{status}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_changed_token_is_accepted(at in 0usize..400, with in "[A-Za-z0-9_.=-]") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let authenticator = authenticator(|_| ()).await;
            let token = hs256(&claims(json!({})));
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            // The last character of the signature holds bits that say nothing.
            if changed != token && at != token.len() - 1 {
                assert_ne!(outcome(&authenticator, &changed).await, "ok", "{changed}");
            }
        });
    }

    #[test]
    fn nothing_made_up_is_accepted_and_nothing_panics(value in "\\PC{0,80}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(header) = HeaderValue::from_str(&value) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
            let result = runtime.block_on(async { authenticator(|_| ()).await.authenticate(&headers).await });
            prop_assert!(result.is_err());
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_understood_hides_no_other() {
    let others = [
        json!({"kty": "OKP", "crv": "X25519", "use": "enc", "kid": "x", "x": "AAAA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"}),
        json!({"kty": "EC", "crv": "secp256k1", "kid": "k", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": 7, "x": "AAAA"}),
        json!({"kid": "nothing"}),
        json!("nonsense"),
    ];
    for other in others {
        let server = key_server(json!({"keys": [other, jwk(KEY_1, "one", json!({}))]}).to_string()).await;
        let authenticator = with_key_set(&server.url, Duration::ZERO).await;
        assert_eq!(outcome(&authenticator, &eddsa(Some("one"), KEY_1)).await, "ok", "{other}");
    }
}
