//! One run, from open stores to closed ones: what is started, in which order, and all of it backwards. Owns the wiring;
//! must never let the network, or the lack of it, stand between the start and enforced doors. Invariant: doors are
//! enforced before anything of the cloud begins, and end before the ledger does.

use std::{sync::Arc, time::Instant};

use super::{
    Daemon,
    cloud::{audience, link_config, rolled_back, session_config},
    error::RunError,
    ledger::{LedgerAtStart, LedgerRuns},
    open_files_suffice, random_id,
    stores::Opening,
    told::Told,
};
use crate::{
    adapters::{mqtt::MqttLink, osdp_key_file::OsdpKeyFiles},
    domain::cloud::{CloudState, Confirmation},
    gateway::{
        controller::Lasting,
        departed::{Departed, departed},
        desk::{Desk, DeskConfig, EditsAtStart},
        opening,
        reports::Places,
        session::{Restored, Session},
        step::{Commit, LedgerWrite},
        uplink::{DoorNews, Input, Uplink},
        vitals::Vitals,
    },
    runtime::{
        clerk::{Clerk, Office},
        clock::Clock,
        cloud_loop::{CloudLoop, End, Inlets, Outlets},
        configuration::Begin,
        control::Control,
        doors_thread::{Doors, DoorsSetup},
        figures::{OrderTimes, Reporter, Sources},
        heartbeat::Heartbeats,
        ledger_queue::LedgerQueue,
        mirror_queue::MirrorQueue,
        osdp_keys::KeyKeeper,
        secrets::Secrets,
        watchdog::Watchdog,
    },
};

/// A set of a hundred thousand people takes a slow box most of a minute to compile and write: the watchdog
/// must not end that, for it would only begin anew.
const MIRROR_STILL_MAX: u32 = 60;

