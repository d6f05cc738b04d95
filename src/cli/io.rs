//! `latchd io`: the points of the running daemon, live, and outputs tried one by one, so that an installer finds a
//! wire. Owns the words on the screen; must never talk to hardware (the daemon does, and says what it may).

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};

use crate::{
    adapters::control::Conversation,
    config,
    domain::{
        fieldbus::LineTrouble,
        ids::Id,
        installer::{Answer, Ask, PointSnapshot, Snapshot},
        status::Link,
    },
};

/// Fast enough to see a button pressed, slow enough to read.
const SHOW_EVERY: Duration = Duration::from_millis(250);

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Show the points once instead of until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Only this board
    #[arg(long, value_name = "ID")]
    board: Option<Id>,
    /// The points as JSON, once
    #[arg(long)]
    json: bool,
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG, global = true)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Energise an output for a moment; one that serves a door or a floor only in installer mode
    Pulse {
        /// BOARD/OUTPUT, as in the site file
        point: String,
        #[arg(long, value_name = "MS", default_value_t = 500)]
        ms: u32,
    },
    /// Allow outputs that serve doors and floors to be tried, for a while: doors may open
    Install {
        #[arg(long, default_value_t = 30)]
        minutes: u32,
        /// No longer
        #[arg(long, conflicts_with = "minutes")]
        end: bool,
    },
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let state_dir = state_dir(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut daemon = Conversation::begin(&state_dir).await.map_err(|error| anyhow!(error))?;
        match &arguments.what {
            None => show(&mut daemon, arguments).await,
            Some(What::Pulse { point, ms }) => {
                let (board, output) = point.split_once('/').context("expected BOARD/OUTPUT, such as relays/relay-1")?;
                let (board, output) = (Id::new(board)?, Id::new(output)?);
                said(daemon.ask(&Ask::Pulse { board, output, pulse_ms: *ms }).await)
            }
            Some(What::Install { end: true, .. }) => said(daemon.ask(&Ask::Mode { minutes: 0 }).await),
            Some(What::Install { minutes, .. }) => said(daemon.ask(&Ask::Mode { minutes: *minutes }).await),
        }
    })
}

pub(super) fn state_dir(path: &Path) -> anyhow::Result<PathBuf> {
    let environment = config::Environment::of_process();
    let loaded = config::load_from(&config::Disk, path, &environment, config::Purpose::CheckWithoutFiles);
    match loaded.site {
        Some(site) => Ok(site.node.state_dir),
        None => {
            eprint!("{}", loaded.report.render(false));
            bail!("the site file says where the daemon is to be found");
        }
    }
}

pub(super) fn said(answer: Result<Answer, String>) -> anyhow::Result<()> {
    match answer.map_err(|error| anyhow!(error))? {
        Answer::Done { message } => {
            println!("{message}");
            Ok(())
        }
        Answer::Refused { message } => bail!(message),
        Answer::Points(_) | Answer::Waiting {} | Answer::EmergencyUses { .. } => {
            bail!("the daemon answered something else")
        }
    }
}

async fn show(daemon: &mut Conversation, arguments: &Arguments) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let live = out.is_terminal() && !arguments.once && !arguments.json;
    let mut before: Option<Snapshot> = None;
    loop {
        let answer = daemon.ask(&Ask::Points {}).await.map_err(|error| anyhow!(error))?;
        let Answer::Points(mut now) = answer else { return said(Ok(answer)) };
        if let Some(only) = &arguments.board {
            now.boards.retain(|board| board.board == *only);
            if now.boards.is_empty() {
                bail!("there is no board `{only}`");
            }
        }
        let text = match arguments.json {
            true => format!("{:#}\n", serde_json::to_value(&now)?),
            // The screen is written over, line by line, so that nothing flickers.
            false if live => {
                let lines = told(&now, before.as_ref()) + "\nCtrl-C ends\n";
                format!("\x1b[H{}\x1b[J", lines.replace('\n', "\x1b[K\n"))
            }
            false => told(&now, None),
        };
        if live && before.is_none() {
            out.write_all(b"\x1b[2J")?;
        }
        out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
        if !live {
            return Ok(());
        }
        before = Some(now);
        tokio::select! {
            () = tokio::time::sleep(SHOW_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// `*` marks what changed since `before`.
fn told(now: &Snapshot, before: Option<&Snapshot>) -> String {
    let mut text = String::new();
    if let Some(left) = now.mode_left_s {
        let _ =
            writeln!(text, "INSTALLER MODE, {} min {} s left: outputs of doors can be tried\n", left / 60, left % 60);
    }
    for board in &now.boards {
        let link = match board.link {
            Link::Up => "up",
            Link::Lost => "LOST",
            Link::Unknown => "not heard of yet",
        };
        let _ = writeln!(text, "board {} ({link})", board.board);
        let earlier = before.and_then(|before| before.boards.iter().find(|other| other.board == board.board));
        for point in &board.points {
            let was = earlier.and_then(|board| board.points.iter().find(|other| other.point == point.point));
            let changed = was.is_some_and(|was| was.changes != point.changes);
            let _ = writeln!(text, "{}", line(point, changed));
        }
    }
    for reader in &now.readers {
        let read = reader.last_read.map_or("nothing read yet".to_owned(), |read| {
            format!("{} bits, {} s ago; {} reads", read.bits, read.ago_s, reader.reads)
        });
        let _ = writeln!(text, "reader {}: {read}", reader.reader);
    }
    text
}

fn line(point: &PointSnapshot, changed: bool) -> String {
    let mark = if changed { '*' } else { ' ' };
    let way = if point.is_output { "out" } else { "in " };
    let level = match (point.energised, point.trouble) {
        (Some(true), _) => "ON ",
        (Some(false), _) => "off",
        (None, Some(LineTrouble::Short)) => "SHT",
        (None, Some(LineTrouble::Open)) => "CUT",
        (None, Some(LineTrouble::Fault)) => "FLT",
        (None, None) => "?  ",
    };
    let changes = match point.changes {
        0 => String::new(),
        1 => "1 change".to_owned(),
        many => format!("{many} changes"),
    };
    let serves = point.serves.as_deref().unwrap_or("-");
    format!("{mark} {way} {:20} {level} {changes:14} {serves}", point.point.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::installer::BoardSnapshot;

    #[test]
    fn a_point_that_changed_between_two_looks_is_marked_although_it_is_as_it_was() {
        let with = |changes| {
            let id = |name| Id::new(name).unwrap();
            let (point, serves) = (id("in-1"), Some("contact of front".to_owned()));
            let point =
                PointSnapshot { point, is_output: false, energised: Some(true), trouble: None, changes, serves };
            let board = BoardSnapshot { board: id("relays"), link: Link::Up, points: vec![point] };
            Snapshot { boards: vec![board], ..Snapshot::default() }
        };
        assert!(told(&with(3), Some(&with(3))).contains("  in  in-1"));
        assert!(told(&with(5), Some(&with(3))).contains("* in  in-1                 ON  5 changes"));
    }
}
