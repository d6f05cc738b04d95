//! What operators ask for, at random: every command of the contract that moves something. Owns how often each is
//! asked for; must never know how it goes.

use std::time::Duration;

use latchd::domain::{
    door::{DelayAction, Mode},
    ids::{DoorIx, Id},
    order::{DoorAction, FloorAction, OutputAction, Switch, Task},
    record::ForceState,
    time::Wall,
};
use serde_json::{Value, json};

use super::{
    World,
    oracle::Asked,
    set::{
        PARTITIONS,
        names::{PERSONS, person_id},
    },
    site::id,
};
use crate::cloud::Wish;

type Wished = (&'static str, Value, Task);

fn asked_for(operator: &'static str, (cmd, args, task): Wished, exp: Wall, delay: Option<Duration>) -> Asked {
    let named = args.get("partition").and_then(Value::as_str);
    let partition = PARTITIONS.into_iter().find(|partition| named == Some(*partition));
    Asked { operator, cmd, partition, task, exp, delay }
}

impl World {
    pub(super) fn wish(&mut self) -> (Wish, Asked) {
        let operator = match self.rng.below(20) {
            0 => "op-3",
            1 => "op-4",
            2 => "op-9",
            3 | 4 => "op-5",
            5..8 => "op-2",
            8..11 => "op-6",
            11..13 => "op-7",
            13 => "op-8",
            _ => "op-1",
        };
        let delay = self.rng.permille(60).then(|| self.rng.millis(1, 12_000));
        let (cmd, args, task) = match (delay, self.rng.below(20)) {
            (Some(delay), _) => self.delay_wish(delay),
            (None, 0) => self.output_wish(),
            (None, 1) => self.virtual_wish(),
            (None, 2) => self.floor_wish(),
            (None, 3) => self.locker_wish(),
            (None, 4) => self.lockdown_wish(),
            _ => self.door_wish(),
        };
        let lifetime = if self.rng.permille(400) { self.rng.millis(60, 700) } else { self.rng.millis(1_000, 9_000) };
        let wish = Wish { lifetime, ..Wish::new(operator, cmd, args.clone()) };
        (wish, asked_for(operator, (cmd, args, task), self.wall() + lifetime, delay))
    }

    pub(super) fn desk_wish(&mut self) -> (Wish, Asked) {
        let operators = ["op-1", "op-1", "op-2", "op-2", "op-5", "op-3", "op-4", "op-6", "op-7"];
        let operator = operators[self.rng.index(operators.len())];
        let (cmd, args, task) = if self.rng.permille(500) { self.forgiving_wish() } else { self.acknowledging_wish() };
        let lifetime = self.rng.millis(60, 9_000);
        let wish = Wish { lifetime, ..Wish::new(operator, cmd, args.clone()) };
        (wish, asked_for(operator, (cmd, args, task), self.wall() + lifetime, None))
    }

    fn door_wish(&mut self) -> Wished {
        let at = self.rng.index(self.site.doors.len());
        let id = self.site.doors[at].id.clone();
        // As the cloud believes, which may be wrong by now.
        let expect = self.cloud.doors.get(&id).map_or(Mode::Locked, |status| status.mode);
        let (cmd, args, action) = match self.rng.below(24) {
            0..4 => ("door.open", json!({ "door": id }), DoorAction::Open),
            4..8 => ("door.close", json!({ "door": id }), DoorAction::Close),
            8..16 => {
                let dwell_ms = self.rng.between(200, 5_000);
                let action = DoorAction::OpenAndClose { dwell: Some(Duration::from_millis(dwell_ms)) };
                ("door.open_and_close", json!({ "door": id, "dwell_ms": dwell_ms }), action)
            }
            16..18 => ("door.state.get", json!({ "door": id }), DoorAction::Report),
            18 | 19 => self.dnd(&id, expect),
            20 | 21 => self.force(&id, expect),
            _ => return self.lockdown_wish(),
        };
        (cmd, args, Task::Door(DoorIx(at as u16), action))
    }

    fn delay_wish(&mut self, delay: Duration) -> Wished {
        let at = self.rng.index(self.site.doors.len());
        let door = self.site.doors[at].id.clone();
        let (cmd, action) = if self.rng.permille(600) {
            ("door.open_with_delay", DelayAction::Open)
        } else {
            ("door.close_with_delay", DelayAction::Close)
        };
        let args = json!({ "door": door, "delay_ms": delay.as_millis() as u64 });
        (cmd, args, Task::Door(DoorIx(at as u16), DoorAction::Delayed(action)))
    }

    /// Takes back a delay, or all of a door; what system events have put off the doors are asked to take back.
    pub(super) fn cancel_wish(&mut self) -> (Wish, Asked) {
        let at = self.rng.index(self.site.doors.len());
        let door = self.site.doors[at].id.clone();
        let operator = ["op-1", "op-6"][self.rng.index(2)];
        let args = match self.life.sent.last().filter(|_| self.rng.permille(500)) {
            Some((jti, _)) => json!({ "door": door, "jti": jti }),
            None => json!({ "door": door }),
        };
        let wish = Wish::new(operator, "door.cancel_delay", args);
        let task = Task::CancelDelays { door: DoorIx(at as u16), system_event: None };
        let exp = self.wall() + wish.lifetime;
        (wish, asked_for(operator, ("door.cancel_delay", Value::Null, task), exp, None))
    }

    /// As if this cardholder had come.
    fn virtual_wish(&mut self) -> Wished {
        let at = self.rng.index(self.site.doors.len());
        let door = self.site.doors[at].id.clone();
        let person = person_id(self.rng.below(PERSONS));
        let args = json!({ "door": door, "person": person });
        ("door.virtual_read", args, Task::VirtualRead { door: DoorIx(at as u16), person, credential: None })
    }

    /// Where somebody is, who is somewhere, or where everybody is, is to be forgotten.
    fn forgiving_wish(&mut self) -> Wished {
        let (args, person, area) = match self.rng.below(8) {
            0 => (json!({}), None, None),
            1..4 => {
                let area = id(["hall", "vault"][self.rng.index(2)]);
                (json!({ "area": area }), None, Some(area))
            }
            _ => {
                let anybody = person_id(self.rng.below(PERSONS + 1));
                let person = self.last_let_in().filter(|_| self.rng.permille(700)).unwrap_or(anybody);
                (json!({ "person": person }), Some(person), None)
            }
        };
        self.count("forgiven");
        ("apb.clear", args, Task::ClearApb { person, area })
    }

    /// Where people are counted.
    fn last_let_in(&self) -> Option<Id> {
        let entry = |reader: &Value| reader == "front-in" || reader == "glass-in";
        let mut granted = self
            .cloud
            .events
            .iter()
            .rev()
            .filter(|event| event.kind == "access.granted" && event.json.get("reader").is_some_and(entry));
        granted.find_map(|event| Id::new(event.json.get("person")?.as_str()?).ok())
    }

    /// Somebody has seen an alarm, as the cloud knows it: at a door, or one of those that stand, or stood.
    fn acknowledging_wish(&mut self) -> Wished {
        let raised = self.cloud.events.iter().rev().filter(|event| event.kind == "alarm.raised").take(4);
        let alarms: Vec<Id> = raised.filter_map(|event| Id::new(event.json.get("alarm")?.as_str()?).ok()).collect();
        self.count("alarms seen");
        if alarms.is_empty() || self.rng.permille(400) {
            let at = self.rng.index(self.site.doors.len());
            let args = json!({ "door": self.site.doors[at].id });
            return ("alarm.acknowledge", args, Task::Door(DoorIx(at as u16), DoorAction::AcknowledgeAlarm));
        }
        let alarm = alarms[self.rng.index(alarms.len())].clone();
        ("alarm.acknowledge", json!({ "alarm": alarm }), Task::AcknowledgeAlarm { alarm })
    }

    /// Somebody wants to see what happens, or has seen enough.
    pub(super) fn watch(&mut self) {
        let operator = ["op-1", "op-2", "op-3", "op-5", "op-4", "op-6", "op-7", "op-8"][self.rng.index(8)];
        let ends = self.life.watching.last().cloned().filter(|_| self.rng.permille(300));
        let (operator, cmd, args) = match &ends {
            Some((jti, operator)) => (*operator, "live_events.unsubscribe", json!({ "jti": jti })),
            None => {
                let ttl_s = [1, 4, 30, 600][self.rng.index(4)];
                (operator, "live_events.subscribe", json!({ "ttl_s": ttl_s }))
            }
        };
        let types = if self.rng.permille(400) { vec!["access.granted", "access.denied"] } else { Vec::new() };
        let mut args = args;
        if ends.is_none() && !types.is_empty() {
            args["filter"] = json!({ "types": types });
        }
        let ttl = Duration::from_secs(args["ttl_s"].as_u64().unwrap_or(0));
        let wish = Wish { lifetime: self.rng.millis(1_000, 20_000), ..Wish::new(operator, cmd, args) };
        let wall = self.wall();
        let (jti, message) = self.cloud.command(wall, &wish);
        self.line(format_args!("cloud: {} {} by {operator} {jti}", wish.cmd, wish.args));
        self.count("watched");
        match ends {
            Some((subscription, _)) => self.oracle.live.unsubscribes(jti.clone(), subscription),
            None => {
                self.oracle.errand_wished(&jti, operator, "live_events.subscribe");
                self.oracle.live.subscribes(jti.clone(), operator, types, ttl);
                self.life.watching.push((jti.clone(), operator));
            }
        }
        self.send_command(jti, message);
    }

    /// A compartment, from afar.
    fn locker_wish(&mut self) -> Wished {
        let at = self.rng.index(self.site.compartments().count());
        let Some(compartment) = self.site.compartments().nth(at) else { return self.door_wish() };
        let action = DoorAction::OpenAndClose { dwell: None };
        ("locker.open", json!({ "locker": compartment.id }), Task::Door(compartment.door, action))
    }

    fn floor_wish(&mut self) -> Wished {
        let floors = match self.rng.below(3) {
            0 => Vec::new(),
            number => vec![id(&format!("floor-{number}"))],
        };
        let (cmd, action) = match self.rng.below(5) {
            0 => ("floor.open", FloorAction::Open),
            1 | 2 => ("floor.close", FloorAction::Close),
            _ => {
                let dwell = Duration::from_millis(self.rng.between(200, 5_000));
                ("floor.open_and_close", FloorAction::OpenAndClose { dwell: Some(dwell) })
            }
        };
        let mut args = json!({ "floor_group": "lift" });
        if !floors.is_empty() {
            args["floors"] = json!(floors);
        }
        if let FloorAction::OpenAndClose { dwell: Some(dwell) } = action {
            args["dwell_ms"] = json!(dwell.as_millis() as u64);
        }
        (cmd, args, Task::Floor { floor_group: id("lift"), floors, action })
    }

    fn output_wish(&mut self) -> Wished {
        let outputs = self.site.field.outputs.len();
        let output = self.site.field.outputs[self.rng.index(outputs)].id.clone();
        let (cmd, args, action) = match self.rng.below(4) {
            0 => ("output.set", json!({ "output": output, "on": true }), OutputAction::Set(true)),
            1 => ("output.set", json!({ "output": output, "on": false }), OutputAction::Set(false)),
            _ => {
                let pulse_ms = self.rng.between(200, 4_000);
                let action = OutputAction::Pulse(Duration::from_millis(pulse_ms));
                ("output.pulse", json!({ "output": output, "pulse_ms": pulse_ms }), action)
            }
        };
        (cmd, args, Task::Output { output, action })
    }

    fn dnd(&mut self, door: &Id, expect: Mode) -> (&'static str, Value, DoorAction) {
        let (args, switch) = match self.rng.below(4) {
            0 => (json!({ "door": door, "set": "on" }), Switch::On),
            1 => (json!({ "door": door, "set": "toggle", "expect_mode": expect }), Switch::Toggle { expect }),
            _ => (json!({ "door": door, "set": "off" }), Switch::Off),
        };
        ("door.dnd", args, DoorAction::Dnd(switch))
    }

    fn force(&mut self, door: &Id, expect: Mode) -> (&'static str, Value, DoorAction) {
        let state = match self.rng.below(6) {
            0 => {
                let action = DoorAction::ForceToggle { expect };
                return ("door.force_toggle", json!({ "door": door, "expect_mode": expect }), action);
            }
            1 => ForceState::Open,
            2 => ForceState::Closed,
            _ => ForceState::Released,
        };
        ("door.force", json!({ "door": door, "state": state }), DoorAction::Force(state))
    }

    /// Of one door, a partition or the node; cleared more often than set.
    fn lockdown_wish(&mut self) -> Wished {
        let at = self.rng.index(self.site.doors.len());
        let on = self.rng.permille(350);
        let cmd = if on { "lockdown.set" } else { "lockdown.clear" };
        let topology = self.site.topology();
        let (args, names, floor_groups) = match self.rng.below(if on { 6 } else { 3 }) {
            0 => {
                let floor_groups = (0..).take(topology.floor_groups.len()).collect();
                (json!({ "node": true }), self.site.door_ids(), floor_groups)
            }
            1 => {
                let partition = PARTITIONS[self.rng.index(PARTITIONS.len())];
                (json!({ "partition": partition }), Vec::new(), Vec::new())
            }
            _ => (json!({ "doors": [self.site.doors[at].id] }), vec![self.site.doors[at].id.clone()], Vec::new()),
        };
        let doors = names.iter().filter_map(|door| topology.door(door)).collect();
        (cmd, args, Task::Lockdown { doors, floor_groups, on })
    }
}
