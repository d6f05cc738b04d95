//! A disk that forgets. Owns an in-memory [`Kv`] with two layers: what is visible, and what survives a power
//! cut. Must never keep a promise that real disks break: after a crash, what was synced is there, and of the
//! batches since then an arbitrary number from the oldest on. Invariant: batches are atomic and keep their
//! order.

pub mod copy;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use latchd::gateway::{
    kv::{Kv, KvError, KvWrite, Reopen, Visit},
    step::Durable,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The disk itself; it outlives the programs that use it.
#[derive(Clone, Default, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// One program's handle. After [`SimDisk::crash`] it is dead: every call fails.
#[derive(Clone, Debug)]
pub struct SimKv {
    disk: SimDisk,
    life: u64,
}

/// What goes wrong with one apply or sync; afterwards nothing works until the store is reopened, as with sled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full: nothing of it is there.
    Full,
    /// Nothing of it is there.
    Failed,
    /// It is there all the same.
    FailedYetWritten,
    /// As [`Fault::Failed`], and the store says that it is damaged.
    Damaged,
}

#[derive(Default, Debug)]
struct State {
    durable: Map,
    visible: Map,
    unsynced: VecDeque<Vec<KvWrite>>,
    life: u64,
    /// Consumed one for each apply or sync, from the front; `None` lets one pass.
    faults: VecDeque<Option<Fault>>,
    broken: Option<KvError>,
    reopen_failures: u32,
    /// Bytes of keys and values that fit; none: any number.
    capacity_bytes: Option<usize>,
    syncs: u64,
}

fn write(map: &mut Map, batch: &[KvWrite]) {
    for write in batch {
        match write {
            KvWrite::Put(key, value) => {
                map.insert(key.clone(), value.clone());
            }
            KvWrite::Delete(key) => {
                map.remove(key);
            }
        }
    }
}

fn bytes_of(map: &Map) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len()).sum()
}

impl State {
    /// Keeps `keep` of the batches that were not synced, and makes that all there is.
    fn settle(&mut self, keep: usize) {
        for batch in self.unsynced.drain(..).take(keep) {
            write(&mut self.durable, &batch);
        }
        self.visible = self.durable.clone();
        self.broken = None;
    }

    fn fault(&mut self) -> Result<Option<Fault>, KvError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => Ok(self.faults.pop_front().flatten()),
        }
    }

    fn break_with(&mut self, fault: Fault) -> KvError {
        let error = match fault {
            Fault::Full => KvError::Full,
            Fault::Failed | Fault::FailedYetWritten => KvError::Failed("simulated write failure".to_owned()),
            Fault::Damaged => KvError::Damaged("simulated damage".to_owned()),
        };
        self.broken = Some(error.clone());
        error
    }
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program opens the store.
    pub fn open(&self) -> SimKv {
        let life = self.state().life;
        SimKv { disk: self.clone(), life }
    }

    /// How many batches a crash could take away now.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The power is cut: `choose(n)` gives how many of the `n` batches since the last sync survive (more
    /// than `n` counts as `n`). Every handle dies.
    pub fn crash(&self, choose: impl FnOnce(usize) -> usize) {
        let mut state = self.state();
        let keep = choose(state.unsynced.len());
        state.settle(keep);
        state.faults.clear();
        state.reopen_failures = 0;
        state.life += 1;
    }

    /// Faults for the next applies and syncs, one each; `None` lets one pass.
    pub fn inject(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.state().faults.extend(faults);
    }

    /// The next `count` reopenings fail.
    pub fn fail_reopen(&self, count: u32) {
        self.state().reopen_failures = count;
    }

    pub fn set_capacity_bytes(&self, bytes: Option<usize>) {
        self.state().capacity_bytes = bytes;
    }

    /// Flips one bit of a stored value: `bit` counts from its beginning, around its end.
    pub fn damage(&self, key: &[u8], bit: usize) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut damaged = false;
        for map in [&mut state.durable, &mut state.visible] {
            let Some(value) = map.get_mut(key).filter(|value| !value.is_empty()) else { continue };
            let bit = bit % (value.len() * 8);
            if let Some(byte) = value.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
                damaged = true;
            }
        }
        damaged
    }

    /// A record vanishes.
    pub fn lose(&self, key: &[u8]) -> bool {
        let mut state = self.state();
        state.durable.remove(key);
        state.visible.remove(key).is_some()
    }

    /// All keys that would survive a power cut now, in order.
    pub fn durable_keys(&self) -> Vec<Vec<u8>> {
        self.state().durable.keys().cloned().collect()
    }
}

impl SimKv {
    fn state(&self) -> Result<MutexGuard<'_, State>, KvError> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(KvError::Failed("the power was cut".to_owned())) }
    }
}

impl Kv for SimKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.state()?.visible.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        let state = self.state()?;
        for (key, value) in state.visible.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Vec<KvWrite>) -> Result<(), KvError> {
        let mut state = self.state()?;
        let fault = state.fault()?;
        if let Some(fault) = fault.filter(|fault| *fault != Fault::FailedYetWritten) {
            return Err(state.break_with(fault));
        }
        if let Some(capacity) = state.capacity_bytes {
            let mut after = state.visible.clone();
            write(&mut after, &batch);
            if bytes_of(&after) > capacity {
                return Err(state.break_with(Fault::Full));
            }
        }
        write(&mut state.visible, &batch);
        state.unsynced.push_back(batch);
        match fault {
            Some(fault) => Err(state.break_with(fault)),
            None => Ok(()),
        }
    }

    fn sync(&self) -> Result<Durable, KvError> {
        let mut state = self.state()?;
        match state.fault()? {
            Some(Fault::FailedYetWritten) => {
                state.settle(usize::MAX);
                return Err(state.break_with(Fault::FailedYetWritten));
            }
            Some(fault) => return Err(state.break_with(fault)),
            None => {}
        }
        state.syncs += 1;
        state.settle(usize::MAX);
        Ok(Durable::synced())
    }
}

impl Reopen for SimKv {
    /// Of what was not synced, the older half is still there.
    fn reopen(&self) -> Result<(), KvError> {
        let mut state = self.state()?;
        if state.reopen_failures > 0 {
            state.reopen_failures -= 1;
            return Err(KvError::Failed("simulated failure to reopen".to_owned()));
        }
        let keep = state.unsynced.len() / 2;
        state.settle(keep);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Vec<KvWrite> {
        vec![KvWrite::Put(key.into(), b"v".to_vec())]
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_the_oldest_of_the_rest() {
        let disk = SimDisk::new();
        let kv = disk.open();
        kv.apply(put("a")).unwrap();
        let _ = kv.sync().unwrap();
        kv.apply(put("b")).unwrap();
        kv.apply(put("c")).unwrap();
        disk.crash(|unsynced| {
            assert_eq!(unsynced, 2);
            1
        });
        assert!(kv.get(b"a").is_err(), "the old handle is dead");
        let kv = disk.open();
        assert!(kv.get(b"a").unwrap().is_some());
        assert!(kv.get(b"b").unwrap().is_some());
        assert_eq!(kv.get(b"c").unwrap(), None);
    }

    #[test]
    fn after_a_failure_nothing_is_written_until_it_is_reopened() {
        let disk = SimDisk::new();
        let kv = disk.open();
        disk.inject([Some(Fault::Full)]);
        assert!(matches!(kv.apply(put("a")), Err(KvError::Full)));
        assert!(matches!(kv.apply(put("a")), Err(KvError::Full)));
        kv.reopen().unwrap();
        kv.apply(put("a")).unwrap();
    }
}
