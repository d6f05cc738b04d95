//! How fast a permission set takes effect, at two sizes: the whole set, a delta of ten records on it, and the
//! start from the store; from the signed document in memory to "durable and in force", over sled and the
//! second copy's files. `cargo bench --bench set_apply`. The files lie in `$TMPDIR` (default `target/`):
//! on a RAM disk the fsyncs cost nothing, so mind where that is; what they cost here is told as well.

#[path = "decision/set.rs"]
#[allow(dead_code, reason = "shared with other benches")]
mod set;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use latchd::{
    adapters::store::{SledKv, mirror_thread::CACHE_BYTES, second_copy::SecondCopyFiles},
    domain::{
        ids::Id,
        permission::{Compiler, Permissions, SetVersion},
        record::{Credential, Person, Record, Token},
        time::{ClockTrust, Mono, Now, Wall},
    },
    gateway::mirror::{Attest, AttestedKeys, Mirror, MirrorConfig, MirrorInput, MirrorOutput},
    wire::{
        canonical::{canonical, sha256},
        numeric_date::NumericDate,
        set::{Bucket, Delta, Digest, Manifest, Op, RecordPut, SetDocument, Summary, chunk},
    },
};
use serde_json::{Map, Value};

use self::set::{FULL, Site, id};

/// A site of the usual size; the other is the largest that is promised.
const USUAL: Site = Site { people: 10_000, credentials: 10_000, doors: 100, groups: 100, rules: 400, schedules: 40 };

const DELTAS: u64 = 100;
const AUDIENCE: &str = "acme/hq-1";

/// What is measured is not the signature; the second copy believes everybody.
struct Everybody;

impl Attest for Everybody {
    fn keys(&self, _: &str) -> Result<AttestedKeys, String> {
        Ok(AttestedKeys { version: 1, epoch: 1 })
    }
    fn document(&self, _: &str, compact: &str) -> Result<SetDocument, String> {
        SetDocument::parse(compact.as_bytes(), AUDIENCE).map_err(|e| e.to_string())
    }
}

/// Bytes on the heap, now and at most.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    MOST.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the cloud holds: records in RFC 8785 form, by bucket, then kind and id.
#[derive(Default)]
struct Cloud {
    buckets: BTreeMap<Bucket, BTreeMap<(String, String), Vec<u8>>>,
    summary: Summary,
    generation: u64,
}

fn body_of(record: &Record) -> Map<String, Value> {
    match serde_json::to_value(record).expect("JSON")["body"].take() {
        Value::Object(body) => body,
        other => unreachable!("a record's body is an object, not {other}"),
    }
}

impl Cloud {
    fn new(site: Site) -> Cloud {
        let mut cloud = Cloud { generation: 1, ..Cloud::default() };
        for (id, record) in set::records(site) {
            cloud.put(&id, &record);
        }
        for bucket in cloud.buckets.keys().copied().collect::<Vec<_>>() {
            cloud.sum(bucket);
        }
        cloud
    }

    fn put(&mut self, id: &Id, record: &Record) -> Bucket {
        let bucket = Bucket::of(record.kind(), id);
        let body = canonical(&body_of(record)).expect("JSON");
        self.buckets.entry(bucket).or_default().insert((record.kind().to_owned(), id.to_string()), body);
        bucket
    }

    fn chunk(&self, bucket: Bucket) -> Option<Vec<u8>> {
        let rows = self.buckets.get(&bucket)?;
        chunk::encode(rows.iter().map(|((kind, id), body)| (kind.as_str(), id.as_str(), body.as_slice())))
    }

    fn sum(&mut self, bucket: Bucket) {
        let hash = self.chunk(bucket).map(|chunk| Digest::of(&chunk));
        self.summary.set(bucket, hash);
    }

    fn manifest(&self) -> MirrorInput {
        document(&SetDocument::Manifest(Manifest {
            aud: AUDIENCE.into(),
            iat: NumericDate(Wall::from_millis(1_790_000_000_000)),
            epoch: 1,
            generation: self.generation,
            digest: self.summary.digest(),
            critical: Vec::new(),
            absorbs: Vec::new(),
            chunks: self.summary.clone().into_chunks(),
        }))
    }

    /// To the next generation by these records.
    fn delta(&mut self, records: &[(Id, Record)]) -> MirrorInput {
        let buckets: Vec<_> = records.iter().map(|(id, record)| self.put(id, record)).collect();
        buckets.into_iter().for_each(|bucket| self.sum(bucket));
        self.generation += 1;
        let put = |(id, record): &(Id, Record)| {
            let kind = Id::new(record.kind()).expect("an id");
            Op::Put(RecordPut { kind, id: id.clone(), body: body_of(record) })
        };
        document(&SetDocument::Delta(Delta {
            aud: AUDIENCE.into(),
            iat: NumericDate(Wall::from_millis(1_790_000_000_000)),
            epoch: 1,
            from: self.generation - 1,
            to: self.generation,
            digest: self.summary.digest(),
            critical: Vec::new(),
            absorbs: Vec::new(),
            ops: records.iter().map(put).collect(),
        }))
    }
}

