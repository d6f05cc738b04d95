//! At a cabinet's reader and keypad: who opens which compartment. Owns what was presented and typed and not decided
//! yet; must never open by a code that it has not looked up, nor twice by a backup code. Invariant: each card and
//! each code that was entered has exactly one event.
//!
//! - A card of a cardholder with one contract in force opens its compartment; with several, the keypad is waited
//!   for: `NUMBER#` chooses.
//! - Where a rule of the compartment asks for a PIN or a second person beside the card, so does the cabinet.
//! - `CODE#`, or `NUMBER*CODE#` for one compartment: the PIN of a contract, a return code, a backup code.
//! - A contract whose end has come still lets its key be brought back: by card or return code, only while the
//!   compartment is empty.
//! - An emergency card, once its time has come, opens the compartments that it is for: with several the keypad is
//!   waited for, `NUMBER#`, then its PIN, if it has one.

mod emergency;
mod lacking;

use self::emergency::EmergencyAsked;
use super::{Deeds, Lockers, Place};
use crate::{
    domain::{
        card_format::CardTokens,
        door::{DoorInput, Grant},
        event::{Actor, CardEvidence, DenialReason, Denied, EventBody, Granted},
        fieldbus::CardRead,
        ids::{DoorIx, Id},
        kept::{Kept, KeptKey, PinOwner},
        keypad::Key,
        locker::{CONSUMED_MAX, Means, Opening, Standing, Typed, Typing, standing},
        permission::{Decision, Restriction, Target, Wants},
        record::{ClockFallback, Token, WhenStale},
        time::{ClockTrust, Mono, Now},
        topology::ReaderAt,
    },
    gateway::controller::{
        machine::{Deed, View, WrongPin},
        presented::presented,
    },
    wire::token::token,
};

/// How long the use of a backup code may take to become durable; then nothing is opened.
const DURABLE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Compartments that one person chooses from.
const CHOICES_MAX: usize = 64;

/// What is going on at one cabinet.
#[derive(Debug, Default)]
pub(super) struct Desk {
    typing: Typing,
    choosing: Option<Choosing>,
    lacking: Option<Lacking>,
    emergency: Option<EmergencyAsked>,
    pending: Option<Pending>,
}

/// Several compartments are meant: which?
#[derive(Debug)]
struct Choosing {
    until: Mono,
    choices: Vec<Choice>,
    asked: Asked,
}

/// A card that a contract admits, but of which a rule of the compartment asks more.
#[derive(Debug)]
struct Lacking {
    until: Mono,
    choice: Choice,
    asked: Asked,
    wants: Wants,
}

/// A compartment that may be opened, and why.
#[derive(Clone, Debug)]
struct Choice {
    place: Place,
    door: DoorIx,
    number: u16,
    contract: Id,
    means: Means,
    /// Of a backup code.
    code: Option<Token>,
}

/// A contract that was meant and does not count now.
#[derive(Debug)]
struct Missed {
    reason: DenialReason,
    door: DoorIx,
    contract: Id,
}

/// Who asks, and how.
#[derive(Clone, Debug)]
struct Asked {
    cabinet: Id,
    reader: Id,
    /// Person and credential.
    holder: Option<(Id, Id)>,
    card: Option<CardEvidence>,
    tokens: Option<CardTokens>,
}

/// A backup code whose use is on its way to the disk.
#[derive(Debug)]
struct Pending {
    key: KeptKey,
    until: Mono,
    choice: Choice,
    asked: Asked,
}

/// Whether this person is active and no deny rule holds for them there. What the rules lack a contract makes good.
fn holder_may(
    view: &View<'_>,
    person: &Id,
    door: DoorIx,
    now: Now,
    restriction: Restriction,
) -> Result<(), (DenialReason, Option<Id>)> {
    let decision = view.permissions.judge_person(person, None, Target::Door(door), now, restriction);
    match decision {
        Decision::Denied { reason, rule, .. } if rule.is_none() && reason != DenialReason::NoRule => {
            Err((reason, None))
        }
        Decision::Denied { reason: DenialReason::ExplicitDeny, rule, .. } => {
            Err((DenialReason::ExplicitDeny, rule.cloned()))
        }
        Decision::Denied { .. } | Decision::Granted { .. } => Ok(()),
    }
}

