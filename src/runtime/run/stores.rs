//! The stores as a run begins with them: opened, or put aside and begun anew. Owns where each lies; must never go on with
//! a store that holds what it should not. Invariant: whatever was put aside is in `set_aside`, to be told.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    cloud::audience,
    error::{RunError, unusable},
};
use crate::{
    adapters::{
        clock as clocks,
        store::{
            self, SetAside, SledKv,
            mirror_thread::{MirrorError, MirrorPlace, MirrorThread},
        },
    },
    config::site::Site,
    gateway::mirror::{MirrorConfig, MirrorOpened, RootAttest},
    runtime::{clock::Clock, secrets::Secrets},
};

/// Opens the stores; what cannot be read is put aside and told of.
pub(super) struct Opening {
    pub(super) dir: PathBuf,
    pub(super) set_aside: Vec<(&'static str, SetAside)>,
}

impl Opening {
    pub(super) fn new(site: &Site) -> Opening {
        Opening { dir: site.node.state_dir.clone(), set_aside: Vec::new() }
    }

    pub(super) fn mirror(
        &mut self,
        site: &Site,
        secrets: &Secrets,
        clock: &Clock,
    ) -> Result<(MirrorThread, MirrorOpened), RunError> {
        let audience = audience(site);
        let place = MirrorPlace {
            store: self.dir.join("mirror.sled"),
            copy: self.dir.join("set-copy"),
            emergency: self.dir.join("emergency-cards"),
            attest: Arc::new(RootAttest { root: secrets.root.clone(), audience: audience.clone() }),
            config: MirrorConfig {
                seed: audience.bytes().fold(0, |seed, byte| seed.rotate_left(8) ^ u64::from(byte)),
                audience,
                topology: site.topology(),
                zone: site.node.time_zone.clone(),
            },
        };
        let mut open = place.start(clock.now()).map_err(|error| match error {
            MirrorError::Store(error) => error.into(),
            other => unusable(&place.store, &other),
        })?;
        self.note("mirror", open.set_aside.take());
        let clock = clock.clone();
        Ok(MirrorThread::spawn(open, move || clock.now())?)
    }

    pub(super) fn store(&mut self, name: &'static str, path: &Path) -> Result<SledKv, RunError> {
        let (store, set_aside) = store::open_or_set_aside(path, clocks::wall())?;
        self.note(name, set_aside);
        Ok(store)
    }

    /// For a store that opens but does not hold what it should.
    pub(super) fn fresh(&mut self, name: &'static str, path: &Path, detail: &str) -> Result<SledKv, RunError> {
        let set_aside = store::set_aside(path, detail, clocks::wall())?;
        self.note(name, Some(set_aside));
        self.store(name, path)
    }

    fn note(&mut self, name: &'static str, set_aside: Option<SetAside>) {
        if let Some(set_aside) = set_aside {
            let moved_to = set_aside.moved_to.display();
            tracing::error!(store = name, %moved_to, detail = set_aside.detail, "a damaged store was set aside");
            self.set_aside.push((name, set_aside));
        }
    }
}
