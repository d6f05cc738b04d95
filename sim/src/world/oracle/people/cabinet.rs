//! Emergency cards at a cabinet of keys. Owns whether one may open there what is told to be opened; must never ask the
//! lockers. Invariant: there, too, one opens only when its time has come, within its scope and its uses, which are
//! counted with those of doors.

use latchd::domain::{
    event::{EventBody, Granted},
    ids::Id,
    record::Record,
    topology::ReaderAt,
};

use super::{Invariant, PeopleWatch, Scene, Violation, spot::Spot};
use crate::world::site::Site;

pub(super) fn is_at_cabinet(site: &Site, reader: Option<&Id>) -> bool {
    let cabinets = site.readers.iter().filter(|reader| matches!(reader.at, ReaderAt::Cabinet(_)));
    reader.is_some_and(|named| cabinets.into_iter().any(|cabinet| cabinet.id == *named))
}

impl PeopleWatch {
    pub(super) fn judge_cabinet<'e>(
        &mut self,
        scene: &Scene<'_>,
        events: impl Iterator<Item = &'e EventBody>,
    ) -> Result<(), Violation> {
        for body in events {
            if let EventBody::AccessGranted(granted) = body
                && let (Some(card), Some(door)) = (&granted.emergency_card, &granted.door)
                && is_at_cabinet(scene.site, granted.reader.as_ref())
            {
                self.judge_opening(scene, card, door, granted)?;
                *self.uses.entry(card.clone()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn judge_opening(&self, scene: &Scene<'_>, card: &Id, door: &Id, granted: &Granted) -> Result<(), Violation> {
        let wrong = |invariant, why: &str| {
            let what = format!("{card} opens {door} by {granted:?} on {}: {why}", scene.what);
            Err(Violation::new(invariant, what))
        };
        let at = scene.site.doors.iter().position(|known| known.id == *door).unwrap_or_default();
        if let Some((_, Some(_), false)) = scene.modes.get(at) {
            return wrong(Invariant::HeldIsShut, "nobody is let in there");
        }
        // Without a set it is the copy's, which is judged where that is lost on purpose.
        let Some(generation) = scene.generation else { return Ok(()) };
        let record = generation.records.iter().find_map(|(id, record)| match record {
            Record::EmergencyCard(body) if id == card => Some(body),
            _ => None,
        });
        let used = self.uses.get(card).copied().unwrap_or(0);
        match record {
            None => wrong(Invariant::RevokedIsDenied, "there is no such card"),
            Some(record) if record.doors.as_ref().is_some_and(|doors| !doors.contains(door)) => {
                wrong(Invariant::EmergencyLast, "it is not for this compartment")
            }
            Some(record) if record.uses_max.is_some_and(|max| used >= max) => {
                wrong(Invariant::EmergencyLast, "it is used up")
            }
            Some(_) if !self.regime(scene, Spot::Door(at)).emergency_cards => {
                wrong(Invariant::FallbackNarrows, "its time has not come")
            }
            Some(_) => Ok(()),
        }
    }
}
