//! OSDP readers under the secure channel: how long a card takes to be known, how long a round of polls takes, and
//! what a dead reader costs the others.

use std::time::Duration;

use latchd::{
    adapters::{clock::mono, timer::Timer},
    domain::time::Mono,
    runtime::reader_loop::ReaderReport,
};
use latchd_sim::line::{Line, LineTimes, OsdpReader, PanelOnLine, PtyLine};
use tokio::{sync::mpsc, task::LocalSet};

use super::{
    Effort,
    reader_loop::ReaderLoop,
    record::{Exchange, Protocol, distances, exchanges, mean, row, row_of},
};

const BAUD: u32 = 115_200;
const CARD: (u16, u64) = (26, 0x280_0F0A);
/// What the poll cycle is to be compared with: 3 ms of turnaround and nothing else between the frames.
const TURNAROUND: Duration = Duration::from_millis(3);

fn line(readers: u8) -> (Line, Vec<OsdpReader>) {
    let mut line = Line::new(LineTimes::new(BAUD, 10, TURNAROUND), 7);
    let readers: Vec<OsdpReader> = (0..readers).map(OsdpReader::secure).collect();
    for reader in &readers {
        line.plug(reader.clone());
    }
    (line, readers)
}

fn rounds(all: &[Exchange], of: u8) -> Vec<Duration> {
    distances(all, |bytes| bytes.get(1) == Some(&of))
}

fn told_round(how: &str, all: &[Exchange], times: &LineTimes, readers: usize) {
    let wire: Duration = all.iter().map(|one| Protocol::Osdp.wire_time(one, times)).sum();
    let wire = wire / u32::try_from(all.len().max(1)).unwrap_or(u32::MAX) * readers as u32;
    let share = Protocol::Osdp.utilisation(all, times) * 100.0;
    row(&format!("poll cycle of {readers} secured readers, {BAUD} baud, {how}"), Some(wire), rounds(all, 0));
    row_of("", &format!("{share:>9.1} % of what the wire allows"));
}

fn told_dead(how: &str, before: &[Exchange], after: &[Exchange]) {
    let all = |all: &[Exchange]| [0, 1, 2, 3, 5, 6, 7].into_iter().flat_map(|of| rounds(all, of)).collect::<Vec<_>>();
    let (before, after) = (all(before), all(after));
    let growth = (mean(&after).as_secs_f64() / mean(&before).as_secs_f64() - 1.0) * 100.0;
    row(&format!("poll interval of 8 readers, {how}"), None, before);
    row(&format!("  of the other 7 with one dead: {growth:+.1} % in the mean"), None, after);
}

pub fn in_virtual_time() {
    let (one, readers) = line(1);
    let mut panel = PanelOnLine::new(one, 0..1);
    panel.run(Duration::from_secs(2));
    let mut taken = Vec::new();
    for nth in 0..1_000 {
        panel.run(Duration::from_micros(20_000 + nth * 137));
        let held = panel.now;
        readers[0].present(CARD.0, CARD.1);
        let before = panel.cards(0);
        if panel.run_until(Duration::from_secs(1), |panel| panel.cards(0) > before) {
            taken.push(panel.now.since(held));
        }
        panel.news.clear();
    }
    row(&format!("card to event, 1 secured reader, {BAUD} baud, virtual"), None, taken);

    let (eight, _) = line(8);
    let times = eight.times();
    let mut panel = PanelOnLine::new(eight, 0..8);
    panel.run(Duration::from_secs(5));
    panel.line.take_record();
    panel.run(Duration::from_secs(60));
    let before = exchanges(&panel.line.take_record());
    told_round("virtual", &before, &times, 8);
    panel.line.set_plugged(4, false);
    panel.run(Duration::from_secs(10));
    panel.line.take_record();
    panel.run(Duration::from_secs(60));
    told_dead(&format!("{BAUD} baud, virtual"), &before, &exchanges(&panel.line.take_record()));
}

pub fn by_the_clock(effort: Effort) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("readers");
    let (one, readers) = line(1);
    let live = PtyLine::start(one, Some(&path))?;
    let taken = on_loop(directory.path(), 1, async |reports| {
        until_online(reports, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let timer = Timer::new();
        let mut taken = Vec::new();
        for nth in 0..u64::from(1_000 / effort.less) {
            let now = mono();
            timer.at(now, now + Duration::from_micros(20_000 + nth * 7_919 % 9_973)).await;
            let held: Mono = mono();
            readers[0].present(CARD.0, CARD.1);
            while let Some(report) = reports.recv().await {
                if matches!(report, ReaderReport::Card(_)) {
                    break;
                }
            }
            taken.push(mono().since(held));
        }
        taken
    })?;
    live.stop();
    row(&format!("card to event, 1 secured reader, {BAUD} baud, by the clock"), None, taken);

    let (eight, _) = line(8);
    let times = eight.times();
    let live = PtyLine::start(eight, Some(&path))?;
    let seconds = u64::from(30 / effort.less).max(5);
    let (before, after) = on_loop(directory.path(), 8, async |reports| {
        until_online(reports, 8).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        live.with(Line::take_record);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let before = live.with(Line::take_record);
        live.with(|line| line.set_plugged(4, false));
        tokio::time::sleep(Duration::from_secs(5)).await;
        live.with(Line::take_record);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        (before, live.with(Line::take_record))
    })?;
    let before = exchanges(&before);
    told_round("by the clock", &before, &times, 8);
    told_dead(&format!("{BAUD} baud, by the clock"), &before, &exchanges(&after));
    Ok(())
}

/// Runs the daemon's loop for a line of readers, with `doors` in the place of the doors.
fn on_loop<T>(
    directory: &std::path::Path,
    readers: u8,
    doors: impl AsyncFnOnce(&mut mpsc::Receiver<ReaderReport>) -> T,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut daemon = ReaderLoop::start(directory, &directory.join("readers"), BAUD, readers)?;
        let result = doors(&mut daemon.reports).await;
        daemon.stop().await;
        Ok(result)
    })
}

async fn until_online(reports: &mut mpsc::Receiver<ReaderReport>, readers: usize) {
    let mut online = 0;
    while online < readers {
        match reports.recv().await {
            Some(ReaderReport::Restored(_)) => online += 1,
            Some(_) => {}
            None => return,
        }
    }
}
