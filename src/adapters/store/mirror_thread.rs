//! stub until the real one lands
use std::sync::{Arc, atomic::{AtomicU64, Ordering}, mpsc};
use std::time::Duration;
use crate::gateway::mirror::{MirrorInput, MirrorOutput, Mirror, SecondCopy, Anchor, CopyError, Sink};
use crate::gateway::kv::Kv;
use crate::domain::time::Now;
pub struct NoCopy;
impl SecondCopy for NoCopy {
    fn read_anchor(&mut self) -> Result<Option<Anchor>, CopyError> { Ok(None) }
    fn write_anchor(&mut self, _: &Anchor) -> Result<(), CopyError> { Ok(()) }
    fn read_base(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> { Ok(false) }
    fn write_base(&mut self, _: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>) -> Result<(), CopyError> { Ok(()) }
    fn read_log(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), CopyError> { Ok(()) }
    fn append_log(&mut self, _: &[u8]) -> Result<(), CopyError> { Ok(()) }
    fn sizes(&self) -> (u64, u64) { (0,0) }
}
#[derive(Clone)]
pub struct MirrorHandle(mpsc::SyncSender<MirrorInput>);
impl MirrorHandle { pub fn try_send(&self, i: MirrorInput) -> Result<(), ()> { self.0.try_send(i).map_err(|_| ()) } }
pub struct MirrorThread { h: MirrorHandle, p: Arc<AtomicU64>, o: tokio::sync::mpsc::Receiver<MirrorOutput> }
impl MirrorThread {
    pub fn spawn<K: Kv + Send + 'static>(mut m: Mirror<K, NoCopy>, now: impl Fn() -> Now + Send + 'static) -> MirrorThread {
        let (s, r) = mpsc::sync_channel(256); let (os, o) = tokio::sync::mpsc::channel(256); let p = Arc::new(AtomicU64::new(0)); let pp = p.clone();
        std::thread::spawn(move || loop { pp.fetch_add(1, Ordering::Relaxed);
            let i = match r.recv_timeout(Duration::from_millis(300)) { Ok(i) => i, Err(mpsc::RecvTimeoutError::Timeout) => MirrorInput::Timeout, Err(_) => return };
            for out in m.handle(now(), i) { if os.blocking_send(out).is_err() { return } } });
        MirrorThread { h: MirrorHandle(s), p, o }
    }
    pub fn handle(&self) -> MirrorHandle { self.h.clone() } pub fn progress(&self) -> Arc<AtomicU64> { self.p.clone() } pub fn outputs(&mut self) -> tokio::sync::mpsc::Receiver<MirrorOutput> { let (_, r) = tokio::sync::mpsc::channel(1); std::mem::replace(&mut self.o, r) } pub fn stop(self) {} }
