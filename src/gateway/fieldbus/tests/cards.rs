use super::rig::{CLEARED, COUNTER, FakeBoard, Mood, Rig, profile};
use crate::{
    domain::{
        card_bits::CardBits,
        fieldbus::{BusReport, RawCard},
        ids::BoardIx,
    },
    gateway::fieldbus::{Request, Table},
};

fn set(board: &mut FakeBoard, address: u16, words: &[u16]) {
    for (at, word) in (address..).zip(words) {
        board.words.insert((Table::HoldingRegister, at), *word);
    }
}

/// The counting block alone, with so many registers of data.
fn with_words(data_words: u16) -> Rig {
    let mut profile = profile();
    profile.card_blocks.truncate(1);
    profile.card_blocks[0].data_words = data_words;
    let mut rig = Rig::new(1, &profile);
    rig.run(1_000);
    rig
}

fn card(block: u16, bits: u16, value: u128) -> BusReport {
    BusReport::Card { board: BoardIx(0), block, card: RawCard::new(bits, value) }
}

fn cards(rig: &mut Rig) -> Vec<BusReport> {
    rig.reported().into_iter().filter(|report| matches!(report, BusReport::Card { .. })).collect()
}

#[test]
fn a_counter_that_changes_is_a_card_once() {
    let mut rig = Rig::up(1);
    set(rig.board(), COUNTER, &[1, 26, 0x0280, 0x0F0A]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), [card(0, 26, 0x0280_0F0A)]);
    // The same card again is another read.
    set(rig.board(), COUNTER, &[2]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), [card(0, 26, 0x0280_0F0A)]);
}

#[test]
fn what_stood_in_the_registers_before_is_no_card() {
    let mut rig = Rig::new(1, &profile());
    set(rig.board(), COUNTER, &[7, 26, 0x0280, 0x0F0A]);
    set(rig.board(), CLEARED, &[26, 0, 1, 2]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), []);
    set(rig.board(), CLEARED, &[26, 0, 1, 2]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), [card(1, 26, 0x1_0002)]);
}

#[test]
fn a_card_that_was_shown_during_an_outage_opens_nothing_afterwards() {
    let mut rig = Rig::up(1);
    set(rig.board(), COUNTER, &[1, 26, 0, 1]);
    rig.run(500);
    rig.board().mood = Mood::Silent;
    rig.run(3_000);
    set(rig.board(), COUNTER, &[2, 26, 0, 2]);
    set(rig.board(), CLEARED, &[26, 0, 0, 2]);
    rig.reports.clear();
    rig.board().mood = Mood::Well;
    rig.run(10_000);
    assert_eq!(cards(&mut rig), []);
}

#[test]
fn a_board_that_restarts_replays_no_card() {
    let mut rig = Rig::up(1);
    set(rig.board(), COUNTER, &[9, 26, 0, 1]);
    rig.run(500);
    rig.reports.clear();
    rig.board().moods = vec![Mood::Silent];
    rig.run(60);
    rig.board().reboot();
    set(rig.board(), COUNTER, &[0, 26, 0, 1]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), []);
}

#[test]
fn a_connection_that_the_board_closes_now_and_then_costs_no_card() {
    let mut rig = Rig::up(1);
    for count in 1..20 {
        rig.board().moods = vec![Mood::Unreachable];
        set(rig.board(), COUNTER, &[count, 26, 0, count]);
        rig.run(250);
        assert_eq!(cards(&mut rig), [card(0, 26, u128::from(count))]);
    }
}

#[test]
fn a_waiting_card_is_reported_and_cleared_once() {
    let mut rig = Rig::up(1);
    set(rig.board(), CLEARED, &[32, 0, 0xDEAD, 0xBEEF]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), [card(1, 32, 0xDEAD_BEEF)]);
    assert_eq!(rig.writes().len(), 1);
    assert_eq!(rig.writes()[0].1, Request::WriteRegister { address: CLEARED, value: 0 });
}

