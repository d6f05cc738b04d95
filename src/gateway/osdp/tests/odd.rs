//! What readers say that is not asked for, and other settings of the line that they are told to take.

use super::{
    line::{keyed, plan},
    *,
};

#[test]
fn a_makers_own_reply_and_one_of_an_unknown_code_are_counted_and_stop_nothing() {
    for reader in [Reader::secure(0), Reader::plain(0)] {
        let mut line = Line::new(vec![reader]);
        line.run(Duration::from_millis(300));
        for _ in 0..5 {
            line.readers[0].queue.push_back((0x90, vec![0x5C, 0x26, 0x23, 1, 2, 3]));
        }
        line.readers[0].queue.push_back((0x90, vec![1]));
        line.readers[0].queue.push_back((0x77, vec![1; 40]));
        line.readers[0].card();
        line.run(Duration::from_millis(500));
        let of_maker = |news: &News| matches!(news, News::Manufacturer { vendor: [0x5C, 0x26, 0x23], bytes: 3, .. });
        assert_eq!(line.said(0, of_maker), 3, "the first, the second, the fourth: {:?}", line.news);
        assert_eq!((line.cards(0), line.lost(0), line.security(0)), (1, 0, 0));
        assert_eq!(line.online(0), 1);
    }
}

#[test]
fn a_reader_that_is_told_to_take_another_address_is_spoken_to_there_from_its_word_on() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    let mut out = Vec::new();
    line.panel.set_line(0, 9, 115_200, &mut out);
    assert_eq!(out, []);
    line.run(Duration::from_secs(1));
    assert_eq!(line.readers[0].address, 9);
    assert_eq!(line.said(0, |news| *news == News::LineSet { address: 9, baud: 115_200 }), 1);
    line.readers[0].card();
    line.run(Duration::from_secs(2));
    assert_eq!((line.cards(0), line.lost(0), line.security(0)), (1, 0, 0));
    assert_eq!((line.lost(1), line.readers[1].sessions), (0, 1));
}

fn kept(line: &Line, words: &str) -> usize {
    line.said(0, |news| matches!(news, News::LineKept { detail } if detail.contains(words)))
}

fn comsets(line: &Line) -> usize {
    line.readers.iter().flat_map(|reader| &reader.asked).filter(|(code, ..)| *code == 0x6E).count()
}

#[test]
fn an_address_at_which_somebody_answers_is_given_to_nobody_and_nothing_is_changed() {
    // One in the clear, one that wants a session, one that knows the checksum alone, two with one address.
    let strangers = [vec![Reader::plain(9)], vec![Reader::secure(9)], vec![Reader::plain(9), Reader::secure(9)]];
    for stranger in strangers {
        let mut readers = vec![Reader::secure(0), Reader::secure(1)];
        readers.extend(stranger);
        let mut line = Line::with(vec![plan(0, keyed()), plan(1, keyed())], readers);
        line.run(Duration::from_secs(1));
        let mut out = Vec::new();
        line.panel.set_line(0, 9, 115_200, &mut out);
        assert_eq!(out, []);
        line.run(Duration::from_secs(2));
        assert_eq!(kept(&line, "address 9 answers already at 115200 baud"), 1, "{:?}", line.news);
        assert_eq!((comsets(&line), line.readers[0].address), (0, 0));
        // The conversations are as they were, and the speed of the line.
        line.readers[0].card();
        line.run(Duration::from_millis(300));
        assert_eq!((line.cards(0), line.lost(0), line.lost(1)), (1, 0, 0));
        assert_eq!((line.readers[0].sessions, line.readers[1].sessions, line.panel.baud()), (1, 1, 115_200));
    }
}

#[test]
fn bytes_that_nobody_understands_are_somebody_as_well() {
    let mut line = Line::with(vec![plan(0, keyed())], vec![Reader::secure(0), Reader::plain(9)]);
    line.readers[1].manner = Manner::Corrupt(99);
    line.run(Duration::from_secs(1));
    line.panel.set_line(0, 9, 115_200, &mut Vec::new());
    line.run(Duration::from_secs(2));
    assert_eq!((kept(&line, "no answer of one reader"), comsets(&line)), (1, 0), "{:?}", line.news);
}

