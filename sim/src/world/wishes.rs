//! What operators ask for, at random: every command of the contract that moves something. Owns how often each is
//! asked for; must never know how it goes.

use std::time::Duration;

use latchd::domain::{
    ids::DoorIx,
    order::{DoorAction, Task},
};
use serde_json::{Value, json};

use super::{World, oracle::Asked};
use crate::cloud::Wish;

type Wished = (&'static str, Value, Task);

impl World {
    pub(super) fn wish(&mut self) -> (Wish, Asked) {
        let operator = match self.rng.below(20) {
            0 => "op-3",
            1 => "op-4",
            2 => "op-9",
            3 | 4 => "op-5",
            5..9 => "op-2",
            _ => "op-1",
        };
        let (cmd, args, task) = self.door_wish();
        let lifetime = if self.rng.permille(400) { self.rng.millis(60, 1_000) } else { self.rng.millis(1_000, 9_000) };
        let wish = Wish { lifetime, ..Wish::new(operator, cmd, args) };
        (wish, Asked { operator, task, exp: self.wall() + lifetime })
    }

    fn door_wish(&mut self) -> Wished {
        let at = self.rng.index(self.site.doors.len());
        let name = self.site.doors[at].id.to_string();
        let (cmd, args, action) = match self.rng.below(10) {
            0..2 => ("door.open", json!({ "door": name }), DoorAction::Open),
            2..5 => ("door.close", json!({ "door": name }), DoorAction::Close),
            5..9 => {
                let dwell_ms = self.rng.between(200, 5_000);
                let action = DoorAction::OpenAndClose { dwell: Some(Duration::from_millis(dwell_ms)) };
                ("door.open_and_close", json!({ "door": name, "dwell_ms": dwell_ms }), action)
            }
            _ => ("door.state.get", json!({ "door": name }), DoorAction::Report),
        };
        (cmd, args, Task::Door(DoorIx(at as u16), action))
    }
}
