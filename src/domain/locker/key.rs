//! Where the key of a compartment is. Owns its states; must never guess who took it. Invariant: each change of
//! what is in the compartment is one state more, and a key that is out is told `not_returned` once.
//!
//! ```text
//!              put in                  taken out                until has passed
//!   (nothing) --------> added --------------------> fetched ---------------------> not_returned
//!                         ^                          |   ^                              |
//!          another key    |            put in        v   | taken out                    |
//!                         +--------- returned <------+---+------------ put in ----------+
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{event::Actor, ids::Id, time::Wall};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    Added,
    Fetched,
    Returned,
    NotReturned,
}

/// What is known of the key; outlives a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRecord {
    pub state: KeyState,
    /// As the contract names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Id>,
    /// Of whoever opened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Id>,
    pub since: Wall,
    /// When a key that is out has to be back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Wall>,
}

/// By whom and by which contract the compartment was opened last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub actor: Actor,
    pub contract: Option<Id>,
    pub person: Option<Id>,
    /// The contract's end.
    pub due: Option<Wall>,
}

/// A key that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub record: KeyRecord,
    /// `None`: nobody had opened.
    pub actor: Option<Actor>,
}

impl KeyRecord {
    pub fn is_out(&self) -> bool {
        !self.is_in()
    }

    fn is_in(&self) -> bool {
        matches!(self.state, KeyState::Added | KeyState::Returned)
    }

    /// The record once its time is over; `None`: it is not.
    pub fn overdue(&self, now: Wall) -> Option<KeyRecord> {
        let over = self.state == KeyState::Fetched && self.due.is_some_and(|due| due <= now);
        over.then(|| KeyRecord { state: KeyState::NotReturned, since: now, ..self.clone() })
    }
}

/// What it means that the compartment is now occupied, or not; `named` is the key of the contract in force.
pub fn key_change(
    known: Option<&KeyRecord>,
    occupied: bool,
    named: Option<&Id>,
    opening: Option<&Opening>,
    now: Wall,
) -> Option<KeyChange> {
    let is_in = known.is_some_and(KeyRecord::is_in);
    if is_in == occupied {
        return None;
    }
    let key = known.and_then(|known| known.key.clone());
    let (state, key) = match known {
        _ if !occupied => (KeyState::Fetched, key),
        None => (KeyState::Added, named.cloned()),
        // Another key than the one that was here.
        Some(_) if named.is_some() && named != key.as_ref() => (KeyState::Added, named.cloned()),
        Some(_) => (KeyState::Returned, key),
    };
    let record = KeyRecord {
        state,
        key,
        contract: opening.and_then(|opening| opening.contract.clone()),
        person: opening.and_then(|opening| opening.person.clone()),
        since: now,
        due: opening.and_then(|opening| opening.due).filter(|_| !occupied),
    };
    Some(KeyChange { record, actor: opening.map(|opening| opening.actor.clone()) })
}
