//! One node's mirror on its simulated disk, with the time that it is told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use latchd::{
    domain::{
        card_format::CardTokens,
        ids::DoorIx,
        permission::{Permissions, SetVersion},
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::mirror::{
        Ignored, Mirror, MirrorConfig, MirrorInput, MirrorOpened, MirrorOutput, OpenError, RootAttest, Wanted,
    },
};
use latchd_sim::disk::{
    SimDisk,
    copy::{Fuse, FusedKv, MemCopy},
};

use crate::cloud::{AUDIENCE, Cloud, id, token};

pub struct Node {
    pub disk: SimDisk,
    pub copy: MemCopy,
    pub fuse: Fuse,
    attest: RootAttest,
    pub mirror: Mirror<FusedKv, MemCopy>,
    pub opened: MirrorOpened,
    pub permissions: Arc<Permissions>,
    pub now: Now,
}

type Opened = (Mirror<FusedKv, MemCopy>, MirrorOpened);

fn open(disk: &SimDisk, copy: &MemCopy, fuse: &Fuse, attest: &RootAttest, now: Now) -> Result<Opened, OpenError> {
    let config = MirrorConfig {
        audience: AUDIENCE.into(),
        topology: latchd::domain::topology::Topology::of_doors(&[id("front")]),
        zone: jiff::tz::TimeZone::UTC,
        seed: 7,
    };
    let kv = FusedKv { kv: disk.open(), fuse: fuse.clone() };
    Mirror::open(kv, copy.clone(), Arc::new(attest.clone()), config, now)
}

impl Node {
    /// A node that has just been installed: keys in force, link up.
    pub fn new(cloud: &Cloud) -> Node {
        let mut node = Node::without_keys(cloud);
        node.give(cloud.keys());
        node
    }

    pub fn without_keys(cloud: &Cloud) -> Node {
        let now = Now { mono: Mono::ZERO, wall: Wall::from_millis(1_790_000_000_000), trust: ClockTrust::Trusted };
        let (disk, copy, attest) = (SimDisk::new(), MemCopy::default(), cloud.attest());
        let fuse = copy.fuse.clone();
        let (mirror, opened) = open(&disk, &copy, &fuse, &attest, now).unwrap();
        let permissions = opened.permissions.clone();
        Node { disk, copy, fuse, attest, mirror, opened, permissions, now }
    }

    /// A node whose set is the cloud's.
    pub fn synced(cloud: &Cloud) -> Node {
        let mut node = Node::new(cloud);
        node.converge(cloud);
        node
    }

    pub fn give(&mut self, input: MirrorInput) -> Vec<MirrorOutput> {
        let out = self.mirror.handle(self.now, input);
        for output in &out {
            if let MirrorOutput::Applied(applied) = output {
                let (before, after) = (self.permissions.version(), applied.version);
                assert!((after.epoch, after.generation) > (before.epoch, before.generation), "{before:?} {after:?}");
                self.permissions = applied.permissions.clone();
            }
            if let MirrorOutput::Edited(edited) = output {
                self.permissions = edited.permissions.clone();
            }
        }
        if applied(&out).last().is_some() {
            assert_eq!(Some(*self.permissions.version()), self.mirror.version());
        }
        out
    }

    pub fn wait(&mut self, duration: Duration) -> Vec<MirrorOutput> {
        self.now.mono = self.now.mono + duration;
        self.now.wall = self.now.wall + duration;
        self.give(MirrorInput::Timeout)
    }

    /// To the next deadline; `None` if there is none.
    pub fn sleep(&mut self) -> Option<Vec<MirrorOutput>> {
        let due = self.mirror.next_deadline()?;
        Some(self.wait(due.since(self.now.mono)))
    }

    /// Link up, everything answered, until nobody has anything to say.
    pub fn converge(&mut self, cloud: &Cloud) {
        let mut mail: VecDeque<MirrorInput> = [cloud.keys(), MirrorInput::LinkUp].into();
        for _ in 0..10_000 {
            match mail.pop_front() {
                Some(input) => {
                    let out = self.give(input);
                    mail.extend(requests(&out).iter().flat_map(|wanted| cloud.answer(wanted)));
                }
                None if self.mirror.version() == Some(cloud.version()) => return,
                None => match self.sleep() {
                    Some(out) => mail.extend(requests(&out).iter().flat_map(|wanted| cloud.answer(wanted))),
                    None => break,
                },
            }
        }
        panic!("held {:?}, the cloud has {:?}", self.mirror.version(), cloud.version());
    }

    pub fn version(&self) -> SetVersion {
        self.mirror.version().unwrap_or_default()
    }

    pub fn admits(&self, person: &str) -> bool {
        self.permissions.decide(&CardTokens::single(token(person)), DoorIx(0), self.now).is_granted()
    }

    /// The process ends here; of what was not synced `keep` writes are there afterwards.
    pub fn crash(&mut self, keep: impl FnOnce(usize) -> usize) -> Result<(), OpenError> {
        self.fuse.mend();
        self.disk.crash(keep);
        self.open_again()
    }

    pub fn open_again(&mut self) -> Result<(), OpenError> {
        let (mirror, opened) = open(&self.disk, &self.copy, &self.fuse, &self.attest, self.now)?;
        self.permissions = opened.permissions.clone();
        (self.mirror, self.opened) = (mirror, opened);
        Ok(())
    }

    /// The store is set aside, as its adapter does with one that is damaged.
    pub fn set_aside(&mut self) {
        self.disk = SimDisk::new();
        self.open_again().unwrap();
    }
}

pub fn requests(out: &[MirrorOutput]) -> Vec<Wanted> {
    out.iter()
        .filter_map(|output| match output {
            MirrorOutput::Request(wanted) => Some(wanted.clone()),
            _ => None,
        })
        .collect()
}

pub fn applied(out: &[MirrorOutput]) -> Vec<u64> {
    out.iter()
        .filter_map(|output| match output {
            MirrorOutput::Applied(applied) => Some(applied.version.generation),
            _ => None,
        })
        .collect()
}

pub fn refusals(out: &[MirrorOutput]) -> Vec<String> {
    out.iter()
        .flat_map(|output| match output {
            MirrorOutput::Refused(refused) => refused.reasons.clone(),
            _ => Vec::new(),
        })
        .collect()
}

pub fn is_ignored(out: &[MirrorOutput], why: Ignored) -> bool {
    matches!(out, [MirrorOutput::Ignored(found)] if *found == why)
}

pub fn is_rollback(out: &[MirrorOutput]) -> bool {
    matches!(out, [MirrorOutput::RollbackRefused { .. }])
}
