//! casbin: RBAC with roles for people and for doors, one policy line for each access rule. Owns the model and
//! the functions that the matcher calls; must never decide outside of the matcher. Invariant: one enforcer, made
//! once. casbin knows neither time nor the state of a card, so both are functions of ours, as its manual says.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::RwLock,
};

use casbin::{CoreApi as _, DefaultModel, Enforcer, MemoryAdapter, MgmtApi as _, function_map::OperatorFunction};
use latchd::domain::record::{CredentialState, DAY_MS, Effect, Token};

use crate::model::{Asked, Day, Local, Model, Peer, Span, asks, date_number, is_card, month_day_number, span, weekday};

const MODEL: &str = r#"
[request_definition]
r = card, person, door

[policy_definition]
p = who, where, schedule, asks, eft

[role_definition]
g = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = usable(r.card) && g2(r.door, p.where) && g(r.person, p.who) && suits(p.asks, r.card) && holds(p.schedule)
"#;

pub struct Casbin {
    enforcer: Enforcer,
    people: HashMap<String, String>,
}

/// What the functions look at: casbin takes functions without a state of their own.
static FACTS: RwLock<Option<Facts>> = RwLock::new(None);

thread_local! {
    static MOMENT: RefCell<Option<Moment>> = const { RefCell::new(None) };
}

/// What holds for one question.
struct Moment {
    local: Local,
    pin: String,
    is_stale: bool,
    /// Of the one who came before.
    came_before: bool,
    /// Whether to be let in as one of two is what is asked.
    joining: bool,
}

struct Facts {
    /// By token, if the card is active.
    cards: HashMap<String, Card>,
    schedules: HashMap<String, Times>,
}

struct Card {
    /// Its own and its holder's: from when until when.
    lives: [Span; 2],
    is_card: bool,
    pins: Vec<String>,
    is_critical: bool,
}

impl Card {
    fn is_usable(&self, moment: &Moment) -> bool {
        let at = moment.local.at;
        self.lives.iter().all(|(from, until)| *from <= at && at < *until) && (self.is_critical || !moment.is_stale)
    }

    fn suits(&self, asks: &str, moment: &Moment) -> bool {
        match asks {
            "anything" => true,
            "two_person" => self.is_card && (moment.joining || moment.came_before),
            _ if moment.joining => false,
            "card_or_pin" => true,
            "pin" => !self.is_card,
            "card_and_pin" => self.is_card && self.pins.contains(&moment.pin),
            _ => self.is_card,
        }
    }
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
    let cards = model.credentials.values().filter(|credential| credential.state == CredentialState::Active);
    let cards = cards.map(|credential| {
        let person = &model.people[&credential.person];
        let life = |from: Option<_>, until: Option<_>| {
            let millis = |wall: latchd::domain::time::Wall| wall.as_millis();
            (from.map_or(i64::MIN, millis), until.map_or(i64::MAX, millis))
        };
        let card = Card {
            lives: [life(credential.active_from, credential.expires_at), life(person.active_from, person.expires_at)],
            is_card: is_card(credential),
            pins: person.pin.iter().chain(&person.duress_pin).map(Token::to_string).collect(),
            is_critical: model.is_critical(person),
        };
        (credential.token.to_string(), card)
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
    Facts { cards: cards.collect(), schedules: schedules.collect() }
}

impl Casbin {
    pub fn new(model: &Model) -> Casbin {
        *FACTS.write().expect("one thread") = Some(facts(model));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut enforcer = runtime.block_on(async {
            let rules = DefaultModel::from_str(MODEL).await.expect("a model");
            Enforcer::new(rules, MemoryAdapter::default()).await.expect("an enforcer")
        });
        enforcer.add_function(
            "usable",
            OperatorFunction::Arg1(|card| {
                looked_up(|facts, moment| facts.cards.get(&text(card)).is_some_and(|card| card.is_usable(moment)))
                    .into()
            }),
        );
        enforcer.add_function(
            "suits",
            OperatorFunction::Arg2(|asks, card| {
                looked_up(|facts, moment| {
                    facts.cards.get(&text(card)).is_some_and(|card| card.suits(&text(asks), moment))
                })
                .into()
            }),
        );
        enforcer.add_function(
            "holds",
            OperatorFunction::Arg1(|schedule| {
                let schedule = text(schedule);
                let holds = |facts: &Facts, moment: &Moment| {
                    facts.schedules.get(&schedule).is_some_and(|times| times.holds(moment.local))
                };
                (schedule == "always" || looked_up(holds)).into()
            }),
        );
        let lines = model.rules.iter().map(|(id, rule)| {
            let schedule = rule.schedule.as_ref().map_or("always", |schedule| schedule.as_str());
            let (asks, effect) = if rule.effect == Effect::Deny { ("anything", "deny") } else { (asks(rule), "allow") };
            [id.as_str(), id.as_str(), schedule, asks, effect].map(str::to_owned).to_vec()
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

    fn allows(&self, token: &str, door: &str, moment: Moment) -> bool {
        MOMENT.set(Some(moment));
        let person = self.people.get(token).map_or("", String::as_str);
        self.enforcer.enforce((token, person, door)).expect("an answer")
    }
}

fn text(value: casbin::rhai::Dynamic) -> String {
    value.into_string().unwrap_or_default()
}

fn looked_up(answer: impl FnOnce(&Facts, &Moment) -> bool) -> bool {
    let facts = FACTS.read().expect("one thread");
    MOMENT
        .with_borrow(|moment| facts.as_ref().zip(moment.as_ref()).is_some_and(|(facts, moment)| answer(facts, moment)))
}

impl Peer for Casbin {
    fn name(&self) -> &'static str {
        "casbin"
    }

    fn helped_by(&self) -> &'static str {
        "civil time; card to person, card state, PINs, dates and schedules as functions; two persons are two requests"
    }

    fn passes(&mut self, asked: &Asked<'_>) -> bool {
        let person = self.people.get(asked.token);
        let moment = |came_before, joining| Moment {
            local: asked.local,
            pin: asked.pin.unwrap_or_default().to_owned(),
            is_stale: asked.is_stale,
            came_before,
            joining,
        };
        let came_before = asked.companion.is_some_and(|companion| {
            self.people.get(companion) != person && self.allows(companion, asked.door, moment(false, true))
        });
        self.allows(asked.token, asked.door, moment(came_before, false))
    }
}
