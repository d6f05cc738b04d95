//! Random boards, random orders: whatever fails meanwhile, afterwards all is as desired.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::rig::{CLEARED, COUNTER, Mood, Rig, output, profile};
use crate::{
    domain::{
        fieldbus::BusReport,
        outputs::{Desired, Level, Ticket},
        time::Mono,
    },
    gateway::fieldbus::{Request, Table},
};

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Mood(usize, Mood),
    Moods(usize, Vec<Mood>),
    Reboot(usize),
    Stick(usize, u16),
    Order { board: u16, output: u16, energised: bool, deadline_ms: u64, until_ms: Option<u64> },
    Level { board: u16, output: u16, energised: bool },
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Well),
        2 => Just(Mood::Silent),
        2 => Just(Mood::Mute),
        1 => Just(Mood::Garbage),
        1 => Just(Mood::Unreachable),
        1 => (1_u8..12).prop_map(Mood::Exception),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0_u16..2, 0_u16..2);
    prop_oneof![
        6 => (1_u64..400).prop_map(Step::Run),
        1 => (2_000_u64..5_000).prop_map(Step::Run),
        2 => (0_usize..2, mood()).prop_map(|(board, mood)| Step::Mood(board, mood)),
        3 => (0_usize..2, prop::collection::vec(mood(), 1..6)).prop_map(|(board, moods)| Step::Moods(board, moods)),
        1 => (0_usize..2).prop_map(Step::Reboot),
        1 => (0_usize..2, 0_u16..2).prop_map(|(board, coil)| Step::Stick(board, coil)),
        5 => (place.clone(), any::<bool>(), 0_u64..1_500, prop::option::of(1_u64..1_500)).prop_map(
            |((board, output), energised, deadline_ms, until_ms)| Step::Order {
                board, output, energised, deadline_ms, until_ms
            }
        ),
        2 => (place, any::<bool>()).prop_map(|((board, output), energised)| Step::Level { board, output, energised }),
    ]
}

/// A small controller: keeps the whole desired state, and takes back what did not work.
#[derive(Default)]
struct Controller {
    desired: BTreeMap<(u16, u16), Desired>,
    before: BTreeMap<Ticket, Desired>,
    issued: BTreeMap<Ticket, (Mono, Level)>,
    untils: BTreeMap<Ticket, Mono>,
    ended: BTreeMap<Ticket, u32>,
    tickets: u64,
}

impl Controller {
    fn read(&mut self, rig: &mut Rig) {
        for (at, report) in std::mem::take(&mut rig.reports) {
            let (ticket, worked) = match report {
                BusReport::Output { order: Some(ticket), level, .. } => {
                    assert_eq!(self.issued[&ticket].1, level, "confirmed at another level");
                    (ticket, true)
                }
                BusReport::OrderExpired { ticket, .. } => {
                    let over = self.untils.get(&ticket).is_some_and(|until| at >= *until);
                    assert!(at > self.issued[&ticket].0 || over, "expired before its time");
                    (ticket, false)
                }
                BusReport::OrderFailed { ticket, .. } | BusReport::OrderUnknown { ticket, .. } => (ticket, false),
                _ => continue,
            };
            *self.ended.entry(ticket).or_default() += 1;
            for desired in self.desired.values_mut() {
                if desired.order.is_some_and(|(of, _)| of == ticket) {
                    match self.before.get(&ticket) {
                        Some(before) if !worked => *desired = Desired { order: None, ..*before },
                        _ => desired.order = None,
                    }
                }
            }
        }
    }
}

fn play(steps: &[Step], reads_back: bool) {
    let mut profile = profile();
    profile.outputs[1].reads_back = reads_back;
    let mut rig = Rig::new(2, &profile);
    rig.run(300);
    rig.reports.clear();
    let mut controller = Controller::default();
    for step in steps {
        match step {
            Step::Run(millis) => {
                let end = rig.now + Duration::from_millis(*millis);
                while rig.now < end {
                    rig.step(end);
                    controller.read(&mut rig);
                    for desired in controller.desired.values().copied().collect::<Vec<_>>() {
                        rig.desire(desired);
                    }
                }
            }
            Step::Mood(board, mood) => rig.boards[*board].mood = *mood,
            Step::Moods(board, moods) => rig.boards[*board].moods.clone_from(moods),
            Step::Reboot(board) => rig.boards[*board].reboot(),
            Step::Stick(board, coil) => _ = rig.boards[*board].stuck.insert(*coil),
            Step::Order { board, output: at, energised, deadline_ms, until_ms } => {
                controller.tickets += 1;
                let ticket = Ticket(controller.tickets);
                let level = Level::from_energised(*energised);
                let deadline = rig.now + Duration::from_millis(*deadline_ms);
                let place = output(*board, *at);
                let rest =
                    Desired { output: place, level: Level::Released, until: None, rest: Level::Released, order: None };
                let before = *controller.desired.get(&(*board, *at)).unwrap_or(&rest);
                let until = until_ms.map(|ms| rig.now + Duration::from_millis(ms));
                let rest = if until.is_some() { Level::Released } else { level };
                controller.before.insert(ticket, before);
                controller.issued.insert(ticket, (deadline, level));
                controller.untils.extend(until.map(|until| (ticket, until)));
                let desired = Desired { output: place, level, until, rest, order: Some((ticket, deadline)) };
                controller.desired.insert((*board, *at), desired);
                rig.desire(desired);
            }
            Step::Level { board, output: at, energised } => {
                let level = Level::from_energised(*energised);
                let desired = Desired { output: output(*board, *at), level, until: None, rest: level, order: None };
                controller.desired.insert((*board, *at), desired);
                rig.desire(desired);
            }
        }
        controller.read(&mut rig);
    }
    // All faults heal.
    for board in &mut rig.boards {
        board.mood = Mood::Well;
        board.moods.clear();
        board.stuck.clear();
    }
    let end = rig.now + Duration::from_secs(12);
    while rig.now < end {
        rig.step(end);
        controller.read(&mut rig);
        for desired in controller.desired.values().copied().collect::<Vec<_>>() {
            rig.desire(desired);
        }
    }
    for ((board, at), desired) in &controller.desired {
        let level = desired.level_at(rig.now);
        assert_eq!(rig.coil(usize::from(*board), *at), level.is_energised(), "output {board}/{at}");
        assert_eq!(rig.bus.confirmed(output(*board, *at)), Some(level), "read-back of {board}/{at}");
    }
    assert!(rig.bus.is_settled(rig.now));
    for ticket in controller.issued.keys() {
        assert_eq!(controller.ended.get(ticket), Some(&1), "ends of {ticket:?}");
    }
}

