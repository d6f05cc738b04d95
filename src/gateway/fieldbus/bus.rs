//! The bus machine: who has the wire next. Owns the order among boards; must never hold up a door by
//! anything but the transaction that is on the wire. Order: every transaction has a deadline, and the earliest goes
//! first; orders and changes of outputs go before all polls, what is only written anew goes among them. After
//! [`URGENT_RUN_MAX`] urgent ones in a row one poll, so that inputs (fire, exit buttons) are read under any load; where
//! the line has no room for all polls, doors in motion have half of it.

use std::time::Duration;

use crate::domain::{
    fieldbus::BusReport,
    ids::{BoardIx, OutputRef},
    outputs::{Desired, Level},
    time::Mono,
};

use super::{
    BusFault, BusPlan, Next, Reply, Request, Transaction,
    board::{Board, Chore, Link},
    output::{Action, Wish},
};

const URGENT_RUN_MAX: u32 = 16;
/// On a serial line a lost board is waited for at least this long, and twice as long as the slowest of the others takes.
const PROBE_PATIENCE_MIN: Duration = Duration::from_millis(50);
/// One in so many of its probes waits as long as any board may take, should it be a slow one.
const PATIENT_PROBE_EVERY: u32 = 4;
/// Exceptions that refuse nothing.
const ACKNOWLEDGE: u8 = 5;
const DEVICE_BUSY: u8 = 6;

#[derive(Clone, Debug)]
pub struct Bus {
    plan: BusPlan,
    boards: Vec<Board>,
    flight: Option<Flight>,
    quiet_until: Mono,
    urgent_run: u32,
    /// The longest that an answer recently took; decays.
    slowest: Duration,
    /// Where the search among equals begins.
    turn: usize,
    /// The last chore was one of a board in motion: the next is an idle one's, if one is due.
    favoured: bool,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    board: usize,
    started: Mono,
    request: Request,
    errand: Errand,
}

#[derive(Clone, Copy, Debug)]
enum Errand {
    Write(usize),
    ReadBack(usize),
    Poll(usize),
    Clear(usize),
    Guard,
}

impl Bus {
    pub fn new(plan: BusPlan) -> Bus {
        let boards = plan.boards.iter().cloned().map(Board::new).collect();
        Bus {
            plan,
            boards,
            flight: None,
            quiet_until: Mono::ZERO,
            urgent_run: 0,
            slowest: Duration::ZERO,
            turn: 0,
            favoured: false,
        }
    }

    pub fn plan(&self) -> &BusPlan {
        &self.plan
    }

    /// The newest desired state of each output named; those on other buses are not ours. May be called
    /// at any time, as often as one likes with the same.
    pub fn set_desired(&mut self, now: Mono, desired: &[Desired], out: &mut Vec<BusReport>) {
        for one in desired {
            if let Some(output) = self.output_mut(one.output) {
                output.set_desired(now, one, out);
            }
        }
    }

    /// What to do now. A [`Next::Transact`] must be carried out at once and answered with `handle`:
    /// deadlines of orders are judged here.
    pub fn next(&mut self, now: Mono, out: &mut Vec<BusReport>) -> Next {
        for board in &mut self.boards {
            board.tick(now, out);
        }
        if self.flight.is_some() {
            return Next::Idle { until: None };
        }
        if now < self.quiet_until {
            return Next::Idle { until: Some(self.quiet_until) };
        }
        let chore = self.next_chore(now);
        let chore_waits = chore.is_some() && self.urgent_run >= URGENT_RUN_MAX;
        let goes_before = |wish: &Wish| !wish.yields || chore.is_none_or(|(deadline, ..)| wish.urgency < deadline);
        if !chore_waits && let Some((board, output, wish)) = self.next_wish(now, out).filter(|it| goes_before(&it.2)) {
            self.urgent_run += u32::from(!wish.yields);
            return self.start_wish(now, board, output, wish, out);
        }
        if let Some((_, board, chore)) = chore {
            self.urgent_run = 0;
            self.turn = board + 1;
            self.favoured = self.boards.get(board).is_some_and(|board| board.is_moving(now));
            return self.start_chore(now, board, chore);
        }
        Next::Idle { until: self.boards.iter().filter_map(|board| board.next_deadline(now)).min() }
    }

