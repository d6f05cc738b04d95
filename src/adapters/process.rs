//! This process and its machine, as the kernel and the service manager see them. Owns two questions and one
//! order to them; must never be asked by the doors.

use std::{io, path::Path, process::Command};

/// Memory that is resident, in bytes (proc(5), `VmRSS` of `status`).
pub fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// What the files of a directory, or one file, occupy.
pub fn bytes_on_disk(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_dir() {
        return Some(metadata.len());
    }
    let entries = std::fs::read_dir(path).ok()?;
    Some(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum())
}

/// Asks systemd to start the machine anew; the right to it is polkit's to give.
pub fn reboot_machine() -> io::Result<()> {
    let status = Command::new("systemctl").arg("reboot").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("systemctl reboot: {status}"))) }
}
