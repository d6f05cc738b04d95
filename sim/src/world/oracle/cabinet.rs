//! PINs and codes at the cabinet. Owns what was typed there and who waits for their PIN, and puts what was wrong on the
//! one count that doors, cab and cabinet share; must never say which compartment is whose. Invariant: each entry has
//! its event, no PIN is taken while it is locked out, and whoever must type one is let in by theirs alone; so are
//! emergency cards, see `emergency`.

mod emergency;

use std::collections::{BTreeSet, VecDeque};

use latchd::domain::{
    event::{DenialReason, EventBody},
    fieldbus::RawCard,
    ids::Id,
    kept::PinOwner,
    permission::{Decision, Restriction, Wants},
    record::{DoorPolicy, LockerContract, Record, Token},
    time::Mono,
};

use super::{
    Invariant, Violation,
    people::{PeopleWatch, Scene, answers::policy, spot::Spot},
    reference::{Asked, Place, Reference},
};
use crate::world::{
    set::{
        Generation,
        names::{hashed, tokens_of, zone},
    },
    site::CABINET,
};

/// More are no PIN and no code.
const DIGITS_MAX: usize = 16;

#[derive(Default)]
pub struct CabinetWatch {
    typed: String,
    last: Option<Mono>,
    lacking: Option<Lacking>,
    /// Several compartments are meant.
    choosing: bool,
    /// An emergency card that has a PIN, until something is told of it.
    emergency: Option<(Id, Vec<Token>)>,
}

/// Somebody whose card a contract admits, and a rule asks for their PIN as well.
struct Lacking {
    person: Id,
    tokens: Vec<Token>,
    locker: Id,
}

/// What was told of an attempt: let in, or not for this reason.
type Told = Option<DenialReason>;

fn told_of(body: &EventBody) -> Option<Told> {
    match body {
        EventBody::AccessGranted(granted) if granted.contract.is_some() => Some(None),
        EventBody::AccessDenied(denied) if denied.cabinet.is_some() => Some(Some(denied.reason)),
        _ => None,
    }
}

fn is_grant(body: &EventBody) -> bool {
    matches!(body, EventBody::AccessGranted(_))
}

/// What the rules of a compartment say to a card, with this PIN or without one.
pub fn rules(
    generation: &Generation,
    scene: &Scene<'_>,
    locker: &Id,
    tokens: &[Token],
    pin: Option<Token>,
) -> Decision {
    let naive = Reference { records: &generation.records, zone: &zone() };
    let (place, now, restriction) = (Place::Door(locker), scene.now, Restriction::NONE);
    naive.answer(tokens, true, &Asked { place, now, pin, companion: None, restriction })
}

pub fn contracts(generation: &Generation) -> impl Iterator<Item = (&Id, &LockerContract)> {
    generation.records.iter().filter_map(|(id, record)| match record {
        Record::LockerContract(body) => Some((id, body)),
        _ => None,
    })
}

/// The contract of whoever holds such a card.
fn meant(generation: &Generation, tokens: &[Token]) -> Option<(Id, Id)> {
    let person = generation.records.iter().find_map(|(_, record)| match record {
        Record::Credential(body) if tokens.contains(&body.token) => Some(&body.person),
        _ => None,
    })?;
    let (_, contract) = contracts(generation).find(|(_, contract)| contract.person.as_ref() == Some(person))?;
    Some((person.clone(), contract.locker.clone()))
}

