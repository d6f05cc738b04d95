//! The command line. Owns arguments and exit codes; must never do the work itself.
//!
//! Exit codes follow sysexits.h: 0 success, 1 failure while running, 2 wrong usage, 71 the system refused
//! something, 73 state that cannot be created, 75 state in use by another process, 78 bad configuration (systemd does not restart
//! on it), 80 to be started anew, by `node.reboot`.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use base64::Engine as _;
use clap::{Parser, Subcommand, ValueEnum};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{config, runtime, wire};

mod check;
mod explain;
mod io;
mod osdp;
mod scan;
mod schedule;

pub const EXIT_BAD_CONFIGURATION: u8 = 78;
/// Beyond what sysexits.h names: the unit starts the daemon again on it.
const EXIT_START_ANEW: u8 = 80;
const DEFAULT_CONFIG: &str = "/etc/latchd/site.toml";

#[derive(Parser)]
#[command(name = "latchd", version, about = "The access-control gateway daemon", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the daemon in the foreground (systemd supervises it)
    Run {
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Report every mistake in a configuration; exit 78 if there is one
    Check {
        #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Do not look whether keys and certificates are there
        #[arg(long)]
        no_files: bool,
        /// One line per finding, FILE:LINE:COLUMN: MESSAGE, for editors
        #[arg(long)]
        short: bool,
        /// Check what is in force instead: a configuration that came by command, if there is one
        #[arg(long)]
        effective: bool,
    },
    /// Print the contract with the cloud as an AsyncAPI 3 document
    Schema,
    /// Say which schedules hold at given instants, by the rules of the doors
    Schedule(schedule::Arguments),
    /// Say why somebody is, or is not, let in: from the signed copy of the permission set, also offline
    Explain(Box<explain::Arguments>),
    /// Find what answers on a bus, boards or OSDP readers, at which address and speed; only reads, so no relay moves
    Scan(scan::Arguments),
    /// Show the points of the running daemon, live, and try outputs one by one
    Io(io::Arguments),
    /// Give an OSDP reader a key of its own, or another address
    Osdp(osdp::Arguments),
    /// Make a key; never overwrites
    Keygen {
        kind: KeyKind,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyKind {
    /// Ed25519 key that signs what this node sends; prints the public key for the cloud
    Signing,
    /// Key of the card hashes, to be shared with the cloud
    Credential,
}

pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(help) => {
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(2));
        }
    };
    match arguments.command {
        Task::Run { config } => run(&config),
        Task::Check { config, no_files, short, effective } => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let options = config::CheckOptions { no_files, machine: short, colour };
            check::run(&config, options, effective).unwrap_or_else(|error| failed(&error))
        }
        Task::Schema => print(&format!("{:#}\n", wire::schema::asyncapi())),
        Task::Schedule(arguments) => match schedule::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Task::Explain(arguments) => match explain::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Task::Io(arguments) => match io::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Task::Scan(arguments) => match scan::run(&arguments) {
            Ok(true) => ExitCode::SUCCESS,
            // Nothing is there: a script can tell.
            Ok(false) => ExitCode::FAILURE,
            Err(error) => failed(&error),
        },
        Task::Osdp(arguments) => match osdp::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Task::Keygen { kind, out } => match keygen(kind, &out) {
            Ok(public) => print(&public),
            Err(error) => failed(&error),
        },
    }
}

fn run(path: &Path) -> ExitCode {
    let (installation, loaded) = config::Installation::read(path, &config::Environment::of_process());
    if !loaded.report.is_empty() {
        eprint!("{}", loaded.report.render(false));
    }
    let Some(installation) = installation else {
        return ExitCode::from(EXIT_BAD_CONFIGURATION);
    };
    match runtime::run(installation) {
        Ok(runtime::Finish::Stopped) => ExitCode::SUCCESS,
        Ok(runtime::Finish::StartAnew) => ExitCode::from(EXIT_START_ANEW),
        // It has been said.
        Err(error) => ExitCode::from(error.exit_code()),
    }
}

fn keygen(kind: KeyKind, out: &Path) -> anyhow::Result<String> {
    let mut seed = zeroize::Zeroizing::new([0u8; 32]);
    SystemRandom::new().fill(&mut *seed).map_err(|_| anyhow::anyhow!("the kernel gave no randomness"))?;
    let (secret, public) = match kind {
        KeyKind::Signing => {
            let signer = wire::jws::Signer::from_seed(&seed).map_err(|e| anyhow::anyhow!("{e}"))?;
            let jwk = wire::keys::Jwk::of(&signer.public_key());
            (wire::jws::private_key_pem(&seed), format!("{}\n", serde_json::to_string(&jwk)?))
        }
        KeyKind::Credential => {
            let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*seed);
            (format!("{text}\n"), format!("wrote {}: give the same key to the cloud, by a safe way\n", out.display()))
        }
    };
    let secret = zeroize::Zeroizing::new(secret);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("cannot create {}", out.display()))?;
    file.write_all(secret.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", out.display()))?;
    Ok(public)
}

/// A reader that closed the pipe (`latchd schema | head`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => failed(&error.into()),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("latchd: {error:#}");
    ExitCode::FAILURE
}
