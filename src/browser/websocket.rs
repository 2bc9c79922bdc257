//! The WebSocket that carries SIP (RFC 7118).

use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BinaryType, MessageEvent, WebSocket};

use super::listener::Listener;

/// The subprotocol (RFC 7118, section 4).
const SUBPROTOCOL: &str = "sip";
/// Normal closure (RFC 6455, section 7.4.1); of the codes below 3000 scripts may use no other.
const NORMAL_CLOSURE: u16 = 1000;

/// What a socket reports.
pub(crate) enum SocketEvent {
    /// Open, with the subprotocol agreed.
    Opened,
    /// One message, text or binary.
    Data(Vec<u8>),
    /// Closed, or never opened.
    Closed,
}

/// An open or opening WebSocket; dropping it closes it.
#[must_use = "dropping it closes the socket"]
pub(crate) struct Socket {
    socket: WebSocket,
    listeners: Vec<Listener>,
}

impl Socket {
    /// Starts to connect.
    ///
    /// # Errors
    /// What the browser throws: a URL that it takes for wrong, or that the page may not connect to.
    pub(crate) fn open(url: &str, report: Rc<dyn Fn(SocketEvent)>) -> Result<Self, JsValue> {
        let socket = WebSocket::new_with_str(url, SUBPROTOCOL)?;
        socket.set_binary_type(BinaryType::Arraybuffer);

        let opened = {
            let (report, socket) = (report.clone(), socket.clone());
            move |_| {
                // A browser fails the connection by itself when the server picks another subprotocol, but not
                // all do when it picks none (RFC 6455, section 4.1).
                if socket.protocol().eq_ignore_ascii_case(SUBPROTOCOL) {
                    report(SocketEvent::Opened);
                } else {
                    close(&socket);
                    report(SocketEvent::Closed);
                }
            }
        };
        let received = {
            let report = report.clone();
            move |event: JsValue| {
                if let Some(bytes) = payload(&event.unchecked_ref::<MessageEvent>().data()) {
                    report(SocketEvent::Data(bytes));
                }
            }
        };
        let failed = report.clone();
        let listeners = vec![
            Listener::new(&socket, "open", Box::new(opened)),
            Listener::new(&socket, "message", Box::new(received)),
            // It says nothing of the cause, and `close` follows, except in Chromium where the page's policy blocks the connection.
            Listener::new(&socket, "error", Box::new(move |_| failed(SocketEvent::Closed))),
            Listener::new(&socket, "close", Box::new(move |_| report(SocketEvent::Closed))),
        ];
        Ok(Self { socket, listeners })
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// When the socket is still connecting.
    pub(crate) fn send(&self, text: &str) -> Result<(), JsValue> {
        self.socket.send_with_str(text)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listeners.clear();
        close(&self.socket);
    }
}

/// Closes after what has been sent; harmless when already closed.
fn close(socket: &WebSocket) {
    let closed = socket.close_with_code(NORMAL_CLOSURE);
    debug_assert!(closed.is_ok(), "code 1000 is allowed in every state");
}

/// The bytes of a text or binary message (RFC 7118, section 5.2 allows both).
fn payload(data: &JsValue) -> Option<Vec<u8>> {
    match data.as_string() {
        Some(text) => Some(text.into_bytes()),
        None => data.dyn_ref::<ArrayBuffer>().map(|buffer| Uint8Array::new(buffer).to_vec()),
    }
}
