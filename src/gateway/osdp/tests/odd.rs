//! What readers say that is not asked for, and other settings of the line that they are told to take.

use super::*;

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

#[test]
fn a_reader_that_takes_another_address_without_a_word_is_looked_for_at_both() {
    for silent in [true, false] {
        let mut line = Line::new(vec![Reader::secure(0)]);
        line.run(Duration::from_secs(1));
        line.readers[0].moves_silently = silent;
        line.readers[0].manner = if silent { Manner::Normal } else { Manner::Dead };
        let mut out = Vec::new();
        line.panel.set_line(0, 9, 115_200, &mut out);
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