/// One order after another on one output, nothing else: then each write belongs to the order of the
/// time, and none may start after that order's deadline.
fn play_orders(orders: &[(u64, Vec<Mood>)]) {
    let mut rig = Rig::up(1);
    rig.desire(Desired {
        output: output(0, 0),
        level: Level::Released,
        until: None,
        rest: Level::Released,
        order: None,
    });
    rig.run(500);
    for (ticket, (deadline_ms, moods)) in (1..).zip(orders) {
        rig.boards[0].moods.clone_from(moods);
        rig.wire.clear();
        rig.reports.clear();
        let deadline = rig.now + Duration::from_millis(*deadline_ms);
        let place = output(0, 0);
        rig.desire(Desired {
            output: place,
            level: Level::Energised,
            until: None,
            rest: Level::Energised,
            order: Some((Ticket(ticket), deadline)),
        });
        rig.run(4_000);
        let on: Vec<Mono> = rig
            .writes()
            .iter()
            .filter(|(_, request)| matches!(request, Request::WriteCoil { on: true, .. }))
            .map(|(at, _)| *at)
            .collect();
        let ends = rig.reports.iter().filter(|(_, report)| match report {
            BusReport::Output { order, .. } => *order == Some(Ticket(ticket)),
            BusReport::OrderExpired { .. } | BusReport::OrderFailed { .. } | BusReport::OrderUnknown { .. } => true,
            _ => false,
        });
        assert_eq!(ends.count(), 1);
        let lost = rig.reports.iter().any(|(_, report)| matches!(report, BusReport::BoardLost { .. }));
        assert!(lost || on.iter().all(|at| *at <= deadline), "{on:?} after {deadline:?}");
        rig.boards[0].moods.clear();
        rig.desire(Desired { output: place, level: Level::Released, until: None, rest: Level::Released, order: None });
        rig.run(6_000);
        assert!(!rig.coil(0, 0));
    }
}

/// Cards at both blocks, each a different one, while single frames are lost at any moment.
fn play_cards(faults: &[(u64, Mood)]) {
    let mut rig = Rig::up(1);
    for (number, (after_ms, mood)) in (1_u16..).zip(faults) {
        let words = &mut rig.boards[0].words;
        for (address, word) in [(COUNTER, number), (COUNTER + 1, 26), (COUNTER + 3, number)] {
            words.insert((Table::HoldingRegister, address), word);
        }
        for (address, word) in [(CLEARED, 26), (CLEARED + 3, number)] {
            words.insert((Table::HoldingRegister, address), word);
        }
        rig.run(*after_ms);
        rig.boards[0].moods = vec![*mood];
        rig.run(600);
        let cards: Vec<(u16, u128)> = rig
            .reported()
            .into_iter()
            .filter_map(|report| match report {
                BusReport::Card { block, card, .. } => Some((block, card.value.to_u128()?)),
                _ => None,
            })
            .collect();
        let value = u128::from(number);
        assert!(cards == [(0, value), (1, value)] || cards == [(1, value), (0, value)], "{cards:?}");
    }
}

proptest! {
    #[test]
    fn with_single_frames_lost_every_card_is_taken_exactly_once(
        faults in prop::collection::vec((0_u64..200, mood()), 1..20)
    ) {
        play_cards(&faults);
    }

    #[test]
    fn after_faults_heal_confirmed_equals_desired_and_every_order_has_ended_once(
        steps in prop::collection::vec(step(), 1..40),
        reads_back in any::<bool>(),
    ) {
        play(&steps, reads_back);
    }

    #[test]
    fn no_order_is_written_after_its_deadline(
        orders in prop::collection::vec((0_u64..600, prop::collection::vec(mood(), 0..6)), 1..5)
    ) {
        play_orders(&orders);
    }
}