/// Why a code that belongs to no cardholder opens nothing while the node is left alone.
fn nobody_may(restriction: Restriction, now: Now) -> Option<DenialReason> {
    let Restriction { clock, stale } = restriction;
    if clock == ClockFallback::EmergencyCards && now.trust == ClockTrust::Untrusted {
        return Some(DenialReason::EmergencyOnly);
    }
    match stale {
        WhenStale::Keep => None,
        WhenStale::CriticalGroups | WhenStale::Deny => Some(DenialReason::StalePermissions),
        WhenStale::EmergencyCards => Some(DenialReason::EmergencyOnly),
    }
}

impl Desk {
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let choosing = self.choosing.as_ref().map(|choosing| choosing.until);
        let lacking = self.lacking.as_ref().map(|lacking| lacking.until);
        let emergency = self.emergency.as_ref().map(|waiting| waiting.until);
        choosing
            .into_iter()
            .chain(lacking)
            .chain(emergency)
            .chain(self.pending.as_ref().map(|pending| pending.until))
            .min()
    }
}

impl Asked {
    /// Nothing may be opened; `missed` is what would come closest.
    fn missed(&self, view: &View<'_>, missed: Option<Missed>) -> EventBody {
        match missed {
            Some(Missed { reason, door, contract }) => self.denied(view.door_id(door), Some(&contract), reason, None),
            None => self.denied(None, None, DenialReason::NoRule, None),
        }
    }

    fn denied(&self, door: Option<&Id>, contract: Option<&Id>, reason: DenialReason, rule: Option<Id>) -> EventBody {
        let (person, credential) = self.holder.clone().unzip();
        let contract = contract.cloned();
        EventBody::AccessDenied(Denied { person, credential, rule, contract, ..self.nobody_denied(door, reason) })
    }

    fn denied_emergency_card(&self, card: &Id, door: Option<&Id>, reason: DenialReason) -> EventBody {
        let emergency_card = Some(card.clone());
        EventBody::AccessDenied(Denied { emergency_card, ..self.nobody_denied(door, reason) })
    }

    fn nobody_denied(&self, door: Option<&Id>, reason: DenialReason) -> Denied {
        let (cabinet, reader) = (Some(self.cabinet.clone()), Some(self.reader.clone()));
        Denied { door: door.cloned(), cabinet, reader, card: self.card.clone(), ..Denied::new(reason) }
    }
}

impl Lockers {
    pub(super) fn read(&mut self, now: Now, view: &View<'_>, read: &CardRead, deeds: &mut Deeds) {
        let Some((reader, ReaderAt::Cabinet(at))) = view.topology.reader_at(read.reader) else { return };
        let at = usize::from(at);
        self.pass_time(now, view, deeds);
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        let asked = Asked {
            cabinet: cabinet.config.id.clone(),
            reader: reader.clone(),
            holder: None,
            card: None,
            tokens: None,
        };
        match Key::of(read.card).filter(|_| read.text.is_none()) {
            None => self.card(now, view, at, asked, read, deeds),
            Some(key) => {
                let timeout = cabinet.config.keypad_timeout;
                if let Some(typed) = cabinet.desk.typing.press(now.mono, key, timeout) {
                    self.typed(now, view, at, asked, &typed, deeds);
                }
            }
        }
    }

    /// What waited too long.
    pub(super) fn pass_time(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        self.end_waits(now.mono, view, deeds);
        for cabinet in &mut self.cabinets {
            let desk = &mut cabinet.desk;
            // The disk did not take it: it counts as used, and opens nothing.
            if let Some(Pending { choice, asked, .. }) = desk.pending.take_if(|pending| pending.until <= now.mono) {
                deeds.event(asked.denied(None, Some(&choice.contract), DenialReason::NoRule, None));
            }
        }
    }

    /// Who waits for something until then, or earlier, is denied.
    pub(super) fn end_waits(&mut self, until: Mono, view: &View<'_>, deeds: &mut Deeds) {
        for desk in self.cabinets.iter_mut().map(|cabinet| &mut cabinet.desk) {
            if let Some(choosing) = desk.choosing.take_if(|choosing| choosing.until <= until) {
                deeds.event(choosing.asked.denied(None, None, DenialReason::PinRequired, None));
            }
            if let Some(lacking) = desk.lacking.take_if(|lacking| lacking.until <= until) {
                deeds.event(lacking.denied());
            }
            if let Some(waiting) = desk.emergency.take_if(|waiting| waiting.until <= until) {
                deeds.event(waiting.denied(view));
            }
        }
    }