fn document(document: &SetDocument) -> MirrorInput {
    let text = serde_json::to_string(document).expect("JSON");
    MirrorInput::Document { payload: text.clone().into_bytes(), compact: text.into() }
}

/// Five new people with a card each.
fn newcomers(site: Site, round: u64) -> Vec<(Id, Record)> {
    let people = (0..5).map(|n| site.people + round * 5 + n);
    let with_card = |n: u64| {
        let person = Person { groups: vec![id("group", 0), id("group", n % site.groups)], ..Person::default() };
        let token = Token(sha256(format!("newcomer {n}").as_bytes()));
        let card = Credential::card(id("person", n), token);
        [(id("person", n), Record::Person(person)), (id("card", site.credentials + n), Record::Credential(card))]
    };
    people.flat_map(with_card).collect()
}

/// Ten of everything that there is, under new contents: groups, rules, schedules, holidays, people.
fn rearrangement(records: &[(Id, Record)], round: u64) -> Vec<(Id, Record)> {
    let of = |kind: &'static str, skip: u64, count: usize| {
        let all = records.iter().filter(move |(_, record)| record.kind() == kind);
        all.cycle().skip((skip % 400) as usize).take(count).cloned()
    };
    let mut changed: Vec<_> = of("access_rule", round * 3 + 1, 3).chain(of("schedule", round * 2, 2)).collect();
    changed.extend(of("holiday", round, 1).chain(of("person", round * 3, 3)).chain(of("group", round, 1)));
    for (_, record) in &mut changed {
        match record {
            Record::AccessRule(rule) => rule.doors.push(id("door", round % 100)),
            Record::Schedule(schedule) => schedule.name = Some(format!("Schedule of round {round}")),
            Record::Holiday(holiday) => holiday.name = Some(format!("Holiday of round {round}")),
            Record::Person(person) => person.extended_access = round.is_multiple_of(2),
            Record::Group(group) => group.name = Some(format!("Group of round {round}")),
            _ => {}
        }
    }
    changed
}

struct Node {
    mirror: Mirror<SledKv, SecondCopyFiles>,
    permissions: Arc<Permissions>,
    started: Instant,
}

impl Node {
    fn open(directory: &Path, site: Site) -> Node {
        let config =
            MirrorConfig { audience: AUDIENCE.into(), topology: set::topology(site), zone: set::zone(), seed: 1 };
        let started = Instant::now();
        let kv = SledKv::open_with(&directory.join("mirror.sled"), CACHE_BYTES).expect("a store");
        let copy = SecondCopyFiles::open(&directory.join("set-copy"), &directory.join("emergency-cards"));
        let now = Node::at(started);
        let (mirror, opened) = Mirror::open(kv, copy, Arc::new(Everybody), config, now).expect("a mirror");
        Node { mirror, permissions: opened.permissions, started }
    }

    fn at(started: Instant) -> Now {
        let mono = Mono::ZERO + started.elapsed();
        Now { mono, wall: Wall::from_millis(1_790_000_000_000), trust: ClockTrust::Trusted }
    }

    fn give(&mut self, input: MirrorInput) -> Vec<MirrorOutput> {
        let out = self.mirror.handle(Node::at(self.started), input);
        for output in &out {
            if let MirrorOutput::Applied(applied) = output {
                self.permissions = applied.permissions.clone();
            }
        }
        out
    }
}

fn is_applied(out: &[MirrorOutput]) -> bool {
    out.iter().any(|output| matches!(output, MirrorOutput::Applied(_)))
}

/// From the manifest to the set in force, all chunks coming in.
fn snapshot(node: &mut Node, manifest: MirrorInput, by_name: &BTreeMap<Digest, Vec<u8>>) {
    node.give(MirrorInput::LinkUp);
    node.give(MirrorInput::Keys { compact: "keys".into(), version: 1, epoch: 1 });
    let mut out = node.give(manifest);
    while !is_applied(&out) {
        let wanted = out.iter().find_map(|output| match output {
            MirrorOutput::Request(wanted) => Some(wanted.chunks.clone()),
            _ => None,
        });
        for name in wanted.expect("chunks are asked for") {
            out = node.give(MirrorInput::Chunk { name, bytes: by_name[&name].clone() });
        }
    }
}

/// The part of the start that is reading JSON and compiling.
fn compile(site: Site, bodies: &[(&str, Id, String)]) -> Permissions {
    let mut compiler = Compiler::new(&set::topology(site), &set::zone());
    for (_, id, text) in bodies {
        compiler.add(id, serde_json::from_str(text).expect("a record"));
    }
    compiler.finish(SetVersion::default()).expect("a set")
}

/// How long something took, and how long the processors worked meanwhile, on all threads.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

