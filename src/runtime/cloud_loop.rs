//! The loop of the cloud's side: link, doors' news, ledger, mirror, clock, watchdog and the stop. Owns
//! the order of the stop; must never be waited for by a door. Invariant: `next_event` is the only place
//! that waits; everything else is handed over and done.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, watch},
};

use crate::{
    adapters::{
        mqtt::Link,
        store::{SledKv, ledger_thread::StoreHealth},
    },
    domain::{
        event::{EventBody, Refusal, RollbackCause},
        order::{OrderReport, Progress},
        time::Now,
    },
    gateway::{
        controller::Pause,
        desk::{Answer, Answered, DeskStep},
        ledger::EventReader,
        mirror::{self, MirrorOutput},
        session::GOODBYE_WITHIN,
        step::Effect,
        uplink::{Action, DoorNews, Input, Uplink},
        vitals::Vitals,
    },
    runtime::{
        clerk::{Clerk, News},
        clock::Clock,
        configuration::RunningTrial,
        doors_thread::{Doors, THREAD_ENDS_WITHIN},
        figures::{OrderTimes, Reporter},
        ledger_queue::LedgerQueue,
        mirror_queue::MirrorQueue,
        watchdog::Watchdog,
    },
    wire::event_log::Head,
};

/// The loop goes round at least this often.
const ROUND: Duration = Duration::from_millis(500);
/// How often the system is asked whether NTP vouches for the clock.
const VOUCHERS_EVERY: Duration = Duration::from_secs(30);
/// How often the doors' thread is looked at during a stop.
const STOP_POLL: Duration = Duration::from_millis(20);

/// States of doors that are gathered while reports go before them.
const STATES_TOGETHER_MAX: usize = 64;

/// Everything that can wake the loop.
pub struct Inlets<'a, L> {
    pub link: L,
    pub released: mpsc::Receiver<Vec<Effect>>,
    pub head: watch::Receiver<Head>,
    pub health: watch::Receiver<StoreHealth>,
    pub mirror: mpsc::Receiver<MirrorOutput>,
    /// Of the process: the next run listens to them as well.
    pub stop_signals: &'a mut StopSignals,
    /// The newest event that was committed before the loop: with it all that the run had to tell is durable.
    pub told_with: u64,
    /// This run is a trial of its configuration.
    pub trial: Option<RunningTrial>,
}

/// SIGTERM, SIGINT, SIGHUP: whoever ran it in a terminal that closes leaves no door open.
pub type StopSignals = [Signal; 3];

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The daemon stops.
    Stopped,
    /// The daemon begins anew: a configuration waits for its trial.
    Trial,
    /// The daemon begins anew: nobody confirmed the trial in time, or its command is worth nothing any more.
    TrialOver(RollbackCause),
    /// The daemon begins anew: the ledger, which could not be opened, can be.
    LedgerBack,
    /// The daemon stops, to be started anew.
    Reboot,
}

/// Everything it hands things to.
pub struct Outlets {
    pub doors: Doors,
    pub ledger: LedgerQueue,
    pub events: EventReader<SledKv>,
    pub mirror: MirrorQueue,
    pub clock: Clock,
    pub clerk: Clerk,
    pub watchdog: Watchdog,
    pub reporter: Reporter,
    pub order_times: OrderTimes,
    pub vitals: Arc<Vitals>,
}

enum Wake {
    Input(Input),
    Doors(DoorNews),
    Health(StoreHealth),
    Clerk(News),
    Stop,
    Round,
}

#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// The doors go to their safe state.
    StoppingDoors(Instant),
    /// The session says goodbye.
    Leaving(Instant),
    Left,
}

pub struct CloudLoop<'a, L> {
    inlets: Inlets<'a, L>,
    outlets: Outlets,
    uplink: Uplink,
    phase: Phase,
    /// What the end of the running phase will have been for.
    end: End,
    vouchers_at: Instant,
    round_at: Instant,
    random: SystemRandom,
}

