//! Cuts the power. A writer process works on both stores in a file system of its own, an ext4 image on a loop
//! device; at a random moment it is killed and the image is copied. What the writer's file system had not
//! handed to its device by then is not in the copy, as after a power cut. The copy is mounted, the stores are
//! opened, and all that the writer had called durable must be there; then the next writer goes on from it.
//!
//! First the same with sled's `flush` alone, which must lose something: else this test could not fail.
//!
//! Needs root and loop devices; without them it says so and passes (the simulated disk in `ledger.rs` needs
//! neither). `LATCHD_POWER_CUTS=N` sets the number of cuts.

mod image;
mod writer;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use image::Image;
use latchd::{
    adapters::store::SledKv,
    domain::ids::Id,
    gateway::{kv::Kv, ledger::Ledger},
    wire::{
        canonical::unhex32,
        event_log::{self, Head},
    },
};

const CUTS_DEFAULT: u32 = 10;
/// With flush alone: until one has lost something.
const CUTS_PLAIN_MAX: u32 = 15;
/// No new round begins after this.
const BUDGET: Duration = Duration::from_secs(25);

/// What the writers have called durable.
#[derive(Default)]
struct Promised {
    /// The newest event of each group, with its hash.
    events: BTreeMap<u64, [u8; 32]>,
    generation: u64,
    log_id: Option<String>,
}

impl Promised {
    fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        let word = words.next();
        let number: Option<u64> = words.next().and_then(|n| n.parse().ok());
        match (word, number, words.next()) {
            (Some("event"), Some(seq), Some(hash)) => {
                self.events.insert(seq, unhex32(hash).expect("the writer prints a hash"));
            }
            (Some("generation"), Some(generation), None) => self.generation = generation,
            other => panic!("the writer said {line:?} ({other:?})"),
        }
    }

    /// Everything that is missing from the stores in `directory`.
    fn missing(&mut self, directory: &Path) -> Vec<String> {
        let mut missing = self.missing_from_ledger(directory).unwrap_or_else(|error| vec![error]);
        missing.extend(self.missing_from_mirror(directory).unwrap_or_else(|error| vec![error]));
        missing
    }

    fn missing_from_ledger(&mut self, directory: &Path) -> Result<Vec<String>, String> {
        let kv = SledKv::open(&directory.join("ledger.sled")).map_err(|e| e.to_string())?;
        let fresh = Id::new("made-by-the-check").map_err(|e| e.to_string())?;
        let (ledger, recovered) = Ledger::open(kv, fresh, writer::LIMITS).map_err(|e| e.to_string())?;
        let mut missing: Vec<String> = recovered.notes.iter().map(|note| format!("ledger: {note:?}")).collect();
        if recovered.clean && !self.events.is_empty() {
            missing.push("the ledger calls a power cut an orderly stop".to_owned());
        }
        let log_id = self.log_id.get_or_insert(recovered.head.log_id.to_string());
        if !self.events.is_empty() && *log_id != *recovered.head.log_id {
            missing.push("another log was begun".to_owned());
        }
        let reader = ledger.reader();
        for (&seq, hash) in self.events.range(recovered.first..) {
            let found = reader.hash_of(seq).map_err(|e| e.to_string())?;
            if found.as_ref() != Some(hash) {
                missing.push(format!("event {seq}"));
            }
        }
        let events = reader.read(recovered.first, usize::MAX).map_err(|e| e.to_string())?;
        if let Some((oldest, rest)) = events.split_first() {
            let head = Head { log_id: recovered.head.log_id.clone(), seq: oldest.seq, hash: oldest.hash };
            match event_log::verify_chain(head, rest.iter().map(|event| event.json.as_slice())) {
                Ok(end) if end == recovered.head => {}
                Ok(end) => missing.push(format!("the chain ends at {} and not at {}", end.seq, recovered.head.seq)),
                Err(error) => missing.push(error.to_string()),
            }
        }
        self.events.retain(|seq, _| *seq >= recovered.first);
        Ok(missing)
    }

    fn missing_from_mirror(&mut self, directory: &Path) -> Result<Vec<String>, String> {
        let kv = SledKv::open(&directory.join("mirror.sled")).map_err(|e| e.to_string())?;
        let mut missing = Vec::new();
        let found = writer::generation(&kv).map_err(|e| e.to_string())?;
        if found < self.generation {
            missing.push(format!("generation {} (there is {found})", self.generation));
        }
        for record in 0..writer::RECORDS {
            let value = kv.get(&writer::record_key(record)).map_err(|e| e.to_string())?;
            let expected = (found > 0).then(|| writer::record_value(record, found));
            if value != expected {
                missing.push(format!("record {record} is not that of generation {found}"));
            }
        }
        // What survived beyond the promise is the next writer's beginning.
        self.generation = found;
        Ok(missing)
    }
}