/// From open stores to closed ones. Beside the end: what kept the doors' thread from ending.
pub(super) fn run_once(begin: Begin, daemon: &mut Daemon) -> Result<(End, Result<(), String>), RunError> {
    let started = Instant::now();
    let site = begin.site;
    let vitals = Arc::new(Vitals::of(site.buses.len(), site.boards.len()));
    open_files_suffice(&site)?;
    let secrets = Secrets::read(&site)?;
    let boot = random_id()?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, boot = %boot, node = %site.node.id, "starting");

    let mut opening = Opening::new(&site);
    let was_without_ledger = daemon.runs_without_ledger > 0;
    let mut at_start = opening.ledger(&site, daemon, begin.trial.is_some())?;
    let recovered = &at_start.recovered;
    let clock = Clock::start(recovered.clock_floor, recovered.last_beat.map(|beat| beat.at));
    let now = clock.now();
    vitals.alarms_stand(recovered.kept.values());
    let (mut mirror, mut opened) = opening.mirror(&site, &secrets, &clock)?;

    let log_id = recovered.head.log_id.clone();
    let LedgerRuns { thread: ledger, released, durable, idle: _idle } =
        opening.ledger_thread(&mut at_start, &site, daemon, &vitals)?;
    let recovered = &at_start.recovered;
    let (restored, keys) = Restored::from_stores(recovered, &opened, &secrets.root, &audience(&site));
    if let Err(error) = keys {
        tracing::error!(%error, "the stored key set does not verify under the root key");
    }
    let set = restored.set;
    let mut queue = LedgerQueue::new(ledger.handle());
    let Told { events: mut told, untold_set } = opening.told(&at_start, &opened, &set, &boot, was_without_ledger);
    told.extend(begin.events);
    let told_with = recovered.head.seq + told.len() as u64;
    // Reports are held only by orders; there are none yet.
    drop(queue.commit(now, opening::commit(now, &set, told)));
    let Departed { gone, kept } = departed(&site.topology(), &recovered.kept);
    if let Some(kept) = kept {
        drop(queue.commit(now, Commit { writes: vec![LedgerWrite::Kept(kept)], ..Commit::default() }));
    }

    let weaknesses = at_start.weakness().into_iter().collect();
    let LedgerAtStart { events, recovered, withheld, .. } = at_start;

    let key_files = OsdpKeyFiles::new(&site.node.state_dir, secrets.signer.sealing_key("osdp readers"));
    let (key_keeper, osdp_keys) = KeyKeeper::start(&site, &secrets.osdp, key_files)?;
    let mut heartbeats = Heartbeats::default();
    heartbeats.register("ledger", ledger.progress().into());
    heartbeats.register_slow("mirror", mirror.progress().into(), MIRROR_STILL_MAX);
    let (control, installer) = Control::start(&site.node.state_dir, key_keeper.tasks());
    let setup = DoorsSetup {
        site: site.clone(),
        vitals: vitals.clone(),
        clock: clock.clone(),
        ledger: ledger.handle(),
        credential_key: secrets.credential_key,
        spare_cards: Arc::new(std::mem::take(&mut opened.spare_cards)),
        permissions: opened.permissions.clone(),
        weaknesses,
        restored: Lasting { doors: recovered.doors, kept: recovered.kept.clone() },
        cloud: CloudState {
            connected: false,
            last_beat: recovered.last_beat.map(|beat| Confirmation::Before(beat.at)),
            mirror_lost: !opened.permissions.is_present(),
        },
        durable,
        osdp_keys,
        installer,
    };
    let doors = Doors::start(setup, &mut heartbeats)?;

    let last_beat_at = recovered.last_beat.map_or(recovered.clock_floor, |beat| beat.at);
    let passed = recovered.clock_floor.max(last_beat_at);
    let topology = Arc::new(site.topology());
    let places = Places::of(&topology);
    let session = Session::new(session_config(&site, &boot), secrets.root, secrets.signer, restored, now)
        .with_places(places.clone())
        .with_ledger_failed(withheld.clone());
    let cancelled = begin.cancelled.iter().map(|(of, _)| of);
    let on_trial = begin.trial.as_ref().map(|trial| &trial.of).into_iter().chain(cancelled);
    let desk_config = DeskConfig {
        boot: boot.clone(),
        issuer: site.cloud.issuer.clone(),
        topology,
        commands_per_operator_max: site.limits.commands_per_operator_max,
        clock_skew: site.limits.clock_skew,
        on_trial: on_trial.cloned().collect(),
        edits: match &withheld {
            // How far they were told, the ledger knows: the run that has it tells the rest.
            Some(_) => EditsAtStart { told: opened.overlay.revision, stand: opened.edits, ..EditsAtStart::default() },
            None => EditsAtStart::new(opened.edits, &recovered.kept).after_set(untold_set),
        },
        no_earlier: passed,
        ledger_withheld: withheld,
        delay_max: site.limits.delay_max,
    };
    let (desk, first) = Desk::new(desk_config, opened.permissions, recovered.commands, recovered.forget_floor, now);
    let uplink = Uplink::new(session, desk, set);

    let sources = Sources {
        vitals: vitals.clone(),
        buses: site.buses.iter().map(|bus| bus.id.clone()).collect(),
        lines_dropped: daemon.lines_dropped.clone(),
        started,
    };
    let office = Office {
        clock: clock.clone(),
        events: events.clone(),
        log_id,
        places,
        keeper: daemon.keeper.clone(),
        site: site.clone(),
        boot,
        sources: sources.clone(),
        health: ledger.health(),
    };
    let clerk = Clerk::start(office)?;
    let settled = begin.cancelled.into_iter();
    let settled = settled.map(|(key, cause)| Input::Settled { key, answered: rolled_back(cause) });
    let gone = gone.into_iter().map(|gone| Input::Doors(DoorNews::Status(Box::new(gone))));
    let settled = settled.chain(gone).collect();

    let (end, outlets) = daemon.runtime.block_on(async {
        let inlets = Inlets {
            link: MqttLink::new(link_config(&site)).no_earlier_than(passed),
            released,
            head: ledger.head(),
            health: ledger.health(),
            mirror: mirror.outputs(),
            stop_signals: &mut daemon.stop_signals,
            told_with,
            trial: begin.trial,
        };
        let outlets = Outlets {
            doors,
            ledger: queue,
            events,
            mirror: MirrorQueue::new(mirror.handle()),
            clock,
            clerk,
            watchdog: Watchdog::new(heartbeats),
            reporter: Reporter::new(sources, site.cloud.telemetry_every),
            order_times: OrderTimes::default(),
            vitals,
        };
        CloudLoop::new(inlets, outlets, uplink).run(first, settled).await
    });
    let doors = outlets.doors.join();
    if let Some(control) = control {
        control.stop();
    }
    key_keeper.stop();
    outlets.clerk.stop();
    mirror.stop();
    let (stopped, unwritten) = ledger.stop_unwritten();
    daemon.unwritten = unwritten;
    if !daemon.unwritten.is_empty() && end != End::LedgerBack {
        tracing::warn!("what happened without the ledger is in this journal and nowhere else");
    }
    tracing::info!(clean = stopped.clean, commits_lost = stopped.commits_lost, "stopped");
    Ok((end, doors))
}
