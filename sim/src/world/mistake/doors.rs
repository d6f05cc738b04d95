//! Mistakes on the way to the doors and from them: what the buses are to drive and report, what the ledger keeps. Owns
//! what is bent there; must never touch what no chosen mistake bends. Invariant: an order's first write goes through.

use latchd::{
    domain::{
        event::EventBody,
        fieldbus::BusReport,
        kept::Kept,
        outputs::{Desired, Level},
    },
    gateway::{
        controller::Lasting,
        step::{Commit, LedgerWrite},
    },
};

use super::{Mistake, Shim};
use crate::world::site::{FIRE, Site};

impl Shim {
    /// From the doors to the buses.
    pub fn desired(&mut self, site: &Site, desired: &[Desired]) -> Vec<Desired> {
        let mut handed = desired.to_vec();
        if self.is(Mistake::RelockForgotten) {
            self.last_desired.resize(handed.len(), None);
            for ((door, one), last) in site.doors.iter().zip(&mut handed).zip(&mut self.last_desired) {
                let unlocks = |desired: &Desired| desired.level == door.unlocked_level;
                match last.filter(|last| unlocks(last) && !unlocks(one) && one.order.is_none()) {
                    Some(last) => *one = Desired { order: None, ..last },
                    None => one.until = None,
                }
                *last = Some(*one);
            }
        }
        let (doors, outputs) = (site.doors.len(), site.field.outputs.len());
        let left_on = match self.mistake {
            Some(Mistake::PulseWithoutEnd) => doors..doors + outputs,
            Some(Mistake::FloorLeftEnabled) => doors + outputs..handed.len(),
            _ => 0..0,
        };
        if !left_on.is_empty() {
            self.last_desired.resize(handed.len(), None);
            for (one, last) in handed.iter_mut().zip(&mut self.last_desired).take(left_on.end).skip(left_on.start) {
                match last.filter(|last: &Desired| last.level == Level::Energised && one.order.is_none()) {
                    Some(last) => *one = Desired { order: None, until: None, ..last },
                    None => one.until = None,
                }
                *last = Some(*one);
            }
        }
        handed
    }

    /// From a bus to the doors.
    pub fn report(&mut self, site: &Site, report: BusReport) -> Option<BusReport> {
        let fire = |input: latchd::domain::ids::InputRef| {
            input.input == FIRE && site.doors.iter().any(|door| door.fire.is_some_and(|fire| fire.input == input))
        };
        let occupied = |input: latchd::domain::ids::InputRef| {
            site.compartments().any(|compartment| compartment.occupied.input == input)
        };
        match report {
            BusReport::Input { input, .. } if self.is(Mistake::KeyUnseen) && occupied(input) => None,
            BusReport::Input { input, energised: true } if self.is(Mistake::FireIgnored) && fire(input) => None,
            report => Some(report),
        }
    }

    /// From the doors to the ledger.
    pub fn commit(&mut self, commit: &mut Commit) {
        let grant = |write: &LedgerWrite| matches!(write, LedgerWrite::Event(event) if matches!(event.body, EventBody::AccessGranted { .. }));
        let denial = |write: &LedgerWrite| matches!(write, LedgerWrite::Event(event) if matches!(event.body, EventBody::AccessDenied { .. }));
        if self.is(Mistake::EventDropped) {
            commit.writes.retain(|write| !grant(write));
        }
        if self.is(Mistake::ForgivenessForgotten) {
            let cleared = |write: &LedgerWrite| matches!(write, LedgerWrite::Event(event) if matches!(event.body, EventBody::ApbCleared { .. }));
            if commit.writes.iter().any(cleared) {
                commit.writes.retain(|write| {
                    !matches!(write, LedgerWrite::Unkept(_) | LedgerWrite::Kept(Kept::Whereabouts { .. }))
                });
            }
        }
        if self.is(Mistake::EventTwice) {
            let twice: Vec<LedgerWrite> = commit.writes.iter().filter(|write| denial(write)).cloned().collect();
            commit.writes.extend(twice);
        }
    }

    /// From the disk to the doors.
    pub fn lasting(&self, mut lasting: Lasting) -> Lasting {
        if self.is(Mistake::HoldsForgotten) {
            for state in lasting.doors.values_mut() {
                (state.lockdown, state.dnd, state.force) = (None, None, None);
            }
        }
        if self.is(Mistake::WhereaboutsForgotten) {
            for kept in lasting.kept.values_mut() {
                if let Kept::Whereabouts { areas, .. } = kept {
                    areas.retain(|presence| presence.area.as_str() != "hall");
                }
            }
        }
        if self.is(Mistake::AlarmsForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::Alarm { .. }));
        }
        if self.is(Mistake::BackupCodesForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::BackupCode { .. }));
        }
        if self.is(Mistake::WrongPinsForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::WrongPins { .. }));
        }
        if self.is(Mistake::EmergencyUsesForgotten) {
            lasting.kept.retain(|_, kept| !matches!(kept, Kept::EmergencyUses { .. }));
        }
        lasting
    }
}
