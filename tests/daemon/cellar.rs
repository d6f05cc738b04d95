//! An elevator and a cabinet of keys, from the permission set and the signed command to the relay, through MQTT and
//! Modbus.

use std::net::SocketAddr;

use latchd::{
    domain::event::Refusal,
    wire::{
        outcome::Stage,
        token::{CredentialKey, token},
    },
};
use latchd_sim::{
    board::{SimBoard, TcpServer, Write},
    cloud::{Wish, client::wall_now, set::put_raw},
    site::card,
};
use serde_json::{Value, json};

use crate::world::{ADA, PATIENCE, STRANGER, World};

/// Where locker-16ch has its occupancy inputs.
pub const OCCUPIED: u16 = 16;

pub struct Cellar {
    pub world: World,
    pub lift: SimBoard,
    pub keys: SimBoard,
    pub server: Option<TcpServer>,
    address: SocketAddr,
}

fn configuration(address: SocketAddr) -> String {
    format!(
        r#"
[[bus]]
id = "cellar"
tcp = "{address}"
timeout_ms = 60

[[board]]
id = "lift"
bus = "cellar"
unit = 1
profile = "generic-8ch"
poll_ms = 20
lost_after_ms = 250

[[board]]
id = "keys"
bus = "cellar"
unit = 2
profile = "locker-16ch"
poll_ms = 20
lost_after_ms = 250

[[floor_group]]
id = "lift"
enable_s = 2
floors = [
  {{ count = 3, first = 0, id = "floor-{{n}}", output = "lift/relay-{{i}}", enabled = "energised", selected = {{ input = "lift/in-{{i}}", active = true }} }},
]

[[cabinet]]
id = "keys"
compartments = [
  {{ count = 4, id = "key-{{n:02}}", lock = {{ output = "keys/lock-{{i}}", unlocked = "energised" }}, contact = {{ input = "keys/contact-{{i}}", closed = true }}, occupied = {{ input = "keys/key-{{i}}", occupied = true }}, dwell_ms = 1000 }},
]

[[reader]]
id = "lift-cab"
floor_group = "lift"
card_block = "lift/wiegand-1"

[[reader]]
id = "keys-front"
cabinet = "keys"
card_block = "keys/wiegand-1"

[[reader]]
id = "front-in"
"#
    )
}

fn hashed(text: &str) -> Value {
    json!(token(&CredentialKey::new(&[0x42; 32]), text).to_string())
}

impl Cellar {
    /// The daemon runs; staff may go to floors 0 and 2, and Ada has the contract for the first compartment.
    pub fn running(more: &[(&str, &str, Value)]) -> Cellar {
        Cellar::with("", "", more)
    }

    /// With something else in its site file.
    pub fn with(from: &str, to: &str, more: &[(&str, &str, Value)]) -> Cellar {
        let mut world = World::new();
        let (lift, keys) = (SimBoard::new(1), SimBoard::new(2));
        (0..4).for_each(|contact| keys.set_input(contact, true));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = world.block_on(TcpServer::start(free, vec![lift.clone(), keys.clone()])).unwrap();
        let address = server.address();
        let profile = include_str!("../../config/profiles/locker-16ch.toml");
        std::fs::write(world.site.directory.join("profiles/locker-16ch.toml"), profile).unwrap();
        world
            .site
            .configure(
                "\n[[reader]]\nid = \"front-in\"\n",
                &if from.is_empty() { configuration(address) } else { configuration(address).replace(from, to) },
            )
            .unwrap();
        world.start();
        world.site.publish_set().unwrap();
        world.applied(1);
        let floors = json!([{"floor_group": "lift", "floors": ["floor-0", "floor-2"]}]);
        let contract = json!({
            "locker": "key-01", "person": "ada", "key": "van", "return_code": hashed("return:key-01:77"),
            "backup_codes": [hashed("backup:key-01:90017313"), hashed("backup:key-01:90027313")]
        });
        let ours = [
            ("access_rule", "staff-in-the-lift", json!({"effect": "allow", "groups": ["staff"], "floors": floors})),
            ("locker_contract", "ada-van", contract),
        ];
        let records = ours.iter().chain(more);
        let put = |(kind, id, body): &(&str, &str, Value)| put_raw(kind, id, body.as_object().unwrap().clone());
        let delta = world.site.cloud.cloud().change(wall_now(), records.map(put).collect());
        world.site.cloud.publish(delta).unwrap();
        world.applied(2);
        world.ready();
        Cellar { world, lift, keys, server: Some(server), address }
    }

    pub fn coil(&self, board: &SimBoard, address: u16, on: bool) {
        let reached = board.until(|registers| registers.coil(address) == on);
        let reached = self.world.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        assert!(reached.is_ok(), "coil {address} did not become {on}");
    }

