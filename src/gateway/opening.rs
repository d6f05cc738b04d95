//! What a start has to tell of the permission set. Owns which words of an earlier run may be missing in the log; must
//! never decide what is in force. Invariant: a set in force, and every edit by command that it left no room for, is told
//! by some run, whatever crash lies between the mirror and the log.

use super::{mirror::MirrorOpened, step::Commit, uplink::conflicted};
use crate::{
    domain::{
        event::{Event, EventBody},
        permission::SetVersion,
        time::Now,
    },
    wire::canonical::hex,
};

/// Whether the log may not know of the set in force.
pub fn is_untold(newest: Option<&Event>, set: &SetVersion) -> bool {
    newest.is_none_or(|event| (event.epoch, event.generation) < (set.epoch, set.generation))
}

/// `newest` is the last event of the log: a crash between the mirror's sync and its event leaves a set in force that no
/// event tells of, and the newest then names an older one.
pub fn untold(newest: Option<&Event>, set: &SetVersion, opened: &MirrorOpened) -> Vec<EventBody> {
    let mut told = Vec::new();
    // A log that has just begun tells of what happens from now on.
    if newest.is_some() && is_untold(newest, set) {
        told.push(EventBody::SetApplied {
            digest: hex(&set.digest),
            records: opened.records,
            unknown_kinds: opened.unknown_kinds.iter().map(ToString::to_string).collect(),
            absorbed: 0,
        });
        told.extend(conflicted(opened.conflicts_then.clone()));
    }
    told.extend(opened.edits_lost.map(|through| EventBody::OverlayLost { through }));
    told.extend(conflicted(opened.conflicts.clone()));
    told
}

/// Of the ledger, whose own failures it cannot keep: `was_without`, the run before this had none; `withheld`, this one
/// has none, and why.
pub fn ledger_told(was_without: bool, withheld: Option<&str>) -> Option<EventBody> {
    let store = "ledger".to_owned();
    match withheld {
        Some(why) => {
            let detail = format!(
                "it cannot be opened ({why}): cards, exit buttons and fire are served without it, and what would have to be kept is refused until it can"
            );
            Some(EventBody::StorageFailed { store, detail })
        }
        None => was_without.then_some(EventBody::StorageRestored { store }),
    }
}

/// Events that are durable together: a crash that left the first of a start, which names the set in force, without
/// the others would make the next start believe that all was told.
pub fn commit(now: Now, set: &SetVersion, told: Vec<EventBody>) -> Commit {
    let mut commit = Commit::default();
    for body in told {
        let (epoch, generation) = (set.epoch, set.generation);
        commit.event(Event { occurred_at: now.wall, clock: now.trust, epoch, generation, body });
    }
    commit
}
