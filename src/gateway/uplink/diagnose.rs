//! What the node says of itself when it is asked: figures, and why somebody is or is not let in. Owns putting an
//! answer together from what desk, set and doors know; must never decide anything. Invariant: every question that was
//! taken is answered once, also where the doors begin anew meanwhile.

use std::time::Duration;

use super::{Action, Uplink};
use crate::{
    domain::{
        event::DenialReason,
        ids::Id,
        order::{Progress, Task},
        outputs::Ticket,
        permission::{Explanation, Target},
        status::Status,
        time::{ClockTrust, Now},
        topology::ReaderAt,
    },
    gateway::{
        desk::{Errand, Figures},
        explain::{self, NotFound, Place, Question, Who},
    },
    wire::command::{CommandBody, DiagnosticsArgs, ExplainArgs},
};

impl Uplink {
    pub(super) fn figures(&self, now: Now) -> Figures {
        let (mut boards, mut readers) = (Vec::new(), Vec::new());
        for status in self.session.states() {
            match status {
                Status::Board(board) => boards.push((board.board.clone(), board.link)),
                Status::Reader(reader) => readers.push((reader.reader.clone(), reader.link)),
                _ => {}
            }
        }
        Figures {
            set: self.set,
            keys_version: self.session.keys().version(),
            staleness: self.session.staleness(now),
            gauges: self.gauges(),
            outcomes_dropped: self.session.outcomes_dropped(),
            boards,
            readers,
            explanation: None,
        }
    }

    /// Why the place itself refuses every credential, as the doors told it last.
    pub(super) fn refuses_all(&self, place: Option<&Id>) -> Option<DenialReason> {
        self.session.states().find_map(|status| match status {
            Status::Door(door) if Some(&door.door) == place => door.denies,
            Status::FloorGroup(group) if Some(&group.floor_group) == place => {
                group.lockdown.then_some(DenialReason::LockedDown)
            }
            _ => None,
        })
    }

    /// By the set in force, as the doors would decide.
    pub(super) fn explanation(
        &self,
        now: Now,
        asked: Option<&ExplainArgs>,
    ) -> Result<Option<Box<Explanation>>, NotFound> {
        let Some(ExplainArgs { door, floor_group, credential, person, emergency_card, reader: _, at }) = asked else {
            return Ok(None);
        };
        let place = match (door, floor_group) {
            (Some(door), _) => Place::Door(door),
            (None, Some(group)) => Place::FloorGroup(group),
            (None, None) => return Ok(None),
        };
        let who = match (credential, person, emergency_card) {
            (Some(credential), ..) => Who::Credential(credential),
            (_, Some(person), _) => Who::Person(person),
            (.., Some(card)) => Who::EmergencyCard(card),
            (None, None, None) => return Ok(None),
        };
        let (now, staleness) = match at {
            Some(at) => (Now { wall: *at, trust: ClockTrust::Trusted, ..now }, Some(Duration::ZERO)),
            None => (now, self.session.staleness(now)),
        };
        let emergency_uses = self.emergency_uses.as_ref();
        let question = Question { place, who, pin: None, companion: None, now, staleness, emergency_uses };
        let mut explained = explain::explain(&question, self.desk.permissions(), self.desk.topology())?;
        if let Some(reason) = at.is_none().then(|| self.refuses_all(door.as_ref().or(floor_group.as_ref()))).flatten() {
            explained = explain::refused_by_place(explained, reason);
        }
        Ok(Some(Box::new(explain::bounded(explained))))
    }

    /// What the doors are to be asked besides: of somebody who is known, at present.
    pub(super) fn examination(
        &self,
        asked: Option<&ExplainArgs>,
        explanation: &Explanation,
    ) -> Result<Option<Task>, String> {
        let Some(asked) = asked else { return Ok(None) };
        let topology = self.desk.topology();
        let place = match (&asked.door, &asked.floor_group) {
            (Some(door), _) => topology.door(door).map(Target::Door),
            (None, Some(group)) => topology.floor_group(group).map(Target::Cab),
            (None, None) => None,
        };
        let Some(place) = place else { return Ok(None) };
        if let Some(reader) = &asked.reader {
            let at = match place {
                Target::Door(door) => ReaderAt::Door(door),
                Target::Cab(cab) => ReaderAt::Cab(cab),
            };
            if !topology.readers.iter().any(|(id, of)| id == reader && *of == at) {
                return Err(format!("there is no reader {reader} at this place"));
            }
        }
        let person = explanation.answer.person.clone().filter(|_| asked.at.is_none());
        Ok(person.map(|person| Task::Examine { place, person }))
    }

    /// The doors have said their part, or nobody knows.
    pub(super) fn examined(&mut self, now: Now, ticket: Ticket, found: Option<Progress>, act: &mut dyn FnMut(Action)) {
        let Some((errand, mut explanation)) = self.examining.remove(&ticket) else { return };
        if let (
            Some(Progress::Examined(found)),
            CommandBody::NodeDiagnostics(DiagnosticsArgs { explain: Some(asked) }),
        ) = (found, &errand.body)
        {
            let is_virtual = asked.person.is_some();
            explanation = Box::new(explain::examined(*explanation, &found, asked.reader.as_ref(), is_virtual));
        }
        self.diagnose(now, *errand, Some(explanation), act);
    }

    pub(super) fn diagnose(
        &self,
        now: Now,
        errand: Errand,
        explanation: Option<Box<Explanation>>,
        act: &mut dyn FnMut(Action),
    ) {
        let figures = Some(Box::new(Figures { explanation, ..self.figures(now) }));
        act(Action::Errand(Box::new(Errand { figures, ..errand })));
    }
}
