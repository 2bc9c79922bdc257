//! Where remote audio is heard.

use std::cell::RefCell;
use std::rc::Rc;

use web_sys::{HtmlAudioElement, MediaStream};

use super::listener::Listener;
use super::task::then;

/// What an application wants done with remote audio.
#[derive(Debug, Clone, Default)]
pub(crate) enum Playback {
    /// An element of the call's own.
    #[default]
    Own,
    /// This element.
    Element(HtmlAudioElement),
    /// Nothing: the application plays the stream.
    Application,
}

/// Remote audio that is playing; dropping it stops it.
#[must_use = "dropping it stops the audio"]
pub(crate) struct RemoteAudio(Rc<Inner>);

struct Inner {
    element: HtmlAudioElement,
    /// The element is the call's own.
    own: bool,
    stream: MediaStream,
    /// While the browser wants a user gesture first.
    gestures: RefCell<Vec<Listener>>,
    blocked: Box<dyn Fn(bool)>,
}

impl RemoteAudio {
    /// Starts to play. `blocked` gets `true` when the browser refuses to play without a user gesture, and `false` when
    /// it plays. It is tried again at the next gesture.
    pub(crate) fn play(
        playback: &Playback,
        stream: &MediaStream,
        blocked: Box<dyn Fn(bool)>,
    ) -> Option<Self> {
        let element = match playback {
            Playback::Application => return None,
            Playback::Element(element) => element.clone(),
            Playback::Own => HtmlAudioElement::new().ok()?,
        };
        element.set_autoplay(true);
        element.set_src_object(Some(stream));
        let inner = Rc::new(Inner {
            element,
            own: matches!(playback, Playback::Own),
            // Not `.clone()`, which is the browser's own: another stream, with tracks of its own.
            stream: Clone::clone(stream),
            gestures: RefCell::new(Vec::new()),
            blocked,
        });
        inner.start();
        Some(Self(inner))
    }

    /// Tries again.
    pub(crate) fn resume(&self) {
        self.0.start();
    }

    /// Whether it plays there, and nothing else does.
    pub(crate) fn plays_in(&self, playback: &Playback) -> bool {
        match playback {
            Playback::Own => self.0.own,
            Playback::Element(element) => {
                *element == self.0.element && element.src_object().as_ref() == Some(&self.0.stream)
            }
            Playback::Application => false,
        }
    }
}

impl Inner {
    fn start(self: &Rc<Self>) {
        let Ok(playing) = self.element.play() else { return };
        let weak = Rc::downgrade(self);
        let played = move |played| {
            let Some(inner) = weak.upgrade() else { return };
            match played {
                Ok(_) => {
                    inner.gestures.borrow_mut().clear();
                    (inner.blocked)(false);
                }
                Err(error) if super::object::string(&error, "name").as_deref() == Some("NotAllowedError") => {
                    inner.wait_for_gesture();
                }
                // The source was changed or taken away meanwhile: nobody waits for this any more.
                Err(_) => {}
            }
        };
        then(playing, Box::new(played));
    }

    fn wait_for_gesture(self: &Rc<Self>) {
        if !self.gestures.borrow().is_empty() {
            return;
        }
        let Some(document) = web_sys::window().and_then(|window| window.document()) else { return };
        let listen = |kind| {
            let weak = Rc::downgrade(self);
            let gesture = move |_| {
                if let Some(inner) = weak.upgrade() {
                    inner.start();
                }
            };
            Listener::new(&document, kind, Box::new(gesture))
        };
        // A finger counts once it is lifted again, and a press that a key or an aid makes is nothing but a click.
        *self.gestures.borrow_mut() =
            ["pointerup", "touchend", "click", "keydown"].into_iter().map(listen).collect();
        (self.blocked)(true);
    }
}

impl Drop for RemoteAudio {
    fn drop(&mut self) {
        self.0.gestures.borrow_mut().clear();
        // The application's element may by now play something else.
        if self.0.element.src_object().as_ref() == Some(&self.0.stream) {
            self.0.element.set_src_object(None);
        }
    }
}
