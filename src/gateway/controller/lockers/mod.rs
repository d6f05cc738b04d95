//! The key lockers of the node: from cards, codes and occupancy inputs to compartments and keys. Owns where each key
//! is and which backup codes are used up; must never open a compartment but through its door, which may still
//! refuse. Invariant: a backup code opens nothing before its use is durable, and never again afterwards.
//!
//! `reader` is what happens at a cabinet's reader and keypad, with `reader/lacking` where a rule asks for more than a
//! card, and `reader/emergency` for emergency cards.

mod reader;

use std::collections::{BTreeMap, HashMap};

use self::reader::Desk;
use super::{
    entry::{Aloneness, Policies},
    machine::{Deed, Deeds, Happening, Machine, View},
};
use crate::domain::{
    door::{ContactState, Mode},
    event::{Actor, EventBody},
    fieldbus::BusReport,
    ids::{BoardIx, DoorIx, Id, InputRef},
    kept::Kept,
    locker::{
        CONSUMED_MAX, CabinetConfig, Compartment, ContractStatus, KeyChange, KeyRecord, KeyState, LockerStatus,
        Opening, Standing, SyncState, excluded, key_change, standing,
    },
    permission::Restriction,
    record::{LockerContract, Token},
    status::{Status, Thing},
    time::{ClockTrust, Mono, Now, Wall},
};

/// How long after its door has closed a compartment's key may still be seen to have moved by the same hand.
const HAND_GRACE: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(Debug)]
pub struct Lockers {
    cabinets: Vec<Cabinet>,
    /// Cabinet and compartment.
    inputs: HashMap<InputRef, (usize, usize)>,
    doors: HashMap<DoorIx, (usize, usize)>,
    consumed: BTreeMap<Token, Wall>,
    /// Contracts that cannot be enforced here, and why.
    refused: BTreeMap<Id, String>,
    /// What holds at a compartment when the node is left alone, as at any door; told where all doors' is.
    policies: Policies,
    aloneness: Aloneness,
    deadline: Option<Mono>,
}

#[derive(Debug)]
struct Cabinet {
    config: CabinetConfig,
    slots: Vec<Slot>,
    desk: Desk,
}

#[derive(Debug, Default)]
struct Slot {
    /// `None`: its board does not answer.
    occupied: Option<bool>,
    key: Option<KeyRecord>,
    opening: Option<(Opening, Option<Mono>)>,
    contact: Option<ContactState>,
    /// Of each contract, as it was taken in and in which generation.
    taken_in: BTreeMap<Id, (LockerContract, u64)>,
    status: Option<LockerStatus>,
}

/// One of the compartments of the node, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    cabinet: usize,
    slot: usize,
}

impl Lockers {
    pub fn new(configs: &[CabinetConfig]) -> Lockers {
        let (mut inputs, mut doors) = (HashMap::new(), HashMap::new());
        for (cabinet, config) in configs.iter().enumerate() {
            for (slot, compartment) in config.compartments.iter().enumerate() {
                inputs.insert(compartment.occupied.input, (cabinet, slot));
                doors.insert(compartment.door, (cabinet, slot));
            }
        }
        let cabinet = |config: &CabinetConfig| Cabinet {
            config: config.clone(),
            slots: config.compartments.iter().map(|_| Slot::default()).collect(),
            desk: Desk::default(),
        };
        let cabinets = configs.iter().map(cabinet).collect();
        Lockers {
            cabinets,
            inputs,
            doors,
            consumed: BTreeMap::new(),
            refused: BTreeMap::new(),
            policies: Policies::default(),
            aloneness: Aloneness::new(&[], Mono::ZERO),
            deadline: None,
        }
    }

