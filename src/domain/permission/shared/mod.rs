//! Tables that share structure. Owns copying as little as a change needs; must never know what lies in
//! them. Invariant: a clone costs a few reference counts, and a change to a clone touches the path to
//! what changes, so two generations of a set hold in common whatever they have in common.
//!
//! `chunks` is a vector, `index` finds numbers by a hash, `table` puts both together: cells by name.

mod chunks;
mod index;
mod table;

pub(super) use self::{
    chunks::Chunks,
    index::{Entry, Hash, Index},
    table::Table,
};
