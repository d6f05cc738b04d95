//! cedar-policy, as it is meant: people, groups and doors are entities, each access rule is a policy, a
//! schedule is a condition on the context. Owns the translation; must never leave out what would make it
//! slow. Invariant: one `PolicySet` and one `Entities`, made once.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    str::FromStr as _,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use latchd::domain::{
    ids::Id,
    record::{AccessRule, CredentialState, DAY_MS, Effect, Schedule},
    time::Wall,
};

use crate::model::{Asked, Day, Model, Peer, Span, asks, date_number, is_card, month_day_number, span, weekday};

pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    types: Types,
    pass: EntityUid,
    /// To be let in as one of two.
    join: EntityUid,
}

struct Types {
    credential: EntityTypeName,
    person: EntityTypeName,
    group: EntityTypeName,
    door: EntityTypeName,
    doors: EntityTypeName,
}

fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn type_name(name: &str) -> EntityTypeName {
    EntityTypeName::from_str(name).expect("a type name")
}

impl Cedar {
    pub fn new(model: &Model, doors: &[Id]) -> Cedar {
        let types = Types {
            credential: type_name("Credential"),
            person: type_name("Person"),
            group: type_name("Group"),
            door: type_name("Door"),
            doors: type_name("Doors"),
        };
        let mut text = UNUSABLE.to_owned();
        for (id, rule) in &model.rules {
            policy(&mut text, id, rule, model);
        }
        let policies = PolicySet::from_str(&text).expect("policies that parse");
        let entities = Entities::from_entities(entities(model, doors, &types), None).expect("entities without a cycle");
        let (pass, join) = (uid(&type_name("Action"), "pass"), uid(&type_name("Action"), "join"));
        Cedar { authorizer: Authorizer::new(), policies, entities, types, pass, join }
    }

    /// With what is known of the other one: who comes next, or whether somebody came before.
    fn allows(&self, action: &EntityUid, token: &str, asked: &Asked<'_>, other: RestrictedExpression) -> bool {
        let day = |day: Day| {
            let number = RestrictedExpression::new_long;
            let fields = [("date", day.date), ("month_day", day.month_day), ("weekday", day.weekday)];
            RestrictedExpression::new_record(fields.map(|(name, value)| (name.to_owned(), number(value))))
                .expect("names that differ")
        };
        let pin = RestrictedExpression::new_string(asked.pin.unwrap_or_default().to_owned());
        let context = Context::from_pairs([
            ("at".to_owned(), RestrictedExpression::new_long(asked.local.at)),
            ("ms".to_owned(), RestrictedExpression::new_long(asked.local.ms)),
            ("today".to_owned(), day(asked.local.today)),
            ("yesterday".to_owned(), day(asked.local.yesterday)),
            ("pin".to_owned(), pin),
            ("stale".to_owned(), RestrictedExpression::new_bool(asked.is_stale)),
            ("other".to_owned(), other),
        ]);
        let request = Request::new(
            uid(&self.types.credential, token),
            action.clone(),
            uid(&self.types.door, asked.door),
            context.expect("a context"),
            None,
        );
        let answer = self.authorizer.is_authorized(&request.expect("a request"), &self.policies, &self.entities);
        answer.decision() == Decision::Allow
    }
}

impl Peer for Cedar {
    fn name(&self) -> &'static str {
        "cedar-policy"
    }

    fn helped_by(&self) -> &'static str {
        "civil time; the one who came before is a request of its own"
    }

    fn passes(&mut self, asked: &Asked<'_>) -> bool {
        let came_before = asked.companion.is_some_and(|companion| {
            let next = RestrictedExpression::new_entity_uid(uid(&self.types.credential, asked.token));
            self.allows(&self.join, companion, asked, next)
        });
        self.allows(&self.pass, asked.token, asked, RestrictedExpression::new_bool(came_before))
    }
}

fn entities(model: &Model, doors: &[Id], types: &Types) -> Vec<Entity> {
    let mut entities = Vec::new();
    let dates = |from: Option<Wall>, until: Option<Wall>| {
        let long = |wall: Wall| RestrictedExpression::new_long(wall.as_millis());
        let from = from.map(|wall| ("active_from".to_owned(), long(wall)));
        let until = until.map(|wall| ("expires_at".to_owned(), long(wall)));
        from.into_iter().chain(until).collect::<HashMap<_, _>>()
    };
    for (id, person) in &model.people {
        let groups: HashSet<EntityUid> = person.groups.iter().map(|group| uid(&types.group, group)).collect();
        let mut attributes = dates(person.active_from, person.expires_at);
        let pins = person.pin.iter().chain(&person.duress_pin);
        let pins = pins.map(|pin| RestrictedExpression::new_string(pin.to_string()));
        attributes.insert("pins".to_owned(), RestrictedExpression::new_set(pins));
        attributes.insert("critical".to_owned(), RestrictedExpression::new_bool(model.is_critical(person)));
        entities.push(Entity::new(uid(&types.person, id), attributes, groups).expect("an entity"));
    }
    for credential in model.credentials.values() {
        let person = uid(&types.person, &credential.person);
        let mut attributes = dates(credential.active_from, credential.expires_at);
        let usable = credential.state == CredentialState::Active;
        attributes.insert("active".to_owned(), RestrictedExpression::new_bool(usable));
        attributes.insert("card".to_owned(), RestrictedExpression::new_bool(is_card(credential)));
        attributes.insert("person".to_owned(), RestrictedExpression::new_entity_uid(person.clone()));
        let name = uid(&types.credential, &credential.token.to_string());
        entities.push(Entity::new(name, attributes, HashSet::from([person])).expect("an entity"));
    }
    let mut sets: HashMap<&Id, HashSet<EntityUid>> = HashMap::new();
    for (id, rule) in &model.rules {
        for door in &rule.doors {
            sets.entry(door).or_default().insert(uid(&types.doors, id));
        }
    }
    entities.extend(
        doors.iter().map(|door| Entity::new_no_attrs(uid(&types.door, door), sets.remove(door).unwrap_or_default())),
    );
    entities
}

