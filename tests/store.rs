//! sled as the daemon uses it, on real files: what is wrong with a directory is said clearly, damage never
//! panics and is put aside, a full disk is survived.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write as _},
    ops::ControlFlow,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use latchd::{
    adapters::store::{
        OpenError, SledKv,
        ledger_thread::{LedgerThread, StoreHealth},
        open_or_set_aside, set_aside,
    },
    domain::{
        event::{Event, EventBody},
        ids::Id,
        time::{ClockTrust, Wall},
    },
    gateway::{
        kv::{Kv, KvError, KvWrite, Reopen},
        ledger::{Ledger, LedgerError, LedgerLimits},
        step::Commit,
    },
};
use proptest::prelude::*;

const NOW: Wall = Wall::from_millis(1_790_000_000_120);
const LIMITS: LedgerLimits = LedgerLimits { events_max: 1_000_000 };

fn id(text: &str) -> Id {
    Id::new(text).expect("a test's id")
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> KvWrite {
    KvWrite::Put(key.into(), value.into())
}

fn all(kv: &impl Kv) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    kv.scan(b"", &[0xFF], &mut |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })
    .expect("scan");
    found
}

// ---- as a map ----

fn write() -> impl Strategy<Value = KvWrite> {
    let key = (0u8..12).prop_map(|n| format!("k/{n}").into_bytes());
    let length = prop_oneof![0usize..40, 4090usize..4100, 8190usize..8200, 20_000usize..30_000];
    let value = (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length]);
    prop_oneof![
        3 => (key.clone(), value).prop_map(|(key, value)| KvWrite::Put(key, value)),
        1 => key.prop_map(KvWrite::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Values of all sizes, in one piece and in parts, replaced by smaller and larger ones and deleted.
    #[test]
    fn it_is_an_ordered_map_with_atomic_batches(
        batches in proptest::collection::vec(proptest::collection::vec(write(), 0..8), 1..25),
        from in 0u8..12, to in 0u8..12,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let kv = SledKv::open(&path).unwrap();
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for batch in batches {
            for write in &batch {
                match write {
                    KvWrite::Put(key, value) => { model.insert(key.clone(), value.clone()); }
                    KvWrite::Delete(key) => { model.remove(key); }
                }
            }
            kv.apply(batch).unwrap();
        }
        prop_assert_eq!(&all(&kv), &model);
        let _ = kv.sync().unwrap();
        kv.reopen().unwrap();
        prop_assert_eq!(&all(&kv), &model);
        for (key, value) in &model {
            prop_assert_eq!(kv.get(key).unwrap(), Some(value.clone()));
        }
        let (from, to) = (format!("k/{from}").into_bytes(), format!("k/{to}").into_bytes());
        let mut keys = Vec::new();
        kv.scan(&from, &to, &mut |key, _| { keys.push(key.to_vec()); ControlFlow::Continue(()) }).unwrap();
        let expected: Vec<Vec<u8>> = model.keys().filter(|key| **key >= from && **key < to).cloned().collect();
        prop_assert_eq!(keys, expected);
        drop(kv);
        prop_assert_eq!(fs::read_dir(path.join("blobs")).unwrap().count(), 0, "no page outgrew the file that is synced");
    }
}

/// So many that most of them are read ahead of the visitor.
#[test]
fn a_long_scan_shows_each_record_once_in_order_and_ends_wherever_the_visitor_wants() {
    let directory = tempfile::tempdir().unwrap();
    let kv = SledKv::open(&directory.path().join("s")).unwrap();
    // Every hundredth lies in parts.
    let records: Vec<(Vec<u8>, Vec<u8>)> = (0..6_000usize)
        .map(|n| (format!("k/{n:05}").into_bytes(), vec![n as u8; if n.is_multiple_of(100) { 9_000 } else { n % 50 }]))
        .collect();
    kv.apply(records.iter().cloned().map(|(key, value)| KvWrite::Put(key, value)).collect()).unwrap();
    for wanted in [1, 15, 16, 17, 1_007, 1_008, 1_009, 1_500, 5_999, 6_000, 7_000] {
        let mut seen = Vec::new();
        kv.scan(b"k/", b"k/99999", &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            if seen.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert!(seen == records[..wanted.min(records.len())], "{wanted} wanted, {} seen", seen.len());
        kv.apply(vec![KvWrite::Put(records[0].0.clone(), records[0].1.clone())]).unwrap();
    }
    let mut keys = Vec::new();
    kv.scan(b"k/00100", b"k/05900", &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(keys.iter().eq(records[100..5_900].iter().map(|(key, _)| key)), "{} keys", keys.len());
}

#[test]
fn a_record_beyond_the_bounds_is_refused_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let kv = SledKv::open(&directory.path().join("s")).unwrap();
    kv.apply(vec![put("a", "1")]).unwrap();
    for bad in
        [KvWrite::Put(vec![0xFF, 1], vec![]), KvWrite::Put(vec![b'k'; 513], vec![]), put("big", vec![0; 17 << 20])]
    {
        assert!(matches!(kv.apply(vec![put("a", "2"), bad]), Err(KvError::Failed(_))));
    }
    assert_eq!(kv.get(b"a").unwrap(), Some(b"1".to_vec()));
}

// ---- what is wrong with the directory ----

#[test]
fn a_store_in_use_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let kv = SledKv::open(&path).unwrap();
    fs::write(path.join("snap.0.generating"), b"of the one who has it").unwrap();
    let error = SledKv::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("locked by another process"));
    assert!(path.join("snap.0.generating").exists(), "nothing of another's store is touched");
    assert!(open_or_set_aside(&path, NOW).is_err(), "a locked store is not put aside");
    drop(kv);
}