    /// Until the daemon has seen what a board shows now.
    pub fn seen(&self, board: &SimBoard) {
        let before = board.look().requests();
        let reached = board.until(|registers| registers.requests() >= before + 12);
        let reached = self.world.block_on(async { tokio::time::timeout(PATIENCE, reached).await });
        assert!(reached.is_ok(), "the board is not polled");
    }

    pub fn types(&self, keys: &str) {
        for key in keys.chars() {
            let value = key.to_digit(10).map_or(if key == '*' { 10 } else { 11 }, u64::from);
            self.keys.present_card(4, value);
            self.seen(&self.keys);
        }
    }

    pub fn at_cabinet(&self, number: u16) {
        self.keys.present_card(26, card(number));
    }

    pub fn wish(&self, cmd: &str, args: Value) -> latchd::domain::ids::Id {
        self.world.wish(&Wish::new("op-ada", cmd, args))
    }

    /// The retained state, once it is as wanted.
    pub fn state(&self, path: &str, test: impl Fn(&Value) -> bool) {
        self.world.cloud(path, |cloud| cloud.states.get(path).filter(|state| test(state)).map(drop));
    }

    /// The boards are back on the line.
    pub fn plug_again(&mut self) {
        let boards = vec![self.lift.clone(), self.keys.clone()];
        self.server = Some(self.world.block_on(TcpServer::start(self.address, boards)).unwrap());
    }

    fn unlockings(&self) -> usize {
        let opened = |(_, write): &(_, Write)| matches!(write, Write::Coil { address: 0, on: true });
        self.keys.look().writes().iter().filter(|write| opened(write)).count()
    }
}

#[test]
fn outputs_of_floors_and_lockers_move_by_the_commands_for_these_alone() {
    let cellar = Cellar::running(&[]);
    drop((cellar.lift.take_writes(), cellar.keys.take_writes()));
    for output in ["lift.relay-1", "keys.lock-1", "key-01"] {
        for (cmd, more) in [("output.pulse", json!({ "pulse_ms": 200 })), ("output.set", json!({ "on": true }))] {
            let mut args = more;
            args["output"] = json!(output);
            let jti = cellar.world.by("op-ada", cmd, args);
            cellar.world.refused(&jti, Refusal::Conflict);
        }
    }
    let moves = |(_, write): &(_, Write)| matches!(write, Write::Coil { on: true, .. } | Write::Timer { .. });
    for board in [&cellar.lift, &cellar.keys] {
        assert!(!board.take_writes().iter().any(moves), "a refused command moved a relay");
    }
}

#[test]
fn one_read_in_the_cab_enables_the_floors_of_its_holder_and_a_button_names_them() {
    let cellar = Cellar::running(&[]);
    cellar.lift.present_card(26, card(ADA));
    for floor in [0, 2] {
        cellar.coil(&cellar.lift, floor, true);
    }
    assert!(!cellar.lift.coil(1));
    cellar.lift.set_input(2, true);
    let granted = cellar.world.event_of("access.granted", "floor_group", "lift");
    assert_eq!(granted.json["floors"], json!(["floor-0", "floor-2"]));
    let selected = cellar.world.event_of("floor.selected", "floor", "floor-2");
    assert_eq!(selected.json["person"], "ada");
    cellar.lift.set_input(1, true);
    cellar.world.event_of("floor.selected_without_right", "floor", "floor-1");
    for floor in [0, 2] {
        cellar.coil(&cellar.lift, floor, false);
    }
    cellar.lift.present_card(26, card(STRANGER));
    cellar.world.event("access.denied", |json| json.get("floor_group").is_some_and(|group| group == "lift"));
}

#[test]
fn public_floors_are_enabled_by_their_schedule_and_floor_commands_are_read_back() {
    let every_day = json!(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]);
    let all_day = json!({"weekly": [{"days": every_day, "from": "00:00", "to": "24:00"}]});
    let cellar = Cellar::running(&[
        ("schedule", "all-day", all_day),
        ("floor_group", "lift", json!({"public": [{"floors": ["floor-0"], "schedule": "all-day"}]})),
    ]);
    cellar.coil(&cellar.lift, 0, true);
    cellar.state("floor_group/lift", |state| state["floor_group"]["floors"][0]["cause"] == "public");
    let open = cellar.wish("floor.open", json!({"floor_group": "lift", "floors": ["floor-1", "floor-2"]}));
    cellar.world.stage(&open, Stage::Actuated);
    assert!(cellar.lift.coil(1) && cellar.lift.coil(2));
    let close = cellar.wish("floor.close", json!({"floor_group": "lift"}));
    cellar.world.stage(&close, Stage::Actuated);
    assert!(!cellar.lift.coil(0) && !cellar.lift.coil(1) && !cellar.lift.coil(2));
    let args = json!({"floor_group": "lift", "floors": ["floor-1"], "dwell_ms": 500});
    let momentary = cellar.wish("floor.open_and_close", args);
    cellar.world.stage(&momentary, Stage::Actuated);
    cellar.coil(&cellar.lift, 1, false);
    cellar.world.stage(&momentary, Stage::NotObserved);
    let unknown = cellar.wish("floor.open", json!({"floor_group": "lift", "floors": ["attic"]}));
    cellar.world.refused(&unknown, Refusal::UnknownTarget);
}

