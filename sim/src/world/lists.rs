//! Operators who look at the records in force. Owns which they ask for; must never know what there is. Invariant: each
//! list is asked for by a command of its own.

use serde_json::json;

use super::World;
use crate::cloud::Wish;

/// Of every kind that is somebody's, and of one that is everybody's.
const LISTS: [&str; 14] = [
    "person.list",
    "credential.list",
    "group.list",
    "access_rule.list",
    "schedule.list",
    "auto_open.list",
    "system_event.list",
    "partition.list",
    "organisation_unit.list",
    "operator.list",
    "area.list",
    "door_policy.list",
    "emergency_card.list",
    "locker_contract.list",
];

impl World {
    pub(super) fn list_records(&mut self) {
        let operator = ["op-1", "op-2", "op-3", "op-5", "op-6", "op-6", "op-7", "op-7", "op-8"][self.rng.index(9)];
        let cmd = LISTS[self.rng.index(LISTS.len())];
        let args = match self.rng.below(8) {
            0 => json!({ "limit": 3 }),
            1 if cmd == "operator.list" => json!({ "id": format!("op-{}", self.rng.between(1, 9)) }),
            2 if cmd == "partition.list" => json!({ "id": "street" }),
            _ => json!({}),
        };
        let wish = Wish { lifetime: self.rng.millis(1_000, 20_000), ..Wish::new(operator, cmd, args) };
        let wall = self.wall();
        let (jti, message) = self.cloud.command(wall, &wish);
        self.line(format_args!("cloud: {} {} by {operator} {jti}", wish.cmd, wish.args));
        self.send_command(jti, message);
    }
}
