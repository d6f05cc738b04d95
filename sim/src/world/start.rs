//! Birth and death of the daemon: as `runtime::run` starts it, as SIGKILL or a power cut ends it. Owns what
//! outlives it; must never carry anything over in memory.

use std::{sync::Arc, time::Duration};

use latchd::{
    domain::{
        cloud::{CloudState, Confirmation},
        event::{Event, EventBody},
        ids::Id,
        time::Now,
    },
    gateway::{
        clock_trust::ClockJudge,
        controller::{Controller, Lasting, Setup, machines},
        desk::{Desk, DeskConfig, EditsAtStart},
        fieldbus::Bus,
        kv::Reopen as _,
        ledger::{Ledger, LedgerLimits, Recovered},
        mirror::{MirrorConfig, MirrorOpened, RootAttest, Source},
        opening,
        reports::Places,
        session::{Restored, Session, SessionConfig},
        uplink::Uplink,
    },
    wire::{canonical::hex, keys::RootKey},
};

use super::{
    Lane, Options, What, World,
    configuration::{Configuration, End},
    faults::Faults,
    field::Field,
    life::Life,
    mistake::Shim,
    net::Net,
    node::{Node, NodeEvent, Phase},
    node_bus::BusLoop,
    node_stores::{LedgerLoop, MirrorLoop},
    oracle::Oracle,
    rng::Rng,
    set::{
        Sets,
        names::{credential_key, zone},
    },
    site::{NODE, ORG, Site, id},
    trace::Trace,
};
use crate::{
    cloud::{
        Cloud, ISSUER,
        keys::{CloudKeys, signer_from},
    },
    disk::{SimDisk, copy::MemCopy},
};

const EVENTS_MAX: u64 = 1_000_000;

/// What survives the daemon.
pub struct Disks {
    pub ledger: SimDisk,
    pub mirror: SimDisk,
    pub copy: MemCopy,
}

impl World {
    pub(super) fn new(options: Options) -> World {
        let disks = Disks { ledger: SimDisk::new(), mirror: SimDisk::new(), copy: MemCopy::default() };
        let site = Site::new();
        let mut rng = Rng::new(options.seed);
        let signer = signer_from(options.seed, 100);
        let cloud = Cloud::new(ORG, NODE, signer.public_key(), CloudKeys::from_seed(options.seed));
        let faults = Faults::of_seed(&mut rng);
        let mut world = World {
            now: latchd::domain::time::Mono::from_millis(1_000),
            queue: std::collections::BTreeMap::new(),
            next_event: 0,
            lanes: std::collections::BTreeMap::new(),
            events: 0,
            rng,
            trace: Trace::new(options.print),
            field: Field::new(&site),
            net: Net::default(),
            cloud,
            sets: Sets::default(),
            life: Life::new(options.seed),
            faults,
            configuration: Configuration::new(disks.copy.clone(), options.mistake),
            disks,
            node: None,
            run: 0,
            clock_offset_ms: 0,
            ntp: true,
            oracle: Oracle::new(&site),
            shim: Shim::new(options.mistake),
            healing: false,
            counts: std::collections::BTreeMap::new(),
            site,
        };
        let keys = world.cloud.key_set(world.wall());
        world.cloud_sends(keys);
        world.first_set();
        world.post(Duration::from_millis(1), What::StartNode);
        world.post(Duration::from_millis(2_500), What::Act);
        world.post(Duration::from_millis(4_000), What::Fault);
        world
    }

    fn random_id(&mut self) -> Id {
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        id(&hex(&bytes))
    }

