//! Readers that mean no good, or were built by somebody who read another standard: each answers for ever what it must
//! not. None of it is believed, none of it takes the line from the others, and it is over as soon as the reader is.

use super::{
    line::{Twist, keyed, plan},
    *,
};
use crate::{
    domain::{fieldbus::ReaderPoints, ids::BoardIx},
    gateway::osdp::{KeyRing, ReaderPlan, Scbk},
    wire::osdp::{
        command::{BuzzerControl, Command, Tone},
        frame::Received,
        testkit::{frame_of, reply},
    },
};

fn with_points(address: u8) -> ReaderPlan {
    ReaderPlan { points: Some(ReaderPoints::new(BoardIx(0), 2, 1)), ..plan(address, keyed()) }
}

fn twist(how: impl FnMut(&Received, Vec<u8>) -> Vec<u8> + 'static) -> Twist {
    Twist(Some(Box::new(how)))
}

fn asked(line: &Line, reader: usize, code: u8) -> usize {
    line.readers[reader].asked.iter().filter(|(asked, ..)| *asked == code).count()
}

#[test]
fn a_reader_that_says_in_its_session_that_it_is_busy_for_ever_is_lost_at_the_ceiling_and_asks_for_nothing_twice() {
    let mut line = Line::with(vec![with_points(0), plan(1, keyed())], vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    line.readers[0].says = |_| Some((0x79, Vec::new()));
    line.run(Duration::from_secs(7));
    assert_eq!(line.lost(0), 0, "not before the ceiling");
    line.run(Duration::from_secs(120));
    assert_eq!((line.lost(0), line.online(0)), (1, 1), "told once, and not that it is back each time it says so");
    assert_eq!((line.lost(1), line.readers[1].sessions), (0, 1));
    line.readers[0].says = |_| None;
    line.readers[0].card();
    line.readers[0].asked.clear();
    line.run(Duration::from_secs(3));
    assert_eq!((line.cards(0), line.online(0)), (1, 2));
    // What it was busy for is asked once.
    assert!(asked(&line, 0, 0x64) <= 3, "{} times", asked(&line, 0, 0x64));
}

#[test]
fn a_key_for_which_a_reader_was_too_busy_is_not_given_once_the_time_for_installing_is_over() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].says = |code| (code == 0x75).then_some((0x79, Vec::new()));
    let ring = KeyRing {
        current: Some(Scbk::new(line::KEY)),
        pending: Some(Scbk::new([0x77; 16])),
        install_until: Some(line.now + Duration::from_secs(5)),
    };
    line.panel.protect(line.now, 0, Protection::Secure(ring));
    line.run(Duration::from_secs(8));
    assert!(asked(&line, 0, 0x75) > 0);
    line.readers[0].says = |_| None;
    line.readers[0].asked.clear();
    line.run(Duration::from_secs(3));
    assert_eq!((asked(&line, 0, 0x75), line.readers[0].key), (0, line::KEY));
    assert!(line.panel.is_online(0));
}

#[test]
fn a_reader_that_speaks_in_the_clear_now_and_then_is_told_of_and_fills_no_log() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    let mut turn = 0;
    line.readers[0].twist = twist(move |received, answer| {
        turn += 1;
        let in_session = received.mac.is_some();
        if in_session && turn % 5 == 0 { reply(received, None, 0x40, Vec::new()) } else { answer }
    });
    line.run(Duration::from_secs(600));
    let told = line.security(0);
    assert!((2..=100).contains(&told), "{told} in ten minutes");
    assert_eq!((line.lost(1), line.readers[1].sessions), (0, 1));
}

#[test]
fn a_reader_that_was_without_power_for_a_moment_is_told_anew_what_it_shows() {
    for reader in [Reader::secure(0), Reader::plain(0)] {
        let mut line = Line::new(vec![reader]);
        line.run(Duration::from_secs(1));
        line.readers[0].restart();
        line.run(Duration::from_secs(1));
        assert_eq!((line.lost(0), line.online(0)), (0, 1), "nobody need know");
        assert_eq!(line.said(0, |news| *news == News::Renewed), 1, "but it has forgotten its LED");
    }
}

