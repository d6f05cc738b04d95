//! The files that hold the keys of OSDP readers, one for each, beside the stores. Owns their bytes and fsyncs; must
//! never show a key. Invariant: a file is replaced whole, and is on the disk before anybody is told a key in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::{
    domain::ids::Id,
    wire::osdp::sealed::{self, ReaderKeys, SealError},
};

const DIRECTORY: &str = "osdp-keys";
/// A sealed file has 79 bytes.
const BYTES_MAX: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}; install the reader again", path.display())]
    Sealed { path: PathBuf, source: SealError },
    #[error("the kernel gave no randomness")]
    Randomness,
}

pub struct OsdpKeyFiles {
    directory: PathBuf,
    sealing_key: Zeroizing<[u8; 32]>,
}

impl OsdpKeyFiles {
    pub fn new(state_dir: &Path, sealing_key: Zeroizing<[u8; 32]>) -> OsdpKeyFiles {
        OsdpKeyFiles { directory: state_dir.join(DIRECTORY), sealing_key }
    }

    fn path(&self, reader: &Id) -> PathBuf {
        self.directory.join(reader.as_str())
    }

    /// None of either, if the reader was never installed.
    pub fn load(&self, reader: &Id) -> Result<ReaderKeys, KeyFileError> {
        let path = self.path(reader);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ReaderKeys::default()),
            Err(source) => Err(KeyFileError::Io { path, source }),
            Ok(bytes) => sealed::open(&self.sealing_key, reader, &bytes)
                .map_err(|source| KeyFileError::Sealed { path: path.clone(), source }),
        }
    }

    /// After this returns, it survives a power cut.
    pub fn store(&self, reader: &Id, keys: &ReaderKeys) -> Result<(), KeyFileError> {
        let path = self.path(reader);
        let mut nonce = [0; 12];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyFileError::Randomness)?;
        let sealed = sealed::seal(&self.sealing_key, reader, keys, nonce)
            .map_err(|source| KeyFileError::Sealed { path: path.clone(), source })?;
        self.replace(&path, &sealed).map_err(|source| KeyFileError::Io { path, source })
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        // `~` is in no id: it is nobody's file.
        let beside = self.directory.join("~new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        fs::rename(&beside, path)?;
        File::open(&self.directory)?.sync_all()?;
        match self.directory.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// A new key for a reader.
pub fn fresh_key() -> Result<Zeroizing<[u8; 16]>, KeyFileError> {
    let mut key = Zeroizing::new([0; 16]);
    SystemRandom::new().fill(&mut *key).map_err(|_| KeyFileError::Randomness)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_kept_sealed_for_its_owner_alone_and_a_damaged_file_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let files = OsdpKeyFiles::new(directory.path(), Zeroizing::new([7; 32]));
        let reader = Id::new("front-in").unwrap();
        assert_eq!(files.load(&reader).unwrap(), ReaderKeys::default());
        let keys = ReaderKeys { current: Some(fresh_key().unwrap()), pending: None };
        for _ in 0..2 {
            files.store(&reader, &keys).unwrap();
            assert_eq!(files.load(&reader).unwrap(), keys);
        }
        let path = directory.path().join("osdp-keys/front-in");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let other = OsdpKeyFiles::new(directory.path(), Zeroizing::new([8; 32]));
        assert!(matches!(other.load(&reader), Err(KeyFileError::Sealed { .. })));
        fs::write(&path, b"nothing").unwrap();
        assert!(matches!(files.load(&reader), Err(KeyFileError::Sealed { .. })));
        files.store(&reader, &keys).unwrap();
        assert_eq!(files.load(&reader).unwrap(), keys);
    }
}
