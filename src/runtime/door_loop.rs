//! The loop of the doors: waits for one input, hands it to the controller, hands out what followed.
//! Owns the order of hand-out (relays first, then the ledger, then the cloud); must never wait for a
//! disk or for the cloud. Invariant: what the relays are told is always the controller's whole and
//! newest wish, so that nothing lost here can leave a door open.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    domain::{
        door::DurableDoor,
        fieldbus::BusReport,
        ids::{BoardIx, BusIx, DoorIx, Id},
        order::{Order, OrderReport},
        outputs::Desired,
        permission::Permissions,
        time::{Mono, Now},
    },
    gateway::{
        controller::{Controller, Input, Step},
        step::{Commit, LedgerWrite},
        uplink::DoorNews,
    },
    runtime::{clock::Clock, heartbeat::Heartbeat, ledger_queue::LedgerQueue, reader_loop::ReaderReport},
};

/// The loop goes round at least this often: for the watchdog and for whatever could not be handed out.
const ROUND: Duration = Duration::from_millis(500);
/// How long a stop may take: every door in its safe state and read back, or given up.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// All that can wake the loop. Bounded; the fields first are served first.
pub struct Inputs<'a> {
    /// Full: the bus waits, nothing is lost.
    pub buses: mpsc::Receiver<(BusIx, BusReport)>,
    /// Full: the reader waits.
    pub readers: mpsc::Receiver<ReaderReport>,
    /// Full: the desk refuses as overloaded.
    pub orders: &'a mut mpsc::Receiver<Order>,
    /// The newest set only.
    pub permissions: &'a mut watch::Receiver<Arc<Permissions>>,
    pub stop: &'a mut watch::Receiver<bool>,
}

enum Wake {
    Input(Input),
    Round,
    Closed,
}

impl Inputs<'_> {
    /// The only place that waits.
    async fn next_event(&mut self, clock: &Clock, controller: &Controller, stopping: Option<Mono>) -> Wake {
        let patience = match controller.next_deadline().into_iter().chain(stopping).min() {
            Some(due) => due.since(clock.now().mono).min(ROUND),
            None => ROUND,
        };
        tokio::select! {
            biased;
            report = self.buses.recv() => match report {
                Some((bus, report)) => Wake::Input(Input::Bus(bus, report)),
                None => Wake::Closed,
            },
            Some(report) = self.readers.recv() => Wake::Input(match report {
                ReaderReport::Card(read) => Input::Card(read),
                ReaderReport::Lost(reader, detail) => Input::ReaderLost(reader, detail),
                ReaderReport::Restored(reader) => Input::ReaderRestored(reader),
            }),
            Ok(()) = self.stop.changed(), if stopping.is_none() => Wake::Input(Input::Stop),
            Ok(()) = self.permissions.changed() => {
                Wake::Input(Input::Permissions(self.permissions.borrow_and_update().clone()))
            }
            Some(order) = self.orders.recv() => Wake::Input(Input::Order(order)),
            () = tokio::time::sleep(patience) => Wake::Round,
        }
    }
}

/// Where the loop hands things to.
pub struct Outlets {
    /// Of all buses: the newest wish, complete.
    pub desired: watch::Sender<Rc<[Desired]>>,
    pub ledger: LedgerQueue,
    pub cloud: mpsc::Sender<DoorNews>,
    pub heartbeat: Heartbeat,
    /// True once every board has been heard of (up or lost): the doors are enforced.
    pub enforced: watch::Sender<bool>,
}

pub struct DoorLoop<'a> {
    clock: Clock,
    outlets: Outlets,
    /// Boards of which nothing has been heard yet, neither up nor lost.
    unheard: BTreeSet<BoardIx>,
    /// Reports and states that the cloud loop had no room for.
    reports_waiting: VecDeque<OrderReport>,
    states_waiting: BTreeSet<DoorIx>,
    /// What a restarted loop begins with: the durable part of each door as last handed to the ledger.
    restored: &'a mut BTreeMap<Id, DurableDoor>,
}

