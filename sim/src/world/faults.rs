//! What goes wrong, at random. Owns which faults a seed has and when they come; must never hide one from the
//! oracle that it has to know of. Invariant: each fault that lasts has its healing posted with it.

use std::time::Duration;

use super::{What, World, node::NodeEvent, rng::Rng};
use crate::disk::{Fault as DiskFault, SimDisk};

/// What happens to frames all the time, each so often in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    pub lost_permille: u64,
    pub answer_lost_permille: u64,
    pub garbled_permille: u64,
    pub late_permille: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BoardSilent,
    BoardException,
    BoardPower,
    LineDown,
    BrokerDown,
    Cut,
    SessionLost,
    ClockStep,
    NtpGone,
    DiskSlow,
    LedgerDisk,
    MirrorDisk,
    CopyFull,
    Crash,
    CrashInMirror,
    MirrorGone,
    Stop,
    DoorsPanic,
    DoorsStall,
    CloudDeaf,
}

const KINDS: [(Kind, u64); 20] = [
    (Kind::BoardSilent, 4),
    (Kind::BoardException, 2),
    (Kind::BoardPower, 3),
    (Kind::LineDown, 3),
    (Kind::BrokerDown, 3),
    (Kind::Cut, 4),
    (Kind::SessionLost, 2),
    (Kind::ClockStep, 2),
    (Kind::NtpGone, 2),
    (Kind::DiskSlow, 2),
    (Kind::LedgerDisk, 2),
    (Kind::MirrorDisk, 2),
    (Kind::CopyFull, 1),
    (Kind::Crash, 8),
    (Kind::CrashInMirror, 2),
    (Kind::MirrorGone, 2),
    (Kind::Stop, 4),
    (Kind::DoorsPanic, 2),
    (Kind::DoorsStall, 5),
    (Kind::CloudDeaf, 2),
];

#[derive(Clone, Copy, Debug)]
pub enum Heal {
    BoardHeard(usize),
    BoardAnswers(usize),
    BoardPowered(usize),
    LineUp(usize),
    BrokerUp,
    ClockRight,
    NtpBack,
    DiskFast,
    CopyWritable,
    CloudHears,
    /// It sends again what it has heard no end of: its broker may have lost that.
    CloudAsksAgain,
}

pub struct Faults {
    pub frames: Frames,
    pub disk_slow: bool,
    /// The daemon dies after so many more events.
    pub crash_in: Option<u64>,
    kinds: Vec<(Kind, u64)>,
    pace_ms: u64,
}

impl Faults {
    /// Each seed has some faults and not others.
    pub fn of_seed(rng: &mut Rng) -> Faults {
        let mut share = |max: u64| if rng.permille(500) { rng.below(max) } else { 0 };
        let frames = Frames {
            lost_permille: share(25),
            answer_lost_permille: share(25),
            garbled_permille: share(10),
            late_permille: share(20),
        };
        let kinds = KINDS.into_iter().filter(|_| rng.permille(600)).collect();
        Faults { frames, disk_slow: false, crash_in: None, kinds, pace_ms: rng.between(300, 5_000) }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.healing {
            return;
        }
        let total: u64 = self.faults.kinds.iter().map(|(_, weight)| weight).sum();
        let mut roll = self.rng.below(total);
        let picked = self.faults.kinds.iter().find(|(_, weight)| {
            let here = roll < *weight;
            roll = roll.saturating_sub(*weight);
            here
        });
        if let Some(&(kind, _)) = picked {
            self.begin(kind);
        }
        if self.rng.permille(150) {
            self.net.duplicate_permille = [0, 50, 300][self.rng.index(3)];
            self.net.reorder_permille = [0, 50, 300][self.rng.index(3)];
        }
        let pause = Duration::from_millis(self.rng.below(self.faults.pace_ms * 2) + 1);
        self.post(pause, What::Fault);
    }

