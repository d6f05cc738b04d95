//! Configuration by command, on trial. Owns which site file is in force and for how long; must never let a
//! trial outlive its deadline or its process, nor win over a hand at the installer's file. Invariant: what
//! [`Override::judge`] leaves of an override is what the next start finds, so that it judges the same.
//!
//! ```text
//!                put                       start                    confirm
//!   installer's ------> waiting ---------------------> running ------------------> confirmed
//!   or confirmed           |                           |  ^ |                          |
//!                          | deadline passed           |  | | orderly stop             |
//!                          |        deadline, or found |  | v                          |
//!                          |        running at a start |  waiting                      |
//!   <----------------------+---------------------------+                               |
//!   <------------------------- the installer's file changed ---------------------------+
//! ```
//!
//! A process that dies never says so: a trial that a start finds `running` crashed. An orderly stop puts it
//! back to `waiting`, with the time that is left.

mod keeping;

use std::time::Duration;

pub use keeping::{Begun, Keeping, NotKept, OverrideStore};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        event::RollbackCause,
        ids::Id,
        time::{Mono, Wall},
    },
    wire::canonical::{hex, hex32, sha256},
};

/// Ended configurations of which nobody could be told yet, beside the last one.
const UNTOLD_MAX: usize = 16;

/// Everything that is kept about configuration by command: one file of the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// SHA-256 of the installer's file that this was put over: it ends when that file changes.
    #[serde(with = "hex32")]
    pub over: [u8; 32],
    pub confirmed: Option<PutFile>,
    pub trial: Option<Trial>,
    /// What ended, until the event that tells of it is durable.
    pub untold: Option<RolledBack>,
    /// What ended before that and was not told either, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold_before: Vec<RolledBack>,
}

/// A site file that came by command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutFile {
    pub toml: String,
    /// Who put it, and by which command.
    pub operator: Id,
    pub issuer: String,
    pub jti: Id,
    /// The key that signed the command: revoked, it takes the trial along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Id>,
}

impl PutFile {
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.toml.as_bytes())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    pub file: PutFile,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// For the next start. So much was left when the clocks read so.
    Waiting { left_ms: u64, mono_ns: u64, wall_ms: i64 },
    /// A process began it, and has neither confirmed it nor stopped in order.
    Running,
}

/// Both clocks, as the machine reads them: judged by nobody, because a start comes before all judging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub mono: Mono,
    pub wall: Wall,
}

impl Phase {
    pub fn waiting(left: Duration, at: Moment) -> Phase {
        Phase::Waiting {
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            mono_ns: at.mono.as_nanos(),
            wall_ms: at.wall.as_millis(),
        }
    }

    /// What is left of the time: nothing where it was running. Of two clocks the one that has gone further
    /// counts; one that begins anew with the machine has gone at least as far as it reads.
    fn left(self, now: Moment) -> Duration {
        let Phase::Waiting { left_ms, mono_ns, wall_ms } = self else { return Duration::ZERO };
        let then = Mono::from_nanos(mono_ns);
        let by_mono = if now.mono < then { now.mono.since(Mono::ZERO) } else { now.mono.since(then) };
        let by_wall = now.wall.since(Wall::from_millis(wall_ms));
        Duration::from_millis(left_ms).saturating_sub(by_mono.max(by_wall))
    }
}

/// Which file a start uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InForce {
    Installer,
    Confirmed(PutFile),
    Trial { file: PutFile, left: Duration },
}

