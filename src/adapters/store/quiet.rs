//! Panics of sled as values. sled 0.34 panics where it finds damage; this turns such a panic into its
//! message, without the process-wide report that the panic hook would print. Must never be used around our
//! own code's logic. Invariant: only panics of the calling thread, inside the closure, are kept quiet.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// `Some` while this thread is inside [`catch`]; holds the first panic's message and place.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

fn install() {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = CAUGHT.try_with(|caught| match caught.try_borrow_mut() {
                Ok(mut caught) => match caught.as_mut() {
                    Some(message) => {
                        if message.is_empty() {
                            *message = info.to_string().replace('\n', " ");
                        }
                        true
                    }
                    None => false,
                },
                Err(_) => false,
            });
            if !kept.unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

/// Runs `work`; a panic in it becomes its message, on one line.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    install();
    let outer = CAUGHT.with(|caught| caught.replace(Some(String::new())));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let message = CAUGHT.with(|caught| caught.replace(outer));
    result.map_err(|_| message.filter(|m| !m.is_empty()).unwrap_or_else(|| "panicked".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let caught = catch(|| -> () { panic!("segment 3 is not what it was") });
        assert!(caught.is_err_and(|m| m.contains("segment 3 is not what it was")));
        assert_eq!(catch(|| 7), Ok(7));
    }
}
