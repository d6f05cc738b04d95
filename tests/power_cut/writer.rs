//! The process that is cut off: both stores under load, from a thread each, and a line on stdout for what has
//! become durable.

use std::{fs::File, io::Write as _, path::Path, process::ExitCode};

use latchd::{
    adapters::store::SledKv,
    domain::{
        door::DurableDoor,
        event::{Event, EventBody},
        ids::Id,
        time::{ClockTrust, Wall},
    },
    gateway::{
        kv::{Kv, KvError, KvWrite, Visit},
        ledger::{Ledger, LedgerLimits},
        step::{Durable, LedgerWrite},
    },
    wire::{canonical::hex, stored},
};

/// Small, so that old events are deleted all the time.
pub const LIMITS: LedgerLimits = LedgerLimits { events_max: 3000 };

pub const RECORDS: u64 = 40;

const GENERATION: &[u8] = b"generation";

pub fn record_key(record: u64) -> Vec<u8> {
    format!("r/{record}").into_bytes()
}

/// Of any size between nothing and beyond what lies in one piece.
pub fn record_value(record: u64, generation: u64) -> Vec<u8> {
    let length = (record * 7919 + generation * 104_729) % if record == 0 { 60_000 } else { 900 };
    let mut value = format!("record {record} of generation {generation} ").into_bytes();
    value.extend((0..length).map(|n| (n ^ generation) as u8));
    value
}

pub fn generation(kv: &impl Kv) -> Result<u64, KvError> {
    let Some(framed) = kv.get(GENERATION)? else { return Ok(0) };
    let payload = stored::unframe(GENERATION, &framed).map_err(|e| KvError::Damaged(e.to_string()))?;
    payload.try_into().map(u64::from_be_bytes).map_err(|_| KvError::Damaged("not a generation".to_owned()))
}

/// sled as it is used by those who trust its `flush`.
struct FlushAlone(sled::Db);

fn failed(error: impl std::fmt::Display) -> KvError {
    KvError::Failed(error.to_string())
}

impl FlushAlone {
    /// The empty store itself is made durable, so that only what `flush` was asked for can be lost.
    fn open(path: &Path) -> Result<FlushAlone, KvError> {
        let db = sled::Config::new().path(path).flush_every_ms(None).open().map_err(failed)?;
        for file in ["conf", "db", "."] {
            File::open(path.join(file)).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        File::open(path.join("..")).and_then(|file| file.sync_all()).map_err(failed)?;
        Ok(FlushAlone(db))
    }
}

impl Kv for FlushAlone {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        // The mark that `SledKv` puts before a value in one piece.
        Ok(self.0.get(key).map_err(failed)?.and_then(|stored| Some(stored.split_first()?.1.to_vec())))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        for entry in self.0.range(from..to) {
            let (key, stored) = entry.map_err(failed)?;
            if visit(&key, stored.get(1..).unwrap_or_default()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: Vec<KvWrite>) -> Result<(), KvError> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                KvWrite::Put(key, value) => batch.insert(key, [&[0][..], &value].concat()),
                KvWrite::Delete(key) => batch.remove(key),
            }
        }
        self.0.apply_batch(batch).map_err(failed)
    }

    fn sync(&self) -> Result<Durable, KvError> {
        self.0.flush().map_err(failed)?;
        Ok(Durable::synced())
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: there is nothing left to promise.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn event(number: u64) -> Event {
    Event {
        occurred_at: Wall::from_millis(1_790_000_000_000),
        clock: ClockTrust::Trusted,
        epoch: 1,
        generation: number,
        body: EventBody::ReaderLost { reader: named("front-in"), detail: "x".repeat((number % 300) as usize) },
    }
}

fn named(text: &str) -> Id {
    Id::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn write_events(kv: impl Kv) -> Result<(), String> {
    let log_id = named(&format!("log-{}", std::process::id()));
    let (mut ledger, recovered) = Ledger::open(kv, log_id, LIMITS).map_err(|e| e.to_string())?;
    let mut number = recovered.head.seq;
    loop {
        let group = number % 17 + 1;
        let mut writes: Vec<LedgerWrite> = (0..group).map(|n| LedgerWrite::Event(event(number + n))).collect();
        number += group;
        writes.push(LedgerWrite::Acked { through: number.saturating_sub(1000) });
        let state = DurableDoor { level_issued_at_ms: number as i64, ..DurableDoor::default() };
        writes.push(LedgerWrite::Door { door: named("front"), state });
        ledger.append(writes).map_err(|e| e.to_string())?;
        let _ = ledger.sync().map_err(|e| e.to_string())?;
        say(&format!("event {} {}", ledger.head().seq, hex(&ledger.head().hash)));
    }
}

fn write_sets(kv: impl Kv) -> Result<(), String> {
    let mut generation = generation(&kv).map_err(|e| e.to_string())?;
    loop {
        generation += 1;
        let framed = stored::frame(GENERATION, &generation.to_be_bytes());
        let mut batch = vec![KvWrite::Put(GENERATION.to_vec(), framed)];
        batch.extend((0..RECORDS).map(|record| KvWrite::Put(record_key(record), record_value(record, generation))));
        kv.apply(batch).map_err(|e| e.to_string())?;
        let _ = kv.sync().map_err(|e| e.to_string())?;
        say(&format!("generation {generation}"));
    }
}

fn write<K: Kv + Send + 'static, E: std::fmt::Display>(
    directory: &Path,
    open: impl Fn(&Path) -> Result<K, E>,
) -> Result<(), String> {
    let ledger = open(&directory.join("ledger.sled")).map_err(|e| e.to_string())?;
    let mirror = open(&directory.join("mirror.sled")).map_err(|e| e.to_string())?;
    let sets = std::thread::spawn(move || write_sets(mirror));
    write_events(ledger)?;
    sets.join().map_err(|_| "the set writer panicked".to_owned())?
}

pub fn run(how: &str, directory: &Path) -> ExitCode {
    let result = match how {
        "flush-alone" => write(directory, FlushAlone::open),
        _ => write(directory, SledKv::open),
    };
    if let Err(error) = result {
        eprintln!("power_cut: writer: {error}");
    }
    ExitCode::FAILURE
}