impl CabinetWatch {
    /// Whether somebody was let in by their PIN.
    pub fn judge_step<'e>(
        &mut self,
        scene: &Scene<'_>,
        frame: Option<RawCard>,
        events: impl Iterator<Item = &'e EventBody> + Clone,
        people: &mut PeopleWatch,
    ) -> Result<bool, Violation> {
        let reader = &scene.site.readers[CABINET].id;
        if people.babbling.contains(reader) {
            *self = CabinetWatch::default();
            return Ok(false);
        }
        let mut told: VecDeque<Told> = events.clone().filter_map(told_of).collect();
        let over = |told: &Told| matches!(told, Some(DenialReason::PinRequired | DenialReason::SecondPersonRequired));
        while told.front().is_some_and(over) {
            told.pop_front();
            (self.lacking, self.choosing, self.emergency) = (None, false, None);
        }
        let (mut by_pin, mut duress, mut lockouts) = (false, BTreeSet::new(), 0);
        match frame {
            Some(card) if card.bits == 4 => {
                let entry = self.press(scene, card.value.to_u128().unwrap_or(0));
                if self.emergency.is_some() {
                    self.emergency_entry(scene, entry.as_deref(), events.clone(), people, &mut lockouts)?;
                } else if let Some(entry) = entry {
                    match self.lacking.take() {
                        Some(lacking) => {
                            by_pin = pin(
                                scene,
                                &lacking,
                                &entry,
                                told.front().copied(),
                                people,
                                &mut duress,
                                &mut lockouts,
                            )?;
                        }
                        None if std::mem::take(&mut self.choosing) => {}
                        None => self.code(scene, &entry, told.front().copied(), people, &mut lockouts)?,
                    }
                }
            }
            Some(card) => {
                self.typed = String::new();
                let tokens = tokens_of(card).0;
                let waits = scene.generation.filter(|_| told.is_empty()).and_then(|known| meant(known, &tokens));
                // An emergency card that opens several compartments waits for one to be chosen.
                self.choosing = waits.is_none() && told.is_empty() && !events.clone().any(is_grant);
                self.emergency_shown(scene, tokens.clone(), events.clone(), people)?;
                self.lacking = waits.map(|(person, locker)| Lacking { person, tokens, locker });
            }
            None => {}
        }
        let alarms = events.clone().filter_map(|body| match body {
            EventBody::AccessDuress { person, reader: Some(at), .. } if at == reader => Some(person.clone()),
            _ => None,
        });
        let alarms: BTreeSet<Id> = alarms.collect();
        if alarms != duress {
            let what = format!("at the cabinet under duress were {duress:?}, and told of were {alarms:?}");
            return Err(Violation::new(Invariant::DuressIsTold, what));
        }
        let locked = |body: &&EventBody| matches!(body, EventBody::AccessPinLockedOut { cabinet: Some(_), .. });
        let told = events.filter(locked).count();
        if told != lockouts {
            let what = format!("{lockouts} lock-outs were due at the cabinet on {}, {told} were told", scene.what);
            return Err(Violation::new(Invariant::PinLocksOut, what));
        }
        Ok(by_pin)
    }

    /// The entry, if this key ends one.
    fn press(&mut self, scene: &Scene<'_>, key: u128) -> Option<String> {
        let timeout = scene.site.field.cabinets[0].keypad_timeout;
        if self.last.is_some_and(|last| scene.now.mono.since(last) > timeout) {
            self.typed.clear();
        }
        self.last = Some(scene.now.mono);
        let digits = self.typed.split('*').next_back().map_or(0, str::len);
        match key {
            10 if self.typed.contains('*') || digits == 0 || digits > DIGITS_MAX => self.typed.clear(),
            10 => self.typed.push('*'),
            11 if self.typed.is_empty() => {}
            11 => {
                self.last = None;
                return Some(std::mem::take(&mut self.typed));
            }
            digit => self.typed.push(char::from_digit(digit as u32, 10).unwrap_or('?')),
        }
        None
    }

    /// A code that belongs to nobody's card.
    fn code(
        &mut self,
        scene: &Scene<'_>,
        entry: &str,
        told: Option<Told>,
        people: &mut PeopleWatch,
        lockouts: &mut usize,
    ) -> Result<(), Violation> {
        let cabinet = &scene.site.field.cabinets[0];
        let owner = PinOwner::Reader(scene.site.readers[CABINET].id.clone());
        let reason = told.flatten();
        let locked = people.locks.is_locked(&owner, scene.now.mono);
        if locked != (reason == Some(DenialReason::PinLockedOut)) {
            let what = format!("at the cabinet on {}: codes are locked out: {locked}, told {reason:?}", scene.what);
            return Err(Violation::new(Invariant::PinLocksOut, what));
        }
        if locked {
            return Ok(());
        }
        if reason == Some(DenialReason::WrongPin) {
            let (pin_tries, pin_lockout_s) = (cabinet.code_tries, cabinet.lockout.as_secs() as u32);
            let policy = DoorPolicy { pin_tries, pin_lockout_s, ..DoorPolicy::default() };
            *lockouts += usize::from(people.locks.wrong(owner, scene.now.mono, &policy));
            return Ok(());
        }
        people.locks.right(&owner);
        let backup = |(_, contract): (&Id, &LockerContract)| {
            let digits = entry.split('*').next_back().unwrap_or_default();
            contract.backup_codes.contains(&hashed(&format!("backup:{}:{digits}", contract.locker)))
        };
        // Nothing is told yet: it waits for the disk, or for a choice.
        self.choosing = told.is_none() && !scene.generation.is_some_and(|known| contracts(known).any(backup));
        Ok(())
    }
}

