//! Whatever is lost, repeated, reordered or interrupted: the node ends with the cloud's set, never goes
//! back, and never admits again whom it has once refused.

use std::{collections::BTreeSet, time::Duration};

use latchd::gateway::mirror::{MirrorInput, MirrorOutput, OpenError};
use proptest::prelude::*;

use crate::{
    cloud::{Cloud, dismiss, enrol, house},
    world::{Node, requests},
};

#[derive(Clone, Debug)]
enum Step {
    /// The cloud enrols so many, and publishes the delta or only keeps it.
    Enrol {
        count: u8,
        published: bool,
    },
    /// The cloud dismisses the first who is left.
    Dismiss {
        published: bool,
    },
    /// The cloud was restored from a backup.
    RaiseEpoch,
    Manifest,
    Beat,
    /// A message in flight arrives.
    Deliver {
        which: usize,
        kept: bool,
    },
    Lose {
        which: usize,
    },
    Wait {
        seconds: u8,
    },
    Link {
        up: bool,
    },
    /// The power goes at the n-th write from now.
    Fuse {
        writes: u32,
    },
    Crash {
        keep: usize,
    },
    /// The store is damaged: at the next start it is set aside.
    Damage {
        key: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..9u8, any::<bool>()).prop_map(|(count, published)| Step::Enrol { count, published }),
        4 => any::<bool>().prop_map(|published| Step::Dismiss { published }),
        1 => Just(Step::RaiseEpoch),
        4 => Just(Step::Manifest),
        2 => Just(Step::Beat),
        30 => (any::<usize>(), any::<bool>()).prop_map(|(which, kept)| Step::Deliver { which, kept }),
        3 => any::<usize>().prop_map(|which| Step::Lose { which }),
        3 => any::<u8>().prop_map(|seconds| Step::Wait { seconds }),
        1 => any::<bool>().prop_map(|up| Step::Link { up }),
        3 => (0..8u32).prop_map(|writes| Step::Fuse { writes }),
        1 => any::<usize>().prop_map(|keep| Step::Crash { keep }),
        1 => any::<usize>().prop_map(|key| Step::Damage { key }),
    ]
}

struct World {
    cloud: Cloud,
    node: Node,
    flying: Vec<MirrorInput>,
    enrolled: u32,
    dismissed: BTreeSet<String>,
    /// Dismissed people whom the node, having had the word of it, denies from then on. Within one epoch.
    refused: BTreeSet<String>,
    highest: (u64, u64),
    /// How many writes that were not synced the next crash leaves.
    keep: usize,
}

impl World {
    fn new() -> World {
        let mut cloud = Cloud::new();
        cloud.change(house());
        let mut node = Node::new(&cloud);
        node.give(MirrorInput::LinkUp);
        World {
            cloud,
            node,
            flying: Vec::new(),
            enrolled: 0,
            dismissed: BTreeSet::new(),
            refused: BTreeSet::new(),
            highest: (0, 0),
            keep: 0,
        }
    }

    fn give(&mut self, input: MirrorInput) {
        let out = self.node.give(input);
        self.after(&out);
    }

    fn after(&mut self, out: &[MirrorOutput]) {
        if self.node.fuse.is_blown() || self.node.mirror.has_failed() {
            // What the dead process would have said is never heard.
            return self.crash(self.keep);
        }
        self.check();
        for wanted in requests(out) {
            self.flying.extend(self.cloud.answer(&wanted));
        }
        assert!(self.flying.len() < 10_000);
        self.flying.truncate(200);
    }