#[test]
fn a_floor_that_was_opened_stays_open_through_a_kill_and_is_secured_when_its_board_was_lost() {
    let mut cellar = Cellar::running(&[]);
    let open = cellar.wish("floor.open", json!({"floor_group": "lift", "floors": ["floor-1"]}));
    cellar.world.stage(&open, Stage::Actuated);
    cellar.world.kill();
    cellar.lift.reboot();
    cellar.world.start();
    cellar.coil(&cellar.lift, 1, true);
    cellar.world.ready();
    cellar.lift.present_card(26, card(ADA));
    cellar.coil(&cellar.lift, 2, true);
    let server = cellar.server.take().unwrap();
    cellar.world.block_on(server.stop());
    let lost = cellar.world.event_of("floor.lost", "floor_group", "lift");
    assert_eq!(lost.json["fail"], "secure");
    let refused = cellar.wish("floor.open", json!({"floor_group": "lift"}));
    cellar.world.refused(&refused, Refusal::BusDown);
    cellar.plug_again();
    cellar.world.event_of("floor.restored", "floor_group", "lift");
    cellar.coil(&cellar.lift, 2, false);
    assert!(cellar.lift.coil(1), "what an operator opened holds again");
}

#[test]
fn a_key_is_fetched_and_brought_back_by_card_and_by_return_code() {
    let cellar = Cellar::running(&[]);
    cellar.keys.set_input(OCCUPIED, true);
    cellar.world.event_of("key.added", "key", "van");
    cellar.types("77#");
    let denied = cellar.world.event_of("access.denied", "reason", "area_full");
    assert_eq!((&denied.json["door"], &denied.json["contract"]), (&json!("key-01"), &json!("ada-van")));
    cellar.at_cabinet(ADA);
    cellar.coil(&cellar.keys, 0, true);
    cellar.keys.set_input(OCCUPIED, false);
    let fetched = cellar.world.event_of("key.fetched", "door", "key-01");
    assert_eq!((&fetched.json["person"], &fetched.json["contract"]), (&json!("ada"), &json!("ada-van")));
    cellar.state("locker/key-01", |state| {
        state["locker"]["key"]["state"] == "fetched" && state["locker"]["contract_sync"][0]["state"] == "applied"
    });
    cellar.coil(&cellar.keys, 0, false);
    cellar.types("1*77#");
    cellar.coil(&cellar.keys, 0, true);
    cellar.keys.set_input(OCCUPIED, true);
    cellar.world.event_of("key.returned", "door", "key-01");
    let opened = cellar.wish("locker.open", json!({"locker": "key-02"}));
    cellar.world.stage(&opened, Stage::Actuated);
    let open = cellar.wish("door.open", json!({"door": "key-02"}));
    let refused = cellar.world.stage(&open, Stage::Refused);
    assert_eq!(refused.reason, Some(Refusal::Conflict), "a compartment opens for a moment only");
}

#[test]
fn a_backup_code_opens_once_with_the_cloud_gone_and_not_again_after_a_kill() {
    let mut cellar = Cellar::running(&[]);
    cellar.world.site.broker.stop();
    cellar.types("90017313#");
    cellar.coil(&cellar.keys, 0, true);
    assert_eq!(cellar.unlockings(), 1);
    cellar.world.kill();
    cellar.world.start();
    cellar.world.ready();
    cellar.coil(&cellar.keys, 0, false);
    cellar.seen(&cellar.keys);
    cellar.types("90017313#");
    cellar.world.logged(1, &["access.denied", "reason=wrong_pin"]);
    assert_eq!(cellar.unlockings(), 1);
    cellar.types("90027313#");
    cellar.coil(&cellar.keys, 0, true);
    cellar.world.site.broker.start_again().unwrap();
    cellar.world.drained();
    let granted = cellar.world.event_of("access.granted", "contract", "ada-van");
    assert!(granted.replayed);
    // What is typed is nowhere in the log (and is too long for an identifier to hold by chance).
    assert!(!cellar.world.log().contains("90017313"));
}
