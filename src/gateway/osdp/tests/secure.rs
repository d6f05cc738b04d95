//! Sessions: when there is one, when there is a new one, and what is never believed without.

use super::{
    line::{KEY, keyed, plan},
    *,
};
use crate::gateway::osdp::{KeyRing, Scbk};

#[test]
fn nothing_but_the_probe_and_the_handshake_is_ever_said_in_the_clear() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.readers[0].card();
    line.run(Duration::from_secs(2));
    let in_clear: Vec<u8> = line.readers[0].asked.iter().filter(|asked| !asked.2).map(|asked| asked.0).collect();
    assert_eq!(in_clear, [0x60, 0x76, 0x77]);
    assert_eq!((line.cards(0), line.online(0), line.security(0)), (1, 1, 0));
}

#[test]
fn a_reader_that_lost_its_session_has_a_new_one_within_its_turn_and_without_a_cleartext_poll() {
    let mut line = Line::new((0..4).map(Reader::secure).collect());
    line.run(Duration::from_secs(1));
    for reader in &mut line.readers {
        reader.asked.clear();
    }
    line.readers[2].restart();
    line.readers[2].card();
    let before = line.sent.len();
    line.run(Duration::from_millis(60));
    let to_it: Vec<usize> = (before..line.sent.len()).filter(|at| line.sent[*at].1[1] == 2).collect();
    assert!(to_it[..3].windows(2).all(|pair| pair[1] == pair[0] + 1), "{to_it:?}: three in a row");
    let asked: Vec<_> = line.readers[2].asked[..3].iter().map(|(code, _, secure)| (*code, *secure)).collect();
    assert_eq!(asked[1..], [(0x76, false), (0x77, false)]);
    assert!(!line.readers[2].asked.iter().any(|(code, _, secure)| *code == 0x60 && !secure));
    line.run(Duration::from_millis(200));
    assert_eq!((line.cards(2), line.lost(2), line.security(2)), (1, 0, 0));
    // The others' sessions are as they were.
    assert!([0, 1, 3].iter().all(|at| line.readers[*at].sessions == 1));
}

#[test]
fn a_reply_in_the_clear_from_a_secured_reader_is_a_security_event_and_its_card_is_not_taken() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].manner = Manner::Cleartext;
    line.readers[0].card();
    line.readers[0].card();
    line.run(Duration::from_secs(3));
    assert_eq!(line.cards(0), 0);
    assert!(line.security(0) >= 1);
    assert_eq!(line.lost(0), 1, "a reader that proves nothing is as good as gone");
}

#[test]
fn a_reader_with_another_key_is_not_let_in_and_told_of_once() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.readers[0].key = [1; 16];
    line.readers[0].card();
    line.run(Duration::from_secs(30));
    assert_eq!((line.cards(0), line.online(0), line.lost(0), line.security(0)), (0, 0, 1, 1));
    assert_eq!((line.online(1), line.lost(1)), (1, 0));
    // It does not take more of the line than its share.
    let to_it = line.sent.iter().filter(|(_, bytes)| bytes[1] == 0).count();
    assert!(to_it * 10 < line.sent.len(), "{to_it} of {}", line.sent.len());
}

#[test]
fn the_default_key_is_no_way_in_outside_of_installing() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.readers[0].key = *b"0123456789:;<=>?";
    line.readers[0].secure = Some(crate::wire::osdp::testkit::SecureReader::new(*b"0123456789:;<=>?"));
    line.readers[0].card();
    line.run(Duration::from_secs(10));
    assert_eq!((line.cards(0), line.online(0)), (0, 0));
    let mut keyless = Line::with(vec![plan(0, Protection::Secure(KeyRing::default()))], vec![Reader::secure(0)]);
    keyless.run(Duration::from_secs(5));
    assert_eq!((keyless.sent.len(), keyless.lost(0)), (0, 1));
}

fn installing(line: &Line, current: Option<[u8; 16]>) -> Protection {
    Protection::Secure(KeyRing {
        current: current.map(Scbk::new),
        pending: Some(Scbk::new([0x77; 16])),
        install_until: Some(line.now + Duration::from_secs(60)),
    })
}

