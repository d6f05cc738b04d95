//! The observer. Looks at relays, at the wire, at what is handed between the machines and at what the cloud
//! got, and keeps a plain model of its own of what may be; must never ask a machine for its opinion, but to
//! hold it against that model. Invariant: the first thing that is wrong ends the run.
//!
//! `doors` has the locks and the orders, `log` the events, `rights` the sets, `people` the decisions, `scope` how far operators
//! reach.

mod acts;
mod alarms;
mod areas;
mod authority;
mod auto_open;
mod cabinet;
mod consequences;
mod delays;
mod doors;
mod edits;
mod floors;
mod forgiven;
mod holds;
mod interlock;
mod live;
mod lockers;
mod log;
mod outputs;
mod people;
#[path = "../../../../tests/decision/reference.rs"]
mod reference;
mod reports;
mod rights;
mod scope;
mod spares;
mod trials;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use latchd::{
    domain::{
        event::{DenialReason, Event, EventBody},
        fieldbus::RawCard,
        ids::Id,
        order::{DoorAction, Task},
        permission::SetVersion,
        time::{Mono, Now, Wall},
    },
    gateway::{
        controller::{Controller, Lasting, Step},
        ledger::{Recovered, keys},
        mirror::MirrorOpened,
        step::{CommandKey, LedgerWrite, MessageToken},
    },
};

