//! regorus: one policy in Rego over data that is arranged by door and by group, as its authors advise. Owns
//! the data document; must never decide outside of the policy. Invariant: the data are loaded once, a question
//! is only an input.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use latchd::domain::{
    record::{CredentialState, Effect, Token},
    time::Wall,
};
use regorus::{
    Engine, Value,
    languages::rego::compiler::Compiler,
    rvm::{program::Program, vm::RegoVM},
};
use serde_json::{Map, json};

use crate::model::{Asked, Day, Model, Peer, asks, date_number, is_card, month_day_number, span, weekday};

const POLICY: &str = include_str!("policy.rego");
const ENTRY: &str = "data.access.granted";

/// Its interpreter.
pub struct Interpreter(Engine);

/// The same policy on its virtual machine.
pub struct Machine(RegoVM);

impl Interpreter {
    pub fn new(data: &Value) -> Interpreter {
        let mut engine = Engine::new();
        engine.add_policy("policy.rego".to_owned(), POLICY.to_owned()).expect("a policy that parses");
        engine.add_data(data.clone()).expect("data");
        Interpreter(engine)
    }
}

impl Machine {
    pub fn new(data: &Value) -> Machine {
        let mut engine = Engine::new();
        engine.add_policy("policy.rego".to_owned(), POLICY.to_owned()).expect("a policy that parses");
        let compiled = engine.compile_with_entrypoint(&ENTRY.into()).expect("a policy that compiles");
        let program: Arc<Program> = Compiler::compile_from_policy(&compiled, &[ENTRY]).expect("a program");
        let mut machine = RegoVM::new_with_policy(compiled);
        machine.set_max_instructions(usize::MAX);
        machine.load_program(program);
        machine.set_data(data.clone()).expect("data");
        Machine(machine)
    }
}

impl Peer for Interpreter {
    fn name(&self) -> &'static str {
        "regorus, interpreter"
    }

    fn helped_by(&self) -> &'static str {
        "civil time; rules arranged by door and group"
    }

    fn passes(&mut self, asked: &Asked<'_>) -> bool {
        self.0.set_input(input(asked));
        self.0.eval_rule(ENTRY.to_owned()).expect("an answer") == Value::from(true)
    }
}

impl Peer for Machine {
    fn name(&self) -> &'static str {
        "regorus, VM"
    }

    fn helped_by(&self) -> &'static str {
        "civil time; rules arranged by door and group"
    }

    fn passes(&mut self, asked: &Asked<'_>) -> bool {
        self.0.set_input(input(asked));
        self.0.execute().expect("an answer") == Value::from(true)
    }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::from(fields.map(|(name, value)| (Value::from(name), value)).into_iter().collect::<BTreeMap<_, _>>())
}

fn input(asked: &Asked<'_>) -> Value {
    let day = |day: Day| {
        let numbers = [("date", day.date), ("month_day", day.month_day), ("weekday", day.weekday)];
        object(numbers.map(|(name, number)| (name, Value::from(number))))
    };
    object([
        ("token", Value::from(asked.token)),
        ("door", Value::from(asked.door)),
        ("at", Value::from(asked.local.at)),
        ("ms", Value::from(asked.local.ms)),
        ("today", day(asked.local.today)),
        ("yesterday", day(asked.local.yesterday)),
        ("pin", Value::from(asked.pin.unwrap_or_default())),
        ("companion", Value::from(asked.companion.unwrap_or_default())),
        ("stale", Value::from(asked.is_stale)),
    ])
}

/// The data document.
pub fn data(model: &Model) -> Value {
    let from = |wall: Option<Wall>| wall.map_or(0, Wall::as_millis);
    let until = |wall: Option<Wall>| wall.map_or(i64::MAX / 1_000, Wall::as_millis);
    let credentials: Map<String, serde_json::Value> = model
        .credentials
        .values()
        .map(|credential| {
            let body = json!({
                "person": credential.person, "active": credential.state == CredentialState::Active,
                "card": is_card(credential),
                "from": from(credential.active_from), "until": until(credential.expires_at),
            });
            (credential.token.to_string(), body)
        })
        .collect();
    let people: Map<String, serde_json::Value> = model
        .people
        .iter()
        .map(|(id, person)| {
            let is: Vec<&str> = person.groups.iter().chain([id]).map(|id| id.as_str()).collect();
            let pins: Vec<String> = person.pin.iter().chain(&person.duress_pin).map(Token::to_string).collect();
            let body = json!({
                "is": is, "pins": pins, "critical": model.is_critical(person),
                "from": from(person.active_from), "until": until(person.expires_at),
            });
            (id.to_string(), body)
        })
        .collect();
    json!({
        "credentials": credentials,
        "people": people,
        "allow": by_door(model, Effect::Allow),
        "deny": by_door(model, Effect::Deny),
        "schedules": schedules(model),
        "holidays": holidays(model),
    })
    .into()
}

fn by_door(model: &Model, effect: Effect) -> serde_json::Value {
    let mut doors: BTreeMap<&str, BTreeMap<&str, BTreeSet<(&str, &str)>>> = BTreeMap::new();
    for rule in model.rules.values().filter(|rule| rule.effect == effect) {
        let schedule = rule.schedule.as_ref().map_or("always", |schedule| schedule.as_str());
        for door in &rule.doors {
            for who in rule.groups.iter().chain(&rule.persons) {
                let rules = doors.entry(door.as_str()).or_default().entry(who.as_str()).or_default();
                rules.insert((schedule, asks(rule)));
            }
        }
    }
    let rule = |(schedule, asks)| json!({ "schedule": schedule, "asks": asks });
    let rules = |rules: BTreeSet<_>| serde_json::Value::from_iter(rules.into_iter().map(rule));
    let door = |who: BTreeMap<_, _>| serde_json::Value::from_iter(who.into_iter().map(|(who, all)| (who, rules(all))));
    serde_json::Value::from_iter(doors.into_iter().map(|(id, who)| (id, door(who))))
}

fn schedules(model: &Model) -> serde_json::Value {
    let schedules = model.schedules.iter().map(|(id, schedule)| {
        let mut week: [Vec<_>; 7] = Default::default();
        for interval in &schedule.weekly {
            for day in &interval.days {
                if let Some(spans) = week.get_mut(weekday(*day) as usize) {
                    spans.push(span(interval.from, interval.to));
                }
            }
        }
        let dates = schedule.dates.iter().map(|single| {
            let (from, to) = span(single.from, single.to);
            json!({ "date": date_number(single.date.0), "from": from, "to": to })
        });
        let holidays = schedule.holidays.iter().map(|instead| {
            let spans: Vec<_> = instead.intervals.iter().map(|interval| span(interval.from, interval.to)).collect();
            json!({ "holiday": instead.holiday, "spans": spans })
        });
        let body =
            json!({ "weekly": week, "dates": dates.collect::<Vec<_>>(), "holidays": holidays.collect::<Vec<_>>() });
        (id.to_string(), body)
    });
    schedules.collect::<Map<_, _>>().into()
}

fn holidays(model: &Model) -> serde_json::Value {
    let holidays = model.holidays.iter().map(|(id, holiday)| {
        let dates: Vec<i64> = holiday.dates.iter().map(|date| date_number(date.0)).collect();
        let yearly: Vec<i64> = holiday.yearly.iter().map(|day| month_day_number(day.month, day.day)).collect();
        (id.to_string(), json!({ "dates": dates, "yearly": yearly }))
    });
    holidays.collect::<Map<_, _>>().into()
}
