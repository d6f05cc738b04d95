//! A house with more in it than two doors: a laboratory with a reader on either side of its door, the outer one with
//! a keypad, and a store beside it. Owns their boards and the people who work there; must never move a door by
//! itself. Invariant: doors are closed and nobody is anywhere when a story begins.

use std::{net::SocketAddr, ops::Deref};

use latchd_sim::{
    board::{SimBoard, TcpServer},
    site::{CONTACT_INPUT, LOCK_COIL, REX_INPUT},
};
use serde_json::{Value, json};

use crate::{
    story::{Told, card_of, hashed, shows},
    world::World,
};

/// In group `crew`, which may enter the laboratory and the store with a card.
pub const CLEO: u16 = 2001;
pub const DAN: u16 = 2002;
pub const ELI: u16 = 2003;

pub struct House {
    pub world: World,
    /// Door `lab` and its outer reader `lab-in`.
    pub lab: SimBoard,
    /// Its inner reader `lab-out`; the rest is free.
    pub inside: SimBoard,
    /// Door `store` and its reader `store-in`.
    pub store: SimBoard,
    /// Keeps the bus of the house.
    _bus: TcpServer,
}

impl Deref for House {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

fn configuration(bus: SocketAddr, lab: &str) -> String {
    let board = |id: &str, unit: u8| {
        format!("[[board]]\nid = \"{id}\"\nbus = \"house\"\nunit = {unit}\nprofile = \"generic-8ch\"\npoll_ms = 20\n")
    };
    let door = |id: &str, more: &str| {
        format!(
            r#"
[[door]]
id = "{id}"
lock = {{ output = "{id}/relay-1", unlocked = "energised" }}
contact = {{ input = "{id}/in-1", closed = true }}
{more}
"#
        )
    };
    let reader = |id: &str, door: &str, board: &str, more: &str| {
        format!("[[reader]]\nid = \"{id}\"\ndoor = \"{door}\"\ncard_block = \"{board}/wiegand-1\"\n{more}\n")
    };
    let rex = "rex = { input = \"lab/in-2\", active = true }";
    let lab = if lab.contains("rex = ") { lab.to_owned() } else { format!("{rex}\n{lab}") };
    let dwell = if lab.contains("dwell_ms = ") { "" } else { "dwell_ms = 800" };
    [
        format!("\n[[bus]]\nid = \"house\"\ntcp = \"{bus}\"\n"),
        board("lab", 1),
        board("inside", 2),
        board("store", 3),
        door("lab", &format!("{lab}\n{dwell}")),
        door("store", "dwell_ms = 800"),
        reader("lab-in", "lab", "lab", "keypad = \"4-bit\""),
        reader("lab-out", "lab", "inside", ""),
        reader("store-in", "store", "store", ""),
        "\n[[reader]]\nid = \"front-in\"\n".to_owned(),
    ]
    .join("\n")
}

/// Who works in the house, and what they may.
fn crew() -> Vec<Told<'static>> {
    let person = |name: &str| json!({ "name": name, "groups": ["crew"] });
    vec![
        ("group", "crew", json!({})),
        ("person", "cleo", person("Cleo")),
        ("person", "dan", person("Dan")),
        ("person", "eli", person("Eli")),
        ("credential", "cleo-card", card_of("cleo", CLEO)),
        ("credential", "dan-card", card_of("dan", DAN)),
        ("credential", "eli-card", card_of("eli", ELI)),
        ("access_rule", "crew-lab", crew_rule(json!({}))),
    ]
}

/// The rule of the crew, with something else in it.
pub fn crew_rule(more: Value) -> Value {
    let rule = json!({ "effect": "allow", "groups": ["crew"], "doors": ["lab", "store"] });
    crate::story::with(rule, more)
}

/// Cleo with a PIN for her card, and another under which somebody forces her.
pub fn cleo_with_pins() -> Value {
    let (pin, duress_pin) = (hashed("pin:cleo:1234"), hashed("pin:cleo:4321"));
    json!({ "name": "Cleo", "groups": ["crew"], "pin": pin, "duress_pin": duress_pin })
}

impl House {
    pub fn running(records: &[Told<'_>]) -> House {
        House::with("", &[], records)
    }

    /// With lines of its own for the laboratory's door, and changes of the site file (from, to).
    pub fn with(lab_door: &str, changes: &[(&str, &str)], records: &[Told<'_>]) -> House {
        let mut world = World::new();
        let (lab, inside, store) = (SimBoard::new(1), SimBoard::new(2), SimBoard::new(3));
        lab.set_input(CONTACT_INPUT, true);
        store.set_input(CONTACT_INPUT, true);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let boards = vec![lab.clone(), inside.clone(), store.clone()];
        let bus = world.block_on(TcpServer::start(free, boards)).unwrap();
        let more = configuration(bus.address(), lab_door);
        world.site.configure("\n[[reader]]\nid = \"front-in\"\n", &more).unwrap();
        for (from, to) in changes {
            world.site.configure(from, to).unwrap();
        }
        world.start();
        world.site.publish_set().unwrap();
        world.applied(1);
        let named = |told: &Told<'_>| records.iter().any(|record| (record.0, record.1) == (told.0, told.1));
        let others = crew().into_iter().filter(|told| !named(told));
        world.set(&others.chain(records.iter().cloned()).collect::<Vec<_>>());
        world.ready();
        House { world, lab, inside, store, _bus: bus }
    }

    /// Somebody shows a card outside the laboratory.
    pub fn at_lab(&self, number: u16) {
        shows(&self.lab, number);
    }

    /// … inside of it, on the way out.
    pub fn out_of_lab(&self, number: u16) {
        shows(&self.inside, number);
    }

    pub fn at_store(&self, number: u16) {
        shows(&self.store, number);
    }

    /// At the laboratory's keypad.
    pub fn keys(&self, keys: &str) {
        self.types(&self.lab, keys);
    }

    /// Somebody pushes an unlocked door open and lets it fall shut.
    pub fn walks_through(&self, door: &str) {
        let board = if door == "store" { &self.store } else { &self.lab };
        self.relay(board, LOCK_COIL, true);
        self.opens_door(door);
        self.closes_door(door);
        self.relay(board, LOCK_COIL, false);
    }

    pub fn opens_door(&self, door: &str) {
        let board = if door == "store" { &self.store } else { &self.lab };
        self.told("door.opened", json!({ "door": door }), || board.set_input(CONTACT_INPUT, false));
    }

    pub fn closes_door(&self, door: &str) {
        let board = if door == "store" { &self.store } else { &self.lab };
        self.told("door.closed", json!({ "door": door }), || board.set_input(CONTACT_INPUT, true));
    }

    pub fn presses_exit(&self) {
        self.told("rex.activated", json!({ "door": "lab" }), || self.lab.set_input(REX_INPUT, true));
        self.lab.set_input(REX_INPUT, false);
    }

    /// Whether the lab's strike has power.
    pub fn lab_unlocked(&self) -> bool {
        self.lab.coil(LOCK_COIL)
    }

    pub fn lab_becomes(&self, unlocked: bool) {
        self.relay(&self.lab, LOCK_COIL, unlocked);
    }
}