impl<'a> DoorLoop<'a> {
    pub fn new(
        clock: Clock,
        outlets: Outlets,
        boards: impl Iterator<Item = BoardIx>,
        restored: &'a mut BTreeMap<Id, DurableDoor>,
    ) -> DoorLoop<'a> {
        DoorLoop {
            clock,
            outlets,
            unheard: boards.collect(),
            reports_waiting: VecDeque::new(),
            states_waiting: BTreeSet::new(),
            restored,
        }
    }

    /// Runs until the doors are in their safe state after a stop or have had [`STOP_WITHIN`] for it, or the
    /// buses are gone.
    pub async fn run(&mut self, mut controller: Controller, first: Step, inputs: &mut Inputs<'_>) {
        self.apply(self.clock.now(), &controller, first).await;
        // When a stop is given up on.
        let mut stopping: Option<Mono> = None;
        while !(stopping.is_some() && controller.stopped()) {
            let wake = inputs.next_event(&self.clock, &controller, stopping).await;
            self.outlets.heartbeat.beat();
            let now = self.clock.now();
            if stopping.is_some_and(|until| until <= now.mono) {
                let doors: Vec<&str> = controller.not_stopped().map(|door| door.as_str()).collect();
                tracing::error!(doors = doors.join(", "), "stopped without a read-back of the safe state");
                return;
            }
            let step = match wake {
                Wake::Input(input) => {
                    if matches!(input, Input::Stop) {
                        stopping = Some(now.mono + STOP_WITHIN);
                    }
                    if let Input::Bus(_, BusReport::BoardUp { board } | BusReport::BoardLost { board, .. }) = &input {
                        self.unheard.remove(board);
                    }
                    controller.handle(now, input)
                }
                Wake::Round => {
                    self.hand_out_leftovers(now, &controller);
                    controller.handle(now, Input::Timeout)
                }
                Wake::Closed => return,
            };
            self.apply(now, &controller, step).await;
        }
    }

    /// Relays first: the buses get their turn before anything is written down or told.
    async fn apply(&mut self, now: Now, controller: &Controller, step: Step) {
        let desired = controller.desired();
        let changed = self.outlets.desired.send_if_modified(|last| {
            let changed = **last != *desired;
            if changed {
                *last = Rc::from(desired);
            }
            changed
        });
        for report in step.reports {
            self.report(report);
        }
        if changed {
            tokio::task::yield_now().await;
        }
        self.commit(now, step.commit);
        self.states_waiting.extend(step.changed);
        self.publish_states(controller);
        if self.unheard.is_empty() && !*self.outlets.enforced.borrow() {
            self.outlets.enforced.send_replace(true);
        }
    }

    fn commit(&mut self, now: Now, commit: Commit) {
        for write in &commit.writes {
            if let LedgerWrite::Door { door, state } = write {
                self.restored.insert(door.clone(), state.clone());
            }
        }
        for report in self.outlets.ledger.commit(now, commit) {
            self.report(report);
        }
    }

    fn report(&mut self, report: OrderReport) {
        self.reports_waiting.push_back(report);
        self.send_reports();
    }

    /// Bounded by the number of orders that the desk lets be under way.
    fn send_reports(&mut self) {
        while let Some(report) = self.reports_waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(DoorNews::Report(report))) =
                self.outlets.cloud.try_send(DoorNews::Report(report))
            {
                self.reports_waiting.push_front(report);
                return;
            }
        }
    }

    /// Latest wins: a door that changed twice while the cloud loop was busy is told of once.
    fn publish_states(&mut self, controller: &Controller) {
        while let Some(door) = self.states_waiting.pop_first() {
            let Some(status) = controller.status(door) else { continue };
            if self.outlets.cloud.try_send(DoorNews::Status(Box::new(status.clone()))).is_err() {
                self.states_waiting.insert(door);
                return;
            }
        }
    }

    fn hand_out_leftovers(&mut self, now: Now, controller: &Controller) {
        self.outlets.ledger.hand_on(now);
        self.send_reports();
        self.publish_states(controller);
    }
}