#[test]
fn a_missing_directory_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = SledKv::open(&directory.path().join("not/there")).unwrap_err();
    assert!(matches!(error, OpenError::MissingParent { .. }), "{error}");
}

#[test]
fn a_half_written_snapshot_does_not_stop_the_store_from_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let kv = SledKv::open(&path).unwrap();
    kv.apply(vec![put("a", "1")]).unwrap();
    let _ = kv.sync().unwrap();
    drop(kv);
    fs::write(path.join("snap.FFFFFFFFFFFFFFFF.generating"), b"half").unwrap();
    let kv = SledKv::open(&path).unwrap();
    assert_eq!(kv.get(b"a").unwrap(), Some(b"1".to_vec()));
}

/// Runs `work` in a tmpfs of its own; without the right to mount one it says so.
fn with_tmpfs(options: &str, work: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: cannot mount a tmpfs");
        return;
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0).status();
        }
    }
    let _unmount = Unmount(path);
    work(path);
}

fn remount(path: &Path, options: &str) {
    // Busy while sled's own thread writes a page: it is soon done.
    let remounted = || {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(path).output();
        done.is_ok_and(|output| output.status.success())
    };
    assert!((0..100).any(|_| remounted()), "cannot remount");
}

#[test]
fn a_read_only_store_says_so() {
    with_tmpfs("size=32m", |path| {
        drop(SledKv::open(&path.join("s")).unwrap());
        remount(path, "ro");
        for store in ["s", "new"] {
            let error = SledKv::open(&path.join(store)).unwrap_err();
            assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
        }
    });
}

// ---- damage ----

fn store_with_records(path: &Path) {
    let kv = SledKv::open(path).unwrap();
    for round in 0..40 {
        kv.apply((0..50).map(|n| put(&format!("k/{round}/{n}"), vec![n; 300])).collect()).unwrap();
        let _ = kv.sync().unwrap();
    }
}

fn overwrite(path: &Path, from: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path.join("db")).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    store_with_records(&whole);
    let length = fs::metadata(whole.join("db")).unwrap().len();
    let mut noticed = 0;
    for place in 0..24 {
        let path = directory.path().join(format!("damaged-{place}"));
        let copied = Command::new("cp").arg("-r").arg(&whole).arg(&path).status();
        assert!(copied.unwrap().success());
        overwrite(&path, length / 24 * place, &[0xA5; 700]);
        // Opening or reading notices, or what is gone is gone from the middle, where the records' own numbers and
        // digests show it: all are fine. A log that ends early without a word is not, nor is a panic.
        let (kv, aside) = open_or_set_aside(&path, NOW).unwrap();
        let (mut found, mut newest) = (0, 0);
        let read = kv.scan(b"", &[0xFF], &mut |key, value| {
            found += usize::from(value.len() == 300);
            newest += usize::from(key.starts_with(b"k/39/"));
            ControlFlow::Continue(())
        });
        let told = aside.is_some() || read.is_err();
        assert!(told || newest == 50, "at {place}: {newest} of the newest 50 records, and not a word");
        noticed += usize::from(told || found < 2000);
        if let Some(aside) = aside {
            assert!(aside.moved_to.join("db").exists(), "what was put aside is kept");
            assert!(!aside.detail.contains('\n'));
            kv.apply(vec![put("fresh", "1")]).unwrap();
        }
    }
    assert!(noticed > 0);
}

