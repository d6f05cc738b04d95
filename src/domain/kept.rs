//! What must outlive a power cut, besides doors, commands and events: a small value each, under a name of
//! its own. Owns the list of such values; must never hold what can be worked out again from the set.
//! Invariant: the key of a value tells all that distinguishes it from others, so a newer one replaces it.

use serde::{Deserialize, Serialize};

use super::{
    elevator::DurableFloors,
    event::{AlarmSource, Fallback},
    ids::Id,
    locker::KeyRecord,
    record::Token,
    time::{ClockTrust, Wall},
};

/// One value, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "snake_case")]
pub enum Kept {
    /// A backup code of a key locker that was used.
    BackupCode { code: Token, used_at: Wall },
    /// Where the key of a compartment is.
    LockerKey { locker: Id, record: KeyRecord },
    /// What operators did to an elevator.
    FloorGroup { floor_group: Id, state: DurableFloors },
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
    /// All that ever had a state on the broker: kind and id.
    Things { all: Vec<(String, Id)> },
    /// Edits by command up to this revision stand in the event log.
    EditsTold { revision: u64 },
    /// When the command was issued that edited this record last: an older one must not undo it.
    Edited { record_kind: Id, id: Id, issued_at: Wall },
    /// No edit that was issued before this is made any more, whatever it is of.
    EditsFloor { issued_at: Wall },
    /// Wrong PINs in a row, and until when no more are taken.
    WrongPins { of: PinOwner, wrong: u32, locked: Option<PinLock> },
    /// For so long, at the least, there was no beat; counted while the node was on.
    WithoutBeat { seconds: u64 },
    /// How often an emergency card was used on this node.
    EmergencyUses { emergency_card: Id, uses: u32 },
    /// Which fallbacks were entered and not left; `None`: the doors without a policy.
    Fallbacks { policy: Option<Id>, entered: Vec<Fallback> },
    /// How a free output was set last.
    Output { output: Id, on: bool, issued_at: Wall },
    /// An alarm that stands; `acknowledged`: somebody has seen it, and its cause goes on.
    Alarm {
        alarm: Id,
        source: AlarmSource,
        text: Option<String>,
        raised_at: Wall,
        times: u32,
        #[serde(default)]
        acknowledged: bool,
    },
    /// What a system event has put off: a door's opening or closing.
    Delay { system_event: Id, door: Id, opens: bool, due: Wall, since: Wall },
    /// Something lasting began and has not ended: a board, reader or input is lost, on fire, active. Told once,
    /// however often the node starts meanwhile.
    Standing { what: Standing },
}

/// Whose PINs are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", content = "id", rename_all = "snake_case")]
pub enum PinOwner {
    Person(Id),
    EmergencyCard(Id),
    /// Of PINs alone nobody knows whose they were to be.
    Reader(Id),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PinLock {
    pub until: Wall,
    /// Whether `until` could be believed.
    pub clock: ClockTrust,
    /// How long it lasts in all.
    pub seconds: u32,
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
    pub fn delay(system_event: &Id, door: &Id, opens: bool) -> KeptKey {
        KeptKey(format!("delay/{system_event}/{door}/{}", if opens { "open" } else { "close" }))
    }

    pub fn alarm(alarm: &Id) -> KeptKey {
        KeptKey(format!("alarm/{alarm}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn things() -> KeptKey {
        KeptKey("things".to_owned())
    }

    pub fn edits_told() -> KeptKey {
        KeptKey("edits_told".to_owned())
    }

    pub fn edited(kind: &Id, id: &Id) -> KeptKey {
        KeptKey(format!("edited/{kind}/{id}"))
    }

    pub fn edits_floor() -> KeptKey {
        KeptKey("edits_floor".to_owned())
    }

    pub fn whereabouts(person: &Id) -> KeptKey {
        KeptKey(format!("whereabouts/{person}"))
    }

    pub fn wrong_pins(of: &PinOwner) -> KeptKey {
        KeptKey(match of {
            PinOwner::Person(id) => format!("wrong_pins/person/{id}"),
            PinOwner::EmergencyCard(id) => format!("wrong_pins/emergency_card/{id}"),
            PinOwner::Reader(id) => format!("wrong_pins/reader/{id}"),
        })
    }

    pub fn without_beat() -> KeptKey {
        KeptKey("without_beat".to_owned())
    }

    pub fn emergency_uses(card: &Id) -> KeptKey {
        KeptKey(format!("emergency_uses/{card}"))
    }

    /// Two kinds of key, as a policy may have any id.
    pub fn fallbacks(policy: Option<&Id>) -> KeptKey {
        KeptKey(policy.map_or("fallbacks".to_owned(), |policy| format!("fallbacks/{policy}")))
    }

    pub fn auto_open(door: &Id) -> KeptKey {
        KeptKey(format!("auto_open/{door}"))
    }
}

impl Kept {
    pub fn backup_code(code: &Token) -> KeptKey {
        KeptKey(format!("backup_code/{code}"))
    }

    pub fn key(&self) -> KeptKey {
        match self {
            Kept::Things { .. } => KeptKey::things(),
            Kept::EditsTold { .. } => KeptKey::edits_told(),
            Kept::Edited { record_kind, id, .. } => KeptKey::edited(record_kind, id),
            Kept::EditsFloor { .. } => KeptKey::edits_floor(),
            Kept::BackupCode { code, .. } => Kept::backup_code(code),
            Kept::LockerKey { locker, .. } => KeptKey(format!("locker_key/{locker}")),
            Kept::FloorGroup { floor_group, .. } => KeptKey(format!("floor_group/{floor_group}")),
            Kept::WrongPins { of, .. } => KeptKey::wrong_pins(of),
            Kept::WithoutBeat { .. } => KeptKey::without_beat(),
            Kept::EmergencyUses { emergency_card, .. } => KeptKey::emergency_uses(emergency_card),
            Kept::Fallbacks { policy, .. } => KeptKey::fallbacks(policy.as_ref()),
            Kept::Whereabouts { person, .. } => KeptKey::whereabouts(person),
            Kept::AutoOpen { door, .. } => KeptKey::auto_open(door),
            Kept::Output { output, .. } => KeptKey(format!("output/{output}")),
            Kept::Alarm { alarm, .. } => KeptKey::alarm(alarm),
            Kept::Delay { system_event, door, opens, .. } => KeptKey::delay(system_event, door, *opens),
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
    LineFault { board: Id, input: Id },
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
            Standing::LineFault { board, input } => format!("standing/line/{board}/{input}"),
            Standing::CloudLost => "standing/cloud".to_owned(),
        })
    }
}
