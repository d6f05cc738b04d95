//! The controller and the bus machine together, over two boards that answer, fall silent, or act without
//! answering: what one promises the other must be what the other keeps.

use proptest::prelude::*;

use super::*;
use crate::gateway::fieldbus::{Bus, BusFault, BusPlan, Next, Reply, Request, Table, Transaction};

const TRANSACTION: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Answers,
    Silent,
    /// Does what it is told and says nothing.
    Mute,
}

struct Simulated {
    coils: [bool; 4],
    inputs: [bool; 4],
    line: Line,
}

struct World {
    bench: Bench,
    bus: Bus,
    boards: [Simulated; 2],
    progress: Vec<(u64, Progress)>,
}

impl World {
    fn new() -> World {
        let (bench, _) = Bench::cold();
        let boards =
            vec![BoardConfig { unit: 1, ..board("relays", RELAYS) }, BoardConfig { unit: 2, ..board("gate", GATE) }];
        let plan = BusPlan { bus: BusIx(0), boards, serial: false, turnaround: Duration::ZERO, timeout: TIMEOUT };
        // Closed doors, no button, no fire; the magnet of the second is not held yet.
        let simulated = || Simulated { coils: [false; 4], inputs: [true, false, false, false], line: Line::Answers };
        let mut world = World { bench, bus: Bus::new(plan), boards: [simulated(), simulated()], progress: Vec::new() };
        world.run(1_000);
        world
    }

    fn run(&mut self, millis: u64) {
        let end = self.bench.now.mono + Duration::from_millis(millis);
        while self.bench.now.mono < end {
            let mut out = Vec::new();
            self.bus.set_desired(self.bench.now.mono, self.bench.controller.desired(), &mut out);
            match self.bus.next(self.bench.now.mono, &mut out) {
                Next::Transact(transaction) => {
                    self.hear(&mut out);
                    let result = self.transact(&transaction);
                    self.bus.handle(self.bench.now.mono, result, &mut out);
                }
                Next::Idle { until } => {
                    let wake = [until, self.bench.controller.next_deadline(), Some(end)].into_iter().flatten().min();
                    let wait = wake.unwrap_or(end).since(self.bench.now.mono).max(Duration::from_nanos(1));
                    self.advance(if out.is_empty() { wait } else { Duration::ZERO });
                }
            }
            self.hear(&mut out);
            let step = self.bench.tell(Input::Timeout);
            self.keep(step);
        }
    }

    fn advance(&mut self, by: Duration) {
        self.bench.now.mono = self.bench.now.mono + by;
        self.bench.now.wall = self.bench.now.wall + by;
    }

    fn hear(&mut self, out: &mut Vec<BusReport>) {
        for report in out.drain(..) {
            let step = self.bench.bus(report);
            self.keep(step);
        }
    }

    fn keep(&mut self, step: Step) {
        let held = step.commit.held.release(&crate::gateway::step::Durable::synced());
        let held = held.into_iter().filter_map(|effect| match effect {
            Effect::Report(report) => Some(report),
            Effect::Fence(_) | Effect::AckMessage(_) | Effect::Publish(_) => None,
        });
        let reports = step.reports.into_iter().chain(held);
        self.progress.extend(reports.map(|report| (report.ticket.0, report.progress)));
    }

    fn transact(&mut self, transaction: &Transaction) -> Result<Reply, BusFault> {
        let board = &mut self.boards[usize::from(transaction.unit) - 1];
        let line = board.line;
        let reply = match &transaction.request {
            _ if line == Line::Silent => None,
            Request::Read { table: Table::Coil, address, count } => {
                Some(Reply::Bits(bits(&board.coils, *address, *count)))
            }
            Request::Read { table: Table::DiscreteInput, address, count } => {
                Some(Reply::Bits(bits(&board.inputs, *address, *count)))
            }
            Request::Read { count, .. } => Some(Reply::Words(vec![0; usize::from(*count)])),
            Request::WriteCoil { address, on } => {
                board.coils[usize::from(*address)] = *on;
                Some(Reply::Written)
            }
            Request::WriteTimer { .. } | Request::WriteRegister { .. } => Some(Reply::Written),
        };
        match reply.filter(|_| line == Line::Answers) {
            Some(reply) => {
                self.advance(TRANSACTION);
                Ok(reply)
            }
            None => {
                self.advance(TIMEOUT);
                Err(BusFault::Timeout)
            }
        }
    }

    fn order(&mut self, door: DoorIx, action: DoorAction, deadline_ms: u64) -> u64 {
        let (ticket, step) = self.bench.order_within(door, action, deadline_ms);
        self.keep(step);
        ticket
    }

    fn of(&self, ticket: u64) -> Vec<&Progress> {
        self.progress.iter().filter(|(of, _)| *of == ticket).map(|(_, progress)| progress).collect()
    }

    /// Whether the relay itself, not what is desired of it, unlocks the door.
    fn open(&self, door: DoorIx) -> bool {
        if door == FRONT { self.boards[0].coils[0] } else { !self.boards[1].coils[0] }
    }
}

fn bits(of: &[bool], address: u16, count: u16) -> Vec<bool> {
    of.iter().copied().skip(usize::from(address)).take(usize::from(count)).collect()
}

fn actuated(progress: &[&Progress]) -> bool {
    progress.iter().any(|progress| matches!(progress, Progress::Actuated { .. }))
}

