//! Answers that come late: RTU has no number by which one could be told from the answer to a later, like request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use latchd::{
    domain::{
        fieldbus::{InputAddress, InputPoint, Profile},
        time::Mono,
    },
    gateway::fieldbus::{BusPlan, Reply},
};
use latchd_sim::{
    board::crc,
    line::{BusOnLine, Device, Line, LineTimes},
};

use crate::rig::*;

/// Answers each read with how many requests it has heard, so that every answer says to which it belongs.
struct Counting {
    unit: u8,
    heard: Vec<u8>,
    ends_at: Option<Mono>,
    answers: VecDeque<(Mono, Vec<u8>)>,
    /// When it had heard each request: the number in its answer is the place in here, from 1.
    requests: Arc<Mutex<Vec<Mono>>>,
    /// In turn.
    late: Vec<Duration>,
}

impl Device for Counting {
    fn hear(&mut self, now: Mono, byte: u8, times: &LineTimes) {
        self.heard.push(byte);
        self.ends_at = Some(now + times.modbus_gap());
    }

    fn wakes_at(&self) -> Option<Mono> {
        self.answers.iter().map(|(at, _)| *at).chain(self.ends_at).min()
    }

    fn wake(&mut self, now: Mono, times: &LineTimes) -> Vec<u8> {
        if self.ends_at.is_some_and(|at| at <= now) {
            self.ends_at = None;
            let heard = std::mem::take(&mut self.heard);
            if heard.len() == 8 && crc(&heard) == 0 && heard[0] == self.unit {
                let mut requests = self.requests.lock().unwrap();
                let late = self.late[requests.len() % self.late.len()];
                requests.push(now);
                let mut answer = [&[self.unit, heard[1], 2][..], &(requests.len() as u16).to_be_bytes()].concat();
                answer.extend(crc(&answer).to_le_bytes());
                self.answers.push_back((now + times.turnaround + late, answer));
            }
        }
        match self.answers.iter().position(|(at, _)| *at <= now) {
            Some(at) => self.answers.remove(at).unwrap().1,
            None => Vec::new(),
        }
    }

    fn unplugged(&mut self) {}
}

type Heard = [Arc<Mutex<Vec<Mono>>>; 2];

fn run(late: Vec<Duration>, baud: u32) -> (BusOnLine, Heard) {
    let heard = Heard::default();
    let times = times(baud);
    let mut line = Line::new(times, 1);
    for unit in [1, 2] {
        let late = if unit == 1 { late.clone() } else { vec![Duration::ZERO] };
        let requests = heard[usize::from(unit) - 1].clone();
        line.plug(Counting { unit, heard: vec![], ends_at: None, answers: VecDeque::new(), requests, late });
    }
    let mut plan: BusPlan = plan(2, &times, Duration::from_millis(20));
    for board in &mut plan.boards {
        let point = |name, address| InputPoint { name: id(name), address };
        board.profile = Profile {
            outputs: vec![],
            inputs: vec![
                point("holding", InputAddress::HoldingRegisterBit { address: 0, bit: 0 }),
                point("input", InputAddress::InputRegisterBit { address: 9, bit: 0 }),
            ],
            ..profile()
        };
    }
    let mut bus = BusOnLine::new(plan, line);
    bus.run(Duration::from_secs(60));
    (bus, heard)
}

/// How many answers were taken for a request, which all have to be its own.
fn own_answers((bus, heard): &(BusOnLine, Heard), unit: u8) -> usize {
    let heard = heard[usize::from(unit) - 1].lock().unwrap();
    let mut taken = 0;
    for done in bus.results.iter().filter(|done| done.transaction.unit == unit) {
        if let Ok(Reply::Words(words)) = &done.result {
            taken += 1;
            let asked = heard[usize::from(words[0]) - 1];
            assert!(
                done.began < asked && asked < done.ended,
                "what was answered to a request of {asked:?} was taken for the answer to one of {:?}",
                done.began
            );
        }
    }
    taken
}

#[test]
fn an_answer_that_is_late_by_up_to_another_timeout_is_never_taken_for_that_of_a_later_request() {
    for tenths in [0, 2, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18] {
        let late = TIMEOUT * tenths / 10;
        let bus = run(vec![late], 115_200);
        let (own, others) = (own_answers(&bus, 1), own_answers(&bus, 2));
        assert_eq!(own > 0, late + Duration::from_millis(10) < TIMEOUT, "late by {late:?}: {own}");
        assert!(others > 200, "the other board is not held up: {others}");
    }
}

#[test]
fn nor_is_one_of_a_board_that_is_late_now_and_then() {
    for baud in [9_600, 115_200] {
        let at = |tenths: u32| TIMEOUT * tenths / 10;
        let bus = run(vec![at(0), at(11), at(0), at(0), at(18), at(3), at(10), at(0), at(13), at(0)], baud);
        assert!(own_answers(&bus, 1) > 30);
        assert!(own_answers(&bus, 2) > 150);
    }
}
