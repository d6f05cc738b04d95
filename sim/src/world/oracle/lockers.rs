//! The key lockers. Owns what was presented and typed at the cabinet, which backup codes were ever used, and what is
//! known of the compartments; must never ask the lockers what they make of it. Invariant: a compartment is opened
//! from the cabinet only by a contract that says so, by a backup code once in its life, by a return code only while
//! it is empty; and where each key is told to be follows what was put in and taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use latchd::{
    domain::{
        event::{DenialReason, EventBody, Granted},
        fieldbus::{BusReport, RawCard},
        ids::Id,
        kept::Kept,
        locker::{Compartment, KeyState},
        permission::{Decision, Restriction},
        record::{LockerContract, Record, Token},
        time::{ClockTrust, Mono, Now},
    },
    gateway::controller::Lasting,
};

use super::{
    Invariant, Violation,
    cabinet::{CabinetWatch, lacks_pin},
    people::{PeopleWatch, Scene},
    reference::{Asked, Place, Reference},
};
use crate::world::{
    set::names::{hashed, tokens_of, zone},
    site::{CABINET, Site},
};

/// What was presented may open until then: a choice is waited for, and a disk.
const OPENS_WITHIN: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct LockerWatch {
    typed: String,
    /// The texts between two `#`, and when each was ended.
    entries: Vec<(Mono, String)>,
    cards: Vec<(Mono, Vec<Token>)>,
    /// By compartment, as told by its board.
    occupied: BTreeMap<Id, Option<bool>>,
    keys: BTreeMap<Id, (KeyState, Option<Id>)>,
    /// In all runs.
    used: BTreeSet<Token>,
    keypad: CabinetWatch,
}

fn is_in(state: KeyState) -> bool {
    matches!(state, KeyState::Added | KeyState::Returned)
}

impl LockerWatch {
    pub fn restarted(&mut self, site: &Site, lasting: &Lasting) {
        let used = std::mem::take(&mut self.used);
        let keys = lasting.kept.values().filter_map(|kept| match kept {
            Kept::LockerKey { locker, record } => Some((locker.clone(), (record.state, record.contract.clone()))),
            _ => None,
        });
        let occupied = site.compartments().map(|compartment| (compartment.id.clone(), None));
        *self = LockerWatch { used, keys: keys.collect(), occupied: occupied.collect(), ..LockerWatch::default() };
    }

    pub fn hear_board(&mut self, site: &Site, report: &BusReport) {
        for Compartment { id, occupied, .. } in site.compartments() {
            let Some(known) = self.occupied.get_mut(id) else { continue };
            match report {
                BusReport::Input { input, energised } if *input == occupied.input => {
                    *known = Some(*energised == occupied.occupied_value);
                }
                BusReport::BoardLost { board, .. } if *board == occupied.input.board => *known = None,
                _ => {}
            }
        }
    }

