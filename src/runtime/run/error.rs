//! Why the daemon did not start, or had to end. Owns the words and the exit code; must never hide which file or store it
//! was. Invariant: a cause that only a change of the configuration mends exits as EX_CONFIG, and nothing else does:
//! systemd does not start the daemon anew then.

use std::path::{Path, PathBuf};

use crate::{
    adapters::{override_file::OverrideError, store::OpenError},
    runtime::secrets::SecretError,
};

/// As sysexits.h names them: EX_CANTCREAT, EX_TEMPFAIL, EX_OSERR, EX_CONFIG.
pub(super) const EXIT_CANNOT_CREATE: u8 = 73;
const EXIT_IN_USE: u8 = 75;
const EXIT_SYSTEM: u8 = 71;
const EXIT_BAD_CONFIGURATION: u8 = 78;

/// Why the daemon did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("{error}")]
    Open { error: OpenError, exit_code: u8 },
    #[error("{}: {what}", path.display())]
    State { path: PathBuf, what: String, exit_code: u8 },
    #[error(
        "this process may open {limit} files and needs {needed}: raise LimitNOFILE of the unit, or the hard limit of `ulimit -n`"
    )]
    OpenFiles { limit: u64, needed: u64 },
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    #[error("the kernel gave no randomness")]
    Randomness,
    #[error("{0}")]
    Doors(String),
    #[error(transparent)]
    Override(#[from] OverrideError),
}

impl RunError {
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Secret(_) => EXIT_BAD_CONFIGURATION,
            RunError::State { exit_code, .. } | RunError::Open { exit_code, .. } => *exit_code,
            RunError::OpenFiles { .. } | RunError::Io(_) | RunError::Randomness => EXIT_SYSTEM,
            RunError::Override(_) => EXIT_IN_USE,
            RunError::Doors(_) => 1,
        }
    }
}

pub(super) fn unusable(path: &Path, error: &dyn std::fmt::Display) -> RunError {
    RunError::State { path: path.to_owned(), what: error.to_string(), exit_code: 1 }
}

impl From<OpenError> for RunError {
    fn from(error: OpenError) -> RunError {
        let exit_code = match &error {
            OpenError::Locked { .. } => EXIT_IN_USE,
            OpenError::ReadOnly { .. } | OpenError::MissingParent { .. } | OpenError::Full { .. } => EXIT_CANNOT_CREATE,
            OpenError::Damaged { .. } | OpenError::Io { .. } => 1,
        };
        RunError::Open { error, exit_code }
    }
}
