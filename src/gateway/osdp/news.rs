//! What becomes known of a reader. Owns the vocabulary between the panel and whoever runs it; must never hold what
//! was not believed. Invariant: a card, a key or a status in here came in the session of its reader, or from one
//! that the installer lets speak plainly.

use super::keys::Scbk;
use crate::wire::osdp::reply::{Capability, Card, Identity, Nak};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It answers, and proves its key unless it may speak plainly.
    Online,
    /// It began anew without having been lost: what it was told to show it may have forgotten.
    Renewed,
    Lost {
        detail: String,
    },
    Identified(Identity),
    Capable(Vec<Capability>),
    Card(Card),
    Formatted {
        reader: u8,
        text: Vec<u8>,
    },
    Keys {
        reader: u8,
        digits: Vec<u8>,
    },
    /// First value after it came, and every change.
    Tamper(bool),
    Power {
        failed: bool,
    },
    /// The reader proved this key, which it was only about to be given: it holds from now on.
    KeyTaken(Scbk),
    /// The time for installing is over, or the reader does not take a key.
    InstallEnded {
        detail: String,
    },
    /// It took these settings of the line.
    LineSet {
        address: u8,
        baud: u32,
    },
    /// It was to take others, and was not told so.
    LineKept {
        detail: String,
    },
    /// It was told to take others, and did not, or nobody knows.
    LineNotSet {
        detail: String,
    },
    /// What only its manufacturer understands.
    Manufacturer {
        vendor: [u8; 3],
        bytes: usize,
        /// So many replies that nothing is made of.
        count: u64,
    },
    /// A reply that nothing is made of.
    Unhandled {
        code: u8,
        count: u64,
    },
    /// The reader does not know this command, or cannot carry it out.
    Refused {
        code: u8,
        nak: Nak,
    },
    /// A reply that should have been protected was not, or does not prove the key: somebody else speaks, or the
    /// reader was exchanged.
    Security {
        detail: String,
    },
}
