//! Configuration on trial. Owns, in one process after the other, which file may be in force; must never ask what the
//! daemon keeps of it. Invariant: in force is the installer's file, or what was confirmed over it, or what is on trial:
//! that for its time only, in one process that lives, and none of it over a hand at the installer's file.

use std::{collections::BTreeMap, time::Duration};

use latchd::{
    config::trial::{InForce, Moment},
    domain::{event::EventBody, ids::Id, time::Mono},
    wire::canonical::{hex, sha256},
};

use super::{Invariant, Oracle, scope};

/// The loop looks each half second, and a run that ends is in force a little longer.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct TrialWatch {
    wished: BTreeMap<Id, Vec<(String, Duration)>>,
    /// The installer's file over which something was put, and what was confirmed over it.
    over: String,
    confirmed: Option<String>,
    trial: Option<Trial>,
    /// Rolled back where that could not be written down: the next process may begin it.
    ghost: Option<Trial>,
    /// Rolled back, and not told yet.
    owed: Vec<String>,
    told: Vec<String>,
}

struct Trial {
    text: String,
    /// Never in force later than this.
    until: Mono,
    /// So much of its time was left then, by whichever clock goes further.
    left: Duration,
    at: Moment,
    phase: Phase,
}

impl Trial {
    fn left(&self, now: Moment) -> Duration {
        self.left.saturating_sub(now.mono.since(self.at.mono).max(now.wall.since(self.at.wall)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running,
    /// Its process is gone.
    Died,
    /// It could not be written down that it is not running: the next start takes it for dead.
    Lost,
    Failed,
}

impl TrialWatch {
    fn roll_back(&mut self, text: &str) {
        self.owed.push(hex(&sha256(text.as_bytes())));
    }

    fn unsettled(&self) -> Option<String> {
        match (&self.trial, self.owed.first()) {
            (Some(trial), _) => Some(format!("{} is on trial", trial.text.trim_end())),
            (None, Some(owed)) => Some(format!("{owed} was rolled back, and nobody was told")),
            (None, None) => None,
        }
    }
}

impl Oracle {
    pub fn trials_unsettled(&self) -> Option<String> {
        self.trials.unsettled()
    }

    pub fn trial_wished(&mut self, jti: Id, text: String, within: Duration) {
        self.trials.wished.entry(jti).or_default().push((text, within));
    }

    /// The clerk has put a file on trial.
    pub fn trial_put(&mut self, now: Moment, jti: &Id, text: &str, within: Duration) {
        let this = &mut self.trials;
        let wished = this.wished.get(jti).into_iter().flatten().any(|wish| *wish == (text.to_owned(), within));
        if !wished || this.trial.is_some() {
            let what =
                format!("{jti} puts {text:?} on trial, wished: {wished}, beside another: {}", this.trial.is_some());
            return self.fail(Invariant::TrialsEnd, what);
        }
        let (text, until) = (text.to_owned(), now.mono + within);
        this.trial = Some(Trial { text, until, left: within, at: now, phase: Phase::Waiting });
    }

    pub fn trial_confirmed(&mut self, now: Mono, text: &str) {
        let this = &mut self.trials;
        match this.trial.take() {
            Some(trial)
                if trial.text == text && trial.phase == Phase::Running && now <= trial.until + LOOKED_AT_WITHIN =>
            {
                this.confirmed = (text != this.over).then(|| text.to_owned());
            }
            _ => self.fail(Invariant::TrialsEnd, format!("{text:?} is confirmed, which is not on trial")),
        }
    }

    /// A run begins with `used`. `full`: nothing could be written down.
    pub fn configuration_begins(&mut self, now: Moment, running: &InForce, used: &str, installer: &str, full: bool) {
        let this = &mut self.trials;
        let on_trial = matches!(running, InForce::Trial { .. });
        if this.over != installer {
            let (trial, confirmed) = (this.trial.take(), this.confirmed.take());
            // One that had ended by itself is told for itself.
            let ended = |trial: &Trial| match trial.phase {
                Phase::Running => now.mono >= trial.until,
                phase => phase == Phase::Failed,
            };
            let confirmed = confirmed.filter(|_| trial.as_ref().is_none_or(ended));
            let gone = trial.map(|trial| trial.text).into_iter().chain(confirmed);
            gone.for_each(|text| this.roll_back(&text));
            installer.clone_into(&mut this.over);
        }
        let may_run = |trial: &Trial| trial.phase == Phase::Waiting && now.mono < trial.until;
        // A clock that was set may have used its time up; what cannot be written down must not begin.
        let may_end = |trial: &Trial| match trial.phase {
            Phase::Waiting => trial.left(now).is_zero() || full,
            Phase::Running => now.mono >= trial.until,
            Phase::Died | Phase::Lost | Phase::Failed => true,
        };
        let ghost = this.ghost.take_if(|ghost| on_trial && ghost.text == used && now.mono < ghost.until);
        if this.trial.is_none() && ghost.is_some() {
            this.trial = ghost;
        }
        let without = this.confirmed.clone().unwrap_or_else(|| this.over.clone());
        let wrong = match (&mut this.trial, on_trial) {
            (Some(trial), true) if used == trial.text && may_run(trial) => {
                (trial.phase, trial.until) = (Phase::Running, trial.until.min(now.mono + trial.left(now)));
                None
            }
            (Some(trial), false) if used == without && may_end(trial) => {
                let text = trial.text.clone();
                this.ghost = this.trial.take().filter(|trial| full && trial.phase == Phase::Waiting);
                this.roll_back(&text);
                None
            }
            (None, false) if used == without => None,
            (trial, _) => Some(format!(
                "{used:?} begins, on trial: {on_trial}; the installer's is {installer:?}, confirmed {:?}, on trial {:?}",
                this.confirmed,
                trial.as_ref().map(|trial| (&trial.text, trial.until.since(now.mono)))
            )),
        };
        if let Some(what) = wrong {
            self.fail(Invariant::TrialsEnd, what);
        }
    }

    pub fn configuration_died(&mut self) {
        if let Some(trial) = self.trials.trial.as_mut().filter(|trial| trial.phase == Phase::Running) {
            trial.phase = Phase::Died;
        }
    }

    /// The process ends in order: what is left of the time is for the next one.
    pub fn configuration_paused(&mut self, now: Moment, written: bool) {
        if let Some(trial) = self.trials.trial.as_mut().filter(|trial| trial.phase == Phase::Running) {
            (trial.left, trial.at) = (trial.until.since(now.mono), now);
            trial.phase = if written { Phase::Waiting } else { Phase::Lost };
        }
    }

    /// The daemon cannot run with it.
    pub fn trial_failed(&mut self) {
        if let Some(trial) = &mut self.trials.trial {
            trial.phase = Phase::Failed;
        }
    }

    /// While a run lasts.
    pub(in crate::world) fn look_at_trial(&mut self, now: Mono) {
        let over = |trial: &&Trial| trial.phase == Phase::Running && now > trial.until + LOOKED_AT_WITHIN;
        if let Some(trial) = self.trials.trial.as_ref().filter(over) {
            let what = format!("{:?} is still in force {:?} after its time", trial.text, now.since(trial.until));
            self.fail(Invariant::TrialsEnd, what);
        }
    }

    /// What a run tells of it when it begins.
    pub fn configuration_told(&mut self, body: &EventBody) {
        let EventBody::ConfigurationRolledBack { sha256, .. } = body else { return };
        let this = &mut self.trials;
        match this.owed.iter().position(|owed| owed == sha256) {
            Some(at) => this.told.push(this.owed.remove(at)),
            // Told again: the event of the last time may not have become durable.
            None if this.told.contains(sha256) => {}
            None => self.fail(Invariant::TrialsEnd, format!("{sha256} was rolled back, which was not on trial")),
        }
    }

    /// The desk lets somebody ask for it.
    pub fn configuration_asked(&mut self, operator: &Id) {
        let records = scope::records(self.desk.as_deref());
        let may = scope::in_office(records, operator)
            .is_some_and(|(known, own)| scope::may(&known.role, "configuration.put") && own.everything);
        if !may {
            self.fail(Invariant::Authorised, format!("{operator} may configure the node"));
        }
    }
}
