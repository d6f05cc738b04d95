//! People at readers: cards, keys, PINs, second people, emergency cards, virtual reads. Owns a reader's plain story
//! of its own (who waits for what, what was typed) and the answers of the naive model to it; must never ask the
//! machine whom it waits for. Invariant: each attempt ends in the one event that the records mean, at its time.
//!
//! `locks` counts wrong PINs, `alone` what a door's policy says when the node is left alone, `told` what the events
//! say and which invariant is hurt where they say otherwise.

mod alone;
mod locks;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use latchd::{
    domain::{
        cloud::CloudState,
        event::{DenialReason, EventBody},
        fieldbus::RawCard,
        ids::Id,
        kept::{Kept, PinOwner},
        order::{Order, Task},
        permission::{Decision, Wants},
        record::{DoorPolicy, EmergencyCard, Record, Token},
        time::{Mono, Now},
        topology::ReaderAt,
    },
    gateway::controller::Lasting,
    wire::token::token,
};

use self::{
    locks::PinLocks,
    told::{Said, Told},
};
use super::{
    Invariant, Violation,
    interlock::Others,
    reference::{Asked, Place, Reference},
};
use crate::world::{
    set::{
        Generation,
        names::{credential_key, tokens_of, zone},
    },
    site::Site,
};

/// What a step of the doors is judged by.
pub struct Scene<'a> {
    pub site: &'a Site,
    /// `None`: there is no set.
    pub generation: Option<&'a Generation>,
    pub now: Now,
    /// By door: what stands in the way of everybody, as it was before the step.
    pub modes: &'a [(Others, Option<DenialReason>, bool)],
    pub what: &'a str,
}

#[derive(Default)]
pub struct PeopleWatch {
    readers: BTreeMap<usize, AtReader>,
    locks: PinLocks,
    /// Of emergency cards, in all runs that are remembered.
    uses: BTreeMap<Id, u32>,
    pub cloud: CloudState,
    started: Mono,
    /// The time without a beat that was kept before.
    carried: Duration,
    /// Readers whose denials are counted and no longer told one by one.
    babbling: BTreeSet<Id>,
    /// Presented, and not judged yet.
    pub card: Option<(usize, RawCard)>,
    pub virtual_read: Option<Order>,
    expected_lockouts: u32,
}

#[derive(Default)]
struct AtReader {
    typed: String,
    waiting: Option<Waiting>,
    until: Option<Mono>,
}

/// Somebody of whom more is wanted.
#[derive(Clone)]
struct Waiting {
    said: Said,
    tokens: Vec<Token>,
    lacks: Wants,
}

/// What is presented.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Card { pin: Option<Token>, companion: Option<&'a [Token]> },
    Holder(&'a Id),
}

impl PeopleWatch {
    /// What was kept, and nothing else.
    pub fn restarted(&mut self, now: Now, lasting: &Lasting) {
        let uses = lasting.kept.values().filter_map(|kept| match kept {
            Kept::EmergencyUses { emergency_card, uses } => Some((emergency_card.clone(), *uses)),
            _ => None,
        });
        let carried = lasting.kept.values().find_map(|kept| match kept {
            Kept::WithoutBeat { seconds } => Some(Duration::from_secs(*seconds)),
            _ => None,
        });
        *self = PeopleWatch {
            carried: carried.unwrap_or_default(),
            locks: PinLocks::restored(now, lasting.kept.values()),
            uses: uses.collect(),
            cloud: self.cloud,
            started: now.mono,
            ..PeopleWatch::default()
        };
    }

