//! One card block: when a change in its registers is a card. Must never report one read twice, nor a
//! read that was made while nobody listened. Invariant: the first look after (re)connecting only notes
//! (`Counter`) or throws away (`ClearByWrite`) what stands there, so that neither a reboot nor an
//! outage opens a door by a card of earlier.

use crate::domain::{
    card_bits::CardBits,
    fieldbus::{CardBlock, CardHandshake, RawCard},
};

use super::plan::{Group, Table};

#[derive(Clone, Debug)]
pub struct Card {
    table: Table,
    handshake: CardHandshake,
    bits_fixed: u16,
    data_words: usize,
    /// Addresses: the data first, then the number of bits, then the counter, as far as they exist.
    registers: Vec<u16>,
    words: Vec<u16>,
    fresh: Vec<bool>,
    /// The block does not fit in one read, so two looks must agree before one is believed.
    split: bool,
    candidate: Option<Vec<u16>>,
    state: State,
    /// Frames were lost since the last look: a counter at zero is a reboot.
    disturbed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Not looked at since the board came.
    First,
    Counting {
        last: u16,
    },
    /// Cleared, waiting for a read.
    Clear,
    /// A read was taken (or thrown away), its clearing is not confirmed.
    Clearing {
        taken: RawCard,
    },
}

impl Card {
    pub fn new(block: &CardBlock, groups: &[Group]) -> Card {
        let table = Table::from(block.table);
        let mut registers: Vec<u16> = (0..block.data_words).map(|word| block.data_address.wrapping_add(word)).collect();
        registers.extend(block.bits_address);
        if let CardHandshake::Counter { address } = block.handshake {
            registers.push(address);
        }
        let whole = groups.iter().any(|group| registers.iter().all(|&address| group.covers(table, address)));
        Card {
            table,
            handshake: block.handshake,
            bits_fixed: block.bits_fixed,
            data_words: usize::from(block.data_words),
            words: vec![0; registers.len()],
            fresh: vec![false; registers.len()],
            registers,
            split: !whole,
            candidate: None,
            state: State::First,
            disturbed: false,
        }
    }

    /// Forget what was noted: the board went away and came back.
    pub fn reconnected(&mut self) {
        self.state = State::First;
        self.fresh.fill(false);
        self.candidate = None;
    }

    pub fn frame_lost(&mut self) {
        self.disturbed = true;
    }

    /// Takes from a read what belongs to this block; a card if that completes one.
    pub fn absorb(&mut self, group: &Group, words: &[u16]) -> Option<RawCard> {
        let mut touched = false;
        for (index, &address) in self.registers.iter().enumerate() {
            if !group.covers(self.table, address) {
                continue;
            }
            let Some(&word) = words.get(usize::from(address - group.address)) else { continue };
            if let (Some(slot), Some(fresh)) = (self.words.get_mut(index), self.fresh.get_mut(index)) {
                *slot = word;
                *fresh = true;
                touched = true;
            }
        }
        if !touched || self.fresh.contains(&false) {
            return None;
        }
        self.fresh.fill(false);
        if self.split && self.candidate.as_ref() != Some(&self.words) {
            self.candidate = Some(self.words.clone());
            return None;
        }
        self.look()
    }

    /// The register that takes the present read when zero is written to it, while that is due.
    pub fn clear_address(&self) -> Option<u16> {
        match self.state {
            State::Clearing { .. } if self.has_bits_register() => self.registers.get(self.data_words).copied(),
            State::Clearing { .. } => self.registers.first().copied(),
            _ => None,
        }
    }

    /// Whether `group` is needed to see that the clearing worked.
    pub fn is_in(&self, group: &Group) -> bool {
        self.registers.iter().any(|&address| group.covers(self.table, address))
    }

    fn has_bits_register(&self) -> bool {
        let counter = usize::from(matches!(self.handshake, CardHandshake::Counter { .. }));
        self.registers.len() > self.data_words + counter
    }

    fn look(&mut self) -> Option<RawCard> {
        let card = self.card();
        let disturbed = std::mem::take(&mut self.disturbed);
        match self.handshake {
            CardHandshake::Counter { .. } => {
                let counter = self.words.last().copied().unwrap_or(0);
                let before = std::mem::replace(&mut self.state, State::Counting { last: counter });
                match before {
                    State::Counting { last } if last != counter && !(disturbed && counter == 0) => {
                        (card.bits != 0 || !card.value.is_zero()).then_some(card)
                    }
                    _ => None,
                }
            }
            CardHandshake::ClearByWrite => {
                let waits = if self.has_bits_register() { card.bits != 0 } else { !card.value.is_zero() };
                let before = self.state;
                self.state = if waits { State::Clearing { taken: card } } else { State::Clear };
                match before {
                    State::Clear if waits => Some(card),
                    // Another card has overwritten the one that was taken.
                    State::Clearing { taken } if waits && taken != card => Some(card),
                    _ => None,
                }
            }
        }
    }

    fn card(&self) -> RawCard {
        let data = self.words.get(..self.data_words).unwrap_or(&[]);
        let value = CardBits::from_last(16, data.iter().rev().copied());
        let bits = if self.has_bits_register() {
            self.words.get(self.data_words).copied().unwrap_or(0)
        } else {
            self.bits_fixed
        };
        // Up to 128 bits count with zeros for what is missing, as they always have: somebody may be enrolled so.
        let room = (self.data_words * 16).max(128);
        RawCard { cut: usize::from(bits) > room, ..RawCard::of(bits, value) }
    }
}
