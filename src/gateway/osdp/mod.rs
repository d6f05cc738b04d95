//! The OSDP control panel of one line, sans-IO: bytes and time in, bytes and news out. Owns who is asked next,
//! sequence numbers, retries, secure sessions and when a reader counts as lost; must never wait, and never
//! speak plainly to a reader that is to be spoken to securely. Invariant: one command is on the line at a time,
//! and a reader that does not answer costs its bounded share.
//!
//! `reader` is the conversation with one reader, `panel` the turns of all.

mod panel;
mod reader;

pub use panel::{Panel, PanelConfig};
pub use reader::{KeyPolicy, News, ReaderConfig, Wish};
