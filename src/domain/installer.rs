//! What an installer on the spot is shown of the wiring, and may try. Owns the names of all points, what each
//! serves, and the words between the running daemon and `latchd io`; must never hold a card's number. Invariant:
//! a point has one use at most.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    door::DoorConfig,
    field::FieldConfig,
    fieldbus::{BoardConfig, LineTrouble, ReaderPoints},
    ids::{BoardIx, DoorIx, Id, InputRef, OutputRef},
    outputs::Level,
    status::Link,
};

/// Longest pulse that may be tried: a wire is found by then, and a door not left open.
pub const PULSE_MAX: Duration = Duration::from_secs(10);
pub const PULSE_MIN: Duration = Duration::from_millis(100);
/// Longest installer mode: a working day.
pub const MODE_MAX: Duration = Duration::from_secs(8 * 3600);
/// Longest time for which the default key of an OSDP reader is accepted: everybody has it.
pub const INSTALL_MAX_MINUTES: u32 = 60;

/// One board's points, in the order of its profile.
#[derive(Clone, Debug, PartialEq)]
pub struct BoardPoints {
    pub id: Id,
    pub inputs: Vec<(Id, Option<String>)>,
    pub outputs: Vec<(Id, OutputUse)>,
}

/// What an output serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputUse {
    Nothing,
    /// The lock of this door, or of this compartment.
    Lock(DoorIx, Id),
    Floor {
        floor_group: Id,
        floor: Id,
    },
    /// An `[[output]]` of the site file.
    Output(Id),
}

impl OutputUse {
    fn words(&self) -> Option<String> {
        match self {
            OutputUse::Nothing => None,
            OutputUse::Lock(_, door) => Some(format!("lock of {door}")),
            OutputUse::Floor { floor_group, floor } => Some(format!("floor {floor} of {floor_group}")),
            OutputUse::Output(output) => Some(format!("output {output}")),
        }
    }
}

/// All points of all boards and then of readers, with what each serves.
pub fn points<'a>(
    boards: impl Iterator<Item = &'a BoardConfig>,
    readers: &[(Id, ReaderPoints)],
    doors: &[DoorConfig],
    field: &FieldConfig,
) -> Vec<BoardPoints> {
    let mut inputs: BTreeMap<InputRef, String> = BTreeMap::new();
    let mut outputs: BTreeMap<OutputRef, OutputUse> = BTreeMap::new();
    for (ix, door) in (0..).map(DoorIx).zip(doors) {
        outputs.insert(door.lock, OutputUse::Lock(ix, door.id.clone()));
        let contact = door.contact.iter().map(|contact| (contact.input, "contact"));
        let rex = door.rex.iter().map(|rex| (rex.input, "REX"));
        for (input, what) in contact.chain(rex) {
            inputs.insert(input, format!("{what} of {}", door.id));
        }
        // One release often serves many doors.
        if let Some(fire) = &door.fire {
            inputs
                .entry(fire.input)
                .and_modify(|what| *what += &format!(", {}", door.id))
                .or_insert_with(|| format!("fire release of {}", door.id));
        }
    }
    for group in &field.floor_groups {
        for floor in &group.floors {
            let place = OutputUse::Floor { floor_group: group.id.clone(), floor: floor.id.clone() };
            outputs.insert(floor.output, place);
            if let Some(selected) = floor.selected {
                inputs.insert(selected.input, format!("floor {} of {} chosen", floor.id, group.id));
            }
        }
    }
    for compartment in field.cabinets.iter().flat_map(|cabinet| &cabinet.compartments) {
        inputs.insert(compartment.occupied.input, format!("occupancy of {}", compartment.id));
    }
    for output in &field.outputs {
        outputs.insert(output.output, OutputUse::Output(output.id.clone()));
    }
    for input in &field.inputs {
        inputs.insert(input.input, format!("input {}", input.id));
    }
    let of_board = |board: &BoardConfig| {
        let inputs = board.profile.inputs.iter().map(|point| point.name.clone()).collect();
        let outputs = board.profile.outputs.iter().map(|point| point.name.clone()).collect();
        (board.id.clone(), board.board, inputs, outputs)
    };
    let of_reader =
        |(id, points): &(Id, ReaderPoints)| (id.clone(), points.board, points.input_names(), points.output_names());
    let named = |(id, board, of_inputs, of_outputs): (Id, BoardIx, Vec<Id>, Vec<Id>)| BoardPoints {
        id,
        inputs: (0..).zip(of_inputs).map(|(input, name)| (name, inputs.remove(&InputRef { board, input }))).collect(),
        outputs: (0..)
            .zip(of_outputs)
            .map(|(output, name)| {
                let place = outputs.remove(&OutputRef { board, output });
                (name, place.unwrap_or(OutputUse::Nothing))
            })
            .collect(),
    };
    boards.map(of_board).chain(readers.iter().map(of_reader)).map(named).collect()
}

