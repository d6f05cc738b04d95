//! Sequence numbers, retries, BUSY and NAK, on readers that may speak plainly.

use super::*;
use crate::{gateway::osdp::ReaderPlan, wire::osdp::frame::Check};

fn asked(line: &Line, reader: usize) -> Vec<(u8, u8)> {
    line.readers[reader].asked.iter().map(|(code, sequence, _)| (*code, *sequence)).collect()
}

#[test]
fn the_first_word_is_a_poll_under_zero_and_then_the_numbers_go_one_two_three() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run_commands(8);
    let asked = asked(&line, 0);
    assert_eq!(asked[0], (0x60, 0));
    let numbers: Vec<u8> = asked.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 1, 2, 3, 1]);
    // Who it is, what it can do and how it stands is asked once.
    let codes: Vec<u8> = asked.iter().map(|(code, _)| *code).collect();
    for code in [0x61, 0x62, 0x64, 0x67] {
        assert!(codes.contains(&code), "{code:x} in {codes:x?}");
    }
    assert_eq!(line.online(0), 1);
}

#[test]
fn a_retry_is_the_same_bytes_under_the_same_number_and_delivers_a_card_once() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].card();
    line.readers[0].manner = Manner::Mute(2);
    let before = line.sent.len();
    line.run(Duration::from_millis(600));
    assert_eq!(line.cards(0), 1);
    let lost = &line.sent[before..before + 3];
    assert_eq!((&lost[0].1, &lost[0].1), (&lost[1].1, &lost[2].1));
    assert_eq!((line.lost(0), line.online(0)), (0, 1));
}

#[test]
fn a_reader_that_is_busy_under_sequence_zero_is_asked_the_same_again() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].card();
    line.readers[0].manner = Manner::Busy(30);
    let before = line.sent.len();
    line.run(Duration::from_secs(2));
    let first = &line.sent[before].1;
    assert!(line.sent[before..before + 31].iter().all(|(_, bytes)| bytes == first));
    assert_eq!((line.cards(0), line.lost(0)), (1, 0));
    // It is not asked without a pause.
    assert!(line.sent[before + 1].0.since(line.sent[before].0) >= Duration::from_millis(20));
}

#[test]
fn a_reader_that_lost_count_is_begun_anew_with_zero() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].restart();
    line.readers[0].card();
    let before = line.readers[0].asked.len();
    line.run(Duration::from_millis(100));
    let asked = asked(&line, 0);
    assert_eq!(asked[before + 1].1, 0, "{:?}", &asked[before..before + 3]);
    assert_eq!((line.cards(0), line.lost(0)), (1, 0));
}

#[test]
fn corrupt_replies_are_asked_for_again_and_never_guessed() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].card();
    line.readers[0].manner = Manner::Corrupt(2);
    line.run(Duration::from_secs(1));
    let cards = line.news.iter().filter_map(|(_, _, news)| match news {
        News::Card(card) => card.value().to_u128(),
        _ => None,
    });
    assert_eq!(cards.collect::<Vec<_>>(), [0x2f6_23ae]);
}

#[test]
fn a_reader_that_knows_the_checksum_alone_is_spoken_to_with_it_in_the_clear_and_in_a_session() {
    for reader in [Reader::plain(0), Reader::secure(0)] {
        let protection = if reader.secure.is_some() { line::keyed() } else { Protection::Plain };
        let plan = ReaderPlan { check: Check::Checksum, ..line::plan(0, protection) };
        let mut line = Line::with(vec![plan], vec![reader]);
        line.readers[0].card();
        line.run(Duration::from_secs(1));
        assert_eq!((line.cards(0), line.online(0), line.lost(0)), (1, 1, 0));
        // Bit 2 of control: CRC.
        assert!(line.sent.iter().all(|(_, bytes)| bytes[4] & 4 == 0));
    }
}

#[test]
fn a_command_that_a_reader_does_not_know_stops_nothing() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].manner = Manner::Refuses(3);
    line.run(Duration::from_millis(300));
    line.readers[0].manner = Manner::Normal;
    line.readers[0].card();
    line.run(Duration::from_millis(300));
    assert_eq!((line.lost(0), line.online(0)), (0, 1));
}

#[test]
fn keys_and_tamper_become_known() {
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    line.readers[0].queue.push_back((0x53, vec![0, 2, b'1', 0x0D]));
    line.readers[0].queue.push_back((0x48, vec![1, 0]));
    line.run(Duration::from_millis(300));
    for wanted in [News::Keys { reader: 0, digits: vec![b'1', 0x0D] }, News::Tamper(false), News::Tamper(true)] {
        assert_eq!(line.said(0, |news| *news == wanted), 1, "{wanted:?} in {:?}", line.news);
    }
}

#[test]
fn a_wish_is_carried_out_between_polls_and_the_newest_counts() {
    use crate::wire::osdp::command::{BuzzerControl, Command, Tone};
    let mut line = Line::new(vec![Reader::plain(0)]);
    line.run(Duration::from_millis(300));
    let beep =
        |count| Command::Buzzer(BuzzerControl { reader: 0, tone: Tone::Default, on_tenths: 1, off_tenths: 1, count });
    line.panel.wish(0, beep(1));
    line.panel.wish(0, beep(2));
    line.readers[0].asked.clear();
    line.run(Duration::from_millis(100));
    assert_eq!(line.readers[0].asked.iter().filter(|(code, ..)| *code == 0x6A).count(), 1);
    let sent = line.sent.iter().filter(|(_, bytes)| bytes.get(5) == Some(&0x6A));
    assert_eq!(sent.map(|(_, bytes)| bytes[10]).collect::<Vec<_>>(), [2]);
}
