//! Readers that go, come back, are late, or say anything at all: none of it reaches another reader.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{fieldbus::ReaderPoints, ids::BoardIx, time::Mono},
    gateway::osdp::{LinePlan, Next, Panel, ReaderPlan},
};

/// The mean time between two polls of this reader since `from`.
fn interval(line: &Line, address: u8, from: usize) -> Duration {
    let polls: Vec<Mono> =
        line.sent[from..].iter().filter(|(_, bytes)| bytes[1] == address).map(|(at, _)| *at).collect();
    polls.last().unwrap().since(*polls.first().unwrap()) / (polls.len() as u32 - 1)
}

#[test]
fn one_dead_reader_of_eight_costs_the_others_less_than_a_tenth_and_none_its_session() {
    let mut line = Line::new((0..8).map(Reader::secure).collect());
    line.run(Duration::from_secs(2));
    let from = line.sent.len();
    line.run(Duration::from_secs(10));
    let whole = interval(&line, 0, from);
    line.readers[3].manner = Manner::Dead;
    line.run(Duration::from_secs(5));
    let from = line.sent.len();
    line.run(Duration::from_secs(30));
    let without = interval(&line, 0, from);
    // Seven readers' turns, and the probes.
    assert!(without < whole * 11 / 10, "{without:?} against {whole:?}");
    assert!((0..8).all(|at| line.readers[at].sessions == 1));
    assert_eq!((0..8).map(|at| line.lost(at)).collect::<Vec<_>>(), [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn a_cycle_of_eight_secured_readers_takes_no_more_than_the_wire_and_a_tenth() {
    // With inputs and outputs that are looked at in between, too.
    for points in [None, Some(ReaderPoints::new(BoardIx(0), 2, 1))] {
        let plan = |address| ReaderPlan { points, ..line::plan(address, line::keyed()) };
        let mut line = Line::with((0..8).map(plan).collect(), (0..8).map(Reader::secure).collect());
        line.run(Duration::from_secs(2));
        let from = line.sent.len();
        line.run(Duration::from_secs(10));
        let cycle = interval(&line, 0, from);
        // 3 ms of turnaround, 14 bytes each way.
        let wire = (Duration::from_millis(3) + Duration::from_micros(28 * 10_000_000 / 115_200)) * 8;
        assert!(cycle < wire * 11 / 10, "{cycle:?} against {wire:?}");
    }
}

#[test]
fn a_card_is_known_within_twelve_milliseconds_at_the_median_with_one_reader() {
    let points = Some(ReaderPoints::new(BoardIx(0), 2, 1));
    let plan = ReaderPlan { points, ..line::plan(0, line::keyed()) };
    let mut line = Line::with(vec![plan], vec![Reader::secure(0)]);
    line.run(Duration::from_secs(2));
    let mut taken: Vec<Duration> = (0..101)
        .map(|nth| {
            line.run(Duration::from_micros(20_000 + nth * 137));
            let held = line.now;
            line.readers[0].card();
            line.run(Duration::from_millis(50));
            line.when(0, |news| matches!(news, News::Card(_))).expect("a card").since(held)
        })
        .collect();
    taken.sort();
    assert!(taken[50] <= Duration::from_millis(12), "{:?}, at most {:?}", taken[50], taken[100]);
}

#[test]
fn a_reader_that_is_unplugged_is_told_lost_in_time_and_back_within_two_seconds() {
    let mut line = Line::new((0..8).map(Reader::secure).collect());
    line.run(Duration::from_secs(2));
    for pause in [3_000, 3_333, 7_777, 61_234] {
        line.news.clear();
        let unplugged = line.now;
        line.readers[3].manner = Manner::Dead;
        line.run(Duration::from_millis(pause));
        let lost = line.when(3, |news| matches!(news, News::Lost { .. })).expect("told lost").since(unplugged);
        assert!((Duration::from_millis(900)..Duration::from_millis(1_800)).contains(&lost), "lost after {lost:?}");
        line.readers[3].manner = Manner::Normal;
        line.readers[3].restart();
        let plugged = line.now;
        line.run(Duration::from_secs(3));
        let back = line.when(3, |news| *news == News::Online).expect("back").since(plugged);
        assert!(back < Duration::from_secs(2), "back after {back:?}");
    }
    assert!([0, 1, 2, 4, 5, 6, 7].iter().all(|at| line.readers[*at].sessions == 1 && line.lost(*at) == 0));
}

#[test]
fn a_reader_that_is_busy_for_long_is_not_lost_before_the_ceiling_and_costs_no_session() {
    for (commands, lost) in [(150, 0), (1_000, 1)] {
        let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
        line.run(Duration::from_secs(1));
        line.readers[0].manner = Manner::Busy(commands);
        line.readers[0].card();
        line.run(Duration::from_secs(12));
        assert_eq!((line.lost(0), line.lost(1), line.readers[1].sessions), (lost, 0, 1), "{commands}");
        line.run(Duration::from_secs(20));
        assert_eq!(line.cards(0), 1, "{commands}");
        assert!(line.panel.is_online(0));
    }
}

#[test]
fn a_blip_shorter_than_the_configured_time_is_told_to_nobody() {
    let mut line = Line::new(vec![Reader::secure(0)]);
    line.run(Duration::from_secs(1));
    line.readers[0].manner = Manner::Dead;
    line.run(Duration::from_millis(700));
    line.readers[0].manner = Manner::Normal;
    line.run(Duration::from_secs(2));
    assert_eq!((line.lost(0), line.online(0), line.readers[0].sessions), (0, 1, 1));
}

#[test]
fn late_answers_reach_nobody_else() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1), Reader::plain(2), Reader::plain(3)]);
    line.run(Duration::from_secs(2));
    for by in [190, 201, 230, 410, 999] {
        for at in [0, 2] {
            line.readers[at].manner = Manner::Late(Duration::from_millis(by));
            line.readers[at].card();
        }
        line.run(Duration::from_secs(5));
        for at in [0, 2] {
            line.readers[at].manner = Manner::Normal;
        }
        line.run(Duration::from_secs(5));
    }
    assert_eq!((line.cards(1), line.cards(3)), (0, 0), "cards of others");
    assert_eq!((line.lost(1), line.lost(3), line.readers[1].sessions), (0, 0, 1));
    assert!(line.cards(2) <= 5, "no card twice");
}