#[test]
fn an_order_reaches_the_relay_and_comes_back_confirmed() {
    let mut world = World::new();
    assert!(!world.open(FRONT) && !world.open(BACK));
    let open = world.order(FRONT, DoorAction::Open, 5_000);
    world.run(100);
    assert!(world.open(FRONT) && actuated(&world.of(open)));
    let again = world.order(FRONT, DoorAction::Open, 5_000);
    world.run(100);
    assert!(actuated(&world.of(again)));
    let close = world.order(FRONT, DoorAction::Close, 5_000);
    world.run(100);
    assert!(!world.open(FRONT) && actuated(&world.of(close)));
}

#[test]
fn ten_orders_at_once_are_all_confirmed() {
    let mut world = World::new();
    let tickets: Vec<u64> =
        (0..10).map(|_| world.order(BACK, DoorAction::OpenAndClose { dwell: None }, 5_000)).collect();
    world.run(1_000);
    for ticket in tickets {
        assert!(actuated(&world.of(ticket)), "{ticket}: {:?}", world.of(ticket));
    }
    world.run(6_000);
    assert!(!world.open(BACK));
}

#[test]
fn an_order_to_a_board_that_fell_silent_expires_and_never_moves_the_relay_later() {
    let mut world = World::new();
    world.boards[0].line = Line::Silent;
    let ticket = world.order(FRONT, DoorAction::Open, 150);
    world.run(30_000);
    let [end] = world.of(ticket)[..] else { panic!("{:?}", world.of(ticket)) };
    assert!(matches!(end, Progress::Expired | Progress::Unknown(_)), "{end:?}");
    world.boards[0].line = Line::Answers;
    world.run(30_000);
    assert!(!world.open(FRONT));
}

#[test]
fn a_close_at_a_lost_board_locks_when_the_board_returns() {
    let mut world = World::new();
    world.order(FRONT, DoorAction::Open, 5_000);
    world.run(100);
    world.boards[0].line = Line::Silent;
    world.run(5_000);
    let close = world.order(FRONT, DoorAction::Close, 5_000);
    assert!(matches!(world.of(close)[..], [Progress::Failed(_)]));
    assert!(world.open(FRONT));
    world.boards[0].line = Line::Answers;
    world.run(10_000);
    assert!(!world.open(FRONT));
}

#[derive(Clone, Debug)]
enum Act {
    Order(bool, u8, u16),
    Card,
    Input(usize, usize, bool),
    Line(usize, Line),
    Run(u16),
}

fn act() -> impl Strategy<Value = Act> {
    let line = prop_oneof![3 => Just(Line::Answers), 1 => Just(Line::Silent), 1 => Just(Line::Mute)];
    prop_oneof![
        4 => (any::<bool>(), 0..3u8, 0..3_000u16).prop_map(|(front, action, deadline)| Act::Order(front, action, deadline)),
        1 => Just(Act::Card),
        3 => (0..2usize, 0..3usize, any::<bool>()).prop_map(|(board, input, value)| Act::Input(board, input, value)),
        1 => (0..2usize, line).prop_map(|(board, line)| Act::Line(board, line)),
        4 => (0..500u16).prop_map(Act::Run),
        1 => (0..10_000u16).prop_map(Act::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn orders_end_once_and_relays_follow_whatever_the_boards_do(acts in prop::collection::vec(act(), 1..40)) {
        let mut world = World::new();
        for act in &acts {
            match act {
                Act::Order(front, action, deadline) => {
                    let door = if *front { FRONT } else { BACK };
                    let action = match action {
                        0 => DoorAction::Open,
                        1 => DoorAction::Close,
                        _ => DoorAction::OpenAndClose { dwell: Some(Duration::from_millis(1_000)) },
                    };
                    world.order(door, action, u64::from(*deadline));
                }
                Act::Card => {
                    let step = world.bench.present(GOOD);
                    world.keep(step);
                }
                Act::Input(board, input, value) => world.boards[*board].inputs[*input] = *value,
                Act::Line(board, line) => world.boards[*board].line = *line,
                Act::Run(millis) => world.run(u64::from(*millis)),
            }
        }
        // The faults heal, buttons are let go, the fire is out.
        for board in &mut world.boards {
            board.line = Line::Answers;
            board.inputs[usize::from(REX)] = false;
            board.inputs[usize::from(FIRE)] = false;
        }
        world.run(30_000);
        for ticket in 1..=world.bench.tickets {
            let all = world.of(ticket);
            let finals = all.iter().filter(|progress| progress.is_final()).count();
            prop_assert_eq!(finals, 1, "order {}: {:?}", ticket, all);
            let forgotten = all.iter().any(|end| matches!(end, Progress::Unknown(detail) if detail.starts_with("the bus did not say")));
            prop_assert!(!forgotten, "the bus forgot order {}", ticket);
        }
        for (door, status) in [FRONT, BACK].into_iter().zip(world.bench.controller.door_statuses().iter()) {
            let unlocks = status.mode == crate::domain::door::Mode::Unlocked;
            prop_assert_eq!(world.open(door), unlocks, "{:?}", status);
            prop_assert!(unlocks || status.mode == crate::domain::door::Mode::Locked);
        }
        prop_assert!(world.bus.is_settled(world.bench.now.mono));
    }
}
