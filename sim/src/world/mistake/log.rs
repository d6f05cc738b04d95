//! Mistakes between the log and the cloud. Owns which events get lost, or lose their mark; must never alter the log
//! itself. Invariant: what is durable stays so.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use latchd::{
    gateway::{
        reports::Scope,
        session::link::{LinkEvent, LinkOrder},
        uplink::Input,
    },
    wire::{event_log::Sealed, report::ReportPage},
};

use serde_json::Value;

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

    /// From the desk to the clerk.
    pub fn report_scope(&self, scope: &Scope) -> Scope {
        if self.is(Mistake::ReportUnlimited) { Scope::default() } else { scope.clone() }
    }

    /// From the log to the session.
    pub fn events(&mut self, mut events: Vec<Sealed>) -> Vec<Sealed> {
        if self.is(Mistake::SequenceSkipped) {
            events.retain(|event| event.seq != 7);
        }
        events
    }

    /// From the session to its link.
    pub fn to_link(&self, order: LinkOrder) -> LinkOrder {
        match order {
            LinkOrder::Publish { handle, topic, payload, retain }
                if self.is(Mistake::LiveEventLost) && topic.contains("/live/") =>
            {
                let payload = without_first_event(&payload).unwrap_or(payload);
                LinkOrder::Publish { handle, topic, payload, retain }
            }
            order => order,
        }
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

/// `None`: there are not several. Its signature is no longer true, but the oracle reads the message before the cloud.
fn without_first_event(compact: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<String> = std::str::from_utf8(compact).ok()?.split('.').map(str::to_owned).collect();
    let body = parts.get_mut(1)?;
    let mut message: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&*body).ok()?).ok()?;
    let events = message.get_mut("live")?.get_mut("events")?.as_array_mut().filter(|events| events.len() > 1)?;
    events.remove(0);
    *body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&message).ok()?);
    Some(parts.join(".").into_bytes())
}
