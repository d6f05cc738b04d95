//! Things that left the configuration: what is retained of them on the broker is to be cleared, or a cloud would see a
//! door for ever that nobody has any more. Owns the list of all that ever had a state; must never forget one because it
//! was cleared once (the broker may have been away). Invariant: what the configuration has is never cleared.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    ids::Id,
    kept::{Kept, KeptKey},
    status::Status,
    topology::Topology,
};

/// Of things that are gone, so many are remembered; beyond, some stay on the broker.
const GONE_MAX: usize = 4096;

const KINDS: [&str; 5] = ["board", "door", "floor_group", "locker", "reader"];

/// What a start finds.
#[derive(Debug, Default)]
pub struct Departed {
    /// To be said in every run anew.
    pub gone: Vec<Status>,
    /// The list as it is from now on, if that is news.
    pub kept: Option<Kept>,
}

type Things = BTreeSet<(String, Id)>;

fn here(topology: &Topology) -> Things {
    let of = |kind: &str, ids: &mut dyn Iterator<Item = &Id>| -> Things {
        ids.map(|id| (kind.to_owned(), id.clone())).collect()
    };
    let mut all = of("door", &mut topology.doors.iter());
    all.extend(of("locker", &mut topology.lockers.iter().filter_map(|door| topology.door_id(*door))));
    all.extend(of("reader", &mut topology.readers.iter().map(|(id, _)| id)));
    all.extend(of("board", &mut topology.boards.iter()));
    all.extend(of("floor_group", &mut topology.floor_groups.iter().map(|group| &group.id)));
    all
}

pub fn departed(topology: &Topology, kept: &BTreeMap<KeptKey, Kept>) -> Departed {
    let known: Things = match kept.get(&KeptKey::things()) {
        Some(Kept::Things { all }) => all.iter().cloned().collect(),
        _ => Things::new(),
    };
    let here = here(topology);
    let gone: Things = known.difference(&here).take(GONE_MAX).cloned().collect();
    let cleared = |(kind, id): &(String, Id)| {
        let kind = KINDS.into_iter().find(|known| known == kind)?;
        Some(Status::Gone(kind, id.clone()))
    };
    let told = gone.iter().filter_map(cleared).collect();
    let all: Things = here.union(&gone).cloned().collect();
    let kept = (all != known).then(|| Kept::Things { all: all.into_iter().collect() });
    Departed { gone: told, kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn doors(names: &[&str]) -> Topology {
        Topology::of_doors(&names.iter().map(|name| id(name)).collect::<Vec<_>>())
    }

    /// As the disk has it after this start.
    fn after(found: &Departed, before: &BTreeMap<KeptKey, Kept>) -> BTreeMap<KeptKey, Kept> {
        let new = found.kept.clone().map(|kept| (kept.key(), kept));
        before.clone().into_iter().chain(new).collect()
    }

    #[test]
    fn a_door_that_is_gone_is_cleared_in_every_run_until_it_is_back() {
        let first = departed(&doors(&["barrier", "front"]), &BTreeMap::new());
        assert!(first.gone.is_empty() && first.kept.is_some());
        let disk = after(&first, &BTreeMap::new());
        let renamed = departed(&doors(&["front", "ramp"]), &disk);
        assert_eq!(renamed.gone, [Status::Gone("door", id("barrier"))]);
        let disk = after(&renamed, &disk);
        // The broker may have been away: it is said again, and nothing new is written.
        let again = departed(&doors(&["front", "ramp"]), &disk);
        assert_eq!((again.gone, again.kept.is_none()), (vec![Status::Gone("door", id("barrier"))], true));
        let back = departed(&doors(&["barrier", "front"]), &disk);
        assert_eq!(back.gone, [Status::Gone("door", id("ramp"))]);
    }

    #[test]
    fn every_kind_of_thing_is_cleared_under_its_own_name() {
        let full = Topology {
            readers: vec![(id("in"), crate::domain::topology::ReaderAt::Cab(0))],
            lockers: vec![crate::domain::ids::DoorIx(0)],
            boards: vec![id("b-1")],
            floor_groups: vec![crate::domain::topology::FloorGroupPlace { id: id("lift"), floors: vec![] }],
            ..doors(&["key-1"])
        };
        let disk = after(&departed(&full, &BTreeMap::new()), &BTreeMap::new());
        let gone = departed(&doors(&[]), &disk).gone;
        assert_eq!(gone.iter().map(Status::kind).collect::<Vec<_>>(), KINDS);
    }
}
