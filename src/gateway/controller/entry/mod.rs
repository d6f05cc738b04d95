//! People at the readers of doors and in cabs: from a read, a key or a virtual read to the door or to a denial. Owns what
//! is asked of them and what is remembered of them; must never say yes by itself: the rules decide, the
//! fallbacks and areas restrict, and the door's mode may still refuse. Invariant: each attempt has exactly one
//! `access.granted` or `access.denied`, under the generation that decided it.
//!
//! ```text
//!   read ─▶ keypad: a key? ─▶ waiting: PIN or second person come ─┐
//!             │ a card                                           ▼
//!             └────────────────▶ decide: rules ─▶ regime ─▶ door's mode ─▶ pass: areas ─▶ grant
//!                                  │ lacks something: waiting      │           │
//!                                  └─▶ emergency card?             └──────▶ denied
//! ```
//!
//! `here` is where and when, `ask` the question to the rules, `decide` cards and PINs, `waiting` what a reader
//! waits for, `pass` the grant, `emergency` the emergency cards, `orders` what operators ask, `alone` and
//! `policies` what holds when the node is left alone.

mod alone;
mod ask;
mod decide;
mod emergency;
mod here;
mod orders;
mod pass;
mod policies;
mod waiting;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use self::{alone::Aloneness, policies::Policies};
use self::{
    here::{At, Here, Refused},
    waiting::AtReader,
};
use super::machine::{Deeds, Happening, Machine, View};
use crate::domain::{
    area::Areas,
    door::ContactState,
    event::{CardEvidence, DenialReason, EventBody},
    field::FieldConfig,
    fieldbus::CardRead,
    ids::{DoorIx, Id, ReaderIx},
    kept::Kept,
    keypad::{Frame, Keypad},
    permission::SiteRecords,
    status::{Status, Thing},
    time::{Mono, Now},
    topology::ReaderAt,
};

#[derive(Debug)]
pub struct Entry {
    keypads: BTreeMap<ReaderIx, Keypad>,
    readers: BTreeMap<ReaderIx, AtReader>,
    policies: Policies,
    areas: Areas,
    aloneness: Aloneness,
    /// What the plans were made of, and whether there was a permission set at all.
    planned: Option<(Arc<SiteRecords>, bool)>,
}

impl Entry {
    pub fn new(config: &FieldConfig) -> Entry {
        Entry {
            keypads: config.keypads.clone(),
            readers: BTreeMap::new(),
            policies: Policies::default(),
            areas: Areas::default(),
            aloneness: Aloneness::new(&[], Mono::ZERO),
            planned: None,
        }
    }

    fn start(&mut self, now: Now, view: &View<'_>, kept: &[Kept], deeds: &mut Deeds) {
        self.aloneness = Aloneness::new(kept, now.mono);
        self.areas.restore(kept, now);
        self.plan(now, view, deeds);
    }

    /// The permission set is new.
    fn plan(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        let site = view.permissions.site();
        let present = view.permissions.is_present();
        if !self.planned.as_ref().is_some_and(|(known, was)| Arc::ptr_eq(known, site) && *was == present) {
            self.planned = Some((site.clone(), present));
            self.policies = Policies::new(site, view.topology);
            if present {
                let changes = self.areas.plan(site, view.topology);
                Self::areas_changed(changes, deeds);
            }
        }
        if present {
            self.areas.sweep(now.mono);
        }
        self.aloneness.review(now, view.cloud, &self.policies, deeds);
    }

    fn here<'a>(&self, now: Now, view: &'a View<'a>, door: DoorIx, reader: Option<(ReaderIx, Id)>) -> Option<Here<'a>> {
        let (at, id, policy) = (At::Door(door), view.door_id(door)?.clone(), self.policies.at(door));
        let regime = self.aloneness.regime(now, view.cloud, &policy);
        Some(Here { now, view, at, id, reader, policy, regime })
    }

    fn at_reader<'a>(&self, now: Now, view: &'a View<'a>, reader: ReaderIx) -> Option<Here<'a>> {
        let (id, at) = view.topology.readers.get(reader.index())?;
        let reader = Some((reader, id.clone()));
        match *at {
            ReaderAt::Door(door) => self.here(now, view, door, reader),
            ReaderAt::Cab(cab) => {
                let id = view.topology.floor_groups.get(usize::from(cab))?.id.clone();
                let policy = self.policies.in_cab(cab);
                let regime = self.aloneness.regime(now, view.cloud, &policy);
                Some(Here { now, view, at: At::Cab(cab), id, reader, policy, regime })
            }
            ReaderAt::Cabinet(_) => None,
        }
    }

