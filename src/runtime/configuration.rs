//! The configuration in force, for whoever runs by it, asks for it or puts another. Owns the passage between
//! the installer's file, the override file and the site that a run uses; must never use a site before what
//! says so is durable. Invariant: after [`Keeper::begin`] the override file says what is being run, so that
//! a start that finds a trial running knows that it crashed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    adapters::{
        clock,
        override_file::{OverrideError, OverrideFile},
    },
    config::{
        Installation, NotTaken, anchors,
        site::{Board, Line, Site},
        trial::{InForce, Keeping, Moment, NotKept, Override, PutFile},
    },
    domain::{
        door::DoorConfig,
        event::{EventBody, RollbackCause},
        fieldbus::OutputAddress,
        ids::{DoorIx, Id},
        outputs::Level,
        time::Mono,
    },
    gateway::{controller::Pause, step::CommandKey},
    wire::canonical::hex,
};

/// What a run begins with.
pub struct Begin {
    pub site: Arc<Site>,
    pub trial: Option<RunningTrial>,
    /// To be told as soon as the log is open.
    pub events: Vec<EventBody>,
    /// The commands whose trials ended without being confirmed.
    pub cancelled: Vec<(CommandKey, RollbackCause)>,
}

/// The run is a trial.
#[derive(Clone, Debug)]
pub struct RunningTrial {
    pub of: CommandKey,
    /// The key that signed its command.
    pub kid: Option<Id>,
    pub until: Mono,
    /// How the field is left when the time is over.
    pub back: Pause,
}

/// Why a file is not put on trial.
#[derive(Debug)]
pub enum NotPut {
    NotTaken(NotTaken),
    /// Another one is in force than the sender believes.
    Other([u8; 32]),
    OnTrial(String),
    Store(OverrideError),
}

/// Why nothing is confirmed.
#[derive(Debug)]
pub enum NotConfirmed {
    NotOnTrial(String),
    Store(OverrideError),
}

/// A file that waits for its trial.
#[derive(Debug)]
pub struct Put {
    pub sha256: [u8; 32],
    pub warnings: Vec<String>,
    /// How the field is left for it; `None`: it is in force already, and there will be no trial.
    pub pause: Option<Pause>,
}

/// What is in force, to be told.
#[derive(Clone, Debug)]
pub struct Present {
    pub toml: String,
    pub sha256: [u8; 32],
    /// It came by this command; else it is the installer's.
    pub put: Option<PutFile>,
    /// On trial, with so much of its time left.
    pub left: Option<Duration>,
}

pub struct Keeper {
    installation: Installation,
    keeping: Keeping<OverrideFile>,
    site: Arc<Site>,
}

/// One keeper for the threads that need it; nobody holds it across a wait but for a file.
#[derive(Clone)]
pub struct SharedKeeper(Arc<Mutex<Keeper>>);

impl SharedKeeper {
    pub fn new(keeper: Keeper) -> SharedKeeper {
        SharedKeeper(Arc::new(Mutex::new(keeper)))
    }

    pub fn lock(&self) -> MutexGuard<'_, Keeper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment() -> Moment {
    Moment { mono: clock::mono(), wall: clock::wall() }
}

