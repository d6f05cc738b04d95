//! Interlocks beside the doors: tells them which is open and locks those that must wait. Must never decide
//! itself (that is `domain::interlock`). Invariant: it judges once all else has settled, so that of two doors
//! that are to open in one step the first one does.

use std::sync::Arc;

use super::machine::{Deeds, Happening, Machine, View};
use crate::domain::{
    door::{DoorInput, Override},
    event::Actor,
    ids::DoorIx,
    interlock::{Interlocks, Openness},
    permission::SiteRecords,
    time::Now,
};

#[derive(Debug, Default)]
pub struct InterlockMachine {
    interlocks: Interlocks,
    site: Option<Arc<SiteRecords>>,
}

impl InterlockMachine {
    fn plan(&mut self, view: &View<'_>) {
        let site = view.permissions.site();
        if self.site.as_ref().is_some_and(|known| Arc::ptr_eq(known, site)) {
            return;
        }
        self.site = Some(site.clone());
        self.interlocks.plan(site, view.topology);
        let doors: Vec<DoorIx> = self.interlocks.doors().collect();
        doors.into_iter().for_each(|door| self.see(door, view));
    }

    fn see(&mut self, door: DoorIx, view: &View<'_>) {
        if let (Some(status), Some(config)) = (view.door(door), view.door_config(door)) {
            self.interlocks.see(door, Openness::of(status, config.contact.is_some()));
        }
    }
}

impl Machine for InterlockMachine {
    fn handle(&mut self, _now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Start(_) | Happening::Permissions => self.plan(view),
            Happening::Door(door) => self.see(door, view),
            Happening::Settled => {
                for change in self.interlocks.settle() {
                    let actor = Actor::Interlock { interlock: change.interlock };
                    deeds.door(change.door, DoorInput::Override(Override::Interlock(change.blocked), actor));
                }
            }
            _ => {}
        }
    }
}
