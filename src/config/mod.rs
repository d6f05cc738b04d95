//! Configuration: files to a checked [`site::Site`], every error of every file at once.
//!
//! Two stages. [`raw`] knows the shape of the site file and [`profile`] that of a board profile; both
//! read the spanned TOML tree through [`reader`], which collects what is missing, unknown or mistyped.
//! [`check`] then resolves references and judges what the installer asked for. Whatever is found goes
//! into one [`report::Report`], which shows it under the line it was written on.
//!
//! Must never change a file, open a device or talk to the network. Invariant: a [`site::Site`] comes out
//! only if the report holds no error.

pub mod anchors;
mod check;
pub mod command;
mod files;
mod installation;
pub mod line_time;
mod profile;
mod raw;
mod raw_places;
pub mod reader;
pub mod report;
pub mod site;
pub mod trial;

use std::path::{Path, PathBuf};

pub use command::{CheckOptions, check_command, check_files};
pub use files::{Disk, Files, Instead};
pub use installation::{Installation, NotTaken};
use reader::{KnownKeys, Sink};
pub use report::Report;
use report::{Diagnostic, Span};
use site::Site;

/// Where profiles are looked for after `profiles/` beside the site file.
pub const SHARED_PROFILES: &str = "/usr/share/latchd/profiles";

/// What systemd tells a service about its directories.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `$STATE_DIRECTORY`
    pub state_directory: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`
    pub credentials_directory: Option<PathBuf>,
}

impl Environment {
    pub fn of_process() -> Environment {
        let directory = |name| {
            let value = std::env::var_os(name)?;
            // systemd separates several directories by colons; ours is the first.
            std::env::split_paths(&value).next().filter(|path| path.is_absolute())
        };
        Environment {
            state_directory: directory("STATE_DIRECTORY"),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
        }
    }
}

/// How much must be there besides the configuration itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon starts: every file and directory must be there.
    Run,
    /// `latchd check`: files must be there; what only systemd knows is assumed.
    Check,
    /// `latchd check --no-files`: nothing is looked at but the site file and its profiles.
    CheckWithoutFiles,
}

/// What loading came to: the site if there was no error, and all findings.
#[derive(Debug)]
pub struct Loaded {
    pub site: Option<Site>,
    pub report: Report,
    pub known_keys: KnownKeys,
}

/// For the daemon: the checked site, or everything that is wrong with it.
pub fn load(path: &Path, environment: &Environment) -> Result<Site, Report> {
    let loaded = load_from(&Disk, path, environment, Purpose::Run);
    loaded.site.ok_or(loaded.report)
}

/// The same with warnings, for any purpose, from any files.
pub fn load_from(files: &dyn Files, path: &Path, environment: &Environment, purpose: Purpose) -> Loaded {
    let sink = Sink::default();
    let site = load_into(&sink, files, path, environment, purpose);
    let report = sink.report.into_inner();
    Loaded { site: site.filter(|_| report.errors() == 0), report, known_keys: sink.known.into_inner() }
}

fn load_into(sink: &Sink, files: &dyn Files, path: &Path, environment: &Environment, purpose: Purpose) -> Option<Site> {
    let text = match files.read(path) {
        Ok(text) => text,
        Err(error) => {
            let finding = Diagnostic::error(format!("cannot read the site file {}: {error}", path.display()));
            sink.add(finding.help("name it with --config FILE"));
            return None;
        }
    };
    let file = sink.report.borrow_mut().add_source(path.display().to_string(), text.clone());
    let (tree, sound) = reader::parse(sink, file, &text);
    let top = Span { file, start: 0, end: 0 };
    // With broken syntax, keys may be missing that are there: what else is wrong is found on the next run.
    let raw = sound.then(|| raw::site(reader::Table::new(sink, "the site file", top, tree.get_ref())))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    check::Checker { sink, files, directory, environment, purpose }.site(raw)
}
