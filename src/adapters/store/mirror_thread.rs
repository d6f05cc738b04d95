use crate::gateway::mirror::{MirrorInput, MirrorOutput};
use std::sync::{Arc, atomic::AtomicU64};
pub struct MirrorHandle;
impl MirrorHandle {
    pub fn try_send(&self, _i: MirrorInput) -> Result<(), MirrorInput> {
        Ok(())
    }
}
pub struct MirrorThread;
impl MirrorThread {
    pub fn handle(&self) -> MirrorHandle {
        MirrorHandle
    }
    pub fn progress(&self) -> Arc<AtomicU64> {
        todo!()
    }
    pub fn outputs(&self) -> tokio::sync::mpsc::Receiver<MirrorOutput> {
        todo!()
    }
    pub fn stop(self) {}
}
