//! The second copy of the permission set and the anchor, as plain files outside the store. Owns their
//! bytes and their fsyncs; must never interpret a frame. Invariant: every file is replaced whole (written
//! beside, synced, renamed, directory synced), or grown by whole frames, of which a torn last one is cut off;
//! the anchor, which changes with every set, is written into the one of its two slots that does not count.
//!
//! ```text
//! base     "latchd set copy\n" | number (u64) | frame …          number names the log that belongs to it
//! log.N    frame …                                              a base with a new number begins a new log
//! anchor   slot | slot, of 4096 bytes each        the whole slot with the higher count is the anchor
//! slot     count in hex, space, JSON, line | CRC-32 of the line in hex, line | zeros
//! frame    length (u32) | CRC-32 (u32) | bytes                   all little-endian
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::emergency_copy::EmergencyCopyFile;
use crate::gateway::mirror::{Anchor, CopyError, SecondCopy, Sink};

const MAGIC: &[u8; 16] = b"latchd set copy\n";

/// No frame is longer: a chunk, a signed document, and their tags are below 300 KiB.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// The files hold the names of people.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

#[derive(Debug)]
pub struct SecondCopyFiles {
    directory: PathBuf,
    /// Number of the base and so of its log; nothing without a base.
    number: Option<u64>,
    base_bytes: u64,
    /// Open for appending, and how much of it is good.
    log: Option<(File, u64)>,
    /// Open for writing, and the count of the slot that counts.
    anchor: Option<(File, u64)>,
    emergency: EmergencyCopyFile,
}

/// A power cut tears one slot; what lies in the other is whole.
const SLOT_BYTES: usize = 4096;

impl SecondCopyFiles {
    /// In this directory, which is made when there is something to be put into it; the one above must exist.
    /// `emergency` is that of the emergency cards, made likewise.
    pub fn open(directory: &Path, emergency: &Path) -> SecondCopyFiles {
        let mut copy = SecondCopyFiles {
            directory: directory.to_owned(),
            number: None,
            base_bytes: 0,
            log: None,
            anchor: None,
            emergency: EmergencyCopyFile::new(emergency),
        };
        if let Ok(Some((number, file))) = copy.base() {
            copy.number = Some(number);
            copy.base_bytes = file.get_ref().metadata().map_or(0, |metadata| metadata.len());
        }
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn log_path(&self, number: u64) -> PathBuf {
        self.path(&format!("log.{number}"))
    }

    /// The base after its header.
    fn base(&self) -> Result<Option<(u64, BufReader<File>)>, CopyError> {
        let Some(file) = existing(File::open(self.path("base")))? else { return Ok(None) };
        let mut reader = BufReader::new(file);
        let (mut magic, mut number) = ([0; 16], [0; 8]);
        let header = reader.read_exact(&mut magic).and_then(|()| reader.read_exact(&mut number));
        if header.is_err() || magic != *MAGIC {
            return Err(CopyError::Damaged("the base has no header".to_owned()));
        }
        Ok(Some((u64::from_le_bytes(number), reader)))
    }

    fn replace(&self, name: &str, write: impl FnOnce(&mut File) -> Result<(), CopyError>) -> Result<(), CopyError> {
        make_directory(&self.directory)?;
        replace(&self.directory, name, write)
    }

    /// Above the number of any log that lies there.
    fn next_number(&self) -> io::Result<u64> {
        let mut highest = self.number.unwrap_or(0);
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("log.")).and_then(|n| n.parse().ok());
            highest = highest.max(number.unwrap_or(0));
        }
        Ok(highest.saturating_add(1))
    }

    fn remove_logs_but(&self, number: u64) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let stale = entry.file_name().to_str().and_then(|name| name.strip_prefix("log.")?.parse::<u64>().ok());
            if stale.is_some_and(|stale| stale != number) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The log, open at the end of its last whole frame.
    fn log(&mut self) -> Result<&mut (File, u64), CopyError> {
        let Some(number) = self.number else {
            return Err(CopyError::Failed("there is no base that a log could follow".to_owned()));
        };
        if self.log.is_none() {
            let path = self.log_path(number);
            let is_new = !path.exists();
            let file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&path)?;
            if is_new {
                sync_directory(&self.directory)?;
            }
            let good = frames(&mut BufReader::new(&file), &mut |_| ())?;
            // Whatever a failed or torn write left behind.
            file.set_len(good)?;
            self.log = Some((file, good));
        }
        self.log.as_mut().ok_or_else(|| CopyError::Failed("the log is not open".to_owned()))
    }
}

