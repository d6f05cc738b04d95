//! From the last byte of a card's frame on the readers' line to the first byte of the coil's write on the boards'
//! line, through the daemon as it is: session, controller, decision, relay.

use std::time::Duration;

use anyhow::Context as _;
use latchd_sim::{
    board::SimBoard,
    line::{BoardDevice, Line, LineTimes, OsdpReader, PtyLine, Sender},
    site::{BrokerChoice, Daemon, LOCK_COIL, Program, Site, card},
};

use super::{
    DAEMON, Effort,
    record::{Protocol, exchanges, first, row},
};

const PATIENCE: Duration = Duration::from_secs(20);
const ADA: u16 = 1001;
const BOARDS: u8 = 8;
const WRITE_COIL: u8 = 5;
/// In a session, of a reply: the code of RAW.
const RAW: (usize, u8) = (7, 0x50);

pub fn card_to_coil(effort: Effort) -> anyhow::Result<()> {
    for baud in [19_200, 115_200] {
        measure(effort, baud)?;
    }
    Ok(())
}

fn measure(effort: Effort, baud: u32) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let world = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let mut site = world.block_on(Site::start(directory.path(), BrokerChoice::Embedded))?;
    configure(&site, directory.path(), baud)?;

    // The boards' line, with seven more boards than the one that locks the door.
    world.block_on(site.field.unplug_riser());
    let boards_times = LineTimes::new(baud, 11, Duration::from_millis(2));
    let mut boards = Line::new(boards_times, 7);
    boards.plug(BoardDevice::new(site.field.glass.clone()));
    for unit in 2..=BOARDS {
        boards.plug(BoardDevice::new(SimBoard::new(unit)));
    }
    let _within = world.enter();
    let boards = PtyLine::start(boards, Some(site.field.riser_path()))?;
    let mut readers = Line::new(LineTimes::new(115_200, 10, Duration::from_millis(3)), 7);
    let reader = OsdpReader::secure(0);
    readers.plug(reader.clone());
    let readers = PtyLine::start(readers, Some(&directory.path().join("readers")))?;
    // Nobody pushes the door: it locks when the dwell is over.
    site.field.swings[1].set_visitors(false);

    let _daemon = Daemon::start(&Program::myself(DAEMON)?, &site.config())?;
    site.cloud.wait_for("the node", PATIENCE, |cloud| cloud.online().map(drop))?;
    site.publish_set()?;
    site.cloud
        .wait_for("the set", PATIENCE, |cloud| cloud.online().filter(|online| online.generation == 1).map(drop))?;
    let glass = site.field.glass.clone();
    let within = |wanted: bool| -> anyhow::Result<()> {
        let wait = tokio::time::timeout(PATIENCE, glass.until(|registers| registers.coil(LOCK_COIL) == wanted));
        Ok(world.block_on(wait)?)
    };
    std::thread::sleep(Duration::from_secs(2));
    within(true)?;

    let (mut beyond, mut at_once, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..u64::from(200 / effort.less) {
        // Whole exchanges: the one that the write meets may have begun before the card.
        boards.with(Line::take_record);
        readers.with(Line::take_record);
        std::thread::sleep(Duration::from_micros(150_000 + sample * 7_919 % 29_989));
        reader.present(26, card(ADA));
        // The magnet lets go.
        within(false)?;
        within(true)?;
        let told = readers.with(Line::take_record);
        let told = told.iter().find(|sent| sent.from != Sender::Master && sent.bytes.get(RAW.0) == Some(&RAW.1));
        let told = told.context("a card on the readers' line")?.end;
        let all = exchanges(&boards.with(Line::take_record));
        let written = first(&all, 1, WRITE_COIL, told).context("a write")?;
        beyond.push(Protocol::Modbus.waited_for_one(&all, told, written, &boards_times));
        at_once.push(Protocol::Modbus.waited(&all, told, written, &boards_times));
        whole.push(written.since(told));
    }
    row(&format!("card to coil, the daemon, {BOARDS} boards, {baud} baud: beyond the one it met"), None, beyond);
    row("  beyond the one under way at the card's last byte, none begun since", None, at_once);
    row("  in all", None, whole);
    Ok(())
}

/// The reader of the glass door speaks OSDP, and its board shares its line with seven others.
fn configure(site: &Site, directory: &std::path::Path, baud: u32) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(site.config())?;
    let serial = text.lines().find(|line| line.starts_with("serial = ")).context("a serial reader")?.to_owned();
    site.configure(&format!("{serial}\nbaud = 9600\nformat = \"bits_hex\"\n"), READER)?;
    site.configure(
        "baud = 115200\nparity = \"even\"\nturnaround_ms = 2\n",
        &format!("baud = {baud}\nparity = \"even\"\n"),
    )?;
    site.configure("dwell_ms = 1500", "dwell_ms = 200")?;
    site.configure("relock = \"on_close\"", "relock = \"after_dwell\"")?;
    std::fs::write(directory.join("reader-key"), "42".repeat(16))?;
    let readers = directory.join("readers");
    let mut more = format!("\n[[bus]]\nid = \"readers\"\nosdp = \"{}\"\nbaud = 115200\n", readers.display());
    for unit in 2..=BOARDS {
        more += &format!(
            "\n[[board]]\nid = \"relays-{unit}\"\nbus = \"riser\"\nunit = {unit}\nprofile = \"generic-8ch\"\npoll_ms = 10\n"
        );
    }
    Ok(std::fs::write(site.config(), std::fs::read_to_string(site.config())? + &more)?)
}

const READER: &str = "osdp = { bus = \"readers\", address = 0, key = \"reader-key\" }\n";
