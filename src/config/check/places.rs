//! Elevators and key lockers: floors and compartments counted out, their points each with one purpose.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Checker,
    boards::{Boards, index},
    doors::Doors,
};
use crate::{
    config::{
        raw::{RawDoor, RawSite},
        raw_places::{Count, RawCabinet, RawCompartments, RawFloorGroup, RawFloors},
        report::{At, Diagnostic, Span},
        site::Reader,
    },
    domain::{
        door::DoorConfig,
        elevator::{FLOORS_MAX, FailPolicy, FloorConfig, FloorGroupConfig, Selected},
        ids::{DoorIx, Id},
        locker::{CabinetConfig, Compartment, Occupancy},
        topology::ReaderAt,
    },
};

const ENABLE_DEFAULT: Duration = Duration::from_secs(10);
const KEYPAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const CODE_TRIES_DEFAULT: u32 = 5;
const LOCKOUT_DEFAULT: Duration = Duration::from_secs(300);

/// What a reader can be at, by name.
pub struct Places {
    pub doors: Vec<Option<At<Id>>>,
    pub floor_groups: Vec<Option<At<Id>>>,
    pub cabinets: Vec<Option<At<Id>>>,
}

impl Places {
    pub fn new(raw: &RawSite) -> Places {
        Places {
            doors: raw.doors.iter().map(|door| door.id.clone()).collect(),
            floor_groups: raw.floor_groups.iter().map(|group| group.id.clone()).collect(),
            cabinets: raw.cabinets.iter().map(|cabinet| cabinet.id.clone()).collect(),
        }
    }
}

