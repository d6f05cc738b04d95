//! An ext4 file system in a file, on a loop device. Owns its file and its mount; leaves neither behind.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const IMAGE_SIZE: &str = "384M";

pub struct Image {
    directory: TempDir,
    file: PathBuf,
    copies: u32,
}

pub struct Mounted {
    path: PathBuf,
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Image {
    pub fn make() -> Result<Image, String> {
        let directory = tempfile::Builder::new().prefix("latchd-power-cut").tempdir().map_err(|e| e.to_string())?;
        let file = directory.path().join("image-0");
        run("truncate", &[&"-s", &IMAGE_SIZE, &file])?;
        run("mkfs.ext4", &[&"-q", &"-F", &file])?;
        std::fs::create_dir(directory.path().join("mounted")).map_err(|e| e.to_string())?;
        Ok(Image { directory, file, copies: 0 })
    }

    pub fn mount(&self) -> Result<Mounted, String> {
        let path = self.directory.path().join("mounted");
        // Without the journal's own commit every five seconds: only what was asked for reaches the device.
        run("mount", &[&"-o", &"loop,commit=600", &self.file, &path])?;
        Ok(Mounted { path })
    }

    /// What the device holds at this moment.
    pub fn copy(&mut self) -> Result<PathBuf, String> {
        self.copies += 1;
        let copy = self.directory.path().join(format!("image-{}", self.copies));
        run("cp", &[&"--sparse=always", &self.file, &copy])?;
        Ok(copy)
    }

    /// The copy takes the place of what it was copied from.
    pub fn become_copy(&mut self, copy: PathBuf) -> Result<(), String> {
        let old = std::mem::replace(&mut self.file, copy);
        std::fs::remove_file(old).map_err(|e| e.to_string())
    }
}

impl Mounted {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[&self.path]) {
            eprintln!("power_cut: {error}");
        }
    }
}
