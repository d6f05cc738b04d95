//! One person at one place: what the states, dates and rules come to. Owns the only evaluation of them, for
//! the decision as for its explanation; must never allocate. Invariant: a deny that holds is stronger than
//! every allow, floor by floor, and of the rules that come to the same the first by id is named.

use super::{
    Floors, Permissions, Restriction, Target, Wants,
    cells::{Holding, Life},
    people::{Holder, People},
    rules::{Gate, Kind, RuleCell, ScheduleIx},
};
use crate::domain::{
    event::DenialReason,
    record::{Authentication, ClockFallback, CredentialState, Token, WhenStale},
    schedule::LocalTime,
    time::{ClockTrust, Now},
};

/// Who is judged, with what in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) holder: Holder<'a>,
    /// Its state and dates.
    pub(super) credential: Option<(CredentialState, Life)>,
    pub(super) factor: Factor,
    pub(super) target: Target,
    pub(super) now: Now,
    pub(super) restriction: Restriction,
    /// Somebody else, who would be let in as one of two.
    pub(super) companion: Option<u32>,
}

impl<'a> Subject<'a> {
    /// Nobody stands there: an operator asks as if somebody did.
    pub(super) fn virtually(
        holder: Holder<'a>,
        credential: Option<(CredentialState, Life)>,
        target: Target,
        now: Now,
        restriction: Restriction,
    ) -> Subject<'a> {
        Subject { holder, credential, factor: Factor::Virtual, target, now, restriction, companion: None }
    }
}

/// What was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    /// A card or its like, and what became of the PIN if one was typed.
    Card(Option<Pin>),
    /// A PIN that is a credential by itself.
    PinAlone { duress: bool },
    /// Nothing: an operator asks as if a card had been shown.
    Virtual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    Right,
    Duress,
    Wrong,
}

impl Factor {
    pub(super) fn is_duress(self) -> bool {
        matches!(self, Factor::Card(Some(Pin::Duress)) | Factor::PinAlone { duress: true })
    }
}

impl People {
    pub(super) fn judge_pin(&self, held: &Holding, pin: &Token) -> Pin {
        match self.compare_pin(held, pin) {
            (_, true) => Pin::Duress,
            (true, false) => Pin::Right,
            (false, false) => Pin::Wrong,
        }
    }
}

/// What it came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Result<Allowed, Refused>,
    /// A two-person rule holds here: with somebody else, or alone as far as this person goes.
    pub(super) is_one_of_two: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) rule: u32,
    pub(super) authentication: Authentication,
    pub(super) floors: Floors,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) reason: DenialReason,
    pub(super) rule: Option<u32>,
    pub(super) wants: Option<Wants>,
}

impl From<DenialReason> for Refused {
    fn from(reason: DenialReason) -> Refused {
        Refused { reason, rule: None, wants: None }
    }
}

/// What one rule that concerns person and place comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A deny that holds, or one whose time it is not.
    Denies,
    DeniesLater,
    /// Denies hold on all of its floors.
    Overruled,
    Allows,
    /// Not at this time, or with an untrusted clock not to be known.
    NotNow,
    WrongPin,
    Lacks(Wants),
    /// It wants a PIN by itself in place of this card.
    WantsPinAlone,
    /// A PIN by itself is not what it asks for.
    Unsuited,
}

/// Sees each rule that is looked at. The decision itself sees nothing, and skips what would change nothing.
pub(super) trait Observer {
    const SEES: bool;
    fn check(&mut self, check: Check, result: Result<(), DenialReason>);
    fn rule(&mut self, rule: u32, outcome: Outcome);
}

/// What is looked at before any rule, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    CredentialState,
    Fallback,
    CredentialDates,
    PersonDates,
}

struct Unobserved;

impl Observer for Unobserved {
    const SEES: bool = false;
    fn check(&mut self, _: Check, _: Result<(), DenialReason>) {}
    fn rule(&mut self, _: u32, _: Outcome) {}
}