    fn reader(&mut self, here: &Here<'_>) -> Option<&mut AtReader> {
        Some(self.readers.entry(here.reader_ix()?).or_default())
    }

    fn keypad(&self, here: &Here<'_>) -> Keypad {
        here.reader_ix().and_then(|reader| self.keypads.get(&reader)).copied().unwrap_or_default()
    }

    fn read(&mut self, now: Now, view: &View<'_>, read: &CardRead, deeds: &mut Deeds) {
        let Some(here) = self.at_reader(now, view, read.reader) else { return };
        match self.keypad(&here).read(read.card) {
            Frame::Card => self.card(&here, &view.permissions.card_formats().read(read.card), deeds),
            Frame::Key(key) => self.key(&here, key, deeds),
            Frame::Nothing => {}
            Frame::Unreadable => {
                let bits = read.card.bits;
                let card =
                    CardEvidence { bits, raw: String::new(), formats: Vec::new(), parity_ok: false, ambiguous: false };
                here.deny(Refused::nobody(DenialReason::BadFormat), Some(card), deeds);
            }
        }
    }

    /// Ends the waits that are over, or all of them.
    fn expire(&mut self, now: Now, view: &View<'_>, all: bool, deeds: &mut Deeds) {
        let until = if all { Mono::MAX } else { now.mono };
        let over = self.readers.iter_mut().filter_map(|(ix, reader)| Some((*ix, reader.expire(until)?)));
        let over: Vec<_> = over.collect();
        for (reader, waiting) in over {
            if let Some(here) = self.at_reader(now, view, reader) {
                here.gave_up(waiting, deeds);
            }
        }
    }

    fn advance(&mut self, now: Now, view: &View<'_>, deeds: &mut Deeds) {
        self.expire(now, view, false, deeds);
        let present = view.permissions.is_present();
        let changes = self.areas.advance(now.mono, |person| !present || view.permissions.person_exists(person));
        Self::areas_changed(changes, deeds);
        if self.aloneness.next_deadline().is_some_and(|due| due <= now.mono) {
            self.aloneness.review(now, view.cloud, &self.policies, deeds);
        }
    }

    fn hear(&mut self, now: Now, view: &View<'_>, event: &EventBody, deeds: &mut Deeds) {
        match event {
            EventBody::DoorOpened { door } => {
                if let Some(door) = view.topology.door(door).filter(|door| self.areas.expects(*door)) {
                    self.passed(now, door, deeds);
                }
            }
            EventBody::DoorNotOpened { door, actor } => {
                if let Some(door) = view.topology.door(door) {
                    self.areas.not_opened(door, actor);
                }
            }
            _ => {}
        }
    }
}

impl Machine for Entry {
    fn handle(&mut self, now: Now, view: &View<'_>, happening: Happening<'_>, deeds: &mut Deeds) {
        match happening {
            Happening::Start(kept) => self.start(now, view, kept, deeds),
            Happening::Permissions => self.plan(now, view, deeds),
            Happening::Cloud | Happening::Clock => self.aloneness.review(now, view.cloud, &self.policies, deeds),
            Happening::Read(read) => self.read(now, view, read, deeds),
            Happening::Event(event) => self.hear(now, view, event, deeds),
            // Nobody will see it open.
            Happening::Door(door)
                if self.areas.expects(door)
                    && view.door(door).is_some_and(|status| status.contact == ContactState::Unknown) =>
            {
                self.passed(now, door, deeds);
            }
            Happening::Order(order) => self.order(now, view, order, deeds),
            Happening::Timeout => self.advance(now, view, deeds),
            Happening::Stop | Happening::Pause => self.expire(now, view, true, deeds),
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let readers = self.readers.values().filter_map(|reader| reader.deadline);
        let others = [self.areas.next_deadline(), self.aloneness.next_deadline()];
        readers.chain(others.into_iter().flatten()).min()
    }

    fn things(&self) -> Vec<Thing> {
        self.areas.ids().cloned().map(Thing::Area).collect()
    }

    fn status(&self, thing: &Thing) -> Option<Status> {
        match thing {
            Thing::Area(area) => self.areas.status(area).map(Status::Area),
            _ => None,
        }
    }
}