#[test]
fn a_reader_that_answers_nothing_before_a_poll_gets_one() {
    let mut line = Line::new(vec![Reader { needs_poll: true, ..Reader::secure(0) }]);
    line.run(Duration::from_secs(1));
    assert_eq!(line.online(0), 1);
    line.readers[0].restart();
    line.run(Duration::from_secs(5));
    assert!(line.panel.is_online(0));
}

#[test]
fn a_reader_that_refuses_everything_is_not_asked_without_end_and_comes_back() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::secure(1)]);
    line.run(Duration::from_secs(1));
    for code in [4, 5, 6] {
        line.readers[0].manner = Manner::Refuses(code);
        let from = line.sent.len();
        line.run(Duration::from_secs(20));
        let to_it = line.sent[from..].iter().filter(|(_, bytes)| bytes[1] == 0).count();
        assert!(to_it * 10 < line.sent.len() - from, "{to_it} of {}", line.sent.len() - from);
        line.readers[0].manner = Manner::Normal;
        line.readers[0].restart();
        line.run(Duration::from_secs(2));
        assert!(line.panel.is_online(0), "after NAK {code}");
    }
    assert_eq!((line.lost(1), line.readers[1].sessions), (0, 1));
}

#[test]
fn a_port_that_goes_takes_all_readers_along_and_brings_them_back() {
    let mut line = Line::new(vec![Reader::secure(0), Reader::plain(1)]);
    line.run(Duration::from_secs(1));
    let mut out = Vec::new();
    let gone = line.now;
    for tenth in 0..20 {
        line.panel.cut(gone + Duration::from_millis(tenth * 100), &mut out);
    }
    let lost: Vec<usize> =
        out.iter().filter(|(_, news)| matches!(news, News::Lost { .. })).map(|(at, _)| *at).collect();
    assert_eq!(lost, [0, 1]);
    line.now = gone + Duration::from_secs(2);
    line.run(Duration::from_secs(2));
    assert!(line.panel.is_online(0) && line.panel.is_online(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes, nothing panics, nothing is believed, and the panel goes on asking.
    #[test]
    fn a_line_full_of_noise_gives_no_card_and_no_panic(noise in proptest::collection::vec((0u16..300, proptest::collection::vec(any::<u8>(), 0..40)), 1..80)) {
        let line = LinePlan { baud: 9_600, bits_per_character: 10 };
        let plans = (0..3).map(|address| line::plan(address, line::keyed())).collect();
        let mut now = Mono::from_millis(5);
        let mut panel = Panel::new(line, plans, now);
        let mut out = Vec::new();
        for (wait, bytes) in noise {
            for _ in 0..4 {
                if let Next::Listen { until } = panel.next(now, &mut || [1; 8], &mut out) {
                    now = until.min(now + Duration::from_millis(wait.into()));
                }
            }
            panel.hear(now, &bytes, &mut out);
        }
        let believed = out.iter().any(|(_, news)| matches!(news, News::Card(_) | News::Online | News::Keys { .. }));
        prop_assert!(!believed);
        let mut asked = false;
        for _ in 0..50 {
            match panel.next(now, &mut || [1; 8], &mut out) {
                Next::Send(_) => asked = true,
                Next::Listen { until } => now = until,
            }
        }
        prop_assert!(asked);
    }

    /// Whole frames with any content, from every address: the same.
    #[test]
    fn frames_of_anything_from_anybody_give_no_card_and_no_panic(frames in proptest::collection::vec((0u8..4, 0u8..4, any::<u8>(), proptest::option::of(0x10u8..0x1A), proptest::collection::vec(any::<u8>(), 0..40)), 1..80)) {
        use crate::wire::osdp::frame::{Check, Frame, SecurityBlock, Way};
        let line = LinePlan { baud: 115_200, bits_per_character: 10 };
        let plans = (0..3).map(|address| line::plan(address, line::keyed())).collect();
        let mut now = Mono::from_millis(5);
        let mut panel = Panel::new(line, plans, now);
        let mut out = Vec::new();
        for (address, sequence, code, block, data) in frames {
            if let Next::Listen { until } = panel.next(now, &mut || [1; 8], &mut out) {
                now = until;
            }
            let security = block.map(|kind| SecurityBlock { kind, data: vec![1] });
            let frame = Frame { way: Way::Reply, address, sequence, check: Check::Crc, security, code, data };
            panel.hear(now, &frame.encode().unwrap(), &mut out);
            now = now + Duration::from_millis(2);
        }
        let believed = out.iter().any(|(_, news)| matches!(news, News::Card(_) | News::Online | News::Keys { .. }));
        prop_assert!(!believed);
    }
}