/// The PIN of somebody whose card waits for it. Whether it lets them in.
fn pin(
    scene: &Scene<'_>,
    lacking: &Lacking,
    entry: &str,
    told: Option<Told>,
    people: &mut PeopleWatch,
    duress: &mut BTreeSet<Id>,
    lockouts: &mut usize,
) -> Result<bool, Violation> {
    let Lacking { person, tokens, locker } = lacking;
    let hurt = |invariant, why: &str| {
        let what = format!("{person} typed a PIN at {locker} on {}: {why}, and told was {told:?}", scene.what);
        Err(Violation::new(invariant, what))
    };
    let Some(told) = told else { return hurt(Invariant::OneEventEach, "an event is due") };
    let owner = PinOwner::Person(person.clone());
    let locked = people.locks.is_locked(&owner, scene.now.mono);
    if locked != (told == Some(DenialReason::PinLockedOut)) {
        return hurt(Invariant::PinLocksOut, if locked { "none is taken" } else { "nobody is locked out" });
    }
    let Some(generation) = scene.generation.filter(|_| !locked) else { return Ok(false) };
    let is_pin = entry.len() <= DIGITS_MAX && !entry.contains('*');
    let typed = is_pin.then(|| hashed(&format!("pin:{person}:{entry}")));
    let forced = match rules(generation, scene, locker, tokens, typed) {
        Decision::Granted { duress, .. } if told != Some(DenialReason::WrongPin) => {
            people.locks.right(&owner);
            duress
        }
        Decision::Granted { .. } => return hurt(Invariant::PinAsked, "it is theirs"),
        Decision::Denied { reason: DenialReason::WrongPin | DenialReason::PinRequired, .. } => {
            if told != Some(DenialReason::WrongPin) {
                return hurt(Invariant::PinAsked, "it is wrong");
            }
            let of = Spot::Door(scene.site.doors.iter().position(|door| door.id == *locker).unwrap_or_default());
            *lockouts += usize::from(people.locks.wrong(owner, scene.now.mono, &policy(scene, of)));
            false
        }
        Decision::Denied { duress, .. } => duress,
    };
    duress.extend(forced.then(|| person.clone()));
    Ok(told.is_none())
}

/// A card that is let in at once, where the rules ask for its PIN.
pub fn lacks_pin(generation: &Generation, scene: &Scene<'_>, locker: &Id, tokens: &[Token]) -> bool {
    matches!(rules(generation, scene, locker, tokens, None), Decision::Denied { wants: Some(Wants::Pin), .. })
}
