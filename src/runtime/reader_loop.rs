//! One loop per serial reader: cards and the reader's own health to the door loop. Owns nothing but the
//! reader; must never drop a card.

use tokio::sync::{mpsc, watch};

use crate::{
    adapters::field::serial_reader::{ReaderEvent, SerialReader},
    domain::{fieldbus::CardRead, ids::ReaderIx},
    wire::reader_line::Line,
};

/// What a serial reader tells the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderReport {
    Card(CardRead),
    Lost(ReaderIx, String),
    Restored(ReaderIx),
    /// Its cover is open, or no longer.
    Tamper(ReaderIx, bool),
    /// Its own supply has failed, or no longer.
    Power(ReaderIx, bool),
    /// The user with this number accepts its default key for so many minutes.
    Installing(ReaderIx, u32, u32),
    /// It has a key of its own.
    KeySet(ReaderIx),
    /// At the word of the user with this number it took this address and this speed.
    LineSet(ReaderIx, u32, u8, u32),
    /// It does not prove what it has to.
    Distrusted(ReaderIx, String),
}

enum Event {
    Reader(ReaderEvent),
    Stop,
}

/// Runs until `stop` is true or gone, or until nobody takes its reports any more.
pub async fn run(
    id: ReaderIx,
    mut reader: SerialReader,
    reports: mpsc::Sender<ReaderReport>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let report = match next_event(&mut reader, &mut stop).await {
            Event::Stop => return,
            Event::Reader(ReaderEvent::Read(Line::Card(card))) => ReaderReport::Card(CardRead::bits(id, card)),
            Event::Reader(ReaderEvent::Read(Line::Text(text))) => ReaderReport::Card(CardRead::text(id, text)),
            Event::Reader(ReaderEvent::Lost(detail)) => ReaderReport::Lost(id, detail),
            Event::Reader(ReaderEvent::Restored) => ReaderReport::Restored(id),
            Event::Reader(ReaderEvent::Dropped(count)) => {
                // Powers of two: a reader with the wrong speed must not flood the journal.
                if count.is_power_of_two() {
                    tracing::warn!(reader = id.0, count, "lines that are no card in the configured format");
                }
                continue;
            }
        };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

async fn next_event(reader: &mut SerialReader, stop: &mut watch::Receiver<bool>) -> Event {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Event::Stop,
        event = reader.next() => Event::Reader(event),
    }
}
