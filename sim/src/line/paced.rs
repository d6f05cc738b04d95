//! The line behind a pseudo-terminal, by the clock: for adapters and for the daemon itself. Owns a thread that
//! sleeps to the microsecond and the port's other end; must never hold a byte back for longer than the line does.
//! Invariant: the times in the line's record are those of the model, whatever the thread's own lateness was.

use std::{
    io::{Read as _, Write as _},
    num::NonZeroU64,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use latchd::adapters::clock::mono;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::model::Line;
use crate::pty::RawPty;

/// A UART hands its bytes on in handfuls.
const HANDFUL: usize = 8;

struct Shared {
    line: Mutex<Line>,
    stop: AtomicBool,
}

/// A line that lives. Dropping it pulls the master's plug.
pub struct PtyLine {
    shared: Arc<Shared>,
    nudge: UnixStream,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl PtyLine {
    /// With `link`, the port appears under that path. Boards with timers of their own need a runtime around this.
    pub fn start(line: Line, link: Option<&Path>) -> anyhow::Result<PtyLine> {
        let pty = match link {
            Some(link) => RawPty::at(link)?,
            None => RawPty::new()?,
        };
        let path = pty.path().to_owned();
        let (nudge, nudged) = UnixStream::pair().context("a pair of sockets")?;
        nudged.set_nonblocking(true)?;
        nudge.set_nonblocking(true)?;
        let shared = Arc::new(Shared { line: Mutex::new(line), stop: AtomicBool::new(false) });
        let (of_thread, runtime) = (shared.clone(), tokio::runtime::Handle::try_current().ok());
        let thread = std::thread::Builder::new().name("line".to_owned()).spawn(move || {
            let _within = runtime.as_ref().map(tokio::runtime::Handle::enter);
            // Whatever is wrong with the port, its user finds it dead.
            let _ = run(&of_thread, &pty, &nudged);
        })?;
        Ok(PtyLine { shared, nudge, thread: Some(thread), path })
    }

    /// What to open as the serial port.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the line as it is now, or changes it.
    pub fn with<T>(&self, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = self.shared.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.advance(mono());
        let result = change(&mut line);
        drop(line);
        // Full: it has been nudged already.
        let _ = (&self.nudge).write(&[0]);
        result
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = (&self.nudge).write(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The port is gone when this returns.
    pub fn stop(mut self) {
        self.end();
    }
}

impl Drop for PtyLine {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(shared: &Shared, pty: &RawPty, nudged: &UnixStream) -> rustix::io::Result<()> {
    // The kernel may else be 50 us late on purpose.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut bytes = [0; 512];
    while !shared.stop.load(Ordering::Relaxed) {
        let (heard, next) = {
            let mut line = shared.line.lock().unwrap_or_else(PoisonError::into_inner);
            line.advance(mono());
            (line.heard(), line.next_look(HANDFUL))
        };
        let heard: Vec<u8> = heard.into_iter().map(|(_, byte)| byte).collect();
        if !heard.is_empty() {
            // A port that nobody reads overflows.
            let _ = rustix::io::write(pty.master(), &heard);
        }
        let wait = next.map(|at| {
            let wait = at.since(mono()).min(Duration::from_secs(3600));
            Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0), tv_nsec: wait.subsec_nanos().into() }
        });
        let mut ready = [PollFd::new(pty.master(), PollFlags::IN), PollFd::new(nudged, PollFlags::IN)];
        match poll(&mut ready, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let [port, nudge] = ready.map(|fd| fd.revents().contains(PollFlags::IN));
        if port {
            let count = match rustix::io::read(pty.master(), &mut bytes) {
                Ok(count) => count,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(error) => return Err(error),
            };
            let mut line = shared.line.lock().unwrap_or_else(PoisonError::into_inner);
            line.send(mono(), bytes.get(..count).unwrap_or(&[]));
        }
        if nudge {
            let mut reader = nudged;
            let _ = reader.read(&mut bytes);
        }
    }
    Ok(())
}