#[test]
fn a_light_that_was_under_way_when_the_session_was_lost_is_not_taken_for_shown() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].twist = twist(|received, answer| match received.frame.code {
        0x6A => reply(received, None, 0x41, vec![6]),
        _ => answer,
    });
    let beep = BuzzerControl { reader: 0, tone: Tone::Default, on_tenths: 1, off_tenths: 1, count: 1 };
    line.panel.wish(0, Command::Buzzer(beep));
    line.run(Duration::from_secs(1));
    assert_eq!(line.said(0, |news| *news == News::Renewed), 1);
}

#[test]
fn a_proof_that_is_answered_wrongly_for_ever_is_no_session_and_takes_a_bounded_share() {
    type Wrong = fn(&Received, Vec<u8>) -> Vec<u8>;
    let wrongs: [(&str, Wrong); 6] = [
        ("another initial MAC", |received, _| {
            let security = Some(crate::wire::osdp::frame::SecurityBlock { kind: 0x14, data: vec![1] });
            reply(received, security, 0x78, vec![7; 16])
        }),
        ("too short a MAC", |received, _| {
            let security = Some(crate::wire::osdp::frame::SecurityBlock { kind: 0x14, data: vec![1] });
            reply(received, security, 0x78, vec![7; 3])
        }),
        ("a refusal in the right frame", |received, answer| {
            let security = Some(crate::wire::osdp::frame::SecurityBlock { kind: 0x14, data: vec![0xFF] });
            reply(received, security, 0x78, frame_of(&answer).frame.data)
        }),
        ("ACK", |received, _| reply(received, None, 0x40, Vec::new())),
        ("a card", |received, _| reply(received, None, 0x50, vec![0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80])),
        ("NAK", |received, _| reply(received, None, 0x41, vec![5])),
    ];
    for (name, wrong) in wrongs {
        let mut reader = Reader::secure(0);
        reader.twist =
            twist(move |received, answer| if received.frame.code == 0x77 { wrong(received, answer) } else { answer });
        let mut line = Line::new(vec![reader, Reader::secure(1)]);
        line.readers[0].card();
        line.run(Duration::from_secs(60));
        assert_eq!((line.online(0), line.cards(0), line.lost(0)), (0, 0, 1), "{name}");
        assert!(line.security(0) <= 6, "{name}: {}", line.security(0));
        assert_eq!((line.online(1), line.lost(1), line.readers[1].sessions), (1, 0, 1), "{name}");
        let to_it = line.sent.iter().filter(|(_, bytes)| bytes[1] == 0).count();
        assert!(to_it * 10 < line.sent.len(), "{name}: {to_it} of {}", line.sent.len());
        line.readers[0].twist = Twist::default();
        line.readers[0].restart();
        line.run(Duration::from_secs(3));
        assert_eq!((line.online(0), line.cards(0)), (1, 1), "{name}");
    }
}

#[test]
fn a_refusal_of_every_poll_with_any_code_in_its_session_stops_nobody_and_ends_with_it() {
    for code in 0..=10 {
        let mut line = Line::with(vec![with_points(0), plan(1, keyed())], vec![Reader::secure(0), Reader::secure(1)]);
        line.run(Duration::from_secs(1));
        line.readers[0].says = match code {
            0 => |_| Some((0x41, vec![0])),
            1 => |_| Some((0x41, vec![1])),
            2 => |_| Some((0x41, vec![2])),
            3 => |_| Some((0x41, vec![3])),
            4 => |_| Some((0x41, vec![4])),
            5 => |_| Some((0x41, vec![5])),
            6 => |_| Some((0x41, vec![6])),
            7 => |_| Some((0x41, vec![7])),
            8 => |_| Some((0x41, vec![8])),
            9 => |_| Some((0x41, vec![9])),
            _ => |_| Some((0x41, Vec::new())),
        };
        let from = line.sent.len();
        line.run(Duration::from_secs(30));
        let to_it = line.sent[from..].iter().filter(|(_, bytes)| bytes[1] == 0).count();
        assert!(to_it * 10 < (line.sent.len() - from) * 8, "NAK {code}: {to_it}");
        assert_eq!((line.lost(1), line.readers[1].sessions), (0, 1), "NAK {code}");
        line.readers[0].says = |_| None;
        line.readers[0].card();
        line.run(Duration::from_secs(4));
        assert_eq!(line.cards(0), 1, "NAK {code}");
        assert!(line.panel.is_online(0), "NAK {code}");
        assert!(line.security(0) <= 3, "NAK {code}: {}", line.security(0));
    }
}

