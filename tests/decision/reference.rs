//! What the rules mean, as plainly as it can be written: loops over the records as they came, no tables,
//! no arithmetic on milliseconds. Slow on purpose, and shares no code with the daemon but the records.

use jiff::{civil, tz::TimeZone};
use latchd::domain::{
    event::DenialReason,
    ids::Id,
    permission::{Decision, Floors, Restriction, Wants},
    record::{
        AccessRule, Authentication, ClockFallback, Credential, CredentialState, Effect, Medium, Person, Record,
        Schedule, TimeOfDay, Token, Weekday, WhenStale,
    },
    time::{ClockTrust, Now, Wall},
    topology::FloorGroupPlace,
};

pub struct Reference<'a> {
    pub records: &'a [(Id, Record)],
    pub zone: &'a TimeZone,
}

/// One request, in the words of the records.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub place: Place<'a>,
    pub now: Now,
    pub pin: Option<Token>,
    pub companion: Option<&'a [Token]>,
    pub restriction: Restriction,
}

#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Door(&'a Id),
    #[allow(dead_code, reason = "the simulator's oracle has no elevator")]
    Cab(&'a FloorGroupPlace),
}

/// A card, a PIN alone, or nothing but a name.
#[derive(Clone, Copy, PartialEq)]
enum Presented {
    Card,
    PinAlone,
    Nothing,
}

/// What a rule says where it holds.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Grant,
    WrongPin,
    Lacks(DenialReason, Option<Wants>),
    NotNow,
    Nothing,
}

fn unattributed(reason: DenialReason) -> Decision {
    Decision::Denied { reason, person: None, credential: None, rule: None, wants: None, duress: false }
}

