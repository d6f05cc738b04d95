//! The elevator. Owns the reasons for which each floor may be enabled, learnt from grants, orders, records and from
//! what operators left behind on the disk; must never ask the elevator for its causes. Invariant: a read enables the
//! floors that its holder may choose and no other, and a floor is enabled while there is a reason and not after.

use std::{collections::BTreeMap, time::Duration};

use latchd::{
    domain::{
        event::{DenialReason, EventBody},
        ids::Id,
        kept::Kept,
        order::{FloorAction, Order, Task},
        record::{PublicFloors, Record},
        time::{ClockTrust, Mono, Now},
    },
    gateway::step::LedgerWrite,
};

use super::{Invariant, Oracle, reference::Reference};
use crate::world::{
    World,
    set::{
        Generation,
        names::{SLOW_PERSON, person_id, zone},
    },
    site::Site,
};

/// From the end of the last reason, or the beginning of the first, to the relay; its board being well.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(3);
/// What was already on its way to the wire when its reason ended.
const WIRE_LAG: Duration = Duration::from_millis(1_500);

#[derive(Debug, Default)]
pub struct LiftWatch {
    floors: BTreeMap<Id, FloorWatch>,
    lockdown: bool,
    /// An order may end it until then: nobody knows.
    clearing_until: Mono,
    stopping: bool,
}

#[derive(Debug, Default)]
struct FloorWatch {
    /// A read or an order enables it at the latest until then.
    until: Mono,
    /// An order may enable or disable it until then: nobody knows.
    unsure_until: Mono,
    /// Left behind by an operator.
    manual: Option<bool>,
    public: bool,
    wrong_since: Option<Mono>,
}

impl FloorWatch {
    /// `None`: it may be either.
    fn expected(&self, at: Mono, lockdown: bool, stopping: bool) -> Option<bool> {
        if at < self.unsure_until {
            return None;
        }
        if lockdown || stopping {
            return Some(false);
        }
        let lasting = self.manual == Some(true) || (self.manual.is_none() && self.public);
        // What a lost board ended for a while is not enabled again.
        if lasting {
            Some(true)
        } else if at < self.until {
            None
        } else {
            Some(false)
        }
    }
}

/// What the records make public now.
fn is_public(generation: &Generation, now: Now, floor: &Id) -> bool {
    let naive = Reference { records: &generation.records, zone: &zone() };
    let holds = |public: &PublicFloors| match &public.schedule {
        None => true,
        Some(schedule) => now.trust == ClockTrust::Trusted && naive.schedule_holds(schedule, now.wall),
    };
    generation.records.iter().any(|(_, record)| match record {
        Record::FloorGroup(body) => body.public.iter().any(|public| public.floors.contains(floor) && holds(public)),
        _ => false,
    })
}