#[test]
fn a_card_that_is_proven_but_not_encrypted_is_told_of_and_not_taken() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].bare = true;
    line.readers[0].card();
    line.readers[0].queue.push_back((0x53, vec![0, 1, b'7']));
    line.readers[0].queue.push_back((0x48, vec![1, 0]));
    line.run(Duration::from_secs(1));
    assert_eq!((line.cards(0), line.said(0, |news| matches!(news, News::Keys { .. }))), (0, 0));
    assert!(line.security(0) >= 1);
    // What is no secret counts: the MAC proves it.
    assert_eq!(line.said(0, |news| *news == News::Tamper(true)), 1);
    assert_eq!((line.lost(0), line.readers[0].sessions), (0, 1));
}

/// One of each reply that carries anything, whole.
const REPLIES: [(u8, &[u8]); 12] = [
    (0x45, &[0x5C, 0x26, 0x23, 1, 2, 1, 0, 0, 0, 3, 4, 5]),
    (0x46, &[1, 1, 2, 2, 1, 1, 9, 1, 1]),
    (0x48, &[0, 0]),
    (0x49, &[0, 1]),
    (0x4A, &[0]),
    (0x4B, &[0]),
    (0x50, &[0, 1, 26, 0, 0xBD, 0x88, 0xEB, 0x80]),
    (0x51, &[0, 0, 3, b'A', b'B', b'C']),
    (0x53, &[0, 2, b'1', 0x0D]),
    (0x54, &[0, 0x80, 0x25, 0, 0]),
    (0x78, &[1; 16]),
    (0x90, &[0x5C, 0x26, 0x23, 9]),
];

#[test]
fn replies_that_are_cut_anywhere_are_nothing_and_cost_no_session() {
    for secure in [true, false] {
        let protection = if secure { keyed() } else { Protection::Plain };
        let reader = if secure { Reader::secure(0) } else { Reader::plain(0) };
        let mut line = Line::with(vec![ReaderPlan { protection, ..with_points(0) }], vec![reader]);
        line.run(Duration::from_secs(1));
        for (code, data) in REPLIES {
            for length in 0..data.len() {
                line.readers[0].queue.push_back((code, data[..length].to_vec()));
            }
        }
        line.run(Duration::from_secs(5));
        assert!(line.readers[0].queue.is_empty());
        line.readers[0].card();
        line.run(Duration::from_millis(300));
        let keys = line.said(0, |news| matches!(news, News::Keys { .. } | News::Formatted { .. }));
        assert_eq!((line.cards(0), keys, line.lost(0), line.online(0)), (1, 0, 0, 1), "{secure}");
        assert_eq!((line.security(0), line.readers[0].sessions), (0, u32::from(secure)));
    }
}

#[test]
fn frames_that_are_whole_and_of_somebody_else_or_another_number_answer_nothing() {
    for (secure, what) in [(true, 0), (true, 1), (true, 2), (false, 0), (false, 1), (false, 2)] {
        let reader = if secure { Reader::secure(0) } else { Reader::plain(0) };
        let mut line = Line::new(vec![reader, Reader::secure(1), Reader::plain(2)]);
        line.run(Duration::from_secs(1));
        line.readers[0].card();
        line.readers[0].twist = twist(move |_, answer| {
            let mut frame = frame_of(&answer).frame;
            if frame.security.is_some() {
                // Its MAC is over the address and the number: both are as they would be of another reader.
                let mac = frame_of(&answer).mac.unwrap_or_default();
                frame.data.extend(mac);
            }
            match what {
                0 => frame.address = 2,
                1 => frame.sequence = frame.sequence % 3 + 1,
                _ => frame.address = 99,
            }
            frame.encode().unwrap()
        });
        line.run(Duration::from_secs(10));
        assert_eq!((line.cards(0), line.cards(1), line.cards(2)), (0, 0, 0), "{secure} {what}");
        assert_eq!((line.lost(0), line.lost(1), line.lost(2)), (1, 0, 0), "{secure} {what}");
        assert_eq!(line.readers[1].sessions, 1);
    }
}