    fn card(&mut self, now: Now, view: &View<'_>, at: usize, asked: Asked, read: &CardRead, deeds: &mut Deeds) {
        let (tokens, evidence) = presented(view, read);
        let asked = Asked { card: Some(evidence), tokens: Some(tokens), ..asked };
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        cabinet.desk.typing.clear();
        if let Some(choosing) = cabinet.desk.choosing.take() {
            deeds.event(choosing.asked.denied(None, None, DenialReason::PinRequired, None));
        }
        let Some(first) = cabinet.config.compartments.first().map(|compartment| compartment.door) else { return };
        if let Some(lacking) = cabinet.desk.lacking.take()
            && self.second_card(now, view, at, lacking, &asked, deeds)
        {
            return;
        }
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        if let Some(waiting) = cabinet.desk.emergency.take() {
            if waiting.is_of(view, &tokens) {
                // The same card: it waits on.
                cabinet.desk.emergency = Some(waiting);
                return;
            }
            deeds.event(waiting.denied(view));
        }
        // Who it is: what the rules of the first compartment lack, a contract makes good.
        let (person, credential) = match view.permissions.decide(&tokens, first, now) {
            Decision::Granted { person, credential: Some(credential), .. } => (person, credential),
            Decision::Granted { .. } => return,
            Decision::Denied { reason, person: Some(person), credential: Some(credential), rule, .. }
                if rule.is_some() || reason == DenialReason::NoRule =>
            {
                (person, credential)
            }
            Decision::Denied { reason, person, credential, rule, .. } => {
                if let Some(card) = view.emergencies.find(&tokens) {
                    return self.emergency_card(now, view, at, card, asked, deeds);
                }
                return deeds.event(Asked { holder: person.zip(credential), ..asked }.denied(None, None, reason, rule));
            }
        };
        let (choices, missed) = self.contracts_of(now, view, at, &person);
        if let Some(card) = view.emergencies.find(&tokens).filter(|_| choices.is_empty()) {
            return self.emergency_card(now, view, at, card, asked, deeds);
        }
        let asked = Asked { holder: Some((person, credential)), ..asked };
        match choices.as_slice() {
            [] => deeds.event(asked.missed(view, missed)),
            [choice] => self.open(now, view, choice.clone(), &asked, deeds),
            _ => self.ask(now, at, choices, asked),
        }
    }

    /// What this person may open; if nothing, why not.
    fn contracts_of(&self, now: Now, view: &View<'_>, at: usize, person: &Id) -> (Vec<Choice>, Option<Missed>) {
        let Some(cabinet) = self.cabinets.get(at) else { return (Vec::new(), None) };
        let (mut choices, mut missed) = (Vec::new(), None);
        let contracts = view.permissions.site().locker_contracts.iter();
        let theirs = contracts.filter(|(_, contract)| contract.person.as_ref() == Some(person));
        for (id, contract) in theirs.filter(|(id, _)| !self.refused.contains_key(*id)) {
            let slots = cabinet.config.compartments.iter().enumerate();
            for (slot, compartment) in slots.filter(|(_, compartment)| compartment.id == contract.locker) {
                let held = cabinet.slots.get(slot).and_then(|slot| slot.key.as_ref());
                let theirs_is_out = held.is_some_and(|key| key.contract.as_ref() == Some(id) && key.is_out());
                let means = match standing(contract, now) {
                    Standing::InForce => Means::Card,
                    // The key may still be brought back.
                    Standing::Over if theirs_is_out => Means::ReturnCode,
                    other => {
                        let miss = |reason| Missed { reason, door: compartment.door, contract: id.clone() };
                        missed = missed.or(other.denial().map(miss));
                        continue;
                    }
                };
                let (place, door) = (Place { cabinet: at, slot }, compartment.door);
                let (number, contract) = (compartment.number, id.clone());
                choices.push(Choice { place, door, number, contract, means, code: None });
            }
        }
        // Two contracts of one compartment are one choice.
        choices.dedup_by_key(|choice| choice.place);
        choices.truncate(CHOICES_MAX);
        (choices, missed)
    }

    fn ask(&mut self, now: Now, at: usize, choices: Vec<Choice>, asked: Asked) {
        if let Some(cabinet) = self.cabinets.get_mut(at) {
            let until = now.mono + cabinet.config.keypad_timeout;
            cabinet.desk.choosing = Some(Choosing { until, choices, asked });
        }
    }

