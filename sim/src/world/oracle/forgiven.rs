//! Forgetting where people are, by `apb.clear`. Owns whom an operator had forgotten, and what the cloud was told of it;
//! must never ask the machine whom it knows. Invariant: just those are forgotten who were named, in the step in which
//! the command came, and stay forgotten through every crash until they enter again.

use std::collections::{BTreeMap, BTreeSet};

use latchd::{
    domain::{
        event::{Actor, EventBody},
        ids::Id,
        order::{Order, Task},
        outputs::Ticket,
    },
    gateway::controller::Step,
    wire::outcome::Stage,
};

use super::{Invariant, Oracle};

/// A person and an area that they are inside.
type Inside = (Id, Id);

#[derive(Debug, Default)]
pub struct ForgivenWatch {
    /// Delivered, and not judged yet: the command, and whom it names.
    due: Option<Due>,
    /// Who was forgotten for a command, while it has no end.
    forgotten: BTreeMap<Id, BTreeSet<Inside>>,
    /// The cloud was told so, and they have not entered since.
    promised: BTreeSet<Inside>,
}

#[derive(Clone, Debug)]
struct Due {
    ticket: Ticket,
    jti: Id,
    person: Option<Id>,
    area: Option<Id>,
}

impl Due {
    fn names(&self, (person, area): &Inside) -> bool {
        self.person.as_ref().is_none_or(|named| named == person) && self.area.as_ref().is_none_or(|named| named == area)
    }
}

impl ForgivenWatch {
    /// As it was asked, whatever it has become on its way.
    pub fn delivered(&mut self, jti: &Id, order: &Order, task: &Task) {
        if let Task::ClearApb { person, area } = task {
            let (person, area) = (person.clone(), area.clone());
            self.due = Some(Due { ticket: order.ticket, jti: jti.clone(), person, area });
        }
    }

    /// Somebody has entered: what was forgotten before says nothing of them any more.
    pub fn entered(&mut self, person: &Id, area: &Id) {
        let again = |(of, at): &Inside| of == person && at == area;
        self.promised.retain(|inside| !again(inside));
        self.forgotten.values_mut().for_each(|forgotten| forgotten.retain(|inside| !again(inside)));
    }

    /// An outcome goes to the cloud: what is done is durable.
    pub fn outcome(&mut self, jti: &Id, stage: Stage) {
        if let Some(forgotten) = self.forgotten.remove(jti).filter(|_| stage == Stage::Done) {
            self.promised.extend(forgotten);
        }
    }
}

impl Oracle {
    fn inside(&self) -> BTreeSet<Inside> {
        let of_area = |(area, people): (&Id, Vec<&Id>)| -> Vec<Inside> {
            people.into_iter().map(|person| (person.clone(), area.clone())).collect()
        };
        self.areas.inside().flat_map(of_area).collect()
    }

    /// A process has begun with what was kept.
    pub(super) fn check_forgiven_stay_so(&mut self) {
        let inside = self.inside();
        self.forgiven.due = None;
        self.forgiven.forgotten.clear();
        if let Some((person, area)) = self.forgiven.promised.iter().find(|promised| inside.contains(promised)) {
            let what = format!("{person} was forgiven, and is inside {area} again after a restart");
            self.fail(Invariant::ForgivenIsForgotten, what);
        }
    }

    /// Around the look at what a step made of people's whereabouts.
    pub(super) fn whereabouts_before(&self) -> Option<BTreeSet<Inside>> {
        self.forgiven.due.as_ref().map(|_| self.inside())
    }

    pub(super) fn check_forgiven(&mut self, before: Option<BTreeSet<Inside>>, step: &Step, events: &[&EventBody]) {
        let due = self.forgiven.due.take();
        let cleared: Vec<_> = events
            .iter()
            .filter_map(|body| match body {
                EventBody::ApbCleared { person, area, actor } => Some((person, area, actor)),
                _ => None,
            })
            .collect();
        let (Some(due), Some(before)) = (due, before) else {
            if let Some((person, area, actor)) = cleared.first() {
                let what = format!("{person:?} of {area:?} are forgiven for {actor:?}, and nobody ordered that now");
                self.fail(Invariant::ForgivenIsForgotten, what);
            }
            return;
        };
        let after = self.inside();
        let gone: BTreeSet<Inside> = before.difference(&after).cloned().collect();
        let hurt = |why: String| format!("{} forgives {:?} of {:?}: {why}", due.jti, due.person, due.area);
        let mut invariant = Invariant::ForgivenIsForgotten;
        let why = match cleared.as_slice() {
            [] if self.rights.stopping || step.reports.iter().any(|report| report.ticket == due.ticket) => {
                (!gone.is_empty()).then(|| hurt(format!("it was refused, and {gone:?} were forgotten")))
            }
            [] => Some(hurt("nothing was told".to_owned())),
            [(person, area, Actor::Operator { jti, .. })]
                if (**person == due.person) && (**area == due.area) && *jti == due.jti =>
            {
                let still = after.iter().find(|inside| due.names(inside));
                let others = gone.iter().find(|inside| !due.names(inside));
                match (still, others) {
                    (Some(still), _) => Some(hurt(format!("{still:?} is remembered"))),
                    // Where they are nobody knew before this command, either.
                    (None, Some(other)) => {
                        invariant = Invariant::NobodyPassesBack;
                        Some(hurt(format!("{other:?} is forgotten, too, and could be let in again")))
                    }
                    (None, None) => None,
                }
            }
            told => Some(hurt(format!("told was {told:?}"))),
        };
        match why {
            Some(what) => self.fail(invariant, what),
            None => drop(self.forgiven.forgotten.insert(due.jti, gone)),
        }
    }
}
