//! Sets. Owns which generation the doors were handed; must never see a permission value, only its version.
//! Invariant: the generation never goes back, and each decision names the one in force.

use latchd::{
    domain::{
        event::{Event, EventBody},
        permission::SetVersion,
    },
    gateway::mirror::{MirrorOpened, Source},
};

use super::{Invariant, Oracle, Violation};

#[derive(Default)]
pub struct RightsWatch {
    /// Handed to the doors.
    in_force: SetVersion,
    /// Of the edits by command over it.
    revision: u64,
    /// The newest that the mirror has reported, in any run.
    applied: SetVersion,
    /// It is gone, and may come again.
    lost: bool,
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

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn applied_generation(&self) -> u64 {
        self.applied.generation
    }

    pub fn recovered(&mut self, set: SetVersion, opened: &MirrorOpened, violation: &mut Option<Violation>) {
        let floor = match opened.source {
            Source::Lost(floor) => floor,
            _ => set,
        };
        self.lost = matches!(opened.source, Source::Lost(_));
        if mark(floor) < mark(self.applied) {
            let what = format!(
                "generation {} was in force, and after the start it is {} ({:?})",
                self.applied.generation, floor.generation, opened.source
            );
            violation.get_or_insert(Violation::new(Invariant::GenerationRises, what));
        }
        self.applied = if mark(set) > mark(self.applied) { set } else { self.applied };
        self.in_force = set;
        self.revision = opened.overlay.revision;
    }
}

impl RightsWatch {
    /// Of the generation that it was decided by.
    pub fn names_its_generation(&self, event: &Event) -> Result<(), Violation> {
        let decision = matches!(event.body, EventBody::AccessGranted(_) | EventBody::AccessDenied(_));
        if !decision || event.generation == self.in_force.generation {
            return Ok(());
        }
        let what = format!(
            "{:?} names generation {}, and {} is in force",
            event.body, event.generation, self.in_force.generation
        );
        Err(Violation::new(Invariant::RevokedIsDenied, what))
    }
}

impl Oracle {
    /// The mirror reports a set.
    pub fn applied(&mut self, version: SetVersion) {
        let again = std::mem::take(&mut self.rights.lost) && mark(version) == mark(self.rights.applied);
        if mark(version) <= mark(self.rights.applied) && !again {
            let what = format!("generation {} after {}", version.generation, self.rights.applied.generation);
            self.fail(Invariant::GenerationRises, what);
        }
        self.rights.applied = version;
    }

    /// The doors are handed a set.
    pub fn set_in_force(&mut self, version: SetVersion, revision: u64) {
        if mark(version) < mark(self.rights.in_force) {
            let what = format!("the doors go from {} to {}", self.rights.in_force.generation, version.generation);
            self.fail(Invariant::GenerationRises, what);
        }
        self.rights.in_force = version;
        self.rights.revision = revision;
    }

    pub(super) fn rights_of_doors(&mut self, (version, revision): (SetVersion, u64)) {
        self.rights.in_force = version;
        self.rights.revision = revision;
        self.rights.stopping = false;
    }

    pub(super) fn rights_stop(&mut self) {
        self.rights.stopping = true;
    }
}
