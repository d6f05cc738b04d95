//! Auto open beside the doors: tells it the time and who was let in, and the doors what follows. Must never
//! decide itself (that is `domain::auto_open`). Invariant: whatever it changes at a door has its event.

use std::sync::Arc;

use super::machine::{Deed, Deeds, Happening, Machine, View};
use crate::domain::{
    auto_open::{AutoOpens, Turn},
    door::{DoorInput, Override},
    event::{Actor, EventBody},
    ids::{DoorIx, Id},
    permission::SiteRecords,
    time::Now,
};

#[derive(Debug, Default)]
pub struct AutoOpenMachine {
    auto_opens: AutoOpens,
    site: Option<Arc<SiteRecords>>,
}

impl AutoOpenMachine {
    /// Schedules and groups may have changed although the records have not.
    fn plan(&mut self, now: Now, view: &View<'_>) -> Vec<Turn> {
        let site = view.permissions.site();
        if !self.site.as_ref().is_some_and(|known| Arc::ptr_eq(known, site)) {
            self.site = Some(site.clone());
            self.auto_opens.plan(site, view.topology);
        }
        self.auto_opens.evaluate(now, view.permissions)
    }

    /// By an operator's virtual read nobody has come.
    fn granted(&mut self, now: Now, view: &View<'_>, event: &EventBody) -> Vec<Turn> {
        let EventBody::AccessGranted(granted) = event else { return Vec::new() };
        let (Some(door), Some(person), None) = (&granted.door, &granted.person, &granted.actor) else {
            return Vec::new();
        };
        let Some(door) = view.topology.door(door) else { return Vec::new() };
        self.auto_opens.granted(now, view.permissions, door, person)
    }

    fn carry_out(view: &View<'_>, turn: Turn, deeds: &mut Deeds) {
        let unlock = |door: DoorIx, on: bool, auto_open: &Id, deeds: &mut Deeds| {
            let actor = Actor::AutoOpen { auto_open: auto_open.clone() };
            deeds.door(door, DoorInput::Override(Override::AutoOpen(on), actor));
        };
        let name = |door: DoorIx| view.door_id(door).cloned();
        match turn {
            Turn::Boundary { door, at, auto_open } => {
                deeds.door(door, DoorInput::Boundary { at, actor: Actor::AutoOpen { auto_open } });
            }
            Turn::Started { door, auto_open } => {
                unlock(door, true, &auto_open, deeds);
                deeds.0.extend(name(door).map(|door| Deed::Event(EventBody::AutoOpenStarted { door, auto_open })));
            }
            Turn::Resumed { door, auto_open } => unlock(door, true, &auto_open, deeds),
            Turn::Ended { door, auto_open, why: reason } => {
                unlock(door, false, &auto_open, deeds);
                deeds
                    .0
                    .extend(name(door).map(|door| Deed::Event(EventBody::AutoOpenEnded { door, auto_open, reason })));
            }
            Turn::CameFirst { door, auto_open, person } => {
                let event = |door| EventBody::AutoOpenFirstPersonCame { door, auto_open, person };
                deeds.0.extend(name(door).map(|door| Deed::Event(event(door))));
            }
            Turn::Keep(kept) => deeds.push(Deed::Keep(kept)),
            Turn::Unkeep(key) => deeds.push(Deed::Unkeep(key)),
        }
    }
}

impl Machine for AutoOpenMachine {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        let turns = match happening {
            Happening::Start(kept) => {
                self.auto_opens.restore(kept, view.topology);
                self.plan(now, view)
            }
            Happening::Permissions => self.plan(now, view),
            Happening::Clock => self.auto_opens.evaluate(now, view.permissions),
            Happening::Timeout if self.auto_opens.next_deadline().is_some_and(|due| due <= now.mono) => {
                self.auto_opens.evaluate(now, view.permissions)
            }
            Happening::Event(event) => self.granted(now, view, event),
            _ => return,
        };
        for turn in turns {
            Self::carry_out(view, turn, deeds);
        }
    }

    fn next_deadline(&self) -> Option<crate::domain::time::Mono> {
        self.auto_opens.next_deadline()
    }
}