#[test]
fn installing_gives_a_new_reader_its_own_key_before_anything_else_is_believed() {
    let mut line = Line::with(vec![plan(0, Protection::Secure(KeyRing::default()))], vec![Reader::secure(0)]);
    line.readers[0].key = *b"0123456789:;<=>?";
    line.readers[0].card();
    let protection = installing(&line, None);
    line.panel.protect(line.now, 0, protection);
    line.run(Duration::from_secs(3));
    assert_eq!(line.readers[0].key, [0x77; 16]);
    assert_eq!(line.said(0, |news| *news == News::KeyTaken(Scbk::new([0x77; 16]))), 1);
    assert_eq!((line.online(0), line.cards(0)), (1, 1));
    let at = |wanted: fn(&News) -> bool| line.news.iter().position(|(_, _, news)| wanted(news)).unwrap();
    assert!(at(|news| matches!(news, News::KeyTaken(_))) < at(|news| matches!(news, News::Card(_))));
}

#[test]
fn installing_gives_a_reader_that_has_a_key_another_one() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    let protection = installing(&line, Some(KEY));
    line.panel.protect(line.now, 0, protection);
    line.run(Duration::from_secs(3));
    assert_eq!(line.readers[0].key, [0x77; 16]);
    assert!(line.panel.is_online(0));
    assert_eq!(line.lost(0), 0);
}

#[test]
fn a_reader_that_lets_go_of_its_session_before_it_says_that_it_has_its_key_has_to_prove_it() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].manner = Manner::Forgetful;
    let protection = installing(&line, Some(KEY));
    line.panel.protect(line.now, 0, protection);
    line.run(Duration::from_secs(3));
    assert_eq!((line.readers[0].key, line.security(0)), ([0x77; 16], 0));
    assert_eq!(line.said(0, |news| matches!(news, News::KeyTaken(_))), 1);
    assert!(line.panel.is_online(0));
}

#[test]
fn a_key_that_a_reader_took_while_the_answer_was_lost_is_found_again() {
    // The node stored `pending`, sent it, and was killed before the answer.
    let ring = KeyRing { current: Some(Scbk::new(KEY)), pending: Some(Scbk::new([0x77; 16])), install_until: None };
    let mut line = Line::with(vec![plan(0, Protection::Secure(ring))], vec![Reader::secure(0)]);
    line.readers[0].key = [0x77; 16];
    line.run(Duration::from_secs(2));
    assert_eq!((line.online(0), line.security(0)), (1, 0));
    assert_eq!(line.said(0, |news| matches!(news, News::KeyTaken(_))), 1);
}

#[test]
fn the_time_for_installing_ends() {
    let mut line = Line::with(vec![plan(0, Protection::Secure(KeyRing::default()))], vec![Reader::secure(0)]);
    line.readers[0].manner = Manner::Dead;
    let protection = installing(&line, None);
    line.panel.protect(line.now, 0, protection);
    line.run(Duration::from_secs(61));
    assert_eq!(line.said(0, |news| matches!(news, News::InstallEnded { .. })), 1);
    line.readers[0].key = *b"0123456789:;<=>?";
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(10));
    assert_eq!(line.online(0), 0);
    assert_eq!(line.readers[0].key, *b"0123456789:;<=>?");
}

#[test]
fn the_same_protection_again_changes_nothing() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.panel.protect(line.now, 0, keyed());
    line.run(Duration::from_secs(1));
    assert_eq!(line.readers[0].sessions, 1);
}

#[test]
fn lost_and_corrupt_replies_within_a_session_cost_no_session() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    for manner in [Manner::Mute(1), Manner::Corrupt(1), Manner::Mute(2), Manner::Busy(3)] {
        line.readers[0].manner = manner;
        line.readers[0].card();
        line.run(Duration::from_secs(1));
    }
    assert_eq!((line.cards(0), line.readers[0].sessions, line.lost(0), line.security(0)), (4, 1, 0, 0));
}
