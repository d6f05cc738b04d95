//! The rules of access, pure: no async, no clock, no IO, no logging, no randomness. Every function
//! here is a function of (state, now, input).
//!
//! Read in this order: [`door`] (what a door is and does), [`permission`] (who may pass),
//! [`outputs`] (what the relay is told), [`event`] (what is remembered).

pub mod area;
pub mod auto_open;
pub mod bucket;
pub mod card_bits;
pub mod card_format;
pub mod cloud;
pub mod door;
pub mod elevator;
pub mod emergency;
pub mod event;
pub mod fallback;
pub mod field;
pub mod fieldbus;
pub mod free_output;
pub mod ids;
pub mod indication;
pub mod installer;
pub mod interlock;
pub mod kept;
pub mod keypad;
pub mod locker;
pub mod operator;
pub mod order;
pub mod outputs;
pub mod permission;
pub mod pin_lock;
pub mod record;
pub mod schedule;
pub mod status;
pub mod system_event;
mod textual;
pub mod time;
pub mod timers;
pub mod topology;
