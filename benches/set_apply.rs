//! How fast a permission set takes effect: a snapshot of 10 000 people (each with a card), and a delta of
//! ten records on it; from the signed document in memory to "durable and in force", over sled and the
//! second copy's files. `cargo bench --bench set_apply`. The files lie in `$TMPDIR` (default `target/`):
//! on a RAM disk the fsyncs cost nothing, so mind where that is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use latchd::{
    adapters::store::{SledKv, second_copy::SecondCopyFiles},
    domain::{
        ids::Id,
        permission::{Compiler, Permissions, SetVersion},
        record::Token,
        time::{ClockTrust, Mono, Now, Wall},
        topology::Topology,
    },
    gateway::mirror::{Attest, AttestedKeys, Mirror, MirrorConfig, MirrorInput, MirrorOutput},
    wire::{
        canonical::{canonical, sha256},
        numeric_date::NumericDate,
        set::{Bucket, Delta, Digest, Manifest, Op, RecordPut, SetDocument, Summary, chunk},
    },
};
use serde_json::{Value, json};

const PEOPLE: u32 = 10_000;
const GROUPS: u32 = 100;
const DOORS: u32 = 100;
const RULES: u32 = 400;
const DELTAS: u32 = 40;
const AUDIENCE: &str = "acme/hq-1";

fn id(text: &str) -> Id {
    Id::new(text).expect("an id")
}

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

type Bodies = BTreeMap<(String, String), Value>;

fn person(number: u32) -> [((String, String), Value); 2] {
    let name = format!("p-{number:06}");
    let token = Token(sha256(name.as_bytes())).to_string();
    let groups = [format!("g-{}", number % GROUPS), format!("g-{}", (number * 7) % GROUPS)];
    let groups: Vec<_> = if groups[0] == groups[1] { groups[..1].to_vec() } else { groups.to_vec() };
    let body = json!({"name": format!("Person {number}"), "groups": groups, "expires_at": "2030-01-01T00:00:00.000Z"});
    [
        (("person".into(), name.clone()), body),
        (("credential".into(), format!("c-{number:06}")), json!({"person": name, "token": token})),
    ]
}

fn site() -> Bodies {
    let mut bodies: Bodies = (0..PEOPLE).flat_map(person).collect();
    bodies.extend((0..GROUPS).map(|n| (("group".into(), format!("g-{n}")), json!({"name": format!("Group {n}")}))));
    bodies.extend((0..RULES).map(|n| {
        let doors: Vec<_> = (0..20).map(|d| format!("door-{}", (n * 13 + d) % DOORS)).collect();
        let groups: Vec<_> = (0..4).map(|g| format!("g-{}", (n + g * 25) % GROUPS)).collect();
        (("access_rule".into(), format!("r-{n}")), json!({"effect": "allow", "groups": groups, "doors": doors}))
    }));
    bodies
}

/// Kind, id and body.
type Row<'a> = (&'a str, &'a str, Vec<u8>);

fn chunks(bodies: &Bodies) -> BTreeMap<Bucket, Vec<u8>> {
    let mut buckets: BTreeMap<Bucket, Vec<Row<'_>>> = BTreeMap::new();
    for ((kind, id), body) in bodies {
        buckets.entry(Bucket::of(kind, id)).or_default().push((kind, id, canonical(body).expect("JSON")));
    }
    let encode = |rows: Vec<Row<'_>>| chunk::encode(rows.iter().map(|(k, i, b)| (*k, *i, &b[..])));
    buckets.into_iter().filter_map(|(bucket, rows)| Some((bucket, encode(rows)?))).collect()
}

fn summary(chunks: &BTreeMap<Bucket, Vec<u8>>) -> Summary {
    let mut summary = Summary::default();
    chunks.iter().for_each(|(bucket, chunk)| summary.set(*bucket, Some(Digest::of(chunk))));
    summary
}

fn document(document: &SetDocument) -> MirrorInput {
    let text = serde_json::to_string(document).expect("JSON");
    MirrorInput::Document { payload: text.clone().into_bytes(), compact: text.into() }
}

fn manifest(chunks: &BTreeMap<Bucket, Vec<u8>>) -> MirrorInput {
    let summary = summary(chunks);
    document(&SetDocument::Manifest(Manifest {
        aud: AUDIENCE.into(),
        iat: NumericDate(Wall::from_millis(1_790_000_000_000)),
        epoch: 1,
        generation: 1,
        digest: summary.digest(),
        critical: Vec::new(),
        absorbs: Vec::new(),
        chunks: summary.into_chunks(),
    }))
}

/// Five new people with a card each.
fn delta(bodies: &mut Bodies, to: u64, first: u32) -> MirrorInput {
    let fresh: Vec<_> = (first..first + 5).flat_map(person).collect();
    let ops = fresh.iter().map(|((kind, name), body)| {
        let Value::Object(body) = body.clone() else { unreachable!("a record's body is an object") };
        Op::Put(RecordPut { kind: id(kind), id: id(name), body })
    });
    let ops = ops.collect();
    bodies.extend(fresh);
    document(&SetDocument::Delta(Delta {
        aud: AUDIENCE.into(),
        iat: NumericDate(Wall::from_millis(1_790_000_000_000)),
        epoch: 1,
        from: to - 1,
        to,
        digest: summary(&chunks(bodies)).digest(),
        critical: Vec::new(),
        absorbs: Vec::new(),
        ops,
    }))
}

