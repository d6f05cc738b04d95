//! The daemon's bus machines as the line's master, in virtual time: what the adapters do, without a port and without
//! a clock. Owns the time. Invariant: nothing happens between two steps that the daemon would not have done.

use std::time::Duration;

use latchd::{
    domain::{fieldbus::BusReport, outputs::Desired, time::Mono},
    gateway::fieldbus::{Bus, BusFault, BusPlan, EchoSense, Exchange, Next, Reply, RtuTimes, Transaction},
};

use super::model::Line;

const START: Mono = Mono::from_millis(1_000);

/// What became of a transaction.
#[derive(Clone, Debug)]
pub struct Done {
    pub began: Mono,
    pub ended: Mono,
    pub transaction: Transaction,
    pub result: Result<Reply, BusFault>,
}

/// A Modbus bus and the line that it speaks on.
pub struct BusOnLine {
    pub bus: Bus,
    pub line: Line,
    pub now: Mono,
    pub reports: Vec<(Mono, BusReport)>,
    pub results: Vec<Done>,
    times: RtuTimes,
    pub echo: EchoSense,
    exchange: Option<(Mono, Transaction, Exchange)>,
    /// The master's port is pulled out: nothing can be sent.
    gone: bool,
}

impl BusOnLine {
    /// `plan.turnaround` is the silence between frames.
    pub fn new(plan: BusPlan, line: Line) -> BusOnLine {
        let times = RtuTimes::new(line.times().modbus_gap(), plan.turnaround);
        let (bus, now) = (Bus::new(plan), START);
        BusOnLine {
            bus,
            line,
            now,
            reports: vec![],
            results: vec![],
            times,
            echo: EchoSense::default(),
            exchange: None,
            gone: false,
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
        }
    }

    /// Until this is so, or for this long. Whether it became so.
    pub fn run_until(&mut self, within: Duration, wanted: impl Fn(&BusOnLine) -> bool) -> bool {
        let end = self.now + within;
        while self.now < end && !wanted(self) {
            self.step(end);
        }
        wanted(self)
    }

    pub fn desire(&mut self, desired: &[Desired]) {
        let mut out = Vec::new();
        self.bus.set_desired(self.now, desired, &mut out);
        self.note(&mut out);
    }

    /// Pulls out the master's adapter, or puts it in again.
    pub fn set_port(&mut self, there: bool) {
        self.gone = !there;
        // Of a port that is opened anew nothing is known.
        self.echo = EchoSense::default();
        self.line.cut_master();
        if self.gone && self.exchange.is_some() {
            self.end(Err(BusFault::Disconnected("the port has gone".to_owned())));
        }
    }

    /// What was reported so far, taken.
    pub fn reported(&mut self) -> Vec<BusReport> {
        self.reports.drain(..).map(|(_, report)| report).collect()
    }

    fn step(&mut self, end: Mono) {
        if self.exchange.is_some() {
            return self.listen(end);
        }
        let mut out = Vec::new();
        let next = self.bus.next(self.now, &mut out);
        self.note(&mut out);
        match next {
            Next::Transact(transaction) => {
                let (exchange, bytes) = Exchange::begin(self.times, self.echo.echo(), &transaction, self.now);
                self.exchange = Some((self.now, transaction, exchange));
                if self.gone {
                    // Trying to open it takes a moment.
                    self.now = self.now + Duration::from_micros(100);
                    return self.end(Err(BusFault::Unreachable("no port".to_owned())));
                }
                self.line.send(self.now, &bytes);
                // What lay there was not asked for.
                self.line.heard();
            }
            Next::Idle { until } => {
                self.now = until.unwrap_or(end).min(end).max(self.now + Duration::from_nanos(1));
                self.line.advance(self.now);
            }
        }
    }

    fn listen(&mut self, end: Mono) {
        let Some((.., exchange)) = &mut self.exchange else { return };
        let at = self.line.next_event().into_iter().chain([exchange.until(), end]).min().unwrap_or(end);
        self.now = at.max(self.now);
        self.line.advance(self.now);
        let mut result = None;
        for (at, byte) in self.line.heard() {
            result = result.or(exchange.hear(at, &[byte]));
        }
        if let Some(result) = result.or_else(|| exchange.due(at)) {
            self.end(result);
        }
    }

    fn end(&mut self, result: Result<Reply, BusFault>) {
        let Some((began, transaction, exchange)) = self.exchange.take() else { return };
        self.echo.learn(exchange.echo());
        self.results.push(Done { began, ended: self.now, transaction, result: result.clone() });
        let mut out = Vec::new();
        self.bus.handle(self.now, result, &mut out);
        self.note(&mut out);
    }

    fn note(&mut self, out: &mut Vec<BusReport>) {
        self.reports.extend(out.drain(..).map(|report| (self.now, report)));
    }
}
