//! The cloud's side of the gateway as one machine: session, desk and what the mirror says, wired
//! together. Owns only the wiring and the events that belong to it; must never wait or decide what its
//! parts decide. Invariant: an order leaves before anything that tells of it, so that no signature of
//! ours stands between a command and its relay.

mod diagnose;
mod sets;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

pub use self::sets::{bounded, conflicted};
use self::sets::{mirror_request, set_input};
use super::{
    clock_trust::ClockNote,
    desk::{Answer, Answered, Desk, DeskStep, Errand},
    mirror::{MirrorInput, MirrorOutput},
    opening,
    session::{
        self, Entropy, Session,
        link::{LinkEvent, LinkOrder},
    },
    step::{CommandKey, Commit, Effect, LedgerWrite},
};
use crate::{
    domain::{
        cloud::CloudState,
        door::{Closed, DoorStatus},
        event::{Actor, AlarmSource, Event, EventBody, Refusal},
        ids::{DoorIx, Id},
        order::{Order, OrderReport, Task},
        outputs::Ticket,
        permission::{Explanation, Permissions, SetVersion},
        status::Status,
        time::{ClockTrust, Mono, Now, Wall},
    },
    wire::{
        command::CommandBody,
        event_log::Sealed,
        set::Want,
        telemetry::{Gauges, Telemetry},
    },
};

/// From the doors to the cloud.
#[derive(Clone, Debug)]
pub enum DoorNews {
    Report(OrderReport),
    Status(Box<Status>),
    /// A `door.close` was taken at this door.
    Closed(DoorIx, Closed),
    /// How often each emergency card was used on this node.
    EmergencyUses(BTreeMap<Id, u32>),
    /// The door loop failed and was started again: orders that were under way have no owner any more.
    Restarted,
}

#[derive(Debug)]
pub enum Input {
    Link(LinkEvent),
    Doors(DoorNews),
    /// What the ledger let out, because it is durable now.
    Released(Vec<Effect>),
    DurableHead(u64),
    Events {
        from: u64,
        events: Vec<Sealed>,
    },
    LiveEvents {
        from: u64,
        events: Vec<Sealed>,
    },
    EventHash {
        seq: u64,
        hash: Option<[u8; 32]>,
    },
    Mirror(MirrorOutput),
    /// Of an errand.
    Answer(Answer),
    /// A command that an earlier run left open has ended.
    Settled {
        key: CommandKey,
        answered: Answered,
    },
    Clock(Vec<ClockNote>),
    Telemetry(Box<Telemetry>),
    /// So many alarms stand.
    Alarms(u64),
    /// Something of the node itself is to be told.
    Event(EventBody),
    Timeout,
    /// The desk takes no more commands; the session says goodbye at [`Input::Leave`].
    RefuseCommands,
    Leave,
}

#[derive(Debug)]
pub enum Action {
    /// To the doors, before anything else.
    Order(Order),
    /// To whoever keeps what it asks about.
    Errand(Box<Errand>),
    Link(LinkOrder),
    Commit(Commit),
    Mirror(MirrorInput),
    ReadEvents {
        from: u64,
        bytes_max: usize,
    },
    /// Answered by [`Input::LiveEvents`].
    ReadLive {
        from: u64,
        bytes_max: usize,
    },
    ReadEventHash {
        seq: u64,
    },
    /// To the doors: decide by this set from now on.
    Permissions(Arc<Permissions>),
    /// To the doors: what is known of the cloud.
    Cloud(CloudState),
    CloudTime {
        iat: Wall,
        asked_at: Mono,
    },
    Notice(String),
    Left,
}

pub struct Uplink {
    session: Session,
    desk: Desk,
    /// In force; events of this machine name it.
    set: SetVersion,
    /// The newest signed key set, as it came.
    keys_jws: Arc<str>,
    connected: bool,
    cloud: CloudState,
    /// As the doors told them last: without the delays that are the desk's.
    doors: BTreeMap<Id, DoorStatus>,
    /// As the doors told it last.
    emergency_uses: Option<BTreeMap<Id, u32>>,
    /// Explanations to which the doors have yet to say their part.
    examining: BTreeMap<Ticket, (Box<Errand>, Box<Explanation>)>,
}

