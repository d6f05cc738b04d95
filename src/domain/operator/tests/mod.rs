//! Both catalogues cell by cell, every command, every scope; and whoever wants more than they have.

mod authority;
mod cells;
mod escalation;
mod scene;
mod sight;