/// One writer, one cut. True if nothing that was promised is missing.
fn cut(image: &mut Image, how: &str, promised: &mut Promised, after: Duration) -> Result<bool, String> {
    let mounted = image.mount()?;
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new(exe)
        .args(["--write", how])
        .arg(mounted.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| format!("the writer does not start: {e}"))?;
    let stdout = child.stdout.take().ok_or("no pipe to the writer")?;
    let mut lines = BufReader::new(stdout).lines();
    // The clock starts with the first promise.
    let first = lines.next().ok_or("the writer ended")?.map_err(|e| e.to_string())?;
    promised.read(&first);
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
    std::thread::sleep(after);
    child.kill().map_err(|e| e.to_string())?;
    let copied = image.copy();
    let _ = child.wait();
    let lines = reader.join().map_err(|_| "the reader of the pipe panicked")?;
    drop(mounted);
    image.become_copy(copied?)?;
    let promises = lines.len() + 1;
    for line in lines {
        promised.read(&line);
    }

    let mounted = image.mount()?;
    let missing = promised.missing(mounted.path());
    let verdict = match missing.as_slice() {
        [] => "nothing is missing".to_owned(),
        [first, ..] => format!("{} missing, such as: {first}", missing.len()),
    };
    println!("power_cut: {how}: cut after {:4} ms, {promises:5} promises: {verdict}", after.as_millis());
    Ok(missing.is_empty())
}

/// A moment between 50 and 950 ms, another in each round and run.
fn moment() -> Duration {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    Duration::from_millis(50 + u64::from(nanos / 1000 % 900))
}

fn run() -> Result<(), String> {
    let cuts = match std::env::var("LATCHD_POWER_CUTS") {
        Ok(number) => number.parse().map_err(|_| "LATCHD_POWER_CUTS is not a number")?,
        Err(_) => CUTS_DEFAULT,
    };
    let begun = Instant::now();
    if let Err(reason) = Image::make().and_then(|image| image.mount().map(drop)) {
        println!("power_cut: skipped: needs root, mkfs.ext4 and loop devices: {reason}");
        return Ok(());
    }

    let mut plain = 0;
    while cut(&mut Image::make()?, "flush-alone", &mut Promised::default(), moment() / 3)? {
        plain += 1;
        if plain == CUTS_PLAIN_MAX {
            return Err(format!("{plain} cuts lost nothing with flush alone: this test cannot fail here"));
        }
    }

    let mut image = Image::make()?;
    let mut promised = Promised::default();
    let mut done = 0;
    while done < cuts && (done == 0 || cuts > CUTS_DEFAULT || begun.elapsed() < BUDGET) {
        if !cut(&mut image, "synced", &mut promised, moment())? {
            return Err("what was called durable did not survive a power cut".to_owned());
        }
        done += 1;
    }
    println!("power_cut: {done} cuts in a row on the same stores lost nothing");
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [write, how, directory] if write == "--write" => return writer::run(how, Path::new(directory)),
        // What test runners ask before they run anything.
        [list, ..] if list == "--list" => return ExitCode::SUCCESS,
        // A filter that means other tests.
        [filter, ..] if !filter.starts_with('-') && !"power_cut".contains(filter.as_str()) => {
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("power_cut: FAILED: {reason}");
            ExitCode::FAILURE
        }
    }
}
