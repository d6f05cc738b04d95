//! The decision. Owns the order of reasons; must never allocate, and never grant on a doubt.
//! Invariant: for one set, one request and one instant there is one answer.
//!
//! In this order, the first that applies:
//!
//! | reason | when |
//! |---|---|
//! | `bad_format` | the read is impossible |
//! | `stale_permissions` | no set was ever received |
//! | `bad_format` | no credential matches and the parity does not fit |
//! | `unknown_credential` | no credential matches |
//! | `suspended` `lost` `stolen` | the credential's state |
//! | `emergency_only` `stale_permissions` | the door's policy for a stale set or an untrusted clock leaves no rule |
//! | `not_yet_active` `expired` | the credential's dates, then the person's |
//! | `explicit_deny` | a deny rule holds; the first by id is named |
//! | *granted* | an allow rule holds and has what it asks for; the first by id is named |
//! | `wrong_pin` | an allow rule holds and the PIN that came with the card is not the person's |
//! | `pin_required` `second_person_required` | an allow rule holds and asks for more; the first by id speaks |
//! | `outside_schedule` | an allow rule would hold at another time; the first by id is named |
//! | `no_rule` | nothing allows it |
//!
//! In a cab each floor is decided like a door of its own; the answer grants all floors that can be granted,
//! or says why there is none.
//!
//! With an untrusted clock nothing that depends on wall time is believed, and every doubt denies: a
//! credential or person with any date limit is refused (`clock_untrusted`), an allow rule with a schedule
//! does not hold (`clock_untrusted` in place of `outside_schedule`) unless the door's policy ignores
//! schedules, a deny rule with a schedule holds.
//!
//! Where a read fits several card formats, the first of them under which the set knows a credential is what was
//! meant; the others are other cards that look the same. Beside it the card may be enrolled by its bits, which
//! is this card in any case: then both must be granted, for a card that was reported lost in one form is lost
//! in every form. The first that is refused speaks, or the first of all that are granted.

use super::{
    Floors, Permissions, Request, Restriction, Target,
    cells::{Holding, Mark},
    judge::{Factor, Judged, Subject},
};
use crate::domain::{
    card_format::CardTokens,
    event::DenialReason,
    ids::{DoorIx, Id},
    record::{Authentication, Medium},
    time::Now,
};

/// The answer. The names in it are [`Id`]s of its own, or, from [`Permissions::judge`], borrowed from the
/// set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<Name = Id> {
    Granted {
        person: Name,
        /// `None` for a virtual read.
        credential: Option<Name>,
        rule: Name,
        /// What the rule asked for, and got.
        authentication: Authentication,
        /// With a two-person rule: the one who came before.
        companion: Option<Name>,
        /// In a cab: the floors.
        floors: Floors,
        /// The cardholder has extended release and open times.
        extended: bool,
        /// No anti-passback and no occupancy limit stops this person.
        apb_exempt: bool,
        /// The PIN was the one for duress: a silent alarm is due.
        duress: bool,
    },
    Denied {
        reason: DenialReason,
        person: Option<Name>,
        credential: Option<Name>,
        /// The rule that denied, or that would have allowed at another time or with more.
        rule: Option<Name>,
        /// What the next request may bring along for another answer.
        wants: Option<Wants>,
        /// The PIN was the one for duress: a silent alarm is due, though nobody was let in.
        duress: bool,
    },
}

/// What was missing, and can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// [`Request::pin`].
    Pin,
    /// The same place, somebody else's card, and this one as [`Request::companion`].
    SecondPerson,
}

impl<Name> Decision<Name> {
    pub fn is_granted(&self) -> bool {
        matches!(self, Decision::Granted { .. })
    }

    pub(super) fn unattributed(reason: DenialReason) -> Self {
        Decision::Denied { reason, person: None, credential: None, rule: None, wants: None, duress: false }
    }
}

impl Decision<&Id> {
    /// With names that outlive the set.
    pub fn cloned(self) -> Decision {
        match self {
            Decision::Granted {
                person,
                credential,
                rule,
                authentication,
                companion,
                floors,
                extended,
                apb_exempt,
                duress,
            } => Decision::Granted {
                person: person.clone(),
                credential: credential.cloned(),
                rule: rule.clone(),
                authentication,
                companion: companion.cloned(),
                floors,
                extended,
                apb_exempt,
                duress,
            },
            Decision::Denied { reason, person, credential, rule, wants, duress } => Decision::Denied {
                reason,
                person: person.cloned(),
                credential: credential.cloned(),
                rule: rule.cloned(),
                wants,
                duress,
            },
        }
    }
}

impl Permissions {
    /// A card alone at a door, with names that outlive the set.
    pub fn decide(&self, card: &CardTokens, door: DoorIx, now: Now) -> Decision {
        self.judge(&Request::card(card, Target::Door(door), now)).cloned()
    }

