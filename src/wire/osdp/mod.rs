//! OSDP v2 on the wire (SIA OSDP 2.2, IEC 60839-11-5): frames, the commands of a control panel, the replies of
//! a reader, and the secure channel over them. Owns bytes only; must never know when to send (that is the
//! panel's machine). Invariant: what was decoded passed its check, and, within a session, its MAC.
//!
//! `frame` delimits and checks, `command` and `reply` are the contents, `secure` is the session, `sealed` how a reader's
//! key lies on the disk.

pub mod command;
pub mod frame;
pub mod reply;
pub mod sealed;
pub mod secure;
#[cfg(test)]
pub(crate) mod testkit;

/// Addresses of readers; 0x7F is everybody's.
pub const ADDRESS_MAX: u8 = 0x7E;
pub const BROADCAST: u8 = 0x7F;
/// Speeds of a line (SIA OSDP 2.2, 4.1), what readers are delivered with first.
pub const BAUDS: [u32; 6] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400];
