//! Alarms that stand. Owns which do, learnt from the log alone, and who has seen which; must never ask the machine.
//! Invariant: an alarm stands from the event that raises it to the acknowledgement of an operator who asked for that,
//! through every crash; the same one again counts, and each acknowledgement of what stands is taken, once.

use std::collections::BTreeMap;

use latchd::domain::{
    door::Alarm,
    event::{AlarmSource, EventBody},
    ids::Id,
    kept::Kept,
    order::{DoorAction, Order, Task},
    outputs::Ticket,
};

use super::{Invariant, Oracle};
use crate::world::site::Site;

/// More of them, and a contact may flap: then not every one of its changes is told.
const TOLD_ONE_BY_ONE: u32 = 50;
const STANDING_MAX: usize = 256;

#[derive(Debug, Default)]
pub struct AlarmWatch {
    standing: Vec<Standing>,
    /// Of doors, in the present run.
    at_doors: BTreeMap<Id, AtDoor>,
    due: Option<(Ticket, Id, Seen)>,
}

#[derive(Debug, PartialEq)]
struct Standing {
    alarm: Id,
    source: AlarmSource,
    text: Option<String>,
    times: u32,
}

#[derive(Debug, Default)]
struct AtDoor {
    stands: Option<Alarm>,
    seen: bool,
    changes: u32,
}

/// What an operator has seen.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Alarm(Id),
    Door(Id),
}

impl AlarmWatch {
    /// Nobody knows any more what stood at the doors.
    pub fn doors_started(&mut self) {
        self.at_doors.clear();
        self.due = None;
    }

    /// As it was asked, whatever it has become on its way.
    pub fn delivered(&mut self, site: &Site, jti: &Id, order: &Order, task: &Task) {
        let seen = match task {
            Task::AcknowledgeAlarm { alarm } => Seen::Alarm(alarm.clone()),
            Task::Door(door, DoorAction::AcknowledgeAlarm) => Seen::Door(site.doors[door.index()].id.clone()),
            _ => return,
        };
        self.due = Some((order.ticket, jti.clone(), seen));
    }

    fn stands(&self, seen: &Seen) -> bool {
        match seen {
            Seen::Alarm(alarm) => self.standing.iter().any(|standing| standing.alarm == *alarm),
            Seen::Door(door) => self
                .at_doors
                .get(door)
                .is_some_and(|at| at.stands.is_some() && !at.seen && at.changes < TOLD_ONE_BY_ONE),
        }
    }