impl Uplink {
    pub fn new(session: Session, desk: Desk, set: SetVersion) -> Uplink {
        Uplink {
            session,
            desk,
            set,
            keys_jws: Arc::from(""),
            connected: false,
            cloud: CloudState::default(),
            doors: BTreeMap::new(),
            emergency_uses: None,
            examining: BTreeMap::new(),
        }
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        [self.session.next_deadline(), self.desk.next_deadline()].into_iter().flatten().min()
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Hands each action out as soon as it is known.
    pub fn handle(&mut self, now: Now, input: Input, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        match input {
            Input::Link(event) => self.tell_session(now, session::Input::Link(event), entropy, act),
            Input::Doors(DoorNews::Report(report)) if self.examining.contains_key(&report.ticket) => {
                self.examined(now, report.ticket, Some(report.progress), act);
            }
            Input::Doors(DoorNews::Report(report)) => {
                let step = self.desk.handle_report(now, report);
                self.desk_step(now, step, entropy, act);
            }
            Input::Doors(DoorNews::Closed(door, closed)) => {
                let step = self.desk.handle_closed(now.wall, door, &closed);
                self.desk_step(now, step, entropy, act);
            }
            Input::Doors(DoorNews::EmergencyUses(uses)) => self.emergency_uses = Some(uses),
            Input::Doors(DoorNews::Restarted) => {
                let unanswered: Vec<Ticket> = self.examining.keys().copied().collect();
                unanswered.into_iter().for_each(|ticket| self.examined(now, ticket, None, act));
                let step = self.desk.handle_doors_restarted(now.wall);
                self.desk_step(now, step, entropy, act);
            }
            Input::Doors(DoorNews::Status(status)) => {
                let status = match *status {
                    Status::Door(door) => {
                        let told = self.with_delays(&door);
                        self.doors.insert(door.door.clone(), door);
                        Status::Door(told)
                    }
                    other => other,
                };
                self.tell_session(now, session::Input::State(status), entropy, act);
            }
            Input::Released(effects) => {
                for effect in effects {
                    self.release(now, effect, entropy, act);
                }
            }
            Input::DurableHead(seq) => self.tell_session(now, session::Input::DurableHead(seq), entropy, act),
            Input::Events { from, events } => {
                self.tell_session(now, session::Input::Events { from, events }, entropy, act);
            }
            Input::LiveEvents { from, events } => {
                self.tell_session(now, session::Input::LiveEvents { from, events }, entropy, act);
            }
            Input::EventHash { seq, hash } => {
                self.tell_session(now, session::Input::EventHash { seq, hash }, entropy, act);
            }
            Input::Mirror(output) => self.mirror(now, output, entropy, act),
            Input::Answer(answer) => {
                let step = self.desk.handle_answer(now, answer);
                self.desk_step(now, step, entropy, act);
            }
            Input::Settled { key, answered } => {
                let step = self.desk.handle_settled(now.wall, &key, answered);
                self.desk_step(now, step, entropy, act);
            }
            Input::Clock(notes) => self.clock(now, notes, entropy, act),
            Input::Telemetry(telemetry) => {
                self.tell_session(now, session::Input::Telemetry(telemetry), entropy, act);
            }
            Input::Alarms(standing) => self.tell_session(now, session::Input::Alarms(standing), entropy, act),
            Input::Event(body) => self.record(now, body, act),
            Input::Timeout => {
                while self.desk.next_deadline().is_some_and(|due| due <= now.mono) {
                    let step = self.desk.handle_timeout(now);
                    self.desk_step(now, step, entropy, act);
                }
                self.tell_session(now, session::Input::Timeout, entropy, act);
            }
            Input::RefuseCommands => {
                let step = self.desk.handle_stop(now.wall);
                self.desk_step(now, step, entropy, act);
            }
            Input::Leave => self.tell_session(now, session::Input::Stop, entropy, act),
        }
    }

    /// What the desk found at start: to be handed out once, after [`Uplink::new`].
    pub fn begin(&mut self, now: Now, step: DeskStep, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        self.desk_step(now, step, entropy, act);
        // A key may have been revoked just before the last run ended.
        let revoked = self.desk.handle_keys(now.wall, self.session.keys());
        self.desk_step(now, revoked, entropy, act);
        self.tell_session(now, session::Input::Timeout, entropy, act);
    }

    /// The doors know of what system events have put off, and nothing of what the desk has delayed.
    fn with_delays(&self, door: &DoorStatus) -> DoorStatus {
        door.clone().with_delays(self.desk.delays_at(&door.door))
    }

    fn tell_session(&mut self, now: Now, input: session::Input, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        let actions = self.session.handle(now, input, &mut *entropy);
        for action in actions {
            match action {
                session::Action::Command { command, token, retained } => {
                    let step = if retained {
                        self.desk.handle_retained(now, *command, token)
                    } else {
                        self.desk.handle_command(now, *command, Some(token))
                    };
                    self.desk_step(now, step, &mut *entropy, act);
                }
                session::Action::Link(order) => act(Action::Link(order)),
                session::Action::Set(message) => act(Action::Mirror(set_input(message))),
                session::Action::Commit(commit) => {
                    for write in &commit.writes {
                        if let LedgerWrite::Event(Event { body, .. }) = write {
                            raise_alarm(now, body, act);
                        }
                    }
                    act(Action::Commit(commit));
                }
                session::Action::ReadEvents { from, bytes_max } => act(Action::ReadEvents { from, bytes_max }),
                session::Action::ReadLive { from, bytes_max } => act(Action::ReadLive { from, bytes_max }),
                session::Action::ReadEventHash { seq } => act(Action::ReadEventHash { seq }),
                // The mirror keeps it: what the set is verified by belongs beside the set.
                session::Action::StoreKeys(jws) => self.keys_jws = Arc::from(String::from_utf8_lossy(&jws)),
                session::Action::Keys(keys) => {
                    let compact = self.keys_jws.clone();
                    act(Action::Mirror(MirrorInput::Keys { compact, version: keys.version(), epoch: keys.epoch() }));
                    let step = self.desk.handle_keys(now.wall, &keys);
                    self.desk_step(now, step, &mut *entropy, act);
                }
                session::Action::CloudTime { iat, asked_at } => act(Action::CloudTime { iat, asked_at }),
                session::Action::Notice(text) => act(Action::Notice(text)),
                session::Action::Stopped => act(Action::Left),
            }
        }
        let connected = self.session.is_connected();
        let cloud = CloudState {
            connected,
            last_beat: self.session.last_beat(),
            mirror_lost: !self.desk.permissions().is_present(),
        };
        if std::mem::replace(&mut self.cloud, cloud) != cloud {
            act(Action::Cloud(cloud));
        }
        if std::mem::replace(&mut self.connected, connected) != connected {
            act(Action::Mirror(if connected { MirrorInput::LinkUp } else { MirrorInput::LinkDown }));
        }
    }

    fn desk_step(&mut self, now: Now, step: DeskStep, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        if let Some(order) = step.order {
            act(Action::Order(order));
        }
        if !step.commit.is_empty() {
            act(Action::Commit(step.commit));
        }
        if let Some(token) = step.acknowledged {
            self.tell_session(now, session::Input::AckMessage(token), &mut *entropy, act);
        }
        for outcome in step.outcomes {
            self.tell_session(now, session::Input::Outcome(outcome), &mut *entropy, act);
        }
        for door in step.delays_changed {
            if let Some(told) = self.doors.get(&door).map(|door| self.with_delays(door)) {
                self.tell_session(now, session::Input::State(Status::Door(told)), &mut *entropy, act);
            }
        }
        if let Some(errand) = step.errand {
            self.errand(now, errand, entropy, act);
        }
    }

    pub fn gauges(&self) -> Gauges {
        Gauges {
            commands_open: self.desk.commands_open() as u64,
            commands_remembered: self.desk.commands_remembered() as u64,
            ..self.session.gauges()
        }
    }

    /// What the node itself is asked for. What this machine cannot answer goes out.
    fn errand(&mut self, now: Now, errand: Errand, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        let answered = match &errand.body {
            CommandBody::LiveEventsSubscribe(args) => {
                let live = self.session.live();
                let subscribed = live.subscribe(now, &errand.jti, &errand.operator, args, errand.scope);
                subscribed.map(|subscribed| Some(json!({ "live": subscribed })))
            }
            CommandBody::LiveEventsUnsubscribe(args) => {
                self.session.live().unsubscribe(&errand.operator, &args.jti).map(|()| None)
            }
            CommandBody::NodeDiagnostics(args) => match self.explanation(now, args.explain.as_ref()) {
                Ok(None) => return self.diagnose(now, errand, None, act),
                Ok(Some(explanation)) => match self.examination(args.explain.as_ref(), &explanation) {
                    Ok(None) => return self.diagnose(now, errand, Some(explanation), act),
                    Ok(Some(what)) => {
                        let (ticket, deadline, issued_at) = (errand.ticket, now.mono, now.wall);
                        self.examining.insert(ticket, (Box::new(errand), explanation));
                        return act(Action::Order(Order { ticket, what, deadline, issued_at, by: Actor::Node }));
                    }
                    Err(unknown) => Err((Refusal::UnknownTarget, unknown)),
                },
                Err(unknown) => Err((Refusal::UnknownTarget, unknown.to_string())),
            },
            _ => {
                return match mirror_request(errand) {
                    Ok(request) => act(Action::Mirror(request)),
                    Err(errand) => act(Action::Errand(errand)),
                };
            }
        };
        let answered = match answered {
            Ok(detail) => Answered::Done(detail),
            Err((refusal, message)) => Answered::Refused(refusal, json!({ "message": message })),
        };
        let step = self.desk.handle_answer(now, Answer { ticket: errand.ticket, at: now.wall, answered });
        self.desk_step(now, step, entropy, act);
    }

    fn release(&mut self, now: Now, effect: Effect, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        match effect {
            // The doors heard of it without this detour.
            Effect::Fence(_) => {}
            Effect::Report(report) => {
                let step = self.desk.handle_report(now, report);
                self.desk_step(now, step, entropy, act);
            }
            Effect::AckMessage(token) => self.tell_session(now, session::Input::AckMessage(token), entropy, act),
            Effect::Publish(outcome) => self.tell_session(now, session::Input::Outcome(outcome), entropy, act),
        }
    }

    fn clock(&mut self, now: Now, notes: Vec<ClockNote>, entropy: Entropy<'_>, act: &mut dyn FnMut(Action)) {
        let step = self.desk.handle_clock(now);
        self.desk_step(now, step, &mut *entropy, act);
        // A beat can restore trust, so the cloud is asked for one at once rather than at the next round.
        let stepped = notes.iter().any(|note| matches!(note, ClockNote::Stepped { .. }));
        for note in notes {
            let body = match note {
                ClockNote::Stepped { by_ms } => EventBody::ClockStepped { by_ms },
                ClockNote::Trusted(detail) => EventBody::ClockTrusted { detail: detail.to_owned() },
                ClockNote::Untrusted(detail) => EventBody::ClockUntrusted { detail: detail.to_owned() },
                ClockNote::Floor(floor) => {
                    let mut commit = Commit::default();
                    commit.writes.push(LedgerWrite::ClockFloor(floor));
                    act(Action::Commit(commit));
                    continue;
                }
            };
            self.record(now, body, act);
        }
        if stepped && now.trust == ClockTrust::Untrusted {
            let ask = session::Input::SetWanted { want: Want::Update, chunks: Vec::new() };
            self.tell_session(now, ask, entropy, act);
        }
    }

    fn record(&mut self, now: Now, body: EventBody, act: &mut dyn FnMut(Action)) {
        raise_alarm(now, &body, act);
        act(Action::Commit(opening::commit(now, &self.set, vec![body])));
    }
}

/// What of the uplink's is worth an alarm stands with all others, at the doors.
fn raise_alarm(now: Now, body: &EventBody, act: &mut dyn FnMut(Action)) {
    let EventBody::SecurityRollbackRefused { detail } = body else { return };
    let what = Task::RaiseAlarm { source: AlarmSource::Rollback {}, text: Some(detail.clone()) };
    let (ticket, deadline, issued_at) = (Ticket::NONE, now.mono, now.wall);
    act(Action::Order(Order { ticket, what, deadline, issued_at, by: Actor::Node }));
}