impl Reference<'_> {
    /// A card alone at a door.
    #[allow(dead_code, reason = "the simulator's oracle asks so")]
    pub fn decide(&self, tokens: &[Token], well_formed: bool, door: &Id, now: Now) -> Decision {
        let (place, restriction) = (Place::Door(door), Restriction::NONE);
        self.answer(tokens, well_formed, &Asked { place, now, pin: None, companion: None, restriction })
    }

    pub fn answer(&self, tokens: &[Token], well_formed: bool, asked: &Asked<'_>) -> Decision {
        if tokens.is_empty() {
            return unattributed(DenialReason::BadFormat);
        }
        let answers: Vec<Decision> = self
            .credentials(tokens)
            .map(|(id, credential)| self.decide_one(&credential.person, Some((id, credential)), asked))
            .collect();
        let refusal = answers.iter().find(|answer| matches!(answer, Decision::Denied { .. }));
        match (refusal, answers.first()) {
            (Some(refusal), _) => refusal.clone(),
            (None, Some(grant)) => grant.clone(),
            (None, None) if well_formed => unattributed(DenialReason::UnknownCredential),
            (None, None) => unattributed(DenialReason::BadFormat),
        }
    }

    #[allow(dead_code, reason = "the simulator's oracle does not ask so")]
    pub fn decide_person(&self, person: &Id, asked: &Asked<'_>) -> Decision {
        self.decide_one(person, None, &Asked { pin: None, companion: None, ..*asked })
    }

    /// Of the formats, all but the last token, the first that is known; then the bits, which is the last.
    fn credentials<'s>(&'s self, tokens: &'s [Token]) -> impl Iterator<Item = (&'s Id, &'s Credential)> {
        let with = |token: &Token| {
            self.records.iter().find_map(|(id, record)| match record {
                Record::Credential(credential) if credential.token == *token => Some((id, credential)),
                _ => None,
            })
        };
        let mut meant = None;
        for token in &tokens[..tokens.len() - 1] {
            meant = meant.or_else(|| with(token));
        }
        [meant, with(&tokens[tokens.len() - 1])].into_iter().flatten()
    }

    fn decide_one(&self, person_id: &Id, credential: Option<(&Id, &Credential)>, asked: &Asked<'_>) -> Decision {
        let person = self.person(person_id);
        let presented = match credential {
            None => Presented::Nothing,
            Some((_, credential)) if credential.medium == Medium::Pin => Presented::PinAlone,
            Some(_) => Presented::Card,
        };
        let duress = match presented {
            Presented::Card => asked.pin.is_some() && asked.pin == person.duress_pin,
            Presented::PinAlone => credential.is_some_and(|(_, credential)| credential.duress),
            Presented::Nothing => false,
        };
        let denied = |reason, rule: Option<&Id>, wants| Decision::Denied {
            reason,
            person: Some(person_id.clone()),
            credential: credential.map(|(id, _)| id.clone()),
            rule: rule.cloned(),
            wants,
            duress,
        };
        if let Some(reason) = self.before_the_rules(person, credential.map(|(_, credential)| credential), asked) {
            return denied(reason, None, None);
        }
        let second =
            asked.companion.and_then(|tokens| self.companion(tokens, asked)).filter(|other| other != person_id);
        let denies = self.denying(person_id, person, asked);
        let floors: Vec<usize> =
            asked.floors().filter(|floor| !denies.iter().any(|(_, rule)| asked.covers(rule, *floor))).collect();
        let mut says: Vec<(&Id, &AccessRule, Says)> = Vec::new();
        for (id, rule) in self.allowing(person_id, person, asked) {
            if floors.iter().any(|floor| asked.covers(rule, *floor)) {
                says.push((id, rule, self.says(rule, presented, person, second.is_some(), asked)));
            }
        }
        let granting: Vec<_> = says.iter().filter(|(.., says)| *says == Says::Grant).collect();
        if let Some((id, rule, _)) = granting.first() {
            let authentication = rule.authentication.unwrap_or_default();
            let enabled = floors.iter().filter(|floor| granting.iter().any(|(_, rule, _)| asked.covers(rule, **floor)));
            let enabled = enabled.fold(Floors::NONE, |floors, floor| floors | Floors::only(*floor));
            return Decision::Granted {
                person: person_id.clone(),
                credential: credential.map(|(id, _)| id.clone()),
                rule: (*id).clone(),
                authentication,
                companion: second.filter(|_| authentication == Authentication::TwoPerson),
                floors: if matches!(asked.place, Place::Cab(_)) { enabled } else { Floors::NONE },
                extended: person.extended_access,
                apb_exempt: person.apb_exempt,
                duress,
            };
        }
        if let Some((id, ..)) = says.iter().find(|(.., says)| *says == Says::WrongPin) {
            return denied(DenialReason::WrongPin, Some(id), None);
        }
        for (id, _, says) in &says {
            if let Says::Lacks(reason, wants) = says {
                return denied(*reason, Some(id), *wants);
            }
        }
        if let Some((id, ..)) = says.iter().find(|(.., says)| *says == Says::NotNow) {
            return match asked.now.trust {
                ClockTrust::Trusted => denied(DenialReason::OutsideSchedule, Some(id), None),
                ClockTrust::Untrusted => denied(DenialReason::ClockUntrusted, Some(id), None),
            };
        }
        match denies.first() {
            Some((id, _)) => denied(DenialReason::ExplicitDeny, Some(id), None),
            None => denied(DenialReason::NoRule, None, None),
        }
    }

    fn before_the_rules(
        &self,
        person: &Person,
        credential: Option<&Credential>,
        asked: &Asked<'_>,
    ) -> Option<DenialReason> {
        match credential.map_or(CredentialState::Active, |credential| credential.state) {
            CredentialState::Active => {}
            CredentialState::Suspended => return Some(DenialReason::Suspended),
            CredentialState::Lost => return Some(DenialReason::Lost),
            CredentialState::Stolen => return Some(DenialReason::Stolen),
        }
        let untrusted = asked.now.trust == ClockTrust::Untrusted;
        if untrusted && asked.restriction.clock == ClockFallback::EmergencyCards {
            return Some(DenialReason::EmergencyOnly);
        }
        let critical = person.groups.iter().any(|group| {
            self.records
                .iter()
                .any(|(id, record)| id == group && matches!(record, Record::Group(body) if body.critical))
        });
        match asked.restriction.stale {
            WhenStale::Keep => {}
            WhenStale::CriticalGroups if critical => {}
            WhenStale::CriticalGroups | WhenStale::Deny => return Some(DenialReason::StalePermissions),
            WhenStale::EmergencyCards => return Some(DenialReason::EmergencyOnly),
        }
        let of_credential = credential.and_then(|body| dates(body.active_from, body.expires_at, asked.now));
        of_credential.or_else(|| dates(person.active_from, person.expires_at, asked.now))
    }

    /// Who came before, if every credential of that card belongs to somebody who is admitted as one of two.
    fn companion(&self, tokens: &[Token], asked: &Asked<'_>) -> Option<Id> {
        let asked = Asked { pin: None, companion: None, ..*asked };
        let mut first = None;
        for (_, credential) in self.credentials(tokens) {
            let person = self.person(&credential.person);
            let denies = self.denying(&credential.person, person, &asked);
            let one_of_two = self.allowing(&credential.person, person, &asked).into_iter().any(|(_, rule)| {
                rule.authentication == Some(Authentication::TwoPerson)
                    && self.allow_holds(rule, &asked)
                    && asked.floors().any(|floor| {
                        asked.covers(rule, floor) && !denies.iter().any(|(_, deny)| asked.covers(deny, floor))
                    })
            });
            let in_order = self.before_the_rules(person, Some(credential), &asked).is_none();
            if !one_of_two || !in_order || credential.medium == Medium::Pin {
                return None;
            }
            first = first.or(Some(credential.person.clone()));
        }
        first
    }

    fn says(&self, rule: &AccessRule, presented: Presented, person: &Person, second: bool, asked: &Asked<'_>) -> Says {
        use Authentication::*;
        let going_on = |wants| Some(wants).filter(|_| presented != Presented::Nothing);
        let says = match rule.authentication.unwrap_or_default() {
            Card if presented != Presented::PinAlone => Says::Grant,
            CardOrPin => Says::Grant,
            Pin if presented == Presented::PinAlone => Says::Grant,
            Pin => Says::Lacks(DenialReason::PinRequired, None),
            CardAndPin if presented != Presented::PinAlone => match asked.pin {
                None => Says::Lacks(DenialReason::PinRequired, going_on(Wants::Pin)),
                Some(pin) if person.pin == Some(pin) || person.duress_pin == Some(pin) => Says::Grant,
                Some(_) => Says::WrongPin,
            },
            TwoPerson if presented == Presented::Card && second => Says::Grant,
            TwoPerson if presented != Presented::PinAlone => {
                Says::Lacks(DenialReason::SecondPersonRequired, going_on(Wants::SecondPerson))
            }
            Card | CardAndPin | TwoPerson => return Says::Nothing,
        };
        if self.allow_holds(rule, asked) { says } else { Says::NotNow }
    }

    fn allow_holds(&self, rule: &AccessRule, asked: &Asked<'_>) -> bool {
        match (&rule.schedule, asked.now.trust) {
            (None, _) => true,
            (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, asked.now.wall),
            (Some(_), ClockTrust::Untrusted) => asked.restriction.clock == ClockFallback::IgnoreSchedules,
        }
    }

    /// Deny rules for this person here that hold, by id.
    fn denying(&self, id: &Id, person: &Person, asked: &Asked<'_>) -> Vec<(&Id, &AccessRule)> {
        let mut rules: Vec<_> = self
            .rules()
            .filter(|(_, rule)| rule.effect == Effect::Deny && self.applies(rule, id, person))
            .filter(|(_, rule)| asked.floors().any(|floor| asked.covers(rule, floor)))
            .filter(|(_, rule)| match (&rule.schedule, asked.now.trust) {
                (None, _) | (Some(_), ClockTrust::Untrusted) => true,
                (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, asked.now.wall),
            })
            .collect();
        rules.sort_by_key(|(id, _)| *id);
        rules
    }

    fn allowing(&self, id: &Id, person: &Person, asked: &Asked<'_>) -> Vec<(&Id, &AccessRule)> {
        let mut rules: Vec<_> = self
            .rules()
            .filter(|(_, rule)| rule.effect == Effect::Allow && self.applies(rule, id, person))
            .filter(|(_, rule)| asked.floors().any(|floor| asked.covers(rule, floor)))
            .collect();
        rules.sort_by_key(|(id, _)| *id);
        rules
    }

    fn applies(&self, rule: &AccessRule, person_id: &Id, person: &Person) -> bool {
        rule.persons.contains(person_id) || rule.groups.iter().any(|group| person.groups.contains(group))
    }

    /// Looks at every interval that could have begun today or yesterday.
    pub fn schedule_holds(&self, schedule: &Id, wall: Wall) -> bool {
        let schedule = self.schedule(schedule);
        let at = wall.timestamp().to_zoned(self.zone.clone()).datetime();
        [at.date(), at.date().checked_sub(jiff::Span::new().days(1)).unwrap()]
            .into_iter()
            .flat_map(|day| self.intervals_on(schedule, day).into_iter().map(move |interval| (day, interval)))
            .any(|(day, (from, to))| {
                let begin = civil_at(day, from);
                let end_day = if to > from { day } else { day.tomorrow().unwrap() };
                begin <= at && at < civil_at(end_day, to)
            })
    }

    fn intervals_on(&self, schedule: &Schedule, day: civil::Date) -> Vec<(TimeOfDay, TimeOfDay)> {
        let mut intervals = Vec::new();
        let holiday = schedule.holidays.iter().find(|named| self.is_holiday(&named.holiday, day));
        match holiday {
            Some(holiday) => intervals.extend(holiday.intervals.iter().map(|interval| (interval.from, interval.to))),
            None => {
                for weekly in &schedule.weekly {
                    if weekly.days.iter().any(|weekday| civil_weekday(*weekday) == day.weekday()) {
                        intervals.push((weekly.from, weekly.to));
                    }
                }
            }
        }
        for single in &schedule.dates {
            if single.date.0 == day {
                intervals.push((single.from, single.to));
            }
        }
        intervals
    }

    fn is_holiday(&self, holiday: &Id, day: civil::Date) -> bool {
        self.records.iter().any(|(id, record)| match record {
            Record::Holiday(body) if id == holiday => {
                body.dates.iter().any(|date| date.0 == day)
                    || body.yearly.iter().any(|yearly| yearly.to_string() == day.strftime("%m-%d").to_string())
            }
            _ => false,
        })
    }

    fn rules(&self) -> impl Iterator<Item = (&Id, &AccessRule)> {
        self.records.iter().filter_map(|(id, record)| match record {
            Record::AccessRule(rule) => Some((id, rule)),
            _ => None,
        })
    }

    fn person(&self, person: &Id) -> &Person {
        let found = self.records.iter().find_map(|(id, record)| match record {
            Record::Person(body) if id == person => Some(body),
            _ => None,
        });
        found.expect("sets in these tests have no dangling references")
    }

    fn schedule(&self, schedule: &Id) -> &Schedule {
        let found = self.records.iter().find_map(|(id, record)| match record {
            Record::Schedule(body) if id == schedule => Some(body),
            _ => None,
        });
        found.expect("sets in these tests have no dangling references")
    }
}

