//! What is asked: who, where, when, and with what in hand. Owns the question's shape; must never answer.
//! Invariant: a question that leaves something out asks for no more than a card can give.

use crate::domain::{
    card_format::CardTokens,
    ids::DoorIx,
    record::{ClockFallback, Token, WhenStale},
    time::Now,
};

/// Where somebody wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Door(DoorIx),
    /// An elevator's cab, by the position of its floor group in the topology: any of its floors.
    Cab(u16),
}

/// What is narrowed while the node is left alone: as the door's policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Counts only while the clock is not trusted.
    pub clock: ClockFallback,
    /// [`WhenStale::Keep`] while the set is fresh.
    pub stale: WhenStale,
}

impl Restriction {
    pub const NONE: Restriction = Restriction { clock: ClockFallback::AlwaysRules, stale: WhenStale::Keep };
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the reader delivered. For a virtual read, see
    /// [`judge_person`](super::Permissions::judge_person).
    pub card: &'a CardTokens,
    pub target: Target,
    pub now: Now,
    /// What was typed to go with the card: the token of `pin:{person}:{digits}`.
    pub pin: Option<Token>,
    /// The card of the one who came before, to whom this one is the second person.
    pub companion: Option<&'a CardTokens>,
    pub restriction: Restriction,
}

impl<'a> Request<'a> {
    /// A card alone.
    pub fn card(card: &'a CardTokens, target: Target, now: Now) -> Request<'a> {
        Request { card, target, now, pin: None, companion: None, restriction: Restriction::NONE }
    }
}