    fn typed(&mut self, now: Now, view: &View<'_>, at: usize, asked: Asked, typed: &Typed, deeds: &mut Deeds) {
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        if let Some(waiting) = cabinet.desk.emergency.take() {
            return self.emergency_typed(now, view, waiting, typed, deeds);
        }
        if let Some(choosing) = cabinet.desk.choosing.take().filter(|choosing| now.mono < choosing.until) {
            let number: Option<u16> = typed.digits.parse().ok().filter(|_| typed.number.is_none());
            let chosen = choosing.choices.into_iter().find(|choice| Some(choice.number) == number);
            return match chosen {
                Some(choice) => self.open(now, view, choice, &choosing.asked, deeds),
                None => deeds.event(choosing.asked.denied(None, None, DenialReason::NoRule, None)),
            };
        }
        if let Some(lacking) = cabinet.desk.lacking.take_if(|lacking| lacking.wants == Wants::Pin) {
            return self.pin(now, view, lacking, typed, deeds);
        }
        let owner = PinOwner::Reader(asked.reader.clone());
        if view.locks.is_locked(&owner, now.mono) {
            return deeds.event(asked.denied(None, None, DenialReason::PinLockedOut, None));
        }
        let (choices, missed) = self.codes(now, view, at, typed);
        let Some(cabinet) = self.cabinets.get_mut(at) else { return };
        if choices.is_empty() && missed.is_none() {
            deeds.event(asked.denied(None, None, DenialReason::WrongPin, None));
            return deeds.push(Deed::WrongPin(Box::new(WrongPin {
                of: owner,
                door: None,
                floor_group: None,
                cabinet: Some(asked.cabinet),
                reader: Some(asked.reader),
                tries: cabinet.config.code_tries,
                lockout_s: u32::try_from(cabinet.config.lockout.as_secs()).unwrap_or(u32::MAX),
            })));
        }
        deeds.push(Deed::RightPin(owner));
        match choices.as_slice() {
            [choice] => self.open(now, view, choice.clone(), &asked, deeds),
            [] => deeds.event(asked.missed(view, missed)),
            _ => self.ask(now, at, choices, asked),
        }
    }

    /// What these digits open. The token of each possible text is looked up, so that nothing is ever compared in
    /// clear.
    fn codes(&self, now: Now, view: &View<'_>, at: usize, typed: &Typed) -> (Vec<Choice>, Option<Missed>) {
        let (mut choices, mut missed) = (Vec::new(), None);
        let Some(cabinet) = self.cabinets.get(at).filter(|_| !typed.digits.is_empty()) else {
            return (choices, missed);
        };
        let contracts = &view.permissions.site().locker_contracts;
        let compartments = cabinet.config.compartments.iter().enumerate();
        for (slot, compartment) in
            compartments.filter(|(_, compartment)| typed.number.is_none_or(|number| number == compartment.number))
        {
            let counts = |id: &Id| !self.refused.contains_key(id);
            let of_it = contracts.iter().filter(|(_, contract)| contract.locker == compartment.id);
            let mut of_it = of_it.filter(|(id, _)| counts(id)).peekable();
            if of_it.peek().is_none() {
                continue;
            }
            let text = |kind: &str| token(view.credential_key, &format!("{kind}:{}:{}", compartment.id, typed.digits));
            let (pin, back, backup) = (text("pin"), text("return"), text("backup"));
            for (id, contract) in of_it {
                let means = if contract.pin == Some(pin) {
                    Means::Pin
                } else if contract.return_code == Some(back) {
                    Means::ReturnCode
                } else if contract.backup_codes.contains(&backup) && !self.consumed.contains_key(&backup) {
                    Means::BackupCode
                } else {
                    continue;
                };
                let standing = standing(contract, now);
                let may_return = means == Means::ReturnCode && standing != Standing::NotYet;
                match standing.denial().filter(|_| !may_return) {
                    Some(reason) => {
                        missed = Some(Missed { reason, door: compartment.door, contract: id.clone() });
                    }
                    None => choices.push(Choice {
                        place: Place { cabinet: at, slot },
                        door: compartment.door,
                        number: compartment.number,
                        contract: id.clone(),
                        means,
                        code: (means == Means::BackupCode).then_some(backup),
                    }),
                }
            }
        }
        choices.dedup_by_key(|choice| choice.place);
        choices.truncate(CHOICES_MAX);
        (choices, missed)
    }

