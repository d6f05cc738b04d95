//! A site file and the text it was read from. Owns the reading of both together, so that what is judged and
//! what is named by its hash are the same bytes; must never write.

use std::path::{Path, PathBuf};

use super::{Disk, Environment, Files as _, Instead, Loaded, Purpose, anchors, load_from, site::Site};
use crate::wire::canonical::sha256;

/// Where the installer's file is, and what it said when it was read.
#[derive(Clone, Debug)]
pub struct Installation {
    pub path: PathBuf,
    pub environment: Environment,
    pub text: String,
    pub site: Site,
}

/// Why a site file that came by command is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// As `latchd check --short` says it, with `toml` for the name of the file.
    Invalid(Vec<String>),
    /// It touches these keys, which belong to the installer.
    Anchors(Vec<&'static str>),
}

impl Installation {
    /// Everything that was found comes back; the installation only if there was no error.
    pub fn read(path: &Path, environment: &Environment) -> (Option<Installation>, Loaded) {
        let Ok(text) = Disk.read(path) else {
            return (None, load_from(&Disk, path, environment, Purpose::Run));
        };
        let mut loaded = load_from(&Instead { of: path, text: &text }, path, environment, Purpose::Run);
        let installation = loaded.site.take().map(|site| Installation {
            path: path.to_owned(),
            environment: environment.clone(),
            text,
            site,
        });
        (installation, loaded)
    }

    /// The same again; `None` if it cannot be used as it is now.
    pub fn read_again(&self) -> Option<Installation> {
        Installation::read(&self.path, &self.environment).0
    }

    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }

    /// `toml` in the place of the installer's file: the site that it makes, and what was found besides.
    pub fn with(&self, toml: &str) -> Result<(Site, Vec<String>), NotTaken> {
        // Nobody learns by a command which files there are: what it must not touch is looked at first.
        self.load(toml, Purpose::CheckWithoutFiles)?;
        self.load(toml, Purpose::Run)
    }

    fn load(&self, toml: &str, purpose: Purpose) -> Result<(Site, Vec<String>), NotTaken> {
        let files = Instead { of: &self.path, text: toml };
        let loaded = load_from(&files, &self.path, &self.environment, purpose);
        let name = self.path.display().to_string();
        let called_toml = |line: String| match line.strip_prefix(&name) {
            Some(rest) => format!("toml{rest}"),
            None => line,
        };
        let found: Vec<String> = loaded.report.lines().into_iter().map(called_toml).collect();
        let Some(site) = loaded.site else { return Err(NotTaken::Invalid(found)) };
        match anchors::touched(&self.site, &site) {
            touched if touched.is_empty() => Ok((site, found)),
            touched => Err(NotTaken::Anchors(touched)),
        }
    }
}
