//! The daemon as a process of its own, and everything bad that can come to it from outside: what it
//! says, what it keeps, and that it goes on.

mod automatic;
mod boards;
mod broker;
mod cellar;
mod commands;
mod configuration;
mod doors;
mod edits;
mod explain;
mod guards;
mod life;
mod live;
mod node;
mod reports;
mod sets;
mod state_directory;
mod world;
