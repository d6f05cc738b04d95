//! Mistakes with the site file and with the one that came by command. Owns what does not get to the disk or from it;
//! must never write. Invariant: the installer's own file is never altered.

use latchd::config::trial::{Override, Phase};

use super::{Mistake, Shim};
use crate::world::configuration::INSTALLERS;

/// From the daemon to the disk; `None`: it never gets there.
pub fn override_as_stored(mistake: Option<Mistake>, kept: &Override) -> Option<Override> {
    let begins = kept.trial.as_ref().is_some_and(|trial| trial.phase == Phase::Running);
    match mistake {
        Some(Mistake::TrialUnmarked) if begins => None,
        Some(Mistake::ConfirmationForgotten) if kept.confirmed.is_some() => None,
        _ => Some(kept.clone()),
    }
}

impl Shim {
    /// From the disk to whoever judges what is in force.
    pub fn installers_file(&self, text: &str) -> String {
        if self.is(Mistake::InstallerOverruled) { INSTALLERS.to_owned() } else { text.to_owned() }
    }

    pub fn trial_ends(&self) -> bool {
        !self.is(Mistake::TrialUnending)
    }
}
