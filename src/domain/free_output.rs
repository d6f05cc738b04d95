//! The state machine of one output that belongs to nothing. Owns what it is set to, its pulse and the orders on
//! their way; must never tell a relay anything (that follows from the state, see [`FreeOutput::desired`]) nor
//! judge an operator. Invariant: a pulse carries its end from the first write on, nothing extends it but another
//! pulse, and each order ends in exactly one final report.

use std::time::Duration;

use super::{
    door::{ORDER_SETTLE_MAX, OrderEnd},
    event::{Actor, EventBody, Refusal},
    field::{FreeOutputConfig, OutputStart, OutputStop},
    fieldbus::BusReport,
    kept::Kept,
    order::{Order, OutputAction, Progress},
    outputs::{Desired, Level, Ticket},
    time::{Mono, Now, Wall},
};

/// Orders that one output carries at a time; the next is refused as overloaded.
pub const ORDERS_MAX: usize = 16;
/// How long `node.identify` blinks, and how long each half of a blink lasts.
pub const IDENTIFY_FOR: Duration = Duration::from_secs(10);
const BLINK: Duration = Duration::from_millis(500);

/// ```text
///             set on, read back                       set off, read back
///   off ------------------------------> on ------------------------------> off
///    |  ^                                |  ^
///    |  +-- pulse over ---- pulse <------+--+ pulse: on until its end, then as set
///    +----- pulse, read back ---^
/// ```
///
/// One order after the other is told to the bus (the front of the queue); the next takes its place when that one
/// has ended.
#[derive(Debug)]
pub struct FreeOutput {
    config: FreeOutputConfig,
    on: bool,
    /// Of the last setting that was applied: an older one never undoes it.
    issued_at: Wall,
    pulse_until: Option<Mono>,
    blink: Option<Blink>,
    pending: Vec<Pending>,
    board_up: bool,
    read_back: Option<Level>,
    stopping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Blink {
    until: Mono,
    lit: bool,
    turns_at: Mono,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    action: OutputAction,
    deadline: Mono,
    issued_at: Wall,
    by: Actor,
}

/// What one input brought about, besides the output's state.
#[derive(Debug, PartialEq)]
pub enum OutputEffect {
    Event(EventBody),
    Report(Ticket, Progress),
    /// Waits until what is kept is durable.
    Held(Ticket, Progress),
    Keep(Kept),
}

impl FreeOutput {
    /// `kept`: how it was set when the last run ended, and when that was issued.
    pub fn new(config: FreeOutputConfig, kept: Option<(bool, Wall)>) -> FreeOutput {
        let (was_on, issued_at) = kept.unwrap_or_default();
        let on = match config.at_start {
            OutputStart::Restore => was_on,
            OutputStart::On => true,
            OutputStart::Off => false,
        };
        FreeOutput {
            config,
            on,
            issued_at,
            pulse_until: None,
            blink: None,
            pending: Vec::new(),
            board_up: false,
            read_back: None,
            stopping: false,
        }
    }

    pub fn config(&self) -> &FreeOutputConfig {
        &self.config
    }

    // ---- inputs ----

    pub fn order<What>(&mut self, now: Now, order: &Order<What>, action: OutputAction, out: &mut Vec<OutputEffect>) {
        match self.judge(now.mono, order, action) {
            Err(progress) => out.push(OutputEffect::Report(order.ticket, progress)),
            Ok(()) => self.pending.push(Pending {
                ticket: order.ticket,
                action,
                deadline: order.deadline,
                issued_at: order.issued_at,
                by: order.by.clone(),
            }),
        }
    }

    fn judge<What>(&self, now: Mono, order: &Order<What>, action: OutputAction) -> Result<(), Progress> {
        let refuse = |refusal, detail: String| Err(Progress::Refused(refusal, detail));
        if now > order.deadline {
            return Err(Progress::Expired);
        }
        if self.stopping {
            return refuse(Refusal::Overloaded, "the node is stopping".to_owned());
        }
        if self.pending.len() >= ORDERS_MAX {
            return refuse(Refusal::Overloaded, format!("{ORDERS_MAX} orders are under way at this output"));
        }
        if matches!(action, OutputAction::Set(_)) && !order.ticket.is_own() {
            let settings = self.pending.iter().filter(|pending| matches!(pending.action, OutputAction::Set(_)));
            let newest = settings.map(|pending| pending.issued_at).fold(self.issued_at, Wall::max);
            if order.issued_at < newest {
                return refuse(Refusal::Conflict, "a command issued later has been applied to this output".to_owned());
            }
        }
        if !self.board_up {
            return refuse(Refusal::BusDown, "the board of the output does not answer".to_owned());
        }
        Ok(())
    }