impl SecondCopy for SecondCopyFiles {
    fn read_anchor(&mut self) -> Result<Option<Anchor>, CopyError> {
        let Some(bytes) = existing(fs::read(self.path("anchor")))? else { return Ok(None) };
        let damaged = |what: &str| CopyError::Damaged(format!("anchor: {what}"));
        let (count, json) = newest_slot(&bytes).ok_or_else(|| damaged("no checksum in it matches"))?;
        let anchor = serde_json::from_str(json).map_err(|e| damaged(&e.to_string()))?;
        if bytes.len() == 2 * SLOT_BYTES {
            let file = OpenOptions::new().write(true).open(self.path("anchor"))?;
            self.anchor = Some((file, count));
        }
        Ok(Some(anchor))
    }

    fn write_anchor(&mut self, anchor: &Anchor) -> Result<(), CopyError> {
        let json = serde_json::to_string(anchor).map_err(|e| CopyError::Failed(e.to_string()))?;
        // After a failed sync nothing is known of the file: it is replaced.
        let Some((file, count)) = self.anchor.take() else {
            let slots = [slot_of(1, &json)?, vec![0; SLOT_BYTES]].concat();
            self.replace("anchor", |file| Ok(file.write_all(&slots)?))?;
            self.anchor = Some((OpenOptions::new().write(true).open(self.path("anchor"))?, 1));
            return Ok(());
        };
        let count = count.wrapping_add(1);
        let at = if count % 2 == 1 { 0 } else { SLOT_BYTES as u64 };
        // Its blocks are there, so this waits for the disk once, and for no journal.
        file.write_all_at(&slot_of(count, &json)?, at)?;
        file.sync_data()?;
        self.anchor = Some((file, count));
        Ok(())
    }

    fn read_base(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        let Some((_, mut reader)) = self.base()? else { return Ok(false) };
        frames(&mut reader, visit)?;
        Ok(true)
    }

    fn write_base(&mut self, fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>) -> Result<(), CopyError> {
        make_directory(&self.directory)?;
        let number = self.next_number()?;
        let mut bytes = (MAGIC.len() + 8) as u64;
        self.replace("base", |file| {
            let mut writer = BufWriter::new(file);
            writer.write_all(MAGIC)?;
            writer.write_all(&number.to_le_bytes())?;
            fill(&mut |frame: &[u8]| {
                bytes += frame.len() as u64 + 8;
                Ok(write_frame(&mut writer, frame)?)
            })?;
            Ok(writer.flush()?)
        })?;
        self.number = Some(number);
        self.base_bytes = bytes;
        self.log = None;
        // What is left over harms nobody: a log is read only under its number.
        let _ = self.remove_logs_but(number);
        Ok(())
    }

