//! People at readers of doors and in the cab: cards, keys, PINs, second people, emergency cards, virtual reads. Owns a reader's plain story
//! of its own (who waits for what, what was typed) and the answers of the naive model to it; must never ask the
//! machine whom it waits for. Invariant: each attempt ends in the one event that the records mean, at its time.
//!
//! `answers` is what the records mean, `pins` and `emergency` what is typed and shown besides, `locks` counts wrong
//! PINs, `cabinet` the emergency cards at a cabinet, `alone` is what a door's policy says when the node is left alone, `told` what the events say and which
//! invariant is hurt where they say otherwise.

mod alone;
pub mod answers;
mod cabinet;
mod emergency;
pub mod locks;
mod pins;
pub mod spot;
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
        permission::Wants,
        record::{EmergencyCard, Token},
        time::{Mono, Now},
    },
    gateway::controller::Lasting,
};

use self::{
    answers::policy,
    locks::PinLocks,
    spot::Spot,
    told::{Said, Told},
};
use super::{Invariant, Violation, interlock::Others};
use crate::world::{
    set::{Generation, names::tokens_of},
    site::{CABINET, Site},
};

/// What a step of the doors is judged by.
pub struct Scene<'a> {
    pub site: &'a Site,
    /// `None`: there is no set.
    pub generation: Option<&'a Generation>,
    pub now: Now,
    /// By door: what stands in the way of everybody, as it was before the step.
    pub modes: &'a [(Others, Option<DenialReason>, bool)],
    /// The same of the cab: any of these.
    pub cab: &'a [Option<DenialReason>],
    pub what: &'a str,
}

#[derive(Default)]
pub struct PeopleWatch {
    readers: BTreeMap<usize, AtReader>,
    /// One count, wherever a PIN is typed: at doors, in the cab, at the cabinet.
    pub locks: PinLocks,
    /// For when there is no set.
    pub spare_cards: BTreeMap<Id, EmergencyCard>,
    /// Of emergency cards, in all runs that are remembered.
    uses: BTreeMap<Id, u32>,
    pub cloud: CloudState,
    started: Mono,
    /// The time without a beat that was kept before.
    carried: Duration,
    /// Readers whose denials are counted and no longer told one by one.
    pub babbling: BTreeSet<Id>,
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
            spare_cards: std::mem::take(&mut self.spare_cards),
            started: now.mono,
            ..PeopleWatch::default()
        };
    }

    /// After a step of the doors: all that it said of people at doors and in the cab.
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
        self.judge_cabinet(scene, events.clone())?;
        let told = events.clone().filter_map(Told::of);
        // Emergency cards at the cabinet are judged above.
        let mut told: VecDeque<Told> =
            told.filter(|told| !cabinet::is_at_cabinet(scene.site, told.reader.as_ref())).collect();
        let (card, order) = (self.card.take(), self.virtual_read.take());
        if stopping && !ends(scene) {
            // Nobody is asked for anything any more.
            self.expire(scene, &mut told)?;
            return told::nothing_left(&told, scene);
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
            && let Some(at) = Spot::of(scene.site.readers[reader].at)
        {
            self.read(scene, (reader, at), card, &mut told, &mut duress)?;
        }
        if let Some(order) = order {
            self.virtually(scene, &order, &mut told)?;
        }
        self.expire(scene, &mut told)?;
        told::nothing_left(&told, scene)?;
        let cabinet = &scene.site.readers[CABINET].id;
        let alarms = events.clone().filter_map(|body| match body {
            EventBody::AccessDuress { person, reader, .. } if reader.as_ref() != Some(cabinet) => Some(person.clone()),
            _ => None,
        });
        let alarms: BTreeSet<Id> = alarms.collect();
        if alarms != duress {
            let what = format!("under duress were {duress:?} on {}, and told of were {alarms:?}", scene.what);
            return Err(Violation::new(Invariant::DuressIsTold, what));
        }
        let lockouts =
            events.filter(|body| matches!(body, EventBody::AccessPinLockedOut { cabinet: None, .. })).count();
        if lockouts != self.expected_lockouts as usize {
            let what = format!("{} lock-outs were due on {}, {lockouts} were told", self.expected_lockouts, scene.what);
            return Err(Violation::new(Invariant::PinLocksOut, what));
        }
        Ok(())
    }

    /// One frame of a reader at a door or in the cab.
    fn read(
        &mut self,
        scene: &Scene<'_>,
        at: (usize, Spot),
        card: RawCard,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let (reader, spot) = at;
        if card.bits != 4 || !scene.site.has_keypad(reader) {
            return self.present(scene, at, card, told, duress);
        }
        let until = scene.now.mono + self.patience(scene, spot, Wants::Pin);
        let slot = self.readers.entry(reader).or_default();
        let waits_for = slot.waiting.as_ref().map(|waiting| waiting.lacks);
        match card.value.to_u128().unwrap_or(0) {
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
        at: (usize, Spot),
        card: RawCard,
        told: &mut VecDeque<Told>,
        duress: &mut BTreeSet<Id>,
    ) -> Result<(), Violation> {
        let (reader, spot) = at;
        let (tokens, _) = tokens_of(card);
        let answers = self.answers(scene, spot, &tokens, Ask::Card { pin: None, companion: None });
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
            if !same && let Some((first, second)) = self.pair(scene, spot, &waiting, &tokens) {
                let granted = told.front().is_some_and(|front| front.companion);
                if granted || !self.is_unsure(scene, spot) {
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

    fn wait(&mut self, scene: &Scene<'_>, (reader, at): (usize, Spot), waiting: Waiting) {
        let until = scene.now.mono + self.patience(scene, at, waiting.lacks);
        let slot = self.readers.entry(reader).or_default();
        *slot = AtReader { typed: String::new(), waiting: Some(waiting), until: Some(until) };
    }

    fn patience(&self, scene: &Scene<'_>, at: Spot, lacks: Wants) -> Duration {
        let policy = policy(scene, at);
        Duration::from_millis(u64::from(match lacks {
            Wants::Pin => policy.pin_timeout_ms,
            Wants::SecondPerson => policy.second_person_ms,
        }))
    }

    /// An operator has a cardholder's credential read: no PIN, no second person.
    fn virtually(&mut self, scene: &Scene<'_>, order: &Order, told: &mut VecDeque<Told>) -> Result<(), Violation> {
        let Task::VirtualRead { door, person, .. } = &order.what else { return Ok(()) };
        let known = scene.generation.is_some_and(|generation| generation.person(person).is_some());
        if scene.now.mono > order.deadline || !known {
            return Ok(());
        }
        let answers = self.answers(scene, Spot::Door(door.index()), &[], Ask::Holder(person));
        let answers: Vec<Said> = answers.into_iter().map(|said| said.by_operator(person)).collect();
        told::take(told, scene, &answers).map(|_| ())
    }

    /// Waits that are over; when the node stops or begins anew, all.
    fn expire(&mut self, scene: &Scene<'_>, told: &mut VecDeque<Told>) -> Result<(), Violation> {
        let until = if ends(scene) { Mono::MAX } else { scene.now.mono };
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
}

/// With this the loop of the doors ends, and with it all that only it remembers.
fn ends(scene: &Scene<'_>) -> bool {
    matches!(scene.what, "stop" | "pause")
}