    /// From its board; what is about another output changes nothing.
    pub fn hear(&mut self, now: Mono, report: &BusReport, out: &mut Vec<OutputEffect>) {
        let own = self.config.output;
        match report {
            BusReport::BoardUp { board } if *board == own.board => self.board(true),
            BusReport::BoardLost { board, .. } if *board == own.board => self.board(false),
            BusReport::Output { output, level, order } if *output == own => self.found(now, *level, *order, out),
            BusReport::OutputMismatch { output, level } if *output == own => self.mismatched(*level, out),
            BusReport::OrderExpired { output, ticket } if *output == own => {
                self.ended(*ticket, OrderEnd::Expired, out);
            }
            BusReport::OrderFailed { output, ticket, detail } if *output == own => {
                self.ended(*ticket, OrderEnd::Failed(detail.clone()), out);
            }
            BusReport::OrderUnknown { output, ticket, detail } if *output == own => {
                self.ended(*ticket, OrderEnd::Unknown(detail.clone()), out);
            }
            _ => {}
        }
    }

    pub fn board(&mut self, up: bool) {
        self.board_up = up;
        if !up {
            self.read_back = None;
        }
    }

    /// The output was read back, on the first confirmation of an order with its ticket.
    pub fn found(&mut self, now: Mono, level: Level, order: Option<Ticket>, out: &mut Vec<OutputEffect>) {
        self.read_back = Some(level);
        let confirms = |front: &&Pending| {
            let on = !matches!(front.action, OutputAction::Set(false));
            Some(front.ticket) == order && level == self.level(on)
        };
        if self.pending.first().filter(confirms).is_some() {
            let done = self.pending.remove(0);
            self.actuated(now, done, out);
        }
    }

    fn actuated(&mut self, now: Mono, done: Pending, out: &mut Vec<OutputEffect>) {
        let output = self.config.id.clone();
        let actuated = Progress::Actuated { observation_follows: false };
        match done.action {
            OutputAction::Set(on) => {
                self.pulse_until.take_if(|_| !on);
                self.issued_at = self.issued_at.max(done.issued_at);
                if std::mem::replace(&mut self.on, on) != on {
                    out.push(OutputEffect::Event(EventBody::OutputSwitched {
                        output: output.clone(),
                        on,
                        actor: done.by,
                    }));
                }
                out.push(OutputEffect::Keep(Kept::Output { output, on, issued_at: self.issued_at }));
                out.push(OutputEffect::Held(done.ticket, actuated));
            }
            OutputAction::Pulse(length) => {
                // Never later than what the bus was told while it waited.
                let until = (now + length).min(done.deadline + length);
                self.pulse_until = self.pulse_until.max(Some(until));
                let pulse_ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
                out.push(OutputEffect::Event(EventBody::OutputPulsed { output, pulse_ms, actor: done.by }));
                out.push(OutputEffect::Report(done.ticket, actuated));
            }
        }
    }

    /// The bus gave an order up.
    pub fn ended(&mut self, ticket: Ticket, end: OrderEnd, out: &mut Vec<OutputEffect>) {
        if let Some(at) = self.pending.iter().position(|pending| pending.ticket == ticket) {
            self.pending.remove(at);
            let progress = match end {
                OrderEnd::Expired => Progress::Expired,
                OrderEnd::Failed(detail) => Progress::Failed(detail),
                OrderEnd::Unknown(detail) => Progress::Unknown(detail),
            };
            out.push(OutputEffect::Report(ticket, progress));
        }
    }

    pub fn mismatched(&mut self, level: Level, out: &mut Vec<OutputEffect>) {
        self.read_back = Some(level);
        out.push(OutputEffect::Event(EventBody::OutputMismatched { output: self.config.id.clone() }));
    }