    /// Without touching a reference count.
    pub fn judge(&self, request: &Request<'_>) -> Decision<&Id> {
        let card = request.card;
        if card.as_slice().is_empty() {
            return Decision::unattributed(DenialReason::BadFormat);
        }
        if !self.present {
            return Decision::unattributed(DenialReason::StalePermissions);
        }
        // What memory takes to answer then passes at once for both.
        if let Some(before) = request.companion {
            self.people.fetch(card);
            self.people.fetch(before);
        }
        let known = self.known(card);
        let before = request.companion.map(|card| self.known(card));
        let companion = before.and_then(|known| self.judge_companion(known, request));
        let mut granted = None;
        for held in known {
            let decision = self.judge_holding(held, request, companion);
            if !decision.is_granted() {
                return decision;
            }
            granted = granted.or(Some(decision));
        }
        let unknown = if card.well_formed() { DenialReason::UnknownCredential } else { DenialReason::BadFormat };
        granted.unwrap_or(Decision::unattributed(unknown))
    }

    /// What a read stands for in the set.
    pub(super) fn known(&self, card: &CardTokens) -> impl Iterator<Item = &Holding> {
        let (formats, bits) = card.split();
        let meant = formats.iter().find_map(|token| self.people.holding(token));
        meant.into_iter().chain(bits.and_then(|token| self.people.holding(token)))
    }

    /// As if this person had shown a card that is in order, or this credential of theirs, whatever its medium;
    /// nothing was typed and nobody else is there.
    pub fn judge_person(
        &self,
        person: &Id,
        credential: Option<&Id>,
        target: Target,
        now: Now,
        restriction: Restriction,
    ) -> Decision<&Id> {
        if !self.present {
            return Decision::unattributed(DenialReason::StalePermissions);
        }
        let place = self.people.persons.find(person);
        let Some((place, cell)) = place.and_then(|place| Some((place, self.people.persons.cell(place)?))) else {
            return Decision::unattributed(DenialReason::UnknownCredential);
        };
        let held = credential.map(|id| {
            let at = self.people.credentials.find(id)?;
            let held = self.people.credential(at).filter(|held| held.person == place)?;
            Some((held, self.people.credentials.name(at)?))
        });
        let (held, name) = match held {
            Some(Some((held, name))) => (Some(held), Some(name)),
            Some(None) => return Decision::unattributed(DenialReason::UnknownCredential),
            None => (None, None),
        };
        let credential = held.map(|held| (held.state, self.people.life_of_credential(held)));
        let holder = self.people.holder(place, cell);
        let subject = Subject::virtually(holder, credential, target, now, restriction);
        self.answer(&subject, name, self.judge_subject(&subject))
    }

    fn judge_holding<'a>(&'a self, held: &Holding, request: &Request<'_>, companion: Option<u32>) -> Decision<&'a Id> {
        let subject = self.subject(held, request, companion);
        let judged = self.judge_subject(&subject);
        self.answer(&subject, self.people.credentials.name_of_taken(held.credential), judged)
    }

    pub(super) fn subject(&self, held: &Holding, request: &Request<'_>, companion: Option<u32>) -> Subject<'_> {
        let factor = match held.medium {
            Medium::Pin => Factor::PinAlone { duress: held.is(Mark::Duress) },
            Medium::Card | Medium::Mobile | Medium::Plate | Medium::Qr => {
                Factor::Card(request.pin.map(|pin| self.people.judge_pin(held, &pin)))
            }
        };
        let Request { target, now, restriction, .. } = *request;
        // Nobody is one's own second person.
        let companion = companion.filter(|companion| *companion != held.person);
        let [life, life_of_holder] = self.people.lives(held, now);
        let credential = Some((held.state, life));
        let holder = self.people.holder_of(held, life_of_holder);
        Subject { holder, credential, factor, target, now, restriction, companion }
    }

    /// The one who came before, if all that this card matches would be let in here as one of two.
    pub(super) fn companion_of(&self, request: &Request<'_>) -> Option<u32> {
        self.judge_companion(self.known(request.companion?), request)
    }

    fn judge_companion<'a>(&self, known: impl Iterator<Item = &'a Holding>, request: &Request<'_>) -> Option<u32> {
        let mut found = None;
        for held in known {
            let alone = Request { pin: None, companion: None, ..*request };
            if !self.is_one_of_two(&self.subject(held, &alone, None)) {
                return None;
            }
            found = found.or(Some(held.person));
        }
        found
    }

    fn answer<'a>(&'a self, subject: &Subject<'_>, credential: Option<&'a Id>, judged: Judged) -> Decision<&'a Id> {
        let people = &self.people;
        let Some(person) = people.persons.name_of_taken(subject.holder.person) else {
            return Decision::unattributed(DenialReason::UnknownCredential);
        };
        let duress = subject.factor.is_duress();
        let denied = |reason, rule: Option<u32>, wants| Decision::Denied {
            reason,
            person: Some(person),
            credential,
            rule: rule.and_then(|rule| self.rules.name(rule)),
            wants,
            duress,
        };
        match judged.verdict {
            Ok(allowed) => {
                // Compiling leaves no rule without a name; were there one, it would not grant.
                let Some(rule) = self.rules.name(allowed.rule) else {
                    return denied(DenialReason::NoRule, None, None);
                };
                let companion = subject.companion.filter(|_| allowed.authentication == Authentication::TwoPerson);
                Decision::Granted {
                    person,
                    credential,
                    rule,
                    authentication: allowed.authentication,
                    companion: companion.and_then(|companion| people.persons.name_of_taken(companion)),
                    floors: allowed.floors,
                    extended: subject.holder.extended,
                    apb_exempt: subject.holder.apb_exempt,
                    duress,
                }
            }
            Err(refused) => denied(refused.reason, refused.rule, refused.wants),
        }
    }
}
