//! casbin: RBAC with roles for people and for doors, one policy line for each access rule. Owns the model and
//! the functions that the matcher calls; must never decide outside of the matcher. Invariant: one enforcer, made
//! once. casbin knows neither time nor the state of a card, so both are functions of ours, as its manual says.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap},
    sync::OnceLock,
};

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _, function_map::OperatorFunction};
use latchd::domain::record::{CredentialState, DAY_MS, Effect};

use crate::model::{Asked, Day, Local, Model, Peer, Span, date_number, month_day_number, span, weekday};

const MODEL: &str = r#"
[request_definition]
r = card, person, door

[policy_definition]
p = who, where, schedule, eft

[role_definition]
g = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = usable(r.card) && g2(r.door, p.where) && g(r.person, p.who) && holds(p.schedule)
"#;

pub struct Casbin {
    enforcer: Enforcer,
    people: HashMap<String, String>,
}

/// What the functions look at: casbin takes functions without a state of their own.
static FACTS: OnceLock<Facts> = OnceLock::new();

thread_local! {
    static LOCAL: Cell<Option<Local>> = const { Cell::new(None) };
}

struct Facts {
    /// By token: from when until when, if the card is active.
    lives: HashMap<String, Vec<Span>>,
    schedules: HashMap<String, Times>,
}

#[derive(Default)]
struct Times {
    weekly: [Vec<Span>; 7],
    dates: Vec<(i64, Span)>,
    /// Dates, days of each year, and what holds on them.
    holidays: Vec<(Vec<i64>, Vec<i64>, Vec<Span>)>,
}

impl Times {
    fn holds(&self, local: Local) -> bool {
        self.on(local.today, local.ms) || self.on(local.yesterday, local.ms + i64::from(DAY_MS))
    }

    fn on(&self, day: Day, ms: i64) -> bool {
        let within = |(from, to): &Span| *from <= ms && ms < *to;
        let falls = |(dates, yearly, _): &&(Vec<i64>, Vec<i64>, Vec<Span>)| {
            dates.contains(&day.date) || yearly.contains(&day.month_day)
        };
        let usual = self.weekly.get(day.weekday as usize);
        let spans = self.holidays.iter().find(falls).map(|(_, _, spans)| spans).or(usual);
        spans.is_some_and(|spans| spans.iter().any(within))
            || self.dates.iter().any(|(date, span)| *date == day.date && within(span))
    }
}

fn facts(model: &Model) -> Facts {
    let lives = model.credentials.values().filter(|credential| credential.state == CredentialState::Active);
    let lives = lives.map(|credential| {
        let person = &model.people[&credential.person];
        let life = |from: Option<_>, until: Option<_>| {
            let millis = |wall: latchd::domain::time::Wall| wall.as_millis();
            (from.map_or(i64::MIN, millis), until.map_or(i64::MAX, millis))
        };
        let lives =
            vec![life(credential.active_from, credential.expires_at), life(person.active_from, person.expires_at)];
        (credential.token.to_string(), lives)
    });
    let schedules = model.schedules.iter().map(|(id, schedule)| {
        let mut times = Times::default();
        for interval in &schedule.weekly {
            for day in &interval.days {
                times.weekly[weekday(*day) as usize].push(span(interval.from, interval.to));
            }
        }
        times.dates = schedule.dates.iter().map(|one| (date_number(one.date.0), span(one.from, one.to))).collect();
        times.holidays = schedule
            .holidays
            .iter()
            .map(|instead| {
                let holiday = &model.holidays[&instead.holiday];
                (
                    holiday.dates.iter().map(|date| date_number(date.0)).collect(),
                    holiday.yearly.iter().map(|day| month_day_number(day.month, day.day)).collect(),
                    instead.intervals.iter().map(|interval| span(interval.from, interval.to)).collect(),
                )
            })
            .collect();
        (id.to_string(), times)
    });
    Facts { lives: lives.collect(), schedules: schedules.collect() }
}

impl Casbin {
    pub fn new(model: &Model) -> Casbin {
        FACTS.get_or_init(|| facts(model));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut enforcer = runtime.block_on(async {
            let rules = DefaultModel::from_str(MODEL).await.expect("a model");
            Enforcer::new(rules, MemoryAdapter::default()).await.expect("an enforcer")
        });
        enforcer.add_function(
            "usable",
            OperatorFunction::Arg1(|card| {
                let (Some(facts), Some(local)) = (FACTS.get(), LOCAL.get()) else { return false.into() };
                let lives = card.into_immutable_string().ok().and_then(|card| facts.lives.get(card.as_str()));
                lives
                    .is_some_and(|lives| lives.iter().all(|(from, until)| *from <= local.at && local.at < *until))
                    .into()
            }),
        );
        enforcer.add_function(
            "holds",
            OperatorFunction::Arg1(|schedule| {
                let (Some(facts), Some(local)) = (FACTS.get(), LOCAL.get()) else { return false.into() };
                let Ok(schedule) = schedule.into_immutable_string() else { return false.into() };
                let holds = || facts.schedules.get(schedule.as_str()).is_some_and(|times| times.holds(local));
                (schedule == "always" || holds()).into()
            }),
        );
        let lines = model.rules.iter().map(|(id, rule)| {
            let schedule = rule.schedule.as_ref().map_or("always", |schedule| schedule.as_str());
            let effect = if rule.effect == Effect::Deny { "deny" } else { "allow" };
            [id.as_str(), id.as_str(), schedule, effect].map(str::to_owned).to_vec()
        });
        let lines: Vec<Vec<String>> = lines.collect();
        // A role for each rule: the groups and persons that it is for, and the doors that it is at.
        let mut who = BTreeSet::new();
        let mut doors = BTreeSet::new();
        for (id, rule) in &model.rules {
            who.extend(rule.groups.iter().chain(&rule.persons).map(|one| vec![one.to_string(), id.to_string()]));
            doors.extend(rule.doors.iter().map(|door| vec![door.to_string(), id.to_string()]));
        }
        for (id, person) in &model.people {
            who.extend(person.groups.iter().map(|group| vec![id.to_string(), group.to_string()]));
        }
        runtime.block_on(async {
            enforcer.add_policies(lines).await.expect("policies");
            enforcer.add_grouping_policies(who.into_iter().collect()).await.expect("roles");
            enforcer.add_named_grouping_policies("g2", doors.into_iter().collect()).await.expect("doors");
        });
        let people = model.credentials.values().map(|card| (card.token.to_string(), card.person.to_string())).collect();
        Casbin { enforcer, people }
    }
}

impl Peer for Casbin {
    fn name(&self) -> &'static str {
        "casbin"
    }

    fn helped_by(&self) -> &'static str {
        "civil time; card to person, card state, dates and schedules as functions"
    }

    fn passes(&mut self, asked: &Asked<'_>) -> bool {
        LOCAL.set(Some(asked.local));
        let person = self.people.get(asked.token).map_or("", String::as_str);
        self.enforcer.enforce((asked.token, person, asked.door)).expect("an answer")
    }
}
