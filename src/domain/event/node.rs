//! Why something that the node was in for a time is over: a configuration by command, installer mode. Owns the causes;
//! must never judge them. Invariant: each end has exactly one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a site file that came by command is no longer in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RollbackCause {
    /// Nobody confirmed it in time.
    NotConfirmed,
    /// The daemon died during the trial.
    Crashed,
    /// The daemon could not run with it; `detail` says why.
    Failed,
    /// The installer's file was changed: it wins.
    InstallerEdited,
    /// It, or what it names, cannot be read any more; `detail` says why.
    Damaged,
    /// The key that signed the command was revoked during the trial.
    KeyRevoked,
}

impl RollbackCause {
    pub fn as_str(self) -> &'static str {
        match self {
            RollbackCause::NotConfirmed => "not confirmed in time",
            RollbackCause::Crashed => "the daemon died during the trial",
            RollbackCause::Failed => "the daemon could not run with it",
            RollbackCause::InstallerEdited => "the installer's file was changed",
            RollbackCause::Damaged => "it cannot be read any more",
            RollbackCause::KeyRevoked => "the key that signed the command was revoked",
        }
    }
}

/// Why installer mode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstallerModeEnd {
    /// By whoever began it, or with the daemon.
    Ended,
    /// Its time.
    Over,
}