    pub fn judge_step<'e>(
        &mut self,
        scene: &Scene<'_>,
        frame: Option<(usize, RawCard)>,
        events: impl Iterator<Item = &'e EventBody> + Clone,
        stopping: bool,
        people: &mut PeopleWatch,
    ) -> Result<(), Violation> {
        let frame = frame.filter(|(reader, _)| *reader == CABINET).map(|(_, card)| card);
        if let Some(card) = frame {
            self.read(scene.now.mono, card);
        }
        let by_pin = if stopping {
            self.keypad = CabinetWatch::default();
            false
        } else {
            self.keypad.judge_step(scene, frame, events.clone(), people)?
        };
        for body in events {
            match body {
                EventBody::AccessGranted(granted) if granted.contract.is_some() => {
                    self.granted(scene, granted, by_pin)?;
                }
                EventBody::KeyAdded { door, contract, .. } => self.key(door, KeyState::Added, contract)?,
                EventBody::KeyFetched { door, contract, .. } => self.key(door, KeyState::Fetched, contract)?,
                EventBody::KeyReturned { door, contract, .. } => self.key(door, KeyState::Returned, contract)?,
                EventBody::KeyNotReturned { door, contract, .. } => self.key(door, KeyState::NotReturned, contract)?,
                _ => {}
            }
        }
        for (id, occupied) in &self.occupied {
            let Some(occupied) = occupied else { continue };
            let known = self.keys.get(id).map(|(state, _)| *state);
            if known.is_some_and(is_in) != *occupied {
                let what = format!("{id} is occupied: {occupied}, and its key is {known:?} on {}", scene.what);
                return Err(Violation::new(Invariant::KeysAreFollowed, what));
            }
        }
        Ok(())
    }

    fn read(&mut self, now: Mono, card: RawCard) {
        let recent = |at: &Mono| now.since(*at) <= OPENS_WITHIN;
        self.entries.retain(|(at, _)| recent(at));
        self.cards.retain(|(at, _)| recent(at));
        match (card.bits, card.value.to_u128()) {
            (4, Some(11)) => self.entries.push((now, std::mem::take(&mut self.typed))),
            (4, Some(key)) => self.typed.push(char::from_digit(key as u32, 16).unwrap_or('?')),
            _ => self.cards.push((now, tokens_of(card).0)),
        }
    }

    /// A pause may have made an entry of its end alone.
    fn typed(&self, digits: &dyn Fn(&str) -> bool) -> bool {
        self.entries.iter().any(|(_, entry)| ends(entry, digits))
    }

    fn granted(&mut self, scene: &Scene<'_>, granted: &Granted, by_pin: bool) -> Result<(), Violation> {
        let why = |what: &str| {
            let (door, contract) = (&granted.door, &granted.contract);
            Violation::new(
                Invariant::LockersByContract,
                format!("{door:?} opens by {contract:?} on {}: {what}", scene.what),
            )
        };
        let contract = scene.generation.and_then(|generation| {
            generation.records.iter().find_map(|(id, record)| match record {
                Record::LockerContract(body) if Some(id) == granted.contract.as_ref() => Some(body),
                _ => None,
            })
        });
        let Some(contract) = contract.filter(|contract| granted.door.as_ref() == Some(&contract.locker)) else {
            return Err(why("there is no such contract"));
        };
        let door = scene.site.doors.iter().position(|door| door.id == contract.locker).unwrap_or_default();
        if let Some((_, Some(reason), false)) = scene.modes.get(door) {
            return Err(why(&format!("nobody is let in there: {reason:?}")));
        }
        if let Some(person) = granted.person.as_ref().or(contract.person.as_ref())
            && self.is_denied(scene, person, &contract.locker)
        {
            let what = format!("{person} opens {:?} on {}, and is denied", granted.door, scene.what);
            return Err(Violation::new(Invariant::RevokedIsDenied, what));
        }
        if let Some(credential) = &granted.credential
            && scene.generation.is_some_and(|generation| !generation.has("credential", credential))
        {
            let what = format!("{:?} opens with {credential}, which is no more", granted.person);
            return Err(Violation::new(Invariant::RevokedIsDenied, what));
        }
        if let Some(generation) = scene.generation.filter(|_| granted.credential.is_some() && !by_pin)
            && counts(contract, scene.now)
            && self.cards.iter().any(|(_, tokens)| lacks_pin(generation, scene, &contract.locker, tokens))
        {
            let what = format!("{:?} opens {} without the PIN that the rules ask for", granted.person, contract.locker);
            return Err(Violation::new(Invariant::PinAsked, what));
        }
        self.by_something(scene, contract, granted).map_err(|what| why(&what))
    }

    fn is_denied(&self, scene: &Scene<'_>, person: &Id, door: &Id) -> bool {
        let Some(generation) = scene.generation else { return true };
        let naive = Reference { records: &generation.records, zone: &zone() };
        let (place, now, restriction) = (Place::Door(door), scene.now, Restriction::NONE);
        let decision = naive.decide_person(person, &Asked { place, now, pin: None, companion: None, restriction });
        matches!(decision, Decision::Denied { reason: DenialReason::ExplicitDeny | DenialReason::Expired, .. })
    }

    /// A card, a PIN, a return code or a backup code that was presented just now.
    fn by_something(&mut self, scene: &Scene<'_>, contract: &LockerContract, granted: &Granted) -> Result<(), String> {
        let (now, locker) = (scene.now, &contract.locker);
        let in_force = counts(contract, now);
        let code = |kind: &str, digits: &str| hashed(&format!("{kind}:{locker}:{digits}"));
        if let Some(credential) = &granted.credential {
            let shown = self.cards.iter().any(|(_, tokens)| {
                scene.generation.is_some_and(|generation| {
                    generation.records.iter().any(|(id, record)| match record {
                        Record::Credential(body) => id == credential && tokens.contains(&body.token),
                        _ => false,
                    })
                })
            });
            let brings_back = self.keys.get(locker).is_some_and(|(state, _)| !is_in(*state));
            return match (shown && granted.person == contract.person, in_force || brings_back) {
                (true, true) => Ok(()),
                (false, _) => Err("its holder showed no card".to_owned()),
                (true, false) => Err("its time is over, and no key is out".to_owned()),
            };
        }
        if contract.pin.is_some_and(|pin| in_force && self.typed(&|digits| code("pin", digits) == pin)) {
            return Ok(());
        }
        let empty = self.occupied.get(locker) == Some(&Some(false));
        if contract.return_code.is_some_and(|back| empty && self.typed(&|digits| code("return", digits) == back)) {
            return Ok(());
        }
        let unused = || contract.backup_codes.iter().filter(|token| !self.used.contains(*token));
        // What was typed last is what is meant.
        let backup = self
            .entries
            .iter()
            .rev()
            .find_map(|(_, entry)| unused().find(|token| ends(entry, &|digits| code("backup", digits) == **token)));
        match backup.filter(|_| in_force) {
            Some(token) => {
                self.used.insert(*token);
                Ok(())
            }
            None => Err("nobody typed a code that opens it, or it was used before".to_owned()),
        }
    }

    fn key(&mut self, door: &Id, state: KeyState, contract: &Option<Id>) -> Result<(), Violation> {
        let before = self.keys.insert(door.clone(), (state, contract.clone())).map(|(state, _)| state);
        let follows = match state {
            KeyState::Added | KeyState::Returned => !before.is_some_and(is_in),
            KeyState::Fetched => before.is_some_and(is_in),
            KeyState::NotReturned => before == Some(KeyState::Fetched),
        };
        if follows {
            return Ok(());
        }
        let what = format!("the key of {door} is {state:?} after {before:?}");
        Err(Violation::new(Invariant::KeysAreFollowed, what))
    }
}

fn ends(entry: &str, digits: &dyn Fn(&str) -> bool) -> bool {
    (0..entry.len()).any(|from| entry.get(from..).is_some_and(digits))
}

/// Without a clock no contract with dates does.
fn counts(contract: &LockerContract, now: Now) -> bool {
    let begun = contract.from.is_none_or(|from| from <= now.wall);
    let over = contract.until.is_some_and(|until| until <= now.wall);
    match now.trust {
        ClockTrust::Trusted => begun && !over,
        ClockTrust::Untrusted => contract.from.is_none() && contract.until.is_none(),
    }
}