impl<'a, L: Link> CloudLoop<'a, L> {
    pub fn new(inlets: Inlets<'a, L>, outlets: Outlets, uplink: Uplink) -> CloudLoop<'a, L> {
        let vouchers_at = Instant::now() + VOUCHERS_EVERY;
        CloudLoop {
            inlets,
            outlets,
            uplink,
            phase: Phase::Running,
            end: End::Stopped,
            vouchers_at,
            round_at: Instant::now() + ROUND,
            random: SystemRandom::new(),
        }
    }

    /// Runs until a stop is complete, and gives back what is to be stopped after it, in its order. `settled` are
    /// commands that ended with an earlier run.
    pub async fn run(mut self, first: DeskStep, settled: Vec<Input>) -> (End, Outlets) {
        let now = self.outlets.clock.now();
        let mut answers = VecDeque::new();
        let Self { inlets, outlets, uplink, random, .. } = &mut self;
        uplink.begin(now, first, &mut |bytes| fill(random, bytes), &mut |action| {
            perform(now, action, &mut inlets.link, outlets, &mut answers);
        });
        answers.extend(settled);
        let alarms = Input::Alarms(self.outlets.vitals.alarms.load(Relaxed));
        answers.extend(Some(alarms));
        self.answer(answers);
        while !matches!(self.phase, Phase::Left) {
            let wake = self.next_event().await;
            let slept = matches!(wake, Wake::Round);
            match wake {
                Wake::Input(input) => self.handle(input),
                Wake::Doors(first) => self.doors_news(first),
                Wake::Health(StoreHealth::Openable) => {
                    self.begin_anew(End::LedgerBack, Pause { moved: BTreeSet::new(), others_stay: true });
                }
                Wake::Health(health) => self.handle(Input::Event(health_event(&health))),
                Wake::Clerk(news) => self.clerks_news(news),
                Wake::Stop => self.stop(),
                Wake::Round => {}
            }
            // Also where inputs never let the loop sleep.
            let due = self.uplink.next_deadline().is_some_and(|due| due <= self.outlets.clock.now().mono);
            if slept || due {
                self.handle(Input::Timeout);
            }
            self.housekeeping(slept || Instant::now() >= self.round_at);
        }
        (self.end, self.outlets)
    }

    /// The only place that waits.
    async fn next_event(&mut self) -> Wake {
        let now = self.outlets.clock.now();
        let mut patience = if matches!(self.phase, Phase::Running) { ROUND } else { STOP_POLL };
        if let Some(due) = self.uplink.next_deadline() {
            patience = patience.min(due.since(now.mono));
        }
        let Inlets { link, released, head, health, mirror, stop_signals: [terminate, interrupt, hang_up], .. } =
            &mut self.inlets;
        // Where the daemon is about to begin anew, the next run takes them: it brings the doors to their safe state.
        let listens = self.end == End::Stopped;
        tokio::select! {
            biased;
            _ = terminate.recv(), if listens => Wake::Stop,
            _ = interrupt.recv(), if listens => Wake::Stop,
            _ = hang_up.recv(), if listens => Wake::Stop,
            Some(news) = self.outlets.doors.news.recv() => Wake::Doors(news),
            event = link.next() => Wake::Input(Input::Link(event)),
            Some(news) = self.outlets.clerk.news.recv() => Wake::Clerk(news),
            Some(effects) = released.recv() => Wake::Input(Input::Released(effects)),
            Some(output) = mirror.recv() => Wake::Input(Input::Mirror(output)),
            Ok(()) = head.changed() => Wake::Input(Input::DurableHead(head.borrow_and_update().seq)),
            Ok(()) = health.changed() => Wake::Health(health.borrow_and_update().clone()),
            () = tokio::time::sleep(patience) => Wake::Round,
        }
    }

    /// Somebody waits for a report; a state only describes. So of what has come, reports go first.
    fn doors_news(&mut self, first: DoorNews) {
        let mut states = Vec::new();
        let mut next = Some(first);
        while let Some(news) = next {
            match news {
                DoorNews::Status(_) => states.push(news),
                DoorNews::Report(_) | DoorNews::Closed(..) | DoorNews::Restarted | DoorNews::EmergencyUses(_) => {
                    self.handle(Input::Doors(news));
                }
            }
            next = if states.len() < STATES_TOGETHER_MAX { self.outlets.doors.news.try_recv().ok() } else { None };
        }
        for state in states {
            self.handle(Input::Doors(state));
        }
    }

    fn clerks_news(&mut self, news: News) {
        match news {
            News::Answer(answer) => self.handle(Input::Answer(answer)),
            News::Trial(pause) => self.begin_anew(End::Trial, pause),
            News::Reboot { operator, jti } => {
                self.handle(Input::Event(EventBody::NodeRebootRequested { operator, jti }));
                if matches!(self.phase, Phase::Running) {
                    self.end = End::Reboot;
                    self.stop();
                }
            }
            News::Confirmed { put, event } => {
                self.inlets.trial = None;
                self.handle(Input::Event(*event));
                self.handle(Input::Settled { key: put, answered: Answered::Done(None) });
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.answer(VecDeque::from([input]));
    }

    /// Some actions are answered at once; the answers are inputs again.
    fn answer(&mut self, mut inputs: VecDeque<Input>) {
        while let Some(input) = inputs.pop_front() {
            let now = self.outlets.clock.now();
            self.outlets.order_times.heard(&input, now.mono, &self.outlets.vitals.command);
            let left = std::cell::Cell::new(false);
            let Self { inlets, outlets, uplink, random, .. } = self;
            uplink.handle(now, input, &mut |bytes| fill(random, bytes), &mut |action| {
                left.set(left.get() | matches!(action, Action::Left));
                perform(now, action, &mut inlets.link, outlets, &mut inputs);
            });
            if left.get() {
                self.phase = Phase::Left;
            }
        }
    }

    fn stop(&mut self) {
        if matches!(self.phase, Phase::Running) {
            tracing::info!("stopping: commands are refused, doors go to their safe state");
            self.outlets.watchdog.stopping();
            self.handle(Input::RefuseCommands);
            self.handle(Input::Event(EventBody::NodeStopping {}));
            self.outlets.doors.begin_stop();
            self.phase = Phase::StoppingDoors(Instant::now() + THREAD_ENDS_WITHIN);
        }
    }

    /// As a stop, but what the next run drives as well stays as it is, and systemd hears of no stop.
    fn begin_anew(&mut self, end: End, pause: Pause) {
        if matches!(self.phase, Phase::Running) {
            tracing::info!(?end, "the daemon begins anew, in the same process: commands are refused");
            self.end = end;
            self.outlets.watchdog.beginning_anew();
            self.handle(Input::RefuseCommands);
            self.handle(Input::Event(EventBody::NodeStopping {}));
            self.outlets.doors.begin_pause(pause);
            self.phase = Phase::StoppingDoors(Instant::now() + THREAD_ENDS_WITHIN);
        }
    }

    /// What is looked at each time round.
    fn housekeeping(&mut self, round: bool) {
        let notes = self.outlets.clock.take_notes();
        if !notes.is_empty() {
            self.handle(Input::Clock(notes));
        }
        if round {
            self.round_at = Instant::now() + ROUND;
            let now = self.outlets.clock.now();
            self.outlets.ledger.hand_on(now);
            self.outlets.mirror.hand_on();
            self.outlets.vitals.commits_waiting.store(self.outlets.ledger.waiting() as u64, Relaxed);
            let uplink = &self.uplink;
            if let Some(telemetry) =
                self.outlets.reporter.due(|| (uplink.gauges(), uplink.session().outcomes_dropped()))
            {
                self.handle(Input::Telemetry(Box::new(telemetry)));
            }
            self.handle(Input::Alarms(self.outlets.vitals.alarms.load(Relaxed)));
            if Instant::now() >= self.vouchers_at {
                self.vouchers_at = Instant::now() + VOUCHERS_EVERY;
                self.outlets.clock.look_for_vouchers();
            }
        }
        if self.inlets.head.borrow().seq >= self.inlets.told_with {
            self.inlets.told_with = u64::MAX;
            self.outlets.clerk.told();
        }
        let (now, keys) = (self.outlets.clock.now().mono, self.uplink.session().keys());
        let over = |trial: &RunningTrial| match &trial.kid {
            Some(kid) if keys.is_revoked(kid) => Some(RollbackCause::KeyRevoked),
            _ => (trial.until <= now).then_some(RollbackCause::NotConfirmed),
        };
        if let Some(cause) = self.inlets.trial.as_ref().and_then(over)
            && let Some(trial) = self.inlets.trial.take()
        {
            self.begin_anew(End::TrialOver(cause), trial.back);
        }
        let enforced = *self.outlets.doors.enforced.borrow();
        self.outlets.watchdog.look(enforced);
        match self.phase {
            Phase::Running if self.outlets.doors.ended() => {
                tracing::error!("the doors' thread ended by itself: stopping so that systemd starts anew");
                self.stop();
            }
            Phase::StoppingDoors(until) if self.outlets.doors.ended() || Instant::now() >= until => {
                self.phase = Phase::Leaving(Instant::now() + GOODBYE_WITHIN + STOP_POLL);
                self.handle(Input::Leave);
            }
            Phase::Leaving(until) if Instant::now() >= until => self.phase = Phase::Left,
            _ => {}
        }
    }
}

fn fill(random: &SystemRandom, bytes: &mut [u8]) {
    // The kernel's generator was asked at start and cannot fail after that (getrandom(2)).
    if random.fill(bytes).is_err() {
        tracing::error!("the kernel gave no randomness");
    }
}

fn perform(now: Now, action: Action, link: &mut impl Link, outlets: &mut Outlets, answers: &mut VecDeque<Input>) {
    match action {
        Action::Order(order) => {
            let ticket = order.ticket;
            outlets.order_times.ordered(ticket, now.mono);
            if outlets.doors.orders.try_send(order).is_err() {
                let progress = Progress::Refused(Refusal::Overloaded, "the doors take no more orders".to_owned());
                let report = OrderReport { ticket, at: now.wall, progress };
                answers.push_back(Input::Doors(DoorNews::Report(report)));
            }
        }
        Action::Errand(errand) => {
            let ticket = errand.ticket;
            if !outlets.clerk.take(errand) {
                let detail =
                    serde_json::json!({ "message": "the node has other questions to answer first: ask again" });
                let answered = Answered::Refused(Refusal::Overloaded, detail);
                answers.push_back(Input::Answer(Answer { ticket, at: now.wall, answered }));
            }
        }
        Action::Link(order) => link.order(order),
        Action::Commit(commit) => {
            let given_up = outlets.ledger.commit(now, commit);
            answers.extend(given_up.into_iter().map(|report| Input::Doors(DoorNews::Report(report))));
        }
        Action::Mirror(input) => {
            let asked = input.asked();
            if outlets.mirror.send(input) {
                return;
            }
            if let Some(ticket) = asked {
                answers.push_back(Input::Mirror(mirror::busy(ticket)));
            } else {
                // The mirror asks again for whatever it misses.
                tracing::warn!("the permission mirror is busy: a message for it was dropped");
            }
        }
        Action::ReadEvents { from, bytes_max } => {
            let events = outlets.events.read(from, bytes_max).unwrap_or_else(|error| {
                tracing::error!(%error, from, "events cannot be read");
                Vec::new()
            });
            answers.push_back(Input::Events { from, events });
        }
        Action::ReadLive { from, bytes_max } => {
            let events = outlets.events.read(from, bytes_max).unwrap_or_else(|error| {
                tracing::error!(%error, from, "events cannot be read");
                Vec::new()
            });
            answers.push_back(Input::LiveEvents { from, events });
        }
        Action::ReadEventHash { seq } => {
            let hash = outlets.events.hash_of(seq).unwrap_or_else(|error| {
                tracing::error!(%error, seq, "an event's hash cannot be read");
                None
            });
            answers.push_back(Input::EventHash { seq, hash });
        }
        Action::Permissions(permissions) => {
            let version = permissions.version();
            tracing::info!(epoch = version.epoch, generation = version.generation, "a permission set is in force");
            outlets.doors.permissions.send_replace(permissions);
        }
        Action::Cloud(cloud) => drop(outlets.doors.cloud.send_replace(cloud)),
        Action::CloudTime { iat, asked_at } => outlets.clock.handle_beat(iat, asked_at),
        Action::Notice(text) => tracing::info!("{text}"),
        Action::Left => {}
    }
}

fn health_event(health: &StoreHealth) -> EventBody {
    let store = "ledger".to_owned();
    match health {
        StoreHealth::Healthy | StoreHealth::Openable => EventBody::StorageRestored { store },
        StoreHealth::Failing { error, .. } => EventBody::StorageFailed { store, detail: error.to_string() },
    }
}