impl Permissions {
    pub(super) fn judge_subject(&self, subject: &Subject<'_>) -> Judged {
        self.judge_observed(subject, &mut Unobserved)
    }

    /// Whether this person would be let in as one of two. Of the rules that allow only those for two are looked at.
    pub(super) fn is_one_of_two(&self, subject: &Subject<'_>) -> bool {
        self.judge_by(Kind::TwoPerson, subject, &mut Unobserved).is_one_of_two
    }

    pub(super) fn judge_observed<O: Observer>(&self, subject: &Subject<'_>, observer: &mut O) -> Judged {
        self.judge_by(Kind::Allow, subject, observer)
    }

    fn judge_by<O: Observer>(&self, allowing: Kind, subject: &Subject<'_>, observer: &mut O) -> Judged {
        let now = subject.now;
        let (state, life) = subject.credential.unwrap_or((CredentialState::Active, Life::OPEN));
        let checks = [
            (Check::CredentialState, state.judge()),
            (Check::Fallback, self.judge_fallback(subject)),
            (Check::CredentialDates, life.judge(now)),
            (Check::PersonDates, subject.holder.life.judge(now)),
        ];
        let mut first = Ok(());
        for (check, result) in checks {
            observer.check(check, result);
            first = first.and(result);
        }
        match first {
            Err(reason) if !O::SEES => Judged { verdict: Err(reason.into()), is_one_of_two: false },
            Ok(()) => self.judge_rules(allowing, subject, observer),
            Err(reason) => {
                // What the rules say is told as well.
                self.judge_rules(allowing, subject, observer);
                Judged { verdict: Err(reason.into()), is_one_of_two: false }
            }
        }
    }

    fn judge_fallback(&self, subject: &Subject<'_>) -> Result<(), DenialReason> {
        let Restriction { clock, stale } = subject.restriction;
        if clock == ClockFallback::EmergencyCards && subject.now.trust == ClockTrust::Untrusted {
            return Err(DenialReason::EmergencyOnly);
        }
        match stale {
            WhenStale::Keep => Ok(()),
            WhenStale::CriticalGroups if self.people.is_critical(subject.holder.groups.as_slice()) => Ok(()),
            WhenStale::CriticalGroups | WhenStale::Deny => Err(DenialReason::StalePermissions),
            WhenStale::EmergencyCards => Err(DenialReason::EmergencyOnly),
        }
    }

    fn judge_rules<O: Observer>(&self, allowing: Kind, subject: &Subject<'_>, observer: &mut O) -> Judged {
        let mut judge = RuleJudge::new(self, subject);
        let who = (subject.holder.person, subject.holder.groups.as_slice());
        let concerning = self.rules.concerning(who, subject.target);
        concerning.each(Kind::Deny, |rule| judge.deny(rule, observer));
        if judge.denied_floors != Floors::DOOR || !matches!(subject.target, Target::Door(_)) || O::SEES {
            concerning.each(allowing, |rule| judge.allow(rule, observer));
        }
        Judged { verdict: judge.verdict(), is_one_of_two: judge.is_one_of_two }
    }
}

impl People {
    pub(super) fn is_critical(&self, groups: &[u32]) -> bool {
        groups.iter().filter_map(|group| self.groups.cell(*group)).any(|group| group.critical)
    }
}

impl CredentialState {
    fn judge(self) -> Result<(), DenialReason> {
        match self {
            CredentialState::Active => Ok(()),
            CredentialState::Suspended => Err(DenialReason::Suspended),
            CredentialState::Lost => Err(DenialReason::Lost),
            CredentialState::Stolen => Err(DenialReason::Stolen),
        }
    }
}

