//! The end of a run: every fault heals, nobody does anything any more, and all must come into order. Owns
//! what "in order" means; must never mend anything inside the node.

use std::time::Duration;

use latchd::{domain::ids::Id, gateway::desk};

use super::{
    What, World,
    faults::{Frames, Heal},
    field::FieldEvent,
    node::Phase,
    node_stores::LedgerState,
};
use crate::cloud::Outgoing;

impl World {
    pub(super) fn heal_all(&mut self) {
        self.line(format_args!("heal: everything"));
        self.healing = true;
        self.faults.frames = Frames::default();
        self.faults.crash_in = None;
        self.disks.copy.fuse.mend();
        (self.net.duplicate_permille, self.net.reorder_permille) = (0, 0);
        for board in 0..self.site.boards.len() {
            self.heal(Heal::BoardHeard(board));
            self.heal(Heal::BoardAnswers(board));
            self.heal(Heal::BoardPowered(board));
            self.field_event(FieldEvent::Fire(board, false));
        }
        self.field_event(FieldEvent::Tamper(false));
        for line in 0..self.site.buses.len() {
            self.heal(Heal::LineUp(line));
        }
        for door in 0..self.site.doors.len() {
            self.field_event(FieldEvent::Rex(door, false));
        }
        for heal in
            [Heal::BrokerUp, Heal::ClockRight, Heal::NtpBack, Heal::DiskFast, Heal::CopyWritable, Heal::CloudHears]
        {
            self.heal(heal);
        }
        self.post(Duration::from_secs(15), What::Heal(Heal::CloudAsksAgain));
    }

    /// What is not in order yet; `None`: everything is.
    pub(super) fn unsettled(&self) -> Option<String> {
        let Some(node) = &self.node else { return Some("the node is down".to_owned()) };
        if node.phase != Phase::Running {
            return Some(format!("the node is {:?}", node.phase));
        }
        if !node.uplink.session().is_connected() {
            return Some("the node is not connected".to_owned());
        }
        if node.ledger.state != LedgerState::Idle || !node.ledger.waiting.is_empty() {
            return Some(format!("the ledger is {:?}", node.ledger.state));
        }
        if let Some(what) = self.oracle.trials_unsettled() {
            return Some(what);
        }
        let backlog = node.uplink.session().backlog();
        if backlog > 0 {
            return Some(format!("{backlog} events are not acknowledged"));
        }
        let head = node.ledger.ledger.head().seq;
        let stored = self.cloud.events.last().map_or(0, |event| event.seq);
        if stored != head {
            return Some(format!("the cloud has events through {stored}, the log through {head}"));
        }
        let wanted = (self.cloud.epoch, self.cloud.set.generation, self.cloud.set.digest().0);
        let held = node.mirror.mirror.as_ref().and_then(|mirror| mirror.version()).unwrap_or_default();
        if (held.epoch, held.generation, held.digest) != wanted {
            return Some(format!("the mirror holds generation {}, the cloud {}", held.generation, wanted.1));
        }
        if node.set.0 != held {
            return Some(format!("the doors decide by generation {}", node.set.0.generation));
        }
        for (bus, of) in node.buses.iter().enumerate() {
            if !of.bus.is_settled(self.now) {
                return Some(format!("bus {bus} is not settled"));
            }
        }
        for (door, (desired, status)) in
            node.controller.desired().iter().zip(node.controller.door_statuses()).enumerate()
        {
            let board = desired.output.board.index();
            let coil = self.field.boards[board].coils[usize::from(desired.output.output)];
            let unlocked = self.is_unlocked(door);
            if coil != desired.level_at(self.now).is_energised() {
                return Some(format!("{} is not as desired: unlocked {unlocked}", status.door));
            }
            if desired.until.is_some() {
                return Some(format!("{} is unlocked for a while", status.door));
            }
            if self.cloud.doors.get(&status.door) != Some(status) {
                return Some(format!("the cloud has another state of {} than {status:?}", status.door));
            }
        }
        let online = self.cloud.online().is_some_and(|online| online.generation == wanted.1);
        if !online || self.cloud.status.as_ref().is_none_or(|status| status.boot != node.boot) {
            return Some("the cloud has an old status".to_owned());
        }
        self.untold_edit().or_else(|| self.without_end().next().map(|(jti, _)| format!("command {jti} has no end")))
    }

    /// An edit that a set left no room for, and no event in the cloud's hands says so.
    pub(super) fn untold_edit(&self) -> Option<String> {
        let of_edits = || self.cloud.events.iter().filter(|event| event.kind == "overlay.conflicted");
        let names =
            |jti: &Id| of_edits().any(|event| event.json.get("edits").is_some_and(|edits| is_about(edits, jti)));
        let untold = self.sets.edits.conflicts().find(|jti| !names(jti))?;
        Some(format!("the edit of {untold} does not stand as it was made, and nobody was told"))
    }

    /// Commands of this run that the cloud remembers and has heard no end of.
    fn without_end(&self) -> impl Iterator<Item = &(Id, Outgoing)> {
        let open = |jti: &Id| self.oracle.open_orders().any(|ordered| ordered == jti);
        let ended = |jti: &Id| self.cloud.outcomes_of(jti).any(desk::is_last);
        self.life.sent.iter().filter(move |(jti, _)| open(jti) && !ended(jti))
    }

    pub(super) fn ask_again(&mut self) {
        let again: Vec<Outgoing> = self.without_end().map(|(_, message)| message.clone()).collect();
        for message in again {
            self.cloud_sends(Outgoing { retain: false, ..message });
        }
    }
}

fn is_about(edits: &serde_json::Value, jti: &Id) -> bool {
    edits.as_array().into_iter().flatten().any(|edit| edit["jti"] == jti.as_str())
}
