//! The daemon as a process of its own, and everything bad that can come to it from outside: what it
//! says, what it keeps, and that it goes on.

mod areas;
mod automatic;
mod boards;
mod broker;
mod cellar;
mod commands;
mod configuration;
mod consequences;
mod contract;
mod coverage;
mod doors;
mod edits;
mod elevators;
mod explain;
mod fallbacks;
mod guards;
mod hours;
mod house;
mod life;
mod live;
mod lockers;
mod long_cards;
mod node;
mod offline;
mod operators;
mod people;
mod relays;
mod reports;
mod sets;
mod state_directory;
mod story;
mod timings;
mod told;
mod world;