const UNUSABLE: &str = r#"
forbid (principal, action, resource) when {
    !principal.active ||
    (context.stale && !principal.person.critical) ||
    (principal has active_from && context.at < principal.active_from) ||
    (principal has expires_at && context.at >= principal.expires_at) ||
    (principal.person has active_from && context.at < principal.person.active_from) ||
    (principal.person has expires_at && context.at >= principal.person.expires_at)
};
"#;

fn policy(text: &mut String, id: &Id, rule: &AccessRule, model: &Model) {
    let effect = if rule.effect == Effect::Deny { "forbid" } else { "permit" };
    let groups = rule.groups.iter().map(|group| format!("Group::\"{group}\""));
    let people = rule.persons.iter().map(|person| format!("Person::\"{person}\""));
    let who: Vec<String> = groups.chain(people).collect();
    // Doors first: they leave the fewest rules. One group alone may stand in the scope, where it is looked at sooner.
    let (scope, condition) = match &who[..] {
        [one] => (format!("principal in {one}"), String::new()),
        many => ("principal".to_owned(), format!("principal in [{}]", many.join(", "))),
    };
    let schedule = rule.schedule.as_ref().and_then(|schedule| model.schedules.get(schedule));
    let schedule = schedule.map(|schedule| holds(schedule, model));
    let mut write = |actions: &str, presented: &str| {
        let conditions = [condition.as_str(), presented].into_iter().chain(schedule.as_deref());
        let conditions: Vec<&str> = conditions.filter(|text| !text.is_empty()).collect();
        let when =
            if conditions.is_empty() { String::new() } else { format!(" when {{ {} }}", conditions.join(" && ")) };
        let _ = writeln!(text, "{effect} ({scope}, {actions}, resource in Doors::\"{id}\"){when};");
    };
    let pass = "action == Action::\"pass\"";
    match (rule.effect, asks(rule)) {
        (Effect::Deny, _) => write("action", ""),
        (_, "pin") => write(pass, "!principal.card"),
        (_, "card_and_pin") => write(pass, "principal.card && principal.person.pins.contains(context.pin)"),
        (_, "card_or_pin") => write(pass, ""),
        (_, "two_person") => {
            write(pass, "principal.card && context.other");
            write("action == Action::\"join\"", "principal.card && principal.person != context.other.person");
        }
        _ => write(pass, "principal.card"),
    }
}

fn holds(schedule: &Schedule, model: &Model) -> String {
    format!("({} || {})", on_day(schedule, model, "today", 0), on_day(schedule, model, "yesterday", i64::from(DAY_MS)))
}

/// Whether an interval that began on `day` holds, at `context.ms` and `later` after the beginning of that day.
fn on_day(schedule: &Schedule, model: &Model, day: &str, later: i64) -> String {
    let within = |(from, to): Span| {
        (to > later).then(|| format!("(context.ms >= {} && context.ms < {})", (from - later).max(0), to - later))
    };
    let any = |terms: Vec<String>| if terms.is_empty() { "false".to_owned() } else { terms.join(" || ") };
    let weekly = schedule.weekly.iter().filter_map(|interval| {
        let days: Vec<String> = interval.days.iter().map(|day| weekday(*day).to_string()).collect();
        let within = within(span(interval.from, interval.to))?;
        Some(format!("([{}].contains(context.{day}.weekday) && {within})", days.join(", ")))
    });
    let mut text = any(weekly.collect());
    // From the last to the first, which decides.
    for instead in schedule.holidays.iter().rev() {
        let Some(holiday) = model.holidays.get(&instead.holiday) else { continue };
        let dates: Vec<String> = holiday.dates.iter().map(|date| date_number(date.0).to_string()).collect();
        let yearly: Vec<String> =
            holiday.yearly.iter().map(|day| month_day_number(day.month, day.day).to_string()).collect();
        let falls = format!(
            "[{}].contains(context.{day}.date) || [{}].contains(context.{day}.month_day)",
            dates.join(", "),
            yearly.join(", ")
        );
        let spans = instead.intervals.iter().filter_map(|interval| within(span(interval.from, interval.to)));
        text = format!("(if {falls} then ({}) else ({text}))", any(spans.collect()));
    }
    let dates = schedule.dates.iter().filter_map(|interval| {
        let within = within(span(interval.from, interval.to))?;
        Some(format!("(context.{day}.date == {} && {within})", date_number(interval.date.0)))
    });
    format!("({})", any([text].into_iter().chain(dates).collect()))
}