/// What `latchd io`, `latchd osdp` and `latchd explain` ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// All points as they are now.
    Points {},
    /// Installer mode for so many minutes; 0 ends it.
    Mode { minutes: u32 },
    /// Try this output.
    Pulse { board: Id, output: Id, pulse_ms: u32 },
    /// For so many minutes the default key of this OSDP reader is accepted, to give it one of its own.
    OsdpInstall { reader: Id, minutes: u32 },
    /// Whether it has it.
    OsdpKey { reader: Id },
    /// This OSDP reader is to take another address, or another speed; what is absent stays.
    OsdpSetLine { reader: Id, address: Option<u8>, baud: Option<u32> },
    /// What became of that.
    OsdpLine { reader: Id },
    /// How often each emergency card was used on this node.
    EmergencyUses {},
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Points(Snapshot),
    Done {
        message: String,
    },
    Refused {
        message: String,
    },
    /// It is not known yet.
    Waiting {},
    EmergencyUses {
        uses: BTreeMap<Id, u32>,
    },
}

/// All that is known of the wiring at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub boards: Vec<BoardSnapshot>,
    pub readers: Vec<ReaderSnapshot>,
    /// Installer mode ends in so many seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode_left_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardSnapshot {
    pub board: Id,
    pub link: Link,
    pub points: Vec<PointSnapshot>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointSnapshot {
    pub point: Id,
    pub is_output: bool,
    /// Absent: not known, for its board does not answer or nothing reads it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energised: Option<bool>,
    /// A supervised line that says neither on nor off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<LineTrouble>,
    /// How often it changed since the daemon started: shows a pulse that is over before anybody looks.
    pub changes: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serves: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReaderSnapshot {
    pub reader: Id,
    /// What it read last: how many bits, and how long ago. Never which.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_read: Option<LastRead>,
    pub reads: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRead {
    pub bits: u16,
    pub ago_s: u64,
}

/// The points of one board as they are heard of.
#[derive(Debug)]
pub struct LivePoints {
    pub config: BoardPoints,
    pub up: Option<bool>,
    inputs: Vec<Live>,
    outputs: Vec<Live>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Live {
    energised: Option<bool>,
    trouble: Option<LineTrouble>,
    changes: u64,
}

impl Live {
    fn heard(&mut self, energised: bool) {
        if self.energised.is_some_and(|before| before != energised) {
            self.changes += 1;
        }
        self.energised = Some(energised);
        self.trouble = None;
    }
}

impl LivePoints {
    pub fn new(config: BoardPoints) -> LivePoints {
        let (inputs, outputs) = (config.inputs.len(), config.outputs.len());
        LivePoints { config, up: None, inputs: vec![Live::default(); inputs], outputs: vec![Live::default(); outputs] }
    }

    pub fn input(&mut self, at: u16, energised: bool) {
        if let Some(live) = self.inputs.get_mut(usize::from(at)) {
            live.heard(energised);
        }
    }

    pub fn trouble(&mut self, at: u16, trouble: LineTrouble) {
        if let Some(live) = self.inputs.get_mut(usize::from(at)) {
            (live.energised, live.trouble) = (None, Some(trouble));
        }
    }

    pub fn output(&mut self, at: u16, level: Level) {
        if let Some(live) = self.outputs.get_mut(usize::from(at)) {
            live.heard(level == Level::Energised);
        }
    }

    pub fn board(&mut self, up: bool) {
        self.up = Some(up);
        if !up {
            // Nobody knows; the changes that were seen stay seen.
            self.inputs
                .iter_mut()
                .chain(&mut self.outputs)
                .for_each(|live| (live.energised, live.trouble) = (None, None));
        }
    }

    pub fn snapshot(&self) -> BoardSnapshot {
        let point = |name: &Id, live: &Live, is_output, serves| PointSnapshot {
            point: name.clone(),
            is_output,
            energised: live.energised,
            trouble: live.trouble,
            changes: live.changes,
            serves,
        };
        let outputs = self.config.outputs.iter().zip(&self.outputs);
        let outputs = outputs.map(|((name, place), live)| point(name, live, true, place.words()));
        let inputs = self.config.inputs.iter().zip(&self.inputs);
        let inputs = inputs.map(|((name, serves), live)| point(name, live, false, serves.clone()));
        BoardSnapshot {
            board: self.config.id.clone(),
            link: match self.up {
                None => Link::Unknown,
                Some(true) => Link::Up,
                Some(false) => Link::Lost,
            },
            points: outputs.chain(inputs).collect(),
        }
    }
}

/// Where an output is, by the names that the installer gave.
pub fn find<'a>(boards: &'a [LivePoints], board: &str, output: &str) -> Result<(OutputRef, &'a OutputUse), String> {
    let found = (0..).map(BoardIx).zip(boards).find(|(_, points)| points.config.id.as_str() == board);
    let Some((ix, points)) = found else {
        let all: Vec<&str> = boards.iter().map(|points| points.config.id.as_str()).collect();
        return Err(format!("there is no board `{board}`; there are {}", all.join(", ")));
    };
    let at = (0..).zip(&points.config.outputs).find(|(_, (name, _))| name.as_str() == output);
    match at {
        Some((at, (_, place))) => Ok((OutputRef { board: ix, output: at }, place)),
        None => {
            let all: Vec<&str> = points.config.outputs.iter().map(|(name, _)| name.as_str()).collect();
            Err(format!("board `{board}` has no output `{output}`; it has {}", all.join(", ")))
        }
    }
}
