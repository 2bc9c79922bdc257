//! One browser API a file. Handles are RAII: dropping one removes its listeners, stops its tracks, closes it.

pub(crate) mod audio_element;
pub(crate) mod clock;
pub(crate) mod dtmf;
pub(crate) mod entropy;
pub(crate) mod listener;
pub(crate) mod lock;
pub(crate) mod media_devices;
pub(crate) mod media_session;
pub(crate) mod object;
pub(crate) mod page;
pub(crate) mod peer_connection;
pub(crate) mod proxy_client;
pub(crate) mod stats;
pub(crate) mod task;
pub(crate) mod websocket;
