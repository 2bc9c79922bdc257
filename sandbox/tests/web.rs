//! What the web server gives to whom.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Page {
    status: u16,
    head: String,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn get(server: &Server, path: &str, host: &str, more: &str) -> Page {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn pages_have_types_and_policies() {
    let server = Server::start().await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/pkg/index.js", "text/javascript"),
        ("/pkg/empty.wasm", "application/wasm"),
        ("/demo.json", "application/json"),
    ] {
        let page = get(&server, path, &server.address, "").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
    }
    for path in ["/nothing", "/pkg/nothing", "/pkg/../../Cargo.toml", "/..%2f..%2fCargo.toml"] {
        assert_eq!(get(&server, path, &server.address, "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn only_loopback_names_are_served() {
    let server = Server::start().await;
    for host in ["localhost:1", "127.0.0.1", "[::1]:8080", "demo.localhost"] {
        assert_eq!(get(&server, "/", host, "").await.status, 200, "{host}");
    }
    for host in ["example.com", "127.0.0.1.example.com", "192.0.2.1", ""] {
        assert_eq!(get(&server, "/demo.json", host, "").await.status, 403, "{host}");
    }
}

#[tokio::test]
async fn settings_name_the_host_that_was_asked() {
    let server = Server::start().await;
    let page = get(&server, "/demo.json", "localhost:8080", "").await;
    let expected = "{\"sip\":[{\"servers\":\"ws://localhost:8080/sip\",\"uri\":\"sip:alice@sandbox.test\",\
         \"displayName\":\"Alice\",\
         \"credentials\":{\"username\":\"alice\",\"password\":\"alice-secret\"},\"iceServers\":[]},";
    assert!(page.body.starts_with(expected), "{}", page.body);
}

#[tokio::test]
async fn settings_are_shared_with_this_machine_only() {
    let server = Server::start().await;
    for (origin, allowed) in [
        ("http://127.0.0.1:9999", true),
        ("http://localhost:1", true),
        ("https://example.com", false),
        ("null", false),
    ] {
        let page = get(&server, "/demo.json", &server.address, &format!("origin: {origin}\r\n")).await;
        let expected = allowed.then_some(origin);
        assert_eq!(page.header("access-control-allow-origin"), expected);
    }
}
