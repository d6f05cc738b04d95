//! System events: when TRIGGER (and during SCHEDULE) do ACTION. Owns what a trigger listens to (`trigger`), what
//! a loop is (`cycle`), what a record must keep to (`check`), and how much may fire (`budget`, `swipe`); must
//! never act: the machine beside the doors does, as an operator would. Invariant: the same happenings fire the
//! same system events, on every node that has the set.

mod budget;
mod check;
mod cycle;
mod swipe;
mod trigger;

pub use budget::{Budget, Spent};
pub use check::{SYSTEM_EVENTS_MAX, check};
pub use swipe::{Swipe, Swipes};
pub use trigger::{Cause, fires};

#[cfg(test)]
mod tests;
