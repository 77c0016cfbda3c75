//! A boundary around code that panics on damaged input, so that damage is an error like any other.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Returns the result of `act`, or the message of a panic in `act`; a panic then prints nothing.
///
/// Whatever `act` worked on must not be used after a panic.
pub(crate) fn contain<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    silence_contained_panics();
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(act));
    QUIET.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it failed without a message".to_owned())
    })
}

/// The panic hook belongs to the whole process: the earlier hook stays in charge outside the boundary.
fn silence_contained_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors_with_their_text() {
        assert_eq!(contain(|| 5), Ok(5));
        assert_eq!(contain(|| panic!("at {}", 7)), Err::<(), _>("at 7".into()));
        assert_eq!(contain(|| panic!("here")), Err::<(), _>("here".into()));
        assert!(!QUIET.get());
    }
}