#[test]
fn the_new_speed_is_asked_at_as_well_and_left_again() {
    let mut line = Line::with(vec![plan(0, keyed()), plan(1, keyed())], vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    let before = line.sent.len();
    line.panel.set_line(0, 9, 9_600, &mut Vec::new());
    let mut speeds = Vec::new();
    while comsets(&line) == 0 {
        let sent = line.sent.len();
        line.run(Duration::from_millis(1));
        assert!(line.sent.len() - before < 1_000, "it is told in the end");
        if let Some((_, bytes)) = line.sent[sent..].iter().find(|(_, bytes)| bytes[1] == 9) {
            assert_eq!(bytes[5], 0x60, "a POLL and nothing else");
            speeds.push(line.panel.baud());
        }
    }
    assert_eq!(speeds, [115_200, 115_200, 9_600, 9_600], "with either check");
    assert_eq!(line.panel.baud(), 115_200);
    // Another speed alone: at its own address and speed it would answer itself.
    let mut line = Line::with(vec![plan(0, keyed())], vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.panel.set_line(0, 0, 9_600, &mut Vec::new());
    let before = line.sent.len();
    while line.panel.baud() == 115_200 {
        line.run(Duration::from_micros(100));
        assert!(line.sent.len() <= before + 1, "asked with the next transaction");
    }
    assert_eq!((line.panel.baud(), comsets(&line)), (9_600, 0));
}

#[test]
fn while_it_is_asked_who_is_there_doors_wait_for_no_more_than_one_answer() {
    let mut reader = plan(0, keyed());
    let board = crate::domain::ids::BoardIx(7);
    reader.points = Some(crate::domain::fieldbus::ReaderPoints::new(board, 0, 1));
    let mut line = Line::with(vec![reader, plan(1, keyed())], vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    line.panel.set_line(1, 9, 9_600, &mut Vec::new());
    line.run(Duration::from_millis(30));
    let (level, began) = (crate::domain::outputs::Level::Energised, line.now);
    let output = crate::domain::ids::OutputRef { board, output: 0 };
    let order = Some((crate::domain::outputs::Ticket(1), began + Duration::from_millis(800)));
    line.panel
        .set_desired(began, &[crate::domain::outputs::Desired { output, level, until: None, rest: level, order }]);
    line.run(Duration::from_millis(300));
    let (on, _) = line.readers[0].outputs[0].moves[0];
    assert!(on.since(began) < Duration::from_millis(230), "{:?}", on.since(began));
    line.run(Duration::from_secs(3));
    assert_eq!(line.readers[1].address, 9, "and then it goes on");
}

#[test]
fn a_port_that_goes_meanwhile_leaves_the_reader_as_it_was_and_says_so() {
    let mut line = Line::with(vec![plan(0, keyed())], vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.panel.set_line(0, 9, 115_200, &mut Vec::new());
    line.run(Duration::from_millis(30));
    let mut out = Vec::new();
    line.panel.cut(line.now, &mut out);
    assert!(out.iter().any(|(_, news)| matches!(news, News::LineKept { .. })), "{out:?}");
    line.run(Duration::from_secs(3));
    assert_eq!((comsets(&line), line.panel.is_online(0)), (0, true));
}

#[test]
fn a_reader_that_takes_another_address_without_a_word_is_looked_for_at_both() {
    for silent in [true, false] {
        let mut line = Line::new(vec![Reader::secure(0)]);
        line.run(Duration::from_secs(1));
        line.readers[0].moves_silently = silent;
        let mut out = Vec::new();
        line.panel.set_line(0, 9, 115_200, &mut out);
        // Until it is known that nobody else is there.
        line.run(Duration::from_millis(400));
        line.readers[0].manner = if silent { Manner::Normal } else { Manner::Dead };
        line.run(Duration::from_millis(800));
        line.readers[0].manner = Manner::Normal;
        line.run(Duration::from_secs(5));
        assert!(line.panel.is_online(0), "{:?}", line.news);
        let (set, not_set) = (
            line.said(0, |news| matches!(news, News::LineSet { address: 9, .. })),
            line.said(0, |news| matches!(news, News::LineNotSet { detail } if detail.contains("where it was"))),
        );
        assert_eq!((set, not_set), if silent { (1, 0) } else { (0, 1) }, "{:?}", line.news);
    }
}

#[test]
fn a_reader_that_refuses_another_address_keeps_its_own_and_its_session() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].ignorant = vec![0x6E];
    line.panel.set_line(0, 9, 115_200, &mut Vec::new());
    line.run(Duration::from_secs(2));
    assert_eq!(line.said(0, |news| matches!(news, News::LineNotSet { detail } if detail.contains("refuses"))), 1);
    assert_eq!((line.readers[0].address, line.readers[0].sessions, line.lost(0)), (0, 1, 0));
}

#[test]
fn a_reader_that_is_not_there_is_told_nothing_later() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_secs(3));
    let mut out = Vec::new();
    line.panel.set_line(0, 9, 115_200, &mut out);
    assert!(matches!(out[..], [(0, News::LineNotSet { .. })]));
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(3));
    assert_eq!((line.readers[0].address, line.panel.is_online(0)), (0, true));
}

#[test]
fn settings_that_nobody_asked_for_are_not_taken_from_a_reader() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    line.readers[0].queue.push_back((0x54, vec![1, 0, 0xC2, 1, 0]));
    line.run(Duration::from_secs(2));
    assert_eq!((line.lost(0), line.lost(1)), (0, 0));
    assert_eq!(line.said(0, |news| matches!(news, News::LineSet { .. })), 0);
}
