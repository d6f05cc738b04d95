//! What readers say of themselves: lost, back, cover open, supply failed, not to be trusted. Owns what was told
//! last of each; must never look at what is presented to them. Invariant: each beginning has one event, and each
//! end another, however often the node starts between them.

use super::{Controller, step::Step};
use crate::domain::{
    event::EventBody,
    ids::{Id, ReaderIx},
    kept::Standing,
    status::Thing,
    time::Now,
};

/// What a reader on a line with a panel says of itself, or shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderNews {
    Tamper(bool),
    Power {
        failed: bool,
    },
    /// Its default key is accepted for a time.
    Installing {
        uid: u32,
        minutes: u32,
    },
    /// It has a key of its own.
    KeySet,
    /// It took another address or speed.
    LineSet {
        uid: u32,
        address: u8,
        baud: u32,
    },
    /// It answered what a reader with its key does not answer.
    Distrusted(String),
}

impl Controller {
    pub(super) fn reader(&mut self, now: Now, reader: ReaderIx, lost: Option<&str>, step: &mut Step) {
        let Some(slot) = self.readers.get_mut(reader.index()) else { return };
        let was = std::mem::replace(&mut slot.lost, lost.is_some());
        let id = slot.binding.id.clone();
        let from_before = !was && self.standing.is_from_before(&Standing::ReaderLost { reader: id.clone() });
        if was == lost.is_some() && !(from_before && lost.is_none()) {
            return;
        }
        step.name(Thing::Reader(reader));
        let reader = id;
        let body = match lost {
            Some(detail) => EventBody::ReaderLost { reader, detail: detail.to_owned() },
            None => EventBody::ReaderRestored { reader },
        };
        self.record(now, body, step);
    }

    pub(super) fn reader_news(&mut self, now: Now, reader: ReaderIx, news: ReaderNews, step: &mut Step) {
        let Some(slot) = self.readers.get_mut(reader.index()) else { return };
        let id = slot.binding.id.clone();
        let (was, active, input) = match &news {
            ReaderNews::Distrusted(detail) => {
                let body = EventBody::ReaderDistrusted { reader: id, detail: detail.clone() };
                return self.record(now, body, step);
            }
            ReaderNews::Installing { uid, minutes } => {
                let body = EventBody::ReaderInstallBegan { reader: id, uid: *uid, minutes: *minutes };
                return self.record(now, body, step);
            }
            ReaderNews::LineSet { uid, address, baud } => {
                let body = EventBody::ReaderLineSet { reader: id, uid: *uid, address: *address, baud: *baud };
                return self.record(now, body, step);
            }
            ReaderNews::KeySet => return self.record(now, EventBody::ReaderKeySet { reader: id }, step),
            ReaderNews::Tamper(active) => (std::mem::replace(&mut slot.tamper, *active), *active, part(&id, "tamper")),
            ReaderNews::Power { failed } => {
                (std::mem::replace(&mut slot.power_failed, *failed), *failed, part(&id, "power"))
            }
        };
        // What began in an earlier run and is over has its end told, too.
        let ended = !active && self.standing.is_from_before(&Standing::InputActive { input: input.clone() });
        if was == active && !ended {
            return;
        }
        let (door, reader) = (None, Some(id));
        self.record(
            now,
            match (news, active) {
                (ReaderNews::Power { .. }, true) => EventBody::PowerLost { input },
                (ReaderNews::Power { .. }, false) => EventBody::PowerRestored { input },
                (_, true) => EventBody::TamperActivated { input, door, reader },
                (_, false) => EventBody::TamperCleared { input, door, reader },
            },
            step,
        );
    }
}

/// `READER.tamper`; the reader's own name where that is too long for one.
fn part(reader: &Id, what: &str) -> Id {
    Id::new(&format!("{reader}.{what}")).unwrap_or_else(|_| reader.clone())
}
