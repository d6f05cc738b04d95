//! What people and operators do, at random. Owns the commands that were sent, for sending them again; must
//! never know how they went.

use std::time::Duration;

use latchd::domain::ids::Id;

use super::{
    What, World,
    field::FieldEvent,
    oracle::Asked,
    set::{
        GUESTS,
        names::{PERSONS, card_of, emergency_card_of, guest_card_of},
    },
    site::{CAB, id},
};
use crate::cloud::{Outgoing, Wish};

/// Commands that may be sent again.
const REMEMBERED: usize = 40;

pub struct Life {
    pub seed: u64,
    pub sent: Vec<(Id, Outgoing)>,
    /// Subscriptions to live events, and whose they are.
    pub watching: Vec<(Id, &'static str)>,
    boots: Vec<Id>,
    /// Mean time between two acts.
    pace_ms: u64,
}

impl Life {
    pub fn new(seed: u64) -> Life {
        Life { seed, sent: Vec::new(), watching: Vec::new(), boots: Vec::new(), pace_ms: 30 + seed % 5 * 40 }
    }

    /// The id of a command by its bytes.
    pub fn name_of(&self, payload: &[u8]) -> Option<Id> {
        self.sent.iter().find(|(_, sent)| sent.payload == payload).map(|(jti, _)| jti.clone())
    }
}

impl World {
    pub(super) fn act(&mut self) {
        if self.healing {
            return;
        }
        match self.rng.below(174) {
            0..35 => self.present_card(),
            35..42 => self.press_exit(),
            42..44 => self.set_fire(),
            44..76 => self.command(),
            76..84 => self.repeat_command(),
            84..94 => self.edit_set(),
            94 => self.renew_keys(),
            95 => {
                let open = self.rng.millis(100, 3_000);
                self.post(Duration::ZERO, What::Field(FieldEvent::Tamper(true)));
                self.post(open, What::Field(FieldEvent::Tamper(false)));
            }
            96 => {
                let door = self.rng.index(self.site.doors.len());
                self.swing(door);
            }
            97..100 => self.odd_command(),
            100..118 => self.visit_pad(),
            118..127 => self.visit_lift(),
            127..140 => self.visit_lockers(),
            140..150 => self.edit_by_command(),
            153..159 => self.configure(),
            159..162 => self.watch(),
            162..169 => self.look_after(),
            169..174 => self.list_records(),
            _ => self.query_reports(),
        }
        let pause = Duration::from_millis(self.rng.below(self.life.pace_ms * 2) + 1);
        self.post(pause, What::Act);
    }

    fn present_card(&mut self) {
        // The front door leads into the hall, where people are counted.
        let reader = if self.rng.permille(300) { 0 } else { self.rng.index(CAB) };
        let (reader, card) = match self.rng.below(100) {
            0..10 => (reader, emergency_card_of(0)),
            10..28 => (0, guest_card_of(self.rng.below(GUESTS))),
            _ => (reader, card_of(self.rng.below(PERSONS + 1))),
        };
        self.present(reader, card);
    }

    fn press_exit(&mut self) {
        let with_button: Vec<usize> =
            (0..self.site.doors.len()).filter(|door| self.site.doors[*door].rex.is_some()).collect();
        let door = with_button[self.rng.index(with_button.len())];
        let pressed = self.rng.millis(20, 1_500);
        self.post(Duration::ZERO, What::Field(FieldEvent::Rex(door, true)));
        self.post(pressed, What::Field(FieldEvent::Rex(door, false)));
    }

    fn set_fire(&mut self) {
        let board = if self.rng.permille(500) { 0 } else { 2 };
        let burns = self.rng.millis(100, 6_000);
        self.post(Duration::ZERO, What::Field(FieldEvent::Fire(board, true)));
        self.post(burns, What::Field(FieldEvent::Fire(board, false)));
    }

    fn command(&mut self) {
        let (wish, asked) = self.wish();
        self.issue(&wish, asked, false);
    }

    /// What somebody at a desk does all day: whom to let in again, which alarm was seen.
    fn look_after(&mut self) {
        let (wish, asked) = self.desk_wish();
        self.issue(&wish, asked, false);
    }

    fn issue(&mut self, wish: &Wish, asked: Asked, retain: bool) {
        let wall = self.wall();
        let (jti, mut message) = self.cloud.command(wall, wish);
        message.retain = retain;
        self.line(format_args!("cloud: {} {} {jti} {:?}", wish.cmd, wish.args, wish.lifetime));
        self.count("commands");
        self.oracle.asked(jti.clone(), asked);
        self.remember_boot();
        self.send_command(jti, message);
    }

    pub(super) fn send_command(&mut self, jti: Id, message: Outgoing) {
        if self.life.sent.len() >= REMEMBERED {
            self.life.sent.remove(0);
        }
        self.life.sent.push((jti, message.clone()));
        self.cloud_sends(message);
    }

    fn remember_boot(&mut self) {
        if let Some(status) = &self.cloud.status
            && self.life.boots.last() != Some(&status.boot)
        {
            self.life.boots.push(status.boot.clone());
        }
    }

    /// The same bytes again: a cloud that is unsure, or a broker that is not honest.
    fn repeat_command(&mut self) {
        if self.life.sent.is_empty() {
            return;
        }
        let recent = self.life.sent.len().min(if self.rng.permille(700) { 3 } else { REMEMBERED });
        let at = self.life.sent.len() - 1 - self.rng.index(recent);
        let (jti, message) = self.life.sent[at].clone();
        self.line(format_args!("cloud: repeats {jti}"));
        self.count("repeats");
        self.cloud_sends(Outgoing { retain: false, ..message });
    }

    /// A new key set under the root key; seldom with a new epoch, as after a restore of the cloud.
    fn renew_keys(&mut self) {
        self.cloud.keys_version += 1;
        if self.rng.permille(250) {
            self.cloud.epoch += 1;
            self.count("epochs");
        }
        let (version, epoch) = (self.cloud.keys_version, self.cloud.epoch);
        self.line(format_args!("cloud: keys {version}, epoch {epoch}"));
        self.count("key sets");
        let keys = self.cloud.key_set(self.wall());
        self.cloud_sends(keys);
    }

    fn odd_command(&mut self) {
        let (mut wish, asked) = self.wish();
        match self.rng.below(4) {
            0 => {
                let (wish, asked) = self.cancel_wish();
                self.issue(&wish, asked, false);
            }
            // For an earlier run of the daemon.
            1 => {
                wish.boot = Some(self.life.boots.first().cloned().unwrap_or_else(|| id("never")));
                self.issue(&wish, asked, false);
            }
            // Retained by mistake.
            2 => self.issue(&wish, asked, true),
            // Other bytes under a known id: whichever comes first counts, the other is a conflict.
            _ => {
                let Some((jti, _)) = self.life.sent.last() else { return };
                wish.jti = Some(jti.clone());
                let wall = self.wall();
                let (jti, message) = self.cloud.command(wall, &wish);
                self.line(format_args!("cloud: other bytes under {jti}"));
                self.oracle.asked(jti.clone(), asked);
                self.send_command(jti, message);
            }
        }
    }
}
