//! The decision, against a reading of the same rules that is deliberately naive, over random permission
//! sets and instants; and the proof that it allocates nothing.

mod agreement;
mod allocation;
mod deltas;
mod reference;
mod sets;
