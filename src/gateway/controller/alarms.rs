//! The machine of the alarms that stand until somebody acknowledges them, or, where the configuration gives up a
//! secure default or a store cannot be opened, until that is over. Owns which stand; must never let one go silently.
//! Invariant: each alarm has one event when it is raised and one when it ends, and what stands outlives a power cut.

use std::collections::VecDeque;

use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    event::{Actor, AlarmSource, EventBody, Refusal},
    field::{Weakness, WeaknessOf},
    ids::Id,
    kept::{Kept, KeptKey},
    order::{Order, Progress, Task},
    outputs::Ticket,
    time::{Now, Wall},
};

/// Alarms that stand at a time; the oldest makes room, with an event that says so. What the configuration gives up
/// makes no room: of that there is as much as it names.
pub const STANDING_MAX: usize = 256;

#[derive(Debug)]
struct Standing {
    alarm: Id,
    source: AlarmSource,
    text: Option<String>,
    raised_at: Wall,
    times: u32,
    /// Somebody has seen it, and its cause goes on.
    acknowledged: bool,
}

#[derive(Debug, Default)]
pub struct Alarms {
    weaknesses: Vec<Weakness>,
    /// The oldest first.
    standing: VecDeque<Standing>,
    raised: u64,
}

impl Standing {
    fn kept(&self) -> Kept {
        Kept::Alarm {
            alarm: self.alarm.clone(),
            source: self.source.clone(),
            text: self.text.clone(),
            raised_at: self.raised_at,
            times: self.times,
            acknowledged: self.acknowledged,
        }
    }

    fn event(&self) -> EventBody {
        let (alarm, source, text) = (self.alarm.clone(), self.source.clone(), self.text.clone());
        EventBody::AlarmRaised { alarm, source, text, times: self.times }
    }

    /// It ends with its cause and not before.
    fn lasts(&self) -> bool {
        matches!(self.source, AlarmSource::Weakened { .. } | AlarmSource::Storage { .. })
    }

    fn is_of(&self, weakness: &Weakness) -> bool {
        self.source == weakness_source(weakness) && self.text.as_ref() == Some(&weakness.what)
    }
}

fn weakness_source(weakness: &Weakness) -> AlarmSource {
    match &weakness.of {
        WeaknessOf::Link => AlarmSource::Weakened { reader: None },
        WeaknessOf::Reader(reader) => AlarmSource::Weakened { reader: Some(reader.clone()) },
        WeaknessOf::Store(store) => AlarmSource::Storage { store: store.clone() },
    }
}

impl Alarms {
    pub fn new(weaknesses: &[Weakness]) -> Alarms {
        Alarms { weaknesses: weaknesses.to_vec(), ..Alarms::default() }
    }

    fn restore(&mut self, kept: &[Kept]) {
        for value in kept {
            if let Kept::Alarm { alarm, source, text, raised_at, times, acknowledged } = value.clone() {
                self.standing.push_back(Standing { alarm, source, text, raised_at, times, acknowledged });
            }
        }
        self.standing.make_contiguous().sort_by_key(|standing| standing.raised_at);
    }

    /// What the configuration gives up is told once, and ends with the configuration that does.
    fn weigh(&mut self, now: Now, deeds: &mut Deeds) {
        let weaknesses = std::mem::take(&mut self.weaknesses);
        self.standing.retain(|standing| {
            let goes_on = !standing.lasts() || weaknesses.iter().any(|weakness| standing.is_of(weakness));
            if !goes_on {
                let (alarm, acknowledged) = (standing.alarm.clone(), standing.acknowledged);
                deeds.push(Deed::Unkeep(KeptKey::alarm(&alarm)));
                deeds.event(EventBody::AlarmEnded { alarm, acknowledged });
            }
            goes_on
        });
        for weakness in &weaknesses {
            if !self.standing.iter().any(|standing| standing.is_of(weakness)) {
                // Of a store the start itself tells.
                if !matches!(weakness.of, WeaknessOf::Store(_)) {
                    deeds.event(EventBody::SecurityWeakened { what: weakness.what.clone() });
                }
                self.raise(now, &weakness_source(weakness), Some(&weakness.what), deeds);
            }
        }
        self.weaknesses = weaknesses;
    }

