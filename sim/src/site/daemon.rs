//! The daemon as a process of its own. Dropping it kills it, as a power cut would.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How the daemon is started: its own binary, or a program that has it inside.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// Before the daemon's own arguments.
    pub arguments: Vec<String>,
}

impl Program {
    pub fn binary(path: impl Into<PathBuf>) -> Program {
        Program { path: path.into(), arguments: Vec::new() }
    }

    /// This very program, which hands over to `latchd::cli::main` when its first argument is `marker`.
    pub fn myself(marker: &str) -> anyhow::Result<Program> {
        Ok(Program { path: std::env::current_exe()?, arguments: vec![marker.to_owned()] })
    }
}

pub struct Daemon {
    child: Child,
    pub log: PathBuf,
}

impl Daemon {
    /// Starts it with its log appended to `latchd.log` beside the configuration.
    pub fn start(program: &Program, config: &Path) -> anyhow::Result<Daemon> {
        let log = config.with_file_name("latchd.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| program.path.display().to_string())?;
        Ok(Daemon { child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is said, nothing is flushed. Then it starts again.
    pub fn restart(&mut self, program: &Program, config: &Path) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        *self = Daemon::start(program, config)?;
        Ok(())
    }

    /// SIGTERM, and the end within `patience`.
    pub fn stop(mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the daemon did not stop within {} s; its log is {}", patience.as_secs(), self.log.display())
    }

    /// What it wrote so far, for when something went wrong.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in KiB, from `/proc`.
    pub fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