    /// Blinks, whatever it is set to; a pulse or an order comes before it.
    pub fn identify(&mut self, now: Mono) {
        self.blink = Some(Blink { until: now + IDENTIFY_FOR, lit: true, turns_at: now + BLINK });
    }

    pub fn stop(&mut self, out: &mut Vec<OutputEffect>) {
        self.stopping = true;
        self.pulse_until = None;
        self.blink = None;
        out.extend(self.pending.drain(..).map(|pending| OutputEffect::Report(pending.ticket, Progress::Cancelled)));
    }

    pub fn timeout(&mut self, now: Mono, out: &mut Vec<OutputEffect>) {
        self.pulse_until.take_if(|until| *until <= now);
        self.blink.take_if(|blink| blink.until <= now);
        if let Some(blink) = self.blink.as_mut().filter(|blink| blink.turns_at <= now) {
            blink.lit = !blink.lit;
            blink.turns_at = now + BLINK;
        }
        // The bus answers for the one that it was told of; those behind it were never begun.
        let unanswered = self.pending.first().filter(|front| front.deadline + ORDER_SETTLE_MAX <= now);
        if let Some(ticket) = unanswered.map(|front| front.ticket) {
            self.ended(ticket, OrderEnd::Unknown("the bus did not say what became of it".to_owned()), out);
        }
        let front = self.pending.first().map(|front| front.ticket);
        let late = |pending: &mut Pending| Some(pending.ticket) != front && pending.deadline < now;
        for late in self.pending.extract_if(.., late) {
            out.push(OutputEffect::Report(late.ticket, Progress::Expired));
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let settle = self.pending.first().map(|front| front.deadline + ORDER_SETTLE_MAX);
        let expire = self.pending.iter().skip(1).map(|pending| pending.deadline + Duration::from_nanos(1)).min();
        let blink = self.blink.map(|blink| blink.turns_at.min(blink.until));
        [settle, expire, blink, self.pulse_until].into_iter().flatten().min()
    }

    // ---- what follows from the state ----

    fn level(&self, on: bool) -> Level {
        if on { self.config.on_level } else { self.config.on_level.inverted() }
    }

    /// What it is when nothing momentary is about it.
    fn base(&self) -> Level {
        let on = match (self.stopping, self.config.at_stop) {
            (false, _) | (true, OutputStop::Keep) => self.on,
            (true, OutputStop::On) => true,
            (true, OutputStop::Off) => false,
        };
        self.level(on)
    }

    pub fn desired(&self, now: Mono) -> Desired {
        let base = self.base();
        let output = self.config.output;
        let standing = Desired { output, level: base, until: None, rest: base, order: None };
        let pulse = self.pulse_until.filter(|until| now < *until);
        if let Some(front) = self.pending.first() {
            let order = Some((front.ticket, front.deadline));
            return match front.action {
                OutputAction::Set(on) => {
                    let level = self.level(on);
                    Desired { level, rest: level, order, ..standing }
                }
                OutputAction::Pulse(length) => {
                    let until = pulse.max(Some(front.deadline + length));
                    Desired { level: self.level(true), until, order, ..standing }
                }
            };
        }
        if let Some(until) = pulse {
            return Desired { level: self.level(true), until: Some(until), ..standing };
        }
        match self.blink.filter(|blink| blink.lit && now < blink.until) {
            Some(blink) => Desired { level: base.inverted(), until: Some(blink.turns_at.min(blink.until)), ..standing },
            None => standing,
        }
    }

    /// Nothing is under way, and it was seen as it is without any order, or nobody can tell.
    pub fn at_rest(&self) -> bool {
        let momentary = self.pulse_until.is_some() || self.blink.is_some() || !self.pending.is_empty();
        !momentary && (!self.board_up || self.read_back == Some(self.base()))
    }

    /// After [`FreeOutput::stop`]: it is where it is to stay, or nobody can tell.
    pub fn stopped(&self) -> bool {
        self.stopping && (!self.board_up || self.read_back == Some(self.base()))
    }
}

#[cfg(test)]
mod tests;
