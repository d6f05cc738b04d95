//! The line itself: what it takes, and what becomes of bytes on it.

use std::time::Duration;

use latchd::domain::time::Mono;
use latchd_sim::{
    board::{SimBoard, crc},
    line::{BoardDevice, Line, Sender},
};

use crate::rig::times;

const START: Mono = Mono::from_millis(10);

fn request(unit: u8) -> Vec<u8> {
    let mut bytes = vec![unit, 2, 0, 0, 0, 8];
    bytes.extend(crc(&bytes).to_le_bytes());
    bytes
}

fn line(baud: u32, units: &[u8]) -> Line {
    let mut line = Line::new(times(baud), 1);
    for unit in units {
        line.plug(BoardDevice::new(SimBoard::new(*unit)));
    }
    line
}

#[test]
fn every_byte_takes_its_time_and_an_answer_comes_after_the_silence_and_the_turnaround() {
    for (baud, micros) in [(9_600, 20_229), (19_200, 11_114), (115_200, 4_965)] {
        let mut line = line(baud, &[1]);
        line.send(START, &request(1));
        line.advance(START + Duration::from_secs(1));
        let heard = line.heard();
        assert_eq!(heard.len(), 6);
        let last = heard[5].0.since(START);
        // Eight and six characters, 3.5 of silence (or 1.75 ms) and 2 ms.
        assert_eq!(last.as_micros(), micros, "at {baud} baud");
        assert!(
            heard
                .windows(2)
                .all(|pair| pair[1].0.since(pair[0].0) >= Duration::from_micros(10_000_000 / u64::from(baud)))
        );
        let record = line.take_record();
        assert_eq!(record.iter().map(|sent| sent.from).collect::<Vec<_>>(), [Sender::Master, Sender::Device(0)]);
        assert!(record.iter().all(|sent| !sent.damaged));
    }
}

#[test]
fn a_request_with_a_pause_in_it_is_none() {
    let mut line = line(115_200, &[1]);
    let bytes = request(1);
    line.send(START, &bytes[..4]);
    line.send(START + Duration::from_millis(3), &bytes[4..]);
    line.advance(START + Duration::from_secs(1));
    assert!(line.heard().is_empty());
}

#[test]
fn who_speaks_together_is_understood_by_nobody() {
    let mut line = line(9_600, &[1, 1]);
    line.send(START, &request(1));
    line.advance(START + Duration::from_secs(1));
    let record = line.take_record();
    assert_eq!(record.len(), 3);
    assert!(record[1..].iter().all(|sent| sent.damaged), "{record:?}");
    let heard: Vec<u8> = line.heard().into_iter().map(|(_, byte)| byte).collect();
    assert!(heard.windows(6).all(|bytes| crc(bytes) != 0), "no frame in {heard:x?}");
}

#[test]
fn a_master_that_speaks_into_an_answer_destroys_both() {
    let mut line = line(9_600, &[1, 2]);
    line.send(START, &request(1));
    line.send(START + Duration::from_micros(16_000), &request(2));
    line.advance(START + Duration::from_secs(1));
    let record = line.take_record();
    assert_eq!(record.iter().filter(|sent| sent.damaged).count(), 2, "{record:?}");
    assert!(!record.iter().any(|sent| sent.from == Sender::Device(1)), "the other has not understood its request");
}

#[test]
fn who_is_unplugged_in_the_middle_of_its_answer_says_no_more_and_is_there_again_when_plugged_in() {
    let mut line = line(9_600, &[1]);
    line.send(START, &request(1));
    line.advance(START + Duration::from_millis(18));
    assert!(line.is_busy());
    line.set_plugged(0, false);
    line.advance(START + Duration::from_secs(1));
    assert!((1..6).contains(&line.heard().len()));
    line.send(START + Duration::from_secs(1), &request(1));
    line.advance(START + Duration::from_secs(2));
    assert!(line.heard().is_empty());
    line.set_plugged(0, true);
    line.send(START + Duration::from_secs(2), &request(1));
    line.advance(START + Duration::from_secs(3));
    assert_eq!(line.heard().len(), 6);
}

#[test]
fn the_same_seed_gives_the_same_noise() {
    let noisy = |seed| {
        let mut line = Line::new(times(115_200), seed);
        line.plug(BoardDevice::new(SimBoard::new(1)));
        line.set_noise(20_000);
        for n in 0..200 {
            line.send(START + Duration::from_millis(n * 20), &request(1));
        }
        line.advance(START + Duration::from_secs(10));
        (line.heard(), line.take_record())
    };
    assert_eq!(noisy(5), noisy(5));
    assert_ne!(noisy(5), noisy(6));
    let damaged = noisy(5).1.iter().filter(|sent| sent.damaged).count();
    assert!((100..390).contains(&damaged), "{damaged}: two bits in a hundred, 64 bits a frame");
}
