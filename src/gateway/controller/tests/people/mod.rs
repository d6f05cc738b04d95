//! People at two doors: `front` with a reader inside and one outside, the outer one with a keypad, and `back`
//! with one that has none. Every machine stands beside them, as in the daemon.

mod alone;
mod areas;
mod auto_opens;
mod emergency;
mod faces;
mod interlocks;
mod pairs;
mod pins;
mod virtual_reads;

use serde_json::{Value, json};

use super::*;
use crate::domain::{cloud::Confirmation, keypad::Keypad, record::EmergencyCard};

pub const FRONT_IN: ReaderIx = ReaderIx(0);
pub const BACK_IN: ReaderIx = ReaderIx(1);
pub const FRONT_OUT: ReaderIx = ReaderIx(2);
/// Whose card has which number.
pub const ADA: u32 = 0xADA;
pub const BEN: u32 = 0xBE2;
pub const EVE: u32 = 0xE7E;
pub const STRANGER: u32 = 0x5712;

pub fn hash(text: &str) -> String {
    token(&key(), text).to_string()
}

pub fn card_text(number: u32) -> String {
    format!("raw:32:{number:08x}")
}

pub fn record(kind: &str, name: &str, body: Value) -> (String, Value) {
    (format!("{kind}/{name}"), body)
}

/// Ada and Ben of the staff, Eve whom nothing stops; each with a card, Ada with PINs. No rule yet.
fn base() -> Vec<(String, Value)> {
    let card = |person: &str, number: u32| {
        record("credential", &format!("{person}-card"), json!({ "person": person, "token": hash(&card_text(number)) }))
    };
    let ada = json!({ "groups": ["staff"], "pin": hash("pin:ada:1234"), "duress_pin": hash("pin:ada:9999") });
    vec![
        record("group", "staff", json!({})),
        record("group", "fire-brigade", json!({ "critical": true })),
        record("person", "ada", ada),
        record("person", "ben", json!({ "groups": ["staff"] })),
        record("person", "eve", json!({ "groups": ["staff", "fire-brigade"], "apb_exempt": true })),
        card("ada", ADA),
        card("ben", BEN),
        card("eve", EVE),
    ]
}

/// The staff may pass everywhere with what is asked for here.
pub fn staff(authentication: &str) -> (String, Value) {
    let rule = json!({
        "effect": "allow", "groups": ["staff"], "doors": ["front", "back"], "authentication": authentication
    });
    record("access_rule", "staff", rule)
}

pub struct Scene {
    pub controller: Controller,
    pub now: Now,
    pub cloud: CloudState,
    lasting: Lasting,
    records: BTreeMap<String, Value>,
    spare_cards: BTreeMap<Id, EmergencyCard>,
    mirror_lost: bool,
    generation: u64,
    tickets: u64,
    pub reports: Vec<OrderReport>,
    pub changed: Vec<Thing>,
}

impl Scene {
    /// With these records besides people and cards; doors closed and locked, all known.
    pub fn new(records: &[(String, Value)]) -> Scene {
        let records: BTreeMap<String, Value> = base().into_iter().chain(records.iter().cloned()).collect();
        let cloud = CloudState { last_beat: Some(Confirmation::ThisRun(NOW.mono)), ..CloudState::default() };
        let (controller, step) = started(NOW, &records, None, cloud, Lasting::default(), BTreeMap::new());
        let mut scene = Scene {
            controller,
            now: NOW,
            cloud,
            lasting: Lasting::default(),
            records,
            spare_cards: BTreeMap::new(),
            mirror_lost: false,
            generation: 1,
            tickets: 0,
            reports: Vec::new(),
            changed: Vec::new(),
        };
        scene.note(step);
        scene.hears_the_boards();
        scene
    }

    pub fn hears_the_boards(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        for (board, door) in [(RELAYS, FRONT), (GATE, BACK)] {
            events.extend(self.bus(BusReport::BoardUp { board }));
            events.extend(self.contact(board, true));
            events.extend(self.confirm(door));
        }
        events
    }

    fn note(&mut self, step: Step) -> Vec<Value> {
        for write in &step.commit.writes {
            self.lasting.note(write);
        }
        let told = events(&step).into_iter().map(|event| serde_json::to_value(event).expect("an event")).collect();
        self.reports.extend(step.reports);
        let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
        self.reports.extend(held.into_iter().filter_map(|effect| match effect {
            Effect::Report(report) => Some(report),
            _ => None,
        }));
        self.changed.extend(step.changed);
        told
    }

    pub fn tell(&mut self, input: Input) -> Vec<Value> {
        let step = self.controller.handle(self.now, input);
        self.note(step)
    }