    fn check(&mut self) {
        let version = self.node.permissions.version();
        let mark = (version.epoch, version.generation);
        if self.node.permissions.is_present() {
            assert!(mark >= self.highest, "{mark:?} after {:?}", self.highest);
            if mark.0 > self.highest.0 {
                self.refused.clear();
            }
            self.highest = mark;
        }
        for person in &self.dismissed {
            let admitted = self.node.admits(person);
            assert!(!(admitted && self.refused.contains(person)), "{person} is admitted again");
        }
        // Known to be dismissed in what is in force: from now on for ever.
        if version.epoch == self.cloud.epoch {
            let unknown: Vec<_> = self
                .cloud
                .deltas
                .iter()
                .filter(|delta| delta.to <= version.generation)
                .flat_map(|delta| &delta.ops)
                .filter_map(|op| match op {
                    latchd::wire::set::Op::Delete(name) if name.kind.as_str() == "person" => Some(name.id.to_string()),
                    _ => None,
                })
                .collect();
            self.refused.extend(unknown);
        }
    }

    fn crash(&mut self, keep: usize) {
        match self.node.crash(|unsynced| keep.checked_rem(unsynced + 1).unwrap_or(0)) {
            Ok(()) => {}
            Err(OpenError::Damaged(_)) => self.node.set_aside(),
            Err(error) => panic!("{error}"),
        }
        self.check();
        // A restarted session verifies the stored key set and hands it over, or waits for the cloud's.
        self.flying.push(self.cloud.keys());
    }

    fn publish(&mut self, document: MirrorInput, published: bool) {
        if published {
            self.flying.push(document);
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Enrol { count, published } => {
                let people: Vec<String> = (0..count).map(|n| format!("p{}", self.enrolled + u32::from(n))).collect();
                self.enrolled += u32::from(count);
                let delta = self.cloud.change(people.iter().flat_map(|person| enrol(person)).collect());
                self.publish(delta, published);
            }
            Step::Dismiss { published } => {
                let first = self.cloud.records.keys().find(|(kind, _)| kind == "person").map(|(_, id)| id.clone());
                let Some(person) = first else { return };
                let delta = self.cloud.change(dismiss(&person));
                self.dismissed.insert(person);
                self.publish(delta, published);
            }
            Step::RaiseEpoch => {
                let records = self.cloud.records.clone();
                self.cloud.raise_epoch(records);
                let keys = self.cloud.keys();
                self.flying.push(keys);
            }
            Step::Manifest => self.flying.push(self.cloud.manifest()),
            Step::Beat => self.flying.push(self.cloud.beat()),
            Step::Deliver { which, kept } => {
                let Some(index) = which.checked_rem(self.flying.len()) else { return };
                let input = if kept { self.flying[index].clone() } else { self.flying.remove(index) };
                self.give(input);
            }
            Step::Lose { which } => {
                let Some(index) = which.checked_rem(self.flying.len()) else { return };
                self.flying.remove(index);
            }
            Step::Wait { seconds } => {
                let out = self.node.wait(Duration::from_secs(seconds.into()));
                self.after(&out);
            }
            Step::Link { up } => self.give(if up { MirrorInput::LinkUp } else { MirrorInput::LinkDown }),
            Step::Fuse { writes } => self.node.fuse.blow_after(writes),
            Step::Crash { keep } => {
                self.keep = keep;
                self.crash(keep);
            }
            Step::Damage { key } => {
                let keys = self.node.disk.durable_keys();
                let Some(index) = key.checked_rem(keys.len()) else { return };
                self.node.disk.damage(&keys[index], key);
                self.crash(self.keep);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 2000, ..ProptestConfig::default() })]
    #[test]
    fn the_node_converges_and_never_goes_back(steps in proptest::collection::vec(step(), 20..200)) {
        let mut world = World::new();
        for step in steps {
            world.act(step);
        }
        world.node.fuse.mend();
        if world.node.mirror.has_failed() {
            world.crash(0);
        }
        world.node.converge(&world.cloud);
        world.check();
        for person in &world.dismissed {
            prop_assert!(!world.node.admits(person));
        }
        world.node.wait(Duration::from_secs(600));
        world.node.set_aside();
        prop_assert_eq!(world.node.mirror.version(), Some(world.cloud.version()), "{:?}", world.node.opened);
    }
}
