//! Who or what caused something. Owns the list; must never say whether they might. Invariant: of each the event names
//! what a security manager needs to find them: the operator's command, the system event, the credential, the user at
//! the node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ids::Id;

/// Who caused a change of a door's mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Actor {
    /// An operator's command.
    Operator { operator: Id, jti: Id },
    /// A system event, acting for its author; without one for the cloud itself.
    SystemEvent {
        system_event: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        author: Option<Id>,
    },
    /// A credential that was granted.
    Person { person: Id, credential: Id },
    /// An emergency card.
    EmergencyCard { emergency_card: Id },
    /// What a schedule unlocks.
    AutoOpen { auto_open: Id },
    /// A door that must not be open together with another one.
    Interlock { interlock: Id },
    /// Request to exit.
    Rex,
    /// The fire input.
    Fire,
    /// A timer of the door, its contact or its board.
    Door,
    /// The same of a floor group.
    FloorGroup,
    /// A code of a key locker's contract.
    Contract {
        contract: Id,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        person: Option<Id>,
    },
    /// A schedule under which floors are public.
    PublicFloors,
    /// Somebody at the node with `latchd io`, by the user that they were there.
    Installer { uid: u32 },
    /// The node itself: start, stop.
    Node,
}

impl Actor {
    /// The command's id, or the system event.
    pub fn cause(&self) -> Option<&Id> {
        match self {
            Actor::Operator { jti, .. } => Some(jti),
            Actor::SystemEvent { system_event, .. } => Some(system_event),
            Actor::Person { .. }
            | Actor::EmergencyCard { .. }
            | Actor::AutoOpen { .. }
            | Actor::Interlock { .. }
            | Actor::Contract { .. } => None,
            Actor::Rex
            | Actor::Fire
            | Actor::Door
            | Actor::FloorGroup
            | Actor::PublicFloors
            | Actor::Installer { .. }
            | Actor::Node => None,
        }
    }
}
