//! A second copy in memory, and a fuse that blows at the n-th write, wherever that is.

use std::sync::{Arc, Mutex};

use latchd::gateway::{
    kv::{Kv, KvError, KvWrite},
    mirror::{Anchor, CopyError, SecondCopy, Sink},
    step::Durable,
};
use latchd_sim::disk::SimKv;

/// Counts writes of any kind; at zero the power is gone.
#[derive(Clone, Default)]
pub struct Fuse(Arc<Mutex<Option<u32>>>);

impl Fuse {
    pub fn set(&self, writes: Option<u32>) {
        *self.0.lock().unwrap() = writes;
    }

    /// False from the write on at which the power goes.
    fn burn(&self) -> bool {
        match &mut *self.0.lock().unwrap() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    pub fn is_blown(&self) -> bool {
        *self.0.lock().unwrap() == Some(0)
    }
}

#[derive(Clone, Default)]
pub struct Files {
    pub anchor: Option<Anchor>,
    pub base: Option<Vec<Vec<u8>>>,
    pub log: Vec<Vec<u8>>,
    /// Writes fail, as on a full disk.
    pub full: bool,
}

#[derive(Clone, Default)]
pub struct MemCopy {
    pub files: Arc<Mutex<Files>>,
    pub fuse: Fuse,
}

impl MemCopy {
    pub fn files(&self) -> Files {
        self.files.lock().unwrap().clone()
    }

    pub fn restore_all_but_the_anchor(&self, earlier: Files) {
        let mut files = self.files.lock().unwrap();
        *files = Files { anchor: files.anchor.clone(), ..earlier };
    }

    fn write(&self, change: impl FnOnce(&mut Files)) -> Result<(), CopyError> {
        let mut files = self.files.lock().unwrap();
        if files.full {
            return Err(CopyError::Failed("no space left on device".into()));
        }
        if !self.fuse.burn() {
            return Err(CopyError::Failed("the power is gone".into()));
        }
        change(&mut files);
        Ok(())
    }
}

impl SecondCopy for MemCopy {
    fn read_anchor(&mut self) -> Result<Option<Anchor>, CopyError> {
        Ok(self.files.lock().unwrap().anchor.clone())
    }

    fn write_anchor(&mut self, anchor: &Anchor) -> Result<(), CopyError> {
        self.write(|files| files.anchor = Some(anchor.clone()))
    }

    fn read_base(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        let files = self.files.lock().unwrap();
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
        self.files.lock().unwrap().log.iter().for_each(|entry| visit(entry));
        Ok(())
    }

    fn append_log(&mut self, entry: &[u8]) -> Result<(), CopyError> {
        self.write(|files| files.log.push(entry.to_vec()))
    }

    fn sizes(&self) -> (u64, u64) {
        let files = self.files.lock().unwrap();
        let bytes = |frames: &[Vec<u8>]| frames.iter().map(|frame| frame.len() as u64).sum();
        (files.base.as_deref().map_or(0, bytes), bytes(&files.log))
    }
}

/// The simulated disk behind the fuse.
#[derive(Clone)]
pub struct FusedKv {
    pub kv: SimKv,
    pub fuse: Fuse,
}

impl FusedKv {
    fn burn(&self) -> Result<(), KvError> {
        if self.fuse.burn() { Ok(()) } else { Err(KvError::Failed("the power is gone".into())) }
    }
}

impl Kv for FusedKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
    ) -> Result<(), KvError> {
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
