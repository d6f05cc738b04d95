//! The loop of the doors: waits for one input, hands it to the controller, hands out what followed.
//! Owns the order of hand-out (relays first, then the ledger, then the cloud); must never wait for a
//! disk or for the cloud. Invariant: what the relays are told is always the controller's whole and
//! newest wish, so that nothing lost here can leave a door open.

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::{
    adapters,
    domain::{
        cloud::CloudState,
        fieldbus::BusReport,
        ids::{BoardIx, BusIx},
        indication::Indication,
        order::Order,
        outputs::Desired,
        permission::Permissions,
        time::{Mono, Now},
    },
    gateway::{
        controller::{Controller, Input, Lasting, Pause, ReaderNews, Step},
        step::{Commit, Fence},
        uplink::DoorNews,
        vitals::Vitals,
    },
    runtime::{
        clock::Clock,
        control::{Asked, Awaited},
        heartbeat::Heartbeat,
        ledger_queue::LedgerQueue,
        news_queue::NewsQueue,
        reader_loop::ReaderReport,
    },
};

/// How long a stop may take: every door in its safe state and read back, or given up.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The loop goes round at least this often: for the watchdog and for whatever could not be handed out.
const ROUND: Duration = Duration::from_millis(500);

/// All that can wake the loop. Bounded; the fields first are served first.
pub struct Inputs<'a> {
    /// Full: the bus waits, nothing is lost.
    pub buses: mpsc::Receiver<(BusIx, BusReport)>,
    /// Full: the reader waits.
    pub readers: mpsc::Receiver<ReaderReport>,
    /// Full: the desk refuses as overloaded.
    pub orders: &'a mut mpsc::Receiver<Order>,
    /// Full: whoever asks is refused.
    pub installer: &'a mut mpsc::Receiver<Asked>,
    /// The newest set only.
    pub permissions: &'a mut watch::Receiver<Arc<Permissions>>,
    /// The newest only.
    pub cloud: &'a mut watch::Receiver<CloudState>,
    /// The newest only: marks rise.
    pub durable: &'a mut watch::Receiver<Fence>,
    pub going: &'a mut watch::Receiver<Going>,
}

/// Whether the doors go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Going {
    #[default]
    On,
    Stop,
    Pause(Pause),
}

impl Going {
    fn end(&self) -> Option<Input> {
        match self {
            Going::On => None,
            Going::Stop => Some(Input::Stop),
            Going::Pause(pause) => Some(Input::Pause(pause.clone())),
        }
    }
}

enum Wake {
    Input(Input),
    Installer(Asked),
    Round,
    Closed,
}

impl Inputs<'_> {
    /// The only place that waits.
    async fn next_event(&mut self, clock: &Clock, controller: &Controller, stop_by: Option<Mono>) -> Wake {
        let due = controller.next_deadline().into_iter().chain(stop_by).min();
        let patience = due.map_or(ROUND, |due| due.since(clock.now().mono).min(ROUND));
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
                ReaderReport::Tamper(reader, active) => Input::Reader(reader, ReaderNews::Tamper(active)),
                ReaderReport::Power(reader, failed) => Input::Reader(reader, ReaderNews::Power { failed }),
                ReaderReport::Installing(reader, uid, minutes) => {
                    Input::Reader(reader, ReaderNews::Installing { uid, minutes })
                }
                ReaderReport::LineSet(reader, uid, address, baud) => {
                    Input::Reader(reader, ReaderNews::LineSet { uid, address, baud })
                }
                ReaderReport::KeySet(reader) => Input::Reader(reader, ReaderNews::KeySet),
                ReaderReport::Distrusted(reader, detail) => Input::Reader(reader, ReaderNews::Distrusted(detail)),
            }),
            // Not `changed`: a loop that starts again during a stop must stop as well.
            Ok(going) = self.going.wait_for(|going| *going != Going::On), if stop_by.is_none() => {
                going.end().map_or(Wake::Round, Wake::Input)
            }
            Ok(()) = self.durable.changed() => Wake::Input(Input::Durable(*self.durable.borrow_and_update())),
            Ok(()) = self.permissions.changed() => {
                Wake::Input(Input::Permissions(self.permissions.borrow_and_update().clone()))
            }
            Ok(()) = self.cloud.changed() => Wake::Input(Input::Cloud(*self.cloud.borrow_and_update())),
            Some(order) = self.orders.recv() => Wake::Input(Input::Order(order)),
            Some(asked) = self.installer.recv() => Wake::Installer(asked),
            () = tokio::time::sleep(patience) => Wake::Round,
        }
    }
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// No bus loop is left: without one no door can be driven.
    BusesGone,
}

/// Where the loop hands things to.
pub struct Outlets<'a> {
    /// Of all buses: the newest wish, complete.
    pub desired: watch::Sender<Rc<[Desired]>>,
    /// What every reader shows, the newest.
    pub indications: watch::Sender<Rc<[Indication]>>,
    /// Outlives the loop: what waits in it must not be lost with a loop that failed.
    pub ledger: &'a mut LedgerQueue,
    pub cloud: mpsc::Sender<DoorNews>,
    pub heartbeat: Heartbeat,
    pub vitals: Arc<Vitals>,
    /// True once every board has been heard of (up or lost): the doors are enforced.
    pub enforced: watch::Sender<bool>,
}