    fn begin(&mut self, kind: Kind) {
        self.line(format_args!("fault: {kind:?}"));
        self.count("faults");
        let board = self.rng.index(self.site.boards.len());
        let line = self.rng.index(self.site.buses.len());
        let heal = match kind {
            Kind::BoardSilent => {
                self.field.boards[board].silent = true;
                Some((self.rng.millis(50, 4_000), Heal::BoardHeard(board)))
            }
            Kind::BoardException => {
                self.field.boards[board].exception = Some([4, 6, 10][self.rng.index(3)]);
                Some((self.rng.millis(50, 2_500), Heal::BoardAnswers(board)))
            }
            Kind::BoardPower => {
                self.cut_power(board);
                Some((self.rng.millis(20, 3_000), Heal::BoardPowered(board)))
            }
            Kind::LineDown => {
                self.field.lines_down[line] = true;
                Some((self.rng.millis(20, 5_000), Heal::LineUp(line)))
            }
            Kind::BrokerDown => {
                let (forgets, retained) = (self.rng.permille(400), self.rng.permille(200));
                self.broker_stops(forgets, forgets && retained);
                Some((self.rng.millis(200, 25_000), Heal::BrokerUp))
            }
            Kind::Cut => {
                self.cut_connection();
                None
            }
            Kind::SessionLost => {
                self.forget_sessions();
                None
            }
            Kind::ClockStep => {
                let size = [1_000, 3_000, 60_000, 7_200_000][self.rng.index(4)];
                self.clock_offset_ms = if self.rng.permille(500) { size } else { -size };
                Some((self.rng.millis(500, 30_000), Heal::ClockRight))
            }
            Kind::NtpGone => {
                self.ntp = false;
                Some((self.rng.millis(5_000, 60_000), Heal::NtpBack))
            }
            Kind::DiskSlow => {
                self.faults.disk_slow = true;
                Some((self.rng.millis(500, 8_000), Heal::DiskFast))
            }
            Kind::LedgerDisk => {
                let faults = self.disk_faults();
                self.disks.ledger.inject(faults);
                self.disks.ledger.fail_reopen(self.rng.below(5) as u32);
                None
            }
            Kind::MirrorDisk => {
                let faults = self.disk_faults();
                self.disks.mirror.inject(faults);
                self.disks.mirror.fail_reopen(self.rng.below(4) as u32);
                None
            }
            Kind::CopyFull => {
                self.disks.copy.files().full = true;
                Some((self.rng.millis(500, 20_000), Heal::CopyWritable))
            }
            Kind::Crash => {
                self.faults.crash_in = Some(self.rng.below(120));
                None
            }
            Kind::CrashInMirror => {
                self.disks.copy.fuse.blow_after(self.rng.below(6) as u32);
                None
            }
            Kind::MirrorGone => {
                self.lose_mirror();
                let outage = self.rng.millis(2_000, 15_000);
                self.broker_stops(false, false);
                Some((outage, Heal::BrokerUp))
            }
            Kind::Stop => {
                self.post_node(Duration::ZERO, NodeEvent::Stop);
                None
            }
            Kind::DoorsPanic => {
                self.post_node(Duration::ZERO, NodeEvent::DoorsPanic);
                None
            }
            Kind::DoorsStall => {
                let stall = self.rng.millis(100, 6_000);
                let until = self.now + stall;
                if let Some(node) = self.node.as_mut() {
                    node.stalled_until = node.stalled_until.max(until);
                    self.post_node(stall, NodeEvent::DoorsResume);
                    // A loop that hung that long is restarted, or goes on where it was.
                    if self.rng.permille(500) {
                        self.post_node(stall, NodeEvent::DoorsPanic);
                    }
                }
                None
            }
            Kind::CloudDeaf => {
                self.cloud.acks = self.rng.permille(300);
                self.cloud.answers = self.rng.permille(300);
                Some((self.rng.millis(500, 20_000), Heal::CloudHears))
            }
        };
        if let Some((after, heal)) = heal {
            self.post(after, What::Heal(heal));
        }
    }

    /// The power goes, and takes the mirror's store and its second copy along: the emergency cards lie elsewhere. Now and
    /// then their copy is hurt as well.
    fn lose_mirror(&mut self) {
        self.crash("and the mirror is gone");
        self.count("mirrors lost");
        self.disks.mirror = SimDisk::new();
        let hurt = self.rng.permille(150).then(|| (self.rng.index(8), self.rng.index(4096)));
        let mut files = self.disks.copy.files();
        (files.base, files.log) = (None, Vec::new());
        if let Some((frame, byte)) = hurt
            && let Some(frames) = &mut files.emergency
            && let Some(frame) = frames.get_mut(frame)
            && let Some(byte) = frame.len().checked_sub(1).and_then(|last| frame.get_mut(byte.min(last)))
        {
            *byte ^= 1;
            self.oracle.spares_hurt();
        }
    }

    /// The one after the next few operations fails, in one of the ways in which disks fail.
    fn disk_faults(&mut self) -> Vec<Option<DiskFault>> {
        let kinds = [DiskFault::Full, DiskFault::Failed, DiskFault::FailedYetWritten];
        let mut faults = vec![None; self.rng.index(6)];
        faults.push(Some(kinds[self.rng.index(kinds.len())]));
        faults
    }

    pub(super) fn heal(&mut self, heal: Heal) {
        self.line(format_args!("heal: {heal:?}"));
        match heal {
            Heal::BoardHeard(board) => self.field.boards[board].silent = false,
            Heal::BoardAnswers(board) => self.field.boards[board].exception = None,
            Heal::BoardPowered(board) => self.field.boards[board].powered = true,
            Heal::LineUp(line) => self.field.lines_down[line] = false,
            Heal::BrokerUp => {
                if self.net.down {
                    self.broker_starts();
                }
            }
            Heal::ClockRight => self.clock_offset_ms = 0,
            Heal::NtpBack => self.ntp = true,
            Heal::DiskFast => self.faults.disk_slow = false,
            Heal::CopyWritable => self.disks.copy.files().full = false,
            Heal::CloudAsksAgain => self.ask_again(),
            Heal::CloudHears => {
                (self.cloud.acks, self.cloud.answers) = (true, true);
                if !self.net.down {
                    self.cloud_catches_up();
                }
            }
        }
    }
}
