//! The machine under virtual time, against boards made of maps.

mod boards;
mod cards;
mod deadlines;
mod guards;
mod orders;
mod plans;
mod random;
mod rig;