impl Life {
    fn judge(&self, now: Now) -> Result<(), DenialReason> {
        match now.trust {
            ClockTrust::Untrusted if self.is_limited() => Err(DenialReason::ClockUntrusted),
            ClockTrust::Untrusted => Ok(()),
            ClockTrust::Trusted if !self.has_begun(now.wall) => Err(DenialReason::NotYetActive),
            ClockTrust::Trusted if self.has_ended(now.wall) => Err(DenialReason::Expired),
            ClockTrust::Trusted => Ok(()),
        }
    }
}

/// Sees the rules that concern person and place, in any order, first those that deny; keeps the first by
/// number of each way to decide.
struct RuleJudge<'a> {
    set: &'a Permissions,
    subject: &'a Subject<'a>,
    /// Civil time, once a schedule asked for it.
    local: Option<LocalTime>,
    denied: Option<u32>,
    denied_floors: Floors,
    allowed: Option<(u32, Authentication)>,
    allowed_floors: Floors,
    wrong_pin: Option<u32>,
    lacking: Option<(u32, Option<Wants>, DenialReason)>,
    missed: Option<u32>,
    is_one_of_two: bool,
}

impl<'a> RuleJudge<'a> {
    fn new(set: &'a Permissions, subject: &'a Subject<'a>) -> Self {
        RuleJudge {
            set,
            subject,
            local: None,
            denied: None,
            denied_floors: Floors::NONE,
            allowed: None,
            allowed_floors: Floors::NONE,
            wrong_pin: None,
            lacking: None,
            missed: None,
            is_one_of_two: false,
        }
    }

    fn deny<O: Observer>(&mut self, rule: u32, observer: &mut O) {
        let Some(cell) = self.set.rules.cell(rule) else { return };
        let holds = self.holds(cell);
        if holds {
            self.denied_floors = self.denied_floors | self.set.rules.floors(rule, self.subject.target);
            self.denied = Some(self.denied.map_or(rule, |earlier| earlier.min(rule)));
        }
        observer.rule(rule, if holds { Outcome::Denies } else { Outcome::DeniesLater });
    }

    fn allow<O: Observer>(&mut self, rule: u32, observer: &mut O) {
        let Some(cell) = self.set.rules.cell(rule) else { return };
        let Gate::Allow(authentication) = cell.gate else { return };
        let floors = self.set.rules.floors(rule, self.subject.target) & !self.denied_floors;
        // What would not be named decides nothing at a door: most often that saves looking at a schedule.
        let settled = self.allowed.is_some_and(|(first, _)| first <= rule);
        let counts = authentication == Authentication::TwoPerson || matches!(self.subject.target, Target::Cab(_));
        if settled && !counts && !O::SEES {
            return;
        }
        let outcome = self.judge_allow(cell, authentication, floors);
        observer.rule(rule, outcome);
        if floors.is_empty() {
            return;
        }
        let first = |earlier: Option<u32>| Some(earlier.map_or(rule, |earlier| earlier.min(rule)));
        match outcome {
            Outcome::Allows => {
                self.allowed_floors = self.allowed_floors | floors;
                if !settled {
                    self.allowed = Some((rule, authentication));
                }
            }
            Outcome::WrongPin => self.wrong_pin = first(self.wrong_pin),
            Outcome::Lacks(Wants::Pin) => self.lack(rule, self.can_go_on(Wants::Pin), DenialReason::PinRequired),
            Outcome::Lacks(Wants::SecondPerson) => {
                self.lack(rule, self.can_go_on(Wants::SecondPerson), DenialReason::SecondPersonRequired);
            }
            Outcome::WantsPinAlone => self.lack(rule, None, DenialReason::PinRequired),
            Outcome::NotNow => self.missed = first(self.missed),
            Outcome::Denies | Outcome::DeniesLater | Outcome::Overruled | Outcome::Unsuited => {}
        }
        let two = authentication == Authentication::TwoPerson;
        self.is_one_of_two |= two && matches!(outcome, Outcome::Allows | Outcome::Lacks(Wants::SecondPerson));
    }

    /// Nobody stands at the reader of a virtual read.
    fn can_go_on(&self, wants: Wants) -> Option<Wants> {
        (self.subject.factor != Factor::Virtual).then_some(wants)
    }

