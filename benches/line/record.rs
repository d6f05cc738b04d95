//! What the records of a line say: which frames belong together, what the wire itself needs for them, and what a
//! frame waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use latchd::domain::time::Mono;
use latchd_sim::line::{LineTimes, Sender, Sent};

/// A request and its answer, if there was one.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Sent,
    pub answer: Option<Sent>,
}

/// From the daemon's write to its port until the thread that is the line has seen it.
const HANDED_OVER: Duration = Duration::from_micros(300);

pub fn exchanges(record: &[Sent]) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    for sent in record {
        match (sent.from, found.last_mut()) {
            (Sender::Master, _) => found.push(Exchange { request: sent.clone(), answer: None }),
            (Sender::Device(_), Some(last)) if last.answer.is_none() => last.answer = Some(sent.clone()),
            (Sender::Device(_), _) => {}
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Modbus,
    Osdp,
}

impl Protocol {
    fn gap(self, times: &LineTimes) -> Duration {
        match self {
            Protocol::Modbus => times.modbus_gap(),
            Protocol::Osdp => times.characters(2),
        }
    }

    /// When the next request may begin.
    fn free_after(self, exchange: &Exchange, times: &LineTimes) -> Mono {
        exchange.answer.as_ref().unwrap_or(&exchange.request).end + self.gap(times)
    }

    /// The least that the wire needs for it, from its first bit to the first of the next one.
    pub fn wire_time(self, exchange: &Exchange, times: &LineTimes) -> Duration {
        let request = exchange.request.bytes.len();
        let answer = exchange.answer.as_ref().map_or(0, |answer| answer.bytes.len());
        match self {
            Protocol::Modbus => times.modbus_transaction(request, answer),
            Protocol::Osdp => times.osdp_transaction(request, answer),
        }
    }

    /// Of the time from the first request to the last, how much the wire needed for what was said. Answered all.
    pub fn utilisation(self, exchanges: &[Exchange], times: &LineTimes) -> f64 {
        let (Some(first), Some(last)) = (exchanges.first(), exchanges.last()) else { return 0.0 };
        let needed: Duration = exchanges[..exchanges.len() - 1].iter().map(|one| self.wire_time(one, times)).sum();
        needed.as_secs_f64() / last.request.start.since(first.request.start).as_secs_f64()
    }

    /// How long after `wanted`, and after the end of the transaction that was under way then (with the silence that
    /// has to follow it), `sent` began. What was on the wire [`HANDED_OVER`] later was in the port already.
    pub fn waited(self, exchanges: &[Exchange], wanted: Mono, sent: Mono, times: &LineTimes) -> Duration {
        let under_way = exchanges.iter().rev().find(|one| one.request.start < sent.min(wanted + HANDED_OVER));
        sent.since(under_way.map_or(wanted, |one| self.free_after(one, times).max(wanted)))
    }

    /// From `wanted` until `sent` began, without what the transaction before `sent` had the wire for since
    /// `wanted`: the one that was under way then, or one that began while it was still being decided that there is
    /// something to send. Any other that went first is counted.
    pub fn waited_for_one(self, exchanges: &[Exchange], wanted: Mono, sent: Mono, times: &LineTimes) -> Duration {
        let met = exchanges.iter().rev().find(|one| one.request.start < sent);
        let busy = met
            .map_or(Duration::ZERO, |one| self.free_after(one, times).min(sent).since(one.request.start.max(wanted)));
        sent.since(wanted).saturating_sub(busy)
    }
}

/// The first request with this function, sent to this unit, from `at` on.
pub fn first(exchanges: &[Exchange], unit: u8, function: u8, at: Mono) -> Option<Mono> {
    let wanted = |one: &&Exchange| {
        one.request.start >= at
            && one.request.bytes.first() == Some(&unit)
            && one.request.bytes.get(1) == Some(&function)
    };
    exchanges.iter().find(wanted).map(|one| one.request.start)
}

/// The distances between requests that fit.
pub fn distances(exchanges: &[Exchange], fits: impl Fn(&[u8]) -> bool) -> Vec<Duration> {
    let starts: Vec<Mono> =
        exchanges.iter().filter(|one| fits(&one.request.bytes)).map(|one| one.request.start).collect();
    starts.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

pub fn mean(durations: &[Duration]) -> Duration {
    durations.iter().sum::<Duration>() / u32::try_from(durations.len().max(1)).unwrap_or(u32::MAX)
}

pub fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1000.0)
}

/// One line: what the wire itself takes, and what was measured, in milliseconds.
pub fn row(name: &str, wire: Option<Duration>, mut measured: Vec<Duration>) {
    measured.sort_unstable();
    let wire = wire.map_or_else(|| "-".to_owned(), millis);
    let [median, p99, most] = [0.5, 0.99, 1.0].map(|share| millis(at(&measured, share)));
    println!("{name:<74} {wire:>10} {median:>10} {p99:>10} {most:>10}  ms ({})", measured.len());
}

/// How late this machine wakes a thread that sleeps for 2 ms, while something else is measured: the figures by the
/// clock have several such wake-ups in them.
pub struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Lateness {
    pub fn watch() -> Lateness {
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut late = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let (began, nap) = (Instant::now(), Duration::from_millis(2));
                std::thread::sleep(nap);
                late.push(began.elapsed().saturating_sub(nap));
            }
            late
        });
        Lateness { stop, thread }
    }

    pub fn tell(self) {
        self.stop.store(true, Ordering::Relaxed);
        let late = self.thread.join().unwrap_or_default();
        row("  (meanwhile: how late this machine wakes a sleeping thread)", None, late);
    }
}

pub fn row_of(name: &str, text: &str) {
    println!("{name:<74} {text}");
}
