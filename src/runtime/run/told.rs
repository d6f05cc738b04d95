//! What the start of a run has to tell: that it began, what became of the stores, which set is in force. Owns that
//! nothing of it is left out; must never tell twice of a set that the log knows of. Invariant: `node.started` comes
//! first, in every run.

use super::{
    ledger::{LEDGER, LedgerAtStart},
    stores::Opening,
};
use crate::{
    adapters::store::SledKv,
    domain::{
        event::{Event, EventBody},
        ids::Id,
        permission::SetVersion,
        time::Wall,
    },
    gateway::{
        ledger::{EventReader, Note, Recovered},
        mirror::{Copy, MirrorOpened, Source},
        opening, uplink,
    },
};

/// What is told, in order.
pub(super) struct Told {
    pub(super) events: Vec<EventBody>,
    /// The log may not know of the set in force, which was issued then.
    pub(super) untold_set: Option<Wall>,
}

impl Opening {
    pub(super) fn told(
        &self,
        ledger: &LedgerAtStart,
        opened: &MirrorOpened,
        set: &SetVersion,
        boot: &Id,
        was_without_ledger: bool,
    ) -> Told {
        let mut events = self.of_the_stores(&ledger.recovered, opened, boot);
        events.extend(opening::ledger_told(was_without_ledger, ledger.withheld.as_deref()));
        let newest = newest(&ledger.events, ledger.recovered.head.seq);
        let untold_set = opening::is_untold(newest.as_ref(), set).then_some(opened.issued_at);
        events.extend(opening::untold(newest.as_ref(), set, opened));
        Told { events, untold_set }
    }

    fn of_the_stores(&self, recovered: &Recovered, opened: &MirrorOpened, boot: &Id) -> Vec<EventBody> {
        let mut events = vec![EventBody::NodeStarted {
            boot: boot.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // A new ledger in the place of a damaged one knows nothing of the last stop.
            clean: recovered.clean && self.set_aside.iter().all(|(name, _)| *name != LEDGER),
        }];
        events.extend(self.set_aside.iter().map(|(name, set_aside)| EventBody::StorageSetAside {
            store: (*name).to_owned(),
            moved_to: set_aside.moved_to.display().to_string(),
            detail: set_aside.detail.clone(),
        }));
        let gap = |note: &Note| EventBody::LogGap { lost: note.lost, detail: note.detail.clone() };
        events.extend(recovered.notes.iter().map(gap));
        if let Some(detail) = &opened.store_failed {
            let in_force = if opened.permissions.is_present() { "the second copy's" } else { "none" };
            let detail = format!("it cannot be opened ({detail}): the set in force is {in_force}, until it can");
            events.push(EventBody::StorageFailed { store: "mirror".to_owned(), detail });
        }
        if let Source::Lost(floor) = opened.source {
            events.push(EventBody::StorageFailed {
                store: "mirror".to_owned(),
                detail: format!(
                    "the permission set (at least generation {} of epoch {}) is lost: every card but {} emergency cards is denied until the cloud sends it",
                    floor.generation,
                    floor.epoch,
                    opened.spare_cards.len()
                ),
            });
        }
        let failed = |copy: Copy, detail: &str| EventBody::StorageFailed {
            store: copy.as_str().to_owned(),
            detail: detail.to_owned(),
        };
        events.extend(opened.copies_failed.iter().map(|(copy, detail)| failed(*copy, detail)));
        if let Some(detail) = &opened.spare_damaged {
            events.push(failed(Copy::EmergencyCards, detail));
            if opened.spare_mended {
                events.push(EventBody::StorageRestored { store: Copy::EmergencyCards.as_str().to_owned() });
            }
        }
        if !opened.refused.is_empty() {
            events.push(EventBody::SetRefused {
                from_epoch: opened.version.map_or(0, |version| version.epoch),
                from_generation: opened.version.map_or(0, |version| version.generation),
                reasons: uplink::bounded(opened.refused.clone()),
            });
        }
        for note in &opened.notes {
            tracing::warn!("{note}");
        }
        events
    }
}

fn newest(events: &EventReader<SledKv>, seq: u64) -> Option<Event> {
    let sealed = events.read(seq, 1).ok()?.pop()?;
    serde_json::from_slice(&sealed.json).ok()
}