    fn read_log(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<(), CopyError> {
        let Some(number) = self.number else { return Ok(()) };
        let Some(file) = existing(File::open(self.log_path(number)))? else { return Ok(()) };
        frames(&mut BufReader::new(file), visit)?;
        Ok(())
    }

    fn append_log(&mut self, entry: &[u8]) -> Result<(), CopyError> {
        let (file, good) = self.log()?;
        let mut frame = Vec::with_capacity(entry.len() + 8);
        write_frame(&mut frame, entry)?;
        let written = file.write_all_at(&frame, *good).and_then(|()| file.sync_data());
        match written {
            Ok(()) => *good += frame.len() as u64,
            // After a failed sync nothing is known of the file: it is looked at anew.
            Err(_) => self.log = None,
        }
        Ok(written?)
    }

    fn read_emergency(&mut self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        self.emergency.read(visit)
    }

    fn write_emergency(
        &mut self,
        fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        self.emergency.write(fill)
    }

    fn sizes(&self) -> (u64, u64) {
        (self.base_bytes, self.log.as_ref().map_or(0, |(_, good)| *good))
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> CopyError {
        CopyError::Failed(error.to_string())
    }
}

/// Made if it is not there; the one above must exist.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Ok(()) => sync_directory(parent_of(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file of this directory, whole: written beside, synced, renamed, directory synced.
pub(super) fn replace(
    directory: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let beside = directory.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&beside)?;
    let written = write(&mut file).and_then(|()| Ok(file.sync_all()?));
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    fs::rename(&beside, directory.join(name))?;
    Ok(sync_directory(directory)?)
}

pub(super) fn existing<T>(result: io::Result<T>) -> Result<Option<T>, CopyError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(CopyError::Damaged(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

fn slot_of(count: u64, json: &str) -> Result<Vec<u8>, CopyError> {
    let line = format!("{count:x} {json}");
    let mut slot = format!("{line}\n{:08x}\n", crc32fast::hash(line.as_bytes())).into_bytes();
    if slot.len() > SLOT_BYTES {
        return Err(CopyError::Failed(format!("an anchor of {} bytes is too long", slot.len())));
    }
    slot.resize(SLOT_BYTES, 0);
    Ok(slot)
}

/// Count and JSON of the slot that counts; nothing if none is whole.
fn newest_slot(bytes: &[u8]) -> Option<(u64, &str)> {
    let whole = |slot| {
        let mut lines = std::str::from_utf8(slot).ok()?.split('\n');
        let (line, crc) = lines.next().zip(lines.next())?;
        let (count, json) = line.split_once(' ')?;
        let is_whole = u32::from_str_radix(crc, 16) == Ok(crc32fast::hash(line.as_bytes()));
        Some((u64::from_str_radix(count, 16).ok().filter(|_| is_whole)?, json))
    };
    bytes.chunks(SLOT_BYTES).take(2).filter_map(whole).max_by_key(|(count, _)| *count)
}

pub(super) fn write_frame(writer: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame is too long"))?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&crc32fast::hash(frame).to_le_bytes())?;
    writer.write_all(frame)
}

/// Whole frames up to the end or to the first that is not whole; the number of bytes that they take.
pub(super) fn frames(reader: &mut impl Read, visit: &mut dyn FnMut(&[u8])) -> Result<u64, CopyError> {
    let mut good = 0;
    let mut frame = Vec::new();
    loop {
        let mut header = [0; 8];
        if !filled(reader, &mut header)? {
            return Ok(good);
        }
        let [a, b, c, d, crc @ ..] = header;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > FRAME_BYTES_MAX {
            return Ok(good);
        }
        frame.resize(length as usize, 0);
        if !filled(reader, &mut frame)? || crc32fast::hash(&frame) != u32::from_le_bytes(crc) {
            return Ok(good);
        }
        visit(&frame);
        good += 8 + u64::from(length);
    }
}

/// False at the end of the file.
fn filled(reader: &mut impl Read, bytes: &mut [u8]) -> Result<bool, CopyError> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> SecondCopyFiles {
        SecondCopyFiles::open(directory, &directory.join("emergency"))
    }

    fn base(copy: &mut SecondCopyFiles) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        copy.read_base(&mut |frame| found.push(frame.to_vec())).unwrap().then_some(found)
    }

    fn log(copy: &mut SecondCopyFiles) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        copy.read_log(&mut |frame| found.push(frame.to_vec())).unwrap();
        found
    }

    fn write(copy: &mut SecondCopyFiles, frames: &[&[u8]]) -> Result<(), CopyError> {
        copy.write_base(&mut |sink: &mut Sink<'_>| frames.iter().try_for_each(|frame| sink(frame)))
    }

    #[test]
    fn what_was_written_is_read_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("set");
        let mut copy = open(&path);
        assert_eq!(base(&mut copy), None);
        assert!(copy.append_log(b"delta").is_err());
        write(&mut copy, &[b"keys", b"", b"chunk"]).unwrap();
        copy.append_log(b"one").unwrap();
        copy.append_log(b"two").unwrap();
        let sizes = copy.sizes();
        let mut copy = open(&path);
        assert_eq!(base(&mut copy).unwrap(), [&b"keys"[..], b"", b"chunk"]);
        assert_eq!(log(&mut copy), [b"one", b"two"]);
        copy.append_log(b"three").unwrap();
        assert_eq!(copy.sizes(), (sizes.0, sizes.1 + 13));
        assert_eq!(log(&mut copy).len(), 3);
    }

