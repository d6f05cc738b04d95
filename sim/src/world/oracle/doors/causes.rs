//! Locks, opened by what the doors are told: fire, exit buttons, grants, openings that last. Owns when each reason begins
//! and ends; must never take one from a door's mode. Invariant: fire and exit buttons release in the same step.

use latchd::{
    domain::{
        event::{EventBody, Granted},
        fieldbus::BusReport,
        ids::InputRef,
        order::{DoorAction, Progress},
        time::Mono,
    },
    gateway::{
        controller::{Controller, Step},
        step::LedgerWrite,
    },
};

use super::{OrderWatch, WIRE_LAG};
use crate::world::{
    oracle::{Invariant, Oracle, events},
    set::names::{SLOW_PERSON, person_id},
    site::Site,
};

impl Oracle {
    pub fn doors_told(&mut self, site: &Site, now: Mono, report: &BusReport) {
        self.lockers.hear_board(site, report);
        match report {
            BusReport::Input { input, energised } => self.input(site, now, *input, Some(*energised)),
            BusReport::BoardLost { board, .. } => {
                for input in 0..4 {
                    self.input(site, now, InputRef { board: *board, input }, None);
                }
            }
            _ => {}
        }
    }

    /// `None`: nothing is known of it any more.
    fn input(&mut self, site: &Site, now: Mono, input: InputRef, energised: Option<bool>) {
        for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
            if let (Some(fire), Some(energised)) = (door.fire.filter(|fire| fire.input == input), energised) {
                watch.fire = energised == fire.active_value;
            }
            if let Some(rex) = door.rex.filter(|rex| rex.input == input && rex.releases) {
                let active = energised == Some(rex.active_value);
                if watch.rex && !active {
                    watch.rex_until = now + door.dwell;
                }
                watch.rex = active;
            }
        }
    }

    pub(in crate::world::oracle) fn learn_from_step(&mut self, site: &Site, now: Mono, step: &Step) {
        for event in events(step) {
            if let EventBody::AccessGranted(Granted { door: Some(door), person, .. }) = &event.body
                && let Some(at) = site.doors.iter().position(|config| config.id == *door)
            {
                let slow = *person == Some(person_id(SLOW_PERSON));
                let dwell = if slow { site.doors[at].dwell_extended } else { site.doors[at].dwell };
                let watch = &mut self.doors[at];
                watch.grant_until = watch.grant_until.max(now + dwell);
            }
        }
        for write in &step.commit.writes {
            self.door_write(site, write);
        }
        for report in &step.reports {
            for (watch, door) in self.doors.iter_mut().zip(&site.doors) {
                let Some(order) = watch.orders.iter().find(|order| order.ticket == report.ticket) else { continue };
                match (&report.progress, order.action, order.confirmed) {
                    (Progress::Actuated { .. }, DoorAction::OpenAndClose { dwell }, Some(since)) => {
                        let until = since + dwell.unwrap_or(door.dwell);
                        watch.grant_until = watch.grant_until.max(until + WIRE_LAG);
                        watch.end_order(now, report.ticket);
                    }
                    (Progress::Actuated { .. }, ..) => {}
                    _ => watch.end_order(now, report.ticket),
                }
            }
        }
    }

    /// A lasting unlocking begins with a confirmed order and ends with a close.
    pub(in crate::world::oracle) fn door_write(&mut self, site: &Site, write: &LedgerWrite) {
        let LedgerWrite::Door { door, state } = write else { return };
        let Some(at) = site.doors.iter().position(|config| config.id == *door) else { return };
        self.holds_written(site, at, state);
        let watch = &mut self.doors[at];
        let stored = state.manual_open.as_ref().and_then(|open| open.by.cause().cloned());
        let is_news = watch.stored != stored;
        watch.stored = stored;
        watch.promised.take_if(|promised| *promised != watch.stored);
        let closed = state.manual_close.is_some() && watch.closed != state.manual_close;
        watch.closed = state.manual_close.clone();
        let Some(open) = &state.manual_open else {
            watch.manual = false;
            if closed {
                watch.grant_until = Mono::ZERO;
            }
            return;
        };
        // A stop ends it for this run alone, and writes down what it made of the door.
        if watch.stopping && !is_news {
            return;
        }
        let confirmed = |order: &&OrderWatch| Some(&order.jti) == open.by.cause() && order.confirmed.is_some();
        if watch.manual || watch.orders.iter().any(|order| confirmed(&order)) {
            watch.manual = true;
            watch.orders.retain(|order| Some(&order.jti) != open.by.cause());
        } else {
            let what = format!("{door} is open for {:?}, which no board has confirmed", open.by);
            self.fail(Invariant::StrikeFalls, what);
        }
    }

    pub(in crate::world::oracle) fn check_release(
        &mut self,
        site: &Site,
        now: Mono,
        what: &str,
        controller: &Controller,
    ) {
        for ((watch, door), desired) in self.doors.iter().zip(&site.doors).zip(controller.desired()) {
            if (watch.fire || watch.rex) && desired.level_at(now) != door.unlocked_level {
                let cause = if watch.fire { "fire" } else { "REX" };
                let what = format!("{cause} at {} is known, and on {what} it is desired to be locked", door.id);
                return self.fail(Invariant::FireReleases, what);
            }
        }
    }
}
