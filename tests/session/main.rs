//! The session with the cloud, in virtual time, against the pure test cloud.

mod commands;
mod confirmations;
mod delivery;
mod world;
