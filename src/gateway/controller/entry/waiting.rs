//! What one reader waits for: more digits, a PIN that goes with a card, a second person. Owns the wait; must
//! never decide. Invariant: a card that waits ends in exactly one event, at the latest when its time is over.
//!
//! ```text
//!             card that lacks a PIN or a second person
//!   idle ----------------------------------------------> waiting --PIN and #, or another's card--> judged
//!    ^ ^                                                   | ^ |
//!    | +--- the time is over, another card, the stop: -----+ | | digits, the same card again: waits on
//!    |      denied with what it lacked                       +-+
//!    +--- digits alone: # judges them, * and time drop them
//! ```

use crate::domain::{
    card_format::CardTokens,
    event::{CardEvidence, DenialReason},
    ids::Id,
    keypad::Digits,
    time::Mono,
};

#[derive(Debug, Default)]
pub struct AtReader {
    pub digits: Digits,
    pub waiting: Option<Waiting>,
    pub deadline: Option<Mono>,
}

/// A card of which it is known what it lacks.
#[derive(Debug)]
pub struct Waiting {
    pub who: Who,
    pub tokens: CardTokens,
    pub card: CardEvidence,
    pub lacks: DenialReason,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    Person { person: Id, credential: Option<Id>, rule: Option<Id> },
    EmergencyCard(Id),
}

impl AtReader {
    pub fn wait(&mut self, waiting: Waiting, until: Mono) {
        self.digits.clear();
        self.waiting = Some(waiting);
        self.deadline = Some(until);
    }

    /// What was waited for, if anything: with it go the digits that were typed meanwhile. Digits alone stay until
    /// their time is over.
    pub fn take(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.take()?;
        self.digits.clear();
        self.deadline = None;
        Some(waiting)
    }

    /// The time is over.
    pub fn expire(&mut self, now: Mono) -> Option<Waiting> {
        self.deadline.take_if(|due| *due <= now)?;
        self.digits.clear();
        self.waiting.take()
    }
}
