//! What is typed at a cabinet: a code, or a compartment's number and a code. Owns the keys since the last `#`; must
//! never outlive a pause. Invariant: never holds more than [`TYPED_MAX`] digits.
//!
//! `CODE#` is a code; `NUMBER*CODE#` one for that compartment; a second `*` begins anew.

use std::time::Duration;

use crate::domain::{keypad::Key, time::Mono};

/// Digits of a number or a code.
pub const TYPED_MAX: usize = 16;

#[derive(Debug, Default)]
pub struct Typing {
    number: Option<String>,
    digits: String,
    /// More was typed than any code has.
    overflow: bool,
    last: Option<Mono>,
}

/// A whole entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    pub number: Option<u16>,
    pub digits: String,
}

impl Typing {
    /// Takes a key; the entry if it is complete. One that no code can be has no digits.
    pub fn press(&mut self, now: Mono, key: Key, timeout: Duration) -> Option<Typed> {
        if self.last.is_some_and(|last| now.since(last) > timeout) {
            self.clear();
        }
        self.last = Some(now);
        match key {
            Key::Digit(digit) => {
                if self.digits.len() < TYPED_MAX {
                    self.digits.push(char::from(b'0' + digit.min(9)));
                } else {
                    self.overflow = true;
                }
                None
            }
            Key::Star if self.number.is_none() && !self.digits.is_empty() && !self.overflow => {
                self.number = Some(std::mem::take(&mut self.digits));
                None
            }
            Key::Star => {
                self.clear();
                None
            }
            Key::Hash => {
                let Typing { number, digits, overflow, .. } = std::mem::take(self);
                let named = number.is_some();
                let number = number.and_then(|digits| digits.parse().ok());
                let sound = !overflow && named == number.is_some();
                (named || overflow || !digits.is_empty())
                    .then(|| Typed { number, digits: if sound { digits } else { String::new() } })
            }
        }
    }

    pub fn clear(&mut self) {
        *self = Typing::default();
    }
}