pub use self::spares::Cards;
use self::{
    alarms::AlarmWatch,
    areas::AreaWatch,
    auto_open::AutoWatch,
    delays::DelayWatch,
    doors::DoorWatch,
    floors::LiftWatch,
    forgiven::ForgivenWatch,
    interlock::Others,
    live::LiveWatch,
    lockers::LockerWatch,
    log::LogWatch,
    outputs::OutputWatch,
    people::{PeopleWatch, Scene},
    rights::RightsWatch,
    scope::Refusals,
    spares::SpareWatch,
    trials::TrialWatch,
};
use super::{
    set::{Generation, Sets},
    site::Site,
};
use crate::cloud::ISSUER;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Fire or REX asserted, as the doors know it: desired is released in the same step.
    FireReleases,
    /// No lock stays unlocked without a reason that still holds.
    StrikeFalls,
    /// Each command reaches the doors at most once, across crashes and redelivery.
    CommandOnce,
    /// What unlocks for a command starts on the wire before the command's deadline, or never.
    DeadlineAtTheWire,
    /// Every grant, denial and change of mode has exactly one event.
    OneEventEach,
    /// Fire, REX and a lasting opening do reach the relay.
    LockOpens,
    /// An outcome says what happened at the relay.
    HonestOutcome,
    /// Events leave, and arrive, without gap, in order, unchanged, and not again once acknowledged.
    LogWithoutGap,
    /// What was durable before a connection began is marked as replayed on it.
    ReplayedMarked,
    /// The broker may forget a command only once its record is durable.
    StoredBeforeForgotten,
    /// What was reported as durable is there after a crash: events, commands, modes.
    Durable,
    /// The generation never goes back.
    GenerationRises,
    /// Each decision is that of the naive model of the generation in force.
    RevokedIsDenied,
    /// What the schedules unlock is unlocked by its auto open, and nothing else.
    AutoOpens,
    /// Of the mantrap's doors at most one is unlocked.
    OneDoorAtATime,
    /// A door under lockdown, DND or forced closed was ordered so, stays so through every crash, and is shut but for
    /// fire and exit buttons.
    HeldIsShut,
    /// Nobody who is inside a hard area is let in again.
    NobodyPassesBack,
    /// Whom an operator has forgiven is forgotten, nobody else is, and that stays so through every crash.
    ForgivenIsForgotten,
    /// An alarm stands until somebody acknowledges it, through every crash, and each acknowledgement is somebody's.
    AlarmsStand,
    /// No more people are inside an area than may be.
    AreaNotOverfull,
    /// What triggers a system event fires it in the same step, and nothing else does.
    ConsequencesFollow,
    /// What a system event orders is done at its doors in the same step, if its author may order it then, and not
    /// otherwise.
    ActsForItsAuthor,
    /// A delayed command reaches its door after its delay, once, and never after it was cancelled.
    DelaysKeepTheirTime,
    /// An output beside the doors is on only as it was ordered.
    OutputsAsOrdered,
    /// What reaches the field for an operator, the operator was allowed to ask for.
    Authorised,
    /// The cloud never hears what an honest node does not say.
    HonestNode,
    /// After the faults have healed, all is in order within two minutes.
    Converges,
    /// Where the rules ask for a PIN nobody is let in without theirs.
    PinAsked,
    /// After too many wrong PINs in a row none is taken for the whole time of the lock-out.
    PinLocksOut,
    /// Where the rules ask for two people, two are let in together or nobody is.
    TwoTogether,
    /// A duress PIN does what the other PIN does, and is told; nothing else is.
    DuressIsTold,
    /// A virtual read is judged by the rules as a read without PIN and company, and names its operator.
    VirtualReadJudged,
    /// With a stale set or an untrusted clock a door admits only those whom its policy leaves.
    FallbackNarrows,
    /// An emergency card opens only when its time has come, and no oftener than it may, through every crash.
    EmergencyLast,
    /// Without any set a door opens to the emergency cards of the signed copy, as the cloud signed them last, and to
    /// nobody else.
    SpareCards,
    /// A read in the cab enables the floors that its holder may choose, and a floor is enabled while there is a reason.
    FloorsAsGranted,
    /// A compartment opens at its cabinet only by a contract that says so, and by a backup code once in its life.
    LockersByContract,
    /// Where a key is told to be follows what was put into its compartment and taken out.
    KeysAreFollowed,
    /// An edit by command was wished by somebody who may make it, and holds from then on, through every crash, until a
    /// set takes it over.
    EditsStand,
    /// An edit leaves by a set that takes it over or discards it. What a set leaves no room for is set aside, or
    /// reduced to what it takes away, and told; nothing else is.
    EditsSettle,
    /// Whoever is refused for what they are, or for where it is, lacked that; and is not refused else.
    RefusedRightly,
    /// A list holds the records in force that its reader may see: all of them, as they are, and nothing else.
    ListsShowOwn,
    /// A report holds the durable events that fit, unchanged and in order, for somebody who may see them.
    ReportsAreTheLog,
    /// Who watches sees the durable events that fit, each or its number among the missed, while they may see them.
    LiveIsTheLog,
    /// In force is the installer's configuration, or what was confirmed over it, or what is on trial: that for its time
    /// only, in one process that lives, and none of it over a hand at the installer's file.
    TrialsEnd,
    /// Time goes on.
    NeverStuck,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

impl Violation {
    pub fn new(invariant: Invariant, what: String) -> Violation {
        Violation { invariant, what }
    }
}

/// What an operator asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub operator: &'static str,
    pub cmd: &'static str,
    /// A lockdown by partition: what that is, the set says by which it is ordered.
    pub partition: Option<&'static str>,
    pub task: Task,
    pub exp: Wall,
    /// Of a delayed command.
    pub delay: Option<std::time::Duration>,
}

impl Asked {
    /// If it is about one door.
    fn at_door(&self) -> Option<(usize, DoorAction)> {
        match self.task {
            Task::Door(door, action) => Some((door.index(), action)),
            _ => None,
        }
    }
}