    fn lack(&mut self, rule: u32, wants: Option<Wants>, reason: DenialReason) {
        if self.lacking.is_none_or(|(earlier, ..)| rule < earlier) {
            self.lacking = Some((rule, wants, reason));
        }
    }

    fn judge_allow(&mut self, cell: RuleCell, authentication: Authentication, floors: Floors) -> Outcome {
        if floors.is_empty() {
            return Outcome::Overruled;
        }
        let presented = match (authentication, self.subject.factor) {
            (Authentication::Card | Authentication::CardOrPin, Factor::Card(_) | Factor::Virtual) => Outcome::Allows,
            (Authentication::Pin | Authentication::CardOrPin, Factor::PinAlone { .. }) => Outcome::Allows,
            (Authentication::Pin, Factor::Card(_) | Factor::Virtual) => Outcome::WantsPinAlone,
            (Authentication::CardAndPin, Factor::Card(Some(Pin::Right | Pin::Duress))) => Outcome::Allows,
            (Authentication::CardAndPin, Factor::Card(Some(Pin::Wrong))) => Outcome::WrongPin,
            (Authentication::CardAndPin, Factor::Card(None) | Factor::Virtual) => Outcome::Lacks(Wants::Pin),
            (Authentication::TwoPerson, Factor::Card(_)) if self.subject.companion.is_some() => Outcome::Allows,
            (Authentication::TwoPerson, Factor::Card(_) | Factor::Virtual) => Outcome::Lacks(Wants::SecondPerson),
            (
                Authentication::Card | Authentication::CardAndPin | Authentication::TwoPerson,
                Factor::PinAlone { .. },
            ) => Outcome::Unsuited,
        };
        if presented == Outcome::Unsuited || self.holds(cell) { presented } else { Outcome::NotNow }
    }

    fn holds(&mut self, cell: RuleCell) -> bool {
        let denies = cell.gate == Gate::Deny;
        match (cell.schedule, self.subject.now.trust) {
            (None, _) => true,
            (Some(schedule), ClockTrust::Trusted) => self.schedule_holds(schedule, denies),
            (Some(_), ClockTrust::Untrusted) => {
                denies || self.subject.restriction.clock == ClockFallback::IgnoreSchedules
            }
        }
    }

    /// Compiling leaves no dangling schedule; were there one, it would deny.
    fn schedule_holds(&mut self, schedule: ScheduleIx, doubt: bool) -> bool {
        let Permissions { rules, clock, .. } = self.set;
        let local = self.local.get_or_insert_with(|| clock.at(self.subject.now.wall));
        rules.schedule(schedule).map_or(doubt, |schedule| schedule.holds(local))
    }

    fn verdict(&self) -> Result<Allowed, Refused> {
        let refused = |reason, rule| Refused { reason, rule: Some(rule), wants: None };
        let is_door = matches!(self.subject.target, Target::Door(_));
        if let (Some(rule), true) = (self.denied, is_door) {
            return Err(refused(DenialReason::ExplicitDeny, rule));
        }
        if let Some((rule, authentication)) = self.allowed {
            let floors = if is_door { Floors::NONE } else { self.allowed_floors };
            return Ok(Allowed { rule, authentication, floors });
        }
        Err(if let Some(rule) = self.wrong_pin {
            refused(DenialReason::WrongPin, rule)
        } else if let Some((rule, wants, reason)) = self.lacking {
            Refused { reason, rule: Some(rule), wants }
        } else if let Some(rule) = self.missed {
            match self.subject.now.trust {
                ClockTrust::Trusted => refused(DenialReason::OutsideSchedule, rule),
                ClockTrust::Untrusted => refused(DenialReason::ClockUntrusted, rule),
            }
        } else if let Some(rule) = self.denied {
            refused(DenialReason::ExplicitDeny, rule)
        } else {
            DenialReason::NoRule.into()
        })
    }
}
