//! Decisions and sets. Owns which generation the doors were handed; must never see a permission value,
//! only its version. Invariant: one decision for one card, that of the naive model.

use latchd::{
    domain::{
        event::{DenialReason, Denied, EventBody, Granted},
        fieldbus::RawCard,
        permission::{Decision, SetVersion},
        time::Now,
        topology::ReaderAt,
    },
    gateway::{controller::Step, mirror::MirrorOpened},
};

use super::{Invariant, Oracle, Violation, events, interlock::Others, reference::Reference};
use crate::world::{
    set::{
        Sets,
        names::{tokens_of, zone},
    },
    site::Site,
};

#[derive(Default)]
pub struct RightsWatch {
    /// Handed to the doors.
    in_force: SetVersion,
    /// The newest that the mirror has reported, in any run.
    applied: SetVersion,
    /// Presented, and not decided yet.
    pub card: Option<(usize, RawCard)>,
    pub stopping: bool,
}

fn mark(version: SetVersion) -> (u64, u64) {
    (version.epoch, version.generation)
}

impl RightsWatch {
    /// In force at the doors.
    pub fn generation(&self) -> u64 {
        self.in_force.generation
    }

    pub fn recovered(&mut self, set: SetVersion, opened: &MirrorOpened, violation: &mut Option<Violation>) {
        if mark(set) < mark(self.applied) {
            let what = format!(
                "generation {} was in force, and after the start it is {} ({:?})",
                self.applied.generation, set.generation, opened.source
            );
            violation.get_or_insert(Violation::new(Invariant::GenerationRises, what));
        }
        self.applied = if mark(set) > mark(self.applied) { set } else { self.applied };
        self.in_force = set;
        self.card = None;
    }

    pub fn decided(
        &mut self,
        (site, sets): (&Site, &Sets),
        others: &[(Others, Option<DenialReason>, bool)],
        now: Now,
        step: &Step,
        what: &str,
        violation: &mut Option<Violation>,
    ) {
        let decisions: Vec<_> = events(step)
            .filter(|event| matches!(event.body, EventBody::AccessGranted { .. } | EventBody::AccessDenied { .. }))
            .collect();
        let card = self.card.take().filter(|_| !self.stopping);
        let expected = usize::from(card.is_some());
        if decisions.len() != expected {
            let what = format!("{} decisions on {what}, where {expected} was due", decisions.len());
            violation.get_or_insert(Violation::new(Invariant::OneEventEach, what));
            return;
        }
        let (Some((reader, card)), Some(event)) = (card, decisions.first()) else { return };
        let ReaderAt::Door(door) = site.readers[reader].at else { return };
        let (others, held, unsure) = others.get(door.index()).copied().unwrap_or((Others::Shut, None, false));
        let door = &site.doors[door.index()].id;
        let verdict = match sets.at(self.in_force.generation) {
            Some(generation) => {
                let (tokens, well_formed) = tokens_of(card);
                let naive = Reference { records: &generation.records, zone: &zone() };
                naive.decide(&tokens, well_formed, door, now)
            }
            None => {
                let reason = DenialReason::StalePermissions;
                Decision::Denied { reason, person: None, credential: None, rule: None, wants: None, duress: false }
            }
        };
        let verdict = match verdict {
            Decision::Granted { person, credential, rule, .. } => (None, Some(person), credential, Some(rule)),
            Decision::Denied { reason, person, credential, rule, .. } => (Some(reason), person, credential, rule),
        };
        let said = match event.body.clone() {
            EventBody::AccessGranted(Granted { person, credential, rule, .. }) => (None, person, credential, rule),
            EventBody::AccessDenied(Denied { reason, person, credential, rule, .. }) => {
                (Some(reason), person, credential, rule)
            }
            _ => return,
        };
        // What lies over a door speaks before its rules do.
        let by_mode = match (others, said.0) {
            (Others::Open, _) | (Others::Doubtful, Some(DenialReason::Interlock)) => Some(DenialReason::Interlock),
            // While an order to take it away is under way nobody knows.
            (_, reason) if unsure => reason
                .filter(|reason| matches!(reason, DenialReason::Forced | DenialReason::Dnd | DenialReason::LockedDown)),
            _ => held,
        };
        // Whether they are right is for the areas' own watch to say.
        let by_area = said.0.filter(|reason| matches!(reason, DenialReason::ApbViolation | DenialReason::AreaFull));
        let by_mode = by_mode.or(by_area.filter(|_| verdict.0.is_none()));
        let verdict = (by_mode.or(verdict.0), verdict.1, verdict.2, verdict.3);
        if said != verdict || event.generation != self.in_force.generation {
            let generation = self.in_force.generation;
            let what = format!(
                "card {:x} at {door} under generation {generation}: {said:?} (event of generation {}), the model says {verdict:?}",
                card.value, event.generation
            );
            let invariant = match by_mode.filter(|reason| said.0 != Some(*reason)) {
                Some(DenialReason::Interlock) => Invariant::OneDoorAtATime,
                Some(_) => Invariant::HeldIsShut,
                None => Invariant::RevokedIsDenied,
            };
            violation.get_or_insert(Violation::new(invariant, what));
        }
    }
}

impl Oracle {
    /// The mirror reports a set.
    pub fn applied(&mut self, version: SetVersion) {
        if mark(version) <= mark(self.rights.applied) {
            let what = format!("generation {} after {}", version.generation, self.rights.applied.generation);
            self.fail(Invariant::GenerationRises, what);
        }
        self.rights.applied = version;
    }

    /// The doors are handed a set.
    pub fn set_in_force(&mut self, version: SetVersion) {
        if mark(version) < mark(self.rights.in_force) {
            let what = format!("the doors go from {} to {}", self.rights.in_force.generation, version.generation);
            self.fail(Invariant::GenerationRises, what);
        }
        self.rights.in_force = version;
    }

    pub(super) fn rights_of_doors(&mut self, version: SetVersion) {
        self.rights.in_force = version;
        self.rights.card = None;
        self.rights.stopping = false;
    }

    pub(super) fn rights_stop(&mut self) {
        self.rights.stopping = true;
    }
}
