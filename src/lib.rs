#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod runtime;
pub mod wire;
