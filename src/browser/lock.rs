//! Locks shared by the pages of one origin (Web Locks API).

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::Window;

use super::object::{get, object};
use super::task::then;

#[wasm_bindgen]
extern "C" {
    type LockManager;

    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &JsValue,
        granted: &JsValue,
    ) -> Result<Promise, JsValue>;
}

thread_local! {
    /// The locks of this page that the browser has not yet given back.
    static OURS: RefCell<Vec<Rc<Ours>>> = RefCell::default();
}

/// A lock of this page.
struct Ours {
    name: String,
    /// It is not wanted any more, and the browser is about to give it back.
    released: Cell<bool>,
    /// Settled when it has.
    over: Promise,
}

/// Whom to tell whether the lock is held; taken when it is told or not wanted any more.
type Report = Rc<RefCell<Option<Box<dyn FnOnce(bool)>>>>;

/// A lock that is held or being asked for; dropping it releases it.
#[must_use = "dropping it releases the lock"]
pub(crate) struct WebLock {
    release: Function,
    report: Report,
    ours: Rc<RefCell<Option<Rc<Ours>>>>,
}

/// What is needed to ask for a lock.
struct Question {
    manager: JsValue,
    name: String,
    held: Promise,
    answer: Report,
    ours: Rc<RefCell<Option<Rc<Ours>>>>,
}

impl WebLock {
    /// Asks for the lock, without waiting for another page to release it. `report` is called once, never from
    /// within this function, and not after the drop: whether the lock is held. It counts as held where there is no
    /// such API (an old browser, a page without a secure context).
    pub(crate) fn request(window: &Window, name: &str, report: Box<dyn FnOnce(bool)>) -> Self {
        let mut release = None;
        let held = Promise::new(&mut |resolve, _| release = Some(resolve));
        let lock = Self {
            release: release.unwrap_or_default(),
            report: Rc::new(RefCell::new(Some(report))),
            ours: Rc::default(),
        };
        let question = Question {
            manager: get(&window.navigator(), "locks"),
            name: name.to_owned(),
            held,
            answer: lock.report.clone(),
            ours: lock.ours.clone(),
        };
        // The browser gives a lock back some time after it was released: one that this page has let go of itself is
        // no other page's.
        let leaving = OURS.with_borrow(|ours| {
            ours.iter().find(|ours| ours.released.get() && ours.name == name).map(|ours| ours.over.clone())
        });
        match leaving {
            Some(over) => then(over, Box::new(move |_| question.ask())),
            None => question.ask(),
        }
        lock
    }
}

impl Question {
    fn ask(self) {
        let Self { manager, name, held, answer, ours } = self;
        // It may be wanted no more.
        if answer.borrow().is_none() {
            return;
        }
        let granted = Closure::<dyn Fn(JsValue) -> Promise>::new({
            // The lock is held until what this gives back is settled (Web Locks API, section 2.4).
            let answer = answer.clone();
            move |granted: JsValue| {
                tell(&answer, !granted.is_null());
                held.clone()
            }
        });
        let options = object!([("ifAvailable", true)]);
        let asked = if manager.is_object() {
            manager.unchecked_into::<LockManager>().request(&name, &options, granted.as_ref())
        } else {
            Err(JsValue::UNDEFINED)
        };
        // Settled when the lock has been given back, and at once where it cannot be asked for.
        let over = asked.unwrap_or_else(|_| Promise::resolve(&JsValue::UNDEFINED));
        let entry = Rc::new(Ours { name, released: Cell::new(false), over: over.clone() });
        ours.replace(Some(entry.clone()));
        OURS.with_borrow_mut(|all| all.push(entry.clone()));
        then(
            over,
            Box::new(move |_| {
                OURS.with_borrow_mut(|all| all.retain(|ours| !Rc::ptr_eq(ours, &entry)));
                tell(&answer, true);
                // Nobody calls it any more.
                drop(granted);
            }),
        );
    }
}

impl Drop for WebLock {
    fn drop(&mut self) {
        let unwanted = self.report.take();
        drop(unwanted);
        if let Some(ours) = self.ours.take() {
            ours.released.set(true);
        }
        let released = self.release.call0(&JsValue::UNDEFINED);
        debug_assert!(released.is_ok(), "resolve does not throw");
    }
}

fn tell(report: &Report, held: bool) {
    let report = report.take();
    if let Some(report) = report {
        report(held);
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_futures::JsFuture;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn ask(name: &str) -> (WebLock, Promise) {
        let window = web_sys::window().unwrap();
        let mut settle = None;
        let promise = Promise::new(&mut |resolve, _| settle = Some(resolve));
        let settle = settle.unwrap();
        let report = move |held: bool| {
            settle.call1(&JsValue::UNDEFINED, &held.into()).unwrap();
        };
        (WebLock::request(&window, name, Box::new(report)), promise)
    }

    async fn answer(promise: Promise) -> bool {
        JsFuture::from(promise).await.unwrap().as_bool().unwrap()
    }

    #[test]
    async fn one_holds_it_until_it_is_dropped() {
        let name = format!("softphone-test-{}", js_sys::Math::random());
        let (first, told) = ask(&name);
        assert!(answer(told).await);
        let (second, told) = ask(&name);
        assert!(!answer(told).await, "taken");
        let (other, told) = ask(&format!("{name}-other"));
        assert!(answer(told).await);
        drop(second);
        let (third, told) = ask(&name);
        assert!(!answer(told).await, "a lock that was not held was released");
        drop((first, third, other));
        let (again, told) = ask(&name);
        assert!(answer(told).await, "this page has let go of it itself");
        drop(again);
    }

    #[test]
    async fn one_that_is_dropped_before_it_is_granted_is_not_held() {
        let name = format!("softphone-test-{}", js_sys::Math::random());
        let window = web_sys::window().unwrap();
        drop(WebLock::request(&window, &name, Box::new(|_| panic!("nobody asks any more"))));
        let (lock, told) = ask(&name);
        assert!(answer(told).await);
        drop(lock);
    }
}