impl Keeper {
    /// Of the one process that runs by it.
    pub fn new(installation: Installation) -> Result<Keeper, OverrideError> {
        let file = OverrideFile::locked(&installation.site.node.state_dir)?;
        let site = Arc::new(installation.site.clone());
        let kept = match file.load() {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "whatever was configured by command is not in force: the installer's file is");
                Override::default()
            }
        };
        Ok(Keeper { installation, keeping: Keeping::new(file, kept), site })
    }

    /// The next run: which site, and what there is to tell of how it came to it.
    pub fn begin(&mut self) -> Begin {
        self.look_at_the_installers_file();
        let installation = &self.installation;
        let begun = self.keeping.begin(installation.sha256(), moment(), |in_force| site_of(installation, in_force));
        if let Some(error) = begun.unwritten {
            unwritten(&error);
        }
        self.site = Arc::new(begun.site);
        let trial = match (self.keeping.running(), self.keeping.trial_until()) {
            (InForce::Trial { file, .. }, Some(until)) => {
                let back = pause(&self.site, &self.site_without_trial());
                Some(RunningTrial { of: key(file), kid: file.kid.clone(), until, back })
            }
            _ => None,
        };
        let (mut events, mut cancelled) = (Vec::new(), Vec::new());
        for ended in begun.ended {
            let (sha256, cause, detail) = (hex(&ended.sha256), ended.cause, ended.detail);
            tracing::warn!(sha256, ?cause, detail, "a configuration that came by command is not in force any more");
            events.push(EventBody::ConfigurationRolledBack { sha256, cause, detail });
            cancelled.extend(ended.trial_of.map(|(issuer, jti)| (CommandKey { issuer, jti }, cause)));
        }
        if let InForce::Trial { file, left } = self.keeping.running() {
            let (sha256, left_s) = (hex(&file.sha256()), left.as_secs());
            tracing::warn!(sha256, left_s, "a configuration that came by command is on trial");
            let (operator, jti) = (file.operator.clone(), file.jti.clone());
            events.push(EventBody::ConfigurationTrialStarted { sha256, operator, jti, confirm_within_s: left_s });
        }
        Begin { site: self.site.clone(), trial, events, cancelled }
    }

    /// It may have been edited since the last run. What cannot be used, or belongs to another life of the
    /// daemon, waits for a real start.
    fn look_at_the_installers_file(&mut self) {
        match self.installation.read_again() {
            Some(edited) if anchors::touched(&self.installation.site, &edited.site).is_empty() => {
                self.installation = edited;
            }
            _ => tracing::warn!(
                path = %self.installation.path.display(),
                "the site file cannot be used as it is now: what it said before holds until the next start"
            ),
        }
    }

    /// What the next run uses if the trial is not confirmed.
    fn site_without_trial(&self) -> Site {
        site_of(&self.installation, &self.keeping.without_trial()).unwrap_or_else(|_| self.installation.site.clone())
    }

    pub fn present(&self) -> Present {
        let put = self.keeping.running().put_file().cloned();
        let toml = put.as_ref().map_or(&self.installation.text, |file| &file.toml).clone();
        let sha256 = put.as_ref().map_or_else(|| self.installation.sha256(), PutFile::sha256);
        // Confirmed under way, it is on trial no more.
        let on_trial = self.keeping.trial_until().filter(|_| self.keeping.on_trial().is_some());
        Present { toml, sha256, put, left: on_trial.map(|until| until.since(clock::mono())) }
    }

    /// Puts a file on trial: the next run uses it. Durable when this returns.
    pub fn put(&mut self, file: PutFile, expected: Option<[u8; 32]>, within: Duration) -> Result<Put, NotPut> {
        let (present, sha256) = (self.present().sha256, file.sha256());
        if expected.is_some_and(|expected| expected != present) {
            return Err(NotPut::Other(present));
        }
        if let Some(trial) = self.keeping.on_trial() {
            return Err(NotPut::OnTrial(hex(&trial.sha256())));
        }
        let (site, warnings) = self.installation.with(&file.toml).map_err(NotPut::NotTaken)?;
        if sha256 == present {
            return Ok(Put { sha256, warnings, pause: None });
        }
        self.keeping.put(self.installation.sha256(), file, within, moment()).map_err(|why| match why {
            NotKept::Conflict(why) => NotPut::OnTrial(why),
            NotKept::Store(error) => NotPut::Store(error),
        })?;
        Ok(Put { sha256, warnings, pause: Some(pause(&self.site, &site)) })
    }

    /// What is on trial stays: durable when this returns. The command that put it.
    pub fn confirm(&mut self, sha256: [u8; 32]) -> Result<PutFile, NotConfirmed> {
        self.keeping.confirm(sha256).map_err(|why| match why {
            NotKept::Conflict(why) => NotConfirmed::NotOnTrial(why),
            NotKept::Store(error) => NotConfirmed::Store(error),
        })
    }

    /// The events that [`Keeper::begin`] gave are durable.
    pub fn told(&mut self) {
        said(self.keeping.told());
    }

    /// The run is over in order: what is left of a trial is for the next start.
    pub fn pause(&mut self) {
        said(self.keeping.pause(moment()));
    }

    /// The trial's time is over, or the daemon cannot run with it.
    pub fn end_trial(&mut self, cause: RollbackCause, detail: Option<String>) {
        said(self.keeping.end_trial(cause, detail));
    }
}

