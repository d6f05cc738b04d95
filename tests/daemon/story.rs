//! The words in which scenarios are told: orders of an operator, records of a set, what the log says of what was
//! done. Owns no state; must never wait for time to pass where something can be waited for. Invariant: what is
//! looked for in the log happened after it was done.

use latchd::{
    domain::{
        event::Refusal,
        ids::Id,
        time::{ClockTrust, Wall},
    },
    wire::{
        outcome::{Outcome, Stage},
        token::{CredentialKey, token},
    },
};
use latchd_sim::{
    board::SimBoard,
    cloud::{
        Wish,
        client::wall_now,
        set::{delete, put_raw},
    },
    site::card,
};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World};

/// Kind, id, body; a body of `null` deletes.
pub type Told<'a> = (&'a str, &'a str, Value);

/// The keyed hash of what is presented or typed, as it stands in a set.
pub fn hashed(text: &str) -> Value {
    json!(token(&CredentialKey::new(&[0x42; 32]), text).to_string())
}

pub fn card_of(person: &str, number: u16) -> Value {
    json!({ "person": person, "token": hashed(&format!("h10301:10:{number}")) })
}

/// The members of the one, and over them those of the other.
pub fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Whether all that is wanted is there; there may be more.
pub fn says(told: &Value, wanted: &Value) -> bool {
    match (told, wanted) {
        (Value::Object(told), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| told.get(name).is_some_and(|told| says(told, wanted)))
        }
        _ => told == wanted,
    }
}

pub fn in_ms(ms: i64) -> Wall {
    Wall::from_millis(wall_now().as_millis() + ms)
}

impl World {
    // ---- the cloud's set ----

    /// The next generation, once it is in force.
    pub fn set(&self, records: &[Told<'_>]) {
        let generation = self.publish(records);
        self.applied(generation);
    }

    pub fn publish(&self, records: &[Told<'_>]) -> u64 {
        let op = |(kind, id, body): &Told<'_>| match body.as_object() {
            Some(body) => put_raw(kind, id, body.clone()),
            None => delete(kind, id),
        };
        let ops = records.iter().map(op).collect();
        let (delta, generation) = {
            let mut cloud = self.site.cloud.cloud();
            let delta = cloud.change(wall_now(), ops);
            (delta, cloud.set.generation)
        };
        self.site.cloud.publish(delta).unwrap();
        generation
    }

    // ---- operators ----

    pub fn by(&self, operator: &str, cmd: &str, args: Value) -> Id {
        self.wish(&Wish::new(operator, cmd, args))
    }

    pub fn order(&self, cmd: &str, args: Value) -> Id {
        self.by("op-ada", cmd, args)
    }

    /// Ordered, read back and durable.
    pub fn done(&self, cmd: &str, args: Value) -> Outcome {
        let jti = self.order(cmd, args);
        self.stage(&jti, Stage::Actuated)
    }

    /// A command that moves nothing, and its answer.
    pub fn answered(&self, cmd: &str, args: Value) -> Value {
        let jti = self.order(cmd, args);
        self.stage(&jti, Stage::Done).detail.unwrap_or_default()
    }

    pub fn refuses(&self, operator: &str, cmd: &str, args: Value, reason: Refusal) -> Outcome {
        let jti = self.by(operator, cmd, args);
        let outcome = self.stage(&jti, Stage::Refused);
        assert_eq!(outcome.reason, Some(reason), "{cmd} by {operator}: {outcome:?}");
        outcome
    }

    // ---- the log and the states ----

    /// The event of this type that says so and follows on the act.
    pub fn told(&self, kind: &str, wanted: Value, act: impl FnOnce()) -> Value {
        let before = self.events_so_far();
        act();
        self.told_after(before, kind, wanted)
    }

    pub fn events_so_far(&self) -> usize {
        self.site.cloud.cloud().events.len()
    }

    pub fn told_after(&self, before: usize, kind: &str, wanted: Value) -> Value {
        self.cloud(&format!("{kind} {wanted}"), |cloud| {
            let events = cloud.events.get(before..)?.iter().filter(|event| event.kind == kind);
            events.map(|event| Value::Object(event.json.clone())).find(|json| says(json, &wanted))
        })
    }

    pub fn granted(&self, wanted: Value, act: impl FnOnce()) -> Value {
        self.told("access.granted", wanted, act)
    }

    pub fn denied_for(&self, reason: &str, wanted: Value, act: impl FnOnce()) -> Value {
        self.told("access.denied", with(wanted, json!({ "reason": reason })), act)
    }

    /// The retained state, once it says so. A door's is that of `door/ID`.
    pub fn state_says(&self, path: &str, wanted: Value) {
        self.cloud(&format!("{path} {wanted}"), |cloud| {
            let state = match path.strip_prefix("door/") {
                Some(door) => {
                    let status = cloud.doors.values().find(|status| status.door.as_str() == door)?;
                    serde_json::to_value(status).ok()?
                }
                None => {
                    let (kind, _) = path.split_once('/')?;
                    cloud.states.get(path)?.get(kind)?.clone()
                }
            };
            says(&state, &wanted).then_some(())
        });
    }

    // ---- the field ----

    pub fn relay(&self, board: &SimBoard, coil: u16, on: bool) {
        let reached = board.until(|registers| registers.coil(coil) == on);
        let reached = self.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        assert!(reached.is_ok(), "relay {coil} did not become {on}");
    }

    /// The daemon has seen what the board shows now.
    pub fn polled(&self, board: &SimBoard) {
        let before = board.look().requests();
        self.until("a poll", || board.look().requests() >= before + 8);
    }

    /// Keys of a keypad that sends 4 bits for each.
    pub fn types(&self, board: &SimBoard, keys: &str) {
        for key in keys.chars() {
            let value = key.to_digit(10).map_or(if key == '*' { 10 } else { 11 }, u64::from);
            board.present_card(4, value);
            self.polled(board);
        }
    }

    pub fn trusts_its_clock(&self, trust: ClockTrust) {
        self.online(&format!("{trust:?}"), |online| online.clock == trust);
    }

    /// Until the wall shows it.
    pub fn passes(&self, at: Wall) {
        self.until("time to pass", || wall_now() > at);
    }

    /// SIGKILL, and a new run that takes commands.
    pub fn restart(&mut self) {
        self.kill();
        self.start();
        self.ready();
        self.trusts_its_clock(ClockTrust::Trusted);
    }
}

/// A card of facility 10 at the card block of a board.
pub fn shows(board: &SimBoard, number: u16) {
    board.present_card(26, card(number));
}
