//! Which site file a run uses, and what is written down of it. Owns the order of judging, writing and using; must
//! never look at a clock or at a file by itself: both are handed in, so that the simulation drives the same. Invariant:
//! after [`Keeping::begin`] the store says what is being run, so that a start that finds a trial running knows that it
//! crashed.

use std::{fmt::Display, time::Duration};

use super::{InForce, Moment, Override, PutFile, RolledBack};
use crate::{
    domain::{event::RollbackCause, time::Mono},
    wire::canonical::hex,
};

/// Where the override is kept. Replaced whole: after a power cut it is the one before or the one after.
pub trait OverrideStore {
    type Error: Display;

    /// After this returns, it survives a power cut.
    fn store(&self, kept: &Override) -> Result<(), Self::Error>;
}

/// What a run begins with.
pub struct Begun<T, E> {
    pub site: T,
    /// What ended before it, the oldest first, to be told until [`Keeping::told`].
    pub ended: Vec<RolledBack>,
    /// The store does not say so; nothing of a trial is used then.
    pub unwritten: Option<E>,
}

/// Why a file is not put on trial.
#[derive(Debug, PartialEq, Eq)]
pub enum NotKept<E> {
    /// Something else is in the way.
    Conflict(String),
    Store(E),
}

pub struct Keeping<S> {
    store: S,
    kept: Override,
    running: InForce,
    trial_until: Option<Mono>,
}

impl<S: OverrideStore> Keeping<S> {
    /// Of the one process that runs by it; `kept` is what the store says.
    pub fn new(store: S, kept: Override) -> Keeping<S> {
        Keeping { store, kept, running: InForce::Installer, trial_until: None }
    }

    /// The next run. `installer` is the hash of the installer's file, of which `site_of` always makes a site; of others
    /// it may say why it does not.
    pub fn begin<T>(
        &mut self,
        installer: [u8; 32],
        now: Moment,
        site_of: impl Fn(&InForce) -> Result<T, String>,
    ) -> Begun<T, S::Error> {
        let before = self.kept.clone();
        let mut in_force = self.kept.judge(installer, now);
        let (site, unwritten) = loop {
            let stored = if self.kept == before { Ok(()) } else { self.store.store(&self.kept) };
            match (site_of(&in_force), stored, &in_force) {
                // A trial must not begin before it is durable that it did: nobody would know that it crashed.
                (Ok(_), Err(error), InForce::Trial { .. }) => {
                    self.kept.end_trial(RollbackCause::Failed, Some(error.to_string()));
                }
                (Ok(site), stored, _) => break (site, stored.err()),
                (Err(why), _, InForce::Trial { .. }) => self.kept.end_trial(RollbackCause::Failed, Some(why)),
                (Err(why), ..) => self.kept.drop_confirmed(RollbackCause::Damaged, Some(why)),
            }
            in_force = self.kept.without_trial();
        };
        self.running = in_force;
        self.trial_until = match &self.running {
            InForce::Trial { left, .. } => Some(now.mono + *left),
            InForce::Installer | InForce::Confirmed(_) => None,
        };
        Begun { site, ended: self.kept.all_untold().cloned().collect(), unwritten }
    }

    /// What the run uses.
    pub fn running(&self) -> &InForce {
        &self.running
    }

    /// When the trial that the run is is over.
    pub fn trial_until(&self) -> Option<Mono> {
        self.trial_until
    }

    /// What the next run uses if the trial is not confirmed.
    pub fn without_trial(&self) -> InForce {
        self.kept.without_trial()
    }

    /// A file is on trial, or waits for it.
    pub fn on_trial(&self) -> Option<&PutFile> {
        self.kept.trial.as_ref().map(|trial| &trial.file)
    }

    /// A valid file, for the next run. Durable when this returns.
    pub fn put(
        &mut self,
        installer: [u8; 32],
        file: PutFile,
        within: Duration,
        now: Moment,
    ) -> Result<(), NotKept<S::Error>> {
        if let Some(trial) = self.on_trial() {
            let why = format!("{} is on trial: confirm it, or let its time pass", hex(&trial.sha256()));
            return Err(NotKept::Conflict(why));
        }
        let mut next = self.kept.clone();
        next.over = installer;
        next.put(file, within, now).map_err(NotKept::Conflict)?;
        self.replace(next)
    }

    /// What is on trial stays: durable when this returns. The file that is confirmed.
    pub fn confirm(&mut self, sha256: [u8; 32]) -> Result<PutFile, NotKept<S::Error>> {
        let mut next = self.kept.clone();
        let file = next.confirm(sha256).map_err(NotKept::Conflict)?;
        self.replace(next)?;
        Ok(file)
    }

    fn replace(&mut self, next: Override) -> Result<(), NotKept<S::Error>> {
        self.store.store(&next).map_err(NotKept::Store)?;
        self.kept = next;
        Ok(())
    }

    /// What [`Keeping::begin`] gave to be told is durable.
    pub fn told(&mut self) -> Result<(), S::Error> {
        if self.kept.told() { self.store.store(&self.kept) } else { Ok(()) }
    }

    /// The run is over in order: what is left of a trial is for the next start.
    pub fn pause(&mut self, now: Moment) -> Result<(), S::Error> {
        match self.trial_until.take() {
            Some(until) if self.kept.trial.is_some() => {
                self.kept.pause(until.since(now.mono), now);
                self.store.store(&self.kept)
            }
            _ => Ok(()),
        }
    }