/// What the file says instead falls back as well: a trial that runs, or something told twice.
fn said(written: Result<(), OverrideError>) {
    if let Err(error) = written {
        unwritten(&error);
    }
}

fn unwritten(error: &OverrideError) {
    tracing::error!(%error, "the state of the configuration by command cannot be written down");
}

fn site_of(installation: &Installation, in_force: &InForce) -> Result<Site, String> {
    let Some(file) = in_force.put_file() else { return Ok(installation.site.clone()) };
    match installation.with(&file.toml) {
        Ok((site, _)) => Ok(site),
        Err(NotTaken::Invalid(errors)) => Err(errors.join("; ")),
        Err(NotTaken::Anchors(keys)) => Err(format!("it differs from the installer's file in {}", keys.join(", "))),
    }
}

pub fn key(file: &PutFile) -> CommandKey {
    CommandKey { issuer: file.issuer.clone(), jti: file.jti.clone() }
}

/// A lock by its wires.
#[derive(PartialEq)]
struct Wires<'a> {
    line: &'a Line,
    unit: u8,
    address: OutputAddress,
    unlocked: Level,
}

fn wires(site: &Site, door: DoorIx) -> Option<Wires<'_>> {
    let door = site.doors.get(door.index())?;
    if let Some((_, osdp)) = site.reader_with_points(door.lock.board) {
        let bus = site.buses.iter().find(|bus| bus.bus == osdp.bus)?;
        let address = OutputAddress::Coil(door.lock.output);
        return Some(Wires { line: &bus.line, unit: osdp.address, address, unlocked: door.unlocked_level });
    }
    let board = site.boards.get(door.lock.board.index())?;
    let bus = site.buses.iter().find(|bus| bus.bus == board.bus)?;
    let address = board.config.profile.outputs.get(usize::from(door.lock.output))?.address;
    Some(Wires { line: &bus.line, unit: board.config.unit, address, unlocked: door.unlocked_level })
}

/// How `old` is left for `new`: doors that `new` drives over the same wires stay as they are.
fn pause(old: &Site, new: &Site) -> Pause {
    let new_doors = || (0..).map(DoorIx).zip(&new.doors);
    let stays = |(ix, door): (DoorIx, &DoorConfig)| {
        let again = new_doors().find(|(_, other)| other.id == door.id).map(|(ix, _)| ix);
        again.is_some_and(|again| wires(old, ix).is_some() && wires(old, ix) == wires(new, again))
    };
    let moved: BTreeSet<DoorIx> =
        (0..).map(DoorIx).zip(&old.doors).filter(|entry| !stays(*entry)).map(|(ix, _)| ix).collect();
    Pause { moved, others_stay: others_stay(old, new) }
}

/// Whether everything that drives relays beside the locks of doors is the same, down to its wires.
fn others_stay(old: &Site, new: &Site) -> bool {
    let boards = |site: &Site| {
        let of = |board: &Board| (board.bus, board.config.unit, board.config.profile.outputs.clone());
        site.boards.iter().map(of).collect::<Vec<_>>()
    };
    let readers = |site: &Site| {
        let of = |board| site.reader_with_points(board).map(|(_, osdp)| (osdp.bus, osdp.address, osdp.points));
        site.readers_in_use().filter_map(of).collect::<Vec<_>>()
    };
    let lines = |site: &Site| site.buses.iter().map(|bus| (bus.bus, bus.line.clone())).collect::<Vec<_>>();
    let same_readers = readers(old) == readers(new);
    old.field == new.field && boards(old) == boards(new) && same_readers && lines(old) == lines(new)
}