    fn raise(&mut self, now: Now, source: &AlarmSource, text: Option<&str>, deeds: &mut Deeds) {
        let same = |standing: &&mut Standing| standing.source == *source && standing.text.as_deref() == text;
        if let Some(known) = self.standing.iter_mut().find(same) {
            known.times = known.times.saturating_add(1);
            deeds.event(known.event());
            deeds.push(Deed::Keep(known.kept()));
            return;
        }
        if self.standing.len() >= STANDING_MAX
            && let Some(oldest) = self.standing.iter().position(|standing| !standing.lasts())
            && let Some(oldest) = self.standing.remove(oldest)
        {
            deeds.push(Deed::Unkeep(KeptKey::alarm(&oldest.alarm)));
            deeds.event(EventBody::AlarmForgotten { alarm: oldest.alarm });
        }
        let Some(alarm) = self.new_id(now.wall) else { return };
        let (source, text) = (source.clone(), text.map(str::to_owned));
        let new = Standing { alarm, source, text, raised_at: now.wall, times: 1, acknowledged: false };
        deeds.event(new.event());
        deeds.push(Deed::Keep(new.kept()));
        self.standing.push_back(new);
    }

    /// A name that no alarm of this or an earlier run has: a clock that went back must not give one again to
    /// another alarm while the first still stands.
    fn new_id(&mut self, now: Wall) -> Option<Id> {
        loop {
            self.raised += 1;
            let id = Id::new(&format!("alarm-{}-{}", now.as_millis(), self.raised)).ok()?;
            if self.standing.iter().all(|standing| standing.alarm != id) {
                return Some(id);
            }
        }
    }

    fn acknowledge(&mut self, ticket: Ticket, alarm: &Id, actor: Actor, deeds: &mut Deeds) {
        let Some(at) = self.standing.iter().position(|standing| standing.alarm == *alarm) else {
            let detail = format!("no alarm {alarm} stands: it was acknowledged, or never raised here");
            return deeds.push(Deed::Report(ticket, Progress::Refused(Refusal::UnknownTarget, detail)));
        };
        let known = self.standing.get_mut(at).filter(|standing| standing.lasts());
        match known {
            // It goes on: only that somebody has seen it is noted, once.
            Some(standing) if standing.acknowledged => return deeds.push(Deed::Held(ticket, Progress::Done)),
            Some(standing) => {
                standing.acknowledged = true;
                deeds.push(Deed::Keep(standing.kept()));
            }
            None => {
                self.standing.remove(at);
                deeds.push(Deed::Unkeep(KeptKey::alarm(alarm)));
            }
        }
        deeds.event(EventBody::AlarmAcknowledged { alarm: alarm.clone(), actor });
        deeds.push(Deed::Held(ticket, Progress::Done));
    }
}

impl Machine for Alarms {
    fn handle(&mut self, now: Now, _view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Start(kept) => {
                self.restore(kept);
                self.weigh(now, deeds);
            }
            Happening::Alarm(source, text) => self.raise(now, source, text, deeds),
            Happening::Event(EventBody::TamperLineFaulted { board, input, trouble, .. }) => {
                let source = AlarmSource::Line { board: board.clone(), input: input.clone(), trouble: *trouble };
                self.raise(now, &source, None, deeds);
            }
            Happening::Event(EventBody::BoardDegraded { board, detail }) => {
                self.raise(now, &AlarmSource::Board { board: board.clone() }, Some(detail), deeds);
            }
            Happening::Event(EventBody::AccessDuress { person, door, floor_group, .. }) => {
                let (person, door, floor_group) = (person.clone(), door.clone(), floor_group.clone());
                self.raise(now, &AlarmSource::Duress { person, door, floor_group }, None, deeds);
            }
            Happening::Order(Order { ticket, what: Task::RaiseAlarm { source, text }, .. }) => {
                self.raise(now, source, text.as_deref(), deeds);
                deeds.push(Deed::Report(*ticket, Progress::Done));
            }
            Happening::Order(Order { ticket, what: Task::AcknowledgeAlarm { alarm }, by, .. }) => {
                self.acknowledge(*ticket, alarm, by.clone(), deeds);
            }
            _ => {}
        }
    }
}
