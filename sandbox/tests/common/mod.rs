//! A sandbox of its own for each test, a phone that speaks raw SIP, and one with media.
#![allow(dead_code, reason = "each test file uses its part of it")]

pub(crate) mod elks;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandbox::media::{Heard, Playback, Settings as MediaSettings};
use sandbox::numbers::{Agent, Link, Notice};
use sandbox::report::Report;
use sandbox::{Sandbox, Settings};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wasm_softphone::phone::{CallId, CredentialSource, Credentials, PhoneConfig, Secret};
use wasm_softphone::sip::digest::{self, Algorithm, Challenge};
use wasm_softphone::sip::header::NameAddr;
use wasm_softphone::sip::message::{Message, Method, Request, Response};
use wasm_softphone::sip::uri::Uri;
use wasm_softphone::sip::wire;

/// Nothing here takes longer on a machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running sandbox; stops when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    log: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    pub(crate) async fn start_with(trace: bool) -> Self {
        Self::start_writing(trace, None).await
    }

    /// The API user and password of the 46elks simulator too.
    pub(crate) async fn start_elks() -> (Self, String) {
        let file = elks::TemporaryFile::new("elks-api");
        let server = Self::start_writing(false, Some(file.0.clone())).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match std::fs::read_to_string(&file.0) {
                Ok(text) if text.ends_with('\n') => return (server, text),
                _ => assert!(Instant::now() < deadline, "no credentials in {:?}", file.0),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn start_writing(trace: bool, elks_api_credentials: Option<std::path::PathBuf>) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = log.clone();
        let report = Report::new(trace, move |line| lines.lock().unwrap().push(line.to_owned()));
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web");
        let settings = Settings {
            crowd: 0,
            port: 0,
            www: web.join("www"),
            pkg: web.join("pkg"),
            elks: sandbox::elks::Settings { seed: Some(1), ..sandbox::elks::Settings::default() },
            secrets: None,
            elks_api_credentials,
        };
        let sandbox = Sandbox::bind(settings, report).await.unwrap();
        let address = sandbox.address().to_string();
        let (stop, stopped) = oneshot::channel();
        let run = sandbox.run(async move {
            let _ = stopped.await;
        });
        let done = tokio::spawn(run);
        Self { address, log, stop: Some(stop), done: Some(done) }
    }

    /// What it has printed, without the times.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|line| line[9..].to_owned()).collect()
    }

    /// Waits for a line in the log.
    pub(crate) async fn wait_for(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().iter().any(|found| found == line) {
            assert!(Instant::now() < deadline, "no {line:?} in {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(&mut self) -> std::io::Result<()> {
        self.stop.take().unwrap().send(()).unwrap();
        self.done.take().unwrap().await.unwrap()
    }
}

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens `/sip` with these headers.
pub(crate) async fn open(
    address: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, tungstenite::Error> {
    connect_to(&format!("ws://{address}/sip"), headers).await
}

pub(crate) async fn connect_to(
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

pub(crate) async fn open_sip(address: &str) -> Socket {
    open(address, &[("sec-websocket-protocol", "sip")]).await.unwrap()
}

/// A phone in the hands of the test: every message is written and read by it.
pub(crate) struct RawPhone {
    pub(crate) user: &'static str,
    pub(crate) contact: String,
    socket: Socket,
    counter: u32,
}

impl RawPhone {
    pub(crate) async fn connect(server: &Server, user: &'static str) -> Self {
        Self::on(open_sip(&server.address).await, user)
    }

    /// On the simulator of 46elks.
    pub(crate) async fn connect_elks(server: &Server, user: &'static str) -> Self {
        let url = format!("ws://{}/w1/websocket", server.address);
        Self::on(connect_to(&url, &[("sec-websocket-protocol", "sip")]).await.unwrap(), user)
    }

    fn on(socket: Socket, user: &'static str) -> Self {
        // Distinct by the client's port.
        let MaybeTlsStream::Plain(stream) = socket.get_ref() else { panic!("no TLS here") };
        let port = stream.local_addr().unwrap().port();
        Self { user, contact: format!("sip:{user}@phone{port}.invalid"), socket, counter: 0 }
    }

    pub(crate) async fn registered(server: &Server, user: &'static str) -> Self {
        let mut phone = Self::connect(server, user).await;
        let request = phone.register(600);
        let response = phone.exchange(request, Algorithm::Sha256, None).await;
        assert_eq!(response.status, 200);
        phone
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Frame::text(text)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, request: &Request) {
        self.send_text(&request.to_text().unwrap()).await;
    }

    pub(crate) async fn respond(&mut self, response: &Response) {
        self.send_text(&response.to_text().unwrap()).await;
    }

    /// The next WebSocket message; `None` when the socket has closed.
    pub(crate) async fn text(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("a message in time") {
                Some(Ok(Frame::Text(text))) => return Some(text.to_string()),
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Message {
        let text = self.text().await.expect("a message");
        match wire::parse(text.as_bytes()) {
            Ok(wire::Frame::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn request(&mut self, method: Method) -> Request {
        match self.message().await {
            Message::Request(request) if request.method == method => request,
            other => panic!("{other:?} instead of {method}"),
        }
    }

    /// The next response that is not 100.
    pub(crate) async fn response(&mut self) -> Response {
        loop {
            match self.message().await {
                Message::Response(response) if response.status == 100 => {}
                Message::Response(response) => return response,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn status(&mut self) -> u16 {
        self.response().await.status
    }

    pub(crate) fn new_request(&mut self, method: Method, uri: &str) -> Request {
        self.counter += 1;
        let mut request = Request::new(method.clone(), uri);
        let host = self.contact.split('@').nth(1).unwrap().to_owned();
        let (user, counter) = (self.user, self.counter);
        let headers = &mut request.headers;
        headers.push("Via", format!("SIP/2.0/WS {host};branch=z9hG4bK{counter}-{method}"));
        headers.push("Max-Forwards", "70");
        headers.push("From", format!("<sip:{user}@sandbox.test>;tag=tag{counter}"));
        headers.push("To", format!("<{uri}>"));
        headers.push("Call-ID", format!("{counter}-{method}@{host}"));
        headers.push("CSeq", format!("1 {method}"));
        headers.push("Contact", format!("<{}>", self.contact));
        request
    }

    pub(crate) fn register(&mut self, expires: u32) -> Request {
        let mut request = self.new_request(Method::Register, "sip:sandbox.test");
        request.headers.set("To", format!("<sip:{}@sandbox.test>", self.user));
        request.headers.push("Expires", expires.to_string());
        request
    }

    pub(crate) fn invite(&mut self, callee: &str) -> Request {
        let mut request = self.new_request(Method::Invite, &format!("sip:{callee}@sandbox.test"));
        request.headers.push("Content-Type", "application/sdp");
        request.body = SDP.as_bytes().to_vec();
        request
    }

    /// Sends a request, answers its challenge, and returns the first response but 100 that follows.
    pub(crate) async fn exchange(
        &mut self,
        mut request: Request,
        algorithm: Algorithm,
        password: Option<&str>,
    ) -> Response {
        self.sign_and_send(&mut request, algorithm, password).await;
        self.response().await
    }

    /// Sends a request and, once challenged, sends it again with credentials.
    pub(crate) async fn sign_and_send(
        &mut self,
        request: &mut Request,
        algorithm: Algorithm,
        password: Option<&str>,
    ) {
        self.send(request).await;
        let challenge = self.response().await;
        let (challenges, credentials) = match challenge.status {
            401 => ("WWW-Authenticate", "Authorization"),
            407 => ("Proxy-Authenticate", "Proxy-Authorization"),
            other => panic!("{other} is no challenge"),
        };
        let challenge = challenge
            .headers
            .get_all(challenges)
            .filter_map(Challenge::parse)
            .find(|challenge| challenge.algorithm == algorithm)
            .expect("the algorithm is offered");
        let password = password.map_or_else(|| format!("{}-secret", self.user), str::to_owned);
        let secret = Secret::Password(password);
        let value =
            digest::authorization(&challenge, self.user, &secret, &request.method, &request.uri, 1, "c");
        request.headers.set(credentials, value);
        let via = request.headers.get("Via").unwrap().to_owned();
        request.headers.set("Via", via + "x");
        request.headers.set("CSeq", format!("2 {}", request.method));
        self.send(request).await;
    }

    /// A request within the dialog that this response to our INVITE has made.
    pub(crate) fn within(&mut self, invite: &Request, response: &Response, method: Method) -> Request {
        self.counter += 1;
        let contact = NameAddr::parse(response.headers.get("Contact").unwrap()).unwrap();
        let mut request = Request::new(method.clone(), contact.uri);
        let host = self.contact.split('@').nth(1).unwrap();
        request.headers.push("Via", format!("SIP/2.0/WS {host};branch=z9hG4bK{}-{method}", self.counter));
        request.headers.push("Max-Forwards", "70");
        for route in response.headers.get_all("Record-Route") {
            request.headers.push("Route", route);
        }
        for (name, from) in
            [("From", &invite.headers), ("To", &response.headers), ("Call-ID", &invite.headers)]
        {
            request.headers.push(name, from.get(name).unwrap());
        }
        let seq = if method == Method::Ack { 2 } else { 2 + self.counter };
        request.headers.push("CSeq", format!("{seq} {method}"));
        request
    }

    /// A response to a request that came in.
    pub(crate) fn answer(&self, request: &Request, status: u16) -> Response {
        let mut response = request.response(status, None);
        response.set_to_tag(&self.contact[4..].replace(['@', '.'], "-"));
        response.headers.push("Contact", format!("<{}>", self.contact));
        response
    }

    /// The ACK of a failure, on the INVITE's own branch.
    pub(crate) async fn ack_failure(&mut self, invite: &Request, response: &Response) {
        let mut ack = Request::new(Method::Ack, invite.uri.clone());
        for name in ["Via", "From", "Call-ID"] {
            ack.headers.push(name, invite.headers.get(name).unwrap());
        }
        ack.headers.push("To", response.headers.get("To").unwrap());
        ack.headers.push("CSeq", "2 ACK");
        self.send(&ack).await;
    }

    /// Calls a number that does not answer and returns the final response.
    pub(crate) async fn call_in_vain(&mut self, callee: &str) -> Response {
        let mut invite = self.invite(callee);
        self.sign_and_send(&mut invite, Algorithm::Sha256, None).await;
        loop {
            let response = self.response().await;
            if response.status >= 300 {
                self.ack_failure(&invite, &response).await;
                return response;
            }
            assert!(response.status < 200, "{response:?}");
        }
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
    }
}

/// An offer that a number can understand, though no media comes from it.
pub(crate) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
     m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na=sendrecv\r\n\
     a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
     a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
     a=rtpmap:0 PCMU/8000\r\n";

/// A WebSocket behind two queues, so that no wait on it can be cut in half.
pub(crate) struct SocketLink {
    outgoing: mpsc::UnboundedSender<String>,
    incoming: mpsc::UnboundedReceiver<String>,
}

impl SocketLink {
    pub(crate) fn new(socket: Socket) -> Self {
        let (outgoing, mut to_send) = mpsc::unbounded_channel::<String>();
        let (received, incoming) = mpsc::unbounded_channel();
        let (mut sink, mut stream) = socket.split();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    text = to_send.recv() => match text {
                        Some(text) => sink.send(Frame::text(text)).await.unwrap(),
                        None => return,
                    },
                    frame = stream.next() => match frame {
                        Some(Ok(Frame::Text(text))) => received.send(text.to_string()).unwrap(),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
        Self { outgoing, incoming }
    }
}

impl Link for SocketLink {
    async fn send(&mut self, text: &str) {
        // A closed socket shows when it is read.
        let _ = self.outgoing.send(text.to_owned());
    }

    async fn receive(&mut self) -> Option<String> {
        self.incoming.recv().await
    }
}

/// The crate's own phone with media, over a WebSocket.
pub(crate) struct Softphone {
    pub(crate) agent: Agent<SocketLink>,
    pub(crate) heard: mpsc::UnboundedReceiver<Heard>,
}

impl Softphone {
    pub(crate) async fn connect(server: &Server, user: &str, playback: Playback) -> Self {
        let credentials =
            Credentials { username: None, secret: Secret::Password(format!("{user}-secret")), realm: None };
        let config = PhoneConfig {
            credentials: CredentialSource::Static(credentials),
            ..PhoneConfig::new(
                vec![format!("ws://{}/sip", server.address)],
                Uri::parse(&format!("sip:{user}@sandbox.test")).unwrap(),
            )
        };
        let (listener, heard) = mpsc::unbounded_channel();
        let settings = MediaSettings { playback, listener: Some(listener), port: None };
        let link = SocketLink::new(open_sip(&server.address).await);
        Self { agent: Agent::new(config, link, settings), heard }
    }

    /// Waits for a notice that `wanted` maps to something.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(&Notice) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let Ok(notice) = timeout_at(deadline, self.agent.next()).await else {
                panic!("{what} did not come; {seen:#?}");
            };
            if let Some(found) = wanted(&notice) {
                return found;
            }
            seen.push(notice);
        }
    }

    /// Keeps the phone going while it does something else.
    pub(crate) async fn run_while<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                result = &mut other => return result,
                notice = self.agent.next() => assert_ne!(notice, Notice::LinkLost),
            }
        }
    }

    /// Half a second of what is heard on a call from now on, decoded; the codec must be G.711.
    pub(crate) async fn listen(&mut self, call: CallId) -> Vec<i16> {
        while self.heard.try_recv().is_ok() {}
        let deadline = Instant::now() + PATIENCE;
        let mut samples = Vec::new();
        while samples.len() < 4000 {
            tokio::select! {
                heard = self.heard.recv() => {
                    let heard = heard.unwrap();
                    if heard.call != call {
                        continue;
                    }
                    samples.extend(heard.law.expect("G.711").decode(&heard.payload));
                }
                notice = self.agent.next() => assert_ne!(notice, Notice::LinkLost),
                () = tokio::time::sleep_until(deadline) => panic!("only {} samples heard", samples.len()),
            }
        }
        samples
    }
}

/// The share of a signal's power at one frequency (Goertzel), 0 to 1.
pub(crate) fn share(samples: &[i16], hertz: f64) -> f64 {
    let step = std::f64::consts::TAU * hertz / 8000.0;
    let (mut a, mut b) = (0.0_f64, 0.0_f64);
    for sample in samples {
        (a, b) = (f64::from(*sample) + 2.0 * step.cos() * a - b, a);
    }
    let power = a * a + b * b - 2.0 * step.cos() * a * b;
    let total: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    2.0 * power / (total * samples.len() as f64).max(1.0)
}
