//! Names, cards and keys that everything in a world agrees upon. Owns nothing that changes.

use jiff::tz::TimeZone;
use latchd::{
    domain::{card_format::CardFormats, fieldbus::RawCard, ids::Id, record::Token},
    wire::token::{CredentialKey, token},
};

use crate::world::site::id;

pub const PERSONS: u64 = 6;
/// Needs more time at doors.
pub const SLOW_PERSON: u64 = 5;
const FIRST_CARD: u128 = 0xC0DE_0000;
const KEY: [u8; 32] = [0x42; 32];

pub fn credential_key() -> CredentialKey {
    CredentialKey::new(&KEY)
}

pub fn zone() -> TimeZone {
    TimeZone::UTC
}

/// The card of a person; numbers past the last person's belong to nobody.
pub fn card_of(person: u64) -> RawCard {
    RawCard { bits: 32, value: FIRST_CARD + u128::from(person) }
}

pub fn person_id(person: u64) -> Id {
    id(&format!("p-{person}"))
}

pub fn card_id(person: u64) -> Id {
    id(&format!("c-{person}"))
}

/// All that the daemon may find in the set for what was read, in its order.
pub fn tokens_of(card: RawCard) -> (Vec<Token>, bool) {
    let tokens = CardFormats::built_in().read(card).tokens(|text| token(&credential_key(), text));
    (tokens.as_slice().to_vec(), tokens.well_formed())
}
