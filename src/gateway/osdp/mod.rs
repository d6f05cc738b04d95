//! The OSDP control panel of one line, sans-IO: bytes and time in, bytes and news out. Owns who is asked next,
//! sequence numbers, retries, secure sessions and when a reader counts as lost; must never wait, and never
//! speak plainly to a reader that is to be spoken to securely. Invariant: one command is on the line at a time,
//! and a reader that does not answer costs its bounded share.
//!
//! `panel` is the turns of all, `reader` the conversation with one, `keys` what it may be protected with, `points`
//! its inputs and outputs, `news` what becomes known, `scan` finds readers.

mod feedback;
mod inquiry;
mod keys;
mod news;
mod panel;
mod points;
mod reader;
pub mod scan;
#[cfg(test)]
mod tests;

pub use feedback::{Means, commands as feedback_commands};
pub use keys::{KeyRing, Protection, Scbk};
pub use news::News;
pub use panel::{LinePlan, Next, Panel};
pub use reader::ReaderPlan;