    #[test]
    fn a_new_base_begins_a_new_log_and_a_failed_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut copy = open(directory.path());
        write(&mut copy, &[b"first"]).unwrap();
        copy.append_log(b"one").unwrap();
        let failing = copy.write_base(&mut |sink: &mut Sink<'_>| {
            sink(b"second")?;
            Err(CopyError::Failed("no space".into()))
        });
        assert!(failing.is_err());
        assert_eq!((base(&mut copy).unwrap(), log(&mut copy)), (vec![b"first".to_vec()], vec![b"one".to_vec()]));
        write(&mut copy, &[b"second"]).unwrap();
        assert_eq!((base(&mut copy).unwrap(), log(&mut copy)), (vec![b"second".to_vec()], vec![]));
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["base"]);
    }

    #[test]
    fn a_torn_last_entry_is_left_out_and_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut copy = open(directory.path());
        write(&mut copy, &[b"base"]).unwrap();
        copy.append_log(b"one").unwrap();
        copy.append_log(b"a longer entry").unwrap();
        let path = directory.path().join("log.1");
        let whole = fs::read(&path).unwrap();
        for length in 11..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut copy = open(directory.path());
            assert_eq!(log(&mut copy), [b"one"], "cut to {length}");
            copy.append_log(b"two").unwrap();
            assert_eq!(log(&mut copy), [b"one", b"two"], "cut to {length}");
        }
    }

    #[test]
    fn an_anchor_survives_and_a_damaged_one_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut copy = open(directory.path());
        assert_eq!(copy.read_anchor(), Ok(None));
        let anchor = Anchor { epoch: 2, generation: 7, set_seen: true, ..Anchor::nothing_seen() };
        copy.write_anchor(&anchor).unwrap();
        assert_eq!(copy.read_anchor(), Ok(Some(anchor)));
        let path = directory.path().join("anchor");
        let text = fs::read_to_string(&path).unwrap().replace("\"generation\":7", "\"generation\":6");
        for bad in [text.as_bytes(), b"", b"\xff\xfe\n\n", b"{}\n00000000\n"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(copy.read_anchor(), Err(CopyError::Damaged(_))));
        }
    }

    #[test]
    fn an_anchor_whose_writing_was_cut_off_is_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("anchor");
        let anchor = |generation| Anchor { epoch: 2, generation, set_seen: true, ..Anchor::nothing_seen() };
        for last in 2..6 {
            let mut copy = open(directory.path());
            copy.read_anchor().unwrap();
            for generation in last * 10..last * 10 + last {
                copy.write_anchor(&anchor(generation)).unwrap();
            }
            let before = fs::read(&path).unwrap();
            let (newest, previous) = (last * 10 + last, last * 10 + last - 1);
            copy.write_anchor(&anchor(newest)).unwrap();
            let after = fs::read(&path).unwrap();
            let written: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
            for cut in written.iter().step_by(7) {
                fs::write(&path, [&after[..*cut], &before[*cut..]].concat()).unwrap();
                let found = open(directory.path()).read_anchor();
                assert_eq!(found, Ok(Some(anchor(previous))), "cut at {cut}");
            }
            fs::write(&path, &after).unwrap();
            assert_eq!(open(directory.path()).read_anchor(), Ok(Some(anchor(newest))));
        }
    }

    #[test]
    fn files_of_garbage_are_no_copy_and_do_not_stop_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("base"), b"garbage").unwrap();
        fs::write(directory.path().join("log.7"), [0xff; 100]).unwrap();
        let mut copy = open(directory.path());
        assert!(copy.read_base(&mut |_| ()).is_err());
        write(&mut copy, &[b"base"]).unwrap();
        copy.append_log(b"one").unwrap();
        assert_eq!(log(&mut copy), [b"one"]);
    }
}