    fn open(&mut self, now: Now, view: &View<'_>, choice: Choice, asked: &Asked, deeds: &mut Deeds) {
        if let Err((reason, rule)) = self.may_open(now, view, &choice, asked) {
            let door = view.door_id(choice.door);
            return deeds.event(asked.denied(door, Some(&choice.contract), reason, rule));
        }
        if let Some(wants) = self.wants(now, view, &choice, asked) {
            return self.wait(now, choice, asked.clone(), wants);
        }
        let Some(code) = choice.code else { return self.opened(view, &choice, asked, deeds) };
        let Some(cabinet) = self.cabinets.get_mut(choice.place.cabinet) else { return };
        if cabinet.desk.pending.is_some() || self.consumed.len() >= CONSUMED_MAX * 2 {
            return deeds.event(asked.denied(None, Some(&choice.contract), DenialReason::NoRule, None));
        }
        // Used up from here on; it opens when that is durable.
        self.consumed.insert(code, now.wall);
        let (key, until) = (Kept::backup_code(&code), now.mono + DURABLE_WITHIN);
        cabinet.desk.pending = Some(Pending { key, until, choice, asked: asked.clone() });
        deeds.push(Deed::KeepFirst(Kept::BackupCode { code, used_at: now.wall }));
    }

    pub(super) fn durable(&mut self, now: Now, view: &View<'_>, key: &KeptKey, deeds: &mut Deeds) {
        let desks = self.cabinets.iter_mut().map(|cabinet| &mut cabinet.desk);
        let pending = desks.into_iter().find_map(|desk| desk.pending.take_if(|pending| pending.key == *key));
        let Some(Pending { choice, asked, .. }) = pending else { return };
        match self.may_open(now, view, &choice, &asked) {
            Ok(()) => self.opened(view, &choice, &asked, deeds),
            Err((reason, rule)) => {
                deeds.event(asked.denied(view.door_id(choice.door), Some(&choice.contract), reason, rule));
            }
        }
    }

    fn may_open(
        &self,
        now: Now,
        view: &View<'_>,
        choice: &Choice,
        asked: &Asked,
    ) -> Result<(), (DenialReason, Option<Id>)> {
        let contract = view.permissions.site().locker_contracts.get(&choice.contract);
        let contract = contract.filter(|_| !self.refused.contains_key(&choice.contract));
        let contract = contract.ok_or((DenialReason::NoRule, None))?;
        // It may have ended while a choice, a PIN or the disk was waited for.
        let standing = standing(contract, now);
        let brings_back = choice.means == Means::ReturnCode && standing != Standing::NotYet;
        if let Some(reason) = standing.denial().filter(|_| !brings_back) {
            return Err((reason, None));
        }
        if let Some(reason) = view.denies(choice.door, now.mono) {
            return Err((reason, None));
        }
        let restriction = self.restriction(now, view, choice.door);
        // A deny rule overrides a contract as it overrides an allow rule.
        let person = asked.holder.as_ref().map(|(person, _)| person).or(contract.person.as_ref());
        if let Some(person) = person {
            holder_may(view, person, choice.door, now, restriction)?;
        } else if let Some(reason) = nobody_may(restriction, now) {
            return Err((reason, None));
        }
        let slot = self.cabinets.get(choice.place.cabinet).and_then(|cabinet| cabinet.slots.get(choice.place.slot));
        let empty = slot.is_some_and(|slot| slot.occupied == Some(false));
        if choice.means == Means::ReturnCode && !empty {
            return Err((DenialReason::AreaFull, None));
        }
        Ok(())
    }

    fn opened(&mut self, view: &View<'_>, choice: &Choice, asked: &Asked, deeds: &mut Deeds) {
        let contracts = &view.permissions.site().locker_contracts;
        let contract = contracts.get(&choice.contract);
        let (person, credential) = match &asked.holder {
            Some((person, credential)) => (Some(person.clone()), Some(credential.clone())),
            None => (contract.and_then(|contract| contract.person.clone()), None),
        };
        deeds.event(EventBody::AccessGranted(Granted {
            door: view.door_id(choice.door).cloned(),
            reader: Some(asked.reader.clone()),
            person: person.clone(),
            credential,
            contract: Some(choice.contract.clone()),
            card: asked.card.clone(),
            ..Granted::default()
        }));
        let extended = person.as_ref().is_some_and(|person| view.permissions.has_extended_access(person));
        let actor = match asked.holder.clone() {
            Some((person, credential)) => Actor::Person { person, credential },
            None => Actor::Contract { contract: choice.contract.clone(), person: person.clone() },
        };
        deeds.door(choice.door, DoorInput::Grant(Grant { actor: actor.clone(), extended }));
        let due = contract.and_then(|contract| contract.until);
        let opening = Opening { actor, contract: Some(choice.contract.clone()), person, due };
        if let Some((_, slot)) = self.at(choice.place) {
            slot.opening = Some((opening, None));
        }
    }
}
