//! The mirror's second copy in memory, and the fuse by which the power goes in the middle of a step. Owns
//! files that are written whole or not at all; must never keep half of one, unless a test puts it there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latchd::gateway::{
    kv::{Kv, KvError, KvWrite, Visit},
    mirror::{Anchor, CopyError, SecondCopy, Sink},
    step::Durable,
};

use super::SimKv;

/// Counts writes of any kind down; at zero the power is gone until the fuse is mended.
#[derive(Clone, Debug, Default)]
pub struct Fuse(Arc<Mutex<Option<u32>>>);

impl Fuse {
    fn state(&self) -> MutexGuard<'_, Option<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many writes still succeed.
    pub fn blow_after(&self, writes: u32) {
        *self.state() = Some(writes);
    }

    pub fn mend(&self) {
        *self.state() = None;
    }

    pub fn is_blown(&self) -> bool {
        *self.state() == Some(0)
    }

    /// False from the write on at which the power goes.
    fn burn(&self) -> bool {
        match &mut *self.state() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// What lies on the disk; a test that damages it does so here.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub anchor: Option<Anchor>,
    pub base: Option<Vec<Vec<u8>>>,
    pub log: Vec<Vec<u8>>,
    pub emergency: Option<Vec<Vec<u8>>>,
    /// Writes fail, as on a full disk, but for what is written in place.
    pub full: bool,
}

#[derive(Clone, Debug, Default)]
pub struct MemCopy {
    files: Arc<Mutex<Files>>,
    pub fuse: Fuse,
}

impl MemCopy {
    pub fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Files)) -> Result<(), CopyError> {
        if self.files().full {
            return Err(CopyError::Failed("no space left on device".to_owned()));
        }
        self.write_in_place(change)
    }

    fn write_in_place(&self, change: impl FnOnce(&mut Files)) -> Result<(), CopyError> {
        let mut files = self.files();
        if !self.fuse.burn() {
            return Err(CopyError::Failed("the power is gone".to_owned()));
        }
        change(&mut files);
        Ok(())
    }
}

impl SecondCopy for MemCopy {
    fn read_anchor(&mut self) -> Result<Option<Anchor>, CopyError> {
        Ok(self.files().anchor.clone())
    }

    fn write_anchor(&mut self, anchor: &Anchor) -> Result<(), CopyError> {
        // It has its place from the first time on.
        let first = self.files().anchor.is_none();
        let write = |files: &mut Files| files.anchor = Some(anchor.clone());
        if first { self.write(write) } else { self.write_in_place(write) }
    }

    fn read_base(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        let files = self.files();
        files.base.iter().flatten().for_each(|frame| visit(frame));
        Ok(files.base.is_some())
    }

    fn write_base(&mut self, fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>) -> Result<(), CopyError> {
        let mut frames = Vec::new();
        fill(&mut |frame: &[u8]| {
            frames.push(frame.to_vec());
            Ok(())
        })?;
        self.write(|files| {
            files.base = Some(frames);
            files.log.clear();
        })
    }

    fn read_log(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), CopyError> {
        self.files().log.iter().for_each(|entry| visit(entry));
        Ok(())
    }

    fn append_log(&mut self, entry: &[u8]) -> Result<(), CopyError> {
        self.write(|files| files.log.push(entry.to_vec()))
    }

    fn read_emergency(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        let files = self.files();
        files.emergency.iter().flatten().for_each(|frame| visit(frame));
        Ok(files.emergency.is_some())
    }

    fn write_emergency(
        &mut self,
        fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let mut frames = Vec::new();
        fill(&mut |frame: &[u8]| {
            frames.push(frame.to_vec());
            Ok(())
        })?;
        self.write(|files| files.emergency = Some(frames))
    }

    fn sizes(&self) -> (u64, u64) {
        let files = self.files();
        let bytes = |frames: &[Vec<u8>]| frames.iter().map(|frame| frame.len() as u64).sum();
        (files.base.as_deref().map_or(0, bytes), bytes(&files.log))
    }
}

/// A simulated disk behind the fuse.
#[derive(Clone, Debug)]
pub struct FusedKv {
    pub kv: SimKv,
    pub fuse: Fuse,
}

impl FusedKv {
    fn burn(&self) -> Result<(), KvError> {
        if self.fuse.burn() { Ok(()) } else { Err(KvError::Failed("the power is gone".to_owned())) }
    }
}

impl Kv for FusedKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), KvError> {
        self.kv.scan(from, to, visit)
    }

    fn apply(&self, batch: Vec<KvWrite>) -> Result<(), KvError> {
        self.burn()?;
        self.kv.apply(batch)
    }

    fn sync(&self) -> Result<Durable, KvError> {
        self.burn()?;
        self.kv.sync()
    }
}