impl Checker<'_> {
    /// Compartments are doors, after the others.
    pub fn places(
        &self,
        raw: &RawSite,
        boards: &Boards,
        doors: &mut Doors,
    ) -> Option<(Vec<FloorGroupConfig>, Vec<CabinetConfig>)> {
        self.unique("floor groups", raw.floor_groups.iter().map(|group| group.id.as_ref()));
        self.unique("cabinets", raw.cabinets.iter().map(|cabinet| cabinet.id.as_ref()));
        let floor_groups: Vec<_> =
            raw.floor_groups.iter().map(|group| self.floor_group(group, boards, doors)).collect();
        let mut known: BTreeMap<Id, Span> = BTreeMap::new();
        known.extend(raw.doors.iter().filter_map(|door| door.id.as_ref()).map(|id| (id.value.clone(), id.span)));
        let cabinets: Vec<_> =
            raw.cabinets.iter().map(|cabinet| self.cabinet(cabinet, boards, doors, &mut known)).collect();
        Some((floor_groups.into_iter().collect::<Option<_>>()?, cabinets.into_iter().collect::<Option<_>>()?))
    }

    fn floor_group(&self, raw: &RawFloorGroup, boards: &Boards, uses: &mut Doors) -> Option<FloorGroupConfig> {
        let mut floors = Vec::new();
        let mut known: BTreeMap<Id, Span> = BTreeMap::new();
        for entry in &raw.floors {
            for at in entry.count.numbers() {
                floors.push(self.floor(entry, at, boards, uses, &mut known));
            }
        }
        if floors.len() > FLOORS_MAX {
            let finding = Diagnostic::error("an elevator has too many floors");
            self.sink.add(finding.at(raw.span, format!("at most {FLOORS_MAX} are allowed, here are {}", floors.len())));
        }
        let enable = raw.enable.as_ref().map_or(ENABLE_DEFAULT, |at| at.value);
        let enable_extended = raw.enable_extended.as_ref().map_or(enable * 2, |at| at.value);
        self.not_below("enable_extended_s", &raw.enable_extended, "enable_s", enable, &raw.enable);
        Some(FloorGroupConfig {
            id: raw.id.as_ref()?.value.clone(),
            floors: floors.into_iter().collect::<Option<_>>()?,
            enable,
            enable_extended,
            fail: raw.fail.as_ref().map_or(FailPolicy::Secure, |at| at.value),
        })
    }

    fn floor(
        &self,
        raw: &RawFloors,
        at: (u16, u16),
        boards: &Boards,
        uses: &mut Doors,
        known: &mut BTreeMap<Id, Span>,
    ) -> Option<FloorConfig> {
        let id = self.counted_id("floors", raw.count, raw.id.as_ref(), at, known);
        let output = raw.output.as_ref().map(|text| raw.count.expand(text, at));
        let output = output.as_ref().and_then(|text| self.output("floor", text, boards, uses));
        let selected =
            raw.selected.as_ref().map(|input| self.input("selected", &raw.count.expand_input(input, at), boards, uses));
        Some(FloorConfig {
            id: id?,
            output: output?,
            enabled_level: raw.enabled.as_ref()?.value,
            selected: match selected {
                Some(found) => found.map(|(input, active_value)| Some(Selected { input, active_value }))?,
                None => None,
            },
        })
    }

    fn cabinet(
        &self,
        raw: &RawCabinet,
        boards: &Boards,
        doors: &mut Doors,
        known: &mut BTreeMap<Id, Span>,
    ) -> Option<CabinetConfig> {
        let mut compartments = Vec::new();
        let mut numbers: BTreeMap<u16, Span> = BTreeMap::new();
        for entry in &raw.compartments {
            for at in entry.count.numbers() {
                let span = entry.id.as_ref().map_or(raw.span, |id| id.span);
                if let Some(first) = numbers.insert(at.0, span) {
                    let finding = Diagnostic::error(format!("two compartments have the number {}", at.0));
                    let finding = finding.at(span, "again here").related(first, "first here");
                    self.sink.add(finding.help("`first` says where an entry begins to count"));
                }
                compartments.push(self.compartment(entry, at, boards, doors, known));
            }
        }
        Some(CabinetConfig {
            id: raw.id.as_ref()?.value.clone(),
            compartments: compartments.into_iter().collect::<Option<_>>()?,
            keypad_timeout: raw.keypad_timeout.as_ref().map_or(KEYPAD_TIMEOUT_DEFAULT, |at| at.value),
            code_tries: raw.code_tries.as_ref().map_or(CODE_TRIES_DEFAULT, |at| at.value),
            lockout: raw.lockout.as_ref().map_or(LOCKOUT_DEFAULT, |at| at.value),
        })
    }

    fn compartment(
        &self,
        raw: &RawCompartments,
        at: (u16, u16),
        boards: &Boards,
        doors: &mut Doors,
        known: &mut BTreeMap<Id, Span>,
    ) -> Option<Compartment> {
        let id = self.counted_id("compartments", raw.count, raw.id.as_ref(), at, known);
        let occupied = raw.occupied.as_ref().map(|input| raw.count.expand_input(input, at));
        let occupied = occupied.and_then(|input| self.input("occupied", &input, boards, doors));
        let timing = |known: &Option<At<Duration>>| known.as_ref().map(|at| At { value: at.value, span: at.span });
        let door = RawDoor {
            id: id.clone().zip(raw.id.as_ref()).map(|(value, text)| At { value, span: text.span }),
            lock: raw.lock.as_ref().map(|lock| raw.count.expand_lock(lock, at)),
            contact: raw.contact.as_ref().map(|input| raw.count.expand_input(input, at)),
            has_contact: raw.has_contact,
            dwell: timing(&raw.dwell),
            open_time: timing(&raw.open_time),
            ..RawDoor::default()
        };
        let number = index(doors.doors.len());
        let door = self.door(&door, boards, doors);
        let door = door.map(|door| DoorConfig { momentary_only: true, ..door });
        doors.doors.push(door);
        let (input, occupied_value) = occupied?;
        let occupied = Occupancy { input, occupied_value };
        Some(Compartment { door: DoorIx(number), id: id?, number: at.0, occupied })
    }

    /// The id of one of those that an entry stands for, if it is one and new.
    fn counted_id(
        &self,
        what: &str,
        count: Count,
        text: Option<&At<String>>,
        at: (u16, u16),
        known: &mut BTreeMap<Id, Span>,
    ) -> Option<Id> {
        let text = text?;
        let problem = |message: &str, label: String| {
            // Once for the entry, not for each that it stands for.
            if at.1 == 1 {
                self.sink.add(Diagnostic::error(message).at(text.span, label));
            }
        };
        if count.count > 1 && !text.value.contains("{n") {
            problem(
                "counted entries need a numbered id",
                format!("expected `{{n}}` in it, such as \"{}-{{n}}\"", text.value),
            );
            return None;
        }
        if !count.counted && text.value.contains('{') {
            problem("a numbered id needs `count`", "how many are there?".to_owned());
            return None;
        }
        let id = match Id::new(&count.expand(text, at).value) {
            Ok(id) => id,
            Err(error) => {
                problem("`id` is not a valid id", error.to_string());
                return None;
            }
        };
        if let Some(first) = known.get(&id) {
            let finding = Diagnostic::error(format!("two {what} have the id `{id}`"));
            self.sink.add(finding.at(text.span, "again here").related(*first, "first here"));
            return None;
        }
        known.insert(id.clone(), text.span);
        Some(id)
    }

    /// What nobody can present anything at.
    pub fn readerless(&self, raw: &RawSite, readers: &[Option<Reader>]) {
        if readers.iter().any(Option::is_none) {
            return;
        }
        let has = |at: ReaderAt| readers.iter().flatten().any(|reader| reader.at == at);
        for (position, group) in raw.floor_groups.iter().enumerate() {
            if let Some(id) = group.id.as_ref().filter(|_| !has(ReaderAt::Cab(index(position)))) {
                let finding = Diagnostic::warning(format!("no reader is in the cab of `{}`", id.value));
                self.sink.add(finding.at(id.span, "its floors follow schedules and commands only"));
            }
        }
        for (position, cabinet) in raw.cabinets.iter().enumerate() {
            if let Some(id) = cabinet.id.as_ref().filter(|_| !has(ReaderAt::Cabinet(index(position)))) {
                let finding = Diagnostic::warning(format!("no reader is at the cabinet `{}`", id.value));
                self.sink.add(finding.at(id.span, "its compartments open by command only"));
            }
        }
    }
}