    pub fn bus(&mut self, report: BusReport) -> Vec<Value> {
        self.tell(Input::Bus(BusIx(0), report))
    }

    pub fn contact(&mut self, board: BoardIx, closed: bool) -> Vec<Value> {
        let input = InputRef { board, input: CONTACT };
        self.bus(BusReport::Input { input, energised: closed })
    }

    pub fn rex(&mut self, board: BoardIx, active: bool) -> Vec<Value> {
        let input = InputRef { board, input: REX };
        self.bus(BusReport::Input { input, energised: active })
    }

    /// The board of a door does what is desired and says so.
    pub fn confirm(&mut self, door: DoorIx) -> Vec<Value> {
        let desired = self.controller.desired()[door.index()];
        let level = desired.level_at(self.now.mono);
        self.bus(BusReport::Output { output: desired.output, level, order: desired.order.map(|(ticket, _)| ticket) })
    }

    pub fn card(&mut self, reader: ReaderIx, number: u32) -> Vec<Value> {
        self.tell(Input::Card(CardRead::bits(reader, RawCard::new(32, number.into()))))
    }

    /// Keys of the outer reader at the front door: `0` to `9`, `*` and `#`.
    pub fn types(&mut self, keys: &str) -> Vec<Value> {
        let mut events = Vec::new();
        for key in keys.chars() {
            let value = match key {
                '*' => 10,
                '#' => 11,
                digit => u128::from(digit.to_digit(10).expect("a digit")),
            };
            events.extend(self.tell(Input::Card(CardRead::bits(FRONT_IN, RawCard::new(4, value)))));
        }
        events
    }

    /// Time passes, with a call at each instant at which the controller asked for one.
    pub fn wait(&mut self, millis: u64) -> Vec<Value> {
        let end = self.now.mono + Duration::from_millis(millis);
        let mut events = Vec::new();
        loop {
            let due = self.controller.next_deadline().filter(|due| *due <= end).unwrap_or(end).max(self.now.mono);
            self.now.wall = self.now.wall + due.since(self.now.mono);
            self.now.mono = due;
            events.extend(self.tell(Input::Timeout));
            if due == end && self.controller.next_deadline().is_none_or(|due| due > end) {
                return events;
            }
        }
    }

    pub fn cloud(&mut self, cloud: CloudState) -> Vec<Value> {
        self.cloud = cloud;
        self.tell(Input::Cloud(cloud))
    }

    /// A beat now.
    pub fn beat(&mut self) -> Vec<Value> {
        self.cloud(CloudState { last_beat: Some(Confirmation::ThisRun(self.now.mono)), ..self.cloud })
    }

    pub fn trust(&mut self, trust: ClockTrust) -> Vec<Value> {
        self.now.trust = trust;
        self.tell(Input::Timeout)
    }

    pub fn put(&mut self, records: &[(String, Value)]) -> Vec<Value> {
        self.records.extend(records.iter().cloned());
        self.apply()
    }

    pub fn delete(&mut self, record: &str) -> Vec<Value> {
        assert!(self.records.remove(record).is_some(), "there is no {record}");
        self.apply()
    }

    fn apply(&mut self) -> Vec<Value> {
        self.generation += 1;
        let set = compiled(&self.records, self.generation);
        self.tell(Input::Permissions(set))
    }

    pub fn order(&mut self, what: Task) -> u64 {
        self.tickets += 1;
        let order = Order {
            ticket: Ticket(self.tickets),
            what,
            deadline: self.now.mono + Duration::from_secs(5),
            issued_at: self.now.wall,
            by: Actor::Operator { operator: id("op-1"), jti: id("j-1") },
        };
        let events = self.tell(Input::Order(order));
        self.changed.clear();
        drop(events);
        self.tickets
    }

    /// Off for so long, then on again: with what was kept, and whatever was restored.
    pub fn restart(&mut self, off_s: u64) -> Vec<Value> {
        self.now.wall = self.now.wall + Duration::from_secs(off_s);
        let before = match self.cloud.last_beat {
            Some(Confirmation::ThisRun(at)) => {
                let ago = self.now.mono.since(at) + Duration::from_secs(off_s);
                Some(Confirmation::Before(self.now.wall.saturating_sub(ago)))
            }
            other => other,
        };
        self.now.mono = Mono::from_millis(20_000);
        self.cloud = CloudState { last_beat: before, mirror_lost: self.mirror_lost, ..CloudState::default() };
        let set = (!self.mirror_lost).then_some(&self.records);
        let lost = BTreeMap::new();
        let (controller, step) = started(
            self.now,
            set.unwrap_or(&lost),
            self.mirror_lost.then_some(()),
            self.cloud,
            self.lasting.clone(),
            self.spare_cards.clone(),
        );
        self.controller = controller;
        self.note(step)
    }

