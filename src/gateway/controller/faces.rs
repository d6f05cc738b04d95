//! The machine of what readers show: the door's state, and what was decided. Owns the newest indication of each
//! reader; must never decide, nor tell a reader anything itself. Invariant: what a reader shows is a function of the
//! door's status and of the latest decision at that reader.

use super::machine::{Deeds, Happening, Machine, View};
use crate::domain::{
    door::{Alarm, DoorStatus, Mode},
    event::{DenialReason, EventBody},
    ids::{DoorIx, Id},
    indication::{Face, Indication, Moment},
    time::Now,
    topology::ReaderAt,
};

#[derive(Debug, Default)]
pub struct Faces {
    /// By the readers' positions.
    shown: Vec<Indication>,
    moments: u64,
    version: u64,
}

impl Faces {
    fn start(&mut self, view: &View<'_>) {
        let face = |at: &ReaderAt| match at {
            ReaderAt::Door(door) => view.door(*door).map_or(Face::Armed, face_of),
            ReaderAt::Cab(_) | ReaderAt::Cabinet(_) => Face::Armed,
        };
        let readers = view.topology.readers.iter();
        self.shown = readers.map(|(_, at)| Indication { face: face(at), moment: None }).collect();
        self.version += 1;
    }

    fn door(&mut self, view: &View<'_>, door: DoorIx) {
        let Some(face) = view.door(door).map(face_of) else { return };
        for (shown, (_, at)) in self.shown.iter_mut().zip(&view.topology.readers) {
            if *at == ReaderAt::Door(door) && shown.face != face {
                shown.face = face;
                self.version += 1;
            }
        }
    }

    fn moment(&mut self, at: usize, moment: Moment) {
        if let Some(shown) = self.shown.get_mut(at) {
            self.moments += 1;
            shown.moment = Some((moment, self.moments));
            self.version += 1;
        }
    }

    fn decided(&mut self, view: &View<'_>, reader: Option<&Id>, moment: Moment) {
        if let Some(at) = reader.and_then(|reader| view.topology.reader(reader)) {
            self.moment(at.index(), moment);
        }
    }

    fn hear(&mut self, view: &View<'_>, event: &EventBody) {
        match event {
            EventBody::AccessGranted(granted) => self.decided(view, granted.reader.as_ref(), Moment::Granted),
            EventBody::AccessDenied(denied) => self.decided(view, denied.reader.as_ref(), Moment::Denied),
            EventBody::DoorPropWarned { door } => {
                let Some(door) = view.topology.door(door) else { return };
                let readers = view.topology.readers.iter().enumerate();
                let here: Vec<usize> =
                    readers.filter(|(_, (_, at))| *at == ReaderAt::Door(door)).map(|(at, _)| at).collect();
                here.into_iter().for_each(|at| self.moment(at, Moment::Warned));
            }
            _ => {}
        }
    }
}

fn face_of(status: &DoorStatus) -> Face {
    match (status.mode, status.alarm) {
        (Mode::LockedDown, _) => Face::LockedDown,
        (Mode::Blocked, _) => Face::Blocked,
        (Mode::Unlocked | Mode::Accessed | Mode::LockedOpen, _) => Face::Unlocked,
        (Mode::Locked, Alarm::None) => Face::Armed,
        (Mode::Locked, _) => Face::Alarm,
    }
}

impl Machine for Faces {
    fn handle(&mut self, _now: Now, view: &View<'_>, happening: Happening<'_>, _deeds: &mut Deeds) {
        match happening {
            Happening::Start(_) => self.start(view),
            Happening::Door(door) => self.door(view, door),
            Happening::Event(event) => self.hear(view, event),
            Happening::Asked(reader, DenialReason::SecondPersonRequired) => {
                self.moment(reader.index(), Moment::WaitingForSecond);
            }
            Happening::Asked(reader, _) => self.moment(reader.index(), Moment::WaitingForPin),
            _ => {}
        }
    }

    fn indications(&self) -> Option<(&[Indication], u64)> {
        Some((&self.shown, self.version))
    }
}
