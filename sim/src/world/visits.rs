//! What people do at keypads, in the elevator and at the key lockers, at random. Owns how they type; must never know
//! how it goes.

use std::time::Duration;

use latchd::domain::fieldbus::RawCard;

use super::{
    What, World,
    field::FieldEvent,
    set::{
        cellar::{BACKUP_CODES, LOCKER_PIN, RETURN_CODE},
        names::{EMERGENCY_PIN, PERSONS, card_of, duress_pin_of, emergency_card_of, pin_alone_of, pin_of},
    },
    site::{BACK_PAD, CAB, CABINET, SAFE_PAD},
};

const STAR: u128 = 10;
const HASH: u128 = 11;

fn key(value: u128) -> RawCard {
    RawCard::new(4, value)
}

fn keys(digits: &str) -> impl Iterator<Item = RawCard> {
    let digit = |digit: char| key(u128::from(digit.to_digit(10).unwrap_or(0)));
    digits.chars().map(digit).chain([key(HASH)])
}

impl World {
    /// One after the other at one reader.
    fn presented(&mut self, reader: usize, frames: impl IntoIterator<Item = RawCard>) {
        let mut after = Duration::ZERO;
        for frame in frames {
            self.post(after, What::Field(FieldEvent::Read(reader, frame)));
            after += if self.rng.permille(30) { self.rng.millis(500, 3_000) } else { self.rng.millis(30, 200) };
        }
    }

    pub(super) fn visit_pad(&mut self) {
        let reader = [BACK_PAD, SAFE_PAD][self.rng.index(2)];
        let person = self.rng.below(PERSONS);
        self.count("visits at keypads");
        match self.rng.below(24) {
            0..10 => self.card_and_pin(reader, person),
            10..13 => {
                let (one, duress) = (1 + self.rng.below(2), self.rng.permille(250));
                let right = self.rng.permille(700);
                let digits = if right { pin_alone_of(one, duress) } else { self.rng.below(9_999).to_string() };
                self.presented(reader, keys(&digits));
            }
            13..17 => {
                let second = self.rng.below(PERSONS);
                self.present(reader, card_of(person));
                let after = self.rng.millis(100, 3_000);
                self.post(after, What::Field(FieldEvent::Read(reader, card_of(second))));
            }
            _ => {
                let number = u64::from(self.rng.permille(300));
                let digits = if self.rng.permille(700) { EMERGENCY_PIN } else { "1" };
                let pin = keys(digits).filter(|_| number == 1);
                self.presented(reader, std::iter::once(emergency_card_of(number)).chain(pin).collect::<Vec<_>>());
            }
        }
    }

    fn card_and_pin(&mut self, reader: usize, person: u64) {
        let typed = match self.rng.below(20) {
            0..12 => pin_of(person),
            12..15 => duress_pin_of(person),
            15..18 => self.rng.below(9_999).to_string(),
            18 => "12345678901234567890".to_owned(),
            _ => return self.present(reader, card_of(person)),
        };
        let second_thoughts = self.rng.permille(100).then_some([key(7), key(STAR)]);
        let frames = std::iter::once(card_of(person)).chain(second_thoughts.into_iter().flatten()).chain(keys(&typed));
        self.presented(reader, frames.collect::<Vec<_>>());
    }

    pub(super) fn visit_lift(&mut self) {
        let person = self.rng.below(PERSONS + 1);
        self.count("rides");
        if self.rng.permille(60) {
            let digits = if self.rng.permille(600) { EMERGENCY_PIN } else { "1" };
            return self.presented(CAB, std::iter::once(emergency_card_of(1)).chain(keys(digits)).collect::<Vec<_>>());
        }
        // Those of the night must type their PIN; so do some who need not.
        if person < PERSONS && self.rng.permille(500) {
            self.card_and_pin(CAB, person);
        } else {
            self.present(CAB, card_of(person));
        }
        let (floor, after, held) = (self.rng.below(3) as u16, self.rng.millis(200, 5_000), self.rng.millis(100, 600));
        self.post(after, What::Field(FieldEvent::Choose(floor, true)));
        self.post(after + held, What::Field(FieldEvent::Choose(floor, false)));
    }

    /// At the key lockers, some of them several times, and with a choice where there may be one.
    fn emergency_card_and_pin(&mut self) {
        let mut frames = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let choice = ["1", "2", "2"][self.rng.index(3)];
            let chooses = self.rng.permille(500);
            let digits = if self.rng.permille(400) { EMERGENCY_PIN } else { "1" };
            frames.push(emergency_card_of(1));
            frames.extend(keys(choice).filter(|_| chooses).chain(keys(digits)));
        }
        self.count("emergency PINs at lockers");
        self.presented(CABINET, frames);
    }

    pub(super) fn visit_lockers(&mut self) {
        self.count("visits at lockers");
        match self.rng.below(17) {
            14..17 => self.emergency_card_and_pin(),
            11..14 => self.card_and_pin(CABINET, 3),
            0..4 => {
                let person = [0, 3, 3, 1][self.rng.index(4)];
                let choice = if self.rng.permille(500) { "1" } else { "2" };
                let more = self.rng.permille(300);
                let frames = std::iter::once(card_of(person)).chain(keys(choice).filter(|_| more));
                self.presented(CABINET, frames.collect::<Vec<_>>());
            }
            4..8 => {
                let code = BACKUP_CODES[self.rng.index(BACKUP_CODES.len())];
                self.presented(CABINET, keys(code));
            }
            8 => self.presented(CABINET, keys(RETURN_CODE)),
            9 => self.presented(CABINET, keys(LOCKER_PIN)),
            _ if self.rng.permille(600) => {
                let choice = if self.rng.permille(500) { "1" } else { "2" };
                let more = self.rng.permille(500);
                let frames = std::iter::once(emergency_card_of(2)).chain(keys(choice).filter(|_| more));
                self.count("emergency cards at lockers");
                self.presented(CABINET, frames.collect::<Vec<_>>());
            }
            _ => {
                let wrong = self.rng.below(9_999).to_string();
                self.presented(CABINET, keys(&wrong));
            }
        }
    }
}