struct Node {
    mirror: Mirror<SledKv, SecondCopyFiles>,
    started: Instant,
}

impl Node {
    fn open(directory: &Path) -> Node {
        let config = MirrorConfig {
            audience: AUDIENCE.into(),
            topology: Topology { doors: (0..DOORS).map(|n| id(&format!("door-{n}"))).collect(), ..Topology::default() },
            zone: jiff::tz::TimeZone::UTC,
            seed: 1,
        };
        let started = Instant::now();
        let kv = SledKv::open(&directory.join("mirror.sled")).expect("a store");
        let copy = SecondCopyFiles::open(&directory.join("set-copy")).expect("a directory");
        let now = Node::at(started);
        let (mirror, _) = Mirror::open(kv, copy, Arc::new(Everybody), config, now).expect("a mirror");
        Node { mirror, started }
    }

    fn at(started: Instant) -> Now {
        let mono = Mono::ZERO + started.elapsed();
        Now { mono, wall: Wall::from_millis(1_790_000_000_000), trust: ClockTrust::Trusted }
    }

    fn give(&mut self, input: MirrorInput) -> Vec<MirrorOutput> {
        self.mirror.handle(Node::at(self.started), input)
    }
}

fn is_applied(out: &[MirrorOutput]) -> bool {
    out.iter().any(|output| matches!(output, MirrorOutput::Applied(_)))
}

/// From the manifest to the set in force, all chunks coming in.
fn snapshot(node: &mut Node, chunks: &BTreeMap<Bucket, Vec<u8>>) {
    let by_name: BTreeMap<Digest, &Vec<u8>> = chunks.values().map(|chunk| (Digest::of(chunk), chunk)).collect();
    node.give(MirrorInput::LinkUp);
    node.give(MirrorInput::Keys { compact: "keys".into(), version: 1, epoch: 1 });
    let mut out = node.give(manifest(chunks));
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

/// The part of it that is compiling: records as they come out of JSON.
fn compile(bodies: &Bodies) -> Permissions {
    let doors: Vec<Id> = (0..DOORS).map(|n| id(&format!("door-{n}"))).collect();
    let mut compiler = Compiler::new(&Topology::of_doors(&doors), &jiff::tz::TimeZone::UTC);
    for ((kind, name), body) in bodies {
        let wrapped = json!({"kind": kind, "body": body});
        compiler.add(&id(name), serde_json::from_value(wrapped).expect("a record"));
    }
    compiler.finish(SetVersion::default()).expect("a set")
}

fn report(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |quantile: usize| samples[(samples.len() - 1) * quantile / 100].as_secs_f64() * 1e3;
    println!("{what:<52} {:>9.1} {:>9.1} {:>9.1}   n={}", at(50), at(99), at(100), samples.len());
}

fn directory() -> tempfile::TempDir {
    let base = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    tempfile::tempdir_in(base).expect("a directory")
}

fn main() {
    let mut bodies = site();
    let all = chunks(&bodies);
    let bytes: usize = all.values().map(Vec::len).sum();
    println!("{} records of {PEOPLE} people, {} chunks, {} KiB", bodies.len(), all.len(), bytes / 1024);
    println!("{:<52} {:>9} {:>9} {:>9}", "milliseconds", "p50", "p99", "max");

    let mut samples = Vec::new();
    let mut kept = None;
    for _ in 0..5 {
        let directory = directory();
        let mut node = Node::open(directory.path());
        let started = Instant::now();
        snapshot(&mut node, &all);
        samples.push(started.elapsed());
        kept = Some((directory, node));
    }
    report("snapshot: chunks -> store, second copy, in force", samples);
    let Some((directory, mut node)) = kept else { return };

    let mut samples = Vec::new();
    for round in 0..DELTAS {
        let input = delta(&mut bodies, u64::from(round) + 2, PEOPLE + round * 5);
        let started = Instant::now();
        let out = node.give(input);
        samples.push(started.elapsed());
        assert!(is_applied(&out), "{out:?}");
    }
    report("delta of 10 records: store, log, anchor, in force", samples);

    drop(node);
    let samples = (0..5).map(|_| {
        let started = Instant::now();
        let node = Node::open(directory.path());
        let elapsed = started.elapsed();
        assert_eq!(node.mirror.version().map(|version| version.generation), Some(u64::from(DELTAS) + 1));
        elapsed
    });
    report("start: open, verify the digest, compile", samples.collect());

    let samples = (0..10).map(|_| {
        let started = Instant::now();
        std::hint::black_box(compile(&bodies));
        started.elapsed()
    });
    report("of that: JSON values to compiled set", samples.collect());
}
