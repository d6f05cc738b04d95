//! The elevator. Owns the reasons for which each floor may be enabled, learnt from reads, orders, records and from
//! what operators left behind on the disk; must never ask the elevator for its causes. Invariant: a read enables the
//! floors that its holder may choose and no other, and a floor is enabled while there is a reason and not after.

use std::{collections::BTreeMap, time::Duration};

use latchd::{
    domain::{
        event::{DenialReason, EventBody},
        fieldbus::RawCard,
        ids::Id,
        kept::Kept,
        order::{FloorAction, Order, Task},
        permission::{Decision, Restriction},
        record::{PublicFloors, Record},
        time::{ClockTrust, Mono, Now},
        topology::{FloorGroupPlace, ReaderAt},
    },
    gateway::step::LedgerWrite,
};

use super::{
    Invariant, Oracle, Violation,
    people::Scene,
    reference::{Asked, Place, Reference},
};
use crate::world::{
    World,
    set::{
        Generation,
        names::{SLOW_PERSON, person_id, tokens_of, zone},
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

fn place(site: &Site) -> FloorGroupPlace {
    let lift = site.lift();
    FloorGroupPlace { id: lift.id.clone(), floors: lift.floors.iter().map(|floor| floor.id.clone()).collect() }
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
        *self = LiftWatch { floors: place(site).floors.into_iter().map(floor).collect(), ..LiftWatch::default() };
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

    /// A card in the cab: exactly the event that the records mean.
    pub fn judge_step<'e>(
        &mut self,
        scene: &Scene<'_>,
        card: Option<(usize, RawCard)>,
        events: impl Iterator<Item = &'e EventBody>,
        stopping: bool,
    ) -> Result<(), Violation> {
        let card = card.filter(|(reader, card)| {
            matches!(scene.site.readers[*reader].at, ReaderAt::Cab(_)) && card.bits != 4 && !stopping
        });
        let mut told = events.filter_map(Told::of);
        let Some((_, card)) = card else {
            return match told.next() {
                Some(told) => Err(wrong(scene, &format!("told {told:?}, where nobody read a card"))),
                None => Ok(()),
            };
        };
        let said = self.said(scene, card);
        let found = told.next();
        if found.as_ref() != Some(&said) || told.next().is_some() {
            let what = format!("told {found:?}, the model says {said:?}");
            let revoked = said.reason.is_some() && found.as_ref().is_some_and(|found| found.reason.is_none());
            return Err(match revoked {
                true => Violation::new(Invariant::RevokedIsDenied, format!("in the cab on {}: {what}", scene.what)),
                false => wrong(scene, &what),
            });
        }
        let Told { reason: None, person, floors, .. } = said else { return Ok(()) };
        let lift = scene.site.lift();
        let slow = person == Some(person_id(SLOW_PERSON));
        let until = scene.now.mono + if slow { lift.enable_extended } else { lift.enable };
        for (_, floor) in self.floors.iter_mut().filter(|(id, _)| floors.contains(id)) {
            floor.until = floor.until.max(until);
        }
        Ok(())
    }

    fn said(&self, scene: &Scene<'_>, card: RawCard) -> Told {
        let place = place(scene.site);
        let decision = match scene.generation {
            Some(generation) => {
                let naive = Reference { records: &generation.records, zone: &zone() };
                let (tokens, well_formed) = tokens_of(card);
                let (now, restriction) = (scene.now, Restriction::NONE);
                let asked = Asked { place: Place::Cab(&place), now, pin: None, companion: None, restriction };
                naive.answer(&tokens, well_formed, &asked)
            }
            None => return Told { reason: Some(DenialReason::StalePermissions), ..Told::default() },
        };
        match decision {
            Decision::Granted { person, credential, rule, .. } if self.lockdown => {
                let reason = Some(DenialReason::LockedDown);
                Told { reason, person: Some(person), credential, rule: Some(rule), floors: Vec::new() }
            }
            Decision::Granted { person, credential, rule, floors, .. } => {
                let floors = floors.iter().map(|floor| place.floors[floor].clone()).collect();
                Told { reason: None, person: Some(person), credential, rule: Some(rule), floors }
            }
            Decision::Denied { reason, person, credential, rule, .. } => {
                let reason = if self.lockdown { DenialReason::LockedDown } else { reason };
                Told { reason: Some(reason), person, credential, rule, floors: Vec::new() }
            }
        }
    }
}

fn wrong(scene: &Scene<'_>, what: &str) -> Violation {
    Violation::new(Invariant::FloorsAsGranted, format!("in the cab on {}: {what}", scene.what))
}

/// What an event says of a read in the cab.
#[derive(Debug, Default, PartialEq)]
struct Told {
    reason: Option<DenialReason>,
    person: Option<Id>,
    credential: Option<Id>,
    rule: Option<Id>,
    floors: Vec<Id>,
}

impl Told {
    fn of(body: &EventBody) -> Option<Told> {
        match body.clone() {
            EventBody::AccessGranted(granted) if granted.floor_group.is_some() => Some(Told {
                reason: None,
                person: granted.person,
                credential: granted.credential,
                rule: granted.rule,
                floors: granted.floors,
            }),
            EventBody::AccessDenied(denied) if denied.floor_group.is_some() => Some(Told {
                reason: Some(denied.reason),
                person: denied.person,
                credential: denied.credential,
                rule: denied.rule,
                floors: Vec::new(),
            }),
            _ => None,
        }
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
            let Some(watch) = lift.floors.get_mut(&config.id) else { continue };
            let expected = watch.expected(now, lockdown, stopping);
            if down || ill || expected.is_none_or(|expected| expected == enabled) {
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
