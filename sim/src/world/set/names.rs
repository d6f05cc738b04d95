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
    RawCard::new(32, FIRST_CARD + u128::from(person))
}

/// Emergency cards come after those of the people and after the stranger's.
pub fn emergency_card_of(number: u64) -> RawCard {
    card_of(PERSONS + 10 + number)
}

/// Guests are known by edits at the node alone.
pub fn guest_card_of(number: u64) -> RawCard {
    card_of(PERSONS + 20 + number)
}

pub fn guest_id(number: u64) -> Id {
    id(&format!("guest-{number}"))
}

pub fn guest_card_id(number: u64) -> Id {
    id(&format!("guest-card-{number}"))
}

/// The PIN that goes with a person's card, and the one that they type when they are forced.
pub fn pin_of(person: u64) -> String {
    format!("10{person}1")
}

pub fn duress_pin_of(person: u64) -> String {
    format!("90{person}9")
}

/// A PIN that is a credential by itself, plain and under duress.
pub fn pin_alone_of(person: u64, duress: bool) -> String {
    format!("{}0{person}7", if duress { 8 } else { 7 })
}

/// Of the emergency card that has one.
pub const EMERGENCY_PIN: &str = "5150";

pub fn hashed(text: &str) -> Token {
    token(&credential_key(), text)
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
