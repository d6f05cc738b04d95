//! OSDP readers under the secure channel on the line.

use std::time::Duration;

use latchd::gateway::osdp::News;
use latchd_sim::line::{Line, LineTimes, OsdpReader, PanelOnLine, Sender, Sent};

use crate::rig::mean;

const TURNAROUND: Duration = Duration::from_millis(3);

fn panel(readers: u8, baud: u32) -> (PanelOnLine, Vec<OsdpReader>) {
    let mut line = Line::new(LineTimes::new(baud, 10, TURNAROUND), 3);
    let readers: Vec<OsdpReader> = (0..readers).map(OsdpReader::secure).collect();
    readers.iter().for_each(|reader| _ = line.plug(reader.clone()));
    let mut panel = PanelOnLine::new(line, 0..readers.len() as u8);
    panel.run(Duration::from_secs(5));
    assert!((0..readers.len()).all(|at| panel.panel.is_online(at)));
    panel.news.clear();
    panel.line.take_record();
    (panel, readers)
}

/// From one poll of the first reader to its next.
fn rounds(record: &[Sent]) -> Vec<Duration> {
    let of_first = record.iter().filter(|sent| sent.from == Sender::Master && sent.bytes[1] == 0);
    let starts: Vec<_> = of_first.map(|sent| sent.start).collect();
    starts.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

#[test]
fn a_round_of_polls_takes_what_the_wire_takes() {
    for (baud, readers, most) in [(115_200, 8, 48.0), (9_600, 4, 154.0), (115_200, 1, 6.0)] {
        let (mut panel, _) = panel(readers, baud);
        panel.run(Duration::from_secs(20));
        let record = panel.line.take_record();
        let longest = rounds(&record).iter().map(|round| round.as_secs_f64() * 1000.0).fold(0.0, f64::max);
        assert!(longest <= most, "{longest} ms for {readers} readers at {baud} baud");
    }
}

#[test]
fn noise_costs_no_card_and_makes_none() {
    for bit_errors in [50, 500, 2_000] {
        let (mut panel, readers) = panel(4, 115_200);
        panel.line.set_noise(bit_errors);
        let mut told = std::collections::BTreeSet::new();
        for n in 0..84_u64 {
            // The last few are time to tell what there is.
            if n < 80 {
                readers[(n % 4) as usize].present(26, n);
            }
            panel.run(Duration::from_millis(1_500));
            for (_, reader, news) in panel.news.drain(..) {
                if let News::Card(card) = news {
                    let value = card.value().to_u128().unwrap() as u64;
                    assert!(card.bits == 26 && value <= n && value % 4 == reader as u64, "{value} at {reader}");
                    assert!(told.insert(value), "{value} was told twice");
                }
            }
        }
        // A session that noise has ended takes the reader's memory of its last answer along.
        let least = if bit_errors == 2_000 { 60 } else { 80 };
        assert!(told.len() >= least, "{} with {bit_errors} of a million bits turned", told.len());
    }
}

#[test]
fn a_card_of_any_length_that_a_frame_holds_is_heard_in_its_session_at_any_speed() {
    for baud in [9_600, 115_200] {
        let (mut panel, readers) = panel(2, baud);
        // The last is more than any format reads, and still a reply.
        for bits in [1_u16, 200, 511, 1024, 1025, 8_000] {
            let data: Vec<u8> = (0..bits.div_ceil(8)).map(|n| (n % 251) as u8 | 0x80).collect();
            readers[1].present_bits(bits, &data);
            assert!(
                panel.run_until(Duration::from_secs(12), |panel| panel.cards(1) == 1),
                "{bits} bits at {baud} baud"
            );
            let card = panel.news.drain(..).find_map(|(_, _, news)| match news {
                News::Card(card) => Some(card),
                _ => None,
            });
            assert_eq!(card.map(|card| (card.bits, card.data)), Some((bits, data)), "at {baud} baud");
        }
        assert!(readers.iter().all(|reader| reader.sessions() == 1), "at {baud} baud");
    }
}

#[test]
fn a_reader_that_is_unplugged_is_told_lost_and_back_and_costs_the_others_less_than_a_tenth() {
    let (mut panel, readers) = panel(8, 115_200);
    let round = |panel: &mut PanelOnLine| {
        panel.line.take_record();
        panel.run(Duration::from_secs(60));
        let record = panel.line.take_record();
        mean(&rounds(&record)).as_secs_f64()
    };
    let before = round(&mut panel);
    let unplugged = panel.now;
    panel.line.set_plugged(5, false);
    let is_lost = |panel: &PanelOnLine| panel.said(5, |news| matches!(news, News::Lost { .. })) == 1;
    assert!(panel.run_until(Duration::from_secs(8), is_lost));
    assert!(panel.now.since(unplugged) < Duration::from_millis(1_800));
    let after = round(&mut panel);
    assert!(after < before * 1.1, "{after} s a round, {before} s before");
    let plugged = panel.now;
    panel.line.set_plugged(5, true);
    assert!(panel.run_until(Duration::from_secs(8), |panel| panel.said(5, |news| *news == News::Online) == 1));
    assert!(panel.now.since(plugged) < Duration::from_secs(2));
    assert!([0, 1, 2, 3, 4, 6, 7].iter().all(|at| readers[*at].sessions() == 1));
    assert!([0, 1, 2, 3, 4, 6, 7].iter().all(|at| panel.said(*at, |news| matches!(news, News::Lost { .. })) == 0));
}

#[test]
fn a_port_that_goes_takes_all_readers_along_and_brings_them_back() {
    let (mut panel, readers) = panel(3, 115_200);
    panel.set_port(false);
    panel.run(Duration::from_secs(20));
    assert!((0..3).all(|at| panel.said(at, |news| matches!(news, News::Lost { .. })) == 1));
    panel.set_port(true);
    panel.run(Duration::from_secs(3));
    assert!((0..3).all(|at| panel.panel.is_online(at)));
    readers[2].present(26, 77);
    panel.run(Duration::from_secs(1));
    assert_eq!(panel.cards(2), 1);
}

#[test]
fn two_readers_with_one_address_do_not_disturb_the_others_and_one_alone_comes_back() {
    let mut line = Line::new(LineTimes::new(115_200, 10, TURNAROUND), 3);
    let readers: Vec<OsdpReader> = [0, 0, 1].map(OsdpReader::secure).into();
    readers.iter().for_each(|reader| _ = line.plug(reader.clone()));
    let mut panel = PanelOnLine::new(line, 0..2);
    for n in 0..20 {
        readers[0].present(26, n);
        readers[1].present(26, n + 100);
        panel.run(Duration::from_secs(1));
    }
    assert_eq!(panel.cards(0), 0, "nothing of what they say together is believed");
    assert!(panel.panel.is_online(1) && readers[2].sessions() == 1);
    panel.line.set_plugged(1, false);
    panel.run(Duration::from_secs(4));
    assert!(panel.panel.is_online(0));
}