    /// The next restart finds no permission set but for the emergency cards, which lie elsewhere.
    pub fn loses_the_mirror(&mut self) {
        self.mirror_lost = true;
        let cards = self.records.iter().filter_map(|(name, body)| {
            let name = name.strip_prefix("emergency_card/")?;
            Some((id(name), serde_json::from_value(body.clone()).expect("an emergency card")))
        });
        self.spare_cards = cards.collect();
    }

    pub fn unlocked(&self, door: DoorIx) -> bool {
        let level = self.controller.desired()[door.index()].level_at(self.now.mono);
        level == if door == FRONT { Level::Energised } else { Level::Released }
    }

    pub fn progress(&self, ticket: u64) -> Vec<&Progress> {
        self.reports.iter().filter(|report| report.ticket.0 == ticket).map(|report| &report.progress).collect()
    }

    /// How many are in this area, by its status.
    pub fn count(&self, area: &str) -> u32 {
        match self.controller.status(&Thing::Area(id(area))) {
            Some(Status::Area(status)) => status.count,
            other => panic!("{area} has no status: {other:?}"),
        }
    }

    pub fn kept(&self, prefix: &str) -> usize {
        self.lasting.kept.keys().filter(|key| key.as_str().starts_with(prefix)).count()
    }
}

fn compiled(records: &BTreeMap<String, Value>, generation: u64) -> Arc<Permissions> {
    let records = records.iter().map(|(name, body)| {
        let (kind, name) = name.split_once('/').expect("kind/id");
        let record = serde_json::from_value(json!({ "kind": kind, "body": body }));
        (id(name), record.unwrap_or_else(|error| panic!("{kind}/{name}: {error}")))
    });
    let version = SetVersion { epoch: 1, generation, digest: [0; 32] };
    let zone = jiff::tz::TimeZone::UTC;
    Arc::new(
        Permissions::compile(records, &people_topology(), &zone, version).unwrap_or_else(|faults| panic!("{faults:?}")),
    )
}

fn people_topology() -> Topology {
    let mut topology = topology();
    topology.readers.push((id("front-out"), ReaderAt::Door(FRONT)));
    topology
}

fn started(
    now: Now,
    records: &BTreeMap<String, Value>,
    lost: Option<()>,
    cloud: CloudState,
    lasting: Lasting,
    spare_cards: BTreeMap<Id, EmergencyCard>,
) -> (Controller, Step) {
    let field = FieldConfig { keypads: BTreeMap::from([(FRONT_IN, Keypad::FourBit)]), ..FieldConfig::default() };
    let reader = |name: &str, reader, door, card_block| ReaderBinding {
        id: id(name),
        reader,
        at: ReaderAt::Door(door),
        card_block,
        points: None,
    };
    let setup = Setup {
        doors: vec![door("front", RELAYS, Level::Energised), door("back", GATE, Level::Released)],
        readers: vec![
            reader("front-in", FRONT_IN, FRONT, Some((RELAYS, 0))),
            reader("back-in", BACK_IN, BACK, None),
            reader("front-out", FRONT_OUT, FRONT, None),
        ],
        boards: &[board("relays", RELAYS), board("gate", GATE)],
        topology: Arc::new(people_topology()),
        credential_key: key(),
        spare_cards: Arc::new(spare_cards),
        permissions: if lost.is_some() { Arc::new(Permissions::none()) } else { compiled(records, 1) },
        cloud,
        lasting,
        machines: machines(&field, &[]),
    };
    Controller::new(setup, now)
}

/// Of each event its type, and what of it the test wants to see: "access.denied wrong_pin ada".
pub fn told(events: &[Value], members: &[&str]) -> Vec<String> {
    let line = |event: &Value| {
        let shown = members.iter().filter_map(|member| event.get(member)).map(|value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        });
        std::iter::once(event["type"].as_str().expect("a type").to_owned()).chain(shown).collect::<Vec<_>>().join(" ")
    };
    events.iter().map(line).collect()
}

/// The access events of a step: granted or denied, why, who.
pub fn access(events: &[Value]) -> Vec<String> {
    let of_access: Vec<Value> = events
        .iter()
        .filter(|event| event["type"].as_str().is_some_and(|t| t.starts_with("access.")))
        .cloned()
        .collect();
    told(&of_access, &["reason", "person", "emergency_card"])
}
