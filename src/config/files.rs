//! What the loader sees of the disk. Owns the trait and the real disk behind it; must never write.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The few things that loading asks of a file system: the disk, or a map in tests.
pub trait Files {
    fn read(&self, path: &Path) -> io::Result<String>;
    fn exists(&self, path: &Path) -> bool;
    /// Names of the profiles in a directory, for suggestions.
    fn profiles(&self, directory: &Path) -> Vec<String>;
    /// The same for two names of one device.
    fn resolved(&self, path: &Path) -> PathBuf;
}

/// The disk, but for one file whose text is another: a site that came by command, read as if it lay in the
/// installer's place.
pub struct Instead<'a> {
    pub of: &'a Path,
    pub text: &'a str,
}

impl Files for Instead<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == self.of { Ok(self.text.to_owned()) } else { Disk.read(path) }
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }

    fn profiles(&self, directory: &Path) -> Vec<String> {
        Disk.profiles(directory)
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        Disk.resolved(path)
    }
}

/// Larger than any site; keeps a wrong path (a disk image, a device) from filling the memory.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        use io::Read as _;
        // The kind is looked at before opening: opening a named pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = String::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("larger than 4 MiB"));
        }
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn profiles(&self, directory: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned())).collect()
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
    }
}