#[test]
fn a_clearing_that_fails_is_repeated_and_the_card_is_not_reported_again() {
    let mut rig = Rig::up(1);
    set(rig.board(), CLEARED, &[32, 0, 0xDEAD, 0xBEEF]);
    rig.run(50);
    // Find the clearing and refuse it, three times in different ways.
    rig.board().moods = vec![Mood::Exception(6), Mood::Well, Mood::Silent, Mood::Well];
    rig.run(3_000);
    assert_eq!(cards(&mut rig), [card(1, 32, 0xDEAD_BEEF)]);
    assert_eq!(rig.board().words.get(&(Table::HoldingRegister, CLEARED)), Some(&0));
}

#[test]
fn a_block_that_cannot_be_cleared_does_not_take_the_line() {
    let mut rig = Rig::up(1);
    set(rig.board(), CLEARED, &[32, 0, 0xDEAD, 0xBEEF]);
    rig.run(20);
    rig.wire.clear();
    for _ in 0..100 {
        rig.run(100);
        set(rig.board(), CLEARED, &[32, 0, 0xDEAD, 0xBEEF]);
    }
    let clears = rig.writes().len();
    assert!((20..=110).contains(&clears), "{clears}");
    let discrete =
        rig.wire.iter().filter(|(_, _, request)| matches!(request, Request::Read { table: Table::DiscreteInput, .. }));
    assert!(discrete.count() > 80);
}

#[test]
fn another_card_that_overwrites_the_taken_one_is_reported_too() {
    let mut rig = Rig::up(1);
    rig.board().stuck.insert(CLEARED);
    set(rig.board(), CLEARED, &[26, 0, 0, 1]);
    rig.run(110);
    set(rig.board(), CLEARED, &[26, 0, 0, 2]);
    rig.board().stuck.clear();
    rig.run(1_000);
    let seen = cards(&mut rig);
    assert!(seen == [card(1, 26, 1), card(1, 26, 2)] || seen == [card(1, 26, 2)], "{seen:?}");
}

#[test]
fn a_block_that_takes_two_reads_is_believed_when_two_looks_agree() {
    let mut profile = profile();
    profile.read_registers_max = 2;
    let mut rig = Rig::new(1, &profile);
    rig.run(1_000);
    set(rig.board(), COUNTER, &[1, 26, 0x0280, 0x0F0A]);
    rig.run(1_000);
    assert_eq!(cards(&mut rig), [card(0, 26, 0x0280_0F0A)]);
}

#[test]
fn a_card_of_200_bits_and_the_longest_come_whole_in_one_read_and_in_several() {
    // The board of these tests lets 32 registers be read at once.
    for (bits, words) in [(200, 13), (200, 30), (257, 17), (1024, 64)] {
        let mut rig = with_words(words);
        let mut shown = vec![1, bits];
        shown.extend((0..words).map(|word| 0xA500 | word));
        // Bits beyond the card's are not the card's.
        let spare = words * 16 - bits;
        for word in &mut shown[2..][..usize::from(spare / 16)] {
            *word = 0;
        }
        shown[2 + usize::from(spare / 16)] &= u16::MAX >> (spare % 16);
        set(rig.board(), COUNTER, &shown);
        rig.run(2_000);
        let value = CardBits::from_last(16, shown[2..].iter().rev().copied());
        let expected = BusReport::Card { board: BoardIx(0), block: 0, card: RawCard::of(bits, value) };
        assert_eq!(cards(&mut rig), [expected], "{bits} bits in {words} registers");
        assert!(value.significant_bits() > bits - 16);
    }
}

#[test]
fn a_long_card_that_its_registers_do_not_hold_is_no_card_and_a_short_one_is_as_it_always_was() {
    for (bits, words, cut) in
        [(200, 12, true), (129, 2, true), (1025, 64, true), (256, 16, false), (49, 2, false), (128, 3, false)]
    {
        let mut rig = with_words(words);
        set(rig.board(), COUNTER, &[1, bits, 0, 7]);
        rig.run(2_000);
        match &cards(&mut rig)[..] {
            [BusReport::Card { card, .. }] => assert_eq!((card.bits, card.cut), (bits, cut), "in {words} registers"),
            other => panic!("{other:?}"),
        }
    }
}
