//! The keeper of the keys of OSDP readers: makes them, stores them sealed, and says which hold. Owns the files, on a
//! thread of its own, so that no line waits for a disk; must never let a key be sent that is not on the disk.
//! Invariant: a key that a reader may have taken is kept until the reader has proven another one.

use std::{collections::BTreeMap, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use crate::{
    adapters::{
        clock,
        osdp_key_file::{KeyFileError, OsdpKeyFiles, fresh_key},
    },
    config::site::{OsdpKey, ReaderSource, Site},
    domain::{
        ids::{Id, ReaderIx},
        installer::{Answer, INSTALL_MAX_MINUTES},
    },
    gateway::osdp::{KeyRing, Scbk},
    runtime::{
        osdp_lines::{Lines, NotSet},
        osdp_loop::{Install, KeyRings, KeyState, OsdpKeys, SetLine},
    },
    wire::osdp::sealed::ReaderKeys,
};

/// Full: a question is refused, and that a key was taken is said again with the reader's next session.
const TASKS_MAX: usize = 16;

pub enum KeyTask {
    /// For so many minutes a reader under the default key is given one of its own.
    Install {
        reader: Id,
        minutes: u32,
        uid: u32,
        answer: oneshot::Sender<Answer>,
    },
    /// Whether the reader has what it is being given.
    Ask {
        reader: Id,
        answer: oneshot::Sender<Answer>,
    },
    /// A reader is to have another address, or another speed.
    SetLine {
        reader: Id,
        address: Option<u8>,
        baud: Option<u32>,
        uid: u32,
        answer: oneshot::Sender<Answer>,
    },
    /// What became of that.
    AskLine {
        reader: Id,
        answer: oneshot::Sender<Answer>,
    },
    /// A reader has proven this key.
    Taken(ReaderIx, Scbk),
    /// It has the settings that it was told to take; or why nobody can say so.
    LineSet(ReaderIx, Result<(), NotSet>),
    Stop,
}

pub struct KeyKeeper {
    tasks: mpsc::Sender<KeyTask>,
    thread: JoinHandle<()>,
}

struct Keeper {
    files: OsdpKeyFiles,
    /// Those whose key is kept here.
    readers: BTreeMap<ReaderIx, (Id, ReaderKeys)>,
    /// Names of the others.
    others: BTreeMap<Id, &'static str>,
    states: BTreeMap<ReaderIx, KeyState>,
    lines: Lines,
    rings: watch::Sender<KeyRings>,
}

impl KeyKeeper {
    /// A file that cannot be read is said, and its reader is not let in until it is installed again.
    pub fn start(
        site: &Site,
        given: &BTreeMap<ReaderIx, Scbk>,
        files: OsdpKeyFiles,
    ) -> std::io::Result<(KeyKeeper, OsdpKeys)> {
        let mut keeper = Keeper {
            files,
            readers: BTreeMap::new(),
            others: BTreeMap::new(),
            states: BTreeMap::new(),
            lines: Lines::of(site),
            rings: watch::channel(KeyRings::default()).0,
        };
        for reader in &site.readers {
            match &reader.source {
                ReaderSource::Osdp(osdp) if osdp.key == OsdpKey::Installed => {
                    let keys = keeper.files.load(&reader.id).unwrap_or_else(|error| {
                        tracing::error!(reader = %reader.id, %error, "the key of an OSDP reader cannot be used");
                        ReaderKeys::default()
                    });
                    keeper.states.insert(reader.reader, KeyState { ring: ring(&keys), ..KeyState::default() });
                    keeper.readers.insert(reader.reader, (reader.id.clone(), keys));
                }
                ReaderSource::Osdp(osdp) if osdp.key == OsdpKey::Off => {
                    keeper.others.insert(reader.id.clone(), "speaks in the clear, as the site file says");
                }
                ReaderSource::Osdp(_) => {
                    if let Some(key) = given.get(&reader.reader) {
                        let ring = KeyRing { current: Some(key.clone()), ..KeyRing::default() };
                        keeper.states.insert(reader.reader, KeyState { ring, ..KeyState::default() });
                    }
                    keeper.others.insert(reader.id.clone(), "has its key in a file that the site file names");
                }
                _ => {
                    keeper.others.insert(reader.id.clone(), "is no OSDP reader");
                }
            }
        }
        keeper.publish();
        let (tasks, mut asked) = mpsc::channel(TASKS_MAX);
        let keys = OsdpKeys { rings: keeper.rings.subscribe(), taken: tasks.clone() };
        let run = move || {
            while let Some(task) = asked.blocking_recv() {
                match task {
                    KeyTask::Stop => return,
                    KeyTask::Install { reader, minutes, uid, answer } => {
                        let _ = answer.send(keeper.install(&reader, minutes, uid));
                    }
                    KeyTask::Ask { reader, answer } => {
                        let _ = answer.send(keeper.ask(&reader));
                    }
                    KeyTask::SetLine { reader, address, baud, uid, answer } => {
                        let _ = answer.send(keeper.set_line(&reader, address, baud, uid));
                    }
                    KeyTask::AskLine { reader, answer } => {
                        let _ = answer.send(keeper.lines.ask(&reader));
                    }
                    KeyTask::Taken(reader, key) => keeper.taken(reader, &key),
                    KeyTask::LineSet(reader, result) => keeper.lines.said(reader, result),
                }
            }
        };
        let thread = std::thread::Builder::new().name("osdp-keys".to_owned()).spawn(run)?;
        Ok((KeyKeeper { tasks, thread }, keys))
    }

    pub fn tasks(&self) -> mpsc::Sender<KeyTask> {
        self.tasks.clone()
    }

    pub fn stop(self) {
        if self.tasks.blocking_send(KeyTask::Stop).is_ok() {
            let _ = self.thread.join();
        }
    }
}

impl Keeper {
    fn publish(&self) {
        self.rings.send_replace(Arc::new(self.states.clone()));
    }

    fn find(&self, reader: &Id) -> Result<ReaderIx, Answer> {
        let found = self.readers.iter().find(|(_, (id, _))| id == reader).map(|(ix, _)| *ix);
        found.ok_or_else(|| {
            let message = match self.others.get(reader) {
                Some(why) => format!("`{reader}` {why}: there is no key to install"),
                None => {
                    let known: Vec<&str> = self.readers.values().map(|(id, _)| id.as_str()).collect();
                    format!("there is no reader `{reader}`; OSDP readers are {}", known.join(", "))
                }
            };
            Answer::Refused { message }
        })
    }

    fn install(&mut self, reader: &Id, minutes: u32, uid: u32) -> Answer {
        if !(1..=INSTALL_MAX_MINUTES).contains(&minutes) {
            return Answer::Refused { message: format!("expected 1 to {INSTALL_MAX_MINUTES} minutes") };
        }
        let ix = match self.find(reader) {
            Ok(ix) => ix,
            Err(refused) => return refused,
        };
        let Some((_, keys)) = self.readers.get_mut(&ix) else { return self.ask(reader) };
        if let Err(error) = make_pending(&self.files, reader, keys) {
            tracing::error!(reader = %reader, %error, "a key for an OSDP reader could not be stored");
            return Answer::Refused { message: format!("its key could not be stored: {error}") };
        }
        let mut ring = ring(keys);
        ring.install_until = Some(clock::mono() + Duration::from_secs(60 * u64::from(minutes)));
        tracing::warn!(reader = %reader, minutes, uid, "for a time the default key of this OSDP reader is accepted");
        let state = self.states.entry(ix).or_default();
        (state.ring, state.install) = (ring, Some(Install { uid, minutes }));
        self.publish();
        let message = format!(
            "for {minutes} minutes latchd gives `{reader}` a key of its own: power the reader with its default key (as \
             delivered, or reset as its manual says)"
        );
        Answer::Done { message }
    }

    fn ask(&self, reader: &Id) -> Answer {
        let keys = match self.find(reader) {
            Ok(ix) => self.readers.get(&ix).map(|(_, keys)| keys.clone()).unwrap_or_default(),
            Err(refused) => return refused,
        };
        match (keys.pending, keys.current) {
            (None, Some(_)) => Answer::Done { message: format!("`{reader}` has a key of its own") },
            (Some(_), _) => Answer::Refused { message: format!("`{reader}` has not taken its key") },
            (None, None) => Answer::Refused { message: format!("`{reader}` has no key yet") },
        }
    }

    fn set_line(&mut self, reader: &Id, address: Option<u8>, baud: Option<u32>, uid: u32) -> Answer {
        match self.lines.begin(reader, address, baud, uid) {
            Ok((ix, set_line)) => {
                let SetLine { address, baud, .. } = set_line;
                tracing::warn!(reader = %reader, address, baud, uid, "an OSDP reader is told to take other settings");
                self.states.entry(ix).or_default().set_line = Some(set_line);
                self.publish();
                Answer::Done { message: format!("`{reader}` is told to take address {address} and {baud} baud") }
            }
            Err(message) => Answer::Refused { message },
        }
    }

    fn taken(&mut self, reader: ReaderIx, key: &Scbk) {
        let Some((id, keys)) = self.readers.get_mut(&reader) else { return };
        if keys.pending.as_ref().is_some_and(|pending| **pending == *key.bytes()) {
            let proven = ReaderKeys { current: keys.pending.clone(), pending: None };
            if let Err(error) = self.files.store(id, &proven) {
                // Both stay, and are tried in turn.
                return tracing::error!(reader = %id, %error, "that an OSDP reader has its key could not be stored");
            }
            *keys = proven;
            let state = self.states.entry(reader).or_default();
            (state.ring, state.install) = (ring(keys), None);
            self.publish();
        }
    }
}

/// One that was begun with before is not replaced: the reader may have it.
fn make_pending(files: &OsdpKeyFiles, reader: &Id, keys: &mut ReaderKeys) -> Result<(), KeyFileError> {
    if keys.pending.is_some() {
        return Ok(());
    }
    let with = ReaderKeys { pending: Some(fresh_key()?), ..keys.clone() };
    files.store(reader, &with)?;
    *keys = with;
    Ok(())
}

fn ring(keys: &ReaderKeys) -> KeyRing {
    let scbk = |key: &Option<Zeroizing<[u8; 16]>>| key.as_ref().map(|key| Scbk::new(**key));
    KeyRing { current: scbk(&keys.current), pending: scbk(&keys.pending), install_until: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn keeper(directory: &std::path::Path) -> Keeper {
        let files = OsdpKeyFiles::new(directory, Zeroizing::new([7; 32]));
        let keys = files.load(&id("front")).unwrap();
        Keeper {
            files,
            readers: BTreeMap::from([(ReaderIx(0), (id("front"), keys))]),
            others: BTreeMap::from([(id("back"), "is no OSDP reader")]),
            states: BTreeMap::new(),
            lines: Lines::default(),
            rings: watch::channel(KeyRings::default()).0,
        }
    }

    #[test]
    fn a_key_is_on_the_disk_before_a_reader_is_given_it_and_is_its_own_once_it_is_proven() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = keeper(directory.path());
        assert!(matches!(first.install(&id("front"), 10, 0), Answer::Done { .. }));
        let ring = first.rings.borrow().get(&ReaderIx(0)).unwrap().ring.clone();
        let pending = ring.pending.clone().unwrap();
        assert!(ring.current.is_none() && ring.install_until.is_some());
        assert_eq!(*first.files.load(&id("front")).unwrap().pending.unwrap(), *pending.bytes());
        assert!(matches!(first.ask(&id("front")), Answer::Refused { .. }));

        // After a crash the same key is offered again: the reader may have it.
        let mut second = keeper(directory.path());
        second.install(&id("front"), 10, 0);
        assert_eq!(second.rings.borrow().get(&ReaderIx(0)).unwrap().ring.pending, Some(pending.clone()));
        second.taken(ReaderIx(0), &Scbk::new([1; 16]));
        assert!(matches!(second.ask(&id("front")), Answer::Refused { .. }));
        second.taken(ReaderIx(0), &pending);
        assert!(matches!(second.ask(&id("front")), Answer::Done { .. }));
        let stored = second.files.load(&id("front")).unwrap();
        assert_eq!((stored.pending, *stored.current.unwrap()), (None, *pending.bytes()));
        let ring = second.rings.borrow().get(&ReaderIx(0)).unwrap().ring.clone();
        assert_eq!(ring, KeyRing { current: Some(pending), ..KeyRing::default() });
    }

    #[test]
    fn only_an_osdp_reader_whose_key_is_kept_here_is_installed_and_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let mut keeper = keeper(directory.path());
        for (reader, minutes) in [("back", 10), ("none", 10), ("front", 0), ("front", 61)] {
            assert!(matches!(keeper.install(&id(reader), minutes, 0), Answer::Refused { .. }), "{reader} {minutes}");
        }
    }
}