fn report(what: &str, samples: Vec<Took>) {
    let quantile = |of: fn(&Took) -> Duration, quantile: usize| {
        let mut times: Vec<Duration> = samples.iter().map(of).collect();
        times.sort();
        times[(times.len() - 1) * quantile / 100].as_secs_f64() * 1e3
    };
    let wall = |q| quantile(|took| took.wall, q);
    let cpu = quantile(|took| took.cpu, 50);
    println!("{what:<58} {:>9.2} {:>9.2} {:>9.2} {cpu:>9.2}   n={}", wall(50), wall(99), wall(100), samples.len());
}

fn heading() {
    println!("{:<58} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "p50", "p99", "max", "cpu p50");
}

fn timed<T>(work: impl FnOnce() -> T) -> (Took, T) {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let (started, before) = (Instant::now(), cpu());
    let done = work();
    (Took { wall: started.elapsed(), cpu: cpu() - before }, done)
}

fn directory() -> tempfile::TempDir {
    let base = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    tempfile::tempdir_in(base).expect("a directory")
}

/// One small write made durable, as a delta needs it several times.
fn sync_costs() -> Vec<Took> {
    let directory = directory();
    let mut file = File::create(directory.path().join("file")).expect("a file");
    let mut write = |n: u64| {
        file.seek(SeekFrom::Start(n * 512)).and_then(|_| file.write_all(&[7; 512])).expect("room");
        file.sync_data().expect("a disk");
    };
    (0..200).map(|n| timed(|| write(n)).0).collect()
}

fn measure(site: Site, snapshots: usize) {
    let mut cloud = Cloud::new(site);
    let records = set::records(site);
    let chunks: BTreeMap<Digest, Vec<u8>> =
        cloud.buckets.keys().filter_map(|b| cloud.chunk(*b)).map(|chunk| (Digest::of(&chunk), chunk)).collect();
    let bytes: usize = chunks.values().map(Vec::len).sum();
    println!("\n{} records, {} chunks, {} KiB: {site:?}", records.len(), chunks.len(), bytes / 1024);
    heading();

    let mut samples = Vec::new();
    let mut kept = None;
    for _ in 0..snapshots {
        let directory = directory();
        let mut node = Node::open(directory.path(), site);
        let manifest = cloud.manifest();
        samples.push(timed(|| snapshot(&mut node, manifest, &chunks)).0);
        kept = Some((directory, node));
    }
    report("snapshot: chunks -> store, second copy, in force", samples);
    let Some((directory, mut node)) = kept else { return };

    type Round<'a> = &'a dyn Fn(u64) -> Vec<(Id, Record)>;
    let kinds: [(&str, Round<'_>); 2] = [
        ("delta of 10 records, people and cards: durable, in force", &|round| newcomers(site, round)),
        ("delta of 10 records of five kinds: durable, in force", &|round| rearrangement(&records, round)),
    ];
    for (what, round) in kinds {
        let mut samples = Vec::new();
        for n in 0..DELTAS {
            let input = cloud.delta(&round(n));
            let (took, out) = timed(|| node.give(input));
            samples.push(took);
            assert!(is_applied(&out), "{out:?}");
        }
        report(what, samples);
    }
    let set = node.permissions.clone();
    let mut samples = Vec::new();
    for n in 0..DELTAS {
        let changes: Vec<_> = rearrangement(&records, n)
            .into_iter()
            .chain(newcomers(site, DELTAS + n))
            .map(|(id, record)| latchd::domain::permission::Change::Put(id, Box::new(record)))
            .collect();
        samples.push(timed(|| std::hint::black_box(set.apply(changes, SetVersion::default()).expect("sound"))).0);
    }
    report("of that: both kinds, compiling alone", samples);
    drop((set, node));

    let mut starts = Vec::new();
    for _ in 0..5 {
        let (took, node) = timed(|| Node::open(directory.path(), site));
        starts.push(took);
        assert_eq!(node.mirror.version().map(|version| version.generation), Some(cloud.generation));
    }
    report("start: open, verify the digest, compile", starts);

    let bodies: Vec<(&str, Id, String)> = records
        .iter()
        .map(|(id, record)| (record.kind(), id.clone(), serde_json::to_string(record).expect("JSON")))
        .collect();
    drop(records);
    let (mut samples, mut held, mut most) = (Vec::new(), 0, 0);
    for _ in 0..5 {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        let (took, set) = timed(|| compile(site, &bodies));
        samples.push(took);
        most = most.max(MOST.load(Relaxed) - before);
        held = held.max(HELD.load(Relaxed) - before);
        drop(set);
    }
    report("of that: JSON texts to compiled set", samples);
    println!("the compiled set takes {} KiB, and {} KiB at most while it is made", held / 1024, most / 1024);
}

fn main() {
    heading();
    report("this disk: one write of 512 bytes, synced", sync_costs());
    measure(USUAL, 3);
    // cargo test runs benches once, for their compiling and not for their figures.
    if std::env::args().any(|argument| argument == "--bench") {
        measure(FULL, 2);
    }
}