    /// The result of the transaction that `next` handed out.
    pub fn handle(&mut self, now: Mono, result: Result<Reply, BusFault>, out: &mut Vec<BusReport>) {
        let Some(flight) = self.flight.take() else { return };
        if self.plan.serial {
            self.quiet_until = now + self.plan.turnaround;
        }
        if result.is_ok() {
            self.slowest = now.since(flight.started).max(self.slowest * 63 / 64);
        }
        // Damage may be a late answer in the way of the right one, which then is late itself.
        let awaited = self.boards.iter().any(|board| board.awaits(flight.started));
        let Some(board) = self.boards.get_mut(flight.board) else { return };
        match result.and_then(|reply| fitting(&flight.request, reply)) {
            Ok(reply) => match flight.errand {
                Errand::Poll(at) => board.poll_answered(now, at, &reply, out),
                Errand::ReadBack(output) => board.read_back_answered(now, output, &reply, out),
                Errand::Clear(at) => {
                    board.answered(now);
                    board.clear_tried(now, at);
                }
                Errand::Guard => board.guard_written(now),
                Errand::Write(output) => {
                    board.answered(now);
                    if let Some(output) = board.outputs.get_mut(output) {
                        output.write_answered(now, out);
                    }
                }
            },
            Err(fault) => {
                let may_come = self.plan.serial && (fault == BusFault::Timeout || awaited);
                if let (true, Request::Read { table, .. }) = (may_come, flight.request) {
                    board.may_answer_late(table, flight.started + self.plan.timeout * 2);
                }
                failed(board, flight, now, &fault, &self.plan, out);
            }
        }
        board.tick(now, out);
    }

    /// The level at which an output was last read back, nothing having been written since.
    pub fn confirmed(&self, output: OutputRef) -> Option<Level> {
        let board = self.board(output.board)?;
        board.outputs.get(usize::from(output.output))?.confirmed()
    }

    pub fn link(&self, board: BoardIx) -> Option<Link> {
        self.board(board).map(Board::link)
    }

    /// Whether every output of every board that is up stands as desired, confirmed.
    pub fn is_settled(&self, now: Mono) -> bool {
        self.boards
            .iter()
            .filter(|board| board.link() == Link::Up)
            .all(|board| board.outputs.iter().all(|output| output.is_settled(now)))
    }

    fn next_wish(&mut self, now: Mono, out: &mut Vec<BusReport>) -> Option<(usize, usize, Wish)> {
        let mut first: Option<(usize, usize, Wish)> = None;
        for (board_at, board) in self.boards.iter_mut().enumerate() {
            if board.link() != Link::Up || !board.is_ready(now) || board.is_arming() {
                continue;
            }
            if let Some((output, wish)) = board.wish(now, out)
                && first.is_none_or(|(_, _, best)| wish.precedes(&best))
            {
                first = Some((board_at, output, wish));
            }
        }
        first
    }

    /// The earliest deadline. Where one has passed the line has no room for all: then of a board in motion and of any
    /// other in turn, so that doors in motion have half of it and nobody is forgotten.
    fn next_chore(&self, now: Mono) -> Option<(Mono, usize, Chore)> {
        let count = self.boards.len();
        let mut firsts: [Option<(Mono, usize, Chore)>; 2] = [None, None];
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(board) = self.boards.get(at).filter(|board| board.is_ready(now)) else { continue };
            let [moving, idle] = &mut firsts;
            let first = if board.is_moving(now) { moving } else { idle };
            if let Some((deadline, chore)) = board.chore(now)
                && first.is_none_or(|(best, _, _)| deadline < best)
            {
                *first = Some((deadline, at, chore));
            }
        }
        let [moving, idle] = firsts;
        if let (Some(moving), Some(idle)) = (moving, idle)
            && moving.0.min(idle.0) >= now
        {
            return Some(if idle.0 < moving.0 { idle } else { moving });
        }
        let (one, other) = if self.favoured { (idle, moving) } else { (moving, idle) };
        one.or(other)
    }

    fn start_wish(&mut self, now: Mono, at: usize, output: usize, wish: Wish, out: &mut Vec<BusReport>) -> Next {
        let Some(board) = self.boards.get_mut(at) else { return Next::Idle { until: None } };
        let unit = board.config().unit;
        let Some(point) = board.outputs.get_mut(output) else { return Next::Idle { until: None } };
        let request = point.request(now, wish.action);
        let (errand, start_by) = match wish.action {
            Action::Write(level) => (Errand::Write(output), point.start_write(now, level, out)),
            Action::ReadBack => (Errand::ReadBack(output), None),
        };
        if matches!(errand, Errand::Write(_)) {
            board.moves(now);
        }
        self.flight = Some(Flight { board: at, started: now, request, errand });
        Next::Transact(Transaction { unit, request, start_by, patience: self.plan.timeout })
    }

    fn start_chore(&mut self, now: Mono, at: usize, chore: Chore) -> Next {
        let patience = self.patience(at);
        let Some(board) = self.boards.get_mut(at) else { return Next::Idle { until: None } };
        let unit = board.config().unit;
        let (request, errand) = match chore {
            Chore::Guard => match board.guard_request() {
                Some(request) => (request, Errand::Guard),
                None => return Next::Idle { until: None },
            },
            Chore::Clear(card, address) => (Request::WriteRegister { address, value: 0 }, Errand::Clear(card)),
            Chore::Poll(poll) => {
                let Some(group) = board.group(poll) else { return Next::Idle { until: None } };
                board.start_poll(now, poll);
                let request = Request::Read { table: group.table, address: group.address, count: group.count };
                (request, Errand::Poll(poll))
            }
        };
        self.flight = Some(Flight { board: at, started: now, request, errand });
        Next::Transact(Transaction { unit, request, start_by: None, patience })
    }

    /// How long an answer to a chore is waited for: a board that is lost gets less of a line that it shares.
    fn patience(&self, at: usize) -> Duration {
        let probe = self.boards.get(at).filter(|board| self.plan.serial && board.link() == Link::Lost);
        let short = probe.is_some_and(|board| !board.faults().is_multiple_of(PATIENT_PROBE_EVERY));
        if !short || self.slowest.is_zero() {
            return self.plan.timeout;
        }
        (self.slowest * 2).max(PROBE_PATIENCE_MIN).min(self.plan.timeout)
    }

    fn board(&self, board: BoardIx) -> Option<&Board> {
        self.boards.iter().find(|candidate| candidate.config().board == board)
    }

    fn output_mut(&mut self, output: OutputRef) -> Option<&mut super::output::Output> {
        let board = self.boards.iter_mut().find(|board| board.config().board == output.board)?;
        board.outputs.get_mut(usize::from(output.output))
    }
}