pub struct Oracle {
    violation: Option<Violation>,
    events_at_once: u64,
    doors: Vec<DoorWatch>,
    boards: Vec<doors::BoardWatch>,
    log: LogWatch,
    rights: RightsWatch,
    /// By id; several where other bytes were sent under one id.
    asked: BTreeMap<Id, Vec<Asked>>,
    /// How often an order for this command has reached the doors: ever, and in the present run. Its door and
    /// action belong to the key, for once its record is dropped an id may come to mean another command.
    delivered: BTreeMap<String, u32>,
    delivered_in_run: BTreeMap<String, u32>,
    /// Ordered in the present run.
    ordered: Vec<Id>,
    /// Commands that came with this token in the present run.
    came: BTreeMap<(u64, u16), Id>,
    /// Commands whose message the broker was told to forget: their records must be there after a crash.
    forgotten: BTreeMap<Id, Wall>,
    /// Commands whose records were dropped, and are kept dead by the floor.
    dropped: BTreeSet<Id>,
    /// Commands that were written to a board for their own sake.
    written: BTreeSet<Id>,
    node_up: bool,
    /// What the desk judges operators by.
    desk: Option<Arc<Generation>>,
    refusals: Refusals,
    auto: AutoWatch,
    /// By door: the others of the mantrap, before the present step.
    others: Vec<(Others, Option<DenialReason>, bool)>,
    both_since: Option<Mono>,
    /// Commands that reached the doors in the present run, also by way of an earlier one's promise.
    reached: BTreeSet<Id>,
    /// Doors that a system event locks down in the present step.
    own_lockdowns: BTreeSet<usize>,
    areas: AreaWatch,
    forgiven: ForgivenWatch,
    alarms: AlarmWatch,
    pub live: LiveWatch,
    /// Counts the runs of the daemon.
    run: u64,
    delays: DelayWatch,
    /// Was wrong when an earlier run ended, and this one has not heard of it.
    standing: BTreeSet<latchd::domain::kept::Standing>,
    late_order: Option<latchd::domain::outputs::Ticket>,
    outputs: Vec<OutputWatch>,
    people: PeopleWatch,
    lift: LiftWatch,
    lockers: LockerWatch,
    trials: TrialWatch,
    spares: SpareWatch,
}

impl Oracle {
    pub fn new(site: &Site) -> Oracle {
        Oracle {
            violation: None,
            events_at_once: 0,
            doors: site.doors.iter().map(|_| DoorWatch::default()).collect(),
            boards: site.boards.iter().map(|_| doors::BoardWatch::default()).collect(),
            log: LogWatch::default(),
            rights: RightsWatch::default(),
            asked: BTreeMap::new(),
            delivered: BTreeMap::new(),
            delivered_in_run: BTreeMap::new(),
            ordered: Vec::new(),
            came: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            dropped: BTreeSet::new(),
            written: BTreeSet::new(),
            node_up: false,
            desk: None,
            refusals: Refusals::default(),
            auto: AutoWatch::default(),
            others: vec![(Others::Shut, None, false); site.doors.len()],
            both_since: None,
            reached: BTreeSet::new(),
            own_lockdowns: BTreeSet::new(),
            areas: AreaWatch::default(),
            forgiven: ForgivenWatch::default(),
            alarms: AlarmWatch::default(),
            live: LiveWatch::default(),
            run: 0,
            delays: DelayWatch::default(),
            standing: BTreeSet::new(),
            late_order: None,
            outputs: site.field.outputs.iter().map(|one| OutputWatch::new(one.id.clone(), one.output)).collect(),
            people: PeopleWatch::default(),
            lift: LiftWatch::default(),
            lockers: LockerWatch::default(),
            trials: TrialWatch::default(),
            spares: SpareWatch::default(),
        }
    }

