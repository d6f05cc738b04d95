//! Codecs and cryptography of everything that crosses the node's borders, pure.

pub mod outcome;
