//! A pseudo-terminal: a serial port without hardware. Owns the master side; a path of our choosing
//! points to the slave side, for whoever opens it as a port. Dropping it is pulling the plug. [`RawPty`] is for
//! threads, [`Pty`] for tasks.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Its master side does not block.
#[derive(Debug)]
pub struct RawPty {
    master: OwnedFd,
    name: Name,
}

/// What makes it a port.
#[derive(Debug)]
struct Name {
    /// Held open, so that the master sees no hang-up while nobody else has the port.
    _slave: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl RawPty {
    pub fn new() -> anyhow::Result<RawPty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("openpt")?;
        grantpt(&master).context("grantpt")?;
        unlockpt(&master).context("unlockpt")?;
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).context("fcntl")?;
        let name = ptsname(&master, Vec::new()).context("ptsname")?;
        let path = PathBuf::from(name.to_str().context("the name of the pseudo-terminal")?);
        let slave = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("opening {}", path.display()))?;
        let mut attributes = tcgetattr(&slave).context("tcgetattr")?;
        attributes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &attributes).context("tcsetattr")?;
        Ok(RawPty { master, name: Name { _slave: slave, path, link: None } })
    }

    /// The same, reachable under `link`, which is replaced if it is there.
    pub fn at(link: &Path) -> anyhow::Result<RawPty> {
        let mut pty = RawPty::new()?;
        match std::fs::remove_file(link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        std::os::unix::fs::symlink(&pty.name.path, link).with_context(|| format!("linking {}", link.display()))?;
        pty.name.link = Some(link.to_owned());
        Ok(pty)
    }

    /// What to open as the serial port.
    pub fn path(&self) -> &Path {
        self.name.path()
    }

    pub fn master(&self) -> &OwnedFd {
        &self.master
    }
}

impl Name {
    fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = std::fs::remove_file(link);
        }
    }
}

#[derive(Debug)]
pub struct Pty {
    master: AsyncFd<OwnedFd>,
    name: Name,
}

impl Pty {
    pub fn new() -> anyhow::Result<Pty> {
        Pty::of(RawPty::new()?)
    }

    /// The same, reachable under `link`, which is replaced if it is there.
    pub fn at(link: &Path) -> anyhow::Result<Pty> {
        Pty::of(RawPty::at(link)?)
    }

    fn of(RawPty { master, name }: RawPty) -> anyhow::Result<Pty> {
        #[expect(deprecated, reason = "sound for an OwnedFd, which the successor asks to be promised by unsafe")]
        let master = AsyncFd::new(master)?;
        Ok(Pty { master, name })
    }

    /// What to open as the serial port.
    pub fn path(&self) -> &Path {
        self.name.path()
    }

    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.master.async_io(Interest::READABLE, |fd| rustix::io::read(fd, &mut *buffer).map_err(Into::into)).await
    }

    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = |fd: &OwnedFd| rustix::io::write(fd, bytes).map_err(Into::into);
            let count = self.master.async_io(Interest::WRITABLE, write).await?;
            bytes = bytes.get(count..).unwrap_or(&[]);
        }
        Ok(())
    }
}