    /// The trial's time is over, or the daemon cannot run with it.
    pub fn end_trial(&mut self, cause: RollbackCause, detail: Option<String>) -> Result<(), S::Error> {
        self.kept.end_trial(cause, detail);
        self.store.store(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
    };

    use super::*;
    use crate::domain::{ids::Id, time::Wall};

    /// A disk that is full when it is told so.
    #[derive(Clone, Default)]
    struct Disk {
        kept: Rc<RefCell<Override>>,
        full: Rc<Cell<bool>>,
    }

    impl OverrideStore for Disk {
        type Error = &'static str;

        fn store(&self, kept: &Override) -> Result<(), &'static str> {
            if self.full.get() {
                return Err("full");
            }
            kept.clone_into(&mut self.kept.borrow_mut());
            Ok(())
        }
    }

    impl Disk {
        /// As a process finds it.
        fn process(&self) -> Keeping<Disk> {
            Keeping::new(self.clone(), self.kept.borrow().clone())
        }
    }

    const INSTALLER: [u8; 32] = [1; 32];

    fn at(second: u64) -> Moment {
        Moment { mono: Mono::from_millis(second * 1000), wall: Wall::from_millis(second as i64 * 1000) }
    }

    fn file(toml: &str) -> PutFile {
        let id = |text| Id::new(text).unwrap();
        PutFile { toml: toml.to_owned(), operator: id("ada"), issuer: "cloud".to_owned(), jti: id("put"), kid: None }
    }

    fn begin(keeping: &mut Keeping<Disk>, second: u64) -> (String, Option<RollbackCause>) {
        let site_of = |in_force: &InForce| match in_force.put_file() {
            Some(file) if file.toml == "bad" => Err("it does not load".to_owned()),
            Some(file) => Ok(file.toml.clone()),
            None => Ok("installer's".to_owned()),
        };
        let begun = keeping.begin(INSTALLER, at(second), site_of);
        (begun.site, begun.ended.last().map(|ended| ended.cause))
    }

    /// A process that runs the installer's file and has put this one for a minute.
    fn put(disk: &Disk, toml: &str) -> Keeping<Disk> {
        let mut keeping = disk.process();
        assert_eq!(begin(&mut keeping, 10), ("installer's".to_owned(), None));
        keeping.put(INSTALLER, file(toml), Duration::from_secs(60), at(11)).unwrap();
        keeping
    }

    #[test]
    fn a_trial_is_used_by_the_next_run_and_found_dead_by_the_next_process() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "new");
        assert_eq!(begin(&mut keeping, 12), ("new".to_owned(), None));
        assert_eq!(keeping.trial_until(), Some(at(71).mono));
        let mut next = disk.process();
        assert_eq!(begin(&mut next, 13), ("installer's".to_owned(), Some(RollbackCause::Crashed)));
        assert_eq!(next.trial_until(), None);
    }

    #[test]
    fn a_trial_that_is_over_is_told_until_that_is_durable() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "new");
        begin(&mut keeping, 12);
        keeping.end_trial(RollbackCause::NotConfirmed, None).unwrap();
        let over = ("installer's".to_owned(), Some(RollbackCause::NotConfirmed));
        assert_eq!(begin(&mut keeping, 72), over);
        assert_eq!(begin(&mut disk.process(), 73), over, "the process died before it was told");
        let mut last = disk.process();
        begin(&mut last, 74);
        last.told().unwrap();
        assert_eq!(begin(&mut disk.process(), 75), ("installer's".to_owned(), None));
    }

    #[test]
    fn a_trial_whose_beginning_cannot_be_written_down_is_not_used() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "new");
        disk.full.set(true);
        assert_eq!(begin(&mut keeping, 12), ("installer's".to_owned(), Some(RollbackCause::Failed)));
        disk.full.set(false);
        keeping.told().unwrap();
        assert_eq!(begin(&mut disk.process(), 13), ("installer's".to_owned(), None), "nor later");
    }

    #[test]
    fn what_cannot_be_written_down_is_neither_put_nor_confirmed() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "new");
        begin(&mut keeping, 12);
        disk.full.set(true);
        let sha256 = file("new").sha256();
        assert_eq!(keeping.confirm(sha256), Err(NotKept::Store("full")));
        assert!(keeping.on_trial().is_some());
        disk.full.set(false);
        assert_eq!(keeping.confirm(sha256), Ok(file("new")));
        disk.full.set(true);
        let refused = keeping.put(INSTALLER, file("newer"), Duration::from_secs(60), at(20));
        assert_eq!((refused, keeping.on_trial()), (Err(NotKept::Store("full")), None));
        assert_eq!(begin(&mut disk.process(), 21), ("new".to_owned(), None));
    }

    #[test]
    fn a_file_of_which_no_site_can_be_made_any_more_falls_back() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "bad");
        assert_eq!(begin(&mut keeping, 12), ("installer's".to_owned(), Some(RollbackCause::Failed)));
        disk.kept.borrow_mut().confirmed = Some(file("bad"));
        assert_eq!(begin(&mut disk.process(), 13), ("installer's".to_owned(), Some(RollbackCause::Damaged)));
    }

    #[test]
    fn an_orderly_end_leaves_the_rest_of_the_time_to_the_next_process() {
        let disk = Disk::default();
        let mut keeping = put(&disk, "new");
        begin(&mut keeping, 12);
        keeping.pause(at(40)).unwrap();
        let mut next = disk.process();
        assert_eq!(begin(&mut next, 50), ("new".to_owned(), None));
        assert_eq!(next.trial_until(), Some(at(71).mono));
    }
}