impl Asked<'_> {
    /// A door is a floor by itself.
    fn floors(&self) -> std::ops::Range<usize> {
        match self.place {
            Place::Door(_) => 0..1,
            Place::Cab(group) => 0..group.floors.len(),
        }
    }

    fn covers(&self, rule: &AccessRule, floor: usize) -> bool {
        match self.place {
            Place::Door(door) => rule.doors.contains(door),
            Place::Cab(group) => rule.floors.iter().any(|grant| {
                grant.floor_group == group.id
                    && grant.floors.as_ref().is_none_or(|floors| floors.contains(&group.floors[floor]))
            }),
        }
    }
}

fn dates(from: Option<Wall>, until: Option<Wall>, now: Now) -> Option<DenialReason> {
    if now.trust == ClockTrust::Untrusted {
        return (from.is_some() || until.is_some()).then_some(DenialReason::ClockUntrusted);
    }
    if let Some(from) = from
        && from > now.wall
    {
        return Some(DenialReason::NotYetActive);
    }
    if let Some(until) = until
        && until <= now.wall
    {
        return Some(DenialReason::Expired);
    }
    None
}

/// 24:00 is the midnight that ends the day. All times of day in records are whole seconds.
fn civil_at(day: civil::Date, time: TimeOfDay) -> civil::DateTime {
    let text = time.to_string();
    if text == "24:00" {
        return day.tomorrow().unwrap().at(0, 0, 0, 0);
    }
    day.to_datetime(text.parse().unwrap())
}

fn civil_weekday(weekday: Weekday) -> civil::Weekday {
    match weekday {
        Weekday::Monday => civil::Weekday::Monday,
        Weekday::Tuesday => civil::Weekday::Tuesday,
        Weekday::Wednesday => civil::Weekday::Wednesday,
        Weekday::Thursday => civil::Weekday::Thursday,
        Weekday::Friday => civil::Weekday::Friday,
        Weekday::Saturday => civil::Weekday::Saturday,
        Weekday::Sunday => civil::Weekday::Sunday,
    }
}
