//! What follows from an input beyond the one who heard it: machines are told, want deeds, and deeds lead to more. Owns
//! the carrying out; must never let one machine hear another before a deed is done, nor go on without end. Invariant:
//! when it returns, every deed has been carried out in the order in which it was wanted, or `system.chain_broken` says
//! that the rest was not.

use super::{
    Controller, Step,
    lockdown::Place,
    machine::{Deed, Deeds, Happening, View, WrongPin},
};
use crate::{
    domain::{event::EventBody, kept::PinOwner, time::Now},
    gateway::step::{Effect, Fence, LedgerWrite},
};

/// How many deeds one input may lead to: far beyond what any honest chain of causes needs.
const DEEDS_MAX: usize = 4096;

impl Controller {
    pub(super) fn tell_machines(&mut self, now: Now, happening: Happening<'_>, step: &mut Step) {
        let cabs_deny: Vec<_> = self.machines.iter().flat_map(|machine| machine.cabs_deny()).collect();
        let view = View {
            locks: &self.locks,
            cabs_deny: &cabs_deny,
            permissions: &self.permissions,
            topology: &self.topology,
            cloud: &self.cloud,
            credential_key: &self.credential_key,
            emergencies: &self.emergencies,
            depth: step.depth,
            statuses: &self.statuses,
            doors: &self.doors,
        };
        let mut deeds = Deeds::default();
        for machine in &mut self.machines {
            machine.handle(now, &view, happening, &mut deeds);
        }
        let depth = step.depth.saturating_add(1);
        step.deeds.extend(deeds.0.into_iter().map(|deed| (depth, deed)));
    }

    /// Deeds lead to events, which lead to deeds: until none is left.
    pub(super) fn carry_out(&mut self, now: Now, step: &mut Step) {
        let mut done = 0;
        loop {
            let Some((depth, deed)) = step.deeds.pop_front() else {
                step.depth = 0;
                self.tell_machines(now, Happening::Settled, step);
                if step.deeds.is_empty() {
                    return;
                }
                continue;
            };
            done += 1;
            if done > DEEDS_MAX {
                // A set with a loop is refused when it is loaded; this is what must not happen all the same.
                step.deeds.clear();
                let what = format!("more than {DEEDS_MAX} consequences of one input: the rest was not carried out");
                return self.commit_event(now, EventBody::SystemChainBroken { detail: what }, step);
            }
            step.depth = depth;
            match deed {
                Deed::Door(door, input) => self.tell(now, door, input, step),
                Deed::Ride(cab, ride) => self.tell_machines(now, Happening::Ride(cab, &ride), step),
                Deed::WrongPin(wrong) => self.wrong_pin(now, *wrong, step),
                Deed::RightPin(of) => {
                    step.commit.writes.extend(self.locks.right(&of).map(LedgerWrite::Unkept));
                }
                Deed::EmergencyUsed(used) => self.emergency_used(now, used, step),
                Deed::Event(body) => self.record(now, body, step),
                Deed::Order(order) => self.order(now, order, step),
                Deed::Alarm(source, text) => {
                    self.tell_machines(now, Happening::Alarm(&source, text.as_deref()), step);
                }
                Deed::Report(ticket, progress) => self.report(now, ticket, progress, step),
                Deed::FloorReport { floor_group, ticket, progress, held } => {
                    self.hear(now, Place::FloorGroup(floor_group), ticket, progress, held, step);
                }
                Deed::Held(ticket, progress) => self.report_held(now, ticket, progress, step),
                Deed::Keep(kept) => step.commit.writes.push(LedgerWrite::Kept(kept)),
                Deed::KeepFirst(kept) => {
                    // Above what an earlier loop of this process may have waited for.
                    self.fence = Fence(now.mono.as_nanos().max(self.fence.0 + 1));
                    self.awaited.push_back((self.fence, kept.key()));
                    step.commit.writes.push(LedgerWrite::Kept(kept));
                    step.commit.held.push(Effect::Fence(self.fence));
                }
                Deed::Unkeep(key) => step.commit.writes.push(LedgerWrite::Unkept(key)),
                Deed::KeepAll(all) => step.commit.writes.extend(all.into_iter().map(LedgerWrite::Kept)),
                Deed::UnkeepAll(keys) => step.commit.writes.extend(keys.into_iter().map(LedgerWrite::Unkept)),
                Deed::Asked(reader, lacks) => self.tell_machines(now, Happening::Asked(reader, lacks), step),
                Deed::Changed(thing) => step.name(thing),
                Deed::Answer(number, answer) => step.answers.push((number, answer)),
            }
        }
    }

    fn wrong_pin(&mut self, now: Now, wrong: WrongPin, step: &mut Step) {
        let WrongPin { of, door, floor_group, cabinet, reader, tries, lockout_s } = wrong;
        let counted = self.locks.wrong(of.clone(), now, tries, lockout_s);
        step.commit.writes.push(LedgerWrite::Kept(counted.kept));
        step.commit.writes.extend(counted.unkept.map(LedgerWrite::Unkept));
        let Some(reader) = reader.filter(|_| counted.locked) else { return };
        let (person, emergency_card) = match of {
            PinOwner::Person(person) => (Some(person), None),
            PinOwner::EmergencyCard(card) => (None, Some(card)),
            PinOwner::Reader(_) => (None, None),
        };
        let wrong = counted.count;
        let locked = EventBody::AccessPinLockedOut {
            door,
            floor_group,
            cabinet,
            reader,
            person,
            emergency_card,
            wrong,
            lockout_s,
        };
        self.record(now, locked, step);
    }
}