    fn fail(&mut self, invariant: Invariant, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub fn take_violation(&mut self) -> Result<(), Violation> {
        self.violation.take().map_or(Ok(()), Err)
    }

    pub fn count_event(&mut self, time_moved: bool, at_once_max: u64) {
        self.events_at_once = if time_moved { 0 } else { self.events_at_once + 1 };
        if self.events_at_once > at_once_max {
            self.fail(Invariant::NeverStuck, "events without end at one instant".to_owned());
        }
    }

    // ---- the life of the daemon ----

    pub fn started(
        &mut self,
        (site, sets): (&Site, &Sets),
        now: Now,
        recovered: &Recovered,
        set: SetVersion,
        opened: &MirrorOpened,
    ) {
        self.ordered.clear();
        self.delivered_in_run.clear();
        self.came.clear();
        self.node_up = true;
        self.log.recovered(&recovered.head, recovered.acked_through, &mut self.violation);
        self.spares_found(sets, opened);
        self.rights.recovered(set, opened, &mut self.violation);
        let found = opened.permissions.version().generation;
        self.desk_holds(sets.in_force(found, opened.overlay.revision));
        self.refusals.started();
        let floor = recovered.forget_floor;
        let lost = self
            .forgotten
            .iter()
            .find(|(jti, exp)| **exp > floor && !recovered.commands.iter().any(|record| record.key.jti == **jti));
        if let Some((jti, _)) = lost {
            let what = format!("the broker has forgotten command {jti}, and so has the ledger");
            self.fail(Invariant::Durable, what);
        }
        self.check_promises(site, &recovered.doors);
        let lasting = Lasting { doors: recovered.doors.clone(), kept: recovered.kept.clone() };
        self.outputs_started(lasting.kept.values(), true);
        self.doors_started(site, now, (set, opened.overlay.revision), &lasting);
        self.run += 1;
        self.live.started();
        self.check_forgiven_stay_so();
        self.check_alarms_kept(lasting.kept.values());
    }

    pub fn died(&mut self) {
        self.node_up = false;
        self.log.died();
        self.doors_ended();
    }

    // ---- commands ----

    pub fn asked(&mut self, jti: Id, asked: Asked) {
        self.asked.entry(jti).or_default().push(asked);
    }

    /// `retain`: a copy that is refused whatever becomes of the others.
    pub fn command_came(&mut self, token: MessageToken, jti: Option<Id>, retain: bool) {
        if let Some(jti) = jti.filter(|_| !retain) {
            self.came.insert((token.connection, token.packet_id), jti);
        }
    }

    /// The broker sends again what was not acknowledged.
    pub fn disconnected(&mut self) {
        self.came.clear();
    }

    /// The key of the record that must be durable before this message may be forgotten; none if the command
    /// led to no order.
    pub fn ack_of_order(&mut self, token: MessageToken) -> Option<Vec<u8>> {
        let jti = self.came.remove(&(token.connection, token.packet_id))?;
        // While the broker keeps another copy nothing is forgotten.
        if !self.ordered.contains(&jti) || self.dropped.contains(&jti) || self.came.values().any(|other| *other == jti)
        {
            return None;
        }
        let exp = self.asked.get(&jti)?.iter().map(|asked| asked.exp).min()?;
        self.forgotten.insert(jti.clone(), exp);
        Some(keys::command(&CommandKey { issuer: ISSUER.to_owned(), jti }))
    }

    pub fn acked_stored(&mut self, stored: bool) {
        if !stored {
            let what = "a command was acknowledged to the broker and would not survive a power cut".to_owned();
            self.fail(Invariant::StoredBeforeForgotten, what);
        }
    }

    /// Commands that were ordered in this run, and so must end in it.
    pub fn open_orders(&self) -> impl Iterator<Item = &Id> {
        self.ordered.iter()
    }

    // ---- steps of the doors ----

    /// What the doors are told of the cloud.
    pub fn cloud_known(&mut self, cloud: latchd::domain::cloud::CloudState) {
        self.people.cloud = cloud;
    }

    pub fn card(&mut self, reader: usize, card: RawCard) {
        self.people.card = Some((reader, card));
    }

    /// The step that [`Controller::new`] made.
    pub fn first_step(&mut self, site: &Site, now: Mono, step: &Step, controller: Option<&Controller>) {
        let Some(controller) = controller else { return };
        self.log.owe_doors(events(step));
        for event in events(step) {
            self.auto.hear(&event.body);
        }
        for (watch, status) in self.doors.iter_mut().zip(controller.door_statuses()) {
            watch.mode = Some(status.mode);
        }
        for write in &step.commit.writes {
            self.door_write(site, write);
        }
        self.floors_kept(&step.commit.writes);
        self.hear_alarms(&events(step).map(|event| &event.body).collect::<Vec<_>>());
        self.check_holds(site, now, controller.door_statuses(), "start");
    }

    pub fn step(&mut self, site: &Site, sets: &Sets, now: Now, what: &str, step: &Step, controller: &Controller) {
        self.log.owe_doors(events(step));
        self.check_modes(step, controller);
        let others = std::mem::take(&mut self.others);
        let in_force = sets.in_force(self.rights.generation(), self.rights.revision()).cloned();
        let cab = self.lift.denies(now.mono);
        let scene = Scene { site, generation: in_force.as_deref(), now, modes: &others, cab: &cab, what };
        let (frame, bodies) = (self.people.card, events(step).map(|event| &event.body));
        let judged = [
            self.people.judge_step(&scene, bodies.clone(), self.rights.stopping),
            self.lockers.judge_step(&scene, frame, bodies.clone(), self.rights.stopping, &mut self.people),
            events(step).try_for_each(|event| self.rights.names_its_generation(event)),
        ];
        for violation in judged.into_iter().filter_map(Result::err) {
            self.violation.get_or_insert(violation);
        }
        self.lift.rides(site, now.mono, bodies);
        self.others = others;
        self.check_late_order(step);
        let bodies: Vec<&EventBody> = events(step).map(|event| &event.body).collect();
        self.note_acts(site, in_force.as_deref(), now.mono, &bodies);
        self.learn_from_step(site, now.mono, step);
        self.check_release(site, now.mono, what, controller);
        let generation = in_force;
        let stopping = self.rights.stopping;
        self.output_events(now.mono, events(step).map(|event| &event.body));
        step.commit.writes.iter().for_each(|write| self.output_kept(write));
        self.check_auto_open(
            (&site.door_ids(), generation.as_deref()),
            now,
            what,
            events(step).map(|event| &event.body),
        );
        let whereabouts = self.whereabouts_before();
        self.check_areas(generation.as_deref(), now, events(step).map(|event| &event.body), &step.commit.writes);
        self.check_forgiven(whereabouts, step, &bodies);
        let ended = |ticket| step.reports.iter().any(|report| report.ticket == ticket);
        self.check_alarms(|ticket| stopping || ended(ticket), &bodies);
        self.floors_after(generation.as_deref(), now, &step.commit.writes);
        self.check_acts(site, generation.as_deref(), &bodies, controller.door_statuses());
        self.check_consequences(generation.as_deref(), what, &bodies);
        self.check_holds(site, now.mono, controller.door_statuses(), what);
        self.check_interlock(site, now.mono, controller.desired(), what);
    }

    fn check_modes(&mut self, step: &Step, controller: &Controller) {
        let mut wrong = None;
        for (watch, status) in self.doors.iter_mut().zip(controller.door_statuses()) {
            let changes = events(step).filter_map(|event| match &event.body {
                EventBody::DoorModeChanged { door, from, .. } if *door == status.door => Some(*from),
                _ => None,
            });
            // Of a run that begins the first word is what the stop had made of the door.
            let mut mode = watch.mode.or(changes.clone().next()).unwrap_or(status.mode);
            for event in events(step) {
                if let EventBody::DoorModeChanged { door, from, to, .. } = &event.body
                    && *door == status.door
                {
                    if *from != mode || from == to {
                        wrong = Some(format!("{door} was {mode:?}, its event says from {from:?} to {to:?}"));
                    }
                    mode = *to;
                }
            }
            if mode != status.mode {
                wrong =
                    Some(format!("{} went to {:?} without an event (last told: {mode:?})", status.door, status.mode));
            }
            watch.mode = Some(status.mode);
        }
        if let Some(what) = wrong {
            self.fail(Invariant::OneEventEach, what);
        }
    }
}

fn events(step: &Step) -> impl Iterator<Item = &Event> + Clone {
    step.commit.writes.iter().filter_map(|write| match write {
        LedgerWrite::Event(event) => Some(event),
        _ => None,
    })
}
