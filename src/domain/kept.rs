//! What must outlive a power cut, besides doors, commands and events: a small value each, under a name of
//! its own. Owns the list of such values; must never hold what can be worked out again from the set.
//! Invariant: the key of a value tells all that distinguishes it from others, so a newer one replaces it.

use serde::{Deserialize, Serialize};

use super::{
    event::AlarmSource,
    ids::Id,
    time::{ClockTrust, Wall},
};

/// One value, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// How a free output was set last.
    Output { output: Id, on: bool, issued_at: Wall },
    /// An alarm that nobody has acknowledged.
    Alarm { alarm: Id, source: AlarmSource, text: Option<String>, raised_at: Wall, times: u32 },
    /// Something lasting began and has not ended: a board, reader or input is lost, on fire, active. Told once,
    /// however often the node starts meanwhile.
    Standing { what: Standing },
    /// In which areas a person is, and which they left.
    Whereabouts { person: Id, areas: Vec<Presence> },
    /// What the auto opens of a door last said.
    AutoOpen {
        door: Id,
        /// The records that held.
        holding: Vec<Id>,
        /// The last boundary, and the one to come as far as it was known.
        last: Option<Wall>,
        next: Option<Wall>,
        /// By which the door was unlocked.
        on: Option<Id>,
        came: Vec<CameFirst>,
    },
}

/// One area of a person's whereabouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    pub area: Id,
    pub inside: bool,
    pub since: Wall,
    /// Whether `since` could be believed.
    pub clock: ClockTrust,
}

/// Somebody was granted for whom an auto open waited; it need not wait again before `until`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameFirst {
    pub auto_open: Id,
    pub until: Wall,
}

/// The name under which a value is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptKey(String);

impl KeptKey {
    pub fn alarm(alarm: &Id) -> KeptKey {
        KeptKey(format!("alarm/{alarm}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn whereabouts(person: &Id) -> KeptKey {
        KeptKey(format!("whereabouts/{person}"))
    }

    pub fn auto_open(door: &Id) -> KeptKey {
        KeptKey(format!("auto_open/{door}"))
    }
}

impl Kept {
    pub fn key(&self) -> KeptKey {
        match self {
            Kept::Whereabouts { person, .. } => KeptKey(format!("whereabouts/{person}")),
            Kept::Output { output, .. } => KeptKey(format!("output/{output}")),
            Kept::Alarm { alarm, .. } => KeptKey::alarm(alarm),
            Kept::Standing { what } => what.key(),
            Kept::Whereabouts { person, .. } => KeptKey::whereabouts(person),
            Kept::AutoOpen { door, .. } => KeptKey::auto_open(door),
        }
    }
}

/// What can stand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Standing {
    BoardLost { board: Id },
    ReaderLost { reader: Id },
    Fire { input: String },
    Forced { door: Id },
    Propped { door: Id },
    InputActive { input: Id },
    CloudLost,
}

impl Standing {
    pub fn key(&self) -> KeptKey {
        KeptKey(match self {
            Standing::BoardLost { board } => format!("standing/board/{board}"),
            Standing::ReaderLost { reader } => format!("standing/reader/{reader}"),
            Standing::Fire { input } => format!("standing/fire/{input}"),
            Standing::Forced { door } => format!("standing/forced/{door}"),
            Standing::Propped { door } => format!("standing/propped/{door}"),
            Standing::InputActive { input } => format!("standing/input/{input}"),
            Standing::CloudLost => "standing/cloud".to_owned(),
        })
    }
}
