//! What a reader says of its inputs and outputs. Owns what of it is believed, and when it is enough to be told; must
//! never tell a value of before the reader was lost. Invariant: nothing is told before all of it was read.

use super::{Flight, Lasting, Points};
use crate::{
    domain::{
        fieldbus::{BusReport, LineTrouble},
        ids::InputRef,
        outputs::Level,
        time::Mono,
    },
    gateway::fieldbus::Link,
    wire::osdp::{command::Command, reply::Nak},
};

impl Points {
    /// An OUT was taken.
    pub fn acknowledged(&mut self, now: Mono) {
        match self.flight.take() {
            Some(Flight::Write(at, level, lasting)) => {
                let Some(driven) = self.outputs.get_mut(at) else { return };
                match lasting {
                    Lasting::Becomes => (driven.lasting, driven.passing) = (Some(level), None),
                    Lasting::Stays => driven.passing = Some(level),
                }
                driven.output.write_answered(now, &mut self.out);
            }
            Some(Flight::Ground(at, level)) => {
                if let Some(driven) = self.outputs.get_mut(at) {
                    driven.lasting = Some(level);
                }
            }
            None => {}
        }
    }

    /// The reader did not do it, and knows that it did not: it was busy.
    pub fn put_off(&mut self, now: Mono) {
        if let Some(Flight::Write(at, ..)) = self.flight.take()
            && let Some(driven) = self.outputs.get_mut(at)
        {
            driven.output.write_not_sent(now, &mut self.out);
        }
    }

    pub fn refused(&mut self, now: Mono, asked: &Command, nak: Nak) {
        match (asked, self.flight.take()) {
            (Command::Output(_), Some(Flight::Write(at, ..))) => {
                let Some(driven) = self.outputs.get_mut(at) else { return };
                let detail = format!("the reader refuses OUT (NAK {nak:?})");
                if driven.output.sets_timer() {
                    driven.output.timer_unknown(now, &detail, &mut self.out);
                } else {
                    driven.output.write_refused(now, &detail, &mut self.out);
                }
            }
            // One that takes a time and not this says itself what it falls back to.
            (Command::Output(_), Some(Flight::Ground(at, level))) => {
                if let Some(driven) = self.outputs.get_mut(at) {
                    driven.lasting = Some(level);
                }
            }
            // It tells them by itself.
            (Command::InputStatus, _) if self.inputs_read => {}
            (Command::InputStatus, _) => self.lacks(now, format!("it does not tell its inputs (NAK {nak:?})")),
            // It has told them before: it is asked again.
            (Command::OutputStatus, _) if self.outputs_read => {}
            (Command::OutputStatus, _) => {
                let detail = "it does not tell its outputs: what it acknowledges is all that is known";
                self.out.push(BusReport::BoardDegraded { board: self.plan.board, detail: detail.to_owned() });
                self.outputs_read = true;
                self.by_its_word = true;
                self.outputs.iter_mut().for_each(|driven| driven.output.reads_back_no_more());
                self.report();
            }
            (Command::LocalStatus, _) => {
                // Those that say nothing of cover and supply have none that is watched.
                self.local(false, false);
            }
            _ => {}
        }
    }

    /// The cover, and the supply.
    pub fn local(&mut self, tamper: bool, power_failed: bool) {
        self.local_read = true;
        for (input, value) in [(self.plan.tamper(), tamper), (self.plan.power(), power_failed)] {
            if let Some(input) = self.inputs.get_mut(usize::from(input.input)) {
                input.value = Some(Ok(value));
            }
        }
        self.report();
    }

    /// `asked`: not told by itself.
    pub fn inputs(&mut self, now: Mono, states: &[u8], asked: bool) {
        let wanted = usize::from(self.plan.inputs);
        if states.len() < wanted {
            return self.lacks(now, format!("it has {} inputs, and the site file says {wanted}", states.len()));
        }
        let mut changed = false;
        for (input, state) in self.inputs.iter_mut().take(wanted).zip(states) {
            let sensed = match state {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(LineTrouble::Fault),
            };
            changed |= input.value.replace(sensed) != Some(sensed);
        }
        self.untold = match (asked, changed && self.inputs_read) {
            (true, true) => self.untold.saturating_add(1),
            (true, false) => self.untold,
            (false, _) => 0,
        };
        self.inputs_read = true;
        self.report();
    }

    pub fn outputs(&mut self, now: Mono, states: &[u8]) {
        let wanted = self.outputs.len();
        if states.len() < wanted {
            return self.lacks(now, format!("it has {} outputs, and the site file says {wanted}", states.len()));
        }
        let was_up = self.link == Link::Up;
        let mut before_it_is_up = Vec::new();
        let out = if was_up { &mut self.out } else { &mut before_it_is_up };
        for (driven, state) in self.outputs.iter_mut().zip(states) {
            let level = match state {
                0 => Some(Level::Released),
                1 => Some(Level::Energised),
                _ => None,
            };
            driven.output.found(now, level, out);
        }
        self.outputs_read = true;
        self.report();
    }

    /// OSTATR in answer to OUT: taken, and where it stands as it was driven, read back.
    pub fn acknowledged_with(&mut self, now: Mono, states: &[u8]) {
        let flight = self.flight;
        self.acknowledged(now);
        let is_there = |at: usize, level: Level| states.get(at) == Some(&u8::from(level.is_energised()));
        if let Some(Flight::Write(at, level, _)) = flight
            && is_there(at, level)
        {
            self.outputs(now, states);
        }
    }

    fn report(&mut self) {
        if !(self.asking && self.inputs_read && self.outputs_read && self.local_read) {
            return;
        }
        let board = self.plan.board;
        let comes = self.link != Link::Up;
        if comes {
            (self.link, self.lacking) = (Link::Up, false);
            self.out.push(BusReport::BoardUp { board });
        }
        for (at, input) in (0..).zip(&mut self.inputs) {
            let Some(sensed) = input.value.filter(|_| input.value != input.reported) else { continue };
            input.reported = Some(sensed);
            let input = InputRef { board, input: at };
            self.out.push(match sensed {
                Ok(energised) => BusReport::Input { input, energised },
                Err(trouble) => BusReport::InputTrouble { input, trouble },
            });
        }
        for driven in self.outputs.iter_mut().filter(|_| comes) {
            driven.output.board_up(&mut self.out);
        }
    }
}
