//! The phone: one state machine that owns the connection, the registration and the calls.

pub mod config;
pub mod io;

pub use config::*;
pub use io::*;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::time::Instant;

/// What the application may know of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInfo {
    /// The id.
    pub id: CallId,
    /// SIP Call-ID; `None` until the INVITE is made.
    pub sip_call_id: String,
    /// Who called.
    pub direction: Direction,
    /// State.
    pub state: CallState,
    /// The other side's URI.
    pub remote_uri: String,
    /// The other side's display name.
    pub remote_display_name: Option<String>,
    /// Held by us.
    pub local_hold: bool,
    /// Held by the other side.
    pub remote_hold: bool,
    /// Why it ended, once it has.
    pub end_reason: Option<EndReason>,
}

/// What to dial.
#[derive(Debug, Clone, Default)]
pub struct DialRequest {
    /// The Request-URI: `sip:` or `sips:`.
    pub target: String,
    /// Name for the To header.
    pub display_name: Option<String>,
    /// Headers of the application; checked.
    pub extra_headers: Vec<(String, String)>,
    /// Longest time until it is answered.
    pub timeout: Option<core::time::Duration>,
}

/// A SIP phone without clock, socket, randomness or async (see the crate documentation for the driving loop).
pub struct Phone {
    config: PhoneConfig,
    entropy: Box<dyn Entropy>,
}

impl Phone {
    /// A phone that does nothing until [`Phone::connect`].
    #[must_use]
    pub fn new(config: PhoneConfig, entropy: Box<dyn Entropy>) -> Self {
        Self { config, entropy }
    }

    // ---- inputs and outputs

    /// Takes what happened outside. Drain [`Phone::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let _ = (now, input, &self.config, &self.entropy);
    }

    /// The next thing to do outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call with [`Input::Timer`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Why)> {
        None
    }

    // ---- commands: drain `poll_output` after each

    /// New settings for the next connection, registration and calls.
    pub fn configure(&mut self, config: PhoneConfig) {
        self.config = config;
    }

    /// Opens the connection and registers; ends in [`Event::ConnectDone`]. While connected it reports success
    /// at once; while connecting it joins the attempt (one event).
    pub fn connect(&mut self, now: Instant) {
        let _ = now;
    }

    /// Ends calls, un-registers, closes the socket; ends in [`Event::DisconnectDone`].
    pub fn disconnect(&mut self, now: Instant) {
        let _ = now;
    }

    /// Starts an outgoing call.
    ///
    /// # Errors
    /// `not_connected`, `invalid_destination`, `invalid_config` (a header that cannot be sent).
    pub fn dial(&mut self, now: Instant, request: DialRequest) -> Result<CallId, Error> {
        let _ = (now, request);
        Err(Error::new(crate::error::ErrorCode::NotConnected, "not connected"))
    }

    /// Answers an incoming call; ends in [`Event::AnswerDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn answer(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        let _ = (now, call);
        Ok(())
    }

    /// Sends early media in a 183 to an incoming call that is not yet answered (RFC 3261, section 21.1.5).
    ///
    /// # Errors
    /// `ended`, `invalid_state`.
    pub fn progress(&mut self, now: Instant, call: CallId) -> Result<(), Error> {
        let _ = (now, call);
        Ok(())
    }

    /// Refuses an incoming call with this status (300 to 699; 603 unless told otherwise).
    ///
    /// # Errors
    /// `invalid_state` for a call that is answered or outgoing, `invalid_config` for a status out of range.
    pub fn reject(&mut self, now: Instant, call: CallId, status: Option<u16>) -> Result<(), Error> {
        let _ = (now, call, status);
        Ok(())
    }

    /// CANCEL, BYE or a refusal, whichever the state calls for. Nothing for a call that has ended.
    /// `cause`: what to report as the reason (an application's timeout or abort), else completed or cancelled.
    pub fn hangup(&mut self, now: Instant, call: CallId, cause: Option<Error>) {
        let _ = (now, call, cause);
    }

    /// Sends an INFO within an answered call (RFC 6086), e.g. DTMF; ends in [`Event::InfoDone`].
    ///
    /// # Errors
    /// `ended`, `invalid_state`, `invalid_config`.
    pub fn send_info(
        &mut self,
        now: Instant,
        call: CallId,
        content_type: &str,
        body: &str,
    ) -> Result<(), Error> {
        let _ = (now, call, content_type, body);
        Ok(())
    }

    // ---- getters

    /// State of the connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionState {
        ConnectionState::Disconnected
    }

    /// State of the registration.
    #[must_use]
    pub fn registration(&self) -> RegistrationState {
        RegistrationState::Unregistered
    }

    /// A call, until the input after its end.
    #[must_use]
    pub fn call(&self, call: CallId) -> Option<CallInfo> {
        let _ = call;
        None
    }

    /// The calls that have not ended, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallInfo> {
        Vec::new()
    }
}
