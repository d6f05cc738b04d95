//! How fast events become durable: alone, in groups, and through the ledger's thread. Prints, beside the
//! figures, what the disk itself takes for an fsync of as many bytes, because that is the floor.
//!
//! `cargo bench --bench event_append`; as part of `cargo test --benches` it runs a few rounds only.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use latchd::{
    adapters::store::{SledKv, ledger_thread::LedgerThread},
    domain::{
        event::{CardEvidence, Event, EventBody, Granted},
        ids::Id,
        time::{ClockTrust, Wall},
    },
    gateway::{
        kv::Reopen as _,
        ledger::{Ledger, LedgerLimits},
        step::{Commit, Effect, LedgerWrite, MessageToken},
    },
};

type Failure = Box<dyn std::error::Error>;

fn granted(number: u64) -> Result<Event, Failure> {
    let card = CardEvidence {
        bits: 26,
        raw: format!("{:07x}", number & 0x3FF_FFFF),
        formats: vec![Id::new("h10301")?],
        parity_ok: true,
        ambiguous: false,
    };
    Ok(Event {
        occurred_at: Wall::from_millis(1_790_000_000_000 + number as i64),
        clock: ClockTrust::Trusted,
        epoch: 1,
        generation: 7,
        body: EventBody::AccessGranted(Granted {
            door: Some(Id::new("front")?),
            reader: Some(Id::new("front-in")?),
            person: Some(Id::new("person-4711")?),
            credential: Some(Id::new("credential-4711")?),
            rule: Some(Id::new("rule-employees")?),
            card: Some(card),
            ..Granted::default()
        }),
    })
}

struct Quantiles(Vec<Duration>);

impl Quantiles {
    fn print(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |q: f64| {
            let index = ((self.0.len() as f64 - 1.0) * q) as usize;
            self.0.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        println!("{what:44} p50 {:7.3} ms   p99 {:7.3} ms   max {:7.3} ms", at(0.5), at(0.99), at(1.0));
    }
}

fn fsync_floor(directory: &Path, rounds: usize) -> Result<(), Failure> {
    let mut file = OpenOptions::new().create(true).append(true).open(directory.join("floor"))?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_all()?;
        times.push(begun.elapsed());
    }
    Quantiles(times).print("floor: write 512 bytes, fsync");
    Ok(())
}

fn grouped(directory: &Path, group: u64, rounds: usize) -> Result<(), Failure> {
    let kv = SledKv::open(&directory.join(format!("group-{group}")))?;
    let limits = LedgerLimits { events_max: 1_000_000 };
    let (mut ledger, _) = Ledger::open(kv, Id::new("bench")?, limits)?;
    let mut times = Vec::with_capacity(rounds);
    let mut number = 0;
    for _ in 0..rounds {
        let mut writes = Vec::new();
        for _ in 0..group {
            writes.push(LedgerWrite::Event(granted(number)?));
            number += 1;
        }
        let begun = Instant::now();
        ledger.append(writes)?;
        let _ = ledger.sync()?;
        times.push(begun.elapsed());
    }
    let total: Duration = times.iter().sum();
    Quantiles(times).print(&format!("durable append, groups of {group}"));
    println!("{:44} {:.0} events/s", "", number as f64 / total.as_secs_f64());
    Ok(())
}

fn through_the_thread(directory: &Path, rounds: usize) -> Result<(), Failure> {
    let kv = SledKv::open(&directory.join("thread"))?;
    let limits = LedgerLimits { events_max: 1_000_000 };
    let (ledger, _) = Ledger::open(kv, Id::new("bench")?, limits)?;
    let (sender, durable) = mpsc::channel();
    let thread = LedgerThread::spawn(ledger, move |effects| {
        let _ = sender.send(effects.len());
    })?;
    let handle = thread.handle();
    let mut times = Vec::with_capacity(rounds);
    for number in 0..rounds as u64 {
        let mut commit = Commit::default();
        commit.event(granted(number)?);
        commit.held.push(Effect::AckMessage(MessageToken { connection: 1, packet_id: 1 }));
        let begun = Instant::now();
        handle.try_commit(commit).map_err(|_| "the queue is full")?;
        durable.recv()?;
        times.push(begun.elapsed());
    }
    Quantiles(times).print("commit to effect, through the thread");
    let begun = Instant::now();
    let flood = rounds as u64 * 10;
    let mut events = 0;
    for number in 0..flood {
        let mut commit = Commit::default();
        commit.event(granted(number)?);
        commit.held.push(Effect::AckMessage(MessageToken { connection: 1, packet_id: 1 }));
        let mut next = Some(commit);
        while let Some(commit) = next.take() {
            next = handle.try_commit(commit).err();
            if next.is_some() {
                events += durable.recv()? as u64;
            }
        }
    }
    while events < flood {
        events += durable.recv()? as u64;
    }
    println!("{:44} {:.0} events/s", "as fast as the queue takes them", flood as f64 / begun.elapsed().as_secs_f64());
    if !thread.stop().clean {
        return Err("the ledger did not close in order".into());
    }
    Ok(())
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
    kib / 1024.0
}

fn reopening(directory: &Path) -> Result<(), Failure> {
    let path = directory.join("group-100");
    let begun = Instant::now();
    let kv = SledKv::open(&path)?;
    println!(
        "{:44} {:.1} ms for {} MiB",
        "opening again",
        begun.elapsed().as_secs_f64() * 1e3,
        kv.bytes_on_disk() >> 20
    );
    let before = resident_mib();
    for _ in 0..20 {
        kv.reopen()?;
    }
    println!("{:44} {before:.1} to {:.1} MiB", "resident, before and after 20 reopenings", resident_mib());
    Ok(())
}

fn main() -> Result<(), Failure> {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let rounds = if whole { 3000 } else { 50 };
    // Beside the build: the temporary directory may lie in memory.
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target")?;
    let directory = directory.path();
    println!("{:44} {:.1} MiB", "resident, nothing open", resident_mib());
    let kv = SledKv::open(&directory.join("empty"))?;
    println!("{:44} {:.1} MiB", "resident, one empty store open", resident_mib());
    drop(kv);
    fsync_floor(directory, rounds)?;
    grouped(directory, 1, rounds)?;
    grouped(directory, 100, rounds / 10)?;
    through_the_thread(directory, rounds)?;
    reopening(directory)
}
