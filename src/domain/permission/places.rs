//! The node's doors, by name. Owns nothing but the numbers; must never change while the node runs.
//! Invariant: the number of a door is its [`DoorIx`], the same everywhere.

use std::{collections::HashMap, sync::Arc};

use crate::domain::ids::{DoorIx, Id};

#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<HashMap<Id, DoorIx>>);

impl Places {
    /// `doors` in the order of their [`DoorIx`].
    pub(super) fn new(doors: &[Id]) -> Places {
        Places(Arc::new(doors.iter().cloned().zip((0..=u16::MAX).map(DoorIx)).collect()))
    }

    pub(super) fn doors(&self) -> usize {
        self.0.len()
    }

    pub(super) fn door(&self, id: &str) -> Option<DoorIx> {
        self.0.get(id).copied()
    }
}
