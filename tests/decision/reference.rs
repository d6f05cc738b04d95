//! What the rules mean, as plainly as it can be written: loops over the records as they came, no tables,
//! no arithmetic on milliseconds. Slow on purpose, and shares no code with the daemon but the records.

use jiff::{civil, tz::TimeZone};
use latchd::domain::{
    event::DenialReason,
    ids::Id,
    permission::{Decision, Floors},
    record::{
        AccessRule, Authentication, Credential, CredentialState, Effect, Person, Record, Schedule, TimeOfDay, Token,
        Weekday,
    },
    time::{ClockTrust, Now, Wall},
};

pub struct Reference<'a> {
    pub records: &'a [(Id, Record)],
    pub zone: &'a TimeZone,
}

impl Reference<'_> {
    pub fn decide(&self, tokens: &[Token], well_formed: bool, door: &Id, now: Now) -> Decision {
        let unattributed = |reason| Decision::Denied {
            reason,
            person: None,
            credential: None,
            rule: None,
            wants: None,
            duress: false,
        };
        if tokens.is_empty() {
            return unattributed(DenialReason::BadFormat);
        }
        let mut answers = Vec::new();
        for token in tokens {
            for (id, record) in self.records {
                if let Record::Credential(credential) = record
                    && credential.token == *token
                {
                    answers.push(self.decide_credential(id, credential, door, now));
                }
            }
        }
        let refusal = answers.iter().find(|answer| matches!(answer, Decision::Denied { .. }));
        match (refusal, answers.first()) {
            (Some(refusal), _) => refusal.clone(),
            (None, Some(grant)) => grant.clone(),
            (None, None) if well_formed => unattributed(DenialReason::UnknownCredential),
            (None, None) => unattributed(DenialReason::BadFormat),
        }
    }

    fn decide_credential(&self, id: &Id, credential: &Credential, door: &Id, now: Now) -> Decision {
        let person = self.person(&credential.person);
        let denied = |reason, rule: Option<&Id>| Decision::Denied {
            reason,
            person: Some(credential.person.clone()),
            credential: Some(id.clone()),
            rule: rule.cloned(),
            wants: None,
            duress: false,
        };
        match credential.state {
            CredentialState::Active => {}
            CredentialState::Suspended => return denied(DenialReason::Suspended, None),
            CredentialState::Lost => return denied(DenialReason::Lost, None),
            CredentialState::Stolen => return denied(DenialReason::Stolen, None),
        }
        for (from, until) in [(credential.active_from, credential.expires_at), (person.active_from, person.expires_at)]
        {
            if let Some(reason) = dates(from, until, now) {
                return denied(reason, None);
            }
        }
        let mut rules: Vec<(&Id, &AccessRule)> =
            self.rules().filter(|(_, rule)| self.applies(rule, &credential.person, person, door)).collect();
        rules.sort_by_key(|(id, _)| *id);
        for (rule_id, rule) in &rules {
            let holds = match (&rule.schedule, now.trust) {
                (None, _) | (Some(_), ClockTrust::Untrusted) => true,
                (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, now.wall),
            };
            if rule.effect == Effect::Deny && holds {
                return denied(DenialReason::ExplicitDeny, Some(rule_id));
            }
        }
        rules.retain(|(_, rule)| rule.effect == Effect::Allow);
        for (rule_id, rule) in &rules {
            let holds = match (&rule.schedule, now.trust) {
                (None, _) => true,
                (Some(_), ClockTrust::Untrusted) => false,
                (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, now.wall),
            };
            if holds {
                return Decision::Granted {
                    person: credential.person.clone(),
                    credential: Some(id.clone()),
                    rule: (*rule_id).clone(),
                    authentication: Authentication::Card,
                    companion: None,
                    floors: Floors::NONE,
                    extended: person.extended_access,
                    apb_exempt: person.apb_exempt,
                    duress: false,
                };
            }
        }
        match (rules.first(), now.trust) {
            (None, _) => denied(DenialReason::NoRule, None),
            (Some((rule, _)), ClockTrust::Trusted) => denied(DenialReason::OutsideSchedule, Some(rule)),
            (Some((rule, _)), ClockTrust::Untrusted) => denied(DenialReason::ClockUntrusted, Some(rule)),
        }
    }

    fn applies(&self, rule: &AccessRule, person_id: &Id, person: &Person, door: &Id) -> bool {
        let at_door = rule.doors.contains(door);
        let for_person = rule.persons.contains(person_id);
        let for_group = rule.groups.iter().any(|group| person.groups.contains(group));
        at_door && (for_person || for_group)
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
