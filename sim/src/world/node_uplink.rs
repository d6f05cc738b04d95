//! The cloud's loop, as `runtime::cloud_loop` runs it: link, doors' news, ledger, mirror, clock and the
//! ordered stop. Owns which action goes where; must never reorder the actions of one input.

use std::{collections::VecDeque, time::Duration};

use latchd::{
    domain::{
        event::EventBody,
        order::Order,
        permission::SetVersion,
        time::{Mono, Now, Wall},
    },
    gateway::{
        session::{
            GOODBYE_WITHIN,
            link::{LinkEvent, LinkOrder},
        },
        uplink::{Action, Input},
    },
};

use super::{
    Lane, What, World,
    configuration::End,
    node::{NodeEvent, Phase},
};

const VOUCHERS_EVERY: Duration = Duration::from_secs(30);
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn link_event(&mut self, event: LinkEvent) {
        match &event {
            LinkEvent::Message { token, topic, payload, retain, dup } => {
                let kind = topic.rsplit('/').next().unwrap_or(topic);
                self.trace.line(
                    self.now,
                    format_args!(
                        "link: {kind} {} bytes, packet {} retain {retain} dup {dup}",
                        payload.len(),
                        token.packet_id
                    ),
                );
                if *topic == self.cloud.topics.cmd() {
                    self.count("commands delivered");
                    let name = self.life.name_of(payload);
                    self.oracle.command_came(*token, name, *retain);
                }
            }
            LinkEvent::Connected { connection, .. } => {
                self.trace.line(self.now, format_args!("link: connected {connection}"));
                self.oracle.connected(self.now);
            }
            LinkEvent::Disconnected { connection, reason } => {
                self.trace.line(self.now, format_args!("link: disconnected {connection}: {reason}"));
                self.oracle.disconnected();
            }
            LinkEvent::PubAcked { .. } | LinkEvent::Subscribed { .. } => {}
        }
        let before = self.shim.before_link(&event);
        let repeated = self.shim.repeated_command(&event, &self.cloud.topics.cmd());
        let ack_now = self.shim.ack_now(&event, &self.cloud.topics.cmd());
        self.uplink(Input::Link(event));
        for input in before {
            self.uplink(input);
        }
        if let Some(token) = ack_now {
            self.order_link(LinkOrder::Ack(token));
        }
        if let Some(order) = repeated {
            self.send_node(Lane::OrdersToDoors, NodeEvent::Order(order));
        }
    }

    /// One input of the cloud's loop, and what is answered at once.
    pub(super) fn uplink(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.node_now();
            let mut actions = Vec::new();
            let Self { node, rng, .. } = self;
            let Some(node) = node else { return };
            node.uplink.handle(now, input, &mut |bytes| rng.fill(bytes), &mut |action| actions.push(action));
            for action in actions {
                self.perform(now, action, &mut inputs);
            }
        }
        self.take_notes();
        self.uplink_alarm();
    }

    fn take_notes(&mut self) {
        let Some(node) = &mut self.node else { return };
        let notes = std::mem::take(&mut node.notes);
        if !notes.is_empty() {
            for note in &notes {
                self.trace.line(self.now, format_args!("clock: {note:?}"));
            }
            self.send_node(Lane::DoorsToUplink, NodeEvent::Uplink(Box::new(Input::Clock(notes))));
        }
    }

    fn uplink_alarm(&mut self) {
        let late = self.rng.micros(0, 1_500);
        let Some(node) = &mut self.node else { return };
        let due = node.uplink.next_deadline().map(|due| due.max(self.now) + late);
        let keep = match (node.uplink_due, due) {
            (Some(set), Some(due)) => set > self.now && set <= due,
            (None, None) => true,
            _ => false,
        };
        if keep {
            return;
        }
        node.uplink_due = due;
        if let Some(at) = due {
            let run = self.run;
            self.post_at(at, What::Node(run, NodeEvent::UplinkTimer(at)));
        }
    }

    pub(super) fn perform(&mut self, now: Now, action: Action, inputs: &mut VecDeque<Input>) {
        match action {
            Action::Order(order) => self.order_doors(now, order),
            Action::Link(order) => self.order_link(order),
            Action::Commit(commit) => {
                self.oracle.uplink_commit(&commit);
                let out_of_scope = self.oracle.check_refusals(&self.site, &commit);
                (0..out_of_scope).for_each(|_| self.count("commands out of scope"));
                self.send_node(Lane::UplinkToLedger, NodeEvent::Commit(commit));
            }
            Action::Mirror(input) => {
                self.oracle.mirror_asked(&input);
                let input = self.shim.to_mirror(input);
                self.send_node(Lane::ToMirror, NodeEvent::Mirror(input));
            }
            Action::ReadEvents { from, bytes_max } => {
                let Some(node) = &self.node else { return };
                let events = node.ledger.reader.read(from, bytes_max).unwrap_or_default();
                let events = self.shim.events(events);
                inputs.push_back(Input::Events { from, events });
            }
            Action::ReadLive { from, bytes_max } => {
                let Some(node) = &self.node else { return };
                let events = node.ledger.reader.read(from, bytes_max).unwrap_or_default();
                let events = self.shim.events(events);
                inputs.push_back(Input::LiveEvents { from, events });
            }
            Action::ReadEventHash { seq } => {
                let Some(node) = &self.node else { return };
                let hash = node.ledger.reader.hash_of(seq).unwrap_or_default();
                inputs.push_back(Input::EventHash { seq, hash });
            }
            Action::Permissions(permissions) => {
                let version: SetVersion = *permissions.version();
                let revision = self.sets.edits.revision_of(&permissions);
                for generation in [version.generation, version.generation.saturating_sub(1)] {
                    self.sets.prepare(generation, revision);
                }
                self.oracle.desk_holds(self.sets.in_force(version.generation, revision));
                let set = self.shim.permissions(permissions, revision, &self.site, &self.sets);
                self.send_node(Lane::SetsToDoors, NodeEvent::Set(version, revision, set));
            }
            Action::Errand(errand) => self.errand(errand),
            Action::Cloud(cloud) => self.send_node(Lane::SetsToDoors, NodeEvent::Cloud(cloud)),
            Action::CloudTime { iat, asked_at } => self.cloud_time(iat, asked_at),
            Action::Notice(text) => {
                // What rustc or a library words differently does not belong into a trace; ours does.
                self.line(format_args!("notice: {text}"));
            }
            Action::Left => self.left(),
        }
    }

    fn order_doors(&mut self, now: Now, order: Order) {
        self.line(format_args!("desk: order {:?} {:?} by {:?}", order.ticket, order.what, order.by));
        self.count("orders");
        self.oracle.order_emitted(&self.site, now, &order);
        let order = self.shim.order(order);
        self.send_node(Lane::OrdersToDoors, NodeEvent::Order(order));
    }

    fn order_link(&mut self, order: LinkOrder) {
        let order = self.shim.to_link(order);
        match &order {
            LinkOrder::Ack(token) => {
                if let Some(key) = self.oracle.ack_of_order(*token) {
                    let stored = self.is_stored(&key);
                    self.oracle.acked_stored(stored);
                }
            }
            LinkOrder::Publish { topic, payload, .. } => {
                let kind = topic.rsplit('/').next().unwrap_or(topic);
                self.trace.line(self.now, format_args!("publish: {kind} {} bytes", payload.len()));
                if *topic == self.cloud.topics.evt() {
                    self.oracle.published(payload);
                }
                if *topic == self.cloud.topics.rsp() {
                    self.oracle.answered(self.now, payload);
                }
                if topic.contains("/live/") {
                    self.oracle.watched(&self.site, self.now, payload);
                }
            }
            _ => {}
        }
        self.link_order(order);
    }

    fn cloud_time(&mut self, iat: Wall, asked_at: Mono) {
        let _ = self.node_now();
        let Some(node) = &mut self.node else { return };
        node.judge.handle_beat(iat, asked_at, &mut node.notes);
    }

    pub(super) fn look_for_vouchers(&mut self) {
        let vouchers = self.vouchers();
        let _ = self.node_now();
        let Some(node) = &mut self.node else { return };
        node.judge.handle_vouchers(vouchers, &mut node.notes);
        self.take_notes();
        self.post_node(VOUCHERS_EVERY, NodeEvent::LookForVouchers);
    }

    // ---- the ordered stop ----

    pub(super) fn begin_stop(&mut self) {
        let Some(node) = &mut self.node else { return };
        if node.phase != Phase::Running {
            return;
        }
        (node.phase, node.end) = (Phase::StoppingDoors, End::Stopped);
        self.line(format_args!("node: stopping"));
        self.count("stops");
        self.uplink(Input::RefuseCommands);
        self.uplink(Input::Event(EventBody::NodeStopping {}));
        self.send_node(Lane::SetsToDoors, NodeEvent::StopDoors);
        self.post_node(STOP_WITHIN, NodeEvent::StopTimeout(Phase::StoppingDoors));
    }

    /// The doors are safe, or their time is over: the session says goodbye.
    pub(super) fn leave(&mut self) {
        let Some(node) = &mut self.node else { return };
        node.phase = Phase::Leaving;
        let run = self.run;
        // What the doors said last comes before the goodbye.
        self.send(
            Lane::DoorsToUplink,
            Duration::from_millis(1),
            What::Node(run, NodeEvent::Uplink(Box::new(Input::Leave))),
        );
        self.post_node(GOODBYE_WITHIN + Duration::from_millis(20), NodeEvent::StopTimeout(Phase::Leaving));
    }

    fn left(&mut self) {
        let Some(node) = &mut self.node else { return };
        if node.phase == Phase::Leaving {
            // Whatever is on its way to the ledger gets there.
            self.post_node(Duration::from_millis(2), NodeEvent::StopTimeout(Phase::Closing));
        }
    }

    pub(super) fn stop_timeout(&mut self, phase: Phase) {
        let Some(node) = &mut self.node else { return };
        match (phase, node.phase) {
            (Phase::StoppingDoors, Phase::StoppingDoors) => {
                self.line(format_args!("node: the doors did not confirm their safe state in time"));
                self.end_doors();
            }
            (Phase::Leaving, Phase::Leaving) => self.left(),
            (Phase::Closing, Phase::Leaving) => {
                node.phase = Phase::Closing;
                self.close_if_done();
            }
            _ => {}
        }
    }
}