    /// A start; a disk that cannot be read yet makes systemd try again.
    pub(super) fn start_node(&mut self) {
        if self.node.is_some() {
            return;
        }
        self.run += 1;
        self.disks.copy.fuse.mend();
        let beginning = self.begin_configuration();
        let (boot, log_id) = (self.random_id(), self.random_id());
        if self.disks.ledger.open().reopen().is_err() {
            return self.start_failed("ledger");
        }
        if self.disks.mirror.open().reopen().is_err() {
            return self.start_failed("mirror");
        }
        let limits = LedgerLimits { events_max: EVENTS_MAX };
        let opened = Ledger::open(self.disks.ledger.open(), log_id, limits);
        let Ok((ledger, recovered)) = opened else { return self.start_failed("ledger") };
        let last_beat = recovered.last_beat.map(|beat| beat.at);
        let (mono, wall) = (self.now, self.node_wall());
        let mut judge = ClockJudge::new(mono, wall, self.vouchers(), recovered.clock_floor, last_beat);
        let mut notes = Vec::new();
        let now = judge.observe(mono, wall, &mut notes);
        let audience = self.cloud.topics.audience().to_owned();
        let Ok(root) = RootKey::from_jwk(self.cloud.keys.root_jwk().as_bytes()) else { return };
        let config = MirrorConfig {
            audience: audience.clone(),
            topology: self.site.topology(),
            zone: zone(),
            seed: self.life.seed,
        };
        let attest = Arc::new(RootAttest { root: root.clone(), audience: audience.clone() });
        let Ok((mirror, opened)) = self.open_mirror(&config, &attest, now) else { return self.start_failed("mirror") };
        let run = self.run;
        self.line(format_args!(
            "node: run {run} boot {boot} head {} set {:?} clean {}",
            recovered.head.seq,
            opened.version.map(|version| version.generation),
            recovered.clean
        ));
        self.count("starts");
        let (restored, _) = Restored::from_stores(&recovered, &opened, &root, &audience);
        let set = restored.set;
        let session_config = SessionConfig {
            org: id(ORG),
            node: id(NODE),
            boot: boot.clone(),
            version: "simulated".to_owned(),
            issuer: ISSUER.to_owned(),
            beat_every: Duration::from_secs(4),
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(4),
        };
        let session = Session::new(session_config, root, signer_from(self.life.seed, 100), restored, now)
            .with_places(Places::of(&self.site.topology()));
        let newest = ledger.reader().read(recovered.head.seq, 1).ok().and_then(|mut events| events.pop());
        let newest = newest.and_then(|sealed| serde_json::from_slice::<Event>(&sealed.json).ok());
        let untold_set = opening::is_untold(newest.as_ref(), &set).then_some(opened.issued_at);
        let desk_config = DeskConfig {
            boot: boot.clone(),
            issuer: ISSUER.to_owned(),
            topology: Arc::new(self.site.topology()),
            // Small in some seeds, so that entries have to be dropped.
            commands_per_operator_max: [8, 24, 200][(self.life.seed % 3) as usize],
            clock_skew: Duration::from_secs(5),
            on_trial: beginning.on_trial(),
            edits: EditsAtStart::new(opened.edits.clone(), &recovered.kept).after_set(untold_set),
            delay_max: Duration::from_secs(3600),
            no_earlier: last_beat.map_or(recovered.clock_floor, |beat| beat.max(recovered.clock_floor)),
            ledger_withheld: None,
        };
        let permissions = opened.permissions.clone();
        let (desk, first) =
            Desk::new(desk_config, permissions.clone(), recovered.commands.clone(), recovered.forget_floor, now);
        let cloud = CloudState {
            connected: false,
            last_beat: recovered.last_beat.map(|beat| Confirmation::Before(beat.at)),
            mirror_lost: !permissions.is_present(),
        };
        let lasting = Lasting { doors: recovered.doors.clone(), kept: recovered.kept.clone() };
        let spare_cards = Arc::new(self.shim.spare_cards(&opened.spare_cards));
        let setup = Setup {
            doors: self.site.doors.clone(),
            readers: self.site.readers.clone(),
            boards: &self.site.boards,
            topology: Arc::new(self.site.topology()),
            credential_key: credential_key(),
            spare_cards: spare_cards.clone(),
            permissions: permissions.clone(),
            cloud,
            lasting: self.shim.lasting(lasting.clone()),
            machines: machines(&self.site.field, &[]),
        };
        let (controller, step) = Controller::new(setup, now);
        let mut begin = start_events(&boot, &recovered, &opened);
        begin.extend(opening::untold(newest.as_ref(), &set, &opened));
        begin.extend(beginning.events.iter().cloned());
        let told_with = recovered.head.seq + begin.len() as u64;
        self.oracle.cloud_known(cloud);
        self.oracle.edits_found(&mut self.sets, &opened);
        let revision = opened.overlay.revision;
        self.sets.edits.know(&opened.permissions, revision);
        self.sets.prepare(set.generation, revision);
        self.oracle.started((&self.site, &self.sets), now, &recovered, set, &opened);
        let in_force = opened.version;
        self.node = Some(Node {
            boot,
            phase: Phase::Running,
            judge,
            notes,
            doors: 0,
            desired: controller.desired().to_vec(),
            controller,
            buses: self.site.buses.iter().map(|plan| BusLoop::new(Bus::new(plan.clone()))).collect(),
            restored: lasting,
            spare_cards,
            cloud,
            set: (set, permissions),
            revision,
            doors_due: None,
            stopping: false,
            pausing: false,
            doors_ended: false,
            stalled_until: self.now,
            backlog: std::collections::VecDeque::new(),
            uplink: Uplink::new(session, desk, set),
            uplink_due: None,
            connection: 0,
            trial: beginning.trial.clone(),
            end: End::Stopped,
            told_with,
            ledger: LedgerLoop::new(ledger),
            mirror: MirrorLoop::new(mirror, config, attest, (in_force, opened.overlay)),
        });
        self.shim.doors_started();
        let commit = opening::commit(now, &set, begin);
        self.oracle.uplink_commit(&commit);
        self.send_node(Lane::UplinkToLedger, NodeEvent::Commit(commit));
        self.oracle.first_step(&self.site, self.now, &step, self.node.as_ref().map(|node| &node.controller));
        self.doors_apply(step);
        for bus in 0..self.site.buses.len() {
            self.wake_bus(bus, Duration::from_micros(50));
        }
        self.begin_uplink(now, first);
        for settled in beginning.settled() {
            self.uplink(settled);
        }
        if beginning.trial.is_some() {
            self.post_node(Duration::ZERO, NodeEvent::LookAtTrial);
        }
        self.mirror_alarm();
        self.post_node(Duration::from_secs(30), NodeEvent::LookForVouchers);
    }

