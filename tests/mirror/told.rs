//! What a set leaves no room for is told with it, whatever commit a crash comes after: mirror, uplink, ledger and the
//! next start together.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use latchd::{
    domain::{
        event::{Event, EventBody},
        ids::Id,
        permission::SetVersion,
        time::Wall,
        topology::Topology,
    },
    gateway::{
        desk::{Desk, DeskConfig, EditsAtStart},
        ledger::{Ledger, LedgerLimits, Recovered},
        opening,
        session::Session,
        step::Commit,
        uplink::{Action, Input, Uplink},
    },
    wire::keys::RootKey,
};
use latchd_sim::{
    cloud::{
        ISSUER,
        keys::{CloudKeys, signer_from},
    },
    disk::{SimDisk, SimKv},
    session::{self, MemoryLog},
};
use serde_json::json;

use crate::{
    cloud::{Cloud, delete, id, put},
    edits::{cloud_with, edit},
    world::Node,
};

const LIMITS: LedgerLimits = LedgerLimits { events_max: 1000 };

fn uplink(node: &Node) -> Uplink {
    let root = RootKey::from_jwk(CloudKeys::from_seed(1).root_jwk().as_bytes()).unwrap();
    let reconnect = (Duration::from_millis(500), Duration::from_secs(60));
    let config = session::config(Duration::from_secs(60), reconnect);
    let restored = session::never_ran(&MemoryLog::default());
    let session = Session::new(config, root, signer_from(1, 200), restored, node.now);
    let config = DeskConfig {
        boot: id("run-1"),
        issuer: ISSUER.to_owned(),
        topology: Arc::new(Topology::of_doors(&[id("front")])),
        commands_per_operator_max: 10,
        clock_skew: Duration::from_secs(5),
        on_trial: Vec::new(),
        edits: EditsAtStart::default(),
        delay_max: Duration::from_secs(3600),
        no_earlier: Wall::EPOCH,
        ledger_withheld: None,
    };
    let (desk, _) = Desk::new(config, node.permissions.clone(), Vec::new(), Wall::EPOCH, node.now);
    Uplink::new(session, desk, node.version())
}

/// An edit of the group that the next set deletes, and of one that stays.
fn edited() -> (Node, Cloud) {
    let mut cloud = cloud_with(&["ada"]);
    cloud.change(vec![put("group", "guests", json!({}))]);
    let mut node = Node::synced(&cloud);
    node.give(edit("join", "person", "eve", json!({ "groups": ["guests"] })));
    node.give(edit("stays", "person", "bob", json!({ "groups": ["staff"] })));
    (node, cloud)
}

/// All that goes to the ledger when the set that leaves no room for the edit is applied: as soon as the doors decide by
/// it, one of them tells of a grant.
fn commits(node: &mut Node, cloud: &mut Cloud) -> Vec<Commit> {
    let mut uplink = uplink(node);
    let outputs = node.give(cloud.change(vec![delete("group", "guests")]));
    let (mut commits, mut door) = (Vec::new(), 0);
    for output in outputs {
        uplink.handle(node.now, Input::Mirror(output), &mut |bytes| bytes.fill(7), &mut |action| match action {
            Action::Commit(commit) => commits.push(commit),
            Action::Permissions(permissions) => {
                let told = vec![EventBody::DoorOpened { door: id("front") }];
                commits.push(opening::commit(node.now, permissions.version(), told));
                door += 1;
            }
            _ => {}
        });
    }
    assert_eq!(door, 1, "the set is in force");
    commits
}

fn open(disk: &SimDisk) -> (Ledger<SimKv>, Recovered) {
    Ledger::open(disk.open(), id("log-1"), LIMITS).unwrap()
}

fn write(ledger: &mut Ledger<SimKv>, commit: Commit) {
    ledger.append(commit.writes).unwrap();
    let _ = ledger.sync().unwrap();
}

fn log(ledger: &Ledger<SimKv>) -> Vec<Event> {
    let sealed = ledger.reader().read(1, usize::MAX).unwrap();
    sealed.iter().map(|sealed| serde_json::from_slice(&sealed.json).unwrap()).collect()
}

/// What a start tells, as `runtime::run` does.
fn start(node: &Node, ledger: &Ledger<SimKv>) -> Commit {
    let newest = log(ledger).pop();
    let mut told = vec![EventBody::NodeStarted { boot: id("run-2"), version: "1".to_owned(), clean: false }];
    told.extend(opening::untold(newest.as_ref(), &node.version(), &node.opened));
    opening::commit(node.now, &node.version(), told)
}

/// How often the log tells that the set was applied, and the edits that it says were left no room.
fn told(ledger: &Ledger<SimKv>, set: SetVersion) -> (usize, BTreeSet<Id>) {
    let mut conflicted = BTreeSet::new();
    let mut applied = 0;
    for event in log(ledger) {
        match event.body {
            EventBody::SetApplied { .. } => applied += usize::from(event.generation == set.generation),
            EventBody::OverlayConflicted { edits } => conflicted.extend(edits.into_iter().map(|edit| edit.jti)),
            _ => {}
        }
    }
    (applied, conflicted)
}

#[test]
fn whatever_commit_a_crash_comes_after_a_set_and_the_edits_it_left_no_room_for_are_told_once() {
    let all = {
        let (mut node, mut cloud) = edited();
        commits(&mut node, &mut cloud).len()
    };
    for survived in 0..=all {
        let (mut node, mut cloud) = edited();
        let disk = SimDisk::new();
        let (mut ledger, _) = open(&disk);
        let before = SetVersion { generation: 2, ..node.version() };
        write(&mut ledger, opening::commit(node.now, &before, vec![EventBody::NodeStopping {}]));
        for commit in commits(&mut node, &mut cloud).into_iter().take(survived) {
            write(&mut ledger, commit);
        }
        disk.crash(|_| 0);
        node.crash(|_| 0).unwrap();
        // The next start, and one more: what a start tells may be cut off as well.
        for start_survived in [false, true] {
            let (mut ledger, _) = open(&disk);
            let commit = start(&node, &ledger);
            if start_survived {
                write(&mut ledger, commit);
            }
            disk.crash(|_| 0);
            node.crash(|_| 0).unwrap();
        }
        let (ledger, _) = open(&disk);
        let expected = (1, BTreeSet::from([id("join")]));
        assert_eq!(told(&ledger, node.version()), expected, "after {survived} of {all} commits");
        assert!(start(&node, &ledger).writes.len() == 1, "and it is not told again");
    }
}
