//! How the window is filled: first what somebody waits for, then events. Everything is sealed at the
//! moment it is sent, so that the messages of a run are numbered in the order in which they leave.

use super::{
    Action, Phase, Session,
    events::Drain,
    link::LinkOrder,
    outbox::{Item, Sent},
};
use crate::{
    domain::{status::Status, time::Now},
    wire::{
        event_log::with_replayed,
        telemetry::Telemetry,
        upward::{NodeStatus, Online},
    },
};

impl Session {
    /// Fills the window: first what somebody waits for, then events, which never take all of it, then what is
    /// watched live.
    pub(super) fn send(&mut self, now: Now, out: &mut Vec<Action>) {
        if !self.is_connected() {
            // Subscriptions see what happens meanwhile.
            out.extend(self.live.next_read().map(|(from, bytes_max)| Action::ReadLive { from, bytes_max }));
            return;
        }
        while self.outbox.has_room() {
            let Some(item) = self.outbox.next() else { break };
            self.send_item(now, item, out);
        }
        // Before the first key set no acknowledgement could be believed.
        let drains = matches!(self.phase, Phase::Connected) && self.keys.version() > 0;
        while drains && self.outbox.has_room() {
            match self.events.next(now.mono) {
                Drain::Nothing => break,
                Drain::Read { from, bytes_max } => out.push(Action::ReadEvents { from, bytes_max }),
                Drain::Send(batch) => {
                    let through = batch.replayed_through;
                    let events: Vec<_> =
                        batch.events.iter().map(|e| with_replayed(&e.json, e.seq <= through)).collect();
                    let sealed = self.sealer.seal_events(now.wall, &self.log_id, &events);
                    self.publish(self.topics.evt(), sealed, false, Sent::Events, out);
                }
            }
        }
        out.extend(self.live.next_read().map(|(from, bytes_max)| Action::ReadLive { from, bytes_max }));
        while matches!(self.phase, Phase::Connected) && self.outbox.has_room() {
            let Some((jti, update)) = self.live.next_message() else { break };
            let sealed = self.sealer.seal_live(now.wall, &jti, update.missed, &update.events, update.ended);
            self.publish(self.topics.live(&jti), sealed, false, Sent::Live(jti), out);
        }
    }

    /// Said once, to whoever listens.
    pub(super) fn mention(&mut self, now: Now, telemetry: &Telemetry, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Connected) {
            return;
        }
        let topic = self.topics.telemetry();
        match self.sealer.seal_telemetry(now.wall, telemetry) {
            Ok(payload) => {
                out.push(Action::Link(LinkOrder::Mention { topic, payload: payload.into_bytes() }));
            }
            Err(error) => out.push(Action::Notice(format!("could not write a message for {topic}: {error}"))),
        }
    }

    fn send_item(&mut self, now: Now, item: Item, out: &mut Vec<Action>) {
        match item {
            Item::Outcome(number, outcome) => {
                let sealed = self.sealer.seal_outcome(now.wall, &outcome);
                self.publish(self.topics.rsp(), sealed, false, Sent::Outcome(number), out);
            }
            Item::Status => {
                let status = self.status(now);
                let sealed = self.sealer.seal_status(now.wall, &status);
                self.publish(self.topics.status(), sealed, true, Sent::Status, out);
            }
            Item::Request(request) => {
                let sealed = self.sealer.seal_request(now.wall, self.keys.version(), &request);
                self.publish(self.topics.set_req(), sealed, false, Sent::Request, out);
            }
            Item::State(status) => {
                let topic = self.topics.state(status.kind(), status.id());
                let sealed = match status {
                    // What MQTT takes for "retain nothing": it says nothing, so there is nothing to sign.
                    Status::Gone(..) => Ok(String::new()),
                    status => self.sealer.seal_state(now.wall, &status),
                };
                self.publish(topic, sealed, true, Sent::State, out);
            }
        }
    }

    fn publish(
        &mut self,
        topic: String,
        sealed: Result<String, serde_json::Error>,
        retain: bool,
        what: Sent,
        out: &mut Vec<Action>,
    ) {
        match sealed {
            Ok(payload) => {
                let handle = self.outbox.put_on_wire(what);
                let payload = payload.into_bytes();
                out.push(Action::Link(LinkOrder::Publish { handle, topic, payload, retain }));
            }
            // Cannot be for types of ours; said rather than swallowed.
            Err(error) => out.push(Action::Notice(format!("could not write a message for {topic}: {error}"))),
        }
    }

    fn status(&self, now: Now) -> NodeStatus {
        if matches!(self.phase, Phase::Leaving { .. }) {
            return NodeStatus::Offline {};
        }
        let staleness = self.staleness(now);
        NodeStatus::Online(Online {
            version: self.config.version.clone(),
            epoch: self.set.epoch,
            generation: self.set.generation,
            digest: self.set.digest,
            revision: self.overlay.revision,
            edits: self.overlay.edits,
            keys_version: self.keys.version(),
            staleness_ms: staleness.map(|s| u64::try_from(s.as_millis()).unwrap_or(u64::MAX)),
            clock: now.trust,
            backlog: self.events.backlog(),
            alarms: self.alarms,
            log_id: self.log_id.clone(),
            ledger_failed: self.ledger_failed.clone(),
        })
    }
}
