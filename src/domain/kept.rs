//! What must outlive a power cut, besides doors, commands and events: a small value each, under a name of
//! its own. Owns the list of such values; must never hold what can be worked out again from the set.
//! Invariant: the key of a value tells all that distinguishes it from others, so a newer one replaces it.

use serde::{Deserialize, Serialize};

use super::{event::AlarmSource, ids::Id, time::Wall};

/// One value, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// Where a person was let in last; `None`: outside of all areas.
    Whereabouts { person: Id, area: Option<Id>, since: Wall },
    /// How a free output was set last.
    Output { output: Id, on: bool, issued_at: Wall },
    /// An alarm that nobody has acknowledged.
    Alarm { alarm: Id, source: AlarmSource, text: Option<String>, raised_at: Wall, times: u32 },
    /// Something lasting began and has not ended: a board, reader or input is lost, on fire, active. Told once,
    /// however often the node starts meanwhile.
    Standing { what: Standing },
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
}

impl Kept {
    pub fn key(&self) -> KeptKey {
        match self {
            Kept::Whereabouts { person, .. } => KeptKey(format!("whereabouts/{person}")),
            Kept::Output { output, .. } => KeptKey(format!("output/{output}")),
            Kept::Alarm { alarm, .. } => KeptKey::alarm(alarm),
            Kept::Standing { what } => what.key(),
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