    /// Says what is wrong with it.
    fn hear(&mut self, body: &EventBody) -> Result<(), String> {
        match body {
            EventBody::AlarmRaised { alarm, source, text, times } => self.raised(alarm, source, text.as_ref(), *times),
            EventBody::AlarmAcknowledged { alarm, .. } => self.gone(alarm),
            EventBody::AlarmForgotten { .. } if self.standing.len() < STANDING_MAX => {
                Err(format!("there was room for all {}", self.standing.len()))
            }
            EventBody::AlarmForgotten { alarm } => self.gone(alarm),
            EventBody::AlarmEnded { alarm, .. } => Err(format!("what {alarm} stands for does not end by itself")),
            EventBody::DoorForced { door } => self.at_door(door, Some(Alarm::Forced)),
            EventBody::DoorPropWarned { door } => self.at_door(door, Some(Alarm::PropWarning)),
            EventBody::DoorPropped { door } => self.at_door(door, Some(Alarm::Propped)),
            EventBody::DoorAlarmCleared { door } => self.at_door(door, None),
            EventBody::DoorOpened { door } | EventBody::DoorClosed { door } => {
                self.at_doors.entry(door.clone()).or_default().changes += 1;
                Ok(())
            }
            EventBody::DoorAlarmAcknowledged { door, alarm, .. } => {
                let at = self.at_doors.entry(door.clone()).or_default();
                let told_all = at.changes < TOLD_ONE_BY_ONE;
                if told_all && (at.stands != Some(*alarm) || std::mem::replace(&mut at.seen, true)) {
                    return Err(format!("{alarm:?} of {door} was seen, where {at:?} stood"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn raised(&mut self, alarm: &Id, source: &AlarmSource, text: Option<&String>, times: u32) -> Result<(), String> {
        let same = |standing: &&mut Standing| standing.source == *source && standing.text.as_ref() == text;
        if let Some(known) = self.standing.iter_mut().find(same) {
            if known.alarm != *alarm || known.times + 1 != times {
                return Err(format!("{alarm} is raised {times} times, and of the same cause there stands {known:?}"));
            }
            known.times = times;
            return Ok(());
        }
        if times != 1 || self.stands(&Seen::Alarm(alarm.clone())) {
            return Err(format!("{alarm} is raised {times} times for {source:?}, of which none stands"));
        }
        let (alarm, source, text) = (alarm.clone(), source.clone(), text.cloned());
        self.standing.push(Standing { alarm, source, text, times });
        Ok(())
    }

    fn gone(&mut self, alarm: &Id) -> Result<(), String> {
        let before = self.standing.len();
        self.standing.retain(|standing| standing.alarm != *alarm);
        if self.standing.len() == before { Err(format!("no {alarm} stands")) } else { Ok(()) }
    }

    fn at_door(&mut self, door: &Id, alarm: Option<Alarm>) -> Result<(), String> {
        let at = self.at_doors.entry(door.clone()).or_default();
        (at.stands, at.seen, at.changes) = (alarm, false, at.changes + 1);
        Ok(())
    }
}

/// Who says in an event that they have seen it.
fn acknowledged(body: &EventBody) -> Option<(Option<&Id>, Seen)> {
    match body {
        EventBody::AlarmAcknowledged { alarm, actor } => Some((actor.cause(), Seen::Alarm(alarm.clone()))),
        EventBody::DoorAlarmAcknowledged { door, actor, .. } => Some((actor.cause(), Seen::Door(door.clone()))),
        _ => None,
    }
}

impl Oracle {
    /// A process begins: what stands is what the log says up to its end, and the same was kept.
    pub(super) fn check_alarms_kept<'a>(&mut self, kept: impl Iterator<Item = &'a Kept>) {
        self.alarms = AlarmWatch::default();
        let log = self.log.events();
        let wrong = log.filter_map(|event| self.alarms.hear(&event.body).err()).next();
        self.alarms.doors_started();
        let mut found: Vec<(&Id, u32)> = kept
            .filter_map(|kept| match kept {
                Kept::Alarm { alarm, times, .. } => Some((alarm, *times)),
                _ => None,
            })
            .collect();
        let mut standing: Vec<(&Id, u32)> = self.alarms.standing.iter().map(|one| (&one.alarm, one.times)).collect();
        found.sort();
        standing.sort();
        let differ =
            (found != standing).then(|| format!("by the log there stand {standing:?}, and kept are {found:?}"));
        if let Some(what) = wrong.or(differ) {
            self.fail(Invariant::AlarmsStand, what);
        }
    }

    pub(super) fn hear_alarms(&mut self, events: &[&EventBody]) {
        for body in events {
            if let Err(what) = self.alarms.hear(body) {
                return self.fail(Invariant::AlarmsStand, what);
            }
        }
    }

    /// After a step of the doors.
    pub(super) fn check_alarms(&mut self, refused: impl Fn(Ticket) -> bool, events: &[&EventBody]) {
        let due = self.alarms.due.take();
        // What comes with the order itself is heard after it.
        let stood = due.as_ref().is_some_and(|(.., seen)| self.alarms.stands(seen));
        let mut asked = due.as_ref().map(|(_, jti, seen)| (jti, seen));
        for (by, seen) in events.iter().filter_map(|body| acknowledged(body)) {
            match asked.take() {
                Some((jti, asked)) if Some(jti) == by && *asked == seen => {}
                other => {
                    let what = format!("{seen:?} is acknowledged for {by:?}, and what was asked for is {other:?}");
                    return self.fail(Invariant::AlarmsStand, what);
                }
            }
        }
        self.hear_alarms(events);
        if let (true, Some((jti, seen)), Some((ticket, ..))) = (stood, asked, &due)
            && !refused(*ticket)
        {
            let what = format!("{jti} acknowledges {seen:?}, which stands, and nothing is told");
            self.fail(Invariant::AlarmsStand, what);
        }
    }
}