    fn start(&mut self, kept: &[Kept]) {
        for kept in kept {
            match kept {
                Kept::BackupCode { code, used_at } => drop(self.consumed.insert(*code, *used_at)),
                Kept::LockerKey { locker, record } => {
                    for cabinet in &mut self.cabinets {
                        let slots = cabinet.config.compartments.iter().zip(&mut cabinet.slots);
                        for (_, slot) in slots.filter(|(compartment, _)| compartment.id == *locker) {
                            slot.key = Some(record.clone());
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn restriction(&self, now: Now, view: &View<'_>, door: DoorIx) -> Restriction {
        self.aloneness.regime(now, view.cloud, &self.policies.at(door)).restriction()
    }

    fn at(&mut self, place: Place) -> Option<(&Compartment, &mut Slot)> {
        let cabinet = self.cabinets.get_mut(place.cabinet)?;
        cabinet.config.compartments.get(place.slot).zip(cabinet.slots.get_mut(place.slot))
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let counts: Vec<usize> = self.cabinets.iter().map(|cabinet| cabinet.slots.len()).collect();
        let of = |(cabinet, slots)| (0..slots).map(move |slot| Place { cabinet, slot });
        counts.into_iter().enumerate().flat_map(of)
    }

    // ---- where the keys are ----

    fn hear_bus(&mut self, now: Now, view: &View<'_>, report: &BusReport, deeds: &mut Deeds) {
        match report {
            BusReport::Input { input, energised } => {
                let Some((cabinet, slot)) = self.inputs.get(input).copied() else { return };
                let place = Place { cabinet, slot };
                let Some((compartment, _)) = self.at(place) else { return };
                let occupied = *energised == compartment.occupied.occupied_value;
                self.occupied(now, view, place, occupied, deeds);
            }
            // Whether the key is in cannot be seen.
            BusReport::InputTrouble { input, .. } => {
                if let Some((cabinet, slot)) = self.inputs.get(input).copied()
                    && let Some((_, slot)) = self.at(Place { cabinet, slot })
                {
                    slot.occupied = None;
                }
            }
            BusReport::BoardLost { board, .. } => self.board_lost(*board),
            _ => {}
        }
    }

    fn board_lost(&mut self, board: BoardIx) {
        for cabinet in &mut self.cabinets {
            for (compartment, slot) in cabinet.config.compartments.iter().zip(&mut cabinet.slots) {
                if compartment.occupied.input.board == board {
                    slot.occupied = None;
                }
            }
        }
    }

    fn occupied(&mut self, now: Now, view: &View<'_>, place: Place, occupied: bool, deeds: &mut Deeds) {
        let refused = self.refused.clone();
        let Some((compartment, slot)) = self.at(place) else { return };
        slot.occupied = Some(occupied);
        slot.opening.take_if(|(_, until)| until.is_some_and(|until| until <= now.mono));
        let contracts = &view.permissions.site().locker_contracts;
        let in_force = |contract: &&LockerContract| {
            contract.locker == compartment.id && standing(contract, now) == Standing::InForce
        };
        let contracts: BTreeMap<&Id, &LockerContract> =
            contracts.iter().filter(|(id, _)| !refused.contains_key(*id)).collect();
        let opening = slot.opening.as_ref().map(|(opening, _)| opening);
        let by_opening = opening.and_then(|opening| contracts.get(opening.contract.as_ref()?).copied());
        let named = by_opening
            .or_else(|| contracts.values().copied().find(in_force))
            .and_then(|contract| contract.key.as_ref());
        let change = key_change(slot.key.as_ref(), occupied, named, opening, now.wall);
        if let Some(KeyChange { record, actor }) = change {
            move_key(compartment, slot, record, actor, deeds);
        }
    }

    /// Keys whose time is over.
    fn look_for_overdue(&mut self, now: Now, deeds: &mut Deeds) {
        if now.trust != ClockTrust::Trusted {
            return;
        }
        for cabinet in &mut self.cabinets {
            for (compartment, slot) in cabinet.config.compartments.iter().zip(&mut cabinet.slots) {
                if let Some(record) = slot.key.as_ref().and_then(|key| key.overdue(now.wall)) {
                    move_key(compartment, slot, record, None, deeds);
                }
            }
        }
    }

    /// Somebody opens by other means than the reader, or the door has closed behind whoever did.
    fn door_event(&mut self, body: &EventBody) {
        let EventBody::DoorModeChanged { door, to: Mode::Accessed | Mode::Unlocked | Mode::LockedOpen, actor, .. } =
            body
        else {
            return;
        };
        // Whoever presented a card or a code is known better.
        if !matches!(actor, Actor::Operator { .. } | Actor::SystemEvent { .. } | Actor::Fire | Actor::Node) {
            return;
        }
        let place = self.places().find(|place| self.at(*place).is_some_and(|(compartment, _)| compartment.id == *door));
        if let Some((_, slot)) = place.and_then(|place| self.at(place)) {
            let opening = Opening { actor: actor.clone(), contract: None, person: None, due: None };
            slot.opening = Some((opening, None));
        }
    }

    fn door_status(&mut self, now: Now, view: &View<'_>, door: DoorIx) {
        let Some((cabinet, slot)) = self.doors.get(&door).copied() else { return };
        let contact = view.door(door).map(|status| status.contact);
        if let Some((_, slot)) = self.at(Place { cabinet, slot }) {
            let before = std::mem::replace(&mut slot.contact, contact);
            if before == Some(ContactState::Open)
                && contact == Some(ContactState::Closed)
                && let Some((_, until)) = &mut slot.opening
            {
                *until = Some(now.mono + HAND_GRACE);
            }
        }
    }

    // ---- contracts and codes ----

    /// Notes which contracts are new or changed, and forgets used codes that can never come again if there are too
    /// many of them.
    fn take_in(&mut self, view: &View<'_>, deeds: &mut Deeds) {
        let generation = view.permissions.version().generation;
        let contracts = &view.permissions.site().locker_contracts;
        self.refuse(view, deeds);
        self.policies = Policies::new(view.permissions.site(), view.topology);
        for cabinet in &mut self.cabinets {
            for (compartment, slot) in cabinet.config.compartments.iter().zip(&mut cabinet.slots) {
                let mine = contracts.iter().filter(|(_, contract)| contract.locker == compartment.id);
                let mut taken_in = BTreeMap::new();
                for (id, contract) in mine {
                    let known = slot.taken_in.remove(id).filter(|(known, _)| known == contract);
                    taken_in.insert(id.clone(), known.unwrap_or_else(|| (contract.clone(), generation)));
                }
                slot.taken_in = taken_in;
            }
        }
        if self.consumed.len() > CONSUMED_MAX {
            let named = |code: &Token| contracts.values().any(|contract| contract.backup_codes.contains(code));
            let mut old: Vec<(Wall, Token)> =
                self.consumed.iter().filter(|(code, _)| !named(code)).map(|(code, at)| (*at, *code)).collect();
            old.sort_by_key(|(at, code)| (*at, code.0));
            for (_, code) in old.into_iter().take(self.consumed.len() - CONSUMED_MAX) {
                self.consumed.remove(&code);
                deeds.push(Deed::Unkeep(Kept::backup_code(&code)));
            }
        }
    }

    /// Finds the contracts that cannot be enforced here. One of a locker of another node is that node's business;
    /// one of a door that is no locker is nobody's.
    fn refuse(&mut self, view: &View<'_>, deeds: &mut Deeds) {
        let contracts = &view.permissions.site().locker_contracts;
        let mut refused = BTreeMap::new();
        for (id, contract) in contracts {
            let is_compartment = |door: &DoorIx| self.doors.contains_key(door);
            if view.topology.door(&contract.locker).is_some_and(|door| !is_compartment(&door)) {
                refused.insert(id.clone(), format!("the door {} is no locker", contract.locker));
            }
        }
        for (id, other) in excluded(contracts) {
            let why = format!("it overlaps with contract {other} of the same locker, and one of the two is exclusive");
            let here = contracts.get(id).and_then(|contract| view.topology.door(&contract.locker));
            if here.is_some() {
                refused.entry(id.clone()).or_insert(why);
            }
        }
        for (contract, reason) in &refused {
            let known = self.refused.get(contract) == Some(reason);
            let locker = contracts.get(contract).map(|contract| contract.locker.clone());
            if let Some(locker) = locker.filter(|_| !known) {
                let (contract, reason) = (contract.clone(), reason.clone());
                deeds.event(EventBody::ContractRefused { contract, locker, reason });
            }
        }
        self.refused = refused;
    }

    fn tell_statuses(&mut self, now: Now, deeds: &mut Deeds) {
        let refused = &self.refused;
        for cabinet in &mut self.cabinets {
            for (compartment, slot) in cabinet.config.compartments.iter().zip(&mut cabinet.slots) {
                let status = LockerStatus {
                    locker: compartment.id.clone(),
                    cabinet: cabinet.config.id.clone(),
                    number: compartment.number,
                    occupied: slot.occupied,
                    key: slot.key.clone(),
                    contract_sync: slot
                        .taken_in
                        .iter()
                        .map(|(id, taken_in)| sync(id, taken_in, refused.get(id), slot, now))
                        .collect(),
                };
                if slot.status.as_ref() != Some(&status) {
                    slot.status = Some(status);
                    deeds.push(Deed::Changed(Thing::Locker(compartment.door)));
                }
            }
        }
    }

    fn next_wall(&self, now: Now) -> Option<Mono> {
        let slots = self.cabinets.iter().flat_map(|cabinet| &cabinet.slots);
        let walls = slots.flat_map(|slot| {
            let due = slot.key.as_ref().filter(|key| key.state == KeyState::Fetched).and_then(|key| key.due);
            let bounds = slot.taken_in.values().flat_map(|(contract, _)| [contract.from, contract.until]);
            due.into_iter().chain(bounds.flatten())
        });
        let next = walls.filter(|at| *at > now.wall && now.trust == ClockTrust::Trusted).min();
        next.map(|at| now.mono_at(at))
    }
}

fn move_key(compartment: &Compartment, slot: &mut Slot, record: KeyRecord, actor: Option<Actor>, deeds: &mut Deeds) {
    let KeyRecord { state, key, contract, person, .. } = record.clone();
    let door = compartment.id.clone();
    deeds.event(match state {
        KeyState::Added => EventBody::KeyAdded { door, key, contract, person, actor },
        KeyState::Fetched => EventBody::KeyFetched { door, key, contract, person, actor },
        KeyState::Returned => EventBody::KeyReturned { door, key, contract, person, actor },
        KeyState::NotReturned => EventBody::KeyNotReturned { door, key, contract, person },
    });
    deeds.push(Deed::Keep(Kept::LockerKey { locker: compartment.id.clone(), record: record.clone() }));
    slot.key = Some(record);
}

fn sync(
    id: &Id,
    (contract, generation): &(LockerContract, u64),
    refused: Option<&String>,
    slot: &Slot,
    now: Now,
) -> ContractStatus {
    if let Some(reason) = refused {
        let (contract, reason) = (id.clone(), Some(reason.clone()));
        return ContractStatus { contract, state: SyncState::Refused, reason, generation: *generation };
    }
    let pending = match standing(contract, now) {
        Standing::NotYet => Some("its time has not come"),
        Standing::Doubtful => Some("it has dates, and the clock is not trusted"),
        Standing::InForce if slot.occupied.is_none() => Some("the board of its compartment does not answer"),
        Standing::InForce | Standing::Over => None,
    };
    ContractStatus {
        contract: id.clone(),
        state: if pending.is_some() { SyncState::Pending } else { SyncState::Applied },
        reason: pending.map(str::to_owned),
        generation: *generation,
    }
}

impl Machine for Lockers {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        if self.cabinets.is_empty() {
            return;
        }
        match happening {
            Happening::Start(kept) => {
                self.start(kept);
                self.aloneness = Aloneness::new(kept, now.mono);
                self.take_in(view, deeds);
            }
            Happening::Permissions => self.take_in(view, deeds),
            Happening::Read(read) => self.read(now, view, read, deeds),
            Happening::Durable(key) => self.durable(now, view, key, deeds),
            Happening::Bus(report) => self.hear_bus(now, view, report, deeds),
            Happening::Event(body) => self.door_event(body),
            Happening::Door(door) => self.door_status(now, view, door),
            Happening::Timeout | Happening::Clock => {}
            Happening::Stop | Happening::Pause => self.end_waits(Mono::MAX, view, deeds),
            _ => return,
        }
        self.pass_time(now, view, deeds);
        self.look_for_overdue(now, deeds);
        self.tell_statuses(now, deeds);
        let desks = self.cabinets.iter().filter_map(|cabinet| cabinet.desk.next_deadline());
        self.deadline = desks.chain(self.next_wall(now)).min();
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.deadline
    }

    fn things(&self) -> Vec<Thing> {
        let doors = self.cabinets.iter().flat_map(|cabinet| &cabinet.config.compartments);
        doors.map(|compartment| Thing::Locker(compartment.door)).collect()
    }

    fn status(&self, thing: &Thing) -> Option<Status> {
        let Thing::Locker(door) = thing else { return None };
        let (cabinet, slot) = self.doors.get(door)?;
        self.cabinets.get(*cabinet)?.slots.get(*slot)?.status.clone().map(Status::Locker)
    }
}
