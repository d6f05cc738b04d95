//! The daemon as a process of its own, and everything bad that can come to it from outside: what it
//! says, what it keeps, and that it goes on.

mod boards;
mod broker;
mod commands;
mod configuration;
mod doors;
mod life;
mod live;
mod reports;
mod sets;
mod state_directory;
mod world;
