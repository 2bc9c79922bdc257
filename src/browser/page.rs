//! The page's life.

use web_sys::Window;

use super::listener::Listener;

/// Calls back when the page is closed, left, or put aside (`pagehide`: unlike `unload` it is fired on telephones
/// too, and does not keep a page from coming back as it was).
pub(crate) fn on_hide(window: &Window, hidden: Box<dyn Fn()>) -> Listener {
    Listener::new(window, "pagehide", Box::new(move |_| hidden()))
}
