//! Every kind of rule in the large set, and questions that touch them all; shared by path as [`set`](super::set)
//! is. Owns which record asks for what; must never measure. Invariant: as that of the set.

use latchd::domain::{
    ids::Id,
    permission::{Permissions, Restriction, SetVersion, Target},
    record::{Authentication, ClockFallback, Effect, FloorGrant, Medium, Record, Token, WhenStale},
    topology::{FloorGroupPlace, Topology},
};

use super::set::{Asked, Question, Site, id, records, token, topology, zone};

const FLOORS: u64 = 40;

/// What no card has.
fn pin_of(person: u64) -> Token {
    token(1_000_000_000 + person)
}

/// The number in `card-000012`.
fn number(id: &Id) -> u64 {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Half of the allow rules ask for more than a card, a quarter of all rules are about floors too, everybody has
/// a PIN, one credential in ten is a PIN, and so on.
pub fn every_kind_of_record(site: Site) -> Vec<(Id, Record)> {
    use Authentication::*;
    let mut records = records(site);
    for (id, record) in &mut records {
        let n = number(id);
        match record {
            Record::Person(person) => {
                (person.pin, person.apb_exempt) = (Some(pin_of(n)), n.is_multiple_of(20));
                person.duress_pin = n.is_multiple_of(3).then(|| pin_of(n + site.people));
                person.extended_access = n.is_multiple_of(30);
            }
            Record::Credential(credential) if n % 10 == 9 => credential.medium = Medium::Pin,
            Record::Group(group) => group.critical = n.is_multiple_of(10),
            Record::AccessRule(rule) => {
                let asks =
                    [Some(CardOrPin), Some(CardAndPin), Some(Pin), Some(TwoPerson), None, None, None, Some(Card)];
                rule.authentication = asks[(n % 8) as usize].filter(|_| rule.effect == Effect::Allow);
                if n.is_multiple_of(4) {
                    let floors = (0..6).map(|floor| self::id("floor", (n + floor * 5) % FLOORS)).collect();
                    rule.floors.push(FloorGrant { floor_group: self::id("tower", n / 4 % 4), floors: Some(floors) });
                }
            }
            _ => {}
        }
    }
    records
}

/// # Panics
/// Never: the generated set has no faults.
pub fn every_kind(site: Site) -> Permissions {
    let floors: Vec<Id> = (0..FLOORS).map(|n| id("floor", n)).collect();
    let towers = (0..4).map(|n| FloorGroupPlace { id: id("tower", n), floors: floors.clone() });
    let topology = Topology { floor_groups: towers.collect(), ..topology(site) };
    let records = every_kind_of_record(site);
    Permissions::compile(records, &topology, &zone(), SetVersion::default()).expect("a set without faults")
}

/// One in four with a PIN, one in eight in a cab, one in eight with somebody before, one in sixteen while the
/// node is left alone.
#[allow(dead_code, reason = "the peers know no elevator")]
#[inline]
pub fn asked(questions: &[Question], at: usize, site: Site) -> Asked {
    let mut asked = asked_at_door(questions, at, site);
    if at % 8 == 1 {
        asked.target = Target::Cab((at / 8 % 4) as u16);
    }
    asked
}

/// The same, but in no cab.
#[inline]
pub fn asked_at_door(questions: &[Question], at: usize, site: Site) -> Asked {
    let question = &questions[at];
    let mut asked = Asked::card(question);
    if at.is_multiple_of(4) {
        // Mostly the right one; sometimes the one for duress, where there is one; sometimes that of somebody else.
        let typed = [0, 0, site.people, 1][at / 4 % 4];
        asked.pin = Some(pin_of(u64::from(question.person) + typed));
    }
    if at % 8 == 3 {
        asked.companion = Some(question.companion());
    }
    if at % 16 == 5 {
        asked.restriction = Restriction { clock: ClockFallback::IgnoreSchedules, stale: WhenStale::CriticalGroups };
    }
    asked
}
