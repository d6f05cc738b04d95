//! Mistakes between the log and the cloud. Owns which events get lost, or lose their mark; must never alter the log
//! itself. Invariant: what is durable stays so.

use latchd::{
    gateway::{session::link::LinkEvent, uplink::Input},
    wire::{event_log::Sealed, report::ReportPage},
};

use super::{Mistake, Shim};

impl Shim {
    /// From the clerk to the desk.
    pub fn report_page(&self, mut page: ReportPage) -> ReportPage {
        if let Some(events) = page.events.as_mut().filter(|_| self.is(Mistake::ReportCut))
            && events.pop().is_some()
        {
            page.count -= 1;
        }
        page
    }

    /// From the log to the session.
    pub fn events(&mut self, mut events: Vec<Sealed>) -> Vec<Sealed> {
        if self.is(Mistake::SequenceSkipped) {
            events.retain(|event| event.seq != 7);
        }
        events
    }

    /// From the ledger to the session.
    pub fn durable_head(&mut self, head: u64) -> Option<Input> {
        if self.is(Mistake::ReplayedUnmarked) && !self.linked {
            self.head = Some(head);
            return None;
        }
        Some(Input::DurableHead(head))
    }

    /// What the session hears right after this.
    pub fn before_link(&mut self, event: &LinkEvent) -> Vec<Input> {
        match event {
            LinkEvent::Connected { .. } => self.linked = true,
            LinkEvent::Disconnected { .. } => self.linked = false,
            _ => {}
        }
        let head = if self.linked { self.head.take() } else { None };
        head.map(Input::DurableHead).into_iter().collect()
    }
}
