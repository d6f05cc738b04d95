//! What raises an alarm that stands until somebody acknowledges it, or until it is over. Owns the list; must never
//! raise one. Invariant: the same source with the same text again is the same alarm, raised once more.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{fieldbus::LineTrouble, ids::Id};

/// What raised an alarm that stands until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum AlarmSource {
    SystemEvent {
        system_event: Id,
        /// Where its trigger was, if that was at a door.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
    },
    EmergencyCard {
        emergency_card: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
    },
    /// A supervised line of this board is short, cut or faulty.
    Line { board: Id, input: Id, trouble: LineTrouble },
    /// Outputs of this board stay as they are when the daemon dies.
    Board { board: Id },
    /// Somebody said by their PIN that they are being forced.
    Duress {
        person: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        door: Option<Id>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        floor_group: Option<Id>,
    },
    /// A set or key set contradicts one that was seen under the same number: somebody else may sign with the cloud's
    /// keys.
    Rollback {},
    /// This store cannot be opened: the node does without what it keeps there. It stands until it can, also when
    /// somebody has acknowledged it.
    Storage { store: String },
    /// The configuration gives up a secure default: of this reader, or (absent) of the link to the cloud. It stands
    /// until the configuration no longer does, also when somebody has acknowledged it.
    Weakened {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reader: Option<Id>,
    },
}
