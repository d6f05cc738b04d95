//! `latchd osdp`: gives an OSDP reader a key of its own, or another address and speed, through the running daemon. Owns
//! the words for the installer; must never see a key.

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
/// A reader answers at once; one that does not is looked for at both addresses until it is lost.
const LINE_WITHIN: Duration = Duration::from_secs(20);

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
    /// Tell the reader to take another address or speed (COMSET), and wait for its word
    SetLine {
        /// As in the site file
        reader: Id,
        /// 0 to 126, and nobody else's on its line
        #[arg(long, required_unless_present = "baud", value_parser = clap::value_parser!(u8).range(0..=126))]
        address: Option<u8>,
        /// For the whole line: the bus's own is set in the site file, once every reader of it has been told
        #[arg(long)]
        baud: Option<u32>,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let state_dir = super::io::state_dir(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut daemon = Conversation::begin(&state_dir).await.map_err(|error| anyhow!(error))?;
        match &arguments.what {
            What::Install { reader, minutes } => install(&mut daemon, reader, *minutes).await,
            What::SetLine { reader, address, baud } => set_line(&mut daemon, reader, *address, *baud).await,
        }
    })
}

async fn install(daemon: &mut Conversation, reader: &Id, minutes: u32) -> anyhow::Result<()> {
    let install = Ask::OsdpInstall { reader: reader.clone(), minutes };
    super::io::said(daemon.ask(&install).await)?;
    println!("waiting for it; Ctrl-C stops the waiting, not the installing");
    let until = Instant::now() + Duration::from_secs(60 * u64::from(minutes));
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
            Answer::Refused { .. } | Answer::Waiting {} => {}
            Answer::Points(_) | Answer::EmergencyUses { .. } => bail!("the daemon answered something else"),
        }
    }
}

async fn set_line(
    daemon: &mut Conversation,
    reader: &Id,
    address: Option<u8>,
    baud: Option<u32>,
) -> anyhow::Result<()> {
    super::io::said(daemon.ask(&Ask::OsdpSetLine { reader: reader.clone(), address, baud }).await)?;
    let until = Instant::now() + LINE_WITHIN;
    loop {
        tokio::time::sleep(LOOK_EVERY / 4).await;
        let answer = daemon.ask(&Ask::OsdpLine { reader: reader.clone() }).await;
        match answer.map_err(|error| anyhow!(error))? {
            Answer::Waiting {} if Instant::now() < until => {}
            Answer::Waiting {} => bail!("nothing is heard of it yet; what became of it is in the log of latchd"),
            said => return super::io::said(Ok(said)),
        }
    }
}
