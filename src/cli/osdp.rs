//! `latchd osdp install`: gives an OSDP reader a key of its own, through the running daemon. Owns the words for the
//! installer; must never see a key.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};

use crate::{
    adapters::control::Conversation,
    domain::{
        ids::Id,
        installer::{Answer, Ask},
    },
};

const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Accept the reader's default key for a time, to give it one of its own; waits until it has it
    Install {
        /// As in the site file
        reader: Id,
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let What::Install { reader, minutes } = &arguments.what;
    let state_dir = super::io::state_dir(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut daemon = Conversation::begin(&state_dir).await.map_err(|error| anyhow!(error))?;
        let install = Ask::OsdpInstall { reader: reader.clone(), minutes: *minutes };
        super::io::said(daemon.ask(&install).await)?;
        println!("waiting for it; Ctrl-C stops the waiting, not the installing");
        let until = Instant::now() + Duration::from_secs(60 * u64::from(*minutes));
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
            let answer = daemon.ask(&Ask::OsdpKey { reader: reader.clone() }).await;
            match answer.map_err(|error| anyhow!(error))? {
                done @ Answer::Done { .. } => return super::io::said(Ok(done)),
                Answer::Refused { message } if Instant::now() >= until => {
                    bail!("{message}: is it on the right line and address, and under its default key?")
                }
                Answer::Refused { .. } => {}
                Answer::Points(_) => bail!("the daemon answered something else"),
            }
        }
    })
}