impl LiftWatch {
    pub fn restarted<'a>(&mut self, site: &Site, kept: impl Iterator<Item = &'a Kept>) {
        let floor = |id: Id| (id, FloorWatch::default());
        *self = LiftWatch { floors: site.lift_place().floors.into_iter().map(floor).collect(), ..LiftWatch::default() };
        kept.for_each(|kept| self.note(kept));
    }

    fn note(&mut self, kept: &Kept) {
        let Kept::FloorGroup { state, .. } = kept else { return };
        self.lockdown = state.lockdown;
        for (id, floor) in &mut self.floors {
            floor.manual = state.manual.get(id).map(|manual| manual.open);
        }
    }

    pub fn stops(&mut self) {
        self.stopping = true;
    }

    /// Whether the doors take it or not, it may move floors for so long.
    pub fn ordered(&mut self, deadline: Mono, order: &Order) {
        if let Task::Lockdown { floor_groups, on: false, .. } = &order.what
            && !floor_groups.is_empty()
        {
            self.clearing_until = self.clearing_until.max(deadline + WIRE_LAG);
        }
        let Task::Floor { floors, action, .. } = &order.what else { return };
        let length = match action {
            FloorAction::OpenAndClose { dwell } => dwell.unwrap_or(Duration::from_secs(10)),
            FloorAction::Open | FloorAction::Close => Duration::ZERO,
        };
        for (id, floor) in &mut self.floors {
            if floors.is_empty() || floors.contains(id) {
                floor.unsure_until = floor.unsure_until.max(deadline + length + WIRE_LAG);
            }
        }
    }

    /// Who may ride where is the people's watch to say; here it is what a ride enables.
    pub fn rides<'e>(&mut self, site: &Site, now: Mono, events: impl Iterator<Item = &'e EventBody>) {
        for body in events {
            let EventBody::AccessGranted(granted) = body else { continue };
            if granted.floor_group.is_none() {
                continue;
            }
            let slow = granted.person == Some(person_id(SLOW_PERSON));
            let until = now + if slow { site.lift().enable_extended } else { site.lift().enable };
            for (_, floor) in self.floors.iter_mut().filter(|(id, _)| granted.floors.contains(id)) {
                floor.until = floor.until.max(until);
            }
        }
    }

    /// Why nobody rides, or may.
    pub fn denies(&self, at: Mono) -> Vec<Option<DenialReason>> {
        let denied = self.lockdown.then_some(DenialReason::LockedDown);
        if denied.is_some() && at < self.clearing_until { vec![denied, None] } else { vec![denied] }
    }
}

impl Oracle {
    /// What operators did, and what of it is over.
    pub(super) fn floors_kept(&mut self, writes: &[LedgerWrite]) {
        for write in writes {
            let LedgerWrite::Kept(kept @ Kept::FloorGroup { state, .. }) = write else { continue };
            // Somebody ordered it, for that floor.
            for (id, manual) in &state.manual {
                let asked = |jti: &Id| {
                    self.asked.get(jti).into_iter().flatten().any(|asked| match &asked.task {
                        Task::Floor { floors, action, .. } => {
                            let wanted = if manual.open { FloorAction::Open } else { FloorAction::Close };
                            *action == wanted && (floors.is_empty() || floors.contains(id))
                        }
                        _ => false,
                    })
                };
                if !manual.by.cause().is_some_and(asked) {
                    let what = format!("{id} is {manual:?}, which nobody ordered");
                    return self.fail(Invariant::FloorsAsGranted, what);
                }
            }
            self.lift.note(kept);
        }
    }

    /// After a step of the doors: what is public by now.
    pub(super) fn floors_after(&mut self, generation: Option<&Generation>, now: Now, writes: &[LedgerWrite]) {
        self.floors_kept(writes);
        let Some(generation) = generation else { return };
        for (id, floor) in &mut self.lift.floors {
            floor.public = is_public(generation, now, id);
        }
    }
}

impl World {
    /// After every event: what the floors' relays really are.
    pub(in crate::world) fn look_at_floors(&mut self) {
        let now = self.now;
        let down = self.node.as_ref().is_none_or(|node| node.doors_ended);
        for config in &self.site.lift().floors {
            let board = config.output.board.index();
            let coil = self.field.boards[board].coils[usize::from(config.output.output)];
            let enabled = coil == config.enabled_level.is_energised();
            let ill = self.oracle.board_is_ill(now, board);
            let lift = &mut self.oracle.lift;
            let (lockdown, stopping) = (lift.lockdown, lift.stopping);
            let clearing = lockdown && now < lift.clearing_until;
            let Some(watch) = lift.floors.get_mut(&config.id) else { continue };
            let expected = watch.expected(now, lockdown, stopping);
            if down || ill || clearing || expected.is_none_or(|expected| expected == enabled) {
                watch.wrong_since = None;
            } else if now.since(*watch.wrong_since.get_or_insert(now)) > FOLLOWS_WITHIN {
                let what = format!(
                    "{} is {}, and there is no reason for it",
                    config.id,
                    if enabled { "enabled" } else { "disabled" }
                );
                return self.oracle.fail(Invariant::FloorsAsGranted, what);
            }
        }
    }
}