pub struct DoorLoop<'a> {
    clock: Clock,
    outlets: Outlets<'a>,
    /// Boards of which nothing has been heard yet, neither up nor lost.
    unheard: BTreeSet<BoardIx>,
    news: NewsQueue,
    stop_within: Duration,
    awaited: Awaited,
    /// Of the indications that were handed out last.
    shown: u64,
    /// What a restarted loop begins with: the durable part of each door as last handed to the ledger.
    restored: &'a mut Lasting,
}

impl<'a> DoorLoop<'a> {
    pub fn new(
        clock: Clock,
        outlets: Outlets<'a>,
        boards: impl Iterator<Item = BoardIx>,
        restored: &'a mut Lasting,
        restarted: bool,
    ) -> DoorLoop<'a> {
        DoorLoop {
            clock,
            unheard: boards.collect(),
            news: NewsQueue::new(outlets.cloud.clone(), restarted),
            outlets,
            stop_within: STOP_WITHIN,
            awaited: Awaited::default(),
            shown: 0,
            restored,
        }
    }

    /// Runs until the doors are in their safe state after a stop, or can no longer be brought there in
    /// time, or the buses are gone.
    pub async fn run(&mut self, mut controller: Controller, first: Step, inputs: &mut Inputs<'_>) -> Ended {
        self.apply(self.clock.now(), &controller, first).await;
        let mut stop_by: Option<Mono> = None;
        while !(stop_by.is_some() && controller.stopped()) {
            let wake = inputs.next_event(&self.clock, &controller, stop_by).await;
            self.outlets.heartbeat.beat();
            let now = self.clock.now();
            if stop_by.is_some_and(|by| by <= now.mono) {
                for door in controller.not_stopped() {
                    tracing::warn!(door = %door, "the safe state could not be confirmed before the stop");
                }
                break;
            }
            let step = match wake {
                Wake::Input(input) => {
                    if matches!(input, Input::Stop | Input::Pause(_)) {
                        stop_by = Some(now.mono + self.stop_within);
                    }
                    if let Input::Bus(_, BusReport::BoardUp { board } | BusReport::BoardLost { board, .. }) = &input {
                        self.unheard.remove(board);
                    }
                    let is_card = matches!(&input, Input::Card(_) | Input::Bus(_, BusReport::Card { .. }));
                    let step = controller.handle(now, input);
                    if is_card {
                        self.outlets.vitals.decision.record(adapters::clock::mono().since(now.mono));
                    }
                    step
                }
                Wake::Installer(asked) => controller.handle(now, Input::Installer(self.awaited.take(asked))),
                Wake::Round => {
                    self.hand_out_leftovers(now, &controller);
                    controller.handle(now, Input::Timeout)
                }
                Wake::Closed => return Ended::BusesGone,
            };
            self.apply(now, &controller, step).await;
        }
        Ended::Stopped
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
        let (indications, version) = controller.indications();
        if std::mem::replace(&mut self.shown, version) != version {
            self.outlets.indications.send_replace(Rc::from(indications));
        }
        self.news.closed(step.closed);
        self.news.reports(step.reports);
        // Before anything that waits: should a bus fail meanwhile, what was done is still written down.
        self.keep(step.commit);
        if changed {
            tokio::task::yield_now().await;
        }
        let given_up = self.outlets.ledger.settle(now);
        self.news.reports(given_up);
        self.news.changed(step.changed, controller);
        self.news.emergency_uses(step.emergency_uses, controller);
        for (number, answer) in step.answers {
            self.awaited.answer(number, answer);
        }
        if self.unheard.is_empty() && !*self.outlets.enforced.borrow() {
            self.outlets.enforced.send_replace(true);
        }
    }

    fn keep(&mut self, commit: Commit) {
        for write in &commit.writes {
            self.restored.note(write);
        }
        self.outlets.ledger.keep(commit);
    }

    fn hand_out_leftovers(&mut self, now: Now, controller: &Controller) {
        self.outlets.ledger.hand_on(now);
        self.news.hand_on(controller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapters::store::{SledKv, ledger_thread::LedgerThread},
        domain::{
            door::{DoorConfig, Relock, StartPolicy, StopPolicy},
            ids::Id,
            ids::OutputRef,
            outputs::Level,
            time::Wall,
        },
        gateway::controller::Setup,
        gateway::ledger::{Ledger, LedgerLimits},
        wire::token::CredentialKey,
    };

    fn front() -> DoorConfig {
        DoorConfig {
            id: Id::new("front").unwrap(),
            lock: OutputRef { board: BoardIx(0), output: 0 },
            unlocked_level: Level::Energised,
            contact: None,
            rex: None,
            fire: None,
            dwell: Duration::from_secs(5),
            dwell_extended: Duration::from_secs(5),
            relock: Relock::AfterDwell,
            open_time: Duration::from_secs(30),
            open_time_extended: Duration::from_secs(30),
            pre_alarm: Duration::ZERO,
            at_start: StartPolicy::Lock,
            at_stop: StopPolicy::Lock,
            momentary_only: false,
        }
    }

    /// Runs a loop over one door whose board never answers, with room for `news_max` news, until it ends.
    async fn run(restarted: bool, news_max: usize, meanwhile: impl AsyncFnOnce(&mut Ends)) -> Ended {
        let directory = tempfile::tempdir().unwrap();
        let store = SledKv::open(&directory.path().join("ledger.sled")).unwrap();
        let (ledger, _) = Ledger::open(store, Id::new("log").unwrap(), LedgerLimits { events_max: 100 }).unwrap();
        let ledger = LedgerThread::spawn(ledger, drop).unwrap();
        let clock = Clock::start(Wall::EPOCH, None);
        let permissions = Arc::new(Permissions::none());
        let (controller, first) = Controller::new(
            Setup {
                doors: vec![front()],
                readers: vec![],
                boards: &[],
                topology: Arc::default(),
                credential_key: CredentialKey::new(&[7; 32]),
                spare_cards: Arc::default(),
                permissions: permissions.clone(),
                cloud: CloudState::default(),
                lasting: Lasting::default(),
                machines: Vec::new(),
            },
            clock.now(),
        );
        let (reports, buses) = mpsc::channel(4);
        let (_cards, readers) = mpsc::channel(4);
        let (_orders, mut orders) = mpsc::channel(4);
        let (_asked, mut installer) = mpsc::channel(4);
        let (_permissions, mut permissions) = watch::channel(permissions);
        let (_durable, mut durable) = watch::channel(Fence::default());
        let (_cloud_state, mut cloud_in) = watch::channel(CloudState::default());
        let (going, mut going_in) = watch::channel(Going::On);
        let (cloud, news) = mpsc::channel(news_max);
        let mut queue = LedgerQueue::new(ledger.handle());
        let outlets = Outlets {
            desired: watch::channel(Rc::from(controller.desired())).0,
            indications: watch::channel(Rc::from([])).0,
            ledger: &mut queue,
            cloud,
            heartbeat: Heartbeat::default(),
            vitals: Arc::default(),
            enforced: watch::channel(false).0,
        };
        let mut restored = Lasting::default();
        let mut door_loop = DoorLoop::new(clock, outlets, [BoardIx(0)].into_iter(), &mut restored, restarted);
        door_loop.stop_within = Duration::from_millis(30);
        let mut inputs = Inputs {
            buses,
            readers,
            orders: &mut orders,
            installer: &mut installer,
            permissions: &mut permissions,
            cloud: &mut cloud_in,
            durable: &mut durable,
            going: &mut going_in,
        };
        let mut ends = Ends { reports: Some(reports), going, news };
        let (ended, ()) = tokio::join!(door_loop.run(controller, first, &mut inputs), meanwhile(&mut ends));
        let _ = ledger.stop();
        ended
    }

    struct Ends {
        reports: Option<mpsc::Sender<(BusIx, BusReport)>>,
        going: watch::Sender<Going>,
        news: mpsc::Receiver<DoorNews>,
    }

    #[tokio::test]
    async fn a_stop_ends_in_time_although_a_board_that_is_lost_confirms_nothing() {
        let ended = run(false, 8, async |ends| {
            ends.going.send_replace(Going::Stop);
        });
        let ended = ended.await;
        assert_eq!(ended, Ended::Stopped);
    }

    #[tokio::test]
    async fn so_does_a_pause() {
        let ended = run(false, 8, async |ends| {
            ends.going.send_replace(Going::Pause(Pause::default()));
        });
        assert_eq!(ended.await, Ended::Stopped);
    }

    #[tokio::test]
    async fn a_loop_that_starts_again_during_a_stop_stops_as_well() {
        let ended = run(true, 8, async |ends| {
            // The earlier loop has heard it already.
            ends.going.send_if_modified(|going| {
                *going = Going::Stop;
                false
            });
        });
        assert_eq!(ended.await, Ended::Stopped);
    }

    #[tokio::test]
    async fn a_loop_without_buses_says_that_it_did_not_stop_in_order() {
        assert_eq!(run(false, 8, async |ends| drop(ends.reports.take())).await, Ended::BusesGone);
    }

    #[tokio::test]
    async fn a_restart_is_told_first_however_long_the_cloud_loop_had_no_room_for_it() {
        let ended = run(true, 1, async |ends| {
            let first = ends.news.recv().await;
            assert!(matches!(first, Some(DoorNews::Restarted)), "{first:?}");
            // The state of the door follows when there is room again.
            let second = ends.news.recv().await;
            assert!(matches!(second, Some(DoorNews::Status(_))), "{second:?}");
            ends.going.send_replace(Going::Stop);
        });
        assert_eq!(ended.await, Ended::Stopped);
    }
}