#[test]
fn what_was_recorded_of_a_session_and_is_played_again_opens_nothing() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    let mut turn = 0;
    line.readers[0].twist = twist(move |_, answer| {
        turn += 1;
        recorded.push(answer.clone());
        // The same, of every age, whatever number it had.
        if turn % 3 == 0 { recorded[turn * 7 % recorded.len()].clone() } else { answer }
    });
    for _ in 0..20 {
        line.readers[0].card();
        line.run(Duration::from_secs(2));
    }
    assert!((10..=20).contains(&line.cards(0)), "{}", line.cards(0));
    assert!(line.security(0) >= 1);
}

#[test]
fn a_cover_that_a_reader_tells_only_when_asked_is_seen_opened_and_closed() {
    let mut line = Line::with(vec![with_points(0)], vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    assert_eq!(line.said(0, |news| *news == News::Tamper(false)), 1);
    line.readers[0].says = |code| (code == 0x67).then_some((0x4B, vec![2]));
    line.run(Duration::from_secs(12));
    assert_eq!(line.said(0, |news| *news == News::Tamper(true)), 1);
    line.readers[0].says = |_| None;
    line.run(Duration::from_secs(12));
    assert_eq!(line.said(0, |news| *news == News::Tamper(false)), 2);
}

#[test]
fn sixteen_readers_on_a_slow_line_come_back_within_two_seconds_however_many_are_gone() {
    for gone in [1, 8, 15] {
        let count = 16;
        let plans = (0..count).map(|address| plan(address, keyed())).collect();
        let mut line = Line::at(9_600, plans, (0..count).map(Reader::secure).collect());
        line.run(Duration::from_secs(5));
        assert!((0..16).all(|at| line.panel.is_online(at)));
        for round in 0..5 {
            for at in 0..gone {
                line.readers[at].manner = Manner::Dead;
            }
            line.run(Duration::from_millis(12_000 + round * 357));
            assert!((0..gone).all(|at| !line.panel.is_online(at)));
            line.readers[0].manner = Manner::Normal;
            line.readers[0].restart();
            let plugged = line.now;
            line.run(Duration::from_secs(4));
            let back = line.when(0, |news| *news == News::Online).expect("back").since(plugged);
            assert!(back < Duration::from_secs(2), "{gone} gone: back after {back:?}");
            assert!((gone..16).all(|at| line.lost(at) == 0 && line.readers[at].sessions == 1), "{gone} gone");
            for reader in &mut line.readers[1..gone] {
                reader.manner = Manner::Normal;
                reader.restart();
            }
            line.run(Duration::from_secs(6));
            assert!((0..16).all(|at| line.panel.is_online(at)), "{gone} gone");
        }
    }
}

#[test]
fn a_line_that_is_babbled_on_for_minutes_loses_all_readers_in_time_and_has_them_back_at_once() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::plain(1)]);
    line.run(Duration::from_secs(1));
    let began = line.now;
    let mut out = Vec::new();
    let mut at = line.now;
    while at.since(began) < Duration::from_secs(180) {
        at = at + Duration::from_micros(700);
        line.panel.hear(at, &[0x53, 0x80, 0x00, 0xFF, 0x53, 0xAA], &mut out);
        let _ = line.panel.next(at, &mut || [3; 8], &mut out);
    }
    let lost: Vec<usize> =
        out.iter().filter(|(_, news)| matches!(news, News::Lost { .. })).map(|(at, _)| *at).collect();
    assert_eq!((lost.len(), out.iter().filter(|(_, news)| matches!(news, News::Card(_))).count()), (2, 0), "{out:?}");
    line.now = at;
    line.readers[0].restart();
    line.run(Duration::from_secs(2));
    assert!(line.panel.is_online(0) && line.panel.is_online(1));
}

#[test]
fn noise_that_looks_like_the_start_of_a_long_frame_costs_the_answer_behind_it_some_time_and_no_repetition() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    line.readers[0].twist = twist(|_, answer| [&[0x53, 0x80, 0x60, 0x00, 0x04][..], &answer].concat());
    line.readers[0].asked.clear();
    line.run(Duration::from_secs(10));
    let repeated = line.readers[0].asked.windows(2).filter(|two| two[0].1 == two[1].1).count();
    assert_eq!((repeated, line.lost(0), line.readers[0].sessions), (0, 0, 1));
    assert!(line.readers[0].asked.len() > 40, "{} polls in ten seconds", line.readers[0].asked.len());
    line.readers[0].card();
    line.run(Duration::from_secs(1));
    assert_eq!((line.cards(0), line.lost(1)), (1, 0));
}
