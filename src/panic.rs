//! Panics as errors: those of votive's own bugs, and of libraries that panic on what a damaged file says.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::{Error, Result};

/// What is told of each panic before it unwinds.
type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

thread_local! {
    /// Whether a panic on this thread reaches a caller as an error, who is told of it that way alone.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or what a panic leaves, of which nothing is printed.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> std::thread::Result<R> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| set_hook(silent_where_caught(take_hook())));
    let outer = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    result
}

fn silent_where_caught(before: Hook) -> Hook {
    Box::new(move |panic| {
        if !CAUGHT.get() {
            before(panic);
        }
    })
}

/// What `work` gives, where what a panic leaves is an error.
pub(crate) fn guarded<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    caught(work).unwrap_or_else(|panic| Err(error_of(panic)))
}

/// Gives an error back from where no result can, as a kernel cannot: the caller that guards the work finds it again.
pub(crate) fn raise<R>(error: Error) -> R {
    resume_unwind(Box::new(error))
}

/// What a panic leaves: the error that was raised, or a bug.
pub(crate) fn error_of(panic: Box<dyn Any + Send>) -> Error {
    let internal = |panic: Box<dyn Any + Send>| Error::internal(panic_text(&*panic));
    panic.downcast::<Error>().map_or_else(internal, |error| *error)
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_that_is_caught_reaches_no_hook_and_others_reach_the_one_before() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let name = "panics of this test alone";
        let tell = move |panic: &PanicHookInfo<'_>| {
            if thread::current().name() == Some(name) {
                TOLD.lock().unwrap().push(panic_text(panic.payload()).to_owned());
            }
        };
        let before = take_hook();
        set_hook(silent_where_caught(Box::new(move |panic| {
            tell(panic);
            before(panic);
        })));
        let work = || {
            let inner = caught(|| caught(|| panic!("twice caught")).unwrap_err());
            assert_eq!(panic_text(&*inner.unwrap()), "twice caught");
            let error = guarded(|| -> Result<()> { panic!("caught {}", 1) }).unwrap_err();
            assert_eq!(error.to_string(), "internal error of votive: caught 1");
            let raised = guarded(|| raise::<Result<()>>(Error::argument("texts", "bad"))).unwrap_err();
            assert!(matches!(raised, Error::Argument { name: "texts", .. }));
            let _ = catch_unwind(|| panic!("left alone"));
        };
        thread::Builder::new().name(name.to_owned()).spawn(work).unwrap().join().unwrap();
        assert_eq!(*TOLD.lock().unwrap(), ["left alone"]);
    }
}