impl InForce {
    pub fn put_file(&self) -> Option<&PutFile> {
        match self {
            InForce::Installer => None,
            InForce::Confirmed(file) | InForce::Trial { file, .. } => Some(file),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolledBack {
    #[serde(with = "hex32")]
    pub sha256: [u8; 32],
    pub cause: RollbackCause,
    pub detail: Option<String>,
    /// The command that put it, where it was on trial.
    pub trial_of: Option<(String, Id)>,
}

impl Override {
    /// Nothing of it is worth keeping.
    pub fn is_empty(&self) -> bool {
        self.confirmed.is_none() && self.trial.is_none() && self.untold.is_none()
    }

    /// All that ended and was not told, the oldest first.
    pub fn all_untold(&self) -> impl Iterator<Item = &RolledBack> {
        self.untold_before.iter().chain(&self.untold)
    }

    /// All of it is told. Whether there was anything.
    pub fn told(&mut self) -> bool {
        self.untold_before.clear();
        self.untold.take().is_some()
    }

    /// At the start of a process: which file is in force. A trial that is to begin is marked as running;
    /// nothing may be done by it before that is durable.
    pub fn judge(&mut self, installer: [u8; 32], now: Moment) -> InForce {
        if self.over != installer {
            if let Some(trial) = self.trial.take() {
                self.roll_back(&trial.file, true, RollbackCause::InstallerEdited, None);
                self.confirmed = None;
            } else if let Some(file) = self.confirmed.take() {
                self.roll_back(&file, false, RollbackCause::InstallerEdited, None);
            }
            self.over = installer;
            return InForce::Installer;
        }
        if let Some(trial) = &mut self.trial {
            let left = trial.phase.left(now);
            if !left.is_zero() {
                trial.phase = Phase::Running;
                return InForce::Trial { file: trial.file.clone(), left };
            }
            let cause =
                if trial.phase == Phase::Running { RollbackCause::Crashed } else { RollbackCause::NotConfirmed };
            self.end_trial(cause, None);
        }
        self.without_trial()
    }

    /// For who only looks: the file that came by command and is in force, and whether it is on trial.
    pub fn present(&self, installer: [u8; 32]) -> Option<(&PutFile, bool)> {
        if self.over != installer {
            return None;
        }
        let trial = self.trial.as_ref().map(|trial| (&trial.file, true));
        trial.or(self.confirmed.as_ref().map(|file| (file, false)))
    }

    /// What is in force once there is no trial.
    pub fn without_trial(&self) -> InForce {
        self.confirmed.clone().map_or(InForce::Installer, InForce::Confirmed)
    }

    /// A valid file, for the next start. `Err` says what is in the way.
    pub fn put(&mut self, file: PutFile, confirm_within: Duration, now: Moment) -> Result<(), String> {
        if let Some(trial) = &self.trial {
            return Err(format!("{} is on trial: confirm it, or let its time pass", hex(&trial.file.sha256())));
        }
        self.trial = Some(Trial { file, phase: Phase::waiting(confirm_within, now) });
        Ok(())
    }

    /// The trial of these bytes is over and they stay.
    pub fn confirm(&mut self, sha256: [u8; 32]) -> Result<PutFile, String> {
        // What has not begun yet has shown nothing.
        match self.trial.take_if(|trial| trial.file.sha256() == sha256 && trial.phase == Phase::Running) {
            Some(trial) => {
                // The installer's own text needs no override.
                self.confirmed = (sha256 != self.over).then(|| trial.file.clone());
                Ok(trial.file)
            }
            None if self.trial.is_some() => {
                Err("another configuration is on trial, or its trial has not begun".to_owned())
            }
            None => Err("no configuration is on trial".to_owned()),
        }
    }

    /// The daemon stops in order, or begins anew, with so much time left.
    pub fn pause(&mut self, left: Duration, now: Moment) {
        if let Some(trial) = &mut self.trial {
            trial.phase = Phase::waiting(left, now);
        }
    }

    pub fn end_trial(&mut self, cause: RollbackCause, detail: Option<String>) {
        if let Some(trial) = self.trial.take() {
            self.roll_back(&trial.file, true, cause, detail);
        }
    }

    /// The confirmed file is of no use any more.
    pub fn drop_confirmed(&mut self, cause: RollbackCause, detail: Option<String>) {
        if let Some(file) = self.confirmed.take() {
            self.roll_back(&file, false, cause, detail);
        }
    }

    fn roll_back(&mut self, file: &PutFile, on_trial: bool, cause: RollbackCause, detail: Option<String>) {
        let trial_of = on_trial.then(|| (file.issuer.clone(), file.jti.clone()));
        let ended = RolledBack { sha256: file.sha256(), cause, detail, trial_of };
        self.untold_before.extend(self.untold.replace(ended));
        // Where nothing can be told for so long, the oldest go.
        if self.untold_before.len() > UNTOLD_MAX {
            self.untold_before.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLER: &str = "installer's";

    fn moment(seconds: u64, wall_seconds: i64) -> Moment {
        Moment { mono: Mono::from_millis(seconds * 1000), wall: Wall::from_millis(wall_seconds * 1000) }
    }

    fn file(toml: &str) -> PutFile {
        let id = |text| Id::new(text).unwrap();
        PutFile {
            toml: toml.to_owned(),
            operator: id("ada"),
            issuer: "cloud".to_owned(),
            jti: id("put-1"),
            kid: Some(id("cmd-1")),
        }
    }

    fn over(text: &str) -> Override {
        Override { over: sha256(text.as_bytes()), ..Override::default() }
    }

    /// A trial of `new`, a minute long, put at second 1000 of both clocks.
    fn put(mut kept: Override) -> Override {
        kept.put(file("new"), Duration::from_secs(60), moment(1000, 1000)).unwrap();
        kept
    }

    fn judge(kept: &mut Override, at: Moment) -> InForce {
        kept.judge(sha256(INSTALLER.as_bytes()), at)
    }

    fn cause(kept: &Override) -> Option<(RollbackCause, bool)> {
        kept.untold.as_ref().map(|told| (told.cause, told.trial_of.is_some()))
    }

    #[test]
    fn without_commands_the_installers_file_is_in_force() {
        let mut kept = Override::default();
        assert_eq!(judge(&mut kept, moment(0, 0)), InForce::Installer);
        assert!(kept.is_empty());
    }

    #[test]
    fn a_trial_runs_once_and_is_kept_only_if_it_is_confirmed() {
        let mut kept = put(over(INSTALLER));
        assert!(kept.confirm(sha256(b"new")).is_err(), "before it has begun");
        let InForce::Trial { file, left } = judge(&mut kept, moment(1002, 1002)) else { panic!() };
        assert_eq!((file.toml.as_str(), left), ("new", Duration::from_secs(58)));
        let mut crashed = kept.clone();
        assert_eq!(judge(&mut crashed, moment(1003, 1003)), InForce::Installer);
        assert_eq!(cause(&crashed), Some((RollbackCause::Crashed, true)));

        assert!(kept.confirm(sha256(b"other")).is_err());
        assert_eq!(kept.confirm(file.sha256()).unwrap(), file);
        assert!(kept.confirm(file.sha256()).is_err(), "only once");
        for second in [1003, 90_000] {
            assert_eq!(judge(&mut kept, moment(second, 1)), InForce::Confirmed(file.clone()));
            assert_eq!(kept.untold, None);
        }
    }

    #[test]
    fn a_trial_that_falls_back_falls_back_to_what_was_confirmed() {
        let mut kept = Override { confirmed: Some(file("old")), ..over(INSTALLER) };
        kept = put(kept);
        assert!(matches!(judge(&mut kept, moment(1001, 1001)), InForce::Trial { .. }));
        assert_eq!(judge(&mut kept, moment(1002, 1002)), InForce::Confirmed(file("old")));
    }

    #[test]
    fn the_deadline_counts_through_orderly_stops_and_reboots_by_the_clock_that_went_further() {
        for (at, left) in [
            (moment(1000, 1000), Some(60)),
            (moment(1020, 1020), Some(40)),
            (moment(1060, 1060), None),
            // The machine was started anew meanwhile: its clock since then, or the wall clock.
            (moment(5, 1030), Some(30)),
            (moment(5, 1060), None),
            (moment(50, 0), Some(10)),
            (moment(61, 0), None),
            // The wall clock was set back, or forth.
            (moment(1020, 0), Some(40)),
            (moment(1020, 2_000_000), None),
        ] {
            let mut kept = put(over(INSTALLER));
            let found = match judge(&mut kept, at) {
                InForce::Trial { left, .. } => Some(left.as_secs()),
                _ => None,
            };
            assert_eq!(found, left, "{at:?}");
            assert_eq!(cause(&kept), left.is_none().then_some((RollbackCause::NotConfirmed, true)), "{at:?}");
        }
    }

    #[test]
    fn an_orderly_stop_leaves_the_rest_of_the_time_to_the_next_start() {
        let mut kept = put(over(INSTALLER));
        let _ = judge(&mut kept, moment(1001, 1001));
        kept.pause(Duration::from_secs(30), moment(1030, 1030));
        let InForce::Trial { left, .. } = judge(&mut kept, moment(1040, 1040)) else { panic!() };
        assert_eq!(left, Duration::from_secs(20));
    }

    #[test]
    fn a_hand_at_the_installers_file_wins_over_everything() {
        let edited = sha256(b"edited");
        let mut on_trial = put(Override { confirmed: Some(file("old")), ..over(INSTALLER) });
        assert_eq!(on_trial.judge(edited, moment(1001, 1001)), InForce::Installer);
        assert_eq!(cause(&on_trial), Some((RollbackCause::InstallerEdited, true)));
        let mut confirmed = Override { confirmed: Some(file("old")), ..over(INSTALLER) };
        assert_eq!(confirmed.judge(edited, moment(1001, 1001)), InForce::Installer);
        assert_eq!(cause(&confirmed), Some((RollbackCause::InstallerEdited, false)));
        for mut kept in [on_trial, confirmed] {
            assert_eq!(judge(&mut kept, moment(1002, 1002)), InForce::Installer, "also when it is edited back");
        }
    }

    #[test]
    fn a_trial_that_ended_is_still_told_where_a_hand_at_the_file_ends_what_was_confirmed_as_well() {
        let mut kept = put(Override { confirmed: Some(file("old")), ..over(INSTALLER) });
        let _ = judge(&mut kept, moment(1001, 1001));
        kept.end_trial(RollbackCause::NotConfirmed, None);
        assert_eq!(kept.judge(sha256(b"edited"), moment(1062, 1062)), InForce::Installer);
        let told: Vec<_> = kept.all_untold().map(|ended| (ended.cause, ended.trial_of.is_some())).collect();
        assert_eq!(told, [(RollbackCause::NotConfirmed, true), (RollbackCause::InstallerEdited, false)]);
        assert!(kept.told() && !kept.told() && kept.is_empty());
    }

    #[test]
    fn a_second_trial_waits_for_the_end_of_the_first() {
        let mut kept = put(over(INSTALLER));
        assert!(kept.put(file("newer"), Duration::from_secs(60), moment(1001, 1001)).is_err());
        kept.end_trial(RollbackCause::NotConfirmed, None);
        assert!(kept.put(file("newer"), Duration::from_secs(60), moment(1001, 1001)).is_ok());
    }

    #[test]
    fn confirming_the_installers_own_text_ends_the_override() {
        let mut kept = Override { confirmed: Some(file("old")), ..over(INSTALLER) };
        kept.put(file(INSTALLER), Duration::from_secs(60), moment(1000, 1000)).unwrap();
        let _ = judge(&mut kept, moment(1001, 1001));
        assert!(kept.confirm(sha256(INSTALLER.as_bytes())).is_ok());
        assert!(kept.is_empty());
    }

    #[test]
    fn what_is_kept_reads_back() {
        let mut kept = put(Override { confirmed: Some(file("old")), ..over(INSTALLER) });
        kept.untold = Some(RolledBack {
            sha256: [7; 32],
            cause: RollbackCause::Failed,
            detail: Some("why".to_owned()),
            trial_of: Some(("cloud".to_owned(), Id::new("j").unwrap())),
        });
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Override>(&text).unwrap(), kept);
    }
}
