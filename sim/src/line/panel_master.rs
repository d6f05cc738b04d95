//! The daemon's OSDP panel as the line's master, in virtual time. Owns the time, and randomness from a seed.

use std::time::Duration;

use latchd::{
    domain::time::Mono,
    gateway::osdp::{KeyRing, LinePlan, News, Next, Panel, Protection, ReaderPlan},
    wire::osdp::frame::Check,
};

use super::{model::Line, osdp::READER_KEY};
use crate::world::rng::Rng;

const START: Mono = Mono::from_millis(1_000);

/// A panel and the line that it speaks on.
pub struct PanelOnLine {
    pub panel: Panel,
    pub line: Line,
    pub now: Mono,
    /// With the reader's position.
    pub news: Vec<(Mono, usize, News)>,
    rng: Rng,
    gone: bool,
}

impl PanelOnLine {
    /// Readers with these addresses, all with the key that readers here have.
    pub fn new(line: Line, addresses: impl Iterator<Item = u8>) -> PanelOnLine {
        let times = line.times();
        let plans = addresses.map(|address| ReaderPlan {
            address,
            protection: Protection::Secure(KeyRing::of(Some(READER_KEY))),
            check: Check::Crc,
            lost_after: Duration::from_secs(1),
            points: None,
        });
        let plan = LinePlan { baud: times.baud, bits_per_character: times.bits_per_character };
        let panel = Panel::new(plan, plans.collect(), START);
        PanelOnLine { panel, line, now: START, news: Vec::new(), rng: Rng::new(1), gone: false }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
        }
    }

    /// Until this is so, or for this long. Whether it became so.
    pub fn run_until(&mut self, within: Duration, wanted: impl Fn(&PanelOnLine) -> bool) -> bool {
        let end = self.now + within;
        while self.now < end && !wanted(self) {
            self.step(end);
        }
        wanted(self)
    }

    /// Pulls out the master's adapter, or puts it in again.
    pub fn set_port(&mut self, there: bool) {
        self.gone = !there;
        self.line.cut_master();
    }

    pub fn said(&self, reader: usize, wanted: impl Fn(&News) -> bool) -> usize {
        self.news.iter().filter(|(_, of, news)| *of == reader && wanted(news)).count()
    }

    pub fn cards(&self, reader: usize) -> usize {
        self.said(reader, |news| matches!(news, News::Card(_)))
    }

    fn step(&mut self, end: Mono) {
        let mut out = Vec::new();
        if self.gone {
            // As the loop does while it cannot open its port.
            self.panel.cut(self.now, &mut out);
            self.now = (self.now + Duration::from_millis(200)).min(end);
            self.line.advance(self.now);
        } else {
            let rng = &mut self.rng;
            match self.panel.next(self.now, &mut || rng.next().to_le_bytes(), &mut out) {
                Next::Send(bytes) => self.line.send(self.now, &bytes),
                Next::Listen { until } => {
                    let at = self.line.next_event().into_iter().chain([until, end]).min().unwrap_or(end);
                    self.now = at.max(self.now + Duration::from_nanos(1));
                    self.line.advance(self.now);
                    for (at, byte) in self.line.heard() {
                        self.panel.hear(at, &[byte], &mut out);
                    }
                }
            }
        }
        self.news.extend(out.into_iter().map(|(reader, news)| (self.now, reader, news)));
    }
}