#[test]
fn a_damaged_store_is_put_aside_under_a_new_name_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mirror.sled");
    for round in 1..=5 {
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("conf"), b"this is no configuration of sled").unwrap();
        let (kv, aside) = open_or_set_aside(&path, NOW).unwrap();
        let aside = aside.unwrap();
        let name = aside.moved_to.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("mirror.sled.damaged-20260921T141320120Z"), "{name}");
        assert_eq!(aside.detail.contains("damaged stores are kept"), round > 3, "{}", aside.detail);
        drop(kv);
        fs::remove_dir_all(&path).unwrap();
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 5);
}

#[test]
fn a_store_that_opened_can_still_be_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    store_with_records(&path);
    let aside = set_aside(&path, "its records are not ours", NOW).unwrap();
    assert!(aside.moved_to.join("db").exists());
    assert!(!aside.moved_to.join("reserve").exists());
    assert!(all(&SledKv::open(&path).unwrap()).is_empty());
}

// ---- a full disk ----

fn commit(number: u64) -> Commit {
    let mut commit = Commit::default();
    commit.event(Event {
        occurred_at: NOW,
        clock: ClockTrust::Trusted,
        epoch: 1,
        generation: number,
        body: EventBody::ReaderLost { reader: id("front-in"), detail: "x".repeat(3000) },
    });
    commit
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing_that_was_durable() {
    with_tmpfs("size=24m", |directory| {
        let path = directory.join("ledger.sled");
        let kv = SledKv::open(&path).unwrap();
        assert!(path.join("reserve").exists());
        let (ledger, _) = Ledger::open(kv, id("log"), LIMITS).unwrap();
        let reader = ledger.reader();
        let thread = LedgerThread::spawn(ledger, drop).unwrap();
        let (handle, health, head) = (thread.handle(), thread.health(), thread.head());
        let mut sent = 0u64;
        // The first failure gives up the reserve, the second has none.
        wait_until("the disk is full", || {
            while handle.try_commit(commit(sent)).is_ok() {
                sent += 1;
            }
            !health.borrow().is_healthy() && !path.join("reserve").exists() && {
                std::thread::sleep(Duration::from_millis(300));
                !health.borrow().is_healthy()
            }
        });
        let durable = head.borrow().seq;
        assert!(durable > 1000);
        assert_eq!(reader.read(durable, 1).unwrap().len(), 1, "what is there can still be read");

        // Someone makes room: what waited is written, in order.
        remount(directory, "size=256m");
        wait_until("the store is back", || health.borrow().is_healthy());
        wait_until("all is durable", || head.borrow().seq == sent);
        assert!(thread.stop().clean);
        drop(reader);
        let (_, recovered) = Ledger::open(SledKv::open(&path).unwrap(), id("log-2"), LIMITS).unwrap();
        assert_eq!((recovered.head.seq, recovered.clean, recovered.head.log_id.as_str()), (sent, true, "log"));
        assert_eq!(recovered.notes, []);
    });
}

#[test]
fn on_a_full_disk_the_daemon_stops_in_bounds_and_its_log_opens_again() {
    with_tmpfs("size=24m", |directory| {
        let path = directory.join("ledger.sled");
        let (ledger, _) = Ledger::open(SledKv::open(&path).unwrap(), id("log"), LIMITS).unwrap();
        let thread = LedgerThread::spawn(ledger, drop).unwrap();
        let (handle, head, health) = (thread.handle(), thread.head(), thread.health());
        let mut sent = 0u64;
        wait_until("the disk is full for good", || {
            while handle.try_commit(commit(sent)).is_ok() {
                sent += 1;
            }
            matches!(&*health.borrow(), StoreHealth::Failing { attempts, .. } if *attempts > 1)
        });
        let durable = head.borrow().seq;
        let stopped = thread.stop();
        assert_eq!((stopped.clean, stopped.commits_lost as u64), (false, sent - durable));
        let kv = SledKv::open(&path).unwrap();
        let (mut ledger, recovered) = Ledger::open(kv, id("log-2"), LIMITS).unwrap();
        assert_eq!((recovered.head.seq, recovered.clean), (durable, false));
        assert_eq!(ledger.reader().read(durable, 1).unwrap().len(), 1);
        // What is left is used up in good order; from there on it is an error and not a failure.
        let mut appended = 0;
        let error = loop {
            appended += 1;
            if let Err(error) = ledger.append(commit(1).writes).and_then(|()| ledger.sync()) {
                break error;
            }
        };
        assert!(matches!(error, LedgerError::Store(KvError::Full)), "{error}");
        assert!(matches!(ledger.reopen(), Err(LedgerError::Store(KvError::Full))));
        assert_eq!(ledger.reader().read(durable, 1).unwrap().len(), 1);
        remount(directory, "size=256m");
        let _ = ledger.reopen().unwrap();
        assert_eq!(ledger.head().seq, durable + appended);
        assert_eq!(ledger.reader().durable_seq(), durable + appended);
    });
}
