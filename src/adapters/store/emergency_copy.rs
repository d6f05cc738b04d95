//! The copy of the emergency cards, as a file in a directory of its own: whatever becomes of the mirror's
//! directories, this one stands. Owns its bytes and their fsyncs; must never interpret a frame. Invariant: the
//! file is replaced whole, so that after a power cut it is the old one or the new one.
//!
//! ```text
//! copy    "latchd ecards 1\n" | frame …      frames as in the second copy of the set
//! ```

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::second_copy::{existing, frames, make_directory, replace, write_frame};
use crate::gateway::mirror::{CopyError, Sink};

const MAGIC: &[u8; 16] = b"latchd ecards 1\n";
const NAME: &str = "copy";

#[derive(Debug)]
pub struct EmergencyCopyFile {
    directory: PathBuf,
}

impl EmergencyCopyFile {
    pub fn new(directory: &Path) -> EmergencyCopyFile {
        EmergencyCopyFile { directory: directory.to_owned() }
    }

    /// False if there is none.
    pub fn read(&self, visit: &mut dyn FnMut(&[u8])) -> Result<bool, CopyError> {
        let Some(file) = existing(File::open(self.directory.join(NAME)))? else { return Ok(false) };
        let mut reader = BufReader::new(file);
        let mut magic = [0; 16];
        if reader.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(CopyError::Damaged("it has no header".to_owned()));
        }
        frames(&mut reader, visit)?;
        Ok(true)
    }

    pub fn write(&self, fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), CopyError>) -> Result<(), CopyError> {
        make_directory(&self.directory)?;
        replace(&self.directory, NAME, |file| {
            let mut writer = BufWriter::new(file);
            writer.write_all(MAGIC)?;
            fill(&mut |frame: &[u8]| Ok(write_frame(&mut writer, frame)?))?;
            Ok(writer.flush()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(copy: &EmergencyCopyFile) -> Result<Option<Vec<Vec<u8>>>, CopyError> {
        let mut found = Vec::new();
        Ok(copy.read(&mut |frame| found.push(frame.to_vec()))?.then_some(found))
    }

    #[test]
    fn it_is_replaced_whole_or_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let copy = EmergencyCopyFile::new(&directory.path().join("cards"));
        assert_eq!(read(&copy), Ok(None));
        copy.write(&mut |sink: &mut Sink<'_>| sink(b"one").and_then(|()| sink(b"two"))).unwrap();
        let failed = copy.write(&mut |sink: &mut Sink<'_>| {
            sink(b"three")?;
            Err(CopyError::Failed("no space".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!(read(&copy), Ok(Some(vec![b"one".to_vec(), b"two".to_vec()])));
        let names: Vec<_> =
            fs::read_dir(directory.path().join("cards")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [NAME]);
    }

    #[test]
    fn whatever_lies_there_instead_is_damage_or_fewer_frames() {
        let directory = tempfile::tempdir().unwrap();
        let copy = EmergencyCopyFile::new(directory.path());
        copy.write(&mut |sink: &mut Sink<'_>| sink(b"one").and_then(|()| sink(b"two"))).unwrap();
        let path = directory.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            match read(&copy) {
                Ok(found) => assert!(found.is_some_and(|frames| frames.len() < 2), "cut to {length}"),
                Err(error) => assert!(length < MAGIC.len(), "cut to {length}: {error}"),
            }
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(read(&copy).is_err());
    }
}