    fn begin_uplink(&mut self, now: Now, first: latchd::gateway::desk::DeskStep) {
        let mut actions = Vec::new();
        let Self { node, rng, .. } = self;
        let Some(node) = node else { return };
        node.uplink.begin(now, first, &mut |bytes| rng.fill(bytes), &mut |action| actions.push(action));
        let mut answers = std::collections::VecDeque::new();
        for action in actions {
            self.perform(now, action, &mut answers);
        }
        for answer in answers {
            self.uplink(answer);
        }
        self.uplink(latchd::gateway::uplink::Input::Timeout);
    }

    fn start_failed(&mut self, what: &'static str) {
        self.line(format_args!("node: the {what} cannot be opened"));
        self.count("starts failed");
        self.cannot_run(&format!("the {what} cannot be opened"));
        self.post(Duration::from_secs(1), What::StartNode);
    }

    /// SIGKILL and power cut in one: memory is gone, and of what was not synced only a beginning is left.
    pub(super) fn crash(&mut self, when: &str) {
        if self.node.take().is_none() {
            return;
        }
        self.line(format_args!("node: crash {when}"));
        self.count("crashes");
        let rng = &mut self.rng;
        self.disks.ledger.crash(|unsynced| rng.index(unsynced + 1));
        self.disks.mirror.crash(|unsynced| rng.index(unsynced + 1));
        self.configuration_dies();
        self.died(false);
    }

    /// The end of an ordered stop.
    pub(super) fn node_ends(&mut self, clean: bool) {
        self.line(format_args!("node: ended, clean {clean}"));
        let end = self.node.as_ref().map_or(End::Stopped, |node| node.end);
        self.node = None;
        if !clean {
            let rng = &mut self.rng;
            self.disks.ledger.crash(|unsynced| rng.index(unsynced + 1));
        }
        let goes_on = self.run_ended(end);
        self.died(goes_on);
    }

    /// `goes_on`: in the same process.
    fn died(&mut self, goes_on: bool) {
        self.oracle.died();
        self.node_vanished();
        let delay = if goes_on {
            self.rng.millis(1, 60)
        } else if self.rng.permille(200) {
            self.rng.millis(2_000, 9_000)
        } else {
            self.rng.millis(30, 900)
        };
        self.post(delay, What::StartNode);
    }
}

/// What the start has to tell.
fn start_events(boot: &Id, recovered: &Recovered, opened: &MirrorOpened) -> Vec<EventBody> {
    let version = "simulated".to_owned();
    let mut events = vec![EventBody::NodeStarted { boot: boot.clone(), version, clean: recovered.clean }];
    events
        .extend(recovered.notes.iter().map(|note| EventBody::LogGap { lost: note.lost, detail: note.detail.clone() }));
    if let Source::Lost(floor) = opened.source {
        let detail = format!("the permission set of generation {} is lost", floor.generation);
        events.push(EventBody::StorageFailed { store: "mirror".to_owned(), detail });
    }
    events
}