    /// After a step of the doors: all that it said of people at doors.
    pub fn judge_step<'e>(
        &mut self,
        scene: &Scene<'_>,
        events: impl Iterator<Item = &'e EventBody> + Clone,
        stopping: bool,
    ) -> Result<(), Violation> {
        for body in events.clone() {
            if let EventBody::ReaderBabbling { reader, .. } = body {
                self.babbling.insert(reader.clone());
            }
        }
        self.expected_lockouts = 0;
        let mut told: VecDeque<Told> = events.clone().filter_map(Told::of).collect();
        let (card, order) = (self.card.take(), self.virtual_read.take());
        if stopping && scene.what != "stop" {
            return told::nothing_left(&told, scene.what);
        }
        let babbles = card.is_some_and(|(reader, _)| self.babbling.contains(&scene.site.readers[reader].id));
        if babbles || told.iter().any(|told| told.reader.as_ref().is_some_and(|id| self.babbling.contains(id))) {
            if let Some((reader, _)) = card {
                self.readers.remove(&reader);
            }
            return Ok(());
        }
        let mut duress = BTreeSet::new();
        if let Some((reader, card)) = card
            && let ReaderAt::Door(door) = scene.site.readers[reader].at
        {
            self.read(scene, (reader, door.index()), card, &mut told, &mut duress)?;
        }
        if let Some(order) = order {
            self.virtually(scene, &order, &mut told)?;
        }
        self.expire(scene, &mut told)?;
        told::nothing_left(&told, scene.what)?;
        let alarms = events.clone().filter_map(|body| match body {
            EventBody::AccessDuress { person, .. } => Some(person.clone()),
            _ => None,
        });
        let alarms: BTreeSet<Id> = alarms.collect();
        if alarms != duress {
            let what = format!("under duress were {duress:?} on {}, and told of were {alarms:?}", scene.what);
            return Err(Violation::new(Invariant::DuressIsTold, what));
        }
        let lockouts =
            events.filter(|body| matches!(body, EventBody::AccessPinLockedOut { door: Some(_), .. })).count();
        if lockouts != self.expected_lockouts as usize {
            let what = format!("{} lock-outs were due on {}, {lockouts} were told", self.expected_lockouts, scene.what);
            return Err(Violation::new(Invariant::PinLocksOut, what));
        }
        Ok(())
    }

    /// One frame of a reader at a door.
    fn read(
        &mut self,
        scene: &Scene<'_>,
        at: (usize, usize),
        card: RawCard,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let (reader, door) = at;
        if card.bits != 4 || !scene.site.has_keypad(reader) {
            return self.present(scene, at, card, told, duress);
        }
        let until = scene.now.mono + self.patience(scene, door, Wants::Pin);
        let slot = self.readers.entry(reader).or_default();
        let waits_for = slot.waiting.as_ref().map(|waiting| waiting.lacks);
        match card.value {
            10 => slot.typed.clear(),
            11 if slot.typed.is_empty() => {}
            11 => {
                let typed = std::mem::take(&mut slot.typed);
                if waits_for == Some(Wants::Pin) {
                    slot.until = None;
                    let waiting = slot.waiting.take();
                    return waiting.map_or(Ok(()), |waiting| self.pin(scene, at, &waiting, &typed, told, duress));
                }
                if waits_for.is_none() {
                    slot.until = None;
                }
                return self.pin_alone(scene, at, &typed, told, duress);
            }
            digit => {
                slot.typed.push(char::from_digit(digit as u32, 10).unwrap_or('?'));
                if waits_for != Some(Wants::SecondPerson) {
                    slot.until = Some(until);
                }
            }
        }
        Ok(())
    }

    fn present(
        &mut self,
        scene: &Scene<'_>,
        at: (usize, usize),
        card: RawCard,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let (reader, door) = at;
        let (tokens, _) = tokens_of(card);
        let answers = self.answers(scene, door, &tokens, Ask::Card { pin: None, companion: None });
        let emergency = self.emergency_card_of(scene, &tokens);
        let person = answers.first().and_then(|said| said.person.clone());
        let before = self.readers.get_mut(&reader).and_then(|slot| {
            let waiting = slot.waiting.take()?;
            (slot.until, slot.typed) = (None, String::new());
            Some(waiting)
        });
        if let Some(waiting) = before {
            let same = match &waiting.said.emergency_card {
                Some(of) => emergency.as_ref().is_some_and(|(id, _)| id == of),
                None => waiting.said.person == person && person.is_some(),
            };
            let still = person.is_none() || answers.iter().any(|said| said.wants == Some(waiting.lacks));
            let goes_on = same && still;
            // What lies over the door is not always known: then its word shows.
            let spoken =
                told.front().is_some_and(|front| answers.iter().any(|said| said.wants.is_none() && front.is(said)));
            if goes_on && (person.is_none() || !spoken) {
                self.wait(scene, at, waiting);
                return Ok(());
            }
            if !same && let Some((first, second)) = self.pair(scene, door, &waiting, &tokens) {
                let granted = told.front().is_some_and(|front| front.companion);
                if granted || !self.is_unsure(scene, door) {
                    told::take(told, scene, &first)?;
                    return told::take(told, scene, &second).map(|_| ());
                }
            }
            if !same {
                told::take(told, scene, &[waiting.said.ended_for(waiting.lacks)])?;
            }
        }
        if let Some((id, record)) = emergency.filter(|_| answers.iter().all(|said| said.reason.is_some())) {
            return self.emergency(scene, at, (&id, &record), tokens, told);
        }
        let owner = person.clone().map(PinOwner::Person);
        let locked = owner.is_some_and(|owner| self.locks.is_locked(&owner, scene.now.mono));
        let asks = |said: &Said| match said.wants {
            Some(Wants::Pin) => !locked && scene.site.has_keypad(reader),
            Some(Wants::SecondPerson) => true,
            None => false,
        };
        let (waits, ends): (Vec<Said>, Vec<Said>) = answers.into_iter().partition(asks);
        let ends: Vec<Said> = ends
            .into_iter()
            .map(|said| match said.wants {
                Some(Wants::Pin) if locked => said.with(DenialReason::PinLockedOut),
                _ => said,
            })
            .collect();
        match waits.first() {
            Some(said) if !told.front().is_some_and(|front| ends.iter().any(|end| front.is(end))) => {
                let lacks = said.wants.unwrap_or(Wants::Pin);
                self.wait(scene, at, Waiting { said: said.clone(), tokens, lacks });
                // Whoever is let in all the same, or refused, is so against the records.
                told::nothing_of(told, scene, said)
            }
            _ => {
                let said = told::take(told, scene, &ends)?;
                self.note_duress(&said, duress);
                Ok(())
            }
        }
    }

    fn note_duress(&self, said: &Said, duress: &mut BTreeSet<Id>) {
        duress.extend(said.person.clone().filter(|_| said.duress));
    }

    fn wait(&mut self, scene: &Scene<'_>, (reader, door): (usize, usize), waiting: Waiting) {
        let until = scene.now.mono + self.patience(scene, door, waiting.lacks);
        let slot = self.readers.entry(reader).or_default();
        *slot = AtReader { typed: String::new(), waiting: Some(waiting), until: Some(until) };
    }

    fn patience(&self, scene: &Scene<'_>, door: usize, lacks: Wants) -> Duration {
        let policy = policy(scene, door);
        Duration::from_millis(u64::from(match lacks {
            Wants::Pin => policy.pin_timeout_ms,
            Wants::SecondPerson => policy.second_person_ms,
        }))
    }

    /// The PIN for which a card waited.
    fn pin(
        &mut self,
        scene: &Scene<'_>,
        (reader, door): (usize, usize),
        waiting: &Waiting,
        typed: &str,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        if let Some(card) = waiting.said.emergency_card.clone() {
            return self.emergency_pin(scene, (reader, door), (&card, waiting), typed, told);
        }
        let Some(person) = waiting.said.person.clone() else { return Ok(()) };
        let owner = PinOwner::Person(person.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            let locked = [waiting.said.clone().with(DenialReason::PinLockedOut)];
            return told::take(told, scene, &locked).map(|_| ());
        }
        let answers = if typed.len() <= latchd::domain::keypad::DIGITS_MAX {
            let pin = Some(token(&credential_key(), &format!("pin:{person}:{typed}")));
            self.answers(scene, door, &waiting.tokens, Ask::Card { pin, companion: None })
        } else {
            vec![waiting.said.clone().with(DenialReason::WrongPin)]
        };
        let said = told::take(told, scene, &answers)?;
        self.note_duress(&said, duress);
        self.count(scene, door, owner, &said);
        Ok(())
    }

    fn count(&mut self, scene: &Scene<'_>, door: usize, owner: PinOwner, said: &Said) {
        match said.reason {
            None => self.locks.right(&owner),
            Some(DenialReason::WrongPin) => {
                let policy = policy(scene, door);
                self.expected_lockouts += u32::from(self.locks.wrong(owner, scene.now.mono, &policy));
            }
            Some(_) => {}
        }
    }

    /// A PIN that is a credential by itself.
    fn pin_alone(
        &mut self,
        scene: &Scene<'_>,
        (reader, door): (usize, usize),
        typed: &str,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::Reader(scene.site.readers[reader].id.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            return told::take(told, scene, &[Said::nobody(DenialReason::PinLockedOut)]).map(|_| ());
        }
        let tokens = [token(&credential_key(), &format!("pin:{typed}"))];
        let answers = self.answers(scene, door, &tokens, Ask::Card { pin: None, companion: None });
        let locked = |person: &Option<Id>| {
            let of = person.clone().map(PinOwner::Person);
            of.is_some_and(|of| self.locks.is_locked(&of, scene.now.mono))
        };
        let answers: Vec<Said> = answers
            .into_iter()
            .map(|said| match said.reason {
                None if locked(&said.person) => said.with(DenialReason::PinLockedOut),
                Some(DenialReason::UnknownCredential) => said.with(DenialReason::WrongPin),
                _ => said,
            })
            .collect();
        let said = told::take(told, scene, &answers)?;
        self.note_duress(&said, duress);
        self.count(scene, door, owner, &said);
        Ok(())
    }

    /// An operator has a cardholder's credential read: no PIN, no second person.
    fn virtually(&mut self, scene: &Scene<'_>, order: &Order, told: &mut VecDeque<Told>) -> Result<(), Violation> {
        let Task::VirtualRead { door, person, .. } = &order.what else { return Ok(()) };
        let known = scene.generation.is_some_and(|generation| generation.person(person).is_some());
        if scene.now.mono > order.deadline || !known {
            return Ok(());
        }
        let answers = self.answers(scene, door.index(), &[], Ask::Holder(person));
        let answers: Vec<Said> = answers.into_iter().map(|said| said.by_operator(person)).collect();
        told::take(told, scene, &answers).map(|_| ())
    }

    /// Waits that are over; when the node stops, all.
    fn expire(&mut self, scene: &Scene<'_>, told: &mut VecDeque<Told>) -> Result<(), Violation> {
        let until = if scene.what == "stop" { Mono::MAX } else { scene.now.mono };
        for slot in self.readers.values_mut() {
            if slot.until.take_if(|due| *due <= until).is_none() {
                continue;
            }
            slot.typed.clear();
            if let Some(waiting) = slot.waiting.take() {
                told::take(told, scene, &[waiting.said.ended_for(waiting.lacks)])?;
            }
        }
        Ok(())
    }

    // ---- what the records mean ----

    /// All that may be said: more than one only where what lies over the door is not known for sure.
    fn answers(&self, scene: &Scene<'_>, door: usize, tokens: &[Token], ask: Ask<'_>) -> Vec<Said> {
        let naive = match scene.generation {
            Some(generation) => {
                let naive = Reference { records: &generation.records, zone: &zone() };
                let place = Place::Door(&scene.site.doors[door].id);
                let restriction = self.regime(scene, door).restriction;
                let asked = Asked { place, now: scene.now, pin: None, companion: None, restriction };
                match ask {
                    Ask::Card { pin, companion } => naive.answer(tokens, true, &Asked { pin, companion, ..asked }),
                    Ask::Holder(person) => naive.decide_person(person, &asked),
                }
            }
            None => {
                let reason = DenialReason::StalePermissions;
                Decision::Denied { reason, person: None, credential: None, rule: None, wants: None, duress: false }
            }
        };
        let naive = Said::of(naive);
        let with = |mode: Option<DenialReason>| mode.map_or(naive.clone(), |reason| naive.clone().with(reason));
        self.modes(scene, door).into_iter().map(with).collect()
    }

    fn modes(&self, scene: &Scene<'_>, door: usize) -> Vec<Option<DenialReason>> {
        let (others, held, unsure) = scene.modes.get(door).copied().unwrap_or((Others::Shut, None, false));
        let mut modes = match (others, unsure) {
            (Others::Open, _) => return vec![Some(DenialReason::Interlock)],
            // While an order to take it away is under way nobody knows.
            (_, true) => {
                let over = [DenialReason::Forced, DenialReason::Dnd, DenialReason::LockedDown];
                std::iter::once(None).chain(over.map(Some)).collect()
            }
            (_, false) => vec![held],
        };
        if others == Others::Doubtful {
            modes.push(Some(DenialReason::Interlock));
        }
        modes
    }

    fn is_unsure(&self, scene: &Scene<'_>, door: usize) -> bool {
        self.modes(scene, door).len() > 1
    }

    /// What both are told if together they may pass.
    fn pair(
        &self,
        scene: &Scene<'_>,
        door: usize,
        waiting: &Waiting,
        tokens: &[Token],
    ) -> Option<(Vec<Said>, Vec<Said>)> {
        let with = |one: &[Token], other: &[Token]| {
            let answers = self.answers(scene, door, one, Ask::Card { pin: None, companion: Some(other) });
            let together = |said: &Said| said.reason.is_none() && said.companion;
            answers.iter().any(together).then(|| answers.into_iter().filter(together).collect::<Vec<Said>>())
        };
        let second = with(tokens, &waiting.tokens)?;
        Some((with(&waiting.tokens, tokens)?, second))
    }

    // ---- emergency cards ----

    fn emergency_card_of(&self, scene: &Scene<'_>, tokens: &[Token]) -> Option<(Id, EmergencyCard)> {
        let records = scene.generation.map_or(&[][..], |generation| generation.records.as_slice());
        records.iter().find_map(|(id, record)| match record {
            Record::EmergencyCard(body) if tokens.contains(&body.token) => Some((id.clone(), body.clone())),
            _ => None,
        })
    }

    /// What such a card is told, its PIN apart.
    fn emergency_answers(&self, scene: &Scene<'_>, door: usize, (id, record): (&Id, &EmergencyCard)) -> Vec<Said> {
        let used_up = record.uses_max.is_some_and(|max| self.uses.get(id).copied().unwrap_or(0) >= max);
        let elsewhere = record.doors.as_ref().is_some_and(|doors| !doors.contains(&scene.site.doors[door].id));
        let reason = if used_up {
            Some(DenialReason::Expired)
        } else if elsewhere {
            Some(DenialReason::NoRule)
        } else if !self.regime(scene, door).emergency_cards {
            Some(DenialReason::NotYetActive)
        } else {
            None
        };
        let said = Said { reason, emergency_card: Some(id.clone()), ..Said::default() };
        let with = |mode: Option<DenialReason>| mode.map_or(said.clone(), |reason| said.clone().with(reason));
        self.modes(scene, door).into_iter().map(with).collect()
    }

    fn emergency(
        &mut self,
        scene: &Scene<'_>,
        at: (usize, usize),
        (id, record): (&Id, &EmergencyCard),
        tokens: Vec<Token>,
        told: &mut VecDeque<Told>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::EmergencyCard(id.clone());
        let locked = self.locks.is_locked(&owner, scene.now.mono);
        let mut answers = self.emergency_answers(scene, at.1, (id, record));
        if record.pin.is_some() {
            let asks = answers.iter().any(|said| said.reason.is_none());
            let lacks = if locked { DenialReason::PinLockedOut } else { DenialReason::PinRequired };
            let spoken =
                told.front().is_some_and(|front| answers.iter().any(|said| said.reason.is_some() && front.is(said)));
            if asks && !locked && scene.site.has_keypad(at.0) && !spoken {
                let said = Said { emergency_card: Some(id.clone()), ..Said::default() };
                self.wait(scene, at, Waiting { said: said.clone(), tokens, lacks: Wants::Pin });
                return told::nothing_of(told, scene, &said);
            }
            for said in answers.iter_mut().filter(|said| said.reason.is_none()) {
                *said = said.clone().with(lacks);
            }
        }
        let said = told::take(told, scene, &answers)?;
        self.used(id, &said);
        Ok(())
    }

    fn emergency_pin(
        &mut self,
        scene: &Scene<'_>,
        (_, door): (usize, usize),
        (id, waiting): (&Id, &Waiting),
        typed: &str,
        told: &mut VecDeque<Told>,
    ) -> Result<(), Violation> {
        let owner = PinOwner::EmergencyCard(id.clone());
        if self.locks.is_locked(&owner, scene.now.mono) {
            let locked = [waiting.said.clone().with(DenialReason::PinLockedOut)];
            return told::take(told, scene, &locked).map(|_| ());
        }
        let known = self.emergency_card_of(scene, &waiting.tokens);
        let Some((_, record)) = known.filter(|(known, _)| known == id) else {
            let gone = [waiting.said.clone().with(DenialReason::UnknownCredential)];
            return told::take(told, scene, &gone).map(|_| ());
        };
        let right = record.pin == Some(token(&credential_key(), &format!("pin:{id}:{typed}")));
        let mut answers = self.emergency_answers(scene, door, (id, &record));
        for said in answers.iter_mut().filter(|said| said.reason.is_none() && !right) {
            *said = said.clone().with(DenialReason::WrongPin);
        }
        let said = told::take(told, scene, &answers)?;
        self.used(id, &said);
        self.count(scene, door, owner, &said);
        Ok(())
    }

    fn used(&mut self, id: &Id, said: &Said) {
        if said.reason.is_none() {
            *self.uses.entry(id.clone()).or_default() += 1;
        }
    }
}

/// The policy that speaks at a door, or the defaults.
fn policy(scene: &Scene<'_>, door: usize) -> DoorPolicy {
    let door = &scene.site.doors[door].id;
    let records = scene.generation.map_or(&[][..], |generation| generation.records.as_slice());
    let speaks = |(_, record): &(Id, Record)| match record {
        Record::DoorPolicy(body) if body.doors.contains(door) => Some(body.clone()),
        _ => None,
    };
    records.iter().find_map(speaks).unwrap_or_default()
}