fn failed(board: &mut Board, flight: Flight, now: Mono, fault: &BusFault, plan: &BusPlan, out: &mut Vec<BusReport>) {
    // 10 and 11 come from a gateway: whoever stands behind it has not answered.
    let refused = matches!(fault, BusFault::Exception(code) if !matches!(code, 10 | 11));
    if let Errand::Write(output) = flight.errand
        && let Some(output) = board.outputs.get_mut(output)
    {
        match fault {
            BusFault::TooLate => return output.write_not_sent(now, out),
            BusFault::Unreachable(_) => output.write_not_sent(now, out),
            BusFault::Exception(1..=3) if output.sets_timer() => {
                output.timer_unknown(now, &format!("{}: {fault}", flight.request), out);
            }
            // It goes on to do it, or was busy with something else: what became of it is read back.
            BusFault::Exception(ACKNOWLEDGE | DEVICE_BUSY) if output.point().reads_back => output.write_unknown(),
            BusFault::Exception(ACKNOWLEDGE) => output.write_answered(now, out),
            _ if refused => output.write_refused(now, &format!("{}: {fault}", flight.request), out),
            _ => output.write_unknown(),
        }
    }
    match flight.errand {
        _ if *fault == BusFault::TooLate => {}
        Errand::Write(_) if refused => board.answered(now),
        Errand::Guard if *fault == BusFault::Exception(ACKNOWLEDGE) => board.guard_written(now),
        Errand::Guard if *fault == BusFault::Exception(DEVICE_BUSY) => {
            board.answered(now);
            board.guard_not_written(&flight.request, fault);
        }
        Errand::Guard if refused => board.guard_refused(now, &format!("{}: {fault}", flight.request), out),
        Errand::Poll(poll) if refused && board.is_probe(poll) => board.poll_answered(now, poll, &Reply::Written, out),
        Errand::Poll(poll) if refused => board.poll_refused((flight.started, now), poll, fault, plan.timeout),
        Errand::Clear(card) => {
            if refused {
                board.answered(now);
            } else {
                board.unanswered(flight.started, now, fault, plan.timeout);
            }
            board.clear_tried(now, card);
        }
        Errand::Guard => {
            board.unanswered(flight.started, now, fault, plan.timeout);
            board.guard_not_written(&flight.request, fault);
        }
        _ => board.unanswered(flight.started, now, fault, plan.timeout),
    }
}

/// A reply of the wrong kind or length is no reply.
fn fitting(request: &Request, reply: Reply) -> Result<Reply, BusFault> {
    let fits = match (request, &reply) {
        (Request::Read { table, count, .. }, Reply::Bits(bits)) => table.is_bits() && bits.len() == usize::from(*count),
        (Request::Read { table, count, .. }, Reply::Words(words)) => {
            !table.is_bits() && words.len() == usize::from(*count)
        }
        (Request::WriteCoil { .. } | Request::WriteTimer { .. } | Request::WriteRegister { .. }, Reply::Written) => {
            true
        }
        _ => false,
    };
    if fits { Ok(reply) } else { Err(BusFault::Garbage("a reply of the wrong length".to_owned())) }
}
